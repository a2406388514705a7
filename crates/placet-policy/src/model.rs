//! The validated model of a bundle and its normal form, the bytes that its digest covers. Owns
//! what two spellings of one policy have in common; refuses to know YAML and the index.

use crate::condition::Condition;
use crate::pattern::Dialect;
use placet_types::json::{Object, Value};
use placet_types::policy::{ApprovalSpec, Layer, RuleEffect};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A key of `match:` that holds a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MatchKey {
    Topics,
    Surfaces,
    Actions,
    Targets,
    Actors,
    ActorKinds,
    RiskTags,
    RiskTagsAll,
    Roles,
    Teams,
    Capabilities,
    Branches,
    Models,
    Environments,
}

impl MatchKey {
    pub(crate) const ALL: [Self; 14] = [
        Self::Topics,
        Self::Surfaces,
        Self::Actions,
        Self::Targets,
        Self::Actors,
        Self::ActorKinds,
        Self::RiskTags,
        Self::RiskTagsAll,
        Self::Roles,
        Self::Teams,
        Self::Capabilities,
        Self::Branches,
        Self::Models,
        Self::Environments,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Topics => "topics",
            Self::Surfaces => "surfaces",
            Self::Actions => "actions",
            Self::Targets => "targets",
            Self::Actors => "actors",
            Self::ActorKinds => "actor_kinds",
            Self::RiskTags => "risk_tags",
            Self::RiskTagsAll => "risk_tags_all",
            Self::Roles => "roles",
            Self::Teams => "teams",
            Self::Capabilities => "capabilities",
            Self::Branches => "branches",
            Self::Models => "models",
            Self::Environments => "environments",
        }
    }

    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::Topics | Self::Surfaces | Self::Actions => Dialect::Dotted,
            Self::Targets => Dialect::Path,
            Self::Actors => Dialect::Actor,
            Self::ActorKinds => Dialect::ActorKind,
            Self::Environments => Dialect::Environment,
            Self::RiskTags
            | Self::RiskTagsAll
            | Self::Roles
            | Self::Teams
            | Self::Capabilities
            | Self::Branches
            | Self::Models => Dialect::Name,
        }
    }
}

/// `match:` of one rule; lists are sorted, without repetition and never empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Match {
    pub(crate) lists: BTreeMap<MatchKey, Vec<String>>,
    pub(crate) labels: BTreeMap<String, Vec<String>>,
    pub(crate) when: Option<Condition>,
}

/// One component of `limit.key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LimitKey {
    Actor,
    Surface,
    Action,
    Topic,
    Target,
    Team,
    Capability,
    Branch,
    Model,
    Execution,
    Workspace,
    Environment,
    Label(String),
}

impl LimitKey {
    pub(crate) const NAMES: [&'static str; 12] = [
        "actor",
        "surface",
        "action",
        "topic",
        "target",
        "team",
        "capability",
        "branch",
        "model",
        "execution",
        "workspace",
        "environment",
    ];

    pub(crate) fn text(&self) -> String {
        let fixed = match self {
            Self::Actor => "actor",
            Self::Surface => "surface",
            Self::Action => "action",
            Self::Topic => "topic",
            Self::Target => "target",
            Self::Team => "team",
            Self::Capability => "capability",
            Self::Branch => "branch",
            Self::Model => "model",
            Self::Execution => "execution",
            Self::Workspace => "workspace",
            Self::Environment => "environment",
            Self::Label(name) => return format!("labels.{name}"),
        };
        fixed.to_owned()
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "actor" => Self::Actor,
            "surface" => Self::Surface,
            "action" => Self::Action,
            "topic" => Self::Topic,
            "target" => Self::Target,
            "team" => Self::Team,
            "capability" => Self::Capability,
            "branch" => Self::Branch,
            "model" => Self::Model,
            "execution" => Self::Execution,
            "workspace" => Self::Workspace,
            "environment" => Self::Environment,
            _ => {
                let name = text.strip_prefix("labels.")?;
                return placet_types::ids::is_name(name).then(|| Self::Label(name.to_owned()));
            }
        })
    }
}

/// A rule as validated.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) effect: Arc<RuleEffect>,
    pub(crate) matches: Match,
    pub(crate) limit_key: Vec<LimitKey>,
    pub(crate) owner: Option<String>,
}

