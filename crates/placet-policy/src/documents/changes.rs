//! `changes:` path lists, tiers, risk weights and quality gates for code changes.

use super::Kind;
use crate::pattern::Dialect;
use crate::shape::{Field, Shape};

const PATHS: Shape = Shape::Set(&Shape::Pattern(Dialect::Text));

pub(super) const KIND: Kind = Kind {
    name: "changes",
    shape: Shape::Record(&[
        Field::optional("allowed", PATHS, "paths that may change, as in gitignore"),
        Field::optional("protected", PATHS, "paths whose change needs an approval"),
        Field::optional("never", PATHS, "paths that are never approved automatically"),
        Field::optional("denied", PATHS, "paths that no change may touch"),
        Field::optional(
            "tiers",
            Shape::Record(&[
                Field::optional("auto_lines", Shape::Int(0, 1_000_000), "most lines of tier 1"),
                Field::optional("auto_deleted", Shape::Int(0, 1_000_000), "most deleted of tier 1"),
                Field::optional("auto_score", Shape::Int(0, 100), "score from which not tier 1"),
                Field::optional("notify_lines", Shape::Int(0, 1_000_000), "most lines of tier 2"),
                Field::optional(
                    "notify_deleted",
                    Shape::Int(0, 1_000_000),
                    "most deleted lines of tier 2",
                ),
            ]),
            "the bounds of the tiers",
        ),
        Field::optional(
            "weights",
            Shape::Map(&Shape::Id, &Shape::Int(0, 100)),
            "what each factor adds to the risk score",
        ),
        Field::optional(
            "gates",
            Shape::Entries(&[
                Field::required("id", Shape::Id, "unique among the gates"),
                Field::required(
                    "command",
                    Shape::List(&Shape::Prose(1024)),
                    "the program and its arguments",
                ),
                Field::optional("timeout", Shape::Duration, "longest run"),
            ]),
            "commands that have to succeed after a change",
        ),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Which paths code changes may touch, and what they need.",
};
