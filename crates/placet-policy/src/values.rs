//! Which values a field can have, as far as the documents of a bundle tell, and what that says of a
//! comparison before any request. Sound, not complete: what is not known says nothing.

use crate::bundle::is_built_in;
use crate::condition::{Ast, AstNode, Op, render};
use crate::contract::Surface;
use crate::diagnostic::Code;
use crate::lint::pattern_covers;
use crate::model::{Match, MatchKey, Model, RiskTier};
use crate::pattern::Dialect;
use crate::references::{Declared, may_be_built_in};
use placet_types::ids::{ActorId, ActorKind, WorkspaceName, is_label};
use placet_types::json::{Number, Value};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// A value that an expression has for every request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant {
    Bool(bool),
    Int(i64),
    Text(String),
}

impl Constant {
    fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(Number::Int(value)) => Self::Int(*value),
            Value::String(text) => Self::Text(text.clone()),
            _ => return None,
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Text(text) => format!("{text:?}"),
        }
    }
}

/// The value of an expression that reads nothing, or that its constant parts decide alone.
pub(crate) fn constant(ast: &Ast) -> Option<Constant> {
    Some(match &ast.node {
        AstNode::Bool(value) => Constant::Bool(*value),
        AstNode::Int(value) => Constant::Int(*value),
        AstNode::Text(text) => Constant::Text(text.clone()),
        AstNode::Call(op, args) => return constant_call(*op, args),
        _ => return None,
    })
}

fn constant_call(op: Op, args: &[Ast]) -> Option<Constant> {
    let truth = |ast: &Ast| match constant(ast)? {
        Constant::Bool(value) => Some(value),
        _ => None,
    };
    let value = match (op, args) {
        // One decisive operand absorbs whatever the other comes to.
        (Op::And | Op::Or, [left, right]) => either(op, truth(left), truth(right))?,
        (Op::Not, [operand]) => !truth(operand)?,
        (Op::Neg, [operand]) => match constant(operand)? {
            Constant::Int(value) => return value.checked_neg().map(Constant::Int),
            _ => return None,
        },
        (Op::Ternary, [test, yes, no]) => {
            return constant(if truth(test)? { yes } else { no });
        }
        (_, [left, right]) => compared(op, &constant(left)?, &constant(right)?)?,
        _ => return None,
    };
    Some(Constant::Bool(value))
}

fn either(op: Op, left: Option<bool>, right: Option<bool>) -> Option<bool> {
    let decisive = op == Op::Or;
    if left == Some(decisive) || right == Some(decisive) {
        return Some(decisive);
    }
    left.and(right)
}

/// What a comparison of two values comes to; `None` where they cannot be compared, or it is none.
fn compared(op: Op, left: &Constant, right: &Constant) -> Option<bool> {
    let order = match (left, right) {
        (Constant::Int(a), Constant::Int(b)) => a.cmp(b),
        (Constant::Text(a), Constant::Text(b)) => match op {
            Op::Contains => return Some(a.contains(b.as_str())),
            Op::StartsWith => return Some(a.starts_with(b.as_str())),
            Op::EndsWith => return Some(a.ends_with(b.as_str())),
            _ => a.cmp(b),
        },
        (Constant::Bool(a), Constant::Bool(b)) => a.cmp(b),
        _ => return None,
    };
    Some(match op {
        Op::Eq => order.is_eq(),
        Op::Ne => order.is_ne(),
        Op::Lt => order.is_lt(),
        Op::Le => order.is_le(),
        Op::Gt => order.is_gt(),
        Op::Ge => order.is_ge(),
        _ => return None,
    })
}

/// The operator with its operands the other way round.
pub(crate) const fn turned(op: Op) -> Op {
    match op {
        Op::Lt => Op::Gt,
        Op::Le => Op::Ge,
        Op::Gt => Op::Lt,
        Op::Ge => Op::Le,
        other => other,
    }
}

/// Names, made when they are asked for.
type Names<'b> = Box<dyn Fn() -> Vec<&'b str> + 'b>;

/// Whether a text is of a kind at all.
type Fits<'b> = Box<dyn Fn(&str) -> bool + 'b>;

