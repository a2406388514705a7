//! `policy lint | test | fmt | schema | import` as scripts meet them: output and exit codes.

use crate::support::{Server, bank, bank_request, fed, placet};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

fn bundle(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("policy.yaml"), text).unwrap();
    dir
}

fn path(dir: &TempDir) -> String {
    dir.path().to_string_lossy().into_owned()
}

const POLICY: &str = "version: v1
rules:
  - { id: a, match: { surfaces: [x], when: \"request.arguments.n > 5 || request.topic == 'y'\" }, decision: allow }
  - { id: b, match: { surfaces: [x, x.y, \"x.*\"] }, decision: deny }
tests:
  - { id: one, request: { surface: x, action: go, arguments: { n: 6 } }, expect: { outcome: DENY, rules: [b] } }
  - { id: two, request: { surface: z, action: go }, expect: { outcome: PERMIT } }
";

#[test]
fn lint_fails_by_severity() {
    let dir = bundle(POLICY);
    let dir = path(&dir);
    let lint = |more: &[&str], code: i32| {
        let mut args = vec!["policy", "lint", "--bundle", &dir];
        args.extend(more);
        placet(&args).exits(code)
    };
    let document = lint(&["--json"], 0).json();
    assert_eq!(document["ok"], true);
    assert!(document["warnings"].as_u64().unwrap() > 0 && document["infos"].as_u64().unwrap() > 0);
    lint(&["--deny", "warnings"], 1);
    lint(&["--deny", "info"], 1);
    let log = lint(&["--sarif", "--deny", "info"], 1).json();
    assert_eq!(log["version"], "2.1.0");
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert!(
        results.iter().any(|it| it["ruleId"] == "unreachable_rule" && it["level"] == "warning")
    );
    placet(&["policy", "lint", "--bundle", &bank(), "--deny", "info"]).exits(0);
    let broken = bundle("version: v1\nrules: [{ id: a }]\n");
    let document =
        placet(&["policy", "lint", "--json", "--bundle", &path(&broken)]).exits(1).json();
    assert_eq!(document["findings"][0]["code"], "missing_key");
}

#[test]
fn cases_fail_the_command_and_say_what_differs() {
    let dir = bundle(POLICY);
    let junit = dir.path().join("junit.xml").to_string_lossy().into_owned();
    let path = path(&dir);
    let args = ["policy", "test", "--bundle", &path, "--json", "--coverage", "--junit", &junit];
    let document = placet(&args).exits(1).json();
    assert_eq!(document["ok"], false);
    assert_eq!(document["failed"], 1);
    assert_eq!(document["cases"][1]["differences"][0]["expected"], "PERMIT");
    assert_eq!(document["cases"][1]["differences"][0]["found"], "SILENCE");
    let coverage = &document["coverage"];
    assert_eq!((&coverage["rules_touched"], &coverage["rules_total"]), (&2.into(), &2.into()));
    // The first term decides, so the second is never asked.
    assert_eq!(coverage["sides_seen"], 1);
    assert_eq!(coverage["sides_total"], 4);
    assert_eq!(coverage["rules"][0]["terms"][0]["true"], 1);
    assert_eq!(coverage["rules"][0]["terms"][1]["true"], 0);
    let xml = fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    assert!(xml.contains("<failure message=\"outcome: expected PERMIT, found SILENCE\">"), "{xml}");
    let one = placet(&["policy", "test", "--bundle", &path, "--filter", "one", "--json"]).exits(0);
    assert_eq!(one.json()["cases"].as_array().unwrap().len(), 1);
    // A run of nothing is no success.
    placet(&["policy", "test", "--bundle", &path, "--filter", "no such case"]).exits(1);
    placet(&["policy", "test", "--bundle", &bank()]).exits(0);
}

#[test]
fn files_are_formatted_in_place_and_checked() {
    let dir = bundle("# mine\nrules:\n- {decision: deny, id: a, match: {}}\nversion: v1\n");
    let path = path(&dir);
    placet(&["policy", "fmt", "--check", &path]).exits(1);
    placet(&["policy", "fmt", &path]).exits(0);
    placet(&["policy", "fmt", "--check", &path]).exits(0);
    let text = fs::read_to_string(dir.path().join("policy.yaml")).unwrap();
    let expected = "# mine\nversion: v1\nrules:\n  - { id: a, match: {}, decision: deny }\n";
    assert_eq!(text, expected);
    fed(&["policy", "fmt", "-"], "rules: [").exits(1);
    let run = fed(&["policy", "fmt", "-"], "hello").exits(1);
    assert!(run.out.contains("a document is a mapping, not text"), "{run:?}");
    // What cannot be read hides nothing of the others.
    let (good, gone) = (format!("{path}/policy.yaml"), format!("{path}/gone.yaml"));
    let found = placet(&["policy", "fmt", "--json", &good, &gone]).exits(1).json();
    assert_eq!(found["files"][0], json!({"file": good, "changed": false, "findings": []}));
    assert_eq!(found["files"][1]["findings"][0]["code"], "bundle_unreadable");
    let run = placet(&["policy", "fmt", &gone, &good]).exits(1);
    assert!(run.out.contains("gone.yaml cannot be read"), "{run:?}");
}

#[test]
fn schemas_and_imports() {
    let schema = placet(&["policy", "schema", "rules"]).exits(0).json();
    assert_eq!(schema["properties"]["rules"]["type"], "array");
    placet(&["policy", "schema", "rulez"]).exits(2);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bundle").to_string_lossy().into_owned();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/seed5.yaml");
    let imported: Value =
        placet(&["policy", "import", sample, "--out", &out, "--json"]).exits(0).json();
    assert_eq!(imported["differences"][0]["strictest_wins"], "DENY");
    assert_eq!(imported["differences"][0]["first_match"], "PERMIT");
    placet(&["policy", "lint", "--bundle", &out]).exits(0);
    placet(&["policy", "import", sample, "--out", &out]).exits(1);
    fed(&["policy", "import", "-"], "rules: 5").exits(1);
}

/// A directory without documents is never clean, never published and never compared with.
#[test]
fn nothing_is_no_success() {
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("notes.txt"), "rules").unwrap();
    let dir = path(&empty);
    for args in [
        &["policy", "lint", "--bundle", &dir][..],
        &["policy", "compile", "--bundle", &dir],
        &["policy", "test", "--bundle", &dir],
        &["policy", "publish", "--bundle", &dir, "--url", "http://127.0.0.1:1"],
        &["policy", "shadow", "--bundle", &dir, "--url", "http://127.0.0.1:1"],
        &["policy", "diff", &dir, &bank()],
    ] {
        let run = placet(args).exits(1);
        assert!(run.err.contains("holds no policy document"), "{args:?}: {run:?}");
        let mut json = args.to_vec();
        json.push("--json");
        assert_eq!(placet(&json).exits(1).json()["code"], "bundle_empty", "{args:?}");
    }
    // What decides by it grants nothing, and says why.
    let run =
        placet(&["decide", &bank_request("read-account"), "--bundle", &dir, "--json"]).exits(13);
    assert_eq!(run.json()["outcome"], "SILENCE");
    assert!(run.err.contains("holds no policy document"), "{run:?}");
    let server = Server::over(&format!("{dir}/data"), &["--dev", "--bundle", &dir]);
    let run = server.run(&["decide", &bank_request("read-account"), "--json"]).exits(13);
    assert_eq!(run.json()["outcome"], "SILENCE");
    drop(server);
    // A file with comments alone is no document, and `rules: []` is one.
    fs::write(empty.path().join("policy.yaml"), "# later\n").unwrap();
    let run = placet(&["policy", "lint", "--bundle", &dir]).exits(1);
    assert!(run.out.contains("the file holds no document"), "{run:?}");
    fs::write(empty.path().join("policy.yaml"), "version: v1\nrules: []\n").unwrap();
    placet(&["policy", "lint", "--bundle", &dir]).exits(0);
}

/// Passing over a document could lose a rule that denies.
#[test]
fn a_document_that_cannot_be_read_is_named() {
    let dir = bundle("version: v1\nrules: []\n");
    std::os::unix::fs::symlink("gone", dir.path().join("floor.yaml")).unwrap();
    let dir = path(&dir);
    for args in [
        &["policy", "compile", "--bundle", &dir][..],
        &["decide", &bank_request("read-account"), "--bundle", &dir],
        &[
            "up",
            "--dev",
            "--listen",
            "127.0.0.1:0",
            "--data",
            &format!("{dir}/data"),
            "--bundle",
            &dir,
        ],
    ] {
        let run = placet(args).exits(1);
        assert!(run.err.contains("bundle_unreadable") && run.err.contains("floor.yaml"), "{run:?}");
    }
}

/// What does not compile is told place by place wherever a bundle is read.
#[test]
fn a_broken_bundle_is_structured_everywhere() {
    let broken = bundle("version: v1\nrules: [{ id: a, match: {}, decision: alow }]\n");
    let dir = path(&broken);
    let beside = tempfile::tempdir().unwrap();
    let request = beside.path().join("request.json").to_string_lossy().into_owned();
    fs::write(&request, "{}").unwrap();
    for args in [
        &["policy", "compile", "--bundle", &dir][..],
        &["policy", "test", "--bundle", &dir],
        &["policy", "diff", &dir, &bank()],
        &["policy", "explain", &request, "--bundle", &dir],
        &["policy", "backtest", &dir, "--data", &dir],
        &["policy", "publish", "--bundle", &dir, "--url", "http://127.0.0.1:1"],
    ] {
        let mut args = args.to_vec();
        args.push("--json");
        let document = placet(&args).exits(1).json();
        let first = &document["diagnostics"][0];
        assert_eq!(first["code"], "bad_value", "{args:?}: {document}");
        assert_eq!(first["line"], 2, "{args:?}: {document}");
    }
}

#[test]
fn formatting_and_schemas_speak_json() {
    let dir = bundle("version: v1\nrules: [ {id: a, match: {}, decision: allow} ]\n");
    let path = path(&dir);
    let found = placet(&["policy", "fmt", "--check", "--json", &path]).exits(1).json();
    assert_eq!((&found["ok"], &found["files"][0]["changed"]), (&false.into(), &true.into()));
    let found = placet(&["policy", "fmt", "--json", &path]).exits(0).json();
    assert_eq!(found["ok"], true, "{found}");
    let found = placet(&["policy", "fmt", "--check", "--json", &path]).exits(0).json();
    assert_eq!(found["files"][0]["changed"], false, "{found}");
    let found = fed(&["policy", "fmt", "--json", "-"], "rules: [").exits(1).json();
    assert_eq!(found["files"][0]["findings"][0]["severity"], "error", "{found}");
    let schema = placet(&["policy", "schema", "rules", "--json"]).exits(0).json();
    assert_eq!(schema["title"], "Placet rules");
    let out = dir.path().join("schemas").to_string_lossy().into_owned();
    let found = placet(&["policy", "schema", "--out", &out, "--json"]).exits(0).json();
    assert!(found["files"].as_array().unwrap().len() > 10, "{found}");
}

/// A rule counts once it took part in a decision; rows of `approvals:` and derivers count as well.
#[test]
fn coverage_counts_what_applied() {
    let dir = bundle(
        "version: v1
rules:
  - { id: a, match: { surfaces: [x] }, decision: allow }
  - { id: full, match: { surfaces: [x] }, decision: throttle, limit: { count: 2, per: 1h } }
  - { id: night, match: { surfaces: [x] }, decision: deny, schedule: { from: \"22:00\", until: \"06:00\" } }
approvals:
  - { id: row, match: { surfaces: [x], when: \"request.arguments.n > 5\" }, roles: { admin: 1 } }
derivers:
  - { id: d, match: { surfaces: [x], when: \"request.action == 'go'\" }, facts: { went: true } }
tests:
  - { id: noon, at: 2026-01-01T12:00:00Z, request: { surface: x, action: go, arguments: { n: 6 } }, expect: { outcome: REQUIRE_APPROVAL } }
",
    );
    let args = ["policy", "test", "--bundle", &path(&dir), "--json", "--coverage"];
    let found = placet(&args).exits(0).json();
    let rules = found["coverage"]["rules"].as_array().unwrap();
    let of = |id: &str| rules.iter().find(|it| it["id"] == id).unwrap_or_else(|| panic!("{id}"));
    for (id, matched) in [("a", 1), ("full", 0), ("night", 0), ("row", 1), ("d", 1)] {
        assert_eq!(of(id)["matched"], matched, "{id}: {found}");
    }
    assert_eq!(of("row")["layer"], "approvals");
    assert_eq!(
        (&of("row")["terms"][0]["true"], &of("row")["terms"][0]["false"]),
        (&1.into(), &0.into())
    );
    assert_eq!((&of("d")["layer"], &of("d")["terms"][0]["true"]), (&"derivers".into(), &1.into()));
    assert_eq!(found["coverage"]["rules_touched"], 3);
}

#[test]
fn explaining_binds_nothing() {
    let request = r#"{"surface": "payments.refund", "action": "create", "arguments": {"amount_cents": 10.5}}"#;
    let found = fed(&["policy", "explain", "-", "--bundle", &bank(), "--json"], request).exits(0);
    assert!(found.json()["trace"]["rules"].is_array());
}

/// Ten thousand findings are counted, and some of them are shown.
#[test]
fn totals_are_told_beside_what_is_shown() {
    let mut text = "version: v1\nsurfaces: { x: {} }\nrules:\n".to_owned();
    for number in 0..300 {
        text.push_str(&format!(
            "  - {{ id: r{number}, match: {{ surfaces: [y{number}] }}, decision: deny }}\n"
        ));
    }
    let dir = bundle(&text);
    let found = placet(&["policy", "lint", "--bundle", &path(&dir), "--json"]).exits(0).json();
    assert_eq!((&found["warnings"], &found["shown"]), (&303.into(), &200.into()), "{found}");
    let run = placet(&["policy", "lint", "--bundle", &path(&dir)]).exits(0);
    assert!(
        run.out.contains("200 of 604 shown") && run.out.contains("303 warnings"),
        "{}",
        run.out
    );
}
