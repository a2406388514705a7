//! Search: which subjects, resources or actions would be permitted. Goes through what rules list and
//! previews each; nothing is recorded. Owns pages; refuses to guess what no rule lists.

use super::Gate;
use super::answer::obligations;
use super::tuple::{Open, Tuple, body, finish, label_prefix, object};
use crate::auth::{Act, Session};
use crate::call::Call;
use crate::document;
use crate::governed::random;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    ActionFound, ActionSearchDocument, AuthzenPageDocument, EntityFound, EntitySearchDocument,
    FoundContext,
};
use placet_policy::Sought;
use placet_types::event::DecisionEvent;
use placet_types::json::{Object, Value};
use placet_types::policy::Outcome;
use std::sync::Arc;

/// Results of a page by default, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// Values that one call goes through, and how many at a time.
const SCAN_MAX: usize = 1024;
const CHUNK: usize = 64;

/// `POST /access/v1/search/subject`
pub(crate) async fn subjects(call: Call) -> Result<Response, Problem> {
    entities(call, Open::Subject).await
}

/// `POST /access/v1/search/resource`
pub(crate) async fn resources(call: Call) -> Result<Response, Problem> {
    entities(call, Open::Resource).await
}

async fn entities(mut call: Call, open: Open) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let fields = body(&mut call).await?;
    let (found, tuple) = search(&call, session, &fields, open).await?;
    let kind = if open == Open::Subject { &tuple.subject.kind } else { &tuple.resource.kind };
    let results =
        found.results.iter().map(|(id, event)| EntityFound { kind, id, context: context(event) });
    let document = EntitySearchDocument { results: results.collect(), page: found.page() };
    document::answer(StatusCode::OK, &document)
}

/// `POST /access/v1/search/action`
pub(crate) async fn actions(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let fields = body(&mut call).await?;
    let (found, _) = search(&call, session, &fields, Open::Action).await?;
    let results =
        found.results.iter().map(|(name, event)| ActionFound { name, context: context(event) });
    let document = ActionSearchDocument { results: results.collect(), page: found.page() };
    document::answer(StatusCode::OK, &document)
}

fn context(event: &DecisionEvent) -> Option<FoundContext<'_>> {
    let obligations = obligations(&event.constraints);
    (!obligations.is_empty()).then_some(FoundContext { obligations })
}

struct Found {
    /// Values with the decisions that they would lead to.
    results: Vec<(String, Arc<DecisionEvent>)>,
    next_token: String,
}

impl Found {
    fn page(&self) -> AuthzenPageDocument {
        AuthzenPageDocument { next_token: self.next_token.clone(), count: self.results.len() }
    }
}

/// Where rules list the values, and under which paths conditions read them.
fn sought(open: Open) -> Sought<'static> {
    match open {
        Open::Subject => Sought {
            key: "labels.subject",
            paths: &[
                &["request", "labels", "subject"],
                &["request", "context", "subject", "id"],
                &["request", "on_behalf_of"],
            ],
        },
        Open::Resource => Sought {
            key: "targets",
            paths: &[&["request", "target"], &["request", "context", "resource", "id"]],
        },
        Open::Action | Open::Nothing => Sought { key: "actions", paths: &[&["request", "action"]] },
    }
}

