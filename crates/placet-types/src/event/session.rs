//! Events about sessions: keys with an end, opened by a token of an issuer or by whoever hands on part
//! of what it may do itself. Owns their form; refuses to know tokens.

use super::other::Principal;
use super::read::Reader;
use super::{ActorRef, EntryError};
use crate::hash::Digest;
use crate::ids::{KeyId, TimeMs};
use crate::json::Writer;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Actors that a verified chain of delegation may name.
pub const CHAIN_MAX: usize = 8;

/// `session.opened`: its principal may act until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOpened {
    /// The principal, as of a key. Its hash is that of the secret, or of the token where that is what
    /// the caller goes on showing.
    pub principal: Principal,
    /// Id of the issuer whose token opened it; absent for one that was handed on.
    pub issuer: Option<String>,
    /// From this instant on it opens nothing.
    pub expires: TimeMs,
    /// On whose behalf its principal acts, outermost first: verified, at most [`CHAIN_MAX`].
    pub chain: Vec<ActorRef>,
    /// The key or session whose rights it has a part of, and with which it ends.
    pub parent: Option<KeyId>,
    /// The token that opened it, which opens no other.
    pub token: Option<TokenUse>,
}

/// A token that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// SHA-256 of what its signature is over: header and claims as they were sent.
    pub hash: Digest,
    /// From this instant on it would be refused for its age, so nobody has to remember it.
    pub until: TimeMs,
}

/// `session.narrowed`: the bundle that has come into force grants it fewer roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionNarrowed {
    /// The session.
    pub key: KeyId,
    /// What is left of its roles.
    pub roles: BTreeSet<String>,
}

/// Why a session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// By whoever it belongs to.
    Logout,
    /// By whoever handed it on.
    TakenBack,
    /// By an admin.
    Revoked,
}

impl CloseReason {
    /// `logout`, `taken_back`, `revoked`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::TakenBack => "taken_back",
            Self::Revoked => "revoked",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Logout, Self::TakenBack, Self::Revoked].into_iter().find(|it| it.as_str() == text)
    }
}

/// `session.closed`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionClosed {
    /// The session. Those that were handed on from it end with it.
    pub key: KeyId,
    /// Who closed it.
    pub by: ActorRef,
    /// Why.
    pub reason: CloseReason,
}

impl SessionOpened {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        if !self.chain.is_empty() {
            w.strings("chain", self.chain.iter().map(ActorRef::as_str));
        }
        w.uint("expires_ms", self.expires.0);
        w.str_opt("issuer", self.issuer.as_deref());
        w.str_opt("parent", self.parent.map(|key| key.to_string()).as_deref());
        w.nested("principal", |w| self.principal.write(w));
        if let Some(token) = &self.token {
            w.nested("token", |w| {
                w.digest("hash", &token.hash);
                w.uint("until_ms", token.until.0);
            });
        }
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let chain = if r.has("chain") { r.strings("chain")? } else { Vec::new() };
        let chain: Option<Vec<ActorRef>> =
            chain.iter().map(|actor| ActorRef::parse(actor)).collect();
        let chain = chain
            .filter(|chain| chain.len() <= CHAIN_MAX)
            .ok_or_else(|| EntryError::new("member \"chain\" is not what it should be"))?;
        let token = match r.object_opt("token")? {
            None => None,
            Some(mut token) => {
                let read = TokenUse {
                    hash: token.digest("hash")?,
                    until: TimeMs(token.uint("until_ms")?),
                };
                token.end()?;
                Some(read)
            }
        };
        Ok(Self {
            principal: Principal::read(r.object("principal")?)?,
            issuer: r.str_opt("issuer")?,
            expires: TimeMs(r.uint("expires_ms")?),
            chain,
            parent: r.parsed_opt("parent", KeyId::parse)?,
            token,
        })
    }
}

impl SessionNarrowed {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("key", &self.key.to_string());
        w.strings("roles", &self.roles);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            key: r.parsed("key", KeyId::parse)?,
            roles: r.strings("roles")?.into_iter().collect(),
        })
    }
}

impl SessionClosed {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str("key", &self.key.to_string());
        w.str("reason", self.reason.as_str());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            key: r.parsed("key", KeyId::parse)?,
            by: r.parsed("by", ActorRef::parse)?,
            reason: r.parsed("reason", CloseReason::parse)?,
        })
    }
}
