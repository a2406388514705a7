//! The newest durable batches, until the read model has them: nobody is told "not found" of what
//! was decided a moment ago.

use crate::ports::WorkspaceNo;
use crate::workspace::Committed;
use placet_types::event::Event;
use placet_types::ids::DecisionId;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Entries kept at most; beyond it the read model catches up from the journal.
const ENTRIES_MAX: usize = 1 << 18;
/// Entries that are worth a transaction of the read model before its time is up.
const ENTRIES_WORTH: usize = 4096;

pub(crate) struct Recent {
    inner: Mutex<Inner>,
    changed: Condvar,
    entries_max: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self::bounded(ENTRIES_MAX)
    }
}

#[derive(Default)]
struct Inner {
    batches: VecDeque<Arc<Committed>>,
    entries: usize,
    closed: bool,
    /// The read model is to be made anew.
    rebuild: bool,
    /// How often it was.
    rebuilt: u64,
}

impl Recent {
    /// Keeps at most so many entries; who follows it reads the others from the journal.
    pub(crate) fn bounded(entries_max: usize) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), entries_max }
    }

    pub(crate) fn push(&self, batch: Arc<Committed>) {
        let mut inner = self.lock();
        inner.entries += batch.entries.len();
        inner.batches.push_back(batch);
        while inner.entries > self.entries_max
            && let Some(old) = inner.batches.pop_front()
        {
            inner.entries -= old.entries.len();
        }
        let enough = inner.entries >= ENTRIES_WORTH;
        drop(inner);
        // Fewer, larger transactions: the read model is woken for a good number of entries, or by
        // its own time-out.
        if enough {
            self.changed.notify_one();
        }
    }

    /// Up to `entries_max` of the oldest batches, without removing them; waits a little for some.
    pub(crate) fn oldest(&self, entries_max: usize, wait: Duration) -> (Vec<Arc<Committed>>, bool) {
        let mut inner = self.lock();
        if inner.entries < ENTRIES_WORTH && !inner.closed {
            inner = self
                .changed
                .wait_timeout_while(inner, wait, |inner| {
                    inner.entries < ENTRIES_WORTH && !inner.closed
                })
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut count = 0;
        let mut out = Vec::new();
        for batch in &inner.batches {
            if count >= entries_max {
                break;
            }
            count += batch.entries.len();
            out.push(batch.clone());
        }
        (out, inner.closed)
    }

    /// Asks whoever fills the read model to make it anew; heard within its time-out.
    pub(crate) fn ask_rebuild(&self) {
        self.lock().rebuild = true;
    }

    /// Whether that was asked for since the last time.
    pub(crate) fn take_rebuild(&self) -> bool {
        std::mem::take(&mut self.lock().rebuild)
    }

    /// It was made anew.
    pub(crate) fn rebuilt(&self) {
        self.lock().rebuilt += 1;
    }

    /// How often it was made anew since the start.
    pub(crate) fn rebuilds(&self) -> u64 {
        self.lock().rebuilt
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Forgets these batches: the read model has them.
    pub(crate) fn forget(&self, done: &[Arc<Committed>]) {
        let mut inner = self.lock();
        for batch in done {
            if inner.batches.front().is_some_and(|front| Arc::ptr_eq(front, batch))
                && let Some(front) = inner.batches.pop_front()
            {
                inner.entries -= front.entries.len();
            }
        }
    }

    /// The batch that holds `index`, and the place within it.
    pub(crate) fn at(&self, workspace: WorkspaceNo, index: u64) -> Option<(Arc<Committed>, usize)> {
        self.lock().batches.iter().rev().find_map(|batch| {
            let at = usize::try_from(index.checked_sub(batch.first_index)?).ok()?;
            (batch.workspace == workspace && at < batch.entries.len()).then(|| (batch.clone(), at))
        })
    }

    /// The index of the decision with this id.
    pub(crate) fn locate(&self, workspace: WorkspaceNo, id: DecisionId) -> Option<u64> {
        self.batches(workspace).iter().rev().find_map(|batch| {
            let at = batch.entries.iter().position(
                |entry| matches!(&entry.event, Event::Decision(event) if event.decision == id),
            )?;
            Some(batch.first_index + at as u64)
        })
    }

    /// All batches of a workspace that are not indexed yet, oldest first.
    pub(crate) fn batches(&self, workspace: WorkspaceNo) -> Vec<Arc<Committed>> {
        let inner = self.lock();
        inner.batches.iter().filter(|batch| batch.workspace == workspace).cloned().collect()
    }

    /// The first index of a workspace that is not indexed yet, if there is one here.
    pub(crate) fn first_index(&self, workspace: WorkspaceNo) -> Option<u64> {
        let inner = self.lock();
        let oldest = inner.batches.iter().find(|batch| batch.workspace == workspace);
        oldest.map(|batch| batch.first_index)
    }

    /// Whether nothing waits to be followed.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().batches.is_empty()
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
