//! `data`: the data directory itself, its format and how to bring an older one up to date.

use crate::exit::Done;
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// The data directory: its format
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet data migrate --data ./placet-data --dry-run
  placet data migrate --data ./placet-data")]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand, Debug)]
enum DataCommand {
    /// Bring a data directory of an older format to the present one; older programs then refuse it.
    Migrate {
        /// Data directory.
        #[arg(long, default_value = "./placet-data", value_name = "DIR")]
        data: PathBuf,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
pub(crate) fn run(args: DataArgs) -> Done {
    let DataCommand::Migrate { data, dry_run, json } = args.command;
    let done =
        if dry_run { placet_store::plan_migration(&data)? } else { placet_store::migrate(&data)? };
    if json {
        let steps: Vec<Value> =
            done.steps.iter().map(|(to, what)| json!({"to": to, "what": what})).collect();
        output::document(&json!({
            "found": done.found, "known": done.known, "steps": steps, "done": !dry_run,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    if done.steps.is_empty() {
        output::line(&format!("format {}: nothing to do", done.found));
    }
    for (to, what) in &done.steps {
        let word = if dry_run { "would go" } else { "went" };
        output::line(&format!("{word} to format {to}: {what}"));
    }
    Ok(ExitCode::SUCCESS)
}
