//! What people stop and let run again, scope by scope. Owns how a scope is named in a call; refuses to know
//! what stopping does.

use crate::auth::{Act, Session};
use crate::call::{self, Call};
use crate::document;
use crate::names::Names;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{Instant, OverrideDocument, OverrideLiftDocument, OverrideList, TrippedDocument};
use placet_engine::KillState;
use placet_runtime::{Halt, PlaneError, Workspace};
use placet_types::event::{ActorRef, KillScope, KillSource, OverrideMode};
use placet_types::ids::{ActorId, JobId, is_name};
use placet_types::json::{Object, Value};

/// Longest text of a scope.
const SCOPE_MAX: usize = 300;
/// Longest label of a request.
const JOB_MAX: usize = 256;

/// `GET /api/v1/overrides`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let all = call.server.plane.overrides(&session.workspace).await?;
    let names = Names::overseen(&call.server, &session);
    let overrides = all.iter().map(|(scope, state)| of(scope, state, &names)).collect();
    document::answer(StatusCode::OK, &OverrideList { overrides })
}

/// `POST /api/v1/overrides`
pub(crate) async fn stop(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let mut fields = call.object(&["mode", "scope", "value"]).await?;
    let (scope, other) = readings(&session.workspace, &mut fields)?;
    let invalid = || Problem::invalid("/mode", "expected kill, freeze, disable or revoke");
    let mode = call::required(&mut fields, "mode", 16)?;
    let mode = OverrideMode::parse(&mode).ok_or_else(invalid)?;
    if !scope.takes(mode) {
        let ways: Vec<&str> = OverrideMode::ALL
            .into_iter()
            .filter(|mode| scope.takes(*mode))
            .map(OverrideMode::as_str)
            .collect();
        let text = format!("{} is stopped by {} alone", scope.kind(), ways.join(" or "));
        return Err(Problem::invalid("/mode", &text));
    }
    let plane = &call.server.plane;
    let what = Halt { scope: scope.clone(), mode, source: KillSource::Api };
    plane.halt(Some(&session.workspace), &what, Some(&session.principal)).await?;
    if let Some(scope) = other {
        let what = Halt { scope, ..what };
        plane.halt(Some(&session.workspace), &what, Some(&session.principal)).await?;
    }
    let found = find(&call, &session, &scope).await?;
    let found = found.ok_or_else(|| Problem::internal("what was stopped was lifted at once"))?;
    document::answer(StatusCode::OK, &found)
}

/// `POST /api/v1/overrides:lift`
pub(crate) async fn lift(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let mut fields = call.object(&["index", "scope", "value"]).await?;
    let (scope, other) = match fields.remove("index") {
        Some(index) => (at(&call, &session, &index, &fields).await?, None),
        None => readings(&session.workspace, &mut fields)?,
    };
    let plane = &call.server.plane;
    // Of two readings those are lifted that are stopped.
    let other = match other {
        Some(other) => find(&call, &session, &other).await?.map(|_| other),
        None => None,
    };
    let scope = match &other {
        Some(other) if find(&call, &session, &scope).await?.is_none() => other.clone(),
        _ => scope,
    };
    let mut lifted = plane.lift(&session.workspace, scope.clone(), &session.principal).await?;
    if let Some(other) = other.filter(|other| *other != scope) {
        lifted &= plane.lift(&session.workspace, other, &session.principal).await?;
    }
    let still = if lifted { None } else { find(&call, &session, &scope).await? };
    document::answer(StatusCode::OK, &OverrideLiftDocument { lifted, still })
}

pub(crate) async fn find(
    call: &Call,
    session: &Session,
    scope: &KillScope,
) -> Result<Option<OverrideDocument>, Problem> {
    let all = call.server.plane.overrides(&session.workspace).await?;
    let names = Names::overseen(&call.server, session);
    let found = all.iter().find(|(known, _)| known == scope);
    Ok(found.map(|(scope, state)| of(scope, state, &names)))
}

/// The scope that the entry at an index has stopped.
async fn at(
    call: &Call,
    session: &Session,
    index: &Value,
    rest: &Object,
) -> Result<KillScope, Problem> {
    let expected = || Problem::invalid("/index", "expected the log index of what stopped it");
    let index = index.as_u64().ok_or_else(expected)?;
    if let Some(field) = ["scope", "value"].into_iter().find(|it| rest.get(it).is_some()) {
        let text = "leave it out: the index says it";
        return Err(Problem::invalid(&format!("/{field}"), text));
    }
    let all = call.server.plane.overrides(&session.workspace).await?;
    let found = all.into_iter().find(|(_, state)| state.index == index);
    found.map(|(scope, _)| scope).ok_or_else(|| PlaneError::NotFound("override").into())
}

