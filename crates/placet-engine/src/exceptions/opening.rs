//! Opening, closing and reviewing exceptions. Owns who may and within which bounds; the bounds themselves
//! come in as values.

use super::{BREAK_GLASS, EXCEPTION, OPEN};
use crate::command::{Plan, Who};
use crate::constitution::{self, URGENT};
use crate::rejection::Rejection;
use crate::state::{HeldState, State};
use crate::step::{append, has_role};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::event::{
    ActorRef, Control, DecisionEvent, Event, ExceptionEnded, ExceptionOpened, ExceptionReviewed,
    ExceptionScope, Waives,
};
use placet_types::ids::{ExceptionId, TimeMs};
use placet_types::policy::{Constraints, Effect, Hit};

/// What the policy in force allows of an exception.
#[derive(Clone, Debug, Default)]
pub struct ExceptionBounds {
    /// Longest life.
    pub max_ms: u64,
    /// Longest time until its review is due.
    pub review_ms_max: u64,
    /// Roles of those who may open it.
    pub roles: BTreeSet<String>,
}

/// Open an exception under a decision on [`EXCEPTION`].
#[derive(Clone, Debug)]
pub struct OpenException {
    /// A fresh id.
    pub exception: ExceptionId,
    /// Who opens it: the proposer of the decision.
    pub by: Who,
    /// Log index of the decision.
    pub index: u64,
    /// The decision's entry.
    pub prior: Arc<DecisionEvent>,
    /// What it covers.
    pub scope: ExceptionScope,
    /// What it waives.
    pub waives: Waives,
    /// What makes up for it.
    pub controls: Vec<Control>,
    /// Code of the reason.
    pub reason: String,
    /// Who answers for it.
    pub owner: ActorRef,
    /// How long it lasts.
    pub duration_ms: u64,
    /// How long after its end it has to be reviewed.
    pub review_ms: u64,
    /// Filed afterwards: from when to when.
    pub retroactive: Option<(TimeMs, TimeMs)>,
    /// The bundle that the bounds are from.
    pub policy: Option<Digest>,
    /// What that bundle allows.
    pub bounds: ExceptionBounds,
}

/// Opens an exception. All that bounds it is checked here, against the policy in force.
pub(crate) fn open(state: &State, command: &OpenException, now: TimeMs) -> Result<Plan, Rejection> {
    let OpenException { by, prior, scope, waives, bounds, .. } = command;
    if !by.actor.is_human() || !command.owner.is_human() {
        return Err(Rejection::NotHuman);
    }
    has_role(by, &URGENT)?;
    let roles: Vec<&str> = bounds.roles.iter().map(String::as_str).collect();
    has_role(by, &roles)?;
    state.may_act(Some(&by.actor))?;
    let break_glass = prior.action == BREAK_GLASS;
    if prior.surface != EXCEPTION || !(break_glass || prior.action == OPEN) {
        return Err(Rejection::NoPermit);
    }
    if prior.actor != by.actor {
        return Err(Rejection::Foreign("who asked for it"));
    }
    if state.spent.contains(&prior.decision) {
        return Err(Rejection::PermitConsumed);
    }
    if !is_permitted(state, prior, now) || state.revoked.get(command.index) {
        return Err(Rejection::NoPermit);
    }
    if constitution::is_governed(&scope.surface) {
        return Err(Rejection::ExceptionScope("what the constitution governs has no exceptions"));
    }
    let nothing = waives.parts.is_empty() && waives.rules.is_empty();
    let many = waives.texts().len() > Waives::MAX || command.controls.len() > Control::MAX;
    if nothing || many {
        return Err(Rejection::ExceptionScope("name what it waives, and not more than fits"));
    }
    if rule_conflicts(&command.controls) {
        return Err(Rejection::ExceptionScope("its constraints exclude one another"));
    }
    if break_glass && command.owner != by.actor {
        return Err(Rejection::ExceptionScope("who breaks the glass owns it"));
    }
    if !state.dev && state.standing(&command.owner, now).next().is_none() {
        return Err(Rejection::NotFound("person"));
    }
    if state.owes_review(&by.actor, now) || state.owes_review(&command.owner, now) {
        return Err(Rejection::ReviewOverdue);
    }
    let lasts = command.retroactive.is_none();
    if lasts && (command.duration_ms == 0 || command.duration_ms > bounds.max_ms) {
        return Err(Rejection::ExceptionTooLong(bounds.max_ms));
    }
    if command.review_ms == 0 || command.review_ms > bounds.review_ms_max {
        return Err(Rejection::ExceptionReviewLate(bounds.review_ms_max));
    }
    if command.retroactive.is_some_and(|(from, to)| from >= to || to > now) {
        return Err(Rejection::ExceptionScope("what was done lies in the past, from when to when"));
    }
    state.exceptions.room(&scope.surface, &scope.actor, state.bounds.exceptions_max)?;
    append(Event::ExceptionOpened(Arc::new(ExceptionOpened {
        exception: command.exception,
        scope: scope.clone(),
        waives: waives.clone(),
        controls: command.controls.clone(),
        reason: command.reason.clone(),
        owner: command.owner.clone(),
        by: by.actor.clone(),
        key: by.key,
        decision: prior.decision,
        break_glass,
        ends: if lasts { now.plus(command.duration_ms) } else { now },
        review_ms: command.review_ms,
        retroactive: command.retroactive,
        policy: command.policy,
    })))
}

