//! What other documents would change, over HTTP: between two bundles, and in the log as it was. Owns the bounds
//! on that work, and that it ends when nobody listens; refuses to know how decisions are compared.

use super::{apart, findings, missing, sources_of};
use crate::audit::instant_of;
use crate::auth::{Act, OVERSEERS};
use crate::call::Call;
use crate::document;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{BacktestDocument, DiffDocument, JsonObject, Sha};
use placet_policy::diff::{Diff, Extent, diff_while};
use placet_policy::{Bundle, Diagnostic};
use placet_runtime::backtest::{Range, Report};
use placet_runtime::crypto::Fast;
use placet_types::ids::TimeMs;
use placet_types::json::Object;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Cells of a partition that one call looks at; beyond them it looks at samples.
const CELLS_MAX: u64 = 50_000;
/// Most requests that one call generates.
const SAMPLES_MAX: u32 = 20_000;
const SAMPLES: u32 = 5000;
/// Entries of a log that one call reads.
const ENTRIES_MAX: u64 = 2_000_000;

/// `POST /api/v1/policies/diff`
pub(crate) async fn diff(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["after", "before", "samples", "witnesses"]).await?;
    let after = sources_of(&mut fields, "after")?
        .ok_or_else(|| Problem::missing("/after", "after is required: a list of {name, text}"))?;
    let before = sources_of(&mut fields, "before")?;
    let extent = Extent {
        cells_max: CELLS_MAX,
        samples: number(&mut fields, "samples", SAMPLES, 0, SAMPLES_MAX)?,
        witnesses: number(&mut fields, "witnesses", 3, 1, 20)? as usize,
    };
    let in_force = session.workspace.bundle();
    let (goes_on, heard) = Listening::to(&call);
    let compared =
        apart(&call, &session, move || -> Result<Result<Diff, Vec<Diagnostic>>, Problem> {
            let before = match before {
                Some(sources) => match Bundle::compile::<Fast>(&sources) {
                    Ok(bundle) => Arc::new(bundle),
                    Err(found) => return Ok(Err(found)),
                },
                None => in_force.ok_or_else(|| {
                    Problem::invalid("/before", "no bundle is in force here: send the documents")
                })?,
            };
            let after = match Bundle::compile::<Fast>(&after) {
                Ok(bundle) => bundle,
                Err(found) => return Ok(Err(found)),
            };
            Ok(Ok(diff_while(&before, &after, &extent, &mut |_| {}, &goes_on)))
        });
    let compared = compared.await??;
    drop(heard);
    match compared {
        Ok(found) if wants_text(&call)? => Ok(text(found.to_string())),
        Ok(found) => {
            let complete = Some(found.complete);
            let found = found.to_value();
            let diff = found.as_object().map(JsonObject);
            let document = DiffDocument { ok: true, complete, diff, findings: Vec::new() };
            document::answer(StatusCode::OK, &document)
        }
        Err(found) => {
            let findings = findings(&found);
            let document = DiffDocument { ok: false, complete: None, diff: None, findings };
            document::answer(StatusCode::OK, &document)
        }
    }
}

/// Tells the work to end when the call is dropped.
struct Listening(Arc<AtomicBool>);

impl Listening {
    /// What the work asks whether it goes on: while somebody listens, the server is not to stop, and there is
    /// time left.
    fn to(call: &Call) -> (impl Fn() -> bool + Send + use<>, Self) {
        let listening = Arc::new(AtomicBool::new(true));
        let (heard, server) = (listening.clone(), call.server.clone());
        // What was waiting for its turn counts.
        let began = Instant::now();
        let goes_on = move || {
            heard.load(Ordering::Relaxed)
                && !*server.stopping.borrow()
                && began.elapsed() < server.options.comparing_time
        };
        (goes_on, Self(listening))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What deciding again came to.
struct Again {
    policy: Sha,
    report: Report,
    entries: u64,
    complete: bool,
}

/// `POST /api/v1/policies/backtest`: overseers alone, since samples are of everybody's decisions.
pub(crate) async fn backtest(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&OVERSEERS)?;
    let known = ["samples", "since", "sources", "surface", "until"];
    let mut fields = call.object(&known).await?;
    let now = call.server.plane.now();
    let range = Range {
        since: instant(&mut fields, "since", now)?,
        until: instant(&mut fields, "until", now)?,
        workspace: Some(session.workspace.name.clone()),
        surface: crate::call::text(&mut fields, "surface", 200)?,
        // Decisions come first.
        threads: 1,
        samples: number(&mut fields, "samples", 5, 1, 100)? as usize,
    };
    let sources = sources_of(&mut fields, "sources")?.ok_or_else(missing)?;
    let (goes_on, heard) = Listening::to(&call);
    let server = call.server.clone();
    let work = move || -> Result<Result<Again, Vec<Diagnostic>>, Problem> {
        let bundle = match Bundle::compile::<Fast>(&sources) {
            Ok(bundle) => bundle,
            Err(found) => return Ok(Err(found)),
        };
        let (mut entries, mut complete) = (0, true);
        let report = server.plane.backtest(&bundle, &range, &mut |done| {
            entries = done;
            complete = done < ENTRIES_MAX && goes_on();
            if complete { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(Ok(Again { policy: Sha(bundle.digest()), report, entries, complete }))
    };
    let done = apart(&call, &session, work).await??;
    drop(heard);
    match done {
        Ok(again) if wants_text(&call)? => {
            let bound = "not all of the range was looked at: a call has bounds; \
                         `placet policy backtest` on the data directory or a back-up has none\n";
            let end = if again.complete { "" } else { bound };
            Ok(text(format!("policy {}\n{}{end}", again.policy.0, again.report)))
        }
        Ok(again) => {
            let report = again.report.to_value();
            let document = BacktestDocument {
                ok: true,
                complete: Some(again.complete),
                entries: Some(again.entries),
                policy: Some(again.policy),
                report: report.as_object().map(JsonObject),
                findings: Vec::new(),
            };
            document::answer(StatusCode::OK, &document)
        }
        Err(found) => {
            let document = BacktestDocument {
                ok: false,
                complete: None,
                entries: None,
                policy: None,
                report: None,
                findings: findings(&found),
            };
            document::answer(StatusCode::OK, &document)
        }
    }
}

/// Whether lines are wanted, and no document.
fn wants_text(call: &Call) -> Result<bool, Problem> {
    let accept = call.header("accept")?.unwrap_or_default();
    Ok(accept.contains("text/plain") && !accept.contains("application/json"))
}

fn text(lines: String) -> Response {
    document::respond(StatusCode::OK, "text/plain; charset=utf-8", lines)
}

fn number(
    fields: &mut Object,
    name: &str,
    default: u32,
    min: u32,
    max: u32,
) -> Result<u32, Problem> {
    let Some(value) = fields.remove(name) else { return Ok(default) };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
        Problem::invalid(&format!("/{name}"), format!("expected a number from {min} to {max}"))
    })
}

fn instant(fields: &mut Object, name: &str, now: TimeMs) -> Result<Option<TimeMs>, Problem> {
    let Some(text) = crate::call::text(fields, name, 40)? else { return Ok(None) };
    instant_of(&text, now).map(Some).ok_or_else(|| {
        let expected = "expected RFC 3339, Unix milliseconds, or an age such as 30d";
        Problem::invalid(&format!("/{name}"), expected)
    })
}
