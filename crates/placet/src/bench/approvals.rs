//! A queue of very many held actions in one workspace, through the real server: pages, votes and decisions
//! beside it, a restart in the middle, timers, and how soon a waiting caller holds its permit.

use super::floor::{measure, quantile};
use super::load::{Found, Generator};
use super::report::{Report, Row};
use super::server::{Running, resident_bytes};
use crate::client::Client;
use anyhow::{Context, Result, bail};
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Requests under way while the queue is filled.
const WIDTH: usize = 256;
/// Approvals of one page.
const PAGE: usize = 50;
/// Times that decisions are measured with a full queue and without one, in turn.
const ROUNDS: usize = 5;
/// Held actions with a short life: they escalate, remind and expire while the others wait.
const BRIEF: usize = 200;
/// Held actions that escalate and remind while the server is down.
const LATER: usize = 50;
/// Bytes of a batch with one vote and its permit.
const VOTE_BYTES: usize = 2048;

/// Arguments of `bench approvals`.
#[derive(Args, Debug)]
pub(super) struct Approvals {
    /// Held actions that wait
    #[arg(long, default_value_t = 100_000)]
    pending: usize,
    /// Looks, votes and waiting callers that are timed
    #[arg(long, default_value_t = 200)]
    looks: usize,
    /// Seconds per measurement of throughput
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Where to keep the data while measuring
    #[arg(long)]
    scratch: Option<PathBuf>,
}

impl Approvals {
    pub(super) fn smoke(self) -> Self {
        Self { pending: 300, looks: 20, seconds: 0.4, ..self }
    }
}

const BUNDLE: &str = "version: v1
rules:
  - { id: small, match: { surfaces: [payments.refund] }, decision: allow }
  - id: large
    match: { surfaces: [payments.large] }
    decision: require_approval
    approval: { roles: { approver: 1 }, expires: 24h, use_within: 24h }
  - { id: brief, match: { surfaces: [payments.brief] }, decision: allow }
  - { id: later, match: { surfaces: [payments.later] }, decision: allow }
approvals:
  - id: later
    match: { surfaces: [payments.later] }
    roles: { approver: 1 }
    expires: 24h
    escalate: [{ after: 1s, roles: { duty: 1 } }]
    remind: 86398s
  - id: brief
    match: { surfaces: [payments.brief] }
    roles: { approver: 1 }
    expires: 4s
    escalate: [{ after: 1s, roles: { duty: 1 } }]
    remind: 2s
";

/// Who asks, and who may see and decide what.
struct People {
    admin: Client,
    agent: Client,
    approver: Client,
}

pub(super) async fn run(args: &Approvals) -> Result<Report> {
    let scratch = match &args.scratch {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("placet-approvals-{}", std::process::id())),
    };
    std::fs::create_dir_all(&scratch)?;
    let report = measure_all(args, &scratch).await;
    std::fs::remove_dir_all(&scratch)?;
    report
}

