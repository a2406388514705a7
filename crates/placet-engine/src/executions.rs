//! Executions: runs of a capability, begun under a decision. Owns who may go on in one, that its end is
//! final, and that a step outside its capability's manifest, or one too many, ends it.

mod queue;

use crate::command::{Decide, Plan, Who};
use crate::constitution::is_governed;
use crate::overrides::{OVERRIDE_ROLES, Stop};
use crate::rejection::Rejection;
use crate::state::{Held, HeldState, State};
use crate::step::{append, has_role};
use crate::within::executions;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::event::{
    DecisionEvent, EndState, Event, ExecutionEnded, ExecutionStarted, ExecutionTerminated,
    KillEvent, KillScope, KillSource, OverrideMode,
};
use placet_types::ids::{ExecutionId, TimeMs};
use placet_types::policy::{Combined, Reason};

pub use queue::{EXECUTION_QUEUE_MS, EXECUTION_RUN_SEC, EXECUTION_RUN_SEC_MAX};
pub(crate) use queue::{Places, begins, ran_out, waited};

/// Surface and action on which the start of an execution is asked for.
pub const EXECUTION: (&str, &str) = ("execution", "start");

/// A run of a capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// How it was started.
    pub started: ExecutionStarted,
    /// Log index of its start; while it waits for a place, of its acceptance.
    pub index: u64,
    /// When that was.
    pub since: TimeMs,
    /// It waits for a place.
    pub queued: bool,
    /// What can stop it.
    pub scopes: Arc<[KillScope]>,
    /// Decisions that name it.
    pub steps: u64,
    /// Those of them that are held and not released.
    pub waiting: u64,
    /// How it ended, and when.
    pub ended: Option<(ExecutionState, TimeMs)>,
}

/// Where an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExecutionState {
    /// It is accepted and waits for a place.
    Queued,
    /// It goes on.
    Running,
    /// A step of it is held.
    WaitingApproval,
    /// It did what it was for.
    Succeeded,
    /// It did not.
    Failed,
    /// People rejected a step of it.
    Rejected,
    /// It asked for more than it may have.
    TerminatedBudget,
    /// A kill ended it.
    Killed,
    /// A kill ended it that followed tampering.
    KillSwitchTampered,
}

impl ExecutionState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Running,
        Self::WaitingApproval,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::TerminatedBudget,
        Self::Killed,
        Self::KillSwitchTampered,
    ];

    /// The lower-case word of the APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::WaitingApproval => "waiting_approval",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::TerminatedBudget => "terminated_budget",
            Self::Killed => "killed",
            Self::KillSwitchTampered => "kill_switch_tampered",
        }
    }

    /// Parses the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    pub(crate) fn is_killed(self) -> bool {
        matches!(self, Self::Killed | Self::KillSwitchTampered)
    }
}

impl Execution {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> ExecutionState {
        match self.ended {
            Some((state, _)) => state,
            None if self.queued => ExecutionState::Queued,
            None if self.waiting > 0 => ExecutionState::WaitingApproval,
            None => ExecutionState::Running,
        }
    }
}

/// Start an execution.
#[derive(Clone, Debug)]
pub struct StartExecution {
    /// Who proposed it.
    pub by: Who,
    /// Log index of the decision.
    pub index: u64,
    /// The decision's entry.
    pub prior: Arc<DecisionEvent>,
    /// The execution that it is a part of.
    pub parent: Option<ExecutionId>,
    /// Decisions that may name it, by its start and by its capability's manifest.
    pub max_steps: Option<u64>,
    /// Seconds that it may run, where that is to be less than the permit of its start says.
    pub max_runtime_sec: Option<u64>,
    /// The bundle that the manifest is from.
    pub policy: Option<Digest>,
}

/// Say how an execution ended.
#[derive(Clone, Debug)]
pub struct EndExecution {
    /// Which.
    pub execution: ExecutionId,
    /// Who runs it.
    pub by: Who,
    /// How.
    pub state: EndState,
}

