//! Erasing, retention and legal holds.

use super::notation::{Scene, check};
use super::world::{World, tag};
use placet_engine::{Bounds, State};
use placet_types::event::{Event, HoldPlaced, HoldScope, PayloadErased};
use placet_types::ids::HoldId;

const PEOPLE: &str = "person bob admin
     person ann operator
     person eve auditor
     agent bot admin
     service gate
     rule a pay allow
     rule h big hold\n";

#[track_caller]
fn privacy(rows: &str) {
    check(&format!("{PEOPLE}{rows}"));
}

#[test]
fn an_admin_erases_once_and_nobody_else() {
    privacy(
        "decide bot pay d1      -> PERMIT
         decide bot pay d2      -> PERMIT
         erase ann d1           -> ! role_missing
         erase eve d1           -> ! role_missing
         erase bot d1           -> ! not_human
         erase bob d1,d2        -> erased d1,d2
         erase bob d1,d2        -> nothing
         decide bot pay d3      -> PERMIT
         erase bob d2,d3        -> erased d3
         # What the policy in force retires takes nobody.
         decide bot pay d4      -> PERMIT
         erase policy d4        -> erased d4",
    );
}

#[test]
fn erasing_withdraws_what_is_pending() {
    privacy(
        "decide bot big d1               -> REQUIRE_APPROVAL operator:1
         decide bot big d2               -> REQUIRE_APPROVAL operator:1
         vote ann d2                     -> approved
         decide bot pay d3 for=gate      -> PERMIT open
         decide bot pay d4 for=gate      -> PERMIT open
         consume gate d4 nonce=n         -> permit.consumed
         decide bot big d5               -> REQUIRE_APPROVAL operator:1
         vote ann d5 no                  -> rejected
         erase bob d1,d2,d3,d4,d5        -> erased d1,d2,d3,d4,d5; withdrawn; withdrawn; \
         revoked d3 payload_erased
         vote ann d1                     -> ! approval_final
         collect bot d2 nonce=n          -> ! approval_final
         consume gate d3 nonce=n         -> ! permit_revoked
         # It was executed: that can still be reported.
         report gate d4                  -> outcome.reported"
            .replace("\\\n         ", "")
            .as_str(),
    );
}

#[test]
fn a_legal_hold_keeps_and_no_reason_is_lawful_against_it() {
    privacy(
        "decide bot pay d1 about=maria   -> PERMIT
         decide bot pay d2 about=hans    -> PERMIT
         hold ann h1 subject:maria       -> ! role_missing
         hold bob h1 subject:maria       -> hold.placed
         hold bob h1 subject:maria       -> nothing
         erase bob d1                    -> ! legal_hold
         erase bob d1 lawful             -> ! legal_hold
         erase policy d1                 -> ! legal_hold
         # All or nothing.
         erase bob d1,d2                 -> ! legal_hold
         erase bob d2                    -> erased d2
         decide bot pay d3 about=maria   -> PERMIT
         erase bob d3                    -> ! legal_hold
         hold bob h2 decision:d3         -> hold.placed
         release bob h1                  -> hold.released
         release bob h1                  -> ! not_found
         erase bob d1                    -> erased d1
         erase bob d3                    -> ! legal_hold
         release bob h2                  -> hold.released
         hold bob h3 workspace           -> hold.placed
         erase bob d3                    -> ! legal_hold
         release ann h3                  -> ! role_missing
         release bot h3                  -> ! not_human
         release bob h3                  -> hold.released
         erase bob d3                    -> erased d3",
    );
}

#[test]
fn holds_have_a_bound() {
    check(
        "world holds=2
         person bob admin
         hold bob h1 workspace  -> hold.placed
         hold bob h2 workspace  -> hold.placed
         hold bob h3 workspace  -> ! holds_full
         release bob h1         -> hold.released
         hold bob h3 workspace  -> hold.placed",
    );
}

#[test]
fn retention_ends_first_unless_the_policy_names_the_reason() {
    privacy(
        "decide bot pay d1              -> PERMIT
         decide bot pay d2              -> PERMIT
         decide bot pay d3              -> PERMIT
         erase bob d1 keep=1            -> ! retention_running
         erase bob d1 keep=1 lawful     -> erased d1 early
         # Its last millisecond is over.
         erase bob d2 keep=0            -> erased d2
         erase bob d3 keep=0 lawful     -> erased d3",
    );
}

#[test]
fn nothing_is_erased_or_released_under_a_kill() {
    privacy(
        "decide bot pay d1        -> PERMIT
         trip ann workspace       -> kill.tripped
         erase bob d1             -> ! killed
         erase policy d1          -> ! killed
         hold bob h1 workspace    -> hold.placed
         release bob h1           -> ! killed
         lift ann workspace       -> asked
         lift bob workspace       -> kill.lifted
         release bob h1           -> hold.released
         erase bob d1             -> erased d1",
    );
}

fn erased(indices: &[u64]) -> Event {
    Event::PayloadErased(PayloadErased {
        by: None,
        decision: None,
        indices: indices.to_vec(),
        policy: None,
        reason: "retention".into(),
        early: false,
    })
}

#[test]
fn the_fold_refuses_what_step_would_not_plan() {
    let placed = |name: &str, scope| {
        let (hold, reason) = (HoldId::from_bytes(tag(name)), "case-1".to_owned());
        Event::HoldPlaced(HoldPlaced { hold, scope, by: super::world::actor("human:bob"), reason })
    };
    let refused = |before: &[Event], event: Event| {
        let mut world = World::new(Bounds::default(), false, false);
        world.genesis(vec![], None);
        world.append(before.to_vec());
        let entry = world.entry(event);
        assert!(world.state.apply(&entry).is_err(), "{:?}", entry.event);
    };
    refused(&[], erased(&[1]));
    refused(&[], erased(&[7]));
    refused(&[erased(&[0])], erased(&[0]));
    refused(&[placed("h", HoldScope::Workspace)], erased(&[0]));
    refused(&[placed("h", HoldScope::Workspace)], placed("h", HoldScope::Workspace));
}

#[test]
fn state_tells_what_is_erased_and_what_is_held() {
    let mut scene = Scene::default();
    for line in PEOPLE.lines().chain([
        "decide bot pay d1 about=maria",
        "decide bot pay d2",
        "hold bob h1 subject:maria",
        "erase bob d2",
    ]) {
        scene.line(line);
    }
    let state: &State = &scene.world().state;
    let (d1, d2) = (scene_index(state, 1), scene_index(state, 2));
    assert_eq!((d1, d2), (false, true));
    assert_eq!(state.counters().erased, 1);
    assert_eq!(state.legal_holds().count(), 1);
    assert_eq!(state.legal_holds_version(), 1);
}

fn scene_index(state: &State, index: u64) -> bool {
    state.is_erased(index)
}
