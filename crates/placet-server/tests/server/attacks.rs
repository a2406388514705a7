//! Ways around a permit that no other test takes, by somebody with a key and bad intent.

use crate::world::{World, at, request};
use serde_json::Value;

const NONCE: &str = r#","attempt_nonce":"0123456789abcdef""#;

/// Decisions that the log holds.
async fn recorded(world: &World) -> usize {
    let log = world.get("/api/v1/audit?type=decision", &world.admin).await.ok();
    log["entries"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_body_cannot_say_two_things() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let before = recorded(&world).await;
    // What policy reads and what a gate executes would differ.
    for (first, second) in
        [("amount", "amount"), ("amount", r"\u0061mount"), ("risk_tags", r"risk_t\u0061gs")]
    {
        let arguments = format!(r#"{{"{first}":1,"{second}":1000000}}"#);
        let twice = request("a", "").replace(r#"{"amount":12.5}"#, &arguments);
        world.post("/api/v1/decisions", &bot, &twice).await.refused(400, "json_malformed");
    }
    let two = request("a", r#","surface":"slow.lane""#);
    world.post("/api/v1/decisions", &bot, &two).await.refused(400, "json_malformed");
    let after = format!("{} {}", request("a", ""), request("b", ""));
    world.post("/api/v1/decisions", &bot, &after).await.refused(400, "json_malformed");
    assert_eq!(recorded(&world).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_surface_spelt_otherwise_is_no_way_around_its_rules() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    for (at_key, surface) in [
        "Payments.transfer",
        "payments.transfer ",
        " payments.transfer",
        "payments..transfer",
        "payments/transfer",
        "payments.transfer.",
        "payments.tr\u{430}nsfer",
        "payments.transfer\u{200b}",
        "payments.*",
        "**",
    ]
    .into_iter()
    .enumerate()
    {
        let body = request(&format!("s{at_key}"), "").replace("payments.transfer", surface);
        let answer = world.post("/api/v1/decisions", &bot, &body).await;
        // Refused at the door, or another surface, which nothing permits.
        match answer.status {
            400 => {}
            200 => assert_eq!(at(&answer.json(), "/outcome"), "SILENCE", "{surface:?}"),
            _ => panic!("{surface:?}: {answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_is_for_the_bytes_that_were_asked_about() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let small = world.decide(&bot, "a", NONCE).await;
    // Other bytes under the same key and nonce fetch nothing.
    let other = request("a", NONCE).replace("12.5", "12.6");
    world.post("/api/v1/decisions", &bot, &other).await.refused(409, "idempotency_conflict");
    // Under another key they have another digest, in decision and permit alike.
    let other = world.post("/api/v1/decisions", &bot, &other.replace(r#""a""#, r#""b""#)).await;
    let other = other.ok();
    assert_ne!(at(&small, "/action_digest"), at(&other, "/action_digest"));
    assert_ne!(at(&small, "/permit/id"), at(&other, "/permit/id"));
    // The same action in other spellings has one digest: nothing hides in white space or order.
    let spelt = r#"{ "idempotency_key":"c", "arguments":{"amount":1.25e1},
        "action":"create","attempt_nonce":"0123456789abcdef", "surface":"payments.transfer"}"#;
    let same = world.post("/api/v1/decisions", &bot, spelt).await.ok();
    assert_eq!(at(&small, "/action_digest"), at(&same, "/action_digest"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trying_again_under_other_keys_leaves_every_attempt_on_record() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let before = recorded(&world).await;
    for n in 0..5 {
        let denied = world.decide(&bot, &format!("n{n}"), r#","risk_tags":["never"]"#).await;
        assert_eq!(at(&denied, "/outcome"), "DENY");
    }
    assert_eq!(recorded(&world).await, before + 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_without_a_permit_cannot_be_reported_away() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let denied = world.decide(&bot, "a", r#","risk_tags":["never"]"#).await;
    let open = world.decide(&bot, "b", r#","audience":"service:gate""#).await;
    let done = r#"{"result":"succeeded"}"#;
    let outcome = |decision: &Value| format!("/api/v1/decisions/{}/outcome", at(decision, "/id"));
    world.post(&outcome(&denied), &bot, done).await.refused(409, "no_permit");
    world.post(&outcome(&open), &gate, done).await.refused(409, "no_permit");
    // What was permitted and never reported stays in sight, and nothing else is there.
    let unknown = async || {
        let metrics = world.get("/metrics", "").await.text;
        let name = "placet_outcome_unknown{workspace=\"main\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{metrics}")).parse::<u64>().unwrap()
    };
    assert_eq!(unknown().await, 0);
    let done_later = world.decide(&bot, "c", NONCE).await;
    assert_eq!(unknown().await, 1);
    world.post(&outcome(&done_later), &bot, done).await.ok();
    assert_eq!(unknown().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lift_brings_no_permit_back() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let own = world.decide(&bot, "a", NONCE).await;
    let open = world.decide(&bot, "b", r#","audience":"service:gate""#).await;
    let scope = r#"{"scope":"workspace"}"#;
    world.post("/api/v1/kill", &olga, scope).await.ok();
    world.post("/api/v1/lift", &olga, scope).await.ok();
    world.post("/api/v1/lift", &world.admin, scope).await.ok();
    let path = format!("/api/v1/decisions/{}/consume", at(&open, "/id"));
    world.post(&path, &gate, "").await.refused(409, "permit_revoked");
    // Not even for the attempt that it was for, under its own key and nonce.
    let again = world.decide(&bot, "a", NONCE).await;
    assert_eq!((at(&again, "/id"), at(&again, "/permit/state")), (at(&own, "/id"), "revoked"));
    assert_eq!(again.pointer("/permit/id"), None, "{again}");
}
