//! How much room there is for evidence. Owns that nobody's bare word keeps out what is signed, and that no
//! caller takes more than a share of what there is; refuses to know who may add a piece.

use super::store::{Evidence, Kept, Revoked, U48, is_over};
use alloc::collections::BTreeMap;
use placet_types::Digest;
use placet_types::event::ActorRef;
use placet_types::ids::TimeMs;

/// Different types of evidence that are kept, and those of them that are free for what is signed.
pub(crate) const KINDS_MAX: usize = 4096;
const KINDS_SIGNED: usize = 1024;
/// Types in which one issuer gives a bare word.
pub(crate) const KINDS_EACH: usize = 64;
/// Different issuers that are kept, and those of them that are free for what is signed.
pub(crate) const ISSUERS_MAX: usize = 1 << 16;
const ISSUERS_SIGNED: usize = 1 << 12;
/// Pieces of one type by one issuer about one subject with one digest: who issues the same report more often
/// says nothing new.
pub(crate) const SAME_MAX: usize = 64;
/// Bare words of one digest: of one issuer, and of all.
pub(crate) const BARE_EACH: usize = 256;
pub(crate) const BARE_MAX: usize = 4096;
/// Blocks that are looked at for one to forget.
const LOOKED_MAX: usize = 64;

/// What kind of piece is to be added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) kind: &'a str,
    pub(crate) issuer: &'a ActorRef,
    pub(crate) signed: bool,
}

/// How many pieces there are of what. Follows from the pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    kinds: BTreeMap<u16, u32>,
    issuers: BTreeMap<u32, u32>,
    /// Without a signature: in all, by issuer, and by issuer and type.
    bare: usize,
    bare_of: BTreeMap<u32, BTreeMap<u16, u32>>,
}

fn raise<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
}

/// Whether it was the last.
fn lower<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) -> bool {
    let Some(count) = counts.get_mut(key) else { return false };
    *count = count.saturating_sub(1);
    let last = *count == 0;
    if last {
        counts.remove(key);
    }
    last
}

/// How many of what is counted are gone for good with `gone`.
fn lost<K: Ord>(all: &BTreeMap<K, u32>, gone: &BTreeMap<K, u32>) -> usize {
    gone.iter().filter(|(key, count)| all.get(*key) == Some(*count)).count()
}

/// Whether something is there, and still is without `gone`.
fn stays<K: Ord>(all: &BTreeMap<K, u32>, gone: &BTreeMap<K, u32>, key: K) -> bool {
    all.get(&key).is_some_and(|count| gone.get(&key) != Some(count))
}

fn sum(counts: &BTreeMap<u16, u32>) -> usize {
    counts
        .values()
        .fold(0, |sum, it| sum.saturating_add(usize::try_from(*it).unwrap_or(usize::MAX)))
}

impl Uses {
    pub(crate) fn add(&mut self, kept: &Kept) {
        let (kind, issuer) = (u16::from_be_bytes(kept.kind), u32::from_be_bytes(kept.issuer));
        raise(&mut self.kinds, kind);
        raise(&mut self.issuers, issuer);
        if !kept.is_signed() {
            self.bare = self.bare.saturating_add(1);
            raise(self.bare_of.entry(issuer).or_default(), kind);
        }
    }

    /// Whether it was the last of its type, and the last of its issuer.
    pub(crate) fn take(&mut self, kept: &Kept) -> (bool, bool) {
        let (kind, issuer) = (u16::from_be_bytes(kept.kind), u32::from_be_bytes(kept.issuer));
        if !kept.is_signed() {
            self.bare = self.bare.saturating_sub(1);
            if let Some(kinds) = self.bare_of.get_mut(&issuer) {
                lower(kinds, &kind);
                if kinds.is_empty() {
                    self.bare_of.remove(&issuer);
                }
            }
        }
        (lower(&mut self.kinds, &kind), lower(&mut self.issuers, &issuer))
    }
}

/// What there is already with the digest of a piece that is to be added.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alike {
    /// One by the same issuer about the same subject was taken back.
    pub(crate) revoked: bool,
    /// The very same one.
    pub(crate) same: Option<u64>,
    /// By the same issuer about the same subject.
    pub(crate) own: usize,
    /// Bare words: of this issuer, and of all.
    pub(crate) bare_own: usize,
    pub(crate) bare: usize,
}

