//! Which key signs which sizes: handovers, revocations, and what becomes of them in any order.

use super::world::{Runs, World, actor};
use placet_engine::{
    Bounds, Command, LogSigner, Plan, Rejection, RevokeSigner, RotateSigner, Standing, State,
    SucceedLog, Who,
};
use placet_types::event::{Event, LogSucceeded, SignerRevoked, SignerRotated};
use placet_types::ids::DecisionId;

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

fn ann() -> Who {
    who("human:ann", &["admin"])
}

fn rotation(old: &str, new: &str, by: Option<Who>) -> RotateSigner {
    let (old, new) = (old.to_owned(), new.to_owned());
    RotateSigner { by, decision: None, old, new, note: "signed by both".into() }
}

fn rotate(old: &str, new: &str) -> Command {
    Command::RotateSigner(Box::new(rotation(old, new, Some(ann()))))
}

fn revoke(vkey: &str, from_size: Option<u64>) -> Command {
    let vkey = vkey.to_owned();
    Command::RevokeSigner(RevokeSigner { by: ann(), decision: None, vkey, from_size })
}

fn gap() -> Event {
    let zero = placet_types::ids::TimeMs(0);
    Event::Gap(placet_types::event::Gap {
        from: zero,
        to: zero,
        refused: 0,
        cause: "restart".into(),
    })
}

/// Which keys count at `size`.
fn at(state: &State, size: u64) -> Vec<&str> {
    let counts = |signer: &&LogSigner| signer.counts_at(size);
    state.signers().iter().filter(counts).map(|signer| signer.vkey.as_str()).collect()
}

#[test]
fn a_handover_closes_one_key_and_opens_the_next_at_its_index() {
    let mut world = world(Bounds::default());
    world.append(vec![gap(), gap()]);
    assert!(matches!(world.run(&rotate("key 0", "key 1")), Ok(Plan::Append(_))));
    // The entry stands at index 3: a tree of 3 entries is without it, one of 4 has it.
    assert_eq!(
        [0, 3, 4, 9].map(|size| at(&world.state, size)),
        [["key 0"], ["key 0"], ["key 1"], ["key 1"]]
    );
    let [first, second] = world.state.signers() else { panic!("two keys") };
    assert_eq!((first.index, first.from_size, first.to_size), (0, 0, Some(3)));
    assert_eq!((second.index, second.from_size, second.to_size), (3, 4, None));
    assert_eq!(second.note.as_deref(), Some("signed by both"));
    // Again, and after somebody else was faster.
    assert_eq!(world.run(&rotate("key 0", "key 1")), Ok(Plan::Nothing));
    let stale = Err(Rejection::NotFound("signing key"));
    assert_eq!(world.run(&rotate("key 0", "key 2")), stale);
    assert_eq!(world.run(&rotate("key 1", "key 0")), stale);
    world.check_replay();
}

#[test]
fn who_may_and_what_may_be_revoked() {
    let mut world = world(Bounds::default());
    let by = |by: Who| Command::RotateSigner(Box::new(rotation("key 0", "key 1", Some(by))));
    assert_eq!(world.run(&by(who("agent:bot", &["admin"]))), Err(Rejection::NotHuman));
    assert!(matches!(
        world.run(&by(who("human:bob", &["operator"]))),
        Err(Rejection::RoleMissing(_))
    ));
    assert_eq!(world.run(&revoke("key 0", None)), Err(Rejection::SignerInForce));
    // A start that completes a rotation is nobody.
    let nobody = Command::RotateSigner(Box::new(rotation("key 0", "key 1", None)));
    assert!(matches!(world.run(&nobody), Ok(Plan::Append(_))));
    assert_eq!(world.run(&revoke("key 1", None)), Err(Rejection::SignerInForce));
    assert_eq!(world.run(&revoke("key 7", None)), Err(Rejection::NotFound("signing key")));
    assert_eq!(world.run(&revoke("key 0", Some(2))), Ok(Plan::Nothing), "it never signed those");
    assert!(matches!(world.run(&revoke("key 0", Some(1))), Ok(Plan::Append(_))));
    assert_eq!(world.state.signers()[0].standing(), Standing::Retired(0));
    assert_eq!(world.run(&revoke("key 0", Some(1))), Ok(Plan::Nothing));
    assert!(matches!(world.run(&revoke("key 0", None)), Ok(Plan::Append(_))));
    assert_eq!(world.state.signers()[0].standing(), Standing::Revoked);
    assert_eq!(world.run(&revoke("key 0", Some(1))), Ok(Plan::Nothing), "nothing comes back");
    world.check_replay();
}

