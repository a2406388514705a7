//! Exceptions: opened by one person in an emergency, passed under, closed, reviewed. Owns what its checkers are
//! told.

use crate::checkers::control::Told;
use crate::edge::Ask;
use crate::workload::{ADMIN, AGENTS, OPERATORS};
use crate::world::{Person, World};
use placet_engine::ExceptionStanding;
use placet_runtime::{ExceptionSpec, Plane, PlaneError};
use placet_types::event::{Control, Waives};
use placet_types::ids::{ActorId, DecisionId, ExceptionId, WorkspaceName};
use placet_types::json::Object;
use placet_types::policy::Outcome;
use std::rc::Rc;
use std::sync::Arc;

/// How long a caller waits.
const PATIENCE_MS: u64 = 10_000;

/// Somebody opens an exception for an agent, who passes under it; often it is closed before its time, and now and
/// then another person reviews it.
pub(crate) async fn deviate(world: &Rc<World>, name: &WorkspaceName, label: &str) {
    let opener = [ADMIN, OPERATORS[0]][usize::try_from(world.below(2)).unwrap_or(0)];
    let agent = AGENTS[usize::try_from(world.below(2)).unwrap_or(0)];
    let (Some(who), Some(bot)) = (world.person(name, opener), world.person(name, agent)) else {
        return;
    };
    let Some(spec) = drawn(world, opener, agent) else { return };
    let (key, nonce) = (format!("open-{label}"), format!("nonce-of-opening-{label}"));
    let request = Plane::exception_request(&spec, key.clone(), Some(nonce.clone()));
    let ask = Ask::governed(&who, key, nonce, request);
    let Some(answer) = world.propose(&ask, 4).await else { return };
    if answer.event.outcome != Outcome::Permit {
        return;
    }
    let Some(id) = world.open(&who, &spec, answer.event.decision).await else { return };
    for pass in 0..=world.below(4) {
        let pause = world.below(world.pace_ms + 1);
        world.sleep(pause).await;
        let body = Object::new().with("surface", "pay.never").with("action", "create");
        let (key, nonce) =
            (format!("pass-{label}-{pass}"), format!("nonce-of-passing-{label}-{pass}"));
        let ask = Ask::new(&bot, key, nonce, body);
        let Some(answer) = world.propose(&ask, 3).await else { continue };
        if answer.event.exception.is_some() {
            world.totals.borrow_mut().passages += 1;
        }
        if answer.event.outcome == Outcome::RequireApproval {
            if let Some(approver) = world.person(name, OPERATORS[1]) {
                world.vote(&approver, true).await;
            }
            world.wait_for(&ask, answer.event.decision).await;
        }
        if pass == 1 && world.per_mille(500) {
            world.close(&who, id).await;
        }
    }
    if world.per_mille(600) {
        world.close(&who, id).await;
    }
    if world.per_mille(500)
        && let Some(other) = world.person(name, OPERATORS[1])
    {
        world.review(&other, id).await;
    }
}

fn drawn(world: &World, owner: &str, agent: &str) -> Option<ExceptionSpec> {
    let mut waives = Waives::default();
    let good = waives.add(if world.per_mille(500) { "rule:never" } else { "rules" });
    let mut controls = Vec::new();
    if world.per_mille(400) {
        controls.push(Control::MaxUses(u32::try_from(1 + world.below(3)).ok()?));
    }
    if world.per_mille(300) {
        controls.push(Control::SecondPerson);
    }
    good.then_some(())?;
    Some(ExceptionSpec {
        surface: "pay.never".to_owned(),
        actor: ActorId::parse(agent)?,
        action: None,
        environment: None,
        capability: None,
        target: None,
        execution: None,
        waives,
        controls,
        reason: "incident-7".to_owned(),
        note: None,
        owner: ActorId::parse(owner)?,
        duration_ms: [200, 2_000, 60_000][usize::try_from(world.below(3)).unwrap_or(0)],
        review_ms: 10_000,
        break_glass: true,
        retroactive: None,
    })
}

impl World {
    async fn open(
        self: &Rc<Self>,
        who: &Person,
        spec: &ExceptionSpec,
        decision: DecisionId,
    ) -> Option<ExceptionId> {
        let (who, spec) = (who.clone(), spec.clone());
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let (who, spec) = (who.clone(), spec.clone());
            async move {
                let (workspace, principal) = world.reach(&plane, &who)?;
                let opened = plane.open_exception(&workspace, &principal, &spec, decision).await;
                let said = opened.as_ref().map_or_else(PlaneError::code, |_| "open");
                world.say(format_args!("answer: an exception under {decision}: {said}"));
                match opened {
                    Ok(opened) => {
                        world.acknowledged(&plane, &workspace, opened.index);
                        world.totals.borrow_mut().exceptions += 1;
                        Some(opened.id())
                    }
                    Err(error) => {
                        world.trouble(&error);
                        None
                    }
                }
            }
        };
        self.call("open", PATIENCE_MS, run).await.flatten()
    }

    async fn close(self: &Rc<Self>, who: &Person, id: ExceptionId) {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = who.clone();
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                match plane.close_exception(&workspace, &principal, id).await {
                    Ok(closed) => {
                        world.say(format_args!("answer: {id} is {}", closed.standing.as_str()));
                        // One that had run out has no entry by which it ends.
                        if closed.standing == ExceptionStanding::Closed {
                            let told = Told::Closed(id, workspace.head().head.size());
                            world.checkers.borrow_mut().control.told(workspace.no.0, told);
                        }
                    }
                    Err(error) => drop(world.trouble(&error)),
                }
            }
        };
        self.call("close", PATIENCE_MS, run).await;
    }

    async fn review(self: &Rc<Self>, who: &Person, id: ExceptionId) {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = who.clone();
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                let done = plane.review_exception(&workspace, &principal, id, true, "read").await;
                let said = done.as_ref().map_or_else(PlaneError::code, |_| "done");
                world.say(format_args!("answer: the review of {id}: {said}"));
                if let Err(error) = done {
                    world.trouble(&error);
                }
            }
        };
        self.call("review", PATIENCE_MS, run).await;
    }
}
