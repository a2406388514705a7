//! What two bundles say differently: meaning, not text. Where the partition of requests is finite every
//! cell of it is looked at, elsewhere samples are, and it says which, and what they do not cover.
//!
//! Both decisions come from [`Bundle::evaluate`] and [`combine`], as enforcement's do; sliding windows,
//! sequences and schedules are compared as declared, and do not apply otherwise. Owns no matching of its own.

mod automaton;
mod change;
mod conditions;
mod documents;
mod space;

use crate::bundle::{Bundle, Scratch};
use crate::generate::SplitMix;
use crate::model::Rule;
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{self, Limits, Object, Value, Writer};
use placet_types::policy::{Combined, Force, Velocity, Verdict, combine};
use placet_types::{Caller, Digest, Request};
use std::collections::{BTreeMap, BTreeSet};

pub use change::{Side, Transition};
pub use documents::{How, Part};
pub use placet_types::policy::Aspect;
use space::Space;

/// How far to look.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Most cells that are enumerated.
    pub cells_max: u64,
    /// Requests that are generated where cells are not enumerated.
    pub samples: u32,
    /// Witnesses of each kind of change.
    pub witnesses: usize,
}

impl Default for Extent {
    fn default() -> Self {
        Self { cells_max: 1_000_000, samples: 20_000, witnesses: 3 }
    }
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The bundles have one digest.
    Identical,
    /// Every cell of the partition.
    Enumerated {
        /// How many there are.
        cells: u64,
    },
    /// Some requests.
    Sampled {
        /// Generated from patterns and constants of both bundles.
        generated: u64,
        /// Given by the caller, from a log for example.
        given: u64,
        /// Why the partition was not enumerated.
        not_covered: Vec<String>,
    },
}

/// A request that is decided otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    /// The request, as a client would send it.
    pub request: Value,
    /// The verified facts.
    pub facts: Object,
    /// What the first bundle says.
    pub before: Side,
    /// What the second bundle says.
    pub after: Side,
    /// Whether it was given by the caller.
    pub given: bool,
}

/// All requests with one kind of change.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The change.
    pub transition: Transition,
    /// Cells, or sampled requests, that change so.
    pub count: u64,
    /// Rules that matched on either side and are added, removed or altered; where there are none,
    /// the deciding rules.
    pub rules: BTreeSet<String>,
    /// Some of them.
    pub witnesses: Vec<Witness>,
}

/// The difference of two bundles.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// Digests of both.
    pub digests: [Digest; 2],
    /// What was looked at.
    pub coverage: Coverage,
    /// Kinds of change, by outcome.
    pub groups: Vec<Group>,
    /// Parts of the documents that differ, whether or not a decision does.
    pub parts: Vec<Part>,
}

/// Calls what it is given for each of some requests.
pub type Given<'a> = dyn FnMut(&mut dyn FnMut(&Request, &Caller)) + 'a;

/// Compares two bundles; `given` has requests to be looked at besides, where cells are not enumerated.
pub fn diff(before: &Bundle, after: &Bundle, extent: &Extent, given: &mut Given<'_>) -> Diff {
    let digests = [before.digest(), after.digest()];
    let parts = documents::compare(before, after);
    let Some(base) = base().filter(|_| digests[0] != digests[1]) else {
        return Diff { digests, coverage: Coverage::Identical, groups: Vec::new(), parts };
    };
    let changed: BTreeSet<&str> = parts
        .iter()
        .filter(|part| matches!(part.section.as_str(), "rules" | "floor"))
        .map(|part| part.name.as_str())
        .collect();
    let mut space = Space::of([before, after]);
    let mut looking = Looking {
        bundles: [before, after],
        changed,
        extent,
        groups: BTreeMap::new(),
        scratch: [Scratch::default(), Scratch::default()],
    };
    let combinations = space.combinations();
    if combinations > u128::from(extent.cells_max) {
        let why = format!(
            "{combinations} combinations are more than the {} that are enumerated",
            extent.cells_max
        );
        space.open.push(why);
    }
    let coverage = if space.open.is_empty() {
        Coverage::Enumerated { cells: looking.enumerate(&space, &base) }
    } else {
        let cases = looking.cases(&space);
        let generated = looking.sample(&space, &base).saturating_add(cases);
        let mut count = 0_u64;
        given(&mut |request, caller| {
            looking.look(request, caller, true);
            count = count.saturating_add(1);
        });
        Coverage::Sampled { generated, given: count, not_covered: space.open.clone() }
    };
    let groups = looking.groups.into_values().collect();
    Diff { digests, coverage, groups, parts }
}

/// A request of which every axis replaces something.
fn base() -> Option<(Request, Caller)> {
    let caller = Caller {
        workspace: WorkspaceName::parse("default")?,
        environment: "production".to_owned(),
        actor: ActorId::parse("agent:anything-else")?,
        roles: BTreeSet::new(),
        chain: Vec::new(),
    };
    let body = Object::new()
        .with("surface", "anything-else")
        .with("action", "anything-else")
        .with("idempotency_key", "policy-diff");
    Some((Request::read(Value::Object(body), &caller).ok()?, caller))
}

