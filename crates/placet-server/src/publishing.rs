//! Publishing checkpoints: once a second where a log has grown, after asking its witnesses. Owns the
//! conversation of C2SP tlog-witness from the log's side; refuses to know what a witness checks.

use crate::server::Server;
use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use placet_runtime::{SignedHead, Workspace};
use placet_tlog::CosignerKey;
use placet_tlog::note::{Note, Signature};
use placet_tlog::witness::{Answer, REQUEST_BYTES_MAX, good_cosignatures, write_request};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How often a grown log is published.
const EVERY: Duration = Duration::from_secs(1);
/// How long one witness may take for one log.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a checkpoint waits for those who usually answer; it is published without the others then.
const WAIT: Duration = Duration::from_secs(1);
/// When a witness that refused is asked again about a log that has not grown.
const AGAIN: Duration = Duration::from_secs(5);
/// Logs about which one witness is asked at once.
const AT_ONCE: usize = 8;

/// How a witness refuses a signature by a key that it does not know.
const FORBIDDEN: u16 = 403;

/// Somebody who cosigns the checkpoints of this instance.
#[derive(Clone, Debug)]
pub struct WitnessPeer {
    /// Its key; other signatures in its answer are ignored.
    pub key: CosignerKey,
    /// Base URL, plain HTTP: a cosignature proves itself.
    pub url: String,
}

