//! Approvals as runs of other systems ask for them: `/approval/…`. Translates to execution requests on
//! surface `approval.request` and to native votes; decides nothing itself. Jobs as well: `/api/v1/jobs`.

mod history;
mod jobs;

pub(crate) use history::{history, pending, request};
pub(crate) use jobs::submit;

use crate::approvals::{self, Said, find, may_see};
use crate::auth::{Act, Session};
use crate::call::{self, Call};
use crate::decisions::admit;
use crate::document;
use crate::governed::random;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{ApprovalStatusDocument, IdText, Instant, compat_status};
use placet_engine::Held;
use placet_runtime::{APPROVAL_REQUEST, DecisionAnswer, PermitState};
use placet_types::Request;
use placet_types::ids::is_name;
use placet_types::json::{Object, Value};
use serde_json::value::RawValue;
use std::time::Duration;

/// Longest time to wait that can be asked for; policy says less.
const TIMEOUT_SECONDS_MAX: u64 = 366 * 86_400;
/// The levels of risk that a run may name.
const RISK_LEVELS: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// `POST /approval/request`
pub(crate) async fn ask(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let nonce = call.header("placet-attempt-nonce")?.map(str::to_owned);
    let key = call.header("idempotency-key")?.map_or_else(random, str::to_owned);
    let body = match call.json().await? {
        Some(Value::Object(body)) => body,
        Some(_) => return Err(Problem::new("field_invalid", "the body must be a JSON object")),
        None => return Err(Problem::missing("", "the body must say run_id and phase_id")),
    };
    let request = request_of(body, &key, nonce)?;
    let request = Request::read(request.into(), &session.principal.caller)?;
    let _place = call.decide_place(1).await?;
    let plane = &call.server.plane;
    let decided = plane.decide(&session.workspace, &session.principal, &request).await?;
    let answer = &decided.answer;
    let decision =
        document::decision(&call.server, &session, answer, None, !answer.replayed).await?;
    let status = Status { answer, decision: Some(decision), key: Some(&key), why: None };
    status.respond(&call, &session)
}

/// The execution request that asks for what the body says.
fn request_of(body: Object, key: &str, nonce: Option<String>) -> Result<Object, Problem> {
    let run = named(&body, "run_id")?;
    let phase = named(&body, "phase_id")?;
    for name in ["reason", "risk_level"] {
        if body.get(name).is_some_and(|value| value.as_str().is_none()) {
            return Err(Problem::invalid(&format!("/{name}"), "expected a string"));
        }
    }
    let level = body.get("risk_level").and_then(Value::as_str);
    if level.is_some_and(|level| !RISK_LEVELS.contains(&level)) {
        let text = format!("expected one of {}", RISK_LEVELS.join(", "));
        return Err(Problem::invalid("/risk_level", text));
    }
    let timeout = body.get("timeout_seconds");
    let fits = |value: &Value| {
        value.as_u64().is_some_and(|seconds| (1..=TIMEOUT_SECONDS_MAX).contains(&seconds))
    };
    if timeout.is_some_and(|value| !fits(value)) {
        let text = format!("expected a whole number from 1 to {TIMEOUT_SECONDS_MAX}");
        return Err(Problem::invalid("/timeout_seconds", text));
    }
    if let Some((name, _)) = body.iter().find(|(_, value)| **value == Value::Null) {
        let text = "null is refused; leave the field out";
        return Err(Problem::invalid(&format!("/{name}"), text));
    }
    let request = Object::new()
        .with("surface", APPROVAL_REQUEST)
        .with("action", "request")
        .with("idempotency_key", key)
        .with("target", format!("{run}/{phase}"))
        .with("trace_id", run.as_str())
        .with_opt("execution", is_name(&run).then_some(run.as_str()))
        .with_opt("step", is_name(&phase).then_some(phase.as_str()))
        .with_opt("attempt_nonce", nonce);
    Ok(request.with("arguments", body))
}

fn named(body: &Object, name: &str) -> Result<String, Problem> {
    let field = format!("/{name}");
    match body.get(name) {
        None => Err(Problem::missing(&field, format!("{name} is required"))),
        Some(Value::String(text)) if (1..=200).contains(&text.len()) => Ok(text.clone()),
        Some(_) => Err(Problem::invalid(&field, "expected a string of 1 to 200 bytes")),
    }
}

