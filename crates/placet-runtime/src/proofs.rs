//! What the log proves of itself: receipts, consistency, tiles, published checkpoints. Reads old
//! tiles back from the journal before it takes the tree, so that nobody who looks far back holds up
//! what is being appended.

use crate::crypto::Fast;
use crate::frame::frames;
use crate::ports::JournalReader;
use crate::workspace::{SignedHead, Workspace};
use placet_tlog::cosignature::append_lines;
use placet_tlog::merkle::leaf_hash;
use placet_tlog::note::Signature;
use placet_tlog::receipt::write_receipt;
use placet_tlog::tiles::{Row, TileRef, write_bundle, write_hashes};
use placet_tlog::tree::{TileSource, TreeError};
use placet_tlog::{Hash, Tree};
use std::collections::HashMap;
use std::sync::Arc;

/// Leaves of a tile: what a proof for an old leaf reads back from the journal.
const TILE: u64 = 256;
/// Bytes of frames read at a time.
const READ_BYTES: usize = 1 << 20;
/// Most tiles that one proof asks for: those in which two sizes end, and that of the leaf.
const TILES_MAX: usize = 4;

impl Workspace {
    /// A receipt for the entry at `index` against a head that this log has or had. `None` when the
    /// entry is not below it or the journal cannot give back the tile of an old one.
    #[must_use]
    pub fn receipt(
        &self,
        head: &SignedHead,
        index: u64,
        entry: &[u8],
        journal: &dyn JournalReader,
    ) -> Option<String> {
        let prove = |tree: &Tree<Fast>, tiles: &mut TileSource<'_>| {
            tree.inclusion_proof_in(&head.head, index, tiles)
        };
        let path = self.with_tiles(journal, prove).ok()?;
        Some(write_receipt(entry, index, &path, &head.note))
    }

    /// The proof that the log of `new` entries extends that of `old` entries.
    ///
    /// # Errors
    /// [`TreeError`]: a size that the log never had, or an old tile that the journal cannot give
    /// back whole.
    pub fn consistency(
        &self,
        old: u64,
        new: u64,
        journal: &dyn JournalReader,
    ) -> Result<Vec<Hash>, TreeError> {
        self.with_tiles(journal, |tree, tiles| tree.consistency_proof(old, new, tiles))
    }

    /// The bytes of a tile or entry bundle of the log as it was published last; `None` for what the
    /// published log does not have.
    ///
    /// # Errors
    /// [`TreeError`] where the journal cannot give it back.
    pub fn tile_bytes(
        &self,
        tile: &TileRef,
        journal: &dyn JournalReader,
    ) -> Result<Option<Vec<u8>>, TreeError> {
        if !tile.exists_within(self.published().head.size()) {
            return Ok(None);
        }
        if let Row::Hashes(_) = tile.row() {
            let hashes = self.with_tiles(journal, |tree, tiles| tree.tile(tile, tiles))?;
            return Ok(Some(write_hashes(&hashes)));
        }
        let missing = TreeError::TileMissing(tile.number());
        let columns = tile.columns();
        let mut entries: Vec<Vec<u8>> = Vec::with_capacity(usize::from(tile.width()));
        self.each_entry(columns.start, columns.end, journal, |entry| entries.push(entry.to_vec()))
            .ok_or(missing)?;
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
        let note = append_lines(&head.note, cosignatures);
        let next = Arc::new(SignedHead { note, head: head.head.clone() });
        self.published.rcu(|last| {
            if last.head.size() > next.head.size() { last.clone() } else { next.clone() }
        });
    }

    /// Runs `ask` over the tree; where it misses old tiles, reads them without holding the tree and
    /// asks again. The tree checks them against the roots it kept.
    fn with_tiles<T>(
        &self,
        journal: &dyn JournalReader,
        ask: impl Fn(&Tree<Fast>, &mut TileSource<'_>) -> Result<T, TreeError>,
    ) -> Result<T, TreeError> {
        let mut read: HashMap<u64, Vec<Hash>> = HashMap::new();
        loop {
            let answer = ask(&self.tree(), &mut |tile| read.get(&tile).cloned());
            match answer {
                Err(TreeError::TileMissing(tile))
                    if read.len() < TILES_MAX && !read.contains_key(&tile) =>
                {
                    let leaves = self.tile_leaves(tile, journal);
                    read.insert(tile, leaves.ok_or(TreeError::TileMissing(tile))?);
                }
                answer => return answer,
            }
        }
    }

    /// The leaf hashes of an old tile, hashed again from the journal.
    fn tile_leaves(&self, tile: u64, journal: &dyn JournalReader) -> Option<Vec<Hash>> {
        let first = tile.checked_mul(TILE)?;
        let mut leaves = Vec::with_capacity(256);
        self.each_entry(first, first.checked_add(TILE)?, journal, |entry| {
            leaves.push(leaf_hash::<Fast>(entry));
        })?;
        Some(leaves)
    }

    /// The canonical bytes of the entries from `first` up to `end`; `None` unless the journal has
    /// all of them.
    fn each_entry(
        &self,
        first: u64,
        end: u64,
        journal: &dyn JournalReader,
        mut take: impl FnMut(&[u8]),
    ) -> Option<()> {
        let mut next = first;
        while next < end {
            let batches = journal.read(self.no, next, READ_BYTES).ok()?;
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
}
