//! The ports of the runtime over the simulated disks. Owns no fault: what goes wrong is decided in
//! [`crate::disk`] and by whoever plans it.

use crate::disk::{AppendFault, Disk, Disks, Grave, Model};
use crate::keys::signer;
use crate::mutant::Mutant;
use placet_runtime::crypto::Fast;
use placet_runtime::ports::{
    AppendError, AuditFilter, Batch, Head, Indexed, Journal, JournalReader, Marks, Piece,
    PortError, ReadModel, ReadModelWriter, Safety, Secret, Signer, Signers, SlotReader, Slots,
    Snapshots, WorkspaceKeys, WorkspaceNo,
};
use placet_runtime::{Stores, matches};
use placet_types::event::Event;
use placet_types::hash::Hasher;
use placet_types::ids::{DecisionId, WorkspaceName};
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::clock::SimClock;

/// Sixteen hex digits, as an instance has.
pub(crate) const INSTANCE: &str = "5eed000000000001";

/// All stores of an instance.
pub(crate) fn stores(disks: &Disks, clock: &SimClock) -> Stores {
    let opened = {
        let mut disk = disks.lock();
        disk.opened += 1;
        disk.opened
    };
    Stores {
        journal: Box::new(SimJournal { disks: disks.clone(), dead: false, opened }),
        reader: Arc::new(Reader(disks.clone())),
        snapshots: Arc::new(Saved(disks.clone())),
        slots: Box::new(SlotWriter(disks.clone())),
        slot_reader: Arc::new(Reader(disks.clone())),
        model_writer: Box::new(Reader(disks.clone())),
        model: Arc::new(Reader(disks.clone())),
        keys: Arc::new(Keys(disks.clone())),
        marks: Box::new(Marked(disks.clone())),
        safety: Box::new(Beside(disks.clone())),
        signers: Arc::new(Seeds(disks.clone())),
        clock: Arc::new(clock.clone()),
        instance: INSTANCE.to_owned(),
        succeeds: None,
        step_back: || {},
    }
}

/// The signing keys.
struct Seeds(Disks);

impl Signers for Seeds {
    fn all(&self) -> Result<Vec<Arc<dyn Signer>>, PortError> {
        Ok(self.0.lock().seeds.iter().map(signer).collect())
    }

    fn make(&self) -> Result<Arc<dyn Signer>, PortError> {
        let mut disk = self.0.lock();
        if disk.slots_fail {
            return Err(PortError::new("identity.db: no space left on device"));
        }
        let mut seed = [0; 32];
        disk.random().fill(&mut seed);
        disk.seeds.push(seed);
        Ok(signer(&seed))
    }

    fn keep(&self, public_keys: &[[u8; 32]]) -> Result<(), PortError> {
        let mut disk = self.0.lock();
        if disk.slots_fail {
            return Err(PortError::new("identity.db: input/output error"));
        }
        disk.seeds.retain(|seed| public_keys.contains(&signer(seed).public_key()));
        Ok(())
    }
}

struct SimJournal {
    disks: Disks,
    dead: bool,
    opened: u64,
}

impl SimJournal {
    fn unknown(&mut self, why: &str) -> AppendError {
        self.dead = true;
        AppendError::Unknown(why.to_owned())
    }
}

impl Journal for SimJournal {
    fn append(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        let disks = self.disks.clone();
        let mut disk = disks.lock();
        if self.dead || disk.crashed || disk.opened != self.opened {
            return Err(self.unknown("the journal failed before, reopen it"));
        }
        for batch in batches {
            let head = disk.head(batch.workspace);
            if batch.epoch < head.epoch {
                self.dead = true;
                return Err(AppendError::Fenced);
            }
            if batch.first_index != head.next_index {
                self.dead = true;
                return Err(AppendError::Conflict);
            }
        }
        let fault = disk.append_fault.take();
        match fault {
            Some(AppendFault::FailedLost) => return Err(self.unknown("no space left on device")),
            Some(AppendFault::CrashLost) => {
                disk.crashed = true;
                return Err(self.unknown("power failed"));
            }
            _ => {}
        }
        for batch in batches {
            disk.rows.entry(batch.workspace.0).or_default().push(batch.clone());
        }
        let group = || batches.iter().map(|batch| (batch.workspace.0, batch.clone())).collect();
        if disk.mutant == Some(Mutant::AnswerBeforeFlush) {
            disk.lied.push(group());
            if disk.lied.len() > 2 {
                disk.lied.remove(0);
            }
            return Ok(());
        }
        match fault {
            Some(AppendFault::Lie) => {
                disk.lied.push(group());
                // It goes on lying for a while.
                if disk.random().per_mille(500) {
                    disk.append_fault = Some(AppendFault::Lie);
                }
                return Ok(());
            }
            // An honest flush flushes what lay there before.
            _ => disk.lied.clear(),
        }
        match fault {
            Some(AppendFault::FailedKept) => Err(self.unknown("input/output error")),
            Some(AppendFault::CrashKept) => {
                disk.crashed = true;
                Err(self.unknown("power failed"))
            }
            Some(AppendFault::CrashTorn) => {
                disk.crashed = true;
                tear(&mut disk, batches);
                Err(self.unknown("power failed"))
            }
            _ => Ok(()),
        }
    }

