//! Constraint keys and the meet of each: minimum, intersection, union of what is denied, and,
//! highest level, narrower bounds. Owns what a key means; the gate enforces it.

use crate::json::{Number, Object, Value};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Integer limits: the meet is the minimum.
const LIMITS: [&str; 6] = [
    "max_artifact_bytes",
    "max_concurrent",
    "max_output_bytes",
    "max_output_tokens",
    "max_retries",
    "max_runtime_sec",
];
/// Allow lists: the meet is the intersection, and an empty one is a conflict.
const ALLOW_LISTS: [&str; 5] =
    ["allowed_commands", "allowed_destinations", "allowed_paths", "allowed_tools", "models"];

/// How much of an output or argument is masked, from nothing to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RedactionLevel {
    /// Nothing.
    None,
    /// Credentials and keys.
    Secrets,
    /// Secrets and personal data.
    Personal,
    /// Everything.
    Full,
}

impl RedactionLevel {
    const ALL: [Self; 4] = [Self::None, Self::Secrets, Self::Personal, Self::Full];

    /// `none`, `secrets`, `personal`, `full`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Secrets => "secrets",
            Self::Personal => "personal",
            Self::Full => "full",
        }
    }
}

/// Bounds of one argument, named by a JSON pointer (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Smallest integer allowed.
    pub min: Option<i64>,
    /// Largest integer allowed.
    pub max: Option<i64>,
    /// The strings allowed.
    pub one_of: Option<BTreeSet<String>>,
}

/// What a permit obliges the gate to enforce.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constraints {
    limits: BTreeMap<&'static str, u64>,
    allowed: BTreeMap<&'static str, BTreeSet<String>>,
    denied_paths: BTreeSet<String>,
    read_only: bool,
    redaction: Option<RedactionLevel>,
    arguments: BTreeMap<String, Bounds>,
}

/// Why constraints are refused or cannot be united.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstraintError {
    key: String,
    expected: &'static str,
}

impl ConstraintError {
    /// The offending key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    fn new<T>(key: &str, expected: &'static str) -> Result<T, Self> {
        Err(Self { key: key.to_string(), expected })
    }
}

impl fmt::Display for ConstraintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "constraint {:?}: {}", self.key, self.expected)
    }
}

impl core::error::Error for ConstraintError {}

impl Constraints {
    /// All keys, for "did you mean".
    pub const KEYS: [&str; 15] = [
        "allowed_commands",
        "allowed_destinations",
        "allowed_paths",
        "allowed_tools",
        "arguments",
        "denied_paths",
        "max_artifact_bytes",
        "max_concurrent",
        "max_output_bytes",
        "max_output_tokens",
        "max_retries",
        "max_runtime_sec",
        "models",
        "read_only",
        "redaction",
    ];

    /// From the object under `constraints:`; unknown keys are refused.
    ///
    /// # Errors
    /// [`ConstraintError`] names the key and what it takes.
    pub fn from_object(object: &Object) -> Result<Self, ConstraintError> {
        let mut out = Self::default();
        for (key, value) in object.iter() {
            if let Some(name) = LIMITS.iter().find(|name| **name == key) {
                match value.as_u64() {
                    Some(limit) => out.limits.insert(name, limit),
                    None => return ConstraintError::new(key, "takes an integer from 0 to 2^53"),
                };
            } else if let Some(name) = ALLOW_LISTS.iter().find(|name| **name == key) {
                out.allowed.insert(name, strings(key, value)?);
            } else {
                match key {
                    "denied_paths" => out.denied_paths = strings(key, value)?,
                    "read_only" => match value.as_bool() {
                        Some(flag) => out.read_only = flag,
                        None => return ConstraintError::new(key, "takes true or false"),
                    },
                    "redaction" => {
                        let level = value.as_str().and_then(|text| {
                            RedactionLevel::ALL.into_iter().find(|level| level.as_str() == text)
                        });
                        match level {
                            Some(level) => out.redaction = Some(level),
                            None => {
                                return ConstraintError::new(
                                    key,
                                    "takes none, secrets, personal or full",
                                );
                            }
                        }
                    }
                    "arguments" => out.arguments = bounds(key, value)?,
                    _ => return ConstraintError::new(key, "is not a constraint"),
                }
            }
        }
        Ok(out)
    }

    /// Whether nothing is constrained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limit under an integer key such as `max_runtime_sec`.
    #[must_use]
    pub fn limit(&self, key: &str) -> Option<u64> {
        self.limits.get(key).copied()
    }

