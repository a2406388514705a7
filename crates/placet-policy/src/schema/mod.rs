//! Schemas of arguments and context: a subset of JSON Schema 2020-12, compiled once, checked in time
//! linear in the value. Owns what a keyword means; how one is written is known to `read` alone.

mod known;
mod packed;
pub(crate) mod read;

pub(crate) use packed::{Packed, Pool};
use placet_types::json::{Number, Object, Value};
use regex::{Regex, RegexBuilder};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

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
        Self::ALL.into_iter().find(|it| it.word() == word)
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Null => "null",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Array => 1,
            Self::Boolean => 2,
            Self::Integer => 4,
            Self::Null => 8,
            Self::Number => 16,
            Self::Object => 32,
            Self::String => 64,
        }
    }

    /// The type of a value; the narrower one for integers.
    const fn of(value: &Value) -> Self {
        match value {
            Value::Array(_) => Self::Array,
            Value::Bool(_) => Self::Boolean,
            Value::Number(Number::Int(_)) => Self::Integer,
            Value::Null => Self::Null,
            Value::Number(Number::Double(_)) => Self::Number,
            Value::Object(_) => Self::Object,
            Value::String(_) => Self::String,
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

/// One compiled (sub)schema. Keywords of a type say nothing of values of another. What is not there takes
/// no room: a request on one of thousands of surfaces finds little of its schema in the cache.
#[derive(Clone, Debug, Default)]
struct Node {
    /// A bit for each type; none where any will do.
    types: u8,
    number: Option<Arc<Numbers>>,
    text: Option<Arc<Texts>>,
    array: Option<Box<Arrays>>,
    object: Option<Box<Objects>>,
    any: Option<Box<Any>>,
}

/// What is asked of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Numbers {
    minimum: Option<i64>,
    maximum: Option<i64>,
    above: Option<i64>,
    below: Option<i64>,
    multiple_of: Option<i64>,
}

/// What is asked of strings.
#[derive(Clone, Debug, Default)]
struct Texts {
    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<Regex>,
}

/// What is asked of arrays.
#[derive(Clone, Debug, Default)]
struct Arrays {
    items: Option<Node>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    unique: bool,
}

/// What is asked of objects.
#[derive(Clone, Debug)]
struct Objects {
    /// In the order of their names.
    properties: Vec<(Arc<str>, Node)>,
    required: Arc<[Arc<str>]>,
    additional: Additional,
}

/// What is asked of any value.
#[derive(Clone, Debug, Default)]
struct Any {
    one_of_values: Option<Vec<Value>>,
    constant: Option<Value>,
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
        let words: Vec<&Value> = match of.get("type") {
            None => Vec::new(),
            Some(Value::Array(words)) => words.iter().collect(),
            Some(word) => vec![word],
        };
        let mut types = 0;
        for word in words {
            types |= Type::parse(word.as_str()?)?.bit();
        }
        // A group of keywords, where one of them is there.
        let has = |keys: &[&str]| keys.iter().any(|key| of.get(key).is_some());
        let number =
            has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"])
                .then(|| Numbers {
                    minimum: int("minimum"),
                    maximum: int("maximum"),
                    above: int("exclusiveMinimum"),
                    below: int("exclusiveMaximum"),
                    multiple_of: int("multipleOf"),
                });
        let text = Texts {
            min_length: count("minLength"),
            max_length: count("maxLength"),
            pattern: match of.get("pattern") {
                None => None,
                Some(text) => Some(regex(text.as_str()?).ok()?),
            },
        };
        let array = Arrays {
            items: match of.get("items") {
                None => None,
                Some(items) => Some(Self::compile(items)?),
            },
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique: of.get("uniqueItems").and_then(Value::as_bool).unwrap_or(false),
        };
        let any = Any {
            one_of_values: match of.get("enum") {
                None => None,
                Some(values) => Some(values.as_array()?.to_vec()),
            },
            constant: of.get("const").cloned(),
            one_of: nodes("oneOf")?,
            any_of: nodes("anyOf")?,
            all_of: nodes("allOf")?,
        };
        let texts = ["minLength", "maxLength", "pattern"];
        let arrays = ["items", "minItems", "maxItems", "uniqueItems"];
        let objects = ["properties", "required", "additionalProperties"];
        let anything = ["enum", "const", "oneOf", "anyOf", "allOf"];
        Some(Self {
            types,
            number: number.map(Arc::new),
            text: has(&texts).then(|| Arc::new(text)),
            array: has(&arrays).then(|| Box::new(array)),
            object: if has(&objects) { Some(Box::new(Objects::compile(of)?)) } else { None },
            any: has(&anything).then(|| Box::new(any)),
        })
    }

    fn fits(&self, value: &Value) -> bool {
        self.own(value).is_none()
            && match value {
                Value::Object(object) => {
                    self.properties_of(object).all(|(_, node, value)| node.fits(value))
                }
                Value::Array(items) => {
                    self.items().is_none_or(|node| items.iter().all(|it| node.fits(it)))
                }
                _ => true,
            }
    }

    fn items(&self) -> Option<&Self> {
        self.array.as_ref()?.items.as_ref()
    }

    /// As [`Node::fits`] of an object that is no value by itself.
    fn fits_object(&self, object: &Object) -> bool {
        if self.any.is_some() {
            // These compare the whole value.
            return self.fits(&Value::Object(object.clone()));
        }
        (self.types == 0 || self.types & Type::Object.bit() != 0)
            && self.object.as_ref().is_none_or(|it| it.own(object).is_none())
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
        let of = Type::of(value);
        // Every integer is a number.
        let fitting = if of == Type::Integer { of.bit() | Type::Number.bit() } else { of.bit() };
        if self.types != 0 && self.types & fitting == 0 {
            let wanted = Type::ALL.iter().filter(|it| self.types & it.bit() != 0);
            let words: Vec<&str> = wanted.map(|it| it.word()).collect();
            let found = if of == Type::Number { "number with decimals" } else { of.word() };
            return Some((None, format!("{found}, wanted {}", words.join(" or "))));
        }
        let whole = |why: Option<String>| why.map(|why| (None, why));
        let own = match value {
            Value::Number(number) => whole(self.number.as_ref().and_then(|it| it.own(*number))),
            Value::String(text) => whole(self.text.as_ref().and_then(|it| it.own(text))),
            Value::Array(items) => whole(self.array.as_ref().and_then(|it| it.own(items))),
            Value::Object(object) => self.object.as_ref().and_then(|it| it.own(object)),
            Value::Null | Value::Bool(_) => None,
        };
        own.or_else(|| whole(self.any.as_ref().and_then(|it| it.own(value))))
    }

    fn properties_of<'a>(
        &'a self,
        object: &'a Object,
    ) -> impl Iterator<Item = (&'a str, &'a Self, &'a Value)> {
        let of = self.object.as_deref();
        let members = object.iter().take(if of.is_some() { usize::MAX } else { 0 });
        members.filter_map(move |(name, value)| {
            let of = of?;
            let rest = match &of.additional {
                Additional::These(node) => Some(&**node),
                Additional::Anything | Additional::Nothing => None,
            };
            Some((name, of.property(name).or(rest)?, value))
        })
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
            Value::Array(items) => Box::new(self.items().into_iter().flat_map(move |node| {
                items.iter().enumerate().map(move |(at, item)| (at.to_string(), node, item))
            })),
            _ => Box::new(std::iter::empty()),
        }
    }
}

