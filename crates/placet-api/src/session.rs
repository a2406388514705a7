//! Sessions as clients see them.

use crate::text::Instant;
use serde::Serialize;
use utoipa::ToSchema;

/// What is handed on. An empty body exchanges the token of the call for a session key.
#[derive(Serialize, ToSchema)]
pub struct SessionRequest {
    /// To whom: `agent:…` or `service:…`.
    pub actor: Option<String>,
    /// Which of the caller's roles; none where nothing is said.
    pub roles: Option<Vec<String>>,
    /// Until when (RFC 3339, or a duration such as `30m`); an hour where nothing is said, and never after
    /// the caller's own session.
    pub expires: Option<String>,
}

/// Who the caller is.
#[derive(Serialize, ToSchema)]
pub struct SessionDocument {
    /// Id of the session or the key; absent in development mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `session`, `key` or `development`.
    pub kind: &'static str,
    /// Workspace.
    pub workspace: String,
    /// Environment that requests count for.
    pub environment: String,
    /// Who it is.
    pub actor: String,
    /// What it may do today.
    pub roles: Vec<String>,
    /// On whose behalf it acts, outermost first: verified.
    pub on_behalf_of: Vec<String>,
    /// Id of the issuer whose token opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The key or session that it was handed on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires: Option<Instant>,
}

/// A page of open sessions, oldest first.
#[derive(Serialize, ToSchema)]
pub struct SessionList {
    /// The sessions.
    pub sessions: Vec<SessionDocument>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A fresh session. Its key is shown here and never again.
#[derive(Serialize, ToSchema)]
pub struct SessionMadeDocument<'a> {
    /// The key: `key_<32 hex>.<64 hex>`.
    pub key: &'a str,
    /// The session.
    #[serde(flatten)]
    pub session: SessionDocument,
}
