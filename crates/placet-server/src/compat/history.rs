//! What became of requests for approvals: `/governance/…`. Reads approvals and the log; changes
//! nothing. Owns the record that runs keep as their audit trail.

use super::seen;
use crate::approvals::{PAGE_MAX, viewer};
use crate::auth::{Act, OVERSEERS, Session};
use crate::call::Call;
use crate::decisions::admit;
use crate::document;
use crate::names::Names;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    GovernanceDecisionDocument, GovernanceRequestDocument, GovernanceRequestList, IdText, Instant,
    RiskAssessmentDocument, Sha, compat_status,
};
use placet_runtime::ports::AuditFilter;
use placet_runtime::{APPROVAL_REQUEST, Course, LogEntry, Plane, PlaneError, Workspace};
use placet_types::Digest;
use placet_types::event::{DecisionEvent, Event};
use placet_types::ids::{ApprovalId, TimeMs};
use placet_types::json::{Object, Value};
use placet_types::policy::Outcome;
use std::sync::Arc;

/// `GET /governance/pending`
pub(crate) async fn pending(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let query = call.query(&["cursor", "limit"])?;
    let limit = query.limit(50, PAGE_MAX)?;
    let after = query.parsed("cursor", "an approval id", ApprovalId::parse)?;
    let plane = &call.server.plane;
    let viewer = viewer(&call, &session);
    let (page, next) = plane.inbox(&session.workspace, viewer, after, limit).await?;
    let next_cursor = next.map(|next| next.to_string());
    let requests = page.iter().map(|(held, answer, shown)| {
        let payload = shown.as_ref().map(|shown| &shown.payload);
        let digest = answer.digests.map(|digests| digests.action);
        record(&answer.event, held.since, payload, digest, held.state.as_str(), None)
    });
    let requests = requests.flatten().collect();
    document::answer(StatusCode::OK, &GovernanceRequestList { requests, next_cursor })
}

/// `GET /governance/request/{id}`
pub(crate) async fn request(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    call.query(&[])?;
    let (held, answer, shown) = seen(&call, &session).await?;
    let (plane, workspace) = (call.server.plane.clone(), session.workspace.clone());
    let id = held.decision;
    let course = document::blocking(&call.server, move || plane.course(&workspace, id)).await?;
    let names = Names::of(&call.server, &session);
    let decided = decided(&course, &names);
    let payload = shown.as_ref().map(|shown| &shown.payload);
    let digest = answer.digests.map(|digests| digests.action);
    let state = held.state.as_str();
    let found = record(&answer.event, held.since, payload, digest, state, decided);
    let found = found.ok_or_else(|| Problem::from(PlaneError::NotFound("approval")))?;
    document::answer(StatusCode::OK, &found)
}

/// `GET /governance/history`: newest first; of a run, or of all requests for approvals.
pub(crate) async fn history(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let query = call.query(&["run_id", "cursor", "limit"])?;
    let run = query.get("run_id").map(str::to_owned);
    let limit = query.limit(50, PAGE_MAX)?;
    let filter = AuditFilter {
        surface: run.is_none().then(|| APPROVAL_REQUEST.to_owned()),
        trace: run,
        outcome: Some(Outcome::RequireApproval),
        event_type: Some("decision".to_owned()),
        cursor: query.number("cursor")?,
        limit,
        ..AuditFilter::default()
    };
    let server = call.server.clone();
    let (workspace, sees) = (session.workspace.clone(), Sees::of(&session));
    let owned = server.clone();
    let read = move || {
        let (plane, names) = (&owned.plane, Names::of(&owned, &session));
        let found = plane.audit_now(&workspace, &filter)?;
        let last = found.last().filter(|_| found.len() == limit);
        let next_cursor = last.map(|entry| entry.index.to_string());
        let mut requests = Vec::with_capacity(found.len());
        for entry in &found {
            requests.extend(past(plane, &workspace, &sees, &names, entry)?);
        }
        Ok(GovernanceRequestList { requests, next_cursor })
    };
    let list = document::blocking(&server, read).await?;
    document::answer(StatusCode::OK, &list)
}

