//! Why an uploaded bundle is refused, place by place.

use placet_policy::Diagnostic;
use placet_types::json::{Object, Value};
use std::fmt;

/// Everything that is wrong with a bundle.
#[derive(Clone, Debug)]
pub enum BundleRefusal {
    /// There is no document in it.
    Empty,
    /// It does not compile.
    Invalid(Vec<Diagnostic>),
    /// It compiles, and cases that it brought come out otherwise.
    Cases(Vec<String>),
}

impl BundleRefusal {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "bundle_empty",
            Self::Invalid(_) => "bundle_invalid",
            Self::Cases(_) => "bundle_untrue",
        }
    }

    /// Each finding as an object.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Value> {
        match self {
            Self::Empty => Vec::new(),
            Self::Invalid(found) => found.iter().map(|one| Value::Object(one.to_value())).collect(),
            Self::Cases(found) => {
                let object = |text: &String| Object::new().with("message", text.as_str());
                found.iter().map(|text| Value::Object(object(text))).collect()
            }
        }
    }
}

impl fmt::Display for BundleRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, first, what) = match self {
            Self::Empty => {
                return f.write_str(
                    "there is no document in the bundle; one that grants nothing says `rules: []`",
                );
            }
            Self::Invalid(found) => {
                (found.len(), found.first().map(ToString::to_string), "does not compile")
            }
            Self::Cases(found) => (found.len(), found.first().cloned(), "fails its own cases"),
        };
        write!(f, "the bundle {what} ({count} findings)")?;
        match first {
            Some(first) => write!(f, ": {first}"),
            None => Ok(()),
        }
    }
}
