//! The execution request: its fields, their bounds, defaults and digests. Owns what a client may
//! say; everything else about the caller comes from authentication as [`Caller`].

mod error;

use crate::evidence::Found;
use crate::hash::{Digest, Hasher};
use crate::ids::{ActorId, Amount, DecisionId, WorkspaceName, is_dotted_name, is_label, is_name};
use crate::json::{Object, Value, Writer};
use crate::nearest::nearest;
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use error::RequestError;

/// Who asks, as authentication verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Tenant of the key.
    pub workspace: WorkspaceName,
    /// Environment of the key, `[a-z0-9-]{1,63}`.
    pub environment: String,
    /// The actor of the key.
    pub actor: ActorId,
    /// Roles of the key.
    pub roles: BTreeSet<String>,
    /// On whose behalf the actor acts, outermost first, as far as that is verified: by the token or
    /// the session. What a body asserts comes after it and takes nothing from it.
    pub chain: Vec<ActorId>,
}

impl Caller {
    /// The verified facts as policy reads them under `verified.`.
    #[must_use]
    pub fn facts(&self) -> Object {
        let roles = self.roles.iter().map(|role| Value::from(role.as_str())).collect::<Vec<_>>();
        let chain = self.chain.iter().map(|actor| Value::from(actor.as_str())).collect::<Vec<_>>();
        Object::new()
            .with("actor", self.actor.as_str())
            .with("actor_kind", self.actor.kind().as_str())
            .with_opt("chain", (!chain.is_empty()).then_some(chain))
            .with("environment", self.environment.as_str())
            .with("roles", roles)
            .with("workspace", self.workspace.as_str())
    }

    /// Rebuilds a caller from [`Caller::facts`].
    #[must_use]
    pub fn from_facts(facts: &Object) -> Option<Self> {
        let text = |key: &str| facts.get(key).and_then(Value::as_str);
        let mut roles = BTreeSet::new();
        for role in facts.get("roles")?.as_array()? {
            roles.insert(role.as_str()?.to_owned());
        }
        let actors = facts.get("chain").map_or(Some(&[][..]), Value::as_array)?;
        let chain = actors.iter().map(|actor| ActorId::parse(actor.as_str()?));
        let chain = chain.collect::<Option<Vec<_>>>()?;
        Some(Self {
            workspace: WorkspaceName::parse(text("workspace")?)?,
            environment: text("environment")?.to_owned(),
            actor: ActorId::parse(text("actor")?)?,
            roles,
            chain,
        })
    }
}

/// A proposed action. Field by field as in the contract; lists of names are sorted sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Named class of effects.
    pub surface: String,
    /// What is done to it.
    pub action: String,
    /// Client's key for retries, 1 to 200 bytes.
    pub idempotency_key: String,
    /// Job topic.
    pub topic: Option<String>,
    /// What it is done to.
    pub target: Option<String>,
    /// The exact payload that would execute.
    pub arguments: Option<Value>,
    /// Asserted facts.
    pub context: Option<Object>,
    /// Asserted risk tags; derived ones are added, none is ever removed.
    pub risk_tags: BTreeSet<String>,
    /// Asserted labels.
    pub labels: BTreeMap<String, String>,
    /// Unit of automation.
    pub capability: Option<String>,
    /// Immutable variant of it.
    pub branch: Option<String>,
    /// Team.
    pub team: Option<String>,
    /// Run this action belongs to.
    pub execution: Option<String>,
    /// Step within it.
    pub step: Option<String>,
    /// Decision of the outer gate.
    pub parent_decision: Option<DecisionId>,
    /// Trace, free text up to 200 bytes. Not digested.
    pub trace_id: Option<String>,
    /// Model to be called.
    pub model: Option<String>,
    /// Estimated use per unit, in micro-units.
    pub estimate: BTreeMap<String, Amount>,
    /// Code change (opaque to this layer).
    pub change: Option<Value>,
    /// Evidence (opaque to this layer).
    pub evidence: Vec<Value>,
    /// Delegation chain, outermost first.
    pub on_behalf_of: Vec<ActorId>,
    /// The gate that will execute, when it is not the caller.
    pub audience: Option<ActorId>,
    /// Secret of this attempt: only it can fetch the permit again. Not digested, not stored.
    pub attempt_nonce: Option<String>,
    /// Whose personal data the payload holds, for erasing.
    pub subjects: BTreeSet<String>,
    /// It was done already: it is decided and recorded, and nothing is permitted.
    pub retroactive: bool,
    /// What the server's own stores say about what the request names. No field of a body: reading leaves
    /// it empty, and it is recorded with the verified facts.
    pub found: Found,
}

