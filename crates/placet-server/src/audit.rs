//! Looking back: audit queries, traces, receipts, checkpoints. Owns query parameters; refuses to
//! know how entries are found.

use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call, Query};
use crate::document;
use crate::privacy;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{AuditDocument, ReceiptDocument, TraceDocument};
use placet_runtime::ports::AuditFilter;
use placet_runtime::{Against, History, PlaneError, Workspace};
use placet_tlog::receipt::Receipt;
use placet_types::event::Event;
use placet_types::ids::{ActorId, DecisionId, TimeMs};
use placet_types::policy::Outcome;
use std::time::Duration;

/// Most entries of one page.
const PAGE_MAX: usize = 1000;
/// How long a query waits for `min_index`.
const REACH: Duration = Duration::from_secs(5);
/// Most entries of one trace.
const TRACE_MAX: usize = 1000;

const PARAMETERS: [&str; 15] = [
    "decision",
    "trace",
    "actor",
    "rule",
    "subject",
    "surface",
    "outcome",
    "type",
    "would_differ",
    "since",
    "until",
    "order",
    "cursor",
    "limit",
    "min_index",
];

/// `GET /api/v1/audit`
pub(crate) async fn query(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    session.demand(&OVERSEERS)?;
    let query = call.query(&PARAMETERS)?;
    let workspace = session.workspace.clone();
    let plane = call.server.plane.clone();
    let filter = filter(&query, &workspace, plane.now())?;
    if let Some(index) = query.number("min_index")? {
        let mut size = workspace.watch_size();
        let reached = size.wait_for(|size| *size > index);
        if !matches!(tokio::time::timeout(REACH, reached).await, Ok(Ok(_))) {
            let text = "the log has not reached this index yet";
            return Err(Problem::new("not_found", text).at("?min_index"));
        }
    }
    let size = *workspace.watch_size().borrow();
    let (ascending, limit) = (filter.ascending, filter.limit);
    let (found, indexed) = document::blocking(&call.server, move || {
        let found = plane.audit_now(&workspace, &filter)?;
        Ok((found, plane.indexed(&workspace)?))
    })
    .await?;
    let last = found.last().filter(|_| found.len() == limit).map(|entry| entry.index);
    let next_cursor = last
        .filter(|index| ascending || *index > 0)
        .map(|index| if ascending { index + 1 } else { index }.to_string());
    let entries = document::entries(&found)?;
    document::answer(StatusCode::OK, &AuditDocument { entries, next_cursor, indexed, size })
}

fn filter(query: &Query, workspace: &Workspace, now: TimeMs) -> Result<AuditFilter, Problem> {
    let order = query.parsed("order", "asc or desc", |text| match text {
        "asc" => Some(true),
        "desc" => Some(false),
        _ => None,
    })?;
    let instant = "an instant such as 2026-01-31T12:00:00Z, Unix milliseconds, or 30d ago";
    let time = |text: &str| instant_of(text, now);
    let types = format!("one of {}", Event::TYPES.join(", "));
    Ok(AuditFilter {
        decision: query.parsed("decision", "a decision id", DecisionId::parse)?,
        trace: query.get("trace").map(str::to_owned),
        actor: query
            .parsed("actor", "an actor such as agent:name", |text| actor_of(text, workspace))?,
        rule: query.get("rule").map(str::to_owned),
        surface: query.get("surface").map(str::to_owned),
        outcome: query.parsed("outcome", "an outcome such as DENY", |text| {
            Outcome::parse(&text.to_ascii_uppercase())
        })?,
        would_differ: query
            .parsed("would_differ", "true or false", |text| text.parse::<bool>().ok())?
            .unwrap_or(false),
        event_type: query
            .parsed("type", &types, |text| Event::TYPES.contains(&text).then(|| text.to_owned()))?,
        since: query.parsed("since", instant, time)?,
        until: query.parsed("until", instant, time)?,
        idempotency: None,
        subject: query.get("subject").map(|name| workspace.names().subject_tag(name)),
        cursor: query.number("cursor")?,
        ascending: order.unwrap_or(false),
        limit: query.limit(100, PAGE_MAX)?,
    })
}

