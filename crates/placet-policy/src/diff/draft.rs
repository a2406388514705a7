//! A request in the making, with the facts of its caller: one value set or taken away at a time. Refuses
//! to know what a value is good for.

use super::space::{Choice, Slot};
use placet_types::ids::{ActorId, Amount, DecisionId, WorkspaceName};
use placet_types::json::{self, Limits, Object, Value, Writer};
use placet_types::{Caller, Request};

/// A request and who asks.
pub(super) type Draft = (Request, Caller);

/// The request as a client would send it.
pub(super) fn body(request: &Request) -> Value {
    let mut bytes = Vec::new();
    Writer::object(&mut bytes, |w| request.write_members(w));
    json::parse(&bytes, Limits::DOCUMENT).unwrap_or(Value::Null)
}

/// A number for a draft, the same for the same bytes, so that none is compared twice.
pub(super) fn print_of(draft: &Draft) -> u64 {
    let mut bytes = Vec::new();
    Writer::object(&mut bytes, |w| draft.0.write_members(w));
    bytes.extend(Value::Object(draft.1.facts()).to_canonical());
    // FNV-1a: two drafts that meet by chance cost one comparison.
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Puts a choice where its axis says.
pub(super) fn place(draft: &mut Draft, slot: &Slot, choice: &Choice) {
    match (choice, slot) {
        (Choice::Text(text), slot) => set_text(draft, slot, text),
        (Choice::Among, Slot::RiskTag(name)) => {
            draft.0.risk_tags.insert(name.clone());
        }
        (Choice::Absent, Slot::RiskTag(name)) => {
            draft.0.risk_tags.remove(name);
        }
        (Choice::Among, Slot::Role(name)) => {
            draft.1.roles.insert(name.clone());
        }
        (Choice::Absent, Slot::Role(name)) => {
            draft.1.roles.remove(name);
        }
        (Choice::Json(value), Slot::Path(path)) => set_path(draft, path, Some(value.clone())),
        (Choice::Object, Slot::Path(path)) => {
            set_path(draft, path, Some(Value::Object(Object::new())));
        }
        (Choice::Absent, Slot::Path(path)) => set_path(draft, path, None),
        (Choice::Absent, slot) => clear(draft, slot),
        _ => {}
    }
}

/// Sets a value below `arguments` or `context`, making objects on the way, or takes it away.
pub(super) fn set_path(draft: &mut Draft, path: &[String], value: Option<Value>) {
    let Some((root, keys)) = path.split_first() else { return };
    if root == "context" {
        let whole = draft.0.context.take().map(Value::Object);
        draft.0.context = match put(whole, keys, value) {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        };
    } else {
        let whole = put(draft.0.arguments.take(), keys, value);
        // `null` is refused as a field of the envelope.
        draft.0.arguments = whole.filter(|value| *value != Value::Null);
    }
}

fn put(whole: Option<Value>, keys: &[String], value: Option<Value>) -> Option<Value> {
    let Some((first, rest)) = keys.split_first() else { return value };
    let mut object = match whole {
        Some(Value::Object(object)) => object,
        // There is nothing to take away.
        other if value.is_none() => return other,
        _ => Object::new(),
    };
    match put(object.remove(first), rest, value) {
        Some(member) => object.set(first.as_str(), member),
        None => {
            object.remove(first);
        }
    }
    Some(Value::Object(object))
}

fn clear(draft: &mut Draft, slot: &Slot) {
    let request = &mut draft.0;
    match slot {
        Slot::Topic => request.topic = None,
        Slot::Target => request.target = None,
        Slot::Team => request.team = None,
        Slot::Capability => request.capability = None,
        Slot::Branch => request.branch = None,
        Slot::Model => request.model = None,
        Slot::Execution => request.execution = None,
        Slot::Step => request.step = None,
        Slot::Label(name) => {
            request.labels.remove(name);
        }
        _ => {}
    }
}

/// Sets a text of the envelope or of the facts.
pub(super) fn set_text(draft: &mut Draft, slot: &Slot, text: &str) {
    let (request, caller) = draft;
    let owned = text.to_owned();
    match slot {
        Slot::Surface => request.surface = owned,
        Slot::Action => request.action = owned,
        Slot::Topic => request.topic = Some(owned),
        Slot::Target => request.target = Some(owned),
        Slot::Team => request.team = Some(owned),
        Slot::Capability => request.capability = Some(owned),
        Slot::Branch => request.branch = Some(owned),
        Slot::Model => request.model = Some(owned),
        Slot::Execution => request.execution = Some(owned),
        Slot::Step => request.step = Some(owned),
        Slot::Label(name) => {
            request.labels.insert(name.clone(), owned);
        }
        Slot::Environment => caller.environment = owned,
        Slot::Actor => {
            if let Some(actor) = ActorId::parse(text) {
                caller.actor = actor;
            }
        }
        Slot::ActorKind => {
            let name = caller.actor.as_str().split_once(':').map_or("", |(_, name)| name);
            if let Some(actor) = ActorId::parse(&format!("{text}:{name}")) {
                caller.actor = actor;
            }
        }
        Slot::Workspace => {
            if let Some(workspace) = WorkspaceName::parse(text) {
                caller.workspace = workspace;
            }
        }
        Slot::RiskTag(_) | Slot::Role(_) | Slot::Path(_) => {}
    }
}

/// The axis of a field that a surface may demand; `None` for one that has none.
pub(super) fn slot_of_field(name: &str) -> Option<Slot> {
    Some(match name {
        "arguments" | "context" => Slot::Path(vec![name.to_owned()]),
        _ => match name.strip_prefix("labels.") {
            Some(label) => Slot::Label(label.to_owned()),
            None => Slot::of_field("request", name)?,
        },
    })
}

/// Brings a field that a surface demands.
pub(super) fn supply(draft: &mut Draft, field: &str) {
    let any = "anything-else";
    let request = &mut draft.0;
    match field {
        "arguments" => {
            request.arguments.get_or_insert(Value::Object(Object::new()));
        }
        "context" => {
            request.context.get_or_insert(Object::new());
        }
        "change" => request.change = Some(Value::Object(Object::new())),
        "on_behalf_of" => {
            request.on_behalf_of = ActorId::parse("human:someone").into_iter().collect()
        }
        "parent_decision" => request.parent_decision = Some(DecisionId::from_bytes([0; 16])),
        "subjects" => {
            request.subjects.insert(any.to_owned());
        }
        _ => {
            if let Some(unit) = field.strip_prefix("estimate.") {
                request.estimate.insert(unit.to_owned(), Amount(1));
            } else if let Some(slot) = slot_of_field(field) {
                set_text(draft, &slot, any);
            }
        }
    }
}

/// Takes such a field away.
pub(super) fn withdraw(draft: &mut Draft, field: &str) {
    let request = &mut draft.0;
    match field {
        "change" => request.change = None,
        "on_behalf_of" => request.on_behalf_of.clear(),
        "parent_decision" => request.parent_decision = None,
        "subjects" => request.subjects.clear(),
        _ => {
            if let Some(unit) = field.strip_prefix("estimate.") {
                request.estimate.remove(unit);
            } else if let Some(slot) = slot_of_field(field) {
                place(draft, &slot, &Choice::Absent);
            }
        }
    }
}
