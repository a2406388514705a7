//! Who calls: from a bearer key or token to a verified principal, and the callers of development mode.
//! Refuses to know what the call is about beyond whether it proposes or oversees.

use crate::call::{Call, header_of};
use crate::identity::{hash, is_token};
use crate::problem::Problem;
use axum::http::HeaderMap;
use placet_runtime::{Plane, Principal, Workspace};
use placet_types::Caller;
use placet_types::ids::{ActorId, WorkspaceName};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whom a caller without a key is taken for in development mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Proposes or reads: `service:local`.
    Propose,
    /// Decides, kills, lifts, makes keys: `human:local`.
    Oversee,
}

/// A caller in its workspace.
pub(crate) struct Session {
    pub(crate) workspace: Arc<Workspace>,
    pub(crate) principal: Principal,
}

/// Roles that see the whole workspace.
pub(crate) const OVERSEERS: [&str; 3] = ["admin", "auditor", "operator"];

impl Session {
    /// # Errors
    /// `role_missing` unless the caller has one of the roles.
    pub(crate) fn demand(&self, roles: &[&str]) -> Result<(), Problem> {
        if self.has_any(roles) {
            return Ok(());
        }
        let text = format!("the caller needs one of the roles {}", roles.join(", "));
        Err(Problem::role_missing(&text))
    }

    pub(crate) fn has_any(&self, roles: &[&str]) -> bool {
        let has = |role: &str| self.principal.caller.roles.contains(role);
        roles.iter().any(|role| has(role) && !self.workspace.is_role_revoked(role))
    }

    /// The caller's roles without those that nobody has at the moment.
    pub(crate) fn roles(&self) -> BTreeSet<String> {
        let all = self.principal.caller.roles.iter();
        all.filter(|role| !self.workspace.is_role_revoked(role)).cloned().collect()
    }

    /// What concerns the whole instance is done from its first workspace alone.
    pub(crate) fn demand_root(&self, plane: &Plane) -> Result<(), Problem> {
        if plane.root().is_some_and(|root| root.no == self.workspace.no) {
            return Ok(());
        }
        Err(Problem::new("foreign", "only the first workspace's admins may do this"))
    }
}

impl Call {
    /// Makes sure that a token in the header has opened its session.
    ///
    /// # Errors
    /// Why it opens none.
    pub(crate) async fn sign_in(&self) -> Result<(), Problem> {
        let server = &self.server;
        server.tokens.sign_in(&server.plane, &self.parts.headers, server.elapsed_ms()).await
    }

    /// The caller.
    ///
    /// # Errors
    /// `key_missing`, `key_unknown`, `key_revoked`, `session_closed`, `session_ended`,
    /// `workspace_not_found`.
    pub(crate) fn session(&self, act: Act) -> Result<Session, Problem> {
        let session = session(&self.server.plane, &self.parts.headers, act)?;
        // A second look at the same caller finds the same workspace.
        let _ = self.seen.set(session.workspace.clone());
        Ok(session)
    }
}

pub(crate) fn session(plane: &Plane, headers: &HeaderMap, act: Act) -> Result<Session, Problem> {
    let named = header_of(headers, "placet-workspace")?;
    let Some(authorization) = header_of(headers, "authorization")? else {
        return development(plane, named, act);
    };
    let unknown = || Problem::new("key_unknown", "expected Authorization: Bearer key_….…");
    let (scheme, key) = authorization.split_once(' ').ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unknown());
    }
    let key = key.trim();
    let credential = if is_token(key) {
        // What a token opens was opened before; here it is only looked up.
        plane.credential_of_token(&hash(key))?.ok_or_else(unknown)?
    } else {
        plane.authenticate(key)?
    };
    let workspace = plane.workspace_no(credential.workspace).ok_or_else(Problem::workspace)?;
    if !is_named(named, &workspace) {
        return Err(Problem::workspace());
    }
    let caller = Caller {
        workspace: workspace.name.clone(),
        environment: credential.environment,
        actor: credential.actor,
        roles: credential.roles,
        chain: credential.chain,
    };
    Ok(Session { workspace, principal: Principal { caller, key: Some(credential.key) } })
}

/// Whether a call that names a workspace, or none, could mean this one.
pub(crate) fn is_named(named: Option<&str>, workspace: &Workspace) -> bool {
    named.is_none_or(|named| named == workspace.name.as_str())
}

fn development(plane: &Plane, named: Option<&str>, act: Act) -> Result<Session, Problem> {
    if !plane.dev() {
        let text = "send an API key: Authorization: Bearer key_….…";
        return Err(Problem::new("key_missing", text));
    }
    let workspace = match named {
        None => plane.root(),
        Some(name) => WorkspaceName::parse(name).and_then(|name| plane.workspace(&name)),
    };
    let workspace = workspace.ok_or_else(Problem::workspace)?;
    let (actor, roles): (_, &[&str]) = match act {
        Act::Propose => ("service:local", &["operator"]),
        Act::Oversee => ("human:local", &["admin", "operator"]),
    };
    let actor = ActorId::parse(actor).ok_or_else(|| Problem::internal("no local actor"))?;
    let roles: BTreeSet<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    let caller = Caller {
        workspace: workspace.name.clone(),
        environment: "development".to_owned(),
        actor,
        roles,
        chain: Vec::new(),
    };
    Ok(Session { workspace, principal: Principal { caller, key: None } })
}
