//! Deciding locally and by a server: outcomes, exits, documents.

use crate::support::{Server, bank, bank_request, fed, placet};
use serde_json::{Value, json};

fn exit_of(outcome: &str) -> i32 {
    match outcome {
        "PERMIT" => 0,
        "REQUIRE_APPROVAL" => 10,
        "THROTTLE" => 11,
        "DENY" => 12,
        "SILENCE" => 13,
        other => panic!("{other}"),
    }
}

#[test]
fn the_sample_requests_decide_as_they_say() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
    let lines = std::fs::read_to_string(format!("{samples}/requests.jsonl")).unwrap();
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let run =
            fed(&["decide", "-", "--bundle", samples, "--json"], &case["request"].to_string());
        let want = case["want"].as_str().unwrap();
        let run = run.exits(exit_of(want));
        let document = run.json();
        assert_eq!(document["outcome"], want, "{line}");
        let rules = case["rule"].as_str().map_or(json!([]), |rule| json!([rule]));
        assert_eq!(document["rules"], rules, "{line}");
        if let Some(constraints) = case.get("constraints") {
            assert_eq!(document["constraints"], *constraints);
        }
        for null in ["id", "log", "permit"] {
            assert_eq!(document.get(null), Some(&Value::Null), "{null}");
        }
        assert_eq!(document["dry_run"], true);
    }
}

#[test]
fn a_dry_run_and_the_server_say_the_same_of_the_same() {
    let server = Server::dev();
    for (name, outcome) in [
        ("read-account", "PERMIT"),
        ("refund-large", "REQUIRE_APPROVAL"),
        ("delete-account", "DENY"),
        ("unknown-surface", "SILENCE"),
    ] {
        let file = bank_request(name);
        let caller = ["--actor", "service:local", "--role", "operator"];
        let mut args = vec!["decide", file.as_str(), "--json", "--bundle"];
        let bundle = bank();
        args.push(&bundle);
        args.extend(caller);
        let dry = placet(&args).exits(exit_of(outcome)).json();
        let real = server.run(&["decide", &file, "--json"]).exits(exit_of(outcome)).json();
        for key in [
            "outcome",
            "rules",
            "reasons",
            "policy",
            "language",
            "action_digest",
            "request_digest",
            "constraints",
            "matched",
            "surface",
            "action",
            "environment",
            "actor",
        ] {
            assert_eq!(dry[key], real[key], "{name}: {key}");
        }
        let keys = |document: &Value| -> Vec<String> {
            let ignored = [
                "dry_run",
                "retry_after_ms",
                "trace_id",
                "replayed",
                "reported",
                "outcome_unknown",
            ];
            let all = document.as_object().unwrap().keys().cloned();
            all.filter(|key| !ignored.contains(&key.as_str())).collect()
        };
        assert_eq!(keys(&dry), keys(&real), "{name}");
    }
}

#[test]
fn a_permit_that_another_attempt_consumed_is_no_success() {
    let server = Server::dev();
    let file = bank_request("refund-small");
    server.run(&["decide", &file]).exits(0);
    server.run(&["decide", &file]).exits(0);
    let text = std::fs::read_to_string(&file).unwrap();
    let other = server.file("other.json");
    std::fs::write(&other, text.replace("attempt-1-of", "attempt-2-of")).unwrap();
    let run = server.run(&["decide", &other, "--json"]).exits(1);
    assert_eq!(run.json()["permit"]["state"], "consumed");
    assert!(run.err.contains("do not execute"), "{run:?}");
}

#[test]
fn json_lines_give_a_document_per_line() {
    let request = |surface: &str, key: &str| {
        json!({"surface": surface, "action": "read", "idempotency_key": key}).to_string()
    };
    let lines = format!("{}\n\n{}\n", request("crm.account", "a"), request("weather.change", "b"));
    let run = fed(&["decide", "-", "--lines", "--json", "--bundle", &bank()], &lines).exits(13);
    let outcomes: Vec<Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["PERMIT", "SILENCE"]);
}

#[test]
fn an_explanation_says_of_every_rule_why() {
    let file = bank_request("refund-large");
    let bundle = bank();
    let run = placet(&["policy", "explain", &file, "--bundle", &bundle]).exits(0);
    assert!(run.out.contains("bank.refund-small") && run.out.contains("is false"), "{}", run.out);
    assert!(run.out.contains("REQUIRE_APPROVAL"), "{}", run.out);
    let document =
        placet(&["policy", "explain", &file, "--bundle", &bundle, "--json"]).exits(0).json();
    assert_eq!(document["decision"]["outcome"], "REQUIRE_APPROVAL");
    let rules = document["trace"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 8);
    let compiled = placet(&["policy", "compile", "--bundle", &bundle, "--json"]).exits(0).json();
    assert_eq!((&compiled["ok"], &compiled["rules"]), (&json!(true), &json!(8)));
    assert_eq!(compiled["digest"], document["decision"]["policy"]);
}

#[test]
fn a_refund_of_less_than_nothing_is_not_a_small_one() {
    let bundle = bank();
    for amount in ["-1", "0", "-4200"] {
        let request = format!(
            r#"{{"surface":"payments.refund","action":"create","idempotency_key":"k","arguments":{{"amount_cents":{amount}}}}}"#
        );
        fed(&["decide", "-", "--bundle", &bundle], &request).exits(13);
    }
    // People approve; they do not ask.
    let request = bank_request("refund-small");
    placet(&["decide", &request, "--bundle", &bundle, "--actor", "human:eve"]).exits(13);
}
