//! What cases touch: rules, and the terms of conditions, each as true and as false. Owns the counting;
//! refuses to know what came of a case.

use crate::bundle::{Bundle, Scratch};
use crate::condition::Condition;
use crate::explain::Finding;
use placet_types::policy::Layer;
use placet_types::{Caller, Request};

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

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCoverage {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub layer: Layer,
    /// How many cases it matched.
    pub matched: u64,
    /// How many of these it decided.
    pub decided: u64,
    /// The terms of its condition.
    pub terms: Vec<TermCoverage>,
}

/// Rules of a bundle with what cases touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Sorted by layer and id.
    pub rules: Vec<RuleCoverage>,
}

impl Coverage {
    /// Nothing touched yet.
    #[must_use]
    pub fn of(bundle: &Bundle) -> Self {
        let rules = bundle.model().rules.iter().map(|rule| {
            let mut terms = Vec::new();
            if let Some(condition) = &rule.matches.when {
                condition.terms(None, &mut |text, _| {
                    let text = text.to_owned();
                    terms.push(TermCoverage { text, was_true: 0, was_false: 0, failed: 0 });
                });
            }
            let (id, layer) = (rule.effect.id.clone(), rule.effect.layer);
            RuleCoverage { id, layer, matched: 0, decided: 0, terms }
        });
        Self { rules: rules.filter(|rule| !rule.id.contains(':')).collect() }
    }

    /// Counts one request and the rules that decided it.
    pub fn add(&mut self, bundle: &Bundle, request: &Request, caller: &Caller, decided: &[String]) {
        let trace = bundle.explain(request, caller);
        let derived = bundle.derive(request, caller, &mut Scratch::default());
        let facts = derived.facts(request, caller);
        for rule in &mut self.rules {
            rule.decided += u64::from(decided.contains(&rule.id));
            let Some(found) = trace.rules.iter().find(|it| it.rule.id == rule.id) else {
                continue;
            };
            rule.matched += u64::from(found.matched);
            if !found.clauses.iter().all(|clause| clause.finding == Finding::Matched) {
                continue;
            }
            let compiled = bundle.compiled().iter().find(|it| it.effect.id == rule.id);
            let condition: Option<&Condition> = compiled.and_then(|it| it.condition.as_ref());
            let mut at = 0_usize;
            if let Some(condition) = condition {
                condition.terms(Some(facts), &mut |_, truth| {
                    if let Some(term) = rule.terms.get_mut(at) {
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
