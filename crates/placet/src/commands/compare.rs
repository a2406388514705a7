//! `placet verify --compare`: whether two receipts or checkpoints of one log fit together; and the
//! evidence that they do not. Owns what is shown of a fork; refuses to judge what its papers do not
//! prove.

use crate::exit::{self, Done, Fault};
use crate::local;
use crate::output;
use anyhow::{Context, Result};
use placet_tlog::Trust;
use placet_tlog::compare::{
    Comparison, Contradiction, EVIDENCE_HEADER, EvidenceError, Fork, Paper, compare,
};
use placet_tlog::receipt::is_receipt;
use placet_tlog::witness::parse_proof;
use placet_types::hash::hex_encode;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// Compares two papers; a consistency proof may show what they alone do not.
pub(crate) fn run(files: &[String], trust: &Trust, proof: Option<&Path>, as_json: bool) -> Done {
    let [first, second] = files else {
        let fault = Fault::usage(format!("--compare takes two files, not {}", files.len()));
        return Err(fault.next("name two receipts or signed checkpoints of one log").into());
    };
    let (first, second) = (paper(first, trust)?, paper(second, trust)?);
    let proof = proof.map(read_proof).transpose()?;
    let found = compare(&first, &second, proof.as_deref());
    let evidence = Fork::of(&first, &second).map(|fork| fork.write());
    if as_json {
        output::document(&document(&first, &second, found, evidence.as_deref()));
    } else {
        print(&first, &second, found, evidence.as_deref());
    }
    Ok(match found {
        Comparison::Same | Comparison::Consistent { .. } => ExitCode::SUCCESS,
        _ => ExitCode::from(exit::FAILURE),
    })
}

fn paper(file: &str, trust: &Trust) -> Result<Paper> {
    let bytes = local::read_input(file)?;
    Paper::verify(&bytes, trust).map_err(|error| {
        Fault::new(error.code(), format!("{}: {error}", output::safe(file)))
            .next("only what the log signed can be compared")
            .into()
    })
}

fn read_proof(path: &Path) -> Result<Vec<placet_tlog::Hash>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let proof = parse_proof(&text)
        .map_err(|error| Fault::usage(format!("--proof {}: {error}", path.display())))?;
    Ok(proof)
}

/// The evidence of a fork in a file, by its first line. What `--compare` prints above it may stand
/// there as well, and a line end after it.
pub(super) fn evidence_in(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok().filter(|_| !is_receipt(bytes))?;
    let at = match text.starts_with(EVIDENCE_HEADER) {
        true => 0,
        false => text.find(&format!("\n{EVIDENCE_HEADER}"))? + 1,
    };
    text.get(at..)
}

/// Checks evidence anew, against the pinned keys.
pub(super) fn check_evidence(text: &str, trust: &Trust) -> Result<Fork, EvidenceError> {
    Fork::verify(text, trust).or_else(|error| {
        let shorter = text.strip_suffix('\n').filter(|_| error == EvidenceError::Text);
        shorter.map_or(Err(error), |text| Fork::verify(text, trust))
    })
}

/// What `--json` says of evidence that holds.
pub(super) fn evidence_document(file: &str, fork: &Fork) -> Value {
    let (first, second) = fork.papers();
    json!({
        "verified": true,
        "code": "fork",
        "file": file,
        "origin": first.checkpoint().origin,
        "first": paper_document(first),
        "second": paper_document(second),
        "why": why(Comparison::Forked(fork.contradiction())),
    })
}

/// Says that evidence holds.
pub(super) fn print_evidence(file: &str, fork: &Fork) {
    let word = output::paint(output::RED, "fork");
    let why = why(Comparison::Forked(fork.contradiction()));
    output::line(&format!("{word}  {file}: proven: {why}"));
    print_papers(fork.papers());
}

fn paper_document(paper: &Paper) -> Value {
    let checkpoint = paper.checkpoint();
    json!({
        "origin": checkpoint.origin, "size": checkpoint.size,
        "root": hex_encode(&checkpoint.root), "index": paper.index(),
        "key_id": hex_encode(&paper.key_id()),
    })
}

fn document(first: &Paper, second: &Paper, found: Comparison, evidence: Option<&str>) -> Value {
    json!({
        "consistent": matches!(found, Comparison::Same | Comparison::Consistent { .. }),
        "code": found.code(),
        "first": paper_document(first),
        "second": paper_document(second),
        "why": why(found),
        "evidence": evidence,
    })
}

fn why(found: Comparison) -> String {
    match found {
        Comparison::DifferentOrigins => "they are of different logs".to_owned(),
        Comparison::Same => "they stand on the same tree".to_owned(),
        Comparison::Consistent { old_size, new_size, .. } => {
            format!("the log of {new_size} entries extends that of {old_size}")
        }
        Comparison::NeedsProof { old_size, new_size, refused } => {
            let refused = refused.map(|error| format!("; the one given does not hold: {error}"));
            format!(
                "nothing speaks against them; a consistency proof from {old_size} to {new_size} \
                 would show it{}",
                refused.unwrap_or_default()
            )
        }
        Comparison::Forked(contradiction) => match contradiction {
            Contradiction::Root { size, .. } => {
                format!("the log signed two different trees of {size} entries")
            }
            Contradiction::Entry { index, .. } => {
                format!("the log signed two different entries at index {index}")
            }
            Contradiction::Subtree { level, index, .. } => format!(
                "the log signed two different versions of entries {} to {}",
                u128::from(index) << level,
                ((u128::from(index) + 1) << level) - 1
            ),
        },
    }
}

fn print(first: &Paper, second: &Paper, found: Comparison, evidence: Option<&str>) {
    let good = matches!(found, Comparison::Same | Comparison::Consistent { .. });
    let colour = if good { output::GREEN } else { output::RED };
    let word = output::paint(colour, &found.code().replace('_', " "));
    output::line(&format!("{word}  {}", why(found)));
    print_papers((first, second));
    if let Comparison::NeedsProof { old_size, new_size, .. } = found {
        let name = first.checkpoint().origin.rsplit('/').next().unwrap_or_default();
        let path = format!("/log/{name}/consistency/{old_size}/{new_size}");
        output::line(&format!("next: get {} from the server and give it with --proof FILE", path));
    }
    if let Some(evidence) = evidence {
        output::line(
            "\nevidence: keep it; with the log's public key it convinces anybody (`placet verify FILE`)\n",
        );
        output::line(&output::safe(evidence));
    }
}

fn print_papers((first, second): (&Paper, &Paper)) {
    for (label, paper) in [("first", first), ("second", second)] {
        let checkpoint = paper.checkpoint();
        let root = hex_encode(&checkpoint.root);
        let of = format!("{} entries, root {root}, {}", checkpoint.size, checkpoint.origin);
        output::field(label, &output::safe(&of));
    }
}
