//! Names in one document of what another declares: surfaces, roles, capabilities, models. The shapes say
//! which keys hold such names; here they are collected from every document and compared. Owns what counts
//! as declared.

use crate::access::Permission;
use crate::bundle::is_built_in;
use crate::diagnostic::{Code, Place, Severity};
use crate::documents::{roles, shape_of};
use crate::lint::pattern_covers;
use crate::model::Model;
use crate::pattern::Dialect;
use crate::shape::{Field, Shape};
use crate::syntax::{Data, Member, Node};
use placet_types::json::{Object, Value};
use placet_types::nearest::nearest;
use std::cell::Cell;
use std::collections::BTreeSet;

/// What a text names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// Surfaces, by a pattern.
    Surface,
    /// Surfaces, within a permission.
    Permission,
    /// A role, or `*`.
    Role,
    /// A capability, or `*`.
    Capability,
    /// A model, or `*`.
    Model,
}

/// One name, and where it stands.
pub(crate) struct Mention<'n> {
    pub(crate) to: Reference,
    /// Top key of the document.
    pub(crate) kind: &'n str,
    /// Id or name of the entry; empty in a document without entries.
    pub(crate) entry: &'n str,
    /// The keys that lead to it from there.
    pub(crate) path: Vec<&'static str>,
    pub(crate) text: &'n str,
    pub(crate) place: Place,
    /// Where the list or mapping begins that holds it.
    pub(crate) list: Place,
}

/// Why a name is none.
pub(crate) struct Unknown {
    pub(crate) code: Code,
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// Every name that a section mentions.
pub(crate) fn mentions<'n>(kind: &'n str, node: &'n Node) -> Vec<Mention<'n>> {
    let mut walk = Walk { kind, entry: "", path: Vec::new(), out: Vec::new() };
    match shape_of(kind) {
        Some(Shape::Entries(of)) => {
            for item in items(node) {
                let id = members(item).find(|member| member.key == "id");
                walk.entry = match id.map(|member| &member.value.value) {
                    Some(Data::Text { text, .. }) => text,
                    _ => "",
                };
                walk.record(of, item);
            }
        }
        Some(Shape::Map(_, value)) => {
            for member in members(node) {
                walk.entry = &member.key;
                walk.descend(value, &member.value);
            }
        }
        Some(shape) => walk.descend(shape, node),
        None => {}
    }
    walk.out
}

fn members(node: &Node) -> impl Iterator<Item = &Member> {
    let members = match &node.value {
        Data::Map(members) => members.as_slice(),
        _ => &[],
    };
    members.iter()
}

fn items(node: &Node) -> impl Iterator<Item = &Node> {
    let items = match &node.value {
        Data::List(items) => items.as_slice(),
        _ => &[],
    };
    items.iter()
}

struct Walk<'n> {
    kind: &'n str,
    entry: &'n str,
    path: Vec<&'static str>,
    out: Vec<Mention<'n>>,
}

impl<'n> Walk<'n> {
    fn descend(&mut self, shape: &Shape, node: &'n Node) {
        match shape {
            Shape::Record(of) => self.record(of, node),
            Shape::Entries(of) => items(node).for_each(|item| self.record(of, item)),
            Shape::List(item) | Shape::Set(item) | Shape::Several(item) => {
                items(node).for_each(|node| self.descend(item, node));
            }
            Shape::Map(_, value) => {
                members(node).for_each(|member| self.descend(value, &member.value));
            }
            _ => {}
        }
    }

    fn record(&mut self, of: &[Field], node: &'n Node) {
        for member in members(node) {
            let Some(field) = of.iter().find(|field| field.name == member.key) else { continue };
            self.path.push(field.name);
            match field.refers {
                Some(to) => self.texts(to, &member.value),
                None => self.descend(&field.shape, &member.value),
            }
            self.path.pop();
        }
    }

    /// A text, the texts of a list, or the keys of a mapping.
    fn texts(&mut self, to: Reference, node: &'n Node) {
        let text = |node: &'n Node| match &node.value {
            Data::Text { text, .. } => Some((text.as_str(), node.place)),
            _ => None,
        };
        let found: Vec<(&str, Place)> = match &node.value {
            Data::Map(members) => members.iter().map(|it| (it.key.as_str(), it.place)).collect(),
            Data::List(items) => items.iter().filter_map(text).collect(),
            _ => text(node).into_iter().collect(),
        };
        for (text, place) in found {
            let (kind, entry, path) = (self.kind, self.entry, self.path.clone());
            self.out.push(Mention { to, kind, entry, path, text, place, list: node.place });
        }
    }
}

/// What the documents of a bundle declare; `None` where no document of the kind is there, and then every
/// name is good.
pub(crate) struct Declared<'m> {
    pub(crate) surfaces: Option<Vec<&'m str>>,
    pub(crate) roles: Option<BTreeSet<&'m str>>,
    pub(crate) capabilities: Option<BTreeSet<&'m str>>,
    /// The allow list; `None` as well where it allows all.
    pub(crate) models: Option<BTreeSet<&'m str>>,
    near_left: Cell<u32>,
}

