//! Schemas of arguments and context: a subset of JSON Schema 2020-12, compiled once, checked in time
//! linear in the value. Owns what a keyword means; how one is written is known to `read` alone.

pub(crate) mod read;

use placet_types::json::{Number, Object, Value};
use regex::{Regex, RegexBuilder};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Largest compiled form of one `pattern`.
const REGEX_BYTES_MAX: usize = 1 << 18;

/// A type of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Type {
    Array,
    Boolean,
    Integer,
    Null,
    Number,
    Object,
    String,
}

impl Type {
    pub(crate) const WORDS: [&'static str; 7] =
        ["array", "boolean", "integer", "null", "number", "object", "string"];
    const ALL: [Self; 7] = [
        Self::Array,
        Self::Boolean,
        Self::Integer,
        Self::Null,
        Self::Number,
        Self::Object,
        Self::String,
    ];

    pub(crate) fn parse(word: &str) -> Option<Self> {
        let at = Self::WORDS.iter().position(|known| *known == word)?;
        Self::ALL.get(at).copied()
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Array => matches!(value, Value::Array(_)),
            Self::Boolean => matches!(value, Value::Bool(_)),
            Self::Integer => matches!(value, Value::Number(Number::Int(_))),
            Self::Null => matches!(value, Value::Null),
            Self::Number => matches!(value, Value::Number(_)),
            Self::Object => matches!(value, Value::Object(_)),
            Self::String => matches!(value, Value::String(_)),
        }
    }
}

/// What members that `properties` does not name have to fit.
#[derive(Clone, Debug, Default)]
enum Additional {
    #[default]
    Anything,
    Nothing,
    These(Box<Node>),
}

/// One compiled (sub)schema. Keywords of a type say nothing of values of another.
#[derive(Clone, Debug, Default)]
struct Node {
    types: Option<Vec<Type>>,
    one_of_values: Option<Vec<Value>>,
    constant: Option<Value>,
    minimum: Option<i64>,
    maximum: Option<i64>,
    above: Option<i64>,
    below: Option<i64>,
    multiple_of: Option<i64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<Box<Regex>>,
    items: Option<Box<Node>>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    unique: bool,
    /// In the order of their names.
    properties: Vec<(Box<str>, Node)>,
    required: Vec<Box<str>>,
    additional: Additional,
    one_of: Vec<Node>,
    any_of: Vec<Node>,
    all_of: Vec<Node>,
}

/// A schema in normal form and compiled.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    normal: Value,
    root: Node,
}

impl Schema {
    /// From the normal form that [`read::schema`] makes; `None` for anything else.
    pub(crate) fn compile(normal: &Value) -> Option<Self> {
        Some(Self { normal: normal.clone(), root: Node::compile(normal)? })
    }

    pub(crate) fn normal(&self) -> &Value {
        &self.normal
    }

    pub(crate) fn fits(&self, value: &Value) -> bool {
        self.root.fits(value)
    }

    pub(crate) fn fits_object(&self, object: &Object) -> bool {
        self.root.fits_object(object)
    }

    /// The JSON pointer of the first value that does not fit, and why; `None` when all fits.
    pub(crate) fn fault(&self, value: &Value) -> Option<(String, String)> {
        self.root.fault(value, String::new())
    }
}

/// The regular expression of a `pattern`, within its bound.
pub(crate) fn regex(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .nest_limit(32)
        .build();
    built.map_err(|error| {
        let text = error.to_string();
        text.lines().last().unwrap_or(&text).trim_start_matches("error: ").to_owned()
    })
}

