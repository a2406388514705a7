//! Signals to a real process: one stops everything with no HTTP, no key and no file, one ends it whatever blocks.

use crate::support::{Server, bank_request, placet};
use serde_json::Value;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
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

#[test]
fn a_second_address_is_for_those_who_stop() {
    let server = Server::start(&["--dev", "--listen-operators", "127.0.0.1:0"]);
    let operators = server.operators.clone().unwrap();
    assert_eq!(ask(&server, "before")["outcome"], "PERMIT");
    server.run(&["kill", "--surface", "crm.account", "--url", &operators]).exits(0);
    assert_eq!(ask(&server, "after")["reasons"][0]["code"], "killed_surface");
    let mut server = server;
    server.signal("TERM");
    assert!(server.child.wait().unwrap().success());
    // Development is for this machine alone, at both addresses; and a port is taken once.
    let all = ["up", "--dev", "--listen", "127.0.0.1:0", "--data"];
    let (data, taken) = (server.file("other"), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let taken = taken.local_addr().unwrap().to_string();
    for (address, code) in [("0.0.0.0:0", 2), (taken.as_str(), 1)] {
        let mut words = all.to_vec();
        words.extend([data.as_str(), "--listen-operators", address]);
        placet(&words).exits(code);
        assert!(!std::path::Path::new(&data).exists(), "nothing was founded");
    }
}

/// `O_NONBLOCK`: a pipe that nobody reads is not opened.
const NONBLOCK: i32 = 0o4000;

#[test]
fn sigterm_ends_it_whatever_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("server.pem"), file("server.key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-subj", "/CN=localhost", "-days", "1", "-keyout", &key, "-out", &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut server = Server::start(&["--dev", "--tls-cert", &cert, "--tls-key", &key]);
    // A file that never comes to its end: as on a disk that hangs.
    std::fs::remove_file(&cert).unwrap();
    assert!(Command::new("mkfifo").arg(&cert).status().unwrap().success());
    server.signal("HUP");
    let began = Instant::now();
    let held = loop {
        if let Ok(held) = OpenOptions::new().write(true).custom_flags(NONBLOCK).open(&cert) {
            break held;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "nobody reads the certificate");
        std::thread::sleep(Duration::from_millis(5));
    };
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    drop(held);
}
