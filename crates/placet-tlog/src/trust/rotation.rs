//! What handovers and revocations do to pinned keys. Owns when a successor is believed; refuses to
//! change a trust in place: each step gives a new one.
//!
//! A verifier with an old trust file walks a chain of handovers, oldest first. Each link must be
//! signed by a key that is pinned, active and open at that size, and by the key it names. A link
//! that this trust has taken already changes nothing, so that the whole chain of a log can be given
//! to any trust file along it, also one in which former keys are revoked and their successors pinned.
//! A revoked or retired key vouches for nobody: when a key was stolen, its successor comes with a new
//! trust file and not by a handover.

use super::{KeyStatus, Trust};
use crate::handover::HandoverTextError;
use crate::note::KeyId;
use core::fmt;

#[cfg(feature = "portable")]
use {
    super::TrustKey,
    crate::handover::{Handover, split_chain},
    crate::note::{Note, VerifierKey},
    crate::signature::verify_ed25519,
    crate::verify::PortableHasher,
    alloc::string::{String, ToString},
    alloc::vec::Vec,
};

/// Why a handover or revocation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationError {
    /// The note cannot be read as a handover.
    Text(HandoverTextError),
    /// The key is not pinned.
    UnknownKey,
    /// The old key is revoked.
    OldKeyRevoked,
    /// The old key has handed over already, at another size or to another key.
    OldKeyClosed,
    /// The size lies outside the range of the old key.
    SizeOutOfRange,
    /// The new key is revoked.
    NewKeyRevoked,
    /// The new key is pinned already, for sizes that do not follow.
    NewKeyRange,
    /// No good signature by the old key.
    OldSignature,
    /// No good signature by the new key.
    NewSignature,
}

impl RotationError {
    /// The stable code, such as `handover_old_signature`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Text(_) => "handover_malformed",
            Self::UnknownKey => "handover_unknown_key",
            Self::OldKeyRevoked => "handover_old_key_revoked",
            Self::OldKeyClosed => "handover_old_key_closed",
            Self::SizeOutOfRange => "handover_size_out_of_range",
            Self::NewKeyRevoked => "handover_new_key_revoked",
            Self::NewKeyRange => "handover_new_key_range",
            Self::OldSignature => "handover_old_signature",
            Self::NewSignature => "handover_new_signature",
        }
    }
}

impl fmt::Display for RotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "the handover cannot be read",
            Self::UnknownKey => "the key is not pinned",
            Self::OldKeyRevoked => "the old key is revoked",
            Self::OldKeyClosed => "the old key has handed over already",
            Self::SizeOutOfRange => "the size lies outside the range of the old key",
            Self::NewKeyRevoked => "the new key is revoked",
            Self::NewKeyRange => "the new key is pinned already for sizes that do not follow",
            Self::OldSignature => "the old key has not signed the handover",
            Self::NewSignature => "the new key has not signed the handover",
        })
    }
}

impl core::error::Error for RotationError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Text(error) => Some(error),
            _ => None,
        }
    }
}

/// A link of a chain that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainError {
    /// Place of the link, from 0.
    pub at: usize,
    /// Why.
    pub error: RotationError,
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handover {} is refused", self.at)
    }
}

impl core::error::Error for ChainError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Trust {
    /// This trust after a handover: the old key's range ends at the handover's size, and that of the
    /// new key begins right above it. `note` is the signed note of [`Handover`].
    ///
    /// # Errors
    /// [`RotationError`].
    #[cfg(feature = "portable")]
    pub fn accept_handover(&self, note: &str) -> Result<Self, RotationError> {
        let (handover, note) =
            Handover::parse::<PortableHasher>(note).map_err(RotationError::Text)?;
        // Keys first: without a pinned key nothing in the note means anything.
        let next = self.hand_over(&handover)?;
        if !signed(&note, handover.old()) {
            return Err(RotationError::OldSignature);
        }
        if !signed(&note, handover.new_key()) {
            return Err(RotationError::NewSignature);
        }
        Ok(next)
    }

    /// This trust after handovers in one text, those of a log oldest first; several logs may stand
    /// in it. Links before the first pinned key of their log are passed over: no trust comes of them.
    ///
    /// # Errors
    /// The first link that is refused.
    #[cfg(feature = "portable")]
    pub fn accept_chain(&self, text: &str) -> Result<Self, ChainError> {
        self.walk(text, &Self::default())
    }

    /// This trust after handovers as [`accept_chain`](Self::accept_chain) takes them, without what
    /// `announced` takes away ([`restricted`](Self::restricted)). A key that is revoked there, from
    /// whatever size on, vouches for nobody.
    ///
    /// # Errors
    /// The first link that is refused.
    #[cfg(feature = "portable")]
    pub fn follow(&self, text: &str, announced: &Self) -> Result<Self, ChainError> {
        let followed = self.accept_chain(text)?;
        // An end that the handovers explain is no revocation.
        let mut revoked = followed.restricted(announced).keys;
        revoked.retain(|key| !followed.keys.contains(key));
        // All links were good: what is refused now is refused for the revocations.
        let refused =
            |ChainError { at, .. }| ChainError { at, error: RotationError::OldKeyRevoked };
        self.walk(text, &Self { keys: revoked }).map_err(refused)
    }