/// Most names for which the nearest one is sought: more are not shown anyway, and each is compared with all.
const NEAR_MAX: u32 = 200;

impl<'m> Declared<'m> {
    pub(crate) fn of(model: &'m Model) -> Self {
        let names = |kind: &str| -> Option<BTreeSet<&'m str>> {
            let document = model.documents.get(kind)?;
            Some(document.as_object().into_iter().flat_map(Object::iter).map(|it| it.0).collect())
        };
        let mut declared_roles = names("roles");
        if let Some(roles) = &mut declared_roles {
            for name in roles::built_in_roles() {
                roles.insert(name);
            }
        }
        let allow = model.documents.get("models").and_then(|it| it.get("allow"));
        let allow = allow.and_then(Value::as_array);
        let models: Option<BTreeSet<&str>> =
            allow.map(|it| it.iter().filter_map(Value::as_str).collect());
        Self {
            surfaces: model.surfaces.as_ref().map(|it| it.keys().map(String::as_str).collect()),
            roles: declared_roles,
            capabilities: names("capabilities"),
            models: models.filter(|it| !it.contains("*")),
            near_left: Cell::new(NEAR_MAX),
        }
    }

    /// Whether some declared surface matches a pattern, or one that is built in may.
    pub(crate) fn has_surface(&self, pattern: &str) -> bool {
        let Some(declared) = &self.surfaces else { return true };
        may_be_built_in(pattern)
            || declared.binary_search(&pattern).is_ok()
            || (pattern.contains('*')
                && declared.iter().any(|name| pattern_covers(Dialect::Dotted, pattern, name)))
    }

    /// What is wrong with a name; `None` where nothing is.
    pub(crate) fn judge(&self, mention: &Mention<'_>) -> Option<Unknown> {
        let text = mention.text;
        let among = |names: &Option<BTreeSet<&str>>| {
            names.as_ref().is_none_or(|it| text == "*" || it.contains(text))
        };
        let near = |names: &Option<BTreeSet<&str>>, otherwise: &str| {
            let near = self.nearest(text, names.iter().flatten().copied());
            near.map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"))
        };
        let (code, severity, message, hint) = match mention.to {
            Reference::Surface if !self.has_surface(text) => {
                (Code::UnknownSurface, Severity::Warning, None, self.near_surface(text))
            }
            Reference::Permission => {
                let surfaces = Permission::parse(text).ok()?.surfaces;
                if self.has_surface(&surfaces) {
                    return None;
                }
                let message = format!("no declared surface matches `{surfaces}` of `{text}`");
                let hint = self.near_surface(&surfaces);
                (Code::UnknownSurface, Severity::Warning, Some(message), hint)
            }
            Reference::Role if !among(&self.roles) => {
                // A case may well try what becomes of a stranger.
                let severity =
                    if mention.kind == "tests" { Severity::Warning } else { Severity::Error };
                let message = format!("`roles:` does not know the role `{text}`");
                let hint = near(&self.roles, "declare it under `roles:`");
                (Code::UndeclaredRole, severity, Some(message), hint)
            }
            Reference::Capability if !among(&self.capabilities) => {
                let message = format!("no manifest of `capabilities:` is called `{text}`");
                let hint = near(&self.capabilities, "declare it under `capabilities:`");
                (Code::UnknownCapability, Severity::Warning, Some(message), hint)
            }
            Reference::Model if !among(&self.models) => {
                let message = format!("the model `{text}` is not on the allow list");
                let hint =
                    near(&self.models, "add it to `allow` of `models:`, or leave it out here");
                // What grants a model that is not allowed contradicts the list.
                if matches!(mention.kind, "capabilities" | "models")
                    && mention.path.last() == Some(&"models")
                {
                    (Code::Conflict, Severity::Error, Some(message), hint)
                } else {
                    (Code::UnknownModel, Severity::Warning, Some(message), hint)
                }
            }
            _ => return None,
        };
        let message = message.unwrap_or_else(|| format!("no declared surface matches `{text}`"));
        Some(Unknown { code, severity, message, hint })
    }

    fn near_surface(&self, pattern: &str) -> String {
        let otherwise = "declare the surface under `surfaces:`, or correct the pattern";
        let near = self.nearest(pattern, self.surfaces.iter().flatten().copied());
        near.map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"))
    }

    /// The name that was most likely meant.
    pub(crate) fn nearest<'n>(
        &self,
        text: &str,
        names: impl Iterator<Item = &'n str>,
    ) -> Option<&'n str> {
        self.near_left.set(self.near_left.get().checked_sub(1)?);
        nearest(text, &names.collect::<Vec<_>>())
    }
}

/// Whether a pattern may match surfaces that no document lists.
pub(crate) fn may_be_built_in(pattern: &str) -> bool {
    let first = pattern.split('.').next().unwrap_or_default();
    // Wildcards at the front may match what is built in.
    first.starts_with('*')
        || is_built_in(&format!("{first}."))
        || ["execution", "job"].iter().any(|name| pattern_covers(Dialect::Dotted, pattern, name))
}
