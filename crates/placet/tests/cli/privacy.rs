//! `audit erase` and `hold`: what they print, ask and exit with.

use crate::support::Server;
use serde_json::json;

fn decided(server: &Server, subject: &str) -> String {
    let file = server.file(&format!("{subject}.json"));
    let request = json!({"surface": "payments.refund", "action": "create", "subjects": [subject],
        "idempotency_key": subject, "arguments": {"amount_cents": 1}});
    std::fs::write(&file, request.to_string()).unwrap();
    server.run(&["decide", &file, "--json"]).json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn erasing_looks_first_asks_and_says_what_it_did() {
    let server = Server::dev();
    let one = decided(&server, "maria");
    decided(&server, "hans");
    let what = ["audit", "erase", "--subject", "maria"];
    let with = |more: &[&str]| server.run(&[&what, more].concat());
    assert!(
        with(&["--dry-run"]).exits(0).out.contains("1 payloads of 1 decisions would be erased")
    );
    // Nobody can be asked here.
    let refused = with(&[]).exits(2);
    assert!(refused.err.contains("--yes") && refused.err.contains("--dry-run"), "{refused:?}");
    server.run(&["audit", "erase", "--yes"]).exits(2);
    with(&["--before", "1h", "--yes"]).exits(2);
    assert_eq!(with(&["--dry-run", "--json"]).exits(0).json()["payloads"], 1);

    let hold = ["hold", "place", "--decision", &one, "--reason", "case-1", "--json"];
    let hold = server.run(&hold).exits(0).json()["id"].as_str().unwrap().to_owned();
    assert!(with(&["--dry-run"]).exits(0).out.contains("1 kept by a legal hold"));
    let refused = with(&["--yes", "--json"]).exits(1);
    assert_eq!(refused.json()["code"], "legal_hold");
    assert!(server.run(&["hold", "list"]).exits(0).out.contains(&hold));
    server.run(&["hold", "release", &hold]).exits(0);
    assert_eq!(
        server.run(&["hold", "release", &hold, "--json"]).exits(1).json()["code"],
        "not_found"
    );

    let erased = with(&["--yes", "--reason", "gdpr.art17"]).exits(0);
    assert!(erased.out.contains("1 payloads of 1 decisions erased"), "{erased:?}");
    assert_eq!(with(&["--yes", "--json"]).exits(0).json()["erased_before"], 1);
    let rest = server.run(&["audit", "erase", "--before", "0s", "--yes", "--json"]).exits(0).json();
    assert_eq!(rest["destroyed"], true, "{rest}");
    let replayed = server.run(&["audit", "replay", "--data", &server.data(), "--json"]).exits(0);
    assert_eq!(replayed.json()["differences"], 0);
    server.run(&["audit", "verify", "--data", &server.data()]).exits(0);
}
