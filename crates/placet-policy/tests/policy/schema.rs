//! The JSON Schemas and the readers accept the same documents: generated from the schemas, and altered.

use crate::support::{compile, render};
use placet_policy::generate::SplitMix;
use placet_policy::{Code, document_schema, schemas};
use placet_types::json::{Number, Object, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

thread_local! {
    static PATTERNS: RefCell<HashMap<String, Rc<regex::Regex>>> = RefCell::default();
}

/// Compiled once: compiling was nearly all that this test did.
fn pattern(text: &str) -> Rc<regex::Regex> {
    PATTERNS.with_borrow_mut(|known| match known.get(text) {
        Some(pattern) => pattern.clone(),
        None => {
            let compiled = Rc::new(regex::Regex::new(text).unwrap());
            known.insert(text.to_owned(), compiled.clone());
            compiled
        }
    })
}

/// Validates what our schemas use of JSON Schema 2020-12. A keyword that is not known here is a failure.
fn valid(schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else { panic!("{schema:?}") };
    schema.iter().all(|(keyword, wants)| match (keyword, value) {
        ("type", _) => match wants.as_str().unwrap() {
            "object" => value.as_object().is_some(),
            "array" => value.as_array().is_some(),
            "string" => value.as_str().is_some(),
            "integer" => value.as_i64().is_some(),
            "boolean" => value.as_bool().is_some(),
            other => panic!("type {other}"),
        },
        ("enum", _) => wants.as_array().unwrap().contains(value),
        ("const", _) => wants == value,
        ("anyOf", _) => wants.as_array().unwrap().iter().any(|one| valid(one, value)),
        ("oneOf", _) => {
            wants.as_array().unwrap().iter().filter(|one| valid(one, value)).count() == 1
        }
        ("minimum", Value::Number(_)) => value.as_i64() >= wants.as_i64(),
        ("maximum", Value::Number(_)) => value.as_i64() <= wants.as_i64(),
        ("minLength", Value::String(text)) => {
            text.chars().count() as u64 >= wants.as_u64().unwrap()
        }
        ("maxLength", Value::String(text)) => {
            text.chars().count() as u64 <= wants.as_u64().unwrap()
        }
        ("pattern", Value::String(text)) => pattern(wants.as_str().unwrap()).is_match(text),
        ("items", Value::Array(items)) => items.iter().all(|item| valid(wants, item)),
        ("minItems", Value::Array(items)) => items.len() as u64 >= wants.as_u64().unwrap(),
        ("maxItems", Value::Array(items)) => items.len() as u64 <= wants.as_u64().unwrap(),
        ("minProperties", Value::Object(object)) => object.len() as u64 >= wants.as_u64().unwrap(),
        ("required", Value::Object(object)) => {
            wants.as_array().unwrap().iter().all(|key| object.get(key.as_str().unwrap()).is_some())
        }
        ("properties", Value::Object(object)) => wants
            .as_object()
            .unwrap()
            .iter()
            .all(|(key, schema)| object.get(key).is_none_or(|value| valid(schema, value))),
        ("patternProperties", Value::Object(object)) => {
            wants.as_object().unwrap().iter().all(|(pattern, schema)| {
                let pattern = self::pattern(pattern);
                object.iter().all(|(key, value)| !pattern.is_match(key) || valid(schema, value))
            })
        }
        ("propertyNames", Value::Object(object)) => {
            object.iter().all(|(key, _)| valid(wants, &Value::from(key)))
        }
        ("additionalProperties", Value::Object(object)) => object.iter().all(|(key, value)| {
            let known = schema.get("properties").is_some_and(|it| it.get(key).is_some());
            let matched = schema
                .get("patternProperties")
                .and_then(Value::as_object)
                .is_some_and(|all| all.iter().any(|(it, _)| pattern(it).is_match(key)));
            known
                || matched
                || match wants {
                    Value::Bool(more) => *more,
                    schema => valid(schema, value),
                }
        }),
        (
            "minimum"
            | "maximum"
            | "minLength"
            | "maxLength"
            | "pattern"
            | "items"
            | "minItems"
            | "maxItems"
            | "minProperties"
            | "required"
            | "properties"
            | "patternProperties"
            | "propertyNames"
            | "additionalProperties"
            | "description"
            | "title"
            | "$schema"
            | "$id",
            _,
        ) => true,
        (other, _) => panic!("keyword {other}"),
    })
}

const TEXTS: [&str; 14] = [
    "a",
    "job.read",
    "a.*",
    "**",
    "agent:bot",
    "prod",
    "30s",
    "09:00",
    "+02:00",
    "12.5",
    "read",
    "request.topic == 'a'",
    "2026-01-01T00:00:00Z",
    "/etc/x",
];

/// A value that the schema accepts, most of the time.
fn generate(random: &mut SplitMix, schema: &Value, depth: usize) -> Value {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return random.pick(words).unwrap().clone();
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    for forms in ["anyOf", "oneOf"] {
        if let Some(forms) = schema.get(forms).and_then(Value::as_array) {
            let form = random.pick(forms).unwrap().clone();
            return generate(random, &form, depth);
        }
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => {
            let least = schema.get("minimum").and_then(Value::as_i64).unwrap_or(0);
            Value::from(least + i64::try_from(random.below(5)).unwrap())
        }
        Some("boolean") => Value::from(random.percent(50)),
        Some("array") => {
            let item = schema.get("items").unwrap();
            let count = 1 + random.below(2);
            Value::Array((0..count).map(|_| generate(random, item, depth + 1)).collect())
        }
        Some("object") => {
            let mut out = Object::new();
            let required: Vec<&str> = schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for (key, inner) in schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(Object::iter)
            {
                let wanted =
                    required.contains(&key) || random.percent(if depth > 2 { 25 } else { 15 });
                if wanted {
                    out.set(key, generate(random, inner, depth + 1));
                }
            }
            if let Some(inner) =
                schema.get("additionalProperties").filter(|it| it.as_bool().is_none())
            {
                out.set(*random.pick(&["a", "b"]).unwrap(), generate(random, inner, depth + 1));
            }
            Value::Object(out)
        }
        _ => {
            let fits: Vec<&str> =
                TEXTS.into_iter().filter(|text| valid(schema, &Value::from(*text))).collect();
            Value::from(*random.pick(&fits).unwrap_or(&"a"))
        }
    }
}

/// Changes one place at random.
fn alter(random: &mut SplitMix, value: &mut Value) {
    let down = random.percent(80);
    match value {
        Value::Object(object) if down && !object.is_empty() => {
            let keys: Vec<String> = object.iter().map(|(key, _)| key.to_owned()).collect();
            let key = random.pick(&keys).unwrap().clone();
            match random.below(8) {
                0 => {
                    object.remove(&key);
                }
                1 => {
                    object.set("unheard_of", 1_i64);
                }
                _ => {
                    let mut inner = object.remove(&key).unwrap();
                    alter(random, &mut inner);
                    object.set(key, inner);
                }
            }
        }
        Value::Array(items) if down && !items.is_empty() => {
            let at = random.below(items.len());
            alter(random, &mut items[at]);
        }
        other => {
            *other = match random.below(8) {
                0 => Value::from(true),
                1 => Value::from(-3_i64),
                2 => Value::from(9_000_000_i64),
                3 => Value::Array(Vec::new()),
                4 => Value::Object(Object::new()),
                5 => Value::Number(Number::from_f64(2.5).unwrap()),
                6 => Value::from("two words"),
                _ => Value::from(*random.pick(&TEXTS).unwrap()),
            };
        }
    }
}

/// What one key demands of another, and what only a parser can tell, is in no schema.
const BEYOND: [Code; 6] = [
    Code::Conflict,
    Code::BadPattern,
    Code::DuplicateId,
    Code::ConditionSyntax,
    Code::ConditionType,
    Code::Bound,
];
/// As above, with codes that are of both kinds.
const BEYOND_TEXTS: [&str; 17] = [
    "this schedule never applies",
    "cannot be read",
    "constrains nothing",
    "derives nothing",
    "without `constraints`",
    "asks nothing",
    "is no name for a fact",
    "takes text, an integer, true or false",
    "min is above max",
    "the request is refused",
    "it could never fail",
    "`must_deny` and an expected outcome",
    "is no code of a reason",
    "unknown component",
    "occurs twice",
    "either `max` or `none: true`",
    "`roles` names 1 to 16 roles",
];

/// The kinds whose readers are held to their schema here.
const KINDS: [&str; 14] = [
    "rules",
    "floor",
    "derivers",
    "budgets",
    "changes",
    "channels",
    "exceptions",
    "identity",
    "models",
    "modes",
    "notify",
    "outputs",
    "tests",
    "topics",
];

#[test]
fn schema_and_reader_agree() {
    let all: Vec<(&str, Value)> =
        schemas().map(|(name, schema)| (name, Value::Object(schema))).collect();
    let mut random = SplitMix(3);
    let (mut accepted, mut refused) = (0, 0);
    for kind in KINDS {
        let (_, schema) = all.iter().find(|(name, _)| *name == kind).unwrap();
        for _ in 0..1500 {
            let mut value = generate(&mut random, schema, 0);
            if random.percent(60) {
                alter(&mut random, &mut value);
            }
            let document = Object::new().with("version", "v1").with(kind, value.clone());
            let text = Value::Object(document).to_text();
            let by_schema = valid(schema, &value);
            match compile(&text) {
                Ok(_) => {
                    assert!(by_schema, "the schema refuses what is read: {text}");
                    accepted += 1;
                }
                Err(found) if by_schema => {
                    let explained = found.iter().any(|one| {
                        BEYOND.contains(&one.code)
                            || BEYOND_TEXTS.iter().any(|text| one.message.contains(text))
                    });
                    assert!(explained, "the schema accepts {text}\n{}", render(&found));
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(accepted > 2000 && refused > 2000, "{accepted} {refused}");
}

#[test]
fn the_committed_schemas_are_those_of_the_code() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/schemas");
    let kinds: Vec<&str> = schemas().map(|(name, _)| name).collect();
    let bless = std::env::var_os("PLACET_BLESS").is_some();
    for kind in kinds.iter().map(|kind| Some(*kind)).chain([None]) {
        let file = dir.join(format!("{}.schema.json", kind.unwrap_or("policy")));
        if bless {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&file, Value::Object(document_schema(kind)).to_text()).unwrap();
        }
        let committed = std::fs::read(&file).unwrap_or_default();
        let committed = placet_types::json::parse(&committed, placet_types::json::Limits::DOCUMENT);
        let fresh = Value::Object(document_schema(kind)).to_canonical();
        let same = committed.is_ok_and(|committed| committed.to_canonical() == fresh);
        assert!(same, "{} is stale: run `placet policy schema --out docs/schemas`", file.display());
    }
    let files = std::fs::read_dir(&dir).unwrap().count();
    assert_eq!(files, kinds.len() + 1, "files of kinds that are gone");
}
