//! Signing in with tokens: which workspace trusts one, whether it is good, and the session it opens. Owns
//! the key sets of issuers: fetched when they are needed, refreshed beside the calls, kept for a while
//! when the issuer is down. Everything that is not clear is refused.

mod keys;
mod token;

use crate::call::header_of;
use crate::problem::Problem;
use axum::http::HeaderMap;
use bytes::Bytes;
use hyper::Request;
use keys::{Found, KeySet, is_signed};
use placet_outbound::{Bounds, Inside, Outbound};
use placet_policy::{Bundle, Issuer, TokenAlgorithm};
use placet_runtime::{ApiKey, Credential, KeyError, Plane, PlaneError, VerifiedToken, Workspace};
use placet_types::ids::{KeyId, TimeMs, WorkspaceName};
use placet_types::json::{self, Limits, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use token::Presented;
pub(crate) use token::{hash, is_token};

/// What an answer of an issuer may cost.
const ANSWER: Bounds = Bounds { within: Duration::from_secs(5), answer_max: 256 << 10 };
/// A set is fetched anew beside the calls after so long.
const REFRESH_MS: u64 = 300_000;
/// An issuer that is down is not missed for so long.
const KEEP_MS: u64 = 6 * 3_600_000;
/// Between two fetches for tokens that name unknown keys: whoever makes up names causes no more.
const UNKNOWN_MS: u64 = 10_000;
/// Between two fetches while there is no set at all.
const RETRY_MS: u64 = 2000;
/// How often sets are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Sets that are kept; a bundle names at most 64 issuers.
const SETS_MAX: usize = 4096;
/// A bundle may come into force between mapping and sequencing; then the token is mapped again.
const MOVED_MAX: usize = 8;

/// Where a set comes from: issuer, and where the policy says that its keys are.
type Origin = (String, Option<String>);

/// The key set of one issuer.
#[derive(Default)]
struct Source {
    /// The set and when it was fetched.
    set: RwLock<Option<(Arc<KeySet>, u64)>>,
    /// When it was tried last. One fetches, the others wait for that.
    tried: tokio::sync::Mutex<Option<u64>>,
}

/// Signing in with tokens.
pub(crate) struct Tokens {
    roots: Option<Vec<u8>>,
    inside: Inside,
    bounds: Bounds,
    outbound: OnceLock<Result<Outbound, String>>,
    sources: Mutex<HashMap<Origin, Arc<Source>>>,
    /// One after the other opens the session of a token, by the first bits of a hash of what is signed.
    opening: [tokio::sync::Mutex<()>; 64],
}

/// A workspace that trusts a token, and by which part of which bundle.
struct Trusting {
    workspace: Arc<Workspace>,
    bundle: Arc<Bundle>,
    at: usize,
}

impl Trusting {
    fn issuer(&self) -> Result<&Issuer, Problem> {
        self.bundle.issuers().get(self.at).ok_or_else(|| Problem::internal("an issuer is gone"))
    }
}

impl Tokens {
    /// `roots` are trust anchors besides those of the system, in PEM; `inside` are addresses at which issuers
    /// may be although they are not of the world: a bundle names issuers, and a bundle is a tenant's.
    pub(crate) fn new(roots: Option<Vec<u8>>, inside: Inside) -> Self {
        Self {
            roots,
            inside,
            bounds: ANSWER,
            outbound: OnceLock::new(),
            sources: Mutex::default(),
            opening: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
        }
    }

    /// Makes sure that the token in the header, if there is one, has opened its session.
    ///
    /// # Errors
    /// Why it opens none.
    pub(crate) async fn sign_in(
        &self,
        plane: &Plane,
        headers: &HeaderMap,
        now_ms: u64,
    ) -> Result<(), Problem> {
        let Some(text) = bearer(headers)?.filter(|text| is_token(text)) else { return Ok(()) };
        if self.known(plane, text)?.is_some() {
            return Ok(());
        }
        let named = header_of(headers, "placet-workspace")?;
        self.open(plane, text, named, false, now_ms).await.map(drop)
    }

    /// Exchanges the token in the header for a session with a key of its own.
    ///
    /// # Errors
    /// Why it opens none.
    pub(crate) async fn exchange(
        &self,
        plane: &Plane,
        headers: &HeaderMap,
        now_ms: u64,
    ) -> Result<(KeyId, ApiKey), Problem> {
        let text = bearer(headers)?.filter(|text| is_token(text));
        let text = text.ok_or_else(|| {
            let text = "send the token that is to be exchanged as the bearer, or name the `actor` \
                        to whom rights are handed on";
            Problem::missing("/actor", text)
        })?;
        if self.known(plane, text)?.is_some() {
            return Err(used());
        }
        let named = header_of(headers, "placet-workspace")?;
        let (key, secret) = self.open(plane, text, named, true, now_ms).await?;
        Ok((key, secret.ok_or_else(used)?))
    }

    fn known(&self, plane: &Plane, text: &str) -> Result<Option<Credential>, Problem> {
        plane.credential_of_token(&hash(text)).map_err(|error| match error {
            KeyError::SessionEnded => {
                Problem::new("token_expired", "the token has expired; get a new one")
            }
            other => other.into(),
        })
    }

    async fn open(
        &self,
        plane: &Plane,
        text: &str,
        named: Option<&str>,
        exchange: bool,
        now_ms: u64,
    ) -> Result<(KeyId, Option<ApiKey>), Problem> {
        let presented = Presented::parse(text)?;
        // As with its use: whatever has another signature over the same waits for this one.
        let digest = hash(presented.signed);
        let shard = usize::from(digest.0.first().copied().unwrap_or(0)) % self.opening.len();
        for _ in 0..MOVED_MAX {
            let trusting = trusting(plane, &presented, named)?;
            let verified = self.verify(&presented, trusting.issuer()?, plane.now(), now_ms).await?;
            let _one = match self.opening.get(shard) {
                Some(shard) => Some(shard.lock().await),
                None => None,
            };
            match self.known(plane, text)? {
                Some(known) if !exchange => return Ok((known.key, None)),
                Some(_) => return Err(used()),
                None => {}
            }
            let by = (trusting.bundle.as_ref(), trusting.issuer()?);
            match plane.open_session(&trusting.workspace, by, &verified, exchange).await {
                Ok(Some(opened)) => return Ok(opened),
                Ok(None) => {
                    let text = "the token is good, and no grant of its issuer meets its claims";
                    return Err(Problem::new("token_unmapped", text));
                }
                Err(PlaneError::PolicyMoved) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PlaneError::PolicyMoved.into())
    }

    async fn verify(
        &self,
        presented: &Presented<'_>,
        issuer: &Issuer,
        now: TimeMs,
        now_ms: u64,
    ) -> Result<VerifiedToken, Problem> {
        let algorithm = presented.algorithm(issuer)?;
        let refused = |why: &str| Problem::new("token_invalid", why);
        let origin = (issuer.issuer.clone(), issuer.jwks_uri.clone());
        let kid = presented.kid.as_deref();
        let set = self.set_for(origin, kid, algorithm, now_ms).await?;
        match set.find(kid, algorithm) {
            Found::Key(key) if is_signed(key, algorithm, presented.signed, presented.signature) => {
                presented.verified(issuer, now)
            }
            Found::Key(_) => Err(refused("the signature of the token is not good")),
            Found::Unknown => Err(refused("the issuer has no key that the token names")),
            Found::Unfit => {
                Err(refused("the key that the token names is not for the token's algorithm"))
            }
        }
    }

    /// A set that may have the key: the one that is there, or a fresh one.
    async fn set_for(
        &self,
        origin: Origin,
        kid: Option<&str>,
        algorithm: TokenAlgorithm,
        now_ms: u64,
    ) -> Result<Arc<KeySet>, Problem> {
        let source = self.source(&origin)?;
        let has = |set: &KeySet| !matches!(set.find(kid, algorithm), Found::Unknown);
        if let Some(set) = source.current(now_ms).filter(|set| has(set)) {
            return Ok(set);
        }
        let mut tried = source.tried.lock().await;
        let current = source.current(now_ms);
        if let Some(set) = current.clone().filter(|set| has(set)) {
            return Ok(set);
        }
        let gap = if current.is_some() { UNKNOWN_MS } else { RETRY_MS };
        if tried.is_none_or(|last| now_ms >= last.saturating_add(gap)) {
            *tried = Some(now_ms);
            source.fetch(self, &origin, now_ms).await;
        }
        source.current(now_ms).ok_or_else(|| {
            let text = "the keys of the token's issuer cannot be had; try again";
            Problem::new("issuer_unavailable", text).retry(RETRY_MS)
        })
    }

    fn source(&self, origin: &Origin) -> Result<Arc<Source>, Problem> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources.get(origin) {
            return Ok(source.clone());
        }
        if sources.len() >= SETS_MAX {
            return Err(Problem::overloaded("too many issuers at once; come back later"));
        }
        let source = Arc::new(Source::default());
        sources.insert(origin.clone(), source.clone());
        Ok(source)
    }

    /// Fetches what has become old, and forgets what no bundle names any more.
    pub(crate) async fn refresh(&self, plane: &Plane, now_ms: u64) {
        let named: Vec<Origin> = plane
            .all_workspaces()
            .iter()
            .filter_map(|workspace| workspace.bundle())
            .flat_map(|bundle| {
                let of = |it: &Issuer| (it.issuer.clone(), it.jwks_uri.clone());
                bundle.issuers().iter().map(of).collect::<Vec<_>>()
            })
            .collect();
        let sources: Vec<(Origin, Arc<Source>)> = {
            let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            sources.retain(|origin, _| named.contains(origin));
            sources.iter().map(|(origin, source)| (origin.clone(), source.clone())).collect()
        };
        for (origin, source) in sources {
            let fetched = source.fetched();
            if fetched.is_some_and(|at| now_ms < at.saturating_add(REFRESH_MS)) {
                continue;
            }
            let mut tried = source.tried.lock().await;
            *tried = Some(now_ms);
            source.fetch(self, &origin, now_ms).await;
        }
    }

    async fn get(&self, url: &str) -> Result<Bytes, String> {
        let outbound = self.outbound.get_or_init(|| {
            Outbound::outside(self.roots.as_deref(), self.inside.clone())
                .map_err(|error| error.to_string())
        });
        let outbound = outbound.as_ref().map_err(Clone::clone)?;
        let request = Request::get(url).header("accept", "application/json");
        let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
        let answer =
            outbound.send(request, self.bounds).await.map_err(|error| error.to_string())?;
        if answer.status().as_u16() == 200 {
            Ok(answer.into_body())
        } else {
            Err(format!("{url} answers {}", answer.status().as_u16()))
        }
    }

    async fn fetched(&self, (issuer, jwks_uri): &Origin) -> Result<KeySet, String> {
        let uri = match jwks_uri {
            Some(uri) => uri.clone(),
            None => {
                let base = issuer.trim_end_matches('/');
                let document =
                    self.get(&format!("{base}/.well-known/openid-configuration")).await?;
                discovered(issuer, &document)?
            }
        };
        KeySet::parse(&self.get(&uri).await?)
    }
}

impl Source {
    fn current(&self, now_ms: u64) -> Option<Arc<KeySet>> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        let (set, at) = set.as_ref()?;
        (now_ms < at.saturating_add(KEEP_MS)).then(|| set.clone())
    }

    fn fetched(&self) -> Option<u64> {
        self.set.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, at)| *at)
    }

    /// Fetches; what was there stays where nothing better comes.
    async fn fetch(&self, tokens: &Tokens, origin: &Origin, now_ms: u64) {
        match tokens.fetched(origin).await {
            Ok(set) => {
                let mut current = self.set.write().unwrap_or_else(PoisonError::into_inner);
                *current = Some((Arc::new(set), now_ms));
            }
            Err(why) => eprintln!("placet: the keys of {} cannot be had: {why}", origin.0),
        }
    }
}

