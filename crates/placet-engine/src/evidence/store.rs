//! The pieces of evidence of a workspace, compact: 97 bytes a piece and some 20 more to find it by its
//! digest. Owns their order and when the oldest are forgotten; refuses to know who may add one.
//!
//! It is a value that is cheap to clone: blocks are shared until one of them changes, so whoever evaluates
//! requests reads the same memory as the state does.

use super::names::Names;
use super::room::{Uses, Wanted};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::event::{ActorRef, EvidenceAdded};
use placet_types::ids::{EvidenceId, TimeMs};

/// Pieces of one block: what is shared, and what is forgotten at once.
const BLOCK: usize = 256;
/// Places of one block of the index by digest.
const PLACES: usize = 512;

/// The id of the evidence whose entry has this time and index. Ids rise with the log.
#[must_use]
pub fn evidence_id(time: TimeMs, index: u64) -> EvidenceId {
    let [a, b, c, d, e, f, g, h] = index.to_be_bytes();
    EvidenceId::new(time, [0, 0, a, b, c, d, e, f, g, h])
}

/// The index in such an id.
fn index_of(id: &EvidenceId) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *id.bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// A piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidencePiece {
    /// Its id.
    pub id: EvidenceId,
    /// Index of its entry.
    pub index: u64,
    /// When it was added.
    pub added: TimeMs,
    /// Its type.
    pub kind: String,
    /// Digest of the evidence itself.
    pub digest: Digest,
    /// Digest of what it speaks of.
    pub subject: Digest,
    /// Who vouches for it.
    pub issuer: ActorRef,
    /// When it was issued.
    pub issued: TimeMs,
    /// From this instant on it counts no more.
    pub expires: TimeMs,
    /// The key that signed it.
    pub key: Option<String>,
    /// Whether that key counts.
    pub attested: bool,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// A key that signs for an issuer of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceKey {
    /// Verifier key.
    pub key: String,
    /// Whose.
    pub issuer: ActorRef,
    /// Who trusted it.
    pub by: ActorRef,
    /// Since when.
    pub since: TimeMs,
    /// It counts no more, and nothing that it signed does.
    pub revoked: bool,
}

/// 48 bits: instants until the year 10889, and more indices than a log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct U48([u8; 6]);

impl U48 {
    pub(crate) fn new(value: u64) -> Option<Self> {
        let [a, b, bytes @ ..] = value.to_be_bytes();
        (a == 0 && b == 0).then_some(Self(bytes))
    }

    pub(crate) const fn get(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

/// A piece as it is kept: bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) index: U48,
    pub(crate) added: U48,
    pub(crate) issued: U48,
    pub(crate) expires: U48,
    pub(crate) digest: [u8; 32],
    pub(crate) subject: [u8; 32],
    pub(crate) kind: [u8; 2],
    pub(crate) issuer: [u8; 4],
    /// Number of the key and one; 0 for none.
    pub(crate) key: [u8; 2],
    pub(crate) revoked: Revoked,
}

/// Whether a piece was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    No,
    /// One like it was: the same word, with other times or another key.
    Alike,
    Itself,
}

impl Kept {
    fn id(&self) -> EvidenceId {
        evidence_id(TimeMs(self.added.get()), self.index.get())
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.key != [0; 2]
    }

    fn place(&self) -> Place {
        let [a, b, c, d, e, f, g, h, ..] = self.digest;
        Place { digest: [a, b, c, d, e, f, g, h], index: self.index }
    }
}

/// Where the pieces with the first bytes of a digest stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    digest: [u8; 8],
    index: U48,
}

