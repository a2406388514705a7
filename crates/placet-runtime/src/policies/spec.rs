//! The requests that stand for publishing, rolling back and trusting an author, as the constitution
//! governs them: written and read in one place. Refuses to know who may.

use super::Publication;
use placet_engine::{EMERGENCY, PUBLISH, ROLLBACK, arming_of};
use placet_types::event::Signed;
use placet_types::json::{Object, Value};
use placet_types::{Digest, Request};

/// What a decision on `policy.publish` or `policy.rollback` is about.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyAct {
    /// The bundle that is to be in force.
    pub bundle: Digest,
    /// The one that it was reviewed against.
    pub replaces: Option<Digest>,
    /// What is different, as the people read it.
    pub changes: Object,
    /// The author's signature.
    pub signed: Option<Signed>,
    /// Why, in words.
    pub reason: Option<String>,
}

impl PolicyAct {
    /// What a request asks for; `None` for any other request.
    #[must_use]
    pub fn read(request: &Request) -> Option<Self> {
        arming_of(&request.surface, &request.action)?;
        let arguments = request.arguments.as_ref()?.as_object()?;
        let known = ["bundle", "changes", "reason", "replaces", "signed"];
        if arguments.iter().any(|(name, _)| !known.contains(&name)) {
            return None;
        }
        let text = |object: &Object, name: &str| {
            object.get(name).map(|value| value.as_str().map(str::to_owned))
        };
        let digest = |name: &str| match arguments.get(name) {
            None => Some(None),
            Some(value) => Digest::parse(value.as_str()?).map(Some),
        };
        let signed = match arguments.get("signed") {
            None => None,
            Some(value) => {
                let signed = value.as_object()?;
                Some(Signed { key: text(signed, "key")??, signature: text(signed, "signature")?? })
            }
        };
        Some(Self {
            bundle: digest("bundle")??,
            replaces: digest("replaces")?,
            changes: arguments.get("changes")?.as_object()?.clone(),
            signed,
            reason: match text(arguments, "reason") {
                None => None,
                Some(reason) => Some(reason?),
            },
        })
    }
}

/// The request that stands for publishing a bundle. It has no nonce: whoever releases it, author or
/// approver, does so through the plane.
#[must_use]
pub fn publish_request(
    publication: &Publication,
    reason: Option<&str>,
    idempotency_key: String,
) -> Value {
    request(PUBLISH, arguments(publication, reason), idempotency_key)
}

/// The request that stands for going back to a bundle.
#[must_use]
pub fn rollback_request(
    publication: &Publication,
    reason: Option<&str>,
    emergency: bool,
    idempotency_key: String,
) -> Value {
    let place = if emergency { EMERGENCY } else { ROLLBACK };
    request(place, arguments(publication, reason), idempotency_key)
}

/// The request that stands for trusting the key of an author, or for trusting it no more.
#[must_use]
pub fn author_request(key: &str, trust: bool, idempotency_key: String, nonce: String) -> Value {
    let action = if trust { "trust" } else { "revoke" };
    let arguments = Object::new().with("key", key);
    crate::privacy::governed("policy.author", action, arguments, idempotency_key, nonce)
}

fn arguments(publication: &Publication, reason: Option<&str>) -> Object {
    let Publication { bundle, replaces, changes, signed } = publication;
    let signed = signed.as_ref().map(|signed| {
        let signed = Object::new()
            .with("key", signed.key.as_str())
            .with("signature", signed.signature.as_str());
        Value::Object(signed)
    });
    Object::new()
        .with("bundle", bundle.digest().to_string())
        .with("changes", changes.clone())
        .with_opt("reason", reason)
        .with_opt("replaces", replaces.map(|digest| digest.to_string()))
        .with_opt("signed", signed)
}

fn request((surface, action): (&str, &str), arguments: Object, idempotency_key: String) -> Value {
    let request = Object::new()
        .with("surface", surface)
        .with("action", action)
        .with("idempotency_key", idempotency_key)
        .with("arguments", arguments);
    Value::Object(request)
}
