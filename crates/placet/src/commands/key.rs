//! `key`: API keys of a workspace, and the trust file with the keys that sign its log.

use crate::client::{Client, Remote, escape, succeeded};
use crate::commands::decide;
use crate::exit::{Done, Fault};
use crate::local;
use crate::output;
use anyhow::Context;
use clap::{Args, Subcommand};
use hyper::Method;
use placet_runtime::crypto::Fast;
use placet_tlog::Trust;
use placet_types::ids::ActorId;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// API keys, and the keys that sign the log.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet key create agent:support --role support
  placet key create human:bob --role operator --role refund_approver --environment production
  placet key list
  placet key revoke key_018f…
  placet key trust --out placet-trust.json     # pin the signing keys once, then verify offline")]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand, Debug)]
enum KeyCommand {
    /// Make a key; it is shown once. With two admins, the other one has to approve it.
    Create {
        /// Whose: agent:NAME, service:NAME or human:NAME.
        #[arg(value_name = "ACTOR", value_parser = local::actor)]
        actor: ActorId,
        /// Environment that its requests count for.
        #[arg(long, default_value = "production", value_name = "ENV")]
        environment: String,
        /// A role; repeat for more.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Repeat with the same one after the approval, or after a lost answer.
        #[arg(long, value_name = "TEXT")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        remote: Remote,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// List the keys of the workspace.
    List {
        #[command(flatten)]
        remote: Remote,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key, at once and for good.
    Revoke {
        /// `key_…`, without the secret part.
        id: String,
        #[command(flatten)]
        remote: Remote,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Save the keys that sign the server's logs, for `placet verify`.
    Trust {
        /// Where to.
        #[arg(long, default_value = "placet-trust.json", value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        remote: Remote,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
pub(crate) async fn run(args: KeyArgs) -> Done {
    match args.command {
        KeyCommand::Create { actor, environment, roles, idempotency_key, remote, json } => {
            let mut body =
                json!({"actor": actor.as_str(), "environment": environment, "roles": roles});
            if let Some(key) = idempotency_key {
                body["idempotency_key"] = key.into();
            }
            create(&remote, &body, json).await
        }
        KeyCommand::List { remote, json } => list(&remote, json).await,
        KeyCommand::Revoke { id, remote, json } => {
            // A pasted key is cut at its secret, which has no business in a URL.
            let id = id.split('.').next().unwrap_or_default().to_owned();
            let path = format!("/api/v1/keys/{}", escape(&id));
            Client::of(&remote)?.expect(Method::DELETE, &path, &[], None).await?;
            if json {
                output::document(&json!({"revoked": id}));
            } else {
                output::line(&format!("revoked {}", output::safe(&id)));
            }
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::Trust { out, remote, json } => trust(&remote, &out, json).await,
    }
}

async fn create(remote: &Remote, body: &Value, json: bool) -> Done {
    let client = Client::of(remote)?;
    let reply = succeeded(client.send(Method::POST, "/api/v1/keys", &[], Some(body)).await?)?;
    let held = reply.status == 202;
    let made = reply.json()?;
    if json {
        output::document(&made);
    } else if held {
        decide::print(&made["decision"]);
        output::line(
            "Another admin has to approve it; then run the same command with the same --idempotency-key.",
        );
    } else {
        output::line(&format!("made a key for {}", output::plain(&body["actor"])));
        output::field("key", &output::plain(&made["key"]));
        output::line("The key is shown once. Keep it.");
    }
    Ok(ExitCode::from(if held { 10 } else { 0 }))
}

async fn list(remote: &Remote, json: bool) -> Done {
    let listed = Client::of(remote)?.get("/api/v1/keys").await?;
    if json {
        output::document(&listed);
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = listed["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|key| {
            let state = if key["revoked"] == json!(true) { "revoked" } else { "active" };
            let cell = |name: &str| output::plain(&key[name]);
            vec![cell("id"), cell("actor"), cell("environment"), cell("roles"), state.to_owned()]
        })
        .collect();
    output::line(&output::table(&["id", "actor", "environment", "roles", "state"], &rows));
    Ok(ExitCode::SUCCESS)
}

async fn trust(remote: &Remote, out: &PathBuf, json: bool) -> Done {
    let reply =
        Client::of(remote)?.expect(Method::GET, "/.well-known/placet-keys", &[], None).await?;
    let trust = Trust::parse::<Fast>(&reply.body).map_err(|error| {
        Fault::new("trust_malformed", format!("the server's keys are refused: {error}"))
    })?;
    std::fs::write(out, trust.write() + "\n")
        .with_context(|| format!("{} cannot be written", out.display()))?;
    let keys: Vec<String> = trust.keys().iter().map(|key| key.key.to_string()).collect();
    if json {
        output::document(&json!({"file": out, "keys": keys}));
    } else {
        output::line(&format!("{} pins {} keys:", out.display(), keys.len()));
        keys.iter().for_each(|key| output::line(&format!("  {}", output::safe(key))));
        output::line("Compare them with what the operator published before you rely on them.");
    }
    Ok(ExitCode::SUCCESS)
}
