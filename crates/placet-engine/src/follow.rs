//! What the first workspace has done about everything, taken over by the log of another one. Owns that it is
//! measured by the first workspace's people and rules alone: no role, key or request here has a say in it.
//! Refuses to know whether the first workspace did it; whoever has both states in hand looks.

use crate::command::Plan;
use crate::overrides::{Trip, tripping};
use crate::rejection::Rejection;
use crate::state::State;
use crate::step::append;
use placet_types::event::{
    ActorRef, Event, KillDrilled, KillEvent, KillScope, KillSource, OverrideMode,
};

/// Takes over what was done about everything in the first workspace.
#[derive(Clone, Debug)]
pub enum Follow {
    /// It was tripped.
    Trip {
        /// How.
        mode: OverrideMode,
        /// What caused it.
        source: KillSource,
        /// Who, where it was a person.
        by: Option<ActorRef>,
        /// Callers that waited here for an approval when it took effect, and were told.
        waiting: u64,
    },
    /// It was lifted.
    Lift {
        /// Who completed the lift; absent where a crash came in between.
        by: Option<ActorRef>,
    },
    /// It was practised.
    Drill {
        /// Who.
        by: ActorRef,
        /// Callers that wait here for an approval.
        waiting: u64,
    },
}

pub(crate) fn follow(state: &State, command: &Follow) -> Result<Plan, Rejection> {
    let scope = KillScope::Everything;
    match command {
        Follow::Trip { mode, source, by, waiting } => {
            let (mode, source, waiting) = (*mode, *source, *waiting);
            tripping(state, &Trip { scope, mode, source, who: None, waiting }, by.clone())
        }
        Follow::Lift { by } => {
            let kill = state.override_of(&scope).ok_or(Rejection::NotTripped)?;
            append(Event::KillLifted(KillEvent {
                scope,
                mode: kill.mode,
                source: KillSource::Api,
                by: by.clone(),
                not_before: None,
                waiting: 0,
            }))
        }
        Follow::Drill { by, waiting } => {
            let (by, waiting) = (by.clone(), *waiting);
            append(Event::KillDrilled(KillDrilled { by, scope, waiting }))
        }
    }
}
