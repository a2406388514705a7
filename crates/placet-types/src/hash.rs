//! Digests and the one trait through which all crates hash. Owns the text form of a digest;
//! refuses to know which library computes it.

use alloc::string::String;
use core::fmt;

/// SHA-256 and HMAC-SHA-256 over parts, without state. The server implements it with a fast
/// native library, the offline verifier with a portable one.
pub trait Hasher: Copy + Send + Sync + 'static {
    /// SHA-256 (FIPS 180-4) over the concatenation of `parts`.
    fn sha256(parts: &[&[u8]]) -> [u8; 32];
    /// HMAC-SHA-256 (RFC 2104) under `key` over the concatenation of `parts`.
    fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32];
}

/// A SHA-256 digest or HMAC-SHA-256 commitment: 32 bytes, `sha256:` and 64 lower-case hex digits
/// as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Parses `sha256:<64 lower-case hex digits>`; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_hex(text.strip_prefix("sha256:")?)
    }

    /// Parses 64 lower-case hex digits.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<Self> {
        let mut out = [0; 32];
        hex_decode(text, &mut out)?;
        Some(Self(out))
    }

    /// The 64 hex digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        hex_encode(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-case hex of `bytes`.
#[must_use]
pub fn hex_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        out.push(char::from(hex_byte(byte >> 4)));
        out.push(char::from(hex_byte(byte & 15)));
    }
    out
}

/// Decodes exactly `out.len()` bytes of lower-case hex; `None` on any other length or character.
#[must_use]
pub fn hex_decode(text: &str, out: &mut [u8]) -> Option<()> {
    let bytes = text.as_bytes();
    if bytes.len() != out.len().checked_mul(2)? {
        return None;
    }
    for (pair, slot) in bytes.chunks_exact(2).zip(out) {
        let [high, low] = pair else { return None };
        *slot = (hex_value(*high)? << 4) | hex_value(*low)?;
    }
    Some(())
}

pub(crate) const fn hex_byte(value: u8) -> u8 {
    match value {
        0..=9 => b'0'.wrapping_add(value),
        _ => b'a'.wrapping_add(value.wrapping_sub(10)),
    }
}

/// The value of each lower-case hex digit; 255 for every other byte.
const HEX_VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        #[expect(clippy::indexing_slicing, reason = "in a constant, where it cannot fail later")]
        {
            values[hex_byte(digit) as usize] = digit;
        }
        digit = digit.wrapping_add(1);
    }
    values
};

fn hex_value(digit: u8) -> Option<u8> {
    HEX_VALUES.get(usize::from(digit)).copied().filter(|value| *value < 16)
}
