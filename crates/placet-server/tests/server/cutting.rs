//! A crash at every step of a rotation of signing keys.

use crate::watching::{lift, tripped, until};
use crate::world::{World, at};
use placet_runtime::ports::{
    AppendError, Batch, Clock, Journal, PortError, Safety, Signer, Signers, Sleep, WorkspaceNo,
};
use placet_runtime::{Options, Plane, PlaneError, Principal, SnapshotPlan, Started, Stores};
use placet_server::open_stores;
use placet_store::{Create, DataDir};
use placet_tlog::Trust;
use placet_tlog::trust::KeyStatus;
use placet_tlog::verify::{PortableHasher, verify_receipt};
use placet_types::Caller;
use placet_types::event::KillSource;
use placet_types::ids::{ActorId, TimeMs, WorkspaceName};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Where a rotation is cut short: the step's number, and whether the step itself took effect.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: usize,
    done: bool,
}

type Happens = Box<dyn FnOnce() + Send>;

/// Counts the steps of a rotation that touch the disk, and fails one.
#[derive(Default)]
struct Fault {
    cut: Mutex<Option<Cut>>,
    steps: AtomicUsize,
    names: Mutex<Vec<&'static str>>,
    /// What happens right after a step.
    after: Mutex<Option<(&'static str, Happens)>>,
}

impl Fault {
    /// Does the step, unless it is the one that fails.
    fn step<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> Result<T, String> {
        let Some(cut) = *self.cut.lock().unwrap() else { return Ok(work()) };
        let at = self.steps.fetch_add(1, Ordering::SeqCst);
        self.names.lock().unwrap().push(name);
        // After the cut nothing is done any more: the process is gone.
        if at > cut.at || (at == cut.at && !cut.done) {
            return Err(format!("cut at step {} ({name})", cut.at));
        }
        let done = work();
        let next = self.after.lock().unwrap().take_if(|(after, _)| *after == name);
        if let Some((_, happens)) = next {
            happens();
        }
        if at == cut.at { Err(format!("cut after step {at} ({name})")) } else { Ok(done) }
    }

    fn port<T>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        self.step(name, work).map_err(PortError::new)?
    }
}

struct CutJournal(Box<dyn Journal>, Arc<Fault>);

impl Journal for CutJournal {
    fn append(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        let done = self.1.step("append", || self.0.append(batches));
        done.map_err(AppendError::Unknown)?
    }

    fn create_workspace(&mut self, name: &WorkspaceName) -> Result<WorkspaceNo, PortError> {
        self.0.create_workspace(name)
    }

    fn put_bundle(&mut self, digest: &[u8; 32], bytes: &[u8]) -> Result<(), PortError> {
        self.0.put_bundle(digest, bytes)
    }
}

struct CutSigners(Arc<dyn Signers>, Arc<Fault>);

impl Signers for CutSigners {
    fn all(&self) -> Result<Vec<Arc<dyn Signer>>, PortError> {
        self.0.all()
    }

    fn make(&self) -> Result<Arc<dyn Signer>, PortError> {
        self.1.port("make", || self.0.make())
    }

    fn keep(&self, public_keys: &[[u8; 32]]) -> Result<(), PortError> {
        self.1.port("keep", || self.0.keep(public_keys))
    }
}

struct CutSafety(Box<dyn Safety>, Arc<Fault>);

impl Safety for CutSafety {
    fn kill_requested(&self) -> bool {
        self.0.kill_requested()
    }

    fn read_armed(&self) -> Result<Option<Vec<u8>>, PortError> {
        self.0.read_armed()
    }

    fn write_armed(&self, bytes: &[u8]) -> Result<(), PortError> {
        self.1.port("write_armed", || self.0.write_armed(bytes))
    }

    fn disarm(&self) -> Result<(), PortError> {
        self.0.disarm()
    }

    fn read_disarmed(&self) -> Result<Option<Vec<u8>>, PortError> {
        self.0.read_disarmed()
    }

