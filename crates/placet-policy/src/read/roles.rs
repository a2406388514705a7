//! Roles and models as all documents of a bundle speak of them: whether each is declared, and whether whoever
//! is asked for an approval may give it. Owns what is compared between documents; each by itself is read
//! elsewhere.

use crate::access::{IMPLIED_ID_MAX, Permission, Verb, implied_rules};
use crate::diagnostic::{Code, Place, Report, Severity};
use crate::documents::roles::{self, Role};
use crate::model::{MatchKey, Model};
use crate::references::{Declared, Mention, Reference, mentions};
use crate::syntax::{Data, Member, Node};
use placet_types::policy::Effect;
use std::collections::{BTreeMap, BTreeSet};

/// Longest name of a capability or role that a document describes, so that ids of implied rules fit.
const NAME_MAX: usize = 128;

/// Names that have to be declared somewhere, and the verdict on them once everything is read.
#[derive(Default)]
pub(super) struct Mentions {
    found: Vec<Named>,
}

/// A [`Mention`] that is kept until the end.
struct Named {
    to: Reference,
    kind: String,
    path: Vec<&'static str>,
    text: String,
    place: Place,
}

pub(super) fn child<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    children(node).find(|member| member.key == key).map(|member| &member.value)
}

pub(super) fn children(node: &Node) -> impl Iterator<Item = &Member> {
    let members = match &node.value {
        Data::Map(members) => members.as_slice(),
        _ => &[],
    };
    members.iter()
}

pub(super) fn items(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    let items = match node.map(|node| &node.value) {
        Some(Data::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter()
}

impl Mentions {
    /// Remembers what a section names.
    pub(super) fn collect(&mut self, kind: &str, node: &Node, report: &mut Report<'_>) {
        // Surfaces and capabilities that nobody declares are for the linter to say.
        let strict = |it: &Mention<'_>| matches!(it.to, Reference::Role | Reference::Model);
        let named = |Mention { to, kind, path, text, place, .. }: Mention<'_>| Named {
            to,
            kind: kind.to_owned(),
            path,
            text: text.to_owned(),
            place,
        };
        self.found.extend(mentions(kind, node).into_iter().filter(strict).map(named));
        for member in children(node).filter(|_| matches!(kind, "capabilities" | "roles")) {
            too_long(member, report);
            if let Some(Node { value: Data::Bool(true), place }) = child(&member.value, "read_only")
                && kind == "roles"
                && member.key == "admin"
            {
                let message = "`admin` cannot be `read_only`: nobody could change the policy";
                report.error(Code::Conflict, *place, message);
            }
        }
    }

    /// Refuses what no document declares.
    pub(super) fn check(&self, model: &Model, report: &mut Report<'_>) {
        let declared = Declared::of(model);
        for Named { to, kind, path, text, place } in &self.found {
            let (path, list) = (path.clone(), *place);
            let mention = Mention { to: *to, kind, entry: "", path, text, place: *place, list };
            let unknown = declared.judge(&mention);
            if let Some(it) = unknown.filter(|it| it.severity == Severity::Error) {
                report.error_hint(it.code, *place, it.message, it.hint);
            }
        }
    }
}

fn too_long(member: &Member, report: &mut Report<'_>) {
    if member.key.len() > NAME_MAX {
        let message = format!("a name of more than {NAME_MAX} bytes");
        report.error(Code::Bound, member.place, message);
    }
}

/// Adds the rules that follow from manifests and roles.
pub(super) fn imply(model: &mut Model, report: &mut Report<'_>) {
    match implied_rules(&model.documents) {
        Ok(rules) => model.rules.extend(rules),
        Err(id) => {
            let message =
                format!("the names in `{id}` are longer than {IMPLIED_ID_MAX} bytes together");
            report.error(Code::Bound, Place::default(), message);
        }
    }
}

/// Refuses to ask somebody for an approval who may not give it: where any role may approve on a surface,
/// only such roles do. Rules that name their surfaces by patterns are not looked at.
pub(super) fn approvers(model: &Model, places: &BTreeMap<String, Place>, report: &mut Report<'_>) {
    let Some(document) = model.documents.get("roles") else { return };
    let all = roles::in_force(document);
    let mut approving: BTreeMap<&str, (Permission, Vec<&str>)> = BTreeMap::new();
    for Role { name, may, .. } in &all {
        for text in may {
            let Ok(permission) = Permission::parse(text) else { continue };
            if permission.verb == Verb::Approve {
                approving.entry(text).or_insert((permission, Vec::new())).1.push(name);
            }
        }
    }
    let mut known: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for rule in &model.rules {
        if rule.effect.effect != Effect::RequireApproval || rule.effect.advice {
            continue;
        }
        let literals = |key| {
            let patterns = rule.matches.lists.get(&key).map(Vec::as_slice).unwrap_or_default();
            patterns.iter().map(String::as_str).filter(|it| !it.contains('*'))
        };
        // Without actions, or with patterns of them, only what holds for all of them counts.
        let mut actions: Vec<&str> = literals(MatchKey::Actions).collect();
        if actions.is_empty() {
            actions.push("");
        }
        let demanded = rule.effect.approval.clone().unwrap_or_default().roles;
        for surface in literals(MatchKey::Surfaces) {
            for action in &actions {
                let may = known.entry((surface, action)).or_insert_with(|| {
                    let covering = approving.values().filter(|(it, _)| it.covers(surface, action));
                    covering.flat_map(|(_, names)| names.iter().copied()).collect()
                });
                let missing = demanded.keys().find(|role| !may.contains(role.as_str()));
                let Some(role) = missing.filter(|_| !may.is_empty()) else { continue };
                let place = places.get(&rule.effect.id).copied().unwrap_or_default();
                let names = may.iter().copied().collect::<Vec<_>>().join(", ");
                let (id, message) = (&rule.effect.id, "asks for an approval by");
                let message =
                    format!("`{id}` {message} `{role}`, who may not approve on `{surface}`");
                let hint = format!("`roles:` lets {names} approve there");
                report.error_hint(Code::Conflict, place, message, hint);
                break;
            }
        }
    }
}
