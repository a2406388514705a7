//! Payloads that go: finding what may be erased, saying so in the log, destroying the keys, and what
//! retention asks for by itself. Owns the order of these steps; the engine owns what is refused.
//!
//! INVARIANT: a key is destroyed only after the entry that says so is durable, and entries are
//! worked off in the order of the log. So one index tells how far it has come, and a crash in
//! between is made good at the next start.

use crate::error::PlaneError;
use crate::frame::frames;
use crate::plane::{Plane, Principal, decision_of};
use crate::ports::{AuditFilter, JournalReader, PortError, Slots, WorkspaceNo};
use crate::reading::store;
use crate::seeking::EVENTS_MAX;
use crate::sequencer::Payload;
use crate::workspace::Workspace;
use placet_engine::{Command, Erase, Rejection, Target};
use placet_policy::Bundle;
use placet_types::Digest;
use placet_types::event::{DecisionEvent, Event, Tag};
use placet_types::hash::hex_encode;
use placet_types::ids::{DecisionId, TimeMs};
use placet_types::json::{Object, Value};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Decisions that are looked at in one step.
const PAGE: usize = 128;
/// Pages of one surface that retention works off before it turns to the next.
const PAGES_MAX: usize = 64;
/// Classified again when a hold or a bundle came in between.
const MOVED_MAX: usize = 3;
/// How often what retention asks for is looked for, and how often destroying is tried again.
const RETIRE_MS: u64 = 60_000;
const RETRY: Duration = Duration::from_secs(5);

/// Payloads that the entry at `index` says are erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    pub(crate) index: u64,
    pub(crate) entries: Vec<u64>,
}

/// What erasing keeps in memory.
#[derive(Default)]
pub(crate) struct Privacy {
    destroying: tokio::sync::Mutex<()>,
    retired: Mutex<HashMap<(WorkspaceNo, String), Retired>>,
    /// A former signing key could not be destroyed yet.
    pub(crate) seeds_left: AtomicBool,
}

/// How far retention has come on a surface, under which bundle and which legal holds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Retired {
    policy: Digest,
    holds: u64,
    cursor: u64,
}

/// Whose payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those of one decision: its request, the notes of its votes, the detail of its report.
    Decision(DecisionId),
    /// Those of all decisions that name this subject.
    Subject(Tag),
    /// Those of all decisions before this instant.
    Before(TimeMs),
}

/// What to erase and why.
#[derive(Clone, Debug)]
pub struct EraseSpec {
    /// What.
    pub selection: Selection,
    /// Code of the legal basis.
    pub reason: String,
}

/// What erasing comes to, or would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasePlan {
    /// Decisions that were found.
    pub decisions: u64,
    /// Payloads that are erased by it.
    pub payloads: u64,
    /// Payloads that a legal hold keeps.
    pub legal_hold: u64,
    /// Payloads whose retention runs.
    pub retention: u64,
    /// Payloads that were erased before.
    pub erased_before: u64,
    /// Held actions that were withdrawn.
    pub withdrawn: u64,
    /// Open permits that were revoked.
    pub revoked: u64,
    /// Indices of the entries that say so.
    pub entries: Vec<u64>,
    /// One hold or instant that keeps something, for whoever asks why.
    pub kept: Option<Rejection>,
    /// Whether the keys are destroyed: if not yet, it is tried again and again.
    pub destroyed: bool,
}

impl ErasePlan {
    fn keeps(&mut self, rejection: Rejection) {
        match rejection {
            Rejection::LegalHold(_) => self.legal_hold += 1,
            _ => self.retention += 1,
        }
        self.kept.get_or_insert(rejection);
    }
}

impl Plane {
    /// The request that stands for erasing, as the constitution governs it. It names a subject by
    /// its tag: a request to forget somebody must not remember them.
    #[must_use]
    pub fn erase_request(spec: &EraseSpec, idempotency_key: String, nonce: String) -> Value {
        let arguments = match spec.selection {
            Selection::Decision(id) => Object::new().with("decision", id.to_string()),
            Selection::Subject(tag) => Object::new().with("subject", hex_encode(&tag)),
            Selection::Before(time) => Object::new().with("before", time.rfc3339().to_string()),
        };
        let arguments = arguments.with("reason", spec.reason.as_str());
        governed("override.erase", "erase", arguments, idempotency_key, nonce)
    }

