//! The answer to an evaluation: yes or no, and in `context` what stands behind it. Owns the words of
//! the working group's drafts; refuses to decide anything.

use super::Gate;
use crate::document;
use crate::problem::Problem;
use placet_api::{
    AccessEvaluationDocument, EvaluationApproval, EvaluationContext, EvaluationError, IdText,
    Instant, JsonObject, ObligationDocument, ReasonField,
};
use placet_engine::HeldState;
use placet_runtime::{DecisionAnswer, PermitState};
use placet_types::event::{DecisionEvent, ReportedResult};
use placet_types::json::Object;
use placet_types::policy::{Outcome, Reason};
use serde_json::value::RawValue;

/// An answer on its way out.
pub(super) struct Evaluated {
    pub(super) decision: bool,
    pub(super) json: Vec<u8>,
}

/// Why an answer is no.
const UNSUPPORTED: &str = "obligations_unsupported";

/// The one obligation there is: constraints are the gate's to enforce.
pub(super) fn obligations(constraints: &Object) -> Vec<ObligationDocument<'_>> {
    let obligation = |constraints| ObligationDocument {
        kind: "custom",
        id: "constraints",
        vendor: "placet",
        constraints: JsonObject(constraints),
    };
    (!constraints.is_empty()).then(|| obligation(constraints)).into_iter().collect()
}

/// The answer. A permit under constraints goes to a gate that says it enforces them, and to no other.
pub(super) async fn present(
    gate: &Gate<'_>,
    answer: DecisionAnswer,
    takes_custom: bool,
) -> Result<Evaluated, Problem> {
    let mut answer = answer;
    let mut reason = refusal(&answer);
    if reason.is_none() && !takes_custom && !answer.event.constraints.is_empty() {
        reason = Some(UNSUPPORTED);
        answer = unused(gate, answer).await?;
    }
    let server = &gate.call.server;
    let fresh = !answer.replayed && answer.hold.is_none();
    let document = document::decision(server, &gate.session, &answer, None, fresh).await?;
    let document = String::from_utf8(document).unwrap_or_default();
    let document = RawValue::from_string(document)
        .map_err(|error| Problem::internal(&format!("a decision document is no json: {error}")))?;
    let event: &DecisionEvent = &answer.event;
    let texts = document::texts_of(server, &gate.session.workspace, &answer);
    let text = event.rules.iter().find_map(|rule| texts.as_ref()?.get(rule));
    let first = event.reasons.first().copied().unwrap_or(Reason::NoRuleMatches);
    let admin = match reason {
        Some(UNSUPPORTED) => {
            "it is permitted under constraints, and the gate did not name custom among \
             context.obligations_supported"
        }
        _ => text.map_or(first.text(), String::as_str),
    };
    let throttled = reason == Some("throttled");
    let seconds = event.retry_after_ms.map(|ms| ms.div_ceil(1000));
    let context = EvaluationContext {
        reason,
        reason_admin: Some(ReasonField { en: admin }),
        reason_user: reason.map(|reason| ReasonField { en: for_user(reason) }),
        evaluation_id: Some(IdText(event.decision)),
        evaluated_at: Some(Instant(answer.time)),
        receipt: Some(format!("/api/v1/receipts/{}", event.decision)),
        obligations: match reason {
            None => obligations(&event.constraints),
            Some(_) => Vec::new(),
        },
        approval: event.approval.as_ref().map(|opened| EvaluationApproval {
            id: IdText(opened.id),
            state: approval_state(&answer),
            expires_at: Instant(opened.expires),
        }),
        next_action: throttled.then_some("retry"),
        retry_after: seconds.filter(|_| throttled),
        error: None,
        placet: Some(&document),
    };
    encode(reason.is_none(), context)
}

/// The answer to an evaluation among several that failed: no, and why.
pub(super) fn failed(problem: &Problem) -> Result<Evaluated, Problem> {
    let document = problem.document();
    let error = EvaluationError {
        status: document.status,
        message: &document.detail,
        code: &document.code,
        field: document.field.as_deref(),
    };
    let retry_after = document.retry_after_ms.map(|ms| ms.div_ceil(1000));
    let context = EvaluationContext {
        reason: Some("error"),
        error: Some(error),
        next_action: retry_after.map(|_| "retry"),
        retry_after,
        ..EvaluationContext::default()
    };
    encode(false, context)
}

fn encode(decision: bool, context: EvaluationContext<'_>) -> Result<Evaluated, Problem> {
    let json = serde_json::to_vec(&AccessEvaluationDocument { decision, context })
        .map_err(|error| Problem::internal(&error.to_string()))?;
    Ok(Evaluated { decision, json })
}

/// Says for the gate that it does not act on a permit that it was not given.
async fn unused(gate: &Gate<'_>, answer: DecisionAnswer) -> Result<DecisionAnswer, Problem> {
    if answer.reported {
        return Ok(answer);
    }
    let detail = Object::new().with("reason", UNSUPPORTED);
    let id = answer.event.decision;
    let (plane, session) = (&gate.call.server.plane, &gate.session);
    let report = plane.report(
        &session.workspace,
        &session.principal,
        id,
        ReportedResult::NotExecuted,
        detail,
    );
    let reported = report.await?;
    Ok(DecisionAnswer { replayed: answer.replayed, ..reported })
}

/// Why it may not be done; nothing where it may. Only a permit that this answer hands out is a yes.
fn refusal(answer: &DecisionAnswer) -> Option<&'static str> {
    match answer.permit.as_ref().map(|permit| permit.state) {
        Some(PermitState::Granted) => return None,
        Some(PermitState::Open) => return Some("permit_open"),
        Some(PermitState::Consumed) => return Some("permit_consumed"),
        Some(PermitState::Expired) => return Some("permit_expired"),
        Some(PermitState::Revoked) => return Some("permit_revoked"),
        None => {}
    }
    let event = &answer.event;
    let first = event.reasons.first().copied().unwrap_or(Reason::NoRuleMatches);
    Some(match event.outcome {
        Outcome::Permit => "no_permit",
        Outcome::RequireApproval => match approval_state(answer) {
            "rejected" => "approval_rejected",
            "expired" => "approval_expired",
            "invalidated" => "approval_invalidated",
            "withdrawn" => "approval_withdrawn",
            "closed" => "approval_closed",
            _ => "approval_required",
        },
        Outcome::Throttle => "throttled",
        Outcome::Deny if first == Reason::Rule => "policy_denied",
        Outcome::Silence
            if matches!(
                first,
                Reason::NoRuleMatches
                    | Reason::NothingGrants
                    | Reason::NoBundle
                    | Reason::UnknownSurface
            ) =>
        {
            "no_applicable_policy"
        }
        Outcome::Deny | Outcome::Silence => first.as_str(),
    })
}

fn approval_state(answer: &DecisionAnswer) -> &'static str {
    match &answer.hold {
        Some(held) => held.state.as_str(),
        None if answer.replayed => "closed",
        None => HeldState::Pending.as_str(),
    }
}

fn for_user(reason: &str) -> &'static str {
    match reason {
        "approval_required" => "This waits until other people have approved it.",
        "throttled" => "Too often for now; try again later.",
        _ => "This is not permitted.",
    }
}
