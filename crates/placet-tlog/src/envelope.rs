//! DSSE envelopes with in-toto Statements, as other tools sign them: what was signed, by which keys, and what
//! the statement says of which subject and when. Owns one strict reading of both; refuses to know whose keys
//! count and which library verifies.
//!
//! Nothing that was not signed is believed: the type, the subject and the times are read from the payload.

use crate::text::{base64_decode, base64_encode};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use placet_types::Digest;
use placet_types::evidence::is_evidence_type;
use placet_types::hash::Hasher;
use placet_types::ids::TimeMs;
use placet_types::json::{Limits, Object, Value, parse};

/// The one payload type that is read.
pub const STATEMENT_PAYLOAD: &str = "application/vnd.in-toto+json";
/// Predicate types of Placet's own: what follows is the type of evidence.
pub const PREDICATE_PREFIX: &str = "urn:placet:evidence:";
/// Most signatures of an envelope.
pub const SIGNATURES_MAX: usize = 16;
/// Most subjects of a statement.
pub const SUBJECTS_MAX: usize = 1024;
/// Largest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 512 << 10;

/// `_type` of the statements that are read.
const STATEMENT_TYPES: [&str; 2] =
    ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
/// Where predicates say when they were issued: our own, verification summaries, provenance of both versions.
const ISSUED: [&[&str]; 5] = [
    &["issued"],
    &["timeVerified"],
    &["timestamp"],
    &["runDetails", "metadata", "finishedOn"],
    &["metadata", "buildFinishedOn"],
];
/// Members in which predicates say how it went, and what they say when it went well.
const RESULTS: [&str; 2] = ["result", "verificationResult"];
const PASSED: &str = "PASSED";

/// Why an envelope or its statement is refused: what, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeError {
    field: String,
    what: String,
}

impl EnvelopeError {
    fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self { field: field.into(), what: what.into() }
    }

    /// JSON pointer within the envelope; what stands in the statement begins with `/payload`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl core::error::Error for EnvelopeError {}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeSignature {
    /// What the signer calls its key; a hint and nothing more.
    pub keyid: Option<String>,
    /// The signature: 64 bytes where it is of Ed25519.
    pub sig: Vec<u8>,
}

/// An envelope. Nothing says that a signature of it is good before [`is_signed`](Self::is_signed) has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<EnvelopeSignature>,
}

