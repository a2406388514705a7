//! Cases of bundles, run on the real engine: what passes, what differs, what must be denied.

use super::*;
use placet_policy::Source;
use std::cell::Cell;

fn bundle(text: &str) -> Bundle {
    let source = Source { name: "policy.yaml".to_owned(), text: text.to_owned() };
    Bundle::compile::<Fast>(&[source]).unwrap_or_else(|found| panic!("{found:?}"))
}

const RULES: &str = r#"version: v1
rules:
  - { id: export, match: { surfaces: [data.export] }, decision: allow }
  - { id: send, match: { surfaces: [message.send] }, decision: allow }
  - id: burst
    match: { surfaces: [message.send] }
    decision: throttle
    limit: { count: 2, per: 1m, key: [actor] }
  - id: leak
    match: { surfaces: [message.send] }
    decision: deny
    after: { surface: data.export, within: 10m, same: [actor] }
  - id: night
    match: { surfaces: [data.export] }
    decision: require_approval
    approval: { roles: { night_shift: 2 } }
    schedule: { from: "22:00", until: "06:00" }
tests:
"#;

/// One line per case: its id and what differs.
fn check(cases: &str, expected: &[&str]) {
    let bundle = bundle(&format!("{RULES}{cases}"));
    let lines: Vec<String> = bundle
        .cases()
        .map(|case| {
            let result = run_case(&bundle, case);
            let texts: Vec<String> = result.differences.iter().map(ToString::to_string).collect();
            format!("{}: {}", result.case.id, texts.join("; "))
        })
        .collect();
    assert_eq!(lines, expected);
}

const SEND: &str = "request: { surface: message.send, action: send }";

#[test]
fn a_window_is_filled_by_what_came_before() {
    check(
        &format!(
            r#"
  - id: full
    {SEND}
    history: [{{ ago: 30s, {SEND}, times: 2, outcome: PERMIT }}]
    expect: {{ outcome: THROTTLE, rules: [burst], reasons: [rule, velocity], retry_after: 30s }}
  - id: over
    {SEND}
    history: [{{ ago: 61s, {SEND}, times: 2 }}]
    expect: {{ outcome: PERMIT, rules: [send] }}
  - id: other
    {SEND}
    history: [{{ ago: 30s, caller: {{ actor: "agent:other" }}, {SEND}, times: 2 }}]
    expect: {{ outcome: PERMIT }}
  - id: wrong
    {SEND}
    history: [{{ ago: 30s, {SEND}, times: 3, outcome: PERMIT }}]
    expect: {{ outcome: PERMIT, rules: [send], retry_after: 1s }}
"#
        ),
        &[
            "full: ",
            "other: ",
            "over: ",
            "wrong: history[2].outcome: expected PERMIT, found THROTTLE; outcome: expected PERMIT, found THROTTLE; rules: expected send, found burst; retry_after: expected 1000ms, found 30000ms",
        ],
    );
}

#[test]
fn sequences_and_schedules_are_decided_as_on_a_server() {
    let export = "request: { surface: data.export, action: create }";
    check(
        &format!(
            r#"
  - id: day
    {export}
    at: 2026-03-02T12:00:00Z
    expect: {{ outcome: PERMIT, rules: [export], constraints: {{}} }}
  - id: leak
    {SEND}
    history: [{{ ago: 9m, {export} }}]
    expect: {{ outcome: DENY, rules: [leak] }}
    must_deny: true
  - id: night
    {export}
    at: 2026-03-02T23:00:00Z
    expect: {{ outcome: REQUIRE_APPROVAL, approval: {{ night_shift: 2 }} }}
  - id: safe
    {SEND}
    history: [{{ ago: 11m, {export} }}]
    expect: {{ outcome: PERMIT }}
"#
        ),
        &["day: ", "leak: ", "night: ", "safe: "],
    );
}

