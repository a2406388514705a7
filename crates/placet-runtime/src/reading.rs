//! Looking things up: entries by index, decisions by id, audit queries. Reads the newest
//! batches from memory, the rest through the read model and the journal.

mod filter;

use crate::error::PlaneError;
use crate::frame::{Frame, SlotKeys, frames};
use crate::host::in_time;
use crate::plane::{Opened, Plane, decision_of};
use crate::ports::AuditFilter;
use crate::proofs::Leaves;
use crate::sealed::read_sealed;
use crate::workspace::{Workspace, parse_batch};
use placet_tlog::Hash;
use placet_tlog::tiles::TileRef;
use placet_tlog::tree::TreeError;
use placet_types::event::{Entry, Event};
use placet_types::ids::DecisionId;
use placet_types::json::{self, Limits, Object, Value};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use filter::is_authority;
use filter::within;
pub use filter::{actor_of, event_decision, matches};

/// Entries that are looked through where the read model is behind; beyond it callers come back.
const BEHIND_MAX: u64 = 1 << 14;

/// An entry of the log with its index and canonical bytes.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Index.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// Its canonical bytes: the leaf.
    pub bytes: Vec<u8>,
}

/// A payload as it lies beside its entry.
pub(crate) struct Sealed {
    slot: u64,
    payload: Vec<u8>,
}

