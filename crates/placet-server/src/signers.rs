//! The keys that sign the logs: rotating, revoking, and showing them to verifiers. Refuses to know the
//! constitution and the order of a rotation; it asks for a decision, and the plane.

use crate::auth::{Act, Session};
use crate::call::{self, Call};
use crate::document;
use crate::governed::{USED_UP, idempotency_key, permitted, random, report};
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{IdText, SignerChangeDocument, SignersDocument, TrustDocument, TrustKeyDocument};
use placet_engine::{LogSigner, Standing};
use placet_runtime::crypto::Fast;
use placet_runtime::{Plane, RevokeSpec, SignerChange};
use placet_tlog::VerifierKey;
use placet_types::ids::DecisionId;
use placet_types::json::{Object, Value};

const PLAIN: &str = "text/plain; charset=utf-8";

/// `GET /.well-known/placet-keys`: a trust file with the keys of all logs and their ranges.
pub(crate) async fn trust(call: Call) -> Result<Response, Problem> {
    let logs = call.server.plane.all_workspaces();
    let keys = logs.iter().flat_map(|log| log.signers().iter().map(pinned).collect::<Vec<_>>());
    document::answer(StatusCode::OK, &TrustDocument { v: 1, keys: keys.collect() })
}

fn pinned(signer: &LogSigner) -> TrustKeyDocument {
    let (status, to_size) = match signer.standing() {
        Standing::Active => ("active", None),
        Standing::Retired(to) => ("retired", Some(to)),
        Standing::Revoked => ("revoked", signer.to_size),
    };
    TrustKeyDocument { vkey: signer.vkey.clone(), from_size: signer.from_size, to_size, status }
}

/// `GET /.well-known/placet-handovers`: the notes by which each key named the one after it.
pub(crate) async fn handovers(call: Call) -> Result<Response, Problem> {
    Ok(document::respond(StatusCode::OK, PLAIN, call.server.plane.handovers()))
}

/// `POST /api/v1/signers/rotate`: asks for a decision on `key.rotate` of the first workspace.
pub(crate) async fn rotate(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let mut fields = call.object(&["idempotency_key"]).await?;
    let key = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let plane = call.server.plane.clone();
    // All logs share the key, so that of the instance decides.
    session.demand_root(&plane)?;
    session.demand(&["admin"])?;
    let body = Plane::rotate_request(key, random());
    let decision = match permitted(&call, &session, body, USED_UP).await? {
        Ok(decision) => decision,
        Err(response) => return Ok(response),
    };
    let rotated = plane.rotate_signer(&session.principal, decision).await;
    report(&call, &session, decision, rotated.is_ok()).await;
    done(rotated?, decision)
}

/// `POST /api/v1/signers/revoke`: asks for a decision on `key.revoke_signer`.
pub(crate) async fn revoke(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&["admin"])?;
    let known = ["everywhere", "from_size", "idempotency_key", "vkey"];
    let mut fields = call.object(&known).await?;
    let key = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let spec = spec(&mut fields, &call, &session)?;
    let plane = call.server.plane.clone();
    let signer = plane.check_revocation(&session.workspace, &spec)?;
    if let (Some(from), Some(to)) = (spec.from_size, signer.to_size)
        && !(signer.from_size..=to).contains(&from)
    {
        let text = format!("the key signed trees of {} to {to} entries", signer.from_size);
        return Err(Problem::invalid("/from_size", text));
    }
    let body = Plane::revoke_signer_request(&spec, key, random());
    let decision = match permitted(&call, &session, body, USED_UP).await? {
        Ok(decision) => decision,
        Err(response) => return Ok(response),
    };
    let (workspace, principal) = (&session.workspace, &session.principal);
    let revoked = plane.revoke_signer(workspace, principal, &spec, decision).await;
    report(&call, &session, decision, revoked.is_ok()).await;
    done(revoked?, decision)
}

fn spec(fields: &mut Object, call: &Call, session: &Session) -> Result<RevokeSpec, Problem> {
    let vkey = call::required(fields, "vkey", 400)?;
    let vkey = VerifierKey::parse::<Fast>(&vkey)
        .map_err(|error| Problem::invalid("/vkey", format!("expected a verifier key: {error}")))?;
    let from_size = match fields.remove("from_size") {
        None => None,
        Some(size) => {
            let expected = || Problem::invalid("/from_size", "expected a number of entries");
            Some(size.as_u64().ok_or_else(expected)?)
        }
    };
    let everywhere = match fields.remove("everywhere") {
        None => false,
        Some(Value::Bool(everywhere)) => everywhere,
        Some(_) => return Err(Problem::invalid("/everywhere", "expected true or false")),
    };
    if everywhere {
        session.demand_root(&call.server.plane)?;
        if from_size.is_some() {
            let text = "sizes are of one log; leave it out, or revoke in each workspace";
            return Err(Problem::invalid("/from_size", text));
        }
    }
    Ok(RevokeSpec { vkey, from_size, everywhere })
}

fn done(changes: Vec<SignerChange>, decision: DecisionId) -> Result<Response, Problem> {
    let logs = changes.into_iter().map(|change| SignerChangeDocument {
        workspace: change.workspace,
        index: change.index,
        vkey: change.vkey,
    });
    let document = SignersDocument { logs: logs.collect(), decision: IdText(decision) };
    document::answer(StatusCode::OK, &document)
}
