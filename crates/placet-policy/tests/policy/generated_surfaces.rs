//! Generates contracts of surfaces and what requests bring to meet them.

use crate::generated::{SEGMENTS, pick};
use placet_policy::generate::SplitMix;
use placet_types::json::{Number, Object, Value};

/// Lines of a document that lists nearly every surface of the requests.
pub(crate) fn surfaces(random: &mut SplitMix) -> Vec<String> {
    let mut names: Vec<String> = SEGMENTS.iter().map(|it| (*it).to_owned()).collect();
    for first in SEGMENTS {
        names.extend(SEGMENTS.iter().map(|second| format!("{first}.{second}")));
    }
    names.retain(|_| !random.percent(8));
    names.into_iter().map(|name| format!("  {name}: {{ {} }}\n", surface(random))).collect()
}

fn surface(random: &mut SplitMix) -> String {
    let mut parts = Vec::new();
    if random.percent(12) {
        let field = pick(random, &["topic", "team", "labels.team", "arguments", "estimate.tokens"]);
        parts.push(format!("required: [{field}]"));
    }
    if random.percent(45) {
        parts.push(format!("arguments: {}", arguments(random)));
    }
    if random.percent(15) {
        let limit = pick(random, &["minimum: 2", "exclusiveMaximum: 3", "multipleOf: 2"]);
        parts.push(format!(
            "context: {{ type: object, properties: {{ c: {{ type: integer, {limit} }} }} }}"
        ));
    }
    if random.percent(20) {
        let issuers = pick(random, &["", ", issuers: [\"service:ci\"]"]);
        let age = pick(random, &["10m", "1h", "7d"]);
        parts.push(format!("evidence: [{{ type: t1, max_age: {age}{issuers} }}]"));
    }
    if random.percent(15) {
        let allowed = pick(random, &["[PERMIT]", "[REQUIRE_APPROVAL]", "[THROTTLE, PERMIT]"]);
        parts.push(format!("outcomes: {allowed}"));
    }
    parts.join(", ")
}

fn number(random: &mut SplitMix) -> String {
    let ty = pick(random, &["integer", "number", "[integer, string]"]);
    let bound = pick(
        random,
        &[
            "",
            "",
            ", minimum: 0",
            ", maximum: 5",
            ", exclusiveMinimum: -2",
            ", exclusiveMaximum: 5",
        ],
    );
    format!("{{ type: {ty}{bound} }}")
}

fn text(random: &mut SplitMix) -> String {
    let limit = pick(
        random,
        &[
            "",
            ", maxLength: 1",
            ", minLength: 2",
            ", pattern: a",
            ", pattern: \"x$\"",
            ", enum: [a, \"\u{e9}\"]",
        ],
    );
    format!("{{ type: string{limit} }}")
}

fn arguments(random: &mut SplitMix) -> String {
    let mut properties = Vec::new();
    if random.percent(60) {
        properties.push(format!("n: {}", number(random)));
    }
    if random.percent(50) {
        properties.push(format!("s: {}", text(random)));
    }
    if random.percent(50) {
        let limit = pick(random, &["", ", uniqueItems: true", ", minItems: 2", ", maxItems: 2"]);
        let items = pick(
            random,
            &[
                "",
                ", items: { type: [integer, string] }",
                ", items: { type: [string, integer, number, boolean, array, null], maximum: 4 }",
            ],
        );
        properties.push(format!("list: {{ type: array{items}{limit} }}"));
    }
    let mut out = "type: object".to_owned();
    if !properties.is_empty() {
        out.push_str(&format!(", properties: {{ {} }}", properties.join(", ")));
    }
    if random.percent(40) {
        out.push_str(", required: [list]");
    }
    match random.below(8) {
        0 => out.push_str(
            ", oneOf: [{ type: object, required: [\"n\"] }, { type: object, required: [\"s\"] }]",
        ),
        1 => out.push_str(", anyOf: [{ type: object, required: [\"m\"] }, { const: {} }]"),
        2 if properties.len() == 3 => {
            out.push_str(", additionalProperties: { type: [integer, string, \"null\"] }");
        }
        3 => {
            let missing = ["n", "s", "list", "m"];
            let named: Vec<String> = missing
                .iter()
                .filter(|name| !properties.iter().any(|it| it.starts_with(&format!("{name}:"))))
                .map(|name| format!("{name}: {{}}"))
                .collect();
            let kept: Vec<String> =
                named.iter().filter(|it| !it.starts_with('m')).cloned().collect();
            let all = [properties.clone(), kept].concat().join(", ");
            return format!(
                "{{ type: object, properties: {{ {all} }}, additionalProperties: false }}"
            );
        }
        _ => {}
    }
    format!("{{ {out} }}")
}

/// What surfaces may ask for besides arguments.
pub(crate) fn demanded(random: &mut SplitMix, body: &mut Object) {
    if random.percent(80) {
        let value = match random.below(8) {
            0 => Value::from("x"),
            1 => Value::Number(Number::from_f64(2.5).unwrap()),
            _ => Value::from(i64::try_from(random.below(6)).unwrap()),
        };
        body.set("context", Object::new().with("c", value));
    }
    if random.percent(75) {
        body.set("estimate", Object::new().with("tokens", "5"));
    }
    let mut pieces: Vec<Value> = Vec::new();
    for _ in 0..random.below(4) {
        pieces.push(piece(random));
    }
    body.set("evidence", pieces);
}

fn piece(random: &mut SplitMix) -> Value {
    let mut piece = Object::new()
        .with("type", pick(random, &["t1", "t1", "t1", "t2"]))
        .with("digest", format!("sha256:{}", "0".repeat(64)))
        .with("issuer", pick(random, &["service:ci", "service:ci", "agent:x"]))
        .with("issued", format!("2026-11-20T{:02}:00:00Z", random.below(24)));
    if random.percent(30) {
        piece.set("expires", format!("2026-11-20T{:02}:05:00Z", random.below(24)));
    }
    match random.below(12) {
        0 => piece.set("digest", "sha256:0"),
        1 => piece.set("extra", 1_u32),
        2 => drop(piece.remove("issued")),
        _ => {}
    }
    Value::Object(piece)
}
