//! Which sets of patterns one value can match together, with a value for each: the automaton of all
//! patterns on one kind of value, made deterministic. Refuses to know rules.

use crate::pattern::{Dialect, Pattern, Segment};
use placet_types::ids::ActorKind;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most patterns on one kind of value whose combinations are looked at.
const PATTERNS_MAX: usize = 512;
/// Most states of the automaton.
const STATES_MAX: usize = 4096;
/// A segment or value that no pattern names, unless one does.
const OTHER: &str = "anything-else";

/// A place in each pattern that is still alive.
type State = Vec<(usize, usize)>;

/// Patterns taken apart.
struct Automaton {
    dialect: Dialect,
    patterns: Vec<Vec<Segment>>,
}

/// Whether `value` matches `pattern`.
pub(super) fn matches(dialect: Dialect, pattern: &str, value: &str) -> bool {
    let Ok(Pattern::Segments(segments)) = dialect.parse(pattern) else {
        return pattern == "*" || pattern == value;
    };
    let automaton = Automaton { dialect, patterns: vec![segments] };
    let mut state = automaton.start();
    for segment in dialect.split(value) {
        state = automaton.step(&state, Some(segment));
    }
    !automaton.accepted(&state).is_empty()
}

/// A name that is none of `taken`.
pub(super) fn other<'a>(taken: impl IntoIterator<Item = &'a str>) -> String {
    let taken: BTreeSet<&str> = taken.into_iter().collect();
    let mut name = OTHER.to_owned();
    while taken.contains(name.as_str()) {
        name.push_str("-2");
    }
    name
}

/// One value for each set of `patterns` that a value can match, the empty set among them; with
/// `by_kind`, one for each set and kind of actor. Literals come first. `None` where there are too
/// many to be looked at.
pub(super) fn classes(
    dialect: Dialect,
    patterns: &BTreeSet<String>,
    by_kind: bool,
) -> Option<Vec<String>> {
    if patterns.len() > PATTERNS_MAX {
        return None;
    }
    if !matches!(dialect, Dialect::Dotted | Dialect::Path | Dialect::Actor) {
        let literals = patterns.iter().filter(|pattern| *pattern != "*");
        let mut out: Vec<String> = literals.cloned().collect();
        out.push(other(out.iter().map(String::as_str)));
        return Some(out);
    }
    let automaton = Automaton {
        dialect,
        patterns: patterns.iter().map(|pattern| segments(dialect, pattern)).collect(),
    };
    automaton.explore(by_kind)
}

fn segments(dialect: Dialect, pattern: &str) -> Vec<Segment> {
    match dialect.parse(pattern) {
        Ok(Pattern::Segments(segments)) => segments,
        _ => dialect.split(pattern).map(|text| Segment::Literal(text.to_owned())).collect(),
    }
}

/// A state of the exploration: places, segments so far up to two, the kind of the actor if it counts.
type Seen = (State, usize, Option<ActorKind>);

impl Automaton {
    fn explore(&self, by_kind: bool) -> Option<Vec<String>> {
        let literals: BTreeSet<&str> = self
            .patterns
            .iter()
            .flatten()
            .filter_map(|segment| match segment {
                Segment::Literal(text) => Some(text.as_str()),
                Segment::One | Segment::Many => None,
            })
            .collect();
        let fresh = other(literals.iter().copied());
        let mut found: BTreeMap<(Vec<usize>, Option<ActorKind>), String> = BTreeMap::new();
        let mut order = Vec::new();
        let mut seen: BTreeSet<Seen> = BTreeSet::new();
        let mut queue: VecDeque<(Seen, Vec<String>)> = VecDeque::new();
        queue.push_back(((self.start(), 0, None), Vec::new()));
        while let Some(((state, depth, kind), path)) = queue.pop_front() {
            let symbols: Vec<&str> = if self.dialect == Dialect::Actor && depth == 0 {
                vec!["agent", "service", "human"]
            } else {
                std::iter::once(fresh.as_str()).chain(literals.iter().copied()).collect()
            };
            for symbol in symbols {
                let next = self.step(&state, Some(symbol).filter(|text| literals.contains(text)));
                let deeper = depth.saturating_add(1).min(2);
                let kind = match (by_kind, depth) {
                    (true, 0) => ActorKind::parse(symbol),
                    _ => kind,
                };
                let mut path = path.clone();
                path.push(symbol.to_owned());
                if let Some(text) = self.value(&path) {
                    let key = (self.accepted(&next), kind);
                    found.entry(key).or_insert_with(|| {
                        order.push(text.clone());
                        text
                    });
                }
                if seen.insert((next.clone(), deeper, kind)) {
                    queue.push_back(((next, deeper, kind), path));
                }
            }
            if seen.len() > STATES_MAX {
                return None;
            }
        }
        // What the patterns name is read more easily than what they do not.
        order.sort_by_key(|text| text.contains(fresh.as_str()));
        Some(order)
    }