fn of(scope: &KillScope, state: &KillState, names: &Names<'_>) -> OverrideDocument {
    OverrideDocument {
        scope: scope.to_string(),
        name: names.scope(scope),
        mode: state.mode.as_str(),
        tripped: tripped(state, names),
    }
}

/// Since when something is stopped, by what, and who asks to lift it.
pub(crate) fn tripped(state: &KillState, names: &Names<'_>) -> TrippedDocument {
    TrippedDocument {
        since: Instant(state.since),
        index: state.index,
        source: state.source.as_str(),
        lift_requested_by: state.lift.as_ref().map(|(by, _)| names.get(by.as_str())),
        not_before: state.lift.as_ref().and_then(|(_, not_before)| *not_before).map(Instant),
    }
}

/// The scope that a body names, and the other one that it may mean: what has the form of a pseudonym may as
/// well be the name of a person, run or job, and stopping one of both would stop nothing.
fn readings(
    workspace: &Workspace,
    fields: &mut Object,
) -> Result<(KillScope, Option<KillScope>), Problem> {
    let said = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_owned);
    let said = said("value").or_else(|| said("scope")).unwrap_or_default();
    let scope = scope(workspace, fields)?;
    // A name was turned into its pseudonym; what stands as it was said is taken for one.
    let value = scope.value().unwrap_or_default();
    if !said.ends_with(value) || !is_pseudonym(value.strip_prefix("human:").unwrap_or(value)) {
        return Ok((scope, None));
    }
    let other = match &scope {
        KillScope::Actor(_) => actor(workspace, value).map(KillScope::Actor),
        KillScope::Execution(_) | KillScope::Job(_) => {
            KillScope::of(scope.kind(), Some(&workspace.run_name(scope.kind(), value)))
        }
        _ => None,
    };
    Ok((scope, other))
}

/// The scope that a body names, with people, runs and jobs by their pseudonyms.
pub(crate) fn scope(workspace: &Workspace, fields: &mut Object) -> Result<KillScope, Problem> {
    let text = call::required(fields, "scope", SCOPE_MAX)?;
    let given = call::text(fields, "value", SCOPE_MAX)?;
    let (kind, value) = match text.split_once(':') {
        Some(_) if given.is_some() => {
            return Err(Problem::invalid("/value", "leave it out: the scope says it"));
        }
        Some((kind, value)) => (kind, Some(value.to_owned())),
        None => (text.as_str(), given),
    };
    if !KillScope::KINDS.contains(&kind) {
        let text = format!("expected one of {}", KillScope::KINDS.join(", "));
        return Err(Problem::invalid("/scope", &text));
    }
    let wide = KillScope::of(kind, None);
    match (wide, value) {
        (Some(_), Some(_)) => {
            Err(Problem::invalid("/value", "everything and workspace have no value"))
        }
        (Some(scope), None) => Ok(scope),
        (None, None) => {
            let text = format!("value is required: which {kind}");
            Err(Problem::missing("/value", &text))
        }
        (None, Some(value)) => named(workspace, kind, &value),
    }
}

fn named(workspace: &Workspace, kind: &str, value: &str) -> Result<KillScope, Problem> {
    let scope = match kind {
        // As the list shows it, or by name.
        "actor" => KillScope::of(kind, Some(value))
            .filter(|_| is_pseudonym(value.strip_prefix("human:").unwrap_or_default()))
            .or_else(|| Some(KillScope::Actor(actor(workspace, value)?))),
        // A run that is named after a job is found by the job.
        "execution" if JobId::parse(value).is_some() => KillScope::of("job", Some(value)),
        "execution" | "job" if is_pseudonym(value) => KillScope::of(kind, Some(value)),
        // A label may be any text.
        "job" if (1..=JOB_MAX).contains(&value.len()) => {
            KillScope::of(kind, Some(&workspace.run_name(kind, value)))
        }
        "execution" if is_name(value) => {
            KillScope::of(kind, Some(&workspace.run_name(kind, value)))
        }
        _ => KillScope::of(kind, Some(value)),
    };
    let expected = match kind {
        "actor" => "expected an actor such as agent:name",
        "job" => "expected the label of a job, up to 256 bytes",
        "surface" => "expected segments of letters, digits, '_' and '-' separated by dots",
        _ => "expected letters, digits and . _ @ : / + -, up to 200 bytes",
    };
    scope.ok_or_else(|| Problem::invalid("/value", expected))
}

fn actor(workspace: &Workspace, text: &str) -> Option<ActorRef> {
    ActorId::parse(text).map(|actor| workspace.actor_ref(&actor))
}

fn is_pseudonym(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
