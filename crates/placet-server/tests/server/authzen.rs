//! AuthZEN beyond the group's own cases: who may ask for whom, how a question is recorded, every
//! outcome, retries, semantics, search without end, and bad input.

use crate::world::{Answer, World, at};
use placet_runtime::crypto::SystemClock;
use placet_runtime::ports::Clock;
use placet_server::ServerOptions;
use placet_types::ids::TimeMs;
use serde_json::{Value, json};
use std::sync::Arc;

const POLICY: &str = include_str!("authzen/outcomes.yaml");
const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";
const JSON: (&str, &str) = ("content-type", "application/json");

async fn world() -> (World, String) {
    let world = World::with(Some(POLICY), false, ServerOptions::default()).await;
    let gate = world.key("service:gate", &["gate"]).await;
    (world, gate)
}

fn ask(subject: &str, action: &str, resource: &str) -> Value {
    json!({"subject": {"type": "user", "id": subject}, "action": {"name": action},
           "resource": {"type": "doc", "id": resource}})
}

async fn post(world: &World, key: &str, path: &str, body: &Value) -> Answer {
    world.call("POST", path, key, &[JSON], &body.to_string()).await
}

async fn with(world: &World, key: &str, header: (&str, &str), body: &Value) -> Answer {
    world.call("POST", ONE, key, &[JSON, header], &body.to_string()).await
}

