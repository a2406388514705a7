//! Which matches include one another: sound, not complete. Owns inclusion of patterns and of whole
//! `match:` parts; what it does not say may still be so.

use crate::condition::render;
use crate::model::{Match, MatchKey};
use crate::pattern::{Dialect, Pattern, Segment};

/// Whether every value that `narrow` matches is matched by `wide`, as far as that can be shown.
pub(crate) fn pattern_covers(dialect: Dialect, wide: &str, narrow: &str) -> bool {
    if wide == narrow {
        return true;
    }
    let (Ok(wide_parsed), Ok(narrow_parsed)) = (dialect.parse(wide), dialect.parse(narrow)) else {
        return false;
    };
    match (&wide_parsed, &narrow_parsed) {
        (Pattern::Any, _) => true,
        (Pattern::Segments(a), Pattern::Segments(b)) => segments_cover(a, b),
        (Pattern::Segments(a), Pattern::Literal) => {
            let b: Vec<Segment> =
                dialect.split(narrow).map(|it| Segment::Literal(it.to_owned())).collect();
            segments_cover(a, &b)
        }
        _ => false,
    }
}

/// Row by row over the segments of `b`: which positions of `a` are reached.
fn segments_cover(a: &[Segment], b: &[Segment]) -> bool {
    let mut reached = vec![false; a.len().saturating_add(1)];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    skip_many(a, &mut reached);
    for segment in b {
        let mut next = vec![false; reached.len()];
        for (at, wide) in a.iter().enumerate() {
            if reached.get(at) != Some(&true) {
                continue;
            }
            let (stay, step) = match (wide, segment) {
                (Segment::Many, _) => (true, false),
                // An empty segment is left to equality.
                (Segment::One, Segment::Literal(text)) => (false, !text.is_empty()),
                (Segment::One, Segment::One) => (false, true),
                (Segment::Literal(x), Segment::Literal(y)) => (false, x == y),
                _ => (false, false),
            };
            let target = if stay { at } else { at.saturating_add(1) };
            if (stay || step)
                && let Some(slot) = next.get_mut(target)
            {
                *slot = true;
            }
        }
        skip_many(a, &mut next);
        reached = next;
    }
    reached.last() == Some(&true)
}

/// `**` may stand for nothing.
fn skip_many(a: &[Segment], reached: &mut [bool]) {
    for (at, segment) in a.iter().enumerate() {
        if *segment == Segment::Many
            && reached.get(at) == Some(&true)
            && let Some(slot) = reached.get_mut(at.saturating_add(1))
        {
            *slot = true;
        }
    }
}

/// Whether one of `patterns` covers `narrow`.
pub(super) fn any_covers(dialect: Dialect, patterns: &[String], narrow: &str) -> bool {
    patterns.iter().any(|wide| pattern_covers(dialect, wide, narrow))
}

/// Whether every request that `narrow` matches by its keys and condition is matched by `wide`, and with
/// the same truth of the condition, also where that fails.
pub(super) fn match_covers(wide: &Match, narrow: &Match) -> bool {
    let keys = wide.lists.iter().all(|(key, patterns)| key_covers(*key, patterns, narrow));
    let labels = wide.labels.iter().all(|(name, patterns)| {
        narrow
            .labels
            .get(name)
            .is_some_and(|items| items.iter().all(|item| any_covers(Dialect::Text, patterns, item)))
    });
    let condition = match (&wide.when, &narrow.when) {
        (None, _) => true,
        // As written in one spacing: places in the text say nothing.
        (Some(a), Some(b)) => render(a.ast()) == render(b.ast()),
        (Some(_), None) => false,
    };
    keys && labels && condition
}

fn key_covers(key: MatchKey, wide: &[String], narrow: &Match) -> bool {
    let own = |key: MatchKey| narrow.lists.get(&key).map_or(&[][..], Vec::as_slice);
    if key == MatchKey::RiskTagsAll {
        // Each tag that `wide` asks for is one that `narrow` asks for by itself.
        let any = own(MatchKey::RiskTags);
        let only = if let [one] = any { Some(one) } else { None };
        return wide.iter().all(|tag| own(key).contains(tag) || only == Some(tag));
    }
    let items = own(key);
    if !items.is_empty() && items.iter().all(|item| any_covers(key.dialect(), wide, item)) {
        return true;
    }
    key == MatchKey::RiskTags
        && own(MatchKey::RiskTagsAll).iter().any(|tag| any_covers(key.dialect(), wide, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inclusion_of_patterns() {
        let covers = |a: &str, b: &str| pattern_covers(Dialect::Dotted, a, b);
        for (wide, narrow) in [
            ("**", "a.b"),
            ("a.**", "a"),
            ("a.**", "a.*.b"),
            ("a.*", "a.b"),
            ("**.b", "a.*.b"),
            ("*.**", "a.**"),
            ("a.**.c", "a.b.**.c"),
            ("**", "**.x.**"),
        ] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("a.*", "a"),
            ("a.*", "a.b.c"),
            ("a.*", "a.**"),
            ("a.b", "a.*"),
            ("*", "**"),
            ("a.**.c", "a.**"),
            ("*.**", "**"),
        ] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
        assert!(pattern_covers(Dialect::Actor, "agent:**", "agent:a/b"));
        assert!(pattern_covers(Dialect::Actor, "*:ops", "human:ops"));
        assert!(!pattern_covers(Dialect::Actor, "agent:*", "agent:a/b"));
        assert!(pattern_covers(Dialect::Name, "*", "prod"));
        assert!(!pattern_covers(Dialect::Path, "/*", "//"));
    }
}
