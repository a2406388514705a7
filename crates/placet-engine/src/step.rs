//! One command, one plan: the dispatcher and the short commands.

use crate::command::{Command, Consume, CreateKey, Lift, Plan, Report, RevokePermit, Trip, Who};
use crate::decide::{decide, killed, proposers};
use crate::delegations;
use crate::demand::few;
use crate::evidence;
use crate::hold::{collect, tick, vote, withdraw};
use crate::policies;
use crate::privacy::{erase, place_hold, release_hold};
use crate::rejection::Rejection;
use crate::release::{Reserve, Unmetered};
use crate::sessions;
use crate::shadow;
use crate::signers;
use crate::state::{HeldState, State};
use crate::trips;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use placet_types::Hasher;
use placet_types::event::{
    ActorRef, CloseReason, Event, KeyGrant, KeyRevoked, KillEvent, KillScope, KillSource,
    OutcomeReported, PermitConsumed, PermitEnded, SessionClosed,
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
    }
    evidence::check(state, command)?;
    match command {
        Command::Decide(command) => decide::<H>(state, command, now),
        Command::Vote(command) => vote::<H>(state, command, now, costs),
        Command::Collect(command) => collect::<H>(state, command, now, costs),
        Command::Withdraw { decision, by } => withdraw(state, *decision, by),
        Command::Delegate(command) => delegations::delegate(state, command, now),
        Command::EndDelegation { delegation, by } => delegations::end(state, *delegation, by),
        Command::Consume(command) => consume(state, command, now),
        Command::Report(command) => report(state, command),
        Command::RevokePermit(command) => Ok(revoke_permits(state, command)),
        Command::Trip(command) => trip(state, command),
        Command::Lift(command) => lift(state, command, now),
        Command::Drill(command) => trips::drill(command),
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
    if let Some(scope) = killed(state) {
        return Err(Rejection::Killed(scope));
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
    if let Some(nonce) = &open.consumed_by {
        let same = nonce.is_some() && *nonce == command.nonce;
        return if same { Ok(Plan::Nothing) } else { Err(Rejection::PermitConsumed) };
    }
    append(Event::PermitConsumed(PermitConsumed {
        decision: command.decision,
        permit: open.permit.id,
        by: command.who.actor.clone(),
        nonce: command.nonce,
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
    }))
}

fn revoke_permits(state: &State, command: &RevokePermit) -> Plan {
    let reason = killed(state).unwrap_or(KillScope::Everything);
    let events = command.permits.iter().filter(|(_, index, _)| !state.revoked.get(*index)).map(
        |(decision, index, permit)| {
            Event::PermitRevoked(PermitEnded {
                decision: *decision,
                index: *index,
                permit: *permit,
                reason: Some(alloc::format!("killed_{}", reason.as_str())),
            })
        },
    );
    let events: alloc::vec::Vec<_> = events.collect();
    if events.is_empty() { Plan::Nothing } else { Plan::Append(events) }
}

/// Roles that may trip and lift.
const OVERRIDE_ROLES: [&str; 2] = ["admin", "operator"];

pub(crate) fn may_override(who: &Who) -> Result<(), Rejection> {
    if !who.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    has_role(who, &OVERRIDE_ROLES)
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

fn kill_of(state: &State, scope: KillScope) -> Option<&crate::state::KillState> {
    let (everything, workspace) = state.kill();
    match scope {
        KillScope::Everything => everything,
        KillScope::Workspace => workspace,
    }
}

fn trip(state: &State, command: &Trip) -> Result<Plan, Rejection> {
    match (command.source, &command.who) {
        (KillSource::Api, Some(who)) => may_override(who)?,
        (KillSource::Api, None) => return Err(Rejection::NotHuman),
        _ => {}
    }
    // Tripping again while somebody asks to lift is an objection: the request starts anew.
    if kill_of(state, command.scope).is_some_and(|kill| kill.lift.is_none()) {
        return Ok(Plan::Nothing);
    }
    append(Event::KillTripped(KillEvent {
        scope: command.scope,
        source: command.source,
        by: command.who.as_ref().map(|who| who.actor.clone()),
        not_before: None,
        waiting: command.waiting,
    }))
}

/// Lifting takes two different people; in development mode one, at once; in solo mode the one
/// there is, after a delay.
fn lift(state: &State, command: &Lift, now: TimeMs) -> Result<Plan, Rejection> {
    may_override(&command.who)?;
    let kill = kill_of(state, command.scope).ok_or(Rejection::NotTripped)?;
    let event = |not_before| KillEvent {
        scope: command.scope,
        source: KillSource::Api,
        by: Some(command.who.actor.clone()),
        not_before,
        waiting: 0,
    };
    if state.dev {
        return append(Event::KillLifted(event(None)));
    }
    // A request counts as long as who made it may still make one.
    // People of the first workspace, who lift everything, have no key in the others.
    let known = |by: &ActorRef| {
        state.keys.all().any(|key| key.principal.actor == *by)
            || state.sessions.people.contains_key(by)
    };
    let standing = |by: &ActorRef| !known(by) || state.holds_any(by, &OVERRIDE_ROLES, now);
    let request = kill.lift.as_ref().filter(|(by, _)| standing(by));
    match request {
        Some((by, _)) if *by != command.who.actor => append(Event::KillLifted(event(None))),
        Some((_, Some(not_before))) if state.solo && now >= *not_before => {
            append(Event::KillLifted(event(None)))
        }
        Some((_, Some(not_before))) if state.solo => Err(Rejection::TooEarly(*not_before)),
        Some(_) if !state.solo => Err(Rejection::SecondPerson),
        // None yet, or one from before solo mode, which has no delay running.
        _ => {
            let not_before = state.solo.then(|| now.plus(command.solo_delay_ms));
            append(Event::KillLiftRequested(event(not_before)))
        }
    }
}

/// One permit makes one key, also when its caller tries again after a lost answer.
fn create_key(state: &State, command: &CreateKey, now: TimeMs) -> Result<Plan, Rejection> {
    may_administer(&command.by)?;
    if let Some(scope) = killed(state) {
        return Err(Rejection::Killed(scope));
    }
    if command.decision.is_some_and(|decision| state.spent.contains(&decision)) {
        return Err(Rejection::PermitConsumed);
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
