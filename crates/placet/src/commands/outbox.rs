//! `outbox`: what channels are still to be told, what was given up, and trying it again. Refuses to know
//! what is told.

use crate::client::escape;
use crate::commands::ask::Ask;
use crate::exit::Done;
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Deliveries to channels that wait or were given up, and how each channel is.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  placet outbox                       # channels, and what waits
  placet outbox --dead                # only what was given up
  placet outbox replay 42             # have it tried again"
)]
pub(crate) struct OutboxArgs {
    #[command(subcommand)]
    command: Option<OutboxCommand>,
    /// Only deliveries that were given up.
    #[arg(long)]
    dead: bool,
    /// Deliveries after this one.
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Subcommand, Debug)]
enum OutboxCommand {
    /// Have a delivery tried again, as if it never had been.
    Replay {
        /// Its number.
        id: u64,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Runs it.
pub(crate) async fn run(args: OutboxArgs) -> Done {
    if let Some(OutboxCommand::Replay { id, ask }) = args.command {
        let path = format!("/api/v1/outbox/{id}/replay");
        return ask
            .post(&path, &json!({}), |delivery| {
                let (event, channel) = (&delivery["event"], &delivery["channel"]);
                output::line(&format!(
                    "delivery {id} is tried again: {} to {}",
                    output::plain(event),
                    output::plain(channel)
                ));
            })
            .await;
    }
    let after = args.after.map(|after| format!("&cursor={}", escape(&after.to_string())));
    let path = format!("/api/v1/outbox?dead={}{}", args.dead, after.unwrap_or_default());
    args.ask
        .get(&path, |found| {
            let list = |name: &str| found[name].as_array().cloned().unwrap_or_default();
            let cells = |row: &Value, names: &[&str]| {
                names.iter().map(|name| output::plain(&row[*name])).collect::<Vec<_>>()
            };
            let head = ["id", "kind", "state", "pending", "dead", "oldest", "error"];
            let rows: Vec<_> = list("channels").iter().map(|row| cells(row, &head)).collect();
            if rows.is_empty() {
                output::line("the policy in force has no channels");
            } else {
                output::line(&output::table(&head, &rows));
            }
            let head =
                ["id", "channel", "event", "index", "state", "attempts", "next_attempt", "error"];
            let rows: Vec<_> = list("deliveries").iter().map(|row| cells(row, &head)).collect();
            if !rows.is_empty() {
                output::line(&output::table(&head, &rows));
            }
            if let Some(cursor) = found["next_cursor"].as_str() {
                output::line(&format!("more: placet outbox --after {}", output::safe(cursor)));
            }
        })
        .await
}
