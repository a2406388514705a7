//! Bodies of requests, and the documents of keys, workspaces and kill switches. Request types
//! serve the published schema alone: bodies are read by the strict parser.

use crate::decision::DecisionDocument;
use crate::overrides::{OverrideDocument, TrippedDocument};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A proposed action. Unknown fields, duplicate keys and nulls are refused.
#[derive(Serialize, ToSchema)]
pub struct ExecutionRequestDocument {
    /// Named class of effects, `payments.transfer` for example.
    pub surface: String,
    /// What is done.
    pub action: String,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: String,
    /// A part of the key's actor, `agent:bot/worker-1` for `agent:bot`.
    pub actor: Option<String>,
    /// Must be the key's, if given.
    pub environment: Option<String>,
    /// Must be the key's, if given.
    pub workspace: Option<String>,
    /// Job topic.
    pub topic: Option<String>,
    /// What it is done to.
    pub target: Option<String>,
    /// The exact payload that would execute: any JSON.
    pub arguments: Option<serde_json::Value>,
    /// Asserted facts.
    #[schema(value_type = Option<Object>)]
    pub context: Option<serde_json::Value>,
    /// Asserted risk tags.
    pub risk_tags: Option<Vec<String>>,
    /// Asserted labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Unit of automation.
    pub capability: Option<String>,
    /// Immutable variant of it.
    pub branch: Option<String>,
    /// Team.
    pub team: Option<String>,
    /// Run this action belongs to.
    pub execution: Option<String>,
    /// Step within it.
    pub step: Option<String>,
    /// Decision of the outer gate, `dec_…`.
    pub parent_decision: Option<String>,
    /// It was done already: it is decided and recorded, and nothing is permitted.
    pub retroactive: Option<bool>,
    /// Trace id, up to 200 bytes.
    pub trace_id: Option<String>,
    /// Model to be called.
    pub model: Option<String>,
    /// Estimated use per unit, micro-units as decimal strings.
    pub estimate: Option<BTreeMap<String, String>>,
    /// Code change.
    pub change: Option<serde_json::Value>,
    /// Evidence.
    pub evidence: Option<Vec<serde_json::Value>>,
    /// Delegation chain, outermost first.
    pub on_behalf_of: Option<Vec<String>>,
    /// The gate that will execute, when it is not the caller.
    pub audience: Option<String>,
    /// Secret of this attempt, 16 to 200 bytes: only it can fetch the permit again. The header
    /// `Placet-Attempt-Nonce` may hold it instead.
    pub attempt_nonce: Option<String>,
    /// Whose personal data the payload holds.
    pub subjects: Option<Vec<String>>,
}

/// Several requests at once.
#[derive(Serialize, ToSchema)]
pub struct BatchRequest {
    /// One to a hundred requests.
    #[schema(min_items = 1, max_items = 100)]
    pub requests: Vec<ExecutionRequestDocument>,
}

/// Consuming a permit.
#[derive(Serialize, ToSchema)]
pub struct ConsumeRequest {
    /// Secret of this attempt.
    pub attempt_nonce: Option<String>,
}

/// How an action went.
#[derive(Serialize, ToSchema)]
pub struct OutcomeRequest {
    /// `succeeded`, `failed` or `not_executed`.
    pub result: String,
    /// Any JSON up to 64 KiB; kept in the erasable payload.
    pub detail: Option<serde_json::Value>,
}

/// A vote.
#[derive(Serialize, ToSchema)]
pub struct VoteRequest {
    /// The digest of what was looked at; may be left out in development mode alone.
    pub action_digest: Option<String>,
    /// The requirement that was looked at; another one is refused. Who has approved before adds roles to that
    /// only with it.
    pub requirement: Option<String>,
    /// For the record; kept in the erasable payload.
    pub note: Option<String>,
}

/// Which kill switch.
#[derive(Serialize, ToSchema)]
pub struct KillRequest {
    /// `workspace` or `everything`.
    pub scope: String,
}

