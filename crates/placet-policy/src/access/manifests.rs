//! The layer `access`: what manifests and roles demand of a request.

use super::{AllowList, IMPLIED_ID_MAX, Listener, Permission, Verb, denial, members, texts};
use crate::bundle::Scratch;
use crate::condition::Facts;
use crate::documents::roles;
use crate::index::{Build, FastMap, Index, Table};
use crate::model::{Match, MatchKey, Model, Rule};
use crate::pattern::Dialect;
use placet_types::json::Value;
use placet_types::policy::{ApprovalSpec, Effect, Layer, Reason, RuleEffect};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The compiled `capabilities:` and `roles:` documents.
#[derive(Debug, Default)]
pub(super) struct Access {
    manifests: Option<Manifests>,
    roles: Option<Roles>,
}

#[derive(Debug)]
struct Manifests {
    /// Where each lies in `all`.
    names: Table,
    all: Vec<Manifest>,
    unknown: Arc<RuleEffect>,
}

/// A list and what denies whoever is not on it.
type Demand = (AllowList, Arc<RuleEffect>);

#[derive(Debug)]
struct Manifest {
    roles: Demand,
    surfaces: Demand,
    models: Option<Demand>,
    branches: Option<Demand>,
    permissions: Option<(Vec<Permission>, Arc<RuleEffect>)>,
}

#[derive(Debug)]
struct Roles {
    /// One entry for each permission that any role has.
    index: Index,
    granted: Vec<Granted>,
    required: Arc<RuleEffect>,
    /// What denies the holders of a role that only reads, and what they may read.
    read_only: FastMap<Box<str>, (Arc<RuleEffect>, Vec<String>)>,
}

#[derive(Debug)]
struct Granted {
    verb: Verb,
    /// A short name lies in its slot: one of thousands is found in one cache line.
    roles: Table,
    names: Vec<String>,
}

impl Granted {
    /// Whether this role has the permission.
    #[inline]
    fn holds(&self, role: &str) -> bool {
        self.roles.get(0, role.as_bytes()).is_some()
    }
}

const OUTSIDE: &str = "the step lies outside the manifest of its capability";

impl Access {
    pub(super) fn new(model: &Model, effects: &mut Vec<Arc<RuleEffect>>) -> Self {
        let manifests = model.documents.get("capabilities").map(|document| Manifests {
            names: members(Some(document)).zip(0..).fold(
                Table::default(),
                |mut names, ((name, _), at)| {
                    names.insert(0, name.as_bytes(), at);
                    names
                },
            ),
            all: members(Some(document))
                .map(|(name, it)| Manifest::new(name, it, effects))
                .collect(),
            unknown: denial(
                effects,
                Layer::Access,
                "capability-unknown",
                Reason::CapabilityUnknown,
                "no manifest of the policy describes this capability",
            ),
        });
        let roles = model.documents.get("roles").map(|it| Roles::new(it, effects));
        Self { manifests, roles }
    }

    pub(super) fn ask(
        &self,
        facts: Facts<'_>,
        scratch: &mut Scratch,
        listener: &mut impl Listener,
    ) {
        if let (Some(manifests), Some(name)) = (&self.manifests, &facts.request.capability) {
            let at = manifests.names.get(0, name.as_bytes());
            let manifest = at.and_then(|at| manifests.all.get(at as usize));
            listener.heard(&manifests.unknown, manifest.is_some(), || {
                (
                    "capabilities",
                    vec!["any that a manifest describes".to_owned()],
                    vec![name.clone()],
                )
            });
            if let Some(manifest) = manifest {
                manifest.ask(facts, listener);
            }
        }
        if let Some(roles) = &self.roles {
            roles.ask(facts, scratch, listener);
        }
    }
}

