//! Modes of enforcement over HTTP: published by two people, asked, counted, and stopped all the same.

use crate::policies::{POLICIES, body, vote};
use crate::world::{World, at};
use placet_server::ServerOptions;
use serde_json::json;

const LAX: &str = r#"
version: v1
surfaces:
  payments.transfer: { owner: payments }
rules:
  - { id: held, match: { surfaces: ["payments.transfer"], risk_tags: ["big"] }, decision: require_approval }
  - { id: small, match: { surfaces: ["payments.transfer"], labels: { fine: ["yes"] } }, decision: allow }
  - { id: never, match: { surfaces: ["payments.transfer"], risk_tags: ["never"] }, decision: deny }
modes:
  - { id: trial, surfaces: ["payments.**"], environments: ["production"], mode: shadow, owner: payments }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mode_lets_pass_is_recorded_counted_and_permits_nothing() {
    // What came with the start says the same, and is enforced.
    let early = LAX.replace("id: trial", "id: early");
    let world = World::with(Some(&early), false, ServerOptions::default()).await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let eve = world.key("human:eve", &["auditor"]).await;
    let made = r#"{"actor":"human:bea","environment":"production","roles":["admin"]}"#;
    let bea = world.post("/api/v1/keys", &ann, made).await.json();
    let bea = at(&bea, "/key").to_owned();
    let never = r#","risk_tags":["never"]"#;
    let denied = world.decide(&bot, "d0", never).await;
    assert_eq!(at(&denied, "/outcome"), "DENY");
    assert_eq!(denied.get("mode"), None);
    let hole = |found: &serde_json::Value| {
        let holes = found["holes"].as_array().unwrap();
        let hole = holes.iter().find(|hole| hole["kind"] == "shadowed").unwrap();
        at(hole, "/detail").to_owned()
    };
    let coverage = world.get("/api/v1/coverage", &eve).await.ok();
    assert!(hole(&coverage).ends_with("it is enforced"), "{coverage}");

    let held = world.post(POLICIES, &ann, &body(LAX, json!({"idempotency_key": "p1"}))).await;
    assert_eq!(at(&vote(&world, &held, &bea).await.ok(), "/state"), "consumed");
    let passed = world.decide(&bot, "d1", never).await;
    assert_eq!(
        [at(&passed, "/outcome"), at(&passed, "/mode"), at(&passed, "/would_outcome")],
        ["SILENCE", "shadow", "DENY"]
    );
    assert_eq!(passed.get("permit").filter(|it| !it.is_null()), None);
    let waits = world.decide(&bot, "d2", r#","risk_tags":["big"]"#).await;
    assert_eq!(at(&waits, "/would_outcome"), "REQUIRE_APPROVAL");
    let listed = world.get("/api/v1/approvals", &bea).await.ok();
    assert_eq!(listed["approvals"], json!([]));
    let permitted = world.decide(&bot, "d3", r#","labels":{"fine":"yes"}"#).await;
    assert_eq!((at(&permitted, "/outcome"), permitted.get("mode")), ("PERMIT", None));

    // It is read back as it was said, and counted as what it is.
    let path = format!("/api/v1/decisions/{}", at(&passed, "/id"));
    let again = world.get(&path, &bot).await.ok();
    assert_eq!(
        [at(&again, "/outcome"), at(&again, "/mode"), at(&again, "/would_outcome")],
        ["SILENCE", "shadow", "DENY"]
    );
    let coverage = world.get("/api/v1/coverage", &eve).await.ok();
    assert!(hole(&coverage).ends_with("stop nothing"), "{coverage}");
    let holes = coverage["holes"].as_array().unwrap();
    let passages: Vec<_> =
        holes.iter().filter(|hole| hole["kind"] == "ungoverned_passage").collect();
    assert!(at(passages[0], "/detail").contains('2'), "{passages:?}");

    // The same after a restart, from the log; and a kill is a kill.
    let world = world.unseeded().restart().await;
    let again = world.decide(&bot, "d1", never).await;
    assert_eq!([at(&again, "/mode"), at(&again, "/would_outcome")], ["shadow", "DENY"]);
    world.post("/api/v1/kill", &ann, r#"{"scope":"workspace"}"#).await.ok();
    let killed = world.decide(&bot, "d4", never).await;
    assert_eq!((at(&killed, "/outcome"), killed.get("mode")), ("DENY", None));
}
