//! The events of permits, outcomes, keys, the beginning of a log and its gaps; and which type of entry is written and
//! read by which event.

use super::decision::PermitIssued;
use super::read::Reader;
use super::{ActorRef, EntryError, Event};
use crate::hash::Digest;
use crate::ids::{ApprovalId, DecisionId, KeyId, PermitId, TimeMs};
use crate::json::{Object, Writer};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `genesis`: what the log starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Genesis {
    /// 16 hex digits, fixed when the data directory is made.
    pub instance: String,
    /// `placet/<instance>/<workspace>`.
    pub origin: String,
    /// Verifier keys of the log (C2SP signed note).
    pub vkeys: Vec<String>,
    /// The first principals.
    pub principals: Vec<Principal>,
    /// The bundle in force from the start, if any.
    pub bundle: Option<Digest>,
    /// Version of the compiled-in constitution.
    pub constitution: u32,
}

/// A key and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Key id.
    pub key: KeyId,
    /// Whose key.
    pub actor: ActorRef,
    /// SHA-256 of the secret (256 random bits, so a plain hash suffices).
    pub hash: Digest,
    /// Environment its requests count for.
    pub environment: String,
    /// Roles.
    pub roles: BTreeSet<String>,
}

/// `key.created`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGrant {
    /// The new principal.
    pub principal: Principal,
    /// Who created it.
    pub by: ActorRef,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
}

/// `key.revoked`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRevoked {
    /// The key.
    pub key: KeyId,
    /// Who revoked it.
    pub by: ActorRef,
}

/// `permit.collected`: the permit of an approved action, minted for its caller.
#[derive(Clone, Debug, PartialEq)]
pub struct PermitCollected {
    /// The held decision.
    pub decision: DecisionId,
    /// The approval it used up.
    pub approval: ApprovalId,
    /// The permit.
    pub permit: PermitIssued,
    /// Its constraints, where they are not those of the decision: the approval was re-opened.
    pub constraints: Option<Object>,
    /// Bundle under which it was evaluated again.
    pub policy: Option<Digest>,
}

/// `permit.consumed`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitConsumed {
    /// The decision.
    pub decision: DecisionId,
    /// Its permit.
    pub permit: PermitId,
    /// The gate.
    pub by: ActorRef,
    /// SHA-256 of the nonce that may fetch it again.
    pub nonce: Option<Digest>,
    /// The surface of the decision; older entries do not name it.
    pub surface: Option<String>,
}

/// `permit.expired` and `permit.revoked`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitEnded {
    /// The decision.
    pub decision: DecisionId,
    /// Its log index.
    pub index: u64,
    /// Its permit.
    pub permit: PermitId,
    /// For a revocation: `payload_erased`, or the reason of what stopped it: `killed_workspace`, `disabled`.
    pub reason: Option<String>,
    /// Log index of the trip that withdrew it, where that was recorded before.
    pub trip: Option<u64>,
    /// It was the plane's own to use: the constitution governs its surface.
    pub own: bool,
}

/// How an action went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedResult {
    /// The effect happened.
    Succeeded,
    /// It was tried and failed.
    Failed,
    /// It was never tried.
    NotExecuted,
}

impl ReportedResult {
    /// `succeeded`, `failed`, `not_executed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::NotExecuted => "not_executed",
        }
    }

    /// Parses the lower-case word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Succeeded, Self::Failed, Self::NotExecuted]
            .into_iter()
            .find(|result| result.as_str() == text)
    }
}

/// `outcome.reported`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeReported {
    /// The decision.
    pub decision: DecisionId,
    /// Its log index.
    pub index: u64,
    /// Who reports.
    pub by: ActorRef,
    /// How it went.
    pub result: ReportedResult,
    /// The surface of the decision; older entries do not name it.
    pub surface: Option<String>,
}

/// `gap`: nothing was decided in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last instant known to have been served.
    pub from: TimeMs,
    /// The first instant served again.
    pub to: TimeMs,
    /// Requests refused meanwhile, as far as they were counted.
    pub refused: u64,
    /// `restart`, `store` or `clock`.
    pub cause: String,
}

/// `admission.refused`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Start of the minute.
    pub minute: TimeMs,
    /// Requests refused in it.
    pub count: u64,
    /// Keys they came with.
    pub keys: u64,
}

