//! An append-only Merkle tree that answers proofs from memory: recent leaves whole, older ones by
//! the roots of their 256-leaf tiles. Owns which nodes are kept; refuses to know where tiles lie.

use crate::merkle::{CompactRange, Hash, empty_root, node_hash};
use crate::nodes::{Nodes, TILE_LEVELS, Tile, tile_of};
use crate::tiles::{Row, TileRef};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use placet_types::hash::Hasher;

pub use crate::nodes::TILE_LEAVES;

/// Recent leaves that are kept whole unless the caller says otherwise.
pub const DEFAULT_WINDOW: u64 = 4096;

/// Delivers the 256 leaf hashes of the level-0 tile with this number, or `None` if it cannot.
/// Asked only for complete tiles that have left the window. What it delivers is checked against
/// the kept root of the tile, so a damaged tile is found and never becomes a proof.
pub type TileSource<'a> = dyn FnMut(u64) -> Option<Vec<Hash>> + 'a;

/// Why a proof cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// Index or size lies outside the tree.
    OutOfRange,
    /// The tile with this number has left the window and the source did not deliver it.
    TileMissing(u64),
    /// The delivered tile with this number does not hash to the root that was logged.
    TileMismatch(u64),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("index or size lies outside the tree"),
            Self::TileMissing(tile) => write!(f, "tile {tile} is not available"),
            Self::TileMismatch(tile) => write!(f, "tile {tile} does not hash to its root"),
        }
    }
}

impl core::error::Error for TreeError {}

/// Size, root and right edge of a tree at one moment: with it, every proof for that size costs
/// copies only. Computed once per batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    size: u64,
    root: Hash,
    /// `edges[k]`: hash of the last, perhaps incomplete, node of level `k`.
    edges: Vec<Hash>,
}

impl Head {
    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root hash.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }
}

/// An append-only tree of leaf hashes.
///
/// Memory: the window (64 bytes a leaf) and 64 bytes per 256 leaves before it; 2.8 MB at ten
/// million leaves.
pub struct Tree<H> {
    range: CompactRange<H>,
    window: u64,
    /// Number of the oldest tile that is kept whole.
    first_tile: u64,
    recent: VecDeque<Tile>,
    /// Levels 8 and up, whole.
    upper: Vec<Level>,
}

impl<H> fmt::Debug for Tree<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("range", &self.range)
            .field("first_tile", &self.first_tile)
            .finish_non_exhaustive()
    }
}

impl<H: Hasher> Default for Tree<H> {
    fn default() -> Self {
        Self::new(DEFAULT_WINDOW)
    }
}

impl<H: Hasher> Tree<H> {
    /// An empty tree that keeps at least the last `window` leaves whole, rounded up to tiles.
    #[must_use]
    pub fn new(window: u64) -> Self {
        Self {
            range: CompactRange::new(),
            window: window.checked_next_multiple_of(TILE_LEAVES).unwrap_or(u64::MAX),
            first_tile: 0,
            recent: VecDeque::new(),
            upper: Vec::new(),
        }
    }

    /// A tree from the roots of its complete tiles and the leaf hashes after the last of them
    /// (fewer than 256, otherwise `None`). The leaves below are treated as having left the window.
    #[must_use]
    pub fn restore(window: u64, tile_roots: &[Hash], tail: &[Hash]) -> Option<Self> {
        if tail.len() as u64 >= TILE_LEAVES {
            return None;
        }
        let mut tree = Self::new(window);
        let Self { range, upper, .. } = &mut tree;
        for root in tile_roots {
            range.append_visit(TILE_LEVELS, *root, &mut |level, hash| {
                store_upper(upper, level, hash);
            });
        }
        tree.first_tile = tile_roots.len() as u64;
        for leaf in tail {
            tree.append(*leaf);
        }
        Some(tree)
    }

    /// Appends one leaf hash. Each inner node is hashed once in the life of the tree.
    pub fn append(&mut self, leaf: Hash) {
        if self.size().is_multiple_of(TILE_LEAVES) {
            self.recent.push_back(Tile::default());
        }
        let Self { range, recent, upper, .. } = self;
        range.append_visit(0, leaf, &mut |level, hash| {
            if level >= TILE_LEVELS {
                store_upper(upper, level, hash);
            } else if let Some(tile) = recent.back_mut() {
                tile.store(level, hash);
            }
        });
        self.prune();
    }

