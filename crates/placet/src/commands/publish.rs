//! `policy publish`, `rollback`, `release`, `history`, `withdraw`, `review`, `author`, and the
//! signatures of authors: the life of a bundle from the command line. Refuses to know the
//! constitution; the server asks it.

use crate::client::escape;
use crate::commands::ask::{Ask, Governed, show};
use crate::exit::{Done, Fault};
use crate::local;
use crate::output;
use anyhow::Context;
use clap::Subcommand;
use placet_policy::read_dir;
use placet_runtime::crypto::{Fast, MemorySigner, SystemEntropy};
use placet_runtime::ports::Signer;
use placet_tlog::{BundleSignature, VerifierKey};
use placet_types::hash::{hex_decode, hex_encode};
use placet_types::json::{self, Limits};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const POLICIES: &str = "/api/v1/policies";
/// First line of the file of an author's key.
const KEY_TYPE: &str = "placet/author-key/1";

#[derive(Subcommand, Debug)]
pub(crate) enum LifeCommand {
    /// Publish a bundle. With two admins, the other one has to approve it, and so releases it.
    Publish {
        /// Directory of YAML documents.
        #[arg(long, value_name = "DIR")]
        bundle: PathBuf,
        /// Why, for those who approve and for the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Envelope that `placet policy sign` wrote.
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        /// Digest of the bundle that it was compared with; refused if another one is in force.
        #[arg(long, value_name = "DIGEST")]
        replaces: Option<String>,
        #[command(flatten)]
        governed: Governed,
    },
    /// Go back: to the bundle before at once, by one person, to be reviewed; to any other by two.
    Rollback {
        /// Digest of a bundle that was in force.
        #[arg(long, value_name = "DIGEST")]
        to: Option<String>,
        /// Why, for those who review or approve and for the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        governed: Governed,
    },
    /// Put an approved bundle in force, as its author or as one who approved it.
    Release {
        /// `dec_…`
        decision: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// List the bundles that are or were in force, newest first.
    History {
        /// How many.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
        limit: u16,
        /// Go on where the page before ended.
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show what decides now: bundle, drafts, open reviews, authors.
    Current {
        #[command(flatten)]
        ask: Ask,
    },
    /// Never let a bundle be in force again.
    Withdraw {
        /// Its digest.
        digest: String,
        /// Code of the matter; no names, it stands in the log for good.
        #[arg(long, value_name = "CODE")]
        reason: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Close the review of somebody else's emergency rollback.
    Review {
        /// The decision, `dec_…`.
        decision: String,
        /// What was found.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Say whose signature counts. From the first author on, every bundle has to be signed.
    Author {
        /// What to do with the key.
        #[arg(value_parser = ["trust", "revoke"])]
        change: String,
        /// Verifier key of the author (`placet policy keygen`). It stands in the log for good.
        vkey: String,
        #[command(flatten)]
        governed: Governed,
    },
    /// Make the key of an author.
    Keygen {
        /// Name under which it signs: of a team or a role, not of a person.
        name: String,
        /// Where to; the file must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Sign the digest of a bundle; prints a DSSE envelope.
    Sign {
        /// Directory of YAML documents.
        #[arg(long, value_name = "DIR")]
        bundle: PathBuf,
        /// File that `placet policy keygen` wrote.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Check, offline, that an author signed a bundle.
    Verify {
        /// Directory of YAML documents.
        #[arg(long, value_name = "DIR")]
        bundle: PathBuf,
        /// Envelope that `placet policy sign` wrote.
        #[arg(long, value_name = "FILE")]
        signature: PathBuf,
        /// Verifier key of an author who is believed; may be repeated.
        #[arg(long, value_name = "VKEY", required = true)]
        author: Vec<String>,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
pub(crate) async fn run(command: LifeCommand) -> Done {
    match command {
        LifeCommand::Publish { bundle, reason, signature, replaces, governed } => {
            // What does not compile is said here, with the places in the files.
            local::compile(&bundle)?;
            let sources = read_dir(&bundle)
                .with_context(|| format!("{} cannot be read", bundle.display()))?;
            let sources: Vec<Value> = sources
                .iter()
                .map(|source| json!({"name": source.name, "text": source.text}))
                .collect();
            let mut body = json!({"sources": sources});
            set(&mut body, "reason", reason);
            set(&mut body, "replaces", replaces);
            if let Some(file) = signature {
                body["signature"] = serde_json::from_slice(&envelope_bytes(&file)?)
                    .with_context(|| format!("{} is no JSON", file.display()))?;
            }
            governed.post(POLICIES, body, armed).await
        }
        LifeCommand::Rollback { to, reason, governed } => {
            let mut body = json!({});
            set(&mut body, "bundle", to);
            set(&mut body, "reason", reason);
            governed.post(&format!("{POLICIES}/rollback"), body, armed).await
        }
        LifeCommand::Release { decision, ask } => {
            let path = format!("{POLICIES}/release");
            let body = json!({"decision": decision});
            ask.post(&path, &body, armed).await
        }
        LifeCommand::History { limit, cursor, ask } => {
            let cursor = cursor.map(|cursor| format!("&cursor={}", escape(&cursor)));
            let path = format!("{POLICIES}?limit={limit}{}", cursor.unwrap_or_default());
            ask.get(&path, history).await
        }
        LifeCommand::Current { ask } => ask.get(&format!("{POLICIES}/current"), current).await,
        LifeCommand::Withdraw { digest, reason, ask } => {
            let path = format!("{POLICIES}/{}/withdraw", escape(&digest));
            let withdrawn = format!("withdrawn {}", output::safe(&digest));
            ask.post(&path, &json!({"reason": reason}), |_| output::line(&withdrawn)).await
        }
        LifeCommand::Review { decision, note, ask } => {
            let path = format!("{POLICIES}/reviews/{}", escape(&decision));
            let mut body = json!({});
            set(&mut body, "note", note);
            let reviewed = format!("reviewed {}", output::safe(&decision));
            ask.post(&path, &body, |_| output::line(&reviewed)).await
        }
        LifeCommand::Author { change, vkey, governed } => {
            let revoke = change == "revoke";
            let path = format!("{POLICIES}/authors{}", if revoke { "/revoke" } else { "" });
            let status = |done: &Value| output::line(&output::plain(&done["status"]));
            governed.post(&path, json!({"key": vkey}), status).await
        }
        LifeCommand::Keygen { name, out, json } => keygen(&name, &out, json),
        LifeCommand::Sign { bundle, key } => {
            let bundle = local::compile(&bundle)?;
            let (key, signer) = read_key(&key)?;
            let signed = BundleSignature::sign(bundle.digest(), key, |bytes| signer.sign(bytes));
            output::line(&signed.envelope().to_text());
            Ok(ExitCode::SUCCESS)
        }
        LifeCommand::Verify { bundle, signature, author, json } => {
            verify(&bundle, &signature, &author, json)
        }
    }
}

fn set(body: &mut Value, name: &str, value: Option<String>) {
    if let Some(value) = value {
        body[name] = value.into();
    }
}

fn armed(done: &Value) {
    output::line(&format!("in force {}", output::plain(&done["bundle"])));
    output::field("how", &output::plain(&done["how"]));
    output::field("since", &output::plain(&done["since"]));
    output::field("decision", &output::plain(&done["decision"]));
    if let Some(until) = done["review_by"].as_str() {
        output::field("review", &format!("by another person, until {until}"));
    }
}

fn history(listed: &Value) {
    let rows: Vec<Vec<String>> = listed["policies"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            let cell = |name: &str| match &one[name] {
                Value::Null => String::new(),
                value => output::plain(value),
            };
            let mut how = cell("how");
            if one["withdrawn"] == json!(true) {
                how.push_str(", withdrawn");
            }
            let since = cell("since");
            vec![since, cell("bundle"), how, cell("author"), cell("approvers"), cell("reason")]
        })
        .collect();
    let head = ["since", "bundle", "how", "author", "approved by", "reason"];
    output::line(&output::table(&head, &rows));
    if let Some(cursor) = listed["next_cursor"].as_str() {
        output::line(&format!("more with --cursor {}", output::safe(cursor)));
    }
}

fn current(now: &Value) {
    match &now["bundle"] {
        Value::Null => output::line("no bundle is in force: everything is SILENCE"),
        bundle => output::line(&format!("in force {}", output::plain(bundle))),
    }
    if let Some(why) = now["lost"].as_str() {
        output::field("lost", &output::safe(why));
    }
    if now["preceding"].is_string() {
        output::field("before", &output::plain(&now["preceding"]));
    }
    for (name, cells) in [
        ("drafts", &["bundle", "since", "by"][..]),
        ("reviews", &["decision", "by", "due"]),
        ("authors", &["key", "by", "since"]),
    ] {
        for one in now[name].as_array().into_iter().flatten() {
            let cells: Vec<String> = cells.iter().map(|it| output::plain(&one[*it])).collect();
            output::field(name.trim_end_matches('s'), &cells.join("  "));
        }
    }
}

fn keygen(name: &str, out: &Path, json: bool) -> Done {
    let seed = SystemEntropy.secret();
    let signer = MemorySigner::from_seed(&seed).context("the seed is no Ed25519 key")?;
    let key = VerifierKey::new::<Fast>(name, signer.public_key())
        .map_err(|error| Fault::usage(format!("{name:?}: {error}")))?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(out).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Fault::new("target_exists", format!("{} is there already", out.display())).into()
        }
        _ => anyhow::Error::new(error).context(format!("{} cannot be written", out.display())),
    })?;
    writeln!(file, "{KEY_TYPE}\n{key}\n{}", hex_encode(seed.as_ref()))
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{} cannot be written", out.display()))?;
    let text = key.to_string();
    show(&json!({"file": out, "vkey": text}), json, |_| output::line(&text))
}

pub(super) fn read_key(path: &Path) -> anyhow::Result<(VerifierKey, MemorySigner)> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let malformed = || {
        let detail = format!("{} is no key of an author", path.display());
        Fault::usage(detail).next("make one with `placet policy keygen NAME --out FILE`")
    };
    let mut lines = text.lines();
    let (Some(KEY_TYPE), Some(key), Some(seed)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(malformed().into());
    };
    let key = VerifierKey::parse::<Fast>(key).map_err(|_| malformed())?;
    let mut bytes = [0; 32];
    hex_decode(seed, &mut bytes).ok_or_else(malformed)?;
    let signer = MemorySigner::from_seed(&bytes).ok_or_else(malformed)?;
    if signer.public_key() != *key.public_key() {
        return Err(malformed().into());
    }
    Ok((key, signer))
}

fn envelope_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    local::read_input(&path.to_string_lossy())
}

fn verify(dir: &Path, signature: &Path, authors: &[String], json: bool) -> Done {
    let refused = |why: String| Fault::new("bundle_unsigned", why);
    let mut believed = Vec::new();
    for text in authors {
        let key = VerifierKey::parse::<Fast>(text)
            .map_err(|error| Fault::usage(format!("--author {text:?}: {error}")))?;
        believed.push(key);
    }
    let bundle = local::compile(dir)?;
    let value = json::parse(&envelope_bytes(signature)?, Limits::DOCUMENT)
        .map_err(|error| refused(format!("{}: {error}", signature.display())))?;
    let signed = BundleSignature::parse::<Fast>(&value)
        .map_err(|error| refused(format!("{}: {error}", signature.display())))?;
    if signed.digest() != bundle.digest() {
        let why = format!("it signs {}, and this bundle is {}", signed.digest(), bundle.digest());
        return Err(refused(why).into());
    }
    if !believed.contains(signed.key()) {
        return Err(refused(format!("{} is none of the authors named", signed.key())).into());
    }
    if !signed.verifies() {
        return Err(refused(format!("the signature is not one of {}", signed.key())).into());
    }
    let (digest, key) = (bundle.digest().to_string(), signed.key().to_string());
    show(&json!({"verified": true, "bundle": digest, "signed_by": key}), json, |_| {
        output::line(&format!("verified {digest}"));
        output::field("author", &output::safe(&key));
    })
}