    /// What erasing would come to now. Changes nothing.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn plan_erase(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        spec: &EraseSpec,
    ) -> Result<ErasePlan, PlaneError> {
        let mut plan = ErasePlan::default();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let page = self.page(workspace, spec.selection, from).await?;
            cursor = page.next;
            let found = self.targets(workspace, page.decisions, &spec.reason).await?;
            plan.decisions += found.decisions;
            let free = self.classify(workspace, &found.targets, &mut plan).await?;
            plan.payloads += free.len() as u64;
        }
        Ok(plan)
    }

    /// Erases under the permit of `decision` on surface `override.erase`. What a hold or retention
    /// keeps is left out and counted. When this returns, the entries are durable and, unless it
    /// says otherwise, the keys are destroyed.
    ///
    /// # Errors
    /// [`PlaneError`]; what was erased until then stays erased.
    pub async fn erase(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        spec: &EraseSpec,
        decision: DecisionId,
    ) -> Result<ErasePlan, PlaneError> {
        let mut plan = ErasePlan::default();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let page = self.page(workspace, spec.selection, from).await?;
            cursor = page.next;
            let by = Some((principal, decision));
            self.erase_page(workspace, page.decisions, &spec.reason, by, &mut plan).await?;
        }
        plan.destroyed = self.destroyed(workspace).await;
        Ok(plan)
    }

    /// Whether the keys of everything that the log says is erased are destroyed, after trying once
    /// more.
    pub async fn destroyed(&self, workspace: &Workspace) -> bool {
        self.destroy(workspace).await.is_ok()
    }

    /// Erases what retention asks for in every workspace: a bounded part of it, each batch a logged
    /// event. Returns how many payloads went.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn erase_due(self: &Arc<Self>) -> Result<u64, PlaneError> {
        let (mut gone, mut refused) = (0, None);
        for workspace in self.all_workspaces() {
            match self.erase_due_in(&workspace).await {
                Ok(more) => gone += more,
                // A workspace that is killed keeps what it has; the others have their turn.
                Err(PlaneError::Rejected(Rejection::Killed(_))) => {}
                Err(error) => drop(refused.get_or_insert(error)),
            }
        }
        match refused {
            None => Ok(gone),
            Some(error) => Err(error),
        }
    }

    async fn erase_due_in(self: &Arc<Self>, workspace: &Arc<Workspace>) -> Result<u64, PlaneError> {
        let mut gone = 0;
        let Some(bundle) = workspace.bundle() else { return Ok(gone) };
        for (surface, age_ms) in bundle.retired() {
            gone += self.retire_surface(workspace, &bundle, surface, age_ms).await?;
        }
        self.destroy(workspace).await?;
        Ok(gone)
    }

    /// Runs until the plane stops: what retention asks for, and what could not be destroyed yet.
    pub(crate) async fn retire(self: Arc<Self>) {
        let mut due = self.clock.monotonic_ms();
        loop {
            self.clock.sleep(RETRY).await;
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            for workspace in self.all_workspaces() {
                if let Err(error) = self.destroy(&workspace).await {
                    self.host.say(format_args!("erased payloads are not destroyed yet: {error}"));
                }
            }
            if self.privacy.seeds_left.load(Ordering::SeqCst) {
                // A rotation has made a key that no log names yet: it must not go.
                let _one = self.creating.lock().await;
                if self.arm().await.is_ok() && self.forget_signers().is_ok() {
                    self.privacy.seeds_left.store(false, Ordering::SeqCst);
                }
            }
            let now = self.clock.monotonic_ms();
            if now < due || self.not_ready().is_some() {
                continue;
            }
            due = now.saturating_add(RETIRE_MS);
            match self.erase_due().await {
                Ok(_) => {}
                Err(error) => {
                    self.host.say(format_args!("retention could not be applied: {error}"));
                }
            }
        }
    }

    /// Decisions of a selection from an index on, in the order of the log.
    async fn page(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        selection: Selection,
        from: u64,
    ) -> Result<Page, PlaneError> {
        let (plane, workspace) = (self.clone(), workspace.clone());
        self.host
            .blocking(move || {
                // What is not found would stay and be said to be gone.
                plane.searchable(&workspace)?;
                let filter = AuditFilter {
                    event_type: Some("decision".to_owned()),
                    cursor: Some(from),
                    ascending: true,
                    limit: PAGE,
                    ..AuditFilter::default()
                };
                let filter = match selection {
                    Selection::Decision(id) => {
                        let decisions = vec![plane.locate(&workspace, id)?];
                        return Ok(Page { decisions, next: None });
                    }
                    Selection::Subject(tag) => AuditFilter { subject: Some(tag), ..filter },
                    Selection::Before(time) => AuditFilter { until: Some(time), ..filter },
                };
                let found = plane.audit_now(&workspace, &filter)?;
                let next = (found.len() == PAGE).then(|| found.last().map(|last| last.index + 1));
                let decisions = found.into_iter().map(|entry| entry.index).collect();
                Ok(Page { decisions, next: next.flatten() })
            })
            .await
    }

    /// Everything beside the entries of these decisions, with what decides whether it may go.
    async fn targets(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        decisions: Vec<u64>,
        reason: &str,
    ) -> Result<Found, PlaneError> {
        let (plane, workspace, reason) = (self.clone(), workspace.clone(), reason.to_owned());
        self.host
            .blocking(move || {
                // What it says of retention is not known: nothing is erased on its behalf.
                if let Some((digest, _)) = &workspace.in_force().lost {
                    return Err(PlaneError::BundleLost(*digest));
                }
                let bundle = workspace.bundle();
                let mut targets = Vec::new();
                for index in &decisions {
                    let (entry, _) = plane.entry(&workspace, *index)?;
                    let event = decision_of(&entry)?;
                    let (keep_until, lawful) = kept(bundle.as_deref(), &event, entry.time, &reason);
                    for about in plane.events_of(&workspace, event.decision, EVENTS_MAX, &[])? {
                        if plane.slot_at(&workspace, about.index)?.is_some() {
                            targets.push(Target {
                                index: about.index,
                                decision: event.decision,
                                subjects: event.subjects.clone(),
                                keep_until,
                                lawful,
                            });
                        }
                    }
                }
                let policy = bundle.map(|bundle| bundle.digest());
                Ok(Found { decisions: decisions.len() as u64, targets, policy })
            })
            .await
    }

    /// Those of the targets that may go; the others are counted.
    async fn classify(
        &self,
        workspace: &Workspace,
        targets: &[Target],
        plan: &mut ErasePlan,
    ) -> Result<Vec<Target>, PlaneError> {
        let (asked, now) = (targets.to_vec(), self.clock.wall());
        let seen = self.look(workspace.no, move |state| {
            let now = now.max(state.time());
            let see = |target: Target| {
                let erased = state.is_erased(target.index);
                (erased, state.may_erase(&target, now), target)
            };
            asked.into_iter().map(see).collect::<Vec<_>>()
        });
        let mut free = Vec::new();
        for (erased, may, target) in seen.await? {
            match may {
                _ if erased => plan.erased_before += 1,
                Ok(()) => free.push(target),
                Err(rejection) => plan.keeps(rejection),
            }
        }
        Ok(free)
    }

    async fn erase_page(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        decisions: Vec<u64>,
        reason: &str,
        by: Option<(&Principal, DecisionId)>,
        plan: &mut ErasePlan,
    ) -> Result<(), PlaneError> {
        for _ in 0..MOVED_MAX {
            let found = self.targets(workspace, decisions.clone(), reason).await?;
            let mut step = ErasePlan::default();
            let free = self.classify(workspace, &found.targets, &mut step).await?;
            let count = free.len() as u64;
            if count > 0 {
                let command = Command::Erase(Box::new(Erase {
                    by: by.map(|(principal, _)| self.who(workspace, principal)),
                    decision: by.map(|(_, decision)| decision),
                    reason: reason.to_owned(),
                    policy: found.policy,
                    targets: free,
                }));
                let payload = match by {
                    Some((principal, _)) => self.actor_payload(Some(principal))?,
                    None => Payload::empty(),
                };
                let done = match self.submit(workspace.no, command, payload).await {
                    Err(PlaneError::PolicyMoved)
                    | Err(PlaneError::Rejected(
                        Rejection::LegalHold(_) | Rejection::RetentionRunning(_),
                    )) => continue,
                    done => done?,
                };
                for (index, event) in done.written.iter().flat_map(|written| written.events()) {
                    match event {
                        Event::PayloadErased(_) => plan.entries.push(index),
                        Event::ApprovalClosed(_) => plan.withdrawn += 1,
                        Event::PermitRevoked(_) => plan.revoked += 1,
                        _ => {}
                    }
                }
            }
            plan.decisions += found.decisions;
            plan.payloads += count;
            plan.legal_hold += step.legal_hold;
            plan.retention += step.retention;
            plan.erased_before += step.erased_before;
            plan.kept = plan.kept.take().or(step.kept);
            return Ok(());
        }
        Err(PlaneError::PolicyMoved)
    }

    /// Destroys the keys of everything that the log says is erased, in its order.
    pub(crate) async fn destroy(&self, workspace: &Workspace) -> Result<(), PlaneError> {
        let _order = self.privacy.destroying.lock().await;
        while let Some(doomed) = workspace.next_doomed() {
            let mut slots = Vec::with_capacity(doomed.entries.len());
            for index in &doomed.entries {
                slots.extend(self.slot_at(workspace, *index)?);
            }
            self.pool
                .erase(workspace.no, doomed.index, slots)
                .await
                .map_err(|error| PlaneError::StoreFailed(error.to_string()))?;
            workspace.destroyed();
        }
        Ok(())
    }

    async fn retire_surface(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        bundle: &Bundle,
        surface: &str,
        age_ms: u64,
    ) -> Result<u64, PlaneError> {
        if self.searchable(workspace).is_err() {
            return Ok(0);
        }
        let place = (workspace.no, surface.to_owned());
        let holds = self.summary(workspace.no).await?.legal_holds_version;
        let policy = bundle.digest();
        // What a hold kept has its turn again after it, so a change of the holds starts anew.
        let known = self.retired().get(&place).copied();
        let mut cursor = known
            .filter(|known| known.policy == policy && known.holds == holds)
            .map_or(0, |known| known.cursor);
        let until = TimeMs(self.clock.wall().0.saturating_sub(age_ms).saturating_add(1));
        let mut plan = ErasePlan::default();
        for _ in 0..PAGES_MAX {
            let filter = AuditFilter {
                event_type: Some("decision".to_owned()),
                surface: Some(surface.to_owned()),
                until: Some(until),
                cursor: Some(cursor),
                ascending: true,
                limit: PAGE,
                ..AuditFilter::default()
            };
            let (plane, no) = (self.clone(), workspace.no);
            let query = move || plane.model.query(no, &filter).map_err(store);
            let found = self.host.blocking(query).await?;
            let Some(last) = found.last().copied() else { break };
            let full = found.len() == PAGE;
            let left = self.look(workspace.no, move |state| {
                found.into_iter().filter(|index| !state.is_erased(*index)).collect::<Vec<_>>()
            });
            let left = left.await?;
            if !left.is_empty() {
                self.erase_page(workspace, left, "retention", None, &mut plan).await?;
            }
            cursor = last + 1;
            self.retired().insert(place.clone(), Retired { policy, holds, cursor });
            if !full {
                break;
            }
        }
        Ok(plan.payloads)
    }

    fn retired(&self) -> std::sync::MutexGuard<'_, HashMap<(WorkspaceNo, String), Retired>> {
        self.privacy.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decisions, and where the next page begins.
