//! What a stop reaches: open permits, held actions and executions, found by what can stop them. Equal lists
//! of scopes are one, so an action that is held costs a look-up. Owns this index, which follows from what is
//! open; refuses to know what a stop does.

use crate::state::{Held, HeldState, State};
use crate::trips::Reached;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::event::{KillScope, OverrideMode};
use placet_types::ids::{ApprovalId, DecisionId, ExecutionId};

/// Scopes in their order, shared by all that have the same.
pub(crate) type Scopes = Arc<[KillScope]>;

/// Everything that can be stopped, by its scopes.
#[derive(Debug, Default)]
pub(crate) struct Covering {
    numbers: BTreeMap<Scopes, u64>,
    lists: BTreeMap<u64, Covered>,
    /// Numbers of the lists that a scope is in.
    by: BTreeMap<KillScope, BTreeSet<u64>>,
    next: u64,
}

/// What has the same scopes.
#[derive(Debug)]
struct Covered {
    scopes: Scopes,
    permits: BTreeSet<DecisionId>,
    executions: BTreeSet<ExecutionId>,
    /// How many held actions wait, or are approved and not collected.
    held: u64,
    /// Held actions whose attempt may fetch its permit again.
    collected: BTreeSet<ApprovalId>,
}

impl Covered {
    fn is_empty(&self) -> bool {
        let Self { scopes: _, permits, executions, held, collected } = self;
        permits.is_empty() && executions.is_empty() && *held == 0 && collected.is_empty()
    }
}

impl Covering {
    /// These scopes, in the memory of an equal list that is here already.
    pub(crate) fn share(&self, scopes: Vec<KillScope>) -> Scopes {
        self.known(&scopes).unwrap_or_else(|| scopes.into())
    }

    fn known(&self, scopes: &[KillScope]) -> Option<Scopes> {
        self.numbers.get_key_value(scopes).map(|(known, _)| known.clone())
    }

    fn enter(&mut self, scopes: &Scopes, change: impl FnOnce(&mut Covered)) {
        let number = self.numbers.get(scopes).copied().unwrap_or_else(|| {
            let number = self.next;
            self.next = number.wrapping_add(1);
            self.numbers.insert(scopes.clone(), number);
            for scope in scopes.iter() {
                if let Some(lists) = self.by.get_mut(scope) {
                    lists.insert(number);
                } else {
                    self.by.insert(scope.clone(), BTreeSet::from([number]));
                }
            }
            number
        });
        change(self.lists.entry(number).or_insert_with(|| Covered {
            scopes: scopes.clone(),
            permits: BTreeSet::new(),
            executions: BTreeSet::new(),
            held: 0,
            collected: BTreeSet::new(),
        }));
    }

    fn leave(&mut self, scopes: &[KillScope], change: impl FnOnce(&mut Covered)) {
        let Some(number) = self.numbers.get(scopes).copied() else { return };
        let Some(covered) = self.lists.get_mut(&number) else { return };
        change(covered);
        if !covered.is_empty() {
            return;
        }
        self.lists.remove(&number);
        self.numbers.remove(scopes);
        for scope in scopes {
            if let Some(lists) = self.by.get_mut(scope) {
                lists.remove(&number);
                if lists.is_empty() {
                    self.by.remove(scope);
                }
            }
        }
    }

    pub(crate) fn enter_permit(&mut self, decision: DecisionId, scopes: &Scopes) {
        self.enter(scopes, |covered| {
            covered.permits.insert(decision);
        });
    }

    pub(crate) fn leave_permit(&mut self, decision: DecisionId, scopes: &[KillScope]) {
        self.leave(scopes, |covered| {
            covered.permits.remove(&decision);
        });
    }

    pub(crate) fn enter_execution(&mut self, id: ExecutionId, scopes: &Scopes) {
        self.enter(scopes, |covered| {
            covered.executions.insert(id);
        });
    }

    pub(crate) fn leave_execution(&mut self, id: ExecutionId, scopes: &[KillScope]) {
        self.leave(scopes, |covered| {
            covered.executions.remove(&id);
        });
    }

    /// A held action as it stands, entered for the first time.
    pub(crate) fn enter_held(&mut self, held: &Held) {
        if held.state.is_open() {
            self.enter(&held.scopes, |covered| covered.held = covered.held.saturating_add(1));
        } else if is_fetched(&held.state) {
            self.enter(&held.scopes, |covered| {
                covered.collected.insert(held.approval);
            });
        }
    }

    /// A held action that was open and is final now.
    pub(crate) fn close_held(&mut self, held: &Held) {
        if is_fetched(&held.state) {
            self.enter_held(held);
        }
        self.leave(&held.scopes, |covered| covered.held = covered.held.saturating_sub(1));
    }

