//! Kills from beside while the store is full: the operating system lets the files of the server grow no further, so
//! that writes fail as on a full disk; the next start, with room again, is tripped.

use super::super::server::Running;
use super::load::wait;
use super::trip::{AFTER, Once, Place, Scene, Times};
use crate::client::Client;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::sync::atomic::Ordering;

/// Blocks of 512 bytes that a file may have: the load fills it within seconds.
const BLOCKS: u64 = 8192;

/// Trips by file and by signal, each over a store of its own.
pub(super) async fn part(place: &Place, connections: usize, trips: usize) -> Result<Vec<Times>> {
    let mut all = super::ways(true);
    let count = all.len();
    for trip in 0..trips.max(count) {
        let times = all.get_mut(trip % count).context("no way")?;
        let data = place.data.with_extension(trip.to_string());
        let once = Place { data, bundle: place.bundle.clone(), beside: false };
        times.add(&fill_and_trip(&once, times.way.clone(), connections).await?);
        std::fs::remove_dir_all(&once.data)?;
    }
    Ok(all)
}

async fn fill_and_trip(place: &Place, way: super::trip::Way, connections: usize) -> Result<Once> {
    let server = Running::limited(&place.data, &place.bundle, BLOCKS).await?;
    let scene = Scene::start(server, place, connections).await?;
    let (seen, key) = (scene.load.seen.clone(), scene.server.key.clone());
    let full = 2 * connections as u64;
    wait(async || Ok(seen.refusals.load(Ordering::SeqCst) >= full)).await.context("it fills")?;
    let before = seen.told.load(Ordering::SeqCst);
    let asked = scene.ask(&way).await?;
    wait(async || Ok(seen.told.load(Ordering::SeqCst) > before)).await.context("the gate")?;
    let told = (seen.told.load(Ordering::SeqCst) - asked) as f64 / 1e9;
    scene.load.turns().await?;
    let settled = seen.permits.load(Ordering::SeqCst);
    tokio::time::sleep(AFTER).await;
    let late = seen.permits.load(Ordering::SeqCst) - settled;
    let seconds = seen.last_after(asked);
    scene.end().await?;

    // With room again: nothing of it was recorded, and it holds all the same.
    let server = Running::placet(&place.data, &place.bundle).await?;
    let ann = Client::new(&format!("http://{}", server.address), key)?;
    let kill = ann.get("/api/v1/kill").await?;
    ensure!(!kill["everything"].is_null(), "a start after it is not tripped: {kill}");
    let body = json!({"surface": "payments.refund", "action": "create", "idempotency_key": "after",
                      "arguments": {"amount": 12}});
    let decided = ann.post("/api/v1/decisions", &body).await?;
    ensure!(decided["outcome"] == "DENY", "a start after it lets pass: {decided}");
    server.stop().await?;
    Ok(Once { seconds, told: Some(told), late })
}
