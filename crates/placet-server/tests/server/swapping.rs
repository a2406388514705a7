//! Bundles swapped under load, over crashes, and bundles that cannot be served.

use crate::policies::{POLICIES, check_log, compile, current, digest, keyed, outcome, rules};
use crate::world::{BUNDLE, World, at, request};
use placet_runtime::ports::{AppendError, Batch, Journal, JournalReader, PortError, WorkspaceNo};
use placet_server::ServerOptions;
use placet_types::Digest;
use placet_types::ids::WorkspaceName;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Decisions under full load while bundles are swapped: none fails, and each outcome is that of the
/// bundle that its entry names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_made_under_exactly_the_bundle_that_it_names() {
    let world = Arc::new(World::new().await);
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let made = Arc::new(AtomicUsize::new(0));
    let mut outcomes: BTreeMap<String, &str> = BTreeMap::new();
    outcomes.insert(digest(BUNDLE), "PERMIT");
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (world, bot) = (world.clone(), bot.clone());
            let (stop, made) = (stop.clone(), made.clone());
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let body = request(&format!("{client}-{n}"), "");
                    let answer = world.post("/api/v1/decisions", &bot, &body);
                    let answer = answer.await.ok();
                    made.fetch_add(1, Ordering::SeqCst);
                    let pair =
                        (at(&answer, "/policy").to_owned(), at(&answer, "/outcome").to_owned());
                    seen.push(pair);
                }
                seen
            })
        })
        .collect();
    for n in 0..24 {
        let decision = if n % 2 == 0 { "deny" } else { "allow" };
        outcomes.insert(digest(&rules(n, decision)), if n % 2 == 0 { "DENY" } else { "PERMIT" });
        let before = made.load(Ordering::SeqCst);
        world.post(POLICIES, &ann, &keyed(&rules(n, decision), &format!("p{n}"))).await.ok();
        // Effective for the next decision.
        let next = world.decide(&bot, &format!("next-{n}"), "").await;
        assert_eq!(at(&next, "/policy"), digest(&rules(n, decision)));
        while made.load(Ordering::SeqCst) < before + 16 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for client in clients {
        for (policy, outcome) in client.await.unwrap() {
            assert_eq!(outcomes.get(&policy), Some(&outcome.as_str()), "{policy}");
            *seen.entry(policy).or_default() += 1;
        }
    }
    assert!(seen.len() > 12, "decisions under {} bundles", seen.len());
    let world = Arc::into_inner(world).unwrap();
    check_log(world, &ann).await;
}

/// How far a journal lets an arming come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    /// The bytes are kept, and nothing refers to them.
    BeforeDraft,
    /// The decision is durable, the arming is not.
    BeforeArming,
    /// The arming is durable, and nobody was told.
    AfterArming,
}

struct Crashing {
    journal: Box<dyn Journal>,
    at: Arc<Mutex<Option<Crash>>>,
}

impl Journal for Crashing {
    fn append(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        let at = *self.at.lock().unwrap();
        let has = |kind: &str| {
            let needle = format!("\"type\":\"{kind}\"");
            batches.iter().any(|batch| {
                batch.frames.windows(needle.len()).any(|window| window == needle.as_bytes())
            })
        };
        let gone = || Err(AppendError::Unknown("the process is gone".into()));
        match at {
            Some(Crash::BeforeDraft) if has("bundle.drafted") => gone(),
            Some(Crash::BeforeArming) if has("bundle.armed") => gone(),
            Some(Crash::AfterArming) if has("bundle.armed") => {
                self.journal.append(batches)?;
                gone()
            }
            _ => self.journal.append(batches),
        }
    }

    fn create_workspace(&mut self, name: &WorkspaceName) -> Result<WorkspaceNo, PortError> {
        self.journal.create_workspace(name)
    }

