//! Log entries: the closed list of event types with their one canonical form. An entry is an
//! in-toto Statement whose predicate is the event; it is all that state is folded from. Owns the
//! format of version 1; refuses to know storage, trees and what events do to state.

mod acknowledge;
mod approval;
mod decision;
mod evidence;
mod exception;
mod execution;
mod other;
mod overdue;
mod overrides;
mod passage;
mod policy;
mod privacy;
mod read;
mod release;
mod session;
mod shadow;
mod signer;

use crate::hash::Digest;
use crate::ids::{ActorId, ActorKind, TimeMs, WorkspaceName};
use crate::json::{self, Limits, Writer};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

pub use acknowledge::{KillDrilled, OverrideAcknowledged};
pub use approval::{
    ApprovalClosed, ApprovalEscalated, ApprovalReminded, ApprovalReopened, ApprovalVoted,
    CloseState, DelegationEnded, DelegationGranted, EscalationStep, StandsIn, Through, VoteChannel,
};
pub use decision::{ApprovalOpened, DecisionEvent, Matched, PermitIssued, WindowUse};
pub use evidence::{EvidenceAdded, EvidenceRevoked, IssuerKey};
pub use exception::{
    ANY_SURFACE, CONSTITUTION_RULE, Control, EXCEPTION_RULE, ExceptionEnded, ExceptionOpened,
    ExceptionReviewed, ExceptionScope, Passage, RESERVED_RULES, Waived, Waives, exception_rule,
};
pub use execution::{
    EndState, ExecutionEnded, ExecutionStarted, ExecutionTerminated, TerminateCause,
};
pub use other::{
    Gap, Genesis, KeyGrant, KeyRevoked, OutcomeReported, PermitCollected, PermitConsumed,
    PermitEnded, Principal, Refused, ReportedResult,
};
pub use overdue::ExceptionOverdue;
pub use overrides::{KillEvent, KillScope, KillSource, OverrideMode};
pub use passage::PassageReported;
pub use policy::{
    Arming, AuthorKey, BundleArmed, BundleDrafted, BundleWithdrawn, ReviewClosed, Signed,
};
pub use privacy::{HoldPlaced, HoldReleased, HoldScope, PayloadErased};
use read::Reader;
pub use release::{AliasChanged, ReleaseRegistered};
pub use session::{
    CHAIN_MAX, CloseReason, SessionClosed, SessionNarrowed, SessionOpened, TokenUse,
};
pub use shadow::{BundleShadowed, Differing, Would};
pub use signer::{LogSucceeded, SignerRevoked, SignerRotated};

/// `_type` of every entry.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of every entry.
pub const PREDICATE_TYPE: &str = "urn:placet:event:1";
/// Largest entry in bytes.
pub const ENTRY_BYTES_MAX: usize = 16 << 10;

/// 16 bytes of a workspace-keyed HMAC: idempotency keys, velocity keys and subjects.
pub type Tag = [u8; 16];

/// A keyed pseudonym of something personal: `HMAC-SHA-256(workspace key, kind ‖ 0x00 ‖ value)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym(pub [u8; 32]);

impl Pseudonym {
    /// 64 lower-case hex digits.
    #[must_use]
    pub fn hex(&self) -> String {
        crate::hash::hex_encode(&self.0)
    }
}

/// An actor as an entry shows it: agents and services by name, people by pseudonym.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorRef(String);

impl ActorRef {
    /// The reference for `actor`; `pseudonym` stands in for a person's name.
    #[must_use]
    pub fn new(actor: &ActorId, pseudonym: impl FnOnce(&str) -> Pseudonym) -> Self {
        match actor.kind() {
            ActorKind::Human => Self(format!("human:{}", pseudonym(actor.as_str()).hex())),
            ActorKind::Agent | ActorKind::Service => Self(actor.to_string()),
        }
    }

