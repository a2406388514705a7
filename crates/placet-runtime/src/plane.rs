//! The plane: what a server or a command may ask of a running instance. Evaluates on the caller's
//! thread, hands commands to the sequencer, and turns durable results into answers.

use crate::answer::{DecisionAnswer, PermitState, PermitView, fresh_permit, later_permit};
use crate::committer::{CommitTotals, Errand, seal};
use crate::crypto::Fast;
use crate::directory::{Directory, KeyRecord};
use crate::error::PlaneError;
use crate::frame::{SaltFor, SlotKeys};
use crate::host::{Host, in_time};
use crate::idle::IdleTotals;
use crate::pool::SlotPool;
use crate::ports::{
    Clock, JournalReader, Marks, ReadModel, Safety, Signers, SlotReader, WorkspaceKeys, WorkspaceNo,
};
use crate::proposal::{Given, Proposal, approval_ms, evaluate, evaluate_beside, reread};
use crate::recent::Recent;
use crate::sequencer::{Done, Gauges, Message, Outstanding, Payload, Written};
use crate::snapshotter::SnapshotTotals;
use crate::workspace::Workspace;
use arc_swap::ArcSwap;
use placet_engine::{
    Command, Consume, HeldState, Report, RevokePermit, State, Status, Unsent, Who, arming_of,
    is_governed,
};
use placet_types::event::{Entry, Event, ReportedResult};
use placet_types::hash::Hasher;
use placet_types::ids::{
    ApprovalId, DecisionId, Id, IdKind, KeyId, PermitId, TimeMs, WorkspaceName,
};
use placet_types::json::{Object, Value};
use placet_types::{Caller, Digest, Digests, Request};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

/// Deadline and idempotency window where no bundle says otherwise.
pub(crate) const DEADLINE_MS: u64 = 2000;
pub(crate) const WINDOW_MS: u64 = 86_400_000;
/// Life of a permit.
pub(crate) const PERMIT_MS: u64 = 60_000;
/// A bundle may be published between evaluating and sequencing; then the request is evaluated again.
pub(crate) const MOVED_MAX: usize = 8;

/// A running instance.
pub struct Plane {
    pub(crate) inbox: SyncSender<Message>,
    pub(crate) committer: SyncSender<Errand>,
    pub(crate) workspaces: ArcSwap<Workspaces>,
    pub(crate) creating: tokio::sync::Mutex<()>,
    /// One after the other sets a shadow bundle: the last one in the log is the one in use.
    pub(crate) shadowing: tokio::sync::Mutex<()>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) pool: Arc<SlotPool>,
    pub(crate) journal: Arc<dyn JournalReader>,
    pub(crate) slots: Arc<dyn SlotReader>,
    pub(crate) model: Arc<dyn ReadModel>,
    pub(crate) keys: Arc<dyn WorkspaceKeys>,
    pub(crate) signers: Arc<dyn Signers>,
    pub(crate) marks: Mutex<Box<dyn Marks>>,
    pub(crate) safety: Arc<dyn Safety>,
    pub(crate) kill_order: tokio::sync::Mutex<()>,
    pub(crate) watched: Arc<crate::watching::Watched>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) totals: Arc<CommitTotals>,
    pub(crate) indexed: Arc<AtomicU64>,
    pub(crate) saved: Arc<SnapshotTotals>,
    pub(crate) idle: Arc<IdleTotals>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) followed: Arc<Recent>,
    pub(crate) instance: String,
    /// How far lost logs were signed, where the instance goes on under another name.
    pub(crate) succeeds: Option<BTreeMap<String, u64>>,
    pub(crate) dev: bool,
    pub(crate) solo: bool,
    pub(crate) privacy: crate::privacy::Privacy,
    pub(crate) workshop: crate::policies::Workshop,
    pub(crate) stopping: std::sync::atomic::AtomicBool,
    pub(crate) host: Host,
    /// Places for whoever is shown requests.
    pub(crate) showing: Arc<tokio::sync::Semaphore>,
}

/// All workspaces, in the order of their numbers, and by name.
#[derive(Default)]
pub(crate) struct Workspaces {
    pub(crate) all: Vec<Arc<Workspace>>,
    pub(crate) by_name: HashMap<WorkspaceName, Arc<Workspace>>,
}

