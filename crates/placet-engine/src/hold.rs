//! Held decisions: voting, collecting, withdrawing, expiring. Final states are final.

use crate::command::{Collect, Plan, Vote, Who};
use crate::constitution;
use crate::decide::{killed, requirement};
use crate::rejection::Rejection;
use crate::state::{Held, HeldState, State, Timer};
use alloc::vec::Vec;
use placet_types::Hasher;
use placet_types::event::{
    ApprovalClosed, ApprovalVoted, CloseState, Event, PermitCollected, PermitEnded, PermitIssued,
};
use placet_types::ids::{DecisionId, TimeMs};
use placet_types::policy::{Constraints, Force, Outcome, Velocity, Verdict, combine};

pub(crate) fn vote<H: Hasher>(
    state: &State,
    command: &Vote,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    let held = state.held.get(&command.approval).ok_or(Rejection::NotFound("approval"))?;
    let who = &command.who;
    if !who.actor.is_human() {
        return Err(Rejection::NotHuman);
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
    if held.proposers.contains(&who.actor) {
        return Err(Rejection::OwnApproval);
    }
    let fills = |role: &str| match command.via {
        None => who.roles.contains(role),
        // The channel vouches for who the person is, and for nothing else.
        Some(_) => state.holds_any(&who.actor, &[role], now),
    };
    let roles: alloc::collections::BTreeSet<_> =
        held.roles.keys().filter(|role| fills(role)).cloned().collect();
    if roles.is_empty() {
        return Err(Rejection::RoleMissing(held.roles.clone()));
    }
    if held.votes.iter().any(|(voter, _)| *voter == who.actor) {
        return Err(Rejection::AlreadyVoted);
    }
    if command.approve && !still_demanded::<H>(state, held, &command.verdict, now) {
        return Ok(close(held, CloseState::Invalidated));
    }
    let mut after = held.clone();
    after.votes.push((who.actor.clone(), roles.clone()));
    Ok(Plan::Append(alloc::vec![Event::ApprovalVoted(ApprovalVoted {
        decision: held.decision,
        approval: held.approval,
        by: who.actor.clone(),
        key: who.key.filter(|_| command.via.is_none()),
        roles,
        approve: command.approve,
        complete: command.approve && state.missing_at(&after, now).is_empty(),
        requirement: held.requirement,
        unechoed,
        via: command.via,
    })]))
}

pub(crate) fn collect<H: Hasher>(
    state: &State,
    command: &Collect,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    let held = of_decision(state, command.decision)?;
    if command.who.actor != held.actor {
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
            if let Some(scope) = killed(state) {
                return Err(Rejection::Killed(scope));
            }
            let same = permit.nonce.is_some() && permit.nonce == command.nonce;
            return if same && now < permit.expires {
                Ok(Plan::Nothing)
            } else {
                Err(Rejection::PermitConsumed)
            };
        }
        other => return Err(Rejection::ApprovalFinal(other.as_str())),
    };
    if let Some(scope) = killed(state) {
        return Err(Rejection::Killed(scope));
    }
    if now >= until {
        return Ok(close(held, CloseState::Expired));
    }
    if held.reach.is_governed() && !command.who.roles.contains(constitution::ADMIN) {
        return Err(Rejection::RoleMissing([(constitution::ADMIN.into(), 1)].into()));
    }
    // Roles are checked again at release: who has lost theirs since has approved nothing.
    let approved = state.missing_at(held, now).is_empty();
    if !approved || !still_demanded::<H>(state, held, &command.verdict, now) {
        return Ok(close(held, CloseState::Invalidated));
    }
    Ok(Plan::Append(alloc::vec![Event::PermitCollected(PermitCollected {
        decision: held.decision,
        approval: held.approval,
        permit: PermitIssued {
            id: command.permit,
            consumed: held.audience == command.who.actor,
            audience: held.audience.clone(),
            expires: now.plus(command.permit_ms),
            nonce: command.nonce,
        },
        policy: command.verdict.policy,
    })]))
}

pub(crate) fn withdraw(state: &State, decision: DecisionId, by: &Who) -> Result<Plan, Rejection> {
    let held = of_decision(state, decision)?;
    if by.actor != held.actor {
        return Err(Rejection::Foreign("the actor that proposed the action"));
    }
    if !held.state.is_open() {
        return Err(Rejection::ApprovalFinal(held.state.as_str()));
    }
    Ok(close(held, CloseState::Withdrawn))
}

/// Expires approvals and permits whose time has come.
pub(crate) fn tick(state: &State, now: TimeMs) -> Plan {
    let due = state.timers.iter().take_while(|(time, _)| *time <= now);
    let events: Vec<Event> = due
        .take(1000)
        .filter_map(|(_, timer)| match timer {
            Timer::Approval(id) => state.held.get(id).map(|held| {
                Event::ApprovalClosed(ApprovalClosed {
                    decision: held.decision,
                    approval: held.approval,
                    state: CloseState::Expired,
                })
            }),
            Timer::Permit(decision) => state.permits.get(decision).map(|open| {
                Event::PermitExpired(PermitEnded {
                    decision: *decision,
                    index: open.index,
                    permit: open.permit.id,
                    reason: None,
                })
            }),
        })
        .collect();
    if events.is_empty() { Plan::Nothing } else { Plan::Append(events) }
}

fn of_decision(state: &State, decision: DecisionId) -> Result<&Held, Rejection> {
    let id = state.held_by_decision.get(&decision);
    id.and_then(|id| state.held.get(id)).ok_or(Rejection::NotFound("held decision"))
}

fn close(held: &Held, state: CloseState) -> Plan {
    Plan::Append(alloc::vec![Event::ApprovalClosed(ApprovalClosed {
        decision: held.decision,
        approval: held.approval,
        state,
    })])
}

/// Whether the current bundle still demands exactly what the approval is for, or less. Windows
/// count as they did when the action was held: the hold itself is in them. Evidence and schedules are asked
/// anew.
pub(crate) fn still_demanded<H: Hasher>(
    state: &State,
    held: &Held,
    verdict: &Verdict,
    now: TimeMs,
) -> bool {
    let mut verdict = verdict.clone();
    verdict.hits.retain(|hit| match hit.force {
        Force::Asked => {
            hit.rule.schedule.as_ref().is_none_or(|it| it.contains(now))
                && (hit.rule.after.is_none() || held.full.contains(&hit.rule.id))
        }
        force => force.by_time(now),
    });
    if held.reach.is_governed() {
        let hit = constitution::two_admins();
        verdict = constitution::verdict(state, held.reach, &verdict, held.proposers.iter(), hit);
    }
    let combined = combine(&verdict, |hit| {
        if held.full.contains(&hit.rule.id) {
            Velocity::Full { retry_after_ms: 0 }
        } else {
            Velocity::Open
        }
    });
    match (combined.outcome, &combined.approval) {
        (Outcome::Permit, _) => carries(held, &combined.constraints),
        (Outcome::RequireApproval, Some(spec)) => {
            let constraints = combined.constraints.to_object();
            requirement::<H>(&spec.roles, &constraints, &combined.deciding) == held.requirement
        }
        _ => false,
    }
}

/// Whether what was approved is as narrow as `demanded`: its permit carries the constraints that
/// the people saw, so a bundle that permits under narrower ones is not served by it.
fn carries(held: &Held, demanded: &Constraints) -> bool {
    let Ok(approved) = Constraints::from_object(&held.constraints) else { return false };
    let mut met = approved.clone();
    met.meet(demanded).is_ok() && met == approved
}
