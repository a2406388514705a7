//! A naive reading of the log beside the state: it knows the events and the contract alone, and
//! says which entry breaks it.

use super::runs::Runs;
use placet_engine::is_governed;
use placet_types::Digest;
use placet_types::event::{
    ActorRef, ApprovalVoted, DecisionEvent, DelegationGranted, Entry, EscalationStep, Event,
    KillScope, KillSource, OverrideMode, PermitIssued, Tag, Through,
};
use placet_types::ids::{ApprovalId, DecisionId, DelegationId, KeyId, TimeMs};
use placet_types::json::Object;
use placet_types::policy::Outcome;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(crate) struct Model {
    policy: Option<Digest>,
    keys: BTreeMap<KeyId, (ActorRef, BTreeSet<String>)>,
    bound: BTreeMap<Tag, (TimeMs, bool)>,
    windows: BTreeMap<Tag, Vec<TimeMs>>,
    holds: BTreeMap<ApprovalId, Hold>,
    permits: BTreeMap<DecisionId, PermitIssued>,
    delegations: BTreeMap<DelegationId, (DelegationGranted, bool)>,
    revoked_delegations: BTreeSet<DelegationId>,
    consumed: BTreeMap<DecisionId, u32>,
    revoked: BTreeSet<u64>,
    reported: BTreeSet<u64>,
    index_of: BTreeMap<DecisionId, u64>,
    decisions: BTreeMap<DecisionId, DecisionEvent>,
    /// Per scope: how it is stopped, who asked to lift, and the index of the trip.
    kill: BTreeMap<KillScope, (OverrideMode, Option<ActorRef>, u64)>,
    pub(crate) runs: Runs,
    pub(crate) outcomes: BTreeMap<Outcome, u64>,
    pub(crate) uses: u64,
    entries: u64,
}

struct Hold {
    decision: DecisionEvent,
    roles: BTreeMap<String, u32>,
    constraints: Object,
    steps: Vec<EscalationStep>,
    in_effect: usize,
    remind: Option<TimeMs>,
    votes: BTreeMap<ActorRef, Vote>,
    approved: Option<TimeMs>,
    open: bool,
}

/// What a person's votes came to.
#[derive(Default)]
struct Vote {
    roles: BTreeSet<String>,
    stood_in: Vec<(EscalationStep, String)>,
    through: Vec<Through>,
}

impl Vote {
    /// Whose right to `role` it uses, and by which delegation.
    fn behind<'a>(&'a self, by: &'a ActorRef, role: &str) -> (&'a ActorRef, Option<DelegationId>) {
        let through = self.through.iter().find(|through| through.role == role);
        through.map_or((by, None), |through| (&through.of, Some(through.delegation)))
    }
}

impl Hold {
    fn count(&mut self, vote: &ApprovalVoted) {
        let steps = &self.steps;
        let counted = self.votes.entry(vote.by.clone()).or_default();
        for role in &vote.roles {
            assert!(counted.roles.insert(role.clone()), "voted twice");
        }
        counted.through.extend(vote.through.iter().cloned());
        if let Some(stands_in) = &vote.stands_in {
            assert!((stands_in.step as usize) < self.in_effect, "stood in too early");
            assert!(counted.stood_in.is_empty(), "stood in twice");
            let step = &steps[stands_in.step as usize];
            assert!(step.roles.contains_key(&stands_in.role));
            counted.stood_in.push((step.clone(), stands_in.role.clone()));
        }
        assert!(!vote.roles.is_empty() || vote.stands_in.is_some(), "filled nothing");
    }
}

impl Model {
    pub(crate) fn open(&self) -> usize {
        self.holds.values().filter(|hold| hold.open).count()
    }

    /// Whether `tag` is bound to a decision at `now`.
    pub(crate) fn is_bound(&self, tag: &Tag, now: TimeMs) -> bool {
        self.bound.get(tag).is_some_and(|(until, bound)| *bound && *until > now)
    }

    /// Idempotency keys in their windows or out of them for less than a minute.
    pub(crate) fn keys_around(&self, now: TimeMs) -> usize {
        self.bound.values().filter(|(until, _)| until.plus(60_000) > now).count()
    }

