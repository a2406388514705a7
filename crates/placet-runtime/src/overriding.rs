//! How people stop what runs and let it run again: kill, freeze, disable, revoke, lift, and the armed
//! certificate. Owns that a trip takes effect before it is written; refuses to know what it stops.

use crate::asking::{Begun, message};
use crate::error::PlaneError;
use crate::housekeeping::aside;
use crate::plane::{Plane, Principal};
use crate::ports::{PortError, Signer};
use crate::sequencer::{Message, Next, Payload};
use crate::watching::Seen;
use crate::workspace::Workspace;
use placet_engine::{Command, KillState, Lift, Rejection, State, Trip};
use placet_types::event::{DecisionEvent, KillScope, KillSource, OverrideMode};
use placet_types::policy::Reason;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Solo mode: how long a lift waits.
pub(crate) const SOLO_DELAY_MS: u64 = 600_000;

/// What is to be stopped, and how.
#[derive(Clone, Debug)]
pub struct Halt {
    /// What.
    pub scope: KillScope,
    /// How.
    pub mode: OverrideMode,
    /// What caused it.
    pub source: KillSource,
}

impl Halt {
    /// Whether it is one of the two widest kills, of which the armed certificate speaks.
    fn is_widest(&self) -> bool {
        self.scope.is_wide() && self.mode == OverrideMode::Kill
    }

    /// Whether it takes effect before it is written.
    fn is_at_once(&self) -> bool {
        self.is_widest() || (!self.scope.is_wide() && self.mode.ends_permits())
    }

    /// Takes effect, and stays in effect until this is answered by the log: how many callers waited for one
    /// and were told.
    fn begin(&self, workspace: &Arc<Workspace>) -> (UnderWay, u64) {
        let mut under_way = workspace.under_way();
        let scope = self.is_at_once().then(|| self.scope.clone());
        if let Some(scope) = &scope {
            let count = under_way.entry(scope.clone()).or_default();
            *count = count.saturating_add(1);
        }
        let told = self.take_effect(workspace);
        drop(under_way);
        (UnderWay(workspace.clone(), scope), told)
    }

    /// From here on no permit of it leaves, written or not. How many callers waited for one and were told.
    fn take_effect(&self, workspace: &Workspace) -> u64 {
        if self.is_widest() {
            workspace.stop();
            workspace.callers.told()
        } else if !self.scope.is_wide() && self.mode.ends_permits() {
            workspace.halt(&self.scope, self.mode)
        } else {
            0
        }
    }
}

/// While this lives, no flag of its scope is cleared.
struct UnderWay(Arc<Workspace>, Option<KillScope>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some(scope) = &self.1 else { return };
        let mut under_way = self.0.under_way();
        if let Some(count) = under_way.get_mut(scope) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(scope);
            }
        }
    }
}

fn stored<T>(done: Result<T, PortError>) -> Result<T, PlaneError> {
    done.map_err(|error| PlaneError::StoreFailed(error.to_string()))
}

/// What became of a stop besides its effect.
#[derive(Default)]
struct Halting {
    /// A restart is stopped as well, recorded or not.
    lasts: bool,
    /// Some log does not say it.
    unrecorded: bool,
}

impl Plane {
    /// Trips a kill switch. It takes effect before anything is written; when this returns, the trip
    /// is durable.
    ///
    /// # Errors
    /// [`PlaneError`]: the caller may not, or the trip could not be recorded. In the latter case it
    /// is in effect all the same, and the missing certificate keeps it so over a restart.
    pub async fn trip(
        &self,
        workspace: Option<&Arc<Workspace>>,
        scope: KillScope,
        source: KillSource,
        principal: Option<&Principal>,
    ) -> Result<(), PlaneError> {
        let what = Halt { scope, mode: OverrideMode::Kill, source };
        self.halt(workspace, &what, principal).await
    }

