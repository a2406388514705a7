//! Derivers, case by case: what they read, what they find, and that doubt counts against the request.

use crate::support::{bundle, caller, compile, render, request};
use placet_policy::Code;

/// A bundle of one deriver and rules that show what it found.
fn seen(deriver: &str, asked: &str) -> String {
    let bundle = bundle(&format!(
        "version: v1
derivers:
  - {{ id: d, {deriver} }}
  - {{ id: other, match: {{ topics: [never] }}, facts: {{ zone: x }}, risk_tier: low, risk_tags: [extra] }}
rules:
  - {{ id: tag, match: {{ risk_tags: [found] }}, decision: deny }}
  - {{ id: fact, match: {{ when: 'verified.zone == \"in\"' }}, decision: deny }}
  - {{ id: high, match: {{ when: 'verified.risk_level >= 2' }}, decision: deny }}
"
    ));
    crate::support::hits(&bundle, &request(asked))
}

const NOTHING: &str = "fact!missing_field high!missing_field";

#[test]
fn tags_facts_and_tier_are_found() {
    let all =
        "match: { surfaces: [job] }, risk_tags: [found], facts: { zone: in }, risk_tier: high";
    assert_eq!(seen(all, "{}"), "fact high tag");
    assert_eq!(seen(all, r#"{"surface":"other"}"#), NOTHING);
    assert_eq!(seen("risk_tags: [found]", "{}"), "fact!missing_field high!missing_field tag");
    // What the client says itself stays.
    assert_eq!(
        seen("risk_tags: [extra]", r#"{"risk_tags":["found"]}"#),
        "fact!missing_field high!missing_field tag"
    );
    // And it cannot say what only the server finds out.
    assert_eq!(
        seen("risk_tags: [extra]", r#"{"context":{"zone":"in"},"labels":{"zone":"in"}}"#),
        NOTHING
    );
}

#[track_caller]
fn reads(any_of: &str, field: &str, value: &str, expected: bool) {
    let found = seen(
        &format!("read: {field}, any_of: {{ {any_of} }}, risk_tags: [found]"),
        &match field {
            "target" => format!("{{\"target\":{value}}}"),
            _ => format!("{{\"arguments\":{{\"v\":{value}}}}}"),
        },
    );
    assert_eq!(found.ends_with(" tag"), expected, "{any_of} {value}: {found}");
}

#[test]
fn hosts() {
    let host = |value: &str, expected| {
        reads(
            "hosts: [bank.example, \"*.corp.example\"]",
            "arguments.v",
            &format!("{value:?}"),
            expected,
        );
    };
    host("bank.example", true);
    host("BANK.example.", true);
    host("bank.example:8443", true);
    host("https://bank.example/a?b=https://x", true);
    host("a.corp.example", true);
    host("a.b.corp.example", true);
    host("corp.example", false);
    host("evilcorp.example", false);
    host("bank.example.evil.net", false);
    host("https://evil.net/bank.example", false);
    // What programs read differently is no host, and nobody can tell whose it is.
    host("https://bank.example@evil.net/", true);
    host("https://evil.net\\\\.bank.example", true);
    host("https://bank.example%2eevil.net", true);
    host("http:/evil.net/bank.example", true);
    host("https:evil.net", true);
    host("//evil.net/x", true);
    host("http://evil.net:x", true);
    // A number is an address, in a way that only some programs know.
    for number in ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "evil.net.1", "1.2.3.4.5"] {
        host(number, true);
        host(&format!("http://{number}:80/x"), true);
    }
    host("192.0.2.1", false);
    host("0xen.example", false);
    host("evil.0xg", false);
}

#[test]
fn networks() {
    let net = |value: &str, expected| {
        reads(
            "networks: [10.0.0.0/8, \"fd00::/8\"]",
            "arguments.v",
            &format!("{value:?}"),
            expected,
        );
    };
    net("10.1.2.3", true);
    net("10.1.2.3:80", true);
    net("http://10.1.2.3/x", true);
    net("::ffff:10.1.2.3", true);
    net("[fd12::1]:443", true);
    net("http://10.0.0.1./x", true);
    net("http://11.0.0.1./x", false);
    net("http://[fe80::1]:443/x", false);
    net("fd12::1", true);
    net("11.1.2.3", false);
    net("fe80::1", false);
    // A name says nothing of its address, nor does what only looks like one.
    net("bank.example", true);
    net("http://[11.0.0.1].evil.com/", true);
    net("http://11.0.0.1:evil.com/", true);
    net("11.0.1", true);
    net("0xb000001", true);
    // Others are reached through these.
    net("2002:a00:1::", true);
    net("64:ff9b::a00:1", true);
    net("::10.0.0.1", true);
    net("::1", false);
    reads("networks: [\"0.0.0.0/0\"]", "arguments.v", "\"192.0.2.1\"", true);
    reads("networks: [\"10.1.2.3/32\"]", "arguments.v", "\"10.1.2.4\"", false);
}

#[test]
fn names_and_networks_together() {
    let both = |value: &str, expected| {
        reads(
            "hosts: [localhost, 169.254.169.254], networks: [127.0.0.0/8, 10.0.0.0/8, \"::ffff:169.254.0.0/112\"]",
            "arguments.v",
            &format!("{value:?}"),
            expected,
        );
    };
    for inside in ["localhost", "http://10.0.0.1/", "169.254.1.1", "::ffff:127.0.0.1"] {
        both(inside, true);
    }
    // A name is answered by names, an address by networks; what is neither is in doubt.
    for outside in ["good.example", "http://192.0.2.1/", "[2001:db8::1]:80"] {
        both(outside, false);
    }
    for odd in [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://0xa9fea9fe/",
        "http:/169.254.169.254/latest",
        "https:/localhost/",
        "http://10.0.0.1./x",
    ] {
        both(odd, true);
    }
    // Each other kind has to be able to read it.
    reads("values: [x], paths: [\"/etc/**\"]", "target", "\"/var/x\"", false);
    reads("values: [x], paths: [\"/etc/**\"]", "target", "\"\\\\etc\\\\passwd\"", true);
}

#[test]
fn a_long_list_is_in_doubt() {
    let list = |count: usize| format!("[{}]", vec!["\"a\""; count].join(","));
    reads("values: [b]", "arguments.v", &list(256), false);
    reads("values: [b]", "arguments.v", &list(257), true);
}

#[test]
fn paths() {
    // Lesson 18: other spellings of a path bypassed the list.
    let path = |value: &str, expected| {
        reads("paths: [\"/etc/**\"]", "target", &format!("{value:?}"), expected)
    };
    path("/etc/passwd", true);
    path("/etc", true);
    path("//etc//passwd", true);
    path("/./etc/./passwd", true);
    path("/var/../etc/passwd", true);
    path("/etc/../var/x", false);
    path("/etcetera", false);
    reads("paths: [\"src/*/mod.rs\", \"**/secret\"]", "target", "\"src/a/mod.rs\"", true);
    reads("paths: [\"src/*/mod.rs\", \"**/secret\"]", "target", "\"a/b/secret\"", true);
    reads("paths: [\"src/*/mod.rs\"]", "target", "\"src/a/b/mod.rs\"", false);
}

#[test]
fn values_and_expressions() {
    reads("values: [a, \"7\", \"true\"]", "arguments.v", "\"a\"", true);
    reads("values: [a, \"7\", \"true\"]", "arguments.v", "7", true);
    reads("values: [a, \"7\", \"true\"]", "arguments.v", "true", true);
    reads("values: [a]", "arguments.v", "[\"b\",\"a\"]", true);
    reads("values: [a]", "arguments.v", "[\"b\"]", false);
    reads("values: [a]", "arguments.v", "[]", false);
    reads("values: [a]", "arguments.v", "{\"a\":1}", true);
    reads("regex: [\"^DROP\\\\s\"]", "arguments.v", "\"DROP TABLE x\"", true);
    reads("regex: [\"^DROP\\\\s\"]", "arguments.v", "\"select\"", false);
}

#[test]
fn what_cannot_be_read_counts_where_the_deriver_says_so() {
    let strict =
        "read: arguments.url, any_of: { hosts: [evil.example] }, missing: true, risk_tags: [found]";
    let tag = "fact!missing_field high!missing_field tag";
    assert_eq!(seen(strict, "{}"), tag);
    assert_eq!(seen(strict, r#"{"arguments":{"url":17.5}}"#), tag);
    assert_eq!(seen(strict, r#"{"arguments":{"url":"http://a@b/"}}"#), tag);
    assert_eq!(seen(strict, r#"{"arguments":{"url":"good.example"}}"#), NOTHING);
    let lax = "read: arguments.url, any_of: { hosts: [evil.example] }, risk_tags: [found]";
    assert_eq!(seen(lax, "{}"), NOTHING);
    assert_eq!(seen(lax, r#"{"arguments":{}}"#), NOTHING);
    assert_eq!(seen(lax, r#"{"arguments":{"url":[]}}"#), NOTHING);
    // What is there and cannot be read is not missing.
    assert_eq!(seen(lax, r#"{"arguments":{"url":17.5}}"#), tag);
    assert_eq!(seen(lax, r#"{"arguments":{"url":"http://a@b/"}}"#), tag);
    assert_eq!(seen(lax, r#"{"arguments":"evil.example"}"#), tag);
}

#[test]
fn one_value_of_a_list_neither_hides_nor_vouches_for_another() {
    let tags = "read: arguments.url, any_of: { hosts: [evil.example] }, risk_tags: [found]";
    let tagged = "fact!missing_field high!missing_field tag";
    for list in [
        r#"["evil.example"]"#,
        r#"["evil.example", "good.example"]"#,
        r#"["good.example", "evil.example"]"#,
        r#"["evil.example", {}]"#,
        r#"[{}, "evil.example"]"#,
        r#"["good.example", null]"#,
        r#"["good.example", ["evil.example"]]"#,
        r#"["good.example", "http://evil.example@good.example"]"#,
    ] {
        let asked = format!("{{\"arguments\":{{\"url\":{list}}}}}");
        assert_eq!(seen(tags, &asked), tagged, "{list}");
    }
    assert_eq!(seen(tags, r#"{"arguments":{"url":["good.example","b.example"]}}"#), NOTHING);
    // A fact holds of all values, and a low tier of all of them.
    let facts =
        "read: arguments.url, any_of: { hosts: [\"*.corp\"] }, facts: { zone: in }, risk_tier: low";
    assert_eq!(seen(facts, r#"{"arguments":{"url":["a.corp","b.corp"]}}"#), "fact");
    for list in [
        r#"["a.corp", "evil.net"]"#,
        r#"["evil.net", "a.corp"]"#,
        r#"["a.corp", {}]"#,
        r#"["a.corp", "http://a.corp@evil.net"]"#,
    ] {
        let asked = format!("{{\"arguments\":{{\"url\":{list}}}}}");
        assert_eq!(seen(facts, &asked), "fact!missing_field high", "{list}");
    }
}

#[test]
fn doubt_counts_against_the_request() {
    // A condition that fails has found no fact out; tags and tier are added.
    let failing = "match: { when: 'request.arguments.n > 1' }, risk_tags: [found], facts: { zone: in }, risk_tier: high";
    assert_eq!(seen(failing, "{}"), "fact!missing_field high tag");
    // Two that disagree have found none; the higher tier counts.
    let bundle = bundle(
        "version: v1
derivers:
  - { id: a, facts: { zone: in }, risk_tier: low }
  - { id: b, match: { topics: [t] }, facts: { zone: out }, risk_tier: critical }
rules:
  - { id: in, match: { when: 'verified.zone == \"in\"' }, decision: allow }
  - { id: tier, match: { when: 'verified.risk_tier == \"critical\"' }, decision: deny }
",
    );
    let hits = |asked| crate::support::hits(&bundle, &request(asked));
    assert_eq!(hits("{}"), "in");
    assert_eq!(hits(r#"{"topic":"t"}"#), "in!missing_field tier");
    let trace = bundle.explain(&request(r#"{"topic":"t"}"#), &caller());
    assert_eq!(trace.derivers, ["a", "b"]);
    assert_eq!(trace.derived_facts.get("risk_level").and_then(|it| it.as_i64()), Some(3));
}

#[track_caller]
fn refused(deriver: &str, code: Code, says: &str) {
    let text = format!("version: v1\nderivers:\n  - {{ id: d, {deriver} }}\n");
    let found = compile(&text).expect_err(&text);
    assert!(
        found.iter().any(|it| it.code == code && it.message.contains(says)),
        "{}",
        render(&found)
    );
}

#[test]
fn bad_derivers_do_not_compile() {
    refused("match: {}", Code::MissingKey, "derives nothing");
    refused("risk_tags: [a], read: target", Code::Conflict, "`read` without `any_of`");
    for path in ["secrets/", "/etc/shadow/", "./.env", "a//b", "/opt/../etc/passwd"] {
        let deriver = format!("risk_tags: [a], read: target, any_of: {{ paths: [\"{path}\"] }}");
        refused(&deriver, Code::BadPattern, "matches nothing");
    }
    refused(
        "risk_tags: [a], read: target, any_of: { networks: [\"::ffff:10.0.0.0/95\"] }",
        Code::BadPattern,
        "networks",
    );
    let many: Vec<String> = (0..129).map(|it| format!("x{it}")).collect();
    let many = format!("read: target, any_of: {{ regex: [{}] }}", many.join(", "));
    let both = format!("risk_tags: [a], {many} }}\n  - {{ id: e, risk_tags: [a], {many}");
    refused(&both, Code::Bound, "256 regular expressions");
    refused("risk_tags: [a], any_of: { values: [x] }", Code::Conflict, "`any_of` without `read`");
    refused("risk_tags: [a], missing: true", Code::Conflict, "`missing` without `read`");
    refused(
        "risk_tags: [a], read: verified.roles, any_of: { values: [x] }",
        Code::BadValue,
        "cannot be read",
    );
    refused("risk_tags: [a], read: target, any_of: {}", Code::MissingKey, "asks nothing");
    refused("risk_tags: [a], read: target, any_of: { vaues: [x] }", Code::UnknownKey, "`vaues`");
    refused(
        "risk_tags: [a], read: target, any_of: { networks: [10.0.0.0] }",
        Code::BadPattern,
        "networks",
    );
    refused(
        "risk_tags: [a], read: target, any_of: { networks: [10.0.0.0/33] }",
        Code::BadPattern,
        "networks",
    );
    refused(
        "risk_tags: [a], read: target, any_of: { hosts: [\"a*b\"] }",
        Code::BadPattern,
        "host name",
    );
    refused("risk_tags: [a], read: target, any_of: { regex: [\"(\"] }", Code::BadPattern, "regex");
    refused(
        "risk_tags: [a], read: target, any_of: { regex: [\"((a{99}){99}){99}\"] }",
        Code::BadPattern,
        "regex",
    );
    refused("facts: { roles: x }", Code::BadValue, "`roles`");
    refused("facts: { risk_tier: x }", Code::BadValue, "`risk_tier`");
    refused("facts: { a-b: x }", Code::BadValue, "`a-b`");
    refused("facts: { a: [x] }", Code::WrongType, "`a`");
    refused("risk_tier: hihg", Code::BadValue, "risk_tier");
    let two = "version: v1
derivers:
  - { id: a, facts: { zone: in } }
  - { id: b, facts: { zone: 1 } }
  - { id: a, risk_tags: [x] }
";
    let found = render(&compile(two).unwrap_err());
    assert!(found.contains("4:29: error[conflict]: `zone` has a value of another type"), "{found}");
    assert!(found.contains("5:11: error[duplicate_id]: duplicate `a` in `derivers`"), "{found}");
    // A condition knows the facts that are declared, and their types.
    let typo = "version: v1
derivers: [{ id: a, facts: { zone: in } }]
rules: [{ id: r, match: { when: 'verified.zome == \"in\"' }, decision: deny }]
";
    assert!(render(&compile(typo).unwrap_err()).contains("did you mean `verified.zone`?"));
    let typed = typo.replace("zome == \"in\"", "zone > 1");
    assert!(
        render(&compile(&typed).unwrap_err()).contains("text cannot be compared with an integer")
    );
}
