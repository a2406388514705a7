//! What needs no server: reading requests, compiling bundles, deciding one request on an empty
//! state with the code that the server runs. Owns the decision document of a dry run.

use crate::exit::Fault;
use anyhow::{Context, Result};
use clap::Args;
use placet_api::PAGES;
use placet_policy::{Bundle, Diagnostic, Earlier, Source, read_dir};
use placet_runtime::DryRun;
use placet_runtime::crypto::{Fast, SystemClock};
use placet_runtime::ports::Clock;
use placet_types::event::{DecisionEvent, Matched};
use placet_types::ids::{ActorId, TimeMs, WorkspaceName};
use placet_types::json::{self, Limits, Object};
use placet_types::policy::RuleEffect;
use placet_types::{Caller, Digests, Request};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// Largest input that is read, far above what the parser then allows.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// Who is taken to be the caller. A server knows it from the key, and is asked about another where one is named.
#[derive(Args, Clone, Debug)]
pub(crate) struct CallerArgs {
    /// Actor that proposes; left out, agent:local with --bundle, and whom the key names without it.
    #[arg(long, value_name = "KIND:NAME", value_parser = actor)]
    pub(crate) actor: Option<ActorId>,
    /// Role of that actor; repeat for more.
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// Its verified environment; left out, development with --bundle, and that of the key without it.
    #[arg(long, value_name = "ENV")]
    pub(crate) environment: Option<String>,
}

impl CallerArgs {
    /// The caller, in `workspace`.
    pub(crate) fn caller(&self, workspace: Option<&str>) -> Result<Caller> {
        let name = workspace.unwrap_or("default");
        let workspace = WorkspaceName::parse(name)
            .ok_or_else(|| Fault::usage(format!("{name:?} is no workspace name")))?;
        let environment = self.environment.as_deref().unwrap_or("development");
        if !placet_types::ids::is_label(environment) {
            let detail = format!("{environment:?} is no environment: [a-z0-9-]{{1,63}}");
            return Err(Fault::usage(detail).into());
        }
        let actor = match &self.actor {
            Some(actor) => actor.clone(),
            None => actor("agent:local").map_err(Fault::usage)?,
        };
        Ok(Caller {
            workspace,
            environment: environment.to_owned(),
            actor,
            roles: self.roles.iter().cloned().collect::<BTreeSet<_>>(),
            chain: Vec::new(),
        })
    }

    /// What is said of the caller, as a server is asked about it. Of another actor the roles are those named here.
    pub(crate) fn said(&self) -> Option<Value> {
        let mut said = json!({});
        if let Some(actor) = &self.actor {
            said["actor"] = actor.as_str().into();
        }
        if let Some(environment) = &self.environment {
            said["environment"] = environment.as_str().into();
        }
        if self.actor.is_some() || !self.roles.is_empty() {
            said["roles"] = self.roles.clone().into();
        }
        said.as_object().is_some_and(|it| !it.is_empty()).then_some(said)
    }
}

/// An actor on the command line.
pub(crate) fn actor(text: &str) -> Result<ActorId, String> {
    ActorId::parse(text).ok_or_else(|| "expected agent:name, service:name or human:name".to_owned())
}

/// A number of threads on the command line.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    let within = text.parse().ok().filter(|count| (1..=256).contains(count));
    within.ok_or_else(|| "expected 1 to 256".to_owned())
}

/// The bytes of a file, or of standard input for `-`.
pub(crate) fn read_input(path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let context = || format!("{path} cannot be read");
    if path == "-" {
        std::io::stdin().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(context)?;
    } else {
        let file = std::fs::File::open(path).with_context(context)?;
        file.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(context)?;
    }
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Fault::new("body_too_large", format!("{path} exceeds 16 MiB")).into());
    }
    Ok(bytes)
}

/// Parses a request with the codes of the server.
fn parsed(bytes: &[u8]) -> Result<json::Value> {
    json::parse(bytes, Limits::REQUEST).map_err(|error| {
        let code = match error.kind() {
            json::ParseErrorKind::TooLarge => "body_too_large",
            _ => "json_malformed",
        };
        Fault::new(code, error.to_string()).into()
    })
}

