//! Approvals: votes, what becomes of the demand while an action waits, how an approval ends, and the
//! delegation of the right to approve.

use super::read::Reader;
use super::{ActorRef, EntryError};
use crate::hash::Digest;
use crate::ids::{ApprovalId, DecisionId, DelegationId, KeyId, TimeMs};
use crate::json::{Object, Writer};
use crate::policy::Reason;
use crate::surface::SurfacePattern;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// From an instant on further people may approve. Whoever they are, it takes as many as before: people
/// who together make up `roles` fill one place of each role in `instead_of`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscalationStep {
    /// The instant.
    pub at: TimeMs,
    /// The demanded roles for which they stand in.
    pub instead_of: BTreeSet<String>,
    /// How many people of which further role make up one place.
    pub roles: BTreeMap<String, u32>,
}

/// `approval.voted`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalVoted {
    /// The held decision.
    pub decision: DecisionId,
    /// Its approval.
    pub approval: ApprovalId,
    /// Who decided.
    pub by: ActorRef,
    /// With which key; absent in development mode.
    pub key: Option<KeyId>,
    /// The demanded roles this person fills.
    pub roles: BTreeSet<String>,
    /// The step of the escalation, and the role in it, in which this person stands in for others.
    pub stands_in: Option<StandsIn>,
    /// The roles among these that somebody else delegated.
    pub through: Vec<Through>,
    /// Approve or reject.
    pub approve: bool,
    /// Whether nothing is missing any more.
    pub complete: bool,
    /// The demand that was approved.
    pub requirement: Digest,
    /// The digest was not echoed (development mode alone).
    pub unechoed: bool,
    /// The channel that it came through, whose word for who the person is was taken; absent for
    /// votes with a key or a session.
    pub via: Option<VoteChannel>,
}

/// A channel that people vote through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteChannel {
    /// A button of a Telegram message.
    Telegram,
    /// A form in Slack.
    Slack,
}

impl VoteChannel {
    /// `telegram`, `slack`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Telegram => "telegram",
            Self::Slack => "slack",
        }
    }

    /// The channel of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Telegram, Self::Slack].into_iter().find(|channel| channel.as_str() == text)
    }
}

/// A place in a step of an escalation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandsIn {
    /// Position of the step, from 0.
    pub step: u32,
    /// The role that this person holds.
    pub role: String,
}

/// A role that was delegated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// By which delegation.
    pub delegation: DelegationId,
    /// Whose role it is.
    pub of: ActorRef,
    /// The role.
    pub role: String,
}

/// How an approval ended without a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseState {
    /// Nobody decided, or nobody collected, in time.
    Expired,
    /// Policy now denies it or is silent.
    Invalidated,
    /// Its proposer took it back.
    Withdrawn,
}

impl CloseState {
    /// `expired`, `invalidated`, `withdrawn`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Withdrawn => "withdrawn",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Expired, Self::Invalidated, Self::Withdrawn]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// `approval.closed`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalClosed {
    /// The held decision.
    pub decision: DecisionId,
    /// Its approval.
    pub approval: ApprovalId,
    /// How it ended.
    pub state: CloseState,
    /// Why policy does not grant it any more, where that is why it ended.
    pub reasons: Vec<Reason>,
}

/// `approval.reopened`: the bundle in force asks for more than was asked before.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalReopened {
    /// The held decision.
    pub decision: DecisionId,
    /// Its approval.
    pub approval: ApprovalId,
    /// The bundle that asks for more.
    pub policy: Option<Digest>,
    /// Digest of the demand before.
    pub was: Digest,
    /// Digest of the demand from here on.
    pub requirement: Digest,
    /// People per role.
    pub roles: BTreeMap<String, u32>,
    /// Constraints that its permit will carry.
    pub constraints: Object,
    /// Ids of the deciding rules, sorted, at most as many as a decision lists.
    pub rules: Vec<String>,
    /// Steps of the escalation, in the order of their instants.
    pub escalate: Vec<EscalationStep>,
    /// The approvers are reminded then.
    pub remind: Option<TimeMs>,
    /// What was approved has changed, so the votes until here count no more.
    pub votes_dropped: bool,
    /// Nothing is missing all the same.
    pub complete: bool,
}

/// `approval.escalated`: from here on further people may approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalEscalated {
    /// The held decision.
    pub decision: DecisionId,
    /// Its approval.
    pub approval: ApprovalId,
    /// Position of the step, from 0.
    pub step: u32,
    /// How many people of which further role make up one place.
    pub roles: BTreeMap<String, u32>,
}

