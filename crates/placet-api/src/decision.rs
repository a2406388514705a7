//! The decision document: one builder for the server and for the local dry run. Borrows from the
//! entry, so that serialising allocates next to nothing. Refuses to know where answers come from.

use crate::text::{IdText, Instant, JsonObject, Sha};
use placet_types::event::{DecisionEvent, Matched, PermitIssued};
use placet_types::ids::{Approval, Decision, Exception, Permit, TimeMs};
use placet_types::json::Object;
use placet_types::policy::{Outcome, Reason};
use placet_types::{Digest, Digests};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a decision document is made of beside its entry.
pub struct Parts<'a> {
    /// The entry.
    pub event: &'a DecisionEvent,
    /// When it was decided.
    pub time: TimeMs,
    /// Who proposed, as this reader may see it.
    pub actor: &'a str,
    /// Digests of action and request; absent once the payload is erased.
    pub digests: Option<&'a Digests>,
    /// Where it stands in the log; absent for a dry run.
    pub log: Option<LogPlace<'a>>,
    /// What is demanded, and what its permit carries, since its approval was re-opened.
    pub renewed: Option<Renewed<'a>>,
    /// State of the approval and who is still missing; absent where it was never held.
    pub approval: Option<(&'a str, Cow<'a, BTreeMap<String, u32>>)>,
    /// Why a person rejected it.
    pub note: Option<&'a str>,
    /// The permit, if there is one.
    pub permit: Option<PermitPart<'a>>,
    /// For a permit that was revoked, and for an answer of a mode that a kill overtook: what did it.
    pub stopped_by: Option<Reason>,
    /// Text of a deciding rule, where the bundle gives one.
    pub rule_text: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
    /// Answered from an earlier decision.
    pub replayed: bool,
    /// Its outcome was reported.
    pub reported: bool,
    /// The effect may have happened and nobody said so.
    pub outcome_unknown: bool,
    /// The receipt, when it was asked for.
    pub receipt: Option<&'a str>,
    /// Nothing was recorded: no id, no permit.
    pub dry_run: bool,
}

/// A demand that has taken the place of the one in the decision.
#[derive(Clone, Copy)]
pub struct Renewed<'a> {
    /// People per role.
    pub roles: &'a BTreeMap<String, u32>,
    /// Digest of the demand.
    pub requirement: Digest,
    /// Constraints that the permit carries.
    pub constraints: &'a Object,
}

/// A permit and where it stands.
pub struct PermitPart<'a> {
    /// `granted`, `open`, `consumed`, `expired` or `revoked`.
    pub state: &'static str,
    /// The permit, where this reader may have it.
    pub permit: Option<&'a PermitIssued>,
    /// When it was issued.
    pub issued: TimeMs,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct LogPlace<'a> {
    /// Origin of the log.
    pub origin: &'a str,
    /// Index of the entry.
    pub index: u64,
    /// Size of the log that is known to hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// The answer to an execution request.
#[derive(Serialize, ToSchema)]
pub struct DecisionDocument<'a> {
    /// Id, `dec_…`; null for a dry run.
    #[schema(value_type = Option<String>)]
    pub id: Option<IdText<Decision>>,
    /// `PERMIT`, `REQUIRE_APPROVAL`, `THROTTLE`, `DENY` or `SILENCE`. Only PERMIT executes.
    pub outcome: &'static str,
    /// Ids of the deciding rules.
    pub rules: &'a [String],
    /// Why, most important first.
    pub reasons: Vec<ReasonDocument<'a>>,
    /// All rules that matched.
    pub matched: Vec<MatchedDocument<'a>>,
    /// Digest of the bundle in force; null without one.
    #[schema(value_type = Option<String>)]
    pub policy: Option<Sha>,
    /// Version of the condition language.
    pub language: u32,
    /// Digest of all that defines the effect; null once erased.
    #[schema(value_type = Option<String>)]
    pub action_digest: Option<Sha>,
    /// Digest of all that policy could read; null once erased.
    #[schema(value_type = Option<String>)]
    pub request_digest: Option<Sha>,
    /// What the gate has to enforce.
    #[schema(value_type = Object)]
    pub constraints: JsonObject<'a>,
    /// What the gate has to do; none in this version.
    pub obligations: &'a [String],
    /// The approval it waits or waited for.
    pub approval: Option<ApprovalPart<'a>>,
    /// The permit.
    pub permit: Option<PermitDocument<'a>>,
    /// For THROTTLE: when to come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<&'a str>,
    /// Surface.
    pub surface: &'a str,
    /// Action.
    pub action: &'a str,
    /// Verified environment.
    pub environment: &'a str,
    /// Who proposed; people by pseudonym unless they read it themselves.
    pub actor: &'a str,
    /// When it was decided.
    #[schema(value_type = String)]
    pub time: Instant,
    /// Where it stands in the log; null for a dry run.
    pub log: Option<LogPlace<'a>>,
    /// Reserved for budgets; null in this version.
    #[schema(value_type = Option<Object>)]
    pub reservation: Option<()>,
    /// Answered from an earlier decision under the same idempotency key.
    #[serde(skip_serializing_if = "is_false")]
    pub replayed: bool,
    /// Its outcome was reported.
    #[serde(skip_serializing_if = "is_false")]
    pub reported: bool,
    /// Its permit was used and nobody said how it went.
    #[serde(skip_serializing_if = "is_false")]
    pub outcome_unknown: bool,
    /// The exception from policy that it rests on, `exc_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<ExceptionPart<'a>>,
    /// Filed for what was done already: what policy came to. Nothing is permitted by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retroactive: Option<&'static str>,
    /// `shadow` where a mode of the policy lets the gate proceed as if it had not asked: there is no permit, and
    /// nothing is enforced. Absent where the answer counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// With `mode`: what the answer would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_outcome: Option<&'static str>,
    /// The receipt (C2SP tlog-proof), when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<&'a str>,
    /// Nothing was recorded.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

