//! What policy says: rule effects, constraints with their meets, approval requirements, the
//! verdict, and the one combination of them (strictest wins). Refuses to know how rules matched.

mod combine;
mod constraints;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Digest;
pub use combine::{Combined, Reason, Velocity, combine};
pub use constraints::{Bounds, ConstraintError, Constraints, RedactionLevel};

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

/// Where a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// `floor:` only restricts, and nothing later loosens it.
    Floor,
    /// `rules:`
    Rules,
}

impl Layer {
    /// `floor` or `rules`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Rules => "rules",
        }
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
}

impl ApprovalSpec {
    /// One hour, the default of both intervals.
    pub const HOUR_MS: u64 = 3_600_000;
}

impl Default for ApprovalSpec {
    /// One operator, one hour.
    fn default() -> Self {
        Self {
            roles: BTreeMap::from([(String::from("operator"), 1)]),
            expires_ms: Self::HOUR_MS,
            use_within_ms: Self::HOUR_MS,
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

/// The part of a compiled rule that decides once it has matched. Shared, never copied.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleEffect {
    /// Unique in the bundle.
    pub id: String,
    /// Floor or rules.
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
}

/// One rule that matched.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The rule.
    pub rule: Arc<RuleEffect>,
    /// Why its condition could not be evaluated, if so.
    pub error: Option<ConditionError>,
    /// For a `limit:` rule: the values of its key, in the order of its declaration; `None` where
    /// the request has no such field.
    pub limit_key: Option<Vec<Option<String>>>,
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
    /// Digest of the bundle; `None` when there is none.
    pub policy: Option<Digest>,
    /// Whether the bundle knows the surface.
    pub surface_known: bool,
    /// All rules that matched, cleanly or with an error.
    pub hits: Vec<Hit>,
}

/// Version of the condition language, recorded with every decision.
pub const LANGUAGE: u32 = 1;
