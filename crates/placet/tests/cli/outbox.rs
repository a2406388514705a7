//! What was given up, and having it tried again.

use crate::support::{Server, command, fed_with};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const POLICY: &str = r#"version: v1
rules:
  - { id: never, match: { surfaces: [pay] }, decision: deny }
surfaces: { pay: {} }
channels:
  - { id: siem, kind: webhook, to: "URL", secret: key }
  - { id: other, kind: webhook, to: "URL", secret: key }
notify:
  - { id: denied, on: [decision.denied], channels: [siem, other] }
"#;

/// A receiver that answers everything with the same status.
fn receiver(status: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).unwrap_or(0) > 0 && line != "\r\n" {
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                line.clear();
            }
            let _ = stream.read_exact(&mut vec![0; length]);
            let status = status.load(Ordering::SeqCst);
            let answer =
                format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    url
}

/// The channels as `outbox` shows them, once `id` has so many dead letters.
fn with_dead(server: &Server, id: &str, dead: u64) -> serde_json::Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let shown = server.run(&["outbox", "--json"]).exits(0).json();
        let of = shown["channels"].as_array().unwrap().iter().find(|it| it["id"] == id).unwrap();
        if of["dead"] == dead && of["pending"] == 0 {
            return of.clone();
        }
        assert!(Instant::now() < end, "{shown}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_was_given_up_is_tried_again_one_by_one_or_all_of_a_channel() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let status = Arc::new(AtomicU16::new(410));
    for name in ["policy", "secrets"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    let policy = POLICY.replace("URL", &receiver(status.clone()));
    std::fs::write(path("policy/p.yaml"), policy).unwrap();
    std::fs::write(path("secrets/key"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path("secrets/key"), mode).unwrap();
    let mut up = command(&["up", "--dev", "--listen", "127.0.0.1:0"]);
    up.arg("--data").arg(path("data")).arg("--bundle").arg(path("policy"));
    up.arg("--secrets").arg(path("secrets"));
    let server = Server::listening(up, dir);
    for key in ["a", "b", "c"] {
        let request = format!(r#"{{"surface":"pay","action":"run","idempotency_key":"{key}"}}"#);
        fed_with(&["decide", "-"], &request, &[("PLACET_URL", &server.url)]).exits(12);
    }
    for id in ["siem", "other"] {
        let shown = with_dead(&server, id, 3);
        assert_eq!(shown["state"], "down", "{shown}");
        assert!(shown["error"].as_str().unwrap().contains("answers 410"), "{shown}");
    }
    status.store(200, Ordering::SeqCst);
    server.run(&["outbox", "replay"]).exits(2);
    server.run(&["outbox", "replay", "1", "--all"]).exits(2);
    server.run(&["outbox", "replay", "--channel", "siem"]).exits(2);
    let one = server.run(&["outbox", "replay", "1"]).exits(0);
    assert!(one.out.contains("delivery 1 is tried again"), "{one:?}");
    let args = ["outbox", "replay", "--all", "--channel", "siem", "--json"];
    let replayed = server.run(&args).exits(0).json();
    let replayed = replayed["replayed"].as_array().unwrap();
    assert!(replayed.iter().all(|it| it["channel"] == "siem"), "{replayed:?}");
    assert_eq!(with_dead(&server, "siem", 0)["state"], "ready");
    let said = server.run(&["outbox", "replay", "--all"]).exits(0).out;
    assert!(said.lines().count() >= 2 && said.contains("to other"), "{said}");
    with_dead(&server, "other", 0);
    let said = server.run(&["outbox", "replay", "--all"]).exits(0).out;
    assert!(said.contains("nothing was given up"), "{said}");
}
