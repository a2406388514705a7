//! `audit export`: the entries of a log in the form that somebody else reads, from a directory or a
//! server. Owns order, resuming and what is written when it ends early; each form is a file below.

mod cloudevents;
mod csv;
mod ocsf;
mod sink;

#[cfg(test)]
mod tests;

use crate::client::{Client, Remote, escape};
use crate::exit::{Done, Fault};
use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use placet_runtime::frame::frames;
use placet_runtime::ports::{Batch, JournalReader, WorkspaceNo};
use placet_runtime::scan::{cores, scan};
use placet_store::DataDir;
use placet_types::event::{Entry, Event};
use placet_types::ids::WorkspaceName;
use placet_types::json::{self as strict, Limits};
use serde_json::{Value, json};
use sink::Sink;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// JSON Lines: each entry as it is in the log.
    Jsonl,
    /// Comma-separated values (RFC 4180) with a header, for spreadsheets.
    Csv,
    /// `CloudEvents` 1.0 in JSON, one per line.
    Cloudevents,
    /// OCSF 1.3.0 events of class API Activity, one per line.
    Ocsf,
}

#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    /// Data directory; without it the server is asked.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// First index.
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    /// Index to stop before.
    #[arg(long, value_name = "INDEX")]
    to: Option<u64>,
    /// File to write; one that holds records already is continued after the last whole one.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// An entry on its way out.
pub(super) struct Record<'a> {
    pub(super) workspace: &'a str,
    pub(super) origin: &'a str,
    pub(super) index: u64,
    pub(super) entry: &'a Entry,
    /// The statement as JSON.
    pub(super) statement: Value,
}

impl Record<'_> {
    /// The event's own members.
    pub(super) fn data(&self) -> &Value {
        &self.statement["predicate"]["data"]
    }

    /// The decision that the event is about.
    pub(super) fn decision(&self) -> Option<&str> {
        self.data()["decision"].as_str()
    }

    /// Who proposed or acted.
    pub(super) fn actor(&self) -> Option<&str> {
        self.data()["actor"].as_str().or_else(|| self.data()["by"].as_str())
    }
}

impl Format {
    /// What stands above all records.
    fn header(self) -> &'static str {
        if self == Self::Csv { csv::HEADER } else { "" }
    }

    /// Appends one record, which is one line in every form.
    pub(super) fn write(self, record: &Record<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Jsonl => line(&plain(record), out),
            Self::Cloudevents => line(&cloudevents::event(record), out),
            Self::Ocsf => line(&ocsf::event(record), out),
            Self::Csv => csv::write(record, out),
        }
    }

    /// The entry that a line of this form holds.
    fn held(self, text: &str) -> Option<Held> {
        if self == Self::Csv {
            return csv::held(text);
        }
        let value: Value = serde_json::from_str(text).ok()?;
        let held = |id: &Value, entry: Value| {
            let (log, index) = id.as_str()?.rsplit_once('/')?;
            Some(Held { log: log.to_owned(), index: index.parse().ok()?, entry })
        };
        match self {
            Self::Jsonl => Some(Held {
                log: value["workspace"].as_str()?.to_owned(),
                index: value["index"].as_u64()?,
                entry: value["entry"].clone(),
            }),
            Self::Cloudevents => held(&value["id"], value["data"].clone()),
            Self::Ocsf => {
                held(&value["metadata"]["uid"], json!([value["time"], value["unmapped"]]))
            }
            Self::Csv => None,
        }
    }
}

/// An entry as a file holds it. It goes on only with a log that holds the same one there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Workspace or origin, whichever the form names.
    log: String,
    index: u64,
    /// What the form carries of the entry itself.
    entry: Value,
}

fn line(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'\n');
}

fn plain(record: &Record<'_>) -> Value {
    json!({
        "workspace": record.workspace,
        "index": record.index,
        "type": record.entry.event.type_name(),
        "time": record.entry.time.rfc3339(),
        "entry": record.statement,
    })
}

/// Appends the entry with these canonical bytes.
fn append(
    format: Format,
    (workspace, origin, index): (&str, &str, u64),
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<()> {
    let place = || format!("entry {index} of workspace {workspace}");
    let entry = Entry::parse(bytes).with_context(place)?;
    let statement = serde_json::from_slice(bytes).with_context(place)?;
    format.write(&Record { workspace, origin, index, entry: &entry, statement }, out);
    Ok(())
}

/// Runs it.
pub(super) async fn run(args: ExportArgs) -> Done {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        let fault = Fault::usage(format!("--from {from} is above --to {to}"));
        return Err(fault.next("--to is the first index that is not exported").into());
    }
    match &args.data {
        Some(data) => offline(data, &args),
        None => remote(&args).await,
    }
}