impl Manifest {
    fn new(name: &str, from: &Value, effects: &mut Vec<Arc<RuleEffect>>) -> Self {
        let mut demand = |key: &str, dialect: Dialect, cause: Reason, why: &str| {
            let list = AllowList::new(dialect, from.get(key));
            let id = format!("capability:{name}/{key}");
            (list, denial(effects, Layer::Access, &id, cause, why))
        };
        let roles = demand(
            "allowed_roles",
            Dialect::Name,
            Reason::RoleNotAllowed,
            "none of the caller's roles may trigger this capability",
        );
        let mut inside = |key, dialect| demand(key, dialect, Reason::OutsideManifest, OUTSIDE);
        let surfaces = inside("surfaces", Dialect::Dotted);
        let models = from.get("models").map(|_| inside("models", Dialect::Name));
        let branches = from.get("branches").map(|_| inside("branches", Dialect::Name));
        let permissions = from.get("permissions").map(|list| {
            let all = texts(Some(list)).filter_map(|text| Permission::parse(text).ok()).collect();
            let id = format!("capability:{name}/permissions");
            (all, denial(effects, Layer::Access, &id, Reason::OutsideManifest, OUTSIDE))
        });
        Self { roles, surfaces, models, branches, permissions }
    }

    fn ask(&self, facts: Facts<'_>, listener: &mut impl Listener) {
        let (request, caller) = (facts.request, facts.caller);
        let (roles, effect) = &self.roles;
        listener.heard(effect, caller.roles.iter().any(|role| roles.holds(role)), || {
            ("allowed_roles", roles.texts.clone(), caller.roles.iter().cloned().collect())
        });
        let mut on = |demand: &Demand, key: &'static str, value: Option<&String>| {
            let (list, effect) = demand;
            listener.heard(effect, value.is_some_and(|value| list.holds(value)), || {
                (key, list.texts.clone(), value.into_iter().cloned().collect())
            });
        };
        on(&self.surfaces, "surfaces", Some(&request.surface));
        // A step that calls no model has none; a step always belongs to a branch.
        if let (Some(demand), Some(model)) = (&self.models, &request.model) {
            on(demand, "models", Some(model));
        }
        if let Some(demand) = &self.branches {
            on(demand, "branches", request.branch.as_ref());
        }
        if let Some((all, effect)) = &self.permissions {
            let covered = all.iter().any(|it| it.covers(&request.surface, &request.action));
            listener.heard(effect, covered, || {
                let wanted = all.iter().map(Permission::text).collect();
                ("permissions", wanted, vec![format!("{}/{}", request.surface, request.action)])
            });
        }
    }
}

impl Roles {
    fn new(document: &Value, effects: &mut Vec<Arc<RuleEffect>>) -> Self {
        let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut read_only = FastMap::default();
        for role in roles::in_force(document) {
            for permission in &role.may {
                by_text.entry(permission.clone()).or_default().push(role.name.clone());
            }
            if role.read_only {
                let effect = denial(
                    effects,
                    Layer::Access,
                    &format!("read-only:{}", role.name),
                    Reason::RoleNotAllowed,
                    "whoever holds this role modifies nothing",
                );
                let reads = role.may.iter().filter(|it| it.starts_with("read:")).cloned();
                read_only.insert(role.name.as_str().into(), (effect, reads.collect()));
            }
        }
        let mut matches = Vec::with_capacity(by_text.len());
        let mut granted = Vec::with_capacity(by_text.len());
        for (text, names) in by_text {
            let Ok(permission) = Permission::parse(&text) else { continue };
            matches.push(permission.to_match());
            let mut roles = Table::default();
            for name in &names {
                roles.insert(0, name.as_bytes(), 0);
            }
            granted.push(Granted { verb: permission.verb, roles, names });
        }
        let required = denial(
            effects,
            Layer::Access,
            "role-required",
            Reason::RoleNotAllowed,
            "none of the caller's roles may propose this",
        );
        Self { index: Build::run(matches.iter()), granted, required, read_only }
    }

