//! The offline check of a receipt with portable cryptography: recompute every hash, believe only
//! pinned keys. Owns the order of the checks and their codes; refuses to say whether the entry
//! allows anything.

use crate::merkle::{Hash, ProofError, leaf_hash, verify_inclusion};
use crate::note::{Checkpoint, KeyId, Note};
use crate::receipt::{Receipt, ReceiptError, parse_checkpoint};
use crate::trust::{KeyStatus, Trust, TrustKey};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use ed25519_dalek::{Signature, VerifyingKey};
use placet_types::hash::Hasher;
use placet_types::json::{Limits, Value, parse};
use sha2::{Digest as _, Sha256};

/// SHA-256 by `sha2`, for whoever does not bring a faster one.
#[derive(Clone, Copy, Debug)]
pub struct PortableHasher;

impl Hasher for PortableHasher {
    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        const BLOCK: usize = 64;
        let mut block = [0_u8; BLOCK];
        let hashed;
        let short = if key.len() > BLOCK {
            hashed = Self::sha256(&[key]);
            hashed.as_slice()
        } else {
            key
        };
        for (slot, byte) in block.iter_mut().zip(short) {
            *slot = *byte;
        }
        let mut inner = Sha256::new();
        inner.update(block.map(|byte| byte ^ 0x36));
        for part in parts {
            inner.update(part);
        }
        let inner: [u8; 32] = inner.finalize().into();
        Self::sha256(&[&block.map(|byte| byte ^ 0x5c), &inner])
    }
}

/// What a receipt proved: at `index` of the log `origin`, within the first `size` entries, whose
/// root is `root`, stand the bytes `entry`; signed by the pinned key `key_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The bytes of the entry: canonical JSON, an in-toto Statement.
    pub entry: Vec<u8>,
    /// Its index, from 0.
    pub index: u64,
    /// Size of the tree that was signed.
    pub size: u64,
    /// Root of the tree that was signed.
    pub root: Hash,
    /// The log.
    pub origin: String,
    /// The pinned key whose signature counted.
    pub key_id: KeyId,
}

/// Why a receipt proves nothing. [`code`](Self::code) is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// It cannot be read.
    Receipt(ReceiptError),
    /// No key is pinned for the log.
    UnknownOrigin,
    /// Keys are pinned for the log, but none of them signed.
    UnknownKey,
    /// Only a revoked key signed.
    KeyRevoked,
    /// Only a key signed that is not pinned for this tree size.
    KeyOutOfRange,
    /// A line claims a pinned key, but the signature is not that key's.
    SignatureBad,
    /// The entry is not at the index of the signed tree.
    Inclusion(ProofError),
    /// The entry is no strict JSON, no in-toto Statement, or no event of version 1.
    EntryMalformed,
    /// The entry's JSON is not in canonical form (RFC 8785).
    EntryNotCanonical,
    /// The entry names another workspace than the log's origin does.
    WorkspaceMismatch,
}

impl VerifyError {
    /// The stable code: `receipt_malformed`, `not_canonical`, `unknown_origin`, `unknown_key`,
    /// `key_revoked`, `key_out_of_range`, `signature_bad`, `inclusion_bad`, `entry_malformed` or
    /// `workspace_mismatch`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Receipt(ReceiptError::NotCanonical) | Self::EntryNotCanonical => "not_canonical",
            Self::Receipt(ReceiptError::PathLength) | Self::Inclusion(_) => "inclusion_bad",
            Self::Receipt(_) => "receipt_malformed",
            Self::UnknownOrigin => "unknown_origin",
            Self::UnknownKey => "unknown_key",
            Self::KeyRevoked => "key_revoked",
            Self::KeyOutOfRange => "key_out_of_range",
            Self::SignatureBad => "signature_bad",
            Self::EntryMalformed => "entry_malformed",
            Self::WorkspaceMismatch => "workspace_mismatch",
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receipt(_) => "the receipt cannot be read",
            Self::UnknownOrigin => "no key is pinned for the log",
            Self::UnknownKey => "no pinned key of the log signed the checkpoint",
            Self::KeyRevoked => "the key that signed the checkpoint is revoked",
            Self::KeyOutOfRange => "the key that signed is not pinned for this tree size",
            Self::SignatureBad => "the signature is not that of the pinned key",
            Self::Inclusion(_) => "the entry is not in the signed tree at this index",
            Self::EntryMalformed => "the entry is not an event of version 1",
            Self::EntryNotCanonical => "the entry is not canonical json",
            Self::WorkspaceMismatch => "the entry belongs to another workspace than the log",
        })
    }
}

impl core::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Receipt(error) => Some(error),
            Self::Inclusion(error) => Some(error),
            _ => None,
        }
    }
}

/// Verifies one receipt against the pinned keys.
///
/// # Errors
/// The first check that fails, in this order: form, key and signature, inclusion, entry.
pub fn verify_receipt(receipt: &[u8], trust: &Trust) -> Result<Verified, VerifyError> {
    Verifier::new(trust).verify(receipt)
}

/// Verifies many receipts; those that share a checkpoint with the one before cost hashes only.
#[derive(Debug)]
pub struct Verifier<'t> {
    trust: &'t Trust,
    /// The note that was proven last, byte for byte, and the key that proved it.
    proven: Option<(String, KeyId)>,
}

impl<'t> Verifier<'t> {
    /// A verifier that believes `trust` and nobody else.
    #[must_use]
    pub fn new(trust: &'t Trust) -> Self {
        Self { trust, proven: None }
    }

