//! The trace of one request through every rule: which keys matched, what was wanted and found, what
//! each condition gave. Owns no matching of its own: it asks the index and the same conditions as
//! [`Bundle::evaluate`], only without skipping anything.

use crate::access;
use crate::bundle::{Bundle, Compiled, Scratch, force, limit_values};
use crate::condition::Facts;
use crate::contract::Demand;
use crate::derive::Derived;
use crate::index::{Mode, Reads, RuleKey, for_each_value};
use crate::standing::{self, Hinge, Standing};
use placet_types::json::{Object, Value};
use placet_types::nearest::nearest;
use placet_types::policy::{ConditionError, Force, Hit, RuleEffect, Verdict};
use placet_types::{Caller, Digest, Request};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What one key of a rule came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The request has a value that matches.
    Matched,
    /// The request has values, and none that matches.
    Differs,
    /// The request has no such value, so the key does not match.
    Absent,
}

impl Finding {
    /// `matched`, `differs`, `absent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Differs => "differs",
            Self::Absent => "absent",
        }
    }
}

/// One key of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClauseTrace {
    /// `topics`, `labels.team` and so on.
    pub key: Cow<'static, str>,
    /// The patterns of the rule.
    pub wanted: Vec<Arc<str>>,
    /// The values of the request.
    pub found: Vec<String>,
    /// What came of it.
    pub finding: Finding,
}

/// The condition of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionTrace {
    /// Its text.
    pub text: Arc<str>,
    /// Its truth, or why it has none.
    pub value: Result<bool, ConditionError>,
    /// The terms of its outermost `&&` or `||`, if it is one.
    pub clauses: Vec<(Arc<str>, Result<bool, ConditionError>)>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTrace {
    /// The rule.
    pub rule: Arc<RuleEffect>,
    /// Whether it is among the hits of the verdict, cleanly or with an error.
    pub matched: bool,
    /// Its keys.
    pub clauses: Vec<ClauseTrace>,
    /// Its condition, evaluated whether or not the keys match.
    pub condition: Option<ConditionTrace>,
    /// The values of its limit's key.
    pub limit_key: Option<Vec<Option<String>>>,
    /// For a rule that follows from another document: what it found.
    pub note: Option<String>,
    /// When it applies, once it has matched.
    pub force: Force,
    /// What its window or its `after:` looks at.
    pub hinge: Option<Hinge>,
    /// Whether it counts, where that is known.
    pub standing: Standing,
}

/// The whole explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The bundle.
    pub policy: Digest,
    /// Whether the bundle knows the surface; if not, no rule is asked.
    pub surface_known: bool,
    /// Whether a mode lets gates proceed whatever is decided.
    pub unenforced: bool,
    /// Derivers that applied, by id.
    pub derivers: Vec<String>,
    /// The risk tags that they added.
    pub derived_tags: Vec<String>,
    /// The facts that they found.
    pub derived_facts: Object,
    /// Every rule, and every demand of the other layers that concerns the request, sorted by layer and
    /// id. A demand matches where it is not met.
    pub rules: Vec<RuleTrace>,
    /// Rules that were not looked at, since the index did not bring them up.
    pub left_out: usize,
    /// For a surface that the bundle does not know: one that it does know and that is spelled nearly so.
    pub near_surface: Option<String>,
}

/// What derivers find out about a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Derivers that applied, by id.
    pub derivers: Vec<String>,
    /// The risk tags that they added.
    pub risk_tags: Vec<String>,
    /// The facts that they found.
    pub facts: Object,
}

impl Bundle {
    /// What derivers find out about a request, for people who look at it.
    #[must_use]
    pub fn findings(&self, request: &Request, caller: &Caller) -> Findings {
        let derived = self.derive(request, caller, &mut Scratch::default());
        let risk_tags = added_tags(&derived, request);
        Findings { derivers: derived.applied, risk_tags, facts: derived.facts }
    }

    /// Why each rule matched or not. Whether those that matched apply is known once the trace is
    /// [settled](Trace::settle).
    #[must_use]
    pub fn explain(&self, request: &Request, caller: &Caller) -> Trace {
        self.traced(request, caller, &mut Scratch::default(), false)
    }

