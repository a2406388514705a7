//! The event of an exception whose review nobody has done in time. Refuses to know whom that stops.

use super::EntryError;
use super::read::Reader;
use crate::ids::{ExceptionId, TimeMs};
use crate::json::Writer;
use alloc::string::ToString;

/// `exception.overdue`: it was to be reviewed by an instant that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionOverdue {
    /// The exception.
    pub exception: ExceptionId,
    /// By when it was to be reviewed.
    pub due: TimeMs,
}

impl ExceptionOverdue {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.uint("due_ms", self.due.0);
        w.str("exception", &self.exception.to_string());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            exception: r.parsed("exception", ExceptionId::parse)?,
            due: TimeMs(r.uint("due_ms")?),
        })
    }
}
