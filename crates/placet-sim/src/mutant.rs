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
    /// What was stopped is not, after a crash.
    StopForgotten,
    /// A permit is granted although its surface is stopped.
    StopIgnored,
    /// One person alone lifts.
    LiftAlone,
    /// A decision passes under an exception that is over.
    ExceptionBack,
    /// Evidence that was taken back counts again.
    EvidenceBack,
    /// An execution that has ended runs again.
    EndForgotten,
    /// One execution more runs than there are places.
    PlaceIgnored,
    /// Of two executions that wait the later one begins first.
    QueueJumped,
    /// Now and then a caller is never answered.
    AnswerLost,
}

impl Mutant {
    /// All of them, with their names on the command line and the checkers that must find them.
    pub const ALL: [(Self, &'static str, &'static [&'static str]); 20] = [
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
        (Self::StopForgotten, "stop-forgotten", &["control"]),
        (Self::StopIgnored, "stop-ignored", &["control"]),
        (Self::LiftAlone, "lift-alone", &["control"]),
        (Self::ExceptionBack, "exception-back", &["control"]),
        (Self::EvidenceBack, "evidence-back", &["control"]),
        (Self::EndForgotten, "end-forgotten", &["control"]),
        (Self::PlaceIgnored, "place-ignored", &["control"]),
        (Self::QueueJumped, "queue-jumped", &["control"]),
        (Self::AnswerLost, "answer-lost", &["liveness"]),
    ];

    /// Whether it alters what the checker of control is shown.
    pub(crate) fn is_of_control(self) -> bool {
        let all = Self::ALL.iter().find(|(mutant, ..)| *mutant == self);
        all.is_some_and(|(.., checkers)| checkers.contains(&"control"))
    }

    /// The mutant with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(mutant, ..)| *mutant)
    }
}
