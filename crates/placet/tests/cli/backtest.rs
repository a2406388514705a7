//! `policy diff` and `policy backtest` on real bundles and a real log.

use crate::support::{Server, bank, fed, placet};
use serde_json::{Value, json};
use std::path::Path;

/// The bank's bundle with something replaced, in a directory of its own.
fn altered(dir: &Path, from: &str, to: &str) -> String {
    std::fs::create_dir_all(dir).unwrap();
    let mut replaced = 0;
    for entry in std::fs::read_dir(bank()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            replaced += text.matches(from).count();
            let name = path.file_name().unwrap();
            std::fs::write(dir.join(name), text.replace(from, to)).unwrap();
        }
    }
    assert_eq!(replaced, 1, "{from}");
    dir.to_str().unwrap().to_owned()
}

#[test]
fn a_difference_is_one_of_decisions() {
    let dir = tempfile::tempdir().unwrap();
    let same = placet(&["policy", "diff", &bank(), &bank(), "--json"]).exits(0).json();
    assert_eq!(same["coverage"]["kind"], "identical");
    let reworded = altered(&dir.path().join("a"), "need a second person\"", "need two\"");
    let run = placet(&["policy", "diff", &bank(), &reworded]).exits(0);
    assert!(run.out.contains("no decision changes") && run.out.contains("altered"), "{}", run.out);
    let lower = altered(&dir.path().join("b"), "amount_cents <= 5000", "amount_cents <= 4000");
    let found = placet(&["policy", "diff", &bank(), &lower, "--json"]).exits(14).json();
    assert_eq!(found["coverage"]["kind"], "enumerated", "{found}");
    let changes = found["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{found}");
    assert_eq!(changes[0]["change"], "PERMIT -> SILENCE");
    assert_eq!(changes[0]["rules"], json!(["bank.refund-small"]));
    // The witness is one: as a request of that caller it is decided so.
    let witness = &changes[0]["witnesses"][0];
    let cents = witness["request"]["arguments"]["amount_cents"].as_i64().unwrap();
    assert!((4001..=5000).contains(&cents), "{witness}");
    let actor = witness["caller"]["actor"].as_str().unwrap();
    for (bundle, exit) in [(&bank(), 0), (&lower, 13)] {
        let args = ["decide", "-", "--bundle", bundle, "--actor", actor];
        fed(&args, &witness["request"].to_string()).exits(exit);
    }
    // A normal form is a bundle as well.
    let normal = dir.path().join("normal.json");
    let normal = normal.to_str().unwrap();
    placet(&["policy", "compile", "--bundle", &bank(), "--out", normal]).exits(0);
    placet(&["policy", "diff", normal, &bank()]).exits(0);
    let run = placet(&["policy", "diff", normal, &lower]).exits(14);
    assert!(run.out.contains("PERMIT -> SILENCE") && run.out.contains("enumerated"), "{}", run.out);
    let run = placet(&["policy", "diff", &format!("{}/rules.yaml", bank()), &lower]).exits(1);
    assert!(run.err.contains("no normal form"), "{}", run.err);
}

/// A log with every outcome: permits, holds, refusals, windows, an erased payload and a kill.
fn busy() -> Server {
    let server = Server::dev();
    let ask = |surface: &str, action: &str, cents: i64, key: &str| -> Value {
        let request = json!({
            "surface": surface, "action": action, "idempotency_key": key,
            "arguments": {"amount_cents": cents}, "subjects": [key], "trace_id": format!("t-{key}"),
        });
        let file = server.file("request.json");
        std::fs::write(&file, request.to_string()).unwrap();
        server.run(&["decide", &file, "--json"]).json()
    };
    let outcome = |document: &Value| document["outcome"].as_str().unwrap().to_owned();
    for (at, cents) in [1_i64, 3999, 4000, 4500, 5000].into_iter().enumerate() {
        let decided = ask("payments.refund", "create", cents, &format!("small-{at}"));
        assert_eq!(outcome(&decided), "PERMIT");
    }
    assert_eq!(outcome(&ask("payments.refund", "create", 6000, "large")), "REQUIRE_APPROVAL");
    assert_eq!(outcome(&ask("crm.account", "delete", 1, "gone")), "DENY");
    assert_eq!(outcome(&ask("weather", "change", 1, "rain")), "SILENCE");
    for (at, want) in ["PERMIT", "PERMIT", "PERMIT", "THROTTLE", "THROTTLE"].iter().enumerate() {
        assert_eq!(outcome(&ask("message.send", "send", 1, &format!("message-{at}"))), *want);
    }
    assert_eq!(outcome(&ask("payments.refund", "create", 4600, "erased")), "PERMIT");
    server.run(&["audit", "erase", "--subject", "erased", "--reason", "test", "--yes"]).exits(0);
    server.run(&["kill"]).exits(0);
    assert_eq!(outcome(&ask("payments.refund", "create", 4700, "killed")), "DENY");
    server
}

