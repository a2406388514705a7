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

/// Levenshtein distance in bytes, where two neighbours in the other order are one edit.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().collect();
    let (mut before, mut last): (Vec<usize>, Option<u8>) = (Vec::new(), None);
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, byte) in a.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at.saturating_add(1);
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (column, (other, up)) in b.iter().zip(row.iter().skip(1)).enumerate() {
            let replace = diagonal.saturating_add(usize::from(byte != *other));
            left = replace.min(up.saturating_add(1)).min(left.saturating_add(1));
            let turned = column
                .checked_sub(1)
                .filter(|it| last == Some(*other) && b.get(*it) == Some(&byte));
            if let Some(two) = turned.and_then(|it| before.get(it)) {
                left = left.min(two.saturating_add(1));
            }
            diagonal = *up;
            next.push(left);
        }
        before = core::mem::replace(&mut row, next);
        last = Some(byte);
    }
    row.last().copied().unwrap_or(0)
}
