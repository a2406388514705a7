//! Approvals: the inbox, and votes. Owns who sees which approval; refuses to know what a vote
//! leads to.

use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call};
use crate::decisions::admit;
use crate::document;
use crate::problem::Problem;
use crate::server::Server;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    ApprovalDocument, ApprovalList, ApprovalParts, CastVoteDocument, FieldDocument, Instant, JOB,
    RenderingDocument, Sha, VoteDocument,
};
use placet_engine::{Held, HeldState, arming_of};
use placet_runtime::{CastVote, HeldView, PlaneError, RenderedField, Rendering, Workspace};
use placet_types::Digest;
use placet_types::event::{ActorRef, DecisionEvent, VoteChannel};
use placet_types::ids::{ApprovalId, DecisionId, JobId};
use placet_types::json::{Object, Value};
use placet_types::policy::Reason;
use std::collections::HashMap;

/// Most approvals of one page.
pub(crate) const PAGE_MAX: usize = 200;
/// Longest note of a vote.
const NOTE_MAX: usize = 2000;

/// Most fields that a list shows of one request; whoever asks for the approval itself sees all.
const FIELDS_LISTED: usize = 64;

/// `GET /api/v1/approvals`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let query = call.query(&["include_resolved", "cursor", "limit"])?;
    let resolved = query.flag("include_resolved")?;
    let limit = query.limit(50, PAGE_MAX)?;
    let after = query.parsed("cursor", "an approval id", ApprovalId::parse)?;
    let may_see = may_see(&session);
    let wanted = move |held: &Held| (resolved || held.state == HeldState::Pending) && may_see(held);
    let plane = &call.server.plane;
    let page = plane.approvals_where(&session.workspace, after, limit, wanted).await?;
    let last = page.last().filter(|_| page.len() == limit);
    let next_cursor = last.map(|(held, ..)| held.approval.to_string());
    let names = names(&call.server, &session);
    let about = About { server: &call.server, workspace: &session.workspace, names: &names };
    let approvals = page.iter().map(|seen| about.document(seen, None)).collect::<Vec<_>>();
    document::answer(StatusCode::OK, &ApprovalList { approvals, next_cursor })
}

/// Overseers see all; others what they may decide, proposed, or will execute.
pub(crate) fn may_see(session: &Session) -> impl Fn(&Held) -> bool + Clone + Send + 'static {
    let own = session.workspace.actor_ref(&session.principal.caller.actor);
    let roles = session.principal.caller.roles.clone();
    let oversees = session.has_any(&OVERSEERS);
    move |held| {
        oversees
            || held.roles.keys().any(|role| roles.contains(role))
            || held.proposers.contains(&own)
            || held.audience == own
    }
}

/// `GET /api/v1/approvals/{id}`
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    call.query(&[])?;
    let seen = find(&call, &session, &call.segment(3)?).await?;
    if !may_see(&session)(&seen.0) {
        return Err(not_found());
    }
    answer(&call, &session, &seen).await
}

/// The approval with this id, or the one of a job with this id: `apr_…`, `job_…`.
pub(crate) async fn find(call: &Call, session: &Session, id: &str) -> Result<HeldView, Problem> {
    let (plane, workspace) = (&call.server.plane, &session.workspace);
    if let Some(id) = ApprovalId::parse(id) {
        return Ok(plane.approval(workspace, id).await?);
    }
    // A job is named after the decision that admits it.
    let job = JobId::parse(id).ok_or_else(not_found)?;
    let seen = plane.approval_of(workspace, DecisionId::from_bytes(*job.bytes())).await?;
    if seen.1.event.surface == JOB { Ok(seen) } else { Err(not_found()) }
}

fn not_found() -> Problem {
    PlaneError::NotFound("approval").into()
}

/// The document of an approval with its votes.
pub(crate) async fn answer(
    call: &Call,
    session: &Session,
    seen: &HeldView,
) -> Result<Response, Problem> {
    let server = &call.server;
    let (plane, workspace) = (server.plane.clone(), session.workspace.clone());
    let decision = seen.0.decision;
    let course = document::blocking(server, move || plane.course(&workspace, decision)).await?;
    let names = names(server, session);
    let about = About { server, workspace: &session.workspace, names: &names };
    document::answer(StatusCode::OK, &about.document(seen, Some(course.votes)))
}

/// `POST /api/v1/approvals/{id}/approve`
pub(crate) async fn approve(call: Call) -> Result<Response, Problem> {
    vote(call, true).await
}

/// `POST /api/v1/approvals/{id}/reject`
pub(crate) async fn reject(call: Call) -> Result<Response, Problem> {
    vote(call, false).await
}

async fn vote(mut call: Call, approve: bool) -> Result<Response, Problem> {
    let mut session = call.session(Act::Oversee)?;
    let fields = call.object(&["action_digest", "note"]).await?;
    let said = Said::read(fields)?;
    let id = call.segment(3)?;
    let seen = cast(&call, &mut session, &id, approve, &said).await?;
    answer(&call, &session, &seen).await
}

/// What a voter says beside yes or no.
pub(crate) struct Said {
    /// The digest that was seen.
    pub(crate) echo: Option<Digest>,
    /// Why.
    pub(crate) note: Option<String>,
}

