//! What the log proves of itself: inclusion, consistency, tiles, published checkpoints. Reads old
//! tiles back from the journal before it takes the tree, so that nobody who looks far back holds up
//! what is being appended.

use crate::crypto::Fast;
use crate::ports::{JournalReader, ReadModel};
use crate::tiling::{TILE, each_entry, leaves_between};
use crate::workspace::{SignedHead, Workspace};
use placet_tlog::cosignature::append_lines;
use placet_tlog::note::Signature;
use placet_tlog::tiles::{Row, TileRef, write_bundle, write_hashes};
use placet_tlog::tree::{TileSource, TreeError};
use placet_tlog::{Hash, Tree};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Most tiles that one proof asks for: those in which two sizes end, and that of the leaf.
const TILES_MAX: usize = 4;

/// Where the leaves of old tiles are: among what the read model keeps, or else in the journal, to be
/// hashed again.
#[derive(Clone, Copy)]
pub(crate) struct Leaves<'a> {
    pub(crate) journal: &'a dyn JournalReader,
    pub(crate) model: &'a dyn ReadModel,
}

impl Workspace {
    /// The proof that the entry at `index` is below a head that this log has or had. `None` when it is
    /// not below it or the journal cannot give back the tile of an old one.
    #[must_use]
    pub(crate) fn inclusion(
        &self,
        head: &SignedHead,
        index: u64,
        leaves: &Leaves<'_>,
    ) -> Option<Vec<Hash>> {
        let prove = |tree: &Tree<Fast>, tiles: &mut TileSource<'_>| {
            tree.inclusion_proof_in(&head.head, index, tiles)
        };
        self.with_tiles(leaves, prove).ok()
    }

    /// The proof that the log of `new` entries extends that of `old` entries.
    ///
    /// # Errors
    /// [`TreeError`]: a size that the log never had, or an old tile that the journal cannot give
    /// back whole.
    pub(crate) fn consistency(
        &self,
        old: u64,
        new: u64,
        leaves: &Leaves<'_>,
    ) -> Result<Vec<Hash>, TreeError> {
        self.with_tiles(leaves, |tree, tiles| tree.consistency_proof(old, new, tiles))
    }

    /// The bytes of a tile or entry bundle of the log as it was published last; `None` for what the
    /// published log does not have.
    ///
    /// # Errors
    /// [`TreeError`] where the journal cannot give it back.
    pub(crate) fn tile_bytes(
        &self,
        tile: &TileRef,
        leaves: &Leaves<'_>,
    ) -> Result<Option<Vec<u8>>, TreeError> {
        if !tile.exists_within(self.published().head.size()) {
            return Ok(None);
        }
        if let Row::Hashes(_) = tile.row() {
            let hashes = self.with_tiles(leaves, |tree, tiles| tree.tile(tile, tiles))?;
            return Ok(Some(write_hashes(&hashes)));
        }
        let missing = TreeError::TileMissing(tile.number());
        let columns = tile.columns();
        let mut entries: Vec<Vec<u8>> = Vec::with_capacity(usize::from(tile.width()));
        let push = |entry: &[u8]| entries.push(entry.to_vec());
        each_entry(leaves.journal, self.no, columns.start, columns.end, push).ok_or(missing)?;
        write_bundle(entries.iter().map(Vec::as_slice)).map(Some).map_err(|_| missing)
    }

    /// The checkpoint published last, with the cosignatures it got.
    #[must_use]
    pub fn published(&self) -> Arc<SignedHead> {
        self.published.load_full()
    }

    /// The newest head, if the log has grown since a checkpoint was published.
    #[must_use]
    pub fn unpublished(&self) -> Option<Arc<SignedHead>> {
        let head = self.head();
        (head.head.size() > self.published().head.size()).then_some(head)
    }

    /// Publishes a head of this log with cosignatures; never one that is smaller than the last.
    pub fn publish(&self, head: &SignedHead, cosignatures: &[Signature]) {
        self.published.rcu(|last| {
            let before = match last.head.size().cmp(&head.head.size()) {
                Ordering::Greater => return last.clone(),
                // Cosignatures that came in between stay.
                Ordering::Equal => &last.note,
                Ordering::Less => &head.note,
            };
            let note = append_lines(before, cosignatures);
            Arc::new(SignedHead { note, head: head.head.clone() })
        });
    }

    /// Runs `ask` over the tree; where it misses old tiles, reads them without holding the tree and
    /// asks again. The tree checks them against the roots it kept: one that the read model has wrong
    /// is hashed again from the journal.
    fn with_tiles<T>(
        &self,
        leaves: &Leaves<'_>,
        ask: impl Fn(&Tree<Fast>, &mut TileSource<'_>) -> Result<T, TreeError>,
    ) -> Result<T, TreeError> {
        let mut read: HashMap<u64, Vec<Hash>> = HashMap::new();
        let mut of_model = HashSet::new();
        loop {
            let answer = ask(&self.tree(), &mut |tile| read.get(&tile).cloned());
            let (tile, kept) = match answer {
                Err(TreeError::TileMissing(tile))
                    if read.len() < TILES_MAX && !read.contains_key(&tile) =>
                {
                    // What the read model cannot say is as if it had none.
                    (tile, leaves.model.tile_leaves(self.no, tile).ok().flatten())
                }
                Err(TreeError::TileMismatch(tile)) if of_model.remove(&tile) => (tile, None),
                answer => return answer,
            };
            let hashes = match kept {
                Some(kept) => {
                    of_model.insert(tile);
                    kept
                }
                None => {
                    let missing = TreeError::TileMissing(tile);
                    let first = tile.checked_mul(TILE).ok_or(missing)?;
                    let end = first.checked_add(TILE).ok_or(missing)?;
                    leaves_between(leaves.journal, self.no, first, end).ok_or(missing)?
                }
            };
            read.insert(tile, hashes);
        }
    }
}
