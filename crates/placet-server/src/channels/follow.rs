//! From the log to the outbox: each entry once, by a cursor that is kept together with what it has led
//! to. Owns which entries are told; refuses to know how.

use super::{Channels, exceptions};
use crate::server::Server;
use placet_engine::Viewer;
use placet_policy::{Notify, Told};
use placet_runtime::ports::WorkspaceNo;
use placet_runtime::{LogEntry, PlaneError, Workspace};
use placet_store::Letter;
use placet_types::Digest;
use placet_types::event::{Event, KillScope};
use placet_types::ids::{ApprovalId, DecisionId};
use placet_types::policy::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Entries that are looked at in one go.
const CHUNK: usize = 1024;
/// How long the log is left alone when nothing grew, or after a failure.
const REST: Duration = Duration::from_millis(200);
/// Entries after which a cursor is kept although nothing was told and there is more to look at.
const KEEP: u64 = 10_000;
/// Approvals that are told again when the outbox knows nothing of a workspace.
const PENDING_PAGE: usize = 200;

/// Where a log has been looked at, and where that is known for good.
struct Cursor {
    next: u64,
    kept: Option<u64>,
    /// The bundle under which it was looked at.
    under: Option<Digest>,
}

pub(super) async fn run(server: Arc<Server>, channels: Arc<Channels>) {
    let mut cursors: BTreeMap<WorkspaceNo, Cursor> = BTreeMap::new();
    loop {
        let mut grew = false;
        for workspace in server.plane.all_workspaces() {
            match turn(&server, &channels, &workspace, &mut cursors).await {
                Ok(more) => grew |= more,
                Err(why) => {
                    eprintln!("placet: the outbox lags behind {}: {why}", workspace.name);
                }
            }
        }
        if !grew {
            // Growth wakes nobody: each log would have to wake this for each entry.
            tokio::time::sleep(REST).await;
        }
    }
}

/// Looks at what is new in one log; whether there may be more.
async fn turn(
    server: &Arc<Server>,
    channels: &Arc<Channels>,
    workspace: &Arc<Workspace>,
    cursors: &mut BTreeMap<WorkspaceNo, Cursor>,
) -> Result<bool, String> {
    // After an error it is read again: what is durable is not known then.
    let mut cursor = match cursors.remove(&workspace.no) {
        Some(cursor) => cursor,
        None => found(channels, workspace).await?,
    };
    let more = advance(server, channels, workspace, &mut cursor).await?;
    cursors.insert(workspace.no, cursor);
    Ok(more)
}

/// Where a log was left the last time.
async fn found(channels: &Arc<Channels>, workspace: &Workspace) -> Result<Cursor, String> {
    let (no, size) = (workspace.no, *workspace.watch_size().borrow());
    let kept = channels.on_outbox(move |outbox| outbox.cursor(no)).await?;
    let ahead = kept.is_some_and(|kept| kept > size);
    if ahead {
        // The log was restored to an earlier state: what was followed is not this one.
        channels.on_outbox(move |outbox| outbox.forget(no)).await?;
    }
    let kept = kept.filter(|_| !ahead);
    Ok(Cursor { next: kept.unwrap_or(size), kept, under: None })
}

