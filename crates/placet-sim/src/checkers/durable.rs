//! Every acknowledged entry is in the log with the same bytes, after any number of crashes.

use super::{Held, Logs, violated};
use std::collections::BTreeMap;

const NAME: &str = "durable";

/// An entry that an answer rests on.
struct Acknowledged {
    bytes: Vec<u8>,
    /// A checkpoint over it came with an answer, so that whoever was answered can show a loss.
    proved: bool,
}

#[derive(Default)]
pub(crate) struct Durable(BTreeMap<(u32, u64), Acknowledged>);

impl Durable {
    /// An entry that an answer rests on.
    pub(crate) fn acknowledged(&mut self, workspace: u32, index: u64, bytes: &[u8]) -> Held {
        let known = self
            .0
            .entry((workspace, index))
            .or_insert_with(|| Acknowledged { bytes: bytes.to_vec(), proved: false });
        if known.bytes == bytes {
            return Ok(());
        }
        violated(
            NAME,
            format!(
                "entry {index} of workspace {workspace} was acknowledged twice, with other bytes"
            ),
        )
    }

    /// A checkpoint came with the answer that rests on this entry.
    pub(crate) fn proved(&mut self, workspace: u32, index: u64) {
        if let Some(known) = self.0.get_mut(&(workspace, index)) {
            known.proved = true;
        }
    }

    /// How many entries were acknowledged.
    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn at_rest(&self, logs: &Logs) -> Held {
        self.0.iter().try_for_each(|(place, known)| present(logs, *place, known))
    }

    /// The same of what was answered together with a checkpoint.
    pub(crate) fn proved_at_rest(&self, logs: &Logs) -> Held {
        let mut proved = self.0.iter().filter(|(_, known)| known.proved);
        proved.try_for_each(|(place, known)| present(logs, *place, known))
    }
}

fn present(logs: &Logs, (workspace, index): (u32, u64), known: &Acknowledged) -> Held {
    let at = usize::try_from(index).unwrap_or(usize::MAX);
    let what = match logs.get(&workspace).and_then(|log| log.get(at)) {
        None => "was acknowledged and is gone",
        Some(stored) if *stored.bytes != *known.bytes => "was acknowledged with other bytes",
        Some(_) => return Ok(()),
    };
    violated(NAME, format!("entry {index} of workspace {workspace} {what}"))
}
