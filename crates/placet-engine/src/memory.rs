//! What state remembers of many: sliding windows, bits per entry. Owns their bounds and how they
//! forget; refuses to know what they mean.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use hashbrown::HashMap;
use placet_types::event::Tag;
use placet_types::ids::TimeMs;

/// Expired windows forgotten per entry: more than are added, so the backlog always shrinks.
const FORGET_PER_ENTRY: usize = 8;

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

    /// All windows by the instants at which they end.
    pub(crate) fn in_order(
        &self,
    ) -> impl ExactSizeIterator<Item = (TimeMs, &Tag, &VecDeque<TimeMs>)> {
        static NONE: VecDeque<TimeMs> = VecDeque::new();
        self.ends.iter().map(|(ends, tag)| {
            (*ends, tag, self.map.get(tag).map_or(&NONE, |window| &window.times))
        })
    }

    /// Puts a window back; `None` where there is one already.
    pub(crate) fn restore(
        &mut self,
        tag: Tag,
        ends: TimeMs,
        times: VecDeque<TimeMs>,
    ) -> Option<()> {
        self.ends.insert((ends, tag));
        self.map.insert(tag, Window { times, ends }).is_none().then_some(())
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
    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }

    pub(crate) fn from_words(words: Vec<u64>) -> Self {
        Self(words)
    }

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
