//! How proofs are put together from complete nodes, whoever delivers them: the log's own tree or
//! somebody who holds its tiles. Owns the ways through the tree; refuses to know where nodes lie.

use crate::merkle::{CompactRange, Hash, empty_root, node_hash};
use alloc::vec::Vec;
use placet_types::hash::Hasher;

/// Hashes in a full tile, as in C2SP tlog-tiles.
pub const TILE_LEAVES: u64 = 256;
/// Levels below the root of a tile.
pub(crate) const TILE_LEVELS: u32 = 8;

pub(crate) fn shr(value: u64, bits: u32) -> u64 {
    value.checked_shr(bits).unwrap_or(0)
}

/// The tile that holds node `index` of a level below [`TILE_LEVELS`].
pub(crate) fn tile_of(level: u32, index: u64) -> u64 {
    shr(index, TILE_LEVELS.saturating_sub(level))
}

/// Delivers complete nodes, and builds roots and proofs from them.
pub(crate) trait Nodes<H: Hasher> {
    /// Why a node is not delivered.
    type Error;

    /// What is answered when a size or index has no place in the tree.
    fn out_of_range() -> Self::Error;

    /// The complete node `index` of `level`.
    fn node(&mut self, level: u32, index: u64) -> Result<Hash, Self::Error>;

    /// The root of the first `size` leaves.
    fn root(&mut self, size: u64) -> Result<Hash, Self::Error> {
        if size == 0 { Ok(empty_root::<H>()) } else { self.edge(0, size) }
    }

    /// The inclusion path of leaf `index` in the tree of `size` leaves (RFC 6962 §2.1.1).
    fn inclusion(&mut self, index: u64, size: u64) -> Result<Vec<Hash>, Self::Error> {
        if index >= size {
            return Err(Self::out_of_range());
        }
        let mut path = Vec::new();
        self.climb(0, index, size, None, &mut path)?;
        Ok(path)
    }

    /// The proof that `new` leaves extend `old` leaves (RFC 6962 §2.1.2).
    fn consistency(&mut self, old: u64, new: u64) -> Result<Vec<Hash>, Self::Error> {
        if old > new {
            return Err(Self::out_of_range());
        }
        let mut path = Vec::new();
        if old == 0 || old == new {
            return Ok(path);
        }
        let level = old.trailing_zeros();
        let index = shr(old, level).wrapping_sub(1);
        if !old.is_power_of_two() {
            path.push(self.node(level, index)?);
        }
        self.climb(level, index, new, None, &mut path)?;
        Ok(path)
    }

    /// Hash of the leaves `start..end`, where `start` is a multiple of a power of two that is not
    /// smaller than their number.
    fn edge(&mut self, start: u64, end: u64) -> Result<Hash, Self::Error> {
        let mut end = end;
        let mut hash = None;
        while end > start {
            let level = end.wrapping_sub(start).trailing_zeros();
            end = end.wrapping_sub(1_u64.checked_shl(level).unwrap_or(0));
            let node = self.node(level, shr(end, level))?;
            hash = Some(match hash {
                None => node,
                Some(right) => node_hash::<H>(&node, &right),
            });
        }
        hash.ok_or_else(Self::out_of_range)
    }

    /// Siblings on the way from node `index` of `level` up to the root of `size` leaves.
    fn climb(
        &mut self,
        level: u32,
        index: u64,
        size: u64,
        edges: Option<&[Hash]>,
        path: &mut Vec<Hash>,
    ) -> Result<(), Self::Error> {
        let (mut level, mut index) = (level, index);
        let mut last = shr(size.wrapping_sub(1), level);
        while last > 0 {
            let sibling = index ^ 1;
            if sibling < last {
                path.push(self.node(level, sibling)?);
            } else if sibling == last {
                path.push(match edges.and_then(|edges| edges.get(level as usize)) {
                    Some(hash) => *hash,
                    None => self.edge(sibling.checked_shl(level).unwrap_or(0), size)?,
                });
            }
            index >>= 1;
            last >>= 1;
            level = level.saturating_add(1);
        }
        Ok(())
    }
}

/// All complete nodes below the root of one tile, full or partial.
#[derive(Clone, Default)]
pub(crate) struct Tile {
    pub(crate) levels: [Vec<Hash>; TILE_LEVELS as usize],
}

impl Tile {
    pub(crate) fn store(&mut self, level: u32, hash: Hash) {
        let Some(row) = self.levels.get_mut(level as usize) else {
            return;
        };
        if row.is_empty() {
            row.reserve_exact(usize::try_from(shr(TILE_LEAVES, level)).unwrap_or(0));
        }
        row.push(hash);
    }

    /// Node `index` of `level`, counted from the tile's own lowest row; whole numbers of tiles
    /// are dropped from `index`.
    pub(crate) fn get(&self, level: u32, index: u64) -> Option<Hash> {
        let offset = index.checked_rem(shr(TILE_LEAVES, level))?;
        self.row(level).get(usize::try_from(offset).ok()?).copied()
    }

    /// The complete nodes of `level`, left to right.
    pub(crate) fn row(&self, level: u32) -> &[Hash] {
        self.levels.get(level as usize).map_or(&[], Vec::as_slice)
    }

    /// A tile from its lowest row, 256 hashes at most, and the root over that row.
    pub(crate) fn build<H: Hasher>(hashes: &[Hash]) -> (Self, Hash) {
        debug_assert!(hashes.len() as u64 <= TILE_LEAVES);
        let mut tile = Self::default();
        let mut range = CompactRange::<H>::new();
        for hash in hashes {
            range.append_visit(0, *hash, &mut |level, hash| tile.store(level, hash));
        }
        (tile, range.root())
    }
}
