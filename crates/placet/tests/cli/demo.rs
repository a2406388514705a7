//! The demo: one document, with every outcome in it and nothing assumed.

use crate::support::placet;

#[test]
fn the_demo_shows_every_outcome_and_proves_it() {
    let run = placet(&["demo", "--listen", "127.0.0.1:0", "--json"]).exits(0);
    let document = run.json();
    let steps = document["steps"].as_array().unwrap();
    for outcome in [
        "PERMIT",
        "REQUIRE_APPROVAL",
        "THROTTLE",
        "DENY",
        "SILENCE",
        "own_approval",
        "stale_approval_digest",
        "idempotency_conflict",
        "permit_consumed",
        "lifted",
    ] {
        assert!(steps.iter().any(|step| step["outcome"] == outcome), "{outcome}");
    }
    for step in steps {
        let latency = step["latency_ms"].as_f64().unwrap();
        assert!(latency > 0.0, "{step}");
        let keys: Vec<&str> = step.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["action", "index", "latency_ms", "outcome", "rules"]);
    }
    assert!(document["receipts"]["verified"].as_u64().unwrap() >= 15);
    assert_eq!(document["receipts"]["refused"], 3);
    let replay = &document["replay"];
    assert_eq!(
        (&replay["differences"], &replay["re_evaluated"]),
        (&0.into(), &replay["decisions"])
    );
}
