//! The state machine of a workspace: `step` decides, `apply` changes, and the state is the fold of
//! the log. Time, ids, verdicts and commitments come in as values.
//!
//! Owns decisions, approvals, permits, overrides, executions, exceptions, evidence, releases and aliases, modes,
//! bundles in force, keys, sessions, delegations, figures, and which key signs the log. Refuses to know files, HTTP,
//! clocks, randomness, policy documents and payloads.
#![no_std]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::panic
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod apply;
mod codec;
mod command;
mod constitution;
mod counters;
mod covering;
mod decide;
mod delegations;
mod demand;
mod evidence;
mod exceptions;
mod executions;
mod follow;
mod hold;
mod idempotency;
mod keys;
mod measures;
mod memory;
mod modes;
mod overrides;
mod pending;
mod policies;
mod privacy;
mod rejection;
mod release;
mod releases;
mod sessions;
mod shadow;
mod signers;
mod snapshot;
mod state;
mod status;
mod step;
mod trips;
mod votes;
mod waiting;
mod within;

pub use apply::FoldError;
pub use command::{
    AddEvidence, ArmUnder, AuthorChange, Collect, Command, Consume, CreateKey, Decide, Delegate,
    DraftBundle, Erase, IssuerChange, Lends, OpenSession, PlaceHold, Plan, Report, RevokePermit,
    RevokeSigner, RotateSigner, SucceedLog, Target, Unsent, Vote, Waiting, Who,
};
pub use constitution::{CONSTITUTION, EMERGENCY, PUBLISH, ROLLBACK, Reach, arming_of, is_governed};
pub use counters::Counters;
pub use delegations::{DELEGATION_LIST_MAX, DELEGATION_MS_MAX, Delegation, DelegationStanding};
pub use demand::Demand;
pub use evidence::{
    EVIDENCE_MS_MAX, EVIDENCE_SKEW_MS, Evidence, EvidenceKey, EvidencePiece, evidence_id,
};
pub use exceptions::{
    BREAK_GLASS, Brought, EXCEPTION, EXCEPTIONS_EACH, Exception, ExceptionBounds,
    ExceptionStanding, OPEN, OpenException, Passing, Reviewed,
};
pub use executions::{
    EXECUTION, EXECUTION_QUEUE_MS, EXECUTION_RUN_SEC, EXECUTION_RUN_SEC_MAX, EndExecution,
    Execution, ExecutionState, StartExecution,
};
pub use follow::Follow;
pub use idempotency::IdempotencyKeys;
pub use measures::ReportPassage;
pub use measures::{
    Closing, ExceptionUse, GATES_MAX, Gate, HOUR_MS, HOURS_MAX, Latency, Measures, RULES_MAX,
    RuleUse, SURFACES_MAX, SurfaceUse, Surfaces, Tally,
};
pub use overrides::{Lift, Stop, Trip};
pub use pending::Viewer;
pub use policies::{Armed, Author, Draft, Review};
pub use privacy::LegalHold;
pub use rejection::Rejection;
pub use release::{Reserve, Unmetered};
pub use releases::{
    Alias, ChangeAlias, Lineage, LinkedApproval, LinkedChange, RegisterRelease, Release,
};
pub use sessions::Session;
pub use shadow::{Shadow, ShadowBundle, Shadowing};
pub use signers::{LogSigner, Standing};
pub use state::{Bounds, Held, HeldState, KillState, State};
pub use status::Status;
pub use step::{step, step_with};
pub use trips::{Acknowledge, Acknowledgement, Drill, GATE_HEARD_MS, TripRecord};
pub use votes::Cast;
