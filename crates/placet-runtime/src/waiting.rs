//! Callers that wait for an approval with a nonce: whoever completes it takes their permit along, in the
//! batch of the vote. Owns who waits; refuses to know how they are answered.

use placet_engine::Who;
use placet_types::Digest;
use placet_types::ids::ApprovalId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most callers that are remembered; any further one collects for itself.
const WAITING_MAX: usize = 1 << 16;

/// Who waits for which approval.
#[derive(Clone, Default)]
pub(crate) struct Waiters(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The first to come is served; the others see that it was.
    all: HashMap<ApprovalId, Vec<(u64, Who, Digest)>>,
    count: usize,
    next: u64,
}

/// A place among those who wait; given back when dropped.
pub(crate) struct Place {
    waiters: Waiters,
    approval: ApprovalId,
    number: u64,
}

impl Waiters {
    pub(crate) fn enter(&self, approval: ApprovalId, who: Who, nonce: Digest) -> Option<Place> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.count >= WAITING_MAX {
            return None;
        }
        inner.count += 1;
        inner.next += 1;
        let number = inner.next;
        inner.all.entry(approval).or_default().push((number, who, nonce));
        Some(Place { waiters: self.clone(), approval, number })
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Who waits for an approval, with the nonce of the attempt.
    pub(crate) fn of(&self, approval: ApprovalId) -> Option<(Who, Digest)> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, who, nonce) = inner.all.get(&approval)?.first()?;
        Some((who.clone(), *nonce))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.waiters.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = inner.all.get_mut(&self.approval) {
            waiting.retain(|(number, ..)| *number != self.number);
            if waiting.is_empty() {
                inner.all.remove(&self.approval);
            }
        }
        inner.count = inner.count.saturating_sub(1);
    }
}
