//! `audit erase` and `hold`: what they print, ask and exit with.

use crate::support::{Server, placet};
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

#[test]
fn an_erasure_is_no_success_before_the_keys_are_gone() {
    let server = Server::dev();
    decided(&server, "maria");
    let erase =
        |subject: &str| server.run(&["audit", "erase", "--subject", subject, "--yes", "--json"]);
    // A reader keeps what was there in the write-ahead log.
    let reader = rusqlite::Connection::open(format!("{}/keys.db", server.data())).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_master;").unwrap();
    for _ in 0..2 {
        let run = erase("maria").exits(1);
        assert!(run.err.contains("docs/errors/keys_not_destroyed.md"), "{run:?}");
    }
    // What comes to nothing waits for nothing.
    erase("hans").exits(0);
    drop(reader);
    let done = erase("maria").exits(0).json();
    assert_eq!((&done["erased_before"], &done["destroyed"]), (&json!(1), &json!(true)), "{done}");
}

#[test]
fn what_is_erased_stays_erased_after_a_restore() {
    let mut server = Server::dev();
    decided(&server, "maria");
    decided(&server, "hans");
    let data = server.data();
    let backup = |log: &str, keys: &str| {
        let to = [server.file(log), server.file(keys)];
        placet(&["backup", "--data", &data, "--to", &to[0], "--keys-to", &to[1]]).exits(0);
    };
    backup("log-1", "keys-1");
    server.run(&["audit", "erase", "--subject", "maria", "--yes"]).exits(0);
    backup("log-2", "keys-2");
    let restore = |log: &str, keys: &str| {
        let to = server.file(&format!("{log}-{keys}"));
        let from = [server.file(log), server.file(keys)];
        let run = placet(&[
            "restore",
            "--from",
            &from[0],
            "--keys-from",
            &from[1],
            "--data",
            &to,
            "--json",
        ]);
        std::fs::copy(format!("{data}/master.key"), format!("{to}/master.key")).unwrap();
        (to, run.exits(0).json())
    };
    let verified = |data: &str, code: i32| {
        let verdict = placet(&["audit", "verify", "--data", data, "--json"]).exits(code).json();
        verdict["workspaces"][0].clone()
    };
    let payloads = |data: &str| verified(data, 0)["payloads"].clone();
    assert_eq!(payloads(&data)["erased"], 1);
    // The keys of after it do not have it.
    let (both, _) = restore("log-2", "keys-2");
    assert_eq!(payloads(&both)["erased"], 1);
    // The keys of before it do, and the first start destroys it again.
    let (older, _) = restore("log-2", "keys-1");
    assert_eq!(payloads(&older)["erased"], 0);
    Server::over(&older, &["--dev"]).stop();
    assert_eq!(payloads(&older)["erased"], 1);
    // A log of before it does not say so: the payload stays away, and verifying names the entry.
    let (newer, said) = restore("log-1", "keys-2");
    assert!(said["next"].to_string().contains("does not say so"), "{said}");
    let verdict = verified(&newer, 1);
    assert!(verdict["fault"].as_str().unwrap().contains("no entry says so"), "{verdict}");
    let entry = verdict["first_bad"].as_u64().unwrap();
    // Said afterwards, it is in order again. The restored server is killed until it is lifted.
    let again = Server::over(&newer, &["--dev"]);
    again.run(&["lift", "--everything"]).exits(0);
    again.run(&["audit", "erase", "--subject", "maria", "--yes"]).exits(0);
    let verdict = verified(&newer, 0);
    assert!(verdict["entries"].as_u64().unwrap() > entry);
    assert_eq!(verdict["payloads"]["erased"], 1, "{verdict}");
    server.stop();
}
