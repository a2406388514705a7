//! Generates bundles, requests and conditions over small vocabularies, so that rules and requests
//! meet often. Deterministic from a seed.

use crate::support::{caller, request_of};
use placet_policy::generate::SplitMix;
use placet_types::ids::ActorId;
use placet_types::json::{Number, Object, Value};
use placet_types::{Caller, Request};
use std::collections::BTreeMap;

pub(crate) fn pick(random: &mut SplitMix, items: &[&str]) -> String {
    (*random.pick(items).unwrap()).to_owned()
}

/// What the run wants to know of a rule: its keys, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleInfo {
    pub(crate) keys: Vec<&'static str>,
    pub(crate) constraints: Vec<&'static str>,
}

/// The document that a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Derivers,
    Floor,
    Rules,
}

/// One rule or deriver as a line of YAML.
pub(crate) struct Generated {
    pub(crate) lines: Vec<(Section, String)>,
    /// Documents of other kinds, each complete.
    pub(crate) documents: Vec<String>,
    pub(crate) info: BTreeMap<String, RuleInfo>,
    /// Lines of a `surfaces:` document; none where there is no such document.
    pub(crate) surfaces: Vec<String>,
}

pub(crate) const SEGMENTS: [&str; 4] = ["a", "b", "job", "x-1"];
const TAGS: [&str; 4] = ["prod", "pii", "low", "cost"];

fn dotted(random: &mut SplitMix, most: usize) -> String {
    let count = 1 + random.below(most);
    (0..count).map(|_| pick(random, &SEGMENTS)).collect::<Vec<_>>().join(".")
}

fn glob(random: &mut SplitMix, separator: &str, most: usize) -> String {
    let mut out: Vec<String> = Vec::new();
    for _ in 0..=random.below(most) {
        let segment = match random.below(10) {
            0 | 1 => "*".to_owned(),
            2 | 3 if out.last().is_none_or(|last| last != "**") => "**".to_owned(),
            _ => pick(random, &SEGMENTS),
        };
        out.push(segment);
    }
    out.join(separator)
}

fn list(random: &mut SplitMix, mut item: impl FnMut(&mut SplitMix) -> String) -> String {
    let count = 1 + random.below(3);
    let items: Vec<String> = (0..count).map(|_| format!("\"{}\"", item(random))).collect();
    format!("[{}]", items.join(", "))
}

fn keys(random: &mut SplitMix, info: &mut RuleInfo, derived: bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut add = |random: &mut SplitMix,
                   percent: usize,
                   name: &'static str,
                   item: &mut dyn FnMut(&mut SplitMix) -> String| {
        if random.percent(percent) {
            info.keys.push(name);
            out.push(format!("{name}: {}", list(random, item)));
        }
    };
    let name = |any: usize, items: &'static [&'static str]| {
        move |random: &mut SplitMix| {
            if random.percent(any) { "*".to_owned() } else { pick(random, items) }
        }
    };
    add(random, 25, "topics", &mut |random| glob(random, ".", 4));
    add(random, 18, "surfaces", &mut |random| glob(random, ".", 2));
    add(random, 12, "actions", &mut |random| glob(random, ".", 2));
    add(random, 8, "targets", &mut |random| format!("/{}", glob(random, "/", 4)));
    add(random, 10, "actors", &mut |random| {
        let kind = pick(random, &["agent", "human", "service", "*", "agent"]);
        format!("{kind}:{}", glob(random, "/", 2))
    });
    add(random, 12, "actor_kinds", &mut name(0, &["agent", "human", "service"]));
    add(random, 22, "risk_tags", &mut name(12, &TAGS));
    add(random, 12, "risk_tags_all", &mut name(0, &TAGS));
    add(random, 10, "roles", &mut name(15, &["admin", "operator", "support"]));
    add(random, 10, "teams", &mut name(15, &["pay", "ops"]));
    add(random, 8, "capabilities", &mut name(15, &["triage", "deploy"]));
    add(random, 8, "branches", &mut name(15, &["v1", "v2"]));
    add(random, 8, "models", &mut name(15, &["small", "large"]));
    add(random, 12, "environments", &mut name(10, &["production", "staging"]));
    if random.percent(14) {
        info.keys.push("labels");
        let first = list(random, name(20, &["x", "y"]));
        let mut text = format!("team: {first}");
        if random.percent(50) {
            text.push_str(&format!(", mcp.action: {}", list(random, name(20, &["read", "write"]))));
        }
        out.push(format!("labels: {{ {text} }}"));
    }
    if random.percent(40) {
        info.keys.push("when");
        let mut when = boolean(random, 3);
        if derived && random.percent(40) {
            info.keys.push("derived");
            let op = pick(random, &["&&", "||"]);
            when = format!("({when}) {op} {}", derived_fact(random));
        }
        out.push(format!("when: '{when}'"));
    }
    out
}

