//! The reference evaluator: a loop over all rules, globs by backtracking over split text, conditions
//! by walking the parsed tree over copied values. Shares the parsed model with the index and no
//! code of matching or evaluation; written to be obviously right, not to be fast.

mod contract;
mod layers;
mod mutant;

use crate::bundle::Bundle;
use crate::condition::{Ast, AstNode, Op};
use crate::derive::{Parsed, TestKind, VALUES_MAX};
use crate::model::{LimitKey, Match, MatchKey, RiskTier, Rule};
use crate::pattern::Dialect;
use placet_types::json::{Number, Object, Value as Json};
use placet_types::policy::{ConditionError, Effect, Force, Hit, Layer, Verdict};
use placet_types::{Caller, Request};
use std::cmp::Ordering;
use std::collections::BTreeMap;

pub use mutant::Mutant;

/// What [`Bundle::evaluate`] has to answer; with a mutant, what it must not.
#[must_use]
pub fn evaluate(
    bundle: &Bundle,
    request: &Request,
    caller: &Caller,
    mutant: Option<Mutant>,
) -> Verdict {
    let (request, derived) = derive(bundle, request, caller, mutant);
    let naive = Naive { request: &request, caller, derived: &derived, mutant };
    let surfaces = bundle.model().surfaces.as_ref();
    let built_in = ["execution", "job", "release.register", "alias.change"]
        .contains(&&*request.surface)
        || matches!(
            request.surface.split_once('.'),
            Some(("policy" | "override" | "role" | "key", _))
        );
    let surface_known =
        built_in || surfaces.is_none_or(|surfaces| surfaces.contains_key(&request.surface));
    let mut hits = Vec::new();
    if surface_known {
        // What a surface demands it demands of what the client sent, so before derivers.
        let contract = surfaces.and_then(|surfaces| surfaces.get(&naive.request.surface));
        if let Some(surface) = contract {
            hits.extend(naive.contract(bundle, surface));
        }
        hits.extend(naive.layers(bundle));
        // What follows from manifests and roles was told from these documents already.
        let written = |rule: &&Rule| rule.effect.layer != Layer::Access;
        for rule in bundle.model().rules.iter().filter(written) {
            hits.extend(naive.rule(rule));
            if mutant == Some(Mutant::FirstMatchWins) && !hits.is_empty() {
                break;
            }
        }
    }
    hits.sort_by(|a: &Hit, b: &Hit| (a.rule.layer, &a.rule.id).cmp(&(b.rule.layer, &b.rule.id)));
    let unenforced = naive.unenforced(bundle);
    let policy = Some(bundle.digest());
    Verdict { policy, surface_known, unenforced, hits, ..Verdict::default() }
}

/// The value of one condition, as text; for comparing with other evaluators.
#[must_use]
pub fn condition(bundle: &Bundle, request: &Request, caller: &Caller) -> Option<String> {
    let rule = bundle.model().rules.first()?;
    let (request, derived) = derive(bundle, request, caller, None);
    let naive = Naive { request: &request, caller, derived: &derived, mutant: None };
    let value = naive.value(rule.matches.when.as_ref()?.ast());
    Some(format!("{value:?}"))
}

