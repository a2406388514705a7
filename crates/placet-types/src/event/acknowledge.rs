//! What gates say of an override, and overrides that are only practised. Refuses to know what is stopped.

use super::read::Reader;
use super::{ActorRef, EntryError, KillScope};
use crate::json::Writer;
use alloc::string::ToString;

/// `kill.drilled`: a kill is practised. Gates acknowledge it; nothing is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillDrilled {
    /// Who practises.
    pub by: ActorRef,
    /// What it would stop.
    pub scope: KillScope,
    /// Callers that waited for an approval that it would bar, and would be told.
    pub waiting: u64,
}

/// `override.acknowledged`: a gate has done what an override asks for, as far as it could. What it could
/// not reach is named in the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideAcknowledged {
    /// The gate.
    pub by: ActorRef,
    /// Log index of the trip or drill.
    pub index: u64,
    /// Actions that it stopped, or would have stopped.
    pub stopped: u64,
    /// Actions that it could not stop any more.
    pub unreachable: u64,
}

impl KillDrilled {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str("scope", &self.scope.to_string());
        w.uint_opt("waiting", Some(self.waiting).filter(|waiting| *waiting > 0));
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            by: r.parsed("by", ActorRef::parse)?,
            scope: r.parsed("scope", KillScope::parse)?,
            waiting: r.uint_opt("waiting")?.unwrap_or(0),
        })
    }
}

impl OverrideAcknowledged {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.uint("index", self.index);
        w.uint("stopped", self.stopped);
        w.uint("unreachable", self.unreachable);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            by: r.parsed("by", ActorRef::parse)?,
            index: r.uint("index")?,
            stopped: r.uint("stopped")?,
            unreachable: r.uint("unreachable")?,
        })
    }
}
