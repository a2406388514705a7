//! Evidence: receipts good and altered, the log verified, replayed and exported.

use crate::support::{Run, Server, bank, bank_request, placet};
use serde_json::{Value, json};

/// A stopped server with some decisions, its pinned keys and two receipts.
fn stopped() -> Server {
    let mut server = Server::dev();
    server
        .run(&["decide", &bank_request("read-account"), "--receipt", &server.file("permit")])
        .exits(0);
    server
        .run(&["decide", &bank_request("delete-account"), "--receipt", &server.file("deny")])
        .exits(12);
    server.run(&["decide", &bank_request("refund-large")]).exits(10);
    server.run(&["key", "trust", "--out", &server.file("trust.json")]).exits(0);
    let found = server.run(&["audit", "query", "--type", "decision", "--json"]).exits(0).json();
    assert_eq!(found["entries"].as_array().unwrap().len(), 3);
    assert!(
        server
            .run(&["audit", "query", "--outcome", "DENY"])
            .exits(0)
            .out
            .contains("bank.never-delete")
    );
    let live = server.run(&["audit", "export"]).exits(0);
    server.stop();
    let offline = placet(&["audit", "export", "--data", &server.data()]).exits(0);
    let index = |run: &Run| -> Vec<Value> {
        run.out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["index"].clone())
            .collect()
    };
    assert_eq!(index(&live), index(&offline));
    server
}

#[test]
fn a_receipt_is_verified_and_an_altered_one_refused() {
    let server = stopped();
    let (permit, deny, trust) =
        (server.file("permit"), server.file("deny"), server.file("trust.json"));
    let pinned = ["--trust", trust.as_str(), "--json"];
    let verify =
        |file: &str, more: &[&str]| placet(&[&["verify", file][..], &pinned[..], more].concat());
    let proven = verify(&permit, &["--expect", "PERMIT"]).exits(0).json();
    assert_eq!((&proven["verified"], &proven["outcome"]), (&json!(true), &json!("PERMIT")));
    assert_eq!(verify(&deny, &[]).exits(0).json()["outcome"], "DENY");
    assert_eq!(verify(&deny, &["--expect", "PERMIT"]).exits(1).json()["code"], "outcome_mismatch");
    let both = placet(&["verify", &permit, &deny, "--trust", &trust]).exits(0);
    assert_eq!(both.out.matches("verified").count(), 2, "{both:?}");

    let text = std::fs::read_to_string(&permit).unwrap();
    let altered = server.file("altered");
    let bytes = text.replacen("extra ey", "extra eY", 1);
    assert_ne!(bytes, text);
    std::fs::write(&altered, bytes).unwrap();
    let refused = verify(&altered, &[]).exits(1).json();
    assert_eq!(refused["verified"], false);
    let foreign = server.file("foreign.json");
    let other = Server::dev();
    other.run(&["key", "trust", "--out", &foreign]).exits(0);
    let run = placet(&["verify", &permit, "--trust", &foreign, "--json"]).exits(1);
    assert_eq!(run.json()["code"], "unknown_origin");
    let run = placet(&["verify", &permit, "--trust", "/no/such/file", "--json"]).exits(1);
    assert_eq!(run.json()["code"], "trust_missing");
}

#[test]
fn a_log_is_verified_and_replayed_offline() {
    let server = stopped();
    let data = server.data();
    let verdict = placet(&["audit", "verify", "--data", &data, "--json"]).exits(0).json();
    assert_eq!(verdict["ok"], true);
    let log = &verdict["workspaces"][0];
    assert_eq!(log["name"], "default");
    let (entries, root) = (log["entries"].as_u64().unwrap(), log["root"].as_str().unwrap());

    let roots = server.file("roots");
    let check = |text: String| {
        std::fs::write(&roots, text).unwrap();
        placet(&["audit", "verify", "--data", &data, "--roots", &roots, "--json"])
    };
    let run =
        check(format!("{entries} {root}\n{{\"size\":{entries},\"root\":\"{root}\"}}\n")).exits(0);
    assert_eq!(run.json()["roots"], json!({"checked": 2, "mismatches": []}));
    check(std::fs::read_to_string(server.file("permit")).unwrap()).exits(0);
    let other = if root.starts_with('A') { "B" } else { "A" };
    let run = check(format!("{entries} {other}{}\n", &root[1..])).exits(1);
    assert_eq!(run.json()["ok"], false);
    check(format!("{} {root}\n", entries + 1)).exits(1);

    let replay = placet(&["audit", "replay", "--data", &data, "--json"]).exits(0).json();
    assert_eq!(
        replay,
        json!({"decisions": 3, "re_evaluated": 3, "re_stepped": 0, "differences": 0})
    );

    let altered = tempfile::tempdir().unwrap();
    for name in ["rules.yaml", "floor.yaml", "surfaces.yaml"] {
        let text = std::fs::read_to_string(format!("{}/{name}", bank())).unwrap();
        let text = text.replacen("decision: allow\n", "decision: deny\n", 1);
        std::fs::write(altered.path().join(name), text).unwrap();
    }
    let bundle = altered.path().to_str().unwrap();
    let run = placet(&["audit", "replay", "--data", &data, "--bundle", bundle, "--json"]).exits(1);
    let replay = run.json();
    assert_eq!(replay["differences"], 1, "{replay}");
    let first = &replay["first_difference"];
    assert_eq!(
        (&first["recorded"]["outcome"], &first["derived"]["outcome"]),
        (&json!("PERMIT"), &json!("DENY"))
    );
    placet(&["audit", "replay", "--data", "/no/such/dir"]).exits(1);
}

#[test]
fn what_would_check_nothing_is_refused() {
    let server = stopped();
    let verify = ["audit", "verify", "--data", &server.data()].map(str::to_owned);
    let empty = server.file("empty");
    std::fs::write(&empty, "\n").unwrap();
    for more in [["--threads", "0"], ["--threads", "20000"], ["--roots", &empty]] {
        let mut args: Vec<&str> = verify.iter().map(String::as_str).collect();
        args.extend(more);
        let run = placet(&args).exits(2);
        assert!(run.err.contains("1 to 256") || run.err.contains("holds no roots"), "{run:?}");
    }
    let both = ["verify", "receipt", "--trust", "mine", "--keys", "http://127.0.0.1:1"];
    assert!(placet(&both).exits(2).err.contains("--trust"), "one of them is believed");
}

#[test]
fn a_log_that_lost_its_tail_is_refused() {
    let server = stopped();
    let marks = std::path::Path::new(&server.data()).join("highwater");
    let text = std::fs::read_to_string(&marks).unwrap();
    std::fs::write(&marks, text.replace("\"default\":", "\"default\":1")).unwrap();
    let run = placet(&["audit", "verify", "--data", &server.data(), "--json"]).exits(1);
    let fault = run.json()["workspaces"][0]["fault"].as_str().unwrap().to_owned();
    assert!(fault.contains("tail"), "{fault}");
    std::fs::remove_file(&marks).unwrap();
    let run = placet(&["audit", "verify", "--data", &server.data(), "--json"]).exits(1);
    assert_eq!(run.json()["code"], "data_dir_damaged");
}
