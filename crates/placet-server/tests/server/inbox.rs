//! What people see of held actions, and what becomes of what they say.

use crate::world::{BIG, World, at, request};
use placet_server::ServerOptions;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

/// Two roles, a derived tag and a derived fact.
const BUNDLE: &str = r#"
version: v1
derivers:
  - id: foreign
    match: { surfaces: ["payments.transfer"], when: "request.arguments.country != 'CH'" }
    risk_tags: ["foreign"]
    facts: { foreign: true }
rules:
  - id: foreign
    match: { surfaces: ["payments.transfer"], when: "verified.foreign == true" }
    decision: require_approval
    reason: "what leaves the country needs two people"
    constraints: { max_retries: 1 }
    approval: { roles: { operator: 1, treasurer: 1 } }
  - id: job
    match: { surfaces: ["job"] }
    decision: require_approval
    approval: { roles: { operator: 1 } }
"#;

const HELD: &str = r#"{
  "surface": "payments.transfer", "action": "create", "idempotency_key": "k",
  "target": "account\u200b:iban-4711", "on_behalf_of": ["human:maria"], "labels": {"desk": "7"},
  "context": {"ticket": 12}, "risk_tags": ["checked"],
  "arguments": {"amount": 12.5, "country": "FR", "memo": "\u202e001", "to": [{"name": "x"}, {}]},
  "change": {"files": ["a"]}
}"#;

