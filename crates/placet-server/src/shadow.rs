//! The bundle beside the one in force: setting, clearing, and how it stands. Refuses to know the
//! constitution; it asks for a decision, and the plane.

use crate::auth::{Act, Session};
use crate::call::{self, Call};
use crate::document;
use crate::governed::{USED_UP, idempotency_key, permitted, random, report};
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{IdText, Sha, ShadowDocument, ShadowingDocument};
use placet_policy::Bundle;
use placet_runtime::Plane;
use placet_runtime::crypto::Fast;
use placet_types::ids::DecisionId;
use placet_types::json::Value;
use std::sync::Arc;

/// `GET /api/v1/policies/shadow`
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    stands(&call, &session, None, None).await
}

/// `POST /api/v1/policies/shadow`: asks for a decision on `policy.shadow`.
pub(crate) async fn set(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&["admin"])?;
    let mut fields = call.object(&["bundle", "idempotency_key"]).await?;
    let key = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let bundle = match fields.remove("bundle") {
        Some(normal @ Value::Object(_)) => normal.to_canonical(),
        None => return Err(Problem::missing("/bundle", "the normal form of a bundle is required")),
        Some(_) => {
            let text = "expected the normal form of a bundle, an object";
            return Err(Problem::invalid("/bundle", text));
        }
    };
    // Compiling has a thread and bounds of its own; it must not hold up others meanwhile.
    let compiled = tokio::task::spawn_blocking(move || Bundle::from_normalised::<Fast>(&bundle));
    let compiled = compiled.await.map_err(|error| Problem::internal(&error.to_string()))?;
    let bundle = compiled.map_err(|found| {
        let first = found.first().map(ToString::to_string).unwrap_or_default();
        Problem::new("bundle_invalid", first).at("/bundle")
    })?;
    change(&call, &session, Some(Arc::new(bundle)), key).await
}

/// `DELETE /api/v1/policies/shadow`: asks for a decision on `policy.shadow`.
pub(crate) async fn clear(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&["admin"])?;
    let key = idempotency_key(&call, None)?;
    change(&call, &session, None, key).await
}

async fn change(
    call: &Call,
    session: &Session,
    bundle: Option<Arc<Bundle>>,
    key: String,
) -> Result<Response, Problem> {
    let digest = bundle.as_ref().map(|bundle| bundle.digest());
    let body = Plane::shadow_request(digest, key, random());
    let decision = match permitted(call, session, body, USED_UP).await? {
        Ok(decision) => decision,
        Err(response) => return Ok(response),
    };
    let (workspace, principal) = (&session.workspace, &session.principal);
    let set = call.server.plane.shadow_bundle(workspace, principal, bundle, decision).await;
    report(call, session, decision, set.is_ok()).await;
    stands(call, session, set?, Some(decision)).await
}

async fn stands(
    call: &Call,
    session: &Session,
    index: Option<u64>,
    decision: Option<DecisionId>,
) -> Result<Response, Problem> {
    let workspace = &session.workspace;
    let shadow = call.server.plane.shadowing(workspace).await?;
    let shadow = shadow.map(|shadow| ShadowingDocument {
        policy: Sha(shadow.bundle),
        index: shadow.index,
        compared: shadow.compared,
        differed: shadow.differed,
        skipped: shadow.skipped,
    });
    let enforced = workspace.bundle().map(|bundle| Sha(bundle.digest()));
    let decision = decision.map(IdText);
    document::answer(StatusCode::OK, &ShadowDocument { shadow, enforced, index, decision })
}
