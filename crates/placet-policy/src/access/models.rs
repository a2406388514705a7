//! The layer `models`: which models may be called at all, and which of them for whom.

use super::{AllowList, Listener, denial, texts};
use crate::bundle::Scratch;
use crate::condition::Facts;
use crate::index::{Build, FastMap, Index};
use crate::model::{Match, MatchKey};
use crate::pattern::Dialect;
use placet_types::json::Value;
use placet_types::policy::{Layer, Reason, RuleEffect};
use std::sync::Arc;

/// The models of a route: for look-ups, and in the order in which they are tried.
type Served = (FastMap<Box<str>, ()>, Vec<String>);

/// The compiled `models:` document.
#[derive(Debug)]
pub(super) struct Models {
    allow: AllowList,
    not_allowed: Arc<RuleEffect>,
    routes: Index,
    /// The models of each route.
    served: Vec<Served>,
    off_route: Option<Arc<RuleEffect>>,
}

impl Models {
    pub(super) fn new(document: &Value, effects: &mut Vec<Arc<RuleEffect>>) -> Self {
        let routes = document.get("routes").and_then(Value::as_array).unwrap_or_default();
        let matches: Vec<Match> = routes.iter().map(who).collect();
        let served = routes.iter().map(|route| {
            let models: Vec<String> = texts(route.get("models")).map(str::to_owned).collect();
            (models.iter().map(|model| (model.as_str().into(), ())).collect(), models)
        });
        let mut deny =
            |id, reason| denial(effects, Layer::Models, id, Reason::ModelNotAllowed, reason);
        Self {
            allow: AllowList::new(Dialect::Name, document.get("allow")),
            not_allowed: deny("not-allowed", "the model is not on the allow list"),
            off_route: (!routes.is_empty())
                .then(|| deny("off-route", "no route leads from the caller to this model")),
            routes: Build::run(matches.iter()),
            served: served.collect(),
        }
    }

    pub(super) fn ask(
        &self,
        facts: Facts<'_>,
        scratch: &mut Scratch,
        listener: &mut impl Listener,
    ) {
        let Some(model) = facts.request.model.as_deref() else { return };
        listener.heard(&self.not_allowed, self.allow.holds(model), || {
            ("models", self.allow.texts.clone(), vec![model.to_owned()])
        });
        let Some(off_route) = &self.off_route else { return };
        self.routes.matching(facts, scratch);
        let routes =
            || scratch.candidates.iter().filter_map(|number| self.served.get(*number as usize));
        if routes().next().is_none() {
            return;
        }
        let met = routes().any(|(models, _)| models.contains_key(model));
        listener.heard(off_route, met, || {
            let wanted = routes().flat_map(|(_, models)| models.iter().cloned()).collect();
            ("routes", wanted, vec![model.to_owned()])
        });
    }
}

/// Whom a route serves: everybody where it names nobody.
fn who(route: &Value) -> Match {
    let mut matches = Match::default();
    for (key, name) in [(MatchKey::Capabilities, "capabilities"), (MatchKey::Teams, "teams")] {
        let names: Vec<String> = texts(route.get(name)).map(str::to_owned).collect();
        if !names.is_empty() {
            matches.lists.insert(key, names);
        }
    }
    matches
}
