//! Bodies and documents of what people stop: scopes, ways, and who asked to lift them.

use crate::Instant;
use serde::Serialize;
use utoipa::ToSchema;

/// What to stop, and how.
#[derive(Serialize, ToSchema)]
pub struct OverrideRequest {
    /// The kind: `everything`, `workspace`, `capability`, `branch`, `actor`, `surface`, `model`, `alias`, `execution`,
    /// `job` or `role`; or kind and value, `capability:crm-writer`.
    pub scope: String,
    /// Which one; absent for `everything`, for `workspace`, and where the scope says it.
    pub value: Option<String>,
    /// `kill`, `freeze`, `disable` or `revoke`.
    pub mode: String,
}

/// What to let run again.
#[derive(Serialize, ToSchema)]
pub struct OverrideLiftRequest {
    /// As in a request to stop it.
    pub scope: String,
    /// As in a request to stop it.
    pub value: Option<String>,
}

/// Something that is stopped.
#[derive(Serialize, ToSchema)]
pub struct OverrideDocument {
    /// Kind and value, as the log names them: people, runs and jobs by pseudonym.
    pub scope: String,
    /// `kill`, `freeze`, `disable` or `revoke`.
    pub mode: &'static str,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Instant,
    /// Log index of the entry that stopped it.
    pub index: u64,
    /// `api`, `file`, `signal`, `certificate` or `manifest`.
    pub source: &'static str,
    /// Who asked to lift it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift_requested_by: Option<String>,
    /// In solo mode: not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub not_before: Option<Instant>,
}

/// All that is stopped, in the order of the scopes.
#[derive(Serialize, ToSchema)]
pub struct OverrideList {
    /// Each of them.
    pub overrides: Vec<OverrideDocument>,
}

/// Answer to a request to lift something.
#[derive(Serialize, ToSchema)]
pub struct OverrideLiftDocument {
    /// Whether it is lifted now; otherwise a second person has to ask as well.
    pub lifted: bool,
    /// How it stands, unless it is lifted.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub still: Option<OverrideDocument>,
}
