//! What people stop and let run again, in every scope and way. Owns what is drawn and what its checkers are told;
//! refuses to know what a stop has to do.

use crate::checkers::control::{Told, View, same};
use crate::workload::{ADMIN, AGENTS, BRANCH, CAPABILITY, JOB, MODEL, OPERATORS};
use crate::world::{Person, World};
use placet_runtime::{Halt, Plane, PlaneError};
use placet_types::event::{KillScope, KillSource, OverrideMode};
use placet_types::ids::{ActorId, WorkspaceName};
use std::rc::Rc;
use std::sync::Arc;

/// How long a caller waits.
const PATIENCE_MS: u64 = 10_000;

/// Somebody stops something; most of the time two people let it run again.
pub(crate) async fn stop_and_lift(world: &Rc<World>, name: &WorkspaceName) {
    let Some((scope, mode)) = drawn(world, name) else { return };
    let one = OPERATORS[usize::try_from(world.below(2)).unwrap_or(0)];
    let Some(who) = world.person(name, one) else { return };
    world.halt(&who, scope.clone(), mode).await;
    let pause = world.below(world.pace_ms * 4 + 1);
    world.sleep(pause).await;
    if world.per_mille(100) {
        // An objection, or a harder stop.
        world.halt(&who, scope.clone(), OverrideMode::Kill).await;
    }
    if !world.per_mille(900) {
        return;
    }
    // Nobody lifts what stops them, and now and then one asks twice.
    let twice = world.per_mille(100);
    for by in [OPERATORS[0], if twice { OPERATORS[0] } else { OPERATORS[1] }, ADMIN] {
        if let Some(who) = world.person(name, by)
            && world.lift(&who, scope.clone()).await
        {
            return;
        }
    }
}

/// A scope of this workspace and a way in which it may be stopped.
fn drawn(world: &World, name: &WorkspaceName) -> Option<(KillScope, OverrideMode)> {
    let plane = world.plane()?;
    let workspace = plane.workspace(name)?;
    let actor = |text: &str| Some(KillScope::Actor(workspace.actor_ref(&ActorId::parse(text)?)));
    let scope = match world.below(22) {
        0..3 => KillScope::Everything,
        3..6 | 20 | 21 => KillScope::Workspace,
        6 | 7 => actor(AGENTS[usize::try_from(world.below(2)).unwrap_or(0)])?,
        8 => actor(OPERATORS[usize::try_from(world.below(2)).unwrap_or(0)])?,
        9 => KillScope::Alias(CAPABILITY.to_owned()),
        10 => KillScope::Branch(BRANCH.to_owned()),
        11 | 12 => KillScope::Capability(CAPABILITY.to_owned()),
        13 => KillScope::Model(MODEL.to_owned()),
        14 => KillScope::Job(workspace.names().run_name("job", JOB)),
        15 => KillScope::Role("approver".to_owned()),
        16 | 17 => KillScope::Surface(
            ["pay.small", "pay.held", "pay.never"][usize::try_from(world.below(3)).unwrap_or(0)]
                .to_owned(),
        ),
        _ => {
            let runs = world.runs.borrow();
            let own: Vec<_> = runs.iter().filter(|(of, _)| of == name).collect();
            let at = usize::try_from(world.below(own.len().max(1) as u64)).unwrap_or(0);
            KillScope::Execution(own.get(at)?.1.to_string())
        }
    };
    let ways: Vec<OverrideMode> =
        OverrideMode::ALL.into_iter().filter(|mode| scope.takes(*mode)).collect();
    // A kill as often as all the others.
    let at = usize::try_from(world.below(2 * ways.len() as u64)).unwrap_or(0);
    let mode = ways.get(at).or(ways.last()).copied()?;
    Some((scope, mode))
}

