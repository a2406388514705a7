//! `modes:` how strictly a surface is governed in an environment.

use super::Kind;
use crate::pattern::Dialect;
use crate::references::Reference;
use crate::shape::{Field, Shape};

pub(super) const KIND: Kind = Kind {
    name: "modes",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the modes"),
        Field::required(
            "surfaces",
            Shape::Set(&Shape::Pattern(Dialect::Dotted)),
            "patterns of surfaces",
        )
        .refers(Reference::Surface),
        Field::required(
            "environments",
            Shape::Set(&Shape::Pattern(Dialect::Environment)),
            "patterns of environments",
        ),
        Field::required(
            "mode",
            Shape::Word(&["enforce", "shadow"]),
            "shadow decides and records, and the gate proceeds as if ungoverned",
        ),
        Field::optional("reason", Shape::Prose(1024), "why"),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Enforcement mode by environment and surface; what nothing names is enforced.",
};
