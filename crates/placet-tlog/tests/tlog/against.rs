//! Papers against each other and keys after each other: comparison, evidence of a fork, handovers
//! and revocation.

use crate::fixture::{Log, ORIGIN, entry, key, note, signing, trust, trust_one};
use ed25519_dalek::Signer as _;
use placet_tlog::compare::{Basis, Comparison, Contradiction, EvidenceError, Fork, Paper, compare};
use placet_tlog::handover::{Handover, HandoverTextError, split_chain};
use placet_tlog::merkle::{ProofError, empty_root};
use placet_tlog::trust::{KeyStatus, RotationError, TrustKey};
use placet_tlog::verify::{PortableHasher as H, VerifyError, verify_checkpoint};
use placet_tlog::{Checkpoint, Trust};
use proptest::prelude::*;

/// The log with its first `size` entries, or another whose entries differ from `from` on.
fn log(size: u64, from: u64) -> Log {
    Log::new((0..size).map(|at| entry(if at < from { at } else { at + 1000 })).collect())
}

fn paper(text: &str) -> Paper {
    Paper::verify(text.as_bytes(), &trust()).unwrap()
}

fn checkpoint(log: &Log) -> Paper {
    paper(&note(&log.body(), &[(7, ORIGIN)]))
}

#[test]
fn two_papers_are_compared() {
    let (small, large) = (log(5, 99), log(11, 99));
    let (old, new) = (checkpoint(&small), checkpoint(&large));
    let proof = large.tree.consistency_proof(5, 11, &mut |_| None).unwrap();
    let (old_size, new_size) = (5, 11);
    let needs = |refused| Comparison::NeedsProof { old_size, new_size, refused };
    let consistent = |by| Comparison::Consistent { old_size, new_size, by };
    for (a, b) in [(&old, &new), (&new, &old)] {
        assert_eq!(compare(a, b, None), needs(None));
        assert_eq!(compare(a, b, Some(&proof)), consistent(Basis::Proof));
        assert_eq!(compare(a, b, Some(&proof[1..])), needs(Some(ProofError::PathLength)));
        assert_eq!(compare(a, b, None).code(), "needs_proof");
    }
    assert_eq!(compare(&old, &old, None), Comparison::Same);
    assert_eq!(
        compare(&paper(&small.receipt(1)), &paper(&small.receipt(4)), None),
        Comparison::Same
    );
    // The path of leaf 4 of eleven holds the roots over 0..4 and of leaf 4: all of the first five.
    assert_eq!(compare(&old, &paper(&large.receipt(4)), None), consistent(Basis::Papers));
    assert_eq!(compare(&old, &paper(&large.receipt(9)), None), needs(None));
    let empty = note(&Checkpoint::new(ORIGIN, 0, empty_root::<H>()).body(), &[(7, ORIGIN)]);
    assert_eq!(compare(&paper(&empty), &new, None).code(), "consistent");
    let odd = note(&Checkpoint::new(ORIGIN, 0, [1; 32]).body(), &[(7, ORIGIN)]);
    assert_eq!(compare(&paper(&odd), &new, None).code(), "fork");

    let elsewhere = Checkpoint::new("placet/0123456789abcdef/other", 5, [1; 32]).body();
    let other = key(8, "placet/0123456789abcdef/other");
    let text = note(&elsewhere, &[(8, other.name())]);
    assert_eq!(Paper::verify(text.as_bytes(), &trust()), Err(VerifyError::UnknownOrigin));
    let both = Trust::new(vec![trust().keys()[0].clone(), TrustKey::active(other)]).unwrap();
    let foreign = Paper::verify(text.as_bytes(), &both).unwrap();
    assert_eq!(compare(&foreign, &old, None), Comparison::DifferentOrigins);
}

