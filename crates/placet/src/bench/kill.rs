//! Time between asking for a kill and the last permit that leaves, under load, for every way to ask. The
//! server is a process of its own; load and clock are here, so that both ends are read from one clock.

use super::floor::quantile;
use super::report::{Report, Row};
use super::serve::BUNDLE;
use super::server::Running;
use crate::client::Client;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Arguments of `bench kill`.
#[derive(Args, Debug)]
pub(super) struct Kill {
    /// Trips, spread over all ways
    #[arg(long, default_value_t = 1000)]
    trips: usize,
    /// Connections that ask for permits all the time
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Connections of the part in which HTTP is saturated; 0 leaves it out
    #[arg(long, default_value_t = 512)]
    saturated: usize,
    /// Where to keep the data while measuring
    #[arg(long)]
    scratch: Option<PathBuf>,
}

impl Kill {
    pub(super) fn smoke(self) -> Self {
        Self { trips: 8, connections: 4, saturated: 8, ..self }
    }
}

/// Permits that have to come before a trip: the server is at work again.
const FLOW: u64 = 32;
/// How long permits are looked for after the last answer that was under way: none may come.
const AFTER: Duration = Duration::from_millis(20);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a kill is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Workspace,
    Everything,
    File,
    Signal,
}

impl Way {
    const ALL: [Self; 4] = [Self::Workspace, Self::Everything, Self::File, Self::Signal];

    fn name(self) -> &'static str {
        match self {
            Self::Workspace => "workspace, over HTTP",
            Self::Everything => "everything, over HTTP",
            Self::File => "everything, by the file KILL",
            Self::Signal => "everything, by SIGUSR2",
        }
    }

    /// Asked beside HTTP and the store.
    fn is_beside(self) -> bool {
        matches!(self, Self::File | Self::Signal)
    }

    fn scope(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            _ => "everything",
        }
    }
}

/// What the connections see.
struct Seen {
    started: Instant,
    /// When the last byte of the newest permit was read, nanoseconds since the start.
    permit: AtomicU64,
    permits: AtomicU64,
    answers: AtomicU64,
    errors: AtomicU64,
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Seen {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The times of one way, seconds from asking to the last permit.
struct Times {
    way: Way,
    seconds: Vec<f64>,
    /// Permits that came although the trip had been acknowledged, or long been asked for.
    late: u64,
}

pub(super) async fn run(args: &Kill) -> Result<Report> {
    let scratch = match &args.scratch {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("placet-kill-{}", std::process::id())),
    };
    std::fs::create_dir_all(&scratch)?;
    let report = measure(args, &scratch).await;
    std::fs::remove_dir_all(&scratch)?;
    report
}

async fn measure(args: &Kill, scratch: &Path) -> Result<Report> {
    let mut report = Report { bench: "kill", floor: Vec::new(), rows: Vec::new() };
    let parts =
        [("", args.connections, args.trips), (", saturated", args.saturated, args.trips / 4)];
    for (name, connections, trips) in parts.into_iter().filter(|(_, count, _)| *count > 0) {
        let data = scratch.join(format!("data-{connections}"));
        let (all, rate) = part(&data, scratch, connections, trips.max(4)).await?;
        report.rows.push(Row::new(format!("permits{name}, {connections} connections"), rate, "/s"));
        for mut times in all {
            let bars = if times.way.is_beside() { (100.0, 100.0) } else { (10.0, 50.0) };
            let title = |what: &str| format!("{}{name}: {what}", times.way.name());
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|at| quantile(&mut times.seconds, at) * 1e3);
            let rows = &mut report.rows;
            rows.push(Row::new(title("trips"), times.seconds.len() as f64, ""));
            rows.push(Row::new(title("p50"), p50, "ms"));
            rows.push(Row::new(title("p99"), p99, "ms").at_most(bars.0));
            rows.push(Row::new(title("maximum"), max, "ms").at_most(bars.1));
            rows.push(Row::new(title("permits after"), times.late as f64, "").at_most(0.0));
        }
    }
    Ok(report)
}