    /// A final held action that is forgotten.
    pub(crate) fn leave_held(&mut self, held: &Held) {
        self.leave(&held.scopes, |covered| {
            covered.collected.remove(&held.approval);
        });
    }

    /// The lists that a stop in this way reaches.
    fn under(&self, scope: &KillScope, mode: OverrideMode) -> impl Iterator<Item = &Covered> {
        let wide = scope.is_wide().then(|| self.lists.values());
        let named = self.by.get(scope).into_iter().flatten();
        let named = named.filter_map(|number| self.lists.get(number));
        wide.into_iter()
            .flatten()
            .chain(named)
            .filter(move |covered| scope.stops(mode, &covered.scopes))
    }

    /// Takes out what can be fetched again under a scope.
    fn take_collected(&mut self, scope: &KillScope, mode: OverrideMode) -> Vec<ApprovalId> {
        let found = self.under(scope, mode).filter(|covered| !covered.collected.is_empty());
        let found: Vec<Scopes> = found.map(|covered| covered.scopes.clone()).collect();
        let mut taken = Vec::new();
        for scopes in found {
            self.leave(&scopes, |covered| {
                taken.extend(core::mem::take(&mut covered.collected));
            });
        }
        taken
    }
}

/// Whether the attempt that collected its permit may fetch it again.
fn is_fetched(state: &HeldState) -> bool {
    matches!(state, HeldState::Consumed(permit) if permit.nonce.is_some())
}

impl State {
    /// Held actions that cannot be released while one of these scopes is stopped, each counted once.
    pub(crate) fn barred(&self, scopes: &[KillScope], mode: OverrideMode) -> u64 {
        let under = |scope| self.overrides.covered.under(scope, mode);
        let lists: BTreeMap<&Scopes, u64> =
            scopes.iter().flat_map(under).map(|covered| (&covered.scopes, covered.held)).collect();
        lists.values().fold(0, |sum, held| sum.saturating_add(*held))
    }

    /// What a kill of a scope would end and bar, as things stand.
    pub(crate) fn reached(&self, scope: &KillScope) -> Reached {
        let mode = OverrideMode::Kill;
        let with = self.stopped_with(scope, mode);
        let permits = self.permits_under(&with, mode);
        let open = permits.iter().filter_map(|id| self.permits.get(id));
        Reached {
            permits: open.filter(|open| open.consumed_by.is_none()).count() as u64,
            barred: self.barred(&with, mode),
            executions: self.ended_by(scope).len() as u64,
        }
    }

    /// Open permits under one of these scopes, in the order of their ids.
    pub(crate) fn permits_under(
        &self,
        scopes: &[KillScope],
        mode: OverrideMode,
    ) -> Vec<DecisionId> {
        let under = |scope| self.overrides.covered.under(scope, mode);
        let lists = scopes.iter().flat_map(under);
        in_order(lists.flat_map(|covered| covered.permits.iter().copied()))
    }

    /// Executions that run under a scope, in the order of their ids: the order in which they end is kept.
    pub(crate) fn executions_under(
        &self,
        scope: &KillScope,
        mode: OverrideMode,
    ) -> Vec<ExecutionId> {
        let lists = self.overrides.covered.under(scope, mode);
        in_order(lists.flat_map(|covered| covered.executions.iter().copied()))
    }

    /// No attempt fetches a permit again that was collected under a scope.
    pub(crate) fn forget_nonces(&mut self, scope: &KillScope, mode: OverrideMode) {
        for id in self.overrides.covered.take_collected(scope, mode) {
            if let Some(held) = self.held.get_mut(&id)
                && let HeldState::Consumed(permit) = &mut held.state
            {
                permit.nonce = None;
            }
        }
    }

    /// Puts what was read back under what can stop it.
    pub(crate) fn cover_all(&mut self) {
        let covered = &mut self.overrides.covered;
        for (id, open) in &mut self.permits {
            open.scopes = covered.known(&open.scopes).unwrap_or_else(|| open.scopes.clone());
            covered.enter_permit(*id, &open.scopes);
        }
        let running = self.executions.all.iter().filter(|(_, it)| it.ended.is_none());
        for (id, execution) in running {
            covered.enter_execution(*id, &execution.scopes);
        }
        for held in self.held.values_mut() {
            held.scopes = covered.known(&held.scopes).unwrap_or_else(|| held.scopes.clone());
            covered.enter_held(held);
        }
    }
}

fn in_order<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    let mut ids: Vec<T> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
