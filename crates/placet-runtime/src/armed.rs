//! The armed certificate: only the armed state is signed. It names the last override entry of the
//! first workspace; missing, unreadable, altered or older than the log, it counts as tripped.

use crate::ports::Signer;
use placet_types::hash::{hex_decode, hex_encode};
use placet_types::json::{self, Limits, Object, Value};

/// What may be missing at the end of one that was set aside: half of the signature's digits, which nobody guesses,
/// and what follows them.
const CUT_MAX: usize = 64 + br#"","v":1}"#.len();

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

/// The override entry that the beginning of a certificate of this instance names: what is kept of one that was set
/// aside. At least half of the signature has to be there.
pub(crate) fn began(beginning: &[u8], instance: &str, signer: &dyn Signer) -> Option<u64> {
    let text = std::str::from_utf8(beginning).ok()?;
    let (_, rest) = text.split_once("\"last_override\":")?;
    let named = rest.split_once(',')?.0.parse().ok()?;
    is_cut_from(beginning, &certificate(instance, named, signer)).then_some(named)
}

/// Whether this is what is left of that certificate, set aside.
pub(crate) fn is_cut_from(beginning: &[u8], whole: &[u8]) -> bool {
    whole.starts_with(beginning) && beginning.len() + CUT_MAX >= whole.len()
}

fn body(instance: &str, last_override: u64) -> Vec<u8> {
    format!("placet/armed/1\n{instance}\n{last_override}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Fast;
    use placet_types::hash::Hasher;

    struct Keyed(u8);

    impl Signer for Keyed {
        fn public_key(&self) -> [u8; 32] {
            [self.0; 32]
        }

        fn sign(&self, message: &[u8]) -> [u8; 64] {
            let mut signature = [self.0; 64];
            signature[..32].copy_from_slice(&Fast::sha256(&[message]));
            signature
        }
    }

    #[test]
    fn the_beginning_of_a_certificate_names_its_entry_and_arms_nothing() {
        let whole = certificate("inst_1", 42, &Keyed(1));
        assert_eq!(names(&whole, "inst_1", &Keyed(1)), Some(42));
        let cut = &whole[..whole.len() - 70];
        assert_eq!(began(cut, "inst_1", &Keyed(1)), Some(42));
        assert_eq!(names(cut, "inst_1", &Keyed(1)), None);
        assert_eq!(began(cut, "inst_2", &Keyed(1)), None);
        assert_eq!(began(&whole[..whole.len() - 80], "inst_1", &Keyed(1)), None, "too short");
        for at in 0..cut.len() {
            let mut altered = cut.to_vec();
            altered[at] ^= 1;
            assert_ne!(began(&altered, "inst_1", &Keyed(1)), Some(42), "byte {at}");
        }
    }
}
