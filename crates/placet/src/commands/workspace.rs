//! `workspace`: making and listing workspaces of a server.

use crate::commands::ask::Ask;
use crate::exit::Done;
use crate::local;
use crate::output;
use clap::{Args, Subcommand};
use placet_types::ids::ActorId;
use serde_json::json;

/// Workspaces: each is a tenant with its own keys, policy and log.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet workspace create payments --admin human:ann
  placet workspace list --json")]
pub(crate) struct WorkspaceArgs {
    #[command(subcommand)]
    command: WorkspaceCommand,
}

#[derive(Subcommand, Debug)]
enum WorkspaceCommand {
    /// Make a workspace; prints its first admin's key once.
    Create {
        /// Its name: lower-case letters, digits and `-`.
        name: String,
        /// First admin.
        #[arg(long, default_value = "human:admin", value_name = "human:NAME", value_parser = local::actor)]
        admin: ActorId,
        #[command(flatten)]
        ask: Ask,
    },
    /// List the workspaces.
    List {
        #[command(flatten)]
        ask: Ask,
    },
}

/// Runs it.
pub(crate) async fn run(args: WorkspaceArgs) -> Done {
    match args.command {
        WorkspaceCommand::Create { name, admin, ask } => {
            let body = json!({"name": name, "admin": admin.as_str()});
            ask.post("/api/v1/workspaces", &body, |made| {
                output::line(&format!("made {}", output::plain(&made["origin"])));
                output::field("verifier", &output::plain(&made["vkey"]));
                output::field("admin key", &output::plain(&made["key"]));
                output::line("The key is shown once. Keep it.");
            })
            .await
        }
        WorkspaceCommand::List { ask } => {
            ask.get("/api/v1/workspaces", |listed| {
                let rows: Vec<Vec<String>> = listed["workspaces"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|one| {
                        ["name", "origin", "size"].map(|key| output::plain(&one[key])).to_vec()
                    })
                    .collect();
                output::line(&output::table(&["workspace", "origin", "entries"], &rows));
            })
            .await
        }
    }
}
