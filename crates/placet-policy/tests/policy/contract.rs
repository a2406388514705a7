//! What surfaces demand: schemas, fields, evidence, outcomes; what does not compile, and what explains it.

use crate::support::{Sha2, bundle, caller, compile, decide, render, request, value, verdict};
use placet_policy::{Bundle, Source};
use placet_types::ids::TimeMs;
use placet_types::policy::{Force, Outcome, Reason};

const ALLOW: &str = "rules:\n  - { id: all, match: { surfaces: ['**'] }, decision: allow }\n";

fn surface(body: &str) -> Bundle {
    bundle(&format!("version: v1\nsurfaces:\n  pay: {{ {body} }}\n{ALLOW}"))
}

/// Ids and reasons of what decides.
fn outcome(bundle: &Bundle, extra: &str) -> String {
    let body = format!(r#"{{"surface":"pay"{extra}}}"#);
    let combined = decide(bundle, &request(&body));
    let ids: Vec<&str> = combined.deciding.iter().map(|rule| rule.id.as_str()).collect();
    let codes: Vec<&str> = combined.reasons.iter().map(|reason| reason.as_str()).collect();
    format!("{} {} {}", combined.outcome.as_str(), ids.join(","), codes.join(","))
}

/// What is found of arguments under a schema; empty when they fit.
fn found(schema: &str, arguments: &str) -> String {
    let bundle = surface(&format!("arguments: {schema}"));
    let request = request(&format!(r#"{{"surface":"pay","arguments":{arguments}}}"#));
    let hits = verdict(&bundle, &request).hits;
    let denied = hits.iter().any(|hit| hit.rule.id == "surface:pay:arguments");
    let trace = bundle.explain(&request, &caller());
    let rule = trace.rules.iter().find(|it| it.rule.id == "surface:pay:arguments").unwrap();
    assert_eq!(rule.matched, denied);
    let note = rule.note.clone().unwrap();
    assert_eq!(note == "fits", !denied, "{note}");
    if denied { note } else { String::new() }
}

#[test]
fn keywords_mean_what_json_schema_says() {
    let table = [
        ("{}", "{\"a\":[null,1.5]}", ""),
        ("{ type: object }", "[]", "the whole: array, wanted object"),
        ("{ type: integer }", "1.0", ""),
        ("{ type: integer }", "1.5", "the whole: number with decimals, wanted integer"),
        ("{ type: number }", "1.5", ""),
        ("{ type: [string, null] }", "5", "the whole: integer, wanted null or string"),
        ("{ type: boolean }", "true", ""),
        ("{ enum: [a, 5, true] }", "5", ""),
        ("{ enum: [a, 5, true] }", "false", "the whole: none of the values that are allowed"),
        ("{ enum: [[1], { a: 1 }] }", "{\"a\":1}", ""),
        ("{ const: { a: [1] } }", "{\"a\":[1]}", ""),
        ("{ const: a }", "\"b\"", "the whole: not the one value that is allowed"),
        ("{ type: integer, minimum: 3 }", "3", ""),
        ("{ type: integer, minimum: 3 }", "2", "the whole: less than 3"),
        ("{ type: number, minimum: 3 }", "2.999", "the whole: less than 3"),
        ("{ type: number, maximum: 3 }", "3.001", "the whole: more than 3"),
        ("{ type: number, exclusiveMinimum: 3 }", "3", "the whole: not more than 3"),
        ("{ type: number, exclusiveMinimum: 3 }", "3.001", ""),
        ("{ type: number, exclusiveMaximum: 3 }", "3", "the whole: not less than 3"),
        ("{ type: number, maximum: 9007199254740992 }", "9007199254740992", ""),
        ("{ type: integer, multipleOf: 5 }", "-10", ""),
        ("{ type: integer, multipleOf: 5 }", "11", "the whole: no multiple of 5"),
        ("{ type: number, multipleOf: 5 }", "7.5", "the whole: no multiple of 5"),
        ("{ type: string, minLength: 2 }", "\"é\"", "the whole: 1 characters, fewer than 2"),
        ("{ type: string, maxLength: 2 }", "\"éé\"", ""),
        ("{ type: string, maxLength: 2 }", "\"abc\"", "the whole: 3 characters, more than 2"),
        ("{ type: string, pattern: 'b+' }", "\"abbc\"", ""),
        ("{ type: string, pattern: '^b+$' }", "\"abbc\"", "the whole: does not match the pattern"),
        ("{ type: array, items: { type: integer } }", "[1,\"a\"]", "/1: string, wanted integer"),
        ("{ type: array, minItems: 1 }", "[]", "the whole: 0 items, fewer than 1"),
        ("{ type: array, maxItems: 1 }", "[1,1]", "the whole: 2 items, more than 1"),
        ("{ type: array, uniqueItems: true }", "[1,1.0]", "the whole: an item occurs twice"),
        ("{ type: array, uniqueItems: true }", "[1,\"1\"]", ""),
        ("{ type: object, required: [a/b] }", "{}", "/a~1b: missing"),
        (
            "{ type: object, properties: { a: { type: string } }, additionalProperties: false }",
            "{\"a\":\"x\",\"~b\":1}",
            "/~0b: a member that is not allowed",
        ),
        (
            "{ type: object, properties: { a: {} }, additionalProperties: { type: integer } }",
            "{\"a\":\"x\",\"b\":\"y\"}",
            "/b: string, wanted integer",
        ),
        (
            "{ type: object, properties: { a: { type: array, items: { type: object, properties: { b: { type: integer, minimum: 0 } } } } } }",
            "{\"a\":[{\"b\":1},{\"b\":-1}]}",
            "/a/1/b: less than 0",
        ),
        ("{ oneOf: [{ type: integer }, { type: number }] }", "1.5", ""),
        (
            "{ oneOf: [{ type: integer }, { type: number }] }",
            "1",
            "the whole: fits 2 of the alternatives, wanted 1",
        ),
        ("{ anyOf: [{ type: integer }, { type: number }] }", "1", ""),
        (
            "{ anyOf: [{ type: integer }, { const: x }] }",
            "\"y\"",
            "the whole: fits none of the alternatives",
        ),
        (
            "{ allOf: [{ type: integer }, { enum: [1, 2] }] }",
            "3",
            "the whole: does not fit all of what is wanted",
        ),
        // Keywords of one type say nothing of values of another.
        ("{ type: [string, integer], minLength: 2 }", "1", ""),
    ];
    for (schema, arguments, wanted) in table {
        assert_eq!(found(schema, arguments), wanted, "{schema} {arguments}");
    }
}

#[test]
fn arguments_that_do_not_fit_and_missing_ones_are_denied() {
    let bundle = surface(
        "arguments: { type: object, required: [amount], properties: { amount: { type: integer } } }",
    );
    assert_eq!(outcome(&bundle, r#","arguments":{"amount":5}"#), "PERMIT all rule");
    assert_eq!(
        outcome(&bundle, r#","arguments":{"amount":"5"}"#),
        "DENY surface:pay:arguments arguments_invalid"
    );
    assert_eq!(outcome(&bundle, ""), "DENY surface:pay:required.arguments field_missing");
    // Another surface is none of its business.
    let other = decide(&bundle, &request(r#"{"surface":"job"}"#));
    assert_eq!(other.outcome, Outcome::Permit);
}

#[test]
fn fields_have_to_be_there() {
    let bundle = surface(
        "required: [target, topic, team, capability, branch, execution, step, model, parent_decision, on_behalf_of, subjects, change, context, arguments, labels.cost, estimate.tokens]",
    );
    let all = r#","target":"t","topic":"a","team":"a","capability":"a","branch":"a","execution":"a","step":"a","model":"a","parent_decision":"dec_00000000000000000000000000000000","on_behalf_of":["human:ann"],"subjects":["s"],"change":{},"context":{},"arguments":[],"labels":{"cost":"1"},"estimate":{"tokens":"1"}"#;
    assert_eq!(outcome(&bundle, all), "PERMIT all rule");
    let parts: Vec<&str> = all[1..].split(",\"").collect();
    assert_eq!(parts.len(), 16);
    for at in 0..parts.len() {
        let rest: Vec<&str> =
            parts.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, part)| *part).collect();
        let rest = rest.join(",\"");
        let rest = if at == 0 { format!(",\"{rest}") } else { format!(",{rest}") };
        let name = parts[at].trim_start_matches('"').split('"').next().unwrap();
        let name = match name {
            "labels" => "labels.cost",
            "estimate" => "estimate.tokens",
            name => name,
        };
        let wanted = format!("DENY surface:pay:required.{name} field_missing");
        assert_eq!(outcome(&bundle, &rest), wanted);
    }
    let empty = all.replace(r#""cost":"1""#, r#""cost":"""#);
    assert_eq!(outcome(&bundle, &empty), "DENY surface:pay:required.labels.cost field_missing");
}

#[test]
fn the_context_has_to_fit() {
    let bundle = surface(
        "context: { type: object, required: [ticket], properties: { ticket: { type: string, pattern: '^T-' } } }",
    );
    assert_eq!(outcome(&bundle, r#","context":{"ticket":"T-1"}"#), "PERMIT all rule");
    for context in ["", r#","context":{}"#, r#","context":{"ticket":"1"}"#] {
        assert_eq!(
            outcome(&bundle, context),
            "DENY surface:pay:context context_invalid",
            "{context}"
        );
    }
}

const MINUTE: u64 = 60_000;

/// The forces of both rules about evidence of one type.
fn forces(pieces: &str) -> (Option<Force>, Option<Force>) {
    let bundle = surface("evidence: [{ type: report, max_age: 10m, issuers: ['service:ci'] }]");
    let body = format!(r#"{{"surface":"pay","evidence":[{pieces}]}}"#);
    let hits = verdict(&bundle, &request(&body)).hits;
    let force = |id: &str| hits.iter().find(|it| it.rule.id == id).map(|hit| hit.force);
    (force("surface:pay:evidence.report"), force("surface:pay:fresh.report"))
}

fn piece(change: &[(&str, &str)]) -> String {
    let mut members = vec![
        ("type", "report".to_owned()),
        ("digest", format!("sha256:{}", "0".repeat(64))),
        ("issuer", "service:ci".to_owned()),
        ("issued", "2026-11-20T12:00:00Z".to_owned()),
    ];
    for (name, value) in change {
        members.retain(|(known, _)| known != name);
        if !value.is_empty() {
            members.push((name, (*value).to_owned()));
        }
    }
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn evidence_counts_from_its_issue_until_it_is_too_old() {
    let noon = TimeMs::parse_rfc3339("2026-11-20T12:00:00Z").unwrap();
    let early = TimeMs(noon.0 - MINUTE);
    let counts =
        |until: u64| (Some(Force::Until(early)), Some(Force::From(noon.plus(until * MINUTE))));
    assert_eq!(forces(&piece(&[])), counts(10));
    // What expires earlier counts no longer than that, and never longer than its age.
    assert_eq!(forces(&piece(&[("expires", "2026-11-20T12:05:00Z")])), counts(5));
    assert_eq!(forces(&piece(&[("expires", "2026-11-20T13:00:00Z")])), counts(10));
    // The piece that lasts the longest.
    let both = format!("{},{}", piece(&[]), piece(&[("expires", "2026-11-20T12:05:00Z")]));
    assert_eq!(forces(&both), counts(10));
    let missing = (Some(Force::Always), None);
    assert_eq!(forces(""), missing);
    for change in [
        ("type", "other"),
        ("type", ""),
        ("digest", ""),
        ("digest", "sha256:00"),
        ("issuer", "service:other"),
        ("issuer", "ci"),
        ("issued", "yesterday"),
        ("issued", "2026-11-31T12:00:00Z"),
        ("issued", ""),
        ("expires", "2026-11-20T11:00:00Z"),
        ("expires", "soon"),
        ("url", "https://ci.example"),
    ] {
        assert_eq!(forces(&piece(&[change])), missing, "{change:?}");
    }
    for other in ["5", "null", "[]", "\"report\"", "{}"] {
        assert_eq!(forces(other), missing, "{other}");
    }
    // A sound piece counts beside broken ones.
    assert_eq!(forces(&format!("{{}},{}", piece(&[]))), counts(10));
    // One dated ahead hides the sound one until its time has come: nothing is gained by adding it.
    let ahead = piece(&[("issued", "2026-11-21T12:00:00Z")]);
    let day = 86_400_000;
    assert_eq!(
        forces(&format!("{},{ahead}", piece(&[]))),
        (Some(Force::Until(early.plus(day))), Some(Force::From(noon.plus(day + 10 * MINUTE))))
    );
}

#[test]
fn outcomes_that_are_not_allowed_become_denials() {
    let rule = |decision: &str| {
        format!(
            "version: v1\nsurfaces:\n  pay: {{ outcomes: [REQUIRE_APPROVAL] }}\nrules:\n  - {{ id: r, match: {{ surfaces: [pay] }}, decision: {decision} }}\n"
        )
    };
    let denied = "DENY surface:pay:outcomes outcome_not_allowed";
    assert_eq!(outcome(&bundle(&rule("allow")), ""), denied);
    assert_eq!(outcome(&bundle(&rule("require_approval")), ""), "REQUIRE_APPROVAL r rule");
    assert_eq!(outcome(&bundle(&rule("deny")), ""), "DENY r rule");
    let throttled =
        rule("throttle") + "  - { id: a, match: { surfaces: [pay] }, decision: allow }\n";
    assert_eq!(outcome(&bundle(&throttled), ""), denied);
    let silent = "version: v1\nsurfaces:\n  pay: { outcomes: [] }\nrules: []\n";
    assert_eq!(outcome(&bundle(silent), ""), "SILENCE  no_rule_matches");
}

#[test]
fn spelling_does_not_change_a_surface_and_the_normal_form_comes_back() {
    let long = surface(
        r#"owner: pay, description: "moves money", arguments: { required: [b, a], properties: { b: { type: string }, a: { type: [integer] } }, type: object, additionalProperties: true }, required: [topic, target, topic], evidence: [{ type: b, max_age: 60m, issuers: ["service:x", "service:a"] }, { type: a, max_age: 1d }], outcomes: [PERMIT, DENY, SILENCE], fail_mode: { production: { mode: closed }, staging: { mode: open, reason: "a sandbox" } }, receipts: { verify: on_demand }"#,
    );
    let short = surface(
        r#"receipts: { verify: on_demand }, fail_mode: { staging: { reason: "a sandbox", mode: open } }, outcomes: [PERMIT], evidence: [{ max_age: 24h, type: a }, { type: b, max_age: 1h, issuers: ["service:a", "service:x"] }], required: [target, topic], arguments: { type: object, properties: { a: { type: integer }, b: { type: string } }, required: [a, b] }, description: "moves money", owner: pay"#,
    );
    assert_eq!(
        String::from_utf8_lossy(long.normalised()),
        String::from_utf8_lossy(short.normalised())
    );
    assert_eq!(long.digest(), short.digest());
    let again = Bundle::from_normalised::<Sha2>(long.normalised()).unwrap();
    assert_eq!(again.digest(), long.digest());
    let ids =
        |bundle: &Bundle| -> Vec<String> { bundle.rules().map(|rule| rule.id.clone()).collect() };
    assert_eq!(ids(&again), ids(&long));
    assert_eq!(
        ids(&long),
        [
            "surface:pay:arguments",
            "surface:pay:evidence.a",
            "surface:pay:evidence.b",
            "surface:pay:fresh.a",
            "surface:pay:fresh.b",
            "surface:pay:outcomes",
            "surface:pay:required.arguments",
            "surface:pay:required.target",
            "surface:pay:required.topic",
            "all",
        ]
    );
    for rule in long.rules() {
        assert_eq!(long.rule(&rule.id).map(|it| &it.id), Some(&rule.id));
    }
    assert!(long.rule("surface:pay:nothing").is_none() && long.rule("surface:").is_none());
    // Every part counts.
    for part in [
        "arguments: {}",
        "context: { type: object }",
        "required: [topic]",
        "evidence: [{ type: a, max_age: 1d }]",
        "outcomes: [PERMIT]",
        "fail_mode: { staging: { mode: open, reason: x } }",
        "receipts: { verify: before_execution }",
        "description: x",
    ] {
        assert_ne!(surface(part).digest(), surface("").digest(), "{part}");
    }
    assert_eq!(surface("fail_mode: { a: { mode: closed } }").digest(), surface("").digest());
}

#[test]
fn what_is_wrong_with_a_surface_is_named() {
    let table = [
        ("arguments: { type: strin }", "did you mean `string`?", "16"),
        ("arguments: { type: int }", "did you mean `integer`?", ""),
        ("arguments: { $ref: x }", "write the schema out", ""),
        ("arguments: { type: string, format: date }", "use `pattern`", ""),
        ("arguments: { type: string, default: a }", "nothing is filled in", ""),
        ("arguments: { not: { type: string } }", "say what is allowed", ""),
        ("arguments: { propertys: {} }", "did you mean `properties`?", ""),
        ("arguments: { minimum: 3 }", "add `type: integer`", ""),
        ("arguments: { type: string, minimum: 3 }", "says nothing without `type: integer", ""),
        ("arguments: { type: number, minimum: 1.5 }", "bounds are integers", ""),
        ("arguments: { type: integer, multipleOf: 0 }", "lies between 1 and", ""),
        ("arguments: { type: integer, minimum: 3, maximum: 2 }", "so nothing fits", ""),
        ("arguments: { type: string, pattern: '(' }", "bad pattern", ""),
        ("arguments: { type: string, pattern: '(?=a)' }", "look-around", ""),
        ("arguments: { type: string, pattern: '(a{1000}){1000}' }", "bad pattern", ""),
        (
            "arguments: { type: object, required: [amont], properties: { amount: {} }, additionalProperties: false }",
            "did you mean `amount`?",
            "",
        ),
        ("arguments: { type: object, required: [a, a] }", "occurs twice", ""),
        ("arguments: { enum: [] }", "takes 1 to 256 items", ""),
        ("arguments: { enum: [1, 1] }", "occurs twice", ""),
        ("arguments: { oneOf: [] }", "takes 1 to 16 items", ""),
        (
            "arguments: { oneOf: [{ anyOf: [{ allOf: [{ oneOf: [{}] }] }] }] }",
            "alternatives nest at most 3 deep",
            "",
        ),
        ("arguments: [a]", "is a mapping, not a list", ""),
        ("context: { type: array }", "has `type: object`", ""),
        ("required: [targt]", "did you mean `target`?", ""),
        ("required: ['labels.']", "is not a field", ""),
        ("required: [trace_id]", "is not a field", ""),
        ("evidence: [{ type: a }]", "`max_age` of `evidence` is missing", ""),
        ("evidence: [{ type: 'a b', max_age: 1d }]", "is not a type of evidence", ""),
        ("evidence: [{ type: a, max_age: 1d }, { type: a, max_age: 2d }]", "demanded twice", ""),
        ("evidence: [{ type: a, max_age: 1d, issuers: [ci] }]", "kind and name", ""),
        ("outcomes: [permit]", "unknown `outcomes`", ""),
        ("outcomes: [PERMTI]", "did you mean `PERMIT`?", ""),
        ("fail_mode: open", "takes a mapping", ""),
        ("fail_mode: { staging: { mode: open } }", "fails open without a `reason`", ""),
        ("fail_mode: { 'a*': { mode: closed } }", "is not an environment", ""),
        ("receipts: { verify: never }", "unknown `verify`", ""),
        ("owner: ''", "1 to 200 bytes", ""),
        ("deadline: 2h", "a deadline is at most 1h", ""),
    ];
    for (body, wanted, column) in table {
        let text = format!("version: v1\nsurfaces:\n  pay: {{ {body} }}\n");
        let found = compile(&text).expect_err(body);
        let said = render(&found);
        assert!(said.contains(wanted), "{body}\n{said}");
        assert!(found.iter().all(|it| it.line == 3 && it.column >= 10), "{said}");
        if !column.is_empty() {
            assert!(found.iter().all(|it| it.column > 20), "{said}");
        }
    }
    // Deeper or larger than any schema needs to be.
    let deep = "{ type: array, items: ".repeat(13) + "{}" + &" }".repeat(13);
    let wide: String = (0..600).map(|at| format!("p{at}: {{}}, ")).collect();
    let wide = format!("{{ type: object, properties: {{ {wide} }} }}");
    for schema in [deep, wide] {
        let text = format!("version: v1\nsurfaces: {{ pay: {{ arguments: {schema} }} }}\n");
        let said = render(&compile(&text).unwrap_err());
        assert!(said.contains("at most 512 subschemas and 12 levels"), "{said}");
    }
}

#[test]
fn evidence_is_remarked_on_while_nobody_verifies_it() {
    let bundle = surface("evidence: [{ type: a, max_age: 1d }]");
    let said = render(bundle.warnings());
    assert!(
        said.starts_with("policy.yaml:3:10: warning[evidence_asserted]: evidence is"),
        "{said}"
    );
    assert!(surface("").warnings().is_empty());
}

#[test]
fn demands_are_explained() {
    let bundle = surface(
        "required: [target], outcomes: [PERMIT], evidence: [{ type: report, max_age: 10m }], arguments: { type: object, properties: { a: { type: integer } } }",
    );
    let body =
        format!(r#"{{"surface":"pay","arguments":{{"a":"x"}},"evidence":[{}]}}"#, piece(&[]));
    let trace = bundle.explain(&request(&body), &caller());
    let text = trace.to_string();
    for line in [
        "contract surface:pay:arguments (deny): matched\n  ! /a: string, wanted integer\n",
        "contract surface:pay:evidence.report (deny): matched\n  * applies until 2026-11-20T11:59:00.000Z\n  ! report is there and counts from 2026-11-20T11:59:00.000Z\n",
        "contract surface:pay:fresh.report (deny): matched\n  * applies from 2026-11-20T12:10:00.000Z\n  ! report counts until 2026-11-20T12:10:00.000Z\n",
        "contract surface:pay:outcomes (deny): matched\n  ! anything but PERMIT becomes DENY\n",
        "contract surface:pay:required.arguments (deny): not matched\n  + arguments is there\n",
        "contract surface:pay:required.target (deny): matched\n  ! target is missing\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let json = trace.to_value().to_text();
    assert!(json.contains(r#""note":"/a: string, wanted integer""#), "{json}");
}

#[test]
fn a_large_value_is_checked_in_time_linear_in_it() {
    let schema = "{ type: array, items: { anyOf: [{ type: object, properties: { a: { type: string, pattern: '(x+x+)+y' } } }, { type: integer }] } }";
    let bundle = surface(&format!("arguments: {schema}"));
    let item = format!("{{\"a\":\"{}\"}},", "x".repeat(1000));
    let many = format!("[{}1]", item.repeat(900));
    let request = request(&format!(r#"{{"surface":"pay","arguments":{many}}}"#));
    let hits = verdict(&bundle, &request).hits;
    assert_eq!(hits[0].rule.cause, Reason::ArgumentsInvalid);
    assert!(value(&many).as_array().unwrap().len() > 900);
}

#[test]
fn surfaces_may_stand_in_several_files() {
    let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
    let both = Bundle::compile::<Sha2>(&[
        source("a.yaml", "version: v1\nsurfaces: { a: { required: [topic] } }\n"),
        source("b.yaml", "version: v1\nsurfaces: { b: { required: [team] } }\n"),
    ])
    .unwrap();
    assert_eq!(both.rules().count(), 2);
    let twice = Bundle::compile::<Sha2>(&[
        source("a.yaml", "version: v1\nsurfaces: { a: }\n"),
        source("b.yaml", "version: v1\nsurfaces: { a: }\n"),
    ]);
    assert!(render(&twice.unwrap_err()).contains("duplicate surface `a`, first in a.yaml:2:13"));
}
