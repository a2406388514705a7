//! Held decisions seen from outside: looking at approvals, voting, collecting, withdrawing.

use crate::answer::{DecisionAnswer, PermitState, PermitView};
use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::frame::SaltFor;
use crate::plane::{MOVED_MAX, Opened, PERMIT_MS, Plane, Principal};
use crate::proposal::{evaluate, reread};
use crate::seeking::EVENTS_MAX;
use crate::sequencer::{Outstanding, Written};
use crate::workspace::Workspace;
use placet_engine::{
    Brought, Collect, Command, Held, HeldState, Lends, Rejection, State, Vote, Waiting,
};
use placet_policy::evidence_of;
use placet_types::event::{ApprovalVoted, Event, Tag, VoteChannel};
use placet_types::ids::{ApprovalId, DecisionId, TimeMs};
use placet_types::json::Object;
use placet_types::policy::Verdict;
use placet_types::{Caller, Digest};
use std::sync::Arc;

/// What somebody says to a held decision.
#[derive(Clone, Copy, Debug)]
pub struct Ballot<'a> {
    /// Which.
    pub approval: ApprovalId,
    /// Yes or no.
    pub approve: bool,
    /// The digest of the action that was seen; it may be left out in development mode alone.
    pub echo: Option<Digest>,
    /// A word to it; kept beside the entry.
    pub note: Option<&'a str>,
    /// The channel it came through; then the principal has no key and no roles of its own.
    pub via: Option<VoteChannel>,
}

/// A vote as its entry and its payload tell it.
#[derive(Clone, Debug)]
pub struct CastVote {
    /// Log index.
    pub index: u64,
    /// When.
    pub time: TimeMs,
    /// The entry.
    pub event: ApprovalVoted,
    /// Who; `None` once erased.
    pub by: Option<String>,
    /// Why, where the voter said so and it was not erased.
    pub note: Option<String>,
    /// What was approved has changed since, so it counts no more.
    pub dropped: bool,
}

/// What became of a held decision.
#[derive(Clone, Debug)]
pub struct Course {
    /// Where its approval stands, in the words of the APIs.
    pub state: &'static str,
    /// All votes, oldest first.
    pub votes: Vec<CastVote>,
}

/// The approval and decision that an event is about, and where it leaves the approval, in the words
/// of the APIs.
#[must_use]
pub fn approval_after(event: &Event) -> Option<(ApprovalId, DecisionId, &'static str)> {
    Some(match event {
        Event::Decision(event) => (event.approval.as_ref()?.id, event.decision, "pending"),
        Event::ApprovalVoted(event) => {
            let state = match (event.approve, event.complete) {
                (false, _) => "rejected",
                (true, false) => "pending",
                (true, true) => "approved",
            };
            (event.approval, event.decision, state)
        }
        Event::ApprovalClosed(event) => (event.approval, event.decision, event.state.as_str()),
        Event::ApprovalReopened(event) => {
            let state = if event.complete { "approved" } else { "pending" };
            (event.approval, event.decision, state)
        }
        Event::ApprovalEscalated(event) => (event.approval, event.decision, "pending"),
        Event::ApprovalReminded(event) => (event.approval, event.decision, "pending"),
        Event::PermitCollected(event) => (event.approval, event.decision, "consumed"),
        _ => return None,
    })
}

impl Plane {
    /// Mints the permit when the proposer asks, with a nonce, for an approved action.
    pub(crate) async fn try_collect(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        answer: &DecisionAnswer,
        nonce: Option<Digest>,
    ) -> Result<Option<DecisionAnswer>, PlaneError> {
        let who = self.who(workspace, principal);
        let approved = answer.hold.as_ref().is_some_and(|held| {
            matches!(held.state, HeldState::Approved(_)) && held.actor == who.actor
        });
        if !approved || nonce.is_none() {
            return Ok(None);
        }
        self.collect(workspace, principal, answer.event.decision, nonce).await.map(Some)
    }

