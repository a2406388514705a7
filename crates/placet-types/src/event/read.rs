//! Reading an object member by member, so that nothing unknown and nothing missing passes.

use super::EntryError;
use crate::hash::{Digest, hex_decode};
use crate::json::{Object, Value, compare_keys};
use crate::policy::Reason;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Members in canonical order; what was taken is `None`, so that nothing is moved.
pub(super) struct Reader(Vec<(String, Option<Value>)>);

impl Reader {
    pub(super) fn new(value: Value) -> Result<Self, EntryError> {
        match value {
            Value::Object(object) => Ok(Self::of(object)),
            other => Err(EntryError::new(format!("expected an object, found {}", other.kind()))),
        }
    }

    fn of(object: Object) -> Self {
        Self(object.into_iter().map(|(key, value)| (key, Some(value))).collect())
    }

    /// Fails when members are left that nobody asked for.
    pub(super) fn end(self) -> Result<(), EntryError> {
        match self.0.iter().find(|(_, value)| value.is_some()) {
            None => Ok(()),
            Some((key, _)) => Err(EntryError::new(format!("unknown member {key:?}"))),
        }
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.0.binary_search_by(|(have, _)| compare_keys(have, key)).ok()
    }

    fn take_opt(&mut self, key: &str) -> Option<Value> {
        let at = self.find(key)?;
        self.0.get_mut(at)?.1.take()
    }

    fn take(&mut self, key: &str) -> Result<Value, EntryError> {
        self.take_opt(key).ok_or_else(|| EntryError::new(format!("member {key:?} is missing")))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).and_then(|at| self.0.get(at)).is_some_and(|(_, value)| value.is_some())
    }

    pub(super) fn str(&mut self, key: &str) -> Result<String, EntryError> {
        match self.take(key)? {
            Value::String(text) => Ok(text),
            _ => Err(wrong(key)),
        }
    }

    pub(super) fn str_opt(&mut self, key: &str) -> Result<Option<String>, EntryError> {
        self.has(key).then(|| self.str(key)).transpose()
    }

    pub(super) fn constant(&mut self, key: &str, expected: &str) -> Result<(), EntryError> {
        if self.str(key)? == expected { Ok(()) } else { Err(wrong(key)) }
    }

    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, EntryError> {
        parse(&self.str(key)?).ok_or_else(|| wrong(key))
    }

    pub(super) fn parsed_opt<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, EntryError> {
        self.has(key).then(|| self.parsed(key, parse)).transpose()
    }

    pub(super) fn uint(&mut self, key: &str) -> Result<u64, EntryError> {
        self.take(key)?.as_u64().ok_or_else(|| wrong(key))
    }

    pub(super) fn uint_opt(&mut self, key: &str) -> Result<Option<u64>, EntryError> {
        self.has(key).then(|| self.uint(key)).transpose()
    }

    pub(super) fn count(&mut self, key: &str) -> Result<u32, EntryError> {
        u32::try_from(self.uint(key)?).map_err(|_| wrong(key))
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<bool, EntryError> {
        match self.take_opt(key) {
            None => Ok(false),
            Some(Value::Bool(true)) => Ok(true),
            Some(_) => Err(wrong(key)),
        }
    }

    pub(super) fn bool(&mut self, key: &str) -> Result<bool, EntryError> {
        self.take(key)?.as_bool().ok_or_else(|| wrong(key))
    }

    pub(super) fn digest(&mut self, key: &str) -> Result<Digest, EntryError> {
        self.parsed(key, Digest::parse)
    }

    pub(super) fn digest_opt(&mut self, key: &str) -> Result<Option<Digest>, EntryError> {
        self.parsed_opt(key, Digest::parse)
    }

    pub(super) fn bytes<const N: usize>(&mut self, key: &str) -> Result<[u8; N], EntryError> {
        let mut out = [0; N];
        hex_decode(&self.str(key)?, &mut out).ok_or_else(|| wrong(key))?;
        Ok(out)
    }

    pub(super) fn plain_object(&mut self, key: &str) -> Result<Object, EntryError> {
        match self.take(key)? {
            Value::Object(object) => Ok(object),
            _ => Err(wrong(key)),
        }
    }

    pub(super) fn object(&mut self, key: &str) -> Result<Self, EntryError> {
        self.plain_object(key).map(Self::of)
    }

    pub(super) fn object_opt(&mut self, key: &str) -> Result<Option<Self>, EntryError> {
        self.has(key).then(|| self.object(key)).transpose()
    }

    pub(super) fn objects(&mut self, key: &str) -> Result<Vec<Self>, EntryError> {
        match self.take(key)? {
            Value::Array(items) => items.into_iter().map(Self::new).collect(),
            _ => Err(wrong(key)),
        }
    }

    pub(super) fn strings(&mut self, key: &str) -> Result<Vec<String>, EntryError> {
        let Value::Array(items) = self.take(key)? else { return Err(wrong(key)) };
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(wrong(key)),
            })
            .collect()
    }

    /// Codes of reasons.
    pub(super) fn reasons(&mut self, key: &str) -> Result<Vec<Reason>, EntryError> {
        let codes = self.strings(key)?;
        let reasons: Option<_> = codes.iter().map(|code| Reason::parse(code)).collect();
        reasons.ok_or_else(|| EntryError::new("unknown reason"))
    }

    pub(super) fn uints(&mut self, key: &str) -> Result<Vec<u64>, EntryError> {
        let Value::Array(items) = self.take(key)? else { return Err(wrong(key)) };
        items.iter().map(|item| item.as_u64().ok_or_else(|| wrong(key))).collect()
    }

    /// 16 bytes each, sorted and without repetition; none where the member is missing.
    pub(super) fn tags_opt(&mut self, key: &str) -> Result<Vec<super::Tag>, EntryError> {
        if !self.has(key) {
            return Ok(Vec::new());
        }
        let mut tags = Vec::new();
        for text in self.strings(key)? {
            let mut tag = [0; 16];
            hex_decode(&text, &mut tag).ok_or_else(|| wrong(key))?;
            if tags.last().is_some_and(|last| *last >= tag) {
                return Err(wrong(key));
            }
            tags.push(tag);
        }
        Ok(tags)
    }

    /// Members as name and count, `{"operator":1}` for example.
    pub(super) fn counts(
        &mut self,
        key: &str,
    ) -> Result<alloc::collections::BTreeMap<String, u32>, EntryError> {
        self.plain_object(key)?
            .into_iter()
            .map(|(name, value)| {
                let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
                count.map(|count| (name, count)).ok_or_else(|| wrong(key))
            })
            .collect()
    }
}

fn wrong(key: &str) -> EntryError {
    EntryError::new(format!("member {key:?} is not what it should be"))
}