    /// Stops a scope in some way: [`Plane::trip`] with the milder ways besides.
    ///
    /// # Errors
    /// As [`Plane::trip`]; and the scope cannot be stopped in this way, or too many are stopped. Only a
    /// kill of everything or of the first workspace outlives a restart that it was not recorded before.
    pub async fn halt(
        &self,
        workspace: Option<&Arc<Workspace>>,
        what: &Halt,
        principal: Option<&Principal>,
    ) -> Result<(), PlaneError> {
        let mut how = Halting::default();
        match self.halt_all(workspace, what, principal, &mut how).await {
            // Its logs say it, so it stands, whatever became of the certificate.
            Err(PlaneError::StoreFailed(why)) if what.is_at_once() && !how.unrecorded => {
                self.host.say(format_args!("a stop is recorded, and its certificate stays: {why}"));
                Ok(())
            }
            Err(PlaneError::StoreFailed(why)) if what.is_at_once() => {
                Err(PlaneError::StopUnrecorded { lasts: how.lasts, why })
            }
            done => done,
        }
    }

    async fn halt_all(
        &self,
        workspace: Option<&Arc<Workspace>>,
        what: &Halt,
        principal: Option<&Principal>,
        how: &mut Halting,
    ) -> Result<(), PlaneError> {
        let root = self.root().ok_or(PlaneError::NotFound("workspace"))?;
        let affected = match (&what.scope, workspace) {
            (KillScope::Everything, _) => self.all_workspaces(),
            (_, Some(workspace)) => vec![workspace.clone()],
            (_, None) => vec![root.clone()],
        };
        if let Some(principal) = principal {
            self.may_override(principal, &what.scope, &root)?;
        }
        if !what.scope.takes(what.mode) {
            let why = "this scope is not stopped in this way";
            return Err(PlaneError::Rejected(Rejection::OverrideInvalid(why)));
        }
        if what.is_widest() && what.scope == KillScope::Everything {
            self.watched.tripped(what.source);
        }
        let asked = self.watched.asked(what.source);
        let begun: Vec<(UnderWay, u64)> = affected.iter().map(|it| what.begin(it)).collect();
        let disarms = what.is_widest() && affected.iter().any(|it| it.no == root.no);
        let mut result = Ok(());
        if disarms {
            // From here on a restart without a record is tripped as well.
            self.watched.has_none();
            result = stored(self.safety.disarm());
        }
        // A lift may come in between, and leaves the certificate to this.
        let _transit = disarms.then(|| self.watched.in_transit());
        // All trips are on their way before any is waited for: a caller that goes away meanwhile
        // leaves nothing half done.
        let mut waiting = Vec::with_capacity(affected.len());
        let mut trips = Vec::with_capacity(affected.len());
        for (workspace, (under_way, told)) in affected.iter().zip(begun) {
            let (trip, begun) = self.trip_of(workspace, what, principal, told);
            trips.push(trip);
            waiting.push((workspace, begun, under_way));
        }
        self.send_urgent(trips);
        if disarms {
            // A disk that hangs keeps no trip waiting; this may wait for the disk.
            result = result.and(self.sync_removed().await);
            how.lasts = result.is_ok();
        }
        let mut recorded = false;
        for (workspace, begun, under_way) in waiting {
            let done = self.finish(begun).await.map(drop);
            how.unrecorded |= done.is_err();
            drop(under_way);
            if workspace.no == root.no && done.is_ok() {
                recorded = true;
                if let Some(asked) = asked.filter(|_| what.scope == KillScope::Everything) {
                    self.watched.recorded(what.source, asked);
                }
            }
            result = result.and(self.conclude(workspace, what, done).await);
            if disarms && recorded && workspace.no == root.no && !root.is_killed() {
                // Lifted since; the lift has found the flag up and left the certificate to this.
                result = result.and(self.arm().await);
            }
        }
        if what.scope == KillScope::Everything {
            // A workspace that was being made while this began.
            let _made = self.creating.lock().await;
            for workspace in self.all_workspaces() {
                if !affected.iter().any(|it| it.no == workspace.no) {
                    let (under_way, told) = what.begin(&workspace);
                    let (trip, begun) = self.trip_of(&workspace, what, principal, told);
                    self.send_urgent(vec![trip]);
                    let done = self.finish(begun).await.map(drop);
                    how.unrecorded |= done.is_err();
                    drop(under_way);
                    result = result.and(self.conclude(&workspace, what, done).await);
                }
            }
        }
        if disarms {
            result = result.and(self.disarm(&root, recorded).await);
        }
        result
    }

