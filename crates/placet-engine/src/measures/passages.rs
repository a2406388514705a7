//! Reports of effects that nothing permits. They are recorded whatever is stopped: what has happened is
//! not undone by refusing to hear of it.

use crate::command::{Plan, Who};
use crate::rejection::Rejection;
use crate::step::append;
use alloc::string::String;
use placet_types::Digest;
use placet_types::event::{Event, PassageReported};
use placet_types::ids::TimeMs;

/// A gate's report of an effect without a decision.
#[derive(Clone, Debug)]
pub struct ReportPassage {
    /// The gate.
    pub who: Who,
    /// The surface.
    pub surface: String,
    /// Action on it.
    pub action: String,
    /// Verified environment of the gate.
    pub environment: String,
    /// When it happened, as the gate says.
    pub at: TimeMs,
    /// Whether the bundle knows the surface.
    pub surface_known: bool,
    /// Whether it says that the surface fails open in this environment.
    pub open: bool,
    /// The bundle that was asked.
    pub policy: Option<Digest>,
}

pub(crate) fn passage(command: &ReportPassage, now: TimeMs) -> Result<Plan, Rejection> {
    append(Event::PassageReported(PassageReported {
        surface: command.surface.clone(),
        surface_known: command.surface_known,
        action: command.action.clone(),
        environment: command.environment.clone(),
        by: command.who.actor.clone(),
        key: command.who.key,
        // Clocks of gates differ; nothing that is reported happens later.
        at: command.at.min(now),
        open: command.open,
        policy: command.policy,
    }))
}
