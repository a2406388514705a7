//! Golden diagnostics: what is wrong, where, and what to do, for each class of bad input.

use crate::support::{Sha2, bundle, compile, render, source};
use placet_policy::{Bundle, Code};

/// The whole rendering, after the name of the file.
#[track_caller]
fn check(text: &str, expected: &str) {
    let found = render(&compile(text).expect_err("must not compile"));
    assert_eq!(found.replace("policy.yaml:", ""), expected, "{text}");
}

#[test]
fn unknown_keys() {
    check(
        r#"version: v1
rule: []
"#,
        r#"2:1: error[unknown_key]: unknown key `rule`
  | rule: []
  | ^^^^
  = hint: did you mean `rules`?"#,
    );
    check(
        r#"version: v1
rules:
  - id: a
    match: { topic: [x] }
    decision: allow
    reasson: x
"#,
        r#"4:14: error[unknown_key]: unknown key `topic` of `match`
  |     match: { topic: [x] }
  |              ^^^^^
  = hint: did you mean `topics`?
6:5: error[unknown_key]: unknown key `reasson` of a rule
  |     reasson: x
  |     ^^^^^^^
  = hint: did you mean `reason`?"#,
    );
    check(
        r#"version: v1
test: []
"#,
        r#"2:1: error[unknown_key]: unknown key `test`
  | test: []
  | ^^^^
  = hint: did you mean `tests`?"#,
    );
    check(
        r#"version: v1
rules:
  - id: a
    match: {}
    decision: allow_with_constraints
    constraints:
      max_runtime_secs: 5
"#,
        r#"7:7: error[unknown_key]: unknown constraint `max_runtime_secs`
  |       max_runtime_secs: 5
  |       ^^^^^^^^^^^^^^^^
  = hint: did you mean `max_runtime_sec`?"#,
    );
    check(
        r#"version: v1
surfaces:
  payments: { fail_mode: open }
  other: { dedline: 5s }
"#,
        r#"3:26: error[wrong_type]: `fail_mode` takes a mapping, not text
  |   payments: { fail_mode: open }
  |                          ^^^^
4:12: error[unknown_key]: unknown key `dedline` of `other`
  |   other: { dedline: 5s }
  |            ^^^^^^^
  = hint: did you mean `deadline`?"#,
    );
}

