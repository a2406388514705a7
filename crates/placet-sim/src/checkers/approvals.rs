//! A held action never executes without its approval: as many different people as each role
//! demands, none of them the proposer or in a proposer's right, nobody's no, and before it was closed. What is
//! decided stays decided, no demand falls, and nothing escalates early or twice.

use super::{Held, Logs, violated};
use placet_types::event::{
    ActorRef, ApprovalOpened, ApprovalReopened, ApprovalVoted, DecisionEvent, EscalationStep,
    Event, StandsIn,
};
use placet_types::ids::{ApprovalId, DecisionId, TimeMs};
use placet_types::json::Object;
use placet_types::policy::Outcome;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "approvals";

#[derive(Default)]
pub(crate) struct Approvals {
    /// Held decisions that were granted.
    granted: BTreeSet<DecisionId>,
}

struct Waiting {
    decision: DecisionId,
    proposers: BTreeSet<ActorRef>,
    demanded: BTreeMap<String, u32>,
    constraints: Object,
    steps: Vec<EscalationStep>,
    in_effect: usize,
    votes: Vec<ApprovalVoted>,
    expires: TimeMs,
    /// It may be collected.
    complete: bool,
    closed: bool,
}

impl Waiting {
    fn new(event: &DecisionEvent, opened: &ApprovalOpened) -> Self {
        Self {
            decision: event.decision,
            proposers: std::iter::once(&event.actor).chain(&event.on_behalf_of).cloned().collect(),
            demanded: opened.roles.clone(),
            constraints: event.constraints.clone(),
            steps: opened.escalate.clone(),
            in_effect: 0,
            votes: Vec::new(),
            expires: opened.expires,
            complete: false,
            closed: false,
        }
    }

    /// What is wrong with a vote.
    fn vote(&mut self, vote: &ApprovalVoted, time: TimeMs, alone: bool) -> Option<&'static str> {
        if self.closed || self.complete || time >= self.expires {
            return Some("votes on what is decided");
        }
        let own = self.proposers.contains(&vote.by);
        if !alone && (own || vote.through.iter().any(|it| self.proposers.contains(&it.of))) {
            return Some("is a vote of the proposer, or in the right of one");
        }
        if vote.stands_in.as_ref().is_some_and(|it| it.step as usize >= self.in_effect) {
            return Some("stands in before the escalation");
        }
        self.closed = !vote.approve;
        self.complete = vote.complete;
        self.votes.push(vote.clone());
        (vote.complete && !self.is_met()).then_some("completes an approval that lacks people")
    }

    fn reopen(&mut self, event: &ApprovalReopened, time: TimeMs) -> Option<&'static str> {
        if self.closed || time >= self.expires {
            return Some("re-opens what is over");
        }
        let less =
            |(role, count): (&String, &u32)| event.roles.get(role).is_none_or(|it| it < count);
        if self.demanded.iter().any(less) {
            return Some("asks for less than before");
        }
        if event.votes_dropped != (event.constraints != self.constraints) {
            return Some("keeps votes for other constraints, or drops them for the same");
        }
        if event.votes_dropped {
            self.votes.clear();
        }
        for vote in &mut self.votes {
            vote.stands_in = vote.stands_in.take().and_then(|it| {
                let old = self.steps.get(it.step as usize)?;
                let same = |new: &EscalationStep| new.at == old.at && new.roles == old.roles;
                let at = event.escalate.iter().position(same)?;
                Some(StandsIn { step: u32::try_from(at).ok()?, ..it })
            });
        }
        self.demanded.clone_from(&event.roles);
        self.constraints = event.constraints.clone();
        self.steps.clone_from(&event.escalate);
        self.in_effect = 0;
        self.complete = event.complete;
        (event.complete && !self.is_met()).then_some("completes an approval that lacks people")
    }

    /// As many different people as each role demands, or enough who stand in; each right once.
    fn is_met(&self) -> bool {
        self.demanded.iter().all(|(role, count)| {
            let mut direct = BTreeSet::new();
            let mut standing: BTreeMap<u32, BTreeMap<&String, BTreeSet<&ActorRef>>> =
                BTreeMap::new();
            let of = |vote: &'_ ApprovalVoted, role: &str| {
                let through = vote.through.iter().find(|it| it.role == role);
                through.map_or_else(|| vote.by.clone(), |it| it.of.clone())
            };
            for vote in &self.votes {
                if vote.roles.contains(role) {
                    direct.insert(of(vote, role));
                }
            }
            let fills = |by: &ActorRef| {
                self.votes.iter().any(|vote| vote.by == *by && vote.roles.contains(role))
            };
            for vote in self.votes.iter().filter(|vote| !fills(&vote.by)) {
                if let Some(it) = &vote.stands_in {
                    standing
                        .entry(it.step)
                        .or_default()
                        .entry(&it.role)
                        .or_default()
                        .insert(&vote.by);
                }
            }
            let mut places = direct.len();
            for (at, people) in &standing {
                let Some(step) = self.steps.get(*at as usize) else { return false };
                if step.instead_of.contains(role) {
                    let groups = step.roles.iter().map(|(role, count)| {
                        people.get(role).map_or(0, BTreeSet::len) / (*count).max(1) as usize
                    });
                    places += groups.min().unwrap_or(0);
                }
            }
            places >= *count as usize
        })
    }
}