/// The record of a decision in the log, if the caller may see it.
fn past(
    plane: &Plane,
    workspace: &Arc<Workspace>,
    sees: &Sees,
    names: &Names<'_>,
    entry: &LogEntry,
) -> Result<Option<GovernanceRequestDocument>, PlaneError> {
    let Event::Decision(event) = &entry.entry.event else { return Ok(None) };
    if !sees.it(event) {
        return Ok(None);
    }
    let course = plane.course(workspace, event.decision)?;
    let (payload, digest) = match plane.held_payload(workspace, entry.index)? {
        Some((payload, digest)) => (Some(payload), Some(digest)),
        None => (None, None),
    };
    let (decided, time) = (decided(&course, names), entry.entry.time);
    Ok(record(event, time, payload.as_ref(), digest, course.state, decided))
}

/// Who may look back: overseers at everything, others at what they may decide, asked for, or execute.
struct Sees {
    own: placet_types::event::ActorRef,
    roles: std::collections::BTreeSet<String>,
    oversees: bool,
}

impl Sees {
    fn of(session: &Session) -> Self {
        Self {
            own: session.workspace.actor_ref(&session.principal.caller.actor),
            roles: session.roles(),
            oversees: session.has_any(&OVERSEERS),
        }
    }

    fn it(&self, event: &DecisionEvent) -> bool {
        let Some(approval) = &event.approval else { return false };
        self.oversees
            || self.own == event.actor
            || self.own == approval.audience
            || event.on_behalf_of.contains(&self.own)
            || approval.roles.keys().any(|role| self.roles.contains(role))
    }
}

/// What people decided; none while it is pending.
fn decided(course: &Course, names: &Names<'_>) -> Option<GovernanceDecisionDocument> {
    let approved = match compat_status(course.state) {
        "pending" => return None,
        status => status == "approved",
    };
    // The vote that decided it, if one did: the last one that says what came of it.
    let vote = course.votes.last().filter(|vote| vote.event.approve == approved);
    let by = |reference: &str| names.get(reference);
    Some(GovernanceDecisionDocument {
        approved,
        approved_by: vote.map(|vote| vote.by.clone().unwrap_or_else(|| by(vote.event.by.as_str()))),
        approved_at: vote.map(|vote| Instant(vote.time)),
        notes: vote.and_then(|vote| vote.note.clone()),
    })
}

/// The record of one request.
fn record(
    event: &DecisionEvent,
    time: TimeMs,
    payload: Option<&Object>,
    digest: Option<Digest>,
    state: &str,
    decision: Option<GovernanceDecisionDocument>,
) -> Option<GovernanceRequestDocument> {
    let approval = event.approval.as_ref()?;
    let arguments = payload.and_then(|payload| {
        payload.get("request")?.get("arguments")?.as_object().filter(|_| {
            // Arguments of another surface are not a run's.
            event.surface == APPROVAL_REQUEST
        })
    });
    let member = |name: &str| arguments?.get(name);
    let text = |name: &str| member(name)?.as_str().map(str::to_owned);
    let assessed = |name: &str| member("risk_assessment")?.get(name);
    let level = text("risk_level").or_else(|| Some(assessed("level")?.as_str()?.to_owned()));
    let score = member("risk_score").or_else(|| assessed("score")).and_then(Value::as_i64);
    Some(GovernanceRequestDocument {
        request_id: IdText(approval.id),
        run_id: text("run_id"),
        phase_id: text("phase_id"),
        timestamp: Instant(time),
        created_at: Instant(time),
        expires_at: Instant(approval.expires),
        violated_paths: texts(member("violated_paths")),
        justification: text("justification").or_else(|| text("reason")),
        risk_level: level.clone(),
        risk_assessment: RiskAssessmentDocument {
            level,
            score,
            factors: texts(assessed("factors")),
        },
        status: compat_status(state),
        state: state.to_owned(),
        approved: decision.as_ref().map(|decision| decision.approved),
        approved_by: decision.as_ref().and_then(|decision| decision.approved_by.clone()),
        approved_at: decision.as_ref().and_then(|decision| decision.approved_at),
        decision,
        action_digest: digest.map(Sha),
    })
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
