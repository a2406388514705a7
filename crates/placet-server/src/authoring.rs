//! Writing policy over HTTP: documents are linted, tried and explained, and none comes into force here. Owns
//! the bounds on that work; refuses to know what is found.

pub(crate) mod compare;
mod recorded;
pub(crate) mod texts;

use crate::auth::{Act, Session};
use crate::call::Call;
use crate::document;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    CaseDocument, DifferenceDocument, ExplainDocument, FindingDocument, JsonObject, LintDocument,
    Sha, TestDocument,
};
use placet_policy::{Bundle, Diagnostic, Earlier, RuleTrace, Scratch, Source, lint as look};
use placet_runtime::crypto::{Fast, SystemClock};
use placet_runtime::ports::Clock;
use placet_runtime::{CaseResult, DryRun, run_case_while};
use placet_types::ids::{ActorId, TimeMs, is_label};
use placet_types::json::{Object, Value};
use placet_types::{Caller, Request};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most documents of one call.
const SOURCES_MAX: usize = 1000;
/// Most decisions that the cases of one call may take, those of their histories among them.
const DECISIONS_MAX: u64 = 10_000;
/// How long a call may wait for its turn.
const WAIT: Duration = Duration::from_secs(2);
/// How long the decisions of one call may take. Asked before each of them.
const TRYING: Duration = Duration::from_secs(10);

/// Whether there is still time, from now on.
fn in_time() -> impl Fn() -> bool {
    let begun = Instant::now();
    move || begun.elapsed() < TRYING
}

/// `POST /api/v1/policies/lint`
pub(crate) async fn lint(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["sources"]).await?;
    let sources = sources(&mut fields)?.ok_or_else(missing)?;
    let linted = apart(&call, &session, move || look::<Fast>(&sources)).await?;
    let document = LintDocument {
        ok: linted.digest.is_some(),
        digest: linted.digest.map(Sha),
        findings: findings(&linted.findings),
    };
    document::answer(StatusCode::OK, &document)
}

/// `POST /api/v1/policies/test`
pub(crate) async fn test(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["filter", "sources"]).await?;
    let filter = crate::call::text(&mut fields, "filter", 200)?.unwrap_or_default();
    let sources = sources(&mut fields)?.ok_or_else(missing)?;
    let ran = apart(&call, &session, move || run(&sources, &filter)).await??;
    let document = match &ran {
        Ran::Refused(found) => TestDocument {
            ok: false,
            digest: None,
            cases: Vec::new(),
            failed: 0,
            findings: findings(found),
        },
        Ran::Done(bundle, results) => {
            let failed = results.iter().filter(|result| !result.passed()).count();
            TestDocument {
                ok: failed == 0 && !results.is_empty(),
                digest: Some(Sha(bundle.digest())),
                cases: results.iter().map(case).collect(),
                failed,
                findings: Vec::new(),
            }
        }
    };
    document::answer(StatusCode::OK, &document)
}

enum Ran {
    Refused(Vec<Diagnostic>),
    Done(Box<Bundle>, Vec<CaseResult>),
}

fn run(sources: &[Source], filter: &str) -> Result<Ran, Problem> {
    let bundle = match Bundle::compile::<Fast>(sources) {
        Ok(bundle) => bundle,
        Err(found) => return Ok(Ran::Refused(found)),
    };
    let mut decisions = 0_u64;
    let mut results = Vec::new();
    let in_time = in_time();
    for case in bundle.cases().filter(|case| case.id.contains(filter)) {
        decisions = case
            .history
            .iter()
            .fold(decisions.saturating_add(1), |sum, step| sum.saturating_add(step.times));
        if decisions > DECISIONS_MAX {
            let text = format!(
                "the cases take more than {DECISIONS_MAX} decisions; name some with filter, or run `placet policy test`"
            );
            return Err(Problem::invalid("/sources", text));
        }
        let result = run_case_while(&bundle, case, &in_time).map_err(|_| {
            let text = format!(
                "the cases take more than {} s, of which {} ended; name some with filter, or run `placet policy test`",
                TRYING.as_secs(),
                results.len()
            );
            Problem::invalid("/sources", text)
        })?;
        results.push(result);
    }
    Ok(Ran::Done(Box::new(bundle), results))
}