/// An answer and, when it was written just now, where its entry stands.
pub struct Decided {
    /// The answer.
    pub answer: DecisionAnswer,
    pub(crate) written: Option<Written>,
}

/// An entry with its opened payload.
pub(crate) struct Opened {
    pub(crate) entry: Entry,
    pub(crate) keys: SlotKeys,
    pub(crate) payload: Object,
}

/// Who calls: the verified caller, its key, and the reference entries use.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Verified facts.
    pub caller: Caller,
    /// Key used; `None` in development mode.
    pub key: Option<KeyId>,
}

impl Plane {
    /// Origin part that names the instance.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether this is a development server.
    #[must_use]
    pub fn dev(&self) -> bool {
        self.dev
    }

    /// Wall clock.
    #[must_use]
    pub fn now(&self) -> TimeMs {
        self.clock.wall()
    }

    /// The workspace with this name.
    #[must_use]
    pub fn workspace(&self, name: &WorkspaceName) -> Option<Arc<Workspace>> {
        self.workspaces.load().by_name.get(name).cloned()
    }

    /// The workspace with this number.
    #[must_use]
    pub fn workspace_no(&self, no: WorkspaceNo) -> Option<Arc<Workspace>> {
        self.workspaces.load().all.iter().find(|workspace| workspace.no == no).cloned()
    }

    /// The first workspace: the one whose log holds the instance's overrides.
    #[must_use]
    pub fn root(&self) -> Option<Arc<Workspace>> {
        self.workspaces.load().all.first().cloned()
    }

    /// All workspaces.
    #[must_use]
    pub fn all_workspaces(&self) -> Vec<Arc<Workspace>> {
        self.workspaces.load().all.clone()
    }

    /// Keys of a workspace, revoked ones included.
    #[must_use]
    pub fn keys_of(&self, workspace: &Workspace) -> Vec<Arc<KeyRecord>> {
        self.directory.of(workspace.no)
    }

    /// Totals of the committer.
    #[must_use]
    pub fn totals(&self) -> &CommitTotals {
        &self.totals
    }

    /// Totals of idle workspaces.
    #[must_use]
    pub fn idle(&self) -> &IdleTotals {
        &self.idle
    }

    /// Totals of the snapshotter.
    #[must_use]
    pub fn snapshots(&self) -> &SnapshotTotals {
        &self.saved
    }

    /// Entries indexed by the read model since the start, and requests without an answer.
    #[must_use]
    pub fn gauges(&self) -> (u64, usize) {
        (self.indexed.load(Ordering::Relaxed), self.gauges.outstanding.load(Ordering::Relaxed))
    }

    /// Why no decision can be made at the moment, if so.
    #[must_use]
    pub fn not_ready(&self) -> Option<PlaneError> {
        if self.stopping.load(Ordering::SeqCst) {
            Some(PlaneError::ShuttingDown)
        } else if self.gauges.failed.load(Ordering::SeqCst) || self.pool.has_failed() {
            Some(PlaneError::StoreFailed("the store has failed; restart after repair".into()))
        } else if self.gauges.clock_unsure.load(Ordering::SeqCst) {
            Some(PlaneError::ClockUnsure)
        } else {
            None
        }
    }

