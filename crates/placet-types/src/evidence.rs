//! What the server's own stores say about what a request names: evidence, what the request is about,
//! releases. Owns the form in which it is recorded beside the request, so that deciding again reads the
//! same; refuses to know how it was found.

use crate::hash::Digest;
use crate::ids::{EvidenceId, TimeMs};
use crate::json::{Object, Value};
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Whether a text names a type of evidence: 1 to 64 letters, digits, `.`, `_` and `-`.
#[must_use]
pub fn is_evidence_type(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Most pieces that are looked at for one request.
pub const FOUND_MAX: usize = 64;

/// A piece of evidence as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEvidence {
    /// Its id.
    pub id: EvidenceId,
    /// Its type.
    pub kind: String,
    /// Digest of the evidence itself.
    pub digest: Digest,
    /// Digest of what it speaks of.
    pub subject: Digest,
    /// Who vouches for it: `kind:name`, of people their pseudonym unless the name was asked for.
    pub issuer: String,
    /// When it was issued.
    pub issued: TimeMs,
    /// From this instant on it counts no more.
    pub expires: TimeMs,
    /// A key of its issuer that counts has signed it.
    pub attested: bool,
    /// It was taken back.
    pub revoked: bool,
    /// Whoever asks vouches for it, or those on whose behalf.
    pub own: bool,
}

/// What was found for one request. A client cannot say any of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Digest of what the request is about; none where it names nothing, or several things.
    pub subject: Option<Digest>,
    /// Pieces of evidence that it names, revoked ones included.
    pub evidence: Vec<FoundEvidence>,
    /// It names evidence by an id, or by type and digest, that this workspace does not have: the types
    /// where they are known, otherwise none.
    pub unknown: Vec<Option<String>>,
    /// Facts of other stores, by their names under `verified.`.
    pub facts: Object,
}

impl FoundEvidence {
    fn to_value(&self) -> Value {
        let object = Object::new()
            .with("id", self.id.to_string())
            .with("type", self.kind.as_str())
            .with("digest", self.digest.to_string())
            .with("subject", self.subject.to_string())
            .with("issuer", self.issuer.as_str())
            .with("issued_ms", self.issued.0)
            .with("expires_ms", self.expires.0)
            .with_opt("attested", self.attested.then_some(true))
            .with_opt("revoked", self.revoked.then_some(true))
            .with_opt("own", self.own.then_some(true));
        Value::Object(object)
    }

    fn of_value(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let time = |key: &str| value.get(key).and_then(Value::as_u64).map(TimeMs);
        let flag = |key: &str| value.get(key).map_or(Some(false), Value::as_bool);
        Some(Self {
            id: EvidenceId::parse(text("id")?)?,
            kind: text("type")?.to_owned(),
            digest: Digest::parse(text("digest")?)?,
            subject: Digest::parse(text("subject")?)?,
            issuer: text("issuer")?.to_owned(),
            issued: time("issued_ms")?,
            expires: time("expires_ms")?,
            attested: flag("attested")?,
            revoked: flag("revoked")?,
            own: flag("own")?,
        })
    }
}

impl Found {
    /// Whether there is nothing to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As it is recorded; `None` where there is nothing.
    #[must_use]
    pub fn to_object(&self) -> Option<Object> {
        if self.is_empty() {
            return None;
        }
        let evidence: Vec<Value> = self.evidence.iter().map(FoundEvidence::to_value).collect();
        let kind = |kind: &Option<String>| Value::from(kind.as_deref().unwrap_or_default());
        let unknown: Vec<Value> = self.unknown.iter().map(kind).collect();
        let object = Object::new()
            .with_opt("subject", self.subject.map(|it| it.to_string()))
            .with_opt("evidence", (!evidence.is_empty()).then_some(evidence))
            .with_opt("unknown", (!unknown.is_empty()).then_some(unknown));
        let facts = (!self.facts.is_empty()).then(|| self.facts.clone());
        Some(object.with_opt("facts", facts))
    }

    /// Reads [`to_object`](Self::to_object) back.
    #[must_use]
    pub fn of_object(object: &Object) -> Option<Self> {
        let list = |key: &str| object.get(key).map_or(Some(&[][..]), Value::as_array);
        let kind = |value: &Value| {
            let text = value.as_str()?;
            Some((!text.is_empty()).then(|| text.to_owned()))
        };
        Some(Self {
            subject: match object.get("subject") {
                None => None,
                Some(digest) => Some(Digest::parse(digest.as_str()?)?),
            },
            evidence: list("evidence")?
                .iter()
                .map(FoundEvidence::of_value)
                .collect::<Option<_>>()?,
            unknown: list("unknown")?.iter().map(kind).collect::<Option<_>>()?,
            facts: match object.get("facts") {
                None => Object::new(),
                Some(facts) => facts.as_object()?.clone(),
            },
        })
    }
}
