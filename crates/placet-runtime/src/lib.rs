//! The imperative shell around the engine: ports, crypto, frames, the sequencer and its committer,
//! and the plane through which servers and commands reach them.
//!
//! Owns ordering, batching and durability. Refuses to know concrete stores and HTTP.

mod admin;
mod answer;
mod armed;
mod asking;
pub mod backtest;
mod boot;
mod callers;
mod certificates;
mod clock;
mod committer;
pub mod crypto;
mod delegating;
mod directory;
pub mod driver;
mod dry;
mod error;
mod everything;
mod evidence;
mod excepting;
mod executions;
mod explaining;
mod fold;
mod follower;
pub mod frame;
mod halts;
mod holding;
pub mod host;
mod housekeeping;
mod idle;
mod inbox;
mod keeping;
mod load;
mod measuring;
mod overriding;
mod people;
mod plane;
mod policies;
mod pool;
pub mod ports;
mod preview;
mod privacy;
mod proofs;
mod proposal;
mod pseudonyms;
mod reading;
mod receipts;
mod recent;
mod releases;
mod rendering;
pub mod replay;
pub mod scan;
mod scrub;
mod sealed;
mod seat;
mod seeing;
mod seeking;
mod sequencer;
mod sessions;
mod shadow;
mod signing;
mod snapshot;
mod snapshotter;
mod start_error;
mod tiling;
mod trips;
mod waiting;
mod watching;
mod workspace;

pub use admin::{Admission, KeySpec};
pub use answer::{DecisionAnswer, PermitState, PermitView};
pub use boot::{Options, Started, Stores};
pub use committer::CommitTotals;
pub use delegating::Delegating;
pub use directory::{ApiKey, KeyError, KeyRecord};
pub use dry::{
    CASE_DECISIONS_MAX, CaseResult, Difference, DryDecision, DryError, DryRun, SelfTestFailure,
    all_cases, run_case, run_case_while, self_test,
};
pub use error::PlaneError;
pub use evidence::{AddSpec, find_evidence, issuer_request};
pub use excepting::{ExceptionSpec, ExceptionView, is_party};
pub use executions::{ExecutionFilter, ExecutionSpec};
pub use explaining::Recorded;
pub use holding::{Ballot, CastVote, Course, approval_after};
pub use idle::{IdleTotals, Summary};
pub use inbox::{HeldView, Shown};
pub use keeping::Disclosed;
pub use measuring::{Measured, Passage, PassageRecorded, Seen};
pub use overriding::Halt;
pub use plane::{Decided, Plane, Principal, nonce_hash};
pub use policies::{
    BundleRefusal, NowArmed, Policies, PolicyAct, PolicyMatters, Publication, REVIEW_MS, Upload,
    author_request, changes, publish_request, rollback_request,
};
pub use privacy::{ErasePlan, EraseSpec, Selection};
pub use proposal::APPROVAL_REQUEST;
pub use pseudonyms::Pseudonyms;
pub use reading::{LogEntry, actor_of, event_decision, matches};
pub use receipts::{Against, History};
pub use releases::{ALIAS_CHANGE, RELEASE_REGISTER, ReleaseSpec, alias_request};
pub use rendering::{Provenance, RenderedField, Rendering};
pub use sessions::{Credential, HandOn, SessionRecord, VerifiedToken};
pub use signing::{RevokeSpec, SignerChange, check_handover, check_signers};
pub use snapshot::contradicted;
pub use snapshotter::{SnapshotPlan, SnapshotTotals};
pub use start_error::StartError;
pub use tiling::Tiling;
pub use trips::TripReport;
pub use workspace::{InForce, SignedHead, Workspace};
