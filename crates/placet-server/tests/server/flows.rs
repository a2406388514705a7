//! A request's ways through the server.

use crate::world::{BIG, World, at, request};
use placet_server::ServerOptions;
use serde_json::Value;

const NONCE: &str = r#","attempt_nonce":"0123456789abcdef""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_belongs_to_its_nonce() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let first = world.decide(&bot, "a", NONCE).await;
    assert_eq!(at(&first, "/outcome"), "PERMIT");
    assert_eq!(at(&first, "/permit/state"), "granted");
    assert_eq!(at(&first, "/reasons/0/text"), "small transfers are fine");
    assert_eq!(first.pointer("/constraints/max_retries"), Some(&Value::from(1)));
    let again = world.decide(&bot, "a", NONCE).await;
    assert_eq!(again["permit"], first["permit"]);
    assert_eq!(again["replayed"], true);
    let other = world.decide(&bot, "a", r#","attempt_nonce":"fedcba9876543210""#).await;
    assert_eq!((at(&other, "/permit/state"), other.pointer("/permit/id")), ("consumed", None));
    let headers = [("IDEMPOTENCY-KEY", "a"), ("placet-attempt-nonce", "0123456789abcdef")];
    let body = request("a", "").replace(r#","idempotency_key":"a""#, "");
    let by_header = world.call("POST", "/api/v1/decisions", &bot, &headers, &body).await.ok();
    assert_eq!(by_header["permit"], first["permit"]);
    let id = at(&first, "/id");
    let body = r#"{"result":"succeeded","detail":[1]}"#;
    let done = world.post(&format!("/api/v1/decisions/{id}/outcome"), &bot, body).await.ok();
    assert_eq!(done["reported"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_action_waits_for_a_second_person() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let held = world.decide(&bot, "a", BIG).await;
    assert_eq!(
        (at(&held, "/outcome"), at(&held, "/approval/state")),
        ("REQUIRE_APPROVAL", "pending")
    );
    let (id, approval) = (at(&held, "/id").to_owned(), at(&held, "/approval/id").to_owned());
    let inbox = world.get("/api/v1/approvals", &olga).await.ok();
    assert_eq!(at(&inbox, "/approvals/0/id"), approval);
    assert_eq!(at(&inbox, "/approvals/0/requested_by"), "agent:bot");
    assert_eq!(inbox.pointer("/approvals/0/arguments/amount"), Some(&Value::from(12.5)));
    let path = format!("/api/v1/decisions/{id}?wait=20s");
    let headers = [("Placet-Attempt-Nonce", "0123456789abcdef")];
    let wait = world.call("GET", &path, &bot, &headers, "");
    let vote = async {
        let digest = at(&inbox, "/approvals/0/action_digest");
        let body = format!(r#"{{"action_digest":"{digest}","note":"fine"}}"#);
        let path = format!("/api/v1/approvals/{approval}/approve");
        world.post(&path, &olga, &body).await.ok()
    };
    let (waited, voted) = tokio::join!(wait, vote);
    assert_eq!(at(&voted, "/approvals/0/by"), "human:olga");
    let waited = waited.ok();
    assert_eq!((at(&waited, "/outcome"), at(&waited, "/permit/state")), ("PERMIT", "granted"));
    assert_eq!(at(&waited, "/approval/state"), "consumed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_of_an_approval_changes_nothing() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let held = world.decide(&bot, "a", BIG).await;
    let world = world.restart().await;
    let digest = at(&held, "/action_digest");
    let path = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
    let body = format!(r#"{{"action_digest":"{digest}"}}"#);
    assert_eq!(at(&world.post(&path, &olga, &body).await.ok(), "/state"), "approved");
    let world = world.restart().await;
    let again = world.decide(&bot, "a", &format!("{BIG}{NONCE}")).await;
    assert_eq!(at(&again, "/permit/state"), "granted");
    assert_eq!(at(&again, "/id"), at(&held, "/id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_and_withdrawn_are_final() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let held = world.decide(&bot, "a", BIG).await;
    let body = format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest"));
    let path = format!("/api/v1/approvals/{}", at(&held, "/approval/id"));
    let admin = world.admin.clone();
    let rejected = world.post(&format!("{path}/reject"), &admin, &body).await.ok();
    assert_eq!(at(&rejected, "/state"), "rejected");
    world.post(&format!("{path}/approve"), &admin, &body).await.refused(409, "approval_final");
    let held = world.decide(&bot, "b", BIG).await;
    let path = format!("/api/v1/decisions/{}/withdraw", at(&held, "/id"));
    world.post(&path, &admin, "").await.refused(403, "foreign");
    assert_eq!(at(&world.post(&path, &bot, "").await.ok(), "/approval/state"), "withdrawn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_consumes_once() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let open = world.decide(&bot, "a", r#","audience":"service:gate""#).await;
    assert_eq!(at(&open, "/permit/state"), "open");
    let path = format!("/api/v1/decisions/{}/consume", at(&open, "/id"));
    world.post(&path, &bot, "{}").await.refused(403, "foreign");
    let body = r#"{"attempt_nonce":"0123456789abcdef"}"#;
    let used = world.post(&path, &gate, body).await.ok();
    assert_eq!(at(&used, "/permit/state"), "granted");
    world.post(&path, &gate, "").await.refused(409, "permit_consumed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_answers_each_by_itself_and_in_order() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let one = request("a", NONCE);
    let conflict = request("a", r#","risk_tags":["x"]"#);
    let denied = request("d", r#","risk_tags":["never"]"#);
    let body = format!(r#"{{"requests":[{one},{one},{{"surface":1}},{conflict},{denied}]}}"#);
    let results = world.post("/api/v1/decisions:batch", &bot, &body).await.ok();
    let first = at(&results, "/results/0/decision/id");
    assert_eq!(at(&results, "/results/1/decision/id"), first);
    assert_eq!(results.pointer("/results/0/decision/replayed"), None);
    assert_eq!(results.pointer("/results/1/decision/replayed"), Some(&Value::Bool(true)));
    assert_eq!(at(&results, "/results/2/problem/code"), "field_invalid");
    assert_eq!(at(&results, "/results/3/problem/code"), "idempotency_conflict");
    assert_eq!(at(&results, "/results/4/decision/outcome"), "DENY");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_permits_is_silence() {
    let surfaces = "version: v1\nrules: []\nsurfaces: { payments.refund: }\n";
    let cases = [
        (None, "no_bundle"),
        (Some("version: v1\nrules: []\n"), "no_rule_matches"),
        (Some(surfaces), "unknown_surface"),
    ];
    for (bundle, code) in cases {
        let world = World::with(bundle, false, ServerOptions::default()).await;
        let bot = world.key("agent:bot", &[]).await;
        let silent = world.decide(&bot, "a", "").await;
        assert_eq!((at(&silent, "/outcome"), at(&silent, "/reasons/0/code")), ("SILENCE", code));
        assert_eq!(silent["permit"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn development_mode_submits_and_approves_without_keys() {
    let world = World::with(Some(crate::world::BUNDLE), true, ServerOptions::default()).await;
    let held = world.decide("", "a", BIG).await;
    assert_eq!((at(&held, "/actor"), at(&held, "/environment")), ("service:local", "development"));
    let path = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
    assert_eq!(at(&world.post(&path, "", "").await.ok(), "/state"), "approved");
    let unknown = [("placet-workspace", "nowhere")];
    let answer = world.call("GET", "/api/v1/approvals", "", &unknown, "").await;
    answer.refused(404, "workspace_not_found");
    let body = r#"{"actor":"agent:x","environment":"production","roles":[]}"#;
    assert_eq!(world.post("/api/v1/keys", "", body).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn development_mode_speaks_for_no_page_of_another_site() {
    let world = World::with(Some(crate::world::BUNDLE), true, ServerOptions::default()).await;
    let key = r#"{"actor":"human:mallory","roles":["admin"],"environment":"production"}"#;
    for headers in [
        &[("host", "evil.example")][..],
        &[("host", "evil.example:8081")],
        &[("host", "127.0.0.1.evil.example")],
        &[("host", "localhost"), ("origin", "http://evil.example")],
        &[("host", "localhost"), ("origin", "null")],
        &[("host", "127.0.0.1:8081"), ("sec-fetch-site", "cross-site")],
        &[("host", "127.0.0.1:8081"), ("sec-fetch-site", "same-site")],
    ] {
        let made = world.call("POST", "/api/v1/keys", "", headers, key).await;
        made.refused(403, "cross_site");
        let read = world.call("GET", "/api/v1/approvals", "", headers, "").await;
        read.refused(403, "cross_site");
    }
    for headers in [
        &[("host", "localhost:8081"), ("origin", "http://localhost:8081")][..],
        &[("host", "[::1]:8081")],
        &[("host", "console.localhost")],
        &[("host", "127.0.0.1"), ("sec-fetch-site", "same-origin")],
    ] {
        world.call("GET", "/api/v1/approvals", "", headers, "").await.ok();
    }
}
