//! Answers of the plane as documents: the one place where runtime values meet wire types. Owns what
//! a reader is shown of names and permits; refuses to decide anything.

use crate::auth::Session;
use crate::problem::Problem;
use crate::server::{Server, Texts};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use placet_api::{
    ApprovalMark, DecisionDocument, IdText, LogEntryDocument, LogPlace, Parts, PermitPart, Renewed,
};
use placet_engine::HeldState;
use placet_runtime::{
    DecisionAnswer, LogEntry, PermitState, PlaneError, Workspace, approval_after,
};
use placet_types::event::DecisionEvent;
use placet_types::ids::TimeMs;
use placet_types::policy::Reason;
use serde::Serialize;
use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Life of a permit: what was minted for a held action was issued so long before it expires.
const PERMIT_MS: u64 = 60_000;

/// A body of JSON text.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    respond(status, "application/json", body)
}

/// How long a call may wait for a place to read.
const READ_WAIT: Duration = Duration::from_secs(2);

pub(crate) fn respond(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Server-sent events, as they come.
pub(crate) fn event_stream(events: Receiver<Bytes>) -> Response {
    let chunks = ReceiverStream::new(events).map(Ok::<_, Infallible>);
    let mut response = respond(StatusCode::OK, "text/event-stream", Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A document as JSON.
pub(crate) fn answer(status: StatusCode, document: &impl Serialize) -> Result<Response, Problem> {
    let body =
        serde_json::to_vec(document).map_err(|error| Problem::internal(&error.to_string()))?;
    Ok(json(status, body))
}

/// Reads the store off the threads that answer. Few at once, since each may hold a good part of the
/// log in memory; whoever waits too long for a place is told to come back.
pub(crate) async fn blocking<T: Send + 'static>(
    server: &Server,
    read: impl FnOnce() -> Result<T, PlaneError> + Send + 'static,
) -> Result<T, Problem> {
    let place = tokio::time::timeout(READ_WAIT, server.reading.clone().acquire_owned()).await;
    let Ok(Ok(place)) = place else {
        return Err(Problem::overloaded("too many are reading the log; come back later"));
    };
    // The read goes on though its client may have gone; so does its place.
    let read = move || {
        let _place = place;
        read()
    };
    let done = tokio::task::spawn_blocking(read).await;
    Ok(done.map_err(|error| Problem::internal(&error.to_string()))??)
}

/// The decision document. `fresh` says that it was written just now, so that nobody has voted.
pub(crate) async fn decision(
    server: &Server,
    session: &Session,
    answer: &DecisionAnswer,
    receipt: Option<&str>,
    fresh: bool,
) -> Result<Vec<u8>, Problem> {
    let workspace = &session.workspace;
    let event: &DecisionEvent = &answer.event;
    let note = rejection(server, workspace, answer).await?;
    // The last look before the bytes are written: what a kill overtakes here does not leave.
    let overtaken = answer.permit.as_ref().is_some_and(|permit| permit.permit.is_some())
        && workspace.stops_all_of(&answer.event);
    // Nor does an answer on which a gate goes on as if it had not asked.
    let shadowed = event.would_outcome.is_some() && workspace.stops_all_of(&answer.event);
    let revoked = overtaken
        || answer.permit.as_ref().is_some_and(|permit| permit.state == PermitState::Revoked);
    let stopped_by = match revoked || shadowed {
        true if revoked && answer.erased && !workspace.is_killed() => Some(Reason::PayloadErased),
        true => Some(server.plane.revoked_by(workspace, &answer.event, answer.index).await?),
        false => None,
    };
    let texts = texts_of(server, workspace, answer);
    let rule_text =
        |rule: &str| texts.as_ref()?.get(rule).map(|text| Cow::Owned::<str>(text.clone()));
    let own = event.actor.is_human()
        && workspace.actor_ref(&session.principal.caller.actor) == event.actor;
    let actor = if own { session.principal.caller.actor.as_str() } else { event.actor.as_str() };
    let approval = match &answer.hold {
        Some(held) => Some((held.state.as_str(), Cow::Owned(held.missing()))),
        None if fresh || answer.event.approval.is_none() => None,
        None => Some(("closed", Cow::Owned(Default::default()))),
    };
    let document = DecisionDocument::build(Parts {
        event,
        note: note.as_deref(),
        time: answer.time,
        actor,
        digests: answer.digests.as_ref(),
        log: Some(LogPlace {
            origin: workspace.origin(),
            index: answer.index,
            size: Some(workspace.head().head.size()),
        }),
        renewed: answer.hold.as_ref().filter(|held| held.reopened > 0).map(|held| Renewed {
            roles: &held.roles,
            requirement: held.requirement,
            constraints: &held.constraints,
        }),
        approval,
        permit: permit(answer, revoked),
        stopped_by,
        rule_text: &rule_text,
        replayed: answer.replayed,
        reported: answer.reported,
        outcome_unknown: answer.outcome_unknown,
        receipt,
        dry_run: false,
    });
    Ok(document.to_json())
}

fn permit(answer: &DecisionAnswer, revoked: bool) -> Option<PermitPart<'_>> {
    let view = answer.permit.as_ref()?;
    if revoked {
        let state = PermitState::Revoked.as_str();
        return Some(PermitPart { state, permit: None, issued: answer.time });
    }
    let issued = match (&answer.event.permit, &view.permit) {
        (None, Some(permit)) => TimeMs(permit.expires.0.saturating_sub(PERMIT_MS)),
        _ => answer.time,
    };
    Some(PermitPart { state: view.state.as_str(), permit: view.permit.as_ref(), issued })
}

/// Texts of the rules under which it was decided; none for those of the constitution alone.
pub(crate) fn texts_of(
    server: &Server,
    workspace: &Workspace,
    answer: &DecisionAnswer,
) -> Option<Arc<Texts>> {
    let digest = answer.event.policy.filter(|_| !answer.event.rules.is_empty())?;
    server.texts(digest, workspace.bundle().as_deref())
}

/// Whether an answer waits for people.
pub(crate) fn is_pending(answer: &DecisionAnswer) -> bool {
    match &answer.hold {
        Some(held) => held.state == HeldState::Pending,
        None => answer.event.approval.is_some() && answer.permit.is_none(),
    }
}

pub(crate) fn entries(found: &[LogEntry]) -> Result<Vec<LogEntryDocument<'_>>, Problem> {
    found.iter().map(entry).collect()
}

