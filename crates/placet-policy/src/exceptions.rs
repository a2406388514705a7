//! What a bundle allows of exceptions, for whoever opens them. Owns which limits one has to keep; refuses
//! to know time, people and what is waived.

use crate::pattern::{self, Dialect, Pattern};
use placet_types::json::{Object, Value};
use std::collections::{BTreeMap, BTreeSet};

const HOUR_MS: u64 = 3_600_000;
/// Bounds where the bundle names none, in milliseconds.
const DEFAULT_MS: u64 = HOUR_MS;
const MAX_MS: u64 = 4 * HOUR_MS;
const REVIEW_MS: u64 = 24 * HOUR_MS;
const GLASS_MAX_MS: u64 = HOUR_MS / 2;
const GLASS_REVIEW_MS: u64 = 8 * HOUR_MS;

/// What a bundle allows of exceptions.
#[derive(Debug)]
pub struct ExceptionPolicy {
    roles: BTreeSet<String>,
    default_ms: u64,
    max_ms: u64,
    review_ms: u64,
    glass: Option<Glass>,
    limits: Vec<Limit>,
}

#[derive(Debug)]
struct Glass {
    roles: BTreeSet<String>,
    max_ms: u64,
    review_ms: u64,
}

#[derive(Debug)]
struct Limit {
    surface: Option<(String, Pattern)>,
    environment: Option<String>,
    max_ms: u64,
}

/// What is allowed of one exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionAllowed {
    /// Who may open it.
    pub roles: BTreeSet<String>,
    /// How long it lasts where nobody says, in milliseconds.
    pub default_ms: u64,
    /// How long it may last.
    pub max_ms: u64,
    /// How long after its end its review is due, and at the latest.
    pub review_ms: u64,
}

impl Default for ExceptionPolicy {
    /// What holds without any document.
    fn default() -> Self {
        Self::read(&Object::new())
    }
}

impl ExceptionPolicy {
    /// From documents that were checked.
    pub(crate) fn of(documents: &BTreeMap<&'static str, Value>) -> Self {
        match documents.get("exceptions").and_then(Value::as_object) {
            Some(object) => Self::read(object),
            None => Self::default(),
        }
    }

    fn read(of: &Object) -> Self {
        let ms = |of: &Object, key: &str, default| {
            of.get(key).and_then(Value::as_u64).unwrap_or(default)
        };
        let roles = |of: &Object| -> Option<BTreeSet<String>> {
            let all = of.get("roles")?.as_array()?;
            Some(all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        let everybody = || crate::documents::exceptions::OPENERS.map(str::to_owned).into();
        let max_ms = ms(of, "max", MAX_MS);
        let review_ms = ms(of, "review", REVIEW_MS);
        let glass = of.get("break_glass").and_then(Value::as_object).map(|it| Glass {
            roles: roles(it).unwrap_or_default(),
            max_ms: ms(it, "max", GLASS_MAX_MS).min(max_ms),
            review_ms: ms(it, "review", GLASS_REVIEW_MS).min(review_ms),
        });
        let limits = of.get("limits").and_then(Value::as_array).unwrap_or_default();
        Self {
            roles: roles(of).unwrap_or_else(everybody),
            default_ms: ms(of, "default", DEFAULT_MS).min(max_ms),
            max_ms,
            review_ms,
            glass,
            limits: limits.iter().filter_map(Value::as_object).map(limit).collect(),
        }
    }

    /// What is allowed of an exception over `surface`, over every surface where it is `None`, in
    /// `environment` or in all of them.
    #[must_use]
    pub fn allowed(
        &self,
        surface: Option<&str>,
        environment: Option<&str>,
        break_glass: bool,
    ) -> ExceptionAllowed {
        let reaches = |limit: &&Limit| {
            let here = match (surface, &limit.surface) {
                (Some(name), Some(pattern)) => is_in(name, pattern),
                _ => true,
            };
            let there = limit.environment.as_deref();
            here && environment.is_none_or(|name| there.is_none_or(|it| it == name))
        };
        let limit = self.limits.iter().filter(reaches).map(|it| it.max_ms).min();
        let (roles, max_ms, review_ms) = match (break_glass, &self.glass) {
            (false, _) => (self.roles.clone(), self.max_ms, self.review_ms),
            (true, Some(it)) => (it.roles.clone(), it.max_ms, it.review_ms),
            (true, None) => (BTreeSet::new(), 0, self.review_ms),
        };
        let max_ms = limit.map_or(max_ms, |limit| limit.min(max_ms));
        ExceptionAllowed { roles, default_ms: self.default_ms.min(max_ms), max_ms, review_ms }
    }
}

fn limit(of: &Object) -> Limit {
    let text = |key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    Limit {
        // INVARIANT: the pattern was parsed when the document was read; one that is none bounds everything.
        surface: text("surface")
            .and_then(|it| Some((it.clone(), Dialect::Dotted.parse(&it).ok()?))),
        environment: text("environment"),
        // What says nothing allows nothing.
        max_ms: match of.get("none").and_then(Value::as_bool) {
            Some(true) => 0,
            _ => of.get("max").and_then(Value::as_u64).unwrap_or(0),
        },
    }
}

fn is_in(surface: &str, (text, pattern): &(String, Pattern)) -> bool {
    match pattern {
        Pattern::Literal => surface == text,
        Pattern::Any => true,
        Pattern::Segments(segments) => pattern::matches(segments, surface.split('.')),
    }
}
