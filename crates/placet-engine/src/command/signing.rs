//! Commands about the keys that sign the log and its bundles.

use super::Who;
use alloc::string::String;
use placet_types::ids::DecisionId;

/// Hand over from the signing key in force to another one.
#[derive(Clone, Debug)]
pub struct RotateSigner {
    /// Who; absent where a start completes what a crash has cut short.
    pub by: Option<Who>,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
    /// Verifier key in force.
    pub old: String,
    /// Verifier key that follows.
    pub new: String,
    /// The handover at the next index, signed by both. Whoever owns the order of the log writes it.
    pub note: String,
}

/// Go on under another name, after signed entries were lost.
#[derive(Clone, Debug)]
pub struct SucceedLog {
    /// Verifier key in force, under the name of the predecessor.
    pub old: String,
    /// Verifier key of the successor; its name is the new origin.
    pub new: String,
    /// Entries that the predecessor had signed, as far as is known.
    pub signed: Option<u64>,
    /// The succession at the next index, signed by both. Whoever owns the order of the log writes it.
    pub note: String,
}

/// Revoke a former signing key.
#[derive(Clone, Debug)]
pub struct RevokeSigner {
    /// Who.
    pub by: Who,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
    /// Its verifier key.
    pub vkey: String,
    /// From this size on; without it, altogether.
    pub from_size: Option<u64>,
}

/// Whose signature counts.
#[derive(Clone, Debug)]
pub struct AuthorChange {
    /// Verifier key of the author.
    pub key: String,
    /// Whether it counts from here on.
    pub trust: bool,
    /// Who.
    pub by: Who,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
}
