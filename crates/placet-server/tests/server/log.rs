//! The log as strangers read it: a client that knows C2SP tlog-tiles and nothing of Placet mirrors
//! it and proves everything from what it fetched.

use crate::world::{World, request};
use placet_server::ServerOptions;
use placet_tlog::merkle::verify_consistency;
use placet_tlog::tiles::{TileRef, entry_tiles, hash_tiles};
use placet_tlog::verify::{PortableHasher, Verifier};
use placet_tlog::witness::parse_proof;
use placet_tlog::{TileReader, Trust};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Status and body, which need not be text.
async fn fetch(world: &World, path: &str, key: &str) -> (u16, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut stream = world.send("GET", path, key, &[], "").await;
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, bytes.split_off(end))
}

async fn decide_many(world: &World, key: &str, run: &str, batches: usize) {
    for batch in 0..batches {
        let all: Vec<_> = (0..100).map(|n| request(&format!("{run}-{batch}-{n}"), "")).collect();
        let body = format!(r#"{{"requests":[{}]}}"#, all.join(","));
        world.post("/api/v1/decisions:batch", key, &body).await.ok();
    }
}

/// The published checkpoint once the log has been published whole.
async fn published(world: &World, key: &str) -> String {
    for _ in 0..100 {
        let note = String::from_utf8(fetch(world, "/log/main/checkpoint", key).await.1).unwrap();
        if note.lines().nth(1) == Some(world.size().to_string().as_str()) {
            return note;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the log was not published");
}

async fn trust(world: &World) -> Trust {
    let text = fetch(world, "/.well-known/placet-keys", "").await.1;
    Trust::parse::<PortableHasher>(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_knows_only_tiles_mirrors_the_log() {
    let options = ServerOptions { public_log: true, ..ServerOptions::default() };
    let world = World::with(Some(crate::world::BUNDLE), false, options).await;
    let bot = world.key("agent:bot", &[]).await;
    decide_many(&world, &bot, "a", 3).await;
    let first = published(&world, "").await;
    decide_many(&world, &bot, "b", 4).await;
    let second = published(&world, "").await;

    let trust = trust(&world).await;
    let mut verifier = Verifier::new(&trust);
    let old = verifier.verify_checkpoint(&first).unwrap().checkpoint;
    let new = verifier.verify_checkpoint(&second).unwrap().checkpoint;
    assert!(old.size > 300 && new.size > old.size + 400);
    let mut mirror = BTreeMap::new();
    for tile in hash_tiles(0, new.size).chain(entry_tiles(0, new.size)) {
        let (status, bytes) = fetch(&world, &format!("/log/main/{tile}"), "").await;
        assert_eq!(status, 200, "{tile}");
        mirror.insert(tile, bytes);
    }
    let source = |tile: &TileRef| mirror.get(tile).cloned();
    let mut reader = TileReader::<_, PortableHasher>::open(new.size, new.root, source).unwrap();
    reader.check_extends(old.size, &old.root).unwrap();
    let mut count = 0;
    for tile in entry_tiles(0, new.size) {
        for entry in reader.entries(tile.number()).unwrap() {
            let leaf = placet_tlog::merkle::leaf_hash::<PortableHasher>(&entry);
            assert_eq!(reader.leaf(count).unwrap(), leaf);
            count += 1;
        }
    }
    assert_eq!(count, new.size);
    let path = format!("/log/main/consistency/{}/{}", old.size, new.size);
    let proof = String::from_utf8(fetch(&world, &path, "").await.1).unwrap();
    let proof = parse_proof(&proof).unwrap();
    verify_consistency::<PortableHasher>(old.size, new.size, &proof, &old.root, &new.root).unwrap();

    // Tiles of earlier published sizes stay: a mirror may be between two checkpoints.
    let partial = TileRef::at(placet_tlog::Row::Hashes(0), old.size / 256, old.size).unwrap();
    let (status, narrow) = fetch(&world, &format!("/log/main/{partial}"), "").await;
    assert_eq!((status, narrow.len()), (200, usize::from(partial.width()) * 32));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_tiles_come_back_from_the_journal() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    decide_many(&world, &bot, "old", 48).await;
    let world = world.restart().await;
    let note = published(&world, &bot).await;
    let trust = trust(&world).await;
    let checkpoint = Verifier::new(&trust).verify_checkpoint(&note).unwrap().checkpoint;
    assert!(checkpoint.size > 4800, "more than the tree keeps whole");
    let mut mirror = BTreeMap::new();
    for tile in hash_tiles(0, checkpoint.size).chain(entry_tiles(0, 512)) {
        let (status, bytes) = fetch(&world, &format!("/log/main/{tile}"), &bot).await;
        assert_eq!(status, 200, "{tile}");
        mirror.insert(tile, bytes);
    }
    let source = |tile: &TileRef| mirror.get(tile).cloned();
    let mut reader =
        TileReader::<_, PortableHasher>::open(checkpoint.size, checkpoint.root, source).unwrap();
    for number in [0, 1] {
        for (at, entry) in reader.entries(number).unwrap().iter().enumerate() {
            let leaf = placet_tlog::merkle::leaf_hash::<PortableHasher>(entry);
            assert_eq!(reader.leaf(number * 256 + at as u64).unwrap(), leaf);
        }
    }
    for old in [0, 1, 255, 256, 300, 4000, checkpoint.size - 1, checkpoint.size] {
        let path = format!("/log/main/consistency/{old}/{}", checkpoint.size);
        let (status, proof) = fetch(&world, &path, &bot).await;
        assert_eq!(status, 200, "{old}");
        let proof = parse_proof(std::str::from_utf8(&proof).unwrap()).unwrap();
        let root = reader.root_at(old).unwrap();
        let (size, head) = (checkpoint.size, &checkpoint.root);
        verify_consistency::<PortableHasher>(old, size, &proof, &root, head).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_published_or_not_yours_is_not_there() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    decide_many(&world, &bot, "x", 3).await;
    published(&world, &bot).await;
    let (size, key) = (world.size(), bot.as_str());
    let wide = format!("/log/main/tile/0/001.p/{}", size - 256 + 1);
    let long = format!("/log/main/consistency/1/{}", size + 1);
    for path in [
        wide.as_str(),
        "/log/main/tile/0/x000/000",
        "/log/main/tile/0/0",
        "/log/main/tile/00/000",
        "/log/main/tile/0/000.p/256",
        "/log/main/tile/entries/002",
        "/log/main/tile/9/000",
        long.as_str(),
        "/log/main/consistency/2/1",
        "/log/main/consistency/01/2",
        "/log/main/nothing",
    ] {
        world.get(path, key).await.refused(404, "not_found");
    }
    for path in ["/log/other/checkpoint", "/log/other/tile/0/000"] {
        world.get(path, key).await.refused(404, "workspace_not_found");
    }
    world.get("/log/main/checkpoint", "").await.refused(401, "key_missing");
    world.get("/log/main/tile/0/000", "").await.refused(401, "key_missing");

    let made = world.decide(&bot, "fresh", "").await;
    let path = format!("/api/v1/receipts/{}", made["id"].as_str().unwrap());
    world.get(&format!("{path}?checkpoint=older"), key).await.refused(400, "field_invalid");
    published(&world, &bot).await;
    let text = world.get(&format!("{path}?checkpoint=published"), key).await.text;
    let trust = trust(&world).await;
    assert_eq!(Verifier::new(&trust).verify(text.as_bytes()).unwrap().size, world.size());
}
