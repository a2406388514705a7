//! Figures whose truth is known: a day in which every hour is written down, and what is counted of it.

use super::notation::Scene;
use super::world::{START, actor};
use placet_engine::{
    Closing, Command, ExceptionUse, HOUR_MS, HOURS_MAX, Measures, Plan, ReportPassage, SURFACES_MAX,
};
use placet_types::event::Event;
use placet_types::ids::TimeMs;
use placet_types::policy::{Outcome, Reason};

fn scene(rows: &str) -> Scene {
    let mut scene = Scene::default();
    play(&mut scene, rows);
    scene
}

fn play(scene: &mut Scene, rows: &str) {
    for row in rows.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with('#')) {
        let out = scene.line(row);
        assert!(!out.starts_with('!'), "{row}: {out}");
    }
}

fn measures(scene: &mut Scene) -> Measures {
    let world = scene.world();
    world.check_replay();
    world.state.measures().clone()
}

/// What happens on the day; the scene begins at a full hour.
const DAY: &str = "person ann operator
    person bob operator
    agent bot
    service gate
    rule a pay allow
    rule h change hold roles=operator:1 expires=7200000
    rule no drop deny
    rule l pay deny limit=2/1000
    rule unused quiet allow
    # 0:00 two permits, the third is too many; one is reported
    decide bot pay p1
    decide bot pay p2
    decide bot pay p3
    report bot p1
    # 0:00 a change waits forty seconds and is approved
    decide bot change c1
    +40000
    vote ann c1
    collect bot c1
    report bot c1
    # 0:00:40 a second one waits ten minutes and is rejected
    decide bot change c2
    +600000
    vote bob c2 no
    # 1:10 a third is taken back, a fourth runs out at 3:10
    +3600000
    decide bot change c3
    decide bot change c4
    withdraw bot c3
    +7200000
    tick
    # 3:10 what is denied is denied, and what nobody knows is silence
    decide bot drop x1
    decide bot drop x2
    decide bot unknown.thing u1
    # 3:10 a permit for another gate, used there and never reported
    decide bot pay p4 for=gate
    consume gate p4
    # 4:10 somebody stops the workspace: that is no violation
    +3600000
    trip ann workspace
    decide bot pay k1
    lift ann workspace
    lift bob workspace
    # 5:10
    +3600000
    decide bot pay p5";

#[test]
fn every_figure_of_a_day_is_what_happened() {
    let mut scene = scene(DAY);
    let now = scene.world().now;
    let found = measures(&mut scene);
    let total = found.total();
    let by = |outcome: Outcome| {
        total.decisions[Outcome::ALL.iter().position(|it| *it == outcome).unwrap()]
    };
    assert_eq!(found.began(), Some(START));
    assert_eq!(by(Outcome::Permit), 4, "p1, p2, p4, p5");
    assert_eq!(by(Outcome::RequireApproval), 4, "c1 to c4");
    assert_eq!(by(Outcome::Deny), 4, "p3, x1, x2, k1");
    assert_eq!(by(Outcome::Silence), 1, "u1");
    let closed = Closing::ALL.map(|it| total.closed_as(it));
    assert_eq!(closed, [1, 1, 1, 0, 1], "approved, rejected, expired, invalidated, withdrawn");
    let latency = &total.latency;
    assert_eq!((latency.count, latency.sum_ms, latency.max_ms), (2, 640_000, 600_000));
    assert_eq!((latency.within(50), latency.within(90)), (Some(60_000), Some(600_000)));
    assert_eq!(total.violations, 3, "p3, x1, x2");
    assert_eq!(total.stopped, 1, "k1");
    let refused: Vec<_> = total.refused.iter().map(|(it, count)| (it.as_str(), *count)).collect();
    // A full window is a rule that decided, and says both.
    assert_eq!(refused, [("rule", 3), ("velocity", 1), ("killed_workspace", 1)]);
    assert_eq!(total.refused_for(Reason::EvidenceExpired), 0);
    assert_eq!((total.consumed, total.reported), (5, 2));

    // The window begins at a full hour; all hours together are the day.
    assert_eq!(found.since(START), *total);
    let last = found.since(TimeMs(now.0));
    assert_eq!(last.decisions.iter().sum::<u64>(), 1, "p5 alone");
    let two = found.since(TimeMs(now.0 - HOUR_MS));
    assert_eq!((two.violations, two.stopped, two.decisions.iter().sum::<u64>()), (0, 1, 2));
    assert_eq!(two.latency.count, 0);
}

