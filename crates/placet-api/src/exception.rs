//! Exceptions from policy. Refuses to know who may see them.

use crate::text::{IdText, Instant};
use placet_types::ids::{Decision, Exception};
use serde::Serialize;
use utoipa::ToSchema;

/// Open an exception, as the constitution permits.
#[derive(Serialize, ToSchema)]
pub struct ExceptionRequest {
    /// The surface that it covers, or `*` for every surface.
    pub surface: String,
    /// Who may pass: `agent:name`, `service:name`, `human:name`.
    pub actor: String,
    /// Only this action.
    pub action: Option<String>,
    /// Only in this environment.
    pub environment: Option<String>,
    /// Only for this capability.
    pub capability: Option<String>,
    /// Only this target.
    pub target: Option<String>,
    /// Only in this execution.
    pub execution: Option<String>,
    /// What it waives, 1 to 32: `floor`, `rules`, `contract`, `evidence`, `access`, `models`, `approvals`,
    /// `governance` (all of these), or `rule:` and the id of a rule.
    pub waives: Vec<String>,
    /// What makes up for it, at most 16: `second_person`, `evidence:type`, `max_uses:N`,
    /// `constraint:{…}`, and `notify:channel`: that channel of the policy is told when
    /// it opens, is used for the first time, ends, and is not reviewed in time.
    pub controls: Option<Vec<String>>,
    /// Code of the reason, `[a-z0-9._-]{1,64}`; it stands in the log for good.
    pub reason: String,
    /// The reason in words, up to 2000 bytes; it lies beside the log and can be erased.
    pub note: Option<String>,
    /// The person who answers for it, `human:name`; the caller where it is left out.
    pub owner: Option<String>,
    /// How long it lasts, `30m`; the default of the policy where it is left out.
    pub duration: Option<String>,
    /// How long after its end it is reviewed at the latest, `8h`; that of the policy where it is left out.
    pub review_within: Option<String>,
    /// One person alone, in an emergency.
    pub break_glass: Option<bool>,
    /// Filed afterwards, for what was done: it permits nothing.
    pub retroactive: Option<ExceptionSpan>,
    /// For a repeated call; a fresh one where it is left out.
    pub idempotency_key: Option<String>,
}

/// A span of time.
#[derive(Serialize, ToSchema)]
pub struct ExceptionSpan {
    /// From when, RFC 3339.
    pub from: String,
    /// To when, RFC 3339; not in the future.
    pub to: String,
}

/// Review an exception that is over.
#[derive(Serialize, ToSchema)]
pub struct ExceptionReviewRequest {
    /// Whether it was right to open it.
    pub justified: bool,
    /// What was found, 1 to 2000 bytes.
    pub note: String,
}

/// An exception.
#[derive(Serialize, ToSchema)]
pub struct ExceptionDocument {
    /// Id, `exc_…`.
    #[schema(value_type = String)]
    pub id: IdText<Exception>,
    /// `live`, `used_up`, `run_out`, `closed`, `retroactive`.
    pub state: &'static str,
    /// Whether it waives all of policy.
    pub governance: bool,
    /// One person alone has opened it, in an emergency.
    pub break_glass: bool,
    /// Filed afterwards for this span: it never permitted anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retroactive: Option<ExceptionSpan>,
    /// The surface, or `*`.
    pub surface: String,
    /// Who may pass.
    pub actor: String,
    /// The action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The target; absent once erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The execution; absent once erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// What it waives.
    pub waives: Vec<String>,
    /// What makes up for it.
    pub controls: Vec<ExceptionControl>,
    /// Code of the reason.
    pub reason: String,
    /// The reason in words; absent once erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who answers for it.
    pub owner: String,
    /// Who opened it.
    pub opened_by: String,
    /// When.
    #[schema(value_type = String)]
    pub opened: Instant,
    /// It covers nothing from then on.
    #[schema(value_type = String)]
    pub expires: Instant,
    /// Since when it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended: Option<Instant>,
    /// Who closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<String>,
    /// The decision that permitted it, `dec_…`.
    #[schema(value_type = String)]
    pub decision: IdText<Decision>,
    /// Index of its entry in the log.
    pub index: u64,
    /// Passages so far.
    pub uses: u64,
    /// By when another person has to review it.
    #[schema(value_type = String)]
    pub review_due: Instant,
    /// Its review is overdue: its owner opens no other.
    pub review_overdue: bool,
    /// The review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<ExceptionReview>,
    /// What passed, newest first, at most 200; only where one exception is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passages: Option<Vec<ExceptionPassageDocument>>,
}

/// What makes up for an exception.
#[derive(Serialize, ToSchema)]
pub struct ExceptionControl {
    /// `second_person`, `evidence:type`, `max_uses:N`, `constraint:{…}`, `notify:channel`.
    pub control: String,
    /// Whether it is checked at each passage; `notify:` is not: it is sent.
    pub checked: bool,
}

/// A review.
#[derive(Serialize, ToSchema)]
pub struct ExceptionReview {
    /// Who.
    pub by: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Instant,
    /// Whether it was right to open it.
    pub justified: bool,
}

/// A decision that passed under an exception.
#[derive(Serialize, ToSchema)]
pub struct ExceptionPassageDocument {
    /// The decision, `dec_…`.
    #[schema(value_type = String)]
    pub decision: IdText<Decision>,
    /// Index of its entry.
    pub index: u64,
    /// When.
    #[schema(value_type = String)]
    pub time: Instant,
    /// `PERMIT` or `REQUIRE_APPROVAL`.
    pub outcome: &'static str,
    /// The surface.
    pub surface: String,
    /// The action.
    pub action: String,
    /// The rules that applied and were waived, at most 16.
    pub waived: Vec<String>,
    /// How many there were, where that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waived_all: Option<u64>,
}

/// A page of exceptions, newest first.
#[derive(Serialize, ToSchema)]
pub struct ExceptionList {
    /// The exceptions.
    pub exceptions: Vec<ExceptionDocument>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
