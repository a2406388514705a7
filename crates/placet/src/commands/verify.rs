//! `verify`: receipts, offline, against pinned keys. Owns the questions asked of an entry above the
//! proof; refuses to take a key from anywhere but the trust file or the URL named.

use super::compare;
use crate::client::{Client, Remote, Tls};
use crate::exit::{self, Done, Fault};
use crate::local;
use crate::output;
use anyhow::{Context, Result};
use clap::Args;
use hyper::Method;
use placet_runtime::check_handover;
use placet_tlog::compare::{EvidenceError, Fork};
use placet_tlog::receipt::is_receipt;
use placet_tlog::trust::ChainError;
use placet_tlog::verify::{PortableHasher, Verified, Verifier, VerifyError, verify_receipt};
use placet_tlog::{Policy, Receipt, Trust};
use placet_types::Digest;
use placet_types::event::{Entry, Event};
use placet_types::hash::{Hasher, hex_decode, hex_encode};
use placet_types::ids::TimeMs;
use serde_json::{Value, json};
use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Verify receipts offline with pinned keys: exit 0 verified, 1 refused.
///
/// A receipt proves what was decided and that the log holds it. That an action may execute now is
/// asked with --expect PERMIT; that it was this action, with --digest and --salt. Evidence of a fork,
/// which --compare prints, is checked as well; it proves no entry, so a proven fork exits 1 with `fork`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet key trust                                   # once: pin the keys that sign the log
  placet verify receipt.txt
  placet verify receipt.txt --trust partner-trust.json --expect PERMIT --json
  placet verify receipt.txt --digest sha256:… --salt 5f…
  placet verify receipt.txt --witnesses policy.txt   # a quorum of witnesses has seen the log so
  placet verify receipt.txt --handover handover.txt  # the pinned key has handed over since
  placet verify --compare mine.txt theirs.txt        # can one log have signed both?")]
pub(crate) struct VerifyArgs {
    /// Receipts, or evidence of a fork; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Trust file with the pinned keys [env: PLACET_TRUST] [default: ./placet-trust.json]
    // Not by the parser: what stands in the environment conflicts with no --keys.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Take the keys from this server instead, and so believe it.
    #[arg(long, value_name = "URL", conflicts_with = "trust")]
    keys: Option<String>,
    /// Refuse any other outcome; PERMIT also holds for the collected permit of an approved action.
    #[arg(long, value_name = "OUTCOME")]
    expect: Option<String>,
    /// Action digest that the entry has to commit to.
    #[arg(long, value_name = "sha256:HEX", requires = "salt")]
    digest: Option<String>,
    /// Salt of that commitment, which whoever may see the payload has.
    #[arg(long, value_name = "HEX", requires = "digest", conflicts_with = "compare")]
    salt: Option<String>,
    /// Witness policy (C2SP tlog-policy) whose quorum has to have cosigned the checkpoint.
    #[arg(long, value_name = "FILE")]
    witnesses: Option<PathBuf>,
    /// Follow a handover from a pinned key: the receipt of its log entry, or handovers one after the
    /// other as /.well-known/placet-handovers has them. Repeat for more, oldest first.
    #[arg(long, value_name = "FILE")]
    handover: Vec<String>,
    /// Take two receipts or signed checkpoints and say whether one log can have signed both.
    #[arg(long, conflicts_with_all = ["expect", "digest", "witnesses"])]
    compare: bool,
    /// Consistency proof between the two, a hash in base64 per line.
    #[arg(long, value_name = "FILE", requires = "compare")]
    proof: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Why a receipt is refused: a stable code and a line for people.
struct Refused {
    code: &'static str,
    why: String,
}

impl Refused {
    fn of(code: &'static str, error: &dyn std::error::Error) -> Self {
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            why = format!("{why}: {error}");
            cause = error.source();
        }
        Self { code, why }
    }
}

