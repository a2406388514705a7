//! The JSON Schema of `approvals:`. Its rows are read as rules are, since their `match:` is one.

use crate::model::MatchKey;
use placet_types::json::{Object, Value};

pub(crate) const NAME: &str = "approvals";

/// The JSON Schema (2020-12) of the document.
pub(super) fn schema() -> Object {
    let text = |about: &str| Object::new().with("type", "string").with("description", about);
    let duration = |about: &str| text(about).with("pattern", "^(0|[1-9][0-9]*)(ms|s|m|h|d)$");
    let count =
        Object::new().with("type", "integer").with("minimum", 1_u32).with("maximum", 16_u32);
    let roles = Object::new()
        .with("type", "object")
        .with("additionalProperties", count)
        .with("minProperties", 1_u32)
        .with("description", "who has to approve, how many of each");
    let step = Object::new()
        .with("after", duration("how long after it was opened"))
        .with("roles", roles.clone());
    let row = Object::new()
        .with("id", text("unique among the approvals").with("pattern", "^[A-Za-z0-9._-]{1,128}$"))
        .with("match", matches())
        .with("roles", roles)
        .with("expires", duration("how long one may wait; 1h"))
        .with("use_within", duration("how long it then counts; 1h"))
        .with(
            "escalate",
            Object::new()
                .with("type", "array")
                .with("items", record(step, &["after", "roles"]))
                .with("description", "who may approve besides once it has waited"),
        )
        .with("remind", duration("how long before it expires the approvers hear of it again"))
        .with("reason", text("why"))
        .with("owner", text("who answers for it"));
    Object::new()
        .with("type", "array")
        .with("items", record(row, &["id", "match", "roles"]))
        .with("description", "Who has to approve what the rules grant.")
}

fn record(properties: Object, required: &[&str]) -> Object {
    let required: Vec<Value> = required.iter().map(|key| Value::from(*key)).collect();
    Object::new()
        .with("type", "object")
        .with("properties", properties)
        .with("required", required)
        .with("additionalProperties", false)
}

fn matches() -> Object {
    let list =
        || Object::new().with("type", "array").with("items", Object::new().with("type", "string"));
    let labels = Object::new().with("type", "object");
    let when = Object::new().with("type", "string").with("description", "a condition");
    let keys = MatchKey::ALL.iter().fold(Object::new(), |all, key| all.with(key.as_str(), list()));
    record(keys.with("labels", labels).with("when", when), &[])
        .with("description", "as in rules; a condition that fails counts as matched")
}
