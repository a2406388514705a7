//! OpenID AuthZEN Authorization API 1.0: evaluations, search, metadata. The caller is the gate, and
//! the subject is what it asserts. Owns who may ask for whom and under which name a question is
//! recorded; every answer is that of a decision like any other.

mod answer;
mod search;
mod tuple;

use crate::auth::{Act, Session};
use crate::call::Call;
use crate::decisions::{admit, in_order};
use crate::document;
use crate::governed::random;
use crate::problem::Problem;
use answer::Evaluated;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use placet_api::AuthzenConfiguration;
use placet_engine::HeldState;
use placet_runtime::{DecisionAnswer, PermitState, PlaneError};
use placet_types::ids::ApprovalId;
use placet_types::json::{Object, Value};
pub(crate) use search::{actions, resources, subjects};
use tuple::{Open, Tuple, body, finish, object};

/// Whoever asks for others needs it.
const GATE: &str = "gate";
/// Most evaluations of one call.
const EVALUATIONS_MAX: usize = 100;
/// How long a request id makes one question of two: the life of a permit.
const MAX_AGE_MS: u64 = 60_000;

/// Under which idempotency key a question is recorded.
#[derive(Clone, Debug)]
enum Naming {
    /// The caller's own, for as long as the surface says.
    Key(String),
    /// The same question under the same request id, as long as its permit lives: a retry. Request
    /// ids are handed along and used again, so they bind nothing for longer.
    RequestId(String),
    /// None: every question is a new one.
    Fresh,
}

/// A caller, and how its questions are named.
struct Gate<'a> {
    call: &'a Call,
    session: Session,
    naming: Naming,
    nonce: Option<String>,
    trace: Option<String>,
}

impl<'a> Gate<'a> {
    fn enter(call: &'a Call, mut session: Session, count: usize) -> Result<Self, Problem> {
        admit(call, &session, u32::try_from(count).unwrap_or(u32::MAX))?;
        if session.principal.key.is_none() {
            // In development mode the one program there is is a gate as well.
            session.principal.caller.roles.insert(GATE.to_owned());
        }
        let request_id = call.header("x-request-id")?.filter(|id| !id.is_empty());
        let naming = match (call.header("idempotency-key")?, request_id) {
            (Some(key), _) if (1..=180).contains(&key.len()) => Naming::Key(key.to_owned()),
            (Some(_), _) => {
                return Err(Problem::header("idempotency-key", "expected 1 to 180 bytes"));
            }
            (None, Some(id)) => Naming::RequestId(id.to_owned()),
            (None, None) => Naming::Fresh,
        };
        let nonce = call.header("placet-attempt-nonce")?.map(str::to_owned);
        crate::call::nonce(nonce.as_deref())?;
        let trace = request_id.filter(|id| id.len() <= 200).map(str::to_owned);
        Ok(Self { call, session, naming, nonce, trace })
    }

    /// # Errors
    /// `role_missing` where the subject is somebody else and the caller is no gate.
    fn may_ask(&self, tuple: &Tuple) -> Result<(), Problem> {
        if tuple.is_own(&self.session.principal.caller) {
            return Ok(());
        }
        self.may_ask_for_others()
    }

    fn may_ask_for_others(&self) -> Result<(), Problem> {
        if self.session.has_any(&[GATE]) {
            return Ok(());
        }
        let text = "the caller asks for another than itself, which takes the role gate";
        Err(Problem::role_missing(text))
    }