    fn ask(&self, facts: Facts<'_>, scratch: &mut Scratch, listener: &mut impl Listener) {
        let caller = facts.caller;
        self.index.matching(facts, scratch);
        let granted =
            || scratch.candidates.iter().filter_map(|number| self.granted.get(*number as usize));
        let proposing = || granted().filter(|it| it.verb == Verb::Propose);
        if proposing().next().is_some() {
            let covered = granted().any(|it| {
                it.verb != Verb::Approve && caller.roles.iter().any(|role| it.holds(role))
            });
            listener.heard(&self.required, covered, || {
                let mut wanted: Vec<String> =
                    proposing().flat_map(|it| it.names.iter().cloned()).collect();
                wanted.sort();
                wanted.dedup();
                ("roles", wanted, caller.roles.iter().cloned().collect())
            });
        }
        if self.read_only.is_empty() {
            return;
        }
        for role in &caller.roles {
            let Some((effect, reads)) = self.read_only.get(role.as_str()) else { continue };
            let mut reading = granted().filter(|it| it.verb == Verb::Read);
            let met = reading.any(|it| it.holds(role));
            listener.heard(effect, met, || {
                let found = format!("{}/{}", facts.request.surface, facts.request.action);
                ("read", reads.clone(), vec![found])
            });
        }
    }
}

/// The rules that follow from manifests and roles: checkpoints, and what nobody does alone. `Err` names
/// an id that became too long.
pub(crate) fn implied_rules(
    documents: &BTreeMap<&'static str, Value>,
) -> Result<Vec<Rule>, String> {
    let mut out = Vec::new();
    for (name, manifest) in members(documents.get("capabilities")) {
        for point in manifest.get("checkpoints").and_then(Value::as_array).unwrap_or_default() {
            let mut matches = Match::default();
            matches.lists.insert(MatchKey::Capabilities, vec![name.to_owned()]);
            for key in [MatchKey::Surfaces, MatchKey::Actions] {
                let patterns: Vec<String> =
                    texts(point.get(key.as_str())).map(str::to_owned).collect();
                if !patterns.is_empty() {
                    matches.lists.insert(key, patterns);
                }
            }
            let id = format!("access:checkpoint:{name}/{}", text(point, "id"));
            out.push(hold(
                id,
                matches,
                point,
                "roles",
                "this step is a checkpoint of its capability",
            )?);
        }
    }
    let Some(document) = documents.get("roles") else { return Ok(out) };
    for role in roles::in_force(document) {
        for duty in &role.must_not_alone {
            let Ok(permission) = Permission::parse(text(duty, "permission")) else { continue };
            let mut matches = permission.to_match();
            if permission.verb == Verb::Propose {
                matches.lists.insert(MatchKey::Roles, vec![role.name.clone()]);
            }
            let id = format!("access:alone:{}/{}", role.name, text(duty, "id"));
            out.push(hold(id, matches, duty, "approvers", "nobody does this alone")?);
        }
    }
    Ok(out)
}

fn text<'v>(of: &'v Value, key: &str) -> &'v str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A rule that demands approvals, from a record with `expires`, `use_within` and `reason`.
fn hold(
    id: String,
    matches: Match,
    from: &Value,
    roles: &str,
    reason: &str,
) -> Result<Rule, String> {
    if id.len() > IMPLIED_ID_MAX {
        return Err(id);
    }
    let mut spec = ApprovalSpec::default();
    if let Some(named) = from.get(roles) {
        let count = |it: &Value| it.as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(1);
        spec.roles = members(Some(named)).map(|(role, it)| (role.to_owned(), count(it))).collect();
    }
    let ms = |key: &str, default| from.get(key).and_then(Value::as_u64).unwrap_or(default);
    spec.expires_ms = ms("expires", spec.expires_ms);
    spec.use_within_ms = ms("use_within", spec.use_within_ms);
    let reason = from.get("reason").and_then(Value::as_str).unwrap_or(reason);
    let effect = RuleEffect {
        cause: Reason::ApprovalRule,
        reason: Some(reason.to_owned()),
        approval: Some(spec),
        ..RuleEffect::new(id, Layer::Access, Effect::RequireApproval)
    };
    Ok(Rule { effect: Arc::new(effect), matches, limit_key: Vec::new(), owner: None, after: None })
}
