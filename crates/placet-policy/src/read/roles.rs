//! Roles and models as all documents of a bundle speak of them: whether each is declared, and whether whoever
//! is asked for an approval may give it. Owns what is compared between documents; each by itself is read
//! elsewhere.

use crate::access::{IMPLIED_ID_MAX, Permission, Verb, implied_rules};
use crate::diagnostic::{Code, Place, Report};
use crate::documents::roles::{self, Role};
use crate::model::{MatchKey, Model};
use crate::syntax::{Data, Member, Node};
use placet_types::json::{Object, Value};
use placet_types::nearest::nearest;
use placet_types::policy::Effect;
use std::collections::{BTreeMap, BTreeSet};

/// Longest name of a capability or role that a document describes, so that ids of implied rules fit.
const NAME_MAX: usize = 128;

/// What documents name and another document declares.
#[derive(Default)]
pub(super) struct Mentions {
    roles: Vec<(String, Place)>,
    models: Vec<(String, Place)>,
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
        match kind {
            "capabilities" => {
                for member in children(node) {
                    too_long(member, report);
                    self.texts(child(&member.value, "allowed_roles"));
                    Self::all(&mut self.models, child(&member.value, "models"));
                    for point in items(child(&member.value, "checkpoints")) {
                        self.keys(child(point, "roles"));
                    }
                }
            }
            "roles" => {
                for member in children(node) {
                    too_long(member, report);
                    let read_only = child(&member.value, "read_only");
                    if let Some(Node { value: Data::Bool(true), place }) = read_only
                        && member.key == "admin"
                    {
                        let message =
                            "`admin` cannot be `read_only`: nobody could change the policy";
                        report.error(Code::Conflict, *place, message);
                    }
                    for duty in items(child(&member.value, "must_not_alone")) {
                        self.keys(child(duty, "approvers"));
                    }
                }
            }
            "identity" => {
                for issuer in items(Some(node)) {
                    for grant in items(child(issuer, "grants")) {
                        self.texts(child(grant, "roles"));
                    }
                }
            }
            "models" => {
                for route in items(child(node, "routes")) {
                    Self::all(&mut self.models, child(route, "models"));
                }
            }
            "approvals" | "derivers" | "floor" | "rules" => {
                for item in items(Some(node)) {
                    self.texts(child(item, "match").and_then(|it| child(it, "roles")));
                    self.keys(child(item, "approval").and_then(|it| child(it, "roles")));
                    if kind == "approvals" {
                        self.keys(child(item, "roles"));
                        for step in items(child(item, "escalate")) {
                            self.keys(child(step, "roles"));
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn texts(&mut self, list: Option<&Node>) {
        Self::all(&mut self.roles, list);
    }

    fn all(into: &mut Vec<(String, Place)>, list: Option<&Node>) {
        for item in items(list) {
            if let Data::Text { text, .. } = &item.value
                && text != "*"
            {
                into.push((text.clone(), item.place));
            }
        }
    }

    fn keys(&mut self, map: Option<&Node>) {
        let keys = map.into_iter().flat_map(children);
        self.roles.extend(keys.map(|member| (member.key.clone(), member.place)));
    }

    /// Refuses what no document declares.
    pub(super) fn check(&self, model: &Model, report: &mut Report<'_>) {
        if let Some(document) = model.documents.get("roles") {
            let declared = document.as_object().into_iter().flat_map(Object::iter);
            let mut known: BTreeSet<&str> = declared.map(|(name, _)| name).collect();
            for name in roles::built_in_roles() {
                known.insert(name);
            }
            let names: Vec<&str> = known.iter().copied().collect();
            for (role, place) in &self.roles {
                if !known.contains(role.as_str()) {
                    let hint = nearest(role, &names).map_or_else(
                        || "declare it under `roles:`".to_owned(),
                        |near| format!("did you mean `{near}`?"),
                    );
                    let message = format!("`roles:` does not know the role `{role}`");
                    report.error_hint(Code::UndeclaredRole, *place, message, hint);
                }
            }
        }
        let allow = model.documents.get("models").and_then(|it| it.get("allow"));
        if let Some(allow) = allow.and_then(Value::as_array) {
            let allowed: BTreeSet<&str> = allow.iter().filter_map(Value::as_str).collect();
            for (name, place) in &self.models {
                if !allowed.contains("*") && !allowed.contains(name.as_str()) {
                    let message = format!("the model `{name}` is not on the allow list");
                    let hint = "add it to `allow` of `models:`, or leave it out here";
                    report.error_hint(Code::Conflict, *place, message, hint);
                }
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
