//! What was erased cannot be opened: no key outlives the next start after its entry. And no key is
//! destroyed before the entry that says so is durable.

use super::{Held, Logs, Violation, violated};
use crate::disk::Disk;
use placet_types::event::Event;
use std::collections::BTreeSet;

const NAME: &str = "erased";

fn doomed(logs: &Logs, no: u32) -> Result<BTreeSet<u64>, Violation> {
    let Some(log) = logs.get(&no) else { return Ok(BTreeSet::new()) };
    let mut slots = BTreeSet::new();
    let mut indices = BTreeSet::new();
    for (index, stored) in log.iter().enumerate() {
        let Event::PayloadErased(erased) = &stored.entry.event else { continue };
        for at in &erased.indices {
            let place = usize::try_from(*at).unwrap_or(usize::MAX);
            if place >= index || !indices.insert(*at) {
                let what =
                    format!("entry {index} erases entry {at}, which is later or erased before");
                violated(NAME, what)?;
            }
            slots.extend(log.get(place).and_then(|stored| stored.slot));
        }
    }
    Ok(slots)
}

fn destroyed(disk: &Disk) -> BTreeSet<u64> {
    let slots = (1..).zip(&disk.slots);
    slots.filter(|(_, secret)| secret.is_none()).map(|(slot, _)| slot).collect()
}

/// Every destroyed slot is one that a durable entry says is erased.
pub(crate) fn at_rest(disk: &Disk, logs: &Logs) -> Held {
    let mut all = BTreeSet::new();
    for no in logs.keys() {
        all.append(&mut doomed(logs, *no)?);
    }
    match destroyed(disk).difference(&all).next() {
        Some(slot) => violated(NAME, format!("slot {slot} is destroyed and no entry says so")),
        None => Ok(()),
    }
}

/// Once an instance has started, everything that its log said before is destroyed.
pub(crate) fn after_start(disk: &Disk, logs: &Logs) -> Held {
    let destroyed = destroyed(disk);
    for no in logs.keys() {
        if let Some(slot) = doomed(logs, *no)?.difference(&destroyed).next() {
            return violated(
                NAME,
                format!("slot {slot} of workspace {no} opens, and its log says it is erased"),
            );
        }
    }
    Ok(())
}

/// Erasing has said that it is done, by these entries: what they name is destroyed.
pub(crate) fn done(disk: &Disk, no: u32, entries: &[u64]) -> Held {
    let log = match disk.entries(no) {
        Ok(log) => log,
        Err(what) => return violated(NAME, what),
    };
    let at = |index: &u64| log.get(usize::try_from(*index).unwrap_or(usize::MAX));
    let destroyed = destroyed(disk);
    for stored in entries.iter().filter_map(at) {
        let Event::PayloadErased(erased) = &stored.entry.event else { continue };
        let slots = erased.indices.iter().filter_map(at).filter_map(|stored| stored.slot);
        for slot in slots {
            if !destroyed.contains(&slot) {
                return violated(NAME, format!("slot {slot} opens after its erasing was done"));
            }
        }
    }
    Ok(())
}
