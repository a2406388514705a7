//! Subject, action, resource and context: reading them, defaults included, and turning them into an
//! execution request. Owns the mapping between the two; refuses to know what is decided.

use crate::call::Call;
use crate::problem::Problem;
use axum::http::header;
use placet_runtime::crypto::Fast;
use placet_types::hash::{Hasher, hex_encode};
use placet_types::ids::{ActorId, is_dotted_name};
use placet_types::json::{Object, Value};
use placet_types::{Caller, Request};

/// Members of an execution request that `context.placet` may hold: facts and names that the tuple
/// has no place for, and nothing that says who asks or what about.
const NATIVE: [&str; 14] = [
    "branch",
    "capability",
    "change",
    "estimate",
    "evidence",
    "execution",
    "labels",
    "model",
    "parent_decision",
    "risk_tags",
    "step",
    "team",
    "topic",
    "trace_id",
];

/// Longest `type:id` of a subject.
const SUBJECT_MAX: usize = 200;

/// A subject or a resource.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) properties: Option<Object>,
}

/// One question.
#[derive(Clone, Debug)]
pub(super) struct Tuple {
    pub(super) subject: Entity,
    pub(super) action: String,
    arguments: Option<Object>,
    pub(super) resource: Entity,
    context: Object,
}

/// Which member a search leaves open. Its value in the tuple is a place holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Nothing,
    Subject,
    Action,
    Resource,
}

/// Stands for an action that is sought.
const ANY_ACTION: &str = "-";

/// The body as a JSON object. Members that nobody knows are ignored, as the specification demands.
pub(super) async fn body(call: &mut Call) -> Result<Object, Problem> {
    // 400 where the native API says 415: this specification knows no other status.
    let kind = call.header(header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::header("content-type", "expected application/json"));
    }
    match call.json().await? {
        Some(Value::Object(fields)) => Ok(fields),
        Some(_) => Err(Problem::invalid("", "the body must be a JSON object")),
        None => Err(Problem::missing("", "the body must be a JSON object")),
    }
}

/// The member as an object.
pub(super) fn object<'a>(fields: &'a Object, name: &str) -> Result<Option<&'a Object>, Problem> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Problem::invalid(&format!("/{name}"), "expected an object")),
    }
}

/// One member of the tuple, from the question itself and from what stands beside the evaluations. An
/// entity replaces the default as a whole; only what identifies it falls back.
struct Part<'a> {
    name: &'static str,
    own: Option<&'a Object>,
    default: Option<&'a Object>,
}

impl<'a> Part<'a> {
    fn read(fields: &'a Object, defaults: &'a Object, name: &'static str) -> Result<Self, Problem> {
        let (own, default) = (object(fields, name)?, object(defaults, name)?);
        if own.is_none() && default.is_none() {
            let text = format!("{name} is required");
            return Err(Problem::missing(&format!("/{name}"), text));
        }
        Ok(Self { name, own, default })
    }

    fn text(&self, member: &str, max: usize) -> Result<String, Problem> {
        let find = |object: Option<&'a Object>| object.and_then(|object| object.get(member));
        let field = format!("/{}/{member}", self.name);
        match find(self.own).or_else(|| find(self.default)) {
            None => Err(Problem::missing(&field, format!("{}.{member} is required", self.name))),
            Some(Value::String(text)) if (1..=max).contains(&text.len()) => Ok(text.clone()),
            Some(_) => {
                Err(Problem::invalid(&field, format!("expected a string of 1 to {max} bytes")))
            }
        }
    }

    fn properties(&self) -> Result<Option<Object>, Problem> {
        match self.own.or(self.default).and_then(|object| object.get("properties")) {
            None => Ok(None),
            Some(Value::Object(properties)) => Ok(Some(properties.clone())),
            Some(_) => {
                let field = format!("/{}/properties", self.name);
                Err(Problem::invalid(&field, "expected an object"))
            }
        }
    }

