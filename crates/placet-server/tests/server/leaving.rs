//! Work that takes long for whoever tries policies: bounded in time, ended when nobody listens or the server
//! stops, and never in the way of other workspaces.

use crate::world::{BUNDLE, World, at};
use placet_runtime::ports::{Batch, Head, JournalReader, PortError, WorkspaceNo};
use placet_server::ServerOptions;
use placet_types::ids::WorkspaceName;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;

const DIFF: &str = "/api/v1/policies/diff";
const LINT: &str = "/api/v1/policies/lint";
const BACKTEST: &str = "/api/v1/policies/backtest";

fn sources(text: &str) -> Value {
    json!([{"name": "policy.yaml", "text": text}])
}

/// So much to compare that it would take hours, and no bound in time.
fn endless() -> String {
    let rules = |more: u32| {
        let mut text = "version: v1\nrules:\n".to_owned();
        for n in 0..1500 {
            let _ = writeln!(
                text,
                "  - {{ id: r{n}, match: {{ when: \"request.arguments.a{n} > {} && request.arguments.b{n} < {n}\" }}, decision: deny }}",
                n + more
            );
        }
        text
    };
    json!({"before": sources(&rules(0)), "after": sources(&rules(1)), "samples": 20_000})
        .to_string()
}

async fn unbounded() -> World {
    let hour = Duration::from_secs(3600);
    World::with(Some(BUNDLE), false, ServerOptions { comparing_time: hour, ..Default::default() })
        .await
}

async fn lint(world: &World, key: &str) -> u16 {
    world.post(LINT, key, &json!({"sources": sources(BUNDLE)}).to_string()).await.status
}

