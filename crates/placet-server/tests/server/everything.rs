//! What people of the first workspace do to everything: no other workspace has a say in it, and none is left
//! behind.

use crate::journal;
use crate::world::{World, at};
use placet_runtime::Workspace;
use placet_runtime::ports::{
    AppendError, Batch, Journal, Piece, PortError, Snapshots, WorkspaceNo,
};
use placet_types::ids::WorkspaceName;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const EVERYTHING: &str = r#"{"scope":"everything"}"#;

/// A second workspace of `human:zoe`, and her key.
async fn tenant(world: &World) -> (Arc<Workspace>, String) {
    let body = r#"{"name":"other","admin":"human:zoe"}"#;
    let made = world.post("/api/v1/workspaces", &world.admin, body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let other = world.plane.workspace(&WorkspaceName::parse("other").unwrap()).unwrap();
    (other, at(&made.json(), "/key").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenant_has_a_say_in_what_stops_everything() {
    let world = World::new().await;
    let ann = world.admin.clone();
    let olga = world.key("human:olga", &["operator"]).await;
    let bot = world.key("agent:bot", &[]).await;
    let (other, zoe) = tenant(&world).await;
    let sub = world.key_in(&other, "agent:sub", &[]).await;
    // People of the first workspace, made known here by their names, and without the role.
    for name in ["human:ann", "human:olga"] {
        world.key_in(&other, name, &["auditor"]).await;
    }
    let revoke = r#"{"scope":"role:operator","mode":"revoke"}"#;
    world.post("/api/v1/overrides", &zoe, revoke).await.ok();

    let drill = world.post("/api/v1/overrides:drill", &olga, EVERYTHING).await.ok();
    world.get(&format!("/api/v1/overrides/{}", drill["index"]), &olga).await.ok();
    let drilled = world.get("/api/v1/audit?type=kill.drilled", &zoe).await.ok();
    assert_eq!(drilled["entries"].as_array().map(Vec::len), Some(1), "{drilled}");

    world.post("/api/v1/kill", &olga, EVERYTHING).await.ok();
    let seen = world.get("/api/v1/kill", &zoe).await.ok();
    assert_eq!(at(&seen, "/everything/source"), "api", "recorded in its log too");
    assert_eq!(at(&world.decide(&sub, "a", "").await, "/reasons/0/code"), "killed_everything");

    assert_eq!(world.post("/api/v1/lift", &ann, EVERYTHING).await.ok()["lifted"], false);
    world.post("/api/v1/lift", &zoe, EVERYTHING).await.refused(403, "foreign");
    assert_eq!(world.post("/api/v1/lift", &olga, EVERYTHING).await.ok()["lifted"], true);
    for (key, name) in [(&bot, "b"), (&sub, "c")] {
        assert_eq!(at(&world.decide(key, name, "").await, "/outcome"), "PERMIT", "{name}");
    }
    world.post("/api/v1/lift", &ann, EVERYTHING).await.refused(409, "not_tripped");

    let world = world.restart().await;
    assert_eq!(at(&world.decide(&sub, "d", "").await, "/outcome"), "PERMIT");
    assert!(!world.plane.is_tampered());
    let trips = world.get("/api/v1/audit?type=kill.tripped", &ann).await.ok();
    assert_eq!(trips["entries"].as_array().map(Vec::len), Some(1), "{trips}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_made_between_the_request_and_the_second_person_is_lifted_with_the_rest() {
    let world = World::new().await;
    let olga = world.key("human:olga", &["operator"]).await;
    world.post("/api/v1/kill", &olga, EVERYTHING).await.ok();
    world.post("/api/v1/lift", &world.admin, EVERYTHING).await.ok();
    let (other, zoe) = tenant(&world).await;
    // It stands still for what tripped the others, and nobody tampered with anything.
    let seen = world.get("/api/v1/kill", &zoe).await.ok();
    assert_eq!(at(&seen, "/everything/source"), "api", "{seen}");
    assert_eq!(world.post("/api/v1/lift", &olga, EVERYTHING).await.ok()["lifted"], true);
    assert!(!world.root().is_killed() && !other.is_killed());
    assert!(world.data().join("armed").exists());
    let world = world.restart().await;
    assert!(!world.root().is_killed() && !world.plane.is_tampered());
    assert!(world.get("/api/v1/kill", &zoe).await.ok()["everything"].is_null());
}

/// Saved states that can be made to hang for the second workspace alone.
struct Slow {
    saved: Arc<dyn Snapshots>,
    hangs: Arc<(Mutex<bool>, Condvar)>,
}

impl Snapshots for Slow {
    fn list(&self, workspace: WorkspaceNo) -> Result<Vec<Piece>, PortError> {
        if workspace == WorkspaceNo(1) {
            let hangs = self.hangs.0.lock().unwrap();
            drop(self.hangs.1.wait_while(hangs, |hangs| *hangs).unwrap());
        }
        self.saved.list(workspace)
    }

    fn read(&self, workspace: WorkspaceNo, piece: Piece) -> Result<Option<Vec<u8>>, PortError> {
        self.saved.read(workspace, piece)
    }

    fn write(&self, workspace: WorkspaceNo, piece: Piece, bytes: &[u8]) -> Result<(), PortError> {
        self.saved.write(workspace, piece, bytes)
    }

    fn remove(&self, workspace: WorkspaceNo, piece: Piece) -> Result<(), PortError> {
        self.saved.remove(workspace, piece)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_that_a_lift_overtakes_says_so_and_leaves_nothing_stopped() {
    let world = World::idle_after(Duration::from_millis(100)).await;
    let ann = world.admin.clone();
    let olga = world.key("human:olga", &["operator"]).await;
    let (_, zoe) = tenant(&world).await;
    let other = world.plane.workspace(&WorkspaceName::parse("other").unwrap()).unwrap();
    let sub = world.key_in(&other, "agent:sub", &[]).await;
    drop(other);
    let hangs = Arc::new((Mutex::new(false), Condvar::new()));
    let given = hangs.clone();
    let world = world
        .restart_over(
            |_| {},
            move |stores| {
                let saved = stores.snapshots.clone();
                stores.snapshots = Arc::new(Slow { saved, hangs: given });
            },
        )
        .await;
    let other = world.plane.workspace(&WorkspaceName::parse("other").unwrap()).unwrap();
    while world.plane.idle().away.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    *hangs.0.lock().unwrap() = true;
    // The state of the other workspace is asked for, and does not come.
    let kill = world.send("POST", "/api/v1/kill", &olga, &[], EVERYTHING).await;
    while world.get("/api/v1/kill", &ann).await.ok()["everything"].is_null() {}
    assert_eq!(world.post("/api/v1/lift", &ann, EVERYTHING).await.ok()["lifted"], false);
    let lift = world.send("POST", "/api/v1/lift", &olga, &[], EVERYTHING).await;
    while world.root().is_killed() || !world.data().join("armed").exists() {
        tokio::task::yield_now().await;
    }
    assert!(other.is_killed());
    *hangs.0.lock().unwrap() = false;
    hangs.1.notify_all();
    World::read(kill).await.refused(409, "lifted_meanwhile");
    assert_eq!(World::read(lift).await.ok()["lifted"], true);
    assert!(!world.root().is_killed() && !other.is_killed());
    assert!(world.data().join("armed").exists(), "what the lift armed is right");
    assert!(world.get("/api/v1/kill", &zoe).await.ok()["everything"].is_null());
    assert_eq!(at(&world.decide(&sub, "a", "").await, "/permit/state"), "granted");
    let world = world.restart().await;
    assert!(!world.root().is_killed() && !world.plane.is_tampered());
}

/// A journal that can be made to fail for the second workspace alone.
struct Halved {
    journal: Box<dyn Journal>,
    fails: Arc<AtomicBool>,
}

impl Journal for Halved {
    fn append(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        let other = batches.iter().any(|batch| batch.workspace == WorkspaceNo(1));
        if other && self.fails.load(Ordering::SeqCst) {
            return Err(AppendError::Unknown("no space left on device".into()));
        }
        self.journal.append(batches)
    }

    fn create_workspace(&mut self, name: &WorkspaceName) -> Result<WorkspaceNo, PortError> {
        self.journal.create_workspace(name)
    }

    fn put_bundle(&mut self, digest: &[u8; 32], bytes: &[u8]) -> Result<(), PortError> {
        self.journal.put_bundle(digest, bytes)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lift_that_did_not_reach_every_log_is_no_tampering_and_reaches_them_at_the_next_start() {
    let fails = Arc::new(AtomicBool::new(false));
    let given = fails.clone();
    let world = World::over(move |stores| {
        journal::wrap(stores, |journal| Halved { journal, fails: given });
    })
    .await;
    let olga = world.key("human:olga", &["operator"]).await;
    let (other, zoe) = tenant(&world).await;
    let sub = world.key_in(&other, "agent:sub", &[]).await;
    world.post("/api/v1/kill", &olga, EVERYTHING).await.ok();
    world.post("/api/v1/lift", &world.admin, EVERYTHING).await.ok();
    fails.store(true, Ordering::SeqCst);
    let half = world.post("/api/v1/lift", &olga, EVERYTHING).await;
    assert_eq!(half.status, 503, "{half:?}");
    assert!(other.is_killed(), "nothing of it runs again before its log says so");
    let world = world.restart().await;
    assert!(!world.root().is_killed() && !world.plane.is_tampered());
    assert!(world.get("/api/v1/kill", &zoe).await.ok()["everything"].is_null());
    assert_eq!(at(&world.decide(&sub, "a", "").await, "/outcome"), "PERMIT");
}