    /// Decides a request: evaluates, records, and answers once the record is durable.
    ///
    /// # Errors
    /// [`PlaneError`]; a refusal by policy is an outcome, not an error.
    pub async fn decide(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        request: &Request,
    ) -> Result<Decided, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let caller = &principal.caller;
        let received = self.clock.wall();
        let digests = request.digests::<Fast>(caller);
        let nonce = request.attempt_nonce.as_deref().map(nonce_hash);
        let proposal = Proposal {
            names: workspace.names(),
            caller,
            key: principal.key,
            request,
            digests: &digests,
        };
        for _ in 0..MOVED_MAX {
            let bundle = workspace.bundle();
            let request = self.with_found(workspace, bundle.as_deref(), (request, caller)).await?;
            let request = request.as_ref();
            let proposal = Proposal { request, ..proposal };
            let verdict = evaluate(bundle.as_deref(), request, caller);
            let shadow = evaluate_beside(workspace.shadow().as_deref(), request, caller);
            // A bundle has no say in how long one has to replace it.
            let contract = bundle
                .as_ref()
                .filter(|_| !is_governed(&request.surface))
                .map(|bundle| bundle.surface(&request.surface));
            let (deadline_ms, window_ms) = contract.map_or((DEADLINE_MS, WINDOW_MS), |contract| {
                (contract.deadline_ms, contract.idempotency_window_ms)
            });
            let slot = self.pool.take().map_err(PlaneError::StoreFailed)?;
            let keys = SlotKeys::new(&slot.secret);
            let given = Given {
                ids: self.fresh_ids(received),
                nonce,
                window_ms,
                deadline: received.plus(deadline_ms),
                permit_ms: PERMIT_MS,
                approval_ms: approval_ms(request),
            };
            let (decide, payload) = proposal.sealed(&keys, slot.no, (verdict, shadow), given);
            match self.submit(workspace.no, Command::Decide(Box::new(decide)), payload).await {
                Err(PlaneError::PolicyMoved) => {}
                Err(error) => return Err(error),
                Ok(done) => {
                    return match done.bound {
                        Some(index) => {
                            self.repeat(workspace, principal, index, &digests, nonce).await
                        }
                        None => self.last_look(workspace, fresh(done, digests)?).await,
                    };
                }
            }
        }
        Err(PlaneError::PolicyMoved)
    }

    /// A kill may have come since the batch was answered: then the log says that the permit never left.
    async fn last_look(
        &self,
        workspace: &Arc<Workspace>,
        mut decided: Decided,
    ) -> Result<Decided, PlaneError> {
        let answer = &mut decided.answer;
        let Some(view) = &mut answer.permit else { return Ok(decided) };
        let stop = workspace.halt_of(&answer.event);
        if stop.is_none() && !workspace.is_killed() {
            return Ok(decided);
        }
        if let Some(permit) = view.permit.take() {
            let unsent = Unsent {
                decision: answer.event.decision,
                index: answer.index,
                permit: permit.id,
                own: is_governed(&answer.event.surface),
            };
            let revoke = Command::RevokePermit(RevokePermit { permits: vec![unsent], stop });
            view.state = PermitState::Revoked;
            self.submit(workspace.no, revoke, Payload::empty()).await?;
        }
        Ok(decided)
    }

    /// The answer to a request whose key is bound: the decision's present state, or a conflict.
    async fn repeat(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        index: u64,
        digests: &Digests,
        nonce: Option<Digest>,
    ) -> Result<Decided, PlaneError> {
        let opened = self.open(workspace, index)?;
        let Event::Decision(event) = &opened.entry.event else {
            return Err(PlaneError::Internal(format!("entry {index} is no decision")));
        };
        if opened.keys.commit(SaltFor::Request, &digests.request.0) != event.request_commitment {
            return Err(PlaneError::IdempotencyConflict { decision: event.decision });
        }
        let mut answer = self.present(workspace, index, &opened, nonce).await?;
        answer.replayed = true;
        let answer = withheld(workspace, answer);
        if let Some(collected) = self.try_collect(workspace, principal, &answer, nonce).await? {
            return Ok(Decided {
                answer: withheld(workspace, DecisionAnswer { replayed: true, ..collected }),
                written: None,
            });
        }
        Ok(Decided { answer, written: None })
    }

    /// A decision as it stands. With `wait_until` and while it is held, waits for its approval.
    /// With a nonce, the proposer of an approved action collects its permit.
    ///
    /// # Errors
    /// [`PlaneError`]; unknown and foreign decisions alike are not found.
    pub async fn decision(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        id: DecisionId,
        nonce: Option<Digest>,
        wait: std::time::Duration,
    ) -> Result<DecisionAnswer, PlaneError> {
        let index = self.locate(workspace, id)?;
        let opened = self.open_or_entry(workspace, index)?;
        let (mut approvals, mut stops) = (workspace.watch_approvals(), workspace.stops.subscribe());
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let give_up = self.clock.monotonic_ms().saturating_add(wait);
        let who = self.who(workspace, principal);
        let mut place = None;
        loop {
            approvals.mark_unchanged();
            let answer = match &opened {
                Ok(opened) => self.present(workspace, index, opened, nonce).await?,
                Err(entry) => self.present_entry(workspace, index, entry, None, nonce).await?,
            };
            self.may_see(workspace, principal, &answer).await?;
            let collected = self.try_collect(workspace, principal, &answer, nonce).await?;
            let answer = withheld(workspace, collected.unwrap_or(answer));
            let pending = answer.hold.as_ref().filter(|held| held.state == HeldState::Pending);
            let left = give_up.saturating_sub(self.clock.monotonic_ms());
            let Some(held) = pending.filter(|_| left > 0) else { return Ok(answer) };
            // Whoever completes the approval takes the permit along for the one who waits. A bundle is
            // released by whoever approves it.
            let released = arming_of(&answer.event.surface, &answer.event.action).is_some();
            if let Some(nonce) = nonce.filter(|_| place.is_none() && !released)
                && held.actor == who.actor
                // With any other key it collects for itself, and is looked at for what it may do.
                && answer.event.key == who.key
            {
                place = workspace.waiting.enter(held.approval, who.clone(), nonce);
            }
            // Whichever comes first, the state is looked at again.
            let left = std::time::Duration::from_millis(left);
            let waits = workspace.callers.enter(&answer.event);
            let changed = async {
                tokio::select! {
                    biased;
                    _ = stops.changed() => true,
                    _ = approvals.changed() => false,
                }
            };
            // A kill is told at once, and without another look: the store may be what is stuck.
            let killed = in_time(self.clock.as_ref(), left, changed).await == Some(true);
            drop(waits);
            if killed && workspace.stops_all_of(&answer.event) {
                return Ok(withheld(workspace, answer));
            }
        }
    }

    /// Consumes a permit as the gate it names.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn consume(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        id: DecisionId,
        nonce: Option<Digest>,
    ) -> Result<DecisionAnswer, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let index = self.locate(workspace, id)?;
        let opened = self.open(workspace, index)?;
        let command = Command::Consume(Consume {
            decision: id,
            index,
            who: self.who(workspace, principal),
            nonce,
            prior: decision_of(&opened.entry)?,
        });
        let done = self.submit(workspace.no, command, self.payload(Object::new())?).await?;
        let held = self.look(workspace.no, move |state| state.approval_of(id).cloned());
        let collected = match held.await?.map(|held| held.state) {
            Some(HeldState::Consumed(permit)) => Some(permit),
            _ => None,
        };
        let mut answer = self.present(workspace, index, &opened, nonce).await?;
        // The looks above take turns of their own, in which a kill may have been acknowledged.
        let state = answer.permit.as_ref().map(|permit| permit.state);
        answer.permit = Some(if done.revoked || state == Some(PermitState::Revoked) {
            PermitView { state: PermitState::Revoked, permit: None }
        } else {
            let permit = answer.event.permit.clone().or(collected);
            PermitView { state: PermitState::Granted, permit }
        });
        Ok(withheld(workspace, answer))
    }

    /// Records how an action went.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn report(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        id: DecisionId,
        result: ReportedResult,
        detail: Object,
    ) -> Result<DecisionAnswer, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let index = self.locate(workspace, id)?;
        let (entry, _) = self.entry(workspace, index)?;
        let command = Command::Report(Box::new(Report {
            index,
            prior: decision_of(&entry)?,
            who: self.who(workspace, principal),
            result,
        }));
        // Nothing new is kept about what was erased.
        let erased = self.look(workspace.no, move |state| state.is_erased(index)).await?;
        let detail = if erased { Object::new() } else { detail };
        self.submit(workspace.no, command, self.payload(detail)?).await?;
        match self.open_or_entry(workspace, index)? {
            Ok(opened) => self.present(workspace, index, &opened, None).await,
            Err(entry) => self.present_entry(workspace, index, &entry, None, None).await,
        }
    }

    pub(crate) fn who(&self, workspace: &Workspace, principal: &Principal) -> Who {
        Who {
            actor: workspace.actor_ref(&principal.caller.actor),
            key: principal.key,
            roles: workspace.halts.left_of(&principal.caller.roles),
        }
    }

    pub(crate) fn id<K: IdKind>(&self, time: TimeMs) -> Id<K> {
        let mut random = [0; 10];
        self.host.fill(&mut random);
        Id::new(time, random)
    }

    /// Three ids from one draw of randomness.
    fn fresh_ids(&self, time: TimeMs) -> (DecisionId, ApprovalId, PermitId) {
        let mut random = [[0; 10]; 3];
        self.host.fill(random.as_flattened_mut());
        let [decision, approval, permit] = random;
        (Id::new(time, decision), Id::new(time, approval), Id::new(time, permit))
    }

    /// Seals the payload of an event that is no decision.
    pub(crate) fn payload(&self, plain: Object) -> Result<Payload, PlaneError> {
        let slot = self.pool.take().map_err(PlaneError::StoreFailed)?;
        let keys = SlotKeys::new(&slot.secret);
        Ok(seal(&keys, slot.no, Value::Object(plain).to_canonical()))
    }

    pub(crate) async fn present(
        &self,
        workspace: &Workspace,
        index: u64,
        opened: &Opened,
        nonce: Option<Digest>,
    ) -> Result<DecisionAnswer, PlaneError> {
        let (request, caller) = reread(&opened.payload)?;
        let digests = request.digests::<Fast>(&caller);
        self.present_entry(workspace, index, &opened.entry, Some(digests), nonce).await
    }

    pub(crate) async fn present_entry(
        &self,
        workspace: &Workspace,
        index: u64,
        entry: &Entry,
        digests: Option<Digests>,
        nonce: Option<Digest>,
    ) -> Result<DecisionAnswer, PlaneError> {
        let event = decision_of(entry)?;
        let (id, scopes) = (event.decision, event.scopes());
        let under = event.exception.as_ref().map(|passage| passage.exception);
        let look = move |state: &State| state.status(id, index, &scopes, under);
        let status = self.look(workspace.no, look).await?;
        self.presented(index, entry, digests, nonce, status)
    }

    /// The same where state was asked already.
    pub(crate) fn presented(
        &self,
        index: u64,
        entry: &Entry,
        digests: Option<Digests>,
        nonce: Option<Digest>,
        status: Status,
    ) -> Result<DecisionAnswer, PlaneError> {
        let event = decision_of(entry)?;
        let now = self.clock.wall();
        let permit = later_permit(&event, &status, nonce, now);
        let executed =
            event.permit.as_ref().is_some_and(|permit| permit.consumed) || status.consumed_later;
        Ok(DecisionAnswer {
            time: entry.time,
            index,
            digests,
            replayed: false,
            permit,
            outcome_unknown: executed && !status.reported && !status.revoked,
            reported: status.reported,
            erased: status.erased,
            hold: status.held,
            event,
        })
    }
}

