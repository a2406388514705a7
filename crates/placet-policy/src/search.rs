//! Which values of one field the rules can grant: what a search goes through. Owns whether that is
//! finite; refuses to know what a value stands for, and whether it would be permitted in the end.

use crate::bundle::{Bundle, Compiled, Scratch};
use crate::condition::{Ast, AstNode, Facts};
use crate::explain::{Finding, explain_key};
use placet_types::policy::{Effect, Layer};
use placet_types::{Caller, Request};
use std::collections::BTreeSet;

/// The field whose values are sought.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// The key of `match` that lists its values: `actions`, `targets`, `labels.<name>`.
    pub key: &'a str,
    /// The paths under which conditions read it.
    pub paths: &'a [&'a [&'a str]],
}

/// A rule grants the request whatever the value is, or by a pattern: there is no list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// The rule.
    pub rule: String,
}

impl Bundle {
    /// The values that rules list among what could grant `request`, whose own value of the sought
    /// field does not count. A superset of what would be permitted: other rules may restrict it,
    /// and conditions that read the sought field are taken as true.
    ///
    /// # Errors
    /// [`Unlisted`] names a rule that could grant it and lists no values.
    pub fn listed(
        &self,
        request: &Request,
        caller: &Caller,
        sought: Sought<'_>,
    ) -> Result<BTreeSet<String>, Unlisted> {
        let mut listed = BTreeSet::new();
        if !self.surface(&request.surface).known {
            return Ok(listed);
        }
        let mut scratch = Scratch::default();
        let derived = self.derive(request, caller, &mut scratch);
        self.index().begin(&mut scratch);
        let facts = derived.facts(request, caller);
        // What derivers find may hang on the sought field, so all of it is left open.
        let open = !self.model().derivers.is_empty();
        for (rule, number) in self.compiled().iter().zip(0_u32..) {
            if !grants(rule) || !may_hold(rule, facts, sought, open) {
                continue;
            }
            let mut values = None;
            let keys = self.index().rule_keys(number).iter();
            let others_match =
                keys.map(|key| explain_key(self, key, facts, &mut scratch)).all(|clause| {
                    let own = clause.key == sought.key;
                    let left_open = own || (open && clause.key.starts_with("risk_tags"));
                    let matches = left_open || clause.finding == Finding::Matched;
                    if own {
                        values = Some(clause.wanted);
                    }
                    matches
                });
            if !others_match {
                continue;
            }
            match values {
                Some(values) if values.iter().all(|value| !value.contains('*')) => {
                    listed.extend(values.iter().map(ToString::to_string));
                }
                _ => return Err(Unlisted { rule: rule.effect.id.clone() }),
            }
        }
        Ok(listed)
    }
}

fn grants(rule: &Compiled) -> bool {
    let effect = &rule.effect;
    effect.layer == Layer::Rules
        && !effect.advice
        && matches!(effect.effect, Effect::Allow | Effect::AllowWithConstraints)
}

/// Whether its condition holds, or could for some value of the sought field. With derivers, `open`,
/// nothing that is verified is known before.
fn may_hold(rule: &Compiled, facts: Facts<'_>, sought: Sought<'_>, open: bool) -> bool {
    rule.condition.as_ref().is_none_or(|condition| {
        reads(condition.ast(), sought.paths)
            || (open && reads(condition.ast(), &DERIVED))
            || condition.evaluate(facts) == Ok(true)
    })
}

/// What derivers add to.
const DERIVED: [&[&str]; 2] = [&["verified"], &["request", "risk_tags"]];

/// Whether an expression reads something at, above or below one of the paths.
fn reads(ast: &Ast, paths: &[&[&str]]) -> bool {
    if let Some(path) = path_of(ast) {
        let meets = |other: &&[&str]| path.iter().zip(other.iter()).all(|(a, b)| a == b);
        if paths.iter().any(meets) {
            return true;
        }
    }
    match &ast.node {
        AstNode::Bool(_)
        | AstNode::Int(_)
        | AstNode::Double(_)
        | AstNode::Text(_)
        | AstNode::Name(_) => false,
        AstNode::Member { of, .. } | AstNode::Has { of, .. } => {
            // What a path goes through is not read as a whole.
            path_of(of).is_none() && reads(of, paths)
        }
        AstNode::Index { of, index } => {
            reads(index, paths) || (path_of(of).is_none() && reads(of, paths))
        }
        AstNode::List(items) | AstNode::Call(_, items) => {
            items.iter().any(|item| reads(item, paths))
        }
    }
}

/// The path that an expression spells, as far as it is known before any request.
fn path_of(ast: &Ast) -> Option<Vec<&str>> {
    match &ast.node {
        AstNode::Name(name) => Some(vec![name]),
        AstNode::Member { of, field } | AstNode::Has { of, field } => {
            let mut path = path_of(of)?;
            path.push(field);
            Some(path)
        }
        AstNode::Index { of, index } => {
            let mut path = path_of(of)?;
            match &index.node {
                AstNode::Text(text) => path.push(text),
                // Any member: the path of all of them.
                _ => return Some(path),
            }
            Some(path)
        }
        _ => None,
    }
}