impl From<VerifyError> for Refused {
    fn from(error: VerifyError) -> Self {
        Self::of(error.code(), &error)
    }
}

impl From<EvidenceError> for Refused {
    fn from(error: EvidenceError) -> Self {
        let code = match error {
            EvidenceError::TooLarge | EvidenceError::Text => "evidence_malformed",
            EvidenceError::First(error) | EvidenceError::Second(error) => error.code(),
            EvidenceError::NoFork => "no_fork",
        };
        Self::of(code, &error)
    }
}

/// What a file proves.
enum Proven {
    /// The log holds this entry.
    Entry(Box<(Verified, Entry)>),
    /// The log signed what cannot both be true.
    Fork(Box<Fork>),
}

/// Runs it.
pub(crate) async fn run(args: VerifyArgs) -> Done {
    let trust = follow(trust(&args).await?, &args.handover)?;
    if args.compare {
        return compare::run(&args.files, &trust, args.proof.as_deref(), args.json);
    }
    let asked = Asked::new(&args)?;
    let policy = args.witnesses.as_deref().map(witness_policy).transpose()?;
    let verifier = Verifier::new(&trust);
    let mut verifier = match &policy {
        Some(policy) => verifier.with_witnesses(policy),
        None => verifier,
    };
    let mut documents = Vec::new();
    let mut refused = 0;
    for file in &args.files {
        let bytes = local::read_input(file)?;
        let result = match compare::evidence_in(&bytes) {
            Some(text) => asked.of_evidence(text, &trust, policy.is_some()),
            None => verifier.verify(&bytes).map_err(Refused::from).and_then(|verified| {
                asked.of(&verified).map(|entry| Proven::Entry(Box::new((verified, entry))))
            }),
        };
        // Evidence proves no entry: whoever goes on with exit 0 has a receipt.
        if !matches!(result, Ok(Proven::Entry(_))) {
            refused += 1;
        }
        if args.json {
            documents.push(document(file, &result));
        } else {
            print(file, &result);
        }
    }
    if args.json {
        match documents.as_slice() {
            [one] => output::document(one),
            many => output::document(&json!({"verified": refused == 0, "receipts": many})),
        }
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) })
}

fn witness_policy(path: &Path) -> Result<Policy> {
    let bytes = std::fs::read(path).map_err(|error| {
        Fault::new("witness_policy_malformed", format!("{}: {error}", path.display()))
    })?;
    let policy = Policy::parse::<PortableHasher>(&bytes).map_err(|error| {
        Fault::new("witness_policy_malformed", format!("{}: {error}", path.display()))
            .next("a policy has witness, group and quorum lines (C2SP tlog-policy)")
    })?;
    Ok(policy)
}

async fn trust(args: &VerifyArgs) -> Result<Trust> {
    let bytes = match &args.keys {
        Some(url) => {
            let remote =
                Remote { url: url.clone(), key: None, workspace: None, tls: Tls::default() };
            let client = Client::of(&remote)?;
            let reply = client.expect(Method::GET, "/.well-known/placet-keys", &[], None).await?;
            reply.body.to_vec()
        }
        None => {
            let file = args.trust.clone().or_else(|| env::var_os("PLACET_TRUST").map(Into::into));
            return read_trust(&file.unwrap_or_else(|| "./placet-trust.json".into()));
        }
    };
    parse_trust(&bytes)
}

/// The pinned keys of a trust file.
///
/// # Errors
/// When it is missing or malformed.
pub(super) fn read_trust(path: &Path) -> Result<Trust> {
    let bytes = std::fs::read(path).map_err(|error| {
        let detail = format!("no trust file at {}: {error}", path.display());
        Fault::new("trust_missing", detail)
            .next("pin the log's keys with `placet key trust`, or name a file with --trust")
    })?;
    parse_trust(&bytes)
}

