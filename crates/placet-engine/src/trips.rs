//! What overrides stopped and what gates say of it: a record for each trip and drill, counted where it is
//! applied. Owns these records and who was heard; refuses to know what a trip stops.

use crate::command::{Plan, Who};
use crate::overrides::may_override;
use crate::rejection::Rejection;
use crate::state::State;
use crate::step::append;
use alloc::collections::BTreeMap;
use placet_types::event::{
    ActorRef, Event, KillDrilled, KillEvent, KillScope, KillSource, OverrideAcknowledged,
    OverrideMode,
};
use placet_types::ids::TimeMs;

/// Most trips and drills that are remembered.
const TRIPS_MAX: usize = 256;
/// Most gates that acknowledge one of them.
const ACKNOWLEDGED_MAX: usize = 1024;
/// Most gates that are remembered by when they were heard.
const GATES_MAX: usize = 4096;
/// A gate that was heard within this before a trip is expected to acknowledge it.
pub const GATE_HEARD_MS: u64 = 86_400_000;
/// How often gates that were not heard for so long are looked for, when there is no room.
const SWEEP_MS: u64 = 3_600_000;

/// Trips, drills and gates.
#[derive(Debug, Default)]
pub(crate) struct Trips {
    pub(crate) all: BTreeMap<u64, TripRecord>,
    /// Agents and services, and when each was heard last.
    pub(crate) gates: BTreeMap<ActorRef, TimeMs>,
    /// How often a gate was heard and there was no room for it.
    pub(crate) unlisted: u64,
    pub(crate) swept: TimeMs,
}

/// A trip or a drill, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TripRecord {
    /// Log index.
    pub index: u64,
    /// When.
    pub since: TimeMs,
    /// What it stops, or would stop.
    pub scope: KillScope,
    /// How.
    pub mode: OverrideMode,
    /// What caused it; `None` for a drill.
    pub source: Option<KillSource>,
    /// Who, where it was a person.
    pub by: Option<ActorRef>,
    /// Open permits that it ended; as all of these, what it would have where it is a drill.
    pub permits_ended: u64,
    /// Held actions that cannot be released while it lasts.
    pub approvals_barred: u64,
    /// Callers that waited for an approval when it took effect, and were told.
    pub waiting_told: u64,
    /// Executions that it ended.
    pub executions_ended: u64,
    /// Permits of the workspace that gates had consumed before it and whose outcome nobody had reported:
    /// effects that it could not reach.
    pub unreported: u64,
    /// Of these, permits whose answer it overtook: they never left.
    pub overtaken: u64,
    /// When it was lifted, and the log index of that.
    pub lifted: Option<(TimeMs, u64)>,
    /// What gates said.
    pub acknowledged: BTreeMap<ActorRef, Acknowledgement>,
}

/// Practise a kill: nothing is stopped.
#[derive(Clone, Debug)]
pub struct Drill {
    /// What it would stop.
    pub scope: KillScope,
    /// Who.
    pub who: Who,
    /// Callers that wait for an approval that it would bar.
    pub waiting: u64,
}

/// Say what a gate has done about an override.
#[derive(Clone, Debug)]
pub struct Acknowledge {
    /// Log index of the trip or drill.
    pub index: u64,
    /// The gate.
    pub who: Who,
    /// Actions that it stopped.
    pub stopped: u64,
    /// Actions that it could not stop any more.
    pub unreachable: u64,
}

/// What a gate said of an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// When.
    pub time: TimeMs,
    /// Log index.
    pub index: u64,
    /// Actions that it stopped.
    pub stopped: u64,
    /// Actions that it could not stop any more.
    pub unreachable: u64,
}

pub(crate) fn acknowledge(state: &State, command: &Acknowledge) -> Result<Plan, Rejection> {
    if command.who.actor.is_human() {
        return Err(Rejection::Foreign("gates: agents and services acknowledge"));
    }
    let record = state.trips.all.get(&command.index).ok_or(Rejection::NotFound("override"))?;
    if record.acknowledged.contains_key(&command.who.actor) {
        return Ok(Plan::Nothing);
    }
    if record.acknowledged.len() >= ACKNOWLEDGED_MAX {
        return Err(Rejection::AcknowledgementsFull);
    }
    append(Event::OverrideAcknowledged(OverrideAcknowledged {
        by: command.who.actor.clone(),
        index: command.index,
        stopped: command.stopped,
        unreachable: command.unreachable,
    }))
}

pub(crate) fn drill(state: &State, command: &Drill) -> Result<Plan, Rejection> {
    may_override(state, &command.who)?;
    if !command.scope.takes(OverrideMode::Kill) {
        return Err(Rejection::OverrideInvalid(
            "a role is revoked and not killed: no kill of it is practised",
        ));
    }
    append(Event::KillDrilled(KillDrilled {
        by: command.who.actor.clone(),
        scope: command.scope.clone(),
        waiting: command.waiting,
    }))
}

/// What a trip stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached {
    /// Open permits that it ended.
    pub(crate) permits: u64,
    /// Held actions that it bars.
    pub(crate) barred: u64,
    /// Executions that it ended.
    pub(crate) executions: u64,
}

/// The gate that an entry comes from: whoever asks, uses a permit, reports or acknowledges. Who is meant
/// shows in the entry; whether they are a person, too.
pub(crate) fn speaker(event: &Event) -> Option<&ActorRef> {
    match event {
        Event::Decision(event) => Some(&event.actor),
        Event::PermitConsumed(event) => Some(&event.by),
        Event::OutcomeReported(event) => Some(&event.by),
        Event::PassageReported(event) => Some(&event.by),
        Event::OverrideAcknowledged(event) => Some(&event.by),
        _ => None,
    }
}

