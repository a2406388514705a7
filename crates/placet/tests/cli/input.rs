//! Help, completions, and input that cannot be followed: named, refused, nothing lost.

use crate::support::{Server, bank, bank_request, command, fed, finish, placet};
use std::process::Stdio;

#[test]
fn every_command_has_help() {
    let all = placet(&["--help"]).exits(0);
    for name in [
        "up",
        "demo",
        "decide",
        "approvals",
        "approve",
        "reject",
        "verify",
        "key",
        "kill",
        "lift",
        "freeze",
        "disable",
        "revoke",
        "overrides",
        "clock",
        "execution",
        "workspace",
        "audit",
        "policy",
        "bench",
        "completions",
    ] {
        let listed = all.out.lines().any(|line| line.split_whitespace().next() == Some(name));
        assert!(listed, "{name} in {}", all.out);
        let help = placet(&[name, "--help"]).exits(0);
        assert!(help.out.contains("Example"), "{name} has no example");
    }
    for words in [
        &["audit", "verify"],
        &["audit", "replay"],
        &["audit", "export"],
        &["audit", "query"],
        &["key", "create"],
        &["policy", "explain"],
    ] {
        placet(&[words[0], words[1], "--help"]).exits(0);
    }
    assert!(placet(&["completions", "bash"]).exits(0).out.contains("_placet"));
    assert!(placet(&["--version"]).exits(0).out.starts_with("placet "));
}

#[test]
fn what_cannot_be_followed_is_a_usage_error() {
    placet(&["frobnicate"]).exits(2);
    placet(&["approve"]).exits(2);
    let run = placet(&["decide", "--nonsense", "--json"]).exits(2);
    assert_eq!(run.json()["code"], "usage");
    let run = placet(&["approve", "apr_0", "--json"]).exits(2);
    assert!(run.err.contains("--digest"), "{run:?}");
    placet(&["decide", &bank_request("read-account"), "--bundle", &bank(), "--environment", "No!"])
        .exits(2);
}

#[test]
fn bad_requests_name_what_is_wrong() {
    let bundle = bank();
    let decide = ["decide", "-", "--json", "--bundle", bundle.as_str()];
    for (input, code) in [
        ("", "json_malformed"),
        ("{", "json_malformed"),
        (r#"{"surface":"a","surface":"b"}"#, "json_malformed"),
        (r#"{"surface":"a.b","action":"c"}"#, "field_missing"),
        (r#"{"surface":"a.b","action":"c","idempotency_key":7}"#, "field_invalid"),
        (r#"{"surface":"a.b","action":"c","idempotency_key":"k","argument":1}"#, "field_unknown"),
        (
            r#"{"surface":"a.b","action":"c","idempotency_key":"k","actor":"human:ann"}"#,
            "actor_mismatch",
        ),
    ] {
        let run = fed(&decide, input).exits(1);
        assert_eq!(run.json()["code"], code, "{input}: {run:?}");
        assert!(run.err.starts_with("error: "), "{run:?}");
    }
    let missing = placet(&["decide", "no-such-file.json", "--bundle", &bundle]).exits(1);
    assert!(missing.err.contains("no-such-file.json"), "{missing:?}");
}

#[test]
fn a_damaged_bundle_is_refused_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let rule = "version: v1\nrules:\n  - id: a\n    match: { surfces: [x] }\n    decision: allow\n";
    std::fs::write(dir.path().join("rules.yaml"), rule).unwrap();
    let run = placet(&["policy", "compile", "--bundle", path, "--json"]).exits(1);
    let found = &run.json()["diagnostics"][0];
    assert_eq!((&found["file"], &found["line"]), (&"rules.yaml".into(), &4.into()), "{found}");
    let run =
        placet(&["decide", &bank_request("read-account"), "--bundle", path, "--json"]).exits(1);
    assert_eq!(run.json()["code"], "bundle_invalid");
    let run = placet(&["decide", &bank_request("read-account"), "--bundle", path]).exits(1);
    assert!(run.err.contains("rules.yaml:4:") && run.err.contains("hint"), "{run:?}");
    let run = placet(&["policy", "compile", "--bundle", "/no/such/dir"]).exits(1);
    assert!(run.err.contains("/no/such/dir") && run.err.contains("next:"), "{run:?}");
}

#[test]
fn a_data_directory_is_opened_by_one_and_never_from_the_future() {
    let mut server = Server::dev();
    let data = server.data();
    let up = |listen: &str, data: &str| {
        let mut command = command(&["up", "--dev", "--listen", listen, "--data", data]);
        finish(command.stdout(Stdio::piped()))
    };
    let run = up("127.0.0.1:0", &data).exits(1);
    assert!(run.err.contains("in use by process"), "{run:?}");
    let other = server.file("other");
    let run = up(server.url.trim_start_matches("http://"), &other).exits(1);
    assert!(run.err.contains("in use"), "{run:?}");
    server.stop();
    let format = std::path::Path::new(&data).join("FORMAT");
    let good = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, good.replace("\"format\":1", "\"format\":2")).unwrap();
    for command in ["verify", "replay", "export"] {
        let run = placet(&["audit", command, "--data", &data]).exits(1);
        assert!(run.err.contains("data_dir_newer_format"), "{run:?}");
    }
    up("127.0.0.1:0", &data).exits(1);
    std::fs::write(&format, good).unwrap();
    placet(&["audit", "verify", "--data", &data]).exits(0);
}

#[test]
fn without_a_server_the_next_step_is_named() {
    let run = placet(&["approvals", "--url", "http://127.0.0.1:1", "--json"]).exits(1);
    assert_eq!(run.json()["code"], "server_unreachable");
    assert!(run.err.contains("next:") && run.err.contains("placet up"), "{run:?}");
    placet(&["approvals", "--url", "ftp://example"]).exits(2);
}

#[test]
fn a_first_start_that_cannot_listen_leaves_no_data() {
    let server = Server::dev();
    let data = server.file("fresh");
    let address = server.url.trim_start_matches("http://").to_owned();
    let start = ["up", "--listen", &address, "--data", &data];
    assert!(placet(&start).exits(1).err.contains("--listen"));
    assert!(!std::path::Path::new(&data).exists(), "the first key would be lost");
    for (words, hint) in [
        (&["--admin", "agent:x"][..], "human:ann"),
        (&["--workspace", "BAD"][..], "a-z"),
        (&["--dev", "--listen", "0.0.0.0:0"][..], "127.0.0.1"),
    ] {
        let mut all = vec!["up", "--data", &data];
        all.extend(words);
        let run = placet(&all).exits(2);
        assert!(run.err.contains("next:") && run.err.contains(hint), "{run:?}");
    }
    let file = bank_request("read-account");
    let run = placet(&["up", "--data", &data, "--listen", "127.0.0.1:0", "--bundle", &file]);
    assert!(run.exits(1).err.contains("is a file"));
    assert!(!std::path::Path::new(&data).exists());
}

#[test]
fn completions_end_quietly_when_nobody_reads_on() {
    let mut command = command(&["completions", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_refusal_names_the_field_or_the_next_step() {
    let server = Server::dev();
    let run = fed_to(&server, r#"{"surface":"a.b","action":"c","idempotency_key":7}"#);
    assert!(run.exits(1).err.contains("/idempotency_key"));
    let query = ["verify", "dec_00000000000000000000000000000000"];
    let run = server.run(&query).exits(1);
    assert!(!run.err.contains("not_found") || run.err.contains("next:"), "{run:?}");
}

fn fed_to(server: &Server, input: &str) -> crate::support::Run {
    fed(&["decide", "-", "--url", &server.url], input)
}
