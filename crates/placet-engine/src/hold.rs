//! Held decisions: voting, collecting, withdrawing, expiring. Final states are final.

use crate::command::{Collect, Plan, Vote, Waiting, Who};
use crate::executions;
use crate::rejection::Rejection;
use crate::release::{Over, Release, Reserve, Standing, reconsider, release};
use crate::state::{Held, HeldState, State, Timer};
use crate::step::append;
use crate::votes::Fills;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use placet_types::event::{
    ApprovalClosed, ApprovalEscalated, ApprovalReminded, ApprovalVoted, CloseState,
    DelegationEnded, Event, ExceptionEnded, PermitCollected, PermitEnded, PermitIssued,
};
use placet_types::ids::{DecisionId, PermitId, TimeMs};
use placet_types::{Digest, Hasher};

/// Most timers that one tick goes through.
const TICK_MAX: usize = 1000;

pub(crate) fn vote<H: Hasher>(
    state: &State,
    command: &Vote,
    now: TimeMs,
    costs: &impl Reserve,
) -> Result<Plan, Rejection> {
    let held = state.held.get(&command.approval).ok_or(Rejection::NotFound("approval"))?;
    let who = &command.who;
    if !who.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    if is_again(state, held, command) {
        return Ok(Plan::Nothing);
    }
    if held.state != HeldState::Pending {
        return Err(Rejection::ApprovalFinal(held.state.as_str()));
    }
    if now >= held.expires {
        return Err(Rejection::ApprovalFinal("expired"));
    }
    let unechoed = match command.echo {
        Some(echo) if echo == held.action_commitment => false,
        Some(_) => return Err(Rejection::StaleDigest),
        // What a channel shows is bound to the digest in development mode too.
        None if state.dev && command.via.is_none() => true,
        None => return Err(Rejection::DigestMissing),
    };
    // A demand that took the place of another has to be named: a page from before shows the other one.
    let unseen = held.reopened > 0 && command.approve && command.requirement.is_none();
    if unseen || command.requirement.is_some_and(|seen| seen != held.requirement) {
        return Err(Rejection::Reopened);
    }
    if held.proposers.contains(&who.actor) {
        return Err(Rejection::OwnApproval);
    }
    let Some(fills) = fills(state, held, command, now)? else { return Ok(Plan::Nothing) };
    if command.approve {
        match reconsider::<H>(state, held, command.asked(), now) {
            Standing::Kept => {}
            // Nobody has seen this demand yet: the vote is for another one.
            Standing::Reopened(event) => return append(Event::ApprovalReopened(*event)),
            Standing::Over(how) => return Ok(close(held, how)),
        }
    }
    let mut event = ApprovalVoted {
        decision: held.decision,
        approval: held.approval,
        by: who.actor.clone(),
        key: who.key.filter(|_| command.via.is_none()),
        roles: fills.roles,
        stands_in: fills.stands_in,
        through: fills.through,
        approve: command.approve,
        complete: false,
        requirement: held.requirement,
        unechoed,
        via: command.via,
    };
    let mut after = Held::clone(held);
    after.cast(&event);
    event.complete = command.approve && state.missing_at(&after, now).is_empty();
    let complete = event.complete;
    let mut events = alloc::vec![Event::ApprovalVoted(event)];
    if complete && let Some(waiting) = &command.waiting {
        events.extend(at_once::<H>(state, after, command, waiting, now, costs));
    }
    Ok(Plan::Append(events))
}

/// Whether this very vote has been counted, as far as its voter had anything to give: then nothing is to be
/// done. Only who has looked at the demand of today adds to an earlier vote.
fn is_again(state: &State, held: &Held, command: &Vote) -> bool {
    let who = &command.who;
    let unbound = state.dev && command.via.is_none();
    let echoed = command.echo.map_or(unbound, |echo| echo == held.action_commitment);
    let counted = match command.approve {
        true => held.vote_of(&who.actor).is_some() && held.rejected_by.is_none(),
        false => held.rejected_by.as_ref() == Some(&who.actor),
    };
    let over =
        matches!(held.state, HeldState::Expired | HeldState::Invalidated | HeldState::Withdrawn);
    let again = held.state == HeldState::Pending && command.requirement == Some(held.requirement);
    counted && echoed && !over && !again
}

