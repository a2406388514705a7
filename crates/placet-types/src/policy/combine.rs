//! Strictest wins, restricting never grants: the one function from hits to an outcome. Owns the
//! combination; refuses to know how hits came to be or where windows are kept.

use super::{
    ApprovalSpec, Constraints, Effect, Hit, Layer, Outcome, RuleEffect, StepSpec, Verdict,
};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What the sliding window of a `limit:` rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Velocity {
    /// There is room: the rule does not apply.
    Open,
    /// The window is full; there is room again after so many milliseconds.
    Full {
        /// Milliseconds until the oldest counted action leaves the window.
        retry_after_ms: u64,
    },
}

/// Why a decision is what it is: a closed list of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A rule decided.
    Rule,
    /// No rule matched.
    NoRuleMatches,
    /// Rules matched, but none that grants.
    NothingGrants,
    /// A condition could not be evaluated.
    ConditionError,
    /// Constraints of the matching rules exclude one another.
    ConstraintsConflict,
    /// A sliding window is full.
    Velocity,
    /// The workspace has no bundle.
    NoBundle,
    /// The bundle does not know the surface.
    UnknownSurface,
    /// The kill switch of everything is tripped.
    KilledEverything,
    /// The kill switch of the workspace is tripped.
    KilledWorkspace,
    /// The request was not decided within its deadline.
    DeadlineExceeded,
    /// The approval queue is full.
    ApprovalQueueFull,
    /// Too many distinct velocity keys are in use.
    VelocityBound,
    /// The payload was erased, so its permit is revoked. Never decides by itself.
    PayloadErased,
    /// No manifest of the policy describes the capability.
    CapabilityUnknown,
    /// None of the caller's roles may do this.
    RoleNotAllowed,
    /// The step lies outside the manifest of its capability.
    OutsideManifest,
    /// The surface demands a field that the request does not have.
    FieldMissing,
    /// The arguments do not fit the schema of the surface.
    ArgumentsInvalid,
    /// The context does not fit what the surface demands.
    ContextInvalid,
    /// The surface demands evidence that the request does not have.
    EvidenceMissing,
    /// Evidence that the surface demands is too old.
    EvidenceExpired,
    /// Evidence that the request names is not in this workspace, of another issuer, or about something else.
    EvidenceForeign,
    /// Evidence that the surface demands was taken back.
    EvidenceRevoked,
    /// Evidence that the surface demands is not signed by its issuer.
    EvidenceUnattested,
    /// The model is on no allow list.
    ModelNotAllowed,
    /// What was granted needs the approval of further roles.
    ApprovalRule,
    /// The surface does not allow the outcome that the rules came to.
    OutcomeNotAllowed,
    /// An exception from policy is used.
    Exception,
    /// It was filed for what was done already.
    Retroactive,
    /// A mode of the policy lets gates proceed.
    Unenforced,
    /// The kill switch of an actor behind the request is tripped.
    KilledActor,
    /// The kill switch of a name that the request uses is tripped.
    KilledAlias,
    /// The kill switch of the branch is tripped.
    KilledBranch,
    /// The kill switch of the capability is tripped.
    KilledCapability,
    /// The kill switch of the execution is tripped.
    KilledExecution,
    /// The kill switch of the job is tripped.
    KilledJob,
    /// The kill switch of the model is tripped.
    KilledModel,
    /// The kill switch of the surface is tripped.
    KilledSurface,
    /// Nothing new is to begin here.
    Frozen,
    /// Something that the request uses is disabled.
    Disabled,
    /// The caller has a role that is revoked for everybody.
    RoleRevoked,
    /// The request names an execution that is not known.
    ExecutionUnknown,
    /// The execution is another's.
    ExecutionForeign,
    /// The execution has ended.
    ExecutionEnded,
    /// The request names another capability or branch than its execution.
    ExecutionMismatch,
    /// The execution waits for a place.
    ExecutionQueued,
    /// The execution has had as many steps as it may.
    ExecutionBudget,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 48] = [
        Self::Rule,
        Self::NoRuleMatches,
        Self::NothingGrants,
        Self::ConditionError,
        Self::ConstraintsConflict,
        Self::Velocity,
        Self::NoBundle,
        Self::UnknownSurface,
        Self::KilledEverything,
        Self::KilledWorkspace,
        Self::DeadlineExceeded,
        Self::ApprovalQueueFull,
        Self::VelocityBound,
        Self::PayloadErased,
        Self::CapabilityUnknown,
        Self::RoleNotAllowed,
        Self::OutsideManifest,
        Self::FieldMissing,
        Self::ArgumentsInvalid,
        Self::ContextInvalid,
        Self::EvidenceMissing,
        Self::EvidenceExpired,
        Self::EvidenceForeign,
        Self::EvidenceRevoked,
        Self::EvidenceUnattested,
        Self::ModelNotAllowed,
        Self::ApprovalRule,
        Self::OutcomeNotAllowed,
        Self::Exception,
        Self::Retroactive,
        Self::Unenforced,
        Self::KilledActor,
        Self::KilledAlias,
        Self::KilledBranch,
        Self::KilledCapability,
        Self::KilledExecution,
        Self::KilledJob,
        Self::KilledModel,
        Self::KilledSurface,
        Self::Frozen,
        Self::Disabled,
        Self::RoleRevoked,
        Self::ExecutionUnknown,
        Self::ExecutionForeign,
        Self::ExecutionEnded,
        Self::ExecutionMismatch,
        Self::ExecutionQueued,
        Self::ExecutionBudget,
    ];

    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::NoRuleMatches => "no_rule_matches",
            Self::NothingGrants => "nothing_grants",
            Self::ConditionError => "condition_error",
            Self::ConstraintsConflict => "constraints_conflict",
            Self::Velocity => "velocity",
            Self::NoBundle => "no_bundle",
            Self::UnknownSurface => "unknown_surface",
            Self::KilledEverything => "killed_everything",
            Self::KilledWorkspace => "killed_workspace",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::ApprovalQueueFull => "approval_queue_full",
            Self::VelocityBound => "velocity_bound",
            Self::PayloadErased => "payload_erased",
            Self::CapabilityUnknown => "capability_unknown",
            Self::RoleNotAllowed => "role_not_allowed",
            Self::OutsideManifest => "outside_manifest",
            Self::FieldMissing => "field_missing",
            Self::ArgumentsInvalid => "arguments_invalid",
            Self::ContextInvalid => "context_invalid",
            Self::EvidenceMissing => "evidence_missing",
            Self::EvidenceExpired => "evidence_expired",
            Self::EvidenceForeign => "evidence_foreign",
            Self::EvidenceRevoked => "evidence_revoked",
            Self::EvidenceUnattested => "evidence_unattested",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::ApprovalRule => "approval_rule",
            Self::OutcomeNotAllowed => "outcome_not_allowed",
            Self::Exception => "exception",
            Self::Retroactive => "retroactive",
            Self::Unenforced => "unenforced",
            Self::KilledActor => "killed_actor",
            Self::KilledAlias => "killed_alias",
            Self::KilledBranch => "killed_branch",
            Self::KilledCapability => "killed_capability",
            Self::KilledExecution => "killed_execution",
            Self::KilledJob => "killed_job",
            Self::KilledModel => "killed_model",
            Self::KilledSurface => "killed_surface",
            Self::Frozen => "frozen",
            Self::Disabled => "disabled",
            Self::RoleRevoked => "role_revoked",
            Self::ExecutionUnknown => "execution_unknown",
            Self::ExecutionForeign => "execution_foreign",
            Self::ExecutionEnded => "execution_ended",
            Self::ExecutionMismatch => "execution_mismatch",
            Self::ExecutionQueued => "execution_queued",
            Self::ExecutionBudget => "execution_budget",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Rule => "a rule of the policy decided",
            Self::NoRuleMatches => "no rule of the policy matches this action",
            Self::NothingGrants => "rules matched, but none of them grants anything",
            Self::ConditionError => {
                "a condition could not be evaluated, so its rule only restricts"
            }
            Self::ConstraintsConflict => {
                "the constraints of the matching rules exclude one another"
            }
            Self::Velocity => "the limit for actions of this kind is used up for now",
            Self::NoBundle => "no policy bundle is loaded in this workspace",
            Self::UnknownSurface => "the policy does not know this surface",
            Self::KilledEverything => "the kill switch of everything is tripped",
            Self::KilledWorkspace => "the kill switch of this workspace is tripped",
            Self::DeadlineExceeded => "the request was not decided within its deadline",
            Self::ApprovalQueueFull => "the approval queue of this workspace is full",
            Self::VelocityBound => "too many distinct limit keys are in use in this workspace",
            Self::PayloadErased => "what was permitted has been erased",
            Self::CapabilityUnknown => "no manifest of the policy describes this capability",
            Self::RoleNotAllowed => "none of the roles of the caller may do this",
            Self::OutsideManifest => "the step lies outside the manifest of its capability",
            Self::FieldMissing => "the surface demands a field that the request does not have",
            Self::ArgumentsInvalid => "the arguments do not fit the schema of the surface",
            Self::ContextInvalid => "the context does not fit what the surface demands",
            Self::EvidenceMissing => "the surface demands evidence that the request does not have",
            Self::EvidenceExpired => "evidence that the surface demands is too old",
            Self::EvidenceForeign => {
                "evidence that the request names is unknown here, of another issuer, or about something else"
            }
            Self::EvidenceRevoked => "evidence that the surface demands was taken back",
            Self::EvidenceUnattested => {
                "evidence that the surface demands is not signed by its issuer"
            }
            Self::ModelNotAllowed => "the model is not on the allow list",
            Self::ApprovalRule => "what was granted needs the approval of further roles",
            Self::OutcomeNotAllowed => {
                "the surface does not allow the outcome that the rules came to"
            }
            Self::Exception => "an exception from the policy is used",
            Self::Retroactive => {
                "it was filed for what was done already: it is recorded, and permits nothing"
            }
            Self::Unenforced => {
                "a mode of the policy lets it pass: nothing is enforced here, and nothing is permitted"
            }
            Self::KilledActor => "the kill switch of an actor behind this request is tripped",
            Self::KilledAlias => "the kill switch of a name that this request uses is tripped",
            Self::KilledBranch => "the kill switch of this branch is tripped",
            Self::KilledCapability => "the kill switch of this capability is tripped",
            Self::KilledExecution => "the kill switch of this execution is tripped",
            Self::KilledJob => "the kill switch of this job is tripped",
            Self::KilledModel => "the kill switch of this model is tripped",
            Self::KilledSurface => "the kill switch of this surface is tripped",
            Self::Frozen => "this is frozen: nothing new begins until it is lifted",
            Self::Disabled => "something that this request uses is disabled",
            Self::RoleRevoked => {
                "the caller has a role that is revoked for everybody until it is lifted"
            }
            Self::ExecutionUnknown => {
                "no execution of this id is known; start one, or leave it out"
            }
            Self::ExecutionForeign => "this execution belongs to another actor",
            Self::ExecutionEnded => "this execution has ended, and that is final",
            Self::ExecutionMismatch => {
                "the step names another capability or branch than its execution"
            }
            Self::ExecutionQueued => "this execution waits for a place; ask again once it runs",
            Self::ExecutionBudget => {
                "this execution has had as many steps, or as much time, as it may, and that ends it"
            }
        }
    }

    /// Whether a deciding rule with this id speaks for the code, with a text of its own.
    #[must_use]
    pub fn is_of(self, rule: &str) -> bool {
        let layer = Layer::of(rule, false);
        match self {
            Self::Rule => layer == Layer::Floor,
            Self::ApprovalRule => matches!(layer, Layer::Access | Layer::Approvals),
            Self::Exception => rule.starts_with("exception."),
            _ => false,
        }
    }

    /// Whether people stopped it: nothing of it is held against the request once that is lifted.
    #[must_use]
    pub const fn is_override(self) -> bool {
        matches!(
            self,
            Self::KilledEverything
                | Self::KilledWorkspace
                | Self::KilledActor
                | Self::KilledAlias
                | Self::KilledBranch
                | Self::KilledCapability
                | Self::KilledExecution
                | Self::KilledJob
                | Self::KilledModel
                | Self::KilledSurface
                | Self::Frozen
                | Self::Disabled
                | Self::RoleRevoked
        )
    }

    /// Parses the stable code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// The result of combining all hits.