/// The request with derived tags, and the derived facts.
fn derive(
    bundle: &Bundle,
    request: &Request,
    caller: &Caller,
    mutant: Option<Mutant>,
) -> (Request, Object) {
    let mut out = request.clone();
    let nothing = Object::new();
    let naive = Naive { request, caller, derived: &nothing, mutant: None };
    let mut found: BTreeMap<String, Vec<Option<Json>>> = BTreeMap::new();
    let mut levels = Vec::new();
    for deriver in &bundle.model().derivers {
        let Some(truth) = naive.matches(&deriver.matches) else { continue };
        // How many values pass, fail, and cannot be told.
        let [mut pass, mut fail, mut blind] = [0, 0, 0];
        if let Some((probe, tests)) = &deriver.read {
            let values = probe.values(request);
            if values.len() > VALUES_MAX {
                blind = 1;
            }
            for value in values.iter().take_while(|_| values.len() <= VALUES_MAX) {
                // By kind: whether any test passes, and whether any could read the value.
                let answers: BTreeMap<_, (bool, bool)> = tests
                    .iter()
                    .map(|(kind, all)| {
                        let asked = all.iter().map(|test| {
                            value.as_deref().and_then(|it| test.passes(&Parsed::new(it)))
                        });
                        let asked: Vec<_> = asked.collect();
                        (*kind, (asked.contains(&Some(true)), asked.iter().any(Option::is_some)))
                    })
                    .collect();
                let readable = |kind| answers.get(&kind).map(|(_, readable)| *readable);
                let host = match (readable(TestKind::Hosts), readable(TestKind::Networks)) {
                    (None, None) => true,
                    (one, other) => one == Some(true) || other == Some(true),
                };
                let others = [TestKind::Values, TestKind::Paths, TestKind::Regex];
                if answers.values().any(|(passes, _)| *passes) {
                    pass += 1;
                } else if host && others.iter().all(|kind| readable(*kind) != Some(false)) {
                    fail += 1;
                } else {
                    blind += 1;
                }
            }
        }
        if mutant == Some(Mutant::UnreadableIgnored) {
            blind = 0;
        }
        let nothing = pass + fail + blind == 0;
        let applies = match &deriver.read {
            None => true,
            Some(_) if nothing => deriver.missing,
            Some(_) => pass + blind > 0,
        };
        if !applies {
            continue;
        }
        if mutant != Some(Mutant::DerivedTagsIgnored) {
            out.risk_tags.extend(deriver.risk_tags.iter().cloned());
        }
        let some = fail + blind > 0 && mutant != Some(Mutant::AnyValueFound);
        let failed = truth.is_err() || some;
        levels.extend(deriver.risk_tier.map(|it| if failed { it.max(RiskTier::High) } else { it }));
        for (name, value) in deriver.facts.iter() {
            let value = (!failed).then(|| value.clone());
            found.entry(name.to_owned()).or_default().push(value);
        }
    }
    let mut facts = Object::new();
    for (name, values) in found {
        if let Some(Some(first)) = values.first()
            && (mutant == Some(Mutant::FirstFactBelieved)
                || values.iter().all(|value| value.as_ref() == Some(first)))
        {
            facts.set(name, first.clone());
        }
    }
    if let Some(tier) = levels.into_iter().max() {
        facts.set("risk_tier", tier.as_str());
        facts.set("risk_level", tier.level());
    }
    for (name, value) in request.found.facts.iter() {
        facts.set(name, value.clone());
    }
    (out, facts)
}

struct Naive<'a> {
    request: &'a Request,
    caller: &'a Caller,
    derived: &'a Object,
    mutant: Option<Mutant>,
}

