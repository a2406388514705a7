//! What commands of the product print, and a receipt that was tampered with. Owns no expectation of either.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::Command;

/// The receipt with one character of its entry changed.
pub(crate) fn alter(receipt: &str) -> Option<String> {
    let at = receipt.find("extra ")? + "extra ".len() + 40;
    let old = receipt.get(at..=at)?;
    let new = if old == "A" { "B" } else { "A" };
    Some(format!("{}{new}{}", &receipt[..at], &receipt[at + 1..]))
}

/// What a command prints.
///
/// # Errors
/// When it fails, with what it says.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let words: Vec<String> =
        command.get_args().take(2).map(|word| word.to_string_lossy().into_owned()).collect();
    let output = command.output().with_context(|| format!("{program} cannot be started"))?;
    if !output.status.success() {
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        bail!("{program} {} …: {}\n{}", words.join(" "), output.status, said.trim());
    }
    Ok(output.stdout)
}

/// The document that a command prints.
///
/// # Errors
/// When it fails, or prints something else.
pub(crate) fn json(command: &mut Command) -> Result<Value> {
    let stdout = output(command)?;
    serde_json::from_slice(&stdout).with_context(|| format!("no JSON: {}", text(&stdout)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_altered_receipt_differs_in_one_character() {
        let receipt = format!("c2sp.org/tlog-proof@v1\nextra {}\nindex 1\n", "Q".repeat(80));
        let altered = alter(&receipt).unwrap();
        let differing = receipt.chars().zip(altered.chars()).filter(|(a, b)| a != b).count();
        assert_eq!((receipt.len(), differing), (altered.len(), 1));
    }
}
