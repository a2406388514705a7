//! The human override: tripping, lifting, and what a tripped scope stops. Owns which scopes are tripped.
//! Refuses to know how a trip reaches answers that are on their way.
//!
//! INVARIANT: nothing here is needed to trip: a person with the role suffices, whatever else is tripped.

use crate::command::{Plan, Who};
use crate::covering::Covering;
use crate::rejection::Rejection;
use crate::state::{KillState, OpenPermit, State, Timer};
use crate::step::{append, has_role};
use crate::trips::{Reached, TripRecord};
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use placet_types::event::{ActorRef, Event, KillEvent, KillScope, KillSource, OverrideMode};
use placet_types::ids::{DecisionId, TimeMs};
use placet_types::policy::Reason;

/// Roles that may trip and lift.
pub(crate) const OVERRIDE_ROLES: [&str; 2] = ["admin", "operator"];
/// How many scopes that were lifted are remembered one by one.
const PAST_MAX: usize = 1024;

/// What is tripped, and what a trip reaches.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    /// Tripped scopes.
    pub(crate) all: BTreeMap<KillScope, KillState>,
    /// Scopes that ended permits and are lifted since, with the log index of the trip: what was
    /// permitted before is not handed out again.
    pub(crate) past: BTreeMap<KillScope, (u64, OverrideMode)>,
    /// No permit of a decision before this index is handed out again, whatever its scopes.
    pub(crate) floor: u64,
    /// Open permits, held actions and executions by what can stop them; follows from them.
    pub(crate) covered: Covering,
}

/// Trip a kill switch.
#[derive(Clone, Debug)]
pub struct Trip {
    /// What to stop.
    pub scope: KillScope,
    /// How.
    pub mode: OverrideMode,
    /// What caused it.
    pub source: KillSource,
    /// Who; absent for file, signal and certificate.
    pub who: Option<Who>,
    /// Callers that waited for an approval when it took effect, and were told.
    pub waiting: u64,
}

/// Lift a kill switch.
#[derive(Clone, Debug)]
pub struct Lift {
    /// Which.
    pub scope: KillScope,
    /// Who asks.
    pub who: Who,
    /// Solo mode: milliseconds between asking and lifting.
    pub solo_delay_ms: u64,
}

/// What stops something, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The tripped scope.
    pub scope: KillScope,
    /// How it is stopped.
    pub mode: OverrideMode,
}

impl Stop {
    /// The reason of a decision.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.scope.reason(self.mode)
    }

    /// What anybody else is told.
    #[must_use]
    pub fn rejection(self) -> Rejection {
        match (self.mode, self.scope) {
            (OverrideMode::Kill, scope) => Rejection::Killed(scope),
            (OverrideMode::Freeze, scope) => Rejection::Frozen(scope),
            (OverrideMode::Disable, scope) => Rejection::Disabled(scope),
            (OverrideMode::Revoke, scope) => {
                Rejection::RoleRevoked(scope.value().unwrap_or_default().into())
            }
        }
    }
}

impl State {
    /// What stops an action with these scopes, if anything: kills before the others, the widest first.
    #[must_use]
    pub fn stop(&self, scopes: &[KillScope]) -> Option<Stop> {
        let all = &self.overrides.all;
        // A killed execution is over, whatever was lifted since.
        let over = || {
            let scope = self.killed_execution(scopes)?;
            Some(Stop { scope, mode: OverrideMode::Kill })
        };
        if all.is_empty() {
            return over();
        }
        let mut began = None;
        let wide = [KillScope::Everything, KillScope::Workspace];
        let tripped = wide.iter().chain(scopes).filter_map(|scope| {
            let it = all.get(scope)?;
            // Looked up once, and only where something is frozen. A route is frozen against its change, by
            // whatever runs already too; so is what the constitution governs.
            let spares = it.mode == OverrideMode::Freeze && !matches!(scope, KillScope::Alias(_));
            let spared = spares && {
                let began = *began.get_or_insert_with(|| self.began(scopes));
                began.is_some_and(|began| began < it.index)
            };
            let stops = scope.stops(it.mode, scopes) && !spared;
            stops.then(|| Stop { scope: scope.clone(), mode: it.mode })
        });
        match tripped.min_by_key(|stop| core::cmp::Reverse(stop.mode)) {
            Some(stop) if stop.mode == OverrideMode::Kill => Some(stop),
            softer => over().or(softer),
        }
    }

