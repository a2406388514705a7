//! Signing keys that follow each other: handing over, following, revoking.

use crate::world::{World, at};
use placet_tlog::Trust;
use placet_tlog::compare::{Comparison, Paper, compare};
use placet_tlog::trust::{KeyStatus, RotationError};
use placet_tlog::verify::{PortableHasher, VerifyError, verify_receipt};
use serde_json::Value;
use std::sync::Arc;

const ROTATE: &str = "/api/v1/signers/rotate";
const REVOKE: &str = "/api/v1/signers/revoke";

async fn trust(world: &World) -> Trust {
    let text = world.get("/.well-known/placet-keys", "").await.text;
    Trust::parse::<PortableHasher>(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

async fn receipt(world: &World, key: &str, id: &str) -> String {
    let answer = world.get(&format!("/api/v1/receipts/{id}"), key).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text
}

/// Ranges and states of the keys of one log, oldest first.
fn ranges(trust: &Trust, workspace: &str) -> Vec<(u64, Option<u64>, KeyStatus)> {
    let of = |name: &str| name.rsplit('/').next() == Some(workspace);
    let keys = trust.keys().iter().filter(|key| of(key.key.name()));
    keys.map(|key| (key.from_size, key.to_size, key.status)).collect()
}

fn vkey(trust: &Trust, workspace: &str, at: usize) -> String {
    let of = |name: &str| name.rsplit('/').next() == Some(workspace);
    trust.keys().iter().filter(|key| of(key.key.name())).nth(at).unwrap().key.to_string()
}

fn index(document: &Value, log: usize) -> u64 {
    document["logs"][log]["index"].as_u64().unwrap_or_else(|| panic!("{document}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_on_across_a_rotation() {
    let world = World::new().await;
    let (ann, bot) = (world.admin.clone(), world.key("agent:bot", &[]).await);
    let other = world.post("/api/v1/workspaces", &ann, r#"{"name":"other","admin":"human:zoe"}"#);
    assert_eq!(other.await.status, 201);
    let before = world.decide(&bot, "before", "").await;
    let before = at(&before, "/id").to_owned();
    let old_trust = trust(&world).await;
    let old_receipt = receipt(&world, &bot, &before).await;
    assert_eq!(world.get("/.well-known/placet-handovers", "").await.text, "");

    let rotated = world.post(ROTATE, &ann, "{}").await.ok();
    let (main, beside) = (index(&rotated, 0), index(&rotated, 1));
    let new_trust = trust(&world).await;
    use KeyStatus::{Active, Retired};
    let want = |n| [(0, Some(n), Retired), (n + 1, None, Active)];
    assert_eq!(ranges(&new_trust, "main"), want(main));
    assert_eq!(ranges(&new_trust, "other"), want(beside));
    assert_eq!(at(&rotated, "/logs/0/vkey"), vkey(&new_trust, "main", 1));

    // What was signed before stays good; what is signed now needs the new key.
    verify_receipt(old_receipt.as_bytes(), &new_trust).unwrap();
    let after = world.decide(&bot, "after", "").await;
    let after = receipt(&world, &bot, at(&after, "/id")).await;
    let proven = verify_receipt(after.as_bytes(), &new_trust).unwrap();
    assert_eq!(proven.key_id, new_trust.keys()[1].key.id());
    assert_eq!(verify_receipt(after.as_bytes(), &old_trust), Err(VerifyError::UnknownKey));
    let again = receipt(&world, &bot, &before).await;
    verify_receipt(again.as_bytes(), &new_trust).unwrap();
    let papers = [&old_receipt, &again].map(|text| Paper::verify(text.as_bytes(), &new_trust));
    let [old, new] = papers.map(Result::unwrap);
    assert!(matches!(compare(&old, &new, None), Comparison::Consistent { .. }));

    // The handover's own receipt, and the chain, lead an old trust file to the new key.
    let path = format!("/api/v1/receipts/{}?index={main}", at(&rotated, "/decision"));
    let handover = world.get(&path, &ann).await;
    let proven = verify_receipt(handover.text.as_bytes(), &new_trust).unwrap();
    assert!(String::from_utf8(proven.entry).unwrap().contains("placet/handover/1"));
    let chain = world.get("/.well-known/placet-handovers", "").await.text;
    let followed = old_trust.accept_chain(&chain).unwrap();
    let sorted = |trust: &Trust| {
        let mut keys: Vec<String> = trust.keys().iter().map(|key| format!("{key:?}")).collect();
        keys.sort();
        keys
    };
    assert_eq!(sorted(&followed), sorted(&new_trust), "the log and its handovers say the same");

    // A second one, over a restart from snapshots; the kill switch stays armed.
    let world = world.restart().await;
    let notices = world.started.as_ref().unwrap().notices.clone();
    assert_eq!(notices, Vec::<String>::new());
    let metrics = world.get("/metrics", "").await.text;
    assert!(
        metrics.contains("\nplacet_start_folded_total 0\n"),
        "no snapshot of the old key is used"
    );
    world.post(ROTATE, &ann, "{}").await.ok();
    let last_trust = trust(&world).await;
    assert_eq!(ranges(&last_trust, "main").len(), 3);
    let world = world.restart().await;
    assert_eq!(sorted(&trust(&world).await), sorted(&last_trust));
    let chain = world.get("/.well-known/placet-handovers", "").await.text;
    assert_eq!(sorted(&old_trust.accept_chain(&chain).unwrap()), sorted(&last_trust));
    let again = world.decide(&bot, "before", "").await;
    assert_eq!((at(&again, "/id"), at(&again, "/outcome")), (before.as_str(), "PERMIT"));
    for text in [old_receipt, after, receipt(&world, &bot, &before).await] {
        verify_receipt(text.as_bytes(), &last_trust).unwrap();
    }
    // A workspace that is made now begins with the key in force.
    let made = world.post("/api/v1/workspaces", &ann, r#"{"name":"young","admin":"human:yan"}"#);
    assert_eq!(made.await.status, 201);
    assert_eq!(ranges(&trust(&world).await, "young"), [(0, None, Active)]);
    let found = world.get("/api/v1/audit?type=signer.rotated", &ann).await.ok();
    assert_eq!(found["entries"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_admins_rotate_together_and_nobody_else_does() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    let made = world.post("/api/v1/workspaces", &ann, r#"{"name":"other","admin":"human:zoe"}"#);
    let zoe = at(&made.await.json(), "/key").to_owned();
    let bea = world.key("human:bea", &["admin"]).await;
    for key in [&bot, &olga] {
        world.post(ROTATE, key, "{}").await.refused(403, "role_missing");
    }
    world.post(ROTATE, "", "{}").await.refused(401, "key_missing");
    assert_eq!(world.post(ROTATE, &zoe, "{}").await.status, 403);
    world.post(ROTATE, &ann, r#"{"size":1}"#).await.refused(400, "field_unknown");
    let body = r#"{"idempotency_key":"autumn"}"#;
    let held = world.post(ROTATE, &ann, body).await;
    assert_eq!(held.status, 202, "{held:?}");
    assert_eq!(ranges(&trust(&world).await, "main").len(), 1);
    approve(&world, &held.json(), &bea).await;
    world.post(ROTATE, &ann, body).await.ok();
    assert_eq!(ranges(&trust(&world).await, "main").len(), 2);
    world.post(ROTATE, &ann, body).await.refused(409, "permit_consumed");
    // Revoking takes two as well.
    let old = vkey(&trust(&world).await, "main", 0);
    let body = format!(r#"{{"vkey":"{old}","idempotency_key":"stolen"}}"#);
    let held = world.post(REVOKE, &bea, &body).await;
    assert_eq!(held.status, 202, "{held:?}");
    approve(&world, &held.json(), &ann).await;
    world.post(REVOKE, &bea, &body).await.ok();
    assert_eq!(ranges(&trust(&world).await, "main")[0].2, KeyStatus::Revoked);
    assert_eq!(ranges(&trust(&world).await, "other")[0].2, KeyStatus::Retired);
}

async fn approve(world: &World, held: &Value, by: &str) {
    let digest = at(held, "/decision/action_digest");
    let path = format!("/api/v1/approvals/{}/approve", at(held, "/decision/approval/id"));
    world.post(&path, by, &format!(r#"{{"action_digest":"{digest}"}}"#)).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_counts_no_more_from_its_size_on() {
    let world = World::new().await;
    let (ann, bot) = (world.admin.clone(), world.key("agent:bot", &[]).await);
    let made = world.post("/api/v1/workspaces", &ann, r#"{"name":"other","admin":"human:zoe"}"#);
    assert_eq!(made.await.status, 201);
    let mut held = Vec::new();
    for n in 0..4 {
        let made = world.decide(&bot, &format!("d{n}"), "").await;
        held.push((world.size(), receipt(&world, &bot, at(&made, "/id")).await));
    }
    let first = trust(&world).await;
    let old = vkey(&first, "main", 0);
    let body = |more: &str| format!(r#"{{"vkey":"{old}"{more}}}"#);
    world.post(REVOKE, &ann, &body("")).await.refused(409, "signer_in_force");
    world.post(REVOKE, &ann, r#"{"vkey":"x"}"#).await.refused(400, "field_invalid");
    world.post(REVOKE, &ann, "{}").await.refused(400, "field_missing");
    let rotated = world.post(ROTATE, &ann, "{}").await.ok();
    let last = index(&rotated, 0);
    let foreign = vkey(&trust(&world).await, "other", 0);
    let foreign = format!(r#"{{"vkey":"{foreign}"}}"#);
    world.post(REVOKE, &ann, &foreign).await.refused(404, "not_found");
    let beyond = body(&format!(r#","from_size":{}"#, last + 1));
    world.post(REVOKE, &ann, &beyond).await.refused(400, "field_invalid");
    world.post(REVOKE, &ann, &body(r#","from_size":-1"#)).await.refused(400, "field_invalid");
    let both = body(r#","from_size":1,"everywhere":true"#);
    world.post(REVOKE, &ann, &both).await.refused(400, "field_invalid");

    let from = held[2].0;
    let revoked = world.post(REVOKE, &ann, &body(&format!(r#","from_size":{from}"#))).await.ok();
    assert_eq!(revoked["logs"].as_array().map(Vec::len), Some(1));
    let partly = trust(&world).await;
    assert_eq!(ranges(&partly, "main")[0], (0, Some(from - 1), KeyStatus::Retired));
    for (size, text) in &held {
        let verified = verify_receipt(text.as_bytes(), &partly);
        let refused = (*size >= from).then_some(VerifyError::KeyOutOfRange);
        assert_eq!(verified.err(), refused, "{size} of {from}");
    }
    // What the log holds is not lost: the key in force vouches for it again.
    let id = at(&world.decide(&bot, "d3", "").await, "/id").to_owned();
    verify_receipt(receipt(&world, &bot, &id).await.as_bytes(), &partly).unwrap();

    let revoked = world.post(REVOKE, &ann, &body(r#","everywhere":true"#)).await.ok();
    assert_eq!(revoked["logs"].as_array().map(Vec::len), Some(2));
    let world = world.restart().await;
    let none = trust(&world).await;
    for workspace in ["main", "other"] {
        assert_eq!(ranges(&none, workspace)[0].2, KeyStatus::Revoked, "{workspace}");
        assert_eq!(ranges(&none, workspace)[1].2, KeyStatus::Active, "{workspace}");
    }
    let refused = verify_receipt(held[0].1.as_bytes(), &none);
    assert_eq!(refused, Err(VerifyError::KeyRevoked));
    verify_receipt(receipt(&world, &bot, &id).await.as_bytes(), &none).unwrap();
    // It vouches for nobody, and who has the new trust file needs nobody to.
    let chain = world.get("/.well-known/placet-handovers", "").await.text;
    let id = first.keys()[0].key.id();
    let alone = first.revoke(first.keys()[0].key.name(), id, None).unwrap();
    assert_eq!(alone.accept_chain(&chain).unwrap_err().error, RotationError::OldKeyRevoked);
    assert_eq!(none.accept_chain(&chain), Ok(none.clone()));
    assert_eq!(partly.accept_chain(&chain), Ok(partly.clone()));
    let found = world.get("/api/v1/audit?type=signer.revoked", &ann).await.ok();
    assert_eq!(found["entries"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_go_on_while_keys_rotate() {
    let world = Arc::new(World::new().await);
    let (ann, bot) = (world.admin.clone(), world.key("agent:bot", &[]).await);
    let mut callers = Vec::new();
    for caller in 0..4 {
        let (world, bot) = (world.clone(), bot.clone());
        callers.push(tokio::spawn(async move {
            let mut receipts = Vec::new();
            for n in 0..25 {
                let made = world.decide(&bot, &format!("{caller}-{n}"), "").await;
                receipts.push(receipt(&world, &bot, at(&made, "/id")).await);
            }
            receipts
        }));
    }
    for _ in 0..3 {
        world.post(ROTATE, &ann, "{}").await.ok();
    }
    let trust = trust(&world).await;
    assert_eq!(ranges(&trust, "main").len(), 4);
    let mut signed_by = std::collections::BTreeSet::new();
    for caller in callers {
        for text in caller.await.unwrap() {
            let proven = verify_receipt(text.as_bytes(), &trust).unwrap();
            signed_by.insert(proven.key_id);
        }
    }
    assert!(!signed_by.is_empty());
}
