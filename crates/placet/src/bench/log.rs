//! The life of a log: many decisions with as many idempotency keys in their window, then the start
//! of a server over it, its memory, traces and receipts, at a tenth of the length and at the whole.
//! The decisions go through the real plane; what was made is kept and gone on with (`--resume`).

use super::floor::quantile;
use super::load::body;
use super::report::{Report, Row};
use super::serve::BUNDLE;
use super::server::{Running, resident_bytes};
use crate::client::Client;
use anyhow::{Context, Result, bail};
use clap::Args;
use placet_runtime::frame::frames;
use placet_runtime::ports::{JournalReader, WorkspaceNo};
use placet_runtime::{Options, Plane, Principal, SnapshotPlan};
use placet_server::open_stores;
use placet_store::{Create, DataDir};
use placet_types::event::{Entry, Event};
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{Limits, parse};
use placet_types::{Caller, Request};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Requests under way while the log is made.
const WIDTH: usize = 512;
/// Looks per kind of query.
const LOOKS: usize = 300;

/// Arguments of `bench log`.
#[derive(Args, Debug)]
pub(super) struct Log {
    /// Entries of the log
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Keep the logs here, and go on with what is there
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
}

impl Log {
    pub(super) fn smoke(self) -> Self {
        Self { entries: 3000, ..self }
    }
}

/// What a log of one length shows.
struct Figures {
    entries: u64,
    made_per_second: Option<f64>,
    disk: Vec<(&'static str, f64)>,
    cold: f64,
    warm: f64,
    resident: f64,
    /// Cold, and the same again.
    trace: [Vec<f64>; 2],
    receipt: [Vec<f64>; 2],
}

const STATES: [&str; 2] = ["cold", "warm"];

pub(super) async fn run(args: &Log) -> Result<Report> {
    let scratch = match &args.resume {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("placet-bench-log-{}", std::process::id())),
    };
    std::fs::create_dir_all(&scratch)?;
    let report = measure(args, &scratch).await;
    if args.resume.is_none() {
        std::fs::remove_dir_all(&scratch)?;
    }
    report
}

async fn measure(args: &Log, scratch: &Path) -> Result<Report> {
    let tenth = one_length(&scratch.join("tenth"), args.entries / 10).await?;
    let whole = one_length(&scratch.join("whole"), args.entries).await?;
    let mut report = Report { bench: "log", floor: Vec::new(), rows: Vec::new() };
    for figures in [&tenth, &whole] {
        rows_of(figures, &mut report.rows);
    }
    let growth = |name: &str, tenth: f64, whole: f64| {
        let name = format!("{name}, growth from {} to {} entries", args.entries / 10, args.entries);
        Row::new(name, whole / tenth, "x").at_most(1.3)
    };
    let half = |values: &[f64]| quantile(&mut values.to_vec(), 0.5);
    report.rows.extend([
        growth("start, warm", tenth.warm, whole.warm),
        growth("memory", tenth.resident, whole.resident),
    ]);
    for (at, state) in STATES.iter().enumerate() {
        report.rows.extend([
            growth(&format!("trace p50, {state}"), half(&tenth.trace[at]), half(&whole.trace[at])),
            growth(
                &format!("receipt p50, {state}"),
                half(&tenth.receipt[at]),
                half(&whole.receipt[at]),
            ),
        ]);
    }
    Ok(report)
}

fn rows_of(figures: &Figures, rows: &mut Vec<Row>) {
    let Figures { entries, made_per_second, disk, cold, warm, resident, trace, receipt } = figures;
    let name = |what: &str| format!("{entries} entries: {what}");
    if let Some(rate) = made_per_second {
        rows.push(Row::new(name("made in process"), *rate, "/s"));
    }
    for (what, bytes) in disk {
        rows.push(Row::new(name(&format!("disk per decision, {what}")), *bytes, "B"));
    }
    rows.push(Row::new(name("start after a kill, cold"), *cold, "s").at_most(3.0));
    rows.push(Row::new(name("start after a kill, warm"), *warm, "s").at_most(3.0));
    rows.push(Row::new(name("memory after the start"), resident / 1e6, "MB").at_most(1073.7));
    for (what, times, bar) in [("trace", trace, 10.0), ("receipt", receipt, 2.0)] {
        for (times, state) in times.iter().zip(STATES) {
            let at = |q: f64| quantile(&mut times.clone(), q) * 1e3;
            let name = |q: &str| name(&format!("{what} at random, {state}, {q}"));
            rows.push(Row::new(name("p50"), at(0.5), "ms").at_most(bar));
            rows.push(Row::new(name("p99"), at(0.99), "ms"));
        }
    }
}

async fn one_length(dir: &Path, entries: u64) -> Result<Figures> {
    let bundle = dir.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    std::fs::write(bundle.join("rules.yaml"), BUNDLE)?;
    let plan = SnapshotPlan::default();
    // The longest rest that a kill can leave: the last entries just before the next snapshot.
    let saved = entries.saturating_sub(plan.entries);
    let never = SnapshotPlan { entries: u64::MAX, entries_idle: u64::MAX, ..plan };
    let started = Instant::now();
    let mut made = make(dir, saved, plan, request).await?;
    made += make(dir, entries, never, request).await?;
    let made_per_second = (made > 0).then(|| made as f64 / started.elapsed().as_secs_f64());
    let data = dir.join("data");
    let disk = disk(&data, entries)?;

    drop_cached(&data)?;
    let (server, cold) = start(&data, &bundle).await?;
    server.stop().await?;
    let (server, warm) = start(&data, &bundle).await?;
    server.stop().await?;
    let (server, _) = start(&data, &bundle).await?;
    let key = std::fs::read_to_string(dir.join("key"))?;
    let client = Client::new(&format!("http://{}", server.address), Some(key))?;
    until_searchable(&client).await?;
    let resident = resident_bytes(server.pid()?)?;
    let (mut trace, mut receipt) = (<[Vec<f64>; 2]>::default(), <[Vec<f64>; 2]>::default());
    let looked_at = decisions(&data, LOOKS)?;
    drop_cached(&data)?;
    for state in 0..STATES.len() {
        for (decision, trace_id) in &looked_at {
            let before = Instant::now();
            client.get_text(&format!("/api/v1/receipts/{decision}")).await?;
            receipt[state].push(before.elapsed().as_secs_f64());
            let before = Instant::now();
            client.get_text(&format!("/api/v1/traces/{trace_id}")).await?;
            trace[state].push(before.elapsed().as_secs_f64());
        }
    }
    server.stop().await?;
    Ok(Figures { entries, made_per_second, disk, cold, warm, resident, trace, receipt })
}

