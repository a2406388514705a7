//! One command, one plan: the dispatcher and the short commands.

use crate::command::{Command, Consume, CreateKey, Plan, Report, RevokePermit, Unsent, Who};
use crate::decide::{decide, proposers};
use crate::delegations;
use crate::demand::few;
use crate::evidence;
use crate::exceptions;
use crate::executions;
use crate::follow::follow;
use crate::hold::{collect, tick, vote, withdraw};
use crate::measures;
use crate::overrides::{Stop, lift, trip};
use crate::policies;
use crate::privacy::{erase, place_hold, release_hold};
use crate::rejection::Rejection;
use crate::release::{Reserve, Unmetered};
use crate::releases;
use crate::sessions;
use crate::shadow;
use crate::signers;
use crate::state::{HeldState, State};
use crate::trips;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use placet_types::Hasher;
use placet_types::event::{
    CloseReason, Event, KeyGrant, KeyRevoked, KillScope, OutcomeReported, OverrideMode,
    PermitConsumed, PermitEnded, SessionClosed,
};
use placet_types::ids::{KeyId, TimeMs};

/// Decides what `command` leads to at `now`. Changes nothing; the same inputs give the same plan.
///
/// # Errors
/// [`Rejection`] when the command may not be done.
pub fn step<H: Hasher>(state: &State, command: &Command, now: TimeMs) -> Result<Plan, Rejection> {
    step_with::<H>(state, command, now, &Unmetered)
}

/// The same, where releasing an action has a cost.
///
/// # Errors
/// [`Rejection`] when the command may not be done.
pub fn step_with<H: Hasher>(
    state: &State,
    command: &Command,
    now: TimeMs,
    costs: &impl Reserve,
) -> Result<Plan, Rejection> {
    // Authentication lies before the queue: a key may have been revoked while its command waited,
    // and a session may have ended.
    if let Some(who) = command.who() {
        state.still_is(who, now)?;
        // Whoever came with a role that nobody has any more asks again without it. A request is
        // decided, and says why not; a trip waits for nothing.
        let decides = matches!(command, Command::Decide(_) | Command::Trip(_));
        if let Some(role) = state.revoked_role(&who.roles).filter(|_| !decides) {
            return Err(Rejection::RoleRevoked(role.into()));
        }
    }
    evidence::check(state, command)?;
    state.still_lends(command, now)?;
    match command {
        Command::Decide(command) => decide::<H>(state, command, now),
        Command::Vote(command) => vote::<H>(state, command, now, costs),
        Command::Collect(command) => collect::<H>(state, command, now, costs),
        Command::Withdraw { decision, by } => withdraw(state, *decision, by),
        Command::Delegate(command) => delegations::delegate(state, command, now),
        Command::EndDelegation { delegation, by } => delegations::end(state, *delegation, by),
        Command::OpenException(command) => exceptions::open(state, command, now),
        Command::CloseException { exception, by } => exceptions::close(state, *exception, by, now),
        Command::ReviewException { exception, justified, by } => {
            exceptions::review(state, *exception, *justified, by, now)
        }
        Command::Consume(command) => consume(state, command, now),
        Command::Report(command) => report(state, command),
        Command::ReportPassage(command) => measures::passage(command, now),
        Command::RevokePermit(command) => Ok(revoke_permits(state, command)),
        Command::Trip(command) => trip(state, command),
        Command::Lift(command) => lift(state, command, now),
        Command::Follow(command) => follow(state, command),
        Command::StartExecution(command) => executions::start(state, command, now),
        Command::EndExecution(command) => executions::end(state, command),
        Command::Drill(command) => trips::drill(state, command),
        Command::Acknowledge(command) => trips::acknowledge(state, command),
        Command::CreateKey(command) => create_key(state, command, now),
        Command::RevokeKey { key, by } => revoke_key(state, *key, by),
        Command::OpenSession(command) => sessions::open(state, command, now),
        Command::CloseSession { key, by } => sessions::close(state, *key, by, now),
        Command::Erase(command) => erase(state, command, now),
        Command::PlaceHold(command) => place_hold(state, command),
        Command::ReleaseHold { hold, by, decision } => release_hold(state, *hold, by, *decision),
        Command::RotateSigner(command) => signers::rotate(state, command),
        Command::RevokeSigner(command) => signers::revoke(state, command),
        Command::SucceedLog(command) => signers::succeed(state, command),
        Command::Found(_) if state.next_index > 0 => Ok(Plan::Nothing),
        Command::Found(genesis) => append(Event::Genesis(genesis.as_ref().clone())),
        Command::ShadowBundle(command) => shadow::set(state, command),
        Command::ArmBundle(armed) => policies::seed(state, armed),
        Command::DraftBundle(command) => policies::draft(state, command),
        Command::ArmUnder(command) => policies::arm_under::<H>(state, command, now, costs),
        Command::WithdrawBundle { bundle, reason, by } => {
            policies::withdraw(state, *bundle, reason, by)
        }
        Command::CloseReview { decision, by } => policies::close_review(state, *decision, by),
        Command::ChangeAuthor(command) => policies::change_author(state, command),
        Command::AddEvidence(command) => evidence::add(state, command, now),
        Command::RevokeEvidence { evidence, reason, by } => {
            evidence::revoke(state, *evidence, reason, by)
        }
        Command::RegisterRelease(command) => releases::register(state, command, now),
        Command::ChangeAlias(command) => releases::change_alias(state, command, now),
        Command::ChangeIssuer(command) => evidence::change_issuer(state, command),
        Command::Gap(gap) => append(Event::Gap(gap.clone())),
        Command::Refused(refused) => append(Event::AdmissionRefused(refused.clone())),
        Command::Tick => Ok(tick(state, now)),
    }
}

