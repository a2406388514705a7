//! `audit`: queries of a running server, erasing payloads there, and verifying, replaying and exporting a log offline.

mod check;
mod erase;
mod roots;

use crate::client::{Client, Remote, escape};
use crate::exit::{self, Done};
use crate::local;
use crate::output;
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use placet_runtime::frame::frames;
use placet_runtime::ports::{JournalReader, PortError, Secret, WorkspaceKeys};
use placet_runtime::replay::{Difference, Report, Sources, replay};
use placet_store::{DataDir, Identity};
use placet_types::event::Entry;
use placet_types::ids::WorkspaceName;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Bytes of a log that are read at a time.
const READ_BYTES: usize = 4 << 20;

/// The log: ask it, verify it, replay it, take it along; and erase the payloads beside it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet audit query --actor human:ann --since 1h
  placet audit query --outcome DENY --json
  placet audit verify --data ./placet-data        # offline, also beside a running server
  placet audit replay --data ./placet-data        # every decision, derived again
  placet audit erase --subject customer-4711      # says what it would come to, and asks
  placet audit export --data ./placet-data > log.jsonl")]
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
    /// Print all entries, oldest first, one JSON document per line.
    Export {
        /// Data directory; without it the server is asked, for the workspace of the key.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        #[command(flatten)]
        remote: Remote,
        /// Form of the output.
        #[arg(long, value_enum, default_value = "jsonl")]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// JSON Lines.
    Jsonl,
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
    remote: Remote,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) async fn run(args: AuditArgs) -> Done {
    match args.command {
        AuditCommand::Query(args) => query(*args).await,
        AuditCommand::Verify { data, roots, json } => check::run(&data, roots.as_deref(), json),
        AuditCommand::Erase(args) => erase::run(*args).await,
        AuditCommand::Replay { data, bundle, json } => run_replay(&data, bundle.as_deref(), json),
        AuditCommand::Export { data: Some(data), format: Format::Jsonl, .. } => export(&data),
        AuditCommand::Export { data: None, remote, format: Format::Jsonl } => {
            export_remote(&Client::of(&remote)?).await
        }
    }
}

async fn query(args: QueryArgs) -> Done {
    let order = args.ascending.then(|| "asc".to_owned());
    let filters = [
        ("decision", &args.decision),
        ("trace", &args.trace),
        ("actor", &args.actor),
        ("rule", &args.rule),
        ("subject", &args.subject),
        ("surface", &args.surface),
        ("outcome", &args.outcome),
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
    let found = Client::of(&args.remote)?.get(&path).await?;
    if args.json {
        output::document(&found);
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> =
        found["entries"].as_array().into_iter().flatten().map(row).collect();
    output::line(&output::table(
        &["index", "time", "event", "outcome", "action", "actor", "rules"],
        &rows,
    ));
    if let Some(next) = found.get("next_cursor").filter(|next| !next.is_null()) {
        output::line(&format!("more with --cursor {}", output::plain(next)));
    }
    Ok(ExitCode::SUCCESS)
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
        output::plain(&data["outcome"]),
        action,
        actor,
        output::plain(&data["rules"]),
    ]
}

/// Pseudonym keys of a data directory that is only read.
struct ReadOnlyKeys(Identity);

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

fn export(data: &Path) -> Done {
    let dir = DataDir::open_read_only(data)?;
    let reader = dir.journal_reader()?;
    for (no, name) in reader.workspaces()? {
        let mut next = 0;
        loop {
            let batches = reader.read(no, next, READ_BYTES)?;
            if batches.is_empty() {
                break;
            }
            for batch in batches {
                next = batch.first_index;
                for frame in frames(&batch.frames) {
                    let place = || format!("entry {next} of workspace {name}");
                    let frame = frame.with_context(place)?;
                    output::json_line(&exported(&name, next, frame.entry).with_context(place)?);
                    next += 1;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn exported(name: &WorkspaceName, index: u64, bytes: &[u8]) -> Result<Value> {
    let entry = Entry::parse(bytes)?;
    Ok(json!({
        "workspace": name.as_str(),
        "index": index,
        "type": entry.event.type_name(),
        "time": entry.time.rfc3339(),
        "entry": serde_json::from_slice::<Value>(bytes)?,
    }))
}

async fn export_remote(client: &Client) -> Done {
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/api/v1/audit?order=asc&limit=1000{cursor}")).await?;
        for found in page["entries"].as_array().into_iter().flatten() {
            let mut line = found.clone();
            line["workspace"] = found["entry"]["predicate"]["workspace"].clone();
            output::json_line(&line);
        }
        match page.get("next_cursor").filter(|next| !next.is_null()) {
            None => return Ok(ExitCode::SUCCESS),
            Some(next) => {
                let text = next.as_str().map_or_else(|| next.to_string(), str::to_owned);
                cursor = format!("&cursor={}", escape(&text));
            }
        }
    }
}
