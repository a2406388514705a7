//! The working group's certification scenario for AuthZEN 1.0, section by section: the fixture is
//! `authzen/scenario.yaml`, a row is a request and what is expected of its answer.

use crate::world::{Answer, World};
use placet_server::ServerOptions;
use serde_json::{Value, json};

const FIXTURE: &str = include_str!("authzen/scenario.yaml");
const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";
const SUBJECTS: &str = "/access/v1/search/subject";
const RESOURCES: &str = "/access/v1/search/resource";
const ACTIONS: &str = "/access/v1/search/action";
const PDP: &str = "https://pdp.example.com";
const JSON: (&str, &str) = ("content-type", "application/json");

/// What is expected of an answer with status 200, or that the status is 400.
enum Expected {
    Decision(bool),
    Decisions(&'static [bool]),
    /// So many decisions, whatever they are.
    Shape(usize),
    /// At least these results.
    Results(&'static [&'static str]),
    NoResults,
    BadRequest,
}

use Expected::{BadRequest, Decision, Decisions, NoResults, Results, Shape};

async fn world() -> (World, String) {
    let options = ServerOptions { public_url: Some(PDP.into()), ..ServerOptions::default() };
    let world = World::with(Some(FIXTURE), false, options).await;
    let gate = world.key("service:records", &["gate"]).await;
    (world, gate)
}

async fn post(world: &World, key: &str, path: &str, body: &Value) -> Answer {
    world.call("POST", path, key, &[JSON], &body.to_string()).await
}

fn user(id: &str) -> Value {
    json!({"type": "user", "id": id})
}

fn record(id: &str) -> Value {
    json!({"type": "record", "id": id})
}

fn archived(id: &str) -> Value {
    json!({"type": "record", "id": id, "properties": {"status": "archived"}})
}

fn active(id: &str) -> Value {
    json!({"type": "record", "id": id, "properties": {"status": "active"}})
}

fn admin() -> Value {
    json!({"type": "user", "id": "bob", "properties": {"role": "admin"}})
}

fn action(name: &str) -> Value {
    json!({"name": name})
}

fn delete(soft: bool) -> Value {
    json!({"name": "delete", "properties": {"soft": soft}})
}

fn ask(subject: Value, action: Value, resource: Value) -> Value {
    json!({"subject": subject, "action": action, "resource": resource})
}

fn decision(value: &Value) -> bool {
    assert!(value["context"].is_null() || value["context"].is_object(), "{value}");
    value["decision"].as_bool().unwrap_or_else(|| panic!("{value}"))
}

/// The results as text, each of the type that was asked for.
fn results(answer: &Value, path: &str, body: &Value) -> Vec<String> {
    let list = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let kind = match path {
        SUBJECTS => &body["subject"]["type"],
        _ => &body["resource"]["type"],
    };
    list.iter()
        .map(|found| {
            let name = if path == ACTIONS {
                &found["name"]
            } else {
                assert_eq!(&found["type"], kind, "{found}");
                &found["id"]
            };
            name.as_str().unwrap_or_else(|| panic!("{found}")).to_owned()
        })
        .collect()
}

