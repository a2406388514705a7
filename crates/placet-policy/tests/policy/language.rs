//! Patterns and conditions, case by case.

use crate::support::{bundle, hits, request};

#[track_caller]
fn matches(keys: &str, asked: &str, expected: bool) {
    let bundle = bundle(&format!(
        "version: v1\nrules:\n  - {{ id: r, match: {{ {keys} }}, decision: deny }}\n"
    ));
    assert_eq!(hits(&bundle, &request(asked)), if expected { "r" } else { "" }, "{keys} {asked}");
}

#[test]
fn wildcards_stand_for_segments() {
    let topic = |pattern: &str, topic: &str, expected| {
        matches(
            &format!("topics: [\"{pattern}\"]"),
            &format!("{{\"topic\":\"{topic}\"}}"),
            expected,
        );
    };
    topic("a.b", "a.b", true);
    topic("a.b", "a.b.c", false);
    topic("a.*", "a.b", true);
    topic("a.*", "a", false);
    topic("a.*", "a.b.c", false);
    topic("a.**", "a", true);
    topic("a.**", "a.b.c", true);
    topic("a.**", "ab.c", false);
    topic("**", "a.b", true);
    topic("*", "a", true);
    topic("*", "a.b", false);
    topic("**.z", "z", true);
    topic("**.z", "a.b.z", true);
    topic("a.**.z", "a.z", true);
    topic("a.**.z", "a.b.z.c.z", true);
    topic("a.**.z", "a.b.z.c", false);
    topic("**.a.*.**.b", "x.a.a.y.b.b", true);
    topic("**.a.**.a.**.a.**.b", &["a"; 99].join("."), false);
    topic("*.*", "a.b", true);
    let target = |pattern: &str, target: &str, expected| {
        matches(
            &format!("targets: [\"{pattern}\"]"),
            &format!("{{\"target\":\"{target}\"}}"),
            expected,
        );
    };
    target("/etc/**", "/etc/passwd", true);
    target("/etc/**", "/etc", true);
    target("/etc/*", "/etc/a/b", false);
    target("https://api.example/**", "https://api.example/v1/x", true);
    target("https://api.example/**", "http://api.example/v1/x", false);
    target("**/secret", "a/b/secret", true);
    matches("actors: [\"agent:*\"]", "{}", true);
    matches("actors: [\"*:bot\"]", "{}", true);
    matches("actors: [\"agent:bot/*\"]", "{}", false);
    matches("actors: [\"agent:bot/**\"]", "{}", true);
    matches("actors: [\"human:*\"]", "{}", false);
}

