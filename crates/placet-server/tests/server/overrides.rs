//! Scopes that people stop over HTTP: how they are named, what they stop, and what a restart knows of them.

use crate::world::{BIG, BUNDLE, World, at};
use serde_json::json;

const PATH: &str = "/api/v1/overrides";
const LIFT: &str = "/api/v1/overrides:lift";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_scope_denies_its_own_and_nothing_else_also_after_a_restart() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let sub = world.key("agent:sub", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let crm = r#","capability":"crm""#;
    let open = world.decide(&bot, "o", r#","audience":"service:gate","capability":"crm""#).await;
    let held = world.decide(&bot, "h", &format!("{BIG}{crm}")).await;
    let body = r#"{"scope":"capability","value":"crm","mode":"kill"}"#;
    let stopped = world.post(PATH, &olga, body).await.ok();
    assert_eq!(at(&stopped, "/scope"), "capability:crm");
    assert_eq!((at(&stopped, "/mode"), at(&stopped, "/source")), ("kill", "api"));
    let denied = world.decide(&bot, "a", crm).await;
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_capability");
    assert_eq!(at(&world.decide(&bot, "b", "").await, "/outcome"), "PERMIT");
    let consume = format!("/api/v1/decisions/{}/consume", at(&open, "/id"));
    world.post(&consume, &gate, "").await.refused(409, "killed");
    let shown = world.get(&format!("/api/v1/decisions/{}", at(&open, "/id")), &bot).await.ok();
    assert_eq!(at(&shown, "/permit/state"), "revoked");
    assert_eq!(at(&shown, "/reasons/0/code"), "killed_capability");
    // An actor stops whoever acts for it as well, and a run by whatever name it has.
    for scope in [r#""scope":"actor:agent:boss""#, r#""scope":"execution","value":"nightly""#] {
        world.post(PATH, &olga, &format!(r#"{{{scope},"mode":"kill"}}"#)).await.ok();
    }
    let denied = world.decide(&sub, "c", r#","on_behalf_of":["agent:boss"]"#).await;
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_actor");
    let denied = world.decide(&sub, "d", r#","execution":"nightly""#).await;
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_execution");
    let world = world.restart().await;
    let listed = world.get(PATH, &bot).await.ok();
    let scopes: Vec<&str> =
        listed["overrides"].as_array().unwrap().iter().map(|it| at(it, "/scope")).collect();
    assert_eq!(scopes.len(), 3, "{listed}");
    assert_eq!(scopes[..2], ["actor:agent:boss", "capability:crm"]);
    // What the list shows is a name that the same calls take.
    assert!(scopes[2].starts_with("execution:") && !scopes[2].contains("nightly"), "{scopes:?}");
    let denied = world.decide(&bot, "e", crm).await;
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_capability");
    for scope in scopes {
        let body = json!({ "scope": scope }).to_string();
        let asked = world.post(LIFT, &olga, &body).await.ok();
        assert_eq!(asked["lifted"], false, "{asked}");
        assert!(asked["override"]["lift_requested_by"].is_string(), "{asked}");
        world.post(LIFT, &olga, &body).await.refused(409, "second_person_needed");
        assert_eq!(world.post(LIFT, &ann, &body).await.ok()["lifted"], true);
        world.post(LIFT, &ann, &body).await.refused(409, "not_tripped");
    }
    assert_eq!(at(&world.decide(&bot, "f", crm).await, "/outcome"), "PERMIT");
    // What was open stays ended, and says by what; what was held may still be approved.
    world.post(&consume, &gate, "").await.refused(409, "permit_revoked");
    let approve = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
    let echo = format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest"));
    world.post(&approve, &olga, &echo).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_that_mean_nothing_are_refused_by_field() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let table = [
        (r#"{"mode":"kill"}"#, "field_missing", "/scope"),
        (r#"{"scope":"planet","mode":"kill"}"#, "field_invalid", "/scope"),
        (r#"{"scope":"capability","mode":"kill"}"#, "field_missing", "/value"),
        (r#"{"scope":"workspace","value":"x","mode":"kill"}"#, "field_invalid", "/value"),
        (r#"{"scope":"capability:x","value":"x","mode":"kill"}"#, "field_invalid", "/value"),
        (r#"{"scope":"capability","value":"a b","mode":"kill"}"#, "field_invalid", "/value"),
        (r#"{"scope":"actor","value":"bot","mode":"kill"}"#, "field_invalid", "/value"),
        (r#"{"scope":"surface","value":"a..b","mode":"kill"}"#, "field_invalid", "/value"),
        (r#"{"scope":"capability:x"}"#, "field_missing", "/mode"),
        (r#"{"scope":"capability:x","mode":"stop"}"#, "field_invalid", "/mode"),
        (r#"{"scope":"role:x","mode":"kill"}"#, "field_invalid", "/mode"),
        (r#"{"scope":"execution:x","mode":"freeze"}"#, "field_invalid", "/mode"),
        (r#"{"scope":"actor:agent:x","mode":"disable"}"#, "field_invalid", "/mode"),
    ];
    for (body, code, field) in table {
        let problem = world.post(PATH, &ann, body).await.refused(400, code);
        assert_eq!(at(&problem, "/field"), field, "{body}");
    }
    let admin = r#"{"scope":"role:admin","mode":"revoke"}"#;
    world.post(PATH, &ann, admin).await.refused(400, "override_invalid");
    assert_eq!(world.get(PATH, &ann).await.ok()["overrides"], json!([]));
    // Nothing that was refused has stopped anything.
    let bot = world.key("agent:bot", &[]).await;
    assert_eq!(at(&world.decide(&bot, "a", r#","capability":"x""#).await, "/outcome"), "PERMIT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_a_revoked_role_until_two_people_give_it_back() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let olga = world.key("human:olga", &["operator"]).await;
    let aud = world.key("human:aud", &["auditor"]).await;
    let bot = world.key("agent:bot", &["auditor"]).await;
    let held = world.decide(&world.key("agent:a", &[]).await, "h", BIG).await;
    let bea = world.key("human:bea", &["admin"]).await;
    world.get("/api/v1/keys", &aud).await.ok();
    let of = |role: &str| format!(r#"{{"scope":"role:{role}","mode":"revoke"}}"#);
    world.post(PATH, &ann, &of("auditor")).await.ok();
    world.get("/api/v1/keys", &aud).await.refused(403, "role_missing");
    let denied = world.decide(&bot, "a", "").await;
    assert_eq!(at(&denied, "/reasons/0/code"), "role_revoked");
    world.post(PATH, &ann, &of("operator")).await.ok();
    let approve = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
    let echo = format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest"));
    world.post(&approve, &olga, &echo).await.refused(403, "role_missing");
    world
        .post(PATH, &olga, r#"{"scope":"workspace","mode":"kill"}"#)
        .await
        .refused(403, "role_missing");
    for role in ["auditor", "operator"] {
        let body = format!(r#"{{"scope":"role","value":"{role}"}}"#);
        world.post(LIFT, &olga, &body).await;
        assert_eq!(world.post(LIFT, &ann, &body).await.ok()["lifted"], false);
        assert_eq!(world.post(LIFT, &bea, &body).await.ok()["lifted"], true);
    }
    world.get("/api/v1/keys", &aud).await.ok();
    world.post(&approve, &olga, &echo).await;
    let again = world.decide(&bot, "a", "").await;
    assert_eq!(at(&again, "/outcome"), "PERMIT", "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_named_to_those_who_oversee_and_what_they_stop_is_lifted_by_its_entry() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    world.key("human:bob", &["operator"]).await;
    let body = r#"{"scope":"actor:human:bob","mode":"kill"}"#;
    let stopped = world.post(PATH, &olga, body).await.ok();
    assert_eq!(at(&stopped, "/name"), "actor:human:bob");
    let scope = at(&stopped, "/scope").to_owned();
    assert!(scope.starts_with("actor:human:") && !scope.contains("bob"), "{scope}");
    world.post(PATH, &olga, r#"{"scope":"surface:a.b","mode":"freeze"}"#).await.ok();
    let listed = |found: serde_json::Value| {
        let rows = found["overrides"].as_array().unwrap().clone();
        rows.into_iter().map(|it| (at(&it, "/scope").to_owned(), it["name"].clone()))
    };
    let surface = ("surface:a.b".to_owned(), json!(null));
    let seen: Vec<_> = listed(world.get(PATH, &ann).await.ok()).collect();
    assert_eq!(seen, [(scope.clone(), json!("actor:human:bob")), surface.clone()]);
    let seen: Vec<_> = listed(world.get(PATH, &bot).await.ok()).collect();
    assert_eq!(seen, [(scope.clone(), json!(null)), surface]);

    let index = stopped["index"].as_u64().unwrap();
    let report = world.get(&format!("{PATH}/{index}"), &ann).await.ok();
    assert_eq!((at(&report, "/name"), at(&report, "/by")), ("actor:human:bob", "human:olga"));
    for (body, status, code) in [
        (r#"{"index":"1"}"#.to_owned(), 400, "field_invalid"),
        (r#"{"index":-1}"#.to_owned(), 400, "field_invalid"),
        (format!(r#"{{"index":{index},"scope":"workspace"}}"#), 400, "field_invalid"),
        (format!(r#"{{"index":{index},"value":"x"}}"#), 400, "field_invalid"),
        (r#"{"index":99999}"#.to_owned(), 404, "not_found"),
        ("{}".to_owned(), 400, "field_missing"),
    ] {
        world.post(LIFT, &olga, &body).await.refused(status, code);
    }
    let body = json!({ "index": index }).to_string();
    let asked = world.post(LIFT, &olga, &body).await.ok();
    assert_eq!(at(&asked, "/override/lift_requested_by"), "human:olga");
    world.post(LIFT, &olga, &body).await.refused(409, "second_person_needed");
    assert_eq!(world.post(LIFT, &ann, &body).await.ok()["lifted"], true);
    // By the pseudonym that everybody is shown as well.
    world.post(PATH, &olga, r#"{"scope":"actor:human:bob","mode":"freeze"}"#).await.ok();
    let body = json!({ "scope": scope }).to_string();
    world.post(LIFT, &ann, &body).await.ok();
    assert_eq!(world.post(LIFT, &olga, &body).await.ok()["lifted"], true);
    // The widest ones alike, and nobody but those who oversee is told who asks.
    let killed = world.post("/api/v1/kill", &olga, r#"{"scope":"workspace"}"#).await.ok();
    let body = json!({"index": killed["workspace"]["index"]}).to_string();
    world.post(LIFT, &olga, &body).await.ok();
    let by = async |key: &str| {
        let state = world.get("/api/v1/kill", key).await.ok();
        at(&state, "/workspace/lift_requested_by").to_owned()
    };
    assert_eq!(by(&ann).await, "human:olga");
    assert!(by(&bot).await.starts_with("human:") && by(&bot).await != "human:olga");
    assert_eq!(world.post(LIFT, &ann, &body).await.ok()["lifted"], true);
    world
        .post("/api/v1/kill", &ann, r#"{"scope":"surface:a.b"}"#)
        .await
        .refused(400, "field_invalid");
}

/// Container ids and the like have the form of a pseudonym; labels of jobs have any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_run_is_called_its_kill_stops_it() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let hex = "ab12".repeat(16);
    let job = format!("job_{}", "0a".repeat(16));
    let table = [
        ("execution", hex.as_str(), format!(r#","execution":"{hex}""#), "killed_execution"),
        ("job", hex.as_str(), format!(r#","labels":{{"job":"{hex}"}}"#), "killed_job"),
        ("job", "nightly run", r#","labels":{"job":"nightly run"}"#.to_owned(), "killed_job"),
        ("execution", job.as_str(), format!(r#","execution":"{job}""#), "killed_job"),
    ];
    for (row, (kind, value, more, code)) in table.iter().enumerate() {
        let body = json!({ "scope": kind, "value": value, "mode": "kill" }).to_string();
        world.post(PATH, &olga, &body).await.ok();
        let denied = world.decide(&bot, &format!("k{row}"), more).await;
        assert_eq!(at(&denied, "/reasons/0/code"), *code, "{value}");
        let body = json!({ "scope": kind, "value": value }).to_string();
        assert_eq!(world.post(LIFT, &olga, &body).await.ok()["lifted"], false, "{value}");
        assert_eq!(world.post(LIFT, &ann, &body).await.ok()["lifted"], true, "{value}");
        let again = world.decide(&bot, &format!("l{row}"), more).await;
        assert_eq!(at(&again, "/outcome"), "PERMIT", "{again}");
        assert_eq!(world.get(PATH, &ann).await.ok()["overrides"], json!([]), "{value}");
    }
    // A person by a name of that form.
    let person = world.key(&format!("human:{hex}"), &[]).await;
    let body = json!({ "scope": format!("actor:human:{hex}"), "mode": "kill" }).to_string();
    world.post(PATH, &olga, &body).await.ok();
    let denied = world.decide(&person, "p", "").await;
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_actor");
    let empty = r#"{"scope":"job","value":"","mode":"kill"}"#;
    assert_eq!(world.post(PATH, &ann, empty).await.status, 400);
    let long = json!({ "scope": "job", "value": "x".repeat(257), "mode": "kill" }).to_string();
    world.post(PATH, &ann, &long).await.refused(400, "field_invalid");
}

/// Also while the alias is the only name by which anybody asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_reaches_whatever_leads_to_what_it_stops() {
    let rule = r#"  - { id: route, match: { surfaces: ["alias.change"] }, decision: allow }"#;
    let world = World::with(Some(&format!("{BUNDLE}{rule}\n")), false, Default::default()).await;
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let set = async |name: &str, to: &str| {
        let body = json!({ "name": name, "to": to }).to_string();
        world.post("/api/v1/aliases", &bot, &body).await
    };
    set("prod", "model:m1").await.ok();
    set("front", "model:prod").await.ok();
    set("canary", "branch:b-2").await.ok();
    set("prod", "model:front").await.refused(409, "alias_chain");
    let named = r#","model":"front","audience":"service:gate""#;
    let open = world.decide(&bot, "o", named).await;
    let held = world.decide(&bot, "h", &format!(r#"{BIG},"model":"prod""#)).await;
    assert_eq!((at(&open, "/outcome"), at(&held, "/outcome")), ("PERMIT", "REQUIRE_APPROVAL"));
    let run = json!({"capability": "crm", "branch": "canary"}).to_string();
    let run = world.post("/api/v1/executions", &bot, &run).await;
    assert_eq!(run.status, 201, "{run:?}");
    let run = at(&run.json(), "/id").to_owned();
    let step = format!(r#","execution":"{run}","capability":"crm","branch":"canary""#);
    assert_eq!(at(&world.decide(&bot, "s1", &step).await, "/outcome"), "PERMIT");
    for scope in ["model:m1", "branch:b-2"] {
        let body = json!({ "scope": scope, "mode": "kill" }).to_string();
        world.post(PATH, &olga, &body).await.ok();
    }
    let shown = world.get(&format!("/api/v1/executions/{run}"), &bot).await.ok();
    assert_eq!(shown["state"], "killed", "{shown}");
    let asked = [
        (r#","model":"prod""#, "killed_model"),
        (r#","model":"front""#, "killed_model"),
        (r#","branch":"canary""#, "killed_branch"),
    ];
    for (more, code) in asked {
        let denied = world.decide(&bot, &more.replace('"', ""), more).await;
        assert_eq!(at(&denied, "/reasons/0/code"), code, "{denied}");
    }
    let consume = format!("/api/v1/decisions/{}/consume", at(&open, "/id"));
    world.post(&consume, &gate, "").await.refused(409, "killed");
    let shown = world.get(&format!("/api/v1/decisions/{}", at(&open, "/id")), &bot).await.ok();
    assert_eq!(at(&shown, "/permit/state"), "revoked");
    let approve = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
    let echo = json!({"action_digest": held["action_digest"]}).to_string();
    world.post(&approve, &olga, &echo).await;
    let again = world.decide(&bot, "h", &format!(r#"{BIG},"model":"prod""#)).await;
    assert_ne!(again["permit"]["state"], "granted", "{again}");
    // Nothing is led to it, and what leads there may be led elsewhere.
    for to in ["model:m1", "model:front", "branch:b-2"] {
        set("new", to).await.refused(409, "killed");
    }
    set("canary", "branch:b-1").await.ok();
    assert_eq!(at(&world.decide(&bot, "e", r#","branch":"canary""#).await, "/outcome"), "PERMIT");
    let world = world.restart().await;
    let denied = world.decide(&bot, "f", r#","model":"front""#).await;
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_model");
    assert_eq!(at(&world.decide(&bot, "g", r#","model":"m2""#).await, "/outcome"), "PERMIT");
}
