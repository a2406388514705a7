//! What can be said of a condition before any request: that it is constant, that it can never be true,
//! that a term says nothing new. Owns no semantics of its own beyond that of constants.

use super::cover::any_covers;
use crate::condition::{Ast, AstNode, Op, render};
use crate::diagnostic::Code;
use crate::model::{Match, MatchKey};
use std::collections::{BTreeMap, BTreeSet};

/// A finding about a condition: code, message.
pub(super) type Found = (Code, String);

#[derive(Clone, Debug, PartialEq)]
enum Constant {
    Bool(bool),
    Int(i64),
    Text(String),
}

/// Everything to say about the condition of one match.
pub(super) fn check(ast: &Ast, matches: &Match) -> Vec<Found> {
    let mut out = Vec::new();
    if let Some(Constant::Bool(value)) = constant(ast) {
        let text = render(ast);
        out.push((Code::ConstantCondition, format!("`{text}` is {value} for every request")));
        return out;
    }
    constant_terms(ast, &mut out);
    repeated(ast, &mut out);
    never_true(ast, matches, &mut out);
    out
}

fn constant(ast: &Ast) -> Option<Constant> {
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
        (Op::And | Op::Or, [left, right]) => {
            let (left, right) = (truth(left), truth(right));
            let decisive = op == Op::Or;
            if left == Some(decisive) || right == Some(decisive) {
                decisive
            } else {
                left.and(right)?
            }
        }
        (Op::Not, [operand]) => !truth(operand)?,
        (Op::Ternary, [test, yes, no]) => {
            return constant(if truth(test)? { yes } else { no });
        }
        (Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge, [left, right]) => {
            let order = match (constant(left)?, constant(right)?) {
                (Constant::Int(a), Constant::Int(b)) => a.cmp(&b),
                (Constant::Text(a), Constant::Text(b)) => a.cmp(&b),
                (Constant::Bool(a), Constant::Bool(b)) => a.cmp(&b),
                _ => return None,
            };
            match op {
                Op::Eq => order.is_eq(),
                Op::Ne => order.is_ne(),
                Op::Lt => order.is_lt(),
                Op::Le => order.is_le(),
                Op::Gt => order.is_gt(),
                _ => order.is_ge(),
            }
        }
        _ => return None,
    };
    Some(Constant::Bool(value))
}

/// Operands of a chain of `op`, in order.
fn operands<'a>(op: Op, ast: &'a Ast, out: &mut Vec<&'a Ast>) {
    match &ast.node {
        AstNode::Call(own, args) if *own == op => {
            args.iter().for_each(|operand| operands(op, operand, out));
        }
        _ => out.push(ast),
    }
}

fn constant_terms(ast: &Ast, out: &mut Vec<Found>) {
    let AstNode::Call(op, args) = &ast.node else { return };
    if !matches!(op, Op::And | Op::Or | Op::Not | Op::Ternary) {
        return;
    }
    for (at, term) in args.iter().enumerate() {
        // The sides of `?:` may well be constants; its test may not.
        let side = *op == Op::Ternary && at > 0;
        match constant(term) {
            Some(Constant::Bool(value)) if !side => {
                let text = render(term);
                out.push((Code::ConstantCondition, format!("the term `{text}` is always {value}")));
            }
            _ => constant_terms(term, out),
        }
    }
}

fn repeated(ast: &Ast, out: &mut Vec<Found>) {
    let AstNode::Call(op @ (Op::And | Op::Or), _) = &ast.node else { return };
    let mut terms = Vec::new();
    operands(*op, ast, &mut terms);
    let mut seen = BTreeSet::new();
    for term in &terms {
        let text = render(term);
        if seen.contains(&text) {
            out.push((Code::RepeatedTerm, format!("the term `{text}` is there already")));
        }
        seen.insert(text);
        repeated(term, out);
    }
}

/// What a conjunction says of one operand.
#[derive(Default)]
struct Known {
    least: Option<(i64, bool)>,
    most: Option<(i64, bool)>,
    equal: BTreeSet<String>,
    unequal: BTreeSet<String>,
}

