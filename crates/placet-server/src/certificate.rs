//! What of a client's certificate counts here: its public key and its end. Owns how they are found in it
//! (X.509, RFC 5280; DER); refuses to know who trusts it: that is settled in the handshake, or, for a
//! certificate that is brought as text, when it is first used.

use crate::audit::instant_of;
use placet_runtime::crypto::Fast;
use placet_types::Digest;
use placet_types::hash::Hasher;
use placet_types::ids::TimeMs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// A certificate that the other end of a connection has proven to be its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER): what `openssl pkey -pubin -outform DER` hashes to.
    pub(crate) public_key: Digest,
    /// The last instant at which it is good.
    pub(crate) not_after: TimeMs,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl ClientCertificate {
    /// Of a certificate in DER.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let mut certificate = Der(der).take(SEQUENCE)?;
        let mut body = certificate.take(SEQUENCE)?;
        if body.next_is(VERSION) {
            body.any()?;
        }
        body.take(INTEGER)?;
        // The signature's algorithm and the issuer.
        body.take(SEQUENCE)?;
        body.take(SEQUENCE)?;
        let mut validity = body.take(SEQUENCE)?;
        validity.time()?;
        let not_after = validity.time()?;
        // The subject.
        body.take(SEQUENCE)?;
        let (tag, whole, _) = body.element()?;
        let public_key = Digest(Fast::sha256(&[whole]));
        (tag == SEQUENCE).then_some(Self { public_key, not_after })
    }

    /// Of a text with one certificate in PEM, and no other.
    pub(crate) fn of_pem(text: &str) -> Option<Self> {
        let mut found = CertificateDer::pem_slice_iter(text.as_bytes());
        let one = found.next()?.ok()?;
        found.next().is_none().then(|| Self::of(&one)).flatten()
    }
}

/// What is left of a piece of DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next_is(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The next element: its tag, all of it, and what it holds.
    fn element(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // A length that comes later is not DER.
            0x80 => return None,
            // No certificate is larger than four bytes of length can say.
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let digit = |length: usize, byte: &u8| length << 8 | usize::from(*byte);
                (digits.iter().fold(0, digit), rest)
            }
            _ => return None,
        };
        let (held, left) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - left.len())?;
        self.0 = left;
        Some((tag, whole, held))
    }

    fn any(&mut self) -> Option<()> {
        self.element().map(drop)
    }

    fn take(&mut self, tag: u8) -> Option<Der<'a>> {
        let (found, _, held) = self.element()?;
        (found == tag).then_some(Der(held))
    }

    /// RFC 5280, section 4.1.2.5: always in UTC and with seconds; two digits of a year from 1950 to 2049.
    fn time(&mut self) -> Option<TimeMs> {
        let (tag, _, held) = self.element()?;
        let text = std::str::from_utf8(held).ok()?.strip_suffix('Z')?;
        let (century, text) = match tag {
            UTC_TIME if text.get(..2)? < "50" => ("20", text),
            UTC_TIME => ("19", text),
            GENERALIZED_TIME => text.split_at_checked(2)?,
            _ => return None,
        };
        if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let part = |at: usize| text.get(at..at + 2).unwrap_or_default();
        let [year, month, day, hour, minute, second] = [0, 2, 4, 6, 8, 10].map(part);
        instant_of(&format!("{century}{year}-{month}-{day}T{hour}:{minute}:{second}Z"), TimeMs(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> rcgen::CertificateParams {
        rcgen::CertificateParams::new(vec!["ann.example".to_owned()]).unwrap()
    }

    #[test]
    fn public_key_and_end_are_found() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = params();
        for (year, end) in [(2031, 1_930_089_600_000), (2051, 2_561_241_600_000)] {
            params.not_after = rcgen::date_time_ymd(year, 3, 1);
            let made = params.self_signed(&key).unwrap();
            let found = ClientCertificate::of_pem(&made.pem()).unwrap();
            assert_eq!(found.not_after, TimeMs(end), "{year}");
            use rcgen::PublicKeyData;
            let spki = key.subject_public_key_info();
            assert_eq!(found.public_key, Digest(Fast::sha256(&[&spki])));
        }
    }

    #[test]
    fn nothing_else_is_one() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params().self_signed(&key).unwrap();
        let (pem, der) = (made.pem(), made.der());
        let two = format!("{pem}{pem}");
        for text in ["", "nonsense", two.as_str(), key.serialize_pem().as_str()] {
            assert_eq!(ClientCertificate::of_pem(text), None, "{text}");
        }
        // Whatever is cut off or altered: an answer, and no panic.
        for length in 0..der.len() {
            assert_eq!(ClientCertificate::of(&der[..length]), None);
        }
        for at in 0..der.len() {
            let mut altered = der.to_vec();
            altered[at] ^= 0xff;
            let _ = ClientCertificate::of(&altered);
        }
    }
}