    /// Parses the text of a reference.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ActorId::parse(text).map(|actor| Self(actor.to_string()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for a person.
    #[must_use]
    pub fn is_human(&self) -> bool {
        self.0.starts_with("human:")
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was sequenced; never before the entry in front of it.
    pub time: TimeMs,
    /// Whose log.
    pub workspace: WorkspaceName,
    /// Fencing epoch of the writer.
    pub epoch: u64,
    /// Written by a server in development mode.
    pub dev: bool,
    /// Written in a workspace in solo mode.
    pub solo: bool,
    /// Name of the in-toto subject: the decision id, or the event's own.
    pub name: String,
    /// Digest of the in-toto subject: the commitment to the action, or to the payload.
    pub commitment: Digest,
    /// Commitment to the plaintext of the payload that travels beside the entry.
    pub payload: Digest,
    /// What happened.
    pub event: Event,
}

/// What happened. A type that is not in this list stops the fold.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `genesis`: index 0.
    Genesis(Genesis),
    /// `decision`
    Decision(Arc<DecisionEvent>),
    /// `permit.collected`: a held action's permit, minted for its caller.
    PermitCollected(PermitCollected),
    /// `permit.consumed`: by the gate it was handed to.
    PermitConsumed(PermitConsumed),
    /// `permit.expired`: never consumed.
    PermitExpired(PermitEnded),
    /// `permit.revoked`: withdrawn by a kill before its answer left, or while open.
    PermitRevoked(PermitEnded),
    /// `outcome.reported`
    OutcomeReported(OutcomeReported),
    /// `passage.reported`: an effect without a decision.
    PassageReported(PassageReported),
    /// `approval.voted`
    ApprovalVoted(ApprovalVoted),
    /// `approval.closed`: without a rejection: expired, invalidated, withdrawn.
    ApprovalClosed(ApprovalClosed),
    /// `approval.reopened`: the bundle in force asks for more.
    ApprovalReopened(ApprovalReopened),
    /// `approval.escalated`: further people may approve.
    ApprovalEscalated(ApprovalEscalated),
    /// `approval.reminded`: it expires soon.
    ApprovalReminded(ApprovalReminded),
    /// `delegation.granted`: of the right to approve.
    DelegationGranted(DelegationGranted),
    /// `delegation.ended`
    DelegationEnded(DelegationEnded),
    /// `exception.opened`: a deviation from policy.
    ExceptionOpened(Arc<ExceptionOpened>),
    /// `exception.ended`: its time was up.
    ExceptionEnded(ExceptionEnded),
    /// `exception.closed`: before its time.
    ExceptionClosed(ExceptionEnded),
    /// `exception.reviewed`: another person has looked at it.
    ExceptionReviewed(ExceptionReviewed),
    /// `exception.overdue`: nobody has reviewed it in time.
    ExceptionOverdue(ExceptionOverdue),
    /// `kill.tripped`
    KillTripped(KillEvent),
    /// `kill.lift_requested`
    KillLiftRequested(KillEvent),
    /// `kill.lifted`
    KillLifted(KillEvent),
    /// `execution.started`: a run of a capability.
    ExecutionStarted(ExecutionStarted),
    /// `execution.queued`: it waits for a place.
    ExecutionQueued(ExecutionStarted),
    /// `execution.terminated`: by the plane.
    ExecutionTerminated(ExecutionTerminated),
    /// `execution.ended`: by whoever runs it.
    ExecutionEnded(ExecutionEnded),
    /// `kill.drilled`: practised; nothing is stopped.
    KillDrilled(KillDrilled),
    /// `override.acknowledged`: by a gate.
    OverrideAcknowledged(OverrideAcknowledged),
    /// `bundle.drafted`: uploaded, compiled, its cases passed.
    BundleDrafted(BundleDrafted),
    /// `bundle.armed`: in force from here on.
    BundleArmed(BundleArmed),
    /// `bundle.shadowed`: a bundle beside the one in force, or none any more.
    BundleShadowed(BundleShadowed),
    /// `bundle.withdrawn`: never to be in force again.
    BundleWithdrawn(BundleWithdrawn),
    /// `review.closed`: of what one person did in an emergency.
    ReviewClosed(ReviewClosed),
    /// `author.trusted`: bundles have to be signed by an author from here on.
    AuthorTrusted(AuthorKey),
    /// `author.revoked`
    AuthorRevoked(AuthorKey),
    /// `key.created`
    KeyCreated(KeyGrant),
    /// `key.revoked`
    KeyRevoked(KeyRevoked),
    /// `session.opened`: somebody signed in, or was handed a part of another's rights.
    SessionOpened(SessionOpened),
    /// `session.narrowed`: the bundle grants it fewer roles.
    SessionNarrowed(SessionNarrowed),
    /// `session.closed`: before its time.
    SessionClosed(SessionClosed),
    /// `payload.erased`: payloads whose keys are destroyed.
    PayloadErased(PayloadErased),
    /// `hold.placed`: a legal hold.
    HoldPlaced(HoldPlaced),
    /// `hold.released`
    HoldReleased(HoldReleased),
    /// `signer.rotated`: another key signs the log from here on.
    SignerRotated(SignerRotated),
    /// `signer.revoked`: a former key of the log counts no more.
    SignerRevoked(SignerRevoked),
    /// `log.succeeded`: the log goes on under another name.
    LogSucceeded(LogSucceeded),
    /// `evidence.added`: somebody vouches for something.
    EvidenceAdded(EvidenceAdded),
    /// `evidence.revoked`
    EvidenceRevoked(EvidenceRevoked),
    /// `issuer.trusted`: what a key signs is the word of its issuer.
    IssuerTrusted(IssuerKey),
    /// `issuer.revoked`
    IssuerRevoked(IssuerKey),
    /// `release.registered`: a name for a digest, with its papers.
    ReleaseRegistered(ReleaseRegistered),
    /// `alias.changed`: where a name leads.
    AliasChanged(AliasChanged),
    /// `gap`: the store was down or the process was not there.
    Gap(Gap),
    /// `admission.refused`: requests refused before the log, per minute.
    AdmissionRefused(Refused),
}

