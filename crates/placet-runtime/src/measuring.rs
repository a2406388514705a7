//! What overseers are told of a workspace in figures, and what gates report that nothing permits. Owns how
//! figures are read from state and directory; refuses to know what a policy declares.

use crate::error::PlaneError;
use crate::plane::{Plane, Principal};
use crate::sequencer::Outstanding;
use crate::workspace::Workspace;
use placet_engine::{Command, Exception, HOUR_MS, ReportPassage, RuleUse, State, Surfaces, Tally};
use placet_types::ids::{ActorId, ActorKind, TimeMs};
use placet_types::json::Object;
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
    /// Exceptions that cover something now.
    pub exceptions_live: u64,
    /// Exceptions that nobody has reviewed in time.
    pub reviews_overdue: u64,
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
    /// Live exceptions that waive all of policy, oldest first.
    pub ungoverned: Vec<Exception>,
    /// Exceptions that nobody has reviewed in time, oldest first.
    pub unreviewed: Vec<Exception>,
    /// Whether modes of the bundle in force count.
    pub modes_count: bool,
}

/// An effect that a gate let happen without a decision.
#[derive(Clone, Debug)]
pub struct Passage {
    /// The surface.
    pub surface: String,
    /// Action on it.
    pub action: String,
    /// When it happened, as the gate says.
    pub at: TimeMs,
    /// Why there was no decision, in the words of the gate: kept beside the entry.
    pub reason: Option<String>,
}

/// What is recorded of a passage.
#[derive(Clone, Copy, Debug)]
pub struct PassageRecorded {
    /// Index of its entry.
    pub index: u64,
    /// Whether the policy lets gates of this surface proceed without a decision in that environment.
    pub open: bool,
    /// Whether the policy knows the surface.
    pub surface_known: bool,
}

impl Plane {
    /// Records an effect that nothing permits.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn report_passage(
        &self,
        workspace: &Workspace,
        principal: &Principal,
        passage: Passage,
    ) -> Result<PassageRecorded, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let bundle = workspace.bundle();
        let environment = principal.caller.environment.clone();
        let known = |bundle: &placet_policy::Bundle| bundle.surface(&passage.surface).known;
        let surface_known = bundle.as_ref().is_some_and(|bundle| known(bundle));
        let fails =
            |bundle: &placet_policy::Bundle| bundle.fails_open(&passage.surface, &environment);
        let open = bundle.as_ref().is_some_and(|bundle| fails(bundle));
        let plain = Object::new()
            .with("actor", principal.caller.actor.as_str())
            .with_opt("reason", passage.reason.as_deref());
        let command = Command::ReportPassage(Box::new(ReportPassage {
            who: self.who(workspace, principal),
            surface: passage.surface.clone(),
            action: passage.action,
            environment: environment.clone(),
            at: passage.at,
            surface_known,
            open,
            policy: bundle.as_ref().map(|bundle| bundle.digest()),
        }));
        let done = self.submit(workspace.no, command, self.payload(plain)?).await?;
        let index =
            done.written.and_then(|written| written.events().map(|(index, _)| index).last());
        let index = index.ok_or_else(|| PlaneError::Internal("nothing was written".to_owned()))?;
        Ok(PassageRecorded { index, open, surface_known })
    }

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
            let overdue = state.exception_reviews().filter(|due| *due <= now).count();
            let all = Measured {
                size: state.next_index(),
                since: began,
                tally: Tally::default(),
                exceptions_live: state.exception_counts().0 as u64,
                reviews_overdue: overdue as u64,
            };
            match window_ms {
                None => Measured { tally: measures.total().clone(), ..all },
                Some(window) => {
                    let from = TimeMs(now.0.saturating_sub(window));
                    let since = TimeMs(from.0 - from.0 % HOUR_MS).max(began);
                    Measured { since, tally: measures.since(from), ..all }
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
                ungoverned: exceptions(state, &|it| {
                    it.is_live(now) && it.opened.waives.is_governance()
                }),
                unreviewed: exceptions(state, &|it| it.is_overdue(now)),
                modes_count: state.modes_count(),
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

fn exceptions(state: &State, fits: &dyn Fn(&Exception) -> bool) -> Vec<Exception> {
    state.exceptions().filter(|it| fits(it)).cloned().collect()
}
