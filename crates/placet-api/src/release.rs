//! Releases with their papers, and aliases. Refuses to know what makes a lineage complete.

use crate::text::{IdText, Instant, Sha};
use placet_types::ids::{Decision, Evidence};
use serde::Serialize;
use utoipa::ToSchema;

/// Register a release.
#[derive(Serialize, ToSchema)]
pub struct ReleaseRequest {
    /// Its name, for good: letters, digits and `. _ @ : / + -`, up to 200 bytes.
    pub name: String,
    /// What is released, `sha256:…`.
    pub subject: String,
    /// The decision on the change, `dec_…`.
    pub change: Option<String>,
    /// Evidence about it, `evd_…`, at most 32.
    pub evaluations: Option<Vec<String>>,
    /// Approvals of it, `apr_…`, at most 32.
    pub approvals: Option<Vec<String>>,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// Where the log has an act that was done under a decision, and who did it.
#[derive(Serialize, ToSchema)]
pub struct RecordedEntryDocument {
    /// The decision that permitted it.
    #[schema(value_type = String)]
    pub decision: IdText<Decision>,
    /// Who did it.
    pub by: String,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Instant,
    /// Index of its log entry.
    pub index: u64,
}

/// A release with its papers.
#[derive(Serialize, ToSchema)]
pub struct ReleaseDocument {
    /// Its name.
    pub name: String,
    /// What is released.
    #[schema(value_type = String)]
    pub subject: Sha,
    /// Whether every link was found, about this subject, in order, and counts today.
    pub complete: bool,
    /// What is missing or does not fit: codes such as `approval_own`, `evaluation_revoked`.
    pub gaps: Vec<String>,
    /// The decision on the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub change: Option<IdText<Decision>>,
    /// Evidence about it.
    pub evaluations: Vec<LinkDocument>,
    /// Approvals of it, by id.
    pub approvals: Vec<String>,
    /// Where the log has it.
    #[serde(flatten)]
    pub recorded: RecordedEntryDocument,
}

/// A piece of evidence among the papers of a release.
#[derive(Serialize, ToSchema)]
pub struct LinkDocument {
    /// `evd_…`
    #[schema(value_type = String)]
    pub id: IdText<Evidence>,
    /// Its type, where it is known.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Who vouches for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// A page of releases, newest first.
#[derive(Serialize, ToSchema)]
pub struct ReleaseList {
    /// The releases.
    pub releases: Vec<ReleaseDocument>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Change where a name leads.
#[derive(Serialize, ToSchema)]
pub struct AliasRequest {
    /// The name: letters, digits and `. _ @ : / + -`, up to 200 bytes.
    pub name: String,
    /// Where it is to lead: `model:…`, `branch:…` or `release:…`.
    pub to: String,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// Where a name leads.
#[derive(Serialize, ToSchema)]
pub struct AliasDocument {
    /// The name.
    pub name: String,
    /// Where it leads.
    pub to: String,
    /// Where it led before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Where the log has it.
    #[serde(flatten)]
    pub recorded: RecordedEntryDocument,
}

/// All aliases, by name.
#[derive(Serialize, ToSchema)]
pub struct AliasList {
    /// The aliases.
    pub aliases: Vec<AliasDocument>,
}
