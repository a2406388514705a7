//! An entry as an event of the Open Cybersecurity Schema Framework: class API Activity (6003) with
//! the profile of security controls. Owns the mapping; `docs/reference/export.md` says it in words.

use super::Record;
use placet_types::event::Event;
use serde_json::{Map, Value, json};

/// The version of the schema.
const VERSION: &str = "1.3.0";
/// Application Activity.
const CATEGORY: u64 = 6;
/// API Activity.
const CLASS: u64 = 6003;

pub(super) fn event(record: &Record<'_>) -> Value {
    let data = record.data();
    let (activity, word) = activity(record);
    let (status, status_text) = status(record);
    let mut event = json!({
        "activity_id": activity,
        "activity_name": word,
        "actor": actor(record),
        "api": {
            "operation": operation(record),
            "service": {"name": data["surface"].as_str().unwrap_or("placet")},
        },
        "category_name": "Application Activity",
        "category_uid": CATEGORY,
        "class_name": "API Activity",
        "class_uid": CLASS,
        "metadata": {
            "log_name": record.origin,
            "product": {
                "name": "Placet",
                "vendor_name": "Placet",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "profiles": ["security_control"],
            "sequence": record.index,
            "tenant_uid": record.workspace,
            "uid": format!("{}/{}", record.origin, record.index),
            "version": VERSION,
        },
        "severity_id": severity(record),
        "src_endpoint": {"svc_name": data["environment"].as_str().unwrap_or(record.workspace)},
        "status": status_text,
        "status_id": status,
        "time": record.entry.time.0,
        "type_name": format!("API Activity: {word}"),
        "type_uid": CLASS * 100 + activity,
        "unmapped": unmapped(record),
    });
    if let Some(decision) = record.decision() {
        event["metadata"]["correlation_uid"] = decision.into();
    }
    if let Some(target) = data["target"].as_str() {
        event["resources"] = json!([{"uid": target, "type": "target"}]);
    }
    if let Some(codes) = data["reasons"].as_array().filter(|codes| !codes.is_empty()) {
        let codes: Vec<&str> = codes.iter().filter_map(Value::as_str).collect();
        event["status_detail"] = codes.join("; ").into();
    }
    if let Some(policy) = data["policy"].as_str() {
        event["policy"] = json!({"uid": policy, "name": "bundle"});
    }
    if let Some((action, disposition)) = disposition(record) {
        event["action_id"] = action.into();
        event["disposition_id"] = disposition.into();
    }
    event
}

/// Words of the four activities that the class knows; everything else is 99 by its own name.
fn activity(record: &Record<'_>) -> (u64, String) {
    let word = match &record.entry.event {
        Event::Decision(decision) => decision.action.clone(),
        Event::KeyCreated(_) | Event::Genesis(_) => "create".to_owned(),
        Event::KeyRevoked(_) => "delete".to_owned(),
        Event::BundleArmed(_) => "update".to_owned(),
        other => other.type_name().to_owned(),
    };
    match word.as_str() {
        "create" => (1, "Create".to_owned()),
        "read" => (2, "Read".to_owned()),
        "update" => (3, "Update".to_owned()),
        "delete" => (4, "Delete".to_owned()),
        _ => (99, word),
    }
}

fn operation(record: &Record<'_>) -> String {
    match &record.entry.event {
        Event::Decision(decision) => format!("{} {}", decision.surface, decision.action),
        other => other.type_name().to_owned(),
    }
}

/// Success for what may execute or was done, failure for what was refused, the word for the rest.
fn status(record: &Record<'_>) -> (u64, String) {
    let word = |id, text: &str| (id, text.to_owned());
    match &record.entry.event {
        Event::Decision(decision) => match decision.outcome.as_str() {
            "PERMIT" => word(1, "PERMIT"),
            outcome @ ("DENY" | "SILENCE") => word(2, outcome),
            outcome => word(99, outcome),
        },
        Event::OutcomeReported(report) => match report.result.as_str() {
            "succeeded" => word(1, "succeeded"),
            result => word(2, result),
        },
        _ => word(1, "Success"),
    }
}

/// The action and the disposition of the control, of decisions alone.
fn disposition(record: &Record<'_>) -> Option<(u64, u64)> {
    let Event::Decision(decision) = &record.entry.event else { return None };
    Some(match decision.outcome.as_str() {
        "PERMIT" => (1, 1),
        // Neither allowed nor denied yet: unknown, and delayed.
        "REQUIRE_APPROVAL" | "THROTTLE" => (0, 14),
        _ => (2, 2),
    })
}

/// Informational; low where something was refused, high where everything was stopped or lost.
fn severity(record: &Record<'_>) -> u64 {
    match &record.entry.event {
        Event::KillTripped(_) | Event::Gap(_) => 4,
        Event::Decision(decision) if decision.outcome.as_str() == "DENY" => 2,
        Event::KillLifted(_) | Event::KeyCreated(_) | Event::KeyRevoked(_) => 3,
        _ => 1,
    }
}

/// People by pseudonym, everything else by name; the system itself where nobody acted.
fn actor(record: &Record<'_>) -> Value {
    let Some(actor) = record.actor() else { return json!({"app_name": "placet"}) };
    let (kind, name) = actor.split_once(':').unwrap_or(("service", actor));
    let mut user =
        json!({"uid": actor, "type": kind, "type_id": if kind == "human" { 1 } else { 99 }});
    if kind != "human" {
        user["name"] = name.into();
    }
    if let Some(key) = record.data()["key"].as_str() {
        user["credential_uid"] = key.into();
    }
    json!({"user": user})
}

/// What the schema has no place for: the event's own members, under their own names.
fn unmapped(record: &Record<'_>) -> Value {
    let mut all = Map::new();
    all.insert("type".to_owned(), record.entry.event.type_name().into());
    all.insert("placet_index".to_owned(), record.index.into());
    all.insert("data".to_owned(), record.data().clone());
    Value::Object(all)
}
