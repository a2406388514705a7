//! Making a request fulfil the keys of a rule and a condition, or miss it: values are taken from the axes,
//! facts from the derivers that find them. A best effort: what came of it is evaluated like any request.

use super::automaton::matches;
use super::conditions::{constant, leaves, path};
use super::draft::{Draft, place, set_path, set_text};
use super::space::{Choice, Slot, Space};
use super::witness;
use crate::bundle::Bundle;
use crate::condition::{Ast, AstNode, Op};
use crate::model::{Deriver, Match, MatchKey, RiskTier};
use placet_types::json::{Number, Object, Value};
use std::cmp::Ordering;

/// How deep facts are followed to what finds them.
const DEPTH_MAX: usize = 3;

/// An atom of a condition with what its neighbours have to be, so that the atom alone decides.
pub(super) type Lonely<'a> = (&'a Ast, Vec<(&'a Ast, bool)>);

/// All atoms of a condition.
pub(super) fn atoms(ast: &Ast) -> Vec<Lonely<'_>> {
    fn walk<'a>(ast: &'a Ast, beside: &[(&'a Ast, bool)], out: &mut Vec<Lonely<'a>>) {
        let with = |more: Vec<(&'a Ast, bool)>| [beside, &more].concat();
        match &ast.node {
            AstNode::Call(Op::Not, args) => args.iter().for_each(|it| walk(it, beside, out)),
            AstNode::Call(op @ (Op::And | Op::Or), args) => {
                for (at, arg) in args.iter().enumerate() {
                    let others = args.iter().enumerate().filter(|(other, _)| *other != at);
                    walk(arg, &with(others.map(|(_, it)| (it, *op == Op::And)).collect()), out);
                }
            }
            AstNode::Call(Op::Ternary, args) => {
                if let [test, yes, no] = args.as_slice() {
                    walk(test, &with(vec![(yes, true), (no, false)]), out);
                    walk(yes, &with(vec![(test, true)]), out);
                    walk(no, &with(vec![(test, false)]), out);
                }
            }
            _ => out.push((ast, beside.to_vec())),
        }
    }
    let mut out = Vec::new();
    walk(ast, &[], &mut out);
    out.truncate(64);
    out
}

/// The values that an expression reads.
pub(super) fn reads(ast: &Ast) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    fn has(ast: &Ast, paths: &mut Vec<Vec<String>>) {
        match &ast.node {
            AstNode::Has { of, field } => {
                if let Some(mut path) = path(of) {
                    path.push(field.clone());
                    paths.push(path);
                }
            }
            AstNode::Call(_, args) | AstNode::List(args) => {
                args.iter().for_each(|arg| has(arg, paths));
            }
            _ => {}
        }
    }
    has(ast, &mut paths);
    leaves(ast, &mut paths, &mut Vec::new());
    paths
}

/// The axis of a path of a condition.
pub(super) fn slot_of(path: &[String]) -> Option<Slot> {
    match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["request", "labels", name] => Some(Slot::Label((*name).to_owned())),
        ["request", "arguments" | "context", ..] => {
            Some(Slot::Path(path.get(1..).unwrap_or_default().to_vec()))
        }
        [root, name] => Slot::of_field(root, name),
        _ => None,
    }
}

/// What is known of both bundles.
pub(super) struct Solver<'a> {
    pub(super) space: &'a Space,
    pub(super) derivers: Vec<&'a Deriver>,
}

