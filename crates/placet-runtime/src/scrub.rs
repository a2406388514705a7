//! The seal of the log, looked at while it is served: a thread reads every log from its beginning, at a
//! pace that disturbs nobody, and compares it with the tree in memory that checkpoints are signed from.
//! Owns that comparison and what follows from a difference; refuses to know what entries mean.

use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::frame::frames;
use crate::plane::Plane;
use crate::ports::Batch;
use crate::workspace::Workspace;
use placet_tlog::CompactRange;
use placet_tlog::merkle::leaf_hash;
use placet_types::event::KillSource;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;
/// Bytes per second.
const PACE: u64 = 4 << 20;
/// What a look costs at least, in bytes: many short logs are no reason to look all the time.
const LOOK_COST: u64 = 16 << 10;
/// Rest after each round over all logs.
const REST: Duration = Duration::from_secs(1);
/// Longest pause in which nobody asks whether the plane goes down.
const NAP: Duration = Duration::from_millis(50);
/// A store that cannot be read is asked so often before its log counts as gone.
const UNREAD_MAX: u32 = 3;

impl Plane {
    /// Passes a result on; where the log is not what was sealed, everything stops.
    pub(crate) fn sealed<T>(&self, result: Result<T, PlaneError>) -> Result<T, PlaneError> {
        if let Err(PlaneError::Damaged(what)) = &result {
            self.break_seal(what);
        }
        result
    }

    /// The log is not what was sealed: everything stops. While it has stopped for that, nothing more
    /// happens.
    pub(crate) fn break_seal(&self, what: &str) {
        if !self.watched.is_tampered() {
            self.trip_at_once(KillSource::Seal);
            self.host.say(format_args!(
                "the log is not what was sealed ({what}): the kill switch of everything is tripped"
            ));
        }
    }
}

/// How far a round over one log has come.
struct Round {
    /// The size and the root that the log has to come to.
    size: u64,
    root: placet_tlog::Hash,
    range: CompactRange<Fast>,
}

impl Round {
    fn new(workspace: &Workspace) -> Self {
        let head = workspace.head();
        Self { size: head.head.size(), root: head.head.root(), range: CompactRange::new() }
    }

    /// Takes rows that follow; the first difference from what was sealed.
    fn take(&mut self, batches: &[Batch]) -> Result<(), String> {
        let before = self.range.size();
        for batch in batches {
            // Beyond the head of this round others are compared in the next one.
            if self.range.size() >= self.size {
                break;
            }
            if batch.first_index != self.range.size() {
                return Err(format!("entry {} is missing", self.range.size()));
            }
            for frame in frames(&batch.frames) {
                let index = self.range.size();
                let frame = frame.map_err(|error| format!("entry {index}: {error}"))?;
                self.range.append(leaf_hash::<Fast>(frame.entry));
            }
            let end = batch.first_index + u64::from(batch.count);
            let sealed = CompactRange::decode(&batch.tree_state);
            if self.range.size() != end || sealed.as_ref() != Some(&self.range) {
                return Err(format!(
                    "the entries {} to {}",
                    batch.first_index,
                    end.saturating_sub(1)
                ));
            }
        }
        match self.range.size() {
            size if size == before => Err(format!("entry {size} is missing")),
            size if size == self.size && self.range.root() != self.root => {
                Err(format!("the first {size} entries have another root"))
            }
            size if size > self.size => Err(format!("no row ends with entry {}", self.size)),
            _ => Ok(()),
        }
    }
}

/// Until the plane is gone or goes down.
pub(crate) fn run(plane: &Weak<Plane>) {
    while let Some(workspaces) = alive(plane).map(|plane| plane.all_workspaces()) {
        for workspace in workspaces {
            if !over(plane, &workspace) {
                return;
            }
        }
        if !rest(plane, REST) {
            return;
        }
    }
}