/// `POST /api/v1/policies/explain`
pub(crate) async fn explain(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let known = ["at", "caller", "decision", "history", "matched", "request", "rules", "sources"];
    let mut fields = call.object(&known).await?;
    let only = only(&mut fields)?;
    if let Some(id) = crate::call::text(&mut fields, "decision", 64)? {
        return recorded::explain(&call, &session, &id, only, fields).await;
    }
    let sources = sources(&mut fields)?;
    let at = match fields.remove("at") {
        None => SystemClock::default().wall(),
        Some(at) => at.as_str().and_then(TimeMs::parse_rfc3339).ok_or_else(|| {
            Problem::invalid("/at", "expected an instant in UTC such as 2026-01-01T00:00:00Z")
        })?,
    };
    let mut caller = session.principal.caller.clone();
    if let Some(value) = fields.remove("caller") {
        caller = other(&session, &caller, &value)?;
    }
    let mut body = fields
        .remove("request")
        .ok_or_else(|| Problem::missing("/request", "request, or decision, is required"))?;
    // Nothing is recorded, so there is nothing to bind.
    if let Value::Object(body) = &mut body
        && body.get("idempotency_key").is_none()
    {
        body.set("idempotency_key", "explain");
    }
    let request = Request::read(body, &caller).map_err(|error| {
        Problem::new(error.code(), error.to_string()).at(&format!("/request{}", error.field()))
    })?;
    let history = match fields.remove("history") {
        None => Vec::new(),
        Some(value) => Earlier::list(&value, &caller, at)
            .map_err(|(pointer, why)| Problem::invalid(&format!("/history{pointer}"), why))?,
    };
    let in_force = session.workspace.bundle();
    let asked = Asked { request, caller, at, history, only };
    let explained = apart(&call, &session, move || explained(sources.as_deref(), in_force, &asked));
    let (trace, graph, event) = match explained.await?? {
        Ok(explained) => explained,
        Err(found) => {
            let document = ExplainDocument {
                ok: false,
                outcome: None,
                rules: None,
                reasons: None,
                recorded: None,
                trace: None,
                graph: None,
                findings: findings(&found),
            };
            return document::answer(StatusCode::OK, &document);
        }
    };
    let document = ExplainDocument {
        ok: true,
        outcome: Some(event.outcome.as_str()),
        rules: Some(&event.rules),
        reasons: Some(event.reasons.iter().map(|reason| reason.as_str()).collect()),
        recorded: None,
        trace: trace.as_object().map(JsonObject),
        graph: graph.as_object().map(JsonObject),
        findings: Vec::new(),
    };
    document::answer(StatusCode::OK, &document)
}

type Explained = (Value, Value, Arc<placet_types::event::DecisionEvent>);

/// What is explained: when it is asked, what was before, and which rules are told of.
struct Asked {
    request: Request,
    caller: Caller,
    at: TimeMs,
    history: Vec<Earlier>,
    only: Only,
}

/// Which rules an answer tells of.
#[derive(Default)]
struct Only {
    /// Those that matched or failed.
    matched: bool,
    /// Those with these ids; all of them where none is named.
    rules: Vec<String>,
}

impl Only {
    fn keeps(&self, rule: &RuleTrace) -> bool {
        (!self.matched || rule.matched)
            && (self.rules.is_empty() || self.rules.contains(&rule.rule.id))
    }
}

fn only(fields: &mut Object) -> Result<Only, Problem> {
    let mut only = Only::default();
    if let Some(value) = fields.remove("matched") {
        only.matched = value
            .as_bool()
            .ok_or_else(|| Problem::invalid("/matched", "expected true or false"))?;
    }
    if let Some(value) = fields.remove("rules") {
        let ids = value.as_array().filter(|ids| ids.len() <= 100);
        let ids = ids.and_then(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect());
        only.rules = ids.ok_or_else(|| Problem::invalid("/rules", "expected at most 100 ids"))?;
    }
    Ok(only)
}

fn explained(
    sources: Option<&[Source]>,
    in_force: Option<Arc<Bundle>>,
    asked: &Asked,
) -> Result<Result<Explained, Vec<Diagnostic>>, Problem> {
    let Asked { request, caller, at, history, only } = asked;
    let bundle = match sources {
        Some(sources) => match Bundle::compile::<Fast>(sources) {
            Ok(bundle) => Arc::new(bundle),
            Err(found) => return Ok(Err(found)),
        },
        None => in_force.ok_or_else(|| {
            Problem::invalid("/sources", "no bundle is in force here: send the documents")
        })?,
    };
    // Nothing but what matched is asked for: the index finds it.
    let mut trace = if only.matched {
        bundle.explain_near(request, caller, &mut Scratch::default())
    } else {
        bundle.explain(request, caller)
    };
    let internal = |error: placet_runtime::DryError| Problem::internal(&error.to_string());
    let start = history.first().map_or(*at, |step| step.at);
    let mut run = DryRun::new(&caller.workspace, Some(&bundle), start).map_err(internal)?;
    let in_time = in_time();
    for step in history {
        for request in step.requests() {
            if !in_time() {
                let text = format!("the history takes more than {} s to decide", TRYING.as_secs());
                return Err(Problem::invalid("/history", text));
            }
            run.decide(&bundle, &request, &step.caller, step.at).map_err(internal)?;
        }
    }
    let decided = run.decide(&bundle, request, caller, *at).map_err(internal)?;
    trace.settle(*at, &decided.event);
    trace.rules.retain(|rule| only.keeps(rule));
    Ok(Ok((trace.to_value(), trace.graph(), decided.event)))
}