    /// Collects the permit of an approved decision; as it stands where somebody else has ended or taken it.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn collect(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        id: DecisionId,
        nonce: Option<Digest>,
    ) -> Result<DecisionAnswer, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let index = self.locate(workspace, id)?;
        let opened = self.open(workspace, index)?;
        for _ in 0..MOVED_MAX {
            let Anew { verdict, windows, evidence, lends } =
                self.evaluate_again(workspace, &opened, Some(principal)).await?;
            let command = Command::Collect(Box::new(Collect {
                decision: id,
                who: self.who(workspace, principal),
                nonce,
                permit: self.id(self.clock.wall()),
                permit_ms: PERMIT_MS,
                verdict,
                lends,
                windows,
                evidence,
            }));
            let payload = self.payload(Object::new())?;
            match self.submit(workspace.no, command, payload).await {
                Err(PlaneError::PolicyMoved) => {}
                // Something else was faster: what it has made of the approval is what there is to see.
                Err(PlaneError::Rejected(
                    Rejection::ApprovalFinal(_)
                    | Rejection::ApprovalPending
                    | Rejection::PermitConsumed,
                )) => return self.present(workspace, index, &opened, nonce).await,
                Err(error) => return Err(error),
                Ok(done) => {
                    let revoked = done.revoked;
                    let mut answer = self.present(workspace, index, &opened, nonce).await?;
                    if revoked {
                        answer.permit = answer
                            .permit
                            .map(|_| PermitView { state: PermitState::Revoked, permit: None });
                    }
                    let closed = answer.hold.as_ref().map(|held| held.state.clone());
                    return match closed {
                        Some(HeldState::Invalidated) => {
                            Err(PlaneError::Rejected(Rejection::Invalidated))
                        }
                        _ => Ok(answer),
                    };
                }
            }
        }
        Err(PlaneError::PolicyMoved)
    }

    /// Approves or rejects a held decision. Where the bundle in force has come to ask for more, the vote is
    /// not counted and the demand is renewed: [`Rejection::Reopened`].
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn vote(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        approval: ApprovalId,
        approve: bool,
        echo: Option<Digest>,
        note: Option<&str>,
    ) -> Result<(Held, DecisionAnswer), PlaneError> {
        let ballot = Ballot { approval, approve, echo, note, via: None };
        self.cast(workspace, principal, ballot).await
    }

    /// As [`vote`](Self::vote), through whatever channel.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn cast(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        ballot: Ballot<'_>,
    ) -> Result<(Held, DecisionAnswer), PlaneError> {
        self.cast_seen(workspace, principal, ballot, None).await
    }

    /// As [`cast`](Self::cast), by somebody who says which demand they saw: its requirement digest. Who has
    /// approved already adds to that only in this way.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn cast_seen(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        ballot: Ballot<'_>,
        requirement: Option<Digest>,
    ) -> Result<(Held, DecisionAnswer), PlaneError> {
        let Ballot { approval, approve, echo, note, via } = ballot;
        let _counted = Outstanding::new(&self.gauges);
        let held = self.held(workspace, approval).await?;
        let opened = self.open(workspace, held.index)?;
        for _ in 0..MOVED_MAX {
            let waiting = workspace.waiting.of(approval).map(|(who, nonce)| Waiting {
                who,
                nonce,
                permit: self.id(self.clock.wall()),
                permit_ms: PERMIT_MS,
            });
            let Anew { verdict, windows, evidence, lends } =
                self.evaluate_again(workspace, &opened, None).await?;
            let command = Command::Vote(Box::new(Vote {
                approval,
                who: self.who(workspace, principal),
                approve,
                echo: echo.map(|digest| opened.keys.commit(SaltFor::Action, &digest.0)),
                requirement,
                via,
                verdict,
                lends,
                windows,
                evidence,
                waiting,
            }));
            let plain =
                Object::new().with("actor", principal.caller.actor.as_str()).with_opt("note", note);
            match self.submit(workspace.no, command, self.payload(plain)?).await {
                Err(PlaneError::PolicyMoved) => {}
                Err(error) => return Err(error),
                Ok(done) => {
                    let mut events = done.written.iter().flat_map(Written::events);
                    if events.any(|(_, event)| matches!(event, Event::ApprovalReopened(_))) {
                        return Err(PlaneError::Rejected(Rejection::Reopened));
                    }
                    let held = self.held(workspace, approval).await?;
                    let answer = self.present(workspace, held.index, &opened, None).await?;
                    if held.state == HeldState::Invalidated {
                        return Err(PlaneError::Rejected(Rejection::Invalidated));
                    }
                    return Ok((held, answer));
                }
            }
        }
        Err(PlaneError::PolicyMoved)
    }

    /// Takes a held decision back.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn withdraw(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        decision: DecisionId,
    ) -> Result<(), PlaneError> {
        let by = self.who(workspace, principal);
        let payload = self.payload(Object::new())?;
        self.submit(workspace.no, Command::Withdraw { decision, by }, payload).await.map(drop)
    }

    /// What became of a held decision, as the log tells it. Reads the store.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn course(
        &self,
        workspace: &Workspace,
        decision: DecisionId,
    ) -> Result<Course, PlaneError> {
        let mut course = Course { state: "pending", votes: Vec::new() };
        for entry in self.events_of(workspace, decision, EVENTS_MAX, &[])? {
            let event = entry.entry.event;
            if let Some((.., state)) = approval_after(&event) {
                course.state = state;
            }
            if matches!(&event, Event::ApprovalReopened(event) if event.votes_dropped) {
                course.votes.iter_mut().for_each(|vote| vote.dropped = true);
            }
            let Event::ApprovalVoted(event) = event else { continue };
            let payload = self.payload_at(workspace, entry.index)?;
            let text = |key: &str| Some(payload.as_ref()?.get(key)?.as_str()?.to_owned());
            let (by, note) = (text("actor"), text("note"));
            let (index, time) = (entry.index, entry.entry.time);
            course.votes.push(CastVote { index, time, event, by, note, dropped: false });
        }
        Ok(course)
    }

    /// The payload of the decision at `index` and the digest of its action; none once erased.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn held_payload(
        &self,
        workspace: &Workspace,
        index: u64,
    ) -> Result<Option<(Object, Digest)>, PlaneError> {
        let Ok(opened) = self.open_or_entry(workspace, index)? else { return Ok(None) };
        let (request, caller) = reread(&opened.payload)?;
        let digest = request.digests::<Fast>(&caller).action;
        Ok(Some((opened.payload, digest)))
    }

    pub(crate) async fn held(
        &self,
        workspace: &Workspace,
        id: ApprovalId,
    ) -> Result<Held, PlaneError> {
        self.look(workspace.no, move |state| state.approval(id).map(|it| state.shown(it)))
            .await?
            .ok_or(PlaneError::NotFound("approval"))
    }

    /// The held request under the bundle in force. Its proposer counts for what it is today: roles that are
    /// gone since grant nothing any more.
    pub(crate) async fn evaluate_again(
        &self,
        workspace: &Workspace,
        opened: &Opened,
        collector: Option<&Principal>,
    ) -> Result<Anew, PlaneError> {
        let (mut request, mut caller) = reread(&opened.payload)?;
        let proposer = match &opened.entry.event {
            Event::Decision(event) if event.key.is_some() => Some(event.actor.clone()),
            _ => None,
        };
        let mut lends = None;
        if let Some(actor) = proposer {
            let now = self.clock.wall();
            let had = std::mem::take(&mut caller.roles);
            let of = actor.clone();
            let left = move |state: &State| {
                let mut roles = state.roles_among(&of, &had, now);
                for role in state.revoked_roles() {
                    roles.remove(role);
                }
                roles
            };
            caller.roles = self.look(workspace.no, left).await?;
            lends = Some(Lends { actor, roles: caller.roles.clone() });
        }
        if let Some(Principal { caller: today, key: Some(_) }) = collector {
            if today.environment != caller.environment {
                let whose = "a key of the environment in which the action was proposed";
                return Err(PlaneError::Rejected(Rejection::Foreign(whose)));
            }
            let had = caller.roles.clone();
            caller.roles.retain(|role| today.roles.contains(role));
            // A lesser key of the proposer takes nothing away: the one with the roles may still collect.
            let bundle = workspace.bundle();
            let anew = |caller: &Caller| evaluate(bundle.as_deref(), &request, caller);
            if caller.roles != had
                && anew(&caller) != anew(&Caller { roles: had, ..caller.clone() })
            {
                let whose = "a key that has the roles with which the action was proposed";
                return Err(PlaneError::Rejected(Rejection::Foreign(whose)));
            }
        }
        let bundle = workspace.bundle();
        request.found = self.found(workspace, bundle.as_deref(), (&request, &caller)).await?;
        let verdict = evaluate(bundle.as_deref(), &request, &caller);
        // What the collector has less of is not rested on.
        if let Some(lends) = &mut lends {
            lends.roles.retain(|role| caller.roles.contains(role));
        }
        let windows = workspace.names().window_tags(&verdict);
        Ok(Anew { windows, evidence: evidence_of(&request), verdict, lends })
    }
}

/// A held request, asked again.
pub(crate) struct Anew {
    pub(crate) verdict: Verdict,
    pub(crate) lends: Option<Lends>,
    pub(crate) windows: Vec<Option<Tag>>,
    pub(crate) evidence: Vec<Brought>,
}
