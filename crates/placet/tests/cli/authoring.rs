//! `policy lint | test | fmt | schema | import` as scripts meet them: output and exit codes.

use crate::support::{bank, fed, placet};
use serde_json::Value;
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
