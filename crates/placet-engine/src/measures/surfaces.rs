//! What was seen of each surface and of its gates. Bounded: beyond the bounds everything is counted
//! together, so that it is seen that there is more.

use super::{place, raise};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use placet_types::event::{ActorRef, DecisionEvent, PermitIssued, ReportedResult};
use placet_types::ids::TimeMs;
use placet_types::policy::Outcome;

/// Surfaces that are counted apart.
pub const SURFACES_MAX: usize = 512;
/// Gates of a surface that are counted apart.
pub const GATES_MAX: usize = 32;

/// All surfaces that the policy knew when they were asked for. What is used of a permit and reported never
/// makes a place: both are counted where the permit was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surfaces {
    /// By name.
    pub named: BTreeMap<String, SurfaceUse>,
    /// All beyond [`SURFACES_MAX`], permits and effects on surfaces that the policy did not know, and entries that
    /// do not name theirs.
    pub others: SurfaceUse,
    /// Decisions on surfaces that the policy did not know, and when there was one last.
    pub unknown: u64,
    /// When there was one of these last.
    pub unknown_last: Option<TimeMs>,
}

/// What was seen of a surface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurfaceUse {
    /// Decisions by outcome, in the order of `Outcome::ALL`.
    pub decisions: [u64; 5],
    /// When something was decided last.
    pub decided_last: Option<TimeMs>,
    /// Held actions that people rejected.
    pub rejected: u64,
    /// Permits that were used.
    pub consumed: u64,
    /// Reported outcomes: succeeded, failed, not executed.
    pub reported: [u64; 3],
    /// Effects without a decision that were reported: where the surface fails open, and elsewhere.
    pub passages: [u64; 2],
    /// When one of these was reported last.
    pub passage_last: Option<TimeMs>,
    /// When a gate was heard last: it used a permit, or reported.
    pub heard_last: Option<TimeMs>,
    /// Its gates: whom permits were made out to, and who used them or reported.
    pub gates: BTreeMap<ActorRef, Gate>,
    /// What was heard of gates beyond [`GATES_MAX`].
    pub other_gates: Gate,
}

/// What was seen of a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Permits that were made out to it.
    pub permits: u64,
    /// Permits that it used.
    pub consumed: u64,
    /// Outcomes that it reported.
    pub reported: u64,
    /// Effects without a decision that it reported.
    pub passages: u64,
    /// When it was heard last; never where it was only given permits.
    pub heard_last: Option<TimeMs>,
}

impl Surfaces {
    /// A surface that the policy knows. Where all places are taken, one on which something is granted takes that
    /// of the one that was asked for longest ago and on which nothing ever was: asking alone keeps no place.
    pub(super) fn known(&mut self, surface: &str, granted: bool) -> &mut SurfaceUse {
        if self.named.len() >= SURFACES_MAX && !self.named.contains_key(surface) {
            let idle = self.named.iter().filter(|(_, seen)| granted && !seen.is_granted());
            let idle = idle.min_by_key(|(_, seen)| seen.decided_last).map(|(name, _)| name.clone());
            let Some(gone) = idle.and_then(|name| self.named.remove(&name)) else {
                return &mut self.others;
            };
            self.others.merge(&gone);
        }
        self.named.entry(surface.to_owned()).or_default()
    }

    /// A surface if it has a place.
    pub(super) fn at(&mut self, surface: &str) -> &mut SurfaceUse {
        self.named.get_mut(surface).unwrap_or(&mut self.others)
    }

    /// Of an event that may be older than the member that names its surface.
    pub(super) fn named(&mut self, surface: Option<&str>) -> &mut SurfaceUse {
        match surface {
            Some(surface) => self.at(surface),
            None => &mut self.others,
        }
    }

    /// Where a report is counted: where the permit was that it is about. That had no place yet if no permit of
    /// this surface is unreported, and there are unreported ones that have none.
    pub(super) fn unreported(&mut self, surface: Option<&str>) -> &mut SurfaceUse {
        let elsewhere = self.others.outcome_unknown() > 0;
        match surface.and_then(|surface| self.named.get_mut(surface)) {
            Some(seen) if seen.outcome_unknown() > 0 || !elsewhere => seen,
            _ => &mut self.others,
        }
    }

