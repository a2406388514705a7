//! Events about evidence: what somebody vouches for, what they take back, and the keys that issuers sign
//! with. They name types, digests and pseudonyms; reports, envelopes and notes travel beside them.

use super::read::Reader;
use super::{ActorRef, EntryError};
use crate::evidence::is_evidence_type;
use crate::hash::Digest;
use crate::ids::{DecisionId, EvidenceId, TimeMs};
use crate::json::Writer;
use alloc::string::{String, ToString};

/// `evidence.added`: somebody vouches for something about a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceAdded {
    /// Its id: time and index of this entry.
    pub evidence: EvidenceId,
    /// Who brought it.
    pub by: ActorRef,
    /// Digest of the evidence itself.
    pub digest: Digest,
    /// From this instant on it counts no more.
    pub expires: TimeMs,
    /// When it was issued.
    pub issued: TimeMs,
    /// Who vouches for it: whoever brought it, or whose key signed it.
    pub issuer: ActorRef,
    /// Verifier key of the issuer that signed it.
    pub key: Option<String>,
    /// Its type, as [`is_evidence_type`] knows it.
    pub kind: String,
    /// Digest of what it speaks of.
    pub subject: Digest,
}

/// `evidence.revoked`: a piece counts no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRevoked {
    /// The piece.
    pub evidence: EvidenceId,
    /// Who took it back.
    pub by: ActorRef,
    /// Code of the matter.
    pub reason: String,
}

/// `issuer.trusted`, `issuer.revoked`: what this key signs is, or is no more, the word of its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerKey {
    /// Who said so.
    pub by: ActorRef,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
    /// Whose key it is.
    pub issuer: ActorRef,
    /// Verifier key.
    pub key: String,
}

impl EvidenceAdded {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.digest("digest", &self.digest);
        w.str("evidence", &self.evidence.to_string());
        w.uint("expires_ms", self.expires.0);
        w.uint("issued_ms", self.issued.0);
        w.str("issuer", self.issuer.as_str());
        w.str_opt("key", self.key.as_deref());
        w.str("kind", &self.kind);
        w.digest("subject", &self.subject);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            evidence: r.parsed("evidence", EvidenceId::parse)?,
            by: r.parsed("by", ActorRef::parse)?,
            digest: r.digest("digest")?,
            expires: TimeMs(r.uint("expires_ms")?),
            issued: TimeMs(r.uint("issued_ms")?),
            issuer: r.parsed("issuer", ActorRef::parse)?,
            key: r.str_opt("key")?,
            kind: r.parsed("kind", |it| is_evidence_type(it).then(|| it.to_string()))?,
            subject: r.digest("subject")?,
        })
    }
}

impl EvidenceRevoked {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str("evidence", &self.evidence.to_string());
        w.str("reason", &self.reason);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            evidence: r.parsed("evidence", EvidenceId::parse)?,
            by: r.parsed("by", ActorRef::parse)?,
            reason: r.str("reason")?,
        })
    }
}

impl IssuerKey {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str_opt("decision", self.decision.map(|id| id.to_string()).as_deref());
        w.str("issuer", self.issuer.as_str());
        w.str("key", &self.key);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            by: r.parsed("by", ActorRef::parse)?,
            decision: r.parsed_opt("decision", DecisionId::parse)?,
            issuer: r.parsed("issuer", ActorRef::parse)?,
            key: r.str("key")?,
        })
    }
}