/// A key to be made.
#[derive(Serialize, ToSchema)]
pub struct KeyRequest {
    /// Whose.
    pub actor: String,
    /// Environment its requests count for.
    pub environment: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// The client certificate, in PEM, that opens it in place of a secret; up to 16 KiB. Its public key counts,
    /// and stands for nobody else in this workspace.
    pub certificate: Option<String>,
    /// Key of this action for retries.
    pub idempotency_key: Option<String>,
}

/// A workspace to be made.
#[derive(Serialize, ToSchema)]
pub struct WorkspaceRequest {
    /// Its name.
    pub name: String,
    /// Its first admin.
    pub admin: String,
}

/// The kill switches over a workspace.
#[derive(Serialize, ToSchema)]
pub struct KillDocument {
    /// That of everything; null while it is not tripped.
    pub everything: Option<KillStateDocument>,
    /// That of the workspace; null while it is not tripped.
    pub workspace: Option<KillStateDocument>,
}

/// A tripped kill switch.
#[derive(Serialize, ToSchema)]
pub struct KillStateDocument {
    /// `killed`, or `kill_switch_tampered` where the certificate or the log was not what it has to be.
    pub state: &'static str,
    /// Since when and by what.
    #[serde(flatten)]
    pub tripped: TrippedDocument,
}

/// Answer to a lift.
#[derive(Serialize, ToSchema)]
pub struct LiftDocument {
    /// Whether it is lifted now; otherwise a second person has to ask as well.
    pub lifted: bool,
    /// The kill switches as they stand.
    #[serde(flatten)]
    pub state: KillDocument,
    /// How what stops it stands, kill or freeze, unless it is lifted.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub still: Option<OverrideDocument>,
}

/// A key without its secret.
#[derive(Serialize, ToSchema)]
pub struct KeyDocument {
    /// Id, `key_…`.
    pub id: String,
    /// Whose.
    pub actor: String,
    /// Environment its requests count for.
    pub environment: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// SHA-256 of the public key of the client certificate that opens it, 64 hex digits; absent where a secret
    /// does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Whether it is revoked.
    pub revoked: bool,
}

/// The keys of a workspace.
#[derive(Serialize, ToSchema)]
pub struct KeyList {
    /// The keys, revoked ones included.
    pub keys: Vec<KeyDocument>,
}

/// A fresh key. Its secret is shown here and never again.
#[derive(Serialize, ToSchema)]
pub struct KeyMadeDocument<'a> {
    /// The key: `key_<32 hex>.<64 hex>`; absent where a client certificate opens it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// SHA-256 of the public key of the client certificate that opens it, 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Id, `key_…`.
    pub id: String,
    /// Whose.
    pub actor: String,
    /// Environment its requests count for.
    pub environment: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// The decision that permitted it.
    pub decision: String,
}

/// What another admin has to approve first.
#[derive(Serialize, ToSchema)]
pub struct KeyHeldDocument<'a> {
    /// The held decision.
    #[schema(value_type = DecisionDocument)]
    pub decision: &'a RawValue,
}

/// A workspace.
#[derive(Serialize, ToSchema)]
pub struct WorkspaceDocument {
    /// Its name.
    pub name: String,
    /// Origin of its log.
    pub origin: String,
    /// Verifier key of its log.
    pub vkey: String,
}

/// The workspaces that the caller may see.
#[derive(Serialize, ToSchema)]
pub struct WorkspaceList {
    /// The workspaces.
    pub workspaces: Vec<WorkspaceDocument>,
}

/// A fresh workspace with its first admin's key, shown once.
#[derive(Serialize, ToSchema)]
pub struct WorkspaceMadeDocument<'a> {
    /// The workspace.
    #[serde(flatten)]
    pub workspace: WorkspaceDocument,
    /// The key of its first admin.
    pub key: &'a str,
}

/// Health and readiness.
#[derive(Serialize, ToSchema)]
pub struct StatusDocument {
    /// `ok` or `ready`; `kill_switch_tampered` while everything is stopped for that.
    pub status: &'static str,
    /// Version of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// Live exceptions on this server that waive all of policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ungoverned: Option<u64>,
}