/// All ways in turn under load of so many connections, and how many permits a second there were.
async fn part(
    data: &Path,
    scratch: &Path,
    connections: usize,
    trips: usize,
) -> Result<(Vec<Times>, f64)> {
    let bundle = scratch.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    std::fs::write(bundle.join("rules.yaml"), BUNDLE)?;
    let server = Running::placet(data, &bundle).await?;
    let ann = Client::new(&format!("http://{}", server.address), server.key.clone())?;
    let body = json!({"actor": "human:bob", "environment": "production", "roles": ["operator"]});
    let made = ann.post("/api/v1/keys", &body).await?;
    let bob = ann.with_key(made["key"].as_str().context("no second key")?);
    let seen = Arc::new(Seen {
        started: Instant::now(),
        permit: AtomicU64::new(0),
        permits: AtomicU64::new(0),
        answers: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        sent: AtomicU64::new(0),
    });
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (seen, address) = (seen.clone(), server.address.clone());
        let key = server.key.clone().context("no admin key")?;
        load.spawn(async move {
            if let Err(error) = ask(&seen, &address, &key).await {
                seen.errors.fetch_add(1, Ordering::SeqCst);
                return Err(error);
            }
            Ok(())
        });
    }
    flows(&seen, connections as u64 + FLOW).await?;
    let (began, before) = (Instant::now(), seen.permits.load(Ordering::SeqCst));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let rate =
        (seen.permits.load(Ordering::SeqCst) - before) as f64 / began.elapsed().as_secs_f64();
    let mut all: Vec<Times> =
        Way::ALL.into_iter().map(|way| Times { way, seconds: Vec::new(), late: 0 }).collect();
    for trip in 0..trips {
        let at = trip % all.len();
        let times = all.get_mut(at).context("no way")?;
        flows(&seen, FLOW).await?;
        let once =
            Once { way: times.way, server: &server, data, people: [&ann, &bob], seen: &seen };
        let (seconds, late) = once.trip(connections as u64).await?;
        times.seconds.push(seconds);
        times.late += late;
    }
    seen.stop.store(true, Ordering::SeqCst);
    while let Some(done) = load.join_next().await {
        done?.context("a connection of the load")?;
    }
    server.stop().await?;
    Ok((all, rate))
}

/// One trip and its lift.
struct Once<'a> {
    way: Way,
    server: &'a Running,
    data: &'a Path,
    people: [&'a Client; 2],
    seen: &'a Seen,
}

impl Once<'_> {
    /// Seconds until the last permit, and permits that came after all that was under way.
    async fn trip(&self, connections: u64) -> Result<(f64, u64)> {
        let [ann, bob] = self.people;
        let scope = json!({"scope": self.way.scope()});
        let asked = match self.way {
            Way::Workspace | Way::Everything => {
                let asked = self.seen.now();
                ann.post("/api/v1/kill", &scope).await?;
                asked
            }
            Way::File => {
                drop(File::create(self.data.join("KILL"))?);
                self.seen.now()
            }
            Way::Signal => {
                let asked = self.seen.now();
                let pid = rustix::process::Pid::from_raw(i32::try_from(self.server.pid()?)?);
                let pid = pid.context("the server has ended")?;
                rustix::process::kill_process(pid, rustix::process::Signal::USR2)?;
                asked
            }
        };
        // Until it is recorded; the lift would be refused before.
        wait(async || {
            let kill = ann.get("/api/v1/kill").await?;
            Ok(!kill[self.way.scope()].is_null())
        })
        .await?;
        // Every connection has sent anew since, so that nothing is under way from before.
        let answers = self.seen.answers.load(Ordering::SeqCst);
        wait(async || Ok(self.seen.answers.load(Ordering::SeqCst) >= answers + 2 * connections))
            .await?;
        let settled = self.seen.permits.load(Ordering::SeqCst);
        tokio::time::sleep(AFTER).await;
        let late = self.seen.permits.load(Ordering::SeqCst) - settled;
        let last = self.seen.permit.load(Ordering::SeqCst);
        ann.post("/api/v1/lift", &scope).await?;
        let lifted = bob.post("/api/v1/lift", &scope).await?;
        ensure!(lifted["lifted"] == true, "not lifted: {lifted}");
        Ok((last.saturating_sub(asked) as f64 / 1e9, late))
    }
}

/// Waits until there were so many more permits.
async fn flows(seen: &Seen, more: u64) -> Result<()> {
    let before = seen.permits.load(Ordering::SeqCst);
    wait(async || {
        let errors = seen.errors.load(Ordering::SeqCst);
        ensure!(errors == 0, "{errors} connections of the load have failed");
        Ok(seen.permits.load(Ordering::SeqCst) >= before + more)
    })
    .await
}

async fn wait(mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !done().await? {
        if began.elapsed() > PATIENCE {
            bail!("nothing has changed for {} seconds", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// A connection that asks for one permit after the other.
async fn ask(seen: &Seen, address: &str, key: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8 << 10);
    while !seen.stop.load(Ordering::SeqCst) {
        let number = seen.sent.fetch_add(1, Ordering::Relaxed);
        let body = json!({
            "surface": "payments.refund", "action": "create",
            "idempotency_key": format!("k{number}"), "attempt_nonce": format!("nonce-{number:016}"),
            "arguments": {"amount": 12},
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
        } else if !holds(b"\"killed_") {
            bail!("neither a permit nor a kill: {}", String::from_utf8_lossy(&buffer));
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
