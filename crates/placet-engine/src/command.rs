//! Commands and plans: all that may be asked of a workspace, with every fact it rests on, and what
//! comes of it.

mod asked;
mod signing;
mod unsent;
mod voting;

use crate::exceptions::{Brought, OpenException, Passing};
use crate::executions::{EndExecution, StartExecution};
use crate::follow::Follow;
use crate::measures::ReportPassage;
use crate::overrides::{Lift, Trip};
use crate::releases::{ChangeAlias, RegisterRelease};
use crate::shadow::{Shadow, ShadowBundle};
use crate::trips::{Acknowledge, Drill};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::event::{
    ActorRef, BundleArmed, DecisionEvent, Event, Gap, Genesis, HoldScope, KillScope, Principal,
    Pseudonym, Refused, ReportedResult, SessionNarrowed, SessionOpened, Signed, Tag, VoteChannel,
};
use placet_types::ids::{
    ApprovalId, DecisionId, DelegationId, EvidenceId, ExceptionId, HoldId, KeyId, PermitId, TimeMs,
};
use placet_types::policy::Verdict;
use placet_types::surface::SurfacePattern;

pub use signing::{AuthorChange, RevokeSigner, RotateSigner, SucceedLog};
pub use unsent::{RevokePermit, Unsent};
pub use voting::{Lends, Waiting};

/// Who acts, as authentication verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Reference as entries show it.
    pub actor: ActorRef,
    /// Key used; absent in development mode.
    pub key: Option<KeyId>,
    /// Roles of the key.
    pub roles: BTreeSet<String>,
}

/// Something asked of a workspace.
#[derive(Clone, Debug)]
pub enum Command {
    /// Decide a request.
    Decide(Box<Decide>),
    /// Approve or reject a held decision.
    Vote(Box<Vote>),
    /// Mint the permit of an approved decision for its caller.
    Collect(Box<Collect>),
    /// Take a held decision back.
    Withdraw {
        /// The held decision.
        decision: DecisionId,
        /// Its proposer.
        by: Who,
    },
    /// Let somebody else approve in one's place.
    Delegate(Box<Delegate>),
    /// End a delegation.
    EndDelegation {
        /// Which.
        delegation: DelegationId,
        /// Who gave it, who has it, or an admin.
        by: Who,
    },
    /// Open an exception.
    OpenException(Box<OpenException>),
    /// End an exception before its time.
    CloseException {
        /// Which.
        exception: ExceptionId,
        /// Its owner, who opened it, an admin or an operator.
        by: Who,
    },
    /// Review what passed under an exception.
    ReviewException {
        /// Which.
        exception: ExceptionId,
        /// Whether it was right to open it.
        justified: bool,
        /// Another person.
        by: Who,
    },
    /// Consume a permit that was handed to another gate.
    Consume(Consume),
    /// Report how an action went.
    Report(Box<Report>),
    /// Report an effect that nothing permits.
    ReportPassage(Box<ReportPassage>),
    /// Withdraw permits whose answers have not left (kill after the flush).
    RevokePermit(RevokePermit),
    /// Trip a kill switch.
    Trip(Trip),
    /// Lift a kill switch.
    Lift(Lift),
    /// Take over what was done about everything in the first workspace.
    Follow(Follow),
    /// Start an execution under a permit for `execution`.
    StartExecution(Box<StartExecution>),
    /// Say how an execution ended.
    EndExecution(EndExecution),
    /// Practise a kill.
    Drill(Drill),
    /// Say what a gate has done about an override.
    Acknowledge(Acknowledge),
    /// Create a key under a permit for `key.create`.
    CreateKey(CreateKey),
    /// Revoke a key.
    RevokeKey {
        /// The key.
        key: KeyId,
        /// An admin.
        by: Who,
    },
    /// Open a session.
    OpenSession(Box<OpenSession>),
    /// Close a session before its time.
    CloseSession {
        /// The session.
        key: KeyId,
        /// Whose it is, who handed it on, or an admin.
        by: Who,
    },
    /// Erase payloads.
    Erase(Box<Erase>),
    /// Place a legal hold.
    PlaceHold(PlaceHold),
    /// Release a legal hold.
    ReleaseHold {
        /// The hold.
        hold: HoldId,
        /// An admin.
        by: Who,
        /// The decision that permitted it.
        decision: Option<DecisionId>,
    },
    /// Hand over to another signing key.
    RotateSigner(Box<RotateSigner>),
    /// Go on under another name.
    SucceedLog(Box<SucceedLog>),
    /// Revoke a former signing key.
    RevokeSigner(RevokeSigner),
    /// Start the log.
    Found(Box<Genesis>),
    /// Set or clear the bundle beside the one in force.
    ShadowBundle(ShadowBundle),
    /// Put the bundle of a start in force.
    ArmBundle(Box<BundleArmed>),
    /// Record that a bundle was uploaded.
    DraftBundle(Box<DraftBundle>),
    /// Put a bundle in force under a decision.
    ArmUnder(Box<ArmUnder>),
    /// Never let a bundle come back.
    WithdrawBundle {
        /// Its digest.
        bundle: Digest,
        /// Code of the matter.
        reason: String,
        /// An admin.
        by: Who,
    },
    /// Close the review of an emergency.
    CloseReview {
        /// What was to be reviewed.
        decision: DecisionId,
        /// Another person.
        by: Who,
    },
    /// Trust the key of an author, or trust it no more.
    ChangeAuthor(Box<AuthorChange>),
    /// Vouch for something.
    AddEvidence(Box<AddEvidence>),
    /// Take a piece of evidence back.
    RevokeEvidence {
        /// The piece.
        evidence: EvidenceId,
        /// Code of the matter.
        reason: String,
        /// Its issuer, or somebody who may.
        by: Who,
    },
    /// Trust the key of an issuer of evidence, or trust it no more.
    ChangeIssuer(Box<IssuerChange>),
    /// Register a release.
    RegisterRelease(Box<RegisterRelease>),
    /// Change where a name leads.
    ChangeAlias(Box<ChangeAlias>),
    /// Record that nothing was decided for a while.
    Gap(Gap),
    /// Record requests that were refused before the log.
    Refused(Refused),
    /// Expire what has expired.
    Tick,
}

