//! Jobs as other systems submit them: `POST /api/v1/jobs`. Fills in what such a body leaves out and asks for a
//! decision on surface `job`; hands nothing to any worker: whoever gets the permit does.

use crate::auth::Act;
use crate::call::Call;
use crate::decisions::admit;
use crate::document;
use crate::exceptions;
use crate::governed::random;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{IdText, JOB, JobDocument};
use placet_engine::HeldState;
use placet_runtime::{DecisionAnswer, PermitState};
use placet_types::Request;
use placet_types::ids::JobId;
use placet_types::json::{Object, Value};
use placet_types::policy::Outcome;
use serde_json::value::RawValue;

/// What a job is asked to do where its body does not say.
const DISPATCH: &str = "dispatch";

/// `POST /api/v1/jobs`
pub(crate) async fn submit(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let header = call.header("idempotency-key")?.map(str::to_owned);
    let nonce = call.header("placet-attempt-nonce")?.map(str::to_owned);
    let mut body = match call.json().await? {
        Some(Value::Object(body)) => body,
        Some(_) => return Err(Problem::new("field_invalid", "the body must be a JSON object")),
        None => return Err(Problem::missing("", "the body must say which topic the job is for")),
    };
    if body.get("topic").is_none() {
        return Err(Problem::missing("/topic", "topic is required: what the job is for"));
    }
    tenant(&mut body)?;
    agree(&mut body, "idempotency_key", header)?;
    agree(&mut body, "attempt_nonce", nonce)?;
    let key = match body.get("idempotency_key") {
        None => {
            let key = random();
            body.set("idempotency_key", key.as_str());
            Some(key)
        }
        Some(_) => None,
    };
    for (name, value) in [("surface", JOB), ("action", DISPATCH)] {
        if body.get(name).is_none() {
            body.set(name, value);
        }
    }
    if body.get("surface").and_then(Value::as_str) != Some(JOB) {
        return Err(Problem::invalid("/surface", "a job is on surface `job`; leave it out"));
    }
    let request = Request::read(Value::Object(body), &session.principal.caller)?;
    let _place = call.decide_place(1).await?;
    let plane = &call.server.plane;
    let decided = plane.decide(&session.workspace, &session.principal, &request).await?;
    let answer = &decided.answer;
    let event = &answer.event;
    let shown = document::decision(&call.server, &session, answer, None, !answer.replayed).await?;
    let shown = String::from_utf8(shown).unwrap_or_default();
    let shown = RawValue::from_string(shown)
        .map_err(|error| Problem::internal(&format!("a decision document is no json: {error}")))?;
    let document = JobDocument {
        job_id: IdText(JobId::from_bytes(*event.decision.bytes())),
        state: state(answer),
        idempotency_key: key.as_deref(),
        decision: &shown,
    };
    let mut response = document::answer(StatusCode::OK, &document)?;
    exceptions::mark(&mut response, event);
    Ok(response)
}

/// `tenant_id` is another word for the workspace, which has to be that of the key.
fn tenant(body: &mut Object) -> Result<(), Problem> {
    let Some(tenant) = body.remove("tenant_id") else { return Ok(()) };
    match (tenant.as_str(), body.get("workspace")) {
        (None, _) => Err(Problem::invalid("/tenant_id", "expected the name of a workspace")),
        (Some(tenant), Some(workspace)) if workspace.as_str() != Some(tenant) => {
            Err(Problem::invalid("/tenant_id", "workspace says another; send one of them"))
        }
        (Some(tenant), _) => {
            body.set("workspace", tenant);
            Ok(())
        }
    }
}

/// A member that a header may hold instead.
fn agree(body: &mut Object, name: &str, header: Option<String>) -> Result<(), Problem> {
    let Some(header) = header else { return Ok(()) };
    match body.get(name) {
        None => body.set(name, header),
        Some(value) if value.as_str() == Some(&header) => {}
        Some(_) => {
            let text = "the header says another; send one of them";
            return Err(Problem::invalid(&format!("/{name}"), text));
        }
    }
    Ok(())
}

/// Where a job stands: what nobody may run is denied, for whatever reason.
fn state(answer: &DecisionAnswer) -> &'static str {
    if answer.permit.as_ref().is_some_and(|permit| permit.state == PermitState::Revoked) {
        return "denied";
    }
    match (answer.event.outcome, answer.hold.as_ref().map(|held| &held.state)) {
        (Outcome::Permit, _) | (_, Some(HeldState::Approved(_) | HeldState::Consumed(_))) => {
            "permitted"
        }
        (_, Some(HeldState::Pending)) | (Outcome::RequireApproval, None) => "approval_required",
        (Outcome::Throttle, _) => "throttled",
        _ => "denied",
    }
}
