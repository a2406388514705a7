//! Places of executions: of one capability no more run than its permits say, and whoever waits is not passed over.

use super::control::{Fold, Run, Wrong, wrong};
use placet_types::event::{ExecutionStarted, KillScope};

fn is_of(run: &Run, event: &ExecutionStarted) -> bool {
    let named =
        |it: &KillScope| matches!(it, KillScope::Capability(name) if *name == event.capability);
    run.end.is_none() && run.scopes.iter().any(named)
}

/// One has a place from here on: at once, or after it has waited.
pub(super) fn has_place(fold: &Fold, event: &ExecutionStarted) -> Wrong {
    let waited = fold.runs.get(&event.execution).map(|run| run.index);
    let running = fold.runs.values().filter(|run| is_of(run, event) && !run.queued).count();
    if event.max_concurrent.is_some_and(|most| running as u64 >= most) {
        return wrong("runs an execution that has no place");
    }
    let before = |run: &&Run| match waited {
        Some(index) => run.index < index && fold.stops(&run.scopes, |_| true).is_none(),
        None => true,
    };
    match fold.runs.values().filter(|run| is_of(run, event) && run.queued).find(before) {
        Some(run) => {
            wrong(format!("passes over an execution that waits since entry {}", run.index))
        }
        None => Ok(()),
    }
}
