//! What an exception leaves behind: a review that is overdue and blocks its owner, and passages that are decided again
//! when what was asked has been erased.

use crate::coverage::Stepped;
use crate::privacy::replayed;
use crate::world::{World, at, request};
use placet_server::ServerOptions;
use serde_json::{Value, json};
use std::sync::Arc;

const PATH: &str = "/api/v1/exceptions";
const POLICY: &str = r#"
version: v1
exceptions:
  break_glass: { roles: [admin, operator], max: 10m, review: 1h }
floor:
  - id: no-transfers
    match: { surfaces: ["payments.transfer"] }
    decision: deny
rules:
  - id: transfers
    match: { surfaces: ["payments.transfer"] }
    decision: allow_with_constraints
    constraints: { max_retries: 1 }
"#;

fn asked(key: &str, more: Value) -> String {
    let mut body = json!({
        "surface": "payments.transfer", "actor": "agent:bot", "waives": ["floor"],
        "reason": "incident-7", "duration": "5m", "review_within": "10m", "break_glass": true,
        "idempotency_key": key,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_a_review_overdue_opens_nothing_until_somebody_else_has_reviewed() {
    let clock = Arc::new(Stepped::new());
    let world = World::at(POLICY, ServerOptions::default(), clock.clone()).await;
    let ann = world.admin.clone();
    let olga = world.key("human:olga", &["operator"]).await;
    let eve = world.key("human:eve", &["auditor"]).await;
    let opened = world.post(PATH, &olga, &asked("first", json!({}))).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let id = at(&opened.json(), "/id").to_owned();
    world.post(&format!("{PATH}/{id}/close"), &olga, "").await.ok();
    // Due, not yet overdue: she may.
    clock.step(600_000 - 1);
    let second = world.post(PATH, &olga, &asked("second", json!({}))).await;
    assert_eq!(second.status, 201, "{second:?}");
    clock.step(1);
    let seen = world.get(&format!("{PATH}/{id}"), &eve).await.ok();
    assert_eq!(seen["review_overdue"], true, "{seen}");
    let metrics = world.get("/metrics", "").await.text;
    let overdue = "placet_exceptions_overdue_reviews{workspace=\"main\"} 1";
    assert!(metrics.contains(overdue), "{metrics}");
    // Neither in an emergency, nor with another who asks for her; a restart forgets nothing.
    let world = world.restart_over(|_| {}, |stores| stores.clock = clock.clone()).await;
    let refused = world.post(PATH, &olga, &asked("third", json!({}))).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.text.contains("constitution.review-overdue"), "{refused:?}");
    let plain = asked("fourth", json!({"break_glass": false}));
    let refused = world.post(PATH, &olga, &plain).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let for_her = asked("fifth", json!({"break_glass": false, "owner": "human:olga"}));
    let refused = world.post(PATH, &ann, &for_her).await;
    assert!(refused.text.contains("review_overdue"), "{refused:?}");
    // Whoever owes nothing may.
    let other = world.post(PATH, &ann, &asked("sixth", json!({}))).await;
    assert_eq!(other.status, 201, "{other:?}");
    // Her own review is none; another person's is.
    let review = r#"{"justified":true,"note":"one transfer"}"#;
    let path = format!("{PATH}/{id}/review");
    world.post(&path, &olga, review).await.refused(403, "own_review");
    world.post(&path, &eve, review).await.ok();
    let again = world.post(PATH, &olga, &asked("seventh", json!({}))).await;
    assert_eq!(again.status, 201, "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passage_is_decided_again_as_it_was_when_what_was_asked_is_erased() {
    let world = World::with(Some(POLICY), false, ServerOptions::default()).await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    assert_eq!(at(&world.decide(&bot, "before", "").await, "/outcome"), "DENY");
    let opened = world.post(PATH, &ann, &asked("open", json!({}))).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let id = at(&opened.json(), "/id").to_owned();
    let mut passed = Vec::new();
    for key in ["p1", "p2"] {
        let body = request(key, r#","subjects":["customer-7"]"#);
        let decided = world.post("/api/v1/decisions", &bot, &body).await.ok();
        assert_eq!((at(&decided, "/outcome"), at(&decided, "/exception/id")), ("PERMIT", &*id));
        passed.push(at(&decided, "/id").to_owned());
    }
    world.post(&format!("{PATH}/{id}/close"), &ann, "").await.ok();
    assert_eq!(at(&world.decide(&bot, "after", "").await, "/outcome"), "DENY");
    let erase = json!({"subject": "customer-7", "reason": "gdpr.art17"}).to_string();
    let erased = world.post("/api/v1/audit/erase", &ann, &erase).await.ok();
    assert_eq!(erased["payloads"], 2, "{erased}");
    for decision in &passed {
        let shown = world.get(&format!("/api/v1/decisions/{decision}"), &bot).await.ok();
        assert_eq!(at(&shown, "/exception/id"), id, "{shown}");
    }
    let report = replayed(&world.data());
    assert_eq!((report.differences, report.not_replayable), (0, 0), "{report:?}");
    assert!(report.re_stepped >= 2, "{report:?}");
}