    /// The same for the rules that the index brings up: those that matched or failed, and those that share
    /// with the request the key by which they are found. Costs by these, not by all rules; any other is
    /// explained by [`Bundle::explain_rule`].
    #[must_use]
    pub fn explain_near(&self, request: &Request, caller: &Caller, scratch: &mut Scratch) -> Trace {
        self.traced(request, caller, scratch, true)
    }

    /// One rule of `floor:`, `rules:` or `approvals:`, or one that follows from a manifest or a role.
    #[must_use]
    pub fn explain_rule(&self, request: &Request, caller: &Caller, id: &str) -> Option<RuleTrace> {
        let mut scratch = Scratch::default();
        let derived = self.derive(request, caller, &mut scratch);
        self.index().begin(&mut scratch);
        let facts = derived.facts(request, caller);
        let mut all = self.compiled().iter().zip(0_u32..);
        let (rule, number) = all.find(|(rule, _)| rule.effect.id == id)?;
        Some(explain_rule(self, rule, number, facts, &mut scratch))
    }

    fn traced(
        &self,
        request: &Request,
        caller: &Caller,
        scratch: &mut Scratch,
        near: bool,
    ) -> Trace {
        let surface_known = self.surface(&request.surface).known;
        let derived = self.derive(request, caller, scratch);
        let facts = derived.facts(request, caller);
        let entry = self.layers().surface(&request.surface);
        let mut rules: Vec<RuleTrace> = entry
            .iter()
            .flat_map(|entry| entry.demands)
            .map(|demand| explain_demand(demand, request))
            .collect();
        let mut left_out = 0;
        if surface_known {
            self.layers().demands().ask(facts, scratch, &mut rules);
            let all = self.compiled();
            if near {
                self.index().candidates(facts, scratch);
                let candidates = std::mem::take(&mut scratch.candidates);
                left_out = all.len().saturating_sub(candidates.len());
                rules.extend(candidates.iter().filter_map(|number| {
                    let rule = all.get(*number as usize)?;
                    Some(explain_rule(self, rule, *number, facts, scratch))
                }));
                scratch.candidates = candidates;
            } else {
                self.index().begin(scratch);
                let written = all.iter().zip(0_u32..);
                rules.extend(
                    written.map(|(rule, number)| explain_rule(self, rule, number, facts, scratch)),
                );
            }
        }
        rules.sort_by(|a, b| access::place(&a.rule).cmp(&access::place(&b.rule)));
        let near_surface = (!surface_known).then(|| {
            let known: Vec<&str> =
                self.model().surfaces.iter().flatten().map(|(name, _)| name.as_str()).collect();
            nearest(&request.surface, &known).map(str::to_owned)
        });
        let derived_tags = added_tags(&derived, request);
        let mut trace = Trace {
            policy: self.digest(),
            surface_known,
            unenforced: self.is_unenforced(&request.surface, &caller.environment),
            derived_tags,
            derivers: derived.applied,
            derived_facts: derived.facts,
            rules,
            left_out,
            near_surface: near_surface.flatten(),
        };
        trace.stand();
        trace
    }
}

fn added_tags(derived: &Derived, request: &Request) -> Vec<String> {
    let added = derived.request.as_ref().map(|with| with.risk_tags.difference(&request.risk_tags));
    added.into_iter().flatten().cloned().collect()
}

fn explain_demand(demand: &Demand, request: &Request) -> RuleTrace {
    let answer = demand.answer(request);
    RuleTrace {
        rule: demand.effect.clone(),
        matched: answer.force.is_some(),
        clauses: Vec::new(),
        condition: None,
        limit_key: None,
        note: Some(answer.note),
        force: answer.force.unwrap_or_default(),
        hinge: None,
        standing: Standing::default(),
    }
}