    /// Whether anything is stopped at all.
    pub(crate) fn may_stop(&self) -> bool {
        !self.overrides.all.is_empty() || self.executions.killed > 0
    }

    /// Tripped scopes, in the order of their texts.
    pub fn overrides(&self) -> impl Iterator<Item = (&KillScope, &KillState)> {
        self.overrides.all.iter()
    }

    /// How many scopes are tripped.
    #[must_use]
    pub fn override_count(&self) -> usize {
        self.overrides.all.len()
    }

    /// One tripped scope.
    #[must_use]
    pub fn override_of(&self, scope: &KillScope) -> Option<&KillState> {
        self.overrides.all.get(scope)
    }

    /// Roles that nobody has at the moment.
    pub fn revoked_roles(&self) -> impl Iterator<Item = &str> {
        let from = KillScope::Role(String::new());
        let roles = self.overrides.all.range(from..);
        roles.map_while(|(scope, _)| match scope {
            KillScope::Role(role) => Some(role.as_str()),
            _ => None,
        })
    }

    /// A role of `roles` that is revoked, if any.
    pub(crate) fn revoked_role(&self, roles: &BTreeSet<String>) -> Option<&str> {
        self.revoked_roles().find(|role| roles.contains(*role))
    }

    /// Whether a role is revoked.
    pub(crate) fn is_role_revoked(&self, role: &str) -> bool {
        self.revoked_roles().any(|it| it == role)
    }

