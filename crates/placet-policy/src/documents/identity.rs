//! `identity:` whose tokens are believed, and what they give to whom.

use super::Kind;
use crate::references::Reference;
use crate::shape::{Field, Shape};

/// Algorithms that a token may be signed with. None of them is symmetric: whoever checks a token must
/// not be able to make one.
pub(crate) const ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "PS256", "RS256"];
/// Kinds of actors.
const ACTORS: [&str; 3] = ["agent", "human", "service"];

pub(super) const KIND: Kind = Kind {
    name: "identity",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the issuers"),
        Field::required(
            "issuer",
            Shape::Prose(2000),
            "URL of the issuer, exactly as `iss` of its tokens says it",
        ),
        Field::required("audience", Shape::Prose(200), "what `aud` of a token has to name"),
        Field::optional(
            "jwks_uri",
            Shape::Prose(2000),
            "where its keys are; left out, its discovery document says it",
        ),
        Field::optional(
            "algorithms",
            Shape::Set(&Shape::Word(&ALGORITHMS)),
            "with which its tokens may be signed; left out, all of them",
        ),
        Field::required("environment", Shape::Label, "environment of its callers"),
        Field::optional("leeway", Shape::Duration, "by how much its clock may differ; 30s"),
        Field::optional("max_life", Shape::Duration, "how long a token may live; 24h"),
        Field::optional(
            "session",
            Shape::Duration,
            "how long a session lives that a token is exchanged for; 8h",
        ),
        Field::optional("name", Shape::Prose(200), "claim with the name of the actor; sub"),
        Field::optional("prefix", Shape::Name, "stands before the name, with a slash between them"),
        Field::optional("actor", Shape::Word(&ACTORS), "what its subjects are; human"),
        Field::optional(
            "delegates",
            Shape::Word(&["agent", "service"]),
            "what those are that `act` of a token names; agent",
        ),
        Field::required(
            "grants",
            Shape::Set(&Shape::Record(&[
                Field::required(
                    "claim",
                    Shape::Prose(200),
                    "name of a claim, or a JSON pointer to it",
                ),
                Field::required(
                    "value",
                    Shape::Prose(200),
                    "what it says, or one of what it lists",
                ),
                Field::required("roles", Shape::Set(&Shape::Name), "what that gives; may be empty")
                    .refers(Reference::Role),
            ])),
            "what its tokens give; one that nothing here meets opens nothing",
        ),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Whose tokens are believed, and what they give to whom.",
};
