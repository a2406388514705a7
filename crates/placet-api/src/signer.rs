//! Rotating and revoking the keys that sign the logs, on the wire. Refuses to know who may.

use crate::text::IdText;
use placet_types::ids::Decision;
use serde::Serialize;
use utoipa::ToSchema;

/// Rotate the signing key.
#[derive(Serialize, ToSchema)]
pub struct RotateRequest {
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// Revoke a former signing key.
#[derive(Serialize, ToSchema)]
pub struct RevokeSignerRequest {
    /// Its verifier key in the log of the caller's workspace (C2SP signed note).
    pub vkey: String,
    /// What it signed of fewer entries stays good; without it, nothing does.
    pub from_size: Option<u64>,
    /// In the logs of all workspaces; only for admins of the first workspace, and without from_size.
    pub everywhere: Option<bool>,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// What a rotation or revocation came to in one log.
#[derive(Serialize, ToSchema)]
pub struct SignerChangeDocument {
    /// The workspace.
    pub workspace: String,
    /// Index of the log entry; none where nothing was left to say. A rotation hands over there: the
    /// key before signs trees of up to so many entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// After a rotation the key in force, after a revocation the key that is revoked.
    pub vkey: String,
}

/// A rotation or revocation that is done.
#[derive(Serialize, ToSchema)]
pub struct SignersDocument {
    /// The logs that it concerns.
    pub logs: Vec<SignerChangeDocument>,
    /// The decision that permitted it.
    #[schema(value_type = String)]
    pub decision: IdText<Decision>,
}
