//! What trips and drills are reported to have stopped, and what gates say of them.

use super::notation::{Scene, check};
use super::world::{START, actor};
use placet_engine::{
    Command, GATE_HEARD_MS, ReportPassage, RevokePermit, State, Stop, TripRecord, Unsent,
    is_governed,
};
use placet_types::event::{KillScope, OverrideMode};
use placet_types::ids::{PermitId, TimeMs};

impl Scene {
    /// `revoke d1 [SCOPE MODE]`: its answer had not left when something stopped it; without a scope, the
    /// workspace.
    pub(crate) fn unsent(&mut self, words: &[&str]) -> Command {
        let decision = self.id(words[1]);
        let (index, prior) = self.world().decision(decision);
        let permit = prior.permit.map_or(PermitId::from_bytes([0; 16]), |it| it.id);
        let stop = words.get(2).map(|scope| Stop {
            scope: KillScope::parse(scope).expect("a scope"),
            mode: OverrideMode::parse(words[3]).expect("a way"),
        });
        let own = is_governed(&prior.surface);
        let permits = vec![Unsent { decision, index, permit, own }];
        Command::RevokePermit(RevokePermit { permits, stop })
    }
}

fn lines(scene: &mut Scene, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, want) = line.split_once("->").unwrap_or((line, ""));
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        let got = scene.line(&command);
        assert_eq!(got, want.trim(), "{command}");
    }
}

fn newest(state: &State) -> TripRecord {
    state.trips().next_back().expect("a trip").clone()
}

fn silent(state: &State) -> Vec<String> {
    let trip = newest(state);
    state.silent_gates(&trip).map(|(gate, _)| gate.as_str().to_owned()).collect()
}

const BANK: &str = "
    person ann operator
    person bob operator
    agent bot
    agent idle
    service gate
    rule ok pay allow
    rule big wire hold";

#[test]
fn gates_acknowledge_once_and_people_do_not() {
    check(
        "person ann operator
         agent bot
         service gate
         rule ok pay allow
         ack bot                        -> ! not_found
         drill bot workspace            -> ! not_human
         drill ann workspace            -> kill.drilled
         ack ann                        -> ! foreign
         ack bot stopped=2              -> override.acknowledged
         ack bot stopped=3              -> nothing
         ack gate at=99                 -> ! not_found
         # A drill stops nothing, and is lifted by nobody.
         decide bot pay d1              -> PERMIT
         lift ann workspace             -> ! not_tripped
         trip ann workspace             -> kill.tripped
         ack gate                       -> override.acknowledged",
    );
}

#[test]
fn a_report_counts_what_the_trip_ended_and_what_it_could_not_reach() {
    let mut scene = Scene::default();
    lines(&mut scene, BANK);
    lines(
        &mut scene,
        "decide bot pay d1 nonce=1     -> PERMIT
         decide bot pay d2 nonce=2     -> PERMIT
         decide bot pay d3 nonce=3     -> PERMIT
         report bot d1                 -> outcome.reported
         decide bot pay d4 for=gate    -> PERMIT open
         decide bot pay d5 for=gate    -> PERMIT open
         consume gate d5 nonce=5       -> permit.consumed
         decide bot wire d6            -> REQUIRE_APPROVAL operator:1
         trip ann workspace            -> kill.tripped",
    );
    let state = &scene.world().state;
    let trip = newest(state);
    assert_eq!((trip.permits_ended, trip.approvals_barred), (1, 1), "{trip:?}");
    // d2, d3 and d5 were consumed, and nobody said how they went.
    assert_eq!((trip.unreported, trip.overtaken), (3, 0), "{trip:?}");
    assert_eq!(silent(state), ["agent:bot", "service:gate"], "who asks, consumes, reports");
    // The answer of d3 had not left.
    lines(
        &mut scene,
        "revoke d3                     -> revoked d3 killed_workspace
         ack bot stopped=4 unreachable=1 -> override.acknowledged
         ack gate                      -> override.acknowledged
         lift ann workspace            -> asked
         lift bob workspace            -> kill.lifted",
    );
    let world = scene.world();
    let trip = newest(&world.state);
    assert_eq!((trip.unreported, trip.overtaken), (3, 1), "{trip:?}");
    assert!(trip.lifted.is_some());
    let said: Vec<_> =
        trip.acknowledged.values().map(|said| (said.stopped, said.unreachable)).collect();
    assert_eq!(said, [(4, 1), (0, 0)]);
    assert!(silent(&world.state).is_empty());
    world.check_replay();
}