impl Naive<'_> {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// `None` where it does not match, otherwise why its condition has no truth, if so.
    fn matches(&self, matches: &Match) -> Option<Result<(), ConditionError>> {
        let lists = matches.lists.iter().all(|(key, patterns)| self.list(*key, patterns));
        if !lists || !self.labels(&matches.labels) {
            return None;
        }
        match matches.when.as_ref().map(|condition| self.value(condition.ast())) {
            None | Some(Ok(Value::Bool(true))) => Some(Ok(())),
            Some(Ok(Value::Bool(false))) => None,
            Some(Ok(_)) => Some(Err(ConditionError::NotBoolean)),
            Some(Err(error)) => Some(Err(error)),
        }
    }

    fn rule(&self, rule: &Rule) -> Option<Hit> {
        let truth = self.matches(&rule.matches)?;
        if truth.is_err()
            && rule.effect.effect == Effect::Deny
            && self.is(Mutant::ErringDenyIgnored)
        {
            return None;
        }
        if truth.is_err()
            && rule.effect.layer == Layer::Approvals
            && self.is(Mutant::ErringApprovalIgnored)
        {
            return None;
        }
        let windowed = rule.effect.limit.is_some() || rule.effect.after.is_some();
        let limit_key = windowed.then(|| {
            if self.is(Mutant::LimitIgnored) {
                return Vec::new();
            }
            rule.limit_key.iter().map(|key| self.limit_value(key)).collect()
        });
        let asked = (rule.effect.schedule.is_some() || rule.effect.after.is_some())
            && !self.is(Mutant::TimelessForce);
        let force = if asked { Force::Asked } else { Force::Always };
        Some(Hit { rule: rule.effect.clone(), error: truth.err(), limit_key, force })
    }

    fn limit_value(&self, key: &LimitKey) -> Option<String> {
        let request = self.request;
        match key {
            LimitKey::Actor => Some(self.caller.actor.to_string()),
            LimitKey::Surface => Some(request.surface.clone()),
            LimitKey::Action => Some(request.action.clone()),
            LimitKey::Topic => request.topic.clone(),
            LimitKey::Target => request.target.clone(),
            LimitKey::Team => request.team.clone(),
            LimitKey::Capability => request.capability.clone(),
            LimitKey::Branch => request.branch.clone(),
            LimitKey::Model => request.model.clone(),
            LimitKey::Execution => request.execution.clone(),
            LimitKey::Workspace => Some(self.caller.workspace.to_string()),
            LimitKey::Environment => Some(self.caller.environment.clone()),
            LimitKey::Label(name) => request.labels.get(name).cloned(),
        }
    }

    fn list(&self, key: MatchKey, patterns: &[String]) -> bool {
        let request = self.request;
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let values: Vec<String> = match key {
            MatchKey::Topics => one(&request.topic),
            MatchKey::Surfaces => vec![request.surface.clone()],
            MatchKey::Actions => vec![request.action.clone()],
            MatchKey::Targets => one(&request.target),
            MatchKey::Actors => vec![self.caller.actor.to_string()],
            MatchKey::ActorKinds => vec![self.caller.actor.kind().as_str().to_owned()],
            MatchKey::RiskTags | MatchKey::RiskTagsAll => {
                request.risk_tags.iter().cloned().collect()
            }
            MatchKey::Roles => self.caller.roles.iter().cloned().collect(),
            MatchKey::Teams => one(&request.team),
            MatchKey::Capabilities => one(&request.capability),
            MatchKey::Branches => one(&request.branch),
            MatchKey::Models => one(&request.model),
            MatchKey::Environments => vec![self.caller.environment.clone()],
        };
        if values.is_empty() && self.is(Mutant::AbsentInverted) {
            return true;
        }
        let matches =
            |pattern: &String| values.iter().any(|value| self.glob(key.dialect(), pattern, value));
        if key == MatchKey::RiskTagsAll && !self.is(Mutant::AllMeansAny) {
            patterns.iter().all(matches)
        } else {
            patterns.iter().any(matches)
        }
    }

    fn labels(&self, labels: &BTreeMap<String, Vec<String>>) -> bool {
        let mut each = labels.iter().map(|(name, patterns)| {
            let value = self.request.labels.get(name);
            value.is_some_and(|value| {
                patterns.iter().any(|pattern| self.glob(Dialect::Text, pattern, value))
            })
        });
        if self.is(Mutant::AnyLabel) {
            labels.is_empty() || each.any(|it| it)
        } else {
            each.all(|it| it)
        }
    }

    fn glob(&self, dialect: Dialect, pattern: &str, value: &str) -> bool {
        let separators: &[char] = match dialect {
            Dialect::Dotted => &['.'],
            Dialect::Path => &['/'],
            Dialect::Actor => &[':', '/'],
            Dialect::Name | Dialect::Environment | Dialect::ActorKind | Dialect::Text => {
                return pattern == "*" || pattern == value;
            }
        };
        let pattern: Vec<&str> = pattern.split(separators).collect();
        let value: Vec<&str> = value.split(separators).collect();
        self.segments(&pattern, &value)
    }

    fn segments(&self, pattern: &[&str], value: &[&str]) -> bool {
        match (pattern, value) {
            ([], rest) => rest.is_empty(),
            (["**", pattern @ ..], rest) => {
                let least = usize::from(self.is(Mutant::ManyNeedsOne));
                (least..=rest.len())
                    .any(|skip| self.segments(pattern, rest.get(skip..).unwrap_or_default()))
            }
            (["*", pattern @ ..], [_, rest @ ..]) if self.is(Mutant::OneTakesMany) => (0..=rest
                .len())
                .any(|skip| self.segments(pattern, rest.get(skip..).unwrap_or_default())),
            (["*", pattern @ ..], [_, rest @ ..]) => self.segments(pattern, rest),
            ([want, pattern @ ..], [have, rest @ ..]) => {
                want == have && self.segments(pattern, rest)
            }
            _ => false,
        }
    }
}

