//! Messages that people read: one per approval, which shows it as it stands and changes with it, and one
//! for each other thing that happened. Owns when a message is sent, changed or left; refuses to know the
//! calls of either service.

use super::deliver::Tried;
use super::follow::meaning;
use super::{Channels, exceptions, slack, telegram};
use crate::document;
use crate::names::Names;
use crate::server::Server;
use placet_notify::{Attempt, Brief, Said, Vote, members};
use placet_policy::{Channel, ChannelKind, Told};
use placet_runtime::crypto::Fast;
use placet_runtime::{LogEntry, PlaneError, Workspace};
use placet_store::{Delivery, Message};
use placet_types::event::{Event, KillEvent, OverrideMode, Passage};
use placet_types::hash::Hasher;
use placet_types::ids::ApprovalId;
use placet_types::json::{Object, Value};
use placet_types::policy::Reason;
use placet_types::visible;
use std::sync::Arc;

/// What a service does with a message; each call is tried once.
pub(super) enum Post<'a> {
    /// Send one about an approval.
    Send(&'a Brief),
    /// Change the one at a place.
    Change(&'a Brief, &'a str),
    /// Say something, in answer to the one at a place if there is one.
    Say(&'a str, Option<&'a str>),
}

/// A channel with its secret.
pub(super) struct Open<'a> {
    pub(super) channels: &'a Channels,
    pub(super) channel: &'a Channel,
    pub(super) key: [u8; 32],
    pub(super) token: zeroize::Zeroizing<String>,
}

impl Open<'_> {
    /// Digest of what the message about an approval shows.
    fn shown(&self, brief: &Brief) -> [u8; 32] {
        let body = match self.channel.kind {
            ChannelKind::Telegram { .. } => telegram::body(self, brief),
            _ => slack::body(self, brief),
        };
        Fast::sha256(&[&Value::Object(body).to_canonical()])
    }

    /// The place of the message that was sent, where one was.
    async fn post(&self, post: Post<'_>) -> Attempt<Option<String>> {
        match self.channel.kind {
            ChannelKind::Telegram { .. } => telegram::post(self, post).await,
            _ => slack::post(self, post).await,
        }
    }

    fn is_gone(&self, why: &str) -> bool {
        match self.channel.kind {
            ChannelKind::Telegram { .. } => placet_notify::telegram::is_gone(why),
            _ => placet_notify::slack::is_gone(why),
        }
    }
}

pub(super) async fn deliver(
    server: &Arc<Server>,
    channels: &Channels,
    workspace: &Arc<Workspace>,
    channel: &Channel,
    delivery: &Delivery,
) -> Tried {
    let token = match channels.secret(&server.plane, workspace, &channel.secret) {
        Ok(token) => token,
        Err(why) => return Tried::Down(format!("secret {}: {why}", channel.secret)),
    };
    let open = Open { channels, channel, key: Channels::button_key(workspace, channel), token };
    let done = match delivery.letter.approval {
        Some(approval) => about_approval(server, &open, workspace, approval, delivery).await,
        None => about_entry(server, &open, workspace, delivery).await,
    };
    done.unwrap_or_else(Tried::from)
}

/// Makes the message about an approval show it as it stands.
async fn about_approval(
    server: &Arc<Server>,
    open: &Open<'_>,
    workspace: &Arc<Workspace>,
    approval: ApprovalId,
    delivery: &Delivery,
) -> Result<Tried, PlaneError> {
    let (no, channels) = (workspace.no, open.channels);
    let store = PlaneError::StoreFailed;
    let id = open.channel.id.clone();
    let known = channels.on_outbox(move |outbox| outbox.message(no, &id, approval)).await;
    let known = known.map_err(store)?;
    let Some(mut brief) = brief(server, workspace, approval).await? else {
        // State has forgotten it, so it has been final for long.
        return Ok(Tried::Nothing);
    };
    if brief.state == "rejected" {
        brief.rejected_by = rejected_by(server, workspace, delivery).await?;
    }
    let shown = open.shown(&brief);
    let mut place = known.as_ref().map(|message| message.place.clone());
    let posted = match &known {
        // Nobody was asked, and nobody is waited for any more.
        None if !brief.is_pending() => return Ok(Tried::Nothing),
        None => Some(open.post(Post::Send(&brief)).await),
        Some(message) if message.shown == shown => None,
        Some(message) => Some(open.post(Post::Change(&brief, &message.place)).await),
    };
    let told = if posted.is_some() { Tried::Done } else { Tried::Nothing };
    match posted {
        None => {}
        Some(Attempt::Done(sent)) => place = sent.or(place),
        // Somebody deleted it. What is decided needs no message; what is not gets another one.
        Some(Attempt::Never(why)) if open.is_gone(&why) => {
            keep(channels, workspace, open.channel, approval, None).await.map_err(store)?;
            if !brief.is_pending() {
                return Ok(Tried::Nothing);
            }
            return Ok(Tried::Again(None, why));
        }
        Some(other) => return Ok(other.into()),
    }
    let message = place.clone().map(|place| Message { place, shown });
    // One that is final never changes again.
    let message = message.filter(|_| !brief.is_final());
    if known != message {
        keep(channels, workspace, open.channel, approval, message).await.map_err(store)?;
    }
    let more = match Told::parse(&delivery.letter.told) {
        Some(Told::Reminded) => format!("⏰ It still waits, until {}", brief.expires.rfc3339()),
        Some(Told::Escalated) => "⏫ More people may decide this now".to_owned(),
        Some(Told::Reopened) => {
            "🔁 The demand has changed: what it asks for now is above".to_owned()
        }
        _ => return Ok(told),
    };
    if !brief.is_pending() {
        return Ok(told);
    }
    Ok(open.post(Post::Say(&more, place.as_deref())).await.into())
}