fn field<'a>(approval: &'a Value, path: &str) -> &'a Value {
    let fields = approval["rendering"]["fields"].as_array().unwrap();
    let mut found = fields.iter().filter(|field| field["path"] == *path);
    let field = found.next().unwrap_or_else(|| panic!("no {path} in {approval:#}"));
    assert_eq!(found.next(), None, "{path} twice");
    field
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_is_shown_with_its_origin_and_nothing_hides() {
    let world = World::with(Some(BUNDLE), false, ServerOptions::default()).await;
    let bot = world.key("agent:bot", &["payer"]).await;
    let tom = world.key("human:tom", &["treasurer"]).await;
    let held = world.post("/api/v1/decisions", &bot, HELD).await.ok();
    assert_eq!(at(&held, "/outcome"), "REQUIRE_APPROVAL");
    let path = format!("/api/v1/approvals/{}", at(&held, "/approval/id"));
    let one = world.get(&path, &tom).await.ok();
    let listed = world.get("/api/v1/approvals", &tom).await.ok();
    assert_eq!(listed["approvals"][0]["rendering"], one["rendering"]);
    assert_eq!(one["rendering"]["action_digest"], held["action_digest"]);
    let rows = [
        ("surface", "payments.transfer", "asserted", true, false),
        ("target", "account\\u{200b}:iban-4711", "asserted", true, true),
        ("actor", "agent:bot", "verified", true, false),
        ("on_behalf_of[0]", "human:maria", "asserted", true, false),
        ("environment", "production", "verified", true, false),
        ("workspace", "main", "verified", true, false),
        ("arguments.amount", "12.5", "asserted", true, false),
        ("arguments.memo", "\\u{202e}001", "asserted", true, true),
        ("arguments.to[0].name", "x", "asserted", true, false),
        ("arguments.to[1]", "{}", "asserted", true, false),
        ("change.files[0]", "a", "asserted", true, false),
        ("context.ticket", "12", "asserted", false, false),
        ("labels.desk", "7", "asserted", false, false),
        ("risk_tags[0]", "checked", "asserted", false, false),
        ("idempotency_key", "k", "asserted", false, false),
        ("verified.roles[0]", "payer", "verified", false, false),
        ("derived.risk_tags[0]", "foreign", "verified", false, false),
        ("verified.foreign", "true", "verified", false, false),
    ];
    for (path, value, provenance, bound, marked) in rows {
        let field = field(&one, path);
        let flag = |name: &str| field[name].as_bool().unwrap_or(false);
        let seen = (at(field, "/value"), at(field, "/provenance"), flag("bound"), flag("marked"));
        assert_eq!(seen, (value, provenance, bound, marked), "{path}");
    }
    let fields = one["rendering"]["fields"].as_array().unwrap();
    let count = one["rendering"]["count"].as_u64().unwrap();
    assert_eq!(fields.len() as u64, count);
    assert!(!fields.iter().any(|field| field.to_string().contains(['\u{202e}', '\u{200b}'])));
    let asked = json!([{"actor": "human:maria", "provenance": "asserted"},
                       {"actor": "agent:bot", "provenance": "verified"}]);
    assert_eq!(one["asked_by"], asked);
    assert_eq!(one["missing"], json!({"operator": 1, "treasurer": 1}));
    assert_eq!(at(&one, "/reasons/0"), "what leaves the country needs two people");
    assert_eq!(one["constraints"], json!({"max_retries": 1}));
    assert_eq!(one["votes"], json!([]));
    // Nobody else sees it, and nothing is at a wrong id.
    let other = world.key("human:otto", &[]).await;
    world.get(&path, &other).await.refused(404, "not_found");
    for id in ["x", "apr_00", &format!("apr_{}", "0".repeat(32)), at(&held, "/id")] {
        world.get(&format!("/api/v1/approvals/{id}"), &tom).await.refused(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_leaves_out_many_fields_and_the_approval_itself_has_them() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let items: Vec<Value> = (0..80).map(Value::from).collect();
    let mut body: Value = serde_json::from_str(&crate::world::request("a", BIG)).unwrap();
    body["arguments"] = json!({"items": items});
    let held = world.post("/api/v1/decisions", &bot, &body.to_string()).await.ok();
    let listed = world.get("/api/v1/approvals", &world.admin).await.ok();
    let rendering = &listed["approvals"][0]["rendering"];
    assert!(rendering["count"].as_u64().unwrap() > 80 && rendering.get("fields").is_none());
    let path = format!("/api/v1/approvals/{}", at(&held, "/approval/id"));
    let one = world.get(&path, &world.admin).await.ok();
    assert_eq!(at(field(&one, "arguments.items[79]"), "/value"), "79");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_erased_is_not_shown_and_cannot_be_approved() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let held = world.decide(&bot, "a", &format!(r#"{BIG},"subjects":["maria"]"#)).await;
    let body = r#"{"subject":"maria","reason":"gdpr_17"}"#;
    let erased = world.post("/api/v1/audit/erase", &world.admin, body).await;
    assert!(erased.status < 300, "{erased:?}");
    let path = format!("/api/v1/approvals/{}", at(&held, "/approval/id"));
    let one = world.get(&path, &world.admin).await.ok();
    assert_eq!((&one["payload_erased"], &one["rendering"]), (&true.into(), &Value::Null));
    assert_eq!((at(&one, "/state"), &one["action_digest"]), ("withdrawn", &Value::Null));
    let body = format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest"));
    let refused = world.post(&format!("{path}/approve"), &world.admin, &body).await;
    assert!(["payload_erased", "approval_final"].contains(&at(&refused.json(), "/code")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_are_kept_with_votes_and_a_rejection_reaches_who_asked() {
    let world = World::with(Some(BUNDLE), false, ServerOptions::default()).await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let tom = world.key("human:tom", &["treasurer"]).await;
    let held = world.post("/api/v1/decisions", &bot, HELD).await.ok();
    let path = format!("/api/v1/approvals/{}", at(&held, "/approval/id"));
    let body = |note: &str| json!({"action_digest": held["action_digest"], "note": note});
    let approve = body("asked\u{202e} maria").to_string();
    let voted = world.post(&format!("{path}/approve"), &olga, &approve).await.ok();
    assert_eq!((at(&voted, "/state"), at(&voted, "/votes/0/by")), ("pending", "human:olga"));
    assert_eq!(voted["missing"], json!({"treasurer": 1}));
    assert_eq!(at(&voted, "/votes/0/note"), "asked\u{202e} maria");
    let decision = format!("/api/v1/decisions/{}", at(&held, "/id"));
    let waiting = format!("{decision}?wait=20s");
    let waiting = world.get(&waiting, &bot);
    let rejecting = async {
        let body = body("the invoice is of last year").to_string();
        world.post(&format!("{path}/reject"), &tom, &body).await.ok()
    };
    let (waited, rejected) = tokio::join!(waiting, rejecting);
    assert_eq!(at(&rejected, "/votes/1/note"), "the invoice is of last year");
    assert_eq!(rejected["votes"][1]["approve"], false);
    for seen in [waited.ok(), world.get(&decision, &bot).await.ok()] {
        let approval = (at(&seen, "/approval/state"), at(&seen, "/approval/note"));
        assert_eq!(approval, ("rejected", "the invoice is of last year"));
        assert!(!seen.to_string().contains("tom"), "who rejected is not the agent's business");
    }
    // The same key again gets the same answer, and the log has no note in it.
    let again = world.post("/api/v1/decisions", &bot, HELD).await.ok();
    assert_eq!(at(&again, "/approval/note"), "the invoice is of last year");
    let audit = world.get("/api/v1/audit?limit=100", &world.admin).await;
    assert!(!audit.text.contains("invoice") && !audit.text.contains("olga"));
    // A note goes with what it is about.
    let body = json!({"decision": at(&held, "/id"), "reason": "gdpr_17"}).to_string();
    let erased = world.post("/api/v1/audit/erase", &world.admin, &body).await;
    assert!(erased.status < 300, "{erased:?}");
    let one = world.get(&path, &olga).await.ok();
    assert_eq!(
        (one["votes"].as_array().map(Vec::len), &one["votes"][1]["note"]),
        (Some(2), &Value::Null)
    );
    assert_eq!(world.get(&decision, &bot).await.ok()["approval"].get("note"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_say_where_they_leave_an_approval() {
    let world = World::with(Some(BUNDLE), false, ServerOptions::default()).await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let tom = world.key("human:tom", &["treasurer"]).await;
    let from = world.size();
    let held = world.post("/api/v1/decisions", &bot, HELD).await.ok();
    let id = at(&held, "/approval/id");
    for key in [&olga, &tom] {
        let body = json!({"action_digest": held["action_digest"], "note": "secret"}).to_string();
        world.post(&format!("/api/v1/approvals/{id}/approve"), key, &body).await.ok();
    }
    let nonce = [("placet-attempt-nonce", "0123456789abcdef")];
    let path = format!("/api/v1/decisions/{}", at(&held, "/id"));
    world.call("GET", &path, &bot, &nonce, "").await.ok();
    let second = HELD.replace("\"k\"", "\"k2\"");
    let second = world.post("/api/v1/decisions", &bot, &second).await.ok();
    world.post(&format!("/api/v1/decisions/{}/withdraw", at(&second, "/id")), &bot, "").await.ok();
    let path = format!("/api/v1/events?from={from}");
    let mut stream = world.send("GET", &path, &world.admin, &[], "").await;
    let mut text = String::new();
    while text.matches("\nid: ").count() < 6 {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    let mut seen = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let state = at(&entry, "/approval/state").to_owned();
        seen.push((at(&entry, "/approval/id").to_owned(), state));
        assert!(entry["index"].as_u64().is_some_and(|index| index >= from));
        assert!(at(&entry, "/approval/decision").starts_with("dec_"));
    }
    let other = at(&second, "/approval/id");
    let rows = [(id, "pending"), (id, "pending"), (id, "approved"), (id, "consumed")];
    let rows = rows.into_iter().chain([(other, "pending"), (other, "withdrawn")]);
    let rows: Vec<_> = rows.map(|(id, state)| (id.to_owned(), state.to_owned())).collect();
    assert_eq!(seen, rows);
    for personal in ["olga", "tom", "maria", "secret", "iban-4711"] {
        assert!(!text.contains(personal), "{personal} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_approved_by_its_own_id() {
    let world = World::with(Some(BUNDLE), false, ServerOptions::default()).await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let body = r#"{"surface":"job","action":"dispatch","idempotency_key":"j","topic":"job.x"}"#;
    let held = world.post("/api/v1/decisions", &bot, body).await.ok();
    let listed = world.get("/api/v1/approvals", &olga).await.ok();
    let job = at(&listed, "/approvals/0/job_id").to_owned();
    assert_eq!(job.strip_prefix("job_"), at(&held, "/id").strip_prefix("dec_"));
    let path = format!("/api/v1/approvals/{job}");
    assert_eq!(at(&world.get(&path, &olga).await.ok(), "/id"), at(&held, "/approval/id"));
    let note = r#"{"note":"approved after policy review"}"#;
    let approve = format!("{path}/approve");
    world.post(&approve, &olga, note).await.refused(400, "approval_digest_missing");
    let body = json!({"action_digest": held["action_digest"]}).to_string();
    assert_eq!(at(&world.post(&approve, &olga, &body).await.ok(), "/state"), "approved");
    // The same vote again is no other vote; another one is.
    assert_eq!(at(&world.post(&approve, &olga, &body).await.ok(), "/state"), "approved");
    let reject = format!("{path}/reject");
    world.post(&reject, &olga, &body).await.refused(409, "approval_final");
    // What is no job has no job id.
    let held = world.post("/api/v1/decisions", &bot, HELD).await.ok();
    let job = at(&held, "/id").replace("dec_", "job_");
    let path = format!("/api/v1/approvals/{job}/approve");
    world.post(&path, &olga, &body).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_demand_shows_which_votes_count_no_more() {
    let world = World::with(Some(BUNDLE), false, ServerOptions::default()).await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let tom = world.key("human:tom", &["treasurer"]).await;
    let held = world.post("/api/v1/decisions", &bot, HELD).await.ok();
    let path = format!("/api/v1/approvals/{}", at(&held, "/approval/id"));
    let body = json!({"action_digest": held["action_digest"]}).to_string();
    world.post(&format!("{path}/approve"), &olga, &body).await.ok();
    let text = BUNDLE
        .replace("constraints: { max_retries: 1 }", "constraints: { max_retries: 0 }")
        .replace("needs two people", "needs two people and no retry");
    let sources = json!({"sources": [{"name": "policy.yaml", "text": text}]}).to_string();
    world.post("/api/v1/policies", &world.admin, &sources).await.ok();
    let refused = world.post(&format!("{path}/approve"), &tom, &body).await;
    refused.refused(409, "approval_reopened");
    let one = world.get(&path, &tom).await.ok();
    assert_eq!((at(&one, "/state"), &one["reopened"]), ("pending", &1.into()));
    assert_eq!(one["constraints"], json!({"max_retries": 0}));
    assert_eq!(at(&one, "/reasons/0"), "what leaves the country needs two people and no retry");
    assert_eq!(
        (at(&one, "/votes/0/by"), &one["votes"][0]["dropped"]),
        ("human:olga", &true.into())
    );
    assert_eq!(one["missing"], json!({"operator": 1, "treasurer": 1}));
    let audit = world.get("/api/v1/audit?type=approval.reopened", &world.admin).await.ok();
    assert_eq!(at(&audit, "/entries/0/approval/state"), "pending");
    assert_eq!(at(&audit, "/entries/0/approval/id"), at(&held, "/approval/id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_short_where_requests_are_large() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let memo = format!(r#","context":{{"memo":"{}"}}{BIG}"#, "x".repeat(400_000));
    for number in 0..7 {
        let held = world.decide(&bot, &format!("k-{number}"), &memo).await;
        assert_eq!(at(&held, "/outcome"), "REQUIRE_APPROVAL");
    }
    for (list, of) in [
        ("/api/v1/approvals?", "approvals"),
        ("/api/v1/approvals?include_resolved=true&", "approvals"),
        ("/governance/pending?", "requests"),
    ] {
        let (mut pages, mut seen, mut after) = (0, 0, String::new());
        loop {
            let page = world.get(&format!("{list}limit=5{after}"), &world.admin).await.ok();
            let found = page[of].as_array().unwrap().len();
            // More than a megabyte is three of them.
            assert!(found <= 3, "{list}: {found}");
            (pages, seen) = (pages + 1, seen + found);
            let Some(next) = page["next_cursor"].as_str() else { break };
            assert!(pages < 9, "{list} does not end");
            after = format!("&cursor={next}");
        }
        assert_eq!((pages, seen), (3, 7), "{list}");
    }
}

#[tokio::test]
async fn a_request_has_no_more_values_than_people_can_be_shown() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let list = |values: usize| format!(r#","context":{{"l":[{}0]}}"#, "0,".repeat(values - 1));
    world.decide(&bot, "many", &list(60_000)).await;
    let body = request("more", &list(66_000));
    let refused = world.post("/api/v1/decisions", &bot, &body).await.refused(400, "json_malformed");
    assert!(at(&refused, "/detail").starts_with("more than 65536 values at byte"), "{refused}");
}
