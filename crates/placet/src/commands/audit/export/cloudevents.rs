//! An entry as a `CloudEvents` 1.0 event in JSON.

use super::Record;
use serde_json::{Value, json};

/// Source and id together name the entry for good: the origin of a log and an index in it.
pub(super) fn event(record: &Record<'_>) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": format!("{}/{}", record.origin, record.index),
        "source": record.origin,
        "type": format!("dev.placet.{}", record.entry.event.type_name()),
        "time": record.entry.time.rfc3339(),
        "datacontenttype": "application/json",
        "data": record.statement["predicate"],
    });
    if let Some(decision) = record.decision() {
        event["subject"] = decision.into();
    }
    event
}