#[derive(Clone, Debug, PartialEq)]
pub struct Combined {
    /// The strictest of what applies.
    pub outcome: Outcome,
    /// The rules with that strictness, sorted by id. Empty for SILENCE.
    pub deciding: Vec<Arc<RuleEffect>>,
    /// Codes, most important first, without repetition.
    pub reasons: Vec<Reason>,
    /// United constraints; empty unless the outcome is PERMIT or REQUIRE_APPROVAL.
    pub constraints: Constraints,
    /// For REQUIRE_APPROVAL: maximum per role, earliest expiry.
    pub approval: Option<ApprovalSpec>,
    /// For THROTTLE: the longest wait demanded.
    pub retry_after_ms: Option<u64>,
}

impl Combined {
    /// An outcome that no rule decided.
    #[must_use]
    pub fn refusal(outcome: Outcome, reason: Reason) -> Self {
        Self {
            outcome,
            deciding: Vec::new(),
            reasons: alloc::vec![reason],
            constraints: Constraints::default(),
            approval: None,
            retry_after_ms: None,
        }
    }
}

/// `throttle` without a window or a wait of its own asks to come back after a second.
const RETRY_AFTER_MS_DEFAULT: u64 = 1000;

/// Combines the hits of `verdict`; `window` answers for each hit with a `limit:`.
///
/// Strictest wins: deny > throttle > require_approval > allow_with_constraints > allow. A hold, a
/// permit or a throttle needs a cleanly matched granting rule of the layer `rules`; a rule whose
/// condition failed restricts but never grants. The result does not depend on the order of hits.
///
/// Last, a rule with `outcomes` turns an outcome that it refuses into DENY.
pub fn combine(verdict: &Verdict, window: impl FnMut(&Hit) -> Velocity) -> Combined {
    restrict(verdict, strictest(verdict, window))
}