/// What a vote fills; `None` where an earlier one has filled it.
fn fills(
    state: &State,
    held: &Held,
    command: &Vote,
    now: TimeMs,
) -> Result<Option<Fills>, Rejection> {
    let who = &command.who;
    let before = held.vote_of(&who.actor).is_some();
    if before && !command.approve {
        return Err(Rejection::AlreadyVoted);
    }
    // A channel vouches for who the person is, and for nothing else.
    let holds = |role: &str| match command.via {
        None => who.roles.contains(role),
        Some(_) => state.holds_any(&who.actor, &[role], now),
    };
    let rights = state.rights(held, &who.actor, holds, !command.approve, now);
    let fills = State::fills(held, &who.actor, &rights);
    if !fills.is_empty() {
        return Ok(Some(fills));
    }
    let own = held.deciding_roles().any(|role| holds(role));
    let of_proposer = || {
        let mut all = state.delegations.to(&who.actor, now);
        all.any(|it| held.proposers.contains(&it.by) && it.covers(&held.surface))
    };
    if before {
        Ok(None)
    } else if own {
        // Somebody to whom it was delegated has used this person's right.
        Err(Rejection::AlreadyVoted)
    } else if of_proposer() {
        Err(Rejection::OwnApproval)
    } else {
        let roles = held.deciding_roles().map(|role| (role.clone(), 1)).collect();
        Err(Rejection::RoleMissing(roles))
    }
}

/// The permit of an action that this vote releases, for the caller that waits. Whatever stands in the way,
/// the vote counts and the caller may try for itself.
fn at_once<H: Hasher>(
    state: &State,
    mut held: Held,
    vote: &Vote,
    waiting: &Waiting,
    now: TimeMs,
    costs: &impl Reserve,
) -> Option<Event> {
    let until = now.plus(held.use_within_ms);
    held.state = HeldState::Approved(until);
    let stranger = waiting.who.actor != held.actor
        || !state.stands_behind(&waiting.who, &held.proposers)
        || state.still_is(&waiting.who, now).is_err();
    if stranger || state.revoked.get(held.index) {
        return None;
    }
    let granted = release::<H>(state, &held, until, &waiting.who, vote.asked(), now, costs).ok()?;
    let Release::Granted(None) = granted else { return None };
    let nonce = Some(waiting.nonce);
    let permit = (waiting.permit, waiting.permit_ms);
    Some(collected(state, &held, permit, nonce, vote.verdict.policy, now))
}

fn collected(
    state: &State,
    held: &Held,
    (id, permit_ms): (PermitId, u64),
    nonce: Option<Digest>,
    policy: Option<Digest>,
    now: TimeMs,
) -> Event {
    let expires = now.plus(permit_ms);
    Event::PermitCollected(PermitCollected {
        decision: held.decision,
        approval: held.approval,
        permit: PermitIssued {
            id,
            consumed: held.audience == held.actor,
            audience: held.audience.clone(),
            // No permit outlives the exception that it rests on.
            expires: state.exception_ends(held, now).map_or(expires, |ends| ends.min(expires)),
            nonce,
        },
        constraints: (held.reopened > 0).then(|| held.constraints.clone()),
        policy,
    })
}

pub(crate) fn collect<H: Hasher>(
    state: &State,
    command: &Collect,
    now: TimeMs,
    costs: &impl Reserve,
) -> Result<Plan, Rejection> {
    let held = of_decision(state, command.decision)?;
    if command.who.actor != held.actor || !state.stands_behind(&command.who, &held.proposers) {
        return Err(Rejection::Foreign("the actor that proposed the action"));
    }
    if state.revoked.get(held.index) {
        return Err(Rejection::PermitRevoked);
    }
    let until = match &held.state {
        HeldState::Pending => return Err(Rejection::ApprovalPending),
        HeldState::Approved(until) => *until,
        HeldState::Consumed(permit) => {
            // Fetching it again is handing it out again: a kill withholds it as it would the first.
            let stop = state.stop_led(&held.scopes).filter(|stop| stop.mode.ends_permits());
            if let Some(stop) = stop {
                return Err(stop.rejection());
            }
            state.closed_under(held.exception)?;
            let same = permit.nonce.is_some() && permit.nonce == command.nonce;
            return if same && now < permit.expires {
                Ok(Plan::Nothing)
            } else {
                Err(Rejection::PermitConsumed)
            };
        }
        other => return Err(Rejection::ApprovalFinal(other.as_str())),
    };
    let (who, asked) = (&command.who, command.asked());
    let renewed = match release::<H>(state, held, until, who, asked, now, costs)? {
        Release::Granted(renewed) => renewed,
        Release::Reopened(event) => return append(Event::ApprovalReopened(*event)),
        Release::Over(how) => return Ok(close(held, how)),
    };
    let mut held = held.clone();
    let mut events = Vec::with_capacity(2);
    if let Some(event) = renewed {
        held.reopen(&event, now);
        events.push(Event::ApprovalReopened(*event));
    }
    let permit = (command.permit, command.permit_ms);
    let policy = command.verdict.policy;
    events.push(collected(state, &held, permit, command.nonce, policy, now));
    Ok(Plan::Append(events))
}