/// What a `surfaces:` document says of one surface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surface {
    pub(crate) owner: Option<String>,
    pub(crate) deadline_ms: u64,
    pub(crate) idempotency_window_ms: u64,
    pub(crate) retention: Retention,
}

/// How long a surface keeps its payloads. By default for good, and none has to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Erased by itself when it is as old as this.
    pub payload_ms: Option<u64>,
    /// Not erased before it is as old as this.
    pub min_ms: Option<u64>,
    /// Codes of reasons for which it may be erased all the same.
    pub lawful: BTreeSet<String>,
}

/// Time to decide when the surface names none.
pub(crate) const DEADLINE_MS: u64 = 2000;
/// How long an idempotency key binds when the surface names nothing else.
pub(crate) const IDEMPOTENCY_WINDOW_MS: u64 = 24 * 3_600_000;

/// A validated bundle. Rules are sorted by layer and id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) rules: Vec<Rule>,
    /// `None` without any `surfaces:` document.
    pub(crate) surfaces: Option<BTreeMap<String, Surface>>,
}

impl Model {
    /// The normal form: RFC 8785 bytes of the documents with every default and spelling removed.
    pub(crate) fn normalised(&self) -> Vec<u8> {
        let mut bundle = Object::new().with("type", "placet/bundle/1");
        for layer in [Layer::Floor, Layer::Rules] {
            let rules: Vec<Value> = self
                .rules
                .iter()
                .filter(|rule| rule.effect.layer == layer)
                .map(|rule| Value::Object(rule_object(rule)))
                .collect();
            if !rules.is_empty() {
                bundle.set(layer.as_str(), rules);
            }
        }
        if let Some(surfaces) = &self.surfaces {
            let mut object = Object::new();
            for (name, surface) in surfaces {
                let value = Object::new()
                    .with_opt("owner", surface.owner.as_deref())
                    .with("deadline", surface.deadline_ms)
                    .with("idempotency_window", surface.idempotency_window_ms)
                    .with_opt("retention", retention_object(&surface.retention));
                object.set(name.as_str(), value);
            }
            bundle.set("surfaces", object);
        }
        Value::Object(bundle).to_canonical()
    }
}

fn strings(items: &[String]) -> Vec<Value> {
    items.iter().map(|item| Value::from(item.as_str())).collect()
}

fn rule_object(rule: &Rule) -> Object {
    let effect = &rule.effect;
    let mut matches = Object::new();
    for (key, items) in &rule.matches.lists {
        matches.set(key.as_str(), strings(items));
    }
    if !rule.matches.labels.is_empty() {
        let mut labels = Object::new();
        for (name, items) in &rule.matches.labels {
            labels.set(name.as_str(), strings(items));
        }
        matches.set("labels", labels);
    }
    if let Some(condition) = &rule.matches.when {
        matches.set("when", condition.text());
    }
    let limit = effect.limit.map(|limit| {
        let key: Vec<Value> = rule.limit_key.iter().map(|key| Value::from(key.text())).collect();
        Object::new()
            .with("count", limit.count)
            .with("per", limit.per_ms)
            .with_opt("key", (!key.is_empty()).then_some(key))
    });
    Object::new()
        .with("id", effect.id.as_str())
        .with("match", matches)
        .with("decision", effect.effect.as_str())
        .with_opt("reason", effect.reason.as_deref())
        .with_opt("constraints", effect.constraints.as_ref().map(|it| it.to_object()))
        .with_opt("approval", effect.approval.as_ref().map(approval_object))
        .with_opt("limit", limit)
        .with_opt("retry_after", effect.retry_after_ms)
        .with_opt("advice", effect.advice.then_some(true))
        .with_opt("owner", rule.owner.as_deref())
}

/// `None` where nothing differs from the default.
fn retention_object(retention: &Retention) -> Option<Object> {
    let lawful: Vec<Value> =
        retention.lawful.iter().map(|code| Value::from(code.as_str())).collect();
    (*retention != Retention::default()).then(|| {
        Object::new()
            .with_opt("payload", retention.payload_ms)
            .with_opt("min", retention.min_ms)
            .with_opt("lawful", (!lawful.is_empty()).then_some(lawful))
    })
}

fn approval_object(approval: &ApprovalSpec) -> Object {
    let mut roles = Object::new();
    for (role, count) in &approval.roles {
        roles.set(role.as_str(), *count);
    }
    Object::new()
        .with("roles", roles)
        .with("expires", approval.expires_ms)
        .with("use_within", approval.use_within_ms)
}
