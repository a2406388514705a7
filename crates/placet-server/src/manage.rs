//! Kill switches, keys, workspaces, the clock: what people do to the plane itself. Refuses to know
//! the constitution; it asks for a decision like everybody else.

use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call};
use crate::certificate::ClientCertificate;
use crate::document;
use crate::governed::{idempotency_key, permitted, random, report};
use crate::names::Names;
use crate::overrides::{self, tripped};
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    KeyDocument, KeyList, KeyMadeDocument, KillDocument, KillStateDocument, LiftDocument,
    StatusDocument, WorkspaceDocument, WorkspaceList, WorkspaceMadeDocument,
};
use placet_engine::KillState;
use placet_runtime::{KeySpec, Plane, PlaneError, Workspace};
use placet_types::event::{KillScope, KillSource};
use placet_types::ids::{
    ActorId, ActorKind, DecisionId, KeyId, TimeMs, WorkspaceName, is_label, is_name,
};
use placet_types::json::{Object, Value};
use std::collections::BTreeSet;

/// `GET /api/v1/kill`
pub(crate) async fn kill_state(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let document = kill_document(&call, &session).await?;
    document::answer(StatusCode::OK, &document)
}

async fn kill_document(call: &Call, session: &Session) -> Result<KillDocument, Problem> {
    let (everything, workspace) = call.server.plane.kill_state(&session.workspace).await?;
    let names = Names::overseen(&call.server, session);
    let view = |kill: KillState| KillStateDocument {
        state: if kill.source.is_tampering() { "kill_switch_tampered" } else { "killed" },
        tripped: tripped(&kill, &names),
    };
    Ok(KillDocument { everything: everything.map(view), workspace: workspace.map(view) })
}

async fn scope(call: &mut Call) -> Result<KillScope, Problem> {
    let mut fields = call.object(&["scope"]).await?;
    let text = call::required(&mut fields, "scope", 32)?;
    let invalid = || Problem::invalid("/scope", "expected workspace or everything");
    KillScope::parse(&text).filter(KillScope::is_wide).ok_or_else(invalid)
}

/// `POST /api/v1/kill`
pub(crate) async fn kill(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let scope = scope(&mut call).await?;
    let plane = &call.server.plane;
    let (workspace, principal) = (&session.workspace, &session.principal);
    plane.trip(Some(workspace), scope, KillSource::Api, Some(principal)).await?;
    let document = kill_document(&call, &session).await?;
    document::answer(StatusCode::OK, &document)
}

/// `POST /api/v1/lift`
pub(crate) async fn lift(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let scope = scope(&mut call).await?;
    let plane = &call.server.plane;
    let lifted = plane.lift(&session.workspace, scope.clone(), &session.principal).await?;
    let state = kill_document(&call, &session).await?;
    let still = if lifted { None } else { overrides::find(&call, &session, &scope).await? };
    document::answer(StatusCode::OK, &LiftDocument { lifted, state, still })
}

/// `GET /api/v1/keys`
pub(crate) async fn keys(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    session.demand(&OVERSEERS)?;
    let keys = call.server.plane.keys_of(&session.workspace);
    let keys = keys.iter().map(|key| KeyDocument {
        id: key.key.to_string(),
        actor: key.actor.to_string(),
        environment: key.environment.clone(),
        roles: key.roles.iter().cloned().collect(),
        certificate: key.certificate.then(|| key.hash.hex()),
        revoked: key.revoked,
    });
    document::answer(StatusCode::OK, &KeyList { keys: keys.collect() })
}

/// Bytes of a certificate in PEM: a few of them are larger, and none of a client.
const CERTIFICATE_MAX: usize = 16 << 10;

/// The permit was consumed by the attempt that made the key.
const USED_UP_KEY: (&str, &str) = (
    "already_exists",
    "the key of this idempotency key was made already and is shown only once; for another key use \
     another idempotency key",
);

/// `POST /api/v1/keys`: asks for a decision on `key.create`, and makes the key once it is permitted.
pub(crate) async fn create_key(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let known = ["actor", "certificate", "environment", "idempotency_key", "roles"];
    let mut fields = call.object(&known).await?;
    let given = call::text(&mut fields, "idempotency_key", 200)?;
    let idempotency_key = idempotency_key(&call, given)?;
    let certificate = certificate_of(&mut fields, call.server.plane.now())?;
    let spec = key_spec(&mut fields)?;
    // A nonce of its own for each attempt: the permit is handed to one of them and to no other, so
    // a repeated call never makes a second key.
    let nonce = Some(random());
    let body = match &certificate {
        None => Plane::key_request(&spec, idempotency_key, nonce),
        Some(certificate) => {
            let public_key = &certificate.public_key;
            Plane::certificate_request(&spec, public_key, idempotency_key, nonce)
        }
    };
    let decision = match permitted(&call, &session, body, USED_UP_KEY).await? {
        Ok(decision) => decision,
        Err(response) => return Ok(response),
    };
    make_key(&call, &session, decision, spec, certificate).await
}

/// A certificate in PEM, good still.
fn certificate_of(fields: &mut Object, now: TimeMs) -> Result<Option<ClientCertificate>, Problem> {
    let Some(pem) = call::text(fields, "certificate", CERTIFICATE_MAX)? else { return Ok(None) };
    let invalid = |text: &str| Problem::invalid("/certificate", text);
    let certificate = ClientCertificate::of_pem(&pem).ok_or_else(|| {
        invalid("expected one X.509 certificate in PEM, of the client itself and no chain")
    })?;
    if now > certificate.not_after {
        return Err(invalid("the certificate has expired"));
    }
    Ok(Some(certificate))
}

