//! What people are told when they stop something, lift it, or run into what is stopped.

use crate::support::{Server, placet};

#[test]
fn a_narrow_kill_prints_its_entry_and_its_report() {
    let server = Server::dev();
    let killed = server.run(&["kill", "--capability", "crm"]).exits(0);
    assert!(killed.out.contains("killed: capability:crm"), "{killed:?}");
    assert!(killed.out.contains("kill of capability:crm, entry "), "{killed:?}");
    // What no gate reported is counted over all scopes.
    assert!(killed.out.contains("in the whole workspace"), "{killed:?}");
    let again = server.run(&["kill", "--capability", "crm", "--json"]).exits(0).json();
    assert_eq!(again["report"]["index"], again["index"]);
}

#[test]
fn what_is_stopped_harder_is_called_what_it_is() {
    let server = Server::dev();
    server.run(&["kill", "--model", "m"]).exits(0);
    for milder in ["freeze", "disable"] {
        let run = server.run(&[milder, "--model", "m"]).exits(0);
        assert!(run.out.contains("killed: model:m") && run.out.contains(milder), "{run:?}");
        assert!(!run.out.contains("frozen:") && !run.out.contains("disabled:"), "{run:?}");
    }
    let run = server.run(&["freeze", "--model", "other"]).exits(0);
    assert_eq!(run.out.trim(), "frozen: model:other");
}

#[test]
fn a_lift_that_waits_says_who_asked_and_exits_like_what_waits() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    for what in [&[] as &[&str], &["--capability", "crm"]] {
        for (way, exit) in [("freeze", 0), ("lift", 10)] {
            let run = server.run_as(&ann, &[&[way], what].concat()).exits(exit);
            let waits = way == "lift";
            assert_eq!(run.out.contains("the lift is asked for by human:ann"), waits, "{run:?}");
        }
    }
}

#[test]
fn how_long_a_drill_waits_is_said_of_a_drill_alone() {
    let run = placet(&["kill", "--wait", "3"]).exits(2);
    assert!(run.err.contains("--drill"), "{run:?}");
}

#[test]
fn who_is_refused_reads_which_decision_says_why() {
    let server = Server::dev();
    server.run(&["kill", "--capability", "crm"]).exits(0);
    let run = server.run(&["execution", "start", "crm"]).exits(1);
    assert!(run.err.contains("dec_") && run.err.contains("DENY killed_capability"), "{run:?}");
}

#[test]
fn keys_of_issuers_and_authors_are_trusted_under_an_api_key() {
    let server = Server::start(&["--admin", "human:ann"]);
    let (ann, file) = (server.key.clone().unwrap(), server.file("ci.key"));
    let made = placet(&["policy", "keygen", "ci", "--out", &file, "--json"]).exits(0).json();
    let vkey = made["vkey"].as_str().unwrap();
    server.run(&["evidence", "trust", "service:ci", vkey, "--key", &ann]).exits(0);
    let keys = server.run_as(&ann, &["evidence", "keys", "--json"]).exits(0).json();
    assert_eq!(
        (&keys["keys"][0]["key"], &keys["keys"][0]["issuer"]),
        (&vkey.into(), &"service:ci".into())
    );
    server.run(&["evidence", "trust", "service:ci", vkey, "--revoke", "--key", &ann]).exits(0);
    // So is that of an author.
    server.run(&["policy", "author", "trust", vkey, "--key", &ann]).exits(0);
    let status = server.run_as(&ann, &["policy", "current", "--json"]).exits(0).json();
    assert_eq!(status["authors"][0]["key"], vkey);
}
