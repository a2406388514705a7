//! Signing keys that follow each other: handing over, following, revoking; and a crash at every step
//! of it.

use crate::world::{World, at};
use placet_runtime::ports::{
    AppendError, Batch, Clock, Journal, PortError, Safety, Signer, Signers, Sleep, WorkspaceNo,
};
use placet_runtime::{Options, Plane, Principal, SnapshotPlan, Started};
use placet_server::open_stores;
use placet_store::{Create, DataDir};
use placet_tlog::Trust;
use placet_tlog::compare::{Comparison, Paper, compare};
use placet_tlog::trust::{KeyStatus, RotationError};
use placet_tlog::verify::{PortableHasher, VerifyError, verify_receipt};
use placet_types::Caller;
use placet_types::ids::{ActorId, TimeMs, WorkspaceName};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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

/// Where a rotation is cut short: the step's number, and whether the step itself took effect.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: usize,
    done: bool,
}

/// Counts the steps of a rotation that touch the disk, and fails one.
#[derive(Default)]
struct Fault {
    cut: Mutex<Option<Cut>>,
    steps: AtomicUsize,
    names: Mutex<Vec<&'static str>>,
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

    fn sync(&self) -> Result<(), PortError> {
        self.0.sync()
    }

    fn clear_kill_request(&self) -> Result<(), PortError> {
        self.0.clear_kill_request()
    }
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
    (id, plane.receipt(&root, id, None, against).unwrap())
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

/// Cuts a rotation of two logs at one step, starts again, and looks whether it was or was not.
/// Returns the names of the steps, and whether the rotation came about.
async fn crash(cut: Cut) -> (Vec<&'static str>, bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let fault = Arc::new(Fault::default());
    let started = start(&path, &fault).await;
    let plane = started.plane.clone();
    let other = WorkspaceName::parse("other").unwrap();
    plane.create_workspace(other, ActorId::parse("human:zoe").unwrap()).await.unwrap();
    let (decision, old_receipt) = decided(&plane, "rotate").await;
    *fault.cut.lock().unwrap() = Some(cut);
    let done = plane.rotate_signer(&ann(&plane), decision).await;
    let names = fault.names.lock().unwrap().clone();
    // Destroying the former key is the last step, and is tried again until it is done.
    let rotated = names.get(cut.at).is_none_or(|name| cut.at > 0 && *name == "keep");
    assert_eq!(done.is_ok(), rotated, "{cut:?} {names:?} {done:?}");
    drop(plane);
    stop(started).await;

    *fault.cut.lock().unwrap() = None;
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
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let fault = Arc::new(Fault::default());
    let started = start(&path, &fault).await;
    let plane = started.plane.clone();
    let other = WorkspaceName::parse("other").unwrap();
    plane.create_workspace(other, ActorId::parse("human:zoe").unwrap()).await.unwrap();
    let (decision, old_receipt) = decided(&plane, "rotate").await;
    // After the entry of the first log, and before that of the second.
    *fault.cut.lock().unwrap() = Some(Cut { at: 2, done: true });
    plane.rotate_signer(&ann(&plane), decision).await.unwrap_err();
    drop(plane);
    stop(started).await;

    *fault.cut.lock().unwrap() = None;
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
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let fault = Arc::new(Fault::default());
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