    fn create_workspace(&mut self, name: &WorkspaceName) -> Result<WorkspaceNo, PortError> {
        let mut disk = self.disks.lock();
        if self.dead || disk.crashed || disk.opened != self.opened {
            return Err(PortError::new("the journal failed before, reopen it"));
        }
        let at = disk.names.iter().position(|known| known == name).unwrap_or(disk.names.len());
        if at == disk.names.len() {
            disk.names.push(name.clone());
        }
        Ok(WorkspaceNo(u32::try_from(at).unwrap_or(u32::MAX)))
    }

    fn put_bundle(&mut self, digest: &[u8; 32], bytes: &[u8]) -> Result<(), PortError> {
        self.disks.lock().bundles.insert(*digest, bytes.to_vec());
        Ok(())
    }
}

/// The last row is there in part: cut off, or with a flipped bit.
fn tear(disk: &mut Disk, batches: &[Batch]) {
    let Some(no) = batches.last().map(|batch| batch.workspace.0) else { return };
    let mut random = disk.random().clone();
    if let Some(row) = disk.rows.get_mut(&no).and_then(|rows| rows.last_mut())
        && !row.frames.is_empty()
    {
        // Within the first frame's entry, or cut: a flipped bit in a sealed payload is found when
        // it is opened, not when the log is folded.
        let length = row.frames.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let entry = usize::try_from(length).unwrap_or(0).max(1);
        match random.below(2) {
            0 => {
                let at = random.place(row.frames.len());
                row.frames.truncate(at);
            }
            _ => row.frames[4 + random.place(entry)] ^= 1 << random.below(8),
        }
        disk.torn = Some(no);
    }
    disk.random = Some(random);
}

#[derive(Clone)]
struct Reader(Disks);

impl Reader {
    fn disk(&self) -> Result<std::sync::MutexGuard<'_, Disk>, PortError> {
        let disk = self.0.lock();
        if disk.read_fails { Err(PortError::new("input/output error")) } else { Ok(disk) }
    }
}

impl JournalReader for Reader {
    fn workspaces(&self) -> Result<Vec<(WorkspaceNo, WorkspaceName)>, PortError> {
        Ok(self.disk()?.workspaces())
    }

    fn head(&self, workspace: WorkspaceNo) -> Result<Head, PortError> {
        Ok(self.disk()?.head(workspace))
    }

