//! `policy backtest`: the decisions of a real log, made again under another bundle. Owns how that is shown;
//! what is decided is the runtime's.

use super::diff::load;
use crate::commands::audit::ReadOnlyKeys;
use crate::exit::{self, Done, Fault};
use crate::local;
use crate::output;
use anyhow::Result;
use clap::Args;
use placet_runtime::backtest::{Range, Report, backtest};
use placet_runtime::ports::{Clock, JournalReader};
use placet_runtime::replay::Sources;
use placet_runtime::scan::cores;
use placet_store::{DataDir, SqliteJournalReader, SqliteSlotReader};
use placet_types::ids::{TimeMs, WorkspaceName};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Decide a real log again under another bundle; exit 0 when nothing changes, 14 when something does
///
/// Works on a data directory, also beside a running server, and on a back-up; it writes nothing. What is
/// asked is what the rules would have said of each decision by itself: idempotency, approvals and kills
/// stand as recorded, and the windows of the given bundle count what was really permitted or held.
#[derive(Args, Debug)]
pub(super) struct BacktestArgs {
    /// The bundle: a directory of YAML documents, or a file with its normal form.
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Data directory, or a back-up of one.
    #[arg(long, default_value = "./placet-data", value_name = "DIR")]
    data: PathBuf,
    /// Where the payload keys of a back-up are, if not beside its log.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Decisions from then on: RFC 3339, Unix milliseconds, or an age such as 30d or 1h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Decisions before then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Of this workspace alone.
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// On this surface alone.
    #[arg(long, value_name = "NAME")]
    surface: Option<String>,
    /// Samples of each kind of change.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    samples: u32,
    /// Threads that open and evaluate; all cores unless given.
    #[arg(long, value_name = "N", value_parser = local::threads)]
    threads: Option<usize>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// A log with what belongs to it, open for reading.
pub(crate) struct Log {
    reader: SqliteJournalReader,
    slots: SqliteSlotReader,
    keys: ReadOnlyKeys,
}

/// Opens a data directory, with the keys of another where they are kept apart.
pub(crate) fn open_log(data: &Path, keys: Option<&Path>) -> Result<Log> {
    let dir = DataDir::open_read_only(data)?;
    let apart = keys.map(DataDir::open_read_only).transpose()?;
    let held = apart.as_ref().unwrap_or(&dir);
    if !held.path().join("keys.db").exists() {
        let detail =
            format!("{} holds no payload keys: no request can be read", held.path().display());
        let fault = Fault::new("key_missing", detail);
        return Err(fault.next("name the back-up of the keys with --keys").into());
    }
    Ok(Log {
        reader: dir.journal_reader()?,
        slots: held.slot_reader()?,
        keys: ReadOnlyKeys(held.identity()?),
    })
}

impl Log {
    pub(crate) fn sources(&self) -> Sources<'_> {
        Sources { reader: &self.reader, slots: &self.slots, keys: &self.keys, bundle: None }
    }

    /// All of it.
    pub(crate) fn range(&self) -> Range {
        Range {
            since: None,
            until: None,
            workspace: None,
            surface: None,
            threads: cores(),
            samples: 5,
        }
    }

    fn entries(&self, only: Option<&WorkspaceName>) -> Result<u64> {
        let mut total = 0;
        let mut found = only.is_none();
        for (no, name) in self.reader.workspaces()? {
            if only.is_none_or(|only| *only == name) {
                found = true;
                total += self.reader.head(no)?.next_index;
            }
        }
        if let Some(only) = only.filter(|_| !found) {
            let detail = format!("there is no workspace {only}");
            return Err(Fault::new("workspace_not_found", detail).into());
        }
        Ok(total)
    }
}

