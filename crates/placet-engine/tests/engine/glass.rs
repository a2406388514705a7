//! Ways around an exception's end: permits that outlive it, and permits that are told again after somebody
//! has closed it.

use super::exceptions::{PEOPLE, named, open};
use super::notation::{Scene, check};
use placet_types::event::{Event, PermitIssued};
use placet_types::ids::TimeMs;

const OVER: &str = "over access:crm:roles,surface:git:field.ticket,f,few,own";

/// A scene with an exception `x1` of ann, and dan, who may approve what passes under it.
fn scene(rest: &str) -> Scene {
    let mut scene = Scene::default();
    for line in open(rest).lines().chain(["newkey bob dan operator"]) {
        scene.line(line.split_once("->").map_or(line, |(command, _)| command).trim());
    }
    scene
}

fn ends(scene: &mut Scene) -> TimeMs {
    scene.world().state.exception(named("x1")).unwrap().opened.ends
}

fn collected(scene: &mut Scene) -> PermitIssued {
    let last = scene.world().entries.last().unwrap();
    let Event::PermitCollected(event) = &last.event else { panic!("{:?}", last.event) };
    event.permit.clone()
}

#[test]
fn no_permit_of_a_held_action_outlives_its_exception() {
    let rest = "git bot waives=governance controls=second_person owner=cat lasts=1000";
    for (vote, collect) in [
        ("vote dan d1", "collect bot d1 nonce=1"),
        // The permit comes with the vote, for the caller that waits.
        ("vote dan d1 waiting=bot/1", ""),
    ] {
        for to in ["", "for=gate"] {
            let mut scene = scene(rest);
            let held = scene.line(&format!("decide bot git d1 nonce=1 {to}"));
            assert_eq!(held, format!("REQUIRE_APPROVAL exception operator:1 {OVER}"));
            scene.line("+400");
            let voted = scene.line(vote);
            if !collect.is_empty() {
                assert!(scene.line(collect).starts_with("collected"), "{voted}");
            }
            let permit = collected(&mut scene);
            assert_eq!(permit.expires, ends(&mut scene), "{vote} {to}");
            // The fold takes no longer one.
            let mut log = scene.world().entries.clone();
            let mut entry = log.pop().unwrap();
            let Event::PermitCollected(event) = &mut entry.event else { panic!("a permit") };
            event.permit.expires = event.permit.expires.plus(1);
            let mut state = placet_engine::State::new(scene.world().bounds);
            log.iter().for_each(|entry| state.apply(entry).unwrap());
            let error = state.apply(&entry).expect_err("it is longer").to_string();
            assert!(error.contains("outlives its exception"), "{error}");
            // Nobody fetches it again after that.
            scene.line("+600");
            let (again, gate) = match to {
                "" => ("! permit_consumed", "! foreign"),
                _ => ("! permit_consumed", "! permit_expired"),
            };
            assert_eq!(scene.line("collect bot d1 nonce=1"), again);
            assert_eq!(scene.line("consume gate d1 nonce=1"), gate);
            scene.world().check_replay();
        }
    }
    // The same of what is permitted at once.
    let mut scene = scene("git bot waives=governance lasts=1000");
    assert_eq!(scene.line("decide bot git d1"), format!("PERMIT exception {OVER}"));
    let mut log = scene.world().entries.clone();
    let mut entry = log.pop().unwrap();
    let Event::Decision(event) = &mut entry.event else { panic!("a decision") };
    let event = std::sync::Arc::make_mut(event);
    let permit = event.permit.as_mut().unwrap();
    permit.expires = permit.expires.plus(1);
    let mut state = placet_engine::State::new(scene.world().bounds);
    log.iter().for_each(|entry| state.apply(entry).unwrap());
    let error = state.apply(&entry).expect_err("it is longer").to_string();
    assert!(error.contains("outlives its exception"), "{error}");
}

