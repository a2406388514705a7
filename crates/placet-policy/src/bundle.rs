//! The bundle: compiled all or nothing, immutable, named by its digest. Owns the order of the
//! steps from text to index and the evaluation of one request; keeps no state between requests.

use crate::access;
use crate::condition::{Condition, Facts};
use crate::derive::{Derived, Derivers};
use crate::diagnostic::{Code, Diagnostic, Place, Report, Severity, Totals};
use crate::exceptions::ExceptionPolicy;
use crate::identity::{self, Issuer};
use crate::index::{Build, Index, Remaining};
use crate::layers::Layers;
use crate::model::{DEADLINE_MS, IDEMPOTENCY_WINDOW_MS, LimitKey, Model, Retention};
use crate::modes::Modes;
use crate::notify::Notify;
use crate::source::Source;
use crate::syntax::Node;
use crate::{read, syntax};
use placet_types::json::{self, Limits, Object};
use placet_types::policy::{Force, Hit, Layer, RuleEffect, Verdict};
use placet_types::{Caller, Digest, Hasher, Request};
use std::fmt;
use std::sync::Arc;
use std::thread;

pub use crate::index::Scratch;

/// What a bundle says of a surface as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurfaceContract {
    /// Whether the bundle knows it: there is no `surfaces:` document, it is listed, or built in.
    pub known: bool,
    /// Milliseconds in which a request has to be decided.
    pub deadline_ms: u64,
    /// Milliseconds for which an idempotency key binds.
    pub idempotency_window_ms: u64,
}

/// A compiled rule: 64 bytes, so that a candidate costs one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Compiled {
    remaining: Remaining,
    pub(crate) effect: Arc<RuleEffect>,
    pub(crate) condition: Option<Condition>,
    /// `None` without a `limit:`.
    pub(crate) limit_key: Option<Box<[LimitKey]>>,
}

const _: () = assert!(size_of::<Compiled>() == 64, "a rule fills one cache line");

/// A compiled set of policy documents.
pub struct Bundle {
    digest: Digest,
    normalised: Vec<u8>,
    /// Sorted by layer and id, so the number of a rule is its place in every verdict.
    rules: Vec<Compiled>,
    index: Index,
    derivers: Derivers,
    layers: Layers,
    model: Model,
    notify: Notify,
    issuers: Vec<Issuer>,
    exceptions: ExceptionPolicy,
    modes: Modes,
    warnings: Vec<Diagnostic>,
    warned: Totals,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("digest", &self.digest)
            .field("rules", &self.rules.len())
            .finish()
    }
}

/// Stack of the compiling thread: far more than the bounded inputs need, so that no text can
/// exhaust the stack of a server's worker.
const STACK_BYTES: usize = 64 << 20;
/// Largest sum of all documents.
const BUNDLE_BYTES_MAX: usize = 16 << 20;

impl Bundle {
    /// Compiles documents, all or nothing. No sources give an empty bundle, under which everything
    /// is SILENCE.
    ///
    /// # Errors
    /// Everything that is wrong, sorted by file, line and column; at most 100 findings.
    pub fn compile<H: Hasher>(sources: &[Source]) -> Result<Self, Vec<Diagnostic>> {
        on_big_stack(|| Self::compile_with_trees::<H>(sources).map(|(bundle, _)| bundle))
    }

    /// As [`Bundle::compile`] and with the trees of the documents. Needs a big stack.
    pub(crate) fn compile_with_trees<H: Hasher>(
        sources: &[Source],
    ) -> Result<(Self, Vec<Node>), Vec<Diagnostic>> {
        let named = sources.iter().map(|it| (it.name.as_str(), it.text.as_str()));
        let mut report = Report::new(named);
        let size = sources.iter().fold(0_usize, |sum, it| sum.saturating_add(it.text.len()));
        if size > BUNDLE_BYTES_MAX {
            let message =
                format!("{size} bytes of policy, more than the {BUNDLE_BYTES_MAX} allowed");
            report.error(Code::Bound, Place::default(), message);
            return Err(report.finish());
        }
        let mut documents = Vec::with_capacity(sources.len());
        for (at, source) in sources.iter().enumerate() {
            documents.extend(syntax::parse_yaml(at, &source.text, &mut report));
        }
        let model = read::documents(&documents, &mut report);
        Ok((Self::build::<H>(model, report)?, documents))
    }

