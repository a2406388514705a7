//! The decision of a witness, and what a log takes from its answer. Owns the order of the checks;
//! refuses to sign.

use super::{Accepted, AddCheckpoint, Refusal, Update, Witnessed};
use crate::cosignature::{Cosignature, CosignerKey, cosigned_message};
use crate::merkle::{empty_root, verify_consistency};
use crate::note::Signature;
use crate::signature::verify_ed25519;
use crate::trust::Trust;
use crate::verify::{PortableHasher, VerifyError, verify_signatures};
use alloc::vec::Vec;

/// Decides a request against what the witness has stored of the log: the pinned keys in `logs`, and
/// the checkpoint cosigned last, none if there is none.
///
/// A repeated request for the checkpoint cosigned last is accepted again and changes nothing.
///
/// # Errors
/// The first [`Refusal`] in the order of the specification: origin, signature, sizes, root, proof.
pub fn decide(
    request: &AddCheckpoint,
    logs: &Trust,
    latest: Option<&Witnessed>,
) -> Result<Accepted, Refusal> {
    let AddCheckpoint { old_size, proof, checkpoint, note, note_text } = request;
    verify_signatures(note, checkpoint, logs).map_err(|error| match error {
        VerifyError::UnknownOrigin => Refusal::UnknownOrigin,
        _ => Refusal::Signature,
    })?;
    if *old_size > checkpoint.size {
        return Err(Refusal::OldSizeAbove);
    }
    let empty = Witnessed { size: 0, root: empty_root::<PortableHasher>() };
    let known = latest.unwrap_or(&empty);
    if *old_size != known.size {
        return Err(Refusal::Stale { size: known.size });
    }
    let next = Witnessed { size: checkpoint.size, root: checkpoint.root };
    if next.size == known.size && next.root != known.root {
        return Err(Refusal::Fork { size: known.size });
    }
    verify_consistency::<PortableHasher>(known.size, next.size, proof, &known.root, &next.root)
        .map_err(Refusal::Proof)?;
    debug_assert!(next.size >= known.size);
    let update = Update {
        origin: checkpoint.origin.clone(),
        expected: latest.copied(),
        next,
        note_text: note_text.clone(),
    };
    Ok(Accepted { update, body: checkpoint.body() })
}

/// Of the lines that a witness answered, those that are good cosignatures of the checkpoint with
/// the text `body` by one of `keys`. Others are ignored: a witness may sign with more keys.
#[must_use]
pub fn good_cosignatures(body: &str, lines: &[Signature], keys: &[CosignerKey]) -> Vec<Signature> {
    let good = |line: &&Signature| {
        let cosignature = Cosignature::from_bytes(line.bytes());
        keys.iter().find(|key| key.made(line)).zip(cosignature).is_some_and(|(key, cosignature)| {
            let message = cosigned_message(body, cosignature.time_s);
            verify_ed25519(key.public_key(), message.as_bytes(), &cosignature.signature)
        })
    };
    lines.iter().filter(good).cloned().collect()
}