    pub(crate) fn read(&mut self, entry: &Entry) {
        let (now, index) = (entry.time, self.entries);
        self.entries += 1;
        match &entry.event {
            Event::Genesis(genesis) => {
                self.policy = genesis.bundle;
                for p in &genesis.principals {
                    self.keys.insert(p.key, (p.actor.clone(), p.roles.clone()));
                }
            }
            Event::Decision(decision) => self.decision(decision, now, index),
            Event::PermitCollected(collected) => {
                let hold = &self.holds[&collected.approval];
                assert!(self.stops(&hold.decision).is_empty(), "collected under a kill");
                assert_eq!(hold.decision.decision, collected.decision);
                assert!(self.runs.goes_on(&hold.decision), "collected for what has ended");
                let opened = hold.decision.approval.as_ref().unwrap();
                let until = hold.approved.expect("approved").plus(opened.use_within_ms);
                assert!(hold.open && now < until, "collected too late");
                self.quorum(hold, entry.dev);
                assert_eq!(collected.permit.audience, opened.audience);
                self.holds.get_mut(&collected.approval).unwrap().open = false;
                self.permit(collected.decision, &collected.permit);
            }
            Event::PermitConsumed(consumed) => {
                let stops = self.stops(&self.decisions[&consumed.decision]);
                assert!(!stops.iter().any(|it| it.ends_permits()), "consumed under a kill");
                let permit = self.permits.remove(&consumed.decision).expect("an open permit");
                assert!(now < permit.expires && permit.audience == consumed.by);
                assert_eq!(permit.id, consumed.permit);
                self.consume(consumed.decision);
            }
            Event::PermitExpired(ended) => {
                let permit = self.permits.remove(&ended.decision).expect("an open permit");
                assert!(now >= permit.expires, "expired too early");
            }
            Event::PermitRevoked(ended) => {
                self.permits.remove(&ended.decision);
                self.revoked.insert(ended.index);
            }
            Event::OutcomeReported(report) => {
                assert!(self.reported.insert(report.index), "reported twice");
                assert!(!self.revoked.contains(&report.index), "reported after a revocation");
                assert_eq!(self.consumed.get(&report.decision), Some(&1), "reported unconsumed");
            }
            Event::ApprovalVoted(vote) => {
                let hold = self.holds.get_mut(&vote.approval).unwrap();
                let opened = hold.decision.approval.as_ref().unwrap();
                assert!(hold.open && hold.approved.is_none() && now < opened.expires);
                assert!(vote.by.is_human());
                assert!(vote.by != hold.decision.actor, "decided its own proposal");
                assert!(!hold.decision.on_behalf_of.contains(&vote.by), "its agent proposed it");
                assert!(entry.dev || !vote.unechoed);
                for through in &vote.through {
                    let (granted, in_force) = &self.delegations[&through.delegation];
                    assert!(*in_force && now < granted.until, "in a right that had ended");
                    assert!(granted.to == vote.by && granted.by == through.of);
                    assert!(granted.roles.contains(&through.role));
                    assert!(through.of != hold.decision.actor, "in the right of the proposer");
                    assert!(!hold.decision.on_behalf_of.contains(&through.of));
                    assert!(!is_governed(&hold.decision.surface), "governed, in another's right");
                }
                if vote.approve {
                    hold.count(vote);
                    hold.approved = vote.complete.then_some(now);
                } else {
                    hold.open = false;
                    self.runs.rejected(&hold.decision);
                }
                if vote.complete {
                    self.quorum(&self.holds[&vote.approval], entry.dev);
                }
            }
            Event::ApprovalClosed(closed) => {
                let hold = self.holds.get_mut(&closed.approval).unwrap();
                assert!(hold.open, "closed twice");
                hold.open = false;
            }
            Event::ApprovalReopened(event) => {
                let hold = self.holds.get_mut(&event.approval).unwrap();
                let expires = hold.decision.approval.as_ref().unwrap().expires;
                assert!(hold.open && now < expires, "re-opened too late");
                assert_eq!(event.policy, self.policy, "re-opened under an older bundle");
                for (role, count) in &hold.roles {
                    assert!(event.roles[role] >= *count, "the demand for {role} fell");
                }
                assert!(event.votes_dropped == (event.constraints != hold.constraints));
                if event.votes_dropped {
                    hold.votes.clear();
                }
                hold.votes.retain(|_, vote| {
                    vote.stood_in.retain(|(step, _)| event.escalate.contains(step));
                    !vote.roles.is_empty() || !vote.stood_in.is_empty()
                });
                hold.roles.clone_from(&event.roles);
                hold.constraints = event.constraints.clone();
                hold.steps.clone_from(&event.escalate);
                (hold.in_effect, hold.remind) = (0, event.remind);
                hold.approved = event.complete.then(|| hold.approved.unwrap_or(now));
                if event.complete {
                    self.quorum(&self.holds[&event.approval], entry.dev);
                }
            }
            Event::ApprovalEscalated(event) => {
                let hold = self.holds.get_mut(&event.approval).unwrap();
                assert!(hold.open && hold.approved.is_none(), "escalated what does not wait");
                assert_eq!(event.step as usize, hold.in_effect, "escalated twice");
                assert!(hold.steps[hold.in_effect].at <= now, "escalated too early");
                hold.in_effect += 1;
            }
            Event::ApprovalReminded(event) => {
                let hold = self.holds.get_mut(&event.approval).unwrap();
                assert!(hold.open && hold.approved.is_none() && now < event.expires);
                assert!(hold.remind.take().is_some_and(|at| at <= now), "reminded twice");
            }
            Event::DelegationGranted(event) => {
                assert!(event.by != event.to && event.to.is_human() && now < event.until);
                for role in &event.roles {
                    assert!(entry.dev || self.holds(&event.by, role), "delegated what one lacks");
                }
                self.delegations.insert(event.delegation, (event.clone(), true));
            }
            Event::DelegationEnded(event) => {
                let (granted, in_force) = self.delegations.get_mut(&event.delegation).unwrap();
                assert!(*in_force && (event.by.is_some() || now >= granted.until));
                *in_force = false;
                if event.by.is_some() {
                    self.revoked_delegations.insert(event.delegation);
                }
            }
            Event::KillTripped(kill) => {
                // What a step of its own has ended is over, and nothing is there to lift.
                if kill.source != KillSource::Manifest {
                    self.kill.insert(kill.scope.clone(), (kill.mode, None, index));
                }
                self.runs.tripped(kill);
                let stopped = self.permits.keys().copied().filter(|id| {
                    kill.mode.ends_permits() && covers(&kill.scope, kill.mode, &self.decisions[id])
                });
                for decision in stopped.collect::<Vec<_>>() {
                    self.permits.remove(&decision);
                    self.revoked.insert(self.index_of[&decision]);
                }
            }
            Event::KillLiftRequested(kill) => {
                self.kill.get_mut(&kill.scope).expect("tripped").1 = kill.by.clone();
            }
            Event::KillLifted(kill) => {
                let (_, asked, _) = self.kill.remove(&kill.scope).expect("tripped");
                let named =
                    matches!(&kill.scope, KillScope::Actor(it) if Some(it) == kill.by.as_ref());
                assert!(!named, "lifted by the one it stops");
                let two = asked.is_some() && asked != kill.by;
                assert!(two || entry.dev || entry.solo, "lifted by one person");
            }
            Event::BundleArmed(armed) => self.policy = Some(armed.bundle),
            Event::BundleShadowed(_) | Event::KillDrilled(_) | Event::OverrideAcknowledged(_) => {}
            Event::KeyCreated(grant) => {
                let p = &grant.principal;
                self.keys.insert(p.key, (p.actor.clone(), p.roles.clone()));
            }
            Event::KeyRevoked(revoked) => {
                self.keys.remove(&revoked.key);
            }
            Event::SessionOpened(opened) => {
                if let Some(parent) = &opened.parent {
                    let (_, roles) = &self.keys[parent];
                    assert!(opened.principal.roles.is_subset(roles), "more than its parent");
                }
                let p = &opened.principal;
                assert!(self.keys.insert(p.key, (p.actor.clone(), p.roles.clone())).is_none());
            }
            Event::SessionNarrowed(narrowed) => {
                let (_, roles) = self.keys.get_mut(&narrowed.key).expect("a session");
                assert!(narrowed.roles.is_subset(roles), "wider");
                roles.clone_from(&narrowed.roles);
            }
            Event::SessionClosed(closed) => {
                assert!(self.keys.remove(&closed.key).is_some(), "closed twice");
            }
            Event::PayloadErased(_) | Event::HoldPlaced(_) | Event::HoldReleased(_) => {}
            Event::SignerRotated(_) | Event::SignerRevoked(_) | Event::LogSucceeded(_) => {}
            Event::ExecutionStarted(started) if self.runs.waits(started.execution) => {
                let stops = self.stops(&self.decisions[&started.decision()]);
                assert!(!stops.iter().any(|it| it.ends_permits()), "begun under a kill");
                self.runs.begun(started, index);
            }
            Event::ExecutionStarted(started) | Event::ExecutionQueued(started) => {
                let decision = &self.decisions[&started.decision()];
                assert_eq!(self.consumed.get(&decision.decision), Some(&1), "begun unpermitted");
                assert!(self.reported.insert(started.index), "begun and reported");
                assert!(!self.revoked.contains(&started.index), "begun after a revocation");
                let stops = self.stops(decision);
                assert!(!stops.iter().any(|it| it.ends_permits()), "begun under a kill");
                let waits = matches!(entry.event, Event::ExecutionQueued(_));
                self.runs.started(started, decision, index, waits);
            }
            Event::ExecutionEnded(ended) => self.runs.ended(ended),
            Event::ExecutionTerminated(ended) => self.runs.terminated(ended),
            Event::BundleDrafted(_) | Event::BundleWithdrawn(_) | Event::ReviewClosed(_) => {}
            Event::AuthorTrusted(_) | Event::AuthorRevoked(_) => {}
            Event::EvidenceAdded(_) | Event::EvidenceRevoked(_) => {}
            Event::IssuerTrusted(_) | Event::IssuerRevoked(_) => {}
            Event::ReleaseRegistered(_) | Event::AliasChanged(_) => {}
            Event::ExceptionOpened(_)
            | Event::ExceptionEnded(_)
            | Event::ExceptionClosed(_)
            | Event::ExceptionOverdue(_)
            | Event::ExceptionReviewed(_)
            | Event::Gap(_)
            | Event::PassageReported(_)
            | Event::AdmissionRefused(_) => {}
        }
    }