/// What is known of the values of a field.
enum Domain<'b> {
    /// One of these. `sure` where every request has one of them: a fact that no deriver finds has none.
    Finite { values: Vec<Constant>, sure: bool },
    /// Integers from and to, both among them; or numbers between them.
    Range { least: Option<i64>, most: Option<i64> },
    /// Texts of a kind, and the names that documents declare, if they do.
    Kind { fits: Fits<'b>, known: Option<Names<'b>>, what: &'static str },
}

/// Something to say of a comparison.
pub(crate) struct Odd {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// Most surfaces that are looked at for one field, and most comparisons of their names in all.
const SURFACES_MAX: usize = 256;
const NAMES_MAX: usize = 2_000_000;

/// What the documents of one bundle tell of values.
pub(crate) struct Values<'b> {
    model: &'b Model,
    declared: Declared<'b>,
    /// Values of the facts that derivers find; `None` where one is not known here.
    facts: BTreeMap<&'b str, Option<Vec<Constant>>>,
    names_left: Cell<usize>,
}

impl<'b> Values<'b> {
    pub(crate) fn of(model: &'b Model) -> Self {
        let mut facts: BTreeMap<&str, Option<Vec<Constant>>> = BTreeMap::new();
        for (name, value) in model.derivers.iter().flat_map(|it| it.facts.iter()) {
            let all = facts.entry(name).or_insert_with(|| Some(Vec::new()));
            match (Constant::of(value), all.as_mut()) {
                (Some(value), Some(all)) if !all.contains(&value) => all.push(value),
                (None, _) => *all = None,
                _ => {}
            }
        }
        let declared = Declared::of(model);
        Self { model, declared, facts, names_left: Cell::new(NAMES_MAX) }
    }

    /// What a condition comes to for every request that it can be evaluated for.
    pub(crate) fn truth(&self, ast: &Ast, matches: &Match) -> Option<bool> {
        if let Some(Constant::Bool(value)) = constant(ast) {
            return Some(value);
        }
        match &ast.node {
            AstNode::Call(op @ (Op::And | Op::Or), args) => {
                let [left, right] = args.as_slice() else { return None };
                either(*op, self.truth(left, matches), self.truth(right, matches))
            }
            AstNode::Call(Op::Not, args) => {
                let [operand] = args.as_slice() else { return None };
                self.truth(operand, matches).map(|it| !it)
            }
            AstNode::Call(Op::Ternary, args) => {
                let [test, yes, no] = args.as_slice() else { return None };
                let (yes, no) = (self.truth(yes, matches), self.truth(no, matches));
                match self.truth(test, matches) {
                    Some(test) => {
                        if test {
                            yes
                        } else {
                            no
                        }
                    }
                    None => yes.filter(|_| yes == no),
                }
            }
            _ => self.leaf(ast, matches).0,
        }
    }

    /// Everything that is odd about the comparisons of a condition.
    pub(crate) fn odd(&self, ast: &Ast, matches: &Match, out: &mut Vec<Odd>) {
        match &ast.node {
            AstNode::Call(Op::And | Op::Or | Op::Not | Op::Ternary, args) => {
                args.iter().for_each(|arg| self.odd(arg, matches, out));
            }
            _ => out.extend(self.leaf(ast, matches).1),
        }
    }

    fn never(&self, operand: &Ast, value: &Constant, domain: &Domain<'_>, unequal: bool) -> Odd {
        let (operand, text) = (render(operand), value.text());
        let so = if unequal { ", so this is always true" } else { "" };
        Odd {
            code: Code::ImpossibleValue,
            message: format!("`{operand}` is never {text}{so}"),
            hint: Some(domain.near(value, &self.declared).unwrap_or_else(|| domain.text())),
        }
    }

    /// The truth of one comparison, and what is odd about it.
    fn leaf(&self, ast: &Ast, matches: &Match) -> (Option<bool>, Vec<Odd>) {
        let AstNode::Call(op, args) = &ast.node else { return (None, Vec::new()) };
        let [left, right] = args.as_slice() else { return (None, Vec::new()) };
        if *op == Op::In {
            return self.among(left, right, matches);
        }
        let (operand, op, value) = match (constant(left), constant(right)) {
            (None, Some(value)) => (left, *op, value),
            (Some(value), None) if !matches!(op, Op::Contains | Op::StartsWith | Op::EndsWith) => {
                (right, turned(*op), value)
            }
            _ => return (None, Vec::new()),
        };
        let Some(domain) = self.domain(operand, matches) else { return (None, Vec::new()) };
        let truth = domain.truth(op, &value);
        let mut odd = Vec::new();
        match op {
            Op::Eq | Op::Ne => {
                if !domain.holds(&value) {
                    odd.push(self.never(operand, &value, &domain, op == Op::Ne));
                }
            }
            _ => {
                if let Some(truth) = truth {
                    let word = if truth { "always" } else { "never" };
                    odd.push(Odd {
                        code: Code::ImpossibleValue,
                        message: format!("`{}` is {word} true", render(ast)),
                        hint: Some(domain.text()),
                    });
                }
            }
        }
        (truth, odd)
    }