#[test]
fn one_permit_rotates_once_and_the_list_is_bounded() {
    let mut world = world(Bounds { signers_max: 3, ..Bounds::default() });
    let decision = Some(DecisionId::from_bytes([9; 16]));
    let under = |old, new| {
        let command = RotateSigner { decision, ..rotation(old, new, Some(ann())) };
        Command::RotateSigner(Box::new(command))
    };
    assert!(matches!(world.run(&under("key 0", "key 1")), Ok(Plan::Append(_))));
    assert_eq!(world.run(&under("key 1", "key 2")), Err(Rejection::PermitConsumed));
    assert!(matches!(world.run(&rotate("key 1", "key 2")), Ok(Plan::Append(_))));
    assert_eq!(world.run(&rotate("key 2", "key 3")), Err(Rejection::SignersFull));
}

#[test]
fn the_fold_refuses_what_no_step_plans() {
    let mut world = world(Bounds::default());
    world.run(&rotate("key 0", "key 1")).unwrap();
    let mut said = |event: Event| {
        let entry = world.entry(event);
        world.replayed().apply(&entry).map_or_else(|e| e.to_string(), |()| "applied".to_owned())
    };
    let rotated = |old: &str, new: &str| {
        let (old, new) = (old.to_owned(), new.to_owned());
        Event::SignerRotated(SignerRotated { by: None, decision: None, old, new, note: "".into() })
    };
    let revoked = |vkey: &str, from_size| {
        let vkey = vkey.to_owned();
        Event::SignerRevoked(SignerRevoked { by: ann().actor, decision: None, vkey, from_size })
    };
    assert!(said(rotated("key 0", "key 2")).contains("not in force"));
    assert!(said(rotated("key 1", "key 0")).contains("signed before"));
    assert!(said(revoked("key 1", None)).contains("in force"));
    assert!(said(revoked("key 9", None)).contains("never signed"));
    assert_eq!(said(revoked("key 0", Some(1))), "applied");
}

/// Any order of entries, handovers and revocations: the ranges stay a partition of all sizes, a
/// revocation only takes away, and log, snapshot and fold agree.
#[test]
fn ranges_partition_and_revocations_only_take_away() {
    for seed in 0..64_u64 {
        let mut world = world(Bounds::default());
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let mut keys = 1_u64;
        for _ in 0..60 {
            let before: Vec<Vec<String>> = counting(&world.state);
            match below(5) {
                0 => {
                    let (old, new) = (format!("key {}", keys - 1), format!("key {keys}"));
                    world.run(&rotate(&old, &new)).unwrap();
                    keys += 1;
                }
                1 => {
                    let key = format!("key {}", below(keys));
                    let from =
                        Some(below(world.state.next_index() + 2)).filter(|from| from % 5 != 0);
                    let done = world.run(&revoke(&key, from));
                    let in_force = key == format!("key {}", keys - 1);
                    assert_eq!(done == Err(Rejection::SignerInForce), in_force, "{key}");
                    for (size, (was, is)) in before.iter().zip(counting(&world.state)).enumerate() {
                        assert!(is.iter().all(|key| was.contains(key)), "seed {seed} size {size}");
                    }
                }
                _ => world.append(vec![gap()]),
            }
            partition(&world.state);
        }
        world.check_replay();
        let length = world.log.len();
        for until in [1, length / 2, length] {
            let revived = world.revived(&mut Runs::default(), until);
            assert_eq!(revived.signers(), world.state.signers(), "seed {seed} from {until}");
        }
    }
}

