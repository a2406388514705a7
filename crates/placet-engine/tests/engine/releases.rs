//! Releases and aliases in state: names for good, one permit for one thing, what a kill stops, bounds, and what
//! becomes of it after a restart.

use super::world::{Runs, World, actor, digest};
use placet_engine::{
    Bounds, ChangeAlias, Command, Lineage, LinkedApproval, LinkedChange, Plan, RegisterRelease,
    Trip, Who,
};
use placet_types::event::{Event, KillScope, KillSource, OverrideMode};
use placet_types::ids::{ApprovalId, DecisionId};

fn world(bounds: Bounds) -> World {
    let mut world = World::new(bounds, false, false);
    let ann = world.principal("human:ann", &["admin"]);
    world.genesis(vec![ann], None);
    world
}

fn who() -> Who {
    Who { actor: actor("agent:bot"), key: None, roles: [].into() }
}

fn lineage(subject: &str) -> Lineage {
    Lineage { subject: digest(subject), change: None, evaluations: vec![], approvals: vec![] }
}

fn run(world: &mut World, command: Command) -> String {
    match world.run(&command) {
        Ok(Plan::Append(_)) => "done".into(),
        Ok(_) => "nothing".into(),
        Err(error) => error.code().into(),
    }
}

fn register(world: &mut World, name: &str, decision: u8) -> String {
    let (name, by, lineage) = (name.to_owned(), who(), lineage("app"));
    let decision = DecisionId::from_bytes([decision; 16]);
    let release = RegisterRelease { name, by, decision, lineage, complete: false };
    run(world, Command::RegisterRelease(Box::new(release)))
}

fn lead(world: &mut World, alias: &str, to: &str, decision: u8) -> String {
    lead_on(world, alias, to, decision, false)
}

fn lead_on(world: &mut World, alias: &str, to: &str, decision: u8, complete: bool) -> String {
    let (alias, to, by) = (alias.to_owned(), to.to_owned(), who());
    let decision = DecisionId::from_bytes([decision; 16]);
    let change = ChangeAlias { alias, to, by, decision, complete };
    run(world, Command::ChangeAlias(Box::new(change)))
}

#[test]
fn a_name_is_for_good_and_a_permit_is_for_one_thing() {
    let mut world = world(Bounds { releases_max: 3, aliases_max: 2, ..Bounds::default() });
    assert_eq!(register(&mut world, "r1", 1), "done");
    assert_eq!(register(&mut world, "r1", 2), "already_exists");
    assert_eq!(register(&mut world, "r2", 1), "permit_consumed");
    assert_eq!(lead(&mut world, "a", "release:r1", 1), "permit_consumed");
    assert_eq!(lead(&mut world, "a", "release:r2", 2), "not_found");
    assert_eq!(lead(&mut world, "a", "release:r1", 2), "done");
    assert_eq!(lead(&mut world, "a", "model:m", 3), "done");
    assert_eq!(world.state.alias("a").unwrap().event.before.as_deref(), Some("release:r1"));
    assert_eq!(lead(&mut world, "b", "branch:b", 4), "done");
    assert_eq!(lead(&mut world, "c", "branch:b", 5), "aliases_full");
    assert_eq!(lead(&mut world, "b", "branch:c", 5), "done");
    for number in 6..9 {
        assert_eq!(register(&mut world, &format!("r{number}"), number), "done");
    }
    // The oldest is forgotten at the bound.
    assert!(world.state.release("r1").is_none() && world.state.release("r6").is_some());
    assert_eq!(world.state.measures().total().releases, [4, 0], "those too that are forgotten");
    world.check_replay();
    for at in [1, 4, world.log.len()] {
        let revived = world.revived(&mut Runs::default(), at);
        assert_eq!(world.fingerprint(&world.state), world.fingerprint(&revived), "after {at}");
    }
    let twice = world.entries[1].event.clone();
    let entry = world.entry(twice);
    assert!(world.replayed().apply(&entry).is_err(), "the fold refuses what no step plans");
    let Event::AliasChanged(mut moved) = world.entries[2].event.clone() else { panic!("an alias") };
    moved.decision = DecisionId::from_bytes([99; 16]);
    let entry = world.entry(Event::AliasChanged(moved));
    assert!(world.replayed().apply(&entry).is_err(), "it led elsewhere before");
    let scope = KillScope::Workspace;
    let mode = OverrideMode::Kill;
    let trip = Trip { scope, mode, source: KillSource::File, who: None, waiting: 0 };
    world.run(&Command::Trip(trip)).unwrap();
    assert_eq!(register(&mut world, "r10", 10), "killed");
    assert_eq!(lead(&mut world, "a", "model:n", 10), "killed");
}

