//! Rules that follow from documents other than `floor:` and `rules:`: found by a few look-ups,
//! whatever their number. Owns where their hits stand among those of the index; each only restricts.

use crate::access::Demands;
use crate::bundle::SurfaceContract;
use crate::contract::Demand;
use crate::index::Table;
use crate::model::Model;
use crate::schema::Pool;
use placet_types::Request;
use placet_types::policy::{Hit, Layer, RuleEffect};
use std::sync::Arc;

/// One surface as it is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) contract: SurfaceContract,
    /// Sorted by id.
    pub(crate) demands: &'a [Demand],
}

/// What the surfaces say, each kind side by side: a request on one of thousands finds little of its surface in
/// the cache, so what it reads lies in few lines and few pages.
#[derive(Debug, Default)]
struct Surfaces {
    /// Where each lies in `contracts`.
    names: Table,
    /// With the range of its demands.
    contracts: Vec<(SurfaceContract, (u32, u32))>,
    demands: Vec<Demand>,
}

/// All surfaces of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    surfaces: Option<Surfaces>,
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
            let mut all = Surfaces::default();
            let mut pool = Pool::default();
            for ((name, surface), at) in surfaces.iter().zip(0..) {
                let contract = SurfaceContract {
                    known: true,
                    deadline_ms: surface.deadline_ms,
                    idempotency_window_ms: surface.idempotency_window_ms,
                };
                let here = |all: &Surfaces| u32::try_from(all.demands.len()).unwrap_or(u32::MAX);
                let from = here(&all);
                all.demands.extend(surface.demands(name, &mut pool));
                all.contracts.push((contract, (from, here(&all))));
                all.names.insert(0, name.as_bytes(), at);
            }
            rules.extend(all.demands.iter().map(|demand| demand.effect.clone()));
            all
        });
        rules.sort_by(|a, b| (a.layer, &a.id).cmp(&(b.layer, &b.id)));
        Self { surfaces, demands, rules }
    }

    /// Whether there is a `surfaces:` document at all.
    pub(crate) fn lists_surfaces(&self) -> bool {
        self.surfaces.is_some()
    }

    #[inline]
    pub(crate) fn surface(&self, name: &str) -> Option<Entry<'_>> {
        let all = self.surfaces.as_ref()?;
        let at = all.names.get(0, name.as_bytes())?;
        let (contract, (from, to)) = *all.contracts.get(at as usize)?;
        let demands = all.demands.get(from as usize..to as usize)?;
        Some(Entry { contract, demands })
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

impl Entry<'_> {
    /// Hits that stand before those of `floor:`.
    #[inline]
    pub(crate) fn before(self, request: &Request, hits: &mut Vec<Hit>) {
        // Reads what the demands point to before any is asked: lines that are not in the cache come together.
        std::hint::black_box(self.demands.iter().fold(0, |sum, demand| sum ^ demand.warm()));
        for demand in self.demands {
            hits.extend(demand.hit(request));
        }
    }
}