    fn decision(&mut self, decision: &DecisionEvent, now: TimeMs, index: u64) {
        let tag = decision.idempotency;
        assert!(!self.is_bound(&tag, now), "decided twice under one key");
        let until = now.plus(decision.window_ms);
        self.bound.insert(tag, (until, decision.binds()));
        self.index_of.insert(decision.decision, index);
        *self.outcomes.entry(decision.outcome).or_default() += 1;
        if let Some(key) = decision.key {
            assert!(self.keys.contains_key(&key), "decided for a revoked key");
        }
        let granted = matches!(decision.outcome, Outcome::Permit | Outcome::RequireApproval);
        self.decisions.insert(decision.decision, decision.clone());
        let roles = decision.key.and_then(|key| Some(&self.keys.get(&key)?.1));
        let revoked = roles.is_some_and(|roles| roles.iter().any(|role| self.is_revoked(role)));
        if !self.stops(decision).is_empty() || (revoked && !is_governed(&decision.surface)) {
            assert_eq!(decision.outcome, Outcome::Deny, "decided under a kill");
        }
        let stopped = decision.reasons.iter().any(|reason| reason.is_override());
        let over = !self.runs.goes_on(decision);
        assert!(!stopped || !self.kill.is_empty() || over, "stopped by nothing");
        for used in decision.matched.iter().filter_map(|matched| matched.window) {
            let times = self.windows.entry(used.tag).or_default();
            let within = times.iter().filter(|time| time.plus(used.per_ms) > now).count();
            assert_eq!(used.full, within >= used.count as usize, "a window of {within}: {used:?}");
            if granted {
                times.push(now);
            }
        }
        if granted {
            assert!(self.runs.goes_on(decision), "a step of what has ended, or of another's");
            assert!(now <= decision.deadline);
            assert!(is_governed(&decision.surface) || decision.policy.is_some());
            assert_eq!(decision.policy, self.policy, "an older bundle");
        }
        if let Some(permit) = &decision.permit {
            self.permit(decision.decision, permit);
        }
        if let Some(opened) = &decision.approval {
            let hold = Hold {
                decision: decision.clone(),
                roles: opened.roles.clone(),
                constraints: decision.constraints.clone(),
                steps: opened.escalate.clone(),
                in_effect: 0,
                remind: opened.remind,
                votes: BTreeMap::new(),
                approved: None,
                open: true,
            };
            assert!(self.holds.insert(opened.id, hold).is_none());
        }
    }

