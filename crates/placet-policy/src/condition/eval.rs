//! Evaluates a lowered condition over one request. Owns the values and their comparison; total:
//! every failure is a [`ConditionError`], and the work is bounded.

use super::{Expr, Field, Op};
use placet_types::json::{self, Number, Object};
use placet_types::policy::ConditionError;
use placet_types::{Caller, Request};
use std::cmp::Ordering;

/// What conditions and keys read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a Request,
    pub(crate) caller: &'a Caller,
    /// What derivers have found, by name.
    pub(crate) derived: &'a Object,
}

/// A value. Text and structure are borrowed from the request or the condition.
#[derive(Clone, Debug)]
enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a str),
    List(Vec<Value<'a>>),
    Array(&'a [json::Value]),
    Field(&'a Request, &'a Caller, Field),
    Object(&'a Object),
}

/// Most steps of one evaluation: a node of the tree, an element compared, 256 bytes of text.
const STEPS_MAX: u32 = 20_000;

type Outcome<T> = Result<T, ConditionError>;

pub(super) fn evaluate(expr: &Expr, facts: Facts<'_>) -> Outcome<bool> {
    match (Run { facts, steps: STEPS_MAX }).value(expr)? {
        Value::Bool(value) => Ok(value),
        _ => Err(ConditionError::NotBoolean),
    }
}

struct Run<'a> {
    facts: Facts<'a>,
    steps: u32,
}

impl<'a> Run<'a> {
    fn spend(&mut self, steps: usize) -> Outcome<()> {
        let steps = u32::try_from(steps).map_err(|_| ConditionError::Bound)?;
        self.steps = self.steps.checked_sub(steps).ok_or(ConditionError::Bound)?;
        Ok(())
    }

    fn value(&mut self, expr: &'a Expr) -> Outcome<Value<'a>> {
        self.spend(1)?;
        match expr {
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Int(value) => Ok(Value::Int(*value)),
            Expr::Double(value) => Ok(Value::Double(*value)),
            Expr::Text(text) => Ok(Value::Text(text)),
            Expr::Field(field) => self.field(*field).ok_or(ConditionError::Missing),
            Expr::Derived(name) => {
                self.facts.derived.get(name).map(of_json).ok_or(ConditionError::Missing)
            }
            Expr::HasDerived(name) => Ok(Value::Bool(self.facts.derived.get(name).is_some())),
            Expr::HasField(field) => Ok(Value::Bool(self.field(*field).is_some())),
            Expr::Member(of, name) => {
                let of = self.value(of)?;
                member(&of, name)?.ok_or(ConditionError::Missing)
            }
            Expr::Has(of, name) => {
                let of = self.value(of)?;
                Ok(Value::Bool(member(&of, name)?.is_some()))
            }
            Expr::Index(of, index) => {
                let of = self.value(of)?;
                let index = self.value(index)?;
                element(&of, &index)
            }
            Expr::List(items) => {
                let values = items.iter().map(|item| self.value(item));
                Ok(Value::List(values.collect::<Outcome<_>>()?))
            }
            Expr::And(left, right) => self.absorb(left, right, false),
            Expr::Or(left, right) => self.absorb(left, right, true),
            Expr::Not(operand) => Ok(Value::Bool(!self.truth(operand)?)),
            Expr::Neg(operand) => match self.value(operand)? {
                Value::Int(value) => {
                    value.checked_neg().map(Value::Int).ok_or(ConditionError::Arithmetic)
                }
                _ => Err(ConditionError::Type),
            },
            Expr::Ternary(parts) => {
                let [test, yes, no] = &**parts;
                if self.truth(test)? { self.value(yes) } else { self.value(no) }
            }
            Expr::Size(operand) => {
                let operand = self.value(operand)?;
                self.size(&operand)
            }
            Expr::Binary(op, left, right) => {
                let left = self.value(left)?;
                let right = self.value(right)?;
                self.binary(*op, &left, &right)
            }
        }
    }

    fn truth(&mut self, expr: &'a Expr) -> Outcome<bool> {
        match self.value(expr)? {
            Value::Bool(value) => Ok(value),
            _ => Err(ConditionError::Type),
        }
    }

    /// CEL's `&&` (`decisive` false) and `||` (true): a decisive operand absorbs the other's error.
    fn absorb(&mut self, left: &'a Expr, right: &'a Expr, decisive: bool) -> Outcome<Value<'a>> {
        match self.truth(left) {
            Ok(value) if value == decisive => Ok(Value::Bool(decisive)),
            Ok(_) => self.truth(right).map(Value::Bool),
            // The bound is on all work, so nothing absorbs it.
            Err(ConditionError::Bound) => Err(ConditionError::Bound),
            Err(error) => match self.truth(right) {
                Ok(value) if value == decisive => Ok(Value::Bool(decisive)),
                Err(ConditionError::Bound) => Err(ConditionError::Bound),
                _ => Err(error),
            },
        }
    }

    fn field(&self, field: Field) -> Option<Value<'a>> {
        let Facts { request, caller, .. } = self.facts;
        let text = |text: &'a Option<String>| text.as_deref().map(Value::Text);
        match field {
            Field::Surface => Some(Value::Text(&request.surface)),
            Field::Action => Some(Value::Text(&request.action)),
            Field::Topic => text(&request.topic),
            Field::Target => text(&request.target),
            Field::Arguments => request.arguments.as_ref().map(of_json),
            Field::Context => request.context.as_ref().map(Value::Object),
            Field::Capability => text(&request.capability),
            Field::Branch => text(&request.branch),
            Field::Team => text(&request.team),
            Field::Execution => text(&request.execution),
            Field::Step => text(&request.step),
            Field::Model => text(&request.model),
            Field::Actor => Some(Value::Text(caller.actor.as_str())),
            Field::ActorKind => Some(Value::Text(caller.actor.kind().as_str())),
            Field::Environment => Some(Value::Text(&caller.environment)),
            Field::Workspace => Some(Value::Text(caller.workspace.as_str())),
            Field::RiskTags
            | Field::Labels
            | Field::Estimate
            | Field::OnBehalfOf
            | Field::Roles => Some(Value::Field(request, caller, field)),
        }
    }

    fn size(&mut self, value: &Value<'a>) -> Outcome<Value<'a>> {
        let size = match value {
            Value::Text(text) => {
                self.spend(text.len() >> 8)?;
                text.chars().count()
            }
            _ => match kind(value) {
                Kind::List => list_len(value),
                Kind::Map => map_len(value),
                _ => return Err(ConditionError::Type),
            },
        };
        i64::try_from(size).map(Value::Int).map_err(|_| ConditionError::Arithmetic)
    }

    fn binary(&mut self, op: Op, left: &Value<'a>, right: &Value<'a>) -> Outcome<Value<'a>> {
        match op {
            Op::Eq => self.equal(left, right).map(Value::Bool),
            Op::Ne => self.equal(left, right).map(|equal| Value::Bool(!equal)),
            Op::Lt => self.order(left, right).map(|order| Value::Bool(order.is_lt())),
            Op::Le => self.order(left, right).map(|order| Value::Bool(order.is_le())),
            Op::Gt => self.order(left, right).map(|order| Value::Bool(order.is_gt())),
            Op::Ge => self.order(left, right).map(|order| Value::Bool(order.is_ge())),
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => arithmetic(op, left, right),
            Op::In => self.contains(left, right).map(Value::Bool),
            Op::Contains | Op::StartsWith | Op::EndsWith => {
                let (Value::Text(text), Value::Text(part)) = (left, right) else {
                    return Err(ConditionError::Type);
                };
                self.spend(text.len().saturating_add(part.len()) >> 8)?;
                Ok(Value::Bool(match op {
                    Op::Contains => text.contains(part),
                    Op::StartsWith => text.starts_with(part),
                    _ => text.ends_with(part),
                }))
            }
            // The checker builds none of these as a binary.
            Op::And | Op::Or | Op::Not | Op::Neg | Op::Ternary | Op::Size => {
                Err(ConditionError::Type)
            }
        }
    }

    fn order(&mut self, left: &Value<'a>, right: &Value<'a>) -> Outcome<Ordering> {
        match (left, right) {
            (Value::Text(a), Value::Text(b)) => {
                self.spend(a.len().min(b.len()) >> 8)?;
                Ok(a.cmp(b))
            }
            _ => compare_numbers(left, right).ok_or(ConditionError::Type),
        }
    }

    /// Equality of one type. Values of different types are neither equal nor unequal but an error;
    /// lists and maps are equal when their elements are, where one that differs absorbs errors.
    fn equal(&mut self, left: &Value<'a>, right: &Value<'a>) -> Outcome<bool> {
        self.spend(1)?;
        if let (Value::Text(a), Value::Text(b)) = (left, right) {
            self.spend(a.len().min(b.len()) >> 8)?;
            return Ok(a == b);
        }
        match (kind(left), kind(right)) {
            (Kind::Null, Kind::Null) => Ok(true),
            (Kind::Bool, Kind::Bool) => {
                Ok(matches!((left, right), (Value::Bool(a), Value::Bool(b)) if a == b))
            }
            (Kind::Number, Kind::Number) => {
                Ok(compare_numbers(left, right) == Some(Ordering::Equal))
            }
            (Kind::List, Kind::List) => {
                let length = list_len(left);
                if length != list_len(right) {
                    return Ok(false);
                }
                self.all_equal((0..length).map(|at| (list_get(left, at), list_get(right, at))))
            }
            (Kind::Map, Kind::Map) => {
                let keys = map_keys(left);
                if keys.len() != map_len(right)
                    || keys.iter().any(|key| map_get(right, key).is_none())
                {
                    return Ok(false);
                }
                self.all_equal(keys.iter().map(|key| (map_get(left, key), map_get(right, key))))
            }
            _ => Err(ConditionError::Type),
        }
    }

    fn all_equal(
        &mut self,
        pairs: impl Iterator<Item = (Option<Value<'a>>, Option<Value<'a>>)>,
    ) -> Outcome<bool> {
        let mut failed = None;
        for pair in pairs {
            let (Some(left), Some(right)) = pair else { return Ok(false) };
            match self.equal(&left, &right) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(ConditionError::Bound) => return Err(ConditionError::Bound),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(true), Err)
    }

    /// `x in list` is `x == a || x == b …`; `x in map` asks for a key.
    fn contains(&mut self, left: &Value<'a>, right: &Value<'a>) -> Outcome<bool> {
        match kind(right) {
            Kind::Map => match left {
                Value::Text(key) => Ok(map_get(right, key).is_some()),
                _ => Err(ConditionError::Type),
            },
            Kind::List => {
                let mut failed = None;
                for at in 0..list_len(right) {
                    let Some(item) = list_get(right, at) else { break };
                    match self.equal(left, &item) {
                        Ok(true) => return Ok(true),
                        Ok(false) => {}
                        Err(ConditionError::Bound) => return Err(ConditionError::Bound),
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
                failed.map_or(Ok(false), Err)
            }
            _ => Err(ConditionError::Type),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Map,
}

fn kind(value: &Value<'_>) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) | Value::Double(_) => Kind::Number,
        Value::Text(_) => Kind::Text,
        Value::List(_) | Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Map,
        Value::Field(_, _, Field::Labels | Field::Estimate) => Kind::Map,
        Value::Field(..) => Kind::List,
    }
}

fn of_json(value: &json::Value) -> Value<'_> {
    match value {
        json::Value::Null => Value::Null,
        json::Value::Bool(value) => Value::Bool(*value),
        json::Value::Number(Number::Int(value)) => Value::Int(*value),
        json::Value::Number(Number::Double(value)) => Value::Double(*value),
        json::Value::String(text) => Value::Text(text),
        json::Value::Array(items) => Value::Array(items),
        json::Value::Object(object) => Value::Object(object),
    }
}

fn member<'a>(of: &Value<'a>, name: &str) -> Outcome<Option<Value<'a>>> {
    match kind(of) {
        Kind::Map => Ok(map_get(of, name)),
        _ => Err(ConditionError::Type),
    }
}

