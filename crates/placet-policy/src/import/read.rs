//! From a tree of the foreign format to rules of this language.

use super::{Star, note};
use crate::diagnostic::{Code, Place, Report};
use crate::pattern::Dialect;
use crate::syntax::{Data, Member, Node};
use placet_types::ids::is_name;
use placet_types::json::{Object, Value};
use placet_types::policy::Constraints;
use std::collections::BTreeSet;

/// One rule.
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) object: Object,
}

/// What keeps a rule from being said as it is.
struct Gap {
    place: Place,
    what: String,
}

pub(super) fn file(node: &Node, star: Star, report: &mut Report<'_>) -> Vec<Rule> {
    let Data::Map(members) = &node.value else {
        report.error(Code::WrongType, node.place, "a policy file is a mapping");
        return Vec::new();
    };
    let mut rules = Vec::new();
    let mut found = false;
    for member in members {
        match member.key.as_str() {
            "version" => {}
            "rules" => {
                found = true;
                let Data::List(items) = &member.value.value else {
                    report.error(Code::WrongType, member.value.place, "`rules` is a list");
                    continue;
                };
                rules.extend(items.iter().filter_map(|item| rule(item, star, report)));
            }
            "default_decision" => default_decision(member, report),
            other => {
                let message = format!("`{other}` is not imported");
                note(report, member.place, message);
            }
        }
    }
    if !found {
        report.error(Code::MissingKey, node.place, "`rules` is missing");
    }
    let mut ids = BTreeSet::new();
    for rule in &mut rules {
        while !ids.insert(rule.id.clone()) {
            rule.id.push_str("-again");
            rule.object.set("id", rule.id.as_str());
        }
    }
    rules
}

fn default_decision(member: &Member, report: &mut Report<'_>) {
    if !matches!(&member.value.value, Data::Text { text, .. } if text == "deny") {
        let message = "a default that grants is not imported: what nothing matches is SILENCE";
        note(report, member.place, message.to_owned());
    }
}

fn members(node: &Node) -> &[Member] {
    match &node.value {
        Data::Map(members) => members,
        _ => &[],
    }
}