impl Event {
    pub(super) fn write_data(&self, w: &mut Writer<'_>) {
        match self {
            Self::Genesis(event) => event.write(w),
            Self::Decision(event) => event.write(w),
            Self::PermitCollected(event) => {
                w.str("approval", &event.approval.to_string());
                if let Some(constraints) = &event.constraints {
                    w.object_value("constraints", constraints);
                }
                w.str("decision", &event.decision.to_string());
                w.nested("permit", |w| event.permit.write(w));
                w.digest_opt("policy", event.policy.as_ref());
            }
            Self::PermitConsumed(event) => {
                w.str("by", event.by.as_str());
                w.str("decision", &event.decision.to_string());
                w.digest_opt("nonce", event.nonce.as_ref());
                w.str("permit", &event.permit.to_string());
                w.str_opt("surface", event.surface.as_deref());
            }
            Self::PermitExpired(event) | Self::PermitRevoked(event) => {
                w.str("decision", &event.decision.to_string());
                w.uint("index", event.index);
                w.flag("own", event.own);
                w.str("permit", &event.permit.to_string());
                w.str_opt("reason", event.reason.as_deref());
                w.uint_opt("trip", event.trip);
            }
            Self::OutcomeReported(event) => {
                w.str("by", event.by.as_str());
                w.str("decision", &event.decision.to_string());
                w.uint("index", event.index);
                w.str("result", event.result.as_str());
                w.str_opt("surface", event.surface.as_deref());
            }
            Self::PassageReported(event) => event.write(w),
            Self::ApprovalVoted(event) => event.write(w),
            Self::ApprovalClosed(event) => event.write(w),
            Self::ApprovalReopened(event) => event.write(w),
            Self::ApprovalEscalated(event) => event.write(w),
            Self::ApprovalReminded(event) => event.write(w),
            Self::DelegationGranted(event) => event.write(w),
            Self::DelegationEnded(event) => event.write(w),
            Self::ExceptionOpened(event) => event.write(w),
            Self::ExceptionEnded(event) | Self::ExceptionClosed(event) => event.write(w),
            Self::ExceptionReviewed(event) => event.write(w),
            Self::ExceptionOverdue(event) => event.write(w),
            Self::KillTripped(event) | Self::KillLiftRequested(event) | Self::KillLifted(event) => {
                event.write(w);
            }
            Self::KillDrilled(event) => event.write(w),
            Self::OverrideAcknowledged(event) => event.write(w),
            Self::BundleShadowed(event) => event.write(w),
            Self::ExecutionStarted(event) | Self::ExecutionQueued(event) => event.write(w),
            Self::ExecutionTerminated(event) => event.write(w),
            Self::ExecutionEnded(event) => event.write(w),
            Self::BundleDrafted(event) => event.write(w),
            Self::BundleArmed(event) => event.write(w),
            Self::BundleWithdrawn(event) => event.write(w),
            Self::ReviewClosed(event) => event.write(w),
            Self::AuthorTrusted(event) | Self::AuthorRevoked(event) => event.write(w),
            Self::KeyCreated(event) => {
                w.str("by", event.by.as_str());
                w.str_opt("decision", event.decision.map(|id| id.to_string()).as_deref());
                w.nested("principal", |w| event.principal.write(w));
            }
            Self::KeyRevoked(event) => {
                w.str("by", event.by.as_str());
                w.str("key", &event.key.to_string());
            }
            Self::SessionOpened(event) => event.write(w),
            Self::SessionNarrowed(event) => event.write(w),
            Self::SessionClosed(event) => event.write(w),
            Self::PayloadErased(event) => event.write(w),
            Self::HoldPlaced(event) => event.write(w),
            Self::HoldReleased(event) => event.write(w),
            Self::SignerRotated(event) => event.write(w),
            Self::SignerRevoked(event) => event.write(w),
            Self::LogSucceeded(event) => event.write(w),
            Self::EvidenceAdded(event) => event.write(w),
            Self::EvidenceRevoked(event) => event.write(w),
            Self::IssuerTrusted(event) | Self::IssuerRevoked(event) => event.write(w),
            Self::ReleaseRegistered(event) => event.write(w),
            Self::AliasChanged(event) => event.write(w),
            Self::Gap(event) => {
                w.str("cause", &event.cause);
                w.uint("from_ms", event.from.0);
                w.uint("refused", event.refused);
                w.uint("to_ms", event.to.0);
            }
            Self::AdmissionRefused(event) => {
                w.uint("count", event.count);
                w.uint("keys", event.keys);
                w.uint("minute_ms", event.minute.0);
            }
        }
    }

