//! Publishing, going back, signatures and crash points, over HTTP and a real store.

use crate::world::{Answer, BUNDLE, World, at};
use placet_policy::{Bundle, Source};
use placet_runtime::crypto::{Fast, MemorySigner};
use placet_runtime::ports::Signer;
use placet_runtime::replay::{Sources, replay};
use placet_server::{ServerOptions, open_stores};
use placet_store::{Create, DataDir};
use placet_tlog::{BundleSignature, VerifierKey};
use placet_types::Digest;
use placet_types::event::{Entry, Event};
use serde_json::{Value, json};

pub(crate) const POLICIES: &str = "/api/v1/policies";
const ROLLBACK: &str = "/api/v1/policies/rollback";

/// A bundle under which transfers are permitted or denied; `n` makes it another one.
pub(crate) fn rules(n: u32, decision: &str) -> String {
    format!(
        "version: v1\nrules:\n  - id: transfers\n    match: {{ surfaces: [\"payments.transfer\"] }}\n    \
         decision: {decision}\n    reason: \"bundle {n}\"\n"
    )
}

pub(crate) fn body(text: &str, more: Value) -> String {
    let mut body = json!({"sources": [{"name": "rules.yaml", "text": text}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

pub(crate) fn keyed(text: &str, key: &str) -> String {
    body(text, json!({"idempotency_key": key}))
}

pub(crate) fn compile(text: &str) -> Bundle {
    let source = Source { name: "policy.yaml".into(), text: text.into() };
    Bundle::compile::<Fast>(&[source]).unwrap_or_else(|found| panic!("{found:?}"))
}

pub(crate) fn digest(text: &str) -> String {
    compile(text).digest().to_string()
}

pub(crate) async fn vote(world: &World, held: &Answer, by: &str) -> Answer {
    assert_eq!(held.status, 202, "{held:?}");
    let held = held.json();
    let digest = at(&held, "/decision/action_digest");
    let path = format!("/api/v1/approvals/{}/approve", at(&held, "/decision/approval/id"));
    world.post(&path, by, &format!(r#"{{"action_digest":"{digest}"}}"#)).await
}

pub(crate) async fn current(world: &World, key: &str) -> Value {
    world.get("/api/v1/policies/current", key).await.ok()
}

pub(crate) async fn outcome(world: &World, key: &str, idempotency: &str) -> String {
    at(&world.decide(key, idempotency, "").await, "/outcome").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_author_proposes_another_admin_releases_and_the_log_says_all_of_it() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let eve = world.key("human:eve", &["auditor"]).await;
    let smith = world.key("agent:smith", &["admin"]).await;
    let made = r#"{"actor":"human:bea","environment":"production","roles":["admin"]}"#;
    let bea = world.post("/api/v1/keys", &ann, made).await.json();
    let bea = at(&bea, "/key").to_owned();
    let before = digest(BUNDLE);
    let new = rules(1, "deny");
    assert_eq!(outcome(&world, &bot, "a").await, "PERMIT");

    // Nobody but a human admin gets as far as the compiler.
    for (key, code) in [(&bot, "role_missing"), (&smith, "not_human"), (&eve, "role_missing")] {
        world.post(POLICIES, key, &body(&new, json!({}))).await.refused(403, code);
    }
    let more = json!({"idempotency_key": "p1", "reason": "fraud in autumn", "replaces": before});
    let asked = body(&new, more);
    let held = world.post(POLICIES, &ann, &asked).await;
    let decision = held.json();
    let arguments = world.get("/api/v1/approvals", &bea).await.ok();
    let arguments = &arguments["approvals"][0]["arguments"];
    assert_eq!(at(arguments, "/bundle"), digest(&new));
    assert_eq!(at(arguments, "/replaces"), before);
    assert_eq!(arguments["changes"]["added"], json!(["transfers"]));
    assert_eq!(arguments["changes"]["removed"], json!(["big", "never", "run", "slow", "small"]));
    // Asking again is the same question; drafts are in nobody's way.
    assert_eq!(world.post(POLICIES, &ann, &asked).await.status, 202);
    assert_eq!(current(&world, &bot).await["drafts"], Value::Null);
    assert_eq!(at(&current(&world, &eve).await, "/drafts/0/by"), "human:ann");
    let path = format!("{POLICIES}/{}", digest(&new));
    world.get(&path, &bot).await.refused(404, "not_found");
    assert_eq!(world.get(&path, &eve).await.text.as_bytes(), compile(&new).normalised());
    assert_eq!(outcome(&world, &bot, "b").await, "PERMIT");

    let release = |id: &str| json!({"decision": id}).to_string();
    let id = at(&decision, "/decision/id").to_owned();
    let to = "/api/v1/policies/release";
    world.post(to, &ann, &release(&id)).await.refused(409, "approval_pending");
    assert_eq!(vote(&world, &held, &ann).await.json()["code"], "own_approval");
    let approved = vote(&world, &held, &bea).await.ok();
    assert_eq!(at(&approved, "/state"), "consumed", "whoever completes the approval releases it");
    assert_eq!(outcome(&world, &bot, "c").await, "DENY");

    // Whoever asks again hears how it came to be, whichever way.
    let again = world.post(POLICIES, &ann, &asked).await.ok();
    assert_eq!(again, world.post(to, &bea, &release(&id)).await.ok());
    assert_eq!(
        [at(&again, "/how"), at(&again, "/author"), at(&again, "/by"), at(&again, "/approvers/0")],
        ["published", "human:ann", "human:bea", "human:bea"]
    );
    assert_eq!([at(&again, "/reason"), at(&again, "/decision")], ["fraud in autumn", &id]);
    let history = world.get(POLICIES, &eve).await.ok();
    assert_eq!(history["policies"][0], again);
    assert_eq!(at(&history, "/policies/1/how"), "seeded");
    let page = world.get("/api/v1/policies?limit=1", &eve).await.ok();
    let next = format!("/api/v1/policies?limit=1&cursor={}", at(&page, "/next_cursor"));
    assert_eq!(world.get(&next, &eve).await.ok()["policies"][0], history["policies"][1]);
    world.get(POLICIES, &bot).await.refused(403, "role_missing");
    // An agent may read the policy that concerns it.
    assert_eq!(at(&current(&world, &bot).await, "/bundle"), digest(&new));
    assert_eq!(world.get(&path, &bot).await.text.as_bytes(), compile(&new).normalised());
    let world = check_log(world, &ann).await;
    assert_eq!(outcome(&world, &bot, "c").await, "DENY");
    assert_eq!(world.get(POLICIES, &eve).await.ok(), history, "the same after a restart");
}

/// Receipts of the entries under a signed checkpoint, with the bytes, show anybody which bundle was in
/// force when: nothing else is asked. Then a restart, and a replay.
pub(crate) async fn check_log(world: World, admin: &str) -> World {
    let found = world.get("/api/v1/audit?type=bundle.armed&order=asc", admin).await.ok();
    let trust = world.get("/.well-known/placet-keys", "").await.text;
    let trust = placet_tlog::Trust::parse::<Fast>(trust.as_bytes()).unwrap();
    for entry in found["entries"].as_array().unwrap() {
        let data = &entry["entry"]["predicate"]["data"];
        let Some(decision) = data["decision"].as_str() else { continue };
        let path = format!("/api/v1/receipts/{decision}?index={}", entry["index"]);
        let receipt = world.get(&path, admin).await.text;
        let proven = placet_tlog::verify::verify_receipt(receipt.as_bytes(), &trust).unwrap();
        let Event::BundleArmed(armed) = Entry::parse(&proven.entry).unwrap().event else {
            panic!("{entry}")
        };
        let bytes = world.get(&format!("{POLICIES}/{}", armed.bundle), admin).await.text;
        use placet_types::hash::Hasher;
        assert_eq!(Digest(Fast::sha256(&[bytes.as_bytes()])), armed.bundle);
    }
    let mut differences = None;
    let world = world.unseeded().restart_after(|data| differences = Some(replayed(data))).await;
    assert_eq!(differences, Some(0));
    world
}

fn replayed(data: &std::path::Path) -> u64 {
    let dir = DataDir::open(data, Create::No).unwrap();
    let stores = open_stores(&dir).unwrap();
    let sources = Sources {
        reader: stores.reader.as_ref(),
        slots: stores.slot_reader.as_ref(),
        keys: stores.keys.as_ref(),
        bundle: None,
    };
    let report = replay(&sources, &mut |_| {}).unwrap();
    assert!(report.first.is_none(), "{:?}", report.first);
    report.differences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_never_replaces_what_is_right() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let many: String = (0..7).map(|n| format!("  - id: r{n}\n    decision: maybe\n")).collect();
    let bad = body(&format!("version: v1\nrules:\n{many}"), json!({}));
    let problem = world.post(POLICIES, &ann, &bad).await.refused(422, "bundle_invalid");
    let found = problem["diagnostics"].as_array().unwrap();
    assert!(found.len() >= 7, "every place that is wrong: {problem}");
    assert!(found.iter().all(|one| one["line"].is_u64()), "{problem}");
    let post = |body: Value| {
        let (world, ann) = (&world, &ann);
        async move { world.post(POLICIES, ann, &body.to_string()).await }
    };
    post(json!({})).await.refused(400, "field_missing");
    post(json!({"sources": []  , "normal": "{}"})).await.refused(400, "field_invalid");
    post(json!({"sources": "x"})).await.refused(400, "field_invalid");
    post(json!({"sources": [{"name": "a"}]})).await.refused(400, "field_invalid");
    post(json!({"normal": "{ }"})).await.refused(422, "bundle_invalid");
    post(json!({"normal": "{}", "replaces": "x"})).await.refused(400, "field_invalid");
    post(json!({"normal": "{}", "signature": {}})).await.refused(400, "field_invalid");
    post(json!({"rules": []})).await.refused(400, "field_unknown");
    // Against another head than was reviewed, and against none.
    for reviewed in [digest(&rules(7, "deny")), "none".to_owned()] {
        let more = json!({"replaces": reviewed});
        let stale = world.post(POLICIES, &ann, &body(&rules(1, "deny"), more)).await;
        stale.refused(409, "publication_stale");
    }
    assert_eq!(at(&current(&world, &ann).await, "/bundle"), digest(BUNDLE));
    assert_eq!(outcome(&world, &bot, "a").await, "PERMIT");
    // The normal form is as good as the sources.
    let normal = String::from_utf8(compile(&rules(1, "deny")).normalised().to_vec()).unwrap();
    let done = world.post(POLICIES, &ann, &json!({"normal": normal}).to_string()).await.ok();
    assert_eq!(at(&done, "/bundle"), digest(&rules(1, "deny")));
    assert_eq!(outcome(&world, &bot, "b").await, "DENY");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_were_reviewed_against_one_head_the_second_is_stale() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bea = world.key("human:bea", &["admin"]).await;
    let first = world.post(POLICIES, &ann, &keyed(&rules(1, "deny"), "p1")).await;
    let second = world.post(POLICIES, &bea, &keyed(&rules(2, "deny"), "p2")).await;
    vote(&world, &first, &bea).await.ok();
    let approved = vote(&world, &second, &ann).await.ok();
    assert_eq!(at(&approved, "/state"), "approved", "the vote stands, the bundle does not come");
    assert_eq!(at(&approved, "/not_in_force/code"), "publication_stale");
    assert_eq!(at(&current(&world, &ann).await, "/bundle"), digest(&rules(1, "deny")));
    let second = second.json();
    let id = json!({"decision": at(&second, "/decision/id")}).to_string();
    for key in [&ann, &bea] {
        let refused = world.post("/api/v1/policies/release", key, &id).await;
        refused.refused(409, "publication_stale");
    }
    let again = world.post(POLICIES, &bea, &keyed(&rules(2, "deny"), "p2")).await;
    again.refused(409, "publication_stale");
    // Reviewed anew it may come.
    let held = world.post(POLICIES, &bea, &keyed(&rules(2, "deny"), "p3")).await;
    vote(&world, &held, &ann).await.ok();
    assert_eq!(at(&current(&world, &ann).await, "/bundle"), digest(&rules(2, "deny")));
}

/// A decision whose words are not what the bundle does: asked for over the open endpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_shown_one_thing_and_given_another() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bea = world.key("human:bea", &["admin"]).await;
    let evil = rules(6, "allow");
    assert_eq!(world.post(POLICIES, &ann, &keyed(&evil, "p1")).await.status, 202);
    let nothing = json!({
        "added": [], "altered": [], "removed": [], "documents": [],
        "counts": {"added": 0, "altered": 0, "removed": 0},
    });
    for (n, arguments) in [
        json!({"bundle": digest(&evil), "replaces": digest(BUNDLE), "changes": nothing}),
        json!({"bundle": digest(&evil), "replaces": digest(BUNDLE), "changes": nothing, "x": 1}),
        json!({"bundle": digest(&evil)}),
        json!({}),
    ]
    .into_iter()
    .enumerate()
    {
        let request = json!({
            "surface": "policy.publish", "action": "publish", "idempotency_key": format!("e{n}"),
            "arguments": arguments,
        });
        let held = world.post("/api/v1/decisions", &ann, &request.to_string()).await.ok();
        let path = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
        let echo = json!({"action_digest": at(&held, "/action_digest")}).to_string();
        let approved = world.post(&path, &bea, &echo).await.ok();
        assert_eq!(at(&approved, "/state"), "approved");
        let id = json!({"decision": at(&held, "/id")}).to_string();
        let refused = world.post("/api/v1/policies/release", &ann, &id).await;
        refused.refused(409, "no_permit");
    }
    assert_eq!(at(&current(&world, &ann).await, "/bundle"), digest(BUNDLE));
}

/// Bundles that would lock everybody out of their replacement, once in force: the way stays open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bundle_locks_its_own_replacement_out() {
    let hostile = r#"
version: v1
floor:
  - id: nobody-publishes
    match: { surfaces: ["policy.*", "key.*", "role.*", "override.*"] }
    decision: deny
rules:
  - id: unicorns
    match: { surfaces: ["policy.*"] }
    decision: require_approval
    approval: { roles: { unicorn: 3 }, expires: 1s }
  - id: everybody
    match: { surfaces: ["policy.*"] }
    decision: allow
surfaces:
  policy.publish: { deadline: 1ms }
"#;
    let world = World::with(Some(hostile), false, ServerOptions::default()).await;
    let ann = world.admin.clone();
    // Keys are denied, and that is repaired by another bundle, by the one admin there is.
    let key = r#"{"actor":"human:bea","environment":"production","roles":["admin"]}"#;
    world.post("/api/v1/keys", &ann, key).await.refused(403, "not_permitted");
    world.post(POLICIES, &ann, &keyed(BUNDLE, "p1")).await.ok();
    let bea = world.post("/api/v1/keys", &ann, key).await.json();
    let bea = at(&bea, "/key").to_owned();
    // With two, both are needed for the hostile one, and both suffice to be rid of it again.
    let held = world.post(POLICIES, &ann, &keyed(hostile, "p2")).await;
    assert_eq!(held.json()["decision"]["approval"]["roles"], json!({"admin": 1}));
    vote(&world, &held, &bea).await.ok();
    assert_eq!(at(&current(&world, &ann).await, "/bundle"), digest(hostile));
    let held = world.post(POLICIES, &bea, &keyed(&rules(1, "deny"), "p3")).await;
    vote(&world, &held, &ann).await.ok();
    assert_eq!(at(&current(&world, &ann).await, "/bundle"), digest(&rules(1, "deny")));
    check_log(world, &ann).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_person_goes_back_at_once_and_is_reviewed() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let robo = world.key("agent:robo", &["operator"]).await;
    let eve = world.key("human:eve", &["auditor"]).await;
    world.post(ROLLBACK, &olga, "{}").await.refused(409, "nothing_before");
    world.post(POLICIES, &ann, &keyed(&rules(1, "deny"), "p1")).await.ok();
    assert_eq!(at(&current(&world, &bot).await, "/preceding"), digest(BUNDLE));
    world.post(ROLLBACK, &bot, "{}").await.refused(403, "role_missing");
    world.post(ROLLBACK, &eve, "{}").await.refused(403, "role_missing");
    world.post(ROLLBACK, &robo, "{}").await.refused(403, "not_human");
    let named = json!({"bundle": digest(BUNDLE)}).to_string();
    world.post(ROLLBACK, &olga, &named).await.refused(403, "role_missing");
    let back = world.post(ROLLBACK, &olga, r#"{"reason":"transfers fail"}"#).await.ok();
    assert_eq!([at(&back, "/how"), at(&back, "/author")], ["emergency", "human:olga"]);
    assert_eq!(at(&back, "/bundle"), digest(BUNDLE));
    assert!(back["review_by"].is_string(), "{back}");
    assert_eq!(outcome(&world, &bot, "a").await, "PERMIT");
    // Not twice, and not forth again by one person's word.
    world.post(ROLLBACK, &olga, "{}").await.refused(409, "nothing_before");
    let path = format!("{POLICIES}/reviews/{}", at(&back, "/decision"));
    world.post(&path, &olga, "{}").await.refused(403, "own_review");
    world.post(&path, &bot, "{}").await.refused(403, "role_missing");
    assert_eq!(at(&current(&world, &eve).await, "/reviews/0/by"), "human:olga");
    let world = world.restart().await;
    world.post(&path, &eve, r#"{"note":"it was right"}"#).await.ok();
    world.post(&path, &eve, "{}").await.refused(404, "not_found");
    assert_eq!(current(&world, &eve).await["reviews"], json!([]));

    // What was left is withdrawn: it never comes back, by nobody's word.
    let left = format!("{POLICIES}/{}/withdraw", digest(&rules(1, "deny")));
    world.post(&left, &olga, r#"{"reason":"case-1"}"#).await.refused(403, "role_missing");
    world.post(&left, &ann, r#"{"reason":"Case 1"}"#).await.refused(400, "field_invalid");
    world.post(&left, &ann, r#"{"reason":"case-1"}"#).await.ok();
    let held = format!("{POLICIES}/{}/withdraw", digest(BUNDLE));
    world.post(&held, &ann, r#"{"reason":"case-1"}"#).await.refused(409, "bundle_in_force");
    let again = world.post(POLICIES, &ann, &keyed(&rules(1, "deny"), "p2")).await;
    again.refused(409, "bundle_withdrawn");
    let to = json!({"bundle": digest(&rules(1, "deny"))}).to_string();
    world.post(ROLLBACK, &ann, &to).await.refused(409, "bundle_withdrawn");
    let unknown = json!({"bundle": digest(&rules(9, "deny"))}).to_string();
    world.post(ROLLBACK, &ann, &unknown).await.refused(404, "not_found");
    let history = world.get(POLICIES, &eve).await.ok();
    let told: Vec<_> = (0..3)
        .map(|n| (at(&history["policies"][n], "/how"), &history["policies"][n]["withdrawn"]))
        .collect();
    assert_eq!(
        told,
        [("emergency", &json!(false)), ("published", &json!(true)), ("seeded", &json!(false))]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_rollback_takes_two() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bea = world.key("human:bea", &["admin"]).await;
    for (n, by, other) in [(1, &ann, &bea), (2, &bea, &ann)] {
        let held = world.post(POLICIES, by, &keyed(&rules(n, "deny"), "p")).await;
        vote(&world, &held, other).await.ok();
    }
    let to = json!({"bundle": digest(BUNDLE), "idempotency_key": "r1"}).to_string();
    let held = world.post(ROLLBACK, &ann, &to).await;
    vote(&world, &held, &bea).await.ok();
    let back = world.post(ROLLBACK, &ann, &to).await.ok();
    assert_eq!([at(&back, "/how"), at(&back, "/bundle")], ["rolled_back", &digest(BUNDLE)]);
    assert_eq!(back["review_by"], Value::Null);
    assert_eq!(current(&world, &ann).await["preceding"], Value::Null);
    check_log(world, &ann).await;
}

struct Author {
    key: VerifierKey,
    signer: MemorySigner,
}

impl Author {
    fn new(name: &str, seed: u8) -> Self {
        let signer = MemorySigner::from_seed(&[seed; 32]).unwrap();
        Self { key: VerifierKey::new::<Fast>(name, signer.public_key()).unwrap(), signer }
    }

    fn sign(&self, digest: &str) -> Value {
        let digest = Digest::parse(digest).unwrap();
        let made = BundleSignature::sign(digest, self.key.clone(), |bytes| self.signer.sign(bytes));
        serde_json::from_str(&made.envelope().to_text()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_authors_count_unsigned_bundles_are_refused() {
    const AUTHORS: &str = "/api/v1/policies/authors";
    let world = World::new().await;
    let ann = world.admin.clone();
    let bea = world.key("human:bea", &["admin"]).await;
    let olga = Author::new("risk-team", 1);
    let other = Author::new("somebody", 2);
    let trust = json!({"key": olga.key.to_string(), "idempotency_key": "a1"}).to_string();
    world.post(AUTHORS, &ann, r#"{"key":"x"}"#).await.refused(400, "field_invalid");
    let held = world.post(AUTHORS, &ann, &trust).await;
    vote(&world, &held, &bea).await.ok();
    world.post(AUTHORS, &ann, &trust).await.ok();
    world.post(AUTHORS, &ann, &trust).await.ok();
    assert_eq!(at(&current(&world, &ann).await, "/authors/0/key"), olga.key.to_string());

    let new = rules(1, "deny");
    let (good, wrong) = (olga.sign(&digest(&new)), olga.sign(&digest(BUNDLE)));
    let mut forged = other.sign(&digest(&new));
    forged["signatures"][0]["keyid"] = json!(olga.key.to_string());
    let send = |signature: Option<Value>, key: &str| {
        let mut more = json!({"idempotency_key": key});
        if let Some(signature) = signature {
            more["signature"] = signature;
        }
        let (world, ann, text) = (&world, &ann, body(&new, more));
        async move { world.post(POLICIES, ann, &text).await }
    };
    let unsigned = [None, Some(wrong), Some(other.sign(&digest(&new))), Some(forged)];
    for (n, signature) in unsigned.into_iter().enumerate() {
        send(signature, &format!("x{n}")).await.refused(409, "bundle_unsigned");
    }
    for (part, broken) in
        [("payloadType", json!("x")), ("payload", json!("e30=")), ("signatures", json!([]))]
    {
        let mut envelope = good.clone();
        envelope[part] = broken;
        send(Some(envelope), "y").await.refused(400, "field_invalid");
    }
    let held = send(Some(good.clone()), "p1").await;
    vote(&world, &held, &bea).await.ok();
    let done = send(Some(good.clone()), "p1").await.ok();
    assert_eq!(at(&done, "/signed_by"), olga.key.to_string());
    // The envelope comes back from the log, and says the same.
    let path = format!("{POLICIES}/{}?signature=true", digest(&new));
    assert_eq!(world.get(&path, &ann).await.ok()["signature"], good);
    let before = format!("{POLICIES}/{}?signature=true", digest(BUNDLE));
    world.get(&before, &ann).await.refused(404, "not_found");
    // Going back to what nobody signed is refused as well; so is what a revoked author signed.
    world.post(ROLLBACK, &bea, "{}").await.refused(409, "bundle_unsigned");
    let held = world
        .post(
            POLICIES,
            &ann,
            &body(
                &rules(2, "deny"),
                json!({
                    "idempotency_key": "p2", "signature": olga.sign(&digest(&rules(2, "deny"))),
                }),
            ),
        )
        .await;
    let two = json!({"key": other.key.to_string(), "idempotency_key": "a2"}).to_string();
    let trusted = world.post(AUTHORS, &bea, &two).await;
    vote(&world, &trusted, &ann).await.ok();
    world.post(AUTHORS, &bea, &two).await.ok();
    let gone = json!({"key": olga.key.to_string(), "idempotency_key": "a3"}).to_string();
    let revoked = world.post("/api/v1/policies/authors/revoke", &bea, &gone).await;
    vote(&world, &revoked, &ann).await.ok();
    world.post("/api/v1/policies/authors/revoke", &bea, &gone).await.ok();
    assert_eq!(at(&vote(&world, &held, &bea).await.ok(), "/state"), "approved");
    let id = json!({"decision": at(&held.json(), "/decision/id")}).to_string();
    world.post("/api/v1/policies/release", &bea, &id).await.refused(409, "bundle_unsigned");
    check_log(world, &ann).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workspaces_do_not_see_each_others_bundles() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let made = world.post("/api/v1/workspaces", &ann, r#"{"name":"other","admin":"human:zoe"}"#);
    let zoe = at(&made.await.json(), "/key").to_owned();
    let own = rules(1, "deny");
    world.post(POLICIES, &zoe, &keyed(&own, "p1")).await.ok();
    let path = format!("{POLICIES}/{}", digest(&own));
    world.get(&path, &ann).await.refused(404, "not_found");
    assert_eq!(world.get(&path, &zoe).await.status, 200);
    assert_eq!(at(&current(&world, &ann).await, "/bundle"), digest(BUNDLE));
    let to = json!({"bundle": digest(&own)}).to_string();
    world.post(ROLLBACK, &ann, &to).await.refused(404, "not_found");
    let withdraw = format!("{path}/withdraw");
    world.post(&withdraw, &ann, r#"{"reason":"x"}"#).await.refused(404, "not_found");
}