    fn entity(&self, id_max: usize, open: bool) -> Result<Entity, Problem> {
        Ok(Entity {
            kind: self.text("type", SUBJECT_MAX)?,
            id: if open { String::new() } else { self.text("id", id_max)? },
            properties: self.properties()?,
        })
    }
}

impl Tuple {
    /// Reads a question. What a search leaves open may be absent, and is ignored if it is not.
    pub(super) fn read(fields: &Object, defaults: &Object, open: Open) -> Result<Self, Problem> {
        let subject = Part::read(fields, defaults, "subject")?;
        let subject = subject.entity(SUBJECT_MAX, open == Open::Subject)?;
        let (action, arguments) = match open {
            Open::Action => (ANY_ACTION.to_owned(), None),
            _ => {
                let part = Part::read(fields, defaults, "action")?;
                (part.text("name", 200)?, part.properties()?)
            }
        };
        let resource = Part::read(fields, defaults, "resource")?;
        let resource = resource.entity(2048, open == Open::Resource)?;
        let context = match object(fields, "context")? {
            Some(own) => Some(own),
            None => object(defaults, "context")?,
        };
        let context = context.cloned().unwrap_or_default();
        let tuple = Self { subject, action, arguments, resource, context };
        tuple.check(open)?;
        Ok(tuple)
    }

    fn check(&self, open: Open) -> Result<(), Problem> {
        let dotted = "segments of letters, digits, '_' and '-' separated by dots, up to 200 bytes";
        if !is_dotted_name(&self.resource.kind) {
            let text = format!("the type of a resource is its surface: expected {dotted}");
            return Err(Problem::invalid("/resource/type", text));
        }
        if !is_dotted_name(&self.action) {
            return Err(Problem::invalid("/action/name", format!("expected {dotted}")));
        }
        if open != Open::Subject && self.subject_label().len() > SUBJECT_MAX {
            let text = format!("expected a type and an id of {SUBJECT_MAX} bytes together");
            return Err(Problem::invalid("/subject/id", text));
        }
        for taken in ["subject", "resource"] {
            if self.context.get(taken).is_some() {
                let text = format!("policy reads the {taken} itself here; use another name");
                return Err(Problem::invalid(&format!("/context/{taken}"), text));
            }
        }
        Ok(())
    }

    /// `type:id`, the one text for each subject that rules list under the label `subject`.
    pub(super) fn subject_label(&self) -> String {
        format!("{}{}", label_prefix(&self.subject.kind), self.subject.id)
    }

    /// The id of the approval that an earlier answer named.
    pub(super) fn approval(&self) -> Result<Option<&str>, Problem> {
        match object(&self.context, "approval") {
            Ok(None) => Ok(None),
            Ok(Some(approval)) => match approval.get("id") {
                Some(Value::String(id)) => Ok(Some(id)),
                Some(_) => Err(Problem::invalid("/context/approval/id", "expected a string")),
                None => Err(Problem::missing("/context/approval/id", "the approval has an id")),
            },
            Err(_) => Err(Problem::invalid("/context/approval", "expected an object with an id")),
        }
    }

    /// Whether the gate says that it enforces obligations of its vendor's own kind.
    pub(super) fn takes_custom(&self) -> bool {
        let supported = self.context.get("obligations_supported").and_then(Value::as_array);
        supported.is_some_and(|types| types.iter().any(|it| it.as_str() == Some("custom")))
    }

