//! What a person is shown of a held request: every field of the canonical bytes that its digests
//! cover, with where it comes from. Owns the check that what is shown is what was held; refuses to
//! know how it is laid out.
//!
//! The canonical bytes are taken apart into rows, and both digests are computed again from the rows
//! alone. Unless they open the commitments of the entry, nothing is shown.

use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::frame::{SaltFor, SlotKeys};
use crate::plane::{Opened, decision_of};
use crate::proposal::reread;
use placet_policy::Bundle;
use placet_types::hash::Hasher;
use placet_types::json::{self, Limits, Object, Value};
use placet_types::visible;
use placet_types::{Caller, Digest, Digests, Request};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The client.
    Asserted,
    /// Authentication, a gate or a deriver.
    Verified,
}

impl Provenance {
    /// `asserted` or `verified`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asserted => "asserted",
            Self::Verified => "verified",
        }
    }
}

/// One field: a value without parts, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedField {
    steps: Vec<Step>,
    /// The value.
    pub value: Value,
    /// Who says so.
    pub provenance: Provenance,
    /// Part of the action: a permit is for exactly this value and for no other.
    pub bound: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Item(usize),
}

/// A held request as people are shown it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendering {
    /// All fields: the action, what else the client said, what was verified and derived.
    pub fields: Vec<RenderedField>,
    /// The digests, computed from the fields.
    pub digests: Digests,
}

/// Members of the action that authentication vouches for.
const VERIFIED: [&str; 4] = ["actor", "chain", "environment", "workspace"];
/// The order in which people read an action; what is not here follows.
const ORDER: [&str; 13] = [
    "surface",
    "action",
    "target",
    "topic",
    "actor",
    "chain",
    "on_behalf_of",
    "environment",
    "workspace",
    "capability",
    "branch",
    "model",
    "arguments",
];

impl RenderedField {
    /// Where it stands: `arguments.items[0].name`. A key that is no plain name is in quotes, so that
    /// no two places look alike. Shown as [`visible::escape`] does.
    #[must_use]
    pub fn path(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Item(at) => write!(out, "[{at}]"),
                Step::Key(key) if !is_plain(key) => {
                    let quoted = Value::String(key.clone()).to_text();
                    write!(out, "[{}]", visible::escape(&quoted))
                }
                Step::Key(key) if out.is_empty() => write!(out, "{key}"),
                Step::Key(key) => write!(out, ".{key}"),
            };
        }
        out
    }

    /// The value as it is read: text bare, everything else as JSON, and whether anything in it or in
    /// its path had to be made visible.
    #[must_use]
    pub fn text(&self) -> (String, bool) {
        let raw = match &self.value {
            Value::String(text) => text.clone(),
            other => other.to_text(),
        };
        let hidden = |text: &str| text.chars().any(visible::hides);
        let in_path = self.steps.iter().any(|step| matches!(step, Step::Key(key) if hidden(key)));
        (visible::escape(&raw), in_path || hidden(&raw))
    }

    fn root(&self) -> Option<&str> {
        match self.steps.first()? {
            Step::Key(key) => Some(key),
            Step::Item(_) => None,
        }
    }
}