/// Runs it.
pub(super) fn run(args: &BacktestArgs) -> Done {
    let bundle = load(&args.bundle)?;
    let log = open_log(&args.data, args.keys.as_deref())?;
    let workspace = args.workspace.as_deref().map(name).transpose()?;
    let range = Range {
        since: args.since.as_deref().map(instant).transpose()?,
        until: args.until.as_deref().map(instant).transpose()?,
        surface: args.surface.clone(),
        threads: args.threads.unwrap_or_else(cores),
        samples: usize::try_from(args.samples)?,
        workspace,
    };
    let bar = output::progress(log.entries(range.workspace.as_ref())?, "deciding again");
    let began = Instant::now();
    let report = backtest(&log.sources(), &bundle, &range, &mut |done| {
        bar.set_position(done);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        let mut document: Value = serde_json::from_str(&report.to_value().to_text())?;
        document["policy"] = bundle.digest().to_string().into();
        document["seconds"] = json!(seconds);
        output::document(&document);
    } else {
        output::field("policy", &bundle.digest().to_string());
        print(&report, seconds);
    }
    // A comparison of nothing proves nothing: a surface with a typing error must not look like success.
    Ok(ExitCode::from(match (report.evaluated, report.changes.is_empty()) {
        (0, _) => exit::FAILURE,
        (_, true) => 0,
        (_, false) => exit::CHANGES,
    }))
}

fn name(text: &str) -> Result<WorkspaceName> {
    WorkspaceName::parse(text)
        .ok_or_else(|| Fault::usage(format!("{text:?} is no workspace name")).into())
}

fn instant(text: &str) -> Result<TimeMs> {
    let now = placet_runtime::crypto::SystemClock::default().wall();
    placet_server::instant_of(text, now).ok_or_else(|| {
        let detail =
            format!("{text:?} is no time: RFC 3339, Unix milliseconds, or an age such as 30d");
        Fault::usage(detail).into()
    })
}

fn print(report: &Report, seconds: f64) {
    let span = report.span.map_or_else(String::new, |(from, to)| {
        format!(" of {} to {}", from.rfc3339(), to.rfc3339())
    });
    let rate = report.evaluated as f64 / seconds.max(1e-6);
    output::line(&format!(
        "{} decisions{span}: {} decided again ({rate:.0}/s), {} unchanged",
        report.decisions, report.evaluated, report.unchanged
    ));
    for (why, count) in &report.excluded {
        output::line(&format!("  {count} left out: {}", why.as_str()));
    }
    output::line(
        "windows are those of the given bundle, counted over what was really permitted or held",
    );
    output::line("");
    if report.evaluated == 0 {
        let word = output::paint(output::RED, "nothing was compared");
        output::line(&format!(
            "{word}: no decision lies in this range, or none could be made again"
        ));
        return;
    }
    if report.changes.is_empty() {
        output::line(&output::paint(output::GREEN, "no decision changes"));
        return;
    }
    let rows: Vec<Vec<String>> = report
        .changes
        .iter()
        .map(|change| {
            let rules: Vec<&str> = change.rules.iter().map(String::as_str).take(8).collect();
            vec![
                change.transition.to_string(),
                change.count.to_string(),
                output::safe(&rules.join("\n")),
            ]
        })
        .collect();
    output::line(&output::table(&["change", "count", "rules"], &rows));
    let samples = report.changes.iter().flat_map(|change| &change.samples);
    let rows: Vec<Vec<String>> = samples
        .map(|sample| {
            vec![
                sample.index.to_string(),
                sample.time.rfc3339(),
                output::safe(&format!("{} {}", sample.surface, sample.action)),
                said(&sample.recorded),
                said(&sample.would),
                sample.decision.to_string(),
            ]
        })
        .collect();
    output::line("");
    output::line(&output::table(
        &["index", "time", "action", "recorded", "would be", "decision"],
        &rows,
    ));
    output::line("look at one with: placet audit query --decision ID");
}

fn said(side: &placet_policy::diff::Side) -> String {
    output::safe(&format!("{} {}", side.outcome.as_str(), side.rules.join(", ")))
}
