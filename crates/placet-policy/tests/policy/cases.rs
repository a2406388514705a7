//! The document `tests:`: what a case may say, what it means, and that it is part of the digest.

use crate::support::{Sha2, bundle, compile, render};
use placet_policy::Bundle;

#[track_caller]
fn refused(case: &str, why: &str) {
    let found = render(&compile(&format!("version: v1\ntests:\n  - {case}\n")).unwrap_err());
    assert!(found.contains(why), "{case}\n{found}");
    assert!(found.contains("policy.yaml:3:"), "{found}");
}

#[test]
fn a_case_that_could_not_fail_or_be_asked_does_not_compile() {
    let request = "request: { surface: job, action: dispatch }";
    refused(&format!("{{ id: a, {request} }}"), "it could never fail");
    refused(&format!("{{ id: a, {request}, must_deny: false }}"), "it could never fail");
    refused(&format!("{{ id: a, {request}, expect: {{}} }}"), "`outcome` of `expect` is missing");
    refused(&format!("{{ id: a, {request}, expect: {{ outcome: ALLOW }} }}"), "unknown `outcome`");
    refused(
        &format!("{{ id: a, {request}, must_deny: true, expect: {{ outcome: PERMIT }} }}"),
        "other than DENY",
    );
    refused(
        "{ id: a, request: { surface: job }, expect: { outcome: DENY } }",
        "case `a`: the request is refused: /action",
    );
    refused(
        "{ id: a, request: { surface: job, action: x, topik: z }, must_deny: true }",
        "did you mean \"topic\"?",
    );
    refused(
        &format!("{{ id: a, {request}, expect: {{ outcome: DENY, reasons: [because] }} }}"),
        "`because` is no code of a reason",
    );
    refused(
        &format!("{{ id: a, {request}, must_deny: true, at: 2026-02-29T00:00:00Z }}"),
        "an instant in UTC",
    );
    refused(
        &format!("{{ id: a, {request}, must_deny: true, caller: {{ actor: bot }} }}"),
        "is not an actor",
    );
    refused(
        &format!(
            "{{ id: a, {request}, must_deny: true, history: [{{ ago: 1s, request: {{}} }}] }}"
        ),
        "history[0]: the request is refused: /surface",
    );
    refused(
        &format!("{{ id: a, {request}, expect: {{ outcome: DENY, constraints: {{ max: 1 }} }} }}"),
        "max",
    );
}

#[test]
fn cases_belong_to_the_digest_and_their_order_does_not() {
    let one = "{ id: one, request: { surface: job, action: a }, must_deny: true }";
    let two = "{ id: two, at: 2024-02-29T12:00:00.5Z, request: { surface: job, action: b }, expect: { outcome: SILENCE } }";
    let of = |cases: &[&str]| {
        bundle(&format!("version: v1\nrules: []\ntests: [{}]\n", cases.join(", ")))
    };
    assert_eq!(of(&[one, two]).digest(), of(&[two, one]).digest());
    assert_ne!(of(&[one, two]).digest(), of(&[one]).digest());
    let both = of(&[two, one]);
    let again = Bundle::from_normalised::<Sha2>(both.normalised()).unwrap();
    assert_eq!(again.cases().collect::<Vec<_>>(), both.cases().collect::<Vec<_>>());
    assert_eq!(both.case_count(), 2);
    let cases: Vec<_> = both.cases().collect();
    assert_eq!(cases[1].at.rfc3339(), "2024-02-29T12:00:00.500Z");
    assert_eq!(cases[0].request.idempotency_key, "one");
    assert_eq!(cases[0].caller.actor.as_str(), "agent:local");
}

#[test]
fn evidence_that_no_store_could_have_does_not_compile() {
    let case = |evidence: &str, change: &str| {
        format!(
            "{{ id: a, request: {{ surface: job, action: x, change: {change} }}, must_deny: true, evidence: [{evidence}] }}"
        )
    };
    let text = "{ diff: \"+x\" }";
    for (evidence, change, why) in [
        ("{ issuer: 'service:ci' }", text, "`type`"),
        ("{ type: report }", text, "`issuer`"),
        ("{ type: report, issuer: ci }", text, "is not an actor"),
        ("{ type: report, issuer: 'service:ci', digest: x }", text, "`digest` is no digest"),
        ("{ type: report, issuer: 'service:ci', age: 90y }", text, "age"),
        (
            "{ type: report, issuer: 'service:ci', subject: 'sha256:2222222222222222222222222222222222222222222222222222222222222222' }",
            text,
            "leave `subject` out",
        ),
    ] {
        refused(&case(evidence, change), why);
    }
}

/// Requests have doubles, so cases do; nothing else in a bundle does.
#[test]
fn arguments_of_a_case_may_be_doubles() {
    let of = |number: &str| {
        compile(&format!(
            "version: v1\ntests: [{{ id: a, request: {{ surface: job, action: x, arguments: {{ n: {number} }} }}, must_deny: true }}]\n"
        ))
    };
    for (written, read) in [("0.5", "0.5"), ("1.50", "1.5"), ("1e3", "1000"), ("-2.25", "-2.25")] {
        let bundle = of(written).unwrap_or_else(|found| panic!("{}", render(&found)));
        let case = bundle.cases().next().unwrap();
        assert_eq!(case.request.arguments.unwrap().get("n").unwrap().to_text(), read);
        let again = Bundle::from_normalised::<Sha2>(bundle.normalised()).unwrap();
        assert_eq!(again.digest(), bundle.digest(), "{written}");
    }
    for wrong in [".5", "12345678901234567890", "1e400", "0x1p3"] {
        let found = of(wrong);
        let text = found.as_ref().err().map(|it| render(it)).unwrap_or_default();
        assert!(wrong == "0x1p3" || text.contains("no double holds"), "{wrong}: {text}");
    }
    let fact = "version: v1\nderivers: [{ id: d, read: target, any_of: { values: [x] }, facts: { n: 0.5 } }]\n";
    assert!(render(&compile(fact).unwrap_err()).contains("only integers"));
}
