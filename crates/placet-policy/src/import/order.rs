//! Where the order of rules would have decided: requests that two rules match, the first of which is not the
//! strictest. Every difference is shown by a request that was evaluated, none is guessed.

use crate::bundle::{Bundle, Scratch};
use crate::model::{Match, MatchKey, Rule};
use crate::pattern::Dialect;
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{Object, Value};
use placet_types::policy::{Effect, Outcome, Velocity, combine};
use placet_types::{Caller, Request};
use std::collections::{BTreeMap, BTreeSet};

/// A request that first match decides otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderDifference {
    /// The rule that stands first in the file among those that match.
    pub first: String,
    /// What it alone says.
    pub first_match: Outcome,
    /// The rules that decide here.
    pub deciding: Vec<String>,
    /// What they say.
    pub strictest_wins: Outcome,
    /// A request for which this is so.
    pub request: Object,
    /// Who asks it.
    pub caller: Object,
}

/// Most pairs that are looked at.
const PAIRS_MAX: usize = 200_000;
/// Most differences that are told.
const TOLD_MAX: usize = 100;

pub(super) fn differences(bundle: &Bundle, order: &[String]) -> Vec<OrderDifference> {
    let rank: BTreeMap<&str, usize> =
        order.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let mut rules: Vec<&Rule> = bundle.model().rules.iter().filter(|it| !it.is_implied()).collect();
    rules.sort_by_key(|rule| rank.get(rule.effect.id.as_str()).copied());
    let mut out: Vec<OrderDifference> = Vec::new();
    let mut told = BTreeSet::new();
    let mut left = PAIRS_MAX;
    for (at, first) in rules.iter().enumerate() {
        for second in rules.iter().skip(at.saturating_add(1)) {
            left = left.saturating_sub(1);
            if left == 0 || out.len() >= TOLD_MAX {
                return out;
            }
            let Some((body, caller)) = witness(&first.matches, &second.matches) else { continue };
            let Some(found) = decide(bundle, &rank, body, &caller) else { continue };
            if told.insert((found.first.clone(), found.deciding.clone())) {
                out.push(found);
            }
        }
    }
    out
}

fn outcome(effect: Effect) -> Outcome {
    match effect {
        Effect::Allow | Effect::AllowWithConstraints => Outcome::Permit,
        Effect::RequireApproval => Outcome::RequireApproval,
        Effect::Throttle => Outcome::Throttle,
        Effect::Deny => Outcome::Deny,
    }
}

fn decide(
    bundle: &Bundle,
    rank: &BTreeMap<&str, usize>,
    body: Object,
    caller: &Caller,
) -> Option<OrderDifference> {
    let request = Request::read(Value::Object(body.clone()), caller).ok()?;
    let verdict = bundle.evaluate(&request, caller, &mut Scratch::default());
    // Windows are empty here, so a rule with a window does not apply.
    let hits = verdict.hits.iter().filter(|hit| hit.rule.limit.is_none());
    let first = hits.min_by_key(|hit| rank.get(hit.rule.id.as_str()).copied())?;
    let first_match = outcome(first.rule.effect);
    let combined = combine(&verdict, |_| Velocity::Open);
    let alone = first.rule.constraints.clone().unwrap_or_default();
    let differs = combined.outcome != first_match
        || (first_match == Outcome::Permit && combined.constraints != alone);
    differs.then(|| OrderDifference {
        first: first.rule.id.clone(),
        first_match,
        deciding: combined.deciding.iter().map(|rule| rule.id.clone()).collect(),
        strictest_wins: combined.outcome,
        request: body,
        caller: caller.facts(),
    })
}

