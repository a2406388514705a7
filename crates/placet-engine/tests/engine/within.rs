//! What lies within something else, and ends with it: runs within runs, held steps of runs that are over, held
//! actions of carriers of a role.

use super::notation::{Scene, check};
use placet_engine::Command;
use std::collections::BTreeSet;

/// A run of `crm` with a run of `mail` within it, and one within that.
const NESTED: &str = "person ann operator
    person olga operator
    agent bot
    agent gate
    rule s execution allow
    rule a pay allow
    rule h big hold
    rule o out deny outside
    decide bot execution e1 action=start capability=crm -> PERMIT
    start bot e1 -> execution.started
    decide bot execution e2 action=start capability=mail -> PERMIT
    start bot e2 parent=e1 -> execution.started
    decide bot execution e3 action=start capability=sms -> PERMIT
    start bot e3 parent=e2 -> execution.started
    decide bot pay open for=gate execution=@e3 capability=sms -> PERMIT open
    decide bot big held execution=@e3 capability=sms -> REQUIRE_APPROVAL operator:1
    vote ann held -> approved";

#[test]
fn whatever_ends_a_run_ends_what_runs_within_it_and_what_its_steps_have_open() {
    for scope in ["capability:crm", "execution:@e1", "surface:execution", "alias:crm", "workspace"]
    {
        check(&format!(
            "{NESTED}
             trip ann {scope} -> kill.tripped
             run e1 -> killed steps 0 waiting 0
             run e2 -> killed steps 0 waiting 0
             run e3 -> killed steps 2 waiting 1
             consume gate open -> ! killed
             lift ann {scope} -> asked
             lift olga {scope} -> kill.lifted
             consume gate open -> ! killed
             collect bot held -> ! killed
             decide bot pay late execution=@e3 capability=sms -> DENY killed_execution"
        ));
    }
    // A step of the outermost that lies outside of its manifest.
    check(&format!(
        "{NESTED}
         decide bot out x execution=@e1 capability=crm -> DENY outside_manifest o; kill.tripped
         run e2 -> killed steps 0 waiting 0
         run e3 -> killed steps 2 waiting 1
         consume gate open -> ! killed"
    ));
    // People who reject a step of it reject what is within it.
    check(&format!(
        "{NESTED}
         decide bot big rej execution=@e1 capability=crm -> REQUIRE_APPROVAL operator:1
         vote ann rej no -> rejected
         run e1 -> rejected steps 1 waiting 0
         run e3 -> rejected steps 2 waiting 1
         collect bot held -> ! execution_ended"
    ));
    // What ends one within leaves the others alone.
    check(&format!(
        "{NESTED}
         trip ann capability:sms -> kill.tripped
         run e3 -> killed steps 2 waiting 1
         run e2 -> running steps 0 waiting 0
         run e1 -> running steps 0 waiting 0"
    ));
}

/// The entry of a step names the runs above its own, so a stop of any reaches its answer.
#[test]
fn a_step_that_is_granted_is_under_all_runs_above_it() {
    let mut scene = Scene::default();
    for line in NESTED.lines().filter_map(|line| line.split("->").next()) {
        scene.line(line.trim());
    }
    let of = |scene: &mut Scene, name: &str| {
        let id = scene.id(name);
        let (_, event) = scene.world().decision(id);
        let all = event.under.iter().map(ToString::to_string);
        all.filter(|scope| scope.starts_with("execution:")).collect::<Vec<_>>()
    };
    for name in ["open", "held"] {
        assert_eq!(of(&mut scene, name).len(), 3, "{name}");
    }
    scene.line("decide bot out refused execution=@e3 capability=sms");
    assert_eq!(of(&mut scene, "refused").len(), 1, "nothing was granted");
}

