//! Durable decisions with receipts over HTTP. Server and load generator are processes of their own
//! on the same machine; beside them the same server answering a constant, and the flush floor.

use super::floor::{measure, quantile};
use super::load::{Found, Generator};
use super::report::{Report, Row};
use super::server::{Running, cpu_seconds, resident_bytes, written_bytes};
use crate::client::Client;
use anyhow::{Context, Result, bail};
use clap::Args;
use placet_policy::{Bundle, Source};
use placet_runtime::crypto::Fast;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `bench serve`.
#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Seconds per measurement
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Workspaces of the run with many
    #[arg(long, default_value_t = 1000)]
    workspaces: usize,
    /// Seconds of the sustained run, whose idempotency keys bind for half a minute; 0 leaves it out
    #[arg(long, default_value_t = 0)]
    sustain: u64,
    /// Where to keep the data while measuring
    #[arg(long)]
    scratch: Option<PathBuf>,
}

impl Serve {
    pub(super) fn smoke(self) -> Self {
        Self { seconds: 0.4, workspaces: 3, sustain: 0, ..self }
    }
}

/// The policy of the run: one rule that permits with constraints, as the sample requests need it.
pub(super) const BUNDLE: &str = "version: v1
rules:
  - id: refunds-small
    match:
      surfaces: [\"payments.*\"]
      actions: [\"create\"]
      when: \"request.arguments.amount <= 1000\"
    decision: allow_with_constraints
    constraints: { max_retries: 1, max_runtime_sec: 45 }
  - id: refunds-large
    match:
      surfaces: [\"payments.*\"]
      when: \"request.arguments.amount > 1000\"
    decision: require_approval
";

/// A server under load, and what the load did to it.
struct Measured {
    found: Found,
    server_cpu: f64,
    flushes: f64,
    signatures: f64,
    entries: f64,
    written: f64,
}

pub(super) async fn run(args: &Serve) -> Result<Report> {
    let scratch = match &args.scratch {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("placet-bench-{}", std::process::id())),
    };
    std::fs::create_dir_all(&scratch)?;
    let report = measure_all(args, &scratch).await;
    std::fs::remove_dir_all(&scratch)?;
    report
}

async fn measure_all(args: &Serve, scratch: &Path) -> Result<Report> {
    let bundle = scratch.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    std::fs::write(bundle.join("rules.yaml"), BUNDLE)?;
    let mut report = Report { bench: "serve", floor: Vec::new(), rows: Vec::new() };
    let server = Running::placet(&scratch.join("data"), &bundle).await?;
    let keys = scratch.join("keys");
    std::fs::write(&keys, server.key.as_deref().context("no admin key")?)?;

    let lone = lone(args, scratch, &server, &keys, &mut report).await?;
    let closed64 = under_load(args, &server, &keys, 64, None, "c64").await?;
    let closed256 = under_load(args, &server, &keys, 256, None, "c256").await?;
    let best = rate(&closed256.found);
    let shadowed = shadowed(args, &server, &keys).await?;
    let constant = Running::constant(closed256.found.answer_bytes as usize).await?;
    let cpu = cpu_seconds(constant.pid()?)?;
    let ceiling = load(args, &constant.address, None, 256, None, "k").await?;
    let constant_cpu = cpu_seconds(constant.pid()?)? - cpu;
    constant.stop().await?;
    let open = under_load(args, &server, &keys, 256, Some(best / 3.0), "open").await?;

    let rows = &mut report.rows;
    rows.push(Row::new("closed loop, 1 connection", rate(&lone.found), "/s"));
    rows.push(Row::new("closed loop, 64 connections", rate(&closed64.found), "/s"));
    rows.push(Row::new("closed loop, 256 connections", best, "/s"));
    rows.push(Row::new("constant of the same size, 256 connections", rate(&ceiling), "/s"));
    rows.push(Row::new("decisions beside the constant", best / rate(&ceiling), "x").at_least(0.5));
    let decisions = closed256.entries.max(1.0);
    rows.push(
        Row::new("flushes per decision at 256", closed256.flushes / decisions, "").at_most(0.02),
    );
    rows.push(
        Row::new("signatures per decision at 256", closed256.signatures / decisions, "")
            .at_most(0.02),
    );
    rows.push(Row::new("p50 at 256", closed256.found.p50 * 1e3, "ms"));
    rows.push(Row::new("p99 at 256", closed256.found.p99 * 1e3, "ms"));
    let per = |seconds: f64, found: &Found| seconds / (found.requests.max(1) as f64) * 1e6;
    rows.push(Row::new(
        "CPU per decision, server",
        per(closed256.server_cpu, &closed256.found),
        "µs",
    ));
    rows.push(Row::new(
        "CPU per decision, generator",
        per(closed256.found.cpu_seconds, &closed256.found),
        "µs",
    ));
    shadow_rows(&closed256, &shadowed, rows);
    rows.push(Row::new("CPU per constant, server", per(constant_cpu, &ceiling), "µs"));
    let beside = per(closed256.server_cpu, &closed256.found) / per(constant_cpu, &ceiling);
    rows.push(Row::new("CPU of the server beside the constant's", beside, "x").at_most(8.0));
    rows.push(Row::new("CPU per constant, generator", per(ceiling.cpu_seconds, &ceiling), "µs"));
    rows.push(Row::new("bytes written per decision at 256", closed256.written / decisions, "B"));

    let mut flush = measure(scratch, flush_bytes(&open), Duration::from_secs_f64(args.seconds))?;
    let floor99 = quantile(&mut flush, 0.99) * 1e3;
    report.floor.push(("one flush of a loaded batch, p99".into(), floor99, "ms"));
    let rows = &mut report.rows;
    rows.push(Row::new("open loop rate", rate(&open.found), "/s"));
    rows.push(Row::new("open loop p50", open.found.p50 * 1e3, "ms"));
    rows.push(Row::new("open loop p99", open.found.p99 * 1e3, "ms").at_most(3.0 * floor99 + 2.0));
    if args.sustain > 0 {
        sustained(args, scratch, &mut report).await?;
    }
    if args.workspaces > 1 {
        let many = many_workspaces(args, &server, &keys, scratch).await?;
        let rows = &mut report.rows;
        rows.push(Row::new(
            format!("{} workspaces by Zipf, 256 connections", args.workspaces),
            rate(&many.found),
            "/s",
        ));
        rows.push(
            Row::new("many workspaces beside one", rate(&many.found) / best, "x").at_least(0.6),
        );
        rows.push(Row::new(
            "signatures per decision, many workspaces",
            many.signatures / many.entries.max(1.0),
            "",
        ));
        rows.push(Row::new(
            "flushes per decision, many workspaces",
            many.flushes / many.entries.max(1.0),
            "",
        ));
    }
    let [same, other, without] = &shadowed;
    let errors = [
        &lone.found,
        &closed64.found,
        &closed256.found,
        &same.found,
        &other.found,
        &without.found,
        &open.found,
        &ceiling,
    ];
    if let Some(found) = errors.into_iter().find(|found| found.errors > 0) {
        bail!("{} requests failed, the first with: {:?}", found.errors, found.first_error);
    }
    server.stop().await?;
    Ok(report)
}

/// Load at 256 connections beside a shadow bundle that says the same, beside one that says something else of
/// every request, and once more without: what the machine did meanwhile shows between the two without.
async fn shadowed(args: &Serve, server: &Running, keys: &Path) -> Result<[Measured; 3]> {
    let client = Client::new(&format!("http://{}", server.address), server.key.clone())?;
    let path = "/api/v1/policies/shadow";
    let set = async |text: String| -> Result<()> {
        let source = Source { name: "shadow.yaml".into(), text };
        let bundle = Bundle::compile::<Fast>(&[source])
            .map_err(|found| anyhow::anyhow!("{} findings in the shadow bundle", found.len()))?;
        let bundle: Value = serde_json::from_slice(bundle.normalised())?;
        let stands = client.post(path, &json!({"bundle": bundle})).await?;
        anyhow::ensure!(stands["shadow"]["compared"] == 0, "no shadow was set: {stands}");
        Ok(())
    };
    set(format!(
        "{BUNDLE}  - {{ id: beside, match: {{ surfaces: [\"elsewhere\"] }}, decision: deny }}\n"
    ))
    .await?;
    let same = under_load(args, server, keys, 256, None, "s256").await?;
    set(BUNDLE.replace("amount <= 1000", "amount <= 0")).await?;
    let other = under_load(args, server, keys, 256, None, "o256").await?;
    let stands: Value = client.get(path).await?;
    let differed = stands["shadow"]["differed"].as_u64().unwrap_or(0);
    anyhow::ensure!(differed > 0, "the shadow says nothing else: {stands}");
    let headers = [("idempotency-key", "bench-clear")];
    client.send(hyper::Method::DELETE, path, &headers, None).await?;
    let without = under_load(args, server, keys, 256, None, "w256").await?;
    Ok([same, other, without])
}

fn shadow_rows(before: &Measured, [same, other, after]: &[Measured; 3], rows: &mut Vec<Row>) {
    let cpu = |it: &Measured| it.server_cpu / (it.found.requests.max(1) as f64) * 1e6;
    let without = f64::midpoint(rate(&before.found), rate(&after.found));
    let cpu_without = f64::midpoint(cpu(before), cpu(after));
    rows.push(Row::new("256 connections again, no shadow", rate(&after.found), "/s"));
    for (what, it) in [("says the same", same), ("differs on all", other)] {
        rows.push(Row::new(format!("with a shadow that {what}"), rate(&it.found), "/s"));
        let ratio = rate(&it.found) / without;
        rows.push(Row::new(format!("a shadow that {what}, throughput"), ratio, "x").at_least(0.8));
        let ratio = cpu(it) / cpu_without;
        rows.push(Row::new(format!("a shadow that {what}, CPU of the server"), ratio, "x"));
    }
}

/// One connection, interleaved with the floor for the same bytes, so that both see the same disk.
async fn lone(
    args: &Serve,
    scratch: &Path,
    server: &Running,
    keys: &Path,
    report: &mut Report,
) -> Result<Measured> {
    let probe = under_load(args, server, keys, 1, None, "probe").await?;
    let bytes = flush_bytes(&probe);
    let mut floor = Vec::new();
    let mut runs = Vec::new();
    for round in 0..4 {
        floor.extend(measure(scratch, bytes, Duration::from_secs_f64(args.seconds / 8.0))?);
        let short = Serve { seconds: args.seconds / 4.0, workspaces: 0, sustain: 0, scratch: None };
        runs.push(under_load(&short, server, keys, 1, None, &format!("lone{round}")).await?);
    }
    let floor50 = quantile(&mut floor, 0.5) * 1e3;
    report.floor.push((format!("one flush of {bytes} bytes, p50"), floor50, "ms"));
    let mut p50: Vec<f64> = runs.iter().map(|run| run.found.p50 * 1e3).collect();
    let p50 = quantile(&mut p50, 0.5);
    report.rows.push(Row::new("lone request p50", p50, "ms").at_most(floor50 + 0.5));
    Ok(probe)
}

/// Bytes that one durable write caused.
fn flush_bytes(measured: &Measured) -> usize {
    (measured.written / measured.flushes.max(1.0)) as usize
}

async fn under_load(
    args: &Serve,
    server: &Running,
    keys: &Path,
    connections: usize,
    rate: Option<f64>,
    run: &str,
) -> Result<Measured> {
    let before = snapshot(server).await?;
    let found = load(args, &server.address, Some(keys), connections, rate, run).await?;
    let after = snapshot(server).await?;
    // Counters include the second of warm-up; what is derived from them are ratios.
    let share = found.seconds / (found.seconds + 1.0);
    Ok(Measured {
        server_cpu: (after[0] - before[0]) * share,
        flushes: after[1] - before[1],
        signatures: after[2] - before[2],
        entries: after[3] - before[3],
        written: after[4] - before[4],
        found,
    })
}

/// CPU seconds, flushes, signatures, entries, bytes written.
async fn snapshot(server: &Running) -> Result<[f64; 5]> {
    let metrics = Client::new(&format!("http://{}", server.address), server.key.clone())?
        .get_text("/metrics")
        .await?;
    let value = |name: &str| {
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
            .with_context(|| format!("no metric {name}"))
    };
    let pid = server.pid()?;
    Ok([
        cpu_seconds(pid)?,
        value("placet_flushes_total")?,
        value("placet_signatures_total")?,
        value("placet_entries_total")?,
        written_bytes(pid)?,
    ])
}

async fn load(
    args: &Serve,
    address: &str,
    keys: Option<&Path>,
    connections: usize,
    rate: Option<f64>,
    run: &str,
) -> Result<Found> {
    let generator = Generator { address, keys, refusals: false };
    generator.load(connections, args.seconds, rate, run).await
}

/// The same load spread over many workspaces by Zipf's law.
async fn many_workspaces(
    args: &Serve,
    server: &Running,
    keys: &Path,
    scratch: &Path,
) -> Result<Measured> {
    let client = Client::new(&format!("http://{}", server.address), server.key.clone())?;
    let mut all = vec![std::fs::read_to_string(keys)?.trim().to_owned()];
    for number in 1..args.workspaces {
        let body = json!({"name": format!("bench-{number}"), "admin": "human:bench"});
        let made: Value = client.post("/api/v1/workspaces", &body).await?;
        all.push(made["key"].as_str().context("no key")?.to_owned());
    }
    let path = scratch.join("many-keys");
    std::fs::write(&path, all.join("\n"))?;
    under_load(args, server, &path, 256, None, "many").await
}

/// Minutes under full load: the read model's lag and the memory at the end of each fifth. Live idempotency keys
/// are in memory by design, 41 bytes each; here as many are forgotten as come, so that whatever grows shows.
async fn sustained(args: &Serve, scratch: &Path, report: &mut Report) -> Result<()> {
    let bundle = scratch.join("sustained-bundle");
    std::fs::create_dir_all(&bundle)?;
    let rules = format!("{BUNDLE}surfaces: {{ payments.refund: {{ idempotency_window: 30s }} }}\n");
    std::fs::write(bundle.join("rules.yaml"), rules)?;
    let server = Running::placet(&scratch.join("sustained"), &bundle).await?;
    let keys = scratch.join("sustained-keys");
    std::fs::write(&keys, server.key.as_deref().context("no admin key")?)?;
    let fifth =
        Serve { seconds: args.sustain as f64 / 5.0, workspaces: 0, sustain: 0, scratch: None };
    let client = Client::new(&format!("http://{}", server.address), server.key.clone())?;
    let mut memory = Vec::new();
    let mut lag_seconds = 0.0_f64;
    let mut rates = Vec::new();
    for part in 0..5 {
        let run = format!("sustain{part}");
        let (measured, lag) = tokio::join!(
            under_load(&fifth, &server, &keys, 256, None, &run),
            watch_lag(&client, Duration::from_secs_f64(fifth.seconds)),
        );
        let measured = measured?;
        rates.push(rate(&measured.found));
        lag_seconds = lag_seconds.max(lag? / rate(&measured.found).max(1.0));
        memory.push(resident_bytes(server.pid()?)?);
    }
    let rows = &mut report.rows;
    rows.push(Row::new(
        format!("sustained {} s, slowest fifth", args.sustain),
        rates.iter().copied().fold(f64::INFINITY, f64::min),
        "/s",
    ));
    rows.push(Row::new("sustained, read-model lag at most", lag_seconds, "s").at_most(2.0));
    for (part, bytes) in memory.iter().enumerate() {
        rows.push(Row::new(
            format!("sustained, memory after fifth {}", part + 1),
            bytes / 1e6,
            "MB",
        ));
    }
    if let [_, second, .., last] = memory.as_slice() {
        let growth =
            Row::new("sustained, memory of the last fifth beside the second", last / second, "x");
        // In a shorter run the keys of half a minute, forgotten by the minute, are not all there at the second.
        let long = fifth.seconds >= 100.0;
        rows.push(if long { growth.at_most(1.1) } else { growth });
    }
    server.stop().await
}

/// The largest lag seen, in entries.
async fn watch_lag(client: &Client, span: Duration) -> Result<f64> {
    let until = tokio::time::Instant::now() + span;
    let mut most = 0.0_f64;
    while tokio::time::Instant::now() < until {
        let metrics = client.get_text("/metrics").await?;
        let lag: f64 = metrics
            .lines()
            .filter(|line| line.starts_with("placet_read_model_lag"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        most = most.max(lag);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(most)
}

fn rate(found: &Found) -> f64 {
    found.requests as f64 / found.seconds
}
