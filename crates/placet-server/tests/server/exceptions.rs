//! Exceptions from policy: opened by two people, passed under, shown wherever anybody looks, reviewed.

use crate::world::{World, at, request};
use placet_server::ServerOptions;
use serde_json::{Value, json};

const POLICY: &str = r#"
version: v1
exceptions:
  max: 2h
  break_glass: { roles: [operator], max: 10m, review: 1h }
  limits:
    - { surface: payments.transfer, environment: production, max: 30m }
floor:
  - id: no-transfers
    match: { surfaces: ["payments.transfer"] }
    decision: deny
    reason: "transfers are stopped"
channels:
  - { id: oncall, kind: webhook, to: "https://pager.example.com/in", secret: pager }
rules:
  - id: rest
    match: { surfaces: ["mail.*"] }
    decision: allow
"#;

async fn world() -> World {
    World::with(Some(POLICY), false, ServerOptions::default()).await
}

fn asked(more: &Value) -> String {
    let mut body = json!({
        "surface": "payments.transfer", "actor": "agent:bot", "waives": ["rule:no-transfers"],
        "reason": "incident-7", "note": "the gateway of the bank is down", "duration": "20m",
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body.to_string()
}

const PATH: &str = "/api/v1/exceptions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_open_one_and_every_passage_shows_it() {
    let world = world().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let other = world.key("agent:other", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let eve = world.key("human:eve", &["auditor"]).await;
    let refused = world.decide(&bot, "d0", "").await;
    assert_eq!(at(&refused, "/outcome"), "DENY");

    // An operator asks, an admin approves, the same call again opens it.
    let body = asked(&json!({"idempotency_key": "e1"}));
    let held = world.post(PATH, &olga, &body).await;
    assert_eq!(held.status, 202, "{held:?}");
    let held = held.json();
    assert_eq!(at(&held, "/decision/surface"), "override.exception");
    let approval = at(&held, "/decision/approval/id");
    let shown = world.get(&format!("/api/v1/approvals/{approval}"), &ann).await.ok();
    assert!(shown.to_string().contains("the gateway of the bank is down"), "{shown}");
    let vote = json!({"action_digest": at(&held, "/decision/action_digest")}).to_string();
    let approve = format!("/api/v1/approvals/{approval}/approve");
    world.post(&approve, &olga, &vote).await.refused(403, "own_approval");
    world.post(&approve, &ann, &vote).await.ok();
    let opened = world.post(PATH, &olga, &body).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let opened = opened.json();
    let id = at(&opened, "/id").to_owned();
    assert_eq!(at(&opened, "/state"), "live");
    assert_eq!(at(&opened, "/owner"), "human:olga");
    assert_eq!(at(&opened, "/note"), "the gateway of the bank is down");
    // One permit opens one.
    world.post(PATH, &olga, &body).await.refused(409, "permit_consumed");

    // It passes, and says so in the head, in the document, in the receipt and in the log.
    let passed = world.post("/api/v1/decisions", &bot, &request("d1", "")).await;
    assert!(passed.headers.contains(&format!("x-placet-exception: {id}")), "{passed:?}");
    let passed = passed.ok();
    assert_eq!(at(&passed, "/outcome"), "PERMIT");
    assert_eq!(at(&passed, "/exception/id"), id);
    assert_eq!(passed["exception"]["waived"], json!(["no-transfers"]));
    assert_eq!(at(&passed, "/reasons/0/code"), "exception");
    assert_eq!(passed["rules"], json!([format!("exception.{id}")]));
    let decision = at(&passed, "/id");
    // The receipt proves the entry, and the entry names it.
    let entries = world.get(&format!("/api/v1/audit?decision={decision}"), &ann).await.ok();
    assert!(entries.to_string().contains(&id), "{entries}");
    // Nobody else, and nothing else.
    assert_eq!(at(&world.decide(&other, "d2", "").await, "/outcome"), "DENY");
    let listed = world.get(PATH, &other).await.ok();
    assert_eq!(listed["exceptions"], json!([]), "what concerns others");
    world.get(&format!("{PATH}/{id}"), &other).await.refused(404, "not_found");
    let own = world.get(PATH, &bot).await.ok();
    assert_eq!(own["exceptions"].as_array().unwrap().len(), 1);

    let seen = world.get(&format!("{PATH}/{id}"), &eve).await.ok();
    assert_eq!(seen["uses"], 1);
    assert_eq!(at(&seen, "/passages/0/decision"), decision);
    assert_eq!(seen["passages"][0]["waived"], json!(["no-transfers"]));
    let audit = format!("/api/v1/audit?rule=exception.{id}");
    assert_eq!(world.get(&audit, &eve).await.ok()["entries"].as_array().unwrap().len(), 1);

    // Closed, it covers nothing; another person reviews it.
    let review = r#"{"justified":true,"note":"one transfer, to the ministry"}"#;
    let path = format!("{PATH}/{id}/review");
    world.post(&path, &eve, review).await.refused(409, "exception_live");
    world.post(&format!("{PATH}/{id}/close"), &bot, "").await.refused(403, "not_human");
    let closed = world.post(&format!("{PATH}/{id}/close"), &olga, "").await.ok();
    assert_eq!(at(&closed, "/state"), "closed");
    assert_eq!(at(&world.decide(&bot, "d3", "").await, "/outcome"), "DENY");
    world.post(&path, &olga, review).await.refused(403, "own_review");
    world.post(&path, &eve, r#"{"justified":true,"note":" "}"#).await.refused(400, "field_invalid");
    let reviewed = world.post(&path, &eve, review).await.ok();
    assert_eq!(reviewed["review"]["justified"], true);
    let contrary = r#"{"justified":false,"note":"it was none of that"}"#;
    world.post(&path, &eve, contrary).await.refused(409, "exception_reviewed");
    let metrics = world.get("/metrics", "").await.text;
    for line in [
        "placet_exceptions_live{workspace=\"main\"} 0",
        "placet_exceptions_overdue_reviews{workspace=\"main\"} 0",
        "placet_exception_passages_total{workspace=\"main\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waives_all_of_policy_is_loud_everywhere() {
    let world = world().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let quiet = world.get("/healthz", "").await;
    assert_eq!(quiet.ok().get("ungoverned"), None);
    let glass = json!({
        "break_glass": true, "surface": "*", "waives": ["governance"], "duration": "5m",
        "controls": ["max_uses:2", "notify:oncall"], "environment": "staging",
    });
    // The policy lets operators break the glass, and nobody else.
    let eve = world.key("human:eve", &["auditor"]).await;
    world.post(PATH, &eve, &asked(&glass)).await.refused(403, "role_missing");
    let opened = world.post(PATH, &olga, &asked(&glass)).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let opened = opened.json();
    assert_eq!(opened["governance"], true);
    assert_eq!(opened["break_glass"], true);
    assert_eq!(opened["controls"][1], json!({"control": "notify:oncall", "checked": false}));
    assert_eq!(world.get("/healthz", "").await.ok()["ungoverned"], 1);
    let answer = world.get("/api/v1/kill", &ann).await;
    assert!(answer.headers.contains("x-placet-ungoverned: 1"), "{answer:?}");
    let metrics = world.get("/metrics", "").await.text;
    assert!(metrics.contains("placet_exceptions_ungoverned{workspace=\"main\"} 1"), "{metrics}");
    // It is for staging; the key of the bot is not.
    assert_eq!(at(&world.decide(&bot, "d1", "").await, "/outcome"), "DENY");
    // A restart loses none of it.
    let world = world.restart().await;
    assert_eq!(world.get("/healthz", "").await.ok()["ungoverned"], 1);
    let close = format!("{PATH}/{}/close", at(&opened, "/id"));
    let closed = world.post(&close, &olga, "").await;
    assert!(!closed.headers.contains("x-placet-ungoverned"), "{closed:?}");
    assert_eq!(world.get("/healthz", "").await.ok().get("ungoverned"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_for_is_refused_by_its_field() {
    let world = world().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    for (more, field, code) in [
        (json!({"surface": "payments.*"}), "/surface", "field_invalid"),
        (json!({"actor": "bot"}), "/actor", "field_invalid"),
        (json!({"waives": []}), "/waives", "field_missing"),
        (json!({"waives": ["floor", "floor"]}), "/waives/1", "field_invalid"),
        (json!({"waives": ["rule:constitution.two-admins"]}), "/waives/0", "field_invalid"),
        (json!({"controls": ["hope"]}), "/controls/0", "field_invalid"),
        (json!({"reason": "The Bank Is Down"}), "/reason", "field_invalid"),
        (json!({"owner": "agent:bot"}), "/owner", "field_invalid"),
        (json!({"duration": "soon"}), "/duration", "field_invalid"),
        (json!({"duration": "31m"}), "/duration", "exception_too_long"),
        (json!({"surface": "mail.send", "duration": "3h"}), "/duration", "exception_too_long"),
        (json!({"review_within": "25h"}), "/review_within", "exception_review_late"),
        (json!({"break_glass": "yes"}), "/break_glass", "field_invalid"),
        (
            json!({"retroactive": {"from": "2026-01-01T00:00:00Z"}}),
            "/retroactive/to",
            "field_invalid",
        ),
        (
            json!({"retroactive": {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}}),
            "/retroactive",
            "field_invalid",
        ),
        (json!({"until": "2026-01-01T00:00:00Z"}), "/until", "field_unknown"),
    ] {
        let found = world.post(PATH, &ann, &asked(&more)).await.refused(400, code);
        assert_eq!(at(&found, "/field"), field, "{more}");
    }
    let constitution = asked(&json!({"surface": "key.create", "idempotency_key": "c"}));
    world.post(PATH, &ann, &constitution).await.refused(400, "exception_scope_invalid");
    world.post(PATH, &bot, &asked(&json!({}))).await.refused(403, "role_missing");
    let glass = asked(&json!({"break_glass": true, "duration": "11m"}));
    world.post(PATH, &olga, &glass).await.refused(400, "exception_too_long");
    let stranger = asked(&json!({"owner": "human:nobody", "idempotency_key": "s"}));
    world.post(PATH, &ann, &stranger).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_already_is_recorded_and_never_permitted() {
    let world = world().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let eve = world.key("human:eve", &["auditor"]).await;
    let mail = |key: &str, more: &str| {
        format!(r#"{{"surface":"mail.send","action":"send","idempotency_key":"{key}"{more}}}"#)
    };
    let path = "/api/v1/decisions";
    let done = world.post(path, &bot, &mail("m1", r#","retroactive":true"#)).await.ok();
    assert_eq!(at(&done, "/outcome"), "SILENCE");
    assert_eq!(at(&done, "/retroactive"), "PERMIT");
    assert_eq!(at(&done, "/reasons/0/code"), "retroactive");
    assert!(done["permit"].is_null());
    let consume = format!("{path}/{}/consume", at(&done, "/id"));
    world.post(&consume, &bot, "").await.refused(409, "no_permit");
    let denied = world.post(path, &bot, &request("m2", r#","retroactive":true"#)).await.ok();
    assert_eq!((at(&denied, "/outcome"), at(&denied, "/retroactive")), ("DENY", "DENY"));
    world.post(path, &bot, &mail("m3", r#","retroactive":1"#)).await.refused(400, "field_invalid");
    // It belongs to the request: the same key without it is another request.
    world.post(path, &bot, &mail("m1", "")).await.refused(409, "idempotency_conflict");

    let span = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"});
    let filed = world.post(PATH, &ann, &asked(&json!({"retroactive": span}))).await;
    assert_eq!(filed.status, 201, "{filed:?}");
    let filed = filed.json();
    assert_eq!(at(&filed, "/state"), "retroactive");
    assert_eq!(filed["retroactive"]["from"], "2026-01-01T00:00:00.000Z");
    assert_eq!(at(&world.decide(&bot, "d1", "").await, "/outcome"), "DENY");
    let review = format!("{PATH}/{}/review", at(&filed, "/id"));
    let body = r#"{"justified":false,"note":"nobody was asked"}"#;
    let reviewed = world.post(&review, &eve, body).await.ok();
    assert_eq!(reviewed["review"]["justified"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_finds_its_evidence_in_the_store() {
    let world = world().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let rita = world.key("human:rita", &[]).await;
    let opened = world.post(PATH, &ann, &asked(&json!({"controls": ["evidence:ticket"]}))).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let about = |what: &str| crate::evidence::sha(what);
    let ticket = json!({"type": "ticket", "digest": about("t1"), "subject": about("app")});
    let ticket = world.post("/api/v1/evidence", &rita, &ticket.to_string()).await.json();
    let ask = async |key: &str, target: &str, evidence: Value| {
        let target = format!("app@{}", about(target));
        let body = json!({"surface": "payments.transfer", "action": "create", "target": target,
                          "idempotency_key": key, "evidence": evidence});
        at(&world.post("/api/v1/decisions", &bot, &body.to_string()).await.ok(), "/outcome")
            .to_owned()
    };
    let named = json!([{"id": ticket["id"]}]);
    assert_eq!(ask("e1", "app", json!([])).await, "DENY");
    let said = json!([{"type": "ticket", "digest": about("t2"), "issuer": "human:rita",
                       "issued": "2020-01-01T00:00:00Z"}]);
    assert_eq!(ask("e0", "app", said).await, "DENY", "a client says what it likes");
    assert_eq!(ask("e2", "app", named.clone()).await, "PERMIT");
    assert_eq!(ask("e3", "other", named.clone()).await, "DENY", "it is about something else");
    let revoke = format!("/api/v1/evidence/{}/revoke", at(&ticket, "/id"));
    world.post(&revoke, &rita, r#"{"reason":"closed"}"#).await.ok();
    assert_eq!(ask("e4", "app", named).await, "DENY");
}
