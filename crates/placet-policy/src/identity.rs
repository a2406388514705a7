//! Issuers of a bundle as whoever checks tokens reads them. Owns what claims give; refuses to know
//! tokens, keys and time.

use placet_types::ids::ActorKind;
use placet_types::json::{Object, Value};
use std::collections::{BTreeMap, BTreeSet};

/// With what a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// The word of `alg` in a token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name, if it is a safe one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }
}

/// What of a token decides about roles: the texts of each claim that a grant asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(BTreeMap<String, BTreeSet<String>>);

impl Claims {
    /// As it is kept in payloads.
    #[must_use]
    pub fn to_object(&self) -> Object {
        let mut out = Object::new();
        for (claim, values) in &self.0 {
            let values: Vec<Value> = values.iter().map(|it| Value::from(it.as_str())).collect();
            out.set(claim.as_str(), values);
        }
        out
    }

    /// Reads [`Claims::to_object`].
    #[must_use]
    pub fn from_object(object: &Object) -> Option<Self> {
        let mut out = BTreeMap::new();
        for (claim, values) in object.iter() {
            let texts: Option<BTreeSet<String>> =
                values.as_array()?.iter().map(|it| it.as_str().map(str::to_owned)).collect();
            out.insert(claim.to_owned(), texts?);
        }
        Some(Self(out))
    }
}

#[derive(Debug)]
struct Grant {
    claim: String,
    value: String,
    roles: BTreeSet<String>,
}

/// An issuer whose tokens are believed.
#[derive(Debug)]
pub struct Issuer {
    /// Its id.
    pub id: String,
    /// Its URL, as `iss` says it.
    pub issuer: String,
    /// What `aud` has to name.
    pub audience: String,
    /// Where its keys are; `None`: its discovery document says it.
    pub jwks_uri: Option<String>,
    /// With what its tokens may be signed.
    pub algorithms: BTreeSet<TokenAlgorithm>,
    /// Environment of its callers.
    pub environment: String,
    /// By how many milliseconds its clock may differ.
    pub leeway_ms: u64,
    /// How many milliseconds a token may live.
    pub max_life_ms: u64,
    /// How many milliseconds a session lives that a token is exchanged for.
    pub session_ms: u64,
    /// Claim with the name of the actor.
    pub name: String,
    /// Stands before the name.
    pub prefix: Option<String>,
    /// What its subjects are.
    pub actor: ActorKind,
    /// What those are that `act` names.
    pub delegates: ActorKind,
    grants: Vec<Grant>,
}

const LEEWAY_MS: u64 = 30_000;
const MAX_LIFE_MS: u64 = 86_400_000;
const SESSION_MS: u64 = 8 * 3_600_000;

impl Issuer {
    /// What of the claims of a token decides about roles.
    #[must_use]
    pub fn claims(&self, token: &Object) -> Claims {
        let mut out = BTreeMap::new();
        for grant in &self.grants {
            let values = claim(token, &grant.claim).map(|it| texts(&grant.claim, it));
            out.insert(grant.claim.clone(), values.unwrap_or_default());
        }
        Claims(out)
    }

    /// The roles that claims give; `None` where no grant meets them, which is less than none.
    #[must_use]
    pub fn granted(&self, claims: &Claims) -> Option<BTreeSet<String>> {
        let meets = |grant: &&Grant| {
            claims.0.get(&grant.claim).is_some_and(|values| values.contains(&grant.value))
        };
        let mut met = self.grants.iter().filter(meets).peekable();
        met.peek()?;
        Some(met.flat_map(|grant| grant.roles.iter().cloned()).collect())
    }

    /// The name of an actor of this issuer, without its kind.
    #[must_use]
    pub fn named(&self, name: &str) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.to_owned(),
        }
    }
}

/// A claim by its name, or by a JSON pointer (RFC 6901).
#[must_use]
pub fn claim<'t>(token: &'t Object, name: &str) -> Option<&'t Value> {
    let Some(path) = name.strip_prefix('/') else { return token.get(name) };
    let mut parts = path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
    let mut at = token.get(&parts.next()?)?;
    for part in parts {
        at = at.as_object()?.get(&part)?;
    }
    Some(at)
}

/// What a claim says: its text, the texts that it lists, or the words of a scope.
fn texts(name: &str, value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) if name == "scope" => text.split(' ').map(str::to_owned).collect(),
        Value::String(text) => BTreeSet::from([text.clone()]),
        Value::Array(items) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// All issuers, from documents that were checked.
pub(crate) fn issuers(documents: &BTreeMap<&'static str, Value>) -> Vec<Issuer> {
    let all = documents.get("identity").and_then(Value::as_array).unwrap_or_default();
    all.iter().filter_map(Value::as_object).filter_map(issuer).collect()
}

fn issuer(of: &Object) -> Option<Issuer> {
    let text = |name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| of.get(name).and_then(Value::as_u64);
    let kind = |name: &str, default| match of.get(name).and_then(Value::as_str) {
        Some("human") => ActorKind::Human,
        Some("agent") => ActorKind::Agent,
        Some("service") => ActorKind::Service,
        _ => default,
    };
    let list = |of: &Object, name: &str| -> Vec<String> {
        let items = of.get(name).and_then(Value::as_array).unwrap_or_default();
        items.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    let algorithms = match of.get("algorithms") {
        None => TokenAlgorithm::ALL.into(),
        Some(_) => {
            list(of, "algorithms").iter().filter_map(|it| TokenAlgorithm::parse(it)).collect()
        }
    };
    let grants = of.get("grants").and_then(Value::as_array).unwrap_or_default();
    let grant = |of: &Object| {
        let text = |name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
        let roles = list(of, "roles").into_iter().collect();
        Some(Grant { claim: text("claim")?, value: text("value")?, roles })
    };
    Some(Issuer {
        id: text("id")?,
        issuer: text("issuer")?,
        audience: text("audience")?,
        jwks_uri: text("jwks_uri"),
        algorithms,
        environment: text("environment")?,
        leeway_ms: number("leeway").unwrap_or(LEEWAY_MS),
        max_life_ms: number("max_life").unwrap_or(MAX_LIFE_MS),
        session_ms: number("session").unwrap_or(SESSION_MS),
        name: text("name").unwrap_or_else(|| "sub".to_owned()),
        prefix: text("prefix"),
        actor: kind("actor", ActorKind::Human),
        delegates: kind("delegates", ActorKind::Agent),
        grants: grants.iter().filter_map(Value::as_object).filter_map(grant).collect(),
    })
}
