//! People: approving with the digest, keys, workspaces, kill and lift.

use crate::support::{Server, bank_request, placet};

#[test]
fn a_held_refund_is_approved_with_its_digest_and_collected() {
    let server = Server::dev();
    let file = bank_request("refund-large");
    let held = server.run(&["decide", &file, "--json"]).exits(10).json();
    let listed = server.run(&["approvals", "--json"]).exits(0).json();
    let held_approval = &listed["approvals"][0];
    assert_eq!(held_approval["decision"], held["id"]);
    assert_eq!(held_approval["action_digest"], held["action_digest"]);
    let id = held_approval["id"].as_str().unwrap();
    let decision = held["id"].as_str().unwrap();
    let digest = held["action_digest"].as_str().unwrap();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let run = server.run(&["approve", id, "--digest", &wrong, "--json"]).exits(1);
    assert_eq!(run.json()["code"], "stale_approval_digest");
    assert!(server.run(&["approvals"]).exits(0).out.contains(id));
    server.run(&["approve", "--decision", decision, "--digest", digest, "--note", "seen"]).exits(0);
    let run = server.run(&["decide", &file, "--wait", "5s", "--json"]).exits(0);
    assert_eq!(run.json()["permit"]["state"], "granted");
    let run = server.run(&["reject", id, "--digest", digest, "--json"]).exits(1);
    assert_eq!(run.json()["code"], "approval_final");
}

#[test]
fn keys_open_their_workspace_until_they_are_revoked() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    let run = server.run(&["approvals", "--json"]).exits(1);
    assert_eq!(run.json()["code"], "key_missing");
    let create = ["key", "create", "agent:support", "--role", "support", "--json"];
    let made = server.run_as(&ann, &create).exits(0).json();
    let key = made["key"].as_str().unwrap();
    server.run_as(key, &["decide", &bank_request("read-account")]).exits(0);
    assert!(server.run_as(&ann, &["key", "list"]).exits(0).out.contains("agent:support"));
    server.run_as(&ann, &["key", "revoke", made["id"].as_str().unwrap()]).exits(0);
    let run = server.run_as(key, &["decide", &bank_request("read-account"), "--json"]).exits(1);
    assert_eq!(run.json()["code"], "key_revoked");
    let other = ["workspace", "create", "other", "--admin", "human:zoe", "--json"];
    let other = server.run_as(&ann, &other).exits(0).json();
    assert!(other["key"].as_str().unwrap().starts_with("key_"));
    assert!(server.run_as(&ann, &["workspace", "list"]).exits(0).out.contains("other"));
}

#[test]
fn a_kill_stops_and_is_lifted_by_people() {
    let server = Server::dev();
    let read = bank_request("read-account");
    server.run(&["kill"]).exits(0);
    let run = server.run(&["decide", &read, "--json"]).exits(12);
    assert_eq!(run.json()["reasons"][0]["code"], "killed_workspace");
    let lifted = server.run(&["lift", "--json"]).exits(0).json();
    assert_eq!(lifted["lifted"], true);
    server.run(&["decide", &read]).exits(0);
    assert_eq!(server.run(&["lift", "--json"]).exits(1).json()["code"], "not_tripped");
    // What ended a permit is told by its own name, also after its lift.
    let again = bank_request("refund-small");
    server.run(&["decide", &again]).exits(0);
    server.run(&["kill", "--everything"]).exits(0);
    server.run(&["lift", "--everything"]).exits(0);
    let ended = server.run(&["decide", &again, "--json"]).exits(12).json();
    assert_eq!(ended["reasons"][0]["code"], "killed_everything");
}

#[test]
fn who_oversees_confirms_the_clock_and_nobody_else_does() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    let create = ["key", "create", "agent:support", "--role", "support", "--json"];
    let made = server.run_as(&ann, &create).exits(0).json();
    let confirm = ["clock", "confirm", "--json"];
    let refused = server.run_as(made["key"].as_str().unwrap(), &confirm).exits(1).json();
    assert_eq!(refused["code"], "role_missing");
    assert_eq!(server.run_as(&ann, &confirm).exits(0).json()["status"], "confirmed");
}

#[test]
fn a_local_kill_needs_no_server() {
    let mut server = Server::dev();
    server.stop();
    let data = server.data();
    assert_eq!(
        placet(&["kill", "--local", "--data", &data, "--json"]).exits(0).json()["made"],
        true
    );
    assert!(std::path::Path::new(&data).join("KILL").exists());
    assert_eq!(
        placet(&["kill", "--local", "--data", &data, "--json"]).exits(0).json()["made"],
        false
    );
    let run = placet(&["kill", "--local", "--data", "/no/such/dir", "--json"]).exits(1);
    assert_eq!(run.json()["code"], "data_dir_missing");
    let other = tempfile::tempdir().unwrap();
    let path = other.path().to_str().unwrap();
    let run = placet(&["kill", "--local", "--data", path, "--json"]).exits(1);
    assert_eq!(run.json()["code"], "data_dir_foreign");
    assert!(!other.path().join("KILL").exists());
    let narrow = ["kill", "--local", "--surface", "payments.refund", "--data", path];
    let run = placet(&narrow).exits(2);
    assert!(run.err.contains("stops everything"), "{run:?}");
}

#[test]
fn a_lift_that_is_not_complete_says_so() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    server.run_as(&ann, &["kill", "--everything"]).exits(0);
    let run = server.run_as(&ann, &["lift", "--everything"]).exits(10);
    assert!(run.out.contains("NOT LIFTED YET"), "{run:?}");
    assert!(run.out.contains("another person") && run.out.contains("lift --everything"), "{run:?}");
}
