//! Evidence over HTTP: one's own word and signed envelopes, who reads what, keys of issuers under two people,
//! and what is refused with the field at fault.

use crate::world::{World, at};
use placet_runtime::crypto::{Fast, MemorySigner};
use placet_runtime::ports::Signer as _;
use placet_tlog::VerifierKey;
use placet_tlog::envelope::Envelope;
use serde_json::{Value, json};

/// A key by which an issuer signs.
pub(crate) fn issuer(name: &str, seed: u32) -> (VerifierKey, MemorySigner) {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    let signer = MemorySigner::from_seed(&bytes).unwrap();
    (VerifierKey::new::<Fast>(name, signer.public_key()).unwrap(), signer)
}

pub(crate) fn sha(text: &str) -> String {
    use placet_types::hash::Hasher as _;
    placet_types::Digest(Fast::sha256(&[text.as_bytes()])).to_string()
}

/// A statement about subjects, signed.
pub(crate) fn envelope(
    (key, signer): &(VerifierKey, MemorySigner),
    kind: &str,
    subjects: &[&str],
    issued: &str,
) -> Value {
    let subject: Vec<Value> = subjects
        .iter()
        .map(|it| json!({"digest": {"sha256": sha(it).strip_prefix("sha256:").unwrap()}}))
        .collect();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": format!("urn:placet:evidence:{kind}"),
        "predicate": {"issued": issued},
    });
    let payload = statement.to_string();
    let made = Envelope::sign(payload.as_bytes(), &key.to_string(), |bytes| signer.sign(bytes));
    serde_json::from_str(&made.to_text()).unwrap()
}

