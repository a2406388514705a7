//! What other documents would change, over HTTP: diff and backtest within their bounds, and decisions of the log
//! explained under the bundle that they were made under.

use crate::policies::{POLICIES, body, vote};
use crate::world::{BIG, BUNDLE, World, at};
use serde_json::{Value, json};

const DIFF: &str = "/api/v1/policies/diff";
const BACKTEST: &str = "/api/v1/policies/backtest";
const EXPLAIN: &str = "/api/v1/policies/explain";

fn sources(text: &str) -> Value {
    json!([{"name": "policy.yaml", "text": text}])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bundle_in_force_is_compared_with_documents() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let same = json!({"after": sources(BUNDLE)});
    let same = world.post(DIFF, &bot, &same.to_string()).await.ok();
    assert_eq!((&same["ok"], at(&same, "/diff/coverage/kind")), (&json!(true), "identical"));
    let next = BUNDLE.replace(
        "  - id: never",
        "  - id: other\n    match: { surfaces: [\"other\"] }\n    decision: allow\n  - id: never",
    );
    let found = world.post(DIFF, &bot, &json!({"after": sources(&next)}).to_string()).await.ok();
    let changes = found["diff"]["changes"].as_array().unwrap();
    assert!(changes.iter().any(|it| it["from"] == "SILENCE" && it["to"] == "PERMIT"), "{found}");
    assert_eq!(at(&found, "/diff/changes/0/witnesses/0/request/surface"), "other");
    // Both given, the other way round.
    let both = json!({"before": sources(&next), "after": sources(BUNDLE)}).to_string();
    let back = world.post(DIFF, &bot, &both).await.ok();
    assert_eq!(back["diff"]["before"], found["diff"]["after"]);
    let changes = back["diff"]["changes"].as_array().unwrap();
    assert!(changes.iter().any(|it| it["from"] == "PERMIT" && it["to"] == "SILENCE"), "{back}");

    // As lines, for people.
    let plain = [("accept", "text/plain")];
    let after = json!({"after": sources(&next)}).to_string();
    let lines = world.call("POST", DIFF, &bot, &plain, &after).await;
    assert_eq!(lines.status, 200, "{lines:?}");
    assert!(lines.text.contains("SILENCE") && lines.text.contains("other"), "{lines:?}");

    let broken = json!({"after": sources("rules: [")}).to_string();
    let broken = world.post(DIFF, &bot, &broken).await.ok();
    assert_eq!((&broken["ok"], broken.get("diff")), (&json!(false), None));
    assert_ne!(broken["findings"], json!([]));
    for (body, field) in [
        (json!({}), "/after"),
        (json!({"after": []}), "/after"),
        (json!({"after": sources(BUNDLE), "samples": 20_001}), "/samples"),
        (json!({"after": sources(BUNDLE), "witnesses": 0}), "/witnesses"),
    ] {
        let refused = world.post(DIFF, &bot, &body.to_string()).await;
        let status = if body == json!({"after": []}) { 422 } else { 400 };
        assert_eq!((refused.status, at(&refused.json(), "/field")), (status, field), "{body}");
    }
    // Nothing to compare with.
    let bare = World::without_bundle().await;
    let alone = json!({"after": sources(BUNDLE)}).to_string();
    let refused = bare.post(DIFF, &bare.admin, &alone).await.refused(400, "field_invalid");
    assert_eq!(at(&refused, "/field"), "/before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_workspace_is_decided_again() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    for n in 0..5 {
        world.decide(&bot, &format!("d{n}"), "").await;
    }
    let held = world.decide(&bot, "h", BIG).await;
    let size = world.size();
    let ask = |more: Value| {
        let mut body = more;
        if body.get("sources").is_none() {
            body["sources"] = sources(&BUNDLE.replace("max_retries: 1", "max_retries: 0"));
        }
        let (world, ann) = (&world, &ann);
        async move { world.post(BACKTEST, ann, &body.to_string()).await }
    };
    // Samples are of everybody's decisions.
    let body = json!({"sources": sources(BUNDLE)}).to_string();
    world.post(BACKTEST, &bot, &body).await.refused(403, "role_missing");
    let same = ask(json!({"sources": sources(BUNDLE)})).await.ok();
    assert_eq!((&same["ok"], &same["complete"]), (&json!(true), &json!(true)), "{same}");
    assert_eq!(same["report"]["evaluated"], 6, "{same}");
    assert_eq!(same["report"]["changes"], json!([]));
    assert_eq!(same["entries"].as_u64(), Some(size));

    let changed = ask(json!({"samples": 2})).await.ok();
    let change = &changed["report"]["changes"][0];
    assert_eq!(
        (&change["count"], &change["from"], &change["to"]),
        (&json!(5), &json!("PERMIT"), &json!("PERMIT")),
        "{changed}"
    );
    assert_eq!(change["samples"].as_array().unwrap().len(), 2);
    let lines = json!({"sources": sources(BUNDLE)}).to_string();
    let lines = world.call("POST", BACKTEST, &ann, &[("accept", "text/plain")], &lines).await;
    assert!(lines.text.contains("6 decided again, 6 unchanged"), "{lines:?}");
    let none = ask(json!({"surface": "other"})).await.ok();
    assert_eq!(none["report"]["ok"], false, "nothing was compared");
    let past = ask(json!({"until": "2020-01-01T00:00:00Z"})).await.ok();
    assert_eq!(past["report"]["decisions"], 0);
    assert_eq!(world.size(), size, "nothing is recorded");
    assert_eq!(at(&held, "/outcome"), "REQUIRE_APPROVAL");

    let broken = ask(json!({"sources": sources("rules: [")})).await.ok();
    assert_eq!((&broken["ok"], broken.get("report")), (&json!(false), None));
    for (more, field) in [
        (json!({"since": "yesterday"}), "/since"),
        (json!({"samples": 0}), "/samples"),
        (json!({"sources": []}), "/sources"),
    ] {
        let refused = ask(more.clone()).await;
        let status = if field == "/sources" { 422 } else { 400 };
        assert_eq!((refused.status, at(&refused.json(), "/field")), (status, field), "{more}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_explained_by_the_bundle_that_it_was_made_under() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let other = world.key("agent:other", &[]).await;
    let eve = world.key("human:eve", &["auditor"]).await;
    let never = r#","risk_tags":["never"]"#;
    let decided = world.decide(&bot, "d", never).await;
    let id = at(&decided, "/id").to_owned();
    let gone = format!("{never},\"subjects\":[\"customer-1\"]");
    let gone = at(&world.decide(&bot, "e", &gone).await, "/id").to_owned();
    let erase = json!({"subject": "customer-1", "reason": "request-of-the-person"}).to_string();
    world.post("/api/v1/audit/erase", &ann, &erase).await.ok();
    let made = r#"{"actor":"human:bea","environment":"production","roles":["admin"]}"#;
    let bea = world.post("/api/v1/keys", &ann, made).await.json();
    let bea = at(&bea, "/key").to_owned();
    let explain = |key: &str, id: &str| {
        let (world, key) = (&world, key.to_owned());
        let body = json!({"decision": id}).to_string();
        async move { world.post(EXPLAIN, &key, &body).await }
    };
    // Under another bundle it would be permitted; it was not made under that one.
    let next = BUNDLE.replace("decision: deny", "decision: allow");
    let held = world.post(POLICIES, &ann, &body(&next, json!({"idempotency_key": "p"}))).await;
    assert_eq!(at(&vote(&world, &held, &bea).await.ok(), "/state"), "consumed");
    for key in [&bot, &eve] {
        let found = explain(key, &id).await.ok();
        assert_eq!((at(&found, "/outcome"), &found["rules"]), ("DENY", &json!(["never"])));
        assert_eq!(at(&found, "/recorded/decision"), id);
        assert_eq!(found["recorded"]["agrees"], true, "{found}");
        assert_eq!(found["recorded"].get("erased"), None);
        assert_eq!(found["trace"]["policy"], decided["policy"], "{decided}");
        let rules = found["trace"]["rules"].as_array().unwrap();
        let never = rules.iter().find(|rule| rule["id"] == "never").unwrap();
        assert_eq!((&never["matched"], &never["decision"]), (&json!(true), &json!("deny")));
        assert_ne!(never["clauses"], json!([]), "what it found is told");
    }
    explain(&other, &id).await.refused(404, "not_found");
    explain(&eve, "dec_1").await.refused(400, "field_invalid");
    let both = json!({"decision": id, "request": {}}).to_string();
    let refused = world.post(EXPLAIN, &eve, &both).await.refused(400, "field_invalid");
    assert_eq!(at(&refused, "/field"), "/request");

    // Erased: what the entry says is said, and what is gone as well.
    let found = explain(&eve, &gone).await.ok();
    assert_eq!((at(&found, "/outcome"), &found["rules"]), ("DENY", &json!(["never"])));
    assert!(at(&found, "/recorded/erased").contains("payload"), "{found}");
    assert_eq!(found["recorded"].get("agrees"), None);
    let rules = found["trace"]["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["id"] == "never" && rule["clauses"] == json!([])));
    assert!(!found.to_string().contains("customer-1"), "{found}");
}