impl<'a> Solver<'a> {
    pub(super) fn new(space: &'a Space, bundles: [&'a Bundle; 2]) -> Self {
        let derivers = bundles.into_iter().flat_map(|it| &it.model().derivers).collect();
        Self { space, derivers }
    }

    /// The choices of an axis that all of these keys match; every one where none has a key on it.
    pub(super) fn fitting(&self, slot: &Slot, all: &[&Match]) -> Vec<&'a Choice> {
        let Some(axis) = self.space.axis(slot) else { return Vec::new() };
        let lists: Vec<(&Vec<String>, bool)> = all
            .iter()
            .flat_map(|it| {
                let own = it.lists.iter().filter(|(key, _)| match slot {
                    Slot::Actor => matches!(key, MatchKey::Actors | MatchKey::ActorKinds),
                    slot => Slot::of_key(**key).as_ref() == Some(slot),
                });
                let own = own.map(|(key, list)| (list, *key == MatchKey::ActorKinds));
                let label = match slot {
                    Slot::Label(name) => it.labels.get(name),
                    _ => None,
                };
                own.chain(label.map(|list| (list, false)))
            })
            .collect();
        let dialect = slot.dialect();
        let fits = |choice: &&Choice| {
            lists.iter().all(|(patterns, kinds)| match choice {
                Choice::Text(text) if *kinds => {
                    patterns.iter().any(|it| text.starts_with(&format!("{it}:")))
                }
                Choice::Text(text) => patterns.iter().any(|it| matches(dialect, it, text)),
                _ => false,
            })
        };
        axis.choices.iter().filter(fits).collect()
    }

    /// The axes that these keys look at.
    pub(super) fn slots(&self, all: &[&Match]) -> Vec<Slot> {
        let mut out: Vec<Slot> = Vec::new();
        let mut add = |slot: Slot| {
            if !out.contains(&slot) {
                out.push(slot);
            }
        };
        for it in all {
            for (key, patterns) in &it.lists {
                match (Slot::of_key(*key), key) {
                    (Some(Slot::ActorKind), _) => add(Slot::Actor),
                    (Some(slot), _) => add(slot),
                    (None, MatchKey::Roles) => {
                        patterns.iter().for_each(|it| add(Slot::Role(it.clone())));
                    }
                    (None, _) => patterns.iter().for_each(|it| add(Slot::RiskTag(it.clone()))),
                }
            }
            it.labels.keys().for_each(|it| add(Slot::Label(it.clone())));
            if let Some(when) = &it.when {
                for path in reads(when.ast()) {
                    slot_of(&path).into_iter().for_each(&mut add);
                    if path.first().is_some_and(|it| it == "verified") {
                        for deriver in self.finding(&path, |_| true) {
                            if let Some((probe, _)) = &deriver.1.read {
                                add(witness::slot_of(probe.text()));
                            }
                            self.slots(&[&deriver.1.matches]).into_iter().for_each(&mut add);
                        }
                    }
                }
            }
        }
        out
    }

    /// Makes all of these keys match, as far as they agree.
    pub(super) fn keys(&self, draft: &mut Draft, all: &[&Match]) {
        for it in all {
            for (key, patterns) in &it.lists {
                match key {
                    MatchKey::RiskTagsAll => draft.0.risk_tags.extend(patterns.iter().cloned()),
                    MatchKey::RiskTags if draft.0.risk_tags.is_disjoint(&names(patterns)) => {
                        draft.0.risk_tags.extend(names(patterns).into_iter().next());
                    }
                    MatchKey::Roles if draft.1.roles.is_disjoint(&names(patterns)) => {
                        draft.1.roles.extend(names(patterns).into_iter().next());
                    }
                    key => {
                        let slot = match Slot::of_key(*key) {
                            Some(Slot::ActorKind) => Slot::Actor,
                            Some(slot) => slot,
                            None => continue,
                        };
                        self.fit(draft, &slot, all, it);
                    }
                }
            }
            for name in it.labels.keys() {
                self.fit(draft, &Slot::Label(name.clone()), all, it);
            }
        }
    }

    fn fit(&self, draft: &mut Draft, slot: &Slot, all: &[&Match], own: &Match) {
        let choice = self.fitting(slot, all).into_iter().next();
        if let Some(choice) = choice.or_else(|| self.fitting(slot, &[own]).into_iter().next()) {
            place(draft, slot, choice);
        }
    }

    /// Derivers that find a fact for which `wanted` holds, with what they find.
    fn finding(
        &self,
        path: &[String],
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<(Value, &'a Deriver)> {
        let [root, name] = path else { return Vec::new() };
        if root != "verified" {
            return Vec::new();
        }
        let found = self.derivers.iter().filter_map(|deriver| {
            let value = match (name.as_str(), deriver.risk_tier) {
                (RiskTier::FACT, Some(tier)) => Value::from(tier.as_str()),
                (RiskTier::LEVEL, Some(tier)) => Value::from(tier.level()),
                _ => deriver.facts.get(name)?.clone(),
            };
            wanted(&value).then_some((value, *deriver))
        });
        found.collect()
    }

    /// Makes a deriver apply.
    pub(super) fn derive(
        &self,
        draft: &mut Draft,
        deriver: &Deriver,
        all: &[&Match],
        depth: usize,
    ) {
        let mut with = all.to_vec();
        with.push(&deriver.matches);
        self.keys(draft, &with);
        if let Some(when) = &deriver.matches.when {
            self.solve(draft, when.ast(), true, &with, depth);
        }
        if let Some((probe, tests)) = &deriver.read {
            let (words, _) = witness::of_tests(tests);
            if let Some(word) = words.into_iter().next() {
                self.read(draft, &witness::slot_of(probe.text()), &word);
            }
        }
    }

    /// Puts a text where a deriver reads.
    pub(super) fn read(&self, draft: &mut Draft, slot: &Slot, word: &str) {
        match slot {
            Slot::Path(path) => set_path(draft, path, Some(Value::from(word))),
            slot if slot.carries(word) => set_text(draft, slot, word),
            _ => {}
        }
    }

    /// Makes a condition true or false.
    pub(super) fn solve(
        &self,
        draft: &mut Draft,
        ast: &Ast,
        want: bool,
        all: &[&Match],
        depth: usize,
    ) {
        match &ast.node {
            AstNode::Call(Op::Not, args) => {
                args.iter().for_each(|arg| self.solve(draft, arg, !want, all, depth));
            }
            AstNode::Call(op @ (Op::And | Op::Or), args) => {
                // All of an `&&` to make it true, and all of an `||` to make it false; else one will do.
                let every = (*op == Op::And) == want;
                let count = if every { args.len() } else { 1 };
                args.iter().take(count).for_each(|arg| self.solve(draft, arg, want, all, depth));
            }
            AstNode::Call(Op::Ternary, args) => {
                if let [test, yes, _] = args.as_slice() {
                    self.solve(draft, test, true, all, depth);
                    self.solve(draft, yes, want, all, depth);
                }
            }
            AstNode::Call(op, args) => self.atom(draft, *op, args, want, all, depth),
            AstNode::Has { of, field } => {
                if let Some(mut path) = path(of) {
                    path.push(field.clone());
                    let any = |_: &Value| true;
                    let value = want.then(|| Value::from(1_i64));
                    self.assign(draft, &path, value, &any, all, depth);
                }
            }
            _ => {
                if let Some(path) = path(ast) {
                    let wanted = move |value: &Value| *value == Value::Bool(want);
                    self.assign(draft, &path, Some(Value::Bool(want)), &wanted, all, depth);
                }
            }
        }
    }

    fn atom(
        &self,
        draft: &mut Draft,
        op: Op,
        args: &[Ast],
        want: bool,
        all: &[&Match],
        depth: usize,
    ) {
        let [left, right] = args else { return };
        if op == Op::In {
            return self.contained(draft, (left, right), want, all, depth);
        }
        if let (Op::Contains | Op::StartsWith | Op::EndsWith, Some(path), Some(part)) =
            (op, path(left), constant(right))
        {
            let value = if want { part } else { Value::from("-") };
            return self.assign(draft, &path, Some(value), &|_| false, all, depth);
        }
        let (side, fixed, op) = match (constant(left), constant(right)) {
            (_, Some(fixed)) => (left, fixed, op),
            (Some(fixed), _) => (right, fixed, turned(op)),
            _ => return,
        };
        let wanted = |value: &Value| holds(op, value, &fixed) == Some(want);
        if let AstNode::Call(Op::Size, inner) = &side.node {
            let sized = inner.first().and_then(path);
            let count = near(&fixed).into_iter().find(&wanted).and_then(|it| it.as_u64());
            if let (Some(path), Some(count)) = (sized, count.filter(|it| *it <= 4096)) {
                let count = usize::try_from(count).unwrap_or(0);
                let list: Vec<Value> = (0..count).map(|at| Value::from(format!("x{at}"))).collect();
                self.assign(draft, &path, Some(Value::Array(list)), &|_| false, all, depth);
            }
            return;
        }
        let Some(path) = path(side) else {
            // What is calculated is tried with its own constants.
            return;
        };
        let value = near(&fixed).into_iter().find(&wanted);
        self.assign(draft, &path, value, &wanted, all, depth);
    }

    fn contained(
        &self,
        draft: &mut Draft,
        (item, list): (&Ast, &Ast),
        want: bool,
        all: &[&Match],
        depth: usize,
    ) {
        if let (Some(Value::String(text)), Some(path)) = (constant(item), path(list)) {
            match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["request", "risk_tags"] if want => drop(draft.0.risk_tags.insert(text)),
                ["request", "risk_tags"] => drop(draft.0.risk_tags.remove(&text)),
                ["verified", "roles"] if want => drop(draft.1.roles.insert(text)),
                ["verified", "roles"] => drop(draft.1.roles.remove(&text)),
                ["request", "labels"] if want => {
                    draft.0.labels.insert(text, "anything-else".to_owned());
                }
                ["request", "labels"] => drop(draft.0.labels.remove(&text)),
                _ => {
                    let value =
                        Value::Array(if want { vec![Value::from(text)] } else { Vec::new() });
                    self.assign(draft, &path, Some(value), &|_| false, all, depth);
                }
            }
            return;
        }
        if let (Some(path), AstNode::List(items)) = (path(item), &list.node) {
            let fixed: Vec<Value> = items.iter().filter_map(constant).collect();
            let wanted = |value: &Value| fixed.contains(value) == want;
            let value = fixed.first().cloned().filter(|_| want);
            let other = Some(Value::from("anything-else")).filter(|_| !want);
            self.assign(draft, &path, value.or(other), &wanted, all, depth);
        }
    }

    /// Sets a value of the request, or makes a deriver find it.
    fn assign(
        &self,
        draft: &mut Draft,
        path: &[String],
        value: Option<Value>,
        wanted: &dyn Fn(&Value) -> bool,
        all: &[&Match],
        depth: usize,
    ) {
        if let Some(slot) = slot_of(path) {
            match (&slot, value) {
                (Slot::Path(path), value) => set_path(draft, path, value),
                (slot, Some(Value::String(text))) if slot.carries(&text) => {
                    set_text(draft, slot, &text);
                }
                (Slot::ActorKind, Some(Value::String(text))) => set_text(draft, &slot, &text),
                (slot, Some(_)) => set_text(draft, slot, "anything-else"),
                (slot, None) => place(draft, slot, &Choice::Absent),
            }
            return;
        }
        if depth >= DEPTH_MAX {
            return;
        }
        // Of several, one whose own keys agree with what is asked for besides.
        let found = self.finding(path, wanted);
        let agrees = |deriver: &Deriver| {
            let with: Vec<&Match> = all.iter().copied().chain([&deriver.matches]).collect();
            self.slots(&[&Match { when: None, ..deriver.matches.clone() }])
                .iter()
                .filter(|slot| !matches!(slot, Slot::RiskTag(_) | Slot::Role(_)))
                .all(|slot| !self.fitting(slot, &with).is_empty())
        };
        let best = found.iter().find(|(_, it)| agrees(it)).or(found.first());
        if let Some((_, deriver)) = best {
            self.derive(draft, deriver, all, depth.saturating_add(1));
        }
    }
}

