//! The public error codes, and the one problem document (RFC 9457) for all of them. Owns codes,
//! statuses and titles; refuses to know what led to them.

use serde::Serialize;
use utoipa::ToSchema;

/// Every code with its status and title. A page stands under `docs/errors/` for each.
#[rustfmt::skip]
pub const CODES: &[(&str, u16, &str)] = &[
    ("json_malformed", 400, "The body is not strict JSON"),
    ("field_missing", 400, "A required field is missing"),
    ("field_invalid", 400, "A field has a value that is not accepted"),
    ("field_unknown", 400, "A field is not known"),
    ("search_unbounded", 400, "What is sought has no end"),
    ("approval_digest_missing", 400, "The digest of the approved action is missing"),
    ("person_handed_on", 400, "People sign in themselves"),
    ("actor_taken", 409, "Somebody else goes by that name"),
    ("kind_raised", 400, "An agent hands rights on to agents alone"),
    ("outlives_parent", 400, "What is handed on ends with what it came from"),
    ("chain_too_deep", 400, "The chain of delegation is too long"),
    ("workspace_unclear", 400, "The call does not say which workspace its token is for"),
    ("key_missing", 401, "An API key is needed"),
    ("key_unknown", 401, "The API key opens nothing"),
    ("key_revoked", 401, "The API key is revoked"),
    ("certificate_unknown", 401, "The client certificate opens nothing"),
    ("certificate_expired", 401, "The client certificate has expired"),
    ("channel_unproven", 401, "Nothing proves where the call comes from"),
    ("token_invalid", 401, "The token is not accepted"),
    ("token_expired", 401, "The token has expired"),
    ("issuer_unknown", 401, "No workspace trusts this issuer and audience"),
    ("session_closed", 401, "The session is closed"),
    ("session_ended", 401, "The session has ended"),
    ("actor_mismatch", 403, "The actor is not the one of the key"),
    ("foreign", 403, "This belongs to somebody else"),
    ("cross_site", 403, "Another site asks with this browser's certificate, or in development mode"),
    ("own_approval", 403, "Nobody decides their own proposal"),
    ("role_missing", 403, "The caller lacks a role"),
    ("not_human", 403, "Only a person can do this"),
    ("not_permitted", 403, "The constitution or the policy does not permit this"),
    ("roles_exceeded", 403, "Nobody hands on roles that they do not have"),
    ("token_unmapped", 403, "The policy gives this token nothing"),
    ("not_found", 404, "There is no such thing"),
    ("workspace_not_found", 404, "There is no such workspace"),
    ("method_not_allowed", 405, "The method is not known here"),
    ("request_timeout", 408, "The request took too long to arrive"),
    ("idempotency_conflict", 409, "The idempotency key belongs to another request"),
    ("payload_erased", 409, "The payload has been erased"),
    ("approval_final", 409, "The approval is final"),
    ("approval_pending", 409, "The approval is not complete"),
    ("stale_approval_digest", 409, "The digest is not that of the held action"),
    ("already_voted", 409, "This person's right has been used already"),
    ("approval_reopened", 409, "The policy now asks for more than was seen"),
    ("own_delegation", 400, "Nobody delegates to themselves"),
    ("delegation_end_invalid", 400, "A delegation ends in the future, within thirty days"),
    ("delegations_full", 409, "Too many delegations are in force"),
    ("exception_scope_invalid", 400, "The exception cannot cover, waive or name this"),
    ("exception_too_long", 400, "The policy lets an exception last less"),
    ("exception_review_late", 400, "The policy wants the review sooner"),
    ("exceptions_full", 409, "Too many exceptions"),
    ("exception_live", 409, "The exception is not over"),
    ("exception_ended", 409, "The exception is over"),
    ("approval_invalidated", 409, "The policy no longer grants the held action"),
    ("permit_consumed", 409, "The permit is used up"),
    ("permit_revoked", 409, "The permit was revoked"),
    ("no_permit", 409, "There is no permit"),
    ("already_reported", 409, "The outcome was reported already"),
    ("certificate_taken", 409, "The certificate stands for somebody already"),
    ("already_exists", 409, "It exists already"),
    ("not_tripped", 409, "The kill switch is not tripped"),
    ("lifted_meanwhile", 409, "It was lifted before every workspace had taken it over"),
    ("killed", 409, "A kill switch is tripped"),
    ("frozen", 409, "Nothing new begins there"),
    ("disabled", 409, "It is disabled"),
    ("role_revoked", 403, "A role of the caller is revoked for everybody"),
    ("override_invalid", 400, "The scope is not stopped in this way"),
    ("overrides_full", 409, "Too many scopes are stopped"),
    ("execution_ended", 409, "The execution has ended"),
    ("execution_queued", 409, "The execution waits for a place"),
    ("executions_full", 409, "Too many executions run and wait"),
    ("own_override", 403, "Nobody lifts what stops themselves"),
    ("too_early", 409, "It may not be lifted yet"),
    ("second_person_needed", 409, "A second person is needed"),
    ("last_admin", 409, "The last admin cannot go"),
    ("legal_hold", 409, "A legal hold keeps the payload"),
    ("retention_running", 409, "The retention of the surface is running"),
    ("holds_full", 409, "Too many legal holds are in force"),
    ("signer_in_force", 409, "The signing key is in force"),
    ("signers_full", 409, "The log has had too many signing keys"),
    ("publication_stale", 409, "Another bundle is in force than the one it was reviewed against"),
    ("bundle_in_force", 409, "The bundle is in force"),
    ("bundle_withdrawn", 409, "The bundle was withdrawn"),
    ("bundle_unsigned", 409, "No author who counts has signed the bundle"),
    ("nothing_before", 409, "There is no bundle before to go back to"),
    ("review_overdue", 409, "A review is overdue"),
    ("own_review", 403, "Nobody reviews what they did themselves"),
    ("bundles_full", 409, "Too many bundles are withdrawn"),
    ("authors_full", 409, "Too many author keys count"),
    ("acknowledgements_full", 409, "Too many gates have acknowledged this override"),
    ("session_narrowed", 409, "The policy grants the session less than a moment ago"),
    ("token_used", 409, "The token has opened a session already"),
    ("releases_full", 409, "As many names of releases are kept as can be"),
    ("exception_reviewed", 409, "The exception is reviewed already"),
    ("alias_chain", 409, "Aliases would lead to one another too far"),
    ("aliases_full", 409, "As many names lead somewhere as can"),
    ("release_incomplete", 409, "The papers of the release have lapsed"),
    ("evidence_full", 409, "As much evidence is kept as can be"),
    ("evidence_issuer_unclear", 409, "Several issuers have signed it"),
    ("evidence_revoked", 409, "The evidence was taken back"),
    ("evidence_signature_bad", 409, "A signature is not that of its key"),
    ("evidence_subject_unclear", 409, "It is not clear what the evidence speaks of"),
    ("evidence_time_invalid", 400, "The times of the evidence do not do"),
    ("evidence_unsigned", 403, "The issuer has a key and has to sign"),
    ("issuer_key_known", 409, "The key is known by another name"),
    ("issuer_key_revoked", 409, "The key of the issuer was revoked"),
    ("issuer_key_unknown", 409, "The key does not count for the issuer"),
    ("issuer_keys_full", 409, "Too many keys of issuers are kept"),
    ("permit_expired", 410, "The permit has expired"),
    ("entry_too_large", 413, "The log entry would be too large"),
    ("body_too_large", 413, "The body is too large"),
    ("unsupported_media_type", 415, "The body is not JSON"),
    ("bundle_invalid", 422, "The bundle does not compile"),
    ("bundle_empty", 422, "The bundle holds no document"),
    ("bundle_untrue", 422, "The bundle fails its own cases"),
    ("too_many_requests", 429, "The key asks too fast"),
    ("internal", 500, "A defect of the server"),
    ("idempotency_full", 503, "Too many idempotency keys are in use"),
    ("overloaded", 503, "Too much is waiting"),
    ("store_failed", 503, "Nothing can be recorded"),
    ("stop_unrecorded", 503, "The stop is in effect and not recorded"),
    ("lift_unfinished", 503, "The lift could not be finished: everything stays stopped"),
    ("kill_file_stays", 503, "The file KILL cannot be removed"),
    ("log_damaged", 503, "The log of a workspace is damaged"),
    ("bundle_lost", 503, "A bundle in force is missing"),
    ("clock_unsure", 503, "The clock is in doubt"),
    ("shutting_down", 503, "The server is going down"),
    ("policy_moved", 503, "The policy kept changing"),
    ("indexing", 503, "The read model is being filled"),
    ("issuer_unavailable", 503, "The keys of the issuer cannot be had"),
    ("sessions_full", 503, "Too many sessions"),
];

