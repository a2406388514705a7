//! Gates hear of kills and drills, acknowledge them, and the report tells what is so.

use crate::world::{BIG, World, at};
use serde_json::Value;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const WORKSPACE: &str = r#"{"scope":"workspace"}"#;

/// Reads a stream of events until one of this kind has come; its data.
async fn heard(stream: &mut TcpStream, kind: &str) -> Value {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    let wanted = format!("event: {kind}\n");
    loop {
        if let Some((_, rest)) = text.split_once(&wanted)
            && let Some((data, _)) = rest.split_once("\n\n")
        {
            return serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        }
        let read = stream.read(&mut bytes);
        let count = tokio::time::timeout(Duration::from_secs(30), read).await;
        let count = count.unwrap_or_else(|_| panic!("no {kind}: {text}")).unwrap();
        assert!(count > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_hear_a_kill_and_what_they_say_is_reported() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let nonce = r#","attempt_nonce":"0123456789abcdef""#;
    world.decide(&bot, "done", nonce).await;
    world.decide(&bot, "open", r#","audience":"service:gate""#).await;
    let held = world.decide(&bot, "held", BIG).await;
    let mut stream = world.send("GET", "/api/v1/overrides/stream", &gate, &[], "").await;
    let path = format!("/api/v1/decisions/{}?wait=60s", at(&held, "/id"));
    let waits = [("placet-attempt-nonce", "0123456789abcdef")];
    let waiting = world.send("GET", &path, &bot, &waits, "").await;
    while world.root().waiting_callers() == 0 {
        tokio::task::yield_now().await;
    }
    let killed = world.post("/api/v1/kill", &olga, WORKSPACE).await.ok();
    World::read(waiting).await.ok();
    // First that it stops, then what it is called.
    assert_eq!(heard(&mut stream, "override.stopped").await["recorded"], false);
    let mut again = world.send("GET", "/api/v1/overrides/stream", &gate, &[], "").await;
    let told = heard(&mut again, "kill.tripped").await;
    assert_eq!(
        (&told["index"], &told["drill"]),
        (&killed["workspace"]["index"], &Value::Bool(false))
    );
    let path = format!("/api/v1/overrides/{}", told["index"]);
    let said = r#"{"stopped":2,"unreachable":["transfer 4711"]}"#;
    let own = world.post(&format!("{path}/acknowledge"), &gate, said).await.ok();
    assert_eq!(own["names"][0], "transfer 4711");
    let repeated = world.post(&format!("{path}/acknowledge"), &gate, r#"{"stopped":9}"#).await.ok();
    assert_eq!(repeated["stopped"], 2, "said once");
    world.post(&format!("{path}/acknowledge"), &olga, "{}").await.refused(403, "foreign");
    world.get(&path, &gate).await.refused(403, "role_missing");

    let report = world.get(&path, &olga).await.ok();
    let counts = |place: &str| report.pointer(place).and_then(Value::as_u64).unwrap();
    assert_eq!(counts("/stopped/open_permits"), 1, "{report}");
    assert_eq!(counts("/stopped/held_actions"), 1, "{report}");
    assert_eq!(counts("/stopped/waiting_callers"), 1, "{report}");
    assert_eq!(counts("/stopped/by_gates"), 2, "{report}");
    // Three keys were made under permits of their own, which nobody has to report.
    assert_eq!(counts("/unreached/unreported"), 1, "{report}");
    assert_eq!(counts("/unreached/by_gates"), 1, "{report}");
    assert_eq!(at(&report, "/acknowledged/0/gate"), "service:gate");
    assert_eq!(report["acknowledged"][0]["names"][0], "transfer 4711");
    assert_eq!(at(&report, "/silent/0/gate"), "agent:bot");
    assert_eq!(report["lifted"], Value::Null);

    // Nobody personal stands in the log, and no name of a gate's action either.
    let log = world.get("/api/v1/audit?type=override.acknowledged", &olga).await.text;
    assert!(log.contains("service:gate") && !log.contains("transfer"), "{log}");
    world.post("/api/v1/lift", &world.admin, WORKSPACE).await.ok();
    world.post("/api/v1/lift", &olga, WORKSPACE).await.ok();
    assert_eq!(heard(&mut again, "kill.lifted").await["index"], told["index"]);

    // What is counted is there after a restart, and from snapshots.
    let (olga, path) = (olga, path);
    let world = world.restart().await;
    let later = world.get(&path, &olga).await.ok();
    assert_eq!(later["stopped"], report["stopped"]);
    assert_eq!(later["unreached"], report["unreached"]);
    assert_eq!(later["acknowledged"], report["acknowledged"]);
    assert_ne!(later["lifted"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_is_heard_like_a_kill_and_stops_nothing() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    world.decide(&bot, "a", "").await;
    let mut stream = world.send("GET", "/api/v1/overrides/stream", &gate, &[], "").await;
    heard_comment(&mut stream).await;
    let drill = world.post("/api/v1/overrides:drill", &world.admin, WORKSPACE).await.ok();
    assert_eq!((&drill["drill"], &drill["source"]), (&Value::Bool(true), &Value::Null));
    let told = heard(&mut stream, "kill.drilled").await;
    assert_eq!(told["index"], drill["index"]);
    assert!(!world.root().is_killed());
    assert_eq!(at(&world.decide(&bot, "b", "").await, "/outcome"), "PERMIT");
    let path = format!("/api/v1/overrides/{}", told["index"]);
    world.post(&format!("{path}/acknowledge"), &gate, "").await.ok();
    let report = world.get(&path, &world.admin).await.ok();
    assert!(report["acknowledged"][0]["latency_ms"].is_u64(), "{report}");
    assert_eq!(at(&report, "/silent/0/gate"), "agent:bot");
    world.post("/api/v1/overrides:drill", &bot, WORKSPACE).await.refused(403, "role_missing");
    let wrong = [
        (r#"{"scope":"world"}"#, "field_invalid"),
        (r#"{"scope":"capability"}"#, "field_missing"),
        (r#"{"scope":"role:operator"}"#, "field_invalid"),
        (r#"{"scope":"workspace","value":"x"}"#, "field_invalid"),
    ];
    for (body, code) in wrong {
        world.post("/api/v1/overrides:drill", &world.admin, body).await.refused(400, code);
    }
    for (body, code) in [
        (r#"{"stopped":-1}"#, "field_invalid"),
        (r#"{"unreachable":"x"}"#, "field_invalid"),
        (r#"{"unreachable":[""]}"#, "field_invalid"),
        (r#"{"nothing":1}"#, "field_unknown"),
    ] {
        world.post(&format!("{path}/acknowledge"), &bot, body).await.refused(400, code);
    }
    let none = "/api/v1/overrides/99999/acknowledge";
    world.post(none, &gate, "").await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_of_one_scope_counts_what_a_kill_of_it_then_stops() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    world.key("service:gate", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let crm = r#","capability":"crm""#;
    let open = format!(r#"{crm},"audience":"service:gate""#);
    world.decide(&bot, "o", &open).await;
    world.decide(&bot, "p", r#","audience":"service:gate""#).await;
    world.decide(&bot, "h1", BIG).await;
    let held = world.decide(&bot, "h2", &format!("{BIG}{crm}")).await;
    let path = format!("/api/v1/decisions/{}?wait=60s", at(&held, "/id"));
    let waits = [("placet-attempt-nonce", "0123456789abcdef")];
    let waiting = world.send("GET", &path, &bot, &waits, "").await;
    while world.root().waiting_callers() == 0 {
        tokio::task::yield_now().await;
    }
    let of = |report: &Value| {
        let names = ["open_permits", "held_actions", "waiting_callers", "executions"];
        names.map(|it| report["stopped"][it].as_u64().unwrap())
    };
    let drill = async |scope: &str| {
        let body = format!(r#"{{"scope":"{scope}"}}"#);
        of(&world.post("/api/v1/overrides:drill", &olga, &body).await.ok())
    };
    assert_eq!(drill("capability:ads").await, [0, 0, 0, 0]);
    assert_eq!(drill("workspace").await, [2, 2, 1, 0]);
    assert_eq!(drill("alias:crm").await, [1, 1, 1, 0]);
    let drilled = r#"{"scope":"capability","value":"crm"}"#;
    let drilled = world.post("/api/v1/overrides:drill", &olga, drilled).await.ok();
    assert_eq!((at(&drilled, "/scope"), of(&drilled)), ("capability:crm", [1, 1, 1, 0]));
    assert_eq!(at(&drilled, "/by"), "human:olga");
    assert_eq!(at(&world.decide(&bot, "n", crm).await, "/outcome"), "PERMIT", "nothing stops");
    let killed = r#"{"scope":"capability:crm","mode":"kill"}"#;
    let killed = world.post("/api/v1/overrides", &olga, killed).await.ok();
    World::read(waiting).await.ok();
    let report = format!("/api/v1/overrides/{}", killed["index"]);
    let report = world.get(&report, &olga).await.ok();
    assert_eq!(of(&report), [1, 1, 1, 0], "{report}");
    // Each is told once.
    world.post("/api/v1/kill", &olga, WORKSPACE).await.ok();
    let state = world.get("/api/v1/kill", &olga).await.ok();
    let report = format!("/api/v1/overrides/{}", state["workspace"]["index"]);
    assert_eq!(of(&world.get(&report, &olga).await.ok()), [1, 2, 0, 0]);
}

async fn heard_comment(stream: &mut TcpStream) {
    let mut text = String::new();
    let mut byte = [0; 1];
    while !text.contains(": placet\n\n") {
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "{text}");
        text.push(char::from(byte[0]));
    }
}