/// Reads a request as the server does.
pub(crate) fn request(bytes: &[u8], caller: &mut Caller) -> Result<Request> {
    let body = parsed(bytes)?;
    Request::read(body, caller).map_err(|error| Fault::new(error.code(), error.to_string()).into())
}

/// As [`request`], of one that is only asked about: it needs no idempotency key.
pub(crate) fn question(bytes: &[u8], caller: &Caller) -> Result<Request> {
    let mut body = parsed(bytes)?;
    if let json::Value::Object(fields) = &mut body
        && fields.get("idempotency_key").is_none()
    {
        fields.set("idempotency_key", "explain");
    }
    Request::read(body, caller).map_err(|error| Fault::new(error.code(), error.to_string()).into())
}

/// What compiling a directory came to.
pub(crate) enum Compiled {
    Good(Box<Bundle>),
    Bad(Vec<Diagnostic>),
}

/// The documents of a directory, of which there is at least one.
pub(crate) fn sources(dir: &Path) -> Result<Vec<Source>> {
    let found = read(dir)?;
    if found.is_empty() {
        let fault = Fault::new("bundle_empty", no_document(dir));
        let next =
            "name the directory of the documents; a bundle that grants nothing says `rules: []`";
        return Err(fault.next(next).into());
    }
    Ok(found)
}

fn no_document(dir: &Path) -> String {
    format!("{} holds no policy document (*.yaml, *.yml)", dir.display())
}

/// The documents of a directory, if it is one.
fn read(dir: &Path) -> Result<Vec<Source>> {
    if dir.exists() && !dir.is_dir() {
        let detail = format!("{} is a file; a bundle is a directory", dir.display());
        let fault = Fault::new("bundle_unreadable", detail);
        return Err(fault.next("name the directory that holds the YAML documents").into());
    }
    read_dir(dir).map_err(|error| {
        let text = error.to_string();
        let place = dir.display().to_string();
        let (detail, next) = if text.contains(&place) {
            (text, "mend it or move it away: each *.yaml and *.yml of a bundle counts")
        } else {
            (format!("{place}: {text}"), "name a directory of YAML documents")
        };
        Fault::new("bundle_unreadable", detail).next(next).into()
    })
}

/// Compiles the documents of a directory.
pub(crate) fn try_compile(dir: &Path) -> Result<Compiled> {
    Ok(try_compiled(&sources(dir)?))
}

fn try_compiled(sources: &[Source]) -> Compiled {
    match Bundle::compile::<Fast>(sources) {
        Ok(bundle) => Compiled::Good(Box::new(bundle)),
        Err(found) => Compiled::Bad(found),
    }
}

/// Diagnostics as JSON.
pub(crate) fn diagnostics(found: &[Diagnostic]) -> Value {
    found.iter().map(|one| from_object(&one.to_value())).collect()
}

/// Compiles a directory that is to decide. An empty one grants nothing, which is said: every request is SILENCE.
pub(crate) fn compile_in_force(dir: &Path) -> Result<Bundle> {
    let found = read(dir)?;
    if !found.is_empty() {
        return compiled(dir, &found);
    }
    eprintln!("placet: {}: every request is SILENCE", no_document(dir));
    let nothing = Source { name: "nothing.yaml".into(), text: "version: v1\nrules: []\n".into() };
    compiled(dir, &[nothing])
}

/// Compiles a directory, or fails with everything that is wrong in it.
pub(crate) fn compile(dir: &Path) -> Result<Bundle> {
    compiled(dir, &sources(dir)?)
}

fn compiled(dir: &Path, sources: &[Source]) -> Result<Bundle> {
    match try_compiled(sources) {
        Compiled::Good(bundle) => Ok(*bundle),
        Compiled::Bad(found) => {
            let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
            let detail = format!("{} does not compile\n{}", dir.display(), texts.join("\n"));
            let document = json!({
                "type": format!("{PAGES}bundle_invalid"),
                "title": "the bundle does not compile",
                "code": "bundle_invalid",
                "detail": texts.first(),
                "diagnostics": diagnostics(&found),
            });
            let fault = Fault::new("bundle_invalid", detail).document(document);
            Err(fault.next("correct the places named above").into())
        }
    }
}

