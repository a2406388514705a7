//! Executions over HTTP: started under a decision, looked at, ended. Refuses to know what a step may do.

use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call};
use crate::decisions::admit;
use crate::document;
use crate::governed::{idempotency_key, not_permitted, random, report};
use crate::names::Names;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{ExecutionDocument, ExecutionList, IdText, Instant};
use placet_engine::{EXECUTION_RUN_SEC_MAX, Execution, ExecutionState, Rejection};
use placet_runtime::{ExecutionFilter, ExecutionSpec, PermitState, Plane, PlaneError};
use placet_types::Request;
use placet_types::event::EndState;
use placet_types::ids::{ExecutionId, is_name};
use placet_types::json::Object;

/// Most executions of one page.
const PAGE_MAX: usize = 200;

/// `POST /api/v1/executions`
pub(crate) async fn start(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let known =
        ["branch", "capability", "idempotency_key", "max_runtime_sec", "max_steps", "parent"];
    let mut fields = call.object(&known).await?;
    let given = call::text(&mut fields, "idempotency_key", 200)?;
    let key = idempotency_key(&call, given)?;
    let capability = name(&mut fields, "capability")?;
    let missing = || Problem::missing("/capability", "capability is required: what runs");
    let parent = call::text(&mut fields, "parent", 40)?;
    let expected = || Problem::invalid("/parent", "expected the id of an execution, exe_…");
    let spec = ExecutionSpec {
        capability: capability.ok_or_else(missing)?,
        branch: name(&mut fields, "branch")?,
        max_steps: count(&mut fields, "max_steps", 1_000_000_000)?,
        max_runtime_sec: count(&mut fields, "max_runtime_sec", EXECUTION_RUN_SEC_MAX)?,
        parent: parent.map(|id| ExecutionId::parse(&id).ok_or_else(expected)).transpose()?,
    };
    let (workspace, principal) = (&session.workspace, &session.principal);
    let plane = &call.server.plane;
    let body = Plane::execution_request(&spec, key, random());
    let request = Request::read(body, &principal.caller)?;
    let _place = call.decide_place(1).await?;
    let decided = plane.decide(workspace, principal, &request).await?;
    let decision = decided.answer.event.decision;
    let execution = match decided.answer.permit.as_ref().map(|permit| permit.state) {
        Some(PermitState::Granted) => {
            let started = plane.start_execution(workspace, principal, decision, &spec).await;
            if let Err(PlaneError::Rejected(_)) = &started {
                report(&call, &session, decision, false).await;
            }
            started?
        }
        Some(PermitState::Revoked) | None => return not_permitted(&call, &session, &decided).await,
        // Another attempt has it: what that came to is the answer. One that was cut off before it started
        // anything is gone on with; one that was refused has reported so.
        Some(_) => {
            let id = ExecutionId::from_bytes(*decision.bytes());
            let found = plane.known_execution(workspace, id).await?;
            let used = "the permit of this idempotency key is used up; for another execution use \
                        another key";
            match found {
                Some(found) => found,
                None => match plane.start_execution(workspace, principal, decision, &spec).await {
                    Err(PlaneError::Rejected(Rejection::PermitConsumed)) => {
                        return Err(Problem::new("permit_consumed", used));
                    }
                    started => started?,
                },
            }
        }
    };
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::CREATED, &build(&execution, &names))
}

/// A bound in a body.
fn count(fields: &mut Object, field: &str, most: u64) -> Result<Option<u64>, Problem> {
    let Some(value) = fields.remove(field) else { return Ok(None) };
    let count = value.as_u64().filter(|count| (1..=most).contains(count));
    let expected = || format!("expected an integer from 1 to {most}");
    count.map(Some).ok_or_else(|| Problem::invalid(&format!("/{field}"), expected()))
}

/// A name in a body.
fn name(fields: &mut Object, field: &str) -> Result<Option<String>, Problem> {
    let expected = "expected letters, digits and . _ @ : / + -, up to 200 bytes";
    match call::text(fields, field, 200)? {
        Some(text) if is_name(&text) => Ok(Some(text)),
        Some(_) => Err(Problem::invalid(&format!("/{field}"), expected)),
        None => Ok(None),
    }
}

/// `GET /api/v1/executions`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let query = call.query(&["cursor", "limit", "state"])?;
    let limit = query.limit(50, PAGE_MAX)?;
    let filter = ExecutionFilter {
        state: query.parsed("state", "a state of executions", ExecutionState::parse)?,
        after: query.parsed("cursor", "an execution id", ExecutionId::parse)?,
        limit,
    };
    let plane = &call.server.plane;
    let (workspace, principal) = (&session.workspace, &session.principal);
    let page = plane.executions(workspace, principal, session.has_any(&OVERSEERS), filter).await?;
    let last = page.last().filter(|_| page.len() == limit);
    let next_cursor = last.map(|it| it.started.execution.to_string());
    let names = Names::of(&call.server, &session);
    let executions = page.iter().map(|it| build(it, &names)).collect();
    document::answer(StatusCode::OK, &ExecutionList { executions, next_cursor })
}

/// `GET /api/v1/executions/{id}`
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let found = seen(&call, &session).await?;
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::OK, &build(&found, &names))
}

/// `POST /api/v1/executions/{id}/end`
pub(crate) async fn end(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let id = seen(&call, &session).await?.started.execution;
    let mut fields = call.object(&["state"]).await?;
    let invalid = || Problem::invalid("/state", "expected succeeded or failed");
    let state = call::required(&mut fields, "state", 16)?;
    let state = EndState::parse(&state).ok_or_else(invalid)?;
    let plane = &call.server.plane;
    let ended = plane.end_execution(&session.workspace, &session.principal, id, state).await?;
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::OK, &build(&ended, &names))
}

/// The execution that a path names, for whoever runs it and for overseers.
async fn seen(call: &Call, session: &Session) -> Result<Execution, Problem> {
    let missing = || Problem::from(PlaneError::NotFound("execution"));
    let id = ExecutionId::parse(&call.segment(3)?).ok_or_else(missing)?;
    let plane = &call.server.plane;
    let found = plane.known_execution(&session.workspace, id).await?.ok_or_else(missing)?;
    let own = session.has_any(&OVERSEERS)
        || plane.runs(&session.workspace, &session.principal, id).await?;
    if own { Ok(found) } else { Err(missing()) }
}

fn build(it: &Execution, names: &Names<'_>) -> ExecutionDocument {
    let started = &it.started;
    ExecutionDocument {
        id: IdText(started.execution),
        state: it.state().as_str(),
        capability: started.capability.clone(),
        branch: started.branch.clone(),
        parent: started.parent.map(|parent| parent.to_string()),
        by: names.get(started.by.as_str()),
        decision: IdText(started.decision()),
        index: it.index,
        since: Instant(it.since),
        until: it.until().filter(|_| it.ended.is_none()).map(Instant),
        ended: it.ended.map(|(_, at)| Instant(at)),
        steps: it.steps,
        max_steps: started.max_steps,
        max_concurrent: started.max_concurrent,
        max_runtime_sec: started.max_runtime_sec,
        waiting: it.waiting,
        trace: format!("/api/v1/traces/{}", started.execution),
    }
}
