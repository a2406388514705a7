//! The trust file: which keys may sign for which log, over which sizes. Owns its JSON; refuses to
//! take a key from anywhere else, least of all from a receipt.

use crate::note::{KeyId, NoteError, VerifierKey};
use crate::policy::Policy;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use placet_types::hash::Hasher;
use placet_types::json::{Limits, Object, ParseError, Value, parse};

mod rotation;

pub use rotation::{ChainError, RotationError};

/// Bounds of a trust file: 1 MiB, nesting 8, integers only.
const LIMITS: Limits = Limits { bytes_max: 1 << 20, depth_max: 8, ..Limits::ENTRY };

/// Whether a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// Signs now.
    Active,
    /// Signed up to `to_size`, which it must have; what it signed then stays good.
    Retired,
    /// Counts for nothing, at no size.
    Revoked,
}

impl KeyStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "active" => Some(Self::Active),
            "retired" => Some(Self::Retired),
            "revoked" => Some(Self::Revoked),
            _ => None,
        }
    }
}

/// A pinned key. Its name is the origin for whose checkpoints it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustKey {
    /// The key.
    pub key: VerifierKey,
    /// Smallest tree size it may sign.
    pub from_size: u64,
    /// Largest tree size it may sign; none means no bound.
    pub to_size: Option<u64>,
    /// Whether it counts.
    pub status: KeyStatus,
}

impl TrustKey {
    /// An active key for every size.
    #[must_use]
    pub fn active(key: VerifierKey) -> Self {
        Self { key, from_size: 0, to_size: None, status: KeyStatus::Active }
    }

    /// Whether `size` is one that this key may sign; says nothing about revocation.
    #[must_use]
    pub fn covers(&self, size: u64) -> bool {
        size >= self.from_size && self.to_size.is_none_or(|to| size <= to)
    }
}

/// The pinned keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    keys: Vec<TrustKey>,
}

/// Why a trust file is refused. `at` is the place of the key in the list, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustError {
    /// Not strict JSON.
    Json(ParseError),
    /// The top level is not `{"v":1,"keys":[…]}`.
    Shape,
    /// A key has a missing, unknown or ill-typed member.
    Member {
        /// Place of the key.
        at: usize,
    },
    /// The `vkey` is refused.
    Key {
        /// Place of the key.
        at: usize,
        /// Why.
        error: NoteError,
    },
    /// `from_size` is above `to_size`, or a retired key has no `to_size`.
    Range {
        /// Place of the key.
        at: usize,
    },
    /// Name and key id occur twice: it would be unclear which status holds.
    Duplicate {
        /// Place of the second.
        at: usize,
    },
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(_) => f.write_str("the trust file is not strict json"),
            Self::Shape => f.write_str("the trust file is not version 1 with a list of keys"),
            Self::Member { at } => write!(f, "key {at} has a missing, unknown or ill-typed member"),
            Self::Key { at, .. } => write!(f, "key {at} has a malformed vkey"),
            Self::Range { at } => write!(f, "key {at} has no valid size range"),
            Self::Duplicate { at } => write!(f, "key {at} occurs twice"),
        }
    }
}

impl core::error::Error for TrustError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            Self::Key { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl Trust {
    /// Trust in `keys`.
    ///
    /// # Errors
    /// [`TrustError::Range`] or [`TrustError::Duplicate`].
    pub fn new(keys: Vec<TrustKey>) -> Result<Self, TrustError> {
        for (at, key) in keys.iter().enumerate() {
            let unbounded = key.status == KeyStatus::Retired && key.to_size.is_none();
            if unbounded || key.to_size.is_some_and(|to| to < key.from_size) {
                return Err(TrustError::Range { at });
            }
            let same = |other: &TrustKey| {
                other.key.name() == key.key.name() && other.key.id() == key.key.id()
            };
            if keys.iter().take(at).any(same) {
                return Err(TrustError::Duplicate { at });
            }
        }
        Ok(Self { keys })
    }

    /// This trust, and active keys for the log lines of `policy` besides. What is already pinned
    /// stays as it is, so that no policy brings a revoked key back.
    ///
    /// # Errors
    /// None in practice: ranges without bounds cannot clash.
    pub fn with_logs_of(&self, policy: &Policy) -> Result<Self, TrustError> {
        let mut keys = self.keys.clone();
        for log in policy.logs() {
            if self.find(log.key().name(), log.key().id()).is_none() {
                keys.push(TrustKey::active(log.key().clone()));
            }
        }
        Self::new(keys)
    }

    /// Parses a trust file:
    /// `{"v":1,"keys":[{"vkey":…,"from_size":0,"to_size":9,"status":"retired"}]}`. `to_size` may be
    /// absent; every other member is required and no further one is allowed.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn parse<H: Hasher>(bytes: &[u8]) -> Result<Self, TrustError> {
        let value = parse(bytes, LIMITS).map_err(TrustError::Json)?;
        let top = value.as_object().ok_or(TrustError::Shape)?;
        let version = top.get("v").and_then(Value::as_i64);
        let keys = top.get("keys").and_then(Value::as_array);
        let (Some(1), Some(keys), 2) = (version, keys, top.len()) else {
            return Err(TrustError::Shape);
        };
        let parsed: Result<Vec<TrustKey>, TrustError> =
            keys.iter().enumerate().map(|(at, key)| parse_key::<H>(at, key)).collect();
        Self::new(parsed?)
    }

    /// The trust file's canonical text.
    #[must_use]
    pub fn write(&self) -> String {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|key| {
                Value::from(
                    Object::new()
                        .with("vkey", key.key.to_string())
                        .with("from_size", key.from_size)
                        .with_opt("to_size", key.to_size)
                        .with("status", key.status.as_str()),
                )
            })
            .collect();
        Value::from(Object::new().with("v", 1_i64).with("keys", keys)).to_text()
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> &[TrustKey] {
        &self.keys
    }

    /// The key with this name and id.
    #[must_use]
    pub fn find(&self, name: &str, id: KeyId) -> Option<&TrustKey> {
        self.keys.iter().find(|key| key.key.id() == id && key.key.name() == name)
    }

    /// Whether any key is pinned for `origin`.
    #[must_use]
    pub fn knows(&self, origin: &str) -> bool {
        self.keys.iter().any(|key| key.key.name() == origin)
    }
}

fn parse_key<H: Hasher>(at: usize, value: &Value) -> Result<TrustKey, TrustError> {
    let member = TrustError::Member { at };
    let Some(object) = value.as_object() else {
        return Err(member);
    };
    let known = |key: &str| matches!(key, "vkey" | "from_size" | "to_size" | "status");
    let to_size = match object.get("to_size") {
        None => Some(None),
        Some(to) => to.as_u64().map(Some),
    };
    let (Some(vkey), Some(from_size), Some(to_size), Some(status), true) = (
        object.get("vkey").and_then(Value::as_str),
        object.get("from_size").and_then(Value::as_u64),
        to_size,
        object.get("status").and_then(Value::as_str).and_then(KeyStatus::parse),
        object.iter().all(|(key, _)| known(key)),
    ) else {
        return Err(member);
    };
    let key = VerifierKey::parse::<H>(vkey).map_err(|error| TrustError::Key { at, error })?;
    Ok(TrustKey { key, from_size, to_size, status })
}