fn element<'a>(of: &Value<'a>, index: &Value<'a>) -> Outcome<Value<'a>> {
    match (kind(of), index) {
        (Kind::List, Value::Int(at)) => {
            let at = usize::try_from(*at).map_err(|_| ConditionError::Missing)?;
            list_get(of, at).ok_or(ConditionError::Missing)
        }
        (Kind::Map, Value::Text(key)) => map_get(of, key).ok_or(ConditionError::Missing),
        _ => Err(ConditionError::Type),
    }
}

fn list_len(list: &Value<'_>) -> usize {
    match list {
        Value::List(items) => items.len(),
        Value::Array(items) => items.len(),
        Value::Field(request, _, Field::RiskTags) => request.risk_tags.len(),
        Value::Field(request, _, Field::OnBehalfOf) => request.on_behalf_of.len(),
        Value::Field(_, caller, Field::Roles) => caller.roles.len(),
        _ => 0,
    }
}

fn list_get<'a>(list: &Value<'a>, at: usize) -> Option<Value<'a>> {
    match list {
        Value::List(items) => items.get(at).cloned(),
        Value::Array(items) => items.get(at).map(of_json),
        Value::Field(request, _, Field::RiskTags) => {
            request.risk_tags.iter().nth(at).map(|tag| Value::Text(tag))
        }
        Value::Field(request, _, Field::OnBehalfOf) => {
            request.on_behalf_of.get(at).map(|actor| Value::Text(actor.as_str()))
        }
        Value::Field(_, caller, Field::Roles) => {
            caller.roles.iter().nth(at).map(|role| Value::Text(role))
        }
        _ => None,
    }
}

