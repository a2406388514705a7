//! What is stopped in a workspace besides the whole of it, as all threads see it: scopes whose permits may
//! not leave any more, which take effect before anything is written, and roles that nobody has.

use arc_swap::ArcSwap;
use placet_engine::{State, Stop, Unsent, is_governed};
use placet_types::event::{DecisionEvent, KillScope, OverrideMode};
use placet_types::ids::{DecisionId, ExecutionId, PermitId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Scopes and roles that are stopped. Looking at it costs a load where nothing is.
#[derive(Default)]
pub(crate) struct Halts {
    /// Scopes of which no permit leaves.
    scopes: ArcSwap<BTreeMap<KillScope, OverrideMode>>,
    /// Executions that a stop of another scope has ended: they are cleared with it.
    runs: ArcSwap<BTreeMap<KillScope, KillScope>>,
    /// Roles that nobody has.
    roles: ArcSwap<BTreeSet<String>>,
}

impl Halts {
    /// From here on no permit of the scope leaves.
    pub(crate) fn raise(&self, scope: &KillScope, mode: OverrideMode) {
        if self.scopes.load().get(scope).is_none_or(|before| *before < mode) {
            self.scopes.rcu(|all| {
                let mut all = BTreeMap::clone(all);
                let stopped = all.entry(scope.clone()).or_insert(mode);
                *stopped = mode.max(*stopped);
                all
            });
        }
    }

    /// From here on no permit of these executions leaves, which the stop of a scope has ended.
    pub(crate) fn raise_runs(&self, cause: &KillScope, ended: &[ExecutionId]) {
        let ended: Vec<KillScope> =
            ended.iter().map(|id| KillScope::Execution(id.to_string())).collect();
        self.runs.rcu(|all| {
            let mut all = BTreeMap::clone(all);
            for run in &ended {
                all.entry(run.clone()).or_insert_with(|| cause.clone());
            }
            all
        });
        self.scopes.rcu(|all| {
            let mut all = BTreeMap::clone(all);
            all.extend(ended.iter().map(|run| (run.clone(), OverrideMode::Kill)));
            all
        });
    }

    /// The scope is not stopped any more. What it ended is over in the state; no answer is on its way that
    /// does not know.
    pub(crate) fn clear(&self, scope: &KillScope) {
        let runs = self.runs.load();
        if runs.values().any(|cause| cause == scope) {
            let over = |run: &KillScope| runs.get(run).is_some_and(|cause| cause == scope);
            self.scopes.rcu(|all| {
                let mut all = BTreeMap::clone(all);
                all.retain(|run, _| !over(run));
                all
            });
            self.runs.rcu(|all| {
                let mut all = BTreeMap::clone(all);
                all.retain(|_, cause| cause != scope);
                all
            });
        }
        if self.scopes.load().contains_key(scope) {
            self.scopes.rcu(|all| {
                let mut all = BTreeMap::clone(all);
                all.remove(scope);
                all
            });
        }
    }

    pub(crate) fn set_roles(&self, roles: BTreeSet<String>) {
        self.roles.store(Arc::new(roles));
    }

    /// As a state that was read says.
    pub(crate) fn follow(&self, state: &State) {
        for (scope, tripped) in state.overrides() {
            if tripped.mode.ends_permits() && !scope.is_wide() {
                self.raise(scope, tripped.mode);
            }
        }
        self.set_roles(state.revoked_roles().map(str::to_owned).collect());
    }

    pub(crate) fn is_revoked(&self, role: &str) -> bool {
        self.roles.load().contains(role)
    }

    /// What is left of `roles`.
    pub(crate) fn left_of(&self, roles: &BTreeSet<String>) -> BTreeSet<String> {
        let revoked = self.roles.load();
        roles.iter().filter(|role| !revoked.contains(*role)).cloned().collect()
    }

    /// What keeps a permit with these scopes from leaving.
    pub(crate) fn stop(&self, of: &Scopes) -> Option<Stop> {
        let stopped = self.scopes.load();
        if stopped.is_empty() {
            return None;
        }
        let by = |scopes: &[KillScope]| {
            scopes.iter().find_map(|scope| {
                let mode = *stopped.get(scope)?;
                let stop = || Stop { mode, scope: scope.clone() };
                scope.stops(mode, scopes).then(stop)
            })
        };
        match of {
            Scopes::Of(decision) => by(&decision.scopes()),
            Scopes::Are(scopes) => by(scopes),
        }
    }
}

/// A permit that an answer would hand out.
#[derive(Clone)]
pub(crate) struct Handed {
    pub(crate) decision: DecisionId,
    /// Log index of the decision.
    pub(crate) index: u64,
    pub(crate) permit: PermitId,
    pub(crate) scopes: Scopes,
}

impl Handed {
    /// The same, for the log that it never left.
    pub(crate) fn unsent(&self) -> Unsent {
        let governed =
            |it: &KillScope| matches!(it, KillScope::Surface(surface) if is_governed(surface));
        let own = match &self.scopes {
            Scopes::Of(decision) => is_governed(&decision.surface),
            Scopes::Are(scopes) => scopes.iter().any(governed),
        };
        Unsent { decision: self.decision, index: self.index, permit: self.permit, own }
    }
}

/// What can stop a permit.
#[derive(Clone)]
pub(crate) enum Scopes {
    /// Those of the decision.
    Of(Arc<DecisionEvent>),
    /// Those that state remembers.
    Are(Arc<[KillScope]>),
}
