//! Connections that ask for permits all the time, a gate that hears what stops, and what both have seen.

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What each request goes under: it can be stopped by every kind of scope.
pub(super) const AGENT: &str = "agent:load";
pub(super) const ROLE: &str = "loader";
pub(super) const BRANCH: &str = "bench-branch";
pub(super) const CAPABILITY: &str = "bench-capability";
pub(super) const MODEL: &str = "bench-model";
pub(super) const JOB: &str = "bench-job";
pub(super) const RUN: &str = "bench-run";
pub(super) const SURFACE: &str = "payments.refund";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection that was refused waits.
const REFUSED: Duration = Duration::from_millis(2);

/// What the connections see.
pub(super) struct Seen {
    started: Instant,
    /// When the last byte of the newest permit was read, nanoseconds since the start.
    pub(super) permit: AtomicU64,
    pub(super) permits: AtomicU64,
    pub(super) answers: AtomicU64,
    /// Answers that the store cannot be written to.
    pub(super) refusals: AtomicU64,
    /// When the gate was last told that everything stops.
    pub(super) told: AtomicU64,
    errors: AtomicU64,
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Seen {
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Seconds from `asked` until the newest permit; none came after it where this is 0.
    pub(super) fn last_after(&self, asked: u64) -> f64 {
        self.permit.load(Ordering::SeqCst).saturating_sub(asked) as f64 / 1e9
    }
}

/// Connections under way.
pub(super) struct Load {
    pub(super) seen: Arc<Seen>,
    connections: u64,
    tasks: JoinSet<Result<()>>,
}

impl Load {
    /// So many connections, and a gate with a key of its own.
    pub(super) fn start(address: &str, connections: usize, key: &str, gate: &str) -> Self {
        let seen = Arc::new(Seen {
            started: Instant::now(),
            permit: AtomicU64::new(0),
            permits: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            told: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for at in 0..=connections {
            let (seen, address) = (seen.clone(), address.to_owned());
            let key = if at == connections { gate } else { key }.to_owned();
            tasks.spawn(async move {
                let done = match at == connections {
                    true => hear(&seen, &address, &key).await,
                    false => ask(&seen, &address, &key).await,
                };
                if done.is_err() && !seen.stop.load(Ordering::SeqCst) {
                    seen.errors.fetch_add(1, Ordering::SeqCst);
                    return done;
                }
                Ok(())
            });
        }
        Self { seen, connections: connections as u64, tasks }
    }

    /// Waits until there were so many more permits.
    pub(super) async fn flows(&self, more: u64) -> Result<()> {
        let seen = &self.seen;
        let before = seen.permits.load(Ordering::SeqCst);
        wait(async || {
            self.whole()?;
            Ok(seen.permits.load(Ordering::SeqCst) >= before + more)
        })
        .await
    }

    /// Waits until every connection has sent anew and was answered, so that nothing is under way from before.
    pub(super) async fn turns(&self) -> Result<()> {
        let seen = &self.seen;
        let answers = seen.answers.load(Ordering::SeqCst);
        wait(async || {
            self.whole()?;
            Ok(seen.answers.load(Ordering::SeqCst) >= answers + 2 * self.connections)
        })
        .await
    }

    fn whole(&self) -> Result<()> {
        let errors = self.seen.errors.load(Ordering::SeqCst);
        ensure!(errors == 0, "{errors} connections of the load have failed");
        Ok(())
    }

    /// Ends all connections; what went wrong on one.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.seen.stop.store(true, Ordering::SeqCst);
        let end = async {
            while self.seen.errors.load(Ordering::SeqCst) > 0 || self.tasks.len() > 1 {
                match self.tasks.join_next().await {
                    Some(done) => done?.context("a connection of the load")?,
                    None => break,
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, end).await.context("a connection does not end")??;
        // The gate only listens.
        self.tasks.abort_all();
        Ok(())
    }
}

pub(super) async fn wait(mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !done().await? {
        if began.elapsed() > PATIENCE {
            bail!("nothing has changed for {} seconds", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// A gate that hears what stops.
async fn hear(seen: &Seen, address: &str, key: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "GET /api/v1/overrides/stream HTTP/1.1\r\nHost: placet\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = Vec::with_capacity(4 << 10);
    loop {
        ensure!(stream.read_buf(&mut buffer).await? > 0, "the server closed the gate's stream");
        let told = b"event: override.stopped";
        if let Some(at) = buffer.windows(told.len()).position(|part| part == told) {
            seen.told.store(seen.now(), Ordering::SeqCst);
            buffer.drain(..at + told.len());
        }
        // What was looked at, but for what may be the beginning of a word.
        let done = buffer.len().saturating_sub(told.len());
        buffer.drain(..done);
    }
}

/// A connection that asks for one permit after the other.
async fn ask(seen: &Seen, address: &str, key: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8 << 10);
    while !seen.stop.load(Ordering::SeqCst) {
        let number = seen.sent.fetch_add(1, Ordering::Relaxed);
        let body = json!({
            "surface": SURFACE, "action": "create",
            "idempotency_key": format!("k{number}"), "attempt_nonce": format!("nonce-{number:016}"),
            "arguments": {"amount": 12}, "branch": BRANCH, "capability": CAPABILITY, "model": MODEL,
            "execution": RUN, "labels": {"job": JOB},
        })
        .to_string();
        let head = format!(
            "POST /api/v1/decisions HTTP/1.1\r\nHost: placet\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
        answer(&mut stream, &mut buffer).await?;
        let read = seen.now();
        let holds = |text: &[u8]| buffer.windows(text.len()).any(|part| part == text);
        if holds(b"\"state\":\"granted\"") {
            seen.permit.fetch_max(read, Ordering::SeqCst);
            seen.permits.fetch_add(1, Ordering::SeqCst);
        } else if buffer.starts_with(b"HTTP/1.1 503") {
            seen.refusals.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(REFUSED).await;
        } else if !holds(b"\"killed_") && !holds(b"\"role_revoked\"") {
            bail!("neither a permit nor a stop: {}", String::from_utf8_lossy(&buffer));
        }
        seen.answers.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Reads one answer to its last byte.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(buffer.get(..at).unwrap_or_default());
            let length = head.lines().find_map(|line| {
                let line = line.to_ascii_lowercase();
                line.strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            });
            if buffer.len() >= at + 4 + length.context("no content-length")? {
                return Ok(());
            }
        }
        ensure!(stream.read_buf(buffer).await? > 0, "the server closed a connection");
    }
}