impl Envelope {
    /// Reads an envelope: exactly `payload`, `payloadType` and `signatures`, in canonical base64.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the field.
    pub fn parse(value: &Value) -> Result<Self, EnvelopeError> {
        let object = members(value, "", &["payload", "payloadType", "signatures"])?;
        let kind = text(object, "", "payloadType")?;
        if kind != STATEMENT_PAYLOAD {
            let what = format!("expected the payload type {STATEMENT_PAYLOAD}");
            return Err(EnvelopeError::new("/payloadType", what));
        }
        let payload = base64(text(object, "", "payload")?, "/payload")?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            let what = format!("a statement has at most {PAYLOAD_BYTES_MAX} bytes");
            return Err(EnvelopeError::new("/payload", what));
        }
        let all = object.get("signatures").and_then(Value::as_array).unwrap_or_default();
        if !(1..=SIGNATURES_MAX).contains(&all.len()) {
            let what = format!("expected a list of 1 to {SIGNATURES_MAX} signatures");
            return Err(EnvelopeError::new("/signatures", what));
        }
        let mut signatures: Vec<EnvelopeSignature> = Vec::with_capacity(all.len());
        for (at, value) in all.iter().enumerate() {
            let place = format!("/signatures/{at}");
            let object = members(value, &place, &["keyid", "sig"])?;
            let keyid = match object.get("keyid") {
                // Signers without a name for their key write an empty one.
                None => None,
                Some(Value::String(text)) if text.is_empty() => None,
                Some(_) => Some(text(object, &place, "keyid")?.to_owned()),
            };
            let field = format!("{place}/sig");
            let sig = base64(text(object, &place, "sig")?, &field)?;
            if sig.is_empty() || sig.len() > 8192 {
                return Err(EnvelopeError::new(field, "no signature is of that length"));
            }
            let signature = EnvelopeSignature { keyid, sig };
            if signatures.iter().any(|it| it.sig == signature.sig) {
                return Err(EnvelopeError::new(place, "the same signature stands there twice"));
            }
            signatures.push(signature);
        }
        Ok(Self { payload, signatures })
    }

    /// What was signed, as it was signed.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signatures.
    #[must_use]
    pub fn signatures(&self) -> &[EnvelopeSignature] {
        &self.signatures
    }

    /// The bytes that signatures are over: the pre-authentication encoding of type and payload.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        pre_authentication(STATEMENT_PAYLOAD, &self.payload)
    }

    /// Whether a signature is that of an Ed25519 key; `verify` is given key, bytes and signature.
    pub fn is_signed(
        &self,
        signature: &EnvelopeSignature,
        key: &[u8; 32],
        verify: impl FnOnce(&[u8; 32], &[u8], &[u8; 64]) -> bool,
    ) -> bool {
        let sig = <&[u8; 64]>::try_from(signature.sig.as_slice());
        sig.is_ok_and(|sig| verify(key, &self.message(), sig))
    }

    /// The envelope that one key makes of a statement; `sign` is Ed25519 over the bytes it gets.
    pub fn sign(payload: &[u8], keyid: &str, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Value {
        let sig = sign(&pre_authentication(STATEMENT_PAYLOAD, payload));
        let signature = Object::new().with("keyid", keyid).with("sig", base64_encode(&sig));
        let envelope = Object::new()
            .with("payload", base64_encode(payload))
            .with("payloadType", STATEMENT_PAYLOAD)
            .with("signatures", Vec::from([Value::Object(signature)]));
        Value::Object(envelope)
    }

    /// The statement.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn statement<H: Hasher>(&self) -> Result<Statement, EnvelopeError> {
        Statement::parse::<H>(&self.payload)
    }
}

/// `PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`
fn pre_authentication(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// SHA-256 over the payload: the digest of the evidence.
    pub digest: Digest,
    /// The type of evidence that its predicate type stands for.
    pub kind: String,
    /// Digests of what it speaks of.
    pub subjects: BTreeSet<Digest>,
    /// When it was issued.
    pub issued: TimeMs,
    /// From this instant on it counts no more, where it says so.
    pub expires: Option<TimeMs>,
}

impl Statement {
    /// Reads a statement that passed: its type, its subjects by SHA-256, and when it was issued.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn parse<H: Hasher>(payload: &[u8]) -> Result<Self, EnvelopeError> {
        let limits = Limits { bytes_max: PAYLOAD_BYTES_MAX, ..Limits::REQUEST };
        let value = parse(payload, limits)
            .map_err(|error| EnvelopeError::new("/payload", error.to_string()))?;
        let place = "/payload";
        let object = members(&value, place, &["_type", "predicate", "predicateType", "subject"])?;
        if !STATEMENT_TYPES.contains(&text(object, place, "_type")?) {
            return Err(EnvelopeError::new("/payload/_type", "expected an in-toto Statement, v1"));
        }
        let kind = kind_of(text(object, place, "predicateType")?)?;
        let subjects = subjects(object)?;
        let nothing = Object::new();
        let predicate = match object.get("predicate") {
            None => &nothing,
            Some(Value::Object(predicate)) => predicate,
            Some(_) => {
                return Err(EnvelopeError::new("/payload/predicate", "expected an object"));
            }
        };
        for name in RESULTS {
            // What failed is no evidence of anything; nor is what cannot be read.
            if predicate.get(name).is_some_and(|result| result.as_str() != Some(PASSED)) {
                let what = format!("a statement is evidence when it says {PASSED}");
                return Err(EnvelopeError::new(format!("/payload/predicate/{name}"), what));
            }
        }
        let issued = ISSUED.iter().find_map(|path| {
            let (first, rest) = path.split_first()?;
            rest.iter().try_fold(predicate.get(first)?, |value, name| value.get(name))
        });
        let issued = issued.ok_or_else(|| {
            let what = "the statement does not say when it was issued: predicate.issued, \
                        timeVerified, timestamp, runDetails.metadata.finishedOn or \
                        metadata.buildFinishedOn";
            EnvelopeError::new("/payload/predicate", what)
        })?;
        Ok(Self {
            digest: Digest(H::sha256(&[payload])),
            kind,
            subjects,
            issued: instant(issued, "/payload/predicate")?,
            expires: match predicate.get("expires") {
                None => None,
                Some(expires) => Some(instant(expires, "/payload/predicate/expires")?),
            },
        })
    }
}