impl Plane {
    /// How far the read model has come: everything below this index can be found by it.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn indexed(&self, workspace: &Workspace) -> Result<u64, PlaneError> {
        self.model.position(workspace.no).map_err(store)
    }

    /// Has the read model made anew from the log, behind everything else. The old one answers until
    /// the new one takes its place.
    pub fn reindex(&self) {
        self.recent.ask_rebuild();
    }

    /// How often the read model was made anew since the start.
    #[must_use]
    pub fn rebuilds(&self) -> u64 {
        self.recent.rebuilds()
    }

    /// Refuses unless a search finds everything: what the read model lacks is among the newest
    /// batches. It is not so while a read model is filled that was lost, or one that has fallen far
    /// behind. Who says "there is none" or erases "all" has to ask.
    pub(crate) fn searchable(&self, workspace: &Workspace) -> Result<(), PlaneError> {
        // In this order: what leaves the newest batches meanwhile is in the model by then.
        let size = *workspace.size.borrow();
        let oldest = self.recent.first_index(workspace.no);
        let wanted = oldest.unwrap_or(size).min(size);
        let indexed = self.model.position(workspace.no).map_err(store)?;
        if indexed >= wanted { Ok(()) } else { Err(PlaneError::Indexing { indexed, size }) }
    }

    /// The log index of a decision.
    pub(crate) fn locate(&self, workspace: &Workspace, id: DecisionId) -> Result<u64, PlaneError> {
        let indexed = self.model.locate(workspace.no, id).map_err(store)?;
        if let Some(index) = indexed.or_else(|| self.recent.locate(workspace.no, id)) {
            return Ok(index);
        }
        // Indexed between the two look-ups, or, after a restart, not yet.
        match self.model.locate(workspace.no, id).map_err(store)? {
            Some(index) => Ok(index),
            None => match self.locate_behind(workspace, id)? {
                Some(index) => Ok(index),
                // Nothing vouches for the read model: the log has the last word.
                None => self.seek(workspace, id)?.ok_or(PlaneError::NotFound("decision")),
            },
        }
    }

    /// Looks through what the read model has not caught up with: after a restart that is not among
    /// the newest batches, and nobody is told "not found" of what is in the log.
    fn locate_behind(
        &self,
        workspace: &Workspace,
        id: DecisionId,
    ) -> Result<Option<u64>, PlaneError> {
        let size = *workspace.size.borrow();
        let from = self.indexed(workspace)?;
        if size.saturating_sub(from) > BEHIND_MAX {
            self.searchable(workspace)?;
        }
        let mut at = from;
        while at < size {
            let batches =
                self.sealed(read_sealed(self.journal.as_ref(), workspace.no, at, 1 << 20))?;
            if batches.is_empty() {
                break;
            }
            for batch in batches {
                let batch = parse_batch(batch).map_err(PlaneError::Damaged)?;
                let found = batch.entries.iter().zip(batch.first_index..).find(|(entry, _)| {
                    matches!(&entry.event, Event::Decision(event) if event.decision == id)
                });
                if let Some((_, index)) = found {
                    return Ok(Some(index));
                }
                at = batch.first_index + batch.entries.len() as u64;
            }
        }
        // It may have been indexed meanwhile, and passed over here.
        self.model.locate(workspace.no, id).map_err(store)
    }

    /// The surface of a decision, erased or not.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn surface_of(&self, workspace: &Workspace, id: DecisionId) -> Result<String, PlaneError> {
        let (entry, _) = self.entry(workspace, self.locate(workspace, id)?)?;
        Ok(decision_of(&entry)?.surface.clone())
    }

    /// The entry at `index` with its canonical bytes.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn log_entry(&self, workspace: &Workspace, index: u64) -> Result<LogEntry, PlaneError> {
        self.read(workspace, index).map(|(entry, _)| entry)
    }

    pub(crate) fn entry(
        &self,
        workspace: &Workspace,
        index: u64,
    ) -> Result<(Entry, Sealed), PlaneError> {
        self.read(workspace, index).map(|(entry, sealed)| (entry.entry, sealed))
    }

    fn read(&self, workspace: &Workspace, index: u64) -> Result<(LogEntry, Sealed), PlaneError> {
        if let Some((batch, at)) = self.recent.at(workspace.no, index) {
            let frame = batch
                .frame(at)
                .ok_or_else(|| PlaneError::Internal(format!("entry {index} has no frame")))?;
            let sealed = Sealed { slot: frame.slot, payload: frame.payload.to_vec() };
            let entry = batch.entries.get(at).cloned().ok_or(PlaneError::NotFound("entry"))?;
            return Ok((LogEntry { index, entry, bytes: frame.entry.to_vec() }, sealed));
        }
        let mut found = Err(PlaneError::NotFound("entry"));
        self.read_journal(workspace, index, index.saturating_add(1), |entry, frame| {
            let sealed = Sealed { slot: frame.slot, payload: frame.payload.to_vec() };
            found = Ok((entry, sealed));
        })?;
        found
    }

    /// The entries from `from` up to `until` that stand in one row of the journal with the first of
    /// them. Reads no entry besides these: a row has many.
    fn read_journal(
        &self,
        workspace: &Workspace,
        from: u64,
        until: u64,
        mut take: impl FnMut(LogEntry, Frame<'_>),
    ) -> Result<(), PlaneError> {
        let batches = self.sealed(read_sealed(self.journal.as_ref(), workspace.no, from, 1))?;
        let Some(batch) = batches.into_iter().next() else { return Ok(()) };
        for (index, frame) in (batch.first_index..).zip(frames(&batch.frames)) {
            if index >= until {
                break;
            }
            let damaged = |why: String| PlaneError::Damaged(format!("entry {index}: {why}"));
            let frame = frame.map_err(|error| damaged(error.to_string()))?;
            if index >= from {
                let entry =
                    Entry::parse(frame.entry).map_err(|error| damaged(error.to_string()))?;
                take(LogEntry { index, entry, bytes: frame.entry.to_vec() }, frame);
            }
        }
        Ok(())
    }

    /// The slot of the payload beside the entry at `index`, if there is one.
    pub(crate) fn slot_at(
        &self,
        workspace: &Workspace,
        index: u64,
    ) -> Result<Option<u64>, PlaneError> {
        let (_, sealed) = self.entry(workspace, index)?;
        Ok((!sealed.payload.is_empty()).then_some(sealed.slot))
    }

    /// The entry at `index` with its payload opened.
    pub(crate) fn open(&self, workspace: &Workspace, index: u64) -> Result<Opened, PlaneError> {
        self.open_or_entry(workspace, index)?.map_err(|_| PlaneError::PayloadErased)
    }

    /// As [`open`](Self::open); the entry alone where the payload was erased.
    pub(crate) fn open_or_entry(
        &self,
        workspace: &Workspace,
        index: u64,
    ) -> Result<Result<Opened, Entry>, PlaneError> {
        let (entry, sealed) = self.entry(workspace, index)?;
        if sealed.payload.is_empty() {
            return Ok(Err(entry));
        }
        let Some(secret) = self.slots.secret(sealed.slot).map_err(store)? else {
            return Ok(Err(entry));
        };
        let keys = SlotKeys::new(&secret);
        let plain = keys
            .open(sealed.slot, &sealed.payload)
            .map_err(|error| PlaneError::Internal(format!("payload of entry {index}: {error}")))?;
        let payload = match json::parse(&plain, Limits::PAYLOAD) {
            Ok(Value::Object(payload)) => payload,
            _ => return Err(PlaneError::Internal(format!("payload of entry {index} is damaged"))),
        };
        Ok(Ok(Opened { entry, keys, payload }))
    }

    /// The payload of the entry at `index`: `None` when there is none or it was erased.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn payload_at(
        &self,
        workspace: &Workspace,
        index: u64,
    ) -> Result<Option<Object>, PlaneError> {
        Ok(self.open_or_entry(workspace, index)?.ok().map(|opened| opened.payload))
    }

    /// Entries that match, newest first unless asked otherwise. Waits until the log has reached
    /// `min_index`, at most `wait`.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn audit(
        &self,
        workspace: &Arc<Workspace>,
        filter: &AuditFilter,
        min_index: Option<u64>,
        wait: Duration,
    ) -> Result<Vec<LogEntry>, PlaneError> {
        if let Some(min_index) = min_index {
            let mut size = workspace.watch_size();
            let reached = size.wait_for(|size| *size > min_index);
            if in_time(self.clock.as_ref(), wait, reached).await.is_none() {
                return Err(PlaneError::NotFound("entry at min_index yet"));
            }
        }
        self.audit_now(workspace, filter)
    }

    /// Entries that match, as of now.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn audit_now(
        &self,
        workspace: &Workspace,
        filter: &AuditFilter,
    ) -> Result<Vec<LogEntry>, PlaneError> {
        self.audit_beyond(workspace, filter, &[])
    }

    /// The same where some entries were read before, in the order of the log: a row is read and hashed
    /// as a whole, and not twice.
    pub(crate) fn audit_beyond(
        &self,
        workspace: &Workspace,
        filter: &AuditFilter,
        known: &[LogEntry],
    ) -> Result<Vec<LogEntry>, PlaneError> {
        // The newest batches first: what leaves them meanwhile is in the model by then.
        let recent = self.recent.batches(workspace.no);
        let indexed = self.model.position(workspace.no).map_err(store)?;
        let mut fresh: Vec<LogEntry> = Vec::new();
        for batch in &recent {
            for (at, entry) in batch.entries.iter().enumerate() {
                let index = batch.first_index + at as u64;
                if index >= indexed && within(filter, index) && matches(filter, entry) {
                    let bytes = batch.entry_bytes(at).to_vec();
                    fresh.push(LogEntry { index, entry: entry.clone(), bytes });
                }
            }
        }
        if !filter.ascending {
            fresh.reverse();
        }
        let mut out = Vec::new();
        let enough = !filter.ascending && fresh.len() >= filter.limit;
        if !enough {
            let mut cursor = filter.cursor;
            loop {
                let asked = AuditFilter { cursor, limit: filter.limit + 16, ..filter.clone() };
                let found = self.model.query(workspace.no, &asked).map_err(store)?;
                let last = found.last().copied();
                let full = found.len() >= asked.limit;
                for index in found {
                    let read = known.binary_search_by_key(&index, |entry| entry.index);
                    let entry = match read.ok().and_then(|at| known.get(at)) {
                        Some(entry) => entry.clone(),
                        None => self.log_entry(workspace, index)?,
                    };
                    // The model's keys are hashes: the entry itself has the last word.
                    if matches(filter, &entry.entry) && index < indexed {
                        out.push(entry);
                    }
                }
                match last {
                    Some(last) if full && out.len() < filter.limit => {
                        cursor = Some(if filter.ascending { last + 1 } else { last });
                    }
                    _ => break,
                }
            }
        }
        if filter.ascending {
            out.extend(fresh);
        } else {
            fresh.extend(out);
            out = fresh;
        }
        out.truncate(filter.limit);
        Ok(out)
    }

    /// Entries from `from` on, at most `max`: what a subscriber reads.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn tail(
        &self,
        workspace: &Workspace,
        from: u64,
        max: usize,
    ) -> Result<Vec<LogEntry>, PlaneError> {
        let size = *workspace.size.borrow();
        let until = size.min(from.saturating_add(max as u64));
        let mut out = Vec::new();
        let mut next = from;
        while next < until {
            let before = next;
            if let Some((batch, at)) = self.recent.at(workspace.no, next) {
                for at in at..batch.entries.len() {
                    let Some(entry) = batch.entries.get(at).cloned() else { break };
                    if next >= until {
                        break;
                    }
                    out.push(LogEntry {
                        index: next,
                        entry,
                        bytes: batch.entry_bytes(at).to_vec(),
                    });
                    next += 1;
                }
            } else {
                self.read_journal(workspace, next, until, |entry, _| {
                    next = entry.index + 1;
                    out.push(entry);
                })?;
            }
            if next == before {
                break;
            }
        }
        Ok(out)
    }

    /// Everything that happened to the decisions of a trace, in the order of the log.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn trace(
        &self,
        workspace: &Workspace,
        trace: &str,
        limit: usize,
    ) -> Result<Vec<LogEntry>, PlaneError> {
        let filter = AuditFilter {
            trace: Some(trace.to_owned()),
            ascending: true,
            limit,
            ..AuditFilter::default()
        };
        let found = self.audit_now(workspace, &filter)?;
        let (mut out, mut asked) = (Vec::new(), HashSet::new());
        for entry in &found {
            match event_decision(&entry.entry.event) {
                Some(id) if asked.insert(id) => {
                    out.extend(self.events_of(workspace, id, limit, &found)?);
                }
                Some(_) => {}
                None => out.push(entry.clone()),
            }
        }
        out.sort_by_key(|entry| entry.index);
        out.dedup_by_key(|entry| entry.index);
        out.truncate(limit);
        Ok(out)
    }

    pub(crate) fn leaves(&self) -> Leaves<'_> {
        Leaves { journal: self.journal.as_ref(), model: self.model.as_ref() }
    }

    /// The bytes of a tile or entry bundle of the published log; `None` if it has none.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn tile(
        &self,
        workspace: &Workspace,
        tile: &TileRef,
    ) -> Result<Option<Vec<u8>>, PlaneError> {
        let bytes = workspace.tile_bytes(tile, &self.leaves());
        bytes.map_err(|error| PlaneError::Internal(error.to_string()))
    }

    /// The proof that the log of `new` entries extends that of `old` entries.
    ///
    /// # Errors
    /// [`PlaneError`]; not found where the log is not that large.
    pub fn consistency(
        &self,
        workspace: &Workspace,
        old: u64,
        new: u64,
    ) -> Result<Vec<Hash>, PlaneError> {
        let proof = workspace.consistency(old, new, &self.leaves());
        proof.map_err(|error| match error {
            TreeError::OutOfRange => PlaneError::NotFound("size of this log"),
            error => PlaneError::Internal(error.to_string()),
        })
    }
}

pub(crate) fn store(error: crate::ports::PortError) -> PlaneError {
    PlaneError::Internal(format!("the store could not be read: {error}"))
}