    /// The caller without what nobody has at the moment.
    pub(crate) fn without_revoked<'a>(&self, who: &'a Who) -> Cow<'a, Who> {
        if self.revoked_role(&who.roles).is_none() {
            return Cow::Borrowed(who);
        }
        let mut who = who.clone();
        who.roles.retain(|role| !self.is_role_revoked(role));
        Cow::Owned(who)
    }

    /// The reason for which the permit of a decision is withdrawn, as far as an override is it that
    /// the log knows.
    #[must_use]
    pub fn revoked_by(&self, scopes: &[KillScope], index: u64) -> Option<Reason> {
        let now = self.stop(scopes).filter(|stop| stop.mode.ends_permits());
        let past = || {
            let past = scopes.iter().filter_map(|scope| {
                self.overrides.past.get(scope).map(|(at, mode)| (*at, scope.reason(*mode)))
            });
            past.filter(|(at, _)| *at > index).max()
        };
        let wide = || {
            let since = self.trips.all.range(index.saturating_add(1)..).map(|(_, trip)| trip);
            let ended = |it: &&TripRecord| {
                it.source.is_some() && it.scope.is_wide() && it.mode.ends_permits()
            };
            since.filter(ended).map(|trip| trip.scope.reason(trip.mode)).next()
        };
        match (now, past()) {
            (Some(stop), _) => Some(stop.reason()),
            (None, Some((_, reason))) => Some(reason),
            (None, None) => wide(),
        }
    }

    /// Whether the permit of the decision at `index` was withdrawn by a trip after it, lifted or not.
    pub(crate) fn was_stopped(&self, scopes: &[KillScope], index: u64) -> bool {
        let Overrides { all, past, floor, .. } = &self.overrides;
        let by = |scope: &KillScope| {
            let now = all.get(scope).filter(|it| {
                it.mode.ends_permits() && it.index > index && scope.stops(it.mode, scopes)
            });
            now.is_some() || past.get(scope).is_some_and(|(at, _)| *at > index)
        };
        *floor > index || scopes.iter().any(by)
    }

    /// Whether somebody may act beside decisions: a kill of a person stops also what rests on permits
    /// that the person has.
    pub(crate) fn may_act(&self, by: Option<&ActorRef>) -> Result<(), Rejection> {
        let actor: Vec<KillScope> = by.cloned().map(KillScope::Actor).into_iter().collect();
        match self.stop(&actor) {
            Some(stop) if stop.mode != OverrideMode::Freeze => Err(stop.rejection()),
            _ => Ok(()),
        }
    }

    /// INVARIANT: no permit is handed out or consumed while a scope of it is killed or disabled. `step`
    /// refuses it; a log that says so is not ours.
    pub(crate) fn not_stopped(&self, scopes: &[KillScope]) -> Result<(), &'static str> {
        match self.stop(scopes) {
            Some(stop) if stop.mode.ends_permits() => Err("a kill switch is tripped"),
            _ => Ok(()),
        }
    }

    /// Takes an open permit out, wherever it is found by.
    pub(crate) fn take_permit(&mut self, decision: DecisionId) -> Option<OpenPermit> {
        let open = self.permits.remove(&decision)?;
        self.overrides.covered.leave_permit(decision, &open.scopes);
        Some(open)
    }

    /// A trip ends the permits that are open: none of them can be consumed after a lift. What was
    /// consumed can still be reported, but no attempt can fetch it again.
    pub(crate) fn apply_trip(&mut self, kill: &KillEvent, index: u64) -> Result<(), &'static str> {
        let since = self.time;
        let (mode, source) = (kill.mode, kill.source);
        let fits = kill.scope.is_wide()
            || source == KillSource::Manifest
            || self.overrides.all.contains_key(&kill.scope)
            || self.scoped() < self.bounds.overrides_max;
        if !kill.scope.takes(mode) || !fits {
            return Err("it stops a scope in a way it does not have, or one more than can be kept");
        }
        let state = KillState { mode, since, index, source, lift: None };
        // What a step of its own has ended is over for good: there is nothing to lift, and no place
        // among those is taken that people stop.
        if source != KillSource::Manifest {
            self.overrides.all.insert(kill.scope.clone(), state);
        }
        let with = self.stopped_with(&kill.scope, mode);
        let mut reached = Reached { barred: self.barred(&with, mode), ..Reached::default() };
        if mode == OverrideMode::Kill {
            let ended = self.ended_by(&kill.scope);
            reached.executions = self.kill_executions(ended, source);
        }
        if mode.ends_permits() {
            if source != KillSource::Manifest {
                self.overrides.past.remove(&kill.scope);
            }
            if kill.scope.is_wide() {
                self.last_override = Some(index);
                self.overrides.floor = index;
            }
            reached.permits = self.end_open(self.permits_under(&with, mode));
            for scope in &with {
                self.forget_nonces(scope, mode);
            }
        }
        self.remember_trip(kill, index, &reached);
        Ok(())
    }

    /// How many were open.
    fn end_open(&mut self, decisions: Vec<DecisionId>) -> u64 {
        let mut ended = 0_u64;
        for decision in decisions {
            let Some(open) = self.take_permit(decision) else { continue };
            self.consumed_ends.remove(&(open.permit.expires, decision));
            if open.consumed_by.is_none() {
                self.timers.remove(&(open.permit.expires, Timer::Permit(decision)));
                self.revoked.set(open.index);
                self.counters.revoked = self.counters.revoked.saturating_add(1);
                ended = ended.saturating_add(1);
            }
        }
        ended
    }

    pub(crate) fn apply_lift_asked(
        &mut self,
        kill: &KillEvent,
        index: u64,
    ) -> Result<(), &'static str> {
        let by = kill.by.clone().ok_or("a lift without a person")?;
        let state = self.overrides.all.get_mut(&kill.scope);
        let state = state.ok_or("it lifts a kill switch that is not tripped")?;
        state.lift = Some((by, kill.not_before));
        let kills = state.mode == OverrideMode::Kill;
        self.mark_override(&kill.scope, kills, index);
        Ok(())
    }

    pub(crate) fn apply_lifted(
        &mut self,
        kill: &KillEvent,
        index: u64,
    ) -> Result<(), &'static str> {
        let state = self.overrides.all.remove(&kill.scope);
        let state = state.ok_or("it lifts a kill switch that is not tripped")?;
        self.lift_trips(&kill.scope, index);
        self.mark_override(&kill.scope, state.mode == OverrideMode::Kill, index);
        if state.mode.ends_permits() && !kill.scope.is_wide() {
            let past = &mut self.overrides.past;
            past.insert(kill.scope.clone(), (state.index, state.mode));
            while past.len() > PAST_MAX {
                let Some((oldest, (at, _))) = past.iter().min_by_key(|(_, (at, _))| *at) else {
                    break;
                };
                let (oldest, at) = (oldest.clone(), *at);
                past.remove(&oldest);
                self.overrides.floor = self.overrides.floor.max(at);
            }
        }
        Ok(())
    }

    /// The widest kills are what the armed certificate speaks of.
    fn mark_override(&mut self, scope: &KillScope, kills: bool, index: u64) {
        if scope.is_wide() && kills {
            self.last_override = Some(index);
            self.overrides.floor = index;
        }
    }

    /// Tripped scopes that are bounded in number.
    fn scoped(&self) -> usize {
        self.overrides.all.keys().filter(|scope| !scope.is_wide()).count()
    }
}

