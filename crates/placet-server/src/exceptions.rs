//! Exceptions over HTTP: asking for one, closing, reviewing, looking. Owns who sees which and how loudly
//! they show; refuses to know what they lead to.

use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call};
use crate::document;
use crate::governed::{USED_UP, idempotency_key, permitted, random, report};
use crate::names::Names;
use crate::problem::Problem;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use placet_api::{
    ExceptionControl, ExceptionDocument, ExceptionList, ExceptionPassageDocument, ExceptionReview,
    ExceptionSpan, IdText, Instant,
};
use placet_engine::Exception;
use placet_runtime::{ExceptionSpec, LogEntry, PlaneError, is_party};
use placet_types::event::{ANY_SURFACE, Control, DecisionEvent, Event, PayloadErased, Waives};
use placet_types::ids::{
    ActorId, ActorKind, ExceptionId, TimeMs, is_dotted_name, is_label, is_name,
};
use placet_types::json::{Object, Value};

/// Most exceptions of one page.
const PAGE_MAX: usize = 200;
/// Most passages that are shown with one.
const PASSAGES_MAX: usize = 200;
/// Longest text of people.
const NOTE_MAX: usize = 2000;

/// The exception that a decision rests on.
pub(crate) const PASSED: HeaderName = HeaderName::from_static("x-placet-exception");
/// How many live exceptions of the workspace waive all of policy.
pub(crate) const UNGOVERNED: HeaderName = HeaderName::from_static("x-placet-ungoverned");

const KNOWN: [&str; 17] = [
    "action",
    "actor",
    "break_glass",
    "capability",
    "controls",
    "duration",
    "environment",
    "execution",
    "idempotency_key",
    "note",
    "owner",
    "reason",
    "retroactive",
    "review_within",
    "surface",
    "target",
    "waives",
];

/// Says in the head of an answer under which exception a decision passed.
pub(crate) fn mark(response: &mut Response, event: &DecisionEvent) {
    let text = event.exception.as_ref().map(|it| it.exception.to_string());
    if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(PASSED, value);
    }
}

/// `POST /api/v1/exceptions`: asks for a decision on `override.exception`, and opens it once permitted.
pub(crate) async fn open(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let mut fields = call.object(&KNOWN).await?;
    let given = call::text(&mut fields, "idempotency_key", 200)?;
    let key = idempotency_key(&call, given)?;
    let spec = spec(&call, &session, &mut fields)?;
    let body = placet_runtime::Plane::exception_request(&spec, key, Some(random()));
    let decision = match permitted(&call, &session, body, USED_UP).await? {
        Ok(decision) => decision,
        Err(response) => return Ok(response),
    };
    let (workspace, principal) = (&session.workspace, &session.principal);
    let opened = call.server.plane.open_exception(workspace, principal, &spec, decision).await;
    report(&call, &session, decision, opened.is_ok()).await;
    let opened = opened?;
    let payload = payload(&call, &session, &opened).await?;
    let names = Names::of(&call.server, &session);
    let document = build(&opened, payload.as_ref(), &names, call.server.plane.now());
    document::answer(StatusCode::CREATED, &document)
}

/// `GET /api/v1/exceptions`: overseers see all, everybody else those that concern them.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let query = call.query(&["cursor", "limit"])?;
    let limit = query.limit(50, PAGE_MAX)?;
    let before = query.parsed("cursor", "an exception id", ExceptionId::parse)?;
    let own = session.workspace.actor_ref(&session.principal.caller.actor);
    let party = (!session.has_any(&OVERSEERS)).then_some(own);
    let plane = &call.server.plane;
    let page = plane.exceptions(&session.workspace, party, before, limit).await?;
    let last = page.last().filter(|_| page.len() == limit);
    let next_cursor = last.map(|it| it.id().to_string());
    let names = Names::of(&call.server, &session);
    let mut exceptions = Vec::with_capacity(page.len());
    for exception in &page {
        let payload = payload(&call, &session, exception).await?;
        exceptions.push(build(exception, payload.as_ref(), &names, plane.now()));
    }
    document::answer(StatusCode::OK, &ExceptionList { exceptions, next_cursor })
}

/// `GET /api/v1/exceptions/{id}`, with what passed under it.
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let exception = seen(&call, &session).await?;
    answer(&call, &session, &exception).await
}

/// `POST /api/v1/exceptions/{id}/close`
pub(crate) async fn close(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    call.object(&[]).await?;
    let id = seen(&call, &session).await?.id();
    let (workspace, principal) = (&session.workspace, &session.principal);
    let closed = call.server.plane.close_exception(workspace, principal, id).await?;
    answer(&call, &session, &closed).await
}