/// `combined`, or DENY where a rule of the verdict refuses its outcome.
#[must_use]
pub fn restrict(verdict: &Verdict, combined: Combined) -> Combined {
    let refusing = verdict.hits.iter().filter(|hit| hit.rule.refuses(combined.outcome));
    let mut deciding: Vec<_> = refusing.map(|hit| hit.rule.clone()).collect();
    if deciding.is_empty() {
        return combined;
    }
    deciding.sort_by(|a, b| a.id.cmp(&b.id));
    Combined { deciding, ..Combined::refusal(Outcome::Deny, Reason::OutcomeNotAllowed) }
}

fn strictest(verdict: &Verdict, mut window: impl FnMut(&Hit) -> Velocity) -> Combined {
    if verdict.policy.is_none() {
        return Combined::refusal(Outcome::Silence, Reason::NoBundle);
    }
    if !verdict.surface_known {
        return Combined::refusal(Outcome::Silence, Reason::UnknownSurface);
    }
    let mut granted = false;
    let mut strictest: Option<Effect> = None;
    let mut applied: Vec<(&Hit, Option<u64>)> = Vec::with_capacity(verdict.hits.len());
    let mut failed = false;
    for hit in &verdict.hits {
        if hit.rule.advice || hit.rule.outcomes.is_some() {
            continue;
        }
        failed |= hit.error.is_some();
        let wait = match hit.rule.limit {
            Some(_) => match window(hit) {
                Velocity::Open => continue,
                Velocity::Full { retry_after_ms } => Some(retry_after_ms),
            },
            None => None,
        };
        let clean = hit.error.is_none();
        let effect = hit.rule.effect;
        if effect == Effect::Allow && !clean {
            continue;
        }
        granted |= clean && grants(&hit.rule);
        strictest = strictest.max(Some(effect));
        applied.push((hit, wait));
    }
    let Some(strictest) = strictest else {
        let mut silence = Combined::refusal(Outcome::Silence, Reason::NoRuleMatches);
        if failed {
            silence.reasons.push(Reason::ConditionError);
        }
        return silence;
    };
    if strictest != Effect::Deny && !granted {
        let mut silence = Combined::refusal(Outcome::Silence, Reason::NothingGrants);
        if failed {
            silence.reasons.push(Reason::ConditionError);
        }
        return silence;
    }
    decide(strictest, &applied, failed)
}

