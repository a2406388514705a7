//! What `apply` refuses: entries that no `step` of ours would have planned.

use super::notation::{Scene, roles};
use super::world::{World, actor, digest};
use placet_engine::{Bounds, State};
use placet_types::event::{
    ApprovalVoted, Event, OutcomeReported, PermitCollected, PermitConsumed, PermitEnded,
    PermitIssued, ReportedResult,
};
use placet_types::ids::{DecisionId, KeyId, PermitId, TimeMs, WorkspaceName};
use placet_types::policy::Outcome;

fn scene(rows: &str) -> Scene {
    let mut scene = Scene::default();
    for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let out = scene.line(row);
        assert!(!out.starts_with('!'), "{row}: {out}");
    }
    scene
}

/// Applies `event` to a replay of the scene's log; what the fold says of it.
fn fold(scene: &mut Scene, event: Event) -> String {
    let world = scene.world();
    let entry = world.entry(event);
    let mut state = world.replayed();
    state.apply(&entry).map_or_else(|error| error.to_string(), |()| "applied".to_owned())
}

const TWO: &str = "person ann operator
    person bob operator
    agent bot
    service gate
    rule a pay allow
    rule h wait hold roles=operator:2\n";

#[test]
fn the_order_of_a_log() {
    let mut world = World::new(Bounds::default(), false, false);
    world.genesis(vec![], None);
    let genesis = placet_types::event::Entry::parse(&world.log[0]).unwrap();
    let gap = || {
        Event::Gap(placet_types::event::Gap {
            from: TimeMs(0),
            to: TimeMs(0),
            refused: 0,
            cause: "restart".into(),
        })
    };
    let said = |entries: &[placet_types::event::Entry]| {
        let mut state = State::new(Bounds::default());
        let result = entries.iter().try_for_each(|entry| state.apply(entry));
        result.map_or_else(|e| e.to_string(), |()| "applied".to_owned())
    };
    let entry = world.entry(gap());
    assert_eq!(said(&[genesis.clone(), entry.clone()]), "applied");
    let place = "genesis stands at index 0 and nowhere else";
    assert_eq!(
        said(std::slice::from_ref(&entry)),
        format!("entry 0 does not fit the log: {place}")
    );
    assert_eq!(
        said(&[genesis.clone(), genesis.clone()]),
        format!("entry 1 does not fit the log: {place}")
    );
    let mut early = entry.clone();
    early.time = TimeMs(entry.time.0 - 1);
    assert!(said(&[genesis.clone(), early]).contains("time is before"));
    let mut fenced = entry.clone();
    fenced.epoch = 0;
    assert!(said(&[genesis.clone(), fenced]).contains("epoch is lower"));
    let mut next = entry.clone();
    next.epoch = 9;
    assert_eq!(said(&[genesis.clone(), next]), "applied");
    let mut foreign = entry;
    foreign.workspace = WorkspaceName::parse("shop").unwrap();
    assert!(said(&[genesis, foreign]).contains("another workspace"));
}

#[test]
fn a_permit_is_consumed_once_whatever_the_log_says() {
    let mut scene = scene(&format!("{TWO} decide bot pay d1 for=gate\n"));
    let id = scene.names["d1"];
    let (index, decision) = scene.world().decision(id);
    let permit = decision.permit.clone().unwrap().id;
    let consumed = |decision, permit| {
        Event::PermitConsumed(PermitConsumed {
            decision,
            permit,
            by: actor("service:gate"),
            nonce: None,
            surface: None,
        })
    };
    let not_open = "it consumes a permit that is not open";
    assert_eq!(fold(&mut scene, consumed(id, permit)), "applied");
    assert!(fold(&mut scene, consumed(id, PermitId::from_bytes([0; 16]))).contains(not_open));
    assert!(fold(&mut scene, consumed(DecisionId::from_bytes([0; 16]), permit)).contains(not_open));
    scene.line("consume gate d1 nonce=1");
    assert!(fold(&mut scene, consumed(id, permit)).contains(not_open));

    let report = |index| {
        Event::OutcomeReported(OutcomeReported {
            decision: id,
            index,
            by: actor("service:gate"),
            result: ReportedResult::Failed,
            surface: None,
        })
    };
    assert_eq!(fold(&mut scene, report(index)), "applied");
    assert!(fold(&mut scene, report(1 << 50)).contains("later entry"));
    let ended = PermitEnded {
        decision: id,
        index: 1 << 50,
        permit,
        reason: Some("killed_x".into()),
        trip: None,
        own: false,
    };
    assert!(fold(&mut scene, Event::PermitRevoked(ended)).contains("later entry"));
    scene.line("report gate d1");
    assert!(fold(&mut scene, report(index)).contains("a second time"));
}