/// `POST /api/v1/exceptions/{id}/review`
pub(crate) async fn review(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let mut fields = call.object(&["justified", "note"]).await?;
    let justified = match fields.remove("justified") {
        Some(Value::Bool(justified)) => justified,
        None => return Err(Problem::missing("/justified", "say whether it was right to open it")),
        Some(_) => return Err(Problem::invalid("/justified", "expected true or false")),
    };
    let note = call::required(&mut fields, "note", NOTE_MAX)?;
    if note.trim().is_empty() {
        return Err(Problem::invalid("/note", "say what was found"));
    }
    let id = seen(&call, &session).await?.id();
    let (workspace, principal) = (&session.workspace, &session.principal);
    let plane = &call.server.plane;
    let reviewed = plane.review_exception(workspace, principal, id, justified, &note).await?;
    answer(&call, &session, &reviewed).await
}

/// The exception of the path, if the caller may see it; what is no id does not exist.
async fn seen(call: &Call, session: &Session) -> Result<Exception, Problem> {
    let missing = || Problem::from(PlaneError::NotFound("exception"));
    let id = ExceptionId::parse(&call.segment(3)?).ok_or_else(missing)?;
    let exception = call.server.plane.exception(&session.workspace, id).await?;
    let own = session.workspace.actor_ref(&session.principal.caller.actor);
    if session.has_any(&OVERSEERS) || is_party(&exception, &own) {
        return Ok(exception);
    }
    Err(missing())
}

async fn answer(
    call: &Call,
    session: &Session,
    exception: &Exception,
) -> Result<Response, Problem> {
    let names = Names::of(&call.server, session);
    let payload = payload(call, session, exception).await?;
    let (plane, workspace) = (call.server.plane.clone(), session.workspace.clone());
    let id = exception.id();
    let passed = document::blocking(&call.server, move || {
        match plane.passages(&workspace, id, None, PASSAGES_MAX) {
            // The exception stands without the list; it is complete once the read model has caught up.
            Err(PlaneError::Indexing { .. }) => Ok(Vec::new()),
            found => found,
        }
    });
    let passages = passed.await?.iter().filter_map(passage).collect();
    let document = build(exception, payload.as_ref(), &names, call.server.plane.now());
    let document = ExceptionDocument { passages: Some(passages), ..document };
    document::answer(StatusCode::OK, &document)
}

fn passage(found: &LogEntry) -> Option<ExceptionPassageDocument> {
    let Event::Decision(event) = &found.entry.event else { return None };
    let passage = event.exception.as_ref()?;
    Some(ExceptionPassageDocument {
        decision: IdText(event.decision),
        index: found.index,
        time: Instant(found.entry.time),
        outcome: event.outcome.as_str(),
        surface: event.surface.clone(),
        action: event.action.clone(),
        waived: passage.waived.clone(),
        waived_all: passage.waived_all,
    })
}

async fn payload(
    call: &Call,
    session: &Session,
    exception: &Exception,
) -> Result<Option<Object>, Problem> {
    let (plane, workspace, index) =
        (call.server.plane.clone(), session.workspace.clone(), exception.index);
    document::blocking(&call.server, move || plane.payload_at(&workspace, index)).await
}

pub(crate) fn build(
    it: &Exception,
    payload: Option<&Object>,
    names: &Names<'_>,
    now: TimeMs,
) -> ExceptionDocument {
    let asked = payload.and_then(|payload| payload.get("asked")).and_then(Value::as_object);
    let told = |key: &str| Some(asked?.get(key)?.as_str()?.to_owned());
    let name = |who: &str| names.get(who);
    let opened = &it.opened;
    let scope = &opened.scope;
    // Its end may be due and not written yet.
    let state = match it.standing {
        placet_engine::ExceptionStanding::Live if !it.is_live(now) => "run_out",
        standing => standing.as_str(),
    };
    let control = |control: &Control| ExceptionControl {
        control: control.text(),
        checked: control.is_checked(),
    };
    let span =
        |(from, to): (TimeMs, TimeMs)| ExceptionSpan { from: from.rfc3339(), to: to.rfc3339() };
    ExceptionDocument {
        id: IdText(it.id()),
        state,
        governance: opened.waives.is_governance(),
        break_glass: opened.break_glass,
        retroactive: opened.retroactive.map(span),
        surface: scope.surface.clone(),
        actor: told("actor").unwrap_or_else(|| name(scope.actor.as_str())),
        action: scope.action.clone(),
        environment: scope.environment.clone(),
        capability: scope.capability.clone(),
        target: told("target"),
        execution: told("execution"),
        waives: opened.waives.texts(),
        controls: opened.controls.iter().map(control).collect(),
        reason: opened.reason.clone(),
        note: told("note"),
        owner: told("owner").unwrap_or_else(|| name(opened.owner.as_str())),
        opened_by: name(opened.by.as_str()),
        opened: Instant(it.since),
        expires: Instant(opened.ends),
        ended: it.ended.map(Instant),
        closed_by: it.closed_by.as_ref().map(|by| name(by.as_str())),
        decision: IdText(opened.decision),
        index: it.index,
        uses: it.uses,
        review_due: Instant(it.due()),
        review_overdue: it.is_overdue(now),
        review: it.reviewed.as_ref().map(|review| ExceptionReview {
            by: name(review.by.as_str()),
            at: Instant(review.at),
            justified: review.justified,
        }),
        passages: None,
    }
}

