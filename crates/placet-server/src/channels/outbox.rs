//! The outbox over HTTP: what waits, what was given up, which channels are down; and trying again.

use super::Channels;
use crate::auth::{Act, OVERSEERS, Session};
use crate::call::Call;
use crate::document;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{ChannelDocument, DeliveryDocument, OutboxDocument};
use placet_policy::ChannelKind;
use placet_store::Delivery;
use std::sync::Arc;

/// Most deliveries of one page.
const PAGE_MAX: usize = 500;
/// Who may have something tried again.
const MAY_REPLAY: [&str; 2] = ["admin", "operator"];

fn described(delivery: &Delivery) -> DeliveryDocument {
    let letter = &delivery.letter;
    DeliveryDocument {
        id: delivery.id,
        channel: letter.channel.clone(),
        event: letter.told.clone(),
        index: letter.index,
        approval: letter.approval.map(|id| id.to_string()),
        state: if delivery.dead { "dead" } else { "pending" },
        since: delivery.since.rfc3339(),
        attempts: delivery.attempts,
        next_attempt: (!delivery.dead && delivery.due.0 > 0).then(|| delivery.due.rfc3339()),
        error: delivery.error.clone(),
    }
}

fn store(why: String) -> Problem {
    Problem::internal(&why)
}

/// `GET /api/v1/outbox`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    session.demand(&OVERSEERS)?;
    let query = call.query(&["dead", "cursor", "limit"])?;
    let dead = query.flag("dead")?;
    let limit = query.limit(100, PAGE_MAX)?;
    let after = query.number("cursor")?.unwrap_or(0);
    let Some(channels) = call.server.channels.clone() else {
        let nothing = OutboxDocument { deliveries: vec![], channels: vec![], next_cursor: None };
        return document::answer(StatusCode::OK, &nothing);
    };
    let no = session.workspace.no;
    let found = channels.on_outbox(move |outbox| outbox.list(no, dead, after, limit)).await;
    let found = found.map_err(store)?;
    let last = found.last().filter(|_| found.len() == limit);
    let next_cursor = last.map(|last| last.id.to_string());
    let described = found.iter().map(described).collect();
    let channels = states(&call, &session, &channels).await?;
    let answer = OutboxDocument { deliveries: described, channels, next_cursor };
    document::answer(StatusCode::OK, &answer)
}

/// Every channel of the policy in force, and those it no longer knows for which something is left.
async fn states(
    call: &Call,
    session: &Session,
    channels: &Arc<Channels>,
) -> Result<Vec<ChannelDocument>, Problem> {
    let workspace = &session.workspace;
    let waiting = channels.on_outbox(placet_store::Outbox::waiting).await.map_err(store)?;
    let waiting = waiting.into_iter().filter(|it| it.workspace == workspace.no);
    let mut waiting: std::collections::BTreeMap<_, _> =
        waiting.map(|it| (it.channel.clone(), it)).collect();
    let mut out = Vec::new();
    let bundle = workspace.bundle();
    for channel in bundle.iter().flat_map(|bundle| bundle.notify().channels()) {
        let inbound = match &channel.kind {
            ChannelKind::Telegram { webhook } => webhook.as_ref(),
            ChannelKind::Slack { signing_secret } => Some(signing_secret),
            ChannelKind::Webhook => None,
        };
        // Asked now: a secret that is missing shows before anything is to be told.
        let unread = [Some(&channel.secret), inbound].into_iter().flatten().find_map(|name| {
            let secret = channels.secret(&call.server.plane, workspace, name);
            secret.err().map(|why| format!("secret {name}: {}", why.public()))
        });
        let key = (workspace.no, channel.id.clone());
        let known = super::locked(&channels.down).get(&key).map(|down| match down.public {
            true => down.why.clone(),
            false => "the last attempt failed; see the errors of deliveries".to_owned(),
        });
        let left = waiting.remove(&channel.id);
        let error = unread.or(known);
        out.push(ChannelDocument {
            id: channel.id.clone(),
            kind: channel.kind.as_str(),
            state: if error.is_some() { "down" } else { "ready" },
            error,
            pending: left.as_ref().map_or(0, |it| it.pending),
            dead: left.as_ref().map_or(0, |it| it.dead),
            oldest: left.and_then(|it| it.oldest).map(|time| time.rfc3339()),
        });
    }
    out.extend(waiting.into_values().map(|left| ChannelDocument {
        id: left.channel,
        kind: "unknown",
        state: "down",
        error: Some("the policy in force has no such channel".to_owned()),
        pending: left.pending,
        dead: left.dead,
        oldest: left.oldest.map(|time| time.rfc3339()),
    }));
    Ok(out)
}

/// `POST /api/v1/outbox/{id}/replay`
pub(crate) async fn replay(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&MAY_REPLAY)?;
    call.object(&[]).await?;
    let unknown = || Problem::new("not_found", "there is no such delivery in this workspace");
    let id = call.segment(3)?.parse::<u64>().map_err(|_| unknown())?;
    let channels = call.server.channels.clone().ok_or_else(unknown)?;
    let no = session.workspace.no;
    let again = move |outbox: &placet_store::Outbox| {
        if outbox.replay(no, id)? { outbox.delivery(no, id) } else { Ok(None) }
    };
    let found = channels.on_outbox(again).await.map_err(store)?.ok_or_else(unknown)?;
    channels.resume(&(no, found.letter.channel.clone()));
    document::answer(StatusCode::OK, &described(&found))
}