async fn measure_all(args: &Approvals, scratch: &Path) -> Result<Report> {
    let (bundle, data) = (scratch.join("bundle"), scratch.join("data"));
    std::fs::create_dir_all(&bundle)?;
    std::fs::write(bundle.join("policy.yaml"), BUNDLE)?;
    let server = Running::placet(&data, &bundle).await?;
    let admin_key = server.key.clone().context("no admin key")?;
    let keys = scratch.join("keys");
    std::fs::write(&keys, &admin_key)?;
    let mut report = Report { bench: "approvals", floor: Vec::new(), rows: Vec::new() };
    let mut flush = measure(scratch, VOTE_BYTES, Duration::from_secs_f64(args.seconds.min(4.0)))?;
    let floor99 = quantile(&mut flush, 0.99) * 1e3;
    report.floor.push(("one flush of a batch with one vote, p99".into(), floor99, "ms"));

    let people = people(&server, &admin_key).await?;
    let started = Instant::now();
    let held = fill(&people.agent, args.pending).await?;
    let filled = held.len() as f64 / started.elapsed().as_secs_f64();
    let rows = &mut report.rows;
    rows.push(Row::new("held", held.len() as f64, ""));
    rows.push(Row::new("held per second", filled, "/s"));
    let memory = resident_bytes(server.pid()?)?;
    rows.push(Row::new("memory with all of them pending", memory / 1e6, "MB").at_most(500.0));

    pages(args, &people, &held, rows).await?;
    beside(args, scratch, &server, &keys, rows).await?;
    let decided = votes(args, &people, &held, rows).await?;
    waiting(args, &people, floor99, rows).await?;
    timers(&people, rows).await?;

    // Whatever it was doing: no leave is taken.
    let brief = brief(&people.agent, "restart").await?;
    let later = later(&people.agent).await?;
    server.stop().await?;
    tokio::time::sleep(Duration::from_millis(4200)).await;
    let started = Instant::now();
    let server = Running::placet(&data, &bundle).await?;
    rows.push(Row::new("start after a kill", started.elapsed().as_secs_f64(), "s").at_most(3.0));
    let people = people.moved(&server.address)?;
    let waits: BTreeSet<&String> = held.iter().filter(|id| !decided.contains(*id)).collect();
    let waits = waits.into_iter().chain(later.values()).collect();
    after_restart(&people, &waits, &brief, rows).await?;
    rung(&people, &later, rows).await?;
    let memory = resident_bytes(server.pid()?)?;
    rows.push(Row::new("memory after the restart", memory / 1e6, "MB").at_most(500.0));
    server.stop().await?;
    Ok(report)
}

impl People {
    /// The same people before the server at another address.
    fn moved(&self, address: &str) -> Result<Self> {
        let to = |client: &Client| client.at(&format!("http://{address}"));
        Ok(Self { admin: to(&self.admin)?, agent: to(&self.agent)?, approver: to(&self.approver)? })
    }
}

async fn people(server: &Running, admin_key: &str) -> Result<People> {
    let url = format!("http://{}", server.address);
    let admin = Client::new(&url, Some(admin_key.to_owned()))?;
    let mut clients = Vec::new();
    for (actor, roles) in [("agent:bot", vec![]), ("human:bea", vec!["approver"])] {
        let body = json!({"actor": actor, "environment": "production", "roles": roles});
        let made = admin.expect(Method::POST, "/api/v1/keys", &[], Some(&body)).await?.json()?;
        let key = made["key"].as_str().context("no key")?;
        clients.push(admin.with_key(key));
    }
    let (Some(approver), Some(agent)) = (clients.pop(), clients.pop()) else { bail!("no keys") };
    Ok(People { admin, agent, approver })
}

