//! A log, a witness in a process of its own, and a verifier who trusts neither alone.

use crate::support::{Run, Server, bank_request, command, placet};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Decides a sample request under a key of its own; the decision document.
pub(crate) fn decide(server: &Server) -> Value {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut request: Value =
        serde_json::from_str(&std::fs::read_to_string(bank_request("read-account")).unwrap())
            .unwrap();
    let key = format!("witnessed-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    request["idempotency_key"] = Value::String(key);
    let path = write(server, "request", &request.to_string());
    server.run(&["decide", &path, "--json"]).exits(0).json()
}

/// A receipt that stands on the checkpoint published last, once that has `lines` signatures.
pub(crate) fn published_receipt(server: &Server, decision: &Value, lines: usize) -> String {
    let path =
        format!("/api/v1/receipts/{}?checkpoint=published", decision["id"].as_str().unwrap());
    let begun = Instant::now();
    loop {
        let text = server.get(&path);
        let signed = text.lines().filter(|line| line.starts_with('\u{2014}')).count();
        if text.starts_with("c2sp.org/tlog-proof@v1") && signed == lines {
            return text;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "never published so: {text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn write(server: &Server, name: &str, text: &str) -> String {
    let path = server.file(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn witness_vkey(dir: &str, name: &str) -> String {
    placet(&["witness", "--data", dir, "--name", name, "--show"]).exits(0).out.trim().to_owned()
}

pub(crate) fn start_witness(dir: &str, trust: &str) -> Server {
    let mut command = command(&["witness", "--name", "witness.example/1"]);
    command.args(["--listen", "127.0.0.1:0", "--data", dir, "--logs", trust]);
    Server::listening(command, tempfile::tempdir().unwrap())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn a_quorum_of_witnesses_is_demanded_and_a_rolled_back_log_is_caught() {
    let server = Server::dev();
    let (trust, memory) = (server.file("trust.json"), server.file("witness"));
    std::fs::write(&trust, server.get("/.well-known/placet-keys")).unwrap();
    let vkey = witness_vkey(&memory, "witness.example/1");
    let stranger = witness_vkey(&server.file("stranger"), "other.example/1");
    let mut witness = start_witness(&memory, &trust);
    let flags = ["--dev", "--witness", &vkey, &witness.url.clone()];
    let server = server.again(&flags);

    let decision = decide(&server);
    let receipt = write(&server, "receipt", &published_receipt(&server, &decision, 2));
    let policy = format!("witness w {vkey}\nwitness s {stranger}\ngroup g any w s\nquorum g\n");
    let policy = write(&server, "policy", &policy);
    let strict = format!("witness w {vkey}\nwitness s {stranger}\ngroup g all w s\nquorum g\n");
    let strict = write(&server, "strict", &strict);
    let verify = |more: &[&str]| -> Run {
        placet(&[&["verify", &receipt, "--trust", &trust, "--json"], more].concat())
    };
    let proven = verify(&["--witnesses", &policy]).exits(0).json();
    assert_eq!(proven["cosignatures"][0]["witness"], "w");
    let refused = verify(&["--witnesses", &strict]).exits(1).json();
    assert_eq!(refused["code"], "witness_quorum_missing");
    let cut = write(&server, "cut", "witness w\n");
    assert_eq!(verify(&["--witnesses", &cut]).exits(1).json()["code"], "witness_policy_malformed");

    // The witness goes away: checkpoints are published without it, and nothing waits.
    witness.stop();
    let alone = decide(&server);
    let lonely = write(&server, "lonely", &published_receipt(&server, &alone, 1));
    let args = ["verify", &lonely, "--trust", &trust, "--witnesses", &policy, "--json"];
    assert_eq!(placet(&args).exits(1).json()["code"], "witness_quorum_missing");

    // The store is rolled back to before, by a copy that brings its own high-water mark.
    let mut server = server;
    server.stop();
    let old = server.dir.path().join("old");
    copy(&server.dir.path().join("data"), &old);
    let witness = start_witness(&memory, &trust);
    let flags = ["--dev", "--witness", &vkey, &witness.url.clone()];
    let mut server = server.again(&flags);
    let honest = decide(&server);
    let first = write(&server, "first", &published_receipt(&server, &honest, 2));
    server.stop();
    copy(&old, &server.dir.path().join("data"));
    let server = server.again(&flags);
    for _ in 0..8 {
        decide(&server);
    }
    let forked = decide(&server);
    let second = write(&server, "second", &published_receipt(&server, &forked, 1));

    let compare = |first: &str, second: &str| {
        placet(&["verify", "--compare", first, second, "--trust", &trust, "--json"])
    };
    let found = compare(&first, &second).exits(1).json();
    assert!(["fork", "needs_proof"].contains(&found["code"].as_str().unwrap()), "{found}");
    assert_eq!(compare(&first, &first).exits(0).json()["code"], "same");
    // A receipt of the fork at the very index of the honest one proves it to anybody.
    let index = honest["log"]["index"].as_u64().unwrap();
    let at = server.get(&format!("/api/v1/audit?order=asc&cursor={index}&limit=1"));
    let at: Value = serde_json::from_str(&at).unwrap();
    let id = at["entries"][0]["entry"]["subject"][0]["name"].as_str().unwrap();
    let text = server.get(&format!("/api/v1/receipts/{id}?index={index}"));
    let third = write(&server, "third", &text);
    let found = compare(&first, &third).exits(1).json();
    assert_eq!(found["code"], "fork", "{found}");
    let evidence = found["evidence"].as_str().unwrap();
    assert!(evidence.starts_with("placet/fork/1\n"), "{found}");
    // Whoever has the key checks it, as a program keeps it and as a person does.
    let check = |text: &str, more: &[&str]| {
        let file = write(&server, "evidence", text);
        placet(&[&["verify", &file, "--trust", &trust, "--json"], more].concat())
    };
    let printed = placet(&["verify", "--compare", &first, &third, "--trust", &trust]).exits(1).out;
    for text in [evidence, &format!("{evidence}\n"), &printed] {
        let held = check(text, &[]).exits(1).json();
        assert_eq!((&held["code"], &held["verified"]), (&"fork".into(), &true.into()), "{held}");
    }
    // It is no receipt, and nothing of it may be altered.
    let expected = check(evidence, &["--expect", "PERMIT"]).exits(1).json();
    assert_eq!(expected["code"], "receipt_malformed");
    let altered = evidence.replacen("\nentry ", "\nentry 1", 1);
    assert_eq!(check(&altered, &[]).exits(1).json()["code"], "evidence_malformed");

    // The witness has kept what it was asked to sign, and shows it while it runs.
    let begun = Instant::now();
    loop {
        let args =
            ["witness", "--data", &memory, "--name", "witness.example/1", "--show", "--json"];
        let shown = placet(&args).exits(0).json();
        if shown["suspicious"].as_array().is_some_and(|all| !all.is_empty()) {
            assert!(shown["suspicious"][0]["request"].as_str().unwrap().starts_with("old "));
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{shown}");
    }
}
