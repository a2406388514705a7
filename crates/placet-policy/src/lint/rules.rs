//! Findings about rules and pairs of rules. Each is shown for all requests: what cannot be shown is no
//! finding.

use super::conditions;
use super::cover::{any_covers, match_covers, pattern_covers};
use super::{Lint, Severity};
use crate::condition::{Ast, AstNode};
use crate::diagnostic::Code;
use crate::model::{Match, MatchKey, Rule};
use crate::pattern::Dialect;
use placet_types::policy::{Effect, Layer};
use std::collections::{BTreeMap, BTreeSet};

/// Most pairs of rules that are compared.
const PAIRS_MAX: usize = 2_000_000;

pub(super) fn check(lint: &mut Lint<'_, '_>) {
    let bundle = lint.bundle;
    let rules: Vec<&Rule> = bundle.model().rules.iter().filter(|it| !it.is_implied()).collect();
    for rule in &rules {
        one(lint, rule);
    }
    if !rules.is_empty() && !rules.iter().any(|rule| grants(rule)) {
        let place = lint.at(Layer::Rules.as_str(), "", &[]);
        let message = "no rule grants anything: every request is SILENCE or DENY";
        lint.push(Code::NothingGrants, Severity::Warning, place, message, None);
    }
    pairs(lint, &rules);
}

fn grants(rule: &Rule) -> bool {
    let effect = &rule.effect;
    effect.layer == Layer::Rules
        && effect.limit.is_none()
        && !effect.advice
        && matches!(
            effect.effect,
            Effect::Allow | Effect::AllowWithConstraints | Effect::RequireApproval
        )
}

/// Applies whenever it matches.
fn plain(rule: &Rule) -> bool {
    let effect = &rule.effect;
    effect.limit.is_none() && rule.after.is_none() && effect.schedule.is_none() && !effect.advice
}

fn one(lint: &mut Lint<'_, '_>, rule: &Rule) {
    let (layer, id) = (rule.effect.layer.as_str(), rule.effect.id.as_str());
    matching(lint, layer, id, &rule.matches);
    surfaces(lint, rule);
    asserted(lint, rule);
}

/// What is wrong with one `match:`, of a rule or of a deriver.
pub(super) fn matching(lint: &mut Lint<'_, '_>, kind: &str, id: &str, matches: &Match) {
    if let Some(condition) = &matches.when {
        for (code, message) in conditions::check(condition.ast(), matches) {
            let severity =
                if code == Code::RepeatedTerm { Severity::Info } else { Severity::Warning };
            let place = lint.at(kind, id, &["match", "when"]);
            lint.push(code, severity, place, message, None);
        }
    }
    for (key, patterns) in &matches.lists {
        if *key != MatchKey::RiskTagsAll {
            redundant(lint, kind, id, &["match", key.as_str()], key.dialect(), patterns);
        }
    }
    for (name, patterns) in &matches.labels {
        redundant(lint, kind, id, &["match", "labels", name], Dialect::Text, patterns);
    }
    let (Some(actors), Some(kinds)) =
        (matches.lists.get(&MatchKey::Actors), matches.lists.get(&MatchKey::ActorKinds))
    else {
        return;
    };
    let possible = |actor: &String| {
        let kind = actor.split(':').next().unwrap_or_default();
        kind == "*" || kinds.iter().any(|it| it == kind)
    };
    if !actors.iter().any(possible) {
        let place = lint.at(kind, id, &["match", "actors"]);
        let message = "none of these actors is of one of the `actor_kinds`";
        lint.push(Code::ImpossibleMatch, Severity::Warning, place, message, None);
    }
}

fn redundant(
    lint: &mut Lint<'_, '_>,
    kind: &str,
    id: &str,
    path: &[&str],
    dialect: Dialect,
    patterns: &[String],
) {
    for narrow in patterns {
        let wide = patterns.iter().find(|it| *it != narrow && pattern_covers(dialect, it, narrow));
        if let Some(wide) = wide {
            let place = lint.item(kind, id, path, narrow);
            let message = format!("`{narrow}` matches nothing that `{wide}` does not match");
            lint.push(Code::RedundantPattern, Severity::Info, place, message, None);
        }
    }
}