/// Publishes every workspace's log until the server stops.
///
/// Witnesses are asked beside each other, each about several logs at once. A checkpoint waits for the
/// witnesses that answered last time, and not longer than [`WAIT`]; who comes later is added to what
/// is published. So one that is slow or dead delays no log and no other witness.
pub(crate) async fn publish(server: Arc<Server>) {
    let peers = server.options.witnesses.iter();
    let peers: Vec<Arc<Asked>> = peers.map(|peer| Arc::new(Asked::new(peer.clone()))).collect();
    let mut beat = tokio::time::interval(EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Ends with this future, and with it whatever a witness has not answered yet.
    let mut asking = JoinSet::new();
    loop {
        beat.tick().await;
        while asking.try_join_next().is_some() {}
        let due = |workspace| Due::new(workspace, &peers);
        let all = server.plane.all_workspaces();
        let dues: Arc<[Due]> = all.into_iter().filter_map(due).collect();
        if !dues.is_empty() {
            round(&server, &peers, dues, &mut asking).await;
        }
    }
}

/// Asks whoever is free, and publishes.
async fn round(
    server: &Arc<Server>,
    peers: &[Arc<Asked>],
    dues: Arc<[Due]>,
    asking: &mut JoinSet<()>,
) {
    let late = Instant::now() + WAIT;
    for peer in peers {
        // One that answers may still be busy with the logs of the last round.
        let awaited = !peer.failing.load(Ordering::Relaxed);
        let free = peer.free.clone();
        let wait = if awaited { late } else { Instant::now() };
        let Ok(Ok(place)) = timeout_at(wait, free.acquire_owned()).await else { continue };
        dues.iter().filter(|due| awaited && due.wants(peer)).for_each(Due::expect);
        asking.spawn(ask_all(server.clone(), peer.clone(), dues.clone(), awaited, place));
    }
    for due in dues.iter() {
        let _ = timeout_at(late, due.settled()).await;
        due.publish(true);
    }
}

/// Asks one witness about all logs that want it, some at a time. After a failure the others wait for
/// the next round: who does not answer for one log does not for the next.
async fn ask_all(
    server: Arc<Server>,
    peer: Arc<Asked>,
    dues: Arc<[Due]>,
    awaited: bool,
    place: OwnedSemaphorePermit,
) {
    let next = AtomicUsize::new(0);
    let gone = AtomicBool::new(false);
    let one_after_the_other = || async {
        while let Some(due) = dues.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !due.wants(&peer) {
                continue;
            }
            let mut lines = Vec::new();
            if !gone.load(Ordering::Relaxed) {
                let answer = peer.ask(&server, &due.workspace, &due.head);
                match tokio::time::timeout(PATIENCE, answer).await {
                    Ok(Ok(cosigned)) => lines = cosigned,
                    Ok(Err(Failed { why, reached })) => {
                        gone.fetch_or(!reached, Ordering::Relaxed);
                        let origin = due.workspace.origin().to_owned();
                        peer.refused().insert(origin, Instant::now());
                        peer.complain(&server, &why);
                    }
                    Err(_) => {
                        gone.store(true, Ordering::Relaxed);
                        peer.complain(&server, "it does not answer in time");
                    }
                }
            }
            due.answered(lines, awaited);
        }
    };
    let mut asking: Vec<_> = (0..AT_ONCE).map(|_| Box::pin(one_after_the_other())).collect();
    std::future::poll_fn(|context| {
        asking.retain_mut(|asking| asking.as_mut().poll(context).is_pending());
        if asking.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    peer.failing.store(gone.load(Ordering::Relaxed), Ordering::Relaxed);
    drop(place);
}

/// A checkpoint that is to be published, or has cosignatures to come.
struct Due {
    workspace: Arc<Workspace>,
    head: Arc<SignedHead>,
    /// Whether the log has grown since a checkpoint was published.
    fresh: bool,
    /// Who has cosigned it before this round.
    had: Vec<Signature>,
    state: Mutex<Collected>,
    changed: Notify,
}

#[derive(Default)]
struct Collected {
    lines: Vec<Signature>,
    /// Witnesses that it waits for.
    awaited: usize,
    /// Whether it is published; what comes later is added.
    out: bool,
}

impl Due {
    /// What is to be published: a head that has grown, or the one published last if a witness has not
    /// cosigned it: after a start nobody has, and one that was away comes back.
    fn new(workspace: Arc<Workspace>, peers: &[Arc<Asked>]) -> Option<Self> {
        let grown = workspace.unpublished();
        let fresh = grown.is_some();
        let head = grown.unwrap_or_else(|| workspace.published());
        let had = match Note::parse(&head.note) {
            Ok(note) if !fresh => note.signatures().to_vec(),
            _ => Vec::new(),
        };
        let (state, changed) = (Mutex::default(), Notify::new());
        let due = Self { workspace, head, fresh, had, state, changed };
        let wanted = due.head.head.size() > 0 && peers.iter().any(|peer| due.wants(peer));
        (fresh || wanted).then_some(due)
    }

    fn wants(&self, peer: &Asked) -> bool {
        let refused = || peer.refused().get(self.workspace.origin()).copied();
        !self.had.iter().any(|signature| peer.peer.key.made(signature))
            && (self.fresh || refused().is_none_or(|at| at.elapsed() >= AGAIN))
    }

    /// A witness is waited for.
    fn expect(&self) {
        self.lock().awaited += 1;
    }

    /// A witness has answered, or will not.
    fn answered(&self, lines: Vec<Signature>, awaited: bool) {
        let mut state = self.lock();
        let more = !lines.is_empty();
        state.lines.extend(lines);
        state.awaited -= usize::from(awaited);
        let out = state.out;
        drop(state);
        if out && more {
            self.publish(false);
        }
        self.changed.notify_one();
    }

    /// Returns once nobody is waited for.
    async fn settled(&self) {
        while self.lock().awaited > 0 {
            self.changed.notified().await;
        }
    }

    fn publish(&self, first: bool) {
        let mut state = self.lock();
        state.out = true;
        if first || !state.lines.is_empty() {
            self.workspace.publish(&self.head, &state.lines);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One witness, and where it stands as far as is known.
struct Asked {
    peer: WitnessPeer,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Size that it cosigned last, by origin.
    at: Mutex<HashMap<String, u64>>,
    /// When it refused last, by origin.
    refused: Mutex<HashMap<String, Instant>>,
    /// Whether the last complaint was of the same kind, so that it is said once.
    complained: AtomicBool,
    /// Whether it could not be reached in the last round: nobody waits for it.
    failing: AtomicBool,
    /// Its one place: it is asked in one round at a time.
    free: Arc<Semaphore>,
}

/// Why a witness has not cosigned.
struct Failed {
    why: String,
    /// Whether it answered at all.
    reached: bool,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self { why, reached: true }
    }
}

impl Asked {
    fn new(peer: WitnessPeer) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self {
            peer,
            client,
            at: Mutex::default(),
            refused: Mutex::default(),
            complained: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            free: Arc::new(Semaphore::new(1)),
        }
    }

    /// The witness's cosignatures of `head`; asks again from where the witness says it is.
    async fn ask(
        &self,
        server: &Server,
        workspace: &Arc<Workspace>,
        head: &SignedHead,
    ) -> Result<Vec<Signature>, Failed> {
        let origin = workspace.origin().to_owned();
        let mut told = false;
        for _ in 0..3 {
            let old = self.at().get(&origin).copied().unwrap_or(0);
            if old > head.head.size() {
                return Err(format!("it has seen {old} entries, more than this log has").into());
            }
            let (plane, log, new) = (server.plane.clone(), workspace.clone(), head.head.size());
            let proof = tokio::task::spawn_blocking(move || plane.consistency(&log, old, new));
            let proof = proof.await.map_err(|error| error.to_string())?;
            let proof = proof.map_err(|error| error.to_string())?;
            match self.send(write_request(old, &proof, &head.note)).await? {
                Answer::Cosigned(lines) => {
                    self.at().insert(origin, new);
                    let body = Note::parse(&head.note).map_err(|error| error.to_string())?;
                    let keys = std::slice::from_ref(&self.peer.key);
                    let good = good_cosignatures(body.text(), &lines, keys);
                    if good.is_empty() {
                        let why = "its answer holds no good cosignature by its key";
                        return Err(why.to_owned().into());
                    }
                    server.counters.cosigned.fetch_add(1, Ordering::Relaxed);
                    self.complained.store(false, Ordering::Relaxed);
                    return Ok(good);
                }
                Answer::At(size) if size == old => {
                    return Err(format!("it has cosigned another log of {size} entries").into());
                }
                Answer::At(size) => {
                    self.at().insert(origin.clone(), size);
                }
                // It may not know yet that another key signs.
                Answer::Refused(FORBIDDEN) if !told && !workspace.handovers().is_empty() => {
                    told = true;
                    self.tell(workspace).await?;
                }
                Answer::Refused(status) => {
                    return Err(format!("it refuses with status {status}").into());
                }
            }
        }
        Err("it keeps moving".to_owned().into())
    }

    /// Tells the witness how the keys of the log have followed each other. What it knows already
    /// changes nothing, and what it refuses shows at the next checkpoint.
    async fn tell(&self, workspace: &Workspace) -> Result<(), Failed> {
        for signer in workspace.signers().iter() {
            if let Some(note) = &signer.note {
                self.post("add-handover", note.clone()).await?;
            }
        }
        Ok(())
    }

    fn at(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, body: String) -> Result<Answer, Failed> {
        let (status, body) = self.post("add-checkpoint", body).await?;
        Ok(Answer::parse(status, &body).map_err(|error| error.to_string())?)
    }

    async fn post(&self, path: &str, body: String) -> Result<(u16, Bytes), Failed> {
        let answered = self.post_once(path, body).await;
        answered.map_err(|why| Failed { why, reached: false })
    }

    async fn post_once(&self, path: &str, body: String) -> Result<(u16, Bytes), String> {
        let url = format!("{}/{path}", self.peer.url.trim_end_matches('/'));
        let request = Request::builder().method(Method::POST).uri(url);
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| e.to_string())?;
        let response = self.client.request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), REQUEST_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, body))
    }

    fn complain(&self, server: &Server, why: &str) {
        server.counters.unwitnessed.fetch_add(1, Ordering::Relaxed);
        if !self.complained.swap(true, Ordering::Relaxed) {
            eprintln!("placet: witness {} at {}: {why}", self.peer.key.name(), self.peer.url);
        }
    }
}