    /// The execution request, but for the names of this attempt.
    pub(super) fn request(&self, caller: &Caller, open: Open) -> Result<Object, Problem> {
        let mut context = self.context.clone();
        context.remove("approval");
        let native = match context.remove("placet") {
            None => Object::new(),
            Some(Value::Object(native)) => native,
            Some(_) => return Err(Problem::invalid("/context/placet", "expected an object")),
        };
        context.set("subject", facts(&self.subject, open == Open::Subject));
        context.set("resource", facts(&self.resource, open == Open::Resource));
        let mut body = Object::new()
            .with("surface", self.resource.kind.as_str())
            .with("action", self.action.as_str())
            .with_opt("arguments", self.arguments.clone());
        let mut labels = Object::new();
        for (name, value) in native.iter() {
            let field = format!("/context/placet/{name}");
            match (name, value) {
                _ if !NATIVE.contains(&name) => {
                    let text = format!("no field here; known are: {}", NATIVE.join(", "));
                    return Err(Problem::new("field_unknown", text).at(&field));
                }
                ("labels", Value::Object(given)) => labels = given.clone(),
                _ => body.set(name, value.clone()),
            }
        }
        for taken in ["subject", "subject_type"] {
            if labels.get(taken).is_some() {
                let field = format!("/context/placet/labels/{taken}");
                return Err(Problem::invalid(&field, "the subject of the question has this label"));
            }
        }
        labels.set("subject_type", self.subject.kind.as_str());
        if open != Open::Subject {
            let label = self.subject_label();
            let chain = self.actor();
            if !is_program(&self.subject.kind) {
                // Whoever erases what is known of a person finds it by this.
                body.set("subjects", vec![Value::from(label.as_str())]);
            }
            labels.set("subject", label);
            if !self.is_own(caller) {
                body.set("on_behalf_of", vec![Value::from(chain.as_str())]);
            }
        }
        if open != Open::Resource {
            body.set("target", self.resource.id.as_str());
        }
        body.set("labels", labels);
        body.set("context", context);
        Ok(body)
    }

    /// Whether the caller asks for itself.
    pub(super) fn is_own(&self, caller: &Caller) -> bool {
        let Entity { kind, id, .. } = &self.subject;
        caller.actor.as_str().split_once(':') == Some((kind, id))
    }

    /// The subject as an actor of the delegation chain. Whoever is no program counts as a person, so
    /// that entries show a pseudonym; an id that no actor could have is digested.
    fn actor(&self) -> String {
        let Entity { kind, id, .. } = &self.subject;
        let plain = match kind.as_str() {
            "agent" | "service" => format!("{kind}:{id}"),
            "user" | "human" => format!("human:{id}"),
            _ => format!("human:{kind}/{id}"),
        };
        if ActorId::parse(&plain).is_some() {
            return plain;
        }
        let (kind, name) = plain.split_once(':').unwrap_or(("human", &plain));
        format!("{kind}:sha256/{}", hex_encode(&Fast::sha256(&[name.as_bytes()])))
    }
}

fn is_program(kind: &str) -> bool {
    matches!(kind, "agent" | "service")
}

/// What the label of every subject of a type begins with. A colon of the type's own is escaped, so
/// that no two subjects have one label.
pub(super) fn label_prefix(kind: &str) -> String {
    format!("{}:", kind.replace('%', "%25").replace(':', "%3A"))
}

/// An entity as conditions read it; `properties` is always there, so that `has()` can ask it.
fn facts(entity: &Entity, open: bool) -> Object {
    Object::new()
        .with("type", entity.kind.as_str())
        .with_opt("id", (!open).then_some(entity.id.as_str()))
        .with("properties", entity.properties.clone().unwrap_or_default())
}

/// The request of a body that [`Tuple::request`] made, with the names of its attempt.
pub(super) fn finish(
    mut body: Object,
    caller: &Caller,
    idempotency_key: &str,
    nonce: Option<&str>,
    trace: Option<&str>,
) -> Result<Request, Problem> {
    body.set("idempotency_key", idempotency_key);
    if let Some(nonce) = nonce {
        body.set("attempt_nonce", nonce);
    }
    if let Some(trace) = trace.filter(|_| body.get("trace_id").is_none()) {
        body.set("trace_id", trace);
    }
    // Everything else was checked above, so what is refused here came from `context.placet`.
    Request::read(Value::Object(body), caller).map_err(|error| {
        let field = format!("/context/placet{}", error.field());
        Problem::new(error.code(), error.to_string()).at(&field)
    })
}
