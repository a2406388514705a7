//! The compiled-in constitution: what governs the governance itself, whatever a bundle says.
//! Bundles may add rules to these surfaces and so tighten them; they cannot loosen them, and on
//! `policy.*` they cannot close the way to another bundle.

use crate::command::Who;
use crate::exceptions::{self, EXCEPTION};
use crate::state::State;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use placet_types::Digest;
use placet_types::event::{ActorRef, Arming, CONSTITUTION_RULE};
use placet_types::ids::TimeMs;
use placet_types::policy::{ApprovalSpec, Effect, Hit, Layer, RuleEffect, Verdict};

/// Version of the constitution, recorded at genesis.
pub const CONSTITUTION: u32 = 2;

/// The role that proposes and approves what the constitution governs.
pub(crate) const ADMIN: &str = "admin";
/// Roles of those who may do alone what cannot wait.
pub(crate) const URGENT: [&str; 2] = ["admin", "operator"];
/// How many demands of a bundle count on `policy.*`, and of how many roles each: a decision has to fit
/// its entry, whatever the bundle says.
const DEMANDS_MAX: usize = 8;
const ROLES_MAX: usize = 4;

/// Surface on which bundles are published.
pub const PUBLISH: (&str, &str) = ("policy.publish", "publish");
/// Surface and action of a rollback that two people decide.
pub const ROLLBACK: (&str, &str) = ("policy.rollback", "rollback");
/// Surface and action of a rollback that one person decides.
pub const EMERGENCY: (&str, &str) = ("policy.rollback", "emergency");

/// The surfaces of the constitution on which something is done.
pub(crate) const GOVERNED: [&str; 11] = [
    "key.create",
    "key.issuer",
    "key.revoke_signer",
    "key.rotate",
    "override.erase",
    EXCEPTION,
    "override.release",
    "policy.author",
    PUBLISH.0,
    ROLLBACK.0,
    "policy.shadow",
];

/// How far a bundle's rules reach on a surface of the constitution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Not governed by the constitution.
    Free,
    /// All its rules count beside the constitution's: a bad one is repaired by another bundle.
    Tightened,
    /// Only its demands for approval count, and only those that people of today can meet: this is
    /// the way to another bundle, and no bundle may close it.
    Publishing,
    /// None of its rules counts: this is the way back.
    Recovery,
}

impl Reach {
    /// The reach of a surface.
    #[must_use]
    pub fn of(surface: &str) -> Self {
        if surface == ROLLBACK.0 {
            Self::Recovery
        } else if surface.starts_with("policy.") {
            Self::Publishing
        } else if ["override.", "role.", "key."].iter().any(|it| surface.starts_with(it)) {
            Self::Tightened
        } else {
            Self::Free
        }
    }

    /// Whether the constitution governs it.
    #[must_use]
    pub fn is_governed(self) -> bool {
        self != Self::Free
    }

    /// Whether a bundle could lock out its own replacement there.
    pub(crate) fn is_sovereign(self) -> bool {
        matches!(self, Self::Publishing | Self::Recovery)
    }
}

/// Whether the constitution governs this surface.
#[must_use]
pub fn is_governed(surface: &str) -> bool {
    Reach::of(surface).is_governed()
}

/// How a bundle that is permitted under this surface and action comes into force.
#[must_use]
pub fn arming_of(surface: &str, action: &str) -> Option<Arming> {
    [(PUBLISH, Arming::Published), (ROLLBACK, Arming::RolledBack), (EMERGENCY, Arming::Emergency)]
        .into_iter()
        .find(|(known, _)| *known == (surface, action))
        .map(|(_, how)| how)
}

