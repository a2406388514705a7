//! Conditions checked against the schemas of surfaces, and what granting rules rest on.

use crate::support::{Sha2, bundle, compile, hits, render, request};
use placet_policy::Bundle;

const SURFACES: &str = r#"version: v1
surfaces:
  pay:
    arguments:
      type: object
      properties:
        amount: { type: integer }
        rate: { type: number }
        memo: { type: string }
        fast: { type: boolean }
        tags: { type: array, items: { type: string } }
        to: { type: object, properties: { iban: { type: string } }, additionalProperties: false }
      additionalProperties: false
    context: { type: object, properties: { ticket: { type: string } } }
  refund:
    arguments:
      type: object
      properties: { amount: { type: integer }, memo: { type: integer }, reason: { type: string } }
      additionalProperties: false
  open: { arguments: { type: object, properties: { amount: { type: integer } } } }
  bare:
rules:
"#;

fn rule(surfaces: &str, condition: &str) -> String {
    format!(
        "{SURFACES}  - {{ id: r, match: {{ surfaces: {surfaces}, when: '{condition}' }}, decision: deny }}\n"
    )
}

#[test]
fn conditions_are_checked_against_the_schema() {
    for (surfaces, condition) in [
        ("[pay]", "request.arguments.amount > 5 && request.arguments.rate < 2.5"),
        ("[pay]", "request.arguments.rate + 1 > 2"),
        ("[pay]", "\"x\" in request.arguments.tags"),
        ("[pay]", "request.arguments.to.iban.startsWith(\"DE\")"),
        ("[pay]", "has(request.arguments.to.iban) && \"iban\" in request.arguments.to"),
        ("[pay]", "request.arguments[\"amount\"] == 5"),
        ("[pay]", "size(request.arguments) > 2 && request.arguments.fast"),
        ("[pay]", "request.context.ticket == \"T\" && request.context.other == 5"),
        // An open schema may have more.
        ("[open]", "request.arguments.other == \"x\""),
        // Where surfaces disagree nothing is known.
        ("[pay, refund]", "request.arguments.memo == \"x\" || request.arguments.memo == 5"),
        ("[pay, refund]", "request.arguments.reason == 5 || request.arguments.amount > 1"),
        ("[pay, open]", "request.arguments.other == 5"),
        ("[pay, bare]", "request.arguments.amuont == \"x\""),
        // A pattern may stand for surfaces of any schema.
        ("[\"*\"]", "request.arguments.amount == \"x\""),
        ("[]", "request.arguments.amount == \"x\""),
    ] {
        let compiled = compile(&rule(surfaces, condition));
        assert!(compiled.is_ok(), "{surfaces} {condition}\n{}", render(&compiled.unwrap_err()));
    }
    for (surfaces, condition, message, at, hint) in [
        ("[pay]", "request.arguments.memo > 5", "text cannot be compared with an integer", 0, ""),
        (
            "[pay]",
            "true && request.arguments.memo == 5",
            "text is never equal to an integer",
            8,
            "",
        ),
        ("[pay]", "request.arguments.fast > 1", "takes numbers or texts, not a Boolean", 0, ""),
        ("[pay]", "request.arguments.rate == \"x\"", "a number is never equal to text", 0, ""),
        ("[pay]", "5 in request.arguments.tags", "a list of texts never holds an integer", 0, ""),
        ("[pay]", "request.arguments.to > 5", "not a map", 0, ""),
        ("[pay]", "request.arguments.amount", "but this is an integer", 0, ""),
        (
            "[pay]",
            "request.arguments.amuont > 5",
            "the schema of `request.arguments` has no `amuont`",
            0,
            "did you mean `request.arguments.amount`?",
        ),
        (
            "[pay]",
            "has(request.arguments.to.ibn)",
            "the schema of `request.arguments.to` has no `ibn`",
            0,
            "did you mean `request.arguments.to.iban`?",
        ),
        (
            "[pay]",
            "request.arguments[\"x\"] == 5",
            "the schema of `request.arguments` has no `x`",
            0,
            "its members are amount, fast, memo, rate, tags, to",
        ),
        (
            "[pay, refund]",
            "request.arguments.nothing == 5",
            "the schema of `request.arguments` has no `nothing`",
            0,
            "",
        ),
        (
            "[pay, open, refund]",
            "request.arguments.amount == \"x\"",
            "an integer is never equal to text",
            0,
            "",
        ),
        ("[pay]", "request.context.ticket == 5", "text is never equal to an integer", 0, ""),
        ("[pay]", "request.arguments.to.iban.x == 5", "text has no field `x`", 0, ""),
    ] {
        let text = rule(surfaces, condition);
        let found = compile(&text).expect_err(condition);
        let line = text.lines().count();
        let start = text.lines().last().unwrap().find("when: '").unwrap() + 8;
        let said = render(&found);
        assert!(said.contains(message) && said.contains(hint), "{condition}\n{said}");
        assert_eq!(found[0].code.as_str(), "condition_type", "{said}");
        let place = (found[0].line as usize, found[0].column as usize);
        assert_eq!(place, (line, start + at), "{condition}\n{said}");
    }
}