/// The executions of a workspace.
#[derive(Debug, Default)]
pub(crate) struct Executions {
    /// Those that run, and those that ended not long ago.
    pub(crate) all: BTreeMap<ExecutionId, Execution>,
    /// Those that ended, oldest first.
    pub(crate) finals: VecDeque<ExecutionId>,
    /// How many of those were killed; follows from them.
    pub(crate) killed: usize,
    /// Who runs and who waits; follows from `all`.
    pub(crate) places: Places,
}

/// What can stop an execution: what could stop its start, itself, and those that it is a part of.
fn scopes(state: &State, event: &ExecutionStarted) -> Vec<KillScope> {
    let mut under = alloc::vec![
        KillScope::Capability(event.capability.clone()),
        KillScope::Execution(event.execution.to_string()),
    ];
    under.extend(event.branch.clone().map(KillScope::Branch));
    under.extend_from_slice(&event.leads_to);
    let mut all = KillScope::all(EXECUTION.0, &event.by, &event.on_behalf_of, &under);
    let parent = event.parent.and_then(|parent| state.executions.all.get(&parent));
    let above = parent.into_iter().flat_map(|parent| parent.scopes.iter());
    all.extend(above.filter(|scope| matches!(scope, KillScope::Execution(_))).cloned());
    all.sort_unstable();
    all.dedup();
    all
}

/// How an execution ended that is not remembered.
pub(crate) const FORGOTTEN: &str = "forgotten";

/// How many executions a chain of parents may have: each knows all above it.
const DEPTH_MAX: usize = 8;

pub(crate) fn start(
    state: &State,
    command: &StartExecution,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    let prior = &command.prior;
    if (prior.surface.as_str(), prior.action.as_str()) != EXECUTION {
        return Err(Rejection::NoPermit);
    }
    if prior.actor != command.by.actor {
        return Err(Rejection::Foreign("the actor that proposed the execution"));
    }
    let execution = ExecutionId::from_bytes(*prior.decision.bytes());
    if state.executions.all.contains_key(&execution) {
        return Ok(Plan::Nothing);
    }
    let held = state.approval_of(prior.decision);
    let permit = prior.permit.as_ref().or_else(|| match held.map(|held| &held.state) {
        Some(HeldState::Consumed(permit)) => Some(permit),
        _ => None,
    });
    let permit = permit.filter(|permit| permit.consumed).ok_or(Rejection::NoPermit)?;
    let (own, index) = (prior.scopes(), command.index);
    // A permit that was collected may be newer than a trip after its decision: then its nonce is there.
    let newer = held.is_some() && permit.nonce.is_some() && !state.revoked.get(index);
    let withheld = state.withheld(index, &own).filter(|_| !newer);
    if let Some(why) = state.stop_led(&own).map(Stop::rejection).or(withheld) {
        return Err(why);
    }
    state.rests(prior, now)?;
    if state.reported.get(index) {
        return Err(Rejection::PermitConsumed);
    }
    if now >= permit.expires {
        return Err(Rejection::PermitExpired);
    }
    let mut capability = None;
    let mut branch = None;
    for scope in &prior.under {
        match scope {
            KillScope::Capability(name) => capability = Some(name.clone()),
            KillScope::Branch(name) => branch = Some(name.clone()),
            _ => {}
        }
    }
    let capability = capability.ok_or(Rejection::NotFound("capability"))?;
    if let Some(parent) = command.parent {
        let above = state.executions.all.get(&parent).ok_or(Rejection::NotFound("execution"))?;
        if !state.runs(above, &command.by) {
            return Err(Rejection::Foreign("the actor that runs the parent"));
        }
        if let Some(ended) = above.over(now) {
            return Err(Rejection::ExecutionEnded(ended.as_str()));
        }
        if above.queued {
            return Err(Rejection::ExecutionQueued);
        }
        let runs = above.scopes.iter().filter(|it| matches!(it, KillScope::Execution(_)));
        if runs.count() >= DEPTH_MAX {
            return Err(Rejection::ChainTooDeep);
        }
    }
    let used =
        [Some(KillScope::Capability(capability.clone())), branch.clone().map(KillScope::Branch)];
    let used: Vec<KillScope> = used.into_iter().flatten().collect();
    let event = ExecutionStarted {
        leads_to: state.leads_to(&used),
        execution,
        index,
        by: prior.actor.clone(),
        on_behalf_of: prior.on_behalf_of.clone(),
        capability,
        branch,
        parent: command.parent,
        max_concurrent: queue::constrained(held, prior, "max_concurrent"),
        max_runtime_sec: Some(queue::runtime(held, prior, command.max_runtime_sec)),
        max_steps: command.max_steps,
    };
    if let Some(stop) = state.stop_led(&scopes(state, &event)) {
        return Err(stop.rejection());
    }
    let places = &state.executions.places;
    if !places.has_share(&event.by, &state.bounds) {
        return Err(Rejection::ExecutionsFull);
    }
    if places.has_place(&event, &state.bounds) && !places.waits(&event.capability) {
        return append(Event::ExecutionStarted(event));
    }
    if !places.may_wait(&event.by, &state.bounds) {
        return Err(Rejection::ExecutionsFull);
    }
    append(Event::ExecutionQueued(event))
}

