//! Files of roots that were signed once, in any of the forms in which people keep them. Owns the
//! reading; refuses to believe that any of them is right.

use crate::exit::Fault;
use crate::local;
use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use placet_tlog::{Checkpoint, Note, Receipt};
use serde_json::Value;
use std::path::Path;

/// A root that some log had at some size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// Size of the log.
    pub(super) size: u64,
    /// Root of its tree.
    pub(super) root: [u8; 32],
    /// The log, where the file names it.
    pub(super) origin: Option<String>,
    /// Set when a log has it.
    pub(super) found: bool,
}

/// Reads a file of roots, sorted by size.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub(super) fn read(path: &Path) -> Result<Vec<Root>> {
    let bytes = local::read_input(&path.to_string_lossy())?;
    let parsed = parse(&bytes).and_then(|roots| match roots.is_empty() {
        true => Err("it holds no roots".to_owned()),
        false => Ok(roots),
    });
    let mut roots = parsed.map_err(|why| {
        let detail = format!("{}: {why}", path.display());
        Fault::usage(detail).next("give lines `SIZE BASE64`, JSON lines, a checkpoint or a receipt")
    })?;
    roots.sort_by_key(|root| root.size);
    Ok(roots)
}

fn parse(bytes: &[u8]) -> Result<Vec<Root>, String> {
    if let Ok(receipt) = Receipt::parse(bytes) {
        return Ok(vec![from_checkpoint(receipt.checkpoint)]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    if let Ok(checkpoint) = Note::parse(text).and_then(|note| Checkpoint::parse(note.text())) {
        return Ok(vec![from_checkpoint(checkpoint)]);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            line_root(line.trim()).ok_or_else(|| format!("line {} is no root", at + 1))
        })
        .collect()
}

fn from_checkpoint(checkpoint: Checkpoint) -> Root {
    let Checkpoint { origin, size, root, .. } = checkpoint;
    Root { size, root, origin: Some(origin), found: false }
}

fn line_root(line: &str) -> Option<Root> {
    let (size, root, origin) = if line.starts_with('{') {
        let value: Value = serde_json::from_str(line).ok()?;
        let origin = value["origin"].as_str().map(str::to_owned);
        (value["size"].as_u64()?, value["root"].as_str()?.to_owned(), origin)
    } else {
        let (size, root) = line.split_once(char::is_whitespace)?;
        (size.parse().ok()?, root.trim().to_owned(), None)
    };
    let root = BASE64.decode(root).ok()?.try_into().ok()?;
    Some(Root { size, root, origin, found: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_lines_are_read_and_nothing_else() {
        let zero = BASE64.encode([0; 32]);
        let text = format!("7 {zero}\n\n{{\"size\":3,\"root\":\"{zero}\",\"origin\":\"o\"}}\n");
        let roots = parse(text.as_bytes()).unwrap();
        assert_eq!(roots.iter().map(|root| root.size).collect::<Vec<_>>(), [7, 3]);
        assert_eq!(roots[1].origin.as_deref(), Some("o"));
        for bad in ["7", "x AAAA", "7 AAAA", "{}", "{\"size\":1}"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
