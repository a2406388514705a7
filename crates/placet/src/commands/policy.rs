//! `policy`: what a bundle is. Its other commands are modules of their own.

mod backtest;
mod diff;
mod explain;
mod shadow;

use crate::commands::authoring::{self, Authoring};
use crate::commands::publish;
use crate::exit::{self, Done};
use crate::local::{self, Compiled};
use crate::output;
use crate::presets;
use anyhow::Context;
use clap::{Args, Subcommand};
use placet_policy::Diagnostic;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) use backtest::open_log;

/// Work with policy bundles.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet policy compile --bundle policy/
  placet policy lint --bundle policy/ --deny warnings
  placet policy test --bundle policy/ --coverage
  placet policy fmt policy/
  placet policy explain request.json --bundle policy/ --role support --at 2026-01-01T22:00:00Z
  placet policy explain request.json --matched           # by what the server has in force
  placet policy publish --bundle policy/ --reason \"limits for autumn\"
  placet policy rollback                       # to the bundle before, at once, to be reviewed
  placet policy history
  placet policy diff policy/ policy-next/                 # which decisions change; 14 if any does
  placet policy backtest policy-next/ --data ./placet-data --since 30d
  placet policy shadow --bundle policy-next/              # beside the one in force, for the record alone")]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand, Debug)]
enum PolicyCommand {
    #[command(flatten)]
    Authoring(Authoring),
    #[command(flatten)]
    Life(publish::LifeCommand),
    /// Compile a bundle: all of it, or every place that is wrong.
    Compile {
        /// Directory of YAML documents.
        #[arg(long, value_name = "DIR")]
        bundle: PathBuf,
        /// Write the normal form, whose SHA-256 is the policy version, to this file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    Explain(Box<explain::ExplainArgs>),
    /// List the policies to start from; `placet init --preset NAME` writes one.
    Presets {
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    Diff(Box<diff::DiffArgs>),
    Backtest(Box<backtest::BacktestArgs>),
    Shadow(Box<shadow::ShadowArgs>),
}

/// Runs it.
pub(crate) async fn run(args: PolicyArgs) -> Done {
    match args.command {
        PolicyCommand::Authoring(command) => authoring::run(command),
        PolicyCommand::Life(command) => publish::run(command).await,
        PolicyCommand::Diff(args) => diff::run(&args),
        PolicyCommand::Backtest(args) => backtest::run(&args),
        PolicyCommand::Shadow(args) => shadow::run(&args).await,
        PolicyCommand::Compile { bundle, out, json } => compile(&bundle, out.as_deref(), json),
        PolicyCommand::Explain(args) => explain::run(&args).await,
        PolicyCommand::Presets { json } => Ok(list_presets(json)),
    }
}

fn compile(dir: &Path, out: Option<&Path>, json: bool) -> Done {
    let bundle = match local::try_compile(dir)? {
        Compiled::Good(bundle) => bundle,
        Compiled::Bad(found) => {
            if json {
                let found = local::diagnostics(&found);
                output::document(&json!({"ok": false, "diagnostics": found}));
            } else {
                print(&found);
                output::line(&format!("{} does not compile", dir.display()));
            }
            return Ok(ExitCode::from(exit::FAILURE));
        }
    };
    if let Some(out) = out {
        std::fs::write(out, bundle.normalised())
            .with_context(|| format!("{} cannot be written", out.display()))?;
    }
    if json {
        output::document(&json!({
            "ok": true,
            "digest": bundle.digest().to_string(),
            "rules": bundle.rule_count(),
            "surfaces": bundle.surfaces().map(|it| local::from_object(&it)).collect::<Vec<_>>(),
            "warnings": local::diagnostics(bundle.warnings()),
        }));
    } else {
        print(bundle.warnings());
        let (rules, digest) = (bundle.rule_count(), bundle.digest());
        output::line(&format!(
            "{} {rules} rules, {digest}",
            output::paint(output::GREEN, "compiled")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn list_presets(json: bool) -> ExitCode {
    if json {
        let all: Vec<_> = presets::ALL
            .iter()
            .map(|preset| {
                let files: Vec<&str> = preset.files.iter().map(|(name, _)| *name).collect();
                json!({"name": preset.name, "about": preset.about, "files": files})
            })
            .collect();
        output::document(&json!({"presets": all}));
    } else {
        let rows: Vec<Vec<String>> = presets::ALL
            .iter()
            .map(|preset| vec![preset.name.to_owned(), preset.about.to_owned()])
            .collect();
        output::line(&output::table(&["preset", "what it is for"], &rows));
    }
    ExitCode::SUCCESS
}

fn print(found: &[Diagnostic]) {
    for one in found {
        output::line(&output::safe(&one.to_string()));
        output::line("");
    }
}