fn explain_rule(
    bundle: &Bundle,
    rule: &Compiled,
    number: u32,
    facts: Facts<'_>,
    scratch: &mut Scratch,
) -> RuleTrace {
    let clauses: Vec<ClauseTrace> = bundle
        .index()
        .rule_keys(number)
        .iter()
        .map(|key| explain_key(bundle, key, facts, scratch))
        .collect();
    let condition = rule.condition.as_ref().map(|condition| ConditionTrace {
        text: condition.text().clone(),
        value: condition.evaluate(facts),
        clauses: condition.clauses(facts),
    });
    let keys_match = clauses.iter().all(|clause| clause.finding == Finding::Matched);
    let truth = condition.as_ref().map_or(Ok(true), |condition| condition.value);
    RuleTrace {
        rule: rule.effect.clone(),
        matched: keys_match && truth != Ok(false),
        clauses,
        condition,
        limit_key: rule.limit_key.as_deref().map(|key| limit_values(key, facts)),
        note: None,
        force: force(&rule.effect),
        hinge: bundle.model().rules.get(number as usize).and_then(Hinge::of),
        standing: Standing::default(),
    }
}

pub(crate) fn explain_key(
    bundle: &Bundle,
    key: &RuleKey,
    facts: Facts<'_>,
    scratch: &mut Scratch,
) -> ClauseTrace {
    let index = bundle.index();
    let mut found = Vec::new();
    let mut name = Cow::Borrowed("");
    if let Some(reads) = index.reads(key) {
        for_each_value(reads, facts, |value| found.push(value.to_owned()));
        name = match (reads, key.mode) {
            (Reads::Key(_), Mode::All) => "risk_tags_all".into(),
            (Reads::Key(key), Mode::Any) => key.as_str().into(),
            (Reads::Label(label), _) => format!("labels.{label}").into(),
        };
    }
    let finding = if index.key_matches(key, facts, scratch) {
        Finding::Matched
    } else if found.is_empty() {
        Finding::Absent
    } else {
        Finding::Differs
    };
    let mut wanted = index.pattern_texts(key);
    wanted.sort();
    ClauseTrace { key: name, wanted, found, finding }
}

impl Trace {
    /// What [`Bundle::evaluate`] answers to the same request.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let hits = self.rules.iter().filter(|rule| rule.matched).map(|rule| Hit {
            rule: rule.rule.clone(),
            error: rule.condition.as_ref().and_then(|condition| condition.value.err()),
            limit_key: rule.limit_key.clone(),
            force: rule.force,
        });
        Verdict {
            policy: Some(self.policy),
            surface_known: self.surface_known,
            unenforced: self.unenforced,
            hits: hits.collect(),
            ..Verdict::default()
        }
    }

    fn derived(&self) -> Option<Object> {
        let texts =
            |items: &[String]| items.iter().map(|it| Value::from(it.as_str())).collect::<Vec<_>>();
        (!self.derivers.is_empty()).then(|| {
            Object::new()
                .with("by", texts(&self.derivers))
                .with("risk_tags", texts(&self.derived_tags))
                .with("facts", self.derived_facts.clone())
        })
    }

    /// As JSON, for machines.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let rules: Vec<Value> =
            self.rules.iter().map(|rule| Value::Object(rule_object(rule))).collect();
        Value::Object(
            Object::new()
                .with("policy", self.policy.to_string())
                .with("surface_known", self.surface_known)
                .with_opt("mode", self.unenforced.then_some("shadow"))
                .with_opt("did_you_mean", self.near_surface.as_deref())
                .with_opt("derived", self.derived())
                .with("rules", rules)
                .with_opt("left_out", u64::try_from(self.left_out).ok().filter(|it| *it > 0)),
        )
    }
}

fn truth_text(value: Result<bool, ConditionError>) -> &'static str {
    match value {
        Ok(true) => "true",
        Ok(false) => "false",
        Err(error) => error.as_str(),
    }
}

fn with_truth(object: Object, value: Result<bool, ConditionError>) -> Object {
    match value {
        Ok(value) => object.with("value", value),
        Err(error) => object.with("error", error.as_str()),
    }
}