#[test]
fn the_trip_counts_what_it_ends_and_bars_within() {
    let mut scene = Scene::default();
    for line in NESTED.lines().filter_map(|line| line.split("->").next()) {
        scene.line(line.trim());
    }
    assert_eq!(scene.line("trip ann capability:crm"), "kill.tripped");
    let trip = scene.world().state.trips().next_back().cloned().expect("a trip");
    assert_eq!((trip.executions_ended, trip.permits_ended, trip.approvals_barred), (3, 1, 1));
}

/// A permit that its attempt may fetch again is not told again after a kill of the run, however many runs end
/// after that one and make it forgotten.
#[test]
fn no_permit_of_a_run_that_is_forgotten_is_told_again() {
    let run = "world finals=2
         person ann operator
         agent bot
         rule s execution allow
         rule a pay allow
         rule o out deny outside
         decide bot execution e1 action=start capability=crm -> PERMIT
         start bot e1 -> execution.started
         decide bot execution e2 action=start capability=mail -> PERMIT
         start bot e2 parent=e1 -> execution.started
         decide bot pay p1 nonce=n execution=@e1 capability=crm -> PERMIT
         decide bot pay p2 nonce=n execution=@e2 capability=mail -> PERMIT
         again p1 -> shown
         again p2 -> shown";
    // By a step of its own, and by what only the run above it is under: the entry of the step names neither.
    for kill in [
        "decide bot out x execution=@e1 capability=crm -> DENY outside_manifest o; kill.tripped",
        "trip ann capability:crm -> kill.tripped",
    ] {
        let mut later = String::new();
        for n in 3..6 {
            later.push_str(&format!(
                "decide bot execution e{n} action=start capability=sms -> PERMIT
                 start bot e{n} -> execution.started
                 end bot e{n} succeeded -> execution.ended\n"
            ));
        }
        check(&format!(
            "{run}
             {kill}
             again p2 -> ! killed
             {later}
             run e2 -> forgotten
             again p2 -> ! execution_ended"
        ));
    }
}

/// However many runs end after it: a run that is forgotten is over.
#[test]
fn a_held_step_of_a_run_that_is_forgotten_is_not_released() {
    for ends in ["decide bot out x execution=@e1 capability=crm", "end bot e1 failed"] {
        let mut scene = Scene::default();
        for line in [
            "world finals=2",
            "person ann operator",
            "agent bot",
            "rule s execution allow",
            "rule h big hold",
            "rule o out deny outside",
            "decide bot execution e1 action=start capability=crm",
            "start bot e1",
            "decide bot big held execution=@e1 capability=crm",
            "vote ann held",
            ends,
        ] {
            scene.line(line);
        }
        for n in 0..3 {
            scene.line(&format!("decide bot execution r{n} action=start capability=crm"));
            assert_eq!(scene.line(&format!("start bot r{n}")), "execution.started");
            assert_eq!(scene.line(&format!("end bot r{n} succeeded")), "execution.ended");
        }
        assert_eq!(scene.line("collect bot held"), "! execution_ended", "{ends}");
        scene.world().check_replay();
    }
}

#[test]
fn a_role_that_is_revoked_holds_back_what_its_carriers_proposed() {
    let mut scene = Scene::default();
    for line in [
        "person ann operator",
        "person olga operator",
        "agent bot runner",
        "agent sub",
        "rule h big hold roles=operator:1",
        "decide bot big h1 nonce=n",
        "decide sub big h2",
        "decide bot big h3",
        "vote ann h1",
        "vote ann h2",
    ] {
        scene.line(line);
    }
    assert_eq!(scene.line("trip ann role:runner revoke"), "kill.tripped");
    let trip = scene.world().state.trips().next_back().cloned().expect("a trip");
    assert_eq!(trip.approvals_barred, 2, "those of its carriers");
    // The door takes the role away before the plane asks for the permit.
    let collect = |scene: &mut Scene, name: &str| {
        let line = format!("collect bot {name}");
        let mut command = scene.parse(&line);
        if let Command::Collect(collect) = &mut command {
            collect.who.roles = BTreeSet::new();
        }
        scene.execute(&line.split(' ').collect::<Vec<_>>(), &command)
    };
    assert_eq!(collect(&mut scene, "h1"), "! role_revoked");
    assert_eq!(scene.line("collect sub h2"), "collected consumed", "without the role");
    // Nor does whoever waits get it with the last vote.
    let mut vote = scene.parse("vote ann h3 waiting=bot/1");
    if let Command::Vote(vote) = &mut vote
        && let Some(waiting) = &mut vote.waiting
    {
        waiting.who.roles = BTreeSet::new();
    }
    assert_eq!(scene.execute(&["vote", "ann", "h3"], &vote), "approved");
    assert_eq!(scene.line("lift ann role:runner"), "asked");
    assert_eq!(scene.line("lift olga role:runner"), "kill.lifted");
    assert_eq!(collect(&mut scene, "h1"), "collected consumed");
    scene.world().check_replay();
}

