//! What rules list of a field: which rules count, and when there is no end to it.

use crate::support::{Sha2, caller, request, source};
use placet_policy::{Bundle, Sought};

const SUBJECT: Sought<'_> = Sought {
    key: "labels.who",
    paths: &[&["request", "labels", "who"], &["request", "context", "who", "id"]],
};
const TARGET: Sought<'_> = Sought { key: "targets", paths: &[&["request", "target"]] };
const ACTION: Sought<'_> = Sought { key: "actions", paths: &[&["request", "action"]] };

/// The values listed by rules of which each is the rest of a line, or the rule without a list.
#[track_caller]
fn listed(sought: Sought<'_>, rules: &[&str]) -> String {
    let rules: String =
        rules.iter().zip('a'..).map(|(rule, id)| format!("  - {{ id: {id}, {rule} }}\n")).collect();
    let empty = if rules.is_empty() { " []" } else { "" };
    let text = format!("version: v1\nrules:{empty}\n{rules}");
    let bundle = Bundle::compile::<Sha2>(&[source("p.yaml", &text)]).unwrap();
    let request = request(
        r#"{"surface":"s","action":"read","target":"t1","labels":{"team":"x"},
            "context":{"who":{"properties":{"role":"admin"}},"n":1}}"#,
    );
    match bundle.listed(&request, &caller(), sought) {
        Ok(values) => values.into_iter().collect::<Vec<_>>().join(" "),
        Err(unlisted) => format!("no end: {}", unlisted.rule),
    }
}

#[test]
fn rules_count_that_could_grant() {
    let who = |more: &str| format!("match: {{ labels: {{ who: [ann, bob] }} {more} }}");
    for (more, decision, wanted) in [
        ("", "allow", "ann bob"),
        ("", "allow_with_constraints, constraints: { read_only: true }", "ann bob"),
        ("", "deny", ""),
        ("", "require_approval", ""),
        ("", "throttle, retry_after: 1s", ""),
        (", actions: [read]", "allow", "ann bob"),
        (", actions: [write]", "allow", ""),
        (", surfaces: ['s', 'u.*']", "allow", "ann bob"),
        (", surfaces: ['u.*']", "allow", ""),
        (", roles: [support]", "allow", "ann bob"),
        (", roles: [nobody]", "allow", ""),
        (", when: request.context.n == 1", "allow", "ann bob"),
        (", when: request.context.n == 2", "allow", ""),
        (", when: request.context.missing", "allow", ""),
        // The condition does not read the sought field, so it is asked.
        (", when: 'request.context.who.properties.role == \"user\"'", "allow", ""),
        (", when: 'request.context[\"who\"].properties.role == \"admin\"'", "allow", "ann bob"),
        // It reads it, and could hold for some value.
        (", when: 'request.context.who.id == \"cid\"'", "allow", "ann bob"),
        (", when: 'request.context[\"who\"][\"id\"] == \"cid\"'", "allow", "ann bob"),
        (", when: 'size(request.context.who) > 7'", "allow", "ann bob"),
        (", when: 'request.labels.who.startsWith(\"z\")'", "allow", "ann bob"),
        (", when: '\"zoe\" in request.labels'", "allow", "ann bob"),
        (", when: 'request.labels[request.action] == \"zoe\"'", "allow", "ann bob"),
        (", when: 'request.context.n == 2 && request.labels.who == \"zoe\"'", "allow", "ann bob"),
    ] {
        let rule = format!("{}, decision: {decision}", who(more));
        assert_eq!(listed(SUBJECT, &[&rule]), wanted, "{rule}");
    }
}

#[test]
fn without_a_list_there_is_no_end() {
    let list = "match: { targets: [t2, t1] }, decision: allow";
    for (rule, wanted) in [
        ("match: { targets: [t3] }, decision: allow", "t1 t2 t3"),
        ("match: { targets: ['dir/**'] }, decision: allow", "no end: b"),
        ("match: { surfaces: [s] }, decision: allow", "no end: b"),
        ("match: { surfaces: [u] }, decision: allow", "t1 t2"),
        ("match: { surfaces: [s] }, decision: deny", "t1 t2"),
        ("match: { surfaces: [s], when: request.context.n == 2 }, decision: allow", "t1 t2"),
        (
            "match: { surfaces: [s], when: 'request.target == \"t9\"' }, decision: allow",
            "no end: b",
        ),
        ("match: { surfaces: [s] }, decision: allow, advice: true", "t1 t2"),
    ] {
        assert_eq!(listed(TARGET, &[list, rule]), wanted, "{rule}");
    }
    assert_eq!(
        listed(ACTION, &["match: { actions: [write, 'a.b'] }, decision: allow"]),
        "a.b write"
    );
    assert_eq!(listed(ACTION, &["match: { actions: ['a.*'] }, decision: allow"]), "no end: a");
    assert_eq!(listed(ACTION, &[]), "");
}

#[test]
fn of_an_unknown_surface_nothing_is_listed() {
    let text = "version: v1\nsurfaces: { other: {} }\nrules:\n  - { id: a, match: { actions: ['**'] }, decision: allow }\n";
    let bundle = Bundle::compile::<Sha2>(&[source("p.yaml", text)]).unwrap();
    let found = bundle.listed(&request(r#"{"surface":"s"}"#), &caller(), ACTION).unwrap();
    assert!(found.is_empty());
    let found = bundle.listed(&request(r#"{"surface":"other"}"#), &caller(), ACTION);
    assert_eq!(found.unwrap_err().rule, "a");
}

#[test]
fn what_derivers_find_is_left_open() {
    let text = r#"
version: v1
derivers:
  - { id: d, match: { targets: [t2] }, risk_tags: [hot], facts: { hot: true } }
rules:
  - { id: a, match: { targets: [t1], risk_tags: [hot] }, decision: allow }
  - { id: b, match: { targets: [t2], when: verified.hot }, decision: allow }
  - { id: c, match: { targets: [t3], when: request.context.n == 2 }, decision: allow }
"#;
    let bundle = Bundle::compile::<Sha2>(&[source("p.yaml", text)]).unwrap();
    let request = request(r#"{"surface":"s","context":{"n":1}}"#);
    let found = bundle.listed(&request, &caller(), TARGET).unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["t1", "t2"]);
}