impl Command {
    /// On whose authority, if on anybody's.
    #[must_use]
    pub fn who(&self) -> Option<&Who> {
        match self {
            Self::Decide(command) => Some(&command.who),
            Self::Vote(command) => Some(&command.who),
            Self::Collect(command) => Some(&command.who),
            Self::Consume(command) => Some(&command.who),
            Self::Report(command) => Some(&command.who),
            Self::ReportPassage(command) => Some(&command.who),
            Self::Lift(command) => Some(&command.who),
            Self::Drill(command) => Some(&command.who),
            Self::Acknowledge(command) => Some(&command.who),
            Self::CreateKey(command) => Some(&command.by),
            Self::StartExecution(command) => Some(&command.by),
            Self::EndExecution(command) => Some(&command.by),
            Self::Delegate(command) => Some(&command.by),
            Self::OpenException(command) => Some(&command.by),
            Self::Withdraw { by, .. }
            | Self::EndDelegation { by, .. }
            | Self::CloseException { by, .. }
            | Self::ReviewException { by, .. }
            | Self::RevokeKey { by, .. }
            | Self::CloseSession { by, .. }
            | Self::WithdrawBundle { by, .. }
            | Self::CloseReview { by, .. }
            | Self::ReleaseHold { by, .. } => Some(by),
            Self::OpenSession(command) => command.by.as_ref(),
            Self::DraftBundle(command) => Some(&command.by),
            Self::ArmUnder(command) => Some(&command.by),
            Self::ChangeAuthor(command) => Some(&command.by),
            Self::AddEvidence(command) => Some(&command.by),
            Self::RevokeEvidence { by, .. } => Some(by),
            Self::ChangeIssuer(command) => Some(&command.by),
            Self::RegisterRelease(command) => Some(&command.by),
            Self::ChangeAlias(command) => Some(&command.by),
            Self::Erase(command) => command.by.as_ref(),
            Self::PlaceHold(command) => Some(&command.by),
            Self::RotateSigner(command) => command.by.as_ref(),
            Self::RevokeSigner(command) => Some(&command.by),
            Self::ShadowBundle(command) => Some(&command.by),
            Self::Trip(command) => command.who.as_ref(),
            // Whoever did it has done it in another log.
            Self::Follow(_)
            | Self::RevokePermit(_)
            | Self::Found(_)
            | Self::ArmBundle(_)
            | Self::Gap(_)
            | Self::SucceedLog(_)
            | Self::Refused(_)
            | Self::Tick => None,
        }
    }
}