/// As after a kill: telling it again is handing it out again.
#[test]
fn what_somebody_closed_hands_out_no_permit_again() {
    check(&format!(
        "{}decide bot git d1 nonce=1 key=k -> PERMIT exception {OVER}
         decide bot git d2 nonce=2 for=gate -> PERMIT exception open {OVER},slow
         decide bot git d3 nonce=3 for=gate -> PERMIT exception open {OVER},slow
         consume gate d3 nonce=3 -> permit.consumed
         consume gate d3 nonce=3 -> nothing
         again d1               -> shown
         again d2               -> shown
         endexc ann x1          -> exception.closed
         decide bot git d4 nonce=1 key=k -> bound d1
         again d1               -> ! exception_ended
         again d2               -> ! exception_ended
         again d3               -> ! exception_ended
         consume gate d2 nonce=2 -> ! exception_ended
         consume gate d3 nonce=3 -> ! exception_ended
         # How it went can be told all the same.
         report bot d1 succeeded -> outcome.reported
         report gate d3 succeeded -> outcome.reported",
        open("git bot waives=governance")
    ));
    // Collected, and fetched again.
    let second = "git bot waives=governance controls=second_person owner=cat";
    check(&format!(
        "{}newkey bob dan operator -> key.created
         decide bot git d1 nonce=1 -> REQUIRE_APPROVAL exception operator:1 {OVER}
         vote dan d1            -> approved
         collect bot d1 nonce=1 -> collected consumed
         collect bot d1 nonce=1 -> nothing
         endexc cat x1          -> exception.closed
         again d1               -> ! exception_ended
         collect bot d1 nonce=1 -> ! exception_ended",
        open(second)
    ));
}

/// A control that is evidence counts while the store has it: looked at with every vote and when the permit is
/// fetched, not only when somebody asked.
#[test]
fn evidence_that_is_gone_makes_up_for_nothing() {
    let scene = open("git bot waives=governance controls=second_person|evidence:ticket owner=cat");
    check(&format!(
        "{scene}newkey bob dan operator -> key.created
         decide bot git d0 nonce=1 -> DENY access:crm:roles,f,surface:git:field.ticket
         decide bot git d1 nonce=1 ev=ticket -> REQUIRE_APPROVAL exception operator:1 {OVER}
         decide bot git d2 nonce=1 ev=ticket -> REQUIRE_APPROVAL exception operator:1 {OVER},slow
         decide bot git d3 nonce=1 ev=ticket -> REQUIRE_APPROVAL exception operator:1 {OVER},slow
         vote dan d1            -> invalidated
         vote dan d2 ev=ticket  -> approved
         collect bot d2 nonce=1 -> invalidated
         vote dan d3 ev=ticket  -> approved
         collect bot d3 nonce=1 ev=ticket -> collected consumed",
    ));
}

/// What policy grants by itself when it is released rests on no exception any more.
#[test]
fn what_policy_grants_by_then_needs_no_exception() {
    check(&format!(
        "{PEOPLE}rule yes pay allow
         rule h pay hold roles=owner:1
         decide ann override.exception o1 action=open -> REQUIRE_APPROVAL admin:1
         vote bob o1            -> approved
         collect ann o1         -> collected consumed
         except ann o1 x1 pay bot waives=rule:h controls=second_person owner=cat -> exception.opened
         newkey bob dan operator -> key.created
         decide bot pay d1 nonce=1 for=gate -> REQUIRE_APPROVAL exception operator:1 over h
         vote dan d1            -> approved
         drop h                 -> bundle.armed
         endexc cat x1          -> exception.closed
         collect bot d1 nonce=1 -> collected open
         again d1               -> shown
         consume gate d1 nonce=1 -> permit.consumed
         consume gate d1 nonce=1 -> nothing"
    ));
}

/// What is used up can still be released where it was held: nobody has looked at that before it is over.
#[test]
fn a_review_waits_for_what_was_held() {
    let rest = "git bot waives=governance controls=second_person|max_uses:1 owner=cat";
    for (over, answer) in [
        ("collect bot d1 nonce=1", "collected consumed"),
        ("withdraw bot d1", "withdrawn"),
        ("endexc cat x1", "exception.closed"),
        ("+10000", ""),
    ] {
        check(&format!(
            "{}newkey bob dan operator -> key.created
             decide bot git d1 nonce=1 -> REQUIRE_APPROVAL exception operator:1 {OVER}
             owes x1                -> used_up uses 1 due
             revexc bob x1          -> ! exception_live
             vote dan d1            -> approved
             revexc bob x1          -> ! exception_live
             {over}                 -> {answer}
             revexc bob x1          -> exception.reviewed",
            open(rest)
        ));
    }
}
