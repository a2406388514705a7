//! Evidence that has to be in the store: what counts, with which code what does not, by a table and against
//! the reference over every combination; and the fact about a release.

use crate::support::{Sha2, bundle, caller, compile, request, value, verdict};
use placet_policy::{Bundle, Scratch, evidence_of, naive};
use placet_types::evidence::{Found, FoundEvidence};
use placet_types::ids::{EvidenceId, TimeMs};
use placet_types::json::Object;
use placet_types::policy::{Velocity, combine};
use placet_types::{Digest, Request};

const NOON: TimeMs = TimeMs(1_800_000_000_000);

fn demanding(spec: &str) -> Bundle {
    bundle(&format!(
        "version: v1\nsurfaces:\n  pay: {{ evidence: [{{ type: report, max_age: 10m{spec} }}] }}\n\
         rules:\n  - {{ id: a, match: {{ surfaces: [pay] }}, decision: allow }}\n"
    ))
}

fn piece() -> FoundEvidence {
    FoundEvidence {
        id: EvidenceId::from_bytes([1; 16]),
        kind: "report".into(),
        digest: Digest([2; 32]),
        subject: Digest([3; 32]),
        issuer: "service:ci".into(),
        issued: NOON,
        expires: NOON.plus(3_600_000),
        attested: true,
        revoked: false,
        own: false,
    }
}

