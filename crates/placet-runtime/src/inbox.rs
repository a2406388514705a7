//! Approvals as people read them: one, those that wait for somebody, all there ever were. Owns what a page costs;
//! refuses to know how anything is decided.

use crate::answer::DecisionAnswer;
use crate::error::PlaneError;
use crate::plane::{Plane, Principal};
use crate::rendering::Rendering;
use crate::workspace::Workspace;
use placet_engine::{Held, State, Status, Viewer, Who};
use placet_types::ids::{ApprovalId, DecisionId};
use placet_types::json::{Object, Value};
use std::sync::Arc;

/// Most approvals that one look at the state goes through: the sequencer waits meanwhile.
const LOOK_MAX: usize = 1024;
/// Looks of one call; whoever wants more asks for the next page.
const LOOKS_MAX: usize = 16;

/// A page of requests ends behind the one with which they weigh more, in bytes as they lie in memory, about.
const PAGE_WEIGHT: usize = 1 << 20;
/// So many are taken apart for people at once.
const SHOWN_AT_ONCE: usize = 2;

pub(crate) fn places() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(SHOWN_AT_ONCE))
}

/// An approval, the decision it belongs to, and what people are shown unless it was erased.
pub type HeldView = (Held, DecisionAnswer, Option<Shown>);

/// A held request as people are shown it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The payload: facts and request.
    pub payload: Object,
    /// Every field of it, checked against the entry.
    pub rendering: Rendering,
}

/// What the parts of a request weigh.
fn weight_of(object: &Object) -> usize {
    fn of(value: &Value) -> usize {
        let within = match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(of).sum(),
            Value::Object(object) => weight_of(object),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        };
        16 + within
    }
    object.iter().map(|(key, value)| key.len() + of(value)).sum()
}