    /// Walks a chain with less trust at every step.
    #[cfg(feature = "portable")]
    fn walk(&self, text: &str, less: &Self) -> Result<Self, ChainError> {
        let malformed = |error| ChainError { at: 0, error: RotationError::Text(error) };
        let mut trust = self.restricted(less);
        let mut begun: Vec<String> = Vec::new();
        for (at, note) in split_chain(text).map_err(malformed)?.iter().enumerate() {
            let refused = |error| ChainError { at, error };
            let origin = Handover::parse::<PortableHasher>(note)
                .map(|(handover, _)| handover.origin().to_string())
                .map_err(|error| refused(RotationError::Text(error)))?;
            let known = begun.contains(&origin);
            match trust.accept_handover(note) {
                Ok(next) => trust = next.restricted(less),
                Err(RotationError::UnknownKey) if !known => continue,
                Err(error) => return Err(refused(error)),
            }
            if !known {
                begun.push(origin);
            }
        }
        Ok(trust)
    }

    /// What a handover does, its signatures apart.
    #[cfg(feature = "portable")]
    fn hand_over(&self, handover: &Handover) -> Result<Self, RotationError> {
        let (size, new_key) = (handover.size(), handover.new_key());
        let (name, old_id) = (handover.origin(), handover.old().id());
        let place =
            |id| self.keys.iter().position(|key| key.key.id() == id && key.key.name() == name);
        let old_at = place(old_id).ok_or(RotationError::UnknownKey)?;
        let old = self.keys.get(old_at).ok_or(RotationError::UnknownKey)?;
        if old.key != *handover.old() {
            return Err(RotationError::UnknownKey);
        }
        let new = self.find(name, new_key.id());
        // The new key is believed already, from right above this handover on: however much of the old
        // one is revoked since, the link gives nothing and is no second one.
        let pinned = new.is_some_and(|new| new.key == *new_key);
        let follows = pinned && new.is_some_and(|new| new.from_size == size.saturating_add(1));
        match old.status {
            KeyStatus::Revoked if follows => return Ok(self.clone()),
            KeyStatus::Revoked => return Err(RotationError::OldKeyRevoked),
            KeyStatus::Retired => {
                // Taken before: nothing changes, whatever became of the new key since.
                let taken = pinned && old.to_size == Some(size);
                let shortened = follows && old.to_size.is_some_and(|to| to < size);
                let again = taken || shortened;
                return if again { Ok(self.clone()) } else { Err(RotationError::OldKeyClosed) };
            }
            KeyStatus::Active => {}
        }
        if !old.covers(size) {
            return Err(RotationError::SizeOutOfRange);
        }
        let mut keys = self.keys.clone();
        match new {
            None => {
                let from_size = size.saturating_add(1);
                keys.push(TrustKey { from_size, ..TrustKey::active(new_key.clone()) });
            }
            Some(new) if new.status == KeyStatus::Revoked => {
                return Err(RotationError::NewKeyRevoked);
            }
            // Pinned before the handover became known: its range is the pinning's, not ours.
            Some(new) if new.key == *new_key && new.covers(size.saturating_add(1)) => {}
            Some(_) => return Err(RotationError::NewKeyRange),
        }
        if let Some(old) = keys.get_mut(old_at) {
            old.status = KeyStatus::Retired;
            old.to_size = Some(size);
        }
        Ok(Self { keys })
    }

    /// This trust without the key `id` of the log `name`. With `from_size`, what the key signed
    /// below that size stays good, as if it had been retired there; that is right only when the
    /// smaller sizes are known otherwise, by witnesses or held receipts, for whoever stole a key
    /// can sign small trees too. Revoking again only ever takes more away.
    ///
    /// # Errors
    /// `UnknownKey`.
    pub fn revoke(
        &self,
        name: &str,
        id: KeyId,
        from_size: Option<u64>,
    ) -> Result<Self, RotationError> {
        let mut keys = self.keys.clone();
        let key = keys.iter_mut().find(|key| key.key.id() == id && key.key.name() == name);
        let key = key.ok_or(RotationError::UnknownKey)?;
        match from_size.and_then(|from| from.checked_sub(1)) {
            Some(last) if last >= key.from_size && key.status != KeyStatus::Revoked => {
                key.status = KeyStatus::Retired;
                key.to_size = Some(key.to_size.map_or(last, |to| to.min(last)));
            }
            _ => key.status = KeyStatus::Revoked,
        }
        Ok(Self { keys })
    }

    /// This trust without what `announced` says of the same keys that they may not sign: all of it
    /// where they are revoked, and what is larger than a range that ends sooner there. Nothing is
    /// ever given, so whoever announces it need not be believed.
    #[must_use]
    pub fn restricted(&self, announced: &Self) -> Self {
        let mut keys = self.keys.clone();
        for key in &mut keys {
            let said = announced.find(key.key.name(), key.key.id());
            let Some(said) = said.filter(|said| said.key == key.key) else { continue };
            let sooner = |to: &u64| key.to_size.is_none_or(|known| *to < known);
            match said.to_size.filter(sooner) {
                _ if key.status == KeyStatus::Revoked => {}
                _ if said.status == KeyStatus::Revoked => key.status = KeyStatus::Revoked,
                Some(to) if to < key.from_size => key.status = KeyStatus::Revoked,
                Some(to) => {
                    key.status = KeyStatus::Retired;
                    key.to_size = Some(to);
                }
                None => {}
            }
        }
        Self { keys }
    }
}

/// Whether the note has lines of `key`, and each of them is good.
#[cfg(feature = "portable")]
fn signed(note: &Note, key: &VerifierKey) -> bool {
    let mut lines = note
        .signatures()
        .iter()
        .filter(|line| line.key_id() == key.id() && line.name() == key.name())
        .peekable();
    let text = note.text().as_bytes();
    lines.peek().is_some() && lines.all(|line| verify_ed25519(key.public_key(), text, line.bytes()))
}
