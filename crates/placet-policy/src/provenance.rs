//! What granting rules rest on: facts that authentication or a deriver vouches for, or the client alone.
//! Owns the question for the linter; changes no decision.

use crate::bundle::Bundle;
use crate::condition::{Ast, AstNode, Op};
use crate::lint::pattern_covers;
use crate::model::{Deriver, Match, MatchKey, Model, RiskTier, Rule};
use crate::pattern::Dialect;
use crate::values::Values;
use placet_types::json::Value;
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
    /// What it reads that the client says of itself, besides the action.
    pub claims: Vec<String>,
}

impl Bundle {
    /// Rules that allow, constrain or ask for approval, sorted by id, with what they rest on. Windows and
    /// advice are no grants.
    pub fn grants(&self) -> impl Iterator<Item = Grant<'_>> {
        let sources = Sources::of(self.model());
        let rules = self.model().rules.iter().filter(|rule| grants(rule));
        rules.map(move |rule| {
            let reads = reads(&rule.matches);
            Grant {
                rule: &rule.effect,
                asserted_only: !sources.rests_on_verified(&rule.matches),
                claims: reads.iter().filter(|it| sources.is_claim(it, rule)).cloned().collect(),
                reads: reads.into_iter().collect(),
            }
        })
    }
}

/// Whether a rule can grant.
pub(crate) fn grants(rule: &Rule) -> bool {
    let rule = &rule.effect;
    let effect = matches!(
        rule.effect,
        Effect::Allow | Effect::AllowWithConstraints | Effect::RequireApproval
    );
    rule.layer == Layer::Rules && effect && !rule.advice && rule.limit.is_none()
}

/// Keys about what the caller's key says.
const VERIFIED: [MatchKey; 4] =
    [MatchKey::Actors, MatchKey::ActorKinds, MatchKey::Roles, MatchKey::Environments];

/// Keys about what the client says of itself; the others are about the action.
const CLAIMED: [MatchKey; 6] = [
    MatchKey::RiskTags,
    MatchKey::RiskTagsAll,
    MatchKey::Teams,
    MatchKey::Capabilities,
    MatchKey::Branches,
    MatchKey::Models,
];

/// Fields of a request that are the action, and so part of the permit.
const ACTION: [&str; 5] = ["surface", "action", "topic", "target", "arguments"];

/// What vouches for what in one bundle.
struct Sources<'b> {
    values: Values<'b>,
    model: &'b Model,
    /// Facts that follow from nothing but what the client says of itself.
    hearsay: BTreeSet<&'b str>,
}

impl<'b> Sources<'b> {
    fn of(model: &'b Model) -> Self {
        let mut sources = Self { values: Values::of(model), model, hearsay: BTreeSet::new() };
        let mut hearsay = BTreeSet::new();
        let (mut tiers, mut vouched) = (false, false);
        for deriver in &model.derivers {
            let said = sources.is_hearsay(deriver);
            if said {
                hearsay.extend(deriver.facts.iter().map(|(name, _)| name));
            }
            tiers |= deriver.risk_tier.is_some();
            vouched |= deriver.risk_tier.is_some() && !said;
        }
        if tiers && !vouched {
            hearsay.extend([RiskTier::FACT, RiskTier::LEVEL]);
        }
        sources.hearsay = hearsay;
        sources
    }

    fn is_hearsay(&self, deriver: &Deriver) -> bool {
        match &deriver.read {
            Some((probe, _)) => {
                let root = probe.text().split('.').next().unwrap_or_default();
                matches!(root, "context" | "model")
            }
            None => {
                let claims = reads(&deriver.matches);
                claims.iter().any(|it| is_claimed(it)) && !self.rests_on_verified(&deriver.matches)
            }
        }
    }

    /// Whether no request can match without a verified fact that fits. A pattern that everything fits
    /// demands none.
    fn rests_on_verified(&self, matches: &Match) -> bool {
        let by_key = VERIFIED.iter().any(|key| {
            matches.lists.get(key).is_some_and(|patterns| !covers_everything(*key, patterns))
        });
        by_key
            || matches.lists.get(&MatchKey::Capabilities).is_some_and(|it| self.guarded(it))
            || matches
                .when
                .as_ref()
                .is_some_and(|condition| self.demands(condition.ast(), true, matches))
    }

