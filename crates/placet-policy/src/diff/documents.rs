//! What was added, removed and altered, by the normal forms alone: rules by their ids, everything else
//! by the names under its top key. Refuses to know what any of it means.

use crate::bundle::Bundle;
use placet_types::json::{self, Limits, Object, Value};
use std::collections::{BTreeMap, BTreeSet};

/// How a rule or another named part changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Only the second bundle has it.
    Added,
    /// Only the first bundle has it.
    Removed,
    /// Both have it, and it is not the same.
    Altered,
}

impl How {
    /// `added`, `removed`, `altered`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Altered => "altered",
        }
    }
}

/// One part that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its top key: `rules`, `floor`, `surfaces` and so on.
    pub section: String,
    /// Its id or name; empty where the section has no named parts.
    pub name: String,
    /// How.
    pub how: How,
    /// For what was altered: the members that differ.
    pub members: Vec<String>,
}

impl Part {
    /// As JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let members: Vec<Value> =
            self.members.iter().map(|member| Value::from(member.as_str())).collect();
        Value::Object(
            Object::new()
                .with("section", self.section.as_str())
                .with("name", self.name.as_str())
                .with("how", self.how.as_str())
                .with_opt("members", (!members.is_empty()).then_some(members)),
        )
    }
}

/// All parts that differ, by section and name.
pub(super) fn compare(a: &Bundle, b: &Bundle) -> Vec<Part> {
    let (a, b) = (parts(a), parts(b));
    let names: BTreeSet<&(String, String)> = a.keys().chain(b.keys()).collect();
    let mut out = Vec::new();
    for key in names {
        let (how, members) = match (a.get(key), b.get(key)) {
            (None, _) => (How::Added, Vec::new()),
            (_, None) => (How::Removed, Vec::new()),
            (Some(a), Some(b)) if a != b => (How::Altered, members(a, b)),
            _ => continue,
        };
        let (section, name) = key.clone();
        out.push(Part { section, name, how, members });
    }
    out
}

fn parts(bundle: &Bundle) -> BTreeMap<(String, String), Value> {
    let mut out = BTreeMap::new();
    let Ok(Value::Object(documents)) = json::parse(bundle.normalised(), Limits::DOCUMENT) else {
        return out;
    };
    for (section, value) in documents {
        let named = |item: &Value| item.get("id").and_then(Value::as_str).map(str::to_owned);
        match value {
            Value::Object(object) => {
                // That there is such a document at all decides as well.
                if matches!(section.as_str(), "capabilities" | "roles" | "surfaces") {
                    out.insert((section.clone(), String::new()), Value::Null);
                }
                for (name, value) in object {
                    out.insert((section.clone(), name), value);
                }
            }
            Value::Array(items) if items.iter().all(|item| named(item).is_some()) => {
                for item in items {
                    out.insert((section.clone(), named(&item).unwrap_or_default()), item);
                }
            }
            other => {
                out.insert((section, String::new()), other);
            }
        }
    }
    out
}

fn members(a: &Value, b: &Value) -> Vec<String> {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return Vec::new() };
    let names: BTreeSet<&str> = a.iter().chain(b.iter()).map(|(name, _)| name).collect();
    names.into_iter().filter(|name| a.get(name) != b.get(name)).map(str::to_owned).collect()
}
