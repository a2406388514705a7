//! Who may vouch for what, what counts, and what becomes of it: by tables, after a restart, and between
//! evaluating and deciding.

use super::notation::Scene;
use super::world::{Runs, World, actor, digest};
use placet_engine::{
    AddEvidence, Bounds, Command, EvidencePiece, IssuerChange, Plan, Rejection, State, Who,
    evidence_id,
};
use placet_types::event::{Event, EvidenceAdded, EvidenceRevoked};
use placet_types::ids::{EvidenceId, TimeMs};

const KEY: &str = "ci+00000001+A";

fn world(bounds: Bounds) -> World {
    let mut world = World::new(bounds, false, false);
    let ann = world.principal("human:ann", &["admin"]);
    world.genesis(vec![ann], None);
    world
}

fn who(name: &str, roles: &[&str]) -> Who {
    let roles = roles.iter().map(ToString::to_string).collect();
    Who { actor: actor(name), key: None, roles }
}

fn piece(world: &World, by: &str, digested: &str) -> AddEvidence {
    AddEvidence {
        by: who(by, &[]),
        digest: digest(digested),
        expires: world.now.plus(10_000),
        issued: world.now,
        issuer: actor(by),
        key: None,
        kind: "test_report".into(),
        subject: digest("the change"),
    }
}

/// What comes of it: `added`, `there`, `nothing`, or the code of a rejection.
fn run(world: &mut World, command: Command) -> String {
    match world.run(&command) {
        Ok(Plan::Append(_)) => "added".into(),
        Ok(Plan::Bound { .. }) => "there".into(),
        Ok(Plan::Nothing) => "nothing".into(),
        Err(error) => error.code().into(),
    }
}

fn add(world: &mut World, piece: &AddEvidence) -> String {
    run(world, Command::AddEvidence(Box::new(piece.clone())))
}

fn bring(world: &mut World, by: &str, digested: &str) -> String {
    let piece = piece(world, by, digested);
    add(world, &piece)
}

fn newest(world: &World) -> EvidencePiece {
    world.state.evidence().newest(None).next().expect("a piece")
}

fn issuer(world: &mut World, issuer: &str, key: &str, trust: bool, by: &Who) -> String {
    let (issuer, key, by) = (actor(issuer), key.to_owned(), by.clone());
    let change = IssuerChange { issuer, key, trust, by, decision: None };
    run(world, Command::ChangeIssuer(Box::new(change)))
}

fn revoke(world: &mut World, evidence: EvidenceId, by: Who) -> String {
    run(world, Command::RevokeEvidence { evidence, reason: "wrong".into(), by })
}

#[test]
fn nobody_vouches_in_anothers_name_but_with_their_key() {
    let mut world = world(Bounds::default());
    let ann = who("human:ann", &["admin"]);
    let own = piece(&world, "service:ci", "a");
    assert_eq!(add(&mut world, &own), "added");
    assert_eq!(add(&mut world, &own), "there", "the same again is the piece that is there");
    let forged = AddEvidence { issuer: actor("human:rev"), ..own.clone() };
    assert_eq!(add(&mut world, &forged), "foreign");
    let unknown = AddEvidence { key: Some(KEY.into()), ..own.clone() };
    assert_eq!(add(&mut world, &unknown), "issuer_key_unknown");
    assert_eq!(issuer(&mut world, "service:ci", KEY, true, &who("human:bob", &[])), "role_missing");
    let agent = who("agent:bot", &["admin"]);
    assert_eq!(issuer(&mut world, "agent:bot", KEY, true, &agent), "not_human");
    assert_eq!(issuer(&mut world, "service:ci", KEY, true, &ann), "added");
    assert_eq!(issuer(&mut world, "service:ci", KEY, true, &ann), "nothing");
    assert_eq!(issuer(&mut world, "service:cd", KEY, true, &ann), "foreign", "it is another's");
    // Whoever has a key signs; then it does not matter who brings it.
    assert_eq!(bring(&mut world, "service:ci", "b"), "evidence_unsigned");
    let signed = AddEvidence { key: Some(KEY.into()), ..piece(&world, "service:ci", "b") };
    let brought = AddEvidence { by: who("agent:bot", &[]), ..signed.clone() };
    assert_eq!(add(&mut world, &brought), "added");
    assert!(newest(&world).attested && newest(&world).issuer == actor("service:ci"));
    let other = AddEvidence { issuer: actor("service:cd"), ..signed };
    assert_eq!(add(&mut world, &other), "issuer_key_unknown");
    // A key that is revoked takes what it signed along, and never comes back.
    let id = newest(&world).id;
    assert!(world.state.evidence().stands(&id));
    assert_eq!(issuer(&mut world, "service:ci", KEY, false, &ann), "added");
    assert!(!world.state.evidence().stands(&id) && !newest(&world).attested);
    assert_eq!(issuer(&mut world, "service:ci", KEY, true, &ann), "issuer_key_revoked");
    assert_eq!(
        add(&mut world, &AddEvidence { digest: digest("c"), ..brought }),
        "issuer_key_unknown"
    );
    world.check_replay();
}