fn parse_trust(bytes: &[u8]) -> Result<Trust> {
    Trust::parse::<PortableHasher>(bytes)
        .map_err(|error| Fault::new("trust_malformed", error.to_string()))
        .context("the pinned keys cannot be used")
}

/// A link of a chain that is refused, as it is reported.
pub(super) fn refused_handover(error: &ChainError) -> Fault {
    let detail = format!("{error} ({}): {}", error.error.code(), error.error);
    Fault::new("handover_refused", detail)
        .next("take a new trust file from the log's operator, over a way that you trust")
}

/// The pinned keys and those that they have handed over to. What vouches is the note that both keys
/// signed; its receipt shows besides that the log holds it.
fn follow(mut trust: Trust, files: &[String]) -> Result<Trust> {
    let mut receipts = Vec::new();
    for file in files {
        let bytes = local::read_input(file)?;
        let malformed = |why: &str| Fault::new("handover_refused", format!("{file}: {why}"));
        let chain = if is_receipt(&bytes) {
            let receipt = Receipt::parse(&bytes).map_err(|error| malformed(&error.to_string()))?;
            let entry =
                Entry::parse(&receipt.entry).map_err(|error| malformed(&error.to_string()))?;
            let Event::SignerRotated(event) = entry.event else {
                return Err(malformed("its entry is not signer.rotated").into());
            };
            check_handover(&event, receipt.index).map_err(|why| malformed(&why))?;
            receipts.push((file, bytes));
            event.note
        } else {
            String::from_utf8(bytes).map_err(|_| malformed("it is not text"))?
        };
        trust = trust.accept_chain(&chain).map_err(|error| refused_handover(&error))?;
    }
    for (file, bytes) in receipts {
        verify_receipt(&bytes, &trust).map_err(|error| {
            Fault::new("handover_refused", format!("{file} ({}): {error}", error.code()))
        })?;
    }
    Ok(trust)
}

/// What is asked of an entry beyond its being in the log.
struct Asked {
    expect: Option<String>,
    digest: Option<(Digest, [u8; 32])>,
}

impl Asked {
    fn new(args: &VerifyArgs) -> Result<Self> {
        let digest = match (&args.digest, &args.salt) {
            (Some(digest), Some(salt)) => {
                let digest = Digest::parse(digest)
                    .ok_or_else(|| Fault::usage("--digest takes sha256: and 64 hex digits"))?;
                let mut bytes = [0; 32];
                hex_decode(salt, &mut bytes)
                    .ok_or_else(|| Fault::usage("--salt takes 64 hex digits"))?;
                Some((digest, bytes))
            }
            _ => None,
        };
        if let Some(word) = &args.expect
            && placet_types::policy::Outcome::parse(word).is_none()
        {
            let detail = format!("{word:?} is no outcome");
            return Err(Fault::usage(detail)
                .next("outcomes are PERMIT, REQUIRE_APPROVAL, THROTTLE, DENY, SILENCE")
                .into());
        }
        Ok(Self { expect: args.expect.clone(), digest })
    }

    fn of(&self, verified: &Verified) -> Result<Entry, Refused> {
        let entry = Entry::parse(&verified.entry)
            .map_err(|error| Refused { code: "entry_malformed", why: error.to_string() })?;
        if let Some(expected) = &self.expect {
            let found = authority(&entry.event);
            if found != Some(expected.as_str()) {
                let found = found.unwrap_or(entry.event.type_name());
                let hint = match entry.event.type_name() {
                    "permit.consumed" => {
                        "; a decision has a receipt for each of its entries, and that of the outcome is \
                         GET /api/v1/receipts/{id}?index={its log index}"
                    }
                    _ => "",
                };
                let why = format!("the entry says {found}, not {expected}{hint}");
                return Err(Refused { code: "outcome_mismatch", why });
            }
        }
        if let Some((digest, salt)) = &self.digest
            && PortableHasher::hmac(salt, &[&digest.0]) != entry.commitment.0
        {
            let why = "the entry does not commit to this digest under this salt".to_owned();
            return Err(Refused { code: "digest_mismatch", why });
        }
        Ok(entry)
    }
}