/// All fields a body may have.
const FIELDS: [&str; 27] = [
    "action",
    "actor",
    "arguments",
    "attempt_nonce",
    "audience",
    "branch",
    "capability",
    "change",
    "context",
    "environment",
    "estimate",
    "evidence",
    "execution",
    "idempotency_key",
    "labels",
    "model",
    "on_behalf_of",
    "parent_decision",
    "retroactive",
    "risk_tags",
    "step",
    "subjects",
    "surface",
    "target",
    "team",
    "topic",
    "trace_id",
];

const ITEMS_MAX: usize = 64;

impl Request {
    /// Reads a request. The body may name workspace, environment and actor; all must agree with
    /// what authentication says.
    ///
    /// # Errors
    /// [`RequestError`] names the field.
    pub fn read(body: Value, caller: &Caller) -> Result<Self, RequestError> {
        let Value::Object(mut fields) = body else {
            return Err(RequestError::new("field_invalid", "", "the body must be a JSON object"));
        };
        if let Some(workspace) = fields.remove("workspace")
            && workspace.as_str() != Some(caller.workspace.as_str())
        {
            let expected = "not the workspace of the key; leave it out";
            return Err(RequestError::new("workspace_mismatch", "/workspace", expected));
        }
        for (key, value) in fields.iter() {
            if !FIELDS.contains(&key) {
                let hint = nearest(key, &FIELDS)
                    .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                let expected = format!("no field of an execution request{hint}");
                return Err(RequestError::new("field_unknown", &format!("/{key}"), expected));
            }
            if *value == Value::Null {
                let expected = "null is refused; leave the field out";
                return Err(RequestError::new("field_invalid", &format!("/{key}"), expected));
            }
        }
        let mut fields = Fields(fields);
        fields.agree(caller)?;
        Ok(Self {
            surface: fields.required(
                "surface",
                is_dotted_name,
                "segments of letters, digits, '_' and '-' separated by dots, up to 200 bytes",
            )?,
            action: fields.required(
                "action",
                is_dotted_name,
                "segments of letters, digits, '_' and '-' separated by dots, up to 200 bytes",
            )?,
            idempotency_key: fields.required(
                "idempotency_key",
                is_short,
                "a string of 1 to 200 bytes",
            )?,
            topic: fields.text(
                "topic",
                is_dotted_name,
                "segments of letters, digits, '_' and '-' separated by dots, up to 200 bytes",
            )?,
            target: fields.text(
                "target",
                |text| (1..=2048).contains(&text.len()),
                "a string of 1 to 2048 bytes",
            )?,
            arguments: fields.0.remove("arguments"),
            context: fields.object("context")?,
            risk_tags: fields.names("risk_tags")?,
            labels: fields.labels()?,
            capability: fields.text("capability", is_name, NAME)?,
            branch: fields.text("branch", is_name, NAME)?,
            team: fields.text("team", is_name, NAME)?,
            execution: fields.text("execution", is_name, NAME)?,
            step: fields.text("step", is_name, NAME)?,
            parent_decision: fields.parent()?,
            trace_id: fields.text("trace_id", is_short, "a string of 1 to 200 bytes")?,
            model: fields.text("model", is_name, NAME)?,
            estimate: fields.estimate()?,
            change: fields.0.remove("change"),
            evidence: fields.array("evidence")?,
            on_behalf_of: fields.chain()?,
            audience: fields.actor("audience")?,
            attempt_nonce: fields.text(
                "attempt_nonce",
                |text| (16..=200).contains(&text.len()),
                "a random string of 16 to 200 bytes",
            )?,
            subjects: fields.subjects()?,
            retroactive: fields.flag("retroactive")?,
            found: Found::default(),
        })
    }

