//! Asking Telegram for what was pressed, where it cannot call us. Owns who asks and how often; each update
//! is dealt with before the next question forgets it.

use super::inbound::heard;
use super::{Channels, Destination, Down, telegram};
use crate::server::Server;
use placet_notify::{Attempt, wait_ms};
use placet_policy::{Channel, ChannelKind};
use placet_runtime::Workspace;
use placet_runtime::crypto::Fast;
use placet_types::hash::{Hasher, hex_encode};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};

/// How often it is looked who is to be asked.
const LOOK: Duration = Duration::from_secs(1);
/// The least time between two questions that nothing came of.
const LEAST_MS: u64 = 300;
/// Failures in a row after which the channel is said to be down.
const REPORTED: u32 = 3;

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
    loop {
        let began = server.plane.now();
        let done = round(&server, &channels, &workspace, &channel).await;
        let wait = match done {
            Ok(moved) => {
                if failures >= REPORTED {
                    channels.set_down(&workspace, &channel.id, None);
                }
                failures = 0;
                if moved {
                    continue;
                }
                LEAST_MS.saturating_sub(server.plane.now().since(began))
            }
            Err((asked, why)) => {
                failures = failures.saturating_add(1);
                if failures == REPORTED {
                    channels.set_down(&workspace, &channel.id, Some(Down { why, public: false }));
                }
                wait_ms(failures.min(7), server.plane.chance(), asked)
            }
        };
        server.plane.sleep(Duration::from_millis(wait)).await;
    }
}

type Failed = (Option<u64>, String);

/// Under which name the number is kept from which a bot is asked: another bot counts its own updates.
fn polled_as(channel: &Channel, token: &str) -> String {
    let bot = token.split(':').next().unwrap_or_default();
    let bot = hex_encode(Fast::sha256(&[bot.as_bytes()]).get(..8).unwrap_or_default());
    format!("{}/{bot}", channel.id)
}

/// One question, and what comes of it; whether the next one is about others. An update that could not be recorded
/// comes again, for as long as the service keeps it: whatever keeps it from being recorded passes.
async fn round(
    server: &Arc<Server>,
    channels: &Arc<Channels>,
    workspace: &Arc<Workspace>,
    channel: &Channel,
) -> Result<bool, Failed> {
    let store = |why: String| (None, why);
    let token = channels
        .secret(&server.plane, workspace, &channel.secret)
        .map_err(|why| (None, format!("secret {}: {why}", channel.secret)))?;
    let (no, id) = (workspace.no, polled_as(channel, &token));
    let key = id.clone();
    let next = channels.on_outbox(move |outbox| outbox.polled(no, &key)).await.map_err(store)?;
    // What was dealt with is said to be so at once, in a question that waits for nothing.
    let result = match telegram::updates(channels, &token, next, next.is_none()).await {
        Attempt::Done(result) => result,
        Attempt::Again(asked, why) => return Err((asked, why)),
        Attempt::Never(why) => return Err((Some(60_000), why)),
    };
    let updates = placet_notify::telegram::updates(&result);
    let mut moved = false;
    if updates.is_empty() && next.is_some() {
        // The service has heard that everything before it was dealt with. Asked with it for ever, it would
        // drop what comes once it begins to count anew, as it does after a quiet week.
        let key = id.clone();
        channels.on_outbox(move |outbox| outbox.forget_polled(no, &key)).await.map_err(store)?;
        moved = true;
    }
    for update in updates {
        let number = match update {
            Ok(update) => {
                let done = heard(server, channels, workspace, channel, &update).await;
                done.map_err(|error| (None, error.to_string()))?;
                Some(update.id)
            }
            // No press of ours; asking on makes the service forget it.
            Err(number) => number,
        };
        if let Some(next) = number.and_then(|number| number.checked_add(1)) {
            let key = id.clone();
            channels
                .on_outbox(move |outbox| outbox.set_polled(no, &key, next))
                .await
                .map_err(store)?;
            moved = true;
        }
    }
    Ok(moved)
}
