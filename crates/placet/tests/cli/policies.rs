//! The life of a bundle from the command line: two admins, an operator, a start, signatures.

use crate::support::{Server, bank, placet};
use serde_json::Value;
use std::path::Path;

const RULES: &str = "version: v1\nrules:\n  - id: transfers\n    match: { surfaces: [\"payments.transfer\"] }\n    decision: deny\n";

fn policy(dir: &Path, text: &str) -> String {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("rules.yaml"), text).unwrap();
    dir.to_str().unwrap().to_owned()
}

fn digest(bundle: &str) -> String {
    let compiled = placet(&["policy", "compile", "--bundle", bundle, "--json"]).exits(0).json();
    compiled["digest"].as_str().unwrap().to_owned()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {value}"))
}

#[test]
fn two_admins_publish_an_operator_goes_back_and_a_start_says_how() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    let key = |actor: &str, role: &str| {
        let create = ["key", "create", actor, "--role", role, "--json"];
        let made = server.run_as(&ann, &create).exits(0).json();
        text(&made, "/key").to_owned()
    };
    let olga = key("human:olga", "operator");
    let bot = key("agent:bot", "support");
    let bea = key("human:bea", "admin");
    let bundle = policy(&server.dir.path().join("policy"), RULES);
    let publish = ["policy", "publish", "--bundle", &bundle, "--reason", "fraud wave", "--json"];
    let held = server.run_as(&ann, &publish).exits(10).json();
    let refused = server.run_as(&bot, &publish).exits(1).json();
    assert_eq!(refused["code"], "role_missing");
    let approval = text(&held, "/decision/approval/id");
    let seen = text(&held, "/decision/action_digest");
    server.run_as(&bea, &["approve", approval, "--digest", seen]).exits(0);
    let again = [&publish[..], &["--idempotency-key", text(&held, "/idempotency_key")]].concat();
    let done = server.run_as(&ann, &again).exits(0).json();
    assert_eq!([text(&done, "/how"), text(&done, "/by")], ["published", "human:bea"]);
    let release = ["policy", "release", text(&held, "/decision/id"), "--json"];
    assert_eq!(server.run_as(&bea, &release).exits(0).json(), done);
    let history = server.run_as(&olga, &["policy", "history"]).exits(0).out;
    for word in ["published", "seeded", "fraud wave", "human:ann", "human:bea"] {
        assert!(history.contains(word), "{word}: {history}");
    }
    let listed = server.run_as(&olga, &["policy", "history", "--limit", "1", "--json"]).exits(0);
    assert_eq!(text(&listed.json(), "/policies/0/bundle"), digest(&bundle));

    let back = server.run_as(&olga, &["policy", "rollback", "--json"]).exits(0).json();
    assert_eq!([text(&back, "/how"), text(&back, "/bundle")], ["emergency", &digest(&bank())]);
    let decision = text(&back, "/decision");
    let review = ["policy", "review", decision, "--json"];
    assert_eq!(server.run_as(&olga, &review).exits(1).json()["code"], "own_review");
    assert!(server.run_as(&bea, &["policy", "current"]).exits(0).out.contains(decision));
    server.run_as(&bea, &["policy", "review", decision, "--note", "right"]).exits(0);
    let left = digest(&bundle);
    server.run_as(&ann, &["policy", "withdraw", &left, "--reason", "case-1"]).exits(0);
    let to = ["policy", "rollback", "--to", &left, "--json"];
    assert_eq!(server.run_as(&ann, &to).exits(1).json()["code"], "bundle_withdrawn");

    // A start with another bundle is refused, and says what to do instead.
    let mut server = server.again(&[]);
    let data = server.data();
    let current = server.run_as(&bot, &["policy", "current", "--json"]).exits(0).json();
    assert_eq!(text(&current, "/bundle"), digest(&bank()));
    server.stop();
    let run = placet(&["up", "--listen", "127.0.0.1:0", "--data", &data, "--bundle", &bundle]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("placet policy publish --bundle"), "{run:?}");
    assert!(run.err.contains("bundle_differs"), "{run:?}");
}