impl Said {
    pub(crate) fn read(mut fields: Object) -> Result<Self, Problem> {
        let digest = call::text(&mut fields, "action_digest", 100)?;
        let expected = || Problem::invalid("/action_digest", "expected sha256: and 64 hex digits");
        let echo = digest.map(|text| Digest::parse(&text).ok_or_else(expected)).transpose()?;
        Ok(Self { echo, note: call::text(&mut fields, "note", NOTE_MAX)? })
    }
}

/// Votes, and releases what the constitution's approvals release; the approval as it stands then.
pub(crate) async fn cast(
    call: &Call,
    session: &mut Session,
    id: &str,
    approve: bool,
    said: &Said,
) -> Result<HeldView, Problem> {
    let plane = &call.server.plane;
    let id = match ApprovalId::parse(id) {
        Some(id) => id,
        None => find(call, session, id).await?.0.approval,
    };
    let workspace = &session.workspace;
    if session.principal.key.is_none() {
        // In development mode the one person there is fills every role.
        let (held, ..) = plane.approval(workspace, id).await?;
        session.principal.caller.roles.extend(held.roles.into_keys());
    }
    let principal = &session.principal;
    let note = said.note.as_deref();
    let (held, answer) = plane.vote(workspace, principal, id, approve, said.echo, note).await?;
    let event = &answer.event;
    if matches!(held.state, HeldState::Approved(_))
        && arming_of(&event.surface, &event.action).is_some()
    {
        // Whoever completes the approval releases it. The vote stands if that fails: author and
        // approvers may try again, and hear why.
        if let Err(error) = plane.release(workspace, principal, held.decision).await {
            eprintln!("placet: {} is approved and not in force: {error}", held.decision);
        }
    }
    Ok(plane.approval(workspace, id).await?)
}

/// Names of people by the pseudonyms that entries show, from the keys of the workspace.
pub(crate) fn names(server: &Server, session: &Session) -> HashMap<String, String> {
    let workspace = &session.workspace;
    let keys = server.plane.keys_of(workspace);
    let mut names: HashMap<_, _> = keys
        .iter()
        .map(|key| (workspace.actor_ref(&key.actor).as_str().to_owned(), key.actor.to_string()))
        .collect();
    let own = &session.principal.caller.actor;
    names.insert(workspace.actor_ref(own).as_str().to_owned(), own.to_string());
    names
}

/// Whose document it is, and what its readers may be told of people.
pub(crate) struct About<'a> {
    pub(crate) server: &'a Server,
    pub(crate) workspace: &'a Workspace,
    pub(crate) names: &'a HashMap<String, String>,
}

impl About<'_> {
    /// The document of an approval; with votes, all that is shown of one.
    pub(crate) fn document<'a>(
        &self,
        (held, answer, shown): &'a HeldView,
        votes: Option<Vec<CastVote>>,
    ) -> ApprovalDocument<'a> {
        let event: &DecisionEvent = &answer.event;
        let name = |by: &ActorRef| {
            self.names.get(by.as_str()).cloned().unwrap_or_else(|| by.as_str().to_owned())
        };
        let approvals = held.votes.iter().map(|(by, roles)| VoteDocument {
            by: name(by),
            roles: roles.iter().cloned().collect(),
        });
        let object = |name: &str| shown.as_ref()?.payload.get(name)?.as_object();
        let actor = object("facts").and_then(|facts| facts.get("actor")).and_then(Value::as_str);
        let texts = document::texts_of(self.server, self.workspace, answer);
        let reason = |rule: &String| {
            let text = texts.as_ref().and_then(|texts| texts.get(rule).cloned());
            text.unwrap_or_else(|| Reason::Rule.text().to_owned())
        };
        let cast = |vote: CastVote| CastVoteDocument {
            by: vote.by.unwrap_or_else(|| name(&vote.event.by)),
            roles: vote.event.roles.iter().cloned().collect(),
            approve: vote.event.approve,
            time: Instant(vote.time),
            index: vote.index,
            note: vote.note,
            via: vote.event.via.map(VoteChannel::as_str),
            unechoed: vote.event.unechoed,
        };
        let fields_max = if votes.is_some() { usize::MAX } else { FIELDS_LISTED };
        ApprovalDocument::build(ApprovalParts {
            id: held.approval,
            state: held.state.as_str(),
            event,
            roles: &held.roles,
            missing: held.missing(),
            votes: votes.map(|votes| votes.into_iter().map(cast).collect()),
            approvals: approvals.collect(),
            action_digest: answer.digests.map(|digests| digests.action),
            requirement: held.requirement,
            requested_by: actor.unwrap_or_else(|| event.actor.as_str()),
            created: held.since,
            expires: held.expires,
            use_within_ms: held.use_within_ms,
            request: object("request"),
            reasons: event.rules.iter().map(reason).collect(),
            rendering: shown.as_ref().map(|shown| rendering(&shown.rendering, fields_max)),
            erased: answer.erased,
        })
    }
}

/// The fields of a held request, if they are not too many.
fn rendering(rendering: &Rendering, fields_max: usize) -> RenderingDocument {
    let field = |field: &RenderedField| {
        let (value, marked) = field.text();
        FieldDocument {
            path: field.path(),
            value,
            kind: field.value.kind(),
            provenance: field.provenance.as_str(),
            bound: field.bound,
            marked,
        }
    };
    let fields = &rendering.fields;
    RenderingDocument {
        action_digest: Sha(rendering.digests.action),
        count: fields.len(),
        fields: (fields.len() <= fields_max).then(|| fields.iter().map(field).collect()),
    }
}
