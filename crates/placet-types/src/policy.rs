//! What policy says: rule effects, constraints with their meets, approval requirements, the
//! verdict, and the one combination of them (strictest wins). Refuses to know how rules matched.

mod aspect;
mod combine;
mod constraints;
mod schedule;

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Digest;
use crate::ids::{EvidenceId, TimeMs};
pub use aspect::Aspect;
pub use combine::{Combined, Reason, Velocity, combine, restrict};
pub use constraints::{Bounds, ConstraintError, Constraints, RedactionLevel};
pub use schedule::{Schedule, Weekday};

/// The answer to an execution request. Only [`Outcome::Permit`] executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Nothing permits it, so it does not execute.
    Silence,
    /// May execute, under its constraints.
    Permit,
    /// Held until its approval is complete.
    RequireApproval,
    /// Not now.
    Throttle,
    /// Explicitly blocked.
    Deny,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 5] =
        [Self::Silence, Self::Permit, Self::RequireApproval, Self::Throttle, Self::Deny];

    /// `PERMIT`, `REQUIRE_APPROVAL`, `THROTTLE`, `DENY`, `SILENCE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "SILENCE",
            Self::Permit => "PERMIT",
            Self::RequireApproval => "REQUIRE_APPROVAL",
            Self::Throttle => "THROTTLE",
            Self::Deny => "DENY",
        }
    }

    /// Parses the upper-case word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// What a rule says, from loosest to strictest: the order is the order of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// `allow`
    Allow,
    /// `allow_with_constraints`
    AllowWithConstraints,
    /// `require_approval`
    RequireApproval,
    /// `throttle`
    Throttle,
    /// `deny`
    Deny,
}

impl Effect {
    /// All effects.
    pub const ALL: [Self; 5] = [
        Self::Allow,
        Self::AllowWithConstraints,
        Self::RequireApproval,
        Self::Throttle,
        Self::Deny,
    ];

    /// The word in a rule's `decision:`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::AllowWithConstraints => "allow_with_constraints",
            Self::RequireApproval => "require_approval",
            Self::Throttle => "throttle",
            Self::Deny => "deny",
        }
    }

    /// Parses the word in a rule's `decision:`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.as_str() == text)
    }
}

/// Where a rule stands: the order of the layers is the order in which they are asked and shown. Only
/// [`Layer::Rules`] grants; all others restrict, and none loosens another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// What manifests and roles demand.
    Access,
    /// What a surface demands of its requests.
    Contract,
    /// `floor:`
    Floor,
    /// `rules:`
    Rules,
    /// The allow list of models.
    Models,
    /// `approvals:` who has to approve what is granted.
    Approvals,
}

impl Layer {
    /// All layers, in their order.
    pub const ALL: [Self; 6] =
        [Self::Access, Self::Contract, Self::Floor, Self::Rules, Self::Models, Self::Approvals];

    /// `access`, `contract`, `floor`, `rules`, `models`, `approvals`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Contract => "contract",
            Self::Floor => "floor",
            Self::Rules => "rules",
            Self::Models => "models",
            Self::Approvals => "approvals",
        }
    }

    /// What begins the ids of rules that follow from other documents than `floor:` and `rules:`. Ids in
    /// these two hold no `:`, so the id and whether the rule may grant tell the layer.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Access => "access:",
            Self::Contract => "surface:",
            Self::Models => "models:",
            Self::Approvals => "approvals:",
            Self::Floor | Self::Rules => "",
        }
    }

    /// The layer of a recorded rule.
    #[must_use]
    pub fn of(rule: &str, may_grant: bool) -> Self {
        if may_grant {
            return Self::Rules;
        }
        let implied = [Self::Access, Self::Contract, Self::Models, Self::Approvals];
        implied.into_iter().find(|it| rule.starts_with(it.prefix())).unwrap_or(Self::Floor)
    }
}

/// Who has to approve, and for how long one may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalSpec {
    /// How many different people per role.
    pub roles: BTreeMap<String, u32>,
    /// Milliseconds until the approval expires undecided.
    pub expires_ms: u64,
    /// Milliseconds within which the approved action must be collected.
    pub use_within_ms: u64,
    /// Who may stand in once it has waited, by the time they wait for; at most [`ApprovalSpec::STEPS_MAX`].
    pub steps: Vec<StepSpec>,
    /// How long before it expires the approvers are reminded.
    pub remind_ms: Option<u64>,
}

/// From a time on further people may approve: those who together make up `roles` fill one place of each
/// role in `instead_of`. So no step lowers how many people it takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepSpec {
    /// Milliseconds after it was opened.
    pub after_ms: u64,
    /// The demanded roles for which they stand in.
    pub instead_of: BTreeSet<String>,
    /// How many people of which further role make up one place.
    pub roles: BTreeMap<String, u32>,
}

impl ApprovalSpec {
    /// One hour, the default of both intervals.
    pub const HOUR_MS: u64 = 3_600_000;
    /// Most steps of an escalation; those that would come later are left out.
    pub const STEPS_MAX: usize = 8;
}

impl Default for ApprovalSpec {
    /// One operator, one hour.
    fn default() -> Self {
        Self {
            roles: BTreeMap::from([(String::from("operator"), 1)]),
            expires_ms: Self::HOUR_MS,
            use_within_ms: Self::HOUR_MS,
            steps: Vec::new(),
            remind_ms: None,
        }
    }
}

/// A sliding window: the rule applies once `count` permits and holds lie within `per_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSpec {
    /// Permits and holds that fit.
    pub count: u32,
    /// Length of the window in milliseconds.
    pub per_ms: u64,
}