/// Decisions beside the full queue and, in turn, at a server whose log is about as long and where nobody
/// waits: what the machine does meanwhile happens to both.
async fn beside(
    args: &Approvals,
    scratch: &Path,
    full: &Running,
    keys: &Path,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let empty = Running::placet(&scratch.join("none-pending"), &scratch.join("bundle")).await?;
    let empty_keys = scratch.join("none-pending.keys");
    std::fs::write(&empty_keys, empty.key.as_deref().context("no admin key")?)?;
    decisions(&empty, &empty_keys, args.seconds, "fill").await?;
    let (mut rates, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 0..ROUNDS {
        let run = format!("round-{round}");
        let seconds = args.seconds / 2.0;
        let none = decisions(&empty, &empty_keys, seconds, &run).await?;
        let all = decisions(full, keys, seconds, &run).await?;
        let [none, all] = [none, all].map(|found| found.requests as f64 / found.seconds);
        rates[0].push(none);
        rates[1].push(all);
        ratios.push(all / none);
    }
    empty.stop().await?;
    let [mut none, mut all] = rates;
    let (none, all) = (quantile(&mut none, 0.5), quantile(&mut all, 0.5));
    rows.push(Row::new("decisions with none pending, 256 connections", none, "/s"));
    rows.push(Row::new("decisions with all pending, 256 connections", all, "/s"));
    let [least, half, most] = [0.0, 0.5, 1.0].map(|at| quantile(&mut ratios, at));
    rows.push(Row::new("decisions beside none pending, median of rounds", half, "x").at_least(0.9));
    rows.push(Row::new("decisions beside none pending, least", least, "x"));
    rows.push(Row::new("decisions beside none pending, most", most, "x"));
    Ok(())
}

async fn decisions(server: &Running, keys: &Path, seconds: f64, run: &str) -> Result<Found> {
    let generator = Generator { address: &server.address, keys: Some(keys), refusals: false };
    generator.load(WIDTH, seconds, None, run).await
}

/// A request that is held.
fn request(surface: &str, name: &str) -> Value {
    json!({
        "surface": surface, "action": "create", "idempotency_key": name,
        "attempt_nonce": format!("nonce-of-the-attempt-{name}"),
        "target": "account/4711", "arguments": {"amount": 5000, "currency": "EUR"},
    })
}

/// Holds an action: its decision, its approval, the digest to echo.
async fn hold(agent: &Client, surface: &str, name: &str) -> Result<[String; 3]> {
    let body = request(surface, name);
    let decided =
        agent.expect(Method::POST, "/api/v1/decisions", &[], Some(&body)).await?.json()?;
    let text = |at: &str| {
        let found = decided.pointer(at).and_then(Value::as_str).map(str::to_owned);
        found.with_context(|| format!("no {at} in {decided}"))
    };
    Ok([text("/id")?, text("/approval/id")?, text("/action_digest")?])
}

/// Approvals of as many held actions, in no order.
async fn fill(agent: &Client, count: usize) -> Result<Vec<String>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WIDTH.min(count) {
        let (next, agent) = (next.clone(), agent.clone());
        tasks.spawn(async move {
            let mut held = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return Ok::<_, anyhow::Error>(held);
                }
                let [_, approval, _] =
                    hold(&agent, "payments.large", &format!("fill-{at}")).await?;
                held.push(approval);
            }
        });
    }
    let mut held = Vec::with_capacity(count);
    while let Some(done) = tasks.join_next().await {
        held.extend(done??);
    }
    held.sort();
    Ok(held)
}

async fn pages(
    args: &Approvals,
    people: &People,
    held: &[String],
    rows: &mut Vec<Row>,
) -> Result<()> {
    let middle = held.get(held.len() / 2).cloned().unwrap_or_default();
    let last = held.get(held.len().saturating_sub(PAGE)).cloned().unwrap_or_default();
    for (name, client, cursor) in [
        ("first page, who may decide", &people.approver, None),
        ("first page, overseer", &people.admin, None),
        ("page from the middle, who may decide", &people.approver, Some(&middle)),
        ("last page, who may decide", &people.approver, Some(&last)),
    ] {
        let path = match cursor {
            None => format!("/api/v1/approvals?limit={PAGE}"),
            Some(cursor) => format!("/api/v1/approvals?limit={PAGE}&cursor={cursor}"),
        };
        let mut times = Vec::new();
        for _ in 0..args.looks {
            let before = Instant::now();
            let page = client.get(&path).await?;
            times.push(before.elapsed().as_secs_f64());
            if page["approvals"].as_array().is_none_or(Vec::is_empty) {
                bail!("an empty page: {page}");
            }
        }
        push_times(rows, name, &mut times, 20.0);
    }
    Ok(())
}

fn push_times(rows: &mut Vec<Row>, name: &str, times: &mut [f64], bar: f64) {
    rows.push(Row::new(format!("{name}, p50"), quantile(times, 0.5) * 1e3, "ms"));
    rows.push(Row::new(format!("{name}, p99"), quantile(times, 0.99) * 1e3, "ms").at_most(bar));
}

