//! What is stopped in a workspace besides the whole of it, as all threads see it: scopes whose permits may
//! not leave any more, which take effect before anything is written, and roles that nobody has.

use arc_swap::ArcSwap;
use placet_engine::{State, Stop, Unsent, is_governed};
use placet_types::event::{DecisionEvent, KillScope, OverrideMode};
use placet_types::ids::{DecisionId, ExecutionId, PermitId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Scopes and roles that are stopped. Looking at it costs a load where nothing is.
#[derive(Default)]
pub(crate) struct Halts {
    /// Scopes of which no permit leaves.
    scopes: ArcSwap<BTreeMap<KillScope, Raised>>,
    /// What can stop each execution that has not ended, so that a stop reaches what runs within it before
    /// anything is written.
    running: Mutex<Running>,
    /// Roles that nobody has.
    roles: ArcSwap<BTreeSet<String>>,
}

/// Why no permit of a scope leaves.
#[derive(Clone, Default)]
struct Raised {
    /// It is stopped itself.
    own: Option<OverrideMode>,
    /// For an execution: kills of other scopes that end it. It is cleared with the last of them.
    by: BTreeSet<KillScope>,
}

impl Raised {
    fn mode(&self) -> Option<OverrideMode> {
        let ended = (!self.by.is_empty()).then_some(OverrideMode::Kill);
        self.own.max(ended)
    }
}

/// Executions, some of which may have ended since.
#[derive(Default)]
struct Running {
    all: BTreeMap<ExecutionId, Arc<[KillScope]>>,
    /// At so many those that have ended are looked for.
    sweep_at: usize,
}

/// Fewer executions than this are not looked through.
const SWEEP_MIN: usize = 64;

impl Halts {
    /// From here on no permit of the scope leaves. A kill reaches the executions that it is to end as well.
    pub(crate) fn raise(&self, scope: &KillScope, mode: OverrideMode) {
        self.scopes.rcu(|all| {
            if all.get(scope).is_some_and(|before| before.own >= Some(mode)) {
                return all.clone();
            }
            let mut all = BTreeMap::clone(all);
            let stopped = all.entry(scope.clone()).or_default();
            stopped.own = stopped.own.max(Some(mode));
            Arc::new(all)
        });
        if mode == OverrideMode::Kill && !scope.is_wide() {
            // Raised before it is looked who runs: whoever begins later looks at what is raised.
            let running = self.running();
            let under = running.all.iter().filter(|(_, scopes)| scopes.contains(scope));
            let ended: Vec<ExecutionId> = under.map(|(id, _)| *id).collect();
            drop(running);
            self.raise_runs(scope, &ended);
        }
    }

    /// From here on no permit of these executions leaves, which the kill of a scope ends. What runs within
    /// them is under them by name.
    pub(crate) fn raise_runs(&self, cause: &KillScope, ended: &[ExecutionId]) {
        let of = |id: &ExecutionId| KillScope::Execution(id.to_string());
        let ended: Vec<KillScope> = ended.iter().map(of).filter(|run| run != cause).collect();
        if ended.is_empty() {
            return;
        }
        self.scopes.rcu(|all| {
            let mut all = BTreeMap::clone(all);
            for run in &ended {
                all.entry(run.clone()).or_default().by.insert(cause.clone());
            }
            all
        });
    }

    /// The scope is not stopped any more. What it ended is over in the state; no answer is on its way that
    /// does not know.
    pub(crate) fn clear(&self, scope: &KillScope) {
        let raised = |all: &BTreeMap<KillScope, Raised>| {
            all.contains_key(scope) || all.values().any(|it| it.by.contains(scope))
        };
        if !raised(&self.scopes.load()) {
            return;
        }
        self.scopes.rcu(|all| {
            let mut all = BTreeMap::clone(all);
            if let Some(own) = all.get_mut(scope) {
                own.own = None;
            }
            all.retain(|_, it| {
                it.by.remove(scope);
                it.mode().is_some()
            });
            all
        });
    }

    /// An execution has begun or waits for its place: what stops one of its scopes stops it.
    pub(crate) fn enter_run(&self, state: &State, id: ExecutionId) {
        let Some(run) = state.execution(id).filter(|run| run.ended.is_none()) else { return };
        let scopes = run.scopes.clone();
        let mut running = self.running();
        if running.all.len() >= running.sweep_at.max(SWEEP_MIN) {
            let goes_on =
                |id: &ExecutionId| state.execution(*id).is_some_and(|known| known.ended.is_none());
            running.all.retain(|id, _| goes_on(id));
            running.sweep_at = running.all.len().saturating_mul(2);
        }
        running.all.insert(id, scopes.clone());
        drop(running);
        let stopped = self.scopes.load();
        for (scope, raised) in scopes.iter().filter_map(|it| Some((it, stopped.get(it)?))) {
            let own = (raised.own == Some(OverrideMode::Kill)).then_some(scope);
            for cause in own.into_iter().chain(&raised.by) {
                self.raise_runs(cause, &[id]);
            }
        }
    }

    /// Executions that have ended.
    pub(crate) fn leave_runs(&self, ended: &[ExecutionId]) {
        let mut running = self.running();
        for id in ended {
            running.all.remove(id);
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
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
        let running = state.executions(None).filter(|run| run.ended.is_none());
        let running = running.map(|run| (run.started.execution, run.scopes.clone()));
        self.running().all.extend(running);
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
                let mode = stopped.get(scope)?.mode()?;
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
