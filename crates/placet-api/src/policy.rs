//! Bundles on the wire: publishing, history, rolling back, authors. Refuses to know what is in one.

use crate::text::{IdText, Instant, Json, Sha};
use placet_types::ids::Decision;
use serde::Serialize;
use utoipa::ToSchema;

/// A document of a bundle.
#[derive(Serialize, ToSchema)]
pub struct PolicySource {
    /// Name of the file, for messages alone.
    pub name: String,
    /// Its YAML.
    pub text: String,
}

/// A bundle to be published: its documents, or its normal form.
#[derive(Serialize, ToSchema)]
pub struct PolicyRequest {
    /// Up to 1,000 documents.
    pub sources: Option<Vec<PolicySource>>,
    /// The normal form, the bytes that the digest covers.
    pub normal: Option<String>,
    /// The bundle that it was compared with, `none` for none; the one in force if it is left out.
    pub replaces: Option<String>,
    /// Why, in words; kept in the erasable payload.
    pub reason: Option<String>,
    /// DSSE envelope of the author (`placet policy sign`).
    #[schema(value_type = Option<Object>)]
    pub signature: Option<serde_json::Value>,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// A decision whose bundle is to be put in force.
#[derive(Serialize, ToSchema)]
pub struct PolicyReleaseRequest {
    /// The approved decision, `dec_…`.
    pub decision: String,
}

/// Where to go back to.
#[derive(Serialize, ToSchema)]
pub struct PolicyRollbackRequest {
    /// A bundle that was in force, which takes two people. If it is left out: the one before the
    /// last publication, at once, by one person, to be reviewed.
    pub bundle: Option<String>,
    /// Why, in words; kept in the erasable payload.
    pub reason: Option<String>,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// A bundle that is never to be in force again.
#[derive(Serialize, ToSchema)]
pub struct PolicyWithdrawRequest {
    /// Code of the matter: 1 to 64 lower-case letters, digits, `.`, `_` and `-`.
    pub reason: String,
}

/// A review of what one person did in an emergency.
#[derive(Serialize, ToSchema)]
pub struct PolicyReviewRequest {
    /// What was found; kept in the erasable payload.
    pub note: Option<String>,
}

/// The key of an author.
#[derive(Serialize, ToSchema)]
pub struct PolicyAuthorRequest {
    /// Verifier key, `name+id+key`. It stands in the log for good.
    pub key: String,
    /// Key of this action for retries; the header `Idempotency-Key` may hold it instead.
    pub idempotency_key: Option<String>,
}

/// A bundle that is or was in force, as its log entry says.
#[derive(Serialize, ToSchema)]
pub struct PolicyDocument {
    /// Its digest.
    #[schema(value_type = String)]
    pub bundle: Sha,
    /// `seeded`, `published`, `rolled_back` or `emergency`.
    pub how: &'static str,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Instant,
    /// Index of the entry.
    pub index: u64,
    /// The decision that permitted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub decision: Option<IdText<Decision>>,
    /// Who proposed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Who approved it.
    pub approvers: Vec<String>,
    /// Who released it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The bundle that was in force before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub replaces: Option<Sha>,
    /// Why, in words, unless erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Verifier key of the author who signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// For an emergency: until when another person has to review it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub review_by: Option<Instant>,
    /// It never comes back.
    pub withdrawn: bool,
}

/// Bundles that are or were in force, newest first.
#[derive(Serialize, ToSchema)]
pub struct PolicyList {
    /// One page of them.
    pub policies: Vec<PolicyDocument>,
    /// For the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What decides now. Drafts, reviews and authors are for overseers.
#[derive(Serialize, ToSchema)]
pub struct PolicyCurrentDocument {
    /// The bundle in force; null while there is none.
    #[schema(value_type = Option<String>)]
    pub bundle: Option<Sha>,
    /// Why it cannot be served, if so: everything is SILENCE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// The bundle to which one person may go back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub preceding: Option<Sha>,
    /// Uploaded, never in force; newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drafts: Option<Vec<PolicyDraftDocument>>,
    /// Emergencies that nobody has reviewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviews: Option<Vec<PolicyReviewDocument>>,
    /// Authors whose signature counts; with none, no bundle has to be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authors: Option<Vec<PolicyAuthorDocument>>,
}

/// A bundle that was uploaded.
#[derive(Serialize, ToSchema)]
pub struct PolicyDraftDocument {
    /// Its digest.
    #[schema(value_type = String)]
    pub bundle: Sha,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Instant,
    /// Who uploaded it.
    pub by: String,
}

/// An emergency that nobody has reviewed.
#[derive(Serialize, ToSchema)]
pub struct PolicyReviewDocument {
    /// The decision.
    #[schema(value_type = String)]
    pub decision: IdText<Decision>,
    /// The bundle that came into force.
    #[schema(value_type = String)]
    pub bundle: Sha,
    /// Who did it.
    pub by: String,
    /// When.
    #[schema(value_type = String)]
    pub since: Instant,
    /// Until when it has to be reviewed.
    #[schema(value_type = String)]
    pub due: Instant,
}

/// An author whose signature counts.
#[derive(Serialize, ToSchema)]
pub struct PolicyAuthorDocument {
    /// Verifier key.
    pub key: String,
    /// Who trusted it.
    pub by: String,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Instant,
}

/// The signature that came with a bundle.
#[derive(Serialize, ToSchema)]
pub struct PolicySignatureDocument<'a> {
    /// DSSE envelope.
    #[schema(value_type = Object)]
    pub signature: Json<'a>,
}
