//! What people who oversee want to know in figures: counted entry by entry as the log grows, by hour and
//! by surface, all of it bounded. Owns what is counted from which entries; refuses to know policy
//! documents and who may see it.
//!
//! INVARIANT: nothing that `step` plans depends on it.

mod latency;
mod passages;
mod surfaces;
mod tally;

use crate::constitution::{GOVERNED, is_governed};
use crate::state::{HeldState, State};
use alloc::collections::BTreeMap;
use alloc::string::String;
use placet_types::event::{DecisionEvent, Event, PermitIssued};
use placet_types::ids::TimeMs;
use placet_types::policy::{Layer, Outcome, Reason};

pub use latency::Latency;
pub use passages::ReportPassage;
pub(crate) use passages::passage;
pub use surfaces::{GATES_MAX, Gate, SURFACES_MAX, SurfaceUse, Surfaces};
pub use tally::{Closing, ExceptionUse, Tally};

/// Milliseconds of an hour: windows begin at full hours.
pub const HOUR_MS: u64 = 3_600_000;
/// Hours that are counted apart: 31 days.
pub const HOURS_MAX: u64 = 31 * 24;
/// Rules of a bundle that are counted apart.
pub const RULES_MAX: usize = 1 << 14;

/// The figures of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Of the first entry.
    pub(crate) began: Option<TimeMs>,
    pub(crate) total: Tally,
    /// By hour since 1970; the newest [`HOURS_MAX`].
    pub(crate) hours: BTreeMap<u64, Tally>,
    pub(crate) surfaces: Surfaces,
    pub(crate) rules: RuleUse,
}

/// Which rules of the bundle in force have matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleUse {
    /// Since when it is in force.
    pub since: TimeMs,
    /// How many decisions each rule matched; rules that follow from other documents are not counted.
    pub matched: BTreeMap<String, u64>,
    /// Decisions of this bundle.
    pub decisions: u64,
    /// Decisions that matched more rules than their entries list, so that some may be missing above.
    pub cut: u64,
    /// Matches of rules beyond [`RULES_MAX`].
    pub beyond: u64,
}

impl Measures {
    /// When the log began.
    #[must_use]
    pub fn began(&self) -> Option<TimeMs> {
        self.began
    }

    /// Everything since the log began.
    #[must_use]
    pub fn total(&self) -> &Tally {
        &self.total
    }

    /// Everything since the full hour in which `from` lies, at most [`HOURS_MAX`] back.
    #[must_use]
    pub fn since(&self, from: TimeMs) -> Tally {
        let mut sum = Tally::default();
        for (_, tally) in self.hours.range(hour(from)..) {
            sum.add(tally);
        }
        sum
    }

    /// What was seen of each surface.
    #[must_use]
    pub fn surfaces(&self) -> &Surfaces {
        &self.surfaces
    }

    /// What was seen of the rules of the bundle in force.
    #[must_use]
    pub fn rules(&self) -> &RuleUse {
        &self.rules
    }

    /// Counts in the sum and in the hour.
    fn count(&mut self, now: TimeMs, count: impl Fn(&mut Tally)) {
        count(&mut self.total);
        let now = hour(now);
        count(self.hours.entry(now).or_default());
        while let Some((oldest, _)) = self.hours.first_key_value()
            && now.saturating_sub(*oldest) >= HOURS_MAX
        {
            self.hours.pop_first();
        }
    }

    fn decided(&mut self, event: &DecisionEvent, now: TimeMs) {
        self.count(now, |tally| {
            tally.decided(event);
            if event.would_outcome.is_some() {
                // As if nobody had asked, by the word of the policy.
                tally.passed(true);
            }
        });
        self.rules.decided(event);
        let seen = if event.surface_known && is_told_apart(&event.surface) {
            let granted = matches!(event.outcome, Outcome::Permit | Outcome::RequireApproval);
            let seen = self.surfaces.known(&event.surface, granted);
            seen.decided(event, now);
            if event.would_outcome.is_some() {
                seen.unenforced(now);
            }
            seen
        } else {
            // Permitted all the same, by an exception: its use and its report are counted with the others.
            self.surfaces.unknown(now);
            self.surfaces.at(&event.surface)
        };
        if let Some(permit) = &event.permit {
            seen.permitted(permit, now);
        }
    }

    fn permitted(&mut self, surface: &str, permit: &PermitIssued, now: TimeMs) {
        if permit.consumed {
            self.count(now, Tally::consumed);
        }
        self.surfaces.at(surface).permitted(permit, now);
    }
}

