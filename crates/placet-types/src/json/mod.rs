//! Strict JSON: one value tree, one parser that refuses what two parsers could read differently,
//! one writer of RFC 8785 canonical bytes. Knows nothing of what the values mean.

mod canon;
mod number;
mod parse;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

pub use canon::Writer;
pub use number::Number;
pub use parse::{ParseError, ParseErrorKind};

/// What the parser accepts beyond well-formedness.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest input in bytes.
    pub bytes_max: usize,
    /// Deepest nesting of arrays and objects.
    pub depth_max: usize,
    /// Whether numbers other than integers are allowed.
    pub doubles: bool,
    /// Most values, those within others counted.
    pub values_max: usize,
}

impl Limits {
    /// A request body: 1 MiB, nesting 64, doubles legal; 65,536 values, since people are shown each of them.
    pub const REQUEST: Self = Self { bytes_max: 1 << 20, values_max: 1 << 16, ..Self::DOCUMENT };
    /// A log entry: 16 KiB, nesting 64, integers only.
    pub const ENTRY: Self = Self { bytes_max: 16 << 10, doubles: false, ..Self::DOCUMENT };
    /// A payload read back: a request within two more levels, its numbers spelt out.
    pub const PAYLOAD: Self = Self { depth_max: 80, ..Self::DOCUMENT };
    /// A document of the operator: 16 MiB, nesting 64, doubles legal.
    pub const DOCUMENT: Self =
        Self { bytes_max: 16 << 20, depth_max: 64, doubles: true, values_max: usize::MAX };
}

/// Parses exactly one JSON text. Refused: anything RFC 8259 does not allow, duplicate keys,
/// invalid UTF-8, lone surrogates, numbers that do not survive a double, and what exceeds `limits`.
///
/// # Errors
/// [`ParseError`] with the byte offset and the path of the offending value.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, ParseError> {
    parse::parse(bytes, limits)
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number that survives a double.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object, in canonical key order.
    Object(Object),
}

impl Value {
    /// RFC 8785 bytes.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write_canonical(&mut out);
        out
    }

    /// Appends RFC 8785 bytes to `out`.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        canon::write_value(self, out);
    }

    /// RFC 8785 text.
    #[must_use]
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.to_canonical()).into_owned()
    }

    /// The member `key`, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object()?.get(key)
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The integer, if it is one within ±2^53.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Number(Number::Int(value)) = self { Some(*value) } else { None }
    }

    /// The non-negative integer, if it is one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_i64().and_then(|value| u64::try_from(value).ok())
    }

    /// The Boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The items, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The members, if it is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// `null`, `boolean`, `number`, `string`, `array` or `object`, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    /// Integers beyond ±2^53 become the nearest double; callers bound theirs before.
    fn from(value: i64) -> Self {
        Self::Number(Number::from_i64(value))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(Number::from_i64(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Number(Number::Int(i64::from(value)))
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::Array(items)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// Members with unique keys in RFC 8785 order (UTF-16 code units).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(String, Value)>);

impl Object {
    /// An empty object.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The member `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let at = self.0.binary_search_by(|(have, _)| compare_keys(have, key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Sets `key`, replacing what was there.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let key = key.into();
        match self.0.binary_search_by(|(have, _)| compare_keys(have, &key)) {
            Ok(at) => {
                if let Some(slot) = self.0.get_mut(at) {
                    slot.1 = value.into();
                }
            }
            Err(at) => self.0.insert(at, (key, value.into())),
        }
    }

    /// [`Object::set`] as a builder.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// Sets `key` when there is a value; absent members are omitted, never null.
    #[must_use]
    pub fn with_opt(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Removes and returns `key`.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.binary_search_by(|(have, _)| compare_keys(have, key)).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Members in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From members in any order; the first key that occurs twice is the error.
    pub(crate) fn from_members(mut members: Vec<(String, Value)>) -> Result<Self, String> {
        let sorted = members.windows(2).all(|pair| match pair {
            [(a, _), (b, _)] => compare_keys(a, b) == Ordering::Less,
            _ => true,
        });
        if !sorted {
            members.sort_by(|(a, _), (b, _)| compare_keys(a, b));
            for pair in members.windows(2) {
                if let [(a, _), (b, _)] = pair
                    && a == b
                {
                    return Err(a.clone());
                }
            }
        }
        Ok(Self(members))
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = alloc::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// RFC 8785 §3.2.3: keys are ordered by UTF-16 code units. That equals byte order of UTF-8 unless
/// a character above the basic plane (first byte F0 or more) meets one of U+E000..U+FFFF (EE, EF).
#[must_use]
pub fn compare_keys(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match a.iter().zip(b).find(|(x, y)| x != y) {
        None => a.len().cmp(&b.len()),
        Some((0xf0.., 0xee | 0xef)) => Ordering::Less,
        Some((0xee | 0xef, 0xf0..)) => Ordering::Greater,
        Some((x, y)) => x.cmp(y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_utf_16() {
        let characters = [
            '\0',
            'a',
            '\u{7f}',
            '\u{80}',
            '\u{7ff}',
            '\u{800}',
            '\u{d7ff}',
            '\u{e000}',
            '\u{f8ff}',
            '\u{ffff}',
            '\u{10000}',
            '\u{10001}',
            '\u{1f600}',
            '\u{10ffff}',
        ];
        let mut texts = alloc::vec![String::new()];
        for x in characters {
            texts.push(x.into());
            texts.extend(characters.map(|y| [x, y].iter().collect::<String>()));
        }
        for a in &texts {
            for b in &texts {
                let wanted = a.encode_utf16().cmp(b.encode_utf16());
                assert_eq!(compare_keys(a, b), wanted, "{a:?} {b:?}");
            }
        }
    }
}
