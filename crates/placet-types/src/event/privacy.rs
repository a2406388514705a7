//! The events about payloads as such: erasing and legal holds. They name indices, decisions and
//! tags, never a person; what they do to state is elsewhere.

use super::read::Reader;
use super::{ActorRef, EntryError, Tag};
use crate::hash::Digest;
use crate::ids::{DecisionId, HoldId};
use crate::json::Writer;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// `payload.erased`: from this entry on the keys of these payloads are to be destroyed, and after a
/// crash they still are: the list is always whole, so the log alone says what has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadErased {
    /// Who erased; absent where the retention of the policy in force did.
    pub by: Option<ActorRef>,
    /// The decision that permitted it; absent for retention.
    pub decision: Option<DecisionId>,
    /// Indices of the entries whose payloads are erased, ascending, at least one.
    pub indices: Vec<u64>,
    /// The bundle whose retention was applied.
    pub policy: Option<Digest>,
    /// Code of the legal basis, a name as [`is_reason`](Self::is_reason) knows it.
    pub reason: String,
    /// Before the surface's retention had ended, for a reason that the policy names as lawful.
    pub early: bool,
}

impl PayloadErased {
    /// Most payloads of one entry; more take several entries.
    pub const INDICES_MAX: usize = 512;

    /// Whether `text` may stand as a legal basis or as the reason of a hold: 1 to 64 lower-case
    /// letters, digits, `.`, `_` and `-`. A code, so that nobody is tempted to name a person.
    #[must_use]
    pub fn is_reason(text: &str) -> bool {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        (1..=64).contains(&text.len()) && text.bytes().all(fits)
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str_opt("by", self.by.as_ref().map(ActorRef::as_str));
        w.str_opt("decision", self.decision.map(|id| id.to_string()).as_deref());
        w.flag("early", self.early);
        w.uints("indices", &self.indices);
        w.digest_opt("policy", self.policy.as_ref());
        w.str("reason", &self.reason);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let indices = r.uints("indices")?;
        let ascending = indices.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        if !ascending || !(1..=Self::INDICES_MAX).contains(&indices.len()) {
            return Err(EntryError::new("indices are not 1 to 512 ascending numbers"));
        }
        Ok(Self {
            by: r.parsed_opt("by", ActorRef::parse)?,
            decision: r.parsed_opt("decision", DecisionId::parse)?,
            indices,
            policy: r.digest_opt("policy")?,
            reason: reason(r)?,
            early: r.flag("early")?,
        })
    }
}

/// What a legal hold keeps from being erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldScope {
    /// Everything in the workspace.
    Workspace,
    /// The payloads of one decision.
    Decision(DecisionId),
    /// The payloads of decisions that name this subject.
    Subject(Tag),
}

impl HoldScope {
    /// `workspace`, `decision` or `subject`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Decision(_) => "decision",
            Self::Subject(_) => "subject",
        }
    }
}

/// `hold.placed`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldPlaced {
    /// Its id.
    pub hold: HoldId,
    /// What it keeps.
    pub scope: HoldScope,
    /// Who placed it.
    pub by: ActorRef,
    /// Code of the matter.
    pub reason: String,
}

impl HoldPlaced {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        if let HoldScope::Decision(decision) = &self.scope {
            w.str("decision", &decision.to_string());
        }
        w.str("hold", &self.hold.to_string());
        w.str("reason", &self.reason);
        w.str("scope", self.scope.as_str());
        if let HoldScope::Subject(tag) = &self.scope {
            w.hex_member("subject", tag);
        }
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let scope = match r.str("scope")?.as_str() {
            "workspace" => HoldScope::Workspace,
            "decision" => HoldScope::Decision(r.parsed("decision", DecisionId::parse)?),
            "subject" => HoldScope::Subject(r.bytes("subject")?),
            _ => return Err(EntryError::new("unknown scope of a hold")),
        };
        Ok(Self {
            hold: r.parsed("hold", HoldId::parse)?,
            scope,
            by: r.parsed("by", ActorRef::parse)?,
            reason: reason(r)?,
        })
    }
}

/// `hold.released`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldReleased {
    /// The hold.
    pub hold: HoldId,
    /// Who released it.
    pub by: ActorRef,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
}

impl HoldReleased {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str_opt("decision", self.decision.map(|id| id.to_string()).as_deref());
        w.str("hold", &self.hold.to_string());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            hold: r.parsed("hold", HoldId::parse)?,
            by: r.parsed("by", ActorRef::parse)?,
            decision: r.parsed_opt("decision", DecisionId::parse)?,
        })
    }
}

pub(super) fn reason(r: &mut Reader) -> Result<String, EntryError> {
    r.parsed("reason", |text| PayloadErased::is_reason(text).then(|| text.to_string()))
}
