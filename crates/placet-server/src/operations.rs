//! The table of operations: paths, parameters, bodies and answers. The router, the counters, the
//! OpenAPI document and the tests are all made from it. Refuses to know how anything is done.

/// One operation of the API.
#[derive(Debug)]
pub struct Operation {
    /// Name of the operation.
    pub id: &'static str,
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Query parameters.
    pub query: &'static [&'static str],
    /// Header parameters.
    pub headers: &'static [&'static str],
    /// Schema of the body.
    pub body: Option<&'static str>,
    /// Answers: status, content type, schema (empty for text).
    pub answers: &'static [(u16, &'static str, &'static str)],
    /// Whether a key is needed.
    pub key: bool,
}

impl Operation {
    /// Whether its work outlives the connection that asked for it: whatever changes something, but
    /// for the hot path, which is a single command to the sequencer, and what only looks for long: that ends
    /// when nobody listens any more.
    pub(crate) fn apart(&self) -> bool {
        let hot = ["decide", "evaluateAccess"].contains(&self.id);
        let looks = ["backtestPolicy", "diffPolicy"].contains(&self.id);
        self.method != "GET" && !hot && !looks
    }

    /// Whether its answers name the request as the caller does.
    pub(crate) fn echoes(&self) -> bool {
        self.headers.contains(&"X-Request-ID")
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const DECISION: &[(u16, &str, &str)] = &[(200, JSON, "DecisionDocument")];
const STATUS: &[(u16, &str, &str)] = &[(200, JSON, "ApprovalStatusDocument")];
const NONCE: &str = "Placet-Attempt-Nonce";
const ASKED: &[&str] = &["X-Request-ID", "Idempotency-Key", NONCE];

const GET: Operation = Operation {
    id: "",
    method: "GET",
    path: "",
    summary: "",
    query: &[],
    headers: &[],
    body: None,
    answers: &[],
    key: true,
};
const POST: Operation = Operation { method: "POST", ..GET };

/// All operations.
#[rustfmt::skip]
pub const OPERATIONS: &[Operation] = &[
    Operation { id: "decide", path: "/api/v1/decisions", summary: "Decide an execution request", query: &["receipt"], headers: &["Idempotency-Key", NONCE], body: Some("ExecutionRequestDocument"), answers: DECISION, ..POST },
    Operation { id: "decideBatch", path: "/api/v1/decisions:batch", summary: "Decide up to a hundred requests, each with an answer of its own", body: Some("BatchRequest"), answers: &[(200, JSON, "BatchDocument")], ..POST },
    Operation { id: "getDecision", path: "/api/v1/decisions/{id}", summary: "A decision as it stands; waits while it is held, collects the permit of an approved one", query: &["wait"], headers: &[NONCE], answers: DECISION, ..GET },
    Operation { id: "consume", path: "/api/v1/decisions/{id}/consume", summary: "Consume a permit as the gate it names", headers: &[NONCE], body: Some("ConsumeRequest"), answers: DECISION, ..POST },
    Operation { id: "reportOutcome", path: "/api/v1/decisions/{id}/outcome", summary: "Report how an action went", body: Some("OutcomeRequest"), answers: DECISION, ..POST },
    Operation { id: "withdraw", path: "/api/v1/decisions/{id}/withdraw", summary: "Take a held action back", answers: DECISION, ..POST },
    Operation { id: "getReceipt", path: "/api/v1/receipts/{id}", summary: "The receipt of a decision: its newest authority entry, or the one at index; with payload, what opens the commitments of its own entry", query: &["index", "checkpoint", "payload"], headers: &["Accept"], answers: &[(200, TEXT, ""), (200, JSON, "ReceiptDocument")], ..GET },
    Operation { id: "getTrace", path: "/api/v1/traces/{trace_id}", summary: "Everything that happened under a trace id", answers: &[(200, JSON, "TraceDocument")], ..GET },
    Operation { id: "queryAudit", path: "/api/v1/audit", summary: "Search the log", query: &["decision", "trace", "actor", "rule", "subject", "surface", "outcome", "would_differ", "type", "since", "until", "order", "cursor", "limit", "min_index"], answers: &[(200, JSON, "AuditDocument")], ..GET },
    Operation { id: "erase", path: "/api/v1/audit/erase", summary: "Erase payloads, as the constitution permits; with dry_run, only say what it would come to", headers: &["Idempotency-Key"], body: Some("EraseRequest"), answers: &[(200, JSON, "EraseDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "listHolds", path: "/api/v1/holds", summary: "Legal holds in force, oldest first", answers: &[(200, JSON, "HoldList")], ..GET },
    Operation { id: "placeHold", path: "/api/v1/holds", summary: "Keep payloads from being erased", body: Some("HoldRequest"), answers: &[(201, JSON, "HoldDocument")], ..POST },
    Operation { id: "releaseHold", method: "DELETE", path: "/api/v1/holds/{id}", summary: "Release a legal hold, as the constitution permits", headers: &["Idempotency-Key"], answers: &[(200, JSON, "HoldReleasedDocument"), (202, JSON, "KeyHeldDocument")], ..GET },
    Operation { id: "reindex", path: "/api/v1/audit/reindex", summary: "Have the read model filled anew from the log", answers: &[(202, JSON, "StatusDocument")], ..POST },
    Operation { id: "listApprovals", path: "/api/v1/approvals", summary: "Held actions, oldest first", query: &["include_resolved", "cursor", "limit"], answers: &[(200, JSON, "ApprovalList")], ..GET },
    Operation { id: "getApproval", path: "/api/v1/approvals/{id}", summary: "A held action: every field of it as people are shown it, and all votes", answers: &[(200, JSON, "ApprovalDocument")], ..GET },
    Operation { id: "approve", path: "/api/v1/approvals/{id}/approve", summary: "Approve a held action", body: Some("VoteRequest"), answers: &[(200, JSON, "ApprovalDocument")], ..POST },
    Operation { id: "reject", path: "/api/v1/approvals/{id}/reject", summary: "Reject a held action", body: Some("VoteRequest"), answers: &[(200, JSON, "ApprovalDocument")], ..POST },
    Operation { id: "listDelegations", path: "/api/v1/delegations", summary: "Delegations of the right to approve that the caller gave or has, newest first; for overseers those of everybody", query: &["cursor", "limit"], answers: &[(200, JSON, "DelegationList")], ..GET },
    Operation { id: "delegate", path: "/api/v1/delegations", summary: "Let another person approve in one's place, on some surfaces and for a while", body: Some("DelegationRequest"), answers: &[(201, JSON, "DelegationDocument")], ..POST },
    Operation { id: "endDelegation", method: "DELETE", path: "/api/v1/delegations/{id}", summary: "End a delegation", answers: &[(200, JSON, "DelegationDocument")], ..GET },
    Operation { id: "listExceptions", path: "/api/v1/exceptions", summary: "Exceptions from policy, newest first; for who is no overseer those that concern the caller", query: &["cursor", "limit"], answers: &[(200, JSON, "ExceptionList")], ..GET },
    Operation { id: "openException", path: "/api/v1/exceptions", summary: "Open an exception from policy, as the constitution permits", headers: &["Idempotency-Key"], body: Some("ExceptionRequest"), answers: &[(201, JSON, "ExceptionDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "getException", path: "/api/v1/exceptions/{id}", summary: "An exception, and what passed under it", answers: &[(200, JSON, "ExceptionDocument")], ..GET },
    Operation { id: "closeException", path: "/api/v1/exceptions/{id}/close", summary: "End an exception before its time", answers: &[(200, JSON, "ExceptionDocument")], ..POST },
    Operation { id: "reviewException", path: "/api/v1/exceptions/{id}/review", summary: "Review what passed under an exception that is over", body: Some("ExceptionReviewRequest"), answers: &[(200, JSON, "ExceptionDocument")], ..POST },
    Operation { id: "submitJob", path: "/api/v1/jobs", summary: "Ask whether a job may run, as a scheduler submits it; it is not dispatched: the permit says who may", headers: &["Idempotency-Key", NONCE], body: Some("JobRequest"), answers: &[(200, JSON, "JobDocument")], ..POST },
    Operation { id: "askApproval", path: "/approval/request", summary: "Ask people for an approval, as a run does; the digest covers the whole body", headers: &["Idempotency-Key", NONCE], body: Some("ApprovalAskRequest"), answers: STATUS, ..POST },
    Operation { id: "getApprovalStatus", path: "/approval/status/{id}", summary: "Where an approval stands; collects the permit for the nonce of its attempt", headers: &[NONCE], answers: STATUS, ..GET },
    Operation { id: "approveAsked", path: "/approval/approve/{id}", summary: "Approve, as a compatible client", body: Some("CompatVoteRequest"), answers: STATUS, ..POST },
    Operation { id: "rejectAsked", path: "/approval/reject/{id}", summary: "Reject, as a compatible client", body: Some("CompatVoteRequest"), answers: STATUS, ..POST },
    Operation { id: "listGovernancePending", path: "/governance/pending", summary: "What waits for people, oldest first, as runs record it", query: &["cursor", "limit"], answers: &[(200, JSON, "GovernanceRequestList")], ..GET },
    Operation { id: "getGovernanceHistory", path: "/governance/history", summary: "Requests for approvals and what became of them, newest first: of a run, or all", query: &["run_id", "cursor", "limit"], answers: &[(200, JSON, "GovernanceRequestList")], ..GET },
    Operation { id: "getGovernanceRequest", path: "/governance/request/{id}", summary: "One request for an approval with what became of it", answers: &[(200, JSON, "GovernanceRequestDocument")], ..GET },
    Operation { id: "streamEvents", path: "/api/v1/events", summary: "Log entries as they become durable (server-sent events)", query: &["from"], headers: &["Last-Event-ID"], answers: &[(200, "text/event-stream", "")], ..GET },
    Operation { id: "getCheckpoint", path: "/api/v1/checkpoint", summary: "The newest signed checkpoint of the workspace's log", answers: &[(200, TEXT, "")], ..GET },
    Operation { id: "getPublished", path: "/log/{workspace}/checkpoint", summary: "The checkpoint published last, with its cosignatures", answers: &[(200, TEXT, "")], ..GET },
    Operation { id: "getTile", path: "/log/{workspace}/tile/{*tile}", summary: "A tile or entry bundle of the published log (C2SP tlog-tiles)", answers: &[(200, "application/octet-stream", "")], ..GET },
    Operation { id: "getConsistency", path: "/log/{workspace}/consistency/{old}/{new}", summary: "The proof that the log of one size extends that of another, a hash in base64 per line", answers: &[(200, TEXT, "")], ..GET },
    Operation { id: "listSurfaces", path: "/api/v1/surfaces", summary: "Surfaces of the policy in force with their contracts, by name", answers: &[(200, JSON, "SurfaceList")], ..GET },
    Operation { id: "getKill", path: "/api/v1/kill", summary: "The kill switches over the workspace", answers: &[(200, JSON, "KillDocument")], ..GET },
    Operation { id: "kill", path: "/api/v1/kill", summary: "Trip a kill switch", body: Some("KillRequest"), answers: &[(200, JSON, "KillDocument")], ..POST },
    Operation { id: "lift", path: "/api/v1/lift", summary: "Ask for, or complete, the lift of a kill switch", body: Some("KillRequest"), answers: &[(200, JSON, "LiftDocument")], ..POST },
    Operation { id: "streamOverrides", path: "/api/v1/overrides/stream", summary: "Kills as they take effect and as they are recorded, drills and lifts, for gates (server-sent events)", headers: &["Last-Event-ID"], answers: &[(200, "text/event-stream", "")], ..GET },
    Operation { id: "drillOverride", path: "/api/v1/overrides:drill", summary: "Practise a kill: gates acknowledge it, nothing stops", body: Some("DrillRequest"), answers: &[(200, JSON, "OverrideReportDocument")], ..POST },
    Operation { id: "getOverride", path: "/api/v1/overrides/{index}", summary: "What a trip stopped, what it could not reach, and which gates have acknowledged it", answers: &[(200, JSON, "OverrideReportDocument")], ..GET },
    Operation { id: "acknowledgeOverride", path: "/api/v1/overrides/{index}/acknowledge", summary: "Say, as a gate, what was stopped and what could not be", body: Some("AcknowledgeRequest"), answers: &[(200, JSON, "GateAcknowledgement")], ..POST },
    Operation { id: "listOverrides", path: "/api/v1/overrides", summary: "All that is stopped in the workspace, scope by scope", answers: &[(200, JSON, "OverrideList")], ..GET },
    Operation { id: "stop", path: "/api/v1/overrides", summary: "Kill, freeze, disable or revoke a scope", body: Some("OverrideRequest"), answers: &[(200, JSON, "OverrideDocument")], ..POST },
    Operation { id: "liftOverride", path: "/api/v1/overrides:lift", summary: "Ask for, or complete, the lift of what stops a scope", body: Some("OverrideLiftRequest"), answers: &[(200, JSON, "OverrideLiftDocument")], ..POST },
    Operation { id: "startExecution", path: "/api/v1/executions", summary: "Start an execution of a capability, as the policy permits", headers: &["Idempotency-Key"], body: Some("ExecutionRequest"), answers: &[(201, JSON, "ExecutionDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "listExecutions", path: "/api/v1/executions", summary: "Executions that run or ended not long ago, oldest first: all for overseers, their own for others", query: &["cursor", "limit", "state"], answers: &[(200, JSON, "ExecutionList")], ..GET },
    Operation { id: "getExecution", path: "/api/v1/executions/{id}", summary: "An execution as it stands", answers: &[(200, JSON, "ExecutionDocument")], ..GET },
    Operation { id: "endExecution", path: "/api/v1/executions/{id}/end", summary: "Say how an execution ended, as whoever runs it", body: Some("ExecutionEndRequest"), answers: &[(200, JSON, "ExecutionDocument")], ..POST },
    Operation { id: "listKeys", path: "/api/v1/keys", summary: "Keys of the workspace", answers: &[(200, JSON, "KeyList")], ..GET },
    Operation { id: "createKey", path: "/api/v1/keys", summary: "Make a key, as the constitution permits", headers: &["Idempotency-Key"], body: Some("KeyRequest"), answers: &[(201, JSON, "KeyMadeDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "revokeKey", method: "DELETE", path: "/api/v1/keys/{id}", summary: "Revoke a key", answers: &[(204, "", "")], ..GET },
    Operation { id: "openSession", path: "/api/v1/sessions", summary: "Exchange a token for a session key, or hand a part of one's rights on to an agent or a service", body: Some("SessionRequest"), answers: &[(201, JSON, "SessionMadeDocument")], ..POST },
    Operation { id: "listSessions", path: "/api/v1/sessions", summary: "Open sessions of the caller and those that were handed on from them, oldest first; for overseers those of everybody", query: &["cursor", "limit"], answers: &[(200, JSON, "SessionList")], ..GET },
    Operation { id: "getSession", path: "/api/v1/sessions/{id}", summary: "A session: one's own (current: who the caller is, what it may do, and until when), one that was handed on, or, for overseers, any", answers: &[(200, JSON, "SessionDocument")], ..GET },
    Operation { id: "closeSession", method: "DELETE", path: "/api/v1/sessions/{id}", summary: "Close a session: one's own (current), one that was handed on, or, as an admin, any", answers: &[(204, "", "")], ..GET },
    Operation { id: "listWorkspaces", path: "/api/v1/workspaces", summary: "Workspaces that the caller may see", answers: &[(200, JSON, "WorkspaceList")], ..GET },
    Operation { id: "createWorkspace", path: "/api/v1/workspaces", summary: "Make a workspace with its first admin", body: Some("WorkspaceRequest"), answers: &[(201, JSON, "WorkspaceMadeDocument")], ..POST },
    Operation { id: "confirmClock", path: "/api/v1/clock/confirm", summary: "Believe the wall clock again", answers: &[(200, JSON, "StatusDocument")], ..POST },
    Operation { id: "rotateSigner", path: "/api/v1/signers/rotate", summary: "Hand every log over to a new signing key, as the constitution permits", headers: &["Idempotency-Key"], body: Some("RotateRequest"), answers: &[(200, JSON, "SignersDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "revokeSigner", path: "/api/v1/signers/revoke", summary: "Revoke a former signing key, as the constitution permits", headers: &["Idempotency-Key"], body: Some("RevokeSignerRequest"), answers: &[(200, JSON, "SignersDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "getShadow", path: "/api/v1/policies/shadow", summary: "The shadow bundle of the workspace, and how often it would have decided otherwise", answers: &[(200, JSON, "ShadowDocument")], ..GET },
    Operation { id: "setShadow", path: "/api/v1/policies/shadow", summary: "Make decisions a second time under this bundle, for the record alone, as the constitution permits", headers: &["Idempotency-Key"], body: Some("ShadowRequest"), answers: &[(200, JSON, "ShadowDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "clearShadow", method: "DELETE", path: "/api/v1/policies/shadow", summary: "Clear the shadow bundle, as the constitution permits", headers: &["Idempotency-Key"], answers: &[(200, JSON, "ShadowDocument"), (202, JSON, "KeyHeldDocument")], ..GET },
    Operation { id: "lintPolicy", path: "/api/v1/policies/lint", summary: "Look for what is wrong with policy documents; none comes into force", body: Some("LintRequest"), answers: &[(200, JSON, "LintDocument")], ..POST },
    Operation { id: "testPolicy", path: "/api/v1/policies/test", summary: "Run the cases of policy documents; nothing is recorded", body: Some("TestRequest"), answers: &[(200, JSON, "TestDocument")], ..POST },
    Operation { id: "explainPolicy", path: "/api/v1/policies/explain", summary: "Say why a request would be decided as it is; nothing is recorded", body: Some("ExplainRequest"), answers: &[(200, JSON, "ExplainDocument")], ..POST },
    Operation { id: "diffPolicy", path: "/api/v1/policies/diff", summary: "Which decisions change from one bundle to another, the one in force unless another is sent", headers: &["Accept"], body: Some("DiffRequest"), answers: &[(200, JSON, "DiffDocument"), (200, TEXT, "")], ..POST },
    Operation { id: "backtestPolicy", path: "/api/v1/policies/backtest", summary: "Decide the log of the workspace again under other documents, within bounds; nothing is recorded", headers: &["Accept"], body: Some("BacktestRequest"), answers: &[(200, JSON, "BacktestDocument"), (200, TEXT, "")], ..POST },
    Operation { id: "formatPolicy", path: "/api/v1/policies/format", summary: "Write policy documents as the formatter does", body: Some("FormatRequest"), answers: &[(200, JSON, "FormatDocument")], ..POST },
    Operation { id: "importPolicy", path: "/api/v1/policies/import", summary: "Turn a file of the job gateway's format into a document, and say where its order of rules mattered", body: Some("ImportRequest"), answers: &[(200, JSON, "ImportDocument")], ..POST },
    Operation { id: "getPolicySchemas", path: "/api/v1/policies/schemas", summary: "JSON Schemas of policy documents, for editors", answers: &[(200, JSON, "SchemaDocument")], ..GET },
    Operation { id: "listPolicies", path: "/api/v1/policies", summary: "Bundles that are or were in force, newest first", query: &["cursor", "limit"], answers: &[(200, JSON, "PolicyList")], ..GET },
    Operation { id: "publishPolicy", path: "/api/v1/policies", summary: "Publish a bundle, as the constitution permits; in force when it is answered with 200", headers: &["Idempotency-Key"], body: Some("PolicyRequest"), answers: &[(200, JSON, "PolicyDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "getCurrentPolicy", path: "/api/v1/policies/current", summary: "What decides now; for overseers also drafts, open reviews and authors", answers: &[(200, JSON, "PolicyCurrentDocument")], ..GET },
    Operation { id: "getPolicy", path: "/api/v1/policies/{digest}", summary: "The normal form of a bundle: the bytes that its digest covers; with signature, the envelope of its author", query: &["signature"], answers: &[(200, JSON, "")], ..GET },
    Operation { id: "releasePolicy", path: "/api/v1/policies/release", summary: "Put an approved bundle in force, as its author or as one who approved it", body: Some("PolicyReleaseRequest"), answers: &[(200, JSON, "PolicyDocument")], ..POST },
    Operation { id: "rollbackPolicy", path: "/api/v1/policies/rollback", summary: "Go back to an earlier bundle, as the constitution permits", headers: &["Idempotency-Key"], body: Some("PolicyRollbackRequest"), answers: &[(200, JSON, "PolicyDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "withdrawPolicy", path: "/api/v1/policies/{digest}/withdraw", summary: "Never let a bundle be in force again", body: Some("PolicyWithdrawRequest"), answers: &[(200, JSON, "StatusDocument")], ..POST },
    Operation { id: "reviewPolicy", path: "/api/v1/policies/reviews/{decision}", summary: "Close the review of an emergency rollback, as another person", body: Some("PolicyReviewRequest"), answers: &[(200, JSON, "StatusDocument")], ..POST },
    Operation { id: "trustAuthor", path: "/api/v1/policies/authors", summary: "Trust the key of an author, as the constitution permits; from the first one on bundles have to be signed", headers: &["Idempotency-Key"], body: Some("PolicyAuthorRequest"), answers: &[(200, JSON, "StatusDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "revokeAuthor", path: "/api/v1/policies/authors/revoke", summary: "Trust the key of an author no more, as the constitution permits", headers: &["Idempotency-Key"], body: Some("PolicyAuthorRequest"), answers: &[(200, JSON, "StatusDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "getHandovers", path: "/.well-known/placet-handovers", summary: "The handovers between signing keys, each signed by both; those of a log oldest first", answers: &[(200, TEXT, "")], key: false, ..GET },
    Operation { id: "getTrust", path: "/.well-known/placet-keys", summary: "A trust file for offline verifiers: the keys of all logs, with the sizes that each may sign", answers: &[(200, JSON, "TrustDocument")], key: false, ..GET },
    Operation { id: "evaluateAccess", path: "/access/v1/evaluation", summary: "AuthZEN: decide whether a subject may do something to a resource", headers: ASKED, body: Some("AccessEvaluationRequest"), answers: &[(200, JSON, "AccessEvaluationDocument")], ..POST },
    Operation { id: "evaluateAccesses", path: "/access/v1/evaluations", summary: "AuthZEN: decide several evaluations; the answer to none is that to one", headers: ASKED, body: Some("AccessEvaluationsRequest"), answers: &[(200, JSON, "AccessEvaluationsDocument")], ..POST },
    Operation { id: "searchSubjects", path: "/access/v1/search/subject", summary: "AuthZEN: which of the subjects that rules list may do something to a resource", headers: &["X-Request-ID"], body: Some("SubjectSearchRequest"), answers: &[(200, JSON, "EntitySearchDocument")], ..POST },
    Operation { id: "searchResources", path: "/access/v1/search/resource", summary: "AuthZEN: to which of the resources that rules list a subject may do something", headers: &["X-Request-ID"], body: Some("ResourceSearchRequest"), answers: &[(200, JSON, "EntitySearchDocument")], ..POST },
    Operation { id: "searchActions", path: "/access/v1/search/action", summary: "AuthZEN: which of the actions that rules list a subject may do to a resource", headers: &["X-Request-ID"], body: Some("ActionSearchRequest"), answers: &[(200, JSON, "ActionSearchDocument")], ..POST },
    Operation { id: "getAuthzenConfiguration", path: "/.well-known/authzen-configuration", summary: "AuthZEN: what this decision point offers, and where", headers: &["X-Request-ID"], answers: &[(200, JSON, "AuthzenConfiguration")], key: false, ..GET },
    Operation { id: "listEvidence", path: "/api/v1/evidence", summary: "Evidence, newest first: all, of a type, or about a digest", query: &["about", "type", "cursor", "limit"], answers: &[(200, JSON, "EvidenceList")], ..GET },
    Operation { id: "addEvidence", path: "/api/v1/evidence", summary: "Vouch for something about a digest, or bring what somebody signed", body: Some("EvidenceRequest"), answers: &[(201, JSON, "EvidenceDocument")], ..POST },
    Operation { id: "getEvidence", path: "/api/v1/evidence/{id}", summary: "A piece of evidence; for overseers and whoever brought it with its envelope or note", answers: &[(200, JSON, "EvidenceDocument")], ..GET },
    Operation { id: "revokeEvidence", path: "/api/v1/evidence/{id}/revoke", summary: "Take a piece of evidence back, as its issuer or as who watches over evaluation and security", body: Some("EvidenceRevokeRequest"), answers: &[(200, JSON, "EvidenceDocument")], ..POST },
    Operation { id: "listIssuerKeys", path: "/api/v1/evidence/keys", summary: "Keys that sign for issuers of evidence, revoked ones included", answers: &[(200, JSON, "IssuerKeyList")], ..GET },
    Operation { id: "trustIssuerKey", path: "/api/v1/evidence/keys", summary: "Trust the key of an issuer of evidence, as the constitution permits", headers: &["Idempotency-Key"], body: Some("IssuerKeyRequest"), answers: &[(200, JSON, "StatusDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "revokeIssuerKey", path: "/api/v1/evidence/keys/revoke", summary: "Trust the key of an issuer of evidence no more, for good, as the constitution permits", headers: &["Idempotency-Key"], body: Some("IssuerKeyRequest"), answers: &[(200, JSON, "StatusDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "listReleases", path: "/api/v1/releases", summary: "Releases and what is missing of their papers, newest first", query: &["cursor", "limit"], answers: &[(200, JSON, "ReleaseList")], ..GET },
    Operation { id: "registerRelease", path: "/api/v1/releases", summary: "Register a release with its papers, as the policy permits", headers: &["Idempotency-Key"], body: Some("ReleaseRequest"), answers: &[(201, JSON, "ReleaseDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "getRelease", path: "/api/v1/releases/{name}", summary: "A release, its papers, and what is missing of them today", answers: &[(200, JSON, "ReleaseDocument")], ..GET },
    Operation { id: "listAliases", path: "/api/v1/aliases", summary: "Names that lead to models, branches and releases", answers: &[(200, JSON, "AliasList")], ..GET },
    Operation { id: "setAlias", path: "/api/v1/aliases", summary: "Change where a name leads, as the policy permits", headers: &["Idempotency-Key"], body: Some("AliasRequest"), answers: &[(200, JSON, "AliasDocument"), (202, JSON, "KeyHeldDocument")], ..POST },
    Operation { id: "getAlias", path: "/api/v1/aliases/{name}", summary: "Where a name leads", answers: &[(200, JSON, "AliasDocument")], ..GET },
    Operation { id: "listOutbox", path: "/api/v1/outbox", summary: "Deliveries to channels that wait or were given up, oldest first, and how each channel is", query: &["dead", "cursor", "limit"], answers: &[(200, JSON, "OutboxDocument")], ..GET },
    Operation { id: "replayDelivery", path: "/api/v1/outbox/{id}/replay", summary: "Have a delivery tried anew, as if it never had been", answers: &[(200, JSON, "DeliveryDocument")], ..POST },
    Operation { id: "getHealth", path: "/healthz", summary: "Whether the process answers", answers: &[(200, JSON, "StatusDocument")], key: false, ..GET },
    Operation { id: "getReadiness", path: "/readyz", summary: "Whether decisions can be made", answers: &[(200, JSON, "StatusDocument")], key: false, ..GET },
    Operation { id: "getMetrics", path: "/metrics", summary: "Prometheus metrics; without a key on loopback alone", answers: &[(200, TEXT, "")], ..GET },
    Operation { id: "getGovernanceMetrics", path: "/api/v1/metrics/governance", summary: "The governance metrics: of the last while, from the full hour in which the window begins, or since the log began", query: &["window"], answers: &[(200, JSON, "GovernanceDocument")], ..GET },
    Operation { id: "getCoverage", path: "/api/v1/coverage", summary: "Surfaces, gates and rules as they were seen, and the holes between them", query: &["since"], answers: &[(200, JSON, "CoverageDocument")], ..GET },
    Operation { id: "reportPassage", path: "/api/v1/passages", summary: "Report an effect that a gate let happen without a decision", body: Some("PassageRequest"), answers: &[(201, JSON, "PassageDocument")], ..POST },
    Operation { id: "getOpenApi", path: "/openapi.json", summary: "This document", answers: &[(200, JSON, "")], key: false, ..GET },
];
