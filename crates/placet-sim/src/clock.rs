//! The clock port: time moves when the simulation says so. The wall clock may jump and drift
//! against the monotonic one.

use placet_runtime::ports::{Clock, Sleep};
use placet_types::ids::TimeMs;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Where every simulation begins: 2026-01-01T00:00:00Z.
const BEGIN_MS: u64 = 1_767_225_600_000;

#[derive(Debug, Default)]
struct Inner {
    now: u64,
    offset: i64,
    /// Milliseconds that the wall clock gains in ten seconds.
    drift: i64,
    next: u64,
    sleepers: BTreeMap<(u64, u64), Waker>,
}

/// Simulated time.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimClock(Arc<Mutex<Inner>>);

impl SimClock {
    pub(crate) fn now(&self) -> u64 {
        self.lock().now
    }

    /// Moves on, and wakes who has slept long enough.
    pub(crate) fn advance(&self, by: u64) {
        let due = {
            let mut inner = self.lock();
            let before = inner.now;
            inner.now += by;
            let tens = i64::try_from(inner.now / 10_000 - before / 10_000).unwrap_or(0);
            inner.offset += inner.drift * tens;
            let next = (inner.now + 1, 0);
            let later = inner.sleepers.split_off(&next);
            std::mem::replace(&mut inner.sleepers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// When the next sleeper is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.lock().sleepers.keys().next().map(|(at, _)| *at)
    }

    /// The wall clock jumps.
    pub(crate) fn jump(&self, by: i64) {
        self.lock().offset += by;
    }

    pub(crate) fn set_drift(&self, per_ten_seconds: i64) {
        self.lock().drift = per_ten_seconds;
    }

    /// Makes the wall clock at least `at`, as whoever repairs a clock does.
    pub(crate) fn repair(&self, at: TimeMs) {
        let behind = at.since(self.wall());
        self.lock().offset += i64::try_from(behind).unwrap_or(0);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn wall(&self) -> TimeMs {
        let inner = self.lock();
        TimeMs((BEGIN_MS + inner.now).saturating_add_signed(inner.offset))
    }

    fn monotonic_ms(&self) -> u64 {
        self.now()
    }

    fn sleep(&self, wait: Duration) -> Sleep {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let mut inner = self.lock();
        inner.next += 1;
        let key = (inner.now.saturating_add(ms), inner.next);
        drop(inner);
        Box::pin(Sleeper { clock: self.clone(), key })
    }
}

struct Sleeper {
    clock: SimClock,
    key: (u64, u64),
}

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.clock.lock();
        if inner.now >= self.key.0 {
            return Poll::Ready(());
        }
        inner.sleepers.insert(self.key, ctx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
    }
}
