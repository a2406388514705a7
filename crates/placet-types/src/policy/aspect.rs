//! What may differ between two decisions of one outcome: one vocabulary for comparing bundles, for deciding
//! a log again and for shadow bundles.

/// What differs between two decisions of the same outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The united constraints.
    Constraints,
    /// Who has to approve, or for how long one may.
    Approval,
    /// When a throttled caller may come back.
    RetryAfter,
    /// The sliding windows, sequences and schedules that would be looked at, as they are declared.
    Limits,
    /// The deciding rules.
    Rules,
}

impl Aspect {
    /// All aspects, in their order.
    pub const ALL: [Self; 5] =
        [Self::Constraints, Self::Approval, Self::RetryAfter, Self::Limits, Self::Rules];

    /// `constraints`, `approval`, `retry_after`, `limits`, `rules`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Constraints => "constraints",
            Self::Approval => "approval",
            Self::RetryAfter => "retry_after",
            Self::Limits => "limits",
            Self::Rules => "rules",
        }
    }

    /// Parses the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|aspect| aspect.as_str() == text)
    }
}