    /// Rebuilds a bundle from [`Bundle::normalised`] bytes: the same digest, the same verdicts.
    ///
    /// # Errors
    /// When the bytes are anything but the normal form of a valid bundle.
    pub fn from_normalised<H: Hasher>(bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        on_big_stack(|| {
            let mut report = Report::new([("bundle", "")]);
            let value = match json::parse(bytes, Limits::DOCUMENT) {
                Ok(value) => value,
                Err(error) => {
                    report.error(Code::NotNormal, Place::default(), error.to_string());
                    return Err(report.finish());
                }
            };
            let node = syntax::from_json(&value, Place::default());
            let model = read::normal(&node, &mut report);
            let bundle = Self::build::<H>(model, report)?;
            if bundle.normalised != bytes {
                let mut report = Report::new([("bundle", "")]);
                report.error(Code::NotNormal, Place::default(), "not the normal form of a bundle");
                return Err(report.finish());
            }
            Ok(bundle)
        })
    }

    fn build<H: Hasher>(model: Model, mut report: Report<'_>) -> Result<Self, Vec<Diagnostic>> {
        if report.has_errors() {
            return Err(report.finish());
        }
        let normalised = model.normalised();
        if normalised.len() > Limits::DOCUMENT.bytes_max {
            report.error(
                Code::Bound,
                Place::default(),
                "the normal form of the bundle exceeds 16 MiB",
            );
            return Err(report.finish());
        }
        let index = Build::run(model.rules.iter().map(|rule| &rule.matches));
        let derivers = Derivers::new(&model.derivers);
        let rules = model.rules.iter().zip(index.remaining()).map(|(rule, remaining)| Compiled {
            remaining: *remaining,
            effect: rule.effect.clone(),
            condition: rule.matches.when.clone(),
            limit_key: (rule.effect.limit.is_some() || rule.effect.after.is_some())
                .then(|| rule.limit_key.clone().into_boxed_slice()),
        });
        let layers = Layers::new(&model);
        let notify = Notify::of(&model.documents);
        let issuers = identity::issuers(&model.documents);
        let exceptions = ExceptionPolicy::of(&model.documents);
        let modes = Modes::of(&model.documents);
        let rules = rules.collect();
        Ok(Self {
            digest: Digest(H::sha256(&[&normalised])),
            normalised,
            rules,
            index,
            derivers,
            layers,
            model,
            notify,
            warned: report.totals(),
            issuers,
            exceptions,
            modes,
            warnings: report.finish(),
        })
    }

    /// SHA-256 over [`Bundle::normalised`]: the policy version on every decision.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The normal form as RFC 8785 bytes: independent of file names, order and spelling.
    #[must_use]
    pub fn normalised(&self) -> &[u8] {
        &self.normalised
    }

    /// What compiles and still deserves a look.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// How many of these there are; at most 100 are kept.
    #[must_use]
    pub fn warned(&self) -> Totals {
        self.warned
    }

