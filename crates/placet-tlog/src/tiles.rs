//! C2SP tlog-tiles: the names of tiles, their bytes, and which of them a log of some size has. Owns
//! the format; refuses to know who serves, stores or fetches it (`reader` checks what was fetched).

use crate::merkle::Hash;
use crate::nodes::{TILE_LEAVES, TILE_LEVELS, shr};
use crate::receipt::ENTRY_BYTES_MAX;
use crate::text::decimal;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

mod reader;

pub use reader::{ReadError, TileReader};

/// Hashes or entries in a full tile.
pub const TILE_WIDTH: u16 = 256;
/// Most bytes that an entry bundle can have.
pub const BUNDLE_BYTES_MAX: usize = 256 * (2 + ENTRY_BYTES_MAX);
/// Highest level that a path may name. Rows above 7 hold nothing: 256^8 leaves are more than a
/// size can say.
const LEVEL_MAX: u8 = 63;
/// Rows in which a log can have hashes.
pub(crate) const ROWS: u8 = 8;
/// Groups of three digits in the largest 64-bit number.
const GROUPS_MAX: usize = 7;

/// Why a tile's name or bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileError {
    /// The path is not `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
    Path,
    /// The path has another, canonical spelling.
    NotCanonical,
    /// The bytes are not exactly as many hashes or entries as the tile is wide.
    Length,
    /// An entry exceeds [`ENTRY_BYTES_MAX`] and cannot stand in a bundle.
    EntryTooLarge,
}

impl fmt::Display for TileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "the path is not that of a tile",
            Self::NotCanonical => "the path is not in canonical form",
            Self::Length => "the tile does not have the content that its width demands",
            Self::EntryTooLarge => "an entry is too large for a bundle",
        })
    }
}

impl core::error::Error for TileError {}

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Hashes of complete subtrees of `256^level` leaves; level 0 holds the leaf hashes.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

impl Row {
    /// Complete items of this row in a log of `size` leaves.
    fn items(self, size: u64) -> u64 {
        match self {
            Self::Hashes(level) => shr(size, u32::from(level).saturating_mul(TILE_LEVELS)),
            Self::Entries => size,
        }
    }
}

/// The name of one tile: row, number within the row, and width.
///
/// INVARIANT: level 0 to 63, width 1 to 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TileRef {
    row: Row,
    number: u64,
    width: u16,
}

impl TileRef {
    /// The tile `number` of `row` with its first `width` items; `None` unless level and width are
    /// legal.
    #[must_use]
    pub fn new(row: Row, number: u64, width: u16) -> Option<Self> {
        let level = match row {
            Row::Hashes(level) => level,
            Row::Entries => 0,
        };
        let legal = level <= LEVEL_MAX && (1..=TILE_WIDTH).contains(&width);
        legal.then_some(Self { row, number, width })
    }

    /// The tile `number` of `row` as wide as a log of `size` leaves has it; `None` if the log has
    /// nothing of it.
    #[must_use]
    pub fn at(row: Row, number: u64, size: u64) -> Option<Self> {
        let before = number.checked_mul(TILE_LEAVES)?;
        let width = row.items(size).checked_sub(before)?.min(TILE_LEAVES);
        Self::new(row, number, u16::try_from(width).ok()?)
    }

    /// Parses a path such as `tile/0/x001/x234/067` or `tile/entries/000.p/17`, without a leading
    /// slash. Each tile has one spelling.
    ///
    /// # Errors
    /// `Path` or `NotCanonical`.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let rest = path.strip_prefix("tile/").ok_or(TileError::Path)?;
        let (row, rest) = rest.split_once('/').ok_or(TileError::Path)?;
        let row = match row {
            "entries" => Row::Entries,
            level => Row::Hashes(u8::try_from(number(level)?).map_err(|_| TileError::Path)?),
        };
        let (groups, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((groups, width)) => match u16::try_from(number(width)?) {
                Ok(width) if width < TILE_WIDTH => (groups, width),
                _ => return Err(TileError::Path),
            },
        };
        Self::new(row, parse_number(groups)?, width).ok_or(TileError::Path)
    }

    /// What it holds.
    #[must_use]
    pub fn row(&self) -> Row {
        self.row
    }

    /// Its number within the row, from 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Number of its items: 256 when it is full.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it is partial.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The same tile at full width.
    #[must_use]
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }

    /// Places of its items within the row, from 0. For level 0 and entries these are log indexes.
    #[must_use]
    pub fn columns(&self) -> Range<u64> {
        let start = self.number.saturating_mul(TILE_LEAVES);
        start..start.saturating_add(u64::from(self.width))
    }

    /// Whether a log of `size` leaves has it, now or at an earlier size. A log may answer all of
    /// these for the size that it published last: what a narrower tile says follows from the
    /// wider one.
    #[must_use]
    pub fn exists_within(&self, size: u64) -> bool {
        Self::at(self.row, self.number, size).is_some_and(|whole| self.width <= whole.width)
    }
}

