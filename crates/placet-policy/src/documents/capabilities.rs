//! `capabilities:` manifests of installed units of automation.

use super::Kind;
use crate::pattern::Dialect;
use crate::references::Reference;
use crate::shape::{Field, Shape};

/// Roles and how many different people of each.
pub(super) const APPROVERS: Shape = Shape::Map(&Shape::Name, &Shape::Int(1, 16));

pub(super) const KIND: Kind = Kind {
    name: "capabilities",
    shape: Shape::Map(
        &Shape::Name,
        &Shape::Record(&[
            Field::required(
                "allowed_roles",
                Shape::Set(&Shape::Pattern(Dialect::Name)),
                "roles of callers that may trigger it; `*` for any role",
            )
            .refers(Reference::Role),
            Field::required(
                "surfaces",
                Shape::Set(&Shape::Pattern(Dialect::Dotted)),
                "surfaces on which its steps may act",
            )
            .refers(Reference::Surface),
            Field::optional(
                "models",
                Shape::Set(&Shape::Pattern(Dialect::Name)),
                "models that it may call, of those on the allow list; left out, all of them",
            )
            .refers(Reference::Model),
            Field::optional(
                "branches",
                Shape::Set(&Shape::Pattern(Dialect::Name)),
                "branches that may run; each step then has to name its branch",
            ),
            Field::optional(
                "permissions",
                Shape::Set(&Shape::Permission(&["propose", "read"])),
                "what its steps may do; left out, whatever its surfaces allow",
            )
            .refers(Reference::Permission),
            Field::optional(
                "ceilings",
                Shape::Map(&Shape::Name, &Shape::Amount),
                "most of each unit that one execution may use",
            ),
            Field::optional(
                "max_steps",
                Shape::Int(1, 1_000_000_000),
                "decisions that one execution may ask for; one more ends it",
            ),
            Field::optional(
                "checkpoints",
                Shape::Entries(&[
                    Field::required("id", Shape::Id, "unique among the checkpoints"),
                    Field::optional(
                        "surfaces",
                        Shape::Set(&Shape::Pattern(Dialect::Dotted)),
                        "of these; any of the manifest where nothing is named",
                    )
                    .refers(Reference::Surface),
                    Field::optional(
                        "actions",
                        Shape::Set(&Shape::Pattern(Dialect::Dotted)),
                        "of these; any where nothing is named",
                    ),
                    Field::required("roles", APPROVERS, "who has to approve, how many of each")
                        .refers(Reference::Role),
                    Field::optional("expires", Shape::Duration, "how long one may wait; 1h"),
                    Field::optional("use_within", Shape::Duration, "how long it then counts; 1h"),
                    Field::optional("reason", Shape::Prose(1024), "why"),
                ]),
                "steps that wait for people",
            ),
            Field::optional("description", Shape::Prose(1024), "what it does"),
            Field::optional("owner", Shape::Prose(200), "who answers for it"),
        ]),
    ),
    doc: "What each capability may do, and who may trigger it.",
};