    /// `field in ["a", "b"]`, or `"a" in verified.roles`.
    fn among(&self, left: &Ast, right: &Ast, matches: &Match) -> (Option<bool>, Vec<Odd>) {
        let none = (None, Vec::new());
        if let (Some(Constant::Text(role)), Some(["verified", "roles"])) =
            (constant(left), path(right).as_deref())
        {
            let unknown = self.declared.roles.as_ref().filter(|it| !it.contains(role.as_str()));
            let odd = unknown.map(|names| {
                let near = self.declared.nearest(&role, names.iter().copied());
                let near = near.map(|near| format!("did you mean `{near}`?"));
                Odd {
                    code: Code::UndeclaredRole,
                    message: format!("`roles:` does not know the role `{role}`"),
                    hint: near.or_else(|| Some("declare it under `roles:`".to_owned())),
                }
            });
            return (None, odd.into_iter().collect());
        }
        let AstNode::List(items) = &right.node else { return none };
        let values: Option<Vec<Constant>> = items.iter().map(constant).collect();
        let (Some(values), Some(domain)) = (values, self.domain(left, matches)) else {
            return none;
        };
        let missing: Vec<&Constant> = values.iter().filter(|it| !domain.holds(it)).collect();
        let truth = if missing.len() == values.len() {
            Some(false)
        } else {
            match &domain {
                Domain::Finite { values: all, sure: true } => {
                    all.iter().all(|it| values.contains(it)).then_some(true)
                }
                _ => None,
            }
        };
        let odd = missing.iter().map(|value| self.never(left, value, &domain, false));
        (truth, odd.collect())
    }

    fn domain(&self, operand: &Ast, matches: &Match) -> Option<Domain<'_>> {
        if let AstNode::Call(Op::Size, _) = &operand.node {
            return Some(Domain::Range { least: Some(0), most: None });
        }
        let words = |words: &[&str]| Domain::Finite {
            values: words.iter().map(|it| Constant::Text((*it).to_owned())).collect(),
            sure: true,
        };
        let kind = |fits: fn(&str) -> bool, what| {
            Some(Domain::Kind { fits: Box::new(fits), known: None, what })
        };
        let path = path(operand)?;
        match path.as_slice() {
            ["verified", RiskTier::FACT] => Some(words(&RiskTier::WORDS)),
            ["verified", RiskTier::LEVEL] => Some(Domain::Range { least: Some(0), most: Some(3) }),
            ["verified", "actor_kind"] => {
                let all = [ActorKind::Agent, ActorKind::Service, ActorKind::Human];
                Some(words(&all.map(ActorKind::as_str)))
            }
            ["verified", "environment"] => {
                kind(is_label, "environments are lower-case letters, digits and -")
            }
            ["verified", "workspace"] => kind(
                |text| WorkspaceName::parse(text).is_some(),
                "workspaces are lower-case letters, digits and -",
            ),
            ["verified", "actor"] => {
                kind(|text| ActorId::parse(text).is_some(), "actors are kind:name")
            }
            ["verified", name] => {
                let values = self.facts.get(name)?.clone()?;
                Some(Domain::Finite { values, sure: false })
            }
            ["request", "surface"] => {
                let all = self.declared.surfaces.as_ref()?;
                Some(Domain::Kind {
                    fits: Box::new(|text| is_built_in(text) || all.binary_search(&text).is_ok()),
                    known: Some(Box::new(|| all.clone())),
                    what: "no document declares this surface",
                })
            }
            ["request", "capability"] => {
                named(self.declared.capabilities.as_ref()?, "it has no manifest")
            }
            ["request", "model"] => {
                named(self.declared.models.as_ref()?, "it is not on the allow list")
            }
            ["request", "arguments", rest @ ..] => {
                self.schemas(matches, rest, |it| it.arguments.as_ref().map(|it| it.normal()))
            }
            ["request", "context", rest @ ..] => {
                self.schemas(matches, rest, |it| it.context.as_ref().map(|it| it.normal()))
            }
            _ => None,
        }
    }

    /// What the schemas of all surfaces that a match is for say of a field together.
    fn schemas(
        &self,
        matches: &Match,
        path: &[&str],
        schema: fn(&Surface) -> Option<&Value>,
    ) -> Option<Domain<'_>> {
        let mut all: Option<Domain<'_>> = None;
        for surface in self.surfaces(matches)? {
            let one = member(schema(surface)?, path)?;
            all = Some(match all {
                None => one,
                Some(before) => before.or(one)?,
            });
        }
        all
    }

    /// The surfaces that a match is for; `None` where one of them may be without any contract.
    fn surfaces(&self, matches: &Match) -> Option<Vec<&'b Surface>> {
        let declared = self.model.surfaces.as_ref()?;
        let mut out = Vec::new();
        for pattern in matches.lists.get(&MatchKey::Surfaces)? {
            if may_be_built_in(pattern) {
                return None;
            }
            if !pattern.contains('*') {
                out.extend(declared.get(pattern));
                continue;
            }
            self.names_left.set(self.names_left.get().checked_sub(declared.len())?);
            let fits = |name: &&String| pattern_covers(Dialect::Dotted, pattern, name);
            out.extend(declared.iter().filter(|(name, _)| fits(name)).map(|(_, it)| it));
        }
        (!out.is_empty() && out.len() <= SURFACES_MAX).then_some(out)
    }
}

