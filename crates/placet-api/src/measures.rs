//! Figures for people who oversee. Refuses to know how they are counted: `docs/reference/metrics.md` says.

use crate::text::{Instant, Sha};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The governance metrics of a workspace. A metric that this server cannot tell is absent, never 0.
#[derive(Serialize, ToSchema)]
pub struct GovernanceDocument {
    /// When they were read.
    #[schema(value_type = String)]
    pub as_of: Instant,
    /// Entries of the log that they cover.
    pub size: u64,
    /// What they begin with: the first entry, or the full hour in which the window begins.
    #[schema(value_type = String)]
    pub since: Instant,
    /// The bundle in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub policy: Option<Sha>,
    /// Decisions by outcome.
    #[schema(value_type = Object)]
    pub decisions: BTreeMap<&'static str, u64>,
    /// How long actions were held until people had decided.
    pub approval_latency: LatencyDocument,
    /// How approvals ended.
    pub rejected_changes: RejectedDocument,
    /// Requests for which evidence had run out, or was missing.
    pub expired_evidence: ExpiredEvidenceDocument,
    /// How often policy was set aside.
    pub exception_use: ExceptionUseDocument,
    /// Entries of the policy for which nobody answers; absent where there is no policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_owners: Option<MissingOwnersDocument>,
    /// Requests that policy denied.
    pub policy_violations: ViolationsDocument,
    /// How many releases had complete papers.
    pub lineage_share: LineageShareDocument,
}

/// Waiting times.
#[derive(Serialize, ToSchema)]
pub struct LatencyDocument {
    /// How many.
    pub count: u64,
    /// All of them together, milliseconds.
    pub sum_ms: u64,
    /// The longest, milliseconds; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<u64>,
    /// Half of them took at most this, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_within_ms: Option<u64>,
    /// Nine of ten took at most this, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90_within_ms: Option<u64>,
    /// How many took at most so long, and longer than the row before.
    pub buckets: Vec<BucketDocument>,
}

/// A row of a histogram.
#[derive(Serialize, ToSchema)]
pub struct BucketDocument {
    /// Milliseconds; absent in the last row, which has no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// How many.
    pub count: u64,
}

/// How approvals ended.
#[derive(Serialize, ToSchema)]
pub struct RejectedDocument {
    /// A person said no.
    pub rejected: u64,
    /// Nothing was missing any more.
    pub approved: u64,
    /// Nobody decided, or nobody collected, in time.
    pub expired: u64,
    /// Policy denied it by then.
    pub invalidated: u64,
    /// The proposer took it back.
    pub withdrawn: u64,
}

/// Requests for which evidence had run out, or was missing.
#[derive(Serialize, ToSchema)]
pub struct ExpiredEvidenceDocument {
    /// Denied because a piece was too old.
    pub expired: u64,
    /// Held, and ended because a piece had run out when it was voted on or released.
    pub lapsed: u64,
    /// Denied because a piece was missing.
    pub missing: u64,
}

/// Releases with their papers, as they were when they were registered.
#[derive(Serialize, ToSchema)]
pub struct LineageShareDocument {
    /// Releases that were registered.
    pub releases: u64,
    /// Of these, those whose papers were complete.
    pub complete: u64,
    /// Their share in per cent, rounded down; absent where nothing was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
}

/// How often policy was set aside.
#[derive(Serialize, ToSchema)]
pub struct ExceptionUseDocument {
    /// Exceptions that were opened.
    pub opened: u64,
    /// Of these, those that one person opened alone.
    pub break_glass: u64,
    /// Decisions that rest on one.
    pub passages: u64,
    /// Exceptions that ran out or were closed.
    pub ended: u64,
    /// Reviews.
    pub reviewed: u64,
    /// Exceptions that cover something now, whatever the window.
    pub live: u64,
    /// Exceptions that nobody has reviewed in time, whatever the window.
    pub overdue: u64,
}

/// Entries of the policy for which nobody answers.
#[derive(Serialize, ToSchema)]
pub struct MissingOwnersDocument {
    /// All of them.
    pub total: u64,
    /// Those without an owner.
    pub without: u64,
    /// Those whose owner had keys here and has none any more.
    pub left: u64,
    /// Entries that could have an owner.
    pub entries: u64,
    /// The first of them.
    pub listed: Vec<UnownedDocument>,
}

/// An entry of the policy for which nobody answers.
#[derive(Serialize, ToSchema)]
pub struct UnownedDocument {
    /// Its document: `rules`.
    pub kind: String,
    /// Its id or name.
    pub id: String,
    /// Who has left; absent where nobody ever was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
}

/// Requests that policy denied.
#[derive(Serialize, ToSchema)]
pub struct ViolationsDocument {
    /// DENY by anything but an override.
    pub denied: u64,
    /// DENY because somebody had stopped what was asked for; no violation.
    pub stopped: u64,
    /// Effects that gates reported without a decision, where the policy does not let them pass.
    pub passages: u64,
    /// Denied decisions by each of their reasons.
    #[schema(value_type = Object)]
    pub by_reason: BTreeMap<&'static str, u64>,
}
