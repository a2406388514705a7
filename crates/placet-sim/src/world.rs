//! What a simulation shares: time, disks, tasks, chance, checkers; and the network between callers
//! and the plane. Owns no fault plan and no workload.

use crate::checkers::{Checkers, Held, Violation};
use crate::clock::SimClock;
use crate::disk::Disks;
use crate::executor::{Executor, Group};
use crate::mutant::Mutant;
use crate::random::Random;
use crate::trace::Trace;
use placet_runtime::ports::Clock;
use placet_runtime::{Plane, Principal};
use placet_types::ids::{ExecutionId, WorkspaceName};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Somebody who calls.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) workspace: WorkspaceName,
    pub(crate) principal: Principal,
}

/// How bad the network is, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Network {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) cut: u64,
    pub(crate) delay_ms: u64,
}

/// What a run comes to, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Steps of the simulation.
    pub steps: u64,
    /// Crashes and restarts.
    pub crashes: u64,
    /// Starts that were refused, as they had to be.
    pub refusals: u64,
    /// Faults other than crashes.
    pub faults: u64,
    /// Entries in all logs at the end.
    pub entries: u64,
    /// Acknowledged entries that were looked for after every crash.
    pub acknowledged: u64,
    /// Permits that were granted.
    pub permits: u64,
    /// Stops that were acknowledged, of the two widest scopes and of others.
    pub kills: u64,
    /// Of these, the ones of narrower scopes.
    pub scoped: u64,
    /// Lifts that were completed.
    pub lifts: u64,
    /// Executions that were started.
    pub executions: u64,
    /// Of these, those that waited for a place.
    pub queued: u64,
    /// Exceptions that were opened.
    pub exceptions: u64,
    /// Passages under them.
    pub passages: u64,
    /// Pieces of evidence that were added.
    pub evidence: u64,
    /// Permits that rest on one.
    pub proved: u64,
    /// Payloads erased.
    pub erased: u64,
    /// Rotations of the signing key that were acknowledged.
    pub rotations: u64,
    /// Idle states that left memory.
    pub idle: u64,
    /// Rollbacks by a lying disk that held checkpoints showed.
    pub rollbacks: u64,
}

impl Totals {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.refusals += other.refusals;
        self.faults += other.faults;
        self.entries += other.entries;
        self.acknowledged += other.acknowledged;
        self.permits += other.permits;
        self.kills += other.kills;
        self.scoped += other.scoped;
        self.lifts += other.lifts;
        self.executions += other.executions;
        self.queued += other.queued;
        self.exceptions += other.exceptions;
        self.passages += other.passages;
        self.evidence += other.evidence;
        self.proved += other.proved;
        self.erased += other.erased;
        self.rollbacks += other.rollbacks;
        self.rotations += other.rotations;
        self.idle += other.idle;
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} steps, {} crashes and stops, {} other faults, {} refused starts, {} rollbacks shown, \
             {} entries, {} acknowledged decisions, {} permits, {} stops ({} of narrow scopes), {} lifts, {} executions ({} had to wait), {} exceptions with {} \
             passages, {} pieces of evidence and {} permits on them, {} payloads erased, \
             {} rotations, {} idle states",
            self.steps,
            self.crashes,
            self.faults,
            self.refusals,
            self.rollbacks,
            self.entries,
            self.acknowledged,
            self.permits,
            self.kills,
            self.scoped,
            self.lifts,
            self.executions,
            self.queued,
            self.exceptions,
            self.passages,
            self.evidence,
            self.proved,
            self.erased,
            self.rotations,
            self.idle
        )
    }
}

pub(crate) struct World {
    pub(crate) clock: SimClock,
    pub(crate) disks: Disks,
    pub(crate) trace: Arc<Trace>,
    pub(crate) executor: RefCell<Executor>,
    pub(crate) random: RefCell<Random>,
    pub(crate) plane: RefCell<Option<Arc<Plane>>>,
    /// Counts the starts.
    pub(crate) run: Cell<u64>,
    pub(crate) step: Cell<u64>,
    /// When the task that is being polled was woken.
    pub(crate) woken: Cell<u64>,
    /// Since when there are no faults.
    pub(crate) calm: Cell<Option<u64>>,
    /// Somebody was told that the store has failed.
    pub(crate) failed: Cell<bool>,
    pub(crate) network: Cell<Network>,
    pub(crate) checkers: RefCell<Checkers>,
    pub(crate) violation: RefCell<Option<Violation>>,
    pub(crate) people: RefCell<Vec<Person>>,
    /// Executions that somebody started.
    pub(crate) runs: RefCell<Vec<(WorkspaceName, ExecutionId)>>,
    pub(crate) totals: RefCell<Totals>,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) dev: bool,
    /// Longest pause of a caller between two acts, in milliseconds: short ones meet each other.
    pub(crate) pace_ms: u64,
}