async fn vote(client: &Client, approval: &str, digest: &str, approve: bool) -> Result<Value> {
    let verb = if approve { "approve" } else { "reject" };
    let path = format!("/api/v1/approvals/{approval}/{verb}");
    client.expect(Method::POST, &path, &[], Some(&json!({"action_digest": digest}))).await?.json()
}

/// Votes here and there in the queue, one after the other; those that were decided.
async fn votes(
    args: &Approvals,
    people: &People,
    held: &[String],
    rows: &mut Vec<Row>,
) -> Result<BTreeSet<String>> {
    let mut decided = BTreeSet::new();
    let mut times = Vec::new();
    let step = (held.len() / args.looks).max(1);
    for (at, approval) in held.iter().step_by(step).take(args.looks).enumerate() {
        let seen = people.approver.get(&format!("/api/v1/approvals/{approval}")).await?;
        let digest = seen["action_digest"].as_str().context("no digest")?;
        let before = Instant::now();
        vote(&people.approver, approval, digest, at % 2 == 0).await?;
        times.push(before.elapsed().as_secs_f64());
        decided.insert(approval.clone());
    }
    push_times(rows, "deciding one of them", &mut times, 10.0);
    Ok(decided)
}

/// From the approval being sent to the permit in the hands of who waits.
async fn waiting(
    args: &Approvals,
    people: &People,
    floor99: f64,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let mut times = Vec::new();
    for at in 0..args.looks {
        let name = format!("wait-{at}");
        let [decision, approval, digest] = hold(&people.agent, "payments.large", &name).await?;
        let agent = people.agent.clone();
        let waiter = tokio::spawn(async move {
            let nonce = format!("nonce-of-the-attempt-{name}");
            let headers = [("Placet-Attempt-Nonce", nonce.as_str())];
            let path = format!("/api/v1/decisions/{decision}?wait=25s");
            let answer = agent.expect(Method::GET, &path, &headers, None).await?.json()?;
            if answer.pointer("/permit/state").and_then(Value::as_str) != Some("granted") {
                bail!("no permit: {answer}");
            }
            Ok(Instant::now())
        });
        // Until it waits; what it asks is answered within a few milliseconds.
        tokio::time::sleep(Duration::from_millis(15)).await;
        let before = Instant::now();
        let voted = vote(&people.approver, &approval, &digest, true);
        let (voted, holds) = tokio::join!(voted, waiter);
        voted?;
        times.push(holds??.duration_since(before).as_secs_f64());
    }
    push_times(
        rows,
        "approve until the waiting caller holds its permit",
        &mut times,
        floor99 + 5.0,
    );
    Ok(())
}

/// Holds actions of a short life; their decisions.
async fn brief(agent: &Client, run: &str) -> Result<BTreeSet<String>> {
    let mut held = BTreeSet::new();
    for at in 0..BRIEF {
        let [decision, ..] = hold(agent, "payments.brief", &format!("{run}-{at}")).await?;
        held.insert(decision);
    }
    Ok(held)
}

/// Holds actions that are to be escalated and reminded of while nobody is there: decisions and approvals.
async fn later(agent: &Client) -> Result<BTreeMap<String, String>> {
    let mut held = BTreeMap::new();
    for at in 0..LATER {
        let [decision, approval, ..] =
            hold(agent, "payments.later", &format!("later-{at}")).await?;
        held.insert(decision, approval);
    }
    Ok(held)
}

