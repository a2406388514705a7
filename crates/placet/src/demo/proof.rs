//! The evidence: every receipt verified by this binary and by a file that shares no code with it,
//! and altered ones refused by both.

use super::world::World;
use super::{Teller, deviation};
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::Method;
use placet_tlog::Trust;
use placet_tlog::verify::{PortableHasher, Verifier, VerifyError, verify_receipt};
use std::path::Path;
use std::process::{Command, Stdio};

const PYTHON: &str = include_str!("../../../../verify/placet_verify.py");

/// How many receipts were verified, and how many altered ones refused.
pub(super) struct Receipts {
    pub(super) verified: u64,
    pub(super) refused: u64,
}

/// Fetches and verifies the receipt of every decision; alters some and sees them refused.
pub(super) async fn receipts(
    world: &World,
    decided: &[(String, String)],
    teller: Teller,
) -> Result<Receipts> {
    teller.part("Anyone can check: receipts, verified with pinned keys and nothing else");
    let keys = world.ann.expect(Method::GET, "/.well-known/placet-keys", &[], None).await?;
    let trust = Trust::parse::<PortableHasher>(&keys.body)?;
    let mut verifier = Verifier::new(&trust);
    let mut found = Receipts { verified: 0, refused: 0 };
    let mut denial = None;
    for (id, outcome) in decided {
        let path = format!("/api/v1/receipts/{id}");
        let reply = world.ann.expect(Method::GET, &path, &[("accept", "text/plain")], None).await?;
        verifier
            .verify(&reply.body)
            .map_err(|error| deviation(format!("the receipt of {id} is refused: {error}")))?;
        found.verified += 1;
        if outcome == "DENY" {
            denial = Some(reply.text());
        }
    }
    teller.say(&format!("{} receipts verified by this binary", found.verified));
    let denial = denial.ok_or_else(|| deviation("nothing was denied"))?;
    let scratch = world.scratch();
    std::fs::write(scratch.join("trust.json"), &keys.body)?;
    std::fs::write(scratch.join("verify.py"), PYTHON)?;
    let python = foreign(&scratch, &denial)?;
    match python {
        Some(true) => teller.say("one more by a Python file that shares no code with it"),
        Some(false) => return Err(deviation("the Python verifier refuses a good receipt")),
        None => teller.say("python3 is not there: the second verifier was not asked"),
    }
    for (what, altered) in alterations(&denial)? {
        let error = match verify_receipt(altered.as_bytes(), &trust) {
            Ok(_) => return Err(deviation(format!("a receipt with {what} is verified"))),
            Err(error) => VerifyError::code(&error),
        };
        if python.is_some() && foreign(&scratch, &altered)? != Some(false) {
            return Err(deviation(format!("the Python verifier accepts a receipt with {what}")));
        }
        found.refused += 1;
        teller.say(&format!("{what}: refused, {error}"));
    }
    Ok(found)
}

/// The verdict of the Python verifier; `None` where there is no Python.
fn foreign(scratch: &Path, receipt: &str) -> Result<Option<bool>> {
    let file = scratch.join("receipt");
    std::fs::write(&file, receipt)?;
    let mut command = Command::new("python3");
    command
        .arg(scratch.join("verify.py"))
        .arg(&file)
        .arg("--trust")
        .arg(scratch.join("trust.json"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) => Ok(Some(status.success())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("python3 cannot be started"),
    }
}

/// The receipt of a refusal, altered in three ways.
fn alterations(receipt: &str) -> Result<Vec<(&'static str, String)>> {
    let odd = || deviation("the receipt has another form than expected");
    let line = |key: &str| receipt.lines().find(|line| line.starts_with(key)).ok_or_else(odd);
    let entry = line("extra ")?;
    let bytes = BASE64.decode(entry.trim_start_matches("extra ")).map_err(|_| odd())?;
    let text = String::from_utf8(bytes)?;
    let permit = text.replace("\"outcome\":\"DENY\"", "\"outcome\":\"PERMIT\"");
    if permit == text {
        return Err(odd());
    }
    let permit = format!("extra {}", BASE64.encode(permit));
    let index = line("index ")?;
    let number: u64 = index.trim_start_matches("index ").parse()?;
    let signature = line("\u{2014} ")?;
    let (head, encoded) = signature.rsplit_once(' ').ok_or_else(odd)?;
    let mut bytes = BASE64.decode(encoded).map_err(|_| odd())?;
    let last = bytes.last_mut().ok_or_else(odd)?;
    *last ^= 1;
    let forged = format!("{head} {}", BASE64.encode(bytes));
    Ok(vec![
        ("DENY altered to PERMIT", receipt.replacen(entry, &permit, 1)),
        ("another index", receipt.replacen(index, &format!("index {}", number ^ 1), 1)),
        ("an altered signature", receipt.replacen(signature, &forged, 1)),
    ])
}