impl Known {
    fn contradicts(&self) -> bool {
        let range = match (self.least, self.most) {
            (Some((least, a)), Some((most, b))) => least > most || (least == most && (a || b)),
            _ => false,
        };
        range || self.equal.len() > 1 || self.equal.iter().any(|it| self.unequal.contains(it))
    }

    fn at_least(&mut self, value: i64, strict: bool) {
        self.least = self.least.max(Some((value, strict)));
    }

    fn at_most(&mut self, value: i64, strict: bool) {
        let tighter = |most: (i64, bool)| value < most.0 || (value == most.0 && strict);
        if self.most.is_none_or(tighter) {
            self.most = Some((value, strict));
        }
    }

    fn add(&mut self, op: Op, value: &Constant) {
        match (op, value) {
            (Op::Eq, Constant::Int(value)) => {
                self.at_least(*value, false);
                self.at_most(*value, false);
            }
            (Op::Lt, Constant::Int(value)) => self.at_most(*value, true),
            (Op::Le, Constant::Int(value)) => self.at_most(*value, false),
            (Op::Gt, Constant::Int(value)) => self.at_least(*value, true),
            (Op::Ge, Constant::Int(value)) => self.at_least(*value, false),
            (Op::Eq, Constant::Text(value)) => {
                self.equal.insert(value.clone());
            }
            (Op::Ne, Constant::Text(value)) => {
                self.unequal.insert(value.clone());
            }
            _ => {}
        }
    }
}

const fn turned(op: Op) -> Op {
    match op {
        Op::Lt => Op::Gt,
        Op::Le => Op::Ge,
        Op::Gt => Op::Lt,
        Op::Ge => Op::Le,
        other => other,
    }
}

fn never_true(ast: &Ast, matches: &Match, out: &mut Vec<Found>) {
    let mut terms = Vec::new();
    operands(Op::And, ast, &mut terms);
    let texts: BTreeSet<String> = terms.iter().map(|term| render(term)).collect();
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    for term in &terms {
        let AstNode::Call(op, args) = &term.node else { continue };
        if let (Op::Not, [operand]) = (op, args.as_slice()) {
            let text = render(operand);
            if texts.contains(&text) {
                let message = format!("`{text}` is asked for and ruled out: never true");
                out.push((Code::ContradictoryCondition, message));
            }
        }
        let [left, right] = args.as_slice() else { continue };
        let (operand, op, value) = match (constant(left), constant(right)) {
            (None, Some(value)) => (left, *op, value),
            (Some(value), None) => (right, turned(*op), value),
            _ => continue,
        };
        let text = render(operand);
        if let (Op::Eq, Constant::Text(value)) = (op, &value) {
            against_list(&text, value, matches, out);
        }
        let known = known.entry(text).or_default();
        let before = known.contradicts();
        known.add(op, &value);
        if !before && known.contradicts() {
            let text = render(operand);
            let message = format!("no value of `{text}` satisfies all that is asked of it");
            out.push((Code::ContradictoryCondition, message));
        }
    }
}

/// Fields that a key of `match` asks for, too.
const FIELDS: [(&str, MatchKey); 12] = [
    ("request.surface", MatchKey::Surfaces),
    ("request.action", MatchKey::Actions),
    ("request.topic", MatchKey::Topics),
    ("request.target", MatchKey::Targets),
    ("request.team", MatchKey::Teams),
    ("request.capability", MatchKey::Capabilities),
    ("request.branch", MatchKey::Branches),
    ("request.model", MatchKey::Models),
    ("verified.actor", MatchKey::Actors),
    ("verified.actor_kind", MatchKey::ActorKinds),
    ("verified.environment", MatchKey::Environments),
    ("verified.roles", MatchKey::Roles),
];

fn against_list(field: &str, value: &str, matches: &Match, out: &mut Vec<Found>) {
    let Some((_, key)) = FIELDS.iter().find(|(name, _)| *name == field) else { return };
    let Some(patterns) = matches.lists.get(key) else { return };
    // A value that is none of its kind parses as no pattern, and then nothing is shown.
    if key.dialect().parse(value).is_ok() && !any_covers(key.dialect(), patterns, value) {
        let key = key.as_str();
        let message = format!("`{field}` is never \"{value}\" where `{key}` matches");
        out.push((Code::ImpossibleMatch, message));
    }
}
