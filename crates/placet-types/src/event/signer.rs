//! The events about the keys that sign the log itself: a handover from one to the next, the
//! revocation of a former one, and a log that goes on under another name. They carry text as it was signed; whether signatures are good is
//! checked by those who know them.

use super::read::Reader;
use super::{ActorRef, EntryError};
use crate::ids::DecisionId;
use crate::json::Writer;
use alloc::string::{String, ToString};

/// `signer.rotated`: trees of up to as many entries as stand before this one are signed by the old
/// key, all larger ones by the new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerRotated {
    /// Who rotated; absent where a start completes what a crash has cut short.
    pub by: Option<ActorRef>,
    /// The decision that permitted it. It stands in the log of the first workspace.
    pub decision: Option<DecisionId>,
    /// Verifier key that begins (C2SP signed note).
    pub new: String,
    /// The handover note, signed by both keys. Its size is the index of this entry.
    pub note: String,
    /// Verifier key that ceases.
    pub old: String,
}

impl SignerRotated {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str_opt("by", self.by.as_ref().map(ActorRef::as_str));
        w.str_opt("decision", self.decision.map(|id| id.to_string()).as_deref());
        w.str("new", &self.new);
        w.str("note", &self.note);
        w.str("old", &self.old);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            by: r.parsed_opt("by", ActorRef::parse)?,
            decision: r.parsed_opt("decision", DecisionId::parse)?,
            new: r.str("new")?,
            note: r.str("note")?,
            old: r.str("old")?,
        })
    }
}

/// `signer.revoked`: what this key signed counts no more, or no more from a size on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerRevoked {
    /// Who revoked it.
    pub by: ActorRef,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
    /// What it signed of fewer entries stays good; without it, nothing does.
    pub from_size: Option<u64>,
    /// Verifier key of a former signer of this log.
    pub vkey: String,
}

impl SignerRevoked {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str_opt("decision", self.decision.map(|id| id.to_string()).as_deref());
        w.uint_opt("from_size", self.from_size);
        w.str("vkey", &self.vkey);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            by: r.parsed("by", ActorRef::parse)?,
            decision: r.parsed_opt("decision", DecisionId::parse)?,
            from_size: r.uint_opt("from_size")?,
            vkey: r.str("vkey")?,
        })
    }
}

/// `log.succeeded`: signed entries were lost, and the log goes on from this one under another name.
/// Whatever tree holds this entry is signed under the new name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSucceeded {
    /// Verifier key that begins; its name is the new origin.
    pub new: String,
    /// The succession, signed by both keys. Its size is the index of this entry.
    pub note: String,
    /// Verifier key of the predecessor.
    pub old: String,
    /// Entries that the predecessor had signed, as far as is known.
    pub signed: Option<u64>,
}

impl LogSucceeded {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("new", &self.new);
        w.str("note", &self.note);
        w.str("old", &self.old);
        w.uint_opt("signed", self.signed);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            new: r.str("new")?,
            note: r.str("note")?,
            old: r.str("old")?,
            signed: r.uint_opt("signed")?,
        })
    }
}
