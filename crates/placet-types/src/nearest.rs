//! What somebody who mistyped a word may have meant. Owns the measure alone.

use alloc::vec::Vec;

/// The candidate nearest to `word` by edits, if it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let bound = word.len() / 3;
    candidates
        .iter()
        .map(|candidate| (edits(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= bound.max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, byte) in a.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at.saturating_add(1);
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (other, up) in b.bytes().zip(row.iter().skip(1)) {
            let replace = diagonal.saturating_add(usize::from(byte != other));
            left = replace.min(up.saturating_add(1)).min(left.saturating_add(1));
            diagonal = *up;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
