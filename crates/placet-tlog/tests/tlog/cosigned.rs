//! Cosignatures, the witness and the witness policy: who may sign what, and whose word is enough.

use crate::fixture::{INDEX, Log, ORIGIN, key, line, note, signing, trust, trust_one};
use ed25519_dalek::Signer as _;
use placet_tlog::cosignature::{Cosignature, TIME_MAX_S, append_lines, cosigned_message};
use placet_tlog::merkle::empty_root;
use placet_tlog::note::{NoteError, Signature};
use placet_tlog::policy::{PolicyFault, Witnessing};
use placet_tlog::trust::{KeyStatus, TrustKey};
use placet_tlog::verify::{PortableHasher as H, Verifier, VerifyError};
use placet_tlog::witness::{
    Accepted, AddCheckpoint, Answer, Refusal, RequestError, Witnessed, decide, good_cosignatures,
    write_request,
};
use placet_tlog::{Checkpoint, CosignerKey, Hash, Note, Policy, Trust, VerifierKey};
use proptest::prelude::*;

const TIME_S: u64 = 1_795_000_000;

fn cosigner(seed: u8, name: &str) -> CosignerKey {
    CosignerKey::new::<H>(name, signing(seed).verifying_key().to_bytes()).unwrap()
}

fn cosign(seed: u8, name: &str, body: &str, time_s: u64) -> String {
    let sign = |bytes: &[u8]| signing(seed).sign(bytes).to_bytes();
    cosigner(seed, name).cosign(body, time_s, sign).unwrap()
}

/// Answers of the spec-minded kind, as text.
fn outcome(result: &Result<Accepted, Refusal>) -> String {
    match result {
        Ok(accepted) if accepted.update().is_unchanged() => "200 again".into(),
        Ok(accepted) => format!("200 now {}", accepted.update().next.size),
        Err(refusal) => {
            let body = refusal.size_body().unwrap_or_default();
            format!("{} {}", refusal.status(), body.trim_end()).trim_end().into()
        }
    }
}

#[test]
fn the_example_of_the_specification_is_read() {
    // The example lines of c2sp.org/tlog-cosignature.
    let line = "\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==";
    let signature = Signature::parse(line).unwrap();
    assert_eq!(signature.line(), format!("{line}\n"));
    let cosignature = Cosignature::from_bytes(signature.bytes()).unwrap();
    assert_eq!(cosignature.time_s, 1_679_315_147);
    assert_eq!(cosignature.to_bytes(), signature.bytes());
    let body =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(
        cosigned_message(body, 1_679_315_147),
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    );
}

#[test]
fn cosigner_keys_are_a_kind_of_their_own() {
    let witness = cosigner(8, "w.example/1");
    let text = witness.to_string();
    assert_eq!(CosignerKey::parse::<H>(&text).unwrap(), witness);
    assert!(text.contains("+B"), "{text}");
    let plain = key(8, "w.example/1");
    assert_ne!(plain.id(), witness.id());
    assert_eq!(VerifierKey::parse::<H>(&text), Err(NoteError::KeyType));
    assert_eq!(CosignerKey::parse::<H>(&plain.to_string()), Err(NoteError::KeyType));
    assert_eq!(CosignerKey::new::<H>("a b", [1; 32]), Err(NoteError::Name));

    let body = Checkpoint::new(ORIGIN, 3, [1; 32]).body();
    let refuse = |body: &str, time| witness.cosign(body, time, |_| [0; 64]).unwrap_err();
    assert_eq!(refuse(&body, TIME_MAX_S + 1), NoteError::Time);
    assert_eq!(refuse("no checkpoint\n", 1), NoteError::Checkpoint);
    assert!(witness.cosign(&body, TIME_MAX_S, |_| [0; 64]).is_ok());
    assert_eq!(Cosignature::from_bytes(&[0xff; 72]), None);
    assert_eq!(Cosignature::from_bytes(&[0; 71]), None);
    assert_eq!(Cosignature::from_bytes(&[0; 73]), None);
}

