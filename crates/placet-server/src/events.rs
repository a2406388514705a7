//! The stream of log entries (server-sent events). A reader pulls from the log at its own pace: it
//! holds one chunk in memory and never the sequencer. Refuses to know what entries say.

use crate::auth::{Act, OVERSEERS, session};
use crate::call::Call;
use crate::document;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::response::Response;
use placet_runtime::{LogEntry, PlaneError, Workspace};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;

/// Entries per chunk.
const CHUNK: usize = 64;
/// Silence after which a comment is sent; key and roles are looked at again as often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// `GET /api/v1/events`
pub(crate) async fn stream(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    session.demand(&OVERSEERS)?;
    let query = call.query(&["from"])?;
    let workspace = session.workspace;
    let from = match call.header("last-event-id")? {
        Some(text) => {
            let last = text.trim().parse::<u64>().ok().and_then(|last| last.checked_add(1));
            let expected = "expected the index of an entry";
            last.ok_or_else(|| Problem::header("Last-Event-ID", expected))?
        }
        None => query.number("from")?.unwrap_or_else(|| *workspace.watch_size().borrow()),
    };
    let (sender, receiver) = channel(1);
    let reader = Reader { call, workspace, sender };
    tokio::spawn(reader.run(from));
    Ok(document::event_stream(receiver))
}

struct Reader {
    call: Call,
    workspace: Arc<Workspace>,
    sender: Sender<Bytes>,
}

impl Reader {
    /// Ends when the reader goes, its key is revoked or loses the roles that may read, or the server stops.
    async fn run(self, mut from: u64) {
        let server = &self.call.server;
        let mut size = self.workspace.watch_size();
        if self.sender.send(Bytes::from_static(b": placet\n\n")).await.is_err() {
            return;
        }
        while self.may_read() {
            let chunk = match self.read(from).await {
                Ok(entries) if !entries.is_empty() => {
                    from = entries.last().map_or(from, |last| last.index + 1);
                    encode(&entries)
                }
                Ok(_) => {
                    tokio::select! {
                        () = server.stopped() => return,
                        () = self.sender.closed() => return,
                        grown = grows(&mut size, from) => {
                            if grown { continue; }
                            return;
                        }
                        () = tokio::time::sleep(HEARTBEAT) => Bytes::from_static(b": still here\n\n"),
                    }
                }
                Err(error) => {
                    eprintln!("placet: a stream of events ends: {error}");
                    return;
                }
            };
            tokio::select! {
                () = server.stopped() => return,
                sent = self.sender.send(chunk) => if sent.is_err() { return; },
            }
        }
    }

    fn may_read(&self) -> bool {
        let session = session(&self.call.server.plane, &self.call.parts, Act::Propose);
        session.is_ok_and(|session| session.has_any(&OVERSEERS))
    }

    async fn read(&self, from: u64) -> Result<Vec<LogEntry>, PlaneError> {
        if *self.workspace.watch_size().borrow() <= from {
            return Ok(Vec::new());
        }
        let (plane, workspace) = (self.call.server.plane.clone(), self.workspace.clone());
        // A stream waits for its turn as long as it takes; nobody waits for the stream.
        let place = self.call.server.reading.clone().acquire_owned().await;
        let read = move || {
            let _place = place;
            plane.tail(&workspace, from, CHUNK)
        };
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|error| PlaneError::Internal(error.to_string()))?
    }
}

/// Waits until the log is longer than `from`; false when its workspace is gone.
async fn grows(size: &mut watch::Receiver<u64>, from: u64) -> bool {
    size.wait_for(|size| *size > from).await.is_ok()
}

fn encode(entries: &[LogEntry]) -> Bytes {
    let mut out = Vec::with_capacity(entries.len() * 1024);
    for entry in entries {
        let Ok(document) = document::entry(entry) else { continue };
        let kind = entry.entry.event.type_name();
        out.extend_from_slice(format!("id: {}\nevent: {kind}\ndata: ", entry.index).as_bytes());
        // Canonical JSON has no line breaks, so one data line holds it.
        if serde_json::to_writer(&mut out, &document).is_ok() {
            out.extend_from_slice(b"\n\n");
        }
    }
    Bytes::from(out)
}