#[test]
fn surfaces_and_their_gates_are_seen_as_they_were() {
    let mut scene = scene(DAY);
    let now = scene.world().now;
    let found = measures(&mut scene);
    let surfaces = found.surfaces();
    let names: Vec<_> = surfaces.named.keys().map(String::as_str).collect();
    assert_eq!(names, ["change", "drop", "pay"]);
    assert_eq!((surfaces.unknown, surfaces.unknown_last.is_some()), (1, true));
    let pay = &surfaces.named["pay"];
    assert_eq!(pay.decided_last, Some(now));
    assert_eq!((pay.consumed, pay.reported, pay.outcome_unknown()), (4, [1, 0, 0], 3));
    let gate = &pay.gates[&actor("service:gate")];
    assert_eq!((gate.permits, gate.consumed, gate.reported), (1, 1, 0));
    assert_eq!(gate.heard_last, Some(TimeMs(now.0 - 2 * HOUR_MS)));
    let bot = &pay.gates[&actor("agent:bot")];
    assert_eq!((bot.permits, bot.consumed, bot.reported, bot.heard_last), (3, 3, 1, Some(now)));
    let change = &surfaces.named["change"];
    assert_eq!((change.rejected, change.consumed, change.outcome_unknown()), (1, 1, 0));
    let drop = &surfaces.named["drop"];
    assert_eq!((drop.heard_last, drop.gates.len()), (None, 0), "denied, so no gate was heard");
    let rules: Vec<_> =
        found.rules().matched.iter().map(|(id, count)| (id.as_str(), *count)).collect();
    // The limit is a rule that matches whether or not its window is full; `unused` is not there.
    assert_eq!(rules, [("a", 6), ("h", 4), ("l", 6), ("no", 2)]);
}

#[test]
fn another_bundle_begins_anew_and_the_same_one_does_not() {
    let mut scene = scene("agent bot\nrule a pay allow\ndecide bot pay d1");
    assert_eq!(measures(&mut scene).rules().matched.len(), 1);
    play(&mut scene, "+1000\nrule b pay allow");
    let now = scene.world().now;
    let found = measures(&mut scene);
    assert_eq!((found.rules().matched.len(), found.rules().since), (0, now));
    play(&mut scene, "decide bot pay d2");
    assert_eq!(measures(&mut scene).rules().matched.len(), 2);
}

#[test]
fn what_is_kept_is_bounded_and_what_is_beyond_is_seen() {
    let mut scene = scene("agent bot\nrule a * allow\ndecide bot s0 d0");
    for at in 1..SURFACES_MAX + 3 {
        play(&mut scene, &format!("decide bot s{at} d{at}"));
    }
    let found = measures(&mut scene);
    assert_eq!(found.surfaces().named.len(), SURFACES_MAX);
    assert_eq!(found.surfaces().others.decisions.iter().sum::<u64>(), 3);
    // Hours go, the sum stays.
    for at in 0..HOURS_MAX + 2 {
        play(&mut scene, &format!("+{HOUR_MS}\ndecide bot s0 h{at}"));
    }
    let found = measures(&mut scene);
    let all = SURFACES_MAX as u64 + 3 + HOURS_MAX + 2;
    assert_eq!(found.total().decisions.iter().sum::<u64>(), all);
    assert_eq!(found.since(START).decisions.iter().sum::<u64>(), HOURS_MAX);
}

#[test]
fn entries_that_do_not_name_their_surface_are_counted_apart() {
    let mut scene = scene("agent bot\nservice gate\nrule a pay allow\ndecide bot pay d1 for=gate");
    play(&mut scene, "consume gate d1");
    let world = scene.world();
    let consumed = world.entries.pop().unwrap();
    let Event::PermitConsumed(mut consumed) = consumed.event else { panic!("it was consumed") };
    world.log.pop();
    consumed.surface = None;
    let mut state = world.replayed();
    let entry = world.entry(Event::PermitConsumed(consumed));
    state.apply(&entry).unwrap();
    let surfaces = state.measures().surfaces();
    assert_eq!((surfaces.named["pay"].consumed, surfaces.others.consumed), (0, 1));
    assert_eq!(state.measures().total().consumed, 1);
}