fn derived_fact(random: &mut SplitMix) -> String {
    match random.below(4) {
        0 => format!("verified.zone == \"{}\"", pick(random, &["inside", "outside"])),
        1 => format!("verified.risk_level >= {}", random.below(4)),
        2 => "has(verified.zone)".to_owned(),
        _ => format!("verified.risk_tier == \"{}\"", pick(random, &["low", "high"])),
    }
}

/// Derivers over the same vocabulary. The first two declare everything that conditions ask for.
fn derivers(random: &mut SplitMix) -> Vec<String> {
    let mut out = Vec::new();
    for number in 0..2 + random.below(3) {
        let mut info = RuleInfo::default();
        let mut text = format!("id: d{number}");
        if random.percent(60) {
            let keys = keys(random, &mut info, false).join(", ");
            text.push_str(&format!(", match: {{ {keys} }}"));
        }
        if random.percent(60) {
            let test = match random.below(4) {
                0 => "read: arguments.s, any_of: { values: [a, b] }",
                1 => "read: arguments.list, any_of: { values: [\"1\"], regex: [\"^[a-c]$\"] }",
                2 => "read: target, any_of: { paths: [\"/a/**\", \"/*/b\"] }",
                _ => "read: topic, any_of: { hosts: [\"*.b\", \"job.a\"] }",
            };
            text.push_str(&format!(", {test}"));
            if random.percent(50) {
                text.push_str(", missing: true");
            }
        }
        let mut finds = Vec::new();
        if number == 0 || random.percent(40) {
            finds.push(format!("risk_tags: [{}]", pick(random, &TAGS)));
        }
        if number == 0 || random.percent(40) {
            finds.push(format!("facts: {{ zone: {} }}", pick(random, &["inside", "outside"])));
        }
        if number == 1 || random.percent(30) || finds.is_empty() {
            finds.push(format!("risk_tier: {}", pick(random, &["low", "medium", "high"])));
        }
        text.push_str(&format!(", {}", finds.join(", ")));
        out.push(format!("  - {{ {text} }}\n"));
    }
    out
}

const CONSTRAINTS: [&str; 15] = placet_types::policy::Constraints::KEYS;

fn constraints(random: &mut SplitMix, info: &mut RuleInfo) -> String {
    let mut out = Vec::new();
    for _ in 0..=random.below(3) {
        let key = *random.pick(&CONSTRAINTS).unwrap();
        if info.constraints.contains(&key) {
            continue;
        }
        info.constraints.push(key);
        let value = match key {
            "read_only" => "true".to_owned(),
            "redaction" => pick(random, &["secrets", "personal", "full"]),
            "arguments" => {
                let min = random.below(9);
                format!("{{ /n: {{ max: {}, min: {min} }} }}", min + random.below(6))
            }
            key if key.starts_with("max_") => random.below(100).to_string(),
            _ => format!("[common, {}]", pick(random, &["one", "two", "three"])),
        };
        out.push(format!("{key}: {value}"));
    }
    out.join(", ")
}