pub(crate) fn entry(entry: &LogEntry) -> Result<LogEntryDocument<'_>, Problem> {
    let event = &entry.entry.event;
    let mark = approval_after(event).map(|(id, decision, state)| ApprovalMark {
        id: IdText(id),
        decision: IdText(decision),
        state,
    });
    let kind = event.type_name();
    LogEntryDocument::build(entry.index, kind, entry.entry.time, &entry.bytes, mark)
        .map_err(|error| Problem::internal(&error.to_string()))
}

/// Why a person rejected it, where that was said and is still there.
async fn rejection(
    server: &Server,
    workspace: &Arc<Workspace>,
    answer: &DecisionAnswer,
) -> Result<Option<String>, Problem> {
    if !answer.hold.as_ref().is_some_and(|held| held.state == HeldState::Rejected) {
        return Ok(None);
    }
    let (plane, workspace, id) = (server.plane.clone(), workspace.clone(), answer.event.decision);
    let found = blocking(server, move || match plane.course(&workspace, id) {
        // The decision stands without its note; votes are found once the read model has caught up.
        Err(PlaneError::Indexing { .. }) => Ok(Vec::new()),
        found => found.map(|course| course.votes),
    });
    Ok(found.await?.into_iter().rfind(|vote| !vote.event.approve).and_then(|vote| vote.note))
}
