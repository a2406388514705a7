//! What manifests, roles and the allow list of models demand. Owns their implied rules: restricting hits that
//! no document spells out, prebuilt and found by hash look-ups. Refuses to know how hits are combined.
//!
//! Two kinds. A demand that reads like a rule (an approval for whoever holds a role, a checkpoint of a
//! manifest) *is* one: [`implied_rules`] adds it to the rules of the model, and the index finds it. A demand
//! that something is on a list cannot be found by what matches; it is asked here, one look-up per list,
//! and speaks up where it is not met.

mod manifests;
mod models;
mod permission;

use crate::bundle::Scratch;
use crate::condition::Facts;
use crate::explain::{ClauseTrace, Finding, RuleTrace};
use crate::index::Table;
use crate::model::Model;
use crate::pattern::{Dialect, Pattern, Segment, matches};
use crate::standing::Standing;
use manifests::Access;
use models::Models;
use placet_types::json::Value;
use placet_types::policy::{Effect, Force, Hit, Layer, Reason, RuleEffect};
use std::sync::Arc;

pub(crate) use manifests::implied_rules;
pub(crate) use permission::{Permission, Verb};

/// Longest id of an implied rule, so that an entry of the log holds as many as it has to.
pub(crate) const IMPLIED_ID_MAX: usize = 200;

/// Hears what each demand that concerns a request came to.
pub(crate) trait Listener {
    /// `effect` applies unless the demand is `met`; `clause` tells what was wanted and found.
    fn heard(
        &mut self,
        effect: &Arc<RuleEffect>,
        met: bool,
        clause: impl FnOnce() -> (&'static str, Vec<String>, Vec<String>),
    );
}

/// The hot path: only what is not met becomes a hit.
impl Listener for Vec<Hit> {
    fn heard(
        &mut self,
        effect: &Arc<RuleEffect>,
        met: bool,
        _: impl FnOnce() -> (&'static str, Vec<String>, Vec<String>),
    ) {
        if !met {
            self.push(Hit::of(effect.clone()));
        }
    }
}

/// The explanation: everything that was asked.
impl Listener for Vec<RuleTrace> {
    fn heard(
        &mut self,
        effect: &Arc<RuleEffect>,
        met: bool,
        clause: impl FnOnce() -> (&'static str, Vec<String>, Vec<String>),
    ) {
        let (key, wanted, found) = clause();
        let wanted = wanted.into_iter().map(Arc::from).collect();
        let finding = match (met, found.is_empty()) {
            (true, _) => Finding::Matched,
            (false, true) => Finding::Absent,
            (false, false) => Finding::Differs,
        };
        self.push(RuleTrace {
            rule: effect.clone(),
            matched: !met,
            clauses: vec![ClauseTrace { key: key.into(), wanted, found, finding }],
            condition: None,
            limit_key: None,
            note: None,
            force: Force::Always,
            hinge: None,
            standing: Standing::default(),
        });
    }
}

/// Buffers of the look-ups that go through an index, to be used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    roles: Scratch,
    routes: Scratch,
}

/// All demands of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Demands {
    access: Access,
    models: Option<Models>,
    /// The implied rules that are asked here, sorted by id.
    effects: Vec<Arc<RuleEffect>>,
}

impl Demands {
    pub(crate) fn new(model: &Model) -> Self {
        let mut effects = Vec::new();
        let access = Access::new(model, &mut effects);
        let models = model.documents.get("models").map(|it| Models::new(it, &mut effects));
        effects.sort_by(|a, b| a.id.cmp(&b.id));
        Self { access, models, effects }
    }

    /// Asks everything that concerns the request.
    pub(crate) fn ask(
        &self,
        facts: Facts<'_>,
        scratch: &mut Scratch,
        listener: &mut impl Listener,
    ) {
        if self.effects.is_empty() {
            return;
        }
        let mut buffers = scratch.layers.take().unwrap_or_default();
        self.access.ask(facts, &mut buffers.roles, listener);
        if let Some(models) = &self.models {
            models.ask(facts, &mut buffers.routes, listener);
        }
        scratch.layers = Some(buffers);
    }

    /// The implied rules that are asked here, sorted by id.
    pub(crate) fn effects(&self) -> &[Arc<RuleEffect>] {
        &self.effects
    }
}

/// The order of a verdict.
pub(crate) fn place(effect: &RuleEffect) -> (Layer, &str) {
    (effect.layer, &effect.id)
}

/// A demand that denies where it is not met.
fn denial(
    effects: &mut Vec<Arc<RuleEffect>>,
    layer: Layer,
    id: &str,
    cause: Reason,
    reason: &str,
) -> Arc<RuleEffect> {
    let effect = Arc::new(RuleEffect {
        cause,
        reason: Some(reason.to_owned()),
        ..RuleEffect::new(format!("{}{id}", layer.prefix()), layer, Effect::Deny)
    });
    effects.push(effect.clone());
    effect
}

/// An allow list: literals by hash, patterns one by one. What is not on it is refused, so an empty one
/// refuses everything.
#[derive(Debug, Default)]
struct AllowList {
    dialect: Option<Dialect>,
    literals: Table,
    any: bool,
    patterns: Vec<Vec<Segment>>,
    texts: Vec<String>,
}

impl AllowList {
    /// INVARIANT: `read` has parsed every pattern before, so each parses here.
    fn new(dialect: Dialect, items: Option<&Value>) -> Self {
        let mut list = Self { dialect: Some(dialect), ..Self::default() };
        for text in texts(items) {
            match dialect.parse(text) {
                Ok(Pattern::Literal) => {
                    list.literals.insert(0, text.as_bytes(), 0);
                }
                Ok(Pattern::Any) => list.any = true,
                Ok(Pattern::Segments(segments)) => list.patterns.push(segments),
                Err(_) => {}
            }
            list.texts.push(text.to_owned());
        }
        list
    }

    fn holds(&self, value: &str) -> bool {
        self.any
            || self.literals.get(0, value.as_bytes()).is_some()
            || self.dialect.is_some_and(|dialect| {
                self.patterns.iter().any(|pattern| matches(pattern, dialect.split(value)))
            })
    }
}

/// The texts of a list in the normal form; none where there is no list.
fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).unwrap_or_default().iter().filter_map(Value::as_str)
}

/// The members of a mapping in the normal form.
fn members(map: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    map.and_then(Value::as_object).into_iter().flat_map(placet_types::json::Object::iter)
}
