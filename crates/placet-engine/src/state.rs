//! The fold of a workspace's log. Bounded in every part; memory grows with what is open, with keys
//! in their windows, and by bits per decision.

use crate::constitution::Reach;
use crate::counters::Counters;
use crate::delegations::Delegations;
use crate::demand::{Demand, Demands};
use crate::evidence::Evidence;
use crate::exceptions::Exceptions;
use crate::executions::Executions;
use crate::idempotency::IdempotencyKeys;
use crate::keys::Keys;
use crate::measures::Measures;
use crate::memory::{Bits, Windows};
use crate::overrides::Overrides;
use crate::pending::Pending;
use crate::policies::Policies;
use crate::privacy::LegalHold;
use crate::releases::Releases;
use crate::sessions::Sessions;
use crate::shadow::Shadowing;
use crate::signers::LogSigner;
use crate::trips::Trips;
use crate::votes::Cast;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;
use placet_types::Digest;
use placet_types::event::{
    ActorRef, EscalationStep, KillScope, KillSource, OverrideMode, PermitIssued, Principal, Tag,
};
use placet_types::ids::{
    ApprovalId, DecisionId, DelegationId, ExceptionId, ExecutionId, HoldId, TimeMs, WorkspaceName,
};

/// How much a workspace may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Idempotency keys in their windows.
    pub idempotency_max: usize,
    /// Velocity keys in their windows.
    pub velocity_max: usize,
    /// Held decisions.
    pub held_max: usize,
    /// Idempotency keys and held decisions beyond these bounds, for people who govern.
    pub reserve: usize,
    /// Finished approvals that are still remembered by state.
    pub final_max: usize,
    /// Delegations that are remembered, those that have ended included.
    pub delegations_max: usize,
    /// Of these, those that one person gave.
    pub delegations_each: usize,
    /// Exceptions that are remembered; those that nobody has reviewed are never forgotten.
    pub exceptions_max: usize,
    /// Legal holds in force.
    pub legal_holds_max: usize,
    /// Keys that have signed the log.
    pub signers_max: usize,
    /// Bundles that were in force and are still remembered by state.
    pub armed_max: usize,
    /// Bundles that were uploaded and are still remembered by state.
    pub drafts_max: usize,
    /// Bundles that are withdrawn.
    pub withdrawn_max: usize,
    /// Authors whose signature counts.
    pub authors_max: usize,
    /// Sessions that are kept in mind.
    pub sessions_max: usize,
    /// Of these, those that one actor stands behind.
    pub sessions_each: usize,
    /// Releases that are remembered whole.
    pub releases_max: usize,
    /// Names of releases that are forgotten otherwise: no name gets another subject.
    pub release_names_max: usize,
    /// Names that lead somewhere.
    pub aliases_max: usize,
    /// Pieces of evidence.
    pub evidence_max: usize,
    /// Keys of issuers of evidence, revoked ones included.
    pub issuer_keys_max: usize,
    /// Tripped scopes besides everything and the workspace.
    pub overrides_max: usize,
    /// Executions that run.
    pub executions_max: usize,
    /// Executions that wait for a place.
    pub executions_queued_max: usize,
    /// Of these, those of one runner.
    pub executions_queued_each: usize,
    /// Executions of one runner, running or waiting.
    pub executions_each: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            idempotency_max: 16 << 20,
            velocity_max: 1 << 20,
            held_max: 1 << 17,
            reserve: 1024,
            final_max: 1 << 16,
            delegations_max: 4096,
            delegations_each: 64,
            exceptions_max: 1 << 15,
            legal_holds_max: 4096,
            signers_max: 1024,
            armed_max: 1024,
            drafts_max: 256,
            withdrawn_max: 1 << 16,
            authors_max: 64,
            sessions_max: 1 << 16,
            sessions_each: 1024,
            releases_max: 1 << 16,
            release_names_max: 1 << 18,
            aliases_max: 4096,
            evidence_max: 2_000_000,
            issuer_keys_max: 4096,
            overrides_max: 1024,
            executions_max: 1 << 16,
            executions_queued_max: 1 << 12,
            executions_queued_each: 1 << 8,
            executions_each: 1 << 13,
        }
    }
}

