//! Evidence in a snapshot: block by block, since what is forgotten is forgotten by the block. The index by
//! digest follows and is not written.

use crate::codec::{Code, Reader, Writer};
use crate::evidence::{Evidence, EvidenceKey, Kept, Names, Revoked, U48};
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Code for U48 {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.get());
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Self::new(r.get()?)
    }
}

impl Code for Revoked {
    fn put(&self, w: &mut Writer<'_>) {
        w.0.push(match self {
            Self::No => 0,
            Self::Alike => 1,
            Self::Itself => 2,
        });
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(match r.array()? {
            [0] => Self::No,
            [1] => Self::Alike,
            [2] => Self::Itself,
            _ => return None,
        })
    }
}

impl Code for Kept {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { index, added, issued, expires, digest, subject, kind, issuer, key, revoked } =
            self;
        w.put(index);
        w.put(added);
        w.put(issued);
        w.put(expires);
        w.0.extend_from_slice(digest);
        w.0.extend_from_slice(subject);
        w.0.extend_from_slice(kind);
        w.0.extend_from_slice(issuer);
        w.0.extend_from_slice(key);
        w.put(revoked);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            index: r.get()?,
            added: r.get()?,
            issued: r.get()?,
            expires: r.get()?,
            digest: r.array()?,
            subject: r.array()?,
            kind: r.array()?,
            issuer: r.array()?,
            key: r.array()?,
            revoked: r.get()?,
        })
    }
}

impl<T: Code + Ord + Clone> Code for Names<T> {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.slots().iter(), Writer::put);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Self::restore(r.list::<Option<T>, Vec<_>>(Reader::get)?)
    }
}

impl Code for EvidenceKey {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { key, issuer, by, since, revoked } = self;
        w.put(key);
        w.put(issuer);
        w.put(by);
        w.put(since);
        w.put(revoked);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            key: r.get()?,
            issuer: r.get()?,
            by: r.get()?,
            since: r.get()?,
            revoked: r.get()?,
        })
    }
}

impl Code for Evidence {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(self.kinds.as_ref());
        w.put(self.issuers.as_ref());
        w.list(self.keys.iter(), Writer::put);
        w.list(self.blocks.iter(), |w, block| w.list(block.iter(), Writer::put));
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let mut store = Self::default();
        store.kinds = Arc::new(r.get()?);
        store.issuers = Arc::new(r.get()?);
        store.keys = Arc::new(r.list(Reader::get)?);
        let blocks: Vec<Vec<Kept>> = r.list(|r| r.list(Reader::get))?;
        let mut last = None;
        for block in blocks {
            for kept in &block {
                let place = (kept.added, kept.index);
                let key = usize::from(u16::from_be_bytes(kept.key));
                let named = store.kinds.name(u32::from(u16::from_be_bytes(kept.kind))).is_some()
                    && store.issuers.name(u32::from_be_bytes(kept.issuer)).is_some()
                    && key <= store.keys.len();
                let rises = last.is_none_or(|(added, index)| added <= place.0 && index < place.1);
                if !named || !rises {
                    return None;
                }
                last = Some(place);
            }
            if block.is_empty() {
                return None;
            }
            store.restore(block);
        }
        Some(store)
    }
}