#[test]
fn passages_are_recorded_whatever_is_stopped_and_fill_no_table() {
    let mut scene =
        scene("person ann operator\nservice gate\nrule a pay allow\ntrip ann workspace");
    let who = scene.who("gate");
    let world = scene.world();
    let (now, policy) = (world.now, world.state.policy());
    let report = |surface: &str, surface_known, open, at| {
        Command::ReportPassage(Box::new(ReportPassage {
            who: who.clone(),
            surface: surface.into(),
            action: "create".into(),
            environment: "production".into(),
            at,
            surface_known,
            open,
            policy,
        }))
    };
    let long_ago = TimeMs(now.0 - HOUR_MS);
    let cases = [
        ("pay", true, true, long_ago),
        ("pay", true, false, now.plus(5)),
        ("x", false, false, now),
    ];
    for (surface, known, open, at) in cases {
        let plan = world.run(&report(surface, known, open, at)).unwrap();
        let Plan::Append(events) = plan else { panic!("nothing was recorded") };
        let [Event::PassageReported(event)] = &events[..] else { panic!("{events:?}") };
        // What a gate's clock says is no later than the entry.
        assert_eq!(event.at, at.min(now));
    }
    for at in 0..SURFACES_MAX * 2 {
        world.run(&report(&format!("made-up.{at}"), false, false, now)).unwrap();
    }
    let found = measures(&mut scene);
    let more = SURFACES_MAX as u64 * 2;
    assert_eq!(found.total().passages, [1, 2 + more]);
    let surfaces = found.surfaces();
    assert_eq!(surfaces.named.keys().collect::<Vec<_>>(), ["pay"]);
    assert_eq!((surfaces.named["pay"].passages, surfaces.others.passages), ([1, 1], [0, 1 + more]));
    let gate = &surfaces.named["pay"].gates[&actor("service:gate")];
    assert_eq!((gate.passages, gate.permits, gate.heard_last), (2, 0, Some(now)));
}

#[test]
fn exceptions_are_counted_from_opening_to_review() {
    let mut scene = scene(
        "person ann operator
        person bob admin
        person cat admin
        agent bot
        rule ok git allow
        rule f git deny floor
        decide bot git d1
        decide ann override.exception o1 action=open
        vote bob o1
        collect ann o1
        except ann o1 x1 git agent:bot waives=floor
        decide bot git d2
        decide bot git d3
        +3600000
        tick
        decide bot git d4
        revexc bob x1",
    );
    let found = measures(&mut scene);
    // The second one passed within the same hour; the fourth was denied again.
    assert_eq!(found.total().exceptions, [1, 0, 2, 1, 1]);
    let used = ExceptionUse::ALL.map(|it| found.total().excepted_as(it));
    assert_eq!(used, found.total().exceptions, "opened, alone, passages, ended, reviewed");
    assert_eq!(found.total().violations, 2, "d1, d4");
    let now = scene.world().now;
    assert_eq!(found.since(now).exceptions, [0, 0, 0, 1, 1]);
}

/// Names that begin like those of the constitution are known under any bundle, and anybody may ask for them.
#[test]
fn whoever_asks_for_invented_names_takes_no_place() {
    let mut scene = scene("agent bot\nagent own\nrule a pay allow\nrule b ask hold");
    for at in 0..SURFACES_MAX + 8 {
        assert!(scene.line(&format!("decide bot key.junk{at} d{at}")).starts_with("DENY"));
    }
    let found = measures(&mut scene);
    let unknown = SURFACES_MAX as u64 + 8;
    assert_eq!((found.surfaces().named.len(), found.surfaces().unknown), (0, unknown));
    // Those on which something is done have their places.
    play(&mut scene, "decide bot key.create k1\ndecide bot policy.publish k2");
    let names = ["key.create", "policy.publish"];
    assert!(measures(&mut scene).surfaces().named.keys().eq(names));
    // Under a bundle that knows any name, asking alone keeps no place from one that is granted something.
    for at in 0..SURFACES_MAX {
        play(&mut scene, &format!("+1\ndecide bot junk{at} j{at}"));
    }
    play(&mut scene, "decide own pay p1\ndecide own ask p2\ndecide own silent s1");
    let found = measures(&mut scene);
    let surfaces = found.surfaces();
    assert_eq!(surfaces.named.len(), SURFACES_MAX);
    assert_eq!((surfaces.named["pay"].consumed, surfaces.named["ask"].decisions[2]), (1, 1));
    // The oldest went, and what was counted there is counted with the others.
    assert!(!surfaces.named.contains_key("key.create") && !surfaces.named.contains_key("silent"));
    assert_eq!(surfaces.others.decisions.iter().sum::<u64>(), 5);
    let of = |surfaces: &placet_engine::Surfaces| {
        let all = surfaces.named.values().chain([&surfaces.others]);
        all.flat_map(|seen| seen.decisions).sum::<u64>() + surfaces.unknown
    };
    assert_eq!(of(surfaces), found.total().decisions.iter().sum::<u64>(), "none is lost");
    // What is granted stays: another flood moves nothing.
    for at in 0..SURFACES_MAX {
        play(&mut scene, &format!("decide bot more{at} m{at}"));
    }
    assert_eq!(measures(&mut scene).surfaces().named["pay"], surfaces.named["pay"]);
}

