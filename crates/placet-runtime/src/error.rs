//! Why the plane cannot do what it was asked: a closed list with stable codes.

use crate::policies::BundleRefusal;
use crate::sequencer::Refusal;
use placet_engine::Rejection;
use placet_types::Digest;
use placet_types::ids::DecisionId;
use std::fmt;

/// An error of the plane. A refusal by policy is none of these: it is an outcome.
#[derive(Debug)]
pub enum PlaneError {
    /// The state machine rejects the command.
    Rejected(Rejection),
    /// Unknown, or of somebody else.
    NotFound(&'static str),
    /// The idempotency key is bound to another request.
    IdempotencyConflict {
        /// The decision it is bound to.
        decision: DecisionId,
    },
    /// The payload was erased.
    PayloadErased,
    /// Too much is waiting; nothing was recorded.
    Overloaded {
        /// When to come back.
        retry_after_ms: u64,
    },
    /// The key asks too fast; nothing was recorded.
    TooManyRequests {
        /// When to come back.
        retry_after_ms: u64,
    },
    /// The wall clock ran off from the monotonic one.
    ClockUnsure,
    /// The store failed; nothing more is decided until a restart.
    StoreFailed(String),
    /// A stop is in effect all the same.
    StopUnrecorded {
        /// Whether a restart is stopped as well.
        lasts: bool,
        /// Why it is not recorded.
        why: String,
    },
    /// The lift is recorded and the armed certificate is not written: everything is stopped again.
    LiftUnfinished(String),
    /// Everything is lifted, and the file that asked for the kill cannot be removed: it asks again.
    KillFileStays(String),
    /// The read model is being filled: what was searched for may lie in what it lacks.
    Indexing {
        /// Entries that it has.
        indexed: u64,
        /// Entries of the log.
        size: u64,
    },
    /// What the store holds is not what was sealed.
    Damaged(String),
    /// The bundle kept changing while the request was evaluated.
    PolicyMoved,
    /// An uploaded bundle is not good.
    BundleRefused(Box<BundleRefusal>),
    /// The bundle that the log names cannot be served.
    BundleLost(Digest),
    /// The entry would be larger than an entry may be.
    TooLarge,
    /// The server is going down.
    ShuttingDown,
    /// The workspace exists already.
    Exists(&'static str),
    /// A defect.
    Internal(String),
}

impl PlaneError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.code(),
            Self::NotFound(_) => "not_found",
            Self::IdempotencyConflict { .. } => "idempotency_conflict",
            Self::PayloadErased => "payload_erased",
            Self::Overloaded { .. } => "overloaded",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::ClockUnsure => "clock_unsure",
            Self::StoreFailed(_) => "store_failed",
            Self::StopUnrecorded { .. } => "stop_unrecorded",
            Self::LiftUnfinished(_) => "lift_unfinished",
            Self::KillFileStays(_) => "kill_file_stays",
            Self::Indexing { .. } => "indexing",
            Self::Damaged(_) => "log_damaged",
            Self::PolicyMoved => "policy_moved",
            Self::BundleRefused(refusal) => refusal.code(),
            Self::BundleLost(_) => "bundle_lost",
            Self::TooLarge => "entry_too_large",
            Self::ShuttingDown => "shutting_down",
            Self::Exists(_) => "already_exists",
            Self::Internal(_) => "internal",
        }
    }
}

impl PlaneError {
    /// What stands in spite of a store that failed.
    #[must_use]
    pub const fn stands(&self) -> Option<&'static str> {
        Some(match self {
            Self::StopUnrecorded { lasts: true, .. } => {
                "the stop is in effect and could not be recorded; after a restart everything is stopped"
            }
            Self::StopUnrecorded { lasts: false, .. } => {
                "the stop is in effect and could not be recorded; it ends with this process, so repeat \
                 it after a restart"
            }
            Self::LiftUnfinished(_) => {
                "the armed certificate cannot be written, so everything is stopped again"
            }
            _ => return None,
        })
    }
}

impl fmt::Display for PlaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::NotFound(what) => write!(f, "no such {what} in this workspace"),
            Self::IdempotencyConflict { decision } => write!(
                f,
                "the idempotency key is bound to another request, decision {decision}; use a fresh key"
            ),
            Self::PayloadErased => f.write_str("the payload of this decision has been erased"),
            Self::Overloaded { .. } => f.write_str("too many requests are waiting; retry later"),
            Self::TooManyRequests { .. } => {
                f.write_str("this key asks faster than it is admitted; retry later")
            }
            Self::ClockUnsure => f.write_str(
                "the wall clock ran off from the monotonic clock; an operator has to confirm it",
            ),
            Self::StoreFailed(why) => write!(f, "nothing can be recorded: {why}"),
            Self::StopUnrecorded { why, .. } | Self::LiftUnfinished(why) => {
                write!(f, "{}: {why}", self.stands().unwrap_or_default())
            }
            Self::KillFileStays(why) => write!(
                f,
                "KILL in the data directory cannot be removed ({why}), so everything stays stopped; \
                 remove it by hand, then lift again"
            ),
            Self::Indexing { indexed, size } => write!(
                f,
                "the read model is being filled and has {indexed} of {size} entries; retry later"
            ),
            Self::Damaged(what) => write!(f, "the log of this workspace is damaged: {what}"),
            Self::PolicyMoved => f.write_str("the policy kept changing; retry"),
            Self::BundleRefused(refusal) => refusal.fmt(f),
            Self::BundleLost(digest) => write!(
                f,
                "the bundle {digest} is missing or damaged; publish another one, or restore the journal"
            ),
            Self::TooLarge => f.write_str("the log entry would exceed 16 KiB; shorten the request"),
            Self::ShuttingDown => f.write_str("the server is shutting down"),
            Self::Exists(what) => write!(f, "this {what} exists already"),
            Self::Internal(what) => write!(f, "defect: {what}"),
        }
    }
}

impl std::error::Error for PlaneError {}

impl From<Refusal> for PlaneError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // Like a bundle that moved: whoever asks again evaluates with what is there now.
            Refusal::Rejected(Rejection::EvidenceMoved | Rejection::ProposerMoved) => {
                Self::PolicyMoved
            }
            Refusal::Rejected(rejection) => Self::Rejected(rejection),
            Refusal::ClockUnsure => Self::ClockUnsure,
            Refusal::StoreFailed(why) => Self::StoreFailed(why),
            Refusal::TooLarge => Self::TooLarge,
            Refusal::NoWorkspace => Self::NotFound("workspace"),
            Refusal::PolicyMoved => Self::PolicyMoved,
            Refusal::Damaged(what) => Self::Damaged(what),
            Refusal::Busy => Self::Overloaded { retry_after_ms: 1000 },
            Refusal::Signing(why) => Self::Internal(why),
        }
    }
}