struct Page {
    decisions: Vec<u64>,
    next: Option<u64>,
}

/// What lies beside some decisions.
struct Found {
    decisions: u64,
    targets: Vec<Target>,
    policy: Option<Digest>,
}

/// Until when the surface keeps a payload, and whether the reason is lawful before that.
fn kept(
    bundle: Option<&Bundle>,
    event: &DecisionEvent,
    time: TimeMs,
    reason: &str,
) -> (Option<TimeMs>, bool) {
    let retention = bundle.map(|bundle| bundle.retention(&event.surface)).unwrap_or_default();
    (retention.min_ms.map(|ms| time.plus(ms)), retention.lawful.contains(reason))
}

pub(crate) fn governed(
    surface: &str,
    action: &str,
    arguments: Object,
    idempotency_key: String,
    nonce: String,
) -> Value {
    let request = Object::new()
        .with("surface", surface)
        .with("action", action)
        .with("idempotency_key", idempotency_key)
        .with("arguments", arguments)
        .with("attempt_nonce", nonce);
    Value::Object(request)
}

/// Destroys what the log says is erased and a crash, or a restored older copy of the keys, has
/// left: before anything is served.
pub(crate) fn finish(
    slots: &mut dyn Slots,
    reader: &dyn JournalReader,
    no: WorkspaceNo,
    doomed: &[Doomed],
) -> Result<(), PortError> {
    if doomed.is_empty() {
        return Ok(());
    }
    let upto = slots.erased_upto(no)?;
    for doomed in doomed.iter().filter(|doomed| upto.is_none_or(|upto| doomed.index > upto)) {
        let mut found = Vec::with_capacity(doomed.entries.len());
        for index in &doomed.entries {
            found.extend(slot_in(reader, no, *index)?);
        }
        slots.erase(no, doomed.index, &found)?;
    }
    Ok(())
}

fn slot_in(
    reader: &dyn JournalReader,
    no: WorkspaceNo,
    index: u64,
) -> Result<Option<u64>, PortError> {
    let lost = || PortError::new(format_args!("entry {index} is missing from the journal"));
    let batch = reader.read(no, index, 1)?.into_iter().next().ok_or_else(lost)?;
    let at = index.checked_sub(batch.first_index).and_then(|at| usize::try_from(at).ok());
    let frame = at.and_then(|at| frames(&batch.frames).nth(at)).ok_or_else(lost)?;
    let frame = frame.map_err(PortError::new)?;
    Ok((!frame.payload.is_empty()).then_some(frame.slot))
}