/// A copied value.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

type Outcome<T> = Result<T, ConditionError>;

impl Naive<'_> {
    fn root(&self, root: &str) -> BTreeMap<String, Value> {
        let text = |text: &str| Value::Text(text.to_owned());
        let texts = |items: Vec<String>| Value::List(items.into_iter().map(Value::Text).collect());
        let (request, caller) = (self.request, self.caller);
        let mut out = BTreeMap::new();
        if root == "verified" {
            out.insert("actor".into(), text(caller.actor.as_str()));
            out.insert("actor_kind".into(), text(caller.actor.kind().as_str()));
            out.insert("environment".into(), text(&caller.environment));
            out.insert("roles".into(), texts(caller.roles.iter().cloned().collect()));
            out.insert("workspace".into(), text(caller.workspace.as_str()));
            for (name, value) in self.derived.iter() {
                out.insert(name.to_owned(), copy(value));
            }
            return out;
        }
        out.insert("surface".into(), text(&request.surface));
        out.insert("action".into(), text(&request.action));
        let optional = [
            ("topic", &request.topic),
            ("target", &request.target),
            ("capability", &request.capability),
            ("branch", &request.branch),
            ("team", &request.team),
            ("execution", &request.execution),
            ("step", &request.step),
            ("model", &request.model),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                out.insert(name.into(), text(value));
            }
        }
        if let Some(arguments) = &request.arguments {
            out.insert("arguments".into(), copy(arguments));
        }
        if let Some(context) = &request.context {
            out.insert("context".into(), copy(&Json::Object(context.clone())));
        }
        out.insert("risk_tags".into(), texts(request.risk_tags.iter().cloned().collect()));
        let labels = request.labels.iter().map(|(name, value)| (name.clone(), text(value)));
        out.insert("labels".into(), Value::Map(labels.collect()));
        let estimate =
            request.estimate.iter().map(|(unit, value)| (unit.clone(), Value::Int(value.0)));
        out.insert("estimate".into(), Value::Map(estimate.collect()));
        let chain = request.on_behalf_of.iter().map(ToString::to_string).collect();
        out.insert("on_behalf_of".into(), texts(chain));
        out
    }

    fn value(&self, ast: &Ast) -> Outcome<Value> {
        match &ast.node {
            AstNode::Bool(value) => Ok(Value::Bool(*value)),
            AstNode::Int(value) => Ok(Value::Int(*value)),
            AstNode::Double(value) => Ok(Value::Double(*value)),
            AstNode::Text(text) => Ok(Value::Text(text.clone())),
            AstNode::Name(name) => Ok(Value::Map(self.root(name))),
            AstNode::Member { of, field } => match self.value(of)? {
                Value::Map(map) => map.get(field).cloned().ok_or(ConditionError::Missing),
                _ => Err(ConditionError::Type),
            },
            AstNode::Has { of, field } => match self.value(of)? {
                Value::Map(map) => Ok(Value::Bool(map.contains_key(field))),
                _ => Err(ConditionError::Type),
            },
            AstNode::Index { of, index } => match (self.value(of)?, self.value(index)?) {
                (Value::Map(map), Value::Text(key)) => {
                    map.get(&key).cloned().ok_or(ConditionError::Missing)
                }
                (Value::List(items), Value::Int(at)) => usize::try_from(at)
                    .ok()
                    .and_then(|at| items.get(at).cloned())
                    .ok_or(ConditionError::Missing),
                _ => Err(ConditionError::Type),
            },
            AstNode::List(items) => {
                let values: Outcome<Vec<Value>> =
                    items.iter().map(|item| self.value(item)).collect();
                Ok(Value::List(values?))
            }
            AstNode::Call(op, args) => self.call(*op, args),
        }
    }

    fn truth(&self, ast: &Ast) -> Outcome<bool> {
        match self.value(ast)? {
            Value::Bool(value) => Ok(value),
            _ => Err(ConditionError::Type),
        }
    }

    fn call(&self, op: Op, args: &[Ast]) -> Outcome<Value> {
        match (op, args) {
            (Op::And | Op::Or, [left, right]) => {
                let decisive = op == Op::Or;
                let left = self.truth(left);
                if left.is_err() && self.is(Mutant::NoAbsorption) {
                    return left.map(Value::Bool);
                }
                let right = self.truth(right);
                if left == Ok(decisive) || right == Ok(decisive) {
                    return Ok(Value::Bool(decisive));
                }
                left?;
                right.map(Value::Bool)
            }
            (Op::Ternary, [test, yes, no]) => {
                if self.truth(test)? {
                    self.value(yes)
                } else {
                    self.value(no)
                }
            }
            (Op::Not, [operand]) => Ok(Value::Bool(!self.truth(operand)?)),
            (Op::Neg, [operand]) => match self.value(operand)? {
                Value::Int(value) => {
                    value.checked_neg().map(Value::Int).ok_or(ConditionError::Arithmetic)
                }
                _ => Err(ConditionError::Type),
            },
            (Op::Size, [operand]) => {
                let size = match self.value(operand)? {
                    Value::Text(text) => text.chars().count(),
                    Value::List(items) => items.len(),
                    Value::Map(map) => map.len(),
                    _ => return Err(ConditionError::Type),
                };
                Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
            }
            (_, [left, right]) => self.binary(op, self.value(left)?, self.value(right)?),
            _ => Err(ConditionError::Type),
        }
    }

    fn binary(&self, op: Op, left: Value, right: Value) -> Outcome<Value> {
        let checked = |value: Option<i64>| value.map(Value::Int).ok_or(ConditionError::Arithmetic);
        let boolean = |value: bool| Ok(Value::Bool(value));
        match (op, &left, &right) {
            (Op::Add, Value::Int(a), Value::Int(b)) => checked(a.checked_add(*b)),
            (Op::Sub, Value::Int(a), Value::Int(b)) => checked(a.checked_sub(*b)),
            (Op::Mul, Value::Int(a), Value::Int(b)) => checked(a.checked_mul(*b)),
            (Op::Div, Value::Int(a), Value::Int(b)) => checked(a.checked_div(*b)),
            (Op::Rem, Value::Int(a), Value::Int(b)) => checked(a.checked_rem(*b)),
            (Op::Contains, Value::Text(a), Value::Text(b)) => boolean(a.contains(b.as_str())),
            (Op::StartsWith, Value::Text(a), Value::Text(b)) => boolean(a.starts_with(b.as_str())),
            (Op::EndsWith, Value::Text(a), Value::Text(b)) => boolean(a.ends_with(b.as_str())),
            (Op::Eq, ..) => boolean(self.equal(&left, &right)?),
            (Op::Ne, ..) => boolean(!self.equal(&left, &right)?),
            (Op::Lt, ..) => boolean(self.order(&left, &right)? == Ordering::Less),
            (Op::Le, ..) => boolean(self.order(&left, &right)? != Ordering::Greater),
            (Op::Gt, ..) => boolean(self.order(&left, &right)? == Ordering::Greater),
            (Op::Ge, ..) => boolean(self.order(&left, &right)? != Ordering::Less),
            (Op::In, Value::Text(key), Value::Map(map)) => boolean(map.contains_key(key)),
            (Op::In, _, Value::List(items)) => {
                let found: Vec<_> = items.iter().map(|item| self.equal(&left, item)).collect();
                if found.contains(&Ok(true)) {
                    return boolean(true);
                }
                found.into_iter().find(Result::is_err).unwrap_or(Ok(false)).map(Value::Bool)
            }
            _ => Err(ConditionError::Type),
        }
    }

    fn order(&self, left: &Value, right: &Value) -> Outcome<Ordering> {
        #[expect(clippy::cast_precision_loss, reason = "what this mutant is about")]
        let double = |value: &Value| match value {
            Value::Int(value) => Some(*value as f64),
            Value::Double(value) => Some(*value),
            _ => None,
        };
        if self.is(Mutant::IntegersAsDoubles)
            && let (Some(a), Some(b)) = (double(left), double(right))
        {
            return Ok(a.total_cmp(&b));
        }
        match (left, right) {
            (Value::Text(a), Value::Text(b)) => Ok(a.as_bytes().cmp(b.as_bytes())),
            _ => match (decimal(left), decimal(right)) {
                (Some(a), Some(b)) => Ok(compare_decimals(&a, &b)),
                _ => Err(ConditionError::Type),
            },
        }
    }

    fn equal(&self, left: &Value, right: &Value) -> Outcome<bool> {
        let all = |pairs: Vec<Outcome<bool>>| {
            if pairs.contains(&Ok(false)) {
                return Ok(false);
            }
            pairs.into_iter().find(Result::is_err).unwrap_or(Ok(true))
        };
        match (left, right) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            (Value::List(a), Value::List(b)) if a.len() != b.len() => Ok(false),
            (Value::List(a), Value::List(b)) => {
                all(a.iter().zip(b).map(|(a, b)| self.equal(a, b)).collect())
            }
            (Value::Map(a), Value::Map(b)) if !a.keys().eq(b.keys()) => Ok(false),
            (Value::Map(a), Value::Map(b)) => {
                all(a.values().zip(b.values()).map(|(a, b)| self.equal(a, b)).collect())
            }
            _ => match self.order(left, right) {
                Err(ConditionError::Type) if self.is(Mutant::UnequalTypes) => Ok(false),
                other => other.map(|order| order == Ordering::Equal),
            },
        }
    }
}

