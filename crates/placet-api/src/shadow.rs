//! Shadow bundles on the wire. Refuses to know who may set one.

use crate::text::{IdText, Sha};
use placet_types::ids::Decision;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Make decisions a second time under a bundle, for the record alone.
#[derive(Serialize, ToSchema)]
pub struct ShadowRequest {
    /// The normal form of the bundle, as `placet policy compile --out` writes it.
    #[schema(value_type = Object)]
    pub bundle: Value,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// A shadow bundle, and how often it was asked.
#[derive(Serialize, ToSchema)]
pub struct ShadowingDocument {
    /// Its digest.
    #[schema(value_type = String)]
    pub policy: Sha,
    /// Log index of the entry that set it.
    pub index: u64,
    /// Decisions that it was asked about since.
    pub compared: u64,
    /// Those of them on which it came to something else.
    pub differed: u64,
    /// Decisions that were under way when it was set, and were not compared.
    pub skipped: u64,
}

/// How the shadow of a workspace stands.
#[derive(Serialize, ToSchema)]
pub struct ShadowDocument {
    /// The shadow bundle; null where there is none.
    pub shadow: Option<ShadowingDocument>,
    /// The bundle in force.
    #[schema(value_type = Option<String>)]
    pub enforced: Option<Sha>,
    /// Log index of the entry that a change wrote; none where it stood so already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The decision that permitted a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub decision: Option<IdText<Decision>>,
}
