//! `models:` the allow list, routes and prices. Prices are micro-units in the normal form.

use super::Kind;
use crate::pattern::Dialect;
use crate::references::Reference;
use crate::shape::{Field, Shape};

pub(super) const KIND: Kind = Kind {
    name: "models",
    shape: Shape::Record(&[
        Field::required(
            "allow",
            Shape::Set(&Shape::Pattern(Dialect::Name)),
            "models that may be called; everything else is denied before the call",
        ),
        Field::optional(
            "routes",
            Shape::Entries(&[
                Field::required("id", Shape::Id, "unique among the routes"),
                Field::optional("capabilities", Shape::Set(&Shape::Name), "for these")
                    .refers(Reference::Capability),
                Field::optional("teams", Shape::Set(&Shape::Name), "for these"),
                Field::required(
                    "models",
                    Shape::List(&Shape::Name),
                    "in the order in which they are tried",
                )
                .refers(Reference::Model),
            ]),
            "which models serve whom",
        ),
        Field::optional(
            "prices",
            Shape::Map(
                &Shape::Name,
                &Shape::Record(&[
                    Field::required("unit", Shape::Name, "the unit of the amounts"),
                    Field::optional("input", Shape::Amount, "per million tokens"),
                    Field::optional("output", Shape::Amount, "per million tokens"),
                    Field::optional("call", Shape::Amount, "per call"),
                ]),
            ),
            "what a call costs",
        )
        .refers(Reference::Model),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Which models may be called, by whom, at which price.",
};
