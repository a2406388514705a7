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
    // What nearly matched has a line, and everything else is counted.
    assert!(run.out.contains("near  bank.refund-small") && run.out.contains("is false"), "{run:?}");
    assert!(run.out.contains("more do not concern this request"), "{run:?}");
    assert!(run.out.contains("REQUIRE_APPROVAL"), "{}", run.out);
    let document =
        placet(&["policy", "explain", &file, "--bundle", &bundle, "--json"]).exits(0).json();
    assert_eq!(document["decision"]["outcome"], "REQUIRE_APPROVAL");
    let rules = document["trace"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 8);
    let compiled = placet(&["policy", "compile", "--bundle", &bundle, "--json"]).exits(0).json();
    assert_eq!((&compiled["ok"], &compiled["rules"]), (&json!(true), &json!(8)));
    assert_eq!(compiled["digest"], document["decision"]["policy"]);
    let only = placet(&["policy", "explain", &file, "--bundle", &bundle, "--matched", "--json"]);
    let only = only.exits(0).json();
    let rules = only["trace"]["rules"].as_array().unwrap();
    assert!(!rules.is_empty() && rules.iter().all(|rule| rule["matched"] == true), "{rules:?}");
    let args =
        ["policy", "explain", &file, "--bundle", &bundle, "--rule", "bank.refund-small", "--json"];
    let one = placet(&args).exits(0).json();
    assert_eq!(one["trace"]["rules"].as_array().unwrap().len(), 1);
    let args = ["policy", "explain", &file, "--bundle", &bundle, "--rule", "bank.nothing"];
    assert!(placet(&args).exits(2).err.contains("no rule bank.nothing"));
}

const TIMED: &str = r#"version: v1
rules:
  - { id: pay, match: { surfaces: [pay] }, decision: allow }
  - { id: night, match: { surfaces: [pay] }, schedule: { from: "22:00", until: "22:30" }, decision: deny }
  - { id: note, match: { surfaces: [pay] }, decision: deny, advice: true }
  - { id: few, match: { surfaces: [pay] }, limit: { count: 2, per: 1h, key: [actor] }, decision: throttle }
  - { id: tied, match: { surfaces: [pay] }, after: { surface: export, within: 10m, same: [actor] }, decision: deny }
  - { id: export, match: { surfaces: [export] }, decision: allow }
surfaces: { pay: {}, export: {} }
"#;