    pub(super) fn read(kind: &str, mut r: Reader) -> Result<Self, EntryError> {
        let event = match kind {
            "genesis" => Self::Genesis(Genesis::read(&mut r)?),
            "decision" => Self::Decision(Arc::new(super::DecisionEvent::read(&mut r)?)),
            "permit.collected" => Self::PermitCollected(PermitCollected {
                decision: r.parsed("decision", DecisionId::parse)?,
                approval: r.parsed("approval", ApprovalId::parse)?,
                permit: PermitIssued::read(r.object("permit")?)?,
                constraints: r
                    .has("constraints")
                    .then(|| r.plain_object("constraints"))
                    .transpose()?,
                policy: r.digest_opt("policy")?,
            }),
            "permit.consumed" => Self::PermitConsumed(PermitConsumed {
                decision: r.parsed("decision", DecisionId::parse)?,
                permit: r.parsed("permit", PermitId::parse)?,
                by: r.parsed("by", ActorRef::parse)?,
                nonce: r.digest_opt("nonce")?,
                surface: r.str_opt("surface")?,
            }),
            "permit.expired" => Self::PermitExpired(PermitEnded::read(&mut r)?),
            "permit.revoked" => Self::PermitRevoked(PermitEnded::read(&mut r)?),
            "outcome.reported" => Self::OutcomeReported(OutcomeReported {
                decision: r.parsed("decision", DecisionId::parse)?,
                index: r.uint("index")?,
                by: r.parsed("by", ActorRef::parse)?,
                result: r.parsed("result", ReportedResult::parse)?,
                surface: r.str_opt("surface")?,
            }),
            "passage.reported" => Self::PassageReported(super::PassageReported::read(&mut r)?),
            "approval.voted" => Self::ApprovalVoted(super::ApprovalVoted::read(&mut r)?),
            "approval.closed" => Self::ApprovalClosed(super::ApprovalClosed::read(&mut r)?),
            "approval.reopened" => Self::ApprovalReopened(super::ApprovalReopened::read(&mut r)?),
            "approval.escalated" => {
                Self::ApprovalEscalated(super::ApprovalEscalated::read(&mut r)?)
            }
            "approval.reminded" => Self::ApprovalReminded(super::ApprovalReminded::read(&mut r)?),
            "delegation.granted" => {
                Self::DelegationGranted(super::DelegationGranted::read(&mut r)?)
            }
            "delegation.ended" => Self::DelegationEnded(super::DelegationEnded::read(&mut r)?),
            "exception.opened" => {
                Self::ExceptionOpened(Arc::new(super::ExceptionOpened::read(&mut r)?))
            }
            "exception.ended" => Self::ExceptionEnded(super::ExceptionEnded::read(&mut r)?),
            "exception.closed" => Self::ExceptionClosed(super::ExceptionEnded::read(&mut r)?),
            "exception.overdue" => Self::ExceptionOverdue(super::ExceptionOverdue::read(&mut r)?),
            "exception.reviewed" => {
                Self::ExceptionReviewed(super::ExceptionReviewed::read(&mut r)?)
            }
            "kill.tripped" => Self::KillTripped(super::KillEvent::read(&mut r)?),
            "kill.lift_requested" => Self::KillLiftRequested(super::KillEvent::read(&mut r)?),
            "execution.started" => Self::ExecutionStarted(super::ExecutionStarted::read(&mut r)?),
            "execution.queued" => Self::ExecutionQueued(super::ExecutionStarted::read(&mut r)?),
            "execution.terminated" => {
                Self::ExecutionTerminated(super::ExecutionTerminated::read(&mut r)?)
            }
            "execution.ended" => Self::ExecutionEnded(super::ExecutionEnded::read(&mut r)?),
            "kill.lifted" => Self::KillLifted(super::KillEvent::read(&mut r)?),
            "kill.drilled" => Self::KillDrilled(super::KillDrilled::read(&mut r)?),
            "override.acknowledged" => {
                Self::OverrideAcknowledged(super::OverrideAcknowledged::read(&mut r)?)
            }
            "bundle.shadowed" => Self::BundleShadowed(super::BundleShadowed::read(&mut r)?),
            "bundle.drafted" => Self::BundleDrafted(super::BundleDrafted::read(&mut r)?),
            "bundle.armed" => Self::BundleArmed(super::BundleArmed::read(&mut r)?),
            "bundle.withdrawn" => Self::BundleWithdrawn(super::BundleWithdrawn::read(&mut r)?),
            "review.closed" => Self::ReviewClosed(super::ReviewClosed::read(&mut r)?),
            "author.trusted" => Self::AuthorTrusted(super::AuthorKey::read(&mut r)?),
            "author.revoked" => Self::AuthorRevoked(super::AuthorKey::read(&mut r)?),
            "key.created" => Self::KeyCreated(KeyGrant {
                principal: Principal::read(r.object("principal")?)?,
                by: r.parsed("by", ActorRef::parse)?,
                decision: r.parsed_opt("decision", DecisionId::parse)?,
            }),
            "key.revoked" => Self::KeyRevoked(KeyRevoked {
                key: r.parsed("key", KeyId::parse)?,
                by: r.parsed("by", ActorRef::parse)?,
            }),
            "session.opened" => Self::SessionOpened(super::SessionOpened::read(&mut r)?),
            "session.narrowed" => Self::SessionNarrowed(super::SessionNarrowed::read(&mut r)?),
            "session.closed" => Self::SessionClosed(super::SessionClosed::read(&mut r)?),
            "payload.erased" => Self::PayloadErased(super::PayloadErased::read(&mut r)?),
            "hold.placed" => Self::HoldPlaced(super::HoldPlaced::read(&mut r)?),
            "hold.released" => Self::HoldReleased(super::HoldReleased::read(&mut r)?),
            "signer.rotated" => Self::SignerRotated(super::SignerRotated::read(&mut r)?),
            "signer.revoked" => Self::SignerRevoked(super::SignerRevoked::read(&mut r)?),
            "log.succeeded" => Self::LogSucceeded(super::LogSucceeded::read(&mut r)?),
            "evidence.added" => Self::EvidenceAdded(super::EvidenceAdded::read(&mut r)?),
            "evidence.revoked" => Self::EvidenceRevoked(super::EvidenceRevoked::read(&mut r)?),
            "issuer.trusted" => Self::IssuerTrusted(super::IssuerKey::read(&mut r)?),
            "issuer.revoked" => Self::IssuerRevoked(super::IssuerKey::read(&mut r)?),
            "release.registered" => {
                Self::ReleaseRegistered(super::ReleaseRegistered::read(&mut r)?)
            }
            "alias.changed" => Self::AliasChanged(super::AliasChanged::read(&mut r)?),
            "gap" => Self::Gap(Gap {
                from: TimeMs(r.uint("from_ms")?),
                to: TimeMs(r.uint("to_ms")?),
                refused: r.uint("refused")?,
                cause: r.str("cause")?,
            }),
            "admission.refused" => Self::AdmissionRefused(Refused {
                minute: TimeMs(r.uint("minute_ms")?),
                count: r.uint("count")?,
                keys: r.uint("keys")?,
            }),
            other => return Err(EntryError::new(format!("unknown event type {other:?}"))),
        };
        r.end()?;
        Ok(event)
    }
}

