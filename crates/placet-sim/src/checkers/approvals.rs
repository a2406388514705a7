//! A held action never executes without its approval: as many different people as each role
//! demands, none of them the proposer, nobody's no, and before it was closed.

use super::{Held, Logs, violated};
use placet_types::event::{ActorRef, Event};
use placet_types::ids::{ApprovalId, DecisionId};
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
    proposer: ActorRef,
    demanded: BTreeMap<String, u32>,
    filled: BTreeMap<String, BTreeSet<ActorRef>>,
    closed: bool,
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
                        waiting.insert(
                            opened.id,
                            Waiting {
                                decision: event.decision,
                                proposer: event.actor.clone(),
                                demanded: opened.roles.clone(),
                                filled: BTreeMap::new(),
                                closed: false,
                            },
                        );
                    }
                    Event::ApprovalVoted(vote) => {
                        let Some(held) = waiting.get_mut(&vote.approval) else {
                            return violated(NAME, format!("entry {index} votes on nothing"));
                        };
                        if vote.by == held.proposer && !stored.entry.dev && !stored.entry.solo {
                            return violated(NAME, format!("entry {index} is the proposer's vote"));
                        }
                        held.closed |= !vote.approve;
                        for role in &vote.roles {
                            held.filled.entry(role.clone()).or_default().insert(vote.by.clone());
                        }
                    }
                    Event::ApprovalClosed(event) => {
                        if let Some(held) = waiting.get_mut(&event.approval) {
                            held.closed = true;
                        }
                    }
                    Event::PermitCollected(event) => {
                        let held = waiting.get_mut(&event.approval);
                        let complete = |held: &Waiting| {
                            let filled = |role| held.filled.get(role).map_or(0, BTreeSet::len);
                            held.demanded
                                .iter()
                                .all(|(role, count)| filled(role) >= *count as usize)
                        };
                        match held {
                            Some(held) if !held.closed && complete(held) => {
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