fn spec(call: &Call, session: &Session, fields: &mut Object) -> Result<ExceptionSpec, Problem> {
    let invalid = |field: &str, text: &str| Problem::invalid(&format!("/{field}"), text);
    let surface = call::required(fields, "surface", 200)?;
    if surface != ANY_SURFACE && !is_dotted_name(&surface) {
        return Err(invalid("surface", "expected a surface, or `*` for every surface"));
    }
    let actor = call::required(fields, "actor", 200)?;
    let actor = ActorId::parse(&actor)
        .ok_or_else(|| invalid("actor", "expected an actor such as agent:name"))?;
    let mut part = |name: &str, fits: fn(&str) -> bool, text: &str| {
        let found = call::text(fields, name, 2048)?;
        match found.as_deref().is_none_or(fits) {
            true => Ok(found),
            false => Err(invalid(name, text)),
        }
    };
    let dotted = "expected names separated by dots";
    let action = part("action", is_dotted_name, dotted)?;
    let environment = part("environment", is_label, "expected lower-case letters, digits and '-'")?;
    let named = "expected letters, digits and . _ @ : / + -, up to 200 bytes";
    let capability = part("capability", is_name, named)?;
    let execution = part("execution", is_name, named)?;
    let target = part("target", |text| !text.is_empty(), "expected 1 to 2048 bytes")?;
    let break_glass = flag(fields, "break_glass")?;
    let reason = call::required(fields, "reason", 64)?;
    if !PayloadErased::is_reason(&reason) {
        let text = "expected a code of lower-case letters, digits and . _ -; words go into note";
        return Err(invalid("reason", text));
    }
    let own = session.principal.caller.actor.clone();
    let owner = match call::text(fields, "owner", 200)? {
        None => own,
        Some(owner) => ActorId::parse(&owner)
            .filter(|actor| actor.kind() == ActorKind::Human)
            .ok_or_else(|| invalid("owner", "expected a person: human:name"))?,
    };
    let plane = &call.server.plane;
    let environment_of = environment.as_deref();
    let allowed =
        plane.exception_allowed(&session.workspace, &surface, environment_of, break_glass);
    may_open(session, &allowed.roles, break_glass)?;
    let mut time = |name: &str, default: u64, most: u64, code: &str| {
        let Some(text) = call::text(fields, name, 20)? else { return Ok(default) };
        let expected = "expected a duration such as 30m or 8h";
        let ms = call::duration_ms(&text).filter(|ms| *ms > 0);
        let ms = ms.ok_or_else(|| invalid(name, expected))?;
        match ms <= most {
            true => Ok(ms),
            false => {
                let text = format!("the policy in force allows {} here", span(most));
                Err(Problem::new(code, text).at(&format!("/{name}")))
            }
        }
    };
    let duration_ms = time("duration", allowed.default_ms, allowed.max_ms, "exception_too_long")?;
    let review_ms =
        time("review_within", allowed.review_ms, allowed.review_ms, "exception_review_late")?;
    let retroactive = retroactive(fields, plane.now())?;
    if duration_ms == 0 && retroactive.is_none() {
        let text = "the policy in force allows no exception here";
        return Err(Problem::new("exception_too_long", text).at("/duration"));
    }
    Ok(ExceptionSpec {
        surface,
        actor,
        action,
        environment,
        capability,
        target,
        execution,
        waives: waives(fields)?,
        controls: controls(session, fields)?,
        reason,
        note: call::text(fields, "note", NOTE_MAX)?,
        owner,
        duration_ms,
        review_ms,
        break_glass,
        retroactive,
    })
}