impl Genesis {
    fn write(&self, w: &mut Writer<'_>) {
        w.digest_opt("bundle", self.bundle.as_ref());
        w.uint("constitution", u64::from(self.constitution));
        w.str("instance", &self.instance);
        w.str("origin", &self.origin);
        w.objects("principals", &self.principals, |w, principal| principal.write(w));
        w.strings("vkeys", &self.vkeys);
    }

    fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            instance: r.str("instance")?,
            origin: r.str("origin")?,
            vkeys: r.strings("vkeys")?,
            principals: r
                .objects("principals")?
                .into_iter()
                .map(Principal::read)
                .collect::<Result<_, _>>()?,
            bundle: r.digest_opt("bundle")?,
            constitution: r.count("constitution")?,
        })
    }
}

impl Principal {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("actor", self.actor.as_str());
        w.str("environment", &self.environment);
        w.digest("hash", &self.hash);
        w.str("key", &self.key.to_string());
        w.strings("roles", &self.roles);
    }

    pub(super) fn read(mut r: Reader) -> Result<Self, EntryError> {
        let principal = Self {
            key: r.parsed("key", KeyId::parse)?,
            actor: r.parsed("actor", ActorRef::parse)?,
            hash: r.digest("hash")?,
            environment: r.str("environment")?,
            roles: r.strings("roles")?.into_iter().collect(),
        };
        r.end()?;
        Ok(principal)
    }
}

impl PermitEnded {
    fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            decision: r.parsed("decision", DecisionId::parse)?,
            index: r.uint("index")?,
            permit: r.parsed("permit", PermitId::parse)?,
            reason: r.str_opt("reason")?,
            trip: r.uint_opt("trip")?,
            own: r.flag("own")?,
        })
    }
}
