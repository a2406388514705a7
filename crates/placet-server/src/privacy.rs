//! Erasing payloads, legal holds, and payloads for those who may see them. Refuses to know the
//! constitution and what keeps a payload; it asks for a decision, and the plane.

use crate::audit::{instant_of, seen};
use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call};
use crate::document;
use crate::governed::{USED_UP, idempotency_key, permitted, random, report};
use crate::names::Names;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    DisclosedDocument, EraseDocument, HoldDocument, HoldList, HoldReleasedDocument, IdText,
    Instant, JsonObject, OpeningDocument, Sha,
};
use placet_engine::LegalHold;
use placet_runtime::{Against, ErasePlan, EraseSpec, PlaneError, Selection, Workspace};
use placet_tlog::receipt::Receipt;
use placet_types::event::{HoldScope, PayloadErased};
use placet_types::hash::hex_encode;
use placet_types::ids::{DecisionId, HoldId, TimeMs};
use placet_types::json::{Object, Value};

/// The legal basis where none is given.
const REASON: &str = "request";

/// `POST /api/v1/audit/erase`
pub(crate) async fn erase(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&OVERSEERS)?;
    let known = ["before", "decision", "dry_run", "idempotency_key", "reason", "subject"];
    let mut fields = call.object(&known).await?;
    let dry_run = match fields.remove("dry_run") {
        None => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(_) => return Err(Problem::invalid("/dry_run", "expected true or false")),
    };
    let key = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let plane = call.server.plane.clone();
    let workspace = &session.workspace;
    let spec = spec(&mut fields, workspace, plane.now())?;
    let mut plan = plane.plan_erase(workspace, &spec).await?;
    if dry_run {
        return answer(StatusCode::OK, &spec, plan, true, None);
    }
    if plan.payloads == 0 {
        // What was erased before may still wait for its keys to go.
        plan.destroyed = plan.erased_before == 0 || plane.destroyed(workspace).await;
        // Nobody is asked to approve what comes to nothing.
        if let Some(kept) = plan.kept.take_if(|_| plan.destroyed) {
            return Err(PlaneError::Rejected(kept).into());
        }
        return answer(StatusCode::OK, &spec, plan, false, None);
    }
    let body = placet_runtime::Plane::erase_request(&spec, key, random());
    let decision = match permitted(&call, &session, body, USED_UP).await? {
        Ok(decision) => decision,
        Err(response) => return Ok(response),
    };
    let erased = plane.erase(workspace, &session.principal, &spec, decision).await;
    report(&call, &session, decision, erased.is_ok()).await;
    let mut erased = erased?;
    erased.erased_before = plan.erased_before.max(erased.erased_before);
    answer(StatusCode::OK, &spec, erased, false, Some(decision))
}

fn answer(
    status: StatusCode,
    spec: &EraseSpec,
    plan: ErasePlan,
    dry_run: bool,
    decision: Option<DecisionId>,
) -> Result<Response, Problem> {
    let before = match spec.selection {
        Selection::Before(time) => Some(Instant(time)),
        _ => None,
    };
    let document = EraseDocument {
        dry_run,
        reason: spec.reason.clone(),
        before,
        decisions: plan.decisions,
        payloads: plan.payloads,
        legal_hold: plan.legal_hold,
        retention: plan.retention,
        erased_before: plan.erased_before,
        withdrawn: plan.withdrawn,
        revoked: plan.revoked,
        entries: plan.entries,
        destroyed: plan.destroyed,
        decision: decision.map(IdText),
    };
    document::answer(status, &document)
}

fn spec(fields: &mut Object, workspace: &Workspace, now: TimeMs) -> Result<EraseSpec, Problem> {
    let reason = call::text(fields, "reason", 64)?.unwrap_or_else(|| REASON.to_owned());
    code("/reason", &reason)?;
    let decision = call::text(fields, "decision", 200)?;
    let subject = call::text(fields, "subject", 200)?;
    let before = call::text(fields, "before", 64)?;
    let selection = match (decision, subject, before) {
        (Some(id), None, None) => Selection::Decision(decision_id(&id)?),
        (None, Some(name), None) => {
            if name.is_empty() {
                return Err(Problem::invalid("/subject", "expected 1 to 200 bytes"));
            }
            Selection::Subject(workspace.names().subject_tag(&name))
        }
        (None, None, Some(time)) => {
            let time = instant_of(&time, now).filter(|time| *time <= now);
            let expected = "expected an instant that has passed, such as 2026-01-31T12:00:00Z, \
                            Unix milliseconds, or 90d ago";
            Selection::Before(time.ok_or_else(|| Problem::invalid("/before", expected))?)
        }
        (None, None, None) => {
            let text = "one of decision, subject and before is required";
            return Err(Problem::missing("/decision", text));
        }
        _ => {
            let text = "expected exactly one of decision, subject and before";
            return Err(Problem::invalid("/decision", text));
        }
    };
    Ok(EraseSpec { selection, reason })
}

fn code(field: &str, text: &str) -> Result<(), Problem> {
    let expected = "expected a code of 1 to 64 lower-case letters, digits, '.', '_' and '-'";
    if PayloadErased::is_reason(text) { Ok(()) } else { Err(Problem::invalid(field, expected)) }
}

