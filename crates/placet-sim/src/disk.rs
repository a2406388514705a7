//! What survives a crash, and how badly: log rows, payload slots, snapshots, marks, read model.
//! Owns the faults of storage; the ports in [`crate::stores`] only reach in here.

use crate::mutant::Mutant;
use crate::random::Random;
use placet_runtime::frame::frames;
use placet_runtime::ports::{Batch, Head, Piece, Secret, WorkspaceNo};
use placet_types::event::Entry;
use placet_types::ids::{DecisionId, WorkspaceName};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the next append meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendFault {
    /// The store fails; nothing is durable.
    FailedLost,
    /// The store fails; all of it is durable.
    FailedKept,
    /// Power fails before anything is durable.
    CrashLost,
    /// Power fails after all of it is durable.
    CrashKept,
    /// Power fails in between: the last row is there, and not whole.
    CrashTorn,
    /// The disk says it is durable, and it is not until a later flush.
    Lie,
}

/// Rows of one append that a crash may still lose.
pub(crate) type Group = Vec<(u32, Batch)>;

/// Slots that one entry erased: what an older copy of the keys still has.
pub(crate) struct Grave {
    pub(crate) workspace: u32,
    /// How far erasing had come before.
    pub(crate) before: Option<u64>,
    /// Places and secrets.
    pub(crate) slots: Vec<(usize, Secret)>,
}

/// One read model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) entries: Vec<Entry>,
    pub(crate) decisions: BTreeMap<DecisionId, u64>,
}

/// The disks of one instance.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) names: Vec<WorkspaceName>,
    pub(crate) rows: BTreeMap<u32, Vec<Batch>>,
    /// Acknowledged and not durable, oldest first; the ends of `rows`.
    pub(crate) lied: Vec<Group>,
    /// What a lying disk lost: acknowledged, and gone.
    pub(crate) lost: Vec<Group>,
    /// It has lost something in this run.
    pub(crate) went_back: bool,
    /// Where a row is torn.
    pub(crate) torn: Option<u32>,
    pub(crate) bundles: BTreeMap<[u8; 32], Vec<u8>>,
    pub(crate) slots: Vec<Option<Secret>>,
    pub(crate) erased_upto: BTreeMap<u32, u64>,
    pub(crate) snapshots: BTreeMap<(u32, Piece), Vec<u8>>,
    pub(crate) marks: BTreeMap<String, u64>,
    pub(crate) armed: Option<Vec<u8>>,
    /// The certificate that a kill has set aside.
    pub(crate) disarmed: Option<Vec<u8>>,
    pub(crate) kill_file: bool,
    pub(crate) keys: BTreeMap<String, [u8; 32]>,
    /// Seeds of the signing keys, oldest first.
    pub(crate) seeds: Vec<[u8; 32]>,
    pub(crate) models: BTreeMap<u32, Model>,
    /// Set while something is planned.
    pub(crate) append_fault: Option<AppendFault>,
    pub(crate) slots_fail: bool,
    pub(crate) model_fails: bool,
    pub(crate) marks_fail: bool,
    pub(crate) snapshots_fail: bool,
    pub(crate) read_fails: bool,
    /// What was erased lately.
    pub(crate) graves: Vec<Grave>,
    /// The newest slots, which an older copy of the keys does not have.
    pub(crate) forgotten: Vec<Option<Secret>>,
    /// The armed certificate was taken away or altered.
    pub(crate) unarmed: bool,
    /// That has happened before.
    pub(crate) meddled: bool,
    /// Power has failed: whoever drives the instance drops it.
    pub(crate) crashed: bool,
    pub(crate) random: Option<Random>,
    pub(crate) mutant: Option<Mutant>,
    /// Counts the openings of the journal: an older handle is fenced off.
    pub(crate) opened: u64,
    /// What the rows said when they were last read, by workspace and first index.
    read: RefCell<BTreeMap<(u32, u64), Read>>,
}

/// Shared by all ports.
#[derive(Clone, Default)]
pub(crate) struct Disks(Arc<Mutex<Disk>>);

impl Disks {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    pub(crate) fn random(&mut self) -> &mut Random {
        self.random.get_or_insert_with(|| Random::new(0, 0))
    }

    pub(crate) fn head(&self, no: WorkspaceNo) -> Head {
        self.rows.get(&no.0).and_then(|rows| rows.last()).map_or_else(Head::default, |row| Head {
            next_index: row.first_index + u64::from(row.count),
            epoch: row.epoch,
            tree_state: row.tree_state.clone(),
        })
    }

    /// All workspaces with their numbers.
    pub(crate) fn workspaces(&self) -> Vec<(WorkspaceNo, WorkspaceName)> {
        (0..).map(WorkspaceNo).zip(self.names.iter().cloned()).collect()
    }

    /// The entries of a log with their bytes, slots and payloads, as they lie there.
    pub(crate) fn entries(&self, no: u32) -> Result<Vec<Stored>, String> {
        let mut read = self.read.borrow_mut();
        let mut out = Vec::new();
        for row in self.rows.get(&no).into_iter().flatten() {
            // Checkers look again and again: what has not changed is not parsed anew.
            let known = read.entry((no, row.first_index)).or_default();
            if known.frames != row.frames {
                *known = Read { stored: parse(&row.frames)?, frames: row.frames.clone() };
            }
            out.extend_from_slice(&known.stored);
        }
        Ok(out)
    }

