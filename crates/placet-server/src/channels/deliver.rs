//! From the outbox to the peers: in order per channel, one at a time, with waits that grow while a peer
//! is down and an end to them. Owns when something is tried; refuses to know what is sent.

use super::{Channels, Destination, Pause, chat, locked, webhook};
use crate::server::Server;
use placet_notify::{ATTEMPTS_MAX, Attempt, PATIENCE, wait_ms};
use placet_policy::{Channel, ChannelKind};
use placet_runtime::Workspace;
use placet_store::Delivery;
use placet_types::ids::TimeMs;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{self, JoinSet};

/// Channels that are delivered to at once.
const AT_ONCE: usize = 16;
/// Deliveries to a channel before others get their turn.
const IN_A_ROW: usize = 64;
/// How often it is looked whether something is due, if nothing wakes this before.
const LOOK: Duration = Duration::from_secs(5);
/// The longest pause: a wall clock that was set back must not make a longer one of it.
const PAUSE_MAX_MS: u64 = 3_600_000;

/// What one attempt came to.
pub(super) enum Tried {
    /// It arrived.
    Done,
    /// There is nothing to tell any more, or it is shown already. It says nothing of the peer.
    Nothing,
    /// Later, not before so many milliseconds.
    Again(Option<u64>, String),
    /// Never.
    Never(String),
    /// Nothing was tried: the channel cannot be used. It counts as no attempt.
    Down(String),
}

impl<T> From<Attempt<T>> for Tried {
    fn from(attempt: Attempt<T>) -> Self {
        match attempt {
            Attempt::Done(_) => Self::Done,
            Attempt::Again(asked, why) => Self::Again(asked, why),
            Attempt::Never(why) => Self::Never(why),
        }
    }
}

pub(super) async fn run(server: Arc<Server>, channels: Arc<Channels>) {
    let mut working = JoinSet::new();
    let mut busy: HashMap<Destination, task::Id> = HashMap::new();
    loop {
        let mut next = LOOK;
        match channels.on_outbox(placet_store::Outbox::destinations).await {
            Ok(waiting) => {
                let now = server.plane.now();
                for destination in waiting {
                    if busy.contains_key(&destination) || busy.len() >= AT_ONCE {
                        continue;
                    }
                    let left = channels.paused(&destination, now);
                    if left > 0 {
                        next = next.min(Duration::from_millis(left));
                        continue;
                    }
                    let (server, channels) = (server.clone(), channels.clone());
                    let of = destination.clone();
                    let work = working.spawn(async move {
                        if let Err(why) = empty(&server, &channels, &of).await {
                            eprintln!("placet: the outbox failed: {why}");
                            channels.pause(&server, &of, None);
                        }
                    });
                    busy.insert(destination, work.id());
                }
            }
            Err(why) => eprintln!("placet: the outbox cannot be read: {why}"),
        }
        tokio::select! {
            () = channels.wake.notified() => {}
            () = server.plane.sleep(next) => {}
            ended = working.join_next_with_id(), if !working.is_empty() => {
                let id = match ended {
                    Some(Ok((id, ()))) => Some(id),
                    Some(Err(error)) => {
                        eprintln!("placet: defect: a delivery ended: {error}");
                        let failed = busy.iter().find(|(_, known)| **known == error.id());
                        if let Some((destination, _)) = failed {
                            channels.pause(&server, destination, None);
                        }
                        Some(error.id())
                    }
                    None => None,
                };
                busy.retain(|_, known| Some(*known) != id);
            }
        }
    }
}