async fn advance(
    server: &Arc<Server>,
    channels: &Arc<Channels>,
    workspace: &Arc<Workspace>,
    cursor: &mut Cursor,
) -> Result<bool, String> {
    let (no, size) = (workspace.no, *workspace.watch_size().borrow());
    if size <= cursor.next && cursor.kept.is_some() {
        return Ok(false);
    }
    let bundle = workspace.bundle();
    if bundle.is_none() && cursor.kept.is_some() {
        // It is lost for now; what it would have told waits in the log.
        return Ok(false);
    }
    // What was looked at under one bundle is not looked at again under the next, whatever happens: it would
    // tell what nobody was to be told when it happened.
    let under = bundle.as_ref().map(|bundle| bundle.digest());
    if cursor.under != under {
        if cursor.kept.is_some_and(|kept| kept < cursor.next) {
            let next = cursor.next;
            keep(channels, no, cursor, next, Vec::new(), server).await?;
        }
        // A peer that was down may be another one now. At a start nothing has changed.
        if cursor.under.is_some() {
            channels.resume_all(no).await?;
        }
        cursor.under = under;
    }
    // Where the last channel has left the policy, what exceptions have promised waits for it, for all to see.
    let silent = bundle.as_ref().is_none_or(|bundle| bundle.notify().is_silent());
    let promised = match silent && cursor.kept.is_some() {
        true => server.plane.exceptions_promise(workspace).await,
        false => Ok(false),
    };
    let silent = silent && !promised.map_err(|error| error.to_string())?;
    let Some(bundle) = bundle.filter(|_| !silent) else {
        // Nobody is told anything, so nothing need be read. A log that somebody once heard of keeps its
        // place: what happens now is told to nobody later.
        if cursor.kept.is_some_and(|kept| kept < size) {
            keep(channels, no, cursor, size, Vec::new(), server).await?;
        }
        cursor.next = size;
        return Ok(false);
    };
    if cursor.kept.is_none() {
        let letters = pending(server, workspace, bundle.notify(), cursor.next).await?;
        let next = cursor.next;
        keep(channels, no, cursor, next, letters, server).await?;
        return Ok(size > next);
    }
    if channels.on_outbox(move |outbox| outbox.is_full(no)).await? {
        return Ok(false);
    }
    let from = cursor.next;
    let entries = read(server, workspace, from).await.map_err(|error| error.to_string())?;
    let Some(last) = entries.last().map(|last| last.index) else { return Ok(false) };
    let known = exceptions::known(server, workspace, &entries).await;
    let known = known.map_err(|error| error.to_string())?;
    let mut letters = Vec::new();
    for entry in &entries {
        let told = told(server, channels, workspace, bundle.notify(), entry).await?;
        let more = exceptions::letters(bundle.notify(), entry, &known);
        let mut here: BTreeSet<String> = told.iter().map(|it| it.channel.clone()).collect();
        letters.extend(told);
        // One channel hears of one entry once; a question to people goes before a notice.
        letters.extend(more.into_iter().filter(|it| here.insert(it.channel.clone())));
    }
    let next = last.saturating_add(1);
    let kept = cursor.kept.unwrap_or(0);
    let more = *workspace.watch_size().borrow() > next;
    if !letters.is_empty() || !more || next.saturating_sub(kept) >= KEEP {
        keep(channels, no, cursor, next, letters, server).await?;
    }
    cursor.next = next;
    Ok(more)
}

async fn keep(
    channels: &Arc<Channels>,
    no: WorkspaceNo,
    cursor: &mut Cursor,
    next: u64,
    letters: Vec<Letter>,
    server: &Server,
) -> Result<(), String> {
    let now = server.plane.now();
    let kept = move |outbox: &placet_store::Outbox| {
        outbox.follow(no, next, &letters, now)?;
        Ok(letters)
    };
    let letters = channels.on_outbox(kept).await?;
    cursor.kept = Some(next);
    cursor.next = cursor.next.max(next);
    channels.rouse(no, &letters);
    Ok(())
}

async fn read(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    from: u64,
) -> Result<Vec<LogEntry>, PlaneError> {
    let (plane, workspace) = (server.plane.clone(), workspace.clone());
    let done = tokio::task::spawn_blocking(move || plane.tail(&workspace, from, CHUNK)).await;
    done.map_err(|error| PlaneError::Internal(error.to_string()))?
}

/// The approvals below `before` that wait for people: what is told where the outbox knows nothing.
async fn pending(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    notify: &Notify,
    before: u64,
) -> Result<Vec<Letter>, String> {
    let mut letters = Vec::new();
    let mut after = None;
    if !notify.tells(Told::Opened) {
        return Ok(letters);
    }
    loop {
        let page = server.plane.inbox(workspace, Viewer::all(), after, PENDING_PAGE);
        let (page, next) = page.await.map_err(|error| error.to_string())?;
        for (held, answer, _) in page.iter().filter(|(held, ..)| held.index < before) {
            let surface = Some(answer.event.surface.as_str());
            letters.extend(
                notify.hearing(Told::Opened, surface).iter().map(|channel| {
                    letter(held.index, &channel.id, Told::Opened, Some(held.approval))
                }),
            );
        }
        after = next;
        if after.is_none() {
            return Ok(letters);
        }
    }
}

fn letter(index: u64, channel: &str, told: Told, approval: Option<ApprovalId>) -> Letter {
    let (channel, told) = (channel.to_owned(), told.as_str().to_owned());
    Letter { index, channel, told, approval }
}

