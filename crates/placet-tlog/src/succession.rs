//! The succession: a signed note in which the key of a log that has lost entries and the key of the
//! log that goes on in its place say so. Owns its text.
//!
//! The text is five lines:
//!
//! ```text
//! placet/succession/1
//! size 4711
//! signed 4800
//! old placet/0123456789abcdef/acme+b3a1…+AYbc…
//! new placet/fedcba9876543210/acme+91cf…+AYde…
//! ```
//!
//! `size` is how many entries of the predecessor are there, which is the index of the entry that
//! carries the note; `signed` how many it had signed as far as is known, or `unknown`. The names of
//! the keys are the origins of the two logs, and differ: so nothing that the successor signs
//! contradicts what the predecessor has signed and lost.

use crate::note::{Note, NoteError, VerifierKey};
use crate::text::decimal;
use alloc::string::{String, ToString};
use core::fmt;
use placet_types::hash::Hasher;

const HEADER: &str = "placet/succession/1";
/// A size that nobody knows.
const UNKNOWN: &str = "unknown";

/// What both keys say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// The key of the predecessor, under its origin.
    pub old: VerifierKey,
    /// The key of the successor, under its origin.
    pub new: VerifierKey,
    /// Entries of the predecessor that are there.
    pub size: u64,
    /// Entries that the predecessor had signed, as far as is known.
    pub signed: Option<u64>,
}

/// Why a succession cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuccessionError {
    /// It is no signed note.
    Note(NoteError),
    /// The text is not the lines of a succession.
    Text,
    /// A key is refused.
    Key(NoteError),
    /// The successor has the name of its predecessor.
    SameOrigin,
}

impl fmt::Display for SuccessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note(_) => "the succession is not a signed note",
            Self::Text => "the text is not that of a succession",
            Self::Key(_) => "a key of the succession is malformed",
            Self::SameOrigin => "the successor has the name of its predecessor",
        })
    }
}

impl core::error::Error for SuccessionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Note(error) | Self::Key(error) => Some(error),
            _ => None,
        }
    }
}

impl Succession {
    /// The text to sign.
    #[must_use]
    pub fn body(&self) -> String {
        let Self { old, new, size, signed } = self;
        let signed = signed.map_or_else(|| UNKNOWN.to_string(), |signed| signed.to_string());
        alloc::format!("{HEADER}\nsize {size}\nsigned {signed}\nold {old}\nnew {new}\n")
    }

    /// The signed note. Each closure is Ed25519 by its key over the bytes it gets.
    ///
    /// # Errors
    /// `SameOrigin`; `Note` if an origin has a control character.
    pub fn sign(
        &self,
        sign_old: impl FnOnce(&[u8]) -> [u8; 64],
        sign_new: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<String, SuccessionError> {
        if self.old.name() == self.new.name() {
            return Err(SuccessionError::SameOrigin);
        }
        let body = self.body();
        let mut note = self.old.sign_note(&body, sign_old).map_err(SuccessionError::Note)?;
        note.push_str(&self.new.signature_line(&sign_new(body.as_bytes())));
        Ok(note)
    }

    /// Parses a signed note as a succession; every part has one legal spelling. No signature is
    /// checked by this.
    ///
    /// # Errors
    /// [`SuccessionError`].
    pub fn parse<H: Hasher>(note: &str) -> Result<(Self, Note), SuccessionError> {
        let note = Note::parse(note).map_err(SuccessionError::Note)?;
        let malformed = SuccessionError::Text;
        let mut lines = note.text().strip_suffix('\n').ok_or(malformed)?.split('\n');
        let mut field = |key: &str| lines.next().and_then(|line| line.strip_prefix(key));
        field(HEADER).filter(|rest| rest.is_empty()).ok_or(malformed)?;
        let size = field("size ").ok_or(malformed)?;
        let signed = field("signed ").ok_or(malformed)?;
        let old = field("old ").ok_or(malformed)?;
        let new = field("new ").ok_or(malformed)?;
        if lines.next().is_some() {
            return Err(malformed);
        }
        let number = |text: &str| decimal(text).map_err(|_| malformed);
        let key = |text: &str| VerifierKey::parse::<H>(text).map_err(SuccessionError::Key);
        let signed = if signed == UNKNOWN { None } else { Some(number(signed)?) };
        let this = Self { old: key(old)?, new: key(new)?, size: number(size)?, signed };
        if this.old.name() == this.new.name() {
            return Err(SuccessionError::SameOrigin);
        }
        Ok((this, note))
    }
}

#[cfg(all(test, feature = "portable"))]
mod tests {
    use super::*;
    use crate::verify::PortableHasher as Sha2;

    fn key(name: &str, byte: u8) -> VerifierKey {
        VerifierKey::new::<Sha2>(name, [byte; 32]).unwrap()
    }

    fn of(old: &str, new: &str, signed: Option<u64>) -> Succession {
        Succession { old: key(old, 1), new: key(new, 2), size: 7, signed }
    }

    #[test]
    fn it_reads_back_and_has_one_spelling() {
        for signed in [None, Some(9)] {
            let succession = of("a/x", "b/x", signed);
            let note = succession.sign(|_| [3; 64], |_| [4; 64]).unwrap();
            let (read, signatures) = Succession::parse::<Sha2>(&note).unwrap();
            assert_eq!(read, succession);
            let names: alloc::vec::Vec<_> =
                signatures.signatures().iter().map(crate::note::Signature::name).collect();
            assert_eq!(names, ["a/x", "b/x"]);
            for (good, bad) in [
                ("size 7", "size 07"),
                ("size 7", "size -7"),
                ("placet/succession/1", "placet/succession/10"),
                ("placet/succession/1", "placet/handover/1"),
                ("signed ", "signed  "),
                ("old a/x", "new a/x"),
                ("\nnew ", "\nmore\nnew "),
            ] {
                assert!(note.contains(good));
                let bad = note.replacen(good, bad, 1);
                assert!(Succession::parse::<Sha2>(&bad).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn a_log_does_not_succeed_itself() {
        let same = of("a/x", "a/x", None);
        let refused = Err(SuccessionError::SameOrigin);
        assert_eq!(same.sign(|_| [3; 64], |_| [4; 64]), refused);
        let body = same.body();
        let mut note = same.old.sign_note(&body, |_| [3; 64]).unwrap();
        note.push_str(&same.new.signature_line(&[4; 64]));
        assert_eq!(Succession::parse::<Sha2>(&note).map(drop), Err(SuccessionError::SameOrigin));
    }
}
