//! How the logs of the other workspaces take over what was done about everything in the first one: its people
//! decide, its log says so, and nothing in another workspace has a say in it. Owns what a crash or a refusal
//! in between leaves behind; refuses to know who may stop everything.

use crate::error::PlaneError;
use crate::overriding::Halt;
use crate::plane::{Plane, Principal};
use crate::ports::WorkspaceNo;
use crate::seat::Seat;
use crate::sequencer::{Payload, Refusal};
use crate::workspace::Workspace;
use placet_engine::{Command, Follow, KillState, Rejection, State};
use placet_types::event::{KillScope, OverrideMode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The first workspace, whose state is always in memory.
const FIRST: WorkspaceNo = WorkspaceNo(0);

/// How everything is stopped in a state.
fn everything(state: &State) -> Option<KillState> {
    state.override_of(&KillScope::Everything).cloned()
}

/// INVARIANT: another log says of everything what the first log said before it. Only where both states are
/// in hand can that be looked at: a trip that was refused there reaches no other log, and a lift that another
/// trip has overtaken lifts nothing.
pub(crate) fn may_follow(
    seats: &BTreeMap<WorkspaceNo, Seat>,
    command: &Command,
) -> Result<(), Refusal> {
    let Command::Follow(follow) = command else { return Ok(()) };
    let first = seats.get(&FIRST).ok_or(Refusal::NoWorkspace)?;
    let tripped = first.state.override_of(&KillScope::Everything).map(|tripped| tripped.mode);
    match (follow, tripped) {
        (Follow::Trip { mode, .. }, tripped) if tripped.is_none_or(|tripped| tripped < *mode) => {
            Err(Refusal::Rejected(Rejection::NotTripped))
        }
        (Follow::Lift { .. }, Some(OverrideMode::Kill)) => {
            Err(Refusal::Rejected(Rejection::Killed(KillScope::Everything)))
        }
        (Follow::Lift { .. }, Some(_)) => {
            Err(Refusal::Rejected(Rejection::Frozen(KillScope::Everything)))
        }
        _ => Ok(()),
    }
}

impl Plane {
    /// The other workspaces: those that follow the first one.
    fn others(&self) -> impl Iterator<Item = Arc<Workspace>> {
        self.all_workspaces().into_iter().skip(1)
    }

    /// The command by which a workspace takes over a trip of everything.
    pub(crate) fn follow_trip(
        workspace: &Workspace,
        what: &Halt,
        principal: Option<&Principal>,
        waiting: u64,
    ) -> Command {
        let by = principal.map(|principal| workspace.actor_ref(&principal.caller.actor));
        Command::Follow(Follow::Trip { mode: what.mode, source: what.source, by, waiting })
    }

    /// Has a workspace take over what stops everything in the first one, if anything does, by whatever
    /// tripped it there.
    pub(crate) async fn follow_into(&self, workspace: &Workspace) -> Result<(), PlaneError> {
        let Some(root) = self.root().filter(|root| root.no != workspace.no) else { return Ok(()) };
        let Some(tripped) = self.look(root.no, everything).await? else {
            // A trip that its log never took over may still be in effect.
            if workspace.is_killed() {
                self.follow_log(workspace, &KillScope::Everything).await?;
            }
            return Ok(());
        };
        if tripped.mode == OverrideMode::Kill {
            workspace.stop();
        }
        let here = self.look(workspace.no, everything).await?;
        if here.is_some_and(|here| here.mode >= tripped.mode) {
            return Ok(());
        }
        let (mode, source) = (tripped.mode, tripped.source);
        let trip = Command::Follow(Follow::Trip { mode, source, by: None, waiting: 0 });
        match self.submit(workspace.no, trip, Payload::empty()).await {
            // It was lifted meanwhile: nothing is to be taken over.
            Err(PlaneError::Rejected(Rejection::NotTripped)) => {
                self.follow_log(workspace, &KillScope::Everything).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    /// Has every workspace take over what stops everything in the first one. One that cannot keeps no other from
    /// it.
    pub(crate) async fn follow_trips(&self) -> Result<(), PlaneError> {
        let mut result = Ok(());
        for workspace in self.others() {
            result = result.and(self.follow_into(&workspace).await);
        }
        result
    }

    /// Has every workspace take over that everything was lifted in the first one; how many did. One that
    /// cannot keeps no other from it, and takes it over with the next call or the next start.
    pub(crate) async fn follow_lift(
        &self,
        principal: Option<&Principal>,
    ) -> Result<usize, PlaneError> {
        let (mut lifted, mut result) = (0, Ok(()));
        let Some(root) = self.root() else { return Ok(0) };
        if self.look(root.no, everything).await?.is_some() {
            return Ok(0);
        }
        for workspace in self.others() {
            match self.lift_in(&workspace, principal).await {
                Ok(done) => lifted += usize::from(done),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result.map(|()| lifted)
    }

    async fn lift_in(
        &self,
        workspace: &Workspace,
        principal: Option<&Principal>,
    ) -> Result<bool, PlaneError> {
        if self.look(workspace.no, everything).await?.is_none() {
            // A trip that its log never took over may still be in effect.
            self.follow_log(workspace, &KillScope::Everything).await?;
            return Ok(false);
        }
        let by = principal.map(|principal| workspace.actor_ref(&principal.caller.actor));
        let payload = self.actor_payload(principal)?;
        let lift = Command::Follow(Follow::Lift { by });
        let done = match self.submit(workspace.no, lift, payload).await {
            Ok(_) => true,
            // Tripped again since, or lifted by somebody else.
            Err(PlaneError::Rejected(_)) => false,
            Err(error) => return Err(error),
        };
        self.follow_log(workspace, &KillScope::Everything).await?;
        Ok(done)
    }

    /// Whether the first workspace is free of a kill of everything, by its log and by what takes effect
    /// before it.
    pub(crate) async fn is_lifted(&self, root: &Workspace) -> Result<bool, PlaneError> {
        let free = |state: &State| (everything(state).is_none(), state.is_killed());
        let (free, killed) = self.look(root.no, free).await?;
        Ok(free && (killed || !root.is_killed()))
    }
}
