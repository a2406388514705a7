//! Once faults stop, every waiting caller is answered in bounded time, an instance that may start
//! starts, and a refused start says why.

use super::{Held, violated};
use std::collections::BTreeMap;

const NAME: &str = "liveness";

/// A caller waits no longer, in milliseconds of a world without faults. Its own longest wait is 8 s.
const ANSWER_MS: u64 = 30_000;
/// Starts that may be refused one after another, each for another reason.
const REFUSALS_MAX: u32 = 4;

#[derive(Default)]
pub(crate) struct Liveness {
    /// Requests inside the plane, and since when.
    inside: BTreeMap<u64, (u64, &'static str)>,
    next: u64,
    refusals: u32,
}

impl Liveness {
    pub(crate) fn begins(&mut self, now: u64, what: &'static str) -> u64 {
        self.next += 1;
        self.inside.insert(self.next, (now, what));
        self.next
    }

    pub(crate) fn ends(&mut self, id: u64) {
        self.inside.remove(&id);
    }

    /// Nobody waits inside the plane.
    pub(crate) fn is_quiet(&self) -> bool {
        self.inside.is_empty()
    }

    /// The instance is gone, and everything in it.
    pub(crate) fn crash(&mut self) {
        self.inside.clear();
    }

    /// `calm` is since when there are no faults.
    pub(crate) fn look(&self, now: u64, calm: u64) -> Held {
        for (since, what) in self.inside.values() {
            let waited = now.saturating_sub(calm.max(*since));
            if waited > ANSWER_MS {
                return violated(
                    NAME,
                    format!("{what} has waited for {waited} ms without a fault"),
                );
            }
        }
        Ok(())
    }

    /// A start was refused; `expected` says whether something was wrong with what it found.
    pub(crate) fn refused(&mut self, code: &str, why: &str, expected: bool) -> Held {
        self.refusals += 1;
        if code.is_empty() || why.is_empty() {
            return violated(NAME, "a start was refused without a reason");
        }
        if !expected {
            return violated(NAME, format!("a start was refused and nothing was wrong: {why}"));
        }
        if self.refusals > REFUSALS_MAX {
            return violated(NAME, format!("a start was refused {} times: {why}", self.refusals));
        }
        Ok(())
    }

    pub(crate) fn started(&mut self) {
        self.refusals = 0;
    }
}
