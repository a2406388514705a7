//! The cases of `tests:` as values. Owns what a case means and its defaults; refuses to know how a request
//! is decided, which takes the engine.

mod presented;

use crate::bundle::Bundle;
use crate::diagnostic::{Code, Place, Report};
use crate::shape::id_of;
use crate::syntax::{Data, Node};
use placet_types::ids::{ActorId, TimeMs, WorkspaceName};
use placet_types::json::{Object, Value};
use placet_types::policy::{Constraints, Outcome, Reason};
use placet_types::{Caller, Request};
use std::collections::{BTreeMap, BTreeSet};

/// One case of `tests:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Unique in the bundle.
    pub id: String,
    /// Who asks.
    pub caller: Caller,
    /// What is asked.
    pub request: Request,
    /// When.
    pub at: TimeMs,
    /// What was decided before, in the order of time.
    pub history: Vec<Earlier>,
    /// What has to come of it.
    pub expect: Option<Expectation>,
    /// Whether the outcome has to be DENY before a server arms itself with the bundle.
    pub must_deny: bool,
}

/// A request decided before the case.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    /// When.
    pub at: TimeMs,
    /// Who asked.
    pub caller: Caller,
    /// What has to have come of it, each time.
    pub outcome: Option<Outcome>,
    /// How often.
    pub times: u64,
    pub(crate) request: Request,
    /// What its idempotency keys begin with; `None` where the case gives one.
    pub(crate) key: Option<String>,
}

impl Earlier {
    /// What was asked, one request after the other. They are made when they are asked for: a case that
    /// repeats a large request is no larger than what it says.
    pub fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        (0..self.times).map(|time| {
            let mut request = self.request.clone();
            if let Some(key) = &self.key {
                request.idempotency_key = format!("{key}.{time}");
            }
            request
        })
    }
}

/// What has to come of a case. `None` asks nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// The decision.
    pub outcome: Outcome,
    /// Exactly the rules that decided.
    pub rules: Option<BTreeSet<String>>,
    /// Exactly these codes.
    pub reasons: Option<BTreeSet<Reason>>,
    /// Exactly these constraints, in normal form.
    pub constraints: Option<Object>,
    /// Exactly these roles with their counts.
    pub approval: Option<BTreeMap<String, u32>>,
    /// Exactly this wait.
    pub retry_after_ms: Option<u64>,
}

/// 2026-01-01T00:00:00Z: the time of cases that name none.
const AT_DEFAULT: u64 = 1_767_225_600_000;
/// Most requests before one case.
const HISTORY_MAX: u64 = 2000;

impl Bundle {
    /// The cases of its `tests:`, sorted by id.
    pub fn cases(&self) -> impl Iterator<Item = Case> + '_ {
        let all = self.model().documents.get("tests").and_then(Value::as_array);
        // INVARIANT: `check` has read each of them when the bundle was compiled.
        all.into_iter().flatten().filter_map(|case| read(case).ok())
    }

    /// How many cases there are.
    #[must_use]
    pub fn case_count(&self) -> usize {
        self.model().documents.get("tests").and_then(Value::as_array).map_or(0, <[_]>::len)
    }
}

/// Refuses cases that no server could be asked, and those that cannot fail.
pub(crate) fn check(node: &Node, value: &Value, report: &mut Report<'_>) {
    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    if let Data::List(nodes) = &node.value {
        for node in nodes {
            if let Some(Data::Text { text, .. }) = id_of(node).map(|member| &member.value.value) {
                places.insert(text, node.place);
            }
        }
    }
    for case in value.as_array().into_iter().flatten() {
        let id = text(case, "id").unwrap_or_default();
        if let Err(why) = read(case) {
            let place = places.get(id).copied().unwrap_or(node.place);
            report.error(Code::BadValue, place, format!("case `{id}`: {why}"));
        }
    }
}

fn text<'v>(of: &'v Value, key: &str) -> Option<&'v str> {
    of.get(key).and_then(Value::as_str)
}