pub(crate) fn end(state: &State, command: &EndExecution) -> Result<Plan, Rejection> {
    let missing = Rejection::NotFound("execution");
    let known = state.executions.all.get(&command.execution).ok_or(missing)?;
    // Who oversees gives back the place of a run that nobody ends; only its runner says that it succeeded.
    let may = state.runs(known, &command.by)
        || command.state == EndState::Failed
            && command.by.actor.is_human()
            && has_role(&command.by, &OVERRIDE_ROLES).is_ok();
    if !may {
        return Err(Rejection::Foreign("the actor that runs the execution"));
    }
    match known.ended {
        Some((ended, _)) if ended == wanted(command.state) => Ok(Plan::Nothing),
        Some((ended, _)) => Err(Rejection::ExecutionEnded(ended.as_str())),
        None if known.queued && command.state == EndState::Succeeded => {
            Err(Rejection::ExecutionQueued)
        }
        None => append(Event::ExecutionEnded(ExecutionEnded {
            execution: command.execution,
            by: command.by.actor.clone(),
            state: command.state,
        })),
    }
}

fn wanted(state: EndState) -> ExecutionState {
    match state {
        EndState::Succeeded => ExecutionState::Succeeded,
        EndState::Failed => ExecutionState::Failed,
    }
}

/// Why a request may not be a step of the execution that it names, if it names one of ours.
pub(crate) fn barred(state: &State, command: &Decide, now: TimeMs) -> Option<Reason> {
    let id = executions(&command.under).next()?;
    // A step that is decided again lists those above as well.
    let id = state.step_of(&command.under).unwrap_or(id);
    let Some(known) = state.executions.all.get(&id) else {
        return Some(Reason::ExecutionUnknown);
    };
    if !state.runs(known, &command.who) {
        return Some(Reason::ExecutionForeign);
    }
    if known.ended.is_some() {
        return Some(Reason::ExecutionEnded);
    }
    if known.queued {
        return Some(Reason::ExecutionQueued);
    }
    // Without its capability a step would be measured by no manifest, or by another's.
    let started = &known.started;
    let capability = KillScope::Capability(started.capability.clone());
    let branch = started.branch.clone().map(KillScope::Branch);
    let of_step = command.under.iter().find(|it| matches!(it, KillScope::Branch(_)));
    let same = command.under.contains(&capability) && of_step == branch.as_ref();
    if !same {
        return Some(Reason::ExecutionMismatch);
    }
    known.spent(now).map(|_| Reason::ExecutionBudget)
}

/// The end of an execution by a step too many, or too late.
pub(crate) fn spent_by(
    state: &State,
    command: &Decide,
    combined: &Combined,
    now: TimeMs,
) -> Option<Event> {
    let spent = combined.reasons.contains(&Reason::ExecutionBudget);
    let execution = state.step_of(&command.under).filter(|_| spent)?;
    let cause = state.executions.all.get(&execution)?.spent(now)?;
    Some(Event::ExecutionTerminated(ExecutionTerminated { execution, cause }))
}