impl Numbers {
    fn own(&self, number: Number) -> Option<String> {
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
}

impl Texts {
    fn own(&self, text: &str) -> Option<String> {
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
}

impl Arrays {
    fn own(&self, items: &[Value]) -> Option<String> {
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
}

impl Objects {
    fn compile(of: &Object) -> Option<Self> {
        let names = of.get("required").and_then(Value::as_array).unwrap_or_default();
        let properties = of.get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flat_map(Object::iter);
        Some(Self {
            properties: properties
                .map(|(name, of)| Some((name.into(), Node::compile(of)?)))
                .collect::<Option<_>>()?,
            required: names.iter().map(|it| it.as_str().map(Into::into)).collect::<Option<_>>()?,
            additional: match of.get("additionalProperties") {
                None => Additional::Anything,
                Some(Value::Bool(false)) => Additional::Nothing,
                Some(of) => Additional::These(Box::new(Node::compile(of)?)),
            },
        })
    }

    fn property(&self, name: &str) -> Option<&Node> {
        let order = |(known, _): &(Arc<str>, Node)| placet_types::json::compare_keys(known, name);
        let at = self.properties.binary_search_by(order).ok()?;
        self.properties.get(at).map(|(_, node)| node)
    }

    fn own(&self, object: &Object) -> Option<(Option<String>, String)> {
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
}

impl Any {
    fn own(&self, value: &Value) -> Option<String> {
        if self.one_of_values.as_ref().is_some_and(|values| !values.contains(value)) {
            return Some("none of the values that are allowed".to_owned());
        }
        if self.constant.as_ref().is_some_and(|constant| constant != value) {
            return Some("not the one value that is allowed".to_owned());
        }
        if !self.all_of.iter().all(|node| node.fits(value)) {
            return Some("does not fit all of what is wanted".to_owned());
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(|node| node.fits(value)) {
            return Some("fits none of the alternatives".to_owned());
        }
        let count = self.one_of.iter().filter(|node| node.fits(value)).count();
        let fits = self.one_of.is_empty() || count == 1;
        (!fits).then(|| format!("fits {count} of the alternatives, wanted 1"))
    }
}

/// A JSON pointer (RFC 6901) with one more segment.
fn join(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