/// The name in front of a key is anybody's choice: it makes no other key of it.
#[test]
fn a_key_is_the_same_by_whatever_name() {
    let mut world = world(Bounds::default());
    let ann = who("human:ann", &["admin"]);
    let (key, again) = ("ci+00000001+AbCd+e/=", "ci-again+00000002+AbCd+e/=");
    assert_eq!(issuer(&mut world, "service:ci", key, true, &ann), "added");
    assert_eq!(issuer(&mut world, "service:ci", again, true, &ann), "issuer_key_known");
    assert_eq!(issuer(&mut world, "human:security", again, true, &ann), "foreign");
    let other = "ci+00000003+AbCd+f/=";
    assert_eq!(issuer(&mut world, "service:ci", other, true, &ann), "added", "another key");
    let signed = AddEvidence { key: Some(key.into()), ..piece(&world, "service:ci", "a") };
    assert_eq!(add(&mut world, &signed), "added");
    let id = newest(&world).id;
    // Revoked by any of its names, it is revoked, for good and for everybody.
    assert_eq!(issuer(&mut world, "human:security", again, false, &ann), "foreign");
    assert_eq!(issuer(&mut world, "service:ci", again, false, &ann), "added");
    assert!(!world.state.evidence().stands(&id));
    for (whose, name) in [("service:ci", key), ("service:ci", again), ("human:security", again)] {
        assert_eq!(issuer(&mut world, whose, name, true, &ann), "issuer_key_revoked", "{name}");
    }
    assert_eq!(add(&mut world, &signed), "issuer_key_unknown");
    assert_eq!(issuer(&mut world, "service:ci", again, false, &ann), "nothing");
    world.check_replay();
    // Nor does the fold take what no step plans.
    let Event::IssuerTrusted(mut event) = world.entries[1].event.clone() else { panic!("a key") };
    event.key = again.into();
    event.issuer = actor("human:security");
    let entry = world.entry(Event::IssuerTrusted(event));
    let error = world.replayed().apply(&entry).expect_err("it is known").to_string();
    assert!(error.contains("a second time"), "{error}");
}

#[test]
fn times_are_what_they_can_be() {
    let mut world = world(Bounds::default());
    let good = piece(&world, "service:ci", "a");
    let now = world.now;
    let year = 365 * 24 * 3_600_000;
    let cases = [
        (now.plus(60_000), now.plus(70_000), "added"),
        (now.plus(60_001), now.plus(70_000), "evidence_time_invalid"),
        (TimeMs(now.0 - year), now, "evidence_time_invalid"),
        (TimeMs(now.0 - year), now.plus(1), "added"),
        (now.plus(10), now.plus(10), "evidence_time_invalid"),
        (now, now.plus(10 * year), "added"),
        (now, now.plus(11 * year), "evidence_time_invalid"),
    ];
    for (issued, expires, want) in cases {
        let piece = AddEvidence { issued, expires, ..good.clone() };
        assert_eq!(add(&mut world, &piece), want, "{issued:?} {expires:?}");
    }
}

#[test]
fn what_was_taken_back_does_not_come_again() {
    let mut world = world(Bounds::default());
    let own = piece(&world, "service:ci", "a");
    assert_eq!(add(&mut world, &own), "added");
    let id = newest(&world).id;
    assert_eq!(id, evidence_id(world.now, 1));
    assert_eq!(revoke(&mut world, id, who("agent:bot", &["admin"])), "foreign", "no machine");
    assert_eq!(revoke(&mut world, id, who("human:bob", &["operator"])), "foreign");
    assert_eq!(
        revoke(&mut world, EvidenceId::from_bytes([7; 16]), who("service:ci", &[])),
        "not_found"
    );
    assert_eq!(revoke(&mut world, id, who("service:ci", &[])), "added");
    assert_eq!(revoke(&mut world, id, who("human:eva", &["evaluation_owner"])), "nothing");
    assert_eq!(add(&mut world, &own), "evidence_revoked");
    let later = AddEvidence { expires: world.now.plus(20_000), ..own.clone() };
    assert_eq!(add(&mut world, &later), "evidence_revoked", "nor with other times");
    let another = AddEvidence { subject: digest("another change"), ..own.clone() };
    assert_eq!(add(&mut world, &another), "added", "it was said of one subject");
    let last = newest(&world).id;
    assert_eq!(revoke(&mut world, last, who("human:eva", &["evaluation_owner"])), "added");
    world.check_replay();
}

