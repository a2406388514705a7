//! The edge between callers and the plane: every call that the workload makes, and what the checkers
//! see of its answer at the moment it leaves.

use crate::executor::Group;
use crate::mutant::Mutant;
use crate::world::{Person, World};
use placet_engine::Rejection;
use placet_runtime::crypto::Fast;
use placet_runtime::{
    DecisionAnswer, Delegating, EraseSpec, PermitState, Plane, PlaneError, Principal, Workspace,
    nonce_hash,
};
use placet_types::event::{HoldScope, ReportedResult};
use placet_types::ids::{ActorId, ApprovalId, DecisionId, DelegationId, HoldId};
use placet_types::json::{Object, Value};
use placet_types::surface::SurfacePattern;
use placet_types::{Digest, Request};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a caller waits for an answer.
const PATIENCE_MS: u64 = 10_000;
/// How long a caller lets the plane wait for an approval.
const WAIT: Duration = Duration::from_secs(8);

/// A request with who asks.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) who: Person,
    pub(crate) key: String,
    pub(crate) nonce: String,
    pub(crate) body: Object,
}

impl Ask {
    /// As `body` stands, with key and nonce.
    pub(crate) fn new(who: &Person, key: String, nonce: String, body: Object) -> Self {
        let body = body.with("idempotency_key", key.as_str()).with("attempt_nonce", nonce.as_str());
        Self { who: who.clone(), key, nonce, body }
    }

    /// From a request that stands for an act of governance.
    pub(crate) fn governed(who: &Person, key: String, nonce: String, request: Value) -> Self {
        let body = match request {
            Value::Object(body) => body,
            _ => Object::new(),
        };
        Self::new(who, key, nonce, body)
    }
}

pub(crate) type Reached = Option<(Arc<Workspace>, Principal)>;

impl World {
    pub(crate) fn reach(&self, plane: &Plane, who: &Person) -> Reached {
        Some((plane.workspace(&who.workspace)?, who.principal.clone()))
    }

    /// What a caller does about an error: true when trying again may help.
    pub(crate) fn trouble(&self, error: &PlaneError) -> bool {
        match error {
            PlaneError::ClockUnsure => {
                // An operator looks at the clock and confirms it, sooner or later.
                if self.is_calm() || self.per_mille(300) {
                    self.say(format_args!("operator: the clock is confirmed"));
                    if let Some(plane) = self.plane() {
                        let confirmed = async move { drop(plane.confirm_clock().await) };
                        self.spawn(Group::Server, confirmed);
                    }
                }
                true
            }
            PlaneError::Overloaded { .. }
            | PlaneError::ShuttingDown
            | PlaneError::StoreFailed(_)
            | PlaneError::StopUnrecorded { .. }
            | PlaneError::LiftUnfinished(_)
            | PlaneError::PolicyMoved => true,
            _ => false,
        }
    }

    /// Proposes until an answer comes, or patience ends.
    pub(crate) async fn propose(self: &Rc<Self>, ask: &Ask, tries: u32) -> Option<DecisionAnswer> {
        for at in 0..tries {
            let asked = ask.clone();
            let run = move |world: Rc<Self>, plane: Arc<Plane>| {
                let ask = asked.clone();
                async move { world.decide(&plane, &ask).await }
            };
            match self.call("decide", PATIENCE_MS, run).await {
                Some(Ok(answer)) => return Some(answer),
                Some(Err(error)) if !self.trouble(&error) => return None,
                _ => self.sleep(100 << at.min(6)).await,
            }
        }
        None
    }

