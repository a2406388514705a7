//! Idempotency keys in their windows, by the million: a slab of 32-byte records, small hash tables
//! of slots over it, and a list of slots for each minute in which windows end. Owns their bound, how
//! they are forgotten and how a snapshot carries them; refuses to know what an attempt decided.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use hashbrown::HashTable;
use placet_types::event::Tag;
use placet_types::ids::TimeMs;

/// Idempotency keys with the newest attempt under each. Never iterated where the order could reach
/// anything.
///
/// INVARIANT: the slab has no holes; each of its slots stands in one table once and in the list of
/// its minute once, at the place that its record names.
#[derive(Default)]
pub struct IdempotencyKeys {
    slab: Slab,
    /// By a byte of the tag: doubling one of them never moves more than a small part of all keys.
    tables: Vec<HashTable<u32>>,
    /// By the minute at whose start the windows have ended.
    ends: BTreeMap<u64, Vec<u32>>,
    /// Whether nothing is forgotten: what is gathered for a snapshot hides older attempts.
    gathers: bool,
}

/// The newest attempt under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) index: u64,
    pub(crate) bound: bool,
    pub(crate) until: TimeMs,
    /// Whether it followed an attempt whose window had not ended.
    pub(crate) linked: bool,
}

/// A log has no more entries, so that an index fits a record.
pub(crate) const INDEX_BITS: u32 = 40;
/// Tables: one for each value of a tag's last byte.
const TABLES: usize = 256;
/// Expired keys forgotten per entry: more than are added, so the backlog always shrinks.
const FORGET_PER_ENTRY: usize = 8;
const MINUTE_MS: u64 = 60_000;

fn minute_of(time: TimeMs) -> u64 {
    time.0.checked_div(MINUTE_MS).unwrap_or(0)
}

/// The minute at whose start a window that ends at `until` has ended.
fn end_minute(until: TimeMs) -> u64 {
    minute_of(until).saturating_add(1)
}

/// Tags are outputs of a keyed hash that nobody outside can foretell: they need no hashing.
fn hash_of(tag: &Tag) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *tag;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn table_of(tag: &Tag) -> usize {
    let [.., last] = *tag;
    usize::from(last)
}

/// One key. An instant of a log is an integer that a double holds, below 2^53, and so is a window:
/// where it ends fits 54 bits.
#[derive(Clone, Copy)]
struct Record {
    tag: Tag,
    /// `until` (54 bits), linked, bound, and the high 8 bits of the index.
    packed: u64,
    index_low: u32,
    /// Where its slot stands in the list of its minute.
    place: u32,
}

const _: () = assert!(size_of::<Record>() == 32);

const UNTIL_BITS: u32 = 54;
const BOUND: u64 = 1 << 8;
const LINKED: u64 = 1 << 9;

impl Record {
    fn new(tag: Tag, attempt: Attempt) -> Self {
        let Attempt { index, bound, until, linked } = attempt;
        let until = until.0.min((1 << UNTIL_BITS) - 1);
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let packed =
            until << 10 | flag(linked, LINKED) | flag(bound, BOUND) | ((index >> 32) & 0xff);
        let [a, b, c, d, ..] = index.to_le_bytes();
        Self { tag, packed, index_low: u32::from_le_bytes([a, b, c, d]), place: 0 }
    }

    fn attempt(&self) -> Attempt {
        Attempt {
            index: (self.packed & 0xff) << 32 | u64::from(self.index_low),
            bound: self.packed & BOUND != 0,
            linked: self.packed & LINKED != 0,
            until: self.until(),
        }
    }

    fn until(&self) -> TimeMs {
        TimeMs(self.packed >> 10)
    }

    fn minute(&self) -> u64 {
        end_minute(self.until())
    }
}

/// Records in pieces, so that growing never copies them all.
#[derive(Default)]
struct Slab {
    pieces: Vec<Vec<Record>>,
    len: u32,
}

const PIECE_BITS: u32 = 15;

impl Slab {
    fn place(slot: u32) -> (usize, usize) {
        let at = slot & ((1 << PIECE_BITS) - 1);
        (
            usize::try_from(slot >> PIECE_BITS).unwrap_or(usize::MAX),
            usize::try_from(at).unwrap_or(usize::MAX),
        )
    }