/// Nobody is asked to approve what the policy lets this caller open in no case.
fn may_open(
    session: &Session,
    roles: &std::collections::BTreeSet<String>,
    break_glass: bool,
) -> Result<(), Problem> {
    if roles.iter().any(|role| session.principal.caller.roles.contains(role)) {
        return Ok(());
    }
    let text = match (break_glass, roles.is_empty()) {
        (true, true) => {
            "the policy lets nobody break the glass; name roles in `exceptions: {break_glass: …}`"
                .to_owned()
        }
        _ => {
            let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
            format!("the caller needs one of the roles {}", roles.join(", "))
        }
    };
    Err(Problem::role_missing(&text))
}

/// A duration for people.
fn span(ms: u64) -> String {
    match ms {
        0 => "none".to_owned(),
        ms if ms.is_multiple_of(3_600_000) => format!("{} h at most", ms / 3_600_000),
        ms if ms.is_multiple_of(60_000) => format!("{} min at most", ms / 60_000),
        ms => format!("{} s at most", ms / 1000),
    }
}

fn flag(fields: &mut Object, name: &str) -> Result<bool, Problem> {
    match fields.remove(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(Problem::invalid(&format!("/{name}"), "expected true or false")),
    }
}

fn texts(fields: &mut Object, name: &str, most: usize) -> Result<Vec<String>, Problem> {
    let expected = || Problem::invalid(&format!("/{name}"), format!("expected up to {most} texts"));
    let items = match fields.remove(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= most => items,
        Some(_) => return Err(expected()),
    };
    let text = |item| match item {
        Value::String(text) => Ok(text),
        _ => Err(expected()),
    };
    items.into_iter().map(text).collect()
}

fn waives(fields: &mut Object) -> Result<Waives, Problem> {
    let texts = texts(fields, "waives", Waives::MAX)?;
    if texts.is_empty() {
        let text = "name what it waives: `floor`, `rule:id`, `governance` and so on";
        return Err(Problem::missing("/waives", text));
    }
    let mut waives = Waives::default();
    for (at, text) in texts.iter().enumerate() {
        if !waives.add(text) {
            let expected = "expected floor, rules, contract, evidence, access, models, approvals or \
                            governance, or `rule:` and an id, each once";
            return Err(Problem::invalid(&format!("/waives/{at}"), expected));
        }
    }
    Ok(waives)
}

fn controls(session: &Session, fields: &mut Object) -> Result<Vec<Control>, Problem> {
    let texts = texts(fields, "controls", Control::MAX)?;
    let control = |(at, text): (usize, &String)| {
        let expected = "expected second_person, evidence:type, max_uses:N, constraint:{…} or \
                        notify:channel";
        let field = format!("/controls/{at}");
        match Control::parse(text).ok_or_else(|| Problem::invalid(&field, expected))? {
            Control::Notify(id) if !knows(session, &id) => {
                let text = format!("the policy in force has no channel `{id}`; see `channels:`");
                Err(Problem::invalid(&field, &text))
            }
            control => Ok(control),
        }
    };
    texts.iter().enumerate().map(control).collect()
}

/// Whether the policy in force has a channel of this name: nobody is promised what cannot be sent.
fn knows(session: &Session, channel: &str) -> bool {
    session.workspace.bundle().is_some_and(|bundle| bundle.notify().channel(channel).is_some())
}

fn retroactive(fields: &mut Object, now: TimeMs) -> Result<Option<(TimeMs, TimeMs)>, Problem> {
    let mut span = match fields.remove("retroactive") {
        None => return Ok(None),
        Some(Value::Object(span)) => span,
        Some(_) => return Err(Problem::invalid("/retroactive", "expected from and to")),
    };
    let mut instant = |name: &str| {
        let field = format!("/retroactive/{name}");
        let text = span.remove(name);
        let text = text.as_ref().and_then(Value::as_str);
        text.and_then(TimeMs::parse_rfc3339)
            .ok_or_else(|| Problem::invalid(&field, "expected an instant: 2027-01-31T12:00:00Z"))
    };
    let (from, to) = (instant("from")?, instant("to")?);
    if !span.is_empty() || from >= to || to > now {
        let text = "expected from before to, and to not in the future";
        return Err(Problem::invalid("/retroactive", text));
    }
    Ok(Some((from, to)))
}