async fn start(data: &Path, bundle: &Path) -> Result<(Running, f64)> {
    let before = Instant::now();
    let server = Running::placet(data, bundle).await?;
    Ok((server, before.elapsed().as_secs_f64()))
}

fn request(number: u64) -> String {
    body("log", number)
}

/// Brings the log to so many entries by deciding; returns how many were added.
pub(super) async fn make(
    dir: &Path,
    entries: u64,
    snapshots: SnapshotPlan,
    body: fn(u64) -> String,
) -> Result<u64> {
    let data = DataDir::open(&dir.join("data"), Create::Yes)?;
    let options = Options {
        dev: false,
        solo: false,
        bundle: Some(Arc::new(crate::local::compile(&dir.join("bundle"))?)),
        workspace: WorkspaceName::parse("bench").context("name")?,
        admin: ActorId::parse("human:bench").context("admin")?,
        snapshots,
        idle: None,
    };
    let started = Plane::start(open_stores(&data)?, options).await?;
    drop(data);
    if let Some(key) = &started.bootstrap {
        std::fs::write(dir.join("key"), key.reveal().as_str())?;
    }
    let plane = started.plane.clone();
    let workspace = plane.root().context("no workspace")?;
    let key = plane.keys_of(&workspace).into_iter().next().context("no key")?;
    let caller = Caller {
        workspace: workspace.name.clone(),
        environment: key.environment.clone(),
        actor: key.actor.clone(),
        roles: key.roles.clone(),
        chain: Vec::new(),
    };
    let principal = Arc::new(Principal { caller, key: Some(key.key) });
    let first = *workspace.watch_size().borrow();
    let next = Arc::new(AtomicU64::new(first));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WIDTH {
        let (plane, workspace) = (plane.clone(), workspace.clone());
        let (principal, next) = (principal.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= entries {
                    return Ok::<_, anyhow::Error>(());
                }
                let value = parse(body(number).as_bytes(), Limits::REQUEST)?;
                let request = Request::read(value, &principal.caller)?;
                plane.decide(&workspace, &principal, &request).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let last = *workspace.watch_size().borrow();
    drop((plane, workspace));
    tokio::task::spawn_blocking(move || started.stop()).await?;
    Ok(last - first)
}

/// Bytes on disk per entry, by what they are for.
fn disk(data: &Path, entries: u64) -> Result<Vec<(&'static str, f64)>> {
    let mut sums = [("log", 0), ("search", 0), ("payload keys", 0), ("snapshots", 0)];
    let mut dirs = vec![data.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.metadata()?;
            if kind.is_dir() {
                dirs.push(entry.path());
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let at = match name.as_str() {
                name if name.starts_with("journal.db") => 0,
                name if name.starts_with("read.db") => 1,
                name if name.starts_with("keys.db") => 2,
                name if name.ends_with(".head") || name.ends_with(".keys") => 3,
                _ => continue,
            };
            sums[at].1 += kind.len();
        }
    }
    Ok(sums.map(|(name, bytes)| (name, bytes as f64 / entries.max(1) as f64)).to_vec())
}

/// Asks the system to forget what it has cached of these files; it keeps what is not written yet.
fn drop_cached(data: &Path) -> Result<()> {
    let mut dirs = vec![data.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.metadata()?.is_dir() {
                dirs.push(entry.path());
                continue;
            }
            let file = std::fs::File::open(entry.path())?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// Waits until everything can be searched.
async fn until_searchable(client: &Client) -> Result<()> {
    let give_up = Instant::now() + Duration::from_secs(600);
    loop {
        let metrics = client.get_text("/metrics").await?;
        let lag: f64 = metrics
            .lines()
            .filter(|line| line.starts_with("placet_read_model_lag{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        if lag == 0.0 {
            return Ok(());
        }
        if Instant::now() > give_up {
            bail!("{lag} entries cannot be searched after ten minutes");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Decisions at random places of the log, with their traces.
fn decisions(data: &Path, count: usize) -> Result<Vec<(String, String)>> {
    let journal = DataDir::open_read_only(data)?.journal_reader()?;
    let no = WorkspaceNo(0);
    let size = journal.head(no)?.next_index;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut found = Vec::with_capacity(count);
    for _ in 0..count * 20 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let index = random % size.max(1);
        let batches = journal.read(no, index, 1)?;
        let Some(batch) = batches.first() else { continue };
        let at = usize::try_from(index - batch.first_index)?;
        let Some(Ok(frame)) = frames(&batch.frames).nth(at) else { continue };
        if let Event::Decision(event) = Entry::parse(frame.entry)?.event
            && let Some(trace) = &event.trace
        {
            found.push((event.decision.to_string(), trace.clone()));
        }
        if found.len() == count {
            return Ok(found);
        }
    }
    bail!("the log holds hardly any decisions")
}