/// All pieces of a workspace, and the keys of their issuers.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Oldest first; none is empty.
    pub(crate) blocks: Vec<Arc<Vec<Kept>>>,
    /// The id that each block begins with, side by side: what a look-up reads first. Follows from the blocks.
    starts: Vec<EvidenceId>,
    /// Follows from the blocks.
    places: Vec<Arc<Vec<Place>>>,
    pub(crate) kinds: Arc<Names<String>>,
    pub(crate) issuers: Arc<Names<ActorRef>>,
    pub(crate) keys: Arc<Vec<EvidenceKey>>,
    /// Follows from the blocks.
    pub(super) uses: Arc<Uses>,
    len: usize,
}

impl Evidence {
    /// Pieces that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The piece of this id.
    #[must_use]
    pub fn get(&self, id: &EvidenceId) -> Option<EvidencePiece> {
        let (block, at) = self.locate(id)?;
        self.blocks.get(block)?.get(at).and_then(|kept| self.shown(kept))
    }

    /// The piece whose entry has this index.
    #[must_use]
    pub fn at(&self, index: u64) -> Option<EvidencePiece> {
        self.at_index(U48::new(index)?).and_then(|kept| self.shown(kept))
    }

    /// Whether a piece is there and counts, whatever its times.
    #[must_use]
    pub fn stands(&self, id: &EvidenceId) -> bool {
        let kept = self.locate(id).and_then(|(block, at)| self.blocks.get(block)?.get(at));
        kept.is_some_and(|kept| {
            kept.revoked == Revoked::No
                && (!kept.is_signed() || self.key(kept).is_some_and(|it| !it.revoked))
        })
    }

    /// Pieces of a type with a digest, at most `most`: those about `subject` first, of these those that are
    /// signed with a key that counts, of these the newest. So nobody hides a piece behind others.
    #[must_use]
    pub fn of_digest(
        &self,
        kind: &str,
        digest: &Digest,
        subject: Option<&Digest>,
        most: usize,
    ) -> Vec<EvidencePiece> {
        let kind = self.kinds.number(kind).and_then(|it| u16::try_from(it).ok());
        let Some(kind) = kind.map(u16::to_be_bytes) else { return Vec::new() };
        let fitting = self.with_digest(digest).filter(|kept| kept.kind == kind);
        let mut fitting: Vec<&Kept> = fitting.collect();
        fitting.sort_by_key(|kept| {
            let about = subject.is_some_and(|subject| subject.0 == kept.subject);
            (!about, self.key(kept).is_none_or(|it| it.revoked))
        });
        fitting.into_iter().take(most).filter_map(|kept| self.shown(kept)).collect()
    }

    /// Pieces of a digest whatever their type, newest first.
    pub(crate) fn with_digest<'e>(&'e self, digest: &'e Digest) -> impl Iterator<Item = &'e Kept> {
        let [a, b, c, d, e, f, g, h, ..] = digest.0;
        let first = [a, b, c, d, e, f, g, h];
        let until = self
            .places
            .partition_point(|block| block.first().is_some_and(|place| place.digest <= first));
        let blocks = self.places.get(..until).unwrap_or_default().iter().rev();
        let places = blocks.flat_map(move |block| {
            let end = block.partition_point(|place| place.digest <= first);
            block.get(..end).unwrap_or_default().iter().rev()
        });
        let places = places.take_while(move |place| place.digest == first);
        places
            .filter_map(|place| self.at_index(place.index))
            .filter(move |kept| kept.digest == digest.0)
    }

    /// Pieces newest first, those before `before`.
    pub fn newest(&self, before: Option<EvidenceId>) -> impl Iterator<Item = EvidencePiece> {
        let older = move |kept: &&Kept| before.is_none_or(|before| kept.id() < before);
        let until = before.map_or(self.blocks.len(), |before| {
            self.blocks.partition_point(|block| block.first().is_some_and(|it| it.id() < before))
        });
        let blocks = self.blocks.get(..until).unwrap_or_default().iter().rev();
        let kept = blocks.flat_map(|block| block.iter().rev()).filter(older);
        kept.filter_map(|kept| self.shown(kept))
    }

