//! Places of decisions on their way: who finds none is refused before anything is written, and does
//! not win by hammering.

use crate::world::{BUNDLE, World, request};
use placet_server::ServerOptions;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn with_places(deciding_max: usize) -> World {
    let options = ServerOptions { deciding_max, ..ServerOptions::default() };
    World::with(Some(BUNDLE), false, options).await
}

/// Asks on a connection that stays open, and gives the status.
async fn ask(stream: &mut TcpStream, key: &str, body: &str) -> u16 {
    let head = format!(
        "POST /api/v1/decisions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    loop {
        assert!(stream.read_buf(&mut text).await.unwrap() > 0, "closed");
        let text = String::from_utf8_lossy(&text).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if body.len() >= length {
            return head.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_place_nothing_is_decided_and_everything_else_passes() {
    let world = with_places(0).await;
    let admin = world.admin.clone();
    let size = world.size();
    let one = request("a", "");
    let batch = format!(r#"{{"requests":[{one},{one}]}}"#);
    for (path, body) in [("/api/v1/decisions", &one), ("/api/v1/decisions:batch", &batch)] {
        let refused = world.post(path, &admin, body).await;
        refused.refused(503, "overloaded");
        assert!(refused.headers.contains("retry-after: 1"), "{refused:?}");
    }
    // What is decided before something else is done is decided all the same.
    let start = r#"{"capability":"crm"}"#.to_owned();
    let key = r#"{"actor":"agent:new","environment":"production","roles":[]}"#.to_owned();
    let evaluation = r#"{"subject":{"type":"human","id":"ann"},"action":{"name":"create"},"resource":{"type":"payments.transfer","id":"p"}}"#.to_owned();
    let bundle = serde_json::json!({"sources": [{"name": "policy.yaml", "text": BUNDLE.replace("never", "ever")}]});
    for (path, body) in [
        ("/api/v1/executions", &start),
        ("/api/v1/keys", &key),
        ("/api/v1/policies", &bundle.to_string()),
        ("/access/v1/evaluation", &evaluation),
    ] {
        let refused = world.post(path, &admin, body).await;
        refused.refused(503, "overloaded");
    }
    // Who may not decide at all is told that, not to come back.
    world.post("/api/v1/decisions", "key_none", &one).await.refused(401, "key_unknown");
    assert_eq!(world.size(), size);
    world.get("/api/v1/kill", &admin).await.ok();
    let killed = world.post("/api/v1/kill", &admin, r#"{"scope":"workspace"}"#).await;
    assert!(killed.status < 300, "{killed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_comes_back_at_once_waits_for_its_time() {
    let world = with_places(0).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let body = request("a", "");
    assert_eq!(ask(&mut stream, &world.admin, &body).await, 503);
    let told = Instant::now();
    assert_eq!(ask(&mut stream, &world.admin, &body).await, 503);
    assert!(told.elapsed() >= Duration::from_millis(900), "{:?}", told.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_come_back_are_served_in_their_order() {
    let world = with_places(1).await;
    let clients = (0..40).map(|client| {
        let (key, address) = (world.admin.clone(), world.address);
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut refused = 0;
            // The first request is repeated until it is decided, then another takes its turn.
            for round in 0..3 {
                let body = request(&format!("c{client}-{round}"), "");
                loop {
                    match ask(&mut stream, &key, &body).await {
                        200 => break,
                        503 => refused += 1,
                        other => panic!("{other}"),
                    }
                    assert!(refused < 20, "starved");
                }
            }
            refused
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut refused = 0;
    for client in clients {
        refused += client.await.unwrap();
    }
    assert!(refused > 0, "one place was enough for forty at once");
    // Its place is given back: alone nobody is refused.
    for at in 0..3 {
        world.decide(&world.admin.clone(), &format!("after{at}"), "").await;
    }
}