#[test]
fn decisions_carry_the_permit_of_their_outcome_and_a_free_key() {
    let mut scene = scene(&format!("{TWO} decide bot pay d1\n"));
    let id = scene.names["d1"];
    let (_, decision) = scene.world().decision(id);
    let with = |change: &dyn Fn(&mut placet_types::event::DecisionEvent)| {
        let mut event = decision.clone();
        event.idempotency = [9; 16];
        change(&mut event);
        Event::Decision(std::sync::Arc::new(event))
    };
    assert_eq!(fold(&mut scene, with(&|_| {})), "applied");
    let other = "permit or approval";
    assert!(fold(&mut scene, with(&|event| event.permit = None)).contains(other));
    assert!(fold(&mut scene, with(&|event| event.outcome = Outcome::Deny)).contains(other));
    let bound = with(&|event| event.idempotency = decision.idempotency);
    assert!(fold(&mut scene, bound).contains("bound to another decision"));
    scene.line("trip file everything");
    assert!(fold(&mut scene, with(&|_| {})).contains("kill switch"));
}

#[test]
fn votes_and_collections_that_step_would_not_plan() {
    let mut scene = scene(&format!("{TWO} decide bot wait d1\n vote ann d1\n decide bot pay d2\n"));
    let id = scene.names["d1"];
    let (_, decision) = scene.world().decision(id);
    let opened = decision.approval.clone().unwrap();
    let vote = |by: &str| {
        Event::ApprovalVoted(ApprovalVoted {
            decision: id,
            approval: opened.id,
            by: actor(by),
            key: Some(KeyId::from_bytes([1; 16])),
            roles: roles(&["operator"]),
            stands_in: None,
            through: Vec::new(),
            approve: true,
            complete: true,
            requirement: opened.requirement,
            unechoed: false,
            via: None,
        })
    };
    let collected = |decision| {
        Event::PermitCollected(PermitCollected {
            decision,
            approval: opened.id,
            permit: PermitIssued {
                id: PermitId::from_bytes([1; 16]),
                audience: actor("agent:bot"),
                expires: TimeMs(u64::from(u32::MAX)),
                nonce: None,
                consumed: true,
            },
            constraints: None,
            policy: Some(digest("bundle 0")),
        })
    };
    assert!(fold(&mut scene, vote("human:ann")).contains("voted already"));
    assert!(fold(&mut scene, vote("agent:bot")).contains("proposed the action"));
    assert!(fold(&mut scene, collected(id)).contains("not complete"));
    assert_eq!(fold(&mut scene, vote("human:bob")), "applied");
    assert_eq!(scene.line("vote bob d1"), "approved");
    assert!(fold(&mut scene, vote("human:cat")).contains("is decided"));
    let other = scene.names["d2"];
    assert!(fold(&mut scene, collected(other)).contains("another decision"));
    assert_eq!(fold(&mut scene, collected(id)), "applied");
    scene.line("trip file workspace");
    assert!(fold(&mut scene, collected(id)).contains("kill switch"));
}