#[test]
fn lines_are_added_once() {
    let body = Checkpoint::new(ORIGIN, 3, [1; 32]).body();
    let good = note(&body, &[(7, ORIGIN)]);
    let one = Signature::parse(cosign(8, "w", &body, 1).trim_end()).unwrap();
    let two = Signature::parse(cosign(8, "w", &body, 2).trim_end()).unwrap();
    let lines = [one.clone(), two.clone(), one.clone()];
    let once = append_lines(&good, &lines);
    assert_eq!(once, format!("{good}{}{}", one.line(), two.line()));
    assert_eq!(append_lines(&once, &lines), once);
    assert_eq!(Note::parse(&once).unwrap().signatures().len(), 3);
}

/// A log that grows, its witness, and everything the specification says of their talk.
#[test]
fn a_witness_answers_as_the_specification_says() {
    let log = Log::good();
    let root = |size| log.tree.root_at(size, &mut |_| None).unwrap();
    let proof = |old, new| log.tree.consistency_proof(old, new, &mut |_| None).unwrap();
    let signed = |size, root| note(&Checkpoint::new(ORIGIN, size, root).body(), &[(7, ORIGIN)]);
    let at = |size| Witnessed { size, root: root(size) };
    let ask = |old: u64, proof: &[Hash], note: &str, latest: Option<Witnessed>| {
        let request = AddCheckpoint::parse(write_request(old, proof, note).as_bytes()).unwrap();
        outcome(&decide(&request, &trust(), latest.as_ref()))
    };
    let other: Hash = [9; 32];
    // old, proof, checkpoint, stored → answer
    assert_eq!(ask(0, &[], &signed(5, root(5)), None), "200 now 5");
    assert_eq!(ask(5, &proof(5, 11), &signed(11, root(11)), Some(at(5))), "200 now 11");
    assert_eq!(ask(5, &[], &signed(5, root(5)), Some(at(5))), "200 again");
    assert_eq!(ask(0, &[], &signed(0, empty_root::<H>()), None), "200 now 0");
    assert_eq!(
        ask(
            0,
            &[],
            &signed(0, empty_root::<H>()),
            Some(Witnessed { size: 0, root: empty_root::<H>() })
        ),
        "200 again"
    );
    // A stranger, and nobody's signature.
    let foreign = note(&Checkpoint::new("other", 5, root(5)).body(), &[(7, "other")]);
    assert_eq!(ask(0, &[], &foreign, None), "404");
    let body = Checkpoint::new(ORIGIN, 5, root(5)).body();
    assert_eq!(ask(0, &[], &note(&body, &[(8, ORIGIN)]), None), "403");
    let bad = format!("{body}\n{}", line(ORIGIN, key(7, ORIGIN).id(), &[1; 64]));
    assert_eq!(ask(0, &[], &bad, None), "403");
    // Sizes.
    assert_eq!(ask(6, &[], &signed(5, root(5)), Some(at(6))), "400");
    assert_eq!(ask(0, &[], &signed(11, root(11)), Some(at(5))), "409 5");
    assert_eq!(ask(5, &proof(5, 11), &signed(11, root(11)), None), "409 0");
    assert_eq!(ask(4, &proof(4, 11), &signed(11, root(11)), Some(at(5))), "409 5");
    assert_eq!(ask(5, &[], &signed(5, root(5)), Some(at(11))), "409 11");
    // Same size, other root.
    assert_eq!(ask(5, &[], &signed(5, other), Some(at(5))), "409 5");
    assert_eq!(ask(0, &[], &signed(0, other), None), "409 0");
    // Proofs that do not lead there.
    assert_eq!(ask(5, &proof(4, 11), &signed(11, root(11)), Some(at(5))), "422");
    assert_eq!(ask(5, &proof(5, 11), &signed(11, other), Some(at(5))), "422");
    assert_eq!(ask(5, &[], &signed(11, root(11)), Some(at(5))), "422");
    assert_eq!(ask(0, &[other], &signed(11, root(11)), None), "422");
    assert_eq!(ask(5, &[other], &signed(5, root(5)), Some(at(5))), "422");
    let lied = Some(Witnessed { size: 5, root: other });
    assert_eq!(ask(5, &proof(5, 11), &signed(11, root(11)), lied), "422");
    assert!(Refusal::Fork { size: 1 }.is_suspicious());
    assert!(!Refusal::Stale { size: 1 }.is_suspicious());
}

