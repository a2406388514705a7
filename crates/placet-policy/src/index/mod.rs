//! The index: from the values of a request to the rules that may match it. Owns interned patterns,
//! tries and posting lists; refuses to know effects and conditions.
//!
//! Back of the envelope, one request at 2.5 GHz: a hash look-up of a short name costs 15 ns, a step
//! of the trie 20 ns, a candidate 20–40 ns (one cache line of rule, one of keys), a hit 30 ns (one
//! reference count, one sort position). A request reads some ten names (150 ns), a topic of five
//! segments along two or three active nodes (250 ns) and meets a handful of candidates (200 ns),
//! so about 0.6 µs. None of these terms contains the number of rules. What grows is the working
//! set: 10,000 rules are about 1.5 MiB, so some twenty look-ups move from L1 to L2 (+10 ns each).
//!
//! Each rule lies in the posting lists of ONE of its keys, the one whose values the fewest rules
//! share; its other keys are compared per candidate, as interned ids. Assumption: what few rules
//! name few requests carry. A tag that a fifth of all rules name *as their only key* makes a fifth
//! of all rules candidates, and rightly: they all match.

mod build;
mod table;

use crate::access::Buffers;
use crate::condition::Facts;
use crate::model::MatchKey;
use crate::pattern::Dialect;
pub(crate) use build::Build;
use std::sync::Arc;
pub(crate) use table::{FastMap, Table};

/// Marks the absence of a child, pattern or key.
const NONE: u32 = u32::MAX;

/// What one dimension of the index reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The value or values behind a key; `risk_tags_all` reads what `risk_tags` reads.
    Key(MatchKey),
    /// One label.
    Label(String),
}

/// All patterns on one kind of value.
#[derive(Debug)]
struct Dimension {
    reads: Reads,
    dialect: Dialect,
    /// Whether `Index::table` holds literals of this dimension.
    literal: bool,
    /// The pattern `*` where values have no segments.
    any: u32,
    /// Root node of the trie, or `NONE` without segment patterns.
    root: u32,
    /// Whether some rule lies in a posting list of this dimension.
    indexed: bool,
}

#[derive(Clone, Copy, Debug)]
struct TrieNode {
    /// Child for `*`.
    one: u32,
    /// Child for `**`.
    many: u32,
    /// The pattern that ends here.
    pattern: u32,
    /// Whether this node is itself a `**`.
    repeats: bool,
    /// Whether the table holds children of this node: most nodes near the end of a pattern have
    /// none, and a look-up in vain costs a cache line.
    literal: bool,
}

impl TrieNode {
    const fn new(repeats: bool) -> Self {
        Self { one: NONE, many: NONE, pattern: NONE, repeats, literal: false }
    }
}

/// How many of a key's patterns have to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Any,
    All,
}

/// One key of one rule: patterns of one dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleKey {
    /// The only pattern when `len` is 1, otherwise where the patterns start.
    start: u32,
    len: u16,
    pub(crate) dimension: u16,
    pub(crate) mode: Mode,
}

impl RuleKey {
    const EMPTY: Self = Self { start: 0, len: 0, dimension: 0, mode: Mode::Any };
}

/// The keys of one rule that its posting lists do not answer for. The first two lie here, in the
/// cache line of their rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remaining {
    near: [RuleKey; 2],
    near_len: u8,
    far_len: u16,
    far_start: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Index {
    dimensions: Vec<Dimension>,
    /// Dimensions with posting lists, those of labels excepted.
    indexed: Vec<u16>,
    label_dimensions: FastMap<Box<str>, u16>,
    /// Literals of each dimension and edges of each trie node.
    table: Table,
    nodes: Vec<TrieNode>,
    /// Posting list of each pattern: start and length in `posted`, or the one rule and 1.
    postings: Vec<(u32, u32)>,
    posted: Vec<u32>,
    /// Rules without any key.
    always: Vec<u32>,
    /// All keys of each rule, as a range of `keys`; for explanations.
    rules: Vec<(u32, u32)>,
    remaining: Vec<Remaining>,
    keys: Vec<RuleKey>,
    far_keys: Vec<RuleKey>,
    key_patterns: Vec<u32>,
    pattern_texts: Vec<Arc<str>>,
}

/// Buffers of one evaluation, to be used again.
#[derive(Debug, Default)]
pub struct Scratch {
    generation: u64,
    /// Per dimension: the generation in which `matched` was filled.
    filled: Vec<u64>,
    matched: Vec<Vec<u32>>,
    pub(crate) candidates: Vec<u32>,
    active: Vec<u32>,
    next: Vec<u32>,
    /// Those of the derivers, which have an index of their own.
    pub(crate) derivers: Option<Box<Scratch>>,
    /// Those of the layers beside the rules.
    pub(crate) layers: Option<Box<Buffers>>,
}

impl Scratch {
    fn begin(&mut self, dimensions: usize) {
        // A bundle with other dimensions may have been here before: 0 is no generation.
        if self.matched.len() != dimensions {
            self.matched.resize_with(dimensions, Vec::new);
            self.filled.resize(dimensions, 0);
        }
        self.generation = self.generation.wrapping_add(1);
        self.candidates.clear();
    }
}

