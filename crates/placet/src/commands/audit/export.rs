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

    /// Workspace (or origin) and index of a line that this form has written.
    fn place(self, text: &str) -> Option<(String, u64)> {
        if self == Self::Csv {
            return csv::place(text);
        }
        let value: Value = serde_json::from_str(text).ok()?;
        let id = |value: &Value| {
            let (origin, index) = value.as_str()?.rsplit_once('/')?;
            Some((origin.to_owned(), index.parse().ok()?))
        };
        match self {
            Self::Jsonl => {
                Some((value["workspace"].as_str()?.to_owned(), value["index"].as_u64()?))
            }
            Self::Cloudevents => id(&value["id"]),
            Self::Ocsf => id(&value["metadata"]["uid"]),
            Self::Csv => None,
        }
    }
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
    match &args.data {
        Some(data) => offline(data, &args),
        None => remote(&args).await,
    }
}

/// Where to begin: after what the file holds already, or where the command line says.
fn begin(sink: &Sink, args: &ExportArgs, names: [&str; 2]) -> Result<u64> {
    let Some((name, last)) = sink.last() else { return Ok(args.from.unwrap_or_default()) };
    if !names.contains(&name.as_str()) {
        let detail = format!("the file holds records of {name}, not of {}", names[0]);
        return Err(Fault::usage(detail).next("name another file with --out").into());
    }
    match args.from {
        Some(from) if from > last + 1 => {
            let detail = format!("the file ends with index {last}; --from {from} leaves a gap");
            Err(Fault::usage(detail).next("leave --from out to continue it").into())
        }
        _ => Ok(last + 1),
    }
}

fn offline(data: &Path, args: &ExportArgs) -> Done {
    let reader = DataDir::open_read_only(data)?.journal_reader()?;
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
    let mut sink = Sink::open(args.out.as_deref(), args.format)?;
    for (no, name) in logs {
        let origin = origin(&reader, no)?;
        let from = begin(&sink, args, [name.as_str(), &origin])?;
        let next = export_log(&reader, (no, &name, &origin), args, from, &mut sink)?;
        sink.flush()?;
        eprintln!("next: --workspace {name} --from {next}");
    }
    sink.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// The origin as the log's own genesis has it; empty for an empty log.
fn origin(reader: &dyn JournalReader, no: WorkspaceNo) -> Result<String> {
    let first = reader.read(no, 0, 1)?;
    let Some(batch) = first.first() else { return Ok(String::new()) };
    let frame = frames(&batch.frames).next().context("the first batch is empty")??;
    match Entry::parse(frame.entry)?.event {
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
    let mut sink = Sink::open(args.out.as_deref(), args.format)?;
    let (mut next, to) = (begin(&sink, args, [&name, &origin])?, args.to.unwrap_or(u64::MAX));
    while next < to {
        let limit = (to - next).min(1000);
        let cursor = escape(&next.to_string());
        let path = format!("/api/v1/audit?order=asc&limit={limit}&cursor={cursor}");
        let page = client.get(&path).await?;
        let found = page["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut out = Vec::new();
        for one in found {
            let index = one["index"].as_u64().context("an entry without an index")?;
            // Holes would mean that something was left out of what is a copy of the log.
            if index != next {
                return Err(anyhow!("the server left out entry {next}"));
            }
            let bytes = strict::parse(one["entry"].to_string().as_bytes(), Limits::ENTRY)
                .with_context(|| format!("entry {index}"))?
                .to_canonical();
            append(args.format, (&name, &origin, index), &bytes, &mut out)?;
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