    async fn decide(
        self: &Rc<Self>,
        plane: &Plane,
        ask: &Ask,
    ) -> Result<DecisionAnswer, PlaneError> {
        let lost = || PlaneError::NotFound("workspace");
        let (workspace, principal) = self.reach(plane, &ask.who).ok_or_else(lost)?;
        let caller = &principal.caller;
        let read = |body: Object| {
            Request::read(Value::Object(body), caller)
                .map_err(|error| PlaneError::Internal(error.code().to_owned()))
        };
        let request = match read(ask.body.clone()) {
            Ok(request) => request,
            // What the workload sends is always well formed.
            Err(error) => {
                self.hold(crate::checkers::violated("workload", format!("{}: {error}", ask.key)));
                return Err(error);
            }
        };
        let digest = request.digests::<Fast>(caller).request;
        let request = if self.mutant == Some(Mutant::KeysForgotten) {
            let key = format!("{}#{}", ask.key, self.run.get());
            read(ask.body.clone().with("idempotency_key", key))?
        } else {
            request
        };
        let key = (workspace.no.0, caller.actor.to_string(), ask.key.clone());
        self.checkers.borrow_mut().idempotency.sent(&key, digest);
        let decided = plane.decide(&workspace, &principal, &request).await;
        match &decided {
            Ok(decided) => {
                let answer = &decided.answer;
                self.say(format_args!(
                    "answer: {} {} at {} for key {}{}{}",
                    answer.event.decision,
                    answer.event.outcome.as_str(),
                    answer.index,
                    ask.key,
                    if answer.replayed { ", replayed " } else { " " },
                    answer.permit.as_ref().map_or("", |permit| permit.state.as_str()),
                ));
                let bound = self.checkers.borrow_mut().idempotency.answered(
                    &key,
                    digest,
                    &answer.event,
                    answer.time,
                );
                self.hold(bound);
                self.left(plane, &workspace, answer, &ask.nonce);
                let state = answer.permit.as_ref().map(|permit| permit.state);
                let usable = matches!(state, Some(PermitState::Granted | PermitState::Open));
                if usable && !answer.replayed {
                    let what = format!("the permit of {}", answer.event.decision);
                    let (no, step) = (workspace.no.0, self.woken.get());
                    let scopes = answer.event.scopes();
                    let checkers = self.checkers.borrow();
                    let held = checkers.kill.fresh_permit_left(no, &scopes, step, &what);
                    drop(checkers);
                    self.hold(held);
                }
            }
            Err(PlaneError::IdempotencyConflict { .. }) => {
                let conflict = self.checkers.borrow().idempotency.conflict(&key);
                self.hold(conflict);
            }
            Err(error) => {
                self.failed.set(self.failed.get() || matches!(error, PlaneError::StoreFailed(_)));
                self.say(format_args!("answer: key {} got {error}", ask.key));
            }
        }
        decided.map(|decided| decided.answer)
    }

    /// An answer about a decision leaves the plane.
    fn left(&self, plane: &Plane, workspace: &Workspace, answer: &DecisionAnswer, nonce: &str) {
        let no = workspace.no.0;
        let decision = answer.event.decision;
        self.acknowledged(plane, workspace, answer.index);
        self.checkpoint(workspace, Some(answer.index));
        self.checkers.borrow_mut().durable.proved(no, answer.index);
        self.hold(crate::checkers::findable::now(plane, workspace, decision, answer.index));
        let state = answer.permit.as_ref().map(|permit| permit.state);
        let mut checkers = self.checkers.borrow_mut();
        let mut held = Vec::new();
        let pending = answer.hold.as_ref().is_some_and(|hold| hold.state.as_str() == "pending");
        if self.mutant == Some(Mutant::HoldIgnored) && pending {
            checkers.approvals.granted(decision, answer.event.outcome);
        }
        let skipped = self.mutant == Some(Mutant::RevokeSkipped);
        let (scopes, woken) = (answer.event.scopes(), self.woken.get());
        match state {
            Some(PermitState::Granted) => {
                held.push(checkers.permits.granted(decision, nonce));
                checkers.approvals.granted(decision, answer.event.outcome);
                let what = format!("the permit of {decision}");
                held.push(checkers.kill.permit_left(no, &scopes, woken, &what));
            }
            Some(PermitState::Open) => {
                let what = format!("the open permit of {decision}");
                held.push(checkers.kill.permit_left(no, &scopes, woken, &what));
            }
            Some(PermitState::Revoked) if skipped => {
                let what = format!("the permit of {decision}");
                held.push(checkers.kill.permit_left(no, &scopes, woken, &what));
            }
            _ => {}
        }
        drop(checkers);
        held.into_iter().for_each(|held| self.hold(held));
    }