    /// Power fails. What was acknowledged stays, unless the disk lied.
    pub(crate) fn crash(&mut self) {
        self.crashed = false;
        self.append_fault = None;
        (self.slots_fail, self.model_fails, self.marks_fail) = (false, false, false);
        (self.snapshots_fail, self.read_fails) = (false, false);
        let groups = self.lied.len();
        if groups > 0 {
            let all = self.mutant == Some(Mutant::AnswerBeforeFlush);
            let kept = if all { 0 } else { self.random().place(groups + 1) };
            let lost = self.lied.split_off(kept);
            for (no, batch) in lost.iter().flatten() {
                if let Some(rows) = self.rows.get_mut(no) {
                    rows.retain(|row| row.first_index < batch.first_index);
                }
            }
            self.lied.clear();
            self.went_back |= !lost.is_empty();
            if self.mutant != Some(Mutant::AnswerBeforeFlush) {
                self.lost = lost;
            }
        }
        self.crash_derived();
    }

    /// Derived data may be lost, cut off, or damaged.
    fn crash_derived(&mut self) {
        let numbers: Vec<u32> = self.models.keys().copied().collect();
        for no in numbers {
            let fate = self.random().below(8);
            let Some(len) = self.models.get(&no).map(|model| model.entries.len()) else { continue };
            let kept = match fate {
                0 => 0,
                1 | 2 => self.random().place(len + 1),
                _ => len,
            };
            let size = usize::try_from(self.head(WorkspaceNo(no)).next_index).unwrap_or(0);
            if let Some(model) = self.models.get_mut(&no) {
                model.entries.truncate(kept.min(size));
                let kept = model.entries.len() as u64;
                model.decisions.retain(|_, index| *index < kept);
            }
        }
        let pieces: Vec<(u32, Piece)> = self.snapshots.keys().copied().collect();
        for piece in pieces {
            match self.random().below(16) {
                0 => drop(self.snapshots.remove(&piece)),
                1 => self.damage(piece),
                _ => {}
            }
        }
    }

    fn damage(&mut self, piece: (u32, Piece)) {
        let mut random = self.random().clone();
        if let Some(bytes) = self.snapshots.get_mut(&piece).filter(|bytes| !bytes.is_empty()) {
            let at = random.place(bytes.len());
            match random.below(3) {
                0 => bytes.truncate(at),
                _ => bytes[at] ^= 1 << random.below(8),
            }
        }
        self.random = Some(random);
    }

    /// Somebody takes the armed certificate away, or alters it.
    pub(crate) fn disarm(&mut self) {
        (self.unarmed, self.meddled) = (true, true);
        self.disarmed = None;
        let cut = self.random().per_mille(500);
        match &mut self.armed {
            Some(bytes) if cut => bytes.truncate(bytes.len() / 2),
            armed => *armed = None,
        }
    }

    /// An older copy of the payload keys is put back: what was erased since is there again.
    pub(crate) fn resurrect(&mut self) {
        let back = self.random().place(3) + 1;
        for _ in 0..back {
            let Some(Grave { workspace, before, slots }) = self.graves.pop() else { return };
            for (at, secret) in slots {
                if let Some(slot) = self.slots.get_mut(at) {
                    *slot = Some(secret);
                }
            }
            match before {
                Some(upto) => drop(self.erased_upto.insert(workspace, upto)),
                None => drop(self.erased_upto.remove(&workspace)),
            }
        }
    }

    /// An older copy of the payload keys is put back: the newest slots are not in it.
    pub(crate) fn forget_slots(&mut self) {
        let kept = self.slots.len().saturating_sub(8 * (self.random().place(4) + 1));
        let mut lost = self.slots.split_off(kept);
        lost.append(&mut self.forgotten);
        self.forgotten = lost;
    }

    /// Whether something is wrong that a start may be refused for.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.torn.is_some()
            || !self.lost.is_empty()
            || !self.forgotten.is_empty()
            || self.append_fault.is_some()
            || self.read_fails
            || self.slots_fail
            || self.marks_fail
    }

    /// What an operator does who was told why a start is refused: puts back what was lost, drops
    /// the row that was never whole.
    pub(crate) fn repair(&mut self) {
        self.read_fails = false;
        self.slots.append(&mut self.forgotten);
        if let Some(no) = self.torn.take()
            && let Some(rows) = self.rows.get_mut(&no)
        {
            rows.pop();
        }
        for (no, batch) in std::mem::take(&mut self.lost).into_iter().flatten() {
            self.rows.entry(no).or_default().push(batch);
        }
    }
}

/// An entry as it lies on the disk; cheap to copy.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) entry: Arc<Entry>,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) slot: Option<u64>,
}

/// A row with what was read from it.
#[derive(Default)]
struct Read {
    frames: Vec<u8>,
    stored: Vec<Stored>,
}

fn parse(row: &[u8]) -> Result<Vec<Stored>, String> {
    let stored = frames(row).map(|frame| {
        let frame = frame.map_err(|error| error.to_string())?;
        let entry = Arc::new(Entry::parse(frame.entry).map_err(|error| error.to_string())?);
        let slot = (!frame.payload.is_empty()).then_some(frame.slot);
        Ok(Stored { entry, bytes: frame.entry.into(), slot })
    });
    stored.collect()
}
