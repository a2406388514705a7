//! Tokens (RFC 7519): their form, their claims and what they say of who acts for whom (RFC 8693). Owns
//! every refusal but that of the signature; refuses to know where keys come from.

use crate::problem::Problem;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use placet_policy::{Issuer, TokenAlgorithm, claim};
use placet_runtime::VerifiedToken;
use placet_runtime::crypto::Fast;
use placet_types::Digest;
use placet_types::event::{CHAIN_MAX, TokenUse};
use placet_types::hash::Hasher;
use placet_types::ids::{ActorId, ActorKind, TimeMs};
use placet_types::json::{self, Limits, Object, Value};

/// Bytes of a token.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Depth of what is in it.
const DEPTH_MAX: usize = 32;
/// Bytes of the name of a key.
const KID_BYTES_MAX: usize = 256;
/// Types that a token may say it is of. Others are made for other purposes: logging out, proving a key.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// Whether a bearer credential has the form of a token: three parts. Keys have two.
pub(crate) fn is_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// SHA-256 of the text of a token, or of a part of it.
pub(crate) fn hash(text: &str) -> Digest {
    Digest(Fast::sha256(&[text.as_bytes()]))
}

/// A token taken apart, nothing of it believed.
pub(super) struct Presented<'t> {
    text: &'t str,
    pub(super) signed: &'t str,
    pub(super) signature: &'t str,
    pub(super) algorithm: String,
    pub(super) kid: Option<String>,
    claims: Object,
}

fn invalid(why: impl Into<String>) -> Problem {
    Problem::new("token_invalid", why)
}

fn part(text: &str, what: &str) -> Result<Object, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    let bytes = bytes.map_err(|_| invalid(format!("the {what} of the token is no base64url")))?;
    let limits = Limits { bytes_max: TOKEN_BYTES_MAX, depth_max: DEPTH_MAX, ..Limits::REQUEST };
    // Strict: of two claims of one name, two readers could believe different ones.
    match json::parse(&bytes, limits) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(invalid(format!("the {what} of the token is no JSON object"))),
        Err(error) => Err(invalid(format!("the {what} of the token is not strict JSON: {error}"))),
    }
}

impl<'t> Presented<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, Problem> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(invalid(format!("a token has at most {TOKEN_BYTES_MAX} bytes")));
        }
        let malformed = || invalid("expected three parts: header, claims and signature");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let header = part(header, "header")?;
        let claims = part(claims, "body")?;
        let word = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        if header.get("crit").is_some() {
            return Err(invalid("the token demands extensions (`crit`) that are not known here"));
        }
        let kind = match header.get("typ") {
            None => None,
            Some(Value::String(kind)) => Some(kind.to_ascii_lowercase()),
            Some(_) => return Err(invalid("`typ` of the token is no text")),
        };
        if kind.is_some_and(|kind| !TYPES.contains(&kind.as_str())) {
            return Err(invalid("the token is of a type (`typ`) that is not for signing in"));
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
            Some(_) => return Err(invalid("`kid` of the token is no short text")),
        };
        let algorithm = word("alg").ok_or_else(|| invalid("the token names no algorithm"))?;
        Ok(Self { text, signed, signature, algorithm, kid, claims })
    }

    /// Who says to have made it.
    pub(super) fn issuer(&self) -> Result<&str, Problem> {
        let issuer = self.claims.get("iss").and_then(Value::as_str);
        issuer.ok_or_else(|| invalid("the token names no issuer (`iss`)"))
    }

    /// Whether it is for this audience.
    pub(super) fn is_for(&self, audience: &str) -> bool {
        match self.claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(all)) => all.iter().any(|it| it.as_str() == Some(audience)),
            _ => false,
        }
    }

    /// The algorithm, if it is one of those that the issuer's tokens may have.
    pub(super) fn algorithm(&self, issuer: &Issuer) -> Result<TokenAlgorithm, Problem> {
        TokenAlgorithm::parse(&self.algorithm)
            .filter(|algorithm| issuer.algorithms.contains(algorithm))
            .ok_or_else(|| {
                invalid("the algorithm of the token is not one that the policy lets its issuer use")
            })
    }

    /// What a token with a good signature says at `now`.
    pub(super) fn verified(&self, issuer: &Issuer, now: TimeMs) -> Result<VerifiedToken, Problem> {
        let instant = |name: &str| match self.claims.get(name) {
            None => Ok(None),
            Some(value) => {
                let seconds = value.as_u64().and_then(|seconds| seconds.checked_mul(1000));
                let wrong = || invalid(format!("`{name}` is no whole number of seconds"));
                seconds.map(Some).ok_or_else(wrong)
            }
        };
        let needed = |name: &str| {
            instant(name)?.ok_or_else(|| invalid(format!("the token lacks the claim `{name}`")))
        };
        let (expires, issued) = (needed("exp")?, needed("iat")?);
        let until = expires.saturating_add(issuer.leeway_ms);
        if now.0 >= until {
            return Err(Problem::new("token_expired", "the token has expired; get a new one"));
        }
        let latest = now.0.saturating_add(issuer.leeway_ms);
        if instant("nbf")?.is_some_and(|from| from > latest) {
            return Err(invalid("the token is not valid yet (`nbf`)"));
        }
        if issued > latest {
            return Err(invalid("the token was issued in the future (`iat`)"));
        }
        if expires.saturating_sub(issued) > issuer.max_life_ms {
            return Err(invalid("the token lives longer than the policy lets it (`max_life`)"));
        }
        let name = claim(&self.claims, &issuer.name).and_then(Value::as_str);
        let lacks = || invalid(format!("the token lacks the claim `{}` with a name", issuer.name));
        let subject = actor(issuer, issuer.actor, name.ok_or_else(lacks)?)?;
        let mut chain = self.actors(issuer)?;
        // The current actor stands outermost in `act`, those before it within.
        chain.push(subject);
        chain.reverse();
        let actor = chain.pop().ok_or_else(|| Problem::internal("a token of nobody"))?;
        if chain.len() > CHAIN_MAX {
            let text = format!("the token names more than {CHAIN_MAX} actors before the last");
            return Err(Problem::new("chain_too_deep", text));
        }
        Ok(VerifiedToken {
            actor,
            chain,
            claims: issuer.claims(&self.claims),
            token: TokenUse { hash: hash(self.signed), until: TimeMs(until) },
            bearer: hash(self.text),
        })
    }

    /// Actors of `act`, the current one first.
    fn actors(&self, issuer: &Issuer) -> Result<Vec<ActorId>, Problem> {
        let mut actors = Vec::new();
        let mut next = self.claims.get("act");
        while let Some(act) = next {
            let act = act.as_object().ok_or_else(|| invalid("`act` is no JSON object"))?;
            let foreign = act.get("iss").is_some_and(|it| it.as_str() != Some(&issuer.issuer));
            if foreign {
                return Err(invalid("`act` names an actor of another issuer"));
            }
            let name = act.get("sub").and_then(Value::as_str);
            let name = name.ok_or_else(|| invalid("`act` names nobody (`sub`)"))?;
            actors.push(actor(issuer, issuer.delegates, name)?);
            next = act.get("act");
        }
        Ok(actors)
    }
}

fn actor(issuer: &Issuer, kind: ActorKind, name: &str) -> Result<ActorId, Problem> {
    let text = format!("{}:{}", kind.as_str(), issuer.named(name));
    ActorId::parse(&text).ok_or_else(|| {
        invalid(
            "the name in the token is no name: letters, digits and . _ @ : / + -, up to 200 bytes",
        )
    })
}
