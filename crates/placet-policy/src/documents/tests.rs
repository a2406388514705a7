//! `tests:` cases that the bundle has to pass: a request, what came before it, what has to come of it.

use super::Kind;
use crate::references::Reference;
use crate::shape::{Field, Shape};

const CALLER: Shape = Shape::Record(&[
    Field::optional("actor", Shape::Actor, "who asks; `agent:local` where nothing is said"),
    Field::optional("roles", Shape::Set(&Shape::Name), "the roles of the key")
        .refers(Reference::Role),
    Field::optional("environment", Shape::Label, "of the key; `development`"),
    Field::optional("workspace", Shape::Label, "of the key; `default`"),
]);

/// Evidence as the store has it.
const EVIDENCE: Shape = Shape::List(&Shape::Record(&[
    Field::required("type", Shape::Id, "its type"),
    Field::required("issuer", Shape::Actor, "who vouches for it"),
    Field::optional("age", Shape::Age, "how long before it was issued; 0s"),
    Field::optional("life", Shape::Age, "how long after that it counts; 90d"),
    Field::optional("attested", Shape::Bool, "a key of its issuer has signed it; false"),
    Field::optional("revoked", Shape::Bool, "it was taken back; false"),
    Field::optional(
        "subject",
        Shape::Name,
        "digest of what it is about; of what the request is about",
    ),
    Field::optional("digest", Shape::Name, "of the evidence itself; one that nothing else has"),
]));

/// The release that a request on `release.register` or `alias.change` is about.
const RELEASE: Shape = Shape::Record(&[
    Field::required("name", Shape::Name, "its name"),
    Field::optional("complete", Shape::Bool, "whether its papers are complete; false"),
    Field::optional("change_surface", Shape::Name, "the surface of its change"),
    Field::optional("approval_surfaces", Shape::Set(&Shape::Name), "the surfaces of its approvals"),
    Field::optional("evaluation_types", Shape::Set(&Shape::Id), "the types of its evidence"),
]);

/// Outcomes as cases name them.
const OUTCOMES: Shape = Shape::Word(&["PERMIT", "DENY", "SILENCE", "REQUIRE_APPROVAL", "THROTTLE"]);

pub(super) const KIND: Kind = Kind {
    name: "tests",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the cases"),
        Field::required(
            "request",
            Shape::Json,
            "an execution request; `idempotency_key` may be left out",
        ),
        Field::optional("caller", CALLER, "who asks, as authentication would find it"),
        Field::optional("evidence", EVIDENCE, "what the store has of what the request presents"),
        Field::optional("release", RELEASE, "what is known of the release that it is about"),
        Field::optional("at", Shape::Instant, "when; 2026-01-01T00:00:00Z"),
        Field::optional(
            "history",
            Shape::List(&Shape::Record(&[
                Field::required("ago", Shape::Duration, "how long before the case"),
                Field::required("request", Shape::Json, "what was asked then"),
                Field::optional("caller", CALLER, "who asked; what is left out is as in the case"),
                Field::optional("evidence", EVIDENCE, "what the store had then"),
                Field::optional("release", RELEASE, "what was known of the release"),
                Field::optional("times", Shape::Int(1, 1000), "how often; 1"),
                Field::optional("outcome", OUTCOMES, "what has to have come of it"),
            ])),
            "what was decided before, by the same bundle: it fills windows and sequences",
        ),
        Field::optional(
            "expect",
            Shape::Record(&[
                Field::required("outcome", OUTCOMES, "the decision"),
                Field::optional(
                    "rules",
                    Shape::Set(&Shape::Name),
                    "exactly the rules that decided",
                ),
                Field::optional("reasons", Shape::Set(&Shape::Name), "exactly these codes"),
                Field::optional("constraints", Shape::Json, "exactly these constraints"),
                Field::optional(
                    "approval",
                    Shape::Map(&Shape::Name, &Shape::Int(1, 16)),
                    "exactly these roles, with how many people of each",
                )
                .refers(Reference::Role),
                Field::optional("retry_after", Shape::Duration, "exactly this wait"),
            ]),
            "what has to come of it",
        ),
        Field::optional(
            "must_deny",
            Shape::Bool,
            "the outcome has to be DENY, or no server arms itself with the bundle",
        ),
        Field::optional("reason", Shape::Prose(1024), "why"),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Cases: requests with the decisions that have to come of them.",
};