/// An exception from all of policy permits what policy does not know. Its use and its report are counted in
/// one place, and no report pays for another surface's permit.
#[test]
fn what_an_exception_permits_on_unknown_surfaces_hides_nothing() {
    let mut scene = scene(
        "person bob admin
        agent bot
        service gate
        rule a pay allow
        world dev
        decide bob override.exception o1 action=open
        except bob o1 x1 * bot waives=governance lasts=60000",
    );
    for at in 0..SURFACES_MAX + 8 {
        play(&mut scene, &format!("decide bot unknown.s{at} d{at}"));
    }
    let found = measures(&mut scene);
    let most = SURFACES_MAX as u64 + 8;
    // Permitted and used, and nobody reported: that is seen.
    assert_eq!(found.surfaces().others.outcome_unknown(), most);
    for at in 0..SURFACES_MAX + 8 {
        play(&mut scene, &format!("report bot d{at}"));
    }
    play(&mut scene, "decide bot pay p1\ndecide bot pay p2 for=gate\nconsume gate p2");
    let found = measures(&mut scene);
    let surfaces = found.surfaces();
    let names: Vec<_> = surfaces.named.keys().map(String::as_str).collect();
    assert_eq!(names, ["override.exception", "pay"]);
    assert_eq!((surfaces.unknown, surfaces.others.consumed), (most, most));
    assert_eq!(
        (surfaces.others.outcome_unknown(), surfaces.named["pay"].outcome_unknown()),
        (0, 2)
    );
}

/// A permit that was used while there was no place is reported where it was counted.
#[test]
fn a_report_is_counted_where_its_permit_was() {
    let mut scene = scene("agent bot\nservice gate\nrule a * allow\nrule no denied deny floor");
    for at in 0..SURFACES_MAX - 1 {
        play(&mut scene, &format!("decide bot s{at} d{at}\nreport bot d{at}"));
    }
    play(&mut scene, "decide bot denied n1\ndecide bot late l1 for=gate");
    // It took the place of what was never granted; the next finds none.
    play(&mut scene, "decide bot later m1 for=gate\nconsume gate m1\nconsume gate l1");
    let found = measures(&mut scene);
    let surfaces = found.surfaces();
    assert_eq!((surfaces.named["late"].consumed, surfaces.others.consumed), (1, 1));
    play(&mut scene, "report gate m1");
    let found = measures(&mut scene);
    let surfaces = found.surfaces();
    assert_eq!(
        (surfaces.named["late"].outcome_unknown(), surfaces.others.outcome_unknown()),
        (1, 0)
    );
}

#[test]
fn evidence_that_runs_out_is_counted_whether_asked_for_or_waited_with() {
    let mut scene = scene(
        "person ann operator
        agent bot
        rule ok pay allow
        rule h change hold roles=operator:1
        rule old change deny stale from=60000
        rule late pay deny stale from=90000
        decide bot change c1
        decide bot change c2
        decide bot change c3
        vote ann c1
        vote ann c3
        collect bot c3
        decide bot pay p1
        +60000
        collect bot c1
        vote ann c2
        decide bot change c4
        +30000
        decide bot pay p2",
    );
    let found = measures(&mut scene);
    let total = found.total();
    assert_eq!(total.refused_for(Reason::EvidenceExpired), 2, "c4, p2");
    assert_eq!(total.lapsed, 2, "c1 when it was collected, c2 when it was voted on");
    assert_eq!(total.closed_as(Closing::Invalidated), 2);
    // What people end, or time, has not run out of evidence.
    play(&mut scene, "rule old change allow\ndecide bot change c5 key=k5\nwithdraw bot c5");
    assert_eq!(measures(&mut scene).total().lapsed, 2);
}
