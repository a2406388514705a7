//! The documents of OpenID AuthZEN Authorization API 1.0, and what drafts of its working group put
//! into `context`. Request types serve the published schema alone: bodies are read by the strict
//! parser, which ignores members that it does not know, as that specification demands.

use crate::text::{IdText, Instant, JsonObject};
use placet_types::ids::{Approval, Decision};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A subject or a resource.
#[derive(Serialize, ToSchema)]
pub struct AuthzenEntity {
    /// Its type. A resource's is the surface: segments of letters, digits, `_` and `-` separated by
    /// dots.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id within the type.
    pub id: String,
    /// Facts about it, as the gate asserts them.
    #[schema(value_type = Option<Object>)]
    pub properties: Option<serde_json::Value>,
}

/// A subject or a resource whose id is sought; one that is given is ignored.
#[derive(Serialize, ToSchema)]
pub struct AuthzenSought {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Facts about it.
    #[schema(value_type = Option<Object>)]
    pub properties: Option<serde_json::Value>,
}

/// An action.
#[derive(Serialize, ToSchema)]
pub struct AuthzenAction {
    /// Its name: segments of letters, digits, `_` and `-` separated by dots.
    pub name: String,
    /// Its arguments.
    #[schema(value_type = Option<Object>)]
    pub properties: Option<serde_json::Value>,
}

/// May this subject do this to that? Unknown members are ignored.
#[derive(Serialize, ToSchema)]
pub struct AccessEvaluationRequest {
    /// Who would act.
    pub subject: AuthzenEntity,
    /// What is done.
    pub action: AuthzenAction,
    /// To what.
    pub resource: AuthzenEntity,
    /// Facts about the circumstances. `subject` and `resource` are taken; `placet` may hold further
    /// fields of an execution request, `approval` the approval of an earlier answer.
    #[schema(value_type = Option<Object>)]
    pub context: Option<serde_json::Value>,
}

/// Several evaluations; what stands beside them is their default. Without any, one evaluation.
#[derive(Serialize, ToSchema)]
pub struct AccessEvaluationsRequest {
    /// Default subject.
    #[schema(value_type = Option<Object>)]
    pub subject: Option<serde_json::Value>,
    /// Default action.
    #[schema(value_type = Option<Object>)]
    pub action: Option<serde_json::Value>,
    /// Default resource.
    #[schema(value_type = Option<Object>)]
    pub resource: Option<serde_json::Value>,
    /// Default context.
    #[schema(value_type = Option<Object>)]
    pub context: Option<serde_json::Value>,
    /// Up to a hundred evaluations.
    #[schema(value_type = Option<Vec<Object>>, max_items = 100)]
    pub evaluations: Option<Vec<serde_json::Value>>,
    /// `evaluations_semantic`: `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`.
    #[schema(value_type = Option<Object>)]
    pub options: Option<serde_json::Value>,
}

/// Which part of the results.
#[derive(Serialize, ToSchema)]
pub struct AuthzenPage {
    /// `next_token` of the page before.
    pub token: Option<String>,
    /// Most results; more than 1000 count as 1000.
    #[schema(minimum = 1)]
    pub limit: Option<u64>,
}

/// Who may do this to that?
#[derive(Serialize, ToSchema)]
pub struct SubjectSearchRequest {
    /// The type that is sought.
    pub subject: AuthzenSought,
    /// What is done.
    pub action: AuthzenAction,
    /// To what.
    pub resource: AuthzenEntity,
    /// Facts about the circumstances.
    #[schema(value_type = Option<Object>)]
    pub context: Option<serde_json::Value>,
    /// Which part of the results.
    pub page: Option<AuthzenPage>,
}

/// To what may this subject do that?
#[derive(Serialize, ToSchema)]
pub struct ResourceSearchRequest {
    /// Who would act.
    pub subject: AuthzenEntity,
    /// What is done.
    pub action: AuthzenAction,
    /// The type that is sought.
    pub resource: AuthzenSought,
    /// Facts about the circumstances.
    #[schema(value_type = Option<Object>)]
    pub context: Option<serde_json::Value>,
    /// Which part of the results.
    pub page: Option<AuthzenPage>,
}

/// What may this subject do to that?
#[derive(Serialize, ToSchema)]
pub struct ActionSearchRequest {
    /// Who would act.
    pub subject: AuthzenEntity,
    /// To what.
    pub resource: AuthzenEntity,
    /// Facts about the circumstances.
    #[schema(value_type = Option<Object>)]
    pub context: Option<serde_json::Value>,
    /// Which part of the results.
    pub page: Option<AuthzenPage>,
}