/// Who says the same twice, with other times, has it taken back once.
#[test]
fn what_was_taken_back_does_not_stand_under_another_id() {
    let mut world = world(Bounds::default());
    let one = piece(&world, "service:ci", "a");
    let two = AddEvidence { expires: world.now.plus(20_000), ..one.clone() };
    let three = AddEvidence { expires: world.now.plus(30_000), ..one.clone() };
    let elsewhere = AddEvidence { subject: digest("another change"), ..one.clone() };
    let ids: Vec<EvidenceId> = [&one, &two, &three, &elsewhere]
        .map(|piece| {
            assert_eq!(add(&mut world, piece), "added");
            newest(&world).id
        })
        .into();
    assert_eq!(revoke(&mut world, ids[1], who("service:ci", &[])), "added");
    for (id, stands) in ids.iter().zip([false, false, false, true]) {
        assert_eq!(world.state.evidence().stands(id), stands, "{id}");
        assert_eq!(world.state.evidence().get(id).unwrap().revoked, !stands, "{id}");
    }
    let found = world.state.evidence().of_digest(&one.kind, &one.digest, Some(&one.subject), 9);
    assert!(found.iter().all(|it| it.revoked || it.subject != one.subject), "{found:?}");
    assert_eq!(revoke(&mut world, ids[0], who("service:ci", &[])), "nothing");
    let revived = world.revived(&mut Runs::default(), world.log.len());
    assert_eq!(world.fingerprint(&world.state), world.fingerprint(&revived));
    world.check_replay();
    // Older logs say of both that they were taken back.
    let Event::EvidenceRevoked(said) = world.entries.last().unwrap().event.clone() else {
        panic!("a revocation")
    };
    let first = EvidenceRevoked { evidence: ids[0], ..said };
    let entry = world.entry(Event::EvidenceRevoked(first));
    assert!(world.replayed().apply(&entry).is_ok());
}

#[test]
fn bounds_hold_and_what_has_expired_makes_room() {
    let mut world = world(Bounds { evidence_max: 512, ..Bounds::default() });
    let ann = who("human:ann", &["admin"]);
    assert_eq!(issuer(&mut world, "service:ci", KEY, true, &ann), "added");
    let signed = |world: &World, digested: &str| AddEvidence {
        key: Some(KEY.into()),
        ..piece(world, "service:ci", digested)
    };
    for number in 0..512 {
        let piece = signed(&world, &format!("report {number}"));
        assert_eq!(add(&mut world, &piece), "added");
    }
    let more = signed(&world, "one more");
    assert_eq!(add(&mut world, &more), "evidence_full");
    world.now = world.now.plus(10_000);
    let more = signed(&world, "one more");
    assert_eq!(add(&mut world, &more), "added");
    assert_eq!(world.state.evidence().len(), 257);
    // Nobody fills the store with one report.
    for number in 1..64 {
        let again = signed(&world, "one more");
        let again = AddEvidence { expires: again.expires.plus(number), ..again };
        assert_eq!(add(&mut world, &again), "added");
    }
    let again = signed(&world, "one more");
    let again = AddEvidence { expires: again.expires.plus(64), ..again };
    assert_eq!(add(&mut world, &again), "evidence_full");
    // About another subject it says something else.
    let another = AddEvidence { subject: digest("another change"), ..again };
    assert_eq!(add(&mut world, &another), "added");
    world.check_replay();
    for number in 0..16 {
        assert_eq!(issuer(&mut world, "service:cd", &format!("key {number}"), true, &ann), "added");
    }
    assert_eq!(issuer(&mut world, "service:cd", "key 16", true, &ann), "issuer_keys_full");
}

/// A short-lived bare word of a type that nobody else uses.
fn junk(world: &World, number: u64) -> AddEvidence {
    let expires = world.now.plus(3000);
    AddEvidence { kind: format!("junk_{number}"), expires, ..piece(world, "agent:junk", "junk") }
}