#[test]
fn a_bundle_that_permits_what_must_be_denied_fails_its_self_test() {
    let case = |floor: &str| {
        bundle(&format!(
            "version: v1\nrules: [{{ id: all, match: {{ surfaces: [\"**\"] }}, decision: allow }}]\n{floor}tests:\n  - {{ id: drop, must_deny: true, request: {{ surface: db, action: drop }} }}\n"
        ))
    };
    let failures = self_test(&case("")).unwrap_err();
    assert_eq!(
        failures.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["case drop must be denied; outcome: expected DENY, found PERMIT"]
    );
    let floor = "floor: [{ id: never, match: { actions: [drop] }, decision: deny }]\n";
    assert_eq!(self_test(&case(floor)), Ok(()));
    // Nothing has to be denied, so nothing fails.
    assert_eq!(self_test(&bundle("version: v1\nrules: []\n")), Ok(()));
}

#[test]
fn a_repeated_key_is_answered_by_the_first_decision() {
    let same = "request: { surface: message.send, action: send, idempotency_key: k }";
    check(
        &format!(
            "\n  - id: again\n    {same}\n    history: [{{ ago: 1s, {same} }}, {{ ago: 1s, {SEND}, times: 5 }}]\n    expect: {{ outcome: PERMIT }}\n"
        ),
        &["again: "],
    );
}

#[test]
fn all_cases_have_to_pass_before_a_bundle_comes_into_force() {
    let of = |cases: &str| {
        bundle(&format!(
            "version: v1\nrules: [{{ id: all, match: {{ surfaces: [job] }}, decision: allow }}]\ntests:\n{cases}"
        ))
    };
    let case = |id: &str, outcome: &str, more: &str| {
        format!(
            "  - {{ id: {id}, request: {{ surface: job, action: go }}, expect: {{ outcome: {outcome} }}{more} }}\n"
        )
    };
    assert_eq!(all_cases(&of(&case("one", "PERMIT", ""))), Ok(1));
    let found =
        all_cases(&of(&format!("{}{}", case("good", "PERMIT", ""), case("bad", "THROTTLE", ""))));
    assert_eq!(found.unwrap_err(), ["case bad; outcome: expected THROTTLE, found PERMIT"]);
    // The work is bounded, and so is what is said of it.
    let step =
        |ago| format!("{{ ago: {ago}, times: 1000, request: {{ surface: job, action: go }} }}");
    let history = format!(", history: [{}, {}]", step("2h"), step("1h"));
    let many: String = (0..25).map(|at| case(&format!("c{at}"), "PERMIT", &history)).collect();
    let found = all_cases(&of(&many)).unwrap_err();
    assert!(found.len() == 1 && found[0].contains("50025 decisions"), "{found:?}");
    let many: String = (0..300).map(|at| case(&format!("c{at}"), "DENY", "")).collect();
    assert_eq!(all_cases(&of(&many)).unwrap_err().len(), 100);
}

#[test]
fn a_case_ends_where_there_is_no_more_time() {
    let bundle = bundle(&format!(
        "version: v1\nrules: [{{ id: all, match: {{ surfaces: [message.send] }}, decision: allow }}]\ntests:\n  - {{ id: long, {SEND}, history: [{{ ago: 1h, times: 1000, {SEND} }}], expect: {{ outcome: PERMIT }} }}\n"
    ));
    let run = |decisions: u32| {
        let asked = Cell::new(0);
        let go_on = || asked.replace(asked.get() + 1) < decisions;
        let case = bundle.cases().next().unwrap();
        let result = run_case_while(&bundle, case, &go_on).map(|it| it.passed());
        (result, asked.get())
    };
    assert_eq!(run(5), (Err(DryError::OutOfTime), 6));
    assert_eq!(run(1000), (Err(DryError::OutOfTime), 1001));
    assert_eq!(run(1001), (Ok(true), 1001));
}