impl Asked {
    /// Evidence of a fork holds no entry of which anything could be asked.
    fn of_evidence(&self, text: &str, trust: &Trust, witnesses: bool) -> Result<Proven, Refused> {
        if self.expect.is_some() || self.digest.is_some() || witnesses {
            let why = "evidence of a fork is no receipt: check it without --expect, --digest and \
                       --witnesses";
            return Err(Refused { code: "receipt_malformed", why: why.to_owned() });
        }
        Ok(Proven::Fork(Box::new(compare::check_evidence(text, trust)?)))
    }
}

/// The outcome that an entry is the authority for.
fn authority(event: &Event) -> Option<&'static str> {
    match event {
        Event::Decision(decision) => Some(decision.outcome.as_str()),
        Event::PermitCollected(_) => Some("PERMIT"),
        _ => None,
    }
}

fn document(file: &str, result: &Result<Proven, Refused>) -> Value {
    let proven = match result {
        Ok(Proven::Fork(fork)) => return compare::evidence_document(file, fork),
        Ok(Proven::Entry(proven)) => Ok(&**proven),
        Err(refused) => Err(refused),
    };
    match proven {
        Ok((verified, entry)) => json!({
            "verified": true,
            "code": "verified",
            "file": file,
            "origin": verified.origin,
            "index": verified.index,
            "size": verified.size,
            "root": hex_encode(&verified.root),
            "key_id": hex_encode(&verified.key_id),
            "cosignatures": verified.cosignatures.iter().map(|seen| json!({
                "witness": seen.witness, "key": seen.key_name,
                "time": TimeMs(seen.time_s.saturating_mul(1000)).rfc3339(),
            })).collect::<Vec<_>>(),
            "type": entry.event.type_name(),
            "outcome": authority(&entry.event),
            "time": entry.time.rfc3339(),
            "statement": serde_json::from_slice::<Value>(&verified.entry).unwrap_or_default(),
        }),
        Err(refused) => {
            json!({"verified": false, "code": refused.code, "why": refused.why, "file": file})
        }
    }
}

fn print(file: &str, result: &Result<Proven, Refused>) {
    let file = output::safe(file);
    let (verified, entry) = match result {
        Ok(Proven::Entry(proven)) => &**proven,
        Ok(Proven::Fork(fork)) => return compare::print_evidence(&file, fork),
        Err(refused) => {
            let word = output::paint(output::RED, "refused");
            output::line(&format!("{word}  {file}: {}: {}", refused.code, refused.why));
            return;
        }
    };
    output::line(&format!("{}  {file}", output::paint(output::GREEN, "verified")));
    let at = format!("{} of {} entries", verified.index, verified.size);
    output::field("log", &output::safe(&verified.origin));
    output::field("index", &at);
    output::field("key", &hex_encode(&verified.key_id));
    for seen in &verified.cosignatures {
        let time = TimeMs(seen.time_s.saturating_mul(1000)).rfc3339();
        output::field("witness", &format!("{} at {time}", output::safe(&seen.witness)));
    }
    output::field("event", &format!("{} {}", entry.event.type_name(), output::safe(&entry.name)));
    output::field("time", &entry.time.rfc3339());
    if let Event::Decision(decision) = &entry.event {
        output::field("outcome", &output::outcome(decision.outcome.as_str()));
        output::field("action", &format!("{} {}", decision.surface, decision.action));
        output::field("rules", &decision.rules.join(", "));
        if let Some(permit) = &decision.permit {
            output::field("permit", &window(permit.expires));
        }
    }
    for (word, present) in [("development mode", entry.dev), ("solo mode", entry.solo)] {
        if present {
            output::field("written in", word);
        }
    }
}

fn window(expires: TimeMs) -> String {
    format!("until {}", expires.rfc3339())
}