/// Whoever registers as many as there is room for gets no name of an earlier one, and moves no alias.
#[test]
fn what_is_forgotten_keeps_its_name_and_what_is_led_to_is_not_forgotten() {
    let bounds = Bounds { releases_max: 3, release_names_max: 4, ..Bounds::default() };
    let mut world = world(bounds);
    assert_eq!(register(&mut world, "r1", 1), "done");
    assert_eq!(lead(&mut world, "prod", "release:r1", 2), "done");
    assert_eq!(lead(&mut world, "beta", "release:r1", 3), "done");
    for number in 4..8 {
        assert_eq!(register(&mut world, &format!("r{number}"), number), "done");
    }
    // The oldest were forgotten but the one that aliases lead to; their names stay theirs.
    assert!(world.state.release("r1").is_some() && world.state.release("r4").is_none());
    assert_eq!(register(&mut world, "r4", 8), "already_exists");
    assert_eq!(lead(&mut world, "c", "release:r4", 8), "not_found");
    for at in [3, world.log.len()] {
        let revived = world.revived(&mut Runs::default(), at);
        assert_eq!(world.fingerprint(&world.state), world.fingerprint(&revived), "after {at}");
        assert!(revived.release("r1").is_some());
        let Event::ReleaseRegistered(mut event) = world.entries[4].event.clone() else {
            panic!("a release")
        };
        assert_eq!(event.name, "r4");
        event.decision = DecisionId::from_bytes([90; 16]);
        let entry = world.entry(Event::ReleaseRegistered(event));
        let mut revived = revived;
        let error = revived.apply(&entry).expect_err("its name was another's").to_string();
        assert!(error.contains("its release is there"), "after {at}: {error}");
    }
    // One alias goes elsewhere, then the other: then it can be forgotten.
    assert_eq!(lead(&mut world, "beta", "release:r6", 8), "done");
    assert_eq!(register(&mut world, "r8", 9), "done");
    assert!(world.state.release("r1").is_some() && world.state.release("r5").is_none());
    assert_eq!(lead(&mut world, "prod", "model:m", 10), "done");
    assert_eq!(register(&mut world, "r9", 11), "done");
    assert!(world.state.release("r1").is_none());
    // Four names are kept of forgotten ones, and no more.
    assert_eq!(register(&mut world, "r10", 12), "releases_full");
    world.check_replay();
    let mut all = World::new(Bounds { releases_max: 1, ..Bounds::default() }, false, false);
    all.genesis(vec![], None);
    assert_eq!(register(&mut all, "r1", 1), "done");
    assert_eq!(lead(&mut all, "prod", "release:r1", 2), "done");
    assert_eq!(register(&mut all, "r2", 3), "releases_full");
}

