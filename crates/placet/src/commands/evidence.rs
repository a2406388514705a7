//! `evidence`: what somebody vouches for about a digest, signed or not, and the keys of those who sign.
//! Refuses to know what counts; policy says which evidence an action needs.

use crate::client::escape;
use crate::commands::ask::{Ask, Governed};
use crate::commands::delegate::{instant, span};
use crate::commands::publish::read_key;
use crate::exit::{Done, Fault};
use crate::local;
use crate::output;
use anyhow::Result;
use clap::{Args, Subcommand};
use placet_runtime::crypto::Fast;
use placet_runtime::ports::Signer as _;
use placet_tlog::envelope::{Envelope, PREDICATE_PREFIX, Statement};
use placet_types::Digest;
use placet_types::hash::Hasher as _;
use placet_types::ids::TimeMs;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const EVIDENCE: &str = "/api/v1/evidence";

/// Evidence: typed, digested, expiring proof that something was done.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet evidence add test_report --file report.xml --subject sha256:9f86…
  placet evidence add --envelope provenance.dsse.json
  placet evidence list --about sha256:9f86…
  placet evidence show evd_018f…
  placet evidence revoke evd_018f… --reason tests-were-wrong
  placet evidence sign test_report --file report.xml --subject sha256:9f86… --key ci.key > report.dsse.json
  placet evidence trust service:ci ci+1a2b3c4d+A…   # with two admins, the other one has to approve it")]
pub(crate) struct EvidenceArgs {
    #[command(subcommand)]
    command: EvidenceCommand,
}

