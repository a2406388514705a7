//! `surfaces:` what each surface demands and promises. Durations are milliseconds in the normal form.

use crate::contract::{Needed, Receipts, is_evidence_type};
use crate::shape::{Field, Matching, Shape};
use placet_types::event::PayloadErased;
use placet_types::ids::{ActorId, is_dotted_name, is_label};

/// The name of a surface.
pub(crate) const NAME: Matching = Matching {
    fits: is_dotted_name,
    kind: "a surface",
    known: Vec::new,
    hint: "segments of letters, digits, '_' and '-' separated by dots; there are no patterns here",
};

const NEEDED: Matching = Matching {
    fits: |text| Needed::parse(text).is_some(),
    kind: "a field that a surface can demand",
    known: Needed::names,
    hint: "a field of the request, labels.<name> or estimate.<unit>",
};

const EVIDENCE: Matching = Matching {
    fits: is_evidence_type,
    kind: "a type of evidence",
    known: Vec::new,
    hint: "1 to 64 letters, digits, '.', '_' and '-': test_report",
};

const ISSUER: Matching = Matching {
    fits: |text| ActorId::parse(text).is_some(),
    kind: "an actor",
    known: Vec::new,
    hint: "kind and name: service:ci",
};

const ENVIRONMENT: Matching = Matching {
    fits: is_label,
    kind: "an environment",
    known: Vec::new,
    hint: "lower-case letters, digits and '-': production",
};

const LAWFUL: Matching = Matching {
    fits: PayloadErased::is_reason,
    kind: "a code of a reason",
    known: Vec::new,
    hint: "1 to 64 lower-case letters, digits, '.', '_' and '-': gdpr.art17",
};

/// One surface.
pub(crate) const SURFACE: Shape = Shape::Record(&[
    Field::optional("owner", Shape::Prose(200), "who answers for it"),
    Field::optional("description", Shape::Prose(1024), "what it is"),
    Field::optional("deadline", Shape::Duration, "in which a request is decided, 2s at most 1h"),
    Field::optional(
        "idempotency_window",
        Shape::Duration,
        "for which an idempotency key binds, 24h",
    ),
    Field::optional(
        "retention",
        Shape::Record(&[
            Field::optional("payload", Shape::Age, "erased by itself at this age"),
            Field::optional("min", Shape::Age, "not erased before this age"),
            Field::optional(
                "lawful",
                Shape::Set(&Shape::Matching(&LAWFUL)),
                "codes of reasons for which it may be erased all the same",
            ),
        ]),
        "how long payloads are kept; for good where nothing is said",
    ),
    Field::optional("arguments", Shape::Schema, "what `arguments` have to fit"),
    Field::optional("context", Shape::Schema, "what `context` has to fit"),
    Field::optional(
        "required",
        Shape::Set(&Shape::Matching(&NEEDED)),
        "fields of the request that have to be there",
    ),
    Field::optional(
        "evidence",
        Shape::List(&Shape::Record(&[
            Field::required("type", Shape::Matching(&EVIDENCE), "what it shows: test_report"),
            Field::required("max_age", Shape::Duration, "how old it may be"),
            Field::optional("issuers", Shape::Set(&Shape::Matching(&ISSUER)), "who may issue it"),
            Field::optional(
                "verified",
                Shape::Bool,
                "it has to be in the store, about what the request is about",
            ),
            Field::optional("attested", Shape::Bool, "as verified, and signed by its issuer"),
        ])),
        "evidence that the request has to carry",
    ),
    Field::optional(
        "outcomes",
        Shape::Set(&Shape::Word(&["PERMIT", "REQUIRE_APPROVAL", "THROTTLE", "DENY", "SILENCE"])),
        "outcomes that are allowed; any other becomes DENY",
    ),
    Field::optional(
        "fail_mode",
        Shape::Map(
            &Shape::Matching(&ENVIRONMENT),
            &Shape::Record(&[
                Field::required("mode", Shape::Word(&["closed", "open"]), "closed is the default"),
                Field::optional("reason", Shape::Prose(1024), "why open; required there"),
            ]),
        ),
        "what a gate does when there is no decision, by environment",
    ),
    Field::optional(
        "receipts",
        Shape::Record(&[Field::required(
            "verify",
            Shape::Word(&Receipts::WORDS),
            "when the receipt of a permit is verified",
        )]),
        "how receipts are used",
    ),
]);
