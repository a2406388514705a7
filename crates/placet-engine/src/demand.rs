//! What an approval asks of people. A hundred thousand held actions ask for few different things, so those
//! that ask for the same share it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::json::Object;

/// Demands that are kept to be shared.
const KEPT: usize = 1024;

/// What people are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// People per role.
    pub roles: BTreeMap<String, u32>,
    /// Its digest.
    pub requirement: Digest,
    /// Ids of the rules that demand it, as the entry lists them.
    pub rules: Vec<String>,
    /// Constraints that the people see and that the permit carries; dropped once the approval is final,
    /// unless it was re-opened: then its decision does not tell them.
    pub constraints: Object,
}

impl Default for Demand {
    /// Of nobody anything.
    fn default() -> Self {
        Self {
            roles: BTreeMap::new(),
            requirement: Digest([0; 32]),
            rules: Vec::new(),
            constraints: Object::new(),
        }
    }
}

/// Demands of today, by their digests. No part of what state says: only of where it keeps it.
#[derive(Debug, Default)]
pub(crate) struct Demands(BTreeMap<Digest, Arc<Demand>>);

impl Demands {
    /// Lets `demand` share the memory of an equal one.
    pub(crate) fn share(&mut self, demand: &mut Arc<Demand>) {
        match self.0.get(&demand.requirement) {
            Some(known) if Arc::ptr_eq(known, demand) => {}
            Some(known) if known == demand => *demand = known.clone(),
            // Final approvals have the digest and not the constraints: the others are more.
            Some(known) if Arc::strong_count(known) > 1 => {}
            _ => {
                if self.0.len() >= KEPT {
                    // What is in use stays where it is; from here on it is shared anew.
                    self.0.clear();
                }
                self.0.insert(demand.requirement, demand.clone());
            }
        }
    }
}

/// A few values in order, without repetition and without room to spare.
pub(crate) fn few<T: Ord>(values: impl Iterator<Item = T>) -> Box<[T]> {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values.dedup();
    values.into_boxed_slice()
}