impl fmt::Display for TileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Row::Hashes(level) => write!(f, "tile/{level}/")?,
            Row::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = Vec::with_capacity(GROUPS_MAX);
        let mut rest = self.number;
        loop {
            groups.push(rest % 1000);
            rest /= 1000;
            if rest == 0 {
                break;
            }
        }
        while let Some(group) = groups.pop() {
            match groups.is_empty() {
                true => write!(f, "{group:03}")?,
                false => write!(f, "x{group:03}/")?,
            }
        }
        if self.is_partial() { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

fn number(text: &str) -> Result<u64, TileError> {
    decimal(text).map_err(|_| TileError::Path)
}

/// Groups of three digits, all but the last with an `x` before them.
fn parse_number(text: &str) -> Result<u64, TileError> {
    let mut number = 0_u64;
    let mut count = 0_usize;
    let mut groups = text.split('/').peekable();
    while let Some(group) = groups.next() {
        let digits = match groups.peek() {
            Some(_) => group.strip_prefix('x').ok_or(TileError::Path)?,
            None => group,
        };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TileError::Path);
        }
        if count == 0 && group == "x000" {
            return Err(TileError::NotCanonical);
        }
        count = count.saturating_add(1);
        let digits = digits.parse::<u64>().map_err(|_| TileError::Path)?;
        number = number
            .checked_mul(1000)
            .and_then(|number| number.checked_add(digits))
            .ok_or(TileError::Path)?;
    }
    Ok(number)
}

/// The hash tiles that a log of `new` leaves has and one of `old` leaves had not, or had narrower:
/// lowest row first, left to right. With `old` 0, all of them.
pub fn hash_tiles(old: u64, new: u64) -> impl Iterator<Item = TileRef> {
    (0..ROWS).flat_map(move |level| row_tiles(Row::Hashes(level), old, new))
}

/// The entry bundles that a log of `new` leaves has and one of `old` leaves had not, or had
/// narrower, left to right. With `old` 0, all of them.
pub fn entry_tiles(old: u64, new: u64) -> impl Iterator<Item = TileRef> {
    row_tiles(Row::Entries, old, new)
}

fn row_tiles(row: Row, old: u64, new: u64) -> impl Iterator<Item = TileRef> {
    let (old, new) = (row.items(old), row.items(new));
    // Widths are clipped by the number of items, as in `at`, whatever the row.
    let last = if new > old { new.div_ceil(TILE_LEAVES) } else { 0 };
    (old / TILE_LEAVES..last).filter_map(move |number| {
        let width = new.saturating_sub(number.saturating_mul(TILE_LEAVES)).min(TILE_LEAVES);
        TileRef::new(row, number, u16::try_from(width).ok()?)
    })
}

/// The bytes of a hash tile.
#[must_use]
pub fn write_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hashes in the bytes of a hash tile of `width`.
///
/// # Errors
/// `Length`.
pub fn read_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    match bytes.as_chunks::<32>() {
        (hashes, []) if hashes.len() == usize::from(width) => Ok(hashes.to_vec()),
        _ => Err(TileError::Length),
    }
}

/// The bytes of an entry bundle: each entry after its length as big-endian u16.
///
/// # Errors
/// `EntryTooLarge`, or `Length` for more than 256 entries or none.
pub fn write_bundle<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Result<Vec<u8>, TileError> {
    let mut out = Vec::new();
    let mut count = 0_u16;
    for entry in entries {
        let len = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLarge)?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(entry);
        count = count.saturating_add(1);
        if count > TILE_WIDTH {
            return Err(TileError::Length);
        }
    }
    if count == 0 { Err(TileError::Length) } else { Ok(out) }
}

/// The entries in the bytes of an entry bundle of `width`.
///
/// # Errors
/// `Length`.
pub fn read_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(usize::from(width));
    while entries.len() < usize::from(width) {
        let (len, after) = rest.split_first_chunk::<2>().ok_or(TileError::Length)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (entry, after) = after.split_at_checked(len).ok_or(TileError::Length)?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(TileError::Length) }
}

impl From<TileRef> for String {
    fn from(tile: TileRef) -> Self {
        tile.to_string()
    }
}
