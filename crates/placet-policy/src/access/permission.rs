//! Permissions: `verb:surfaces` or `verb:surfaces/actions`. Owns their form and what they cover.

use crate::model::{Match, MatchKey};
use crate::pattern::{Dialect, Pattern, matches};

/// What a permission is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    /// Asking that an action be executed.
    Propose,
    /// Approving what another has proposed.
    Approve,
    /// Actions that change nothing.
    Read,
}

impl Verb {
    pub(crate) const WORDS: [&'static str; 3] = ["propose", "approve", "read"];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Propose => "propose",
            Self::Approve => "approve",
            Self::Read => "read",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Propose, Self::Approve, Self::Read].into_iter().find(|verb| verb.as_str() == text)
    }
}

/// A permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permission {
    pub(crate) verb: Verb,
    pub(crate) surfaces: String,
    /// `None` for any action.
    pub(crate) actions: Option<String>,
}

impl Permission {
    /// Parses one.
    ///
    /// # Errors
    /// Why it is none, in a few words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (verb, rest) = text.split_once(':').ok_or("there is no colon after a verb")?;
        let verb = Verb::parse(verb).ok_or_else(|| {
            format!("unknown verb `{verb}`; verbs are {}", Verb::WORDS.join(", "))
        })?;
        let (surfaces, actions) = match rest.split_once('/') {
            Some((surfaces, actions)) => (surfaces, Some(actions)),
            None => (rest, None),
        };
        for pattern in [Some(surfaces), actions].into_iter().flatten() {
            Dialect::Dotted.parse(pattern).map_err(|refusal| refusal.message)?;
        }
        Ok(Self { verb, surfaces: surfaces.to_owned(), actions: actions.map(str::to_owned) })
    }

    pub(crate) fn text(&self) -> String {
        let actions = self.actions.as_ref().map(|it| format!("/{it}")).unwrap_or_default();
        format!("{}:{}{actions}", self.verb.as_str(), self.surfaces)
    }

    /// What a request has to match.
    pub(crate) fn to_match(&self) -> Match {
        let mut matches = Match::default();
        matches.lists.insert(MatchKey::Surfaces, vec![self.surfaces.clone()]);
        if let Some(actions) = &self.actions {
            matches.lists.insert(MatchKey::Actions, vec![actions.clone()]);
        }
        matches
    }

    /// Whether it speaks of this action on this surface.
    pub(crate) fn covers(&self, surface: &str, action: &str) -> bool {
        let fits = |pattern: &str, value: &str| match Dialect::Dotted.parse(pattern) {
            Ok(Pattern::Literal) => pattern == value,
            Ok(Pattern::Any) => true,
            Ok(Pattern::Segments(segments)) => matches(&segments, Dialect::Dotted.split(value)),
            Err(_) => false,
        };
        fits(&self.surfaces, surface)
            && self.actions.as_deref().is_none_or(|actions| fits(actions, action))
    }
}