/// What the constitution says: only an admin proposes, and another admin approves. While the
/// workspace has a single admin (its bootstrap), in solo and in development mode, that one suffices:
/// this keeps a path open on which nobody can be locked out. Going back to the bundle before is
/// urgent and takes one admin or operator, unless a review of theirs is overdue. An agent never
/// writes policy or its own limits, whatever its key says.
pub(crate) fn hit(state: &State, who: &Who, place: (&str, &str), now: TimeMs) -> Hit {
    if place.0 == EXCEPTION {
        return exceptions::hit(state, who, place.1, now);
    }
    if place == EMERGENCY {
        return if !who.actor.is_human() || !URGENT.iter().any(|role| who.roles.contains(*role)) {
            rule("constitution.operator-only", Effect::Deny, None)
        } else if state.has_overdue_review(&who.actor, now) {
            rule("constitution.review-overdue", Effect::Deny, None)
        } else {
            rule("constitution.emergency-rollback", Effect::Allow, None)
        };
    }
    if !who.actor.is_human() || !who.roles.contains(ADMIN) {
        rule("constitution.admin-only", Effect::Deny, None)
    } else if state.dev || state.solo || state.people_with(ADMIN) < 2 {
        rule("constitution.single-admin", Effect::Allow, None)
    } else {
        two_admins()
    }
}

/// What the constitution says of an action that it held: the demand does not change while it waits.
pub(crate) fn two_admins() -> Hit {
    let spec = ApprovalSpec {
        roles: BTreeMap::from([(String::from(ADMIN), 1)]),
        ..ApprovalSpec::default()
    };
    rule("constitution.two-admins", Effect::RequireApproval, Some(spec))
}

/// The verdict on a governed surface: what of the bundle's counts there, with the constitution's
/// rule added. Its grants do not count, and it works without any bundle.
pub(crate) fn verdict<'a>(
    state: &State,
    reach: Reach,
    given: &Verdict,
    proposers: impl Iterator<Item = &'a ActorRef> + Clone,
    hit: Hit,
) -> Verdict {
    let mut verdict = given.clone();
    verdict.policy.get_or_insert(Digest([0; 32]));
    verdict.surface_known = true;
    match reach {
        Reach::Free | Reach::Tightened => {}
        Reach::Recovery => verdict.hits.clear(),
        Reach::Publishing => {
            verdict.hits = given
                .hits
                .iter()
                .filter_map(|hit| demand(state, hit, proposers.clone()))
                .take(DEMANDS_MAX)
                .collect();
        }
    }
    let place = (hit.rule.layer, hit.rule.id.clone());
    let before = |other: &Hit| (other.rule.layer, &other.rule.id) <= (place.0, &place.1);
    verdict.hits.insert(verdict.hits.partition_point(before), hit);
    verdict
}

/// A demand for approval as it counts where a bundle could close the way to the next one: people
/// of today who did not propose can meet it, and it neither constrains nor hurries nor runs out
/// before they can.
fn demand<'a>(
    state: &State,
    hit: &Hit,
    proposers: impl Iterator<Item = &'a ActorRef> + Clone,
) -> Option<Hit> {
    let rule = &hit.rule;
    if rule.effect != Effect::RequireApproval
        || rule.advice
        || rule.limit.is_some()
        || rule.after.is_some()
        || rule.id.starts_with(CONSTITUTION_RULE)
    {
        return None;
    }
    let roles = rule.approval.clone().unwrap_or_default().roles;
    let met = roles.len() <= ROLES_MAX
        && roles.iter().all(|(role, count)| {
            let people = state.people(role);
            let others = people.iter().filter(|who| !proposers.clone().any(|by| by == **who));
            others.count() as u64 >= u64::from(*count)
        });
    met.then(|| {
        let rule = RuleEffect {
            constraints: None,
            approval: Some(ApprovalSpec { roles, ..ApprovalSpec::default() }),
            ..RuleEffect::clone(rule)
        };
        Hit { error: hit.error, force: hit.force, ..Hit::of(Arc::new(rule)) }
    })
}

/// A rule of the constitution that grants or refuses.
pub(crate) fn says(id: &str, effect: Effect) -> Hit {
    rule(id, effect, None)
}

fn rule(id: &str, effect: Effect, approval: Option<ApprovalSpec>) -> Hit {
    Hit::of(Arc::new(RuleEffect { approval, ..RuleEffect::new(id, Layer::Rules, effect) }))
}