    fn write_disarmed(&self, bytes: &[u8]) -> Result<(), PortError> {
        self.1.port("write_disarmed", || self.0.write_disarmed(bytes))
    }

    fn sync(&self) -> Result<(), PortError> {
        self.0.sync()
    }

    fn clear_kill_request(&self) -> Result<(), PortError> {
        self.0.clear_kill_request()
    }
}

/// Where a data directory may come to be, and no fault yet.
fn healthy() -> (tempfile::TempDir, PathBuf, Arc<Fault>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    (dir, path, Arc::new(Fault::default()))
}

async fn start(path: &Path, fault: &Arc<Fault>) -> Started {
    start_by(path, fault, None).await
}

async fn start_by(path: &Path, fault: &Arc<Fault>, clock: Option<Arc<dyn Clock>>) -> Started {
    let data = DataDir::open(path, Create::Yes).unwrap();
    let mut stores = open_stores(&data).unwrap();
    stores.journal = Box::new(CutJournal(stores.journal, fault.clone()));
    stores.signers = Arc::new(CutSigners(stores.signers, fault.clone()));
    stores.safety = Box::new(CutSafety(stores.safety, fault.clone()));
    if let Some(clock) = clock {
        stores.clock = clock;
    }
    let options = Options {
        dev: false,
        solo: false,
        bundle: None,
        workspace: WorkspaceName::parse("main").unwrap(),
        admin: ActorId::parse("human:ann").unwrap(),
        snapshots: SnapshotPlan { entries: 5, entries_idle: 1, rest: 0, ..SnapshotPlan::default() },
        idle: None,
    };
    Plane::start(stores, options).await.unwrap()
}

