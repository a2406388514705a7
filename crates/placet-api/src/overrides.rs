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

/// What to let run again: its scope, or the entry that stopped it.
#[derive(Serialize, ToSchema)]
pub struct OverrideLiftRequest {
    /// As in a request to stop it, or as the list shows it; absent where there is an index.
    pub scope: Option<String>,
    /// As in a request to stop it.
    pub value: Option<String>,
    /// Log index of the entry that stopped it.
    pub index: Option<u64>,
}

/// When something was stopped and by what, and who asks to lift it.
#[derive(Serialize, ToSchema)]
pub struct TrippedDocument {
    /// Since when.
    #[schema(value_type = String)]
    pub since: Instant,
    /// Log index of the entry that stopped it: what gates acknowledge, what a report is asked for by, and what
    /// it can be lifted by.
    pub index: u64,
    /// `api`, `file`, `signal`, `certificate`, `seal`, or `interrupted`: a kill that was in effect and not
    /// recorded when the process ended.
    pub source: &'static str,
    /// Who asked to lift it: by name for those who oversee, else by pseudonym.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift_requested_by: Option<String>,
    /// In solo mode: not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub not_before: Option<Instant>,
}

/// Something that is stopped.
#[derive(Serialize, ToSchema)]
pub struct OverrideDocument {
    /// Kind and value, as the log names them: people, runs and jobs by pseudonym.
    pub scope: String,
    /// The same with the name of the person, for those who oversee; absent where it says nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `kill`, `freeze`, `disable` or `revoke`.
    pub mode: &'static str,
    /// Since when and by what.
    #[serde(flatten)]
    pub tripped: TrippedDocument,
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