    /// Writes the members of the request without its nonce, as it is kept in the payload.
    pub fn write_members(&self, w: &mut Writer<'_>) {
        w.str("action", &self.action);
        if let Some(arguments) = &self.arguments {
            w.value("arguments", arguments);
        }
        w.str_opt("audience", self.audience.as_ref().map(ActorId::as_str));
        w.str_opt("branch", self.branch.as_deref());
        w.str_opt("capability", self.capability.as_deref());
        if let Some(change) = &self.change {
            w.value("change", change);
        }
        if let Some(context) = &self.context {
            w.object_value("context", context);
        }
        self.write_estimate(w);
        if !self.evidence.is_empty() {
            w.values("evidence", &self.evidence);
        }
        w.str_opt("execution", self.execution.as_deref());
        w.str("idempotency_key", &self.idempotency_key);
        self.write_labels(w);
        w.str_opt("model", self.model.as_deref());
        if !self.on_behalf_of.is_empty() {
            w.strings("on_behalf_of", self.on_behalf_of.iter().map(ActorId::as_str));
        }
        w.str_opt("parent_decision", self.parent_decision.map(|id| id.to_string()).as_deref());
        w.flag("retroactive", self.retroactive);
        if !self.risk_tags.is_empty() {
            w.strings("risk_tags", &self.risk_tags);
        }
        w.str_opt("step", self.step.as_deref());
        if !self.subjects.is_empty() {
            w.strings("subjects", &self.subjects);
        }
        w.str("surface", &self.surface);
        w.str_opt("target", self.target.as_deref());
        w.str_opt("team", self.team.as_deref());
        w.str_opt("topic", self.topic.as_deref());
        w.str_opt("trace_id", self.trace_id.as_deref());
    }

    fn write_estimate(&self, w: &mut Writer<'_>) {
        if !self.estimate.is_empty() {
            w.nested("estimate", |w| {
                for (unit, amount) in &self.estimate {
                    w.str(unit, &amount.to_string());
                }
            });
        }
    }

    fn write_labels(&self, w: &mut Writer<'_>) {
        if !self.labels.is_empty() {
            w.nested("labels", |w| {
                for (key, value) in &self.labels {
                    w.str(key, value);
                }
            });
        }
    }

    /// Digest of what the request is about: the change, or the digest that the target is or ends in
    /// (`image@sha256:…`). None where it names nothing, or two things that differ: nobody could say which of
    /// them a piece of evidence has to speak of.
    ///
    /// A change is named by the digest of its canonical bytes, or, where it is nothing but a digest, by that.
    #[must_use]
    pub fn subject<H: Hasher>(&self) -> Option<Digest> {
        let change = self.change.as_ref().map(|change| {
            let object = change.as_object().filter(|object| object.len() == 1);
            let text = object.map_or(Some(change), |object| object.get("digest"));
            let given = text.and_then(Value::as_str).and_then(Digest::parse);
            given.unwrap_or_else(|| Digest(H::sha256(&[&change.to_canonical()])))
        });
        let target = self.target.as_deref().and_then(|target| {
            Digest::parse(target.rsplit_once('@').map_or(target, |(_, digest)| digest))
        });
        match (change, target) {
            (Some(change), Some(target)) => (change == target).then_some(change),
            (one, other) => one.or(other),
        }
    }