async fn stop(started: Started) {
    let plane = Arc::downgrade(&started.plane);
    tokio::task::spawn_blocking(|| started.stop()).await.unwrap();
    while plane.strong_count() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

fn ann(plane: &Plane) -> Principal {
    let root = plane.root().unwrap();
    let key = plane.keys_of(&root).into_iter().next().unwrap();
    let caller = Caller {
        workspace: root.name.clone(),
        environment: "production".into(),
        actor: key.actor.clone(),
        roles: key.roles.clone(),
        chain: Vec::new(),
    };
    Principal { caller, key: Some(key.key) }
}

/// Decides a governed request, as a person may without any bundle; its receipt.
async fn decided(plane: &Arc<Plane>, name: &str) -> (placet_types::ids::DecisionId, String) {
    let (root, ann) = (plane.root().unwrap(), ann(plane));
    let body = Plane::rotate_request(name.to_owned(), format!("nonce of {name:0>20}"));
    let request = placet_types::Request::read(body, &ann.caller).unwrap();
    let decision = plane.decide(&root, &ann, &request).await.unwrap();
    let id = decision.answer.event.decision;
    let against = placet_runtime::Against::Newest;
    let history = plane.history(&root, id).unwrap();
    (id, plane.receipt(&root, &history, None, against).unwrap())
}

fn pinned(plane: &Plane) -> Trust {
    let mut keys = Vec::new();
    for workspace in plane.all_workspaces() {
        for signer in workspace.signers().iter() {
            use placet_engine::Standing;
            let key = placet_tlog::VerifierKey::parse::<PortableHasher>(&signer.vkey).unwrap();
            let (status, to_size) = match signer.standing() {
                Standing::Active => (KeyStatus::Active, None),
                Standing::Retired(to) => (KeyStatus::Retired, Some(to)),
                Standing::Revoked => (KeyStatus::Revoked, None),
            };
            let from_size = signer.from_size;
            keys.push(placet_tlog::trust::TrustKey { key, from_size, to_size, status });
        }
    }
    Trust::new(keys).unwrap()
}

/// Begins a rotation of two logs, cuts it at one step, and stops. Returns what the rotation came to,
/// and a receipt from before it.
async fn rotated_until(
    path: &Path,
    fault: &Arc<Fault>,
    cut: Cut,
) -> (Result<(), PlaneError>, String) {
    let started = start(path, fault).await;
    let plane = started.plane.clone();
    let other = WorkspaceName::parse("other").unwrap();
    plane.create_workspace(other, ActorId::parse("human:zoe").unwrap()).await.unwrap();
    let (decision, receipt) = decided(&plane, "rotate").await;
    *fault.cut.lock().unwrap() = Some(cut);
    let done = plane.rotate_signer(&ann(&plane), decision).await.map(drop);
    drop(plane);
    stop(started).await;
    *fault.cut.lock().unwrap() = None;
    (done, receipt)
}

/// Cuts a rotation of two logs at one step, starts again, and looks whether it was or was not.
/// Returns the names of the steps, and whether the rotation came about.
async fn crash(cut: Cut) -> (Vec<&'static str>, bool) {
    let (_dir, path, fault) = healthy();
    let (done, old_receipt) = rotated_until(&path, &fault, cut).await;
    let names = fault.names.lock().unwrap().clone();
    // Destroying the former key is the last step, and is tried again until it is done.
    let rotated = names.get(cut.at).is_none_or(|name| cut.at > 0 && *name == "keep");
    assert_eq!(done.is_ok(), rotated, "{cut:?} {names:?} {done:?}");

    let started = start(&path, &fault).await;
    let plane = started.plane.clone();
    let all = plane.all_workspaces();
    // The kill switch stays as it was, armed, and every log has the same key in force.
    let (everything, own) = plane.kill_state(&all[0]).await.unwrap();
    assert_eq!((everything, own), (None, None), "{cut:?} {:?}", started.notices);
    let counts: Vec<usize> = all.iter().map(|log| log.signers().len()).collect();
    assert!(counts == [1, 1] || counts == [2, 2], "{cut:?} {counts:?}");
    let in_force: Vec<_> = all.iter().map(|log| *log.vkey().public_key()).collect();
    assert_eq!(in_force[0], in_force[1], "{cut:?}");
    // That key alone is held.
    let identity = DataDir::open_read_only(&path).unwrap().identity().unwrap();
    assert_eq!(identity.signing_seeds().unwrap().len(), 1, "{cut:?}");
    let trust = pinned(&plane);
    verify_receipt(old_receipt.as_bytes(), &trust).unwrap();
    let (_, receipt) = decided(&plane, "after").await;
    verify_receipt(receipt.as_bytes(), &trust).unwrap();
    // And it can rotate again.
    let (decision, _) = decided(&plane, "again").await;
    plane.rotate_signer(&ann(&plane), decision).await.unwrap();
    let (_, receipt) = decided(&plane, "at last").await;
    verify_receipt(receipt.as_bytes(), &pinned(&plane)).unwrap();
    drop(plane);
    stop(started).await;
    (names, counts[0] == 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_leaves_one_key_in_force() {
    let (steps, _) = crash(Cut { at: usize::MAX, done: true }).await;
    assert_eq!(steps, ["keep", "make", "append", "append", "write_armed", "keep"]);
    let mut came = Vec::new();
    for at in 0..steps.len() {
        for done in [false, true] {
            let (_, rotated) = crash(Cut { at, done }).await;
            came.push(rotated);
        }
    }
    // Up to the first log's entry it did not happen; with it, it has.
    let first = came.iter().position(|rotated| *rotated).unwrap();
    assert_eq!(first, 5, "the entry of the first log decides: {came:?}");
    assert!(came[first..].iter().all(|rotated| *rotated), "{came:?}");
}

/// A kill comes between the permit of a rotation and its entries, and power fails between the entry of its lift and
/// the certificate. The key that signed what the kill has set aside is gone when that is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_within_a_rotation_makes_no_tampering_of_a_lift_that_is_cut_short() {
    let fault = Arc::new(Fault::default());
    let given = fault.clone();
    let cut = |stores: &mut Stores| {
        stores.signers = Arc::new(CutSigners(stores.signers.clone(), given));
    };
    let world = World::over(cut).await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    *fault.cut.lock().unwrap() = Some(Cut { at: usize::MAX, done: true });
    let plane = Arc::downgrade(&world.plane);
    let kill = move || plane.upgrade().unwrap().trip_at_once(KillSource::Signal);
    *fault.after.lock().unwrap() = Some(("make", Box::new(kill)));
    world.post("/api/v1/signers/rotate", &world.admin, "{}").await.ok();
    assert_eq!(*fault.names.lock().unwrap(), ["keep", "make", "keep"]);
    assert_eq!(tripped(&world).await["source"], "signal");
    let set_aside = fs::read(world.data().join("disarmed")).unwrap();
    lift(&world, &olga).await;
    until(|| world.data().join("armed").exists());
    let cut_short = |data: &Path| {
        fs::remove_file(data.join("armed")).unwrap();
        fs::write(data.join("disarmed"), set_aside).unwrap();
    };
    let world = world.restart_after(cut_short).await;
    assert_eq!(tripped(&world).await["source"], "interrupted");
    assert_eq!(world.get("/healthz", "").await.ok()["status"], "ok");
    let denied = world.decide(&bot, "a", "").await;
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_everything");
}

/// Long before every entry.
struct Early;

impl Clock for Early {
    fn wall(&self) -> TimeMs {
        TimeMs(1_000_000_000_000)
    }

    fn monotonic_ms(&self) -> u64 {
        1
    }

    fn sleep(&self, wait: std::time::Duration) -> Sleep {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// A doubtful clock keeps nobody from starting and confirming it, and the rotation is complete then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_cut_short_is_completed_once_the_clock_is_believed() {
    let (_dir, path, fault) = healthy();
    // After the entry of the first log, and before that of the second.
    let (done, old_receipt) = rotated_until(&path, &fault, Cut { at: 2, done: true }).await;
    done.unwrap_err();

    let started = start_by(&path, &fault, Some(Arc::new(Early))).await;
    let plane = started.plane.clone();
    let counts =
        || plane.all_workspaces().iter().map(|log| log.signers().len()).collect::<Vec<_>>();
    let seeds = || {
        let identity = DataDir::open_read_only(&path).unwrap().identity().unwrap();
        identity.signing_seeds().unwrap().len()
    };
    let notices = started.notices.join("\n");
    assert!(notices.contains("confirm the clock, which completes it"), "{notices}");
    assert_eq!((counts(), seeds()), (vec![2, 1], 2));
    plane.confirm_clock().await.unwrap();
    assert_eq!((counts(), seeds()), (vec![2, 2], 1));
    let trust = pinned(&plane);
    verify_receipt(old_receipt.as_bytes(), &trust).unwrap();
    let (_, receipt) = decided(&plane, "after").await;
    verify_receipt(receipt.as_bytes(), &trust).unwrap();
    drop(plane);
    stop(started).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_key_is_not_held_is_not_started() {
    let (dir, path, fault) = healthy();
    let started = start(&path, &fault).await;
    let early = dir.path().join("identity.db");
    stop(started).await;
    std::fs::copy(path.join("identity.db"), &early).unwrap();
    let started = start(&path, &fault).await;
    let (decision, _) = decided(&started.plane, "rotate").await;
    started.plane.rotate_signer(&ann(&started.plane), decision).await.unwrap();
    stop(started).await;
    // The identity store of before the rotation does not hold the key of today.
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(path.join(format!("identity.db{suffix}")));
    }
    std::fs::copy(&early, path.join("identity.db")).unwrap();
    let data = DataDir::open(&path, Create::No).unwrap();
    let stores = open_stores(&data).unwrap();
    let options = Options {
        dev: false,
        solo: false,
        bundle: None,
        workspace: WorkspaceName::parse("main").unwrap(),
        admin: ActorId::parse("human:ann").unwrap(),
        snapshots: SnapshotPlan::default(),
        idle: None,
    };
    let Err(error) = Plane::start(stores, options).await else { panic!("it started") };
    assert_eq!(error.code(), "signing_key_missing");
    assert!(error.to_string().contains("identity.db"), "{error}");
}