    fn read(
        &self,
        workspace: WorkspaceNo,
        index: u64,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, PortError> {
        let disk = self.disk()?;
        let rows = disk.rows.get(&workspace.0).map(Vec::as_slice).unwrap_or_default();
        let from = rows.partition_point(|row| row.first_index + u64::from(row.count) <= index);
        let mut out = Vec::new();
        let mut bytes = 0;
        for row in rows.get(from..).unwrap_or_default() {
            out.push(row.clone());
            bytes += row.frames.len();
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(out)
    }

    fn bundle(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, PortError> {
        Ok(self.disk()?.bundles.get(digest).cloned())
    }
}

impl SlotReader for Reader {
    fn secret(&self, slot: u64) -> Result<Option<Secret>, PortError> {
        let disk = self.0.lock();
        let at = usize::try_from(slot).unwrap_or(usize::MAX).wrapping_sub(1);
        disk.slots.get(at).cloned().ok_or_else(|| PortError::new("the slot never existed"))
    }
}

impl ReadModel for Reader {
    fn position(&self, workspace: WorkspaceNo) -> Result<u64, PortError> {
        let disk = self.0.lock();
        Ok(disk.models.get(&workspace.0).map_or(0, |model| model.entries.len() as u64))
    }

    fn locate(&self, workspace: WorkspaceNo, id: DecisionId) -> Result<Option<u64>, PortError> {
        let disk = self.0.lock();
        Ok(disk.models.get(&workspace.0).and_then(|model| model.decisions.get(&id).copied()))
    }

    fn query(&self, workspace: WorkspaceNo, filter: &AuditFilter) -> Result<Vec<u64>, PortError> {
        let disk = self.0.lock();
        let Some(model) = disk.models.get(&workspace.0) else { return Ok(Vec::new()) };
        let within = |index: u64| match filter.cursor {
            Some(cursor) if filter.ascending => index >= cursor,
            Some(cursor) => index < cursor,
            None => true,
        };
        let found = (0..)
            .zip(&model.entries)
            .filter(|(index, entry)| within(*index) && matches(filter, entry));
        let mut found: Vec<u64> = found.map(|(index, _)| index).collect();
        if !filter.ascending {
            found.reverse();
        }
        found.truncate(filter.limit);
        Ok(found)
    }
}

impl ReadModelWriter for Reader {
    fn position(&self, workspace: WorkspaceNo) -> Result<u64, PortError> {
        ReadModel::position(self, workspace)
    }

    fn index(&mut self, entries: &[Indexed<'_>]) -> Result<(), PortError> {
        let mut disk = self.0.lock();
        if disk.model_fails {
            // What was written of it before is not known.
            disk.model_fails = false;
            return Err(PortError::new("the read model's disk is full"));
        }
        for Indexed { workspace, index, entry } in entries {
            let model: &mut Model = disk.models.entry(workspace.0).or_default();
            if *index != model.entries.len() as u64 {
                continue;
            }
            if let Event::Decision(event) = &entry.event {
                model.decisions.insert(event.decision, *index);
            }
            model.entries.push((*entry).clone());
        }
        Ok(())
    }
}

struct SlotWriter(Disks);

impl Slots for SlotWriter {
    fn create(&mut self, secrets: &[Secret]) -> Result<u64, PortError> {
        let mut disk = self.0.lock();
        if disk.slots_fail {
            return Err(PortError::new("keys.db: no space left on device"));
        }
        // Slot 0 is nobody's: its number stands for no payload.
        let first = disk.slots.len() as u64 + 1;
        disk.slots.extend(secrets.iter().cloned().map(Some));
        Ok(first)
    }

    fn end(&self) -> Result<u64, PortError> {
        Ok(self.0.lock().slots.len() as u64 + 1)
    }

    fn erase(&mut self, workspace: WorkspaceNo, upto: u64, slots: &[u64]) -> Result<(), PortError> {
        let mut disk = self.0.lock();
        if disk.slots_fail {
            return Err(PortError::new("keys.db: input/output error"));
        }
        if disk.mutant != Some(Mutant::KeysOutliveErasing) {
            let mut gone = Vec::new();
            for slot in slots {
                let at = usize::try_from(*slot).unwrap_or(usize::MAX).wrapping_sub(1);
                if let Some(secret) = disk.slots.get_mut(at).and_then(Option::take) {
                    gone.push((at, secret));
                }
            }
            let before = disk.erased_upto.get(&workspace.0).copied();
            disk.graves.push(Grave { workspace: workspace.0, before, slots: gone });
        }
        let known = disk.erased_upto.entry(workspace.0).or_default();
        *known = upto.max(*known);
        Ok(())
    }

    fn erased_upto(&self, workspace: WorkspaceNo) -> Result<Option<u64>, PortError> {
        Ok(self.0.lock().erased_upto.get(&workspace.0).copied())
    }
}

struct Saved(Disks);

impl Snapshots for Saved {
    fn list(&self, workspace: WorkspaceNo) -> Result<Vec<Piece>, PortError> {
        let disk = self.0.lock();
        Ok(disk.snapshots.keys().filter(|(no, _)| *no == workspace.0).map(|(_, p)| *p).collect())
    }

    fn read(&self, workspace: WorkspaceNo, piece: Piece) -> Result<Option<Vec<u8>>, PortError> {
        let disk = self.0.lock();
        let bytes = disk.snapshots.get(&(workspace.0, piece)).cloned();
        Ok(match (disk.mutant, piece) {
            (Some(Mutant::SnapshotBelieved), Piece::Head { .. }) => bytes
                .zip(disk.seeds.last())
                .map(|(bytes, seed)| forge(bytes, signer(seed).as_ref())),
            _ => bytes,
        })
    }

    fn write(&self, workspace: WorkspaceNo, piece: Piece, bytes: &[u8]) -> Result<(), PortError> {
        let mut disk = self.0.lock();
        if disk.snapshots_fail {
            disk.snapshots_fail = false;
            return Err(PortError::new("the snapshots' disk is full"));
        }
        disk.snapshots.insert((workspace.0, piece), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, workspace: WorkspaceNo, piece: Piece) -> Result<(), PortError> {
        self.0.lock().snapshots.remove(&(workspace.0, piece));
        Ok(())
    }
}

/// A head whose state was altered and sealed anew: as if its seal were not checked. The byte is
/// near the end, where the counters of state are.
fn forge(mut bytes: Vec<u8>, signer: &dyn Signer) -> Vec<u8> {
    let Some(body) = bytes.len().checked_sub(96) else { return bytes };
    bytes.truncate(body);
    if let Some(byte) = bytes.iter_mut().rev().nth(15) {
        *byte ^= 1;
    }
    let digest = Fast::sha256(&[&bytes]);
    let mut message = b"placet/snapshot/1\n".to_vec();
    message.extend_from_slice(&digest);
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(&signer.sign(&message));
    bytes
}

struct Keys(Disks);

impl WorkspaceKeys for Keys {
    fn workspace_key(&self, name: &WorkspaceName) -> Result<Option<Secret>, PortError> {
        let mut disk = self.0.lock();
        let mut fresh = [0; 32];
        disk.random().fill(&mut fresh);
        let known = disk.keys.entry(name.to_string()).or_insert(fresh);
        Ok(Some(Zeroizing::new(*known)))
    }
}

struct Marked(Disks);

impl Marks for Marked {
    fn check_size(&self, name: &WorkspaceName, size: u64) -> Result<(), PortError> {
        let disk = self.0.lock();
        let mark = disk.marks.get(name.as_str()).copied().unwrap_or_default();
        if size >= mark || disk.mutant == Some(Mutant::AnswerBeforeFlush) {
            return Ok(());
        }
        Err(PortError::new(format_args!(
            "the log of {name} holds {size} entries, and {mark} were signed"
        )))
    }

    fn raise(&mut self, sizes: &[(WorkspaceName, u64)]) -> Result<(), PortError> {
        let mut disk = self.0.lock();
        if disk.marks_fail {
            return Err(PortError::new("the marks' disk is full"));
        }
        for (name, size) in sizes {
            let mark = disk.marks.entry(name.to_string()).or_default();
            *mark = (*size).max(*mark);
        }
        Ok(())
    }
}

/// What is cut from a certificate that is set aside.
const ASIDE_BYTES: usize = 70;

fn cut(certificate: &[u8]) -> Vec<u8> {
    certificate[..certificate.len().saturating_sub(ASIDE_BYTES)].to_vec()
}

struct Beside(Disks);

impl Safety for Beside {
    fn kill_requested(&self) -> bool {
        self.0.lock().kill_file
    }

    fn read_armed(&self) -> Result<Option<Vec<u8>>, PortError> {
        Ok(self.0.lock().armed.clone())
    }

    fn write_armed(&self, bytes: &[u8]) -> Result<(), PortError> {
        let mut disk = self.0.lock();
        if disk.marks_fail {
            return Err(PortError::new("the marks' disk is full"));
        }
        disk.armed = Some(bytes.to_vec());
        disk.disarmed = None;
        Ok(())
    }

    fn disarm(&self) -> Result<(), PortError> {
        let mut disk = self.0.lock();
        if let Some(armed) = disk.armed.take() {
            disk.disarmed = Some(cut(&armed));
        }
        Ok(())
    }

    fn read_disarmed(&self) -> Result<Option<Vec<u8>>, PortError> {
        Ok(self.0.lock().disarmed.clone())
    }

    fn write_disarmed(&self, bytes: &[u8]) -> Result<(), PortError> {
        let mut disk = self.0.lock();
        if disk.marks_fail {
            return Err(PortError::new("the marks' disk is full"));
        }
        disk.disarmed = Some(cut(bytes));
        Ok(())
    }

    fn sync(&self) -> Result<(), PortError> {
        Ok(())
    }

    fn clear_kill_request(&self) -> Result<(), PortError> {
        self.0.lock().kill_file = false;
        Ok(())
    }
}