/// A rule for surfaces that the bundle does not know is never asked.
fn surfaces(lint: &mut Lint<'_, '_>, rule: &Rule) {
    let bundle = lint.bundle;
    let Some(declared) = &bundle.model().surfaces else { return };
    let Some(patterns) = rule.matches.lists.get(&MatchKey::Surfaces) else { return };
    let known = |pattern: &String| {
        let built_in = ["job", "policy.", "override.", "role.", "key."];
        // Wildcards at the front may match what is built in.
        let first = pattern.split('.').next().unwrap_or_default();
        let may_be_built_in =
            first.starts_with('*') || built_in.iter().any(|it| it.trim_end_matches('.') == first);
        may_be_built_in
            || declared.keys().any(|name| pattern_covers(Dialect::Dotted, pattern, name))
    };
    let unknown: Vec<&String> = patterns.iter().filter(|it| !known(it)).collect();
    let (layer, id) = (rule.effect.layer, rule.effect.id.as_str());
    let never = unknown.len() == patterns.len();
    if never && layer == Layer::Floor {
        let place = lint.at(layer.as_str(), id, &["match", "surfaces"]);
        let message = format!("floor rule `{id}` never applies: no declared surface matches");
        let hint = Some("declare the surface under `surfaces:`, or correct the pattern".to_owned());
        lint.push(Code::FloorNeverApplies, Severity::Warning, place, message, hint);
        return;
    }
    for pattern in unknown {
        let place = lint.item(layer.as_str(), id, &["match", "surfaces"], pattern);
        let message = format!("no declared surface matches `{pattern}`");
        let hint = Some("declare the surface under `surfaces:`, or correct the pattern".to_owned());
        lint.push(Code::UnknownSurface, Severity::Warning, place, message, hint);
    }
}

/// A rule that grants at once on the strength of what the client says of itself.
fn asserted(lint: &mut Lint<'_, '_>, rule: &Rule) {
    let at_once = matches!(rule.effect.effect, Effect::Allow | Effect::AllowWithConstraints);
    if !at_once || rule.effect.advice {
        return;
    }
    let asserted = [
        MatchKey::RiskTags,
        MatchKey::RiskTagsAll,
        MatchKey::Teams,
        MatchKey::Capabilities,
        MatchKey::Branches,
        MatchKey::Models,
    ];
    let verified =
        [MatchKey::Actors, MatchKey::ActorKinds, MatchKey::Roles, MatchKey::Environments];
    let lists = &rule.matches.lists;
    // Only callers with an allowed role act for a capability that has a manifest.
    let manifests = lint.bundle.model().documents.contains_key("capabilities");
    let mut rests: BTreeSet<String> = asserted
        .iter()
        .filter(|key| lists.contains_key(key))
        .filter(|key| !(manifests && **key == MatchKey::Capabilities))
        .map(|key| key.as_str().to_owned())
        .collect();
    rests.extend(rule.matches.labels.keys().map(|name| format!("labels.{name}")));
    let mut sound = verified.iter().any(|key| lists.contains_key(key));
    // A manifest says which roles may name its capability, and access is asked before rules.
    sound |= lists.contains_key(&MatchKey::Capabilities)
        && lint.bundle.model().documents.contains_key("capabilities");
    if let Some(condition) = &rule.matches.when {
        sound |= fields(condition.ast(), &mut rests);
    }
    if !sound && !rests.is_empty() {
        let id = rule.effect.id.as_str();
        let place = lint.at(rule.effect.layer.as_str(), id, &["id"]);
        let names: Vec<&str> = rests.iter().map(String::as_str).collect();
        let message =
            format!("`{id}` grants on what the client says of itself alone: {}", names.join(", "));
        let hint = "name actors, roles or environments, or compare with `verified.…`".to_owned();
        lint.push(Code::AssertedOnly, Severity::Warning, place, message, Some(hint));
    }
}

/// Adds the asserted fields that a condition reads; whether it reads a verified one.
fn fields(ast: &Ast, out: &mut BTreeSet<String>) -> bool {
    // What is done is part of the permit; the rest is said by the client about itself.
    let action = ["surface", "action", "topic", "target", "arguments"];
    let of_root = |of: &Ast, name: &str, out: &mut BTreeSet<String>| match &of.node {
        AstNode::Name(root) if root == "verified" => Some(true),
        AstNode::Name(root) if root == "request" => {
            if !action.contains(&name) {
                out.insert(format!("request.{name}"));
            }
            Some(false)
        }
        _ => None,
    };
    match &ast.node {
        AstNode::Member { of, field } | AstNode::Has { of, field } => {
            of_root(of, field, out).unwrap_or_else(|| fields(of, out))
        }
        AstNode::Index { of, index } => {
            if let AstNode::Text(name) = &index.node
                && let Some(verified) = of_root(of, name, out)
            {
                return verified;
            }
            let left = fields(of, out);
            fields(index, out) || left
        }
        AstNode::List(items) | AstNode::Call(_, items) => {
            // All of them: each tells what it reads.
            items.iter().filter(|item| fields(item, out)).count() > 0
        }
        _ => false,
    }
}

