//! Audit, traces, receipts, the event stream, metrics.

use crate::world::{BIG, World, at, request};
use placet_runtime::ports::{Indexed, PortError, ReadModelWriter, WorkspaceNo};
use placet_tlog::trust::Trust;
use placet_tlog::verify::{PortableHasher, verify_receipt};
use serde_json::Value;
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_filters_and_pages() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    for n in 0..5 {
        world.decide(&bot, &format!("k{n}"), "").await;
    }
    let held = world.decide(&ann, "h", BIG).await;
    let index = held.pointer("/log/index").and_then(Value::as_u64).unwrap();
    let found = |query: String| async {
        let query = query;
        let path = format!("/api/v1/audit?{query}");
        let found = world.get(&path, &ann).await.ok();
        let entries = found["entries"].as_array().unwrap();
        let indices: Vec<_> = entries.iter().map(|e| e["index"].as_u64().unwrap()).collect();
        (indices, found["next_cursor"].as_str().map(str::to_owned))
    };
    let count = |query: &'static str| {
        let found = found(query.to_owned());
        async { found.await.0.len() }
    };
    assert_eq!(found(format!("min_index={index}&limit=1")).await.0, [index]);
    assert_eq!(count("actor=agent:bot").await, 5);
    assert_eq!(count("actor=human:ann&type=decision&surface=payments.transfer").await, 1);
    assert_eq!(count("rule=small&outcome=permit").await, 5);
    assert_eq!(count("trace=t+1").await, 1);
    assert_eq!(count("type=genesis&since=1h").await, 1);
    let refused = world.get("/api/v1/audit?type=decisions", &world.admin).await;
    let problem = refused.refused(400, "field_invalid");
    assert!(problem.to_string().contains("?type"), "{problem}");
    assert_eq!(count("until=1h").await, 0);
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let (page, next) = found(format!("order=asc&limit=3{cursor}")).await;
        all.extend(page);
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(all, (0..world.size()).collect::<Vec<_>>());
    let trace = world.get("/api/v1/traces/t%201", &ann).await.ok();
    assert_eq!(trace["entries"].as_array().map(Vec::len), Some(1));
    assert_eq!(at(&trace, "/trace_id"), "t 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_verify_and_altered_ones_do_not() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let denied = r#","risk_tags":["never"]"#;
    let path = "/api/v1/decisions?receipt=inline";
    let inline = world.post(path, &bot, &request("a", denied)).await.ok();
    assert_eq!(at(&inline, "/outcome"), "DENY");
    let trust = world.get("/.well-known/placet-keys", "").await;
    let trust = Trust::parse::<PortableHasher>(trust.text.as_bytes()).unwrap();
    let path = format!("/api/v1/receipts/{}", at(&inline, "/id"));
    let later = world.get(&path, &bot).await;
    for receipt in [at(&inline, "/receipt"), later.text.as_str()] {
        let verified = verify_receipt(receipt.as_bytes(), &trust).unwrap();
        assert_eq!(Some(verified.index), inline.pointer("/log/index").and_then(Value::as_u64));
        let altered = receipt.replacen("\nindex ", "\nindex 1", 1);
        assert!(altered == *receipt || verify_receipt(altered.as_bytes(), &trust).is_err());
        let mut bytes = receipt.as_bytes().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        assert!(verify_receipt(&bytes, &trust).is_err());
    }
    let json = [("accept", "application/json")];
    let json = world.call("GET", &path, &bot, &json, "").await.ok();
    assert!(at(&json, "/origin").ends_with("/main"));
    let other = world.key("agent:other", &[]).await;
    world.get(&path, &other).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_event_stream_resumes() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let size = world.size();
    let mut stream = world.send("GET", "/api/v1/events?from=0", &ann, &[], "").await;
    let seen = until(&mut stream, &format!("id: {}\n", size - 1)).await;
    assert!(seen.contains("id: 0\nevent: genesis\ndata: {\"index\":0,"), "{seen}");
    let resume = [("Last-Event-ID", (size - 1).to_string())];
    let resume = [(resume[0].0, resume[0].1.as_str())];
    let mut stream = world.send("GET", "/api/v1/events", &ann, &resume, "").await;
    until(&mut stream, ": placet\n").await;
    world.decide(&bot, "a", "").await;
    let seen = until(&mut stream, "event: decision\n").await;
    assert!(!seen.contains("id: 0\n") && seen.contains(&format!("id: {size}\n")), "{seen}");
    drop(world.restart().await);
    // The server has stopped: its streams have ended.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

async fn until(stream: &mut tokio::net::TcpStream, needle: &str) -> String {
    let mut seen = String::new();
    let mut bytes = [0; 4096];
    while !seen.contains(needle) {
        let n = stream.read(&mut bytes).await.unwrap();
        assert!(n > 0, "the stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_parse_and_count() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    world.decide(&bot, "a", "").await;
    world.decide(&bot, "h", BIG).await;
    world.get("/nowhere", "").await.refused(404, "not_found");
    for (scope, mode) in [("capability:a", "kill"), ("model:m", "freeze"), ("role:x", "revoke")] {
        let body = format!(r#"{{"scope":"{scope}","mode":"{mode}"}}"#);
        world.post("/api/v1/overrides", &world.admin, &body).await.ok();
    }
    let text = world.get("/metrics", "").await.text;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok() && name.starts_with("placet_"), "{line}");
    }
    for line in [
        "placet_approvals_pending{workspace=\"main\"} 1",
        "placet_killed{workspace=\"main\",scope=\"everything\"} 0",
        "placet_overrides{workspace=\"main\",mode=\"kill\"} 1",
        "placet_overrides{workspace=\"main\",mode=\"freeze\"} 1",
        "placet_overrides{workspace=\"main\",mode=\"disable\"} 0",
        "placet_overrides{workspace=\"main\",mode=\"revoke\"} 1",
        "placet_outcome_unknown{workspace=\"main\"} ",
        "placet_refused_total{code=\"not_found\"} 1",
        "placet_http_requests_total{method=\"POST\",path=\"/api/v1/decisions\",status=\"200\"} 2",
        "placet_flush_seconds_total ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// A read model that is not filled.
struct Stuck(Box<dyn ReadModelWriter>);

impl ReadModelWriter for Stuck {
    fn position(&self, workspace: WorkspaceNo) -> Result<u64, PortError> {
        self.0.position(workspace)
    }

    fn index(&mut self, _: &[Indexed<'_>]) -> Result<(), PortError> {
        Err(PortError::new("stuck"))
    }
}

/// Takes the place of a writer for a moment.
struct Nothing;

impl ReadModelWriter for Nothing {
    fn position(&self, _: WorkspaceNo) -> Result<u64, PortError> {
        Ok(0)
    }

    fn index(&mut self, _: &[Indexed<'_>]) -> Result<(), PortError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_to_be_missing_that_is_not_indexed_yet() {
    let world = World::new().await;
    let (ann, bot) = (world.admin.clone(), world.key("agent:bot", &[]).await);
    let old = world.decide(&bot, "old", r#","subjects":["maria"]"#).await;
    let place = format!("/api/v1/decisions/{}", at(&old, "/id"));
    let receipt = format!("/api/v1/receipts/{}", at(&old, "/id"));
    let erase = r#"{"subject":"maria","reason":"gdpr.art17","dry_run":true}"#;
    // The file is lost, and the new one is not filled.
    let lose = |data: &std::path::Path| {
        for name in ["read.db", "read.db-wal", "read.db-shm"] {
            let _ = std::fs::remove_file(data.join(name));
        }
    };
    let world = world
        .restart_over(lose, |stores| {
            let writer = std::mem::replace(&mut stores.model_writer, Box::new(Nothing));
            stores.model_writer = Box::new(Stuck(writer));
        })
        .await;
    // A decision is looked for in the little that is not indexed; a receipt needs the model.
    world.get(&place, &bot).await.ok();
    let none = "/api/v1/decisions/dec_00000000000000000000000000000000";
    world.get(none, &bot).await.refused(404, "not_found");
    let refused = world.get(&receipt, &bot).await;
    refused.refused(503, "indexing");
    assert!(refused.headers.contains("retry-after"), "{refused:?}");
    world.post("/api/v1/audit/erase", &ann, erase).await.refused(503, "indexing");
    let found = world.get("/api/v1/audit?subject=maria", &ann).await.ok();
    assert!(found["indexed"].as_u64() < found["size"].as_u64(), "{found}");
    // What is decided now is found all the same.
    let new = world.decide(&bot, "new", "").await;
    world.get(&format!("/api/v1/decisions/{}", at(&new, "/id")), &bot).await.ok();
    // A model that cannot be made anew beside its readers stays as it is, and so does the server.
    assert_eq!(world.post("/api/v1/audit/reindex", &ann, "{}").await.status, 202);

    let world = world.restart().await;
    let mut found = world.get("/api/v1/audit?subject=maria", &ann).await.ok();
    while found["indexed"] != found["size"] {
        found = world.get("/api/v1/audit?subject=maria", &ann).await.ok();
    }
    assert_eq!(found["entries"].as_array().unwrap().len(), 1, "{found}");
    world.get(&place, &bot).await.ok();
    assert_eq!(world.get(&receipt, &bot).await.status, 200);
    assert_eq!(world.post("/api/v1/audit/erase", &ann, erase).await.ok()["payloads"], 1);
    let none = world.get("/api/v1/decisions/dec_00000000000000000000000000000000", &bot).await;
    none.refused(404, "not_found");
}

/// The read model is made anew while the server answers already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_after_a_restart_every_decision_is_found() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(at(&world.decide(&bot, &format!("k{n}"), "").await, "/id").to_owned());
    }
    let world = world
        .restart_after(|data| {
            for name in ["read.db", "read.db-wal", "read.db-shm"] {
                let _ = std::fs::remove_file(data.join(name));
            }
        })
        .await;
    for id in &ids {
        assert_eq!(at(&world.get(&format!("/api/v1/decisions/{id}"), &bot).await.ok(), "/id"), id);
    }
    let absent = "/api/v1/decisions/dec_01a1ff00000000000000000000000000";
    world.get(absent, &bot).await.refused(404, "not_found");
}

/// Leaf hashes of whole tiles stand in the read model: proofs do without the neighbours of an entry,
/// and one that is wrong there is hashed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_needs_its_own_entry_and_believes_no_tile() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let first = world.decide(&bot, "first", "").await;
    for batch in 0..6 {
        let all: Vec<_> = (0..100).map(|n| request(&format!("{batch}-{n}"), "")).collect();
        let body = format!(r#"{{"requests":[{}]}}"#, all.join(","));
        world.post("/api/v1/decisions:batch", &bot, &body).await.ok();
    }
    let tiles = |data: &std::path::Path, sql: &str| {
        let model = rusqlite::Connection::open(data.join("read.db")).unwrap();
        model.execute_batch(sql).unwrap();
        let count = "SELECT count(*) FROM tile WHERE length(leaves) = 8192";
        model.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let receipt = format!("/api/v1/receipts/{}", at(&first, "/id"));
    let trust = world.get("/.well-known/placet-keys", "").await.text;
    let trust = Trust::parse::<PortableHasher>(trust.as_bytes()).unwrap();
    let verified = |text: String| verify_receipt(text.as_bytes(), &trust).unwrap();
    // From a snapshot: nothing old is whole in memory.
    let world = world.restart_after(|data| assert_eq!(tiles(data, ""), 2)).await;
    verified(world.get(&receipt, &bot).await.text);
    // Wrong ones are hashed again.
    let wrong = "CREATE TABLE spare AS SELECT * FROM tile; UPDATE tile SET leaves = zeroblob(8192)";
    let world = world.restart_after(|data| assert_eq!(tiles(data, wrong), 2)).await;
    verified(world.get(&receipt, &bot).await.text);
    // The last entry of the tile is not the one that was sealed: nobody looks at it.
    let damage = |data: &std::path::Path| {
        let journal = rusqlite::Connection::open(data.join("journal.db")).unwrap();
        let row = "SELECT id, frames FROM batch WHERE id <= 255 ORDER BY id DESC LIMIT 1";
        let (id, mut frames): (i64, Vec<u8>) =
            journal.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert!(id > 20, "it is not in the row of the first");
        frames[40] ^= 1;
        let write = "UPDATE batch SET frames = ?1 WHERE id = ?2";
        journal.execute(write, rusqlite::params![frames, id]).unwrap();
        let right = "DELETE FROM tile; INSERT INTO tile SELECT * FROM spare";
        assert_eq!(tiles(data, right), 2);
    };
    let world = world.restart_after(damage).await;
    verified(world.get(&receipt, &bot).await.text);
    // Without the tile it is needed.
    let world = world.restart_after(|data| assert_eq!(tiles(data, "DELETE FROM tile"), 0)).await;
    assert!(world.get(&receipt, &bot).await.status >= 500);
}

/// What the read model hides, by a flipped bit or otherwise, is found in the log itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_the_read_model_hides_is_found_by_its_id() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let mut ids = Vec::new();
    for n in 0..150 {
        ids.push(at(&world.decide(&bot, &format!("k{n}"), "").await, "/id").to_owned());
    }
    let hide = |data: &std::path::Path| {
        let model = rusqlite::Connection::open(data.join("read.db")).unwrap();
        let hidden = "UPDATE event SET decision = decision + 1 WHERE decision IS NOT NULL";
        assert!(model.execute(hidden, []).unwrap() >= 150);
    };
    let world = world.restart_after(hide).await;
    for id in ids.iter().step_by(7).chain(ids.last()) {
        let found = world.get(&format!("/api/v1/decisions/{id}"), &bot).await.ok();
        assert_eq!(at(&found, "/id"), id);
        assert_eq!(world.get(&format!("/api/v1/receipts/{id}"), &bot).await.status, 200);
    }
    // The id of nothing, of the past and of the future.
    let now = &ids[70][4..16];
    for time in ["000000000000", now, "ffffffffffff"] {
        let path = format!("/api/v1/decisions/dec_{time:0<32}");
        world.get(&path, &bot).await.refused(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn surfaces_are_listed_with_their_contracts() {
    let bundle = r#"
version: v1
surfaces:
  pay:
    owner: money
    deadline: 5s
    arguments: { type: object, required: [amount], properties: { amount: { type: integer } } }
    required: [target]
    evidence: [{ type: review, max_age: 1h }]
    outcomes: [PERMIT]
    retention: { payload: 1d }
    fail_mode: { sandbox: { mode: open, reason: "no money" } }
    receipts: { verify: before_execution }
  bare:
rules:
  - { id: all, match: { surfaces: [pay] }, decision: allow }
"#;
    let world = World::with(Some(bundle), false, placet_server::ServerOptions::default()).await;
    let bot = world.key("agent:bot", &[]).await;
    let list = world.get("/api/v1/surfaces", &bot).await.ok();
    assert_eq!(list["closed"], true);
    assert!(at(&list, "/policy").starts_with("sha256:"));
    let wanted = serde_json::json!([
        {"name": "bare", "deadline_ms": 2000, "idempotency_window_ms": 86_400_000},
        {
            "name": "pay", "owner": "money", "deadline_ms": 5000,
            "idempotency_window_ms": 86_400_000,
            "arguments": {
                "type": "object", "required": ["amount"],
                "properties": {"amount": {"type": "integer"}},
            },
            "required": ["target"],
            "evidence": [{"type": "review", "max_age_ms": 3_600_000}],
            "outcomes": ["PERMIT"],
            "retention": {"payload_ms": 86_400_000},
            "fail_mode": {"sandbox": {"mode": "open", "reason": "no money"}},
            "receipts": {"verify": "before_execution"},
        },
    ]);
    assert_eq!(list["surfaces"], wanted);
    // The contract denies, with its code, and the text of the rule is served.
    let body = r#"{"surface":"pay","action":"x","idempotency_key":"k","arguments":{"amount":"5"}}"#;
    let denied = world.post("/api/v1/decisions", &bot, body).await.ok();
    assert_eq!(at(&denied, "/outcome"), "DENY");
    let codes: Vec<&str> = denied["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["field_missing", "arguments_invalid", "evidence_missing"]);
    assert_eq!(world.get("/api/v1/surfaces", "").await.status, 401);
    // Without a surfaces document any surface may be matched by rules.
    let open = World::new().await;
    let bot = open.key("agent:bot", &[]).await;
    let list = open.get("/api/v1/surfaces", &bot).await.ok();
    assert_eq!((&list["closed"], &list["surfaces"]), (&false.into(), &serde_json::json!([])));
}