/// Whether a decision permits now what its own caller is to do.
fn is_permitted(state: &State, prior: &DecisionEvent, now: TimeMs) -> bool {
    let collected = || match state.approval_of(prior.decision).map(|held| &held.state) {
        Some(HeldState::Consumed(permit)) => Some(permit),
        _ => None,
    };
    let permit = prior.permit.as_ref().or_else(collected);
    permit.is_some_and(|permit| permit.consumed && now < permit.expires)
}

fn rule_conflicts(controls: &[Control]) -> bool {
    let mut all = Constraints::default();
    controls.iter().any(|control| match control {
        Control::Constraint(more) => all.meet(more).is_err(),
        _ => false,
    })
}

/// Closing only takes away: its owner, who opened it, or an admin or operator.
pub(crate) fn close(
    state: &State,
    id: ExceptionId,
    by: &Who,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    if !by.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    let exception = state.exceptions.all.get(&id).ok_or(Rejection::NotFound("exception"))?;
    if !exception.answers(&by.actor) {
        has_role(by, &URGENT)?;
    }
    if !exception.stands(now) {
        return Ok(Plan::Nothing);
    }
    let by = Some(by.actor.clone());
    append(Event::ExceptionClosed(ExceptionEnded { exception: id, by }))
}

/// Another person than its owner and who opened it has looked at what passed.
pub(crate) fn review(
    state: &State,
    id: ExceptionId,
    justified: bool,
    by: &Who,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    if !by.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    has_role(by, &["admin", "auditor", "operator"])?;
    let exception = state.exceptions.all.get(&id).ok_or(Rejection::NotFound("exception"))?;
    // In solo and in development mode there is nobody else.
    let own = exception.answers(&by.actor);
    if own && !state.solo && !state.dev {
        return Err(Rejection::OwnReview);
    }
    // The same again is a repeat; anything else would be lost without a word.
    match &exception.reviewed {
        Some(known) if known.by == by.actor && known.justified == justified => {
            return Ok(Plan::Nothing);
        }
        Some(_) => return Err(Rejection::ExceptionReviewed),
        None => {}
    }
    if !state.has_come_to_rest(exception, now) {
        return Err(Rejection::ExceptionLive);
    }
    let by = by.actor.clone();
    let passages = exception.uses;
    append(Event::ExceptionReviewed(ExceptionReviewed { exception: id, by, justified, passages }))
}

/// What the constitution says of asking for an exception: an admin or operator asks, and another person
/// approves. In an emergency one alone may ask, within the narrower bounds of the policy.
pub(crate) fn hit(state: &State, who: &Who, action: &str, now: TimeMs) -> Hit {
    let admin = who.roles.contains(constitution::ADMIN);
    let alone = admin && state.people_with(constitution::ADMIN) < 2;
    if !who.actor.is_human() || !URGENT.iter().any(|role| who.roles.contains(*role)) {
        constitution::says("constitution.operator-only", Effect::Deny)
    } else if state.owes_review(&who.actor, now) {
        constitution::says("constitution.review-overdue", Effect::Deny)
    } else if action == BREAK_GLASS {
        constitution::says("constitution.break-glass", Effect::Allow)
    } else if state.dev || state.solo || alone {
        constitution::says("constitution.single-admin", Effect::Allow)
    } else {
        constitution::two_admins()
    }
}
