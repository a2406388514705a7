//! The wire: documents of the HTTP API with their schemas, and the list of public error codes.
//!
//! Owns names and shapes as clients see them. Refuses to know HTTP, the runtime and how anything
//! is decided: domain values come in, JSON goes out.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod approval;
mod audit;
mod authoring;
mod authzen;
mod compat;
mod coverage;
mod decision;
mod delegation;
pub mod error;
mod evidence;
mod exception;
mod execution;
mod manage;
mod measures;
mod outbox;
mod overrides;
mod policy;
mod privacy;
mod release;
mod session;
mod shadow;
mod signer;
mod surface;
mod text;
mod trips;

pub use approval::{
    ApprovalDocument, ApprovalList, ApprovalParts, AskedByDocument, CastVoteDocument,
    FieldDocument, JOB, RenderingDocument, VoteDocument,
};
pub use audit::{
    ApprovalMark, AuditDocument, EntryFault, LogEntryDocument, ReceiptDocument, TraceDocument,
    TrustDocument, TrustKeyDocument,
};
pub use authoring::{
    BacktestDocument, BacktestRequest, CaseDocument, DiffDocument, DiffRequest, DifferenceDocument,
    ExplainDocument, ExplainRequest, FindingDocument, FormatDocument, FormatRequest,
    FormattedDocument, ImportDocument, ImportRequest, LintDocument, LintRequest, OrderDocument,
    RecordedDocument, SchemaDocument, SourceDocument, TestDocument, TestRequest,
};
pub use authzen::{
    AccessEvaluationDocument, AccessEvaluationRequest, AccessEvaluationsRequest, ActionFound,
    ActionSearchDocument, ActionSearchRequest, AuthzenAction, AuthzenConfiguration, AuthzenEntity,
    AuthzenPage, AuthzenPageDocument, AuthzenSought, EntityFound, EntitySearchDocument,
    EvaluationApproval, EvaluationContext, EvaluationError, FoundContext, ObligationDocument,
    ReasonField, ResourceSearchRequest, SubjectSearchRequest,
};
pub use compat::{
    ApprovalAskRequest, ApprovalStatusDocument, CompatVoteRequest, GovernanceDecisionDocument,
    GovernanceRequestDocument, GovernanceRequestList, JobDocument, JobRequest,
    RiskAssessmentDocument, compat_status,
};
pub use coverage::{
    CoverageDocument, CoveredRules, CoveredSurface, GateDocument, HoleDocument, NeverMatched,
    PassageDocument, PassageRequest, PassagesDocument, UnknownSurfaces,
};
pub use decision::{
    ApprovalPart, DecisionDocument, ExceptionPart, LogPlace, MatchedDocument, Parts,
    PermitDocument, PermitPart, ReasonDocument, Renewed,
};
pub use delegation::{DelegationDocument, DelegationList, DelegationRequest};
pub use error::{CODES, PAGES, ProblemDocument};
pub use evidence::{
    EvidenceDocument, EvidenceList, EvidenceRequest, EvidenceRevokeRequest, IssuerKeyDocument,
    IssuerKeyList, IssuerKeyRequest,
};
pub use exception::{
    ExceptionControl, ExceptionDocument, ExceptionList, ExceptionPassageDocument, ExceptionRequest,
    ExceptionReview, ExceptionReviewRequest, ExceptionSpan,
};
pub use execution::{ExecutionDocument, ExecutionEndRequest, ExecutionList, ExecutionRequest};
pub use manage::{
    BatchRequest, ConsumeRequest, ExecutionRequestDocument, KeyDocument, KeyHeldDocument, KeyList,
    KeyMadeDocument, KeyRequest, KillDocument, KillRequest, KillStateDocument, LiftDocument,
    OutcomeRequest, StatusDocument, VoteRequest, WorkspaceDocument, WorkspaceList,
    WorkspaceMadeDocument, WorkspaceRequest,
};
pub use measures::{
    BucketDocument, ExceptionUseDocument, ExpiredEvidenceDocument, GovernanceDocument,
    LatencyDocument, LineageShareDocument, MissingOwnersDocument, RejectedDocument,
    UnownedDocument, ViolationsDocument,
};
pub use outbox::{ChannelDocument, DeliveryDocument, OutboxDocument};
pub use overrides::{
    OverrideDocument, OverrideLiftDocument, OverrideLiftRequest, OverrideList, OverrideRequest,
    TrippedDocument,
};
pub use policy::{
    PolicyAuthorDocument, PolicyAuthorRequest, PolicyCurrentDocument, PolicyDocument,
    PolicyDraftDocument, PolicyList, PolicyReleaseRequest, PolicyRequest, PolicyReviewDocument,
    PolicyReviewRequest, PolicyRollbackRequest, PolicySignatureDocument, PolicySource,
    PolicyWithdrawRequest,
};
pub use privacy::{
    DisclosedDocument, EraseDocument, EraseRequest, HoldDocument, HoldList, HoldReleasedDocument,
    HoldRequest, OpeningDocument,
};
pub use release::{
    AliasDocument, AliasList, AliasRequest, LinkDocument, RecordedEntryDocument, ReleaseDocument,
    ReleaseList, ReleaseRequest,
};
pub use session::{SessionDocument, SessionList, SessionMadeDocument, SessionRequest};
pub use shadow::{ShadowDocument, ShadowRequest, ShadowingDocument};
pub use signer::{RevokeSignerRequest, RotateRequest, SignerChangeDocument, SignersDocument};
pub use surface::{OwnedJson, SurfaceDocument, SurfaceList};
pub use text::{IdText, Instant, Json, JsonObject, Sha};
pub use trips::{
    AcknowledgeRequest, DrillRequest, GateAcknowledgement, OverrideReportDocument, OverrideStopped,
    OverrideTold, OverrideUnreached, SilentGate,
};