    fn put_bundle(&mut self, digest: &[u8; 32], bytes: &[u8]) -> Result<(), PortError> {
        self.journal.put_bundle(digest, bytes)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_anywhere_the_log_says_what_is_in_force() {
    for crash in [Crash::BeforeDraft, Crash::BeforeArming, Crash::AfterArming] {
        let world = World::new().await;
        let (ann, bot) = (world.admin.clone(), world.key("agent:bot", &[]).await);
        let at_crash = Arc::new(Mutex::new(Some(crash)));
        let at_journal = at_crash.clone();
        let world = world
            .restart_over(
                |_| {},
                |stores| {
                    let empty = Box::new(Nothing);
                    let journal = std::mem::replace(&mut stores.journal, empty);
                    stores.journal = Box::new(Crashing { journal, at: at_journal });
                },
            )
            .await;
        let new = keyed(&rules(1, "deny"), "p1");
        world.post(POLICIES, &ann, &new).await.refused(503, "store_failed");
        *at_crash.lock().unwrap() = None;
        let world = world.unseeded().restart().await;
        let armed = crash == Crash::AfterArming;
        let wanted = if armed { digest(&rules(1, "deny")) } else { digest(BUNDLE) };
        assert_eq!(at(&current(&world, &ann).await, "/bundle"), wanted, "{crash:?}");
        let outcome_now = outcome(&world, &bot, "a").await;
        assert_eq!(outcome_now, if armed { "DENY" } else { "PERMIT" }, "{crash:?}");
        // The same command goes on from there.
        let done = world.post(POLICIES, &ann, &new).await.ok();
        assert_eq!(at(&done, "/bundle"), digest(&rules(1, "deny")), "{crash:?}");
        check_log(world, &ann).await;
    }
}

/// Stands in while journals are exchanged.
struct Nothing;

impl Journal for Nothing {
    fn append(&mut self, _: &[Batch]) -> Result<(), AppendError> {
        Err(AppendError::Fenced)
    }
    fn create_workspace(&mut self, _: &WorkspaceName) -> Result<WorkspaceNo, PortError> {
        Err(PortError::new("nothing"))
    }
    fn put_bundle(&mut self, _: &[u8; 32], _: &[u8]) -> Result<(), PortError> {
        Err(PortError::new("nothing"))
    }
}

/// A reader whose bundles are damaged.
struct Forgetful {
    reader: Arc<dyn JournalReader>,
    digest: Digest,
    instead: Option<Vec<u8>>,
}

impl JournalReader for Forgetful {
    fn workspaces(&self) -> Result<Vec<(WorkspaceNo, WorkspaceName)>, PortError> {
        self.reader.workspaces()
    }
    fn head(&self, workspace: WorkspaceNo) -> Result<placet_runtime::ports::Head, PortError> {
        self.reader.head(workspace)
    }
    fn read(&self, no: WorkspaceNo, index: u64, max: usize) -> Result<Vec<Batch>, PortError> {
        self.reader.read(no, index, max)
    }
    fn bundle(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, PortError> {
        if *digest == self.digest.0 { Ok(self.instead.clone()) } else { self.reader.bundle(digest) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_cannot_be_served_silences_its_workspace_and_no_other() {
    let world = World::without_bundle().await;
    let ann = world.admin.clone();
    let bot = world.key("agent:bot", &[]).await;
    world.post(POLICIES, &ann, &keyed(&rules(1, "allow"), "p1")).await.ok();
    let made = world.post("/api/v1/workspaces", &ann, r#"{"name":"other","admin":"human:zoe"}"#);
    let zoe = at(&made.await.json(), "/key").to_owned();
    let own = rules(2, "allow");
    world.post(POLICIES, &zoe, &keyed(&own, "p1")).await.ok();
    assert_eq!(outcome(&world, &bot, "before").await, "PERMIT");
    let lost = compile(&rules(1, "allow"));
    let others = String::from_utf8(compile(&own).normalised().to_vec()).unwrap().into_bytes();
    let mut world = world;
    for instead in [None, Some(b"{".to_vec()), Some(others)] {
        let digest = lost.digest();
        world = world
            .restart_over(
                |_| {},
                |stores| {
                    let reader = stores.reader.clone();
                    stores.reader = Arc::new(Forgetful { reader, digest, instead });
                },
            )
            .await;
        let notices = world.started.as_ref().unwrap().notices.join("\n");
        assert!(notices.contains("workspace main: the bundle sha256:"), "{notices}");
        let silent = world.decide(&bot, &format!("{:?}", Instant::now()), "").await;
        assert_eq!(at(&silent, "/outcome"), "SILENCE");
        assert_eq!(at(&silent, "/reasons/0/code"), "no_bundle");
        assert_eq!(outcome(&world, &zoe, &format!("{:?}", Instant::now())).await, "PERMIT");
        let now = current(&world, &bot).await;
        assert_eq!(at(&now, "/bundle"), digest.to_string());
        assert!(now["lost"].is_string(), "{now}");
        // Nothing is erased on behalf of a retention that nobody can read.
        let erase = world.post("/api/v1/audit/erase", &ann, r#"{"before":"0s"}"#).await;
        erase.refused(503, "bundle_lost");
    }
    // Another bundle is the way out, under the constitution as ever.
    world.post(POLICIES, &ann, &keyed(&rules(3, "allow"), "p2")).await.ok();
    assert_eq!(outcome(&world, &bot, "after").await, "PERMIT");
    assert_eq!(current(&world, &bot).await["lost"], Value::Null);
    let world = world.restart().await;
    check_log(world, &ann).await;
}

/// Permits what its own case says it must deny.
const UNTRUE: &str = r#"
version: v1
rules:
  - id: transfers
    match: { surfaces: ["payments.transfer"] }
    decision: allow
tests:
  - id: no-transfers
    request: { surface: payments.transfer, action: create }
    must_deny: true
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_permits_what_it_must_deny_is_refused_wherever_it_comes() {
    let true_one = UNTRUE.replace("decision: allow", "decision: deny");
    let world = World::with(None, false, ServerOptions::default()).await;
    let (ann, bot) = (world.admin.clone(), world.key("agent:bot", &[]).await);
    let problem = world.post(POLICIES, &ann, &keyed(UNTRUE, "p1")).await;
    let problem = problem.refused(422, "bundle_untrue");
    assert!(at(&problem, "/diagnostics/0/message").contains("no-transfers"), "{problem}");
    assert_eq!(current(&world, &ann).await["bundle"], Value::Null, "nothing replaces nothing");
    world.post(POLICIES, &ann, &keyed(&true_one, "p2")).await.ok();
    assert_eq!(outcome(&world, &bot, "a").await, "DENY");
    let found = world.get("/api/v1/audit?type=bundle.drafted", &ann).await.ok();
    assert_eq!(found["entries"][0]["entry"]["predicate"]["data"]["cases"], 1);
    world.post(POLICIES, &ann, &keyed(UNTRUE, "p3")).await.refused(422, "bundle_untrue");
    assert_eq!(outcome(&world, &bot, "b").await, "DENY");

    // An ordinary case that comes out otherwise is refused as well, and named.
    let wrong = true_one.replace("must_deny: true", "expect: { outcome: PERMIT }");
    let problem = world.post(POLICIES, &ann, &keyed(&wrong, "p4")).await;
    let problem = problem.refused(422, "bundle_untrue");
    let said = at(&problem, "/diagnostics/0/message");
    assert!(
        said.contains("no-transfers") && said.contains("expected PERMIT, found DENY"),
        "{said}"
    );
    let empty = json!({"sources": [], "idempotency_key": "p5"});
    world.post(POLICIES, &ann, &empty.to_string()).await.refused(422, "bundle_empty");
    assert_eq!(outcome(&world, &bot, "c").await, "DENY");

    // Given to a start it ends the start.
    let error = World::start_refused(UNTRUE).await;
    assert_eq!(error.code(), "bundle_untrue", "{error}");
    assert!(error.to_string().contains("no-transfers"), "{error}");
}