#[test]
fn papers_are_complete_when_every_link_holds() {
    let mut world = world(Bounds::default());
    let add = placet_engine::AddEvidence {
        by: Who { actor: actor("service:ci"), key: None, roles: [].into() },
        digest: digest("report"),
        expires: world.now.plus(1000),
        issued: world.now,
        issuer: actor("service:ci"),
        key: None,
        kind: "review".into(),
        subject: digest("app"),
    };
    assert_eq!(run(&mut world, Command::AddEvidence(Box::new(add))), "done");
    let piece = world.state.evidence().newest(None).next().unwrap();
    let change = LinkedChange {
        index: 0,
        subject: Some(digest("app")),
        permitted: true,
        proposers: vec![actor("agent:bot"), actor("human:ann")],
        surface: "git.change".into(),
    };
    let approval = LinkedApproval {
        subject: Some(digest("app")),
        given: Some(2),
        voters: vec![actor("human:bob")],
        surface: "git.change".into(),
    };
    let good = Lineage {
        subject: digest("app"),
        change: Some((DecisionId::from_bytes([1; 16]), Some(change))),
        evaluations: vec![piece.id],
        approvals: vec![(ApprovalId::from_bytes([1; 16]), Some(approval))],
    };
    type Break = fn(&mut Lineage);
    fn change_of(lineage: &mut Lineage) -> &mut LinkedChange {
        lineage.change.as_mut().unwrap().1.as_mut().unwrap()
    }
    fn approval_of(lineage: &mut Lineage) -> &mut LinkedApproval {
        lineage.approvals[0].1.as_mut().unwrap()
    }
    let cases: [(Break, &str); 15] = [
        (|_| {}, ""),
        (|it| it.change = None, "change_missing"),
        (|it| it.change.as_mut().unwrap().1 = None, "change_unknown"),
        (|it| change_of(it).subject = None, "change_other_subject"),
        (|it| change_of(it).permitted = false, "change_not_permitted"),
        (|it| change_of(it).index = 1, "evaluation_before_change"),
        (|it| it.evaluations.clear(), "evaluation_missing"),
        (|it| it.approvals.clear(), "approval_missing"),
        (|it| it.approvals[0].1 = None, "approval_unknown"),
        (|it| approval_of(it).subject = None, "approval_other_subject"),
        (|it| approval_of(it).given = None, "approval_not_given"),
        (|it| approval_of(it).given = Some(1), "approval_before_evaluation"),
        (|it| approval_of(it).voters = vec![actor("human:ann")], "approval_own"),
        (|it| change_of(it).proposers.push(actor("service:ci")), "evaluation_own"),
        (
            |it| it.subject = digest("b"),
            "approval_other_subject change_other_subject evaluation_other_subject",
        ),
    ];
    for (number, (broken, want)) in cases.into_iter().enumerate() {
        let mut lineage = good.clone();
        broken(&mut lineage);
        assert_eq!(lineage.gaps(&world.state, world.now).join(" "), want);
        let name = format!("r{number}");
        let decision = DecisionId::from_bytes([number as u8 + 1; 16]);
        let name = name.clone();
        let command = RegisterRelease { name, by: who(), decision, lineage, complete: false };
        let registered = format!("r{number}");
        assert_eq!(run(&mut world, Command::RegisterRelease(Box::new(command))), "done");
        let release = world.state.release(&registered).unwrap();
        assert_eq!(world.state.release_gaps(release, world.now).join(" "), want);
    }
    assert_eq!(world.state.measures().total().releases, [15, 1]);
    let gaps =
        |world: &World| world.state.release_gaps(world.state.release("r0").unwrap(), world.now);
    // The decision was told that the papers are complete, and they are. What it was not told need not be.
    assert_eq!(lead_on(&mut world, "a", "release:r0", 50, true), "done");
    assert_eq!(lead_on(&mut world, "a", "release:r3", 51, true), "release_incomplete");
    assert_eq!(lead_on(&mut world, "a", "release:r3", 51, false), "done");
    world.now = world.now.plus(999);
    assert_eq!(lead_on(&mut world, "a", "release:r0", 52, true), "done");
    world.now = world.now.plus(1);
    assert_eq!(gaps(&world), ["evaluation_expired"]);
    let late = |world: &mut World, name: &str, decision: u8, complete: bool| {
        let (name, lineage) = (name.to_owned(), good.clone());
        let decision = DecisionId::from_bytes([decision; 16]);
        let late = RegisterRelease { name, by: who(), decision, lineage, complete };
        run(world, Command::RegisterRelease(Box::new(late)))
    };
    // Its evidence has expired between the decision and the change.
    assert_eq!(lead_on(&mut world, "a", "release:r0", 53, true), "release_incomplete");
    assert_eq!(world.state.alias("a").unwrap().event.to, "release:r0");
    assert_eq!(late(&mut world, "late", 54, true), "release_incomplete");
    assert_eq!(late(&mut world, "late", 54, false), "done");
    let by = Who { actor: actor("service:ci"), key: None, roles: [].into() };
    let reason = "wrong".to_owned();
    let revoke = Command::RevokeEvidence { evidence: piece.id, reason, by };
    assert_eq!(run(&mut world, revoke), "done");
    assert_eq!(gaps(&world), ["evaluation_revoked"]);
    assert_eq!(lead_on(&mut world, "a", "release:r0", 55, true), "release_incomplete");
    world.check_replay();
}
