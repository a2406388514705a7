//! Why a command may not be done: a closed list with stable codes. Refuses to know who asks.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use placet_types::Digest;
use placet_types::event::{CHAIN_MAX, KillScope};
use placet_types::ids::{HoldId, TimeMs};

/// A command that may not be done. State is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The bound of idempotency keys is reached.
    IdempotencyFull,
    /// There is no such thing in this workspace.
    NotFound(&'static str),
    /// The approval is final.
    ApprovalFinal(&'static str),
    /// The approval is not complete yet.
    ApprovalPending,
    /// The echoed digest is not the digest of the held action.
    StaleDigest,
    /// The digest was left out.
    DigestMissing,
    /// The proposer may not decide.
    OwnApproval,
    /// This person's right is used up: by an earlier vote, or by somebody to whom it was delegated.
    AlreadyVoted,
    /// The bundle in force asks for more than the voter has seen.
    Reopened,
    /// Nobody delegates to themselves.
    OwnDelegation,
    /// A delegation ends in the future, and no later than this.
    DelegationEnd(TimeMs),
    /// The bound of delegations is reached.
    DelegationsFull,
    /// What an exception covers, waives or names cannot be.
    ExceptionScope(&'static str),
    /// The policy lets an exception last no longer, in milliseconds.
    ExceptionTooLong(u64),
    /// The policy wants its review within so many milliseconds after its end.
    ExceptionReviewLate(u64),
    /// The bound of exceptions is reached.
    ExceptionsFull,
    /// It is not over yet.
    ExceptionLive,
    /// The exception that the permit rests on is over.
    ExceptionEnded,
    /// Only people decide approvals and kill switches.
    NotHuman,
    /// The caller lacks a role; any of these would do.
    RoleMissing(BTreeMap<String, u32>),
    /// The caller is not the one this belongs to.
    Foreign(&'static str),
    /// A kill switch is tripped.
    Killed(KillScope),
    /// Nothing new begins there.
    Frozen(KillScope),
    /// It is not to be used.
    Disabled(KillScope),
    /// The caller came with a role that nobody has at the moment.
    RoleRevoked(String),
    /// A scope cannot be stopped in this way.
    OverrideInvalid(&'static str),
    /// The bound of tripped scopes is reached.
    OverridesFull,
    /// Nobody lifts what stops themselves.
    OwnOverride,
    /// The execution has ended so, and that is final.
    ExecutionEnded(&'static str),
    /// The bound of running executions is reached.
    ExecutionsFull,
    /// The decision never had a permit to consume.
    NoPermit,
    /// The permit was consumed by another attempt.
    PermitConsumed,
    /// The permit has expired.
    PermitExpired,
    /// The permit was revoked.
    PermitRevoked,
    /// The outcome was reported already.
    AlreadyReported,
    /// The kill switch is not tripped.
    NotTripped,
    /// It was lifted again before every log had taken the trip over.
    LiftedMeanwhile,
    /// A second person has to lift it.
    SecondPerson,
    /// In solo mode it may be lifted from this instant on.
    TooEarly(TimeMs),
    /// The key was revoked between authentication and its turn.
    KeyRevoked,
    /// The session was closed, or what it came from was.
    SessionClosed,
    /// The session, or what it came from, has come to its end.
    SessionEnded,
    /// The bundle that has come into force grants the session fewer roles than its caller came with.
    SessionNarrowed,
    /// The token has opened a session.
    TokenUsed,
    /// The bound of sessions is reached.
    SessionsFull,
    /// The chain of delegation is too long, or not the one that leads to the caller.
    ChainTooDeep,
    /// Nobody hands on more than they have.
    RolesExceeded,
    /// What is handed on ends with what it came from.
    OutlivesParent,
    /// People sign in themselves.
    PersonHandedOn,
    /// Somebody else goes by that name.
    ActorTaken,
    /// What an agent hands on goes to agents.
    KindRaised,
    /// The last key that can administer the workspace may not be revoked.
    LastAdmin,
    /// Policy no longer grants what was held; it is withdrawn.
    Invalidated,
    /// A legal hold keeps a payload.
    LegalHold(HoldId),
    /// The retention of the surface runs until then.
    RetentionRunning(TimeMs),
    /// The bound of legal holds is reached.
    HoldsFull,
    /// The signing key in force cannot be revoked.
    SignerInForce,
    /// The bound of signing keys is reached.
    SignersFull,
    /// Another bundle is in force than the one it was reviewed against.
    PublicationStale(Option<Digest>),
    /// The bundle is in force.
    BundleInForce,
    /// The bundle was withdrawn for good.
    BundleWithdrawn,
    /// No author who counts has signed the bundle.
    BundleUnsigned,
    /// There is no bundle before to which one person may go back.
    NothingBefore,
    /// A review of this person's last emergency is overdue.
    ReviewOverdue,
    /// Nobody reviews what they did themselves.
    OwnReview,
    /// The bound of withdrawn bundles is reached.
    BundlesFull,
    /// The bound of author keys is reached.
    AuthorsFull,
    /// A name is taken for good.
    Exists(&'static str),
    /// The bound of releases and of names that belonged to one is reached.
    ReleasesFull,
    /// The public key of a certificate stands for somebody, or did.
    CertificateTaken,
    /// The decision rests on papers of a release that have lapsed since; what is missing.
    PapersLapsed(Vec<String>),
    /// The execution waits for a place, so nothing of it has happened.
    ExecutionQueued,
    /// Somebody has reviewed the exception, and with a verdict that stands.
    ExceptionReviewed,
    /// Aliases would lead to one another over too many, or in a circle.
    AliasChain,
    /// The bound of aliases is reached.
    AliasesFull,
    /// The bound of gates that acknowledge one override is reached.
    AcknowledgementsFull,
    /// A bound of evidence is reached.
    EvidenceFull,
    /// The piece was taken back.
    EvidenceRevoked,
    /// Its issuer has a key and has not signed it.
    EvidenceUnsigned,
    /// Its times are not what they may be.
    EvidenceTime(&'static str),
    /// A piece that the verdict rests on was taken back a moment ago.
    EvidenceMoved,
    /// A role of the proposer that the verdict rests on ended a moment ago.
    ProposerMoved,
    /// The key does not count for this issuer.
    IssuerKeyUnknown,
    /// The key was revoked, which is for good.
    IssuerKeyRevoked,
    /// The key is known by another name.
    IssuerKeyKnown,
    /// The bound of issuer keys is reached.
    IssuerKeysFull,
    /// A signature in the name of a key of an issuer is not its.
    EvidenceSignature,
    /// Several issuers have signed, and none is named.
    IssuerUnclear,
    /// The statement speaks of several subjects, or of another than the one that is named.
    SubjectUnclear,
}

impl Rejection {
    /// The stable code of the public error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::IdempotencyFull => "idempotency_full",
            Self::NotFound(_) => "not_found",
            Self::ApprovalFinal(_) => "approval_final",
            Self::ApprovalPending => "approval_pending",
            Self::StaleDigest => "stale_approval_digest",
            Self::DigestMissing => "approval_digest_missing",
            Self::OwnApproval => "own_approval",
            Self::AlreadyVoted => "already_voted",
            Self::Reopened => "approval_reopened",
            Self::OwnDelegation => "own_delegation",
            Self::DelegationEnd(_) => "delegation_end_invalid",
            Self::DelegationsFull => "delegations_full",
            Self::ExceptionScope(_) => "exception_scope_invalid",
            Self::ExceptionTooLong(_) => "exception_too_long",
            Self::ExceptionReviewLate(_) => "exception_review_late",
            Self::ExceptionsFull => "exceptions_full",
            Self::ExceptionLive => "exception_live",
            Self::ExceptionEnded => "exception_ended",
            Self::NotHuman => "not_human",
            Self::RoleMissing(_) => "role_missing",
            Self::Foreign(_) => "foreign",
            Self::Killed(_) => "killed",
            Self::Frozen(_) => "frozen",
            Self::Disabled(_) => "disabled",
            Self::RoleRevoked(_) => "role_revoked",
            Self::OverrideInvalid(_) => "override_invalid",
            Self::OverridesFull => "overrides_full",
            Self::OwnOverride => "own_override",
            Self::ExecutionEnded(_) => "execution_ended",
            Self::ExecutionsFull => "executions_full",
            Self::NoPermit => "no_permit",
            Self::PermitConsumed => "permit_consumed",
            Self::PermitExpired => "permit_expired",
            Self::PermitRevoked => "permit_revoked",
            Self::AlreadyReported => "already_reported",
            Self::NotTripped => "not_tripped",
            Self::LiftedMeanwhile => "lifted_meanwhile",
            Self::SecondPerson => "second_person_needed",
            Self::TooEarly(_) => "too_early",
            Self::KeyRevoked => "key_revoked",
            Self::SessionClosed => "session_closed",
            Self::SessionEnded => "session_ended",
            Self::SessionNarrowed => "session_narrowed",
            Self::TokenUsed => "token_used",
            Self::SessionsFull => "sessions_full",
            Self::ChainTooDeep => "chain_too_deep",
            Self::RolesExceeded => "roles_exceeded",
            Self::OutlivesParent => "outlives_parent",
            Self::PersonHandedOn => "person_handed_on",
            Self::ActorTaken => "actor_taken",
            Self::KindRaised => "kind_raised",
            Self::LastAdmin => "last_admin",
            Self::Invalidated => "approval_invalidated",
            Self::LegalHold(_) => "legal_hold",
            Self::RetentionRunning(_) => "retention_running",
            Self::HoldsFull => "holds_full",
            Self::SignerInForce => "signer_in_force",
            Self::SignersFull => "signers_full",
            Self::PublicationStale(_) => "publication_stale",
            Self::BundleInForce => "bundle_in_force",
            Self::BundleWithdrawn => "bundle_withdrawn",
            Self::BundleUnsigned => "bundle_unsigned",
            Self::NothingBefore => "nothing_before",
            Self::ReviewOverdue => "review_overdue",
            Self::OwnReview => "own_review",
            Self::BundlesFull => "bundles_full",
            Self::AuthorsFull => "authors_full",
            Self::Exists(_) => "already_exists",
            Self::ReleasesFull => "releases_full",
            Self::CertificateTaken => "certificate_taken",
            Self::PapersLapsed(_) => "release_incomplete",
            Self::ExecutionQueued => "execution_queued",
            Self::ExceptionReviewed => "exception_reviewed",
            Self::AliasChain => "alias_chain",
            Self::AliasesFull => "aliases_full",
            Self::AcknowledgementsFull => "acknowledgements_full",
            Self::EvidenceFull => "evidence_full",
            Self::EvidenceRevoked => "evidence_revoked",
            Self::EvidenceUnsigned => "evidence_unsigned",
            Self::EvidenceTime(_) => "evidence_time_invalid",
            Self::EvidenceMoved | Self::ProposerMoved => "policy_moved",
            Self::IssuerKeyUnknown => "issuer_key_unknown",
            Self::IssuerKeyRevoked => "issuer_key_revoked",
            Self::IssuerKeyKnown => "issuer_key_known",
            Self::IssuerKeysFull => "issuer_keys_full",
            Self::EvidenceSignature => "evidence_signature_bad",
            Self::IssuerUnclear => "evidence_issuer_unclear",
            Self::SubjectUnclear => "evidence_subject_unclear",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdempotencyFull => f.write_str(
                "too many idempotency keys are within their window; retry when some have left it",
            ),
            Self::NotFound(what) => write!(f, "no such {what} in this workspace"),
            Self::ApprovalFinal(state) => write!(f, "the approval is {state}, and that is final"),
            Self::ApprovalPending => f.write_str("the approval is not complete yet"),
            Self::StaleDigest => {
                f.write_str("the digest is not that of the held action; look at the approval again")
            }
            Self::DigestMissing => {
                f.write_str("action_digest is required: echo the digest of what you have seen")
            }
            Self::OwnApproval => f.write_str("nobody decides what they proposed themselves"),
            Self::AlreadyVoted => {
                f.write_str("this person's right has been used already; another has to decide")
            }
            Self::Reopened => f.write_str(
                "the policy now asks for more than was seen; look at the approval again and decide",
            ),
            Self::OwnDelegation => f.write_str("nobody delegates to themselves"),
            Self::DelegationEnd(latest) => {
                write!(f, "a delegation ends in the future, and not after {}", latest.rfc3339())
            }
            Self::DelegationsFull => f.write_str("too many delegations are in force; end some"),
            Self::ExceptionScope(why) => f.write_str(why),
            Self::ExceptionTooLong(0) => {
                f.write_str("the policy allows no exception here; add or widen its `exceptions:`")
            }
            Self::ExceptionTooLong(ms) => {
                write!(f, "the policy lets this exception last {} s at most", ms / 1000)
            }
            Self::ExceptionReviewLate(ms) => {
                write!(f, "the policy wants its review within {} s after its end", ms / 1000)
            }
            Self::ExceptionsFull => f.write_str(
                "too many exceptions cover this surface and actor, or too many wait for their review",
            ),
            Self::ExceptionLive => f.write_str("the exception is not over; close it first"),
            Self::ExceptionEnded => f.write_str("the exception that this rests on is over"),
            Self::NotHuman => f.write_str("only a person can do this"),
            Self::RoleMissing(roles) => {
                f.write_str("the caller needs one of the roles ")?;
                for (at, role) in roles.keys().enumerate() {
                    f.write_str(if at > 0 { ", " } else { "" })?;
                    f.write_str(role)?;
                }
                Ok(())
            }
            Self::Foreign(whose) => write!(f, "this belongs to {whose}"),
            Self::Killed(KillScope::Workspace) => {
                f.write_str("the kill switch of this workspace is tripped")
            }
            Self::Killed(scope) => write!(f, "the kill switch of {scope} is tripped"),
            Self::Frozen(scope) => write!(f, "{scope} is frozen: nothing new begins"),
            Self::Disabled(scope) => write!(f, "{scope} is disabled"),
            Self::RoleRevoked(role) => write!(f, "the role {role} is revoked for everybody"),
            Self::OverrideInvalid(why) => f.write_str(why),
            Self::OverridesFull => f.write_str(
                "as many scopes are tripped as can be kept; stop the workspace as a whole, or lift some",
            ),
            Self::ExecutionEnded(state) => {
                write!(f, "the execution is {state}, and that is final")
            }
            Self::ExecutionsFull => {
                f.write_str("too many executions run in this workspace; end some")
            }
            Self::OwnOverride => {
                f.write_str("it stops the caller; two other people have to lift it")
            }
            Self::NoPermit => f.write_str("this decision has no permit to consume"),
            Self::PermitConsumed => f.write_str("the permit was consumed by another attempt"),
            Self::PermitExpired => f.write_str("the permit has expired; ask for a new decision"),
            Self::PermitRevoked => f.write_str("the permit was revoked"),
            Self::AlreadyReported => f.write_str("the outcome was reported already"),
            Self::NotTripped => f.write_str("the kill switch is not tripped"),
            Self::LiftedMeanwhile => f.write_str(
                "everything was stopped, and lifted again before every workspace had taken it over",
            ),
            Self::SecondPerson => f.write_str("a second person has to lift it"),
            Self::TooEarly(time) => write!(f, "solo mode: not before {}", time.rfc3339()),
            Self::KeyRevoked => f.write_str("the key is revoked"),
            Self::SessionClosed => f.write_str("the session is closed; sign in again"),
            Self::SessionEnded => f.write_str("the session has ended; sign in again"),
            Self::SessionNarrowed => {
                f.write_str("the policy grants this session less than a moment ago; try again")
            }
            Self::TokenUsed => f.write_str("this token has opened a session already"),
            Self::SessionsFull => {
                f.write_str("too many sessions; close some, or wait until some have ended")
            }
            Self::ChainTooDeep => {
                write!(f, "a chain of delegation names at most {CHAIN_MAX} actors")
            }
            Self::RolesExceeded => f.write_str("nobody hands on roles that they do not have"),
            Self::OutlivesParent => {
                f.write_str("a session that is handed on ends no later than the one it comes from")
            }
            Self::PersonHandedOn => {
                f.write_str("a session is handed on to an agent or a service; people sign in")
            }
            Self::ActorTaken => f.write_str(
                "somebody else goes by that name: it has a key or a session that is not of this chain",
            ),
            Self::KindRaised => f.write_str("an agent hands rights on to agents alone"),
            Self::LastAdmin => f.write_str("the last key of the last admin cannot be revoked"),
            Self::Invalidated => {
                f.write_str("the policy no longer grants this; the approval is withdrawn")
            }
            Self::LegalHold(hold) => write!(f, "the legal hold {hold} keeps this payload"),
            Self::RetentionRunning(time) => {
                write!(f, "the surface keeps its payloads; this one until {}", time.rfc3339())
            }
            Self::HoldsFull => f.write_str("too many legal holds are in force; release some"),
            Self::SignerInForce => {
                f.write_str("this key signs the log now; rotate first, then revoke it")
            }
            Self::SignersFull => f.write_str("the log has had as many signing keys as it can keep"),
            Self::PublicationStale(Some(now)) => write!(
                f,
                "it was reviewed against another bundle than {now}, which is in force; look at the \
                 difference again and publish anew"
            ),
            Self::PublicationStale(None) => {
                f.write_str("it was reviewed against a bundle, and none is in force")
            }
            Self::BundleInForce => f.write_str("this bundle is in force"),
            Self::BundleWithdrawn => f.write_str("this bundle was withdrawn and never comes back"),
            Self::BundleUnsigned => {
                f.write_str("no author whose key counts here has signed this bundle")
            }
            Self::NothingBefore => f.write_str(
                "one person may go back to the bundle that the last publication replaced, and there \
                 is none or another; name the bundle, which takes two",
            ),
            Self::ReviewOverdue => {
                f.write_str("another person has to review this person's last emergency first")
            }
            Self::OwnReview => f.write_str("another person has to review it"),
            Self::BundlesFull => f.write_str("as many bundles are withdrawn as can be kept in mind"),
            Self::AuthorsFull => f.write_str("too many author keys count; revoke some"),
            Self::Exists(what) => write!(f, "this {what} exists already; take another name"),
            Self::ReleasesFull => f.write_str(
                "as many releases, or names that belonged to one, are kept in mind as can be",
            ),
            Self::CertificateTaken => f.write_str(
                "the public key of this certificate stands for somebody here, or did until it was revoked; \
                 make another key pair",
            ),
            Self::PapersLapsed(gaps) => write!(
                f,
                "the papers of the release were complete when this was decided, and are not any more: {}",
                gaps.join(", ")
            ),
            Self::ExecutionQueued => f.write_str(
                "the execution waits for a place: it can neither succeed nor have parts of its own yet",
            ),
            Self::ExceptionReviewed => f.write_str("the exception is reviewed, and that stands"),
            Self::AliasChain => {
                f.write_str("aliases would lead to one another in a circle, or over more than eight")
            }
            Self::AliasesFull => f.write_str("as many names lead somewhere as can"),
            Self::AcknowledgementsFull => {
                f.write_str("as many gates have acknowledged this as can be kept in mind")
            }
            Self::EvidenceFull => f.write_str(
                "as much evidence, or as many types, issuers or repetitions of it, are kept as can be, in all \
                 or without a signature; what is signed has more room",
            ),
            Self::EvidenceRevoked => f.write_str(
                "this evidence was taken back, and does not come again; bring one with another digest",
            ),
            Self::EvidenceUnsigned => f.write_str(
                "its issuer has or had a key, so only a signed envelope counts; sign with a key that does",
            ),
            Self::EvidenceTime(why) => write!(f, "the times of the evidence do not do: {why}"),
            Self::EvidenceMoved => {
                f.write_str("evidence was taken back while it was being decided; ask again")
            }
            Self::ProposerMoved => {
                f.write_str("a role of the proposer ended while it was being decided; ask again")
            }
            Self::IssuerKeyUnknown => {
                f.write_str("the key that signed it does not count for its issuer")
            }
            Self::IssuerKeyRevoked => {
                f.write_str("this key was revoked, which is for good; trust another")
            }
            Self::IssuerKeyKnown => {
                f.write_str("this key is trusted for its issuer, by another name; use that one")
            }
            Self::EvidenceSignature => f.write_str(
                "a signature in the name of a key of an issuer is not its, or the key is revoked",
            ),
            Self::IssuerUnclear => {
                f.write_str("several issuers have signed it; name the one whose word it is")
            }
            Self::SubjectUnclear => f.write_str(
                "name the subject: one of the statement's, by its digest sha256:…",
            ),
            Self::IssuerKeysFull => {
                f.write_str("too many keys of issuers, or of this one, are kept; revoke some")
            }
        }
    }
}

impl core::error::Error for Rejection {}
