//! Shadow bundles: that one was set or cleared, and what it would have decided.

use super::read::Reader;
use super::{ActorRef, EntryError};
use crate::hash::Digest;
use crate::ids::DecisionId;
use crate::json::Writer;
use crate::policy::{Aspect, Outcome};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// `bundle.shadowed`: every decision from here on is made a second time under this bundle, for the record
/// alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleShadowed {
    /// Who asked for it.
    pub by: ActorRef,
    /// Its digest; the bytes are in the journal before this entry. `None` where there is none any more.
    pub bundle: Option<Digest>,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
    /// Version of the condition language.
    pub language: u32,
}

/// What the shadow bundle says of a decision. Nothing is recorded where it says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Would {
    /// It came to something else.
    Differ(Differing),
    /// It was not asked: it was set or cleared between evaluating and deciding.
    Skipped,
}

/// A decision under the shadow bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    /// The bundle.
    pub policy: Digest,
    /// Its outcome.
    pub outcome: Outcome,
    /// What else differs, whether or not the outcome does.
    pub aspects: Vec<Aspect>,
    /// Ids of its deciding rules, sorted, at most [`Differing::RULES_MAX`].
    pub rules: Vec<String>,
}

impl Differing {
    /// Longest list of deciding rules in an entry.
    pub const RULES_MAX: usize = 8;
}

impl Would {
    /// What it came to, where that is something else.
    #[must_use]
    pub fn differing(&self) -> Option<&Differing> {
        match self {
            Self::Differ(differing) => Some(differing),
            Self::Skipped => None,
        }
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        match self {
            Self::Differ(differing) => {
                w.strings("aspects", differing.aspects.iter().map(|aspect| aspect.as_str()));
                w.str("outcome", differing.outcome.as_str());
                w.digest("policy", &differing.policy);
                w.strings("rules", &differing.rules);
            }
            Self::Skipped => w.flag("skipped", true),
        }
    }

    pub(super) fn read(mut r: Reader) -> Result<Self, EntryError> {
        let would = if r.flag("skipped")? {
            Self::Skipped
        } else {
            let aspects = r.strings("aspects")?;
            let aspects: Option<Vec<_>> = aspects.iter().map(|text| Aspect::parse(text)).collect();
            Self::Differ(Differing {
                aspects: aspects.ok_or_else(|| EntryError::new("unknown aspect"))?,
                outcome: r.parsed("outcome", Outcome::parse)?,
                policy: r.digest("policy")?,
                rules: r.strings("rules")?,
            })
        };
        r.end()?;
        Ok(would)
    }
}

impl BundleShadowed {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.digest_opt("bundle", self.bundle.as_ref());
        w.str("by", self.by.as_str());
        w.str_opt("decision", self.decision.map(|id| id.to_string()).as_deref());
        w.uint("language", u64::from(self.language));
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            bundle: r.digest_opt("bundle")?,
            by: r.parsed("by", ActorRef::parse)?,
            decision: r.parsed_opt("decision", DecisionId::parse)?,
            language: r.count("language")?,
        })
    }
}
