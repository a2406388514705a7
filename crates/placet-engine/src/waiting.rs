//! Applying what happens to an approval: votes, another demand, escalation, reminder, its end. Owns its timers
//! and the index of what waits.

use crate::state::{Held, HeldState, Mark, State, Timer};
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::event::{ApprovalEscalated, ApprovalReopened, ApprovalVoted, PermitCollected};
use placet_types::ids::{ApprovalId, TimeMs};
use placet_types::json::Object;

/// The timers of an approval as it stands.
fn timers(held: &Held) -> impl Iterator<Item = (TimeMs, Timer)> {
    let id = held.approval;
    let pending = held.state.is_pending();
    let ends = match held.state {
        HeldState::Pending => Some(held.expires),
        HeldState::Approved(until) => Some(until),
        _ => None,
    };
    let at = usize::try_from(held.escalated).unwrap_or(usize::MAX);
    let step = held.escalate.get(at).filter(|_| pending).map(|step| step.at);
    let remind = held.remind.filter(|_| pending);
    let ends = ends.map(|at| (at, Timer::Approval(id)));
    let step = step.map(|at| (at, Timer::Escalation(id)));
    let remind = remind.map(|at| (at, Timer::Reminder(id)));
    ends.into_iter().chain(step).chain(remind)
}

impl State {
    /// Puts an approval, as it stands, under its timers and into the index.
    pub(crate) fn wait(&mut self, held: &Held) {
        self.timers.extend(timers(held));
        if held.state.is_pending() {
            self.pending.insert(held);
        }
    }

    /// Changes an approval: its timers and its place in the index follow.
    fn change(
        &mut self,
        id: ApprovalId,
        missing: &'static str,
        change: impl FnOnce(&mut Held) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let mut held = self.held.remove(&id).ok_or(missing)?;
        for timer in timers(&held) {
            self.timers.remove(&timer);
        }
        if held.state.is_pending() {
            self.pending.remove(&held);
        }
        let changed = change(&mut held);
        self.demands.share(&mut held.demand);
        self.wait(&held);
        self.held.insert(id, held);
        changed
    }