/// A key that no longer counts is nobody's signature, however good.
#[test]
fn a_witness_believes_keys_as_a_verifier_does() {
    let log = Log::good();
    let request = write_request(0, &[], &note(&log.body(), &[(7, ORIGIN)]));
    let request = AddCheckpoint::parse(request.as_bytes()).unwrap();
    let with = |status, from, to| {
        outcome(&decide(&request, &trust_one(key(7, ORIGIN), status, from, to), None))
    };
    assert_eq!(with(KeyStatus::Active, 0, None), "200 now 11");
    assert_eq!(with(KeyStatus::Retired, 0, Some(11)), "200 now 11");
    assert_eq!(with(KeyStatus::Retired, 0, Some(10)), "403");
    assert_eq!(with(KeyStatus::Active, 12, None), "403");
    assert_eq!(with(KeyStatus::Revoked, 0, None), "403");
}

#[test]
fn a_cosignature_leaves_after_the_record_is_stored() {
    let log = Log::good();
    let signed = note(&log.body(), &[(7, ORIGIN)]);
    let request = AddCheckpoint::parse(write_request(0, &[], &signed).as_bytes()).unwrap();
    let accept = || decide(&request, &trust(), None).unwrap();
    let update = accept().update().clone();
    assert_eq!((update.origin.as_str(), update.expected), (ORIGIN, None));
    assert_eq!(update.next, Witnessed { size: 11, root: log.tree.root() });
    assert_eq!(update.note_text, signed);
    assert_eq!(accept().persist(|_| Err("disk full")), Err("disk full"));

    let leave = accept().persist(|_| Ok::<_, ()>(())).unwrap();
    let witness = cosigner(8, "w");
    let sign = |bytes: &[u8]| signing(8).sign(bytes).to_bytes();
    let body = leave.cosign(&witness, TIME_S, sign).unwrap();
    let Ok(Answer::Cosigned(lines)) = Answer::parse(200, body.as_bytes()) else {
        panic!("{body}");
    };
    let keys = [cosigner(9, "w"), witness];
    assert_eq!(good_cosignatures(&log.body(), &lines, &keys), lines);
    assert_eq!(good_cosignatures(&log.body(), &lines, &keys[..1]), []);
    assert_eq!(good_cosignatures("other\n1\nAA==\n", &lines, &keys), []);
}

#[test]
fn answers_are_read() {
    let check = |status, body: &str, want| assert_eq!(Answer::parse(status, body.as_bytes()), want);
    check(409, "17\n", Ok(Answer::At(17)));
    check(409, "017\n", Err(RequestError::Answer));
    check(409, "17", Err(RequestError::Answer));
    check(409, "17\n\n", Err(RequestError::Answer));
    check(200, "", Err(RequestError::Answer));
    check(200, "x\n", Err(RequestError::Answer));
    check(200, "17\r\n", Err(RequestError::NotPlainText));
    check(503, "anything\r\n", Ok(Answer::Refused(503)));
    let body = Checkpoint::new(ORIGIN, 1, [1; 32]).body();
    let two = cosign(8, "a", &body, 1) + &cosign(9, "b", &body, 2);
    let lines = two.lines().map(|line| Signature::parse(line).unwrap()).collect();
    check(200, &two, Ok(Answer::Cosigned(lines)));
}