    /// An answer rests on the entry at this index: it is there from now on.
    pub(crate) fn acknowledged(&self, plane: &Plane, workspace: &Workspace, index: u64) {
        let held = match plane.log_entry(workspace, index) {
            Ok(entry) => {
                let no = workspace.no.0;
                self.checkers.borrow_mut().durable.acknowledged(no, index, &entry.bytes)
            }
            Err(error) => crate::checkers::violated(
                "findable",
                format!("entry {index} was answered and is not found: {error}"),
            ),
        };
        self.hold(held);
    }

    /// The newest checkpoint is handed out with an answer.
    fn checkpoint(&self, workspace: &Workspace, index: Option<u64>) {
        let head = workspace.head();
        let (mut size, root) = (head.head.size(), head.head.root());
        if self.mutant == Some(Mutant::TreeNotAdvanced) {
            size = size.min(index.unwrap_or(size));
            if size < head.head.size() {
                let no = workspace.no.0;
                let old = self.checkers.borrow_mut().checkpoints.handed_out(no, index, size, root);
                return self.hold(old);
            }
        }
        let no = workspace.no.0;
        let held = self.checkers.borrow_mut().checkpoints.handed_out(no, index, size, root);
        self.hold(held);
    }

    /// Looks at a decision, waits for its approval, and collects its permit.
    pub(crate) async fn wait_for(
        self: &Rc<Self>,
        ask: &Ask,
        id: DecisionId,
    ) -> Option<DecisionAnswer> {
        let asked = ask.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let ask = asked.clone();
            async move {
                let (workspace, principal) = world.reach(&plane, &ask.who)?;
                let nonce = Some(nonce_hash(&ask.nonce));
                match plane.decision(&workspace, &principal, id, nonce, WAIT).await {
                    Ok(answer) => {
                        world.left(&plane, &workspace, &answer, &ask.nonce);
                        Some(answer)
                    }
                    Err(PlaneError::NotFound(what)) => {
                        let what = format!("{id} was decided, and there is no such {what}");
                        world.hold(crate::checkers::violated("findable", what));
                        None
                    }
                    Err(error) => {
                        world.trouble(&error);
                        None
                    }
                }
            }
        };
        self.call("wait", PATIENCE_MS, run).await.flatten()
    }

    /// Consumes a permit as its gate.
    pub(crate) async fn consume(self: &Rc<Self>, who: &Person, id: DecisionId, nonce: String) {
        let gate = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let (who, nonce) = (gate.clone(), nonce.clone());
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                let hash = Some(nonce_hash(&nonce));
                let consumed = plane.consume(&workspace, &principal, id, hash).await;
                match consumed {
                    Ok(answer) => {
                        world.say(format_args!("answer: {id} is consumed by attempt {nonce}"));
                        world.left(&plane, &workspace, &answer, &nonce);
                    }
                    Err(PlaneError::Rejected(Rejection::PermitConsumed))
                        if world.mutant == Some(Mutant::ConsumedTwice) =>
                    {
                        let held = world.checkers.borrow_mut().permits.granted(id, &nonce);
                        world.hold(held);
                    }
                    Err(error) => {
                        world.trouble(&error);
                    }
                }
            }
        };
        self.call("consume", PATIENCE_MS, run).await;
    }

    /// Reports how an action went.
    pub(crate) async fn report(self: &Rc<Self>, who: &Person, id: DecisionId) {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = who.clone();
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                let (result, detail) =
                    (ReportedResult::Succeeded, Object::new().with("ms", 12_i64));
                match plane.report(&workspace, &principal, id, result, detail).await {
                    Ok(_) => world.checkpoint(&workspace, None),
                    Err(error) => drop(world.trouble(&error)),
                }
            }
        };
        self.call("report", PATIENCE_MS, run).await;
    }

    /// Votes on one of the approvals that wait, or says that there is none.
    pub(crate) async fn vote(self: &Rc<Self>, who: &Person, approve: bool) -> bool {
        let voter = who.clone();
        let pick = self.below(1 << 20);
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = voter.clone();
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return false };
                let viewer = plane.viewer(&workspace, &principal, true);
                let waiting = match plane.inbox(&workspace, viewer, None, 16).await {
                    Ok((waiting, _)) => waiting,
                    Err(error) => {
                        world.trouble(&error);
                        return false;
                    }
                };
                let at = usize::try_from(pick).unwrap_or(0) % waiting.len().max(1);
                let Some((held, answer, _)) = waiting.get(at) else { return false };
                let id: ApprovalId = held.approval;
                let echo: Option<Digest> = answer.digests.as_ref().map(|digests| digests.action);
                let voted = plane.vote(&workspace, &principal, id, approve, echo, None).await;
                world.say(format_args!(
                    "answer: {} votes {} on {id}: {}",
                    principal.caller.actor,
                    if approve { "yes" } else { "no" },
                    voted.as_ref().map_or_else(|error| error.code(), |_| "done"),
                ));
                match voted {
                    Ok((_, answer)) => world.left(&plane, &workspace, &answer, ""),
                    Err(error) => drop(world.trouble(&error)),
                }
                true
            }
        };
        self.call("vote", PATIENCE_MS, run).await.unwrap_or(false)
    }

    /// Lets somebody approve in one's place.
    pub(crate) async fn delegate(
        self: &Rc<Self>,
        who: &Person,
        to: &'static str,
        lasts_ms: u64,
    ) -> Option<DelegationId> {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = who.clone();
            async move {
                let (workspace, principal) = world.reach(&plane, &who)?;
                let delegating = Delegating {
                    to: ActorId::parse(to)?,
                    roles: ["approver".to_owned()].into(),
                    surfaces: SurfacePattern::parse("pay.**").into_iter().collect(),
                    until: plane.now().plus(lasts_ms),
                };
                let granted = plane.delegate(&workspace, &principal, delegating).await;
                let said = granted.as_ref().map_or_else(PlaneError::code, |_| "granted");
                let by = &principal.caller.actor;
                world.say(format_args!("answer: {by} delegates to {to}: {said}"));
                match granted {
                    Ok(granted) => Some(granted.delegation),
                    Err(error) => {
                        world.trouble(&error);
                        None
                    }
                }
            }
        };
        self.call("delegate", PATIENCE_MS, run).await.flatten()
    }

    /// Takes a delegation back.
    pub(crate) async fn end_delegation(self: &Rc<Self>, who: &Person, id: DelegationId) {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = who.clone();
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                if let Err(error) = plane.end_delegation(&workspace, &principal, id).await {
                    world.trouble(&error);
                }
            }
        };
        self.call("end", PATIENCE_MS, run).await;
    }

    /// Erases under a permit.
    pub(crate) async fn erase(self: &Rc<Self>, who: &Person, spec: EraseSpec, permit: DecisionId) {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let (who, spec) = (who.clone(), spec.clone());
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                match plane.erase(&workspace, &principal, &spec, permit).await {
                    Ok(plan) => {
                        world.say(format_args!(
                            "answer: {} payloads erased, {} kept, destroyed {}",
                            plan.payloads,
                            plan.legal_hold + plan.retention,
                            plan.destroyed,
                        ));
                        world.totals.borrow_mut().erased += plan.payloads;
                        if plan.destroyed {
                            let disk = world.disks.lock();
                            let no = workspace.no.0;
                            let held = crate::checkers::erased::done(&disk, no, &plan.entries);
                            drop(disk);
                            world.hold(held);
                        }
                    }
                    Err(error) => drop(world.trouble(&error)),
                }
            }
        };
        self.call("erase", PATIENCE_MS, run).await;
    }

    /// Places a legal hold; its id.
    pub(crate) async fn place_hold(
        self: &Rc<Self>,
        who: &Person,
        scope: HoldScope,
    ) -> Option<HoldId> {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let (who, scope) = (who.clone(), scope);
            async move {
                let (workspace, principal) = world.reach(&plane, &who)?;
                let placed = plane.place_hold(&workspace, &principal, scope, "audit".into()).await;
                if let Err(error) = &placed {
                    world.trouble(error);
                }
                placed.ok().map(|hold| hold.hold)
            }
        };
        self.call("hold", PATIENCE_MS, run).await.flatten()
    }

    /// Releases a legal hold under a permit.
    pub(crate) async fn release_hold(
        self: &Rc<Self>,
        who: &Person,
        hold: HoldId,
        permit: DecisionId,
    ) {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = who.clone();
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                if let Err(error) = plane.release_hold(&workspace, &principal, hold, permit).await {
                    world.trouble(&error);
                }
            }
        };
        self.call("release", PATIENCE_MS, run).await;
    }
}