    fn permit(&mut self, decision: DecisionId, permit: &PermitIssued) {
        if permit.consumed {
            self.consume(decision);
        } else {
            assert!(self.permits.insert(decision, permit.clone()).is_none());
        }
    }

    fn consume(&mut self, decision: DecisionId) {
        let times = self.consumed.entry(decision).or_default();
        *times += 1;
        assert_eq!(*times, 1, "consumed twice");
        self.uses += 1;
    }

    /// In which ways an action is stopped, scope by scope. A freeze spares what runs since before it.
    fn stops(&self, decision: &DecisionEvent) -> Vec<OverrideMode> {
        let since = self.runs.running(decision);
        let spares = |mode: OverrideMode, at: u64| {
            mode == OverrideMode::Freeze && since.is_some_and(|since| since < at)
        };
        let tripped = self
            .kill
            .iter()
            .filter(|(scope, (mode, _, at))| covers(scope, *mode, decision) && !spares(*mode, *at));
        tripped.map(|(_, (mode, ..))| *mode).collect()
    }

    fn is_revoked(&self, role: &str) -> bool {
        self.kill.contains_key(&KillScope::Role(role.to_owned()))
    }

    fn holds(&self, actor: &ActorRef, role: &str) -> bool {
        !self.is_revoked(role)
            && self.keys.values().any(|(who, roles)| who == actor && roles.contains(role))
    }