    /// Decides one question; `at` is its place among several.
    async fn evaluate(&self, tuple: &Tuple, at: Option<usize>) -> Result<Evaluated, Problem> {
        self.may_ask(tuple)?;
        let body = tuple.request(&self.session.principal.caller, Open::Nothing)?;
        let approval = match tuple.approval()? {
            None => None,
            Some(id) => Some(self.held(id).await?),
        };
        let names = self.session.workspace.names();
        let by_request_id = approval.is_none() && matches!(self.naming, Naming::RequestId(_));
        let key = match (approval, &self.naming, at) {
            (Some(key), ..) => key,
            (None, Naming::Key(key), None) => key.clone(),
            (None, Naming::Key(key), Some(at)) => format!("{key}#{at}"),
            (None, Naming::RequestId(id), at) => {
                // Items of one call are no retries of each other, however alike they are.
                let question = Value::Object(body.clone()).to_text();
                let at = at.map_or(String::new(), |at| at.to_string());
                names.of("authzen-request", &[id.as_str(), &at, &question].join("\0")).hex()
            }
            (None, Naming::Fresh, _) => random(),
        };
        let mut answer = self.decide(&body, &key).await?;
        if by_request_id && self.is_stale(&answer) {
            answer = self.decide(&body, &random()).await?;
        }
        answer::present(self, answer, tuple.takes_custom()).await
    }

    async fn decide(&self, body: &Object, key: &str) -> Result<DecisionAnswer, Problem> {
        let (workspace, principal) = (&self.session.workspace, &self.session.principal);
        // Derived from the key, so that a retry fetches its permit again, and under the workspace's
        // secret, since entries hold its digest.
        let nonce = self.nonce.clone();
        let nonce = nonce.unwrap_or_else(|| workspace.names().of("authzen-nonce", key).hex());
        let caller = &principal.caller;
        let request = finish(body.clone(), caller, key, Some(&nonce), self.trace.as_deref())?;
        let decided = self.call.server.plane.decide(workspace, principal, &request).await?;
        Ok(decided.answer)
    }

    /// Whether an answer found under a request id is an old one. What waits for people stays, and
    /// what they have refused: nothing is put before them twice.
    fn is_stale(&self, answer: &DecisionAnswer) -> bool {
        let age = self.call.server.plane.now().since(answer.time);
        let granted =
            answer.permit.as_ref().is_some_and(|permit| permit.state == PermitState::Granted);
        let over = match &answer.hold {
            None => true,
            Some(held) => matches!(held.state, HeldState::Consumed(_)),
        };
        answer.replayed && !granted && over && age >= MAX_AGE_MS
    }

    /// The idempotency key of the caller's own question that an approval was asked for.
    async fn held(&self, id: &str) -> Result<String, Problem> {
        let none = || {
            let text = "there is no such approval, or it is not this caller's";
            Problem::invalid("/context/approval/id", text)
        };
        let id = ApprovalId::parse(id).ok_or_else(none)?;
        let workspace = &self.session.workspace;
        let found = self.call.server.plane.approval(workspace, id).await;
        let (held, _, shown) = match found {
            Err(PlaneError::NotFound(_)) => return Err(none()),
            found => found?,
        };
        if held.actor != workspace.actor_ref(&self.session.principal.caller.actor) {
            return Err(none());
        }
        let erased = "what the approval was for has been erased; ask anew without it";
        let shown = shown.ok_or_else(|| Problem::new("payload_erased", erased))?;
        let request = shown.payload.get("request").and_then(Value::as_object);
        let key = request.and_then(|request| request.get("idempotency_key")?.as_str());
        Ok(key.ok_or_else(none)?.to_owned())
    }
}

/// `POST /access/v1/evaluation`
pub(crate) async fn evaluation(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let fields = body(&mut call).await?;
    single(&call, session, &fields).await
}

async fn single(call: &Call, session: Session, fields: &Object) -> Result<Response, Problem> {
    let gate = Gate::enter(call, session, 1)?;
    let _place = call.decide_place(1).await?;
    let tuple = Tuple::read(fields, &Object::new(), Open::Nothing)?;
    let evaluated = gate.evaluate(&tuple, None).await?;
    Ok(document::json(StatusCode::OK, evaluated.json))
}

/// When several evaluations end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    fn read(fields: &Object) -> Result<Self, Problem> {
        let Some(options) = object(fields, "options")? else { return Ok(Self::ExecuteAll) };
        match options.get("evaluations_semantic") {
            None => Ok(Self::ExecuteAll),
            Some(Value::String(text)) if text == "execute_all" => Ok(Self::ExecuteAll),
            Some(Value::String(text)) if text == "deny_on_first_deny" => Ok(Self::DenyOnFirstDeny),
            Some(Value::String(text)) if text == "permit_on_first_permit" => {
                Ok(Self::PermitOnFirstPermit)
            }
            Some(_) => {
                let text = "expected execute_all, deny_on_first_deny or permit_on_first_permit";
                Err(Problem::invalid("/options/evaluations_semantic", text))
            }
        }
    }
}