fn rule_object(rule: &RuleTrace) -> Object {
    let texts = |items: &mut dyn Iterator<Item = &str>| items.map(Value::from).collect::<Vec<_>>();
    let clauses: Vec<Value> = rule
        .clauses
        .iter()
        .map(|clause| {
            let object = Object::new()
                .with("key", &*clause.key)
                .with("wanted", texts(&mut clause.wanted.iter().map(|it| &**it)))
                .with("found", texts(&mut clause.found.iter().map(String::as_str)))
                .with("finding", clause.finding.as_str());
            Value::Object(object)
        })
        .collect();
    let condition = rule.condition.as_ref().map(|condition| {
        let clauses: Vec<Value> = condition
            .clauses
            .iter()
            .map(|(text, value)| {
                Value::Object(with_truth(Object::new().with("text", &**text), *value))
            })
            .collect();
        let object = Object::new()
            .with("text", &*condition.text)
            .with_opt("clauses", (!clauses.is_empty()).then_some(clauses));
        with_truth(object, condition.value)
    });
    let limit_key = rule.limit_key.as_ref().map(|values| -> Vec<Value> {
        values.iter().map(|value| value.as_deref().map_or(Value::Null, Value::from)).collect()
    });
    let object = Object::new()
        .with("id", rule.rule.id.as_str())
        .with("layer", rule.rule.layer.as_str())
        .with("decision", rule.rule.effect.as_str())
        .with("matched", rule.matched);
    standing::members(rule, object)
        .with("clauses", clauses)
        .with_opt("condition", condition)
        .with_opt("limit_key", limit_key)
        .with_opt("note", rule.note.as_deref())
        .with_opt("advice", rule.rule.advice.then_some(true))
}

impl fmt::Display for Trace {
    /// For people: a line per rule, below it what kept the rule from matching, or what it asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "policy {}", self.policy)?;
        if !self.surface_known {
            let hint = self.near_surface.as_ref();
            let hint = hint.map_or(String::new(), |it| format!("; did you mean {it}?"));
            return writeln!(f, "the policy does not know this surface: no rule is asked{hint}");
        }
        if self.unenforced {
            let text = "mode shadow: gates proceed here whatever is decided, once two people have published this";
            writeln!(f, "{text}")?;
        }
        if !self.derivers.is_empty() {
            writeln!(f, "derived by {}", self.derivers.join(", "))?;
            for tag in &self.derived_tags {
                writeln!(f, "  + risk tag {tag}")?;
            }
            for (name, value) in self.derived_facts.iter() {
                let value = String::from_utf8_lossy(&value.to_canonical()).into_owned();
                writeln!(f, "  + verified.{name} = {value}")?;
            }
        }
        if self.rules.is_empty() {
            return writeln!(f, "the policy has no rules");
        }
        for rule in &self.rules {
            let error = rule.condition.as_ref().and_then(|condition| condition.value.err());
            let state = match (rule.matched, error) {
                (true, None) => "matched",
                (true, Some(_)) => "matched, condition failed",
                (false, _) => "not matched",
            };
            let (layer, id) = (rule.rule.layer.as_str(), &rule.rule.id);
            writeln!(f, "{layer} {id} ({}): {state}", rule.rule.effect.as_str())?;
            if let Some(why) = &rule.standing.why {
                let said =
                    if rule.standing.applies == Some(false) { "does not apply: " } else { "" };
                writeln!(f, "  * {said}{why}")?;
            }
            for clause in &rule.clauses {
                let wanted = clause.wanted.join(", ");
                match clause.finding {
                    Finding::Matched => writeln!(
                        f,
                        "  + {}: {} among {wanted}",
                        clause.key,
                        clause.found.join(", ")
                    )?,
                    Finding::Differs => writeln!(
                        f,
                        "  - {}: {}, wanted {wanted}",
                        clause.key,
                        clause.found.join(", ")
                    )?,
                    Finding::Absent => {
                        writeln!(f, "  - {}: the request has none, wanted {wanted}", clause.key)?
                    }
                }
            }
            if let Some(note) = &rule.note {
                writeln!(f, "  {} {note}", if rule.matched { '!' } else { '+' })?;
            }
            if let Some(condition) = &rule.condition {
                let sign = match condition.value {
                    Ok(true) => '+',
                    Ok(false) => '-',
                    Err(_) => '!',
                };
                writeln!(
                    f,
                    "  {sign} when: {} is {}",
                    condition.text,
                    truth_text(condition.value)
                )?;
                for (text, value) in &condition.clauses {
                    writeln!(f, "      {text} is {}", truth_text(*value))?;
                }
            }
        }
        Ok(())
    }
}