/// A kill that is being written withholds the permit of an answer that has not left.
fn withheld(workspace: &Workspace, mut answer: DecisionAnswer) -> DecisionAnswer {
    if let Some(permit) = &mut answer.permit
        && permit.permit.is_some()
        && workspace.stops_all_of(&answer.event)
    {
        *permit = PermitView { state: PermitState::Revoked, permit: None };
    }
    answer
}

/// SHA-256 of an attempt's nonce: what entries hold of it.
#[must_use]
pub fn nonce_hash(nonce: &str) -> Digest {
    Digest(Fast::sha256(&[nonce.as_bytes()]))
}

fn fresh(done: Done, digests: Digests) -> Result<Decided, PlaneError> {
    let lost = || PlaneError::Internal("a decision left no entry".to_owned());
    let written = done.written.ok_or_else(lost)?;
    let at = written.range.start;
    let entry = written.batch.entries.get(at).ok_or_else(lost)?;
    let event = decision_of(entry)?;
    let permit = fresh_permit(&event, done.revoked);
    let answer = DecisionAnswer {
        time: entry.time,
        index: written.batch.first_index + at as u64,
        digests: Some(digests),
        replayed: false,
        permit,
        hold: None,
        reported: false,
        erased: false,
        outcome_unknown: false,
        event,
    };
    Ok(Decided { answer, written: Some(written) })
}

pub(crate) fn decision_of(
    entry: &Entry,
) -> Result<Arc<placet_types::event::DecisionEvent>, PlaneError> {
    match &entry.event {
        Event::Decision(event) => Ok(event.clone()),
        _ => Err(PlaneError::NotFound("decision")),
    }
}
