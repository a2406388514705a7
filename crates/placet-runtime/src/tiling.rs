//! Gathers leaf hashes into whole tiles, for a read model to keep: a proof for an old leaf then reads
//! 8 KB instead of 256 entries. Derived; what is kept is checked against the tree before it is used.

use crate::crypto::Fast;
use crate::frame::frames;
use crate::ports::{JournalReader, LeafTile, WorkspaceNo};
use placet_tlog::Hash;
use placet_tlog::merkle::leaf_hash;
use std::collections::BTreeMap;

/// Leaves of a tile.
pub(crate) const TILE: u64 = 256;
/// Bytes of frames read at a time.
const READ_BYTES: usize = 1 << 20;
/// Workspaces whose last, partial tile is remembered; beyond it they are read again.
const TAILS_MAX: usize = 1024;

/// The partial tiles at the ends of logs.
#[derive(Default, Debug)]
pub struct Tiling {
    tails: BTreeMap<WorkspaceNo, Tail>,
}

#[derive(Default, Debug)]
struct Tail {
    /// The entry that comes next.
    next: u64,
    /// Of the tile that it belongs to; `None` where the journal could not give back its beginning.
    leaves: Option<Vec<Hash>>,
}

impl Tiling {
    /// Takes the canonical bytes of the entry at `index`, and gives the tile that it completes.
    /// Entries come in the order of the log; where the first of them is not the first of a tile,
    /// those before it are read from the journal.
    pub fn take(
        &mut self,
        journal: &dyn JournalReader,
        workspace: WorkspaceNo,
        index: u64,
        entry: &[u8],
    ) -> Option<LeafTile> {
        if self.tails.len() >= TAILS_MAX && !self.tails.contains_key(&workspace) {
            self.tails.clear();
        }
        let first = index - index % TILE;
        let tail = self.tails.entry(workspace).or_default();
        if tail.next != index || index == first {
            tail.leaves = leaves_between(journal, workspace, first, index);
        }
        tail.next = index + 1;
        let leaves = tail.leaves.as_mut()?;
        leaves.push(leaf_hash::<Fast>(entry));
        if (leaves.len() as u64) < TILE {
            return None;
        }
        let leaves = self.tails.remove(&workspace)?.leaves?;
        Some(LeafTile { workspace, number: first / TILE, leaves })
    }

    /// Forgets all of it: what was given was not kept.
    pub(crate) fn clear(&mut self) {
        self.tails.clear();
    }
}

/// The hashes of the leaves from `first` up to `end`; `None` unless the journal has all of them.
pub(crate) fn leaves_between(
    journal: &dyn JournalReader,
    workspace: WorkspaceNo,
    first: u64,
    end: u64,
) -> Option<Vec<Hash>> {
    let mut leaves = Vec::with_capacity(256);
    each_entry(journal, workspace, first, end, |entry| leaves.push(leaf_hash::<Fast>(entry)))?;
    Some(leaves)
}

/// The canonical bytes of the entries from `first` up to `end`; `None` unless the journal has all of
/// them.
pub(crate) fn each_entry(
    journal: &dyn JournalReader,
    workspace: WorkspaceNo,
    first: u64,
    end: u64,
    mut take: impl FnMut(&[u8]),
) -> Option<()> {
    let mut next = first;
    while next < end {
        let batches = journal.read(workspace, next, READ_BYTES).ok()?;
        let before = next;
        for batch in &batches {
            for (at, frame) in frames(&batch.frames).enumerate() {
                if batch.first_index + at as u64 == next && next < end {
                    take(frame.ok()?.entry);
                    next += 1;
                }
            }
        }
        if next == before {
            return None;
        }
    }
    Some(())
}