    fn get(&self, slot: u32) -> Option<&Record> {
        let (piece, at) = Self::place(slot);
        self.pieces.get(piece)?.get(at)
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Record> {
        let (piece, at) = Self::place(slot);
        self.pieces.get_mut(piece)?.get_mut(at)
    }

    fn push(&mut self, record: Record) {
        let (piece, _) = Self::place(self.len);
        if self.pieces.len() <= piece {
            // The first piece grows with a small workspace; the others are made whole.
            let room = if piece == 0 { 0 } else { 1 << PIECE_BITS };
            self.pieces.push(Vec::with_capacity(room));
        }
        if let Some(piece) = self.pieces.get_mut(piece) {
            piece.push(record);
            self.len = self.len.saturating_add(1);
        }
    }

    fn pop(&mut self) -> Option<Record> {
        let piece = self.pieces.last_mut()?;
        let record = piece.pop();
        if piece.is_empty() {
            self.pieces.pop();
        }
        self.len = self.len.saturating_sub(1);
        record
    }
}

impl fmt::Debug for IdempotencyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKeys({})", self.len())
    }
}

impl IdempotencyKeys {
    /// An empty set that forgets nothing: what comes after a snapshot, for the next one.
    #[must_use]
    pub fn gathering() -> Self {
        Self { gathers: true, ..Self::default() }
    }

    /// How many keys.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.slab.len).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.len == 0
    }

    /// Makes room for so many more keys at once.
    pub fn reserve(&mut self, more: usize) {
        self.make_tables();
        let each = more.div_ceil(TABLES);
        // Tags spread evenly, but not exactly: a sixteenth more spares most tables a doubling.
        let each = each.saturating_add(each >> 4);
        let Self { slab, tables, .. } = self;
        for table in tables {
            table.reserve(each, |slot| slab.get(*slot).map_or(0, |record| hash_of(&record.tag)));
        }
    }

    fn make_tables(&mut self) {
        if self.tables.is_empty() {
            self.tables.resize_with(TABLES, HashTable::new);
        }
    }

    fn slot_of(&self, tag: &Tag) -> Option<u32> {
        let table = self.tables.get(table_of(tag))?;
        let same = |slot: &u32| self.slab.get(*slot).is_some_and(|record| record.tag == *tag);
        table.find(hash_of(tag), same).copied()
    }

    pub(crate) fn get(&self, tag: &Tag, now: TimeMs) -> Option<Attempt> {
        let attempt = self.slab.get(self.slot_of(tag)?)?.attempt();
        (attempt.until > now).then_some(attempt)
    }

    /// Whether a new key has no place: the bound is reached and nothing can be forgotten. Where
    /// something can, the entry that is being planned forgets it before it adds its own.
    pub(crate) fn is_full(&self, bound: usize, now: TimeMs) -> bool {
        let due = self.ends.first_key_value().is_some_and(|(minute, _)| *minute <= minute_of(now));
        self.len() >= bound && !due
    }

    pub(crate) fn set(&mut self, tag: Tag, attempt: Attempt) {
        self.file(Record::new(tag, attempt));
    }

    fn file(&mut self, mut record: Record) {
        let known = self.slot_of(&record.tag);
        if let Some(slot) = known {
            self.unlist(slot);
            // What the replaced attempt hides in earlier runs, its successor has to hide.
            record.packed |= self.slab.get(slot).map_or(0, |old| old.packed & LINKED);
        }
        let slot = known.unwrap_or(self.slab.len);
        let list = self.ends.entry(record.minute()).or_default();
        record.place = u32::try_from(list.len()).unwrap_or(u32::MAX);
        list.push(slot);
        match self.slab.get_mut(slot) {
            Some(old) => *old = record,
            None => {
                self.slab.push(record);
                self.make_tables();
                let Self { slab, tables, .. } = self;
                if let Some(table) = tables.get_mut(table_of(&record.tag)) {
                    let rehash = |slot: &u32| slab.get(*slot).map_or(0, |r| hash_of(&r.tag));
                    table.insert_unique(hash_of(&record.tag), slot, rehash);
                }
            }
        }
    }

    /// Takes a slot out of the list of its minute.
    fn unlist(&mut self, slot: u32) {
        let Some(record) = self.slab.get(slot) else { return };
        let (minute, place) = (record.minute(), record.place);
        let Some(list) = self.ends.get_mut(&minute) else { return };
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        debug_assert_eq!(list.get(at), Some(&slot));
        if list.get(at) == Some(&slot) {
            list.swap_remove(at);
        }
        if let Some(moved) = list.get(at).and_then(|moved| self.slab.get_mut(*moved)) {
            moved.place = place;
        }
        if list.is_empty() {
            self.ends.remove(&minute);
        }
    }

    /// Removes a key; the last record of the slab takes its slot.
    fn remove(&mut self, slot: u32) {
        self.unlist(slot);
        let Some(record) = self.slab.get(slot).copied() else { return };
        if let Some(table) = self.tables.get_mut(table_of(&record.tag))
            && let Ok(found) = table.find_entry(hash_of(&record.tag), |at| *at == slot)
        {
            found.remove();
        }
        let Some(moved) = self.slab.pop() else { return };
        let last = self.slab.len;
        if last == slot {
            return;
        }
        if let Some(table) = self.tables.get_mut(table_of(&moved.tag))
            && let Some(at) = table.find_mut(hash_of(&moved.tag), |at| *at == last)
        {
            *at = slot;
        }
        let place = usize::try_from(moved.place).unwrap_or(usize::MAX);
        if let Some(at) = self.ends.get_mut(&moved.minute()).and_then(|list| list.get_mut(place)) {
            *at = slot;
        }
        if let Some(record) = self.slab.get_mut(slot) {
            *record = moved;
        }
    }

    pub(crate) fn forget(&mut self, now: TimeMs) {
        if self.gathers {
            return;
        }
        for _ in 0..FORGET_PER_ENTRY {
            let Some((minute, list)) = self.ends.first_key_value() else { return };
            let Some(slot) = list.last().copied().filter(|_| *minute <= minute_of(now)) else {
                return;
            };
            self.remove(slot);
        }
    }
}

