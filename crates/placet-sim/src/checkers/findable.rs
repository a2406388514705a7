//! Nobody is told "not found" of what was decided a moment ago.

use super::{Held, violated};
use placet_runtime::ports::AuditFilter;
use placet_runtime::{Plane, Workspace};
use placet_types::ids::DecisionId;

const NAME: &str = "findable";

pub(crate) fn now(plane: &Plane, workspace: &Workspace, decision: DecisionId, index: u64) -> Held {
    let filter = AuditFilter {
        decision: Some(decision),
        ascending: true,
        limit: 1,
        ..AuditFilter::default()
    };
    match plane.audit_now(workspace, &filter) {
        Ok(found) if found.first().is_some_and(|entry| entry.index == index) => Ok(()),
        Ok(found) => {
            let found: Vec<u64> = found.iter().map(|entry| entry.index).collect();
            violated(NAME, format!("{decision} stands at {index}; the audit found {found:?}"))
        }
        Err(error) => violated(NAME, format!("{decision} was not looked up: {error}")),
    }
}