/// What is told of an entry, and the approval and decision that it is about.
pub(super) type Meaning = (&'static [Told], Option<(ApprovalId, DecisionId)>);

/// What an entry is, to those who are told: in the order in which one may hear of it instead of the
/// next, and the approval it is about.
pub(super) fn meaning(event: &Event) -> Option<Meaning> {
    use Told::{
        Closed, Consumed, Denied, Escalated, Lifted, Opened, Published, Reminded, Reopened,
        Tripped, Voted,
    };
    Some(match event {
        Event::Decision(event) => match (&event.approval, event.outcome) {
            (Some(opened), _) => (&[Opened], Some((opened.id, event.decision))),
            (None, Outcome::Deny) => (&[Denied], None),
            (None, _) => return None,
        },
        Event::ApprovalVoted(event) => {
            let last = event.complete || !event.approve;
            let about = Some((event.approval, event.decision));
            if last { (&[Closed, Voted], about) } else { (&[Voted], about) }
        }
        Event::ApprovalClosed(event) => (&[Closed], Some((event.approval, event.decision))),
        Event::ApprovalReopened(event) => (&[Reopened], Some((event.approval, event.decision))),
        Event::ApprovalEscalated(event) => (&[Escalated], Some((event.approval, event.decision))),
        Event::ApprovalReminded(event) => (&[Reminded], Some((event.approval, event.decision))),
        Event::PermitCollected(event) => (&[Consumed], Some((event.approval, event.decision))),
        Event::KillTripped(_) => (&[Tripped], None),
        Event::KillLifted(_) => (&[Lifted], None),
        Event::BundleArmed(_) => (&[Published], None),
        _ => return None,
    })
}

/// A kill of everything stands in every log; it is told by the first workspace's alone.
fn is_echo(server: &Server, workspace: &Workspace, event: &Event) -> bool {
    let (Event::KillTripped(kill) | Event::KillLifted(kill)) = event else { return false };
    let first = server.plane.root().is_some_and(|root| root.no == workspace.no);
    kill.scope == KillScope::Everything && !first
}

async fn told(
    server: &Arc<Server>,
    channels: &Arc<Channels>,
    workspace: &Arc<Workspace>,
    notify: &Notify,
    entry: &LogEntry,
) -> Result<Vec<Letter>, String> {
    let event = &entry.entry.event;
    let Some((meanings, about)) = meaning(event) else { return Ok(Vec::new()) };
    if is_echo(server, workspace, event) {
        return Ok(Vec::new());
    }
    let mut letters: BTreeMap<String, Letter> = BTreeMap::new();
    let approval = about.map(|(approval, _)| approval);
    let surface = match event {
        Event::Decision(event) => Some(event.surface.clone()),
        _ => None,
    };
    // A message that shows the approval follows whatever happens to it.
    if let Some((approval, _)) = about.filter(|_| surface.is_none()) {
        let no = workspace.no;
        let shown = channels.on_outbox(move |outbox| outbox.showing(no, approval)).await?;
        let chats: BTreeSet<String> = shown
            .into_iter()
            .filter(|id| notify.channel(id).is_some_and(|channel| channel.kind.is_chat()))
            .collect();
        for (id, told) in chats.iter().filter_map(|id| Some((id, *meanings.first()?))) {
            letters.insert(id.clone(), letter(entry.index, id, told, Some(approval)));
        }
    }
    if meanings.iter().any(|told| notify.tells(*told)) {
        let surface = match (surface, about) {
            (Some(surface), _) => Some(surface),
            (None, Some((_, decision))) => surface_of(server, workspace, decision).await?,
            (None, None) => None,
        };
        for told in meanings {
            for channel in notify.hearing(*told, surface.as_deref()) {
                let mut about = approval;
                if told.is_of_approval() && *told != Told::Opened && channel.kind.is_chat() {
                    let asked = notify.hearing(Told::Opened, surface.as_deref());
                    // A chat that is asked, and has no message about it, has nothing to change.
                    if asked.iter().any(|it| it.id == channel.id) {
                        continue;
                    }
                    // One that is never asked is told on a line of its own.
                    about = None;
                }
                letters
                    .entry(channel.id.clone())
                    .or_insert_with(|| letter(entry.index, &channel.id, *told, about));
            }
        }
    }
    Ok(letters.into_values().collect())
}

async fn surface_of(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    decision: DecisionId,
) -> Result<Option<String>, String> {
    let (plane, workspace) = (server.plane.clone(), workspace.clone());
    let found = tokio::task::spawn_blocking(move || plane.surface_of(&workspace, decision)).await;
    let found = found.map_err(|error| error.to_string())?;
    match found {
        Ok(surface) => Ok(Some(surface)),
        Err(PlaneError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
