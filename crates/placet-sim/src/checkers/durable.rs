//! Every acknowledged entry is in the log with the same bytes, after any number of crashes.

use super::{Held, Logs, violated};
use std::collections::BTreeMap;

const NAME: &str = "durable";

#[derive(Default)]
pub(crate) struct Durable(BTreeMap<(u32, u64), Vec<u8>>);

impl Durable {
    /// An entry that an answer rests on.
    pub(crate) fn acknowledged(&mut self, workspace: u32, index: u64, bytes: &[u8]) -> Held {
        let known = self.0.entry((workspace, index)).or_insert_with(|| bytes.to_vec());
        if known == bytes {
            return Ok(());
        }
        violated(
            NAME,
            format!(
                "entry {index} of workspace {workspace} was acknowledged twice, with other bytes"
            ),
        )
    }

    /// How many entries were acknowledged.
    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn at_rest(&self, logs: &Logs) -> Held {
        for ((workspace, index), bytes) in &self.0 {
            let at = usize::try_from(*index).unwrap_or(usize::MAX);
            match logs.get(workspace).and_then(|log| log.get(at)) {
                None => {
                    let what = "was acknowledged and is gone";
                    return violated(
                        NAME,
                        format!("entry {index} of workspace {workspace} {what}"),
                    );
                }
                Some(stored) if stored.bytes != *bytes => {
                    let what = "was acknowledged with other bytes";
                    return violated(
                        NAME,
                        format!("entry {index} of workspace {workspace} {what}"),
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
