//! Ten times what the server can do, with readers that do not read: what it holds in memory, what
//! it refuses, and how soon after the end it answers as before.

use super::load::{Found, Generator};
use super::report::{Report, Row};
use super::serve::BUNDLE;
use super::server::{Running, resident_bytes};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Arguments of `bench overload`.
#[derive(Args, Debug)]
pub(super) struct Overload {
    /// Seconds of overload
    #[arg(long, default_value_t = 300.0)]
    seconds: f64,
    /// Connections of the generator; more than the server has places, so that it has to refuse
    #[arg(long, default_value_t = 9_500)]
    connections: usize,
    /// Event streams that nobody reads
    #[arg(long, default_value_t = 64)]
    slow_readers: usize,
    /// Where to keep the data while measuring
    #[arg(long)]
    scratch: Option<PathBuf>,
}

impl Overload {
    pub(super) fn smoke(self) -> Self {
        Self { seconds: 0.6, connections: 32, slow_readers: 2, ..self }
    }
}

/// What a key in its window is documented to cost.
const KEY_BYTES: f64 = 46.0;
/// Lone requests that have to be fast again, one after the other.
const CALM: usize = 20;

pub(super) async fn run(args: &Overload) -> Result<Report> {
    let scratch = match &args.scratch {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("placet-overload-{}", std::process::id())),
    };
    std::fs::create_dir_all(&scratch)?;
    let report = measure(args, &scratch).await;
    std::fs::remove_dir_all(&scratch)?;
    report
}

async fn measure(args: &Overload, scratch: &Path) -> Result<Report> {
    let bundle = scratch.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    std::fs::write(bundle.join("rules.yaml"), BUNDLE)?;
    let server = Running::placet(&scratch.join("data"), &bundle).await?;
    let keys = scratch.join("keys");
    let key = server.key.clone().context("no admin key")?;
    std::fs::write(&keys, &key)?;
    let generator = Generator { address: &server.address, keys: Some(&keys), refusals: true };

    // A thirtieth of the time of the overload, so that caches and queues have their usual sizes.
    let usual = generator.load(256, (args.seconds / 30.0).max(0.4), None, "usual").await?;
    let sustainable = usual.requests as f64 / usual.seconds;
    let lone = generator.load(1, (args.seconds / 60.0).max(0.4), None, "lone").await?;

    let mut streams = Vec::new();
    for _ in 0..args.slow_readers {
        let mut stream = TcpStream::connect(&server.address).await?;
        let ask = format!(
            "GET /api/v1/events?from=0 HTTP/1.1\r\nHost: placet\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await?;
        streams.push(stream);
    }
    let watch = tokio::spawn(watch_memory(server.pid()?, args.seconds));
    let over =
        generator.load(args.connections, args.seconds, Some(sustainable * 10.0), "over").await?;
    let memory = watch.await??;
    let recovery = recovery(&generator, &lone).await?;
    drop(streams);
    server.stop().await?;

    if over.requests == 0 {
        bail!("nothing was decided under overload");
    }
    let mut report = Report { bench: "overload", floor: Vec::new(), rows: Vec::new() };
    let rows = &mut report.rows;
    let per_second = |count: u64| count as f64 / over.seconds;
    rows.push(Row::new("sustainable, 256 connections", sustainable, "/s"));
    // A connection sends when it has its answer: what was due while all of them waited, never was
    // sent. Both figures are needed to say what the overload was.
    rows.push(Row::new("due under overload", sustainable * 10.0, "/s"));
    let sent = over.requests + over.refused + over.errors;
    rows.push(Row::new("sent under overload", per_second(sent), "/s"));
    rows.push(Row::new("decided under overload", per_second(over.requests), "/s"));
    rows.push(Row::new("refused early under overload", per_second(over.refused), "/s"));
    rows.push(Row::new("failed under overload", over.errors as f64, "").at_most(0.0));
    let decided = per_second(over.requests) / sustainable;
    rows.push(Row::new("decided beside sustainable", decided, "x").at_least(0.7));
    let (idle, early, late) = memory;
    rows.push(Row::new("memory before", idle / 1e6, "MB"));
    rows.push(Row::new("memory after a tenth of the time", early / 1e6, "MB"));
    rows.push(Row::new("most memory after that", late / 1e6, "MB"));
    let keys = over.requests as f64 * KEY_BYTES;
    rows.push(Row::new("of that keys in their windows, as documented", keys / 1e6, "MB"));
    let connection = (early - idle) / args.connections as f64;
    rows.push(Row::new("memory per connection", connection / 1e3, "kB"));
    let growth = (late - keys) / early;
    rows.push(Row::new("growth of memory besides keys", growth, "x").at_most(1.1));
    rows.push(Row::new("until lone requests are as before", recovery, "s").at_most(2.0));
    Ok(report)
}

/// Resident memory at first, most within a tenth of the time, and most of what follows.
async fn watch_memory(pid: u32, seconds: f64) -> Result<(f64, f64, f64)> {
    let started = Instant::now();
    // The generator connects and warms up for about a second.
    let end = Duration::from_secs_f64(seconds + 1.0);
    let idle = resident_bytes(pid)?;
    let (mut early, mut late) = (idle, 0.0_f64);
    while started.elapsed() < end {
        let now = resident_bytes(pid)?;
        if started.elapsed() < end / 10 {
            early = early.max(now);
        } else {
            late = late.max(now);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok((idle, early, late))
}

/// Seconds until a row of lone requests has taken at most twice what they took before; the
/// generator's own second of warm-up counts.
async fn recovery(generator: &Generator<'_>, lone: &Found) -> Result<f64> {
    let started = Instant::now();
    for round in 0..100 {
        let found = generator.load(1, 0.2, None, &format!("after{round}")).await?;
        if found.requests >= CALM as u64 && found.p50 <= lone.p50 * 2.0 {
            break;
        }
    }
    Ok(started.elapsed().as_secs_f64())
}
