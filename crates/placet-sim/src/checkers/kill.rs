//! No permit leaves after a kill that was acknowledged before, until somebody begins to lift it. A
//! fresh permit does not even leave once the kill has taken effect, which is before it is written.

use super::{Held, violated};
use std::collections::BTreeMap;

const NAME: &str = "kill";

#[derive(Default)]
pub(crate) struct Kill {
    /// Workspace → the step at which a kill over it was acknowledged.
    since: BTreeMap<u32, u64>,
    /// Workspace → the step at which a kill over it took effect, written or not.
    effect: BTreeMap<u32, u64>,
    /// The step of the newest sign of a lift.
    lifting: u64,
    lifts: u32,
}

impl Kill {
    /// A lift reaches the plane.
    pub(crate) fn lift_begins(&mut self, step: u64) {
        self.since.clear();
        self.effect.clear();
        self.lifting = step;
        self.lifts += 1;
    }

    /// It has been answered, or died with the instance.
    pub(crate) fn lift_ends(&mut self, step: u64) {
        self.lifting = step;
        self.lifts = self.lifts.saturating_sub(1);
    }

    /// A trip over these workspaces has reached the plane.
    pub(crate) fn takes_effect(&mut self, workspaces: &[u32], step: u64) {
        if self.lifts == 0 {
            for no in workspaces {
                self.effect.entry(*no).or_insert(step);
            }
        }
    }

    /// The instance is gone: what was not written never took effect.
    pub(crate) fn crash(&mut self) {
        self.effect.clear();
    }

    /// The permit of a decision that was written just now left the plane at `step`.
    pub(crate) fn fresh_permit_left(&self, workspace: u32, step: u64, what: &str) -> Held {
        match self.effect.get(&workspace) {
            Some(since) if *since < step => violated(
                NAME,
                format!("{what} left fresh at step {step}; the kill took effect at step {since}"),
            ),
            _ => Ok(()),
        }
    }

    /// A trip over these workspaces, sent at step `sent`, was acknowledged at `step`.
    pub(crate) fn tripped(&mut self, workspaces: &[u32], sent: u64, step: u64) {
        if self.lifts > 0 || sent <= self.lifting {
            return;
        }
        for no in workspaces {
            self.since.entry(*no).or_insert(step);
        }
    }

    /// An answer with a permit that may be used left the plane at `step`.
    pub(crate) fn permit_left(&self, workspace: u32, step: u64, what: &str) -> Held {
        match self.since.get(&workspace) {
            Some(since) if *since < step => violated(
                NAME,
                format!("{what} left at step {step}; the kill was acknowledged at step {since}"),
            ),
            _ => Ok(()),
        }
    }
}
