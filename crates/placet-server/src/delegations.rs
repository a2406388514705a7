//! Delegations of the right to approve over HTTP. Owns who sees which; refuses to know what they lead to.

use crate::auth::{Act, OVERSEERS};
use crate::call::{self, Call};
use crate::decisions::admit;
use crate::document;
use crate::names::Names;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{DelegationDocument, DelegationList, IdText, Instant};
use placet_engine::{DELEGATION_LIST_MAX, Delegation, DelegationStanding};
use placet_runtime::{Delegating, PlaneError};
use placet_types::ids::{ActorId, DelegationId, TimeMs};
use placet_types::json::{Object, Value};
use placet_types::surface::SurfacePattern;

/// Most delegations of one page.
const PAGE_MAX: usize = 200;

/// `POST /api/v1/delegations`
pub(crate) async fn grant(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    admit(&call, &session, 1)?;
    let mut fields = call.object(&["roles", "surfaces", "to", "until"]).await?;
    let to = call::required(&mut fields, "to", 200)?;
    let to = ActorId::parse(&to)
        .ok_or_else(|| Problem::invalid("/to", "expected a person: human:name"))?;
    let roles = texts(&mut fields, "roles")?;
    if roles.is_empty() {
        return Err(Problem::missing("/roles", "name the roles that are delegated"));
    }
    let surfaces = texts(&mut fields, "surfaces")?;
    let patterns = surfaces.iter().enumerate().map(|(at, text)| {
        let expected = "expected a surface, `*` for a segment of one, or `**` once for any number";
        SurfacePattern::parse(text)
            .ok_or_else(|| Problem::invalid(&format!("/surfaces/{at}"), expected))
    });
    let surfaces = patterns.collect::<Result<Vec<_>, _>>()?;
    let until = call::required(&mut fields, "until", 40)?;
    let until = TimeMs::parse_rfc3339(&until)
        .ok_or_else(|| Problem::invalid("/until", "expected an instant: 2027-01-31T12:00:00Z"))?;
    let delegating = Delegating { to, roles: roles.into_iter().collect(), surfaces, until };
    let plane = &call.server.plane;
    let granted = plane.delegate(&session.workspace, &session.principal, delegating).await?;
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::CREATED, &build(&granted, &names, plane.now()))
}

/// `GET /api/v1/delegations`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let query = call.query(&["cursor", "limit"])?;
    let limit = query.limit(50, PAGE_MAX)?;
    let before = query.parsed("cursor", "a delegation id", DelegationId::parse)?;
    let plane = &call.server.plane;
    let oversees = session.has_any(&OVERSEERS);
    let (workspace, principal) = (&session.workspace, &session.principal);
    let page = plane.delegations(workspace, principal, oversees, before, limit).await?;
    let last = page.last().filter(|_| page.len() == limit);
    let next_cursor = last.map(|it| it.delegation.to_string());
    let names = Names::of(&call.server, &session);
    let delegations = page.iter().map(|it| build(it, &names, plane.now())).collect();
    document::answer(StatusCode::OK, &DelegationList { delegations, next_cursor })
}

/// `DELETE /api/v1/delegations/{id}`
pub(crate) async fn end(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let missing = || Problem::from(PlaneError::NotFound("delegation"));
    let id = DelegationId::parse(&call.segment(3)?).ok_or_else(missing)?;
    let plane = &call.server.plane;
    let ended = plane.end_delegation(&session.workspace, &session.principal, id).await?;
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::OK, &build(&ended, &names, plane.now()))
}

fn texts(fields: &mut Object, name: &str) -> Result<Vec<String>, Problem> {
    let expected = || {
        let text = format!("expected a list of up to {DELEGATION_LIST_MAX} texts");
        Problem::invalid(&format!("/{name}"), text)
    };
    let items = match fields.remove(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= DELEGATION_LIST_MAX => items,
        Some(_) => return Err(expected()),
    };
    let text = |item| match item {
        Value::String(text) if text.len() <= 200 => Ok(text),
        _ => Err(expected()),
    };
    items.into_iter().map(text).collect()
}

fn build(it: &Delegation, names: &Names<'_>, now: TimeMs) -> DelegationDocument {
    let name = |who: &str| names.get(who);
    // Its end may be due and not written yet.
    let standing = match it.standing {
        DelegationStanding::InForce if now >= it.until => DelegationStanding::RunOut,
        standing => standing,
    };
    DelegationDocument {
        id: IdText(it.delegation),
        by: name(it.by.as_str()),
        to: name(it.to.as_str()),
        roles: it.roles.iter().cloned().collect(),
        surfaces: it.surfaces.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        since: Instant(it.since),
        until: Instant(it.until),
        state: standing.as_str(),
    }
}
