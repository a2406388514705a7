//! Coverage: what was seen beside what the policy declares, and each kind of hole made and found.

use crate::world::{World, at};
use placet_runtime::ports::{Clock, Sleep};
use placet_server::ServerOptions;
use placet_types::ids::TimeMs;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const PATH: &str = "/api/v1/coverage";

/// Three surfaces: one in order, one that fails open, one that nobody uses or answers for.
const BUNDLE: &str = r#"
version: v1
surfaces:
  payments.transfer: { owner: payments }
  data.export:
    owner: "human:olga"
    fail_mode: { production: { mode: open, reason: "reports must leave" } }
  mail.send: {}
rules:
  - { id: transfer, owner: payments, match: { surfaces: ["payments.transfer"] }, decision: allow }
  - { id: export, owner: privacy, match: { surfaces: ["data.export"] }, decision: allow }
  - { id: never, owner: payments, match: { surfaces: ["payments.transfer"], risk_tags: ["x"] }, decision: deny }
modes:
  - { id: trial, owner: payments, surfaces: ["mail.**"], environments: ["staging"], mode: shadow, reason: "trying it out" }
"#;

/// A clock that moves when it is told to.
pub(crate) struct Stepped(watch::Sender<u64>);

impl Stepped {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(1))
    }

    pub(crate) fn step(&self, ms: u64) {
        self.0.send_modify(|now| *now += ms);
    }
}

impl Clock for Stepped {
    fn wall(&self) -> TimeMs {
        TimeMs(1_790_000_000_000 + *self.0.borrow())
    }

    fn monotonic_ms(&self) -> u64 {
        *self.0.borrow()
    }

    fn sleep(&self, wait: Duration) -> Sleep {
        let until = *self.0.borrow() + u64::try_from(wait.as_millis()).unwrap();
        let mut now = self.0.subscribe();
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= until).await;
        })
    }
}

async fn world() -> World {
    World::with(Some(BUNDLE), false, ServerOptions::default()).await
}

fn ask(surface: &str, key: &str) -> String {
    json!({"surface": surface, "action": "create", "idempotency_key": key, "audience": "service:gate"})
        .to_string()
}

fn kinds(found: &Value) -> Vec<(String, u64)> {
    let kinds = found["holes_by_kind"].as_object().unwrap();
    let listed = found["holes"].as_array().unwrap();
    let count = |kind: &str| listed.iter().filter(|hole| hole["kind"] == kind).count() as u64;
    kinds.iter().for_each(|(kind, it)| assert_eq!(it.as_u64(), Some(count(kind)), "{kind}"));
    kinds.iter().map(|(kind, it)| (kind.clone(), it.as_u64().unwrap())).collect()
}

fn of<'a>(found: &'a Value, name: &str) -> &'a Value {
    let surfaces = found["surfaces"].as_array().unwrap();
    surfaces.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}: {found}"))
}

