//! Rotating and revoking the signing key from the command line, and what verifiers, witnesses and
//! auditors make of it.

use crate::support::{Run, Server, placet};
use crate::witness::{decide, published_receipt, start_witness, witness_vkey, write};
use placet_types::json::{Limits, Value, parse};

fn trust_of(server: &Server, name: &str) -> String {
    let path = server.file(name);
    server.run(&["key", "trust", "--out", &path]).exits(0);
    path
}

/// The verifier keys of a trust file with their ranges, in any order.
fn pinned(path: &str) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let trust = parse(bytes.trim_ascii(), Limits::DOCUMENT).unwrap();
    let keys = trust.get("keys").and_then(Value::as_array).unwrap();
    let mut keys: Vec<String> = keys.iter().map(Value::to_text).collect();
    keys.sort();
    keys
}

fn code(run: &Run) -> String {
    run.json()["code"].as_str().unwrap().to_owned()
}

#[test]
fn a_rotation_is_followed_by_witnesses_verifiers_and_auditors() {
    let server = Server::dev();
    let before = trust_of(&server, "before.json");
    let memory = server.file("witness");
    let vkey = witness_vkey(&memory, "witness.example/1");
    let mut witness = start_witness(&memory, &before);
    let flags = ["--dev", "--witness", &vkey, &witness.url.clone()];
    let server = server.again(&flags);
    let policy = write(&server, "policy", &format!("witness w {vkey}\nquorum w\n"));
    let verify = |file: &str, trust: &str, more: &[&str]| {
        let fixed = ["verify", file, "--trust", trust, "--witnesses", &policy, "--json"];
        placet(&[&fixed, more].concat())
    };

    let first = decide(&server);
    let first = write(&server, "first", &published_receipt(&server, &first, 2));
    verify(&first, &before, &[]).exits(0);
    let rotated = server.run(&["key", "rotate", "--json"]).exits(0).json();
    let second = decide(&server);
    let second = write(&server, "second", &published_receipt(&server, &second, 2));
    let after = trust_of(&server, "after.json");
    for receipt in [&first, &second] {
        verify(receipt, &after, &[]).exits(0);
    }
    assert_eq!(code(&verify(&second, &before, &[]).exits(1)), "unknown_key");

    // From the old trust file along the handover: as a receipt, as the chain, or once for all.
    let index = rotated["logs"][0]["index"].as_u64().unwrap();
    let path = format!("/api/v1/receipts/{}?index={index}", rotated["decision"].as_str().unwrap());
    let handover = write(&server, "handover", &server.get(&path));
    let chain = write(&server, "chain", &server.get("/.well-known/placet-handovers"));
    for file in [&handover, &chain] {
        verify(&second, &before, &["--handover", file]).exits(0);
        verify(&first, &before, &["--handover", file]).exits(0);
    }
    for file in [&first, &policy] {
        let run = verify(&second, &before, &["--handover", file]).exits(1);
        assert_eq!(code(&run), "handover_refused");
    }
    let text = std::fs::read_to_string(&chain).unwrap();
    let forged = text.replace(&format!("size {index}\n"), &format!("size {}\n", index + 1));
    let forged = write(&server, "forged", &forged);
    let run = verify(&second, &before, &["--handover", &forged]).exits(1);
    assert!(
        run.err.contains("handover_old_signature") || run.out.contains("handover_old_signature")
    );
    let followed = server.file("followed.json");
    server.run(&["key", "trust", "--follow", &before, "--out", &followed]).exits(0);
    assert_eq!(pinned(&followed), pinned(&after));

    // The witness remembers it over a restart, and takes the next one as well.
    witness.stop();
    let witness = start_witness(&memory, &before);
    let server = server.again(&["--dev", "--witness", &vkey, &witness.url.clone()]);
    server.run(&["key", "rotate"]).exits(0);
    let third = decide(&server);
    let third = write(&server, "third", &published_receipt(&server, &third, 2));
    let last = trust_of(&server, "last.json");
    for receipt in [&first, &second, &third] {
        verify(receipt, &last, &[]).exits(0);
    }
    let compared =
        placet(&["verify", "--compare", &first, &third, "--trust", &last, "--json"]).json();
    assert!(["consistent", "needs_proof"].contains(&compared["code"].as_str().unwrap()));

    let mut server = server;
    server.stop();
    let checked = placet(&["audit", "verify", "--data", &server.data(), "--json"]).exits(0).json();
    assert_eq!(checked["ok"], true);
    let roots = ["audit", "verify", "--data", &server.data(), "--roots", &first, "--json"];
    placet(&roots).exits(0);
    let replayed = placet(&["audit", "replay", "--data", &server.data(), "--json"]).exits(0).json();
    assert_eq!(replayed["differences"], 0);
}

