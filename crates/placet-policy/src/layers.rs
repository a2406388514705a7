//! Rules that follow from documents other than `floor:` and `rules:`: found by a few look-ups,
//! whatever their number. Owns where their hits stand among those of the index; each only restricts.

use crate::access::Demands;
use crate::bundle::SurfaceContract;
use crate::contract::Demand;
use crate::index::FastMap;
use crate::model::Model;
use placet_types::Request;
use placet_types::policy::{Hit, Layer, RuleEffect};
use std::sync::Arc;

/// One surface as it is looked up.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) contract: SurfaceContract,
    /// Sorted by id.
    pub(crate) demands: Box<[Demand]>,
}

/// All surfaces of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    surfaces: Option<FastMap<Box<str>, Entry>>,
    /// What manifests, roles and models demand.
    demands: Demands,
    /// Every rule that follows from a document, sorted by layer and id.
    rules: Vec<Arc<RuleEffect>>,
}

impl Layers {
    pub(crate) fn new(model: &Model) -> Self {
        let demands = Demands::new(model);
        let mut rules = demands.effects().to_vec();
        let surfaces = model.surfaces.as_ref().map(|surfaces| {
            let entries = surfaces.iter().map(|(name, surface)| {
                let contract = SurfaceContract {
                    known: true,
                    deadline_ms: surface.deadline_ms,
                    idempotency_window_ms: surface.idempotency_window_ms,
                };
                let demands = surface.demands(name);
                rules.extend(demands.iter().map(|demand| demand.effect.clone()));
                (name.as_str().into(), Entry { contract, demands })
            });
            entries.collect()
        });
        rules.sort_by(|a, b| (a.layer, &a.id).cmp(&(b.layer, &b.id)));
        Self { surfaces, demands, rules }
    }

    /// Whether there is a `surfaces:` document at all.
    pub(crate) fn lists_surfaces(&self) -> bool {
        self.surfaces.is_some()
    }

    #[inline]
    pub(crate) fn surface(&self, name: &str) -> Option<&Entry> {
        self.surfaces.as_ref()?.get(name)
    }

    /// What manifests, roles and models demand.
    pub(crate) fn demands(&self) -> &Demands {
        &self.demands
    }

    /// Every rule that follows from a document, sorted by layer and id.
    pub(crate) fn rules(&self) -> &[Arc<RuleEffect>] {
        &self.rules
    }

    /// The one with this id.
    pub(crate) fn rule(&self, id: &str) -> Option<&Arc<RuleEffect>> {
        let place = (Layer::of(id, false), id);
        let at = self.rules.binary_search_by(|it| (it.layer, it.id.as_str()).cmp(&place)).ok()?;
        self.rules.get(at)
    }
}

impl Entry {
    /// Hits that stand before those of `floor:`.
    #[inline]
    pub(crate) fn before(&self, request: &Request, hits: &mut Vec<Hit>) {
        for demand in &self.demands {
            hits.extend(demand.hit(request));
        }
    }
}
