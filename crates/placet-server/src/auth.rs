//! Who calls: from a bearer key or token to a verified principal, and the callers of development mode.
//! Refuses to know what the call is about beyond whether it proposes or oversees.

use crate::call::{Call, header_of};
use crate::certificate::ClientCertificate;
use crate::identity::{hash, is_token};
use crate::problem::Problem;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use placet_runtime::{Credential, Plane, Principal, Workspace};
use placet_types::Caller;
use placet_types::ids::{ActorId, WorkspaceName};
use std::collections::BTreeSet;
use std::net::IpAddr;
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
    /// `workspace_not_found`, `certificate_unknown`, `certificate_expired`, `cross_site`.
    pub(crate) fn session(&self, act: Act) -> Result<Session, Problem> {
        let session = session(&self.server.plane, &self.parts, act)?;
        // A second look at the same caller finds the same workspace.
        let _ = self.seen.set(session.workspace.clone());
        Ok(session)
    }
}

pub(crate) fn session(plane: &Plane, parts: &Parts, act: Act) -> Result<Session, Problem> {
    let headers = &parts.headers;
    let named = header_of(headers, "placet-workspace")?;
    let Some(authorization) = header_of(headers, "authorization")? else {
        return match parts.extensions.get::<ClientCertificate>() {
            Some(certificate) => of_certificate(plane, certificate, headers, named),
            None => development(plane, parts, named, act),
        };
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
    Ok(session_of(workspace, credential))
}

/// The caller on a connection that has proven a certificate and shows no key. The workspace is the one that
/// the call names, or the first: what another one says about a certificate is nothing to its holder.
fn of_certificate(
    plane: &Plane,
    certificate: &ClientCertificate,
    headers: &HeaderMap,
    named: Option<&str>,
) -> Result<Session, Problem> {
    // A browser shows its certificate to whatever site makes it ask; a key it would have to be given.
    if of_another_site(headers)? {
        let text = "a certificate does not speak for pages of other sites; send a key";
        return Err(Problem::new("cross_site", text));
    }
    // The handshake saw that it was good; a connection may outlive it.
    if plane.now() > certificate.not_after {
        let text = "the client certificate has expired; connect with a new one";
        return Err(Problem::new("certificate_expired", text));
    }
    let workspace = match named {
        None => plane.root(),
        Some(name) => WorkspaceName::parse(name).and_then(|name| plane.workspace(&name)),
    };
    let unknown = || {
        let text = format!(
            "nobody is known by this client certificate here (SHA-256 of its public key: {}); an admin adds \
             it with `placet key create ACTOR --certificate FILE`, or name your workspace in \
             Placet-Workspace",
            certificate.public_key.hex()
        );
        Problem::new("certificate_unknown", text)
    };
    // A workspace that is not there and one that does not know the certificate answer alike.
    let workspace = workspace.ok_or_else(unknown)?;
    let credential = plane.credential_of_certificate(&workspace, &certificate.public_key)?;
    Ok(session_of(workspace, credential.ok_or_else(unknown)?))
}

fn session_of(workspace: Arc<Workspace>, credential: Credential) -> Session {
    let caller = Caller {
        workspace: workspace.name.clone(),
        environment: credential.environment,
        actor: credential.actor,
        roles: credential.roles,
        chain: credential.chain,
    };
    Session { workspace, principal: Principal { caller, key: Some(credential.key) } }
}

/// Whether a call that names a workspace, or none, could mean this one.
pub(crate) fn is_named(named: Option<&str>, workspace: &Workspace) -> bool {
    named.is_none_or(|named| named == workspace.name.as_str())
}

/// Whether a browser says that a page of another site makes it ask.
fn of_another_site(headers: &HeaderMap) -> Result<bool, Problem> {
    let site = header_of(headers, "sec-fetch-site")?;
    Ok(site.is_some_and(|site| !matches!(site, "same-origin" | "none")))
}

/// Whether a call came under a name that anybody may let point to this machine: `host`, with or without a port.
fn may_point_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.contains('.') && name.parse::<IpAddr>().is_err() && !name.ends_with(".localhost")
}

fn development(
    plane: &Plane,
    parts: &Parts,
    named: Option<&str>,
    act: Act,
) -> Result<Session, Problem> {
    if !plane.dev() {
        let text = "send an API key: Authorization: Bearer key_….…";
        return Err(Problem::new("key_missing", text));
    }
    // Whoever needs no key is spoken for by every page that a browser on this machine shows, and by every name
    // that somebody lets point here.
    let headers = &parts.headers;
    let host = header_of(headers, "host")?.or(parts.uri.authority().map(Authority::as_str));
    let origin = header_of(headers, "origin")?;
    let origin = origin.map(|it| it.split_once("://").map_or("null.invalid", |(_, host)| host));
    if of_another_site(headers)? || [host, origin].into_iter().flatten().any(may_point_here) {
        let text = "development mode speaks for nobody but this machine: ask under localhost or an address, \
                    from no page of another site, or send a key";
        return Err(Problem::new("cross_site", text));
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