/// Whoever may propose brings bare words of as many types, about as many digests as they like: that keeps out
/// neither others nor what is signed.
#[test]
fn nobodys_bare_word_keeps_out_what_others_say() {
    let mut world = world(Bounds { evidence_max: 4096, ..Bounds::default() });
    let ann = who("human:ann", &["admin"]);
    assert_eq!(issuer(&mut world, "service:ci", KEY, true, &ann), "added");
    for number in 0..64 {
        let piece = junk(&world, number);
        assert_eq!(add(&mut world, &piece), "added", "{number}");
    }
    let more = junk(&world, 64);
    assert_eq!(add(&mut world, &more), "evidence_full", "64 types each");
    assert_eq!(bring(&mut world, "agent:other", "a"), "added", "another caller has its own");
    // In pieces: half of them each, three quarters together, and what is signed has the rest.
    for (by, want) in [("agent:a", 2048), ("agent:b", 3072 - 65 - 2048)] {
        let mut added = 0;
        while bring(&mut world, by, &format!("{by} {added}")) == "added" {
            added += 1;
        }
        assert_eq!(added, want, "{by}");
    }
    let signed = |world: &World, digested: &str| AddEvidence {
        key: Some(KEY.into()),
        ..piece(world, "service:ci", digested)
    };
    for number in 0..100 {
        let piece = AddEvidence { kind: format!("scan_{number}"), ..signed(&world, "scan") };
        assert_eq!(add(&mut world, &piece), "added", "{number}");
    }
    assert_eq!(bring(&mut world, "agent:d", "d"), "evidence_full");
    world.check_replay();
    // What has expired makes room, also of types: names go with the last piece.
    world.now = world.now.plus(10_000);
    assert_eq!(bring(&mut world, "agent:d", "d"), "added");
    let again = AddEvidence { kind: "junk_once_more".into(), ..piece(&world, "agent:junk", "x") };
    assert_eq!(add(&mut world, &again), "added");
    world.check_replay();
    for at in [70, 3000, world.log.len()] {
        let revived = world.revived(&mut Runs::default(), at);
        assert_eq!(world.fingerprint(&world.state), world.fingerprint(&revived), "after {at}");
    }
}

/// Bare words about other subjects, or newer ones, hide nothing that is presented by its digest.
#[test]
fn a_digest_that_many_speak_of_is_found_by_what_counts() {
    let mut world = world(Bounds::default());
    let ann = who("human:ann", &["admin"]);
    assert_eq!(issuer(&mut world, "service:ci", KEY, true, &ann), "added");
    let signed = AddEvidence { key: Some(KEY.into()), ..piece(&world, "service:ci", "report") };
    assert_eq!(add(&mut world, &signed), "added");
    let good = newest(&world).id;
    for number in 0..256 {
        let other = piece(&world, "agent:junk", "report");
        let subject = if number < 64 { other.subject } else { digest(&format!("{number}")) };
        let other = AddEvidence { expires: other.expires.plus(number), subject, ..other };
        assert_eq!(add(&mut world, &other), "added", "{number}");
    }
    let other = AddEvidence { subject: digest("x"), ..piece(&world, "agent:junk", "report") };
    assert_eq!(add(&mut world, &other), "evidence_full", "256 of one digest");
    // The issuer's next one is let in, whatever there is of this digest.
    let next = AddEvidence { subject: digest("next"), ..signed.clone() };
    assert_eq!(add(&mut world, &next), "added");
    let (subject, store) = (signed.subject, world.state.evidence());
    let found = store.of_digest("test_report", &signed.digest, Some(&subject), 2);
    assert_eq!(found[0].id, good);
    assert!(found.iter().all(|it| it.subject == subject));
}

/// Where a key was revoked its issuer is the last to be believed without one.
#[test]
fn who_has_had_a_key_signs() {
    let mut world = world(Bounds::default());
    let ann = who("human:ann", &["admin"]);
    assert_eq!(issuer(&mut world, "service:ci", KEY, true, &ann), "added");
    assert_eq!(bring(&mut world, "service:ci", "a"), "evidence_unsigned");
    assert_eq!(issuer(&mut world, "service:ci", KEY, false, &ann), "added");
    assert_eq!(bring(&mut world, "service:ci", "a"), "evidence_unsigned");
    let other = "ci+00000002+B";
    assert_eq!(issuer(&mut world, "service:ci", other, true, &ann), "added");
    let signed = AddEvidence { key: Some(other.into()), ..piece(&world, "service:ci", "a") };
    assert_eq!(add(&mut world, &signed), "added");
}