fn rule(random: &mut SplitMix, number: usize, derived: bool) -> (Section, String, RuleInfo) {
    let mut info = RuleInfo::default();
    let keys = keys(random, &mut info, derived).join(", ");
    let mut floor = random.percent(8);
    let word = match random.below(100) {
        0..38 => "allow",
        38..60 => "allow_with_constraints",
        60..80 => "require_approval",
        80..91 => "throttle",
        _ => "deny",
    };
    floor &= !word.starts_with("allow");
    let mut text = format!("id: r{number}, match: {{ {keys} }}, decision: {word}");
    let constrains = word == "allow_with_constraints"
        || (random.percent(20) && matches!(word, "allow" | "require_approval"));
    if constrains {
        text.push_str(&format!(", constraints: {{ {} }}", constraints(random, &mut info)));
    }
    if word == "require_approval" && random.percent(60) {
        let role = pick(random, &["operator", "release_owner"]);
        text.push_str(&format!(
            ", approval: {{ roles: {{ {role}: {} }}, expires: {}m }}",
            1 + random.below(3),
            1 + random.below(90)
        ));
    }
    let limited = !word.starts_with("allow") && random.percent(35);
    if limited {
        text.push_str(&format!(
            ", limit: {{ count: {}, per: 1h, key: [actor, topic, labels.team] }}",
            1 + random.below(9)
        ));
    } else if word == "throttle" && random.percent(50) {
        text.push_str(&format!(", retry_after: {}s", 1 + random.below(9)));
    }
    if !limited && random.percent(12) {
        info.keys.push("after");
        let same = pick(random, &["execution", "actor", "workspace, actor"]);
        text.push_str(&format!(
            ", after: {{ surface: \"{}\", within: {}m, same: [{same}] }}",
            glob(random, ".", 2),
            1 + random.below(9)
        ));
    }
    if random.percent(8) {
        info.keys.push("schedule");
        text.push_str(", schedule: { days: [mon, fri], from: \"09:00\", until: \"17:00\" }");
    }
    if !floor && random.percent(4) {
        text.push_str(", advice: true");
    }
    let section = if floor { Section::Floor } else { Section::Rules };
    (section, format!("  - {{ {text} }}\n"), info)
}

pub(crate) fn rules(random: &mut SplitMix) -> Generated {
    let derived = random.percent(35);
    let documents = documents(random, derived);
    let (lines, info, surfaces) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut out = Generated { lines, documents, info, surfaces };
    if derived {
        out.lines.extend(derivers(random).into_iter().map(|line| (Section::Derivers, line)));
    }
    for number in 0..3 + random.below(14) {
        let (section, line, info) = rule(random, number, derived);
        out.info.insert(format!("r{number}"), info);
        out.lines.push((section, line));
    }
    if random.percent(35) {
        out.surfaces = crate::generated_surfaces::surfaces(random);
    }
    out
}

/// Manifests, roles, models and approvals, in some bundles.
fn documents(random: &mut SplitMix, derived: bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut add = |random: &mut SplitMix, percent, text: &dyn Fn(&mut SplitMix) -> String| {
        if random.percent(percent) {
            out.push(format!("version: v1\n{}", text(random)));
        }
    };
    add(random, 12, &capabilities);
    add(random, 14, &roles);
    add(random, 12, &models);
    add(random, 20, &|random| approvals(random, derived));
    out
}

fn permission(random: &mut SplitMix, verbs: &[&str]) -> String {
    let verb = pick(random, verbs);
    let actions =
        if random.percent(40) { format!("/{}", glob(random, ".", 2)) } else { String::new() };
    format!("{verb}:{}{actions}", glob(random, ".", 2))
}

fn capabilities(random: &mut SplitMix) -> String {
    let mut text = "capabilities:\n".to_owned();
    for name in ["triage", "deploy"] {
        let roles = list(random, |random| pick(random, &["operator", "support", "*", "writer"]));
        let wide = pick(random, &["**", "a.**", "**"]);
        let mut keys =
            format!("allowed_roles: {roles}, surfaces: [\"{}\", \"{wide}\"]", glob(random, ".", 2));
        let name_of = |any, items: &'static [&'static str]| {
            move |random: &mut SplitMix| {
                if random.percent(any) { "*".to_owned() } else { pick(random, items) }
            }
        };
        if random.percent(30) {
            let models = if random.percent(50) { "[small]" } else { "[]" };
            keys.push_str(&format!(", models: {models}"));
        }
        if random.percent(30) {
            let branches = list(random, name_of(40, &["v1", "v2"]));
            keys.push_str(&format!(", branches: {branches}"));
        }
        if random.percent(30) {
            let all = list(random, |random| permission(random, &["propose", "read"]));
            keys.push_str(&format!(", permissions: {all}"));
        }
        if random.percent(40) {
            let actions = list(random, |random| glob(random, ".", 2));
            keys.push_str(&format!(
                ", checkpoints: [{{ id: c, actions: {actions}, roles: {{ operator: 2 }}, expires: 9m }}]"
            ));
        }
        text.push_str(&format!("  {name}: {{ {keys} }}\n"));
    }
    text
}

