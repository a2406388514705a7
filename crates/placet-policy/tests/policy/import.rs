//! Import of first-match files: what is said, what is left out, and where order decided.

use crate::support::{Sha2, bundle, decide, render, request};
use placet_policy::{Imported, Star, import};

#[track_caller]
fn imported(text: &str, star: Star) -> Imported {
    import::<Sha2>("old.yaml", text, star).unwrap_or_else(|found| panic!("{}", render(&found)))
}

fn orders(imported: &Imported) -> Vec<String> {
    let line = |it: &placet_policy::OrderDifference| {
        let (first, strictest) = (it.first_match.as_str(), it.strictest_wins.as_str());
        format!("{} {first} / {} {strictest}", it.first, it.deciding.join(","))
    };
    imported.differences.iter().map(line).collect()
}

#[test]
fn the_sample_keeps_its_meaning_and_shows_where_order_decided() {
    let text = include_str!("../../../placet/tests/samples/seed5.yaml");
    let imported = imported(text, Star::Segment);
    assert_eq!(bundle(&imported.document).digest(), bundle(text).digest());
    assert_eq!(render(&imported.notes), "");
    assert_eq!(
        orders(&imported),
        [
            "allow-low-risk-read PERMIT / deny-destructive DENY",
            "require-approval-prod-write REQUIRE_APPROVAL / deny-destructive DENY",
            "constrain-medium-risk PERMIT / deny-destructive DENY",
        ]
    );
    let witness = &imported.differences[1].request;
    assert_eq!(
        placet_types::json::Value::Object(witness.clone()).to_text(),
        r#"{"action":"dispatch","idempotency_key":"witness","risk_tags":["destructive","prod"],"surface":"job","topic":"job.mcp-bridge.write.x"}"#
    );
}

#[test]
fn what_cannot_be_said_restricts_or_is_left_out() {
    let imported = imported(
        r#"version: "1"
default_decision: allow
tenants: { acme: {} }
rules:
  - id: Allow reads
    match: { topics: ["job.read.*"], tenants: [acme], labels: { team: pay }, actor_ids: [mailer] }
    decision: permit
    constraints: { budgets: { max_runtime_ms: 1500, max_retries: 2 }, toolchain: { allowed_tools: [git] } }
  - id: secrets
    match: { topics: ["job.*"], secrets_present: true }
    decision: block
    reason: no secrets
  - id: lax
    match: { pack_ids: [core] }
    decision: allow
  - id: glued
    match: { topics: ["job.pay*"] }
    decision: deny
  - id: burst
    match: { topics: ["job.send"] }
    decision: throttle
    velocity: { max_requests: 5, window_seconds: 60, key: "tenant:actor_id" }
  - id: unbound
    match: { topics: ["job.x"] }
    decision: allow
    constraints: { diff: { max_files: 3 } }
"#,
        Star::Any,
    );
    assert_eq!(
        imported.document,
        r#"version: v1
rules:
  - id: "Allow-reads"
    match:
      topics: ["job.read.*.**"]
      actors: ["*:mailer"]
      labels: { "team": ["pay"] }
      when: 'verified.workspace in ["acme"]'
    decision: "allow_with_constraints"
    constraints: { "allowed_tools": ["git"], "max_retries": 2, "max_runtime_sec": 1 }
  - { id: "secrets", match: { topics: ["job.*.**"] }, decision: "deny", reason: "no secrets" }
  - { id: "glued", match: {}, decision: "deny" }
  - id: "burst"
    match: { topics: ["job.send"] }
    decision: "throttle"
    limit: { count: 5, per: "60s", key: ["workspace", "actor"] }
  - { id: "unbound", match: { topics: ["job.x"] }, decision: "deny" }
"#
        .replace("\"team\"", "team")
        .replace("\"allowed_tools\":", "allowed_tools:")
        .replace("\"max_retries\":", "max_retries:")
        .replace("\"max_runtime_sec\":", "max_runtime_sec:")
    );
    let notes: Vec<String> = imported
        .notes
        .iter()
        .map(|note| format!("{}:{} {}", note.line, note.column, note.message))
        .collect();
    assert_eq!(
        notes,
        [
            "2:1 a default that grants is not imported: what nothing matches is SILENCE",
            "3:1 `tenants` is not imported",
            "10:33 `secrets` is imported without `secrets_present`, so it restricts more than before",
            "14:14 `lax` is not imported: `pack_ids` cannot be said, and without it more is granted",
            "17:23 `glued` is imported without `job.pay*` in `topics`, so it restricts more than before",
            "26:28 `unbound` is imported as deny: without the constraint `max_files` more is granted than before",
        ]
    );
}

#[test]
fn what_is_no_such_file_is_refused() {
    for text in [
        "[]",
        "version: v1",
        "rules: 5",
        "rules: [{ id: a, decision: maybe }]",
        "rules: [{}]",
        // Each may restrict what the rules grant.
        "{ rules: [], tier: job }",
        "{ rules: [], selector: { workflow_id: w } }",
        "{ rules: [], tenants: { acme: { deny_topics: [job.x] } } }",
        "{ rules: [], input_rules: [{ id: a, decision: deny }] }",
        "{ rules: [], default_tenant: acme }",
    ] {
        assert!(import::<Sha2>("a", text, Star::Segment).is_err(), "{text}");
    }
    imported("{ rules: [], default_tenant: default }", Star::Segment);
}

