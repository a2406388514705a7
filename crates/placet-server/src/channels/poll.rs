//! Asking Telegram for what was pressed, where it cannot call us. Owns who asks and how often; each update
//! is dealt with before the next question forgets it.

use super::inbound::heard;
use super::{Channels, Destination, telegram};
use crate::server::Server;
use placet_notify::{Attempt, wait_ms};
use placet_policy::{Channel, ChannelKind};
use placet_runtime::Workspace;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, JoinSet};

/// How often it is looked who is to be asked.
const LOOK: Duration = Duration::from_secs(1);
/// The least time between two questions.
const LEAST: Duration = Duration::from_millis(300);
/// Failures in a row after which the channel is said to be down.
const REPORTED: u32 = 3;
/// Attempts at one update; then it is left, lest it keep all others.
const UPDATE_ATTEMPTS_MAX: u32 = 20;

pub(super) async fn run(server: Arc<Server>, channels: Arc<Channels>) {
    let mut asking = JoinSet::new();
    let mut known: HashMap<Destination, (Channel, AbortHandle)> = HashMap::new();
    loop {
        let mut wanted: HashMap<Destination, (Arc<Workspace>, Channel)> = HashMap::new();
        for workspace in server.plane.all_workspaces() {
            let Some(bundle) = workspace.bundle() else { continue };
            for channel in bundle.notify().channels() {
                // Where nobody may decide, nobody is listened to.
                let polled = channel.kind == (ChannelKind::Telegram { webhook: None });
                if polled && !channel.approvers.is_empty() {
                    let key = (workspace.no, channel.id.clone());
                    wanted.insert(key, (workspace.clone(), channel.clone()));
                }
            }
        }
        known.retain(|key, (channel, task)| {
            let stays = wanted.get(key).is_some_and(|(_, now)| now == channel);
            if !stays {
                task.abort();
            }
            stays && !task.is_finished()
        });
        for (key, (workspace, channel)) in wanted {
            known.entry(key).or_insert_with(|| {
                let task = ask(server.clone(), channels.clone(), workspace, channel.clone());
                (channel, asking.spawn(task))
            });
        }
        while asking.try_join_next().is_some() {}
        tokio::time::sleep(LOOK).await;
    }
}

async fn ask(
    server: Arc<Server>,
    channels: Arc<Channels>,
    workspace: Arc<Workspace>,
    channel: Channel,
) {
    let mut failures = 0_u32;
    let mut stuck = 0_u32;
    loop {
        let began = Instant::now();
        let done = round(&server, &channels, &workspace, &channel, &mut stuck).await;
        let wait = match done {
            Ok(()) => {
                if failures >= REPORTED {
                    channels.set_down(&workspace, &channel.id, None);
                }
                failures = 0;
                LEAST.saturating_sub(began.elapsed())
            }
            Err((asked, why)) => {
                failures = failures.saturating_add(1);
                if failures == REPORTED {
                    channels.set_down(&workspace, &channel.id, Some(why));
                }
                let wait = wait_ms(failures.min(7), server.plane.chance(), asked);
                Duration::from_millis(wait)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

type Failed = (Option<u64>, String);

/// One question, and what comes of it.
async fn round(
    server: &Arc<Server>,
    channels: &Arc<Channels>,
    workspace: &Arc<Workspace>,
    channel: &Channel,
    stuck: &mut u32,
) -> Result<(), Failed> {
    let store = |why: String| (None, why);
    let token = channels
        .secret(&server.plane, workspace, &channel.secret)
        .map_err(|why| (None, format!("secret {}: {why}", channel.secret)))?;
    let (no, id) = (workspace.no, channel.id.clone());
    let next = channels.on_outbox(move |outbox| outbox.polled(no, &id)).await.map_err(store)?;
    let result = match telegram::updates(channels, &token, next).await {
        Attempt::Done(result) => result,
        Attempt::Again(asked, why) => return Err((asked, why)),
        Attempt::Never(why) => return Err((Some(60_000), why)),
    };
    for update in placet_notify::telegram::updates(&result) {
        let number = match update {
            Ok(update) => {
                match heard(server, channels, workspace, channel, &update).await {
                    Ok(()) => *stuck = 0,
                    Err(error) if *stuck < UPDATE_ATTEMPTS_MAX => {
                        *stuck = stuck.saturating_add(1);
                        return Err((None, error.to_string()));
                    }
                    Err(error) => {
                        *stuck = 0;
                        eprintln!("placet: update {} is left: {error}", update.id);
                    }
                }
                Some(update.id)
            }
            // No press of ours; asking on makes the service forget it.
            Err(number) => number,
        };
        if let Some(next) = number.and_then(|number| number.checked_add(1)) {
            let id = channel.id.clone();
            channels
                .on_outbox(move |outbox| outbox.set_polled(no, &id, next))
                .await
                .map_err(store)?;
        }
    }
    Ok(())
}