    pub(super) fn unknown(&mut self, now: TimeMs) {
        raise(Some(&mut self.unknown));
        self.unknown_last = Some(now);
    }
}

impl Gate {
    fn merge(&mut self, other: &Self) {
        let Self { permits, consumed, reported, passages, heard_last } = other;
        let mine = [&mut self.permits, &mut self.consumed, &mut self.reported, &mut self.passages];
        for (mine, theirs) in mine.into_iter().zip([permits, consumed, reported, passages]) {
            *mine = mine.saturating_add(*theirs);
        }
        self.heard_last = self.heard_last.max(*heard_last);
    }
}

impl SurfaceUse {
    /// Permits that were used and whose outcome nobody has reported.
    #[must_use]
    pub fn outcome_unknown(&self) -> u64 {
        let reported = self.reported.iter().fold(0_u64, |sum, it| sum.saturating_add(*it));
        self.consumed.saturating_sub(reported)
    }

    /// Whether something was ever permitted or held there.
    fn is_granted(&self) -> bool {
        let granted = [Outcome::Permit, Outcome::RequireApproval];
        granted.iter().any(|it| self.decisions.get(place(*it)).is_some_and(|count| *count > 0))
    }

    /// Adds what was seen of another one.
    fn merge(&mut self, other: &Self) {
        let Self {
            decisions,
            decided_last,
            rejected,
            consumed,
            reported,
            passages,
            passage_last,
            heard_last,
            gates,
            other_gates,
        } = other;
        let mine = self.decisions.iter_mut().chain(&mut self.reported).chain(&mut self.passages);
        let mine = mine.chain([&mut self.rejected, &mut self.consumed]);
        let theirs = decisions.iter().chain(reported).chain(passages).chain([rejected, consumed]);
        for (mine, theirs) in mine.zip(theirs) {
            *mine = mine.saturating_add(*theirs);
        }
        self.decided_last = self.decided_last.max(*decided_last);
        self.passage_last = self.passage_last.max(*passage_last);
        self.heard_last = self.heard_last.max(*heard_last);
        for (who, gate) in gates {
            self.gate(who).merge(gate);
        }
        self.other_gates.merge(other_gates);
    }

    fn gate(&mut self, who: &ActorRef) -> &mut Gate {
        let full = self.gates.len() >= GATES_MAX;
        if full && !self.gates.contains_key(who) {
            return &mut self.other_gates;
        }
        self.gates.entry(who.clone()).or_default()
    }

    fn heard(&mut self, who: &ActorRef, now: TimeMs) -> &mut Gate {
        self.heard_last = Some(now);
        let gate = self.gate(who);
        gate.heard_last = Some(now);
        gate
    }

    pub(super) fn decided(&mut self, event: &DecisionEvent, now: TimeMs) {
        raise(self.decisions.get_mut(place(event.outcome)));
        self.decided_last = Some(now);
    }

    pub(super) fn permitted(&mut self, permit: &PermitIssued, now: TimeMs) {
        raise(Some(&mut self.gate(&permit.audience).permits));
        if permit.consumed {
            self.consumed(&permit.audience, now);
        }
    }

    pub(super) fn consumed(&mut self, by: &ActorRef, now: TimeMs) {
        raise(Some(&mut self.consumed));
        raise(Some(&mut self.heard(by, now).consumed));
    }

    pub(super) fn reported(&mut self, result: ReportedResult, by: &ActorRef, now: TimeMs) {
        let at = match result {
            ReportedResult::Succeeded => 0,
            ReportedResult::Failed => 1,
            ReportedResult::NotExecuted => 2,
        };
        raise(self.reported.get_mut(at));
        raise(Some(&mut self.heard(by, now).reported));
    }

    pub(super) fn passed(&mut self, open: bool, by: &ActorRef, now: TimeMs) {
        raise(self.passages.get_mut(usize::from(!open)));
        self.passage_last = Some(now);
        raise(Some(&mut self.heard(by, now).passages));
    }

    /// A mode let it pass: ungoverned by the word of the policy. Whoever asked has been heard asking alone.
    pub(super) fn unenforced(&mut self, now: TimeMs) {
        raise(self.passages.get_mut(0));
        self.passage_last = Some(now);
    }

    pub(super) fn rejected(&mut self) {
        raise(Some(&mut self.rejected));
    }
}