fn map_len(map: &Value<'_>) -> usize {
    match map {
        Value::Object(object) => object.len(),
        Value::Field(request, _, Field::Labels) => request.labels.len(),
        Value::Field(request, _, Field::Estimate) => request.estimate.len(),
        _ => 0,
    }
}

fn map_keys<'a>(map: &Value<'a>) -> Vec<&'a str> {
    match map {
        Value::Object(object) => object.iter().map(|(key, _)| key).collect(),
        Value::Field(request, _, Field::Labels) => {
            request.labels.keys().map(String::as_str).collect()
        }
        Value::Field(request, _, Field::Estimate) => {
            request.estimate.keys().map(String::as_str).collect()
        }
        _ => Vec::new(),
    }
}

fn map_get<'a>(map: &Value<'a>, key: &str) -> Option<Value<'a>> {
    match map {
        Value::Object(object) => object.get(key).map(of_json),
        Value::Field(request, _, Field::Labels) => {
            request.labels.get(key).map(|value| Value::Text(value))
        }
        Value::Field(request, _, Field::Estimate) => {
            request.estimate.get(key).map(|amount| Value::Int(amount.0))
        }
        _ => None,
    }
}

fn compare_numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Double(b)) => Some(compare_int_double(*a, *b)),
        (Value::Double(a), Value::Int(b)) => Some(compare_int_double(*b, *a).reverse()),
        _ => None,
    }
}

/// Exact order of an integer and a finite double.
fn compare_int_double(int: i64, double: f64) -> Ordering {
    // 2^63 is exact as a double; beyond it no i64 can reach.
    if double >= 9_223_372_036_854_775_808.0 {
        return Ordering::Less;
    }
    if double < -9_223_372_036_854_775_808.0 {
        return Ordering::Greater;
    }
    let whole = double.trunc();
    #[expect(clippy::cast_possible_truncation, reason = "within i64 by the two checks above")]
    let order = int.cmp(&(whole as i64));
    order.then_with(|| 0.0_f64.partial_cmp(&(double - whole)).unwrap_or(Ordering::Equal))
}

fn arithmetic<'a>(op: Op, left: &Value<'a>, right: &Value<'a>) -> Outcome<Value<'a>> {
    let (Value::Int(a), Value::Int(b)) = (left, right) else { return Err(ConditionError::Type) };
    let result = match op {
        Op::Add => a.checked_add(*b),
        Op::Sub => a.checked_sub(*b),
        Op::Mul => a.checked_mul(*b),
        Op::Div => a.checked_div(*b),
        _ => a.checked_rem(*b),
    };
    result.map(Value::Int).ok_or(ConditionError::Arithmetic)
}