#[test]
fn a_fork_is_proven_by_what_was_signed() {
    let (one, two) = (log(11, 99), log(11, 6));
    let (root_one, root_two) = (one.tree.root(), two.tree.root());
    let fork = |a: &Paper, b: &Paper| Fork::of(a, b).map(|fork| fork.contradiction());
    // Same size, other root.
    assert_eq!(
        fork(&checkpoint(&one), &checkpoint(&two)),
        Some(Contradiction::Root { size: 11, first: root_one, second: root_two })
    );
    // Same index, other entry, at different sizes.
    let grown = log(13, 6);
    assert!(matches!(
        fork(&paper(&one.receipt(6)), &paper(&grown.receipt(6))),
        Some(Contradiction::Entry { index: 6, .. })
    ));
    // Other indexes, but a subtree that both fix.
    assert!(matches!(
        fork(&paper(&one.receipt(1)), &paper(&grown.receipt(2))),
        Some(Contradiction::Subtree { level: 2, index: 1, .. })
    ));
    // The path in the larger tree fixes the smaller root.
    let eight = log(8, 99);
    assert!(matches!(
        fork(&checkpoint(&eight), &paper(&grown.receipt(12))),
        Some(Contradiction::Subtree { level: 3, index: 0, .. })
    ));
    let seven = log(7, 99);
    assert!(matches!(
        fork(&checkpoint(&seven), &paper(&grown.receipt(6))),
        Some(Contradiction::Root { size: 7, .. })
    ));
    // A fork that these two do not show is not claimed; a proof cannot be had for it either.
    assert_eq!(fork(&checkpoint(&one), &checkpoint(&grown)), None);
    let proof = grown.tree.consistency_proof(11, 13, &mut |_| None).unwrap();
    let answer = compare(&checkpoint(&one), &checkpoint(&grown), Some(&proof));
    let refused = Some(ProofError::RootMismatch);
    assert_eq!(answer, Comparison::NeedsProof { old_size: 11, new_size: 13, refused });
}

#[test]
fn evidence_convinces_a_third_party_and_nobody_without_it() {
    let (one, two) = (log(11, 99), log(13, 6));
    let fork = Fork::of(&paper(&one.receipt(6)), &paper(&two.receipt(6))).unwrap();
    let text = fork.write();
    assert!(
        text.starts_with(&format!("placet/fork/1\norigin {ORIGIN}\nentry 6\nfirst ")),
        "{text}"
    );
    assert_eq!(Fork::verify(&text, &trust()), Ok(fork.clone()));
    let stranger = trust_one(key(9, ORIGIN), KeyStatus::Active, 0, None);
    assert_eq!(Fork::verify(&text, &stranger), Err(EvidenceError::First(VerifyError::UnknownKey)));
    for at in (0..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let altered = String::from_utf8_lossy(&bytes);
        assert!(Fork::verify(&altered, &trust()).is_err(), "byte {at}");
        assert!(Fork::verify(text.get(..at).unwrap_or(""), &trust()).is_err(), "prefix {at}");
    }
    assert_eq!(Fork::verify(&format!("{text}\n"), &trust()), Err(EvidenceError::Text));
    let (first, _) = fork.papers();
    let same = format!("first {0}\n{1}second {0}\n{1}", first.text().len(), first.text());
    let head = text.split_once("\n\n").unwrap().0;
    assert_eq!(Fork::verify(&format!("{head}\n\n{same}"), &trust()), Err(EvidenceError::NoFork));
}

/// The signed note by which `new` follows `old` at `size`.
fn handover(old: u8, new: u8, size: u64) -> String {
    let statement = Handover::new(key(old, ORIGIN), key(new, ORIGIN), size).unwrap();
    let sign = |seed: u8| move |bytes: &[u8]| signing(seed).sign(bytes).to_bytes();
    statement.sign(sign(old), sign(new)).unwrap()
}

/// Which seeds' keys sign size `size` in this trust.
fn signers(trust: &Trust, size: u64) -> Vec<u8> {
    let body = Checkpoint::new(ORIGIN, size, [1; 32]).body();
    let good = |seed: &u8| verify_checkpoint(&note(&body, &[(*seed, ORIGIN)]), trust).is_ok();
    (1..=9).filter(good).collect()
}

