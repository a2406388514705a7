//! What people see who decide in the right of others, which sessions they have, and what is left of a permit
//! that a kill took back.

use crate::world::{BIG, World, at};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_decide_in_the_right_of_another_sees_the_decision() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let dana = world.key("human:dana", &[]).await;
    let held = world.decide(&bot, "h", BIG).await;
    let path = format!("/api/v1/decisions/{}", at(&held, "/id"));
    let approval = format!("/api/v1/approvals/{}", at(&held, "/approval/id"));
    for path in [&path, &approval] {
        world.get(path, &dana).await.refused(404, "not_found");
    }
    let until = world.plane.now().plus(3_600_000).rfc3339();
    let lent = json!({"to": "human:dana", "roles": ["operator"], "until": until}).to_string();
    let lent = world.post("/api/v1/delegations", &olga, &lent).await;
    assert_eq!(lent.status, 201, "{lent:?}");
    assert_eq!(world.get(&path, &dana).await.ok()["id"], held["id"]);
    assert_eq!(world.get(&approval, &dana).await.ok()["id"], held["approval"]["id"]);
    // In the list of everything as well, which asks once whose rights they have.
    for path in ["/api/v1/approvals", "/api/v1/approvals?include_resolved=true&limit=1"] {
        let listed = world.get(path, &dana).await.ok();
        assert_eq!(listed["approvals"][0]["id"], held["approval"]["id"], "{listed}");
    }
    let end = format!("/api/v1/delegations/{}", at(&lent.json(), "/id"));
    assert_eq!(world.call("DELETE", &end, &olga, &[], "").await.status, 200);
    world.get(&path, &dana).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_of_everything_is_looked_through_page_by_page() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let mut held = Vec::new();
    for n in 0..5 {
        let decided = world.decide(&bot, &format!("h{n}"), BIG).await;
        held.push(at(&decided, "/approval/id").to_owned());
    }
    // By id; within a millisecond that is not the order in which they were made.
    held.sort();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..9 {
        let path = format!("/api/v1/approvals?include_resolved=true&limit=2{cursor}");
        let page = world.get(&path, &bot).await.ok();
        let page_of = page["approvals"].as_array().unwrap();
        seen.extend(page_of.iter().map(|it| at(it, "/id").to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_for_whoever_stands_behind_them() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &["gate"]).await;
    let ann = world.admin.clone();
    let mut made = Vec::new();
    for n in 0..3 {
        let body = format!(r#"{{"actor":"agent:part{n}","roles":["gate"]}}"#);
        let answer = world.post("/api/v1/sessions", &bot, &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        made.push(answer.json());
    }
    // By id; within a millisecond that is not the order in which they were made.
    made.sort_by_key(|it| at(it, "/id").to_owned());
    let other = world.post("/api/v1/sessions", &ann, r#"{"actor":"agent:other"}"#).await.json();
    let ids = |list: &serde_json::Value| -> Vec<String> {
        list["sessions"].as_array().unwrap().iter().map(|it| at(it, "/id").to_owned()).collect()
    };
    let own: Vec<String> = made.iter().map(|it| at(it, "/id").to_owned()).collect();
    let path = "/api/v1/sessions";
    let listed = world.get(path, &bot).await.ok();
    assert_eq!(ids(&listed), own);
    assert_eq!(listed["sessions"][0]["roles"], json!(["gate"]));
    assert_eq!(listed["sessions"][0]["on_behalf_of"], json!(["agent:bot"]));
    assert!(!listed.to_string().contains(at(&made[0], "/key")), "{listed}");
    // One's own, as one to whom it was handed on.
    let part = at(&made[1], "/key");
    assert_eq!(ids(&world.get(path, part).await.ok()), own[1..2]);
    let all = world.get(path, &ann).await.ok();
    let mut everybodys = [own.clone(), vec![at(&other, "/id").to_owned()]].concat();
    everybodys.sort();
    assert_eq!(ids(&all), everybodys);
    // Page by page.
    let first = world.get("/api/v1/sessions?limit=3", &ann).await.ok();
    assert_eq!(ids(&first), everybodys[..3]);
    let rest = format!("{path}?limit=3&cursor={}", at(&first, "/next_cursor"));
    let rest = world.get(&rest, &ann).await.ok();
    assert_eq!(ids(&rest), everybodys[3..]);
    assert_eq!(rest["next_cursor"], serde_json::Value::Null);
    world.get("/api/v1/sessions?cursor=x", &ann).await.refused(400, "field_invalid");
    // What is closed is none any more, nor what came from it.
    let close = format!("{path}/{}", own[0]);
    assert_eq!(world.call("DELETE", &close, &bot, &[], "").await.status, 204);
    assert_eq!(ids(&world.get(path, &bot).await.ok()), own[1..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_kill_took_back_reads_as_rejected_after_the_lift() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    world.key("service:gate", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let held = world.decide(&bot, "h", &format!(r#"{BIG},"audience":"service:gate""#)).await;
    let vote = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
    let echo = format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest"));
    world.post(&vote, &olga, &echo).await.ok();
    let path = format!("/api/v1/decisions/{}", at(&held, "/id"));
    let nonce = [("placet-attempt-nonce", "0123456789abcdef")];
    let collected = world.call("GET", &path, &bot, &nonce, "").await.ok();
    assert_eq!(at(&collected, "/approval/state"), "consumed", "{collected}");
    let status = format!("/approval/status/{}", at(&held, "/approval/id"));
    assert_eq!(at(&world.get(&status, &bot).await.ok(), "/status"), "approved");
    let scope = r#"{"scope":"workspace"}"#;
    world.post("/api/v1/kill", &olga, scope).await.ok();
    assert_ne!(at(&world.get(&status, &bot).await.ok(), "/status"), "approved");
    world.post("/api/v1/lift", &world.admin, scope).await.ok();
    assert_eq!(world.post("/api/v1/lift", &olga, scope).await.ok()["lifted"], true);
    let after = world.get(&status, &bot).await.ok();
    assert_eq!(at(&after, "/status"), "rejected", "{after}");
    assert!(at(&after, "/reason").contains("revoked"), "{after}");
}