/// Where the keys are, by the issuer's own word (OpenID Connect Discovery 1.0, section 4.3).
fn discovered(issuer: &str, document: &[u8]) -> Result<String, String> {
    let limits = Limits { bytes_max: document.len().max(1), ..Limits::REQUEST };
    let document = json::parse(document, limits)
        .map_err(|error| format!("its discovery document is not strict JSON: {error}"))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err("its discovery document is of another issuer".to_owned());
    }
    let uri = text("jwks_uri").ok_or_else(|| "its discovery document names no keys".to_owned())?;
    // Keys come by no weaker way than the word that they are good.
    if !uri.starts_with("https://") && issuer.starts_with("https://") {
        return Err("its discovery document names keys over plain http".to_owned());
    }
    Ok(uri.to_owned())
}

/// The workspace that a call means, where it trusts issuer and audience of the token: the one that is named,
/// or the first. No other is looked at: what one workspace trusts is nothing to the users of another, and
/// whoever writes a bundle there must not be asked whose token it is.
fn trusting(
    plane: &Plane,
    presented: &Presented<'_>,
    named: Option<&str>,
) -> Result<Trusting, Problem> {
    let issuer = presented.issuer()?;
    let workspace = match named {
        None => plane.root(),
        Some(name) => WorkspaceName::parse(name).and_then(|name| plane.workspace(&name)),
    };
    let trusts = |it: &Issuer| it.issuer == issuer && presented.is_for(&it.audience);
    let found = workspace.and_then(|workspace| {
        let bundle = workspace.bundle()?;
        let at = bundle.issuers().iter().position(trusts)?;
        Some(Trusting { workspace, bundle, at })
    });
    found.ok_or_else(|| {
        if named.is_none() && plane.all_workspaces().len() > 1 {
            let text = "the first workspace does not trust this token; name the one that it is for: \
                        Placet-Workspace";
            return Problem::new("workspace_unclear", text);
        }
        let text = "the workspace that this call means does not trust the issuer and the audience of \
                    the token";
        Problem::new("issuer_unknown", text)
    })
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let authorization = header_of(headers, "authorization")?;
    let parts = authorization.and_then(|it| it.split_once(' '));
    let bearer = parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(bearer.map(|(_, text)| text.trim()))
}

fn used() -> Problem {
    let text = "this token has opened a session already; use that, or get a new token";
    Problem::new("token_used", text)
}

#[cfg(test)]
mod tests;