#[test]
fn wrong_types_and_words() {
    check(
        r#"version: v2
rules: []
"#,
        r#"1:10: error[bad_value]: unknown version
  | version: v2
  |          ^^
  = hint: this version of Placet reads `version: v1`"#,
    );
    check(
        r#"rules: []
"#,
        r#"1:1: error[missing_key]: `version` is missing
  | rules: []
  | ^
  = hint: begin every document with `version: v1`"#,
    );
    check(
        r#"version: v1
rules:
  - id: a
    match: { topics: job.read }
    decision: alow
"#,
        r#"4:22: error[wrong_type]: `topics` takes a list, not text
  |     match: { topics: job.read }
  |                      ^^^^^^^^
  = hint: write ["job.read"]
5:15: error[bad_value]: unknown decision `alow`
  |     decision: alow
  |               ^^^^
  = hint: did you mean `allow`?"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: {}, decision: allow, advice: yes }
  - { id: b c, match: {}, decision: block }
  - { id: c, match: { environments: [no], branches: [1.10] }, decision: deny }
"#,
        r#"3:50: error[wrong_type]: `yes` is no boolean
  |   - { id: a, match: {}, decision: allow, advice: yes }
  |                                                  ^^^
  = hint: write true or false
4:11: error[bad_value]: an id consists of 1 to 128 letters, digits and . _ -
  |   - { id: b c, match: {}, decision: block }
  |           ^^^
4:37: error[bad_value]: unknown decision `block`
  |   - { id: b c, match: {}, decision: block }
  |                                     ^^^^^
  = hint: did you mean `deny`?
5:38: error[wrong_type]: `no` is text or a boolean, depending on the version of YAML
  |   - { id: c, match: { environments: [no], branches: [1.10] }, decision: deny }
  |                                      ^^
  = hint: put it in quotes: "no"
5:54: error[wrong_type]: `branches` takes text, not a number
  |   - { id: c, match: { environments: [no], branches: [1.10] }, decision: deny }
  |                                                      ^^^^
  = hint: put it in quotes"#,
    );
    check(
        r#"version: v1
rules:
  - { match: {}, decision: allow }
  - { id: x, decision: allow }
  - { id: y, match: {} }
"#,
        r#"3:5: error[missing_key]: `id` is missing
  |   - { match: {}, decision: allow }
  |     ^
4:5: error[missing_key]: `match` is missing
  |   - { id: x, decision: allow }
  |     ^
  = hint: a rule for everything says so: `match: {}`
5:5: error[missing_key]: `decision` is missing
  |   - { id: y, match: {} }
  |     ^
5:11: error[wrong_type]: `y` is text or a boolean, depending on the version of YAML
  |   - { id: y, match: {} }
  |           ^
  = hint: put it in quotes: "y""#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: {}, decision: throttle, retry_after: 5 }
  - { id: b, match: {}, decision: throttle, retry_after: 5 min }
"#,
        r#"3:58: error[wrong_type]: `retry_after` takes a duration, not a number
  |   - { id: a, match: {}, decision: throttle, retry_after: 5 }
  |                                                          ^
  = hint: an integer and a unit: 500ms, 30s, 30m, 1h or 7d
4:58: error[bad_value]: `retry_after` is no duration
  |   - { id: b, match: {}, decision: throttle, retry_after: 5 min }
  |                                                          ^^^^^
  = hint: an integer and a unit: 500ms, 30s, 30m, 1h or 7d"#,
    );
    check(
        r#"version: v1
rules:
"#,
        r#"2:6: error[wrong_type]: `rules` takes a list of rules, not nothing
  | rules:
  |      ^
  = hint: write `rules: []`"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: {}, decision: allow, constraints: { max_retries: many } }
"#,
        r#"3:70: error[bad_value]: constraint "max_retries": takes an integer from 0 to 2^53
  |   - { id: a, match: {}, decision: allow, constraints: { max_retries: many } }
  |                                                                      ^^^^"#,
    );
}

#[test]
fn combinations() {
    check(
        r#"version: v1
rules:
  - { id: a, match: {}, decision: allow, limit: { count: 1, per: 1h } }
  - { id: b, match: {}, decision: deny, constraints: { read_only: true } }
  - { id: c, match: {}, decision: deny, approval: {} }
  - { id: d, match: {}, decision: allow_with_constraints }
  - { id: e, match: {}, decision: deny, retry_after: 5s }
floor:
  - { id: f, match: {}, decision: allow }
"#,
        r#"3:42: error[conflict]: `limit` applies once the window is full, and an allow rule that began to allow then would be no limit
  |   - { id: a, match: {}, decision: allow, limit: { count: 1, per: 1h } }
  |                                          ^^^^^
  = hint: write a second rule with `decision: throttle`, require_approval or deny
4:54: error[conflict]: constraints with deny never take effect: nothing is granted
  |   - { id: b, match: {}, decision: deny, constraints: { read_only: true } }
  |                                                      ^
5:41: error[conflict]: `approval` goes with require_approval alone, not with deny
  |   - { id: c, match: {}, decision: deny, approval: {} }
  |                                         ^^^^^^^^
6:5: error[missing_key]: allow_with_constraints without `constraints`
  |   - { id: d, match: {}, decision: allow_with_constraints }
  |     ^
  = hint: name them, or write `decision: allow`
7:41: error[conflict]: `retry_after` goes with throttle alone, not with deny
  |   - { id: e, match: {}, decision: deny, retry_after: 5s }
  |                                         ^^^^^^^^^^^
9:35: error[conflict]: a floor rule restricts: deny, require_approval or throttle, not allow
  |   - { id: f, match: {}, decision: allow }
  |                                   ^^^^^
  = hint: what grants belongs under `rules:`"#,
    );
}

