//! `channels:` where people and programs are reached, and who may decide there.

use super::Kind;
use crate::shape::{Field, Shape};

/// What a channel may be.
pub(crate) const KINDS: [&str; 3] = ["telegram", "slack", "webhook"];
/// How a Telegram channel hears of what people press.
pub(crate) const MODES: [&str; 2] = ["long_poll", "webhook"];

pub(super) const KIND: Kind = Kind {
    name: "channels",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the channels"),
        Field::required("kind", Shape::Word(&KINDS), "telegram, slack or webhook"),
        Field::required(
            "to",
            Shape::Prose(2000),
            "a chat (Telegram), a channel (Slack) or an https URL (webhook)",
        ),
        Field::required(
            "secret",
            Shape::Id,
            "name of the file with the token of the bot, or with the key that signs what is sent",
        ),
        Field::optional(
            "inbound_secret",
            Shape::Id,
            "name of the file with what proves that a call comes from there: Slack's signing secret, \
             the secret token of Telegram's webhook",
        ),
        Field::optional("mode", Shape::Word(&MODES), "of Telegram; long_poll"),
        Field::optional(
            "approvers",
            Shape::Map(&Shape::Prose(64), &Shape::Actor),
            "who may decide there: user id of the channel, and the person it belongs to",
        ),
        Field::optional(
            "insecure",
            Shape::Bool,
            "lets a webhook be plain http beyond this machine",
        ),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Where people and programs are reached, and who may decide there.",
};