    /// Writes the canonical bytes of the action: everything that defines the effect.
    pub fn write_action<H: Hasher>(&self, caller: &Caller, out: &mut Vec<u8>) {
        Writer::object(out, |w| {
            w.str("action", &self.action);
            w.str("actor", caller.actor.as_str());
            if let Some(arguments) = &self.arguments {
                w.value("arguments", arguments);
            }
            w.str_opt("branch", self.branch.as_deref());
            w.str_opt("capability", self.capability.as_deref());
            if !caller.chain.is_empty() {
                w.strings("chain", caller.chain.iter().map(ActorId::as_str));
            }
            if let Some(change) = &self.change {
                w.digest("change", &Digest(H::sha256(&[&change.to_canonical()])));
            }
            w.str("environment", &caller.environment);
            w.str_opt("model", self.model.as_deref());
            if !self.on_behalf_of.is_empty() {
                w.strings("on_behalf_of", self.on_behalf_of.iter().map(ActorId::as_str));
            }
            w.str("surface", &self.surface);
            w.str_opt("target", self.target.as_deref());
            w.str_opt("topic", self.topic.as_deref());
            w.str("type", "placet/action/1");
            w.str("workspace", caller.workspace.as_str());
        });
    }

    /// Both digests. The request digest covers the action through its digest, so a large payload
    /// is hashed once.
    #[must_use]
    pub fn digests<H: Hasher>(&self, caller: &Caller) -> Digests {
        let mut bytes = Vec::with_capacity(1024);
        self.write_action::<H>(caller, &mut bytes);
        let action = Digest(H::sha256(&[&bytes]));
        bytes.clear();
        self.write_rest(&action, &mut bytes);
        Digests { action, request: Digest(H::sha256(&[&bytes])) }
    }

    /// Writes the canonical bytes of all that policy could read: the action by its digest, and what
    /// the client said beside it.
    pub fn write_rest(&self, action: &Digest, out: &mut Vec<u8>) {
        Writer::object(out, |w| {
            w.digest("action", action);
            w.str_opt("audience", self.audience.as_ref().map(ActorId::as_str));
            if let Some(context) = &self.context {
                w.object_value("context", context);
            }
            self.write_estimate(w);
            if !self.evidence.is_empty() {
                w.values("evidence", &self.evidence);
            }
            w.str_opt("execution", self.execution.as_deref());
            w.str("idempotency_key", &self.idempotency_key);
            self.write_labels(w);
            w.str_opt("parent_decision", self.parent_decision.map(|id| id.to_string()).as_deref());
            w.flag("retroactive", self.retroactive);
            if !self.risk_tags.is_empty() {
                w.strings("risk_tags", &self.risk_tags);
            }
            w.str_opt("step", self.step.as_deref());
            if !self.subjects.is_empty() {
                w.strings("subjects", &self.subjects);
            }
            w.str_opt("team", self.team.as_deref());
            w.str("type", "placet/request/1");
        });
    }
}

/// The digests of one request of one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 over the canonical action (`placet/action/1`).
    pub action: Digest,
    /// SHA-256 over all that policy could read (`placet/request/1`).
    pub request: Digest,
}

const NAME: &str = "letters, digits and . _ @ : / + -, up to 200 bytes";

fn is_short(text: &str) -> bool {
    (1..=200).contains(&text.len())
}

struct Fields(Object);

impl Fields {
    fn flag(&mut self, key: &str) -> Result<bool, RequestError> {
        match self.0.remove(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(RequestError::new("field_invalid", &format!("/{key}"), "true or false")),
        }
    }

