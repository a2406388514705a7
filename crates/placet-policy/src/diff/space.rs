//! The partition of requests: one axis for each value that two bundles look at, on it one choice for
//! each class of values that neither can tell apart. Owns how a choice on every axis becomes a request;
//! refuses to know outcomes.

use super::automaton::{classes, matches, other};
use super::conditions::Constants;
use super::draft::{Draft, set_text};
use super::gather::Gathered;
use crate::bundle::Bundle;
use crate::model::{MatchKey, Rule};
use crate::pattern::Dialect;
use placet_types::ids::{ActorId, is_dotted_name, is_label, is_name};
use placet_types::json::{Object, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Where a value stands in a request or in the verified facts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Surface,
    Action,
    Topic,
    Target,
    Actor,
    ActorKind,
    Environment,
    Workspace,
    Team,
    Capability,
    Branch,
    Model,
    Execution,
    Step,
    RiskTag(String),
    Role(String),
    Label(String),
    /// A value below `arguments` or `context`, or one of these two.
    Path(Vec<String>),
}

impl Slot {
    /// The text field of the envelope or of the facts with this name.
    pub(super) fn of_field(root: &str, name: &str) -> Option<Self> {
        Some(match (root, name) {
            ("request", "surface") => Self::Surface,
            ("request", "action") => Self::Action,
            ("request", "topic") => Self::Topic,
            ("request", "target") => Self::Target,
            ("request", "team") => Self::Team,
            ("request", "capability") => Self::Capability,
            ("request", "branch") => Self::Branch,
            ("request", "model") => Self::Model,
            ("request", "execution") => Self::Execution,
            ("request", "step") => Self::Step,
            ("verified", "actor") => Self::Actor,
            ("verified", "actor_kind") => Self::ActorKind,
            ("verified", "environment") => Self::Environment,
            ("verified", "workspace") => Self::Workspace,
            _ => return None,
        })
    }

    pub(super) fn of_key(key: MatchKey) -> Option<Self> {
        Some(match key {
            MatchKey::Topics => Self::Topic,
            MatchKey::Surfaces => Self::Surface,
            MatchKey::Actions => Self::Action,
            MatchKey::Targets => Self::Target,
            MatchKey::Actors => Self::Actor,
            MatchKey::ActorKinds => Self::ActorKind,
            MatchKey::Teams => Self::Team,
            MatchKey::Capabilities => Self::Capability,
            MatchKey::Branches => Self::Branch,
            MatchKey::Models => Self::Model,
            MatchKey::Environments => Self::Environment,
            MatchKey::RiskTags | MatchKey::RiskTagsAll | MatchKey::Roles => return None,
        })
    }

    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::Surface | Self::Action | Self::Topic => Dialect::Dotted,
            Self::Target => Dialect::Path,
            Self::Actor => Dialect::Actor,
            Self::ActorKind => Dialect::ActorKind,
            Self::Environment | Self::Workspace => Dialect::Environment,
            Self::Label(_) => Dialect::Text,
            _ => Dialect::Name,
        }
    }

    /// Whether a request can carry the text there.
    pub(super) fn carries(&self, text: &str) -> bool {
        match self {
            Self::Surface | Self::Action | Self::Topic => is_dotted_name(text),
            Self::Target => (1..=2048).contains(&text.len()),
            Self::Actor => ActorId::parse(text).is_some(),
            Self::Environment | Self::Workspace => is_label(text),
            Self::Label(_) => text.len() <= 256,
            _ => is_name(text),
        }
    }

    pub(super) const fn required(&self) -> bool {
        matches!(
            self,
            Self::Surface | Self::Action | Self::Actor | Self::Environment | Self::Workspace
        )
    }
}

/// One class of values on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice {
    /// The request has no such value.
    Absent,
    /// The tag or role is among them.
    Among,
    Text(String),
    Json(Value),
    /// An object, whose members are axes of their own.
    Object,
}

/// All classes of one value.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) slot: Slot,
    pub(super) choices: Vec<Choice>,
    /// For a member: the axis of what holds it, and it only counts where that is an object.
    parent: Option<usize>,
}

/// The whole partition, or as much as is known of it.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Objects before their members.
    pub(super) axes: Vec<Axis>,
    /// Why the choices do not cover everything; nothing where they do.
    pub(super) open: Vec<String>,
    /// What the two bundles compare with different constants.
    pub(super) changed: BTreeSet<Slot>,
}

