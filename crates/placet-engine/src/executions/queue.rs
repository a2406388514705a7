//! Places of executions: how many run, for how long, and who waits for one. Owns their order: of one capability
//! whoever came first, as soon as nothing stops it; refuses to know what runs.

use super::{Execution, ExecutionState};
use crate::state::{Bounds, Held, State, Timer};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use placet_types::event::{
    ActorRef, DecisionEvent, Event, ExecutionStarted, ExecutionTerminated, TerminateCause,
};
use placet_types::ids::{ExecutionId, TimeMs};
use placet_types::json::Value;

/// Nobody waits longer for a place: a day.
pub const EXECUTION_QUEUE_MS: u64 = 24 * 3_600_000;

/// Seconds that an execution runs whose permit says nothing of it: a week. A runner that died gives its place back.
pub const EXECUTION_RUN_SEC: u64 = 7 * 24 * 3_600;

/// Seconds that none runs longer, whatever its permit says: thirty days.
pub const EXECUTION_RUN_SEC_MAX: u64 = 30 * 24 * 3_600;

/// Who runs, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Places {
    running: usize,
    queued: usize,
    of: BTreeMap<String, Place>,
    by: BTreeMap<ActorRef, Share>,
}

/// What one runner has of all.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// Running or waiting.
    all: usize,
    queued: usize,
}

/// The executions of one capability.
#[derive(Debug, Default)]
struct Place {
    running: u64,
    /// By the index at which they were accepted.
    waiting: BTreeSet<(u64, ExecutionId)>,
}

/// A limit that the permit of a start sets: as it was decided, or as the approval was re-opened with.
pub(super) fn constrained(held: Option<&Held>, prior: &DecisionEvent, key: &str) -> Option<u64> {
    let again = held.filter(|held| held.reopened > 0);
    let constraints = again.map_or(&prior.constraints, |held| &held.constraints);
    constraints.get(key).and_then(Value::as_u64)
}

/// Seconds that an execution may run: as its permit says, or less if it asks for less.
pub(super) fn runtime(held: Option<&Held>, prior: &DecisionEvent, asked: Option<u64>) -> u64 {
    let most = constrained(held, prior, "max_runtime_sec").unwrap_or(EXECUTION_RUN_SEC);
    most.min(asked.unwrap_or(most)).min(EXECUTION_RUN_SEC_MAX)
}

/// The end of an execution that has waited too long.
pub(crate) fn waited(execution: ExecutionId) -> Event {
    Event::ExecutionTerminated(ExecutionTerminated { execution, cause: TerminateCause::Queue })
}

/// The end of an execution that has run for as long as it may.
pub(crate) fn ran_out(execution: ExecutionId) -> Event {
    Event::ExecutionTerminated(ExecutionTerminated { execution, cause: TerminateCause::Runtime })
}

impl Execution {
    /// Until when it runs, once it has its place.
    #[must_use]
    pub fn until(&self) -> Option<TimeMs> {
        let seconds = self.started.max_runtime_sec.filter(|_| !self.queued)?;
        Some(self.since.plus(seconds.saturating_mul(1_000)))
    }

    /// How it ended, or ends at the next look at the clock: nothing begins in it any more.
    pub(super) fn over(&self, now: TimeMs) -> Option<ExecutionState> {
        let late = self.may_end(TerminateCause::Runtime, now);
        self.ended
            .map(|(state, _)| state)
            .or_else(|| late.then_some(ExecutionState::TerminatedBudget))
    }

    /// When the plane ends it, unless it ends before.
    pub(super) fn timer(&self) -> Option<(TimeMs, Timer)> {
        let id = self.started.execution;
        if self.queued {
            return Some((self.since.plus(EXECUTION_QUEUE_MS), Timer::Queue(id)));
        }
        Some((self.until()?, Timer::Runtime(id)))
    }

    /// What it has used up, if it runs: of both, its steps.
    pub(super) fn spent(&self, now: TimeMs) -> Option<TerminateCause> {
        [TerminateCause::Steps, TerminateCause::Runtime]
            .into_iter()
            .find(|cause| self.may_end(*cause, now))
    }

    /// Whether the plane may end it by itself for this cause.
    fn may_end(&self, cause: TerminateCause, now: TimeMs) -> bool {
        let started = &self.started;
        match cause {
            TerminateCause::Steps => {
                !self.queued && started.max_steps.is_some_and(|most| self.steps >= most)
            }
            TerminateCause::Runtime => self.until().is_some_and(|until| now >= until),
            TerminateCause::Queue | TerminateCause::Parent => self.queued,
        }
    }
}

/// What becomes of an execution whose turn it is.
pub(crate) fn begins(state: &State, id: ExecutionId) -> Option<Event> {
    let known = state.executions.all.get(&id)?;
    let above = known.started.parent.map(|parent| state.executions.all.get(&parent));
    let orphaned = above.is_some_and(|above| above.is_none_or(|it| it.ended.is_some()));
    Some(match orphaned {
        true => Event::ExecutionTerminated(ExecutionTerminated {
            execution: id,
            cause: TerminateCause::Parent,
        }),
        false => Event::ExecutionStarted(known.started.clone()),
    })
}

impl Places {
    /// Whether one more may run.
    pub(super) fn has_place(&self, event: &ExecutionStarted, bounds: &Bounds) -> bool {
        let own = self.of.get(&event.capability).map_or(0, |place| place.running);
        self.running < bounds.executions_max && event.max_concurrent.is_none_or(|most| own < most)
    }

    /// Whether somebody waits for this capability: nobody is passed over.
    pub(super) fn waits(&self, capability: &str) -> bool {
        self.of.get(capability).is_some_and(|place| !place.waiting.is_empty())
    }