/// The actor as entries show it; a person's pseudonym stands for itself.
fn actor_of(text: &str, workspace: &Workspace) -> Option<String> {
    let actor = ActorId::parse(text)?;
    let pseudonym = text.strip_prefix("human:").is_some_and(|name| {
        name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    if pseudonym {
        return Some(text.to_owned());
    }
    Some(workspace.actor_ref(&actor).as_str().to_owned())
}

/// Unix milliseconds, RFC 3339, or a duration ago.
#[must_use]
pub fn instant_of(text: &str, now: TimeMs) -> Option<TimeMs> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|ms| *ms <= 1 << 53).map(TimeMs);
    }
    if let Some(ago) = call::duration_ms(text) {
        return Some(TimeMs(now.0.saturating_sub(ago)));
    }
    TimeMs::parse_rfc3339(text)
}

/// `GET /api/v1/traces/{trace_id}`
pub(crate) async fn trace(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    session.demand(&OVERSEERS)?;
    let trace_id = call.segment(3)?;
    let (plane, workspace, asked) =
        (call.server.plane.clone(), session.workspace.clone(), trace_id.clone());
    let found =
        document::blocking(&call.server, move || plane.trace(&workspace, &asked, TRACE_MAX))
            .await?;
    let entries = document::entries(&found)?;
    document::answer(StatusCode::OK, &TraceDocument { trace_id: &trace_id, entries })
}

/// `GET /api/v1/receipts/{id}`
pub(crate) async fn receipt(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let query = call.query(&["index", "checkpoint", "payload"])?;
    let index = query.number("index")?;
    let against = query.parsed("checkpoint", "newest or published", |text| match text {
        "newest" => Some(Against::Newest),
        "published" => Some(Against::Published),
        _ => None,
    })?;
    let against = against.unwrap_or(Against::Newest);
    let payload = query.flag("payload")?;
    let missing = || Problem::from(PlaneError::NotFound("decision"));
    let id = DecisionId::parse(&call.segment(3)?).ok_or_else(missing)?;
    if payload {
        return privacy::disclose(&call, &session, id, index, against).await;
    }
    let history = seen(&call, &session, id).await?;
    let (plane, workspace) = (call.server.plane.clone(), session.workspace.clone());
    let prove = move || plane.receipt(&workspace, &history, index, against);
    let text = document::blocking(&call.server, prove).await?;
    let accept = call.header("accept")?.unwrap_or_default();
    if !accept.contains("application/json") {
        return Ok(document::respond(StatusCode::OK, "text/plain; charset=utf-8", text));
    }
    let read = Receipt::parse(text.as_bytes());
    let read = read.map_err(|error| Problem::internal(&error.to_string()))?;
    let origin = session.workspace.origin();
    let size = read.checkpoint.size;
    let document = ReceiptDocument { receipt: &text, index: read.index, origin, size };
    document::answer(StatusCode::OK, &document)
}

/// What the log holds of a decision, for those who may see it.
pub(crate) async fn seen(
    call: &Call,
    session: &Session,
    id: DecisionId,
) -> Result<History, Problem> {
    let (plane, workspace) = (call.server.plane.clone(), session.workspace.clone());
    let read = move || plane.history(&workspace, id);
    let history = document::blocking(&call.server, read).await?;
    let plane = &call.server.plane;
    plane.may_see_history(&session.workspace, &session.principal, &history).await?;
    Ok(history)
}

/// `GET /api/v1/checkpoint`
pub(crate) async fn checkpoint(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let note = session.workspace.head().note.clone();
    Ok(document::respond(StatusCode::OK, "text/plain; charset=utf-8", note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        let now = TimeMs(1_000_000_000);
        let read = |text| instant_of(text, now).map(|time| time.0);
        assert_eq!(read("1700000000123"), Some(1_700_000_000_123));
        assert_eq!(read("1h"), Some(996_400_000));
        assert_eq!(read("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(read("2026-11-20T23:59:59.9994+00:00"), Some(1_795_219_199_999));
        assert_eq!(read("2000-02-29T01:30:00+01:30"), Some(951_782_400_000));
        for wrong in ["", "2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
