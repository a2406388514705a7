//! The one place where Ed25519 signatures are checked, so that witness, verifier and comparison
//! never judge an odd signature differently. Owns how strict; refuses to know whose key counts.

use ed25519_dalek::{Signature, VerifyingKey};

/// Ed25519 as RFC 8032 without cofactor, and stricter: no small-order key or nonce point, no
/// second encoding of a point or scalar.
pub(crate) fn verify_ed25519(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(signature), Ok(key)) =
        (<[u8; 64]>::try_from(signature), VerifyingKey::from_bytes(public))
    else {
        return false;
    };
    // The library keeps the bytes it got, so a second encoding of the key shows by encoding anew.
    key.to_edwards().compress().as_bytes() == public
        && key.verify_strict(message, &Signature::from_bytes(&signature)).is_ok()
}
