//! What a token is worth after it was used, and what a session may go on doing when it has less.

use crate::issuer::{Issuer, Key, b64};
use crate::world::{BUNDLE, World, at};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use placet_outbound::Inside;
use placet_server::ServerOptions;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncReadExt;

fn identity(issuer: &Issuer, grants: &str) -> String {
    format!(
        "{BUNDLE}identity:\n  - id: corp\n    issuer: {}\n    audience: placet\n    environment: production\n    grants:\n{grants}\n",
        issuer.url
    )
}

const GRANTS: &str = "      - { claim: groups, value: ops, roles: [operator] }\n      - { claim: groups, value: all, roles: [] }";

/// The other good signature of ES256 over the same: s is replaced by the order of the group minus s.
fn twin(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(bytes.len(), 64);
    let mut borrow = 0_i16;
    for at in (0..32).rev() {
        let left = i16::from(ORDER[at]) - i16::from(bytes[32 + at]) - borrow;
        borrow = i16::from(left < 0);
        bytes[32 + at] = u8::try_from(left.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", b64(&bytes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signature_makes_no_second_token() {
    let issuer = Issuer::start();
    issuer.rotate(vec![Key::new("ec", "ES256")]);
    let bundle = identity(&issuer, GRANTS);
    let world = World::with(Some(&bundle), false, ServerOptions::default()).await;
    let path = "/api/v1/sessions/current";
    let ops = json!({"groups": ["ops"]});
    // A twin that comes first is as good as the other one; that is why it needs a check at all.
    let zoe = issuer.token("zoe", &ops);
    world.get(path, &twin(&zoe)).await.ok();
    world.get(path, &zoe).await.refused(409, "token_used");

    let ann = issuer.token("ann", &ops);
    world.get(path, &ann).await.ok();
    world.get(path, &twin(&ann)).await.refused(409, "token_used");
    assert_eq!(world.call("DELETE", path, &ann, &[], "").await.status, 204);
    for token in [&ann, &twin(&ann)] {
        world.get(path, token).await.refused(401, "session_closed");
        world.post("/api/v1/sessions", token, "").await.refused(401, "session_closed");
    }
    // One that was exchanged gives no second key.
    let bob = issuer.token("bob", &ops);
    let made = world.post("/api/v1/sessions", &bob, "").await;
    assert_eq!(made.status, 201, "{made:?}");
    world.post("/api/v1/sessions", &twin(&bob), "").await.refused(409, "token_used");
    world.get(path, &twin(&bob)).await.refused(409, "token_used");
    // Nor after a restart; the token itself still opens what it was exchanged for.
    let world = world.restart().await;
    assert_eq!(world.get(path, &bob).await.ok()["id"], made.json()["id"]);
    world.post("/api/v1/sessions", &twin(&bob), "").await.refused(409, "token_used");
    world.get(path, &twin(&ann)).await.refused(401, "session_closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_role_that_may_read_it() {
    let issuer = Issuer::start();
    let bundle = identity(&issuer, GRANTS);
    let world = World::with(Some(&bundle), false, ServerOptions::default()).await;
    let bot = world.key("agent:bot", &[]).await;
    let token = issuer.token("ann", &json!({"groups": ["ops", "all"]}));
    assert_eq!(
        world.get("/api/v1/sessions/current", &token).await.ok()["roles"],
        json!(["operator"])
    );
    let mut stream = world.send("GET", "/api/v1/events", &token, &[], "").await;
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let less = identity(&issuer, "      - { claim: groups, value: all, roles: [] }");
    let body = json!({"sources": [{"name": "policy.yaml", "text": less}]}).to_string();
    world.post("/api/v1/policies", &world.admin, &body).await.ok();
    let who = world.get("/api/v1/sessions/current", &token).await.ok();
    assert_eq!(who["roles"], json!([]));
    world.get("/api/v1/events", &token).await.refused(403, "role_missing");
    world.decide(&bot, "after", "").await;
    let mut seen = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut seen)).await;
    assert!(ended.is_ok(), "the stream goes on: {}", String::from_utf8_lossy(&seen));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_inside_is_asked_only_where_the_operator_allows_it() {
    let issuer = Issuer::start();
    let inside = Inside::default().allow("10.9.8.0/24").unwrap();
    let options = ServerOptions { inside, ..ServerOptions::default() };
    let world = World::with(Some(&identity(&issuer, GRANTS)), false, options).await;
    let token = issuer.token("ann", &json!({"groups": ["ops"]}));
    let path = "/api/v1/sessions/current";
    world.get(path, &token).await.refused(503, "issuer_unavailable");
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_workspace_has_no_say_about_tokens_of_anothers_users() {
    let issuer = Issuer::start();
    let world =
        World::with(Some(&identity(&issuer, GRANTS)), false, ServerOptions::default()).await;
    let body = r#"{"name":"other","admin":"human:zoe"}"#;
    let zoe = world.post("/api/v1/workspaces", &world.admin, body).await.json();
    let zoe = at(&zoe, "/key").to_owned();
    // Its bundle claims the same issuer, with keys of its own.
    let theirs = Issuer::start();
    let keys = format!("    jwks_uri: {}/keys\n    audience: placet\n", theirs.url);
    let claims = identity(&issuer, GRANTS).replace("    audience: placet\n", &keys);
    let body = json!({"sources": [{"name": "policy.yaml", "text": claims}]}).to_string();
    world.post("/api/v1/policies", &zoe, &body).await.ok();
    let path = "/api/v1/sessions/current";
    let ops = json!({"groups": ["ops"]});
    let ann = issuer.token("ann", &ops);
    assert_eq!(at(&world.get(path, &ann).await.ok(), "/workspace"), "main");
    assert_eq!(theirs.asked(), 0, "they were asked for keys");
    // Without trust in the first workspace, a token is for nobody who is not named.
    let body = json!({"sources": [{"name": "policy.yaml", "text": BUNDLE}]}).to_string();
    world.post("/api/v1/policies", &world.admin, &body).await.ok();
    let bob = issuer.token("bob", &ops);
    world.get(path, &bob).await.refused(400, "workspace_unclear");
    world.post("/api/v1/sessions", &bob, "").await.refused(400, "workspace_unclear");
    let named = [("placet-workspace", "main")];
    world.call("GET", path, &bob, &named, "").await.refused(401, "issuer_unknown");
    assert_eq!(theirs.asked(), 0, "the token was taken elsewhere");
    let key = theirs.key();
    let header = json!({"alg": key.alg(), "kid": key.kid});
    let carl = key.token(&header, &issuer.claims("carl", &ops));
    let named = [("placet-workspace", "other")];
    let who = world.call("GET", path, &carl, &named, "").await.ok();
    assert_eq!(at(&who, "/workspace"), "other");
}