pub(crate) fn append(event: Event) -> Result<Plan, Rejection> {
    Ok(Plan::Append(alloc::vec![event]))
}

fn consume(state: &State, command: &Consume, now: TimeMs) -> Result<Plan, Rejection> {
    if state.may_stop()
        && let Some(stop) = state.stop_led(&command.prior.scopes())
        && stop.mode.ends_permits()
    {
        return Err(stop.rejection());
    }
    if state.revoked.get(command.index) {
        return Err(Rejection::PermitRevoked);
    }
    let Some(open) = state.permits.get(&command.decision) else {
        let issued = command.prior.permit.as_ref();
        let audience = issued
            .map(|permit| &permit.audience)
            .or_else(|| command.prior.approval.as_ref().map(|approval| &approval.audience));
        let held = state.held_by_decision.get(&command.decision).and_then(|id| state.held.get(id));
        return Err(match (audience, issued, held) {
            (None, ..) => Rejection::NoPermit,
            (Some(audience), ..) if *audience != command.who.actor => foreign(),
            (_, Some(permit), _) if permit.consumed => Rejection::PermitConsumed,
            (_, None, Some(held)) if held.state == HeldState::Pending => Rejection::ApprovalPending,
            (_, None, _) if !state.consumed.get(command.index) => Rejection::NoPermit,
            _ if state.consumed.get(command.index) => Rejection::PermitConsumed,
            _ => Rejection::PermitExpired,
        });
    };
    let own = [command.who.actor.clone()];
    let stood = || few(proposers(&command.prior).cloned().chain(own));
    if open.permit.audience != command.who.actor || !state.stands_behind(&command.who, &stood()) {
        return Err(foreign());
    }
    if now >= open.permit.expires {
        return Err(Rejection::PermitExpired);
    }
    // Also of an attempt that asks again: telling it again is handing it out again.
    state.rests(&command.prior, now)?;
    if let Some(nonce) = &open.consumed_by {
        let same = nonce.is_some() && *nonce == command.nonce;
        return if same { Ok(Plan::Nothing) } else { Err(Rejection::PermitConsumed) };
    }
    append(Event::PermitConsumed(PermitConsumed {
        decision: command.decision,
        permit: open.permit.id,
        by: command.who.actor.clone(),
        nonce: command.nonce,
        surface: Some(command.prior.surface.clone()),
    }))
}

fn foreign() -> Rejection {
    Rejection::Foreign("the gate that the permit names as its audience")
}

