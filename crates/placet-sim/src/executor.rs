//! Futures on one thread, polled in an order that the seed draws. Knows nothing of what they do.

use crate::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// Whom a task belongs to: clients outlive a crash, what a server does dies with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Clients and the network.
    Outside,
    /// The running instance.
    Server,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct Ready {
    tasks: BTreeSet<u64>,
    /// At which step each was woken first since it was polled.
    woken: BTreeMap<u64, u64>,
    step: u64,
}

struct Waking {
    id: u64,
    ready: Arc<Mutex<Ready>>,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        let mut ready = lock(&self.ready);
        let step = ready.step;
        if ready.tasks.insert(self.id) {
            ready.woken.insert(self.id, step);
        }
    }
}

/// The tasks of a simulation.
#[derive(Default)]
pub(crate) struct Executor {
    tasks: BTreeMap<u64, (Group, Task, Waker)>,
    ready: Arc<Mutex<Ready>>,
    next: u64,
}

impl Executor {
    pub(crate) fn spawn(&mut self, group: Group, task: Task) -> u64 {
        self.next += 1;
        let id = self.next;
        let waker = Waker::from(Arc::new(Waking { id, ready: self.ready.clone() }));
        waker.wake_by_ref();
        self.tasks.insert(id, (group, task, waker));
        id
    }

    /// Drops a task wherever it stands, as a server does whose caller has gone.
    pub(crate) fn cancel(&mut self, id: u64) {
        self.tasks.remove(&id);
        lock(&self.ready).tasks.remove(&id);
    }

    /// Everything that the instance was doing ends.
    pub(crate) fn crash(&mut self) {
        self.tasks.retain(|_, (group, _, _)| *group == Group::Outside);
    }

    /// Sets the step under which tasks are woken from now on.
    pub(crate) fn step(&self, step: u64) {
        lock(&self.ready).step = step;
    }

    pub(crate) fn is_ready(&self) -> bool {
        !lock(&self.ready).tasks.is_empty()
    }

    /// Tasks that have not ended.
    pub(crate) fn len(&self, group: Group) -> usize {
        self.tasks.values().filter(|(of, _, _)| *of == group).count()
    }

    /// Takes one of the ready tasks: its id and when it was woken.
    pub(crate) fn take(&mut self, random: &mut Random) -> Option<(u64, u64)> {
        let mut ready = lock(&self.ready);
        let place = random.place(ready.tasks.len());
        let id = ready.tasks.iter().nth(place).copied()?;
        ready.tasks.remove(&id);
        let woken = ready.woken.remove(&id).unwrap_or(ready.step);
        Some((id, woken))
    }

    /// Polls a task that was taken.
    pub(crate) fn poll(&mut self, id: u64) -> Option<Polling> {
        let (group, task, waker) = self.tasks.remove(&id)?;
        Some(Polling { id, group, task, waker })
    }

    /// Puts a polled task back that has not ended.
    pub(crate) fn keep(&mut self, polled: Polling) {
        self.tasks.insert(polled.id, (polled.group, polled.task, polled.waker));
    }
}

/// A task out of the executor, so that polling it may spawn others.
pub(crate) struct Polling {
    id: u64,
    pub(crate) group: Group,
    task: Task,
    waker: Waker,
}

impl Polling {
    /// True when it has ended.
    pub(crate) fn poll(&mut self) -> bool {
        self.task.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready()
    }
}

fn lock(ready: &Mutex<Ready>) -> MutexGuard<'_, Ready> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}
