//! Values around a schema: one that fits, and others that lie at each of its bounds and just beyond. Owns
//! what is tried of each keyword; the schema itself decides what fits.

use super::witness::expression;
use crate::schema::Schema;
use placet_types::json::{Number, Object, Value};

/// Deepest schema that is followed, and most values of one part.
const DEPTH_MAX: usize = 12;
const VALUES_MAX: usize = 24;
/// A member that no schema names.
const EXTRA: &str = "anything-else";

/// Each path that a schema names, with each constant that it compares the value there with.
pub(super) fn constants(
    schema: &Value,
    path: &mut Vec<String>,
    tell: &mut dyn FnMut(&[String], Option<&Value>),
) {
    tell(path, None);
    for (key, value) in schema.as_object().into_iter().flat_map(Object::iter) {
        match (key, value) {
            ("const" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", value) => {
                tell(path, Some(value));
            }
            ("enum", Value::Array(values)) => {
                values.iter().for_each(|value| tell(path, Some(value)));
            }
            ("minLength" | "maxLength", value) => {
                for length in around(value.as_i64()) {
                    tell(path, Some(&Value::String("x".repeat(length))));
                }
            }
            ("minItems" | "maxItems", value) => {
                for length in around(value.as_i64()) {
                    tell(path, Some(&Value::Array(numbered(length, None))));
                }
            }
            ("pattern", Value::String(text)) => {
                for text in expression(text) {
                    tell(path, Some(&Value::String(text)));
                }
            }
            ("properties", Value::Object(properties)) if path.len() <= DEPTH_MAX => {
                for (name, schema) in properties.iter() {
                    path.push(name.to_owned());
                    constants(schema, path, tell);
                    path.pop();
                }
            }
            ("oneOf" | "anyOf" | "allOf", Value::Array(parts)) => {
                parts.iter().for_each(|part| constants(part, path, tell));
            }
            _ => {}
        }
    }
}

/// A length and its neighbours, where they are small enough to be spelled out.
fn around(length: Option<i64>) -> Vec<usize> {
    let length = length.and_then(|it| usize::try_from(it).ok()).filter(|it| *it <= 4096);
    length.map_or(Vec::new(), |it| vec![it.saturating_sub(1), it, it.saturating_add(1)])
}

fn numbered(length: usize, of: Option<&Value>) -> Vec<Value> {
    let each = |at: usize| match of {
        None => Value::from(i64::try_from(at).unwrap_or(0)),
        Some(Value::String(text)) if at > 0 => Value::from(format!("{text}{at}")),
        Some(Value::Number(number)) => {
            let at = i64::try_from(at).unwrap_or(0);
            number.as_i64().map_or(Value::from(at), |it| Value::from(it.saturating_add(at)))
        }
        Some(other) => other.clone(),
    };
    (0..length.min(4096)).map(each).collect()
}

/// A value that fits a schema, as far as one is found.
pub(super) fn fitting(schema: &Schema) -> Option<Value> {
    options(schema.normal(), 0).into_iter().find(|value| schema.fits(value))
}

/// `value` with as much of `wanted` as fits.
pub(super) fn overlaid(schema: &Schema, value: &Value, wanted: Option<&Value>) -> Value {
    let Some(wanted) = wanted else { return value.clone() };
    if schema.fits(wanted) {
        return wanted.clone();
    }
    let (Value::Object(object), Value::Object(wanted)) = (value, wanted) else {
        return value.clone();
    };
    let mut out = object.clone();
    for (name, member) in wanted.iter() {
        let mut tried = out.clone();
        tried.set(name, member.clone());
        if schema.fits(&Value::Object(tried.clone())) {
            out = tried;
        }
    }
    Value::Object(out)
}

/// The fitting value, and each of its parts replaced by what lies at the bounds of any of the schemas.
pub(super) fn tried(schemas: &[&Schema]) -> Vec<Value> {
    let mut out = Vec::new();
    for schema in schemas {
        let Some(base) = fitting(schema) else { continue };
        for schema in schemas {
            edits(schema.normal(), &base, 0, &mut |value| out.push(value));
        }
        out.push(base);
    }
    out
}

/// Every value that differs from `base` in one part.
fn edits(schema: &Value, base: &Value, depth: usize, take: &mut dyn FnMut(Value)) {
    if depth > DEPTH_MAX {
        return;
    }
    for value in options(schema, depth).into_iter().chain(bounds(schema)) {
        take(value);
    }
    for kind in [
        Value::from("x"),
        Value::from(1_i64),
        Value::Bool(true),
        Value::Null,
        Value::Array(Vec::new()),
        Value::Object(Object::new()),
    ] {
        take(kind);
    }
    if let Value::Object(object) = base {
        let with = |name: &str, value: Option<Value>| {
            let mut object = object.clone();
            match value {
                Some(value) => object.set(name, value),
                None => drop(object.remove(name)),
            }
            Value::Object(object)
        };
        take(with(EXTRA, Some(Value::from("x"))));
        for name in super::gather::texts(schema.get("required")) {
            take(with(name, None));
        }
        for (name, schema) in super::gather::members(schema.get("properties")) {
            take(with(name, None));
            let member = object.get(name).cloned().unwrap_or(Value::Null);
            edits(schema, &member, depth.saturating_add(1), &mut |value| {
                take(with(name, Some(value)));
            });
        }
        if let Some(rest @ Value::Object(_)) = schema.get("additionalProperties") {
            let rest = options(rest, depth).into_iter().chain(bounds(rest));
            rest.for_each(|value| take(with(EXTRA, Some(value))));
        }
    }
    if let Some(items) = schema.get("items") {
        for value in options(items, depth).into_iter().chain(bounds(items)) {
            take(Value::Array(vec![value]));
        }
    }
    if schema.get("uniqueItems").is_some() {
        let one = schema.get("items").and_then(|it| options(it, depth).into_iter().next());
        let one = one.unwrap_or_else(|| Value::from(1_i64));
        take(Value::Array(vec![one.clone(), one]));
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        for part in schema.get(key).and_then(Value::as_array).unwrap_or_default() {
            edits(part, base, depth.saturating_add(1), take);
        }
    }
}