    /// Keeps at least the last `window` leaves whole from now on; what has left the window before
    /// does not come back.
    pub fn set_window(&mut self, window: u64) {
        self.window = window.checked_next_multiple_of(TILE_LEAVES).unwrap_or(u64::MAX);
        self.drop_old();
    }

    fn prune(&mut self) {
        if self.size().is_multiple_of(TILE_LEAVES) {
            self.drop_old();
        }
    }

    fn drop_old(&mut self) {
        let keep = self.window.max(TILE_LEAVES) / TILE_LEAVES;
        while self.recent.len() as u64 > keep {
            self.recent.pop_front();
            self.first_tile = self.first_tile.saturating_add(1);
        }
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.range.size()
    }

    /// The present root: at most `log2(size)` hashes.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.range.root()
    }

    /// The compact range of the present tree, from which [`CompactRange`] can go on.
    #[must_use]
    pub fn compact_range(&self) -> CompactRange<H> {
        self.range.clone()
    }

    /// The node `index` of `level` (leaves are level 0) if it is complete and kept. Levels 0, 8,
    /// 16 … are the rows of tlog-tiles.
    #[must_use]
    pub fn node(&self, level: u32, index: u64) -> Option<Hash> {
        match level.checked_sub(TILE_LEVELS) {
            Some(row) => self.upper.get(row as usize)?.get(index),
            None => {
                let slot = tile_of(level, index).checked_sub(self.first_tile)?;
                self.recent.get(usize::try_from(slot).ok()?)?.get(level, index)
            }
        }
    }

    /// Index of the oldest leaf that is kept whole; proofs for older ones ask the tile source.
    #[must_use]
    pub fn first_kept(&self) -> u64 {
        self.first_tile.saturating_mul(TILE_LEAVES)
    }

    /// The root when the tree had `size` leaves.
    ///
    /// # Errors
    /// [`TreeError`]; tiles are asked for only if `size` lies before the window.
    pub fn root_at(&self, size: u64, tiles: &mut TileSource<'_>) -> Result<Hash, TreeError> {
        if size == self.size() {
            return Ok(self.root());
        }
        self.check_size(size)?;
        Lookup::new(self, tiles).root(size)
    }

    /// Size, root and right edge of the present tree.
    ///
    /// # Errors
    /// None in practice: the last tile is always kept. The type says so because an edge is built
    /// from kept nodes.
    pub fn head(&self) -> Result<Head, TreeError> {
        let size = self.size();
        let mut edges = Vec::with_capacity(24);
        let mut no_tiles = |_| None;
        let mut lookup = Lookup::new(self, &mut no_tiles);
        let Some(mut last) = size.checked_sub(1) else {
            return Ok(Head { size, root: empty_root::<H>(), edges });
        };
        let mut level = 0_u32;
        let mut hash = lookup.node(0, last)?;
        edges.push(hash);
        while last > 0 {
            if last & 1 == 1 {
                // A complete pair is a kept node and needs no hash.
                hash = match self.node(level.saturating_add(1), last >> 1) {
                    Some(kept) => kept,
                    None => node_hash::<H>(&lookup.node(level, last.wrapping_sub(1))?, &hash),
                };
            }
            last >>= 1;
            level = level.saturating_add(1);
            edges.push(hash);
        }
        Ok(Head { size, root: hash, edges })
    }

    /// The inclusion path of leaf `index` in the tree of `size` leaves, leaf's sibling first
    /// (RFC 6962 §2.1.1). Asks at most for the tile of the leaf and, when `size` too lies before
    /// the window, for the tile in which it ends.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn inclusion_proof(
        &self,
        index: u64,
        size: u64,
        tiles: &mut TileSource<'_>,
    ) -> Result<Vec<Hash>, TreeError> {
        self.check_size(size)?;
        Lookup::new(self, tiles).inclusion(index, size)
    }

    /// As [`inclusion_proof`](Self::inclusion_proof) for a [`Head`] of this tree, without hashing
    /// when the leaf is within the window.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn inclusion_proof_in(
        &self,
        head: &Head,
        index: u64,
        tiles: &mut TileSource<'_>,
    ) -> Result<Vec<Hash>, TreeError> {
        self.check_size(head.size)?;
        if index >= head.size {
            return Err(TreeError::OutOfRange);
        }
        let mut lookup = Lookup::new(self, tiles);
        let mut path = Vec::with_capacity(head.edges.len());
        lookup.climb(0, index, head.size, Some(&head.edges), &mut path)?;
        Ok(path)
    }

    /// The proof that the tree of `new` leaves extends that of `old` leaves (RFC 6962 §2.1.2);
    /// empty when they are equal or the old tree is empty. Asks at most for the tiles in which
    /// the two sizes end.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn consistency_proof(
        &self,
        old: u64,
        new: u64,
        tiles: &mut TileSource<'_>,
    ) -> Result<Vec<Hash>, TreeError> {
        self.check_size(new)?;
        Lookup::new(self, tiles).consistency(old, new)
    }

    /// The hashes of a tile of this log, left to right, at the present or an earlier size. Inner
    /// rows and the window answer from memory; an older level-0 tile is asked for and checked
    /// against its kept root, so that a damaged one is never served.
    ///
    /// # Errors
    /// `OutOfRange` for an entry bundle and for a tile that is wider than the log is now; otherwise
    /// [`TreeError`].
    pub fn tile(&self, tile: &TileRef, tiles: &mut TileSource<'_>) -> Result<Vec<Hash>, TreeError> {
        let Row::Hashes(row) = tile.row() else {
            return Err(TreeError::OutOfRange);
        };
        if !tile.exists_within(self.size()) {
            return Err(TreeError::OutOfRange);
        }
        let level = u32::from(row).saturating_mul(TILE_LEVELS);
        let mut lookup = Lookup::new(self, tiles);
        tile.columns().map(|index| lookup.node(level, index)).collect()
    }

    fn check_size(&self, size: u64) -> Result<(), TreeError> {
        if size > self.size() {
            return Err(TreeError::OutOfRange);
        }
        Ok(())
    }
}