/// Whatever rang while nobody was there rings once afterwards.
async fn rung(
    people: &People,
    later: &BTreeMap<String, String>,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let patience = Instant::now() + Duration::from_secs(20);
    let wrong = loop {
        let mut wrong = 0;
        for kind in ["approval.escalated", "approval.reminded"] {
            // What searches is filled behind the log, and says so until it has caught up.
            let found = match entries(&people.admin, kind).await {
                Err(_) if Instant::now() < patience => Vec::new(),
                found => found?,
            };
            let mut times: BTreeMap<&str, u32> = BTreeMap::new();
            for entry in &found {
                let decision = entry.pointer("/entry/predicate/data/decision");
                *times.entry(decision.and_then(Value::as_str).unwrap_or_default()).or_default() +=
                    1;
            }
            wrong += later.keys().filter(|it| times.get(it.as_str()) != Some(&1)).count();
        }
        if wrong == 0 || Instant::now() >= patience {
            break wrong;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let name = "escalations and reminders over the restart that did not come once";
    rows.push(Row::new(name, wrong as f64, "").at_most(0.0));
    Ok(())
}

/// How late the entries of timers are, and that there is one of each kind for each action.
async fn timers(people: &People, rows: &mut Vec<Row>) -> Result<()> {
    let started = Instant::now();
    let held = brief(&people.agent, "timers").await?;
    tokio::time::sleep(Duration::from_secs(5).saturating_sub(started.elapsed())).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut opened = std::collections::BTreeMap::new();
    for decision in &held {
        let seen = people.agent.get(&format!("/api/v1/decisions/{decision}")).await?;
        let time = seen["time"].as_str().and_then(instant).context("no time")?;
        opened.insert(decision.clone(), time);
    }
    let mut late = Vec::new();
    let kinds =
        [("approval.escalated", 1000), ("approval.reminded", 2000), ("approval.closed", 4000)];
    for (kind, after_ms) in kinds {
        let mut seen = BTreeSet::new();
        for entry in entries(&people.admin, kind).await? {
            let data = entry.pointer("/entry/predicate/data/decision");
            let Some(decision) = data.and_then(Value::as_str) else { continue };
            let Some(held_at) = opened.get(decision) else { continue };
            let time = entry.pointer("/entry/predicate/time_ms").and_then(Value::as_u64);
            let time = time.context("no time_ms")?;
            if !seen.insert(decision.to_owned()) {
                bail!("{kind} came twice for {decision}");
            }
            late.push((time as f64 - (held_at + after_ms) as f64) / 1e3);
        }
        if seen.len() != held.len() {
            bail!("{kind} for {} of {} held actions", seen.len(), held.len());
        }
    }
    if late.iter().any(|late| *late < 0.0) {
        bail!("a timer came early");
    }
    push_times(rows, "timers too late (they are looked at every 50 ms)", &mut late, 150.0);
    Ok(())
}

fn instant(text: &str) -> Option<u64> {
    placet_types::ids::TimeMs::parse_rfc3339(text).map(|time| time.0)
}

/// All entries of a kind, newest first.
async fn entries(admin: &Client, kind: &str) -> Result<Vec<Value>> {
    admin.all(&format!("/api/v1/audit?type={kind}"), "entries").await
}

/// None lost, none resurrected, and what ran out meanwhile has.
async fn after_restart(
    people: &People,
    waits: &BTreeSet<&String>,
    brief: &BTreeSet<String>,
    rows: &mut Vec<Row>,
) -> Result<()> {
    // What was due while nobody was there is done at the first tick.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut found = BTreeSet::new();
    for approval in people.approver.all("/api/v1/approvals", "approvals").await? {
        let id = approval["id"].as_str().context("no id")?;
        if !found.insert(id.to_owned()) {
            bail!("{id} is on two pages");
        }
    }
    let lost = waits.iter().filter(|id| !found.contains(**id)).count();
    let risen = found.iter().filter(|id| !waits.contains(*id)).count();
    rows.push(Row::new("lost by the restart", lost as f64, "").at_most(0.0));
    rows.push(Row::new("resurrected by the restart", risen as f64, "").at_most(0.0));
    let mut wrong = 0;
    for decision in brief {
        let seen = people.agent.get(&format!("/api/v1/decisions/{decision}")).await?;
        wrong +=
            u32::from(seen.pointer("/approval/state").and_then(Value::as_str) != Some("expired"));
    }
    rows.push(
        Row::new("ran out over the restart and did not expire", f64::from(wrong), "").at_most(0.0),
    );
    Ok(())
}
