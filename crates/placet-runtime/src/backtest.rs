//! Backtest: the decisions of a real log, made again under another bundle. Every decision whose payload is
//! there is evaluated on several threads and stepped in the order of the log. Owns what is counted and
//! what is left out; refuses to know commands and terminals.
//!
//! What it tells is what the *rules* would have said of what was really asked, one decision at a time:
//! - Idempotency, approvals, kills and bounds stand as they were recorded. A permit that would have been
//!   denied was used all the same, and what came of it is in the log.
//! - Sliding windows are those of the given bundle, counted over what was really permitted or held.
//!
//! Back of the envelope, one decision with a request of 1 KiB at 2.5 GHz: reading its row 1 µs, parsing the
//! entry and writing it back for comparison 9 µs, secret and keys of its slot 3 µs, opening 1 µs, parsing
//! the payload 5 µs and the request in it 2 µs, evaluating 1 µs, all of it on any core; in order then
//! stepping and applying 4 µs. 26 µs are 77,000 a second on two cores.

mod document;

use crate::crypto::Fast;
use crate::fold::open_under;
use crate::ports::{Batch, PortError, SecretCursor};
use crate::proposal::{evaluate, reread_owned};
use crate::pseudonyms::Pseudonyms;
use crate::replay::{Sources, as_recorded, given};
use crate::scan::scan;
use crate::start_error::StartError;
use crate::workspace::parse_batch;
use placet_engine::{Bounds, Command, Decide, Plan, State, is_governed, step};
use placet_policy::Bundle;
use placet_policy::diff::{Side, Transition};
use placet_types::event::{DecisionEvent, Entry, Event};
use placet_types::ids::{DecisionId, TimeMs, WorkspaceName};
use placet_types::policy::{ApprovalSpec, Reason, StepSpec};
use placet_types::{Caller, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Which decisions count, and how the work is done.
#[derive(Clone, Debug)]
pub struct Range {
    /// From then on.
    pub since: Option<TimeMs>,
    /// Before then.
    pub until: Option<TimeMs>,
    /// Of this workspace alone.
    pub workspace: Option<WorkspaceName>,
    /// On this surface alone.
    pub surface: Option<String>,
    /// Threads that open and evaluate.
    pub threads: usize,
    /// Samples of each kind of change.
    pub samples: usize,
}

/// Why a decision is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excluded {
    /// Its payload was erased, so nobody knows what was asked.
    PayloadErased,
    /// Its payload cannot be opened or read.
    PayloadUnreadable,
    /// The constitution decides there, whatever the bundle grants.
    Constitution,
    /// A kill switch decided, before any policy.
    Killed,
    /// It came after its deadline, before any policy.
    Deadline,
    /// The engine refuses it: a log of another version, or a damaged one.
    Refused,
}

impl Excluded {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PayloadErased => "payload_erased",
            Self::PayloadUnreadable => "payload_unreadable",
            Self::Constitution => "constitution",
            Self::Killed => "killed",
            Self::Deadline => "deadline_exceeded",
            Self::Refused => "refused",
        }
    }
}

/// A decision that would have been another.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Whose.
    pub workspace: WorkspaceName,
    /// Log index.
    pub index: u64,
    /// The decision.
    pub decision: DecisionId,
    /// When it was made.
    pub time: TimeMs,
    /// Trace id of the request.
    pub trace: Option<String>,
    /// Surface.
    pub surface: String,
    /// Action.
    pub action: String,
    /// As it was.
    pub recorded: Side,
    /// As it would have been.
    pub would: Side,
}

/// All decisions with one kind of change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The change.
    pub transition: Transition,
    /// How many.
    pub count: u64,
    /// Rules that would have decided.
    pub rules: BTreeSet<String>,
    /// The first of them.
    pub samples: Vec<Sample>,
}

/// What a backtest found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Decisions in the range.
    pub decisions: u64,
    /// Decided again.
    pub evaluated: u64,
    /// Of those, the ones that come out the same.
    pub unchanged: u64,
    /// Left out, by why.
    pub excluded: BTreeMap<Excluded, u64>,
    /// Kinds of change, by outcome.
    pub changes: Vec<Change>,
    /// When the first and the last decision in the range were made.
    pub span: Option<(TimeMs, TimeMs)>,
}

