//! `outbox`: what channels are still to be told, what was given up, and trying it again. Refuses to know
//! what is told.

use crate::client::{Client, escape};
use crate::commands::ask::Ask;
use crate::exit::Done;
use crate::output;
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Deliveries to channels that wait or were given up, and how each channel is.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  placet outbox                       # channels, and what waits
  placet outbox --dead                # only what was given up
  placet outbox replay 42             # have it tried again
  placet outbox replay --all          # and everything else that was given up
  placet outbox replay --all --channel siem --json"
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
        #[arg(required_unless_present = "all")]
        id: Option<u64>,
        /// All that were given up, oldest first.
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// With --all: only those to this channel.
        #[arg(long, value_name = "ID", conflicts_with = "id")]
        channel: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
}

async fn again(client: &Client, id: u64) -> Result<Value> {
    client.post(&format!("/api/v1/outbox/{id}/replay"), &json!({})).await
}

/// Everything that was given up, or what was of one channel.
async fn again_all(client: &Client, channel: Option<String>) -> Result<Value> {
    let mut replayed = Vec::new();
    for dead in client.all("/api/v1/outbox?dead=true", "deliveries").await? {
        let meant = channel.as_deref().is_none_or(|channel| dead["channel"] == channel);
        if let Some(id) = dead["id"].as_u64().filter(|_| meant) {
            replayed.push(again(client, id).await?);
        }
    }
    Ok(json!({"replayed": replayed}))
}

fn said(delivery: &Value) {
    let [id, event, channel] =
        ["id", "event", "channel"].map(|name| output::plain(&delivery[name]));
    output::line(&format!("delivery {id} is tried again: {event} to {channel}"));
}

/// Runs it.
pub(crate) async fn run(args: OutboxArgs) -> Done {
    if let Some(OutboxCommand::Replay { id, all: _, channel, ask }) = args.command {
        let client = ask.client()?;
        return match id {
            Some(id) => ask.show(&again(&client, id).await?, said),
            None => ask.show(&again_all(&client, channel).await?, |document| {
                let replayed = document["replayed"].as_array();
                replayed.into_iter().flatten().for_each(said);
                if replayed.is_none_or(Vec::is_empty) {
                    output::line("nothing was given up");
                }
            }),
        };
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
