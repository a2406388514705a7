//! Every constant that decides something, of documents of every kind: patterns, names, thresholds, what
//! derivers look for, what schemas bound. Owns which documents the axes cover; refuses to know how
//! constants become requests.

use super::conditions::Asked;
use super::draft::slot_of_field;
use super::instances;
use super::space::Slot;
use super::witness;
use crate::access::Permission;
use crate::bundle::Bundle;
use crate::contract::Surface;
use crate::documents::roles;
use crate::model::{Deriver, Match, MatchKey};
use placet_types::json::{self, Limits, Object, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of documents whose whole meaning the axes cover.
const COVERED: [&str; 14] = [
    "type",
    "floor",
    "rules",
    "approvals",
    "capabilities",
    "roles",
    "models",
    "surfaces",
    "derivers",
    "channels",
    "exceptions",
    "identity",
    "notify",
    "tests",
];

/// The constants of one bundle, or of two.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) texts: BTreeMap<Slot, BTreeSet<String>>,
    pub(super) tags: BTreeSet<String>,
    pub(super) roles: BTreeSet<String>,
    pub(super) labels: BTreeMap<String, BTreeSet<String>>,
    pub(super) asked: Asked,
    /// Why they do not make a finite partition.
    pub(super) open: Vec<String>,
}

/// The texts of a list in the normal form.
pub(super) fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).unwrap_or_default().iter().filter_map(Value::as_str)
}

/// The members of a mapping in the normal form.
pub(super) fn members(map: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    map.and_then(Value::as_object).into_iter().flat_map(Object::iter)
}

impl Gathered {
    pub(super) fn of(bundle: &Bundle) -> Self {
        let mut all = Self::default();
        let model = bundle.model();
        all.kinds(bundle);
        if let Some(surfaces) = &model.surfaces {
            let known = all.texts.entry(Slot::Surface).or_default();
            known.extend(surfaces.keys().cloned());
            known.insert("job".to_owned());
            let built_in = ["policy", "override", "role", "key"];
            known.extend(built_in.map(|prefix| format!("{prefix}.*.**")));
            for (name, surface) in surfaces {
                all.surface(name, surface);
            }
        }
        for rule in &model.rules {
            all.matches(&rule.matches, &format!("rule {}", rule.effect.id));
        }
        for deriver in &model.derivers {
            all.deriver(deriver);
        }
        all.manifests(model.documents.get("capabilities"));
        if let Some(document) = model.documents.get("roles") {
            for role in roles::in_force(document) {
                for text in &role.may {
                    all.permission(text);
                }
                all.roles.insert(role.name);
            }
        }
        all.models(model.documents.get("models"));
        for (slot, constants) in std::mem::take(&mut all.asked.texts) {
            let carried = constants.into_iter().filter(|text| slot.carries(text));
            all.texts.entry(slot.clone()).or_default().extend(carried);
        }
        for (name, constants) in std::mem::take(&mut all.asked.labels) {
            all.labels.entry(name).or_default().extend(constants);
        }
        all.tags.append(&mut all.asked.tags);
        all.roles.append(&mut all.asked.roles);
        all
    }

    /// Those of both.
    pub(super) fn with(mut self, other: Self) -> Self {
        for (slot, texts) in other.texts {
            self.texts.entry(slot).or_default().extend(texts);
        }
        for (name, texts) in other.labels {
            self.labels.entry(name).or_default().extend(texts);
        }
        self.tags.extend(other.tags);
        self.roles.extend(other.roles);
        for (path, constants) in other.asked.paths {
            self.asked.paths.entry(path).or_default().extend(constants);
        }
        self.open.extend(other.open);
        self
    }

    /// Where the two have different constants.
    pub(super) fn differing(&self, other: &Self) -> BTreeSet<Slot> {
        let mut out = BTreeSet::new();
        let mut add = |slot: &Slot| {
            out.insert(slot.clone());
        };
        let slots = self.texts.keys().chain(other.texts.keys());
        slots.filter(|it| self.texts.get(it) != other.texts.get(it)).for_each(&mut add);
        let labels = self.labels.keys().chain(other.labels.keys());
        labels
            .filter(|it| self.labels.get(*it) != other.labels.get(*it))
            .for_each(|it| add(&Slot::Label(it.clone())));
        let paths = self.asked.paths.keys().chain(other.asked.paths.keys());
        paths
            .filter(|it| self.asked.paths.get(*it) != other.asked.paths.get(*it))
            .for_each(|it| add(&Slot::Path(it.clone())));
        self.tags.symmetric_difference(&other.tags).for_each(|it| add(&Slot::RiskTag(it.clone())));
        self.roles.symmetric_difference(&other.roles).for_each(|it| add(&Slot::Role(it.clone())));
        out
    }

    fn open(&mut self, why: String) {
        if !self.open.contains(&why) {
            self.open.push(why);
        }
    }

