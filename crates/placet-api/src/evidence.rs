//! Evidence: pieces, and the keys of those who issue them. Refuses to know what counts where.

use crate::text::{IdText, Instant, Sha};
use placet_types::ids::Evidence;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A piece of evidence: the caller's own word, or a signed envelope.
#[derive(Serialize, ToSchema)]
pub struct EvidenceRequest {
    /// A DSSE envelope with an in-toto Statement. Type, subject and times are read from what was signed.
    #[schema(value_type = Option<Object>)]
    pub envelope: Option<serde_json::Value>,
    /// Of an envelope that several issuers have signed, or without a keyid: whose word it is.
    pub issuer: Option<String>,
    /// Digest of what it speaks of, `sha256:…`. Of an envelope: which of several subjects.
    pub subject: Option<String>,
    /// Without an envelope: its type, 1 to 64 letters, digits, `.`, `_` and `-`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Without an envelope: digest of the evidence itself, `sha256:…`.
    pub digest: Option<String>,
    /// Without an envelope: when it was issued, RFC 3339; now where it is left out.
    pub issued: Option<String>,
    /// Without an envelope: until when it counts, RFC 3339; for ninety days where it is left out.
    pub expires: Option<String>,
    /// Without an envelope: in words, for people, up to 2000 bytes.
    pub note: Option<String>,
}

/// A piece of evidence as the store holds it.
#[derive(Serialize, ToSchema)]
pub struct EvidenceDocument {
    /// Id, `evd_…`: a request names it by this.
    #[schema(value_type = String)]
    pub id: IdText<Evidence>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digest of the evidence itself.
    #[schema(value_type = String)]
    pub digest: Sha,
    /// Digest of what it speaks of.
    #[schema(value_type = String)]
    pub subject: Sha,
    /// Who vouches for it.
    pub issuer: String,
    /// When it was issued.
    #[schema(value_type = String)]
    pub issued: Instant,
    /// From this instant on it counts no more.
    #[schema(value_type = String)]
    pub expires: Instant,
    /// When it was added.
    #[schema(value_type = String)]
    pub added: Instant,
    /// `in_force`, `expired` or `revoked`.
    pub state: &'static str,
    /// Whether a key of its issuer that counts has signed it.
    pub attested: bool,
    /// That key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Index of its log entry.
    pub index: u64,
    /// Asked for by its id, by overseers and by whoever brought it: the envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub envelope: Option<Box<RawValue>>,
    /// As the envelope: what was said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A page of evidence, newest first.
#[derive(Serialize, ToSchema)]
pub struct EvidenceList {
    /// The pieces.
    pub evidence: Vec<EvidenceDocument>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Take a piece of evidence back.
#[derive(Serialize, ToSchema)]
pub struct EvidenceRevokeRequest {
    /// Code of the matter, `[a-z0-9._-]{1,64}`; it stands in the log for good, so no names.
    pub reason: String,
    /// In words, for people, up to 2000 bytes.
    pub note: Option<String>,
}

/// Trust the key of an issuer of evidence, or trust it no more.
#[derive(Serialize, ToSchema)]
pub struct IssuerKeyRequest {
    /// Whose key, `kind:name`.
    pub issuer: String,
    /// Verifier key, `name+id+key`. It stands in the log for good.
    pub key: String,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// A key that signs for an issuer of evidence.
#[derive(Serialize, ToSchema)]
pub struct IssuerKeyDocument {
    /// Whose.
    pub issuer: String,
    /// Verifier key.
    pub key: String,
    /// Who trusted it.
    pub by: String,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Instant,
    /// It counts no more, and nothing that it signed does.
    pub revoked: bool,
}

/// Keys of issuers of evidence.
#[derive(Serialize, ToSchema)]
pub struct IssuerKeyList {
    /// Oldest first, revoked ones included.
    pub keys: Vec<IssuerKeyDocument>,
}
