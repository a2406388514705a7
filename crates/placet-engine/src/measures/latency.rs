//! A histogram of waiting times: fixed bounds, exact sum and maximum, no floats.

/// How long something took, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// All of them together.
    pub sum_ms: u64,
    /// The longest.
    pub max_ms: u64,
    /// How many took at most as long as the bound at the same place, and longer than the one before it; the
    /// last place is for what took longer than any bound.
    pub places: [u64; Self::BOUNDS_MS.len() + 1],
}

impl Latency {
    /// The bounds: from ten seconds to a day.
    pub const BOUNDS_MS: [u64; 12] = [
        10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000,
        14_400_000, 28_800_000, 86_400_000,
    ];

    pub(crate) fn add(&mut self, took_ms: u64) {
        self.count = self.count.saturating_add(1);
        self.sum_ms = self.sum_ms.saturating_add(took_ms);
        self.max_ms = self.max_ms.max(took_ms);
        let at = Self::BOUNDS_MS.iter().position(|bound| took_ms <= *bound);
        super::raise(self.places.get_mut(at.unwrap_or(Self::BOUNDS_MS.len())));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
        self.max_ms = self.max_ms.max(other.max_ms);
        for (mine, theirs) in self.places.iter_mut().zip(other.places) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// The smallest bound within which at least `percent` of them lie: the longest itself where that is
    /// shorter. `None` where there are none.
    #[must_use]
    pub fn within(&self, percent: u8) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let wanted = self.count.saturating_mul(u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0_u64;
        for (count, bound) in self.places.iter().zip(Self::BOUNDS_MS) {
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return Some(bound.min(self.max_ms));
            }
        }
        Some(self.max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_percentiles_never_too_short() {
        let mut all = Latency::default();
        assert_eq!(all.within(50), None);
        for took in [10_000, 10_001, 86_400_001] {
            all.add(took);
        }
        assert_eq!((all.count, all.sum_ms, all.max_ms), (3, 86_420_002, 86_400_001));
        assert_eq!((all.places[0], all.places[1], all.places[12]), (1, 1, 1));
        assert_eq!(
            [1, 33, 34, 66, 67, 100].map(|it| all.within(it).unwrap()),
            [10_000, 10_000, 30_000, 30_000, 86_400_001, 86_400_001]
        );
        let mut one = Latency::default();
        one.add(61_000);
        // No longer than what was longest.
        assert_eq!(one.within(99), Some(61_000));
    }
}