/// The exception within a decision.
#[derive(Serialize, ToSchema)]
pub struct ExceptionPart<'a> {
    /// Id, `exc_…`.
    #[schema(value_type = String)]
    pub id: IdText<Exception>,
    /// The rules that applied and were waived, at most 16.
    pub waived: &'a [String],
    /// How many there were, where that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waived_all: Option<u64>,
}

/// One reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReasonDocument<'a> {
    /// Stable code.
    pub code: &'static str,
    /// For people.
    #[schema(value_type = String)]
    pub text: Cow<'a, str>,
    /// The rule, for code `rule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
}

/// A rule that matched.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MatchedDocument<'a> {
    /// Its id.
    pub rule: &'a str,
    /// What it says.
    pub effect: &'static str,
    /// Why its condition could not be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// Its sliding window was full.
    #[serde(skip_serializing_if = "is_false")]
    pub window_full: bool,
    /// Only a note.
    #[serde(skip_serializing_if = "is_false")]
    pub advice: bool,
}

/// The approval within a decision.
#[derive(Serialize, ToSchema)]
pub struct ApprovalPart<'a> {
    /// Id, `apr_…`; null for a dry run.
    #[schema(value_type = Option<String>)]
    pub id: Option<IdText<Approval>>,
    /// `pending`, `approved`, `consumed`, `rejected`, `expired`, `invalidated`, `withdrawn`, or
    /// `closed` when it is long final and no more is remembered.
    pub state: &'a str,
    /// People per role.
    pub roles: &'a BTreeMap<String, u32>,
    /// People still missing per role.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub missing: Cow<'a, BTreeMap<String, u32>>,
    /// Undecided, it expires then.
    #[schema(value_type = String)]
    pub expires: Instant,
    /// Digest of what is demanded.
    #[schema(value_type = String)]
    pub requirement: Sha,
    /// What the person who rejected it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'a str>,
}

