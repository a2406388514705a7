//! C2SP tlog-cosignature, version 1 with Ed25519: by it a witness says that at a time this was the
//! largest consistent tree it had seen of a log. Owns its bytes; refuses to know when to sign.

use crate::note::{
    Checkpoint, KeyId, NoteError, Signature, key_id, parse_key, signature_line, write_key,
};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use placet_types::hash::Hasher;

/// The signature type of timestamped Ed25519 cosignatures.
const COSIGNATURE: u8 = 0x04;
/// Largest time, in seconds.
pub const TIME_MAX_S: u64 = i64::MAX as u64;

/// A public Ed25519 key that cosigns checkpoints, with the name of its witness. It is not a
/// [`VerifierKey`](crate::VerifierKey): the two sign different bytes, and neither counts for the
/// other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignerKey {
    name: String,
    id: KeyId,
    public: [u8; 32],
}

impl CosignerKey {
    /// The key `public` (32 bytes, RFC 8032) of the witness `name`. The signed bytes do not name
    /// the witness, so no two witnesses may share a key.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn new<H: Hasher>(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        let id = key_id::<H>(name, COSIGNATURE, &public)?;
        Ok(Self { name: name.to_string(), id, public })
    }

    /// Parses `name+<8 hex digits>+base64(0x04 ‖ key)`; its [`Display`](fmt::Display) writes it.
    ///
    /// # Errors
    /// `Name`, `VerifierKey`, `KeyType`, `KeyId` or `NotCanonical`.
    pub fn parse<H: Hasher>(text: &str) -> Result<Self, NoteError> {
        let (name, id, public) = parse_key::<H>(text, COSIGNATURE)?;
        Ok(Self { name: name.to_string(), id, public })
    }

    /// The name of the witness.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// Whether the line names this key.
    #[must_use]
    pub fn made(&self, signature: &Signature) -> bool {
        signature.name() == self.name && signature.key_id() == self.id
    }

    /// The signature line, newline included, by which this witness cosigns the checkpoint with the
    /// text `body` at `time_s` (seconds since 1970). `sign` is Ed25519 over the bytes it gets.
    ///
    /// # Errors
    /// `Time`; `Checkpoint` or `NotCanonical` if `body` is no checkpoint.
    pub fn cosign(
        &self,
        body: &str,
        time_s: u64,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<String, NoteError> {
        if time_s > TIME_MAX_S {
            return Err(NoteError::Time);
        }
        Checkpoint::parse(body)?;
        let signature = sign(cosigned_message(body, time_s).as_bytes());
        Ok(signature_line(&self.name, self.id, &Cosignature { time_s, signature }.to_bytes()))
    }
}

impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, &self.name, self.id, COSIGNATURE, &self.public)
    }
}

/// The bytes after the key id in a cosignature line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// When it was made, in seconds since 1970; 2^63 - 1 at most.
    pub time_s: u64,
    /// Ed25519 over [`cosigned_message`].
    pub signature: [u8; 64],
}

impl Cosignature {
    /// Time as big-endian u64, then the signature.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 72] {
        let mut bytes = [0; 72];
        let parts = self.time_s.to_be_bytes().into_iter().chain(self.signature);
        for (slot, byte) in bytes.iter_mut().zip(parts) {
            *slot = byte;
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` for another length or a time that is
    /// out of range.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (time, signature) = bytes.split_first_chunk::<8>()?;
        let time_s = u64::from_be_bytes(*time);
        let signature = <[u8; 64]>::try_from(signature).ok()?;
        (time_s <= TIME_MAX_S).then_some(Self { time_s, signature })
    }
}

/// The bytes that a witness signs: header line, time line, then the whole text of the checkpoint.
#[must_use]
pub fn cosigned_message(body: &str, time_s: u64) -> String {
    let mut message = String::with_capacity(body.len().saturating_add(48));
    message.push_str("cosignature/v1\ntime ");
    message.push_str(&time_s.to_string());
    message.push('\n');
    message.push_str(body);
    message
}

/// Adds signature lines to a signed note, without those that stand in it already. Nothing is
/// verified.
#[must_use]
pub fn append_lines(note: &str, lines: &[Signature]) -> String {
    let mut out = String::from(note);
    let mut added: Vec<String> = Vec::new();
    for line in lines.iter().map(Signature::line) {
        if !added.contains(&line) && !note.split_inclusive('\n').any(|held| held == line) {
            out.push_str(&line);
            added.push(line);
        }
    }
    out
}