fn key_spec(fields: &mut Object) -> Result<KeySpec, Problem> {
    let actor = call::required(fields, "actor", 200)?;
    let invalid = || Problem::invalid("/actor", "expected an actor such as agent:name");
    let actor = ActorId::parse(&actor).ok_or_else(invalid)?;
    let environment = call::required(fields, "environment", 63)?;
    if !is_label(&environment) {
        let text = "expected lower-case letters, digits and '-', up to 63 bytes";
        return Err(Problem::invalid("/environment", text));
    }
    Ok(KeySpec { actor, environment, roles: roles_of(fields)? })
}

/// The names of roles in a body.
pub(crate) fn roles_of(fields: &mut Object) -> Result<BTreeSet<String>, Problem> {
    let expected = || Problem::invalid("/roles", "expected up to 32 names of roles");
    let mut roles = BTreeSet::new();
    match fields.remove("roles") {
        None => return Err(Problem::missing("/roles", "roles is required; it may be empty")),
        Some(Value::Array(items)) if items.len() <= 32 => {
            for item in items {
                match item {
                    Value::String(role) if is_name(&role) => roles.insert(role),
                    _ => return Err(expected()),
                };
            }
        }
        Some(_) => return Err(expected()),
    }
    Ok(roles)
}

async fn make_key(
    call: &Call,
    session: &Session,
    decision: DecisionId,
    spec: KeySpec,
    certificate: Option<ClientCertificate>,
) -> Result<Response, Problem> {
    let (workspace, principal) = (&session.workspace, &session.principal);
    let (plane, public_key) = (&call.server.plane, certificate.map(|it| it.public_key));
    let made = match public_key {
        None => {
            let made = plane.create_key(workspace, principal, spec.clone(), decision).await;
            made.map(|key| (key.id, Some(key.reveal())))
        }
        Some(public_key) => {
            let spec = spec.clone();
            let made = plane.bind_certificate(workspace, principal, spec, public_key, decision);
            made.await.map(|id| (id, None))
        }
    };
    report(call, session, decision, made.is_ok()).await;
    let (id, key) = made?;
    let document = KeyMadeDocument {
        key: key.as_deref().map(String::as_str),
        certificate: public_key.map(|key| key.hex()),
        id: id.to_string(),
        actor: spec.actor.to_string(),
        environment: spec.environment,
        roles: spec.roles.into_iter().collect(),
        decision: decision.to_string(),
    };
    document::answer(StatusCode::CREATED, &document)
}

/// `DELETE /api/v1/keys/{id}`
pub(crate) async fn revoke_key(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&["admin"])?;
    let missing = || Problem::from(PlaneError::NotFound("key"));
    let key = KeyId::parse(&call.segment(3)?).ok_or_else(missing)?;
    call.server.plane.revoke_key(&session.workspace, &session.principal, key).await?;
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn workspace_document(workspace: &Workspace) -> WorkspaceDocument {
    WorkspaceDocument {
        name: workspace.name.to_string(),
        origin: workspace.origin().to_owned(),
        vkey: workspace.vkey().to_string(),
    }
}

/// `GET /api/v1/workspaces`: overseers of the first workspace see all, everybody else their own.
pub(crate) async fn workspaces(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let plane = &call.server.plane;
    let all = session.demand_root(plane).is_ok() && session.has_any(&OVERSEERS);
    let workspaces = if all {
        plane.all_workspaces().iter().map(|workspace| workspace_document(workspace)).collect()
    } else {
        vec![workspace_document(&session.workspace)]
    };
    document::answer(StatusCode::OK, &WorkspaceList { workspaces })
}

/// `POST /api/v1/workspaces`
pub(crate) async fn create_workspace(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let plane = call.server.plane.clone();
    session.demand_root(&plane)?;
    session.demand(&["admin"])?;
    demand_human(&session)?;
    crate::decisions::admit(&call, &session, 1)?;
    let mut fields = call.object(&["admin", "name"]).await?;
    let name = call::required(&mut fields, "name", 63)?;
    let invalid = "expected lower-case letters, digits and '-', up to 63 bytes";
    let name = WorkspaceName::parse(&name).ok_or_else(|| Problem::invalid("/name", invalid))?;
    let admin = call::required(&mut fields, "admin", 200)?;
    let admin = ActorId::parse(&admin)
        .filter(|actor| actor.kind() == ActorKind::Human)
        .ok_or_else(|| Problem::invalid("/admin", "expected a person such as human:name"))?;
    let (workspace, key) = plane.create_workspace(name, admin).await?;
    let document =
        WorkspaceMadeDocument { workspace: workspace_document(&workspace), key: &key.reveal() };
    document::answer(StatusCode::CREATED, &document)
}

fn demand_human(session: &Session) -> Result<(), Problem> {
    if session.principal.caller.actor.kind() == ActorKind::Human {
        return Ok(());
    }
    Err(PlaneError::Rejected(placet_engine::Rejection::NotHuman).into())
}

/// `POST /api/v1/clock/confirm`
pub(crate) async fn confirm_clock(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand_root(&call.server.plane)?;
    session.demand(&["admin", "operator"])?;
    demand_human(&session)?;
    call.object(&[]).await?;
    call.server.plane.confirm_clock().await?;
    document::answer(
        StatusCode::OK,
        &StatusDocument { status: "confirmed", version: None, ungoverned: None },
    )
}

/// `POST /api/v1/audit/reindex`: one read model serves all workspaces, so those of the first ask.
pub(crate) async fn reindex(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand_root(&call.server.plane)?;
    session.demand(&["admin", "operator"])?;
    call.object(&[]).await?;
    call.server.plane.reindex();
    document::answer(
        StatusCode::ACCEPTED,
        &StatusDocument { status: "begun", version: None, ungoverned: None },
    )
}
