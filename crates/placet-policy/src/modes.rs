//! `modes:`: where gates may proceed as if they had not asked. Owns which surface and environment that is;
//! refuses to know what is decided, and whether enough people have published it.

use crate::pattern::{self, Dialect, Pattern};
use placet_types::json::Value;
use std::collections::BTreeMap;

/// Where a bundle is not enforced.
#[derive(Debug, Default)]
pub(crate) struct Modes {
    shadow: Vec<Place>,
    enforce: Vec<Place>,
}

/// Surfaces in environments.
#[derive(Debug)]
struct Place {
    surfaces: Vec<(String, Pattern)>,
    environments: Vec<String>,
}

impl Modes {
    /// From documents that were checked.
    pub(crate) fn of(documents: &BTreeMap<&'static str, Value>) -> Self {
        let mut all = Self::default();
        let entries = documents.get("modes").and_then(Value::as_array).unwrap_or_default();
        for entry in entries {
            let texts = |key: &str| {
                let list = entry.get(key).and_then(Value::as_array).unwrap_or_default();
                list.iter().filter_map(Value::as_str).map(str::to_owned)
            };
            let shadow = entry.get("mode").and_then(Value::as_str) == Some("shadow");
            let parsed = |text: String| {
                // INVARIANT: patterns were parsed when the document was read. One that is none is enforced.
                let pattern = Dialect::Dotted.parse(&text).ok();
                pattern.or((!shadow).then_some(Pattern::Any)).map(|pattern| (text, pattern))
            };
            let place = Place {
                surfaces: texts("surfaces").filter_map(parsed).collect(),
                environments: texts("environments").collect(),
            };
            if shadow { all.shadow.push(place) } else { all.enforce.push(place) }
        }
        all
    }

    /// Whether a surface is not enforced in an environment: a mode says so, and none says otherwise.
    pub(crate) fn is_shadow(&self, surface: &str, environment: &str) -> bool {
        let is = |place: &Place| place.is(surface, environment);
        self.shadow.iter().any(is) && !self.enforce.iter().any(is)
    }
}

impl Place {
    fn is(&self, surface: &str, environment: &str) -> bool {
        self.environments.iter().any(|it| it == "*" || it == environment)
            && self.surfaces.iter().any(|(text, pattern)| match pattern {
                Pattern::Literal => surface == text,
                Pattern::Any => true,
                Pattern::Segments(segments) => pattern::matches(segments, surface.split('.')),
            })
    }
}