#[test]
fn an_explanation_says_what_applies_and_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    std::fs::create_dir(dir.path().join("policy")).unwrap();
    file("policy/p.yaml", TIMED);
    let bundle = dir.path().join("policy").to_string_lossy().into_owned();
    let body = |surface: &str| {
        format!(r#"{{"surface":"{surface}","action":"run","idempotency_key":"k"}}"#)
    };
    let request = file("request.json", &body("pay"));
    let said = |more: &[&str]| {
        let args = [&["policy", "explain", &request, "--bundle", &bundle, "--json"], more].concat();
        let document = placet(&args).exits(0).json();
        let rules = document["trace"]["rules"].as_array().unwrap().clone();
        let of = move |id: &str| {
            let rule = rules.iter().find(|rule| rule["id"] == id).unwrap();
            let applies = rule["applies"].as_bool();
            (applies, rule["why"].as_str().unwrap_or_default().to_owned())
        };
        (document["decision"]["outcome"].as_str().unwrap().to_owned(), of)
    };
    let (outcome, of) = said(&["--at", "2026-03-02T12:00:00Z"]);
    assert_eq!((outcome.as_str(), of("pay").0), ("PERMIT", Some(true)));
    let (applies, why) = of("night");
    assert_eq!(applies, Some(false));
    assert!(why.contains("outside its schedule: 22:00-22:30 UTC"), "{why}");
    let (applies, why) = of("note");
    assert!(applies == Some(false) && why.starts_with("advice only"), "{why}");
    let (applies, why) = of("few");
    let told = "limit of 2 in 1h, counted by actor=agent:local";
    assert!(applies == Some(false) && why.contains("has room") && why.contains(told), "{why}");
    let (applies, why) = of("tied");
    let told = "only after an action on export within 10m with the same actor=agent:local";
    assert!(applies == Some(false) && why.contains(told), "{why}");
    let (outcome, of) = said(&["--at", "2026-03-02T22:10:00Z"]);
    assert_eq!((outcome.as_str(), of("night").0), ("DENY", Some(true)));
    // After two payments the window is full, and after an export paying is denied.
    let paid = format!(r#"[{{"ago":"5m","times":2,"request":{}}}]"#, body("pay"));
    let paid = file("paid.json", &paid);
    let (outcome, of) = said(&["--at", "2026-03-02T12:00:00Z", "--history", &paid]);
    assert_eq!(
        (outcome.as_str(), of("few").0, of("tied").0),
        ("THROTTLE", Some(true), Some(false))
    );
    let exported = format!(r#"[{{"ago":300000,"request":{}}}]"#, body("export"));
    let exported = file("exported.json", &exported);
    let (outcome, of) = said(&["--at", "2026-03-02T12:00:00Z", "--history", &exported]);
    assert_eq!((outcome.as_str(), of("tied").0), ("DENY", Some(true)));
    // For people: why, and no row of a rule that nobody wrote.
    let args = ["policy", "explain", &request, "--bundle", &bundle, "--at", "2026-03-02T12:00:00Z"];
    let text = placet(&args).exits(0).out;
    assert!(text.contains("advice only") && !text.contains("after:tied"), "{text}");
    let args = ["policy", "explain", &request, "--bundle", &bundle, "--at", "noon"];
    placet(&args).exits(2);
    let unknown = file("unknown.json", &body("exprot"));
    let text = placet(&["policy", "explain", &unknown, "--bundle", &bundle]).exits(0).out;
    assert!(text.contains("did you mean export?"), "{text}");
}

#[test]
fn a_server_explains_what_it_has_in_force() {
    let server = Server::dev();
    let file = bank_request("refund-large");
    let document = server.run(&["policy", "explain", &file, "--json"]).exits(0).json();
    assert_eq!(document["decision"]["outcome"], "REQUIRE_APPROVAL");
    let run = server.run(&["policy", "explain", &file, "--matched"]).exits(0);
    assert!(run.out.contains("bank.refund-large") && !run.out.contains("near"), "{run:?}");
}

/// Each thing that is said of the caller counts, alone and where it is what a local decision assumes.
#[test]
fn a_server_explains_for_the_caller_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "version: v1
rules:
  - { id: agents, match: { actor_kinds: [agent] }, decision: deny }
  - { id: live, match: { environments: [production] }, decision: require_approval }
  - { id: roots, match: { roles: [root] }, decision: throttle }
  - { id: all, match: {}, decision: allow }
";
    std::fs::write(dir.path().join("rules.yaml"), policy).unwrap();
    let bundle = dir.path().to_string_lossy().into_owned();
    let server = Server::over(&format!("{bundle}/data"), &["--dev", "--bundle", &bundle]);
    let file = bank_request("read-account");
    for (more, outcome) in [
        (&[][..], "PERMIT"),
        (&["--environment", "production"], "REQUIRE_APPROVAL"),
        (&["--actor", "agent:local"], "DENY"),
        (&["--role", "root"], "THROTTLE"),
        (&["--actor", "service:x", "--environment", "production"], "REQUIRE_APPROVAL"),
    ] {
        let args = [&["policy", "explain", &file, "--json"], more].concat();
        let document = server.run(&args).exits(0).json();
        assert_eq!(document["decision"]["outcome"], outcome, "{more:?}");
    }
    let decision = server.run(&["decide", &file, "--json"]).exits(0).json();
    let id = decision["id"].as_str().unwrap();
    server.run(&["policy", "explain", "--decision", id]).exits(0);
    for more in [["--environment", "production"], ["--actor", "human:zz"], ["--role", "admin"]] {
        let args = [&["policy", "explain", "--decision", id], &more[..]].concat();
        server.run(&args).exits(2);
        // Nor does a server decide for anybody but the caller.
        let run = server.run(&[&["decide", &file], &more[..]].concat()).exits(2);
        assert!(run.err.contains("--bundle"), "{run:?}");
    }
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
