//! What a vote or a collection brings along besides its own words: the caller that waits, and whose roles it
//! rests on.

use super::Who;
use alloc::collections::BTreeSet;
use alloc::string::String;
use placet_types::Digest;
use placet_types::event::ActorRef;
use placet_types::ids::PermitId;

/// Whose roles a verdict on a held request rests on: those that the proposer had when it was evaluated.
#[derive(Clone, Debug)]
pub struct Lends {
    /// The proposer.
    pub actor: ActorRef,
    /// Its roles.
    pub roles: BTreeSet<String>,
}

/// A caller that waits for the approval of its action.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The proposer.
    pub who: Who,
    /// SHA-256 of the attempt's nonce.
    pub nonce: Digest,
    /// A fresh id.
    pub permit: PermitId,
    /// Life of the permit.
    pub permit_ms: u64,
}
