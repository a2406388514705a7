//! `audit du`: what a data directory takes on disk, and what of it each decision costs.

use crate::exit::Done;
use crate::output;
use anyhow::{Context, Result};
use placet_runtime::frame::frames;
use placet_runtime::ports::{Batch, JournalReader, WorkspaceNo};
use placet_runtime::scan::{cores, scan};
use placet_store::{DataDir, Usage};
use placet_types::event::{Entry, Event};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

/// Bytes of a frame that are neither entry nor payload: two lengths and the slot.
const FRAME_BYTES: u64 = 16;

/// Entries of one kind.
#[derive(Clone, Copy, Default)]
struct Share {
    entries: u64,
    entry_bytes: u64,
    payload_bytes: u64,
}

impl Share {
    fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.entry_bytes += other.entry_bytes;
        self.payload_bytes += other.payload_bytes;
    }

    fn bytes(self) -> u64 {
        self.entry_bytes + self.payload_bytes + self.entries * FRAME_BYTES
    }
}

/// Type of event, and the surface of a decision.
type Kind = (&'static str, String);

/// One log.
#[derive(Default)]
struct Log {
    name: String,
    batches: u64,
    tree_state_bytes: u64,
    kinds: BTreeMap<Kind, Share>,
}

impl Log {
    fn total(&self) -> Share {
        let mut all = Share::default();
        self.kinds.values().for_each(|share| all.add(*share));
        all
    }

    fn decisions(&self) -> u64 {
        let decisions = self.kinds.iter().filter(|((kind, _), _)| *kind == "decision");
        decisions.map(|(_, share)| share.entries).sum()
    }
}

/// Runs it.
pub(super) fn run(data: &Path, json: bool) -> Done {
    let dir = DataDir::open_read_only(data)?;
    let usage = dir.usage()?;
    let reader = dir.journal_reader()?;
    let mut logs = Vec::new();
    for (no, name) in reader.workspaces()? {
        let mut log = measure(&reader, no)?;
        log.name = name.to_string();
        logs.push(log);
    }
    if json {
        output::document(&document(&usage, &logs));
    } else {
        people(&usage, &logs);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(reader: &dyn JournalReader, no: WorkspaceNo) -> Result<Log> {
    let mut log = Log::default();
    let make = || {
        |batch: Batch| -> Result<(u64, BTreeMap<Kind, Share>)> {
            let mut kinds = BTreeMap::new();
            for (frame, index) in frames(&batch.frames).zip(batch.first_index..) {
                let place = || format!("entry {index}");
                let frame = frame.with_context(place)?;
                let entry = Entry::parse(frame.entry).with_context(place)?;
                let surface = match &entry.event {
                    Event::Decision(decision) => decision.surface.clone(),
                    _ => String::new(),
                };
                let share = Share {
                    entries: 1,
                    entry_bytes: frame.entry.len() as u64,
                    payload_bytes: frame.payload.len() as u64,
                };
                let kind = (entry.event.type_name(), surface);
                kinds.entry(kind).or_insert_with(Share::default).add(share);
            }
            Ok((batch.tree_state.len() as u64, kinds))
        }
    };
    scan::<_, _, anyhow::Error>(reader, no, 0, cores(), make, |measured| {
        let (tree_state_bytes, kinds) = measured?;
        log.batches += 1;
        log.tree_state_bytes += tree_state_bytes;
        for (kind, share) in kinds {
            log.kinds.entry(kind).or_default().add(share);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(log)
}

/// Bytes for each of `count`; `None` for none.
fn each(bytes: u64, count: u64) -> Option<u64> {
    bytes.checked_div(count)
}

/// Everything in the directory over all decisions.
fn per_decision(usage: &Usage, logs: &[Log]) -> Option<u64> {
    let bytes: u64 = usage.databases.iter().map(|one| one.bytes + one.wal_bytes).sum();
    each(bytes + usage.snapshot_bytes, logs.iter().map(Log::decisions).sum())
}

fn document(usage: &Usage, logs: &[Log]) -> Value {
    let databases: Vec<Value> = usage
        .databases
        .iter()
        .map(|one| {
            json!({
                "name": one.name, "bytes": one.bytes, "wal_bytes": one.wal_bytes,
                "free_bytes": one.free_pages * one.page_bytes,
                "tables": one.tables.iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes}))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    let workspaces: Vec<Value> = logs
        .iter()
        .map(|log| {
            let total = log.total();
            let kinds: Vec<Value> = log
                .kinds
                .iter()
                .map(|((kind, surface), share)| {
                    json!({
                        "type": kind, "surface": (!surface.is_empty()).then_some(surface),
                        "entries": share.entries, "entry_bytes": share.entry_bytes,
                        "payload_bytes": share.payload_bytes,
                    })
                })
                .collect();
            json!({
                "name": log.name, "entries": total.entries, "decisions": log.decisions(),
                "batches": log.batches, "entry_bytes": total.entry_bytes,
                "payload_bytes": total.payload_bytes, "tree_state_bytes": log.tree_state_bytes,
                "bytes_per_decision": each(total.bytes() + log.tree_state_bytes, log.decisions()),
                "kinds": kinds,
            })
        })
        .collect();
    let (bundles, bundle_bytes) = usage.bundles;
    json!({
        "databases": databases,
        "bundles": {"count": bundles, "bytes": bundle_bytes},
        "snapshot_bytes": usage.snapshot_bytes,
        "workspaces": workspaces,
        "bytes_per_decision": per_decision(usage, logs),
    })
}

fn people(usage: &Usage, logs: &[Log]) {
    let rows: Vec<Vec<String>> = usage
        .databases
        .iter()
        .map(|one| {
            let free = one.free_pages * one.page_bytes;
            let sizes = [one.bytes, one.wal_bytes, free].map(output::bytes);
            [&[one.name.clone()][..], &sizes[..]].concat()
        })
        .collect();
    output::line(&output::table(&["database", "size", "write-ahead log", "free pages"], &rows));
    let rows: Vec<Vec<String>> = usage
        .databases
        .iter()
        .flat_map(|one| {
            let row = |(name, bytes): &(String, u64)| {
                vec![one.name.clone(), name.clone(), output::bytes(*bytes)]
            };
            one.tables.iter().map(row)
        })
        .collect();
    output::line(&output::table(&["database", "table or index", "size"], &rows));
    let (bundles, bytes) = usage.bundles;
    let saved = output::bytes(usage.snapshot_bytes);
    output::line(&format!("{bundles} bundles, {}; saved states, {saved}", output::bytes(bytes)));
    let mut rows = Vec::new();
    for log in logs {
        for ((kind, surface), share) in &log.kinds {
            rows.push(vec![
                log.name.clone(),
                (*kind).to_owned(),
                output::safe(surface),
                share.entries.to_string(),
                output::bytes(share.entry_bytes),
                output::bytes(share.payload_bytes),
                each(share.bytes(), share.entries).unwrap_or_default().to_string(),
            ]);
        }
    }
    let header =
        ["workspace", "type", "surface", "entries", "entry bytes", "payload bytes", "bytes each"];
    output::line(&output::table(&header, &rows));
    if let Some(bytes) = per_decision(usage, logs) {
        output::line(&format!("{bytes} bytes on disk per decision, everything included"));
    }
}
