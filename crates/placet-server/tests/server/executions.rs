//! Executions over HTTP: begun under a decision, found again, ended, and killed by a step of their own.

use crate::world::{BUNDLE, World, at};
use placet_server::ServerOptions;
use serde_json::Value;

const PATH: &str = "/api/v1/executions";

/// Anybody with a role runs the capability, which moves money and nothing else.
fn bundle() -> String {
    let rule = "  - id: mail\n    match: { surfaces: [\"mail\"] }\n    decision: allow\n";
    let manifests = "capabilities:\n  crm: { allowed_roles: [\"*\"], surfaces: [execution, payments.transfer] }\n";
    format!("{BUNDLE}{rule}{manifests}")
}

async fn step(world: &World, key: &str, surface: &str, name: &str, execution: &str) -> Value {
    let body = format!(
        r#"{{"surface":"{surface}","action":"create","idempotency_key":"{name}","arguments":{{"amount":1}},"capability":"crm","execution":"{execution}"}}"#
    );
    world.post("/api/v1/decisions", key, &body).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_is_begun_once_goes_on_after_a_restart_and_is_ended_by_its_runner() {
    let world = World::with(Some(&bundle()), false, ServerOptions::default()).await;
    let bot = world.key("agent:bot", &["runner"]).await;
    let other = world.key("agent:other", &["runner"]).await;
    let body = r#"{"capability":"crm","idempotency_key":"e1"}"#;
    let begun = world.post(PATH, &bot, body).await;
    assert_eq!(begun.status, 201, "{begun:?}");
    let begun = begun.json();
    let id = at(&begun, "/id").to_owned();
    assert_eq!((at(&begun, "/state"), at(&begun, "/by")), ("running", "agent:bot"));
    assert_eq!(at(&begun, "/decision")[4..], id[4..]);
    assert_eq!(world.post(PATH, &bot, body).await.json(), begun);
    assert_eq!(at(&step(&world, &bot, "payments.transfer", "s1", &id).await, "/outcome"), "PERMIT");
    let foreign = step(&world, &other, "payments.transfer", "s2", &id).await;
    assert_eq!(at(&foreign, "/reasons/0/code"), "execution_foreign");
    let world = world.restart().await;
    let path = format!("{PATH}/{id}");
    let shown = world.get(&path, &bot).await.ok();
    assert_eq!((at(&shown, "/state"), &shown["steps"]), ("running", &Value::from(1)));
    world.get(&path, &other).await.refused(404, "not_found");
    let listed = world.get(&format!("{PATH}?state=running"), &bot).await.ok();
    assert_eq!(at(&listed, "/executions/0/id"), id);
    let none = world.get(PATH, &other).await.ok();
    assert_eq!(none["executions"].as_array().map(Vec::len), Some(0));
    // Its steps are found by its id.
    let steps = world.get(at(&shown, "/trace"), &world.admin).await.ok();
    assert_eq!(steps["entries"].as_array().map(Vec::len), Some(2), "{steps}");
    let end = format!("{path}/end");
    world.post(&end, &bot, r#"{"state":"killed"}"#).await.refused(400, "field_invalid");
    let ended = world.post(&end, &bot, r#"{"state":"failed"}"#).await.ok();
    assert_eq!(at(&ended, "/state"), "failed");
    world.post(&end, &bot, r#"{"state":"succeeded"}"#).await.refused(409, "execution_ended");
    let late = step(&world, &bot, "payments.transfer", "s3", &id).await;
    assert_eq!(at(&late, "/reasons/0/code"), "execution_ended");
    world.post(PATH, &bot, "{}").await.refused(400, "field_missing");
    world.post(PATH, &bot, r#"{"capability":"a b"}"#).await.refused(400, "field_invalid");
    world.post(PATH, &bot, r#"{"capability":"none"}"#).await.refused(403, "not_permitted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_outside_the_manifest_kills_the_execution_and_a_kill_ends_it_for_good() {
    let world = World::with(Some(&bundle()), false, ServerOptions::default()).await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &["runner"]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let begin = |name: &str| format!(r#"{{"capability":"crm","idempotency_key":"{name}"}}"#);
    let first = world.post(PATH, &bot, &begin("a")).await.json();
    let second = world.post(PATH, &bot, &begin("b")).await.json();
    let (first, second) = (at(&first, "/id"), at(&second, "/id"));
    let outside = step(&world, &bot, "mail", "m1", first).await;
    assert_eq!(at(&outside, "/outcome"), "DENY");
    let killed = world.get(&format!("{PATH}/{first}"), &bot).await.ok();
    assert_eq!(at(&killed, "/state"), "killed");
    let after = step(&world, &bot, "payments.transfer", "s1", first).await;
    assert_eq!(at(&after, "/reasons/0/code"), "killed_execution");
    assert_eq!(
        at(&step(&world, &bot, "payments.transfer", "s2", second).await, "/outcome"),
        "PERMIT"
    );
    let listed = world.get("/api/v1/overrides", &ann).await.ok();
    assert_eq!(listed["overrides"].as_array().map(Vec::len), Some(0), "{listed}");
    let trips = world.get("/api/v1/audit?type=kill.tripped", &ann).await.ok();
    assert_eq!(trips["entries"].as_array().map(Vec::len), Some(1), "{trips}");
    // What people kill stays killed after the lift.
    let scope = r#"{"scope":"capability:crm","mode":"kill"}"#;
    world.post("/api/v1/overrides", &olga, scope).await.ok();
    for key in [&olga, &ann] {
        world.post("/api/v1/overrides:lift", key, r#"{"scope":"capability:crm"}"#).await.ok();
    }
    let world = world.restart().await;
    let killed = world.get(&format!("{PATH}/{second}"), &bot).await.ok();
    assert_eq!(at(&killed, "/state"), "killed");
    let third = world.post(PATH, &bot, &begin("c")).await.json();
    assert_eq!(at(&third, "/state"), "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_refused_is_recorded_as_failed() {
    let world = World::with(Some(&bundle()), false, ServerOptions::default()).await;
    let bot = world.key("agent:bot", &["runner"]).await;
    let parent = "exe_00000000000000000000000000000009";
    let body = format!(r#"{{"capability":"crm","idempotency_key":"e1","parent":"{parent}"}}"#);
    world.post(PATH, &bot, &body).await.refused(404, "not_found");
    let reports = world.get("/api/v1/audit?type=outcome.reported", &world.admin).await.ok();
    assert_eq!(reports["entries"].as_array().map(Vec::len), Some(1), "{reports}");
    let decision =
        reports.pointer("/entries/0/entry/predicate/data/decision").and_then(Value::as_str);
    let decision = decision.unwrap_or_else(|| panic!("{reports}"));
    let decision = world.get(&format!("/api/v1/decisions/{decision}"), &bot).await.ok();
    assert_eq!(at(&decision, "/surface"), "execution");
    assert_ne!(decision["outcome_unknown"], true, "{decision}");
    // Its permit is used up, and it was told so.
    world.post(PATH, &bot, &body).await.refused(409, "permit_consumed");
    let next = r#"{"capability":"crm","idempotency_key":"e2"}"#;
    assert_eq!(world.post(PATH, &bot, next).await.status, 201);
}

/// The server went down between the decision and the start: nobody started anything, and nobody was refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_was_cut_off_is_gone_on_with() {
    let world = World::with(Some(&bundle()), false, ServerOptions::default()).await;
    let bot = world.key("agent:bot", &["runner"]).await;
    let body = r#"{"surface":"execution","action":"start","capability":"crm","idempotency_key":"e1","attempt_nonce":"0123456789abcdef"}"#;
    let decided = world.post("/api/v1/decisions", &bot, body).await.ok();
    assert_eq!(at(&decided, "/permit/state"), "granted");
    let begun = world.post(PATH, &bot, r#"{"capability":"crm","idempotency_key":"e1"}"#).await;
    assert_eq!(begun.status, 201, "{begun:?}");
    assert_eq!(at(&begun.json(), "/id")[4..], at(&decided, "/id")[4..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_waits_for_a_place_and_one_has_had_its_steps() {
    let rule = "  - id: one\n    match: { surfaces: [execution] }\n    decision: allow_with_constraints\n    constraints: { max_concurrent: 1 }\n";
    let manifests = "capabilities:\n  crm: { allowed_roles: [\"*\"], surfaces: [execution, payments.transfer], max_steps: 3 }\n";
    let world =
        World::with(Some(&format!("{BUNDLE}{rule}{manifests}")), false, ServerOptions::default())
            .await;
    let bot = world.key("agent:bot", &["runner"]).await;
    let begin = async |name: &str, more: &str| {
        let body = format!(r#"{{"capability":"crm","idempotency_key":"{name}"{more}}}"#);
        let begun = world.post(PATH, &bot, &body).await;
        assert_eq!(begun.status, 201, "{begun:?}");
        begun.json()
    };
    let first = begin("a", "").await;
    assert_eq!((at(&first, "/state"), &first["max_steps"]), ("running", &Value::from(3)));
    let second = begin("b", r#","max_steps":1"#).await;
    assert_eq!((at(&second, "/state"), &second["max_steps"]), ("queued", &Value::from(1)));
    assert_eq!(second["max_concurrent"], 1);
    let (first, second) = (at(&first, "/id"), at(&second, "/id"));
    let early = step(&world, &bot, "payments.transfer", "s1", second).await;
    assert_eq!(at(&early, "/reasons/0/code"), "execution_queued");
    let end = |id: &str| format!("{PATH}/{id}/end");
    let done = r#"{"state":"succeeded"}"#;
    world.post(&end(second), &bot, done).await.refused(409, "execution_queued");
    let waiting = world.get(&format!("{PATH}?state=queued"), &bot).await.ok();
    assert_eq!(at(&waiting, "/executions/0/id"), second);
    let shown = world.get("/metrics", "").await.text;
    for of in ["running", "queued"] {
        let line = format!("placet_executions_{of}{{workspace=\"main\"}} 1");
        assert!(shown.contains(&line), "{line}");
    }
    // It begins by itself, soon after the first one has ended.
    world.post(&end(first), &bot, done).await.ok();
    let path = format!("{PATH}/{second}");
    let began = std::time::Instant::now();
    while at(&world.get(&path, &bot).await.ok(), "/state") != "running" {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "it never begins");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // What was asked for too early has bound no key and is no step.
    let now = step(&world, &bot, "payments.transfer", "s1", second).await;
    assert_eq!(at(&now, "/outcome"), "PERMIT", "{now}");
    let spent = step(&world, &bot, "payments.transfer", "s2", second).await;
    assert_eq!(at(&spent, "/reasons/0/code"), "execution_budget");
    let shown = world.get(&path, &bot).await.ok();
    assert_eq!(at(&shown, "/state"), "terminated_budget");
    world.post(&end(second), &bot, done).await.refused(409, "execution_ended");
    let third = begin("c", "").await;
    let id = at(&third, "/id");
    for name in ["s3", "s4", "s5"] {
        let step = step(&world, &bot, "payments.transfer", name, id).await;
        assert_eq!(at(&step, "/outcome"), "PERMIT", "{step}");
    }
    let over = step(&world, &bot, "payments.transfer", "s6", id).await;
    assert_eq!(at(&over, "/reasons/0/code"), "execution_budget");
    for (field, bad) in [
        ("max_steps", "0"),
        ("max_steps", "1000000001"),
        ("max_steps", "\"7\""),
        ("max_runtime_sec", "0"),
        ("max_runtime_sec", "2592001"),
        ("max_runtime_sec", "1.5"),
    ] {
        let body = format!(r#"{{"capability":"crm","{field}":{bad}}}"#);
        let refused = world.post(PATH, &bot, &body).await.refused(400, "field_invalid");
        assert_eq!(at(&refused, "/field"), format!("/{field}"));
    }
    // A runner that is not heard of again keeps its place for as long as it said.
    let fourth = begin("d", r#","max_runtime_sec":1"#).await;
    assert_eq!(fourth["max_runtime_sec"], 1);
    assert!(at(&fourth, "/until") > at(&fourth, "/since"), "{fourth}");
    let path = format!("{PATH}/{}", at(&fourth, "/id"));
    while at(&world.get(&path, &bot).await.ok(), "/state") != "terminated_budget" {
        assert!(began.elapsed() < std::time::Duration::from_secs(90), "it never ends");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let types = world.get("/api/v1/audit?type=execution.terminated", &world.admin).await.ok();
    assert_eq!(types["entries"].as_array().map(Vec::len), Some(3), "{types}");
    assert_eq!(types.to_string().matches(r#""cause":"runtime""#).count(), 1, "{types}");
}
