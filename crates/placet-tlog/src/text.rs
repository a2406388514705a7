//! The three atoms of the C2SP text formats: canonical base64, canonical decimals, 32-byte hashes.
//! Each has one legal spelling; anything else is refused here, so that two files with the same
//! meaning are the same bytes.

use crate::merkle::Hash;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why an atom is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomError {
    /// It has another, canonical spelling, or is no base64 at all.
    NotCanonical,
    /// It is something else.
    Malformed,
}

/// RFC 4648 §4 with padding, refused unless the bytes encode to the same text again.
pub(crate) fn base64_decode(text: &str) -> Result<Vec<u8>, AtomError> {
    let bytes = STANDARD.decode(text).map_err(|_| AtomError::NotCanonical)?;
    if base64_encode(&bytes) == text { Ok(bytes) } else { Err(AtomError::NotCanonical) }
}

pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn push_base64(out: &mut String, bytes: &[u8]) {
    STANDARD.encode_string(bytes, out);
}

/// A 32-byte hash in base64.
pub(crate) fn hash_decode(text: &str) -> Result<Hash, AtomError> {
    let bytes = base64_decode(text)?;
    Hash::try_from(bytes.as_slice()).map_err(|_| AtomError::Malformed)
}

/// An unsigned decimal without sign or leading zeros.
pub(crate) fn decimal(text: &str) -> Result<u64, AtomError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AtomError::Malformed);
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(AtomError::NotCanonical);
    }
    text.parse().map_err(|_| AtomError::Malformed)
}

/// Whether a note or proof may consist of these characters: no control character but newline.
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= 0x20 || byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn decimals_have_one_spelling() {
        for good in ["0", "7", "10", "18446744073709551615"] {
            assert_eq!(decimal(good).unwrap().to_string(), good);
        }
        for zero in ["00", "01", "0000000000000000000000000000"] {
            assert_eq!(decimal(zero), Err(AtomError::NotCanonical), "{zero}");
        }
        for bad in ["", "-1", "+1", " 1", "1 ", "1_0", "0x1", "18446744073709551616", "١"] {
            assert_eq!(decimal(bad), Err(AtomError::Malformed), "{bad}");
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        for good in ["", "AA==", "AAA=", "AAAA", "+/+/"] {
            assert_eq!(base64_encode(&base64_decode(good).unwrap()), good);
        }
        // Unused bits, missing or excess padding, the URL alphabet, white space.
        for bad in ["AB==", "AAB=", "AA", "AA=", "AAAA=", "AAAA====", "-_-_", "AA ==", "AAAA "] {
            assert_eq!(base64_decode(bad), Err(AtomError::NotCanonical), "{bad}");
        }
    }
}