async fn keep(
    channels: &Channels,
    workspace: &Workspace,
    channel: &Channel,
    approval: ApprovalId,
    message: Option<Message>,
) -> Result<(), String> {
    let (no, id) = (workspace.no, channel.id.clone());
    channels.on_outbox(move |outbox| outbox.keep_message(no, &id, approval, message.as_ref())).await
}

/// Says what happened, where that is no approval.
async fn about_entry(
    server: &Arc<Server>,
    open: &Open<'_>,
    workspace: &Arc<Workspace>,
    delivery: &Delivery,
) -> Result<Tried, PlaneError> {
    let entry = entry_at(server, workspace, delivery.letter.index).await?;
    let names = names(server, workspace);
    let excepted = exceptions::text(server, workspace, &delivery.letter.told, &entry).await?;
    let name = |actor: &str| names.get(actor);
    let by = |actor: Option<&str>| actor.map(|it| format!(" by {}", name(it))).unwrap_or_default();
    let text = match &entry.entry.event {
        _ if excepted.is_some() => excepted.unwrap_or_default(),
        Event::Decision(event) => format!(
            "⛔ Denied: {} / {} asked by {} ({}), because of {}",
            event.surface,
            event.action,
            name(event.actor.as_str()),
            event.environment,
            event.rules.join(", ")
        ),
        Event::KillTripped(kill) => format!(
            "🛑 {} {}{} ({})",
            switch(kill),
            if kill.mode == OverrideMode::Kill { "tripped" } else { "set" },
            by(kill.by.as_ref().map(|it| it.as_str())),
            kill.source.as_str()
        ),
        Event::KillLifted(kill) => {
            format!("▶️ {} lifted{}", switch(kill), by(kill.by.as_ref().map(|it| it.as_str())))
        }
        Event::BundleArmed(armed) => {
            let by = by(armed.by.as_ref().map(|it| it.as_str()));
            format!("📜 Policy {} is in force{by}", armed.bundle)
        }
        Event::ApprovalVoted(vote) => format!(
            "{} {}{}",
            if vote.approve { "✅ Approved:" } else { "❌ Rejected:" },
            vote.approval,
            by(Some(vote.by.as_str()))
        ),
        Event::ApprovalClosed(closed) => {
            format!("🚫 {}: {}", closed.state.as_str(), closed.approval)
        }
        Event::PermitCollected(collected) => {
            format!("✅ Approved and used: {}", collected.approval)
        }
        other => {
            let about = meaning(other).and_then(|(_, about)| about);
            let about = about.map(|(approval, _)| format!(": {approval}")).unwrap_or_default();
            format!("{}{about}", delivery.letter.told)
        }
    };
    let lines: Vec<String> = text.lines().map(|it| visible::flat(&visible::escape(it))).collect();
    let text = format!(
        "{}\nWorkspace {}, entry {}, {}",
        lines.join("\n"),
        workspace.name,
        entry.index,
        entry.entry.time.rfc3339()
    );
    Ok(open.post(Post::Say(&text, None)).await.into())
}