/// A request with everything the decision rests on.
#[derive(Clone, Debug)]
pub struct Decide {
    /// Fresh ids; those not needed are not recorded.
    pub ids: (DecisionId, ApprovalId, PermitId),
    /// Who asks.
    pub who: Who,
    /// On whose behalf.
    pub on_behalf_of: Vec<ActorRef>,
    /// Who will execute, when it is not the caller.
    pub audience: Option<ActorRef>,
    /// Verified environment.
    pub environment: String,
    /// Surface.
    pub surface: String,
    /// Action.
    pub action: String,
    /// Topic.
    pub topic: Option<String>,
    /// Pseudonym of the target.
    pub target: Option<Pseudonym>,
    /// Tags of the subjects, sorted.
    pub subjects: Vec<Tag>,
    /// Trace id.
    pub trace: Option<String>,
    /// Commitment to the action digest.
    pub action_commitment: Digest,
    /// Commitment to the request digest.
    pub request_commitment: Digest,
    /// Commitment to the verified facts.
    pub facts_commitment: Digest,
    /// Pseudonym of the idempotency key.
    pub idempotency: Tag,
    /// How long the key stays bound.
    pub window_ms: u64,
    /// SHA-256 of the attempt's nonce.
    pub nonce: Option<Digest>,
    /// The instant after which the answer is SILENCE.
    pub deadline: TimeMs,
    /// Life of a permit.
    pub permit_ms: u64,
    /// An approval expires after so long, where policy does not say sooner.
    pub approval_ms: Option<u64>,
    /// What the bundle says.
    pub verdict: Verdict,
    /// For each hit with a `limit:`, the pseudonym of rule and key values.
    pub windows: Vec<Option<Tag>>,
    /// What the shadow bundle says, where there is one.
    pub shadow: Option<Box<Shadow>>,
    /// What an exception may ask for besides.
    pub passing: Passing,
    /// It was done already, and is filed afterwards.
    pub retroactive: bool,
    /// What an override can stop it by besides its surface and its actors, in the order of the texts.
    pub under: Vec<KillScope>,
}

/// A vote on a held decision.
#[derive(Clone, Debug)]
pub struct Vote {
    /// Which.
    pub approval: ApprovalId,
    /// Who.
    pub who: Who,
    /// Yes or no.
    pub approve: bool,
    /// Commitment (under the held payload's salt) to the action digest that the voter echoed;
    /// `None` when it was left out.
    pub echo: Option<Digest>,
    /// Digest of the demand that the voter saw, where the voter says so. Whoever has approved already adds
    /// to that only in this way.
    pub requirement: Option<Digest>,
    /// The channel it came through. Then the person has no key here, and their roles are those of
    /// their own keys, whatever `who` says.
    pub via: Option<VoteChannel>,
    /// The held request under the current bundle.
    pub verdict: Verdict,
    /// The roles that the proposer lent to that.
    pub lends: Option<Lends>,
    /// What the store has of evidence for it today.
    pub evidence: Vec<Brought>,
    /// For each hit that has a window, its pseudonym.
    pub windows: Vec<Option<Tag>>,
    /// The caller that waits for its permit.
    pub waiting: Option<Waiting>,
}

/// Let somebody else approve in one's place.
#[derive(Clone, Debug)]
pub struct Delegate {
    /// A fresh id.
    pub delegation: DelegationId,
    /// Whose roles.
    pub by: Who,
    /// Who may approve with them.
    pub to: ActorRef,
    /// The roles.
    pub roles: BTreeSet<String>,
    /// On which surfaces; on all where there are none.
    pub surfaces: Vec<SurfacePattern>,
    /// Until when.
    pub until: TimeMs,
}

/// The caller of an approved decision asks for its permit.
#[derive(Clone, Debug)]
pub struct Collect {
    /// The held decision.
    pub decision: DecisionId,
    /// Its proposer.
    pub who: Who,
    /// SHA-256 of the attempt's nonce.
    pub nonce: Option<Digest>,
    /// A fresh id.
    pub permit: PermitId,
    /// Life of the permit.
    pub permit_ms: u64,
    /// The held request under the current bundle.
    pub verdict: Verdict,
    /// The roles that the proposer lent to that.
    pub lends: Option<Lends>,
    /// What the store has of evidence for it today.
    pub evidence: Vec<Brought>,
    /// For each hit that has a window, its pseudonym.
    pub windows: Vec<Option<Tag>>,
}

/// A gate consumes a permit that was handed to it.
#[derive(Clone, Debug)]
pub struct Consume {
    /// The decision.
    pub decision: DecisionId,
    /// Its log index.
    pub index: u64,
    /// The gate.
    pub who: Who,
    /// SHA-256 of its nonce.
    pub nonce: Option<Digest>,
    /// The decision's entry.
    pub prior: Arc<DecisionEvent>,
}

/// A report on an executed action.
#[derive(Clone, Debug)]
pub struct Report {
    /// Log index of the decision.
    pub index: u64,
    /// The decision's entry.
    pub prior: Arc<DecisionEvent>,
    /// Who reports.
    pub who: Who,
    /// How it went.
    pub result: ReportedResult,
}

/// Create a key.
#[derive(Clone, Debug)]
pub struct CreateKey {
    /// The new principal.
    pub principal: Principal,
    /// Who.
    pub by: Who,
    /// The decision whose permit is used up by it.
    pub decision: Option<DecisionId>,
}