impl State {
    /// Trips and drills that are remembered, oldest first.
    pub fn trips(&self) -> impl DoubleEndedIterator<Item = &TripRecord> {
        self.trips.all.values()
    }

    /// The trip or drill at this log index, as long as state remembers it.
    #[must_use]
    pub fn trip(&self, index: u64) -> Option<&TripRecord> {
        self.trips.all.get(&index)
    }

    /// The newest trip of exactly this scope that lasts.
    pub(crate) fn trip_of(&self, scope: &KillScope) -> Option<&TripRecord> {
        let mut newest = self.trips.all.values().rev();
        newest.find(|it| it.source.is_some() && it.lifted.is_none() && it.scope == *scope)
    }

    /// Gates that were heard within a day before this trip, or since, and have not acknowledged it; each
    /// with when it was heard last.
    pub fn silent_gates<'a>(
        &'a self,
        trip: &'a TripRecord,
    ) -> impl Iterator<Item = (&'a ActorRef, TimeMs)> {
        let from = TimeMs(trip.since.0.saturating_sub(GATE_HEARD_MS));
        let gates = self.trips.gates.iter().filter(move |(_, heard)| **heard >= from);
        gates
            .filter(|(gate, _)| !trip.acknowledged.contains_key(*gate))
            .map(|(gate, heard)| (gate, *heard))
    }

    /// How often a gate was heard and there was no room to remember it.
    #[must_use]
    pub fn unlisted_gates(&self) -> u64 {
        self.trips.unlisted
    }

    /// Agents and services that act on permits are gates.
    pub(crate) fn hear(&mut self, event: &Event) {
        let Some(gate) = speaker(event).filter(|gate| !gate.is_human()) else { return };
        let now = self.time;
        let trips = &mut self.trips;
        if let Some(heard) = trips.gates.get_mut(gate) {
            *heard = now;
            return;
        }
        if trips.gates.len() >= GATES_MAX && now.0.saturating_sub(trips.swept.0) >= SWEEP_MS {
            trips.swept = now;
            trips.gates.retain(|_, heard| now.0.saturating_sub(heard.0) < GATE_HEARD_MS);
        }
        if trips.gates.len() < GATES_MAX {
            trips.gates.insert(gate.clone(), now);
        } else {
            trips.unlisted = trips.unlisted.saturating_add(1);
        }
    }

    /// Remembers a trip; what it ended was counted by whoever ended it.
    pub(crate) fn remember_trip(&mut self, kill: &KillEvent, index: u64, reached: &Reached) {
        let record = TripRecord {
            index,
            since: self.time,
            scope: kill.scope.clone(),
            mode: kill.mode,
            source: Some(kill.source),
            by: kill.by.clone(),
            permits_ended: reached.permits,
            approvals_barred: reached.barred,
            waiting_told: kill.waiting,
            executions_ended: reached.executions,
            unreported: self.counters.unreported(),
            overtaken: 0,
            lifted: None,
            acknowledged: BTreeMap::new(),
        };
        self.keep_trip(record);
    }

    pub(crate) fn apply_drilled(&mut self, event: &KillDrilled, index: u64) {
        let would = self.reached(&event.scope);
        self.keep_trip(TripRecord {
            index,
            since: self.time,
            scope: event.scope.clone(),
            mode: OverrideMode::Kill,
            source: None,
            by: Some(event.by.clone()),
            permits_ended: would.permits,
            approvals_barred: would.barred,
            waiting_told: event.waiting,
            executions_ended: would.executions,
            unreported: self.counters.unreported(),
            overtaken: 0,
            lifted: None,
            acknowledged: BTreeMap::new(),
        });
    }

    /// Of too many the oldest goes, and one that still stops something last. A run that its own step has
    /// ended is over, and nobody lifts that.
    fn keep_trip(&mut self, record: TripRecord) {
        let all = &mut self.trips.all;
        if all.len() >= TRIPS_MAX {
            let over = |it: &&TripRecord| {
                matches!(it.source, None | Some(KillSource::Manifest)) || it.lifted.is_some()
            };
            let gone = all.values().find(over).or_else(|| all.values().next());
            if let Some(index) = gone.map(|it| it.index) {
                all.remove(&index);
            }
        }
        all.insert(record.index, record);
    }

    /// A lift ends every trip of its scope.
    pub(crate) fn lift_trips(&mut self, scope: &KillScope, index: u64) {
        let now = self.time;
        for record in self.trips.all.values_mut() {
            if record.source.is_some() && record.scope == *scope && record.lifted.is_none() {
                record.lifted = Some((now, index));
            }
        }
    }

    /// The answer of a consumed permit was overtaken by a stop; `trip` is its entry, unless that comes only
    /// now: then it has not counted the permit.
    pub(crate) fn overtake(&mut self, trip: Option<u64>) {
        self.counters.overtaken = self.counters.overtaken.saturating_add(1);
        if let Some(record) = trip.and_then(|index| self.trips.all.get_mut(&index)) {
            record.overtaken = record.overtaken.saturating_add(1).min(record.unreported);
        }
    }

    pub(crate) fn apply_acknowledged(
        &mut self,
        event: &OverrideAcknowledged,
        index: u64,
    ) -> Result<(), &'static str> {
        let time = self.time;
        let record = self.trips.all.get_mut(&event.index);
        let record = record.ok_or("it acknowledges an override that is not known")?;
        let said =
            Acknowledgement { time, index, stopped: event.stopped, unreachable: event.unreachable };
        if record.acknowledged.insert(event.by.clone(), said).is_some() {
            return Err("it acknowledges an override a second time");
        }
        Ok(())
    }
}