/// `approval.reminded`: it expires soon, and people are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalReminded {
    /// The held decision.
    pub decision: DecisionId,
    /// Its approval.
    pub approval: ApprovalId,
    /// When it expires.
    pub expires: TimeMs,
    /// People missing per role.
    pub missing: BTreeMap<String, u32>,
}

/// `delegation.granted`: somebody else may approve in one's place for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationGranted {
    /// Its id.
    pub delegation: DelegationId,
    /// Whose roles.
    pub by: ActorRef,
    /// With which key; absent in development mode.
    pub key: Option<KeyId>,
    /// Who may approve with them.
    pub to: ActorRef,
    /// The roles.
    pub roles: BTreeSet<String>,
    /// On which surfaces, sorted; on all where there are none.
    pub surfaces: Vec<SurfacePattern>,
    /// Until when.
    pub until: TimeMs,
}

/// `delegation.ended`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationEnded {
    /// Its id.
    pub delegation: DelegationId,
    /// Who ended it; absent where its time was up.
    pub by: Option<ActorRef>,
}

pub(super) fn write_counts(w: &mut Writer<'_>, key: &str, counts: &BTreeMap<String, u32>) {
    w.nested(key, |w| {
        for (role, count) in counts {
            w.uint(role, u64::from(*count));
        }
    });
}

/// Nothing is written where there are no steps.
pub(super) fn write_steps(w: &mut Writer<'_>, steps: &[EscalationStep]) {
    if !steps.is_empty() {
        w.objects("escalate", steps, |w, step| {
            w.uint("at_ms", step.at.0);
            w.strings("instead_of", &step.instead_of);
            write_counts(w, "roles", &step.roles);
        });
    }
}

/// Steps in the order of their instants; none where the member is missing.
pub(super) fn read_steps(r: &mut Reader) -> Result<Vec<EscalationStep>, EntryError> {
    if !r.has("escalate") {
        return Ok(Vec::new());
    }
    let mut steps: Vec<EscalationStep> = Vec::new();
    for mut item in r.objects("escalate")? {
        let step = EscalationStep {
            at: TimeMs(item.uint("at_ms")?),
            instead_of: item.strings("instead_of")?.into_iter().collect(),
            roles: item.counts("roles")?,
        };
        item.end()?;
        if steps.last().is_some_and(|last| last.at > step.at) {
            return Err(EntryError::new("the steps of an escalation are out of order"));
        }
        steps.push(step);
    }
    if steps.is_empty() {
        return Err(EntryError::new("an escalation without a step"));
    }
    Ok(steps)
}

impl ApprovalVoted {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("approval", &self.approval.to_string());
        w.bool("approve", self.approve);
        w.str("by", self.by.as_str());
        w.flag("complete", self.complete);
        w.str("decision", &self.decision.to_string());
        w.str_opt("key", self.key.map(|key| key.to_string()).as_deref());
        w.digest("requirement", &self.requirement);
        w.strings("roles", &self.roles);
        if let Some(stands_in) = &self.stands_in {
            w.nested("stands_in", |w| {
                w.str("role", &stands_in.role);
                w.uint("step", u64::from(stands_in.step));
            });
        }
        if !self.through.is_empty() {
            w.objects("through", &self.through, |w, through| {
                w.str("delegation", &through.delegation.to_string());
                w.str("of", through.of.as_str());
                w.str("role", &through.role);
            });
        }
        w.flag("unechoed", self.unechoed);
        w.str_opt("via", self.via.map(VoteChannel::as_str));
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let stands_in = match r.object_opt("stands_in")? {
            None => None,
            Some(mut it) => {
                let stands_in = StandsIn { step: it.count("step")?, role: it.str("role")? };
                it.end()?;
                Some(stands_in)
            }
        };
        let mut through = Vec::new();
        if r.has("through") {
            for mut it in r.objects("through")? {
                through.push(Through {
                    delegation: it.parsed("delegation", DelegationId::parse)?,
                    of: it.parsed("of", ActorRef::parse)?,
                    role: it.str("role")?,
                });
                it.end()?;
            }
            if through.is_empty() {
                return Err(EntryError::new("an empty list of delegations"));
            }
        }
        Ok(Self {
            decision: r.parsed("decision", DecisionId::parse)?,
            approval: r.parsed("approval", ApprovalId::parse)?,
            by: r.parsed("by", ActorRef::parse)?,
            key: r.parsed_opt("key", KeyId::parse)?,
            roles: r.strings("roles")?.into_iter().collect(),
            stands_in,
            through,
            approve: r.bool("approve")?,
            complete: r.flag("complete")?,
            requirement: r.digest("requirement")?,
            unechoed: r.flag("unechoed")?,
            via: r.parsed_opt("via", VoteChannel::parse)?,
        })
    }
}

