//! Bounds: admission, connections, an orderly end.

use crate::world::{BIG, BUNDLE, World, at, request};
use placet_server::{ServerOptions, bind, constant_router, serve_router};
use placet_types::ids::WorkspaceName;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runaway_key_is_slowed_before_the_log() {
    let options = ServerOptions { admission_per_second: 2, ..ServerOptions::default() };
    let world = World::with(Some(BUNDLE), false, options).await;
    let bot = world.key("agent:bot", &[]).await;
    let quiet = world.key("agent:quiet", &[]).await;
    let batch = vec![request("a", ""); 60].join(",");
    world.decide(&bot, "a", "").await;
    let size = world.size();
    let body = format!(r#"{{"requests":[{batch}]}}"#);
    // The burst is that of one whole batch at least.
    world.post("/api/v1/decisions:batch", &bot, &body).await.ok();
    let refused = world.post("/api/v1/decisions:batch", &bot, &body).await;
    refused.refused(429, "too_many_requests");
    assert!(refused.headers.contains("retry-after: "), "{refused:?}");
    assert_eq!(world.size(), size);
    world.decide(&quiet, "a", "").await;
}

/// Whatever the decision is for: each of these would leave one in the log, permitted or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_on_the_way_counts_against_the_limit() {
    let options = ServerOptions { admission_per_second: 1, ..ServerOptions::default() };
    let world = World::with(Some(BUNDLE), false, options).await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let made = r#"{"actor":"agent:new","environment":"production","roles":[]}"#;
    let run = r#"{"capability":"none"}"#;
    for (path, key, body) in [("/api/v1/executions", &bot, run), ("/api/v1/keys", &ann, made)] {
        let (mut size, mut answer) = (world.size(), world.post(path, key, body).await);
        // The burst is that of one whole batch at least.
        for _ in 0..200 {
            if answer.status == 429 {
                break;
            }
            size = world.size();
            answer = world.post(path, key, body).await;
        }
        answer.refused(429, "too_many_requests");
        assert_eq!(world.size(), size, "{path}");
    }
    let tenant = r#"{"name":"tenant","admin":"human:tess"}"#;
    world.post("/api/v1/workspaces", &ann, tenant).await.refused(429, "too_many_requests");
    // What stops everything is not slowed.
    let killed = world.post("/api/v1/kill", &ann, r#"{"scope":"workspace"}"#).await;
    assert!(killed.status < 300, "{killed:?}");
    world.post("/api/v1/lift", &ann, r#"{"scope":"workspace"}"#).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_bound_connections_are_told_to_come_back() {
    let options = ServerOptions { connections_max: 1, ..ServerOptions::default() };
    let world = World::with(Some(BUNDLE), false, options).await;
    let ann = world.admin.clone();
    let mut first = world.send("GET", "/api/v1/events", &ann, &[], "").await;
    assert!(first.read(&mut [0; 12]).await.unwrap() > 0);
    let refused = world.get("/healthz", "").await;
    refused.refused(503, "overloaded");
    assert!(refused.headers.contains("retry-after: 1"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_saturates_the_first_address_keeps_no_operator_waiting() {
    let options = ServerOptions { connections_max: 1, ..ServerOptions::default() };
    let world = World::with(Some(BUNDLE), false, options).await;
    let ann = world.admin.clone();
    let mut first = world.send("GET", "/api/v1/events", &ann, &[], "").await;
    assert!(first.read(&mut [0; 12]).await.unwrap() > 0);
    world.get("/healthz", "").await.refused(503, "overloaded");
    // No thread of it is left either.
    let free = Arc::new(AtomicBool::new(false));
    for _ in 0..2 {
        let free = free.clone();
        tokio::spawn(async move {
            while !free.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
    }
    let body = r#"{"scope":"workspace"}"#;
    let mut kill = std::net::TcpStream::connect(world.operators).unwrap();
    kill.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /api/v1/kill HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {ann}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    kill.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    let read = kill.read_to_string(&mut answer);
    let killed = world.root().is_killed();
    free.store(true, Ordering::SeqCst);
    read.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(killed);
}

/// Nobody accepts here: what connects stands in the queue, and one more than fits would wait for its
/// second attempt until the time is up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_comes_back_at_once_is_queued() {
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let fleet = allowed.trim().parse::<usize>().unwrap().min(600);
    let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..fleet {
        let connecting = tokio::net::TcpStream::connect(address);
        let connected = tokio::time::timeout(Duration::from_secs(20), connecting).await;
        waiting.push(connected.expect("the queue has room").unwrap());
    }
    assert_eq!(waiting.len(), fleet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_all_calls_together_are_bounded() {
    let options = ServerOptions { bodies_max: (1 << 20) + 1024, ..ServerOptions::default() };
    let world = World::with(Some(BUNDLE), false, options).await;
    let ann = world.admin.clone();
    // A large body that does not arrive holds its place. It is sent again where the probe itself was in
    // its way.
    let length = [("content-length", "1048576")];
    let more = format!(r#","labels":{{"note":"{}"}}"#, "x".repeat(200));
    let body = request("a", &format!("{more}{}", " ".repeat(5000)));
    let mut large = world.send("POST", "/api/v1/decisions", &ann, &length, "").await;
    let mut refused = world.post("/api/v1/decisions", &ann, &body).await;
    for _ in 0..100 {
        if refused.status != 200 {
            break;
        }
        large = world.send("POST", "/api/v1/decisions", &ann, &length, "").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        refused = world.post("/api/v1/decisions", &ann, &body).await;
    }
    refused.refused(503, "overloaded");
    assert!(refused.headers.contains("retry-after: 1"), "{refused:?}");
    // Small ones pass, and so does a kill.
    world.decide(&ann, "b", "").await;
    let killed = world.post("/api/v1/kill", &ann, r#"{"scope":"workspace"}"#).await;
    assert!(killed.status < 300, "{killed:?}");
    drop(large);
    while world.post("/api/v1/decisions", &ann, &body).await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_answers_those_who_wait() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let held = world.decide(&bot, "h", BIG).await;
    let path = format!("/api/v1/decisions/{}?wait=60s", at(&held, "/id"));
    let mut waiting = world.send("GET", &path, &bot, &[], "").await;
    // The call has arrived once its connection has seen another one's answer behind it.
    world.get("/healthz", "").await.ok();
    let world = world.restart().await;
    let mut text = String::new();
    let _ = waiting.read_to_string(&mut text).await;
    assert!(text.is_empty() || text.contains("REQUIRE_APPROVAL"), "{text}");
    world.get("/readyz", "").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_constant_of_the_benchmark_has_its_size() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ServerOptions::default();
    tokio::spawn(async move {
        serve_router(listener, constant_router(1500), &options, std::future::pending()).await
    });
    let mut there = world;
    there.address = address;
    let answer = there.post("/api/v1/decisions", "", "anything").await;
    assert_eq!((answer.status, answer.text.len()), (200, 1500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_begun_ends_though_its_client_has_gone() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let found = |name: &str| world.plane.workspace(&WorkspaceName::parse(name).unwrap());
    let complete =
        |name: &String| found(name).is_some_and(|found| world.plane.keys_of(&found).len() == 1);
    let mut begun: Vec<String> = Vec::new();
    for at in 0..64_u64 {
        let name = format!("left-{at}");
        let body = format!(r#"{{"name":"{name}","admin":"human:zoe"}}"#);
        let stream = world.send("POST", "/api/v1/workspaces", &ann, &[], &body).await;
        // From at once to a few milliseconds: every stage of the work is left behind by somebody.
        tokio::time::sleep(Duration::from_millis(at % 16)).await;
        drop(stream);
        // Whoever leaves before the server has read anything has begun nothing.
        begun.extend(found(&name).is_some().then_some(name));
        if at >= 7 && begun.len() >= 4 {
            break;
        }
    }
    assert!(begun.len() >= 4, "the clients were always too fast: {begun:?}");
    for _ in 0..500 {
        if begun.iter().all(complete) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.iter().all(complete));
    // Some may have begun after their client was looked for; they end as well.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let all = world.plane.all_workspaces();
    let names: Vec<String> = all.iter().map(|found| found.name.to_string()).collect();
    assert!(names.iter().filter(|name| name.starts_with("left-")).all(complete), "{names:?}");
    let world = world.restart().await;
    let seen = world.get("/api/v1/workspaces", &ann).await.ok();
    assert_eq!(seen["workspaces"].as_array().map(Vec::len), Some(names.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_loses_its_connection() {
    let options =
        ServerOptions { write_time: Duration::from_millis(200), ..ServerOptions::default() };
    let world = World::with(Some(BUNDLE), false, options).await;
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let head = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let ended = async { while stream.write_all(head.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_without_a_key_are_not_for_those_behind_a_proxy() {
    let world = World::new().await;
    assert_eq!(world.get("/metrics", "").await.status, 200);
    for name in ["x-forwarded-for", "forwarded"] {
        let header = [(name, "for=192.0.2.1")];
        let refused = world.call("GET", "/metrics", "", &header, "").await;
        refused.refused(401, "key_missing");
        assert_eq!(world.call("GET", "/metrics", &world.admin, &header, "").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lengths_smuggle_nothing() {
    let world = World::new().await;
    let hidden = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for lengths in [
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
        let text =
            format!("POST /api/v1/decisions HTTP/1.1\r\nhost: x\r\n{lengths}\r\n0\r\n\r\n{hidden}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // The connection ends after the one answer, maybe by a reset for what was not read.
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sees_few_approvals_gets_them_in_pages() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let other = world.key("agent:other", &[]).await;
    for at in 0..6 {
        let key = if at % 3 == 0 { &other } else { &bot };
        world.decide(key, &format!("h{at}"), BIG).await;
    }
    let list = |key: String, query: String| {
        let world = &world;
        async move { world.get(&format!("/api/v1/approvals{query}"), &key).await.ok() }
    };
    let count = |page: &serde_json::Value| page["approvals"].as_array().map(Vec::len);
    assert_eq!(count(&list(world.admin.clone(), String::new()).await), Some(6));
    let first = list(other.clone(), "?limit=1".to_owned()).await;
    assert_eq!(count(&first), Some(1));
    let cursor = at(&first, "/next_cursor").to_owned();
    let second = list(other.clone(), format!("?limit=5&cursor={cursor}")).await;
    assert_eq!(count(&second), Some(1));
    assert!(second.get("next_cursor").is_none_or(serde_json::Value::is_null), "{second}");
}
