//! `policy compile` and `policy explain`: what a bundle is, and why it says what it says.

mod backtest;
mod diff;
mod shadow;

use crate::commands::authoring::{self, Authoring};
use crate::commands::publish;
use crate::exit::{self, Done};
use crate::local::{self, CallerArgs, Compiled};
use crate::output;
use crate::presets;
use anyhow::Context;
use clap::{Args, Subcommand};
use placet_policy::{Bundle, Diagnostic, Finding, RuleTrace};
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
  placet policy explain request.json --bundle policy/ --role support
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
    /// Show for every rule why it matched a request or not, and what was decided.
    Explain {
        /// File with the request, `-` for standard input.
        request: String,
        /// Directory of YAML documents.
        #[arg(long, value_name = "DIR")]
        bundle: PathBuf,
        #[command(flatten)]
        caller: CallerArgs,
        /// Workspace of that actor.
        #[arg(long, value_name = "NAME")]
        workspace: Option<String>,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
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
        PolicyCommand::Explain { request, bundle, caller, workspace, json } => {
            explain(&request, &bundle, &caller, workspace.as_deref(), json)
        }
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

fn explain(
    request: &str,
    dir: &Path,
    caller: &CallerArgs,
    workspace: Option<&str>,
    json: bool,
) -> Done {
    let bundle: Bundle = local::compile(dir)?;
    let caller = caller.caller(workspace)?;
    let request = local::question(&local::read_input(request)?, &caller)?;
    let trace = bundle.explain(&request, &caller);
    let decision = local::decide(&bundle, &request, caller)?;
    if json {
        let trace: serde_json::Value = serde_json::from_str(&trace.to_value().to_text())?;
        output::document(&json!({"decision": decision.document(), "trace": trace}));
        return Ok(ExitCode::SUCCESS);
    }
    if !trace.surface_known {
        output::line("the policy does not know this surface: no rule is asked");
    }
    let rows: Vec<Vec<String>> = trace
        .rules
        .iter()
        .map(|rule| {
            let matched = if rule.matched { "yes" } else { "no" };
            vec![
                rule.rule.layer.as_str().to_owned(),
                rule.rule.id.clone(),
                rule.rule.effect.as_str().to_owned(),
                matched.to_owned(),
                why(rule),
            ]
        })
        .collect();
    if !rows.is_empty() {
        output::line(&output::table(&["layer", "rule", "decision", "matched", "why"], &rows));
    }
    let document = decision.document();
    let rules = output::plain(&document["rules"]);
    output::line(&format!("{}  {rules}", output::outcome(decision.outcome())));
    for reason in document["reasons"].as_array().into_iter().flatten() {
        output::field("because", &output::plain(&reason["text"]));
    }
    output::field("policy", &output::plain(&document["policy"]));
    Ok(ExitCode::SUCCESS)
}

/// One line per key and condition: `+` matched, `-` did not, `!` could not be evaluated.
fn why(rule: &RuleTrace) -> String {
    let mut lines = Vec::new();
    for clause in &rule.clauses {
        let (found, wanted) = (clause.found.join(", "), clause.wanted.join(", "));
        lines.push(match clause.finding {
            Finding::Matched => format!("+ {}: {found} among {wanted}", clause.key),
            Finding::Differs => format!("- {}: {found}, wanted {wanted}", clause.key),
            Finding::Absent => format!("- {}: absent, wanted {wanted}", clause.key),
        });
    }
    if let Some(condition) = &rule.condition {
        let (sign, value) = match condition.value {
            Ok(true) => ('+', "true"),
            Ok(false) => ('-', "false"),
            Err(error) => ('!', error.as_str()),
        };
        lines.push(format!("{sign} {} is {value}", condition.text));
    }
    if let Some(note) = &rule.note {
        lines.push(format!("{} {note}", if rule.matched { '!' } else { '+' }));
    }
    if lines.is_empty() {
        lines.push("+ matches everything".to_owned());
    }
    if let Some(limit) = rule.rule.limit {
        lines.push(format!("  applies once {} lie within {} s", limit.count, limit.per_ms / 1000));
    }
    output::safe(&lines.join("\n"))
}
