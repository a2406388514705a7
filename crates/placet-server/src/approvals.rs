//! Approvals: the inbox, and votes. Owns who sees which approval; refuses to know what a vote
//! leads to.

use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call};
use crate::decisions::admit;
use crate::document;
use crate::names::Names;
use crate::problem::Problem;
use crate::server::Server;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    ApprovalDocument, ApprovalList, ApprovalParts, CastVoteDocument, FieldDocument, Instant, JOB,
    RenderingDocument, Sha, VoteDocument,
};
use placet_engine::{Held, HeldState, Viewer, arming_of};
use placet_runtime::{Ballot, CastVote, HeldView, PlaneError, RenderedField, Rendering, Workspace};
use placet_types::Digest;
use placet_types::event::{ActorRef, DecisionEvent, VoteChannel};
use placet_types::ids::{ApprovalId, DecisionId, JobId};
use placet_types::json::{Object, Value};
use placet_types::policy::Reason;

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
    let plane = &call.server.plane;
    let workspace = &session.workspace;
    let viewer = viewer(&call, &session);
    let (page, next) = if resolved {
        plane.approvals_of(workspace, viewer, after, limit).await?
    } else {
        plane.inbox(workspace, viewer, after, limit).await?
    };
    let next_cursor = next.map(|next| next.to_string());
    let names = Names::of(&call.server, &session);
    let about = About { server: &call.server, workspace: &session.workspace, names: &names };
    let approvals = page.iter().map(|seen| about.document(seen, None)).collect::<Vec<_>>();
    document::answer(StatusCode::OK, &ApprovalList { approvals, next_cursor })
}

/// Who reads approvals: overseers see all; others what they may decide, proposed, or will execute.
pub(crate) fn viewer(call: &Call, session: &Session) -> Viewer {
    let oversees = session.has_any(&OVERSEERS);
    call.server.plane.viewer(&session.workspace, &session.principal, oversees)
}

/// # Errors
/// `not_found` where the caller may not see it.
pub(crate) async fn may_see(call: &Call, session: &Session, held: &Held) -> Result<(), Problem> {
    let (plane, viewer) = (&call.server.plane, viewer(call, session));
    match plane.sees(&session.workspace, viewer, held.approval).await? {
        true => Ok(()),
        false => Err(not_found()),
    }
}

/// `GET /api/v1/approvals/{id}`
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    call.query(&[])?;
    let seen = find(&call, &session, &call.segment(3)?).await?;
    may_see(&call, &session, &seen.0).await?;
    answer(&call, &session, &seen, None).await
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
    not_in_force: Option<&Problem>,
) -> Result<Response, Problem> {
    let server = &call.server;
    let (plane, workspace) = (server.plane.clone(), session.workspace.clone());
    let decision = seen.0.decision;
    let course = document::blocking(server, move || plane.course(&workspace, decision)).await?;
    let mut names = Names::of(server, session);
    // Whoever voted in a session that has ended has no key here; the vote itself says who it was.
    for vote in &course.votes {
        if let Some(name) = &vote.by {
            names.learn(vote.event.by.as_str(), name.clone());
        }
    }
    let about = About { server, workspace: &session.workspace, names: &names };
    let mut document = about.document(seen, Some(course.votes));
    document.not_in_force = not_in_force.map(Problem::document);
    document::answer(StatusCode::OK, &document)
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
    let fields = call.object(&["action_digest", "note", "requirement"]).await?;
    let said = Said::read(fields)?;
    let id = call.segment(3)?;
    let (seen, not_in_force) = cast(&call, &mut session, &id, approve, &said).await?;
    answer(&call, &session, &seen, not_in_force.as_ref()).await
}

/// What a voter says beside yes or no.
pub(crate) struct Said {
    /// The digest that was seen.
    pub(crate) echo: Option<Digest>,
    /// The requirement that was seen.
    pub(crate) demand: Option<Digest>,
    /// Why.
    pub(crate) note: Option<String>,
}

impl Said {
    pub(crate) fn read(mut fields: Object) -> Result<Self, Problem> {
        let digest = call::text(&mut fields, "action_digest", 100)?;
        let expected = || Problem::invalid("/action_digest", "expected sha256: and 64 hex digits");
        let echo = digest.map(|text| Digest::parse(&text).ok_or_else(expected)).transpose()?;
        let demand = call::text(&mut fields, "requirement", 100)?;
        let expected = || Problem::invalid("/requirement", "expected sha256: and 64 hex digits");
        let demand = demand.map(|text| Digest::parse(&text).ok_or_else(expected)).transpose()?;
        Ok(Self { echo, demand, note: call::text(&mut fields, "note", NOTE_MAX)? })
    }
}

