//! `hold`: legal holds, which keep payloads from being erased. Refuses to know whom they concern.

use crate::client::escape;
use crate::commands::ask::{Ask, Governed};
use crate::exit::Done;
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Legal holds: what they cover is not erased, whatever retention or a request says.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet hold place --subject customer-4711 --reason case-2026-17
  placet hold place --all --reason audit-2026
  placet hold list
  placet hold release hld_018f…       # with two admins, the other one has to approve it")]
pub(crate) struct HoldArgs {
    #[command(subcommand)]
    command: HoldCommand,
}

#[derive(Subcommand, Debug)]
enum HoldCommand {
    /// Place a hold; one admin suffices.
    Place {
        #[command(flatten)]
        scope: Scope,
        /// Code of the matter; no names, it stands in the log for good.
        #[arg(long, value_name = "CODE")]
        reason: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Release a hold; with two admins, the other one has to approve it.
    Release {
        /// `hld_…`
        id: String,
        #[command(flatten)]
        governed: Governed,
    },
    /// List the holds in force.
    List {
        #[command(flatten)]
        ask: Ask,
    },
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Scope {
    /// Everything in the workspace.
    #[arg(long)]
    all: bool,
    /// The payloads of this decision.
    #[arg(long, value_name = "ID")]
    decision: Option<String>,
    /// The payloads of all decisions whose request names this subject, those to come as well.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
}

/// Runs it.
pub(crate) async fn run(args: HoldArgs) -> Done {
    match args.command {
        HoldCommand::Place { scope, reason, ask } => {
            let body = match (scope.decision, scope.subject) {
                (Some(id), _) => json!({"scope": "decision", "decision": id, "reason": reason}),
                (_, Some(name)) => json!({"scope": "subject", "subject": name, "reason": reason}),
                _ => json!({"scope": "workspace", "reason": reason}),
            };
            ask.post("/api/v1/holds", &body, |placed| {
                output::line(&format!("placed {}", output::plain(&placed["id"])));
                output::field("scope", &output::plain(&placed["scope"]));
                output::field("reason", &output::plain(&placed["reason"]));
            })
            .await
        }
        HoldCommand::Release { id, governed } => {
            let path = format!("/api/v1/holds/{}", escape(&id));
            let released = |_: &Value| output::line(&format!("released {}", output::safe(&id)));
            governed.delete(&path, released).await
        }
        HoldCommand::List { ask } => {
            ask.get("/api/v1/holds", |listed| {
                let rows: Vec<_> =
                    listed["holds"].as_array().into_iter().flatten().map(row).collect();
                let head = ["id", "scope", "of", "reason", "since", "by"];
                output::line(&output::table(&head, &rows));
            })
            .await
        }
    }
}

fn row(hold: &Value) -> Vec<String> {
    let of = match &hold["decision"] {
        Value::Null => &hold["subject_tag"],
        decision => decision,
    };
    let cell = |name: &str| output::plain(&hold[name]);
    let of = output::plain(of);
    vec![cell("id"), cell("scope"), of, cell("reason"), cell("since"), cell("placed_by")]
}