/// The keys that count, for every size up to some above the log.
fn counting(state: &State) -> Vec<Vec<String>> {
    let sizes = 0..state.next_index() + 3;
    sizes.map(|size| at(state, size).into_iter().map(str::to_owned).collect()).collect()
}

fn partition(state: &State) {
    let mut from = 0;
    for signer in state.signers() {
        assert_eq!(signer.from_size, from);
        from = signer.to_size.map_or(u64::MAX, |to| to + 1);
    }
    assert_eq!(from, u64::MAX, "one key has no end, and it is the last");
    // Whatever is revoked: the present size has a key that counts, and no size has two.
    assert_eq!(at(state, state.next_index()).len(), 1);
    assert!(counting(state).iter().all(|keys| keys.len() <= 1));
}

fn succeed(old: &str, new: &str, signed: Option<u64>) -> Command {
    let (old, new) = (old.to_owned(), new.to_owned());
    Command::SucceedLog(Box::new(SucceedLog { old, new, signed, note: "signed by both".into() }))
}

#[test]
fn a_log_goes_on_under_another_name_and_its_lost_entries_stay_the_old_ones() {
    for (signed, last) in [(None, 3), (Some(2), 3), (Some(9), 9)] {
        let mut world = world(Bounds::default());
        world.append(vec![gap(), gap()]);
        let before = world.state.origin().to_owned();
        assert!(matches!(world.run(&succeed("key 0", "b/x+1+K", signed)), Ok(Plan::Append(_))));
        assert_eq!((before == "b/x", world.state.origin()), (false, "b/x"));
        let [old, new] = world.state.signers() else { panic!("two keys") };
        assert_eq!((old.from_size, old.to_size), (0, Some(last)));
        assert_eq!((new.index, new.from_size, new.to_size), (3, 4, None));
        assert_eq!(new.note, None, "no handover leads from one name to another");
        // Again, and from a key that is not in force.
        assert_eq!(world.run(&succeed("key 0", "b/x+1+K", signed)), Ok(Plan::Nothing));
        let stale = Err(Rejection::NotFound("signing key"));
        assert_eq!(world.run(&succeed("key 0", "c/x+1+K", signed)), stale);
        assert_eq!(world.run(&succeed("b/x+1+K", "key 0", signed)), stale);
        assert!(matches!(world.run(&rotate("b/x+1+K", "b/x+2+K")), Ok(Plan::Append(_))));
        // The key of the lost directory may be in other hands.
        assert!(matches!(world.run(&revoke("key 0", Some(2))), Ok(Plan::Append(_))));
        world.check_replay();
    }
}

#[test]
fn entries_that_succeed_nothing_are_refused() {
    let mut world = world(Bounds::default());
    let base =
        LogSucceeded { new: "b/x+1+K".into(), note: "n".into(), old: "key 0".into(), signed: None };
    let own = format!("{}+1+K", world.state.origin());
    let mut said = |event: &LogSucceeded| {
        let entry = world.entry(Event::LogSucceeded(event.clone()));
        world.replayed().apply(&entry).map_or_else(|e| e.to_string(), |()| "applied".to_owned())
    };
    let with = |new: &str| LogSucceeded { new: new.into(), ..base.clone() };
    let other = LogSucceeded { old: "key 1".into(), ..base.clone() };
    assert!(said(&other).contains("not in force"));
    assert!(said(&with("key 0")).contains("signed before"));
    assert!(said(&with("nameless")).contains("no name"));
    assert!(said(&with(&own)).contains("name that it had"));
    assert_eq!(said(&base), "applied");
}