impl Evidence {
    /// What there is with a digest, beside a piece of this type, subject and issuer; `key` and times are those
    /// of the very same one.
    pub(crate) fn alike(
        &self,
        wanted: Wanted<'_>,
        (digest, subject): (&Digest, &Digest),
        key: Option<&str>,
        (issued, expires): (TimeMs, TimeMs),
    ) -> Alike {
        let mut alike = Alike::default();
        let kind = self.kinds.number(wanted.kind).and_then(|it| u16::try_from(it).ok());
        let kind = kind.map(u16::to_be_bytes);
        let issuer = self.issuers.number(wanted.issuer).map(u32::to_be_bytes);
        let times = (U48::new(issued.0), U48::new(expires.0));
        for kept in self.with_digest(digest) {
            let by = Some(kept.issuer) == issuer;
            if !kept.is_signed() {
                alike.bare = alike.bare.saturating_add(1);
                alike.bare_own = alike.bare_own.saturating_add(usize::from(by));
            }
            if !by || Some(kept.kind) != kind || kept.subject != subject.0 {
                continue;
            }
            alike.own = alike.own.saturating_add(1);
            alike.revoked |= kept.revoked != Revoked::No;
            let timely = (Some(kept.issued), Some(kept.expires)) == times;
            let signed = self.key(kept).map(|it| it.key.as_str()) == key;
            if timely && signed && alike.same.is_none() {
                alike.same = Some(kept.index.get());
            }
        }
        alike
    }

    /// Whether there is room for one more at `now`, and the block that is forgotten for it: the oldest of which
    /// nothing counts any more and without which there is room.
    pub(crate) fn room(
        &self,
        wanted: Wanted<'_>,
        most: usize,
        now: TimeMs,
    ) -> Option<Option<usize>> {
        if self.fits(wanted, most, &Uses::default(), 0) {
            return Some(None);
        }
        let over = self.blocks.iter().enumerate().filter(|(_, block)| is_over(block, now));
        let mut over = over.take(LOOKED_MAX);
        over.find_map(|(at, block)| {
            let mut gone = Uses::default();
            block.iter().for_each(|kept| gone.add(kept));
            self.fits(wanted, most, &gone, block.len()).then_some(Some(at))
        })
    }

    /// Whether there is room once `gone` is gone, which is so many pieces.
    fn fits(&self, wanted: Wanted<'_>, most: usize, gone: &Uses, pieces: usize) -> bool {
        let signed = wanted.signed;
        let uses: &Uses = &self.uses;
        let share = |parts: usize| most.checked_div(parts).unwrap_or_default();
        let kind = self.kinds.number(wanted.kind).and_then(|it| u16::try_from(it).ok());
        let issuer = self.issuers.number(wanted.issuer);
        let kinds = self.kinds.len().saturating_sub(lost(&uses.kinds, &gone.kinds));
        let issuers = self.issuers.len().saturating_sub(lost(&uses.issuers, &gone.issuers));
        let has_kind = kind.is_some_and(|it| stays(&uses.kinds, &gone.kinds, it));
        let has_issuer = issuer.is_some_and(|it| stays(&uses.issuers, &gone.issuers, it));
        let bound = |all: usize, kept: usize| if signed { all } else { all.saturating_sub(kept) };
        let room = self.len().saturating_sub(pieces) < most
            && (has_kind || kinds < bound(KINDS_MAX, KINDS_SIGNED))
            && (has_issuer || issuers < bound(ISSUERS_MAX, ISSUERS_SIGNED));
        if signed || !room {
            return room;
        }
        let of = |uses: &Uses| {
            let own = issuer.and_then(|it| uses.bare_of.get(&it));
            own.cloned().unwrap_or_default()
        };
        let (own, own_gone) = (of(uses), of(gone));
        let knows = kind.is_some_and(|it| stays(&own, &own_gone, it));
        let own_kinds = own.len().saturating_sub(lost(&own, &own_gone));
        uses.bare.saturating_sub(gone.bare) < most.saturating_sub(share(4))
            && sum(&own).saturating_sub(sum(&own_gone)) < share(2)
            && (knows || own_kinds < KINDS_EACH)
    }
}
