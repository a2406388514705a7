//! Votes: which roles a person may fill, in whose right, and who is still missing. Owns that nobody counts
//! twice; refuses to know how a vote comes in.

use crate::demand::Demand;
use crate::state::{Held, HeldState, State};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::event::{
    ActorRef, ApprovalReopened, ApprovalVoted, EscalationStep, StandsIn, Through,
};
use placet_types::ids::TimeMs;

/// Somebody's approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Who.
    pub by: ActorRef,
    /// The demanded roles this person fills.
    pub roles: BTreeSet<String>,
    /// Where this person stands in for others.
    pub stands_in: Option<StandsIn>,
    /// Roles among these that somebody else delegated.
    pub through: Vec<Through>,
}

/// In whose right a person fills a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Own,
    Delegated(Through),
}

/// What a vote would fill.
#[derive(Debug, Default)]
pub(crate) struct Fills {
    pub(crate) roles: BTreeSet<String>,
    pub(crate) stands_in: Option<StandsIn>,
    pub(crate) through: Vec<Through>,
}

impl Fills {
    pub(crate) fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.stands_in.is_none()
    }
}

impl Cast {
    /// The roles whose right is used: those it fills, and the one in which it stands in.
    fn used(&self) -> impl Iterator<Item = &String> {
        self.roles.iter().chain(self.stands_in.as_ref().map(|it| &it.role))
    }

    /// Whose right to `role` it uses.
    fn behind(&self, role: &str) -> &ActorRef {
        let through = self.through.iter().find(|through| through.role == role);
        through.map_or(&self.by, |through| &through.of)
    }
}

impl Held {
    /// The steps of its escalation that are in effect.
    #[must_use]
    pub fn steps_in_effect(&self) -> &[EscalationStep] {
        let count = usize::try_from(self.escalated).unwrap_or(usize::MAX);
        self.escalate.get(..count).unwrap_or(&self.escalate)
    }

    /// Roles whose holders may decide it now.
    pub fn deciding_roles(&self) -> impl Iterator<Item = &String> {
        self.roles.keys().chain(self.steps_in_effect().iter().flat_map(|step| step.roles.keys()))
    }

    /// How many different people are still missing per role.
    #[must_use]
    pub fn missing(&self) -> BTreeMap<String, u32> {
        missing(self, &self.votes)
    }

    /// The vote of a person.
    #[must_use]
    pub fn vote_of(&self, actor: &ActorRef) -> Option<&Cast> {
        self.votes.iter().find(|cast| cast.by == *actor)
    }

    /// Adds a vote, or what a person fills besides after it was re-opened or escalated.
    pub(crate) fn cast(&mut self, event: &ApprovalVoted) {
        let fresh = Cast {
            by: event.by.clone(),
            roles: event.roles.clone(),
            stands_in: event.stands_in.clone(),
            through: event.through.clone(),
        };
        match self.votes.iter_mut().find(|cast| cast.by == event.by) {
            None => self.votes.push(fresh),
            Some(cast) => {
                cast.roles.extend(fresh.roles);
                cast.through.extend(fresh.through);
                cast.stands_in = cast.stands_in.take().or(fresh.stands_in);
            }
        }
    }

    /// Puts another demand in the place of the one before. Its expiry stays.
    pub(crate) fn reopen(&mut self, event: &ApprovalReopened, now: TimeMs) {
        let steps = core::mem::replace(&mut self.escalate, event.escalate.clone());
        self.escalated = 0;
        self.demand = Arc::new(Demand {
            roles: event.roles.clone(),
            requirement: event.requirement,
            rules: event.rules.clone(),
            constraints: event.constraints.clone(),
        });
        self.remind = event.remind;
        self.reopened = self.reopened.saturating_add(1);
        if event.votes_dropped {
            self.votes.clear();
        }
        for cast in &mut self.votes {
            // Where the steps have moved, whoever stood in does so in the same one.
            cast.stands_in = cast.stands_in.take().and_then(|it| {
                let old = steps.get(usize::try_from(it.step).ok()?)?;
                let same = |new: &EscalationStep| new.at == old.at && new.roles == old.roles;
                let step = u32::try_from(self.escalate.iter().position(same)?).ok()?;
                Some(StandsIn { step, ..it })
            });
        }
        self.votes.retain(|cast| !cast.roles.is_empty() || cast.stands_in.is_some());
        self.state = match (&self.state, event.complete) {
            (HeldState::Approved(until), true) => HeldState::Approved(*until),
            (_, true) => HeldState::Approved(now.plus(self.use_within_ms)),
            (_, false) => HeldState::Pending,
        };
    }
}

impl State {
    /// How many different people are still missing per role, counting only those votes whose voters, and
    /// those in whose right they voted, hold their roles at the time of the last entry.
    #[must_use]
    pub fn missing(&self, held: &Held) -> BTreeMap<String, u32> {
        self.missing_at(held, self.time)
    }

    /// The same at `now`.
    #[must_use]
    pub fn missing_at(&self, held: &Held, now: TimeMs) -> BTreeMap<String, u32> {
        missing(held, &self.counted(held, now))
    }

    /// An approval as people are shown it: without the votes that do not count any more.
    #[must_use]
    pub fn shown(&self, held: &Held) -> Held {
        let mut shown = held.clone();
        if held.state.is_open() {
            shown.votes = self.counted(held, self.time);
            shown.votes.retain(|cast| cast.used().next().is_some());
        }
        shown
    }

