//! C2SP tlog-witness, `add-checkpoint`: the request's text, the witness's decision as a value, and
//! the answer's text. Owns what may be cosigned; refuses to store, to sign and to speak HTTP.

use crate::cosignature::CosignerKey;
use crate::merkle::{Hash, ProofError};
use crate::note::{Checkpoint, Note, NoteError, Signature, parse_signatures};
use crate::receipt::{RECEIPT_BYTES_MAX, ReceiptError, parse_checkpoint};
use crate::text::{decimal, hash_decode, is_plain, push_base64};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "portable")]
mod decide;

#[cfg(feature = "portable")]
pub use decide::{decide, good_cosignatures};

/// Largest request that is read, in bytes.
pub const REQUEST_BYTES_MAX: usize = RECEIPT_BYTES_MAX;
/// Most hashes in a consistency proof, by the specification.
pub const PROOF_MAX: usize = 63;
/// The content type of an answer that tells the witness's size.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// Why a request or an answer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// It exceeds [`REQUEST_BYTES_MAX`].
    TooLarge,
    /// Not UTF-8, or a control character.
    NotPlainText,
    /// The first line is not `old` and a decimal.
    OldSize,
    /// A line of the proof is no hash, there are more than [`PROOF_MAX`], or the proof does not end.
    Proof,
    /// The checkpoint is refused.
    Checkpoint(ReceiptError),
    /// The body of an answer is not what its status demands.
    Answer,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the request is too large",
            Self::NotPlainText => "the request is not plain utf-8 text",
            Self::OldSize => "the first line is not the old size",
            Self::Proof => "the consistency proof is malformed",
            Self::Checkpoint(_) => "the checkpoint is malformed",
            Self::Answer => "the body does not fit the status",
        })
    }
}

impl core::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Checkpoint(error) => Some(error),
            _ => None,
        }
    }
}

/// The request to cosign a checkpoint. Nothing in it is proven by parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size from which the proof leads: the one the witness cosigned last.
    pub old_size: u64,
    /// The consistency proof from there to the checkpoint.
    pub proof: Vec<Hash>,
    /// The checkpoint that the note's text is.
    pub checkpoint: Checkpoint,
    /// The signed note, taken apart.
    pub note: Note,
    /// The signed note as it stands in the request.
    pub note_text: String,
}

impl AddCheckpoint {
    /// Parses the whole of `body`; every part has exactly one legal spelling.
    ///
    /// # Errors
    /// [`RequestError`] except `Answer`; a witness answers with status 400.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLarge);
        }
        let text = core::str::from_utf8(body).map_err(|_| RequestError::NotPlainText)?;
        if !is_plain(text) {
            return Err(RequestError::NotPlainText);
        }
        let (line, mut rest) = text.split_once('\n').ok_or(RequestError::OldSize)?;
        let old_size = line.strip_prefix("old ").ok_or(RequestError::OldSize)?;
        let old_size = decimal(old_size).map_err(|_| RequestError::OldSize)?;
        let mut proof = Vec::new();
        loop {
            let (line, after) = rest.split_once('\n').ok_or(RequestError::Proof)?;
            rest = after;
            if line.is_empty() {
                break;
            }
            if proof.len() >= PROOF_MAX {
                return Err(RequestError::Proof);
            }
            proof.push(hash_decode(line).map_err(|_| RequestError::Proof)?);
        }
        let (note, checkpoint) = parse_checkpoint(rest).map_err(RequestError::Checkpoint)?;
        Ok(Self { old_size, proof, checkpoint, note, note_text: rest.to_string() })
    }

    /// The text that [`parse`](Self::parse) read.
    #[must_use]
    pub fn write(&self) -> String {
        write_request(self.old_size, &self.proof, &self.note_text)
    }
}

/// A consistency proof as text: a line of base64 for each hash.
#[must_use]
pub fn write_proof(proof: &[Hash]) -> String {
    let mut out = String::with_capacity(proof.len().saturating_mul(45));
    for hash in proof {
        push_base64(&mut out, hash);
        out.push('\n');
    }
    out
}

/// Reads what [`write_proof`] wrote.
///
/// # Errors
/// `Proof`.
pub fn parse_proof(text: &str) -> Result<Vec<Hash>, RequestError> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(RequestError::Proof);
    }
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > PROOF_MAX {
        return Err(RequestError::Proof);
    }
    lines.into_iter().map(|line| hash_decode(line).map_err(|_| RequestError::Proof)).collect()
}

/// Writes a request: the size the witness has, the consistency proof from there, and the signed
/// checkpoint.
#[must_use]
pub fn write_request(old_size: u64, proof: &[Hash], note: &str) -> String {
    let capacity = proof.len().saturating_mul(45).saturating_add(note.len()).saturating_add(32);
    let mut out = String::with_capacity(capacity);
    out.push_str("old ");
    out.push_str(&old_size.to_string());
    out.push('\n');
    out.push_str(&write_proof(proof));
    out.push('\n');
    out.push_str(note);
    out
}