/// Delivers what is due to one channel, until one fails.
async fn empty(
    server: &Arc<Server>,
    channels: &Arc<Channels>,
    destination: &Destination,
) -> Result<(), String> {
    let (no, id) = (destination.0, destination.1.clone());
    let Some(workspace) = server.plane.workspace_no(no) else { return Ok(()) };
    for _ in 0..IN_A_ROW {
        // Asked each time: another bundle may be in force by now.
        let Some(bundle) = workspace.bundle() else {
            channels.pause(server, destination, None);
            return Ok(());
        };
        let channel = bundle.notify().channel(&id).cloned();
        let (name, now) = (id.clone(), server.plane.now());
        // Each third attempt of a row that fails is another one's.
        let failures = locked(&channels.pauses).get(destination).map_or(0, |it| it.failures);
        let others = failures % 3 == 2;
        let head =
            channels.on_outbox(move |outbox| outbox.head(no, &name, PATIENCE, others, now)).await?;
        let Some(head) = head else {
            wait_for_due(server, channels, destination).await?;
            return Ok(());
        };
        let tried = match &channel {
            None => Tried::Never("the policy in force has no such channel".to_owned()),
            Some(channel) => attempt(server, channels, &workspace, channel, &head).await,
        };
        let delivery = head.id;
        match tried {
            Tried::Done => {
                channels.on_outbox(move |outbox| outbox.done(delivery)).await?;
                channels.count(&channels.delivered);
                locked(&channels.pauses).remove(destination);
                channels.set_down(&workspace, &id, None);
            }
            Tried::Nothing => {
                channels.on_outbox(move |outbox| outbox.done(delivery)).await?;
            }
            Tried::Never(why) => {
                give_up(channels, &workspace, &head, &why).await?;
            }
            Tried::Down(why) => {
                channels.set_down(&workspace, &id, Some(why));
                channels.pause(server, destination, None);
                return Ok(());
            }
            Tried::Again(asked, why) => {
                channels.count(&channels.failed);
                let until = channels.pause(server, destination, asked);
                if head.attempts.saturating_add(1) >= ATTEMPTS_MAX {
                    give_up(channels, &workspace, &head, &why).await?;
                } else {
                    let failed = move |outbox: &placet_store::Outbox| {
                        outbox.failed_attempt(delivery, Some(until), &why)
                    };
                    channels.on_outbox(failed).await?;
                }
                return Ok(());
            }
        }
    }
    channels.wake.notify_one();
    Ok(())
}

async fn attempt(
    server: &Arc<Server>,
    channels: &Arc<Channels>,
    workspace: &Arc<Workspace>,
    channel: &Channel,
    delivery: &Delivery,
) -> Tried {
    match channel.kind {
        ChannelKind::Webhook => {
            webhook::deliver(server, channels, workspace, channel, delivery).await
        }
        ChannelKind::Telegram { .. } | ChannelKind::Slack { .. } => {
            chat::deliver(server, channels, workspace, channel, delivery).await
        }
    }
}

async fn give_up(
    channels: &Channels,
    workspace: &Workspace,
    delivery: &Delivery,
    why: &str,
) -> Result<(), String> {
    channels.count(&channels.given_up);
    let (id, letter, name) = (delivery.id, &delivery.letter, &workspace.name);
    let (told, index, channel) = (&letter.told, letter.index, &letter.channel);
    eprintln!(
        "placet: delivery {id} ({told}, entry {index}, {channel}, {name}) is given up: {why}"
    );
    let why = why.to_owned();
    channels.on_outbox(move |outbox| outbox.failed_attempt(id, None, &why)).await
}

/// Nothing is due yet: not before the earliest that will be.
async fn wait_for_due(
    server: &Server,
    channels: &Channels,
    destination: &Destination,
) -> Result<(), String> {
    let (no, id) = (destination.0, destination.1.clone());
    let due = channels.on_outbox(move |outbox| outbox.due(no, &id)).await?;
    if let Some(due) = due.filter(|due| *due > server.plane.now()) {
        let mut pauses = locked(&channels.pauses);
        let pause = pauses.entry(destination.clone()).or_default();
        pause.until = due;
    }
    Ok(())
}

impl Channels {
    /// Milliseconds for which a destination is left alone.
    fn paused(&self, destination: &Destination, now: TimeMs) -> u64 {
        let until = locked(&self.pauses).get(destination).map(|pause| pause.until);
        until.map_or(0, |until| until.0.saturating_sub(now.0)).min(PAUSE_MAX_MS)
    }

    /// Leaves a destination alone after a failure, each time for longer; until when.
    fn pause(&self, server: &Server, destination: &Destination, asked: Option<u64>) -> TimeMs {
        let mut pauses = locked(&self.pauses);
        let pause: &mut Pause = pauses.entry(destination.clone()).or_default();
        pause.failures = pause.failures.saturating_add(1);
        let wait = wait_ms(pause.failures, server.plane.chance(), asked);
        pause.until = server.plane.now().plus(wait);
        pause.until
    }

    /// Has everything of a destination tried at once.
    pub(super) fn resume(&self, destination: &Destination) {
        locked(&self.pauses).remove(destination);
        self.wake.notify_one();
    }
}
