//! Deciding and what follows it: the hot path, batches, waiting, consuming, reporting. Refuses to
//! know who may approve.

use crate::auth::{Act, Session};
use crate::call::{self, Call};
use crate::document;
use crate::exceptions;
use crate::problem::Problem;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use placet_runtime::{Decided, DecisionAnswer, PlaneError, Principal};
use placet_types::event::ReportedResult;
use placet_types::ids::DecisionId;
use placet_types::json::{Object, Value};
use placet_types::{Caller, Request};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// Longest wait for an approval.
const WAIT_MAX: u64 = 60_000;
/// Most requests of one batch.
const BATCH_MAX: usize = 100;
/// Largest detail of a report, canonical bytes.
const DETAIL_MAX: usize = 64 << 10;

/// `POST /api/v1/decisions`
pub(crate) async fn decide(mut call: Call) -> Result<Response, Problem> {
    let inline = inline_receipt(&call)?;
    let mut session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    // A place is for what is there: a body that is slow to come holds none.
    let body = call.body_bytes().await?;
    let _place = call.decide_place(1).await?;
    let body = call.parsed(&body)?;
    let headers = Defaults::read(&call.parts.headers)?;
    let request = headers.request(body, &mut session.principal.caller)?;
    let plane = &call.server.plane;
    let decided = plane.decide(&session.workspace, &session.principal, &request).await?;
    let body = decided_document(&call, &session, &decided, inline).await?;
    let mut response = document::json(StatusCode::OK, body);
    exceptions::mark(&mut response, &decided.answer.event);
    Ok(response)
}

async fn decided_document(
    call: &Call,
    session: &Session,
    decided: &Decided,
    inline: bool,
) -> Result<Vec<u8>, Problem> {
    let server = &call.server;
    let receipt = match inline {
        true => Some(server.plane.receipt_inline(&session.workspace, decided)?),
        false => None,
    };
    let fresh = !decided.answer.replayed;
    document::decision(server, session, &decided.answer, receipt.as_deref(), fresh).await
}

fn inline_receipt(call: &Call) -> Result<bool, Problem> {
    if call.parts.uri.query().is_none() {
        return Ok(false);
    }
    let query = call.query(&["receipt"])?;
    let inline = query.parsed("receipt", "inline", |text| (text == "inline").then_some(()))?;
    Ok(inline.is_some())
}

pub(crate) fn admit(call: &Call, session: &Session, count: u32) -> Result<(), Problem> {
    let server = &call.server;
    if server.options.admission_per_second > 0 {
        server.admission.admit(session.principal.key, count, server.elapsed_ms())?;
    }
    Ok(())
}

/// Members of the body that headers may hold instead.
struct Defaults<'a> {
    idempotency_key: Option<&'a str>,
    attempt_nonce: Option<&'a str>,
}

impl<'a> Defaults<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            idempotency_key: call::header_of(headers, "idempotency-key")?,
            attempt_nonce: call::header_of(headers, "placet-attempt-nonce")?,
        })
    }

    fn request(&self, body: Option<Value>, caller: &mut Caller) -> Result<Request, Problem> {
        let missing = || Problem::missing("", "the body must be an execution request");
        let mut body = body.ok_or_else(missing)?;
        if let Value::Object(fields) = &mut body {
            agree(fields, "idempotency_key", self.idempotency_key)?;
            agree(fields, "attempt_nonce", self.attempt_nonce)?;
        }
        Ok(Request::read(body, caller)?)
    }
}

fn agree(fields: &mut Object, name: &str, header: Option<&str>) -> Result<(), Problem> {
    let Some(header) = header else { return Ok(()) };
    match fields.get(name) {
        None => {
            fields.set(name, header);
            Ok(())
        }
        Some(value) if value.as_str() == Some(header) => Ok(()),
        Some(_) => {
            let field = format!("/{name}");
            Err(Problem::invalid(&field, "the header says another; send one of them"))
        }
    }
}

/// `POST /api/v1/decisions:batch`
pub(crate) async fn batch(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["requests"]).await?;
    let items = match fields.remove("requests") {
        Some(Value::Array(items)) if (1..=BATCH_MAX).contains(&items.len()) => items,
        None => return Err(Problem::missing("/requests", "requests is required")),
        Some(_) => {
            let text = format!("expected an array of 1 to {BATCH_MAX} requests");
            return Err(Problem::invalid("/requests", text));
        }
    };
    let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
    admit(&call, &session, count)?;
    let _place = call.decide_place(count).await?;
    let one = |item: Value| decide_item(&call, &session, item);
    let results = in_order(items.into_iter().map(one).collect()).await;
    let mut body = b"{\"results\":[".to_vec();
    for (at, result) in results.into_iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        match result {
            Ok(decision) => {
                body.extend_from_slice(b"{\"decision\":");
                body.extend_from_slice(&decision);
            }
            Err(problem) => {
                body.extend_from_slice(b"{\"problem\":");
                let problem = serde_json::to_vec(problem.document());
                body.extend_from_slice(&problem.unwrap_or_else(|_| b"null".to_vec()));
            }
        }
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    Ok(document::json(StatusCode::OK, body))
}