    /// Whether one more fits whoever they are: nobody takes all places.
    pub(super) fn has_share(&self, by: &ActorRef, bounds: &Bounds) -> bool {
        self.by.get(by).is_none_or(|own| own.all < bounds.executions_each)
    }

    /// Whether one more may wait: of those that wait nobody takes all places either, since they keep them for long.
    pub(super) fn may_wait(&self, by: &ActorRef, bounds: &Bounds) -> bool {
        self.queued < bounds.executions_queued_max
            && self.by.get(by).is_none_or(|own| own.queued < bounds.executions_queued_each)
    }

    /// One that has not ended.
    pub(crate) fn insert(&mut self, execution: &Execution) {
        let started = &execution.started;
        let own = self.by.entry(started.by.clone()).or_default();
        own.all = own.all.saturating_add(1);
        own.queued = own.queued.saturating_add(usize::from(execution.queued));
        let place = self.of.entry(started.capability.clone()).or_default();
        if execution.queued {
            place.waiting.insert((execution.index, started.execution));
            self.queued = self.queued.saturating_add(1);
        } else {
            place.running = place.running.saturating_add(1);
            self.running = self.running.saturating_add(1);
        }
    }

    /// The same, as it was inserted.
    pub(super) fn remove(&mut self, execution: &Execution) {
        let started = &execution.started;
        if let Some(own) = self.by.get_mut(&started.by) {
            own.all = own.all.saturating_sub(1);
            own.queued = own.queued.saturating_sub(usize::from(execution.queued));
            if own.all == 0 {
                self.by.remove(&started.by);
            }
        }
        let Some(place) = self.of.get_mut(&started.capability) else { return };
        if execution.queued {
            place.waiting.remove(&(execution.index, started.execution));
            self.queued = self.queued.saturating_sub(1);
        } else {
            place.running = place.running.saturating_sub(1);
            self.running = self.running.saturating_sub(1);
        }
        if place.running == 0 && place.waiting.is_empty() {
            self.of.remove(&started.capability);
        }
    }
}

impl State {
    /// Executions that wait and have a place, at most `most`, in the order in which they were accepted. What is
    /// stopped is passed over; of one capability nobody else is.
    pub(crate) fn queue(&self, most: usize) -> Vec<ExecutionId> {
        let Places { running, queued, of, .. } = &self.executions.places;
        let mut next = Vec::new();
        if *queued == 0 || *running >= self.bounds.executions_max {
            return next;
        }
        let mut waiting: BTreeSet<(u64, ExecutionId)> = BTreeSet::new();
        for place in of.values() {
            waiting.extend(&place.waiting);
        }
        // Those that began in this turn, by capability; a capability without a place has the maximum.
        let mut begun: BTreeMap<&str, u64> = BTreeMap::new();
        for id in waiting.iter().map(|(_, id)| *id) {
            let free = running.saturating_add(next.len()) < self.bounds.executions_max;
            if next.len() >= most || !free {
                break;
            }
            let Some(known) = self.executions.all.get(&id) else { continue };
            if self.may_stop() && self.stop_led(&known.scopes).is_some() {
                continue;
            }
            let capability = known.started.capability.as_str();
            let own = of.get(capability).map_or(0, |place| place.running);
            let begun = begun.entry(capability).or_default();
            let count = own.saturating_add(*begun);
            if known.started.max_concurrent.is_some_and(|most| count >= most) {
                *begun = u64::MAX;
            } else if *begun < u64::MAX {
                *begun = begun.saturating_add(1);
                next.push(id);
            }
        }
        next
    }

    /// Executions that run, and those that wait for a place.
    #[must_use]
    pub fn execution_places(&self) -> (usize, usize) {
        (self.executions.places.running, self.executions.places.queued)
    }

    pub(crate) fn apply_queued(
        &mut self,
        event: &ExecutionStarted,
        index: u64,
    ) -> Result<(), &'static str> {
        self.accept_execution(event, index, true)
    }

    /// One that waited runs.
    pub(super) fn apply_begun(
        &mut self,
        event: &ExecutionStarted,
        index: u64,
    ) -> Result<(), &'static str> {
        let above = event.parent.map(|parent| self.executions.all.get(&parent));
        let orphaned = above.is_some_and(|above| above.is_none_or(|it| it.ended.is_some()));
        let known = self.executions.all.get(&event.execution);
        let known = known.filter(|it| it.ended.is_none() && it.started == *event);
        let known = known.ok_or("it starts another execution than the one that waits")?;
        if orphaned {
            return Err("it starts an execution within one that does not run");
        }
        let scopes = known.scopes.clone();
        self.not_stopped(&scopes)?;
        let now = self.time;
        if let Some(known) = self.executions.all.get_mut(&event.execution) {
            if let Some(timer) = known.timer() {
                self.timers.remove(&timer);
            }
            self.executions.places.remove(known);
            (known.queued, known.index, known.since) = (false, index, now);
            self.executions.places.insert(known);
            self.timers.extend(known.timer());
        }
        Ok(())
    }

    pub(crate) fn apply_terminated(
        &mut self,
        event: &ExecutionTerminated,
    ) -> Result<(), &'static str> {
        let known = self.executions.all.get(&event.execution);
        let known = known.filter(|known| known.ended.is_none());
        let known = known.ok_or("it ends an execution that does not run")?;
        // INVARIANT: what the plane ends by itself has waited, or has had all its steps or all its time.
        let state = match event.cause {
            TerminateCause::Steps | TerminateCause::Runtime => ExecutionState::TerminatedBudget,
            TerminateCause::Queue | TerminateCause::Parent => ExecutionState::Failed,
        };
        if !known.may_end(event.cause, self.time) {
            return Err("it ends an execution that has its place, or steps left");
        }
        self.end_execution(event.execution, state);
        Ok(())
    }
}