#[derive(Subcommand, Debug)]
enum EvidenceCommand {
    /// Add a piece: one's own word, or an envelope that its issuer signed
    Add {
        /// What it shows: test_report, review, scan.
        #[arg(
            value_name = "TYPE",
            required_unless_present = "envelope",
            conflicts_with = "envelope"
        )]
        kind: Option<String>,
        /// DSSE envelope with an in-toto Statement; `-` reads standard input.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "digest", "note"])]
        envelope: Option<PathBuf>,
        #[command(flatten)]
        what: What,
        /// Digest of what it speaks of; of an envelope, which of several.
        #[arg(long, value_name = "sha256:HEX", value_parser = digest)]
        subject: Option<Digest>,
        /// Of an envelope that several have signed: whose word it is.
        #[arg(long, value_name = "ACTOR", requires = "envelope")]
        issuer: Option<String>,
        #[command(flatten)]
        times: Times,
        /// In words, for people.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show a piece, with its envelope or note
    Show {
        /// `evd_…`
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// List pieces, newest first
    List {
        /// Only those of this type.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Only those that speak of this digest.
        #[arg(long, value_name = "sha256:HEX", value_parser = digest)]
        about: Option<Digest>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Take a piece back: nothing new rests on it
    Revoke {
        /// `evd_…`
        id: String,
        /// Code of the matter; no names, it stands in the log for good.
        #[arg(long, value_name = "CODE")]
        reason: String,
        /// In words, for people.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Sign a statement as an issuer, offline; prints the envelope
    Sign {
        /// What it shows: test_report, review, scan.
        #[arg(value_name = "TYPE")]
        kind: String,
        /// The evidence itself: its digest is part of the statement.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Digest of what it speaks of.
        #[arg(long, value_name = "sha256:HEX", value_parser = digest)]
        subject: Digest,
        #[command(flatten)]
        times: Times,
        /// The key that `placet policy keygen` made.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Trust the key of an issuer: what it signs is the issuer's word
    Trust {
        /// Whose key: service:NAME, human:NAME.
        #[arg(value_name = "ACTOR")]
        issuer: String,
        /// Verifier key (`placet policy keygen`). It stands in the log for good.
        #[arg(value_name = "KEY")]
        verifier: String,
        /// Trust it no more, for good; what it signed counts no more either.
        #[arg(long)]
        revoke: bool,
        #[command(flatten)]
        governed: Governed,
    },
    /// List the keys of issuers
    Keys {
        #[command(flatten)]
        ask: Ask,
    },
}

#[derive(Args, Debug)]
#[group(multiple = false)]
struct What {
    /// The evidence itself: its digest is taken, the file stays where it is.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The digest of the evidence, instead.
    #[arg(long, value_name = "sha256:HEX", value_parser = digest)]
    digest: Option<Digest>,
}

#[derive(Args, Debug)]
struct Times {
    /// When it was issued (RFC 3339); now without it.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    issued: Option<TimeMs>,
    /// Until when it counts (RFC 3339); for ninety days without it.
    #[arg(long, value_name = "TIME", value_parser = instant, conflicts_with = "for_")]
    expires: Option<TimeMs>,
    /// How long it counts, instead: `8h`, `30d`.
    #[arg(long = "for", id = "for_", value_name = "TIME", value_parser = span)]
    for_: Option<u64>,
}

impl Times {
    fn issued(&self) -> TimeMs {
        self.issued.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            TimeMs(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
        })
    }

    fn expires(&self) -> Option<TimeMs> {
        self.expires.or_else(|| self.for_.map(|span| self.issued().plus(span)))
    }
}

pub(super) fn digest(text: &str) -> std::result::Result<Digest, String> {
    Digest::parse(text).ok_or_else(|| "expected sha256: and 64 hex digits".to_owned())
}

/// Runs it.
pub(crate) async fn run(args: EvidenceArgs) -> Done {
    match args.command {
        EvidenceCommand::Add { kind, envelope, what, subject, issuer, times, note, ask } => {
            let body = match envelope {
                Some(file) => {
                    if times.issued.is_some() || times.expires().is_some() {
                        let text = "an envelope says its times itself";
                        return Err(Fault::usage(text).into());
                    }
                    let bytes = local::read_input(&file.to_string_lossy())?;
                    let envelope: Value = serde_json::from_slice(&bytes).map_err(|error| {
                        Fault::usage(format!("{} is not JSON: {error}", file.display()))
                    })?;
                    some(json!({"envelope": envelope, "issuer": issuer,
                                "subject": subject.map(|it| it.to_string())}))
                }
                None => {
                    let digest = match (what.digest, what.file) {
                        (Some(digest), _) => digest,
                        (None, Some(file)) => of_file(&file)?,
                        (None, None) => {
                            return Err(Fault::usage("say --file or --digest").into());
                        }
                    };
                    let subject = subject.ok_or_else(|| Fault::usage("say --subject of what"))?;
                    some(json!({"type": kind, "digest": digest.to_string(),
                                "subject": subject.to_string(), "note": note,
                                "issued": times.issued.map(TimeMs::rfc3339),
                                "expires": times.expires().map(TimeMs::rfc3339)}))
                }
            };
            ask.post(EVIDENCE, &body, show).await
        }
        EvidenceCommand::Show { id, ask } => {
            ask.get(&format!("{EVIDENCE}/{}", escape(&id)), show).await
        }
        EvidenceCommand::List { kind, about, ask } => list(&ask, kind, about).await,
        EvidenceCommand::Revoke { id, reason, note, ask } => {
            let body = some(json!({"reason": reason, "note": note}));
            ask.post(&format!("{EVIDENCE}/{}/revoke", escape(&id)), &body, show).await
        }
        EvidenceCommand::Sign { kind, file, subject, times, key } => {
            sign(&kind, file.as_deref(), subject, &times, &key)
        }
        EvidenceCommand::Trust { issuer, verifier, revoke, governed } => {
            let path = format!("{EVIDENCE}/keys{}", if revoke { "/revoke" } else { "" });
            let done = |done: &Value| output::line(&output::plain(&done["status"]));
            governed.post(&path, json!({"issuer": issuer, "key": verifier}), done).await
        }
        EvidenceCommand::Keys { ask } => {
            ask.get(&format!("{EVIDENCE}/keys"), |listed| {
                let cells = ["issuer", "key", "by", "since", "revoked"];
                let rows: Vec<Vec<String>> = listed["keys"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|key| cells.map(|cell| output::plain(&key[cell])).into())
                    .collect();
                output::line(&output::table(&cells, &rows));
            })
            .await
        }
    }
}

/// The members that say something.
pub(super) fn some(mut body: Value) -> Value {
    if let Some(object) = body.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    body
}

fn of_file(path: &Path) -> Result<Digest> {
    Ok(Digest(Fast::sha256(&[&local::read_input(&path.to_string_lossy())?])))
}

fn show(piece: &Value) {
    output::line(&output::plain(&piece["id"]));
    for name in ["type", "state", "digest", "subject", "issuer", "issued", "expires", "attested"] {
        output::field(name, &output::plain(&piece[name]));
    }
    for name in ["key", "note"] {
        if piece[name].is_string() {
            output::field(name, &output::plain(&piece[name]));
        }
    }
    if piece["envelope"].is_object() {
        output::field("envelope", "with --json");
    }
}

async fn list(ask: &Ask, kind: Option<String>, about: Option<Digest>) -> Done {
    let kind = kind.map(|kind| format!("type={}", escape(&kind)));
    let about = about.map(|about| format!("about={}", escape(&about.to_string())));
    let filter: Vec<String> = kind.into_iter().chain(about).collect();
    let path = format!("{EVIDENCE}?{}", filter.join("&"));
    let listed =
        json!({"evidence": ask.client()?.all(path.trim_end_matches('?'), "evidence").await?});
    ask.show(&listed, |listed| {
        let cells = ["id", "type", "subject", "issuer", "expires", "attested", "state"];
        let rows: Vec<Vec<String>> = listed["evidence"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|piece| cells.map(|cell| output::plain(&piece[cell])).into())
            .collect();
        if rows.is_empty() {
            output::line("no evidence");
            return;
        }
        output::line(&output::table(&cells, &rows));
    })
}

fn sign(kind: &str, file: Option<&Path>, subject: Digest, times: &Times, key: &Path) -> Done {
    let (key, signer) = read_key(key)?;
    let issued = times.issued();
    let mut predicate = json!({"issued": issued.rfc3339()});
    if let Some(expires) = times.expires() {
        predicate["expires"] = expires.rfc3339().into();
    }
    if let Some(file) = file {
        predicate["evidence"] = json!({"digest": of_file(file)?.to_string()});
    }
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "predicate": predicate,
        "predicateType": format!("{PREDICATE_PREFIX}{kind}"),
        "subject": [{"digest": {"sha256": subject.hex()}}],
    });
    let payload = statement.to_string();
    Statement::parse::<Fast>(payload.as_bytes())
        .map_err(|error| Fault::usage(format!("{}: {error}", error.field())))?;
    let envelope = Envelope::sign(payload.as_bytes(), &key.to_string(), |bytes| signer.sign(bytes));
    output::line(&envelope.to_text());
    Ok(std::process::ExitCode::SUCCESS)
}