#[test]
fn a_case_presents_what_the_store_has() {
    let bundle = bundle(
        r#"version: v1
surfaces:
  infra.apply:
    evidence: [{ type: report, max_age: 30d, issuers: ["service:ci"], verified: true }]
  infra.sign:
    evidence: [{ type: report, max_age: 30d, attested: true }]
  alias.change: {}
rules:
  - { id: apply, match: { surfaces: ["infra.*", "alias.change"] }, decision: allow }
  - id: papers
    match: { surfaces: ["alias.change"], when: "!has(verified.release) || !verified.release.complete" }
    decision: deny
  - id: what
    match: { surfaces: ["alias.change"], targets: [staging], when: "verified.release.change_surface != 'git.change' || !('git.change' in verified.release.approval_surfaces) || !('report' in verified.release.evaluation_types)" }
    decision: deny
tests:
  - id: good
    request: { surface: infra.apply, action: apply, change: { diff: "+x", digest: "x" } }
    evidence: [{ type: report, issuer: service:ci, age: 29d }]
    expect: { outcome: PERMIT }
  - id: none
    request: { surface: infra.apply, action: apply, change: { diff: "+x" } }
    evidence: []
    expect: { outcome: DENY, reasons: [evidence_missing] }
  - id: old
    request: { surface: infra.apply, action: apply, change: { diff: "+x" } }
    evidence: [{ type: report, issuer: service:ci, age: 30d }]
    expect: { outcome: DENY, reasons: [evidence_expired] }
  - id: ended
    request: { surface: infra.apply, action: apply, change: { diff: "+x" } }
    evidence: [{ type: report, issuer: service:ci, age: 2h, life: 1h }]
    expect: { outcome: DENY, reasons: [evidence_expired] }
  - id: foreign
    request: { surface: infra.apply, action: apply, change: { diff: "+x" } }
    evidence: [{ type: report, issuer: service:cd }]
    expect: { outcome: DENY, reasons: [evidence_foreign] }
  - id: elsewhere
    request: { surface: infra.apply, action: apply, target: "app@sha256:1111111111111111111111111111111111111111111111111111111111111111" }
    evidence: [{ type: report, issuer: service:ci, subject: "sha256:2222222222222222222222222222222222222222222222222222222222222222" }]
    expect: { outcome: DENY, reasons: [evidence_foreign] }
  - id: nothing
    request: { surface: infra.apply, action: apply, target: app }
    evidence: [{ type: report, issuer: service:ci }]
    expect: { outcome: DENY, reasons: [evidence_foreign] }
  - id: unknown
    request: { surface: infra.apply, action: apply, change: { diff: "+x" }, evidence: [{ id: "evd_0" }] }
    evidence: []
    expect: { outcome: DENY, reasons: [evidence_foreign] }
  - id: revoked
    request: { surface: infra.apply, action: apply, change: { diff: "+x" } }
    evidence: [{ type: report, issuer: service:ci, revoked: true }]
    expect: { outcome: DENY, reasons: [evidence_revoked] }
  - id: unsigned
    request: { surface: infra.sign, action: apply, change: { diff: "+x" } }
    evidence: [{ type: report, issuer: service:ci }]
    expect: { outcome: DENY, reasons: [evidence_unattested] }
  - id: signed
    request: { surface: infra.sign, action: apply, change: { diff: "+x" } }
    evidence: [{ type: report, issuer: service:ci, attested: true }]
    expect: { outcome: PERMIT }
  - id: own
    request: { surface: infra.sign, action: apply, change: { diff: "+x" } }
    evidence: [{ type: report, issuer: agent:local, attested: true }]
    expect: { outcome: DENY, reasons: [evidence_foreign] }
  - id: papers
    request: { surface: alias.change, action: set, target: prod }
    release: { name: r1, complete: true }
    expect: { outcome: PERMIT }
  - id: what
    request: { surface: alias.change, action: set, target: staging }
    release: { name: r1, complete: true, change_surface: git.change, approval_surfaces: [git.change], evaluation_types: [report] }
    expect: { outcome: PERMIT }
  - id: other
    request: { surface: alias.change, action: set, target: staging }
    release: { name: r1, complete: true, change_surface: git.change, evaluation_types: [report] }
    expect: { outcome: DENY }
  - id: gaps
    request: { surface: alias.change, action: set, target: prod }
    release: { name: r1 }
    expect: { outcome: DENY }
"#,
    );
    let mut count = 0;
    for case in bundle.cases() {
        let result = run_case(&bundle, case);
        assert_eq!(result.differences, [], "{}", result.case.id);
        count += 1;
    }
    assert_eq!(count, 16);
}
