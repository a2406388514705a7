//! Writing policy over HTTP: formatting, importing, schemas. Nothing comes into force here.

use crate::world::{World, at};
use serde_json::{Value, json};

const IMPORT: &str = "/api/v1/policies/import";
const FORMAT: &str = "/api/v1/policies/format";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_formatted_each_by_itself() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let good = "rules:\n - {decision: allow, match: {surfaces: [a]}, id: x}\nversion: v1\n";
    let body = json!({"sources": [
        {"name": "good.yaml", "text": good},
        {"name": "bad.yaml", "text": "version: v1\nrules: [\n"},
    ]});
    let done = world.post(FORMAT, &bot, &body.to_string()).await.ok();
    assert_eq!(done["ok"], false, "{done}");
    assert_eq!(at(&done, "/sources/0/name"), "good.yaml");
    assert_eq!(done["sources"][0]["changed"], true);
    assert_eq!(done["sources"].as_array().unwrap().len(), 1);
    assert_eq!(at(&done, "/findings/0/file"), "bad.yaml");
    // What it wrote it leaves as it is.
    let text = at(&done, "/sources/0/text");
    let body = json!({"sources": [{"name": "good.yaml", "text": text}]});
    let again = world.post(FORMAT, &bot, &body.to_string()).await.ok();
    assert_eq!((&again["ok"], &again["sources"][0]["changed"]), (&json!(true), &json!(false)));
    let none = world.post(FORMAT, &bot, "{}").await;
    assert_eq!((none.status, at(&none.json(), "/field")), (400, "/sources"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_the_job_gateway_is_imported() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    // The first of these rules would have held what the second one denies.
    let file = "rules:
  - id: hold
    match: { topics: [\"job.write.*\"] }
    decision: require_approval
  - id: deny
    match: { topics: [\"job.write.*\"], risk_tags: [destructive] }
    decision: deny
";
    let source = |text: &str| json!({"name": "policy.yaml", "text": text});
    let done = world.post(IMPORT, &bot, &json!({"source": source(file)}).to_string()).await.ok();
    assert_eq!(done["ok"], true, "{done}");
    assert!(at(&done, "/document").contains("id: \"hold\""), "{done}");
    assert_eq!(at(&done, "/differences/0/first"), "hold");
    assert_eq!(at(&done, "/differences/0/strictest_wins"), "DENY");
    let refused = world.post(IMPORT, &bot, &json!({"source": source("a: [")}).to_string()).await;
    let refused = refused.ok();
    assert_eq!(refused["ok"], false);
    assert_eq!(refused["document"], Value::Null);
    assert_ne!(refused["findings"], json!([]));
    let star = json!({"source": source(file), "star": "glob"});
    let star = world.post(IMPORT, &bot, &star.to_string()).await;
    assert_eq!((star.status, at(&star.json(), "/field")), (400, "/star"), "{star:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_are_those_of_the_command_line() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let schemas = world.get("/api/v1/policies/schemas", &bot).await.ok();
    assert!(schemas["policy"]["properties"]["rules"].is_object());
    let kinds = schemas["kinds"].as_object().unwrap();
    let all: Vec<_> = placet_policy::schemas().map(|(name, _)| name).collect();
    assert_eq!(kinds.len(), all.len());
    for kind in all {
        assert!(kinds[kind]["properties"][kind].is_object(), "{kind}");
    }
    assert_eq!(world.get("/api/v1/policies/schemas", "key_x.y").await.status, 401);
}

/// No documents are no clean bundle; a question needs no idempotency key, since nothing is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_linted_as_clean_and_nothing_is_bound_by_a_question() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    for path in ["lint", "test", "format"] {
        let path = format!("/api/v1/policies/{path}");
        let problem = world.post(&path, &bot, r#"{"sources": []}"#).await;
        problem.refused(422, "bundle_empty");
    }
    let body = json!({"request": {"surface": "payments.transfer", "action": "create"}});
    let done = world.post("/api/v1/policies/explain", &bot, &body.to_string()).await.ok();
    assert_eq!(done["ok"], true, "{done}");
    // Names that nobody declares are found over HTTP as well.
    let text = "version: v1\nsurfaces: { x.y: {} }\nrules: [{ id: a, match: { surfaces: [x.z] }, decision: allow }]\n";
    let body = json!({"sources": [{"name": "a.yaml", "text": text}]});
    let done = world.post("/api/v1/policies/lint", &bot, &body.to_string()).await.ok();
    let findings = done["findings"].as_array().unwrap();
    assert!(findings.iter().any(|it| it["code"] == "unknown_surface"), "{done}");
}