#[test]
fn requests_have_one_spelling() {
    let log = Log::good();
    let proof = log.tree.consistency_proof(5, 11, &mut |_| None).unwrap();
    let good = write_request(5, &proof, &note(&log.body(), &[(7, ORIGIN)]));
    assert_eq!(AddCheckpoint::parse(good.as_bytes()).unwrap().write(), good);
    let check = |text: &str, want: RequestError| {
        assert_eq!(AddCheckpoint::parse(text.as_bytes()).unwrap_err(), want, "{text}");
    };
    for (from, to) in [
        ("old 5", "old 05"),
        ("old 5", "old  5"),
        ("old 5", "Old 5"),
        ("old 5", "old -5"),
        ("old 5", "old 5 "),
        ("old 5", "old"),
    ] {
        check(&good.replacen(from, to, 1), RequestError::OldSize);
    }
    check(&good.replacen('=', "", 1), RequestError::Proof);
    check(&good.replacen("\n", "\nAAAA\n", 1), RequestError::Proof);
    check("old 5\n", RequestError::Proof);
    check("old 5", RequestError::OldSize);
    check(&good.replacen('\n', "\r\n", 1), RequestError::NotPlainText);
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let with = |count: usize| good.replacen('\n', &format!("\n{}", hash.repeat(count)), 1);
    assert!(AddCheckpoint::parse(with(63 - proof.len()).as_bytes()).is_ok());
    check(&with(64 - proof.len()), RequestError::Proof);
    assert!(matches!(
        AddCheckpoint::parse(good.trim_end().as_bytes()),
        Err(RequestError::Checkpoint(_))
    ));
    check(&"x".repeat(512 * 1024 + 1), RequestError::TooLarge);
}

