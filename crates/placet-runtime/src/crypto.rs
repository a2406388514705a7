//! The fast cryptography of the server: hashing, sealing, signing, randomness. The formats are
//! elsewhere; here is only which library computes them.

use crate::ports::{Clock, Entropy, Secret, Signer};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use placet_types::hash::Hasher;
use placet_types::ids::TimeMs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// SHA-256 and HMAC by AWS-LC.
#[derive(Clone, Copy, Debug)]
pub struct Fast;

impl Hasher for Fast {
    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        let mut out = [0; 32];
        if let [one] = parts {
            out.copy_from_slice(digest::digest(&digest::SHA256, one).as_ref());
        } else {
            let mut ctx = digest::Context::new(&digest::SHA256);
            parts.iter().for_each(|part| ctx.update(part));
            out.copy_from_slice(ctx.finish().as_ref());
        }
        out
    }

    fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        KeyedHasher::new(key).tag(parts)
    }
}

/// SHA-256 of what comes in pieces.
pub struct Digester(digest::Context);

impl Default for Digester {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Digester {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all of them.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digester(..)")
    }
}

/// Block length of SHA-256 in bytes.
const BLOCK: usize = 64;

/// An HMAC key. HMAC is two calls of the hash (RFC 2104); the library's own HMAC context costs
/// three times as much for messages as short as ours. Checked against the library in the tests.
pub struct KeyedHasher {
    inner: Zeroizing<[u8; BLOCK]>,
    outer: Zeroizing<[u8; BLOCK]>,
}

impl KeyedHasher {
    /// From raw key bytes.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut inner = Zeroizing::new([0x36; BLOCK]);
        let mut outer = Zeroizing::new([0x5c; BLOCK]);
        let hashed = (key.len() > BLOCK).then(|| Fast::sha256(&[key]));
        let key = hashed.as_ref().map_or(key, |hash| hash.as_slice());
        for (at, byte) in key.iter().enumerate() {
            inner[at] ^= byte;
            outer[at] ^= byte;
        }
        Self { inner, outer }
    }

    /// HMAC-SHA-256 over the concatenation of `parts`.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut ctx = digest::Context::new(&digest::SHA256);
        ctx.update(self.inner.as_ref());
        parts.iter().for_each(|part| ctx.update(part));
        let message = ctx.finish();
        let mut last = [0; BLOCK + 32];
        last[..BLOCK].copy_from_slice(self.outer.as_ref());
        last[BLOCK..].copy_from_slice(message.as_ref());
        Fast::sha256(&[&last])
    }
}

impl std::fmt::Debug for KeyedHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedHasher(..)")
    }
}

/// Why sealed bytes do not open: wrong key or altered bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenError;

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sealed bytes do not open under this key")
    }
}

impl std::error::Error for OpenError {}

/// Bytes that sealing adds.
pub const SEAL_OVERHEAD: usize = 16;

/// AES-256-GCM under a key that is used for exactly one message, so the nonce is constant.
///
/// INVARIANT: callers never seal twice under one key; slots are used once and never reused.
pub fn seal_once(key: &[u8; 32], context: &[u8], plain: &mut Vec<u8>) {
    seal(key, [0; 12], context, plain);
}

/// Opens what [`seal_once`] sealed.
///
/// # Errors
/// [`OpenError`] when key, context or bytes differ.
pub fn open_once(key: &[u8; 32], context: &[u8], sealed: Vec<u8>) -> Result<Vec<u8>, OpenError> {
    open(key, [0; 12], context, sealed)
}

/// AES-256-GCM with an explicit nonce, for wrapping keys under a master key.
pub fn seal(key: &[u8; 32], nonce: [u8; 12], context: &[u8], plain: &mut Vec<u8>) {
    let sealed = aead(key).seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(context),
        plain,
    );
    // AES-GCM fails only beyond 64 GiB; payloads are bounded at 1 MiB.
    assert!(sealed.is_ok(), "payload beyond the bound of AES-GCM");
}

/// Opens what [`seal`] sealed.
///
/// # Errors
/// [`OpenError`] when key, nonce, context or bytes differ.
pub fn open(
    key: &[u8; 32],
    nonce: [u8; 12],
    context: &[u8],
    mut sealed: Vec<u8>,
) -> Result<Vec<u8>, OpenError> {
    let plain = aead(key)
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed)
        .map_err(|_| OpenError)?
        .len();
    sealed.truncate(plain);
    Ok(sealed)
}

fn aead(key: &[u8; 32]) -> LessSafeKey {
    match UnboundKey::new(&AES_256_GCM, key) {
        Ok(key) => LessSafeKey::new(key),
        Err(_) => unreachable!("AES-256-GCM takes any 32 bytes"),
    }
}

/// The randomness of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        // Without randomness there are no ids, keys or salts: stopping is the only safe answer.
        assert!(aws_lc_rs::rand::fill(out).is_ok(), "the operating system gives no randomness");
    }
}

impl SystemEntropy {
    /// A fresh 32-byte secret.
    #[must_use]
    pub fn secret(self) -> Secret {
        let mut out = Zeroizing::new([0; 32]);
        self.fill(out.as_mut());
        out
    }
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> TimeMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// An Ed25519 key in memory.
pub struct MemorySigner(Ed25519KeyPair);

impl MemorySigner {
    /// From the 32-byte seed of RFC 8032; `None` only if the library refuses it.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }
}

impl std::fmt::Debug for MemorySigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemorySigner(..)")
    }
}

impl Signer for MemorySigner {
    fn public_key(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.public_key().as_ref());
        out
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(self.0.sign(message).as_ref());
        out
    }
}

/// Whether `signature` is the Ed25519 signature of this key over `message`.
pub(crate) fn verify_ed25519(public_key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;

    #[test]
    fn our_hmac_is_the_librarys() {
        for key in [0, 1, 32, 63, 64, 65, 200] {
            for message in [0, 1, 55, 56, 64, 1000] {
                let key = vec![0xa7; key];
                let message: Vec<u8> = (0..=255).cycle().take(message).collect();
                let theirs = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &message);
                let (head, tail) = message.split_at(message.len() / 2);
                assert_eq!(Fast::hmac(&key, &[head, tail]), theirs.as_ref());
            }
        }
    }
}