    /// The value of these segments, if a request can carry it.
    fn value(&self, path: &[String]) -> Option<String> {
        match self.dialect {
            Dialect::Actor => {
                let (kind, name) = path.split_first()?;
                (!name.is_empty()).then(|| format!("{kind}:{}", name.join("/")))
            }
            Dialect::Path => Some(path.join("/")).filter(|text| !text.is_empty()),
            _ => path.iter().all(|segment| !segment.is_empty()).then(|| path.join(".")),
        }
    }

    fn start(&self) -> State {
        self.close(self.patterns.iter().enumerate().map(|(at, _)| (at, 0)).collect())
    }

    /// After one more segment; `None` is one that no pattern names.
    fn step(&self, state: &State, symbol: Option<&str>) -> State {
        let mut next = Vec::with_capacity(state.len());
        for (pattern, at) in state {
            let after = (*pattern, at.saturating_add(1));
            match self.patterns.get(*pattern).and_then(|segments| segments.get(*at)) {
                Some(Segment::Literal(text)) if symbol == Some(text.as_str()) => next.push(after),
                Some(Segment::One) => next.push(after),
                Some(Segment::Many) => next.push((*pattern, *at)),
                Some(Segment::Literal(_)) | None => {}
            }
        }
        self.close(next)
    }

    /// `**` stands for no segment as well.
    fn close(&self, mut state: State) -> State {
        let mut at = 0;
        while let Some((pattern, place)) = state.get(at).copied() {
            let segment = self.patterns.get(pattern).and_then(|segments| segments.get(place));
            if segment == Some(&Segment::Many) {
                state.push((pattern, place.saturating_add(1)));
            }
            at = at.saturating_add(1);
        }
        state.sort_unstable();
        state.dedup();
        state
    }

    fn accepted(&self, state: &State) -> Vec<usize> {
        let ended = |(pattern, at): &&(usize, usize)| {
            self.patterns.get(*pattern).is_some_and(|segments| segments.len() == *at)
        };
        state.iter().filter(ended).map(|(pattern, _)| *pattern).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dialect: Dialect, patterns: &[&str], want: &[&str]) {
        let set: BTreeSet<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        let mut found = classes(dialect, &set, false).unwrap();
        found.sort();
        assert_eq!(found, want, "{patterns:?}");
        // Each is a class of its own, by the matching of one pattern at a time.
        let signature = |value: &String| -> Vec<bool> {
            set.iter().map(|pattern| matches(dialect, pattern, value)).collect()
        };
        let signatures: BTreeSet<_> = found.iter().map(signature).collect();
        assert_eq!(signatures.len(), found.len());
    }

    #[test]
    fn every_combination_of_patterns_has_a_value() {
        check(Dialect::Name, &["a", "*"], &["a", "anything-else"]);
        check(Dialect::Dotted, &["a.b", "a.*"], &["a.anything-else", "a.b", "anything-else"]);
        check(Dialect::Dotted, &["a.**", "**.z"], &["a", "a.z", "anything-else", "z"]);
        let both = ["anything-else", "anything-else.anything-else"];
        check(Dialect::Dotted, &["*", "**"], &both);
        check(Dialect::Path, &["/etc/**"], &["/etc", "anything-else"]);
        check(
            Dialect::Actor,
            &["agent:*", "*:bot"],
            &["agent:anything-else", "agent:bot", "service:anything-else", "service:bot"],
        );
    }
}
