//! Workspaces that nobody asks for: their states leave memory, and nobody notices when they return.

use crate::world::{Answer, World, at, request};
use placet_runtime::Workspace;
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

const BIG: &str = r#","risk_tags":["big"]"#;

/// A world with a second workspace, its admin's key and that of an agent in it.
async fn two() -> (World, Arc<Workspace>, String, String) {
    let world = World::idle_after(Duration::from_millis(100)).await;
    let body = r#"{"name":"other","admin":"human:zoe"}"#;
    let made = world.post("/api/v1/workspaces", &world.admin, body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let zoe = at(&made.json(), "/key").to_owned();
    let other = world.plane.all_workspaces()[1].clone();
    let bot = world.key_in(&other, "agent:bot", &[]).await;
    (world, other, zoe, bot)
}

async fn metric(world: &World, name: &str) -> u64 {
    let text = world.get("/metrics", &world.admin).await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Waits until so many states are away. Metrics do not bring any back.
async fn away(world: &World, count: u64) {
    for _ in 0..500 {
        if metric(world, "placet_idle_workspaces").await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{count} workspaces never were idle");
}

async fn decide(world: &World, key: &str, idempotency: &str, more: &str) -> Answer {
    world.post("/api/v1/decisions", key, &request(idempotency, more)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_state_leaves_memory_and_returns_whole() {
    let (world, other, zoe, bot) = two().await;
    let first = decide(&world, &bot, "k", "").await.ok();
    away(&world, 1).await;
    // Counted without bringing it back.
    let text = world.get("/metrics", &world.admin).await.text;
    // The decision here and the one that made the agent's key.
    let permits = r#"placet_decisions_total{workspace="other",outcome="PERMIT"} 2"#;
    assert!(text.contains(permits), "{text}");
    assert_eq!(metric(&world, "placet_revived_total").await, 0);
    // What was bound is bound: the same request is answered again, another is refused.
    let again = decide(&world, &bot, "k", "").await.ok();
    assert_eq!(at(&again, "/id"), at(&first, "/id"));
    assert_eq!(again["replayed"], true);
    assert_eq!(metric(&world, "placet_revived_total").await, 1);
    away(&world, 1).await;
    let conflict = decide(&world, &bot, "k", BIG).await;
    conflict.refused(409, "idempotency_conflict");
    // A receipt proves an old entry in the tree that was cut down meanwhile.
    away(&world, 1).await;
    let path = format!("/api/v1/receipts/{}", at(&first, "/id"));
    let receipt = world.get(&path, &bot).await;
    assert_eq!(receipt.status, 200, "{receipt:?}");
    let audit = world.get("/api/v1/audit?type=decision&limit=100", &zoe).await.ok();
    assert!(audit.to_string().contains(at(&first, "/id")));
    assert_eq!(*other.watch_size().borrow(), other.head().head.size());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_people_or_for_time_stays() {
    let (world, _, zoe, bot) = two().await;
    let held = decide(&world, &bot, "held", BIG).await.ok();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(metric(&world, "placet_idle_workspaces").await, 0);
    let echo = format!(r#"{{"action_digest":"{}"}}"#, at(&held, "/action_digest"));
    let path = format!("/api/v1/approvals/{}/reject", at(&held, "/approval/id"));
    world.post(&path, &zoe, &echo).await.ok();
    away(&world, 1).await;
    let path = format!("/api/v1/decisions/{}", at(&held, "/id"));
    assert_eq!(at(&world.get(&path, &bot).await.ok(), "/approval/state"), "rejected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_come_at_once_are_answered_in_one_order() {
    let (world, other, _, bot) = two().await;
    let world = Arc::new(world);
    for round in 0..5 {
        away(&world, 1).await;
        let before = *other.watch_size().borrow();
        let callers: Vec<_> = (0..64)
            .map(|n| {
                let (world, bot) = (world.clone(), bot.clone());
                // Two of a kind: each key is asked for twice.
                let key = format!("{round} {}", n / 2);
                tokio::spawn(async move { decide(&world, &bot, &key, "").await.ok() })
            })
            .collect();
        let mut ids = Vec::new();
        for caller in callers {
            ids.push(at(&caller.await.unwrap(), "/id").to_owned());
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 32);
        assert_eq!(*other.watch_size().borrow(), before + 32);
    }
    assert_eq!(metric(&world, "placet_revived_total").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_of_everything_reaches_who_is_away() {
    let (world, other, _, bot) = two().await;
    away(&world, 1).await;
    let trip = world.post("/api/v1/kill", &world.admin, r#"{"scope":"everything"}"#).await;
    assert!(trip.status < 300, "{trip:?}");
    assert!(other.is_killed());
    let denied = decide(&world, &bot, "k", "").await.ok();
    assert_eq!(at(&denied, "/outcome"), "DENY");
    away(&world, 1).await;
    assert_eq!(at(&decide(&world, &bot, "l", "").await.ok(), "/outcome"), "DENY");
    let world = world.restart().await;
    assert_eq!(at(&decide(&world, &bot, "m", "").await.ok(), "/outcome"), "DENY");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_altered_meanwhile_is_refused_and_others_go_on() {
    let (world, other, _, bot) = two().await;
    let main = world.key("agent:main", &[]).await;
    decide(&world, &bot, "k", "").await.ok();
    away(&world, 1).await;
    let journal = Connection::open(world.data().join("journal.db")).unwrap();
    let newest = "SELECT max(id) FROM batch WHERE id >= ?1";
    let first = i64::from(other.no.0) << 40;
    let id: i64 = journal.query_row(newest, [first], |row| row.get(0)).unwrap();
    let whole = "SELECT frames FROM batch WHERE id = ?1";
    let frames: Vec<u8> = journal.query_row(whole, [id], |row| row.get(0)).unwrap();
    let mut altered = frames.clone();
    let at_time = frames.windows(10).position(|bytes| bytes == b"\"time_ms\":").unwrap();
    // Another millisecond: it still parses.
    let digit = &mut altered[at_time + 22];
    *digit = if *digit == b'0' { b'1' } else { b'0' };
    let put = "UPDATE batch SET frames = ?2 WHERE id = ?1";
    journal.execute(put, rusqlite::params![id, altered]).unwrap();
    let answer = decide(&world, &bot, "l", "").await;
    answer.refused(503, "log_damaged");
    // The trip that this leads to asks for the state as well.
    assert!(metric(&world, "placet_revive_failed_total").await >= 1);
    decide(&world, &main, "m", "").await.ok();
    assert_eq!(world.get("/healthz", "").await.ok()["status"], "kill_switch_tampered");
    // Nothing was kept of the failure: once the log is whole again, so is its state.
    journal.execute(put, rusqlite::params![id, frames]).unwrap();
    decide(&world, &bot, "l", "").await.ok();
}