#[test]
fn patterns() {
    check(
        r#"version: v1
rules:
  - id: a
    match:
      topics: ["pay*", "a..b", "a.[bc]"]
      risk_tags: ["prod-*"]
      actors: [robot]
      risk_tags_all: ["*"]
    decision: deny
"#,
        r#"5:16: error[bad_pattern]: bad pattern `pay*` in `topics`: `*` cannot be glued to text, as in `pay*`
  |       topics: ["pay*", "a..b", "a.[bc]"]
  |                ^^^^^^
  = hint: `*` stands for one whole segment, `**` for any number of them
5:24: error[bad_pattern]: bad pattern `a..b` in `topics`: an empty segment
  |       topics: ["pay*", "a..b", "a.[bc]"]
  |                        ^^^^^^
5:32: error[bad_pattern]: bad pattern `a.[bc]` in `topics`: `[` is not supported in patterns
  |       topics: ["pay*", "a..b", "a.[bc]"]
  |                                ^^^^^^^^
  = hint: there is only `*` for a whole segment and `**` for any number of them; list the alternatives, or compare in `when:`
6:19: error[bad_pattern]: bad pattern `prod-*` in `risk_tags`: `*` cannot be glued to text here
  |       risk_tags: ["prod-*"]
  |                   ^^^^^^^^
  = hint: this value has no segments: write it in full, or `*` alone for any value; part of it can be compared in `when:`
7:16: error[bad_pattern]: bad pattern `robot` in `actors`: no actor: expected kind:name
  |       actors: [robot]
  |                ^^^^^
  = hint: kinds are agent, service and human: `agent:mailer`, `agent:mailer/*`
8:23: error[bad_pattern]: `risk_tags_all` takes tags without wildcards
  |       risk_tags_all: ["*"]
  |                       ^^^
  = hint: `risk_tags: ["*"]` asks for any tag"#,
    );
}

#[test]
fn duplicates() {
    check(
        r#"version: v1
rules:
  - { id: a, match: {}, decision: deny }
  - { id: a, match: {}, decision: allow }
"#,
        r#"4:11: error[duplicate_id]: duplicate rule id `a`, first in 3:11
  |   - { id: a, match: {}, decision: allow }
  |           ^
  = hint: ids are unique in the whole bundle"#,
    );
    check(
        r#"version: v1
rules:
  - id: a
    match: {}
    decision: deny
    decision: allow
"#,
        r#"6:5: error[duplicate_key]: duplicate key `decision`, first on line 5
  |     decision: allow
  |     ^^^^^^^^"#,
    );
}