/// Who rejected, where the entry that is told is that vote.
async fn rejected_by(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    delivery: &Delivery,
) -> Result<Option<String>, PlaneError> {
    let entry = entry_at(server, workspace, delivery.letter.index).await?;
    let Event::ApprovalVoted(vote) = &entry.entry.event else { return Ok(None) };
    if vote.approve {
        return Ok(None);
    }
    let by = vote.by.as_str();
    Ok(Some(names(server, workspace).get(by)))
}

pub(super) async fn entry_at(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    index: u64,
) -> Result<LogEntry, PlaneError> {
    let (plane, workspace) = (server.plane.clone(), workspace.clone());
    let done = tokio::task::spawn_blocking(move || plane.log_entry(&workspace, index)).await;
    done.map_err(|error| PlaneError::Internal(error.to_string()))?
}

/// Names of people by the pseudonyms that entries show: those who have keys, and approvers of channels.
pub(super) fn names<'a>(server: &'a Server, workspace: &'a Workspace) -> Names<'a> {
    let bundle = workspace.bundle();
    let channels = bundle.iter().flat_map(|bundle| bundle.notify().channels());
    let approvers = channels.flat_map(|channel| channel.approvers.values());
    Names::new(server, workspace).with(approvers)
}

/// An approval as it stands; `None` when state has forgotten it. Everything of its payload is read now,
/// so what was erased meanwhile is not in it.
pub(super) async fn brief(
    server: &Arc<Server>,
    workspace: &Arc<Workspace>,
    approval: ApprovalId,
) -> Result<Option<Brief>, PlaneError> {
    let (held, answer, payload) = match server.plane.approval(workspace, approval).await {
        Err(PlaneError::NotFound(_)) => return Ok(None),
        seen => seen?,
    };
    let event = &answer.event;
    let names = names(server, workspace);
    let object = |name: &str| payload.as_ref()?.payload.get(name)?.as_object();
    let request = object("request");
    let actor = object("facts").and_then(|facts| facts.get("actor")).and_then(Value::as_str);
    let texts = document::texts_of(server, workspace, &answer);
    // A demand that was renewed names rules of a later bundle.
    let now = workspace.bundle().filter(|_| held.reopened > 0);
    let now = now.and_then(|bundle| server.texts(bundle.digest(), Some(&bundle)));
    let reason = |rule: &String| {
        let text = now.as_ref().and_then(|texts| texts.get(rule).cloned());
        let text = text.or_else(|| texts.as_ref()?.get(rule).cloned());
        text.unwrap_or_else(|| Reason::Rule.text().to_owned())
    };
    let constraints = if held.reopened > 0 { &held.constraints } else { &event.constraints };
    let votes = held.votes.iter().map(|cast| Vote {
        by: names.get(cast.by.as_str()),
        roles: cast.roles.iter().cloned().collect(),
    });
    Ok(Some(Brief {
        approval,
        workspace: workspace.name.to_string(),
        state: held.state.as_str(),
        surface: event.surface.clone(),
        action: event.action.clone(),
        environment: event.environment.clone(),
        chain: chain(object("facts")),
        asked_by: actor.unwrap_or_else(|| event.actor.as_str()).to_owned(),
        said: request.map(Said::of),
        reasons: held.rules.iter().map(reason).chain(event.exception.iter().map(passage)).collect(),
        roles: held.roles.clone(),
        missing: held.missing(),
        votes: votes.collect(),
        rejected_by: None,
        expires: held.expires,
        constraints: members(&Value::Object(constraints.clone())),
        digests: answer
            .digests
            .filter(|_| request.is_some())
            .map(|digests| (digests.request, digests.action)),
        requirement: held.requirement,
    }))
}

/// What approvers have to know of a request that passes under an exception.
fn passage(it: &Passage) -> String {
    format!("passes under exception {}, over {}", it.exception, it.waived.join(", "))
}

/// On whose behalf it is asked, as a token proved it.
fn chain(facts: Option<&Object>) -> Vec<String> {
    let chain = facts.and_then(|facts| facts.get("chain")).and_then(Value::as_array);
    chain.unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What an entry is about, for events that name both.
pub(super) fn subject(event: &Event) -> Option<String> {
    match event {
        Event::Decision(event) => Some(event.decision.to_string()),
        other => meaning(other)?.1.map(|(_, decision)| decision.to_string()),
    }
}

/// What was tripped or lifted, in words.
fn switch(kill: &KillEvent) -> String {
    let what = match kill.mode {
        OverrideMode::Kill => "Kill switch",
        OverrideMode::Freeze => "Freeze",
        OverrideMode::Disable => "Ban",
        OverrideMode::Revoke => "Revocation",
    };
    format!("{what} of {}", kill.scope)
}