const PATH: &str = "/api/v1/evidence";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_vouches_for_is_kept_read_and_taken_back() {
    let world = World::new().await;
    let ci = world.key("service:ci", &[]).await;
    let bot = world.key("agent:bot", &[]).await;
    let rita = world.key("human:rita", &[]).await;
    let eva = world.key("human:eva", &["evaluation_owner"]).await;
    let audit = world.key("human:audit", &["auditor"]).await;
    let body = json!({"type": "review", "digest": sha("report"), "subject": sha("change"),
                      "note": "read twice"});
    let made = world.post(PATH, &rita, &body.to_string()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!((at(&made, "/issuer"), at(&made, "/state")), ("human:rita", "in_force"));
    assert_eq!(made["attested"], false);
    let path = format!("{PATH}/{}", at(&made, "/id"));
    // What was said of it is for overseers and for whoever brought it; entries hold no name.
    assert_eq!(world.get(&path, &rita).await.ok()["note"], "read twice");
    assert_eq!(world.get(&path, &audit).await.ok()["note"], "read twice");
    assert_eq!(world.get(&path, &bot).await.ok()["note"], Value::Null);
    let query = format!("/api/v1/audit?min_index={}&type=evidence.added", made["index"]);
    let log = world.get(&query, &audit).await;
    assert!(!log.text.contains("rita") && !log.text.contains("read twice"), "{log:?}");
    // The same with the same times is the piece that is there.
    let mut same = body.clone();
    same["issued"] = made["issued"].clone();
    same["expires"] = made["expires"].clone();
    let again = world.post(PATH, &rita, &same.to_string()).await.json();
    assert_eq!(again["id"], made["id"]);
    let own = json!({"type": "test_report", "digest": sha("junit"), "subject": sha("change")});
    assert_eq!(world.post(PATH, &ci, &own.to_string()).await.status, 201);
    let list = |query: &str| format!("{PATH}?{query}");
    let about = format!("about={}", sha("change"));
    let all = world.get(&list(&about), &bot).await.ok();
    assert_eq!(all["evidence"].as_array().unwrap().len(), 2);
    assert_eq!(at(&all, "/evidence/0/type"), "test_report", "newest first");
    let page = world.get(&list("limit=1"), &bot).await.ok();
    let rest = world.get(&list(&format!("cursor={}", at(&page, "/next_cursor"))), &bot).await.ok();
    assert_eq!(rest["evidence"][0]["id"], made["id"]);
    assert_eq!(rest["next_cursor"], Value::Null);
    let none = world.get(&list("type=scan"), &bot).await.ok();
    assert_eq!(none["evidence"], json!([]));
    // Taken back by somebody who watches, not by anybody.
    let revoke = format!("{path}/revoke");
    let why = r#"{"reason":"not-read"}"#;
    world.post(&revoke, &bot, why).await.refused(403, "foreign");
    world.post(&revoke, &eva, r#"{"reason":"Not Read"}"#).await.refused(400, "field_invalid");
    assert_eq!(world.post(&revoke, &eva, why).await.ok()["state"], "revoked");
    assert_eq!(world.post(&revoke, &eva, why).await.ok()["state"], "revoked");
    world.post(PATH, &rita, &body.to_string()).await.refused(409, "evidence_revoked");
    // In another workspace it is not there.
    let other = r#"{"name":"other","admin":"human:zoe"}"#;
    let other = world.post("/api/v1/workspaces", &world.admin, other).await.json();
    world.get(&path, at(&other, "/key")).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_are_the_word_of_whoever_signed_them() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let ci = world.key("service:ci", &[]).await;
    let (first, second) = (issuer("ci", 1), issuer("lab", 2));
    let now = world.plane.now().rfc3339();
    let report = envelope(&first, "test_report", &["change"], &now);
    let send = |value: Value| value.to_string();
    let bring = send(json!({"envelope": report}));
    world.post(PATH, &bot, &bring).await.refused(409, "issuer_key_unknown");
    // Trusting a key is governed: a second admin has to agree.
    let olga = world.key("human:olga", &["admin"]).await;
    let keys = format!("{PATH}/keys");
    let trust = |who: &str, key: &VerifierKey, idempotency: &str| {
        send(json!({"issuer": who, "key": key.to_string(), "idempotency_key": idempotency}))
    };
    let body = trust("service:ci", &first.0, "t1");
    let held = world.post(&keys, &world.admin, &body).await;
    assert_eq!(held.status, 202, "{held:?}");
    let held = held.json();
    let vote = format!("/api/v1/approvals/{}/approve", at(&held, "/decision/approval/id"));
    let digest = send(json!({"action_digest": held["decision"]["action_digest"]}));
    world.post(&vote, &olga, &digest).await.ok();
    assert_eq!(world.post(&keys, &world.admin, &body).await.ok()["status"], "trusted");
    let body = trust("service:lab", &second.0, "t2");
    let held = world.post(&keys, &world.admin, &body).await.json();
    let vote = format!("/api/v1/approvals/{}/approve", at(&held, "/decision/approval/id"));
    let digest = send(json!({"action_digest": held["decision"]["action_digest"]}));
    world.post(&vote, &olga, &digest).await.ok();
    world.post(&keys, &world.admin, &body).await.ok();
    let listed = world.get(&keys, &bot).await.ok();
    assert_eq!(at(&listed, "/keys/0/issuer"), "service:ci");
    assert_eq!(listed["keys"][1]["revoked"], false);
    // Anybody may bring it; it is the issuer's word.
    let made = world.post(PATH, &bot, &bring).await.json();
    assert_eq!((at(&made, "/issuer"), at(&made, "/type")), ("service:ci", "test_report"));
    assert_eq!(made["attested"], true);
    assert_eq!(made["subject"], sha("change"));
    let path = format!("{PATH}/{}", at(&made, "/id"));
    assert_eq!(world.get(&path, &bot).await.ok()["envelope"], report);
    assert_eq!(world.post(PATH, &bot, &bring).await.json()["id"], made["id"]);
    // Whoever has a key signs.
    let bare = json!({"type": "test_report", "digest": sha("x"), "subject": sha("change")});
    world.post(PATH, &ci, &send(bare)).await.refused(403, "evidence_unsigned");
    // Several subjects: one has to be named, and it has to be one of them.
    let both = envelope(&first, "scan", &["one", "two"], &now);
    let named = |subject: &str| send(json!({"envelope": both, "subject": sha(subject)}));
    let unclear = send(json!({"envelope": both}));
    world.post(PATH, &bot, &unclear).await.refused(409, "evidence_subject_unclear");
    world.post(PATH, &bot, &named("three")).await.refused(409, "evidence_subject_unclear");
    assert_eq!(world.post(PATH, &bot, &named("two")).await.json()["subject"], sha("two"));
    // Several signatures: of unknown keys they are passed over, of known ones all have to be good.
    let mut signed = envelope(&first, "audit", &["change"], &now);
    let other = envelope(&second, "audit", &["change"], &now)["signatures"][0].clone();
    let stranger = envelope(&issuer("x", 9), "audit", &["change"], &now)["signatures"][0].clone();
    signed["signatures"].as_array_mut().unwrap().push(stranger);
    assert_eq!(world.post(PATH, &bot, &send(json!({"envelope": signed}))).await.status, 201);
    signed["signatures"].as_array_mut().unwrap().push(other.clone());
    world
        .post(PATH, &bot, &send(json!({"envelope": signed})))
        .await
        .refused(409, "evidence_issuer_unclear");
    let whose = send(json!({"envelope": signed, "issuer": "service:lab"}));
    assert_eq!(world.post(PATH, &bot, &whose).await.json()["issuer"], "service:lab");
    let mut bad = signed.clone();
    bad["signatures"][2]["sig"] = bad["signatures"][0]["sig"].take();
    bad["signatures"].as_array_mut().unwrap().remove(0);
    world
        .post(PATH, &bot, &send(json!({"envelope": bad})))
        .await
        .refused(409, "evidence_signature_bad");
    // Without a name it is tried against the keys of the one that is named.
    let mut nameless = envelope(&second, "review", &["change"], &now);
    nameless["signatures"][0].as_object_mut().unwrap().remove("keyid");
    world
        .post(PATH, &bot, &send(json!({"envelope": nameless})))
        .await
        .refused(409, "issuer_key_unknown");
    let whose = send(json!({"envelope": nameless, "issuer": "service:lab"}));
    assert_eq!(world.post(PATH, &bot, &whose).await.json()["issuer"], "service:lab");
    // An old report does not become a new one.
    let old = envelope(&first, "test_report", &["change"], "2020-01-01T00:00:00Z");
    world
        .post(PATH, &bot, &send(json!({"envelope": old})))
        .await
        .refused(400, "evidence_time_invalid");
    // A key that is revoked takes what it signed along.
    let body = trust("service:ci", &first.0, "t3");
    let held = world.post(&format!("{keys}/revoke"), &world.admin, &body).await.json();
    let vote = format!("/api/v1/approvals/{}/approve", at(&held, "/decision/approval/id"));
    let digest = send(json!({"action_digest": held["decision"]["action_digest"]}));
    world.post(&vote, &olga, &digest).await.ok();
    let done = world.post(&format!("{keys}/revoke"), &world.admin, &body).await.ok();
    assert_eq!(done["status"], "revoked");
    assert_eq!(world.get(&path, &bot).await.ok()["state"], "revoked");
    let again = trust("service:ci", &first.0, "t4");
    let held = world.post(&keys, &world.admin, &again).await.json();
    let vote = format!("/api/v1/approvals/{}/approve", at(&held, "/decision/approval/id"));
    let digest = send(json!({"action_digest": held["decision"]["action_digest"]}));
    world.post(&vote, &olga, &digest).await.ok();
    world.post(&keys, &world.admin, &again).await.refused(409, "issuer_key_revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_evidence_is_refused_with_its_field() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let sha = sha("x");
    let good = json!({"type": "review", "digest": sha, "subject": sha});
    let signed = envelope(&issuer("ci", 1), "review", &["x"], "2026-01-01T00:00:00Z");
    let cases = [
        ("type", json!("a b"), "/type"),
        ("type", json!("x".repeat(65)), "/type"),
        ("digest", json!("sha256:12"), "/digest"),
        ("digest", json!(7), "/digest"),
        ("subject", json!(sha.to_uppercase()), "/subject"),
        ("issued", json!("yesterday"), "/issued"),
        ("expires", json!("2026-13-01T00:00:00Z"), "/expires"),
        ("issuer", json!("human:ann"), "/issuer"),
        ("note", json!("x".repeat(2001)), "/note"),
        ("evidence", json!("x"), "/evidence"),
        ("envelope", json!({}), "/digest"),
        ("envelope", signed, "/digest"),
    ];
    for (name, value, field) in cases {
        let mut body = good.clone();
        body[name] = value;
        let answer = world.post(PATH, &bot, &body.to_string()).await;
        assert_eq!(
            (answer.status, at(&answer.json(), "/field")),
            (400, field),
            "{name}: {answer:?}"
        );
    }
    for name in ["type", "digest", "subject"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(name);
        let answer = world.post(PATH, &bot, &body.to_string()).await;
        assert_eq!(answer.refused(400, "field_missing")["field"], format!("/{name}"));
    }
    let bare = world.post(PATH, &bot, r#"{"envelope":{"payloadType":"x"}}"#).await;
    assert_eq!(bare.refused(400, "field_invalid")["field"], "/envelope/payloadType");
    let mut early = good;
    early["issued"] = json!("2999-01-01T00:00:00Z");
    world.post(PATH, &bot, &early.to_string()).await.refused(400, "evidence_time_invalid");
    world.get(&format!("{PATH}/evd_7"), &bot).await.refused(404, "not_found");
    world.get(&format!("{PATH}?about=x"), &bot).await.refused(400, "field_invalid");
}

/// A surface that asks the store, and one that is decided by people.
const POLICY: &str = r#"
version: v1
surfaces:
  infra.apply:
    evidence: [{ type: test_report, max_age: 30d, issuers: ["service:ci", "human:rita"], verified: true }]
  infra.held:
    evidence: [{ type: test_report, max_age: 30d, issuers: ["service:ci"], verified: true }]
rules:
  - { id: apply, match: { surfaces: ["infra.apply"] }, decision: allow }
  - { id: held, match: { surfaces: ["infra.held"] }, decision: require_approval }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_rest_on_what_the_store_has() {
    let world = World::with(Some(POLICY), false, Default::default()).await;
    let ci = world.key("service:ci", &[]).await;
    let bot = world.key("agent:bot", &[]).await;
    let rita = world.key("human:rita", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let add = |what: &str| {
        json!({"type": "test_report", "digest": sha(what), "subject": sha("app")}).to_string()
    };
    let asked = std::sync::atomic::AtomicU32::new(0);
    let body = |surface: &str, target: &str, evidence: Value| {
        let n = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        json!({"surface": surface, "action": "apply", "idempotency_key": format!("k{n}"),
               "target": format!("registry/app@{}", sha(target)), "evidence": evidence,
               "attempt_nonce": format!("nonce-{n:016}")})
        .to_string()
    };
    let decide = async |target: &str, evidence: Value| {
        let body = body("infra.apply", target, evidence);
        let answer = world.post("/api/v1/decisions", &bot, &body).await.ok();
        let reason = answer["reasons"][0]["code"].as_str().unwrap_or_default().to_owned();
        format!("{} {reason}", at(&answer, "/outcome"))
    };
    let good = world.post(PATH, &ci, &add("junit")).await.json();
    let by_id = json!([{"id": good["id"]}]);
    let by_digest = json!([{"type": "test_report", "digest": sha("junit")}]);
    assert_eq!(decide("app", by_id.clone()).await, "PERMIT rule");
    assert_eq!(decide("app", by_digest.clone()).await, "PERMIT rule");
    // People stand in entries by pseudonyms; policy names them.
    let own = world.post(PATH, &rita, &add("read")).await.json();
    assert_eq!(decide("app", json!([{"id": own["id"]}])).await, "PERMIT rule");
    assert_eq!(decide("app", json!([])).await, "DENY evidence_missing");
    assert_eq!(decide("other", by_id.clone()).await, "DENY evidence_foreign");
    let unknown = json!([{"id": format!("evd_{}", "0".repeat(32))}]);
    assert_eq!(decide("app", unknown).await, "DENY evidence_foreign");
    let bots = world.post(PATH, &bot, &add("bots")).await.json();
    assert_eq!(decide("app", json!([{"id": bots["id"]}])).await, "DENY evidence_foreign");
    // Saying so does not make it so, whatever else is said of the piece.
    let said = json!([{"type": "test_report", "digest": sha("x"), "issuer": "service:ci",
                       "issued": "2026-01-01T00:00:00Z"}]);
    assert_eq!(decide("app", said).await, "DENY evidence_foreign");
    let forged = json!([{"id": bots["id"], "issuer": "service:ci", "subject": sha("app")}]);
    assert_eq!(decide("app", forged).await, "DENY evidence_foreign");
    // Of another workspace: it is not there.
    let made = r#"{"name":"other","admin":"human:zoe"}"#;
    let made = world.post("/api/v1/workspaces", &world.admin, made).await.json();
    let zoes = world.post(PATH, at(&made, "/key"), &add("zoe")).await.json();
    assert_eq!(decide("app", json!([{"id": zoes["id"]}])).await, "DENY evidence_foreign");
    // What is held is released with the store as it is then.
    let held = async || {
        let body = body("infra.held", "app", by_id.clone());
        let answer = world.post("/api/v1/decisions", &bot, &body).await.ok();
        assert_eq!(answer["outcome"], "REQUIRE_APPROVAL", "{answer}");
        (answer, body)
    };
    let approve = async |answer: &Value| {
        let path = format!("/api/v1/approvals/{}/approve", at(answer, "/approval/id"));
        let echo = json!({"action_digest": answer["action_digest"]}).to_string();
        world.post(&path, &olga, &echo).await
    };
    let (first, again) = held().await;
    approve(&first).await.ok();
    let permitted = world.post("/api/v1/decisions", &bot, &again).await.ok();
    assert_eq!(permitted["permit"]["state"], "granted", "{permitted}");
    let (approved, again) = held().await;
    let (pending, _) = held().await;
    approve(&approved).await.ok();
    let path = format!("{PATH}/{}/revoke", at(&good, "/id"));
    world.post(&path, &ci, r#"{"reason":"flaky"}"#).await.ok();
    assert_eq!(decide("app", by_id.clone()).await, "DENY evidence_revoked");
    assert_eq!(decide("app", by_digest).await, "DENY evidence_revoked");
    let ended = world.post("/api/v1/decisions", &bot, &again).await;
    assert_ne!(ended.json()["permit"]["state"], "granted", "{ended:?}");
    let vote = approve(&pending).await;
    assert_ne!(vote.json()["state"], "approved", "{vote:?}");
    let stands = format!("/api/v1/approvals/{}", at(&pending, "/approval/id"));
    assert_eq!(world.get(&stands, &olga).await.ok()["state"], "invalidated");
}