impl World {
    pub(crate) fn say(&self, what: std::fmt::Arguments<'_>) {
        self.trace.say(self.clock.now(), what);
    }

    /// Notes what a checker found; the first counts.
    pub(crate) fn hold(&self, held: Held) {
        if let Err(violation) = held {
            self.say(format_args!("VIOLATION {}: {}", violation.checker, violation.what));
            self.violation.borrow_mut().get_or_insert(violation);
        }
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.random.borrow_mut().below(bound)
    }

    pub(crate) fn per_mille(&self, of: u64) -> bool {
        self.random.borrow_mut().per_mille(of)
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.get().is_some()
    }

    pub(crate) fn plane(&self) -> Option<Arc<Plane>> {
        self.plane.borrow().clone()
    }

    pub(crate) async fn sleep(&self, ms: u64) {
        self.clock.sleep(Duration::from_millis(ms)).await;
    }

    pub(crate) fn spawn(&self, group: Group, task: impl Future<Output = ()> + 'static) -> u64 {
        self.executor.borrow_mut().spawn(group, Box::pin(task))
    }

    /// Somebody of a workspace.
    pub(crate) fn person(&self, workspace: &WorkspaceName, actor: &str) -> Option<Person> {
        let people = self.people.borrow();
        let is = |person: &&Person| {
            person.workspace == *workspace && person.principal.caller.actor.as_str() == actor
        };
        people.iter().find(is).cloned()
    }

    /// A call over the network: it may be lost, doubled, delayed or cut off, and so may its answer.
    /// `None` when the caller has waited long enough.
    pub(crate) async fn call<T, F>(
        self: &Rc<Self>,
        what: &'static str,
        patience_ms: u64,
        run: impl Fn(Rc<Self>, Arc<Plane>) -> F + Clone + 'static,
    ) -> Option<T>
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let mailbox = Rc::new(Mailbox { letter: RefCell::new(None), waker: RefCell::new(None) });
        let network = self.network.get();
        let copies = 1 + u64::from(self.per_mille(network.doubled));
        for copy in 0..copies {
            if self.per_mille(network.lost) {
                self.say(format_args!("net: {what} is lost"));
                continue;
            }
            if copy > 0 {
                self.say(format_args!("net: {what} is doubled"));
            }
            let (world, run, mailbox) = (self.clone(), run.clone(), mailbox.clone());
            let delay = self.below(network.delay_ms + 1);
            self.spawn(Group::Outside, async move {
                world.sleep(delay).await;
                world.arrive(what, run, mailbox).await;
            });
        }
        let mut late = self.clock.sleep(Duration::from_millis(patience_ms));
        poll_fn(|ctx| {
            if let Some(letter) = mailbox.letter.borrow_mut().take() {
                return Poll::Ready(Some(letter));
            }
            *mailbox.waker.borrow_mut() = Some(ctx.waker().clone());
            late.as_mut().poll(ctx).map(|()| None)
        })
        .await
    }

    async fn arrive<T, F>(
        self: Rc<Self>,
        what: &'static str,
        run: impl Fn(Rc<Self>, Arc<Plane>) -> F + 'static,
        mailbox: Rc<Mailbox<T>>,
    ) where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let Some(plane) = self.plane() else { return };
        let network = self.network.get();
        let (world, server) = (self.clone(), self.clone());
        let lost = self.per_mille(network.lost);
        let delay = self.below(network.delay_ms + 1);
        let task = self.spawn(Group::Server, async move {
            let inside = Inside::new(&server, what);
            let letter = {
                let answer = pin!(run(server.clone(), plane));
                answer.await
            };
            if server.mutant == Some(Mutant::AnswerLost) && server.per_mille(100) {
                std::future::pending::<()>().await;
            }
            drop(inside);
            if lost {
                server.say(format_args!("net: the answer to {what} is lost"));
                return;
            }
            let outside = server.clone();
            server.spawn(Group::Outside, async move {
                outside.sleep(delay).await;
                *mailbox.letter.borrow_mut() = Some(letter);
                mailbox.waker.borrow_mut().take().into_iter().for_each(Waker::wake);
            });
        });
        if world.per_mille(network.cut) {
            let after = world.below(20);
            world.sleep(after).await;
            world.say(format_args!("net: the connection of {what} is cut"));
            world.executor.borrow_mut().cancel(task);
        }
    }
}

struct Mailbox<T> {
    letter: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

/// A request inside the plane.
struct Inside {
    world: Rc<World>,
    id: u64,
}

impl Inside {
    fn new(world: &Rc<World>, what: &'static str) -> Self {
        let id = world.checkers.borrow_mut().liveness.begins(world.clock.now(), what);
        Self { world: world.clone(), id }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.world.checkers.borrow_mut().liveness.ends(self.id);
    }
}