/// State of one workspace.
#[derive(Debug)]
pub struct State {
    pub(crate) bounds: Bounds,
    pub(crate) next_index: u64,
    pub(crate) time: TimeMs,
    pub(crate) epoch: u64,
    pub(crate) dev: bool,
    pub(crate) solo: bool,
    pub(crate) origin: String,
    pub(crate) workspace: Option<WorkspaceName>,
    pub(crate) policy: Option<Digest>,
    /// The bundle beside the one in force.
    pub(crate) shadow: Option<Shadowing>,
    pub(crate) policies: Policies,
    pub(crate) keys: Keys,
    pub(crate) sessions: Sessions,
    pub(crate) evidence: Evidence,
    pub(crate) releases: Releases,
    pub(crate) idempotency: IdempotencyKeys,
    pub(crate) windows: Windows,
    pub(crate) held: BTreeMap<ApprovalId, Box<Held>>,
    pub(crate) demands: Demands,
    pub(crate) held_by_decision: BTreeMap<DecisionId, ApprovalId>,
    pub(crate) held_open: usize,
    /// Pending approvals by who may see them; follows from `held`.
    pub(crate) pending: Pending,
    pub(crate) delegations: Delegations,
    pub(crate) exceptions: Exceptions,
    pub(crate) finals: VecDeque<ApprovalId>,
    pub(crate) timers: BTreeSet<(TimeMs, Timer)>,
    pub(crate) permits: BTreeMap<DecisionId, OpenPermit>,
    pub(crate) consumed_ends: BTreeSet<(TimeMs, DecisionId)>,
    pub(crate) consumed: Bits,
    pub(crate) reported: Bits,
    pub(crate) revoked: Bits,
    /// Entries whose payload is erased.
    pub(crate) erased: Bits,
    pub(crate) legal_holds: BTreeMap<HoldId, LegalHold>,
    /// Raised with every change of the legal holds.
    pub(crate) legal_holds_version: u64,
    pub(crate) overrides: Overrides,
    pub(crate) executions: Executions,
    pub(crate) last_override: Option<u64>,
    /// What trips stopped, and what gates say of it.
    pub(crate) trips: Trips,
    /// Decisions whose permit has made a key, armed a bundle, or changed signers or authors.
    pub(crate) spent: BTreeSet<DecisionId>,
    /// Keys that sign the log, oldest first.
    pub(crate) signers: Vec<LogSigner>,
    pub(crate) counters: Counters,
    pub(crate) measures: Measures,
}

/// What wakes `Tick`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Approval(ApprovalId),
    Permit(DecisionId),
    Escalation(ApprovalId),
    Reminder(ApprovalId),
    Delegation(DelegationId),
    Exception(ExceptionId),
    Review(ExceptionId),
    Queue(ExecutionId),
    Runtime(ExecutionId),
}

/// A permit that was handed to another gate, or consumed by it a moment ago.
#[derive(Clone, Debug)]
pub(crate) struct OpenPermit {
    pub(crate) index: u64,
    pub(crate) permit: PermitIssued,
    /// What can stop it.
    pub(crate) scopes: Arc<[KillScope]>,
    pub(crate) consumed_by: Option<Option<Digest>>,
}

/// A held decision.
#[derive(Clone, Debug)]
pub struct Held {
    /// The decision.
    pub decision: DecisionId,
    /// Its log index.
    pub index: u64,
    /// Its approval.
    pub approval: ApprovalId,
    /// When it was held.
    pub since: TimeMs,
    /// Undecided, it expires then.
    pub expires: TimeMs,
    /// Approved, it must be collected within.
    pub use_within_ms: u64,
    /// What people are asked for.
    pub demand: Arc<Demand>,
    /// Where further people may approve after a while, in the order of the instants.
    pub escalate: Vec<EscalationStep>,
    /// How many of these steps are in effect.
    pub escalated: u32,
    /// When the approvers are to be reminded; `None` once they were.
    pub remind: Option<TimeMs>,
    /// How often a stricter bundle has re-opened it.
    pub reopened: u32,
    /// The surface.
    pub surface: String,
    /// Commitment to the action digest.
    pub action_commitment: Digest,
    /// Who will execute.
    pub audience: ActorRef,
    /// Who proposed.
    pub actor: ActorRef,
    /// Who proposed and on whose behalf: none of them may approve.
    pub proposers: Box<[ActorRef]>,
    /// Whether the constitution demanded the approval, and what of a bundle's rules counts.
    pub reach: Reach,
    /// Rules whose window was full when it was held.
    pub full: BTreeSet<String>,
    /// What it marks for rules that come after it: when it was held, unless they grant, and once more when
    /// its permit is collected.
    pub marks: Vec<Mark>,
    /// What can stop it besides the two widest scopes.
    pub scopes: Arc<[KillScope]>,
    /// Who approved so far.
    pub votes: Vec<Cast>,
    /// Who rejected it.
    pub rejected_by: Option<ActorRef>,
    /// The exception that it rests on.
    pub exception: Option<ExceptionId>,
    /// Where it stands.
    pub state: HeldState,
}

