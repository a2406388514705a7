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
    let (status, status_text, code) = status(record);
    let (severity, severity_text) = severity(record);
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
            "sequence": record.index,
            "tenant_uid": record.workspace,
            "uid": format!("{}/{}", record.origin, record.index),
            "version": VERSION,
        },
        "severity": severity_text,
        "severity_id": severity,
        "src_endpoint": {"svc_name": data["environment"].as_str().unwrap_or(record.workspace)},
        "status": status_text,
        "status_code": code,
        "status_id": status,
        "time": record.entry.time.0,
        "type_name": format!("API Activity: {}", if activity == 99 { "Other" } else { &word }),
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
    if let Some([action, disposition]) = disposition(record) {
        event["metadata"]["profiles"] = json!(["security_control"]);
        (event["action_id"], event["action"]) = (action.0.into(), action.1.into());
        event["disposition_id"] = disposition.0.into();
        event["disposition"] = disposition.1.into();
    }
    event
}

/// Words of the four activities that the class knows; everything else is 99 by its own name.
fn activity(record: &Record<'_>) -> (u64, String) {
    let word = match &record.entry.event {
        Event::Decision(decision) => decision.action.clone(),
        Event::KeyCreated(_) | Event::Genesis(_) => "create".to_owned(),
        Event::KeyRevoked(_) => "delete".to_owned(),
        Event::BundleDrafted(_) | Event::AuthorTrusted(_) => "create".to_owned(),
        Event::EvidenceAdded(_) | Event::IssuerTrusted(_) | Event::ReleaseRegistered(_) => {
            "create".to_owned()
        }
        Event::AliasChanged(_) => "update".to_owned(),
        Event::EvidenceRevoked(_) | Event::IssuerRevoked(_) => "delete".to_owned(),
        Event::SessionNarrowed(_) => "update".to_owned(),
        Event::BundleArmed(_) | Event::BundleShadowed(_) | Event::ReviewClosed(_) => {
            "update".to_owned()
        }
        Event::BundleWithdrawn(_) | Event::AuthorRevoked(_) => "delete".to_owned(),
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

/// Success for what may execute or was done, failure for what was refused, the word for the rest;
/// and the word that Placet has for it.
fn status(record: &Record<'_>) -> (u64, String, String) {
    let (success, failure) = ((1, "Success"), (2, "Failure"));
    let (status, code) = match &record.entry.event {
        Event::Decision(decision) => match decision.outcome.as_str() {
            code @ "PERMIT" => (success, code),
            code @ ("DENY" | "SILENCE") => (failure, code),
            code => ((99, code), code),
        },
        Event::OutcomeReported(report) => match report.result.as_str() {
            code @ "succeeded" => (success, code),
            code => (failure, code),
        },
        other => (success, other.type_name()),
    };
    (status.0, status.1.to_owned(), code.to_owned())
}

/// Action and disposition of the control, of decisions alone.
fn disposition(record: &Record<'_>) -> Option<[(u64, &'static str); 2]> {
    let Event::Decision(decision) = &record.entry.event else { return None };
    Some(match decision.outcome.as_str() {
        "PERMIT" => [(1, "Allowed"), (1, "Allowed")],
        // Neither allowed nor denied yet.
        "REQUIRE_APPROVAL" | "THROTTLE" => [(0, "Unknown"), (14, "Delayed")],
        _ => [(2, "Denied"), (2, "Blocked")],
    })
}

/// Low where something was refused, medium where rights or evidence changed or policy was waived, high where
/// everything was stopped or lost.
fn severity(record: &Record<'_>) -> (u64, &'static str) {
    match &record.entry.event {
        Event::KillTripped(_) | Event::Gap(_) | Event::LogSucceeded(_) => (4, "High"),
        Event::KillLifted(_)
        | Event::KeyCreated(_)
        | Event::KeyRevoked(_)
        | Event::SessionNarrowed(_)
        | Event::PassageReported(_)
        | Event::ExceptionOpened(_)
        | Event::ExceptionOverdue(_)
        | Event::PayloadErased(_)
        | Event::HoldReleased(_) => (3, "Medium"),
        Event::Decision(decision) if decision.outcome.as_str() == "DENY" => (2, "Low"),
        _ => (1, "Informational"),
    }
}

/// People by pseudonym, everything else by name; the system itself where nobody acted.
fn actor(record: &Record<'_>) -> Value {
    let Some(actor) = record.actor() else { return json!({"app_name": "placet"}) };
    let (kind, name) = actor.split_once(':').unwrap_or(("service", actor));
    let (id, word) = if kind == "human" { (1, "User") } else { (99, kind) };
    let mut user = json!({"uid": actor, "type": word, "type_id": id});
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
