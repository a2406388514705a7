//! Bad input: a 4xx that names the field, and the log does not move.

use crate::world::{BIG, World, at, request};
use placet_server::ServerOptions;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_decisions() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    world.decide(&bot, "taken", "").await;
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    let size = world.size();
    let cases = [
        ("", 400, "field_missing", None),
        ("{", 400, "json_malformed", None),
        ("[]", 400, "field_invalid", Some("")),
        (r#"{"surface":"a","surface":"b"}"#, 400, "json_malformed", None),
        (r#"{"surface":7}"#, 400, "field_invalid", Some("/surface")),
        (r#"{"surface":null}"#, 400, "field_invalid", Some("/surface")),
        (r#"{"surface":"a"}"#, 400, "field_missing", Some("/action")),
        (r#"{"surfaces":"a"}"#, 400, "field_unknown", Some("/surfaces")),
        (&request("x", r#","workspace":"other""#), 404, "workspace_not_found", None),
        (&request("x", r#","environment":"staging""#), 400, "field_invalid", Some("/environment")),
        (&request("x", r#","actor":"agent:other""#), 403, "actor_mismatch", Some("/actor")),
        (
            &request("x", r#","attempt_nonce":"short""#),
            400,
            "field_invalid",
            Some("/attempt_nonce"),
        ),
        (&request("x", r#","context":{"n":1e999}"#), 400, "json_malformed", None),
        (
            &request("x", r#","context":{"n":0.11e-9223372036854775807}"#),
            400,
            "json_malformed",
            None,
        ),
        (&request("x", &format!(r#","context":{{"n":{deep}}}"#)), 400, "json_malformed", None),
        (&request("taken", r#","risk_tags":["x"]"#), 409, "idempotency_conflict", None),
    ];
    for (body, status, code, field) in cases {
        let answer = world.post("/api/v1/decisions", &bot, body).await;
        let problem = answer.refused(status, code);
        if let Some(field) = field {
            assert_eq!(at(&problem, "/field"), field, "{body}");
        }
        let batch = format!(r#"{{"requests":[{body}]}}"#);
        if code != "json_malformed" && !body.is_empty() {
            let results = world.post("/api/v1/decisions:batch", &bot, &batch).await.ok();
            assert_eq!(at(&results, "/results/0/problem/code"), code, "{body}");
        }
    }
    let both = [("idempotency-key", "another")];
    let answer = world.call("POST", "/api/v1/decisions", &bot, &both, &request("x", "")).await;
    assert_eq!(at(&answer.refused(400, "field_invalid"), "/field"), "/idempotency_key");
    let twice = [("placet-attempt-nonce", "a"), ("placet-attempt-nonce", "b")];
    let answer = world.call("POST", "/api/v1/decisions", &bot, &twice, &request("x", "")).await;
    let problem = answer.refused(400, "field_invalid");
    assert_eq!(problem.get("field"), None, "a header is no field: {problem}");
    let event = [("last-event-id", "x")];
    let answer = world.call("GET", "/api/v1/events", &world.admin, &event, "").await;
    let problem = answer.refused(400, "field_invalid");
    assert!(problem.get("field").is_none(), "{problem}");
    assert!(at(&problem, "/detail").contains("Last-Event-ID"), "{problem}");
    assert_eq!(world.size(), size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_workspaces() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let id = bot.split_once('.').unwrap().0.to_owned();
    let gone = world.key("agent:gone", &[]).await;
    let path = format!("/api/v1/keys/{}", gone.split_once('.').unwrap().0);
    assert_eq!(world.call("DELETE", &path, &world.admin, &[], "").await.status, 204);
    let size = world.size();
    let wrong = format!("{id}.{}", "0".repeat(64));
    let body = request("a", "");
    for (key, code) in [
        ("", "key_missing"),
        ("nonsense", "key_unknown"),
        (wrong.as_str(), "key_unknown"),
        (gone.as_str(), "key_revoked"),
    ] {
        let answer = world.post("/api/v1/decisions", key, &body).await;
        answer.refused(401, code);
        assert!(answer.headers.contains("www-authenticate: bearer"), "{answer:?}");
    }
    let other = [("Placet-Workspace", "other")];
    let answer = world.call("POST", "/api/v1/decisions", &bot, &other, &body).await;
    answer.refused(404, "workspace_not_found");
    let basic = [("authorization", "Basic eDp5")];
    world.call("POST", "/api/v1/decisions", "", &basic, &body).await.refused(401, "key_unknown");
    assert_eq!(world.size(), size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_other_calls() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let ann = world.admin.clone();
    let held = world.decide(&bot, "h", BIG).await;
    let own = world.decide(&ann, "o", BIG).await;
    let permit = world.decide(&bot, "p", "").await;
    let digest = at(&own, "/action_digest");
    let echo = format!(r#"{{"action_digest":"{digest}"}}"#);
    let stale = format!(r#"{{"action_digest":"sha256:{}"}}"#, "0".repeat(64));
    let mine = format!("/api/v1/approvals/{}/approve", at(&own, "/approval/id"));
    let held = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
    let done = format!("/api/v1/decisions/{}", at(&permit, "/id"));
    let nobody = format!("dec_{}", "0".repeat(32));
    let big = format!(r#"{{"result":"failed","detail":"{}"}}"#, "x".repeat(70_000));
    let size = world.size();
    let cases: &[(&str, &str, &str, &str, u16, &str)] = &[
        ("POST", &mine, &ann, &echo, 403, "own_approval"),
        ("POST", &held, &ann, &stale, 409, "stale_approval_digest"),
        ("POST", &held, &ann, "{}", 400, "approval_digest_missing"),
        ("POST", &held, &ann, r#"{"action_digest":"x"}"#, 400, "field_invalid"),
        ("POST", &held, &bot, &stale, 403, "not_human"),
        ("POST", "/api/v1/approvals/apr_x/approve", &ann, &echo, 404, "not_found"),
        ("POST", &format!("{done}/consume"), &bot, "", 409, "permit_consumed"),
        ("POST", &format!("{done}/outcome"), &bot, "{}", 400, "field_missing"),
        ("POST", &format!("{done}/outcome"), &bot, r#"{"result":"maybe"}"#, 400, "field_invalid"),
        ("POST", &format!("{done}/outcome"), &bot, &big, 400, "field_invalid"),
        ("POST", &format!("{done}/withdraw"), &bot, "", 404, "not_found"),
        ("GET", &format!("{done}?wait=soon"), &bot, "", 400, "field_invalid"),
        ("GET", &format!("{done}?until=1"), &bot, "", 400, "field_unknown"),
        ("GET", &format!("/api/v1/receipts/{nobody}"), &ann, "", 404, "not_found"),
        ("GET", "/api/v1/receipts/nonsense", &ann, "", 404, "not_found"),
        ("GET", "/api/v1/audit?limit=0", &ann, "", 400, "field_invalid"),
        ("GET", "/api/v1/audit?since=yesterday", &ann, "", 400, "field_invalid"),
        ("GET", "/api/v1/audit", &bot, "", 403, "role_missing"),
        ("GET", "/api/v1/events", &bot, "", 403, "role_missing"),
        ("GET", "/api/v1/traces/x", &bot, "", 403, "role_missing"),
        ("GET", "/api/v1/keys", &bot, "", 403, "role_missing"),
        ("POST", "/api/v1/kill", &bot, r#"{"scope":"workspace"}"#, 403, "role_missing"),
        ("POST", "/api/v1/kill", &ann, r#"{"scope":"world"}"#, 400, "field_invalid"),
        ("POST", "/api/v1/lift", &ann, r#"{"scope":"workspace"}"#, 409, "not_tripped"),
        ("POST", "/api/v1/keys", &ann, r#"{"actor":"x"}"#, 400, "field_invalid"),
        ("POST", "/api/v1/workspaces", &bot, "{}", 403, "role_missing"),
        (
            "POST",
            "/api/v1/workspaces",
            &ann,
            r#"{"name":"main","admin":"human:x"}"#,
            409,
            "already_exists",
        ),
        ("POST", "/api/v1/clock/confirm", &bot, "", 403, "role_missing"),
        ("POST", "/api/v1/audit/reindex", &bot, "", 403, "role_missing"),
        ("DELETE", "/api/v1/keys/key_x", &ann, "", 404, "not_found"),
        ("PUT", "/api/v1/decisions", &ann, "", 405, "method_not_allowed"),
        ("GET", "/api/v2/decisions", &ann, "", 404, "not_found"),
    ];
    for (method, path, key, body, status, code) in cases {
        world.call(method, path, key, &[], body).await.refused(*status, code);
    }
    assert_eq!(world.size(), size);
    let key = ann.split_once('.').unwrap().0;
    let path = format!("/api/v1/keys/{key}");
    world.call("DELETE", &path, &ann, &[], "").await.refused(409, "last_admin");
    assert_eq!(world.size(), size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn size_and_type_of_bodies() {
    let options = ServerOptions { body_max: 1000, ..ServerOptions::default() };
    let world = World::with(None, false, options).await;
    let bot = world.key("agent:bot", &[]).await;
    let size = world.size();
    let large = request(&"x".repeat(2000), "");
    world.post("/api/v1/decisions", &bot, &large).await.refused(413, "body_too_large");
    let chunked = [("transfer-encoding", "chunked"), ("content-length", "")];
    let body = format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000));
    let chunked = &chunked[..1];
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /api/v1/decisions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {bot}\r\n{}: {}\r\n\r\n{body}",
        chunked[0].0, chunked[0].1
    );
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    assert!(String::from_utf8_lossy(&text).contains("body_too_large"));
    let html = [("content-type", "text/html")];
    let answer = world.call("POST", "/api/v1/decisions", &bot, &html, &request("a", "")).await;
    answer.refused(415, "unsupported_media_type");
    let json = [("Content-Type", "Application/JSON; charset=utf-8")];
    assert_eq!(world.size(), size);
    world.call("POST", "/api/v1/decisions", &bot, &json, &request("a", "")).await.ok();
}