async fn search(
    call: &Call,
    session: Session,
    fields: &Object,
    open: Open,
) -> Result<(Found, Tuple), Problem> {
    let gate = Gate::enter(call, session, 1)?;
    let tuple = Tuple::read(fields, &Object::new(), open)?;
    if open == Open::Subject {
        gate.may_ask_for_others()?;
    } else {
        gate.may_ask(&tuple)?;
    }
    let (limit, token) = page(fields)?;
    let caller = &gate.session.principal.caller;
    let probe = tuple.request(caller, open)?;
    let query = Value::Object(probe.clone()).to_text();
    let bundle = gate.session.workspace.bundle();
    let policy = bundle.as_ref().map(|it| it.digest().to_string()).unwrap_or_default();
    let seal = gate.session.workspace.names().of(
        "authzen-page",
        &[query.as_str(), sought(open).key, caller.actor.as_str(), &policy].join("\0"),
    );
    let seal = seal.hex().get(..32).unwrap_or_default().to_owned();
    let mut at = match token {
        None => 0,
        Some(token) => offset(&token, &seal)?,
    };
    let mut found = Found { results: Vec::new(), next_token: String::new() };
    let probe = finish(probe, caller, &random(), None, None)?;
    let listed = match bundle {
        None => return Ok((found, tuple)),
        Some(bundle) => {
            let caller = caller.clone();
            let look = move || Ok(bundle.listed(&probe, &caller, sought(open)));
            document::blocking(&call.server, look).await?
        }
    };
    let listed = listed.map_err(|unlisted| {
        let (rule, key) = (unlisted.rule, sought(open).key);
        let text = format!("rule {rule} could permit this and lists no values under match.{key}");
        Problem::new("search_unbounded", text)
    })?;
    let prefix =
        if open == Open::Subject { label_prefix(&tuple.subject.kind) } else { String::new() };
    let values: Vec<String> =
        listed.iter().filter_map(|value| value.strip_prefix(&prefix)).map(str::to_owned).collect();
    let end = values.len().min(at.saturating_add(SCAN_MAX));
    let takes_custom = tuple.takes_custom();
    while at < end && found.results.len() < limit {
        let room = limit - found.results.len();
        let chunk = values.get(at..end.min(at + CHUNK.min(room))).unwrap_or_default();
        at += chunk.len();
        let would = previews(&gate, &tuple, open, chunk).await?;
        found.results.extend(would.into_iter().filter(|(_, event)| {
            event.outcome == Outcome::Permit && (takes_custom || event.constraints.is_empty())
        }));
    }
    if gate.session.workspace.is_killed() {
        found.results.clear();
    }
    if at < values.len() {
        found.next_token = format!("{at}.{seal}");
    }
    Ok((found, tuple))
}

/// What each of the values would come to. A value that no question can hold comes to nothing.
async fn previews(
    gate: &Gate<'_>,
    tuple: &Tuple,
    open: Open,
    values: &[String],
) -> Result<Vec<(String, Arc<DecisionEvent>)>, Problem> {
    let caller = &gate.session.principal.caller;
    let mut asked = Vec::with_capacity(values.len());
    let mut requests = Vec::with_capacity(values.len());
    for value in values {
        let mut tuple = tuple.clone();
        match open {
            Open::Subject => tuple.subject.id.clone_from(value),
            Open::Resource => tuple.resource.id.clone_from(value),
            Open::Action | Open::Nothing => tuple.action.clone_from(value),
        }
        let request = tuple.request(caller, Open::Nothing)?;
        if let Ok(request) = finish(request, caller, &random(), None, None) {
            asked.push(value.clone());
            requests.push(request);
        }
    }
    let (plane, session) = (&gate.call.server.plane, &gate.session);
    let events = plane.preview(&session.workspace, &session.principal, &requests).await?;
    Ok(asked.into_iter().zip(events).collect())
}

/// `page`: how many results, and after which token.
fn page(fields: &Object) -> Result<(usize, Option<String>), Problem> {
    let Some(page) = object(fields, "page")? else { return Ok((LIMIT, None)) };
    let limit = match page.get("limit") {
        None => LIMIT,
        Some(limit) => {
            let limit = limit.as_u64().filter(|limit| *limit > 0).ok_or_else(|| {
                Problem::invalid("/page/limit", "expected a whole number of 1 or more")
            })?;
            usize::try_from(limit).unwrap_or(LIMIT_MAX).min(LIMIT_MAX)
        }
    };
    // Earlier drafts sent the token back under the name that it came with.
    let token = page.get("token").or_else(|| page.get("next_token"));
    match token {
        None => Ok((limit, None)),
        Some(Value::String(token)) if token.is_empty() => Ok((limit, None)),
        Some(Value::String(token)) => Ok((limit, Some(token.clone()))),
        Some(_) => Err(Problem::invalid("/page/token", "expected the next_token of a page")),
    }
}

/// Where a token goes on, if it is of this very search.
fn offset(token: &str, seal: &str) -> Result<usize, Problem> {
    let parts = token.split_once('.').filter(|(_, sealed)| *sealed == seal);
    parts.and_then(|(at, _)| at.parse().ok()).ok_or_else(|| {
        let text = "it is of another search, or the policy has changed; begin without a token";
        Problem::invalid("/page/token", text)
    })
}
