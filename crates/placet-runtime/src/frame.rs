//! Frames: an entry and its sealed payload side by side, as they lie in a batch. Also the key
//! schedule of a payload slot: one secret gives the sealing key and every salt, so destroying the
//! slot destroys them all.

use crate::crypto::{KeyedHasher, OpenError, open_once, seal_once};
use crate::ports::Secret;
use placet_types::Digest;

/// What a salt is for; each use has its own.
#[derive(Clone, Copy, Debug)]
pub enum SaltFor {
    /// Commitment to the action digest.
    Action,
    /// Commitment to the request digest.
    Request,
    /// Commitment to the verified facts.
    Facts,
    /// Commitment to the plaintext of the payload.
    Payload,
}

/// The keys derived from one slot: `HMAC-SHA-256(secret, label)`.
pub struct SlotKeys(KeyedHasher);

impl SlotKeys {
    /// Derives from the slot's secret.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(KeyedHasher::new(secret.as_ref()))
    }

    /// The 32-byte salt for one commitment.
    #[must_use]
    pub fn salt(&self, salt: SaltFor) -> [u8; 32] {
        let label: &[u8] = match salt {
            SaltFor::Action => b"placet/salt/action/1",
            SaltFor::Request => b"placet/salt/request/1",
            SaltFor::Facts => b"placet/salt/facts/1",
            SaltFor::Payload => b"placet/salt/payload/1",
        };
        self.0.tag(&[label])
    }

    /// `HMAC-SHA-256(salt, value)`.
    #[must_use]
    pub fn commit(&self, salt: SaltFor, value: &[u8]) -> Digest {
        Digest(KeyedHasher::new(&self.salt(salt)).tag(&[value]))
    }

    fn sealing_key(&self) -> [u8; 32] {
        self.0.tag(&[b"placet/seal/1"])
    }

    /// Seals a payload.
    #[must_use]
    pub fn seal(&self, slot: u64, mut plain: Vec<u8>) -> Vec<u8> {
        seal_once(&self.sealing_key(), &slot.to_be_bytes(), &mut plain);
        plain
    }

    /// Opens a payload.
    ///
    /// # Errors
    /// [`OpenError`] when it was altered or belongs to another slot.
    pub fn open(&self, slot: u64, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        open_once(&self.sealing_key(), &slot.to_be_bytes(), sealed.to_vec())
    }
}

/// One entry with its payload, borrowed from a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Canonical entry: the leaf.
    pub entry: &'a [u8],
    /// Slot of the payload's secret.
    pub slot: u64,
    /// Sealed payload.
    pub payload: &'a [u8],
}

/// Bytes of a frame before its entry: the entry's length.
pub(crate) const ENTRY_OFFSET: usize = 4;

/// Appends a frame: `u32 LE` length and entry, `u64 LE` slot, `u32 LE` length and payload.
pub fn push(out: &mut Vec<u8>, frame: Frame<'_>) {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&length(frame.entry));
    out.extend_from_slice(frame.entry);
    out.extend_from_slice(&frame.slot.to_le_bytes());
    out.extend_from_slice(&length(frame.payload));
    out.extend_from_slice(frame.payload);
}

/// The frames of a batch. Yields `Err` once, and ends, where the bytes are no frame.
pub fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, FrameError>> {
    let mut failed = false;
    std::iter::from_fn(move || {
        if bytes.is_empty() || failed {
            return None;
        }
        let frame = next(&mut bytes).ok_or(FrameError);
        failed = frame.is_err();
        Some(frame)
    })
}

fn next<'a>(bytes: &mut &'a [u8]) -> Option<Frame<'a>> {
    let entry = chunk(bytes)?;
    let (slot, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    let payload = chunk(bytes)?;
    Some(Frame { entry, slot: u64::from_le_bytes(*slot), payload })
}

fn chunk<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (chunk, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(chunk)
}

/// The bytes of a batch are not a sequence of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError;

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the batch is damaged: its bytes are no sequence of frames")
    }
}

impl std::error::Error for FrameError {}
