//! Webhooks: CloudEvents 1.0 in structured mode, signed as Standard Webhooks says.

use crate::retry::{Attempt, retry_after_ms};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use placet_types::Hasher;
use placet_types::ids::TimeMs;
use placet_types::json::{Object, Value};

/// Content type of what is sent.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";
/// Fewest and most bytes of a signing key.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Most keys at once: the new one and the one before.
const KEYS_MAX: usize = 4;

/// What happened, as it is sent.
#[derive(Debug)]
pub struct Event<'a> {
    /// The same for each attempt.
    pub id: &'a str,
    /// `placet/<instance>/<workspace>`.
    pub origin: &'a str,
    /// A word of `on:`.
    pub told: &'a str,
    /// What it is about: a decision or an approval.
    pub subject: Option<&'a str>,
    /// When it was recorded.
    pub time: TimeMs,
    /// What there is to say.
    pub data: Object,
}

impl Event<'_> {
    /// The body, as canonical JSON.
    #[must_use]
    pub fn body(self) -> Vec<u8> {
        let event = Object::new()
            .with("specversion", "1.0")
            .with("id", self.id)
            .with("source", format!("urn:{}", self.origin.replace('/', ":")))
            .with("type", format!("placet.{}.v1", self.told))
            .with_opt("subject", self.subject)
            .with("time", self.time.rfc3339())
            .with("datacontenttype", "application/json")
            .with("data", self.data);
        Value::Object(event).to_canonical()
    }
}

/// The signing keys in a secret: a line each, `whsec_` and base64. Everything is signed with all of them,
/// so that a key is replaced without a gap.
///
/// # Errors
/// What is wrong with it; never the secret itself.
pub fn keys(secret: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut keys = Vec::new();
    for text in secret.lines().map(str::trim).filter(|text| !text.is_empty()) {
        let encoded = text.strip_prefix("whsec_").ok_or("a line does not begin with whsec_")?;
        let key = BASE64.decode(encoded).map_err(|_| "after whsec_ there is no base64")?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err("a key has fewer than 24 bytes or more than 64");
        }
        keys.push(key);
    }
    match keys.len() {
        0 => Err("there is no key in it"),
        1..=KEYS_MAX => Ok(keys),
        _ => Err("there are more than four keys in it"),
    }
}

/// Header `webhook-signature`.
#[must_use]
pub fn signature<H: Hasher>(keys: &[Vec<u8>], id: &str, seconds: u64, body: &[u8]) -> String {
    let seconds = seconds.to_string();
    let sign = |key: &Vec<u8>| {
        let parts: [&[u8]; 5] = [id.as_bytes(), b".", seconds.as_bytes(), b".", body];
        format!("v1,{}", BASE64.encode(H::hmac(key, &parts)))
    };
    keys.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// What an answer means. Whoever is down answers in many ways, a proxy before it with 302, 401 or 404: only what
/// says that this event will never be taken ends it.
#[must_use]
pub fn judge(status: u16, retry_after: Option<&str>) -> Attempt<()> {
    let why = format!("the receiver answers {status}");
    match status {
        200..=299 => Attempt::Done(()),
        410 | 413 | 422 => Attempt::Never(why),
        300..=399 => Attempt::Again(None, format!("{why}; redirects are not followed")),
        _ => Attempt::Again(retry_after_ms(retry_after), why),
    }
}
