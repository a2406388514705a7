//! The validated model of a bundle and its normal form, the bytes that its digest covers. Owns
//! what two spellings of one policy have in common; refuses to know YAML and the index.

use crate::condition::Condition;
use crate::contract::Surface;
use crate::derive::Reading;
use crate::pattern::Dialect;
use placet_types::json::{Object, Value};
use placet_types::policy::{ApprovalSpec, Effect, Layer, LimitSpec, RuleEffect, Schedule};
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
    /// The key of its window, `limit.key` or `after.same`.
    pub(crate) limit_key: Vec<LimitKey>,
    pub(crate) owner: Option<String>,
    pub(crate) after: Option<After>,
}

/// `after:` of a rule.
#[derive(Clone, Debug)]
pub(crate) struct After {
    /// What the earlier action has to match.
    pub(crate) earlier: BTreeMap<MatchKey, Vec<String>>,
    pub(crate) within_ms: u64,
    pub(crate) same: Vec<LimitKey>,
}

impl Rule {
    /// The rule that leaves a mark for what comes after: it matches the earlier action, counts it in a
    /// window and is advice, so it changes no outcome.
    pub(crate) fn marker(&self) -> Option<Self> {
        let after = self.after.as_ref()?;
        let limit = LimitSpec { count: 1, per_ms: after.within_ms };
        // What it says tells whether the rule behind it grants: what is held leaves no mark for that one
        // before it is permitted.
        let says = if self.effect.restricts() { Effect::Throttle } else { Effect::Allow };
        let id = RuleEffect::marker_id(&self.effect.id);
        let effect = RuleEffect {
            limit: Some(limit),
            advice: true,
            ..RuleEffect::new(id, Layer::Rules, says)
        };
        let matches = Match { lists: after.earlier.clone(), ..Match::default() };
        Some(Self {
            effect: Arc::new(effect),
            matches,
            limit_key: after.same.clone(),
            owner: None,
            after: None,
        })
    }

    /// Whether it stands in no document but follows from one.
    pub(crate) fn is_implied(&self) -> bool {
        self.effect.layer != Layer::Approvals && self.effect.id.contains(':')
    }
}

/// How much is at stake, from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RiskTier {
    Low,
    Medium,
    High,
    Critical,
}

impl RiskTier {
    pub(crate) const WORDS: [&'static str; 4] = ["low", "medium", "high", "critical"];
    const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];
    /// The fact that holds its word, and the one that holds its level from 0.
    pub(crate) const FACT: &'static str = "risk_tier";
    pub(crate) const LEVEL: &'static str = "risk_level";

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    pub(crate) const fn level(self) -> u32 {
        match self {
            Self::Low => 0,
            Self::Medium => 1,
            Self::High => 2,
            Self::Critical => 3,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == text)
    }
}