#[test]
fn gates_that_were_not_heard_for_a_day_are_not_waited_for() {
    let mut scene = Scene::default();
    lines(&mut scene, BANK);
    lines(&mut scene, "decide idle pay d1            -> PERMIT");
    scene.world().now = TimeMs(START.0 + GATE_HEARD_MS);
    lines(&mut scene, "decide bot pay d2             -> PERMIT");
    scene.world().now = TimeMs(START.0 + GATE_HEARD_MS + 60_000);
    lines(&mut scene, "drill ann everything          -> kill.drilled");
    assert_eq!(silent(&scene.world().state), ["agent:bot"]);
}

#[test]
fn of_too_many_trips_those_that_are_over_go_first() {
    let mut scene = Scene::default();
    lines(&mut scene, BANK);
    lines(&mut scene, "trip ann workspace            -> kill.tripped");
    let first = newest(&scene.world().state).index;
    for _ in 0..300 {
        assert_eq!(scene.line("drill ann workspace"), "kill.drilled");
    }
    let world = scene.world();
    assert_eq!(world.state.trips().count(), 256);
    assert!(world.state.trip(first).is_some(), "it still stops something");
    assert!(world.state.trip(first + 1).is_none());
    world.check_replay();
}

#[test]
fn runs_that_their_own_steps_have_ended_do_not_push_out_what_people_stopped() {
    let mut scene = Scene::default();
    lines(
        &mut scene,
        "person ann operator
         agent bot
         rule go execution allow
         rule out secret deny outside
         rule ok pay allow
         trip ann surface:pay           -> kill.tripped",
    );
    let first = newest(&scene.world().state).index;
    for at in 0..260 {
        let rows = format!(
            "decide bot execution e{at} action=start capability=crm -> PERMIT
             start bot e{at}             -> execution.started
             decide bot secret s{at} capability=crm execution=@e{at} -> DENY outside_manifest out; kill.tripped"
        );
        lines(&mut scene, &rows);
    }
    let world = scene.world();
    assert_eq!(world.state.trips().count(), 256);
    assert!(world.state.trip(first).is_some(), "it still stops something");
    assert!(world.state.trip(first + 3).is_none(), "over, so it goes first");
    world.check_replay();
}

#[test]
fn an_answer_that_was_overtaken_counts_for_the_trip_that_overtook_it() {
    let mut scene = Scene::default();
    lines(&mut scene, BANK);
    lines(
        &mut scene,
        "decide bot pay d1 capability=crm model=m -> PERMIT
         decide bot pay d2 capability=crm model=m -> PERMIT
         trip ann capability:crm        -> kill.tripped
         trip ann model:m disable       -> kill.tripped
         trip ann surface:wire          -> kill.tripped",
    );
    let of = |scene: &mut Scene| -> Vec<(String, u64, u64)> {
        let trips = scene.world().state.trips();
        trips.map(|it| (it.scope.to_string(), it.unreported, it.overtaken)).collect()
    };
    lines(
        &mut scene,
        "revoke d1 capability:crm kill  -> revoked d1 killed_capability
         revoke d1 capability:crm kill  -> nothing
         revoke d2 model:m disable      -> revoked d2 disabled",
    );
    let rows = [("capability:crm", 2, 1), ("model:m", 2, 1), ("surface:wire", 2, 0)];
    assert_eq!(of(&mut scene), rows.map(|(scope, a, b)| (scope.to_owned(), a, b)));
    assert_eq!(scene.world().state.counters().unreported(), 0);
    // What is revoked before its trip is recorded is counted by none: the trip does not count it either.
    lines(
        &mut scene,
        "decide bot pay d3 branch=b     -> PERMIT
         revoke d3 branch:b kill        -> revoked d3 killed_branch
         trip ann branch:b              -> kill.tripped",
    );
    assert_eq!(of(&mut scene).pop(), Some(("branch:b".into(), 0, 0)));
    scene.world().check_replay();
}

#[test]
fn permits_that_the_plane_uses_itself_are_no_effects_out_of_reach() {
    let mut scene = Scene::default();
    lines(
        &mut scene,
        "person ann admin
         agent bot
         service gate
         rule ok pay allow
         decide ann key.create k1       -> PERMIT
         decide ann key.create k2       -> PERMIT
         decide ann key.create k3 for=gate -> PERMIT open
         consume gate k3                -> permit.consumed
         decide bot pay d1              -> PERMIT",
    );
    let counters = |scene: &mut Scene| {
        let it = *scene.world().state.counters();
        (it.consumed, it.own, it.unreported())
    };
    assert_eq!(counters(&mut scene), (4, 3, 1), "d1 alone");
    lines(&mut scene, "report ann k1                  -> outcome.reported");
    assert_eq!(counters(&mut scene), (4, 2, 1), "reported, so it is no longer one of those");
    lines(
        &mut scene,
        "trip ann workspace             -> kill.tripped
         revoke k2                      -> revoked k2 killed_workspace",
    );
    assert_eq!(counters(&mut scene), (4, 1, 1), "overtaken, so it was not used");
    assert_eq!(newest(&scene.world().state).unreported, 1);
    scene.world().check_replay();
}