/// The permit within a decision.
#[derive(Serialize, ToSchema)]
pub struct PermitDocument<'a> {
    /// `granted` (execute now), `open` (another gate has to consume it), `consumed`, `expired`,
    /// `revoked`.
    pub state: &'static str,
    /// Id, `pmt_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<IdText<Permit>>,
    /// The decision it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub decision: Option<IdText<Decision>>,
    /// The action it is for, and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub action_digest: Option<Sha>,
    /// What the gate has to enforce.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub constraints: Option<JsonObject<'a>>,
    /// Who may use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<&'a str>,
    /// When it was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub issued: Option<Instant>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires: Option<Instant>,
    /// SHA-256 of the nonce that may fetch it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub nonce_hash: Option<Sha>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl<'a> DecisionDocument<'a> {
    /// The document of a decision.
    #[must_use]
    pub fn build(parts: Parts<'a>) -> Self {
        let event = parts.event;
        let revoked = parts.permit.as_ref().is_some_and(|permit| permit.state == "revoked");
        // What a kill overtakes is enforced, whatever a mode says.
        let would = event.would_outcome.filter(|_| parts.stopped_by.is_none());
        let shadowed = would != event.would_outcome;
        let outcome = match (revoked || shadowed, &parts.permit) {
            (true, _) => Outcome::Deny,
            // A held action whose permit was minted is permitted by now.
            (false, Some(_)) => Outcome::Permit,
            (false, None) => event.outcome,
        };
        let mut reasons = Vec::with_capacity(event.reasons.len() + event.rules.len());
        if revoked || shadowed {
            let reason = parts.stopped_by.unwrap_or(Reason::KilledWorkspace);
            reasons.push(plain(reason));
        }
        for reason in &event.reasons {
            if shadowed && *reason == Reason::Unenforced {
                continue;
            }
            let speaking = || event.rules.iter().filter(|rule| reason.is_of(rule));
            if speaking().next().is_none() {
                reasons.push(plain(*reason));
                continue;
            }
            reasons.extend(speaking().map(|rule| ReasonDocument {
                code: reason.as_str(),
                text: (parts.rule_text)(rule).unwrap_or(Cow::Borrowed(reason.text())),
                rule: Some(rule),
            }));
        }
        let action = parts.digests.map(|digests| Sha(digests.action));
        let constraints = parts.renewed.map_or(&event.constraints, |it| it.constraints);
        Self {
            id: (!parts.dry_run).then_some(IdText(event.decision)),
            outcome: outcome.as_str(),
            rules: &event.rules,
            reasons,
            matched: event.matched.iter().map(matched).collect(),
            policy: event.policy.map(Sha),
            language: event.language,
            action_digest: action,
            request_digest: parts.digests.map(|digests| Sha(digests.request)),
            constraints: JsonObject(constraints),
            obligations: &[],
            approval: approval(event, &parts),
            permit: parts
                .permit
                .filter(|_| !parts.dry_run)
                .map(|permit| permit_of(event, constraints, &permit, action)),
            retry_after_ms: event.retry_after_ms,
            trace_id: event.trace.as_deref(),
            surface: &event.surface,
            action: &event.action,
            environment: &event.environment,
            actor: parts.actor,
            time: Instant(parts.time),
            log: parts.log,
            reservation: None,
            replayed: parts.replayed,
            reported: parts.reported,
            outcome_unknown: parts.outcome_unknown,
            exception: event.exception.as_ref().map(|it| ExceptionPart {
                id: IdText(it.exception),
                waived: &it.waived,
                waived_all: it.waived_all,
            }),
            retroactive: event.retroactive.map(Outcome::as_str),
            mode: would.map(|_| "shadow"),
            would_outcome: would.map(Outcome::as_str),
            receipt: parts.receipt,
            dry_run: parts.dry_run,
        }
    }

    /// The document as JSON bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048 + self.receipt.map_or(0, |text| 2 * text.len()));
        // Writing to memory fails only where a key is no string, and every key here is one.
        let _ = serde_json::to_writer(&mut out, self);
        out
    }
}

fn plain(reason: Reason) -> ReasonDocument<'static> {
    ReasonDocument { code: reason.as_str(), text: Cow::Borrowed(reason.text()), rule: None }
}

fn matched(matched: &Matched) -> MatchedDocument<'_> {
    MatchedDocument {
        rule: &matched.rule,
        effect: matched.effect.as_str(),
        error: matched.error.map(placet_types::policy::ConditionError::as_str),
        window_full: matched.window.is_some_and(|window| window.full),
        advice: matched.advice,
    }
}

fn approval<'a>(event: &'a DecisionEvent, parts: &Parts<'a>) -> Option<ApprovalPart<'a>> {
    let opened = event.approval.as_ref()?;
    let known = parts.approval.clone();
    let (state, missing) = known.unwrap_or(("pending", Cow::Borrowed(&opened.roles)));
    Some(ApprovalPart {
        id: (!parts.dry_run).then_some(IdText(opened.id)),
        state,
        roles: parts.renewed.map_or(&opened.roles, |it| it.roles),
        missing,
        expires: Instant(opened.expires),
        requirement: Sha(parts.renewed.map_or(opened.requirement, |it| it.requirement)),
        note: parts.note,
    })
}

fn permit_of<'a>(
    event: &'a DecisionEvent,
    constraints: &'a Object,
    part: &PermitPart<'a>,
    action: Option<Sha>,
) -> PermitDocument<'a> {
    let shown = part.permit;
    PermitDocument {
        state: part.state,
        id: shown.map(|permit| IdText(permit.id)),
        decision: shown.map(|_| IdText(event.decision)),
        action_digest: shown.and(action),
        constraints: shown.map(|_| JsonObject(constraints)),
        audience: shown.map(|permit| permit.audience.as_str()),
        issued: shown.map(|_| Instant(part.issued)),
        expires: shown.map(|permit| Instant(permit.expires)),
        nonce_hash: shown.and_then(|permit| permit.nonce).map(Sha),
    }
}
