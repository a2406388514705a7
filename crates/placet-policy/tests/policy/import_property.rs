//! Import never grants more: generated first-match files with parts that cannot be said, against what first match
//! would have decided. A rule with such a part is taken at its strictest: it may match wherever the rest of it
//! does, or not.

use crate::generated::pick;
use crate::support::{Sha2, bundle, caller, render, request_of};
use placet_policy::generate::SplitMix;
use placet_policy::{Scratch, Star, import};
use placet_types::json::{Object, Value};
use placet_types::policy::{Outcome, Velocity, combine};

/// What a request comes to, the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Refused,
    Held,
    Within(u64),
    Permitted,
}

#[derive(Clone, Debug, Default)]
struct Rule {
    /// As far as they can be said; `None` matches everything.
    topic: Option<String>,
    tag: Option<String>,
    label: Option<String>,
    tenant: Option<String>,
    decision: &'static str,
    window: bool,
    within: Option<u64>,
    odd: bool,
    /// Of the constraints something cannot be said.
    loose: bool,
    text: String,
}

struct Asked {
    topic: String,
    tag: String,
    label: String,
    full: bool,
}

const DECISIONS: [&str; 5] =
    ["allow", "allow_with_constraints", "require_approval", "throttle", "deny"];
const TOPICS: [&str; 7] = ["job.a", "job.*", "job.a.*", "job.*.b", "*", "job.*.*", "job.b.a"];
const MATCHES: [&str; 4] = ["[{topics: [job.a]}]", "\"job.*\"", "5", "[]"];
const KEYS: [&str; 5] = [
    "mcp_servers: [prod]",
    "secrets_present: true",
    "label_allowlist: {team: [x]}",
    "capabilities: {a: b}",
    "actor_ids: [\"bot*\"]",
];
const BESIDE: [&str; 6] = [
    "when: \"amount < 10\"",
    "enabled: false",
    "tier: job",
    "selector: {workflow_id: w}",
    "velocity: [5]",
    "velocity: {max_requests: 5, window_seconds: 60, burst: 9}",
];
const BOUNDS: [&str; 6] = [
    "[max_runtime_sec]",
    "fast",
    "{max_runtime_sec: 45, sandbox: gvisor}",
    "{allowed_tools: [{a: b}]}",
    "{max_runtime_sec: 5, budgets: {max_runtime_ms: 60000}}",
    "{sandbox: {network_allowlist: []}}",
];

fn rule(random: &mut SplitMix, at: usize) -> Rule {
    let mut rule = Rule { decision: DECISIONS[random.below(5)], ..Rule::default() };
    let mut matches = Vec::new();
    if random.percent(70) {
        let topic = pick(random, &TOPICS);
        if random.percent(10) {
            rule.odd = true;
            matches.push(format!("topics: [\"{topic}\", \"job.pay*\"]"));
        } else {
            matches.push(format!("topics: [\"{topic}\"]"));
            rule.topic = Some(topic);
        }
    }
    if random.percent(30) {
        let tag = pick(random, &["x", "y"]);
        matches.push(format!("risk_tags: [{tag}]"));
        rule.tag = Some(tag);
    }
    match random.below(20) {
        0..4 => {
            let label = pick(random, &["red", "blue"]);
            matches.push(format!("labels: {{team: {label}}}"));
            rule.label = Some(label);
        }
        4 => {
            rule.odd = true;
            matches.push("labels: [x]".to_owned());
        }
        _ => {}
    }
    match random.below(20) {
        0..3 => {
            let tenant = pick(random, &["default", "acme"]);
            matches.push(format!("tenants: [{tenant}]"));
            rule.tenant = Some(tenant);
        }
        3 => {
            rule.odd = true;
            matches.push(pick(random, &["tenants: {a: b}", "tenants: [\"Acme Ltd\"]"]));
        }
        _ => {}
    }
    if random.percent(10) {
        rule.odd = true;
        matches.push(pick(random, &KEYS));
    }
    let mut said = format!("{{{}}}", matches.join(", "));
    if random.percent(6) {
        said = pick(random, &MATCHES);
        rule = Rule { decision: rule.decision, odd: true, ..Rule::default() };
    }
    let mut rest = String::new();
    if random.percent(12) {
        rule.odd = true;
        rest = format!(", {}", pick(random, &BESIDE));
    } else if !rule.decision.starts_with("allow") && random.percent(25) {
        rule.window = true;
        rest = ", velocity: {max_requests: 5, window_seconds: 60, key: tenant}".to_owned();
    }
    let grants = !matches!(rule.decision, "deny" | "throttle");
    if grants && random.percent(15) {
        rule.loose = true;
        rest.push_str(&format!(", constraints: {}", pick(random, &BOUNDS)));
    } else if rule.decision == "allow_with_constraints" {
        let bound = 10 + random.below(50) as u64;
        rule.within = Some(bound);
        rest.push_str(&format!(", constraints: {{max_runtime_sec: {bound}}}"));
    }
    rule.text = format!("  - {{id: r{at}, match: {said}, decision: {}{rest}}}\n", rule.decision);
    rule
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        ([a, pattern @ ..], [b, text @ ..]) => a == b && glob(pattern, text),
        _ => pattern.is_empty() && text.is_empty(),
    }
}

