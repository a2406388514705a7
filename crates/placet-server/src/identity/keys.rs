//! Key sets of issuers (RFC 7517): which keys check which tokens. Owns what of a set is believed; refuses
//! to know where it comes from.

use jsonwebtoken::{Algorithm, DecodingKey};
use placet_policy::TokenAlgorithm;
use placet_types::json::{self, Limits, Object, Value};

/// Keys of a set that are looked at.
const KEYS_MAX: usize = 100;

/// The keys of one issuer that check tokens.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

struct Key {
    kid: Option<String>,
    /// What it can check by its type, and what it is for by its own word.
    algorithms: Vec<TokenAlgorithm>,
    key: DecodingKey,
}

/// What a set has for a token.
pub(super) enum Found<'k> {
    /// The key.
    Key(&'k DecodingKey),
    /// None of this name: the issuer may have a new one.
    Unknown,
    /// One of this name, and it is not for this algorithm.
    Unfit,
}

impl KeySet {
    /// Reads a set. Keys for other purposes and of other types are left out, as the standard asks.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let limits = Limits { bytes_max: bytes.len().max(1), ..Limits::REQUEST };
        let set = match json::parse(bytes, limits) {
            Ok(Value::Object(set)) => set,
            Ok(_) => return Err("its key set is no JSON object".to_owned()),
            Err(error) => return Err(format!("its key set is not strict JSON: {error}")),
        };
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| "its key set has no list `keys`".to_owned())?;
        if keys.len() > KEYS_MAX {
            return Err(format!("its key set has more than {KEYS_MAX} keys"));
        }
        Ok(Self(keys.iter().filter_map(Value::as_object).filter_map(key).collect()))
    }

    /// The key that a token names; one without a name is checked by the only key that could.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: TokenAlgorithm) -> Found<'_> {
        let fits = |key: &&Key| key.algorithms.contains(&algorithm);
        let Some(kid) = kid else {
            let mut fitting = self.0.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Found::Key(&key.key),
                (None, _) => Found::Unknown,
                _ => Found::Unfit,
            };
        };
        let mut named = self.0.iter().filter(|key| key.kid.as_deref() == Some(kid)).peekable();
        if named.peek().is_none() {
            return Found::Unknown;
        }
        named.find(fits).map_or(Found::Unfit, |key| Found::Key(&key.key))
    }
}

fn key(of: &Object) -> Option<Key> {
    let text = |name: &str| of.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    if let Some(operations) = of.get("key_ops").and_then(Value::as_array)
        && !operations.iter().any(|it| it.as_str() == Some("verify"))
    {
        return None;
    }
    let (able, key) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (
            &[TokenAlgorithm::Rs256, TokenAlgorithm::Ps256][..],
            DecodingKey::from_rsa_components(text("n")?, text("e")?).ok()?,
        ),
        ("EC", Some("P-256")) => (
            &[TokenAlgorithm::Es256][..],
            DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?,
        ),
        ("OKP", Some("Ed25519")) => {
            (&[TokenAlgorithm::EdDsa][..], DecodingKey::from_ed_components(text("x")?).ok()?)
        }
        _ => return None,
    };
    let algorithms: Vec<TokenAlgorithm> = match text("alg") {
        None => able.to_vec(),
        Some(alg) => able.iter().copied().filter(|it| it.as_str() == alg).collect(),
    };
    Some(Key { kid: text("kid").map(str::to_owned), algorithms, key })
}

/// Whether `signature` is good for `signed` under `key`. The key's own type decides what can check it.
pub(super) fn is_signed(
    key: &DecodingKey,
    algorithm: TokenAlgorithm,
    signed: &str,
    signature: &str,
) -> bool {
    let algorithm = match algorithm {
        TokenAlgorithm::Rs256 => Algorithm::RS256,
        TokenAlgorithm::Ps256 => Algorithm::PS256,
        TokenAlgorithm::Es256 => Algorithm::ES256,
        TokenAlgorithm::EdDsa => Algorithm::EdDSA,
    };
    jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm).unwrap_or(false)
}
