//! Channels over real sockets: what is told arrives once and in order whatever the peer does, and what
//! comes back counts only when a person on the list pressed a button that is ours.

#[path = "channels/chat.rs"]
mod chat;
#[path = "channels/exceptions.rs"]
mod exceptions;
#[path = "channels/order.rs"]
mod order;
#[path = "channels/outage.rs"]
mod outage;

use crate::stubs::receiver::Receiver;
use crate::stubs::slack::{self, Slack};
use crate::stubs::telegram::{self, Telegram};
use crate::world::{BIG, World, at};
use placet_outbound::{Inside, Outbound};
use placet_runtime::ports::{Clock, Sleep};
use placet_server::{ChannelOptions, Secrets, ServerOptions};
use placet_store::{Create, DataDir};
use placet_types::ids::TimeMs;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;

/// Signs what is sent to `siem`.
const WEBHOOK_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Proves calls from Telegram to `hook`.
const HOOK_TOKEN: &str = "hook-secret-token_1";
/// Users of Telegram.
const BOB: i64 = 42;
const EVE: i64 = 43;
const CAT: i64 = 44;

/// Everything that channels need in a test.
struct Scene {
    world: World,
    telegram: Telegram,
    slack: Slack,
    receiver: Receiver,
    secrets: TempDir,
    clock: Arc<Stepped>,
    bot: String,
    bob: String,
}