/// What a witness keeps of a log: the checkpoint it cosigned last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// Why a witness does not cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No key is pinned for the origin.
    UnknownOrigin,
    /// No pinned key that counts at this size signed, or a pinned key's signature is bad.
    Signature,
    /// The old size is above the checkpoint's.
    OldSizeAbove,
    /// The old size is not that of the checkpoint cosigned last.
    Stale {
        /// Size of the checkpoint cosigned last, 0 if none was.
        size: u64,
    },
    /// The log signed another root for the size cosigned last: it shows two faces.
    Fork {
        /// Size of both checkpoints.
        size: u64,
    },
    /// The proof does not lead from the root cosigned last to the one presented.
    Proof(ProofError),
}

impl Refusal {
    /// The HTTP status that the specification demands.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownOrigin => 404,
            Self::Signature => 403,
            Self::OldSizeAbove => 400,
            Self::Stale { .. } | Self::Fork { .. } => 409,
            Self::Proof(_) => 422,
        }
    }

    /// The body whose content type is [`SIZE_CONTENT_TYPE`], for the statuses that have one.
    #[must_use]
    pub fn size_body(&self) -> Option<String> {
        let (Self::Stale { size } | Self::Fork { size }) = self else {
            return None;
        };
        let mut body = size.to_string();
        body.push('\n');
        Some(body)
    }

    /// Whether the request, signed by the log as it is, may be evidence against the log and should
    /// be kept.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        matches!(self, Self::Fork { .. } | Self::Proof(_))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOrigin => f.write_str("the log is not known"),
            Self::Signature => f.write_str("no key of the log signed the checkpoint"),
            Self::OldSizeAbove => f.write_str("the old size is above the size of the checkpoint"),
            Self::Stale { size } => write!(f, "the checkpoint cosigned last has size {size}"),
            Self::Fork { size } => write!(f, "another root was cosigned for size {size}"),
            Self::Proof(_) => f.write_str("the consistency proof does not hold"),
        }
    }
}

impl core::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Proof(error) => Some(error),
            _ => None,
        }
    }
}

/// A change of what the witness keeps: to be stored, as one compare-and-set, before anything is
/// signed. When `expected` is no longer what is stored, the request must be decided anew: otherwise
/// the later of two requests could take the witness back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The log.
    pub origin: String,
    /// What must be stored now; none if nothing is.
    pub expected: Option<Witnessed>,
    /// What must be stored afterwards.
    pub next: Witnessed,
    /// The signed note of the new checkpoint: worth keeping, for with it a fork found later is
    /// proven to others.
    pub note_text: String,
}

impl Update {
    /// Whether nothing changes: the same checkpoint was cosigned before.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.expected == Some(self.next)
    }
}

/// A request that may be cosigned once its update is stored. Has no public constructor.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    update: Update,
    body: String,
}

impl Accepted {
    /// What must be stored.
    #[must_use]
    pub fn update(&self) -> &Update {
        &self.update
    }

    /// Stores the update by `store` and gives leave to cosign. `store` must have made it durable
    /// when it returns, or fail. Unlike a closure that signs at once, this lets the caller await a
    /// store first and pass its result in.
    ///
    /// # Errors
    /// Whatever `store` fails with: then nothing may be signed.
    pub fn persist<E>(self, store: impl FnOnce(&Update) -> Result<(), E>) -> Result<Persisted, E> {
        store(&self.update)?;
        Ok(Persisted { body: self.body })
    }
}

/// Leave to cosign one checkpoint: the witness's record of it is durable.
#[derive(Debug, PartialEq, Eq)]
pub struct Persisted {
    body: String,
}

impl Persisted {
    /// The cosignature line by `key` at `time_s` (seconds since 1970); the answer's body is one
    /// such line for each key of the witness. `sign` is Ed25519 over the bytes it gets.
    ///
    /// # Errors
    /// [`NoteError::Time`].
    pub fn cosign(
        &self,
        key: &CosignerKey,
        time_s: u64,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<String, NoteError> {
        key.cosign(&self.body, time_s, sign)
    }
}

/// What a witness answered, as the log reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It cosigned. The lines are not verified (see [`good_cosignatures`]).
    Cosigned(Vec<Signature>),
    /// It is at this size: build the proof from there and ask again.
    At(u64),
    /// It refused with this status.
    Refused(u16),
}

impl Answer {
    /// Reads status and body of an answer.
    ///
    /// # Errors
    /// `TooLarge`, `NotPlainText` or `Answer`.
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLarge);
        }
        if !matches!(status, 200 | 409) {
            return Ok(Self::Refused(status));
        }
        let text = core::str::from_utf8(body).map_err(|_| RequestError::NotPlainText)?;
        if !is_plain(text) {
            return Err(RequestError::NotPlainText);
        }
        let lines = text.strip_suffix('\n').ok_or(RequestError::Answer)?;
        match status {
            200 => parse_signatures(lines).map(Self::Cosigned).map_err(|_| RequestError::Answer),
            _ => decimal(lines).map(Self::At).map_err(|_| RequestError::Answer),
        }
    }
}