    /// Enough different people for every role, none of them a proposer, all of them, or those in whose right
    /// they voted, with the role today; or enough who stand in. Nobody's right counts twice.
    fn quorum(&self, hold: &Hold, dev: bool) {
        for (role, count) in &hold.roles {
            let mut behind = BTreeSet::new();
            let mut stands = |by: &ActorRef, vote: &Vote, role: &str| {
                let (of, delegation) = vote.behind(by, role);
                let ended = delegation.is_some_and(|id| self.revoked_delegations.contains(&id));
                !ended
                    && ((dev && !self.is_revoked(role)) || self.holds(of, role))
                    && behind.insert((of.clone(), role.to_owned()))
            };
            let mut places = 0;
            let mut standing_in: BTreeMap<(TimeMs, &String), u32> = BTreeMap::new();
            for (by, vote) in &hold.votes {
                if vote.roles.contains(role) {
                    places += u32::from(stands(by, vote, role));
                } else {
                    for (step, other) in &vote.stood_in {
                        if step.instead_of.contains(role) && stands(by, vote, other) {
                            *standing_in.entry((step.at, other)).or_default() += 1;
                        }
                    }
                }
            }
            for step in hold.steps.iter().filter(|step| step.instead_of.contains(role)) {
                let groups = step.roles.iter().map(|(other, n)| {
                    standing_in.get(&(step.at, other)).map_or(0, |have| have / n)
                });
                places += groups.min().unwrap_or(0);
            }
            assert!(places >= *count, "{role} is short of people: {places} of {count}");
        }
    }
}

/// Whether a scope that is stopped in a way covers an action.
fn covers(scope: &KillScope, mode: OverrideMode, decision: &DecisionEvent) -> bool {
    match scope {
        KillScope::Everything | KillScope::Workspace => true,
        KillScope::Actor(it) => decision.actor == *it || decision.on_behalf_of.contains(it),
        KillScope::Surface(it) => decision.surface == *it,
        KillScope::Alias(name) if decision.surface == "alias.change" => {
            mode != OverrideMode::Disable && decision.under.contains(scope) && !name.is_empty()
        }
        KillScope::Alias(name) => {
            mode != OverrideMode::Freeze && decision.under.iter().any(|it| it.value() == Some(name))
        }
        KillScope::Role(_) => false,
        _ => decision.under.contains(scope),
    }
}
