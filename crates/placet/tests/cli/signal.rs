//! A signal to a real process stops everything: no HTTP, no key, no file.

use crate::support::{Server, bank_request};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A request like no other before it.
fn ask(server: &Server, key: &str) -> Value {
    let text = std::fs::read_to_string(bank_request("read-account")).unwrap();
    let mut body: Value = serde_json::from_str(&text).unwrap();
    body["idempotency_key"] = key.into();
    body.as_object_mut().unwrap().remove("attempt_nonce");
    let file = server.file(&format!("{key}.json"));
    std::fs::write(&file, body.to_string()).unwrap();
    server.run(&["decide", &file, "--json"]).json()
}

/// The kill of everything, once it is recorded.
fn tripped(server: &Server) -> Value {
    let began = Instant::now();
    loop {
        let kill: Value = serde_json::from_str(&server.get("/api/v1/kill")).unwrap();
        if !kill["everything"].is_null() {
            return kill["everything"].clone();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the signal is not heard: {kill}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn sigusr2_stops_everything_is_recorded_and_outlives_a_restart() {
    let server = Server::dev();
    assert_eq!(ask(&server, "before")["outcome"], "PERMIT");
    server.signal("USR2");
    assert_eq!(tripped(&server)["source"], "signal");
    let denied = ask(&server, "after");
    assert_eq!((&denied["outcome"], &denied["permit"]), (&"DENY".into(), &Value::Null), "{denied}");
    assert_eq!(denied["reasons"][0]["code"], "killed_everything");
    let server = server.again(&["--dev"]);
    assert_eq!(tripped(&server)["source"], "signal");
    assert_eq!(ask(&server, "later")["reasons"][0]["code"], "killed_everything");
    // Lifted as any other; in development mode one person suffices.
    server.run(&["lift", "--everything"]).exits(0);
    assert_eq!(ask(&server, "lifted")["outcome"], "PERMIT");
}
