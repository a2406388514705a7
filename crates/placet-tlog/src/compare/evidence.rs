//! The evidence of a fork as one text that convinces a third party: both papers, byte for byte, and
//! above them what they say differently. Owns the text; refuses to believe its head without them.

use super::{Comparison, Contradiction, Paper, compare};
use crate::receipt::RECEIPT_BYTES_MAX;
use crate::text::{decimal, push_base64};
use crate::trust::Trust;
use crate::verify::VerifyError;
use alloc::string::String;
use core::fmt;
use core::fmt::Write as _;

/// The first line of evidence.
pub const EVIDENCE_HEADER: &str = "placet/fork/1\n";
/// Largest evidence that is read, in bytes: two receipts and a head.
pub const EVIDENCE_BYTES_MAX: usize = 2 * RECEIPT_BYTES_MAX + 4096;

/// A proven fork of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    first: Paper,
    second: Paper,
    contradiction: Contradiction,
}

/// Why a text is no evidence of a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceError {
    /// It exceeds [`EVIDENCE_BYTES_MAX`].
    TooLarge,
    /// It is not a head and two papers, or its head does not say what the papers show.
    Text,
    /// The first paper proves nothing.
    First(VerifyError),
    /// The second paper proves nothing.
    Second(VerifyError),
    /// The papers do not contradict each other.
    NoFork,
}

impl fmt::Display for EvidenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the evidence is too large",
            Self::Text => "the text is not that of evidence",
            Self::First(_) => "the first paper proves nothing",
            Self::Second(_) => "the second paper proves nothing",
            Self::NoFork => "the papers do not contradict each other",
        })
    }
}

impl core::error::Error for EvidenceError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::First(error) | Self::Second(error) => Some(error),
            _ => None,
        }
    }
}

impl Fork {
    /// The fork that two papers prove, if they do.
    #[must_use]
    pub fn of(first: &Paper, second: &Paper) -> Option<Self> {
        match compare(first, second, None) {
            Comparison::Forked(contradiction) => {
                Some(Self { first: first.clone(), second: second.clone(), contradiction })
            }
            _ => None,
        }
    }

    /// The papers.
    #[must_use]
    pub fn papers(&self) -> (&Paper, &Paper) {
        (&self.first, &self.second)
    }

    /// What they say differently.
    #[must_use]
    pub fn contradiction(&self) -> Contradiction {
        self.contradiction
    }

    /// The evidence as text: a head of five lines (format, origin, what is contradicted, its hash by
    /// the first and by the second paper in base64), an empty line, then each paper after a line
    /// with its place and its length in bytes.
    #[must_use]
    pub fn write(&self) -> String {
        let mut out = String::from(EVIDENCE_HEADER);
        let origin = &self.first.checkpoint().origin;
        let (what, first, second) = match self.contradiction {
            Contradiction::Root { size, first, second } => {
                (alloc::format!("root {size}"), first, second)
            }
            Contradiction::Entry { index, first, second } => {
                (alloc::format!("entry {index}"), first, second)
            }
            Contradiction::Subtree { level, index, first, second } => {
                (alloc::format!("subtree {level} {index}"), first, second)
            }
        };
        // Writing to a string cannot fail.
        let _ = write!(out, "origin {origin}\n{what}\nfirst ");
        push_base64(&mut out, &first);
        out.push_str("\nsecond ");
        push_base64(&mut out, &second);
        out.push_str("\n\n");
        for (place, paper) in [("first", &self.first), ("second", &self.second)] {
            let _ = writeln!(out, "{place} {}", paper.text().len());
            out.push_str(paper.text());
        }
        out
    }

    /// Reads evidence and verifies it anew: both papers against the pinned keys, then that they
    /// contradict each other, then that the head says so.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn verify(text: &str, trust: &Trust) -> Result<Self, EvidenceError> {
        if text.len() > EVIDENCE_BYTES_MAX {
            return Err(EvidenceError::TooLarge);
        }
        let (_, papers) = text
            .strip_prefix(EVIDENCE_HEADER)
            .and_then(|rest| rest.split_once("\n\n"))
            .ok_or(EvidenceError::Text)?;
        let (first, rest) = paper(papers, "first ").ok_or(EvidenceError::Text)?;
        let (second, rest) = paper(rest, "second ").ok_or(EvidenceError::Text)?;
        if !rest.is_empty() {
            return Err(EvidenceError::Text);
        }
        let first = Paper::verify(first.as_bytes(), trust).map_err(EvidenceError::First)?;
        let second = Paper::verify(second.as_bytes(), trust).map_err(EvidenceError::Second)?;
        let fork = Self::of(&first, &second).ok_or(EvidenceError::NoFork)?;
        if fork.write() == text { Ok(fork) } else { Err(EvidenceError::Text) }
    }
}

/// A line with key and length, and so many bytes after it; and what follows.
fn paper<'t>(text: &'t str, key: &str) -> Option<(&'t str, &'t str)> {
    let (length, rest) = text.strip_prefix(key)?.split_once('\n')?;
    rest.split_at_checked(usize::try_from(decimal(length).ok()?).ok()?)
}