fn roles(random: &mut SplitMix) -> String {
    let mut text = "roles:\n".to_owned();
    for name in ["support", "writer"] {
        let may = list(random, |random| permission(random, &["propose", "read"]));
        text.push_str(&format!("  {name}: {{ may: {may}"));
        if random.percent(50) {
            let what = permission(random, &["propose", "approve"]);
            text.push_str(&format!(
                ", must_not_alone: [{{ id: x, permission: \"{what}\", approvers: {{ admin: 1 }} }}]"
            ));
        }
        text.push_str(" }\n");
    }
    if random.percent(40) {
        let may = permission(random, &["read"]);
        text.push_str(&format!("  auditor: {{ read_only: true, may: [\"{may}\"] }}\n"));
    }
    text
}

fn models(random: &mut SplitMix) -> String {
    let allow = pick(random, &["[small]", "[small, large]", "[\"*\"]", "[small, large]"]);
    let mut text = format!("models:\n  allow: {allow}\n");
    if random.percent(60) {
        let whom = pick(random, &["capabilities: [triage]", "teams: [pay]", "teams: [ops, pay]"]);
        text.push_str(&format!("  routes: [{{ id: r, {whom}, models: [small] }}]\n"));
    }
    text
}

fn approvals(random: &mut SplitMix, derived: bool) -> String {
    let mut text = "approvals:\n".to_owned();
    for number in 0..=random.below(2) {
        let matches = keys(random, &mut RuleInfo::default(), derived).join(", ");
        let role = pick(random, &["operator", "admin"]);
        let count = 1 + random.below(3);
        text.push_str(&format!(
            "  - {{ id: q{number}, match: {{ {matches} }}, roles: {{ {role}: {count} }}, expires: {}m }}\n",
            1 + random.below(90)
        ));
    }
    text
}

/// The document of some lines.
pub(crate) fn document<'a>(lines: impl Iterator<Item = &'a (Section, String)> + Clone) -> String {
    let part = |section: Section| {
        lines
            .clone()
            .filter(move |line| line.0 == section)
            .map(|line| line.1.as_str())
            .collect::<String>()
    };
    let rules = part(Section::Rules);
    let mut out = "version: v1\n".to_owned();
    for (name, section) in [("derivers", Section::Derivers), ("floor", Section::Floor)] {
        let lines = part(section);
        if !lines.is_empty() {
            out.push_str(&format!("{name}:\n{lines}"));
        }
    }
    if rules.is_empty() {
        out.push_str("rules: []\n");
    } else {
        out.push_str(&format!("rules:\n{rules}"));
    }
    out
}

fn argument(random: &mut SplitMix) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => Value::from(random.percent(50)),
        2 => Value::from("a"),
        3 => Value::Number(Number::from_f64(2.5).unwrap()),
        4 => Value::from(9_007_199_254_740_992_i64),
        5 => Value::Array(vec![Value::from(1_i64), Value::from("a")]),
        _ => Value::from(i64::try_from(random.below(9)).unwrap() - 2),
    }
}

pub(crate) fn request(random: &mut SplitMix) -> (Request, Caller) {
    let mut body = Object::new()
        .with("surface", dotted(random, 2))
        .with("action", dotted(random, 2))
        .with("idempotency_key", "k");
    if random.percent(80) {
        body.set("topic", dotted(random, 4));
    }
    if random.percent(60) {
        body.set("target", format!("/{}", dotted(random, 4).replace('.', "/")));
    }
    let mut tags: Vec<Value> = Vec::new();
    for tag in TAGS {
        if random.percent(45) {
            tags.push(Value::from(tag));
        }
    }
    body.set("risk_tags", tags);
    let mut optional = |random: &mut SplitMix, key: &str, items: &[&str]| {
        if random.percent(65) {
            body.set(key, pick(random, items));
        }
    };
    optional(random, "team", &["pay", "ops", "other"]);
    optional(random, "capability", &["triage", "deploy", "other"]);
    optional(random, "branch", &["v1", "v2", "v3"]);
    optional(random, "model", &["small", "large"]);
    let mut labels = Object::new();
    if random.percent(65) {
        labels.set("team", pick(random, &["x", "y", "z"]));
    }
    if random.percent(50) {
        labels.set("mcp.action", pick(random, &["read", "write"]));
    }
    body.set("labels", labels);
    if random.percent(85) {
        let mut arguments = Object::new();
        for key in ["n", "m"] {
            if random.percent(85) {
                arguments.set(key, argument(random));
            }
        }
        if random.percent(70) {
            arguments.set("list", vec![Value::from(1_i64), Value::from("a"), argument(random)]);
        }
        if random.percent(70) {
            arguments.set("s", pick(random, &["a", "job.x", "é"]));
        }
        body.set("arguments", arguments);
    }
    crate::generated_surfaces::demanded(random, &mut body);
    let actor = pick(random, &["agent:a", "agent:a/b", "human:b", "service:job", "agent:x-1/a/b"]);
    let environment = pick(random, &["production", "staging", "test"]);
    let mut roles = std::collections::BTreeSet::new();
    for (role, percent) in
        [("admin", 40), ("operator", 40), ("support", 40), ("writer", 10), ("auditor", 6)]
    {
        if random.percent(percent) {
            roles.insert(role.to_owned());
        }
    }
    let caller = Caller { actor: ActorId::parse(&actor).unwrap(), environment, roles, ..caller() };
    (request_of(Value::Object(body)), caller)
}