impl Deref for Held {
    type Target = Demand;

    fn deref(&self) -> &Demand {
        &self.demand
    }
}

/// A window that an action leaves its mark in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its pseudonym.
    pub tag: Tag,
    /// Its length in milliseconds.
    pub per_ms: u64,
}

impl Mark {
    /// How many marks a window keeps: a held action tells its own from another's.
    pub(crate) const KEPT: u32 = 2;
}

/// Where a held decision stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldState {
    /// Waiting for people.
    Pending,
    /// Complete; to be collected before the instant.
    Approved(TimeMs),
    /// Collected.
    Consumed(PermitIssued),
    /// A person said no.
    Rejected,
    /// Nobody decided, or nobody collected, in time.
    Expired,
    /// Policy now denies it or demands something else.
    Invalidated,
    /// Its proposer took it back.
    Withdrawn,
}

impl HeldState {
    /// The lower-case word of the APIs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved(_) => "approved",
            Self::Consumed(_) => "consumed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether it waits for people.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }

    /// Whether it can still become something else.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Pending | Self::Approved(_))
    }
}

/// A tripped kill switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillState {
    /// How it is stopped.
    pub mode: OverrideMode,
    /// Since when.
    pub since: TimeMs,
    /// Log index of the trip.
    pub index: u64,
    /// What tripped it.
    pub source: KillSource,
    /// Who asked to lift it, and not before when (solo mode).
    pub lift: Option<(ActorRef, Option<TimeMs>)>,
}