    fn counted(&self, held: &Held, now: TimeMs) -> Vec<Cast> {
        let mut standing = held.votes.clone();
        for cast in &mut standing {
            let stands = |role: &String| match cast.through.iter().find(|it| it.role == *role) {
                None => self.holds_any(&cast.by, &[role], now),
                Some(through) => {
                    self.delegations.stands(through.delegation)
                        && self.holds_any(&through.of, &[role], now)
                }
            };
            let lost: Vec<String> = cast.used().filter(|role| !stands(role)).cloned().collect();
            cast.roles.retain(|role| !lost.contains(role));
            cast.stands_in = cast.stands_in.take().filter(|it| !lost.contains(&it.role));
        }
        standing
    }

    /// The rights of `actor` to decide `held`: to the roles that they hold, and those that others have delegated and not used
    /// themselves. With `against` it is a rejection, which takes nothing from anybody.
    pub(crate) fn rights(
        &self,
        held: &Held,
        actor: &ActorRef,
        holds: impl Fn(&str) -> bool,
        against: bool,
        now: TimeMs,
    ) -> BTreeMap<String, Right> {
        let used = |role: &str, of: &ActorRef| {
            let mut casts = held.votes.iter().filter(|cast| cast.used().any(|it| it == role));
            !against && casts.any(|cast| cast.behind(role) == of && cast.by != *actor)
        };
        let mut rights = BTreeMap::new();
        for role in held.deciding_roles() {
            if holds(role) && !used(role, actor) {
                rights.insert(role.clone(), Right::Own);
            }
        }
        // What the constitution governs nobody decides in the right of another.
        if held.reach.is_governed() {
            return rights;
        }
        for delegation in self.delegations.to(actor, now) {
            let covered =
                delegation.covers(&held.surface) && !held.proposers.contains(&delegation.by);
            if !covered {
                continue;
            }
            for role in held.deciding_roles().filter(|role| delegation.roles.contains(*role)) {
                if !rights.contains_key(role)
                    && self.holds_any(&delegation.by, &[role], now)
                    && !used(role, &delegation.by)
                {
                    let through = Through {
                        delegation: delegation.delegation,
                        of: delegation.by.clone(),
                        role: role.clone(),
                    };
                    rights.insert(role.clone(), Right::Delegated(through));
                }
            }
        }
        rights
    }

    /// What of `rights` a vote of `actor` adds: every demanded role, and one place in the first step in
    /// effect that wants it.
    pub(crate) fn fills(held: &Held, actor: &ActorRef, rights: &BTreeMap<String, Right>) -> Fills {
        let before = held.vote_of(actor);
        let has = |role: &String| before.is_some_and(|cast| cast.roles.contains(role));
        let roles: BTreeSet<String> =
            held.roles.keys().filter(|role| rights.contains_key(*role)).cloned().collect();
        let direct = |role: &String| roles.contains(role) || has(role);
        let stood = before.is_some_and(|cast| cast.stands_in.is_some());
        let stands_in =
            (0_u32..).zip(held.steps_in_effect()).filter(|_| !stood).find_map(|(at, step)| {
                // Whoever fills all of it already stands in for nobody.
                step.instead_of.iter().find(|role| !direct(role))?;
                let open = |role: &&String| rights.contains_key(*role);
                // The role of which most are missing, the first by name among equals.
                let role = step.roles.keys().filter(open).min_by_key(|role| {
                    let standing = held.votes.iter().filter_map(|cast| cast.stands_in.as_ref());
                    standing.filter(|it| it.step == at && it.role == **role).count()
                })?;
                Some(StandsIn { step: at, role: role.clone() })
            });
        let roles: BTreeSet<String> = roles.iter().filter(|role| !has(role)).cloned().collect();
        let mut through: Vec<Through> = Vec::new();
        for role in roles.iter().chain(stands_in.as_ref().map(|it| &it.role)) {
            if let Some(Right::Delegated(it)) = rights.get(role)
                && !through.contains(it)
            {
                through.push(it.clone());
            }
        }
        Fills { roles, stands_in, through }
    }
}

/// Per role: one place for each person who fills it, and one for each group of those who stand in for it
/// that makes up what its step asks. Nobody is counted for a role in both ways.
fn missing(held: &Held, votes: &[Cast]) -> BTreeMap<String, u32> {
    let mut missing = held.roles.clone();
    for (role, count) in &mut missing {
        let direct = votes.iter().filter(|cast| cast.roles.contains(role)).count();
        let groups =
            (0_u32..).zip(&held.escalate).filter(|(_, step)| step.instead_of.contains(role));
        let places: usize = groups.map(|(at, step)| places(at, step, role, votes)).sum();
        let filled = u32::try_from(direct.saturating_add(places)).unwrap_or(u32::MAX);
        *count = count.saturating_sub(filled);
    }
    missing.retain(|_, count| *count > 0);
    missing
}

fn places(at: u32, step: &EscalationStep, instead_of: &str, votes: &[Cast]) -> usize {
    let of = |role: &String| {
        let standing = votes.iter().filter(|cast| !cast.roles.contains(instead_of));
        let standing = standing.filter_map(|cast| cast.stands_in.as_ref());
        standing.filter(|it| it.step == at && it.role == *role).count()
    };
    let groups = step.roles.iter().map(|(role, count)| {
        usize::try_from(*count).ok().and_then(|count| of(role).checked_div(count)).unwrap_or(0)
    });
    groups.min().unwrap_or(0)
}