pub(crate) fn withdraw(state: &State, decision: DecisionId, by: &Who) -> Result<Plan, Rejection> {
    let held = of_decision(state, decision)?;
    if by.actor != held.actor || !state.stands_behind(by, &held.proposers) {
        return Err(Rejection::Foreign("the actor that proposed the action"));
    }
    if !held.state.is_open() {
        return Err(Rejection::ApprovalFinal(held.state.as_str()));
    }
    Ok(close(held, CloseState::Withdrawn.into()))
}

/// Does what is due: escalates, reminds, and ends approvals, permits and delegations.
pub(crate) fn tick(state: &State, now: TimeMs) -> Plan {
    let due = state.timers.iter().take_while(|(time, _)| *time <= now);
    let mut closed = BTreeSet::new();
    let mut events: Vec<Event> = Vec::new();
    for (_, timer) in due.take(TICK_MAX) {
        let approval = match timer {
            Timer::Approval(id) | Timer::Escalation(id) | Timer::Reminder(id) => *id,
            Timer::Permit(decision) => {
                events.extend(state.permits.get(decision).map(|open| {
                    Event::PermitExpired(PermitEnded {
                        trip: None,
                        own: false,
                        decision: *decision,
                        index: open.index,
                        permit: open.permit.id,
                        reason: None,
                    })
                }));
                continue;
            }
            Timer::Exception(exception) => {
                let exception = *exception;
                events.push(Event::ExceptionEnded(ExceptionEnded { exception, by: None }));
                continue;
            }
            Timer::Review(exception) => {
                events.extend(state.overdue(*exception).map(Event::ExceptionOverdue));
                continue;
            }
            Timer::Queue(execution) => {
                events.push(executions::waited(*execution));
                continue;
            }
            Timer::Runtime(execution) => {
                events.push(executions::ran_out(*execution));
                continue;
            }
            Timer::Delegation(delegation) => {
                let delegation = *delegation;
                events.push(Event::DelegationEnded(DelegationEnded { delegation, by: None }));
                continue;
            }
        };
        let Some(held) = state.held.get(&approval) else { continue };
        let ends = match held.state {
            HeldState::Approved(until) => until,
            _ => held.expires,
        };
        // Whatever was due before and was slept through, what is over is over: once.
        if ends <= now {
            if closed.insert(approval) {
                events.push(closing(held, CloseState::Expired.into()));
            }
            continue;
        }
        match timer {
            Timer::Escalation(_) => {
                let at = usize::try_from(held.escalated).unwrap_or(usize::MAX);
                events.extend(held.escalate.get(at).map(|step| {
                    Event::ApprovalEscalated(ApprovalEscalated {
                        decision: held.decision,
                        approval,
                        step: held.escalated,
                        roles: step.roles.clone(),
                    })
                }));
            }
            Timer::Reminder(_) => events.push(Event::ApprovalReminded(ApprovalReminded {
                decision: held.decision,
                approval,
                expires: held.expires,
                missing: state.missing_at(held, now),
            })),
            _ => {}
        }
    }
    // What runs out at this instant makes room in the next turn.
    if events.is_empty() {
        let next = state.queue(TICK_MAX);
        events.extend(next.into_iter().filter_map(|id| executions::begins(state, id)));
    }
    if events.is_empty() { Plan::Nothing } else { Plan::Append(events) }
}

fn of_decision(state: &State, decision: DecisionId) -> Result<&Held, Rejection> {
    let id = state.held_by_decision.get(&decision);
    let held = id.and_then(|id| state.approval(*id));
    held.ok_or(Rejection::NotFound("held decision"))
}

fn close(held: &Held, over: Over) -> Plan {
    Plan::Append(alloc::vec![closing(held, over)])
}

pub(crate) fn closing(held: &Held, over: Over) -> Event {
    Event::ApprovalClosed(ApprovalClosed {
        decision: held.decision,
        approval: held.approval,
        state: over.how,
        reasons: over.reasons,
    })
}
