//! Import of first-match files: what is said, what is left out, and where order decided.

use crate::support::{Sha2, bundle, render};
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
            "26:28 `unbound` is not imported: the constraint `max_files` cannot be said, and without it more is granted",
        ]
    );
}

#[test]
fn what_is_no_such_file_is_refused() {
    for text in
        ["[]", "version: v1", "rules: 5", "rules: [{ id: a, decision: maybe }]", "rules: [{}]"]
    {
        assert!(import::<Sha2>("a", text, Star::Segment).is_err(), "{text}");
    }
}