fn put(dir: &Path, name: &str, text: &str, mode: u32) {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn bundle(receiver: &str, mode: &str) -> String {
    let mode = match mode {
        "poll" => "",
        _ => "mode: webhook, inbound_secret: hook, ",
    };
    format!(
        r#"
version: v1
rules:
  - id: small
    match: {{ surfaces: ["payments.transfer"] }}
    decision: allow
  - id: big
    match: {{ surfaces: ["payments.transfer"], risk_tags: ["big"] }}
    decision: require_approval
    reason: "big transfers need a person"
    approval: {{ roles: {{ operator: 1 }}, expires: 30d }}
  - id: never
    match: {{ surfaces: ["payments.transfer"], risk_tags: ["never"] }}
    decision: deny
channels:
  - {{ id: chat, kind: telegram, to: "{chat}", secret: bot, {mode}approvers: {{ "42": "human:bob", "43": "human:eve", "44": "human:cat" }} }}
  - {{ id: room, kind: slack, to: {channel}, secret: xoxb, inbound_secret: signing, approvers: {{ U042: "human:bob", U043: "human:eve" }} }}
  - {{ id: siem, kind: webhook, to: "{receiver}", secret: siem }}
notify:
  - {{ id: ask, on: [approval.opened], channels: [chat, room, siem] }}
  - {{ id: record, on: [approval.voted, approval.closed, approval.consumed, decision.denied, kill.tripped], channels: [siem] }}
  - {{ id: alarm, on: [kill.tripped], channels: [chat, room] }}
"#,
        chat = telegram::CHAT,
        channel = slack::CHANNEL,
    )
}

impl Scene {
    async fn new(mode: &str) -> Self {
        Self::under(mode, |bundle| bundle).await
    }

    /// Under another bundle than the usual one.
    async fn under(mode: &str, change: impl FnOnce(String) -> String) -> Self {
        Self::within(mode, Inside::loopback(), change).await
    }

    /// Where other receivers inside may be reached than those on this machine.
    async fn within(mode: &str, inside: Inside, change: impl FnOnce(String) -> String) -> Self {
        let (telegram, slack, receiver) =
            (Telegram::start().await, Slack::start().await, Receiver::start().await);
        let secrets = TempDir::new().unwrap();
        for (name, text) in [
            ("bot", telegram::TOKEN),
            ("hook", HOOK_TOKEN),
            ("xoxb", slack::TOKEN),
            ("signing", slack::SIGNING),
            ("siem", WEBHOOK_KEY),
        ] {
            put(secrets.path(), name, text, 0o600);
        }
        let scratch = TempDir::new().unwrap();
        let pattern = DataDir::open(&scratch.path().join("data"), Create::Yes).unwrap();
        let channels = ChannelOptions {
            outbox: Arc::new(pattern.outbox().unwrap()),
            secrets: Secrets::new(Some(secrets.path().to_owned())),
            outbound: Outbound::new(None).unwrap(),
            outside: Outbound::outside(None, inside).unwrap(),
            telegram: telegram.url(),
            slack: slack.url(),
        };
        let options = ServerOptions { channels: Some(channels), ..ServerOptions::default() };
        let clock = Arc::new(Stepped::new());
        let bundle = change(bundle(&receiver.url(), mode));
        let world = World::at(&bundle, options, clock.clone()).await;
        let bot = world.key("agent:bot", &[]).await;
        let bob = world.key("human:bob", &["operator"]).await;
        world.key("human:cat", &["auditor"]).await;
        Self { world, telegram, slack, receiver, secrets, clock, bot, bob }
    }

    /// Starts again over the same directory.
    async fn restart(mut self, between: impl FnOnce(&Path)) -> Self {
        let clock = self.clock.clone();
        self.world = self.world.restart_over(between, |stores| stores.clock = clock).await;
        self
    }

    /// Holds a big transfer: its decision and its approval.
    async fn hold(&self, name: &str) -> (String, String) {
        let decided = self.world.decide(&self.bot, name, BIG).await;
        let (decision, approval) = (at(&decided, "/id"), at(&decided, "/approval/id"));
        (decision.to_owned(), approval.to_owned())
    }

    /// Has another bundle come into force.
    async fn publish(&self, text: &str) {
        let body = json!({"sources": [{"name": "policy.yaml", "text": text}]}).to_string();
        self.world.post("/api/v1/policies", &self.world.admin, &body).await.ok();
    }

    async fn approval(&self, id: &str) -> Value {
        self.world.get(&format!("/api/v1/approvals/{id}"), &self.bob).await.ok()
    }

    async fn state(&self, id: &str) -> String {
        at(&self.approval(id).await, "/state").to_owned()
    }

    async fn outbox(&self) -> Value {
        self.world.get("/api/v1/outbox", &self.world.admin).await.ok()
    }

    async fn is_empty(&self) -> bool {
        let outbox = self.outbox().await;
        outbox["deliveries"].as_array().unwrap().iter().all(|it| it["state"] == "dead")
    }

    /// Waits until everything that was found in the log has been told.
    async fn told(&self, count: usize) {
        until("everything is told", async || {
            self.receiver.taken().len() >= count && self.is_empty().await
        })
        .await;
    }

    /// Waits until the receiver of events took the question about an approval.
    async fn receiver_takes(&self, approval: &str) {
        until("the receiver is asked", async || {
            self.receiver.taken().iter().any(|it| at(it, "/data/approval/id") == approval)
        })
        .await;
    }

    /// The newest message of the chat and what its buttons carry.
    fn message(&self) -> (i64, telegram::Shown) {
        self.telegram.messages().pop().expect("a message")
    }

    /// Waits until the chat shows a message with two buttons.
    async fn asked(&self) -> (i64, String, String) {
        until("the chat is asked", async || {
            self.telegram.messages().last().is_some_and(|(_, it)| it.buttons.len() == 2)
        })
        .await;
        let (id, shown) = self.message();
        (id, shown.buttons[0].1.clone(), shown.buttons[1].1.clone())
    }

    /// Waits for the answer to a press.
    async fn answered(&self, query: &str) -> String {
        until("a press is answered", async || self.telegram.answer(query).is_some()).await;
        self.telegram.answer(query).unwrap()
    }
}

/// A clock that moves when it is told to.
struct Stepped {
    now: watch::Sender<u64>,
    /// By how much the wall clock was set forward.
    set: AtomicU64,
}

impl Stepped {
    fn new() -> Self {
        Self { now: watch::Sender::new(1), set: AtomicU64::new(0) }
    }

    fn step(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        self.now.send_modify(|now| *now += by);
    }

    /// Somebody sets the wall clock.
    fn set_forward(&self, by: Duration) {
        self.set.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Stepped {
    fn wall(&self) -> TimeMs {
        TimeMs(1_790_000_000_000 + *self.now.borrow() + self.set.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        *self.now.borrow()
    }

    fn sleep(&self, wait: Duration) -> Sleep {
        let until = *self.now.borrow() + u64::try_from(wait.as_millis()).unwrap();
        let mut now = self.now.subscribe();
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= until).await;
        })
    }
}

/// Waits for something that comes by itself; that it never comes is the failure, not when.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