fn named<'s>(names: &'s BTreeSet<&'s str>, what: &'static str) -> Option<Domain<'s>> {
    let known: Names<'_> = Box::new(|| names.iter().copied().collect());
    Some(Domain::Kind { fits: Box::new(|text| names.contains(text)), known: Some(known), what })
}

/// What a schema in normal form says of the member at `path`.
fn member<'d>(schema: &Value, path: &[&str]) -> Option<Domain<'d>> {
    let list = |key: &str| schema.get(key).and_then(Value::as_array).unwrap_or_default();
    let here = match path.split_first() {
        None => values(schema),
        Some((first, rest)) => {
            schema.get("properties").and_then(|it| it.get(first)).and_then(|it| member(it, rest))
        }
    };
    // Of several demands one suffices; of several ways each has to be known.
    let all = || list("allOf").iter().find_map(|it| member(it, path));
    let ways = |key: &str| {
        let mut ways = list(key).iter().map(|it| member(it, path));
        let first = ways.next()??;
        ways.try_fold(first, |before, next| before.or(next?))
    };
    here.or_else(all).or_else(|| ways("anyOf")).or_else(|| ways("oneOf"))
}

fn values<'d>(schema: &Value) -> Option<Domain<'d>> {
    let listed = match (schema.get("enum"), schema.get("const")) {
        (Some(all), _) => Some(all.as_array()?.to_vec()),
        (None, Some(one)) => Some(vec![one.clone()]),
        (None, None) => None,
    };
    if let Some(listed) = listed {
        let values: Option<Vec<Constant>> = listed.iter().map(Constant::of).collect();
        return Some(Domain::Finite { values: values?, sure: true });
    }
    let int = |key: &str| schema.get(key).and_then(Value::as_i64);
    let whole = schema.get("type").and_then(Value::as_str) == Some("integer");
    // Of numbers with decimals the bound itself is what is known.
    let step = i64::from(whole);
    let least = int("minimum").max(int("exclusiveMinimum").map(|it| it.saturating_add(step)));
    let most = [int("maximum"), int("exclusiveMaximum").map(|it| it.saturating_sub(step))];
    let most = most.into_iter().flatten().min();
    (least.is_some() || most.is_some()).then_some(Domain::Range { least, most })
}

