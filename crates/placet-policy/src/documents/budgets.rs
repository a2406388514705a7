//! `budgets:` ceilings. Amounts are micro-units in the normal form.

use super::Kind;
use crate::references::Reference;
use crate::shape::{Field, Shape};

pub(super) const KIND: Kind = Kind {
    name: "budgets",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the budgets"),
        Field::required("unit", Shape::Name, "credits, tokens, calls, or a currency"),
        Field::required("ceiling", Shape::Amount, "the hard limit"),
        Field::optional(
            "scope",
            Shape::Record(&[
                Field::optional("teams", Shape::Set(&Shape::Name), "these teams, each by itself"),
                Field::optional(
                    "capabilities",
                    Shape::Set(&Shape::Name),
                    "these capabilities, each by itself",
                )
                .refers(Reference::Capability),
                Field::optional("branches", Shape::Set(&Shape::Name), "these branches"),
                Field::optional("actors", Shape::Set(&Shape::Actor), "these actors, kind:name"),
                Field::optional("models", Shape::Set(&Shape::Name), "these models")
                    .refers(Reference::Model),
            ]),
            "what it is for; the workspace where nothing is named",
        ),
        Field::required(
            "window",
            Shape::Word(&["execution", "hour", "day", "month", "absolute"]),
            "for how long the ceiling holds",
        ),
        Field::optional(
            "thresholds",
            Shape::List(&Shape::Record(&[
                Field::required("percent", Shape::Int(1, 100), "of the ceiling"),
                Field::required(
                    "then",
                    Shape::Word(&["notify", "require_approval"]),
                    "what happens from there on",
                ),
            ])),
            "what happens before the ceiling is reached",
        ),
        Field::optional("reason", Shape::Prose(1024), "why"),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Ceilings that no reservation exceeds.",
};
