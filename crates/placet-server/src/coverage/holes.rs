//! What counts as a hole. The kinds are documented in `docs/reference/coverage.md`; a command's `--allow`
//! names them.

use crate::measures::Unowned;
use crate::names::Names;
use placet_api::{CoveredRules, CoveredSurface, HoleDocument, UnknownSurfaces};
use placet_engine::is_governed;
use placet_policy::Shadowed;
use placet_runtime::Seen;
use placet_types::ids::TimeMs;
use std::collections::BTreeMap;

/// Holes that an answer lists.
const LISTED_MAX: usize = 1000;

/// Holes as they are found.
pub(super) struct Holes {
    since: Option<TimeMs>,
    by_kind: BTreeMap<&'static str, u64>,
    listed: Vec<HoleDocument>,
}

impl Holes {
    pub(super) fn new(since: Option<TimeMs>) -> Self {
        Self { since, by_kind: BTreeMap::new(), listed: Vec::new() }
    }

    fn add(&mut self, kind: &'static str, surface: Option<&str>, detail: String) {
        *self.by_kind.entry(kind).or_default() += 1;
        if self.listed.len() < LISTED_MAX {
            let surface = surface.map(str::to_owned);
            self.listed.push(HoleDocument { kind, surface, detail });
        }
    }

    /// Whether an instant lies before what was asked for.
    fn is_old(&self, last: TimeMs) -> bool {
        self.since.is_some_and(|since| last < since)
    }

    pub(super) fn no_policy(&mut self) {
        self.add("no_policy", None, "no policy is in force: everything is SILENCE".to_owned());
    }

    pub(super) fn owners(&mut self, unowned: &Unowned<'_>) {
        let without = unowned.without.iter().filter(|it| it.kind == "surfaces");
        for it in without {
            self.add("owner_missing", Some(&it.id), "nobody answers for it".to_owned());
        }
        for (it, who) in unowned.left.iter().filter(|(it, _)| it.kind == "surfaces") {
            self.add("owner_missing", Some(&it.id), format!("{who} has left"));
        }
    }

    pub(super) fn surface(&mut self, it: &CoveredSurface) {
        let name = Some(it.name.as_str());
        match &it.heard_last {
            // What is built in answers for itself, once it is used.
            _ if is_governed(&it.name) => {}
            None => {
                let detail = "no gate has ever used a permit or reported";
                self.add("surface_never_heard", name, detail.to_owned());
            }
            Some(last) if self.is_old(last.0) => {
                let detail = format!("no gate was heard since {}", last.0.rfc3339());
                self.add("surface_silent", name, detail);
            }
            Some(_) => {}
        }
        // People who administer are no gates that have to be heard.
        let gates = if is_governed(&it.name) { &[] } else { it.gates.as_slice() };
        for gate in gates {
            let actor = gate.actor.as_deref().unwrap_or_default();
            match &gate.heard_last {
                None => {
                    let detail = format!("{actor} was given permits and has used none");
                    self.add("gate_never_heard", name, detail);
                }
                Some(last) if self.is_old(last.0) => {
                    let detail = format!("{actor} was not heard since {}", last.0.rfc3339());
                    self.add("gate_silent", name, detail);
                }
                Some(_) => {}
            }
        }
        for (environment, reason) in &it.open_in {
            let detail = format!("gates may proceed without a decision in {environment}: {reason}");
            self.add("fail_open", name, detail);
        }
        self.counts(it);
    }

    /// What was counted, of a surface or of all that are not told apart.
    fn counts(&mut self, it: &CoveredSurface) {
        let name = Some(it.name.as_str());
        let passed = it.passages.open + it.passages.forbidden;
        if passed > 0 && it.passages.last.as_ref().is_none_or(|last| !self.is_old(last.0)) {
            let detail = format!(
                "{passed} effects without a decision, {} of them where the policy does not let them pass",
                it.passages.forbidden
            );
            self.add("ungoverned_passage", name, detail);
        }
        // What the plane does itself under a permit, nobody has to report.
        if it.outcome_unknown > 0 && !is_governed(&it.name) {
            let detail = format!("{} permits were used and never reported", it.outcome_unknown);
            self.add("outcome_unknown", name, detail);
        }
        if it.other_gates.is_some() {
            let detail = "it has more gates than are told apart";
            self.add("not_told_apart", name, detail.to_owned());
        }
    }

    pub(super) fn others(&mut self, others: Option<&CoveredSurface>) {
        let Some(others) = others else { return };
        if others.decisions.values().any(|count| *count > 0) {
            let detail = "there are more surfaces than are told apart";
            self.add("not_told_apart", None, detail.to_owned());
        }
        self.counts(others);
    }

    pub(super) fn unknown(&mut self, unknown: &UnknownSurfaces) {
        if unknown.last.as_ref().is_some_and(|last| !self.is_old(last.0)) {
            let detail = format!(
                "{} requests named a surface that the policy does not know",
                unknown.decisions
            );
            self.add("surface_unknown", None, detail);
        }
    }

    /// `count`: whether enough people have published them.
    pub(super) fn modes(&mut self, modes: &[Shadowed], count: bool) {
        let what = if count {
            "stop nothing"
        } else {
            "would stop nothing, had two people published this policy; it is enforced"
        };
        for mode in modes {
            let (surfaces, environments) = (mode.surfaces.join(", "), mode.environments.join(", "));
            let detail =
                format!("mode {}: decisions on {surfaces} in {environments} {what}", mode.id);
            self.add("shadowed", None, detail);
        }
    }

    /// What policy does not hold while it lasts, and what nobody has looked at.
    pub(super) fn exceptions(&mut self, seen: &Seen, names: &Names<'_>) {
        for it in &seen.ungoverned {
            let scope = &it.opened.scope;
            let (who, until) = (names.get(scope.actor.as_str()), it.opened.ends.rfc3339());
            let detail = format!("{}: no policy holds {who} until {until}", it.id());
            self.add("exception_ungoverned", Some(&scope.surface), detail);
        }
        for it in &seen.unreviewed {
            let (who, due) = (names.get(it.opened.owner.as_str()), it.due().rfc3339());
            let detail = format!("{}, which {who} owns, was to be reviewed by {due}", it.id());
            self.add("review_overdue", Some(&it.opened.scope.surface), detail);
        }
    }

    pub(super) fn rules(&mut self, rules: &CoveredRules) {
        for rule in &rules.never {
            let since = rules.since.0.rfc3339();
            let detail = format!("{} of {} has not matched since {since}", rule.id, rule.document);
            self.add("rule_never_matched", None, detail);
        }
        // Those that are not listed are counted all the same.
        let more = rules.declared - rules.matched - rules.never.len() as u64;
        if more > 0 {
            *self.by_kind.entry("rule_never_matched").or_default() += more;
        }
    }

    pub(super) fn done(self) -> (BTreeMap<&'static str, u64>, Vec<HoleDocument>) {
        (self.by_kind, self.listed)
    }
}
