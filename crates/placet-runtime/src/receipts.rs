//! Receipts: what the log holds of a decision, who may look at it, and the proof that it is there. A
//! row of the journal is long, and only as a whole can it be compared with what was sealed: it is
//! read once for all three.

use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::plane::{Decided, Plane, Principal};
use crate::reading::{LogEntry, is_authority};
use crate::seeking::EVENTS_MAX;
use crate::workspace::{SignedHead, Workspace};
use placet_tlog::Hash;
use placet_tlog::merkle::{leaf_hash, verify_inclusion};
use placet_tlog::receipt::write_receipt;
use placet_types::event::Event;
use placet_types::ids::DecisionId;
use std::sync::Arc;

/// The checkpoint that a receipt stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The newest batch's.
    Newest,
    /// The one published last, with its cosignatures.
    Published,
}

/// What the log holds of a decision, oldest first: the decision, and what came of it.
#[derive(Clone, Debug)]
pub struct History {
    events: Vec<LogEntry>,
    /// Place of the decision itself among them.
    decision: usize,
}

impl Plane {
    /// Reads what the log holds of a decision.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn history(&self, workspace: &Workspace, id: DecisionId) -> Result<History, PlaneError> {
        let events = self.events_of(workspace, id, EVENTS_MAX, &[])?;
        let is_it = |entry: &LogEntry| matches!(&entry.entry.event, Event::Decision(event) if event.decision == id);
        let decision = events.iter().position(is_it).ok_or(PlaneError::NotFound("decision"))?;
        Ok(History { events, decision })
    }

    /// Refuses whoever may not see the decision.
    ///
    /// # Errors
    /// [`PlaneError::NotFound`]: to whoever may not see it, it is not there.
    pub async fn may_see_history(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        history: &History,
    ) -> Result<(), PlaneError> {
        let found = history.events.get(history.decision);
        let LogEntry { index, entry, .. } = found.ok_or(PlaneError::NotFound("decision"))?;
        let answer = self.present_entry(workspace, *index, entry, None, None).await?;
        self.may_see(workspace, principal, &answer).await
    }

    /// The receipt of the newest authority entry of a history, or of its entry at `index`.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn receipt(
        &self,
        workspace: &Workspace,
        history: &History,
        index: Option<u64>,
        against: Against,
    ) -> Result<String, PlaneError> {
        let mut newest_first = history.events.iter().rev();
        let entry = newest_first.find(|entry| match index {
            Some(index) => entry.index == index,
            None => is_authority(&entry.entry.event),
        });
        let entry = entry.ok_or(PlaneError::NotFound("decision"))?;
        let head = match against {
            Against::Newest => workspace.head(),
            Against::Published => workspace.published(),
        };
        if entry.index >= head.head.size() {
            return Err(PlaneError::NotFound("published checkpoint with this entry, yet,"));
        }
        let path = self.path(workspace, &head, entry.index)?;
        // What was read back is in the tree that the checkpoint is of, or the log was altered.
        let leaf = leaf_hash::<Fast>(&entry.bytes);
        let (size, root) = (head.head.size(), head.head.root());
        let proven = verify_inclusion::<Fast>(&leaf, entry.index, size, &path, &root)
            .map_err(|_| PlaneError::Damaged(format!("entry {} is not in the tree", entry.index)));
        self.sealed(proven)?;
        Ok(write_receipt(&entry.bytes, entry.index, &path, &head.note))
    }

    /// The receipt of an answer that was written just now; of an earlier one by its index.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn receipt_inline(
        &self,
        workspace: &Workspace,
        decided: &Decided,
    ) -> Result<String, PlaneError> {
        match &decided.written {
            Some(written) => {
                let at = written.range.start;
                let index = written.batch.first_index + at as u64;
                let head = workspace.head();
                let path = self.path(workspace, &head, index)?;
                Ok(write_receipt(written.batch.entry_bytes(at), index, &path, &head.note))
            }
            None => {
                let history = self.history(workspace, decided.answer.event.decision)?;
                self.receipt(workspace, &history, None, Against::Newest)
            }
        }
    }

    fn path(
        &self,
        workspace: &Workspace,
        head: &SignedHead,
        index: u64,
    ) -> Result<Vec<Hash>, PlaneError> {
        workspace
            .inclusion(head, index, &self.leaves())
            .ok_or_else(|| PlaneError::Internal(format!("no inclusion proof for entry {index}")))
    }
}