    /// All rules that a decision may name: those of `floor:` and `rules:`, and those that follow from
    /// other documents.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<RuleEffect>> {
        self.layers.rules().iter().chain(self.rules.iter().map(|rule| &rule.effect))
    }

    /// The rule of this id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Arc<RuleEffect>> {
        let written = Layer::ALL.into_iter().find_map(|layer| {
            let order = |it: &Compiled| (it.effect.layer, it.effect.id.as_str()).cmp(&(layer, id));
            let at = self.rules.binary_search_by(order).ok()?;
            self.rules.get(at).map(|rule| &rule.effect)
        });
        written.or_else(|| self.layers.rule(id))
    }

    /// How many rules matching can find: those of `floor:`, `rules:` and `approvals:`, and what manifests
    /// and roles add to them.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// What the bundle says of a surface, with defaults where it says nothing.
    #[must_use]
    pub fn surface(&self, name: &str) -> SurfaceContract {
        let default = SurfaceContract {
            known: true,
            deadline_ms: DEADLINE_MS,
            idempotency_window_ms: IDEMPOTENCY_WINDOW_MS,
        };
        match self.layers.surface(name) {
            Some(entry) => entry.contract,
            None => SurfaceContract { known: self.knows_unlisted(name), ..default },
        }
    }

    /// Whether a surface that no document lists is known.
    fn knows_unlisted(&self, name: &str) -> bool {
        !self.layers.lists_surfaces() || is_built_in(name)
    }

    /// Whether only surfaces that a document lists are known, besides those that are built in.
    #[must_use]
    pub fn lists_surfaces(&self) -> bool {
        self.layers.lists_surfaces()
    }

    /// All listed surfaces with their contracts, by name, as people and gates read them.
    pub fn surfaces(&self) -> impl Iterator<Item = Object> {
        let surfaces = self.model.surfaces.iter().flatten();
        surfaces.map(|(name, surface)| surface.to_wire().with("name", name.as_str()))
    }

    /// Whether a gate of this surface may proceed without a decision in this environment.
    #[must_use]
    pub fn fails_open(&self, surface: &str, environment: &str) -> bool {
        let surface = self.model.surfaces.as_ref().and_then(|all| all.get(surface));
        surface.is_some_and(|surface| surface.open_in.contains_key(environment))
    }

    /// Whether a mode lets gates of this surface proceed in this environment, whatever is decided.
    #[must_use]
    pub fn is_unenforced(&self, surface: &str, environment: &str) -> bool {
        self.modes.is_shadow(surface, environment)
    }

    /// How many decisions an execution of a capability may ask for, as its manifest bounds it.
    #[must_use]
    pub fn max_steps(&self, capability: &str) -> Option<u64> {
        let manifests = self.model().documents.get("capabilities")?;
        manifests.get(capability)?.get("max_steps")?.as_u64()
    }

    /// Issuers of evidence that a surface lists, as policy names them.
    pub fn evidence_issuers(&self, surface: &str) -> impl Iterator<Item = &str> {
        let surface = self.model.surfaces.as_ref().and_then(|it| it.get(surface));
        let specs = surface.into_iter().flat_map(|it| it.evidence.values());
        specs.flat_map(|spec| spec.issuers.iter().map(String::as_str))
    }

    /// Whose tokens are believed, by id.
    #[must_use]
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// What it allows of exceptions.
    #[must_use]
    pub fn exceptions(&self) -> &ExceptionPolicy {
        &self.exceptions
    }

    /// How long a surface keeps its payloads: for good where the bundle says nothing.
    #[must_use]
    pub fn retention(&self, name: &str) -> Retention {
        let surfaces = self.model.surfaces.as_ref();
        surfaces.and_then(|it| it.get(name)).map(|it| it.retention.clone()).unwrap_or_default()
    }

    /// Surfaces whose payloads are erased at an age, with that age in milliseconds.
    pub fn retired(&self) -> impl Iterator<Item = (&str, u64)> {
        let surfaces = self.model.surfaces.iter().flatten();
        surfaces.filter_map(|(name, surface)| Some((name.as_str(), surface.retention.payload_ms?)))
    }

    /// Who hears of what, through which channel.
    #[must_use]
    pub fn notify(&self) -> &Notify {
        &self.notify
    }

    /// Which rules match a request: the hot path. Cost follows the candidates, not the rules.
    #[must_use]
    pub fn evaluate(&self, request: &Request, caller: &Caller, scratch: &mut Scratch) -> Verdict {
        let entry = self.layers.surface(&request.surface);
        let surface_known = entry.is_some() || self.knows_unlisted(&request.surface);
        let mut verdict =
            Verdict { policy: Some(self.digest), surface_known, ..Verdict::default() };
        verdict.unenforced = self.modes.is_shadow(&request.surface, &caller.environment);
        if !surface_known {
            return verdict;
        }
        if let Some(entry) = entry {
            entry.before(request, &mut verdict.hits);
        }
        let derived = self.derive(request, caller, scratch);
        let facts = derived.facts(request, caller);
        self.layers.demands().ask(facts, scratch, &mut verdict.hits);
        let demanded = !verdict.hits.is_empty();
        self.index.candidates(facts, scratch);
        let candidates = std::mem::take(&mut scratch.candidates);
        self.warm(&candidates);
        for number in &candidates {
            let Some(rule) = self.rules.get(*number as usize) else { continue };
            if !self.index.verify(&rule.remaining, facts, scratch) {
                continue;
            }
            let truth = rule.condition.as_ref().map_or(Ok(true), |it| it.evaluate(facts));
            if truth == Ok(false) {
                continue;
            }
            if verdict.hits.capacity() == 0 {
                verdict.hits.reserve_exact(4);
            }
            verdict.hits.push(Hit {
                rule: rule.effect.clone(),
                error: truth.err(),
                limit_key: rule.limit_key.as_deref().map(|key| limit_values(key, facts)),
                force: force(&rule.effect),
            });
        }
        scratch.candidates = candidates;
        if demanded {
            verdict.hits.sort_by(|a, b| access::place(&a.rule).cmp(&access::place(&b.rule)));
        }
        verdict
    }

    /// What derivers find out about a request.
    pub(crate) fn derive(
        &self,
        request: &Request,
        caller: &Caller,
        scratch: &mut Scratch,
    ) -> Derived {
        let mut inner = scratch.derivers.take().unwrap_or_default();
        let derived = self.derivers.derive(request, caller, &mut inner);
        scratch.derivers = Some(inner);
        let mut derived = derived.unwrap_or_default();
        // What the stores say is no less found out.
        for (name, value) in request.found.facts.iter() {
            derived.facts.set(name, value.clone());
        }
        derived
    }

    /// Reads what the first candidates lie in before any is verified. Taking a reference waits for
    /// all earlier loads, so without this each hit would wait for its cache lines one by one.
    #[inline]
    fn warm(&self, candidates: &[u32]) {
        let counts = candidates.iter().take(8).filter_map(|number| {
            let rule = self.rules.get(*number as usize)?;
            let condition = rule.condition.as_ref().map_or(0, Condition::warm);
            Some(Arc::strong_count(&rule.effect) ^ condition)
        });
        std::hint::black_box(counts.fold(0_usize, |sum, count| sum ^ count));
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    pub(crate) fn derivers(&self) -> &Derivers {
        &self.derivers
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn compiled(&self) -> &[Compiled] {
        &self.rules
    }
}

/// A rule with a schedule or a sequence is asked in `step`, which knows time and state.
pub(crate) fn force(rule: &RuleEffect) -> Force {
    if rule.schedule.is_some() || rule.after.is_some() { Force::Asked } else { Force::Always }
}

/// The values of a limit's key; `None` where the request has no such field.
pub(crate) fn limit_values(key: &[LimitKey], facts: Facts<'_>) -> Vec<Option<String>> {
    let Facts { request, caller, .. } = facts;
    key.iter()
        .map(|key| {
            let value = match key {
                LimitKey::Actor => Some(caller.actor.as_str()),
                LimitKey::Surface => Some(request.surface.as_str()),
                LimitKey::Action => Some(request.action.as_str()),
                LimitKey::Topic => request.topic.as_deref(),
                LimitKey::Target => request.target.as_deref(),
                LimitKey::Team => request.team.as_deref(),
                LimitKey::Capability => request.capability.as_deref(),
                LimitKey::Branch => request.branch.as_deref(),
                LimitKey::Model => request.model.as_deref(),
                LimitKey::Execution => request.execution.as_deref(),
                LimitKey::Workspace => Some(caller.workspace.as_str()),
                LimitKey::Environment => Some(caller.environment.as_str()),
                LimitKey::Label(name) => request.labels.get(name).map(String::as_str),
            };
            value.map(str::to_owned)
        })
        .collect()
}

/// Surfaces of Placet itself, known to every bundle.
pub(crate) fn is_built_in(name: &str) -> bool {
    ["execution", "job", "release.register", "alias.change"].contains(&name)
        || ["policy.", "override.", "role.", "key."].iter().any(|prefix| name.starts_with(prefix))
}

/// Runs `compile` on a thread with a stack of known size. A panic of a parser becomes a finding:
/// it is a defect, and still no reason to stop a server or to let a bundle pass.
pub(crate) fn on_big_stack<T: Send>(
    compile: impl FnOnce() -> Result<T, Vec<Diagnostic>> + Send,
) -> Result<T, Vec<Diagnostic>> {
    let failed = |message: String| {
        let mut report = Report::new([("bundle", "")]);
        report.push(Code::Bound, Severity::Error, Place::default(), message, None);
        report.finish()
    };
    thread::scope(|scope| {
        let builder =
            thread::Builder::new().name("policy-compile".to_owned()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, compile) {
            Ok(handle) => handle.join().unwrap_or_else(|_| {
                Err(failed("the compiler failed on this bundle, which is a defect".to_owned()))
            }),
            Err(error) => Err(failed(format!("no thread to compile on: {error}"))),
        }
    })
}