impl Domain<'_> {
    /// What holds of a value of either.
    fn or(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Finite { mut values, sure }, Self::Finite { values: more, sure: also }) => {
                values
                    .extend(more.into_iter().filter(|it| !values.contains(it)).collect::<Vec<_>>());
                Self::Finite { values, sure: sure && also }
            }
            (Self::Range { least: a, most: b }, Self::Range { least: c, most: d }) => {
                let least = a.zip(c).map(|(a, c)| a.min(c));
                let most = b.zip(d).map(|(b, d)| b.max(d));
                if least.is_none() && most.is_none() {
                    return None;
                }
                Self::Range { least, most }
            }
            _ => return None,
        })
    }

    /// Whether a value is among them; values of another type are left to the types.
    fn holds(&self, value: &Constant) -> bool {
        match (self, value) {
            (Self::Finite { values, .. }, value) => {
                let alike = values.iter().any(|it| compared(Op::Eq, it, value).is_some());
                !alike || values.contains(value)
            }
            (Self::Range { least, most }, Constant::Int(value)) => {
                least.is_none_or(|it| it <= *value) && most.is_none_or(|it| *value <= it)
            }
            (Self::Kind { fits, .. }, Constant::Text(text)) => fits(text),
            _ => true,
        }
    }

    /// What a comparison with a value comes to for all of them.
    fn truth(&self, op: Op, value: &Constant) -> Option<bool> {
        if matches!(op, Op::Eq | Op::Ne) && !self.holds(value) {
            // Where a fact may be missing, nothing is true of it for every request.
            let sure = !matches!(self, Self::Finite { sure: false, .. });
            return (sure || op == Op::Eq).then_some(op == Op::Ne);
        }
        match (self, value) {
            (Self::Finite { values, sure: true }, value) => {
                let mut all = values.iter().map(|it| compared(op, it, value));
                let first = all.next()??;
                all.all(|it| it == Some(first)).then_some(first)
            }
            (Self::Range { least, most }, Constant::Int(value)) => {
                let (low, high) = (least.map(|it| it.cmp(value)), most.map(|it| it.cmp(value)));
                let low = |test: fn(std::cmp::Ordering) -> bool| low.is_some_and(test);
                let high = |test: fn(std::cmp::Ordering) -> bool| high.is_some_and(test);
                use std::cmp::Ordering;
                let (always, never) = match op {
                    Op::Lt => (high(Ordering::is_lt), low(Ordering::is_ge)),
                    Op::Le => (high(Ordering::is_le), low(Ordering::is_gt)),
                    Op::Gt => (low(Ordering::is_gt), high(Ordering::is_le)),
                    Op::Ge => (low(Ordering::is_ge), high(Ordering::is_lt)),
                    _ => (false, false),
                };
                (always || never).then_some(always)
            }
            _ => None,
        }
    }

    /// What it is, for people.
    fn text(&self) -> String {
        match self {
            Self::Finite { values, .. } => {
                let texts: Vec<String> = values.iter().take(8).map(Constant::text).collect();
                let more = if values.len() > texts.len() { " and others" } else { "" };
                format!("its values are {}{more}", texts.join(", "))
            }
            Self::Range { least: Some(least), most: Some(most) } => {
                format!("it lies between {least} and {most}")
            }
            Self::Range { least: Some(least), .. } => format!("it is at least {least}"),
            Self::Range { most: Some(most), .. } => format!("it is at most {most}"),
            Self::Range { .. } => String::new(),
            Self::Kind { what, .. } => (*what).to_owned(),
        }
    }

    fn near(&self, value: &Constant, declared: &Declared<'_>) -> Option<String> {
        let Constant::Text(text) = value else { return None };
        let names: Vec<&str> = match self {
            Self::Finite { values, .. } => values
                .iter()
                .filter_map(|it| match it {
                    Constant::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            Self::Kind { known, .. } => known.as_ref().map(|names| names()).unwrap_or_default(),
            Self::Range { .. } => return None,
        };
        let lower = text.to_ascii_lowercase();
        let fits = matches!(self, Self::Kind { fits, .. } if lower != *text && fits(&lower));
        let near = declared.nearest(text, names.into_iter()).map(str::to_owned);
        near.or_else(|| fits.then_some(lower)).map(|near| format!("did you mean \"{near}\"?"))
    }
}

/// The names that lead to a field from its root: `request.arguments.amount`.
fn path(ast: &Ast) -> Option<Vec<&str>> {
    match &ast.node {
        AstNode::Name(name) => Some(vec![name]),
        AstNode::Member { of, field } => {
            let mut out = path(of)?;
            out.push(field);
            Some(out)
        }
        AstNode::Index { of, index } => {
            let AstNode::Text(name) = &index.node else { return None };
            let mut out = path(of)?;
            out.push(name);
            Some(out)
        }
        _ => None,
    }
}
