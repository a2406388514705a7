//! Approvals as runs of other systems ask for them, with the bodies as they are printed.

use crate::world::{Answer, World, at};
use placet_server::ServerOptions;
use serde_json::{Value, json};

const BUNDLE: &str = r#"
version: v1
rules:
  - id: run.risky
    match: { surfaces: ["approval.request"], when: "request.arguments.risk_level != 'LOW'" }
    decision: require_approval
    reason: "risky phases need the owner"
    approval: { roles: { software_owner: 1 }, expires: 30m }
  - id: run.harmless
    match: { surfaces: ["approval.request"], when: "request.arguments.risk_level == 'LOW'" }
    decision: allow
  - id: run.never
    match: { surfaces: ["approval.request"], when: "request.arguments.run_id == 'evil'" }
    decision: deny
  - id: job.write
    match: { surfaces: ["job"] }
    decision: require_approval
    approval: { roles: { operator: 1 } }
"#;

/// As it is printed.
const ASK: &str = r#"{
  "run_id": "research-system-v1",
  "phase_id": "research-integration",
  "reason": "Protected path modification",
  "risk_level": "CRITICAL",
  "timeout_seconds": 3600
}"#;

async fn world(dev: bool) -> World {
    World::with(Some(BUNDLE), dev, ServerOptions::default()).await
}