    /// Takes away what a lift that ran at the same time has armed in between. A lift that came after the trip was
    /// recorded is right: then the first log is free, and a missing certificate would be taken for tampering.
    async fn disarm(&self, root: &Workspace, recorded: bool) -> Result<(), PlaneError> {
        let order = self.kill_order.lock().await;
        if !recorded || root.is_killed() {
            stored(self.safety.disarm())?;
            return self.sync_removed().await;
        }
        drop(order);
        self.arm().await
    }

    /// What became of a trip that took effect before it was written: what its log says of the scope, once it
    /// says anything; what took effect stays where nothing could be recorded or looked at.
    async fn conclude(
        &self,
        workspace: &Workspace,
        what: &Halt,
        done: Result<(), PlaneError>,
    ) -> Result<(), PlaneError> {
        // Of everything a log takes over what the first one says, and that may say that it was lifted since.
        let overtaken = matches!(done, Err(PlaneError::Rejected(Rejection::NotTripped)));
        let refused = matches!(done, Err(PlaneError::Rejected(_))) && !what.scope.is_wide();
        let follows = overtaken || refused || done.is_ok();
        if !follows || self.follow_log(workspace, &what.scope).await.is_err() {
            let _order = self.kill_order.lock().await;
            what.take_effect(workspace);
        }
        if overtaken { Err(PlaneError::Rejected(Rejection::LiftedMeanwhile)) } else { done }
    }

    /// Waits until what was removed beside the store stays removed, whatever happens.
    async fn sync_removed(&self) -> Result<(), PlaneError> {
        let safety = self.safety.clone();
        aside(move || stored(safety.sync())).await.flatten()
    }

    /// A trip for the sequencer, and where its answer comes.
    fn trip_of(
        &self,
        workspace: &Workspace,
        what: &Halt,
        principal: Option<&Principal>,
        waiting: u64,
    ) -> (Message, Begun) {
        let who = principal.map(|principal| self.who(workspace, principal));
        let Halt { scope, mode, source } = what.clone();
        let first = self.root().is_some_and(|root| root.no == workspace.no);
        let command = if scope == KillScope::Everything && !first {
            Self::follow_trip(workspace, what, principal, waiting)
        } else {
            Command::Trip(Trip { scope, mode, source, who, waiting })
        };
        // A kill is recorded even when the name of who asked can no longer be sealed.
        let payload = self.actor_payload(principal).unwrap_or_else(|_| Payload::empty());
        message(workspace.no, command, payload, Next::None)
    }

