//! `audit`: queries of a running server, erasing payloads there, and what is done with a log offline: verifying, replaying,
//! exporting, measuring. Owns the subcommands; the longer ones are files of their own.

pub(crate) mod check;
mod erase;
mod export;
mod reindex;
mod roots;
mod usage;

use crate::client::escape;
use crate::commands::ask::Ask;
use crate::exit::{self, Done};
use crate::local;
use crate::output;
use anyhow::Result;
use clap::{Args, Subcommand};
use placet_runtime::ports::{JournalReader, PortError, Secret, WorkspaceKeys};
use placet_runtime::replay::{Difference, Report, Sources, replay};
use placet_store::{DataDir, Identity};
use placet_types::ids::WorkspaceName;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// The log: ask it, verify it, replay it, take it along, measure it; and erase the payloads beside it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet audit query --actor human:ann --since 1h
  placet audit query --outcome DENY --json
  placet audit verify --data ./placet-data        # offline, also beside a running server
  placet audit replay --data ./placet-data        # every decision, derived again
  placet audit erase --subject customer-4711      # says what it would come to, and asks
  placet audit export --data ./placet-data > log.jsonl
  placet audit export --format ocsf --out audit.ocsf     # again: goes on where the file ends
  placet audit du --data ./placet-data
  placet audit reindex                            # while the server goes on")]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand, Debug)]
