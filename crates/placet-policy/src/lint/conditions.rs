//! What can be said of a condition before any request: that it is constant, that it can never be true,
//! that a term says nothing new. Owns no semantics of its own.

use super::cover::any_covers;
use crate::condition::{Ast, AstNode, Op, render};
use crate::diagnostic::Code;
use crate::model::{Match, MatchKey};
use crate::values::{Constant, Odd, Values, constant, turned};
use std::collections::{BTreeMap, BTreeSet};

/// A finding about a condition: code, message, hint.
pub(super) type Found = (Code, String, Option<String>);

/// Everything to say about the condition of one match.
pub(super) fn check(ast: &Ast, matches: &Match, values: &Values<'_>) -> Vec<Found> {
    let mut out = Vec::new();
    if let Some(Constant::Bool(value)) = constant(ast) {
        let text = render(ast);
        out.push((Code::ConstantCondition, format!("`{text}` is {value} for every request"), None));
        return out;
    }
    constant_terms(ast, &mut out);
    repeated(ast, &mut out);
    never_true(ast, matches, &mut out);
    odd(ast, matches, values, &mut out);
    out
}

/// Comparisons with values that a field never has, and what that makes of the whole.
fn odd(ast: &Ast, matches: &Match, values: &Values<'_>, out: &mut Vec<Found>) {
    let mut found = Vec::new();
    values.odd(ast, matches, &mut found);
    let composed = matches!(&ast.node, AstNode::Call(Op::And | Op::Or | Op::Ternary, _));
    let whole = match values.truth(ast, matches).filter(|_| composed) {
        Some(true) => "; the whole condition is always true",
        Some(false) => "; the whole condition is never true",
        None => "",
    };
    let found = found.into_iter();
    out.extend(found.map(|Odd { code, message, hint }| (code, format!("{message}{whole}"), hint)));
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
                out.push((
                    Code::ConstantCondition,
                    format!("the term `{text}` is always {value}"),
                    None,
                ));
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
            out.push((Code::RepeatedTerm, format!("the term `{text}` is there already"), None));
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
                out.push((Code::ContradictoryCondition, message, None));
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
            out.push((Code::ContradictoryCondition, message, None));
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
        out.push((Code::ImpossibleMatch, message, None));
    }
}