/// The type of evidence of a predicate type: what follows `urn:placet:evidence:`, or a URL without its
/// scheme, with `-` for `/`.
fn kind_of(predicate: &str) -> Result<String, EnvelopeError> {
    let kind = match predicate.strip_prefix(PREDICATE_PREFIX) {
        Some(kind) => kind.to_owned(),
        None => predicate.strip_prefix("https://").unwrap_or_default().replace('/', "-"),
    };
    if is_evidence_type(&kind) {
        return Ok(kind);
    }
    let what = format!(
        "expected {PREDICATE_PREFIX}TYPE, or an https:// URL of letters, digits, '.', '_', '-' and '/', \
         up to 64 bytes without its scheme"
    );
    Err(EnvelopeError::new("/payload/predicateType", what))
}

fn subjects(statement: &Object) -> Result<BTreeSet<Digest>, EnvelopeError> {
    let all = statement.get("subject").and_then(Value::as_array).unwrap_or_default();
    if !(1..=SUBJECTS_MAX).contains(&all.len()) {
        let what = format!("expected a list of 1 to {SUBJECTS_MAX} subjects");
        return Err(EnvelopeError::new("/payload/subject", what));
    }
    let mut subjects = BTreeSet::new();
    for (at, subject) in all.iter().enumerate() {
        let field = format!("/payload/subject/{at}/digest/sha256");
        let hex = subject.get("digest").and_then(|it| it.get("sha256")).and_then(Value::as_str);
        let digest = hex.and_then(Digest::parse_hex).ok_or_else(|| {
            EnvelopeError::new(field.as_str(), "expected 64 lower-case hex digits")
        })?;
        if !subjects.insert(digest) {
            return Err(EnvelopeError::new(field, "the same subject stands there twice"));
        }
    }
    Ok(subjects)
}

fn instant(value: &Value, field: &str) -> Result<TimeMs, EnvelopeError> {
    let parsed = value.as_str().and_then(TimeMs::parse_rfc3339);
    parsed.ok_or_else(|| EnvelopeError::new(field, "expected an instant in RFC 3339"))
}

fn members<'v>(value: &'v Value, at: &str, known: &[&str]) -> Result<&'v Object, EnvelopeError> {
    let object = value.as_object().ok_or_else(|| EnvelopeError::new(at, "expected an object"))?;
    match object.iter().find(|(name, _)| !known.contains(name)) {
        None => Ok(object),
        Some((name, _)) => {
            let what = format!("no member here; known are: {}", known.join(", "));
            Err(EnvelopeError::new(format!("{at}/{name}"), what))
        }
    }
}

fn text<'v>(object: &'v Object, at: &str, name: &str) -> Result<&'v str, EnvelopeError> {
    let value = object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    value.ok_or_else(|| EnvelopeError::new(format!("{at}/{name}"), "expected a text"))
}

fn base64(text: &str, field: &str) -> Result<Vec<u8>, EnvelopeError> {
    let what = "expected base64 in its one canonical spelling, with padding";
    base64_decode(text).map_err(|_| EnvelopeError::new(field, what))
}
