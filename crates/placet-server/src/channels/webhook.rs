//! Webhooks: one signed event for each thing that happened. Owns what is in it.

use super::chat::{entry_at, names, subject};
use super::deliver::Tried;
use super::telegram::send;
use super::{Channels, exceptions};
use crate::approvals::About;
use crate::server::Server;
use axum::body::Bytes;
use placet_notify::webhook::{self, CONTENT_TYPE, Event as Cloud};
use placet_policy::{Channel, Told};
use placet_runtime::crypto::Fast;
use placet_runtime::{PlaneError, Workspace};
use placet_store::Delivery;
use placet_types::ids::ApprovalId;
use placet_types::json::{self, Limits, Object, Value};
use std::sync::Arc;
use std::time::Duration;

/// How long a receiver may take.
const WITHIN: Duration = Duration::from_secs(15);

pub(super) async fn deliver(
    server: &Arc<Server>,
    channels: &Channels,
    workspace: &Arc<Workspace>,
    channel: &Channel,
    delivery: &Delivery,
) -> Tried {
    let secret = channels.secret(&server.plane, workspace, &channel.secret);
    let keys = secret
        .map_err(|why| why.to_string())
        .and_then(|secret| webhook::keys(&secret).map_err(str::to_owned));
    let keys = match keys {
        Ok(keys) => keys,
        Err(why) => return Tried::Down(format!("secret {}: {why}", channel.secret)),
    };
    // The same for each attempt, and for nothing else.
    let id = format!("{}/{}/{}", workspace.origin(), delivery.letter.index, channel.id);
    let body = match event(server, workspace, delivery, &id).await {
        Ok(body) => body,
        Err(error) => return error.into(),
    };
    let seconds = server.plane.now().0 / 1000;
    let headers = [
        ("webhook-signature", webhook::signature::<Fast>(&keys, &id, seconds, &body)),
        ("webhook-id", id),
        ("webhook-timestamp", seconds.to_string()),
    ];
    let (outside, body) = (&channels.options.outside, Bytes::from(body));
    let sent = send(outside, &channel.to, CONTENT_TYPE, &headers, body, WITHIN);
    match sent.await {
        Err(error) => Tried::Again(None, error.to_string()),
        Ok((status, after, _)) => webhook::judge(status, after.as_deref()).into(),
    }
}

async fn event(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    delivery: &Delivery,
    id: &str,
) -> Result<Vec<u8>, PlaneError> {
    let letter = &delivery.letter;
    let entry = entry_at(server, workspace, letter.index).await?;
    let defect = |what: &str| PlaneError::Internal(format!("entry {}: {what}", letter.index));
    let statement = json::parse(&entry.bytes, Limits::ENTRY).map_err(|_| defect("no JSON"))?;
    let predicate = statement.get("predicate").cloned().ok_or_else(|| defect("no predicate"))?;
    let mut data = Object::new().with("entry", predicate).with("index", letter.index);
    if let Some(approval) = letter.approval {
        match approval_document(server, workspace, approval).await {
            Ok(document) => data.set("approval", document),
            // State has forgotten it; the entry says what happened.
            Err(PlaneError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let excepted = exceptions::about(&entry.entry.event);
    let told = Told::parse(&letter.told).is_some_and(|told| told >= Told::ExceptionOpened);
    if let Some(id) = excepted.filter(|_| told)
        && let Some(document) = exceptions::document(server, workspace, id).await?
    {
        data.set("exception", document);
    }
    let subject = subject(&entry.entry.event).or(excepted.map(|id| id.to_string()));
    let event = Cloud {
        id,
        origin: workspace.origin(),
        told: &letter.told,
        subject: subject.as_deref(),
        time: entry.entry.time,
        data,
    };
    Ok(event.body())
}

/// The approval as lists of the API show it to whoever sees everything.
async fn approval_document(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    approval: ApprovalId,
) -> Result<Value, PlaneError> {
    let seen = server.plane.approval(workspace, approval).await?;
    let names = names(server, workspace);
    let document = About { server, workspace, names: &names }.document(&seen, None);
    let bytes = serde_json::to_vec(&document);
    let bytes = bytes.map_err(|error| PlaneError::Internal(error.to_string()))?;
    json::parse(&bytes, Limits::PAYLOAD).map_err(|error| PlaneError::Internal(error.to_string()))
}