pub(crate) fn may_override(state: &State, who: &Who) -> Result<(), Rejection> {
    if !who.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    has_role(&state.without_revoked(who), &OVERRIDE_ROLES)
}

pub(crate) fn trip(state: &State, command: &Trip) -> Result<Plan, Rejection> {
    match (command.source, &command.who) {
        (KillSource::Api, Some(who)) => may_override(state, who)?,
        (KillSource::Api, None) => return Err(Rejection::NotHuman),
        _ => {}
    }
    if !command.scope.takes(command.mode) {
        return Err(Rejection::OverrideInvalid(
            "this scope is not stopped in this way; kill it, or revoke it where it is a role",
        ));
    }
    if matches!(&command.scope, KillScope::Role(role) if role == "admin") {
        return Err(Rejection::OverrideInvalid(
            "nobody could lift it: the role admin is not revoked as a whole; revoke keys instead",
        ));
    }
    tripping(state, command, command.who.as_ref().map(|who| who.actor.clone()))
}

/// The trip of a scope by whoever may: what is left to check is its place and what stands already.
pub(crate) fn tripping(
    state: &State,
    command: &Trip,
    by: Option<ActorRef>,
) -> Result<Plan, Rejection> {
    let now = state.overrides.all.get(&command.scope);
    if now.is_none() && !command.scope.is_wide() && state.scoped() >= state.bounds.overrides_max {
        return Err(Rejection::OverridesFull);
    }
    // What is stopped harder stays so.
    let mode = now.map_or(command.mode, |now| now.mode.max(command.mode));
    // Tripping again while somebody asks to lift is an objection: the request starts anew.
    if now.is_some_and(|now| now.lift.is_none() && now.mode == mode) {
        return Ok(Plan::Nothing);
    }
    append(Event::KillTripped(KillEvent {
        scope: command.scope.clone(),
        mode,
        source: command.source,
        by,
        not_before: None,
        waiting: command.waiting,
    }))
}

/// Lifting takes two different people, and never the one it stops; in development mode one, at once; in
/// solo mode the one there is, after a delay.
pub(crate) fn lift(state: &State, command: &Lift, now: TimeMs) -> Result<Plan, Rejection> {
    may_override(state, &command.who)?;
    let kill = state.overrides.all.get(&command.scope).ok_or(Rejection::NotTripped)?;
    if matches!(&command.scope, KillScope::Actor(actor) if *actor == command.who.actor) {
        return Err(Rejection::OwnOverride);
    }
    let event = |not_before| KillEvent {
        scope: command.scope.clone(),
        mode: kill.mode,
        source: KillSource::Api,
        by: Some(command.who.actor.clone()),
        not_before,
        waiting: 0,
    };
    if state.dev {
        return append(Event::KillLifted(event(None)));
    }
    // A request counts as long as who made it may still make one.
    // Who is known no more stands no more, but where callers come without keys: there nobody is known.
    let keyless = command.who.key.is_none();
    let known = |by: &ActorRef| {
        state.keys.all().any(|key| key.principal.actor == *by)
            || state.sessions.people.contains_key(by)
    };
    let standing =
        |by: &ActorRef| state.holds_any(by, &OVERRIDE_ROLES, now) || (keyless && !known(by));
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
