//! From document trees to the validated model. Owns which top keys and values a bundle may have;
//! every refusal names its place. Knows neither YAML nor the index.

mod approvals;
mod channels;
mod deriver;
mod exceptions;
pub(crate) mod fields;
mod identity;
pub(crate) mod matches;
mod retention;
mod roles;
mod rule;
mod surface;
mod timing;

use crate::cases;
use crate::diagnostic::{Code, Place, Report};
use crate::documents::{self, DECLARED, Kind};
use crate::model::{Model, Rule};
use crate::shape;
use crate::syntax::{Data, Member, Node};
use fields::{Fields, Form};
use matches::Conditions;
use placet_types::event::RESERVED_RULES;
use placet_types::json::Value;
use placet_types::nearest::nearest;
use placet_types::policy::Layer;
use std::collections::{BTreeMap, BTreeSet};

/// Most rules of a bundle, floor included.
const RULES_MAX: usize = 20_000;
/// Most surfaces of a bundle.
const SURFACES_MAX: usize = 20_000;
/// Most different label names in the rules of a bundle.
const LABEL_NAMES_MAX: usize = 1024;

/// Kinds with a reader of their own, in the order in which they are read: what conditions may ask for is
/// declared before the conditions.
const KINDS: [&str; 5] = ["surfaces", "derivers", "floor", "rules", "approvals"];

/// All kinds of this version, in the order in which they are read.
fn kinds() -> impl Iterator<Item = &'static str> {
    DECLARED.iter().map(|kind| kind.name).chain(KINDS)
}

/// Reads documents into one model.
pub(crate) struct Reader<'a, 'r> {
    report: &'r mut Report<'a>,
    form: Form,
    model: Model,
    ids: BTreeMap<String, Place>,
    surface_places: BTreeMap<String, Place>,
    label_names: BTreeSet<String>,
    deriver_places: BTreeMap<String, Place>,
    conditions: Conditions,
    mentions: roles::Mentions,
    reached: channels::Reached,
    issuers: identity::Issuers,
}

/// Reads YAML documents.
pub(crate) fn documents(nodes: &[Node], report: &mut Report<'_>) -> Model {
    let mut reader = Reader::new(report, Form::Document);
    let mut sections = Vec::new();
    for node in nodes {
        reader.document(node, &mut sections);
    }
    reader.sections(&sections);
    reader.finish()
}

/// Reads the one object of the normal form.
pub(crate) fn normal(node: &Node, report: &mut Report<'_>) -> Model {
    let mut reader = Reader::new(report, Form::Normal);
    reader.normal(node);
    reader.finish()
}

impl<'a, 'r> Reader<'a, 'r> {
    fn new(report: &'r mut Report<'a>, form: Form) -> Self {
        Self {
            report,
            form,
            model: Model::default(),
            ids: BTreeMap::new(),
            surface_places: BTreeMap::new(),
            label_names: BTreeSet::new(),
            deriver_places: BTreeMap::new(),
            conditions: Conditions::default(),
            mentions: roles::Mentions::default(),
            reached: channels::Reached::default(),
            issuers: identity::Issuers::default(),
        }
    }

    fn finish(mut self) -> Model {
        roles::imply(&mut self.model, self.report);
        self.mentions.check(&self.model, self.report);
        self.reached.check(&self.model, self.report);
        identity::check(&self.model.documents, self.report);
        exceptions::check(&self.model.documents, self.report);
        roles::approvers(&self.model, &self.ids, self.report);
        if self.model.rules.len() > RULES_MAX {
            let message = format!("a bundle has at most {RULES_MAX} rules, implied ones included");
            self.report.error(Code::Bound, Place::default(), message);
        }
        self.model
            .rules
            .sort_by(|a, b| (a.effect.layer, &a.effect.id).cmp(&(b.effect.layer, &b.effect.id)));
        self.model.derivers.sort_by(|a, b| a.id.cmp(&b.id));
        self.model
    }

