//! Keys of a workspace, by id and by whom they belong to. Owns that both agree; refuses to know who may make
//! one.

use alloc::collections::{BTreeMap, BTreeSet};
use placet_types::Digest;
use placet_types::event::{ActorRef, Principal};
use placet_types::ids::KeyId;

/// A key and whether it still counts.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) principal: Principal,
    pub(crate) revoked: bool,
}

/// All keys, those included that are revoked.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    all: BTreeMap<KeyId, Key>,
    /// Those that count. Follows from `all`.
    of_actor: BTreeMap<ActorRef, BTreeSet<KeyId>>,
    /// What opens one, revoked or not. Follows from `all`.
    hashes: BTreeSet<Digest>,
}

impl Keys {
    pub(crate) fn get(&self, id: KeyId) -> Option<&Key> {
        self.all.get(&id)
    }

    /// By id.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.all.values()
    }

    /// The keys of an actor that count.
    pub(crate) fn of(&self, actor: &ActorRef) -> impl Iterator<Item = &Principal> {
        let ids = self.of_actor.get(actor).into_iter().flatten();
        ids.filter_map(|id| self.all.get(id)).map(|key| &key.principal)
    }

    /// Whether this hash opens a key, or once did: a certificate's public key is no secret, so the same one
    /// could be brought twice, for two people or after its key was revoked.
    pub(crate) fn knows(&self, hash: &Digest) -> bool {
        self.hashes.contains(hash)
    }

    pub(crate) fn insert(&mut self, key: Key) {
        self.hashes.insert(key.principal.hash);
        let (id, actor) = (key.principal.key, key.principal.actor.clone());
        if !key.revoked {
            self.of_actor.entry(actor).or_default().insert(id);
        }
        self.all.insert(id, key);
    }

    pub(crate) fn revoke(&mut self, id: KeyId) {
        let Some(key) = self.all.get_mut(&id) else { return };
        key.revoked = true;
        let actor = &key.principal.actor;
        if let Some(ids) = self.of_actor.get_mut(actor) {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_actor.remove(actor);
            }
        }
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<T: IntoIterator<Item = Key>>(keys: T) -> Self {
        let mut all = Self::default();
        keys.into_iter().for_each(|key| all.insert(key));
        all
    }
}
