//! The events of a bundle's life: drafted, armed, withdrawn; reviews of emergencies; authors whose
//! signature counts. A bundle is named by its digest, its bytes are in the journal before.

use super::read::Reader;
use super::{ActorRef, EntryError};
use crate::hash::Digest;
use crate::ids::{DecisionId, TimeMs};
use crate::json::Writer;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// How a bundle came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arming {
    /// With the workspace, at a start on an empty one, or at a start in development mode.
    Seeded,
    /// By a publication.
    Published,
    /// Back to an earlier bundle, by two people.
    RolledBack,
    /// Back to the bundle before, by one person, to be reviewed.
    Emergency,
}

impl Arming {
    /// `seeded`, `published`, `rolled_back`, `emergency`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seeded => "seeded",
            Self::Published => "published",
            Self::RolledBack => "rolled_back",
            Self::Emergency => "emergency",
        }
    }

    /// Parses the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Seeded, Self::Published, Self::RolledBack, Self::Emergency]
            .into_iter()
            .find(|arming| arming.as_str() == text)
    }
}

/// An author's signature over the digest of a bundle. The key is written out, so that the log alone
/// suffices to check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Verifier key of the author (C2SP signed note).
    pub key: String,
    /// Ed25519 over the DSSE encoding of the digest, in base64.
    pub signature: String,
}

impl Signed {
    fn write(&self, w: &mut Writer<'_>) {
        w.str("key", &self.key);
        w.str("signature", &self.signature);
    }

    fn write_opt(signed: Option<&Self>, w: &mut Writer<'_>) {
        if let Some(signed) = signed {
            w.nested("signed", |w| signed.write(w));
        }
    }

    fn read_opt(r: &mut Reader) -> Result<Option<Self>, EntryError> {
        let Some(mut r) = r.object_opt("signed")? else { return Ok(None) };
        let signed = Self { key: r.str("key")?, signature: r.str("signature")? };
        r.end()?;
        Ok(Some(signed))
    }
}

/// `bundle.drafted`: uploaded, compiled, and its own cases passed; not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleDrafted {
    /// Its digest.
    pub bundle: Digest,
    /// Who uploaded it.
    pub by: ActorRef,
    /// Cases that it brought and passed.
    pub cases: u32,
    /// The bundle that it is meant to replace.
    pub replaces: Option<Digest>,
    /// How many rules it has.
    pub rules: u32,
    /// The author's signature.
    pub signed: Option<Signed>,
    /// Warnings of the compiler.
    pub warnings: u32,
}

impl BundleDrafted {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.digest("bundle", &self.bundle);
        w.str("by", self.by.as_str());
        w.uint("cases", u64::from(self.cases));
        w.digest_opt("replaces", self.replaces.as_ref());
        w.uint("rules", u64::from(self.rules));
        Signed::write_opt(self.signed.as_ref(), w);
        w.uint("warnings", u64::from(self.warnings));
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            bundle: r.digest("bundle")?,
            by: r.parsed("by", ActorRef::parse)?,
            cases: r.count("cases")?,
            replaces: r.digest_opt("replaces")?,
            rules: r.count("rules")?,
            signed: Signed::read_opt(r)?,
            warnings: r.count("warnings")?,
        })
    }
}

/// `bundle.armed`: in force from here on. A seeded one has its digest and language alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleArmed {
    /// Who approved it.
    pub approvers: Vec<ActorRef>,
    /// Who proposed it.
    pub author: Option<ActorRef>,
    /// Its digest; the bytes are in the journal before this entry.
    pub bundle: Digest,
    /// Who released it.
    pub by: Option<ActorRef>,
    /// The decision that permitted it; absent for the seed of a workspace and in development mode.
    pub decision: Option<DecisionId>,
    /// How it came into force.
    pub how: Arming,
    /// Version of the condition language.
    pub language: u32,
    /// The bundle that was in force before.
    pub replaces: Option<Digest>,
    /// For an emergency: another person has to review it until then.
    pub review_by: Option<TimeMs>,
    /// The author's signature.
    pub signed: Option<Signed>,
}

impl BundleArmed {
    /// The bundle of a workspace that starts with it.
    #[must_use]
    pub fn seed(bundle: Digest, language: u32) -> Self {
        Self {
            approvers: Vec::new(),
            author: None,
            bundle,
            by: None,
            decision: None,
            how: Arming::Seeded,
            language,
            replaces: None,
            review_by: None,
            signed: None,
        }
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        if !self.approvers.is_empty() {
            w.strings("approvers", self.approvers.iter().map(ActorRef::as_str));
        }
        w.str_opt("author", self.author.as_ref().map(ActorRef::as_str));
        w.digest("bundle", &self.bundle);
        w.str_opt("by", self.by.as_ref().map(ActorRef::as_str));
        w.str_opt("decision", self.decision.map(|id| id.to_string()).as_deref());
        w.str_opt("how", (self.how != Arming::Seeded).then(|| self.how.as_str()));
        w.uint("language", u64::from(self.language));
        w.digest_opt("replaces", self.replaces.as_ref());
        w.uint_opt("review_by_ms", self.review_by.map(|time| time.0));
        Signed::write_opt(self.signed.as_ref(), w);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let approvers = if r.has("approvers") { r.strings("approvers")? } else { Vec::new() };
        let wrong = || EntryError::new("an approver is no actor");
        Ok(Self {
            approvers: approvers
                .iter()
                .map(|text| ActorRef::parse(text).ok_or_else(wrong))
                .collect::<Result<_, _>>()?,
            author: r.parsed_opt("author", ActorRef::parse)?,
            bundle: r.digest("bundle")?,
            by: r.parsed_opt("by", ActorRef::parse)?,
            decision: r.parsed_opt("decision", DecisionId::parse)?,
            how: r.parsed_opt("how", Arming::parse)?.unwrap_or(Arming::Seeded),
            language: r.count("language")?,
            replaces: r.digest_opt("replaces")?,
            review_by: r.uint_opt("review_by_ms")?.map(TimeMs),
            signed: Signed::read_opt(r)?,
        })
    }
}

/// `bundle.withdrawn`: never to be in force again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleWithdrawn {
    /// Its digest.
    pub bundle: Digest,
    /// Who withdrew it.
    pub by: ActorRef,
    /// Code of the matter.
    pub reason: String,
}

impl BundleWithdrawn {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.digest("bundle", &self.bundle);
        w.str("by", self.by.as_str());
        w.str("reason", &self.reason);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            bundle: r.digest("bundle")?,
            by: r.parsed("by", ActorRef::parse)?,
            reason: super::privacy::reason(r)?,
        })
    }
}

/// `review.closed`: another person has looked at what one person did in an emergency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewClosed {
    /// Who reviewed it.
    pub by: ActorRef,
    /// The decision that was to be reviewed.
    pub decision: DecisionId,
}

impl ReviewClosed {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str("decision", &self.decision.to_string());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            by: r.parsed("by", ActorRef::parse)?,
            decision: r.parsed("decision", DecisionId::parse)?,
        })
    }
}

/// `author.trusted` and `author.revoked`: from the first one on, only bundles that one of them
/// signed come into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorKey {
    /// Who trusted or revoked it.
    pub by: ActorRef,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
    /// The author's verifier key (C2SP signed note).
    pub key: String,
}

impl AuthorKey {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str_opt("decision", self.decision.map(|id| id.to_string()).as_deref());
        w.str("key", &self.key);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            by: r.parsed("by", ActorRef::parse)?,
            decision: r.parsed_opt("decision", DecisionId::parse)?,
            key: r.str("key")?,
        })
    }
}