impl State {
    /// The state before `genesis`.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next_index: 0,
            time: TimeMs(0),
            epoch: 0,
            dev: false,
            solo: false,
            origin: String::new(),
            workspace: None,
            policy: None,
            shadow: None,
            policies: Policies::default(),
            keys: Keys::default(),
            sessions: Sessions::default(),
            evidence: Evidence::default(),
            releases: Releases::default(),
            idempotency: IdempotencyKeys::default(),
            windows: Windows::default(),
            held: BTreeMap::new(),
            demands: Demands::default(),
            held_by_decision: BTreeMap::new(),
            held_open: 0,
            pending: Pending::default(),
            delegations: Delegations::default(),
            exceptions: Exceptions::default(),
            finals: VecDeque::new(),
            timers: BTreeSet::new(),
            permits: BTreeMap::new(),
            consumed_ends: BTreeSet::new(),
            consumed: Bits::default(),
            reported: Bits::default(),
            revoked: Bits::default(),
            erased: Bits::default(),
            legal_holds: BTreeMap::new(),
            legal_holds_version: 0,
            overrides: Overrides::default(),
            executions: Executions::default(),
            last_override: None,
            trips: Trips::default(),
            spent: BTreeSet::new(),
            signers: Vec::new(),
            counters: Counters::default(),
            measures: Measures::default(),
        }
    }

    /// Index of the next entry.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Time of the last entry.
    #[must_use]
    pub fn time(&self) -> TimeMs {
        self.time
    }

    /// Highest epoch that has written.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the workspace is in solo mode.
    #[must_use]
    pub fn solo(&self) -> bool {
        self.solo
    }

    /// Origin of the log, from genesis.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The bundle in force.
    #[must_use]
    pub fn policy(&self) -> Option<Digest> {
        self.policy
    }

    /// Totals.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The tripped kill switches: of everything, of the workspace.
    #[must_use]
    pub fn kill(&self) -> (Option<&KillState>, Option<&KillState>) {
        let of = |scope| {
            let tripped = self.overrides.all.get(&scope);
            tripped.filter(|it| it.mode == OverrideMode::Kill)
        };
        (of(KillScope::Everything), of(KillScope::Workspace))
    }

    /// Whether a kill switch over the whole of this workspace is tripped.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        matches!(self.kill(), (Some(_), _) | (_, Some(_)))
    }

    /// Log index of the last trip or lift of one of the two widest kills, or of genesis.
    #[must_use]
    pub fn last_override(&self) -> Option<u64> {
        self.last_override
    }

    /// Keys that count, with their principals.
    pub fn live_keys(&self) -> impl Iterator<Item = &Principal> {
        self.keys.all().filter(|key| !key.revoked).map(|key| &key.principal)
    }

    /// All keys and whether they are revoked.
    pub fn keys(&self) -> impl Iterator<Item = (&Principal, bool)> {
        self.keys.all().map(|key| (&key.principal, key.revoked))
    }

    /// How many different people hold `role`: by a live key, or by a session now or not long ago.
    #[must_use]
    pub fn people_with(&self, role: &str) -> usize {
        self.people(role).len()
    }

    /// Different people that hold `role`: by a live key, or by a session now or not long ago.
    pub(crate) fn people(&self, role: &str) -> BTreeSet<&ActorRef> {
        if self.is_role_revoked(role) {
            return BTreeSet::new();
        }
        let seen = self.sessions.people.iter().filter(|(_, person)| person.until > self.time);
        let seen = seen.filter(|(_, person)| person.roles.contains(role)).map(|(actor, _)| actor);
        self.keys.people(role).chain(seen).collect()
    }

    /// Whether `actor` holds one of `roles` at `now`: by a key or session that counts. In
    /// development mode callers have no keys, and what they were taken for stands.
    pub(crate) fn holds_any(&self, actor: &ActorRef, roles: &[&str], now: TimeMs) -> bool {
        let mut roles = roles.iter().filter(|role| !self.is_role_revoked(role));
        roles.any(|role| self.dev || self.standing(actor, now).any(|it| it.roles.contains(*role)))
    }

    /// Number of decisions waiting for people.
    #[must_use]
    pub fn held_open(&self) -> usize {
        self.held_open
    }

    /// Approvals, oldest first, from `after` on.
    pub fn approvals(&self, after: Option<ApprovalId>) -> impl Iterator<Item = &Held> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.held.range((from, Unbounded)).map(|(_, held)| held.as_ref())
    }

    /// One approval, as long as state remembers it.
    #[must_use]
    pub fn approval(&self, id: ApprovalId) -> Option<&Held> {
        self.held.get(&id).map(AsRef::as_ref)
    }

    /// The approval of a held decision, as long as state remembers it.
    #[must_use]
    pub fn approval_of(&self, decision: DecisionId) -> Option<&Held> {
        self.held_by_decision.get(&decision).and_then(|id| self.held.get(id)).map(AsRef::as_ref)
    }

    /// The next instant at which `Command::Tick` has something to do.
    #[must_use]
    pub fn next_timer(&self) -> Option<TimeMs> {
        // A place that is free has been so since the entry that freed it.
        let place = (!self.queue(1).is_empty()).then_some(self.time);
        place.or_else(|| self.timers.first().map(|(time, _)| *time))
    }

    /// The newest attempt under an idempotency key whose window has not ended: its log index, and
    /// whether the key is bound to it.
    #[must_use]
    pub fn attempt(&self, key: &Tag, now: TimeMs) -> Option<(u64, bool)> {
        self.idempotency.get(key, now).map(|attempt| (attempt.index, attempt.bound))
    }

    /// Sizes of what grows: idempotency keys, velocity keys, approvals remembered, open permits.
    #[must_use]
    pub fn sizes(&self) -> [usize; 4] {
        [self.idempotency.len(), self.windows.len(), self.held.len(), self.permits.len()]
    }
}