#[track_caller]
fn reason(value: &Value) -> &str {
    assert_eq!(value["decision"], false, "{value}");
    at(value, "/context/reason")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evaluation_is_a_decision() {
    let (world, gate) = world().await;
    let size = world.size();
    let headers = [JSON, ("x-request-id", "req-1")];
    let body = json!({
        "subject": {"type": "user", "id": "alice", "properties": {"team": "a"}},
        "action": {"name": "read", "properties": {"page": 3}},
        "resource": {"type": "doc", "id": "d1", "properties": {"owner": "bob"}},
        "context": {"ip": "192.0.2.1", "placet": {"risk_tags": ["pii"], "labels": {"team": "a"}}},
    });
    let value = world.call("POST", ONE, &gate, &headers, &body.to_string()).await.ok();
    assert_eq!(value["decision"], true, "{value}");
    assert_eq!(world.size(), size + 1);
    let id = at(&value, "/context/evaluation_id");
    assert_eq!(id, at(&value, "/context/placet/id"));
    let found = world.get(&format!("/api/v1/decisions/{id}"), &gate).await.ok();
    assert_eq!((at(&found, "/surface"), at(&found, "/action")), ("doc", "read"));
    assert_eq!(at(&found, "/actor"), "service:gate");
    assert_eq!(at(&found, "/permit/state"), "consumed");
    // The request id is its trace, and its receipt proves it. No entry shows the subject.
    let query = format!("/api/v1/audit?type=decision&min_index={size}");
    let entries = world.get(&query, &world.admin).await.ok().to_string();
    assert!(entries.contains("service:gate") && !entries.contains("alice"), "{entries}");
    let trace = world.get("/api/v1/traces/req-1", &world.admin).await.ok();
    assert_eq!(trace["entries"].as_array().unwrap().len(), 1, "{trace}");
    let receipt = at(&value, "/context/receipt");
    assert_eq!(receipt, format!("/api/v1/receipts/{id}"));
    assert!(world.get(receipt, &gate).await.text.starts_with("c2sp.org/tlog-proof@v1"));
    let path = format!("{receipt}?payload=true");
    let disclosed = world.get(&path, &gate).await.ok();
    let request = &disclosed["payload"]["request"];
    for (member, wanted) in [
        ("surface", json!("doc")),
        ("action", json!("read")),
        ("target", json!("d1")),
        ("arguments", json!({"page": 3})),
        ("on_behalf_of", json!(["human:alice"])),
        ("labels", json!({"subject": "user:alice", "subject_type": "user", "team": "a"})),
        ("subjects", json!(["user:alice"])),
        ("risk_tags", json!(["pii"])),
        ("trace_id", json!("req-1")),
        (
            "context",
            json!({
                "ip": "192.0.2.1",
                "resource": {"id": "d1", "properties": {"owner": "bob"}, "type": "doc"},
                "subject": {"id": "alice", "properties": {"team": "a"}, "type": "user"},
            }),
        ),
    ] {
        assert_eq!(request[member], wanted, "{member}");
    }
    // What is known of the subject can be erased by its name.
    let erase = json!({"subject": "user:alice", "dry_run": true}).to_string();
    let plan = world.post("/api/v1/audit/erase", &world.admin, &erase).await.ok();
    assert_eq!(plan["decisions"], 1, "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_ask_for_whom() {
    let (world, gate) = world().await;
    let bot = world.key("agent:bot", &[]).await;
    let editor = world.key("service:editor", &["editor"]).await;
    let other = ask("alice", "read", "d1");
    for path in [ONE, MANY] {
        post(&world, &bot, path, &other).await.refused(403, "role_missing");
        post(&world, "", path, &other).await.refused(401, "key_missing");
        post(&world, "key_0.1", path, &other).await.refused(401, "key_unknown");
    }
    for (kind, action) in
        [("subject", json!({"name": "read"})), ("resource", json!({"name": "read"}))]
    {
        let mut body = other.clone();
        body["action"] = action;
        let path = format!("/access/v1/search/{kind}");
        post(&world, &bot, &path, &body).await.refused(403, "role_missing");
        post(&world, "", &path, &body).await.refused(401, "key_missing");
    }
    let headers = [JSON, ("x-request-id", "unknown caller")];
    let answer = world.call("POST", ONE, "", &headers, &other.to_string()).await;
    assert!(answer.headers.contains("x-request-id: unknown caller"), "{answer:?}");
    let body = json!({"evaluations": [other]});
    let value = post(&world, &bot, MANY, &body).await.ok();
    assert_eq!(at(&value, "/evaluations/0/context/error/code"), "role_missing");
    assert_eq!(value["evaluations"][0]["decision"], false);

    // For itself anybody asks, with the rights of its own key.
    let own = json!({"subject": {"type": "agent", "id": "bot"}, "action": {"name": "open"},
                     "resource": {"type": "box", "id": "b"}});
    assert_eq!(post(&world, &bot, ONE, &own).await.ok()["decision"], true);
    let list = json!({"subject": {"type": "agent", "id": "bot"},
                      "resource": {"type": "box", "id": "b"}});
    let found = post(&world, &bot, "/access/v1/search/action", &list).await.ok();
    assert_eq!(found["results"], json!([{"name": "open"}]));
    // Asked by a gate for it, it is the gate's question: the bot's rights are not the gate's.
    assert_eq!(reason(&post(&world, &gate, ONE, &own).await.ok()), "no_applicable_policy");

    // What the gate says of a subject never becomes a role, nor a label that names another subject.
    let edit = json!({
        "subject": {"type": "user", "id": "bob", "roles": ["editor"],
                    "properties": {"role": "editor", "roles": ["editor"]}},
        "action": {"name": "edit"}, "resource": {"type": "doc", "id": "d1"},
        "context": {"roles": ["editor"]},
    });
    assert_eq!(reason(&post(&world, &gate, ONE, &edit).await.ok()), "no_applicable_policy");
    post(&world, &editor, ONE, &edit).await.refused(403, "role_missing");
    for (native, field) in [
        (json!({"roles": ["editor"]}), "/context/placet/roles"),
        (json!({"actor": "service:editor"}), "/context/placet/actor"),
        (json!({"on_behalf_of": []}), "/context/placet/on_behalf_of"),
        (json!({"audience": "agent:bot"}), "/context/placet/audience"),
    ] {
        let mut body = edit.clone();
        body["context"] = json!({ "placet": native });
        let problem = post(&world, &gate, ONE, &body).await.refused(400, "field_unknown");
        assert_eq!(at(&problem, "/field"), field);
    }
    // The native door lets anybody claim a label; the rule asks for the gate's role.
    let claim = json!({"surface": "doc", "action": "read", "target": "d1", "idempotency_key": "c",
                       "labels": {"subject": "user:alice"}});
    let value = world.post("/api/v1/decisions", &bot, &claim.to_string()).await.ok();
    assert_eq!(at(&value, "/outcome"), "SILENCE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_travel_in_the_context() {
    let (world, gate) = world().await;
    let value = post(&world, &gate, ONE, &ask("alice", "read", "d4")).await.ok();
    assert_eq!(reason(&value), "policy_denied");
    assert_eq!(at(&value, "/context/reason_admin/en"), "d4 is nobody's business");
    assert_eq!(at(&value, "/context/placet/outcome"), "DENY");
    assert_eq!(at(&value, "/context/placet/rules/0"), "secret");
    let value = post(&world, &gate, ONE, &ask("alice", "burn", "d1")).await.ok();
    assert_eq!(reason(&value), "no_applicable_policy");
    assert_eq!(at(&value, "/context/placet/outcome"), "SILENCE");
    let value = post(&world, &gate, ONE, &ask("alice", "print", "d1")).await.ok();
    assert_eq!(reason(&value), "throttled");
    assert_eq!(at(&value, "/context/next_action"), "retry");
    assert_eq!(value["context"]["retry_after"], 2);

    // Constraints go to a gate that says it enforces them.
    let mut export = ask("alice", "export", "d1");
    let value = post(&world, &gate, ONE, &export).await.ok();
    assert_eq!(reason(&value), "obligations_unsupported");
    assert!(value["context"]["obligations"].is_null());
    assert_eq!(value["context"]["placet"]["reported"], true);
    assert_eq!(at(&value, "/context/placet/permit/state"), "consumed");
    export["context"] = json!({"obligations_supported": ["step-up"]});
    assert_eq!(reason(&post(&world, &gate, ONE, &export).await.ok()), "obligations_unsupported");
    export["context"] = json!({"obligations_supported": ["step-up", "custom"]});
    let value = post(&world, &gate, ONE, &export).await.ok();
    assert_eq!(value["decision"], true, "{value}");
    let wanted = json!([{"type": "custom", "id": "constraints", "vendor": "placet",
                         "constraints": {"max_output_bytes": 1000, "redaction": "personal"}}]);
    assert_eq!(value["context"]["obligations"], wanted);
    assert!(value["context"]["reason"].is_null());

    // Under a kill nothing is permitted, nor found.
    let list = json!({"subject": {"type": "user", "id": "alice"},
                      "resource": {"type": "doc", "id": "d1"}});
    let found = post(&world, &gate, "/access/v1/search/action", &list).await.ok();
    assert_eq!(found["results"], json!([{"name": "read"}]), "export comes with obligations");
    let mut enforcing = list.clone();
    enforcing["context"] = json!({"obligations_supported": ["custom"]});
    let found = post(&world, &gate, "/access/v1/search/action", &enforcing).await.ok();
    assert_eq!(found["results"][0]["name"], "export");
    assert_eq!(found["results"][0]["context"]["obligations"], wanted);
    let scope = r#"{"scope":"workspace"}"#;
    assert_eq!(world.post("/api/v1/kill", &world.admin, scope).await.status, 200);
    let value = post(&world, &gate, ONE, &ask("alice", "read", "d1")).await.ok();
    assert_eq!(reason(&value), "killed_workspace");
    let found = post(&world, &gate, "/access/v1/search/action", &list).await.ok();
    assert_eq!(found["results"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_is_for_one_question() {
    let (world, gate) = world().await;
    let other_gate = world.key("service:other", &["gate"]).await;
    let alice = world.key("human:alice", &["operator"]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let mut share = ask("alice", "share", "d1");
    share["context"] = json!({"to": "press"});
    let value = post(&world, &gate, ONE, &share).await.ok();
    assert_eq!(reason(&value), "approval_required");
    assert_eq!(at(&value, "/context/reason_admin/en"), "Sharing takes a second person");
    assert_eq!(at(&value, "/context/approval/state"), "pending");
    let id = at(&value, "/context/approval/id");
    let digest = at(&value, "/context/placet/action_digest");
    let again = |subject: &str, context: Value| {
        let mut body = share.clone();
        body["subject"]["id"] = json!(subject);
        body["context"] = context;
        body["context"]["approval"] = json!({"id": id, "approved_until": "2099-01-01T00:00:00Z"});
        body
    };
    let same = again("alice", json!({"to": "press"}));
    let size = world.size();
    let waiting = post(&world, &gate, ONE, &same).await.ok();
    assert_eq!(reason(&waiting), "approval_required");
    assert_eq!(world.size(), size, "no second approval is asked for");
    // Whoever it is asked for does not decide it.
    let vote = json!({ "action_digest": digest }).to_string();
    let path = format!("/api/v1/approvals/{id}/approve");
    world.post(&path, &alice, &vote).await.refused(403, "own_approval");
    assert_eq!(world.post(&path, &olga, &vote).await.status, 200);
    // An approval is no ticket: not for another subject or context, nor for another caller.
    for other in [again("bob", json!({"to": "press"})), again("alice", json!({"to": "all"}))] {
        post(&world, &gate, ONE, &other).await.refused(409, "idempotency_conflict");
    }
    let problem = post(&world, &other_gate, ONE, &same).await.refused(400, "field_invalid");
    assert_eq!(at(&problem, "/field"), "/context/approval/id");
    let value = post(&world, &gate, ONE, &same).await.ok();
    assert_eq!(value["decision"], true, "{value}");
    assert_eq!(at(&value, "/context/approval/state"), "consumed");

    // By its idempotency key as well; and a no stays a no.
    let key = ("idempotency-key", "share-2");
    let value = with(&world, &gate, key, &share).await.ok();
    let path = format!("/api/v1/approvals/{}/reject", at(&value, "/context/approval/id"));
    assert_eq!(world.post(&path, &olga, &vote).await.status, 200);
    assert_eq!(reason(&with(&world, &gate, key, &share).await.ok()), "approval_rejected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_get_the_answer_that_was_lost() {
    let (world, gate) = world().await;
    let body = ask("alice", "read", "d1");
    let id = |value: &Value| at(value, "/context/evaluation_id").to_owned();
    for header in [("idempotency-key", "k-1"), ("x-request-id", "r-1")] {
        let first = with(&world, &gate, header, &body).await.ok();
        let size = world.size();
        let second = with(&world, &gate, header, &body).await.ok();
        assert_eq!((id(&first), world.size()), (id(&second), size));
        assert_eq!((&first["decision"], &second["decision"]), (&json!(true), &json!(true)));
    }
    let other = ask("alice", "read", "d2");
    let key = ("idempotency-key", "k-1");
    with(&world, &gate, key, &other).await.refused(409, "idempotency_conflict");
    // Request ids are handed along: another question under the same one is another question.
    let first = with(&world, &gate, ("x-request-id", "r-1"), &body).await.ok();
    let second = with(&world, &gate, ("x-request-id", "r-1"), &other).await.ok();
    assert_ne!(id(&first), id(&second));
    // And without either, each time is a new one.
    let first = post(&world, &gate, ONE, &body).await.ok();
    assert_ne!(id(&first), id(&post(&world, &gate, ONE, &body).await.ok()));
    // Another attempt under the same key is not given the permit.
    let headers = [JSON, key, ("placet-attempt-nonce", "another-attempt-0001")];
    let value = world.call("POST", ONE, &gate, &headers, &body.to_string()).await.ok();
    assert_eq!(reason(&value), "permit_consumed");
    // A batch under one key: each of it by its place.
    let batch = json!({"evaluations": [body, other]}).to_string();
    let headers = [JSON, ("idempotency-key", "b-1")];
    let first = world.call("POST", MANY, &gate, &headers, &batch).await.ok();
    let size = world.size();
    let second = world.call("POST", MANY, &gate, &headers, &batch).await.ok();
    assert_eq!(world.size(), size);
    for place in ["/evaluations/0", "/evaluations/1"] {
        let (first, second) = (first.pointer(place).unwrap(), second.pointer(place).unwrap());
        assert_eq!(id(first), id(second));
    }
}

/// The time of the system and a minute more.
struct MinuteLater(SystemClock);

impl Clock for MinuteLater {
    fn wall(&self) -> TimeMs {
        self.0.wall().plus(60_000)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.monotonic_ms()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_binds_for_a_minute() {
    let (world, gate) = world().await;
    let (read, share) = (ask("alice", "read", "d1"), ask("alice", "share", "d1"));
    let burn = ask("alice", "burn", "d1");
    let id = |value: &Value| at(value, "/context/evaluation_id").to_owned();
    let (key, request) = (("idempotency-key", "k"), ("x-request-id", "r"));
    let mut before = Vec::new();
    for (header, body) in [(key, &read), (request, &read), (request, &share), (request, &burn)] {
        before.push(id(&with(&world, &gate, header, body).await.ok()));
    }
    let later = |stores: &mut placet_runtime::Stores| {
        stores.clock = Arc::new(MinuteLater(SystemClock::default()));
    };
    let world = world.restart_over(|_| {}, later).await;
    // The gate's own key names that one question for good, and its permit is gone.
    let value = with(&world, &gate, key, &read).await.ok();
    assert_eq!((reason(&value), id(&value)), ("permit_consumed", before[0].clone()));
    // The request id names another one by now, which is permitted as the policy says.
    let value = with(&world, &gate, request, &read).await.ok();
    assert_eq!(value["decision"], true, "{value}");
    assert_ne!(id(&value), before[1]);
    // People are not asked twice.
    let value = with(&world, &gate, request, &share).await.ok();
    assert_eq!((reason(&value), id(&value)), ("approval_required", before[2].clone()));
    let value = with(&world, &gate, request, &burn).await.ok();
    assert_eq!(reason(&value), "no_applicable_policy");
    assert_ne!(id(&value), before[3], "what was silence is asked anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_evaluations_end_as_asked() {
    let (world, gate) = world().await;
    let items = ["d1", "d4", "d2", "d5"].map(|id| json!({"resource": {"type": "doc", "id": id}}));
    let body = |semantic: Option<&str>| {
        let mut body = ask("alice", "read", "ignored");
        body["evaluations"] = json!(items);
        if let Some(semantic) = semantic {
            body["options"] = json!({"evaluations_semantic": semantic, "another": "option"});
        }
        body
    };
    for (semantic, wanted) in [
        (None, vec![true, false, true, true]),
        (Some("execute_all"), vec![true, false, true, true]),
        (Some("deny_on_first_deny"), vec![true, false]),
        (Some("permit_on_first_permit"), vec![true]),
    ] {
        let size = world.size();
        let value = post(&world, &gate, MANY, &body(semantic)).await.ok();
        let list = value["evaluations"].as_array().unwrap();
        let found: Vec<_> = list.iter().map(|item| item["decision"].as_bool().unwrap()).collect();
        assert_eq!(found, wanted, "{semantic:?}");
        // What was not reached was not decided.
        assert_eq!(world.size() - size, wanted.len() as u64, "{semantic:?}");
    }
    // A failure counts as a no.
    let mut failing = body(Some("deny_on_first_deny"));
    failing["evaluations"][0] = json!("no object");
    let value = post(&world, &gate, MANY, &failing).await.ok();
    assert_eq!(value["evaluations"].as_array().unwrap().len(), 1);
    assert_eq!(reason(&value["evaluations"][0]), "error");
    failing["options"]["evaluations_semantic"] = json!("permit_on_first_permit");
    let value = post(&world, &gate, MANY, &failing).await.ok();
    assert_eq!(value["evaluations"].as_array().unwrap().len(), 3);
    for (member, value, field) in [
        ("options", json!({"evaluations_semantic": "any"}), "/options/evaluations_semantic"),
        ("options", json!({"evaluations_semantic": 1}), "/options/evaluations_semantic"),
        ("options", json!("execute_all"), "/options"),
        ("evaluations", json!({"1": {}}), "/evaluations"),
        ("evaluations", json!(vec![items[0].clone(); 101]), "/evaluations"),
        ("subject", json!("alice"), "/subject"),
        ("context", json!([]), "/context"),
    ] {
        let mut body = body(None);
        body[member] = value;
        let problem = post(&world, &gate, MANY, &body).await.refused(400, "field_invalid");
        assert_eq!(at(&problem, "/field"), field);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn search_goes_through_what_rules_list() {
    let (world, gate) = world().await;
    let editor = world.key("service:both", &["editor", "gate"]).await;
    let size = world.size();
    let path = |kind: &str| format!("/access/v1/search/{kind}");
    let mut body = ask("alice", "read", "ignored");
    body["page"] = json!({"limit": 2});
    let (mut found, mut pages) = (Vec::new(), 0);
    let first = post(&world, &gate, &path("resource"), &body).await.ok();
    loop {
        let value = post(&world, &gate, &path("resource"), &body).await.ok();
        let list = value["results"].as_array().unwrap();
        assert!(list.len() <= 2);
        found.extend(list.iter().map(|it| at(it, "/id").to_owned()));
        pages += 1;
        match at(&value, "/page/next_token") {
            "" => break,
            token => body["page"]["token"] = json!(token),
        }
    }
    assert_eq!((found.join(" "), pages), ("d1 d2 d3 d5".to_owned(), 2), "d4 is denied");
    // A token is good for its own search.
    let mut other = ask("bob", "read", "ignored");
    other["page"] = json!({"token": at(&first, "/page/next_token")});
    let problem =
        post(&world, &gate, &path("resource"), &other).await.refused(400, "field_invalid");
    assert_eq!(at(&problem, "/field"), "/page/token");
    for page in [json!({"limit": 0}), json!({"limit": -1}), json!({"limit": "2"})] {
        other["page"] = page;
        let problem =
            post(&world, &gate, &path("resource"), &other).await.refused(400, "field_invalid");
        assert_eq!(at(&problem, "/field"), "/page/limit");
    }
    // A type with a colon has subjects of its own.
    let carol = json!({"subject": {"type": "urn:x"}, "action": {"name": "read"},
                       "resource": {"type": "doc", "id": "d1"}});
    let value = post(&world, &gate, &path("subject"), &carol).await.ok();
    assert_eq!(value["results"], json!([{"type": "urn:x", "id": "carol"}]));
    // Where a rule permits whatever there is, it says which rule.
    let edit = ask("alice", "edit", "d1");
    for (kind, key) in [("subject", "labels.subject"), ("resource", "targets")] {
        let problem =
            post(&world, &editor, &path(kind), &edit).await.refused(400, "search_unbounded");
        assert!(at(&problem, "/detail").contains("anything-for-editors"), "{problem}");
        assert!(at(&problem, "/detail").contains(key), "{problem}");
    }
    // A hold is no permission.
    let share = ask("alice", "share", "d1");
    let value = post(&world, &gate, &path("resource"), &share).await.ok();
    assert_eq!(value["results"], json!([]));
    assert_eq!(world.size(), size, "nothing of this was recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_names_the_field() {
    let (world, gate) = world().await;
    let size = world.size();
    let long = "x".repeat(201);
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let rows = [
        ("/subject", json!([]), "field_invalid", "/subject"),
        ("/subject", Value::Null, "field_invalid", "/subject"),
        ("/subject/type", json!(""), "field_invalid", "/subject/type"),
        ("/subject/type", json!(7), "field_invalid", "/subject/type"),
        ("/subject/id", json!(long), "field_invalid", "/subject/id"),
        ("/subject/id", json!("x".repeat(198)), "field_invalid", "/subject/id"),
        ("/subject/id", Value::Null, "field_invalid", "/subject/id"),
        ("/subject/properties", json!("x"), "field_invalid", "/subject/properties"),
        ("/action", json!("read"), "field_invalid", "/action"),
        ("/action/name", json!("read it"), "field_invalid", "/action/name"),
        ("/action/name", json!("tools/call"), "field_invalid", "/action/name"),
        ("/action/properties", json!([]), "field_invalid", "/action/properties"),
        ("/resource/type", json!("urn:x:doc"), "field_invalid", "/resource/type"),
        ("/resource/id", json!(""), "field_invalid", "/resource/id"),
        ("/resource/id", json!("x".repeat(2049)), "field_invalid", "/resource/id"),
        ("/context", json!("x"), "field_invalid", "/context"),
        ("/context/subject", json!("x"), "field_invalid", "/context/subject"),
        ("/context/resource", json!({}), "field_invalid", "/context/resource"),
        ("/context/placet", json!(1), "field_invalid", "/context/placet"),
        ("/context/placet/topic", json!(1), "field_invalid", "/context/placet/topic"),
        ("/context/placet/surface", json!("a"), "field_unknown", "/context/placet/surface"),
        (
            "/context/placet/labels",
            json!({"subject": "user:bob"}),
            "field_invalid",
            "/context/placet/labels/subject",
        ),
        ("/context/approval", json!("apr"), "field_invalid", "/context/approval"),
        ("/context/approval", json!({}), "field_missing", "/context/approval/id"),
        ("/context/approval/id", json!("apr_1"), "field_invalid", "/context/approval/id"),
    ];
    for (pointer, value, code, field) in rows {
        let mut body = ask("alice", "read", "d1");
        body["context"] = json!({"placet": {}, "approval": {}});
        if !pointer.starts_with("/context/approval") {
            body["context"].as_object_mut().unwrap().remove("approval");
        }
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[member] = value;
        let problem = post(&world, &gate, ONE, &body).await.refused(400, code);
        assert_eq!(at(&problem, "/field"), field, "{body}");
        let item = json!({ "evaluations": [body] });
        let value = post(&world, &gate, MANY, &item).await.ok();
        assert_eq!(at(&value, "/evaluations/0/context/error/code"), code, "{item}");
        assert_eq!(at(&value, "/evaluations/0/context/error/field"), field, "{item}");
    }
    let good = ask("alice", "read", "d1").to_string();
    let twice = good.replacen("{\"action\"", "{\"action\":{\"name\":\"burn\"},\"action\"", 1);
    let nested = good.replacen('{', &format!("{{\"context\":{{\"a\":{deep}}},"), 1);
    for body in [twice, nested, good.replace("d1", "\\ud800"), "[]".into(), "1".into()] {
        let answer = world.call("POST", ONE, &gate, &[JSON], &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    for (name, value) in
        [("idempotency-key", "x".repeat(181)), ("placet-attempt-nonce", "short".to_owned())]
    {
        let headers = [JSON, (name, value.as_str())];
        world.call("POST", ONE, &gate, &headers, &good).await.refused(400, "field_invalid");
    }
    let large = good.replacen('{', &format!("{{\"pad\":\"{}\",", "x".repeat(1 << 20)), 1);
    world.call("POST", ONE, &gate, &[JSON], &large).await.refused(413, "body_too_large");
    assert_eq!(world.size(), size, "nothing of this was decided");
    // Ids that no actor could have are asked for all the same.
    for id in ["auth0|4711", "ä b", "x+y@example.com", &"a".repeat(190)] {
        assert_eq!(
            reason(&post(&world, &gate, ONE, &ask(id, "read", "d1")).await.ok()),
            "no_applicable_policy"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_development_the_caller_without_a_key_is_a_gate() {
    let world = World::with(Some(POLICY), true, ServerOptions::default()).await;
    let value = post(&world, "", ONE, &ask("alice", "read", "d1")).await.ok();
    assert_eq!(value["decision"], true, "{value}");
}
