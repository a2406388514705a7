//! `key`: API keys of a workspace, and the trust file with the keys that sign its log.

use crate::client::{Client, Remote, escape, succeeded};
use crate::commands::{governed, verify};
use crate::exit::{Done, Fault};
use crate::local;
use crate::output;
use anyhow::Context;
use clap::{Args, Subcommand};
use hyper::Method;
use placet_runtime::crypto::Fast;
use placet_tlog::Trust;
use placet_tlog::trust::{KeyStatus, TrustKey};
use placet_types::ids::ActorId;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// API keys, and the keys that sign the log.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet key create agent:support --role support
  placet key create human:bob --role operator --role refund_approver --environment production
  placet key list
  placet key revoke key_018f…
  placet key trust --out placet-trust.json     # pin the signing keys once, then verify offline
  placet key trust --follow placet-trust.json  # take only keys that the pinned ones vouch for
  placet key rotate                            # hand every log over to a new signing key
  placet key revoke-signer VKEY --everywhere   # a former signing key was stolen")]
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
    /// Hand every log over to a new signing key. With two admins, the other one has to approve it.
    Rotate {
        /// Repeat with the same one after the approval.
        #[arg(long, value_name = "TEXT")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        remote: Remote,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a former signing key of the log: what it signed counts no more.
    RevokeSigner {
        /// Its verifier key, as the trust file has it.
        vkey: String,
        /// What it signed of fewer entries stays good: for sizes that witnesses or held receipts vouch for.
        #[arg(long, value_name = "N")]
        from_size: Option<u64>,
        /// In the logs of all workspaces; for admins of the first one.
        #[arg(long, conflicts_with = "from_size")]
        everywhere: bool,
        /// Repeat with the same one after the approval.
        #[arg(long, value_name = "TEXT")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        remote: Remote,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Save the keys that sign the server's logs, for `placet verify`.
    Trust {
        /// Take no key from the server but those that the keys pinned in this file handed over to.
        #[arg(long, value_name = "FILE")]
        follow: Option<PathBuf>,
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
            let key = governed::idempotency_key(idempotency_key.as_deref());
            let body = json!({
                "actor": actor.as_str(), "environment": environment, "roles": roles,
                "idempotency_key": key,
            });
            create(&remote, &body, &key, json).await
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
        KeyCommand::Rotate { idempotency_key, remote, json } => {
            change(&remote, "rotate", json!({}), idempotency_key, json).await
        }
        KeyCommand::RevokeSigner { vkey, from_size, everywhere, idempotency_key, remote, json } => {
            let mut body = json!({"vkey": vkey});
            if let Some(size) = from_size {
                body["from_size"] = size.into();
            }
            if everywhere {
                body["everywhere"] = true.into();
            }
            change(&remote, "revoke", body, idempotency_key, json).await
        }
        KeyCommand::Trust { follow, out, remote, json } => {
            trust(&remote, follow.as_deref(), &out, json).await
        }
    }
}

async fn create(remote: &Remote, body: &Value, key: &str, json: bool) -> Done {
    let client = Client::of(remote)?;
    let reply = succeeded(client.send(Method::POST, "/api/v1/keys", &[], Some(body)).await?)?;
    governed::answered(&reply, key, json, |made| {
        output::line(&format!("made a key for {}", output::plain(&body["actor"])));
        output::field("key", &output::plain(&made["key"]));
        output::line("The key is shown once. Keep it.");
    })
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

/// Rotates or revokes signing keys, as the constitution permits.
async fn change(
    remote: &Remote,
    what: &str,
    mut body: Value,
    idempotency_key: Option<String>,
    json: bool,
) -> Done {
    let key = governed::idempotency_key(idempotency_key.as_deref());
    body["idempotency_key"] = key.as_str().into();
    let client = Client::of(remote)?;
    let path = format!("/api/v1/signers/{what}");
    let reply = succeeded(client.send(Method::POST, &path, &[], Some(&body)).await?)?;
    governed::answered(&reply, &key, json, |done| {
        let rows: Vec<Vec<String>> = done["logs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|log| ["workspace", "index", "vkey"].map(|cell| output::plain(&log[cell])).into())
            .collect();
        output::line(if what == "rotate" { "rotated" } else { "revoked" });
        output::line(&output::table(&["workspace", "entry", "key"], &rows));
        output::line("Hand out new trust files: `placet key trust` writes the ranges of all keys.");
    })
}

async fn trust(remote: &Remote, follow: Option<&Path>, out: &Path, json: bool) -> Done {
    let client = Client::of(remote)?;
    let trust = match follow {
        None => {
            let reply = client.expect(Method::GET, "/.well-known/placet-keys", &[], None).await?;
            Trust::parse::<Fast>(&reply.body).map_err(|error| {
                Fault::new("trust_malformed", format!("the server's keys are refused: {error}"))
            })?
        }
        Some(pinned) => {
            let pinned = verify::read_trust(pinned)?;
            let path = "/.well-known/placet-handovers";
            let reply = client.expect(Method::GET, path, &[], None).await?;
            let chain = String::from_utf8_lossy(&reply.body);
            pinned.accept_chain(&chain).map_err(|error| verify::refused_handover(&error))?
        }
    };
    std::fs::write(out, trust.write() + "\n")
        .with_context(|| format!("{} cannot be written", out.display()))?;
    let keys: Vec<String> = trust.keys().iter().map(|key| key.key.to_string()).collect();
    let sizes = trust.keys().iter().map(range);
    if json {
        output::document(&json!({"file": out, "keys": keys}));
    } else {
        output::line(&format!("{} pins {} keys:", out.display(), keys.len()));
        for (key, sizes) in keys.iter().zip(sizes) {
            output::line(&format!("  {}  {sizes}", output::safe(key)));
        }
        output::line("Compare them with what the operator published before you rely on them.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Which trees a pinned key may sign, in words.
fn range(key: &TrustKey) -> String {
    match (key.status, key.to_size) {
        (KeyStatus::Revoked, _) => "revoked".to_owned(),
        (_, Some(to)) => format!("trees of {} to {to} entries", key.from_size),
        (_, None) if key.from_size == 0 => "all trees".to_owned(),
        (_, None) => format!("trees of {} entries and more", key.from_size),
    }
}
