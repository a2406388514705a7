//! Findings about what is declared and not used, owned by nobody or tried by no
//! case. Works on the normal form, so documents of every kind are looked at alike.

use super::rules::{closes, covers_action, covers_surface, matching, written};
use super::{Lint, Severity};
use crate::access::{Permission, Verb};
use crate::bundle::{Bundle, Scratch};
use crate::cases::Case;
use crate::diagnostic::Code;
use crate::model::{MatchKey, RiskTier, Rule};
use crate::provenance::grants;
use placet_types::json::{self, Limits, Value};
use placet_types::policy::{Hit, RuleEffect};
use std::collections::BTreeSet;

/// Kinds whose entries stand under their names.
const NAMED: [&str; 3] = ["capabilities", "roles", "surfaces"];

pub(super) fn check(lint: &mut Lint<'_, '_>) {
    let normal = json::parse(lint.bundle.normalised(), Limits::DOCUMENT).ok();
    owners(lint, normal.as_ref());
    surfaces(lint);
    actions(lint, normal.as_ref());
    derivers(lint, normal.as_ref());
    cases(lint);
}

/// Every entry and every surface says who answers for it. Cases and outputs follow their rules.
fn owners(lint: &mut Lint<'_, '_>, normal: Option<&Value>) {
    let Some(bundle) = normal.and_then(Value::as_object) else { return };
    for (kind, section) in bundle.iter().filter(|(kind, _)| *kind != "tests") {
        let entries: Vec<(&str, &Value)> = match section {
            Value::Array(items) => items
                .iter()
                .filter_map(|item| Some((item.get("id").and_then(Value::as_str)?, item)))
                .collect(),
            Value::Object(members) if NAMED.contains(&kind) => members.iter().collect(),
            _ => continue,
        };
        for (id, _) in entries.into_iter().filter(|(_, entry)| entry.get("owner").is_none()) {
            let place = lint.at(kind, id, &["id"]);
            let message = format!("nobody answers for `{id}` of `{kind}`");
            let hint = Some("add `owner:`".to_owned());
            lint.push(Code::OwnerMissing, Severity::Info, place, message, hint);
        }
    }
}

fn surfaces(lint: &mut Lint<'_, '_>) {
    let bundle = lint.bundle;
    let rules = &bundle.model().rules;
    for name in bundle.model().surfaces.iter().flat_map(|it| it.keys()) {
        let mut on = rules.iter().filter(|it| !it.is_implied() && covers_surface(it, name));
        let (any, covered) = (on.clone().next().is_some(), |it| grants(it) || closes(it));
        if !on.any(covered) {
            let place = lint.at("surfaces", name, &[]);
            let message = if any {
                format!("no rule grants anything on `{name}`: what is not denied is SILENCE")
            } else {
                format!("no rule covers `{name}`: whatever is asked of it is SILENCE")
            };
            lint.push(Code::UncoveredSurface, Severity::Warning, place, message, None);
        }
    }
}

/// Actions of declared surfaces that somebody may propose and no rule covers.
fn actions(lint: &mut Lint<'_, '_>, normal: Option<&Value>) {
    let bundle = lint.bundle;
    let Some(declared) = &bundle.model().surfaces else { return };
    for (kind, list) in [("capabilities", "permissions"), ("roles", "may")] {
        let entries = normal.and_then(|it| it.get(kind)).and_then(Value::as_object);
        for (name, entry) in entries.into_iter().flat_map(|entries| entries.iter()) {
            for text in entry.get(list).and_then(Value::as_array).into_iter().flatten() {
                let Some(text) = text.as_str() else { continue };
                let Ok(Permission { verb: Verb::Propose, surfaces, actions: Some(action) }) =
                    Permission::parse(text)
                else {
                    continue;
                };
                if !declared.contains_key(&surfaces) || action.contains('*') {
                    continue;
                }
                // Where nothing covers the surface at all, that is said of the surface.
                let on = |rule: &&Rule| {
                    !rule.is_implied()
                        && covers_surface(rule, &surfaces)
                        && (grants(rule) || closes(rule))
                };
                let on: Vec<&Rule> = bundle.model().rules.iter().filter(on).collect();
                if !on.is_empty() && !on.iter().any(|rule| covers_action(rule, &action)) {
                    let place = lint.item(kind, name, &[list], text);
                    let message = format!(
                        "`{name}` may propose `{action}` on `{surfaces}`, and no rule grants it"
                    );
                    lint.push(Code::UncoveredAction, Severity::Warning, place, message, None);
                }
            }
        }
    }
}