impl Space {
    pub(super) fn of(bundles: [&Bundle; 2]) -> Self {
        let [a, b] = bundles.map(Gathered::of);
        let mut space = Self { changed: a.differing(&b), ..Self::default() };
        let Gathered { texts, tags, roles, labels, asked, open } = a.with(b);
        for why in open {
            space.open(why);
        }
        space.text_axes(texts);
        space.sets(tags, Slot::RiskTag);
        space.sets(roles, Slot::Role);
        for (name, patterns) in labels {
            space.text_axis(Slot::Label(name), &patterns);
        }
        space.paths(asked.paths);
        space
    }

    /// The axis of a slot.
    pub(super) fn axis(&self, slot: &Slot) -> Option<&Axis> {
        self.axes.iter().find(|axis| axis.slot == *slot)
    }

    fn open(&mut self, why: String) {
        if !self.open.contains(&why) {
            self.open.push(why);
        }
    }

    fn text_axes(&mut self, mut texts: BTreeMap<Slot, BTreeSet<String>>) {
        let kinds = texts.remove(&Slot::ActorKind).is_some();
        texts.entry(Slot::Surface).or_default();
        texts.entry(Slot::Action).or_default();
        if kinds {
            texts.entry(Slot::Actor).or_default();
        }
        for (slot, patterns) in texts {
            if slot == Slot::Actor {
                let values = classes(slot.dialect(), &patterns, kinds);
                self.axis_of(slot, &patterns, values);
            } else {
                self.text_axis(slot, &patterns);
            }
        }
    }

    fn text_axis(&mut self, slot: Slot, patterns: &BTreeSet<String>) {
        let values = classes(slot.dialect(), patterns, false);
        self.axis_of(slot, patterns, values);
    }

    fn axis_of(&mut self, slot: Slot, patterns: &BTreeSet<String>, values: Option<Vec<String>>) {
        let values = values.unwrap_or_else(|| {
            self.open(format!("{} patterns on {slot:?} are too many to combine", patterns.len()));
            let mut each: Vec<String> =
                patterns.iter().map(|text| text.replace('*', "x")).collect();
            each.push(match slot {
                Slot::Actor => "agent:anything-else".to_owned(),
                _ => other(patterns.iter().map(String::as_str)),
            });
            each
        });
        let mut choices: Vec<Choice> =
            values.into_iter().filter(|text| slot.carries(text)).map(Choice::Text).collect();
        if !slot.required() {
            choices.push(Choice::Absent);
        }
        self.axes.push(Axis { slot, choices, parent: None });
    }

    /// Each literal is there or not; `*` asks for any at all.
    fn sets(&mut self, names: BTreeSet<String>, slot: impl Fn(String) -> Slot) {
        let other = other(names.iter().map(String::as_str));
        for name in names {
            let name = if name == "*" { other.clone() } else { name };
            let choices = vec![Choice::Absent, Choice::Among];
            self.axes.push(Axis { slot: slot(name), choices, parent: None });
        }
    }

    fn paths(&mut self, asked: BTreeMap<Vec<String>, Constants>) {
        let mut all: BTreeSet<Vec<String>> = BTreeSet::new();
        for path in asked.keys() {
            for end in 1..=path.len() {
                all.insert(path.get(..end).unwrap_or_default().to_vec());
            }
        }
        // Sorted, so what holds a member comes before it.
        let mut places: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        for path in &all {
            let holds = all.iter().any(|other| other.len() > path.len() && other.starts_with(path));
            let mut choices = Vec::new();
            if holds {
                choices.push(Choice::Object);
            }
            let root = path.len() == 1;
            if root && path.first().is_some_and(|name| name == "context") {
                choices.push(Choice::Object);
                choices.dedup();
            } else {
                let constants = asked.get(path).cloned().unwrap_or_default();
                // `null` is refused as a field of the envelope.
                let values = constants.representatives().into_iter();
                let values = values.filter(|value| !root || *value != Value::Null);
                choices.extend(values.map(Choice::Json));
                if !holds {
                    choices.push(Choice::Object);
                }
            }
            choices.push(Choice::Absent);
            let parent = path.split_last().and_then(|(_, parent)| places.get(parent).copied());
            places.insert(path.clone(), self.axes.len());
            self.axes.push(Axis { slot: Slot::Path(path.clone()), choices, parent });
        }
    }

    /// How many combinations of choices there are, members of what is no object counted as often as
    /// they have choices.
    pub(super) fn combinations(&self) -> u128 {
        self.axes
            .iter()
            .fold(1_u128, |product, axis| product.saturating_mul(axis.choices.len() as u128))
    }