fn report(state: &State, command: &Report) -> Result<Plan, Rejection> {
    let prior = &command.prior;
    if state.revoked.get(command.index) {
        return Err(Rejection::PermitRevoked);
    }
    let permit = prior.permit.as_ref();
    let own = permit.is_some_and(|permit| permit.consumed);
    if !own && !state.consumed.get(command.index) {
        return Err(Rejection::NoPermit);
    }
    let audience = permit
        .map(|permit| &permit.audience)
        .or_else(|| prior.approval.as_ref().map(|approval| &approval.audience));
    if audience != Some(&command.who.actor) && prior.actor != command.who.actor {
        return Err(foreign());
    }
    if state.reported.get(command.index) {
        return Err(Rejection::AlreadyReported);
    }
    append(Event::OutcomeReported(OutcomeReported {
        decision: prior.decision,
        index: command.index,
        by: command.who.actor.clone(),
        result: command.result,
        surface: Some(prior.surface.clone()),
    }))
}

fn revoke_permits(state: &State, command: &RevokePermit) -> Plan {
    let stop = command.stop.clone().unwrap_or(Stop {
        scope: match state.kill() {
            (None, Some(_)) => KillScope::Workspace,
            _ => KillScope::Everything,
        },
        mode: OverrideMode::Kill,
    });
    // A trip that is not recorded yet finds the permit revoked already.
    let trip = state.trip_of(&stop.scope).map(|trip| trip.index);
    let left = command.permits.iter().filter(|it| !state.revoked.get(it.index));
    let events = left.map(|Unsent { decision, index, permit, own }| {
        Event::PermitRevoked(PermitEnded {
            decision: *decision,
            index: *index,
            permit: *permit,
            reason: Some(stop.reason().as_str().into()),
            trip,
            own: *own,
        })
    });
    let events: alloc::vec::Vec<_> = events.collect();
    if events.is_empty() { Plan::Nothing } else { Plan::Append(events) }
}

/// Keys and payloads are a matter for people: a machine could make itself the second person.
pub(crate) fn may_administer(who: &Who) -> Result<(), Rejection> {
    if !who.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    has_role(who, &["admin"])
}

pub(crate) fn has_role(who: &Who, roles: &[&str]) -> Result<(), Rejection> {
    if roles.iter().any(|role| who.roles.contains(*role)) {
        return Ok(());
    }
    let demanded: BTreeMap<String, u32> = roles.iter().map(|role| (role.to_string(), 1)).collect();
    Err(Rejection::RoleMissing(demanded))
}

/// One permit makes one key, also when its caller tries again after a lost answer.
fn create_key(state: &State, command: &CreateKey, now: TimeMs) -> Result<Plan, Rejection> {
    may_administer(&command.by)?;
    state.may_act(Some(&command.by.actor))?;
    if command.decision.is_some_and(|decision| state.spent.contains(&decision)) {
        return Err(Rejection::PermitConsumed);
    }
    if state.keys.knows(&command.principal.hash) {
        return Err(Rejection::CertificateTaken);
    }
    let mut events = alloc::vec![Event::KeyCreated(KeyGrant {
        principal: command.principal.clone(),
        by: command.by.actor.clone(),
        decision: command.decision,
    })];
    // Nobody else goes on under the name of whoever has a key.
    let others = state.handed_on_as(&command.principal.actor, now);
    events.extend(others.map(|key| {
        let (by, reason) = (command.by.actor.clone(), CloseReason::Revoked);
        Event::SessionClosed(SessionClosed { key, by, reason })
    }));
    Ok(Plan::Append(events))
}

/// Revoking only takes away, so one admin suffices; the last admin's last key stays, or the
/// workspace could never be administered again.
fn revoke_key(state: &State, key: KeyId, by: &Who) -> Result<Plan, Rejection> {
    may_administer(by)?;
    let known = state.keys.get(key).ok_or(Rejection::NotFound("key"))?;
    if known.revoked {
        return Ok(Plan::Nothing);
    }
    let other_admins = state.live_keys().filter(|principal| {
        principal.key != key && principal.actor.is_human() && principal.roles.contains("admin")
    });
    if known.principal.roles.contains("admin")
        && known.principal.actor.is_human()
        && other_admins.count() == 0
    {
        return Err(Rejection::LastAdmin);
    }
    append(Event::KeyRevoked(KeyRevoked { key, by: by.actor.clone() }))
}
