//! Delegations of the right to approve. Refuses to know who may see them.

use crate::text::{IdText, Instant};
use placet_types::ids::Delegation;
use serde::Serialize;
use utoipa::ToSchema;

/// Let somebody else approve in one's place.
#[derive(Serialize, ToSchema)]
pub struct DelegationRequest {
    /// Who may approve, `human:name`: a person with a key or session in this workspace.
    pub to: String,
    /// In which of the caller's roles: 1 to 16.
    pub roles: Vec<String>,
    /// On which surfaces, as patterns (`payments.**`), at most 16; on all where there are none.
    pub surfaces: Option<Vec<String>>,
    /// Until when, RFC 3339; at most thirty days ahead.
    pub until: String,
}

/// A delegation.
#[derive(Serialize, ToSchema)]
pub struct DelegationDocument {
    /// Id, `dlg_…`.
    #[schema(value_type = String)]
    pub id: IdText<Delegation>,
    /// Whose roles.
    pub by: String,
    /// Who may approve with them.
    pub to: String,
    /// The roles.
    pub roles: Vec<String>,
    /// On which surfaces; on all where there are none.
    pub surfaces: Vec<String>,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Instant,
    /// Until when.
    #[schema(value_type = String)]
    pub until: Instant,
    /// `in_force`, `run_out`, `revoked`.
    pub state: &'static str,
}

/// A page of delegations, newest first.
#[derive(Serialize, ToSchema)]
pub struct DelegationList {
    /// The delegations.
    pub delegations: Vec<DelegationDocument>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