impl Event {
    /// The names of all types.
    pub const TYPES: [&'static str; 55] = [
        "genesis",
        "decision",
        "permit.collected",
        "permit.consumed",
        "permit.expired",
        "permit.revoked",
        "outcome.reported",
        "passage.reported",
        "approval.voted",
        "approval.closed",
        "approval.reopened",
        "approval.escalated",
        "approval.reminded",
        "delegation.granted",
        "delegation.ended",
        "exception.opened",
        "exception.ended",
        "exception.closed",
        "exception.reviewed",
        "exception.overdue",
        "kill.tripped",
        "kill.lift_requested",
        "kill.lifted",
        "execution.started",
        "execution.queued",
        "execution.terminated",
        "execution.ended",
        "kill.drilled",
        "override.acknowledged",
        "bundle.drafted",
        "bundle.armed",
        "bundle.shadowed",
        "bundle.withdrawn",
        "review.closed",
        "author.trusted",
        "author.revoked",
        "key.created",
        "key.revoked",
        "session.opened",
        "session.narrowed",
        "session.closed",
        "payload.erased",
        "hold.placed",
        "hold.released",
        "signer.rotated",
        "signer.revoked",
        "log.succeeded",
        "evidence.added",
        "evidence.revoked",
        "issuer.trusted",
        "issuer.revoked",
        "release.registered",
        "alias.changed",
        "gap",
        "admission.refused",
    ];

    /// The stable name of the type.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Genesis(_) => "genesis",
            Self::Decision(_) => "decision",
            Self::PermitCollected(_) => "permit.collected",
            Self::PermitConsumed(_) => "permit.consumed",
            Self::PermitExpired(_) => "permit.expired",
            Self::PermitRevoked(_) => "permit.revoked",
            Self::OutcomeReported(_) => "outcome.reported",
            Self::PassageReported(_) => "passage.reported",
            Self::ApprovalVoted(_) => "approval.voted",
            Self::ApprovalClosed(_) => "approval.closed",
            Self::ApprovalReopened(_) => "approval.reopened",
            Self::ApprovalEscalated(_) => "approval.escalated",
            Self::ApprovalReminded(_) => "approval.reminded",
            Self::DelegationGranted(_) => "delegation.granted",
            Self::DelegationEnded(_) => "delegation.ended",
            Self::ExceptionOpened(_) => "exception.opened",
            Self::ExceptionEnded(_) => "exception.ended",
            Self::ExceptionClosed(_) => "exception.closed",
            Self::ExceptionReviewed(_) => "exception.reviewed",
            Self::ExceptionOverdue(_) => "exception.overdue",
            Self::KillTripped(_) => "kill.tripped",
            Self::KillLiftRequested(_) => "kill.lift_requested",
            Self::KillLifted(_) => "kill.lifted",
            Self::ExecutionStarted(_) => "execution.started",
            Self::ExecutionQueued(_) => "execution.queued",
            Self::ExecutionTerminated(_) => "execution.terminated",
            Self::ExecutionEnded(_) => "execution.ended",
            Self::KillDrilled(_) => "kill.drilled",
            Self::OverrideAcknowledged(_) => "override.acknowledged",
            Self::BundleDrafted(_) => "bundle.drafted",
            Self::BundleArmed(_) => "bundle.armed",
            Self::BundleShadowed(_) => "bundle.shadowed",
            Self::BundleWithdrawn(_) => "bundle.withdrawn",
            Self::ReviewClosed(_) => "review.closed",
            Self::AuthorTrusted(_) => "author.trusted",
            Self::AuthorRevoked(_) => "author.revoked",
            Self::KeyCreated(_) => "key.created",
            Self::KeyRevoked(_) => "key.revoked",
            Self::SessionOpened(_) => "session.opened",
            Self::SessionNarrowed(_) => "session.narrowed",
            Self::SessionClosed(_) => "session.closed",
            Self::PayloadErased(_) => "payload.erased",
            Self::HoldPlaced(_) => "hold.placed",
            Self::HoldReleased(_) => "hold.released",
            Self::SignerRotated(_) => "signer.rotated",
            Self::SignerRevoked(_) => "signer.revoked",
            Self::LogSucceeded(_) => "log.succeeded",
            Self::EvidenceAdded(_) => "evidence.added",
            Self::EvidenceRevoked(_) => "evidence.revoked",
            Self::IssuerTrusted(_) => "issuer.trusted",
            Self::IssuerRevoked(_) => "issuer.revoked",
            Self::ReleaseRegistered(_) => "release.registered",
            Self::AliasChanged(_) => "alias.changed",
            Self::Gap(_) => "gap",
            Self::AdmissionRefused(_) => "admission.refused",
        }
    }
}