/// Codes that only the command line shows, with their titles; each has a page as well.
pub const COMMAND_CODES: &[(&str, &str)] = &[
    ("address_in_use", "The address is in use"),
    ("bundle_differs", "Another bundle is in force"),
    ("credentials_exposed", "Others can read the credentials"),
    ("login_failed", "Signing in did not come to its end"),
    ("bundle_unreadable", "The bundle cannot be read"),
    ("data_dir_damaged", "The data directory is damaged"),
    ("data_dir_foreign", "The directory holds something else"),
    ("data_dir_in_use", "Another process has the data directory open"),
    ("data_dir_is_backup", "The directory is a back-up"),
    ("data_dir_missing", "There is no data directory there"),
    ("data_dir_newer_format", "The data directory was written by a newer version"),
    ("data_dir_older_format", "The data directory is of an older format"),
    ("data_dir_read_only", "The directory was opened for reading"),
    ("handover_refused", "A handover between signing keys is refused"),
    ("keys_not_destroyed", "Keys of erased payloads are not destroyed yet"),
    ("signing_key_missing", "The key that signs a log is missing"),
    ("demo_deviation", "The demo saw something else than it expects"),
    ("digest_mismatch", "The receipt is for another action"),
    ("master_key_exposed", "Others can read the master key"),
    ("master_key_malformed", "The master key is malformed"),
    ("master_key_missing", "The master key is missing"),
    ("master_key_wrong", "The master key is another one"),
    ("mode_differs", "The data directory belongs to the other mode"),
    ("outcome_mismatch", "The receipt proves another outcome"),
    ("server_unreachable", "The server cannot be reached"),
    ("store_behind_high_water", "The log is shorter than what was signed before"),
    ("target_exists", "What was to be made is there already"),
    ("trust_malformed", "The trust file is malformed"),
    ("trust_missing", "There is no trust file"),
    ("witness_policy_malformed", "The witness policy is malformed"),
];

