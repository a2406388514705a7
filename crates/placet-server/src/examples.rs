//! Examples and links of the OpenAPI document: values with which a call succeeds, and which answer
//! holds the id that another call needs. Refuses to know handlers.

use serde_json::{Value, json};

/// A bundle of one rule.
const RULES: &str = "version: v1\nrules:\n  - id: refund-small\n    match: { surfaces: [\"payments.refund\"] }\n    decision: allow\n";

/// A body that is accepted.
pub(crate) fn body(schema: &str) -> Option<Value> {
    let request = json!({
        "surface": "payments.refund",
        "action": "create",
        "idempotency_key": "refund-4711",
        "attempt_nonce": "5f0c2a9b7e1d4c38",
        "target": "account:4711",
        "arguments": {"amount": 12.5, "currency": "EUR"},
    });
    let source = json!({
        "name": "rules.yaml",
        "text": "version: v1\nrules:\n  - { id: refund, match: { surfaces: [payments.refund] }, decision: allow }\n",
    });
    let user = json!({"type": "user", "id": "alice"});
    let action = json!({"name": "read"});
    let resource = json!({"type": "record", "id": "record-1"});
    Some(match schema {
        "ExecutionRequestDocument" => request,
        "BatchRequest" => json!({"requests": [request]}),
        "ConsumeRequest" => json!({"attempt_nonce": "5f0c2a9b7e1d4c38"}),
        "OutcomeRequest" => json!({"result": "succeeded"}),
        "VoteRequest" => json!({"note": "checked with the customer"}),
        "CompatVoteRequest" => json!({"note": "checked with the customer"}),
        "JobRequest" => json!({
            "topic": "job.mcp-bridge.write.update_ticket", "tenant_id": "default",
            "risk_tags": ["prod"], "labels": {"mcp.action": "write"},
        }),
        "ApprovalAskRequest" => json!({
            "run_id": "research-system-v1", "phase_id": "research-integration",
            "reason": "Protected path modification", "risk_level": "CRITICAL",
            "timeout_seconds": 3600,
        }),
        "EraseRequest" => json!({"subject": "customer-4711", "dry_run": true}),
        "HoldRequest" => json!({
            "scope": "subject", "subject": "customer-4711", "reason": "litigation",
        }),
        "PolicyRequest" => json!({
            "sources": [{"name": "rules.yaml", "text": RULES}],
            "reason": "small refunds need no person",
        }),
        "PolicyRollbackRequest" => json!({"reason": "refunds were refused"}),
        "PolicyWithdrawRequest" => json!({"reason": "case-2026-17"}),
        "PolicyReviewRequest" => json!({"note": "the rollback was right"}),
        "DelegationRequest" => json!({
            "to": "human:bob", "roles": ["operator"], "surfaces": ["payments.**"],
            "until": "2027-01-31T12:00:00Z",
        }),
        "KillRequest" | "DrillRequest" => json!({"scope": "workspace"}),
        "AcknowledgeRequest" => json!({"stopped": 2, "unreachable": ["transfer 4711"]}),
        "EvidenceRequest" => json!({
            "type": "test_report",
            "digest": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
            "subject": "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9",
        }),
        "ReleaseRequest" => json!({
            "name": "app-1.4",
            "subject": "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9",
        }),
        "AliasRequest" => json!({"name": "assistant", "to": "model:small-1"}),
        "EvidenceRevokeRequest" => json!({"reason": "tests-were-wrong"}),
        "OverrideRequest" => json!({"scope": "capability", "value": "crm-writer", "mode": "kill"}),
        "ExecutionRequest" => json!({"capability": "crm-writer"}),
        "ExecutionEndRequest" => json!({"state": "succeeded"}),
        "OverrideLiftRequest" => json!({"scope": "capability:crm-writer"}),
        "KeyRequest" => json!({
            "actor": "agent:support", "environment": "production", "roles": [],
        }),
        "SessionRequest" => json!({"actor": "agent:support", "roles": []}),
        "ShadowRequest" => json!({"bundle": {
            "type": "placet/bundle/1",
            "rules": [{"id": "allow-all", "match": {}, "decision": "allow"}],
        }}),
        "LintRequest" => json!({"sources": [source]}),
        "FormatRequest" => json!({"sources": [source]}),
        "ImportRequest" => json!({"source": source, "star": "segment"}),
        "TestRequest" => json!({"sources": [source]}),
        "DiffRequest" => json!({"after": [source]}),
        "BacktestRequest" => json!({"sources": [source], "since": "30d"}),
        "ExplainRequest" => json!({"sources": [source], "request": {
            "surface": "payments.refund", "action": "create", "idempotency_key": "refund-4711",
        }}),
        "AccessEvaluationRequest" => json!({
            "subject": user, "action": action, "resource": resource,
            "context": {"obligations_supported": ["custom"]},
        }),
        "AccessEvaluationsRequest" => json!({
            "subject": user, "resource": resource,
            "evaluations": [{"action": action}, {"action": {"name": "write"}}],
            "options": {"evaluations_semantic": "execute_all"},
        }),
        "SubjectSearchRequest" => json!({
            "subject": {"type": "user"}, "action": action, "resource": resource,
        }),
        "ResourceSearchRequest" => json!({
            "subject": user, "action": action, "resource": {"type": "record"},
        }),
        "ActionSearchRequest" => json!({
            "subject": user, "resource": resource, "page": {"limit": 10},
        }),
        "WorkspaceRequest" => json!({"name": "second", "admin": "human:ann"}),
        _ => return None,
    })
}

