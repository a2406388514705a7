//! `execution`: runs of a capability, as their runner and as overseers see them.

use crate::client::{escape, succeeded};
use crate::commands::ask::Ask;
use crate::commands::decide;
use crate::exit::Done;
use crate::output;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Runs of a capability: start, look, end.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet execution start crm-writer --idempotency-key nightly-7
  placet execution start crm-writer --max-steps 200
  placet execution show exe_018f…
  placet execution list --state running
  placet execution end exe_018f… --failed")]
pub(crate) struct ExecutionArgs {
    #[command(subcommand)]
    command: ExecutionCommand,
}

#[derive(Subcommand, Debug)]
enum ExecutionCommand {
    /// Start one; the policy decides on surface `execution`, action `start`.
    Start {
        /// What runs.
        capability: String,
        /// In which variant.
        #[arg(long, value_name = "NAME")]
        branch: Option<String>,
        /// The execution that it is a part of.
        #[arg(long, value_name = "ID")]
        parent: Option<String>,
        /// Decisions that may name it; one more ends it.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
        max_steps: Option<u64>,
        /// Seconds that it may run, up to thirty days: then it ends.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=2_592_000))]
        max_runtime_sec: Option<u64>,
        /// The same start again, after a lost answer or an approval.
        #[arg(long, value_name = "TEXT")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show one.
    Show {
        /// `exe_…`
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// List those that run or ended not long ago.
    List {
        /// Those in this state alone.
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Say that one has ended: succeeded, unless it failed.
    End {
        /// `exe_…`
        id: String,
        /// It did not do what it was for.
        #[arg(long)]
        failed: bool,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Runs it.
pub(crate) async fn run(args: ExecutionArgs) -> Done {
    match args.command {
        ExecutionCommand::Start {
            capability,
            branch,
            parent,
            max_steps,
            max_runtime_sec,
            idempotency_key,
            ask,
        } => {
            let mut body = json!({"capability": capability});
            let given =
                [("branch", branch), ("parent", parent), ("idempotency_key", idempotency_key)];
            for (name, value) in given {
                if let Some(value) = value {
                    body[name] = value.into();
                }
            }
            let bounds = [("max_steps", max_steps), ("max_runtime_sec", max_runtime_sec)];
            for (name, most) in bounds {
                if let Some(most) = most {
                    body[name] = most.into();
                }
            }
            let sent =
                ask.client()?.send(Method::POST, "/api/v1/executions", &[], Some(&body)).await?;
            let reply = succeeded(sent)?;
            let document = reply.json()?;
            if reply.status == 202 {
                ask.show(&document, |held| {
                    decide::print(&held["decision"]);
                    output::line("Once it is approved, run the same command with the same key.");
                })?;
                return Ok(ExitCode::from(10));
            }
            ask.show(&document, shown)
        }
        ExecutionCommand::Show { id, ask } => {
            ask.get(&format!("/api/v1/executions/{}", escape(&id)), shown).await
        }
        ExecutionCommand::List { state, ask } => {
            let query = state.map(|state| format!("?state={}", escape(&state)));
            ask.get(&format!("/api/v1/executions{}", query.unwrap_or_default()), listed).await
        }
        ExecutionCommand::End { id, failed, ask } => {
            let state = if failed { "failed" } else { "succeeded" };
            let path = format!("/api/v1/executions/{}/end", escape(&id));
            ask.post(&path, &json!({"state": state}), shown).await
        }
    }
}

fn shown(execution: &Value) {
    let (id, state) = (output::plain(&execution["id"]), output::plain(&execution["state"]));
    let waits = if state == "queued" { "  (it begins when there is a place)" } else { "" };
    output::line(&format!("{id}  {state}{waits}"));
    let names =
        ["capability", "branch", "parent", "by", "since", "until", "ended", "steps", "max_steps"];
    for name in names.into_iter().chain(["max_concurrent", "max_runtime_sec", "waiting"]) {
        if !execution[name].is_null() {
            output::field(name, &output::plain(&execution[name]));
        }
    }
    output::field("decision", &output::plain(&execution["decision"]));
    output::field("trace", &output::plain(&execution["trace"]));
}

fn listed(page: &Value) {
    let rows: Vec<Vec<String>> = page["executions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            let keys = ["id", "state", "capability", "by", "since", "steps"];
            keys.map(|key| output::plain(&one[key])).to_vec()
        })
        .collect();
    let header = ["execution", "state", "capability", "by", "since", "steps"];
    output::line(&output::table(&header, &rows));
    if let Some(cursor) = page["next_cursor"].as_str() {
        output::line(&format!("more after {}", output::safe(cursor)));
    }
}
