//! Nothing of a workspace is seen or influenced with a key of another.

use crate::world::{BIG, World, at};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_workspace_looks_like_none() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let body = r#"{"name":"other","admin":"human:zoe"}"#;
    let made = world.post("/api/v1/workspaces", &ann, body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let zoe = at(&made.json(), "/key").to_owned();
    let held = world.decide(&bot, "h", BIG).await;
    let done = world.decide(&bot, "d", "").await;
    let key = bot.split_once('.').unwrap().0.to_owned();
    let echo = format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest"));
    let zero = "0".repeat(32);
    let report = r#"{"result":"failed"}"#;
    let size = world.size();
    let cases: &[(&str, &str, &str, &str)] = &[
        ("GET", "/api/v1/decisions/dec_{}", at(&done, "/id"), ""),
        ("POST", "/api/v1/decisions/dec_{}/consume", at(&done, "/id"), "{}"),
        ("POST", "/api/v1/decisions/dec_{}/outcome", at(&done, "/id"), report),
        ("POST", "/api/v1/decisions/dec_{}/withdraw", at(&held, "/id"), ""),
        ("GET", "/api/v1/receipts/dec_{}", at(&done, "/id"), ""),
        ("POST", "/api/v1/approvals/apr_{}/approve", at(&held, "/approval/id"), &echo),
        ("POST", "/api/v1/approvals/apr_{}/reject", at(&held, "/approval/id"), &echo),
        ("DELETE", "/api/v1/keys/key_{}", &key, ""),
    ];
    for (method, path, id, body) in cases {
        let foreign = path.replace("{}", &id[4..]);
        let unknown = path.replace("{}", &zero);
        let foreign = world.call(method, &foreign, &zoe, &[], body).await;
        let unknown = world.call(method, &unknown, &zoe, &[], body).await;
        foreign.refused(404, "not_found");
        assert_eq!((foreign.status, &foreign.text), (unknown.status, &unknown.text), "{path}");
    }
    let all = r#"{"scope":"everything"}"#;
    world.post("/api/v1/kill", &zoe, all).await.refused(403, "foreign");
    world.post("/api/v1/lift", &zoe, all).await.refused(403, "foreign");
    world.post("/api/v1/clock/confirm", &zoe, "").await.refused(403, "foreign");
    world.post("/api/v1/audit/reindex", &zoe, "").await.refused(403, "foreign");
    let more = r#"{"name":"more","admin":"human:x"}"#;
    world.post("/api/v1/workspaces", &zoe, more).await.refused(403, "foreign");
    let metrics = world.get("/metrics", &zoe).await;
    metrics.refused(403, "foreign");
    let decision = at(&done, "/id");
    for path in ["/api/v1/audit", "/api/v1/traces/t%201", "/api/v1/approvals", "/api/v1/keys"] {
        let answer = world.get(path, &zoe).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.text.contains(decision) && !answer.text.contains("agent:bot"), "{path}");
    }
    let seen = world.get("/api/v1/workspaces", &zoe).await.ok();
    assert_eq!(seen["workspaces"].as_array().map(Vec::len), Some(1));
    let checkpoint = world.get("/api/v1/checkpoint", &zoe).await;
    assert!(checkpoint.text.lines().next().unwrap().ends_with("/other"));
    for name in ["main", "nowhere"] {
        let header = [("placet-workspace", name)];
        let answer = world.call("GET", "/api/v1/approvals", &zoe, &header, "").await;
        answer.refused(404, "workspace_not_found");
    }
    // A kill of one workspace leaves the other alone.
    world.post("/api/v1/kill", &zoe, r#"{"scope":"workspace"}"#).await.ok();
    assert_eq!(world.size(), size);
    assert_eq!(at(&world.decide(&bot, "e", "").await, "/outcome"), "PERMIT");
}
