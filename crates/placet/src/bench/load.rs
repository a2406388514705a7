//! The load generator: closed loop (each connection sends when it has its answer) or open loop (at
//! fixed instants, whatever the server does; time counts from the instant it should have been sent).

use super::floor::quantile;
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Connections that are opened at once.
const CONNECTING: usize = 256;

/// Arguments of the hidden `bench load`.
#[derive(Args, Debug)]
pub(super) struct Load {
    /// `127.0.0.1:port`
    #[arg(long)]
    address: String,
    /// File with one API key per line; several are drawn from by Zipf's law
    #[arg(long)]
    keys: Option<PathBuf>,
    /// Connections
    #[arg(long)]
    connections: usize,
    /// Seconds of measurement, after one of warm-up
    #[arg(long)]
    seconds: f64,
    /// Open loop: requests per second over all connections
    #[arg(long)]
    rate: Option<f64>,
    /// Counts early refusals with a time to come back instead of failing on them
    #[arg(long)]
    refusals: bool,
    /// Keeps idempotency keys of different runs apart
    #[arg(long)]
    run: String,
}

/// The generator as a process of its own.
pub(super) struct Generator<'a> {
    /// `127.0.0.1:port`
    pub(super) address: &'a str,
    /// File with the keys; the constant server needs none.
    pub(super) keys: Option<&'a Path>,
    /// Whether early refusals are expected.
    pub(super) refusals: bool,
}

