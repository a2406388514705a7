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
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a grown log is published.
const EVERY: Duration = Duration::from_secs(1);
/// How long one witness may take; the checkpoint is published without it then.
const PATIENCE: Duration = Duration::from_secs(5);

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
pub(crate) async fn publish(server: Arc<Server>) {
    let peers = &server.options.witnesses;
    let mut asked: Vec<Asked> = peers.iter().map(|peer| Asked::new(peer.clone())).collect();
    let mut beat = tokio::time::interval(EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        for witness in &mut asked {
            witness.gone = false;
        }
        for workspace in server.plane.all_workspaces() {
            let Some(head) = due(&workspace, !asked.is_empty()) else { continue };
            let mut lines = Vec::new();
            // One that does not answer is asked again in the next round, not for every log of this.
            for witness in asked.iter_mut().filter(|witness| !witness.gone) {
                let answer = witness.ask(&server, &workspace, &head);
                match tokio::time::timeout(PATIENCE, answer).await {
                    Ok(Ok(cosigned)) => lines.extend(cosigned),
                    Ok(Err(why)) => witness.complain(&server, &why),
                    Err(_) => witness.complain(&server, "it does not answer in time"),
                }
            }
            workspace.publish(&head, &lines);
        }
    }
}

/// What is to be published: a head that has grown, or the one at the start, which nobody has
/// cosigned yet.
fn due(workspace: &Workspace, witnessed: bool) -> Option<Arc<SignedHead>> {
    workspace.unpublished().or_else(|| {
        let published = workspace.published();
        let alone = Note::parse(&published.note).is_ok_and(|note| note.signatures().len() == 1);
        (witnessed && alone && published.head.size() > 0).then_some(published)
    })
}

/// One witness, and where it stands as far as is known.
struct Asked {
    peer: WitnessPeer,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Size that it cosigned last, by origin.
    at: HashMap<String, u64>,
    /// Whether the last complaint was of the same kind, so that it is said once.
    complained: bool,
    /// Whether it could not be reached in this round.
    gone: bool,
}

impl Asked {
    fn new(peer: WitnessPeer) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { peer, client, at: HashMap::new(), complained: false, gone: false }
    }

    /// The witness's cosignatures of `head`; asks again from where the witness says it is.
    async fn ask(
        &mut self,
        server: &Server,
        workspace: &Arc<Workspace>,
        head: &SignedHead,
    ) -> Result<Vec<Signature>, String> {
        let origin = workspace.origin().to_owned();
        let mut told = false;
        for _ in 0..3 {
            let old = self.at.get(&origin).copied().unwrap_or(0);
            if old > head.head.size() {
                return Err(format!("it has seen {old} entries, more than this log has"));
            }
            let (plane, log, new) = (server.plane.clone(), workspace.clone(), head.head.size());
            let proof = tokio::task::spawn_blocking(move || plane.consistency(&log, old, new));
            let proof = proof.await.map_err(|error| error.to_string())?;
            let proof = proof.map_err(|error| error.to_string())?;
            match self.send(write_request(old, &proof, &head.note)).await? {
                Answer::Cosigned(lines) => {
                    self.at.insert(origin, new);
                    let body = Note::parse(&head.note).map_err(|error| error.to_string())?;
                    let keys = std::slice::from_ref(&self.peer.key);
                    let good = good_cosignatures(body.text(), &lines, keys);
                    if good.is_empty() {
                        return Err("its answer holds no good cosignature by its key".to_owned());
                    }
                    server.counters.cosigned.fetch_add(1, Ordering::Relaxed);
                    self.complained = false;
                    return Ok(good);
                }
                Answer::At(size) if size == old => {
                    return Err(format!("it has cosigned another log of {size} entries"));
                }
                Answer::At(size) => {
                    self.at.insert(origin.clone(), size);
                }
                // It may not know yet that another key signs.
                Answer::Refused(FORBIDDEN) if !told && !workspace.handovers().is_empty() => {
                    told = true;
                    self.tell(workspace).await?;
                }
                Answer::Refused(status) => return Err(format!("it refuses with status {status}")),
            }
        }
        Err("it keeps moving".to_owned())
    }

    /// Tells the witness how the keys of the log have followed each other. What it knows already
    /// changes nothing, and what it refuses shows at the next checkpoint.
    async fn tell(&mut self, workspace: &Workspace) -> Result<(), String> {
        for signer in workspace.signers().iter() {
            if let Some(note) = &signer.note {
                self.post("add-handover", note.clone()).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, body: String) -> Result<Answer, String> {
        let (status, body) = self.post("add-checkpoint", body).await?;
        Answer::parse(status, &body).map_err(|error| error.to_string())
    }

    async fn post(&mut self, path: &str, body: String) -> Result<(u16, Bytes), String> {
        self.gone = true;
        let url = format!("{}/{path}", self.peer.url.trim_end_matches('/'));
        let request = Request::builder().method(Method::POST).uri(url);
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| e.to_string())?;
        let response = self.client.request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), REQUEST_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        self.gone = false;
        Ok((status, body))
    }

    fn complain(&mut self, server: &Server, why: &str) {
        server.counters.unwitnessed.fetch_add(1, Ordering::Relaxed);
        if !self.complained {
            eprintln!("placet: witness {} at {}: {why}", self.peer.key.name(), self.peer.url);
        }
        self.complained = true;
    }
}
