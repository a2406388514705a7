//! Time as the log sees it: the wall clock, never backwards, and only as long as it keeps pace with
//! the monotonic one. A clock that runs off makes the plane stop deciding until a person confirms.

use crate::ports::Clock;
use placet_types::ids::TimeMs;
use std::sync::Arc;

/// How far the clocks may part before the wall clock is not believed.
const RUNAWAY_MS: u64 = 2000;
/// The anchor follows small corrections (NTP slews by at most 0.5 ms per second).
const ANCHOR_MS: u64 = 60_000;

/// Stamps time.
pub(crate) struct Stamp {
    clock: Arc<dyn Clock>,
    wall: TimeMs,
    monotonic: u64,
    last: TimeMs,
    sure: bool,
}

impl Stamp {
    /// `last` is the time of the newest entry of any log: a wall clock well before it is a clock
    /// that jumped back while nobody looked.
    pub(crate) fn new(clock: Arc<dyn Clock>, last: TimeMs) -> Self {
        let (wall, monotonic) = (clock.wall(), clock.monotonic_ms());
        let sure = wall.plus(RUNAWAY_MS) >= last;
        Self { clock, wall, monotonic, last, sure }
    }

    /// The stamped time, or `None` while the clock is not believed.
    pub(crate) fn now(&mut self) -> Option<TimeMs> {
        let (wall, monotonic) = (self.clock.wall(), self.clock.monotonic_ms());
        let elapsed = monotonic.saturating_sub(self.monotonic);
        let expected = self.wall.plus(elapsed);
        if wall.since(expected) > RUNAWAY_MS || expected.since(wall) > RUNAWAY_MS {
            self.sure = false;
        }
        if !self.sure {
            return None;
        }
        if elapsed > ANCHOR_MS {
            (self.wall, self.monotonic) = (wall, monotonic);
        }
        self.last = self.last.max(wall);
        Some(self.last)
    }

    /// The newest stamp.
    pub(crate) fn last(&self) -> TimeMs {
        self.last
    }

    /// Believes the wall clock from here on. Returns the last stamp and the new time.
    pub(crate) fn confirm(&mut self) -> (TimeMs, TimeMs) {
        (self.wall, self.monotonic) = (self.clock.wall(), self.clock.monotonic_ms());
        self.sure = true;
        (self.last, self.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Hands(AtomicU64, AtomicU64);

    impl Clock for Hands {
        fn wall(&self) -> TimeMs {
            TimeMs(self.0.load(Ordering::Relaxed))
        }
        fn monotonic_ms(&self) -> u64 {
            self.1.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_clock_that_runs_off_is_not_believed_until_confirmed() {
        let hands = Arc::new(Hands::default());
        let set = |wall, monotonic| {
            hands.0.store(wall, Ordering::Relaxed);
            hands.1.store(monotonic, Ordering::Relaxed);
        };
        set(100_000, 5);
        let mut stamp = Stamp::new(hands.clone(), TimeMs(90_000));
        assert_eq!(stamp.now(), Some(TimeMs(100_000)));
        set(99_500, 10);
        assert_eq!(stamp.now(), Some(TimeMs(100_000)), "never backwards");
        set(90_000, 20);
        assert_eq!(stamp.now(), None);
        set(100_020, 30);
        assert_eq!(stamp.now(), None, "once in doubt, a person has to confirm");
        stamp.confirm();
        assert_eq!(stamp.now(), Some(TimeMs(100_020)));
        set(200_000, 40);
        assert_eq!(stamp.now(), None, "forwards is a jump, too");
        let mut late = Stamp::new(hands.clone(), TimeMs(300_000));
        assert_eq!(late.now(), None, "the log is ahead of the clock");
    }
}
