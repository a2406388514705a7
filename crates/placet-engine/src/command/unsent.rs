//! Permits that were handed out and whose answers a stop has overtaken.

use crate::overrides::Stop;
use alloc::vec::Vec;
use placet_types::ids::{DecisionId, PermitId};

/// Permits whose answers have not left.
#[derive(Clone, Debug)]
pub struct RevokePermit {
    /// Which.
    pub permits: Vec<Unsent>,
    /// What stops them; without it, it is the workspace or everything.
    pub stop: Option<Stop>,
}

/// A permit whose answer has not left.
#[derive(Clone, Copy, Debug)]
pub struct Unsent {
    /// Its decision.
    pub decision: DecisionId,
    /// Log index of that.
    pub index: u64,
    /// Its id.
    pub permit: PermitId,
    /// The constitution governs its surface.
    pub own: bool,
}
