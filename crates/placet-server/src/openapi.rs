//! The OpenAPI 3.1 document, made from the table of operations and the schemas of the wire types.
//! Refuses to know handlers: what is in the table is served, and tests reach every row.

use crate::examples;
use crate::operations::{OPERATIONS, Operation};
use placet_api as api;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(components(schemas(
    api::ExecutionRequestDocument,
    api::BatchRequest,
    api::DecisionDocument,
    api::ReasonDocument,
    api::MatchedDocument,
    api::ApprovalPart,
    api::PermitDocument,
    api::LogPlace,
    api::ConsumeRequest,
    api::OutcomeRequest,
    api::ReceiptDocument,
    api::TraceDocument,
    api::AuditDocument,
    api::LogEntryDocument,
    api::ApprovalMark,
    api::ApprovalList,
    api::ApprovalDocument,
    api::RenderingDocument,
    api::FieldDocument,
    api::AskedByDocument,
    api::CastVoteDocument,
    api::VoteDocument,
    api::VoteRequest,
    api::ApprovalAskRequest,
    api::JobRequest,
    api::JobDocument,
    api::ApprovalStatusDocument,
    api::CompatVoteRequest,
    api::GovernanceRequestList,
    api::GovernanceRequestDocument,
    api::GovernanceDecisionDocument,
    api::RiskAssessmentDocument,
    api::KillRequest,
    api::KillDocument,
    api::KillStateDocument,
    api::LiftDocument,
    api::ExecutionRequest,
    api::ExecutionEndRequest,
    api::ExecutionDocument,
    api::ExecutionList,
    api::DrillRequest,
    api::AcknowledgeRequest,
    api::OverrideReportDocument,
    api::OverrideStopped,
    api::OverrideUnreached,
    api::GateAcknowledgement,
    api::SilentGate,
    api::OverrideRequest,
    api::OverrideLiftRequest,
    api::OverrideDocument,
    api::OverrideList,
    api::OverrideLiftDocument,
    api::TrippedDocument,
    api::KeyRequest,
    api::KeyDocument,
    api::KeyList,
    api::KeyMadeDocument,
    api::KeyHeldDocument,
    api::SessionRequest,
    api::SessionDocument,
    api::SessionList,
    api::SessionMadeDocument,
    api::WorkspaceRequest,
    api::WorkspaceDocument,
    api::WorkspaceList,
    api::WorkspaceMadeDocument,
    api::EraseRequest,
    api::EraseDocument,
    api::HoldRequest,
    api::HoldDocument,
    api::HoldList,
    api::HoldReleasedDocument,
    api::DisclosedDocument,
    api::OpeningDocument,
    api::RotateRequest,
    api::RevokeSignerRequest,
    api::SignersDocument,
    api::SignerChangeDocument,
    api::SurfaceList,
    api::SurfaceDocument,
    api::ShadowRequest,
    api::ShadowDocument,
    api::ShadowingDocument,
    api::CoverageDocument,
    api::CoveredSurface,
    api::PassagesDocument,
    api::GateDocument,
    api::UnknownSurfaces,
    api::CoveredRules,
    api::NeverMatched,
    api::HoleDocument,
    api::PassageRequest,
    api::PassageDocument,
    api::GovernanceDocument,
    api::LatencyDocument,
    api::LineageShareDocument,
    api::BucketDocument,
    api::RejectedDocument,
    api::ExpiredEvidenceDocument,
    api::ExceptionUseDocument,
    api::MissingOwnersDocument,
    api::UnownedDocument,
    api::ViolationsDocument,
    api::SourceDocument,
    api::LintRequest,
    api::LintDocument,
    api::FormatRequest,
    api::FormatDocument,
    api::FormattedDocument,
    api::ImportRequest,
    api::ImportDocument,
    api::OrderDocument,
    api::SchemaDocument,
    api::FindingDocument,
    api::TestRequest,
    api::TestDocument,
    api::CaseDocument,
    api::DifferenceDocument,
    api::ExplainRequest,
    api::RecordedDocument,
    api::DiffRequest,
    api::DiffDocument,
    api::BacktestRequest,
    api::BacktestDocument,
    api::ExplainDocument,
    api::AccessEvaluationRequest,
    api::AccessEvaluationsRequest,
    api::AccessEvaluationDocument,
    api::EvaluationContext,
    api::EvaluationApproval,
    api::EvaluationError,
    api::ObligationDocument,
    api::ReasonField,
    api::AuthzenEntity,
    api::AuthzenSought,
    api::AuthzenAction,
    api::AuthzenPage,
    api::AuthzenPageDocument,
    api::SubjectSearchRequest,
    api::ResourceSearchRequest,
    api::ActionSearchRequest,
    api::EntitySearchDocument,
    api::EntityFound,
    api::ActionSearchDocument,
    api::ActionFound,
    api::FoundContext,
    api::AuthzenConfiguration,
    api::PolicyRequest,
    api::PolicySource,
    api::PolicyReleaseRequest,
    api::PolicyRollbackRequest,
    api::PolicyWithdrawRequest,
    api::PolicyReviewRequest,
    api::PolicyAuthorRequest,
    api::PolicyDocument,
    api::PolicyList,
    api::PolicyCurrentDocument,
    api::PolicyDraftDocument,
    api::PolicyReviewDocument,
    api::PolicyAuthorDocument,
    api::ExceptionPart,
    api::ExceptionRequest,
    api::ExceptionSpan,
    api::ExceptionReviewRequest,
    api::ExceptionDocument,
    api::ExceptionControl,
    api::ExceptionReview,
    api::ExceptionList,
    api::ExceptionPassageDocument,
    api::DelegationRequest,
    api::DelegationDocument,
    api::DelegationList,
    api::EvidenceRequest,
    api::EvidenceDocument,
    api::EvidenceList,
    api::EvidenceRevokeRequest,
    api::IssuerKeyRequest,
    api::IssuerKeyDocument,
    api::IssuerKeyList,
    api::ReleaseRequest,
    api::RecordedEntryDocument,
    api::ReleaseDocument,
    api::LinkDocument,
    api::ReleaseList,
    api::AliasRequest,
    api::AliasDocument,
    api::AliasList,
    api::OutboxDocument,
    api::DeliveryDocument,
    api::ChannelDocument,
    api::StatusDocument,
    api::TrustDocument,
    api::TrustKeyDocument,
    api::ProblemDocument,
)))]
struct Schemas;

