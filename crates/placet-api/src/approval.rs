//! Approvals as people see them: what exactly will run, who asked, who is missing. Refuses to know
//! who may see them.

use crate::error::ProblemDocument;
use crate::text::{IdText, Instant, Json, JsonObject, Sha};
use placet_types::Digest;
use placet_types::event::DecisionEvent;
use placet_types::ids::{self, ApprovalId, JobId, TimeMs};
use placet_types::json::{Object, Value};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// What an approval document is made of beside the decision's entry.
pub struct ApprovalParts<'a> {
    /// Its id.
    pub id: ApprovalId,
    /// Where it stands.
    pub state: &'a str,
    /// The held decision.
    pub event: &'a DecisionEvent,
    /// People per role.
    pub roles: &'a BTreeMap<String, u32>,
    /// People still missing per role.
    pub missing: BTreeMap<String, u32>,
    /// Who approved so far.
    pub approvals: Vec<VoteDocument>,
    /// Digest of the held action; absent once erased.
    pub action_digest: Option<Digest>,
    /// Digest of the demand.
    pub requirement: Digest,
    /// Who asked, as this reader may see it.
    pub requested_by: &'a str,
    /// On whose behalf, outermost first, as far as that was verified.
    pub verified_chain: Vec<&'a str>,
    /// When it was held.
    pub created: TimeMs,
    /// Undecided, it expires then.
    pub expires: TimeMs,
    /// Approved, it must be collected within.
    pub use_within_ms: u64,
    /// The held request; absent once erased.
    pub request: Option<&'a Object>,
    /// What its permit will demand.
    pub constraints: &'a Object,
    /// The rules that demand it.
    pub rules: &'a [String],
    /// Their texts.
    pub reasons: Vec<String>,
    /// How often a stricter bundle has re-opened it.
    pub reopened: u32,
    /// Roles that may stand in since it was escalated.
    pub may_stand_in: BTreeSet<&'a String>,
    /// Every field, as people are shown it; absent once erased.
    pub rendering: Option<RenderingDocument>,
    /// All votes, where they were looked up.
    pub votes: Option<Vec<CastVoteDocument>>,
    /// The payload was erased.
    pub erased: bool,
}

/// A held action and what it waits for.
#[derive(Serialize, ToSchema)]
pub struct ApprovalDocument<'a> {
    /// Id, `apr_…`.
    #[schema(value_type = String)]
    pub id: IdText<ids::Approval>,
    /// The held decision.
    #[schema(value_type = String)]
    pub decision: IdText<ids::Decision>,
    /// `pending`, `approved`, `consumed`, `rejected`, `expired`, `invalidated`, `withdrawn`.
    pub state: &'a str,
    /// People per role.
    pub roles: &'a BTreeMap<String, u32>,
    /// People still missing per role.
    pub missing: BTreeMap<String, u32>,
    /// Who approved so far.
    pub approvals: Vec<VoteDocument>,
    /// Digest to echo when approving or rejecting; null once erased.
    #[schema(value_type = Option<String>)]
    pub action_digest: Option<Sha>,
    /// Digest of what is demanded.
    #[schema(value_type = String)]
    pub requirement: Sha,
    /// Who asked.
    pub requested_by: &'a str,
    /// Who asked, the person first on whose behalf it is done; none of them may approve.
    pub asked_by: Vec<AskedByDocument>,
    /// When it was held.
    #[schema(value_type = String)]
    pub created: Instant,
    /// Undecided, it expires then.
    #[schema(value_type = String)]
    pub expires: Instant,
    /// Approved, it must be collected within so many milliseconds.
    pub use_within_ms: u64,
    /// Surface.
    pub surface: &'a str,
    /// Action.
    pub action: &'a str,
    /// Environment.
    pub environment: &'a str,
    /// What it is done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    /// Topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<&'a str>,
    /// The exact payload that would execute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub arguments: Option<Json<'a>>,
    /// Asserted risk tags.
    pub risk_tags: Vec<&'a str>,
    /// What its permit will demand.
    #[schema(value_type = Object)]
    pub constraints: JsonObject<'a>,
    /// Ids of the rules that hold it.
    pub rules: &'a [String],
    /// Their texts.
    pub reasons: Vec<String>,
    /// How often a stricter bundle has re-opened it, with another demand.
    #[serde(skip_serializing_if = "is_zero")]
    pub reopened: u32,
    /// Roles that may stand in for those demanded since it was escalated.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub may_stand_in: BTreeSet<&'a String>,
    /// Digest of the bundle under which it was held.
    #[schema(value_type = Option<String>)]
    pub policy: Option<Sha>,
    /// The job that this releases, `job_…`, for actions on surface `job`; approval routes accept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub job_id: Option<IdText<ids::Job>>,
    /// Every field of what would run, as people are shown it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendering: Option<RenderingDocument>,
    /// All votes in the order of the log; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub votes: Option<Vec<CastVoteDocument>>,
    /// The payload is gone, and with it what would run: nobody can approve it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub payload_erased: bool,
    /// The payload cannot be read, or is not what the entry commits to: nobody can approve it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
    /// In the answer to the vote that completed a publication or rollback: why it did not come into force all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_in_force: Option<&'a ProblemDocument>,
}

