//! A naive reading of the log beside the state: it knows the events and the contract alone, and
//! says which entry breaks it.

use placet_engine::is_governed;
use placet_types::Digest;
use placet_types::event::{ActorRef, DecisionEvent, Entry, Event, KillScope, PermitIssued, Tag};
use placet_types::ids::{ApprovalId, DecisionId, KeyId, TimeMs};
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
    consumed: BTreeMap<DecisionId, u32>,
    revoked: BTreeSet<u64>,
    reported: BTreeSet<u64>,
    index_of: BTreeMap<DecisionId, u64>,
    /// Per scope: who asked to lift, if it is tripped.
    kill: BTreeMap<KillScope, Option<ActorRef>>,
    pub(crate) outcomes: BTreeMap<Outcome, u64>,
    pub(crate) uses: u64,
    entries: u64,
}

struct Hold {
    decision: DecisionEvent,
    votes: BTreeMap<ActorRef, BTreeSet<String>>,
    approved: Option<TimeMs>,
    open: bool,
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
                assert!(self.kill.is_empty(), "collected under a kill");
                let hold = &self.holds[&collected.approval];
                assert_eq!(hold.decision.decision, collected.decision);
                let opened = hold.decision.approval.as_ref().unwrap();
                let until = hold.approved.expect("approved").plus(opened.use_within_ms);
                assert!(hold.open && now < until, "collected too late");
                self.quorum(hold, entry.dev);
                assert_eq!(collected.permit.audience, opened.audience);
                self.holds.get_mut(&collected.approval).unwrap().open = false;
                self.permit(collected.decision, &collected.permit);
            }
            Event::PermitConsumed(consumed) => {
                assert!(self.kill.is_empty(), "consumed under a kill");
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
                if vote.approve {
                    let before = hold.votes.insert(vote.by.clone(), vote.roles.clone());
                    assert!(before.is_none(), "voted twice");
                    hold.approved = vote.complete.then_some(now);
                } else {
                    hold.open = false;
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
            Event::KillTripped(kill) => {
                self.kill.insert(kill.scope, None);
                for (decision, _) in std::mem::take(&mut self.permits) {
                    self.revoked.insert(self.index_of[&decision]);
                }
            }
            Event::KillLiftRequested(kill) => {
                *self.kill.get_mut(&kill.scope).expect("tripped") = kill.by.clone();
            }
            Event::KillLifted(kill) => {
                let asked = self.kill.remove(&kill.scope).expect("tripped");
                let two = asked.is_some() && asked != kill.by;
                assert!(two || entry.dev || entry.solo, "lifted by one person");
            }
            Event::BundleArmed(armed) => self.policy = Some(armed.bundle),
            Event::BundleShadowed(_) => {}
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
            Event::SignerRotated(_) | Event::SignerRevoked(_) => {}
            Event::BundleDrafted(_) | Event::BundleWithdrawn(_) | Event::ReviewClosed(_) => {}
            Event::AuthorTrusted(_) | Event::AuthorRevoked(_) => {}
            Event::Gap(_) | Event::AdmissionRefused(_) => {}
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
        if !self.kill.is_empty() {
            assert_eq!(decision.outcome, Outcome::Deny, "decided under a kill");
        }
        for used in decision.matched.iter().filter_map(|matched| matched.window) {
            let times = self.windows.entry(used.tag).or_default();
            let within = times.iter().filter(|time| time.plus(used.per_ms) > now).count();
            assert_eq!(used.full, within >= used.count as usize, "a window of {within}: {used:?}");
            if granted {
                times.push(now);
            }
        }
        if granted {
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

    /// Enough different people who hold the role today, none of them a proposer.
    fn quorum(&self, hold: &Hold, dev: bool) {
        for (role, count) in &hold.decision.approval.as_ref().unwrap().roles {
            let holds = |actor: &ActorRef| {
                dev || self.keys.values().any(|(who, roles)| who == actor && roles.contains(role))
            };
            let people =
                hold.votes.iter().filter(|(actor, roles)| roles.contains(role) && holds(actor));
            assert!(people.count() >= *count as usize, "{role} is short of people");
        }
    }
}