async fn check(world: &World, key: &str, rows: Vec<(&str, &str, Value, Expected)>) {
    for (section, path, body, expected) in rows {
        let answer = post(world, key, path, &body).await;
        if matches!(expected, BadRequest) {
            assert_eq!(answer.status, 400, "{section}: {answer:?}");
            continue;
        }
        assert!(answer.headers.contains("content-type: application/json"), "{section}");
        let value = answer.ok();
        match expected {
            Decision(wanted) => assert_eq!(decision(&value), wanted, "{section}: {value}"),
            Decisions(wanted) => {
                let list = value["evaluations"].as_array().unwrap();
                let found: Vec<bool> = list.iter().map(decision).collect();
                assert_eq!(found, wanted, "{section}: {value}");
                assert!(value["decision"].is_null(), "{section}");
            }
            Shape(wanted) => {
                let list = value["evaluations"].as_array().unwrap();
                let found: Vec<bool> = list.iter().map(decision).collect();
                assert_eq!(found.len(), wanted, "{section}: {value}");
            }
            Results(wanted) => {
                let found = results(&value, path, &body);
                for name in wanted {
                    assert!(found.iter().any(|it| it == name), "{section}: {value}");
                }
            }
            NoResults => assert_eq!(value["results"], json!([]), "{section}"),
            BadRequest => unreachable!("checked above"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn basic() {
    let (world, gate) = world().await;
    let alice_reads = || ask(user("alice"), action("read"), record("record-1"));
    let mut with_context = alice_reads();
    with_context["context"] = json!({"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"});
    let more = json!({
        "subject": {"type": "user", "id": "alice",
                    "properties": {"department": "Sales", "role": "manager"}},
        "action": {"name": "read", "properties": {"method": "GET"}},
        "resource": {"type": "record", "id": "record-1",
                     "properties": {"status": "active", "owner": "bob"}},
    });
    let mut unknown = alice_reads();
    unknown["foo"] = json!("bar");
    unknown["futureField"] = json!({"nested": true});
    unknown["subject"]["alias"] = json!("al");
    let without = |member: &str| {
        let mut body = alice_reads();
        body.as_object_mut().unwrap().remove(member);
        body
    };
    let write = || action("write");
    let rows = vec![
        ("2.2.1 permit", EVALUATION, alice_reads(), Decision(true)),
        ("2.2.2 deny", EVALUATION, ask(user("bob"), write(), record("record-1")), Decision(false)),
        ("2.2.3 context", EVALUATION, with_context, Decision(true)),
        (
            "2.2.4 resource properties",
            EVALUATION,
            ask(user("alice"), write(), archived("record-2")),
            Decision(false),
        ),
        (
            "2.2.5 subject properties",
            EVALUATION,
            ask(admin(), write(), archived("record-2")),
            Decision(true),
        ),
        (
            "2.2.6 action properties",
            EVALUATION,
            ask(user("alice"), delete(true), record("record-1")),
            Decision(true),
        ),
        (
            "2.2.7 action properties",
            EVALUATION,
            ask(user("alice"), delete(false), record("record-1")),
            Decision(false),
        ),
        ("2.2.8 further properties", EVALUATION, more, Decision(true)),
        ("2.2.9 unknown fields", EVALUATION, unknown, Decision(true)),
        // The other rules of the fixture, 2 and 3.
        ("1.4 rule 2", EVALUATION, ask(user("alice"), write(), record("record-1")), Decision(true)),
        (
            "1.4 rule 3",
            EVALUATION,
            ask(user("bob"), action("read"), record("record-1")),
            Decision(true),
        ),
        // Rule 5 is about the property, not about the identifier.
        (
            "1.4 rule 5",
            EVALUATION,
            ask(user("alice"), write(), archived("record-1")),
            Decision(false),
        ),
        ("1.4 rule 6", EVALUATION, ask(admin(), write(), archived("record-1")), Decision(true)),
        ("2.4.1 no subject", EVALUATION, without("subject"), BadRequest),
        ("2.4.1 no action", EVALUATION, without("action"), BadRequest),
        ("2.4.1 no resource", EVALUATION, without("resource"), BadRequest),
        (
            "2.4.2 subject without type",
            EVALUATION,
            ask(json!({"id": "alice"}), action("read"), record("record-1")),
            BadRequest,
        ),
        (
            "2.4.2 subject without id",
            EVALUATION,
            ask(json!({"type": "user"}), action("read"), record("record-1")),
            BadRequest,
        ),
        (
            "2.4.2 action without name",
            EVALUATION,
            ask(user("alice"), json!({}), record("record-1")),
            BadRequest,
        ),
        (
            "2.4.2 resource without type",
            EVALUATION,
            ask(user("alice"), action("read"), json!({"id": "record-1"})),
            BadRequest,
        ),
        (
            "2.4.2 resource without id",
            EVALUATION,
            ask(user("alice"), action("read"), json!({"type": "record"})),
            BadRequest,
        ),
        (
            "2.4.6 subject is a string",
            EVALUATION,
            ask(json!("alice"), action("read"), record("record-1")),
            BadRequest,
        ),
        (
            "2.4.6 name is a number",
            EVALUATION,
            ask(user("alice"), json!({"name": 123}), record("record-1")),
            BadRequest,
        ),
    ];
    check(&world, &gate, rows).await;

    let good = alice_reads().to_string();
    for (section, kind, body) in [
        ("2.4.3 content type", "text/plain", good.as_str()),
        ("2.4.3 content type", "application/x-www-form-urlencoded", &good),
        ("2.4.4 malformed", "application/json", "{\"subject\":"),
        ("2.4.5 empty", "application/json", ""),
    ] {
        for path in [EVALUATION, EVALUATIONS, SUBJECTS, RESOURCES, ACTIONS] {
            let headers = [("content-type", kind), ("x-request-id", "bad-1")];
            let answer = world.call("POST", path, &gate, &headers, body).await;
            assert_eq!(answer.status, 400, "{section} {path}: {answer:?}");
            assert!(answer.headers.contains("x-request-id: bad-1"), "{section} {path}");
        }
    }

    // 2.5.1, 2.5.2: the request id comes back, and none is needed; 2.6: the same every time.
    for _ in 0..5 {
        for (id, headers) in [
            (true, vec![JSON, ("x-request-id", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716")]),
            (false, vec![JSON]),
        ] {
            let answer = world.call("POST", EVALUATION, &gate, &headers, &good).await;
            assert!(decision(&answer.ok()));
            let echoed =
                answer.headers.contains("x-request-id: bfe9eb29-ab87-4ca3-be83-a1d5d8305716");
            assert_eq!(echoed, id, "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch() {
    let (world, gate) = world().await;
    let (alice, bob) = (user("alice"), user("bob"));
    let both = json!([{"resource": record("record-1")}, {"resource": record("record-2")}]);
    let rows = vec![
        (
            "3.2.1 array",
            EVALUATIONS,
            json!({"subject": alice, "action": action("read"), "evaluations": both}),
            Shape(2),
        ),
        (
            "3.2.2 decisions in order",
            EVALUATIONS,
            json!({"subject": bob, "resource": record("record-1"),
                   "evaluations": [{"action": action("read")}, {"action": action("write")}]}),
            Decisions(&[true, false]),
        ),
        (
            "3.2.3 properties",
            EVALUATIONS,
            json!({"subject": alice, "action": action("write"), "evaluations": [
                {"resource": active("record-1")}, {"resource": archived("record-2")}]}),
            Decisions(&[true, false]),
        ),
        (
            "3.2.4 subject properties",
            EVALUATIONS,
            json!({"action": action("write"), "resource": archived("record-2"),
                   "evaluations": [{"subject": alice}, {"subject": admin()}]}),
            Decisions(&[false, true]),
        ),
        (
            "3.2.5 no defaults",
            EVALUATIONS,
            json!({"evaluations": [
                ask(user("alice"), action("read"), record("record-1")),
                ask(user("bob"), action("write"), record("record-1"))]}),
            Decisions(&[true, false]),
        ),
        (
            "3.2.6 context",
            EVALUATIONS,
            json!({"subject": alice, "action": action("read"),
            "context": {"time": "2025-06-27T18:03-07:00"},
            "evaluations": [
                {"resource": record("record-1")},
                {"resource": record("record-2"),
                 "context": {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}},
            ]}),
            Shape(2),
        ),
        (
            "3.2.7 defaults of an entity",
            EVALUATIONS,
            json!({"subject": alice, "action": action("write"), "resource": {"type": "record"},
            "evaluations": [
                {"resource": {"id": "record-1", "properties": {"status": "active"}}},
                {"resource": archived("record-2")},
            ]}),
            Decisions(&[true, false]),
        ),
        (
            "3.4.1 one of them fails",
            EVALUATIONS,
            json!({"subject": alice, "action": action("read"),
                   "evaluations": [{"resource": record("record-1")}, {}]}),
            Decisions(&[true, false]),
        ),
        (
            "3.4.2 no array",
            EVALUATIONS,
            ask(user("alice"), action("read"), record("record-1")),
            Decision(true),
        ),
        (
            "3.4.3 empty array",
            EVALUATIONS,
            json!({"subject": alice, "action": action("read"), "resource": record("record-1"),
                   "evaluations": []}),
            Decision(true),
        ),
    ];
    check(&world, &gate, rows).await;
    // 3.4.1: what failed says so.
    let body = json!({"subject": alice, "action": action("read"), "evaluations": [{}]});
    let value = post(&world, &gate, EVALUATIONS, &body).await.ok();
    let error = &value["evaluations"][0]["context"]["error"];
    assert_eq!((&error["status"], &error["code"]), (&json!(400), &json!("field_missing")));
    assert_eq!(error["field"], "/resource");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn search() {
    let (world, gate) = world().await;
    let (alice, users) = (user("alice"), json!({"type": "user"}));
    let (read, write, records) = (action("read"), action("write"), json!({"type": "record"}));
    let readers = || ask(users.clone(), read.clone(), record("record-1"));
    let with = |mut body: Value, member: &str, value: Value| {
        body[member] = value;
        body
    };
    let time = json!({"time": "2024-10-26T01:22-07:00"});
    let actions_of =
        |subject: Value, resource: Value| json!({"subject": subject, "resource": resource});
    let rows = vec![
        ("4.2.1 subjects", SUBJECTS, readers(), Results(&["alice", "bob"])),
        (
            "4.2.2 context",
            SUBJECTS,
            with(readers(), "context", time.clone()),
            Results(&["alice", "bob"]),
        ),
        (
            "4.2.4 resource properties",
            SUBJECTS,
            ask(users.clone(), write.clone(), archived("record-2")),
            Results(&["bob"]),
        ),
        (
            "4.3.1 resources",
            RESOURCES,
            ask(alice.clone(), read.clone(), records.clone()),
            Results(&["record-1"]),
        ),
        (
            "4.3.3 subject properties",
            RESOURCES,
            ask(admin(), write.clone(), records.clone()),
            Results(&["record-2"]),
        ),
        (
            "4.4.1 actions",
            ACTIONS,
            actions_of(alice.clone(), record("record-1")),
            Results(&["read", "write"]),
        ),
        (
            "4.4.2 context",
            ACTIONS,
            with(actions_of(alice.clone(), record("record-1")), "context", time),
            Results(&["read", "write"]),
        ),
        (
            "4.4.3 properties",
            ACTIONS,
            actions_of(admin(), archived("record-2")),
            Results(&["write"]),
        ),
        (
            "4.6.1 unknown identifier",
            ACTIONS,
            actions_of(user("nonexistent-user"), record("record-1")),
            NoResults,
        ),
        (
            "4.6.2 unknown type",
            SUBJECTS,
            ask(json!({"type": "spaceship"}), read.clone(), record("record-1")),
            NoResults,
        ),
        (
            "4.6.2 unknown type",
            RESOURCES,
            ask(alice.clone(), read.clone(), json!({"type": "spaceship"})),
            NoResults,
        ),
        ("4.7.1 no action", SUBJECTS, actions_of(users.clone(), record("record-1")), BadRequest),
        ("4.7.1 no subject", RESOURCES, json!({"action": read, "resource": records}), BadRequest),
        ("4.7.1 no resource", ACTIONS, json!({"subject": alice}), BadRequest),
        (
            "4.7.2 resource without id",
            SUBJECTS,
            ask(users.clone(), read.clone(), records.clone()),
            BadRequest,
        ),
        (
            "4.7.2 subject without id",
            RESOURCES,
            ask(users.clone(), read.clone(), records),
            BadRequest,
        ),
    ];
    check(&world, &gate, rows).await;

    // 4.5.1, 4.5.2, 4.5.3: page by page until the token is empty.
    let mut found = Vec::new();
    let mut body = with(readers(), "page", json!({"limit": 1}));
    loop {
        let value = post(&world, &gate, SUBJECTS, &body).await.ok();
        found.extend(results(&value, SUBJECTS, &body));
        assert_eq!(value["page"]["count"], value["results"].as_array().unwrap().len());
        match value["page"]["next_token"].as_str().unwrap() {
            "" => break,
            token => body["page"] = json!({"token": token, "limit": 1}),
        }
    }
    assert_eq!(found, ["alice", "bob"]);

    // What is found is permitted when it is asked for.
    for (path, body, member, name) in [
        (SUBJECTS, readers(), "subject", "id"),
        (SUBJECTS, ask(users, write, archived("record-2")), "subject", "id"),
        (RESOURCES, ask(admin(), action("write"), json!({"type": "record"})), "resource", "id"),
        (
            ACTIONS,
            with(actions_of(admin(), archived("record-2")), "action", json!({})),
            "action",
            "name",
        ),
    ] {
        let value = post(&world, &gate, path, &body).await.ok();
        for id in results(&value, path, &body) {
            let mut body = body.clone();
            body[member][name] = json!(id);
            let value = post(&world, &gate, EVALUATION, &body).await.ok();
            assert!(decision(&value), "{body}: {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery() {
    let (world, _) = world().await;
    let answer = world.get("/.well-known/authzen-configuration", "").await;
    assert!(answer.headers.contains("content-type: application/json"));
    let value = answer.ok();
    assert_eq!(value["policy_decision_point"], PDP);
    for (member, path) in [
        ("access_evaluation_endpoint", EVALUATION),
        ("access_evaluations_endpoint", EVALUATIONS),
        ("search_subject_endpoint", SUBJECTS),
        ("search_resource_endpoint", RESOURCES),
        ("search_action_endpoint", ACTIONS),
    ] {
        assert_eq!(value[member], format!("{PDP}{path}"));
    }
    assert_eq!(value["obligations_supported"], json!(["custom"]));
    // Without a configured URL it is the one that was asked.
    let plain = World::with(Some(FIXTURE), true, ServerOptions::default()).await;
    let value = plain.get("/.well-known/authzen-configuration", "").await.ok();
    assert_eq!(value["policy_decision_point"], "http://x");
    let headers = [("host", "a b\"c")];
    let answer = plain.call("GET", "/.well-known/authzen-configuration", "", &headers, "").await;
    assert_eq!(answer.status, 400, "{answer:?}");
}