#[test]
fn a_key_on_an_absent_value_never_matches() {
    // Lesson 1: a deny rule for one tool denied every other tool.
    for keys in [
        "topics: [\"**\"]",
        "targets: [\"**\"]",
        "risk_tags: [\"*\"]",
        "risk_tags_all: [prod]",
        "teams: [\"*\"]",
        "capabilities: [\"*\"]",
        "branches: [\"*\"]",
        "models: [\"*\"]",
        "labels: { team: [\"*\"] }",
    ] {
        matches(keys, "{}", false);
    }
    matches("teams: [\"*\"]", r#"{"team":"a"}"#, true);
    matches("topics: [], risk_tags: [], labels: {}", "{}", true);
}

#[test]
fn keys_are_all_of_any() {
    matches("risk_tags: [a, b]", r#"{"risk_tags":["b"]}"#, true);
    matches("risk_tags_all: [a, b]", r#"{"risk_tags":["b"]}"#, false);
    matches("risk_tags_all: [a, b]", r#"{"risk_tags":["a","b","c"]}"#, true);
    matches("risk_tags_all: [a], risk_tags: [b]", r#"{"risk_tags":["a"]}"#, false);
    matches("labels: { x: [a, b], y: c }", r#"{"labels":{"x":"b","y":"c"}}"#, true);
    matches("labels: { x: [a, b], y: c }", r#"{"labels":{"x":"b"}}"#, false);
    matches("roles: [support], environments: [production]", "{}", true);
    matches("roles: [admin]", "{}", false);
    matches("actor_kinds: [human, agent]", "{}", true);
    matches(
        "surfaces: [\"payments.*\"], actions: [transfer]",
        r#"{"surface":"payments.eu","action":"transfer"}"#,
        true,
    );
    matches(
        "surfaces: [\"payments.*\"], actions: [transfer]",
        r#"{"surface":"payments.eu","action":"list"}"#,
        false,
    );
}

#[track_caller]
fn condition(text: &str, expected: &str) {
    let bundle = bundle(&format!(
        "version: v1\nrules:\n  - id: r\n    match:\n      when: |\n        {text}\n    decision: deny\n"
    ));
    let asked = request(
        r#"{"topic":"job.read","risk_tags":["prod","pii"],"team":"pay","labels":{"mcp.action":"write"},"estimate":{"credits":"1500000"},"on_behalf_of":["human:ann"],"arguments":{"n":5,"d":2.5,"s":"héllo","t":true,"z":null,"list":[1,"a",[2]],"map":{"k":1},"big":9007199254740992}}"#,
    );
    let found = match hits(&bundle, &asked).as_str() {
        "r" => "true".to_owned(),
        "" => "false".to_owned(),
        other => other.trim_start_matches("r!").to_owned(),
    };
    assert_eq!(found, expected, "{text}");
}

#[test]
fn conditions_have_a_value_or_an_error() {
    condition("request.arguments.n > 4 && \"prod\" in request.risk_tags", "true");
    condition(
        "request.arguments.n == 5.0 && request.arguments.d > 2 && request.arguments.d < 3",
        "true",
    );
    condition("request.arguments.big < 9007199254740993", "true");
    condition(
        "request.arguments.n + 1 == 6 && request.arguments.n % 3 == 2 && -request.arguments.n == -5",
        "true",
    );
    condition("request.arguments.n / 0 == 1", "arithmetic");
    condition("request.arguments.big * request.arguments.big > 0", "arithmetic");
    condition("request.arguments.d + 1 > 0", "type_mismatch");
    condition("request.arguments.missing > 1", "missing_field");
    condition("request.arguments.missing > 1 || true", "true");
    condition("true || request.arguments.missing > 1", "true");
    condition("request.arguments.missing > 1 && false", "false");
    condition("request.arguments.missing > 1 && true", "missing_field");
    condition("request.arguments.n == \"5\"", "type_mismatch");
    condition("request.arguments.n != \"5\"", "type_mismatch");
    condition("request.arguments.z == 1", "type_mismatch");
    condition("has(request.arguments.z) && !has(request.arguments.y)", "true");
    condition("has(request.team) && !has(request.model)", "true");
    condition("has(request.context.x)", "missing_field");
    condition("request.arguments.n", "not_boolean");
    condition("request.arguments.t", "true");
    condition("!request.arguments.n", "type_mismatch");
    condition(
        "request.arguments.n > 1 ? request.team == \"pay\" : request.arguments.missing",
        "true",
    );
    condition(
        "size(request.arguments.s) == 5 && request.risk_tags.size() == 2 && size(request.labels) == 1",
        "true",
    );
    condition(
        "request.arguments.s.startsWith(\"h\") && request.topic.endsWith(\"read\") && request.topic.contains(\".\")",
        "true",
    );
    condition(
        "request.labels[\"mcp.action\"] == \"write\" && \"mcp.action\" in request.labels",
        "true",
    );
    condition("request.arguments.list[0] == 1 && request.arguments.list[2][0] == 2", "true");
    condition("request.arguments.list[9] == 1", "missing_field");
    condition("request.arguments.n in [1, 5]", "true");
    condition("request.arguments.n in [\"a\"]", "type_mismatch");
    condition("request.arguments.list == [2, 2, 3]", "false");
    condition("request.arguments.list == [1, 2, 3]", "type_mismatch");
    condition("request.estimate.credits > 1000000", "true");
    condition("\"human:ann\" in request.on_behalf_of && verified.actor_kind == \"agent\"", "true");
    condition(
        "\"support\" in verified.roles && verified.environment == \"production\" && verified.workspace == \"default\"",
        "true",
    );
    condition("request[\"topic\"] == \"job.read\"", "true");
    condition("request.risk_tags == [\"pii\", \"prod\"]", "true");
}

#[test]
fn work_is_bounded() {
    let bundle = bundle(
        "version: v1\nrules:\n  - { id: r, match: { when: \"7 in request.arguments.list && false\" }, decision: allow }\n",
    );
    let list = vec!["1"; 30_000].join(",");
    assert_eq!(
        hits(&bundle, &request(&format!("{{\"arguments\":{{\"list\":[{list}]}}}}"))),
        "r!bound_exceeded"
    );
}
