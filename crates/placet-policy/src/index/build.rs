//! Builds the index from a model. Owns the choice of the one key by which each rule is found;
//! refuses to know requests.

use super::{Dimension, Index, Mode, NONE, Reads, Remaining, RuleKey, TrieNode, literals_of};
use crate::model::{Match, MatchKey};
use crate::pattern::{Dialect, Pattern, Segment};

/// Builds an [`Index`]; what is matched is numbered in the order in which it comes.
pub(crate) struct Build {
    index: Index,
    fixed: Vec<(MatchKey, u16)>,
    /// How many rules name each pattern, and how wide it is.
    named: Vec<u32>,
    width: Vec<u32>,
}

impl Build {
    pub(crate) fn run<'m>(all: impl Iterator<Item = &'m Match>) -> Index {
        let mut build = Self {
            index: Index::default(),
            fixed: Vec::new(),
            named: Vec::new(),
            width: Vec::new(),
        };
        for matches in all {
            build.add(matches);
        }
        build.post();
        build.index
    }

    fn dimension(&mut self, reads: Reads) -> u16 {
        let (known, dialect) = match &reads {
            Reads::Key(key) => {
                (self.fixed.iter().find(|(have, _)| have == key).map(|(_, at)| *at), key.dialect())
            }
            Reads::Label(name) => {
                (self.index.label_dimensions.get(name.as_str()).copied(), Dialect::Text)
            }
        };
        if let Some(known) = known {
            return known;
        }
        // INVARIANT: fewer than 2^16 dimensions; `read` bounds the label names of a bundle.
        let at = u16::try_from(self.index.dimensions.len()).unwrap_or(u16::MAX);
        match &reads {
            Reads::Key(key) => self.fixed.push((*key, at)),
            Reads::Label(name) => {
                self.index.label_dimensions.insert(name.as_str().into(), at);
            }
        }
        self.index.dimensions.push(Dimension {
            reads,
            dialect,
            literal: false,
            any: NONE,
            root: NONE,
            indexed: false,
        });
        at
    }

    fn add(&mut self, matches: &Match) {
        let start = number(self.index.keys.len());
        for (key, patterns) in &matches.lists {
            let (reads, mode) = match key {
                MatchKey::RiskTagsAll => (MatchKey::RiskTags, Mode::All),
                other => (*other, Mode::Any),
            };
            let dimension = self.dimension(Reads::Key(reads));
            self.key(dimension, mode, patterns);
        }
        for (name, patterns) in &matches.labels {
            let dimension = self.dimension(Reads::Label(name.clone()));
            self.key(dimension, Mode::Any, patterns);
        }
        let len = number(self.index.keys.len()).saturating_sub(start);
        self.index.rules.push((start, len));
    }

    fn key(&mut self, dimension: u16, mode: Mode, patterns: &[String]) {
        let mut ids: Vec<u32> =
            patterns.iter().filter_map(|text| self.pattern(dimension, text)).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in &ids {
            if let Some(named) = self.named.get_mut(*id as usize) {
                *named = named.saturating_add(1);
            }
        }
        // INVARIANT: `read` bounds lists to 256 items.
        let len = u16::try_from(ids.len()).unwrap_or(u16::MAX);
        let start = match ids.as_slice() {
            [only] => *only,
            _ => {
                let start = number(self.index.key_patterns.len());
                self.index.key_patterns.extend_from_slice(&ids);
                start
            }
        };
        self.index.keys.push(RuleKey { dimension, mode, start, len });
    }

    /// The id of a pattern. INVARIANT: `read` has parsed it before, so it parses.
    fn pattern(&mut self, at: u16, text: &str) -> Option<u32> {
        let fresh = number(self.index.pattern_texts.len());
        let dimension = self.index.dimensions.get_mut(usize::from(at))?;
        let (id, width) = match dimension.dialect.parse(text).ok()? {
            Pattern::Literal => {
                dimension.literal = true;
                (self.index.table.insert(literals_of(at), text.as_bytes(), fresh), 1)
            }
            Pattern::Any => {
                if dimension.any == NONE {
                    dimension.any = fresh;
                }
                (dimension.any, 1 << 20)
            }
            Pattern::Segments(segments) => {
                let literal = segments.iter().any(|it| matches!(it, Segment::Literal(_)));
                let width = if literal { 4 } else { 1 << 20 };
                (self.insert(at, &segments, fresh)?, width)
            }
        };
        if id == fresh {
            self.index.pattern_texts.push(text.into());
            self.named.push(0);
            self.width.push(width);
        }
        Some(id)
    }

    fn insert(&mut self, dimension: u16, segments: &[Segment], fresh: u32) -> Option<u32> {
        let mut at = self.index.dimensions.get(usize::from(dimension))?.root;
        if at == NONE {
            at = self.node(false);
            self.index.dimensions.get_mut(usize::from(dimension))?.root = at;
        }
        for segment in segments {
            at = self.child(at, segment)?;
        }
        let node = self.index.nodes.get_mut(at as usize)?;
        if node.pattern == NONE {
            node.pattern = fresh;
        }
        Some(node.pattern)
    }

    fn node(&mut self, repeats: bool) -> u32 {
        let at = number(self.index.nodes.len());
        self.index.nodes.push(TrieNode::new(repeats));
        at
    }

    fn child(&mut self, at: u32, segment: &Segment) -> Option<u32> {
        if let Segment::Literal(text) = segment {
            if let Some(child) = self.index.table.get(at, text.as_bytes()) {
                return Some(child);
            }
            self.index.nodes.get_mut(at as usize)?.literal = true;
            let child = self.node(false);
            return Some(self.index.table.insert(at, text.as_bytes(), child));
        }
        let many = *segment == Segment::Many;
        let parent = self.index.nodes.get(at as usize)?;
        let known = if many { parent.many } else { parent.one };
        if known != NONE {
            return Some(known);
        }
        let child = self.node(many);
        let parent = self.index.nodes.get_mut(at as usize)?;
        *(if many { &mut parent.many } else { &mut parent.one }) = child;
        Some(child)
    }

    /// What indexing a rule by `key` costs: how many rules share its values, more for wide ones.
    fn cost(&self, key: &RuleKey) -> (u64, u32) {
        let weights = self.index.patterns(key).iter().map(|pattern| {
            let at = *pattern as usize;
            let named = self.named.get(at).copied().unwrap_or(0);
            let width = self.width.get(at).copied().unwrap_or(1);
            (u64::from(named).saturating_mul(u64::from(width)), *pattern)
        });
        match key.mode {
            Mode::Any => (weights.map(|(weight, _)| weight).sum(), NONE),
            Mode::All => weights.min().unwrap_or((u64::MAX, NONE)),
        }
    }

    /// Chooses the cheapest key of each rule and fills the posting lists.
    fn post(&mut self) {
        let mut lists: Vec<Vec<u32>> = vec![Vec::new(); self.index.pattern_texts.len()];
        for at in 0..number(self.index.rules.len()) {
            let keys = self.index.rule_keys(at).to_vec();
            let best = keys
                .iter()
                .enumerate()
                .map(|(position, key)| (self.cost(key), position, *key))
                .min_by_key(|((cost, _), position, _)| (*cost, *position));
            let mut answered = None;
            if let Some(((_, rarest), position, key)) = best {
                if let Some(dimension) = self.index.dimensions.get_mut(usize::from(key.dimension)) {
                    dimension.indexed = true;
                }
                // Of `risk_tags_all` the rarest tag leads to the rule; all are still verified.
                let all = [rarest];
                let posted =
                    if key.mode == Mode::All { &all[..] } else { self.index.patterns(&key) };
                for pattern in posted {
                    if let Some(list) = lists.get_mut(*pattern as usize) {
                        list.push(at);
                    }
                }
                answered = (key.mode == Mode::Any || key.len == 1).then_some(position);
            } else {
                self.index.always.push(at);
            }
            self.remain(&keys, answered);
        }
        for list in lists {
            let posting = match list.as_slice() {
                [only] => (*only, 1),
                many => {
                    let start = number(self.index.posted.len());
                    self.index.posted.extend_from_slice(many);
                    (start, number(many.len()))
                }
            };
            self.index.postings.push(posting);
        }
        for (at, dimension) in self.index.dimensions.iter().enumerate() {
            if dimension.indexed && matches!(dimension.reads, Reads::Key(_)) {
                self.index.indexed.push(u16::try_from(at).unwrap_or(u16::MAX));
            }
        }
    }

    fn remain(&mut self, keys: &[RuleKey], answered: Option<usize>) {
        let mut out = Remaining {
            near: [RuleKey::EMPTY; 2],
            near_len: 0,
            far_len: 0,
            far_start: number(self.index.far_keys.len()),
        };
        for (at, key) in keys.iter().enumerate() {
            if Some(at) == answered {
                continue;
            }
            if let Some(slot) = out.near.get_mut(usize::from(out.near_len)) {
                *slot = *key;
                out.near_len = out.near_len.saturating_add(1);
            } else {
                self.index.far_keys.push(*key);
                out.far_len = out.far_len.saturating_add(1);
            }
        }
        self.index.remaining.push(out);
    }
}

/// INVARIANT: rules, patterns and nodes are bounded far below 2^31 by `read`.
fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(NONE)
}