/// A well-typed condition; what its operands are at run time is another matter.
pub(crate) fn boolean(random: &mut SplitMix, depth: usize) -> String {
    if depth > 0 && random.percent(55) {
        let (a, b) = (boolean(random, depth - 1), boolean(random, depth - 1));
        return match random.below(9) {
            0..=3 => format!("({a}) && ({b})"),
            4..=6 => format!("({a}) || ({b})"),
            7 => format!("!({a})"),
            _ => format!("(({a}) ? ({b}) : {})", boolean(random, 0)),
        };
    }
    match random.below(16) {
        0..=2 => {
            let op = pick(random, &["==", "!=", "<", "<=", ">", ">="]);
            format!("{} {op} {}", integer(random, 2), integer(random, 1))
        }
        3 => format!(
            "request.arguments.n {} {}",
            pick(random, &["<", ">=", "==", "!="]),
            pick(random, &["2.5", "9007199254740993", "1.0", "-0.5"])
        ),
        4 | 5 => format!("\"{}\" in request.risk_tags", pick(random, &TAGS)),
        6 => format!("request.team {} \"pay\"", pick(random, &["==", "!="])),
        7 => format!("request.labels.team == \"{}\"", pick(random, &["x", "y"])),
        8 => format!(
            "request.topic.{}(\"{}\")",
            pick(random, &["startsWith", "endsWith", "contains"]),
            pick(random, &["a", "job", "b"])
        ),
        9 => format!(
            "has(request.{})",
            pick(random, &["team", "topic", "arguments.n", "arguments.s", "labels.team"])
        ),
        10 => format!("\"mcp.action\" {}", "in request.labels"),
        11 => format!(
            "request.arguments.{} in [{}]",
            pick(random, &["n", "s", "m"]),
            pick(random, &["1, 2, 3", "\"a\", \"b\"", "0"])
        ),
        12 => format!(
            "request.arguments.list[{}] {} {}",
            random.below(4),
            pick(random, &["==", "!="]),
            pick(random, &["1", "\"a\""])
        ),
        13 => format!("\"{}\" in verified.roles", pick(random, &["admin", "support"])),
        14 => format!("request.arguments.s {} \"b\"", pick(random, &["<", ">=", "=="])),
        _ => format!(
            "request.arguments.{} == request.arguments.{}",
            pick(random, &["n", "s", "list"]),
            pick(random, &["m", "n", "list"])
        ),
    }
}

fn integer(random: &mut SplitMix, depth: usize) -> String {
    if depth > 0 && random.percent(45) {
        let op = pick(random, &["+", "-", "*", "/", "%"]);
        return format!("({} {op} {})", integer(random, depth - 1), integer(random, depth - 1));
    }
    match random.below(8) {
        0 => "size(request.risk_tags)".to_owned(),
        1 => "size(request.topic)".to_owned(),
        2 => "request.arguments.m".to_owned(),
        3 => "-request.arguments.n".to_owned(),
        4 | 5 => "request.arguments.n".to_owned(),
        6 => "9223372036854775807".to_owned(),
        _ => random.below(6).to_string(),
    }
}
