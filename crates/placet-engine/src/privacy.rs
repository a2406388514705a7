//! Payloads as far as state knows them: which are erased, and what legal holds keep. Owns when
//! erasing is refused and what it withdraws; refuses to know where a payload lies.

use crate::command::{Erase, PlaceHold, Plan, Target, Who};
use crate::hold::closing;
use crate::rejection::Rejection;
use crate::state::State;
use crate::step::{append, may_administer};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use placet_types::event::{
    ActorRef, CloseState, Event, HoldPlaced, HoldReleased, HoldScope, PayloadErased, PermitEnded,
    Tag,
};
use placet_types::ids::{DecisionId, HoldId, TimeMs};

/// A legal hold in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegalHold {
    /// Its id.
    pub hold: HoldId,
    /// What it keeps.
    pub scope: HoldScope,
    /// Who placed it.
    pub by: ActorRef,
    /// Code of the matter.
    pub reason: String,
    /// Since when.
    pub since: TimeMs,
    /// Log index of its placing.
    pub index: u64,
}

/// Erasing is all or nothing: whoever asks leaves out what is kept. While a kill switch is tripped
/// nothing is erased: whatever went wrong may be in the payloads.
pub(crate) fn erase(state: &State, command: &Erase, now: TimeMs) -> Result<Plan, Rejection> {
    if let Some(by) = &command.by {
        may_administer(by)?;
    }
    state.may_act(command.by.as_ref().map(|by| &by.actor))?;
    let mut indices = BTreeSet::new();
    let mut early = false;
    for target in command.targets.iter().filter(|target| !state.erased.get(target.index)) {
        if target.index >= state.next_index {
            return Err(Rejection::NotFound("entry"));
        }
        state.may_erase(target, now)?;
        early |= target.keep_until.is_some_and(|until| now < until);
        indices.insert(target.index);
    }
    let indices: Vec<u64> = indices.into_iter().collect();
    let mut events: Vec<Event> = indices
        .chunks(PayloadErased::INDICES_MAX)
        .map(|indices| {
            Event::PayloadErased(PayloadErased {
                by: command.by.as_ref().map(|by| by.actor.clone()),
                decision: command.decision,
                indices: indices.to_vec(),
                policy: command.policy,
                reason: command.reason.clone(),
                early,
            })
        })
        .collect();
    events.extend(withdrawn(state, command, &indices));
    Ok(if events.is_empty() { Plan::Nothing } else { Plan::Append(events) })
}

/// What is still pending of an erased decision can come to nothing any more: nobody can look at it,
/// and no gate can be told what to execute.
fn withdrawn(state: &State, command: &Erase, indices: &[u64]) -> Vec<Event> {
    let mut events = Vec::new();
    let decisions: BTreeSet<_> = command.targets.iter().map(|target| target.decision).collect();
    for decision in decisions {
        let held = state.held_by_decision.get(&decision).and_then(|id| state.held.get(id));
        if let Some(held) = held
            && held.state.is_open()
            && indices.binary_search(&held.index).is_ok()
        {
            events.push(closing(held, CloseState::Withdrawn.into()));
        }
        if let Some(open) = state.permits.get(&decision)
            && open.consumed_by.is_none()
            && indices.binary_search(&open.index).is_ok()
        {
            events.push(Event::PermitRevoked(PermitEnded {
                trip: None,
                own: false,
                decision,
                index: open.index,
                permit: open.permit.id,
                reason: Some("payload_erased".into()),
            }));
        }
    }
    events
}

/// Keeping only takes nothing away from anybody's rights to look, so one admin suffices.
pub(crate) fn place_hold(state: &State, command: &PlaceHold) -> Result<Plan, Rejection> {
    may_administer(&command.by)?;
    if state.legal_holds.contains_key(&command.hold) {
        return Ok(Plan::Nothing);
    }
    if state.legal_holds.len() >= state.bounds.legal_holds_max {
        return Err(Rejection::HoldsFull);
    }
    append(Event::HoldPlaced(HoldPlaced {
        hold: command.hold,
        scope: command.scope,
        by: command.by.actor.clone(),
        reason: command.reason.clone(),
    }))
}