/// A value of a parameter in a path, a query or a header.
pub(crate) fn parameter(name: &str) -> Option<&'static str> {
    Some(match name {
        "receipt" => "inline",
        "wait" => "1s",
        "payload" | "include_resolved" => "true",
        "would_differ" => "false",
        "index" | "from" | "min_index" | "Last-Event-ID" | "old" => "0",
        "limit" => "50",
        "order" => "asc",
        "type" => "decision",
        "since" => "30d",
        "outcome" => "PERMIT",
        "actor" => "agent:support",
        "surface" => "payments.refund",
        "subject" => "customer-4711",
        "about" => "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9",
        "rule" => "refund-small",
        "Accept" => "text/plain",
        "workspace" => "default",
        "tile" => "entries/000.p/1",
        "new" => "1",
        "trace" | "trace_id" => "case-4711",
        "Idempotency-Key" => "refund-4711",
        "X-Request-ID" => "7f3a9c1e-5b0d-4d2f-9a61-2f1d8c0e4b77",
        "Placet-Attempt-Nonce" => "5f0c2a9b7e1d4c38",
        _ => return None,
    })
}

/// What the answer of an operation leads to: operation, its parameter, and where the value stands.
pub(crate) fn links(operation: &str) -> &'static [(&'static str, &'static str, &'static str)] {
    match operation {
        "decide" => &[
            ("getDecision", "id", "$response.body#/id"),
            ("consume", "id", "$response.body#/id"),
            ("reportOutcome", "id", "$response.body#/id"),
            ("withdraw", "id", "$response.body#/id"),
            ("getReceipt", "id", "$response.body#/id"),
            ("getApproval", "id", "$response.body#/approval/id"),
            ("approve", "id", "$response.body#/approval/id"),
            ("reject", "id", "$response.body#/approval/id"),
            ("getTrace", "trace_id", "$response.body#/trace_id"),
        ],
        "listApprovals" => &[
            ("getApproval", "id", "$response.body#/approvals/0/id"),
            ("approve", "id", "$response.body#/approvals/0/id"),
            ("reject", "id", "$response.body#/approvals/0/id"),
        ],
        "placeHold" => &[("releaseHold", "id", "$response.body#/id")],
        "listHolds" => &[("releaseHold", "id", "$response.body#/holds/0/id")],
        "delegate" => &[("endDelegation", "id", "$response.body#/id")],
        "listDelegations" => &[("endDelegation", "id", "$response.body#/delegations/0/id")],
        "drillOverride" => &[
            ("getOverride", "index", "$response.body#/index"),
            ("acknowledgeOverride", "index", "$response.body#/index"),
        ],
        "addEvidence" => &[
            ("getEvidence", "id", "$response.body#/id"),
            ("revokeEvidence", "id", "$response.body#/id"),
        ],
        "createKey" => &[("revokeKey", "id", "$response.body#/id")],
        "createWorkspace" => &[("getPublished", "workspace", "$response.body#/name")],
        _ => &[],
    }
}