fn decision_id(text: &str) -> Result<DecisionId, Problem> {
    let invalid = || Problem::invalid("/decision", "expected dec_ and 32 hex digits");
    DecisionId::parse(text).ok_or_else(invalid)
}

/// `POST /api/v1/holds`
pub(crate) async fn place_hold(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let mut fields = call.object(&["decision", "reason", "scope", "subject"]).await?;
    let scope = call::required(&mut fields, "scope", 32)?;
    let reason = call::required(&mut fields, "reason", 64)?;
    code("/reason", &reason)?;
    let decision = call::text(&mut fields, "decision", 200)?;
    let subject = call::text(&mut fields, "subject", 200)?;
    let workspace = &session.workspace;
    let scope = match (scope.as_str(), decision, subject) {
        ("workspace", None, None) => HoldScope::Workspace,
        ("decision", Some(id), None) => HoldScope::Decision(decision_id(&id)?),
        ("subject", None, Some(name)) if !name.is_empty() => {
            HoldScope::Subject(workspace.names().subject_tag(&name))
        }
        _ => {
            let text = "expected workspace, decision with the member decision, or subject with the \
                        member subject";
            return Err(Problem::invalid("/scope", text));
        }
    };
    let plane = &call.server.plane;
    let placed = plane.place_hold(workspace, &session.principal, scope, reason).await?;
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::CREATED, &hold_document(placed, &names))
}

/// `GET /api/v1/holds`
pub(crate) async fn holds(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    session.demand(&OVERSEERS)?;
    let holds = call.server.plane.legal_holds(&session.workspace).await?;
    let names = Names::of(&call.server, &session);
    let holds = holds.into_iter().map(|hold| hold_document(hold, &names)).collect();
    document::answer(StatusCode::OK, &HoldList { holds })
}

/// `DELETE /api/v1/holds/{id}`: asks for a decision on `override.release`.
pub(crate) async fn release_hold(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let missing = || Problem::from(PlaneError::NotFound("legal hold"));
    let hold = HoldId::parse(&call.segment(3)?).ok_or_else(missing)?;
    let key = idempotency_key(&call, None)?;
    let plane = call.server.plane.clone();
    let workspace = &session.workspace;
    if !plane.legal_holds(workspace).await?.iter().any(|placed| placed.hold == hold) {
        return Err(missing());
    }
    let body = placet_runtime::Plane::release_request(hold, key, random());
    let decision = match permitted(&call, &session, body, USED_UP).await? {
        Ok(decision) => decision,
        Err(response) => return Ok(response),
    };
    let released = plane.release_hold(workspace, &session.principal, hold, decision).await;
    report(&call, &session, decision, released.is_ok()).await;
    released?;
    let document = HoldReleasedDocument { released: IdText(hold), decision: IdText(decision) };
    document::answer(StatusCode::OK, &document)
}

fn hold_document(hold: LegalHold, names: &Names<'_>) -> HoldDocument {
    let (decision, subject_tag) = match hold.scope {
        HoldScope::Workspace => (None, None),
        HoldScope::Decision(id) => (Some(IdText(id)), None),
        HoldScope::Subject(tag) => (None, Some(hex_encode(&tag))),
    };
    let by = hold.by.as_str();
    HoldDocument {
        id: IdText(hold.hold),
        scope: hold.scope.as_str(),
        decision,
        subject_tag,
        placed_by: names.get(by),
        reason: hold.reason,
        since: Instant(hold.since),
        index: hold.index,
    }
}

/// `GET /api/v1/receipts/{id}?payload=true`: the receipt of the decision's own entry, with what
/// opens its commitments. Who may see the decision may see its payload.
pub(crate) async fn disclose(
    call: &Call,
    session: &Session,
    id: DecisionId,
    index: Option<u64>,
    against: Against,
) -> Result<Response, Problem> {
    let history = seen(call, session, id).await?;
    let (plane, workspace) = (call.server.plane.clone(), session.workspace.clone());
    let (disclosed, text) = document::blocking(&call.server, move || {
        let disclosed = plane.disclose(&workspace, id)?;
        let text = plane.receipt(&workspace, &history, Some(disclosed.index), against)?;
        Ok((disclosed, text))
    })
    .await?;
    if index.is_some_and(|index| index != disclosed.index) {
        let text = format!("the payload lies beside entry {}", disclosed.index);
        return Err(Problem::invalid("?index", text));
    }
    let read = Receipt::parse(text.as_bytes());
    let read = read.map_err(|error| Problem::internal(&error.to_string()))?;
    let [action, request, facts, payload] = disclosed.salts.map(|salt| hex_encode(&salt));
    let opening = |digest, salt| OpeningDocument { digest: Sha(digest), salt };
    let document = DisclosedDocument {
        receipt: &text,
        index: read.index,
        origin: session.workspace.origin(),
        size: read.checkpoint.size,
        payload: JsonObject(&disclosed.payload),
        action: opening(disclosed.digests.action, action),
        request: opening(disclosed.digests.request, request),
        facts: opening(disclosed.facts, facts),
        payload_salt: payload,
    };
    document::answer(StatusCode::OK, &document)
}
