//! What the server says of itself: health, readiness, metrics, its OpenAPI document, the surfaces that a
//! workspace's policy lists. Refuses to know what is decided.

use crate::auth::{Act, OVERSEERS};
use crate::call::Call;
use crate::document;
use crate::listen::Peer;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{OwnedJson, StatusDocument, SurfaceList};
use placet_types::json::Value;

/// `GET /healthz`
pub(crate) async fn health(call: Call) -> Result<Response, Problem> {
    let version = Some(env!("CARGO_PKG_VERSION"));
    let ungoverned = Some(call.server.plane.ungoverned()).filter(|count| *count > 0);
    document::answer(StatusCode::OK, &StatusDocument { status: "ok", version, ungoverned })
}

/// `GET /readyz`
pub(crate) async fn ready(call: Call) -> Result<Response, Problem> {
    if *call.server.stopping.borrow() {
        return Err(Problem::new("shutting_down", "the server is going down").retry(1000));
    }
    match call.server.plane.not_ready() {
        Some(error) => Err(error.into()),
        None => {
            let ready = StatusDocument { status: "ready", version: None, ungoverned: None };
            document::answer(StatusCode::OK, &ready)
        }
    }
}

/// What proxies add to a request that they pass on.
const PASSED_ON: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// `GET /metrics`
pub(crate) async fn metrics(call: Call) -> Result<Response, Problem> {
    let peer = call.parts.extensions.get::<Peer>();
    let near = peer.is_some_and(|peer| peer.0.ip().is_loopback());
    let headers = &call.parts.headers;
    // Behind a proxy on the same machine every peer is near, whoever asks.
    let passed_on = PASSED_ON.iter().any(|name| headers.contains_key(*name));
    if headers.contains_key("authorization") || passed_on || !near {
        // In development mode this needs no key.
        let session = call.session(Act::Propose)?;
        session.demand_root(&call.server.plane)?;
        session.demand(&OVERSEERS)?;
    }
    let text = crate::metrics::text(&call.server).await;
    Ok(document::respond(StatusCode::OK, "text/plain; version=0.0.4", text))
}

/// `GET /api/v1/surfaces`: whoever may ask for decisions may know what they have to bring.
pub(crate) async fn surfaces(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let bundle = session.workspace.bundle();
    let listed = bundle.as_ref().map(|bundle| bundle.surfaces().collect::<Vec<_>>());
    let list = SurfaceList {
        policy: bundle.as_ref().map(|bundle| bundle.digest().to_string()),
        closed: bundle.as_ref().is_none_or(|bundle| bundle.lists_surfaces()),
        surfaces: listed.into_iter().flatten().map(|it| OwnedJson(Value::Object(it))).collect(),
    };
    document::answer(StatusCode::OK, &list)
}

/// `GET /openapi.json`
pub(crate) async fn openapi(_: Call) -> Result<Response, Problem> {
    Ok(document::json(StatusCode::OK, crate::openapi_json().into_bytes()))
}