#[test]
fn a_handover_moves_trust_at_its_size() {
    let before = trust();
    let after = before.accept_handover(&handover(7, 8, 100)).unwrap();
    assert_eq!(signers(&before, 101), [7]);
    assert_eq!(signers(&after, 99), [7]);
    assert_eq!(signers(&after, 100), [7]);
    assert_eq!(signers(&after, 101), [8]);
    assert_eq!(Trust::parse::<H>(after.write().as_bytes()).unwrap(), after);
    // Given again, it changes nothing; another by the closed key is refused.
    assert_eq!(after.accept_handover(&handover(7, 8, 100)), Ok(after.clone()));
    for (new, size) in [(8, 99), (8, 101), (6, 100), (6, 50)] {
        let refused = after.accept_handover(&handover(7, new, size));
        assert_eq!(refused, Err(RotationError::OldKeyClosed), "{new} {size}");
    }
}

#[test]
fn a_handover_is_refused_with_its_reason() {
    let check = |trust: &Trust, note: &str, want: RotationError| {
        assert_eq!(trust.accept_handover(note), Err(want), "{note}");
        assert!(want.code().starts_with("handover_"));
    };
    let with = |status, from, to| trust_one(key(7, ORIGIN), status, from, to);
    let good = handover(7, 8, 100);
    check(&Trust::default(), &good, RotationError::UnknownKey);
    check(&with(KeyStatus::Revoked, 0, None), &good, RotationError::OldKeyRevoked);
    check(&with(KeyStatus::Retired, 0, Some(100)), &good, RotationError::OldKeyClosed);
    check(&with(KeyStatus::Active, 101, None), &good, RotationError::SizeOutOfRange);
    check(&with(KeyStatus::Active, 0, Some(99)), &good, RotationError::SizeOutOfRange);
    let new = |status, from, to| {
        let new = TrustKey { key: key(8, ORIGIN), from_size: from, to_size: to, status };
        Trust::new(vec![trust().keys()[0].clone(), new]).unwrap()
    };
    check(&new(KeyStatus::Revoked, 0, None), &good, RotationError::NewKeyRevoked);
    check(&new(KeyStatus::Retired, 0, Some(100)), &good, RotationError::NewKeyRange);
    check(&new(KeyStatus::Active, 102, None), &good, RotationError::NewKeyRange);
    assert_eq!(
        signers(&new(KeyStatus::Active, 101, None).accept_handover(&good).unwrap(), 100),
        [7]
    );

    let lines: Vec<&str> = good.lines().collect();
    let without = |at: usize| {
        let kept = lines.iter().enumerate().filter(|(n, _)| *n != at);
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    check(&trust(), &without(6), RotationError::OldSignature);
    check(&trust(), &without(7), RotationError::NewSignature);
    let body = Handover::new(key(7, ORIGIN), key(8, ORIGIN), 100).unwrap().body();
    check(&trust(), &note(&body, &[(9, ORIGIN), (8, ORIGIN)]), RotationError::OldSignature);
    check(&trust(), &good.replace("size 100", "size 101"), RotationError::OldSignature);
    // A good line does not make up for a bad one.
    let (_, bad) =
        handover(7, 8, 99).split_once("\n\n").map(|(a, b)| (a.len(), b.to_string())).unwrap();
    check(&trust(), &format!("{good}{bad}"), RotationError::OldSignature);
}

#[test]
fn handovers_have_one_spelling() {
    let good = handover(7, 8, 100);
    let (read, parsed) = Handover::parse::<H>(&good).unwrap();
    assert_eq!((read.origin(), read.size()), (ORIGIN, 100));
    assert_eq!(read.body(), parsed.text());
    let check = |text: &str, want: HandoverTextError| {
        assert_eq!(Handover::parse::<H>(text).unwrap_err(), want, "{text}");
    };
    for (from, to) in [
        ("size 100", "size 0100"),
        ("size 100", "size  100"),
        ("size 100", "100"),
        ("/1\n", "/2\n"),
        ("\nold", "\nmore x\nold"),
        ("origin ", ""),
    ] {
        check(&good.replacen(from, to, 1), HandoverTextError::Text);
    }
    check(&good.replacen("acme\n", "acne\n", 1), HandoverTextError::Origin);
    let (a, other) = (key(7, ORIGIN), key(8, "other"));
    assert_eq!(Handover::new(a.clone(), other, 1), Err(HandoverTextError::Origin));
    assert_eq!(Handover::new(a.clone(), a, 1), Err(HandoverTextError::SameKey));
    // Neither text passes for the other.
    assert!(Checkpoint::parse(&read.body()).is_err());
    let body = Checkpoint::new("placet/handover/1", 1, [1; 32]).body();
    check(&note(&body, &[(7, ORIGIN)]), HandoverTextError::Text);
}

/// A verifier walks from whatever trust file it has to the present key.
#[test]
fn a_chain_is_walked_from_any_trust_file_along_it() {
    let chain = [handover(5, 6, 50), handover(6, 7, 90), handover(7, 8, 100), handover(8, 9, 200)];
    let text = chain.concat();
    assert_eq!(split_chain(&text).unwrap(), chain);
    let mut held = trust_one(key(5, ORIGIN), KeyStatus::Active, 0, None);
    let end = held.accept_chain(&text).unwrap();
    assert_eq!(signers(&end, 300), [9]);
    assert_eq!([90, 91, 100, 101].map(|size| signers(&end, size)), [[6], [7], [7], [8]]);
    for link in &chain {
        held = held.accept_handover(link).unwrap();
        assert_eq!(held.accept_chain(&text), Ok(end.clone()));
    }
    // Who pinned the third key only passes over what came before it.
    let later = trust().accept_chain(&text).unwrap();
    assert_eq!((signers(&later, 300), signers(&later, 99)), (vec![9], vec![7]));
    // A missing or forged link ends the walk and says where.
    let fails = |links: &[&String]| {
        let text: String = links.iter().map(|link| link.as_str()).collect();
        let error = trust_one(key(5, ORIGIN), KeyStatus::Active, 0, None).accept_chain(&text);
        error.map(|_| ()).map_err(|error| (error.at, error.error))
    };
    let [a, b, c, _] = &chain;
    assert_eq!(fails(&[a, c]), Err((1, RotationError::UnknownKey)));
    assert_eq!(
        fails(&[a, b, a, &b.replace("size 90", "size 80")]),
        Err((3, RotationError::OldKeyClosed))
    );
    assert_eq!(
        fails(&[a, &b.replace("size 90", "size 80")]),
        Err((1, RotationError::OldSignature))
    );
    assert_eq!(fails(&[]), Ok(()));
    assert!(split_chain(&format!("x{text}")).is_err());
    // A new trust file revokes the first keys, all of one and a part of the other: the chain still
    // leads on from the keys that it pins.
    let fresh = end.revoke(ORIGIN, key(5, ORIGIN).id(), None).unwrap();
    let fresh = fresh.revoke(ORIGIN, key(6, ORIGIN).id(), Some(70)).unwrap();
    let ends =
        |key: &TrustKey| TrustKey { status: KeyStatus::Active, to_size: None, ..key.clone() };
    let fresh = Trust::new([&fresh.keys()[..2], &[ends(&fresh.keys()[2])]].concat());
    let walked = fresh.unwrap().accept_chain(&text).unwrap();
    assert_eq!(
        [60, 70, 95, 300].map(|size| signers(&walked, size)),
        [vec![6], vec![], vec![7], vec![9]]
    );
    // Links of several logs may stand in one text; those of logs that are not pinned are passed over.
    let other = |old: u8, new: u8, size: u64| {
        let statement = Handover::new(key(old, "other"), key(new, "other"), size).unwrap();
        let sign = |seed: u8| move |bytes: &[u8]| signing(seed).sign(bytes).to_bytes();
        statement.sign(sign(old), sign(new)).unwrap()
    };
    let mixed = [&other(1, 2, 10), a, &other(2, 3, 20), b, c];
    assert_eq!(fails(&mixed), Ok(()));
    // A thief who has the first key cannot start a second chain once the first is known.
    let thief = handover(5, 4, 60);
    assert_eq!(end.accept_handover(&thief), Err(RotationError::OldKeyClosed));
    // A revoked key vouches for nobody.
    let id = key(7, ORIGIN).id();
    let revoked = trust().revoke(ORIGIN, id, None).unwrap();
    assert_eq!(revoked.accept_chain(&text).unwrap_err().error, RotationError::OldKeyRevoked);
}

#[test]
fn revoking_takes_away_and_never_gives() {
    let id = key(7, ORIGIN).id();
    let revoke = |trust: &Trust, from| trust.revoke(ORIGIN, id, from).unwrap();
    assert_eq!(trust().revoke("other", id, None), Err(RotationError::UnknownKey));
    assert_eq!(trust().revoke(ORIGIN, [0; 4], None), Err(RotationError::UnknownKey));
    let from_10 = revoke(&trust(), Some(10));
    assert_eq!((signers(&from_10, 9), signers(&from_10, 10)), (vec![7], vec![]));
    assert_eq!(signers(&revoke(&from_10, Some(20)), 10), [0; 0]);
    assert_eq!(signers(&revoke(&from_10, Some(5)), 5), [0; 0]);
    assert_eq!(signers(&revoke(&from_10, Some(5)), 4), [7]);
    for gone in [None, Some(0)] {
        assert_eq!(revoke(&trust(), gone).keys()[0].status, KeyStatus::Revoked);
    }
    let all = revoke(&trust(), None);
    assert_eq!(revoke(&all, Some(10)), all);
    assert_eq!(from_10.accept_handover(&handover(7, 8, 9)), Err(RotationError::OldKeyClosed));
    assert_eq!(Trust::parse::<H>(from_10.write().as_bytes()).unwrap(), from_10);
    let late = trust_one(key(7, ORIGIN), KeyStatus::Active, 50, None);
    assert_eq!(revoke(&late, Some(50)).keys()[0].status, KeyStatus::Revoked);
    assert_eq!(revoke(&late, Some(51)).keys()[0].to_size, Some(50));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Papers of one honest log never contradict each other; those of a forked log contradict each
    /// other only if they really differ, and always if both show an entry after the fork.
    #[test]
    fn only_real_forks_are_reported(
        sizes in (1_u64..40, 1_u64..40),
        picks in (any::<u64>(), any::<u64>()),
        from in 0_u64..40,
        forked: bool,
    ) {
        let one = log(sizes.0, 99);
        let two = log(sizes.1, if forked { from } else { 99 });
        let (i, j) = (picks.0 % sizes.0, picks.1 % sizes.1);
        let differ = forked && from < sizes.0.min(sizes.1);
        let a = [paper(&one.receipt(i)), checkpoint(&one)];
        let b = [paper(&two.receipt(j)), checkpoint(&two)];
        for (a, b) in a.iter().flat_map(|a| b.iter().map(move |b| (a, b))) {
            let answer = compare(a, b, None);
            let old = sizes.0.min(sizes.1);
            if let Comparison::Forked(_) = answer {
                prop_assert!(differ);
                let fork = Fork::of(a, b).unwrap();
                prop_assert_eq!(Fork::verify(&fork.write(), &trust()), Ok(fork));
            }
            if let Comparison::Consistent { .. } | Comparison::Same = answer {
                prop_assert!(!differ);
            }
            if sizes.0 == sizes.1 || (a.index() == b.index() && i == j && i >= from && i < old && a.index().is_some()) {
                prop_assert_eq!(matches!(answer, Comparison::Forked(_)), differ);
            }
            let large = if sizes.0 > sizes.1 { &one } else { &two };
            let proof = large.tree.consistency_proof(old, sizes.0.max(sizes.1), &mut |_| None).unwrap();
            let proven = compare(a, b, Some(&proof));
            prop_assert_eq!(matches!(proven, Comparison::Consistent { .. } | Comparison::Same), !differ);
        }
    }

    #[test]
    fn any_text_is_no_panic(text in "(placet/(fork|handover)/1\n)?(origin a\nsize [0-9]{1,2}\n|first [0-9]{1,2}\n|\\PC{0,20}\n){0,6}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Fork::verify(&text, &trust()).is_err());
        prop_assert!(trust().accept_handover(&text).is_err());
        let _ = trust().accept_chain(&text);
        prop_assert!(Paper::verify(text.as_bytes(), &trust()).is_err());
        prop_assert!(Paper::verify(&bytes, &trust()).is_err());
    }

    #[test]
    fn an_altered_handover_is_refused(at: usize, mask in 1_u8..) {
        let mut bytes = handover(7, 8, 100).into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= mask;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(trust().accept_handover(&text).is_err());
        }
    }
}
