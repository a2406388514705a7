//! Channels and notifications of a bundle as whoever delivers reads them. Owns which channel hears of
//! what; refuses to know how anything is sent.

use crate::pattern::{self, Dialect, Pattern};
use placet_types::ids::ActorId;
use placet_types::json::{Object, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// A decision waits for people.
    Opened,
    /// Somebody decided.
    Voted,
    /// Nobody is waited for any more: approved, rejected, expired, invalidated, withdrawn.
    Closed,
    /// The permit of an approved action was collected.
    Consumed,
    /// The demand has changed and the votes count no more.
    Reopened,
    /// Further roles may decide.
    Escalated,
    /// It expires soon.
    Reminded,
    /// A request was denied.
    Denied,
    /// A kill switch was tripped.
    Tripped,
    /// A kill switch was lifted.
    Lifted,
    /// Another bundle is in force.
    Published,
    /// An exception was opened.
    ExceptionOpened,
    /// Something passed under an exception for the first time.
    ExceptionUsed,
    /// An exception is over: run out, closed, or used up.
    ExceptionEnded,
    /// Nobody has reviewed an exception in time.
    ExceptionOverdue,
}

impl Told {
    /// All of them, in the order of `on:`.
    pub const ALL: [Self; 15] = [
        Self::Opened,
        Self::Voted,
        Self::Closed,
        Self::Consumed,
        Self::Reopened,
        Self::Escalated,
        Self::Reminded,
        Self::Denied,
        Self::Tripped,
        Self::Lifted,
        Self::Published,
        Self::ExceptionOpened,
        Self::ExceptionUsed,
        Self::ExceptionEnded,
        Self::ExceptionOverdue,
    ];

    /// The word of `on:`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let all = Self::ALL.into_iter().zip(crate::documents::notify::TOLD);
        all.into_iter().find(|(told, _)| *told == self).map_or("", |(_, word)| word)
    }

    /// What a word of `on:` says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|told| told.as_str() == text)
    }

    /// Whether it is about an approval, so that a message about it may have to change.
    #[must_use]
    pub fn is_of_approval(self) -> bool {
        self <= Self::Reminded
    }
}

/// What a channel is, with what only its kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// A chat with a bot of Telegram.
    Telegram {
        /// Name of the secret token of calls from there; `None` where updates are asked for.
        webhook: Option<String>,
    },
    /// A channel of Slack.
    Slack {
        /// Name of the signing secret.
        signing_secret: String,
    },
    /// A program that takes events.
    Webhook,
}

impl ChannelKind {
    /// `telegram`, `slack`, `webhook`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Telegram { .. } => "telegram",
            Self::Slack { .. } => "slack",
            Self::Webhook => "webhook",
        }
    }

    /// Whether people read messages there that change with what they are about.
    #[must_use]
    pub fn is_chat(&self) -> bool {
        !matches!(self, Self::Webhook)
    }
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: ChannelKind,
    /// Chat, channel or URL.
    pub to: String,
    /// Name of the secret that what is sent needs.
    pub secret: String,
    /// People by the user ids of the channel.
    pub approvers: BTreeMap<String, ActorId>,
}

/// Who is told what.
#[derive(Debug)]
pub struct Notification {
    /// Its id.
    pub id: String,
    on: BTreeSet<Told>,
    channels: BTreeSet<String>,
    /// Names and patterns of surfaces; all of them where it names none.
    surfaces: Option<Vec<(String, Pattern)>>,
}

/// All channels and notifications of a bundle.
#[derive(Debug, Default)]
pub struct Notify {
    channels: BTreeMap<String, Channel>,
    notifications: Vec<Notification>,
}

impl Notify {
    /// From documents that were checked.
    pub(crate) fn of(documents: &BTreeMap<&'static str, Value>) -> Self {
        let entries = |kind: &str| {
            let all = documents.get(kind).and_then(Value::as_array);
            all.into_iter().flatten().filter_map(Value::as_object)
        };
        let channels = entries("channels").filter_map(channel);
        Self {
            channels: channels.map(|channel| (channel.id.clone(), channel)).collect(),
            notifications: entries("notify").map(notification).collect(),
        }
    }

    /// All channels, by id.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.channels.values()
    }

    /// The channel of this id.
    #[must_use]
    pub fn channel(&self, id: &str) -> Option<&Channel> {
        self.channels.get(id)
    }

    /// Whether nobody is told anything: no notification names a channel, and no exception could promise one.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.notifications.is_empty() && self.channels.is_empty()
    }

    /// Whether anybody is told this, on whatever surface.
    #[must_use]
    pub fn tells(&self, told: Told) -> bool {
        self.notifications.iter().any(|it| it.on.contains(&told))
    }

    /// The channels that hear of this. `surface` is where it happened; what belongs to no surface is
    /// told by notifications that name none.
    #[must_use]
    pub fn hearing(&self, told: Told, surface: Option<&str>) -> Vec<&Channel> {
        let of = |it: &&Notification| {
            let here = it.surfaces.as_ref().is_none_or(|patterns| {
                surface.is_some_and(|name| patterns.iter().any(|it| is_in(name, it)))
            });
            it.on.contains(&told) && here
        };
        let ids: BTreeSet<&String> =
            self.notifications.iter().filter(of).flat_map(|it| &it.channels).collect();
        ids.into_iter().filter_map(|id| self.channels.get(id)).collect()
    }
}

fn texts<'o>(of: &'o Object, name: &str) -> impl Iterator<Item = &'o str> {
    of.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn channel(of: &Object) -> Option<Channel> {
    let text = |name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let inbound = text("inbound_secret");
    let kind = match of.get("kind").and_then(Value::as_str)? {
        "telegram" => ChannelKind::Telegram { webhook: inbound },
        "slack" => ChannelKind::Slack { signing_secret: inbound? },
        "webhook" => ChannelKind::Webhook,
        _ => return None,
    };
    let approvers = of.get("approvers").and_then(Value::as_object);
    let person =
        |(user, actor): (&str, &Value)| Some((user.to_owned(), ActorId::parse(actor.as_str()?)?));
    Some(Channel {
        id: text("id")?,
        kind,
        to: text("to")?,
        secret: text("secret")?,
        approvers: approvers.into_iter().flat_map(Object::iter).filter_map(person).collect(),
    })
}

fn notification(of: &Object) -> Notification {
    let surfaces = of.get("surfaces").map(|_| {
        let parsed = |text: &str| Some((text.to_owned(), Dialect::Dotted.parse(text).ok()?));
        texts(of, "surfaces").filter_map(parsed).collect()
    });
    Notification {
        id: of.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
        on: texts(of, "on").filter_map(Told::parse).collect(),
        channels: texts(of, "channels").map(str::to_owned).collect(),
        surfaces,
    }
}

fn is_in(surface: &str, (text, pattern): &(String, Pattern)) -> bool {
    match pattern {
        Pattern::Literal => surface == text,
        Pattern::Any => true,
        Pattern::Segments(segments) => pattern::matches(segments, surface.split('.')),
    }
}

/// Whether a host, perhaps with a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
