//! What an entry is about, and whether it is what was asked for.

use crate::ports::AuditFilter;
use placet_types::event::{ActorRef, DecisionEvent, Entry, Event};
use placet_types::ids::DecisionId;

/// The decision that an event is about.
#[must_use]
pub fn event_decision(event: &Event) -> Option<DecisionId> {
    match event {
        Event::Decision(event) => Some(event.decision),
        Event::PermitCollected(event) => Some(event.decision),
        Event::PermitConsumed(event) => Some(event.decision),
        Event::PermitExpired(event) | Event::PermitRevoked(event) => Some(event.decision),
        Event::OutcomeReported(event) => Some(event.decision),
        Event::ApprovalVoted(event) => Some(event.decision),
        Event::ApprovalClosed(event) => Some(event.decision),
        Event::ApprovalReopened(event) => Some(event.decision),
        Event::ApprovalEscalated(event) => Some(event.decision),
        Event::ApprovalReminded(event) => Some(event.decision),
        Event::SignerRotated(event) => event.decision,
        Event::BundleShadowed(event) => event.decision,
        Event::SignerRevoked(event) => event.decision,
        Event::ExceptionOpened(event) => Some(event.decision),
        Event::BundleArmed(event) => event.decision,
        Event::ReviewClosed(event) => Some(event.decision),
        Event::IssuerTrusted(event) | Event::IssuerRevoked(event) => event.decision,
        Event::ReleaseRegistered(event) => Some(event.decision),
        Event::AliasChanged(event) => Some(event.decision),
        Event::AuthorTrusted(event) | Event::AuthorRevoked(event) => event.decision,
        _ => None,
    }
}

/// Whether an entry says what may be executed, rather than what was done.
pub(crate) fn is_authority(event: &Event) -> bool {
    match event {
        Event::ApprovalVoted(vote) => !vote.approve,
        Event::Decision(_)
        | Event::PermitCollected(_)
        | Event::PermitConsumed(_)
        | Event::PermitExpired(_)
        | Event::PermitRevoked(_)
        | Event::ApprovalClosed(_) => true,
        _ => false,
    }
}

pub(super) fn within(filter: &AuditFilter, index: u64) -> bool {
    match filter.cursor {
        Some(cursor) if filter.ascending => index >= cursor,
        Some(cursor) => index < cursor,
        None => true,
    }
}

/// Whether an entry satisfies every condition of a filter.
#[must_use]
pub fn matches(filter: &AuditFilter, entry: &Entry) -> bool {
    let decision = match &entry.event {
        Event::Decision(event) => Some(event.as_ref()),
        _ => None,
    };
    let of = |wanted: &Option<String>, have: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| have == Some(wanted))
    };
    filter.decision.is_none_or(|id| event_decision(&entry.event) == Some(id))
        && of(&filter.trace, decision.and_then(|d| d.trace.as_deref()))
        && of(&filter.actor, actor_of(&entry.event))
        && filter.rule.as_ref().is_none_or(|rule| decision.is_some_and(|d| d.rules.contains(rule)))
        && of(&filter.surface, decision.map(|d| d.surface.as_str()))
        && filter.outcome.is_none_or(|outcome| decision.is_some_and(|d| d.outcome == outcome))
        && of(&filter.event_type, Some(entry.event.type_name()))
        && filter.since.is_none_or(|since| entry.time >= since)
        && filter.until.is_none_or(|until| entry.time < until)
        && filter.idempotency.is_none_or(|tag| decision.is_some_and(|d| d.idempotency == tag))
        && filter.subject.is_none_or(|tag| decision.is_some_and(|d| d.subjects.contains(&tag)))
        && (!filter.would_differ || decision.is_some_and(would_differ))
}

/// Whether a shadow bundle came to something else.
fn would_differ(event: &DecisionEvent) -> bool {
    event.would.as_ref().is_some_and(|would| would.differing().is_some())
}

/// Who an event is by.
#[must_use]
pub fn actor_of(event: &Event) -> Option<&str> {
    match event {
        Event::Decision(event) => Some(event.actor.as_str()),
        Event::PermitConsumed(event) => Some(event.by.as_str()),
        Event::OutcomeReported(event) => Some(event.by.as_str()),
        Event::PassageReported(event) => Some(event.by.as_str()),
        Event::ApprovalVoted(event) => Some(event.by.as_str()),
        Event::KillTripped(event) | Event::KillLiftRequested(event) | Event::KillLifted(event) => {
            event.by.as_ref().map(ActorRef::as_str)
        }
        Event::KillDrilled(event) => Some(event.by.as_str()),
        Event::OverrideAcknowledged(event) => Some(event.by.as_str()),
        Event::DelegationGranted(event) => Some(event.by.as_str()),
        Event::DelegationEnded(event) => event.by.as_ref().map(ActorRef::as_str),
        Event::ExceptionOpened(event) => Some(event.by.as_str()),
        Event::ExceptionEnded(event) | Event::ExceptionClosed(event) => {
            event.by.as_ref().map(ActorRef::as_str)
        }
        Event::ExceptionReviewed(event) => Some(event.by.as_str()),
        Event::ExecutionStarted(event) | Event::ExecutionQueued(event) => Some(event.by.as_str()),
        Event::ExecutionEnded(event) => Some(event.by.as_str()),
        Event::KeyCreated(event) => Some(event.by.as_str()),
        Event::KeyRevoked(event) => Some(event.by.as_str()),
        Event::SessionOpened(event) => Some(event.principal.actor.as_str()),
        Event::SessionClosed(event) => Some(event.by.as_str()),
        Event::PayloadErased(event) => event.by.as_ref().map(ActorRef::as_str),
        Event::HoldPlaced(event) => Some(event.by.as_str()),
        Event::HoldReleased(event) => Some(event.by.as_str()),
        Event::SignerRotated(event) => event.by.as_ref().map(ActorRef::as_str),
        Event::SignerRevoked(event) => Some(event.by.as_str()),
        Event::BundleShadowed(event) => Some(event.by.as_str()),
        Event::BundleDrafted(event) => Some(event.by.as_str()),
        Event::BundleArmed(event) => event.by.as_ref().map(ActorRef::as_str),
        Event::BundleWithdrawn(event) => Some(event.by.as_str()),
        Event::ReviewClosed(event) => Some(event.by.as_str()),
        Event::EvidenceAdded(event) => Some(event.by.as_str()),
        Event::EvidenceRevoked(event) => Some(event.by.as_str()),
        Event::ReleaseRegistered(event) => Some(event.by.as_str()),
        Event::AliasChanged(event) => Some(event.by.as_str()),
        Event::IssuerTrusted(event) | Event::IssuerRevoked(event) => Some(event.by.as_str()),
        Event::AuthorTrusted(event) | Event::AuthorRevoked(event) => Some(event.by.as_str()),
        _ => None,
    }
}
