//! From the outbox to the peers: in order per channel, one at a time, with waits that grow while a peer
//! is down and an end to them. Owns when something is tried; refuses to know what is sent.

use super::turns::Turns;
use super::votes::passes;
use super::{Channels, Destination, Down, Pause, chat, locked, webhook};
use crate::server::Server;
use placet_notify::{ATTEMPTS_MAX, Attempt, PATIENCE, wait_ms};
use placet_policy::{Channel, ChannelKind};
use placet_runtime::ports::WorkspaceNo;
use placet_runtime::{PlaneError, Workspace};
use placet_store::{Delivery, Letter};
use placet_types::ids::TimeMs;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{self, JoinSet};

/// Deliveries to a channel before others get their turn.
const IN_A_ROW: usize = 64;
/// And how long they may take: a peer that is slow is no reason to keep a place.
const TURN_MS: u64 = 20_000;
/// For so long a channel may be missing from the policy before what waits for it is given up: it may come
/// back under its name.
const MISSING_MS: u64 = 6 * 3_600_000;
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

impl From<PlaneError> for Tried {
    /// What cannot be read now may be read later, and that is nobody's fault. What never can counts as a
    /// failure of this delivery: it must not keep all others of its channel.
    fn from(error: PlaneError) -> Self {
        let why = error.to_string();
        if passes(&error) { Self::Down(why) } else { Self::Again(None, why) }
    }
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
    let mut turns = Turns::default();
    loop {
        let mut next = LOOK;
        match channels.on_outbox(placet_store::Outbox::destinations).await {
            Ok(mut waiting) => {
                let now = server.plane.now();
                locked(&channels.missing).retain(|it, _| waiting.contains(it));
                waiting.retain(|destination| {
                    let left = channels.paused(destination, now);
                    if left > 0 {
                        next = next.min(Duration::from_millis(left));
                    }
                    left == 0
                });
                for destination in turns.next(waiting, busy.keys()) {
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
    let began = server.plane.now();
    for _ in 0..IN_A_ROW {
        if server.plane.now().since(began) >= TURN_MS {
            break;
        }
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
            None => missing(channels, destination, now).await?,
            Some(channel) => {
                locked(&channels.missing).remove(destination);
                attempt(server, channels, &workspace, channel, &head).await
            }
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
                channels.set_down(&workspace, &id, Some(Down { why: why.clone(), public: true }));
                give_up(channels, &workspace, &head, &why).await?;
            }
            Tried::Down(why) => {
                channels.set_down(&workspace, &id, Some(Down { why, public: false }));
                channels.pause(server, destination, None);
                return Ok(());
            }
            Tried::Again(asked, why) => {
                channels.count(&channels.failed);
                channels.set_down(&workspace, &id, Some(Down { why: why.clone(), public: true }));
                // One that has failed so often may be at fault itself: it waits alone, and the next one says
                // whether the peer is there.
                let alone = head.attempts.saturating_add(1) >= PATIENCE && asked.is_none();
                let until = match alone {
                    true => {
                        let wait = wait_ms(head.attempts, server.plane.chance(), None);
                        server.plane.now().plus(wait)
                    }
                    false => channels.pause(server, destination, asked),
                };
                if head.attempts.saturating_add(1) >= ATTEMPTS_MAX {
                    give_up(channels, &workspace, &head, &why).await?;
                } else {
                    let failed = move |outbox: &placet_store::Outbox| {
                        outbox.failed_attempt(delivery, Some(until), &why)
                    };
                    channels.on_outbox(failed).await?;
                }
                if !alone {
                    return Ok(());
                }
            }
        }
    }
    channels.wake.notify_one();
    Ok(())
}

/// A delivery to a channel that the policy in force does not know: it may have been renamed by mistake. So
/// it waits, but not for ever, and not where it keeps a whole outbox from following the log.
async fn missing(
    channels: &Channels,
    destination: &Destination,
    now: TimeMs,
) -> Result<Tried, String> {
    let no = destination.0;
    let since = *locked(&channels.missing).entry(destination.clone()).or_insert(now);
    let why = "the policy in force has no such channel".to_owned();
    let gone = now.since(since) >= MISSING_MS;
    if gone || channels.on_outbox(move |outbox| outbox.is_full(no)).await? {
        return Ok(Tried::Never(why));
    }
    Ok(Tried::Down(why))
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

/// Nothing is due yet: not before the earliest that will be, unless something new comes before.
async fn wait_for_due(
    server: &Server,
    channels: &Channels,
    destination: &Destination,
) -> Result<(), String> {
    let due = async || {
        let (no, id) = (destination.0, destination.1.clone());
        let due = channels.on_outbox(move |outbox| outbox.due(no, &id, PATIENCE)).await?;
        Ok::<_, String>(due.filter(|due| *due > server.plane.now()))
    };
    let Some(until) = due().await? else { return Ok(()) };
    {
        let mut pauses = locked(&channels.pauses);
        let pause = pauses.entry(destination.clone()).or_default();
        (pause.until, pause.idle) = (until, true);
    }
    // A letter that was kept before this could not end a pause that was not there yet.
    if due().await? != Some(until) {
        channels.end_idle(destination);
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
        pause.idle = false;
        pause.until
    }

    /// Ends a pause in which nothing was due; one after a failure goes on.
    fn end_idle(&self, destination: &Destination) {
        if let Some(pause) = locked(&self.pauses).get_mut(destination)
            && pause.idle
        {
            (pause.until, pause.idle) = (TimeMs::default(), false);
        }
    }

    /// Something is to be told: whoever was waiting for nothing but a time is asked again.
    pub(super) fn rouse(&self, no: WorkspaceNo, letters: &[Letter]) {
        let ids: BTreeSet<&String> = letters.iter().map(|letter| &letter.channel).collect();
        for id in &ids {
            self.end_idle(&(no, (*id).clone()));
        }
        if !ids.is_empty() {
            self.wake.notify_one();
        }
    }

    /// Has everything of a workspace tried at once: another policy may name other addresses and secrets.
    pub(super) async fn resume_all(&self, no: WorkspaceNo) -> Result<(), String> {
        self.on_outbox(move |outbox| outbox.due_now(no)).await?;
        locked(&self.pauses).retain(|(of, _), _| *of != no);
        self.wake.notify_one();
        Ok(())
    }

    /// Has everything of a destination tried at once.
    pub(super) fn resume(&self, destination: &Destination) {
        locked(&self.pauses).remove(destination);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_passes_counts_as_an_attempt() {
        let damaged = PlaneError::Damaged("slot 7".to_owned());
        for error in [damaged, PlaneError::PayloadErased, PlaneError::Internal("x".to_owned())] {
            assert!(matches!(Tried::from(error), Tried::Again(None, _)));
        }
        let full = PlaneError::Overloaded { retry_after_ms: 5 };
        for error in [PlaneError::StoreFailed("disk".to_owned()), full, PlaneError::ShuttingDown] {
            assert!(matches!(Tried::from(error), Tried::Down(_)));
        }
    }
}