fn policy(text: &str) -> Policy {
    Policy::parse::<H>(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Lines for witnesses `names`, the key of each from its place.
fn witness_lines(names: &[&str]) -> String {
    let line =
        |(at, name): (usize, &&str)| format!("witness {name} {}\n", cosigner(20 + at as u8, name));
    names.iter().enumerate().map(line).collect()
}

/// The nested example of the specification over every set of witnesses.
#[test]
fn a_quorum_holds_as_its_groups_say() {
    let names = ["X1", "X2", "X3", "Y1", "Y2", "Y3"];
    let lines = witness_lines(&names);
    let nested = policy(&format!(
        "{lines}group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
    ));
    let single = policy(&format!("{lines}quorum Y2\n"));
    let nobody = policy(&format!("{lines}quorum none\n"));
    assert!(nobody.asks_nobody() && !single.asks_nobody());
    for set in 0_u32..64 {
        let has =
            |name: &str| names.iter().position(|n| *n == name).is_some_and(|at| set >> at & 1 == 1);
        let in_set = |policy: &Policy| policy.holds(|witness| has(&witness.name()));
        let want = (set & 7).count_ones() >= 2 && set >> 3 != 0;
        assert_eq!(in_set(&nested), want, "{set:06b}");
        assert_eq!(in_set(&single), has("Y2"));
        assert!(in_set(&nobody));
    }
}

#[test]
fn a_policy_is_read_leniently_where_it_may_be_and_strictly_elsewhere() {
    let log = key(7, ORIGIN).to_string();
    let w = |seed, name: &str| cosigner(seed, name).to_string();
    let (a, b) = (w(20, "a.example"), w(21, "b.example"));
    let text = format!(
        "# comment \u{2014} é\n\n \t# more\n\tlog\t {log}  https://log.example/\t\nwitness A {a} https://a.example\nwitness K\u{212a} {b}\ngroup G 2 A K\u{212a}\nquorum  G \n"
    );
    let read = policy(&text);
    assert_eq!((read.logs().len(), read.witnesses().len()), (1, 2));
    assert_eq!(read.logs()[0].url(), Some("https://log.example/"));
    assert_eq!(read.witnesses()[0].url(), Some("https://a.example"));
    assert_eq!(Policy::parse::<H>(&read.write()).unwrap(), read);
    let octets = [b"witness \xff\xfe ", a.as_bytes(), b"\nquorum \xff\xfe\n"].concat();
    assert_eq!(Policy::parse::<H>(&octets).unwrap().write(), octets);

    let check = |text: &str, line: usize, fault: PolicyFault| {
        let error = Policy::parse::<H>(text.as_bytes()).unwrap_err();
        assert_eq!((error.line(), error.fault()), (line, fault), "{text}");
        assert!(error.to_string().starts_with(&format!("policy line {line}: ")));
    };
    let known = format!("witness A {a}\nwitness B {b}\n");
    check("", 1, PolicyFault::QuorumMissing);
    check(&known, 3, PolicyFault::QuorumMissing);
    check("quorum none", 1, PolicyFault::Unterminated);
    check("quorum none\r\n", 1, PolicyFault::ControlCharacter);
    check("quorum none\u{b}\n", 1, PolicyFault::ControlCharacter);
    check("quorum none\n\nquorum none\n", 3, PolicyFault::QuorumTwice);
    check("quorum none none\n", 1, PolicyFault::Fields);
    check("quorum A\nwitness A x\n", 1, PolicyFault::NameUnknown);
    check("Quorum none\n", 1, PolicyFault::Keyword);
    check("quorum none # nobody\n", 1, PolicyFault::Fields);
    check("log\n", 1, PolicyFault::Fields);
    check(&format!("log {log} a b\n"), 1, PolicyFault::Fields);
    check(&format!("log {log}\nlog {log}\n"), 2, PolicyFault::KeyTwice);
    check(&format!("log {a}\n"), 1, PolicyFault::Key(NoteError::KeyType));
    check(&format!("witness A {log}\n"), 1, PolicyFault::Key(NoteError::KeyType));
    check(&format!("witness none {a}\n"), 1, PolicyFault::NameTaken);
    check(&format!("witness A {a}\nwitness A {b}\n"), 2, PolicyFault::NameTaken);
    check(&format!("witness A {a}\nwitness B {}\n", w(20, "other")), 2, PolicyFault::KeyTwice);
    let in_known = |rest: &str, fault| check(&format!("{known}{rest}"), 3, fault);
    in_known("group A any B\n", PolicyFault::NameTaken);
    in_known("group none any B\n", PolicyFault::NameTaken);
    in_known("group G any G\n", PolicyFault::NameUnknown);
    in_known("group G any none\n", PolicyFault::NameUnknown);
    in_known("group G all A B A\n", PolicyFault::MemberTwice);
    in_known("group G any\n", PolicyFault::Fields);
    in_known("group G A B\n", PolicyFault::Threshold);
    for threshold in ["0", "3", "01", "+1", "-1", "ALL", "18446744073709551616"] {
        in_known(&format!("group G {threshold} A B\n"), PolicyFault::Threshold);
    }
    check(&format!("{known}group G any A\ngroup H any A\n"), 4, PolicyFault::MemberTwice);
    let many: String = (0..257)
        .map(|n| {
            format!("group g{n} any {}\n", if n == 0 { "A".into() } else { format!("g{}", n - 1) })
        })
        .collect();
    check(&format!("{known}{many}"), 259, PolicyFault::TooLarge);
    check(&"#".repeat(256 * 1024 + 1), 1, PolicyFault::TooLarge);
}

/// A receipt whose checkpoint some of three witnesses cosigned.
fn receipt(log: &Log, by: &[(u8, &str)]) -> String {
    let body = log.body();
    let mut text = note(&body, &[(7, ORIGIN)]);
    by.iter().for_each(|(seed, name)| text.push_str(&cosign(*seed, name, &body, TIME_S)));
    log.receipt_with(INDEX, &text)
}

#[test]
fn a_verifier_demands_the_quorum() {
    let log = Log::good();
    let lines = witness_lines(&["A", "B", "C"]);
    let policy = policy(&format!("{lines}group G 2 A B C\nquorum G\n"));
    let trust = trust();
    let verify = |text: &str| Verifier::new(&trust).with_witnesses(&policy).verify(text.as_bytes());
    let code = |text: &str| verify(text).map_err(|error| error.code());

    let proven = verify(&receipt(&log, &[(20, "A"), (22, "C")])).unwrap();
    let seen: Vec<_> = proven.cosignatures.iter().map(|c| (c.witness.as_str(), c.time_s)).collect();
    assert_eq!(seen, [("A", TIME_S), ("C", TIME_S)]);
    for few in [
        &[][..],
        &[(20, "A")],
        &[(20, "A"), (20, "A")],
        &[(20, "A"), (30, "B")],
        &[(20, "A"), (21, "b")],
        &[(20, "A"), (30, "Z")],
    ] {
        assert_eq!(code(&receipt(&log, few)), Err("witness_quorum_missing"), "{few:?}");
    }
    // Without a policy nobody asks, and nothing is reported.
    let plain = Verifier::new(&trust).verify(receipt(&log, &[(20, "A")]).as_bytes()).unwrap();
    assert!(plain.cosignatures.is_empty());

    // A known witness's line that is not its own condemns the note, quorum or not.
    let body = log.body();
    let good = receipt(&log, &[(20, "A"), (21, "B")]);
    let other = cosign(22, "C", &Checkpoint::new(ORIGIN, 11, [1; 32]).body(), TIME_S);
    let id = cosigner(22, "C").id();
    for bad in [other, line("C", id, &[0; 72]), line("C", id, &[0; 64]), line("C", id, &[0xff; 72])]
    {
        assert_eq!(code(&format!("{good}{bad}")), Err("cosignature_bad"));
    }
    // A plain signature by the witness's key is no cosignature, and a stranger's line is nothing.
    let plain = note(&body, &[(7, ORIGIN), (20, "A"), (21, "B")]);
    assert_eq!(code(&log.receipt_with(INDEX, &plain)), Err("witness_quorum_missing"));
    assert!(verify(&format!("{good}{}", line("Z", [1; 4], &[0; 72]))).is_ok());
    // A moved time is not what was signed.
    let moved = cosign(20, "A", &body, TIME_S).replacen("AAAAA", "AAAAB", 1);
    assert!(
        code(&log.receipt_with(INDEX, &format!("{}{moved}", note(&body, &[(7, ORIGIN)])))).is_err()
    );

    // The policy's own cache keeps to the bytes it saw.
    let mut verifier = Verifier::new(&trust).with_witnesses(&policy);
    assert!(verifier.verify(good.as_bytes()).is_ok());
    let bare = receipt(&log, &[]);
    assert_eq!(verifier.verify(bare.as_bytes()), Err(VerifyError::WitnessQuorumMissing));
    let text = note(&body, &[(7, ORIGIN)]);
    assert_eq!(verifier.verify_checkpoint(&text), Err(VerifyError::WitnessQuorumMissing));
    let text = text + &cosign(20, "A", &body, 1) + &cosign(21, "B", &body, 2);
    let seen = verifier.verify_checkpoint(&text).unwrap();
    assert_eq!((seen.checkpoint.size, seen.cosignatures.len()), (11, 2));
    let Witnessing { quorum, .. } = policy.evaluate(&Note::parse(&text).unwrap()).unwrap();
    assert!(quorum);
}

/// The log lines of a policy count only when the caller says so, and never undo a revocation.
#[test]
fn log_lines_are_pinned_only_on_demand() {
    let log = Log::good();
    let text = log.receipt(INDEX);
    let policy = policy(&format!("log {}\nquorum none\n", key(7, ORIGIN)));
    let verify = |trust: &Trust| {
        let mut verifier = Verifier::new(trust).with_witnesses(&policy);
        verifier.verify(text.as_bytes()).map(|_| ())
    };
    assert_eq!(verify(&Trust::default()), Err(VerifyError::UnknownOrigin));
    let with = |trust: &Trust| trust.with_logs_of(&policy).unwrap();
    assert_eq!(verify(&with(&Trust::default())), Ok(()));
    assert_eq!(with(&trust()), trust());
    let revoked = trust_one(key(7, ORIGIN), KeyStatus::Revoked, 0, None);
    assert_eq!(verify(&with(&revoked)), Err(VerifyError::KeyRevoked));
    let other = Trust::new(vec![TrustKey::active(key(9, ORIGIN))]).unwrap();
    assert_eq!(with(&other).keys().len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_a_request_or_refused(text in "(old [0-9]{1,3}\n)?([A-Za-z0-9+/=]{0,44}\n){0,3}\\PC{0,60}\n?") {
        if let Ok(request) = AddCheckpoint::parse(text.as_bytes()) {
            prop_assert_eq!(request.write(), text);
        }
    }

    /// One byte changed, one byte less: the same request or none.
    #[test]
    fn an_altered_request_has_no_second_spelling(at: usize, mask in 1_u8.., cut in prop::bool::ANY) {
        let log = Log::good();
        let proof = log.tree.consistency_proof(5, 11, &mut |_| None).unwrap();
        let mut bytes = write_request(5, &proof, &note(&log.body(), &[(7, ORIGIN)])).into_bytes();
        let at = at % bytes.len();
        if cut { bytes.remove(at); } else { bytes[at] ^= mask; }
        if let Ok(request) = AddCheckpoint::parse(&bytes) {
            prop_assert_eq!(request.write().into_bytes(), bytes);
            let stored = Witnessed { size: 5, root: log.tree.root_at(5, &mut |_| None).unwrap() };
            prop_assert!(decide(&request, &trust(), Some(&stored)).is_err());
        }
    }

    #[test]
    fn any_text_is_a_policy_or_refused(lines in prop::collection::vec("(log|witness|group|quorum|#)?([ \t]{1,2}(A|B|C|none|any|all|1|2|K)){0,5}", 0..8)) {
        let key = cosigner(20, "k").to_string();
        let text = lines.join("\n").replace('K', &key) + "\n";
        if let Ok(policy) = Policy::parse::<H>(text.as_bytes()) {
            prop_assert_eq!(Policy::parse::<H>(&policy.write()).unwrap(), policy);
        }
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = AddCheckpoint::parse(&bytes);
        let _ = Policy::parse::<H>(&bytes);
        let _ = Answer::parse(200, &bytes);
        let _ = Answer::parse(409, &bytes);
        let _ = Signature::parse(&String::from_utf8_lossy(&bytes));
        let _ = CosignerKey::parse::<H>(&String::from_utf8_lossy(&bytes));
    }

    /// More cosignatures never lose a quorum.
    #[test]
    fn quorums_are_monotone(sets in (any::<u8>(), any::<u8>()), k in 1_u32..4, m in 1_u32..3) {
        let names = ["A", "B", "C", "D", "E"];
        let lines = witness_lines(&names);
        let policy = policy(&format!("{lines}group G {k} A B C\ngroup H {m} G D E\nquorum H\n"));
        let holds = |set: u8| policy.holds(|w| names.iter().position(|n| *n == w.name()).is_some_and(|at| set >> at & 1 == 1));
        let (a, b) = sets;
        prop_assert!(!holds(a) || holds(a | b));
        let g = (a & 7).count_ones() >= k;
        prop_assert_eq!(holds(a), u32::from(g) + (a >> 3 & 3).count_ones() >= m);
    }
}
