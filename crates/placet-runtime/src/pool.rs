//! The pool of payload slots: secrets created durably some thousands at a time by a thread of
//! their own, taken by requests without waiting.

use crate::crypto::SystemEntropy;
use crate::ports::{PortError, Secret, Slots, WorkspaceNo};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

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

/// Slots to be destroyed, and who waits for it.
struct Erasing {
    workspace: WorkspaceNo,
    upto: u64,
    slots: Vec<u64>,
    reply: oneshot::Sender<Result<(), PortError>>,
}

struct Inner {
    ready: VecDeque<Slot>,
    erasing: VecDeque<Erasing>,
    failed: Option<String>,
    closed: bool,
}

impl SlotPool {
    /// Starts the refilling thread. Slots of earlier runs are never handed out again.
    pub(crate) fn start(mut slots: Box<dyn Slots>) -> (Arc<Self>, JoinHandle<()>) {
        let inner =
            Inner { ready: VecDeque::new(), erasing: VecDeque::new(), failed: None, closed: false };
        let pool = Arc::new(Self { inner: Mutex::new(inner), changed: Condvar::new() });
        let shared = pool.clone();
        let thread = std::thread::spawn(move || shared.refill(slots.as_mut()));
        (pool, thread)
    }

    fn refill(&self, slots: &mut dyn Slots) {
        loop {
            {
                let mut inner = self.lock();
                while inner.ready.len() >= LOW && inner.erasing.is_empty() && !inner.closed {
                    inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
                if inner.closed {
                    // Whoever waits hears that it was not done; the next start does it.
                    inner.erasing.clear();
                    return;
                }
                if inner.ready.len() >= BLOCK
                    && let Some(erasing) = inner.erasing.pop_front()
                {
                    drop(inner);
                    let Erasing { workspace, upto, slots: doomed, reply } = erasing;
                    // Whoever asked may have gone; what the log says is done all the same.
                    let _ = reply.send(slots.erase(workspace, upto, &doomed));
                    continue;
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
            if stop {
                inner.erasing.clear();
            }
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

    /// Destroys slots on the thread that owns the store.
    ///
    /// # Errors
    /// [`PortError`]; what was not destroyed is destroyed by repeating, or at the next start.
    pub(crate) async fn erase(
        &self,
        workspace: WorkspaceNo,
        upto: u64,
        slots: Vec<u64>,
    ) -> Result<(), PortError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut inner = self.lock();
            if inner.closed || inner.failed.is_some() {
                return Err(PortError::new("the payload keys are closed"));
            }
            inner.erasing.push_back(Erasing { workspace, upto, slots, reply });
        }
        self.changed.notify_all();
        answer.await.unwrap_or_else(|_| Err(PortError::new("the payload keys are closed")))
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
