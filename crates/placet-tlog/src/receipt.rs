//! The receipt: one `c2sp.org/tlog-proof@v1` text with the entry in its `extra` line. Owns reading
//! and writing it, strictly; refuses to believe any of it (see `verify`).

use crate::merkle::{Hash, path_len};
use crate::note::{Checkpoint, Note, NoteError};
use crate::text::{AtomError, base64_decode, decimal, hash_decode, is_plain, push_base64};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";
/// Largest receipt that is read, in bytes: an entry and [`SIGNATURES_MAX`] post-quantum signatures.
///
/// [`SIGNATURES_MAX`]: crate::note::SIGNATURES_MAX
pub const RECEIPT_BYTES_MAX: usize = 512 * 1024;
/// Largest entry, in bytes: what tlog-tiles can hold.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Most hashes in a path: one for each bit of a size.
const PATH_MAX: usize = 64;

/// Why a receipt cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptError {
    /// Receipt or entry exceeds its bound.
    TooLarge,
    /// Not UTF-8, or a control character such as a carriage return.
    NotPlainText,
    /// The first line is not the format's.
    Header,
    /// The `extra` line with the entry is missing.
    Entry,
    /// The `index` line is missing or no number.
    Index,
    /// A line of the path is no hash, or the path does not end.
    Path,
    /// A number or base64 text has another, canonical spelling.
    NotCanonical,
    /// The path has not the number of hashes that index and size demand.
    PathLength,
    /// The checkpoint note is refused.
    Note(NoteError),
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the receipt is too large",
            Self::NotPlainText => "the receipt is not plain utf-8 text",
            Self::Header => "the first line is not that of a tlog-proof",
            Self::Entry => "the extra line with the entry is missing",
            Self::Index => "the index line is missing or not a number",
            Self::Path => "the inclusion path is malformed",
            Self::NotCanonical => "a number or base64 text is not in canonical form",
            Self::PathLength => "the path does not have the length that index and size demand",
            Self::Note(_) => "the checkpoint is malformed",
        })
    }
}

impl core::error::Error for ReceiptError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Note(error) => Some(error),
            _ => None,
        }
    }
}

/// A receipt taken apart. Nothing in it is proven by parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The bytes of the entry.
    pub entry: Vec<u8>,
    /// Its index in the log, from 0.
    pub index: u64,
    /// The inclusion path, leaf's sibling first.
    pub path: Vec<Hash>,
    /// The checkpoint that the note's text is.
    pub checkpoint: Checkpoint,
    /// The signed note, taken apart.
    pub note: Note,
    /// The signed note as it stands in the receipt.
    pub note_text: String,
}

impl Receipt {
    /// Parses the whole of `bytes`; every part has exactly one legal spelling.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::TooLarge);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| ReceiptError::NotPlainText)?;
        if !is_plain(text) {
            return Err(ReceiptError::NotPlainText);
        }
        let rest = text.strip_prefix(HEADER).ok_or(ReceiptError::Header)?;
        let (entry, rest) = field(rest, "extra ").ok_or(ReceiptError::Entry)?;
        let entry = base64_decode(entry).map_err(|_| ReceiptError::NotCanonical)?;
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(ReceiptError::TooLarge);
        }
        let (index, mut rest) = field(rest, "index ").ok_or(ReceiptError::Index)?;
        let index = decimal(index).map_err(|error| atom(error, ReceiptError::Index))?;
        let mut path = Vec::new();
        loop {
            let (line, after) = rest.split_once('\n').ok_or(ReceiptError::Path)?;
            rest = after;
            if line.is_empty() {
                break;
            }
            if path.len() >= PATH_MAX {
                return Err(ReceiptError::Path);
            }
            path.push(hash_decode(line).map_err(|error| atom(error, ReceiptError::Path))?);
        }
        let (note, checkpoint) = parse_checkpoint(rest)?;
        if path_len(index, checkpoint.size).map(|len| len as usize) != Some(path.len()) {
            return Err(ReceiptError::PathLength);
        }
        Ok(Self { entry, index, path, checkpoint, note, note_text: rest.to_string() })
    }

    /// The text that [`parse`](Self::parse) read.
    #[must_use]
    pub fn write(&self) -> String {
        write_receipt(&self.entry, self.index, &self.path, &self.note_text)
    }
}

/// Writes a receipt: the entry's bytes, its index, its inclusion path (leaf's sibling first), and
/// the signed note of a checkpoint to which the path leads.
#[must_use]
pub fn write_receipt(entry: &[u8], index: u64, path: &[Hash], note: &str) -> String {
    let size = entry
        .len()
        .div_ceil(3)
        .saturating_mul(4)
        .saturating_add(path.len().saturating_mul(45))
        .saturating_add(note.len())
        .saturating_add(64);
    let mut out = String::with_capacity(size);
    out.push_str(HEADER);
    out.push_str("extra ");
    push_base64(&mut out, entry);
    out.push_str("\nindex ");
    out.push_str(&index.to_string());
    out.push('\n');
    for hash in path {
        push_base64(&mut out, hash);
        out.push('\n');
    }
    out.push('\n');
    out.push_str(note);
    out
}

/// Whether `bytes` begin as a receipt does.
#[cfg(feature = "portable")]
pub fn is_receipt(bytes: &[u8]) -> bool {
    bytes.starts_with(HEADER.as_bytes())
}

/// The rest of a line that begins with `key`, and what follows the line.
fn field<'a>(text: &'a str, key: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(key)?.split_once('\n')
}

fn atom(error: AtomError, malformed: ReceiptError) -> ReceiptError {
    match error {
        AtomError::NotCanonical => ReceiptError::NotCanonical,
        AtomError::Malformed => malformed,
    }
}

/// A note and the checkpoint that its text is.
pub(crate) fn parse_checkpoint(text: &str) -> Result<(Note, Checkpoint), ReceiptError> {
    let note = Note::parse(text).map_err(note_error)?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(note_error)?;
    Ok((note, checkpoint))
}

fn note_error(error: NoteError) -> ReceiptError {
    match error {
        NoteError::NotCanonical => ReceiptError::NotCanonical,
        other => ReceiptError::Note(other),
    }
}