fn topic(pattern: &str, text: &str, star: Star) -> bool {
    match star {
        Star::Any => glob(pattern.as_bytes(), text.as_bytes()),
        Star::Segment => {
            let (a, b): (Vec<_>, Vec<_>) =
                (pattern.split('.').collect(), text.split('.').collect());
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| *a == "*" || a == b)
        }
    }
}

impl Rule {
    fn matches(&self, asked: &Asked, star: Star) -> bool {
        self.topic.as_ref().is_none_or(|it| topic(it, &asked.topic, star))
            && self.tag.as_ref().is_none_or(|it| *it == asked.tag)
            && self.label.as_ref().is_none_or(|it| *it == asked.label)
            && self.tenant.as_ref().is_none_or(|it| it == "default")
            && (!self.window || asked.full)
    }
}

/// First match, at its strictest.
fn first_match(rules: &[Rule], asked: &Asked, star: Star) -> Said {
    let Some(at) = rules.iter().position(|rule| rule.matches(asked, star)) else {
        return Said::Refused;
    };
    let rule = &rules[at];
    let said = match rule.decision {
        "deny" | "throttle" => return Said::Refused,
        _ if rule.loose => return Said::Refused,
        "require_approval" => Said::Held,
        "allow" => Said::Permitted,
        _ if rule.odd => Said::Held,
        _ => Said::Within(rule.within.unwrap()),
    };
    if rule.odd { said.min(first_match(&rules[at + 1..], asked, star)) } else { said }
}

#[test]
fn an_imported_file_never_grants_more() {
    let mut seen = [0; 4];
    for seed in 0..1500 {
        let mut random = SplitMix(seed);
        let star = if random.percent(50) { Star::Any } else { Star::Segment };
        let rules: Vec<Rule> = (0..=random.below(6)).map(|at| rule(&mut random, at)).collect();
        let text: String = rules.iter().map(|rule| rule.text.as_str()).collect();
        let imported = import::<Sha2>("old.yaml", &format!("rules:\n{text}"), star)
            .unwrap_or_else(|found| panic!("{text}{}", render(&found)));
        let odd = rules.iter().any(|rule| rule.odd || rule.loose);
        assert_eq!(odd, !imported.notes.is_empty(), "{text}{}", render(&imported.notes));
        let bundle = bundle(&imported.document);
        for _ in 0..20 {
            let asked = Asked {
                topic: pick(&mut random, &["job.a", "job.b", "job.a.b", "job.b.a", "job.a.b.a"]),
                tag: pick(&mut random, &["x", "y", "z"]),
                label: pick(&mut random, &["red", "blue", "green"]),
                full: random.percent(50),
            };
            let request = request_of(Value::Object(
                Object::new()
                    .with("surface", "job")
                    .with("action", "dispatch")
                    .with("idempotency_key", "k")
                    .with("topic", asked.topic.as_str())
                    .with("risk_tags", vec![Value::from(asked.tag.as_str())])
                    .with("labels", Object::new().with("team", asked.label.as_str())),
            ));
            let verdict = bundle.evaluate(&request, &caller(), &mut Scratch::default());
            let combined = combine(&verdict, |_| match asked.full {
                true => Velocity::Full { retry_after_ms: 1 },
                false => Velocity::Open,
            });
            let now = match (combined.outcome, combined.constraints.limit("max_runtime_sec")) {
                (Outcome::Permit, Some(bound)) => Said::Within(bound),
                (Outcome::Permit, None) => Said::Permitted,
                (Outcome::RequireApproval, _) => Said::Held,
                _ => Said::Refused,
            };
            let before = first_match(&rules, &asked, star);
            assert!(now <= before, "{now:?} was {before:?}\n{text}\n{}", imported.document);
            seen[match now {
                Said::Refused => 0,
                Said::Held => 1,
                Said::Within(_) => 2,
                Said::Permitted => 3,
            }] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 300), "{seen:?}");
}