fn text(node: &Node) -> Option<String> {
    match &node.value {
        Data::Text { text, .. } => Some(text.clone()),
        Data::Int(value) => Some(value.to_string()),
        Data::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn texts(node: &Node) -> Option<Vec<(String, Place)>> {
    match &node.value {
        Data::List(items) => items.iter().map(|item| Some((text(item)?, item.place))).collect(),
        _ => Some(vec![(text(node)?, node.place)]),
    }
}

fn rule(node: &Node, star: Star, report: &mut Report<'_>) -> Option<Rule> {
    let get = |key: &str| members(node).iter().find(|member| member.key == key);
    let id = get("id").and_then(|member| text(&member.value));
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        report.error(Code::MissingKey, node.place, "a rule without `id`");
        return None;
    };
    let clean: String = id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .take(100)
        .collect();
    let word = get("decision").and_then(|member| text(&member.value)).unwrap_or_default();
    let constrained = get("constraints").is_some_and(|it| !members(&it.value).is_empty());
    let decision = match word.to_ascii_lowercase().as_str() {
        "allow" | "permit" if constrained => "allow_with_constraints",
        "allow" | "permit" => "allow",
        "deny" | "block" => "deny",
        "require_approval" | "require-approval" | "require_human" => "require_approval",
        "allow_with_constraints" => "allow_with_constraints",
        "throttle" => "throttle",
        _ => {
            let place = get("decision").map_or(node.place, |member| member.value.place);
            report.error(Code::BadValue, place, format!("unknown decision `{word}`"));
            return None;
        }
    };
    // An approval lets an action through in the end, so it must not become wider either.
    let grants = !matches!(decision, "deny" | "throttle");
    let mut gaps = Vec::new();
    let matches = get("match").map_or_else(Object::new, |it| matching(&it.value, star, &mut gaps));
    let mut object =
        Object::new().with("id", clean.as_str()).with("match", matches).with("decision", decision);
    if let Some(reason) = get("reason").and_then(|member| text(&member.value))
        && !reason.trim().is_empty()
    {
        object.set("reason", reason);
    }
    if let Some(member) = get("constraints").filter(|_| constrained) {
        constraints(member, decision, &mut object, &mut gaps);
    }
    if let Some(member) = get("velocity") {
        velocity(member, decision, &mut object, &mut gaps);
    }
    for member in members(node) {
        let key = member.key.as_str();
        let known = ["id", "match", "decision", "reason", "constraints", "velocity"];
        if matches!(key, "tier" | "selector") {
            gaps.push(Gap { place: member.place, what: format!("`{key}`") });
        } else if !known.contains(&key) {
            note(report, member.place, format!("`{key}` of `{id}` is not imported"));
        }
    }
    let lost = !gaps.is_empty() && grants;
    for gap in gaps {
        let what = gap.what;
        let message = if lost {
            format!("`{id}` is not imported: {what} cannot be said, and without it more is granted")
        } else {
            format!("`{id}` is imported without {what}, so it restricts more than before")
        };
        note(report, gap.place, message);
    }
    (!lost).then_some(Rule { id: clean, object })
}

fn matching(node: &Node, star: Star, gaps: &mut Vec<Gap>) -> Object {
    let mut out = Object::new();
    for member in members(node) {
        let key = member.key.as_str();
        let list = texts(&member.value).unwrap_or_default();
        let empty = matches!(&member.value.value, Data::List(items) if items.is_empty());
        if empty {
            continue;
        }
        let target = match key {
            "topics" | "risk_tags" | "capabilities" => key,
            "actor_ids" => "actors",
            "actor_types" => "actor_kinds",
            "tenants" => {
                let names: Vec<String> = list.iter().map(|(name, _)| format!("{name:?}")).collect();
                out.set("when", format!("verified.workspace in [{}]", names.join(", ")));
                continue;
            }
            "labels" => {
                labels(member, &mut out, gaps);
                continue;
            }
            _ => {
                gaps.push(Gap { place: member.place, what: format!("`{key}`") });
                continue;
            }
        };
        let dialect = match target {
            "topics" => Dialect::Dotted,
            "actors" => Dialect::Actor,
            "actor_kinds" => Dialect::ActorKind,
            _ => Dialect::Name,
        };
        let mut items: Vec<Value> = Vec::new();
        let mut whole = !list.is_empty();
        for (item, place) in list {
            let said = match target {
                "actors" => format!("*:{item}"),
                "topics" if star == Star::Any => any_star(&item),
                _ => item.clone(),
            };
            if dialect.parse(&said).is_ok() {
                items.push(Value::from(said));
            } else {
                whole = false;
                gaps.push(Gap { place, what: format!("`{item}` in `{key}`") });
            }
        }
        // A list that lacks an item is narrower: a restricting rule does without all of it.
        if whole {
            out.set(target, items);
        } else if gaps.is_empty() {
            gaps.push(Gap { place: member.place, what: format!("`{key}`") });
        }
    }
    out
}

/// `*` at the end of segments takes any text there, at least one segment of it.
fn any_star(pattern: &str) -> String {
    let segments: Vec<&str> = pattern.split('.').collect();
    let all: Vec<&str> = segments.iter().map(|it| if *it == "*" { "*.**" } else { *it }).collect();
    all.join(".").replace(".**.*.**", ".*.**")
}

fn labels(member: &Member, out: &mut Object, gaps: &mut Vec<Gap>) {
    let mut labels = Object::new();
    for label in members(&member.value) {
        let value = text(&label.value);
        let fits =
            value.as_ref().is_some_and(|it| Dialect::Text.parse(it).is_ok() && !it.contains('*'));
        match value.filter(|_| fits && is_name(&label.key)) {
            Some(value) => {
                labels.set(label.key.as_str(), vec![Value::from(value)]);
            }
            None => gaps.push(Gap { place: label.place, what: format!("label `{}`", label.key) }),
        }
    }
    if !labels.is_empty() {
        out.set("labels", labels);
    }
}

fn constraints(member: &Member, decision: &str, object: &mut Object, gaps: &mut Vec<Gap>) {
    if matches!(decision, "deny" | "throttle") {
        return;
    }
    let mut out = Object::new();
    flat(&member.value, &mut out, gaps);
    match Constraints::from_object(&out) {
        Ok(read) if !read.is_empty() => {
            object.set("constraints", read.to_object());
        }
        _ if gaps.is_empty() => {
            gaps.push(Gap { place: member.place, what: "its constraints".to_owned() });
        }
        _ => {}
    }
}

fn flat(node: &Node, out: &mut Object, gaps: &mut Vec<Gap>) {
    for member in members(node) {
        let key = member.key.as_str();
        let list = || -> Vec<Value> {
            let items = texts(&member.value).unwrap_or_default();
            items.into_iter().map(|(item, _)| Value::from(item)).collect()
        };
        match (key, &member.value.value) {
            ("budgets" | "sandbox" | "toolchain" | "diff", Data::Map(_)) => {
                flat(&member.value, out, gaps);
            }
            // Rounded down: a constraint may become tighter, never wider.
            ("max_runtime_ms", Data::Int(ms)) => {
                out.set("max_runtime_sec", ms.div_euclid(1000));
            }
            ("max_concurrent_jobs", Data::Int(value)) => {
                out.set("max_concurrent", *value);
            }
            ("network_allowlist", Data::List(items)) if !items.is_empty() => {
                out.set("allowed_destinations", list());
            }
            ("deny_path_globs", Data::List(items)) if !items.is_empty() => {
                out.set("denied_paths", list());
            }
            ("redaction_level", Data::Text { text, .. }) => {
                out.set("redaction", text.as_str());
            }
            (_, Data::Int(value)) if Constraints::KEYS.contains(&key) => {
                out.set(key, *value);
            }
            (_, Data::Bool(value)) if Constraints::KEYS.contains(&key) => {
                out.set(key, *value);
            }
            (_, Data::Text { text, .. }) if key == "redaction" => {
                out.set(key, text.as_str());
            }
            (_, Data::List(items)) if Constraints::KEYS.contains(&key) && !items.is_empty() => {
                out.set(key, list());
            }
            _ => gaps.push(Gap { place: member.place, what: format!("the constraint `{key}`") }),
        }
    }
}

fn velocity(member: &Member, decision: &str, object: &mut Object, gaps: &mut Vec<Gap>) {
    let get =
        |key: &str| members(&member.value).iter().find(|it| it.key == key).map(|it| &it.value);
    let number = |key: &str| match get(key).map(|node| &node.value) {
        Some(Data::Int(value)) => Some(*value),
        _ => None,
    };
    let mut key = Vec::new();
    let joined = get("key").and_then(text).unwrap_or_default();
    for part in joined.split([':', '|', ',']).map(str::trim).filter(|part| !part.is_empty()) {
        match part {
            "tenant" => key.push(Value::from("workspace")),
            "topic" => key.push(Value::from("topic")),
            "actor_id" => key.push(Value::from("actor")),
            label if label.strip_prefix("labels.").is_some_and(is_name) => {
                key.push(Value::from(label))
            }
            // Without a part the window is wider, so it fills sooner.
            _ => gaps
                .push(Gap { place: member.place, what: format!("`{part}` of its velocity key") }),
        }
    }
    let window = number("max_requests").zip(number("window_seconds"));
    let fits = window.filter(|(count, seconds)| {
        (1..=1_000_000).contains(count) && (1..=86_400).contains(seconds)
    });
    match fits {
        Some((count, seconds)) if !decision.starts_with("allow") => {
            let limit = Object::new()
                .with("count", count)
                .with("per", format!("{seconds}s"))
                .with_opt("key", (!key.is_empty()).then_some(key));
            object.set("limit", limit);
        }
        _ => gaps.push(Gap { place: member.place, what: "its velocity".to_owned() }),
    }
}
