//! Looking for a decision in the log itself, where the read model does not have it: an id says when it
//! was made, and the time of a log never goes back. Refuses to know any other condition.

use crate::error::PlaneError;
use crate::frame::frames;
use crate::plane::Plane;
use crate::ports::{AuditFilter, Batch};
use crate::reading::LogEntry;
use crate::workspace::Workspace;
use placet_types::event::{Entry, Event};
use placet_types::ids::{DecisionId, TimeMs};

/// Entries that are looked through from the time of the id on: as many as may have been written before
/// a decision that was on its way.
const SEEK_MAX: u64 = 2048;
/// Events of one decision that are read at most, the oldest first.
pub(crate) const EVENTS_MAX: usize = 1024;
/// Bytes of frames read at a time.
const READ_BYTES: usize = 256 << 10;

impl Plane {
    /// All events of a decision, oldest first; the decision itself though the read model hides it.
    /// `known` were read before, in the order of the log.
    pub(crate) fn events_of(
        &self,
        workspace: &Workspace,
        id: DecisionId,
        limit: usize,
        known: &[LogEntry],
    ) -> Result<Vec<LogEntry>, PlaneError> {
        let filter =
            AuditFilter { decision: Some(id), ascending: true, limit, ..AuditFilter::default() };
        let mut found = self.audit_beyond(workspace, &filter, known)?;
        self.searchable(workspace)?;
        let is_it = |entry: &LogEntry| matches!(&entry.entry.event, Event::Decision(event) if event.decision == id);
        if !found.iter().any(is_it) {
            match self.locate(workspace, id) {
                Ok(index) => found.insert(0, self.log_entry(workspace, index)?),
                Err(PlaneError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The index of the decision, if the log has it among the [`SEEK_MAX`] entries that follow the time
    /// in its id. Reads two dozen rows of a log of a million, and what it looks through.
    pub(crate) fn seek(
        &self,
        workspace: &Workspace,
        id: DecisionId,
    ) -> Result<Option<u64>, PlaneError> {
        let made = time_of(id);
        if made > self.clock.wall() {
            return Ok(None);
        }
        let size = *workspace.size.borrow();
        let mut at = self.first_at(workspace, size, made)?;
        let end = size.min(at.saturating_add(SEEK_MAX));
        let text = id.to_string();
        while at < end {
            let before = at;
            for batch in self.rows(workspace, at, READ_BYTES)? {
                for (index, frame) in (batch.first_index..).zip(frames(&batch.frames)) {
                    let Ok(frame) = frame else { return Ok(None) };
                    at = at.max(index + 1);
                    if names(frame.entry, text.as_bytes())
                        && let Ok(Entry { event: Event::Decision(event), .. }) =
                            Entry::parse(frame.entry)
                        && event.decision == id
                    {
                        return Ok(Some(index));
                    }
                }
            }
            if at == before {
                break;
            }
        }
        Ok(None)
    }

    /// The first entry of the row in which the log reaches `time`.
    fn first_at(&self, workspace: &Workspace, size: u64, time: TimeMs) -> Result<u64, PlaneError> {
        let (mut low, mut high) = (0, size);
        while low < high {
            let middle = low + (high - low) / 2;
            let rows = self.rows(workspace, middle, 1)?;
            let Some(batch) = rows.first() else { break };
            let last = frames(&batch.frames).last();
            let last = last.and_then(Result::ok).map(|frame| Entry::parse(frame.entry));
            // What cannot be read is not what is looked for.
            if matches!(last, Some(Ok(entry)) if entry.time >= time) {
                high = batch.first_index;
            } else {
                low = batch.first_index + u64::from(batch.count).max(1);
            }
        }
        Ok(low)
    }

    fn rows(
        &self,
        workspace: &Workspace,
        index: u64,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, PlaneError> {
        let rows = self.journal.read(workspace.no, index, bytes_max);
        rows.map_err(|error| PlaneError::StoreFailed(error.to_string()))
    }
}

/// The time in a UUIDv7.
fn time_of(id: DecisionId) -> TimeMs {
    let [a, b, c, d, e, f, ..] = *id.bytes();
    TimeMs(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

fn names(entry: &[u8], text: &[u8]) -> bool {
    entry.windows(text.len()).any(|window| window == text)
}
