//! The demands of manifests, roles and models, told from their documents once more: every entry is looked
//! at, one after the other.

use super::{Mutant, Naive};
use crate::bundle::Bundle;
use crate::documents::roles;
use crate::pattern::Dialect;
use placet_types::json::Value as Json;
use placet_types::policy::{Effect, Hit, Layer, RuleEffect};
use std::sync::Arc;

fn list<'v>(of: &'v Json, key: &str) -> Option<Vec<&'v str>> {
    Some(of.get(key)?.as_array()?.iter().filter_map(Json::as_str).collect())
}

impl Naive<'_> {
    /// What the layers beside the rules say, in no order.
    pub(super) fn layers(&self, bundle: &Bundle) -> Vec<Hit> {
        let documents = &bundle.model().documents;
        let mut ids = Vec::new();
        if let Some(document) = documents.get("capabilities") {
            self.manifest(document, &mut ids);
        }
        if let Some(document) = documents.get("roles") {
            self.roles(document, &mut ids);
        }
        if let Some(document) = documents.get("models") {
            self.models(document, &mut ids);
        }
        let hit = |id: String| {
            let none = || Arc::new(RuleEffect::new(id.as_str(), Layer::Access, Effect::Deny));
            Hit::of(bundle.rule(&id).cloned().unwrap_or_else(none))
        };
        ids.into_iter().map(hit).collect()
    }

    fn manifest(&self, document: &Json, ids: &mut Vec<String>) {
        let Some(name) = &self.request.capability else { return };
        let Some(manifest) = document.get(name) else {
            if !self.is(Mutant::UnknownCapabilityPasses) {
                ids.push("access:capability-unknown".to_owned());
            }
            return;
        };
        let on = |key: &str, dialect: Dialect, value: &str| {
            list(manifest, key).unwrap_or_default().iter().any(|it| self.glob(dialect, it, value))
        };
        let mut outside = |key: &str| ids.push(format!("access:capability:{name}/{key}"));
        let holds = self.caller.roles.iter().any(|role| on("allowed_roles", Dialect::Name, role));
        if !holds && !self.is(Mutant::AnybodyTriggers) {
            outside("allowed_roles");
        }
        if !self.is(Mutant::ManifestIgnored) {
            if !on("surfaces", Dialect::Dotted, &self.request.surface) {
                outside("surfaces");
            }
            if let (true, Some(model)) = (manifest.get("models").is_some(), &self.request.model)
                && !on("models", Dialect::Name, model)
            {
                outside("models");
            }
            if manifest.get("branches").is_some() {
                let inside = match &self.request.branch {
                    Some(branch) => on("branches", Dialect::Name, branch),
                    None => self.is(Mutant::BranchOptional),
                };
                if !inside {
                    outside("branches");
                }
            }
            if let Some(permissions) = list(manifest, "permissions")
                && !permissions.iter().any(|it| self.permission(it).is_some())
            {
                outside("permissions");
            }
        }
        for point in manifest.get("checkpoints").and_then(Json::as_array).unwrap_or_default() {
            let fits = |key: &str, value: &str| {
                let patterns = list(point, key).unwrap_or_default();
                patterns.is_empty()
                    || patterns.iter().any(|it| self.glob(Dialect::Dotted, it, value))
            };
            if fits("surfaces", &self.request.surface)
                && fits("actions", &self.request.action)
                && !self.is(Mutant::CheckpointIgnored)
            {
                let id = point.get("id").and_then(Json::as_str).unwrap_or_default();
                ids.push(format!("access:checkpoint:{name}/{id}"));
            }
        }
    }

    /// The verb of a permission that covers the request.
    fn permission<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (verb, resource) = text.split_once(':')?;
        let (surfaces, actions) = match resource.split_once('/') {
            Some((surfaces, actions)) => (surfaces, actions),
            None => (resource, "**"),
        };
        let surface = self.glob(Dialect::Dotted, surfaces, &self.request.surface);
        let action = self.glob(Dialect::Dotted, actions, &self.request.action);
        (surface && (action || self.is(Mutant::ActionsIgnored))).then_some(verb)
    }

    fn roles(&self, document: &Json, ids: &mut Vec<String>) {
        let all = roles::in_force(document);
        let mut proposable = false;
        let mut entitled = false;
        for role in &all {
            let held = self.caller.roles.contains(&role.name);
            let verbs: Vec<&str> = role.may.iter().filter_map(|it| self.permission(it)).collect();
            proposable |= verbs.contains(&"propose");
            entitled |= held && verbs.iter().any(|verb| ["propose", "read"].contains(verb));
            let reads = verbs.contains(&"read");
            if held && role.read_only && !reads && !self.is(Mutant::AuditorWrites) {
                ids.push(format!("access:read-only:{}", role.name));
            }
            for duty in &role.must_not_alone {
                let text = |key: &str| duty.get(key).and_then(Json::as_str).unwrap_or_default();
                let concerned = match self.permission(text("permission")) {
                    Some("propose") => held,
                    Some(_) => true,
                    None => false,
                };
                if concerned && !self.is(Mutant::AloneIgnored) {
                    ids.push(format!("access:alone:{}/{}", role.name, text("id")));
                }
            }
        }
        if proposable && !entitled && !self.is(Mutant::AnybodyProposes) {
            ids.push("access:role-required".to_owned());
        }
    }

    fn models(&self, document: &Json, ids: &mut Vec<String>) {
        let Some(model) = &self.request.model else { return };
        let allowed = list(document, "allow").unwrap_or_default();
        let on = allowed.iter().any(|it| self.glob(Dialect::Name, it, model));
        if !on && !self.is(Mutant::ModelsIgnored) {
            ids.push("models:not-allowed".to_owned());
        }
        let named = |route: &Json, key: &str, value: &Option<String>| {
            let names = list(route, key).unwrap_or_default();
            names.is_empty() || value.as_deref().is_some_and(|value| names.contains(&value))
        };
        let routes = document.get("routes").and_then(Json::as_array).unwrap_or_default();
        let mut serving = routes.iter().filter(|route| {
            named(route, "capabilities", &self.request.capability)
                && named(route, "teams", &self.request.team)
        });
        let served =
            |route: &Json| list(route, "models").unwrap_or_default().contains(&model.as_str());
        if let Some(first) = serving.next()
            && !served(first)
            && !serving.any(served)
            && !self.is(Mutant::RoutesIgnored)
        {
            ids.push("models:off-route".to_owned());
        }
    }
}
