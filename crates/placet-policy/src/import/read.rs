//! From a tree of the foreign format to rules of this language.

use super::{Star, note};
use crate::diagnostic::{Code, Place, Report};
use crate::pattern::Dialect;
use crate::syntax::{Data, Member, Node};
use placet_types::event::RESERVED_RULES;
use placet_types::ids::{WorkspaceName, is_name};
use placet_types::json::{Object, Value};
use placet_types::policy::Constraints;
use std::collections::BTreeSet;

/// One rule.
pub(super) struct Rule {
    pub(super) id: String,
    /// Stands under `floor:`, where it restricts what others grant and grants nothing.
    pub(super) floor: bool,
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
            // The rules of other tiers come before these, so nothing is lost.
            "tier" if says(&member.value, "global") => {}
            "rules" => {
                found = true;
                let Data::List(items) = &member.value.value else {
                    report.error(Code::WrongType, member.value.place, "`rules` is a list");
                    continue;
                };
                rules.extend(items.iter().filter_map(|item| rule(item, star, report)));
            }
            "default_decision" => default_decision(member, report),
            // Whoever names no tenant is in the workspace `default`; in another one, other rules restrict them.
            "default_tenant" if says(&member.value, "default") => {}
            other if BESIDE.contains(&other) || is_nothing(&member.value) => {
                let message = format!("`{other}` is not imported");
                note(report, member.place, message);
            }
            // It may restrict what the rules grant.
            other => {
                let message =
                    format!("`{other}` cannot be said, and without it more may be granted");
                let hint = "say in rules what it restricts, and take it out";
                report.error_hint(Code::NotSupported, member.place, message, hint);
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

/// Keys of a file that change nothing of what its rules decide before an action.
const BESIDE: [&str; 4] = ["description", "input_policy", "output_policy", "output_rules"];

fn default_decision(member: &Member, report: &mut Report<'_>) {
    if !says(&member.value, "deny") {
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

fn says(node: &Node, word: &str) -> bool {
    matches!(&node.value, Data::Text { text, .. } if text == word)
}

/// Whether nothing is said, however deep.
fn is_nothing(node: &Node) -> bool {
    match &node.value {
        Data::Null => true,
        Data::List(items) => items.is_empty(),
        Data::Map(members) => members.iter().all(|member| is_nothing(&member.value)),
        _ => false,
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
    let mut clean: String = id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .take(100)
        .collect();
    if RESERVED_RULES.iter().any(|prefix| clean.starts_with(prefix)) {
        clean = clean.replacen('.', "-", 1);
    }
    let word = get("decision").and_then(|member| text(&member.value)).unwrap_or_default();
    let constrained = get("constraints").is_some_and(|it| match &it.value.value {
        Data::Null => false,
        Data::Map(members) => !members.is_empty(),
        _ => true,
    });
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
    // What cannot be said of where it applies, and of what it grants there.
    let (mut gaps, mut loose) = (Vec::new(), Vec::new());
    let matches = get("match").map_or_else(Object::new, |it| matching(it, star, &mut gaps));
    let mut object =
        Object::new().with("id", clean.as_str()).with("match", matches).with("decision", decision);
    if let Some(reason) = get("reason").and_then(|member| text(&member.value))
        && !reason.trim().is_empty()
    {
        object.set("reason", reason);
    }
    match get("constraints").filter(|_| constrained) {
        Some(member) => constraints(member, decision, &mut object, &mut loose),
        None if decision == "allow_with_constraints" => {
            loose.push(Gap { place: node.place, what: "any constraints".to_owned() });
        }
        None => {}
    }
    if let Some(member) = get("velocity") {
        velocity(member, decision, &mut object, &mut gaps);
    }
    for member in members(node) {
        let key = member.key.as_str();
        match key {
            "id" | "match" | "decision" | "reason" | "constraints" | "velocity" => {}
            // What only tells people or comes after the decision.
            "description" | "remediations" => {
                note(report, member.place, format!("`{key}` of `{id}` is not imported"));
            }
            "tier" if says(&member.value, "global") => {}
            _ => gaps.push(Gap { place: member.place, what: format!("`{key}`") }),
        }
    }
    let fate = Fate::of(decision, !gaps.is_empty(), !loose.is_empty());
    for Gap { place, what } in gaps.into_iter().chain(loose) {
        note(report, place, fate.told(&id, &what));
    }
    match fate {
        Fate::Same | Fate::Wider => {}
        Fate::Lost => return None,
        Fate::Held => {
            object.set("decision", "require_approval");
        }
        Fate::Denied => {
            object.set("decision", "deny");
            object.remove("constraints");
        }
    }
    Some(Rule { id: clean, floor: fate == Fate::Held, object })
}

/// What becomes of a rule. Here the strictest rule decides and not the first, so a rule that restricts may
/// become wider, one that grants may go missing, and one that does both may do neither.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It says what it said.
    Same,
    /// It restricts, and more than before.
    Wider,
    /// It only granted.
    Lost,
    /// What others grant there needs an approval; it grants nothing itself.
    Held,
    /// What was granted under constraints is not granted without them.
    Denied,
}

impl Fate {
    fn of(decision: &str, wider: bool, looser: bool) -> Self {
        match decision {
            _ if !wider && !looser => Self::Same,
            "deny" | "throttle" => Self::Wider,
            "allow" => Self::Lost,
            _ if looser => Self::Denied,
            _ => Self::Held,
        }
    }

    fn told(self, id: &str, what: &str) -> String {
        match self {
            Self::Same | Self::Wider => {
                format!("`{id}` is imported without {what}, so it restricts more than before")
            }
            Self::Lost => format!(
                "`{id}` is not imported: {what} cannot be said, and without it more is granted"
            ),
            Self::Held => format!(
                "`{id}` is imported under `floor:` without {what}: what others grant there needs an approval, \
                 and it grants nothing itself"
            ),
            Self::Denied => {
                format!("`{id}` is imported as deny: without {what} more is granted than before")
            }
        }
    }
}

fn matching(of: &Member, star: Star, gaps: &mut Vec<Gap>) -> Object {
    let mut out = Object::new();
    if !matches!(of.value.value, Data::Map(_)) {
        gaps.push(Gap { place: of.place, what: "a `match` that is no mapping".to_owned() });
    }
    for member in members(&of.value) {
        let key = member.key.as_str();
        // No condition.
        if matches!(&member.value.value, Data::List(items) if items.is_empty()) {
            continue;
        }
        let list = texts(&member.value).unwrap_or_default();
        let target = match key {
            "topics" | "risk_tags" | "capabilities" => key,
            "actor_ids" => "actors",
            "actor_types" => "actor_kinds",
            "tenants" => "when",
            "labels" => {
                labels(member, &mut out, gaps);
                continue;
            }
            _ => {
                gaps.push(Gap { place: member.place, what: format!("`{key}`") });
                continue;
            }
        };
        if list.is_empty() {
            gaps.push(Gap { place: member.place, what: format!("`{key}`") });
            continue;
        }
        let mut items: Vec<String> = Vec::new();
        let mut whole = true;
        for (item, place) in list {
            let said = match target {
                "actors" => format!("*:{item}"),
                "topics" if star == Star::Any => any_star(&item),
                _ => item.clone(),
            };
            let fits = match target {
                "topics" => Dialect::Dotted.parse(&said).is_ok(),
                "when" => WorkspaceName::parse(&said).is_some(),
                // A star is no wildcard in these.
                _ if item.contains('*') => false,
                "actors" => Dialect::Actor.parse(&said).is_ok(),
                "actor_kinds" => Dialect::ActorKind.parse(&said).is_ok(),
                _ => Dialect::Name.parse(&said).is_ok(),
            };
            if fits {
                items.push(said);
            } else {
                whole = false;
                gaps.push(Gap { place, what: format!("`{item}` in `{key}`") });
            }
        }
        // A list that lacks an item is narrower: a restricting rule does without all of it.
        if whole && target == "when" {
            let names: Vec<String> = items.iter().map(|name| format!("{name:?}")).collect();
            out.set("when", format!("verified.workspace in [{}]", names.join(", ")));
        } else if whole {
            out.set(target, items.into_iter().map(Value::from).collect::<Vec<_>>());
        }
    }
    out
}

/// `*` at the end of segments takes any text there, at least one segment of it.
fn any_star(pattern: &str) -> String {
    let segments: Vec<&str> = pattern.split('.').collect();
    let any = |it: &&str| matches!(*it, "*" | "**");
    let all: Vec<&str> = segments.iter().map(|it| if any(it) { "*.**" } else { it }).collect();
    all.join(".").replace(".**.*.**", ".*.**")
}

fn labels(member: &Member, out: &mut Object, gaps: &mut Vec<Gap>) {
    if !matches!(member.value.value, Data::Map(_)) {
        gaps.push(Gap { place: member.place, what: "`labels` that are no mapping".to_owned() });
    }
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
    if !matches!(member.value.value, Data::Map(_)) {
        let what = "constraints that are no mapping".to_owned();
        gaps.push(Gap { place: member.place, what });
    }
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
        let said: Option<(&str, Value)> = match (key, &member.value.value) {
            ("budgets" | "sandbox" | "toolchain" | "diff", Data::Map(_)) => {
                flat(&member.value, out, gaps);
                continue;
            }
            // Rounded down: a constraint may become tighter, never wider.
            ("max_runtime_ms", Data::Int(ms)) => {
                Some(("max_runtime_sec", ms.div_euclid(1000).into()))
            }
            ("max_concurrent_jobs", Data::Int(value)) => Some(("max_concurrent", (*value).into())),
            ("network_allowlist", Data::List(_)) => Some(("allowed_destinations", list().into())),
            ("deny_path_globs", Data::List(_)) => Some(("denied_paths", list().into())),
            ("redaction_level" | "redaction", Data::Text { text, .. }) => {
                Some(("redaction", text.as_str().into()))
            }
            (_, data) if Constraints::KEYS.contains(&key) => match data {
                Data::Int(value) => Some((key, (*value).into())),
                Data::Bool(value) => Some((key, (*value).into())),
                Data::List(_) => Some((key, list().into())),
                _ => None,
            },
            _ => None,
        };
        // Of two that say the same, neither may go missing; an empty list is no constraint here.
        match said {
            Some((name, value)) if out.get(name).is_none() && value.as_array() != Some(&[][..]) => {
                out.set(name, value);
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
    let known = ["key", "max_requests", "window_seconds"];
    let joined = get("key").map_or_else(|| Some(String::new()), text);
    let readable = joined.is_some()
        && members(&member.value).iter().all(|it| known.contains(&it.key.as_str()));
    let joined = joined.unwrap_or_default();
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
        Some((count, seconds)) if readable && !decision.starts_with("allow") => {
            let limit = Object::new()
                .with("count", count)
                .with("per", format!("{seconds}s"))
                .with_opt("key", (!key.is_empty()).then_some(key));
            object.set("limit", limit);
        }
        _ => gaps.push(Gap { place: member.place, what: "its velocity".to_owned() }),
    }
}
