//! Counts of a while: decisions, how approvals ended, and what was refused and why.

use super::{Latency, place, raise};
use alloc::collections::BTreeMap;
use placet_types::event::{CloseState, DecisionEvent};
use placet_types::policy::{Outcome, Reason};

/// How the demand for an approval came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Nothing was missing any more.
    Approved,
    /// A person said no.
    Rejected,
    /// Nobody decided, or nobody collected, in time.
    Expired,
    /// Policy denies it by now.
    Invalidated,
    /// Its proposer took it back.
    Withdrawn,
}

impl Closing {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Approved, Self::Rejected, Self::Expired, Self::Invalidated, Self::Withdrawn];

    /// `approved`, `rejected`, `expired`, `invalidated`, `withdrawn`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Withdrawn => "withdrawn",
        }
    }

    pub(super) const fn of(state: CloseState) -> Self {
        match state {
            CloseState::Expired => Self::Expired,
            CloseState::Invalidated => Self::Invalidated,
            CloseState::Withdrawn => Self::Withdrawn,
        }
    }
}

/// What is counted of exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionUse {
    /// Opened.
    Opened,
    /// Of these, by one person alone.
    BreakGlass,
    /// Decisions that rest on one.
    Passage,
    /// Run out, or closed.
    Ended,
    /// Reviewed.
    Reviewed,
}

impl ExceptionUse {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Opened, Self::BreakGlass, Self::Passage, Self::Ended, Self::Reviewed];
}

/// What was counted in a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Decisions by outcome, in the order of `Outcome::ALL`.
    pub decisions: [u64; 5],
    /// Ends of approvals, in the order of [`Closing::ALL`].
    pub closings: [u64; 5],
    /// From holding an action until people had decided, either way.
    pub latency: Latency,
    /// Decisions that policy denied: DENY by anything but an override.
    pub violations: u64,
    /// Decisions denied because somebody had stopped what they asked for.
    pub stopped: u64,
    /// Denied decisions by each of their reasons.
    pub refused: BTreeMap<Reason, u64>,
    /// Permits that were used.
    pub consumed: u64,
    /// Outcomes that were reported.
    pub reported: u64,
    /// Effects without a decision that were reported: where the surface fails open, and elsewhere.
    pub passages: [u64; 2],
    /// Of exceptions, in the order of [`ExceptionUse::ALL`].
    pub exceptions: [u64; 5],
    /// Held actions that ended because evidence of theirs had run out while they waited.
    pub lapsed: u64,
    /// Releases that were registered, and of these those whose papers were complete.
    pub releases: [u64; 2],
}

/// Whether a denial by this reason is somebody's override and no word of the policy.
fn is_override(reason: Reason) -> bool {
    let code = reason.as_str();
    code.starts_with("killed_") || ["frozen", "disabled", "role_revoked"].contains(&code)
}

impl Tally {
    /// How many approvals ended so.
    #[must_use]
    pub fn closed_as(&self, closing: Closing) -> u64 {
        let at = Closing::ALL.iter().position(|it| *it == closing);
        at.and_then(|at| self.closings.get(at)).copied().unwrap_or_default()
    }

    /// How often this was counted of exceptions.
    #[must_use]
    pub fn excepted_as(&self, what: ExceptionUse) -> u64 {
        let at = ExceptionUse::ALL.iter().position(|it| *it == what);
        at.and_then(|at| self.exceptions.get(at)).copied().unwrap_or_default()
    }

    /// How many denials gave this reason.
    #[must_use]
    pub fn refused_for(&self, reason: Reason) -> u64 {
        self.refused.get(&reason).copied().unwrap_or_default()
    }

    pub(super) fn decided(&mut self, event: &DecisionEvent) {
        raise(self.decisions.get_mut(place(event.outcome)));
        if event.exception.is_some() {
            self.excepted(ExceptionUse::Passage);
        }
        if event.permit.as_ref().is_some_and(|permit| permit.consumed) {
            self.consumed();
        }
        if event.outcome != Outcome::Deny {
            return;
        }
        if event.reasons.iter().copied().any(is_override) {
            raise(Some(&mut self.stopped));
        } else {
            raise(Some(&mut self.violations));
        }
        for reason in &event.reasons {
            raise(Some(self.refused.entry(*reason).or_default()));
        }
    }

    pub(super) fn consumed(&mut self) {
        raise(Some(&mut self.consumed));
    }

    pub(super) fn reported(&mut self) {
        raise(Some(&mut self.reported));
    }

    pub(super) fn excepted(&mut self, what: ExceptionUse) {
        let at = ExceptionUse::ALL.iter().position(|it| *it == what);
        raise(at.and_then(|at| self.exceptions.get_mut(at)));
    }

    pub(super) fn lapsed(&mut self) {
        raise(Some(&mut self.lapsed));
    }

    pub(super) fn released(&mut self, complete: bool) {
        let [all, whole] = &mut self.releases;
        raise(Some(all));
        raise(complete.then_some(whole));
    }

    pub(super) fn passed(&mut self, open: bool) {
        raise(self.passages.get_mut(usize::from(!open)));
    }

    pub(super) fn closed(&mut self, closing: Closing, waited_ms: Option<u64>) {
        let at = Closing::ALL.iter().position(|it| *it == closing);
        raise(at.and_then(|at| self.closings.get_mut(at)));
        if let Some(waited) = waited_ms {
            self.latency.add(waited);
        }
    }

    /// All plain counts, in the order in which they are kept.
    pub(crate) fn counts(&self) -> impl Iterator<Item = &u64> {
        let Self {
            decisions,
            closings,
            latency: _,
            violations,
            stopped,
            refused: _,
            consumed,
            reported,
            passages,
            exceptions,
            lapsed,
            releases,
        } = self;
        let lists = decisions.iter().chain(closings).chain(passages).chain(exceptions);
        lists.chain(releases).chain([violations, stopped, consumed, reported, lapsed])
    }

    /// The same, to be changed.
    pub(crate) fn counts_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        let Self {
            decisions,
            closings,
            latency: _,
            violations,
            stopped,
            refused: _,
            consumed,
            reported,
            passages,
            exceptions,
            lapsed,
            releases,
        } = self;
        let lists = decisions.iter_mut().chain(closings).chain(passages).chain(exceptions);
        lists.chain(releases).chain([violations, stopped, consumed, reported, lapsed])
    }

    /// Adds another while.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts_mut().zip(other.counts()) {
            *mine = mine.saturating_add(*theirs);
        }
        self.latency.merge(&other.latency);
        for (reason, count) in &other.refused {
            let mine = self.refused.entry(*reason).or_default();
            *mine = mine.saturating_add(*count);
        }
    }
}
