//! `audit verify`: one pass over each log that believes nothing but the bytes: hashes, seals, form,
//! high-water marks, roots that were signed once, and the fold.

use super::READ_BYTES;
use super::roots::{self, Root};
use crate::exit::{self, Done, Fault};
use crate::output;
use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use indicatif::ProgressBar;
use placet_engine::{Bounds, State};
use placet_runtime::check_signers;
use placet_runtime::crypto::Fast;
use placet_runtime::frame::frames;
use placet_runtime::ports::{JournalReader, WorkspaceNo};
use placet_store::{DataDir, HighWater};
use placet_tlog::CompactRange;
use placet_tlog::merkle::leaf_hash;
use placet_types::event::Entry;
use placet_types::ids::WorkspaceName;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// What one log came to.
struct Checked {
    name: String,
    entries: u64,
    root: [u8; 32],
    fault: Option<String>,
}

/// Runs it.
pub(super) fn run(data: &Path, roots: Option<&Path>, json: bool) -> Done {
    let dir = DataDir::open_read_only(data)?;
    // Read before any log: a server that is running raises them only behind what it has written.
    let marks = HighWater::load(data)?;
    let reader = dir.journal_reader()?;
    let mut signed = roots.map(roots::read).transpose()?.unwrap_or_default();
    let mut logs = Vec::new();
    let mut total = 0;
    for (no, name) in reader.workspaces()? {
        total += reader.head(no)?.next_index;
        logs.push((no, name));
    }
    if marks.is_none() && total > 0 {
        let detail =
            format!("{} is missing although there are entries", data.join("highwater").display());
        return Err(Fault::new("data_dir_damaged", detail).next("restore it from a backup").into());
    }
    let bar = output::progress(total, "verifying");
    let mut checked = Vec::new();
    for (no, name) in &logs {
        let mark = marks.as_ref().and_then(|marks| marks.sizes().get(name.as_str()).copied());
        checked.push(check(&reader, *no, name, mark.unwrap_or(0), &mut signed, &bar)?);
    }
    bar.finish_and_clear();
    // A log that is marked and gone altogether was cut as well.
    for (name, mark) in marks.iter().flat_map(HighWater::sizes) {
        if *mark > 0 && !logs.iter().any(|(_, have)| have.as_str() == name) {
            checked.push(Checked {
                name: name.clone(),
                entries: 0,
                root: CompactRange::<Fast>::new().root(),
                fault: Some(format!("the log is gone, but {mark} entries of it were signed")),
            });
        }
    }
    Ok(report(&checked, roots.is_some().then_some(signed.as_slice()), json))
}

fn check(
    reader: &dyn JournalReader,
    no: WorkspaceNo,
    name: &WorkspaceName,
    mark: u64,
    signed: &mut [Root],
    bar: &ProgressBar,
) -> Result<Checked> {
    let mut state = State::new(Bounds::default());
    let mut range = CompactRange::<Fast>::new();
    let mut fault = None;
    let mut origin = None;
    'log: loop {
        let batches = reader.read(no, range.size(), READ_BYTES)?;
        if batches.is_empty() {
            break;
        }
        for batch in batches {
            if batch.first_index != range.size() {
                fault = Some(format!("entry {} is missing", range.size()));
                break 'log;
            }
            for frame in frames(&batch.frames) {
                let index = range.size();
                let taken = frame
                    .map_err(|error| error.to_string())
                    .and_then(|frame| take(&mut state, name, frame.entry).map(|()| frame.entry));
                match taken {
                    Ok(entry) => range.append(leaf_hash::<Fast>(entry)),
                    Err(why) => {
                        fault = Some(format!("entry {index}: {why}"));
                        break 'log;
                    }
                }
                let origin = origin.get_or_insert_with(|| state.origin().to_owned());
                compare(signed, origin, &range);
            }
            if CompactRange::<Fast>::decode(&batch.tree_state).as_ref() != Some(&range) {
                let last = range.size().saturating_sub(1);
                fault = Some(format!("the entries up to {last} are not the ones that were sealed"));
                break 'log;
            }
            bar.inc(u64::from(batch.count));
        }
    }
    if fault.is_none() && range.size() < mark {
        fault =
            Some(format!("{} entries, but {mark} were signed: the tail is cut off", range.size()));
    }
    Ok(Checked { name: name.to_string(), entries: range.size(), root: range.root(), fault })
}

fn take(state: &mut State, name: &WorkspaceName, bytes: &[u8]) -> Result<(), String> {
    let entry = Entry::parse(bytes).map_err(|error| error.to_string())?;
    if entry.workspace != *name {
        return Err(format!("it belongs to workspace {}", entry.workspace));
    }
    check_signers(state, &entry)?;
    state.apply(&entry).map_err(|error| error.to_string())
}

/// Marks the signed roots that the log has at its present size. A root without an origin may be
/// that of any log.
fn compare(signed: &mut [Root], origin: &str, range: &CompactRange<Fast>) {
    let size = range.size();
    let first = signed.partition_point(|root| root.size < size);
    let here = signed[first..].iter_mut().take_while(|root| root.size == size);
    for root in here {
        if root.origin.as_deref().is_none_or(|named| named == origin) {
            root.found |= root.root == range.root();
        }
    }
}

fn report(checked: &[Checked], signed: Option<&[Root]>, json: bool) -> ExitCode {
    let mismatches: Vec<&Root> =
        signed.unwrap_or_default().iter().filter(|root| !root.found).collect();
    let ok = mismatches.is_empty() && checked.iter().all(|log| log.fault.is_none());
    if json {
        let workspaces: Vec<Value> = checked.iter().map(document).collect();
        let mut document = json!({"workspaces": workspaces, "ok": ok});
        if let Some(signed) = signed {
            let mismatches: Vec<Value> = mismatches
                .iter()
                .map(|root| json!({"size": root.size, "root": BASE64.encode(root.root), "origin": root.origin}))
                .collect();
            document["roots"] = json!({"checked": signed.len(), "mismatches": mismatches});
        }
        output::document(&document);
    } else {
        let rows: Vec<Vec<String>> = checked
            .iter()
            .map(|log| {
                let word = log.fault.as_deref().map_or("ok".to_owned(), output::safe);
                vec![log.name.clone(), log.entries.to_string(), BASE64.encode(log.root), word]
            })
            .collect();
        output::line(&output::table(&["workspace", "entries", "root", "result"], &rows));
        if let Some(signed) = signed {
            output::line(&format!(
                "{} signed roots compared, {} are not of these logs",
                signed.len(),
                mismatches.len()
            ));
        }
        let (style, word) = if ok { (output::GREEN, "verified") } else { (output::RED, "refused") };
        output::line(&output::paint(style, word));
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) }
}

fn document(log: &Checked) -> Value {
    let mut value = json!({
        "name": log.name,
        "entries": log.entries,
        "root": BASE64.encode(log.root),
        "ok": log.fault.is_none(),
    });
    if let Some(fault) = &log.fault {
        value["fault"] = fault.as_str().into();
    }
    value
}
