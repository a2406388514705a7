//! What the conditions of rules ask of a request: the constants that each value is compared with. Where
//! a condition asks anything else, the partition of requests is not finite, and it says which does.

use super::space::Slot;
use crate::condition::{Ast, AstNode, Op, render};
use placet_types::json::{Number, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Constants that one JSON value is compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Constants {
    pub(super) numbers: Vec<f64>,
    pub(super) texts: BTreeSet<String>,
    pub(super) booleans: bool,
    /// Values that a condition that is not enumerated may well ask for.
    pub(super) more: Vec<Value>,
}

/// What all conditions ask.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Texts of the envelope.
    pub(super) texts: BTreeMap<Slot, BTreeSet<String>>,
    pub(super) tags: BTreeSet<String>,
    pub(super) roles: BTreeSet<String>,
    pub(super) labels: BTreeMap<String, BTreeSet<String>>,
    /// Paths that begin with `arguments` or `context`.
    pub(super) paths: BTreeMap<Vec<String>, Constants>,
    /// Expressions that are not compared with constants.
    pub(super) open: Vec<String>,
}

/// Numbers beyond this are not told apart by every double.
const EXACT_MAX: f64 = 4_503_599_627_370_496.0;

impl Asked {
    /// Looks at one condition.
    pub(super) fn scan(&mut self, ast: &Ast) {
        match &ast.node {
            AstNode::Bool(_) => {}
            AstNode::Call(Op::And | Op::Or | Op::Not | Op::Ternary, args) => {
                args.iter().for_each(|arg| self.scan(arg));
            }
            AstNode::Call(Op::Eq | Op::Ne, args) => self.compared(ast, args, false),
            AstNode::Call(Op::Lt | Op::Le | Op::Gt | Op::Ge, args) => {
                self.compared(ast, args, true);
            }
            AstNode::Call(Op::In, args) => self.contained(ast, args),
            AstNode::Call(Op::Contains | Op::StartsWith | Op::EndsWith, args) => {
                self.part(ast, args);
            }
            AstNode::Has { of, field } => match path(of) {
                Some(mut path) => {
                    path.push(field.clone());
                    if !self.touch(&path) {
                        self.opened(ast);
                    }
                }
                None => self.opened(ast),
            },
            AstNode::Member { .. } | AstNode::Index { .. } => {
                let constant = path(ast).is_some_and(|path| self.note(&path, &Value::Bool(true)));
                if !constant {
                    self.opened(ast);
                }
            }
            _ => self.opened(ast),
        }
    }

    fn opened(&mut self, ast: &Ast) {
        self.open.push(render(ast));
        self.candidates(ast);
    }

    /// What stands in an expression that is not understood is worth trying all the same: every
    /// constant in it on every value in it.
    fn candidates(&mut self, ast: &Ast) {
        let (mut paths, mut constants) = (Vec::new(), Vec::new());
        leaves(ast, &mut paths, &mut constants);
        for path in &paths {
            self.touch(path);
            for constant in &constants {
                self.note(path, constant);
                self.note(path, &Value::Array(vec![constant.clone()]));
                for near in constant
                    .as_i64()
                    .into_iter()
                    .flat_map(|n| [n.saturating_sub(1), n.saturating_add(1)])
                {
                    self.note(path, &Value::from(near));
                }
            }
        }
    }

    fn compared(&mut self, ast: &Ast, args: &[Ast], ordered: bool) {
        let [left, right] = args else { return self.opened(ast) };
        let sides = match (path(left), constant(right)) {
            (Some(path), Some(constant)) => Some((path, constant)),
            _ => path(right).zip(constant(left)),
        };
        match sides {
            Some((_, Value::String(_))) if ordered => self.opened(ast),
            Some((path, constant)) if self.note(&path, &constant) => {}
            _ => self.opened(ast),
        }
    }