/// What every state has in memory, beside what its log says.
pub(crate) async fn look_at_all(world: Rc<World>, plane: Arc<Plane>) {
    for workspace in plane.all_workspaces() {
        let Ok(view) = plane.look(workspace.no, View::of).await else { continue };
        let log = world.disks.lock().entries(workspace.no.0);
        match log {
            Ok(log) => world.hold(same(workspace.no.0, &log, &view)),
            Err(what) => world.say(format_args!("the log cannot be read: {what}")),
        }
    }
}

impl World {
    /// Stops a scope in some way.
    pub(crate) async fn halt(self: &Rc<Self>, who: &Person, scope: KillScope, mode: OverrideMode) {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let (who, scope) = (who.clone(), scope.clone());
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                let sent = world.step.get();
                let over = match scope {
                    KillScope::Everything => plane.all_workspaces(),
                    _ => vec![workspace.clone()],
                };
                let numbers: Vec<u32> = over.iter().map(|workspace| workspace.no.0).collect();
                // Only people of the first workspace may stop everything.
                let first = plane.root().is_some_and(|root| root.no == workspace.no);
                let ends = mode.ends_permits();
                if ends && (scope != KillScope::Everything || first) {
                    world.checkers.borrow_mut().kill.takes_effect(&numbers, &scope, sent);
                }
                let what = Halt { scope: scope.clone(), mode, source: KillSource::Api };
                let done = plane.halt(Some(&workspace), &what, Some(&principal)).await;
                world.say(format_args!(
                    "answer: {} of {scope}: {}",
                    mode.as_str(),
                    done.as_ref().map_or_else(PlaneError::code, |()| "tripped"),
                ));
                let mut checkers = world.checkers.borrow_mut();
                match done {
                    Ok(()) => {
                        let mut totals = world.totals.borrow_mut();
                        totals.kills += 1;
                        totals.scoped += u64::from(!scope.is_wide());
                        if ends {
                            checkers.kill.tripped(&numbers, &scope, sent, world.woken.get());
                        }
                        for workspace in &over {
                            let size = workspace.head().head.size();
                            let told = Told::Stopped(scope.clone(), mode, size);
                            checkers.control.told(workspace.no.0, told);
                        }
                    }
                    Err(error) => {
                        if matches!(error, PlaneError::Rejected(_)) {
                            checkers.kill.refused(&numbers, &scope);
                        }
                        drop(checkers);
                        world.trouble(&error);
                    }
                }
            }
        };
        self.call("stop", PATIENCE_MS, run).await;
    }

    /// Asks for a lift, or completes it; true when it was.
    pub(crate) async fn lift(self: &Rc<Self>, who: &Person, scope: KillScope) -> bool {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let (who, scope) = (who.clone(), scope.clone());
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return false };
                let _lifting = Lifting::new(&world, &scope);
                let done = plane.lift(&workspace, scope.clone(), &principal).await;
                world.say(format_args!(
                    "answer: lift of {scope}: {}",
                    done.as_ref().map_or_else(
                        |error| error.code(),
                        |lifted| match lifted {
                            true => "lifted",
                            false => "asked for",
                        }
                    ),
                ));
                match done {
                    Ok(lifted) => {
                        world.totals.borrow_mut().lifts += u64::from(lifted);
                        lifted
                    }
                    Err(error) => {
                        world.trouble(&error);
                        false
                    }
                }
            }
        };
        self.call("lift", PATIENCE_MS, run).await.unwrap_or(false)
    }
}

/// A lift inside the plane.
struct Lifting {
    world: Rc<World>,
    scope: KillScope,
}

impl Lifting {
    fn new(world: &Rc<World>, scope: &KillScope) -> Self {
        world.checkers.borrow_mut().kill.lift_begins(scope, world.step.get());
        Self { world: world.clone(), scope: scope.clone() }
    }
}

impl Drop for Lifting {
    fn drop(&mut self) {
        let step = self.world.step.get();
        self.world.checkers.borrow_mut().kill.lift_ends(&self.scope, step);
    }
}