/// `POST /access/v1/evaluations`
pub(crate) async fn evaluations(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = body(&mut call).await?;
    let items = match fields.remove("evaluations") {
        None => return single(&call, session, &fields).await,
        Some(Value::Array(items)) if items.is_empty() => {
            return single(&call, session, &fields).await;
        }
        Some(Value::Array(items)) if items.len() <= EVALUATIONS_MAX => items,
        Some(_) => {
            let text = format!("expected an array of up to {EVALUATIONS_MAX} evaluations");
            return Err(Problem::invalid("/evaluations", text));
        }
    };
    let semantic = Semantic::read(&fields)?;
    for name in ["subject", "action", "resource", "context"] {
        object(&fields, name)?;
    }
    let gate = Gate::enter(&call, session, items.len())?;
    let _place = call.decide_place(u32::try_from(items.len()).unwrap_or(u32::MAX)).await?;
    let mut results = Vec::with_capacity(items.len());
    if semantic == Semantic::ExecuteAll {
        let each = items.iter().enumerate().map(|(at, item)| one(&gate, item, &fields, at));
        for result in in_order(each.collect()).await {
            results.push(result?);
        }
    } else {
        for (at, item) in items.iter().enumerate() {
            let result = one(&gate, item, &fields, at).await?;
            let last = result.decision == (semantic == Semantic::PermitOnFirstPermit);
            results.push(result);
            if last {
                break;
            }
        }
    }
    let mut body = b"{\"evaluations\":[".to_vec();
    for (at, result) in results.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&result.json);
    }
    body.extend_from_slice(b"]}");
    Ok(document::json(StatusCode::OK, body))
}

/// One of several: whatever fails with it is a no with the failure beside it.
async fn one(
    gate: &Gate<'_>,
    item: &Value,
    defaults: &Object,
    at: usize,
) -> Result<Evaluated, Problem> {
    let evaluated = match item {
        Value::Object(fields) => match Tuple::read(fields, defaults, Open::Nothing) {
            Ok(tuple) => gate.evaluate(&tuple, Some(at)).await,
            Err(problem) => Err(problem),
        },
        _ => Err(Problem::invalid("", "an evaluation is a JSON object")),
    };
    match evaluated {
        Ok(evaluated) => Ok(evaluated),
        Err(problem) => answer::failed(&problem),
    }
}

/// `GET /.well-known/authzen-configuration`
pub(crate) async fn configuration(call: Call) -> Result<Response, Problem> {
    let configured = call.server.options.public_url.as_deref();
    let base = match configured {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None if call.server.options.tls.is_some() => format!("https://{}", host(&call)?),
        None => format!("http://{}", host(&call)?),
    };
    let at = |path: &str| format!("{base}/access/v1/{path}");
    let document = AuthzenConfiguration {
        access_evaluation_endpoint: at("evaluation"),
        access_evaluations_endpoint: at("evaluations"),
        search_subject_endpoint: at("search/subject"),
        search_resource_endpoint: at("search/resource"),
        search_action_endpoint: at("search/action"),
        obligations_supported: vec!["custom"],
        policy_decision_point: base,
    };
    let mut response = document::answer(StatusCode::OK, &document)?;
    // What follows from the header of one caller is not kept for another.
    let caching = if configured.is_some() { "max-age=3600" } else { "no-store" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    Ok(response)
}

/// The host that the caller reached, as far as it is one.
fn host(call: &Call) -> Result<&str, Problem> {
    let host = call.header(header::HOST.as_str())?.unwrap_or_default();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    if !host.is_empty() && host.len() <= 255 && host.bytes().all(fits) {
        return Ok(host);
    }
    Err(Problem::header("host", "expected a host and perhaps a port"))
}
