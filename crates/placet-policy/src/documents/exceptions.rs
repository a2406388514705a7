//! `exceptions:` how far somebody may deviate from policy, and who.

use super::Kind;
use crate::pattern::Dialect;
use crate::references::Reference;
use crate::shape::{Field, Shape};

/// Who can open an exception at all: the constitution lets nobody else.
pub(crate) const OPENERS: [&str; 2] = ["admin", "operator"];

const OPENING: Shape = Shape::Set(&Shape::Word(&OPENERS));

pub(super) const KIND: Kind = Kind {
    name: "exceptions",
    shape: Shape::Record(&[
        Field::optional("roles", OPENING, "who may ask for one; admin, operator"),
        Field::optional("default", Shape::Duration, "how long one lasts that does not say; 1h"),
        Field::optional("max", Shape::Duration, "how long one may last; 4h, at most 24h"),
        Field::optional(
            "review",
            Shape::Duration,
            "how long after its end its review is due at the latest; 24h, at most 7d",
        ),
        Field::optional(
            "break_glass",
            Shape::Record(&[
                Field::required("roles", OPENING, "who may open one alone, in an emergency"),
                Field::optional("max", Shape::Duration, "how long such a one may last; 30m"),
                Field::optional("review", Shape::Duration, "when its review is due; 8h"),
            ]),
            "lets one person alone open one in an emergency; left out, nobody may",
        ),
        Field::optional(
            "limits",
            Shape::Set(&Shape::Record(&[
                Field::optional("surface", Shape::Pattern(Dialect::Dotted), "on these; on all")
                    .refers(Reference::Surface),
                Field::optional("environment", Shape::Label, "in this environment; in all"),
                Field::optional("max", Shape::Duration, "how long one may last there"),
                Field::optional("none", Shape::Bool, "none may be opened there; instead of `max`"),
            ])),
            "where one may last less; one that covers more than a limit keeps to it too",
        ),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "How far somebody may deviate from policy for a while, and who.",
};