struct Looking<'a> {
    bundles: [&'a Bundle; 2],
    changed: BTreeSet<&'a str>,
    extent: &'a Extent,
    groups: BTreeMap<Transition, Group>,
    scratch: [Scratch; 2],
}

impl Looking<'_> {
    fn enumerate(&mut self, space: &Space, base: &(Request, Caller)) -> u64 {
        let mut picks = vec![0_usize; space.axes.len()];
        let mut cells = 0_u64;
        loop {
            if space.counts(&picks) {
                cells = cells.saturating_add(1);
                let (request, caller) = space.request(&picks, base);
                self.look(&request, &caller, false);
            }
            if !next(space, &mut picks) {
                return cells;
            }
        }
    }

    /// The requests of all `tests:`, and each of them with one value replaced by every other of its axis:
    /// what people thought of passes contracts and floors that made-up requests seldom pass.
    fn cases(&mut self, space: &Space) -> u64 {
        let cases: Vec<_> = self.bundles.iter().flat_map(|bundle| bundle.cases()).collect();
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut count = 0_u64;
        for case in cases {
            let base = (case.request, case.caller);
            let facts = Value::Object(base.1.facts()).to_canonical();
            if !seen.insert([body(&base.0).to_canonical(), facts].concat()) {
                continue;
            }
            let varied = space
                .axes
                .iter()
                .flat_map(|axis| axis.choices.iter().map(|choice| space.vary(axis, choice, &base)));
            for (request, caller) in std::iter::once(base.clone()).chain(varied) {
                if count >= u64::from(self.extent.samples) {
                    return count;
                }
                self.look(&request, &caller, false);
                count = count.saturating_add(1);
            }
        }
        count
    }

    /// For each rule requests that its keys match, with every other value varied one at a time, those
    /// that changed first; then any combination.
    fn sample(&mut self, space: &Space, base: &(Request, Caller)) -> u64 {
        let mut random = SplitMix(0x0070_1ace_d1ff);
        let mut seen: BTreeSet<Vec<usize>> = BTreeSet::new();
        let limit = usize::try_from(self.extent.samples).unwrap_or(usize::MAX);
        let models = self.bundles.map(|bundle| &bundle.model().rules);
        let (mut first, mut rest): (Vec<&Rule>, Vec<&Rule>) = models
            .into_iter()
            .flatten()
            .partition(|rule| self.changed.contains(rule.effect.id.as_str()));
        first.truncate(limit);
        rest.truncate(limit);
        let rules = first.into_iter().chain(rest).collect::<Vec<_>>();
        // A tenth of the requests is for combinations that no rule suggests.
        let suggested = limit.saturating_sub(limit / 10);
        for round in 0..4 {
            for rule in &rules {
                let keys = space.matching(rule);
                let mut picks = any(space, &mut random, round > 0);
                for (axis, choices) in &keys {
                    if let (Some(pick), Some(choice)) = (picks.get_mut(*axis), random.pick(choices))
                    {
                        *pick = *choice;
                    }
                }
                for (at, axis) in space.axes.iter().enumerate() {
                    for choice in 0..axis.choices.len() {
                        if seen.len() >= suggested {
                            break;
                        }
                        let mut picks = picks.clone();
                        if let Some(pick) = picks.get_mut(at) {
                            *pick = choice;
                        }
                        self.try_once(space, picks, &mut seen, base);
                    }
                }
            }
        }
        for _ in 0..limit.saturating_mul(2) {
            if seen.len() >= limit {
                break;
            }
            let picks = any(space, &mut random, true);
            self.try_once(space, picks, &mut seen, base);
        }
        u64::try_from(seen.len()).unwrap_or(u64::MAX)
    }

    fn try_once(
        &mut self,
        space: &Space,
        picks: Vec<usize>,
        seen: &mut BTreeSet<Vec<usize>>,
        base: &(Request, Caller),
    ) {
        if space.counts(&picks) && !seen.contains(&picks) {
            let (request, caller) = space.request(&picks, base);
            self.look(&request, &caller, false);
            seen.insert(picks);
        }
    }

    fn look(&mut self, request: &Request, caller: &Caller, given: bool) {
        let [before, after] = self.bundles;
        let [one, other] = &mut self.scratch;
        let a = said(before, request, caller, one);
        let b = said(after, request, caller, other);
        if same(&a, &b) {
            return;
        }
        let (before, after) = (Side::new(&a.0, &a.1), Side::new(&b.0, &b.1));
        let Some(transition) = before.change(&after) else { return };
        let group = self.groups.entry(transition.clone()).or_insert_with(|| Group {
            transition,
            count: 0,
            rules: BTreeSet::new(),
            witnesses: Vec::new(),
        });
        group.count = group.count.saturating_add(1);
        let hits = a.0.hits.iter().chain(&b.0.hits).map(|hit| hit.rule.id.as_str());
        let responsible: BTreeSet<&str> = hits.filter(|id| self.changed.contains(id)).collect();
        if responsible.is_empty() {
            group.rules.extend(before.rules.iter().chain(&after.rules).cloned());
        } else {
            group.rules.extend(responsible.into_iter().map(str::to_owned));
        }
        if group.witnesses.len() < self.extent.witnesses {
            let request = body(request);
            let facts = caller.facts();
            group.witnesses.push(Witness { request, facts, before, after, given });
        }
    }
}