impl Index {
    /// Fills `scratch.candidates` with the rules that may match, sorted and without repetition.
    #[inline]
    pub(crate) fn candidates(&self, facts: Facts<'_>, scratch: &mut Scratch) {
        scratch.begin(self.dimensions.len());
        let mut lists = 0_u32;
        for dimension in &self.indexed {
            lists = lists.saturating_add(self.collect(*dimension, facts, scratch));
        }
        if !self.label_dimensions.is_empty() {
            for name in facts.request.labels.keys() {
                if let Some(dimension) = self.label_dimensions.get(name.as_str())
                    && self.dimensions.get(usize::from(*dimension)).is_some_and(|it| it.indexed)
                {
                    lists = lists.saturating_add(self.collect(*dimension, facts, scratch));
                }
            }
        }
        if !self.always.is_empty() {
            lists = lists.saturating_add(1);
            scratch.candidates.extend_from_slice(&self.always);
        }
        if lists > 1 {
            scratch.candidates.sort_unstable();
            scratch.candidates.dedup();
        }
    }

    /// Fills `scratch.candidates` with what matches in all of its keys, for matches without conditions.
    pub(crate) fn matching(&self, facts: Facts<'_>, scratch: &mut Scratch) {
        self.candidates(facts, scratch);
        let mut found = std::mem::take(&mut scratch.candidates);
        found.retain(|number| {
            let keys = self.remaining.get(*number as usize);
            keys.is_some_and(|keys| self.verify(keys, facts, scratch))
        });
        scratch.candidates = found;
    }

    /// Adds the posting lists of all matching patterns of one dimension; how many there were.
    fn collect(&self, dimension: u16, facts: Facts<'_>, scratch: &mut Scratch) -> u32 {
        self.fill(dimension, facts, scratch);
        let mut lists = 0_u32;
        let Some(matched) = scratch.matched.get(usize::from(dimension)) else { return 0 };
        for pattern in matched {
            let Some((start, len)) = self.postings.get(*pattern as usize) else { continue };
            match *len {
                0 => continue,
                1 => scratch.candidates.push(*start),
                len => {
                    let (start, len) = (*start as usize, len as usize);
                    let posted = self.posted.get(start..start.saturating_add(len));
                    scratch.candidates.extend_from_slice(posted.unwrap_or_default());
                }
            }
            lists = lists.saturating_add(1);
        }
        lists
    }

    /// Whether every key matches that the posting lists did not answer for.
    #[inline]
    pub(crate) fn verify(&self, keys: &Remaining, facts: Facts<'_>, scratch: &mut Scratch) -> bool {
        for key in keys.near.iter().take(usize::from(keys.near_len)) {
            if !self.key_matches(key, facts, scratch) {
                return false;
            }
        }
        let start = keys.far_start as usize;
        let far = self.far_keys.get(start..start.saturating_add(usize::from(keys.far_len)));
        far.unwrap_or_default().iter().all(|key| self.key_matches(key, facts, scratch))
    }

    /// What is left to verify of each rule.
    pub(crate) fn remaining(&self) -> &[Remaining] {
        &self.remaining
    }

    /// All keys of a rule, for explanations.
    pub(crate) fn rule_keys(&self, rule: u32) -> &[RuleKey] {
        let Some((start, len)) = self.rules.get(rule as usize) else { return &[] };
        let start = *start as usize;
        self.keys.get(start..start.saturating_add(*len as usize)).unwrap_or_default()
    }

    pub(crate) fn reads(&self, key: &RuleKey) -> Option<&Reads> {
        self.dimensions.get(usize::from(key.dimension)).map(|dimension| &dimension.reads)
    }

    /// The patterns of a key as written.
    pub(crate) fn pattern_texts(&self, key: &RuleKey) -> Vec<Arc<str>> {
        self.patterns(key)
            .iter()
            .filter_map(|pattern| self.pattern_texts.get(*pattern as usize).cloned())
            .collect()
    }

    /// Forgets what an earlier request matched.
    pub(crate) fn begin(&self, scratch: &mut Scratch) {
        scratch.begin(self.dimensions.len());
    }

    fn patterns<'k>(&'k self, key: &'k RuleKey) -> &'k [u32] {
        if key.len == 1 {
            return std::slice::from_ref(&key.start);
        }
        let start = key.start as usize;
        self.key_patterns.get(start..start.saturating_add(usize::from(key.len))).unwrap_or_default()
    }

    /// Whether one key matches. A key on a value that the request lacks never does.
    #[inline]
    pub(crate) fn key_matches(
        &self,
        key: &RuleKey,
        facts: Facts<'_>,
        scratch: &mut Scratch,
    ) -> bool {
        self.fill(key.dimension, facts, scratch);
        let Some(matched) = scratch.matched.get(usize::from(key.dimension)) else { return false };
        let patterns = self.patterns(key);
        // Patterns of a key are sorted, so long lists are searched.
        let holds = |pattern: &u32| {
            if patterns.len() <= 8 {
                patterns.contains(pattern)
            } else {
                patterns.binary_search(pattern).is_ok()
            }
        };
        match key.mode {
            Mode::Any => matched.iter().any(holds),
            Mode::All => patterns.iter().all(|pattern| matched.contains(pattern)),
        }
    }

