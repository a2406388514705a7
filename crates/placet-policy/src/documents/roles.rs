//! `roles:` what holders of a role may do, and what none of them does alone. Owns the built-in roles: they
//! hold wherever there is a `roles:` document, unless it says something else of one.

use super::Kind;
use super::capabilities::APPROVERS;
use crate::references::Reference;
use crate::shape::{Field, Shape};
use placet_types::json::{Object, Value};

pub(super) const KIND: Kind = Kind {
    name: "roles",
    shape: Shape::Map(
        &Shape::Name,
        &Shape::Record(&[
            Field::optional(
                "may",
                Shape::Set(&Shape::Permission(&["propose", "approve", "read"])),
                "permissions: a verb, surfaces and perhaps actions",
            )
            .refers(Reference::Permission),
            Field::optional(
                "must_not_alone",
                Shape::Entries(&[
                    Field::required("id", Shape::Id, "unique in the role"),
                    Field::required(
                        "permission",
                        Shape::Permission(&["propose", "approve"]),
                        "what no holder of the role does alone",
                    )
                    .refers(Reference::Permission),
                    Field::required("approvers", APPROVERS, "who has to approve it besides")
                        .refers(Reference::Role),
                    Field::optional("expires", Shape::Duration, "how long one may wait; 1h"),
                    Field::optional("use_within", Shape::Duration, "how long it then counts; 1h"),
                    Field::optional("reason", Shape::Prose(1024), "why"),
                ]),
                "what needs somebody of another role",
            ),
            Field::optional(
                "read_only",
                Shape::Bool,
                "holders propose nothing but what a `read` permission of the role covers",
            ),
            Field::optional("description", Shape::Prose(1024), "what it is for"),
            Field::optional("owner", Shape::Prose(200), "who answers for it"),
        ]),
    ),
    doc: "What the holders of each role may do.",
};

/// One thing that no holder of a role does alone: id, permission, who approves, why.
type Alone = (&'static str, &'static str, &'static str, &'static str);

/// A role that every bundle knows.
struct BuiltIn {
    name: &'static str,
    may: &'static [&'static str],
    alone: &'static [Alone],
    read_only: bool,
}

/// What a bundle cannot take from admins: the constitution leaves them these surfaces.
const ADMIN: [&str; 8] = [
    "propose:policy.**",
    "propose:override.**",
    "propose:role.**",
    "propose:key.**",
    "approve:policy.**",
    "approve:override.**",
    "approve:role.**",
    "approve:key.**",
];

const BUILT_IN: [BuiltIn; 9] = [
    BuiltIn { name: "admin", may: &ADMIN, alone: &[], read_only: false },
    BuiltIn {
        name: "auditor",
        may: &["read:**/read", "read:**/list"],
        alone: &[],
        read_only: true,
    },
    BuiltIn {
        name: "data_owner",
        may: &["approve:data.**"],
        alone: &[(
            "runtime-privileges",
            "approve:privilege.**",
            "security_owner",
            "a data owner does not approve unrelated runtime privileges alone",
        )],
        read_only: false,
    },
    BuiltIn {
        name: "evaluation_owner",
        may: &[
            "propose:evaluation.suite",
            "propose:evaluation.result",
            "propose:evidence.quality",
            "propose:evidence.override",
        ],
        alone: &[(
            "candidates",
            "propose:candidate.generate",
            "model_owner",
            "whoever knows the hidden tests does not create candidates alone",
        )],
        read_only: false,
    },
    BuiltIn {
        name: "model_owner",
        may: &["propose:capability.define", "approve:quality.**"],
        alone: &[
            (
                "safety-exceptions",
                "approve:exception.safety",
                "security_owner",
                "a model owner does not approve safety exceptions alone",
            ),
            (
                "security-exceptions",
                "approve:exception.security",
                "security_owner",
                "a model owner does not approve security exceptions alone",
            ),
        ],
        read_only: false,
    },
    BuiltIn { name: "operator", may: &[], alone: &[], read_only: false },
    BuiltIn {
        name: "release_owner",
        may: &["propose:traffic.change", "propose:alias.change", "propose:evaluation.result"],
        alone: &[(
            "evaluation-results",
            "propose:evaluation.result",
            "evaluation_owner",
            "a release owner does not alter evaluation results alone",
        )],
        read_only: false,
    },
    BuiltIn {
        name: "security_owner",
        may: &["approve:permission.**", "approve:control.**", "propose:evidence.override"],
        alone: &[(
            "quality-evidence",
            "propose:evidence.override",
            "evaluation_owner",
            "a security owner does not override evidence of task quality alone",
        )],
        read_only: false,
    },
    BuiltIn {
        name: "software_owner",
        may: &["approve:code.**", "approve:evaluator.**"],
        alone: &[
            (
                "own-code",
                "propose:code.**",
                "security_owner",
                "a software owner does not change code alone",
            ),
            (
                "own-evaluators",
                "propose:evaluator.**",
                "security_owner",
                "a software owner does not change evaluators alone",
            ),
        ],
        read_only: false,
    },
];

/// A role as it holds.
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) may: Vec<String>,
    /// As in the normal form of the document.
    pub(crate) must_not_alone: Vec<Value>,
    pub(crate) read_only: bool,
}

/// The names of the built-in roles, which hold wherever there is a `roles:` document.
pub fn built_in_roles() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|role| role.name)
}

/// All roles under a `roles:` document in normal form, sorted by name.
pub(crate) fn in_force(document: &Value) -> Vec<Role> {
    let declared = document.as_object();
    let mut out: Vec<Role> = BUILT_IN
        .iter()
        .filter(|role| declared.is_none_or(|it| it.get(role.name).is_none()))
        .map(Role::from)
        .collect();
    for (name, role) in declared.into_iter().flat_map(Object::iter) {
        let list = |key: &str| role.get(key).and_then(Value::as_array).unwrap_or_default();
        let mut may: Vec<String> =
            list("may").iter().filter_map(|it| it.as_str().map(str::to_owned)).collect();
        if name == "admin" {
            may.extend(ADMIN.map(str::to_owned));
            may.sort();
            may.dedup();
        }
        out.push(Role {
            name: name.to_owned(),
            may,
            must_not_alone: list("must_not_alone").to_vec(),
            read_only: role.get("read_only").and_then(Value::as_bool).unwrap_or(false),
        });
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

impl From<&BuiltIn> for Role {
    fn from(role: &BuiltIn) -> Self {
        let alone = role.alone.iter().map(|(id, permission, approver, reason)| {
            let entry = Object::new()
                .with("id", *id)
                .with("permission", *permission)
                .with("approvers", Object::new().with(*approver, 1_u32))
                .with("reason", *reason);
            Value::Object(entry)
        });
        Self {
            name: role.name.to_owned(),
            may: role.may.iter().map(|it| (*it).to_owned()).collect(),
            must_not_alone: alone.collect(),
            read_only: role.read_only,
        }
    }
}