async fn ask(world: &World, key: &str, change: &[(&str, Value)]) -> Answer {
    let mut body: Value = serde_json::from_str(ASK).unwrap();
    for (name, value) in change {
        body[*name] = value.clone();
    }
    world.post("/approval/request", key, &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_calls_work_in_development_as_they_stand() {
    let world = world(true).await;
    let asked = world.post("/approval/request", "", ASK).await.ok();
    assert_eq!((at(&asked, "/status"), at(&asked, "/state")), ("pending", "pending"));
    assert_eq!(at(&asked, "/reason"), "risky phases need the owner");
    assert_eq!(asked["idempotency_key"].as_str().map(str::len), Some(64));
    let id = at(&asked, "/approval_id").to_owned();
    let pending = world.get("/governance/pending", "").await.ok();
    let first = &pending["requests"][0];
    assert_eq!((at(first, "/request_id"), at(first, "/status")), (&*id, "pending"));
    assert_eq!((&first["approved"], &first["decision"]), (&Value::Null, &Value::Null));
    let status = world.get(&format!("/approval/status/{id}"), "").await.ok();
    assert_eq!(at(&status, "/status"), "pending");
    let approved = world.post(&format!("/approval/approve/{id}"), "", "").await.ok();
    assert_eq!(at(&approved, "/status"), "approved");
    let status = world.get(&format!("/approval/status/{id}"), "").await.ok();
    assert_eq!(at(&status, "/status"), "approved");
    // Decided requests cannot be flipped, neither here nor there.
    world.post(&format!("/approval/reject/{id}"), "", "").await.refused(409, "approval_final");
    let native = format!("/api/v1/approvals/{id}/reject");
    world.post(&native, "", "{}").await.refused(409, "approval_final");
    let path = "/governance/history?run_id=research-system-v1";
    let history = world.get(path, "").await.ok();
    let one = world.get(&format!("/governance/request/{id}"), "").await.ok();
    assert_eq!(history["requests"], json!([one]));
    assert_eq!(
        (at(&one, "/run_id"), at(&one, "/phase_id")),
        ("research-system-v1", "research-integration")
    );
    assert_eq!(at(&one, "/justification"), "Protected path modification");
    assert_eq!(at(&one, "/risk_assessment/level"), "CRITICAL");
    assert_eq!(
        (at(&one, "/decision/approved_by"), &one["approved"]),
        ("human:local", &true.into())
    );
    assert!(at(&one, "/decision/approved_at") > at(&one, "/timestamp"));
    // The entry of the vote says that no digest was echoed.
    let audit = world.get("/api/v1/audit?type=approval.voted", "").await.text;
    assert!(audit.contains("\"unechoed\":true"), "{audit}");
    // Nothing of another run, and nothing twice.
    let other = world.get("/governance/history?run_id=other", "").await.ok();
    assert_eq!(other["requests"], json!([]));
    assert_eq!(world.get("/governance/history", "").await.ok()["requests"], json!([one]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_digest_covers_the_whole_body_and_has_to_be_echoed() {
    let world = world(false).await;
    let bot = world.key("agent:bot", &[]).await;
    let owner = world.key("human:olga", &["software_owner"]).await;
    let first = ask(&world, &bot, &[]).await.ok();
    let digest = at(&first, "/decision/action_digest").to_owned();
    let changes = [
        ("reason", json!("another")),
        ("timeout_seconds", json!(3601)),
        ("deletion_info", json!({"files": ["a"]})),
        ("phase_id", json!("next")),
    ];
    for change in changes {
        let other = ask(&world, &bot, &[change]).await.ok();
        assert_ne!(at(&other, "/decision/action_digest"), digest);
    }
    let again = ask(&world, &bot, &[]).await.ok();
    assert_eq!(at(&again, "/decision/action_digest"), digest);
    assert_ne!(again["approval_id"], first["approval_id"], "a fresh key asks anew");
    let path = format!("/approval/approve/{}", at(&first, "/approval_id"));
    world.post(&path, &owner, "").await.refused(400, "approval_digest_missing");
    let stale = json!({"action_digest": format!("sha256:{}", "0".repeat(64))}).to_string();
    world.post(&path, &owner, &stale).await.refused(409, "stale_approval_digest");
    let body = json!({"action_digest": digest, "note": "looked at it"}).to_string();
    world.post(&path, &bot, &body).await.refused(403, "not_human");
    let nobody = world.key("human:nobody", &["operator"]).await;
    world.post(&path, &nobody, &body).await.refused(403, "role_missing");
    assert_eq!(at(&world.post(&path, &owner, &body).await.ok(), "/status"), "approved");
    let path = format!("/governance/request/{}", at(&first, "/approval_id"));
    let one = world.get(&path, &bot).await.ok();
    assert_eq!(at(&one, "/decision/notes"), "looked at it");
    let stranger = world.key("agent:stranger", &[]).await;
    world.get(&path, &stranger).await.refused(404, "not_found");
    let status = format!("/approval/status/{}", at(&first, "/approval_id"));
    world.get(&status, &stranger).await.refused(404, "not_found");
    let history = world.get("/governance/history", &stranger).await.ok();
    assert_eq!(history["requests"], json!([]));
    // The nonce of the attempt collects the permit, once.
    let nonce = [("placet-attempt-nonce", "0123456789abcdef")];
    let collected = world.call("GET", &status, &bot, &nonce, "").await.ok();
    assert_eq!(at(&collected, "/decision/permit/state"), "granted");
    assert_eq!((at(&collected, "/status"), at(&collected, "/state")), ("approved", "consumed"));
    let other = [("placet-attempt-nonce", "fedcba9876543210")];
    let other = world.call("GET", &status, &bot, &other, "").await.ok();
    assert_eq!(at(&other, "/decision/permit/state"), "consumed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_decides_who_is_asked_and_bounds_the_time() {
    let world = world(false).await;
    let bot = world.key("agent:bot", &[]).await;
    let span = |asked: &Value| {
        let decision = &asked["decision"];
        let at = |pointer: &str| {
            let text = decision.pointer(pointer).and_then(Value::as_str).unwrap();
            placet_types::ids::TimeMs::parse_rfc3339(text).unwrap()
        };
        at("/approval/expires").since(at("/time"))
    };
    for (seconds, expected) in [(60, 60_000), (1800, 1_800_000), (3600, 1_800_000)] {
        let asked = ask(&world, &bot, &[("timeout_seconds", json!(seconds))]).await.ok();
        assert_eq!(span(&asked), expected, "{seconds}");
        assert_eq!(asked["timeout_at"], asked["decision"]["approval"]["expires"]);
    }
    let mut body: Value = serde_json::from_str(ASK).unwrap();
    body.as_object_mut().unwrap().remove("timeout_seconds");
    let asked = world.post("/approval/request", &bot, &body.to_string()).await.ok();
    assert_eq!(span(&asked), 1_800_000);
    let harmless = ask(&world, &bot, &[("risk_level", json!("LOW"))]).await.ok();
    assert_eq!((at(&harmless, "/status"), &harmless["approval_id"]), ("approved", &Value::Null));
    let evil = ask(&world, &bot, &[("run_id", json!("evil"))]).await.ok();
    assert_eq!((at(&evil, "/status"), at(&evil, "/state")), ("rejected", "deny"));
    // While a kill switch is in force nothing reads as approved.
    world.post("/api/v1/kill", &world.admin, r#"{"scope":"workspace"}"#).await.ok();
    let killed = ask(&world, &bot, &[("risk_level", json!("LOW"))]).await.ok();
    assert_eq!(at(&killed, "/status"), "rejected");
    // The log is derived again with the times that were asked for.
    let report = crate::privacy::replayed(&world.data());
    assert!(report.decisions > 6 && report.differences == 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_approved_reads_as_rejected() {
    let world = world(false).await;
    let bot = world.key("agent:bot", &[]).await;
    let owner = world.key("human:olga", &["software_owner"]).await;
    let asked = ask(&world, &bot, &[]).await.ok();
    let id = at(&asked, "/approval_id");
    let body =
        json!({"action_digest": asked["decision"]["action_digest"], "note": "no"}).to_string();
    let rejected = world.post(&format!("/approval/reject/{id}"), &owner, &body).await.ok();
    assert_eq!(at(&rejected, "/status"), "rejected");
    let status = world.get(&format!("/approval/status/{id}"), &bot).await.ok();
    assert_eq!(
        (at(&status, "/status"), at(&status, "/decision/approval/note")),
        ("rejected", "no")
    );
    let withdrawn = ask(&world, &bot, &[]).await.ok();
    let path = format!("/api/v1/decisions/{}/withdraw", at(&withdrawn, "/decision/id"));
    world.post(&path, &bot, "").await.ok();
    let id = at(&withdrawn, "/approval_id");
    let status = world.get(&format!("/approval/status/{id}"), &bot).await.ok();
    assert_eq!((at(&status, "/status"), at(&status, "/state")), ("rejected", "withdrawn"));
    let one = world.get(&format!("/governance/request/{id}"), &owner).await.ok();
    assert_eq!((&one["approved"], &one["approved_by"]), (&false.into(), &Value::Null));
    let path = "/governance/history?run_id=research-system-v1&limit=1";
    let page = world.get(path, &owner).await.ok();
    assert_eq!(at(&page, "/requests/0/state"), "withdrawn");
    let path = format!("{path}&cursor={}", at(&page, "/next_cursor"));
    let page = world.get(&path, &owner).await.ok();
    assert_eq!(at(&page, "/requests/0/state"), "rejected");
    assert_eq!(at(&page, "/requests/0/decision/approved_by"), "human:olga");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_body_names_the_field() {
    let world = world(false).await;
    let bot = world.key("agent:bot", &[]).await;
    let rows = [
        ("run_id", json!(""), "field_invalid"),
        ("run_id", json!(7), "field_invalid"),
        ("phase_id", json!("x".repeat(201)), "field_invalid"),
        ("reason", json!(["x"]), "field_invalid"),
        ("risk_level", json!("BANANA"), "field_invalid"),
        ("risk_level", json!("critical"), "field_invalid"),
        ("timeout_seconds", json!(0), "field_invalid"),
        ("timeout_seconds", json!(-1), "field_invalid"),
        ("timeout_seconds", json!(1.5), "field_invalid"),
        ("timeout_seconds", json!("3600"), "field_invalid"),
        ("context", Value::Null, "field_invalid"),
    ];
    let size = world.size();
    for (name, value, code) in rows {
        let problem = ask(&world, &bot, &[(name, value)]).await.refused(400, code);
        assert_eq!(at(&problem, "/field"), format!("/{name}"));
    }
    for (body, field) in [("", ""), ("{}", "/run_id"), (r#"{"run_id":"r"}"#, "/phase_id")] {
        let problem =
            world.post("/approval/request", &bot, body).await.refused(400, "field_missing");
        assert_eq!(problem["field"].as_str().unwrap_or_default(), field);
    }
    world.post("/approval/request", &bot, "[]").await.refused(400, "field_invalid");
    world.post("/approval/request", "", ASK).await.refused(401, "key_missing");
    assert_eq!(world.size(), size, "nothing is half-done");
    let path = "/approval/approve/apr_0";
    world.post(path, &world.admin, "").await.refused(404, "not_found");
    let path = "/governance/history?run=x";
    world.get(path, &bot).await.refused(400, "field_unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_approval_of_a_job_works_in_development() {
    let world = world(true).await;
    let body = r#"{"surface":"job","action":"dispatch","idempotency_key":"j",
        "topic":"job.mcp-bridge.write.update_ticket","risk_tags":["prod"],
        "labels":{"mcp.action":"write"}}"#;
    world.post("/api/v1/decisions", "", body).await.ok();
    let listed = world.get("/api/v1/approvals?include_resolved=false", "").await.ok();
    let job = at(&listed, "/approvals/0/job_id");
    let path = format!("/api/v1/approvals/{job}/approve");
    let note = r#"{"note":"approved after policy review"}"#;
    let approved = world.post(&path, "", note).await.ok();
    assert_eq!(at(&approved, "/state"), "approved");
    let vote = &approved["votes"][0];
    assert_eq!(
        (at(vote, "/by"), at(vote, "/note")),
        ("human:local", "approved after policy review")
    );
    assert_eq!(vote["unechoed"], true);
    assert!(at(&approved, "/policy").starts_with("sha256:") && vote["time"].is_string());
    // The other routes take the id of a job as well.
    let status = world.get(&format!("/approval/status/{job}"), "").await.ok();
    assert_eq!(at(&status, "/status"), "approved");
    let listed = world.get("/api/v1/approvals?include_resolved=false", "").await.ok();
    assert_eq!(listed["approvals"], json!([]));
}

/// A job as it is printed, with the name that the workspace has here.
const PRINTED: &str = r#"{
  "topic":"job.mcp-bridge.write.update_ticket",
  "tenant_id":"main",
  "risk_tags":["prod"],
  "labels":{"mcp.action":"write"}
}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_printed_job_is_submitted_and_approved_by_its_id() {
    let world = world(true).await;
    let held = world.post("/api/v1/jobs", "", PRINTED).await.ok();
    assert_eq!(at(&held, "/state"), "approval_required");
    assert_eq!(held["idempotency_key"].as_str().map(str::len), Some(64));
    let job = at(&held, "/job_id");
    assert_eq!(job.strip_prefix("job_"), at(&held, "/decision/id").strip_prefix("dec_"));
    let path = format!("/api/v1/approvals/{job}/approve");
    world.post(&path, "", r#"{"note":"approved after policy review"}"#).await.ok();
    // The same job again stands where it stands; with its nonce the scheduler has the permit.
    let key = at(&held, "/idempotency_key");
    let again = [("idempotency-key", key), ("placet-attempt-nonce", "5f0c2a9b7e1d4c38")];
    let again = world.call("POST", "/api/v1/jobs", "", &again, PRINTED).await.ok();
    assert_eq!((at(&again, "/job_id"), at(&again, "/state")), (job, "permitted"));
    assert_eq!(at(&again, "/decision/permit/state"), "granted", "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_does_not_fit_is_refused_by_its_field() {
    let world = world(false).await;
    let bot = world.key("agent:bot", &[]).await;
    let post = async |change: Value| {
        let mut body: Value = serde_json::from_str(PRINTED).unwrap();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        world.post("/api/v1/jobs", &bot, &body.to_string()).await
    };
    assert_eq!(at(&post(json!({})).await.ok(), "/state"), "approval_required");
    post(json!({"tenant_id": "other"})).await.refused(404, "workspace_not_found");
    for (change, field, code) in [
        (json!({"tenant_id": 7}), "/tenant_id", "field_invalid"),
        (json!({"workspace": "other"}), "/tenant_id", "field_invalid"),
        (json!({"surface": "mail"}), "/surface", "field_invalid"),
        (json!({"topik": "x"}), "/topik", "field_unknown"),
        (json!({"labels": []}), "/labels", "field_invalid"),
    ] {
        let refused = post(change.clone()).await.refused(400, code);
        assert_eq!(at(&refused, "/field"), field, "{change}");
    }
    let bare = world.post("/api/v1/jobs", &bot, r#"{"risk_tags":[]}"#).await;
    assert_eq!(at(&bare.refused(400, "field_missing"), "/field"), "/topic");
    world.post("/api/v1/jobs", "", PRINTED).await.refused(401, "key_missing");
}