/// Where to begin: after what the file holds already, if the log holds it as well, or where the
/// command line says. A log may have become shorter, and go on with other entries, by a restore.
fn begin(
    last: Option<&Held>,
    args: &ExportArgs,
    (name, size): (&str, u64),
    there: impl FnOnce(&Held) -> Result<Option<Held>>,
) -> Result<u64> {
    let refused = |detail: String, next: &str| Err(Fault::usage(detail).next(next).into());
    let has = format!("the log of workspace {name} has {size} entries");
    if let Some(from) = args.from.filter(|from| *from > size) {
        let next = "export it anew if it was restored from a back-up, or name the right workspace";
        return refused(format!("--from {from} is beyond the end: {has}"), next);
    }
    let Some(last) = last else { return Ok(args.from.unwrap_or_default()) };
    let (index, anew) = (last.index, "name another file with --out");
    if index >= size {
        return refused(format!("the file ends with index {index}, and {has}"), anew);
    }
    match there(last)? {
        Some(now) if now.log != last.log => {
            refused(format!("the file holds records of {}, not of {}", last.log, now.log), anew)
        }
        now if now.as_ref() != Some(last) => {
            let detail = "the file is of another log, or entries of this one were lost: entry";
            refused(
                format!("{detail} {index} of workspace {name} is not the one in the file"),
                anew,
            )
        }
        _ => match args.from {
            Some(from) if from > index + 1 => {
                let detail =
                    format!("the file ends with index {index}; --from {from} leaves a gap");
                refused(detail, "leave --from out to continue it")
            }
            _ => Ok(index + 1),
        },
    }
}

