//! The pool of payload slots: secrets created durably some thousands at a time by a thread of
//! their own, taken by requests without waiting.

use crate::crypto::SystemEntropy;
use crate::ports::{Secret, Slots};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Slots per durable write.
const BLOCK: usize = 4096;
/// Refilled when fewer are left.
const LOW: usize = 3 * BLOCK;

/// A fresh slot: its number and its secret. Used for one payload and never again.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Number that the frame names.
    pub(crate) no: u64,
    /// Secret.
    pub(crate) secret: Secret,
}

/// Shared end of the pool.
pub(crate) struct SlotPool {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    ready: VecDeque<Slot>,
    failed: Option<String>,
    closed: bool,
}

impl SlotPool {
    /// Starts the refilling thread. Slots of earlier runs are never handed out again.
    pub(crate) fn start(mut slots: Box<dyn Slots>) -> (Arc<Self>, JoinHandle<()>) {
        let inner = Inner { ready: VecDeque::new(), failed: None, closed: false };
        let pool = Arc::new(Self { inner: Mutex::new(inner), changed: Condvar::new() });
        let shared = pool.clone();
        let thread = std::thread::spawn(move || shared.refill(slots.as_mut()));
        (pool, thread)
    }

    fn refill(&self, slots: &mut dyn Slots) {
        loop {
            {
                let mut inner = self.lock();
                while inner.ready.len() >= LOW && !inner.closed {
                    inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
                if inner.closed {
                    return;
                }
            }
            let secrets: Vec<Secret> = (0..BLOCK).map(|_| SystemEntropy.secret()).collect();
            let created = slots.create(&secrets);
            let mut inner = self.lock();
            match created {
                Ok(first) => {
                    let fresh = (first..).zip(secrets).map(|(no, secret)| Slot { no, secret });
                    inner.ready.extend(fresh);
                }
                Err(error) => inner.failed = Some(error.to_string()),
            }
            let stop = inner.failed.is_some();
            drop(inner);
            self.changed.notify_all();
            if stop {
                return;
            }
        }
    }

    /// Takes a slot; waits only while a block is being written.
    ///
    /// # Errors
    /// What the store said, once it has failed: without a slot nothing can be recorded.
    pub(crate) fn take(&self) -> Result<Slot, String> {
        let mut inner = self.lock();
        loop {
            if let Some(slot) = inner.ready.pop_front() {
                if inner.ready.len() == LOW - 1 {
                    self.changed.notify_all();
                }
                return Ok(slot);
            }
            if let Some(failed) = &inner.failed {
                return Err(failed.clone());
            }
            if inner.closed {
                return Err("shutting down".to_owned());
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