/// A JSON object of ours as one of `serde_json`.
pub(crate) fn from_object(object: &Object) -> Value {
    serde_json::from_str(&json::Value::Object(object.clone()).to_text()).unwrap_or_default()
}

/// What one request came to without any server.
pub(crate) struct Dry {
    event: std::sync::Arc<DecisionEvent>,
    effects: Vec<std::sync::Arc<RuleEffect>>,
    digests: Digests,
    caller: Caller,
    time: TimeMs,
}

/// The time of this machine.
pub(crate) fn now() -> TimeMs {
    SystemClock::default().wall()
}

/// Decides on an empty state: the engine's own step under fixed pseudonyms, with nothing recorded.
pub(crate) fn decide(bundle: &Bundle, request: &Request, caller: Caller) -> Result<Dry> {
    decide_at(bundle, request, caller, &[], now())
}

/// The same at a time, after what was decided before.
pub(crate) fn decide_at(
    bundle: &Bundle,
    request: &Request,
    caller: Caller,
    history: &[Earlier],
    time: TimeMs,
) -> Result<Dry> {
    let start = history.first().map_or(time, |step| step.at);
    let mut run = DryRun::new(&caller.workspace, Some(bundle), start)?;
    for step in history {
        for request in step.requests() {
            run.decide(bundle, &request, &step.caller, step.at)?;
        }
    }
    let decided = run.decide(bundle, request, &caller, time)?;
    let effects = decided.verdict.hits.iter().map(|hit| hit.rule.clone()).collect();
    Ok(Dry { event: decided.event, effects, digests: decided.digests, caller, time })
}

impl Dry {
    /// The event that a server would log.
    pub(crate) fn event(&self) -> &DecisionEvent {
        &self.event
    }

    /// When it was decided.
    pub(crate) fn time(&self) -> TimeMs {
        self.time
    }

    /// The decision document of the API, with what a dry run cannot have as null.
    pub(crate) fn document(&self) -> Value {
        let event = &self.event;
        let approval = event.approval.as_ref().map(|approval| {
            json!({
                "id": null,
                "state": "pending",
                "roles": approval.roles,
                "missing": approval.roles,
                "expires": approval.expires.rfc3339(),
                "requirement": approval.requirement.to_string(),
            })
        });
        let mut document = json!({
            "id": null,
            "outcome": event.outcome.as_str(),
            "rules": event.rules,
            "reasons": self.reasons(),
            "matched": event.matched.iter().map(matched).collect::<Vec<_>>(),
            "policy": event.policy.map(|digest| digest.to_string()),
            "language": event.language,
            "action_digest": self.digests.action.to_string(),
            "request_digest": self.digests.request.to_string(),
            "constraints": from_object(&event.constraints),
            "obligations": [],
            "approval": approval,
            "permit": null,
            "surface": event.surface,
            "action": event.action,
            "environment": event.environment,
            "actor": self.caller.actor.as_str(),
            "time": self.time.rfc3339(),
            "log": null,
            "reservation": null,
            "dry_run": true,
        });
        let optional = [
            ("retry_after_ms", event.retry_after_ms.map(Value::from)),
            ("trace_id", event.trace.clone().map(Value::from)),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                document[key] = value;
            }
        }
        document
    }

    fn reasons(&self) -> Vec<Value> {
        let mut out = Vec::new();
        for reason in &self.event.reasons {
            let speaking = self.event.rules.iter().filter(|id| reason.is_of(id));
            if speaking.clone().next().is_none() {
                out.push(json!({"code": reason.as_str(), "text": reason.text()}));
                continue;
            }
            for id in speaking {
                let rule = self.effects.iter().find(|rule| rule.id == *id);
                let text = rule.and_then(|rule| rule.reason.as_deref());
                let text = text.unwrap_or(reason.text());
                out.push(json!({"code": reason.as_str(), "text": text, "rule": id}));
            }
        }
        out
    }
}

fn matched(one: &Matched) -> Value {
    let mut value = json!({"rule": one.rule, "effect": one.effect.as_str()});
    if let Some(error) = one.error {
        value["error"] = error.as_str().into();
    }
    if one.window.is_some_and(|window| window.full) {
        value["window_full"] = true.into();
    }
    if one.advice {
        value["advice"] = true.into();
    }
    value
}
