//! The offline check of a receipt with portable cryptography: recompute every hash, believe only
//! pinned keys. Owns the order of the checks and their codes; refuses to say whether the entry
//! allows anything.

use crate::merkle::{Hash, ProofError, leaf_hash, verify_inclusion};
use crate::note::{Checkpoint, KeyId, Note};
use crate::policy::{Cosigned, Policy};
use crate::receipt::{Receipt, ReceiptError, parse_checkpoint};
use crate::signature::verify_ed25519;
use crate::trust::{KeyStatus, Trust};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
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
    /// The good cosignatures by witnesses of the policy; none if the verifier has no policy.
    pub cosignatures: Vec<Cosigned>,
}

/// What a signed checkpoint proved: the pinned key `key_id` signed it, and so did the witnesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The pinned key whose signature counted.
    pub key_id: KeyId,
    /// The good cosignatures by witnesses of the policy; none if the verifier has no policy.
    pub cosignatures: Vec<Cosigned>,
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
    /// A line claims a witness of the policy, but the cosignature is not that witness's.
    CosignatureBad,
    /// The witnesses that cosigned are no quorum by the policy.
    WitnessQuorumMissing,
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
    /// `key_revoked`, `key_out_of_range`, `signature_bad`, `cosignature_bad`,
    /// `witness_quorum_missing`, `inclusion_bad`, `entry_malformed` or `workspace_mismatch`.
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
            Self::CosignatureBad => "cosignature_bad",
            Self::WitnessQuorumMissing => "witness_quorum_missing",
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
            Self::CosignatureBad => "a cosignature is not that of the witness",
            Self::WitnessQuorumMissing => "the witnesses that cosigned are not a quorum",
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
/// The first check that fails, in this order: form, key and signature, witnesses (if the verifier
/// has a policy), inclusion, entry.
pub fn verify_receipt(receipt: &[u8], trust: &Trust) -> Result<Verified, VerifyError> {
    Verifier::new(trust).verify(receipt)
}

/// Verifies many receipts; those that share a checkpoint with the one before cost hashes only.
#[derive(Debug)]
pub struct Verifier<'t> {
    trust: &'t Trust,
    policy: Option<&'t Policy>,
    proven: Option<Proven>,
}

/// The note that was proven last, byte for byte, and who proved it.
#[derive(Debug)]
struct Proven {
    note_text: String,
    key_id: KeyId,
    cosignatures: Vec<Cosigned>,
}

impl<'t> Verifier<'t> {
    /// A verifier that believes `trust` and nobody else.
    #[must_use]
    pub fn new(trust: &'t Trust) -> Self {
        Self { trust, policy: None, proven: None }
    }

    /// Demands the witness quorum of `policy` besides. The policy's log lines do not count: who
    /// wants to believe them says so by [`Trust::with_logs_of`].
    #[must_use]
    pub fn with_witnesses(self, policy: &'t Policy) -> Self {
        Self { policy: Some(policy), proven: None, ..self }
    }

    /// Verifies one receipt.
    ///
    /// # Errors
    /// As [`verify_receipt`].
    pub fn verify(&mut self, receipt: &[u8]) -> Result<Verified, VerifyError> {
        let receipt = Receipt::parse(receipt).map_err(VerifyError::Receipt)?;
        self.prove_note(&receipt.note, &receipt.note_text, &receipt.checkpoint)?;
        verify_path(&receipt)?;
        let Receipt { entry, index, checkpoint, .. } = receipt;
        let Checkpoint { origin, size, root, .. } = checkpoint;
        verify_entry(&entry, &origin)?;
        let (key_id, cosignatures) = self.proven_by();
        Ok(Verified { entry, index, size, root, origin, key_id, cosignatures })
    }

    /// Verifies a signed checkpoint alone, as [`verify_checkpoint`], with the policy if there is
    /// one.
    ///
    /// # Errors
    /// As [`verify_checkpoint`]; `CosignatureBad` and `WitnessQuorumMissing`.
    pub fn verify_checkpoint(&mut self, text: &str) -> Result<VerifiedCheckpoint, VerifyError> {
        let (note, checkpoint) = parse_checkpoint(text).map_err(VerifyError::Receipt)?;
        self.prove_note(&note, text, &checkpoint)?;
        let (key_id, cosignatures) = self.proven_by();
        Ok(VerifiedCheckpoint { checkpoint, key_id, cosignatures })
    }

    fn proven_by(&self) -> (KeyId, Vec<Cosigned>) {
        let proven = self.proven.as_ref();
        proven.map(|held| (held.key_id, held.cosignatures.clone())).unwrap_or_default()
    }

    /// Leaves the note in `proven`, or fails.
    fn prove_note(
        &mut self,
        note: &Note,
        text: &str,
        checkpoint: &Checkpoint,
    ) -> Result<(), VerifyError> {
        if self.proven.as_ref().is_some_and(|held| held.note_text == text) {
            return Ok(());
        }
        let key_id = verify_signatures(note, checkpoint, self.trust)?;
        let cosignatures = match self.policy {
            None => Vec::new(),
            Some(policy) => {
                let seen = policy.evaluate(note).map_err(|_| VerifyError::CosignatureBad)?;
                if !seen.quorum {
                    return Err(VerifyError::WitnessQuorumMissing);
                }
                seen.cosignatures
            }
        };
        self.proven = Some(Proven { note_text: text.to_string(), key_id, cosignatures });
        Ok(())
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

/// Whether the entry stands at its index in the receipt's own checkpoint.
pub(crate) fn verify_path(receipt: &Receipt) -> Result<(), VerifyError> {
    let Receipt { entry, index, path, checkpoint, .. } = receipt;
    let leaf = leaf_hash::<PortableHasher>(entry);
    verify_inclusion::<PortableHasher>(&leaf, *index, checkpoint.size, path, &checkpoint.root)
        .map_err(VerifyError::Inclusion)
}

/// Whether a pinned key vouches for the checkpoint, and which.
pub(crate) fn verify_signatures(
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
        if !verify_ed25519(key.key.public_key(), note.text().as_bytes(), signature.bytes()) {
            return Err(VerifyError::SignatureBad);
        }
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
