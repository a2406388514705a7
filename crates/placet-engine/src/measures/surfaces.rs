//! What was seen of each surface and of its gates. Bounded: beyond the bounds everything is counted
//! together, so that it is seen that there is more.

use super::{place, raise};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use placet_types::event::{ActorRef, DecisionEvent, PermitIssued, ReportedResult};
use placet_types::ids::TimeMs;

/// Surfaces that are counted apart.
pub const SURFACES_MAX: usize = 512;
/// Gates of a surface that are counted apart.
pub const GATES_MAX: usize = 32;

/// All surfaces that the policy knew when they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surfaces {
    /// By name.
    pub named: BTreeMap<String, SurfaceUse>,
    /// All beyond [`SURFACES_MAX`], effects on surfaces that the policy did not know, and entries that do not
    /// name theirs.
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
    pub(super) fn at(&mut self, surface: &str) -> &mut SurfaceUse {
        let full = self.named.len() >= SURFACES_MAX;
        if full && !self.named.contains_key(surface) {
            return &mut self.others;
        }
        self.named.entry(surface.to_owned()).or_default()
    }

    /// Of an event that may be older than the member that names its surface.
    pub(super) fn named(&mut self, surface: Option<&str>) -> &mut SurfaceUse {
        match surface {
            Some(surface) => self.at(surface),
            None => &mut self.others,
        }
    }

    pub(super) fn unknown(&mut self, now: TimeMs) {
        raise(Some(&mut self.unknown));
        self.unknown_last = Some(now);
    }
}

impl SurfaceUse {
    /// Permits that were used and whose outcome nobody has reported.
    #[must_use]
    pub fn outcome_unknown(&self) -> u64 {
        let reported = self.reported.iter().fold(0_u64, |sum, it| sum.saturating_add(*it));
        self.consumed.saturating_sub(reported)
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
