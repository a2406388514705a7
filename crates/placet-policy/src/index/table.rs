//! Hash tables of the index. Owns the hash and the layout: one look-up touches one cache line.

use super::NONE;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Multiplicative hash in the manner of rustc's. Only authors of policy choose what lies in the
/// maps, and requests only look up, so no request can make a chain long. Never iterated.
#[derive(Clone, Copy, Default)]
pub(crate) struct FastHasher(u64);

const MULTIPLIER: u64 = 0xf135_7aea_2e62_a9c5;

impl FastHasher {
    #[inline]
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    }
}

impl Hasher for FastHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        // Overlapping reads of the tail instead of a loop over bytes; the length tells them apart.
        self.add(bytes.len() as u64);
        let (words, _) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if let Some(last) = bytes.last_chunk::<8>() {
            self.add(u64::from_le_bytes(*last));
        } else if let (Some(first), Some(last)) =
            (bytes.first_chunk::<4>(), bytes.last_chunk::<4>())
        {
            let (low, high) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            self.add(u64::from(low) | u64::from(high) << 32);
        } else {
            let word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.add(word);
        }
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.add(u64::from(byte));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// A map of the standard library with the fast hash.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<FastHasher>>;

/// Longest text that lies in its slot.
const INLINE: usize = 20;

/// 32 bytes, so a slot never straddles two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Slot {
    space: u32,
    /// `NONE` marks an empty slot.
    value: u32,
    len: u32,
    /// The text, or in the first four bytes where it starts in the arena.
    text: [u8; INLINE],
}

const EMPTY: Slot = Slot { space: 0, value: NONE, len: 0, text: [0; INLINE] };

/// An open-addressing table from a space and a text to a number.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// A power of two of slots, at most three quarters of them full.
    slots: Vec<Slot>,
    full: usize,
    arena: Vec<u8>,
}

impl Table {
    #[inline]
    fn hash(space: u32, text: &[u8]) -> usize {
        let mut hasher = FastHasher::default();
        hasher.add(u64::from(space));
        hasher.write(text);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let hash = hasher.finish() as usize;
        hash
    }

    #[inline]
    fn holds(&self, slot: &Slot, space: u32, text: &[u8]) -> bool {
        if slot.space != space || slot.len as usize != text.len() {
            return false;
        }
        match slot.text.get(..text.len()) {
            Some(inline) => inline == text,
            None => self.far(slot) == Some(text),
        }
    }

    fn far(&self, slot: &Slot) -> Option<&[u8]> {
        let start = u32::from_le_bytes(*slot.text.first_chunk::<4>()?) as usize;
        self.arena.get(start..start.checked_add(slot.len as usize)?)
    }

    /// The number under `text` in `space`.
    #[inline]
    pub(crate) fn get(&self, space: u32, text: &[u8]) -> Option<u32> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = Self::hash(space, text);
        loop {
            let slot = self.slots.get(at & mask)?;
            if slot.value == NONE {
                return None;
            }
            if self.holds(slot, space, text) {
                return Some(slot.value);
            }
            at = at.wrapping_add(1);
        }
    }

    /// Sets what is not yet there; returns what is there now.
    pub(crate) fn insert(&mut self, space: u32, text: &[u8], value: u32) -> u32 {
        if let Some(known) = self.get(space, text) {
            return known;
        }
        if self.full.saturating_mul(4) >= self.slots.len().saturating_mul(3) {
            self.grow();
        }
        let mut slot = Slot {
            space,
            value,
            len: u32::try_from(text.len()).unwrap_or(NONE),
            text: [0; INLINE],
        };
        if let Some(inline) = slot.text.get_mut(..text.len()) {
            inline.copy_from_slice(text);
        } else {
            let start = u32::try_from(self.arena.len()).unwrap_or(NONE).to_le_bytes();
            if let Some(head) = slot.text.first_chunk_mut::<4>() {
                *head = start;
            }
            self.arena.extend_from_slice(text);
        }
        self.full = self.full.saturating_add(1);
        self.place(Self::hash(space, text), slot);
        value
    }

    fn place(&mut self, hash: usize, slot: Slot) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash;
        while let Some(there) = self.slots.get_mut(at & mask) {
            if there.value == NONE {
                *there = slot;
                return;
            }
            at = at.wrapping_add(1);
        }
    }

    fn grow(&mut self) {
        let size = self.slots.len().saturating_mul(2).max(16);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; size]);
        for slot in old {
            if slot.value != NONE {
                let hash = match slot.text.get(..slot.len as usize) {
                    Some(inline) => Self::hash(slot.space, inline),
                    None => self.far(&slot).map_or(0, |text| Self::hash(slot.space, text)),
                };
                self.place(hash, slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_holds_what_was_put_in_and_nothing_else() {
        let mut table = Table::default();
        assert_eq!(table.get(0, b""), None);
        let text = |number: u32| format!("{number}-{}", "x".repeat(number as usize % 40));
        for number in 0..3000 {
            assert_eq!(table.insert(number % 3, text(number).as_bytes(), number), number);
        }
        for number in 0..3000 {
            assert_eq!(table.insert(number % 3, text(number).as_bytes(), 9), number);
            assert_eq!(table.get(number % 3, text(number).as_bytes()), Some(number));
            assert_eq!(table.get(3, text(number).as_bytes()), None);
        }
    }
}