/// A request that both match, if one is found by their patterns.
fn witness(a: &Match, b: &Match) -> Option<(Object, Caller)> {
    let one = |key: MatchKey| -> Option<Option<String>> {
        common(key.dialect(), a.lists.get(&key), b.lists.get(&key))
    };
    let mut body = Object::new()
        .with("surface", "job")
        .with("action", "dispatch")
        .with("idempotency_key", "witness");
    if let Some(topic) = one(MatchKey::Topics)? {
        body.set("topic", topic);
    }
    if let Some(capability) = one(MatchKey::Capabilities)? {
        body.set("capability", capability);
    }
    // Any tag of either list is one more fact, so both are satisfied by one of each.
    let tags: BTreeSet<&String> = [a, b]
        .iter()
        .filter_map(|it| it.lists.get(&MatchKey::RiskTags).and_then(|tags| tags.first()))
        .collect();
    if !tags.is_empty() {
        let tags: Vec<Value> = tags
            .iter()
            .map(|tag| Value::from(if *tag == "*" { "x" } else { tag.as_str() }))
            .collect();
        body.set("risk_tags", tags);
    }
    let mut labels = Object::new();
    let names: BTreeSet<&String> = a.labels.keys().chain(b.labels.keys()).collect();
    for name in names {
        let value = common(Dialect::Text, a.labels.get(name), b.labels.get(name))?;
        labels.set(name.as_str(), value.unwrap_or_default());
    }
    if !labels.is_empty() {
        body.set("labels", labels);
    }
    let actor = match (one(MatchKey::Actors)?, one(MatchKey::ActorKinds)?) {
        (Some(actor), Some(kind)) => match actor.strip_prefix("x:") {
            Some(name) => format!("{kind}:{name}"),
            None => actor,
        },
        (Some(actor), None) => actor.replacen("x:", "agent:", 1),
        (None, Some(kind)) => format!("{kind}:x"),
        (None, None) => "agent:x".to_owned(),
    };
    let workspace = match (workspaces(a), workspaces(b)) {
        (Some(a), Some(b)) => a.into_iter().find(|name| b.contains(name))?,
        (Some(one), None) | (None, Some(one)) => one.into_iter().next()?,
        (None, None) => "default".to_owned(),
    };
    let caller = Caller {
        workspace: WorkspaceName::parse(&workspace)?,
        environment: "production".to_owned(),
        actor: ActorId::parse(&actor)?,
        roles: BTreeSet::new(),
        chain: Vec::new(),
    };
    Some((body, caller))
}

/// The names in `verified.workspace in […]`, the one condition that an import writes.
fn workspaces(of: &Match) -> Option<Vec<String>> {
    let text = of.when.as_ref()?.text();
    let list = text.strip_prefix("verified.workspace in [")?.strip_suffix(']')?;
    Some(list.split(", ").map(|name| name.trim_matches('"').to_owned()).collect())
}

/// A value that both lists match: `Some(None)` where neither asks.
fn common(
    dialect: Dialect,
    a: Option<&Vec<String>>,
    b: Option<&Vec<String>>,
) -> Option<Option<String>> {
    let value = |pattern: &str| pattern.replace("**", "x").replace('*', "x");
    match (a, b) {
        (None, None) => Some(None),
        (Some(list), None) | (None, Some(list)) => Some(list.first().map(|it| value(it))),
        (Some(a), Some(b)) => {
            let matches = |list: &[String], text: &str| {
                list.iter().any(|it| crate::lint::pattern_covers(dialect, it, text))
            };
            let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x, y)));
            let tried = pairs.flat_map(|(x, y)| [value(x), value(y), merged(dialect, x, y)]);
            tried.into_iter().find(|text| matches(a, text) && matches(b, text)).map(Some)
        }
    }
}

/// Segment by segment whatever is no wildcard.
fn merged(dialect: Dialect, a: &str, b: &str) -> String {
    let separator = if dialect == Dialect::Dotted { "." } else { "/" };
    let (a, b): (Vec<&str>, Vec<&str>) = (dialect.split(a).collect(), dialect.split(b).collect());
    let longest = a.len().max(b.len());
    let wild = |text: &str| text == "*" || text == "**";
    let segments = (0..longest).map(|at| match (a.get(at), b.get(at)) {
        (Some(x), _) if !wild(x) => *x,
        (_, Some(y)) if !wild(y) => *y,
        _ => "x",
    });
    segments.collect::<Vec<_>>().join(separator)
}
