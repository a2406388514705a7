//! What the durations of `exceptions:` have to do with each other. Each value by itself is read by its
//! shape.

use crate::diagnostic::{Code, Place, Report};
use placet_types::json::Value;
use std::collections::BTreeMap;

const HOUR_MS: u64 = 3_600_000;

/// Bounds that are compared once durations are numbers.
pub(super) fn check(documents: &BTreeMap<&'static str, Value>, report: &mut Report<'_>) {
    let Some(of) = documents.get("exceptions") else { return };
    let ms = |of: &Value, key: &str| of.get(key).and_then(Value::as_u64);
    let mut at_most = |key: &str, have: Option<u64>, most: u64, says: &str| {
        if have.is_some_and(|ms| ms > most) {
            let message = format!("`{key}` of `exceptions` is more than {says}");
            report.error(Code::Bound, Place::default(), message);
        }
    };
    let max = ms(of, "max").unwrap_or(4 * HOUR_MS);
    let review = ms(of, "review").unwrap_or(24 * HOUR_MS);
    at_most("max", ms(of, "max"), 24 * HOUR_MS, "24h: what is to last is a change of policy");
    at_most("review", ms(of, "review"), 7 * 24 * HOUR_MS, "7d");
    at_most("default", ms(of, "default"), max, "its `max`");
    if let Some(glass) = of.get("break_glass") {
        at_most("break_glass.max", ms(glass, "max"), max, "its `max`");
        at_most("break_glass.review", ms(glass, "review"), review, "its `review`");
    }
    for limit in of.get("limits").and_then(Value::as_array).unwrap_or_default() {
        let none = limit.get("none").and_then(Value::as_bool) == Some(true);
        if none == limit.get("max").is_some() {
            let message = "a limit of `exceptions` says either `max` or `none: true`";
            report.error(Code::Conflict, Place::default(), message);
        }
    }
}
