//! Keys under the constitution, and kill switches.

use crate::world::{World, at};
use placet_server::ServerOptions;
use serde_json::Value;

fn key_body(actor: &str, roles: &str, idempotency: &str) -> String {
    format!(
        r#"{{"actor":"{actor}","environment":"production","roles":[{roles}],"idempotency_key":"{idempotency}"}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_admin_makes_keys_alone_and_two_only_together() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let body = key_body("human:bea", r#""admin""#, "bea");
    let made = world.post("/api/v1/keys", &ann, &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let bea = at(&made.json(), "/key").to_owned();
    // Shown once: the same call makes no second key.
    world.post("/api/v1/keys", &ann, &body).await.refused(409, "already_exists");
    let body = key_body("agent:bot", "", "bot");
    let held = world.post("/api/v1/keys", &ann, &body).await;
    assert_eq!(held.status, 202, "{held:?}");
    let held = held.json();
    let digest = at(&held, "/decision/action_digest");
    let path = format!("/api/v1/approvals/{}/approve", at(&held, "/decision/approval/id"));
    let echo = format!(r#"{{"action_digest":"{digest}"}}"#);
    world.post(&path, &bea, &echo).await.ok();
    let made = world.post("/api/v1/keys", &ann, &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let bot = at(&made.json(), "/key").to_owned();
    assert_eq!(at(&world.decide(&bot, "a", "").await, "/outcome"), "PERMIT");
    world.post("/api/v1/keys", &ann, &body).await.refused(409, "already_exists");
    let denied = world.post("/api/v1/keys", &bot, &key_body("agent:x", "", "x")).await;
    let problem = denied.refused(403, "not_permitted");
    assert_eq!(at(&problem, "/decision/outcome"), "DENY");
    let keys = world.get("/api/v1/keys", &ann).await.ok();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_stops_at_once_and_two_people_lift_it() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let open = world.decide(&bot, "o", r#","audience":"service:gate""#).await;
    let scope = r#"{"scope":"workspace"}"#;
    let killed = world.post("/api/v1/kill", &olga, scope).await.ok();
    assert_eq!(at(&killed, "/workspace/source"), "api");
    assert_eq!(killed["everything"], Value::Null);
    let denied = world.decide(&bot, "a", "").await;
    assert_eq!(at(&denied, "/outcome"), "DENY");
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_workspace");
    let path = format!("/api/v1/decisions/{}/consume", at(&open, "/id"));
    let refused = world.post(&path, &gate, "").await;
    assert_eq!(refused.status, 409, "{refused:?}");
    let asked = world.post("/api/v1/lift", &ann, scope).await.ok();
    assert_eq!(asked["lifted"], false);
    assert!(at(&asked, "/workspace/lift_requested_by").starts_with("human:"));
    world.post("/api/v1/lift", &ann, scope).await.refused(409, "second_person_needed");
    assert_eq!(world.post("/api/v1/lift", &olga, scope).await.ok()["lifted"], true);
    // A kill does not bind the key: the same request is decided again.
    assert_eq!(at(&world.decide(&bot, "a", "").await, "/outcome"), "PERMIT");
}

/// Only payers may propose what waits for an operator.
const PAYERS: &str = r#"
version: v1
roles:
  payer: { may: ["propose:payments.transfer"] }
rules:
  - id: held
    match: { surfaces: ["payments.transfer"] }
    decision: require_approval
    approval: { roles: { operator: 1 } }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_released_for_what_its_proposer_is_today() {
    let world = World::with(Some(PAYERS), false, ServerOptions::default()).await;
    let ann = world.admin.clone();
    let olga = world.key("human:olga", &["operator"]).await;
    let make = async |environment: &str, roles: &str, name: &str| {
        let body = format!(
            r#"{{"actor":"agent:bot","environment":"{environment}","roles":[{roles}],"idempotency_key":"{name}"}}"#
        );
        let made = world.post("/api/v1/keys", &ann, &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        at(&made.json(), "/key").to_owned()
    };
    let approved = async |by: &str, name: &str| {
        let held = world.decide(by, name, "").await;
        assert_eq!(at(&held, "/outcome"), "REQUIRE_APPROVAL", "{held}");
        let path = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
        let echo = format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest"));
        world.post(&path, &olga, &echo).await.ok();
        format!("/api/v1/decisions/{}", at(&held, "/id"))
    };
    let nonce = [("placet-attempt-nonce", "0123456789abcdef")];
    let collect = async |key: &str, path: &str| world.call("GET", path, key, &nonce, "").await;

    let payer = make("production", r#""payer""#, "one").await;
    let staging = make("staging", r#""payer""#, "two").await;
    let nobody = make("production", "", "three").await;
    let first = approved(&payer, "a").await;
    // Another environment is not where it was approved for.
    collect(&staging, &first).await.refused(403, "foreign");
    assert_eq!(at(&collect(&payer, &first).await.ok(), "/permit/state"), "granted");
    // A key without the role collects nothing, and takes nothing from the one that has it.
    let second = approved(&payer, "b").await;
    collect(&nobody, &second).await.refused(403, "foreign");
    assert_eq!(at(&collect(&payer, &second).await.ok(), "/permit/state"), "granted");
    // The role is gone altogether: the approval that comes later is for nothing.
    let held = world.decide(&payer, "c", "").await;
    let keys = world.get("/api/v1/keys", &ann).await.ok();
    for key in keys["keys"].as_array().unwrap() {
        if key["actor"] == "agent:bot" && key["roles"] == serde_json::json!(["payer"]) {
            let path = format!("/api/v1/keys/{}", at(key, "/id"));
            assert_eq!(world.call("DELETE", &path, &ann, &[], "").await.status, 204);
        }
    }
    let path = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
    let echo = format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest"));
    world.post(&path, &olga, &echo).await.refused(409, "approval_invalidated");
}
