//! A started server in a scratch directory and a small HTTP client.

use placet_outbound::Inside;
use placet_policy::{Bundle, Source};
use placet_runtime::crypto::Fast;
use placet_runtime::ports::Clock;
use placet_runtime::{
    KeySpec, Options, Plane, Principal, SnapshotPlan, Started, Stores, Workspace,
};
use placet_server::{Listeners, ServerOptions, open_stores, serve};
use placet_store::{Create, DataDir, OpenError};
use placet_types::Caller;
use placet_types::ids::{ActorId, WorkspaceName};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const BUNDLE: &str = r#"
version: v1
rules:
  - id: small
    match: { surfaces: ["payments.transfer"] }
    decision: allow_with_constraints
    constraints: { max_retries: 1 }
    reason: "small transfers are fine"
  - id: big
    match: { surfaces: ["payments.transfer"], risk_tags: ["big"] }
    decision: require_approval
    reason: "big transfers need a person"
    approval: { roles: { operator: 1 } }
  - id: never
    match: { surfaces: ["payments.transfer"], risk_tags: ["never"] }
    decision: deny
  - id: run
    match: { surfaces: ["execution"] }
    decision: allow
  - id: slow
    match: { surfaces: ["slow.*"] }
    decision: throttle
    retry_after: 5s
"#;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    bundle: Option<String>,
    dev: bool,
    options: ServerOptions,
    idle: Option<Duration>,
    pub(crate) address: SocketAddr,
    /// The same for operators.
    pub(crate) operators: SocketAddr,
    pub(crate) plane: Arc<Plane>,
    pub(crate) started: Option<Started>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<std::io::Result<()>>>,
    /// Key of `human:ann`, the first admin.
    pub(crate) admin: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// Asserts status and code, that it is a problem document, and that the code has a page.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(self.headers.contains("application/problem+json"), "{self:?}");
        let page = format!("{}/../../../docs/errors/{code}.md", env!("CARGO_MANIFEST_DIR"));
        assert!(std::path::Path::new(&page).exists(), "{page}");
        self.json()
    }
}