fn copy(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(Number::Int(value)) => Value::Int(*value),
        Json::Number(Number::Double(value)) => Value::Double(*value),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(copy).collect()),
        Json::Object(object) => {
            Value::Map(object.iter().map(|(key, value)| (key.to_owned(), copy(value))).collect())
        }
    }
}

/// A number as sign, digits before and digits after the point: every finite double has such a form.
struct Decimal {
    negative: bool,
    whole: String,
    fraction: String,
}

fn decimal(value: &Value) -> Option<Decimal> {
    // `{:.1100}` writes the exact decimal value of any double.
    let text = match value {
        Value::Int(value) => value.to_string(),
        Value::Double(value) => format!("{value:.1100}"),
        _ => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let negative = whole.starts_with('-');
    let whole = whole.trim_start_matches(['-', '0']).to_owned();
    let fraction = fraction.trim_end_matches('0').to_owned();
    let zero = whole.is_empty() && fraction.is_empty();
    Some(Decimal { negative: negative && !zero, whole, fraction })
}

fn compare_decimals(a: &Decimal, b: &Decimal) -> Ordering {
    let magnitude =
        (a.whole.len(), &a.whole, &a.fraction).cmp(&(b.whole.len(), &b.whole, &b.fraction));
    match (a.negative, b.negative) {
        (false, false) => magnitude,
        (true, true) => magnitude.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}