#[test]
fn an_approval_of_what_comes_too_late_says_so() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    let create = ["key", "create", "human:bea", "--role", "admin", "--json"];
    let bea = server.run_as(&ann, &create).exits(0).json();
    let bea = text(&bea, "/key");
    let propose = |name: &str, by: &str| {
        let bundle = policy(&server.dir.path().join(name), &RULES.replace("transfers", name));
        let publish = ["policy", "publish", "--bundle", &bundle, "--json"];
        server.run_as(by, &publish).exits(10).json()
    };
    let (first, second) = (propose("first", &ann), propose("second", bea));
    let id = |held: &Value| text(held, "/decision/approval/id").to_owned();
    server.run_as(&ann, &["approve", &id(&second), "--yes"]).exits(0);
    let args = ["approve", &id(&first), "--yes"];
    let run = server.run_as(bea, &args).exits(1);
    assert!(run.err.contains("not in force") && run.err.contains("publication_stale"), "{run:?}");
}

#[test]
fn an_author_signs_and_anybody_checks_it_offline() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let bundle = policy(&dir.path().join("a"), RULES);
    let other = policy(&dir.path().join("b"), &RULES.replace("deny", "allow"));
    let keygen = |name: &str| {
        let run = placet(&["policy", "keygen", "risk-team", "--out", &file(name), "--json"]);
        text(&run.exits(0).json(), "/vkey").to_owned()
    };
    let (author, stranger) = (keygen("author.key"), keygen("stranger.key"));
    let again = placet(&["policy", "keygen", "x", "--out", &file("author.key"), "--json"]);
    assert_eq!(again.exits(1).json()["code"], "target_exists");
    let sign = |key: &str| {
        placet(&["policy", "sign", "--bundle", &bundle, "--key", &file(key)]).exits(0).out
    };
    std::fs::write(file("good.json"), sign("author.key")).unwrap();
    let mut forged: Value = serde_json::from_str(&sign("stranger.key")).unwrap();
    forged["signatures"][0]["keyid"] = author.clone().into();
    std::fs::write(file("forged.json"), forged.to_string()).unwrap();
    let verify = |bundle: &str, envelope: &str, author: &str| {
        let (envelope, flag) = (file(envelope), "--author");
        placet(&[
            "policy",
            "verify",
            "--bundle",
            bundle,
            "--signature",
            &envelope,
            flag,
            author,
            "--json",
        ])
    };
    let good = verify(&bundle, "good.json", &author).exits(0).json();
    assert_eq!([text(&good, "/bundle"), text(&good, "/signed_by")], [&digest(&bundle), &author]);
    for run in [
        verify(&other, "good.json", &author),
        verify(&bundle, "good.json", &stranger),
        verify(&bundle, "forged.json", &author),
        verify(&bundle, "a/rules.yaml", &author),
    ] {
        assert_eq!(run.exits(1).json()["code"], "bundle_unsigned");
    }
    placet(&["policy", "verify", "--bundle", &bundle, "--signature", &file("good.json")]).exits(2);
    placet(&["policy", "sign", "--bundle", &bundle, "--key", &file("good.json")]).exits(2);
}

/// A bundle that fails a case of its own does not come into force, whichever way it comes.
#[test]
fn a_bundle_that_fails_a_case_is_not_published() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    let dir = server.dir.path().join("policy");
    let text = "version: v1\nrules:\n  - { id: a, match: { surfaces: [x] }, decision: allow }\ntests:\n  - { id: held, request: { surface: x, action: go }, expect: { outcome: REQUIRE_APPROVAL } }\n";
    let bundle = policy(&dir, text);
    let run = server.run_as(&ann, &["policy", "publish", "--bundle", &bundle, "--json"]).exits(1);
    let document = run.json();
    assert_eq!(document["code"], "bundle_untrue", "{document}");
    let message = document["diagnostics"][0]["message"].as_str().unwrap();
    assert!(message.contains("held") && message.contains("found PERMIT"), "{message}");
}
