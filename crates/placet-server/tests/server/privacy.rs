//! Erasing, legal holds, retention, and what is left of a payload afterwards: nothing.

use crate::world::{BIG, World, at, request};
use placet_runtime::crypto::Fast;
use placet_runtime::frame::{SaltFor, SlotKeys, frames};
use placet_runtime::ports::{JournalReader, PortError, Secret, SlotReader, WorkspaceKeys};
use placet_runtime::replay::{Report, Sources, replay};
use placet_server::ServerOptions;
use placet_store::{DataDir, Identity};
use placet_tlog::trust::Trust;
use placet_tlog::verify::{PortableHasher, verify_receipt};
use placet_types::event::{Entry, Event};
use placet_types::hash::{Hasher, hex_decode, hex_encode};
use placet_types::ids::{ActorId, WorkspaceName};

use placet_types::{Caller, Digest, Request};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const SUBJECT: &str = "Maria Musterfrau 4711";
const NONCE: &str = "nonce-nonce-nonce-1";

/// A slot with everything that opens what it sealed.
#[derive(Clone)]
struct Captured {
    wrapped: Vec<u8>,
    derived: Vec<Vec<u8>>,
}

/// The slots of all payloads about a decision.
fn capture(world: &World, decision: &str) -> Vec<Captured> {
    let data = DataDir::open_read_only(&world.data()).unwrap();
    let (reader, slots) = (data.journal_reader().unwrap(), data.slot_reader().unwrap());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let keys = Connection::open_with_flags(world.data().join("keys.db"), flags).unwrap();
    let mut captured = Vec::new();
    for batch in reader.read(world.root().no, 0, usize::MAX).unwrap() {
        for frame in frames(&batch.frames) {
            let frame = frame.unwrap();
            let entry = Entry::parse(frame.entry).unwrap();
            let about = placet_runtime::event_decision(&entry.event);
            if frame.payload.is_empty() || about.is_none_or(|id| id.to_string() != decision) {
                continue;
            }
            let (first, block): (i64, Vec<u8>) = keys
                .query_row(
                    "SELECT first, wrapped FROM block WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
                    [i64::try_from(frame.slot).unwrap()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .unwrap();
            let at = usize::try_from(frame.slot).unwrap() - usize::try_from(first).unwrap();
            let secret: Secret = slots.secret(frame.slot).unwrap().expect("not erased yet");
            let opener = SlotKeys::new(&secret);
            let salts = [SaltFor::Action, SaltFor::Request, SaltFor::Facts, SaltFor::Payload];
            let mut derived: Vec<Vec<u8>> = salts.map(|salt| opener.salt(salt).to_vec()).into();
            derived.push(Fast::hmac(secret.as_ref(), &[b"placet/seal/1"]).to_vec());
            derived.push(secret.to_vec());
            captured.push(Captured { wrapped: block[at * 48..(at + 1) * 48].to_vec(), derived });
        }
    }
    captured
}

/// Every file below a directory, as it is on disk.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found
}

fn contains(files: &[(PathBuf, Vec<u8>)], wanted: &[u8]) -> Option<PathBuf> {
    let holds = |bytes: &[u8]| {
        bytes.windows(wanted.len()).any(|window| window[0] == wanted[0] && window == wanted)
    };
    files.iter().find(|(_, bytes)| holds(bytes)).map(|(path, _)| path.clone())
}

/// Whether any part of a wrapped secret is there; it may lie on two pages.
fn traces(files: &[(PathBuf, Vec<u8>)], wrapped: &[u8]) -> usize {
    wrapped.chunks(16).filter(|chunk| contains(files, chunk).is_some()).count()
}

fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_file() && wanted(&name) {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

struct Keys(Identity);

impl WorkspaceKeys for Keys {
    fn workspace_key(&self, name: &WorkspaceName) -> Result<Option<Secret>, PortError> {
        self.0.workspace_key(name)
    }
}

pub(crate) fn replayed(data: &Path) -> Report {
    let dir = DataDir::open_read_only(data).unwrap();
    let (reader, slots) = (dir.journal_reader().unwrap(), dir.slot_reader().unwrap());
    let keys = Keys(dir.identity().unwrap());
    let sources = Sources { reader: &reader, slots: &slots, keys: &keys, bundle: None };
    replay(&sources, &mut |_| {}).unwrap()
}

async fn erase(world: &World, key: &str, body: Value) -> Value {
    world.post("/api/v1/audit/erase", key, &body.to_string()).await.ok()
}

fn personal(idempotency: &str, more: &str) -> String {
    request(idempotency, &format!(r#","subjects":["{SUBJECT}"]{more}"#))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_erasing_no_file_holds_key_salts_or_plain_bytes() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let plain = ["PLAIN-IBAN-DE02", "PLAIN-TARGET", "PLAIN-NOTE", "PLAIN-DETAIL", SUBJECT];
    let more = format!(
        r#"{BIG},"target":"PLAIN-TARGET","context":{{"iban":"PLAIN-IBAN-DE02"}},"attempt_nonce":"{NONCE}""#
    );
    // Held, approved with a note, collected, reported: five payloads, four of them about her.
    let held = world.post("/api/v1/decisions", &bot, &personal("p", &more)).await.ok();
    let (id, digest) = (at(&held, "/id").to_owned(), at(&held, "/action_digest").to_owned());
    let path = format!("/api/v1/approvals/{}/approve", at(&held, "/approval/id"));
    let vote = json!({"action_digest": digest, "note": "PLAIN-NOTE"}).to_string();
    world.post(&path, &olga, &vote).await.ok();
    let place = format!("/api/v1/decisions/{id}");
    let nonce = [("placet-attempt-nonce", NONCE)];
    let collected = world.call("GET", &place, &bot, &nonce, "").await.ok();
    assert_eq!(at(&collected, "/outcome"), "PERMIT");
    let outcome = json!({"result": "succeeded", "detail": {"note": "PLAIN-DETAIL"}}).to_string();
    world.post(&format!("{place}/outcome"), &bot, &outcome).await.ok();
    let other = world.decide(&bot, "other", r#","subjects":["Hans"]"#).await;

    let captured = capture(&world, &id);
    let kept = capture(&world, at(&other, "/id"));
    assert_eq!((captured.len(), kept.len()), (4, 1));
    let backup = tempfile::tempdir().unwrap();
    // What is meant by a back-up of the data: all of it but the payload keys.
    copy(&world.data(), backup.path(), |name| !name.starts_with("keys.db"));
    let on_disk = files(&world.data());
    assert!(on_disk.iter().any(|(path, _)| path.ends_with("keys.db-wal")));
    for slot in captured.iter().chain(&kept) {
        assert!(traces(&on_disk, &slot.wrapped) >= 2, "the search does not find what is there");
        assert_eq!(traces(&files(backup.path()), &slot.wrapped), 0);
    }
    let nowhere = |when: &str| {
        for place in [world.data(), backup.path().to_owned()] {
            let found = files(&place);
            for bytes in captured.iter().flat_map(|slot| &slot.derived) {
                assert_eq!(contains(&found, bytes), None, "{when}: a key or salt in the clear");
            }
            for text in plain {
                assert_eq!(contains(&found, text.as_bytes()), None, "{when}: {text}");
            }
        }
    };
    nowhere("before");
    let receipts = format!("/api/v1/receipts/{id}");
    let receipt = world.get(&receipts, &bot).await;
    let opened = world.get(&format!("{receipts}?payload=true"), &bot).await.ok();
    assert_eq!(at(&opened, "/payload/request/target"), "PLAIN-TARGET");

    let planned = erase(&world, &ann, json!({"subject": SUBJECT, "dry_run": true})).await;
    assert_eq!(planned["payloads"], 4, "{planned}");
    assert_eq!(
        (planned["decisions"].as_u64(), planned["dry_run"].as_bool()),
        (Some(1), Some(true))
    );
    let size = world.size();
    let erased = erase(&world, &ann, json!({"subject": SUBJECT, "reason": "gdpr.art17"})).await;
    assert_eq!(erased["payloads"], 4, "{erased}");
    assert_eq!(erased["destroyed"], true, "{erased}");
    assert_eq!(erased["entries"].as_array().map(Vec::len), Some(1));
    assert!(world.size() > size);

    let on_disk = files(&world.data());
    for slot in &captured {
        assert_eq!(traces(&on_disk, &slot.wrapped), 0, "a wrapped secret is still there");
    }
    assert!(traces(&on_disk, &kept[0].wrapped) >= 2, "somebody else's is gone");
    nowhere("after");

    // Nothing else is affected: proofs, the other payload, replay.
    let trust = world.get("/.well-known/placet-keys", "").await;
    let trust = Trust::parse::<PortableHasher>(trust.text.as_bytes()).unwrap();
    verify_receipt(receipt.text.as_bytes(), &trust).unwrap();
    let again = world.get(&receipts, &bot).await;
    verify_receipt(again.text.as_bytes(), &trust).unwrap();
    world.get(&format!("{receipts}?payload=true"), &bot).await.refused(409, "payload_erased");
    let body = personal("p", &more);
    world.post("/api/v1/decisions", &bot, &body).await.refused(409, "payload_erased");
    let seen = world.get(&place, &bot).await.ok();
    assert!(seen["action_digest"].is_null(), "{seen}");
    let path = format!("/api/v1/receipts/{}?payload=true", at(&other, "/id"));
    world.get(&path, &bot).await.ok();
    let report = replayed(&world.data());
    assert_eq!((report.differences, report.re_stepped), (0, 1), "{report:?}");
    assert!(report.re_evaluated >= 3);

    // Asked again there is nothing to do, and nobody is asked.
    let size = world.size();
    let none = erase(&world, &ann, json!({"subject": SUBJECT})).await;
    assert_eq!((none["payloads"].as_u64(), none["erased_before"].as_u64()), (Some(0), Some(4)));
    assert_eq!(world.size(), size);
    // The log says so without a name.
    let found = world.get("/api/v1/audit?type=payload.erased", &ann).await.ok();
    let data = &found["entries"][0]["entry"]["predicate"]["data"];
    assert_eq!(at(data, "/reason"), "gdpr.art17");
    assert_eq!(data["indices"].as_array().map(Vec::len), Some(4));
    assert!(at(data, "/by").len() > 60 && data.get("subject").is_none(), "{data}");
    // A search by name finds the entry, which shows a tag.
    let path = "/api/v1/audit?type=decision&subject=Maria%20Musterfrau%204711";
    let found = world.get(path, &ann).await.ok();
    assert_eq!(found["entries"].as_array().map(Vec::len), Some(1), "{found}");
}

/// Killed after the entry was durable and before its keys were destroyed: then `keys.db` is as it
/// was before. The same holds for an older copy of it that is put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_is_destroyed_at_the_next_start() {
    let world = World::new().await;
    let (ann, bot) = (world.admin.clone(), world.key("agent:bot", &[]).await);
    let one = world.post("/api/v1/decisions", &bot, &personal("1", "")).await.ok();
    let two = world.post("/api/v1/decisions", &bot, &personal("2", "")).await.ok();
    let kept = world.decide(&bot, "3", "").await;
    let captured = [capture(&world, at(&one, "/id")), capture(&world, at(&two, "/id"))].concat();
    let before = tempfile::tempdir().unwrap();
    copy(&world.data(), before.path(), |name| name.starts_with("keys.db"));
    erase(&world, &ann, json!({"decision": at(&one, "/id")})).await;
    erase(&world, &ann, json!({"decision": at(&two, "/id")})).await;
    let world = world
        .restart_after(|data| {
            for name in ["keys.db", "keys.db-wal", "keys.db-shm"] {
                let _ = std::fs::remove_file(data.join(name));
            }
            copy(before.path(), data, |name| name != "keys.db-shm");
            let on_disk = files(data);
            assert!(captured.iter().all(|slot| traces(&on_disk, &slot.wrapped) >= 2));
        })
        .await;
    let on_disk = files(&world.data());
    for slot in &captured {
        assert_eq!(traces(&on_disk, &slot.wrapped), 0);
    }
    for id in [at(&one, "/id"), at(&two, "/id")] {
        let path = format!("/api/v1/receipts/{id}?payload=true");
        world.get(&path, &bot).await.refused(409, "payload_erased");
    }
    let path = format!("/api/v1/receipts/{}?payload=true", at(&kept, "/id"));
    world.get(&path, &bot).await.ok();
    // Once more: there is nothing left to do, and everything still opens.
    let world = world.restart_after(|_| {}).await;
    world.get(&path, &bot).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_alone_allows_no_guessing() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let names: Vec<String> = (0..50).map(|n| format!("customer-{n}")).collect();
    let body = |amount: u32, key: &str| {
        format!(
            r#"{{"surface":"payments.transfer","action":"create","idempotency_key":"{key}","arguments":{{"amount":{amount}}},"target":"customer-7","subjects":["customer-7"]}}"#
        )
    };
    let decided = world.post("/api/v1/decisions", &bot, &body(417, "g")).await.ok();
    let id = at(&decided, "/id").to_owned();
    let index = decided.pointer("/log/index").and_then(Value::as_u64).unwrap();
    let entry = world.plane.log_entry(&world.root(), index).unwrap();
    let Event::Decision(event) = &entry.entry.event else { panic!("{entry:?}") };
    let caller = Caller {
        workspace: WorkspaceName::parse("main").unwrap(),
        environment: "production".into(),
        actor: ActorId::parse("agent:bot").unwrap(),
        roles: [].into(),
        chain: Vec::new(),
    };
    let candidates: Vec<(u32, Digest)> = (0..1000)
        .map(|amount| {
            let body = placet_types::json::parse(
                body(amount, "g").as_bytes(),
                placet_types::json::Limits::REQUEST,
            );
            let request = Request::read(body.unwrap(), &caller).unwrap();
            (amount, request.digests::<Fast>(&caller).action)
        })
        .collect();
    assert_eq!(candidates[417].1.to_string(), at(&decided, "/action_digest"));
    // Whatever of 32 or 16 bytes stands in the entry, as a salt or in the clear.
    let mut known: Vec<Vec<u8>> = vec![vec![], vec![0; 32], entry.bytes.clone()];
    for digest in [event.request_commitment, event.facts_commitment, entry.entry.payload] {
        known.push(digest.0.to_vec());
    }
    known.extend(event.target.map(|target| target.0.to_vec()));
    known.extend(event.subjects.iter().chain([&event.idempotency]).map(|tag| tag.to_vec()));
    known.push(id.clone().into_bytes());
    for (amount, digest) in &candidates {
        assert_ne!(*digest, event.action_commitment, "{amount}");
        for salt in &known {
            let guess = Fast::hmac(salt, &[&digest.0]);
            assert_ne!(guess, event.action_commitment.0, "{amount}");
        }
    }
    for name in &names {
        let mut guesses = vec![Fast::sha256(&[name.as_bytes()])];
        guesses.push(Fast::sha256(&[b"target\0", name.as_bytes()]));
        guesses.push(Fast::sha256(&[b"subject\0", name.as_bytes()]));
        for key in &known {
            guesses.push(Fast::hmac(key, &[b"target\0", name.as_bytes()]));
            guesses.push(Fast::hmac(key, &[b"subject\0", name.as_bytes()]));
        }
        for guess in guesses {
            assert_ne!(Some(guess), event.target.map(|target| target.0), "{name}");
            assert_ne!(guess[..16], event.subjects[0], "{name}");
        }
    }
    // With the salt, exactly one fits: whoever may see the payload can prove what it was.
    let path = format!("/api/v1/receipts/{id}?payload=true");
    let opened = world.get(&path, &bot).await.ok();
    let mut salt = [0; 32];
    hex_decode(at(&opened, "/action/salt"), &mut salt).unwrap();
    let fits = |digest: &Digest| Fast::hmac(&salt, &[&digest.0]) == event.action_commitment.0;
    let found: Vec<u32> =
        candidates.iter().filter(|(_, digest)| fits(digest)).map(|(amount, _)| *amount).collect();
    assert_eq!(found, [417]);
    assert_eq!(at(&opened, "/action/digest"), candidates[417].1.to_string());
    // And with the key of the workspace the one name.
    let tag = world.root().names().subject_tag("customer-7");
    assert_eq!(event.subjects, [tag]);
    for (part, commitment) in
        [("request", event.request_commitment), ("facts", event.facts_commitment)]
    {
        hex_decode(at(&opened, &format!("/{part}/salt")), &mut salt).unwrap();
        let digest = Digest::parse(at(&opened, &format!("/{part}/digest"))).unwrap();
        assert_eq!(Fast::hmac(&salt, &[&digest.0]), commitment.0, "{part}");
    }
    hex_decode(at(&opened, "/payload_salt"), &mut salt).unwrap();
    let payload = serde_json::to_vec(&opened["payload"]).unwrap();
    let payload = placet_types::json::parse(&payload, placet_types::json::Limits::PAYLOAD);
    let payload = payload.unwrap().to_canonical();
    assert_eq!(Fast::hmac(&salt, &[&payload]), entry.entry.payload.0);
    // Somebody else's agent may not look.
    let eve = world.key("agent:eve", &[]).await;
    world.get(&path, &eve).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_admins_erase_and_release_together() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &["operator"]).await;
    let eve = world.key("human:eve", &["auditor"]).await;
    let one = world.post("/api/v1/decisions", &bot, &personal("1", "")).await.ok();
    let bob = world.key("human:bob", &["admin"]).await;
    let place = "/api/v1/audit/erase";
    let body = json!({"subject": SUBJECT, "idempotency_key": "e1"}).to_string();
    world.post(place, &eve, &body).await.refused(403, "not_permitted");
    world.post(place, &bot, &body).await.refused(403, "not_permitted");
    let asked = world.post(place, &ann, &body).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let asked = asked.json();
    let approval = at(&asked, "/decision/approval/id");
    // What the second admin sees names the subject by its tag alone.
    let listed = world.get("/api/v1/approvals", &bob).await;
    let tag = hex_encode(&world.root().names().subject_tag(SUBJECT));
    assert!(listed.text.contains(&tag) && !listed.text.contains(SUBJECT), "{listed:?}");
    let vote = json!({"action_digest": at(&asked, "/decision/action_digest")}).to_string();
    let path = format!("/api/v1/approvals/{approval}/approve");
    world.post(&path, &ann, &vote).await.refused(403, "own_approval");
    world.post(&path, &bob, &vote).await.ok();
    let erased = world.post(place, &ann, &body).await.ok();
    assert_eq!((erased["payloads"].as_u64(), erased["destroyed"].as_bool()), (Some(1), Some(true)));
    assert_eq!(at(&erased, "/decision"), at(&asked, "/decision/id"));
    let path = format!("/api/v1/receipts/{}?payload=true", at(&one, "/id"));
    world.get(&path, &bot).await.refused(409, "payload_erased");

    // A hold takes one of them to place and both to release.
    let hold = json!({"scope": "workspace", "reason": "case-1"}).to_string();
    world.post("/api/v1/holds", &eve, &hold).await.refused(403, "role_missing");
    world.post("/api/v1/holds", &bot, &hold).await.refused(403, "not_human");
    let placed = world.post("/api/v1/holds", &bob, &hold).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let path = format!("/api/v1/holds/{}", at(&placed.json(), "/id"));
    let key = [("idempotency-key", "r1")];
    let asked = world.call("DELETE", &path, &bob, &key, "").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let asked = asked.json();
    let vote = json!({"action_digest": at(&asked, "/decision/action_digest")}).to_string();
    let approve = format!("/api/v1/approvals/{}/approve", at(&asked, "/decision/approval/id"));
    world.post(&approve, &ann, &vote).await.ok();
    world.call("DELETE", &path, &bob, &key, "").await.ok();
    world.call("DELETE", &path, &bob, &key, "").await.refused(404, "not_found");
    assert_eq!(world.get("/api/v1/holds", &eve).await.ok(), json!({"holds": []}));
    assert_eq!(replayed(&world.data()).differences, 0);
}

const RETENTION: &str = r#"
version: v1
rules:
  - id: fine
    match: { surfaces: ["payments.*"] }
    decision: allow
surfaces:
  payments.transfer: { retention: { min: 30d, lawful: [gdpr.art17] } }
  payments.refund: { retention: { payload: 1ms } }
  payments.kept: {}
"#;

async fn on(world: &World, key: &str, surface: &str, subject: &str) -> String {
    let body = json!({"surface": surface, "action": "create", "subjects": [subject],
        "idempotency_key": format!("{surface} {subject}")});
    let decided = world.post("/api/v1/decisions", key, &body.to_string()).await.ok();
    assert_eq!(at(&decided, "/outcome"), "PERMIT");
    at(&decided, "/id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_and_holds_keep_and_retire() {
    let world = World::with(Some(RETENTION), false, ServerOptions::default()).await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let transfer = on(&world, &bot, "payments.transfer", "maria").await;
    let refund = on(&world, &bot, "payments.refund", "maria").await;
    let held = on(&world, &bot, "payments.refund", "hans").await;
    let kept = on(&world, &bot, "payments.kept", "maria").await;
    let place = "/api/v1/audit/erase";
    let post = |body: Value| {
        let (world, ann) = (&world, &ann);
        async move { world.post(place, ann, &body.to_string()).await }
    };
    post(json!({"decision": transfer})).await.refused(409, "retention_running");
    let plan = post(json!({"decision": transfer, "dry_run": true})).await.ok();
    assert_eq!((plan["payloads"].as_u64(), plan["retention"].as_u64()), (Some(0), Some(1)));

    let hold = json!({"scope": "subject", "subject": "hans", "reason": "case-2"}).to_string();
    let placed = world.post("/api/v1/holds", &ann, &hold).await.json();
    post(json!({"decision": held, "reason": "gdpr.art17"})).await.refused(409, "legal_hold");
    let listed = world.get("/api/v1/holds", &ann).await.ok();
    assert_eq!(at(&listed, "/holds/0/placed_by"), "human:ann");
    assert!(!listed.to_string().contains("hans"), "{listed}");

    // By itself: what has its age, and is not held.
    let mut gone = 0;
    while gone == 0 {
        gone = world.plane.erase_due().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(gone, 1);
    let erased = |id: &str| {
        let path = format!("/api/v1/receipts/{id}?payload=true");
        let (world, bot) = (&world, &bot);
        async move { world.get(&path, bot).await.status == 409 }
    };
    assert!(erased(&refund).await && !erased(&held).await && !erased(&kept).await);
    let found = world.get("/api/v1/audit?type=payload.erased", &ann).await.ok();
    let data = &found["entries"][0]["entry"]["predicate"]["data"];
    assert_eq!(at(data, "/reason"), "retention");
    assert!(data.get("by").is_none() && data.get("decision").is_none(), "{data}");
    assert!(at(data, "/policy").starts_with("sha256:"));

    // A reason that the policy names; what is held is left out and counted.
    let both = post(json!({"before": "0s", "reason": "gdpr.art17"})).await.ok();
    assert_eq!(both["legal_hold"], 1, "{both}");
    assert!(erased(&transfer).await && erased(&kept).await && !erased(&held).await);
    let found = world.get("/api/v1/audit?type=payload.erased", &ann).await.ok();
    assert_eq!(found["entries"][0]["entry"]["predicate"]["data"]["early"], true, "{found}");

    // Released, it has its turn again.
    let path = format!("/api/v1/holds/{}", at(&placed, "/id"));
    world.call("DELETE", &path, &ann, &[], "").await.ok();
    assert_eq!(world.plane.erase_due().await.unwrap(), 1);
    assert!(erased(&held).await);
    assert_eq!(world.plane.erase_due().await.unwrap(), 0);
    let world = world.restart_after(|_| {}).await;
    assert_eq!(replayed(&world.data()).differences, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pending_is_withdrawn_with_its_payload() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let gate = world.key("service:gate", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let held = world.decide(&bot, "h", BIG).await;
    let open = world.decide(&bot, "o", r#","audience":"service:gate""#).await;
    for id in [at(&held, "/id"), at(&open, "/id")] {
        let erased = erase(&world, &ann, json!({"decision": id})).await;
        assert_eq!(erased["payloads"], 1, "{erased}");
    }
    let seen = world.get(&format!("/api/v1/decisions/{}", at(&held, "/id")), &bot).await.ok();
    assert_eq!(at(&seen, "/approval/state"), "withdrawn");
    let approval = at(&held, "/approval/id");
    let vote = json!({"action_digest": at(&held, "/action_digest")}).to_string();
    let answer = world.post(&format!("/api/v1/approvals/{approval}/approve"), &olga, &vote).await;
    answer.refused(409, "payload_erased");
    let seen = world.get(&format!("/api/v1/decisions/{}", at(&open, "/id")), &bot).await.ok();
    assert_eq!((at(&seen, "/outcome"), at(&seen, "/permit/state")), ("DENY", "revoked"));
    assert_eq!(at(&seen, "/reasons/0/code"), "payload_erased");
    let path = format!("/api/v1/decisions/{}/consume", at(&open, "/id"));
    world.post(&path, &gate, "").await.refused(409, "payload_erased");
    let report = replayed(&world.data());
    assert_eq!((report.differences, report.re_stepped), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_to_erase_is_said_exactly() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let place = "/api/v1/audit/erase";
    let size = world.size();
    for (body, code) in [
        (json!({}), "field_missing"),
        (json!({"subject": "a", "before": "1h"}), "field_invalid"),
        (json!({"decision": "apr_1"}), "field_invalid"),
        (json!({"before": "2999-01-01T00:00:00Z"}), "field_invalid"),
        (json!({"before": "soon"}), "field_invalid"),
        (json!({"subject": ""}), "field_invalid"),
        (json!({"subject": "a", "reason": "Maria"}), "field_invalid"),
        (json!({"subject": "a", "dry_run": "yes"}), "field_invalid"),
        (json!({"subject": "a", "who": "b"}), "field_unknown"),
    ] {
        world.post(place, &ann, &body.to_string()).await.refused(400, code);
    }
    let unknown = json!({"decision": format!("dec_{}", "0".repeat(32))}).to_string();
    world.post(place, &ann, &unknown).await.refused(404, "not_found");
    let any = json!({"subject": "a"}).to_string();
    world.post(place, &bot, &any).await.refused(403, "role_missing");
    world.get("/api/v1/holds", &bot).await.refused(403, "role_missing");
    for body in [
        json!({"scope": "surface", "reason": "x"}),
        json!({"scope": "subject", "reason": "x"}),
        json!({"scope": "workspace", "subject": "a", "reason": "x"}),
        json!({"scope": "workspace", "reason": "Not a code"}),
    ] {
        let answer = world.post("/api/v1/holds", &ann, &body.to_string()).await;
        answer.refused(400, "field_invalid");
    }
    assert_eq!(world.size(), size, "nothing was half done");
}