/// The names of a list of literals, where `*` stands for any.
fn names(patterns: &[String]) -> std::collections::BTreeSet<String> {
    let name = |text: &String| if text == "*" { "anything-else".to_owned() } else { text.clone() };
    patterns.iter().map(name).collect()
}

/// Values at and beside a constant.
fn near(fixed: &Value) -> Vec<Value> {
    match fixed {
        Value::Number(Number::Int(_)) => {
            let at = fixed.as_i64().unwrap_or(0);
            [at, at.saturating_add(1), at.saturating_sub(1)].map(Value::from).to_vec()
        }
        Value::Number(number) => [0.0, 1.0, -1.0]
            .into_iter()
            .filter_map(|by| Number::from_f64(number.as_f64() + by).map(Value::Number))
            .collect(),
        Value::Bool(value) => vec![Value::Bool(*value), Value::Bool(!*value)],
        Value::String(text) => {
            vec![fixed.clone(), Value::from(format!("{text}x")), Value::from("-")]
        }
        other => vec![other.clone(), Value::Object(Object::new())],
    }
}

fn turned(op: Op) -> Op {
    match op {
        Op::Lt => Op::Gt,
        Op::Le => Op::Ge,
        Op::Gt => Op::Lt,
        Op::Ge => Op::Le,
        other => other,
    }
}

fn holds(op: Op, value: &Value, fixed: &Value) -> Option<bool> {
    let order = match (value, fixed) {
        (Value::Number(a), Value::Number(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (a, b) if op == Op::Eq || op == Op::Ne => return Some((a == b) == (op == Op::Eq)),
        _ => return None,
    };
    Some(match op {
        Op::Eq => order == Ordering::Equal,
        Op::Ne => order != Ordering::Equal,
        Op::Lt => order == Ordering::Less,
        Op::Le => order != Ordering::Greater,
        Op::Gt => order == Ordering::Greater,
        Op::Ge => order != Ordering::Less,
        _ => return None,
    })
}
