//! Reading old rows of the log and comparing them with what was sealed. A database has no checksums
//! of its own, and an entry with another letter in it is an entry all the same.

use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::frame::frames;
use crate::ports::{Batch, JournalReader, WorkspaceNo};
use placet_tlog::CompactRange;
use placet_tlog::merkle::leaf_hash;

/// Rows from the one that holds `index` on, until `bytes_max` bytes of frames have been read: their
/// entries lead from the tree before them to the tree after them.
pub(crate) fn read_sealed(
    journal: &dyn JournalReader,
    no: WorkspaceNo,
    index: u64,
    bytes_max: usize,
) -> Result<Vec<Batch>, PlaneError> {
    let failed = |error: crate::ports::PortError| PlaneError::StoreFailed(error.to_string());
    let batches = journal.read(no, index, bytes_max).map_err(failed)?;
    let Some(first) = batches.first().map(|batch| batch.first_index) else { return Ok(Vec::new()) };
    let mut range = match first {
        0 => CompactRange::<Fast>::new(),
        _ => journal
            .tree_state(no, first)
            .map_err(failed)?
            .and_then(|state| CompactRange::decode(&state))
            .filter(|range| range.size() == first)
            .ok_or_else(|| PlaneError::Damaged(format!("the tree before entry {first}")))?,
    };
    for batch in &batches {
        for frame in frames(&batch.frames) {
            let index = range.size();
            let frame =
                frame.map_err(|error| PlaneError::Damaged(format!("entry {index}: {error}")))?;
            range.append(leaf_hash::<Fast>(frame.entry));
        }
        let end = batch.first_index + u64::from(batch.count);
        if range.size() != end || CompactRange::decode(&batch.tree_state).as_ref() != Some(&range) {
            let (first, last) = (batch.first_index, end.saturating_sub(1));
            let what = format!("the entries {first} to {last} are not the ones that were sealed");
            return Err(PlaneError::Damaged(what));
        }
    }
    Ok(batches)
}