/// Votes, and releases what the constitution's approvals release; the approval as it stands then.
pub(crate) async fn cast(
    call: &Call,
    session: &mut Session,
    id: &str,
    approve: bool,
    said: &Said,
) -> Result<(HeldView, Option<Problem>), Problem> {
    let plane = &call.server.plane;
    let id = match ApprovalId::parse(id) {
        Some(id) => id,
        None => find(call, session, id).await?.0.approval,
    };
    let workspace = &session.workspace;
    if session.principal.key.is_none() {
        // In development mode the one person there is fills every role.
        let (held, ..) = plane.approval(workspace, id).await?;
        session.principal.caller.roles.extend(held.roles.keys().cloned());
    }
    let principal = &session.principal;
    let note = said.note.as_deref();
    let ballot = Ballot { approval: id, approve, echo: said.echo, note, via: None };
    let (held, answer) = plane.cast_seen(workspace, principal, ballot, said.demand).await?;
    let event = &answer.event;
    let mut not_in_force = None;
    if matches!(held.state, HeldState::Approved(_))
        && arming_of(&event.surface, &event.action).is_some()
    {
        // Whoever completes the approval releases it. The vote stands if that fails: author and
        // approvers may try again, and hear why.
        if let Err(error) = plane.release(workspace, principal, held.decision).await {
            eprintln!("placet: {} is approved and not in force: {error}", held.decision);
            not_in_force = Some(Problem::from(error));
        }
    }
    Ok((plane.approval(workspace, id).await?, not_in_force))
}

/// Whose document it is, and what its readers may be told of people.
pub(crate) struct About<'a> {
    pub(crate) server: &'a Server,
    pub(crate) workspace: &'a Workspace,
    pub(crate) names: &'a Names<'a>,
}

impl About<'_> {
    /// The document of an approval; with votes, all that is shown of one.
    pub(crate) fn document<'a>(
        &self,
        (held, answer, shown): &'a HeldView,
        votes: Option<Vec<CastVote>>,
    ) -> ApprovalDocument<'a> {
        let event: &DecisionEvent = &answer.event;
        let name = |by: &ActorRef| self.names.get(by.as_str());
        let approvals = held.votes.iter().map(|cast| VoteDocument {
            by: name(&cast.by),
            roles: cast.roles.iter().cloned().collect(),
            stands_in_as: cast.stands_in.as_ref().map(|it| it.role.clone()),
            in_the_right_of: cast.through.iter().map(|it| name(&it.of)).collect(),
        });
        let object = |name: &str| shown.as_ref()?.payload.get(name)?.as_object();
        let actor = object("facts").and_then(|facts| facts.get("actor")).and_then(Value::as_str);
        let chain = object("facts").and_then(|facts| facts.get("chain")?.as_array());
        let chain = chain.unwrap_or_default().iter();
        let texts = document::texts_of(self.server, self.workspace, answer);
        let again = held.reopened > 0;
        // A demand that was renewed names rules of a later bundle.
        let now = self.workspace.bundle().filter(|_| again);
        let now = now.and_then(|bundle| self.server.texts(bundle.digest(), Some(&bundle)));
        let rules = if again { &held.rules } else { &event.rules };
        let reason = |rule: &String| {
            let text = now.as_ref().and_then(|texts| texts.get(rule));
            let text = text.or_else(|| texts.as_ref()?.get(rule)).cloned();
            text.unwrap_or_else(|| Reason::Rule.text().to_owned())
        };
        let cast = |vote: CastVote| CastVoteDocument {
            by: vote.by.unwrap_or_else(|| name(&vote.event.by)),
            roles: vote.event.roles.iter().cloned().collect(),
            approve: vote.event.approve,
            time: Instant(vote.time),
            index: vote.index,
            note: vote.note,
            stands_in_as: vote.event.stands_in.map(|it| it.role),
            in_the_right_of: vote.event.through.iter().map(|it| name(&it.of)).collect(),
            dropped: vote.dropped,
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
            verified_chain: chain.filter_map(Value::as_str).collect(),
            created: held.since,
            expires: held.expires,
            use_within_ms: held.use_within_ms,
            request: object("request"),
            reasons: rules.iter().map(reason).collect(),
            rules,
            constraints: if again { &held.constraints } else { &event.constraints },
            reopened: held.reopened,
            may_stand_in: held.steps_in_effect().iter().flat_map(|it| it.roles.keys()).collect(),
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