/// `GET /approval/status/{id}`
pub(crate) async fn status(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    call.query(&[])?;
    let nonce = call::nonce(call.header("placet-attempt-nonce")?)?;
    let (held, ..) = seen(&call, &session).await?;
    // The proposer's nonce collects the permit of what is approved, as it does for the decision.
    let (plane, principal) = (&call.server.plane, &session.principal);
    let workspace = &session.workspace;
    let answer = plane.decision(workspace, principal, held.decision, nonce, Duration::ZERO).await?;
    let decision = document::decision(&call.server, &session, &answer, None, false).await?;
    let status = Status { answer: &answer, decision: Some(decision), key: None, why: None };
    status.respond(&call, &session)
}

/// The approval in the path, if the caller may see it.
async fn seen(call: &Call, session: &Session) -> Result<placet_runtime::HeldView, Problem> {
    let seen = find(call, session, &call.segment(2)?).await?;
    may_see(call, session, &seen.0).await?;
    Ok(seen)
}

/// `POST /approval/approve/{id}`
pub(crate) async fn approve(call: Call) -> Result<Response, Problem> {
    vote(call, true).await
}

/// `POST /approval/reject/{id}`
pub(crate) async fn reject(call: Call) -> Result<Response, Problem> {
    vote(call, false).await
}

async fn vote(mut call: Call, approve: bool) -> Result<Response, Problem> {
    let mut session = call.session(Act::Oversee)?;
    let said = Said::read(call.object(&["action_digest", "note", "requirement"]).await?)?;
    let id = call.segment(2)?;
    let (seen, not_in_force) = approvals::cast(&call, &mut session, &id, approve, &said).await?;
    let (held, answer, _) = seen;
    let answer = DecisionAnswer { hold: Some(held), ..answer };
    let why = not_in_force.map(|problem| problem.document().detail.clone());
    Status { answer: &answer, decision: None, key: None, why }.respond(&call, &session)
}

/// What a run is told of its request.
struct Status<'a> {
    answer: &'a DecisionAnswer,
    decision: Option<Vec<u8>>,
    key: Option<&'a str>,
    /// Why what is approved did not come into force.
    why: Option<String>,
}

impl Status<'_> {
    fn respond(&self, call: &Call, session: &Session) -> Result<Response, Problem> {
        let event = &self.answer.event;
        let outcome = event.outcome.as_str().to_lowercase();
        let held = self.answer.hold.as_ref().map(|held: &Held| held.state.as_str());
        let state = match (held, &event.approval) {
            (Some(state), _) => state,
            (None, Some(_)) => "pending",
            (None, None) => outcome.as_str(),
        };
        let (mut status, mut reason) = (compat_status(state), self.why.clone());
        let permit = self.answer.permit.as_ref().map(|view| view.state);
        if status == "approved" && session.workspace.stops_all_of(event) {
            (status, reason) = ("pending", Some("a kill switch is in force".to_owned()));
        } else if status == "approved" && permit == Some(PermitState::Revoked) {
            // A kill took the permit back, and lifting it gave nothing back.
            (status, reason) = ("rejected", Some("a kill switch revoked the permit".to_owned()));
        }
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let decision = self.decision.as_ref().map(|bytes| RawValue::from_string(text(bytes)));
        let decision =
            decision.transpose().map_err(|error| Problem::internal(&error.to_string()))?;
        let texts = document::texts_of(&call.server, &session.workspace, self.answer);
        let ruled = event.rules.iter().find_map(|rule| texts.as_ref()?.get(rule).cloned());
        let first = ruled.or_else(|| event.reasons.first().map(|reason| reason.text().to_owned()));
        let document = ApprovalStatusDocument {
            approval_id: event.approval.as_ref().map(|approval| IdText(approval.id)),
            status,
            state,
            reason: reason.or(first),
            timeout_at: event.approval.as_ref().map(|approval| Instant(approval.expires)),
            idempotency_key: self.key,
            decision: decision.as_deref(),
        };
        document::answer(StatusCode::OK, &document)
    }
}