fn with(evidence: Vec<FoundEvidence>, unknown: Vec<Option<String>>) -> Request {
    let found = Found { subject: Some(Digest([3; 32])), evidence, unknown, facts: Object::new() };
    Request { found, ..request(r#"{"surface":"pay"}"#) }
}

/// The reasons at an instant.
fn said(bundle: &Bundle, request: &Request, at: TimeMs) -> String {
    let mut verdict = verdict(bundle, request);
    assert_eq!(verdict.hits, naive::evaluate(bundle, request, &caller(), None).hits);
    verdict.hits.retain(|hit| hit.force.by_time(at));
    let combined = combine(&verdict, |_| Velocity::Open);
    let codes: Vec<&str> = combined.reasons.iter().map(|it| it.as_str()).collect();
    format!("{} {}", combined.outcome.as_str(), codes.join(","))
}

#[test]
fn each_fault_has_a_code_of_its_own() {
    type Change = fn(&mut FoundEvidence);
    let listed = ", issuers: ['service:ci'], verified: true";
    let signed = ", issuers: ['service:ci'], attested: true";
    let anybody = ", verified: true";
    let cases: [(&str, Change, &str); 13] = [
        (listed, |_| {}, "PERMIT rule"),
        (signed, |_| {}, "PERMIT rule"),
        (anybody, |_| {}, "PERMIT rule"),
        (listed, |it| it.attested = false, "PERMIT rule"),
        (signed, |it| it.attested = false, "DENY evidence_unattested"),
        (signed, |it| it.revoked = true, "DENY evidence_revoked"),
        (listed, |it| it.revoked = true, "DENY evidence_revoked"),
        (listed, |it| it.issuer = "service:cd".into(), "DENY evidence_foreign"),
        (listed, |it| it.subject = Digest([9; 32]), "DENY evidence_foreign"),
        (listed, |it| it.kind = "review".into(), "DENY evidence_missing"),
        // Nobody vouches for themselves, unless policy names them.
        (anybody, |it| it.own = true, "DENY evidence_foreign"),
        (listed, |it| it.own = true, "PERMIT rule"),
        (listed, |it| it.expires = NOON.plus(1), "DENY evidence_expired"),
    ];
    for (spec, change, want) in cases {
        let mut one = piece();
        change(&mut one);
        let got = said(&demanding(spec), &with(vec![one.clone()], vec![]), NOON.plus(1));
        assert_eq!(got, want, "{spec} {one:?}");
    }
    let demanding = demanding(listed);
    let at = |ms| said(&demanding, &with(vec![piece()], vec![]), ms);
    assert_eq!(at(NOON.plus(599_999)), "PERMIT rule");
    assert_eq!(at(NOON.plus(600_000)), "DENY evidence_expired");
    assert_eq!(at(TimeMs(NOON.0 - 60_000)), "PERMIT rule");
    assert_eq!(at(TimeMs(NOON.0 - 60_001)), "DENY evidence_missing");
    assert_eq!(said(&demanding, &with(vec![], vec![]), NOON), "DENY evidence_missing");
    let unknown = |kind: Option<&str>| with(vec![], vec![kind.map(str::to_owned)]);
    assert_eq!(said(&demanding, &unknown(None), NOON), "DENY evidence_foreign");
    assert_eq!(said(&demanding, &unknown(Some("report")), NOON), "DENY evidence_foreign");
    assert_eq!(said(&demanding, &unknown(Some("review")), NOON), "DENY evidence_missing");
    // A request that is about nothing, or about two things, has no evidence.
    let mut about = with(vec![piece()], vec![]);
    about.found.subject = None;
    assert_eq!(said(&demanding, &about, NOON), "DENY evidence_foreign");
}

#[test]
fn no_assertion_counts_where_the_store_is_asked() {
    let asserted = format!(
        r#"{{"surface":"pay","evidence":[{{"type":"report","digest":"sha256:{}","issuer":"service:ci","issued":"2027-01-15T08:00:00Z"}}]}}"#,
        "2".repeat(64)
    );
    let asserted = request(&asserted);
    let at = TimeMs(1_800_000_000_000);
    assert_eq!(said(&demanding(""), &asserted, at), "PERMIT rule");
    assert_eq!(said(&demanding(", verified: true"), &asserted, at), "DENY evidence_missing");
    assert_eq!(said(&demanding(", attested: true"), &asserted, at), "DENY evidence_missing");
    // Where assertions count, what the store has does as well, and what it has revoked does not.
    assert_eq!(said(&demanding(""), &with(vec![piece()], vec![]), at), "PERMIT rule");
    let mut gone = asserted;
    gone.found.evidence =
        vec![FoundEvidence { revoked: true, digest: Digest([0x22; 32]), ..piece() }];
    assert_eq!(said(&demanding(""), &gone, at), "DENY evidence_missing");
    for (spec, warned) in [("", true), (", verified: true", false), (", attested: true", false)] {
        let warnings = demanding(spec);
        let warned_of =
            warnings.warnings().iter().any(|it| it.to_string().contains("evidence_asserted"));
        assert_eq!(warned_of, warned, "{spec}");
    }
}

/// What makes up for an exception is in the store, and nobody asserts it.
#[test]
fn a_control_reads_the_store_alone() {
    let asserted = format!(
        r#"{{"surface":"pay","evidence":[{{"type":"report","digest":"sha256:{}","issuer":"service:ci","issued":"2027-01-15T08:00:00Z"}}]}}"#,
        "2".repeat(64)
    );
    assert_eq!(evidence_of(&request(&asserted)), [], "a client says what it likes");
    let kinds = |request: &Request| -> Vec<String> {
        evidence_of(request).into_iter().map(|(kind, ..)| kind).collect()
    };
    let stored = with(vec![piece()], vec![]);
    let from = TimeMs(NOON.0 - 60_000);
    assert_eq!(evidence_of(&stored), [("report".to_owned(), from, Some(NOON.plus(3_600_000)))]);
    let foreign = FoundEvidence { subject: Digest([9; 32]), ..piece() };
    assert_eq!(kinds(&with(vec![foreign], vec![])), [""; 0], "about something else");
    let revoked = FoundEvidence { revoked: true, ..piece() };
    assert_eq!(kinds(&with(vec![revoked], vec![])), [""; 0]);
    let own = FoundEvidence { own: true, ..piece() };
    assert_eq!(kinds(&with(vec![own], vec![])), [""; 0], "vouched for by who asks");
}

/// Every pair of pieces, by every property, under every demand: the index and the reference agree, and
/// nothing is permitted unless one of them has no fault.
#[test]
fn every_pair_of_pieces_comes_to_what_the_reference_says() {
    let all: Vec<FoundEvidence> = (0..64_u32)
        .map(|bits| {
            let has = |bit: u32| bits & (1 << bit) != 0;
            FoundEvidence {
                kind: if has(0) { "report" } else { "review" }.into(),
                subject: Digest([if has(1) { 3 } else { 4 }; 32]),
                issuer: if has(2) { "service:ci" } else { "service:cd" }.into(),
                attested: has(3),
                revoked: has(4),
                own: has(5),
                ..piece()
            }
        })
        .collect();
    for (spec, listed, signed) in [
        (", verified: true", false, false),
        (", attested: true", false, true),
        (", issuers: ['service:ci'], verified: true", true, false),
        (", issuers: ['service:ci'], attested: true", true, true),
    ] {
        let bundle = demanding(spec);
        let mut scratch = Scratch::default();
        let good = |it: &FoundEvidence| {
            it.kind == "report"
                && it.subject == Digest([3; 32])
                && if listed { it.issuer == "service:ci" } else { !it.own }
                && (it.attested || !signed)
                && !it.revoked
        };
        for one in &all {
            for other in &all {
                let request = with(vec![one.clone(), other.clone()], vec![]);
                let verdict = bundle.evaluate(&request, &caller(), &mut scratch);
                let reference = naive::evaluate(&bundle, &request, &caller(), None);
                assert_eq!(verdict.hits, reference.hits, "{spec} {one:?} {other:?}");
                let hits = verdict.hits.iter().filter(|it| it.force.by_time(NOON)).count();
                assert_eq!(hits == 1, good(one) || good(other), "{spec} {one:?} {other:?}");
            }
        }
    }
}

#[test]
fn what_a_request_is_about_is_one_thing() {
    let digest = |byte: char| format!("sha256:{}", byte.to_string().repeat(64));
    let subject = |text: &str| {
        let of = request(&format!(r#"{{"surface":"pay",{text}}}"#));
        of.subject::<Sha2>().map(|it| it.to_string())
    };
    let (a, b) = (digest('a'), digest('b'));
    assert_eq!(subject(r#""topic":"x""#), None);
    assert_eq!(subject(&format!(r#""target":"{a}""#)).as_ref(), Some(&a));
    assert_eq!(subject(&format!(r#""target":"registry/app@{a}""#)).as_ref(), Some(&a));
    assert_eq!(subject(r#""target":"registry/app:latest""#), None);
    assert_eq!(subject(&format!(r#""change":"{a}""#)).as_ref(), Some(&a));
    assert_eq!(subject(&format!(r#""change":{{"digest":"{a}"}}"#)).as_ref(), Some(&a));
    // What else a change says is part of what it is: no digest in it stands for the rest.
    let whole = subject(&format!(r#""change":{{"digest":"{a}","diff":"+x"}}"#)).unwrap();
    assert_ne!(whole, a);
    let other = subject(&format!(r#""change":{{"digest":"{a}","diff":"+y"}}"#)).unwrap();
    assert_ne!(whole, other);
    assert_eq!(subject(&format!(r#""change":"{a}","target":"app@{a}""#)).as_ref(), Some(&a));
    assert_eq!(subject(&format!(r#""change":"{a}","target":"app@{b}""#)), None, "two things");
}

#[test]
fn what_was_found_is_read_back_as_it_was_recorded() {
    let found = Found {
        subject: Some(Digest([3; 32])),
        evidence: vec![
            piece(),
            FoundEvidence { revoked: true, own: true, attested: false, ..piece() },
        ],
        unknown: vec![None, Some("report".into())],
        facts: Object::new().with("release", Object::new().with("complete", true)),
    };
    let recorded = found.to_object().unwrap();
    assert_eq!(Found::of_object(&recorded), Some(found));
    assert_eq!(Found::default().to_object(), None);
    let body = r#"{"surface":"pay","action":"a","idempotency_key":"k","found":{}}"#;
    let refused = Request::read(value(body), &caller()).unwrap_err();
    assert_eq!((refused.code(), refused.field()), ("field_unknown", "/found"), "no client says it");
}

#[test]
fn conditions_read_whether_a_release_is_complete() {
    let bundle = bundle(
        "version: v1\nrules:\n\
         - { id: a, match: { surfaces: ['alias.change'] }, decision: allow }\n\
         - { id: papers, match: { surfaces: ['alias.change'], when: '!has(verified.release) || !verified.release.complete' }, decision: deny }\n",
    );
    let outcome = |complete: Option<bool>| {
        let mut request = request(r#"{"surface":"alias.change"}"#);
        if let Some(complete) = complete {
            let release = Object::new().with("name", "r1").with("complete", complete);
            request.found.facts.set("release", release);
        }
        let verdict = verdict(&bundle, &request);
        assert_eq!(verdict.hits, naive::evaluate(&bundle, &request, &caller(), None).hits);
        combine(&verdict, |_| Velocity::Open).outcome.as_str()
    };
    assert_eq!(outcome(Some(true)), "PERMIT");
    assert_eq!(outcome(Some(false)), "DENY");
    assert_eq!(outcome(None), "DENY");
    let wrong = "version: v1\nrules: [{ id: a, match: { when: 'verified.release.done' }, decision: deny }]\n";
    assert!(compile(wrong).is_err(), "its members are known");
    let taken = "version: v1\nderivers: [{ id: d, match: {}, facts: { release: true } }]\n";
    assert!(compile(taken).is_err(), "no deriver finds a fact of this name");
}
