//! What people stop stays stopped until those lift it who may; what they let pass for a time, and what counts as
//! proof, is over once it is over; an execution ends once. Folded from the entries anew, naively: nothing here
//! is shared with what is checked but the format of entries.

use super::{Held, Logs, places, violated};
use crate::disk::Stored;
use placet_engine::{ExceptionStanding, State};
use placet_types::Digest;
use placet_types::event::{
    DecisionEvent, Event, ExecutionStarted, KillEvent, KillScope, KillSource, OverrideMode,
};
use placet_types::ids::{ApprovalId, DecisionId, EvidenceId, ExceptionId, ExecutionId, TimeMs};
use placet_types::policy::{Outcome, Reason};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "control";

/// What was acknowledged to somebody.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// A scope was stopped in a way; the log had so many entries then.
    Stopped(KillScope, OverrideMode, u64),
    /// An exception was closed; the log had so many entries then.
    Closed(ExceptionId, u64),
    /// A piece of evidence was taken back; the log had so many entries then.
    Revoked(EvidenceId, u64),
    /// An execution ended so.
    Ended(ExecutionId, &'static str),
    /// The request of a decision that was permitted named this piece, and nothing else.
    Rests(DecisionId, EvidenceId),
}

#[derive(Default)]
pub(crate) struct Control {
    /// With the workspace.
    told: Vec<(u32, Told)>,
    /// Executions that somebody saw at their end.
    ended: BTreeMap<ExecutionId, &'static str>,
}

impl Control {
    pub(crate) fn told(&mut self, workspace: u32, what: Told) {
        self.told.push((workspace, what));
    }

    /// Somebody sees how an execution ended, and the entry is durable.
    pub(crate) fn seen(&mut self, id: ExecutionId, end: &'static str) -> Held {
        match (self.ended.get(&id), end) {
            (Some(before), end) if *before != end => {
                violated(NAME, format!("{id} had ended {before}, and now it is {end}"))
            }
            (Some(_), _) => Ok(()),
            (None, end) => {
                self.ended.insert(id, end);
                Ok(())
            }
        }
    }

    pub(crate) fn at_rest(&self, logs: &Logs) -> Held {
        let mut folded = BTreeMap::new();
        for (no, log) in logs {
            folded.insert(*no, Fold::of(*no, log)?);
        }
        for (no, told) in &self.told {
            let Some(fold) = folded.get(no) else {
                return violated(NAME, format!("workspace {no} is gone"));
            };
            if let Some(what) = fold.lacks(told) {
                return violated(NAME, format!("workspace {no}: {told:?} was told, and {what}"));
            }
        }
        for (id, end) in &self.ended {
            let known = folded.values().find_map(|fold| fold.runs.get(id));
            if known.is_none_or(|run| run.end != Some(*end)) {
                let now = known.map(|run| run.end);
                return violated(NAME, format!("{id} was seen {end}; by its log it is {now:?}"));
            }
        }
        Ok(())
    }
}

/// What an instance has in memory of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) size: u64,
    stopped: BTreeMap<KillScope, OverrideMode>,
    /// Live ones with how often they were used.
    exceptions: BTreeMap<ExceptionId, u64>,
    /// Whether each was taken back.
    pieces: BTreeMap<EvidenceId, bool>,
    runs: BTreeMap<ExecutionId, Option<&'static str>>,
}

impl View {
    /// Of the live state.
    pub(crate) fn of(state: &State) -> Self {
        let live = state.exceptions().filter(|it| it.standing == ExceptionStanding::Live);
        Self {
            size: state.next_index(),
            stopped: state.overrides().map(|(scope, it)| (scope.clone(), it.mode)).collect(),
            exceptions: live.map(|it| (it.id(), it.uses)).collect(),
            pieces: state.evidence().newest(None).map(|it| (it.id, it.revoked)).collect(),
            runs: state
                .executions(None)
                .map(|it| (it.started.execution, it.ended.map(|(end, _)| end.as_str())))
                .collect(),
        }
    }
}