    fn text(
        &mut self,
        key: &str,
        fits: fn(&str) -> bool,
        expected: &str,
    ) -> Result<Option<String>, RequestError> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) if fits(&text) => Ok(Some(text)),
            Some(_) => Err(invalid(key, expected)),
        }
    }

    fn required(
        &mut self,
        key: &str,
        fits: fn(&str) -> bool,
        expected: &str,
    ) -> Result<String, RequestError> {
        self.text(key, fits, expected)?.ok_or_else(|| {
            RequestError::new("field_missing", &format!("/{key}"), format!("required: {expected}"))
        })
    }

    fn object(&mut self, key: &str) -> Result<Option<Object>, RequestError> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(invalid(key, "an object")),
        }
    }

    fn array(&mut self, key: &str) -> Result<Vec<Value>, RequestError> {
        match self.0.remove(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= ITEMS_MAX => Ok(items),
            Some(_) => Err(invalid(key, "an array of up to 64 items")),
        }
    }

    fn names(&mut self, key: &str) -> Result<BTreeSet<String>, RequestError> {
        let mut out = BTreeSet::new();
        for item in self.array(key)? {
            match item {
                Value::String(text) if is_name(&text) => out.insert(text),
                _ => {
                    return Err(invalid(
                        key,
                        "up to 64 names of letters, digits and . _ @ : / + -",
                    ));
                }
            };
        }
        Ok(out)
    }

    fn subjects(&mut self) -> Result<BTreeSet<String>, RequestError> {
        let mut out = BTreeSet::new();
        for item in self.array("subjects")? {
            match item {
                Value::String(text) if is_short(&text) => out.insert(text),
                _ => return Err(invalid("subjects", "up to 64 strings of 1 to 200 bytes")),
            };
        }
        Ok(out)
    }

    fn labels(&mut self) -> Result<BTreeMap<String, String>, RequestError> {
        let mut out = BTreeMap::new();
        for (key, value) in self.object("labels")?.unwrap_or_default() {
            match value {
                Value::String(text) if is_name(&key) && text.len() <= 256 => out.insert(key, text),
                _ => {
                    let expected = "a string of up to 256 bytes under a name of up to 200";
                    return Err(invalid(&format!("labels/{key}"), expected));
                }
            };
        }
        if out.len() > ITEMS_MAX {
            return Err(invalid("labels", "up to 64 labels"));
        }
        Ok(out)
    }

    fn estimate(&mut self) -> Result<BTreeMap<String, Amount>, RequestError> {
        let mut out = BTreeMap::new();
        for (unit, value) in self.object("estimate")?.unwrap_or_default() {
            let amount = value.as_str().and_then(Amount::parse).filter(|amount| amount.0 >= 0);
            match amount {
                Some(amount) if is_name(&unit) => out.insert(unit, amount),
                _ => {
                    let expected = "micro-units as a decimal string, \"1500000\" for 1.5";
                    return Err(invalid(&format!("estimate/{unit}"), expected));
                }
            };
        }
        if out.len() > ITEMS_MAX {
            return Err(invalid("estimate", "up to 64 units"));
        }
        Ok(out)
    }

    fn parent(&mut self) -> Result<Option<DecisionId>, RequestError> {
        match self.0.remove("parent_decision") {
            None => Ok(None),
            Some(value) => {
                value.as_str().and_then(DecisionId::parse).map(Some).ok_or_else(|| {
                    invalid("parent_decision", "a decision id, dec_ and 32 hex digits")
                })
            }
        }
    }

    fn actor(&mut self, key: &str) -> Result<Option<ActorId>, RequestError> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(value) => value.as_str().and_then(ActorId::parse).map(Some).ok_or_else(|| {
                invalid(key, "an actor such as agent:name, service:name or human:name")
            }),
        }
    }

    fn chain(&mut self) -> Result<Vec<ActorId>, RequestError> {
        let items = self.array("on_behalf_of")?;
        let actors: Option<Vec<_>> =
            items.iter().map(|item| item.as_str().and_then(ActorId::parse)).collect();
        match actors {
            Some(actors) if actors.len() <= 16 => Ok(actors),
            _ => Err(invalid("on_behalf_of", "up to 16 actors such as human:name")),
        }
    }

    fn agree(&mut self, caller: &Caller) -> Result<(), RequestError> {
        if self.actor("actor")?.is_some_and(|actor| actor != caller.actor) {
            let expected = format!("not the actor of the key, {}; leave it out", caller.actor);
            return Err(RequestError::new("actor_mismatch", "/actor", expected));
        }
        match self.text("environment", is_label, "the environment of the key")? {
            Some(environment) if environment != caller.environment => {
                let expected = "not the environment of the key; leave it out";
                Err(RequestError::new("field_invalid", "/environment", expected))
            }
            _ => Ok(()),
        }
    }
}

fn invalid(key: &str, expected: &str) -> RequestError {
    RequestError::new("field_invalid", &format!("/{key}"), format!("expected {expected}"))
}
