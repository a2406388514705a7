//! What overseers are told of a workspace in figures. Owns how it is read from state and directory; refuses
//! to know what a policy declares.

use crate::error::PlaneError;
use crate::plane::Plane;
use crate::workspace::Workspace;
use placet_engine::{HOUR_MS, RuleUse, Surfaces, Tally};
use placet_types::ids::{ActorId, ActorKind, TimeMs};
use std::collections::{BTreeMap, BTreeSet};

/// The figures of a while.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Entries of the log that they cover.
    pub size: u64,
    /// What they begin with: the first entry, or the full hour in which the window begins.
    pub since: TimeMs,
    /// The figures.
    pub tally: Tally,
}

/// What was seen of surfaces and rules.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Entries of the log that it covers.
    pub size: u64,
    /// Of the first of them.
    pub began: TimeMs,
    /// Surfaces with their gates.
    pub surfaces: Surfaces,
    /// Rules of the bundle in force.
    pub rules: RuleUse,
}

impl Plane {
    /// The figures of the last `window_ms`, or since the log began.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn measured(
        &self,
        workspace: &Workspace,
        window_ms: Option<u64>,
    ) -> Result<Measured, PlaneError> {
        let now = self.now();
        self.look(workspace.no, move |state| {
            let measures = state.measures();
            let began = measures.began().unwrap_or(now);
            let size = state.next_index();
            match window_ms {
                None => Measured { size, since: began, tally: measures.total().clone() },
                Some(window) => {
                    let from = TimeMs(now.0.saturating_sub(window));
                    let since = TimeMs(from.0 - from.0 % HOUR_MS).max(began);
                    Measured { size, since, tally: measures.since(from) }
                }
            }
        })
        .await
    }

    /// What was seen of surfaces and rules.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn seen(&self, workspace: &Workspace) -> Result<Seen, PlaneError> {
        let now = self.now();
        self.look(workspace.no, move |state| {
            let measures = state.measures();
            Seen {
                size: state.next_index(),
                began: measures.began().unwrap_or(now),
                surfaces: measures.surfaces().clone(),
                rules: measures.rules().clone(),
            }
        })
        .await
    }

    /// People who had keys in a workspace and have left: each of their keys is revoked, and no session of
    /// theirs counts.
    #[must_use]
    pub fn people_gone(&self, workspace: &Workspace) -> BTreeSet<ActorId> {
        let mut people: BTreeMap<ActorId, bool> = BTreeMap::new();
        for key in self.directory.of(workspace.no) {
            if key.actor.kind() == ActorKind::Human {
                *people.entry(key.actor.clone()).or_default() |= !key.revoked;
            }
        }
        let now = self.now();
        let counts = |actor: &ActorId| self.directory.sessions.counts(workspace.no, actor, now);
        people
            .into_iter()
            .filter(|(actor, stays)| !stays && !counts(actor))
            .map(|it| it.0)
            .collect()
    }
}
