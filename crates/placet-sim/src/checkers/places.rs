//! Places of executions: of one capability no more run than its permits say, and whoever waits is not passed over.

use super::control::{Fold, Run, Wrong, wrong};
use placet_types::event::{ExecutionStarted, KillScope, TerminateCause};
use placet_types::ids::TimeMs;

fn is_of(run: &Run, event: &ExecutionStarted) -> bool {
    let named =
        |it: &KillScope| matches!(it, KillScope::Capability(name) if *name == event.capability);
    run.end.is_none() && run.scopes.iter().any(named)
}

impl Run {
    fn is_late(&self, time: TimeMs) -> bool {
        self.runtime.is_some_and(|runtime| time.0 >= self.since.0 + 1_000 * runtime)
    }

    /// It has had all its steps, or all its time.
    pub(super) fn is_spent(&self, time: TimeMs) -> bool {
        self.most.is_some_and(|most| self.steps >= most) || self.is_late(time)
    }
}

/// The plane ends one by itself.
pub(super) fn terminated(run: &mut Run, cause: TerminateCause, time: TimeMs) -> Wrong {
    let steps = run.most.is_some_and(|most| run.steps >= most);
    let (fits, end) = match cause {
        TerminateCause::Steps => (!run.queued && steps, "terminated_budget"),
        TerminateCause::Runtime => (!run.queued && run.is_late(time), "terminated_budget"),
        TerminateCause::Queue | TerminateCause::Parent => (run.queued, "failed"),
    };
    run.end = Some(end);
    match fits {
        true => Ok(()),
        false => wrong("ends an execution that had its place, steps and time"),
    }
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