/// One whole level, in pieces, so that growing never copies nor doubles it.
#[derive(Default)]
struct Level {
    pieces: Vec<Vec<Hash>>,
}

const PIECE: usize = 256;

impl Level {
    fn push(&mut self, hash: Hash) {
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(hash),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(hash);
                self.pieces.push(piece);
            }
        }
    }

    fn get(&self, index: u64) -> Option<Hash> {
        let index = usize::try_from(index).ok()?;
        self.pieces.get(index / PIECE)?.get(index % PIECE).copied()
    }
}

fn store_upper(upper: &mut Vec<Level>, level: u32, hash: Hash) {
    let row = level.saturating_sub(TILE_LEVELS) as usize;
    if upper.len() <= row {
        upper.resize_with(row.saturating_add(1), Level::default);
    }
    if let Some(level) = upper.get_mut(row) {
        level.push(hash);
    }
}

/// Nodes for one proof: kept ones, and those of the tile fetched last. A proof goes through the
/// tiles it needs one after the other, so one is enough.
struct Lookup<'a, 's, H> {
    tree: &'a Tree<H>,
    tiles: &'a mut TileSource<'s>,
    fetched: Option<(u64, Tile)>,
}

impl<'a, 's, H: Hasher> Lookup<'a, 's, H> {
    fn new(tree: &'a Tree<H>, tiles: &'a mut TileSource<'s>) -> Self {
        Self { tree, tiles, fetched: None }
    }
}

impl<H: Hasher> Nodes<H> for Lookup<'_, '_, H> {
    type Error = TreeError;

    fn out_of_range() -> TreeError {
        TreeError::OutOfRange
    }

    fn node(&mut self, level: u32, index: u64) -> Result<Hash, TreeError> {
        if let Some(hash) = self.tree.node(level, index) {
            return Ok(hash);
        }
        let number = tile_of(level, index);
        if level >= TILE_LEVELS || number >= self.tree.first_tile {
            return Err(TreeError::OutOfRange);
        }
        if let Some((held, tile)) = &self.fetched
            && *held == number
        {
            return tile.get(level, index).ok_or(TreeError::OutOfRange);
        }
        let leaves = (self.tiles)(number).ok_or(TreeError::TileMissing(number))?;
        if leaves.len() as u64 != TILE_LEAVES {
            return Err(TreeError::TileMismatch(number));
        }
        let (tile, root) = Tile::build::<H>(&leaves);
        if self.tree.node(TILE_LEVELS, number) != Some(root) {
            return Err(TreeError::TileMismatch(number));
        }
        let hash = tile.get(level, index).ok_or(TreeError::OutOfRange)?;
        self.fetched = Some((number, tile));
        Ok(hash)
    }
}

#[cfg(test)]
mod tests;
