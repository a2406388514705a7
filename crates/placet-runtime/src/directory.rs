//! API keys: their text, and the directory that maps a key to its principal. State keeps hashes and
//! pseudonyms; names come from payloads.

use crate::crypto::Fast;
use crate::host::Host;
use crate::people::People;
use crate::ports::{Secret, WorkspaceNo};
use crate::sessions::{SessionRecord, SessionTable};
use arc_swap::ArcSwap;
use placet_types::Digest;
use placet_types::hash::{Hasher, hex_decode, hex_encode};
use placet_types::ids::{ActorId, KeyId, TimeMs};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The text of an API key: `key_<32 hex>.<64 hex>`. Shown once, never stored.
pub struct ApiKey {
    /// Its public id.
    pub id: KeyId,
    secret: Secret,
}

impl ApiKey {
    pub(crate) fn generate(id: KeyId, host: &Host) -> Self {
        Self { id, secret: host.secret() }
    }

    /// Parses the text of a key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex_decode(secret, bytes.as_mut())?;
        Some(Self { id: KeyId::parse(id)?, secret: bytes })
    }

    /// SHA-256 of the secret: what the log keeps.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest(Fast::sha256(&[self.secret.as_ref()]))
    }

    /// The text, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", self.id, hex_encode(self.secret.as_ref())))
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({}, ..)", self.id)
    }
}

/// A key as the directory knows it.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// Its id.
    pub key: KeyId,
    /// Its workspace.
    pub workspace: WorkspaceNo,
    /// Whose key.
    pub actor: ActorId,
    /// Environment its requests count for.
    pub environment: String,
    /// Its roles.
    pub roles: BTreeSet<String>,
    /// SHA-256 of its secret, or of the public key of its certificate.
    pub hash: Digest,
    /// Whether a client certificate opens it, and no secret.
    pub certificate: bool,
    /// Revoked keys stay listed.
    pub revoked: bool,
}

impl KeyRecord {
    /// Whether `key` has the secret, compared in constant time.
    pub(crate) fn is_opened_by(&self, key: &ApiKey) -> bool {
        !self.certificate && bool::from(key.hash().0.ct_eq(&self.hash.0))
    }
}

/// All keys of the instance.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) sessions: SessionTable,
    pub(crate) people: People,
    keys: ArcSwap<HashMap<KeyId, Arc<KeyRecord>>>,
    /// Keys that certificates open, by what their records say.
    certificates: ArcSwap<HashMap<(WorkspaceNo, Digest), KeyId>>,
    writing: Mutex<()>,
}

/// Why a key opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Malformed, unknown, or with another secret: not told apart.
    Unknown,
    /// It was revoked.
    Revoked,
    /// It is a session that was closed, or that came from what counts no more.
    SessionClosed,
    /// It is a session that has ended.
    SessionEnded,
}

impl Directory {
    /// The principal of a key.
    pub(crate) fn authenticate(&self, key: &ApiKey) -> Result<Arc<KeyRecord>, KeyError> {
        let record = self.get(key.id).ok_or(KeyError::Unknown)?;
        if !record.is_opened_by(key) {
            return Err(KeyError::Unknown);
        }
        if record.revoked { Err(KeyError::Revoked) } else { Ok(record) }
    }

    /// The key of this id.
    pub(crate) fn get(&self, key: KeyId) -> Option<Arc<KeyRecord>> {
        self.keys.load().get(&key).cloned()
    }

    pub(crate) fn insert(&self, records: Vec<KeyRecord>) {
        for record in &records {
            self.people.meet(record.workspace, &record.actor);
        }
        self.index(&records);
        self.change(|keys| {
            for record in records {
                keys.insert(record.key, Arc::new(record));
            }
        });
    }

    fn index(&self, records: &[KeyRecord]) {
        let new = records.iter().filter(|record| record.certificate);
        let new: Vec<_> = new.map(|record| ((record.workspace, record.hash), record.key)).collect();
        if new.is_empty() {
            return;
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = HashMap::clone(&self.certificates.load());
        all.extend(new);
        self.certificates.store(Arc::new(all));
    }

    /// The key that a certificate with this public key opens in a workspace.
    pub(crate) fn of_certificate(
        &self,
        workspace: WorkspaceNo,
        public_key: &Digest,
    ) -> Option<Arc<KeyRecord>> {
        let key = *self.certificates.load().get(&(workspace, *public_key))?;
        self.get(key).filter(|record| record.certificate)
    }

    /// Adds a session.
    pub(crate) fn open(&self, session: Arc<SessionRecord>, now: TimeMs) {
        self.people.meet(session.record.workspace, &session.record.actor);
        self.sessions.insert(session, now);
    }

    pub(crate) fn revoke(&self, key: KeyId) {
        self.change(|keys| {
            if let Some(record) = keys.get(&key) {
                let revoked = KeyRecord { revoked: true, ..KeyRecord::clone(record) };
                keys.insert(key, Arc::new(revoked));
            }
        });
    }

    /// Keys of one workspace, by id.
    pub(crate) fn of(&self, workspace: WorkspaceNo) -> Vec<Arc<KeyRecord>> {
        let mut keys: Vec<_> =
            self.keys.load().values().filter(|key| key.workspace == workspace).cloned().collect();
        keys.sort_by_key(|key| key.key);
        keys
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<KeyId, Arc<KeyRecord>>)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = HashMap::clone(&self.keys.load());
        change(&mut keys);
        self.keys.store(Arc::new(keys));
    }
}