/// A sequence: the rule applies only after an earlier permit or hold, which another rule of the bundle,
/// its marker, has left in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfterSpec {
    /// For how long the earlier action counts, in milliseconds.
    pub within_ms: u64,
}

/// The part of a compiled rule that decides once it has matched. Shared, never copied.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleEffect {
    /// Unique in the bundle.
    pub id: String,
    /// Where it stands.
    pub layer: Layer,
    /// What it says.
    pub effect: Effect,
    /// Static text for people.
    pub reason: Option<String>,
    /// Constraints on whatever is granted.
    pub constraints: Option<Constraints>,
    /// For `require_approval`.
    pub approval: Option<ApprovalSpec>,
    /// Applies only once the window is full.
    pub limit: Option<LimitSpec>,
    /// For `throttle` without a window: when to come back.
    pub retry_after_ms: Option<u64>,
    /// Its effect is a note on the decision and nothing more.
    pub advice: bool,
    /// The code under which it decides.
    pub cause: Reason,
    /// Applies only after something else.
    pub after: Option<AfterSpec>,
    /// Applies only at these times.
    pub schedule: Option<Schedule>,
    /// It looks at what the others came to, and applies to any outcome but these.
    pub outcomes: Option<Vec<Outcome>>,
}

impl RuleEffect {
    /// A rule that says only this.
    #[must_use]
    pub fn new(id: impl Into<String>, layer: Layer, effect: Effect) -> Self {
        Self {
            id: id.into(),
            layer,
            effect,
            reason: None,
            constraints: None,
            approval: None,
            limit: None,
            retry_after_ms: None,
            advice: false,
            cause: Reason::Rule,
            after: None,
            schedule: None,
            outcomes: None,
        }
    }

    /// Whether it keeps this outcome from being the answer. What executes nothing and waits for nothing is
    /// always possible.
    #[must_use]
    pub fn refuses(&self, outcome: Outcome) -> bool {
        let harmless = matches!(outcome, Outcome::Silence | Outcome::Deny);
        !harmless && self.outcomes.as_ref().is_some_and(|allowed| !allowed.contains(&outcome))
    }

    /// Whether a failure of it may take something away and never give anything.
    #[must_use]
    pub const fn restricts(&self) -> bool {
        matches!(self.effect, Effect::Deny | Effect::Throttle | Effect::RequireApproval)
    }

    /// What names its window: a rule with `after` looks into the one that its marker fills.
    #[must_use]
    pub fn window_name(&self) -> Cow<'_, str> {
        match self.after {
            Some(_) => Cow::Owned(Self::marker_id(&self.id)),
            None => Cow::Borrowed(&self.id),
        }
    }

    /// The id of the rule that marks what the rule `id` comes after.
    #[must_use]
    pub fn marker_id(id: &str) -> String {
        let mut marker = String::from("after:");
        marker.push_str(id);
        marker
    }

    /// Whether a rule of this id marks what another one comes after.
    #[must_use]
    pub fn is_marker(id: &str) -> bool {
        id.starts_with("after:")
    }
}

/// When a matched rule applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Force {
    /// Whenever it is asked.
    #[default]
    Always,
    /// From an instant on: a piece of evidence expires then.
    From(TimeMs),
    /// Before an instant: what is dated later does not exist yet.
    Until(TimeMs),
    /// When its schedule and the state of the workspace say so.
    Asked,
}

impl Force {
    /// Whether it applies by the clock alone; a rule that is asked may depend on more.
    #[must_use]
    pub fn by_time(self, now: TimeMs) -> bool {
        match self {
            Self::Always | Self::Asked => true,
            Self::From(instant) => now >= instant,
            Self::Until(instant) => now < instant,
        }
    }
}

/// One rule that matched.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The rule.
    pub rule: Arc<RuleEffect>,
    /// Why its condition could not be evaluated, if so.
    pub error: Option<ConditionError>,
    /// For a rule with `limit:` or `after:`: the values of its key, in the order of its declaration;
    /// `None` where the request has no such field.
    pub limit_key: Option<Vec<Option<String>>>,
    /// When it applies.
    pub force: Force,
}

impl Hit {
    /// A rule that matched cleanly and applies whenever it is asked.
    #[must_use]
    pub fn of(rule: Arc<RuleEffect>) -> Self {
        Self { rule, error: None, limit_key: None, force: Force::Always }
    }
}

/// Why a condition has no value. Data on the decision, never a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionError {
    /// A field that the request does not have.
    Missing,
    /// An operand of another type than the operator takes.
    Type,
    /// Integer overflow or division by zero.
    Arithmetic,
    /// More work or depth than the language's bound.
    Bound,
    /// The result is not a Boolean.
    NotBoolean,
}

impl ConditionError {
    /// All errors.
    pub const ALL: [Self; 5] =
        [Self::Missing, Self::Type, Self::Arithmetic, Self::Bound, Self::NotBoolean];

    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing_field",
            Self::Type => "type_mismatch",
            Self::Arithmetic => "arithmetic",
            Self::Bound => "bound_exceeded",
            Self::NotBoolean => "not_boolean",
        }
    }

    /// Parses the stable code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.as_str() == text)
    }
}

/// What a bundle says of one request, before state has its say. Hits are sorted by layer and id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Pieces of evidence in the store that it rests on.
    pub evidence: Vec<EvidenceId>,
    /// Digest of the bundle; `None` when there is none.
    pub policy: Option<Digest>,
    /// Whether the bundle knows the surface.
    pub surface_known: bool,
    /// Whether a mode lets gates proceed whatever is decided.
    pub unenforced: bool,
    /// All rules that matched, cleanly or with an error.
    pub hits: Vec<Hit>,
}

/// Version of the condition language, recorded with every decision.
pub const LANGUAGE: u32 = 1;