/// Whether a cleanly matched rule grants: a rule of the layer `rules` that allows, constrains or
/// asks for approval and is no window (a window only restricts what others grant).
fn grants(rule: &RuleEffect) -> bool {
    rule.layer == Layer::Rules
        && rule.limit.is_none()
        && matches!(
            rule.effect,
            Effect::Allow | Effect::AllowWithConstraints | Effect::RequireApproval
        )
}

fn decide(strictest: Effect, applied: &[(&Hit, Option<u64>)], failed: bool) -> Combined {
    let deciders = || applied.iter().filter(|(hit, _)| hit.rule.effect == strictest);
    let mut deciding: Vec<_> = deciders().map(|(hit, _)| hit.rule.clone()).collect();
    deciding.sort_by(|a, b| a.id.cmp(&b.id));
    let mut reasons: Vec<Reason> = deciding.iter().map(|rule| rule.cause).collect();
    reasons.sort();
    reasons.dedup();
    if deciders().any(|(_, wait)| wait.is_some()) {
        reasons.push(Reason::Velocity);
    }
    if failed {
        reasons.push(Reason::ConditionError);
    }
    let mut combined = Combined {
        outcome: match strictest {
            Effect::Allow | Effect::AllowWithConstraints => Outcome::Permit,
            Effect::RequireApproval => Outcome::RequireApproval,
            Effect::Throttle => Outcome::Throttle,
            Effect::Deny => Outcome::Deny,
        },
        deciding,
        reasons,
        constraints: Constraints::default(),
        approval: None,
        retry_after_ms: None,
    };
    match combined.outcome {
        Outcome::Throttle => {
            combined.retry_after_ms = deciders()
                .map(|(hit, wait)| {
                    wait.or(hit.rule.retry_after_ms).unwrap_or(RETRY_AFTER_MS_DEFAULT)
                })
                .max();
        }
        Outcome::Permit | Outcome::RequireApproval => unite(&mut combined, applied),
        Outcome::Deny | Outcome::Silence => {}
    }
    combined
}