#[test]
fn whoever_is_heard_on_a_surface_is_waited_for() {
    let mut scene = Scene::default();
    lines(
        &mut scene,
        "person ann operator
         agent bot
         agent asks
         service uses
         service tells
         service passes
         rule ok pay allow
         rule big wire hold
         decide bot pay d1              -> PERMIT
         decide asks wire d2            -> REQUIRE_APPROVAL operator:1
         decide bot pay d3 for=uses     -> PERMIT open
         consume uses d3                -> permit.consumed
         decide bot pay d4 for=tells    -> PERMIT open
         consume tells d4               -> permit.consumed
         vote ann d2                    -> approved
         collect asks d2                -> collected consumed",
    );
    let who = scene.who("passes");
    let world = scene.world();
    let passage = ReportPassage {
        who,
        surface: "pay".into(),
        action: "create".into(),
        environment: "production".into(),
        at: world.now,
        surface_known: true,
        open: true,
        policy: world.state.policy(),
    };
    world.run(&Command::ReportPassage(Box::new(passage))).expect("a passage");
    lines(&mut scene, "drill ann workspace            -> kill.drilled");
    let state = &scene.world().state;
    let surfaces = state.measures().surfaces().named.values();
    let heard = surfaces.flat_map(|it| &it.gates).filter(|(_, gate)| gate.heard_last.is_some());
    let mut heard: Vec<String> = heard.map(|(gate, _)| gate.as_str().to_owned()).collect();
    heard.sort();
    assert!(heard.contains(&actor("service:passes").as_str().to_owned()));
    assert_eq!(silent(state), heard);
}

#[test]
fn a_drill_counts_what_a_kill_of_its_scope_would_stop_and_stops_nothing() {
    let rows = "person ann operator
        person bob operator
        agent bot
        service gate
        rule go execution allow
        rule ok pay allow
        rule big wire hold
        decide bot execution e1 action=start capability=crm -> PERMIT
        start bot e1                    -> execution.started
        decide bot execution e2 action=start capability=ads -> PERMIT
        start bot e2                    -> execution.started
        decide bot pay p1 for=gate capability=crm model=m -> PERMIT open
        decide bot pay p2 for=gate capability=ads -> PERMIT open
        decide bot pay p3 for=gate capability=crm -> PERMIT open
        consume gate p3                 -> permit.consumed
        decide bot wire w1 capability=crm -> REQUIRE_APPROVAL operator:1
        decide bot wire w2 capability=crm -> REQUIRE_APPROVAL operator:1
        decide bot wire w3 capability=ads -> REQUIRE_APPROVAL operator:1
        vote ann w1                     -> approved
        vote ann w2 no                  -> rejected";
    let scopes = [
        ("workspace", [2, 2, 2]),
        ("everything", [2, 2, 2]),
        ("capability:crm", [1, 1, 1]),
        ("alias:crm", [1, 1, 1]),
        ("model:m", [1, 0, 0]),
        ("surface:wire", [0, 2, 0]),
        ("actor:agent:bot", [2, 2, 2]),
        ("execution:@e1", [0, 0, 1]),
        ("branch:none", [0, 0, 0]),
    ];
    let of = |it: &TripRecord| [it.permits_ended, it.approvals_barred, it.executions_ended];
    for (scope, expected) in scopes {
        let mut scene = Scene::default();
        lines(&mut scene, rows);
        let row = format!("drill ann {scope} waiting=3 -> kill.drilled");
        lines(&mut scene, &row);
        let drill = newest(&scene.world().state);
        assert_eq!((of(&drill), drill.waiting_told, drill.unreported), (expected, 3, 1), "{scope}");
        // It has stopped nothing, and in earnest it comes to the same.
        lines(&mut scene, &format!("trip ann {scope} -> kill.tripped"));
        assert_eq!(of(&newest(&scene.world().state)), expected, "{scope}");
        scene.world().check_replay();
    }
    let mut scene = Scene::default();
    lines(&mut scene, rows);
    lines(&mut scene, "drill ann role:operator -> ! override_invalid");
}
