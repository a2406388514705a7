//! What state remembers by the million: idempotency keys, sliding windows, bits per entry. Owns
//! their bounds and how they forget; refuses to know what they mean.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use hashbrown::HashMap;
use placet_types::event::Tag;
use placet_types::ids::TimeMs;

/// Idempotency keys in their windows. Never iterated, so hashing order reaches nothing.
#[derive(Debug, Default)]
pub(crate) struct Idempotency {
    map: HashMap<Tag, Filed>,
    /// Every tag of `map` once, by the minute at whose start its window has ended.
    ends: BTreeMap<u64, Vec<Tag>>,
}

/// The newest attempt under a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) index: u64,
    pub(crate) bound: bool,
    pub(crate) until: TimeMs,
}

/// An attempt and its place in the list of its minute, so that a retry moves it instead of leaving
/// a second mark: retries take no room.
#[derive(Clone, Copy, Debug)]
struct Filed {
    index: u64,
    until: TimeMs,
    place: u32,
    bound: bool,
}

const MINUTE_MS: u64 = 60_000;
/// Expired keys forgotten per entry: more than are added, so the backlog always shrinks.
const FORGET_PER_ENTRY: usize = 8;

fn minute_of(time: TimeMs) -> u64 {
    time.0.checked_div(MINUTE_MS).unwrap_or(0)
}

impl Idempotency {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn get(&self, tag: &Tag, now: TimeMs) -> Option<Attempt> {
        let Filed { index, until, bound, .. } = *self.map.get(tag)?;
        (until > now).then_some(Attempt { index, bound, until })
    }

    /// Whether a new key has no place: the bound is reached and nothing can be forgotten. Where
    /// something can, the entry that is being planned forgets it before it adds its own.
    pub(crate) fn is_full(&self, bound: usize, now: TimeMs) -> bool {
        let due = self.ends.first_key_value().is_some_and(|(minute, _)| *minute <= minute_of(now));
        self.map.len() >= bound && !due
    }

    pub(crate) fn set(&mut self, tag: Tag, attempt: Attempt) {
        self.unfile(&tag);
        let Attempt { index, bound, until } = attempt;
        let list = self.ends.entry(minute_of(until).saturating_add(1)).or_default();
        let place = u32::try_from(list.len()).unwrap_or(u32::MAX);
        list.push(tag);
        self.map.insert(tag, Filed { index, until, place, bound });
    }

    /// Takes the mark of a known tag out of its minute.
    fn unfile(&mut self, tag: &Tag) {
        let Some(Filed { until, place, .. }) = self.map.get(tag).copied() else { return };
        let minute = minute_of(until).saturating_add(1);
        let Some(list) = self.ends.get_mut(&minute) else { return };
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        if list.get(at) == Some(tag) {
            list.swap_remove(at);
        }
        if let Some(moved) = list.get(at).and_then(|moved| self.map.get_mut(moved)) {
            moved.place = place;
        }
        if list.is_empty() {
            self.ends.remove(&minute);
        }
    }

    pub(crate) fn forget(&mut self, now: TimeMs) {
        for _ in 0..FORGET_PER_ENTRY {
            let Some(mut entry) = self.ends.first_entry() else { return };
            if *entry.key() > minute_of(now) {
                return;
            }
            if let Some(tag) = entry.get_mut().pop() {
                self.map.remove(&tag);
            }
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

/// Sliding windows: per key the instants of its newest permits and holds, no more than fit.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    map: HashMap<Tag, Window>,
    ends: BTreeSet<(TimeMs, Tag)>,
}

#[derive(Debug)]
struct Window {
    times: VecDeque<TimeMs>,
    ends: TimeMs,
}

impl Windows {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn contains(&self, tag: &Tag) -> bool {
        self.map.contains_key(tag)
    }

    /// Milliseconds until there is room, if `count` of them lie within `per_ms` before `now`.
    pub(crate) fn full(&self, tag: &Tag, count: u32, per_ms: u64, now: TimeMs) -> Option<u64> {
        if count == 0 {
            // Nothing ever fits; policy does not compile such a limit, and it must not be none.
            return Some(per_ms);
        }
        let times = &self.map.get(tag)?.times;
        let nth = times.len().checked_sub(usize::try_from(count).ok()?)?;
        let leaves = times.get(nth)?.plus(per_ms);
        (leaves > now).then(|| leaves.since(now))
    }

    pub(crate) fn add(&mut self, tag: Tag, count: u32, per_ms: u64, now: TimeMs) {
        let ends = now.plus(per_ms);
        let window = self.map.entry(tag).or_insert_with(|| Window { times: VecDeque::new(), ends });
        self.ends.remove(&(window.ends, tag));
        window.ends = window.ends.max(ends);
        self.ends.insert((window.ends, tag));
        window.times.push_back(now);
        while window.times.len() > usize::try_from(count).unwrap_or(usize::MAX) {
            window.times.pop_front();
        }
    }

    pub(crate) fn forget(&mut self, now: TimeMs) {
        for _ in 0..FORGET_PER_ENTRY {
            match self.ends.first().copied() {
                Some((ends, tag)) if ends <= now => {
                    self.ends.remove(&(ends, tag));
                    self.map.remove(&tag);
                }
                _ => return,
            }
        }
    }
}

/// One bit per log index.
#[derive(Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn get(&self, index: u64) -> bool {
        let (word, bit) = Self::place(index);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(crate) fn set(&mut self, index: u64) {
        let (word, bit) = Self::place(index);
        if self.0.len() <= word {
            self.0.resize(word.saturating_add(1), 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= bit;
        }
    }

    fn place(index: u64) -> (usize, u64) {
        (usize::try_from(index >> 6).unwrap_or(usize::MAX), 1 << (index & 63))
    }
}
