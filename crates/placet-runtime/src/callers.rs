//! Callers that wait for the approval of an action, so that a stop can say how many it told. Owns that each
//! is counted by one stop; refuses to know how they are told.

use placet_types::event::{DecisionEvent, KillScope};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those that wait and that no stop has told.
#[derive(Default)]
pub(crate) struct Callers(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    next: u64,
    all: BTreeMap<u64, Arc<DecisionEvent>>,
    /// Those that a kill of the whole workspace has told and that no entry has counted.
    told: u64,
}

/// A caller, until it no longer waits.
pub(crate) struct Caller<'a> {
    callers: &'a Callers,
    number: u64,
}

impl Callers {
    /// Counts a caller that waits for what this decision holds.
    pub(crate) fn enter(&self, decision: &Arc<DecisionEvent>) -> Caller<'_> {
        let mut inner = self.inner();
        let number = inner.next;
        inner.next = number.wrapping_add(1);
        inner.all.insert(number, decision.clone());
        Caller { callers: self, number }
    }

    /// How many wait for something that a scope covers.
    pub(crate) fn under(&self, scope: &KillScope) -> u64 {
        self.inner().all.values().filter(|decision| decision.is_under(scope)).count() as u64
    }

    /// A kill of the whole workspace tells all of them; whoever records it counts them.
    pub(crate) fn tell_all(&self) {
        let mut inner = self.inner();
        inner.told += std::mem::take(&mut inner.all).len() as u64;
    }

    /// How many such a kill has told.
    pub(crate) fn told(&self) -> u64 {
        std::mem::take(&mut self.inner().told)
    }

    /// Those under a scope are told: how many they are.
    pub(crate) fn tell(&self, scope: &KillScope) -> u64 {
        let mut inner = self.inner();
        let before = inner.all.len();
        inner.all.retain(|_, decision| !decision.is_under(scope));
        (before - inner.all.len()) as u64
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.callers.inner().all.remove(&self.number);
    }
}