impl Plane {
    /// An approval and the decision it belongs to.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn approval(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        id: ApprovalId,
    ) -> Result<HeldView, PlaneError> {
        let held = self.held(workspace, id).await?;
        self.held_view(workspace, held).await
    }

    /// The approval that a decision waits or waited for.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn approval_of(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        decision: DecisionId,
    ) -> Result<HeldView, PlaneError> {
        let held = self
            .look(workspace.no, move |state| state.approval_of(decision).map(|it| state.shown(it)))
            .await?;
        self.held_view(workspace, held.ok_or(PlaneError::NotFound("approval"))?).await
    }

    /// The pending approvals that a reader may see, from `after` on, oldest first, and after which one there may
    /// be more. What it costs does not depend on how many wait. A page is short where requests are large.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn inbox(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        viewer: Viewer,
        after: Option<ApprovalId>,
        limit: usize,
    ) -> Result<(Vec<HeldView>, Option<ApprovalId>), PlaneError> {
        let now = self.clock.wall();
        let held: Vec<Held> = self
            .look(workspace.no, move |state| {
                let found = state.inbox(&viewer, after, limit, now);
                found.into_iter().map(|it| state.shown(it)).collect()
            })
            .await?;
        let last = held.last().filter(|_| held.len() == limit).map(|it| it.approval);
        self.held_views(workspace, held, last).await
    }

    /// Who looks at the approvals of a workspace.
    #[must_use]
    pub fn viewer(&self, workspace: &Workspace, principal: &Principal, oversees: bool) -> Viewer {
        let Who { actor, roles, .. } = self.who(workspace, principal);
        Viewer { actor: Some(actor), roles, oversees }
    }

    /// Approvals from `after` on that a reader may see, final ones included, oldest first, and after which
    /// one there may be more. Nothing of the others is read; one whose payload cannot be read comes without
    /// it, as an erased one does. A page may be short, or empty, though there is more: no single call looks
    /// at all that there ever was.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn approvals_of(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        viewer: Viewer,
        after: Option<ApprovalId>,
        limit: usize,
    ) -> Result<(Vec<HeldView>, Option<ApprovalId>), PlaneError> {
        let now = self.clock.wall();
        let mut after = after;
        let mut kept: Vec<Held> = Vec::new();
        for _ in 0..LOOKS_MAX {
            let (viewer, room) = (viewer.clone(), limit.saturating_sub(kept.len()));
            let (found, last) = self
                .look(workspace.no, move |state| {
                    let viewer = state.viewing(&viewer, now);
                    let mut found = Vec::new();
                    let mut seen = state.approvals(after).take(LOOK_MAX);
                    let mut last = None;
                    while found.len() < room {
                        let Some(held) = seen.next() else { break };
                        last = Some(held.approval);
                        if viewer.sees(held) {
                            found.push(state.shown(held));
                        }
                    }
                    (found, last)
                })
                .await?;
            kept.extend(found);
            after = last;
            if after.is_none() || kept.len() >= limit {
                break;
            }
        }
        self.held_views(workspace, kept, after).await
    }

    /// Whether a reader may see an approval.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn sees(
        &self,
        workspace: &Workspace,
        viewer: Viewer,
        approval: ApprovalId,
    ) -> Result<bool, PlaneError> {
        let now = self.clock.wall();
        self.look(workspace.no, move |state| {
            state.approval(approval).is_some_and(|held| state.may_see(&viewer, held, now))
        })
        .await
    }

    /// What is known of several, asked of the state at once, and after which one there may be more: after `last`,
    /// or before where the page is full. One whose payload cannot be read comes without it, as an erased one does.
    async fn held_views(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        all: Vec<Held>,
        last: Option<ApprovalId>,
    ) -> Result<(Vec<HeldView>, Option<ApprovalId>), PlaneError> {
        let asked = |held: &Held| (held.decision, held.index, held.scopes.clone(), held.exception);
        let asked: Vec<_> = all.iter().map(asked).collect();
        let known = self.look(workspace.no, move |state| {
            let status = asked
                .iter()
                .map(|(id, index, scopes, under)| state.status(*id, *index, scopes, *under));
            status.collect::<Vec<_>>()
        });
        let known = known.await?;
        self.shown(workspace, move |plane, workspace| {
            let mut out: Vec<HeldView> = Vec::with_capacity(all.len());
            let mut weight = 0;
            for (held, status) in all.into_iter().zip(known) {
                if weight > PAGE_WEIGHT {
                    let last = out.last().map(|(held, ..)| held.approval);
                    return Ok((out, last));
                }
                let (id, index) = (held.approval, held.index);
                let seen = match plane.view(workspace, held.clone(), status.clone()) {
                    Err(
                        error @ (PlaneError::Internal(_)
                        | PlaneError::StoreFailed(_)
                        | PlaneError::Damaged(_)),
                    ) => {
                        let (entry, _) = plane.entry(workspace, index)?;
                        let text = format_args!("{id} is shown without its arguments: {error}");
                        plane.host.say(text);
                        (held, plane.presented(index, &entry, None, None, status)?, None)
                    }
                    seen => seen?,
                };
                weight += seen.2.as_ref().map_or(0, |shown| weight_of(&shown.payload));
                out.push(seen);
            }
            Ok((out, last))
        })
        .await
    }

    async fn held_view(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        held: Held,
    ) -> Result<HeldView, PlaneError> {
        let (id, index, scopes) = (held.decision, held.index, held.scopes.clone());
        let under = held.exception;
        let look = move |state: &State| state.status(id, index, &scopes, under);
        let status = self.look(workspace.no, look).await?;
        self.shown(workspace, move |plane, workspace| plane.view(workspace, held, status)).await
    }

    /// Takes requests apart for people: off the threads that decide, and few at once, whoever asks and however
    /// large they are.
    async fn shown<T: Send + 'static>(
        self: &Arc<Self>,
        workspace: &Arc<Workspace>,
        read: impl FnOnce(&Self, &Workspace) -> Result<T, PlaneError> + Send + 'static,
    ) -> Result<T, PlaneError> {
        let place = self.showing.clone().acquire_owned().await;
        let place = place.map_err(|_| PlaneError::ShuttingDown)?;
        let (plane, workspace) = (self.clone(), workspace.clone());
        let read = move || {
            // It goes on though whoever asked may have gone; so does its place.
            let _place = place;
            read(&plane, &workspace)
        };
        self.host.blocking(read).await
    }

    fn view(
        &self,
        workspace: &Workspace,
        held: Held,
        status: Status,
    ) -> Result<HeldView, PlaneError> {
        let index = held.index;
        match self.open_or_entry(workspace, index)? {
            Ok(opened) => {
                let rendering = Rendering::of(&opened, workspace.bundle().as_deref())?;
                let digests = Some(rendering.digests);
                let answer = self.presented(index, &opened.entry, digests, None, status)?;
                Ok((held, answer, Some(Shown { payload: opened.payload, rendering })))
            }
            Err(entry) => {
                let answer = self.presented(index, &entry, None, None, status)?;
                Ok((held, answer, None))
            }
        }
    }
}