enum AuditCommand {
    /// Find entries.
    Query(Box<QueryArgs>),
    /// Check a log offline: every hash, every seal, every entry, the high-water marks, the fold.
    Verify {
        /// Data directory.
        #[arg(long, default_value = "./placet-data", value_name = "DIR")]
        data: PathBuf,
        /// File with roots that were signed once: lines `SIZE BASE64`, JSON lines with size and
        /// root, checkpoints or receipts. Each has to be the root of the log's beginning.
        #[arg(long, value_name = "FILE")]
        roots: Option<PathBuf>,
        /// Threads that look at entries; all cores unless given.
        #[arg(long, value_name = "N", value_parser = local::threads)]
        threads: Option<usize>,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Derive every decision again from log and policy; exit 0 when none differs.
    Replay {
        /// Data directory.
        #[arg(long, default_value = "./placet-data", value_name = "DIR")]
        data: PathBuf,
        /// Evaluate with this bundle instead of the recorded ones: what would be different?
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    Erase(Box<erase::EraseArgs>),
    /// Write entries, oldest first, for another system: JSON Lines, CSV, CloudEvents or OCSF.
    Export(Box<export::ExportArgs>),
    /// What is on the disk: by database, by workspace, by surface and kind; bytes per decision.
    Du {
        /// Data directory.
        #[arg(long, default_value = "./placet-data", value_name = "DIR")]
        data: PathBuf,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Fill the read model anew from the log; the server goes on deciding.
    Reindex(Box<reindex::ReindexArgs>),
}

#[derive(Args, Debug)]
struct QueryArgs {
    /// Entries about this decision.
    #[arg(long, value_name = "ID")]
    decision: Option<String>,
    /// Trace id.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Who proposed or acted.
    #[arg(long, value_name = "KIND:NAME")]
    actor: Option<String>,
    /// A deciding rule.
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Subject whose personal data the payload holds.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Surface.
    #[arg(long, value_name = "NAME")]
    surface: Option<String>,
    /// Outcome.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Decisions on which the shadow bundle came to something else.
    #[arg(long)]
    would_differ: bool,
    /// Type of event, `decision` or `kill.tripped` for example.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// From then on: RFC 3339, Unix milliseconds, or an age such as 30d or 1h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Oldest first.
    #[arg(long)]
    ascending: bool,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on from a `next_cursor`.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub(crate) async fn run(args: AuditArgs) -> Done {
    match args.command {
        AuditCommand::Query(args) => query(*args).await,
        AuditCommand::Erase(args) => erase::run(*args).await,
        AuditCommand::Verify { data, roots, threads, json } => {
            check::run(&data, roots.as_deref(), threads, json)
        }
        AuditCommand::Replay { data, bundle, json } => run_replay(&data, bundle.as_deref(), json),
        AuditCommand::Export(args) => export::run(*args).await,
        AuditCommand::Du { data, json } => usage::run(&data, json),
        AuditCommand::Reindex(args) => reindex::run(*args).await,
    }
}

async fn query(args: QueryArgs) -> Done {
    let differing = args.would_differ.then(|| "true".to_owned());
    let order = args.ascending.then(|| "asc".to_owned());
    let filters = [
        ("decision", &args.decision),
        ("trace", &args.trace),
        ("actor", &args.actor),
        ("rule", &args.rule),
        ("subject", &args.subject),
        ("surface", &args.surface),
        ("outcome", &args.outcome),
        ("would_differ", &differing),
        ("type", &args.event_type),
        ("since", &args.since),
        ("until", &args.until),
        ("order", &order),
        ("cursor", &args.cursor),
    ];
    let mut path = format!("/api/v1/audit?limit={}", args.limit);
    for (name, value) in filters {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", escape(value)));
        }
    }
    args.ask.get(&path, page).await
}

fn page(found: &Value) {
    let rows: Vec<Vec<String>> =
        found["entries"].as_array().into_iter().flatten().map(row).collect();
    let head = ["index", "time", "event", "outcome", "action", "actor", "rules"];
    output::line(&output::table(&head, &rows));
    if let Some(next) = found.get("next_cursor").filter(|next| !next.is_null()) {
        output::line(&format!("more with --cursor {}", output::plain(next)));
    }
}

fn row(found: &Value) -> Vec<String> {
    let data = &found["entry"]["predicate"]["data"];
    let action = match (&data["surface"], &data["action"]) {
        (Value::Null, _) => "-".to_owned(),
        (surface, action) => format!("{} {}", output::plain(surface), output::plain(action)),
    };
    let actor = match &data["actor"] {
        Value::Null => &data["by"],
        actor => actor,
    };
    let mut actor = output::plain(actor);
    // A person's pseudonym is 64 digits long, of which a few tell people apart.
    if let Some(end) = actor.char_indices().nth(24).map(|(at, _)| at) {
        actor = format!("{}…", &actor[..end]);
    }
    vec![
        output::plain(&found["index"]),
        output::plain(&found["time"]),
        output::plain(&found["type"]),
        match &data["would"]["outcome"] {
            Value::Null => output::plain(&data["outcome"]),
            would => {
                format!("{} (would: {})", output::plain(&data["outcome"]), output::plain(would))
            }
        },
        action,
        actor,
        output::plain(&data["rules"]),
    ]
}

/// Pseudonym keys of a data directory that is only read.
pub(crate) struct ReadOnlyKeys(pub(crate) Identity);

impl WorkspaceKeys for ReadOnlyKeys {
    fn workspace_key(&self, name: &WorkspaceName) -> Result<Option<Secret>, PortError> {
        self.0.workspace_key(name)
    }
}

/// Replays the logs of a data directory.
///
/// # Errors
/// When the directory cannot be read or a log is damaged.
pub(crate) fn replay_dir(data: &Path, bundle: Option<&Path>) -> Result<Report> {
    let bundle = bundle.map(local::compile).transpose()?.map(Arc::new);
    let dir = DataDir::open_read_only(data)?;
    let (reader, slots) = (dir.journal_reader()?, dir.slot_reader()?);
    let keys = ReadOnlyKeys(dir.identity()?);
    let mut total = 0;
    for (no, _) in reader.workspaces()? {
        total += reader.head(no)?.next_index;
    }
    let bar = output::progress(total, "replaying");
    let sources = Sources { reader: &reader, slots: &slots, keys: &keys, bundle };
    let report = replay(&sources, &mut |done| bar.set_position(done))?;
    bar.finish_and_clear();
    Ok(report)
}

fn run_replay(data: &Path, bundle: Option<&Path>, json: bool) -> Done {
    let report = replay_dir(data, bundle)?;
    if json {
        output::document(&replay_document(&report));
    } else {
        output::line(&format!(
            "{} decisions: {} re-evaluated, {} re-stepped, {} not replayable",
            report.decisions, report.re_evaluated, report.re_stepped, report.not_replayable
        ));
        let style = if report.differences == 0 { output::GREEN } else { output::RED };
        output::line(&output::paint(style, &format!("{} differences", report.differences)));
        if let Some(first) = &report.first {
            output::line("the first:");
            output::field("workspace", &first.workspace);
            output::field("index", &first.index.to_string());
            output::field("decision", &first.decision.to_string());
            output::field("differs in", &first.what);
            output::field("recorded", &verdict(&first.recorded));
            output::field("derived", &verdict(&first.derived));
        }
    }
    Ok(if report.differences == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) })
}

fn verdict((outcome, rules): &(String, Vec<String>)) -> String {
    output::safe(&format!("{outcome} {}", rules.join(", ")))
}

/// What `--json` prints of a replay.
pub(crate) fn replay_document(report: &Report) -> Value {
    let mut document = json!({
        "decisions": report.decisions,
        "re_evaluated": report.re_evaluated,
        "re_stepped": report.re_stepped,
        "differences": report.differences,
    });
    if report.not_replayable > 0 {
        document["not_replayable"] = report.not_replayable.into();
    }
    if let Some(first) = &report.first {
        document["first_difference"] = difference(first);
    }
    document
}

fn difference(first: &Difference) -> Value {
    let side =
        |(outcome, rules): &(String, Vec<String>)| json!({"outcome": outcome, "rules": rules});
    json!({
        "workspace": first.workspace,
        "index": first.index,
        "decision": first.decision.to_string(),
        "differs_in": first.what,
        "recorded": side(&first.recorded),
        "derived": side(&first.derived),
    })
}
