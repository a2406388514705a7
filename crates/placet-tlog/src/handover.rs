//! The handover: a signed note in which the key of a log and its successor both say from which size
//! on the successor signs. Owns its text; what it does to pinned keys is in `trust`.
//!
//! The text is five lines:
//!
//! ```text
//! placet/handover/1
//! origin placet/0123456789abcdef/acme
//! size 4711
//! old placet/0123456789abcdef/acme+b3a1…+AYbc…
//! new placet/0123456789abcdef/acme+91cf…+AYde…
//! ```
//!
//! `size` is the last size that the old key signs; the new key signs every larger one. In a log of
//! ours it is the index of the entry that carries the note, so whatever tree holds the handover is
//! signed by the new key. The second line can never be the size of a checkpoint, so neither text
//! passes for the other under one key.

use crate::note::{Note, NoteError, VerifierKey};
use crate::text::decimal;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use placet_types::hash::Hasher;

const HEADER: &str = "placet/handover/1";
/// Largest chain of handovers that is read, in bytes.
pub const CHAIN_BYTES_MAX: usize = 1 << 20;

/// What both keys say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    old: VerifierKey,
    new: VerifierKey,
    size: u64,
}

/// Why a handover cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverTextError {
    /// It is no signed note.
    Note(NoteError),
    /// The text is not the lines of a handover.
    Text,
    /// A key is refused.
    Key(NoteError),
    /// A key has another name than the origin.
    Origin,
    /// Old and new key are the same.
    SameKey,
    /// The note or chain exceeds [`CHAIN_BYTES_MAX`].
    TooLarge,
}

impl fmt::Display for HandoverTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note(_) => "the handover is not a signed note",
            Self::Text => "the text is not that of a handover",
            Self::Key(_) => "a key of the handover is malformed",
            Self::Origin => "a key of the handover is not one of the origin",
            Self::SameKey => "the old and the new key are the same",
            Self::TooLarge => "the handover or chain of handovers is too large",
        })
    }
}

impl core::error::Error for HandoverTextError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Note(error) | Self::Key(error) => Some(error),
            _ => None,
        }
    }
}

impl Handover {
    /// The statement that `new` follows `old`, whose last size is `size`.
    ///
    /// # Errors
    /// `Origin` if the names differ, `SameKey`.
    pub fn new(old: VerifierKey, new: VerifierKey, size: u64) -> Result<Self, HandoverTextError> {
        if old.name() != new.name() {
            return Err(HandoverTextError::Origin);
        }
        if old.public_key() == new.public_key() {
            return Err(HandoverTextError::SameKey);
        }
        Ok(Self { old, new, size })
    }

    /// The log: the name of both keys.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.old.name()
    }

    /// The key that ceases.
    #[must_use]
    pub fn old(&self) -> &VerifierKey {
        &self.old
    }

    /// The key that begins.
    #[must_use]
    pub fn new_key(&self) -> &VerifierKey {
        &self.new
    }

    /// The last size that the old key signs; the new key signs those above it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The text to sign.
    #[must_use]
    pub fn body(&self) -> String {
        let origin = self.origin();
        let (size, old, new) = (self.size, &self.old, &self.new);
        alloc::format!("{HEADER}\norigin {origin}\nsize {size}\nold {old}\nnew {new}\n")
    }

    /// The signed note. Each closure is Ed25519 by its key over the bytes it gets.
    ///
    /// # Errors
    /// `Note` if the origin has a control character.
    pub fn sign(
        &self,
        sign_old: impl FnOnce(&[u8]) -> [u8; 64],
        sign_new: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<String, HandoverTextError> {
        let body = self.body();
        let mut note = self.old.sign_note(&body, sign_old).map_err(HandoverTextError::Note)?;
        note.push_str(&self.new.signature_line(&sign_new(body.as_bytes())));
        Ok(note)
    }

    /// Parses a signed note as a handover; every part has one legal spelling. No signature is
    /// checked by this.
    ///
    /// # Errors
    /// [`HandoverTextError`].
    pub fn parse<H: Hasher>(note: &str) -> Result<(Self, Note), HandoverTextError> {
        if note.len() > CHAIN_BYTES_MAX {
            return Err(HandoverTextError::TooLarge);
        }
        let note = Note::parse(note).map_err(HandoverTextError::Note)?;
        let handover = Self::parse_text::<H>(note.text())?;
        Ok((handover, note))
    }

    fn parse_text<H: Hasher>(text: &str) -> Result<Self, HandoverTextError> {
        let malformed = HandoverTextError::Text;
        let lines: Vec<&str> = text.strip_suffix('\n').ok_or(malformed)?.split('\n').collect();
        let [HEADER, origin, size, old, new] = lines.as_slice() else {
            return Err(malformed);
        };
        let field = |line: &'_ str, key: &str| line.strip_prefix(key).map(ToString::to_string);
        let (Some(origin), Some(size), Some(old), Some(new)) = (
            field(origin, "origin "),
            field(size, "size "),
            field(old, "old "),
            field(new, "new "),
        ) else {
            return Err(malformed);
        };
        let key = |text: &str| VerifierKey::parse::<H>(text).map_err(HandoverTextError::Key);
        let size = decimal(&size).map_err(|_| malformed)?;
        let handover = Self::new(key(&old)?, key(&new)?, size)?;
        if handover.origin() != origin {
            return Err(HandoverTextError::Origin);
        }
        Ok(handover)
    }
}

/// The notes of a chain: handovers one after the other in one text, oldest first. Each begins with
/// its header line, which can stand nowhere else in such a note.
///
/// # Errors
/// `TooLarge`, or `Text` if the chain does not begin with a handover.
pub fn split_chain(text: &str) -> Result<Vec<&str>, HandoverTextError> {
    if text.len() > CHAIN_BYTES_MAX {
        return Err(HandoverTextError::TooLarge);
    }
    let mut notes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let after = rest.strip_prefix(HEADER).and_then(|after| after.strip_prefix('\n'));
        let after = after.ok_or(HandoverTextError::Text)?;
        let begin = rest.len().saturating_sub(after.len());
        let mut end = begin;
        for line in after.split_inclusive('\n') {
            if line.strip_suffix('\n') == Some(HEADER) {
                break;
            }
            end = end.saturating_add(line.len());
        }
        let (note, next) = rest.split_at_checked(end).ok_or(HandoverTextError::Text)?;
        notes.push(note);
        rest = next;
    }
    Ok(notes)
}
