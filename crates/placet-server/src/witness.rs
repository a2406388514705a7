//! The HTTP side of a witness (C2SP tlog-witness): stores before it signs, answers as the
//! specification says. Refuses to know how a checkpoint is judged and where it is kept.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use placet_runtime::ports::{Clock, PortError, Signer};
use placet_store::{Seen, WitnessStore};
use placet_tlog::witness::{
    Accepted, AddCheckpoint, REQUEST_BYTES_MAX, SIZE_CONTENT_TYPE, Witnessed, decide,
};
use placet_tlog::{CosignerKey, Trust};
use std::sync::Arc;

/// How often a request is decided anew because another one moved the witness meanwhile.
const MOVED_MAX: usize = 8;

/// A witness: whose logs it watches, its key, its memory.
pub struct Witness {
    /// Pinned keys of the logs; nothing else is cosigned.
    pub logs: Trust,
    /// Its public key under its name.
    pub key: CosignerKey,
    /// Its signing key.
    pub signer: Arc<dyn Signer>,
    /// What it has seen.
    pub store: WitnessStore,
    /// Time of cosignatures.
    pub clock: Arc<dyn Clock>,
}

/// `POST /add-checkpoint`, `GET /vkey`, `GET /healthz`.
pub fn witness_router(witness: Arc<Witness>) -> Router {
    let vkey = format!("{}\n", witness.key);
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/vkey", get(|| async move { vkey }))
        .route("/healthz", get(|| async { "{\"status\":\"ok\"}" }))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    let answer = tokio::task::spawn_blocking(move || answer(&witness, &body)).await;
    answer.unwrap_or_else(|error| {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
    })
}

fn answer(witness: &Witness, body: &[u8]) -> Response {
    let request = match AddCheckpoint::parse(body) {
        Ok(request) => request,
        Err(error) => {
            let why = match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}\n"),
                None => format!("{error}\n"),
            };
            return (StatusCode::BAD_REQUEST, why).into_response();
        }
    };
    match cosign(witness, &request, body) {
        Ok(response) => response,
        // Nothing was signed: what is not stored durably was never seen.
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

fn cosign(witness: &Witness, request: &AddCheckpoint, body: &[u8]) -> Result<Response, PortError> {
    let origin = &request.checkpoint.origin;
    for _ in 0..MOVED_MAX {
        let latest = witness.store.latest(origin)?.map(|(seen, _)| witnessed(seen));
        let accepted = match decide(request, &witness.logs, latest.as_ref()) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                if refusal.is_suspicious() {
                    let text = String::from_utf8_lossy(body);
                    witness.store.keep(origin, &refusal.to_string(), &text)?;
                }
                return Ok(refused(refusal.status(), refusal.size_body(), &refusal.to_string()));
            }
        };
        if !stored(witness, &accepted)? {
            continue;
        }
        let leave = accepted.persist(|_| Ok::<(), PortError>(()))?;
        let now = witness.clock.wall().0 / 1000;
        let line = leave
            .cosign(&witness.key, now, |message| witness.signer.sign(message))
            .map_err(PortError::new)?;
        return Ok((StatusCode::OK, line).into_response());
    }
    Err(PortError::new("too many requests for this log at once; ask again"))
}

/// Whether the update is durable; not if another request came first.
fn stored(witness: &Witness, accepted: &Accepted) -> Result<bool, PortError> {
    let update = accepted.update();
    if update.is_unchanged() {
        return Ok(true);
    }
    let seen = |witnessed: Witnessed| -> Seen { (witnessed.size, witnessed.root) };
    let expected = update.expected.map(seen);
    witness.store.advance(&update.origin, expected, seen(update.next), &update.note_text)
}

fn witnessed((size, root): Seen) -> Witnessed {
    Witnessed { size, root }
}

fn refused(status: u16, size: Option<String>, why: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    match size {
        None => (status, format!("{why}\n")).into_response(),
        Some(size) => {
            let kind = HeaderValue::from_static(SIZE_CONTENT_TYPE);
            (status, [(header::CONTENT_TYPE, kind)], size).into_response()
        }
    }
}
