//! No permit leaves after a stop of one of its scopes that was acknowledged before, until somebody begins to
//! lift it. A fresh permit does not even leave once the stop has taken effect, which is before it is written.

use super::{Held, violated};
use placet_types::event::KillScope;
use std::collections::BTreeMap;

const NAME: &str = "kill";

/// A scope in the log of a workspace; one over everything stands in each.
type Place = (u32, KillScope);

#[derive(Default)]
pub(crate) struct Kill {
    /// The step at which a stop was acknowledged.
    since: BTreeMap<Place, u64>,
    /// The step at which a stop took effect, written or not.
    effect: BTreeMap<Place, u64>,
    /// Lifts of a scope: the step of the newest sign of one, and how many are under way.
    lifts: BTreeMap<KillScope, (u64, u32)>,
}

impl Kill {
    /// A lift reaches the plane.
    pub(crate) fn lift_begins(&mut self, scope: &KillScope, step: u64) {
        self.since.retain(|(_, of), _| of != scope);
        // The two widest share what takes effect before it is written.
        self.effect.retain(|(_, of), _| of != scope && !(of.is_wide() && scope.is_wide()));
        let (newest, under_way) = self.lifts.entry(scope.clone()).or_default();
        (*newest, *under_way) = (step, *under_way + 1);
    }

    /// It has been answered, or died with the instance.
    pub(crate) fn lift_ends(&mut self, scope: &KillScope, step: u64) {
        let (newest, under_way) = self.lifts.entry(scope.clone()).or_default();
        (*newest, *under_way) = (step, under_way.saturating_sub(1));
    }

    /// A stop of a scope in these workspaces has reached the plane.
    pub(crate) fn takes_effect(&mut self, workspaces: &[u32], scope: &KillScope, step: u64) {
        let same = |of: &KillScope| of == scope || (of.is_wide() && scope.is_wide());
        if self.lifts.iter().any(|(of, (_, under_way))| same(of) && *under_way > 0) {
            return;
        }
        for no in workspaces {
            self.effect.entry((*no, scope.clone())).or_insert(step);
        }
    }

    /// It was refused: nothing is stopped by it.
    pub(crate) fn refused(&mut self, workspaces: &[u32], scope: &KillScope) {
        self.effect.retain(|(no, of), _| of != scope || !workspaces.contains(no));
    }

    /// The instance is gone: what was not written never took effect.
    pub(crate) fn crash(&mut self) {
        self.effect.clear();
    }

    /// A stop of a scope in these workspaces, sent at step `sent`, was acknowledged at `step`.
    pub(crate) fn tripped(&mut self, workspaces: &[u32], scope: &KillScope, sent: u64, step: u64) {
        let (newest, under_way) = self.lifts.get(scope).copied().unwrap_or_default();
        if under_way > 0 || sent <= newest {
            return;
        }
        for no in workspaces {
            self.since.entry((*no, scope.clone())).or_insert(step);
        }
    }

    /// The permit of a decision that was written just now left the plane at `step`.
    pub(crate) fn fresh_permit_left(
        &self,
        workspace: u32,
        scopes: &[KillScope],
        step: u64,
        what: &str,
    ) -> Held {
        match first(&self.effect, workspace, scopes, step) {
            Some((scope, since)) => violated(
                NAME,
                format!("{what} left fresh at step {step}; {scope} was stopped at step {since}"),
            ),
            None => Ok(()),
        }
    }

    /// An answer with a permit that may be used left the plane at `step`.
    pub(crate) fn permit_left(
        &self,
        workspace: u32,
        scopes: &[KillScope],
        step: u64,
        what: &str,
    ) -> Held {
        match first(&self.since, workspace, scopes, step) {
            Some((scope, since)) => violated(
                NAME,
                format!(
                    "{what} left at step {step}; the stop of {scope} was acknowledged at {since}"
                ),
            ),
            None => Ok(()),
        }
    }
}

/// The first of the scopes that was stopped before `step`, and when.
fn first<'a>(
    stops: &BTreeMap<Place, u64>,
    workspace: u32,
    scopes: &'a [KillScope],
    step: u64,
) -> Option<(&'a KillScope, u64)> {
    let wide = &[KillScope::Everything, KillScope::Workspace];
    let mut all = wide.iter().chain(scopes);
    all.find_map(|scope| {
        let since = stops.get(&(workspace, scope.clone()))?;
        (*since < step).then_some((scope, *since))
    })
}