    pub(crate) fn apply_collected(&mut self, event: &PermitCollected) -> Result<(), &'static str> {
        let held = self.held.get(&event.approval).ok_or("it collects an unknown approval")?;
        if !matches!(held.state, HeldState::Approved(_)) {
            return Err("it collects an approval that is not complete");
        }
        if held.decision != event.decision {
            return Err("it collects the approval of another decision");
        }
        // INVARIANT: a permit carries what was approved, and says so where its decision does not.
        let own = (held.reopened > 0).then_some(&held.constraints);
        if event.constraints.as_ref() != own {
            return Err("its constraints are not those that were approved");
        }
        // INVARIANT: no permit outlives the exception that it rests on.
        let ends = self.exception_ends(held, self.time);
        if ends.is_some_and(|ends| event.permit.expires > ends) {
            return Err("its permit outlives its exception");
        }
        let alone = ends.is_none() && held.exception.is_some();
        let (index, marks, scopes) = (held.index, held.marks.clone(), held.scopes.clone());
        let reach = held.reach;
        self.not_stopped(&scopes)?;
        // From here on the action happens: what comes after it comes after this instant.
        for mark in marks {
            self.windows.add(mark.tag, Mark::KEPT, mark.per_ms, self.time);
        }
        if event.permit.consumed {
            self.consumed.set(index);
            self.count_consumed(reach);
        } else {
            self.open_permit(event.decision, index, &event.permit, scopes);
        }
        if alone {
            // Policy has granted it by itself.
            self.change(event.approval, "it collects an unknown approval", |held| {
                held.exception = None;
                Ok(())
            })?;
        }
        self.finish(event.approval, HeldState::Consumed(event.permit.clone()), None)
    }

    pub(crate) fn apply_voted(&mut self, event: &ApprovalVoted) -> Result<(), &'static str> {
        let now = self.time;
        let held = self.held.get(&event.approval).ok_or("it votes on an unknown approval")?;
        if held.state != HeldState::Pending {
            return Err("it votes on an approval that is decided");
        }
        // INVARIANT: nobody decides what they proposed, in whoever's right, and nobody counts twice.
        let twice = held.vote_of(&event.by).is_some_and(|cast| {
            !event.approve
                || event.roles.iter().any(|role| cast.roles.contains(role))
                || (event.stands_in.is_some() && cast.stands_in.is_some())
        });
        let of_proposer = |it: &placet_types::event::Through| held.proposers.contains(&it.of);
        if held.proposers.contains(&event.by) || event.through.iter().any(of_proposer) || twice {
            return Err("its voter proposed the action or has voted already");
        }
        if !event.approve {
            let by = event.by.clone();
            self.change(event.approval, "", |held| {
                held.rejected_by = Some(by);
                Ok(())
            })?;
            return self.finish(event.approval, HeldState::Rejected, Some(1));
        }
        self.change(event.approval, "", |held| {
            held.cast(event);
            if event.complete {
                held.state = HeldState::Approved(now.plus(held.use_within_ms));
            }
            Ok(())
        })?;
        if event.complete {
            self.count_complete();
        }
        Ok(())
    }

    pub(crate) fn apply_reopened(&mut self, event: &ApprovalReopened) -> Result<(), &'static str> {
        let now = self.time;
        let mut completed = false;
        self.change(event.approval, "it re-opens an unknown approval", |held| {
            if !held.state.is_open() {
                return Err("it re-opens an approval that is final");
            }
            // INVARIANT: no demand falls while an action waits.
            let less = |(role, count): (&alloc::string::String, &u32)| {
                event.roles.get(role).is_none_or(|now| now < count)
            };
            if event.was != held.requirement || held.roles.iter().any(less) {
                return Err("it re-opens another demand, or asks for less");
            }
            completed = event.complete && held.state.is_pending();
            held.reopen(event, now);
            Ok(())
        })?;
        if completed {
            self.count_complete();
        }
        Ok(())
    }

    pub(crate) fn apply_escalated(
        &mut self,
        event: &ApprovalEscalated,
    ) -> Result<(), &'static str> {
        self.change(event.approval, "it escalates an unknown approval", |held| {
            let next = held.escalated == event.step;
            let known = usize::try_from(event.step).is_ok_and(|at| at < held.escalate.len());
            if !held.state.is_pending() || !next || !known {
                return Err("it escalates what does not wait, or in another step");
            }
            held.escalated = event.step.saturating_add(1);
            Ok(())
        })
    }

    pub(crate) fn apply_reminded(&mut self, id: ApprovalId) -> Result<(), &'static str> {
        self.change(id, "it reminds of an unknown approval", |held| {
            if !held.state.is_pending() || held.remind.is_none() {
                return Err("it reminds a second time, or of what does not wait");
            }
            held.remind = None;
            Ok(())
        })
    }

    fn count_complete(&mut self) {
        if let Some(count) = self.counters.approvals.first_mut() {
            *count = count.saturating_add(1);
        }
    }

    /// Makes an approval final and forgets the oldest final ones beyond the bound.
    pub(crate) fn finish(
        &mut self,
        id: ApprovalId,
        state: HeldState,
        counter: Option<usize>,
    ) -> Result<(), &'static str> {
        let rejected = state == HeldState::Rejected;
        self.change(id, "it ends an unknown approval", |held| {
            if !held.state.is_open() {
                return Err("it changes an approval that is final");
            }
            held.state = state;
            if held.reopened == 0 {
                Arc::make_mut(&mut held.demand).constraints = Object::new();
            }
            held.marks = Vec::new();
            Ok(())
        })?;
        let over = self.held.get(&id).map(|held| {
            self.overrides.covered.close_held(held);
            held.scopes.clone()
        });
        self.step_decided(over.as_deref().unwrap_or_default(), rejected);
        self.held_open = self.held_open.saturating_sub(1);
        if let Some(count) = counter.and_then(|at| self.counters.approvals.get_mut(at)) {
            *count = count.saturating_add(1);
        }
        self.finals.push_back(id);
        while self.finals.len() > self.bounds.final_max {
            if let Some(old) = self.finals.pop_front()
                && let Some(held) = self.held.remove(&old)
            {
                self.held_by_decision.remove(&held.decision);
                self.overrides.covered.leave_held(&held);
            }
        }
        Ok(())
    }
}
