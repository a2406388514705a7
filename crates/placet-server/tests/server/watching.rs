//! What stops everything from beside the store: whatever hangs, is full or is busy, and recorded as
//! soon as that can be.

use crate::journal;
use crate::world::{BIG, BUNDLE, World, at, request};
use placet_runtime::Stores;
use placet_runtime::ports::{AppendError, Batch, Journal, Marks, PortError, WorkspaceNo};
use placet_server::ServerOptions;
use placet_types::event::KillSource;
use placet_types::ids::WorkspaceName;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A journal whose writes can be made to hang, or to fail as on a full disk.
struct Ill {
    journal: Box<dyn Journal>,
    how: Arc<How>,
}

#[derive(Default)]
pub(crate) struct How {
    pub(crate) hangs: Mutex<bool>,
    pub(crate) woken: Condvar,
    /// A write has come and hangs.
    pub(crate) caught: AtomicBool,
    pub(crate) full: AtomicBool,
}

impl How {
    pub(crate) fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.woken.notify_all();
    }
}

impl Journal for Ill {
    fn append(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        let mut hangs = self.how.hangs.lock().unwrap();
        while *hangs {
            self.how.caught.store(true, Ordering::SeqCst);
            hangs = self.how.woken.wait(hangs).unwrap();
        }
        if self.how.full.load(Ordering::SeqCst) {
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

async fn ill() -> (World, Arc<How>) {
    let how = Arc::new(How::default());
    let given = how.clone();
    let world = World::over(move |stores| sicken(stores, given)).await;
    (world, how)
}

fn sicken(stores: &mut Stores, how: Arc<How>) {
    journal::wrap(stores, |journal| Ill { journal, how });
}

/// Looks again and again, and never lets anything else run on this thread.
pub(crate) fn until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

pub(crate) async fn tripped(world: &World) -> Value {
    loop {
        let kill = world.get("/api/v1/kill", &world.admin).await.ok();
        if !kill["everything"].is_null() {
            return kill["everything"].clone();
        }
    }
}

pub(crate) async fn lift(world: &World, second: &str) {
    let scope = r#"{"scope":"everything"}"#;
    world.post("/api/v1/lift", &world.admin, scope).await.ok();
    assert_eq!(world.post("/api/v1/lift", second, scope).await.ok()["lifted"], true);
}

#[tokio::test]
async fn a_busy_server_is_stopped_by_a_file_and_by_a_signal() {
    for file in [true, false] {
        let world = World::new().await;
        let bot = world.key("agent:bot", &[]).await;
        assert_eq!(at(&world.decide(&bot, "a", "").await, "/outcome"), "PERMIT");
        let root = world.root();
        if file {
            fs::write(world.data().join("KILL"), "").unwrap();
        } else {
            world.plane.trip_at_once(KillSource::Signal);
        }
        // This thread runs all tasks of the server, and gives none a turn.
        until(|| root.is_killed());
        let kill = tripped(&world).await;
        assert_eq!(kill["source"], if file { "file" } else { "signal" });
        let denied = world.decide(&bot, "b", "").await;
        assert_eq!(at(&denied, "/reasons/0/code"), "killed_everything");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_hangs_keeps_no_kill_waiting() {
    let (world, how) = ill().await;
    let bot = world.key("agent:bot", &[]).await;
    how.hang(true);
    let body = request("a", r#","attempt_nonce":"0123456789abcdef""#);
    let asked = world.send("POST", "/api/v1/decisions", &bot, &[], &body).await;
    until(|| how.caught.load(Ordering::SeqCst));
    fs::write(world.data().join("KILL"), "").unwrap();
    until(|| world.root().is_killed());
    how.hang(false);
    // It was permitted before the kill, and its answer had not left.
    let answer = World::read(asked).await.ok();
    assert_eq!(at(&answer, "/permit/state"), "revoked", "{answer}");
    assert_eq!(at(&answer, "/reasons/0/code"), "killed_everything", "{answer}");
    assert_eq!(tripped(&world).await["source"], "file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_keeps_no_kill_waiting_and_the_next_start_is_tripped() {
    let signal = KillSource::Signal;
    for (source, renamed) in [(KillSource::File, false), (signal, false), (signal, true)] {
        let (world, how) = ill().await;
        let bot = world.key("agent:bot", &[]).await;
        how.full.store(true, Ordering::SeqCst);
        let refused = world.post("/api/v1/decisions", &bot, &request("a", "")).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        match source {
            KillSource::File => fs::write(world.data().join("KILL"), "").unwrap(),
            source => world.plane.trip_at_once(source),
        }
        until(|| world.root().is_killed());
        // It cannot be recorded, and what would show that nothing was asked for is taken away.
        until(|| !world.data().join("armed").exists());
        // What was set aside arms nobody who gives it its name again. While the server runs, it sets it aside again.
        let rename = |data: &Path| {
            if renamed {
                fs::rename(data.join("disarmed"), data.join("armed")).unwrap();
            }
        };
        let world = world.restart_after(rename).await;
        let kill = tripped(&world).await;
        // The signal left no trace of its own, only that something was stopped and not recorded.
        let (wanted, status) = match (source, renamed) {
            (KillSource::File, _) => ("file", "ok"),
            (_, false) => ("interrupted", "ok"),
            (_, true) => ("certificate", "kill_switch_tampered"),
        };
        assert_eq!(kill["source"], wanted);
        assert_eq!(world.get("/healthz", "").await.ok()["status"], status);
        let denied = world.decide(&bot, "b", "").await;
        assert_eq!(at(&denied, "/reasons/0/code"), "killed_everything");
    }
}

/// What `placet kill --local` does on a full disk, where no file `KILL` can be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_set_aside_by_hand_stops_everything_and_is_no_tampering() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    placet_store::kill::disarm(&world.data()).unwrap();
    assert_eq!(tripped(&world).await["source"], "interrupted");
    assert_eq!(world.get("/healthz", "").await.ok()["status"], "ok");
    let denied = world.decide(&bot, "a", "").await;
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_everything");
    // What only looks like it is.
    lift(&world, &olga).await;
    until(|| world.data().join("armed").exists());
    fs::write(world.data().join("disarmed"), "{}").unwrap();
    fs::remove_file(world.data().join("armed")).unwrap();
    assert_eq!(tripped(&world).await["source"], "certificate");
    assert_eq!(world.get("/healthz", "").await.ok()["status"], "kill_switch_tampered");
}

/// A crash between registering a workspace and its first entry leaves it for the next start to found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_that_is_founded_with_a_start_arms_nothing_after_a_kill() {
    let (world, how) = ill().await;
    let bot = world.key("agent:bot", &[]).await;
    let ann = world.admin.clone();
    how.full.store(true, Ordering::SeqCst);
    let refused = world.post("/api/v1/decisions", &bot, &request("a", "")).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    world.plane.trip_at_once(KillSource::Signal);
    // It cannot be recorded.
    until(|| !world.data().join("armed").exists());
    let found = |stores: &mut Stores| {
        let name = WorkspaceName::parse("tenant-b").unwrap();
        stores.journal.create_workspace(&name).unwrap();
    };
    let world = world.restart_over(|_| {}, found).await;
    let names: Vec<_> = world.plane.all_workspaces().iter().map(|it| it.name.clone()).collect();
    assert_eq!(names.last().map(WorkspaceName::as_str), Some("tenant-b"), "it was founded");
    let kill = world.get("/api/v1/kill", &ann).await.ok();
    assert_eq!(at(&kill, "/everything/source"), "interrupted", "{kill}");
    let denied = world.decide(&bot, "b", "").await;
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_everything");
    assert!(!world.data().join("armed").exists());
}

/// A run of a capability, within another run where one is named.
async fn begin(world: &World, key: &str, capability: &str, parent: Option<&str>) -> String {
    let parent = parent.map(|id| format!(r#","parent":"{id}""#)).unwrap_or_default();
    let body =
        format!(r#"{{"capability":"{capability}","idempotency_key":"{capability}"{parent}}}"#);
    let begun = world.post("/api/v1/executions", key, &body).await;
    assert_eq!(begun.status, 201, "{begun:?}");
    at(&begun.json(), "/id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_reaches_answers_of_runs_within_what_it_stops_while_a_flush_hangs() {
    // What was running at a restart is known as well.
    for restarts in [false, true] {
        let (mut world, mut how) = ill().await;
        let bot = world.key("agent:bot", &[]).await;
        let olga = world.key("human:olga", &["operator"]).await;
        let above = begin(&world, &bot, "w", None).await;
        let within = begin(&world, &bot, "y", Some(&above)).await;
        let beside = begin(&world, &bot, "z", None).await;
        if restarts {
            how = Arc::default();
            let given = how.clone();
            world = world.restart_over(|_| {}, move |stores| sicken(stores, given)).await;
        }
        let mut stops = world.root().watch_stops();
        stops.mark_unchanged();
        how.hang(true);
        let mut asked = Vec::new();
        for (capability, run) in [("y", &within), ("w", &above), ("z", &beside)] {
            let more = format!(r#","capability":"{capability}","execution":"{run}""#);
            let body = request(&format!("step {capability}"), &more);
            asked.push(world.send("POST", "/api/v1/decisions", &bot, &[], &body).await);
            // The first alone is in the flush that hangs.
            until(|| how.caught.load(Ordering::SeqCst));
        }
        let body = r#"{"scope":"capability:w","mode":"kill"}"#;
        let kill = world.send("POST", "/api/v1/overrides", &olga, &[], body).await;
        until(|| stops.has_changed().unwrap());
        how.hang(false);
        let mut answers = Vec::new();
        for asked in asked {
            answers.push(World::read(asked).await.ok());
        }
        World::read(kill).await.ok();
        // It was permitted before the kill of what it runs within, and its answer had not left.
        assert_eq!(at(&answers[0], "/permit/state"), "revoked", "{}", answers[0]);
        assert_eq!(at(&answers[0], "/reasons/0/code"), "killed_execution");
        assert_eq!(at(&answers[1], "/outcome"), "DENY", "{}", answers[1]);
        assert_eq!(at(&answers[2], "/outcome"), "PERMIT", "{}", answers[2]);
        let shown = world.get(&format!("/api/v1/executions/{within}"), &bot).await.ok();
        assert_eq!(at(&shown, "/state"), "killed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_reaches_the_answer_on_which_a_gate_would_go_on_while_a_flush_hangs() {
    let lax = format!(
        "{BUNDLE}modes:\n  - {{ id: trial, surfaces: [\"payments.**\"], environments: [\"*\"], \
         mode: shadow, owner: payments }}\n"
    );
    for scope in ["everything", "surface:payments.transfer"] {
        let world = World::with(Some(&lax), true, ServerOptions::default()).await;
        let how = Arc::new(How::default());
        let given = how.clone();
        let world = world.restart_over(|_| {}, move |stores| sicken(stores, given)).await;
        let never = r#","risk_tags":["never"]"#;
        let passed = world.decide("", "a", never).await;
        assert_eq!([at(&passed, "/outcome"), at(&passed, "/mode")], ["SILENCE", "shadow"]);
        let mut stops = world.root().watch_stops();
        stops.mark_unchanged();
        how.hang(true);
        let asked = world.send("POST", "/api/v1/decisions", "", &[], &request("b", never)).await;
        until(|| how.caught.load(Ordering::SeqCst));
        let body = format!(r#"{{"scope":"{scope}","mode":"kill"}}"#);
        let kill = world.send("POST", "/api/v1/overrides", "", &[], &body).await;
        until(|| stops.has_changed().unwrap());
        how.hang(false);
        let answer = World::read(asked).await.ok();
        World::read(kill).await.ok();
        let code = if scope == "everything" { "killed_everything" } else { "killed_surface" };
        assert_eq!([at(&answer, "/outcome"), at(&answer, "/reasons/0/code")], ["DENY", code]);
        assert_eq!([answer.get("mode"), answer.get("would_outcome")], [None, None], "{answer}");
        assert!(!answer["reasons"].to_string().contains("unenforced"), "{answer}");
        // So is what was let pass before, as long as the kill lasts.
        let shown = world.get(&format!("/api/v1/decisions/{}", at(&passed, "/id")), "").await.ok();
        assert_eq!([at(&shown, "/outcome"), at(&shown, "/reasons/0/code")], ["DENY", code]);
    }
}

/// As many as this wait behind a flush that hangs, and more are turned away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_behind_a_full_queue_take_no_thread_of_those_that_answer() {
    let (world, how) = ill().await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    how.hang(true);
    let first = world.send("POST", "/api/v1/decisions", &bot, &[], &request("a", "")).await;
    until(|| how.caught.load(Ordering::SeqCst));
    let full = Arc::new(AtomicBool::new(false));
    let mut looks = Vec::new();
    while !full.load(Ordering::SeqCst) {
        let (plane, full) = (world.plane.clone(), full.clone());
        looks.push(tokio::spawn(async move {
            let seen = plane.kill_state(&plane.root().unwrap()).await;
            full.fetch_or(seen.is_err(), Ordering::SeqCst);
        }));
        tokio::task::yield_now().await;
    }
    let mut kills = Vec::new();
    for scope in ["surface:a", "surface:b", "surface:c", "everything"] {
        let body = format!(r#"{{"scope":"{scope}","mode":"kill"}}"#);
        let mut stops = world.root().watch_stops();
        stops.mark_unchanged();
        kills.push(world.send("POST", "/api/v1/overrides", &olga, &[], &body).await);
        // Every one is in effect, and somebody is there for the next.
        let sent = Instant::now();
        until(|| stops.has_changed().unwrap() || sent.elapsed() > Duration::from_secs(60));
        assert!(stops.has_changed().unwrap(), "nobody hears of {scope}");
    }
    assert!(world.root().is_killed());
    assert_eq!(world.get("/healthz", "").await.ok()["status"], "ok");
    how.hang(false);
    for kill in kills {
        World::read(kill).await.ok();
    }
    let denied = World::read(first).await.ok();
    assert_eq!(at(&denied, "/reasons/0/code"), "killed_everything", "{denied}");
    let stopped = world.get("/api/v1/overrides", &olga).await.ok();
    assert_eq!(stopped["overrides"].as_array().map(Vec::len), Some(4), "{stopped}");
    for look in looks {
        look.await.unwrap();
    }
}

/// Marks whose disk hangs until it is told to go on; in the end it goes on by itself, and says so.
struct Hung(Arc<How>, Arc<AtomicBool>);

impl Marks for Hung {
    fn check_size(&self, _: &WorkspaceName, _: u64) -> Result<(), PortError> {
        Ok(())
    }

    fn raise(&mut self, _: &[(WorkspaceName, u64)]) -> Result<(), PortError> {
        let hangs = self.0.hangs.lock().unwrap();
        self.0.caught.store(true, Ordering::SeqCst);
        let patience = Duration::from_secs(30);
        let (hangs, _) = self.0.woken.wait_timeout_while(hangs, patience, |it| *it).unwrap();
        self.1.fetch_or(*hangs, Ordering::SeqCst);
        Ok(())
    }
}

/// One thread runs all tasks of the server.
#[tokio::test]
async fn a_high_water_mark_that_hangs_keeps_nothing_waiting() {
    for by_signal in [false, true] {
        let (how, alone) = (Arc::new(How::default()), Arc::new(AtomicBool::new(false)));
        let given = (how.clone(), alone.clone());
        let world =
            World::over(move |stores| stores.marks = Box::new(Hung(given.0, given.1))).await;
        how.hang(true);
        let housekeeping = tokio::spawn(world.plane.clone().housekeeping());
        while !how.caught.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.get("/healthz", "").await.ok()["status"], "ok");
        if by_signal {
            world.plane.trip_at_once(KillSource::Signal);
        } else {
            let body = r#"{"scope":"everything"}"#;
            world.post("/api/v1/kill", &world.admin, body).await.ok();
        }
        let kill = tripped(&world).await;
        assert_eq!(kill["source"], if by_signal { "signal" } else { "api" });
        assert!(!world.data().join("armed").exists(), "a restart is tripped as well");
        assert!(!alone.load(Ordering::SeqCst), "something waited for the mark");
        how.hang(false);
        housekeeping.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_the_last_one_trips_a_running_server() {
    let world = World::new().await;
    let olga = world.key("human:olga", &["operator"]).await;
    let armed = world.data().join("armed");
    let older = fs::read(&armed).unwrap();
    let damage: [&dyn Fn(&Path); 4] = [
        &|armed| fs::remove_file(armed).unwrap(),
        &|armed| {
            let text = fs::read_to_string(armed).unwrap();
            let digit = text.find("signature").unwrap() + 14;
            let other = if &text[digit..=digit] == "0" { "1" } else { "0" };
            fs::write(armed, format!("{}{other}{}", &text[..digit], &text[digit + 1..])).unwrap();
        },
        &|armed| fs::write(armed, "{}").unwrap(),
        &|armed| fs::write(armed, &older).unwrap(),
    ];
    for harm in damage {
        assert!(!world.root().is_killed());
        harm(&armed);
        assert_eq!(tripped(&world).await["source"], "certificate");
        lift(&world, &olga).await;
        assert_ne!(fs::read(&armed).unwrap(), older, "it names another override");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_and_lifts_in_a_row_leave_no_trip_of_their_own_behind() {
    let world = World::new().await;
    let olga = world.key("human:olga", &["operator"]).await;
    for _ in 0..20 {
        let scope = r#"{"scope":"everything"}"#;
        world.post("/api/v1/kill", &olga, scope).await.ok();
        lift(&world, &olga).await;
        assert!(!world.root().is_killed());
    }
    let log = world.get("/api/v1/audit?type=kill.tripped", &world.admin).await.ok();
    let trips = log["entries"].as_array().unwrap();
    let sources = trips.iter().map(|it| at(it, "/entry/predicate/data/source"));
    assert!(trips.len() == 20 && sources.into_iter().all(|it| it == "api"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_asked_for_again_right_after_a_lift_is_another_one() {
    let world = World::new().await;
    let olga = world.key("human:olga", &["operator"]).await;
    let file = world.data().join("KILL");
    fs::write(&file, "").unwrap();
    tripped(&world).await;
    for _ in 0..10 {
        lift(&world, &olga).await;
        assert!(!file.exists());
        fs::write(&file, "").unwrap();
        assert_eq!(tripped(&world).await["source"], "file");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_asks_for_a_kill_as_well_and_a_lift_names_what_it_cannot_remove() {
    let world = World::new().await;
    let olga = world.key("human:olga", &["operator"]).await;
    let bot = world.key("agent:bot", &[]).await;
    let (kill, within) = (world.data().join("KILL"), world.data().join("KILL/not-mine"));
    fs::create_dir(&kill).unwrap();
    assert_eq!(tripped(&world).await["source"], "file");
    lift(&world, &olga).await;
    assert!(!kill.exists());
    assert_eq!(at(&world.decide(&bot, "a", "").await, "/outcome"), "PERMIT");

    fs::create_dir(&kill).unwrap();
    fs::write(&within, "").unwrap();
    tripped(&world).await;
    let scope = r#"{"scope":"everything"}"#;
    world.post("/api/v1/lift", &world.admin, scope).await.ok();
    let problem = world.post("/api/v1/lift", &olga, scope).await.refused(503, "kill_file_stays");
    assert!(at(&problem, "/detail").contains("remove it by hand"), "{problem}");
    tripped(&world).await;
    assert_eq!(at(&world.decide(&bot, "b", "").await, "/reasons/0/code"), "killed_everything");
    fs::remove_dir_all(&kill).unwrap();
    lift(&world, &olga).await;
    assert_eq!(at(&world.decide(&bot, "c", "").await, "/outcome"), "PERMIT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_told_of_a_kill() {
    let world = World::new().await;
    let bot = world.key("agent:bot", &[]).await;
    let held = world.decide(&bot, "a", BIG).await;
    let path = format!("/api/v1/decisions/{}?wait=60s", at(&held, "/id"));
    let nonce = [("placet-attempt-nonce", "0123456789abcdef")];
    let waiting = world.send("GET", &path, &bot, &nonce, "").await;
    until(|| world.root().waiting_callers() == 1);
    fs::write(world.data().join("KILL"), "").unwrap();
    // Nothing but the kill ends this wait so soon.
    let patience = std::time::Duration::from_secs(30);
    let told = tokio::time::timeout(patience, World::read(waiting)).await.unwrap().ok();
    assert_eq!(at(&told, "/approval/state"), "pending");
}

/// Alters the log of the first workspace under a running server: another digit in a time.
fn alter(data: &Path, row: &str) {
    let journal = rusqlite::Connection::open(data.join("journal.db")).unwrap();
    let whole = format!("SELECT id, frames FROM batch ORDER BY id {row} LIMIT 1");
    let (id, mut frames): (i64, Vec<u8>) =
        journal.query_row(&whole, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let place = frames.windows(10).position(|bytes| bytes == b"\"time_ms\":").unwrap();
    let digit = &mut frames[place + 22];
    *digit = if *digit == b'0' { b'1' } else { b'0' };
    let put = "UPDATE batch SET frames = ?2 WHERE id = ?1";
    journal.execute(put, rusqlite::params![id, frames]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_altered_under_a_running_server_trips_it_and_says_so() {
    for row in ["ASC", "DESC"] {
        let world = World::new().await;
        let bot = world.key("agent:bot", &[]).await;
        world.decide(&bot, "a", "").await;
        let health = world.get("/healthz", "").await.ok();
        assert_eq!(health["status"], "ok");
        alter(&world.data(), row);
        // Nobody asks for what was altered.
        let kill = tripped(&world).await;
        assert_eq!(
            (&kill["source"], &kill["state"]),
            (&"seal".into(), &"kill_switch_tampered".into())
        );
        assert_eq!(at(&world.decide(&bot, "b", "").await, "/reasons/0/code"), "killed_everything");
        assert_eq!(world.get("/healthz", "").await.ok()["status"], "kill_switch_tampered");
        let metrics = world.get("/metrics", "").await.text;
        assert!(metrics.contains("placet_kill_switch_tampered 1"), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lift_over_an_altered_log_does_not_last() {
    let world = World::new().await;
    let olga = world.key("human:olga", &["operator"]).await;
    alter(&world.data(), "ASC");
    tripped(&world).await;
    lift(&world, &olga).await;
    assert_eq!(tripped(&world).await["source"], "seal");
}

/// What is in effect is never reported as not done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_that_a_full_store_cannot_record_is_told_to_be_in_effect() {
    let narrow = ("/api/v1/overrides", r#"{"scope":"capability:crm","mode":"kill"}"#);
    let wide = ("/api/v1/kill", r#"{"scope":"workspace"}"#);
    for ((path, body), lasts) in [(narrow, false), (wide, true)] {
        let (world, how) = ill().await;
        how.full.store(true, Ordering::SeqCst);
        let problem = world.post(path, &world.admin, body).await.refused(503, "stop_unrecorded");
        let detail = at(&problem, "/detail");
        assert!(detail.contains("is in effect"), "{detail}");
        assert_eq!(detail.contains("it ends with this process"), !lasts, "{detail}");
        assert!(!detail.contains("no space"), "{detail}");
        assert_eq!(world.data().join("armed").exists(), !lasts);
    }
}
