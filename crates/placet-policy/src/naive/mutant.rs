//! Deliberate mistakes of the reference evaluator. Owns their names alone.

/// A deliberate mistake, by which the property run shows that it would notice one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Stop at the first rule that matches.
    FirstMatchWins,
    /// A deny rule whose condition fails does not apply.
    ErringDenyIgnored,
    /// A list on a value that the request lacks matches.
    AbsentInverted,
    /// `**` needs at least one segment.
    ManyNeedsOne,
    /// `*` also stands for several segments.
    OneTakesMany,
    /// `risk_tags_all` asks for any.
    AllMeansAny,
    /// Of several labels one is enough.
    AnyLabel,
    /// An error is not absorbed by `false && …` or `true || …`.
    NoAbsorption,
    /// Integers are compared as doubles.
    IntegersAsDoubles,
    /// Values of different types are unequal instead of an error.
    UnequalTypes,
    /// The components of a limit's key are not recorded.
    LimitIgnored,
    /// Derivers add no tag.
    DerivedTagsIgnored,
    /// Of two derivers that disagree on a fact the first is believed.
    FirstFactBelieved,
    /// What a deriver cannot read does not count.
    UnreadableIgnored,
    /// Of several values one that passes is enough for a fact.
    AnyValueFound,
    /// A sequence or schedule is taken for what applies always.
    TimelessForce,
    /// Demanded fields need not be there.
    FieldsIgnored,
    /// `required` of a schema says nothing.
    RequiredIgnored,
    /// `additionalProperties: false` says nothing.
    MembersAllowed,
    /// An exclusive bound is taken as an inclusive one.
    BoundsInclusive,
    /// `integer` also takes numbers with decimals.
    IntegerTakesAll,
    /// Lengths are counted in bytes.
    LengthInBytes,
    /// A pattern has to match the whole text.
    PatternAnchored,
    /// Items may occur twice.
    RepetitionAllowed,
    /// `oneOf` is taken as `anyOf`.
    OneOfIsAnyOf,
    /// What lies below a member of a member is not looked at.
    ShallowSchema,
    /// The context needs to fit nothing.
    ContextIgnored,
    /// Evidence of any issuer counts.
    AnyIssuer,
    /// Evidence with members of its own counts.
    SloppyEvidence,
    /// Evidence that is dated ahead counts.
    FutureEvidence,
    /// Evidence never grows old.
    AgelessEvidence,
    /// `expires` of evidence says nothing.
    ExpiryIgnored,
    /// Every outcome is allowed.
    OutcomesIgnored,
    /// A capability without a manifest passes.
    UnknownCapabilityPasses,
    /// Whoever it is may trigger a capability.
    AnybodyTriggers,
    /// Manifests bound no surface, model, branch or permission.
    ManifestIgnored,
    /// A step without a branch passes a manifest that lists branches.
    BranchOptional,
    /// Whoever it is may propose what a role may.
    AnybodyProposes,
    /// The actions of a permission are not looked at.
    ActionsIgnored,
    /// What nobody does alone everybody does.
    AloneIgnored,
    /// Checkpoints of manifests hold nobody up.
    CheckpointIgnored,
    /// A role that reads also writes.
    AuditorWrites,
    /// Models that are not on the allow list pass.
    ModelsIgnored,
    /// Routes bind nobody.
    RoutesIgnored,
    /// A row of `approvals:` whose condition fails demands nothing.
    ErringApprovalIgnored,
}

impl Mutant {
    /// All mutants.
    pub const ALL: [Self; 45] = [
        Self::FirstMatchWins,
        Self::ErringDenyIgnored,
        Self::AbsentInverted,
        Self::ManyNeedsOne,
        Self::OneTakesMany,
        Self::AllMeansAny,
        Self::AnyLabel,
        Self::NoAbsorption,
        Self::IntegersAsDoubles,
        Self::UnequalTypes,
        Self::LimitIgnored,
        Self::DerivedTagsIgnored,
        Self::FirstFactBelieved,
        Self::UnreadableIgnored,
        Self::AnyValueFound,
        Self::TimelessForce,
        Self::FieldsIgnored,
        Self::RequiredIgnored,
        Self::MembersAllowed,
        Self::BoundsInclusive,
        Self::IntegerTakesAll,
        Self::LengthInBytes,
        Self::PatternAnchored,
        Self::RepetitionAllowed,
        Self::OneOfIsAnyOf,
        Self::ShallowSchema,
        Self::ContextIgnored,
        Self::AnyIssuer,
        Self::SloppyEvidence,
        Self::FutureEvidence,
        Self::AgelessEvidence,
        Self::ExpiryIgnored,
        Self::OutcomesIgnored,
        Self::UnknownCapabilityPasses,
        Self::AnybodyTriggers,
        Self::ManifestIgnored,
        Self::BranchOptional,
        Self::AnybodyProposes,
        Self::ActionsIgnored,
        Self::AloneIgnored,
        Self::CheckpointIgnored,
        Self::AuditorWrites,
        Self::ModelsIgnored,
        Self::RoutesIgnored,
        Self::ErringApprovalIgnored,
    ];
}