/// Decides a log again under `bundle`. `progress` hears how many entries are done; what it answers
/// decides whether to go on.
///
/// # Errors
/// [`StartError`] where the log itself is damaged or cannot be read.
pub fn backtest(
    sources: &Sources<'_>,
    bundle: &Bundle,
    range: &Range,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Report, StartError> {
    let mut tally = Tally { report: Report::default(), changes: BTreeMap::new(), range };
    let mut done = 0;
    for (no, name) in sources.reader.workspaces()? {
        if range.workspace.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let damaged = |what: String| StartError::Damaged { workspace: name.to_string(), what };
        let key = sources.keys.workspace_key(&name)?;
        let key = key.ok_or_else(|| damaged("its pseudonym key is missing".to_owned()))?;
        let names = Pseudonyms::new(&key);
        let wanted = Wanted::of(bundle, range);
        let mut folding = State::new(Bounds::default());
        let make = || {
            let mut worker =
                Worker { cursor: sources.slots.cursor(), names: &names, bundle, wanted: &wanted };
            move |batch: Batch| worker.batch(batch)
        };
        scan(sources.reader, no, 0, range.threads, make, |batch| {
            let (batch, ahead) = batch.map_err(damaged)?;
            let count = batch.len() as u64;
            for (entry, seen) in batch {
                tally.entry(&mut folding, entry, seen, &name).map_err(damaged)?;
            }
            done += count;
            let goes_on = progress(done).is_continue() && !ahead;
            Ok::<_, StartError>(if goes_on {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
    }
    let mut report = tally.report;
    report.changes = tally.changes.into_values().collect();
    Ok(report)
}

/// Opens the requests of a log that still can be read, in its order.
///
/// # Errors
/// [`StartError`] where the log itself is damaged or cannot be read.
pub fn requests(
    sources: &Sources<'_>,
    range: &Range,
    each: &mut dyn FnMut(&Request, &Caller),
) -> Result<(), StartError> {
    for (no, name) in sources.reader.workspaces()? {
        if range.workspace.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let wanted = Wanted { lead_ms: 0, everything: false, range };
        let make = || {
            let mut cursor = sources.slots.cursor();
            let wanted = &wanted;
            move |batch: Batch| -> Result<(Vec<(Request, Caller)>, bool), String> {
                let parsed = parse_batch(batch)?;
                let mut out = Vec::new();
                let mut ahead = false;
                for (at, entry) in parsed.entries.iter().enumerate() {
                    ahead |= range.until.is_some_and(|until| entry.time >= until);
                    let Event::Decision(event) = &entry.event else { continue };
                    if wanted.excluded(entry, event).is_none()
                        && let Some(frame) = parsed.frame(at)
                        && let Ok(Some(secret)) = cursor.secret(frame.slot)
                        && let Ok(payload) = open_under(&secret, frame)
                        && let Ok(opened) = reread_owned(payload)
                    {
                        out.push(opened);
                    }
                }
                Ok((out, ahead))
            }
        };
        let damaged = |what: String| StartError::Damaged { workspace: name.to_string(), what };
        scan(sources.reader, no, 0, range.threads, make, |batch| {
            let (batch, ahead) = batch.map_err(damaged)?;
            batch.iter().for_each(|(request, caller)| each(request, caller));
            Ok::<_, StartError>(if ahead {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
    }
    Ok(())
}

/// Which decisions have to be evaluated.
struct Wanted<'a> {
    /// Longest window of the bundle: what lies that long before the range is counted in it.
    lead_ms: u64,
    /// Whether other surfaces count in windows as well.
    everything: bool,
    range: &'a Range,
}

/// What is known of an entry before its turn.
enum Seen {
    /// No decision, or one that is not looked at: applied as it is.
    Recorded,
    /// A decision of the range that is left out.
    Excluded(Excluded),
    /// The decision under the given bundle, and whether it is in the range.
    Again(Box<Decide>, bool),
}

impl<'a> Wanted<'a> {
    fn of(bundle: &Bundle, range: &'a Range) -> Self {
        let windows = bundle.rules().filter_map(|rule| rule.limit);
        let lead_ms = windows.map(|limit| limit.per_ms).max();
        Self { lead_ms: lead_ms.unwrap_or(0), everything: lead_ms.is_some(), range }
    }

    /// Whether a decision counts in the report.
    fn counts(&self, entry: &Entry, event: &DecisionEvent) -> bool {
        self.range.since.is_none_or(|since| entry.time >= since)
            && self.range.until.is_none_or(|until| entry.time < until)
            && self.range.surface.as_ref().is_none_or(|surface| *surface == event.surface)
    }

    /// Why there is nothing to evaluate; `Some(None)` where nobody asks.
    fn excluded(&self, entry: &Entry, event: &DecisionEvent) -> Option<Option<Excluded>> {
        let near = self.range.since.is_none_or(|since| entry.time.plus(self.lead_ms) >= since);
        let asked = self.counts(entry, event) || (self.everything && near);
        if !asked || self.range.until.is_some_and(|until| entry.time >= until) {
            return Some(None);
        }
        if is_governed(&event.surface) {
            return Some(Some(Excluded::Constitution));
        }
        event.reasons.iter().find_map(|reason| match reason {
            reason if reason.is_override() => Some(Some(Excluded::Killed)),
            Reason::DeadlineExceeded => Some(Some(Excluded::Deadline)),
            _ => None,
        })
    }
}

/// One thread's opening and evaluating.
struct Worker<'a> {
    cursor: Box<dyn SecretCursor + 'a>,
    names: &'a Pseudonyms,
    bundle: &'a Bundle,
    wanted: &'a Wanted<'a>,
}

/// The entries of a batch, and whether everything after them is too late.
type Batched = Result<(Vec<(Entry, Seen)>, bool), String>;

impl Worker<'_> {
    fn batch(&mut self, batch: Batch) -> Batched {
        let mut parsed = parse_batch(batch)?;
        let mut seen = Vec::with_capacity(parsed.entries.len());
        let frames = crate::frame::frames(&parsed.frames);
        for (entry, frame) in parsed.entries.iter().zip(frames) {
            let frame = frame.map_err(|error| error.to_string())?;
            let Event::Decision(event) = &entry.event else {
                seen.push(Seen::Recorded);
                continue;
            };
            let counts = self.wanted.counts(entry, event);
            seen.push(match self.wanted.excluded(entry, event) {
                Some(why) => why.filter(|_| counts).map_or(Seen::Recorded, Seen::Excluded),
                None => match self.again(entry, event, frame) {
                    Ok(Ok(decide)) => Seen::Again(Box::new(decide), counts),
                    Ok(Err(why)) if counts => Seen::Excluded(why),
                    Ok(Err(_)) => Seen::Recorded,
                    Err(error) => return Err(error.to_string()),
                },
            });
        }
        let until = self.wanted.range.until;
        let last = parsed.entries.last().map(|entry| entry.time);
        let ahead = until.zip(last).is_some_and(|(until, last)| last >= until);
        let entries = std::mem::take(&mut parsed.entries);
        Ok((entries.into_iter().zip(seen).collect(), ahead))
    }

    fn again(
        &mut self,
        entry: &Entry,
        event: &DecisionEvent,
        frame: crate::frame::Frame<'_>,
    ) -> Result<Result<Decide, Excluded>, PortError> {
        let Some(secret) = self.cursor.secret(frame.slot)? else {
            return Ok(Err(Excluded::PayloadErased));
        };
        let opened = open_under(&secret, frame).ok().and_then(|it| reread_owned(it).ok());
        let Some((request, caller)) = opened else {
            return Ok(Err(Excluded::PayloadUnreadable));
        };
        let verdict = evaluate(Some(self.bundle), &request, &caller);
        let windows = verdict.hits.iter().map(|hit| self.names.window_tag(hit)).collect();
        Ok(Ok(as_recorded(given(entry, event), event, caller.roles, verdict, windows)))
    }
}

/// The fold and what is counted in it.
struct Tally<'a> {
    report: Report,
    changes: BTreeMap<Transition, Change>,
    range: &'a Range,
}

impl Tally<'_> {
    fn entry(
        &mut self,
        state: &mut State,
        entry: Entry,
        seen: Seen,
        name: &WorkspaceName,
    ) -> Result<(), String> {
        let index = state.next_index();
        let failed = |error: placet_engine::FoldError| error.to_string();
        let (decide, counts) = match seen {
            Seen::Recorded => return state.apply(&entry).map_err(failed),
            Seen::Excluded(why) => {
                self.met(entry.time);
                *self.report.excluded.entry(why).or_default() += 1;
                return state.apply(&entry).map_err(failed);
            }
            Seen::Again(decide, counts) => (decide, counts),
        };
        let Event::Decision(recorded) = &entry.event else {
            return state.apply(&entry).map_err(failed);
        };
        let plan = step::<Fast>(state, &Command::Decide(decide), entry.time);
        let would = match plan {
            Ok(Plan::Append(events)) => match events.into_iter().next() {
                Some(Event::Decision(event)) => Some(event),
                _ => None,
            },
            _ => None,
        };
        if counts {
            self.met(entry.time);
            match &would {
                Some(would) => self.compare(name, index, entry.time, recorded, would),
                None => *self.report.excluded.entry(Excluded::Refused).or_default() += 1,
            }
        }
        let windowed = |event: &DecisionEvent| event.matched.iter().any(|it| it.window.is_some());
        match would {
            // What was really permitted or held counts in the windows of the given bundle.
            Some(would) if windowed(recorded) || windowed(&would) => {
                let event = DecisionEvent {
                    matched: would.matched.clone(),
                    ..DecisionEvent::clone(recorded)
                };
                let entry = Entry { event: Event::Decision(Arc::new(event)), ..entry };
                state.apply(&entry).map_err(failed)
            }
            _ => state.apply(&entry).map_err(failed),
        }
    }

    fn met(&mut self, time: TimeMs) {
        self.report.decisions += 1;
        let span = self.report.span.get_or_insert((time, time));
        *span = (span.0.min(time), span.1.max(time));
    }

    fn compare(
        &mut self,
        name: &WorkspaceName,
        index: u64,
        time: TimeMs,
        recorded: &DecisionEvent,
        would: &DecisionEvent,
    ) {
        self.report.evaluated += 1;
        if same(recorded, would) {
            self.report.unchanged += 1;
            return;
        }
        let (before, after) = (side(recorded, time), side(would, time));
        let Some(transition) = before.change(&after) else {
            self.report.unchanged += 1;
            return;
        };
        let change = self.changes.entry(transition.clone()).or_insert_with(|| Change {
            transition,
            count: 0,
            rules: BTreeSet::new(),
            samples: Vec::new(),
        });
        change.count += 1;
        for rule in &after.rules {
            if !change.rules.contains(rule) {
                change.rules.insert(rule.clone());
            }
        }
        if change.samples.len() < self.range.samples {
            change.samples.push(Sample {
                workspace: name.clone(),
                index,
                decision: recorded.decision,
                time,
                trace: recorded.trace.clone(),
                surface: recorded.surface.clone(),
                action: recorded.action.clone(),
                recorded: before,
                would: after,
            });
        }
    }
}

/// Whether two decisions are the same, without making anything of them.
fn same(a: &DecisionEvent, b: &DecisionEvent) -> bool {
    a.outcome == b.outcome
        && a.rules == b.rules
        && a.constraints == b.constraints
        && a.retry_after_ms == b.retry_after_ms
        && a.approval == b.approval
}

/// A decision as it is compared; windows had their say in the outcome.
fn side(event: &DecisionEvent, time: TimeMs) -> Side {
    Side {
        outcome: event.outcome,
        rules: event.rules.clone(),
        constraints: event.constraints.clone(),
        approval: event.approval.as_ref().map(|approval| ApprovalSpec {
            roles: approval.roles.clone(),
            expires_ms: approval.expires.since(time),
            use_within_ms: approval.use_within_ms,
            steps: approval
                .escalate
                .iter()
                .map(|step| StepSpec {
                    after_ms: step.at.since(time),
                    instead_of: step.instead_of.clone(),
                    roles: step.roles.clone(),
                })
                .collect(),
            remind_ms: approval.remind.map(|at| approval.expires.since(at)),
        }),
        retry_after_ms: event.retry_after_ms,
        limits: Vec::new(),
    }
}