fn offline(data: &Path, args: &ExportArgs) -> Done {
    let dir = DataDir::open_read_only(data)?;
    let reader = dir.journal_reader()?;
    let mut logs = reader.workspaces()?;
    if let Some(wanted) = &args.remote.workspace {
        logs.retain(|(_, name)| name.as_str() == wanted);
        if logs.is_empty() {
            let detail = format!("there is no workspace {wanted:?} in {}", data.display());
            return Err(Fault::new("workspace_not_found", detail).into());
        }
    }
    let one = args.from.is_some() || args.to.is_some() || args.out.is_some();
    if one && logs.len() > 1 {
        let detail = "an index belongs to one log, and there are several";
        return Err(Fault::usage(detail).next("name one with --workspace").into());
    }
    let renamed = dir.succession()?.map(|succession| succession.instance);
    let file = sink::look(args.out.as_deref(), args.format)?;
    let mut parts = Vec::new();
    for (no, name) in logs {
        let origin = match &renamed {
            Some(instance) => format!("placet/{instance}/{name}"),
            None => origin(&reader, no)?,
        };
        let size = reader.head(no)?.next_index;
        let there = |last: &Held| {
            entry(&reader, no, last.index)?
                .map(|bytes| held(args.format, (name.as_str(), &origin, last.index), &bytes))
                .transpose()
        };
        let from = begin(file.last.as_ref(), args, (name.as_str(), size), there)?;
        parts.push((no, name, origin, from));
    }
    let mut sink = Sink::open(args.out.as_deref(), args.format, file.end)?;
    for (no, name, origin, from) in parts {
        let next = export_log(&reader, (no, &name, &origin), args, from, &mut sink)?;
        sink.flush()?;
        eprintln!("next: --workspace {name} --from {next}");
    }
    sink.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// The canonical bytes of an entry.
fn entry(reader: &dyn JournalReader, no: WorkspaceNo, index: u64) -> Result<Option<Vec<u8>>> {
    let batches = reader.read(no, index, 1)?;
    let Some(batch) = batches.first() else { return Ok(None) };
    let within = usize::try_from(index.saturating_sub(batch.first_index))?;
    let frame = frames(&batch.frames).nth(within).transpose()?;
    Ok(frame.map(|frame| frame.entry.to_vec()))
}

/// An entry of the log as a file of this form would hold it.
fn held(format: Format, place: (&str, &str, u64), bytes: &[u8]) -> Result<Held> {
    let mut line = Vec::new();
    append(format, place, bytes, &mut line)?;
    let held = format.held(std::str::from_utf8(&line)?.trim_end());
    held.with_context(|| format!("entry {} does not read back", place.2))
}

/// The origin as the log's own genesis has it; empty for an empty log.
fn origin(reader: &dyn JournalReader, no: WorkspaceNo) -> Result<String> {
    let Some(first) = entry(reader, no, 0)? else { return Ok(String::new()) };
    match Entry::parse(&first)?.event {
        Event::Genesis(genesis) => Ok(genesis.origin),
        _ => Err(anyhow!("entry 0 is no genesis")),
    }
}

fn export_log(
    reader: &dyn JournalReader,
    (no, name, origin): (WorkspaceNo, &WorkspaceName, &str),
    args: &ExportArgs,
    from: u64,
    sink: &mut Sink,
) -> Result<u64> {
    let (to, format) = (args.to.unwrap_or(u64::MAX), args.format);
    if from >= to {
        return Ok(from);
    }
    let mut next = from;
    let make = || {
        move |batch: Batch| -> Result<(u64, Vec<u8>)> {
            let mut out = Vec::with_capacity(batch.frames.len() * 2);
            let mut index = batch.first_index;
            for frame in frames(&batch.frames) {
                let frame = frame.with_context(|| format!("entry {index} of workspace {name}"))?;
                if (from..to).contains(&index) {
                    let place = (name.as_str(), origin, index);
                    append(format, place, frame.entry, &mut out)?;
                }
                index += 1;
            }
            Ok((index.min(to), out))
        }
    };
    scan::<_, _, anyhow::Error>(
        reader,
        no,
        from,
        cores(),
        make,
        |done: Result<(u64, Vec<u8>)>| {
            let (reached, out) = done?;
            sink.write(&out)?;
            next = next.max(reached);
            Ok(if reached >= to { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        },
    )?;
    Ok(next)
}

async fn remote(args: &ExportArgs) -> Done {
    let client = Client::of(&args.remote)?;
    let head = client.get_text("/api/v1/checkpoint").await?;
    let origin = head.lines().next().unwrap_or_default().to_owned();
    let name = origin.rsplit('/').next().unwrap_or_default().to_owned();
    let file = sink::look(args.out.as_deref(), args.format)?;
    let at = file.last.as_ref().map_or_else(|| args.from.unwrap_or_default(), |last| last.index);
    let page = page(&client, at, 1).await?;
    let size = page["size"].as_u64().context("an answer without the size of the log")?;
    let there = |last: &Held| {
        let found = page["entries"].get(0).filter(|one| one["index"] == last.index);
        let place = (name.as_str(), origin.as_str(), last.index);
        found.map(|one| held(args.format, place, &canonical(one)?)).transpose()
    };
    let mut next = begin(file.last.as_ref(), args, (&name, size), there)?;
    let to = args.to.unwrap_or(u64::MAX);
    let mut sink = Sink::open(args.out.as_deref(), args.format, file.end)?;
    while next < to {
        let page = self::page(&client, next, (to - next).min(1000)).await?;
        let found = page["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut out = Vec::new();
        for one in found {
            let index = one["index"].as_u64().context("an entry without an index")?;
            // Holes would mean that something was left out of what is a copy of the log.
            if index != next {
                return Err(anyhow!("the server left out entry {next}"));
            }
            append(args.format, (&name, &origin, index), &canonical(one)?, &mut out)?;
            next = index + 1;
        }
        sink.write(&out)?;
        if found.is_empty() {
            break;
        }
    }
    sink.finish()?;
    eprintln!("next: --workspace {name} --from {next}");
    Ok(ExitCode::SUCCESS)
}

/// Entries from an index on, oldest first.
async fn page(client: &Client, from: u64, limit: u64) -> Result<Value> {
    let cursor = escape(&from.to_string());
    client.get(&format!("/api/v1/audit?order=asc&limit={limit}&cursor={cursor}")).await
}

/// The canonical bytes of an entry that a server answered.
fn canonical(one: &Value) -> Result<Vec<u8>> {
    let parsed = strict::parse(one["entry"].to_string().as_bytes(), Limits::ENTRY);
    Ok(parsed.with_context(|| format!("entry {}", one["index"]))?.to_canonical())
}