pub(crate) fn release_hold(
    state: &State,
    hold: HoldId,
    by: &Who,
    decision: Option<DecisionId>,
) -> Result<Plan, Rejection> {
    may_administer(by)?;
    state.may_act(Some(&by.actor))?;
    if !state.legal_holds.contains_key(&hold) {
        return Err(Rejection::NotFound("legal hold"));
    }
    append(Event::HoldReleased(HoldReleased { hold, by: by.actor.clone(), decision }))
}

impl State {
    /// Whether the payload of the entry at `index` is erased.
    #[must_use]
    pub fn is_erased(&self, index: u64) -> bool {
        self.erased.get(index)
    }

    /// Legal holds in force, oldest first.
    pub fn legal_holds(&self) -> impl Iterator<Item = &LegalHold> {
        self.legal_holds.values()
    }

    /// Differs after every change of the legal holds.
    #[must_use]
    pub fn legal_holds_version(&self) -> u64 {
        self.legal_holds_version
    }

    /// A legal hold on a decision that names these subjects.
    #[must_use]
    pub fn legal_hold_on(&self, decision: DecisionId, subjects: &[Tag]) -> Option<&LegalHold> {
        self.legal_holds.values().find(|hold| match &hold.scope {
            HoldScope::Workspace => true,
            HoldScope::Decision(held) => *held == decision,
            HoldScope::Subject(tag) => subjects.contains(tag),
        })
    }

    /// Whether a payload may be erased at `now`. No reason is lawful against a legal hold: it has
    /// to be released first.
    ///
    /// # Errors
    /// [`Rejection::LegalHold`] or [`Rejection::RetentionRunning`].
    pub fn may_erase(&self, target: &Target, now: TimeMs) -> Result<(), Rejection> {
        if let Some(hold) = self.legal_hold_on(target.decision, &target.subjects) {
            return Err(Rejection::LegalHold(hold.hold));
        }
        match target.keep_until {
            Some(until) if now < until && !target.lawful => Err(Rejection::RetentionRunning(until)),
            _ => Ok(()),
        }
    }

    pub(crate) fn apply_erased(
        &mut self,
        event: &PayloadErased,
        index: u64,
    ) -> Result<(), &'static str> {
        self.not_killed()?;
        // INVARIANT: nothing is erased under a hold of the whole workspace; `step` refuses it. The
        // other scopes show from the entries that are named.
        if self.legal_holds.values().any(|hold| hold.scope == HoldScope::Workspace) {
            return Err("it erases under a legal hold");
        }
        for erased in &event.indices {
            if *erased >= index || self.erased.get(*erased) {
                return Err("it erases the payload of a later entry, or a second time");
            }
            self.erased.set(*erased);
            self.counters.erased = self.counters.erased.saturating_add(1);
        }
        Ok(())
    }

    pub(crate) fn apply_hold(
        &mut self,
        event: &HoldPlaced,
        index: u64,
    ) -> Result<(), &'static str> {
        let hold = LegalHold {
            hold: event.hold,
            scope: event.scope,
            by: event.by.clone(),
            reason: event.reason.clone(),
            since: self.time,
            index,
        };
        self.legal_holds_version = self.legal_holds_version.saturating_add(1);
        match self.legal_holds.insert(event.hold, hold) {
            None => Ok(()),
            Some(_) => Err("it places a legal hold a second time"),
        }
    }

    pub(crate) fn apply_release(&mut self, event: &HoldReleased) -> Result<(), &'static str> {
        self.legal_holds_version = self.legal_holds_version.saturating_add(1);
        let released = self.legal_holds.remove(&event.hold);
        released.map(drop).ok_or("it releases a legal hold that is not in force")
    }
}
