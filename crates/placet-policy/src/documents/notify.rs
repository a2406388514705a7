//! `notify:` who hears of what, through which channel.

use super::Kind;
use crate::pattern::Dialect;
use crate::shape::{Field, Shape};

pub(super) const KIND: Kind = Kind {
    name: "notify",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the notifications"),
        Field::required(
            "on",
            Shape::Set(&Shape::Word(&[
                "approval.opened",
                "approval.closed",
                "approval.reminder",
                "decision.denied",
                "budget.threshold",
                "budget.overrun",
                "kill.tripped",
                "kill.lifted",
                "policy.published",
                "exception.opened",
                "exception.overdue",
            ])),
            "what is told",
        ),
        Field::required(
            "channel",
            Shape::Word(&["telegram", "slack", "webhook", "console"]),
            "how it is told",
        ),
        Field::required("to", Shape::Set(&Shape::Prose(200)), "roles or addresses of the channel"),
        Field::optional("surfaces", Shape::Set(&Shape::Pattern(Dialect::Dotted)), "only of these"),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Who hears of what, through which channel.",
};
