//! The HTTP side of a witness (C2SP tlog-witness): stores before it signs, answers as the
//! specification says. `add-handover` is ours: a witness follows a log whose key has changed. Refuses to know how a checkpoint is judged and where it is kept.

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use placet_runtime::ports::{Clock, PortError, Signer};
use placet_store::{Seen, WitnessStore};
use placet_tlog::trust::{RotationError, TrustKey};
use placet_tlog::verify::PortableHasher;
use placet_tlog::witness::{
    Accepted, AddCheckpoint, REQUEST_BYTES_MAX, SIZE_CONTENT_TYPE, Witnessed, decide,
};
use placet_tlog::{CosignerKey, Handover, Trust};
use std::sync::{Arc, Mutex, PoisonError};

/// How often a request is decided anew because another one moved the witness meanwhile.
const MOVED_MAX: usize = 8;

/// A witness: whose logs it watches, its key, its memory.
pub struct Witness {
    /// Keys of the logs, the pinned ones and those they have handed over to; nothing else is
    /// cosigned.
    logs: ArcSwap<Trust>,
    key: CosignerKey,
    signer: Arc<dyn Signer>,
    store: WitnessStore,
    clock: Arc<dyn Clock>,
    /// One handover at a time.
    following: Mutex<()>,
}

impl Witness {
    /// A witness that watches the logs of the `pinned` keys, and signs with `signer` under the name
    /// of `key`. Handovers that it took before count again, unless the pinned keys know better.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn new(
        pinned: Trust,
        key: CosignerKey,
        signer: Arc<dyn Signer>,
        store: WitnessStore,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PortError> {
        let mut logs = pinned;
        for note in store.handovers()? {
            // A trust file that is newer than a handover has closed or revoked the old key itself.
            if let Ok(next) = logs.accept_handover(&note) {
                logs = next;
            }
        }
        let logs = ArcSwap::from_pointee(logs);
        Ok(Self { logs, key, signer, store, clock, following: Mutex::new(()) })
    }
}

/// `POST /add-checkpoint`, `POST /add-handover`, `GET /vkey`, `GET /healthz`.
pub fn witness_router(witness: Arc<Witness>) -> Router {
    let vkey = format!("{}\n", witness.key);
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/add-handover", post(add_handover))
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

/// A log says which key follows the one that is known: a note signed by both. It is stored before it
/// counts.
async fn add_handover(State(witness): State<Arc<Witness>>, body: String) -> Response {
    let answer = tokio::task::spawn_blocking(move || follow(&witness, &body)).await;
    match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn follow(witness: &Witness, note: &str) -> Result<Response, PortError> {
    let _one = witness.following.lock().unwrap_or_else(PoisonError::into_inner);
    let logs = witness.logs.load_full();
    let next = match logs.accept_handover(note) {
        Ok(next) => next,
        Err(error) => {
            if error == RotationError::OldKeyClosed {
                keep_second(witness, note, &error.to_string())?;
            }
            let status = match error {
                RotationError::Text(_) => StatusCode::BAD_REQUEST,
                RotationError::UnknownKey => StatusCode::NOT_FOUND,
                _ => StatusCode::FORBIDDEN,
            };
            return Ok((status, format!("{}: {error}\n", error.code())).into_response());
        }
    };
    if next != *logs {
        witness.store.add_handover(note)?;
        witness.logs.store(Arc::new(next));
    }
    Ok(StatusCode::OK.into_response())
}

/// Two handovers by one key: somebody else has it. Kept only if both keys did sign it, for anybody
/// can write one that is not signed.
fn keep_second(witness: &Witness, note: &str, why: &str) -> Result<(), PortError> {
    let Ok((handover, _)) = Handover::parse::<PortableHasher>(note) else { return Ok(()) };
    let alone = Trust::new(vec![TrustKey::active(handover.old().clone())]);
    match alone.map(|alone| alone.accept_handover(note)) {
        Ok(Ok(_)) => witness.store.keep(handover.origin(), why, note),
        _ => Ok(()),
    }
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
        let accepted = match decide(request, &witness.logs.load(), latest.as_ref()) {
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
