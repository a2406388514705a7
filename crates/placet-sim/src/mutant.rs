//! Planted defects: what each checker must find. A check that cannot fail is worthless.

/// A defect, planted in a port or at the edge between the plane and its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Answers leave before their batch is durable, and a crash loses it.
    AnswerBeforeFlush,
    /// A restart no longer knows the idempotency keys of before.
    KeysForgotten,
    /// A permit that a kill overtook leaves as if nothing had happened.
    RevokeSkipped,
    /// The checkpoint beside an answer is the one before it.
    TreeNotAdvanced,
    /// A snapshot whose state was altered is believed.
    SnapshotBelieved,
    /// Keys of erased payloads are not destroyed.
    KeysOutliveErasing,
    /// A consumed permit is granted to a second attempt.
    ConsumedTwice,
    /// A held action is answered as permitted.
    HoldIgnored,
    /// A no is released as if it had been a yes.
    VoteFlipped,
    /// The vote that completed an approval is lost, and its permit is not.
    VoteLost,
    /// Whoever proposed approved.
    VoteOwn,
    /// Now and then a caller is never answered.
    AnswerLost,
}

impl Mutant {
    /// All of them, with their names on the command line and the checkers that must find them.
    pub const ALL: [(Self, &'static str, &'static [&'static str]); 12] = [
        (Self::AnswerBeforeFlush, "answer-before-flush", &["durable", "checkpoints"]),
        (Self::KeysForgotten, "keys-forgotten", &["idempotency"]),
        (Self::RevokeSkipped, "revoke-skipped", &["kill"]),
        (Self::TreeNotAdvanced, "tree-not-advanced", &["checkpoints"]),
        (Self::SnapshotBelieved, "snapshot-believed", &["replay"]),
        (Self::KeysOutliveErasing, "keys-outlive-erasing", &["erased"]),
        (Self::ConsumedTwice, "consumed-twice", &["permits"]),
        (Self::HoldIgnored, "hold-ignored", &["approvals"]),
        (Self::VoteFlipped, "vote-flipped", &["approvals"]),
        (Self::VoteLost, "vote-lost", &["approvals"]),
        (Self::VoteOwn, "vote-own", &["approvals"]),
        (Self::AnswerLost, "answer-lost", &["liveness"]),
    ];

    /// The mutant with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(mutant, ..)| *mutant)
    }
}