/// Windows count as empty, and what waits for a time or for something earlier does not apply: what it
/// is, is compared apart.
fn said(
    bundle: &Bundle,
    request: &Request,
    caller: &Caller,
    scratch: &mut Scratch,
) -> (Verdict, Combined) {
    let verdict = bundle.evaluate(request, caller, scratch);
    let timeless = verdict.hits.iter().any(|hit| hit.force == Force::Asked).then(|| Verdict {
        hits: verdict.hits.iter().filter(|hit| hit.force != Force::Asked).cloned().collect(),
        ..verdict.clone()
    });
    let combined = combine(timeless.as_ref().unwrap_or(&verdict), |_| Velocity::Open);
    (verdict, combined)
}

/// Whether two decisions are the same, without making anything of them.
fn same(a: &(Verdict, Combined), b: &(Verdict, Combined)) -> bool {
    a.1.outcome == b.1.outcome && a.1.deciding == b.1.deciding && a.0.hits == b.0.hits
}

/// The next combination, the last axis first; false after the last one.
fn next(space: &Space, picks: &mut [usize]) -> bool {
    for (axis, pick) in space.axes.iter().zip(picks.iter_mut()).rev() {
        *pick = pick.saturating_add(1);
        if *pick < axis.choices.len() {
            return true;
        }
        *pick = 0;
    }
    false
}

/// Any combination, or the first choices: literals, and nothing that may be left out of a list.
fn any(space: &Space, random: &mut SplitMix, wild: bool) -> Vec<usize> {
    let mut picks: Vec<usize> = space
        .axes
        .iter()
        .map(|axis| if wild { random.below(axis.choices.len()) } else { 0 })
        .collect();
    for at in 0..picks.len() {
        if !space.held(at, &picks)
            && let Some(pick) = picks.get_mut(at)
        {
            *pick = 0;
        }
    }
    picks
}

fn body(request: &Request) -> Value {
    let mut bytes = Vec::new();
    Writer::object(&mut bytes, |w| request.write_members(w));
    json::parse(&bytes, Limits::DOCUMENT).unwrap_or(Value::Null)
}

impl Diff {
    /// Whether no decision that was looked at differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.groups.is_empty()
    }

    /// As JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let groups: Vec<Value> = self.groups.iter().map(Group::to_value).collect();
        let parts: Vec<Value> = self.parts.iter().map(Part::to_value).collect();
        let [before, after] = &self.digests;
        Value::Object(
            Object::new()
                .with("before", before.to_string())
                .with("after", after.to_string())
                .with("coverage", self.coverage.to_value())
                .with("changes", groups)
                .with("documents", parts),
        )
    }
}

impl Coverage {
    fn to_value(&self) -> Value {
        Value::Object(match self {
            Self::Identical => Object::new().with("kind", "identical"),
            Self::Enumerated { cells } => {
                Object::new().with("kind", "enumerated").with("cells", *cells)
            }
            Self::Sampled { generated, given, not_covered } => {
                let not_covered: Vec<Value> =
                    not_covered.iter().map(|why| Value::from(why.as_str())).collect();
                Object::new()
                    .with("kind", "sampled")
                    .with("generated", *generated)
                    .with("given", *given)
                    .with("not_covered", not_covered)
            }
        })
    }
}

impl Group {
    fn to_value(&self) -> Value {
        let texts = |items: &mut dyn Iterator<Item = &str>| -> Vec<Value> {
            items.map(Value::from).collect()
        };
        let witnesses: Vec<Value> = self.witnesses.iter().map(Witness::to_value).collect();
        let mut aspects = self.transition.aspects.iter().map(|aspect| aspect.as_str());
        Value::Object(
            Object::new()
                .with("change", self.transition.to_string())
                .with("from", self.transition.from.as_str())
                .with("to", self.transition.to.as_str())
                .with("aspects", texts(&mut aspects))
                .with("count", self.count)
                .with("rules", texts(&mut self.rules.iter().map(String::as_str)))
                .with("witnesses", witnesses),
        )
    }
}

impl Witness {
    fn to_value(&self) -> Value {
        Value::Object(
            Object::new()
                .with("request", self.request.clone())
                .with("caller", self.facts.clone())
                .with("before", self.before.to_value())
                .with("after", self.after.to_value())
                .with_opt("from_log", self.given.then_some(true)),
        )
    }
}
