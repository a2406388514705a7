//! Sessions over HTTP: a token is exchanged, rights are handed on, a session is looked at, listed and
//! closed. Refuses to know tokens.

use crate::audit::instant_of;
use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call};
use crate::decisions::admit;
use crate::document;
use crate::manage::roles_of;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{Instant, SessionDocument, SessionList, SessionMadeDocument};
use placet_runtime::{ApiKey, HandOn, Plane, PlaneError, SessionRecord};
use placet_types::ids::{ActorId, KeyId};
use placet_types::json::Object;

/// Most sessions of one page.
const PAGE_MAX: usize = 200;
/// How long what is handed on lives where nothing is said.
const HANDED_ON_MS: u64 = 3_600_000;
/// How long it may live at most.
const HANDED_ON_MS_MAX: u64 = 30 * 86_400_000;

/// `POST /api/v1/sessions`
pub(crate) async fn open(mut call: Call) -> Result<Response, Problem> {
    let mut fields = call.object(&["actor", "expires", "roles"]).await?;
    match call::text(&mut fields, "actor", 200)? {
        Some(actor) => {
            call.sign_in().await?;
            hand_on(&call, &actor, fields).await
        }
        None if fields.is_empty() => exchange(&call).await,
        None => {
            let text =
                "name the actor to whom rights are handed on; an empty body exchanges a token";
            Err(Problem::missing("/actor", text))
        }
    }
}

async fn exchange(call: &Call) -> Result<Response, Problem> {
    let server = &call.server;
    let headers = &call.parts.headers;
    let (key, secret) = server.tokens.exchange(&server.plane, headers, server.elapsed_ms()).await?;
    made(&server.plane, key, &secret)
}

async fn hand_on(call: &Call, actor: &str, mut fields: Object) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    if session.principal.key.is_none() {
        let text = "rights are handed on from a key or a session; development mode has neither";
        return Err(Problem::new("key_missing", text));
    }
    let invalid = || Problem::invalid("/actor", "expected an actor such as agent:name");
    let actor = ActorId::parse(actor).ok_or_else(invalid)?;
    let plane = &call.server.plane;
    let now = plane.now();
    let own = session.principal.key.and_then(|key| plane.session(key)).map(|own| own.expires);
    let expires = match call::text(&mut fields, "expires", 40)? {
        None => own.map_or(now.plus(HANDED_ON_MS), |own| own.min(now.plus(HANDED_ON_MS))),
        Some(text) => {
            let expected = "expected a duration such as 30m, or an instant (RFC 3339), in the future \
                            and at most 30 days away";
            let after = call::duration_ms(&text).map(|ms| now.plus(ms));
            after
                .or_else(|| instant_of(&text, now))
                .filter(|at| *at > now && *at <= now.plus(HANDED_ON_MS_MAX))
                .ok_or_else(|| Problem::invalid("/expires", expected))?
        }
    };
    let roles = if fields.get("roles").is_some() { roles_of(&mut fields)? } else { [].into() };
    let spec = HandOn { actor, roles, expires };
    let (key, secret) = plane.hand_on(&session.workspace, &session.principal, spec).await?;
    made(plane, key, &secret)
}

fn made(plane: &Plane, key: KeyId, secret: &ApiKey) -> Result<Response, Problem> {
    let gone = || Problem::internal("a session that was opened is not there");
    let record = plane.session(key).ok_or_else(gone)?;
    let secret = secret.reveal();
    let session = described(plane, &record)?;
    document::answer(StatusCode::CREATED, &SessionMadeDocument { key: &secret, session })
}

fn described(plane: &Plane, session: &SessionRecord) -> Result<SessionDocument, Problem> {
    let record = &session.record;
    let workspace = plane.workspace_no(record.workspace).ok_or_else(Problem::workspace)?;
    Ok(SessionDocument {
        id: Some(record.key.to_string()),
        kind: "session",
        workspace: workspace.name.to_string(),
        environment: record.environment.clone(),
        actor: record.actor.to_string(),
        roles: record.roles.iter().cloned().collect(),
        on_behalf_of: session.chain.iter().map(ToString::to_string).collect(),
        issuer: session.issuer.clone(),
        parent: session.parent.map(|key| key.to_string()),
        expires: Some(Instant(session.expires)),
    })
}

/// `GET /api/v1/sessions`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    admit(&call, &session, 1)?;
    let query = call.query(&["cursor", "limit"])?;
    let limit = query.limit(50, PAGE_MAX)?;
    let after = query.parsed("cursor", "the id of a session", KeyId::parse)?;
    let plane = &call.server.plane;
    let own = (!session.has_any(&OVERSEERS)).then_some(&session.principal.caller.actor);
    let page = plane.sessions_of(&session.workspace, own, after, limit);
    let last = page.last().filter(|_| page.len() == limit);
    let next_cursor = last.map(|(last, _)| last.record.key.to_string());
    let described = page.iter().map(|(found, roles)| {
        let roles = roles.iter().cloned().collect();
        Ok(SessionDocument { roles, ..described(plane, found)? })
    });
    let sessions = described.collect::<Result<_, Problem>>()?;
    document::answer(StatusCode::OK, &SessionList { sessions, next_cursor })
}

/// `GET /api/v1/sessions/{id}`
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let plane = &call.server.plane;
    let id = call.segment(3)?;
    if id == "current" {
        return document::answer(StatusCode::OK, &caller(plane, &session)?);
    }
    let actor = &session.principal.caller.actor;
    let found = KeyId::parse(&id).and_then(|key| plane.session(key)).filter(|found| {
        let own = found.record.actor == *actor || found.chain.contains(actor);
        found.record.workspace == session.workspace.no && (own || session.has_any(&OVERSEERS))
    });
    let found = found.ok_or(PlaneError::NotFound("session"))?;
    document::answer(StatusCode::OK, &described(plane, &found)?)
}

fn caller(plane: &Plane, session: &Session) -> Result<SessionDocument, Problem> {
    let caller = &session.principal.caller;
    let roles = session.roles().into_iter().collect();
    if let Some(record) = session.principal.key.and_then(|key| plane.session(key)) {
        return Ok(SessionDocument { roles, ..described(plane, &record)? });
    }
    Ok(SessionDocument {
        id: session.principal.key.map(|key| key.to_string()),
        kind: if session.principal.key.is_some() { "key" } else { "development" },
        workspace: caller.workspace.to_string(),
        environment: caller.environment.clone(),
        actor: caller.actor.to_string(),
        roles,
        on_behalf_of: Vec::new(),
        issuer: None,
        parent: None,
        expires: None,
    })
}

/// `DELETE /api/v1/sessions/{id}`
pub(crate) async fn close(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let missing = || Problem::from(PlaneError::NotFound("session"));
    let segment = call.segment(3)?;
    let key = match segment.as_str() {
        "current" => session.principal.key,
        id => KeyId::parse(id),
    };
    let plane = &call.server.plane;
    let key = key.ok_or_else(missing)?;
    plane.close_session(&session.workspace, &session.principal, key).await?;
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
