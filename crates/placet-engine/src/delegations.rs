//! Delegation of the right to approve: one person lets another approve in their place, on some surfaces and
//! for a while. Owns its bounds; refuses to know approvals.

use crate::codec::{Code, Reader, Writer};
use crate::command::{Delegate, Plan, Who};
use crate::rejection::Rejection;
use crate::state::{Bounds, State, Timer};
use crate::step::append;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use placet_types::event::{ActorRef, DelegationEnded, DelegationGranted, Event};
use placet_types::ids::{DelegationId, TimeMs};
use placet_types::surface::SurfacePattern;

/// Longest delegation: thirty days.
pub const DELEGATION_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// Most patterns of surfaces, and most roles, of a delegation.
pub const DELEGATION_LIST_MAX: usize = 16;

/// A delegation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// Its id.
    pub delegation: DelegationId,
    /// Whose roles.
    pub by: ActorRef,
    /// Who may approve with them.
    pub to: ActorRef,
    /// The roles.
    pub roles: BTreeSet<String>,
    /// On which surfaces; on all where there are none.
    pub surfaces: Vec<SurfacePattern>,
    /// Since when.
    pub since: TimeMs,
    /// Until when.
    pub until: TimeMs,
    /// Where it stands.
    pub standing: DelegationStanding,
}

/// Where a delegation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelegationStanding {
    /// It counts, while its time runs.
    InForce,
    /// Its time was up: what was approved under it stands.
    RunOut,
    /// Somebody ended it: what was approved under it and is not released counts no more.
    Revoked,
}

impl DelegationStanding {
    /// `in_force`, `run_out`, `revoked`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::RunOut => "run_out",
            Self::Revoked => "revoked",
        }
    }
}

impl Delegation {
    /// Whether it reaches a surface.
    #[must_use]
    pub fn covers(&self, surface: &str) -> bool {
        self.surfaces.is_empty() || self.surfaces.iter().any(|pattern| pattern.matches(surface))
    }

    /// Whether it counts at `now`.
    #[must_use]
    pub fn is_in_force(&self, now: TimeMs) -> bool {
        self.standing == DelegationStanding::InForce && now < self.until
    }
}

/// All that are remembered, by id and thus by age.
#[derive(Debug, Default)]
pub(crate) struct Delegations {
    all: BTreeMap<DelegationId, Delegation>,
    /// Those in force, by who may approve with them. Follows from `all`.
    to: BTreeMap<ActorRef, BTreeSet<DelegationId>>,
}

impl Delegations {
    /// What others have delegated to a person and counts at `now`.
    pub(crate) fn to<'a>(
        &'a self,
        actor: &ActorRef,
        now: TimeMs,
    ) -> impl Iterator<Item = &'a Delegation> {
        let ids = self.to.get(actor).into_iter().flatten();
        ids.filter_map(|id| self.all.get(id)).filter(move |it| it.is_in_force(now))
    }

    /// Whether what was approved under it still counts. One that is forgotten does not.
    pub(crate) fn stands(&self, id: DelegationId) -> bool {
        self.all.get(&id).is_some_and(|it| it.standing != DelegationStanding::Revoked)
    }

    fn insert(&mut self, delegation: Delegation) {
        if delegation.standing == DelegationStanding::InForce {
            let ids = self.to.entry(delegation.to.clone()).or_default();
            ids.insert(delegation.delegation);
        }
        self.all.insert(delegation.delegation, delegation);
    }

    fn end(&mut self, id: DelegationId, standing: DelegationStanding) -> Option<TimeMs> {
        let delegation = self.all.get_mut(&id)?;
        if delegation.standing != DelegationStanding::InForce {
            return None;
        }
        delegation.standing = standing;
        if let Some(ids) = self.to.get_mut(&delegation.to) {
            ids.remove(&id);
            if ids.is_empty() {
                self.to.remove(&delegation.to);
            }
        }
        Some(delegation.until)
    }

    /// What is forgotten for another one that `by` gives; nothing where there is room, an error where
    /// there is none and everything counts. First those that count no more, then whose time was up, unless a
    /// vote stands under them that is still needed (`resting`). Whoever fills their own share forgets their own,
    /// and nobody else's.
    fn forgets(
        &self,
        by: &ActorRef,
        bounds: &Bounds,
        resting: impl FnOnce() -> BTreeSet<DelegationId>,
    ) -> Result<Option<DelegationId>, Rejection> {
        let own = |it: &&Delegation| it.by == *by;
        let each = self.all.values().filter(own).count() >= bounds.delegations_each;
        if !each && self.all.len() < bounds.delegations_max {
            return Ok(None);
        }
        let of = |standing: DelegationStanding| {
            let of = self.all.values().filter(move |it| it.standing == standing);
            of.filter(|it| !each || own(it)).map(|it| it.delegation)
        };
        let found = of(DelegationStanding::Revoked).next().or_else(|| {
            let resting = resting();
            of(DelegationStanding::RunOut).find(|id| !resting.contains(id))
        });
        found.map(Some).ok_or(Rejection::DelegationsFull)
    }
}