/// The kill of an execution by a step outside of its capability's manifest.
pub(crate) fn tripped_by(state: &State, command: &Decide, combined: &Combined) -> Option<Event> {
    let outside = combined.deciding.iter().any(|rule| rule.cause == Reason::OutsideManifest);
    let id = executions(&command.under).next().filter(|_| outside)?;
    let known = state.executions.all.get(&id)?;
    (known.ended.is_none() && state.runs(known, &command.who)).then(|| {
        Event::KillTripped(KillEvent {
            scope: KillScope::Execution(id.to_string()),
            mode: OverrideMode::Kill,
            source: KillSource::Manifest,
            by: None,
            not_before: None,
            waiting: 0,
        })
    })
}

impl State {
    /// Executions from `after` on, oldest first: those that run, and those that ended not long ago.
    pub fn executions(&self, after: Option<ExecutionId>) -> impl Iterator<Item = &Execution> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.executions.all.range((from, Unbounded)).map(|(_, execution)| execution)
    }

    /// One execution, as long as state remembers it.
    #[must_use]
    pub fn execution(&self, id: ExecutionId) -> Option<&Execution> {
        self.executions.all.get(&id)
    }

    /// Whether a caller goes on in an execution: who began it, or who acts for them as was verified.
    pub fn runs(&self, execution: &Execution, who: &Who) -> bool {
        let by = &execution.started.by;
        let session = who.key.and_then(|key| self.sessions.all.get(&key));
        who.actor == *by || session.is_some_and(|session| session.opened.chain.contains(by))
    }

    /// When the running execution began that these scopes name: what a freeze after it lets end.
    pub(crate) fn began(&self, scopes: &[KillScope]) -> Option<u64> {
        let governs = |it: &KillScope| matches!(it, KillScope::Surface(it) if is_governed(it));
        if self.executions.all.is_empty() || scopes.iter().any(governs) {
            return None;
        }
        let known = self.executions.all.get(&self.step_of(scopes)?)?;
        (known.ended.is_none() && !known.queued).then_some(known.index)
    }

    /// The execution among these scopes that a kill has ended for good.
    pub(crate) fn killed_execution(&self, scopes: &[KillScope]) -> Option<KillScope> {
        if self.executions.killed == 0 {
            return None;
        }
        let killed = |id: &ExecutionId| {
            let ended = self.executions.all.get(id).and_then(|known| known.ended);
            ended.is_some_and(|(state, _)| state.is_killed())
        };
        let id = executions(scopes).find(killed)?;
        Some(KillScope::Execution(id.to_string()))
    }

    /// Why a held step may not be released: its execution has ended, or its time is up. One that is not
    /// remembered has ended.
    pub(crate) fn step_over(&self, held: &Held, now: TimeMs) -> Option<Rejection> {
        if self.is_forgotten(&held.scopes) {
            return Some(Rejection::ExecutionEnded(FORGOTTEN));
        }
        let known = self.step_of(&held.scopes).and_then(|id| self.executions.all.get(&id));
        Some(Rejection::ExecutionEnded(known?.over(now)?.as_str()))
    }

    /// Whether these are the scopes of a step of an execution that is not remembered. It has ended, and whether
    /// a kill has ended it nobody can tell.
    pub(crate) fn is_forgotten(&self, scopes: &[KillScope]) -> bool {
        executions(scopes).next().is_some()
            && self.step_of(scopes).is_none_or(|id| !self.executions.all.contains_key(&id))
    }

    pub(crate) fn apply_started(
        &mut self,
        event: &ExecutionStarted,
        index: u64,
    ) -> Result<(), &'static str> {
        if self.executions.all.get(&event.execution).is_some_and(|known| known.queued) {
            return self.apply_begun(event, index);
        }
        self.accept_execution(event, index, false)
    }

    /// Takes up an execution that runs from here on, or waits for a place.
    fn accept_execution(
        &mut self,
        event: &ExecutionStarted,
        index: u64,
        queued: bool,
    ) -> Result<(), &'static str> {
        if event.index >= index || self.reported.get(event.index) {
            return Err("it starts an execution under a later decision, or one that is used up");
        }
        let above = event.parent.map(|parent| self.executions.all.get(&parent));
        if above.is_some_and(|above| above.is_none_or(|above| above.ended.is_some())) {
            return Err("it starts an execution within one that does not run");
        }
        let scopes: Arc<[KillScope]> = scopes(self, event).into();
        self.not_stopped(&scopes)?;
        // INVARIANT: one permit starts one execution. That it began is how the permitted act went.
        self.reported.set(event.index);
        self.counters.reported = self.counters.reported.saturating_add(1);
        self.overrides.covered.enter_execution(event.execution, &scopes);
        let execution = Execution {
            started: event.clone(),
            index,
            since: self.time,
            queued,
            scopes,
            steps: 0,
            waiting: 0,
            ended: None,
        };
        self.executions.places.insert(&execution);
        self.timers.extend(execution.timer());
        match self.executions.all.insert(event.execution, execution) {
            None => Ok(()),
            Some(_) => Err("it starts an execution a second time"),
        }
    }

    pub(crate) fn apply_execution_ended(
        &mut self,
        event: &ExecutionEnded,
    ) -> Result<(), &'static str> {
        let known = self.executions.all.get(&event.execution);
        if known.is_none_or(|known| known.ended.is_some()) {
            return Err("it ends an execution that does not run");
        }
        self.end_execution(event.execution, wanted(event.state));
        Ok(())
    }

    /// Makes an execution final, unless it is, and forgets the oldest final ones beyond the bound.
    fn end_execution(&mut self, id: ExecutionId, state: ExecutionState) {
        let now = self.time;
        // INVARIANT: a final state never changes.
        let known = self.executions.all.get_mut(&id).filter(|known| known.ended.is_none());
        let Some(known) = known else { return };
        self.executions.places.remove(known);
        let timer = known.timer();
        known.ended = Some((state, now));
        let scopes = known.scopes.clone();
        if let Some(timer) = timer {
            self.timers.remove(&timer);
        }
        self.overrides.covered.leave_execution(id, &scopes);
        if state.is_killed() {
            self.executions.killed = self.executions.killed.saturating_add(1);
        }
        self.executions.finals.push_back(id);
        while self.executions.finals.len() > self.bounds.final_max {
            let Some(old) = self.executions.finals.pop_front() else { break };
            let gone = self.executions.all.remove(&old).and_then(|gone| gone.ended);
            if gone.is_some_and(|(state, _)| state.is_killed()) {
                self.executions.killed = self.executions.killed.saturating_sub(1);
            }
        }
    }

    /// Ends executions by a kill that covers them.
    pub(crate) fn kill_executions(&mut self, ids: Vec<ExecutionId>, source: KillSource) -> u64 {
        let state = match source {
            KillSource::Certificate | KillSource::Seal => ExecutionState::KillSwitchTampered,
            _ => ExecutionState::Killed,
        };
        let ended = ids.len() as u64;
        for id in ids {
            self.end_execution(id, state);
        }
        ended
    }

    /// Counts a decision as a step of the execution that it names: its runner's, once it runs.
    pub(crate) fn count_step(&mut self, event: &DecisionEvent) {
        let foreign = event.reasons.contains(&Reason::ExecutionForeign);
        let Some(id) = self.step_of(&event.under).filter(|_| !foreign) else { return };
        // Whatever refuses a step of one that waits, a freeze for instance, takes nothing from its budget.
        let known = self.executions.all.get_mut(&id).filter(|known| !known.queued);
        if let Some(known) = known {
            known.steps = known.steps.saturating_add(1);
            if event.approval.is_some() {
                known.waiting = known.waiting.saturating_add(1);
            }
        }
    }

    /// A step does not wait any more; rejected, it ends its execution.
    pub(crate) fn step_decided(&mut self, scopes: &[KillScope], rejected: bool) {
        let Some(id) = self.step_of(scopes) else { return };
        if let Some(known) = self.executions.all.get_mut(&id) {
            known.waiting = known.waiting.saturating_sub(1);
        }
        if rejected {
            let within = self.within(id);
            self.end_execution(id, ExecutionState::Rejected);
            // What it was begun for is not to be.
            for id in within {
                self.end_execution(id, ExecutionState::Rejected);
            }
        }
    }
}