/// How a snapshot carries them: runs of records of 28 bytes, tag, packed and low index, each run
/// with the keys of a range of the log. Read in the order of the log, the newest attempt counts.
impl IdempotencyKeys {
    /// Bytes of one key in a run.
    pub const RUN_BYTES: usize = 28;

    /// Appends a run of what still says something at `now`: windows that have not ended, and
    /// attempts that followed another one, whose window may be longer. Returns their number, and
    /// the first instant at which the windows of at least half of them have ended.
    pub fn write_run(&self, now: TimeMs, out: &mut Vec<u8>) -> (u64, TimeMs) {
        let mut count = 0_u64;
        // Table by table: whoever reads a run fills one small table after another, in the cache.
        let slots = self.tables.iter().flatten().filter_map(|slot| self.slab.get(*slot));
        for record in slots.filter(|record| counts(record, now)) {
            out.extend_from_slice(&record.tag);
            out.extend_from_slice(&record.packed.to_le_bytes());
            out.extend_from_slice(&record.index_low.to_le_bytes());
            count = count.saturating_add(1);
        }
        let (mut ended, mut half) = (0_u64, 0_u64);
        for (minute, list) in &self.ends {
            if ended.saturating_mul(2) >= count {
                break;
            }
            half = *minute;
            if *minute > minute_of(now) {
                ended = ended.saturating_add(list.len() as u64);
            }
        }
        (count, TimeMs(half.saturating_mul(MINUTE_MS)))
    }

    /// Adds a run over what was read before; attempts that say nothing at `now` are left out.
    /// `None`, and the set is of no use, when the bytes are no run of entries `from..until`.
    pub fn read_run(&mut self, bytes: &[u8], from: u64, until: u64, now: TimeMs) -> Option<()> {
        let (records, rest) = bytes.as_chunks::<{ Self::RUN_BYTES }>();
        if !rest.is_empty() || u32::try_from(self.len().checked_add(records.len())?).is_err() {
            return None;
        }
        for bytes in records {
            let (tag, rest) = bytes.split_first_chunk::<16>()?;
            let (packed, rest) = rest.split_first_chunk::<8>()?;
            let (low, _) = rest.split_first_chunk::<4>()?;
            let record = Record {
                tag: *tag,
                packed: u64::from_le_bytes(*packed),
                index_low: u32::from_le_bytes(*low),
                place: 0,
            };
            if !(from..until).contains(&record.attempt().index) {
                return None;
            }
            if self.gathers || counts(&record, now) {
                self.file(record);
            }
        }
        Some(())
    }
}

/// Whether leaving a record out could change an answer at `now` or later.
fn counts(record: &Record, now: TimeMs) -> bool {
    record.minute() > minute_of(now) || record.attempt().linked
}

#[cfg(test)]
mod tests;
