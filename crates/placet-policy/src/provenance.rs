//! What granting rules rest on: facts that authentication or a deriver vouches for, or the client alone.
//! Owns the question for the linter; changes no decision.

use crate::bundle::Bundle;
use crate::condition::{Ast, AstNode, Op};
use crate::model::{Match, MatchKey, Rule};
use placet_types::policy::{Effect, Layer, RuleEffect};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A rule of `rules:` that may grant, and what it reads.
#[derive(Clone, Debug)]
pub struct Grant<'b> {
    /// The rule.
    pub rule: &'b Arc<RuleEffect>,
    /// Whether it can apply without any verified fact: what it reads is the action itself and what the
    /// client says about it.
    pub asserted_only: bool,
    /// Everything that it reads, sorted: `roles`, `labels.team`, `request.context`, `verified.actor`.
    pub reads: Vec<String>,
}

impl Bundle {
    /// Rules that allow, constrain or ask for approval, sorted by id, with what they rest on. Windows and
    /// advice are no grants.
    pub fn grants(&self) -> impl Iterator<Item = Grant<'_>> {
        let rules = self.model().rules.iter().filter(|rule| grants(&rule.effect));
        rules.map(|rule| Grant {
            rule: &rule.effect,
            asserted_only: !rests_on_verified(&rule.matches),
            reads: reads(rule),
        })
    }
}

fn grants(rule: &RuleEffect) -> bool {
    let effect = matches!(
        rule.effect,
        Effect::Allow | Effect::AllowWithConstraints | Effect::RequireApproval
    );
    rule.layer == Layer::Rules && effect && !rule.advice && rule.limit.is_none()
}

/// Keys about what the caller's key says.
const VERIFIED: [MatchKey; 4] =
    [MatchKey::Actors, MatchKey::ActorKinds, MatchKey::Roles, MatchKey::Environments];

/// Whether no request can match without a verified fact that fits. A pattern that everything fits demands
/// none.
fn rests_on_verified(matches: &Match) -> bool {
    let everything = |pattern: &String| pattern == "*" || pattern == "**";
    let by_key = VERIFIED
        .iter()
        .any(|key| matches.lists.get(key).is_some_and(|patterns| !patterns.iter().any(everything)));
    by_key || matches.when.as_ref().is_some_and(|condition| demands(condition.ast(), true))
}

/// Whether an expression can only come to `wanted` through a verified fact.
fn demands(ast: &Ast, wanted: bool) -> bool {
    match &ast.node {
        AstNode::Call(Op::Not, args) => match args.as_slice() {
            [operand] => demands(operand, !wanted),
            _ => false,
        },
        AstNode::Call(op @ (Op::And | Op::Or), args) => {
            let mut each = args.iter().map(|arg| demands(arg, wanted));
            // All operands have to come to it, or one of them suffices.
            if (*op == Op::And) == wanted { each.any(|it| it) } else { each.all(|it| it) }
        }
        AstNode::Call(Op::Ternary, args) => match args.as_slice() {
            [test, yes, no] => {
                let first = demands(test, true) || demands(yes, wanted);
                first && (demands(test, false) || demands(no, wanted))
            }
            _ => false,
        },
        // `false` is never reached in any way, so it demands all there is.
        AstNode::Bool(value) => *value != wanted,
        _ => {
            let mut found = BTreeSet::new();
            roots(ast, &mut found);
            found.iter().any(|name| name.starts_with("verified."))
        }
    }
}

fn reads(rule: &Rule) -> Vec<String> {
    let matches = &rule.matches;
    let mut out: BTreeSet<String> = BTreeSet::new();
    out.extend(matches.lists.keys().map(|key| key.as_str().to_owned()));
    out.extend(matches.labels.keys().map(|name| format!("labels.{name}")));
    if let Some(condition) = &matches.when {
        roots(condition.ast(), &mut out);
    }
    out.into_iter().collect()
}

/// The fields of `request` and `verified` that an expression reads.
fn roots(ast: &Ast, out: &mut BTreeSet<String>) {
    let mut field = |of: &Ast, name: &str| match &of.node {
        AstNode::Name(root) => {
            out.insert(format!("{root}.{name}"));
            true
        }
        _ => false,
    };
    match &ast.node {
        AstNode::Member { of, field: name } | AstNode::Has { of, field: name } => {
            if !field(of, name) {
                roots(of, out);
            }
        }
        AstNode::Index { of, index } => {
            let named = matches!(&index.node, AstNode::Text(name) if field(of, name));
            if !named {
                roots(of, out);
                roots(index, out);
            }
        }
        AstNode::List(items) | AstNode::Call(_, items) => {
            for item in items {
                roots(item, out);
            }
        }
        AstNode::Bool(_)
        | AstNode::Int(_)
        | AstNode::Double(_)
        | AstNode::Text(_)
        | AstNode::Name(_) => {}
    }
}