    /// Whether only callers with certain roles act for any of these capabilities.
    fn guarded(&self, patterns: &[String]) -> bool {
        let Some(document) = self.model.documents.get("capabilities") else { return false };
        let closed = |manifest: &Value| {
            let roles = manifest.get("allowed_roles").and_then(Value::as_array);
            !roles.unwrap_or_default().iter().any(|role| role.as_str() == Some("*"))
        };
        patterns.iter().all(|name| match name.as_str() {
            "*" => document.as_object().is_some_and(|all| all.iter().all(|(_, it)| closed(it))),
            // A capability without a manifest is denied.
            name => document.get(name).is_none_or(closed),
        })
    }

    /// Whether an expression can only come to `wanted` through a verified fact.
    fn demands(&self, ast: &Ast, wanted: bool, matches: &Match) -> bool {
        match &ast.node {
            AstNode::Call(Op::Not, args) => match args.as_slice() {
                [operand] => self.demands(operand, !wanted, matches),
                _ => false,
            },
            AstNode::Call(op @ (Op::And | Op::Or), args) => {
                let mut each = args.iter().map(|arg| self.demands(arg, wanted, matches));
                // All operands have to come to it, or one of them suffices.
                if (*op == Op::And) == wanted { each.any(|it| it) } else { each.all(|it| it) }
            }
            AstNode::Call(Op::Ternary, args) => match args.as_slice() {
                [test, yes, no] => {
                    let demands = |ast, wanted| self.demands(ast, wanted, matches);
                    let first = demands(test, true) || demands(yes, wanted);
                    first && (demands(test, false) || demands(no, wanted))
                }
                _ => false,
            },
            // What is never reached in any way demands all there is; what always is demands nothing.
            _ => match self.values.truth(ast, matches) {
                Some(value) => value != wanted,
                None => {
                    let mut found = BTreeSet::new();
                    roots(ast, &mut found);
                    let name = |it: &String| it.strip_prefix("verified.").map(str::to_owned);
                    found.iter().filter_map(name).any(|it| !self.hearsay.contains(it.as_str()))
                }
            },
        }
    }

    /// Whether something that a rule reads is what the client says of itself.
    fn is_claim(&self, read: &str, rule: &Rule) -> bool {
        if read == MatchKey::Capabilities.as_str() {
            let patterns = rule.matches.lists.get(&MatchKey::Capabilities);
            return patterns.is_some_and(|patterns| !self.guarded(patterns));
        }
        match read.strip_prefix("verified.") {
            Some(name) => self.hearsay.contains(name),
            None => is_claimed(read),
        }
    }
}

fn is_claimed(read: &str) -> bool {
    match read.split_once('.') {
        Some(("request", field)) => !ACTION.contains(&field),
        Some(("labels", _)) => true,
        Some(_) => false,
        None => CLAIMED.iter().any(|key| key.as_str() == read),
    }
}

/// Whether a list matches whatever authentication may find.
fn covers_everything(key: MatchKey, patterns: &[String]) -> bool {
    let kinds = ["agent", "service", "human"];
    let listed = |text: &str| patterns.iter().any(|it| it == text);
    match key {
        MatchKey::ActorKinds => kinds.iter().all(|kind| listed(kind)),
        MatchKey::Actors => kinds.iter().all(|kind| {
            let all = format!("{kind}:**");
            patterns.iter().any(|it| pattern_covers(Dialect::Actor, it, &all))
        }),
        _ => listed("*"),
    }
}

fn reads(matches: &Match) -> BTreeSet<String> {
    let mut out: BTreeSet<String> = BTreeSet::new();
    out.extend(matches.lists.keys().map(|key| key.as_str().to_owned()));
    out.extend(matches.labels.keys().map(|name| format!("labels.{name}")));
    if let Some(condition) = &matches.when {
        roots(condition.ast(), &mut out);
    }
    out
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