/// Why bytes are no entry of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryError {
    what: String,
}

impl EntryError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry refused: {}", self.what)
    }
}

impl core::error::Error for EntryError {}

impl Entry {
    /// Appends the canonical bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        Writer::object(out, |w| {
            w.str("_type", STATEMENT_TYPE);
            w.nested("predicate", |w| self.write_predicate(w));
            w.str("predicateType", PREDICATE_TYPE);
            w.objects("subject", [()], |w, ()| {
                w.nested("digest", |w| w.hex_member("placetCommitment", &self.commitment.0));
                w.str("name", &self.name);
            });
        });
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        self.write(&mut out);
        out
    }

    fn write_predicate(&self, w: &mut Writer<'_>) {
        w.nested("data", |w| self.event.write_data(w));
        w.flag("dev", self.dev);
        w.uint("epoch", self.epoch);
        w.digest("payload", &self.payload);
        w.flag("solo", self.solo);
        w.uint("time_ms", self.time.0);
        w.str("type", self.event.type_name());
        w.int("v", 1);
        w.str("workspace", self.workspace.as_str());
    }

    /// Reads canonical bytes; anything that would not be written back byte for byte is refused.
    ///
    /// # Errors
    /// [`EntryError`] says what was found.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let value =
            json::parse(bytes, Limits::ENTRY).map_err(|e| EntryError::new(e.to_string()))?;
        let mut statement = Reader::new(value)?;
        statement.constant("_type", STATEMENT_TYPE)?;
        statement.constant("predicateType", PREDICATE_TYPE)?;
        let mut subjects = statement.objects("subject")?;
        let mut predicate = statement.object("predicate")?;
        statement.end()?;
        let (Some(mut subject), true) = (subjects.pop(), subjects.is_empty()) else {
            return Err(EntryError::new("not exactly one subject"));
        };
        let mut digest = subject.object("digest")?;
        let commitment = Digest::parse_hex(&digest.str("placetCommitment")?)
            .ok_or_else(|| EntryError::new("placetCommitment is no digest"))?;
        digest.end()?;
        let name = subject.str("name")?;
        subject.end()?;
        if predicate.uint("v")? != 1 {
            return Err(EntryError::new("written by another version of the format"));
        }
        let kind = predicate.str("type")?;
        let data = predicate.object("data")?;
        let entry = Self {
            time: TimeMs(predicate.uint("time_ms")?),
            workspace: predicate.parsed("workspace", WorkspaceName::parse)?,
            epoch: predicate.uint("epoch")?,
            dev: predicate.flag("dev")?,
            solo: predicate.flag("solo")?,
            name,
            commitment,
            payload: predicate.digest("payload")?,
            event: Event::read(&kind, data)?,
        };
        predicate.end()?;
        if entry.to_bytes() != bytes {
            return Err(EntryError::new("not in canonical form"));
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests;
