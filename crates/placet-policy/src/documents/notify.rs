//! `notify:` who hears of what, through which channel.

use super::Kind;
use crate::pattern::Dialect;
use crate::references::Reference;
use crate::shape::{Field, Shape};

/// What can be told: events of the log, by the names that people use.
pub(crate) const TOLD: [&str; 15] = [
    "approval.opened",
    "approval.voted",
    "approval.closed",
    "approval.consumed",
    "approval.reopened",
    "approval.escalated",
    "approval.reminded",
    "decision.denied",
    "kill.tripped",
    "kill.lifted",
    "policy.published",
    "exception.opened",
    "exception.used",
    "exception.ended",
    "exception.overdue",
];

pub(super) const KIND: Kind = Kind {
    name: "notify",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the notifications"),
        Field::required("on", Shape::Set(&Shape::Word(&TOLD)), "what is told"),
        Field::required("channels", Shape::Set(&Shape::Id), "where: ids of `channels:`"),
        Field::optional("surfaces", Shape::Set(&Shape::Pattern(Dialect::Dotted)), "only of these")
            .refers(Reference::Surface),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Who hears of what, through which channel.",
};
