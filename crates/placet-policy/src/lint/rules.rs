//! Findings about rules and pairs of rules. Each is shown for all requests: what cannot be shown is no
//! finding.

use super::conditions;
use super::cover::{any_covers, match_covers, pattern_covers};
use super::{Lint, Severity};
use crate::diagnostic::Code;
use crate::model::{Match, MatchKey, Rule};
use crate::pattern::Dialect;
use crate::provenance::grants;
use placet_types::policy::{Effect, Layer, RuleEffect};
use std::collections::BTreeMap;

/// Most pairs of rules that are compared.
const PAIRS_MAX: usize = 2_000_000;

pub(super) fn check(lint: &mut Lint<'_, '_>) {
    let bundle = lint.bundle;
    let rules: Vec<&Rule> = bundle.model().rules.iter().filter(|it| !it.is_implied()).collect();
    for rule in &rules {
        let (kind, id) = written(&rule.effect);
        matching(lint, kind, id, &rule.matches);
    }
    asserted(lint);
    if !rules.is_empty() && !rules.iter().any(|rule| grants(rule)) {
        let place = lint.at(Layer::Rules.as_str(), "", &[]);
        let message = "no rule grants anything: every request is SILENCE or DENY";
        lint.push(Code::NothingGrants, Severity::Warning, place, message, None);
    }
    pairs(lint, &rules);
}

/// The document and the id under which a rule stands there.
pub(crate) fn written(effect: &RuleEffect) -> (&'static str, &str) {
    let id = match effect.layer {
        Layer::Approvals => effect.id.strip_prefix(Layer::Approvals.prefix()),
        _ => None,
    };
    (effect.layer.as_str(), id.unwrap_or(&effect.id))
}

/// Applies whenever it matches.
fn plain(rule: &Rule) -> bool {
    let effect = &rule.effect;
    effect.limit.is_none() && rule.after.is_none() && effect.schedule.is_none() && !effect.advice
}

/// What is wrong with one `match:`, of a rule or of a deriver.
pub(super) fn matching(lint: &mut Lint<'_, '_>, kind: &str, id: &str, matches: &Match) {
    if let Some(condition) = &matches.when {
        for (code, message, hint) in conditions::check(condition.ast(), matches, &lint.values) {
            let severity =
                if code == Code::RepeatedTerm { Severity::Info } else { Severity::Warning };
            let place = lint.at(kind, id, &["match", "when"]);
            lint.push(code, severity, place, message, hint);
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

/// Rules that grant at once on the strength of what the client says of itself.
fn asserted(lint: &mut Lint<'_, '_>) {
    let bundle = lint.bundle;
    for grant in bundle.grants() {
        let at_once = matches!(grant.rule.effect, Effect::Allow | Effect::AllowWithConstraints);
        if !at_once || !grant.asserted_only || grant.claims.is_empty() {
            continue;
        }
        let id = grant.rule.id.as_str();
        let place = lint.at(grant.rule.layer.as_str(), id, &["id"]);
        let claims = grant.claims.join(", ");
        let message = format!("`{id}` grants on what the client says of itself alone: {claims}");
        let hint = "name actors, roles or environments, or compare with `verified.…`".to_owned();
        lint.push(Code::AssertedOnly, Severity::Warning, place, message, Some(hint));
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
    let ((_, one), (kind, other)) = (written(a), written(b));
    let place = lint.at(kind, other, &["id"]);
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
        let message = format!("`{other}` {what} `{one}` {denies}");
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
        let message = format!("`{other}` adds nothing: `{one}` applies wherever it matches");
        lint.push(Code::RedundantRule, Severity::Warning, place, message, None);
        return true;
    }
    if let (Some(wide), Some(narrow_own)) = (&a.constraints, &b.constraints)
        && plain(narrow)
        && later
        && wide.clone().meet(narrow_own).is_err()
    {
        let message = format!(
            "nothing satisfies the constraints of `{other}` and `{one}`, which always apply with it: the outcome is DENY"
        );
        lint.push(Code::ConstraintsConflict, Severity::Warning, place, message, None);
        return true;
    }
    false
}

/// Whether a rule looks at an action.
pub(super) fn covers_action(rule: &Rule, action: &str) -> bool {
    let patterns = rule.matches.lists.get(&MatchKey::Actions);
    patterns.is_none_or(|patterns| any_covers(Dialect::Dotted, patterns, action))
}

/// Whether a rule looks at a surface.
pub(super) fn covers_surface(rule: &Rule, surface: &str) -> bool {
    let patterns = rule.matches.lists.get(&MatchKey::Surfaces);
    !rule.effect.advice
        && patterns.is_none_or(|patterns| any_covers(Dialect::Dotted, patterns, surface))
}

/// Whether it denies whatever is asked of the surfaces that it looks at: somebody has decided on them.
pub(super) fn closes(rule: &Rule) -> bool {
    let Match { lists, labels, when } = &rule.matches;
    let surfaces_alone = lists.keys().all(|key| *key == MatchKey::Surfaces);
    rule.effect.effect == Effect::Deny
        && plain(rule)
        && surfaces_alone
        && labels.is_empty()
        && when.is_none()
}
