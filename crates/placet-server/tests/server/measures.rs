//! Figures over HTTP and on `/metrics`: what happened is what they say, also after a restart.

use crate::world::{BIG, BUNDLE, World, at};
use placet_server::ServerOptions;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/metrics/governance";

/// A day at a desk: two permits, a denial, one approval and one rejection.
async fn lived(world: &World) -> String {
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    world.decide(&bot, "p1", "").await;
    world.decide(&bot, "p2", "").await;
    let never = world.decide(&bot, "n1", r#","risk_tags":["never"]"#).await;
    assert_eq!(at(&never, "/outcome"), "DENY");
    for (key, verb) in [("h1", "approve"), ("h2", "reject")] {
        let held = world.decide(&bot, key, BIG).await;
        let path = format!("/api/v1/approvals/{}/{verb}", at(&held, "/approval/id"));
        let body = json!({"action_digest": held["action_digest"]}).to_string();
        world.post(&path, &olga, &body).await.ok();
    }
    world.decide(&bot, "h3", BIG).await;
    bot
}

fn check(found: &Value) {
    assert_eq!(found["decisions"]["DENY"], 1, "{found}");
    assert_eq!(found["decisions"]["REQUIRE_APPROVAL"], 3, "{found}");
    let ends =
        json!({"approved": 1, "rejected": 1, "expired": 0, "invalidated": 0, "withdrawn": 0});
    assert_eq!(found["rejected_changes"], ends, "{found}");
    assert_eq!(found["approval_latency"]["count"], 2, "{found}");
    let buckets = found["approval_latency"]["buckets"].as_array().unwrap();
    assert_eq!(buckets.iter().map(|it| it["count"].as_u64().unwrap()).sum::<u64>(), 2);
    assert_eq!(buckets.len(), 13);
    let violations = json!({"denied": 1, "stopped": 0, "passages": 0, "by_reason": {"rule": 1}});
    assert_eq!(found["policy_violations"], violations, "{found}");
    assert_eq!(
        found["expired_evidence"],
        json!({"expired": 0, "lapsed": 0, "missing": 0}),
        "{found}"
    );
    let none = json!({"opened": 0, "break_glass": 0, "passages": 0, "ended": 0, "reviewed": 0,
                      "live": 0, "overdue": 0});
    assert_eq!(found["exception_use"], none, "{found}");
    assert_eq!(found["lineage_share"], json!({"releases": 0, "complete": 0}), "{found}");
    // The bundle has five rules, and nobody answers for any of them.
    let owners = &found["missing_owners"];
    assert_eq!((&owners["total"], &owners["entries"]), (&json!(5), &json!(5)), "{found}");
    assert_eq!(owners["listed"][0], json!({"kind": "rules", "id": "big"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_are_what_happened_and_survive_a_restart() {
    let world = World::new().await;
    let bot = lived(&world).await;
    let ann = world.admin.clone();
    for path in [PATH.to_owned(), format!("{PATH}?window=24h")] {
        check(&world.get(&path, &ann).await.ok());
    }
    let before = world.get("/metrics", "").await.text;
    for line in [
        "placet_approvals_closed_total{workspace=\"main\",state=\"rejected\"} 1",
        "placet_approvals_closed_total{workspace=\"main\",state=\"approved\"} 1",
        "placet_approval_latency_seconds_bucket{workspace=\"main\",le=\"+Inf\"} 2",
        "placet_approval_latency_seconds_count{workspace=\"main\"} 2",
        "placet_policy_violations_total{workspace=\"main\"} 1",
        "placet_denied_total{workspace=\"main\",reason=\"rule\"} 1",
        "placet_owners_missing{workspace=\"main\",why=\"none\"} 5",
        "placet_owners_missing{workspace=\"main\",why=\"left\"} 0",
    ] {
        assert!(before.contains(&format!("{line}\n")), "{line} is not in {before}");
    }
    let world = world.restart().await;
    check(&world.get(PATH, &ann).await.ok());
    let own = |text: &str| {
        let of = ["placet_approval", "placet_policy", "placet_denied", "placet_owners"];
        let lines = text.lines().filter(|line| of.iter().any(|it| line.starts_with(it)));
        lines.filter(|line| !line.contains("oldest")).map(str::to_owned).collect::<Vec<_>>()
    };
    let after = world.get("/metrics", "").await.text;
    assert_eq!(own(&after), own(&before));
    // Whoever asks for decisions does not see how the others fare.
    world.get(PATH, &bot).await.refused(403, "role_missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_a_duration_within_bounds() {
    let world = World::new().await;
    let ann = world.admin.clone();
    for window in ["1h", "3600", "30d", "90m"] {
        world.get(&format!("{PATH}?window={window}"), &ann).await.ok();
    }
    for window in ["", "0", "59m", "31d", "1w", "-1h", "99999999999999999999d"] {
        let refused = world.get(&format!("{PATH}?window={window}"), &ann).await;
        let refused = refused.refused(400, "field_invalid");
        assert_eq!(refused["field"], "?window", "{window}: {refused}");
    }
    world.get(&format!("{PATH}?from=1"), &ann).await.refused(400, "field_unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_who_has_left_answers_for_nothing() {
    let rules = BUNDLE.replace("  - id: small\n", "  - id: small\n    owner: \"human:olga\"\n");
    let rules = rules.replace("  - id: big\n", "  - id: big\n    owner: payments\n");
    let world = World::with(Some(&rules), false, ServerOptions::default()).await;
    let ann = world.admin.clone();
    let olga = world.key("human:olga", &["operator"]).await;
    let owners = |found: Value| {
        ["total", "without", "left"].map(|it| found["missing_owners"][it].as_u64().unwrap())
    };
    assert_eq!(owners(world.get(PATH, &ann).await.ok()), [3, 3, 0]);
    let key = olga.split_once('.').unwrap().0;
    let gone = world.call("DELETE", &format!("/api/v1/keys/{key}"), &ann, &[], "").await;
    assert_eq!(gone.status, 204, "{gone:?}");
    let found = world.get(PATH, &ann).await.ok();
    let row = json!({"kind": "rules", "id": "small", "left": "human:olga"});
    assert_eq!(found["missing_owners"]["listed"][0], row);
    assert_eq!(owners(found), [4, 3, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_nobody_can_answer_for_it() {
    let world = World::without_bundle().await;
    let found = world.get(PATH, &world.admin).await.ok();
    assert!(found.get("missing_owners").is_none(), "absent, not 0: {found}");
    let metrics = world.get("/metrics", "").await.text;
    assert!(!metrics.contains("placet_owners_missing{"), "{metrics}");
}