#[test]
fn a_route_that_is_frozen_is_not_changed_by_what_runs_already() {
    check(
        "person ann operator
         agent bot
         rule s execution allow
         rule a alias.change allow
         rule k key.create allow
         rule p pay allow
         decide bot execution e1 action=start capability=crm -> PERMIT
         start bot e1 -> execution.started
         trip ann alias:main freeze -> kill.tripped
         decide bot alias.change c1 alias=main execution=@e1 capability=crm -> DENY frozen
         decide bot alias.change c2 alias=other execution=@e1 capability=crm -> PERMIT
         trip ann workspace freeze -> kill.tripped
         decide bot pay p1 execution=@e1 capability=crm -> PERMIT
         decide bot key.create k1 execution=@e1 capability=crm -> DENY frozen",
    );
}

#[test]
fn who_oversees_ends_a_run_as_failed_and_nobody_else_does() {
    check(
        "person ann operator
         person carl
         agent bot
         agent other operator
         rule s execution allow
         decide bot execution e1 action=start capability=crm -> PERMIT
         start bot e1 -> execution.started
         end carl e1 failed -> ! foreign
         end other e1 failed -> ! foreign
         end ann e1 succeeded -> ! foreign
         end ann e1 failed -> execution.ended
         run e1 -> failed steps 0 waiting 0",
    );
}

/// A trip that was lifted took the permit: it starts nothing.
#[test]
fn a_permit_that_a_trip_has_taken_starts_nothing() {
    for start in ["s execution allow", "s execution hold"] {
        let held = start.ends_with("hold");
        let collected = match held {
            true => "vote ann e1 -> approved\ncollect bot e1 nonce=c -> collected consumed",
            false => "",
        };
        let asked = if held { "REQUIRE_APPROVAL operator:1" } else { "PERMIT" };
        check(&format!(
            "person ann operator
             person olga operator
             agent bot
             rule {start}
             decide bot execution e1 action=start capability=crm nonce=n -> {asked}
             {collected}
             trip ann capability:crm -> kill.tripped
             lift ann capability:crm -> asked
             lift olga capability:crm -> kill.lifted
             start bot e1 -> ! permit_revoked"
        ));
    }
}

#[test]
fn nobody_takes_all_places_of_a_workspace() {
    let mut scene = Scene::default();
    for line in ["agent bot", "agent other", "rule s execution allow"] {
        scene.line(line);
    }
    let mut start = |who: &str, name: &str| {
        scene.line(&format!("decide {who} execution {name} action=start capability=crm"));
        scene.line(&format!("start {who} {name}"))
    };
    for n in 0..8192 {
        assert_eq!(start("bot", &format!("e{n}")), "execution.started");
    }
    assert_eq!(start("bot", "more"), "! executions_full");
    assert_eq!(start("other", "o"), "execution.started");
    assert_eq!(scene.line("end bot e7 failed"), "execution.ended");
    assert_eq!(scene.line("start bot more"), "execution.started");
}