/// Both places of a workspace, taken by comparisons that do not end by themselves.
async fn busy(world: &World, key: &str) -> [TcpStream; 2] {
    let body = endless();
    let taken = [
        world.send("POST", DIFF, key, &[], &body).await,
        world.send("POST", DIFF, key, &[], &body).await,
    ];
    while lint(world, key).await != 503 {}
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_ends_when_its_caller_leaves() {
    let world = unbounded().await;
    let bot = world.key("agent:bot", &[]).await;
    drop(busy(&world, &bot).await);
    let mut tries = 0;
    while lint(&world, &bot).await != 200 {
        tries += 1;
        assert!(tries < 30, "its places are still taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_ends_when_the_server_stops() {
    let world = unbounded().await;
    let bot = world.key("agent:bot", &[]).await;
    let taken = busy(&world, &bot).await;
    let world = tokio::time::timeout(Duration::from_secs(60), world.restart()).await;
    let world = world.expect("the server stops");
    for stream in taken {
        let answer = World::read(stream).await.ok();
        assert_eq!((&answer["ok"], &answer["complete"]), (&json!(true), &json!(false)), "{answer}");
    }
    assert_eq!(lint(&world, &bot).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_workspace_takes_all_places_of_those_who_try_policies() {
    let world = unbounded().await;
    let bot = world.key("agent:bot", &[]).await;
    let other = r#"{"name":"other","admin":"human:bea"}"#;
    let other = world.post("/api/v1/workspaces", &world.admin, other).await.json();
    let bea = at(&other, "/key").to_owned();
    let taken = busy(&world, &bot).await;
    // Asked again while the first workspace has nothing left.
    assert_eq!((lint(&world, &bea).await, lint(&world, &bot).await), (200, 503));
    drop(taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_no_time_says_that_it_is_not_complete() {
    let options = ServerOptions { comparing_time: Duration::ZERO, ..ServerOptions::default() };
    let world = World::with(Some(BUNDLE), false, options).await;
    let ann = world.admin.clone();
    world.decide(&ann, "a", "").await;
    let next = sources(&BUNDLE.replace("decision: deny", "decision: allow"));
    let body = json!({"after": next}).to_string();
    let found = world.post(DIFF, &ann, &body).await.ok();
    assert_eq!((&found["ok"], &found["complete"]), (&json!(true), &json!(false)), "{found}");
    // Nothing is proved, whatever could have been enumerated; what differs is told all the same.
    assert_eq!(at(&found, "/diff/coverage/kind"), "sampled");
    let why = found["diff"]["coverage"]["not_covered"].as_array().unwrap();
    assert!(why.iter().any(|it| it.as_str().unwrap().contains("had to end")), "{found}");
    assert_ne!(found["diff"]["unseen"], Value::Null);
    let lines = world.call("POST", DIFF, &ann, &[("accept", "text/plain")], &body).await;
    assert!(lines.text.contains("had to end"), "{lines:?}");
    let again = world.post(BACKTEST, &ann, &json!({"sources": next}).to_string()).await.ok();
    assert_eq!(again["complete"], false, "{again}");

    let world = World::new().await;
    let found = world.post(DIFF, &world.admin, &body).await.ok();
    assert_eq!(found["complete"], true, "{found}");
}

/// A log that is read batch by batch, and hangs before each while it is told to.
struct Slow {
    reader: Arc<dyn JournalReader>,
    how: Arc<How>,
}

#[derive(Default)]
struct How {
    hangs: Mutex<bool>,
    woken: Condvar,
    /// Reads of whole logs that hang.
    caught: AtomicU64,
    /// Those since nothing hangs.
    read: AtomicU64,
}

/// What is read at once by who reads a whole log.
const WHOLE: usize = 2 << 20;

impl JournalReader for Slow {
    fn workspaces(&self) -> Result<Vec<(WorkspaceNo, WorkspaceName)>, PortError> {
        self.reader.workspaces()
    }

    fn head(&self, workspace: WorkspaceNo) -> Result<Head, PortError> {
        self.reader.head(workspace)
    }

    fn read(&self, no: WorkspaceNo, index: u64, most: usize) -> Result<Vec<Batch>, PortError> {
        if most != WHOLE {
            return self.reader.read(no, index, most);
        }
        let mut hangs = self.how.hangs.lock().unwrap();
        if *hangs {
            self.how.caught.fetch_add(1, Ordering::SeqCst);
        }
        while *hangs {
            hangs = self.how.woken.wait(hangs).unwrap();
        }
        self.how.read.fetch_add(1, Ordering::SeqCst);
        self.reader.read(no, index, 1)
    }

    fn bundle(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, PortError> {
        self.reader.bundle(digest)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backtest_ends_when_its_caller_leaves() {
    let how = Arc::new(How::default());
    let given = how.clone();
    // Of connections there is one: the next caller is served once the one before has gone.
    let options = ServerOptions {
        connections_max: 1,
        comparing_time: Duration::from_secs(3600),
        ..ServerOptions::default()
    };
    let world = World::over_with(options, move |stores| {
        stores.reader = Arc::new(Slow { reader: stores.reader.clone(), how: given });
    })
    .await;
    let ann = world.admin.clone();
    let alone = async || while world.get("/healthz", "").await.status != 200 {};
    for n in 0..40 {
        alone().await;
        let body = crate::world::request(&format!("d{n}"), "");
        while world.post("/api/v1/decisions", &ann, &body).await.status != 200 {}
    }
    *how.hangs.lock().unwrap() = true;
    let body = json!({"sources": sources(BUNDLE)}).to_string();
    for nth in 1..=2 {
        // Where the call before has not gone, this one is turned away and asks again.
        let mut asked = world.send("POST", BACKTEST, &ann, &[], &body).await;
        while how.caught.load(Ordering::SeqCst) < nth {
            let gone = tokio::time::timeout(Duration::from_millis(50), asked.readable()).await;
            if gone.is_ok() {
                asked = world.send("POST", BACKTEST, &ann, &[], &body).await;
            }
        }
        drop(asked);
        alone().await;
    }
    let lint = async || loop {
        let body = json!({"sources": sources(BUNDLE)}).to_string();
        let answer = world.post(LINT, &ann, &body).await;
        if answer.status == 200 || answer.text.contains("trying policies") {
            return answer.status;
        }
    };
    assert_eq!(lint().await, 503, "both hold their places");
    how.read.store(0, Ordering::SeqCst);
    *how.hangs.lock().unwrap() = false;
    how.woken.notify_all();
    while lint().await != 200 {}
    // What was on its way is read, and no more.
    let read = how.read.load(Ordering::SeqCst);
    assert!(read < 30, "{read} batches of 40 were read for nobody");
}
