//! Erasing, legal holds and disclosed payloads on the wire. Refuses to know what may be erased.

use crate::text::{IdText, Instant, JsonObject, Sha};
use placet_types::ids::{Decision, Hold};
use serde::Serialize;
use utoipa::ToSchema;

/// What to erase: exactly one of decision, subject and before.
#[derive(Serialize, ToSchema)]
pub struct EraseRequest {
    /// The payloads of this decision, `dec_…`.
    pub decision: Option<String>,
    /// The payloads of all decisions whose request names this subject.
    pub subject: Option<String>,
    /// The payloads of all decisions before this instant: RFC 3339, Unix milliseconds, or an age.
    pub before: Option<String>,
    /// Code of the legal basis: 1 to 64 lower-case letters, digits, `.`, `_` and `-`. `request` if
    /// it is left out.
    pub reason: Option<String>,
    /// Only say what it would come to.
    pub dry_run: Option<bool>,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// What erasing came to, or would come to.
#[derive(Serialize, ToSchema)]
pub struct EraseDocument {
    /// Nothing was erased.
    pub dry_run: bool,
    /// Code of the legal basis.
    pub reason: String,
    /// The instant that `before` stood for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub before: Option<Instant>,
    /// Decisions that were found.
    pub decisions: u64,
    /// Payloads erased by this.
    pub payloads: u64,
    /// Payloads that a legal hold keeps.
    pub legal_hold: u64,
    /// Payloads whose retention is running.
    pub retention: u64,
    /// Payloads erased before.
    pub erased_before: u64,
    /// Held actions withdrawn by it.
    pub withdrawn: u64,
    /// Open permits revoked by it.
    pub revoked: u64,
    /// Indices of the log entries that say so.
    pub entries: Vec<u64>,
    /// Whether the keys are destroyed; if not, that is tried until it is done.
    pub destroyed: bool,
    /// The decision that permitted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub decision: Option<IdText<Decision>>,
}

/// A legal hold to be placed.
#[derive(Serialize, ToSchema)]
pub struct HoldRequest {
    /// `workspace`, `decision` or `subject`.
    pub scope: String,
    /// For scope decision: `dec_…`.
    pub decision: Option<String>,
    /// For scope subject: as requests name it.
    pub subject: Option<String>,
    /// Code of the matter: 1 to 64 lower-case letters, digits, `.`, `_` and `-`.
    pub reason: String,
}

/// A legal hold in force.
#[derive(Serialize, ToSchema)]
pub struct HoldDocument {
    /// Id, `hld_…`.
    #[schema(value_type = String)]
    pub id: IdText<Hold>,
    /// `workspace`, `decision` or `subject`.
    pub scope: &'static str,
    /// For scope decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub decision: Option<IdText<Decision>>,
    /// For scope subject: its tag, as entries show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_tag: Option<String>,
    /// Code of the matter.
    pub reason: String,
    /// Who placed it.
    pub placed_by: String,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Instant,
    /// Index of the log entry.
    pub index: u64,
}

/// Legal holds in force, oldest first.
#[derive(Serialize, ToSchema)]
pub struct HoldList {
    /// The holds.
    pub holds: Vec<HoldDocument>,
}

/// A hold that was released.
#[derive(Serialize, ToSchema)]
pub struct HoldReleasedDocument {
    /// Id, `hld_…`.
    #[schema(value_type = String)]
    pub released: IdText<Hold>,
    /// The decision that permitted it.
    #[schema(value_type = String)]
    pub decision: IdText<Decision>,
}

/// A digest and the salt under which the entry commits to it: HMAC-SHA-256(salt, digest).
#[derive(Serialize, ToSchema)]
pub struct OpeningDocument {
    /// The digest.
    #[schema(value_type = String)]
    pub digest: Sha,
    /// The salt, 64 hex digits.
    pub salt: String,
}

/// A receipt with the payload and what opens the commitments of its entry.
#[derive(Serialize, ToSchema)]
pub struct DisclosedDocument<'a> {
    /// The receipt of the decision's own entry (C2SP tlog-proof).
    pub receipt: &'a str,
    /// Index of the entry.
    pub index: u64,
    /// Origin of the log.
    pub origin: &'a str,
    /// Size of the tree that was signed.
    pub size: u64,
    /// Verified facts and request.
    #[schema(value_type = Object)]
    pub payload: JsonObject<'a>,
    /// Opens `action_commitment`, which is the commitment of the subject.
    pub action: OpeningDocument,
    /// Opens `request_commitment`.
    pub request: OpeningDocument,
    /// Opens `facts_commitment`.
    pub facts: OpeningDocument,
    /// Salt of the commitment to the canonical bytes of the payload.
    pub payload_salt: String,
}
