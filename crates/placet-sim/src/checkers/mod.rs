//! What must hold, each in a file of its own. A checker sees answers as they leave and logs as they
//! lie on the disk; it shares no code with what it checks beyond the formats.

pub(crate) mod approvals;
pub(crate) mod checkpoints;
pub(crate) mod control;
pub(crate) mod durable;
pub(crate) mod erased;
pub(crate) mod findable;
pub(crate) mod gaps;
pub(crate) mod idempotency;
pub(crate) mod kill;
pub(crate) mod liveness;
pub(crate) mod permits;
mod places;
mod planted;
pub(crate) mod replay;

use crate::disk::{Disk, Stored};
use std::collections::BTreeMap;

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The checker that says so.
    pub checker: &'static str,
    /// What it saw.
    pub what: String,
}

pub(crate) type Held = Result<(), Violation>;

pub(crate) fn violated(checker: &'static str, what: impl Into<String>) -> Held {
    Err(Violation { checker, what: what.into() })
}

/// The logs of all workspaces, by number.
pub(crate) type Logs = BTreeMap<u32, Vec<Stored>>;

/// All checkers with what they remember.
#[derive(Default)]
pub(crate) struct Checkers {
    pub(crate) approvals: approvals::Approvals,
    pub(crate) checkpoints: checkpoints::Checkpoints,
    pub(crate) control: control::Control,
    pub(crate) durable: durable::Durable,
    pub(crate) idempotency: idempotency::Idempotency,
    pub(crate) keys: crate::keys::Keys,
    pub(crate) kill: kill::Kill,
    pub(crate) liveness: liveness::Liveness,
    pub(crate) permits: permits::Permits,
}

impl Checkers {
    /// Looks at the logs as they lie on the disk while no instance runs.
    pub(crate) fn at_rest(&self, disk: &Disk) -> Held {
        let logs = logs(disk)?;
        self.durable.at_rest(&logs)?;
        self.checkpoints.at_rest(&logs)?;
        self.permits.at_rest(&logs)?;
        match planted::votes(disk.mutant, &logs) {
            Some(altered) => self.approvals.at_rest(&altered)?,
            None => self.approvals.at_rest(&logs)?,
        }
        match planted::control(disk.mutant, &logs) {
            Some(altered) => self.control.at_rest(&altered)?,
            None => self.control.at_rest(&logs)?,
        }
        gaps::at_rest(&logs)?;
        erased::at_rest(disk, &logs)
    }
}

/// Everything that lies on the disk; a row that is not whole is a violation here.
pub(crate) fn logs(disk: &Disk) -> Result<Logs, Violation> {
    let mut logs = Logs::new();
    for (no, _) in disk.workspaces() {
        let read = disk.entries(no.0);
        let entries = read.map_err(|what| Violation { checker: "durable", what })?;
        logs.insert(no.0, entries);
    }
    Ok(logs)
}