/// Values at the bounds of this part and beyond.
fn bounds(schema: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    for key in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] {
        if let Some(bound) = schema.get(key).and_then(Value::as_i64) {
            let near = [bound.saturating_sub(1), bound, bound.saturating_add(1)];
            out.extend(near.map(Value::from));
            let between = Number::from_f64(bound as f64 + 0.5).map(Value::Number);
            out.extend(between);
        }
    }
    if let Some(of) = schema.get("multipleOf").and_then(Value::as_i64) {
        out.extend([of, of.saturating_add(1), of.saturating_mul(2)].map(Value::from));
    }
    constants(schema, &mut Vec::new(), &mut |path, value| {
        if path.is_empty() {
            out.extend(value.cloned());
        }
    });
    let item = schema.get("items").and_then(|it| options(it, 0).into_iter().next());
    for key in ["minItems", "maxItems"] {
        for length in around(schema.get(key).and_then(Value::as_i64)) {
            out.push(Value::Array(numbered(length, item.as_ref())));
        }
    }
    out
}

/// Values that may fit a schema, the likely ones first.
fn options(schema: &Value, depth: usize) -> Vec<Value> {
    if depth > DEPTH_MAX {
        return Vec::new();
    }
    if let Some(value) = schema.get("const") {
        return vec![value.clone()];
    }
    let mut out: Vec<Value> = Vec::new();
    out.extend(schema.get("enum").and_then(Value::as_array).unwrap_or_default().iter().cloned());
    let int = |key: &str| schema.get(key).and_then(Value::as_i64);
    let words: Vec<&str> = match schema.get("type") {
        Some(Value::String(word)) => vec![word],
        list => super::gather::texts(list).collect(),
    };
    for word in words {
        match word {
            "object" => out.extend(objects(schema, depth)),
            "array" => {
                let least = int("minItems").and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
                let item = schema
                    .get("items")
                    .and_then(|it| options(it, depth.saturating_add(1)).into_iter().next());
                out.push(Value::Array(numbered(least, item.as_ref())));
            }
            "string" => {
                if let Some(text) = schema.get("pattern").and_then(Value::as_str) {
                    out.extend(expression(text).into_iter().take(8).map(Value::from));
                }
                let least = int("minLength").and_then(|it| usize::try_from(it).ok()).unwrap_or(1);
                out.push(Value::String("x".repeat(least.min(4096))));
            }
            "integer" | "number" => {
                let least =
                    int("minimum").or(int("exclusiveMinimum").map(|it| it.saturating_add(1)));
                let most =
                    int("maximum").or(int("exclusiveMaximum").map(|it| it.saturating_sub(1)));
                let of = int("multipleOf").filter(|it| *it > 0).unwrap_or(1);
                let near = least.or(most.map(|it| it.min(1))).unwrap_or(1);
                out.push(Value::from(near));
                let multiple = near.div_euclid(of).saturating_add(1).saturating_mul(of);
                out.push(Value::from(multiple));
            }
            "boolean" => out.extend([Value::Bool(true), Value::Bool(false)]),
            "null" => out.push(Value::Null),
            _ => {}
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        let parts = schema.get(key).and_then(Value::as_array).unwrap_or_default();
        let inner: Vec<Value> =
            parts.iter().flat_map(|it| options(it, depth.saturating_add(1))).collect();
        // What an alternative demands is put beside what the whole demands.
        let merged = out.iter().flat_map(|base| {
            inner.iter().filter_map(move |more| match (base, more) {
                (Value::Object(base), Value::Object(more)) => {
                    let all = more
                        .iter()
                        .fold(base.clone(), |all, (name, it)| all.with(name, it.clone()));
                    Some(Value::Object(all))
                }
                _ => None,
            })
        });
        let merged: Vec<Value> = merged.collect();
        out.extend(merged);
        out.extend(inner);
    }
    if out.is_empty() {
        out.push(Value::Object(Object::new()));
        out.push(Value::from("x"));
    }
    out.truncate(VALUES_MAX);
    out
}

/// An object with what is required, and one with everything.
fn objects(schema: &Value, depth: usize) -> Vec<Value> {
    let properties = schema.get("properties");
    let member = |name: &str| {
        let schema = super::gather::members(properties).find(|(it, _)| *it == name);
        let options = schema.map(|(_, it)| options(it, depth.saturating_add(1)));
        options.and_then(|it| it.into_iter().next()).unwrap_or_else(|| Value::from("x"))
    };
    let required: Vec<&str> = super::gather::texts(schema.get("required")).collect();
    let least = required.iter().fold(Object::new(), |all, name| all.with(*name, member(name)));
    let most = super::gather::members(properties)
        .fold(least.clone(), |all, (name, _)| all.with(name, member(name)));
    vec![Value::Object(most), Value::Object(least)]
}