#[test]
fn a_snapshot_holds_it_to_the_block() {
    let mut world = world(Bounds { evidence_max: 600, ..Bounds::default() });
    let ann = who("human:ann", &["admin"]);
    assert_eq!(issuer(&mut world, "human:rev", KEY, true, &ann), "added");
    for number in 0..900_u64 {
        world.now = world.now.plus(100);
        let own = piece(&world, &format!("service:ci-{}", number % 5), &format!("{}", number / 3));
        let own = match number % 4 {
            0 => AddEvidence { key: Some(KEY.into()), issuer: actor("human:rev"), ..own },
            _ => own,
        };
        assert_eq!(add(&mut world, &own), "added", "{number}");
        if number % 50 == 0 {
            let id = newest(&world).id;
            assert_eq!(revoke(&mut world, id, ann.clone()), "added");
        }
    }
    world.check_replay();
    for at in [1, 300, 700, world.log.len()] {
        let mut runs = Runs::default();
        let revived = world.revived(&mut runs, at);
        assert_eq!(world.fingerprint(&world.state), world.fingerprint(&revived), "after {at}");
        // Cut off or altered anywhere in what it holds, it is none.
        let step = (runs.bytes.len() / 97).max(1);
        for end in (0..runs.bytes.len()).step_by(step) {
            let cut = State::read_snapshot(&runs.bytes[..end], world.bounds, at as u64);
            assert!(cut.is_none(), "cut at {end}");
        }
    }
}

#[test]
fn the_fold_refuses_what_no_step_plans() {
    let mut world = world(Bounds::default());
    let own = piece(&world, "service:ci", "a");
    assert_eq!(add(&mut world, &own), "added");
    let Event::EvidenceAdded(good) = world.entries[1].event.clone() else { panic!("a piece") };
    let next = EvidenceAdded { evidence: evidence_id(world.now, 2), ..good.clone() };
    let cases: [(&str, EvidenceAdded); 4] = [
        ("another id", good),
        ("did not sign it", EvidenceAdded { issuer: actor("human:rev"), ..next.clone() }),
        ("did not sign it", EvidenceAdded { key: Some(KEY.into()), ..next.clone() }),
        ("out of range", EvidenceAdded { expires: TimeMs(1 << 48), ..next }),
    ];
    for (why, event) in cases {
        let entry = world.entry(Event::EvidenceAdded(event));
        let error = world.replayed().apply(&entry).expect_err(why);
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// Evaluated with a piece that is taken back before its turn comes, a request is not decided: it is asked
/// again, and finds the piece revoked.
#[test]
fn what_is_taken_back_between_evaluating_and_deciding_counts_no_more() {
    let mut scene = Scene::default();
    for line in ["person ann admin", "person eva operator", "agent bot", "rule a pay allow"] {
        scene.line(line);
    }
    for line in ["rule h big hold", "decide bot big d0"] {
        scene.line(line);
    }
    assert_eq!(scene.line("vote eva d0"), "approved");
    let own = piece(scene.world(), "service:ci", "a");
    assert_eq!(add(scene.world(), &own), "added");
    let id = newest(scene.world()).id;
    let commands = ["decide bot pay d1", "decide bot big d2", "vote eva d0", "collect bot d0"];
    for revoked in [false, true] {
        if revoked {
            assert_eq!(revoke(scene.world(), id, who("service:ci", &[])), "added");
        }
        for line in commands {
            let mut command = scene.parse(line);
            let verdict = match &mut command {
                Command::Decide(command) => &mut command.verdict,
                Command::Vote(command) => &mut command.verdict,
                Command::Collect(command) => &mut command.verdict,
                other => panic!("{other:?}"),
            };
            verdict.evidence = vec![id];
            let now = scene.world().now;
            let plan =
                placet_engine::step::<super::world::Portable>(&scene.world().state, &command, now);
            let moved = plan == Err(Rejection::EvidenceMoved);
            assert_eq!(moved, revoked, "{line}: {plan:?}");
            // A piece that was never there, as one of another workspace, is no better.
            let mut foreign = command;
            if let Command::Decide(command) = &mut foreign {
                command.verdict.evidence = vec![evidence_id(now, 99)];
                let plan = placet_engine::step::<super::world::Portable>(
                    &scene.world().state,
                    &foreign,
                    now,
                );
                assert_eq!(plan, Err(Rejection::EvidenceMoved), "{line}");
            }
        }
    }
}