    /// Keys of issuers, revoked ones included, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &EvidenceKey> {
        self.keys.iter()
    }

    /// Whether an actor has a key or had one: then only what is signed is its word.
    #[must_use]
    pub fn signs(&self, issuer: &ActorRef) -> bool {
        self.keys.iter().any(|it| it.issuer == *issuer)
    }

    pub(super) fn key(&self, kept: &Kept) -> Option<&EvidenceKey> {
        self.keys.get(usize::from(u16::from_be_bytes(kept.key)).checked_sub(1)?)
    }

    fn shown(&self, kept: &Kept) -> Option<EvidencePiece> {
        let key = self.key(kept);
        Some(EvidencePiece {
            id: kept.id(),
            index: kept.index.get(),
            added: TimeMs(kept.added.get()),
            kind: self.kinds.name(u32::from(u16::from_be_bytes(kept.kind)))?.clone(),
            digest: Digest(kept.digest),
            subject: Digest(kept.subject),
            issuer: self.issuers.name(u32::from_be_bytes(kept.issuer))?.clone(),
            issued: TimeMs(kept.issued.get()),
            expires: TimeMs(kept.expires.get()),
            key: key.map(|it| it.key.clone()),
            attested: key.is_some_and(|it| !it.revoked),
            revoked: kept.revoked != Revoked::No,
        })
    }

    /// Block and place. An id ends with the index of its entry: where entries of evidence follow one another,
    /// the first place that is looked at is the right one.
    fn locate(&self, id: &EvidenceId) -> Option<(usize, usize)> {
        let block = self.starts.partition_point(|start| start <= id).checked_sub(1)?;
        let kept = self.blocks.get(block)?;
        let after = index_of(id).checked_sub(index_of(self.starts.get(block)?))?;
        let near = usize::try_from(after).ok();
        let near = near.filter(|at| kept.get(*at).is_some_and(|it| it.id() == *id));
        let at = near.or_else(|| kept.binary_search_by(|kept| kept.id().cmp(id)).ok())?;
        Some((block, at))
    }

    fn at_index(&self, index: U48) -> Option<&Kept> {
        let after = |block: &Arc<Vec<Kept>>| block.first().is_some_and(|it| it.index <= index);
        let block = self.blocks.get(self.blocks.partition_point(after).checked_sub(1)?)?;
        block.get(block.binary_search_by(|kept| kept.index.cmp(&index)).ok()?)
    }

    /// Keeps a piece, the newest of all. At a bound a block is forgotten that is over as a whole.
    pub(crate) fn add(
        &mut self,
        event: &EvidenceAdded,
        index: u64,
        now: TimeMs,
        most: usize,
    ) -> Result<(), &'static str> {
        const RANGE: &str = "its times or its index are out of range";
        let range = |value| U48::new(value).ok_or(RANGE);
        let wanted =
            Wanted { kind: &event.kind, issuer: &event.issuer, signed: event.key.is_some() };
        let room = self.room(wanted, most, now);
        if let Some(block) = room.ok_or("there is no room for another piece of evidence")? {
            self.forget(block);
        }
        // What is there already is looked up without a copy of all that is shared.
        let kind = match self.kinds.number(&event.kind) {
            None => Arc::make_mut(&mut self.kinds).insert(&event.kind),
            known => known,
        };
        let kind =
            kind.and_then(|it| u16::try_from(it).ok()).ok_or("too many types of evidence")?;
        let issuer = match self.issuers.number(&event.issuer) {
            None => Arc::make_mut(&mut self.issuers).insert(&event.issuer),
            known => known,
        };
        let key = match &event.key {
            None => 0,
            Some(key) => {
                let at = self.keys.iter().position(|it| !it.revoked && it.key == *key);
                let at = at.and_then(|at| u16::try_from(at).ok()?.checked_add(1));
                at.ok_or("it is signed with a key that does not count")?
            }
        };
        self.push(Kept {
            index: range(index)?,
            added: range(now.0)?,
            issued: range(event.issued.0)?,
            expires: range(event.expires.0)?,
            digest: event.digest.0,
            subject: event.subject.0,
            kind: kind.to_be_bytes(),
            issuer: issuer.ok_or("too many issuers of evidence")?.to_be_bytes(),
            key: key.to_be_bytes(),
            revoked: Revoked::No,
        });
        Ok(())
    }

    pub(crate) fn push(&mut self, kept: Kept) {
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK => Arc::make_mut(block).push(kept),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(kept);
                self.blocks.push(Arc::new(block));
                self.starts.push(kept.id());
            }
        }
        self.index(&kept);
    }

    /// Puts back what a snapshot holds.
    pub(crate) fn restore(&mut self, block: Vec<Kept>) {
        block.iter().for_each(|kept| self.index(kept));
        self.starts.extend(block.first().map(Kept::id));
        self.blocks.push(Arc::new(block));
    }

    fn index(&mut self, kept: &Kept) {
        self.len = self.len.saturating_add(1);
        Arc::make_mut(&mut self.uses).add(kept);
        let place = kept.place();
        let after = |block: &Arc<Vec<Place>>| block.first().is_some_and(|it| *it <= place);
        let at = self.places.partition_point(after).saturating_sub(1);
        let Some(block) = self.places.get_mut(at) else {
            self.places.push(Arc::new(alloc::vec![place]));
            return;
        };
        let block = Arc::make_mut(block);
        block.insert(block.partition_point(|it| *it < place), place);
        if block.len() > PLACES {
            let rest = block.split_off(PLACES / 2);
            self.places.insert(at.saturating_add(1), Arc::new(rest));
        }
    }

    fn forget(&mut self, block: usize) {
        self.starts.remove(block);
        let block = self.blocks.remove(block);
        self.len = self.len.saturating_sub(block.len());
        for kept in block.iter() {
            let (kind, issuer) = Arc::make_mut(&mut self.uses).take(kept);
            if kind {
                let number = u32::from(u16::from_be_bytes(kept.kind));
                Arc::make_mut(&mut self.kinds).remove(number);
            }
            if issuer {
                Arc::make_mut(&mut self.issuers).remove(u32::from_be_bytes(kept.issuer));
            }
            let place = kept.place();
            let after = |block: &Arc<Vec<Place>>| block.first().is_some_and(|it| *it <= place);
            let Some(at) = self.places.partition_point(after).checked_sub(1) else { continue };
            let Some(places) = self.places.get_mut(at) else { continue };
            let places = Arc::make_mut(places);
            if let Ok(found) = places.binary_search(&place) {
                places.remove(found);
            }
            if places.is_empty() {
                self.places.remove(at);
            }
        }
    }

    /// Takes a piece back, and all that say the same: the same type and digest about the same subject by the
    /// same issuer.
    pub(crate) fn revoke(&mut self, id: &EvidenceId) -> Result<(), &'static str> {
        let kept = self.kept_mut(id).ok_or("it revokes unknown evidence")?;
        if kept.revoked == Revoked::Itself {
            return Err("it revokes evidence a second time");
        }
        kept.revoked = Revoked::Itself;
        let own = *kept;
        let word = |it: &Kept| (it.kind, it.issuer, it.subject);
        let digest = Digest(own.digest);
        let alike = self.with_digest(&digest).filter(|it| it.revoked == Revoked::No);
        let alike: Vec<_> = alike.filter(|it| word(it) == word(&own)).map(Kept::id).collect();
        for id in &alike {
            if let Some(kept) = self.kept_mut(id) {
                kept.revoked = Revoked::Alike;
            }
        }
        Ok(())
    }

    fn kept_mut(&mut self, id: &EvidenceId) -> Option<&mut Kept> {
        let (block, at) = self.locate(id)?;
        Arc::make_mut(self.blocks.get_mut(block)?).get_mut(at)
    }
}

