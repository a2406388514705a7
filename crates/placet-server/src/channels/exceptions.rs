//! What channels are told of exceptions: that one was opened, used for the first time, is over, or waits too
//! long for its review. Owns who hears of it, by `notify:` documents and by the exception's own promises.

use super::chat::names;
use crate::exceptions::build;
use crate::server::Server;
use placet_engine::{Exception, ExceptionStanding};
use placet_policy::{Notify, Told};
use placet_runtime::{LogEntry, PlaneError, Workspace};
use placet_store::Letter;
use placet_types::event::Event;
use placet_types::ids::ExceptionId;
use placet_types::json::{self, Limits, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Exceptions by their ids, as they stand now.
pub(super) type Known = BTreeMap<ExceptionId, Exception>;

/// The exception that an entry is about.
pub(super) fn about(event: &Event) -> Option<ExceptionId> {
    match event {
        Event::Decision(event) => event.exception.as_ref().map(|it| it.exception),
        Event::ExceptionOpened(event) => Some(event.exception),
        Event::ExceptionEnded(event) | Event::ExceptionClosed(event) => Some(event.exception),
        Event::ExceptionOverdue(event) => Some(event.exception),
        _ => None,
    }
}

/// The exceptions that entries are about, asked for once: many passages may follow each other.
pub(super) async fn known(
    server: &Server,
    workspace: &Workspace,
    entries: &[LogEntry],
) -> Result<Known, PlaneError> {
    let ids: BTreeSet<_> = entries.iter().filter_map(|it| about(&it.entry.event)).collect();
    if ids.is_empty() {
        return Ok(Known::new());
    }
    server.plane.exceptions_of(workspace, ids).await
}

/// What an entry says of an exception; of two things that it says, the graver one first.
fn meaning(entry: &LogEntry, exception: &Exception) -> &'static [Told] {
    let at = Some(entry.index);
    match &entry.entry.event {
        Event::ExceptionOpened(_) => &[Told::ExceptionOpened],
        Event::ExceptionEnded(_) | Event::ExceptionClosed(_) => &[Told::ExceptionEnded],
        Event::ExceptionOverdue(_) => &[Told::ExceptionOverdue],
        Event::Decision(_) if exception.last == at && exception.first == at => {
            &[Told::ExceptionEnded, Told::ExceptionUsed]
        }
        Event::Decision(_) if exception.last == at => &[Told::ExceptionEnded],
        Event::Decision(_) if exception.first == at => &[Told::ExceptionUsed],
        _ => &[],
    }
}

/// Who is told of an entry that is about an exception: whom the policy names, and whom the exception promised
/// it. A channel that the policy no longer knows waits like any other that was renamed by mistake.
pub(super) fn letters(notify: &Notify, entry: &LogEntry, known: &Known) -> Vec<Letter> {
    let exception = about(&entry.entry.event).and_then(|id| known.get(&id));
    let Some(exception) = exception else { return Vec::new() };
    let scope = &exception.opened.scope;
    let surface = (!scope.is_everywhere()).then_some(scope.surface.as_str());
    let mut letters = Vec::new();
    for told in meaning(entry, exception) {
        let hearing = notify.hearing(*told, surface).into_iter().map(|it| it.id.as_str());
        letters.extend(hearing.chain(exception.opened.notifies()).map(|channel| Letter {
            index: entry.index,
            channel: channel.to_owned(),
            told: told.as_str().to_owned(),
            approval: None,
        }));
    }
    letters
}

/// What people read; `None` where it is no exception that is told of.
pub(super) async fn text(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    told: &str,
    entry: &LogEntry,
) -> Result<Option<String>, PlaneError> {
    let told = Told::parse(told).filter(|told| *told >= Told::ExceptionOpened);
    let (Some(told), Some(id)) = (told, about(&entry.entry.event)) else { return Ok(None) };
    let exception = match server.plane.exception(workspace, id).await {
        Ok(exception) => exception,
        // It was reviewed and is forgotten.
        Err(PlaneError::NotFound(_)) => return Ok(Some(format!("{}: {id}", told.as_str()))),
        Err(error) => return Err(error),
    };
    let names = names(server, workspace);
    let opened = &exception.opened;
    let name = |who: &placet_types::event::ActorRef| names.get(who.as_str());
    let owner = name(&opened.owner);
    let waived = match opened.waives.is_governance() {
        true => "ALL OF POLICY".to_owned(),
        false => opened.waives.texts().join(", "),
    };
    let due = exception.due().rfc3339();
    Ok(Some(match told {
        Told::ExceptionOpened => {
            let until = match opened.retroactive {
                Some((from, to)) => {
                    format!("did from {} to {}; it permits nothing", from.rfc3339(), to.rfc3339())
                }
                None => format!("may pass until {}", opened.ends.rfc3339()),
            };
            let surface = match opened.scope.is_everywhere() {
                true => "every surface",
                false => opened.scope.surface.as_str(),
            };
            let glass = if opened.break_glass { " alone, in an emergency" } else { "" };
            format!(
                "🚧 Exception {id} opened by {}{glass} ({}), owned by {owner}: what {} {until}\nOn: {surface}\n\
                 Waives: {waived}",
                name(&opened.by),
                opened.reason,
                name(&opened.scope.actor),
            )
        }
        Told::ExceptionUsed => {
            format!(
                "🚧 Exception {id} of {owner} is used for the first time{}",
                passage(&entry.entry.event)
            )
        }
        Told::ExceptionEnded => {
            let how = match (&entry.entry.event, exception.closed_by.as_ref()) {
                (Event::ExceptionClosed(_), Some(by)) => format!("closed by {}", name(by)),
                (Event::Decision(event), _) => {
                    format!("used up{}", passage(&Event::Decision(event.clone())))
                }
                _ if exception.standing == ExceptionStanding::UsedUp => "used up".to_owned(),
                _ => "its time was up".to_owned(),
            };
            format!(
                "🚧 Exception {id} of {owner} is over: {how}\nPassages: {}\nTo be reviewed by: {due}",
                exception.uses
            )
        }
        _ => format!(
            "⏰ Nobody has reviewed exception {id} by {due}: {owner} opens no other until somebody does\n\
             Passages: {}",
            exception.uses
        ),
    }))
}

fn passage(event: &Event) -> String {
    let Event::Decision(event) = event else { return String::new() };
    let Some(passage) = &event.exception else { return String::new() };
    format!(
        ": {} / {} ({}), over {}",
        event.surface,
        event.action,
        event.decision,
        passage.waived.join(", ")
    )
}

/// An exception as the API shows it to whoever sees everything; `None` once it is forgotten.
pub(super) async fn document(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    id: ExceptionId,
) -> Result<Option<Value>, PlaneError> {
    let exception = match server.plane.exception(workspace, id).await {
        Ok(exception) => exception,
        Err(PlaneError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let (plane, of, index) = (server.plane.clone(), workspace.clone(), exception.index);
    let payload = tokio::task::spawn_blocking(move || plane.payload_at(&of, index)).await;
    let internal = |why: String| PlaneError::Internal(why);
    let payload = payload.map_err(|error| internal(error.to_string()))??;
    let names = names(server, workspace);
    let built = build(&exception, payload.as_ref(), &names, server.plane.now());
    let bytes = serde_json::to_vec(&built).map_err(|error| internal(error.to_string()))?;
    json::parse(&bytes, Limits::PAYLOAD).map(Some).map_err(|error| internal(error.to_string()))
}
