//! Every operation of the OpenAPI document is reached, and the committed document is fresh.

use crate::world::{BIG, World, at, request};
use placet_server::{OPERATIONS, openapi_json};
use serde_json::Value;
use tokio::io::AsyncReadExt;

#[test]
fn the_committed_document_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/openapi.json");
    if std::env::var_os("PLACET_BLESS").is_some() {
        std::fs::write(path, openapi_json()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == openapi_json(),
        "stale: run this test with PLACET_BLESS=1, which writes {path}"
    );
}

/// A bundle in its normal form.
const SHADOW: &str =
    r#"{"bundle":{"type":"placet/bundle/1","rules":[{"id":"a","match":{},"decision":"allow"}]}}"#;

/// A run asks for an approval.
const ASK: &str = r#"{"run_id":"r","phase_id":"p"}"#;

/// A gate was open.
const PASSAGE: &str = r#"{"surface":"payments.transfer","action":"create","reason":"no answer"}"#;

/// The member of a body that holds the documents of a policy.
const POLICY: &str = r#""sources":[{"name":"a.yaml","text":"version: v1\nrules: []\n"}]"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_reached() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let open = world.decide(&bot, "o", r#","audience":"service:gate""#).await;
    let mut held = Vec::new();
    for key in ["h1", "h2", "h3", "h4", "h5"] {
        held.push(world.decide(&bot, key, BIG).await);
    }
    let vote = |n: usize, verb: &str| {
        let id = at(&held[n], "/approval/id");
        let body = format!(r#"{{"action_digest":"{}"}}"#, at(&held[n], "/action_digest"));
        ("POST", format!("/api/v1/approvals/{id}/{verb}"), &olga, body)
    };
    let asked_for = |n: usize, verb: &str| {
        let id = at(&held[n], "/approval/id");
        let body = format!(r#"{{"action_digest":"{}"}}"#, at(&held[n], "/action_digest"));
        ("POST", format!("/approval/{verb}/{id}"), &olga, body)
    };
    let open = format!("/api/v1/decisions/{}", at(&open, "/id"));
    let batch = format!(r#"{{"requests":[{}]}}"#, request("b", ""));
    let key = r#"{"actor":"agent:new","environment":"production","roles":[]}"#;
    let scope = r#"{"scope":"workspace"}"#.to_owned();
    let pep = world.key("service:pep", &["gate"]).await;
    let asked = r#"{"subject":{"type":"agent","id":"bot"},"action":{"name":"a"},"resource":{"type":"r","id":"1"}}"#;
    let asked = asked.to_owned();
    let json = [("content-type", "application/json")];
    let none = String::new();
    let gone = format!("/api/v1/keys/{}", gate.split_once('.').unwrap().0);
    let get = |path: &str| ("GET", path.to_owned(), &ann, none.clone());
    let hold = r#"{"scope":"workspace","reason":"case-1"}"#;
    let placed = world.post("/api/v1/holds", &ann, hold).await.json();
    let released = format!("/api/v1/holds/{}", at(&placed, "/id"));
    let withdrawn = format!("/api/v1/decisions/{}/withdraw", at(&held[2], "/id"));
    let policy = |n: u32| {
        let text = format!(
            "version: v1\nrules:\n  - id: r{n}\n    match: {{ surfaces: [\"x.y\"] }}\n    decision: allow\n"
        );
        serde_json::json!({"sources": [{"name": "a.yaml", "text": text}]}).to_string()
    };
    let path = "/api/v1/policies";
    let first = world.post(path, &ann, &policy(1)).await.ok();
    let left = at(&first, "/bundle").to_owned();
    let back = world.post("/api/v1/policies/rollback", &olga, "{}").await.ok();
    let review = format!("{path}/reviews/{}", at(&back, "/decision"));
    let release = format!(r#"{{"decision":"{}"}}"#, at(&first, "/decision"));
    let author = format!(r#"{{"key":"{}"}}"#, world.root().vkey());
    let former = format!(r#"{{"vkey":"{}"}}"#, world.root().vkey());
    let child = world.post("/api/v1/sessions", &bot, r#"{"actor":"agent:child"}"#).await;
    let closed = format!("/api/v1/sessions/{}", at(&child.json(), "/id"));
    let until = world.plane.now().plus(3_600_000).rfc3339();
    let lent = format!(r#"{{"to":"human:olga","roles":["admin"],"until":"{until}"}}"#);
    let given = world.post("/api/v1/delegations", &ann, &lent).await;
    let ended = format!("/api/v1/delegations/{}", at(&given.json(), "/id"));
    let drilled = world.post("/api/v1/overrides:drill", &ann, &scope).await.ok();
    let drilled = drilled["index"].as_u64().unwrap();
    let excepted = r#"{"surface":"x.y","actor":"agent:bot","waives":["floor"],"reason":"case-1"}"#;
    let exception = world.post("/api/v1/exceptions", &ann, excepted).await.json();
    let exception = format!("/api/v1/exceptions/{}", at(&exception, "/id"));
    let seen = r#"{"justified":true,"note":"seen"}"#.to_owned();
    let sha = format!("sha256:{:064x}", 7);
    let piece = serde_json::json!({"type": "review", "digest": sha, "subject": sha}).to_string();
    let made = world.post("/api/v1/evidence", &bot, &piece).await;
    let added = format!("/api/v1/evidence/{}", at(&made.json(), "/id"));
    let (signer, _) = crate::evidence::issuer("ci", 1);
    let signs = format!(r#"{{"issuer":"service:ci","key":"{signer}"}}"#);
    let begun = world.post("/api/v1/executions", &bot, r#"{"capability":"c"}"#).await.json();
    let running = format!("/api/v1/executions/{}", at(&begun, "/id"));
    let calls = vec![
        ("POST", "/api/v1/decisions:batch".to_owned(), &bot, batch),
        ("GET", open.clone(), &bot, none.clone()),
        ("POST", format!("{open}/consume"), &gate, none.clone()),
        ("POST", format!("{open}/outcome"), &gate, r#"{"result":"succeeded"}"#.to_owned()),
        get(&open.replace("decisions", "receipts")),
        vote(0, "approve"),
        vote(1, "reject"),
        ("POST", withdrawn, &bot, none.clone()),
        get("/api/v1/traces/x"),
        get("/api/v1/audit"),
        get("/api/v1/approvals"),
        get(&format!("/api/v1/approvals/{}", at(&held[0], "/approval/id"))),
        ("POST", "/approval/request".to_owned(), &bot, ASK.to_owned()),
        ("POST", "/api/v1/jobs".to_owned(), &bot, r#"{"topic":"job.read"}"#.to_owned()),
        get(&format!("/approval/status/{}", at(&held[0], "/approval/id"))),
        asked_for(3, "approve"),
        asked_for(4, "reject"),
        get("/governance/pending"),
        get("/governance/history"),
        get(&format!("/governance/request/{}", at(&held[0], "/approval/id"))),
        get("/api/v1/checkpoint"),
        get("/log/main/checkpoint"),
        get("/log/main/tile/entries/000.p/1"),
        get("/log/main/consistency/1/1"),
        get("/api/v1/holds"),
        ("DELETE", released, &ann, none.clone()),
        ("POST", "/api/v1/audit/erase".to_owned(), &ann, r#"{"before":"1h"}"#.to_owned()),
        get("/api/v1/surfaces"),
        get("/api/v1/sessions"),
        get("/api/v1/kill"),
        ("POST", format!("{running}/end"), &bot, r#"{"state":"failed"}"#.to_owned()),
        ("POST", "/api/v1/kill".to_owned(), &ann, scope.clone()),
        ("POST", "/api/v1/lift".to_owned(), &ann, scope.clone()),
        ("POST", "/api/v1/lift".to_owned(), &olga, scope),
        get("/api/v1/executions"),
        get(&running),
        ("POST", "/api/v1/executions".to_owned(), &bot, r#"{"capability":"c"}"#.to_owned()),
        get(&format!("/api/v1/overrides/{drilled}")),
        ("POST", format!("/api/v1/overrides/{drilled}/acknowledge"), &bot, none.clone()),
        ("POST", "/api/v1/overrides:drill".to_owned(), &ann, r#"{"scope":"workspace"}"#.to_owned()),
        get("/api/v1/overrides"),
        (
            "POST",
            "/api/v1/overrides".to_owned(),
            &ann,
            r#"{"scope":"capability:x","mode":"kill"}"#.to_owned(),
        ),
        (
            "POST",
            "/api/v1/overrides:lift".to_owned(),
            &ann,
            r#"{"scope":"capability:x"}"#.to_owned(),
        ),
        get("/api/v1/keys"),
        ("POST", "/api/v1/keys".to_owned(), &ann, key.to_owned()),
        ("DELETE", gone, &ann, none.clone()),
        ("POST", "/api/v1/policies/lint".to_owned(), &bot, format!("{{{POLICY}}}")),
        ("POST", "/api/v1/policies/test".to_owned(), &bot, format!("{{{POLICY}}}")),
        (
            "POST",
            "/api/v1/policies/explain".to_owned(),
            &bot,
            format!(r#"{{{POLICY},"request":{}}}"#, request("e", "")),
        ),
        (
            "POST",
            "/api/v1/policies/diff".to_owned(),
            &bot,
            format!("{{{}}}", POLICY.replace("sources", "after")),
        ),
        ("POST", "/api/v1/policies/backtest".to_owned(), &olga, format!("{{{POLICY}}}")),
        ("POST", "/api/v1/policies/format".to_owned(), &bot, format!("{{{POLICY}}}")),
        (
            "POST",
            "/api/v1/policies/import".to_owned(),
            &bot,
            r#"{"source":{"name":"a.yaml","text":"rules: []\n"}}"#.to_owned(),
        ),
        get("/api/v1/policies/schemas"),
        ("POST", "/api/v1/sessions".to_owned(), &bot, r#"{"actor":"agent:child"}"#.to_owned()),
        get("/api/v1/sessions/current"),
        ("DELETE", closed, &bot, none.clone()),
        get("/api/v1/delegations"),
        ("POST", "/api/v1/delegations".to_owned(), &ann, lent),
        ("DELETE", ended, &ann, none.clone()),
        get("/api/v1/exceptions"),
        ("POST", "/api/v1/exceptions".to_owned(), &ann, excepted.to_owned()),
        get(&exception),
        ("POST", format!("{exception}/close"), &ann, none.clone()),
        ("POST", format!("{exception}/review"), &olga, seen),
        get("/api/v1/workspaces"),
        ("POST", "/api/v1/workspaces".to_owned(), &ann, r#"{"name":"w","admin":"human:w"}"#.into()),
        ("POST", "/api/v1/clock/confirm".to_owned(), &ann, none.clone()),
        ("POST", "/api/v1/signers/rotate".to_owned(), &ann, none.clone()),
        ("POST", "/api/v1/signers/revoke".to_owned(), &ann, former),
        ("POST", "/api/v1/audit/reindex".to_owned(), &ann, none.clone()),
        ("POST", "/access/v1/evaluation".to_owned(), &bot, asked.clone()),
        ("POST", "/access/v1/evaluations".to_owned(), &bot, asked.clone()),
        ("POST", "/access/v1/search/resource".to_owned(), &bot, asked.clone()),
        ("POST", "/access/v1/search/action".to_owned(), &bot, asked.clone()),
        ("POST", "/access/v1/search/subject".to_owned(), &pep, asked),
        get("/.well-known/authzen-configuration"),
        get(path),
        get("/api/v1/policies/current"),
        get(&format!("{path}/{left}")),
        ("POST", "/api/v1/policies/release".to_owned(), &ann, release),
        ("POST", review, &ann, none.clone()),
        ("POST", format!("{path}/{left}/withdraw"), &ann, r#"{"reason":"case-1"}"#.to_owned()),
        ("POST", "/api/v1/policies/authors".to_owned(), &ann, author.clone()),
        ("POST", "/api/v1/policies/authors/revoke".to_owned(), &ann, author),
        get("/api/v1/policies/shadow"),
        ("POST", "/api/v1/policies/shadow".to_owned(), &ann, SHADOW.to_owned()),
        ("DELETE", "/api/v1/policies/shadow".to_owned(), &ann, none.clone()),
        get("/.well-known/placet-keys"),
        get("/.well-known/placet-handovers"),
        get("/api/v1/evidence"),
        ("POST", "/api/v1/evidence".to_owned(), &bot, piece),
        get(&added),
        ("POST", format!("{added}/revoke"), &bot, r#"{"reason":"case-1"}"#.to_owned()),
        get("/api/v1/evidence/keys"),
        ("POST", "/api/v1/evidence/keys".to_owned(), &ann, signs.clone()),
        ("POST", "/api/v1/evidence/keys/revoke".to_owned(), &ann, signs),
        get("/api/v1/releases"),
        get("/api/v1/aliases"),
        get("/api/v1/outbox"),
        get("/healthz"),
        get("/readyz"),
        get("/metrics"),
        get("/api/v1/metrics/governance?window=24h"),
        get("/api/v1/coverage?since=24h"),
        ("POST", "/api/v1/passages".to_owned(), &bot, PASSAGE.to_owned()),
        get("/openapi.json"),
    ];
    for (method, path, key, body) in calls {
        let answer = world.call(method, &path, key, &json, &body).await;
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
    }
    for path in ["/api/v1/events", "/api/v1/overrides/stream"] {
        let mut stream = world.send("GET", path, &ann, &[], "").await;
        assert!(stream.read(&mut [0; 12]).await.unwrap() > 0);
    }
    let metrics = world.get("/metrics", "").await.text;
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            operations += 1;
            // It takes a channel whose peer fails: `channels::outage` reaches it.
            // Releases and aliases take a bundle that grants them: `releases` reaches them.
            let other = ["/api/v1/releases/{name}", "/api/v1/aliases/{name}"].contains(&&**path)
                || (method == "post" && ["/api/v1/releases", "/api/v1/aliases"].contains(&&**path));
            if path.ends_with("/replay") || other {
                continue;
            }
            let method = method.to_uppercase();
            // The router's mark for the rest of a path stands in the metrics.
            let path = path.replace("{tile}", "{*tile}");
            let line = format!("{{method=\"{method}\",path=\"{path}\",status=\"20");
            assert!(metrics.contains(&line), "{method} {path} was not reached");
        }
    }
    assert_eq!(operations, OPERATIONS.len());
}