/// Whether nothing of a block counts at `now`: nobody can present it again either.
pub(super) fn is_over(block: &[Kept], now: TimeMs) -> bool {
    block.len() >= BLOCK && block.iter().all(|kept| kept.expires.get() <= now.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn event(number: u64) -> EvidenceAdded {
        let mut digest = [0; 32];
        // Seven share each digest, and the order of digests is not that of the log.
        digest[..8]
            .copy_from_slice(&(number / 7).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        EvidenceAdded {
            evidence: evidence_id(TimeMs(number), number),
            by: ActorRef::parse("service:ci").unwrap(),
            digest: Digest(digest),
            expires: TimeMs(number + 1000),
            issued: TimeMs(number),
            issuer: ActorRef::parse(&format!("service:ci-{}", number % 3)).unwrap(),
            key: Some("key".into()),
            kind: format!("kind-{}", number % 2),
            subject: Digest([7; 32]),
        }
    }

    /// With a key, as what is signed takes any place.
    fn signed() -> Evidence {
        let key = EvidenceKey {
            key: "key".into(),
            issuer: ActorRef::parse("service:ci").unwrap(),
            by: ActorRef::parse("service:ci").unwrap(),
            since: TimeMs(0),
            revoked: false,
        };
        Evidence { keys: Arc::new(alloc::vec![key]), ..Evidence::default() }
    }

    fn fits(store: &Evidence, most: usize, now: TimeMs) -> bool {
        let issuer = ActorRef::parse("service:ci-0").unwrap();
        store.room(Wanted { kind: "kind-0", issuer: &issuer, signed: true }, most, now).is_some()
    }

    #[test]
    fn a_piece_takes_what_the_module_says() {
        assert_eq!(size_of::<Kept>(), 97);
        assert_eq!(size_of::<Place>(), 14);
    }

    #[test]
    fn pieces_are_found_by_id_and_by_digest_whatever_was_forgotten() {
        let mut store = signed();
        let most = 8 * BLOCK;
        for number in 0..5000 {
            let now = TimeMs(number);
            assert!(fits(&store, most, now));
            store.add(&event(number), number, now, most).unwrap();
            assert!(store.len() <= most);
        }
        let shared = store.clone();
        let kept: Vec<EvidencePiece> = store.newest(None).collect();
        assert_eq!(kept.len(), store.len());
        assert!(kept.windows(2).all(|pair| pair[0].id > pair[1].id));
        for piece in &kept {
            assert_eq!(store.get(&piece.id).as_ref(), Some(piece));
            let same = store.of_digest(&piece.kind, &piece.digest, None, 64);
            assert!(same.contains(piece));
            let all = kept.iter().filter(|it| it.digest == piece.digest && it.kind == piece.kind);
            assert!(same.iter().eq(all), "newest first, none missing");
        }
        let middle = kept[kept.len() / 2].id;
        assert!(store.newest(Some(middle)).eq(kept[kept.len() / 2 + 1..].iter().cloned()));
        // The oldest are gone, and nothing finds them.
        assert_eq!(store.get(&event(0).evidence), None);
        assert!(store.of_digest("kind-0", &event(0).digest, None, 64).is_empty());
        store.revoke(&middle).unwrap();
        assert!(!store.stands(&middle) && store.revoke(&middle).is_err());
        assert!(shared.stands(&middle), "what was handed out does not change");
    }

    #[test]
    fn what_counts_is_never_forgotten_for_something_new() {
        let mut store = signed();
        let most = 2 * BLOCK;
        for number in 0..most as u64 {
            store.add(&event(number), number, TimeMs(number), most).unwrap();
        }
        let (number, now) = (most as u64, TimeMs(most as u64));
        assert!(!fits(&store, most, now));
        assert!(store.add(&event(number), number, now, most).is_err());
        let later = TimeMs(BLOCK as u64 + 999);
        assert!(fits(&store, most, later));
    }
}