impl Node {
    fn compile(normal: &Value) -> Option<Self> {
        let of = normal.as_object()?;
        let int = |key: &str| of.get(key).and_then(Value::as_i64);
        let count = |key: &str| int(key).and_then(|it| usize::try_from(it).ok());
        let nodes = |key: &str| -> Option<Vec<Self>> {
            of.get(key)
                .map_or(Some(Vec::new()), |it| it.as_array()?.iter().map(Self::compile).collect())
        };
        let names = of.get("required").and_then(Value::as_array).unwrap_or_default();
        let mut properties = Vec::new();
        for (name, of) in
            of.get("properties").and_then(Value::as_object).into_iter().flat_map(Object::iter)
        {
            properties.push((name.into(), Self::compile(of)?));
        }
        Some(Self {
            types: match of.get("type") {
                None => None,
                Some(Value::String(word)) => Some(vec![Type::parse(word)?]),
                Some(words) => Some(
                    words
                        .as_array()?
                        .iter()
                        .map(|it| Type::parse(it.as_str()?))
                        .collect::<Option<_>>()?,
                ),
            },
            one_of_values: match of.get("enum") {
                None => None,
                Some(values) => Some(values.as_array()?.to_vec()),
            },
            constant: of.get("const").cloned(),
            minimum: int("minimum"),
            maximum: int("maximum"),
            above: int("exclusiveMinimum"),
            below: int("exclusiveMaximum"),
            multiple_of: int("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            pattern: match of.get("pattern") {
                None => None,
                Some(text) => Some(Box::new(regex(text.as_str()?).ok()?)),
            },
            items: match of.get("items") {
                None => None,
                Some(items) => Some(Box::new(Self::compile(items)?)),
            },
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique: of.get("uniqueItems").and_then(Value::as_bool).unwrap_or(false),
            properties,
            required: names.iter().map(|it| it.as_str().map(Into::into)).collect::<Option<_>>()?,
            additional: match of.get("additionalProperties") {
                None => Additional::Anything,
                Some(Value::Bool(false)) => Additional::Nothing,
                Some(of) => Additional::These(Box::new(Self::compile(of)?)),
            },
            one_of: nodes("oneOf")?,
            any_of: nodes("anyOf")?,
            all_of: nodes("allOf")?,
        })
    }

    fn fits(&self, value: &Value) -> bool {
        self.own(value).is_none()
            && match value {
                Value::Object(object) => {
                    self.properties_of(object).all(|(_, node, value)| node.fits(value))
                }
                Value::Array(items) => {
                    self.items.as_ref().is_none_or(|node| items.iter().all(|it| node.fits(it)))
                }
                _ => true,
            }
    }

    /// As [`Node::fits`] of an object that is no value by itself.
    fn fits_object(&self, object: &Object) -> bool {
        let combined =
            !self.one_of.is_empty() || !self.any_of.is_empty() || !self.all_of.is_empty();
        if combined || self.constant.is_some() || self.one_of_values.is_some() {
            // These compare the whole value.
            return self.fits(&Value::Object(object.clone()));
        }
        self.types.as_ref().is_none_or(|types| types.contains(&Type::Object))
            && self.members(object).is_none()
            && self.properties_of(object).all(|(_, node, value)| node.fits(value))
    }

    fn fault(&self, value: &Value, at: String) -> Option<(String, String)> {
        if let Some((below, why)) = self.own(value) {
            return Some((below.map_or(at.clone(), |name| join(&at, &name)), why));
        }
        let mut children = self.children(value);
        children.find_map(|(name, node, value)| node.fault(value, join(&at, &name)))
    }

    /// What the keywords of this schema itself have against a value, with the name of a member where it
    /// concerns one.
    fn own(&self, value: &Value) -> Option<(Option<String>, String)> {
        let whole = |why: String| Some((None, why));
        if let Some(types) = &self.types
            && !types.iter().any(|it| it.holds(value))
        {
            let words: Vec<&str> =
                types.iter().filter_map(|it| Type::WORDS.get(*it as usize).copied()).collect();
            let article = kind(value);
            return whole(format!("{article}, wanted {}", words.join(" or ")));
        }
        if self.one_of_values.as_ref().is_some_and(|values| !values.contains(value)) {
            return whole("none of the values that are allowed".to_owned());
        }
        if self.constant.as_ref().is_some_and(|constant| constant != value) {
            return whole("not the one value that is allowed".to_owned());
        }
        let of_type = match value {
            Value::Number(number) => self.number(*number),
            Value::String(text) => self.text(text),
            Value::Array(items) => self.array(items),
            Value::Object(object) => return self.members(object).or_else(|| self.combined(value)),
            Value::Null | Value::Bool(_) => None,
        };
        match of_type {
            Some(why) => whole(why),
            None => self.combined(value),
        }
    }

