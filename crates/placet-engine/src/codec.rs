//! The few shapes that a snapshot is written in: fixed integers, lengths, lists in one order. Owns
//! strictness: what would not be written back byte for byte is refused, and no length is believed
//! before the bytes are there. Refuses to know what is written.

use alloc::string::String;
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::event::ActorRef;
use placet_types::ids::{Id, IdKind, TimeMs};
use placet_types::json::{self, Limits, Object, Value};

/// Appends to a snapshot.
#[derive(Debug)]
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

/// Takes from a snapshot.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

/// A value with one encoding.
pub(crate) trait Code: Sized {
    fn put(&self, w: &mut Writer<'_>);
    fn get(r: &mut Reader<'_>) -> Option<Self>;
}

impl Writer<'_> {
    pub(crate) fn put(&mut self, value: &impl Code) {
        value.put(self);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.put(&(bytes.len() as u64));
        self.0.extend_from_slice(bytes);
    }

    /// A list with its length in front.
    pub(crate) fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut one: impl FnMut(&mut Self, T),
    ) {
        self.put(&(items.len() as u64));
        for item in items {
            one(self, item);
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn get<T: Code>(&mut self) -> Option<T> {
        T::get(self)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.get::<u64>()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A list; each item takes at least one byte, so a length beyond the bytes left is a lie.
    pub(crate) fn list<T, C: FromIterator<T>>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<C> {
        let length = usize::try_from(self.get::<u64>()?).ok()?;
        if length > self.0.len() {
            return None;
        }
        (0..length).map(|_| one(self)).collect()
    }

    /// A list whose keys rise.
    pub(crate) fn rising<K: Ord + Clone, T, C: FromIterator<T>>(
        &mut self,
        key: impl Fn(&T) -> &K,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<C> {
        let mut last: Option<K> = None;
        self.list(|r| {
            let item = one(r)?;
            let rises = last.as_ref().is_none_or(|last| last < key(&item));
            last = Some(key(&item).clone());
            rises.then_some(item)
        })
    }
}

impl Code for u64 {
    fn put(&self, w: &mut Writer<'_>) {
        w.0.extend_from_slice(&self.to_le_bytes());
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        r.array().map(Self::from_le_bytes)
    }
}

impl Code for u32 {
    fn put(&self, w: &mut Writer<'_>) {
        w.0.extend_from_slice(&self.to_le_bytes());
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        r.array().map(Self::from_le_bytes)
    }
}

impl Code for u8 {
    fn put(&self, w: &mut Writer<'_>) {
        w.0.push(*self);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let [byte] = r.array()?;
        Some(byte)
    }
}

impl Code for bool {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&u8::from(*self));
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        match r.get::<u8>()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Code> Code for Option<T> {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.is_some());
        if let Some(value) = self {
            w.put(value);
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        if r.get()? { Some(Some(r.get()?)) } else { Some(None) }
    }
}

impl Code for TimeMs {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.0);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        r.get().map(Self)
    }
}

impl Code for Digest {
    fn put(&self, w: &mut Writer<'_>) {
        w.0.extend_from_slice(&self.0);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        r.array().map(Self)
    }
}

impl<K: IdKind> Code for Id<K> {
    fn put(&self, w: &mut Writer<'_>) {
        w.0.extend_from_slice(self.bytes());
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        r.array().map(Self::from_bytes)
    }
}

impl Code for String {
    fn put(&self, w: &mut Writer<'_>) {
        w.bytes(self.as_bytes());
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        core::str::from_utf8(r.bytes()?).ok().map(Self::from)
    }
}

impl Code for ActorRef {
    fn put(&self, w: &mut Writer<'_>) {
        w.bytes(self.as_str().as_bytes());
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Self::parse(core::str::from_utf8(r.bytes()?).ok()?)
    }
}

impl Code for Object {
    fn put(&self, w: &mut Writer<'_>) {
        w.bytes(&Value::Object(self.clone()).to_canonical());
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let bytes = r.bytes()?;
        let Ok(Value::Object(object)) = json::parse(bytes, Limits::ENTRY) else { return None };
        (Value::Object(object.clone()).to_canonical() == bytes).then_some(object)
    }
}
