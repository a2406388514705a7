//! Acts of administration that the constitution governs: a decision is asked for, the act is done under
//! its permit, and how it went is reported. Refuses to know the acts.

use crate::auth::Session;
use crate::call::Call;
use crate::decisions::admit;
use crate::document;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::KeyHeldDocument;
use placet_runtime::crypto::SystemEntropy;
use placet_runtime::ports::Entropy;
use placet_runtime::{Decided, PermitState};
use placet_types::Request;
use placet_types::event::ReportedResult;
use placet_types::hash::hex_encode;
use placet_types::ids::DecisionId;
use placet_types::json::{Object, Value};
use serde_json::value::RawValue;

/// Code and text where the permit of an idempotency key is used up.
pub(crate) const USED_UP: (&str, &str) = (
    "permit_consumed",
    "the permit of this idempotency key is used up; for what is left use another key",
);

/// The idempotency key of the body or the header, or a fresh one.
pub(crate) fn idempotency_key(call: &Call, given: Option<String>) -> Result<String, Problem> {
    let header = call.header("idempotency-key")?;
    match (given, header) {
        (Some(given), Some(header)) if given != header => {
            let text = "the header says another; send one of them";
            Err(Problem::invalid("/idempotency_key", text))
        }
        (given, header) => Ok(given.or(header.map(str::to_owned)).unwrap_or_else(random)),
    }
}

/// Asks for a decision on a surface of the constitution: the one that permits, or the answer to whoever
/// has to wait or is refused. A permit that is used up is `used_up`. It counts against the caller's limit and takes
/// a place, as every decision does.
pub(crate) async fn permitted(
    call: &Call,
    session: &Session,
    body: Value,
    used_up: (&'static str, &str),
) -> Result<Result<DecisionId, Response>, Problem> {
    admit(call, session, 1)?;
    let request = Request::read(body, &session.principal.caller)?;
    let place = call.decide_place(1).await?;
    let plane = &call.server.plane;
    let decided = plane.decide(&session.workspace, &session.principal, &request).await?;
    drop(place);
    match decided.answer.permit.as_ref().map(|permit| permit.state) {
        Some(PermitState::Granted) => Ok(Ok(decided.answer.event.decision)),
        Some(PermitState::Revoked) | None => Ok(Err(not_permitted(call, session, &decided).await?)),
        Some(_) => Err(Problem::new(used_up.0, used_up.1)),
    }
}

/// Held, or refused.
pub(crate) async fn not_permitted(
    call: &Call,
    session: &Session,
    decided: &Decided,
) -> Result<Response, Problem> {
    let answer = &decided.answer;
    let fresh = !answer.replayed;
    let document = document::decision(&call.server, session, answer, None, fresh).await?;
    let document = String::from_utf8(document).unwrap_or_default();
    let document = RawValue::from_string(document)
        .map_err(|error| Problem::internal(&format!("a decision document is no json: {error}")))?;
    if document::is_pending(answer) {
        return document::answer(StatusCode::ACCEPTED, &KeyHeldDocument { decision: &document });
    }
    let text = "the constitution or the policy does not permit this; the decision says why";
    Err(Problem::new("not_permitted", text).decision(document))
}

/// Says how the act went. What was done stands in the log; that its report is missing would show as an
/// unknown outcome.
pub(crate) async fn report(call: &Call, session: &Session, decision: DecisionId, done: bool) {
    let result = if done { ReportedResult::Succeeded } else { ReportedResult::Failed };
    let (plane, workspace) = (&call.server.plane, &session.workspace);
    let report = plane.report(workspace, &session.principal, decision, result, Object::new());
    if let Err(error) = report.await {
        eprintln!("placet: the outcome of {decision} is not recorded: {error}");
    }
}

/// 32 random bytes as hex.
pub(crate) fn random() -> String {
    let mut bytes = [0; 32];
    SystemEntropy.fill(&mut bytes);
    hex_encode(&bytes)
}