/// Anybody may delegate the roles they hold to another person of the workspace. What was delegated to them
/// they hold not, and cannot pass on.
pub(crate) fn delegate(state: &State, command: &Delegate, now: TimeMs) -> Result<Plan, Rejection> {
    let Delegate { delegation, by, to, roles, surfaces, until } = command;
    if !by.actor.is_human() || !to.is_human() {
        return Err(Rejection::NotHuman);
    }
    if *to == by.actor {
        return Err(Rejection::OwnDelegation);
    }
    if *until <= now || until.since(now) > DELEGATION_MS_MAX {
        return Err(Rejection::DelegationEnd(now.plus(DELEGATION_MS_MAX)));
    }
    let lacking: BTreeMap<String, u32> =
        roles.iter().filter(|role| !by.roles.contains(*role)).map(|it| (it.clone(), 1)).collect();
    if !lacking.is_empty() || roles.is_empty() {
        return Err(Rejection::RoleMissing(lacking));
    }
    if !state.dev && state.standing(to, now).next().is_none() {
        return Err(Rejection::NotFound("person"));
    }
    state.delegations.forgets(&by.actor, &state.bounds, || state.resting_on())?;
    append(Event::DelegationGranted(DelegationGranted {
        delegation: *delegation,
        by: by.actor.clone(),
        key: by.key,
        to: to.clone(),
        roles: roles.clone(),
        surfaces: surfaces.clone(),
        until: *until,
    }))
}

/// Whoever gave it or has it may end it, and so may an admin. Ending it again changes nothing.
pub(crate) fn end(state: &State, id: DelegationId, by: &Who) -> Result<Plan, Rejection> {
    if !by.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    let delegation = state.delegations.all.get(&id).ok_or(Rejection::NotFound("delegation"))?;
    let party = [&delegation.by, &delegation.to].contains(&&by.actor);
    if !party && !by.roles.contains("admin") {
        // Whose it is, is nobody else's business.
        return Err(Rejection::NotFound("delegation"));
    }
    if delegation.standing != DelegationStanding::InForce {
        return Ok(Plan::Nothing);
    }
    let by = Some(by.actor.clone());
    append(Event::DelegationEnded(DelegationEnded { delegation: id, by }))
}

impl State {
    /// Delegations that are remembered, oldest first.
    pub fn delegations(&self) -> impl Iterator<Item = &Delegation> {
        self.delegations.all.values()
    }

    /// Roles in which others let `actor` approve at `now`, as far as they hold them.
    #[must_use]
    pub fn delegated_roles(&self, actor: &ActorRef, now: TimeMs) -> BTreeSet<String> {
        let mut roles = BTreeSet::new();
        for delegation in self.delegations.to(actor, now) {
            let held = |role: &&String| self.holds_any(&delegation.by, &[role], now);
            roles.extend(delegation.roles.iter().filter(held).cloned());
        }
        roles
    }

    /// Delegations under which votes stand on actions that are not released yet.
    fn resting_on(&self) -> BTreeSet<DelegationId> {
        let open = self.held.values().filter(|held| held.state.is_open());
        let votes = open.flat_map(|held| &held.votes);
        votes.flat_map(|vote| vote.through.iter().map(|it| it.delegation)).collect()
    }

    pub(crate) fn apply_granted(&mut self, event: &DelegationGranted) -> Result<(), &'static str> {
        if event.by == event.to || !event.by.is_human() || !event.to.is_human() {
            return Err("it delegates to nobody else, or to no person");
        }
        if self.delegations.all.contains_key(&event.delegation) {
            return Err("its id is taken");
        }
        // A log that was written under other bounds is followed all the same.
        let oldest = self.delegations.forgets(&event.by, &self.bounds, || self.resting_on());
        if let Ok(Some(oldest)) = oldest {
            self.delegations.all.remove(&oldest);
        }
        self.timers.insert((event.until, Timer::Delegation(event.delegation)));
        self.delegations.insert(Delegation {
            delegation: event.delegation,
            by: event.by.clone(),
            to: event.to.clone(),
            roles: event.roles.clone(),
            surfaces: event.surfaces.clone(),
            since: self.time,
            until: event.until,
            standing: DelegationStanding::InForce,
        });
        Ok(())
    }

    pub(crate) fn apply_ended(&mut self, event: &DelegationEnded) -> Result<(), &'static str> {
        let standing = match event.by {
            Some(_) => DelegationStanding::Revoked,
            None => DelegationStanding::RunOut,
        };
        let until = self.delegations.end(event.delegation, standing);
        let until = until.ok_or("it ends a delegation that is not in force")?;
        self.timers.remove(&(until, Timer::Delegation(event.delegation)));
        Ok(())
    }
}

impl Code for Delegations {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.all.values(), Writer::put);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let all: Vec<Delegation> = r.list(Reader::get)?;
        let rises = |pair: &[Delegation]| matches!(pair, [a, b] if a.delegation < b.delegation);
        if !all.windows(2).all(rises) {
            return None;
        }
        let mut delegations = Self::default();
        for delegation in all {
            delegations.insert(delegation);
        }
        Some(delegations)
    }
}

impl Code for Delegation {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { delegation, by, to, roles, surfaces, since, until, standing } = self;
        w.put(delegation);
        w.put(by);
        w.put(to);
        w.put(roles);
        w.list(surfaces.iter(), |w, pattern| w.put(&String::from(pattern.as_str())));
        w.put(since);
        w.put(until);
        let kind: u8 = match standing {
            DelegationStanding::InForce => 0,
            DelegationStanding::RunOut => 1,
            DelegationStanding::Revoked => 2,
        };
        w.put(&kind);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            delegation: r.get()?,
            by: r.get()?,
            to: r.get()?,
            roles: r.get()?,
            surfaces: r.list(|r| SurfacePattern::parse(&r.get::<String>()?))?,
            since: r.get()?,
            until: r.get()?,
            standing: match r.get::<u8>()? {
                0 => DelegationStanding::InForce,
                1 => DelegationStanding::RunOut,
                2 => DelegationStanding::Revoked,
                _ => return None,
            },
        })
    }
}