    /// Unites with `other`. The order of meets does not matter.
    ///
    /// # Errors
    /// The key whose meet is empty.
    pub fn meet(&mut self, other: &Self) -> Result<(), ConstraintError> {
        for (key, limit) in &other.limits {
            let least = self.limits.entry(key).or_insert(*limit);
            *least = (*least).min(*limit);
        }
        for (key, theirs) in &other.allowed {
            let met = match self.allowed.get(key) {
                None => theirs.clone(),
                Some(ours) => intersect(key, ours, theirs),
            };
            if met.is_empty() {
                return ConstraintError::new(key, "no value satisfies all rules");
            }
            self.allowed.insert(key, met);
        }
        self.denied_paths.extend(other.denied_paths.iter().cloned());
        self.read_only |= other.read_only;
        self.redaction = self.redaction.max(other.redaction);
        for (pointer, theirs) in &other.arguments {
            let ours = self.arguments.entry(pointer.clone()).or_default();
            ours.min = ours.min.max(theirs.min);
            ours.max = match (ours.max, theirs.max) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            ours.one_of = match (ours.one_of.take(), &theirs.one_of) {
                (Some(a), Some(b)) => Some(a.intersection(b).cloned().collect()),
                (a, b) => a.or_else(|| b.clone()),
            };
            let empty_range = matches!((ours.min, ours.max), (Some(min), Some(max)) if min > max);
            if empty_range || ours.one_of.as_ref().is_some_and(BTreeSet::is_empty) {
                return ConstraintError::new(pointer, "no value satisfies all rules");
            }
        }
        Ok(())
    }

    /// The canonical object: what entries, permits and answers show.
    #[must_use]
    pub fn to_object(&self) -> Object {
        let mut out = Object::new();
        let list = |set: &BTreeSet<String>| -> Value {
            Value::Array(set.iter().map(|text| Value::from(text.as_str())).collect())
        };
        for (key, limit) in &self.limits {
            out.set(*key, *limit);
        }
        for (key, set) in &self.allowed {
            out.set(*key, list(set));
        }
        if !self.denied_paths.is_empty() {
            out.set("denied_paths", list(&self.denied_paths));
        }
        if self.read_only {
            out.set("read_only", true);
        }
        if let Some(level) = self.redaction {
            out.set("redaction", level.as_str());
        }
        if !self.arguments.is_empty() {
            let mut arguments = Object::new();
            for (pointer, bounds) in &self.arguments {
                let object = Object::new()
                    .with_opt("max", bounds.max)
                    .with_opt("min", bounds.min)
                    .with_opt("one_of", bounds.one_of.as_ref().map(list));
                arguments.set(pointer.as_str(), object);
            }
            out.set("arguments", arguments);
        }
        out
    }
}

fn strings(key: &str, value: &Value) -> Result<BTreeSet<String>, ConstraintError> {
    let Some(items) = value.as_array() else {
        return ConstraintError::new(key, "takes a list of strings");
    };
    let mut out = BTreeSet::new();
    for item in items {
        match item.as_str() {
            Some(text) if !text.is_empty() && text.len() <= 512 => {
                out.insert(text.to_string());
            }
            _ => return ConstraintError::new(key, "takes a list of strings of 1 to 512 bytes"),
        }
    }
    if out.is_empty() {
        return ConstraintError::new(key, "must not be empty; leave it out instead");
    }
    Ok(out)
}

fn bounds(key: &str, value: &Value) -> Result<BTreeMap<String, Bounds>, ConstraintError> {
    let Some(object) = value.as_object() else {
        return ConstraintError::new(key, "takes an object of JSON pointers");
    };
    let mut out = BTreeMap::new();
    for (pointer, value) in object.iter() {
        if !pointer.starts_with('/') {
            return ConstraintError::new(pointer, "is no JSON pointer: it starts with '/'");
        }
        let Some(members) = value.as_object() else {
            return ConstraintError::new(pointer, "takes an object with min, max or one_of");
        };
        let mut bounds = Bounds::default();
        for (name, value) in members.iter() {
            let int = value.as_i64();
            match name {
                "min" if int.is_some() => bounds.min = int,
                "max" if int.is_some() => bounds.max = int,
                "one_of" => bounds.one_of = Some(strings(pointer, value)?),
                "min" | "max" => return ConstraintError::new(pointer, "min and max are integers"),
                _ => return ConstraintError::new(pointer, "takes min, max and one_of alone"),
            }
        }
        if matches!((bounds.min, bounds.max), (Some(min), Some(max)) if min > max) {
            return ConstraintError::new(pointer, "min is above max");
        }
        if bounds == Bounds::default() {
            return ConstraintError::new(pointer, "takes min, max or one_of");
        }
        out.insert(pointer.to_string(), bounds);
    }
    Ok(out)
}

