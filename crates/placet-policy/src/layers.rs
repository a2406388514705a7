//! Rules that follow from documents other than `floor:` and `rules:`: found by one look-up of the surface,
//! whatever their number. Owns where their hits stand among those of the index; each only restricts.

use crate::bundle::SurfaceContract;
use crate::contract::{Demand, Surface};
use crate::index::FastMap;
use placet_types::Request;
use placet_types::policy::{Hit, Layer, RuleEffect};
use std::collections::BTreeMap;
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
    /// Every rule that follows from a document, sorted by layer and id.
    rules: Vec<Arc<RuleEffect>>,
}

impl Layers {
    pub(crate) fn new(surfaces: Option<&BTreeMap<String, Surface>>) -> Self {
        let mut rules = Vec::new();
        let surfaces = surfaces.map(|surfaces| {
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
        Self { surfaces, rules }
    }

    /// Whether there is a `surfaces:` document at all.
    pub(crate) fn lists_surfaces(&self) -> bool {
        self.surfaces.is_some()
    }

    #[inline]
    pub(crate) fn surface(&self, name: &str) -> Option<&Entry> {
        self.surfaces.as_ref()?.get(name)
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
