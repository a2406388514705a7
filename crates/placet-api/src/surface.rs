//! Surfaces and their contracts, on the wire. Refuses to know how a contract is checked.

use placet_types::json::Value;
use serde::ser::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::text::Json;

/// A JSON value of its own.
pub struct OwnedJson(pub Value);

impl Serialize for OwnedJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Json(&self.0).serialize(serializer)
    }
}

/// What the policy in force says of surfaces.
#[derive(serde::Serialize, ToSchema)]
pub struct SurfaceList {
    /// Digest of the bundle in force; none where there is no bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Whether a surface that is not listed is unknown, so that every action on it is SILENCE.
    pub closed: bool,
    /// Surfaces by name.
    #[schema(value_type = Vec<SurfaceDocument>)]
    pub surfaces: Vec<OwnedJson>,
}

/// A surface and its contract. What nothing is said of is absent.
#[derive(serde::Serialize, ToSchema)]
pub struct SurfaceDocument {
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Milliseconds in which a request is decided.
    pub deadline_ms: u64,
    /// Milliseconds for which an idempotency key binds.
    pub idempotency_window_ms: u64,
    /// How long payloads are kept: `payload_ms`, `min_ms`, `lawful`.
    #[schema(value_type = Option<Object>)]
    pub retention: Option<OwnedJson>,
    /// JSON Schema (2020-12) that `arguments` have to fit.
    #[schema(value_type = Option<Object>)]
    pub arguments: Option<OwnedJson>,
    /// JSON Schema (2020-12) that `context` has to fit.
    #[schema(value_type = Option<Object>)]
    pub context: Option<OwnedJson>,
    /// Fields of the request that have to be there.
    pub required: Option<Vec<String>>,
    /// Evidence that the request has to carry: `type`, `max_age_ms`, `issuers`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub evidence: Option<OwnedJson>,
    /// Outcomes that are allowed besides DENY and SILENCE; all where it is absent.
    pub outcomes: Option<Vec<String>>,
    /// Environments in which a gate may proceed without a decision: `mode`, `reason`.
    #[schema(value_type = Option<Object>)]
    pub fail_mode: Option<OwnedJson>,
    /// How receipts are used: `verify`.
    #[schema(value_type = Option<Object>)]
    pub receipts: Option<OwnedJson>,
}
