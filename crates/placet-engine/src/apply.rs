//! Applying an entry: the only code that changes state. Everything it needs is in the entry.

use crate::constitution::{Reach, is_governed};
use crate::covering::Scopes;
use crate::decide::proposers;
use crate::demand::{Demand, few};
use crate::idempotency::{Attempt, INDEX_BITS};
use crate::keys::Key;
use crate::policies::Armed;
use crate::state::{Held, HeldState, Mark, OpenPermit, State, Timer};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use placet_types::event::{
    BundleArmed, CloseState, DecisionEvent, Entry, Event, PermitEnded, PermitIssued,
};
use placet_types::ids::DecisionId;
use placet_types::policy::{Effect, LANGUAGE, Outcome, RuleEffect};

/// An entry that cannot follow the ones before it. The fold stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldError {
    index: u64,
    what: &'static str,
}

impl FoldError {
    /// Index of the entry.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }
}

impl fmt::Display for FoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} does not fit the log: {}", self.index, self.what)
    }
}

impl core::error::Error for FoldError {}

impl State {
    /// Applies the entry at the next index.
    ///
    /// # Errors
    /// [`FoldError`] when it does not fit: state is then no longer to be used.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), FoldError> {
        let index = self.next_index;
        let fail = |what| Err(FoldError { index, what });
        if (index == 0) != matches!(entry.event, Event::Genesis(_)) {
            return fail("genesis stands at index 0 and nowhere else");
        }
        if index >> INDEX_BITS != 0 {
            return fail("a log has no more than 2^40 entries");
        }
        if entry.time < self.time {
            return fail("its time is before that of the entry in front of it");
        }
        if entry.epoch < self.epoch {
            return fail("its epoch is lower than that of the entry in front of it");
        }
        if self.workspace.as_ref().is_some_and(|workspace| *workspace != entry.workspace) {
            return fail("it belongs to the log of another workspace");
        }
        if index == 0 {
            self.workspace = Some(entry.workspace.clone());
        }
        self.time = entry.time;
        self.epoch = entry.epoch;
        self.dev = entry.dev;
        self.solo = entry.solo;
        self.next_index = index.saturating_add(1);
        self.idempotency.forget(entry.time);
        self.forget_consumed();
        self.windows.forget(entry.time);
        self.sessions.forget(entry.time);
        self.measure(&entry.event);
        if let Err(what) = self.apply_event(&entry.event, index) {
            return fail(what);
        }
        self.hear(&entry.event);
        Ok(())
    }

    fn apply_event(&mut self, event: &Event, index: u64) -> Result<(), &'static str> {
        match event {
            Event::Genesis(genesis) => {
                self.origin.clone_from(&genesis.origin);
                self.policy = genesis.bundle;
                if let Some(bundle) = genesis.bundle {
                    let event = BundleArmed::seed(bundle, LANGUAGE);
                    self.remember(Armed { index, since: self.time, event });
                }
                self.found_signers(&genesis.vkeys);
                for principal in &genesis.principals {
                    self.keys.insert(Key { principal: principal.clone(), revoked: false });
                }
                self.last_override = Some(index);
            }
            Event::Decision(decision) => self.apply_decision(decision, index)?,
            Event::PermitCollected(collected) => self.apply_collected(collected)?,
            Event::PermitConsumed(consumed) => {
                if self.may_stop() {
                    let open = self.permits.get(&consumed.decision);
                    self.not_stopped(open.map(|open| &*open.scopes).unwrap_or_default())?;
                }
                let open = self.permits.get_mut(&consumed.decision);
                let open = open
                    .filter(|open| open.consumed_by.is_none() && open.permit.id == consumed.permit)
                    .ok_or("it consumes a permit that is not open")?;
                open.consumed_by = Some(consumed.nonce);
                let expires = open.permit.expires;
                self.consumed.set(open.index);
                self.timers.remove(&(expires, Timer::Permit(consumed.decision)));
                self.consumed_ends.insert((expires, consumed.decision));
                self.count_consumed(consumed.surface.as_deref().map_or(Reach::Free, Reach::of));
            }
            Event::PermitExpired(ended) => self.end_permit(ended),
            Event::PermitRevoked(ended)
                if ended.index >= index || ended.trip.is_some_and(|trip| trip >= index) =>
            {
                return Err("it revokes the permit of a later entry, or by a later trip");
            }
            Event::PermitRevoked(ended) => self.apply_revoked(ended),
            Event::OutcomeReported(report) => {
                if report.index >= index || self.reported.get(report.index) {
                    return Err("it reports on a later entry or a second time");
                }
                self.reported.set(report.index);
                self.counters.reported = self.counters.reported.saturating_add(1);
                if report.surface.as_deref().is_some_and(is_governed) {
                    self.counters.own = self.counters.own.saturating_sub(1);
                }
            }
            Event::ApprovalVoted(voted) => self.apply_voted(voted)?,
            Event::ApprovalClosed(closed) => {
                let (state, slot) = match closed.state {
                    CloseState::Expired => (HeldState::Expired, 2),
                    CloseState::Invalidated => (HeldState::Invalidated, 2),
                    CloseState::Withdrawn => (HeldState::Withdrawn, 2),
                };
                self.finish(closed.approval, state, Some(slot))?;
            }
            Event::ApprovalReopened(reopened) => self.apply_reopened(reopened)?,
            Event::ApprovalEscalated(escalated) => self.apply_escalated(escalated)?,
            Event::ApprovalReminded(reminded) => self.apply_reminded(reminded.approval)?,
            Event::DelegationGranted(granted) => self.apply_granted(granted)?,
            Event::DelegationEnded(ended) => self.apply_ended(ended)?,
            Event::ExceptionOpened(opened) => self.apply_exception(opened, index)?,
            Event::ExceptionEnded(ended) | Event::ExceptionClosed(ended) => {
                self.apply_exception_ended(ended)?;
            }
            Event::ExceptionReviewed(reviewed) => self.apply_exception_reviewed(reviewed)?,
            Event::ExceptionOverdue(overdue) => self.apply_exception_overdue(overdue)?,
            Event::KillTripped(kill) => self.apply_trip(kill, index)?,
            Event::KillLiftRequested(kill) => self.apply_lift_asked(kill, index)?,
            Event::KillLifted(kill) => self.apply_lifted(kill, index)?,
            Event::ExecutionStarted(started) => self.apply_started(started, index)?,
            Event::ExecutionQueued(queued) => self.apply_queued(queued, index)?,
            Event::ExecutionTerminated(ended) => self.apply_terminated(ended)?,
            Event::ExecutionEnded(ended) => self.apply_execution_ended(ended)?,
            Event::KillDrilled(drilled) => self.apply_drilled(drilled, index),
            Event::OverrideAcknowledged(said) => self.apply_acknowledged(said, index)?,
            Event::BundleShadowed(shadowed) => self.apply_shadowed(shadowed, index),
            Event::BundleDrafted(drafted) => self.apply_drafted(drafted, index),
            Event::BundleArmed(armed) => self.apply_armed(armed, index)?,
            Event::BundleWithdrawn(withdrawn) => self.apply_withdrawn(withdrawn)?,
            Event::ReviewClosed(closed) => self.apply_review(closed)?,
            Event::AuthorTrusted(author) => self.apply_author(author, true)?,
            Event::AuthorRevoked(author) => self.apply_author(author, false)?,
            Event::KeyCreated(grant) => {
                self.spent.extend(grant.decision);
                self.keys.insert(Key { principal: grant.principal.clone(), revoked: false });
            }
            Event::KeyRevoked(revoked) => self.keys.revoke(revoked.key),
            Event::SessionOpened(opened) => self.apply_opened(opened, index)?,
            Event::SessionNarrowed(narrowed) => self.apply_narrowed(narrowed)?,
            Event::SessionClosed(closed) => self.apply_session_closed(closed)?,
            Event::PayloadErased(erased) => self.apply_erased(erased, index)?,
            Event::HoldPlaced(placed) => self.apply_hold(placed, index)?,
            Event::HoldReleased(released) => self.apply_release(released)?,
            Event::SignerRotated(rotated) => self.apply_rotated(rotated, index)?,
            Event::SignerRevoked(revoked) => self.apply_signer_revoked(revoked)?,
            Event::LogSucceeded(succeeded) => self.apply_succeeded(succeeded, index)?,
            Event::EvidenceAdded(added) => self.apply_evidence(added, index)?,
            Event::EvidenceRevoked(revoked) => self.evidence.revoke(&revoked.evidence)?,
            Event::ReleaseRegistered(release) => self.apply_released(release, index)?,
            Event::AliasChanged(alias) => self.apply_alias(alias, index)?,
            Event::IssuerTrusted(issuer) => self.apply_issuer(issuer, true)?,
            Event::IssuerRevoked(issuer) => self.apply_issuer(issuer, false)?,
            // Counted before, and that is all.
            Event::PassageReported(_) | Event::Gap(_) | Event::AdmissionRefused(_) => {}
        }
        Ok(())
    }

    /// INVARIANT: nothing is armed or erased while one of the two widest kills is tripped.
    pub(crate) fn not_killed(&self) -> Result<(), &'static str> {
        if self.is_killed() { Err("a kill switch is tripped") } else { Ok(()) }
    }

    fn apply_decision(&mut self, event: &DecisionEvent, index: u64) -> Result<(), &'static str> {
        let now = self.time;
        if event.permit.is_some() != (event.outcome == Outcome::Permit)
            || event.approval.is_some() != (event.outcome == Outcome::RequireApproval)
        {
            return Err("its outcome has no permit or approval, or one of another outcome");
        }
        crate::modes::check(event)?;
        // INVARIANT: what was done already is never permitted.
        if event.retroactive.is_some() && (event.permit.is_some() || event.approval.is_some()) {
            return Err("it permits what was done already");
        }
        if event.permit.is_some() && self.may_stop() {
            self.not_stopped(&event.scopes())?;
        }
        let answerable: Vec<_> = self.answerable(event.exception.as_ref()).collect();
        if let Some(passage) = &event.exception {
            self.apply_passage(passage, event, index)?;
        }
        self.apply_would(event)?;
        // INVARIANT: a bound idempotency key has one decision within its window.
        if self.idempotency.get(&event.idempotency, now).is_some_and(|attempt| attempt.bound) {
            return Err("its idempotency key is bound to another decision");
        }
        let attempt = Attempt {
            index,
            bound: event.binds(),
            until: now.plus(event.window_ms),
            linked: event.previous.is_some(),
        };
        self.idempotency.set(event.idempotency, attempt);
        if let Some(count) = Outcome::ALL
            .iter()
            .position(|outcome| *outcome == event.outcome)
            .and_then(|at| self.counters.decisions.get_mut(at))
        {
            *count = count.saturating_add(1);
        }
        if matches!(event.outcome, Outcome::Permit | Outcome::RequireApproval) {
            // A count of 0 is a window that was only looked at.
            let held = event.outcome == Outcome::RequireApproval;
            for matched in &event.matched {
                let Some(window) = matched.window.filter(|window| window.count > 0) else {
                    continue;
                };
                let mark = RuleEffect::is_marker(&matched.rule);
                // Nothing is granted for what was not permitted yet.
                if !(held && mark && matched.effect == Effect::Allow) {
                    let kept = if mark { Mark::KEPT } else { window.count };
                    self.windows.add(window.tag, kept, window.per_ms, now);
                }
            }
        }
        self.count_step(event);
        if let Some(permit) = &event.permit {
            if permit.consumed {
                self.count_consumed(Reach::of(&event.surface));
            } else {
                let scopes = self.overrides.covered.share(event.scopes());
                self.open_permit(event.decision, index, permit, scopes);
            }
        }
        if let Some(opened) = &event.approval {
            self.held_by_decision.insert(event.decision, opened.id);
            self.held_open = self.held_open.saturating_add(1);
            let full = event.matched.iter().filter(|m| m.window.is_some_and(|w| w.full));
            let scopes = self.overrides.covered.share(event.scopes());
            let mut held = Box::new(Held {
                decision: event.decision,
                index,
                approval: opened.id,
                since: now,
                expires: opened.expires,
                use_within_ms: opened.use_within_ms,
                demand: Arc::new(Demand {
                    roles: opened.roles.clone(),
                    requirement: opened.requirement,
                    rules: event.rules.clone(),
                    constraints: event.constraints.clone(),
                }),
                escalate: opened.escalate.clone(),
                escalated: 0,
                remind: opened.remind,
                reopened: 0,
                surface: event.surface.clone(),
                action_commitment: event.action_commitment,
                audience: opened.audience.clone(),
                actor: event.actor.clone(),
                proposers: few(proposers(event).cloned().chain(answerable)),
                reach: Reach::of(&event.surface),
                full: full.map(|matched| matched.rule.clone()).collect(),
                marks: marks(event),
                scopes,
                votes: Vec::new(),
                rejected_by: None,
                exception: event.exception.as_ref().map(|it| it.exception),
                state: HeldState::Pending,
            });
            self.demands.share(&mut held.demand);
            self.wait(&held);
            self.overrides.covered.enter_held(&held);
            self.held.insert(opened.id, held);
        }
        Ok(())
    }

    pub(crate) fn open_permit(
        &mut self,
        decision: DecisionId,
        index: u64,
        permit: &PermitIssued,
        scopes: Scopes,
    ) {
        self.timers.insert((permit.expires, Timer::Permit(decision)));
        self.overrides.covered.enter_permit(decision, &scopes);
        let open = OpenPermit { index, permit: permit.clone(), scopes, consumed_by: None };
        self.permits.insert(decision, open);
    }

    /// A permit is used; the plane itself uses those of the surfaces that the constitution governs.
    pub(crate) fn count_consumed(&mut self, reach: Reach) {
        self.counters.consumed = self.counters.consumed.saturating_add(1);
        if reach.is_governed() {
            self.counters.own = self.counters.own.saturating_add(1);
        }
    }

    /// Consumed permits are kept until they expire, for the attempt that asks again.
    fn forget_consumed(&mut self) {
        while let Some((ends, decision)) = self.consumed_ends.first().copied()
            && ends <= self.time
        {
            self.consumed_ends.remove(&(ends, decision));
            self.take_permit(decision);
        }
    }

    fn end_permit(&mut self, ended: &PermitEnded) {
        if let Some(open) = self.take_permit(ended.decision) {
            self.timers.remove(&(open.permit.expires, Timer::Permit(ended.decision)));
            self.counters.expired = self.counters.expired.saturating_add(1);
        }
    }

    fn apply_revoked(&mut self, ended: &PermitEnded) {
        let open = self.take_permit(ended.decision);
        if let Some(open) = &open {
            self.timers.remove(&(open.permit.expires, Timer::Permit(ended.decision)));
            self.consumed_ends.remove(&(open.permit.expires, ended.decision));
        }
        let by_kill = ended.reason.as_ref().is_some_and(|reason| reason.starts_with("killed"));
        let consumed = open.is_none_or(|open| open.consumed_by.is_some());
        if (by_kill || ended.trip.is_some()) && consumed && !self.revoked.get(ended.index) {
            self.overtake(ended.trip);
            if ended.own {
                self.counters.own = self.counters.own.saturating_sub(1);
            }
        }
        self.revoked.set(ended.index);
        self.counters.revoked = self.counters.revoked.saturating_add(1);
    }
}

fn marks(event: &DecisionEvent) -> Vec<Mark> {
    let markers = event.matched.iter().filter(|matched| RuleEffect::is_marker(&matched.rule));
    let windows = markers.filter_map(|matched| matched.window).filter(|window| window.count > 0);
    windows.map(|window| Mark { tag: window.tag, per_ms: window.per_ms }).collect()
}
