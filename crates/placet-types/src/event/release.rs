//! Events about releases and aliases: what was released with which papers, and where a name leads. They hold
//! names of things, ids and digests.

use super::read::Reader;
use super::{ActorRef, EntryError};
use crate::hash::Digest;
use crate::ids::{ApprovalId, DecisionId, EvidenceId};
use crate::json::Writer;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// `release.registered`: a name for a digest, with what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRegistered {
    /// Approvals that are named.
    pub approvals: Vec<ApprovalId>,
    /// Who registered it.
    pub by: ActorRef,
    /// The decision on the change that is named.
    pub change: Option<DecisionId>,
    /// The decision that permitted it.
    pub decision: DecisionId,
    /// Evidence that is named.
    pub evaluations: Vec<EvidenceId>,
    /// Codes of what was missing or did not fit, sorted; complete where there are none.
    pub gaps: Vec<String>,
    /// Its name.
    pub name: String,
    /// What is released.
    pub subject: Digest,
}

/// `alias.changed`: from here on a name leads somewhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasChanged {
    /// The name.
    pub alias: String,
    /// Where it led before.
    pub before: Option<String>,
    /// Who changed it.
    pub by: ActorRef,
    /// The decision that permitted it.
    pub decision: DecisionId,
    /// Where it leads: `model:…`, `branch:…` or `release:…`.
    pub to: String,
}

impl ReleaseRegistered {
    /// Most pieces of evidence, and most approvals, of one release.
    pub const LINKS_MAX: usize = 32;

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        let approvals: Vec<String> = self.approvals.iter().map(ToString::to_string).collect();
        let evaluations: Vec<String> = self.evaluations.iter().map(ToString::to_string).collect();
        w.strings("approvals", &approvals);
        w.str("by", self.by.as_str());
        w.str_opt("change", self.change.map(|id| id.to_string()).as_deref());
        w.str("decision", &self.decision.to_string());
        w.strings("evaluations", &evaluations);
        w.strings("gaps", &self.gaps);
        w.str("name", &self.name);
        w.digest("subject", &self.subject);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let wrong = || EntryError::new("links of a release are not what they should be");
        let approvals = r.strings("approvals")?;
        let evaluations = r.strings("evaluations")?;
        if approvals.len().max(evaluations.len()) > Self::LINKS_MAX {
            return Err(wrong());
        }
        let approvals: Option<Vec<_>> = approvals.iter().map(|it| ApprovalId::parse(it)).collect();
        let evaluations: Option<Vec<_>> =
            evaluations.iter().map(|it| EvidenceId::parse(it)).collect();
        Ok(Self {
            approvals: approvals.ok_or_else(wrong)?,
            by: r.parsed("by", ActorRef::parse)?,
            change: r.parsed_opt("change", DecisionId::parse)?,
            decision: r.parsed("decision", DecisionId::parse)?,
            evaluations: evaluations.ok_or_else(wrong)?,
            gaps: r.strings("gaps")?,
            name: r.str("name")?,
            subject: r.digest("subject")?,
        })
    }
}

impl AliasChanged {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("alias", &self.alias);
        w.str_opt("before", self.before.as_deref());
        w.str("by", self.by.as_str());
        w.str("decision", &self.decision.to_string());
        w.str("to", &self.to);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            alias: r.str("alias")?,
            before: r.str_opt("before")?,
            by: r.parsed("by", ActorRef::parse)?,
            decision: r.parsed("decision", DecisionId::parse)?,
            to: r.str("to")?,
        })
    }
}