/// What an instance holds in memory is what its log says: nothing was lost or came back. Entries that are not on
/// the disk yet say nothing.
pub(crate) fn same(no: u32, log: &[Stored], live: &View) -> Held {
    let Some(log) = usize::try_from(live.size).ok().and_then(|size| log.get(..size)) else {
        return Ok(());
    };
    let fold = Fold::of(no, log)?;
    let logged = View {
        size: live.size,
        stopped: fold.stopped.iter().map(|(scope, (mode, _))| (scope.clone(), *mode)).collect(),
        exceptions: fold
            .exceptions
            .iter()
            .filter(|(_, it)| it.standing == Standing::Live)
            .map(|(id, it)| (*id, it.uses))
            .collect(),
        pieces: fold.pieces.iter().map(|(id, it)| (*id, it.revoked.is_some())).collect(),
        runs: fold.runs.iter().map(|(id, run)| (*id, run.end)).collect(),
    };
    if logged == *live {
        return Ok(());
    }
    violated(NAME, format!("workspace {no} has {live:?}, and its log says {logged:?}"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Live,
    UsedUp,
    Over,
}

#[derive(Debug)]
struct Exception {
    surface: String,
    actor: String,
    ends: TimeMs,
    uses: u64,
    most: Option<u64>,
    standing: Standing,
    passages: Vec<u64>,
}

#[derive(Debug)]
struct Piece {
    expires: TimeMs,
    /// Type and digest, subject and issuer: pieces that say the same are taken back together.
    word: (String, Digest, Digest, String),
    /// Index of the entry that took it back, or one that says the same.
    revoked: Option<u64>,
    /// An entry has named it itself.
    named: bool,
}

#[derive(Debug)]
pub(super) struct Run {
    /// Where it was accepted, or got its place.
    pub(super) index: u64,
    pub(super) scopes: BTreeSet<KillScope>,
    pub(super) end: Option<&'static str>,
    /// It waits for a place.
    pub(super) queued: bool,
    /// When that was, and seconds that it may run.
    pub(super) since: TimeMs,
    pub(super) runtime: Option<u64>,
    /// Decisions that named it while it ran, and how many may.
    pub(super) steps: u64,
    pub(super) most: Option<u64>,
}

/// A decision that a permit may come from.
#[derive(Debug)]
struct Decided {
    index: u64,
    time: TimeMs,
    scopes: BTreeSet<KillScope>,
    exception: Option<ExceptionId>,
    /// It permitted at once.
    permits: bool,
    /// A stop has ended its open permit.
    dead: bool,
}

/// A log, folded.
#[derive(Debug, Default)]
pub(super) struct Fold {
    stopped: BTreeMap<KillScope, (OverrideMode, u64)>,
    /// Every stop there was: scope, way, index.
    stops: Vec<(KillScope, OverrideMode, u64)>,
    /// Who asks to lift.
    asked: BTreeMap<KillScope, String>,
    decided: BTreeMap<DecisionId, Decided>,
    /// Held actions by their approval.
    held: BTreeMap<ApprovalId, DecisionId>,
    exceptions: BTreeMap<ExceptionId, Exception>,
    pieces: BTreeMap<EvidenceId, Piece>,
    pub(super) runs: BTreeMap<ExecutionId, Run>,
    /// Of everything it says what the log of the first workspace says.
    follows: bool,
}

pub(super) type Wrong = Result<(), String>;

pub(super) fn wrong(what: impl Into<String>) -> Wrong {
    Err(what.into())
}

impl Fold {
    fn of(no: u32, log: &[Stored]) -> Result<Self, super::Violation> {
        let mut fold = Self { follows: no != 0, ..Self::default() };
        for (index, stored) in (0..).zip(log) {
            if let Err(what) = fold.entry(index, stored) {
                let what = format!("entry {index} of workspace {no} {what}");
                return Err(super::Violation { checker: NAME, what });
            }
        }
        Ok(fold)
    }

    fn entry(&mut self, index: u64, stored: &Stored) -> Wrong {
        let (time, alone) = (stored.entry.time, stored.entry.dev || stored.entry.solo);
        match &stored.entry.event {
            Event::Decision(event) => self.decision(event, index, time),
            Event::PermitConsumed(event) => self.consumed(event.decision, time),
            Event::PermitCollected(event) => self.collected(event.decision, time),
            Event::KillTripped(event) => {
                self.tripped(event, index);
                Ok(())
            }
            Event::KillLiftRequested(event) => {
                let by = event.by.as_ref().map(|by| by.as_str().to_owned());
                if !self.stopped.contains_key(&event.scope) {
                    return wrong("asks to lift what is not stopped");
                }
                self.asked.insert(event.scope.clone(), by.unwrap_or_default());
                Ok(())
            }
            Event::KillLifted(event) => self.lifted(event, alone),
            Event::ApprovalVoted(vote) => {
                let gone = vote
                    .roles
                    .iter()
                    .find(|role| self.stopped.contains_key(&KillScope::Role((*role).clone())));
                if let Some(role) = gone {
                    return wrong(format!("counts a vote as {role}, a role that is revoked"));
                }
                if !vote.approve {
                    self.rejected(vote.approval);
                }
                Ok(())
            }
            Event::ExceptionOpened(event) => {
                let known = Exception {
                    surface: event.scope.surface.clone(),
                    actor: event.scope.actor.as_str().to_owned(),
                    ends: event.ends,
                    uses: 0,
                    most: event.max_uses().map(u64::from),
                    standing: match event.retroactive {
                        Some(_) => Standing::Over,
                        None => Standing::Live,
                    },
                    passages: Vec::new(),
                };
                match self.exceptions.insert(event.exception, known) {
                    Some(_) => wrong("opens an exception a second time"),
                    None => Ok(()),
                }
            }
            Event::ExceptionEnded(event) | Event::ExceptionClosed(event) => {
                match self.exceptions.get_mut(&event.exception) {
                    Some(known) if known.standing != Standing::Over => {
                        known.standing = Standing::Over;
                        Ok(())
                    }
                    _ => wrong("ends an exception that is over"),
                }
            }
            Event::EvidenceAdded(event) => {
                let issuer = event.issuer.as_str().to_owned();
                let word = (event.kind.clone(), event.digest, event.subject, issuer);
                let expires = event.expires;
                let piece = Piece { expires, word, revoked: None, named: false };
                match self.pieces.insert(event.evidence, piece) {
                    Some(_) => wrong("adds a piece of evidence a second time"),
                    None => Ok(()),
                }
            }
            Event::EvidenceRevoked(event) => match self.pieces.get_mut(&event.evidence) {
                Some(piece) if !piece.named => {
                    piece.named = true;
                    let word = piece.word.clone();
                    for piece in self.pieces.values_mut().filter(|it| it.word == word) {
                        piece.revoked.get_or_insert(index);
                    }
                    Ok(())
                }
                _ => wrong("takes back evidence that is not there, or again"),
            },
            Event::ExecutionStarted(event)
                if self.runs.get(&event.execution).is_some_and(|run| run.queued) =>
            {
                self.begun(event, index, time)
            }
            Event::ExecutionStarted(event) | Event::ExecutionQueued(event) => {
                let queued = matches!(stored.entry.event, Event::ExecutionQueued(_));
                let mut under = vec![
                    KillScope::Capability(event.capability.clone()),
                    KillScope::Execution(event.execution.to_string()),
                ];
                under.extend(event.branch.clone().map(KillScope::Branch));
                under.extend(event.leads_to.iter().cloned());
                let own = KillScope::all("execution", &event.by, &event.on_behalf_of, &under);
                let mut scopes: BTreeSet<KillScope> = own.into_iter().collect();
                if let Some(parent) = event.parent {
                    match self.runs.get(&parent) {
                        Some(parent) if parent.end.is_none() => {
                            let is_run = |it: &&KillScope| matches!(it, KillScope::Execution(_));
                            scopes.extend(parent.scopes.iter().filter(is_run).cloned());
                        }
                        _ => return wrong("starts a part of what does not run"),
                    }
                }
                if let Some(by) = self.stops(&scopes, |mode| mode.ends_permits()) {
                    return wrong(format!("starts an execution while {by} is stopped"));
                }
                if !queued {
                    places::has_place(self, event)?;
                }
                let (most, runtime) = (event.max_steps, event.max_runtime_sec);
                let since = time;
                let run = Run { index, since, scopes, end: None, queued, steps: 0, most, runtime };
                match self.runs.insert(event.execution, run) {
                    Some(_) => wrong("starts an execution a second time"),
                    None => Ok(()),
                }
            }
            Event::ExecutionEnded(event) => match self.runs.get_mut(&event.execution) {
                Some(run) if run.end.is_none() => {
                    run.end = Some(event.state.as_str());
                    Ok(())
                }
                _ => wrong("ends an execution that does not run"),
            },
            Event::ExecutionTerminated(event) => match self.runs.get_mut(&event.execution) {
                Some(run) if run.end.is_none() => places::terminated(run, event.cause, time),
                _ => wrong("ends an execution that does not run"),
            },
            _ => Ok(()),
        }
    }

    /// One that waited has a place.
    fn begun(&mut self, event: &ExecutionStarted, index: u64, time: TimeMs) -> Wrong {
        let Some(run) = self.runs.get(&event.execution) else { return Ok(()) };
        if run.end.is_some() {
            return wrong("starts an execution that has ended");
        }
        places::has_place(self, event)?;
        if let Some(by) = self.stops(&run.scopes.clone(), |_| true) {
            return wrong(format!("starts an execution that waited while {by} is stopped"));
        }
        if let Some(run) = self.runs.get_mut(&event.execution) {
            (run.queued, run.index, run.since) = (false, index, time);
        }
        Ok(())
    }

    fn decision(&mut self, event: &DecisionEvent, index: u64, time: TimeMs) -> Wrong {
        let scopes: BTreeSet<KillScope> = event.scopes().into_iter().collect();
        let granted = matches!(event.outcome, Outcome::Permit | Outcome::RequireApproval);
        if granted {
            if let Some(by) = self.stops(&scopes, |_| true) {
                return wrong(format!("lets pass while {by} is stopped"));
            }
            if self.run(&scopes).is_some_and(|run| run.end.is_some()) {
                return wrong("lets a step pass of an execution that has ended");
            }
        }
        let foreign = event.reasons.contains(&Reason::ExecutionForeign);
        let run =
            own(&self.runs, &scopes).filter(|_| !foreign).and_then(|id| self.runs.get_mut(&id));
        if let Some(run) = run.filter(|run| !run.queued || granted) {
            if granted && (run.queued || run.is_spent(time)) {
                return wrong("lets a step pass of an execution that waits, or is used up");
            }
            run.steps += 1;
        }
        if let Some(passage) = &event.exception {
            let Some(known) = self.exceptions.get_mut(&passage.exception) else {
                return wrong("passes under an exception that nobody opened");
            };
            let covers = (known.surface == "*" || known.surface == event.surface)
                && known.actor == event.actor.as_str();
            if known.standing != Standing::Live || time >= known.ends || !covers {
                return wrong(format!("passes under {}: {known:?}", passage.exception));
            }
            known.uses += 1;
            known.passages.push(index);
            if known.most == Some(known.uses) {
                known.standing = Standing::UsedUp;
            }
        }
        if let Some(approval) = &event.approval {
            self.held.insert(approval.id, event.decision);
        }
        let decided = Decided {
            index,
            time,
            scopes,
            exception: event.exception.as_ref().map(|it| it.exception),
            permits: event.permit.is_some(),
            dead: false,
        };
        self.decided.insert(event.decision, decided);
        Ok(())
    }

    fn consumed(&mut self, decision: DecisionId, time: TimeMs) -> Wrong {
        let Some(known) = self.decided.get(&decision) else { return wrong("consumes nothing") };
        if known.permits && known.dead {
            return wrong("consumes a permit that a stop had ended");
        }
        if let Some(by) = self.stops(&known.scopes, |mode| mode.ends_permits()) {
            return wrong(format!("consumes a permit while {by} is stopped"));
        }
        self.rests(known, time)
    }

    fn collected(&mut self, decision: DecisionId, time: TimeMs) -> Wrong {
        let Some(known) = self.decided.get(&decision) else { return wrong("collects nothing") };
        if let Some(by) = self.stops(&known.scopes, |_| true) {
            return wrong(format!("collects a permit while {by} is stopped"));
        }
        let run = self.run(&known.scopes);
        if run.is_some_and(|run| run.end.is_some()) {
            return wrong("collects a permit of an execution that has ended");
        }
        self.rests(known, time)
    }

    fn rests(&self, known: &Decided, time: TimeMs) -> Wrong {
        let Some(id) = known.exception else { return Ok(()) };
        match self.exceptions.get(&id) {
            Some(it) if it.standing != Standing::Over && time < it.ends => Ok(()),
            _ => wrong(format!("hands out a permit under {id}, which is over")),
        }
    }

    /// The execution of ours whose step has these scopes: of several that which is a part of all others.
    fn run(&self, scopes: &BTreeSet<KillScope>) -> Option<&Run> {
        own(&self.runs, scopes).and_then(|id| self.runs.get(&id))
    }

    /// What of these is stopped in one of these ways. A freeze spares what runs since before it; of an alias it
    /// stops the change alone, and nothing here changes one.
    pub(super) fn stops(
        &self,
        scopes: &BTreeSet<KillScope>,
        ways: impl Fn(OverrideMode) -> bool,
    ) -> Option<KillScope> {
        let run = self.run(scopes).filter(|run| run.end.is_none() && !run.queued);
        let wide = [KillScope::Everything, KillScope::Workspace];
        let mut all = wide.iter().chain(scopes);
        let by = all.find(|scope| {
            let Some((mode, since)) = self.stopped.get(scope) else { return false };
            let freezes = *mode == OverrideMode::Freeze;
            let spares =
                run.is_some_and(|run| run.index < *since) || matches!(scope, KillScope::Alias(_));
            ways(*mode) && !(freezes && spares)
        });
        by.cloned()
    }

    fn tripped(&mut self, event: &KillEvent, index: u64) {
        let KillEvent { scope, mode, source, .. } = event;
        let covers = |scopes: &BTreeSet<KillScope>| scope.is_wide() || scopes.contains(scope);
        if *source != KillSource::Manifest {
            self.stopped.insert(scope.clone(), (*mode, index));
            self.asked.remove(scope);
        }
        self.stops.push((scope.clone(), *mode, index));
        // Whatever is a part of a run that ends, ends with it.
        let mut ended: BTreeSet<KillScope> = BTreeSet::new();
        if *mode == OverrideMode::Kill {
            let running = self.runs.iter().filter(|(_, run)| run.end.is_none());
            let under = running.filter(|(_, run)| covers(&run.scopes));
            ended.extend(under.map(|(id, _)| KillScope::Execution(id.to_string())));
        }
        let covers = |scopes: &BTreeSet<KillScope>| covers(scopes) || !scopes.is_disjoint(&ended);
        if mode.ends_permits() {
            let open = self.decided.values_mut().filter(|it| covers(&it.scopes));
            open.for_each(|it| it.dead = true);
        }
        if *mode == OverrideMode::Kill {
            let end = match source {
                KillSource::Certificate | KillSource::Seal => "kill_switch_tampered",
                _ => "killed",
            };
            let running = self.runs.values_mut().filter(|run| run.end.is_none());
            running.filter(|run| covers(&run.scopes)).for_each(|run| run.end = Some(end));
        }
    }

    fn lifted(&mut self, event: &KillEvent, alone: bool) -> Wrong {
        if self.stopped.remove(&event.scope).is_none() {
            return wrong("lifts what is not stopped");
        }
        let by = event.by.as_ref().map(|by| by.as_str().to_owned()).unwrap_or_default();
        match self.asked.remove(&event.scope) {
            _ if alone => Ok(()),
            // Who wants it lifted stands in the log of the first workspace.
            _ if self.follows && event.scope == KillScope::Everything => Ok(()),
            Some(first) if first != by && !by.is_empty() => Ok(()),
            _ => wrong("lifts what only one person wants lifted"),
        }
    }

    /// A no ends the execution whose step it was.
    fn rejected(&mut self, approval: ApprovalId) {
        let decision = self.held.get(&approval).and_then(|id| self.decided.get(id));
        let Some(own) = decision.and_then(|known| self.run(&known.scopes)) else { return };
        let own: BTreeSet<ExecutionId> = runs(&own.scopes).collect();
        for run in self.runs.values_mut() {
            // The run itself, and what is a part of it.
            if runs(&run.scopes).collect::<BTreeSet<_>>().is_superset(&own) {
                run.end.get_or_insert("rejected");
            }
        }
    }

    /// What the log does not say of what somebody was told.
    fn lacks(&self, told: &Told) -> Option<String> {
        match told {
            Told::Stopped(scope, mode, before) => {
                let mut stops = self.stops.iter();
                let there = stops.any(|(it, way, at)| it == scope && way >= mode && at < before);
                (!there).then(|| "no entry stops it".to_owned())
            }
            Told::Closed(id, before) => match self.exceptions.get(id) {
                None => Some("no entry opens it".to_owned()),
                Some(it) => {
                    let late = it.passages.iter().find(|at| *at >= before)?;
                    Some(format!("entry {late} passes under it"))
                }
            },
            Told::Revoked(id, before) => match self.pieces.get(id)?.revoked {
                Some(at) if at < *before => None,
                at => Some(format!("it was taken back at {at:?}")),
            },
            Told::Ended(id, end) => {
                let now = self.runs.get(id).map(|run| run.end);
                (now != Some(Some(*end))).then(|| format!("by its log it is {now:?}"))
            }
            Told::Rests(decision, id) => {
                let known = self.decided.get(decision)?;
                let Some(piece) = self.pieces.get(id) else {
                    return Some("no entry adds the piece".to_owned());
                };
                let revoked = piece.revoked.is_some_and(|at| at < known.index);
                let counts = !revoked && known.time < piece.expires;
                (!counts).then(|| format!("{piece:?} did not count at entry {}", known.index))
            }
        }
    }
}

fn own(all: &BTreeMap<ExecutionId, Run>, scopes: &BTreeSet<KillScope>) -> Option<ExecutionId> {
    let depth = runs(scopes).count();
    let deepest = |id: &ExecutionId| {
        depth <= 1 || all.get(id).is_some_and(|run| runs(&run.scopes).count() == depth)
    };
    runs(scopes).find(deepest)
}

/// The executions of ours that are among these scopes.
fn runs(scopes: &BTreeSet<KillScope>) -> impl Iterator<Item = ExecutionId> {
    scopes.iter().filter_map(|scope| match scope {
        KillScope::Execution(name) => ExecutionId::parse(name),
        _ => None,
    })
}

/// How an execution ended by a log.
pub(crate) fn ends(log: &[Stored], id: ExecutionId) -> Option<&'static str> {
    Fold::of(1, log).ok()?.runs.get(&id)?.end
}