fn derivers(lint: &mut Lint<'_, '_>, normal: Option<&Value>) {
    let bundle = lint.bundle;
    for deriver in &bundle.model().derivers {
        matching(lint, "derivers", &deriver.id, &deriver.matches);
    }
    // Whatever mentions a name uses it, wherever it stands but in the derivers' own findings.
    let mut texts = String::new();
    if let Some(sections) = normal.and_then(Value::as_object) {
        for (kind, section) in sections.iter().filter(|(kind, _)| *kind != "tests") {
            if kind != "derivers" {
                texts.push_str(&section.to_text());
            }
        }
    }
    for deriver in &bundle.model().derivers {
        if let Some(condition) = &deriver.matches.when {
            texts.push_str(condition.text());
        }
        for key in [MatchKey::RiskTags, MatchKey::RiskTagsAll] {
            for tag in deriver.matches.lists.get(&key).into_iter().flatten() {
                texts.push_str(&format!("\"{tag}\""));
            }
        }
    }
    let any_tag = |rule: &Rule| {
        let tags = rule.matches.lists.get(&MatchKey::RiskTags);
        tags.is_some_and(|tags| tags.iter().any(|tag| tag == "*"))
    };
    let any_tag =
        bundle.model().rules.iter().any(any_tag) || texts.contains("size(request.risk_tags");
    let tag_used = |tag: &str| {
        any_tag
            || texts.contains(&format!("\"{tag}\""))
            || texts.contains(&format!("'{tag}'"))
            || texts.contains(&format!("\\\"{tag}\\\""))
    };
    let fact_used = |name: &str| {
        texts.contains(&format!("verified.{name}"))
            || texts.contains(&format!("verified[\\\"{name}"))
            || texts.contains(&format!("\"{name}\""))
    };
    let tier_used = fact_used(RiskTier::FACT) || fact_used(RiskTier::LEVEL);
    for deriver in &bundle.model().derivers {
        let id = deriver.id.as_str();
        let tags: Vec<&String> = deriver.risk_tags.iter().filter(|it| !tag_used(it)).collect();
        let facts: Vec<&str> =
            deriver.facts.iter().map(|(name, _)| name).filter(|it| !fact_used(it)).collect();
        let tier_unused = deriver.risk_tier.is_some() && !tier_used;
        let all = deriver.risk_tags.len()
            + deriver.facts.len()
            + usize::from(deriver.risk_tier.is_some());
        if tags.len() + facts.len() + usize::from(tier_unused) == all {
            let place = lint.at("derivers", id, &["id"]);
            let message = format!("nothing uses what `{id}` derives");
            lint.push(Code::UnusedDeriver, Severity::Warning, place, message, None);
            continue;
        }
        for tag in tags {
            let place = lint.item("derivers", id, &["risk_tags"], tag);
            let message = format!("no rule asks for the tag `{tag}`");
            lint.push(Code::UnusedTag, Severity::Warning, place, message, None);
        }
        for fact in facts {
            let place = lint.at("derivers", id, &["facts", fact]);
            let message = format!("no condition reads `verified.{fact}`");
            lint.push(Code::UnusedFact, Severity::Warning, place, message, None);
        }
        if tier_unused {
            let place = lint.at("derivers", id, &["risk_tier"]);
            let message = "no condition reads `verified.risk_tier` or `verified.risk_level`";
            lint.push(Code::UnusedFact, Severity::Warning, place, message, None);
        }
    }
}

/// Rules that no case asks, and cases that name rules that are not there.
fn cases(lint: &mut Lint<'_, '_>) {
    let bundle = lint.bundle;
    let rules: Vec<&Rule> = bundle.model().rules.iter().filter(|it| !it.is_implied()).collect();
    if rules.is_empty() {
        return;
    }
    if bundle.case_count() == 0 {
        let place = lint.start();
        let message = "the bundle has no `tests:`, so nothing says what its rules are for";
        let hint = Some("write a case for each rule".to_owned());
        lint.push(Code::NoTests, Severity::Warning, place, message, hint);
        return;
    }
    let mut touched: BTreeSet<String> = BTreeSet::new();
    let mut scratch = Scratch::default();
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.effect.id.as_str()).collect();
    for case in bundle.cases() {
        let verdict = bundle.evaluate(&case.request, &case.caller, &mut scratch);
        for hit in &verdict.hits {
            if !touched.contains(&hit.rule.id) && may_apply(bundle, &case, hit, &mut scratch) {
                touched.insert(hit.rule.id.clone());
            }
        }
        let named = case.expect.as_ref().and_then(|it| it.rules.clone()).unwrap_or_default();
        for name in named {
            // Rules of the program itself have a prefix and stand in no document.
            if !names.contains(name.as_str()) && !name.contains(':') {
                let place = lint.item("tests", &case.id, &["expect", "rules"], &name);
                let message =
                    format!("case `{}` expects the rule `{name}`, which is not there", case.id);
                lint.push(Code::UnknownRule, Severity::Warning, place, message, None);
            }
        }
    }
    for rule in rules.iter().filter(|rule| !touched.contains(&rule.effect.id)) {
        let (kind, id) = written(&rule.effect);
        let place = lint.at(kind, id, &["id"]);
        let message = format!("`{id}` applies in no case of `tests:`");
        lint.push(Code::UntestedRule, Severity::Warning, place, message, None);
    }
}

/// Whether a rule that matches a case can apply there: at that time, and after what came before. What the
/// steps before were decided is not asked, so a window may be fuller here than it is.
fn may_apply(bundle: &Bundle, case: &Case, hit: &Hit, scratch: &mut Scratch) -> bool {
    if hit.rule.schedule.as_ref().is_some_and(|it| !it.contains(case.at)) {
        return false;
    }
    let marker = hit.rule.after.and_then(|_| bundle.rule(&RuleEffect::marker_id(&hit.rule.id)));
    // Advice with a window is a marker itself, and always a note.
    let counted = marker.unwrap_or(&hit.rule);
    let Some(limit) = counted.limit.filter(|_| !hit.rule.advice) else { return true };
    let since = case.at.0.saturating_sub(limit.per_ms);
    let mut found = 0_u64;
    for step in case.history.iter().filter(|step| step.at.0 >= since) {
        // They differ in their idempotency keys alone.
        let Some(request) = step.requests().next() else { continue };
        let verdict = bundle.evaluate(&request, &step.caller, scratch);
        if verdict.hits.iter().any(|it| it.rule.id == counted.id) {
            found = found.saturating_add(step.times);
        }
    }
    found >= u64::from(limit.count)
}