/// The answer to one evaluation.
#[derive(Serialize, ToSchema)]
pub struct AccessEvaluationDocument<'a> {
    /// Only true permits.
    pub decision: bool,
    /// What stands behind it.
    pub context: EvaluationContext<'a>,
}

/// What stands behind an answer.
#[derive(Default, Serialize, ToSchema)]
pub struct EvaluationContext<'a> {
    /// Why not: a code such as `policy_denied`, `approval_required`, `throttled`,
    /// `no_applicable_policy`, `obligations_unsupported`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Why, for the administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_admin: Option<ReasonField<'a>>,
    /// Why not, for the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_user: Option<ReasonField<'a>>,
    /// The decision, `dec_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub evaluation_id: Option<IdText<Decision>>,
    /// When it was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub evaluated_at: Option<Instant>,
    /// Where its receipt is, relative to the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// What the gate has to do, or not go ahead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<ObligationDocument<'a>>,
    /// The approval that it waits for; sent back as `context.approval` once it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<EvaluationApproval<'a>>,
    /// `retry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_action: Option<&'static str>,
    /// When to come back, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Of an evaluation among several: why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<EvaluationError<'a>>,
    /// The decision as the native API shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub placet: Option<&'a RawValue>,
}

/// A reason by language.
#[derive(Serialize, ToSchema)]
pub struct ReasonField<'a> {
    /// In English.
    pub en: &'a str,
}

/// An obligation.
#[derive(Serialize, ToSchema)]
pub struct ObligationDocument<'a> {
    /// `custom`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `constraints`.
    pub id: &'static str,
    /// `placet`.
    pub vendor: &'static str,
    /// What the gate has to enforce.
    #[schema(value_type = Object)]
    pub constraints: JsonObject<'a>,
}

/// The approval of an evaluation.
#[derive(Serialize, ToSchema)]
pub struct EvaluationApproval<'a> {
    /// Id, `apr_…`.
    #[schema(value_type = String)]
    pub id: IdText<Approval>,
    /// `pending`, `approved`, `consumed`, `rejected`, `expired`, `invalidated`, `withdrawn` or
    /// `closed`.
    pub state: &'a str,
    /// Undecided, it expires then.
    #[schema(value_type = String)]
    pub expires_at: Instant,
}

/// Why one evaluation among several failed.
#[derive(Serialize, ToSchema)]
pub struct EvaluationError<'a> {
    /// The HTTP status that it would have had alone.
    pub status: u16,
    /// For people.
    pub message: &'a str,
    /// The stable code.
    pub code: &'a str,
    /// JSON pointer of the field, within the evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'a str>,
}

/// Subjects or resources that were found, in the order of their ids.
#[derive(Serialize, ToSchema)]
pub struct EntitySearchDocument<'a> {
    /// What was found.
    pub results: Vec<EntityFound<'a>>,
    /// Where it goes on.
    pub page: AuthzenPageDocument,
}

/// One subject or resource.
#[derive(Serialize, ToSchema)]
pub struct EntityFound<'a> {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Obligations that come with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<FoundContext<'a>>,
}

/// Actions that were found, in the order of their names.
#[derive(Serialize, ToSchema)]
pub struct ActionSearchDocument<'a> {
    /// What was found.
    pub results: Vec<ActionFound<'a>>,
    /// Where it goes on.
    pub page: AuthzenPageDocument,
}

/// One action.
#[derive(Serialize, ToSchema)]
pub struct ActionFound<'a> {
    /// Its name.
    pub name: &'a str,
    /// Obligations that come with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<FoundContext<'a>>,
}

/// What comes with a result.
#[derive(Serialize, ToSchema)]
pub struct FoundContext<'a> {
    /// What the gate has to do, or leave the result out.
    pub obligations: Vec<ObligationDocument<'a>>,
}

/// Where results go on.
#[derive(Serialize, ToSchema)]
pub struct AuthzenPageDocument {
    /// For `page.token` of the next call; empty at the end.
    pub next_token: String,
    /// Results in this answer.
    pub count: usize,
}

/// What this decision point offers, and where.
#[derive(Serialize, ToSchema)]
pub struct AuthzenConfiguration {
    /// Its identifier: the URL under which it is reached.
    pub policy_decision_point: String,
    /// One evaluation.
    pub access_evaluation_endpoint: String,
    /// Several.
    pub access_evaluations_endpoint: String,
    /// Search for subjects.
    pub search_subject_endpoint: String,
    /// Search for resources.
    pub search_resource_endpoint: String,
    /// Search for actions.
    pub search_action_endpoint: String,
    /// Types of obligations that may come with an answer.
    pub obligations_supported: Vec<&'static str>,
}
