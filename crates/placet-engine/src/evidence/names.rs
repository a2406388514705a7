//! Names that pieces of evidence point at by number. Owns which numbers are free; refuses to know what the
//! names are of.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Names by number: the number of one that is gone is given out again, lowest first.
#[derive(Clone, Debug)]
pub(crate) struct Names<T> {
    all: Vec<Option<T>>,
    at: BTreeMap<T, u32>,
    free: BTreeSet<u32>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { all: Vec::new(), at: BTreeMap::new(), free: BTreeSet::new() }
    }
}

impl<T: Ord + Clone> Names<T> {
    pub(crate) fn number<Q: Ord + ?Sized>(&self, name: &Q) -> Option<u32>
    where
        T: core::borrow::Borrow<Q>,
    {
        self.at.get(name).copied()
    }

    pub(crate) fn name(&self, number: u32) -> Option<&T> {
        self.all.get(usize::try_from(number).ok()?)?.as_ref()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }

    /// All numbers that were given out, free ones included.
    pub(crate) fn slots(&self) -> &[Option<T>] {
        &self.all
    }

    /// What a snapshot holds; none where a name stands there twice.
    pub(crate) fn restore(slots: Vec<Option<T>>) -> Option<Self> {
        let mut names = Self::default();
        for (at, slot) in slots.iter().enumerate() {
            let number = u32::try_from(at).ok()?;
            let before = match slot {
                Some(name) => names.at.insert(name.clone(), number).is_some(),
                None => !names.free.insert(number),
            };
            if before {
                return None;
            }
        }
        names.all = slots;
        Some(names)
    }

    pub(crate) fn insert(&mut self, name: &T) -> Option<u32> {
        if let Some(number) = self.number(name) {
            return Some(number);
        }
        let number = match self.free.pop_first() {
            Some(number) => {
                *self.all.get_mut(usize::try_from(number).ok()?)? = Some(name.clone());
                number
            }
            None => {
                let number = u32::try_from(self.all.len()).ok()?;
                self.all.push(Some(name.clone()));
                number
            }
        };
        self.at.insert(name.clone(), number);
        Some(number)
    }

    pub(crate) fn remove(&mut self, number: u32) {
        let slot = usize::try_from(number).ok().and_then(|at| self.all.get_mut(at));
        if let Some(name) = slot.and_then(Option::take) {
            self.at.remove(&name);
            self.free.insert(number);
        }
    }
}