impl Generator<'_> {
    /// Closed loop, or open loop at `rate` requests per second.
    pub(super) async fn load(
        &self,
        connections: usize,
        seconds: f64,
        rate: Option<f64>,
        run: &str,
    ) -> Result<Found> {
        let mut command = Command::new(std::env::current_exe()?);
        let run = format!("{run}-{}", std::process::id());
        command.args(["bench", "load", "--address", self.address, "--run", &run]);
        command.args(["--connections", &connections.to_string()]);
        command.args(["--seconds", &seconds.to_string()]);
        if let Some(keys) = self.keys {
            command.arg("--keys").arg(keys);
        }
        if let Some(rate) = rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if self.refusals {
            command.arg("--refusals");
        }
        let output = command.kill_on_drop(true).output().await?;
        if !output.status.success() {
            bail!("the load generator failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// What a run of the generator found.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Found {
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// Refused early, and told when to come back.
    pub(super) refused: u64,
    pub(super) first_error: Option<String>,
    pub(super) seconds: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
    pub(super) cpu_seconds: f64,
    pub(super) answer_bytes: u64,
}

struct Shared {
    keys: Vec<String>,
    zipf: Vec<f64>,
    run: String,
    sent: Cell<u64>,
    random: Cell<u64>,
    times: RefCell<Vec<f64>>,
    errors: Cell<u64>,
    refusals: bool,
    refused: Cell<u64>,
    first_error: RefCell<Option<String>>,
    answer_bytes: Cell<u64>,
    measuring: Cell<bool>,
}

/// Runs the generator on one thread and prints what it found as JSON.
pub(super) async fn run(args: Load) -> Result<ExitCode> {
    let local = tokio::task::LocalSet::new();
    let found = local.run_until(generate(args)).await?;
    println!("{}", serde_json::to_string(&found)?);
    Ok(ExitCode::SUCCESS)
}

async fn generate(args: Load) -> Result<Found> {
    let keys = match &args.keys {
        Some(path) => std::fs::read_to_string(path)?.lines().map(str::to_owned).collect(),
        None => vec![String::new()],
    };
    let mut total = 0.0;
    let zipf: Vec<f64> = (1..=keys.len())
        .map(|rank| {
            total += 1.0 / rank as f64;
            total
        })
        .collect();
    let shared = Rc::new(Shared {
        keys,
        zipf,
        run: args.run.clone(),
        sent: Cell::new(0),
        random: Cell::new(0x9e37_79b9_7f4a_7c15),
        times: RefCell::default(),
        errors: Cell::new(0),
        refusals: args.refusals,
        refused: Cell::new(0),
        first_error: RefCell::default(),
        answer_bytes: Cell::new(0),
        measuring: Cell::new(false),
    });
    let streams = connect(&args).await?;
    let begin = Instant::now() + Duration::from_secs(1);
    let end = begin + Duration::from_secs_f64(args.seconds);
    let slot = Rc::new(Cell::new(0_u64));
    let turns = Arc::new(Semaphore::new(0));
    if let Some(rate) = args.rate {
        let (turns, started) = (turns.clone(), (begin - Duration::from_secs(1)).into_std());
        std::thread::spawn(move || pace(&turns, rate, started, end.into_std()));
    }
    let mut tasks = Vec::new();
    for stream in streams {
        let shared = shared.clone();
        let (slot, turns) = (slot.clone(), turns.clone());
        let started = begin - Duration::from_secs(1);
        let rate = args.rate;
        tasks.push(tokio::task::spawn_local(async move {
            let mut connection = Connection { stream, buffer: Vec::with_capacity(16 << 10) };
            loop {
                let due = match rate {
                    None => Instant::now(),
                    Some(rate) => {
                        turns.acquire().await?.forget();
                        let at = slot.get();
                        slot.set(at + 1);
                        started + Duration::from_secs_f64(at as f64 / rate)
                    }
                };
                // Beyond what can be served, what was due and is not sent by then never is.
                if due >= end || (shared.refusals && Instant::now() >= end) {
                    return Ok(());
                }
                if let Err(error) = connection.once(&shared, due).await {
                    shared.errors.set(shared.errors.get() + 1);
                    shared.first_error.borrow_mut().get_or_insert(error.to_string());
                    return Ok::<(), tokio::sync::AcquireError>(());
                }
            }
        }));
    }
    tokio::time::sleep_until(begin).await;
    let cpu = process_cpu();
    shared.measuring.set(true);
    tokio::time::sleep_until(end).await;
    shared.measuring.set(false);
    let cpu_seconds = process_cpu() - cpu;
    let seconds = begin.elapsed().as_secs_f64();
    for task in tasks {
        if tokio::time::timeout(Duration::from_secs(10), task).await.is_err() {
            bail!("a request has no answer after ten seconds");
        }
    }
    let mut times = shared.times.borrow_mut();
    let requests = times.len() as u64;
    // Where all was refused there are no times.
    let mut at = |part| if requests == 0 { 0.0 } else { quantile(&mut times, part) };
    Ok(Found {
        requests,
        errors: shared.errors.get(),
        refused: shared.refused.get(),
        first_error: shared.first_error.borrow().clone(),
        seconds,
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
        cpu_seconds,
        answer_bytes: shared.answer_bytes.get(),
    })
}

/// All connections, some at a time: one after the other, the first would be idle for longer than the
/// server lets them.
async fn connect(args: &Load) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(args.connections);
    while streams.len() < args.connections {
        let mut connecting = tokio::task::JoinSet::new();
        for _ in 0..CONNECTING.min(args.connections - streams.len()) {
            connecting.spawn_local(TcpStream::connect(args.address.clone()));
        }
        while let Some(connected) = connecting.join_next().await {
            let stream = connected??;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
    }
    Ok(streams)
}

/// Gives a turn at each due instant, from a thread of its own: the runtime's timers round up to
/// whole milliseconds, which would be counted as the server's time and come in bursts.
fn pace(turns: &Semaphore, rate: f64, started: std::time::Instant, end: std::time::Instant) {
    for at in 0_u64.. {
        let due = started + Duration::from_secs_f64(at as f64 / rate);
        let now = std::time::Instant::now();
        if due > now {
            std::thread::sleep(due - now);
        }
        turns.add_permits(1);
        if due >= end {
            // Everybody who still waits sees the end.
            turns.add_permits(Semaphore::MAX_PERMITS / 2);
            return;
        }
    }
}

impl Shared {
    /// Zipf's law over the keys: rank by binary search in the cumulated weights.
    fn key(&self) -> &str {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        let total = self.zipf.last().copied().unwrap_or(1.0);
        let draw = (x >> 11) as f64 / (1_u64 << 53) as f64 * total;
        let at = self.zipf.partition_point(|weight| *weight < draw);
        self.keys.get(at).map_or("", String::as_str)
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn once(&mut self, shared: &Shared, due: Instant) -> Result<()> {
        let number = shared.sent.get();
        shared.sent.set(number + 1);
        let body = body(&shared.run, number);
        let key = shared.key();
        self.buffer.clear();
        use std::io::Write as _;
        write!(
            self.buffer,
            "POST /api/v1/decisions?receipt=inline HTTP/1.1\r\nHost: placet\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        self.stream.write_all(&self.buffer).await?;
        let Some(length) = self.answer(shared.refusals).await? else {
            shared.refused.set(shared.refused.get() + u64::from(shared.measuring.get()));
            return Ok(());
        };
        if shared.measuring.get() {
            shared.times.borrow_mut().push(due.elapsed().as_secs_f64());
            shared.answer_bytes.set(length as u64);
        }
        Ok(())
    }

    /// Reads one answer and gives its length; `None` for a refusal, where those are expected.
    /// Anything else but 200 is an error.
    async fn answer(&mut self, refusals: bool) -> Result<Option<usize>> {
        self.buffer.clear();
        let mut head = None;
        loop {
            if let Some((at, length, good)) = head {
                if self.buffer.len() >= at + length {
                    return Ok(Some(length).filter(|_| good));
                }
            } else if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                let text = std::str::from_utf8(&self.buffer[..at])?;
                let length = text
                    .lines()
                    .find_map(|line| {
                        line.to_ascii_lowercase()
                            .strip_prefix("content-length:")
                            .map(|n| n.trim().parse::<usize>())
                    })
                    .context("no content-length")??;
                let good = text.starts_with("HTTP/1.1 200");
                let status = ["HTTP/1.1 503", "HTTP/1.1 429"].iter().any(|s| text.starts_with(s));
                let refused = status && text.to_ascii_lowercase().contains("\r\nretry-after:");
                if !(good || refusals && refused) {
                    bail!("{}", text.lines().next().unwrap_or_default());
                }
                head = Some((at + 4, length, good));
                continue;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A request of about 1 KiB, as a support agent would send it.
pub(super) fn body(run: &str, number: u64) -> String {
    format!(
        r#"{{"surface":"payments.refund","action":"create","idempotency_key":"{run}-{number}","attempt_nonce":"nonce-{run}-{number:012}","topic":"job.refund.small","target":"account/{}","arguments":{{"amount":{},"currency":"EUR","reason":"{}","lines":[{{"sku":"a-1","qty":2,"price":1250}},{{"sku":"b-2","qty":1,"price":990}}]}},"context":{{"ticket":"T-{number}","channel":"chat"}},"risk_tags":["prod","medium"],"labels":{{"team":"support"}},"trace_id":"trace-{}"}}"#,
        number % 5000,
        number % 900 + 1,
        "damaged on arrival, customer sent two photographs and the delivery note; ".repeat(7),
        number / 4,
    )
}

fn process_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