/// Every field of a held request, computed from the canonical bytes that the digests cover.
#[derive(Serialize, ToSchema)]
pub struct RenderingDocument {
    /// The digest of the action, computed again from the fields.
    #[schema(value_type = String)]
    pub action_digest: Sha,
    /// How many fields there are.
    pub count: usize,
    /// The fields. A list leaves out those of a request that has more than 64 of them; ask for the
    /// approval itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<FieldDocument>>,
}

/// A value without parts, and where it stands.
#[derive(Serialize, ToSchema)]
pub struct FieldDocument {
    /// Where: `arguments.items[0].name`; a key that is no plain name is in brackets and quotes.
    pub path: String,
    /// The value as a person reads it: text bare, all else as JSON. What would hide, reorder or
    /// imitate stands as `\u{…}`.
    pub value: String,
    /// `string`, `number`, `boolean`, `null`, or `array` and `object` where these are empty.
    pub kind: &'static str,
    /// `asserted` by the client, or `verified` by authentication, a gate or a deriver.
    pub provenance: &'static str,
    /// Part of the action: a permit is for exactly this value and for no other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bound: bool,
    /// Something in value or path was made visible.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub marked: bool,
}

/// Somebody in the chain of those who asked.
#[derive(Serialize, ToSchema)]
pub struct AskedByDocument {
    /// Who.
    pub actor: String,
    /// `asserted` by the client, or `verified` by authentication.
    pub provenance: &'static str,
}

/// A vote.
#[derive(Serialize, ToSchema)]
pub struct CastVoteDocument {
    /// Who; a pseudonym where the payload is erased.
    pub by: String,
    /// The demanded roles this person fills.
    pub roles: Vec<String>,
    /// Approved, or rejected.
    pub approve: bool,
    /// When.
    #[schema(value_type = String)]
    pub time: Instant,
    /// Its log index.
    pub index: u64,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The role in which this person stands in for others, after an escalation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_in_as: Option<String>,
    /// Whose roles were delegated to this person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_the_right_of: Vec<String>,
    /// What was approved has changed since, so it counts no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// The channel it came through, `telegram` or `slack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<&'static str>,
    /// The digest was not echoed (development mode alone).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unechoed: bool,
}

/// Somebody who approved.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VoteDocument {
    /// Who.
    pub by: String,
    /// The demanded roles this person fills.
    pub roles: Vec<String>,
    /// The role in which this person stands in for others, after an escalation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_in_as: Option<String>,
    /// Whose roles were delegated to this person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_the_right_of: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A page of approvals, oldest first.
#[derive(Serialize, ToSchema)]
pub struct ApprovalList<'a> {
    /// The approvals.
    pub approvals: Vec<ApprovalDocument<'a>>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<'a> ApprovalDocument<'a> {
    /// The document of an approval.
    #[must_use]
    pub fn build(parts: ApprovalParts<'a>) -> Self {
        let event = parts.event;
        let job =
            (event.surface == JOB).then(|| IdText(JobId::from_bytes(*event.decision.bytes())));
        let field = |key: &str| parts.request.and_then(|request| request.get(key));
        let tags = field("risk_tags").and_then(Value::as_array).unwrap_or_default();
        Self {
            id: IdText(parts.id),
            decision: IdText(event.decision),
            state: parts.state,
            roles: parts.roles,
            missing: parts.missing,
            approvals: parts.approvals,
            action_digest: parts.action_digest.map(Sha),
            requirement: Sha(parts.requirement),
            requested_by: parts.requested_by,
            created: Instant(parts.created),
            expires: Instant(parts.expires),
            use_within_ms: parts.use_within_ms,
            surface: &event.surface,
            action: &event.action,
            environment: &event.environment,
            target: field("target").and_then(Value::as_str),
            topic: event.topic.as_deref(),
            arguments: field("arguments").map(Json),
            risk_tags: tags.iter().filter_map(Value::as_str).collect(),
            constraints: JsonObject(parts.constraints),
            rules: parts.rules,
            reasons: parts.reasons,
            reopened: parts.reopened,
            may_stand_in: parts.may_stand_in,
            policy: event.policy.map(Sha),
            asked_by: asked_by(&parts.verified_chain, parts.request, parts.requested_by),
            job_id: job,
            payload_erased: parts.erased,
            unreadable: parts.request.is_none() && !parts.erased,
            not_in_force: None,
            rendering: parts.rendering,
            votes: parts.votes,
        }
    }
}

/// The surface whose decisions admit jobs.
pub const JOB: &str = "job";

fn asked_by(chain: &[&str], request: Option<&Object>, requested_by: &str) -> Vec<AskedByDocument> {
    let asserted = request.and_then(|request| request.get("on_behalf_of")?.as_array());
    let asserted = asserted.unwrap_or_default().iter().filter_map(Value::as_str);
    let by =
        |provenance| move |actor: &str| AskedByDocument { actor: actor.to_owned(), provenance };
    let chain = chain.iter().copied().map(by("verified"));
    chain.chain(asserted.map(by("asserted"))).chain([by("verified")(requested_by)]).collect()
}
