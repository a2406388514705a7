//! What a mirror or auditor needs: tiles from an untrusted source, each checked against one signed
//! size and root before anything in it is believed. Owns the checks; refuses to know the transport.

use super::{ROWS, Row, TILE_WIDTH, TileError, TileRef, read_bundle, read_hashes};
use crate::merkle::{Hash, leaf_hash};
use crate::nodes::{Nodes, TILE_LEVELS, Tile, shr};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use placet_types::hash::Hasher;

/// Why a log cannot be read from its tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Index, size or tile lies outside the log.
    OutOfRange,
    /// The source did not deliver this tile, nor the full one in its place.
    Missing(TileRef),
    /// The bytes of this tile are not of its form.
    Malformed(TileRef, TileError),
    /// This tile does not hash to what the tiles above it say.
    Mismatch(TileRef),
    /// The tiles at the right edge do not hash to the signed root.
    Root,
    /// The log is not an extension of the older one.
    Inconsistent,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("index, size or tile lies outside the log"),
            Self::Missing(tile) => write!(f, "{tile} is not available"),
            Self::Malformed(tile, _) => write!(f, "{tile} is malformed"),
            Self::Mismatch(tile) => write!(f, "{tile} does not belong to the signed tree"),
            Self::Root => f.write_str("the tiles do not hash to the signed root"),
            Self::Inconsistent => f.write_str("the log does not extend the older one"),
        }
    }
}

impl core::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Malformed(_, error) => Some(error),
            _ => None,
        }
    }
}

/// A log at one signed size, read through its tiles.
///
/// `fetch` delivers the bytes of a tile, or `None`. Nothing that it delivers is believed: partial
/// tiles must together hash to the root, and a full tile to its hash in the row above. A partial
/// tile that is gone is looked for in the full one. Memory: 16 tiles at most.
pub struct TileReader<F, H> {
    size: u64,
    fetch: F,
    /// The partial tiles, one a row.
    edges: [Option<(u64, Tile)>; ROWS as usize],
    /// The full tile used last, one a row: a proof goes up through the rows.
    recent: [Option<(u64, Tile)>; ROWS as usize],
    hasher: PhantomData<fn() -> H>,
}

impl<F, H> fmt::Debug for TileReader<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TileReader").field("size", &self.size).finish_non_exhaustive()
    }
}

