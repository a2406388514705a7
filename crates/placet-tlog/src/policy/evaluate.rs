//! A witness policy applied to a signed checkpoint. Owns which cosignatures count; refuses to judge
//! their times, for which a caller may have a rule.

use super::Policy;
use crate::cosignature::{Cosignature, cosigned_message};
use crate::note::{KeyId, Note};
use crate::signature::verify_ed25519;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A good cosignature by a witness of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness's name within the policy.
    pub witness: String,
    /// The name under which its key signs.
    pub key_name: String,
    /// Which key.
    pub key_id: KeyId,
    /// When it says it cosigned, in seconds since 1970.
    pub time_s: u64,
}

/// What the witnesses of a policy say of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessing {
    /// Every good cosignature, in the note's order; a witness may have several.
    pub cosignatures: Vec<Cosigned>,
    /// Whether the quorum holds.
    pub quorum: bool,
}

/// A line claims a witness of the policy, but is not that witness's cosignature of this text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCosignature {
    /// The witness's name within the policy.
    pub witness: String,
}

impl fmt::Display for BadCosignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cosignature is not that of the witness {}", self.witness)
    }
}

impl core::error::Error for BadCosignature {}

impl Policy {
    /// Verifies the cosignatures that `note`, a checkpoint, carries of this policy's witnesses. Lines
    /// of others are ignored. Says nothing about the log's own signature.
    ///
    /// # Errors
    /// [`BadCosignature`] if one of a known witness is bad: then the whole note is refused.
    pub fn evaluate(&self, note: &Note) -> Result<Witnessing, BadCosignature> {
        let mut cosignatures = Vec::new();
        for line in note.signatures() {
            let Some(witness) = self.witnesses().iter().find(|known| known.key().made(line)) else {
                continue;
            };
            let key = witness.key();
            let time_s = Cosignature::from_bytes(line.bytes()).and_then(|cosignature| {
                let message = cosigned_message(note.text(), cosignature.time_s);
                verify_ed25519(key.public_key(), message.as_bytes(), &cosignature.signature)
                    .then_some(cosignature.time_s)
            });
            let Some(time_s) = time_s else {
                return Err(BadCosignature { witness: witness.name() });
            };
            cosignatures.push(Cosigned {
                witness: witness.name(),
                key_name: key.name().to_string(),
                key_id: key.id(),
                time_s,
            });
        }
        let quorum = self.holds(|witness| {
            let key = witness.key();
            let by = |seen: &Cosigned| seen.key_id == key.id() && seen.key_name == key.name();
            cosignatures.iter().any(by)
        });
        Ok(Witnessing { cosignatures, quorum })
    }
}