#[test]
fn yaml_traps() {
    check(
        r#"version: v1
rules:
  - id: a
    match: { topics: [*.write] }
    decision: deny
"#,
        r#"4:23: error[yaml_alias]: aliases are not allowed
  |     match: { topics: [*.write] }
  |                       ^^^^^^^
  = hint: text that begins with `*` is an alias in YAML: put a pattern such as "*.write" in quotes"#,
    );
    check(
        r#"version: v1
rules:
  - id: a
    match:
      topics:
        - *
    decision: deny
"#,
        r#"6:11: error[yaml_alias]: while scanning an anchor or alias, did not find expected alphabetic or numeric character
  |         - *
  |           ^
  = hint: text that begins with `*` is an alias in YAML: put a pattern such as "*" in quotes"#,
    );
    check(
        r#"version: v1
rules:
  - &base { id: a, match: {}, decision: deny }
"#,
        r#"3:11: error[yaml_alias]: anchors (`&…`) are not allowed
  |   - &base { id: a, match: {}, decision: deny }
  |           ^
  = hint: put text that begins with `!` or `&` in quotes"#,
    );
    check(
        "version: v1\nrules:\n\t- id: a\n",
        r#"3:2: error[yaml_syntax]: tabs disallowed within this context (block indentation)
  | 	- id: a
  | 	^
  = hint: indent with spaces, not tabs"#,
    );
    check(
        r#"version: v1
rules: []
---
version: v1
rules: []
"#,
        r#"3:1: error[not_supported]: a second document in one file
  | ---
  | ^^^
  = hint: put it into a file of its own"#,
    );
    check(
        r#"# nothing
"#,
        r#"1:1: error[missing_key]: the file holds no document
  | # nothing
  | ^"#,
    );
    check(
        r#"version: v1
rules: [
"#,
        r#"2:8: error[yaml_syntax]: unclosed bracket '['
  | rules: [
  |        ^"#,
    );
}

#[test]
fn conditions() {
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: "request.topic > 5" }, decision: deny }
"#,
        r#"3:30: error[condition_type]: text cannot be compared with an integer
  |   - { id: a, match: { when: "request.topic > 5" }, decision: deny }
  |                              ^^^^^^^^^^^^^"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: 'request.risk_tags == "x"' }, decision: deny }
"#,
        r#"3:30: error[condition_type]: a list is never equal to text
  |   - { id: a, match: { when: 'request.risk_tags == "x"' }, decision: deny }
  |                              ^^^^^^^^^^^^^^^^^
  = hint: whether a list holds a value is asked with `in`: "prod" in request.risk_tags"#,
    );
    check(
        r#"version: v1
rules:
  - id: a
    match:
      when: |
        request.team == "a" &&
          request.topics == "b"
    decision: deny
"#,
        r#"7:11: error[condition_type]: unknown field `request.topics`
  |           request.topics == "b"
  |           ^^^^^^^^^^^^^^
  = hint: did you mean `request.topic`?"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: verified.country == "DE" }, decision: deny }
"#,
        r#"3:29: error[condition_type]: unknown field `verified.country`
  |   - { id: a, match: { when: verified.country == "DE" }, decision: deny }
  |                             ^^^^^^^^^^^^^^^^
  = hint: verified facts are actor, actor_kind, environment, roles, workspace and what `derivers:` declare; what the client asserts lies under request.context and request.arguments"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: "request.arguments.list.all(x, x > 1)" }, decision: deny }
"#,
        r#"3:53: error[condition_syntax]: `all` is not part of condition language 1
  |   - { id: a, match: { when: "request.arguments.list.all(x, x > 1)" }, decision: deny }
  |                                                     ^^^
  = hint: there are no loops: use `in` for lists, or a deriver that adds a tag"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: "request.team == 'a' &&" }, decision: deny }
"#,
        r#"3:52: error[condition_syntax]: mismatched input '<eof>' expecting expression
  |   - { id: a, match: { when: "request.team == 'a' &&" }, decision: deny }
  |                                                    ^"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: "amount > 5" }, decision: deny }
"#,
        r#"3:30: error[condition_type]: unknown name `amount`
  |   - { id: a, match: { when: "amount > 5" }, decision: deny }
  |                              ^^^^^^
  = hint: facts begin with `request.` or `verified.`; text stands in quotes"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: "request.team" }, decision: deny }
"#,
        r#"3:30: error[condition_type]: a condition is true or false, but this is text
  |   - { id: a, match: { when: "request.team" }, decision: deny }
  |                              ^^^^^^^^^^^^"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: "now() > 5 || request.team.matches('x')" }, decision: deny }
"#,
        r#"3:30: error[condition_type]: no function `now` with these operands in condition language 1
  |   - { id: a, match: { when: "now() > 5 || request.team.matches('x')" }, decision: deny }
  |                              ^^^
  = hint: conditions know no time: it is not a fact of the request"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: "request.idempotency_key == 'k'" }, decision: deny }
"#,
        r#"3:30: error[condition_type]: conditions do not read `request.idempotency_key`
  |   - { id: a, match: { when: "request.idempotency_key == 'k'" }, decision: deny }
  |                              ^^^^^^^^^^^^^^^^^^^^^^^"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: "request.team == \"é\" && request.teem == 'x'" }, decision: deny }
"#,
        r#"3:55: error[condition_type]: unknown field `request.teem`
  |   - { id: a, match: { when: "request.team == \"é\" && request.teem == 'x'" }, decision: deny }
  |                                                       ^^^^^^^^^^^^
  = hint: did you mean `request.team`?"#,
    );
    check(
        r#"version: v1
rules:
  - id: a
    match:
      when: >
        request.team == "a"
        && request.teem == "b"
    decision: deny
"#,
        r#"7:12: error[condition_type]: unknown field `request.teem`
  |         && request.teem == "b"
  |            ^^^^^^^^^^^^
  = hint: did you mean `request.team`?"#,
    );
    check(
        r#"version: v1
rules:
  - { id: a, match: { when: "request.arguments.d + 1.5 > 2" }, decision: deny }
"#,
        r#"3:52: error[condition_type]: `+` takes an integer, not a double
  |   - { id: a, match: { when: "request.arguments.d + 1.5 > 2" }, decision: deny }
  |                                                    ^^^
  = hint: doubles can be compared, not calculated with"#,
    );
}