/// Whoever is asked about in place of the caller. Overseers alone: an answer says what others may do.
fn other(session: &Session, caller: &Caller, value: &Value) -> Result<Caller, Problem> {
    session.demand(&crate::auth::OVERSEERS)?;
    let invalid = |key: &str, expected: &str| Problem::invalid(&format!("/caller{key}"), expected);
    let fields = value.as_object().ok_or_else(|| invalid("", "expected an object"))?;
    let mut out = caller.clone();
    for (key, value) in fields.iter() {
        match (key, value) {
            ("actor", Value::String(text)) => {
                let expected = "expected agent:name, service:name or human:name";
                out.actor = ActorId::parse(text).ok_or_else(|| invalid("/actor", expected))?;
            }
            ("environment", Value::String(text)) if is_label(text) => {
                text.clone_into(&mut out.environment);
            }
            ("roles", Value::Array(items)) => {
                let roles = items.iter().map(|item| item.as_str().map(str::to_owned));
                let roles: Option<_> = roles.collect();
                out.roles = roles.ok_or_else(|| invalid("/roles", "expected names of roles"))?;
            }
            _ => return Err(invalid(&format!("/{key}"), "known are actor, environment, roles")),
        }
    }
    Ok(out)
}

fn missing() -> Problem {
    Problem::missing("/sources", "sources is required: a list of {name, text}")
}

fn sources(fields: &mut Object) -> Result<Option<Vec<Source>>, Problem> {
    sources_of(fields, "sources")
}

/// The documents of a member.
fn sources_of(fields: &mut Object, name: &str) -> Result<Option<Vec<Source>>, Problem> {
    let Some(value) = fields.remove(name) else { return Ok(None) };
    let field = format!("/{name}");
    let invalid =
        || Problem::invalid(&field, "expected a list of {name, text}, names of at most 200 bytes");
    let items = value.as_array().ok_or_else(invalid)?;
    if items.len() > SOURCES_MAX {
        let text = format!("at most {SOURCES_MAX} documents");
        return Err(Problem::invalid(&field, text));
    }
    if items.is_empty() {
        let text = "there is no document here; a bundle that grants nothing says `rules: []`";
        return Err(Problem::new("bundle_empty", text).at(&field));
    }
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        out.push(source(item).ok_or_else(invalid)?);
    }
    Ok(Some(out))
}

/// One `{name, text}`.
fn source(item: &Value) -> Option<Source> {
    let fields = item.as_object().filter(|it| it.len() == 2)?;
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let name = text("name").filter(|name| name.len() <= 200)?;
    Some(Source { name: name.to_owned(), text: text("text")?.to_owned() })
}

/// Does bounded work off the threads that answer, few at once: authors wait, decisions do not.
async fn apart<T: Send + 'static>(
    call: &Call,
    session: &Session,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let place = call.server.authoring.place(&session.workspace.name, WAIT).await;
    let Some(place) = place else {
        return Err(Problem::overloaded("too many are trying policies; come back later"));
    };
    let work = move || {
        let _place = place;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error.to_string()))
}

fn findings(found: &[Diagnostic]) -> Vec<FindingDocument<'_>> {
    found
        .iter()
        .map(|one| FindingDocument {
            code: one.code.as_str(),
            severity: one.severity.as_str(),
            file: &one.file,
            line: one.line,
            column: one.column,
            width: one.width,
            message: &one.message,
            hint: one.hint.as_deref(),
        })
        .collect()
}

fn case(result: &CaseResult) -> CaseDocument<'_> {
    CaseDocument {
        id: &result.case.id,
        passed: result.passed(),
        must_deny: result.case.must_deny,
        outcome: result.event.as_ref().map(|event| event.outcome.as_str()),
        rules: result.event.as_ref().map_or(&[], |event| event.rules.as_slice()),
        differences: result
            .differences
            .iter()
            .map(|it| DifferenceDocument {
                what: &it.what,
                expected: &it.expected,
                found: &it.found,
            })
            .collect(),
    }
}
