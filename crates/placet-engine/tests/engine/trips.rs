//! What trips and drills are reported to have stopped, and what gates say of them.

use super::notation::{Scene, check};
use super::world::START;
use placet_engine::{GATE_HEARD_MS, State, TripRecord};
use placet_types::ids::TimeMs;

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
