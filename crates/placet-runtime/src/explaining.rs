//! A decision of the log with what is left of it: for whoever wants to know why it was made, and for deciding
//! the log again beside the server. Refuses to know how it is told.

use crate::backtest::{Range, Report, backtest};
use crate::error::PlaneError;
use crate::plane::{Plane, decision_of};
use crate::proposal::reread;
use crate::replay::Sources;
use crate::start_error::StartError;
use crate::workspace::Workspace;
use placet_policy::Bundle;
use placet_types::event::DecisionEvent;
use placet_types::ids::{ActorId, DecisionId, TimeMs};
use placet_types::{Caller, Request};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A decision as it was made.
#[derive(Debug)]
pub struct Recorded {
    /// Log index.
    pub index: u64,
    /// When.
    pub time: TimeMs,
    /// What the entry says.
    pub event: Arc<DecisionEvent>,
    /// What was asked, and by whom; `None` where that was erased.
    pub asked: Option<(Request, Caller)>,
}

impl Plane {
    /// A decision of the log, opened. `only` is whose it has to be.
    ///
    /// # Errors
    /// [`PlaneError::NotFound`], also for one of somebody else.
    pub fn recorded(
        &self,
        workspace: &Workspace,
        id: DecisionId,
        only: Option<&ActorId>,
    ) -> Result<Recorded, PlaneError> {
        let index = self.locate(workspace, id)?;
        let opened = self.open_or_entry(workspace, index)?;
        let (entry, payload) = match &opened {
            Ok(opened) => (&opened.entry, Some(&opened.payload)),
            Err(entry) => (entry, None),
        };
        let event = decision_of(entry)?;
        if only.is_some_and(|only| workspace.actor_ref(only) != event.actor) {
            return Err(PlaneError::NotFound("decision"));
        }
        let asked = payload.map(reread).transpose()?;
        Ok(Recorded { index, time: entry.time, event, asked })
    }

    /// Decides the log again under a bundle, on this thread and those that the range names. `progress` hears how
    /// many entries are done; what it answers decides whether to go on.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn backtest(
        &self,
        bundle: &Bundle,
        range: &Range,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Report, PlaneError> {
        let (reader, slots) = (self.journal.as_ref(), self.slots.as_ref());
        let sources = Sources { reader, slots, keys: self.keys.as_ref(), bundle: None };
        backtest(&sources, bundle, range, progress).map_err(|error| match error {
            StartError::Store(error) => PlaneError::StoreFailed(error.to_string()),
            other => PlaneError::Damaged(other.to_string()),
        })
    }
}
