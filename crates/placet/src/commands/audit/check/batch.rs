//! What can be said of a batch by itself, on any thread: the form of its frames, the canonical form
//! of its entries, their leaf hashes, and that each payload is the one its entry commits to.

use placet_runtime::crypto::Fast;
use placet_runtime::frame::{Frame, SaltFor, SlotKeys, frames};
use placet_runtime::ports::Batch;
use placet_store::{SlotCache, SqliteSlotReader};
use placet_tlog::merkle::leaf_hash;
use placet_types::Digest;
use placet_types::event::Entry;
use placet_types::ids::WorkspaceName;

/// Payloads that were met.
#[derive(Clone, Copy, Default)]
pub(crate) struct Payloads {
    /// Opened, and found to be what the entry commits to.
    pub(crate) opened: u64,
    /// Erased: nobody can open them, and nobody could tell one from another.
    pub(crate) erased: u64,
    /// Not looked at, for want of the keys.
    pub(crate) unseen: u64,
}

impl Payloads {
    pub(super) fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.erased += other.erased;
        self.unseen += other.unseen;
    }
}

/// A batch that was looked at: its entries up to the first that is wrong.
pub(super) struct Looked {
    pub(super) first_index: u64,
    pub(super) count: u32,
    pub(super) entries: Vec<(Entry, [u8; 32])>,
    pub(super) tree_state: Vec<u8>,
    pub(super) bytes: u64,
    pub(super) payloads: Payloads,
    /// Entries whose payload's slot is erased, with the slot.
    pub(super) erased: Vec<(u64, u64)>,
    pub(super) slot_max: u64,
    /// What is wrong with the entry after `entries`.
    pub(super) fault: Option<String>,
}

/// One thread's looking.
pub(super) struct Look<'a> {
    name: &'a WorkspaceName,
    slots: Option<SlotCache<'a>>,
}

impl<'a> Look<'a> {
    pub(super) fn new(name: &'a WorkspaceName, slots: Option<&'a SqliteSlotReader>) -> Self {
        Self { name, slots: slots.map(SqliteSlotReader::cache) }
    }

    pub(super) fn at(&mut self, batch: Batch) -> Looked {
        let mut looked = Looked {
            first_index: batch.first_index,
            count: batch.count,
            entries: Vec::with_capacity(batch.count as usize),
            tree_state: batch.tree_state,
            bytes: batch.frames.len() as u64,
            payloads: Payloads::default(),
            erased: Vec::new(),
            slot_max: 0,
            fault: None,
        };
        for frame in frames(&batch.frames) {
            let taken = frame
                .map_err(|error| error.to_string())
                .and_then(|frame| self.frame(frame, batch.epoch, &mut looked));
            match taken {
                Ok(entry) => looked.entries.push(entry),
                Err(why) => {
                    looked.fault = Some(why);
                    return looked;
                }
            }
        }
        if looked.entries.len() != batch.count as usize {
            let held = looked.entries.len();
            looked.fault =
                Some(format!("its batch counts {} entries, it holds {held}", batch.count));
        }
        looked
    }

    fn frame(
        &mut self,
        frame: Frame<'_>,
        epoch: u64,
        looked: &mut Looked,
    ) -> Result<(Entry, [u8; 32]), String> {
        let entry = Entry::parse(frame.entry).map_err(|error| error.to_string())?;
        if entry.workspace != *self.name {
            return Err(format!("it belongs to workspace {}", entry.workspace));
        }
        if entry.epoch != epoch {
            return Err(format!("its batch is of epoch {epoch}, it is of {}", entry.epoch));
        }
        self.payload(frame, &entry, looked)?;
        looked.slot_max = looked.slot_max.max(frame.slot);
        Ok((entry, leaf_hash::<Fast>(frame.entry)))
    }

    fn payload(
        &mut self,
        frame: Frame<'_>,
        entry: &Entry,
        looked: &mut Looked,
    ) -> Result<(), String> {
        let payloads = &mut looked.payloads;
        if frame.payload.is_empty() {
            // An event without anything personal has no secret and commits to nothing.
            let nothing = frame.slot == 0 && entry.payload == Digest([0; 32]);
            return if nothing { Ok(()) } else { Err("its payload is missing".to_owned()) };
        }
        let Some(slots) = &mut self.slots else {
            payloads.unseen += 1;
            return Ok(());
        };
        let secret = slots.secret(frame.slot).map_err(|error| format!("its payload: {error}"))?;
        let Some(secret) = secret else {
            payloads.erased += 1;
            let index = looked.first_index + looked.entries.len() as u64;
            looked.erased.push((index, frame.slot));
            return Ok(());
        };
        let keys = SlotKeys::new(&secret);
        let plain = keys.open(frame.slot, frame.payload);
        let plain = plain.map_err(|_| "its payload was altered".to_owned())?;
        if keys.commit(SaltFor::Payload, &plain) != entry.payload {
            return Err("its payload is not the one that it commits to".to_owned());
        }
        payloads.opened += 1;
        Ok(())
    }
}
