//! `rules:`, `floor:` and `derivers:`: their shape, for editors and for the formatter. They have readers of
//! their own, since what one key may say depends on another; a property holds both to one another.

use super::Kind;
use crate::derive::TestKind;
use crate::model::MatchKey;
use crate::pattern::Dialect;
use crate::references::Reference;
use crate::shape::{Field, Shape};

const fn patterns(key: MatchKey, doc: &'static str) -> Field {
    let item = match key.dialect() {
        Dialect::Dotted => &Shape::Pattern(Dialect::Dotted),
        Dialect::Path => &Shape::Pattern(Dialect::Path),
        Dialect::Actor => &Shape::Pattern(Dialect::Actor),
        Dialect::Name => &Shape::Pattern(Dialect::Name),
        Dialect::Environment => &Shape::Pattern(Dialect::Environment),
        Dialect::ActorKind => &Shape::Word(&["agent", "service", "human"]),
        Dialect::Text => &Shape::Pattern(Dialect::Text),
    };
    let field = Field::optional(key.as_str(), Shape::Several(item), doc);
    match key {
        MatchKey::Surfaces => field.refers(Reference::Surface),
        MatchKey::Roles => field.refers(Reference::Role),
        MatchKey::Capabilities => field.refers(Reference::Capability),
        MatchKey::Models => field.refers(Reference::Model),
        _ => field,
    }
}

pub(super) const MATCH: Shape = Shape::Record(&[
    patterns(MatchKey::Surfaces, "any of these surfaces"),
    patterns(MatchKey::Actions, "any of these actions"),
    patterns(MatchKey::Topics, "any of these topics"),
    patterns(MatchKey::Targets, "any of these targets"),
    patterns(MatchKey::Actors, "any of these actors"),
    patterns(MatchKey::ActorKinds, "any of these kinds of actors"),
    patterns(MatchKey::Roles, "any of these roles"),
    patterns(MatchKey::Teams, "any of these teams"),
    patterns(MatchKey::Capabilities, "any of these capabilities"),
    patterns(MatchKey::Branches, "any of these branches"),
    patterns(MatchKey::Models, "any of these models"),
    patterns(MatchKey::Environments, "any of these environments"),
    patterns(MatchKey::RiskTags, "any of these tags"),
    patterns(MatchKey::RiskTagsAll, "all of these tags"),
    Field::optional(
        "labels",
        Shape::Map(&Shape::Name, &Shape::OneOrMore(&Shape::Pattern(Dialect::Text))),
        "for each label any of its values",
    ),
    Field::optional("when", Shape::Condition, "a condition over `request.` and `verified.`"),
]);

const OWNER: Field = Field::optional("owner", Shape::Prose(200), "who answers for it");

const AFTER: Shape = Shape::Record(&[
    Field::required("surface", Shape::Pattern(Dialect::Dotted), "of the earlier action")
        .refers(Reference::Surface),
    Field::optional("action", Shape::Pattern(Dialect::Dotted), "of the earlier action"),
    Field::required("within", Shape::Duration, "for how long it counts"),
    Field::optional(
        "same",
        Shape::Set(&Shape::Word(&["execution", "actor", "workspace"])),
        "what ties both together; actor",
    ),
]);

const SCHEDULE: Shape = Shape::Record(&[
    Field::optional(
        "days",
        Shape::Set(&Shape::Word(&["mon", "tue", "wed", "thu", "fri", "sat", "sun"])),
        "every day where nothing is said",
    ),
    Field::optional("from", Shape::TimeOfDay, "00:00"),
    Field::optional("until", Shape::TimeOfDay, "24:00"),
    Field::optional("utc_offset", Shape::Offset, "distance from UTC"),
]);

const RULES_SHAPE: Shape = Shape::Entries(&[
    Field::required("id", Shape::Id, "unique in the bundle"),
    Field::required("match", MATCH, "what the rule is for; `{}` for everything"),
    Field::required(
        "decision",
        Shape::Word(&["allow", "allow_with_constraints", "require_approval", "throttle", "deny"]),
        "what it says; the strictest of all that match wins",
    ),
    Field::optional("reason", Shape::Prose(1024), "text for people"),
    Field::optional(
        "approval",
        Shape::Record(&[
            Field::optional(
                "roles",
                Shape::Map(&Shape::Name, &Shape::Int(1, 16)),
                "how many people of each role; one operator",
            )
            .refers(Reference::Role),
            Field::optional("expires", Shape::Duration, "1h"),
            Field::optional("use_within", Shape::Duration, "1h"),
        ]),
        "who has to approve",
    ),
    Field::optional("constraints", Shape::Constraints, "what binds whoever carries it out"),
    Field::optional(
        "limit",
        Shape::Record(&[
            Field::required("count", Shape::Int(1, 1_000_000), "permits and holds that fit"),
            Field::required("per", Shape::Duration, "length of the sliding window"),
            Field::optional("key", Shape::Several(&Shape::Name), "what each window is for"),
        ]),
        "the rule applies once the window is full",
    ),
    Field::optional("after", AFTER, "the rule applies after another action alone"),
    Field::optional("schedule", SCHEDULE, "when it applies"),
    Field::optional("retry_after", Shape::Duration, "for throttle: when to come back"),
    Field::optional("advice", Shape::Bool, "a note on the decision, without effect"),
    OWNER,
]);

/// `rules:`
pub(super) const RULES: Kind = Kind {
    name: "rules",
    shape: RULES_SHAPE,
    doc: "The decision rules. All that match count; the strictest wins.",
};

/// `floor:`
pub(super) const FLOOR: Kind = Kind {
    name: "floor",
    shape: RULES_SHAPE,
    doc: "Invariants: rules that deny, hold or throttle and that nothing loosens.",
};

const fn tests(kind: TestKind, doc: &'static str) -> Field {
    Field::optional(kind.as_str(), Shape::Several(&Shape::Prose(4096)), doc)
}

/// `derivers:`
pub(super) const DERIVERS: Kind = Kind {
    name: "derivers",
    shape: Shape::Entries(&[
        Field::required("id", Shape::Id, "unique among the derivers"),
        Field::optional("match", MATCH, "which requests it looks at"),
        Field::optional("read", Shape::Prose(4096), "what is read: target, arguments.host"),
        Field::optional(
            "any_of",
            Shape::Record(&[
                tests(TestKind::Values, "exactly one of these"),
                tests(TestKind::Hosts, "a host, `*.` before it any number of labels"),
                tests(TestKind::Networks, "an address within one of these"),
                tests(TestKind::Paths, "a path, `*` one segment, `**` any number"),
                tests(TestKind::Regex, "a regular expression, matched anywhere"),
            ]),
            "what is asked of it",
        ),
        Field::optional(
            "missing",
            Shape::Bool,
            "whether it applies where there is nothing to read",
        ),
        Field::optional("risk_tags", Shape::Set(&Shape::Name), "tags that it adds"),
        Field::optional("facts", Shape::Json, "facts that it finds"),
        Field::optional(
            "risk_tier",
            Shape::Word(&["low", "medium", "high", "critical"]),
            "the highest of all derivers counts",
        ),
        OWNER,
    ]),
    doc: "What the server finds out about a request by itself.",
};