    fn number(&self, number: Number) -> Option<String> {
        let order = |bound: i64| number.cmp(&Number::from_i64(bound));
        if let Some(bound) = self.minimum.filter(|it| order(*it) == Ordering::Less) {
            return Some(format!("less than {bound}"));
        }
        if let Some(bound) = self.maximum.filter(|it| order(*it) == Ordering::Greater) {
            return Some(format!("more than {bound}"));
        }
        if let Some(bound) = self.above.filter(|it| order(*it) != Ordering::Greater) {
            return Some(format!("not more than {bound}"));
        }
        if let Some(bound) = self.below.filter(|it| order(*it) != Ordering::Less) {
            return Some(format!("not less than {bound}"));
        }
        let of = self.multiple_of?;
        let multiple = number.as_i64().is_some_and(|it| it.checked_rem(of) == Some(0));
        (!multiple).then(|| format!("no multiple of {of}"))
    }

    fn text(&self, text: &str) -> Option<String> {
        if self.min_length.is_some() || self.max_length.is_some() {
            let length = text.chars().count();
            if let Some(least) = self.min_length.filter(|it| length < *it) {
                return Some(format!("{length} characters, fewer than {least}"));
            }
            if let Some(most) = self.max_length.filter(|it| length > *it) {
                return Some(format!("{length} characters, more than {most}"));
            }
        }
        let misses = self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text));
        misses.then(|| "does not match the pattern".to_owned())
    }

    fn array(&self, items: &[Value]) -> Option<String> {
        let length = items.len();
        if let Some(least) = self.min_items.filter(|it| length < *it) {
            return Some(format!("{length} items, fewer than {least}"));
        }
        if let Some(most) = self.max_items.filter(|it| length > *it) {
            return Some(format!("{length} items, more than {most}"));
        }
        if self.unique {
            let mut seen = BTreeSet::new();
            if !items.iter().all(|item| seen.insert(item.to_canonical())) {
                return Some("an item occurs twice".to_owned());
            }
        }
        None
    }

    fn members(&self, object: &Object) -> Option<(Option<String>, String)> {
        if let Some(name) = self.required.iter().find(|name| object.get(name).is_none()) {
            return Some((Some(name.to_string()), "missing".to_owned()));
        }
        if matches!(self.additional, Additional::Nothing) {
            let strange = object.iter().find(|(name, _)| self.property(name).is_none());
            if let Some((name, _)) = strange {
                return Some((Some(name.to_owned()), "a member that is not allowed".to_owned()));
            }
        }
        None
    }

    fn combined(&self, value: &Value) -> Option<(Option<String>, String)> {
        let fitting = |nodes: &[Self]| nodes.iter().filter(|node| node.fits(value)).count();
        if !self.all_of.iter().all(|node| node.fits(value)) {
            return Some((None, "does not fit all of what is wanted".to_owned()));
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(|node| node.fits(value)) {
            return Some((None, "fits none of the alternatives".to_owned()));
        }
        if !self.one_of.is_empty() {
            let count = fitting(&self.one_of);
            if count != 1 {
                return Some((None, format!("fits {count} of the alternatives, wanted 1")));
            }
        }
        None
    }

    fn property(&self, name: &str) -> Option<&Self> {
        let order = |(known, _): &(Box<str>, Self)| placet_types::json::compare_keys(known, name);
        let at = self.properties.binary_search_by(order).ok()?;
        self.properties.get(at).map(|(_, node)| node)
    }

    fn properties_of<'a>(
        &'a self,
        object: &'a Object,
    ) -> impl Iterator<Item = (&'a str, &'a Self, &'a Value)> {
        let rest = match &self.additional {
            Additional::These(node) => Some(&**node),
            Additional::Anything | Additional::Nothing => None,
        };
        object
            .iter()
            .filter_map(move |(name, value)| Some((name, self.property(name).or(rest)?, value)))
    }

    /// The values below this one that have a schema of their own.
    fn children<'a>(
        &'a self,
        value: &'a Value,
    ) -> Box<dyn Iterator<Item = (String, &'a Self, &'a Value)> + 'a> {
        match value {
            Value::Object(object) => Box::new(
                self.properties_of(object)
                    .map(|(name, node, value)| (name.to_owned(), node, value)),
            ),
            Value::Array(items) => Box::new(self.items.iter().flat_map(move |node| {
                items.iter().enumerate().map(move |(at, item)| (at.to_string(), &**node, item))
            })),
            _ => Box::new(std::iter::empty()),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Number(Number::Int(_)) => "integer",
        Value::Number(Number::Double(_)) => "number with decimals",
        other => other.kind(),
    }
}

/// A JSON pointer (RFC 6901) with one more segment.
fn join(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
