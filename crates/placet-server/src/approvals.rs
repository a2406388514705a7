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
use placet_api::{ApprovalDocument, ApprovalList, ApprovalParts, VoteDocument};
use placet_engine::{Held, HeldState, arming_of};
use placet_runtime::{Ballot, DecisionAnswer, PlaneError};
use placet_types::Digest;
use placet_types::event::{ActorRef, DecisionEvent};
use placet_types::ids::ApprovalId;
use placet_types::json::{Object, Value};
use placet_types::policy::Reason;
use std::collections::HashMap;

/// Most approvals of one page.
const PAGE_MAX: usize = 200;
/// Longest note of a vote.
const NOTE_MAX: usize = 2000;

type Seen = (Held, DecisionAnswer, Option<Object>);

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
    let viewer = plane.viewer(workspace, &session.principal, session.has_any(&OVERSEERS));
    let page = match resolved {
        false => plane.inbox(workspace, viewer, after, limit).await?,
        true => plane.approvals_of(workspace, viewer, after, limit).await?,
    };
    let last = page.last().filter(|_| page.len() == limit);
    let next_cursor = last.map(|(held, ..)| held.approval.to_string());
    let names = names(&call.server, &session);
    let approvals =
        page.iter().map(|seen| build(&call.server, &session, &names, seen)).collect::<Vec<_>>();
    document::answer(StatusCode::OK, &ApprovalList { approvals, next_cursor })
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
    let mut fields = call.object(&["action_digest", "note", "requirement"]).await?;
    let digest = call::text(&mut fields, "action_digest", 100)?;
    let expected = || Problem::invalid("/action_digest", "expected sha256: and 64 hex digits");
    let echo = digest.map(|text| Digest::parse(&text).ok_or_else(expected)).transpose()?;
    let demand = call::text(&mut fields, "requirement", 100)?;
    let expected = || Problem::invalid("/requirement", "expected sha256: and 64 hex digits");
    let demand = demand.map(|text| Digest::parse(&text).ok_or_else(expected)).transpose()?;
    let note = call::text(&mut fields, "note", NOTE_MAX)?;
    let missing = || Problem::from(PlaneError::NotFound("approval"));
    let id = ApprovalId::parse(&call.segment(3)?).ok_or_else(missing)?;
    let plane = &call.server.plane;
    let workspace = &session.workspace;
    if session.principal.key.is_none() {
        // In development mode the one person there is fills every role.
        let (held, ..) = plane.approval(workspace, id).await?;
        session.principal.caller.roles.extend(held.roles.into_keys());
    }
    let principal = &session.principal;
    let ballot = Ballot { approval: id, approve, echo, note: note.as_deref(), via: None };
    let (held, answer) = plane.cast_seen(workspace, principal, ballot, demand).await?;
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
    let seen = plane.approval(workspace, id).await?;
    let names = names(&call.server, &session);
    document::answer(StatusCode::OK, &build(&call.server, &session, &names, &seen))
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

fn build<'a>(
    server: &Server,
    session: &Session,
    names: &HashMap<String, String>,
    (held, answer, payload): &'a Seen,
) -> ApprovalDocument<'a> {
    let event: &DecisionEvent = &answer.event;
    let name = |who: &ActorRef| {
        names.get(who.as_str()).cloned().unwrap_or_else(|| who.as_str().to_owned())
    };
    let votes = held.votes.iter().map(|cast| VoteDocument {
        by: name(&cast.by),
        roles: cast.roles.iter().cloned().collect(),
        stands_in_as: cast.stands_in.as_ref().map(|it| it.role.clone()),
        in_the_right_of: cast.through.iter().map(|it| name(&it.of)).collect(),
    });
    let object = |name: &str| payload.as_ref()?.get(name)?.as_object();
    let actor = object("facts").and_then(|facts| facts.get("actor")).and_then(Value::as_str);
    let texts = document::texts_of(server, &session.workspace, answer);
    let rules = if held.reopened > 0 { &held.rules } else { &event.rules };
    let reason = |rule: &String| {
        let text = texts.as_ref().and_then(|texts| texts.get(rule).cloned());
        text.unwrap_or_else(|| Reason::Rule.text().to_owned())
    };
    ApprovalDocument::build(ApprovalParts {
        id: held.approval,
        state: held.state.as_str(),
        event,
        roles: &held.roles,
        missing: held.missing(),
        votes: votes.collect(),
        action_digest: answer.digests.map(|digests| digests.action),
        requirement: held.requirement,
        requested_by: actor.unwrap_or_else(|| event.actor.as_str()),
        created: held.since,
        expires: held.expires,
        use_within_ms: held.use_within_ms,
        request: object("request"),
        reasons: rules.iter().map(reason).collect(),
        rules,
        constraints: if held.reopened > 0 { &held.constraints } else { &event.constraints },
        reopened: held.reopened,
        may_stand_in: held.steps_in_effect().iter().flat_map(|it| it.roles.keys()).collect(),
    })
}