impl RuleUse {
    fn decided(&mut self, event: &DecisionEvent) {
        self.decisions = self.decisions.saturating_add(1);
        if event.matched_all.is_some() {
            self.cut = self.cut.saturating_add(1);
        }
        for matched in &event.matched {
            // Those that stand in no list of rules say so with a colon.
            if matched.layer != Layer::Approvals && matched.rule.contains(':') {
                continue;
            }
            if let Some(count) = self.matched.get_mut(&matched.rule) {
                *count = count.saturating_add(1);
            } else if self.matched.len() < RULES_MAX {
                self.matched.insert(matched.rule.clone(), 1);
            } else {
                self.beyond = self.beyond.saturating_add(1);
            }
        }
    }
}

impl State {
    /// What is counted for people who oversee.
    #[must_use]
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// Counts an event, in the state that it finds.
    pub(crate) fn measure(&mut self, event: &Event) {
        let Self { measures, held, time, policy, .. } = self;
        let now = *time;
        measures.began.get_or_insert(now);
        match event {
            Event::Genesis(_) => measures.rules.since = now,
            Event::BundleArmed(armed) if Some(armed.bundle) != *policy => {
                measures.rules = RuleUse { since: now, ..RuleUse::default() };
            }
            Event::Decision(decision) => measures.decided(decision, now),
            Event::PermitCollected(collected) => {
                if let Some(held) = held.get(&collected.approval) {
                    measures.permitted(&held.surface, &collected.permit, now);
                }
            }
            Event::PermitConsumed(consumed) => {
                measures.count(now, Tally::consumed);
                let seen = measures.surfaces.named(consumed.surface.as_deref());
                seen.consumed(&consumed.by, now);
            }
            Event::OutcomeReported(reported) => {
                measures.count(now, Tally::reported);
                let seen = measures.surfaces.unreported(reported.surface.as_deref());
                seen.reported(reported.result, &reported.by, now);
            }
            Event::ExceptionOpened(opened) => measures.count(now, |tally| {
                tally.excepted(ExceptionUse::Opened);
                if opened.break_glass {
                    tally.excepted(ExceptionUse::BreakGlass);
                }
            }),
            Event::ExceptionEnded(_) | Event::ExceptionClosed(_) => {
                measures.count(now, |tally| tally.excepted(ExceptionUse::Ended));
            }
            Event::ExceptionReviewed(_) => {
                measures.count(now, |tally| tally.excepted(ExceptionUse::Reviewed));
            }
            Event::ReleaseRegistered(release) => {
                measures.count(now, |tally| tally.released(release.gaps.is_empty()));
            }
            Event::PassageReported(passage) => {
                measures.count(now, |tally| tally.passed(passage.open));
                let seen = if passage.surface_known && is_told_apart(&passage.surface) {
                    measures.surfaces.known(&passage.surface, false)
                } else {
                    &mut measures.surfaces.others
                };
                seen.passed(passage.open, &passage.by, now);
            }
            Event::ApprovalVoted(voted) if voted.complete || !voted.approve => {
                let Some(held) = held.get(&voted.approval) else { return };
                let waited = now.since(held.since);
                let closing = if voted.approve { Closing::Approved } else { Closing::Rejected };
                measures.count(now, |tally| tally.closed(closing, Some(waited)));
                if !voted.approve {
                    measures.surfaces.at(&held.surface).rejected();
                }
            }
            Event::ApprovalReopened(reopened) if reopened.complete => {
                let held = held.get(&reopened.approval);
                if let Some(held) = held.filter(|held| held.state == HeldState::Pending) {
                    let waited = now.since(held.since);
                    measures.count(now, |tally| tally.closed(Closing::Approved, Some(waited)));
                }
            }
            Event::ApprovalClosed(closed) => {
                let closing = Closing::of(closed.state);
                let lapsed = closed.reasons.contains(&Reason::EvidenceExpired);
                measures.count(now, |tally| {
                    tally.closed(closing, None);
                    if lapsed {
                        tally.lapsed();
                    }
                });
            }
            _ => {}
        }
    }
}

/// Of names that the constitution governs, those on which something is done: anybody may invent others.
fn is_told_apart(surface: &str) -> bool {
    !is_governed(surface) || GOVERNED.contains(&surface)
}

fn hour(time: TimeMs) -> u64 {
    time.0.checked_div(HOUR_MS).unwrap_or_default()
}

/// Position of an outcome in counts by outcome.
fn place(outcome: Outcome) -> usize {
    Outcome::ALL.iter().position(|it| *it == outcome).unwrap_or_default()
}

fn raise(count: Option<&mut u64>) {
    if let Some(count) = count {
        *count = count.saturating_add(1);
    }
}
