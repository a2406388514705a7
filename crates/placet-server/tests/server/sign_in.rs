//! Signing in over HTTP: tokens open sessions, sessions are handed on, narrowed and closed, and all of it
//! stands in the log and outlives a restart.

use crate::issuer::{Issuer, Mode, seconds};
use crate::world::{BIG, BUNDLE, World, at, request};
use placet_server::ServerOptions;
use serde_json::{Value, json};

const GRANTS: &str = r#"
      - { claim: groups, value: ops, roles: [operator] }
      - { claim: groups, value: all, roles: [] }
      - { claim: groups, value: boss, roles: [admin, operator] }"#;

fn identity(issuer: &Issuer, more: &str, grants: &str) -> String {
    format!(
        "{BUNDLE}identity:\n  - id: corp\n    issuer: {}\n    audience: placet\n    environment: production\n{more}    grants:{grants}\n",
        issuer.url
    )
}

async fn world(issuer: &Issuer) -> World {
    World::with(Some(&identity(issuer, "", GRANTS)), false, ServerOptions::default()).await
}

fn ops() -> Value {
    json!({"groups": ["ops"]})
}

/// Events of a type, oldest first.
async fn events(world: &World, kind: &str) -> Vec<Value> {
    let path =
        format!("/api/v1/audit?type={kind}&order=asc&limit=100&min_index={}", world.size() - 1);
    let found = world.get(&path, &world.admin).await.ok();
    found["entries"].as_array().unwrap().clone()
}

