//! Logs as defects of approvals would have left them: what the engine would have had to write. Only the
//! checker of approvals is shown them.

use super::Logs;
use crate::disk::Stored;
use crate::mutant::Mutant;
use placet_types::event::{ActorRef, Event};
use placet_types::ids::ApprovalId;

/// The logs with one vote altered in each that collected a permit; nothing where no such defect is planted.
pub(super) fn votes(mutant: Option<Mutant>, logs: &Logs) -> Option<Logs> {
    let mutant = mutant
        .filter(|it| matches!(it, Mutant::VoteFlipped | Mutant::VoteLost | Mutant::VoteOwn))?;
    let mut logs = logs.clone();
    for log in logs.values_mut() {
        alter(mutant, log);
    }
    Some(logs)
}

fn alter(mutant: Mutant, log: &mut Vec<Stored>) -> Option<()> {
    let collected = log.iter().find_map(|stored| match &stored.entry.event {
        Event::PermitCollected(event) => Some(event.approval),
        _ => None,
    })?;
    let at = log.iter().position(|stored| {
        matches!(&stored.entry.event, Event::ApprovalVoted(vote) if vote.approval == collected && vote.complete)
    })?;
    if mutant == Mutant::VoteLost {
        log.remove(at);
        return Some(());
    }
    let proposer = proposer(log, collected)?;
    let Event::ApprovalVoted(vote) = &mut log.get_mut(at)?.entry.event else { return None };
    match mutant {
        Mutant::VoteFlipped => vote.approve = false,
        _ => vote.by = proposer,
    }
    Some(())
}

fn proposer(log: &[Stored], approval: ApprovalId) -> Option<ActorRef> {
    log.iter().find_map(|stored| match &stored.entry.event {
        Event::Decision(event) if event.approval.as_ref()?.id == approval => {
            Some(event.actor.clone())
        }
        _ => None,
    })
}