/// Where the pages of the codes stand.
pub const PAGES: &str = "https://placet.dev/errors/";

/// Status and title of a code; those of `internal` for a code that is not listed.
#[must_use]
pub fn describe(code: &str) -> (u16, &'static str) {
    CODES
        .iter()
        .find(|(known, ..)| *known == code)
        .map_or((500, "A defect of the server"), |(_, status, title)| (*status, title))
}

/// A problem document, `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProblemDocument {
    /// Address of the page of the code.
    #[serde(rename = "type")]
    pub page: String,
    /// What went wrong, in a few words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What went wrong here, and what to do.
    pub detail: String,
    /// JSON pointer of the field, or `?name` of the query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// When to come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// For `not_permitted`: the decision that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub decision: Option<Box<serde_json::value::RawValue>>,
    /// For `bundle_invalid` and `bundle_untrue`: everything that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub diagnostics: Vec<Box<serde_json::value::RawValue>>,
}

impl ProblemDocument {
    /// The document of a code.
    #[must_use]
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        let (status, title) = describe(code);
        Self {
            page: format!("{PAGES}{code}"),
            title,
            status,
            code: code.to_owned(),
            detail: detail.into(),
            field: None,
            retry_after_ms: None,
            decision: None,
            diagnostics: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_listed_once() {
        for (at, (code, ..)) in CODES.iter().enumerate() {
            assert!(CODES[..at].iter().all(|(other, ..)| other != code), "{code}");
        }
    }
}