    /// Whether these choices are the first of several that give the same request: a member of what
    /// is no object counts once.
    pub(super) fn counts(&self, picks: &[usize]) -> bool {
        picks.iter().enumerate().all(|(at, pick)| *pick == 0 || self.held(at, picks))
    }

    /// Whether all that holds the value of an axis is an object.
    pub(super) fn held(&self, axis: usize, picks: &[usize]) -> bool {
        let Some(parent) = self.axes.get(axis).and_then(|axis| axis.parent) else { return true };
        let choice = self.axes.get(parent).zip(picks.get(parent));
        choice.is_some_and(|(axis, pick)| axis.choices.get(*pick) == Some(&Choice::Object))
            && self.held(parent, picks)
    }

    /// The choices on each axis under which a rule's keys match, for those axes that it has keys on.
    pub(super) fn matching(&self, rule: &Rule) -> Vec<(usize, Vec<usize>)> {
        let mut out = Vec::new();
        for (at, axis) in self.axes.iter().enumerate() {
            let patterns: Option<(&Vec<String>, bool)> = match &axis.slot {
                Slot::Label(name) => rule.matches.labels.get(name).map(|list| (list, false)),
                Slot::RiskTag(_) => [MatchKey::RiskTagsAll, MatchKey::RiskTags]
                    .iter()
                    .find_map(|key| rule.matches.lists.get(key))
                    .map(|list| (list, true)),
                Slot::Role(_) => rule.matches.lists.get(&MatchKey::Roles).map(|list| (list, true)),
                slot => {
                    let key = MatchKey::ALL.into_iter();
                    let key = key.filter(|key| Slot::of_key(*key).as_ref() == Some(slot));
                    let mut lists = key.filter_map(|key| rule.matches.lists.get(&key));
                    lists.next().map(|list| (list, false))
                }
            };
            let Some((patterns, set)) = patterns else { continue };
            let dialect = axis.slot.dialect();
            let fits = |choice: &Choice| match (choice, &axis.slot) {
                (Choice::Among, Slot::RiskTag(name) | Slot::Role(name)) => {
                    set && patterns.iter().any(|pattern| pattern == "*" || pattern == name)
                }
                (Choice::Text(text), _) => {
                    patterns.iter().any(|pattern| matches(dialect, pattern, text))
                }
                _ => false,
            };
            let choices = axis.choices.iter().enumerate().filter(|(_, choice)| fits(choice));
            let choices: Vec<usize> = choices.map(|(pick, _)| pick).collect();
            if !choices.is_empty() {
                out.push((at, choices));
            }
        }
        out
    }

    /// The request of these choices.
    pub(super) fn request(&self, picks: &[usize], base: &Draft) -> Draft {
        let mut draft = base.clone();
        for (at, (axis, pick)) in self.axes.iter().zip(picks).enumerate() {
            let Some(choice) = axis.choices.get(*pick) else { continue };
            match (choice, &axis.slot) {
                (Choice::Text(text), slot) => set_text(&mut draft, slot, text),
                (Choice::Among, Slot::RiskTag(name)) => {
                    draft.0.risk_tags.insert(name.clone());
                }
                (Choice::Among, Slot::Role(name)) => {
                    draft.1.roles.insert(name.clone());
                }
                (Choice::Json(_) | Choice::Object, Slot::Path(path)) if path.len() == 1 => {
                    let value = self.value(at, picks);
                    if path.first().is_some_and(|name| name == "context") {
                        draft.0.context = value.as_object().cloned();
                    } else {
                        draft.0.arguments = Some(value);
                    }
                }
                _ => {}
            }
        }
        draft
    }

    /// The value on an axis, with its members.
    fn value(&self, at: usize, picks: &[usize]) -> Value {
        let choice = |at: usize| {
            self.axes.get(at).zip(picks.get(at)).and_then(|(axis, pick)| axis.choices.get(*pick))
        };
        match choice(at) {
            Some(Choice::Json(value)) => value.clone(),
            _ => {
                let mut object = Object::new();
                for (member, axis) in self.axes.iter().enumerate() {
                    if axis.parent == Some(at)
                        && choice(member).is_some_and(|choice| *choice != Choice::Absent)
                        && let Slot::Path(path) = &axis.slot
                        && let Some(name) = path.last()
                    {
                        object.set(name.as_str(), self.value(member, picks));
                    }
                }
                Value::Object(object)
            }
        }
    }
}