/// Elements of either set that an element of the other covers: the common part of two allow lists
/// whose elements may be patterns. It never holds more than both allow.
fn intersect(key: &str, a: &BTreeSet<String>, b: &BTreeSet<String>) -> BTreeSet<String> {
    let covered =
        |item: &String, by: &BTreeSet<String>| by.iter().any(|wide| covers(key, wide, item));
    let of_a = a.iter().filter(|item| covered(item, b));
    let of_b = b.iter().filter(|item| covered(item, a));
    let all: BTreeSet<String> = of_a.chain(of_b).cloned().collect();
    // Only the minimal ones: an element covered by another of the result adds nothing. Keeping them
    // would make the result depend on how often a set was met.
    let redundant =
        |item: &String| all.iter().any(|other| other != item && covers(key, other, item));
    let kept: Vec<_> = all.iter().filter(|item| !redundant(item)).cloned().collect();
    kept.into_iter().collect()
}

/// Whether the pattern `wide` certainly allows everything that `narrow` allows. `dir/**` covers
/// what lies below `dir/`; `*.host` covers its subdomains; otherwise equality.
fn covers(key: &str, wide: &str, narrow: &str) -> bool {
    if wide == narrow {
        return true;
    }
    match key {
        "allowed_paths" => wide.strip_suffix("**").is_some_and(|prefix| {
            (prefix.is_empty() || prefix.ends_with('/'))
                && !prefix.contains(['*', '?', '[', '\\'])
                && narrow.starts_with(prefix)
                && !narrow.split('/').any(|segment| segment == "..")
        }),
        "allowed_destinations" => wide
            .strip_prefix('*')
            .is_some_and(|suffix| suffix.starts_with('.') && narrow.ends_with(suffix)),
        _ => false,
    }
}

impl Bounds {
    /// Whether `value` lies within.
    #[must_use]
    pub fn admits(&self, value: &Value) -> bool {
        let number = |bound: i64| Number::from_i64(bound);
        let in_range = |value: &Number| {
            self.min.is_none_or(|min| *value >= number(min))
                && self.max.is_none_or(|max| *value <= number(max))
        };
        match value {
            Value::Number(value) => self.one_of.is_none() && in_range(value),
            Value::String(text) => {
                self.min.is_none()
                    && self.max.is_none()
                    && self.one_of.as_ref().is_none_or(|set| set.contains(text))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Constraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{}", Value::Object(self.to_object())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Limits, parse};

    fn of(text: &str) -> Constraints {
        let value = parse(text.as_bytes(), Limits::DOCUMENT).unwrap();
        Constraints::from_object(value.as_object().unwrap()).unwrap()
    }

    #[track_caller]
    fn check(a: &str, b: &str, met: &str) {
        for (a, b) in [(a, b), (b, a)] {
            let mut out = of(a);
            let text = match out.meet(&of(b)) {
                Ok(()) => out.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(text, met, "{a} meet {b}");
        }
    }

    #[test]
    fn each_key_has_its_meet() {
        check(r#"{"max_retries":3}"#, r#"{"max_retries":1}"#, r#"{"max_retries":1}"#);
        check(r#"{"read_only":true}"#, r#"{"read_only":false}"#, r#"{"read_only":true}"#);
        check(r#"{"redaction":"secrets"}"#, r#"{"redaction":"full"}"#, r#"{"redaction":"full"}"#);
        check(
            r#"{"denied_paths":["a"]}"#,
            r#"{"denied_paths":["b"]}"#,
            r#"{"denied_paths":["a","b"]}"#,
        );
        check(r#"{"models":["a","b"]}"#, r#"{"models":["b","c"]}"#, r#"{"models":["b"]}"#);
        check(
            r#"{"models":["a"]}"#,
            r#"{"models":["c"]}"#,
            r#"constraint "models": no value satisfies all rules"#,
        );
        check(
            r#"{"allowed_paths":["src/**","docs/a.md"]}"#,
            r#"{"allowed_paths":["src/lib/**","docs/**"]}"#,
            r#"{"allowed_paths":["docs/a.md","src/lib/**"]}"#,
        );
        check(
            r#"{"allowed_destinations":["*.bank.example"]}"#,
            r#"{"allowed_destinations":["api.bank.example","evil.example"]}"#,
            r#"{"allowed_destinations":["api.bank.example"]}"#,
        );
        check(
            r#"{"arguments":{"/n":{"min":1,"max":9}}}"#,
            r#"{"arguments":{"/n":{"max":5}}}"#,
            r#"{"arguments":{"/n":{"max":5,"min":1}}}"#,
        );
        check(
            r#"{"arguments":{"/n":{"min":6}}}"#,
            r#"{"arguments":{"/n":{"max":5}}}"#,
            r#"constraint "/n": no value satisfies all rules"#,
        );
    }

    #[test]
    fn unknown_keys_do_not_compile() {
        let value = parse(br#"{"max_runtime":1}"#, Limits::DOCUMENT).unwrap();
        let error = Constraints::from_object(value.as_object().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "constraint \"max_runtime\": is not a constraint");
    }
}
