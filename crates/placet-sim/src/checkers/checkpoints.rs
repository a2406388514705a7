//! Every checkpoint that was handed out covers its answer, and all of them are prefixes of one log.
//! Roots are computed here anew from the entries (RFC 6962), not by the tree of the product.

use super::{Held, Logs, violated};
use placet_runtime::crypto::Fast;
use placet_types::hash::Hasher;
use std::collections::BTreeMap;

const NAME: &str = "checkpoints";

#[derive(Default)]
pub(crate) struct Checkpoints {
    held: BTreeMap<(u32, u64), [u8; 32]>,
}

impl Checkpoints {
    /// A checkpoint beside an answer that rests on the entry at `index`.
    pub(crate) fn handed_out(
        &mut self,
        workspace: u32,
        index: Option<u64>,
        size: u64,
        root: [u8; 32],
    ) -> Held {
        if index.is_some_and(|index| index >= size) {
            let what = "does not cover the answer that it came with";
            return violated(NAME, format!("the checkpoint of {size} entries {what}"));
        }
        let known = self.held.entry((workspace, size)).or_insert(root);
        if *known == root {
            return Ok(());
        }
        violated(NAME, format!("two checkpoints of {size} entries of workspace {workspace} differ"))
    }

    pub(crate) fn at_rest(&self, logs: &Logs) -> Held {
        for (workspace, log) in logs {
            let mut frontier: Vec<(u32, [u8; 32])> = Vec::new();
            let mut size = 0;
            let held = self.held.range((*workspace, 0)..=(*workspace, u64::MAX));
            for ((_, wanted), root) in held {
                while size < *wanted {
                    let Some(stored) = usize::try_from(size).ok().and_then(|at| log.get(at)) else {
                        let what = "was handed out, and the log is shorter";
                        return violated(
                            NAME,
                            format!(
                                "a checkpoint of {wanted} entries of workspace {workspace} {what}"
                            ),
                        );
                    };
                    append(&mut frontier, Fast::sha256(&[&[0], &stored.bytes]));
                    size += 1;
                }
                if fold(&frontier) != *root {
                    let what = "is of another log";
                    return violated(
                        NAME,
                        format!(
                            "the checkpoint of {wanted} entries of workspace {workspace} {what}"
                        ),
                    );
                }
            }
        }
        Ok(())
    }

    /// Whether the logs contradict what was handed out: how whoever holds a checkpoint notices.
    pub(crate) fn contradict(&self, logs: &Logs) -> bool {
        self.at_rest(logs).is_err()
    }
}

fn append(frontier: &mut Vec<(u32, [u8; 32])>, leaf: [u8; 32]) {
    let mut node = (0, leaf);
    while let Some((level, left)) = frontier.pop_if(|(level, _)| *level == node.0) {
        node = (level + 1, Fast::sha256(&[&[1], &left, &node.1]));
    }
    frontier.push(node);
}

fn fold(frontier: &[(u32, [u8; 32])]) -> [u8; 32] {
    let mut nodes = frontier.iter().rev().map(|(_, hash)| *hash);
    let Some(last) = nodes.next() else { return Fast::sha256(&[]) };
    nodes.fold(last, |right, left| Fast::sha256(&[&[1], &left, &right]))
}