#[test]
fn one_text_is_checked_anew_for_other_surfaces() {
    let condition = "request.arguments.memo == 5";
    let both = format!(
        "{SURFACES}  - {{ id: a, match: {{ surfaces: [refund], when: '{condition}' }}, decision: deny }}\n  - {{ id: b, match: {{ surfaces: [pay], when: '{condition}' }}, decision: deny }}\n"
    );
    let found = compile(&both).unwrap_err();
    assert_eq!(found.len(), 1, "{}", render(&found));
    assert!(found[0].message.contains("text is never equal"), "{}", render(&found));
    // The order of rules, and of documents, changes nothing.
    let last = format!("version: v1\n{}", both.split_once("rules:").unwrap().1);
    let rules = last.replacen("version: v1\n", "version: v1\nrules:", 1);
    let surfaces = both.split_once("rules:").unwrap().0;
    let source =
        |name: &str, text: &str| placet_policy::Source { name: name.into(), text: text.into() };
    let split = Bundle::compile::<Sha2>(&[source("a.yaml", &rules), source("b.yaml", surfaces)]);
    assert_eq!(split.unwrap_err()[0].message, found[0].message);
}

#[test]
fn what_does_not_fit_still_fails_towards_restriction() {
    let bundle = bundle(&rule("[pay]", "request.arguments.amount > 5"));
    let asked = |arguments: &str| {
        hits(&bundle, &request(&format!(r#"{{"surface":"pay","arguments":{arguments}}}"#)))
    };
    assert_eq!(asked(r#"{"amount":6}"#), "r");
    assert_eq!(asked(r#"{"amount":"6"}"#), "surface:pay:arguments r!type_mismatch");
}

#[test]
fn grants_say_what_they_rest_on() {
    let mut text = "version: v1\nrules:\n".to_owned();
    let table = [
        ("surfaces: [pay]", true),
        ("surfaces: [pay], teams: [a], labels: { x: [z] }", true),
        ("roles: [support]", false),
        ("roles: [support, \"*\"]", true),
        ("actors: [\"agent:*\"]", false),
        ("environments: [production]", false),
        ("environments: [\"*\"]", true),
        ("actor_kinds: [agent, human, service]", true),
        ("actor_kinds: [agent, human]", false),
        ("actors: [\"*:**\"]", true),
        ("actors: [\"agent:**\", \"human:**\", \"service:**\"]", true),
        ("actors: [\"agent:*\", \"human:**\", \"service:**\"]", false),
        ("surfaces: [a], when: 'request.context.ok'", true),
        ("surfaces: [a], when: '\"x\" in verified.roles'", false),
        ("surfaces: [a], when: 'request.context.ok || \"x\" in verified.roles'", true),
        ("surfaces: [a], when: 'request.context.ok && \"x\" in verified.roles'", false),
        ("surfaces: [a], when: '!(request.context.ok || \"x\" in verified.roles)'", false),
        ("surfaces: [a], when: '!(request.context.ok && \"x\" in verified.roles)'", true),
        ("surfaces: [a], when: 'request.context.ok ? verified.actor == \"a:b\" : false'", false),
        ("surfaces: [a], when: 'request.context.ok ? verified.actor == \"a:b\" : true'", true),
        ("surfaces: [a], when: 'request.context.x == verified.environment'", false),
        ("surfaces: [a], when: 'verified[\"country\"] == \"DE\"'", false),
        // Never and always true.
        ("surfaces: [a], when: 'verified.actor_kind == \"robot\"'", false),
        ("surfaces: [a], when: 'verified.actor_kind != \"robot\"'", true),
        ("surfaces: [a], when: 'verified.region == \"eu\"'", true),
        ("surfaces: [a], when: 'verified.kind == \"big\"'", true),
        ("surfaces: [a], when: 'verified.own == \"big\"'", false),
    ];
    for (number, (matches, _)) in table.iter().enumerate() {
        text.push_str(&format!(
            "  - {{ id: r{number:02}, match: {{ {matches} }}, decision: allow }}\n"
        ));
    }
    text.push_str("  - { id: s, match: { surfaces: [a] }, decision: deny }\n");
    text.push_str("  - { id: t, match: { surfaces: [a] }, decision: require_approval, limit: { count: 1, per: 1h } }\n");
    text.push_str(
        "derivers:\n  - { id: d, read: target, any_of: { values: [x] }, facts: { country: DE } }\n  - { id: e, read: context.region, any_of: { values: [eu] }, facts: { region: eu } }\n  - { id: f, match: { teams: [x] }, facts: { kind: big } }\n  - { id: g, match: { surfaces: [a] }, facts: { own: big } }\n",
    );
    let bundle = bundle(&text);
    let grants: Vec<_> = bundle.grants().collect();
    assert_eq!(grants.len(), table.len());
    for (grant, (matches, asserted_only)) in grants.iter().zip(table) {
        assert_eq!(grant.asserted_only, asserted_only, "{matches}");
    }
    assert_eq!(grants[1].reads, ["labels.x", "surfaces", "teams"]);
    assert_eq!(grants[14].reads, ["request.context", "surfaces", "verified.roles"]);
    assert_eq!(grants[14].claims, ["request.context"]);
    assert_eq!(grants[1].claims, ["labels.x", "teams"]);
    assert_eq!(grants[24].claims, ["verified.region"]);
}
