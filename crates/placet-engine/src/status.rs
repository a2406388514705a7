//! What is known of a decision beyond its entry. Owns when its permit may be shown again; refuses to know who
//! asks.

use crate::executions::FORGOTTEN;
use crate::overrides::Stop;
use crate::rejection::Rejection;
use crate::state::{Held, State};
use placet_types::event::{KillScope, PermitIssued};
use placet_types::ids::{DecisionId, ExceptionId};

/// What state knows of a decision beyond its own entry.
#[derive(Clone, Debug)]
pub struct Status {
    /// A separate entry consumed or collected it.
    pub consumed_later: bool,
    /// Its outcome was reported.
    pub reported: bool,
    /// Its permit was revoked.
    pub revoked: bool,
    /// Its payload was erased.
    pub erased: bool,
    /// If held: where it stands, as long as state remembers.
    pub held: Option<Held>,
    /// Why the permit may not be shown again, not even to the attempt that it was for.
    pub withheld: Option<Rejection>,
    /// A permit handed to another gate and not consumed yet.
    pub open_permit: Option<PermitIssued>,
}

impl State {
    /// What is known of a decision beyond its entry at `index`; `scopes` are those of the entry, and so is
    /// the exception that it passed under.
    #[must_use]
    pub fn status(
        &self,
        decision: DecisionId,
        index: u64,
        scopes: &[KillScope],
        exception: Option<ExceptionId>,
    ) -> Status {
        let held = self.approval_of(decision);
        let withheld = self.withheld(index, scopes);
        // A trip takes the nonce from a collected permit, so its own decision may be older.
        let was = withheld == Some(Rejection::PermitRevoked);
        let collected = held.is_some() && was && !self.revoked.get(index);
        Status {
            withheld: withheld
                .filter(|_| !collected)
                .or_else(|| self.closed_under(held.map_or(exception, |held| held.exception)).err()),
            consumed_later: self.consumed.get(index),
            reported: self.reported.get(index),
            revoked: self.revoked.get(index),
            erased: self.erased.get(index),
            held: held.map(|held| self.shown(held)),
            open_permit: self
                .permits
                .get(&decision)
                .filter(|open| open.consumed_by.is_none())
                .map(|open| open.permit.clone()),
        }
    }

    /// Why the permit in the decision at `index` may not be shown again, if so, not even to the
    /// attempt that it was for: a kill of one of its scopes is or was in force since, it was revoked, or the
    /// execution whose step it is is forgotten, however that ended. Whoever answers for `Plan::Bound` asks here.
    #[must_use]
    pub fn withheld(&self, index: u64, scopes: &[KillScope]) -> Option<Rejection> {
        let now = self.stop(scopes).filter(|stop| stop.mode.ends_permits());
        let revoked = self.was_stopped(scopes, index) || self.revoked.get(index);
        let forgotten = || Rejection::ExecutionEnded(FORGOTTEN);
        now.map(Stop::rejection)
            .or(revoked.then_some(Rejection::PermitRevoked))
            .or_else(|| self.is_forgotten(scopes).then(forgotten))
    }
}