/// One log from its beginning; false when there is no plane any more.
fn over(plane: &Weak<Plane>, workspace: &Arc<Workspace>) -> bool {
    let mut round = Round::new(workspace);
    let mut unread = 0;
    while round.range.size() < round.size {
        let Some(here) = alive(plane) else { return false };
        // A store that has failed says nothing of its log; nothing is decided either.
        if here.gauges.failed.load(Ordering::SeqCst) {
            return true;
        }
        let mut cost = LOOK_COST;
        match here.journal.read(workspace.no, round.range.size(), PIECE) {
            Ok(batches) => {
                unread = 0;
                cost = cost.max(batches.iter().map(|batch| batch.frames.len() as u64).sum());
                if let Err(what) = round.take(&batches) {
                    here.break_seal(&format!("workspace {}: {what}", workspace.name));
                    return true;
                }
            }
            Err(error) => {
                unread += 1;
                if unread >= UNREAD_MAX {
                    let at = round.range.size();
                    here.break_seal(&format!("workspace {}, entry {at}: {error}", workspace.name));
                    return true;
                }
            }
        }
        drop(here);
        if !rest(plane, Duration::from_micros(cost.saturating_mul(1_000_000) / PACE)) {
            return false;
        }
    }
    true
}

fn alive(plane: &Weak<Plane>) -> Option<Arc<Plane>> {
    plane.upgrade().filter(|plane| !plane.stopping.load(Ordering::SeqCst))
}

fn rest(plane: &Weak<Plane>, mut wait: Duration) -> bool {
    while alive(plane).is_some() {
        let nap = wait.min(NAP);
        if nap.is_zero() {
            return true;
        }
        std::thread::sleep(nap);
        wait -= nap;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, push};
    use crate::ports::WorkspaceNo;

    /// A log of rows with two entries each.
    fn log(rows: u64) -> (Vec<Batch>, CompactRange<Fast>) {
        let mut range = CompactRange::<Fast>::new();
        let rows = (0..rows).map(|row| {
            let mut bytes = Vec::new();
            for index in [2 * row, 2 * row + 1] {
                let entry = format!("entry {index}");
                push(&mut bytes, Frame { entry: entry.as_bytes(), slot: 0, payload: &[] });
                range.append(leaf_hash::<Fast>(entry.as_bytes()));
            }
            Batch {
                workspace: WorkspaceNo(0),
                first_index: 2 * row,
                count: 2,
                epoch: 1,
                frames: bytes,
                tree_state: range.encode(),
            }
        });
        (rows.collect(), range)
    }

    fn round(rows: u64) -> Round {
        let (_, range) = log(rows);
        Round { size: range.size(), root: range.root(), range: CompactRange::new() }
    }

    #[test]
    fn a_whole_log_is_what_was_sealed() {
        let (rows, _) = log(9);
        round(9).take(&rows).unwrap();
        // In pieces, and with rows that came later.
        let mut pieces = round(7);
        pieces.take(&rows[..3]).unwrap();
        pieces.take(&rows[3..]).unwrap();
    }

    /// Where the slots stand in frames without payloads.
    fn slots(frames: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let length = frames.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)?;
            let slot = at + 4 + length as usize;
            at = slot + 8 + 4;
            Some(slot..slot + 8)
        })
    }

    #[test]
    fn whatever_is_altered_is_found() {
        let (whole, _) = log(5);
        for row in 0..whole.len() {
            for byte in 0..whole[row].frames.len() {
                let mut rows = log(5).0;
                rows[row].frames[byte] ^= 1;
                // The slot beside an entry is no part of its leaf, and nothing else.
                let beside = slots(&whole[row].frames).any(|slot| slot.contains(&byte));
                let found = round(5).take(&rows).is_err();
                assert!(found || beside, "row {row}, byte {byte} of its frames");
            }
            for byte in 0..whole[row].tree_state.len() {
                let mut rows = log(5).0;
                rows[row].tree_state[byte] ^= 1;
                assert!(round(5).take(&rows).is_err(), "row {row}, byte {byte} of its tree");
            }
        }
        let mut gone = log(5).0;
        gone.remove(2);
        assert!(round(5).take(&gone).is_err());
        assert!(round(5).take(&[]).is_err(), "nothing is left");
    }

    #[test]
    fn a_log_that_was_written_anew_has_another_root() {
        // Every row leads to the next, from another beginning.
        let mut range = CompactRange::<Fast>::new();
        let mut rows = log(3).0;
        for row in &mut rows {
            row.frames.clear();
            for index in 0..2 {
                let entry = format!("forged {index}");
                push(&mut row.frames, Frame { entry: entry.as_bytes(), slot: 0, payload: &[] });
                range.append(leaf_hash::<Fast>(entry.as_bytes()));
            }
            row.tree_state = range.encode();
        }
        assert!(round(3).take(&rows).unwrap_err().contains("another root"));
    }
}