#[test]
fn a_backtest_finds_what_changes_and_nothing_else() {
    let server = busy();
    let data = server.data();
    let dir = tempfile::tempdir().unwrap();
    let test = |bundle: &str, more: &[&str]| {
        let mut args = vec!["policy", "backtest", bundle, "--data", &data, "--json"];
        args.extend(more);
        placet(&args)
    };
    // Under the bundle of the log nothing changes, whatever the number of threads.
    for threads in ["1", "2", "5"] {
        let same = test(&bank(), &["--threads", threads]).exits(0).json();
        assert_eq!(same["changes"], json!([]), "{same}");
        assert_eq!(same["evaluated"], same["unchanged"]);
        assert_eq!(same["evaluated"], 13, "{same}");
        assert_eq!(same["excluded"]["payload_erased"], 1, "{same}");
        assert_eq!(same["excluded"]["killed"], 1, "{same}");
    }
    // One bound lowered: the two refunds above it, and not the one whose payload is erased.
    let lower = altered(&dir.path().join("a"), "amount_cents <= 5000", "amount_cents <= 4000");
    let found = test(&lower, &[]).exits(14).json();
    let changes = found["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{found}");
    assert_eq!(
        (&changes[0]["change"], &changes[0]["count"]),
        (&json!("PERMIT -> SILENCE"), &json!(2))
    );
    let traces: Vec<&str> = changes[0]["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sample| sample["trace_id"].as_str().unwrap())
        .collect();
    assert_eq!(traces, ["t-small-3", "t-small-4"]);
    let decision = changes[0]["samples"][0]["decision"].as_str().unwrap();
    let entries = server.run(&["audit", "query", "--decision", decision, "--json"]).exits(0).json();
    assert_eq!(entries["entries"][0]["index"], changes[0]["samples"][0]["index"]);
    // Nothing of that kind on another surface, and nothing at all before the log began.
    test(&lower, &["--surface", "message.send"]).exits(0);
    let none = test(&lower, &["--until", "2020-01-01T00:00:00Z"]).exits(1).json();
    assert_eq!(none["decisions"], 0);
    test(&lower, &["--since", "1h"]).exits(14);
    let run = test(&lower, &["--since", "yesterday"]).exits(2);
    assert!(run.err.contains("is no time"), "{}", run.err);
    test(&lower, &["--workspace", "elsewhere"]).exits(1);
    // A window of another length counts what was really sent: the third message had come too soon.
    let fewer = altered(&dir.path().join("b"), "count: 3", "count: 2");
    let found = test(&fewer, &[]).exits(14).json();
    assert_eq!(found["changes"][0]["change"], "PERMIT -> THROTTLE", "{found}");
    assert_eq!(found["changes"][0]["count"], 1, "{found}");
    let renamed = altered(&dir.path().join("c"), "id: bank.message-burst", "id: bank.burst");
    let found = test(&renamed, &[]).exits(14).json();
    assert_eq!(found["changes"][0]["change"], "THROTTLE, other rules", "{found}");
    assert_eq!(found["changes"][0]["count"], 2, "{found}");
    let wider = altered(&dir.path().join("d"), "count: 3", "count: 30");
    let found = test(&wider, &[]).exits(14).json();
    assert_eq!(found["changes"][0]["change"], "THROTTLE -> PERMIT", "{found}");
    let run = placet(&["policy", "backtest", &lower, "--data", &data]).exits(14);
    assert!(
        run.out.contains("PERMIT -> SILENCE") && run.out.contains("payload_erased"),
        "{}",
        run.out
    );
    // The log is a source of requests for what cannot be enumerated.
    let sampled =
        altered(&dir.path().join("e"), "amount_cents <= 5000", "amount_cents * 1 <= 4000");
    let found = placet(&["policy", "diff", &bank(), &sampled, "--data", &data, "--json"]);
    let found = found.exits(14).json();
    assert_eq!(found["coverage"]["kind"], "sampled");
    assert_eq!(found["coverage"]["given"], 13, "{found}");
}

#[test]
fn a_shadow_is_recorded_and_changes_nothing() {
    let mut server = Server::dev();
    let dir = tempfile::tempdir().unwrap();
    let lower = altered(&dir.path().join("a"), "amount_cents <= 5000", "amount_cents <= 4000");
    let refund = |server: &Server, cents: i64| {
        let key = format!("refund-{cents}");
        let request = json!({
            "surface": "payments.refund", "action": "create", "idempotency_key": key,
            "arguments": {"amount_cents": cents}, "trace_id": key,
        });
        let file = server.file("request.json");
        std::fs::write(&file, request.to_string()).unwrap();
        server.run(&["decide", &file, "--json"]).exits(0).json()
    };
    let none = server.run(&["policy", "shadow", "--status", "--json"]).exits(0).json();
    assert_eq!(none["shadow"], Value::Null);
    let set = server.run(&["policy", "shadow", "--bundle", &lower, "--json"]).exits(0).json();
    assert_eq!(set["shadow"]["compared"], 0, "{set}");
    assert!(set["index"].is_u64() && set["decision"].is_string(), "{set}");
    assert_ne!(set["shadow"]["policy"], set["enforced"]);
    assert_eq!(refund(&server, 1000)["outcome"], "PERMIT");
    let decided = refund(&server, 4500);
    assert_eq!(decided["outcome"], "PERMIT");
    assert_eq!(decided["rules"], json!(["bank.refund-small"]));
    assert!(decided.get("would").is_none(), "whoever asks hears nothing of it: {decided}");
    let stands = server.run(&["policy", "shadow", "--status", "--json"]).exits(0).json();
    assert_eq!(
        (&stands["shadow"]["compared"], &stands["shadow"]["differed"]),
        (&json!(2), &json!(1)),
        "{stands}"
    );
    // Still there after a restart, and counting on.
    server = server.again(&["--dev", "--bundle", &bank()]);
    assert_eq!(refund(&server, 4600)["outcome"], "PERMIT");
    let stands = server.run(&["policy", "shadow", "--status", "--json"]).exits(0).json();
    assert_eq!(
        (&stands["shadow"]["compared"], &stands["shadow"]["differed"]),
        (&json!(3), &json!(2)),
        "{stands}"
    );
    let mut found = Vec::new();
    for _ in 0..100 {
        let query = server.run(&["audit", "query", "--would-differ", "--ascending", "--json"]);
        found = query.exits(0).json()["entries"].as_array().unwrap().clone();
        if found.len() == 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let traces: Vec<&Value> =
        found.iter().map(|entry| &entry["entry"]["predicate"]["data"]["trace"]).collect();
    assert_eq!(traces, [&json!("refund-4500"), &json!("refund-4600")]);
    let would = &found[0]["entry"]["predicate"]["data"]["would"];
    assert_eq!((&would["outcome"], &would["rules"]), (&json!("SILENCE"), &json!([])), "{would}");
    assert_eq!(would["policy"], stands["shadow"]["policy"]);
    let both = ["audit", "query", "--would-differ", "--rule", "bank.refund-small", "--json"];
    assert_eq!(server.run(&both).exits(0).json()["entries"].as_array().unwrap().len(), 2);
    let cleared = server.run(&["policy", "shadow", "--clear", "--json"]).exits(0).json();
    assert_eq!(cleared["shadow"], Value::Null);
    refund(&server, 4700);
    let data = server.data();
    let replay = placet(&["audit", "replay", "--data", &data, "--json"]).exits(0).json();
    assert_eq!(replay["differences"], 0, "{replay}");
    // Where the request is erased, replay takes the word as recorded.
    let decision = decided["id"].as_str().unwrap();
    server.run(&["audit", "erase", "--decision", decision, "--yes"]).exits(0);
    let replay = placet(&["audit", "replay", "--data", &data, "--json"]).exits(0).json();
    assert_eq!(replay["differences"], 0, "{replay}");
    placet(&["policy", "backtest", &bank(), "--data", &data]).exits(0);
    server.run(&["policy", "shadow", "--bundle", "no/such", "--json"]).exits(1);
}

#[test]
fn a_shadow_takes_two_admins_where_there_are_two() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    let made = server.run_as(&ann, &["key", "create", "human:bob", "--role", "admin", "--json"]);
    let bob = made.exits(0).json()["key"].as_str().unwrap().to_owned();
    let set = ["policy", "shadow", "--bundle", &bank(), "--idempotency-key", "s1", "--json"];
    let waits = server.run_as(&ann, &set).exits(10).json();
    assert_eq!(waits["decision"]["surface"], "policy.shadow", "{waits}");
    let approval = waits["decision"]["approval"]["id"].as_str().unwrap();
    let digest = waits["decision"]["action_digest"].as_str().unwrap();
    server.run_as(&bob, &["approve", approval, "--digest", digest]).exits(0);
    let done = server.run_as(&ann, &set).exits(0).json();
    assert_eq!(done["shadow"]["policy"], done["enforced"], "{done}");
    let agent = server.run_as(&ann, &["key", "create", "agent:bot", "--json"]);
    let agent = agent.exits(10).json();
    assert!(agent["decision"]["approval"]["id"].is_string());
}

/// A comparison of nothing is no success.
#[test]
fn a_backtest_of_nothing_says_so() {
    let mut server = busy();
    server.stop();
    let data = server.data();
    let of = |surface: &str, code: i32| {
        let args = ["policy", "backtest", &bank(), "--data", &data, "--surface", surface];
        placet(&args).exits(code)
    };
    of("payments.refund", 0);
    let run = of("payments.refnud", 1);
    assert!(run.out.contains("nothing was compared"), "{run:?}");
}