impl Approvals {
    /// An answer to a held decision lets its caller execute.
    pub(crate) fn granted(&mut self, decision: DecisionId, outcome: Outcome) {
        if outcome == Outcome::RequireApproval {
            self.granted.insert(decision);
        }
    }

    pub(crate) fn at_rest(&self, logs: &Logs) -> Held {
        let mut collected = BTreeSet::new();
        for log in logs.values() {
            let mut waiting: BTreeMap<ApprovalId, Waiting> = BTreeMap::new();
            for (index, stored) in log.iter().enumerate() {
                match &stored.entry.event {
                    Event::Decision(event) => {
                        let Some(opened) = &event.approval else { continue };
                        if event.permit.is_some() {
                            return violated(
                                NAME,
                                format!("entry {index} is held and has a permit"),
                            );
                        }
                        waiting.insert(opened.id, Waiting::new(event, opened));
                    }
                    Event::ApprovalVoted(vote) => {
                        let alone = stored.entry.dev || stored.entry.solo;
                        let wrong = match waiting.get_mut(&vote.approval) {
                            Some(held) => held.vote(vote, stored.entry.time, alone),
                            None => Some("votes on nothing"),
                        };
                        if let Some(what) = wrong {
                            return violated(NAME, format!("entry {index} {what}"));
                        }
                    }
                    Event::ApprovalReopened(event) => {
                        let wrong = match waiting.get_mut(&event.approval) {
                            Some(held) => held.reopen(event, stored.entry.time),
                            None => Some("re-opens nothing"),
                        };
                        if let Some(what) = wrong {
                            return violated(NAME, format!("entry {index} {what}"));
                        }
                    }
                    Event::ApprovalEscalated(event) => {
                        let due = waiting.get_mut(&event.approval).filter(|held| {
                            let step = held.steps.get(held.in_effect);
                            !held.closed
                                && !held.complete
                                && held.in_effect == event.step as usize
                                && step.is_some_and(|step| step.at <= stored.entry.time)
                        });
                        match due {
                            Some(held) => held.in_effect += 1,
                            None => {
                                let what = "escalates too early, again, or what does not wait";
                                return violated(NAME, format!("entry {index} {what}"));
                            }
                        }
                    }
                    Event::ApprovalClosed(event) => {
                        match waiting.get_mut(&event.approval).filter(|held| !held.closed) {
                            Some(held) => held.closed = true,
                            None => {
                                return violated(NAME, format!("entry {index} ends what is over"));
                            }
                        }
                    }
                    Event::PermitCollected(event) => {
                        let held = waiting.get_mut(&event.approval);
                        match held {
                            Some(held) if !held.closed && held.complete && held.is_met() => {
                                held.closed = true;
                                collected.insert(held.decision);
                            }
                            _ => {
                                let what = "collects a permit without a complete approval";
                                return violated(NAME, format!("entry {index} {what}"));
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        match self.granted.iter().find(|decision| !collected.contains(decision)) {
            Some(lost) => violated(NAME, format!("{lost} was held, and granted without approval")),
            None => Ok(()),
        }
    }
}
