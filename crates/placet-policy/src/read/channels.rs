//! `channels:` and `notify:` as they speak of each other, and what each kind of channel needs. Owns what
//! is compared between keys; each value by itself is read by its shape.

use super::roles::{child, children, items};
use crate::diagnostic::{Code, Place, Report};
use crate::model::Model;
use crate::notify::is_loopback;
use crate::syntax::{Data, Node};
use placet_types::ids::{ActorId, ActorKind};
use placet_types::json::Value;
use placet_types::nearest::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// Channels that notifications name, and the tokens that are polled with.
#[derive(Default)]
pub(super) struct Reached {
    named: Vec<(String, Place)>,
    polled: BTreeMap<String, Place>,
}

fn text_of(node: Option<&Node>) -> Option<(&str, Place)> {
    match node.map(|node| (&node.value, node.place)) {
        Some((Data::Text { text, .. }, place)) => Some((text.as_str(), place)),
        _ => None,
    }
}

impl Reached {
    /// Looks at a section.
    pub(super) fn collect(&mut self, kind: &str, node: &Node, report: &mut Report<'_>) {
        match kind {
            "notify" => {
                for entry in items(Some(node)) {
                    for name in ["on", "channels"] {
                        let list = child(entry, name).filter(
                            |list| matches!(&list.value, Data::List(items) if items.is_empty()),
                        );
                        if let Some(list) = list {
                            let message = format!("`{name}` names nothing, so nobody is told");
                            report.error(Code::Conflict, list.place, message);
                        }
                    }
                    for name in items(child(entry, "channels")) {
                        self.named.extend(text_of(Some(name)).map(|(it, at)| (it.to_owned(), at)));
                    }
                }
            }
            "channels" => items(Some(node)).for_each(|entry| self.channel(entry, report)),
            _ => {}
        }
    }

    fn channel(&mut self, entry: &Node, report: &mut Report<'_>) {
        let Some((kind, _)) = text_of(child(entry, "kind")) else { return };
        for name in ["secret", "inbound_secret"] {
            if let Some((_, place)) =
                text_of(child(entry, name)).filter(|(it, _)| it.starts_with('.'))
            {
                let message = format!("`{name}` begins with a dot");
                let hint = "it names a file in the directory of `placet up --secrets`";
                report.error_hint(Code::Conflict, place, message, hint);
            }
        }
        if let Some((to, place)) = text_of(child(entry, "to"))
            && let Err(why) = fits(kind, to, child(entry, "insecure"))
        {
            report.error(Code::Conflict, place, why);
        }
        if let Some((id, place)) = text_of(child(entry, "id")).filter(|(id, _)| id.len() > 64) {
            let message = format!("the id of a channel has at most 64 bytes, not {}", id.len());
            report.error(Code::Bound, place, message);
        }
        let mode = text_of(child(entry, "mode")).map_or("long_poll", |(mode, _)| mode);
        let inbound = child(entry, "inbound_secret");
        let proven = kind == "slack" || (kind == "telegram" && mode == "webhook");
        if proven && inbound.is_none() {
            let hint = "name the file with Slack's signing secret, or with the secret token that \
                        Telegram's `setWebhook` was given";
            let message = format!("a channel of kind `{kind}` needs `inbound_secret` here");
            report.error_hint(Code::Conflict, entry.place, message, hint);
        }
        for (name, takes) in [
            ("inbound_secret", proven),
            ("mode", kind == "telegram"),
            ("approvers", kind != "webhook"),
            ("insecure", kind == "webhook"),
        ] {
            if let Some(node) = child(entry, name).filter(|_| !takes) {
                let message = format!("`{name}` says nothing to this channel of kind `{kind}`");
                report.error(Code::Conflict, node.place, message);
            }
        }
        if kind == "telegram"
            && mode == "long_poll"
            && let Some((secret, place)) = text_of(child(entry, "secret"))
            && let Some(first) = self.polled.insert(secret.to_owned(), place)
        {
            let message = format!(
                "two channels ask for the updates of one bot, the other one at line {}",
                first.line
            );
            let hint = "each takes from the other what people press; use a bot each, or \
                        `mode: webhook` for both";
            report.error_hint(Code::Conflict, place, message, hint);
        }
        for member in child(entry, "approvers").into_iter().flat_map(children) {
            let (key, place) = (&member.key, member.place);
            if !is_user(kind, key) {
                let message = format!("`{key}` is no user id of {kind}");
                let hint = "Telegram's are numbers; Slack's begin with U or W";
                report.error_hint(Code::Conflict, place, message, hint);
            }
            let actor = text_of(Some(&member.value)).and_then(|(it, _)| ActorId::parse(it));
            if actor.is_some_and(|actor| actor.kind() != ActorKind::Human) {
                let message = "only people decide: human:name";
                report.error(Code::Conflict, member.value.place, message);
            }
        }
    }

    /// Refuses what no document declares.
    pub(super) fn check(&self, model: &Model, report: &mut Report<'_>) {
        let declared = model.documents.get("channels").and_then(Value::as_array);
        let ids = declared.into_iter().flatten().filter_map(|it| it.get("id")?.as_str());
        let ids: BTreeSet<&str> = ids.collect();
        let names: Vec<&str> = ids.iter().copied().collect();
        for (name, place) in &self.named {
            if !ids.contains(name.as_str()) {
                let hint = nearest(name, &names).map_or_else(
                    || "declare it under `channels:`".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("`channels:` does not know the channel `{name}`");
                report.error_hint(Code::Conflict, *place, message, hint);
            }
        }
    }
}

/// Whether `to` is what a channel of this kind is sent to.
fn fits(kind: &str, to: &str, insecure: Option<&Node>) -> Result<(), String> {
    match kind {
        "telegram" => {
            let number = to.strip_prefix('-').unwrap_or(to);
            let chat = (1..=19).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
                && !number.starts_with('0');
            if chat { Ok(()) } else { Err("`to` is no chat: its number, in quotes".to_owned()) }
        }
        "slack" => {
            let channel = (2..=32).contains(&to.len())
                && to.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
                && to.starts_with(['C', 'G', 'D']);
            if channel { Ok(()) } else { Err("`to` is no channel id: C0123456789".to_owned()) }
        }
        _ => url(to, matches!(insecure.map(|it| &it.value), Some(Data::Bool(true)))),
    }
}

fn url(to: &str, insecure: bool) -> Result<(), String> {
    let plain = to.strip_prefix("http://");
    let Some(rest) = plain.or_else(|| to.strip_prefix("https://")) else {
        return Err("`to` is no https URL".to_owned());
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let sound = !host.is_empty()
        && to.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b))
        && !host.contains('@');
    if !sound {
        return Err("`to` is no URL without user, password and fragment".to_owned());
    }
    if plain.is_some() && !insecure && !is_loopback(host) {
        return Err(
            "`to` is plain http beyond this machine; use https, or say `insecure: true`".to_owned()
        );
    }
    Ok(())
}

fn is_user(kind: &str, id: &str) -> bool {
    match kind {
        "telegram" => {
            (1..=19).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_digit())
                && !id.starts_with('0')
        }
        _ => {
            (2..=32).contains(&id.len())
                && id.starts_with(['U', 'W'])
                && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        }
    }
}
