//! Trips and drills seen from outside: acknowledging them, practising them, and what became of them.
//! Refuses to know what a trip stops.

use crate::error::PlaneError;
use crate::plane::{Plane, Principal};
use crate::sequencer::Written;
use crate::workspace::Workspace;
use placet_engine::{Acknowledge, Command, Drill, Follow, TripRecord};
use placet_types::event::{ActorRef, KillScope};
use placet_types::ids::TimeMs;
use placet_types::json::{Object, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a trip or drill came to so far.
#[derive(Clone, Debug)]
pub struct TripReport {
    /// What was counted.
    pub trip: TripRecord,
    /// Gates that were heard not long ago and have not acknowledged it, with when they were.
    pub silent: Vec<(ActorRef, TimeMs)>,
    /// How often a gate was heard and could not be remembered.
    pub unlisted: u64,
    /// What gates could not reach, in their own words; erased or unreadable ones are missing.
    pub unreachable: BTreeMap<ActorRef, Vec<String>>,
}

/// Most gates whose words are read for one report.
const WORDS_MAX: usize = 64;

impl Plane {
    /// Practises a kill: a drill is recorded in every log that the scope covers, and nothing stops. Its
    /// log index in the log of `workspace`.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn drill(
        &self,
        workspace: &Arc<Workspace>,
        scope: KillScope,
        principal: &Principal,
    ) -> Result<u64, PlaneError> {
        let root = self.root().ok_or(PlaneError::NotFound("workspace"))?;
        self.may_override(principal, &scope, &root)?;
        let everything = scope == KillScope::Everything;
        // Of everything the first log speaks first; the others follow it.
        let decides = if everything { &root } else { workspace };
        let waiting = decides.callers.under(&scope);
        let drill = Drill { scope: scope.clone(), who: self.who(decides, principal), waiting };
        let drill = Command::Drill(drill);
        let index = self.drilled(decides, drill, principal).await?;
        if !everything {
            return Ok(index);
        }
        let mut own = (workspace.no == root.no).then_some(index);
        for other in self.all_workspaces().into_iter().filter(|it| it.no != root.no) {
            let by = other.actor_ref(&principal.caller.actor);
            let waiting = other.callers.under(&scope);
            let drill = Command::Follow(Follow::Drill { by, waiting });
            let index = self.drilled(&other, drill, principal).await?;
            own = own.or((other.no == workspace.no).then_some(index));
        }
        own.ok_or(PlaneError::NotFound("workspace"))
    }

    async fn drilled(
        &self,
        workspace: &Workspace,
        drill: Command,
        principal: &Principal,
    ) -> Result<u64, PlaneError> {
        let payload = self.actor_payload(Some(principal))?;
        let done = self.submit(workspace.no, drill, payload).await?;
        let index = done.written.iter().flat_map(Written::events).map(|(at, _)| at).next();
        index.ok_or_else(|| PlaneError::Internal("a drill left no entry".to_owned()))
    }

    /// Records what a gate has done about the trip or drill at `index`: how many actions it stopped, and
    /// names of those that it could not. Repeating changes nothing.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn acknowledge(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        index: u64,
        stopped: u64,
        unreachable: Vec<String>,
    ) -> Result<TripReport, PlaneError> {
        let command = Command::Acknowledge(Acknowledge {
            index,
            who: self.who(workspace, principal),
            stopped,
            unreachable: unreachable.len() as u64,
        });
        let words: Vec<Value> = unreachable.into_iter().map(Value::from).collect();
        let payload = self.payload(Object::new().with("unreachable", words))?;
        self.submit(workspace.no, command, payload).await?;
        self.trip_report(workspace, index).await
    }

    /// What became of the trip or drill at `index`.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn trip_report(
        &self,
        workspace: &Arc<Workspace>,
        index: u64,
    ) -> Result<TripReport, PlaneError> {
        let found = self
            .look(workspace.no, move |state| {
                let trip = state.trip(index)?;
                let silent = state.silent_gates(trip).map(|(gate, at)| (gate.clone(), at));
                Some((trip.clone(), silent.collect(), state.unlisted_gates()))
            })
            .await?;
        let (trip, silent, unlisted) = found.ok_or(PlaneError::NotFound("override"))?;
        let unreachable = self.words(workspace, &trip);
        Ok(TripReport { trip, silent, unlisted, unreachable })
    }

    /// Trips, drills and lifts of trips after the entry at `last`, in the order of the log: what gates are
    /// told. A lift comes with the trip that it lifts.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn trips_after(
        &self,
        workspace: &Workspace,
        last: Option<u64>,
    ) -> Result<Vec<(u64, TripRecord)>, PlaneError> {
        let mut told = self
            .look(workspace.no, move |state| {
                let new = |index: u64| last.is_none_or(|last| index > last);
                let mut told = Vec::new();
                for trip in state.trips() {
                    let lifted = trip.lifted.map(|(_, index)| index);
                    let indices = [Some(trip.index), lifted].into_iter().flatten();
                    told.extend(indices.filter(|at| new(*at)).map(|at| (at, trip.clone())));
                }
                told
            })
            .await?;
        told.sort_by_key(|(index, trip)| (*index, trip.index));
        Ok(told)
    }

    fn words(
        &self,
        workspace: &Arc<Workspace>,
        trip: &TripRecord,
    ) -> BTreeMap<ActorRef, Vec<String>> {
        let spoken = trip.acknowledged.iter().filter(|(_, said)| said.unreachable > 0);
        let read = |index: u64| -> Option<Vec<String>> {
            let opened = self.open(workspace, index).ok()?;
            let Value::Array(words) = opened.payload.get("unreachable")? else { return None };
            Some(words.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        spoken
            .take(WORDS_MAX)
            .filter_map(|(gate, said)| Some((gate.clone(), read(said.index)?)))
            .collect()
    }
}