/// Unites constraints of all that applies (denials cannot be among them here) and approvals.
fn unite(combined: &mut Combined, applied: &[(&Hit, Option<u64>)]) {
    for (hit, _) in applied {
        if let Some(constraints) = &hit.rule.constraints
            && combined.constraints.meet(constraints).is_err()
        {
            *combined = Combined {
                deciding: all_constraining(applied),
                ..Combined::refusal(Outcome::Deny, Reason::ConstraintsConflict)
            };
            return;
        }
    }
    if combined.outcome != Outcome::RequireApproval {
        return;
    }
    let demands = applied.iter().filter(|(hit, _)| hit.rule.effect == Effect::RequireApproval);
    let specs: Vec<ApprovalSpec> =
        demands.map(|(hit, _)| hit.rule.approval.clone().unwrap_or_default()).collect();
    combined.approval = united(&specs);
}

/// The maximum per role, the earliest expiry, the earliest reminder. A step stands in for a role only where
/// every demand for that role has one that comes no later and takes no more people.
fn united(specs: &[ApprovalSpec]) -> Option<ApprovalSpec> {
    let (first, rest) = specs.split_first()?;
    let mut united = ApprovalSpec { steps: Vec::new(), remind_ms: None, ..first.clone() };
    for spec in rest {
        for (role, count) in &spec.roles {
            let most = united.roles.entry(role.clone()).or_insert(0);
            *most = (*most).max(*count);
        }
        united.expires_ms = united.expires_ms.min(spec.expires_ms);
        united.use_within_ms = united.use_within_ms.min(spec.use_within_ms);
    }
    let early = |ms: &u64| *ms < united.expires_ms;
    united.remind_ms = specs.iter().filter_map(|spec| spec.remind_ms).filter(early).max();
    let mut steps: Vec<StepSpec> = Vec::new();
    for step in specs.iter().flat_map(|spec| &spec.steps).filter(|step| early(&step.after_ms)) {
        let agreed = |role: &&String| {
            let mut demands = specs.iter().filter(|spec| spec.roles.contains_key(*role));
            demands.all(|spec| spec.steps.iter().any(|other| covers(other, step, role)))
        };
        let instead_of: BTreeSet<String> = step.instead_of.iter().filter(agreed).cloned().collect();
        if !instead_of.is_empty() {
            steps.push(StepSpec { instead_of, ..step.clone() });
        }
    }
    steps.sort();
    steps.dedup();
    steps.truncate(ApprovalSpec::STEPS_MAX);
    united.steps = steps;
    Some(united)
}

/// Whether `other` lets the people of `step` stand in for `role` no later, and asks no more of them.
fn covers(other: &StepSpec, step: &StepSpec, role: &str) -> bool {
    other.after_ms <= step.after_ms
        && other.instead_of.contains(role)
        && other.roles.iter().all(|(role, count)| step.roles.get(role) >= Some(count))
}

/// Every rule that constrains, sorted by id: which of them clash would depend on their order.
fn all_constraining(applied: &[(&Hit, Option<u64>)]) -> Vec<Arc<RuleEffect>> {
    let mut rules: Vec<_> = applied
        .iter()
        .filter(|(hit, _)| hit.rule.constraints.is_some())
        .map(|(hit, _)| hit.rule.clone())
        .collect();
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    rules
}
