//! Starting from saved states: the same answers as from the whole log, whatever becomes of them.

use crate::world::{BIG, World, at, request};
use placet_tlog::trust::Trust;
use placet_tlog::verify::{PortableHasher, verify_receipt};
use std::fs;
use std::path::{Path, PathBuf};

/// Some of everything that a state remembers; the ids of a permit, a hold, and the receipts.
async fn lived() -> (World, String, Vec<String>) {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let mut ids = Vec::new();
    for n in 0..12 {
        let more = [BIG, "", r#","risk_tags":["never"]"#][n % 3];
        let decision = world.decide(&bot, &format!("my-secret-order-{n}"), more).await;
        ids.push(at(&decision, "/id").to_owned());
    }
    (world, bot, ids)
}

async fn check_all(world: &World, bot: &str, ids: &[String]) {
    let trust = world.get("/.well-known/placet-keys", "").await;
    let trust = Trust::parse::<PortableHasher>(trust.text.as_bytes()).unwrap();
    for (n, id) in ids.iter().enumerate() {
        let more = [BIG, "", r#","risk_tags":["never"]"#][n % 3];
        let again = world.decide(bot, &format!("my-secret-order-{n}"), more).await;
        assert_eq!((at(&again, "/id"), again["replayed"].as_bool()), (id.as_str(), Some(true)));
        let other = request(&format!("my-secret-order-{n}"), r#","labels":{"a":"b"}"#);
        let other = world.post("/api/v1/decisions", bot, &other).await;
        other.refused(409, "idempotency_conflict");
        let receipt = world.get(&format!("/api/v1/receipts/{id}"), bot).await;
        verify_receipt(receipt.text.as_bytes(), &trust).unwrap();
    }
    let metrics = world.get("/metrics", "").await.text;
    assert!(metrics.contains("placet_approvals_pending{workspace=\"main\"} 4"), "{metrics}");
}

fn files(data: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(data.join("snapshots/0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|have| have == kind))
        .collect();
    let index = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        name.split('-').map(|part| part.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    found.sort_by_key(index);
    found
}

fn folded(metrics: &str) -> u64 {
    let line = metrics.lines().find_map(|l| l.strip_prefix("placet_start_folded_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_goes_on_from_the_newest_snapshot() {
    let (mut world, bot, ids) = lived().await;
    for round in 0..3 {
        world = world.restart().await;
        assert_eq!(world.started.as_ref().unwrap().notices, Vec::<String>::new());
        let data = world.dir.path().join("data");
        assert!((1..=2).contains(&files(&data, "head").len()), "round {round}");
        assert_eq!(folded(&world.get("/metrics", "").await.text), 0, "round {round}");
        check_all(&world, &bot, &ids).await;
        world.decide(&bot, &format!("round {round}"), "").await;
    }
    // The keys of people who were given one before still open, and a kill is still a kill.
    let ann = world.admin.clone();
    let trip = world.post("/api/v1/kill", &ann, r#"{"scope":"workspace"}"#).await;
    assert!(trip.status < 300, "{trip:?}");
    world = world.restart().await;
    let denied = world.decide(&bot, "after the kill", "").await;
    assert_eq!(at(&denied, "/outcome"), "DENY");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_with_a_snapshot_costs_a_fold_and_nothing_else() {
    let (world, bot, ids) = lived().await;
    let mut world = world.restart().await;
    type Change = fn(&Path);
    let changes: [(&str, Change); 8] = [
        ("it is damaged", |data| alter(&files(data, "head").pop().unwrap(), 3)),
        ("it is damaged", |data| alter(&files(data, "head").pop().unwrap(), 2)),
        ("it is damaged", |data| {
            let path = files(data, "head").pop().unwrap();
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("a run of its keys is damaged", |data| alter(&files(data, "keys").pop().unwrap(), 2)),
        ("a run of its keys is gone", |data| {
            fs::remove_file(files(data, "keys").pop().unwrap()).unwrap();
        }),
        ("its name is not its own", |data| {
            let path = files(data, "head").pop().unwrap();
            let index: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            fs::rename(&path, path.with_file_name(format!("{}.head", index - 1))).unwrap();
        }),
        ("its name is not its own", |data| {
            let path = files(data, "head").pop().unwrap();
            fs::rename(&path, path.with_file_name("999999.head")).unwrap();
        }),
        ("is ignored", |data| {
            // Nothing but one under another name, and what a crash leaves of files half written.
            let mut heads = files(data, "head");
            let path = heads.pop().unwrap();
            heads.iter().for_each(|head| fs::remove_file(head).unwrap());
            fs::write(path.with_file_name("5000.head.tmp"), b"half").unwrap();
            fs::write(path.with_file_name("7.head"), b"half").unwrap();
            fs::rename(&path, path.with_file_name("8.head")).unwrap();
        }),
    ];
    for (n, (why, change)) in changes.into_iter().enumerate() {
        // Something new, so that the stop writes a snapshot that can be spoilt.
        world.decide(&bot, &format!("change {n}"), "").await;
        world = world.restart_after(change).await;
        let notices = &world.started.as_ref().unwrap().notices;
        assert!(notices.iter().any(|notice| notice.contains(why)), "{n} {why}: {notices:?}");
        check_all(&world, &bot, &ids).await;
    }
    // Without any the whole log is folded.
    world = world.restart_after(|data| fs::remove_dir_all(data.join("snapshots")).unwrap()).await;
    assert_eq!(folded(&world.get("/metrics", "").await.text), world.size());
    check_all(&world, &bot, &ids).await;
}

/// Turns a bit at `quarter` quarters of a file.
fn alter(path: &Path, quarter: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() * quarter / 4;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_instance_believes_no_snapshot_of_ours() {
    let (ours, bot, _) = lived().await;
    let (theirs, _, _) = lived().await;
    let path = theirs.dir.path().join("data");
    let theirs = theirs.restart().await;
    let kept = tempfile::TempDir::new().unwrap();
    for kind in ["head", "keys"] {
        for file in files(&path, kind) {
            fs::copy(&file, kept.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let ours = ours
        .restart_after(|data| {
            let dir = data.join("snapshots/0");
            fs::remove_dir_all(&dir).unwrap();
            fs::create_dir_all(&dir).unwrap();
            for file in fs::read_dir(kept.path()).unwrap() {
                let file = file.unwrap().path();
                fs::copy(&file, dir.join(file.file_name().unwrap())).unwrap();
            }
        })
        .await;
    let notices = &ours.started.as_ref().unwrap().notices;
    let said = |notice: &String| notice.contains("was not written by this instance");
    assert!(notices.iter().any(said), "{notices:?}");
    let again = ours.decide(&bot, "my-secret-order-1", "").await;
    assert_eq!(again["replayed"].as_bool(), Some(true));
    drop(theirs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_holds_nothing_personal() {
    let (world, _, _) = lived().await;
    let world = world.restart().await;
    let data = world.dir.path().join("data");
    let mut seen = 0;
    for file in [files(&data, "head"), files(&data, "keys")].concat() {
        let bytes = fs::read(&file).unwrap();
        seen += bytes.len();
        for secret in ["human:ann", "my-secret-order", "12.5", world.admin.as_str()] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds {secret:?}", file.display());
        }
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    assert!(seen > 1000);
}