    fn document<'n>(&mut self, node: &'n Node, sections: &mut Vec<&'n Member>) {
        let Some(mut fields) = Fields::open(node, "a document", self.report) else { return };
        match fields.take("version") {
            Some(version) => {
                let known = matches!(&version.value, Data::Text { text, .. } if text == "v1");
                if !known {
                    let hint = "this version of Placet reads `version: v1`";
                    self.report.error_hint(Code::BadValue, version.place, "unknown version", hint);
                }
            }
            None => self.report.error_hint(
                Code::MissingKey,
                node.place,
                "`version` is missing",
                "begin every document with `version: v1`",
            ),
        }
        let kind = fields.take("kind").and_then(|node| fields::text(node, "kind", self.report));
        let mut found = Vec::new();
        for member in fields.rest() {
            let key = member.key.as_str();
            if kinds().any(|kind| kind == key) {
                found.push(key);
                sections.push(member);
            } else {
                let mut known: Vec<&str> = kinds().collect();
                known.extend(["version", "kind"]);
                let hint = nearest(key, &known).map_or_else(
                    || "a document holds `version` and one of rules, floor, surfaces".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                self.report.error_hint(
                    Code::UnknownKey,
                    member.place,
                    format!("unknown key `{key}`"),
                    hint,
                );
            }
        }
        if let Some((kind, place)) = kind
            && !found.contains(&kind.as_str())
        {
            let message = format!("`kind: {kind}`, but the document holds no `{kind}:`");
            self.report.error(Code::Conflict, place, message);
        }
        if found.is_empty() && !self.report.has_errors() {
            let hint = "a document holds `version` and one of rules, floor, surfaces";
            self.report.error_hint(
                Code::MissingKey,
                node.place,
                "the document holds nothing",
                hint,
            );
        }
    }

    fn normal(&mut self, node: &Node) {
        let Some(mut fields) = Fields::open(node, "a bundle", self.report) else { return };
        let kind = fields.take("type").and_then(|node| fields::text(node, "type", self.report));
        if kind.is_none_or(|(kind, _)| kind != "placet/bundle/1") {
            self.report.error(Code::NotNormal, node.place, "no bundle of type placet/bundle/1");
        }
        let mut sections = Vec::new();
        for member in fields.rest() {
            if kinds().any(|kind| kind == member.key) {
                sections.push(member);
            } else {
                let message = format!("unknown key `{}`", member.key);
                self.report.error(Code::UnknownKey, member.place, message);
            }
        }
        self.sections(&sections);
    }

    fn sections(&mut self, sections: &[&Member]) {
        for kind in kinds() {
            for member in sections.iter().filter(|member| member.key == kind) {
                self.mentions.collect(kind, &member.value, self.report);
                self.reached.collect(kind, &member.value, self.report);
                if kind == "identity" {
                    self.issuers.collect(&member.value, self.report);
                }
                match kind {
                    "rules" => self.rules(Layer::Rules, &member.value),
                    "floor" => self.rules(Layer::Floor, &member.value),
                    "surfaces" => self.surfaces(&member.value),
                    "derivers" => self.derivers(&member.value),
                    "approvals" => self.rules(Layer::Approvals, &member.value),
                    _ => self.declared(kind, &member.value),
                }
            }
        }
    }

    /// A document whose shape says all that it may hold.
    fn declared(&mut self, name: &str, node: &Node) {
        let Some(kind) = documents::declared(name) else { return };
        let value = shape::read(&kind.shape, node, kind.name, self.form, self.report);
        let Some(value) = value else { return };
        if kind.name == "tests" {
            cases::check(node, &value, self.report);
        }
        match self.model.documents.remove(kind.name) {
            None => {
                self.model.documents.insert(kind.name, value);
            }
            Some(before) => {
                let united = self.unite(kind, node, before, value);
                self.model.documents.insert(kind.name, united);
            }
        }
    }

    /// Two documents of one kind: entries with ids or names are united, everything else stands in one
    /// place.
    fn unite(&mut self, kind: &Kind, node: &Node, before: Value, more: Value) -> Value {
        match (kind.shape.is_map(), before, more) {
            (_, Value::Array(all), Value::Array(more)) => self.unite_lists(kind, node, all, more),
            (true, Value::Object(mut all), Value::Object(more)) => {
                for (name, value) in more.iter() {
                    if all.get(name).is_some() {
                        self.twice(name, kind, node);
                    } else {
                        all.set(name, value.clone());
                    }
                }
                Value::Object(all)
            }
            (_, before, _) => {
                let message = format!("`{}` stands in two documents", kind.name);
                let hint = "one document of a bundle holds all of it";
                self.report.error_hint(Code::Conflict, node.place, message, hint);
                before
            }
        }
    }

    fn unite_lists(
        &mut self,
        kind: &Kind,
        node: &Node,
        mut all: Vec<Value>,
        more: Vec<Value>,
    ) -> Value {
        let id = |value: &Value| {
            let id = value.as_object().and_then(|it| it.get("id")).and_then(Value::as_str);
            id.unwrap_or_default().to_owned()
        };
        let mut ids: BTreeSet<String> = all.iter().map(id).collect();
        for value in more {
            if ids.insert(id(&value)) {
                all.push(value);
            } else {
                self.twice(&id(&value), kind, node);
            }
        }
        all.sort_by_key(id);
        Value::Array(all)
    }