    /// Documents that decide more than axes tell.
    fn kinds(&mut self, bundle: &Bundle) {
        let Ok(Value::Object(documents)) = json::parse(bundle.normalised(), Limits::DOCUMENT)
        else {
            return self.open("the normal form of a bundle is not understood".to_owned());
        };
        for (name, _) in documents.iter() {
            if !COVERED.contains(&name) {
                self.open(format!("`{name}:` may decide as well, and is not taken apart"));
            }
        }
        if !bundle.model().derivers.is_empty() {
            let why = "`derivers:` read lists and texts, of which some of each kind are tried";
            self.open(why.to_owned());
        }
    }

    fn add(&mut self, slot: Slot, texts: impl IntoIterator<Item = impl Into<String>>) {
        self.texts.entry(slot).or_default().extend(texts.into_iter().map(Into::into));
    }

    fn matches(&mut self, from: &Match, whose: &str) {
        for (key, patterns) in &from.lists {
            match Slot::of_key(*key) {
                Some(slot) => self.add(slot, patterns.clone()),
                None if *key == MatchKey::Roles => self.roles.extend(patterns.clone()),
                None => self.tags.extend(patterns.clone()),
            }
        }
        for (name, patterns) in &from.labels {
            self.labels.entry(name.clone()).or_default().extend(patterns.clone());
        }
        let Some(condition) = &from.when else { return };
        let before = self.asked.open.len();
        self.asked.scan(condition.ast());
        if let Some(open) = self.asked.open.get(before) {
            let why = format!("{whose}: `{open}` is not a comparison of one value with constants");
            self.open(why);
        }
    }

    fn deriver(&mut self, deriver: &Deriver) {
        self.matches(&deriver.matches, &format!("deriver {}", deriver.id));
        let Some((probe, tests)) = &deriver.read else { return };
        let (words, left_out) = witness::of_tests(tests);
        for why in left_out {
            self.open(format!("deriver {}: not enumerated: {why}", deriver.id));
        }
        match witness::slot_of(probe.text()) {
            Slot::Path(path) => {
                let first = words.first().cloned();
                let constants = self.asked.paths.entry(path).or_default();
                constants.texts.extend(words);
                // A list of which only some pass is in doubt.
                if let Some(first) = first {
                    let list = vec![Value::from(first), Value::from("anything-else")];
                    constants.more.push(Value::Array(list));
                }
                constants.more.push(Value::Object(Object::new()));
            }
            slot => {
                let carried: Vec<String> =
                    words.into_iter().filter(|text| slot.carries(text)).collect();
                self.add(slot, carried);
            }
        }
    }

    fn surface(&mut self, name: &str, surface: &Surface) {
        for field in &surface.required {
            let field = field.text();
            match slot_of_field(&field) {
                Some(Slot::Path(path)) => drop(self.asked.paths.entry(path).or_default()),
                Some(Slot::Label(label)) => {
                    self.labels.entry(label).or_default().insert(String::new());
                }
                Some(slot) => drop(self.texts.entry(slot).or_default()),
                None => {
                    self.open(format!("surface {name} demands {field}, which is tried on and off"));
                }
            }
        }
        let schemas = [("arguments", &surface.arguments), ("context", &surface.context)];
        for (root, schema) in schemas {
            let Some(schema) = schema else { continue };
            self.open(format!("surface {name}: its schema of {root} is tried at its bounds"));
            instances::constants(
                schema.normal(),
                &mut vec![root.to_owned()],
                &mut |path, value| {
                    let constants = self.asked.paths.entry(path.to_vec()).or_default();
                    match value {
                        Some(Value::String(text)) => drop(constants.texts.insert(text.clone())),
                        Some(Value::Bool(_)) => constants.booleans = true,
                        Some(Value::Number(number)) => constants.numbers.push(number.as_f64()),
                        Some(other) if !constants.more.contains(other) => {
                            constants.more.push(other.clone());
                        }
                        _ => {}
                    }
                },
            );
        }
        if !surface.evidence.is_empty() {
            self.open(format!("surface {name} asks for evidence, which is tried at its times"));
        }
    }

    fn permission(&mut self, text: &str) {
        let Ok(permission) = Permission::parse(text) else { return };
        self.add(Slot::Surface, [permission.surfaces]);
        self.add(Slot::Action, permission.actions);
    }

    fn manifests(&mut self, document: Option<&Value>) {
        if document.is_some() {
            self.texts.entry(Slot::Capability).or_default();
        }
        for (name, manifest) in members(document) {
            self.add(Slot::Capability, [name]);
            self.roles.extend(texts(manifest.get("allowed_roles")).map(str::to_owned));
            for (key, slot) in
                [("surfaces", Slot::Surface), ("models", Slot::Model), ("branches", Slot::Branch)]
            {
                if manifest.get(key).is_some() {
                    self.add(slot, texts(manifest.get(key)));
                }
            }
            for text in texts(manifest.get("permissions")) {
                self.permission(text);
            }
        }
    }

    fn models(&mut self, document: Option<&Value>) {
        let Some(document) = document else { return };
        self.add(Slot::Model, texts(document.get("allow")));
        for route in document.get("routes").and_then(Value::as_array).unwrap_or_default() {
            self.add(Slot::Model, texts(route.get("models")));
            for (key, slot) in [("capabilities", Slot::Capability), ("teams", Slot::Team)] {
                if route.get(key).is_some() {
                    self.add(slot, texts(route.get(key)));
                }
            }
        }
    }
}