    fn contained(&mut self, ast: &Ast, args: &[Ast]) {
        let [item, list] = args else { return self.opened(ast) };
        if let (Some(Value::String(text)), Some(path)) = (constant(item), path(list)) {
            let set = match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["request", "risk_tags"] => Some(&mut self.tags),
                ["verified", "roles"] => Some(&mut self.roles),
                _ => None,
            };
            if let Some(set) = set {
                set.insert(text);
                return;
            }
            if path.len() == 2 && path.get(1).is_some_and(|name| name == "labels") {
                self.labels.entry(text).or_default();
                return;
            }
        }
        if let (Some(path), AstNode::List(items)) = (path(item), &list.node) {
            let constants: Option<Vec<Value>> = items.iter().map(constant).collect();
            if let Some(constants) = constants
                && constants.iter().all(|constant| self.note(&path, constant))
            {
                return;
            }
        }
        self.opened(ast);
    }

    /// Part of a text: the texts that hold it are endless, some are worth trying.
    fn part(&mut self, ast: &Ast, args: &[Ast]) {
        if let [text, part] = args
            && let (Some(path), Some(Value::String(part))) = (path(text), constant(part))
        {
            for text in [part.clone(), format!("{part}x"), format!("x{part}"), format!("x{part}x")]
            {
                self.note(&path, &Value::String(text));
            }
        }
        self.open.push(render(ast));
    }

    /// That a value is asked for at all. False where there is no such value of its own.
    fn touch(&mut self, path: &[String]) -> bool {
        match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["request", "labels", name] => {
                self.labels.entry((*name).to_owned()).or_default();
                true
            }
            ["request", "arguments" | "context", ..] => {
                self.paths.entry(path.get(1..).unwrap_or_default().to_vec()).or_default();
                true
            }
            [root, name] => match Slot::of_field(root, name) {
                Some(slot) => {
                    self.texts.entry(slot).or_default();
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    /// That a value is compared with a constant. False where that is more than a constant tells.
    fn note(&mut self, path: &[String], constant: &Value) -> bool {
        if !self.touch(path) {
            return false;
        }
        let text = constant.as_str().map(str::to_owned);
        match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["request", "labels", name] => {
                self.labels.entry((*name).to_owned()).or_default().extend(text);
                true
            }
            ["request", "arguments" | "context", ..] => {
                let path = path.get(1..).unwrap_or_default().to_vec();
                let constants = self.paths.entry(path).or_default();
                match constant {
                    Value::String(text) => {
                        constants.texts.insert(text.clone());
                    }
                    Value::Bool(_) => constants.booleans = true,
                    Value::Number(number) => {
                        let number = number.as_f64();
                        constants.numbers.push(number);
                        return number.abs() <= EXACT_MAX;
                    }
                    other => {
                        constants.more.push(other.clone());
                        return false;
                    }
                }
                true
            }
            [root, name] => {
                let slot = Slot::of_field(root, name);
                if let Some(texts) = slot.and_then(|slot| self.texts.get_mut(&slot)) {
                    texts.extend(text);
                }
                true
            }
            _ => false,
        }
    }
}

/// `request.labels.team` as its names.
pub(super) fn path(ast: &Ast) -> Option<Vec<String>> {
    match &ast.node {
        AstNode::Name(name) => Some(vec![name.clone()]),
        AstNode::Member { of, field } => {
            let mut path = path(of)?;
            path.push(field.clone());
            Some(path)
        }
        AstNode::Index { of, index } => match &index.node {
            AstNode::Text(name) => {
                let mut path = path(of)?;
                path.push(name.clone());
                Some(path)
            }
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn leaves(ast: &Ast, paths: &mut Vec<Vec<String>>, constants: &mut Vec<Value>) {
    if let Some(constant) = constant(ast) {
        constants.push(constant);
    } else if let Some(path) = path(ast) {
        paths.push(path);
    } else {
        match &ast.node {
            AstNode::Call(_, args) | AstNode::List(args) => {
                args.iter().for_each(|arg| leaves(arg, paths, constants));
            }
            AstNode::Index { of, index } => {
                leaves(of, paths, constants);
                leaves(index, paths, constants);
            }
            AstNode::Member { of, .. } | AstNode::Has { of, .. } => leaves(of, paths, constants),
            _ => {}
        }
    }
}

pub(super) fn constant(ast: &Ast) -> Option<Value> {
    match &ast.node {
        AstNode::Bool(value) => Some(Value::Bool(*value)),
        AstNode::Int(value) => Some(Value::Number(Number::from_i64(*value))),
        AstNode::Double(value) => Number::from_f64(*value).map(Value::Number),
        AstNode::Text(text) => Some(Value::String(text.clone())),
        AstNode::Call(Op::Neg, args) => match args.as_slice() {
            [Ast { node: AstNode::Int(value), .. }] => {
                value.checked_neg().map(|value| Value::Number(Number::from_i64(value)))
            }
            _ => None,
        },
        _ => None,
    }
}

impl Constants {
    /// Those of both.
    pub(super) fn extend(&mut self, other: Self) {
        self.numbers.extend(other.numbers);
        self.texts.extend(other.texts);
        self.booleans |= other.booleans;
        for value in other.more {
            if !self.more.contains(&value) {
                self.more.push(value);
            }
        }
    }

    /// One value for each range between constants and for each constant, and one of each other type.
    pub(super) fn representatives(&self) -> Vec<Value> {
        let mut numbers = self.numbers.clone();
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        let mut out = Vec::new();
        let mut push = |number: f64| out.extend(Number::from_f64(number).map(Value::Number));
        match (numbers.first(), numbers.last()) {
            (Some(first), Some(last)) => {
                push((first - 1.0).floor());
                for (at, number) in numbers.iter().enumerate() {
                    push(*number);
                    // The next whole number, or what lies between two neighbours.
                    if let Some(next) = numbers.get(at.saturating_add(1)) {
                        let whole = (number + 1.0).floor();
                        push(if whole < *next { whole } else { f64::midpoint(*number, *next) });
                    }
                }
                push((last + 1.0).floor());
            }
            _ => push(1.0),
        }
        out.extend(self.texts.iter().map(|text| Value::String(text.clone())));
        out.push(Value::String(super::automaton::other(self.texts.iter().map(String::as_str))));
        out.push(Value::Bool(true));
        if self.booleans {
            out.push(Value::Bool(false));
        }
        out.extend(self.more.iter().cloned());
        out.push(Value::Array(Vec::new()));
        out.push(Value::Null);
        out
    }
}
