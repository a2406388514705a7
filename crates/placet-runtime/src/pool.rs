//! The pool of payload slots: secrets created durably some thousands at a time by a thread of
//! their own, taken by requests without waiting.

use crate::host::Host;
use crate::ports::{PortError, Secret, Slots, WorkspaceNo};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Slots per durable write.
const BLOCK: usize = 4096;
/// Refilled when fewer than so many blocks are left.
const LOW_BLOCKS: usize = 3;

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
    host: Host,
    /// Set with `failed`, for those who only ask whether.
    broken: AtomicBool,
    /// Slots per durable write, and below how many a further block is made.
    block: usize,
    low: usize,
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
    /// An empty pool. Slots of earlier runs are never handed out again.
    pub(crate) fn new(host: Host) -> Arc<Self> {
        let inner =
            Inner { ready: VecDeque::new(), erasing: VecDeque::new(), failed: None, closed: false };
        let block = if host.slots == 0 { BLOCK } else { host.slots };
        let low = LOW_BLOCKS * block;
        Arc::new(Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            host,
            broken: AtomicBool::new(false),
            block,
            low,
        })
    }

    /// Starts the refilling thread.
    pub(crate) fn start(self: &Arc<Self>, mut slots: Box<dyn Slots>) -> JoinHandle<()> {
        let shared = self.clone();
        std::thread::spawn(move || {
            shared.wait();
            while shared.turn(slots.as_mut()) {
                shared.wait();
            }
        })
    }

    /// Waits until a turn has something to do.
    fn wait(&self) {
        let mut inner = self.lock();
        while inner.ready.len() >= self.low && inner.erasing.is_empty() && !inner.closed {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether a turn has something to do.
    pub(crate) fn is_wanting(&self) -> bool {
        let inner = self.lock();
        inner.failed.is_none() && (inner.ready.len() < self.low || !inner.erasing.is_empty())
    }

    /// Whether the store of the slots has failed: nothing can be recorded until a restart.
    pub(crate) fn has_failed(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Whether a caller might soon have to wait for a block.
    pub(crate) fn is_starved(&self) -> bool {
        let inner = self.lock();
        inner.failed.is_none() && !inner.closed && inner.ready.len() < self.block
    }

    /// Destroys slots of one entry, or creates one block. False when it was the last turn.
    pub(crate) fn turn(&self, slots: &mut dyn Slots) -> bool {
        {
            let mut inner = self.lock();
            if inner.closed || inner.failed.is_some() {
                // Whoever waits hears that it was not done; the next start does it.
                inner.erasing.clear();
                return false;
            }
            if inner.ready.len() >= self.block
                && let Some(erasing) = inner.erasing.pop_front()
            {
                drop(inner);
                let Erasing { workspace, upto, slots: doomed, reply } = erasing;
                // Whoever asked may have gone; what the log says is done all the same.
                let _ = reply.send(slots.erase(workspace, upto, &doomed));
                return true;
            }
            if inner.ready.len() >= self.low {
                return true;
            }
        }
        let secrets: Vec<Secret> = (0..self.block).map(|_| self.host.secret()).collect();
        let created = slots.create(&secrets);
        let mut inner = self.lock();
        match created {
            Ok(first) => {
                let fresh = (first..).zip(secrets).map(|(no, secret)| Slot { no, secret });
                inner.ready.extend(fresh);
            }
            Err(error) => {
                inner.failed = Some(error.to_string());
                self.broken.store(true, Ordering::SeqCst);
                inner.erasing.clear();
            }
        }
        let goes_on = inner.failed.is_none();
        drop(inner);
        self.changed.notify_all();
        goes_on
    }

    /// Takes a slot; waits only while a block is being written.
    ///
    /// # Errors
    /// What the store said, once it has failed: without a slot nothing can be recorded.
    pub(crate) fn take(&self) -> Result<Slot, String> {
        let mut inner = self.lock();
        loop {
            if let Some(slot) = inner.ready.pop_front() {
                if inner.ready.len() + 1 == self.low {
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