/// Channels let go of their outbox, and so of the lock, a moment after they have ended.
async fn open(path: &Path, patient: bool) -> DataDir {
    loop {
        match DataDir::open(path, Create::Yes) {
            Err(OpenError::InUse { .. }) if patient => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

fn compile(text: &str) -> Arc<Bundle> {
    let source = Source { name: "policy.yaml".into(), text: text.into() };
    match Bundle::compile::<Fast>(&[source]) {
        Ok(bundle) => Arc::new(bundle),
        Err(found) => panic!("{found:?}"),
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Some(BUNDLE), false, ServerOptions::default()).await
    }

    pub(crate) async fn with(bundle: Option<&str>, dev: bool, options: ServerOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let bundle = bundle.map(str::to_owned);
        Self::start(dir, bundle, dev, options, None, None, |_| {}).await
    }

    /// A world whose workspaces have no bundle until one is published.
    pub(crate) async fn without_bundle() -> Self {
        Self::with(None, false, ServerOptions::default()).await
    }

    /// A world in which states of workspaces leave memory after so long without a request.
    pub(crate) async fn idle_after(idle: Duration) -> Self {
        let (dir, bundle) = (TempDir::new().unwrap(), Some(BUNDLE.to_owned()));
        let options = ServerOptions::default();
        Self::start(dir, bundle, false, options, Some(idle), None, |_| {}).await
    }

    async fn start(
        dir: TempDir,
        bundle: Option<String>,
        dev: bool,
        options: ServerOptions,
        idle: Option<Duration>,
        admin: Option<String>,
        change: impl FnOnce(&mut Stores),
    ) -> Self {
        let data = open(&dir.path().join("data"), options.channels.is_some()).await;
        let mut stores = open_stores(&data).unwrap();
        change(&mut stores);
        let mut served = options.clone();
        if served.inside == Inside::default() {
            // Where the issuers of the tests are.
            served.inside = Inside::loopback();
        }
        if let Some(channels) = &mut served.channels {
            // What was given is a pattern: the outbox is this directory's.
            channels.outbox = Arc::new(data.outbox().unwrap());
        }
        let setup = Options {
            dev,
            solo: false,
            bundle: bundle.as_deref().map(compile),
            workspace: WorkspaceName::parse("main").unwrap(),
            admin: ActorId::parse("human:ann").unwrap(),
            idle,
            snapshots: SnapshotPlan {
                entries: 5,
                entries_idle: 1,
                rest: 0,
                ..SnapshotPlan::default()
            },
        };
        let started = Plane::start(stores, setup).await.unwrap();
        let bootstrap = started.bootstrap.as_ref().map(|key| key.reveal().to_string());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let beside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let operators = beside.local_addr().unwrap();
        let listeners = Listeners { all: listener, operators: Some(beside) };
        let (stop, stopped) = oneshot::channel::<()>();
        let plane = started.plane.clone();
        let serving = tokio::spawn(serve(listeners, plane.clone(), served, async move {
            let _ = stopped.await;
        }));
        let admin = bootstrap.or(admin).unwrap();
        Self {
            dir,
            bundle,
            dev,
            options,
            idle,
            address,
            operators,
            plane,
            started: Some(started),
            stop: Some(stop),
            serving: Some(serving),
            admin,
        }
    }

    /// A world whose clock is another one.
    pub(crate) async fn at(bundle: &str, options: ServerOptions, clock: Arc<dyn Clock>) -> Self {
        let (dir, bundle) = (TempDir::new().unwrap(), Some(bundle.to_owned()));
        Self::start(dir, bundle, false, options, None, None, |stores| stores.clock = clock).await
    }

    /// A world over stores that are not as they should be.
    pub(crate) async fn over(change: impl FnOnce(&mut Stores)) -> Self {
        Self::over_with(ServerOptions::default(), change).await
    }

    pub(crate) async fn over_with(
        options: ServerOptions,
        change: impl FnOnce(&mut Stores),
    ) -> Self {
        let (dir, bundle) = (TempDir::new().unwrap(), Some(BUNDLE.to_owned()));
        Self::start(dir, bundle, false, options, None, None, change).await
    }

    /// From here on it starts without a bundle of its own: what was published since decides.
    pub(crate) fn unseeded(self) -> Self {
        Self { bundle: None, ..self }
    }

    /// Starts over a directory with a bundle given by the operator, and does not get there.
    pub(crate) async fn start_refused(bundle: &str) -> placet_runtime::StartError {
        let dir = TempDir::new().unwrap();
        let data = DataDir::open(&dir.path().join("data"), Create::Yes).unwrap();
        let options = Options {
            dev: false,
            solo: false,
            bundle: Some(compile(bundle)),
            workspace: WorkspaceName::parse("main").unwrap(),
            admin: ActorId::parse("human:ann").unwrap(),
            idle: None,
            snapshots: SnapshotPlan::default(),
        };
        match Plane::start(open_stores(&data).unwrap(), options).await {
            Ok(_) => panic!("it started"),
            Err(error) => error,
        }
    }

    /// Stops everything and starts again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// As [`restart`](Self::restart), with something done to the data directory in between.
    pub(crate) async fn restart_after(self, between: impl FnOnce(&Path)) -> Self {
        self.restart_over(between, |_| {}).await
    }

    /// As [`restart_after`](Self::restart_after), over stores that are not as they should be.
    pub(crate) async fn restart_over(
        mut self,
        between: impl FnOnce(&Path),
        change: impl FnOnce(&mut Stores),
    ) -> Self {
        drop(self.stop.take());
        self.serving.take().unwrap().await.unwrap().unwrap();
        let started = self.started.take().unwrap();
        let plane = Arc::downgrade(&self.plane);
        drop(self.plane);
        tokio::task::spawn_blocking(|| started.stop()).await.unwrap();
        // Streams let go of the plane a moment after they have ended, and with it of the lock.
        while plane.strong_count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        between(&self.dir.path().join("data"));
        let Self { dir, bundle, dev, options, idle, admin, .. } = self;
        Self::start(dir, bundle, dev, options, idle, Some(admin), change).await
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn root(&self) -> Arc<Workspace> {
        self.plane.root().unwrap()
    }

    pub(crate) fn size(&self) -> u64 {
        *self.root().watch_size().borrow()
    }

    /// A key straight from the plane, without asking the constitution.
    pub(crate) async fn key(&self, actor: &str, roles: &[&str]) -> String {
        self.key_in(&self.root(), actor, roles).await
    }

    pub(crate) async fn key_in(
        &self,
        workspace: &Arc<Workspace>,
        actor: &str,
        roles: &[&str],
    ) -> String {
        let all = self.plane.keys_of(workspace);
        let admins = all.iter().filter(|key| key.roles.contains("admin") && !key.revoked).count();
        assert!(admins < 2, "make the second admin last");
        let spec = KeySpec {
            actor: ActorId::parse(actor).unwrap(),
            environment: "production".into(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect::<BTreeSet<_>>(),
        };
        let admin = all.iter().find(|key| key.roles.contains("admin")).unwrap();
        let caller = Caller {
            workspace: workspace.name.clone(),
            environment: "production".into(),
            actor: admin.actor.clone(),
            roles: admin.roles.clone(),
            chain: Vec::new(),
        };
        let principal = Principal { caller, key: Some(admin.key) };
        let body = Plane::key_request(&spec, format!("seed-{actor}"), Some("n".repeat(20)));
        let request = placet_types::Request::read(body, &principal.caller).unwrap();
        let decided = self.plane.decide(workspace, &principal, &request).await;
        let decision = decided.unwrap_or_else(|e| panic!("{e}")).answer.event.decision;
        let key = self.plane.create_key(workspace, &principal, spec, decision).await.unwrap();
        key.reveal().to_string()
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        Self::read(self.send(method, path, key, headers, body).await).await
    }

    /// The answer to what was sent.
    pub(crate) async fn read(mut stream: TcpStream) -> Answer {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let all = String::from_utf8(bytes).unwrap();
        let (head, text) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{all:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let text = if head.to_lowercase().contains("transfer-encoding: chunked") {
            unchunk(text)
        } else {
            text.to_owned()
        };
        Answer { status, headers: head.to_lowercase(), text }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str("host: x\r\n");
        }
        if !key.is_empty() {
            head.push_str(&format!("authorization: Bearer {key}\r\n"));
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.push_str(body);
        // A server that refuses early closes before it has read everything.
        let _ = stream.write_all(head.as_bytes()).await;
        stream
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Answer {
        self.call("GET", path, key, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &str) -> Answer {
        self.call("POST", path, key, &[], body).await
    }

    /// A decision on `payments.transfer`.
    pub(crate) async fn decide(&self, key: &str, idempotency: &str, more: &str) -> Value {
        self.post("/api/v1/decisions", key, &request(idempotency, more)).await.ok()
    }
}

pub(crate) fn request(idempotency: &str, more: &str) -> String {
    format!(
        r#"{{"surface":"payments.transfer","action":"create","idempotency_key":"{idempotency}","arguments":{{"amount":12.5}}{more}}}"#
    )
}

pub(crate) const BIG: &str = r#","risk_tags":["big"],"trace_id":"t 1""#;

fn unchunk(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        out.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    out
}

/// The value at a pointer, as text.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {value}"))
}