async fn decide_item(call: &Call, session: &Session, item: Value) -> Result<Vec<u8>, Problem> {
    let mut caller = session.principal.caller.clone();
    let none = Defaults { idempotency_key: None, attempt_nonce: None };
    let request = none.request(Some(item), &mut caller)?;
    let principal = Principal { caller, key: session.principal.key };
    let plane = &call.server.plane;
    let decided = plane.decide(&session.workspace, &principal, &request).await?;
    decided_document(call, session, &decided, false).await
}

/// Runs futures together. Each is first polled in order, and a decision is handed to the sequencer
/// at its first poll: that makes duplicates within a batch behave as calls one after the other.
pub(crate) async fn in_order<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    enum Slot<F, T> {
        Running(Pin<Box<F>>),
        Done(T),
    }
    let mut slots: Vec<_> = futures.into_iter().map(|f| Slot::Running(Box::pin(f))).collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for slot in &mut slots {
            if let Slot::Running(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *slot = Slot::Done(value),
                    Poll::Pending => ready = false,
                }
            }
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let done = |slot| match slot {
        Slot::Done(value) => Some(value),
        Slot::Running(_) => None,
    };
    slots.into_iter().filter_map(done).collect()
}

/// The decision id in a path; what is no id does not exist.
fn decision_id(call: &Call) -> Result<DecisionId, Problem> {
    let missing = || Problem::from(PlaneError::NotFound("decision"));
    DecisionId::parse(&call.segment(3)?).ok_or_else(missing)
}

/// `GET /api/v1/decisions/{id}`
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let query = call.query(&["wait"])?;
    let wait = query.parsed("wait", "a duration such as 25s", call::duration_ms)?.unwrap_or(0);
    let nonce = call::nonce(call.header("placet-attempt-nonce")?)?;
    let id = decision_id(&call)?;
    let (plane, workspace, principal) =
        (&call.server.plane, &session.workspace, &session.principal);
    let look = |wait| plane.decision(workspace, principal, id, nonce, wait);
    let answer = tokio::select! {
        biased;
        answer = look(Duration::from_millis(wait.min(WAIT_MAX))) => answer?,
        () = call.server.stopped() => look(Duration::ZERO).await?,
    };
    present(&call, &session, &answer).await
}

async fn present(
    call: &Call,
    session: &Session,
    answer: &DecisionAnswer,
) -> Result<Response, Problem> {
    let body = document::decision(&call.server, session, answer, None, false).await?;
    let mut response = document::json(StatusCode::OK, body);
    exceptions::mark(&mut response, &answer.event);
    Ok(response)
}

/// `POST /api/v1/decisions/{id}/consume`
pub(crate) async fn consume(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["attempt_nonce"]).await?;
    agree(&mut fields, "attempt_nonce", call.header("placet-attempt-nonce")?)?;
    let nonce = call::nonce(call::text(&mut fields, "attempt_nonce", 200)?.as_deref())?;
    let id = decision_id(&call)?;
    let plane = &call.server.plane;
    let answer = plane.consume(&session.workspace, &session.principal, id, nonce).await?;
    present(&call, &session, &answer).await
}

/// `POST /api/v1/decisions/{id}/outcome`
pub(crate) async fn outcome(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["detail", "result"]).await?;
    let result = call::required(&mut fields, "result", 32)?;
    let invalid = || Problem::invalid("/result", "expected succeeded, failed or not_executed");
    let result = ReportedResult::parse(&result).ok_or_else(invalid)?;
    let detail = fields.remove("detail");
    if detail.as_ref().is_some_and(|detail| detail.to_canonical().len() > DETAIL_MAX) {
        return Err(Problem::invalid("/detail", "expected at most 64 KiB of JSON"));
    }
    let id = decision_id(&call)?;
    let detail = Object::new().with_opt("detail", detail);
    let plane = &call.server.plane;
    let answer = plane.report(&session.workspace, &session.principal, id, result, detail).await?;
    present(&call, &session, &answer).await
}

/// `POST /api/v1/decisions/{id}/withdraw`
pub(crate) async fn withdraw(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    call.object(&[]).await?;
    let id = decision_id(&call)?;
    let (plane, workspace, principal) =
        (&call.server.plane, &session.workspace, &session.principal);
    plane.withdraw(workspace, principal, id).await?;
    let answer = plane.decision(workspace, principal, id, None, Duration::ZERO).await?;
    present(&call, &session, &answer).await
}
