//! Channels: what happens is told to Telegram, Slack and webhooks, and what people decide there is
//! heard. Owns the delivery and the way back; what is shown and what is believed is `placet-notify`'s,
//! what a vote leads to the plane's.
//!
//! A follower of each log fills the outbox, a deliverer empties it, and neither is ever waited for by
//! whoever decides.

mod chat;
mod deliver;
mod exceptions;
mod follow;
mod inbound;
mod outbox;
mod poll;
mod slack;
mod telegram;
mod turns;
mod votes;
mod webhook;

pub(crate) use inbound::routes;
pub(crate) use outbox::{list, replay};

use crate::secrets::{SecretError, Secrets};
use crate::server::Server;
use placet_outbound::Outbound;
use placet_policy::Channel;
use placet_runtime::ports::WorkspaceNo;
use placet_runtime::{Plane, Workspace};
use placet_store::{Outbox, Waiting};
use placet_types::ids::TimeMs;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// What channels need of the operator.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// Where deliveries wait.
    pub outbox: Arc<Outbox>,
    /// Tokens and keys that bundles name.
    pub secrets: Secrets,
    /// How services are reached whose addresses are the operator's.
    pub outbound: Outbound,
    /// How receivers are reached whose addresses are a bundle's.
    pub outside: Outbound,
    /// Base URL of Telegram's Bot API.
    pub telegram: String,
    /// Base URL of Slack's API.
    pub slack: String,
}

impl ChannelOptions {
    /// The Bot API as the world has it.
    pub const TELEGRAM: &'static str = "https://api.telegram.org";
    /// Slack's API as the world has it.
    pub const SLACK: &'static str = "https://slack.com/api";
}

/// A channel of a workspace.
pub(crate) type Destination = (WorkspaceNo, String);

/// A destination that is left alone.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    /// Failures in a row.
    failures: u32,
    until: TimeMs,
    /// Not for a failure, but because nothing is due before.
    idle: bool,
}

/// Why a channel cannot be used at the moment.
struct Down {
    why: String,
    /// Whether it names nothing of this machine, so that everybody who oversees may read it.
    public: bool,
}

/// What channels share.
pub(crate) struct Channels {
    options: ChannelOptions,
    /// Told when there may be something to deliver.
    wake: Notify,
    pauses: Mutex<HashMap<Destination, Pause>>,
    /// Since when something has waited for a channel that the policy in force does not know.
    missing: Mutex<HashMap<Destination, TimeMs>>,
    down: Mutex<HashMap<Destination, Down>>,
    delivered: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    refused: AtomicU64,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Channels {
    pub(crate) fn new(options: ChannelOptions) -> Self {
        Self {
            options,
            wake: Notify::new(),
            pauses: Mutex::default(),
            missing: Mutex::default(),
            down: Mutex::default(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn outbox(&self) -> &Arc<Outbox> {
        &self.options.outbox
    }

    /// Works on the outbox off the threads that answer.
    async fn on_outbox<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Outbox) -> Result<T, placet_runtime::ports::PortError> + Send + 'static,
    ) -> Result<T, String> {
        let outbox = self.outbox().clone();
        let done = tokio::task::spawn_blocking(move || work(&outbox)).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// A secret that the bundle of a workspace names.
    fn secret(
        &self,
        plane: &Plane,
        workspace: &Workspace,
        name: &str,
    ) -> Result<Zeroizing<String>, SecretError> {
        let first = plane.root().is_some_and(|root| root.no == workspace.no);
        self.options.secrets.read((!first).then_some(&workspace.name), name)
    }

    /// Remembers why a channel cannot be used, or that it can; says it once.
    fn set_down(&self, workspace: &Workspace, channel: &str, why: Option<Down>) {
        let mut down = locked(&self.down);
        let key = (workspace.no, channel.to_owned());
        match why {
            None => {
                if down.remove(&key).is_some() {
                    eprintln!("placet: channel {channel} of {} works again", workspace.name);
                }
            }
            Some(now) => {
                if down.get(&key).is_none_or(|known| known.why != now.why) {
                    let (name, why) = (&workspace.name, &now.why);
                    eprintln!("placet: channel {channel} of {name} is down: {why}");
                }
                down.insert(key, now);
            }
        }
    }

    /// The key of the buttons of a channel.
    fn button_key(workspace: &Workspace, channel: &Channel) -> [u8; 32] {
        workspace.names().of("channel-buttons", &channel.id).0
    }

    fn count(&self, what: &AtomicU64) {
        what.fetch_add(1, Ordering::Relaxed);
    }

    /// Depth, age and dead letters of each channel, and what was delivered since the start.
    pub(crate) async fn metrics(&self, plane: &Plane, out: &mut String) {
        let waiting = self.on_outbox(Outbox::waiting).await.unwrap_or_default();
        let now = plane.now();
        type Figure = (&'static str, &'static str, fn(&Waiting, TimeMs) -> u64);
        let figures: [Figure; 3] = [
            ("placet_outbox_pending", "Deliveries that wait.", |it, _| it.pending),
            ("placet_outbox_oldest_seconds", "Age of the oldest of them.", |it, now| {
                it.oldest.map_or(0, |since| now.since(since) / 1000)
            }),
            ("placet_outbox_dead", "Deliveries that were given up.", |it, _| it.dead),
        ];
        for (metric, help, value) in figures {
            let _ = writeln!(out, "# HELP {metric} {help}\n# TYPE {metric} gauge");
            for row in &waiting {
                let Some(workspace) = plane.workspace_no(row.workspace) else { continue };
                // An id of a channel holds nothing that would have to be quoted.
                let labels =
                    format!("workspace=\"{}\",channel=\"{}\"", workspace.name, row.channel);
                let _ = writeln!(out, "{metric}{{{labels}}} {}", value(row, now));
            }
        }
        let metric = "placet_outbox_attempts_total";
        let _ = writeln!(out, "# HELP {metric} Attempts by result.\n# TYPE {metric} counter");
        for (result, count) in
            [("delivered", &self.delivered), ("failed", &self.failed), ("dead", &self.given_up)]
        {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{metric}{{result=\"{result}\"}} {count}");
        }
        let metric = "placet_channel_refused_total";
        let help = "Calls and presses from channels that were refused.";
        let _ = writeln!(out, "# HELP {metric} {help}\n# TYPE {metric} counter");
        let _ = writeln!(out, "{metric} {}", self.refused.load(Ordering::Relaxed));
    }
}

/// Follows, delivers and polls until it is dropped.
pub(crate) async fn run(server: Arc<Server>) {
    let Some(channels) = server.channels.clone() else { return };
    if let Some(why) = channels.outbox().lost() {
        eprintln!("placet: the outbox was thrown away ({why}); pending approvals are told again");
    }
    let mut parts = JoinSet::new();
    parts.spawn(follow::run(server.clone(), channels.clone()));
    parts.spawn(deliver::run(server.clone(), channels.clone()));
    parts.spawn(poll::run(server, channels));
    // None of them ends by itself; one that does has failed, and the others go on without it.
    while let Some(ended) = parts.join_next().await {
        if let Err(error) = ended {
            eprintln!("placet: defect: a part of the channels ended: {error}");
        }
    }
}