/// Open a session.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// The session as its entry will show it.
    pub session: SessionOpened,
    /// Who hands on part of their rights; absent where a token opens it.
    pub by: Option<Who>,
    /// For a token: the bundle whose mapping gave it its roles.
    pub policy: Option<Digest>,
}

/// Erase payloads: those of whole decisions, or what is left of them.
#[derive(Clone, Debug)]
pub struct Erase {
    /// Who; absent where the retention of the policy in force does it.
    pub by: Option<Who>,
    /// The decision that permitted it; absent for retention.
    pub decision: Option<DecisionId>,
    /// Code of the legal basis.
    pub reason: String,
    /// The bundle whose retention is in the targets.
    pub policy: Option<Digest>,
    /// What is to go.
    pub targets: Vec<Target>,
}

/// The payload of one entry, with all that decides whether it may be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Index of the entry.
    pub index: u64,
    /// The decision that it is about.
    pub decision: DecisionId,
    /// The subjects of that decision, from its entry.
    pub subjects: Vec<Tag>,
    /// The surface's retention runs until then.
    pub keep_until: Option<TimeMs>,
    /// The policy names the reason as lawful before that.
    pub lawful: bool,
}

/// Place a legal hold.
#[derive(Clone, Debug)]
pub struct PlaceHold {
    /// A fresh id.
    pub hold: HoldId,
    /// What it keeps.
    pub scope: HoldScope,
    /// Code of the matter.
    pub reason: String,
    /// Who.
    pub by: Who,
}

/// An upload.
#[derive(Clone, Debug)]
pub struct DraftBundle {
    /// Digest of the bundle; its bytes are kept before.
    pub bundle: Digest,
    /// An admin.
    pub by: Who,
    /// Cases that it brought and passed.
    pub cases: u32,
    /// The bundle that it is meant to replace.
    pub replaces: Option<Digest>,
    /// How many rules it has.
    pub rules: u32,
    /// The author's signature, found good.
    pub signed: Option<Signed>,
    /// Warnings of the compiler.
    pub warnings: u32,
}

/// Put a bundle in force under a decision on `policy.publish` or `policy.rollback`.
#[derive(Clone, Debug)]
pub struct ArmUnder {
    /// Who releases it: its author, or one who approved it.
    pub by: Who,
    /// Log index of the decision.
    pub index: u64,
    /// The decision's entry.
    pub prior: Arc<DecisionEvent>,
    /// A fresh id for the permit of a held decision.
    pub permit: PermitId,
    /// Life of that permit.
    pub permit_ms: u64,
    /// The decision's request under the current bundle.
    pub verdict: Verdict,
    /// The roles that the proposer lent to that.
    pub lends: Option<Lends>,
    /// What the store has of evidence for it today.
    pub evidence: Vec<Brought>,
    /// For each hit that has a window, its pseudonym.
    pub windows: Vec<Option<Tag>>,
    /// The bundle that the request names; compiled, and its cases passed.
    pub bundle: Digest,
    /// The bundle in force that the request was reviewed against.
    pub replaces: Option<Digest>,
    /// The author's signature, found good.
    pub signed: Option<Signed>,
    /// Version of the condition language.
    pub language: u32,
    /// Solo mode: milliseconds between the draft and its publication.
    pub solo_delay_ms: u64,
    /// Milliseconds within which an emergency has to be reviewed.
    pub review_ms: u64,
    /// Sessions to which this bundle grants less, and what is left. Whoever owns the order of the log
    /// writes it.
    pub narrowed: Vec<SessionNarrowed>,
}

/// A piece of evidence.
#[derive(Clone, Debug)]
pub struct AddEvidence {
    /// Who brings it.
    pub by: Who,
    /// Digest of the evidence itself.
    pub digest: Digest,
    /// From this instant on it counts no more.
    pub expires: TimeMs,
    /// When it was issued.
    pub issued: TimeMs,
    /// Who vouches for it.
    pub issuer: ActorRef,
    /// Verifier key of the issuer whose signature was found good.
    pub key: Option<String>,
    /// Its type.
    pub kind: String,
    /// Digest of what it speaks of.
    pub subject: Digest,
}

/// Whose signature on evidence counts.
#[derive(Clone, Debug)]
pub struct IssuerChange {
    /// Whose key.
    pub issuer: ActorRef,
    /// Verifier key.
    pub key: String,
    /// Whether it counts from here on.
    pub trust: bool,
    /// Who.
    pub by: Who,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
}

/// What comes of a command: events to append, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Append these, in order, in one batch.
    Append(Vec<Event>),
    /// The idempotency key is bound to the decision at this index: answer from there.
    Bound {
        /// Its log index.
        index: u64,
    },
    /// It is already so.
    Nothing,
}
