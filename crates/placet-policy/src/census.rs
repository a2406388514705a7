//! What a bundle declares, as whoever looks for holes reads it: who answers for what, the surfaces, the
//! rules, and where less than everything is enforced. Owns that view; refuses to know what was decided.

use crate::bundle::Bundle;
use placet_types::json::{self, Limits, Value};
use placet_types::surface::SurfacePattern;
use std::collections::BTreeMap;

/// Kinds of documents whose entries stand under their names.
const NAMED: [&str; 3] = ["capabilities", "roles", "surfaces"];

/// What a bundle declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Every entry that can say who answers for it, by document and id.
    pub owned: Vec<Owned>,
    /// The listed surfaces by name, with the environments in which their gates may proceed without a
    /// decision, and why.
    pub surfaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Rules as entries name them, with their documents.
    pub rules: Vec<(&'static str, String)>,
    /// Where a gate proceeds whatever is decided.
    pub shadowed: Vec<Shadowed>,
}

/// An entry of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its document: `rules`.
    pub kind: String,
    /// Its id or name.
    pub id: String,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// A mode that does not enforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// Its id.
    pub id: String,
    /// Patterns of surfaces.
    pub surfaces: Vec<String>,
    /// Patterns of environments.
    pub environments: Vec<String>,
    /// Why.
    pub reason: Option<String>,
}

impl Shadowed {
    /// Whether it is about this surface. A pattern that cannot be read here may be about any.
    #[must_use]
    pub fn is_of(&self, surface: &str) -> bool {
        let mut patterns = self.surfaces.iter().map(|text| SurfacePattern::parse(text));
        patterns.any(|pattern| pattern.is_none_or(|pattern| pattern.matches(surface)))
    }
}

impl Bundle {
    /// What it declares. Reads the whole normal form, so whoever asks often keeps the answer.
    #[must_use]
    pub fn census(&self) -> Census {
        let normal = json::parse(self.normalised(), Limits::DOCUMENT).ok();
        let normal = normal.as_ref();
        let surfaces = self.model().surfaces.iter().flatten();
        let rules = self.model().rules.iter().filter(|rule| !rule.is_implied());
        Census {
            owned: normal.map(owned).unwrap_or_default(),
            surfaces: surfaces.map(|(name, it)| (name.clone(), it.open_in.clone())).collect(),
            rules: rules.map(|it| (it.effect.layer.as_str(), it.effect.id.clone())).collect(),
            shadowed: normal.map(shadowed).unwrap_or_default(),
        }
    }
}

/// Cases follow their rules, so they have nobody of their own.
fn owned(normal: &Value) -> Vec<Owned> {
    let mut all = Vec::new();
    let sections = normal.as_object().into_iter().flat_map(json::Object::iter);
    for (kind, section) in sections.filter(|(kind, _)| *kind != "tests") {
        let entries: Vec<(&str, &Value)> = match section {
            Value::Array(items) => items
                .iter()
                .filter_map(|item| Some((item.get("id").and_then(Value::as_str)?, item)))
                .collect(),
            Value::Object(members) if NAMED.contains(&kind) => members.iter().collect(),
            _ => continue,
        };
        all.extend(entries.into_iter().map(|(id, entry)| Owned {
            kind: kind.to_owned(),
            id: id.to_owned(),
            owner: entry.get("owner").and_then(Value::as_str).map(str::to_owned),
        }));
    }
    all
}

fn shadowed(normal: &Value) -> Vec<Shadowed> {
    let texts = |mode: &Value, name: &str| {
        let all = mode.get(name).and_then(Value::as_array).unwrap_or_default();
        all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let modes = normal.get("modes").and_then(Value::as_array).unwrap_or_default();
    let modes =
        modes.iter().filter(|mode| mode.get("mode").and_then(Value::as_str) != Some("enforce"));
    modes
        .map(|mode| Shadowed {
            id: mode.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            surfaces: texts(mode, "surfaces"),
            environments: texts(mode, "environments"),
            reason: mode.get("reason").and_then(Value::as_str).map(str::to_owned),
        })
        .collect()
}