#[test]
fn findings_are_data_too() {
    let found =
        compile("version: v1\nrules:\n  - { id: a, match: {}, decision: alow }\n").unwrap_err();
    let object = placet_types::json::Value::Object(found[0].to_value()).to_text();
    assert_eq!(
        object,
        r#"{"code":"bad_value","column":35,"file":"policy.yaml","hint":"did you mean `allow`?","line":3,"message":"unknown decision `alow`","severity":"error","snippet":"  - { id: a, match: {}, decision: alow }","width":4}"#
    );
    let codes: std::collections::BTreeSet<&str> =
        Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes.len(), Code::ALL.len());
}

#[test]
fn all_or_nothing_over_all_files() {
    let good = source("a.yaml", "version: v1\nrules: [{ id: a, match: {}, decision: allow }]\n");
    let bad = source(
        "b.yaml",
        "version: v1\nfloor: [{ id: a, match: {}, decision: deny }]\nsurfaces: { x: , x.y: 5 }\n",
    );
    let found = Bundle::compile::<Sha2>(&[bad, good]).unwrap_err();
    let heads: Vec<String> =
        found.iter().map(|it| it.to_string().lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        heads,
        [
            "a.yaml:2:15: error[duplicate_id]: duplicate rule id `a`, first in b.yaml:2:15",
            "b.yaml:3:23: error[wrong_type]: a surface is a mapping, not a number",
        ]
    );
}

#[test]
fn a_rule_without_keys_is_remarked_on() {
    let bundle =
        bundle("version: v1\nrules: [{ id: a, match: { when: 'true' }, decision: deny }]\n");
    let text = render(bundle.warnings());
    assert!(text.starts_with("policy.yaml:2:15: warning[always_candidate]: rule `a` is"), "{text}");
}

/// Texts that made parsers overflow their stack or take forever: each is refused, and quickly.
#[test]
fn hostile_texts_are_refused() {
    let conditions = [
        "1 + ".repeat(2000) + "1 > 0",
        "1 + ".repeat(300) + "1 > 0",
        "1+".repeat(100) + "1 > 0",
        "(".repeat(60) + "true" + &")".repeat(60),
        "[".repeat(40) + &"]".repeat(40) + " == 1",
        "-".repeat(1000) + "1 > 0",
        "true ? ".repeat(100) + "true" + &" : false".repeat(100),
        "request.arguments".to_owned() + &".a".repeat(250) + " == 1",
        "\u{0}".to_owned(),
        "request.arguments.x == b'a'".to_owned(),
        "{'a': 1} == {'a': 1}".to_owned(),
        "request.?topic == 'x'".to_owned(),
        "request.topic == 5u".to_owned(),
        "request.topic == null".to_owned(),
        "request".to_owned(),
        String::new(),
    ];
    for condition in conditions {
        let quoted = condition.replace('\\', "").replace('\'', "''");
        let text = format!(
            "version: v1\nrules:\n  - {{ id: a, match: {{ when: '{quoted}' }}, decision: deny }}\n"
        );
        assert!(compile(&text).is_err(), "{condition}");
    }
    let documents = [
        "[".repeat(10_000),
        "a: ".repeat(500),
        "- ".repeat(5000),
        "{a: ".repeat(200) + &"}".repeat(200),
        "version: v1\nrules: ".to_owned() + &"[".repeat(40) + &"]".repeat(40),
        "version: v1\nsurfaces: {".to_owned()
            + &(0..5000).map(|at| format!("s{at}: ,")).collect::<String>()
            + "}",
        "\u{feff}%YAML 1.1\n---\nversion: v1\nrules: []\n".to_owned(),
        "!!python/object:os.system\nversion: v1\n".to_owned(),
    ];
    for document in documents {
        assert!(compile(&document).is_err(), "{}", &document[..document.len().min(60)]);
    }
    let many: String =
        (0..=20_000).map(|at| format!("- {{id: r{at}, match: {{}}, decision: deny}}\n")).collect();
    let found = compile(&format!("version: v1\nrules:\n{many}")).unwrap_err();
    assert_eq!(found.last().unwrap().code, Code::Bound);
}