async fn vote(world: &World, held: &Value, key: &str) -> crate::world::Answer {
    let path = format!("/api/v1/approvals/{}/approve", at(held, "/approval/id"));
    let echo = format!(r#"{{"action_digest":"{}"}}"#, at(held, "/action_digest"));
    world.post(&path, key, &echo).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_one_session_before_its_first_use() {
    let issuer = Issuer::start();
    let world = world(&issuer).await;
    let token = issuer.token("ann", &ops());
    let size = world.size();
    let decided = world.decide(&token, "a", "").await;
    assert_eq!(at(&decided, "/outcome"), "PERMIT");
    assert_eq!(decided["log"]["index"].as_u64().unwrap(), size + 1, "the session comes first");
    let who = world.get("/api/v1/sessions/current", &token).await.ok();
    assert_eq!(
        (at(&who, "/actor"), at(&who, "/kind"), at(&who, "/issuer")),
        ("human:ann", "session", "corp")
    );
    assert_eq!((&who["roles"], at(&who, "/environment")), (&json!(["operator"]), "production"));
    // Many calls at once with a token that is new open one session.
    let bob = issuer.token("bob", &ops());
    let asking = (0..20).map(|n| {
        let (bob, n) = (bob.clone(), n.to_string());
        let world = &world;
        async move { world.decide(&bob, &n, "").await }
    });
    let mut asked = Vec::new();
    for call in asking {
        asked.push(call);
    }
    for decided in join_all(asked).await {
        assert_eq!(at(&decided, "/outcome"), "PERMIT");
    }
    let opened = events(&world, "session.opened").await;
    assert_eq!(opened.len(), 2, "{opened:?}");
    assert_eq!(at(&opened[0], "/entry/predicate/data/issuer"), "corp");
    let text = opened[0].to_string();
    assert!(!text.contains("human:ann") && !text.contains(&token), "{text}");
}

/// All of them at once, on this task.
async fn join_all<F: std::future::Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in &mut futures {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *done = Some(value);
            }
        }
        if futures.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_good_opens_nothing_and_writes_nothing() {
    let issuer = Issuer::start();
    let world = world(&issuer).await;
    let size = world.size();
    let now = seconds();
    let rows = [
        (issuer.token("ann", &json!({"aud": "other"})), 401, "issuer_unknown"),
        (issuer.token("ann", &json!({"iss": "https://else.example.com"})), 401, "issuer_unknown"),
        (issuer.token("ann", &json!({"exp": now - 100, "iat": now - 200})), 401, "token_expired"),
        (issuer.token("ann", &json!({"nbf": now + 100})), 401, "token_invalid"),
        (issuer.token("ann", &json!({})), 403, "token_unmapped"),
        (issuer.token("ann", &json!({"groups": ["opsy"]})), 403, "token_unmapped"),
        ("a.b.c".to_owned(), 401, "token_invalid"),
    ];
    for (token, status, code) in rows {
        let answer = world.post("/api/v1/decisions", &token, &request("a", "")).await;
        answer.refused(status, code);
        world.post("/api/v1/sessions", &token, "").await.refused(status, code);
        if status == 401 {
            assert!(answer.headers.contains("www-authenticate: bearer"), "{answer:?}");
        }
    }
    // An operation that needs no key looks at none.
    world.get("/healthz", "a.b.c").await.ok();
    assert_eq!(world.size(), size);
    issuer.set(Mode::Down);
    let down =
        World::with(Some(&identity(&Issuer::start(), "", GRANTS)), false, ServerOptions::default())
            .await;
    drop(down);
    let other = Issuer::start();
    let fresh = self::world(&other).await;
    other.set(Mode::Down);
    let token = other.token("ann", &ops());
    let answer = fresh.get("/api/v1/sessions/current", &token).await;
    answer.refused(503, "issuer_unavailable");
    assert!(answer.headers.contains("retry-after"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_exchanged_once_for_a_key_that_outlives_it() {
    let issuer = Issuer::start();
    let bundle = identity(&issuer, "    session: 2h\n", GRANTS);
    let world = World::with(Some(&bundle), false, ServerOptions::default()).await;
    let token = issuer.token("ann", &ops());
    let made = world.post("/api/v1/sessions", &token, "").await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    let key = at(&made, "/key").to_owned();
    let who = world.get("/api/v1/sessions/current", &key).await.ok();
    assert_eq!(who["id"], made["id"]);
    let expires = placet_server::instant_of(at(&who, "/expires"), world.plane.now()).unwrap();
    let left = expires.since(world.plane.now());
    assert!((7_000_000..=7_200_000).contains(&left), "{left}");
    world.post("/api/v1/sessions", &token, "").await.refused(409, "token_used");
    // Shown as it is, it is the same session.
    assert_eq!(world.get("/api/v1/sessions/current", &token).await.ok()["id"], made["id"]);
    // A key is not exchanged, and a secret is no token.
    world.post("/api/v1/sessions", &key, "").await.refused(400, "field_missing");
    world.post("/api/v1/sessions", &world.admin, "{}").await.refused(400, "field_missing");
    world.post("/api/v1/sessions", "", "").await.refused(400, "field_missing");
    world
        .post("/api/v1/sessions", &token, r#"{"roles":["admin"]}"#)
        .await
        .refused(400, "field_missing");
    let wrong = format!("{}.{}", at(&made, "/id"), "0".repeat(64));
    world.get("/api/v1/sessions/current", &wrong).await.refused(401, "key_unknown");
    // Used as it is first, it is exchanged no more.
    let second = issuer.token("bob", &ops());
    world.get("/api/v1/sessions/current", &second).await.ok();
    world.post("/api/v1/sessions", &second, "").await.refused(409, "token_used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_logging_out_neither_token_nor_key_opens_anything() {
    let issuer = Issuer::start();
    let world = world(&issuer).await;
    let token = issuer.token("ann", &ops());
    let made = world.post("/api/v1/sessions", &token, "").await.json();
    let (key, id) = (at(&made, "/key").to_owned(), at(&made, "/id").to_owned());
    let bob = issuer.token("bob", &ops());
    world.get("/api/v1/sessions/current", &bob).await.ok();
    let path = format!("/api/v1/sessions/{id}");
    world.call("DELETE", &path, &bob, &[], "").await.refused(404, "not_found");
    let carl = issuer.token("carl", &json!({"groups": ["all"]}));
    world.get(&path, &carl).await.refused(404, "not_found");
    assert_eq!(world.get(&path, &key).await.ok()["id"], made["id"]);
    assert_eq!(world.get(&path, &world.admin).await.ok()["id"], made["id"], "overseers see all");
    let gone = world.call("DELETE", "/api/v1/sessions/current", &key, &[], "").await;
    assert_eq!(gone.status, 204, "{gone:?}");
    for credential in [&key, &token] {
        world.get("/api/v1/sessions/current", credential).await.refused(401, "session_closed");
        world
            .post("/api/v1/decisions", credential, &request("x", ""))
            .await
            .refused(401, "session_closed");
    }
    world.post("/api/v1/sessions", &token, "").await.refused(401, "session_closed");
    // An admin closes anybody's; a second time changes nothing.
    let bobs = world.get("/api/v1/sessions/current", &bob).await.ok();
    let path = format!("/api/v1/sessions/{}", at(&bobs, "/id"));
    for _ in 0..2 {
        assert_eq!(world.call("DELETE", &path, &world.admin, &[], "").await.status, 204);
    }
    world.get("/api/v1/sessions/current", &bob).await.refused(401, "session_closed");
    let closed = events(&world, "session.closed").await;
    let reasons: Vec<&str> =
        closed.iter().map(|it| at(it, "/entry/predicate/data/reason")).collect();
    assert_eq!(reasons, ["logout", "revoked"]);
    // Nor after a restart, in which nobody asks the issuer.
    issuer.set(Mode::Down);
    let world = world.restart().await;
    for credential in [&key, &token, &bob] {
        world.get("/api/v1/sessions/current", credential).await.refused(401, "session_closed");
    }
    world.post("/api/v1/sessions", &bob, "").await.refused(401, "session_closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_what_came_from_them_outlive_a_restart() {
    let issuer = Issuer::start();
    let world = world(&issuer).await;
    let token = issuer.token("ann", &ops());
    let child = world
        .post(
            "/api/v1/sessions",
            &token,
            r#"{"actor":"agent:x","roles":["operator"],"expires":"5m"}"#,
        )
        .await;
    assert_eq!(child.status, 201, "{child:?}");
    let child = at(&child.json(), "/key").to_owned();
    // Entries enough for a snapshot, and some after it.
    for n in 0..7 {
        world.decide(&child, &format!("k{n}"), "").await;
    }
    issuer.set(Mode::Down);
    let world = world.restart().await;
    let who = world.get("/api/v1/sessions/current", &token).await.ok();
    assert_eq!(at(&who, "/actor"), "human:ann");
    let who = world.get("/api/v1/sessions/current", &child).await.ok();
    assert_eq!((at(&who, "/actor"), &who["on_behalf_of"]), ("agent:x", &json!(["human:ann"])));
    assert_eq!(who["roles"], json!(["operator"]));
    assert_eq!(world.call("DELETE", "/api/v1/sessions/current", &token, &[], "").await.status, 204);
    world.get("/api/v1/sessions/current", &child).await.refused(401, "session_closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_only_shrink_and_nobody_in_the_chain_approves() {
    let issuer = Issuer::start();
    let world = world(&issuer).await;
    let ann = issuer.token("ann", &ops());
    let hand = |body: &str| body.to_owned();
    let refused = [
        (r#"{"actor":"agent:x","roles":["admin"]}"#, 403, "roles_exceeded"),
        (r#"{"actor":"human:x","roles":[]}"#, 400, "person_handed_on"),
        (r#"{"actor":"agent:x","roles":[],"expires":"2h"}"#, 400, "outlives_parent"),
        (r#"{"actor":"agent:x","roles":[],"expires":"60d"}"#, 400, "field_invalid"),
        (
            r#"{"actor":"agent:x","roles":[],"expires":"2020-01-01T00:00:00Z"}"#,
            400,
            "field_invalid",
        ),
        (r#"{"actor":"x","roles":[]}"#, 400, "field_invalid"),
        (r#"{"actor":"agent:x","role":[]}"#, 400, "field_unknown"),
    ];
    for (body, status, code) in refused {
        world.post("/api/v1/sessions", &ann, &hand(body)).await.refused(status, code);
    }
    let body = r#"{"actor":"agent:x","roles":["operator"]}"#;
    let first = world.post("/api/v1/sessions", &ann, body).await.json();
    let first = at(&first, "/key").to_owned();
    // Rules hold agents that let services pass; and rights hang on names: nobody takes another's.
    let service = r#"{"actor":"service:y"}"#;
    world.post("/api/v1/sessions", &first, service).await.refused(400, "kind_raised");
    world.key("agent:deployer", &[]).await;
    let taken = r#"{"actor":"agent:deployer"}"#;
    world.post("/api/v1/sessions", &ann, taken).await.refused(409, "actor_taken");
    let other = issuer.token("carl", &ops());
    let taken = r#"{"actor":"agent:x"}"#;
    world.post("/api/v1/sessions", &other, taken).await.refused(409, "actor_taken");
    let second = world.post("/api/v1/sessions", &first, r#"{"actor":"agent:y"}"#).await.json();
    let second = at(&second, "/key").to_owned();
    // What the client leaves out or asserts does not shorten what is verified.
    let held = world.decide(&second, "h", BIG).await;
    let named =
        world.decide(&second, "n", &format!(r#"{BIG},"on_behalf_of":["human:carl"]"#)).await;
    assert_ne!(held["action_digest"], named["action_digest"]);
    vote(&world, &held, &ann).await.refused(403, "own_approval");
    let carl = issuer.token("carl", &ops());
    vote(&world, &named, &carl).await.refused(403, "own_approval");
    vote(&world, &held, &first).await.refused(403, "not_human");
    let bob = issuer.token("bob", &ops());
    vote(&world, &held, &bob).await.ok();
    // To the actors themselves it is a chain of eight at most.
    let mut key = second.clone();
    for depth in 3..=9 {
        let body = format!(r#"{{"actor":"agent:a{depth}"}}"#);
        let made = world.post("/api/v1/sessions", &key, &body).await;
        if depth == 9 {
            made.refused(400, "chain_too_deep");
        } else {
            key = at(&made.json(), "/key").to_owned();
        }
    }
    // Taken back in the middle, all that came from it ends.
    let middle = world.get("/api/v1/sessions/current", &first).await.ok();
    let path = format!("/api/v1/sessions/{}", at(&middle, "/id"));
    assert_eq!(world.call("DELETE", &path, &ann, &[], "").await.status, 204);
    world.get("/api/v1/sessions/current", &key).await.refused(401, "session_closed");
    let closed = events(&world, "session.closed").await;
    assert_eq!(at(&closed[0], "/entry/predicate/data/reason"), "taken_back");

    // Whoever gets a key of its own has the name from there on; the same action of the same actor for
    // nobody is another action.
    let again = world.post("/api/v1/sessions", &ann, r#"{"actor":"agent:y"}"#).await.json();
    let again = at(&again, "/key").to_owned();
    let alone = world.key("agent:y", &[]).await;
    world.get("/api/v1/sessions/current", &again).await.refused(401, "session_closed");
    let other = world.decide(&alone, "o", BIG).await;
    assert_ne!(held["action_digest"], other["action_digest"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_says_on_whose_behalf_and_the_client_cannot_drop_it() {
    let issuer = Issuer::start();
    let world = world(&issuer).await;
    let act = json!({"groups": ["ops"], "act": {"sub": "helper", "act": {"sub": "planner"}}});
    let token = issuer.token("ann", &act);
    let who = world.get("/api/v1/sessions/current", &token).await.ok();
    assert_eq!(at(&who, "/actor"), "agent:helper");
    assert_eq!(who["on_behalf_of"], json!(["human:ann", "agent:planner"]));
    let held = world.decide(&token, "h", BIG).await;
    let ann = issuer.token("ann", &ops());
    vote(&world, &held, &ann).await.refused(403, "own_approval");
    let bob = issuer.token("bob", &ops());
    vote(&world, &held, &bob).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_takes_roles_from_open_sessions_and_their_votes() {
    let issuer = Issuer::start();
    let world = world(&issuer).await;
    let bot = world.key("agent:bot", &[]).await;
    let token = issuer.token("uma", &json!({"groups": ["ops", "all"]}));
    let child = world
        .post("/api/v1/sessions", &token, r#"{"actor":"agent:x","roles":["operator"]}"#)
        .await
        .json();
    let child = at(&child, "/key").to_owned();
    let held =
        world.decide(&bot, "h", r#","risk_tags":["big"],"attempt_nonce":"nnnnnnnnnnnnnnnn""#).await;
    assert_eq!(at(&vote(&world, &held, &token).await.ok(), "/state"), "approved");
    let less = r#"
      - { claim: groups, value: all, roles: [] }"#;
    let text = identity(&issuer, "", less);
    let body = json!({"sources": [{"name": "policy.yaml", "text": text}]}).to_string();
    world.post("/api/v1/policies", &world.admin, &body).await.ok();
    let who = world.get("/api/v1/sessions/current", &token).await.ok();
    assert_eq!(who["roles"], json!([]));
    let who = world.get("/api/v1/sessions/current", &child).await.ok();
    assert_eq!(who["roles"], json!([]));
    let narrowed = events(&world, "session.narrowed").await;
    assert_eq!(narrowed.len(), 1, "{narrowed:?}");
    let path = format!("/api/v1/decisions/{}", at(&held, "/id"));
    let nonce = [("placet-attempt-nonce", "nnnnnnnnnnnnnnnn")];
    let after = world.call("GET", &path, &bot, &nonce, "").await;
    after.refused(409, "approval_invalidated");
    let after = world.get(&path, &bot).await.ok();
    assert_eq!(at(&after, "/approval/state"), "invalidated", "{after}");
    // Going back gives nothing back: a session has what it was given last.
    world.post("/api/v1/policies/rollback", &world.admin, "{}").await.ok();
    let who = world.get("/api/v1/sessions/current", &token).await.ok();
    assert_eq!(who["roles"], json!([]));
    let fresh = issuer.token("uma", &ops());
    let who = world.get("/api/v1/sessions/current", &fresh).await.ok();
    assert_eq!(who["roles"], json!(["operator"]));
    // A bundle without the issuer believes none of its tokens.
    let body = json!({"sources": [{"name": "policy.yaml", "text": BUNDLE}]}).to_string();
    world.post("/api/v1/policies", &world.admin, &body).await.ok();
    let who = world.get("/api/v1/sessions/current", &fresh).await.ok();
    assert_eq!(who["roles"], json!([]));
    world
        .get("/api/v1/sessions/current", &issuer.token("eve", &ops()))
        .await
        .refused(401, "issuer_unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_of_the_workspace_that_is_named_and_of_no_other() {
    let issuer = Issuer::start();
    let world = world(&issuer).await;
    let body = r#"{"name":"other","admin":"human:zoe"}"#;
    let zoe = world.post("/api/v1/workspaces", &world.admin, body).await.json();
    let zoe = at(&zoe, "/key").to_owned();
    let token = issuer.token("ann", &ops());
    let path = "/api/v1/sessions/current";
    let forged = crate::issuer::Key::new("first", "EdDSA")
        .token(&json!({"alg": "EdDSA", "kid": "first"}), &issuer.claims("ann", &ops()));
    world.get(path, &forged).await.refused(401, "token_invalid");
    let in_other = [("placet-workspace", "other")];
    for name in ["nowhere", "Not A Name"] {
        let named = [("placet-workspace", name)];
        world.call("GET", path, &token, &named, "").await.refused(401, "issuer_unknown");
    }
    let who = world.call("GET", path, &token, &in_other, "").await.ok();
    assert_eq!(at(&who, "/workspace"), "other");
    // From here on it is of that workspace, and of no other.
    assert_eq!(at(&world.get(path, &token).await.ok(), "/workspace"), "other");
    let in_main = [("placet-workspace", "main")];
    world.call("GET", path, &token, &in_main, "").await.refused(404, "workspace_not_found");
    let id = at(&who, "/id").to_owned();
    let close = format!("/api/v1/sessions/{id}");
    world.call("DELETE", &close, &world.admin, &[], "").await.refused(404, "not_found");
    // A workspace whose bundle trusts it no longer is no longer one of them.
    let body = json!({"sources": [{"name": "policy.yaml", "text": BUNDLE}]}).to_string();
    world.post("/api/v1/policies", &zoe, &body).await.ok();
    let bob = issuer.token("bob", &ops());
    assert_eq!(at(&world.get(path, &bob).await.ok(), "/workspace"), "main");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn development_mode_takes_tokens_too() {
    let issuer = Issuer::start();
    let world =
        World::with(Some(&identity(&issuer, "", GRANTS)), true, ServerOptions::default()).await;
    let who = world.get("/api/v1/sessions/current", "").await.ok();
    assert_eq!((at(&who, "/kind"), at(&who, "/actor")), ("development", "human:local"));
    let who = world.get("/api/v1/sessions/current", &issuer.token("ann", &ops())).await.ok();
    assert_eq!(at(&who, "/actor"), "human:ann");
    world.post("/api/v1/sessions", "", r#"{"actor":"agent:x"}"#).await.refused(401, "key_missing");
}