/// Places and what became of each rule, and the file that it became.
#[track_caller]
fn check(rules: &str, document: &str, notes: &[&str]) {
    let imported = imported(&format!("rules:\n{rules}"), Star::Segment);
    assert_eq!(imported.document, format!("version: v1\n{document}"));
    let told = |it: &placet_policy::Diagnostic| format!("{}:{} {}", it.line, it.column, it.message);
    assert_eq!(imported.notes.iter().map(told).collect::<Vec<_>>(), notes);
}

#[test]
fn what_is_malformed_makes_no_rule_for_everything() {
    check(
        r#"  - { id: list, match: [{ topics: ["job.a"] }], decision: allow }
  - { id: word, match: "job.*", decision: allow }
  - { id: none, match: , decision: allow }
  - { id: labels, match: { labels: [x] }, decision: allow }
  - { id: free, match: { topics: ["job.b"] }, decision: allow, constraints: [max_runtime_sec] }
  - { id: tenants, match: { tenants: { a: b } }, decision: deny }
"#,
        r#"rules:
  - { id: "free", match: { topics: ["job.b"] }, decision: "deny" }
  - { id: "tenants", match: {}, decision: "deny" }
"#,
        &[
            "2:17 `list` is not imported: a `match` that is no mapping cannot be said, and without it more is granted",
            "3:17 `word` is not imported: a `match` that is no mapping cannot be said, and without it more is granted",
            "4:17 `none` is not imported: a `match` that is no mapping cannot be said, and without it more is granted",
            "5:28 `labels` is not imported: `labels` that are no mapping cannot be said, and without it more is granted",
            "6:64 `free` is imported as deny: without constraints that are no mapping more is granted than before",
            "7:29 `tenants` is imported without `tenants`, so it restricts more than before",
        ],
    );
}

#[test]
fn an_unknown_key_of_a_rule_that_grants_is_not_passed_over() {
    check(
        r#"  - { id: off, enabled: false, match: { topics: ["job.a"] }, decision: allow }
  - { id: cond, when: "amount < 10", match: {}, decision: allow }
  - { id: told, description: reads, tier: global, match: { topics: ["job.c"] }, decision: allow }
  - { id: stop, when: "amount > 10", match: { topics: ["job.d"] }, decision: deny }
"#,
        r#"rules:
  - { id: "told", match: { topics: ["job.c"] }, decision: "allow" }
  - { id: "stop", match: { topics: ["job.d"] }, decision: "deny" }
"#,
        &[
            "2:16 `off` is not imported: `enabled` cannot be said, and without it more is granted",
            "3:17 `cond` is not imported: `when` cannot be said, and without it more is granted",
            "4:17 `description` of `told` is not imported",
            "5:17 `stop` is imported without `when`, so it restricts more than before",
        ],
    );
}

#[test]
fn what_holds_or_constrains_does_not_vanish_over_a_wider_grant() {
    let rules = r#"  - { id: approve-writes, match: { topics: ["job.write.*"], mcp_servers: [prod] }, decision: require_approval }
  - { id: constrain-exec, match: { topics: ["job.exec.*"] }, decision: allow_with_constraints, constraints: { max_runtime_sec: 45, sandbox: gvisor } }
  - { id: constrain-read, match: { topics: ["job.read.*"], pack_ids: [core] }, decision: allow, constraints: { max_runtime_sec: 45 } }
  - { id: exception.all, match: { topics: ["job.*.*"] }, decision: allow }
"#;
    check(
        rules,
        r#"floor:
  - { id: "approve-writes", match: { topics: ["job.write.*"] }, decision: "require_approval" }
  - id: "constrain-read"
    match: { topics: ["job.read.*"] }
    decision: "require_approval"
    constraints: { max_runtime_sec: 45 }
rules:
  - { id: "constrain-exec", match: { topics: ["job.exec.*"] }, decision: "deny" }
  - { id: "exception-all", match: { topics: ["job.*.*"] }, decision: "allow" }
"#,
        &[
            "2:61 `approve-writes` is imported under `floor:` without `mcp_servers`: what others grant there needs an approval, and it grants nothing itself",
            "3:132 `constrain-exec` is imported as deny: without the constraint `sandbox` more is granted than before",
            "4:60 `constrain-read` is imported under `floor:` without `pack_ids`: what others grant there needs an approval, and it grants nothing itself",
        ],
    );
    let imported = imported(&format!("rules:\n{rules}"), Star::Segment);
    let bundle = bundle(&imported.document);
    for (topic, outcome) in [
        ("job.write.row", "REQUIRE_APPROVAL"),
        ("job.exec.lint", "DENY"),
        ("job.read.row", "REQUIRE_APPROVAL"),
        ("job.list.row", "PERMIT"),
        ("job.write.row.cell", "SILENCE"),
    ] {
        let request = request(&format!(r#"{{"topic":"{topic}"}}"#));
        assert_eq!(decide(&bundle, &request).outcome.as_str(), outcome, "{topic}");
    }
}