impl ApprovalClosed {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("approval", &self.approval.to_string());
        w.str("decision", &self.decision.to_string());
        if !self.reasons.is_empty() {
            w.strings("reasons", self.reasons.iter().map(|reason| reason.as_str()));
        }
        w.str("state", self.state.as_str());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            approval: r.parsed("approval", ApprovalId::parse)?,
            decision: r.parsed("decision", DecisionId::parse)?,
            state: r.parsed("state", CloseState::parse)?,
            reasons: match r.has("reasons") {
                true => r.reasons("reasons")?,
                false => Vec::new(),
            },
        })
    }
}

impl ApprovalReopened {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("approval", &self.approval.to_string());
        w.flag("complete", self.complete);
        w.object_value("constraints", &self.constraints);
        w.str("decision", &self.decision.to_string());
        write_steps(w, &self.escalate);
        w.digest_opt("policy", self.policy.as_ref());
        w.uint_opt("remind_ms", self.remind.map(|at| at.0));
        w.digest("requirement", &self.requirement);
        write_counts(w, "roles", &self.roles);
        w.strings("rules", &self.rules);
        w.flag("votes_dropped", self.votes_dropped);
        w.digest("was", &self.was);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            approval: r.parsed("approval", ApprovalId::parse)?,
            decision: r.parsed("decision", DecisionId::parse)?,
            policy: r.digest_opt("policy")?,
            was: r.digest("was")?,
            requirement: r.digest("requirement")?,
            roles: r.counts("roles")?,
            constraints: r.plain_object("constraints")?,
            rules: r.strings("rules")?,
            escalate: read_steps(r)?,
            remind: r.uint_opt("remind_ms")?.map(TimeMs),
            votes_dropped: r.flag("votes_dropped")?,
            complete: r.flag("complete")?,
        })
    }
}

impl ApprovalEscalated {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("approval", &self.approval.to_string());
        w.str("decision", &self.decision.to_string());
        write_counts(w, "roles", &self.roles);
        w.uint("step", u64::from(self.step));
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            approval: r.parsed("approval", ApprovalId::parse)?,
            decision: r.parsed("decision", DecisionId::parse)?,
            step: r.count("step")?,
            roles: r.counts("roles")?,
        })
    }
}

impl ApprovalReminded {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("approval", &self.approval.to_string());
        w.str("decision", &self.decision.to_string());
        w.uint("expires_ms", self.expires.0);
        write_counts(w, "missing", &self.missing);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            approval: r.parsed("approval", ApprovalId::parse)?,
            decision: r.parsed("decision", DecisionId::parse)?,
            expires: TimeMs(r.uint("expires_ms")?),
            missing: r.counts("missing")?,
        })
    }
}

impl DelegationGranted {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str("delegation", &self.delegation.to_string());
        w.str_opt("key", self.key.map(|key| key.to_string()).as_deref());
        w.strings("roles", &self.roles);
        if !self.surfaces.is_empty() {
            w.strings("surfaces", self.surfaces.iter().map(SurfacePattern::as_str));
        }
        w.str("to", self.to.as_str());
        w.uint("until_ms", self.until.0);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let surfaces = if r.has("surfaces") { r.strings("surfaces")? } else { Vec::new() };
        let surfaces: Option<Vec<_>> =
            surfaces.iter().map(|text| SurfacePattern::parse(text)).collect();
        Ok(Self {
            delegation: r.parsed("delegation", DelegationId::parse)?,
            by: r.parsed("by", ActorRef::parse)?,
            key: r.parsed_opt("key", KeyId::parse)?,
            to: r.parsed("to", ActorRef::parse)?,
            roles: r.strings("roles")?.into_iter().collect(),
            surfaces: surfaces.ok_or_else(|| EntryError::new("surfaces is no list of patterns"))?,
            until: TimeMs(r.uint("until_ms")?),
        })
    }
}

impl DelegationEnded {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str_opt("by", self.by.as_ref().map(ActorRef::as_str));
        w.str("delegation", &self.delegation.to_string());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            delegation: r.parsed("delegation", DelegationId::parse)?,
            by: r.parsed_opt("by", ActorRef::parse)?,
        })
    }
}