/// One entry of `derivers:`.
#[derive(Clone, Debug)]
pub(crate) struct Deriver {
    pub(crate) id: String,
    pub(crate) matches: Match,
    /// What is read and what is asked of it.
    pub(crate) read: Option<Reading>,
    /// Whether it applies, too, where there is nothing to read.
    pub(crate) missing: bool,
    pub(crate) risk_tags: Vec<String>,
    pub(crate) facts: Object,
    pub(crate) risk_tier: Option<RiskTier>,
    pub(crate) owner: Option<String>,
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

impl Retention {
    /// `None` where nothing differs from the default.
    pub(crate) fn to_object(&self) -> Option<Object> {
        let lawful: Vec<Value> = self.lawful.iter().map(|it| Value::from(it.as_str())).collect();
        (*self != Self::default()).then(|| {
            Object::new()
                .with_opt("payload", self.payload_ms)
                .with_opt("min", self.min_ms)
                .with_opt("lawful", (!lawful.is_empty()).then_some(lawful))
        })
    }
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
    /// Sorted by id.
    pub(crate) derivers: Vec<Deriver>,
    /// Documents that are declared by their shape, in normal form, by kind.
    pub(crate) documents: BTreeMap<&'static str, Value>,
}

impl Model {
    /// The normal form: RFC 8785 bytes of the documents with every default and spelling removed.
    pub(crate) fn normalised(&self) -> Vec<u8> {
        let mut bundle = Object::new().with("type", "placet/bundle/1");
        for layer in [Layer::Floor, Layer::Rules, Layer::Approvals] {
            let rules: Vec<Value> = self
                .rules
                .iter()
                .filter(|rule| rule.effect.layer == layer && !rule.is_implied())
                .map(|rule| match layer {
                    Layer::Approvals => Value::Object(approval_row(rule)),
                    _ => Value::Object(rule_object(rule)),
                })
                .collect();
            if !rules.is_empty() {
                bundle.set(layer.as_str(), rules);
            }
        }
        if let Some(surfaces) = &self.surfaces {
            let mut object = Object::new();
            for (name, surface) in surfaces {
                object.set(name.as_str(), surface.to_object());
            }
            bundle.set("surfaces", object);
        }
        if !self.derivers.is_empty() {
            let all: Vec<Value> =
                self.derivers.iter().map(|it| Value::Object(deriver_object(it))).collect();
            bundle.set("derivers", all);
        }
        for (kind, value) in &self.documents {
            bundle.set(*kind, value.clone());
        }
        Value::Object(bundle).to_canonical()
    }
}

fn strings(items: &[String]) -> Vec<Value> {
    items.iter().map(|item| Value::from(item.as_str())).collect()
}

fn match_object(from: &Match) -> Object {
    let mut matches = Object::new();
    for (key, items) in &from.lists {
        matches.set(key.as_str(), strings(items));
    }
    if !from.labels.is_empty() {
        let mut labels = Object::new();
        for (name, items) in &from.labels {
            labels.set(name.as_str(), strings(items));
        }
        matches.set("labels", labels);
    }
    if let Some(condition) = &from.when {
        matches.set("when", &**condition.text());
    }
    matches
}

fn deriver_object(deriver: &Deriver) -> Object {
    let matches = match_object(&deriver.matches);
    let tests = deriver.read.as_ref().map(|(_, tests)| {
        let mut object = Object::new();
        for (kind, tests) in tests {
            let texts: Vec<Value> = tests.iter().map(|test| Value::from(test.text())).collect();
            object.set(kind.as_str(), texts);
        }
        object
    });
    let tags = strings(&deriver.risk_tags);
    let facts = deriver.facts.clone();
    Object::new()
        .with("id", deriver.id.as_str())
        .with_opt("match", (!matches.is_empty()).then_some(matches))
        .with_opt("read", deriver.read.as_ref().map(|(probe, _)| probe.text()))
        .with_opt("any_of", tests)
        .with_opt("missing", deriver.missing.then_some(true))
        .with_opt("risk_tags", (!tags.is_empty()).then_some(tags))
        .with_opt("facts", (!facts.is_empty()).then_some(facts))
        .with_opt("risk_tier", deriver.risk_tier.map(RiskTier::as_str))
        .with_opt("owner", deriver.owner.as_deref())
}

fn rule_object(rule: &Rule) -> Object {
    let effect = &rule.effect;
    let matches = match_object(&rule.matches);
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
        .with_opt("after", rule.after.as_ref().map(after_object))
        .with_opt("schedule", effect.schedule.as_ref().map(schedule_object))
        .with_opt("retry_after", effect.retry_after_ms)
        .with_opt("advice", effect.advice.then_some(true))
        .with_opt("owner", rule.owner.as_deref())
}

/// A row of `approvals:`; its id without the prefix of the layer.
fn approval_row(rule: &Rule) -> Object {
    let effect = &rule.effect;
    let id = effect.id.strip_prefix(Layer::Approvals.prefix()).unwrap_or(&effect.id);
    let spec = effect.approval.clone().unwrap_or_default();
    let matches = match_object(&rule.matches);
    let steps: Vec<Value> = spec
        .steps
        .iter()
        .map(|step| {
            let roles = counts(&step.roles);
            Value::Object(Object::new().with("after", step.after_ms).with("roles", roles))
        })
        .collect();
    Object::new()
        .with("id", id)
        .with("match", matches)
        .with("roles", counts(&spec.roles))
        .with("expires", spec.expires_ms)
        .with("use_within", spec.use_within_ms)
        .with_opt("escalate", (!steps.is_empty()).then_some(steps))
        .with_opt("remind", spec.remind_ms)
        .with_opt("reason", effect.reason.as_deref())
        .with_opt("owner", rule.owner.as_deref())
}

fn counts(roles: &BTreeMap<String, u32>) -> Object {
    roles.iter().fold(Object::new(), |all, (role, count)| all.with(role.as_str(), *count))
}

fn after_object(after: &After) -> Object {
    let pattern = |key| after.earlier.get(&key).and_then(|it| it.first()).map(String::as_str);
    let same: Vec<Value> = after.same.iter().map(|key| Value::from(key.text())).collect();
    Object::new()
        .with_opt("surface", pattern(MatchKey::Surfaces))
        .with_opt("action", pattern(MatchKey::Actions))
        .with("within", after.within_ms)
        .with("same", same)
}

fn schedule_object(schedule: &Schedule) -> Object {
    let days: Vec<Value> = schedule.days.iter().map(|day| Value::from(day.as_str())).collect();
    Object::new()
        .with("days", days)
        .with("from", schedule.from)
        .with("until", schedule.until)
        .with("utc_offset", i64::from(schedule.offset_minutes))
}

fn approval_object(approval: &ApprovalSpec) -> Object {
    Object::new()
        .with("roles", counts(&approval.roles))
        .with("expires", approval.expires_ms)
        .with("use_within", approval.use_within_ms)
}
