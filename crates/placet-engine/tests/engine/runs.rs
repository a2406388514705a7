//! A naive reading of the entries about executions: which run, whose they are, and how each ended. Once only.

use placet_engine::State;
use placet_types::event::{
    ActorRef, DecisionEvent, EndState, ExecutionEnded, ExecutionStarted, ExecutionTerminated,
    KillEvent, KillScope, KillSource, OverrideMode, TerminateCause,
};
use placet_types::ids::ExecutionId;
use std::collections::BTreeMap;

/// All that there were.
#[derive(Default)]
pub(crate) struct Runs {
    all: BTreeMap<ExecutionId, Run>,
}

struct Run {
    /// The decision that permitted it.
    begun: DecisionEvent,
    by: ActorRef,
    index: u64,
    /// It has no place yet.
    waits: bool,
    end: Option<&'static str>,
}

/// The execution of ours that an action names.
fn named(decision: &DecisionEvent) -> Option<ExecutionId> {
    decision.under.iter().find_map(|scope| match scope {
        KillScope::Execution(name) => ExecutionId::parse(name),
        _ => None,
    })
}

impl Runs {
    /// How many there were, and how many ended in each way.
    pub(crate) fn totals(&self) -> [u64; 4] {
        let ended = |ends: &[&str]| {
            let all = self.all.values().filter(|run| run.end.is_some_and(|it| ends.contains(&it)));
            all.count() as u64
        };
        let own = ended(&["succeeded", "failed"]);
        [
            self.all.len() as u64,
            own,
            ended(&["killed", "kill_switch_tampered"]),
            ended(&["rejected"]),
        ]
    }

    pub(crate) fn started(
        &mut self,
        started: &ExecutionStarted,
        decision: &DecisionEvent,
        index: u64,
        waits: bool,
    ) {
        assert_eq!((&*decision.surface, &*decision.action), ("execution", "start"));
        assert_eq!(started.by, decision.actor, "begun by somebody else");
        let begun = decision.clone();
        let run = Run { begun, by: started.by.clone(), index, waits, end: None };
        assert!(self.all.insert(started.execution, run).is_none(), "begun twice");
    }

    /// Whether it was accepted and has no place yet.
    pub(crate) fn waits(&self, id: ExecutionId) -> bool {
        self.all.get(&id).is_some_and(|run| run.waits && run.end.is_none())
    }

    /// What waited runs.
    pub(crate) fn begun(&mut self, started: &ExecutionStarted, index: u64) {
        let run = self.all.get_mut(&started.execution).expect("a run");
        (run.waits, run.index) = (false, index);
    }

    /// The plane ends it by itself.
    pub(crate) fn terminated(&mut self, ended: &ExecutionTerminated) {
        let run = self.all.get_mut(&ended.execution).expect("a run");
        assert!(run.end.is_none(), "ended twice");
        let spent = matches!(ended.cause, TerminateCause::Steps | TerminateCause::Runtime);
        assert_eq!(run.waits, !spent, "what waits has no steps, and what runs has its place");
        run.end = Some(if spent { "terminated_budget" } else { "failed" });
    }

    pub(crate) fn ended(&mut self, ended: &ExecutionEnded) {
        let run = self.all.get_mut(&ended.execution).expect("a run");
        assert!(run.end.is_none(), "ended twice");
        let oversees = ended.by.is_human() && ended.state == EndState::Failed;
        assert!(run.by == ended.by || oversees, "ended by somebody else");
        run.end = Some(ended.state.as_str());
    }

    /// A no to a step ends its execution.
    pub(crate) fn rejected(&mut self, step: &DecisionEvent) {
        if let Some(run) = named(step).and_then(|id| self.all.get_mut(&id)) {
            run.end.get_or_insert("rejected");
        }
    }

    pub(crate) fn tripped(&mut self, kill: &KillEvent) {
        if kill.mode != OverrideMode::Kill {
            return;
        }
        let end = match kill.source {
            KillSource::Certificate | KillSource::Seal => "kill_switch_tampered",
            _ => "killed",
        };
        for (id, run) in &mut self.all {
            let begun = &run.begun;
            let covered = match &kill.scope {
                KillScope::Everything | KillScope::Workspace => true,
                KillScope::Execution(name) => *name == id.to_string(),
                KillScope::Surface(it) => begun.surface == *it,
                KillScope::Actor(it) => begun.actor == *it || begun.on_behalf_of.contains(it),
                KillScope::Alias(it) => begun.under.iter().any(|known| known.value() == Some(it)),
                // Of its start only what goes on counts: the model that was asked about it does not.
                KillScope::Capability(_) | KillScope::Branch(_) => {
                    begun.under.contains(&kill.scope)
                }
                _ => false,
            };
            if covered {
                run.end.get_or_insert(end);
            }
        }
    }

    /// Since which entry the execution runs that an action names.
    pub(crate) fn running(&self, decision: &DecisionEvent) -> Option<u64> {
        let run = self.all.get(&named(decision)?)?;
        (run.end.is_none() && !run.waits).then_some(run.index)
    }

    /// Whether an action may be let pass for the execution that it names, if it names one.
    pub(crate) fn goes_on(&self, decision: &DecisionEvent) -> bool {
        let Some(id) = named(decision) else { return true };
        let run = self.all.get(&id);
        run.is_some_and(|run| run.end.is_none() && !run.waits && run.by == decision.actor)
    }

    /// The state says the same of all that it remembers; what runs it does.
    pub(crate) fn check(&self, state: &State) {
        for (id, run) in &self.all {
            match state.execution(*id) {
                Some(known) => {
                    let end = known.ended.map(|(end, _)| end.as_str());
                    assert_eq!(end, run.end, "{id}");
                }
                None => assert!(run.end.is_some(), "{id} runs, and is forgotten"),
            }
        }
        let known = state.executions(None).count();
        assert!(known <= self.all.len(), "{known} executions of {}", self.all.len());
    }
}
