//! `outputs:` what is looked for in the output of an action, and what then happens to it.

use super::Kind;
use crate::pattern::Dialect;
use crate::references::Reference;
use crate::shape::{Field, Shape};

pub(super) const KIND: Kind = Kind {
    name: "outputs",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the output rules"),
        Field::optional("surfaces", Shape::Set(&Shape::Pattern(Dialect::Dotted)), "only of these")
            .refers(Reference::Surface),
        Field::optional("topics", Shape::Set(&Shape::Pattern(Dialect::Dotted)), "only of these"),
        Field::optional(
            "detect",
            Shape::Set(&Shape::Word(&["secrets", "personal_data"])),
            "what is looked for",
        ),
        Field::optional("patterns", Shape::Set(&Shape::Regex), "regular expressions"),
        Field::optional("max_bytes", Shape::Int(1, 1 << 40), "larger output matches"),
        Field::optional("content_types", Shape::Set(&Shape::Prose(200)), "other output matches"),
        Field::required(
            "then",
            Shape::Word(&["release", "redact", "quarantine", "block"]),
            "what happens to what matches",
        ),
        Field::optional("reason", Shape::Prose(1024), "why"),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "What is looked for in outputs before anybody may read them.",
};