#[test]
fn following_takes_revocations_and_no_key_that_a_revoked_one_vouches_for() {
    let server = Server::dev();
    let before = trust_of(&server, "before.json");
    let decision = decide(&server);
    let path = format!("/api/v1/receipts/{}", decision["id"].as_str().unwrap());
    let old = write(&server, "old", &server.get(&path));
    server.run(&["key", "rotate"]).exits(0);
    let both = trust_of(&server, "both.json");
    let text = std::fs::read(&before).unwrap();
    let pins: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let vkey = pins["keys"][0]["vkey"].as_str().unwrap().to_owned();
    let followed = server.file("followed.json");
    let follow = |pinned: &str| {
        server.run(&["key", "trust", "--follow", pinned, "--out", &followed, "--json"])
    };
    let verify = || placet(&["verify", &old, "--trust", &followed, "--json"]);
    follow(&before).exits(0);
    verify().exits(0);
    for (more, word) in [(&["--from-size", "2"][..], "key_out_of_range"), (&[], "key_revoked")] {
        server.run(&[&["key", "revoke-signer", &vkey][..], more].concat()).exits(0);
        // It may have been stolen by then, so that its handover says nothing.
        let refused = follow(&before).exits(1).json();
        assert_eq!(refused["code"], "handover_refused");
        assert!(refused["detail"].as_str().unwrap().contains("old_key_revoked"), "{refused}");
        follow(&both).exits(0);
        assert_eq!(code(&verify().exits(1)), word);
        assert_eq!(pinned(&followed), pinned(&trust_of(&server, "fresh.json")));
    }
}

#[test]
fn pins_of_another_log_are_not_written_over() {
    let (one, other) = (Server::dev(), Server::dev());
    let file = trust_of(&one, "trust.json");
    trust_of(&one, "trust.json");
    let held = std::fs::read(&file).unwrap();
    let over = ["key", "trust", "--out", &file];
    let refused = other.run(&over).exits(2);
    assert!(refused.err.contains("--replace"), "{refused:?}");
    assert_eq!(std::fs::read(&file).unwrap(), held);
    other.run(&[&over[..], &["--replace"]].concat()).exits(0);
    assert_ne!(std::fs::read(&file).unwrap(), held);
}

#[test]
fn a_revoked_key_is_refused_by_whoever_has_the_new_trust_file() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    let run = |args: &[&str]| server.run_as(&ann, args);
    let trust = server.file("trust.json");
    run(&["key", "trust", "--out", &trust]).exits(0);
    let first: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&trust).unwrap()).unwrap();
    let vkey = first["keys"][0]["vkey"].as_str().unwrap();
    let refused = run(&["key", "revoke-signer", vkey, "--json"]).exits(1);
    assert_eq!(code(&refused), "signer_in_force");
    run(&["key", "rotate"]).exits(0);
    let beyond = run(&["key", "revoke-signer", vkey, "--from-size", "999", "--json"]).exits(1);
    assert_eq!(code(&beyond), "field_invalid");
    let both = ["key", "revoke-signer", vkey, "--from-size", "1", "--everywhere"];
    assert_eq!(run(&both).code, 2);
    run(&["key", "revoke-signer", vkey, "--from-size", "2"]).exits(0);
    let shown = run(&["key", "trust", "--out", &trust]).exits(0).out;
    assert!(shown.contains("trees of 0 to 1 entries"), "{shown}");
    run(&["key", "revoke-signer", vkey]).exits(0);
    let shown = run(&["key", "trust", "--out", &trust]).exits(0).out;
    assert!(shown.contains("  revoked"), "{shown}");
    // With a second admin it takes both.
    let bea = ["key", "create", "human:bea", "--role", "admin", "--json"];
    run(&bea).exits(0);
    let held = run(&["key", "rotate", "--idempotency-key", "autumn"]).exits(10);
    assert!(held.out.contains("It has to be approved first"), "{held:?}");
}
