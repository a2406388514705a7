//! Spoiling good inputs: a few small changes of the kinds that parsers get wrong. Knows no format.

/// One change; places are taken modulo the length.
#[derive(Clone, Debug)]
pub enum Change {
    /// Flips bits of a byte.
    Flip(usize, u8),
    /// Removes some bytes.
    Cut(usize, usize),
    /// Repeats some bytes where they end.
    Repeat(usize, usize),
    /// Exchanges two stretches of the same length.
    Swap(usize, usize, usize),
    /// Inserts a word that means something to some parser.
    Insert(usize, usize),
    /// Puts a stretch of another input there.
    Splice(usize, usize, usize),
    /// Drops everything behind.
    End(usize),
}

/// What parsers trip over.
pub const WORDS: &[&str] = &[
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "-0",
    "1e400",
    "0.1",
    "1E2",
    "9007199254740993",
    "-1",
    "01",
    "\u{0}",
    "\u{feff}",
    "\u{e9}",
    "e\u{301}",
    "\n",
    "\r\n",
    " ",
    "\t",
    "=",
    "==",
    "A",
    "+",
    "- ",
    "  ",
    "&a",
    "*a",
    "!!str ",
    "|",
    "? ",
    "# ",
    "__proto__",
    "sha256:",
    "deny",
    "allow",
    "PERMIT",
    "DENY",
    "\"v\":1",
    "18446744073709551616",
];

/// The input after the changes.
#[must_use]
pub fn apply(input: &[u8], other: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for change in changes {
        let len = bytes.len().max(1);
        match *change {
            Change::Flip(at, mask) => {
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte ^= mask;
                }
            }
            Change::Cut(at, count) => {
                let at = at % len;
                let end = at.saturating_add(count).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            Change::Repeat(at, count) => {
                let at = at % len;
                let end = at.saturating_add(count).min(bytes.len());
                let part = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(end..end, part);
            }
            Change::Swap(one, two, count) => {
                for step in 0..count {
                    let (one, two) =
                        ((one % len).saturating_add(step), (two % len).saturating_add(step));
                    if one < bytes.len() && two < bytes.len() {
                        bytes.swap(one, two);
                    }
                }
            }
            Change::Insert(at, word) => {
                let at = (at % len).min(bytes.len());
                let word = WORDS.get(word % WORDS.len()).copied().unwrap_or_default();
                bytes.splice(at..at, word.bytes());
            }
            Change::Splice(at, from, count) => {
                let at = (at % len).min(bytes.len());
                let from = from % other.len().max(1);
                let end = from.saturating_add(count).min(other.len());
                let part = other.get(from..end).unwrap_or_default().to_vec();
                bytes.splice(at..at, part);
            }
            Change::End(at) => bytes.truncate(at % len),
        }
    }
    bytes
}
