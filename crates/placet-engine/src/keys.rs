//! Keys of a workspace, by id and by whom they belong to. Owns that both agree; refuses to know who may make
//! one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
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
    /// People by the roles of those of their keys that count, with how many such keys they have. Follows from
    /// `all`.
    people: BTreeMap<String, BTreeMap<ActorRef, usize>>,
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

    /// People with a key that counts and has this role. What it costs does not depend on the other keys.
    pub(crate) fn people(&self, role: &str) -> impl Iterator<Item = &ActorRef> {
        self.people.get(role).into_iter().flat_map(BTreeMap::keys)
    }

    pub(crate) fn insert(&mut self, key: Key) {
        self.hashes.insert(key.principal.hash);
        let (id, actor) = (key.principal.key, key.principal.actor.clone());
        if !key.revoked {
            for role in key.principal.roles.iter().filter(|_| actor.is_human()) {
                let people = self.people.entry(role.clone()).or_default();
                let count = people.entry(actor.clone()).or_default();
                *count = count.saturating_add(1);
            }
            self.of_actor.entry(actor).or_default().insert(id);
        }
        self.all.insert(id, key);
    }

    pub(crate) fn revoke(&mut self, id: KeyId) {
        let key = self.all.get_mut(&id).filter(|key| !key.revoked);
        let Some(key) = key else { return };
        key.revoked = true;
        let actor = &key.principal.actor;
        for role in &key.principal.roles {
            let Some(people) = self.people.get_mut(role) else { continue };
            if let Some(count) = people.get_mut(actor) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    people.remove(actor);
                }
            }
            if people.is_empty() {
                self.people.remove(role);
            }
        }
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
