//! Measures the read model: `read_model [rows] [rows per transaction]`. Decisions like those of a
//! server with 1,000 actors: each with a trace and one deciding rule, a tenth refused.

use placet_runtime::ports::{AuditFilter, Batch, Indexed, Journal, ReadModel, ReadModelWriter};
use placet_store::{Create, DataDir};
use placet_types::Digest;
use placet_types::event::{ActorRef, DecisionEvent, Entry, Event};
use placet_types::ids::{DecisionId, TimeMs, WorkspaceName};
use placet_types::json::Object;
use placet_types::policy::Outcome;
use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::time::Instant;

fn cpu_us() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

/// SplitMix64.
fn random(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn id(n: u64) -> DecisionId {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&random(n).to_be_bytes());
    DecisionId::new(TimeMs(1_795_000_000_000 + n / 10), bytes)
}

fn entry(n: u64, workspace: &WorkspaceName) -> Option<Entry> {
    let mut tag = [0; 16];
    tag[..8].copy_from_slice(&random(n ^ 1 << 60).to_be_bytes());
    let refused = random(n ^ 1 << 61).is_multiple_of(10);
    Some(Entry {
        time: TimeMs(1_795_000_000_000 + n / 10),
        workspace: workspace.clone(),
        epoch: 1,
        dev: false,
        solo: false,
        name: String::new(),
        commitment: Digest([1; 32]),
        payload: Digest([1; 32]),
        event: Event::Decision(std::sync::Arc::new(DecisionEvent {
            decision: id(n),
            action_commitment: Digest([1; 32]),
            request_commitment: Digest([2; 32]),
            facts_commitment: Digest([3; 32]),
            actor: ActorRef::parse(&format!("agent:bot/{}", random(n ^ 1 << 62) % 1000))?,
            key: None,
            environment: "production".into(),
            surface: format!("surface.{}", random(n ^ 1 << 58) % 20),
            action: "create".into(),
            topic: None,
            target: None,
            subjects: vec![],
            trace: Some(format!("{:032x}", random(n / 3))),
            idempotency: tag,
            window_ms: 1,
            previous: None,
            on_behalf_of: Vec::new(),
            policy: None,
            language: 1,
            surface_known: true,
            outcome: if refused { Outcome::Deny } else { Outcome::Permit },
            reasons: Vec::new(),
            rules: vec![format!("rule-{}", random(n ^ 1 << 59) % 100)],
            matched: Vec::new(),
            matched_all: None,
            constraints: Object::new(),
            approval: None,
            retry_after_ms: None,
            permit: None,
            deadline: TimeMs(0),
            would: None,
            exception: None,
            retroactive: None,
            would_outcome: None,
            under: Vec::new(),
            leads_to: Vec::new(),
        })),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let mut arg = |default| args.next().unwrap_or(Ok(default));
    let (rows, chunk) = (arg(200_000)?, arg(1000)?);
    let temp = tempfile::tempdir()?;
    let dir = DataDir::open(&temp.path().join("data"), Create::Yes)?;
    let name = WorkspaceName::parse("bank").ok_or("name")?;
    let mut journal = dir.journal()?;
    let workspace = journal.create_workspace(&name)?;
    let count = u32::try_from(rows)?;
    let (frames, tree_state) = (Vec::new(), Vec::new());
    journal.append(&[Batch { workspace, first_index: 0, count, epoch: 1, frames, tree_state }])?;
    let mut writer = dir.read_model_writer()?;
    let (mut cpu, mut wall) = (0, 0.0);
    for from in (0..rows).step_by(usize::try_from(chunk)?) {
        let entries: Option<Vec<_>> =
            (from..rows.min(from + chunk)).map(|index| entry(index, &name)).collect();
        let entries = entries.ok_or("entry")?;
        let entries: Vec<_> = (from..)
            .zip(&entries)
            .map(|(index, entry)| Indexed { workspace, index, entry })
            .collect();
        let (start, before) = (Instant::now(), cpu_us());
        writer.index(&entries)?;
        cpu += cpu_us() - before;
        wall += start.elapsed().as_secs_f64();
        if from % (rows / 4) < chunk {
            let size = std::fs::metadata(temp.path().join("data/read.db"))?.len();
            println!(
                "{from} rows: {:.2} us CPU per row so far, {size} B",
                cpu as f64 / (from + chunk) as f64
            );
        }
    }
    println!(
        "{rows} rows, {chunk} per transaction: {:.2} us CPU, {:.2} us wall per row",
        cpu as f64 / rows as f64,
        wall * 1e6 / rows as f64
    );
    queries(&dir.read_model()?, workspace, rows)
}

fn queries(
    model: &impl ReadModel,
    workspace: placet_runtime::ports::WorkspaceNo,
    rows: u64,
) -> Result<(), Box<dyn Error>> {
    let base = AuditFilter { limit: 100, ..AuditFilter::default() };
    let at = |part: u64| Some(TimeMs(1_795_000_000_000 + rows / 10 * part / 4));
    let all = [
        ("newest", base.clone()),
        ("decision", AuditFilter { decision: Some(id(rows / 2)), ..base.clone() }),
        (
            "trace",
            AuditFilter { trace: Some(format!("{:032x}", random(rows / 6))), ..base.clone() },
        ),
        ("actor", AuditFilter { actor: Some("agent:bot/77".into()), ..base.clone() }),
        ("rule", AuditFilter { rule: Some("rule-7".into()), ..base.clone() }),
        ("denied", AuditFilter { outcome: Some(Outcome::Deny), ..base.clone() }),
        (
            "denied by actor",
            AuditFilter {
                outcome: Some(Outcome::Deny),
                actor: Some("agent:bot/77".into()),
                ..base.clone()
            },
        ),
        (
            "permits of a time",
            AuditFilter {
                outcome: Some(Outcome::Permit),
                since: at(1),
                until: at(2),
                ..base.clone()
            },
        ),
        ("kill events", AuditFilter { event_type: Some("kill.tripped".into()), ..base }),
    ];
    for (name, filter) in all {
        model.query(workspace, &filter)?;
        let start = Instant::now();
        let found = model.query(workspace, &filter)?.len();
        println!("query {name}: {found} found in {} us", start.elapsed().as_micros());
    }
    let start = Instant::now();
    for n in 0..1000 {
        model.locate(workspace, id(n * (rows / 1000)))?.ok_or("not located")?;
    }
    println!("locate: {} us", start.elapsed().as_micros() / 1000);
    Ok(())
}
