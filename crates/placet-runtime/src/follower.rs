//! The follower: fills the read model behind the log, from the newest batches or, after a restart
//! or a lag, from the journal. Derived data: whatever goes wrong here never stops deciding.

use crate::host::Host;
use crate::ports::{Indexed, JournalReader, LeafTile, PortError, ReadModelWriter, WorkspaceNo};
use crate::recent::Recent;
use crate::tiling::Tiling;
use crate::workspace::{Committed, parse_batch};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Entries per transaction of the read model.
const CHUNK: usize = 4096;

pub(crate) struct Follower {
    pub(crate) model: Box<dyn ReadModelWriter>,
    pub(crate) journal: Arc<dyn JournalReader>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) positions: BTreeMap<WorkspaceNo, u64>,
    pub(crate) tiling: Tiling,
    /// Entries indexed since the start, for metrics.
    pub(crate) indexed: Arc<AtomicU64>,
    pub(crate) host: Host,
}

/// What a turn of the follower leaves its thread to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next turn.
    Turn,
    /// A pause: the read model failed.
    Pause,
    /// Nothing any more.
    End,
}

impl Follower {
    pub(crate) fn run(mut self) {
        self.begin();
        loop {
            match self.turn(Duration::from_millis(200)) {
                Next::Turn => {}
                Next::Pause => std::thread::sleep(Duration::from_secs(1)),
                Next::End => return,
            }
        }
    }

    /// Indexes what a restart or a lag has left.
    pub(crate) fn begin(&mut self) {
        if let Err(error) = self.catch_up_all() {
            self.host.say(format_args!("the read model lags: {error}"));
        }
    }

    /// Indexes the oldest batches that wait, or those that come within `wait`.
    pub(crate) fn turn(&mut self, wait: Duration) -> Next {
        if self.recent.take_rebuild() {
            match self.make_anew() {
                Ok(true) => self.recent.rebuilt(),
                Ok(false) => {}
                Err(error) => {
                    self.host.say(format_args!("the read model could not be made anew: {error}"));
                }
            }
        }
        let (batches, closed) = self.recent.oldest(CHUNK, wait);
        if batches.is_empty() {
            return if closed { Next::End } else { Next::Turn };
        }
        match self.follow(&batches) {
            Ok(()) => {
                self.recent.forget(&batches);
                Next::Turn
            }
            Err(error) => {
                self.host.say(format_args!("the read model lags: {error}"));
                if closed { Next::End } else { Next::Pause }
            }
        }
    }

    fn follow(&mut self, batches: &[Arc<Committed>]) -> Result<(), PortError> {
        let mut entries = Vec::with_capacity(CHUNK);
        let mut tiles = Vec::new();
        for batch in batches {
            let position = self.position(batch.workspace)?;
            if batch.first_index > position {
                self.index(std::mem::take(&mut entries), std::mem::take(&mut tiles))?;
                self.catch_up(batch.workspace, batch.first_index)?;
            }
            let position = self.position(batch.workspace)?;
            for (at, entry) in batch.entries.iter().enumerate() {
                let index = batch.first_index + at as u64;
                if index >= position {
                    entries.push(Indexed { workspace: batch.workspace, index, entry });
                    tiles.extend(self.tile(batch, at));
                }
            }
            let next = batch.first_index + batch.entries.len() as u64;
            self.positions.insert(batch.workspace, next.max(position));
        }
        self.index(entries, tiles)
    }

    /// The tile that this entry of a batch completes.
    fn tile(&mut self, batch: &Committed, at: usize) -> Option<LeafTile> {
        let index = batch.first_index + at as u64;
        let journal = self.journal.as_ref();
        self.tiling.take(journal, batch.workspace, index, batch.entry_bytes(at))
    }

    /// Fills another read model from the log and puts it in the place of this one, which is read
    /// meanwhile and stays as it is: what is decided meanwhile waits among the newest batches.
    /// Whether it was done; not when the server goes down before.
    fn make_anew(&mut self) -> Result<bool, PortError> {
        self.model.begin_anew()?;
        self.positions.clear();
        let filled = self.catch_up_all().and_then(|()| {
            let whole = !self.recent.is_closed();
            if whole { self.model.finish_anew() } else { Ok(()) }.map(|()| whole)
        });
        if !matches!(filled, Ok(true)) {
            self.model.abandon_anew();
        }
        self.positions.clear();
        filled
    }

    fn catch_up_all(&mut self) -> Result<(), PortError> {
        for (workspace, _) in self.journal.workspaces()? {
            let head = self.journal.head(workspace)?;
            self.catch_up(workspace, head.next_index)?;
        }
        Ok(())
    }

    fn catch_up(&mut self, workspace: WorkspaceNo, until: u64) -> Result<(), PortError> {
        let mut position = self.position(workspace)?;
        // Going down, what is left is caught up with at the next start.
        while position < until && !self.recent.is_closed() {
            let batches = self.journal.read(workspace, position, 4 << 20)?;
            if batches.is_empty() {
                return Err(PortError::new(format!("the journal ends before entry {position}")));
            }
            for batch in batches {
                let batch = parse_batch(batch).map_err(PortError::new)?;
                let first = batch.first_index;
                let entries: Vec<Indexed<'_>> = batch
                    .entries
                    .iter()
                    .zip(first..)
                    .filter(|(_, index)| *index >= position)
                    .map(|(entry, index)| Indexed { workspace, index, entry })
                    .collect();
                let skip = usize::try_from(position.saturating_sub(first)).unwrap_or(usize::MAX);
                let tiles = (skip..batch.entries.len()).filter_map(|at| self.tile(&batch, at));
                let tiles = tiles.collect();
                position += entries.len() as u64;
                self.index(entries, tiles)?;
                self.positions.insert(workspace, position);
            }
        }
        Ok(())
    }

    fn position(&mut self, workspace: WorkspaceNo) -> Result<u64, PortError> {
        if let Some(position) = self.positions.get(&workspace) {
            return Ok(*position);
        }
        let position = self.model.position(workspace)?;
        self.positions.insert(workspace, position);
        Ok(position)
    }

    fn index(&mut self, entries: Vec<Indexed<'_>>, tiles: Vec<LeafTile>) -> Result<(), PortError> {
        if entries.is_empty() {
            return Ok(());
        }
        // Tiles first: what is indexed is not looked at again.
        let done = self.model.keep_tiles(&tiles).and_then(|()| self.model.index(&entries));
        if done.is_err() {
            self.tiling.clear();
            // What is durable there is not known now: ask again before the next attempt.
            self.positions.clear();
        }
        done?;
        self.indexed.fetch_add(entries.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
