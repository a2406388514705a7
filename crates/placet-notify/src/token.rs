//! What a button carries: a verb, an approval, and a MAC that binds both to what was shown. Owns that
//! form; the key is the workspace's and comes in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use placet_types::ids::ApprovalId;
use placet_types::{Digest, Hasher};
use subtle::ConstantTimeEq;

/// Bytes of a token; Telegram takes 64.
pub const TOKEN_LEN: usize = 45;
/// Bytes of the MAC that are kept.
const MAC_LEN: usize = 16;

/// What a button asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Approve.
    Approve,
    /// Reject.
    Reject,
    /// Show it, to decide then.
    Review,
}

impl Verb {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Approve, "a"), (Self::Reject, "r"), (Self::Review, "v")];

    fn letter(self) -> &'static str {
        Self::ALL.into_iter().find(|(verb, _)| *verb == self).map_or("", |(_, letter)| letter)
    }
}

/// What a button is bound to: with anything else it does nothing.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The channel that it was sent to.
    pub channel: &'a str,
    /// The approval.
    pub approval: ApprovalId,
    /// Digest of the request that was shown.
    pub request: Digest,
    /// Digest of the action that was shown.
    pub action: Digest,
    /// Digest of the demand that was shown.
    pub requirement: Digest,
}

/// A button's data, read and not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it asks for.
    pub verb: Verb,
    /// Of which approval.
    pub approval: ApprovalId,
    mac: [u8; MAC_LEN],
}

impl Token {
    /// A button's data.
    #[must_use]
    pub fn seal<H: Hasher>(key: &[u8; 32], verb: Verb, bound: &Bound<'_>) -> String {
        let id = BASE64.encode(bound.approval.bytes());
        let mac = BASE64.encode(mac::<H>(key, verb, bound));
        format!("{}{id}{mac}", verb.letter())
    }

    /// Reads a button's data; `None` where it has another form. Each token has one spelling.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() != TOKEN_LEN || !text.is_ascii() {
            return None;
        }
        let (letter, rest) = text.split_at_checked(1)?;
        let (id, mac) = rest.split_at_checked(22)?;
        let (verb, _) = Verb::ALL.into_iter().find(|(_, known)| *known == letter)?;
        let bytes = |text: &str| <[u8; 16]>::try_from(BASE64.decode(text).ok()?).ok();
        Some(Self { verb, approval: ApprovalId::from_bytes(bytes(id)?), mac: bytes(mac)? })
    }

    /// Whether it was made for this. In constant time.
    #[must_use]
    pub fn is_for<H: Hasher>(&self, key: &[u8; 32], bound: &Bound<'_>) -> bool {
        self.approval == bound.approval
            && bool::from(mac::<H>(key, self.verb, bound).ct_eq(&self.mac))
    }
}

fn mac<H: Hasher>(key: &[u8; 32], verb: Verb, bound: &Bound<'_>) -> [u8; MAC_LEN] {
    let length = u32::try_from(bound.channel.len()).unwrap_or(u32::MAX).to_be_bytes();
    let whole = H::hmac(
        key,
        &[
            b"placet/button/1\0",
            verb.letter().as_bytes(),
            &length,
            bound.channel.as_bytes(),
            bound.approval.bytes(),
            &bound.request.0,
            &bound.action.0,
            &bound.requirement.0,
        ],
    );
    let mut out = [0; MAC_LEN];
    out.iter_mut().zip(whole).for_each(|(out, byte)| *out = byte);
    out
}

/// Whether two secrets are the same, in constant time but for their lengths.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    bool::from(a.ct_eq(b))
}
