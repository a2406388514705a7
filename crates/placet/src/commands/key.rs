//! `key`: API keys of a workspace, the keys that sign its log (rotating, revoking), and the trust file with them.

use crate::client::escape;
use crate::commands::ask::{Ask, Governed};
use crate::commands::verify;
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

/// API keys, and the keys that sign the log.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet key create agent:support --role support
  placet key create human:bob --role operator --role refund_approver --environment production
  placet key create human:bob --role operator --certificate bob.pem   # a client certificate opens it
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

/// A former signing key, and how far back it counts no more.
#[derive(Args, Debug)]
pub(crate) struct RevokeSigner {
    /// Its verifier key, as the trust file has it.
    vkey: String,
    /// What it signed of fewer entries stays good: for sizes that witnesses or held receipts vouch for.
    #[arg(long, value_name = "N")]
    from_size: Option<u64>,
    /// In the logs of all workspaces; for admins of the first one.
    #[arg(long, conflicts_with = "from_size")]
    everywhere: bool,
}

/// From which keys to begin, and where to.
#[derive(Args, Debug)]
struct Pin {
    /// Take no key from the server but those that the keys pinned in this file handed over to;
    /// revocations are taken.
    #[arg(long, value_name = "FILE")]
    follow: Option<PathBuf>,
    /// Where to.
    #[arg(long, default_value = "placet-trust.json", value_name = "FILE")]
    out: PathBuf,
    /// Write over a file that pins logs of which the server has no keys.
    #[arg(long)]
    replace: bool,
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
        /// Client certificate, in PEM, that opens it in place of a secret.
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
        #[command(flatten)]
        governed: Governed,
    },
    /// List the keys of the workspace.
    List {
        #[command(flatten)]
        ask: Ask,
    },
    /// Revoke a key, at once and for good.
    Revoke {
        /// `key_…`, without the secret part.
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Hand every log over to a new signing key. With two admins, the other one has to approve it.
    Rotate {
        #[command(flatten)]
        governed: Governed,
    },
    /// Revoke a former signing key of the log: what it signed counts no more.
    RevokeSigner {
        #[command(flatten)]
        signer: RevokeSigner,
        #[command(flatten)]
        governed: Governed,
    },
    /// Save the keys that sign the server's logs, for `placet verify`.
    Trust {
        #[command(flatten)]
        pin: Pin,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Runs it.
pub(crate) async fn run(args: KeyArgs) -> Done {
    match args.command {
        KeyCommand::Create { actor, environment, roles, certificate, governed } => {
            let mut body =
                json!({"actor": actor.as_str(), "environment": environment, "roles": roles});
            if let Some(file) = certificate {
                let pem = std::fs::read_to_string(&file)
                    .with_context(|| format!("read {}", file.display()))?;
                if pem.contains("PRIVATE KEY") {
                    let fault = Fault::usage(format!("{} holds a private key", file.display()));
                    return Err(fault.next("name the certificate; its key stays with you").into());
                }
                body["certificate"] = pem.into();
            }
            let made = |made: &Value| {
                output::line(&format!("made a key for {}", output::safe(actor.as_str())));
                if made["key"].is_string() {
                    output::field("key", &output::plain(&made["key"]));
                    output::line("The key is shown once. Keep it.");
                } else {
                    output::field("id", &output::plain(&made["id"]));
                    output::field("certificate", &output::plain(&made["certificate"]));
                    output::line("Whoever connects with this certificate is that actor.");
                }
            };
            governed.post("/api/v1/keys", body, made).await
        }
        KeyCommand::List { ask } => ask.get("/api/v1/keys", list).await,
        KeyCommand::Revoke { id, ask } => revoke_key(&ask, &id).await,
        KeyCommand::Rotate { governed } => {
            governed
                .post("/api/v1/signers/rotate", json!({}), |done| changed("rotated", done))
                .await
        }
        KeyCommand::RevokeSigner { signer, governed } => revoke_signer(&governed, signer).await,
        KeyCommand::Trust { pin, ask } => trust(&ask, &pin).await,
    }
}

/// Revokes an API key.
pub(crate) async fn revoke_key(ask: &Ask, id: &str) -> Done {
    // A pasted key is cut at its secret, which has no business in a URL.
    let id = id.split('.').next().unwrap_or_default();
    let path = format!("/api/v1/keys/{}", escape(id));
    ask.client()?.expect(Method::DELETE, &path, &[], None).await?;
    ask.show(&json!({"revoked": id}), |_| {
        output::line(&format!("revoked {}", output::safe(id)));
    })
}

/// Revokes a former signing key.
pub(crate) async fn revoke_signer(governed: &Governed, signer: RevokeSigner) -> Done {
    let mut body = json!({"vkey": signer.vkey});
    if let Some(size) = signer.from_size {
        body["from_size"] = size.into();
    }
    if signer.everywhere {
        body["everywhere"] = true.into();
    }
    governed.post("/api/v1/signers/revoke", body, |done| changed("revoked", done)).await
}

fn list(listed: &Value) {
    let rows: Vec<Vec<String>> = listed["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|key| {
            let state = if key["revoked"] == json!(true) { "revoked" } else { "active" };
            let cell = |name: &str| output::plain(&key[name]);
            // Enough of the hash to tell certificates apart; --json has all of it.
            let opened = key["certificate"].as_str().map_or_else(
                || "secret".to_owned(),
                |hash| format!("certificate {}", hash.get(..16).unwrap_or(hash)),
            );
            let [id, actor, environment, roles] = ["id", "actor", "environment", "roles"].map(cell);
            vec![id, actor, environment, roles, output::safe(&opened).to_string(), state.to_owned()]
        })
        .collect();
    output::line(&output::table(
        &["id", "actor", "environment", "roles", "opened by", "state"],
        &rows,
    ));
}

/// Signing keys that were rotated or revoked.
fn changed(what: &str, done: &Value) {
    let rows: Vec<Vec<String>> = done["logs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|log| ["workspace", "index", "vkey"].map(|cell| output::plain(&log[cell])).into())
        .collect();
    output::line(what);
    output::line(&output::table(&["workspace", "entry", "key"], &rows));
    output::line("Hand out new trust files: `placet key trust` writes the ranges of all keys.");
}

async fn trust(ask: &Ask, Pin { follow, out, replace }: &Pin) -> Done {
    let client = ask.client()?;
    let reply = client.expect(Method::GET, "/.well-known/placet-keys", &[], None).await?;
    let announced = Trust::parse::<Fast>(&reply.body).map_err(|error| {
        Fault::new("trust_malformed", format!("the server's keys are refused: {error}"))
    })?;
    let trust = match follow {
        None => announced,
        Some(pinned) => {
            let pinned = verify::read_trust(pinned)?;
            let path = "/.well-known/placet-handovers";
            let reply = client.expect(Method::GET, path, &[], None).await?;
            let chain = String::from_utf8_lossy(&reply.body);
            let followed = pinned.follow(&chain, &announced);
            followed.map_err(|error| verify::refused_handover(&error))?
        }
    };
    if !replace {
        refuse_loss(out, &trust)?;
    }
    std::fs::write(out, trust.write() + "\n")
        .with_context(|| format!("{} cannot be written", out.display()))?;
    let keys: Vec<String> = trust.keys().iter().map(|key| key.key.to_string()).collect();
    let sizes = trust.keys().iter().map(range);
    ask.show(&json!({"file": out, "keys": keys}), |_| {
        output::line(&format!("{} pins {} keys:", out.display(), keys.len()));
        for (key, sizes) in keys.iter().zip(sizes) {
            output::line(&format!("  {}  {sizes}", output::safe(key)));
        }
        output::line("Compare them with what the operator published before you rely on them.");
    })
}

/// Refuses to write over a file that pins what would be gone then.
fn refuse_loss(out: &Path, trust: &Trust) -> Result<(), Fault> {
    // A device is none.
    let Some(held) = out.is_file().then(|| std::fs::read(out).ok()).flatten() else {
        return Ok(());
    };
    let refused = |what: String| {
        let next = "name another file with --out, or --replace to write over it";
        Err(Fault::usage(format!("{} {what}", out.display())).next(next))
    };
    match Trust::parse::<Fast>(&held) {
        _ if held.trim_ascii().is_empty() => Ok(()),
        Err(_) => refused("holds something else than pinned keys".to_owned()),
        Ok(held) => match held.keys().iter().find(|key| !trust.knows(key.key.name())) {
            None => Ok(()),
            Some(key) => {
                refused(format!("pins {}, of which the server has no keys", key.key.name()))
            }
        },
    }
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
