//! DSSE: the author's signature over the digest of a bundle, as an envelope that other tools read.
//! Owns the encoding; refuses to know which authors count and which library signs.

use crate::note::{NoteError, VerifierKey};
use crate::text::{base64_decode, base64_encode};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use placet_types::Digest;
use placet_types::hash::Hasher;
use placet_types::json::{Limits, Object, Value, parse};

/// Type of the payload: `{"bundle":"sha256:…","type":"placet/bundle-signature/1"}`.
pub const PAYLOAD_TYPE: &str = "application/vnd.placet.bundle-signature+json";

/// Why an envelope or a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DsseError {
    /// It is no envelope with one signature.
    Envelope,
    /// It signs something else than the digest of a bundle.
    PayloadType,
    /// Its payload is not the canonical form for a digest.
    Payload,
    /// The key is no verifier key.
    Key(NoteError),
    /// The signature is not 64 bytes in canonical base64.
    Signature,
}

impl fmt::Display for DsseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Envelope => "it is no DSSE envelope with exactly one signature",
            Self::PayloadType => "it is not a signature of a bundle",
            Self::Payload => "its payload is not the canonical form for the digest of a bundle",
            Self::Key(_) => "its keyid is no verifier key of the form name+id+key",
            Self::Signature => "its signature is not 64 bytes in canonical base64",
        })
    }
}

impl core::error::Error for DsseError {}

/// A signature over the digest of a bundle. Nothing says that it is good before
/// [`is_good`](Self::is_good) has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleSignature {
    digest: Digest,
    key: VerifierKey,
    signature: [u8; 64],
}

impl BundleSignature {
    /// Signs `digest` as `key`; `sign` is Ed25519 over the bytes it gets.
    pub fn sign(digest: Digest, key: VerifierKey, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let signature = sign(&message(&digest));
        Self { digest, key, signature }
    }

    /// From a verifier key and a signature in base64, as log entries hold them.
    ///
    /// # Errors
    /// [`DsseError::Key`] or [`DsseError::Signature`].
    pub fn from_parts<H: Hasher>(
        digest: Digest,
        key: &str,
        signature: &str,
    ) -> Result<Self, DsseError> {
        let key = VerifierKey::parse::<H>(key).map_err(DsseError::Key)?;
        let bytes = base64_decode(signature).map_err(|_| DsseError::Signature)?;
        let signature = bytes.try_into().map_err(|_| DsseError::Signature)?;
        Ok(Self { digest, key, signature })
    }

    /// From an envelope.
    ///
    /// # Errors
    /// [`DsseError`].
    pub fn parse<H: Hasher>(envelope: &Value) -> Result<Self, DsseError> {
        let envelope = envelope.as_object().ok_or(DsseError::Envelope)?;
        let known = ["payload", "payloadType", "signatures"];
        let text = |object: &Object, name: &str| {
            object.get(name).and_then(Value::as_str).map(ToString::to_string)
        };
        if envelope.iter().any(|(name, _)| !known.contains(&name)) {
            return Err(DsseError::Envelope);
        }
        let kind = text(envelope, "payloadType").ok_or(DsseError::Envelope)?;
        if kind != PAYLOAD_TYPE {
            return Err(DsseError::PayloadType);
        }
        let encoded = text(envelope, "payload").ok_or(DsseError::Envelope)?;
        let digest = digest_of(&encoded).ok_or(DsseError::Payload)?;
        let Some(Value::Array(signatures)) = envelope.get("signatures") else {
            return Err(DsseError::Envelope);
        };
        let [signature] = signatures.as_slice() else { return Err(DsseError::Envelope) };
        let signature = signature.as_object().ok_or(DsseError::Envelope)?;
        let key = text(signature, "keyid").ok_or(DsseError::Envelope)?;
        let signature = text(signature, "sig").ok_or(DsseError::Envelope)?;
        Self::from_parts::<H>(digest, &key, &signature)
    }

    /// The envelope, canonical JSON.
    #[must_use]
    pub fn envelope(&self) -> Value {
        let signature = Object::new()
            .with("keyid", self.key.to_string())
            .with("sig", base64_encode(&self.signature));
        let envelope = Object::new()
            .with("payload", base64_encode(&payload(&self.digest)))
            .with("payloadType", PAYLOAD_TYPE)
            .with("signatures", Vec::from([Value::Object(signature)]));
        Value::Object(envelope)
    }

    /// Whether the key made the signature; `verify` is Ed25519 of a key over bytes.
    pub fn is_good(&self, verify: impl FnOnce(&[u8; 32], &[u8], &[u8; 64]) -> bool) -> bool {
        verify(self.key.public_key(), &message(&self.digest), &self.signature)
    }

    /// As [`is_good`](Self::is_good), with portable cryptography.
    #[cfg(feature = "portable")]
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.is_good(|key, message, signature| {
            crate::signature::verify_ed25519(key, message, signature)
        })
    }

    /// What is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// By whom.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The signature in base64.
    #[must_use]
    pub fn signature(&self) -> String {
        base64_encode(&self.signature)
    }
}

fn payload(digest: &Digest) -> Vec<u8> {
    let object =
        Object::new().with("bundle", digest.to_string()).with("type", "placet/bundle-signature/1");
    Value::Object(object).to_canonical()
}

/// The digest that a payload names, if it is the only spelling of it.
fn digest_of(encoded: &str) -> Option<Digest> {
    let bytes = base64_decode(encoded).ok()?;
    let value = parse(&bytes, Limits::ENTRY).ok()?;
    let digest = Digest::parse(value.as_object()?.get("bundle")?.as_str()?)?;
    (payload(&digest) == bytes).then_some(digest)
}

/// What is signed: the pre-authentication encoding of type and payload.
fn message(digest: &Digest) -> Vec<u8> {
    let payload = payload(digest);
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.into_bytes(), payload].concat()
}