fn is_plain(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

impl Rendering {
    /// The rendering of a held request. Tags and facts are derived under the bundle in force, which
    /// is the one that a vote is weighed under.
    ///
    /// # Errors
    /// [`PlaneError::Damaged`] when what would be shown is not what the entry commits to.
    pub(crate) fn of(opened: &Opened, bundle: Option<&Bundle>) -> Result<Self, PlaneError> {
        let (request, caller) = reread(&opened.payload)?;
        let mut rendering = Self::taken_apart(&opened.payload, &request, &caller)?;
        let event = decision_of(&opened.entry)?;
        let committed = [event.action_commitment, event.request_commitment, event.facts_commitment];
        if !rendering.opens(&opened.keys, committed) {
            let what = "what was held is not what its entry commits to; nothing of it is shown";
            return Err(PlaneError::Damaged(format!("{}: {what}", event.decision)));
        }
        if let Some(found) = bundle.map(|bundle| bundle.findings(&request, &caller)) {
            let tags: Vec<Value> = found.risk_tags.iter().map(|tag| tag.as_str().into()).collect();
            let fields = &mut rendering.fields;
            if !tags.is_empty() {
                let derived = Object::new().with("risk_tags", tags).into();
                take(fields, "derived".to_owned(), &derived, Provenance::Verified, false);
            }
            if !found.facts.is_empty() {
                // As conditions read them.
                let facts = found.facts.into();
                take(fields, "verified".to_owned(), &facts, Provenance::Verified, false);
            }
        }
        Ok(rendering)
    }

    /// The rows of a request as it lies in its payload, without what is derived.
    fn taken_apart(
        payload: &Object,
        request: &Request,
        caller: &Caller,
    ) -> Result<Self, PlaneError> {
        let digests = request.digests::<Fast>(caller);
        let mut fields = Vec::new();
        let mut bytes = Vec::with_capacity(1024);
        request.write_action::<Fast>(caller, &mut bytes);
        let mut action = members(&bytes)?;
        let order = |key: &str| ORDER.iter().position(|known| *known == key);
        action.sort_by_key(|(key, _)| order(key).unwrap_or(ORDER.len()));
        for (key, value) in action {
            match (key.as_str(), &request.change) {
                ("type", _) => {}
                // Shown whole; the action has its digest.
                ("change", Some(change)) => {
                    take(&mut fields, key, change, Provenance::Asserted, true);
                }
                _ => {
                    let verified = VERIFIED.contains(&key.as_str());
                    take(&mut fields, key, &value, says(verified), true);
                }
            }
        }
        bytes.clear();
        request.write_rest(&digests.action, &mut bytes);
        for (key, value) in members(&bytes)? {
            if !["action", "type"].contains(&key.as_str()) {
                take(&mut fields, key, &value, Provenance::Asserted, false);
            }
        }
        let facts = payload.get("facts").and_then(Value::as_object).cloned();
        let mut facts = facts.unwrap_or_default();
        for name in VERIFIED {
            facts.remove(name);
        }
        take(&mut fields, "verified".to_owned(), &facts.into(), Provenance::Verified, false);
        Ok(Self { fields, digests })
    }

    /// Whether both digests and the facts, computed from the rows alone, open the commitments of the
    /// entry: to the action, to the request, to the facts.
    fn opens(&self, keys: &SlotKeys, committed: [Digest; 3]) -> bool {
        let Some(mut members) = assemble(&self.fields) else { return false };
        let Some((_, Value::Object(mut facts))) = members.remove("verified") else { return false };
        let (mut action, mut rest) = (Object::new(), Object::new());
        for (key, (bound, value)) in members {
            if VERIFIED.contains(&key.as_str()) {
                facts.set(key.as_str(), value.clone());
            }
            match (bound, key.as_str()) {
                (true, "change") => {
                    let digest = Digest(Fast::sha256(&[&value.to_canonical()]));
                    action.set(key, digest.to_string());
                }
                (true, _) => action.set(key, value),
                (false, _) => rest.set(key, value),
            }
        }
        action.set("type", "placet/action/1");
        let action = Digest(Fast::sha256(&[&Value::Object(action).to_canonical()]));
        rest.set("action", action.to_string());
        rest.set("type", "placet/request/1");
        let request = Digest(Fast::sha256(&[&Value::Object(rest).to_canonical()]));
        let facts = Fast::sha256(&[&Value::Object(facts).to_canonical()]);
        let found = [
            keys.commit(SaltFor::Action, &action.0),
            keys.commit(SaltFor::Request, &request.0),
            keys.commit(SaltFor::Facts, &facts),
        ];
        Digests { action, request } == self.digests && found == committed
    }
}

fn says(verified: bool) -> Provenance {
    if verified { Provenance::Verified } else { Provenance::Asserted }
}

/// The members of an object in canonical bytes.
fn members(bytes: &[u8]) -> Result<Vec<(String, Value)>, PlaneError> {
    match json::parse(bytes, Limits::PAYLOAD) {
        Ok(Value::Object(object)) => Ok(object.into_iter().collect()),
        _ => Err(PlaneError::Internal("canonical bytes of a request do not parse".to_owned())),
    }
}

/// Takes a value apart: one row for each part that has no parts itself.
fn take(
    fields: &mut Vec<RenderedField>,
    key: String,
    value: &Value,
    provenance: Provenance,
    bound: bool,
) {
    fn walk(steps: &mut Vec<Step>, value: &Value, row: &mut impl FnMut(&[Step], &Value)) {
        match value {
            Value::Array(items) if !items.is_empty() => {
                for (at, item) in items.iter().enumerate() {
                    steps.push(Step::Item(at));
                    walk(steps, item, row);
                    steps.pop();
                }
            }
            Value::Object(object) if !object.is_empty() => {
                for (key, item) in object.iter() {
                    steps.push(Step::Key(key.to_owned()));
                    walk(steps, item, row);
                    steps.pop();
                }
            }
            leaf => row(steps, leaf),
        }
    }
    walk(&mut vec![Step::Key(key)], value, &mut |steps, value| {
        let (steps, value) = (steps.to_vec(), value.clone());
        fields.push(RenderedField { steps, value, provenance, bound });
    });
}

/// Puts rows together again, by the first step of their paths, each with whether it is part of the
/// action; `None` where they do not fit.
fn assemble(fields: &[RenderedField]) -> Option<BTreeMap<String, (bool, Value)>> {
    let mut roots: BTreeMap<&str, Vec<&RenderedField>> = BTreeMap::new();
    for field in fields {
        roots.entry(field.root()?).or_default().push(field);
    }
    let mut out = BTreeMap::new();
    for (key, rows) in roots {
        let bound = rows.first()?.bound;
        if rows.iter().any(|row| row.bound != bound) {
            return None;
        }
        out.insert(key.to_owned(), (bound, whole(&rows, 1)?));
    }
    Some(out)
}

/// The value whose rows these are, `depth` steps down.
fn whole(rows: &[&RenderedField], depth: usize) -> Option<Value> {
    let (first, others) = rows.split_first()?;
    let Some(step) = first.steps.get(depth) else {
        return others.is_empty().then(|| first.value.clone());
    };
    let parts = rows.chunk_by(|a, b| a.steps.get(depth) == b.steps.get(depth));
    match step {
        Step::Item(_) => {
            let mut items = Vec::new();
            for part in parts {
                if part.first()?.steps.get(depth)? != &Step::Item(items.len()) {
                    return None;
                }
                items.push(whole(part, depth + 1)?);
            }
            Some(Value::Array(items))
        }
        Step::Key(_) => {
            let mut object = Object::new();
            for part in parts {
                let Step::Key(key) = part.first()?.steps.get(depth)? else { return None };
                if object.get(key).is_some() {
                    return None;
                }
                object.set(key.as_str(), whole(part, depth + 1)?);
            }
            Some(Value::Object(object))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Secret;
    use placet_types::ids::{ActorId, WorkspaceName};

    fn rows(text: &str) -> (Value, Vec<RenderedField>) {
        let value = json::parse(text.as_bytes(), Limits::REQUEST).unwrap();
        let mut fields = Vec::new();
        take(&mut fields, "arguments".to_owned(), &value, Provenance::Asserted, true);
        (value, fields)
    }

    #[test]
    fn rows_come_together_again_whatever_their_shape() {
        for text in [
            "1.5",
            "null",
            "[]",
            "{}",
            r#"{"a":[1,[2,{}],{"b":null}],"z":{"0":true,"a.b":"x"}}"#,
            r#"[[[[]]],{"":{"":0}}]"#,
            r#"{"0":1}"#,
            r#"[1]"#,
        ] {
            let (value, fields) = rows(text);
            let again = assemble(&fields).unwrap().remove("arguments");
            assert_eq!(again, Some((true, value)), "{text}");
        }
    }

    #[test]
    fn no_two_places_look_alike() {
        let (_, fields) = rows(r#"{"0":1,"a.b":2,"a":{"b":3},"l":[4],"x\u202ey":5,"":6,"q\"":7}"#);
        let mut paths: Vec<_> = fields.iter().map(RenderedField::path).collect();
        assert_eq!(
            paths,
            [
                "arguments[\"\"]",
                "arguments[\"0\"]",
                "arguments.a.b",
                "arguments[\"a.b\"]",
                "arguments.l[0]",
                "arguments[\"q\\\"\"]",
                "arguments[\"x\\u{202e}y\"]",
            ]
        );
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 7);
        let marked: Vec<bool> = fields.iter().map(|field| field.text().1).collect();
        assert_eq!(marked, [false, false, false, false, false, false, true]);
    }

    #[test]
    fn rows_that_were_changed_do_not_come_together() {
        let (value, fields) = rows(r#"{"a":[1,2,3],"b":{"c":4}}"#);
        for at in 0..fields.len() {
            let mut fewer = fields.clone();
            fewer.remove(at);
            let again = assemble(&fewer).and_then(|mut all| all.remove("arguments"));
            assert_ne!(again, Some((true, value.clone())), "without row {at}");
        }
        let mut swapped = fields.clone();
        swapped.swap(0, 1);
        assert_eq!(assemble(&swapped), None);
        let mut doubled = fields;
        doubled.push(doubled[0].clone());
        assert_eq!(assemble(&doubled), None);
    }

    #[test]
    fn nothing_but_what_was_held_opens_the_commitments() {
        let caller = Caller {
            workspace: WorkspaceName::parse("main").unwrap(),
            environment: "production".into(),
            actor: ActorId::parse("agent:bot").unwrap(),
            roles: ["payer".to_owned()].into(),
            chain: vec![ActorId::parse("human:n").unwrap()],
        };
        let body = br#"{"surface":"a.b","action":"c","idempotency_key":"k","target":"t",
            "on_behalf_of":["human:m"],"arguments":{"n":[1,{"x":"y"}],"e":{}},
            "context":{"n":2},"labels":{"l":"m"},"risk_tags":["r"],"change":{"f":["g"]}}"#;
        let body = json::parse(body, Limits::REQUEST).unwrap();
        let request = Request::read(body, &caller).unwrap();
        let payload = Object::new().with("facts", caller.facts());
        let whole = Rendering::taken_apart(&payload, &request, &caller).unwrap();
        let keys = SlotKeys::new(&Secret::new([7; 32]));
        let facts = Fast::sha256(&[&Value::Object(caller.facts()).to_canonical()]);
        let committed = [
            keys.commit(SaltFor::Action, &whole.digests.action.0),
            keys.commit(SaltFor::Request, &whole.digests.request.0),
            keys.commit(SaltFor::Facts, &facts),
        ];
        assert!(whole.opens(&keys, committed));
        assert!(whole.fields.len() > 15, "{}", whole.fields.len());
        for at in 0..whole.fields.len() {
            let path = whole.fields[at].path();
            let mut altered = whole.clone();
            altered.fields[at].value = "else".into();
            assert!(!altered.opens(&keys, committed), "another {path}");
            let mut fewer = whole.clone();
            fewer.fields.remove(at);
            assert!(!fewer.opens(&keys, committed), "without {path}");
            let mut twice = whole.clone();
            twice.fields.push(twice.fields[at].clone());
            assert!(!twice.opens(&keys, committed), "{path} twice");
            let mut moved = whole.clone();
            moved.fields[at].bound ^= true;
            assert!(!moved.opens(&keys, committed), "{path} elsewhere");
        }
        for at in 0..3 {
            let mut others = committed;
            others[at].0[0] ^= 1;
            assert!(!whole.opens(&keys, others));
        }
        assert!(!whole.opens(&SlotKeys::new(&Secret::new([8; 32])), committed));
    }
}