    /// Finds the matching patterns of one dimension, once per request.
    #[inline]
    fn fill(&self, number: u16, facts: Facts<'_>, scratch: &mut Scratch) {
        let at = usize::from(number);
        if let (Some(filled), Some(dimension)) =
            (scratch.filled.get_mut(at), self.dimensions.get(at))
            && *filled != scratch.generation
        {
            *filled = scratch.generation;
            let mut matched = scratch.matched.get_mut(at).map(std::mem::take).unwrap_or_default();
            matched.clear();
            for_each_value(&dimension.reads, facts, |value| {
                self.look_up(
                    number,
                    dimension,
                    value,
                    &mut matched,
                    &mut scratch.active,
                    &mut scratch.next,
                );
            });
            if let Some(slot) = scratch.matched.get_mut(at) {
                *slot = matched;
            }
        }
    }

    fn look_up(
        &self,
        at: u16,
        dimension: &Dimension,
        value: &str,
        matched: &mut Vec<u32>,
        active: &mut Vec<u32>,
        next: &mut Vec<u32>,
    ) {
        if dimension.literal
            && let Some(pattern) = self.table.get(literals_of(at), value.as_bytes())
        {
            matched.push(pattern);
        }
        if dimension.any != NONE && !matched.contains(&dimension.any) {
            matched.push(dimension.any);
        }
        if dimension.root != NONE {
            self.walk(dimension, value, matched, active, next);
        }
    }

    /// Runs all segment patterns of a dimension at once: the set of active nodes, one step per
    /// segment. Work is bounded by segments times active nodes, whatever the patterns.
    fn walk(
        &self,
        dimension: &Dimension,
        value: &str,
        matched: &mut Vec<u32>,
        active: &mut Vec<u32>,
        next: &mut Vec<u32>,
    ) {
        active.clear();
        self.enter(dimension.root, active);
        let mut rest = Some(value.as_bytes());
        while let Some(text) = rest {
            let (segment, after) = dimension.dialect.split_first(text);
            rest = after;
            next.clear();
            for at in active.iter() {
                let Some(node) = self.nodes.get(*at as usize) else { continue };
                if node.repeats && !next.contains(at) {
                    next.push(*at);
                }
                if node.literal
                    && let Some(child) = self.table.get(*at, segment)
                {
                    self.enter(child, next);
                }
                if node.one != NONE {
                    self.enter(node.one, next);
                }
            }
            std::mem::swap(active, next);
            if active.is_empty() {
                return;
            }
        }
        for at in active.iter() {
            if let Some(node) = self.nodes.get(*at as usize)
                && node.pattern != NONE
            {
                matched.push(node.pattern);
            }
        }
    }

    /// Activates a node, and the `**` below it, which may stand for no segment at all.
    fn enter(&self, node: u32, active: &mut Vec<u32>) {
        active.push(node);
        if let Some(node) = self.nodes.get(node as usize)
            && node.many != NONE
            && !active.contains(&node.many)
        {
            active.push(node.many);
        }
    }
}

/// The space of the table that holds the literals of a dimension; trie nodes are spaces, too.
///
/// INVARIANT: there are fewer than 2^31 trie nodes, so the two never meet.
const fn literals_of(dimension: u16) -> u32 {
    (1 << 31) | dimension as u32
}

/// The values that a dimension reads; none when the request lacks them.
#[inline]
pub(crate) fn for_each_value<'a>(reads: &Reads, facts: Facts<'a>, mut take: impl FnMut(&'a str)) {
    let Facts { request, caller, .. } = facts;
    let single = match reads {
        Reads::Label(name) => request.labels.get(name).map(String::as_str),
        Reads::Key(key) => match key {
            MatchKey::RiskTags | MatchKey::RiskTagsAll => {
                return request.risk_tags.iter().for_each(|tag| take(tag));
            }
            MatchKey::Roles => return caller.roles.iter().for_each(|role| take(role)),
            MatchKey::Topics => request.topic.as_deref(),
            MatchKey::Surfaces => Some(request.surface.as_str()),
            MatchKey::Actions => Some(request.action.as_str()),
            MatchKey::Targets => request.target.as_deref(),
            MatchKey::Actors => Some(caller.actor.as_str()),
            MatchKey::ActorKinds => Some(caller.actor.kind().as_str()),
            MatchKey::Teams => request.team.as_deref(),
            MatchKey::Capabilities => request.capability.as_deref(),
            MatchKey::Branches => request.branch.as_deref(),
            MatchKey::Models => request.model.as_deref(),
            MatchKey::Environments => Some(caller.environment.as_str()),
        },
    };
    if let Some(value) = single {
        take(value);
    }
}