fn has(found: &[(String, u64)], kind: &str, count: u64) {
    assert!(found.contains(&(kind.to_owned(), count)), "{kind} {count}: {found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_surface_is_covered_once_its_gate_was_heard() {
    let clock = Arc::new(Stepped::new());
    let world = World::at(BUNDLE, ServerOptions::default(), clock.clone()).await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let found = world.get(PATH, &ann).await.ok();
    let before = kinds(&found);
    has(&before, "surface_never_heard", 3);
    has(&before, "rule_never_matched", 3);
    has(&before, "owner_missing", 1);
    has(&before, "fail_open", 1);
    has(&before, "shadowed", 1);
    assert_eq!(of(&found, "mail.send")["shadowed_by"], json!(["trial"]));
    assert_eq!(of(&found, "data.export")["open_in"], json!({"production": "reports must leave"}));
    assert_eq!(of(&found, "mail.send")["heard_last"], Value::Null);

    let open = world.post("/api/v1/decisions", &bot, &ask("payments.transfer", "a")).await.ok();
    // A permit that was handed out is no sign of life.
    let found = world.get(PATH, &ann).await.ok();
    has(&kinds(&found), "surface_never_heard", 3);
    has(&kinds(&found), "gate_never_heard", 1);
    let path = format!("/api/v1/decisions/{}", at(&open, "/id"));
    world.post(&format!("{path}/consume"), &gate, "").await.ok();
    let found = world.get(PATH, &ann).await.ok();
    has(&kinds(&found), "surface_never_heard", 2);
    has(&kinds(&found), "outcome_unknown", 1);
    let seen = of(&found, "payments.transfer");
    assert_eq!((&seen["consumed"], &seen["outcome_unknown"]), (&json!(1), &json!(1)));
    assert_eq!(seen["gates"][0]["actor"], "service:gate");
    assert_eq!(seen["decisions"]["PERMIT"], 1);
    world.post(&format!("{path}/outcome"), &gate, r#"{"result":"succeeded"}"#).await.ok();
    let found = world.get(PATH, &ann).await.ok();
    let after = kinds(&found);
    assert!(!after.iter().any(|(kind, _)| kind == "outcome_unknown"), "{after:?}");
    has(&after, "rule_never_matched", 2);
    assert_eq!(found["rules"]["matched"], 1);
    let never: Vec<_> =
        found["rules"]["never"].as_array().unwrap().iter().map(|it| at(it, "/id")).collect();
    assert_eq!(never, ["export", "never"]);
    // An hour later it was heard within the last hour, and a moment later it was not.
    let since = async || kinds(&world.get(&format!("{PATH}?since=1h"), &ann).await.ok());
    clock.step(3_600_000);
    assert_eq!(since().await, after);
    clock.step(1);
    let silent = since().await;
    has(&silent, "surface_silent", 1);
    has(&silent, "gate_silent", 1);
    // All of it is there after a restart.
    let surfaces = found["surfaces"].clone();
    let world = world.restart_over(|_| {}, |stores| stores.clock = clock).await;
    assert_eq!(world.get(PATH, &ann).await.ok()["surfaces"], surfaces);
    world.get(PATH, &bot).await.refused(403, "role_missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passed_without_a_decision_is_recorded_and_is_a_hole() {
    let world = world().await;
    let ann = world.admin.clone();
    let gate = world.key("service:gate", &[]).await;
    let pass = async |surface: &str| {
        let body = json!({"surface": surface, "action": "create", "at": "2026-01-01T00:00:00Z",
                          "reason": "no answer for 5 s"});
        let answer = world.post("/api/v1/passages", &gate, &body.to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    };
    let done = pass("data.export").await;
    assert_eq!((&done["open"], &done["surface_known"]), (&json!(true), &json!(true)));
    assert_eq!(pass("payments.transfer").await["open"], false);
    assert_eq!(pass("made.up").await["surface_known"], false);
    let found = world.get(PATH, &ann).await.ok();
    has(&kinds(&found), "ungoverned_passage", 3);
    let export = of(&found, "data.export");
    assert_eq!(
        (&export["passages"]["open"], &export["passages"]["forbidden"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(export["gates"][0]["passages"], 1);
    assert_eq!(found["others"]["passages"]["forbidden"], 1);
    let metrics = world.get("/metrics", "").await.text;
    for (open, count) in [("yes", 1), ("no", 2)] {
        let line = format!("placet_passages_total{{workspace=\"main\",open=\"{open}\"}} {count}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    let figures = world.get("/api/v1/metrics/governance", &ann).await.ok();
    assert_eq!(figures["policy_violations"]["passages"], 2);
    let index = done["index"].as_u64().unwrap();
    let listed = world.get("/api/v1/audit?type=passage.reported", &ann).await.ok();
    let entries = listed["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "{listed}");
    assert!(entries.iter().any(|entry| entry["index"] == index), "{listed}");
    // It is recorded also while everything stands still: it has happened.
    world.post("/api/v1/kill", &ann, r#"{"scope":"workspace"}"#).await.ok();
    pass("data.export").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_reports_say_which_field() {
    let world = world().await;
    let gate = world.key("service:gate", &[]).await;
    let cases = [
        (r#"{"action":"a"}"#, "field_missing", "/surface"),
        (r#"{"surface":"a.b"}"#, "field_missing", "/action"),
        (r#"{"surface":"a b","action":"a"}"#, "field_invalid", "/surface"),
        (r#"{"surface":"a","action":"a..b"}"#, "field_invalid", "/action"),
        (r#"{"surface":"a","action":"a","at":"yesterday"}"#, "field_invalid", "/at"),
        (r#"{"surface":"a","action":"a","at":"2999-01-01T00:00:00Z"}"#, "field_invalid", "/at"),
        (r#"{"surface":"a","action":"a","reason":1}"#, "field_invalid", "/reason"),
        (r#"{"surface":"a","action":"a","environment":"x"}"#, "field_unknown", "/environment"),
    ];
    for (body, code, field) in cases {
        let refused = world.post("/api/v1/passages", &gate, body).await.refused(400, code);
        assert_eq!(refused["field"], field, "{body}");
    }
    for since in ["", "0", "367d", "x"] {
        let refused = world.get(&format!("{PATH}?since={since}"), &world.admin).await;
        assert_eq!(refused.refused(400, "field_invalid")["field"], "?since", "{since}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_surfaces_and_a_missing_policy_are_holes() {
    let world = world().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    for name in ["made.up", "made.up.too"] {
        let decided = world.post("/api/v1/decisions", &bot, &ask(name, name)).await.ok();
        assert_eq!(decided["outcome"], "SILENCE");
    }
    let found = world.get(PATH, &ann).await.ok();
    has(&kinds(&found), "surface_unknown", 1);
    assert_eq!(found["unknown"]["decisions"], 2);
    let names: Vec<_> =
        found["surfaces"].as_array().unwrap().iter().map(|it| at(it, "/name")).collect();
    assert!(!names.iter().any(|name| name.starts_with("made")), "{names:?}");
    let bare = World::without_bundle().await;
    let found = bare.get(PATH, &bare.admin).await.ok();
    has(&kinds(&found), "no_policy", 1);
    assert!(found.get("rules").is_none(), "{found}");
}

/// What the files in `deploy/` ask for is there: a panel of a metric that nobody serves is always empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_and_alerts_name_metrics_that_are_served() {
    let world = world().await;
    let metrics = world.get("/metrics", "").await.text;
    let served = |name: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let of = |name: &str| metrics.contains(&format!("# TYPE {name} "));
        of(name) || base.is_some_and(of)
    };
    let mut named = 0;
    for file in ["alerts.yml", "alerts_test.yml", "dashboard.json"] {
        let path = format!("{}/../../../deploy/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for name in words.filter(|word| word.starts_with("placet_")) {
            assert!(served(name), "{file} names {name}, which nobody serves");
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
    let panels = std::fs::read_to_string(format!(
        "{}/../../../deploy/dashboard.json",
        env!("CARGO_MANIFEST_DIR")
    ));
    let dashboard: Value = serde_json::from_str(&panels.unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of = |kind: &str| panels.iter().filter(|it| it["type"] == kind).count();
    assert_eq!((of("row"), of("timeseries") + of("stat")), (4, 18));
}

/// What no policy holds and what nobody has reviewed are holes as long as they last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exceptions_from_all_of_policy_and_overdue_reviews_are_holes() {
    let clock = Arc::new(Stepped(watch::Sender::new(1)));
    let bundle = format!(
        "{BUNDLE}exceptions: {{ max: 2h, break_glass: {{ roles: [operator], max: 10m, review: 1h }} }}\n"
    );
    let world = World::at(&bundle, ServerOptions::default(), clock.clone()).await;
    let ann = world.admin.clone();
    let olga = world.key("human:olga", &["operator"]).await;
    let count = async |kind: &str| {
        let found = kinds(&world.get(PATH, &ann).await.ok());
        found.iter().find(|(it, _)| it == kind).map_or(0, |(_, count)| *count)
    };
    let glass = |waives: &str, key: &str| {
        json!({"break_glass": true, "surface": "*", "actor": "agent:bot", "waives": [waives],
               "reason": "incident-7", "duration": "5m", "idempotency_key": key})
        .to_string()
    };
    // What waives less than all of it leaves policy in charge.
    let narrow = world.post("/api/v1/exceptions", &olga, &glass("rules", "e1")).await;
    assert_eq!(narrow.status, 201, "{narrow:?}");
    assert_eq!(count("exception_ungoverned").await, 0);
    let opened = world.post("/api/v1/exceptions", &olga, &glass("governance", "e2")).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let id = at(&opened.json(), "/id").to_owned();
    assert_eq!(count("exception_ungoverned").await, 1);
    let found = world.get(PATH, &ann).await.ok();
    let holes = found["holes"].as_array().unwrap();
    let hole = holes.iter().find(|it| it["kind"] == "exception_ungoverned").unwrap();
    assert_eq!(hole["surface"], "*");
    assert!(at(hole, "/detail").starts_with(&format!("{id}: no policy holds agent:bot until")));
    clock.0.send_modify(|now| *now += 300_000);
    assert_eq!((count("exception_ungoverned").await, count("review_overdue").await), (0, 0));
    clock.0.send_modify(|now| *now += 3_600_000);
    assert_eq!(count("review_overdue").await, 2);
    let review = format!("/api/v1/exceptions/{id}/review");
    world.post(&review, &ann, r#"{"justified":true,"note":"looked at"}"#).await.ok();
    assert_eq!(count("review_overdue").await, 1);
}