impl<F: FnMut(&TileRef) -> Option<Vec<u8>>, H: Hasher> TileReader<F, H> {
    /// Opens the log at `size` leaves with `root`, which the caller took from a checkpoint whose
    /// signature was verified. Fetches the partial tiles, eight at most.
    ///
    /// # Errors
    /// `Missing`, `Malformed` or `Root`.
    pub fn open(size: u64, root: Hash, fetch: F) -> Result<Self, ReadError> {
        let mut reader = Self {
            size,
            fetch,
            edges: Default::default(),
            recent: Default::default(),
            hasher: PhantomData,
        };
        for level in 0..ROWS {
            let items = shr(size, u32::from(level).saturating_mul(TILE_LEVELS));
            let number = shr(items, TILE_LEVELS);
            let edge = TileRef::at(Row::Hashes(level), number, size);
            let Some(tile) = edge.filter(TileRef::is_partial) else { continue };
            let hashes = reader.fetch_hashes(&tile)?;
            if let Some(slot) = reader.edges.get_mut(usize::from(level)) {
                *slot = Some((number, Tile::build::<H>(&hashes).0));
            }
        }
        // The root is made of nodes in partial tiles alone, and of every hash in them.
        if reader.root(size)? != root {
            return Err(ReadError::Root);
        }
        Ok(reader)
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The verified hashes of a hash tile that the log has at this or had at an earlier size.
    ///
    /// # Errors
    /// [`ReadError`] except `Root` and `Inconsistent`.
    pub fn hashes(&mut self, tile: &TileRef) -> Result<Vec<Hash>, ReadError> {
        let Row::Hashes(level) = tile.row() else {
            return Err(ReadError::OutOfRange);
        };
        if !tile.exists_within(self.size) {
            return Err(ReadError::OutOfRange);
        }
        let held = self.tile(level, tile.number())?;
        let hashes = held.row(0).get(..usize::from(tile.width()));
        hashes.map(<[Hash]>::to_vec).ok_or(ReadError::OutOfRange)
    }

    /// The verified entries of bundle `number`, as many as the log has of it.
    ///
    /// # Errors
    /// [`ReadError`] except `Root` and `Inconsistent`.
    pub fn entries(&mut self, number: u64) -> Result<Vec<Vec<u8>>, ReadError> {
        let tile = TileRef::at(Row::Entries, number, self.size).ok_or(ReadError::OutOfRange)?;
        let (bytes, width) = self.fetch(&tile)?;
        let entries =
            read_bundle(&bytes, width).map_err(|error| ReadError::Malformed(tile, error))?;
        let leaves = self.tile(0, number)?.row(0);
        let mut out = Vec::with_capacity(leaves.len());
        for (leaf, entry) in leaves.iter().zip(entries) {
            if leaf_hash::<H>(entry) != *leaf {
                return Err(ReadError::Mismatch(tile));
            }
            out.push(entry.to_vec());
        }
        debug_assert_eq!(out.len(), usize::from(tile.width()));
        Ok(out)
    }

    /// The leaf hash at `index`.
    ///
    /// # Errors
    /// [`ReadError`] except `Root` and `Inconsistent`.
    pub fn leaf(&mut self, index: u64) -> Result<Hash, ReadError> {
        self.node(0, index)
    }

    /// The root when the log had `size` leaves.
    ///
    /// # Errors
    /// [`ReadError`] except `Root` and `Inconsistent`.
    pub fn root_at(&mut self, size: u64) -> Result<Hash, ReadError> {
        if size > self.size {
            return Err(ReadError::OutOfRange);
        }
        self.root(size)
    }

    /// The inclusion path of leaf `index` among the first `size` leaves, leaf's sibling first.
    ///
    /// # Errors
    /// [`ReadError`] except `Root` and `Inconsistent`.
    pub fn inclusion_proof(&mut self, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        if size > self.size {
            return Err(ReadError::OutOfRange);
        }
        self.inclusion(index, size)
    }

    /// The proof that the first `new` leaves extend the first `old`.
    ///
    /// # Errors
    /// [`ReadError`] except `Root` and `Inconsistent`.
    pub fn consistency_proof(&mut self, old: u64, new: u64) -> Result<Vec<Hash>, ReadError> {
        if new > self.size {
            return Err(ReadError::OutOfRange);
        }
        self.consistency(old, new)
    }

    /// Checks that this log extends the one of `size` leaves with `root` that was seen earlier.
    ///
    /// # Errors
    /// `Inconsistent`: then both checkpoints are evidence against the log. Otherwise as
    /// [`root_at`](Self::root_at).
    pub fn check_extends(&mut self, size: u64, root: &Hash) -> Result<(), ReadError> {
        if self.root_at(size)? == *root { Ok(()) } else { Err(ReadError::Inconsistent) }
    }

    /// The tile `number` of a row, fetched and checked unless it is held.
    fn tile(&mut self, level: u8, number: u64) -> Result<&Tile, ReadError> {
        let row = usize::from(level);
        let held = |slot: &Option<(u64, Tile)>| slot.as_ref().is_some_and(|(at, _)| *at == number);
        let on_edge = self.edges.get(row).is_some_and(held);
        if !on_edge && !self.recent.get(row).is_some_and(held) {
            let whole = TileRef::at(Row::Hashes(level), number, self.size);
            let tile = whole.filter(|tile| !tile.is_partial()).ok_or(ReadError::OutOfRange)?;
            let hashes = self.fetch_hashes(&tile)?;
            let (built, root) = Tile::build::<H>(&hashes);
            // The row above is checked first, up to a partial tile at the latest.
            let above = u32::from(level).saturating_add(1).saturating_mul(TILE_LEVELS);
            if self.node(above, number)? != root {
                return Err(ReadError::Mismatch(tile));
            }
            if let Some(slot) = self.recent.get_mut(row) {
                *slot = Some((number, built));
            }
        }
        let slots = if on_edge { &self.edges } else { &self.recent };
        match slots.get(row) {
            Some(Some((_, tile))) => Ok(tile),
            _ => Err(ReadError::OutOfRange),
        }
    }

    fn fetch_hashes(&mut self, tile: &TileRef) -> Result<Vec<Hash>, ReadError> {
        let (bytes, width) = self.fetch(tile)?;
        let mut hashes =
            read_hashes(&bytes, width).map_err(|error| ReadError::Malformed(*tile, error))?;
        hashes.truncate(usize::from(tile.width()));
        Ok(hashes)
    }

    /// The bytes of `tile` or of the full tile in its place, with the width they must have.
    fn fetch(&mut self, tile: &TileRef) -> Result<(Vec<u8>, u16), ReadError> {
        if let Some(bytes) = (self.fetch)(tile) {
            return Ok((bytes, tile.width()));
        }
        let full = if tile.is_partial() { (self.fetch)(&tile.full()) } else { None };
        full.map(|bytes| (bytes, TILE_WIDTH)).ok_or(ReadError::Missing(*tile))
    }
}

impl<F: FnMut(&TileRef) -> Option<Vec<u8>>, H: Hasher> Nodes<H> for TileReader<F, H> {
    type Error = ReadError;

    fn out_of_range() -> ReadError {
        ReadError::OutOfRange
    }

    fn node(&mut self, level: u32, index: u64) -> Result<Hash, ReadError> {
        let row = u8::try_from(level / TILE_LEVELS).map_err(|_| ReadError::OutOfRange)?;
        let within = level % TILE_LEVELS;
        let number = shr(index, TILE_LEVELS.saturating_sub(within));
        self.tile(row, number)?.get(within, index).ok_or(ReadError::OutOfRange)
    }
}
