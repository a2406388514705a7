//! Executions: begun under a decision, gone on with, ended. Owns what its checkers are told.

use crate::checkers::control::{Told, ends};
use crate::edge::Ask;
use crate::workload::{AGENTS, BRANCH, CAPABILITY};
use crate::world::{Person, World};
use placet_engine::Execution;
use placet_runtime::{ExecutionSpec, Plane, PlaneError, Workspace};
use placet_types::event::EndState;
use placet_types::ids::{DecisionId, ExecutionId, WorkspaceName};
use placet_types::json::Object;
use placet_types::policy::Outcome;
use std::rc::Rc;
use std::sync::Arc;

/// How long a caller waits.
const PATIENCE_MS: u64 = 10_000;

/// An agent begins executions, of which all but the first wait for their place, and goes through one after the
/// other.
pub(crate) async fn execute(world: &Rc<World>, name: &WorkspaceName, label: &str) {
    let agent = AGENTS[usize::try_from(world.below(2)).unwrap_or(0)];
    let Some(who) = world.person(name, agent) else { return };
    let mut begun = Vec::new();
    for number in 0..=world.below(3) {
        begun.extend(begin(world, name, &who, &format!("{label}-{number}")).await);
    }
    for (id, branch, label) in begun {
        go_through(world, &who, id, branch, &label).await;
    }
}

/// Begins one: its id, its branch and what its requests are called by.
async fn begin(
    world: &Rc<World>,
    name: &WorkspaceName,
    who: &Person,
    label: &str,
) -> Option<(ExecutionId, Option<String>, String)> {
    let branch = world.per_mille(400).then(|| BRANCH.to_owned());
    let parent = {
        let runs = world.runs.borrow();
        let own = runs.iter().rev().find(|(of, _)| of == name);
        own.filter(|_| world.per_mille(300)).map(|(_, id)| *id)
    };
    // Those in a variant may have two steps; the third ends them.
    let max_steps = branch.is_some().then_some(2);
    // Some may run for a moment alone, and lose their place while their runner still goes on.
    let max_runtime_sec = world.per_mille(250).then(|| 1 + world.below(3));
    let capability = CAPABILITY.to_owned();
    let spec = ExecutionSpec { capability, branch, parent, max_steps, max_runtime_sec };
    let (key, nonce) = (format!("run-{label}"), format!("nonce-of-running-{label}"));
    let request = Plane::execution_request(&spec, key.clone(), nonce.clone());
    let ask = Ask::governed(who, key, nonce, request);
    let answer = world.propose(&ask, 4).await?;
    if answer.event.outcome != Outcome::Permit {
        return None;
    }
    let id = world.start_run(who, answer.event.decision, &spec).await?;
    Some((id, spec.branch, label.to_owned()))
}

/// Goes some steps, one of them outside of its manifest now and then, and says how it ended, if nothing ended it
/// before.
async fn go_through(
    world: &Rc<World>,
    who: &Person,
    id: ExecutionId,
    branch: Option<String>,
    label: &str,
) {
    for step in 0..world.below(4) {
        let pause = world.below(world.pace_ms + 1);
        world.sleep(pause).await;
        let surface = match world.below(10) {
            0 => "mail.send",
            1..4 => "pay.held",
            _ => "pay.small",
        };
        let mut body = Object::new()
            .with("surface", surface)
            .with("action", "create")
            .with("capability", CAPABILITY)
            .with("execution", id.to_string());
        if let Some(branch) = &branch {
            body = body.with("branch", branch.as_str());
        }
        let (key, nonce) =
            (format!("step-{label}-{step}"), format!("nonce-of-step-{label}-{step}"));
        let ask = Ask::new(who, key, nonce, body);
        let Some(answer) = world.propose(&ask, 3).await else { continue };
        if answer.event.outcome == Outcome::RequireApproval && world.per_mille(600) {
            world.wait_for(&ask, answer.event.decision).await;
        }
    }
    if world.per_mille(700) {
        let end = if world.per_mille(500) { EndState::Succeeded } else { EndState::Failed };
        world.end_run(who, id, end).await;
    }
    if world.per_mille(300) {
        // Another end comes too late.
        world.end_run(who, id, EndState::Failed).await;
    }
}

impl World {
    async fn start_run(
        self: &Rc<Self>,
        who: &Person,
        decision: DecisionId,
        spec: &ExecutionSpec,
    ) -> Option<ExecutionId> {
        let (who, spec) = (who.clone(), spec.clone());
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let (who, spec) = (who.clone(), spec.clone());
            async move {
                let (workspace, principal) = world.reach(&plane, &who)?;
                let begun = plane.start_execution(&workspace, &principal, decision, &spec).await;
                let said = begun.as_ref().map_or_else(PlaneError::code, |it| it.state().as_str());
                world.say(format_args!("answer: an execution under {decision}: {said}"));
                match begun {
                    Ok(begun) => {
                        world.acknowledged(&plane, &workspace, begun.index);
                        world.seen(&workspace, &begun);
                        {
                            let mut totals = world.totals.borrow_mut();
                            totals.executions += 1;
                            totals.queued += u64::from(begun.queued);
                        }
                        let id = begun.started.execution;
                        world.runs.borrow_mut().push((workspace.name.clone(), id));
                        Some(id)
                    }
                    Err(error) => {
                        world.trouble(&error);
                        None
                    }
                }
            }
        };
        self.call("start", PATIENCE_MS, run).await.flatten()
    }

    async fn end_run(self: &Rc<Self>, who: &Person, id: ExecutionId, end: EndState) {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = who.clone();
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                let ended = plane.end_execution(&workspace, &principal, id, end).await;
                let said = ended.as_ref().map_or_else(PlaneError::code, |it| it.state().as_str());
                world.say(format_args!("answer: the end of {id}: {said}"));
                match ended {
                    Ok(ended) => {
                        world.seen(&workspace, &ended);
                        let told = Told::Ended(id, end.as_str());
                        world.checkers.borrow_mut().control.told(workspace.no.0, told);
                    }
                    Err(error) => drop(world.trouble(&error)),
                }
                // Whoever was refused looks at what became of it.
                if let Ok(Some(now)) = plane.known_execution(&workspace, id).await {
                    world.seen(&workspace, &now);
                }
            }
        };
        self.call("end", PATIENCE_MS, run).await;
    }

    /// Somebody sees an execution. An end that is not durable yet may still be lost.
    fn seen(&self, workspace: &Workspace, execution: &Execution) {
        let id = execution.started.execution;
        let Some((end, _)) = execution.ended else { return };
        let log = self.disks.lock().entries(workspace.no.0);
        if log.is_ok_and(|log| ends(&log, id) == Some(end.as_str())) {
            let held = self.checkers.borrow_mut().control.seen(id, end.as_str());
            self.hold(held);
        }
    }
}
