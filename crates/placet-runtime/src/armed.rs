//! The armed certificate: only the armed state is signed. It names the last override entry of the
//! first workspace; missing, unreadable, altered or older than the log, it counts as tripped.

use crate::ports::Signer;
use placet_types::hash::{hex_decode, hex_encode};
use placet_types::json::{self, Limits, Object, Value};

/// The bytes of a certificate.
pub(crate) fn certificate(instance: &str, last_override: u64, signer: &dyn Signer) -> Vec<u8> {
    let body = body(instance, last_override);
    let signature = hex_encode(&signer.sign(&body));
    let object = Object::new()
        .with("instance", instance)
        .with("last_override", last_override)
        .with("signature", signature)
        .with("v", 1_i64);
    Value::Object(object).to_canonical()
}

/// Whether `bytes` are the certificate for exactly this override entry. Ed25519 is deterministic,
/// so a certificate is checked by making it again.
pub(crate) fn is_armed(
    bytes: &[u8],
    instance: &str,
    last_override: u64,
    signer: &dyn Signer,
) -> bool {
    let Ok(value) = json::parse(bytes, Limits::ENTRY) else { return false };
    let mut signature = [0; 64];
    let signed = value
        .get("signature")
        .and_then(Value::as_str)
        .and_then(|text| hex_decode(text, &mut signature))
        .is_some();
    signed && bytes == certificate(instance, last_override, signer)
}

/// The override entry that a certificate of this instance names, whichever that is.
pub(crate) fn names(bytes: &[u8], instance: &str, signer: &dyn Signer) -> Option<u64> {
    let named = json::parse(bytes, Limits::ENTRY).ok()?.get("last_override")?.as_u64()?;
    is_armed(bytes, instance, named, signer).then_some(named)
}

fn body(instance: &str, last_override: u64) -> Vec<u8> {
    format!("placet/armed/1\n{instance}\n{last_override}\n").into_bytes()
}