    fn twice(&mut self, id: &str, kind: &Kind, node: &Node) {
        let message = format!("duplicate `{id}` in `{}`", kind.name);
        let hint = "ids are unique in the whole bundle";
        self.report.error_hint(Code::DuplicateId, node.place, message, hint);
    }

    fn derivers(&mut self, node: &Node) {
        let Data::List(items) = &node.value else {
            let message = format!("`derivers` takes a list, not {}", node.value.kind());
            self.report.error_hint(Code::WrongType, node.place, message, "write `derivers: []`");
            return;
        };
        for item in items {
            let read = deriver::deriver(item, self.form, &mut self.conditions, self.report);
            let Some((deriver, place)) = read else { continue };
            if self.model.derivers.len() >= RULES_MAX {
                let message = format!("a bundle has at most {RULES_MAX} derivers");
                self.report.error(Code::Bound, item.place, message);
                return;
            }
            if let Some(first) = self.deriver_places.insert(deriver.id.clone(), place) {
                shape::duplicate(&deriver.id, "derivers", first, place, self.report);
            } else {
                self.model.derivers.push(deriver);
            }
        }
    }

    fn rules(&mut self, layer: Layer, node: &Node) {
        let Data::List(items) = &node.value else {
            let message =
                format!("`{}` takes a list of rules, not {}", layer.as_str(), node.value.kind());
            let hint =
                matches!(node.value, Data::Null).then(|| format!("write `{}: []`", layer.as_str()));
            self.report.push(Code::WrongType, crate::Severity::Error, node.place, message, hint);
            return;
        };
        for item in items {
            if self.report.is_full() {
                return;
            }
            if self.model.rules.len() >= RULES_MAX {
                let message = format!("a bundle has at most {RULES_MAX} rules");
                self.report.error(Code::Bound, item.place, message);
                return;
            }
            let read = match layer {
                Layer::Approvals => {
                    approvals::row(item, self.form, &mut self.conditions, self.report)
                }
                _ => rule::rule(layer, item, self.form, &mut self.conditions, self.report),
            };
            if let Some((rule, id_place)) = read {
                let id = rule.effect.id.clone();
                self.refuse_reserved(&id, id_place);
                if let Some(first) = self.ids.get(&id) {
                    let message = format!(
                        "duplicate rule id `{id}`, first in {}:{}:{}",
                        self.report.source_name(*first),
                        first.line,
                        first.column
                    );
                    self.report.error_hint(
                        Code::DuplicateId,
                        id_place,
                        message,
                        "ids are unique in the whole bundle",
                    );
                    continue;
                }
                self.ids.insert(id, id_place);
                self.warn_always(&rule, id_place);
                self.count_labels(item.place, rule.matches.labels.keys());
                self.model.rules.extend(rule.marker());
                self.model.rules.push(rule);
            }
        }
    }

    /// In the log such an id is a rule of the program. Bundles that are there already still replay.
    fn refuse_reserved(&mut self, id: &str, place: Place) {
        let reserved = RESERVED_RULES.iter().find(|prefix| id.starts_with(**prefix));
        if let Some(prefix) = reserved.filter(|_| self.form == Form::Document) {
            let message = format!("rule id `{id}`: `{prefix}…` are rules of the program itself");
            self.report.error_hint(Code::BadValue, place, message, "begin the id otherwise");
        }
    }

    /// Such a rule costs something with every request.
    fn warn_always(&mut self, rule: &Rule, place: Place) {
        if self.form == Form::Document
            && rule.matches.lists.is_empty()
            && rule.matches.labels.is_empty()
        {
            let message = format!("rule `{}` is a candidate for every request", rule.effect.id);
            let hint = Some("name a surface or topic besides `when`, if there is one".to_owned());
            self.report.push(Code::AlwaysCandidate, crate::Severity::Warning, place, message, hint);
        }
    }

    fn count_labels<'l>(&mut self, place: Place, names: impl Iterator<Item = &'l String>) {
        for name in names {
            if !self.label_names.contains(name) {
                self.label_names.insert(name.clone());
                if self.label_names.len() == LABEL_NAMES_MAX.saturating_add(1) {
                    let message =
                        format!("rules of a bundle use at most {LABEL_NAMES_MAX} different labels");
                    self.report.error(Code::Bound, place, message);
                }
            }
        }
    }
}