/// A key and a value by which a rule is found, or nothing for a rule that may cover any other.
fn bucket(rule: &Rule) -> Option<Vec<(MatchKey, String)>> {
    let literal = |(key, patterns): (&MatchKey, &Vec<String>)| {
        let literals = patterns.iter().all(|it| !it.contains('*'));
        (literals && !matches!(key, MatchKey::RiskTags | MatchKey::RiskTagsAll))
            .then(|| patterns.iter().map(|it| (*key, it.clone())).collect::<Vec<_>>())
    };
    rule.matches.lists.iter().filter_map(literal).min_by_key(Vec::len)
}

fn pairs(lint: &mut Lint<'_, '_>, rules: &[&Rule]) {
    let mut wide: Vec<usize> = Vec::new();
    let mut found: BTreeMap<(MatchKey, String), Vec<usize>> = BTreeMap::new();
    for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| plain(rule)) {
        match bucket(rule) {
            None => wide.push(at),
            Some(keys) => keys.into_iter().for_each(|key| found.entry(key).or_default().push(at)),
        }
    }
    let mut left = PAIRS_MAX;
    for (at, narrow) in rules.iter().enumerate().filter(|(_, rule)| !rule.effect.advice) {
        let mut candidates: Vec<usize> = wide.clone();
        for (key, patterns) in &narrow.matches.lists {
            // All of its values have to be covered, so the first one leads to whatever covers it.
            if let Some(first) = patterns.first() {
                candidates.extend(found.get(&(*key, first.clone())).into_iter().flatten());
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        left = left.saturating_sub(candidates.len());
        if left == 0 {
            return;
        }
        for candidate in candidates {
            let Some(other) = rules.get(candidate).filter(|_| candidate != at) else { continue };
            if match_covers(&other.matches, &narrow.matches) && pair(lint, other, narrow) {
                break;
            }
        }
    }
}

/// Says what follows when `wide` applies wherever `narrow` matches; whether anything does.
fn pair(lint: &mut Lint<'_, '_>, wide: &Rule, narrow: &Rule) -> bool {
    let (a, b) = (&wide.effect, &narrow.effect);
    // The floor stands for itself, whatever a rule says today.
    if b.layer == Layer::Floor && a.layer != Layer::Floor {
        return false;
    }
    let place = lint.at(b.layer.as_str(), &b.id, &["id"]);
    let both = match_covers(&narrow.matches, &wide.matches) && plain(narrow);
    // Of two that say the same the later one is named.
    let later = !both || a.id < b.id || a.layer != b.layer;
    if a.effect == Effect::Deny {
        if b.effect == Effect::Deny && !later {
            return false;
        }
        let (code, what) = match b.effect {
            Effect::RequireApproval => (Code::ApprovalAlwaysDenied, "asks for an approval that"),
            Effect::Deny => (Code::RedundantRule, "denies what"),
            _ => (Code::UnreachableRule, "never decides: what it matches"),
        };
        let denies = if b.effect == Effect::Deny { "denies anyway" } else { "always denies" };
        let message = format!("`{}` {what} `{}` {denies}", b.id, a.id);
        lint.push(code, Severity::Warning, place, message, None);
        return true;
    }
    let alike = a.effect == b.effect
        && a.layer == b.layer
        && a.constraints == b.constraints
        && a.approval == b.approval
        && a.retry_after_ms == b.retry_after_ms
        && plain(narrow);
    let only_grants = b.effect == Effect::Allow && b.constraints.is_none() && grants(wide);
    if (alike || only_grants) && later {
        let message = format!("`{}` adds nothing: `{}` applies wherever it matches", b.id, a.id);
        lint.push(Code::RedundantRule, Severity::Warning, place, message, None);
        return true;
    }
    if let (Some(one), Some(other)) = (&a.constraints, &b.constraints)
        && plain(narrow)
        && later
        && one.clone().meet(other).is_err()
    {
        let message = format!(
            "nothing satisfies the constraints of `{}` and `{}`, which always apply with it: the outcome is DENY",
            b.id, a.id
        );
        lint.push(Code::ConstraintsConflict, Severity::Warning, place, message, None);
        return true;
    }
    false
}

/// Whether some rule looks at a surface at all.
pub(super) fn covers_action(rule: &Rule, action: &str) -> bool {
    let patterns = rule.matches.lists.get(&MatchKey::Actions);
    patterns.is_none_or(|patterns| any_covers(Dialect::Dotted, patterns, action))
}

pub(super) fn covers_surface(rule: &Rule, surface: &str) -> bool {
    let patterns = rule.matches.lists.get(&MatchKey::Surfaces);
    !rule.effect.advice
        && patterns.is_none_or(|patterns| any_covers(Dialect::Dotted, patterns, surface))
}
