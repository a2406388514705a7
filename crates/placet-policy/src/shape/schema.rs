//! The JSON Schema of a shape, for editors.

use super::{Field, Shape};
use placet_types::json::{Object, Value};
use placet_types::policy::Constraints;

impl Shape {
    /// Whether it is a mapping from names that an author chooses.
    pub(crate) const fn is_map(&self) -> bool {
        matches!(self, Self::Map(..))
    }

    /// The JSON Schema (2020-12) of documents of this shape.
    pub(crate) fn schema(&self) -> Object {
        let text = |description: &str| {
            Object::new().with("type", "string").with("description", description)
        };
        match self {
            Self::Prose(most) => {
                text("text for people").with("minLength", 1_u32).with("maxLength", int(*most))
            }
            Self::Name => text("a name").with("pattern", "^[A-Za-z0-9._@:/+-]{1,200}$"),
            Self::Id => text("an id").with("pattern", "^[A-Za-z0-9._-]{1,128}$"),
            Self::Matching(of) => text(of.hint),
            Self::Int(least, most) => {
                Object::new().with("type", "integer").with("minimum", *least).with("maximum", *most)
            }
            Self::Schema => text("a subset of JSON Schema 2020-12").with("type", "object"),
            Self::Duration | Self::Age => text("a duration: 500ms, 30s, 30m, 1h, 7d")
                .with("pattern", "^[1-9][0-9]*(ms|s|m|h|d)$"),
            Self::Amount => {
                let forms = [
                    Object::new().with("type", "integer").with("minimum", 0_u32),
                    text("a decimal with at most six decimals")
                        .with("pattern", "^[0-9]+([.][0-9]{1,6})?$"),
                ];
                Object::new().with("oneOf", forms.map(Value::Object).to_vec())
            }
            Self::Word(words) => {
                let words: Vec<Value> = words.iter().map(|word| Value::from(*word)).collect();
                Object::new().with("enum", words)
            }
            Self::Pattern(_) => {
                text("a pattern: `*` one segment, `**` any number").with("minLength", 1_u32)
            }
            Self::Permission(verbs) => {
                let pattern = format!("^({}):[^/]+(/[^/]+)?$", verbs.join("|"));
                text("a permission: a verb, a colon, surfaces, perhaps a slash and actions")
                    .with("pattern", pattern)
            }
            Self::TimeOfDay => {
                text("a time of day").with("pattern", "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")
            }
            Self::Instant => text("an instant in UTC, 2026-01-31T09:00:00Z").with(
                "pattern",
                "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,3})?Z$",
            ),
            Self::Regex => text("a regular expression, without look-around and back-references")
                .with("minLength", 1_u32)
                .with("maxLength", 1024_u32),
            Self::Bool => Object::new().with("type", "boolean"),
            Self::Actor => {
                text("an actor, kind:name").with("pattern", "^(agent|service|human):.+$")
            }
            Self::Label => text("a label").with("pattern", "^[a-z0-9-]{1,63}$"),
            Self::Json => Object::new().with("type", "object"),
            Self::Condition => text("a condition: a typed subset of CEL")
                .with("minLength", 1_u32)
                .with("maxLength", 4096_u32),
            Self::Constraints => constraints_schema(),
            Self::Offset => {
                text("a distance from UTC").with("pattern", "^[+-](0[0-9]|1[0-4]):[0-5][0-9]$")
            }
            Self::Several(item) => several(item),
            Self::OneOrMore(item) => {
                let forms = vec![Value::Object(item.schema()), Value::Object(several(item))];
                Object::new().with("anyOf", forms)
            }
            Self::List(item) => Object::new().with("type", "array").with("items", item.schema()),
            Self::Set(item) => Object::new().with("type", "array").with("items", item.schema()),
            Self::Map(_, value) => {
                Object::new().with("type", "object").with("additionalProperties", value.schema())
            }
            Self::Record(of) => schema_of(of),
            Self::Entries(of) => Object::new().with("type", "array").with("items", schema_of(of)),
        }
    }
}

fn several(item: &Shape) -> Object {
    Object::new().with("type", "array").with("items", item.schema()).with("maxItems", 256_u32)
}

/// As [`Constraints::from_object`] reads them.
fn constraints_schema() -> Object {
    let list = || {
        let item = Object::new()
            .with("type", "string")
            .with("minLength", 1_u32)
            .with("maxLength", 512_u32);
        Object::new().with("type", "array").with("items", item).with("minItems", 1_u32)
    };
    let whole = || Object::new().with("type", "integer");
    let bounds = Object::new().with("min", whole()).with("max", whole()).with("one_of", list());
    let bounds = Object::new()
        .with("type", "object")
        .with("properties", bounds)
        .with("additionalProperties", false)
        .with("minProperties", 1_u32);
    let mut properties = Object::new();
    for key in Constraints::KEYS {
        let schema = match key {
            "arguments" => Object::new()
                .with("type", "object")
                .with("patternProperties", Object::new().with("^/", bounds.clone()))
                .with("additionalProperties", false),
            "read_only" => Object::new().with("type", "boolean"),
            "redaction" => {
                let words = ["none", "secrets", "personal", "full"];
                Object::new().with("enum", words.map(Value::from).to_vec())
            }
            key if key.starts_with("max_") => {
                whole().with("minimum", 0_u32).with("maximum", 1_i64 << 53)
            }
            _ => list(),
        };
        properties.set(key, schema);
    }
    Object::new()
        .with("type", "object")
        .with("properties", properties)
        .with("additionalProperties", false)
        .with("minProperties", 1_u32)
}

fn int(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn schema_of(of: &[Field]) -> Object {
    let mut properties = Object::new();
    for field in of {
        properties.set(field.name, field.shape.schema().with("description", field.doc));
    }
    let required: Vec<Value> =
        of.iter().filter(|field| field.required).map(|field| Value::from(field.name)).collect();
    Object::new()
        .with("type", "object")
        .with("properties", properties)
        .with_opt("required", (!required.is_empty()).then_some(required))
        .with("additionalProperties", false)
}