    /// Asks for, or completes, the lift of whatever stops a scope. True once it is lifted.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn lift(
        &self,
        workspace: &Arc<Workspace>,
        scope: KillScope,
        principal: &Principal,
    ) -> Result<bool, PlaneError> {
        let root = self.root().ok_or(PlaneError::NotFound("workspace"))?;
        self.may_override(principal, &scope, &root)?;
        // Whether everything is lifted is decided in the first log alone; the others follow it.
        let everything = scope == KillScope::Everything;
        let decides = if everything { &root } else { workspace };
        let _transit = self.watched.in_transit();
        let lift = Lift {
            scope: scope.clone(),
            who: self.who(decides, principal),
            solo_delay_ms: SOLO_DELAY_MS,
        };
        let payload = self.actor_payload(Some(principal))?;
        match self.submit(decides.no, Command::Lift(lift), payload).await {
            // Lifted before, and not yet in every log, or in effect for longer: what is left of it is done now.
            Err(error @ PlaneError::Rejected(Rejection::NotTripped)) => {
                let outlived = root.is_killed() || self.watched.owes();
                self.follow_log(decides, &scope).await?;
                // What outlived its log has taken the certificate with it, and one may not have been writable: any
                // other that is missing or altered was tampered with, and is for the watch to find.
                if outlived && scope.is_wide() && decides.no == root.no {
                    self.arm().await?;
                }
                if !everything {
                    return Err(error);
                }
                let left =
                    self.is_lifted(&root).await? && self.follow_lift(Some(principal)).await? > 0;
                return if left { Ok(true) } else { Err(error) };
            }
            done => drop(done?),
        }
        if !self.follow_log(decides, &scope).await? {
            return Ok(false);
        }
        // INVARIANT: from the moment at which the first workspace is free there is a certificate, whatever
        // becomes of the rest: a missing one would be taken for tampering.
        if scope.is_wide()
            && let Err(error) = self.arm().await
        {
            // Without one it is stopped again before anything else is let go; this call alone knows why.
            drop(self.trip(None, KillScope::Everything, KillSource::Interrupted, None).await);
            return Err(match error {
                PlaneError::StoreFailed(why) => PlaneError::LiftUnfinished(why),
                error => error,
            });
        }
        if everything {
            let cleared = self.safety.clear_kill_request();
            let cleared = cleared.map_err(|error| PlaneError::KillFileStays(error.to_string()));
            self.watched.lifted();
            let followed = self.follow_lift(Some(principal)).await;
            cleared.and(followed)?;
        }
        Ok(true)
    }

    /// Lets the flags that take effect before the log follow the log. True when the scope is free.
    pub(crate) async fn follow_log(
        &self,
        workspace: &Workspace,
        scope: &KillScope,
    ) -> Result<bool, PlaneError> {
        let _order = self.kill_order.lock().await;
        let of = scope.clone();
        let look = move |state: &State| {
            (state.is_killed(), state.override_of(&of).map(|tripped| tripped.mode))
        };
        // Whatever waits there: what outlives its log would be lifted by nobody.
        let (killed, mode) = self.look_urgently(workspace.no, look).await?;
        if scope.is_wide() {
            // A kill from beside the store that is not recorded yet is not in the state that was seen.
            let unrecorded = self.watched.unrecorded();
            let under_way = workspace.under_way();
            let stands = !unrecorded.is_empty() || under_way.keys().any(KillScope::is_wide);
            workspace.killed.store(killed || stands, Ordering::SeqCst);
        } else if let Some(mode) = mode.filter(|mode| mode.ends_permits()) {
            workspace.halts.raise(scope, mode);
        } else {
            let under_way = workspace.under_way();
            if !under_way.contains_key(scope) {
                workspace.halts.clear(scope);
            }
        }
        Ok(mode.is_none())
    }

    /// The kill switches over a workspace: of everything, of itself.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn kill_state(
        &self,
        workspace: &Workspace,
    ) -> Result<(Option<KillState>, Option<KillState>), PlaneError> {
        self.look(workspace.no, |state| {
            let (everything, own) = state.kill();
            (everything.cloned(), own.cloned())
        })
        .await
    }

    /// All that is stopped in a workspace, in the order of the texts of the scopes.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn overrides(
        &self,
        workspace: &Workspace,
    ) -> Result<Vec<(KillScope, KillState)>, PlaneError> {
        self.look(workspace.no, |state| {
            state.overrides().map(|(scope, kill)| (scope.clone(), kill.clone())).collect()
        })
        .await
    }

    /// Why the permit of a decision is withdrawn, as far as an override is it.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn revoked_by(
        &self,
        workspace: &Workspace,
        event: &Arc<DecisionEvent>,
        index: u64,
    ) -> Result<Reason, PlaneError> {
        let scopes = event.scopes();
        let known = self.look(workspace.no, move |state| state.revoked_by(&scopes, index)).await?;
        // A trip takes effect before its entry is written: then only the flags tell.
        let flagged = || match self.all_workspaces().iter().all(|it| it.is_killed()) {
            true => Reason::KilledEverything,
            false => Reason::KilledWorkspace,
        };
        Ok(known
            .or_else(|| workspace.halt_of(event).map(|stop| stop.reason()))
            .unwrap_or_else(flagged))
    }

    /// Writes the armed certificate, unless the first workspace is killed.
    pub(crate) async fn arm(&self) -> Result<(), PlaneError> {
        let root = self.root().ok_or(PlaneError::NotFound("workspace"))?;
        // What the state says of the last override is to be true as the certificate is written.
        let _order = self.kill_order.lock().await;
        let (killed, last) =
            self.look_urgently(root.no, |state| (state.is_killed(), state.last_override())).await?;
        let signer = root.signing().signer.clone();
        if self.watched.expects_one() {
            // Somebody may have taken it, and the watch has not looked yet: writing it would undo a kill.
            let read =
                self.read_beside(|| self.safety.read_armed(), || self.safety.read_disarmed());
            if let Some(source) = self.look_beside(&mut Seen::default(), false, Some(read)) {
                self.trip_at_once(source);
            }
        }
        if root.is_killed() {
            // Whoever set the flag may not have come to this yet.
            self.watched.has_none();
            stored(self.safety.disarm())?;
        }
        if killed || root.is_killed() {
            return self.keep_disarmed(signer).await;
        }
        let bytes = crate::armed::certificate(&self.instance, last.unwrap_or(0), signer.as_ref());
        self.watched.writes(&bytes);
        let (safety, given) = (self.safety.clone(), bytes.clone());
        aside(move || stored(safety.write_armed(&given))).await.flatten()?;
        if root.is_killed() {
            // Killed while it was written: the kill has found nothing to remove, maybe.
            self.watched.has_none();
            return stored(self.safety.disarm());
        }
        self.watched.has_written(&bytes);
        Ok(())
    }

    /// What a kill has set aside is to be known for ours when the key that signed it is gone: signed anew by the
    /// one in force.
    async fn keep_disarmed(&self, signer: Arc<dyn Signer>) -> Result<(), PlaneError> {
        let (safety, signers) = (self.safety.clone(), self.signers.clone());
        let instance = self.instance.clone();
        let sign_anew = move || {
            // One that cannot be read says nothing.
            let Ok(Some(known)) = safety.read_disarmed() else { return Ok(()) };
            if crate::armed::began(&known, &instance, signer.as_ref()).is_some() {
                return Ok(());
            }
            let by = |it: &Arc<dyn Signer>| crate::armed::began(&known, &instance, it.as_ref());
            let Some(named) = signers.all()?.iter().find_map(by) else { return Ok(()) };
            let certificate = crate::armed::certificate(&instance, named, signer.as_ref());
            safety.write_disarmed(&certificate)
        };
        aside(move || stored(sign_anew())).await.flatten()
    }

    /// Everything can be stopped only from the first workspace.
    pub(crate) fn may_override(
        &self,
        principal: &Principal,
        scope: &KillScope,
        root: &Workspace,
    ) -> Result<(), PlaneError> {
        if *scope == KillScope::Everything && principal.caller.workspace != root.name {
            return Err(PlaneError::Rejected(Rejection::Foreign(
                "the first workspace, whose operators may stop everything",
            )));
        }
        // A role that nobody has at the moment stops nothing either: what takes effect stays in effect.
        let mut all = self.all_workspaces().into_iter();
        let home = all.find(|it| it.name == principal.caller.workspace);
        let home = home.ok_or(PlaneError::NotFound("workspace"))?;
        let roles = home.halts.left_of(&principal.caller.roles);
        if !roles.contains("operator") && !roles.contains("admin") {
            let need = [("admin".to_owned(), 1), ("operator".to_owned(), 1)].into();
            return Err(PlaneError::Rejected(Rejection::RoleMissing(need)));
        }
        if principal.caller.actor.kind() != placet_types::ids::ActorKind::Human {
            return Err(PlaneError::Rejected(Rejection::NotHuman));
        }
        Ok(())
    }
}
