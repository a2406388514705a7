//! Documents of the endpoints that other systems know: an approval asked for by a run, its status,
//! and the history of such requests. Refuses to know how they come about.

use crate::text::{IdText, Instant, Sha};
use placet_types::ids::{Approval, Job};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A run asks people for an approval. All members, further ones as well, are what is approved: the
/// digest covers the whole body.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes a body that is read as JSON")]
pub struct ApprovalAskRequest {
    /// The run, 1 to 200 bytes; its trace id as well.
    run_id: String,
    /// The phase of the run, 1 to 200 bytes.
    phase_id: String,
    /// Why.
    reason: Option<String>,
    /// `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`.
    risk_level: Option<String>,
    /// How long to wait, in seconds; policy may say less.
    timeout_seconds: Option<u64>,
}

/// A vote by a compatible client.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes a body that is read as JSON")]
pub struct CompatVoteRequest {
    /// Digest of the action that was seen; only development mode does without.
    action_digest: Option<String>,
    /// Why.
    note: Option<String>,
}

/// Where an asked-for approval stands.
#[derive(Serialize, ToSchema)]
pub struct ApprovalStatusDocument<'a> {
    /// The approval, `apr_…`; null where policy decided without people.
    #[schema(value_type = Option<String>)]
    pub approval_id: Option<IdText<Approval>>,
    /// `pending`, `approved` or `rejected`. What expired or was taken back is rejected; whatever was
    /// approved is pending while a kill switch is in force.
    pub status: &'static str,
    /// The same in full: `pending`, `approved`, `consumed`, `rejected`, `expired`, `invalidated`,
    /// `withdrawn`; the outcome in lower case where policy decided without people.
    pub state: &'a str,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Undecided, it expires then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout_at: Option<Instant>,
    /// The idempotency key that it was asked under: the same one asks no second time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<&'a str>,
    /// The decision as the native API shows it, with the digest, and with the permit for the nonce of
    /// its attempt. Only a permit lets anything run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub decision: Option<&'a RawValue>,
}

/// A request for an approval with what became of it. What the run said is asserted by it.
#[derive(Serialize, ToSchema)]
pub struct GovernanceRequestDocument {
    /// The approval, `apr_…`.
    #[schema(value_type = String)]
    pub request_id: IdText<Approval>,
    /// The run; null once erased, or where it is no request of a run.
    pub run_id: Option<String>,
    /// Its phase.
    pub phase_id: Option<String>,
    /// When it was asked for.
    #[schema(value_type = String)]
    pub timestamp: Instant,
    /// The same.
    #[schema(value_type = String)]
    pub created_at: Instant,
    /// Undecided, it expires then.
    #[schema(value_type = String)]
    pub expires_at: Instant,
    /// Paths that the run says it would violate.
    pub violated_paths: Vec<String>,
    /// Why, as the run says.
    pub justification: Option<String>,
    /// Risk level, as the run says.
    pub risk_level: Option<String>,
    /// Risk, as the run says.
    pub risk_assessment: RiskAssessmentDocument,
    /// `pending`, `approved` or `rejected`.
    pub status: &'static str,
    /// The same in full, in the words of the native API.
    pub state: String,
    /// Null while it is pending.
    pub approved: Option<bool>,
    /// Who decided.
    pub approved_by: Option<String>,
    /// When it was decided.
    #[schema(value_type = Option<String>)]
    pub approved_at: Option<Instant>,
    /// What became of it; null while it is pending.
    pub decision: Option<GovernanceDecisionDocument>,
    /// Digest to echo; null once erased.
    #[schema(value_type = Option<String>)]
    pub action_digest: Option<Sha>,
}

/// How risky a run says that it is.
#[derive(Serialize, ToSchema)]
pub struct RiskAssessmentDocument {
    /// The level.
    pub level: Option<String>,
    /// The score.
    pub score: Option<i64>,
    /// What it is made of.
    pub factors: Vec<String>,
}

/// What people decided.
#[derive(Clone, Serialize, ToSchema)]
pub struct GovernanceDecisionDocument {
    /// Whether it may happen.
    pub approved: bool,
    /// Who decided; null where time or policy did.
    pub approved_by: Option<String>,
    /// When; null where time or policy did.
    #[schema(value_type = Option<String>)]
    pub approved_at: Option<Instant>,
    /// What was said.
    pub notes: Option<String>,
}

/// Requests for approvals.
#[derive(Serialize, ToSchema)]
pub struct GovernanceRequestList {
    /// The requests.
    pub requests: Vec<GovernanceRequestDocument>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The word that such clients know for the state of an approval.
#[must_use]
pub fn compat_status(state: &str) -> &'static str {
    match state {
        "pending" => "pending",
        "approved" | "consumed" | "permit" => "approved",
        _ => "rejected",
    }
}

/// A job as a scheduler submits it: an execution request in which less has to be said.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes a body that is read as JSON")]
pub struct JobRequest {
    /// What it is for: `job.mcp-bridge.read.ticket`.
    topic: String,
    /// The workspace, where it is said; that of the key.
    tenant_id: Option<String>,
    /// `job`, where it is said.
    surface: Option<String>,
    /// What is asked for; `dispatch` where nothing is said.
    action: Option<String>,
    /// Tags of risk, asserted by the caller.
    risk_tags: Option<Vec<String>>,
    /// Key of this job for retries; a fresh one, which the answer says, where nothing is said. All other members of an
    /// execution request may stand here as well.
    idempotency_key: Option<String>,
}

/// Where a job stands.
#[derive(Serialize, ToSchema)]
pub struct JobDocument<'a> {
    /// `job_…`: routes of approvals take it.
    #[schema(value_type = String)]
    pub job_id: IdText<Job>,
    /// `permitted`, `approval_required`, `throttled` or `denied`. Only the permit of the decision lets it run.
    pub state: &'static str,
    /// The idempotency key that was made up, where none was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<&'a str>,
    /// The decision as the native API shows it.
    #[schema(value_type = Object)]
    pub decision: &'a RawValue,
}