/// The document, pretty-printed with a newline at its end. The same bytes on every call.
#[must_use]
pub fn openapi_json() -> String {
    let mut schemas = serde_json::to_value(Schemas::openapi())
        .ok()
        .and_then(|mut document| Some(document.get_mut("components")?.get_mut("schemas")?.take()))
        .unwrap_or_else(|| json!({}));
    schemas["BatchDocument"] = json!({
        "type": "object",
        "description": "One result for each request, in order.",
        "required": ["results"],
        "properties": {"results": {"type": "array", "items": {"oneOf": [
            {"type": "object", "required": ["decision"],
             "properties": {"decision": reference("DecisionDocument")}},
            {"type": "object", "required": ["problem"],
             "properties": {"problem": reference("ProblemDocument")}},
        ]}}},
    });
    schemas["AccessEvaluationsDocument"] = json!({
        "description": "One answer for each evaluation, in order; or the one answer, where there \
                        were none.",
        "oneOf": [
            {"type": "object", "required": ["evaluations"],
             "properties": {"evaluations": {"type": "array",
                                            "items": reference("AccessEvaluationDocument")}}},
            reference("AccessEvaluationDocument"),
        ],
    });
    let mut paths = Map::new();
    for operation in OPERATIONS {
        // The router's mark for the rest of a path means nothing in OpenAPI.
        let path = paths.entry(operation.path.replace("{*", "{")).or_insert_with(|| json!({}));
        path[operation.method.to_lowercase()] = describe(operation);
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Placet",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Decides, records and proves what agents may execute. A refusal by \
                            policy is an outcome (200); a problem document means that nothing was \
                            decided.",
        },
        "servers": [{"url": "http://127.0.0.1:8081"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": {
                "description": "It was refused, or it failed; `code` says why.",
                "content": {"application/problem+json": {"schema": reference("ProblemDocument")}},
            }},
        },
    });
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text + "\n"
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn describe(operation: &Operation) -> Value {
    let names = operation.path.split(['{', '}']).skip(1).step_by(2);
    let names = names.map(|name| name.trim_start_matches('*'));
    let parameter = |name: &str, place: &str| {
        let mut parameter = json!({
            "name": name, "in": place, "required": place == "path", "schema": {"type": "string"},
        });
        if let Some(example) = examples::parameter(name) {
            parameter["example"] = example.into();
        }
        parameter
    };
    let mut parameters: Vec<Value> = names.map(|name| parameter(name, "path")).collect();
    parameters.extend(operation.query.iter().map(|name| parameter(name, "query")));
    parameters.extend(operation.headers.iter().map(|name| parameter(name, "header")));
    let mut responses = Map::new();
    for (status, kind, schema) in operation.answers {
        let entry = responses
            .entry(status.to_string())
            .or_insert_with(|| json!({"description": operation.summary}));
        let schema = match (*schema, *kind) {
            ("", "application/json") => json!({"type": "object"}),
            ("", _) => json!({"type": "string"}),
            (name, _) => reference(name),
        };
        if !kind.is_empty() {
            entry["content"][*kind] = json!({"schema": schema});
        }
        if *status < 202 && *kind == "application/json" {
            for (to, parameter, place) in examples::links(operation.id) {
                entry["links"][*to] = json!({"operationId": to, "parameters": {*parameter: place}});
            }
        }
    }
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Problem"}));
    let mut described = json!({
        "operationId": operation.id, "summary": operation.summary, "responses": responses,
    });
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if let Some(body) = operation.body {
        described["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": reference(body)}},
        });
        if let Some(example) = examples::body(body) {
            described["requestBody"]["content"]["application/json"]["example"] = example;
        }
    }
    if !operation.key {
        described["security"] = json!([]);
    }
    described
}
