//! `audit reindex`: filling the read model anew, by the server while it serves, or here while
//! nobody does.

use crate::commands::ask::Ask;
use crate::exit::Done;
use crate::output;
use anyhow::{Context, Result};
use clap::Args;
use placet_runtime::Tiling;
use placet_runtime::frame::frames;
use placet_runtime::ports::{Batch, Indexed, JournalReader, ReadModelWriter};
use placet_store::{Create, DataDir};
use placet_types::event::Entry;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Bytes of frames per transaction of the read model.
const READ_BYTES: usize = 4 << 20;

#[derive(Args, Debug)]
pub(super) struct ReindexArgs {
    /// Data directory that no server has open; without it the server is asked.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub(super) async fn run(args: ReindexArgs) -> Done {
    let answer = match &args.data {
        Some(data) => offline(data)?,
        None => args.ask.client()?.post("/api/v1/audit/reindex", &json!({})).await?,
    };
    args.ask.show(&answer, |answer| {
        output::line(&format!("read model: {}", output::plain(&answer["status"])));
        if args.data.is_none() {
            output::line("queries say how far it is: `indexed` beside `size`");
        }
    })
}

fn offline(data: &Path) -> Result<Value> {
    let dir = DataDir::open(data, Create::No)?;
    let reader = dir.journal_reader()?;
    let mut model = dir.read_model_writer()?;
    let mut tiling = Tiling::default();
    model.clear()?;
    let logs = reader.workspaces()?;
    let mut total = 0;
    for (no, _) in &logs {
        total += reader.head(*no)?.next_index;
    }
    let bar = output::progress(total, "indexing");
    for (no, name) in logs {
        let mut next = 0;
        loop {
            let batches = reader.read(no, next, READ_BYTES)?;
            if batches.is_empty() {
                break;
            }
            let (reached, entries) =
                parse(&batches).with_context(|| format!("workspace {name}"))?;
            let leaves = batches.iter().flat_map(|batch| frames(&batch.frames)).zip(next..);
            let tiles: Vec<_> = leaves
                .filter_map(|(frame, index)| tiling.take(&reader, no, index, frame.ok()?.entry))
                .collect();
            model.keep_tiles(&tiles)?;
            let indexed: Vec<Indexed<'_>> = entries
                .iter()
                .map(|(index, entry)| Indexed { workspace: no, index: *index, entry })
                .collect();
            model.index(&indexed)?;
            bar.inc(indexed.len() as u64);
            next = reached;
        }
        debug_assert_eq!(model.position(no).ok(), Some(next));
    }
    bar.finish_and_clear();
    Ok(json!({"status": "rebuilt", "entries": total}))
}

fn parse(batches: &[Batch]) -> Result<(u64, Vec<(u64, Entry)>)> {
    let mut entries = Vec::new();
    let mut index = batches.first().map_or(0, |batch| batch.first_index);
    for frame in batches.iter().flat_map(|batch| frames(&batch.frames)) {
        let place = || format!("entry {index}");
        entries.push((index, Entry::parse(frame.with_context(place)?.entry).with_context(place)?));
        index += 1;
    }
    Ok((index, entries))
}
