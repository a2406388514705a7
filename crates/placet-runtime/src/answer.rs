//! Answers: what a caller is told of a decision, from its entry, its payload's digests and what
//! state knows beyond. One shape for fresh, repeated and later looks.

use placet_engine::{Held, HeldState, Rejection, Status};
use placet_types::Digest;
use placet_types::Digests;
use placet_types::event::{DecisionEvent, PermitIssued};
use placet_types::ids::TimeMs;
use std::sync::Arc;

/// A decision as its caller sees it.
#[derive(Clone, Debug)]
pub struct DecisionAnswer {
    /// The entry.
    pub event: Arc<DecisionEvent>,
    /// When it was decided.
    pub time: TimeMs,
    /// Its log index.
    pub index: u64,
    /// Digests of action and request; `None` once the payload is erased.
    pub digests: Option<Digests>,
    /// Answered from an earlier decision under the same idempotency key.
    pub replayed: bool,
    /// The permit, for PERMIT and for approved holds.
    pub permit: Option<PermitView>,
    /// The approval, if it was held.
    pub hold: Option<Held>,
    /// Its outcome was reported.
    pub reported: bool,
    /// Its payload was erased.
    pub erased: bool,
    /// The effect may have happened and nobody said so.
    pub outcome_unknown: bool,
}

/// What this answer may say of a permit.
#[derive(Clone, Debug)]
pub struct PermitView {
    /// Where it stands.
    pub state: PermitState,
    /// The permit itself, only where this caller may have it.
    pub permit: Option<PermitIssued>,
}

/// Where a permit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermitState {
    /// This answer hands it out: the caller may execute.
    Granted,
    /// Waiting for the gate it names.
    Open,
    /// Used up by another attempt.
    Consumed,
    /// Too late.
    Expired,
    /// Withdrawn by a kill, or with the exception that it rests on.
    Revoked,
}

impl PermitState {
    /// The lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Open => "open",
            Self::Consumed => "consumed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// The permit of a decision that has just been written.
pub(crate) fn fresh_permit(event: &DecisionEvent, revoked: bool) -> Option<PermitView> {
    let permit = event.permit.as_ref()?;
    let state = match (revoked, permit.consumed) {
        (true, _) => PermitState::Revoked,
        (false, true) => PermitState::Granted,
        (false, false) => PermitState::Open,
    };
    Some(view(state, permit))
}

/// The permit of an earlier decision, for a caller with `nonce`.
pub(crate) fn later_permit(
    event: &DecisionEvent,
    status: &Status,
    nonce: Option<Digest>,
    now: TimeMs,
) -> Option<PermitView> {
    let collected = match status.held.as_ref().map(|held| &held.state) {
        Some(HeldState::Consumed(permit)) => Some(permit),
        _ => None,
    };
    let permit = event.permit.as_ref().or(collected)?;
    // A kill withholds every permit, and one that was open when it came stays withheld after a lift.
    let over = now >= permit.expires || (!permit.consumed && status.consumed_later);
    let withheld = match &status.withheld {
        // Closing an exception takes back what could still be used, and no more; so does forgetting an execution.
        Some(Rejection::ExceptionEnded | Rejection::ExecutionEnded(_)) => !over,
        why => why.is_some(),
    };
    if status.revoked || withheld {
        return Some(view(PermitState::Revoked, permit));
    }
    if permit.consumed {
        // Only the nonce of the attempt fetches it again, and only while it lives.
        let own = permit.nonce.is_some() && permit.nonce == nonce && now < permit.expires;
        return Some(if own {
            view(PermitState::Granted, permit)
        } else {
            PermitView { state: PermitState::Consumed, permit: None }
        });
    }
    Some(if status.consumed_later {
        PermitView { state: PermitState::Consumed, permit: None }
    } else if now >= permit.expires {
        PermitView { state: PermitState::Expired, permit: None }
    } else {
        view(PermitState::Open, permit)
    })
}

fn view(state: PermitState, permit: &PermitIssued) -> PermitView {
    let shown = matches!(state, PermitState::Granted | PermitState::Open);
    PermitView { state, permit: shown.then(|| permit.clone()) }
}
