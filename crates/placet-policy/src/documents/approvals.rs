//! `approvals:` its shape, for editors and for the formatter. Its rows are read as rules are, since their
//! `match:` is one.

use super::Kind;
use super::capabilities::APPROVERS;
use super::rules::MATCH;
use crate::references::Reference;
use crate::shape::{Field, Shape};

pub(super) const KIND: Kind = Kind {
    name: "approvals",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the approvals"),
        Field::required(
            "match",
            MATCH,
            "what needs the approval; a condition that fails counts as matched",
        ),
        Field::required("roles", APPROVERS, "who has to approve, how many of each")
            .refers(Reference::Role),
        Field::optional("expires", Shape::Duration, "how long one may wait; 1h"),
        Field::optional("use_within", Shape::Duration, "how long it then counts; 1h"),
        Field::optional(
            "escalate",
            Shape::List(&Shape::Record(&[
                Field::required("after", Shape::Duration, "how long after it was opened"),
                Field::required("roles", APPROVERS, "who may approve from then on")
                    .refers(Reference::Role),
            ])),
            "who may approve besides once it has waited",
        ),
        Field::optional(
            "remind",
            Shape::Duration,
            "how long before it expires the approvers hear of it again",
        ),
        Field::optional("reason", Shape::Prose(1024), "why"),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Who has to approve what the rules grant.",
};