    /// Verifies one receipt.
    ///
    /// # Errors
    /// As [`verify_receipt`].
    pub fn verify(&mut self, receipt: &[u8]) -> Result<Verified, VerifyError> {
        let receipt = Receipt::parse(receipt).map_err(VerifyError::Receipt)?;
        let Receipt { entry, index, path, checkpoint, note, note_text } = receipt;
        let key_id = match &self.proven {
            Some((text, key_id)) if *text == note_text => *key_id,
            _ => verify_signatures(&note, &checkpoint, self.trust)?,
        };
        let Checkpoint { origin, size, root, .. } = checkpoint;
        self.proven = Some((note_text, key_id));
        let leaf = leaf_hash::<PortableHasher>(&entry);
        verify_inclusion::<PortableHasher>(&leaf, index, size, &path, &root)
            .map_err(VerifyError::Inclusion)?;
        verify_entry(&entry, &origin)?;
        Ok(Verified { entry, index, size, root, origin, key_id })
    }
}

/// Verifies a signed checkpoint alone: each signature by a pinned key must be good, and one of them
/// must be by a key of the origin that is not revoked and covers the size. Returns the checkpoint
/// and that key's id.
///
/// # Errors
/// `Receipt` if it is no checkpoint, then `UnknownOrigin`, `SignatureBad`, `KeyRevoked`,
/// `KeyOutOfRange` or `UnknownKey`.
pub fn verify_checkpoint(note: &str, trust: &Trust) -> Result<(Checkpoint, KeyId), VerifyError> {
    let (note, checkpoint) = parse_checkpoint(note).map_err(VerifyError::Receipt)?;
    let key_id = verify_signatures(&note, &checkpoint, trust)?;
    Ok((checkpoint, key_id))
}

fn verify_signatures(
    note: &Note,
    checkpoint: &Checkpoint,
    trust: &Trust,
) -> Result<KeyId, VerifyError> {
    if !trust.knows(&checkpoint.origin) {
        return Err(VerifyError::UnknownOrigin);
    }
    let mut counted = None;
    let mut refusal = VerifyError::UnknownKey;
    for signature in note.signatures() {
        let Some(key) = trust.find(signature.name(), signature.key_id()) else {
            continue;
        };
        verify_signature(key, note.text().as_bytes(), signature.bytes())?;
        if key.key.name() != checkpoint.origin {
            continue;
        }
        if key.status == KeyStatus::Revoked {
            refusal = VerifyError::KeyRevoked;
        } else if key.covers(checkpoint.size) {
            counted = counted.or(Some(key.key.id()));
        } else if refusal == VerifyError::UnknownKey {
            refusal = VerifyError::KeyOutOfRange;
        }
    }
    counted.ok_or(refusal)
}

/// Ed25519 as RFC 8032 without cofactor, and stricter: no small-order key or nonce point, no
/// second encoding of a point or scalar.
fn verify_signature(key: &TrustKey, text: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    let bad = VerifyError::SignatureBad;
    let public = key.key.public_key();
    let signature = <[u8; 64]>::try_from(signature).map_err(|_| bad)?;
    let verifying = VerifyingKey::from_bytes(public).map_err(|_| bad)?;
    // The library keeps the bytes it got, so a second encoding of the key shows by encoding anew.
    if verifying.to_edwards().compress().as_bytes() != public {
        return Err(bad);
    }
    verifying.verify_strict(text, &Signature::from_bytes(&signature)).map_err(|_| bad)
}

/// Checks what makes an entry an event of the workspace that `origin` names.
fn verify_entry(entry: &[u8], origin: &str) -> Result<(), VerifyError> {
    let statement = parse(entry, Limits::ENTRY).map_err(|_| VerifyError::EntryMalformed)?;
    if statement.to_canonical() != entry {
        return Err(VerifyError::EntryNotCanonical);
    }
    let text = |key: &str| statement.get(key).and_then(Value::as_str);
    let is_statement = statement.as_object().is_some_and(|o| o.len() == 4)
        && text("_type") == Some("https://in-toto.io/Statement/v1")
        && statement.get("subject").and_then(Value::as_array).is_some()
        && text("predicateType") == Some("urn:placet:event:1");
    let predicate = statement.get("predicate");
    let version = predicate.and_then(|p| p.get("v")).and_then(Value::as_i64);
    let workspace = predicate.and_then(|p| p.get("workspace")).and_then(Value::as_str);
    let (true, Some(1), Some(workspace)) = (is_statement, version, workspace) else {
        return Err(VerifyError::EntryMalformed);
    };
    let mut segments = origin.split('/');
    let named = match (segments.next(), segments.next(), segments.next()) {
        (Some("placet"), Some(instance), name) if !instance.is_empty() => name,
        _ => None,
    };
    if named != Some(workspace) || workspace.is_empty() || segments.next().is_some() {
        return Err(VerifyError::WorkspaceMismatch);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use placet_types::hash::hex_encode;

    #[test]
    fn the_portable_hasher_is_sha256_and_hmac() {
        // FIPS 180-4 "abc"; RFC 4231 cases 1, 2 and 6 (a key longer than the block).
        type Case = (&'static [u8], &'static [&'static [u8]], &'static str);
        let cases: [Case; 3] = [
            (
                &[0x0b; 20],
                &[b"Hi ", b"There"],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                &[b"what do ya want ", b"for nothing?"],
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                &[b"Test Using Larger Than Block-Size Key - Hash Key First"],
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, parts, want) in cases {
            assert_eq!(hex_encode(&PortableHasher::hmac(key, parts)), want);
        }
        assert_eq!(
            hex_encode(&PortableHasher::sha256(&[b"a", b"", b"bc"])),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
