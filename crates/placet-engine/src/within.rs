//! What an action lies within beyond what its request names: the executions above its own, and, while it waits
//! for people, the roles that its proposer came with. A decision that grants lists them, so that what stops
//! one of them reaches its open permit, its held action and its answer. Refuses to know what stops them.

use crate::command::Decide;
use crate::constitution::is_governed;
use crate::state::State;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use placet_types::event::{KillScope, OverrideMode};
use placet_types::ids::{ExecutionId, is_name};
use placet_types::policy::Outcome;

/// The executions of ours among these scopes.
pub(crate) fn executions(scopes: &[KillScope]) -> impl Iterator<Item = ExecutionId> {
    scopes.iter().filter_map(|scope| match scope {
        KillScope::Execution(name) => ExecutionId::parse(name),
        _ => None,
    })
}

/// What the entry of a decision lists as stopping it.
pub(crate) fn under(state: &State, command: &Decide, outcome: Outcome) -> Vec<KillScope> {
    let mut under = command.under.clone();
    let grants = matches!(outcome, Outcome::Permit | Outcome::RequireApproval);
    // What was recorded is taken as it was.
    if !grants || command.passing.recorded.is_some() {
        return under;
    }
    let own = executions(&command.under).next().and_then(|id| state.executions.all.get(&id));
    let above = own.into_iter().flat_map(|own| own.scopes.iter());
    under.extend(above.filter(|scope| matches!(scope, KillScope::Execution(_))).cloned());
    // People repair what the constitution governs, whatever roles are revoked.
    if outcome == Outcome::RequireApproval && !is_governed(&command.surface) {
        let roles = command.who.roles.iter().filter(|role| is_name(role));
        under.extend(roles.cloned().map(KillScope::Role));
    }
    under.sort_unstable();
    under.dedup();
    under
}

impl State {
    /// The execution whose step has these scopes: of several that which lies within all the others. `None`
    /// where there is none, or where it is forgotten.
    pub(crate) fn step_of(&self, scopes: &[KillScope]) -> Option<ExecutionId> {
        let depth = executions(scopes).count();
        if depth <= 1 {
            return executions(scopes).next();
        }
        let within = |id: &ExecutionId| {
            let known = self.executions.all.get(id);
            known.is_some_and(|known| executions(&known.scopes).count() == depth)
        };
        executions(scopes).find(within)
    }

    /// Executions that run and that a kill of a scope ends, in the order of their ids: those under it, and
    /// whatever runs within them.
    #[must_use]
    pub fn ended_by(&self, scope: &KillScope) -> Vec<ExecutionId> {
        let under = self.executions_under(scope, OverrideMode::Kill);
        if scope.is_wide() {
            return under;
        }
        let mut all: BTreeSet<ExecutionId> = under.iter().copied().collect();
        for id in under {
            all.extend(self.within(id));
        }
        all.into_iter().collect()
    }

    /// Executions that run within another one, however deep.
    pub(crate) fn within(&self, id: ExecutionId) -> Vec<ExecutionId> {
        self.executions_under(&KillScope::Execution(id.to_string()), OverrideMode::Kill)
    }

    /// What a stop of a scope reaches is under one of these: the scope, and the executions that it ends.
    pub(crate) fn stopped_with(&self, scope: &KillScope, mode: OverrideMode) -> Vec<KillScope> {
        let mut scopes = alloc::vec![scope.clone()];
        if mode == OverrideMode::Kill && !scope.is_wide() {
            let ended = self.ended_by(scope).into_iter();
            scopes.extend(ended.map(|id| KillScope::Execution(id.to_string())));
        }
        scopes
    }
}
