//! What cases touch: rules, and the terms of conditions, each as true and as false. Owns the counting;
//! refuses to know what came of a case.

use crate::bundle::{Bundle, Compiled, Scratch};
use crate::condition::{Condition, Facts};
use crate::explain::{Finding, RuleTrace};
use crate::lint::written;
use placet_types::event::DecisionEvent;
use placet_types::json::Object;
use placet_types::{Caller, Request};
use std::collections::BTreeMap;

const DERIVERS: &str = "derivers";

/// One operand of `&&`, `||` or `!`, one part of `?:`, or a condition that has none of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermCoverage {
    /// As it stands in the condition.
    pub text: String,
    /// How often it was true where it was asked.
    pub was_true: u64,
    /// How often it was false.
    pub was_false: u64,
    /// How often it could not be evaluated.
    pub failed: u64,
}

impl TermCoverage {
    /// Whether it has been seen both ways.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.was_true > 0 && self.was_false > 0
    }
}

/// One rule, row or deriver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCoverage {
    /// The id under which it stands there.
    pub id: String,
    /// Its document: `floor`, `rules`, `approvals` or `derivers`.
    pub document: &'static str,
    /// In how many cases it took part: it matched, and its schedule, window or sequence let it apply.
    pub matched: u64,
    /// How many of these it decided.
    pub decided: u64,
    /// The terms of its condition.
    pub terms: Vec<TermCoverage>,
}

/// Rules of a bundle with what cases touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Sorted by layer and id, derivers last.
    pub rules: Vec<RuleCoverage>,
}

/// Whether a rule took part in a decision and not only matched.
fn took_part(event: &DecisionEvent, id: &str) -> bool {
    let mut matched = event.matched.iter().filter(|it| it.rule == id);
    // A window that was only looked at counts nothing.
    matched.any(|it| it.window.is_none_or(|window| window.full || window.count == 0))
}

fn untouched(document: &'static str, id: &str, condition: Option<&Condition>) -> RuleCoverage {
    let mut terms = Vec::new();
    if let Some(condition) = condition {
        condition.terms(None, &mut |text, _| {
            let text = text.to_owned();
            terms.push(TermCoverage { text, was_true: 0, was_false: 0, failed: 0 });
        });
    }
    RuleCoverage { id: id.to_owned(), document, matched: 0, decided: 0, terms }
}

impl RuleCoverage {
    fn tell(&mut self, condition: &Condition, facts: Facts<'_>) {
        let mut at = 0_usize;
        condition.terms(Some(facts), &mut |_, truth| {
            if let Some(term) = self.terms.get_mut(at) {
                match truth {
                    None => {}
                    Some(Ok(true)) => term.was_true += 1,
                    Some(Ok(false)) => term.was_false += 1,
                    Some(Err(_)) => term.failed += 1,
                }
            }
            at = at.saturating_add(1);
        });
    }
}

impl Coverage {
    /// Nothing touched yet.
    #[must_use]
    pub fn of(bundle: &Bundle) -> Self {
        let rules = bundle.model().rules.iter().filter(|rule| !rule.is_implied());
        let rules = rules.map(|rule| {
            let (document, id) = written(&rule.effect);
            untouched(document, id, rule.matches.when.as_ref())
        });
        let derivers = bundle.model().derivers.iter();
        let derivers = derivers.map(|it| untouched(DERIVERS, &it.id, it.matches.when.as_ref()));
        Self { rules: rules.chain(derivers).collect() }
    }

    /// Counts one request and the decision on it, with the rules that took part and those that decided.
    pub fn add(
        &mut self,
        bundle: &Bundle,
        request: &Request,
        caller: &Caller,
        event: &DecisionEvent,
    ) {
        let mut scratch = Scratch::default();
        let trace = bundle.explain(request, caller);
        let derived = bundle.derive(request, caller, &mut scratch);
        let facts = derived.facts(request, caller);
        let traced: BTreeMap<(&str, &str), &RuleTrace> =
            trace.rules.iter().map(|it| (written(&it.rule), it)).collect();
        let compiled: BTreeMap<(&str, &str), &Compiled> =
            bundle.compiled().iter().map(|it| (written(&it.effect), it)).collect();
        for rule in self.rules.iter_mut().filter(|rule| rule.document != DERIVERS) {
            let key = (rule.document, rule.id.as_str());
            let (Some(found), Some(compiled)) = (traced.get(&key), compiled.get(&key)) else {
                continue;
            };
            let id = &compiled.effect.id;
            let part = took_part(event, id);
            rule.matched += u64::from(part);
            rule.decided += u64::from(part && event.rules.contains(id));
            // What did not apply for another reason than its condition shows nothing of it.
            let asked = found.clauses.iter().all(|clause| clause.finding == Finding::Matched)
                && (part || !found.matched);
            if let Some(condition) = compiled.condition.as_ref().filter(|_| asked) {
                rule.tell(condition, facts);
            }
        }
        let nothing = Object::new();
        let before = Facts { request, caller, derived: &nothing };
        for deriver in bundle.derivers().asked(request, caller, &mut scratch) {
            let mut rules = self.rules.iter_mut();
            let found = rules.find(|it| it.document == DERIVERS && it.id == deriver.id);
            let Some(rule) = found else { continue };
            rule.matched += u64::from(derived.applied.contains(&deriver.id));
            if let Some(condition) = &deriver.matches.when {
                rule.tell(condition, before);
            }
        }
    }

    /// Rules touched, and all of them.
    #[must_use]
    pub fn rules_touched(&self) -> (usize, usize) {
        (self.rules.iter().filter(|rule| rule.matched > 0).count(), self.rules.len())
    }

    /// Sides of terms seen, and all of them: two for each term.
    #[must_use]
    pub fn branches_seen(&self) -> (usize, usize) {
        let terms = self.rules.iter().flat_map(|rule| &rule.terms);
        terms.fold((0, 0), |(seen, all), term| {
            let own = usize::from(term.was_true > 0) + usize::from(term.was_false > 0);
            (seen + own, all + 2)
        })
    }
}