fn read(case: &Value) -> Result<Case, String> {
    let id = text(case, "id").ok_or("no id")?.to_owned();
    let at = TimeMs(case.get("at").and_then(Value::as_u64).unwrap_or(AT_DEFAULT));
    let caller = caller(case.get("caller"), &default_caller()?)?;
    let request = request(case, &caller, &id, at)?;
    let (mut history, mut before) = (Vec::new(), 0_u64);
    let steps = case.get("history").and_then(Value::as_array).unwrap_or_default();
    for (number, step) in steps.iter().enumerate() {
        let times = step.get("times").and_then(Value::as_u64).unwrap_or(1);
        let ago = step.get("ago").and_then(Value::as_u64).ok_or("no ago")?;
        let at = at.0.checked_sub(ago).ok_or("its history begins before 1970")?;
        let caller = self::caller(step.get("caller"), &caller)?;
        before = before.saturating_add(times);
        if before > HISTORY_MAX {
            return Err(format!("more than {HISTORY_MAX} requests before it"));
        }
        let key = format!("{id}#{number}");
        let request = self::request(step, &caller, &key, TimeMs(at))
            .map_err(|why| format!("history[{number}]: {why}"))?;
        let outcome = text(step, "outcome").and_then(Outcome::parse);
        let key = (request.idempotency_key == key).then_some(key);
        history.push(Earlier { at: TimeMs(at), caller, outcome, times, request, key });
    }
    // Stable: what happened at one instant stays in its order.
    history.sort_by_key(|step| step.at);
    let must_deny = case.get("must_deny").and_then(Value::as_bool).unwrap_or(false);
    let expect = case.get("expect").map(expectation).transpose()?;
    match &expect {
        None if !must_deny => {
            return Err("it expects nothing, so it could never fail: add `expect:`".to_owned());
        }
        Some(expect) if must_deny && expect.outcome != Outcome::Deny => {
            return Err("`must_deny` and an expected outcome other than DENY".to_owned());
        }
        _ => {}
    }
    Ok(Case { id, caller, request, at, history, expect, must_deny })
}

fn default_caller() -> Result<Caller, String> {
    Ok(Caller {
        workspace: WorkspaceName::parse("default").ok_or("no workspace")?,
        environment: "development".to_owned(),
        actor: ActorId::parse("agent:local").ok_or("no actor")?,
        roles: BTreeSet::new(),
        chain: Vec::new(),
    })
}

fn caller(value: Option<&Value>, default: &Caller) -> Result<Caller, String> {
    let mut caller = default.clone();
    let Some(value) = value else { return Ok(caller) };
    if let Some(name) = text(value, "workspace") {
        caller.workspace =
            WorkspaceName::parse(name).ok_or_else(|| format!("`{name}` is no workspace"))?;
    }
    if let Some(name) = text(value, "environment") {
        name.clone_into(&mut caller.environment);
    }
    if let Some(name) = text(value, "actor") {
        caller.actor = ActorId::parse(name).ok_or_else(|| format!("`{name}` is no actor"))?;
    }
    if let Some(roles) = value.get("roles").and_then(Value::as_array) {
        caller.roles = roles.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    Ok(caller)
}

fn request(of: &Value, caller: &Caller, key: &str, at: TimeMs) -> Result<Request, String> {
    let mut body = of.get("request").and_then(Value::as_object).ok_or("no request")?.clone();
    if body.get("idempotency_key").is_none() {
        body.set("idempotency_key", key);
    }
    let request = Request::read(Value::Object(body), caller)
        .map_err(|error| format!("the request is refused: {error}"))?;
    let found = presented::found(of, &request, caller, at)?;
    Ok(Request { found, ..request })
}

fn expectation(value: &Value) -> Result<Expectation, String> {
    let outcome = text(value, "outcome").and_then(Outcome::parse).ok_or("no outcome")?;
    let names = |key: &str| {
        let items = value.get(key).and_then(Value::as_array)?;
        Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect::<BTreeSet<_>>())
    };
    let reason = |code: &String| {
        Reason::parse(code).ok_or_else(|| format!("`{code}` is no code of a reason"))
    };
    let reasons = names("reasons").map(|codes| codes.iter().map(reason).collect());
    let constraints = value.get("constraints").and_then(Value::as_object).map(|object| {
        Constraints::from_object(object).map(|it| it.to_object()).map_err(|error| error.to_string())
    });
    let roles = |object: &Object| -> BTreeMap<String, u32> {
        let count = |value: &Value| value.as_u64().and_then(|it| u32::try_from(it).ok());
        object.iter().filter_map(|(role, it)| Some((role.to_owned(), count(it)?))).collect()
    };
    Ok(Expectation {
        outcome,
        rules: names("rules"),
        reasons: reasons.transpose()?,
        constraints: constraints.transpose()?,
        approval: value.get("approval").and_then(Value::as_object).map(roles),
        retry_after_ms: value.get("retry_after").and_then(Value::as_u64),
    })
}
