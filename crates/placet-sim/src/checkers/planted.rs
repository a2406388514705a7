//! Logs as defects of approvals and of control would have left them: what the engine would have had to write. Only
//! the checker of what was altered is shown them.

use super::Logs;
use crate::disk::Stored;
use crate::mutant::Mutant;
use placet_types::event::{ActorRef, Event, KillEvent, KillScope, KillSource, OverrideMode};
use placet_types::ids::{ApprovalId, ExecutionId};
use std::sync::Arc;

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
    let Event::ApprovalVoted(vote) = &mut Arc::make_mut(&mut log.get_mut(at)?.entry).event else {
        return None;
    };
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

/// The logs as a defect of control would have left them; nothing where no such defect is planted.
pub(super) fn control(mutant: Option<Mutant>, logs: &Logs) -> Option<Logs> {
    let mutant = mutant.filter(|it| it.is_of_control())?;
    let mut logs = logs.clone();
    for log in logs.values_mut() {
        unhinge(mutant, log);
    }
    Some(logs)
}

fn unhinge(mutant: Mutant, log: &mut Vec<Stored>) -> Option<()> {
    match mutant {
        Mutant::StopForgotten => log.retain(
            |it| !matches!(&it.entry.event, Event::KillTripped(kill) if !kill.scope.is_wide()),
        ),
        Mutant::LiftAlone => {
            let asked = log.iter().find_map(|it| match &it.entry.event {
                Event::KillLiftRequested(kill) => Some(kill.clone()),
                _ => None,
            })?;
            let lifted =
                log.iter_mut().find_map(|it| match &mut Arc::make_mut(&mut it.entry).event {
                    Event::KillLifted(kill) if kill.scope == asked.scope => Some(kill),
                    _ => None,
                })?;
            lifted.by = asked.by;
        }
        Mutant::StopIgnored => {
            let at = log.iter().position(
                |it| matches!(&it.entry.event, Event::Decision(event) if event.permit.is_some()),
            )?;
            let mut stop = log.get(at)?.clone();
            let Event::Decision(event) = &stop.entry.event else { return None };
            Arc::make_mut(&mut stop.entry).event = Event::KillTripped(KillEvent {
                scope: KillScope::Surface(event.surface.clone()),
                mode: OverrideMode::Kill,
                source: KillSource::Api,
                by: None,
                not_before: None,
                waiting: 0,
            });
            log.insert(at, stop);
        }
        Mutant::ExceptionBack => {
            let under = |it: &Stored| match &it.entry.event {
                Event::Decision(event) => event.exception.as_ref().map(|it| it.exception),
                _ => None,
            };
            let closed = log.iter().position(|it| match &it.entry.event {
                Event::ExceptionClosed(end) | Event::ExceptionEnded(end) => {
                    log.iter().any(|it| under(it) == Some(end.exception))
                }
                _ => false,
            })?;
            let closed = log.remove(closed);
            let (Event::ExceptionClosed(end) | Event::ExceptionEnded(end)) = &closed.entry.event
            else {
                return None;
            };
            let at = log.iter().position(|it| under(it) == Some(end.exception))?;
            log.insert(at, closed);
        }
        Mutant::EvidenceBack => {
            log.retain(|it| !matches!(&it.entry.event, Event::EvidenceRevoked(_)));
        }
        Mutant::PlaceIgnored => {
            let started =
                log.iter_mut().find_map(|it| match &mut Arc::make_mut(&mut it.entry).event {
                    Event::ExecutionStarted(event) => event.max_concurrent.as_mut(),
                    _ => None,
                })?;
            *started = 0;
        }
        Mutant::QueueJumped => {
            let queued: Vec<ExecutionId> = log
                .iter()
                .filter_map(|it| match &it.entry.event {
                    Event::ExecutionQueued(event) => Some(event.execution),
                    _ => None,
                })
                .collect();
            let began = |id: &ExecutionId| {
                log.iter().position(|it| matches!(&it.entry.event, Event::ExecutionStarted(event) if event.execution == *id))
            };
            let waited = |id: &ExecutionId| {
                log.iter().position(|it| matches!(&it.entry.event, Event::ExecutionQueued(event) if event.execution == *id))
            };
            let (one, other) = queued.windows(2).find_map(|two| {
                let [first, second] = two else { return None };
                let (one, other) = (began(first)?, began(second)?);
                (waited(second)? < one).then_some((one, other))
            })?;
            let first = log.get(one)?.entry.event.clone();
            let later = &mut Arc::make_mut(&mut log.get_mut(other)?.entry).event;
            let second = std::mem::replace(later, first);
            Arc::make_mut(&mut log.get_mut(one)?.entry).event = second;
        }
        Mutant::EndForgotten => {
            log.retain(|it| !matches!(&it.entry.event, Event::ExecutionEnded(_)));
        }
        _ => {}
    }
    Some(())
}
