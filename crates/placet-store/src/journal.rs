//! The log in `journal.db`: a row per batch, appended by compare-and-set in one durable commit;
//! also the bundles and the names of workspaces. Refuses to know what entries mean.

mod checkpointer;

use crate::error::OpenError;
use crate::lock::Lock;
use crate::sqlite::{self, Pool, Schema, index_of, row_id, row_range, unsigned};
use checkpointer::{Checkpointer, Progress};
use placet_runtime::ports::{
    AppendError, Batch, Head, Journal, JournalReader, PortError, WorkspaceNo,
};
use placet_types::ids::WorkspaceName;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `tree_state` stands before `frames`, so that reading a head does not walk the frames' pages.
const SCHEMA: Schema = Schema {
    application: 0x504c_4a31,
    version: 1,
    tables: "CREATE TABLE batch(id INTEGER PRIMARY KEY, count INTEGER NOT NULL, \
             epoch INTEGER NOT NULL, tree_state BLOB NOT NULL, frames BLOB NOT NULL) STRICT; \
             CREATE TABLE workspace(no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT; \
             CREATE TABLE bundle(digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;",
    writer: "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-65536;",
    page_size: 8192,
};

/// WAL bytes after which the pages are written back: a few times a second under load, and never so many that the
/// flush of a commit waits long behind theirs.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// More bytes before the next attempt, where a reader kept a checkpoint from finishing.
const RETRY_BYTES: u64 = 4 << 20;
/// A WAL of at least this size is emptied when there is nothing to write.
const IDLE_BYTES: u64 = 4 << 20;
/// Pages a commit writes besides the bytes of its batches, roughly.
const COMMIT_BYTES: u64 = 4 * 8192;

/// The writing end of the log.
///
/// Position and epoch are compared inside the transaction that inserts, so the compare-and-set
/// holds whoever else may have written; the lock of the data directory only keeps it from being
/// contended.
pub struct SqliteJournal {
    path: PathBuf,
    /// `None` after a failure: a handle that failed once is never used again.
    conn: Option<Connection>,
    /// Bytes in the WAL that no complete checkpoint has covered.
    pending: u64,
    /// Size of the WAL file, roughly; a checkpoint without truncation leaves it.
    wal: u64,
    /// `pending` at which the next checkpoint is tried.
    checkpoint_at: u64,
    /// Copies most pages back while commits go on.
    helper: Option<Checkpointer>,
    /// Keeps the data directory ours as long as this writes.
    _lock: Option<Arc<Lock>>,
}

impl std::fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteJournal").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why a transaction did not commit.
enum Refusal {
    Known(AppendError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl SqliteJournal {
    pub(crate) fn create(path: &Path) -> Result<(), OpenError> {
        let conn = sqlite::create(path, &SCHEMA)?;
        sqlite::checkpoint(&conn, "TRUNCATE").map_err(|e| sqlite::refused(path, &e))?;
        Ok(())
    }

    pub(crate) fn open(path: PathBuf, lock: Option<Arc<Lock>>) -> Result<Self, OpenError> {
        let conn = sqlite::open_writer(&path, &SCHEMA)?;
        let helper = Checkpointer::start(sqlite::open_writer(&path, &SCHEMA)?, &path);
        Ok(Self {
            path,
            conn: Some(conn),
            pending: 0,
            wal: 0,
            checkpoint_at: CHECKPOINT_BYTES,
            helper,
            _lock: lock,
        })
    }

    /// Runs one transaction; whatever fails in it ends the handle.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal>,
    ) -> Result<T, AppendError> {
        let Some(mut conn) = self.conn.take() else {
            return Err(AppendError::Unknown("the journal failed before, reopen it".into()));
        };
        let done = (|| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx);
            if value.is_ok() {
                tx.commit()?;
            } else {
                tx.rollback()?;
            }
            value
        })();
        match done {
            Ok(value) => {
                self.conn = Some(conn);
                Ok(value)
            }
            Err(Refusal::Known(error)) => {
                if !matches!(error, AppendError::Unknown(_)) {
                    self.conn = Some(conn);
                }
                Err(error)
            }
            Err(Refusal::Sqlite(error)) => {
                Err(AppendError::Unknown(format!("{}: {error}", self.path.display())))
            }
        }
    }

    /// Lets the helper copy the bulk, then copies the rest here: after that the WAL starts anew.
    fn write_back(&mut self) {
        match self.helper.as_ref().map(|helper| (helper, helper.progress())) {
            Some((_, Progress::Running)) => {}
            Some((helper, Progress::Done)) => {
                helper.rest();
                self.checkpoint("PASSIVE");
            }
            // Its flush covers commits that were answered: the handle is dead.
            Some((_, Progress::Failed)) => self.conn = None,
            Some((helper, Progress::Idle))
                if self.pending >= self.checkpoint_at && !helper.begin() =>
            {
                self.checkpoint("PASSIVE");
            }
            None if self.pending >= self.checkpoint_at => self.checkpoint("PASSIVE"),
            _ => {}
        }
    }

    /// A failed checkpoint ends the handle: its flush covers commits that were answered.
    fn checkpoint(&mut self, mode: &str) {
        let Some(conn) = self.conn.take() else { return };
        let Ok(done) = sqlite::checkpoint_now(&conn, mode) else { return };
        self.conn = Some(conn);
        if done {
            self.pending = 0;
            self.checkpoint_at = CHECKPOINT_BYTES;
            if mode == "TRUNCATE" {
                self.wal = 0;
            }
        } else {
            self.checkpoint_at = self.pending.saturating_add(RETRY_BYTES);
        }
    }
}

impl Journal for SqliteJournal {
    fn append(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        self.transact(|tx| batches.iter().try_for_each(|batch| insert(tx, batch)))?;
        let bytes: usize =
            batches.iter().map(|batch| batch.frames.len() + batch.tree_state.len()).sum();
        self.pending += u64::try_from(bytes).unwrap_or(u64::MAX >> 1) + COMMIT_BYTES;
        self.wal = self.wal.max(self.pending);
        self.write_back();
        Ok(())
    }

    fn create_workspace(&mut self, name: &WorkspaceName) -> Result<WorkspaceNo, PortError> {
        let no = self.transact(|tx| {
            let known = "SELECT no FROM workspace WHERE name = ?1";
            let known: Option<u32> = tx
                .prepare_cached(known)?
                .query_row([name.as_str()], |row| row.get(0))
                .optional()?;
            if let Some(no) = known {
                return Ok(no);
            }
            let next = "SELECT coalesce(max(no) + 1, 0) FROM workspace";
            let no: u32 = tx.query_row(next, [], |row| row.get(0))?;
            if row_id(WorkspaceNo(no), 0).is_none() {
                return Err(Refusal::Known(AppendError::Unknown("too many workspaces".into())));
            }
            tx.execute("INSERT INTO workspace VALUES (?1, ?2)", params![no, name.as_str()])?;
            Ok(no)
        });
        no.map(WorkspaceNo).map_err(PortError::new)
    }

    fn put_bundle(&mut self, digest: &[u8; 32], bytes: &[u8]) -> Result<(), PortError> {
        self.transact(|tx| {
            let put = "INSERT INTO bundle VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            tx.execute(put, params![digest, bytes])?;
            Ok(())
        })
        .map_err(PortError::new)?;
        self.pending += u64::try_from(bytes.len()).unwrap_or(u64::MAX >> 1) + COMMIT_BYTES;
        Ok(())
    }

    fn idle(&mut self) {
        match self.helper.as_ref().map(Checkpointer::progress) {
            // It holds the lock a truncation needs; the next call finds it finished.
            Some(Progress::Running) => return,
            Some(Progress::Done | Progress::Failed) => self.write_back(),
            Some(Progress::Idle) | None => {}
        }
        if self.wal.max(self.pending) >= IDLE_BYTES {
            self.checkpoint("TRUNCATE");
        }
    }
}

impl Drop for SqliteJournal {
    /// Leaves an empty WAL behind; a handle that failed writes nothing more.
    fn drop(&mut self) {
        if self.helper.take().map(Checkpointer::end) == Some(Progress::Failed) {
            self.conn = None;
        }
        self.checkpoint("TRUNCATE");
    }
}

/// Compares and inserts, inside the transaction.
fn insert(tx: &Connection, batch: &Batch) -> Result<(), Refusal> {
    let invalid =
        || Refusal::Known(AppendError::Unknown("the batch is empty or beyond 2^40 entries".into()));
    let id = row_id(batch.workspace, batch.first_index).ok_or_else(invalid)?;
    let last = batch.first_index.checked_add(u64::from(batch.count)).ok_or_else(invalid)?;
    let epoch = i64::try_from(batch.epoch).map_err(|_| invalid())?;
    if batch.count == 0 || row_id(batch.workspace, last).is_none() {
        return Err(invalid());
    }
    let (first, end) = row_range(batch.workspace);
    let newest = "SELECT id, count, epoch FROM batch WHERE id >= ?1 AND id < ?2 \
                  ORDER BY id DESC LIMIT 1";
    let (next, stored) = tx
        .prepare_cached(newest)?
        .query_row([first, end], |row| {
            Ok((index_of(row.get(0)?) + unsigned(row, 1)?, unsigned(row, 2)?))
        })
        .optional()?
        .unwrap_or_default();
    if batch.epoch < stored {
        return Err(Refusal::Known(AppendError::Fenced));
    }
    if batch.first_index != next {
        return Err(Refusal::Known(AppendError::Conflict));
    }
    tx.prepare_cached("INSERT INTO batch VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        id,
        batch.count,
        epoch,
        batch.tree_state,
        batch.frames
    ])?;
    Ok(())
}

/// The reading end of the log: a pool of read-only connections.
pub struct SqliteJournalReader {
    pool: Pool,
}

impl std::fmt::Debug for SqliteJournalReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteJournalReader")
    }
}

impl SqliteJournalReader {
    pub(crate) fn open(path: PathBuf) -> Result<Self, OpenError> {
        Ok(Self { pool: Pool::open(path, &SCHEMA)? })
    }
}

impl JournalReader for SqliteJournalReader {
    fn workspaces(&self) -> Result<Vec<(WorkspaceNo, WorkspaceName)>, PortError> {
        let rows: Vec<(u32, String)> = self.pool.with(|conn| {
            let mut all = conn.prepare_cached("SELECT no, name FROM workspace ORDER BY no")?;
            all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        rows.into_iter()
            .map(|(no, name)| {
                let parsed = WorkspaceName::parse(&name);
                let parsed = parsed.ok_or_else(|| {
                    PortError::new(format_args!("the journal is damaged: workspace name {name:?}"))
                })?;
                Ok((WorkspaceNo(no), parsed))
            })
            .collect()
    }

    fn head(&self, workspace: WorkspaceNo) -> Result<Head, PortError> {
        let (first, end) = row_range(workspace);
        self.pool.with(|conn| {
            let newest = "SELECT id, count, epoch, tree_state FROM batch \
                          WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1";
            let head = conn.prepare_cached(newest)?.query_row([first, end], |row| {
                Ok(Head {
                    next_index: index_of(row.get(0)?) + unsigned(row, 1)?,
                    epoch: unsigned(row, 2)?,
                    tree_state: row.get(3)?,
                })
            });
            Ok(head.optional()?.unwrap_or_default())
        })
    }

    fn read(
        &self,
        workspace: WorkspaceNo,
        index: u64,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, PortError> {
        let Some(at) = row_id(workspace, index) else { return Ok(Vec::new()) };
        let batches = self.pool.with(|conn| read_batches(conn, workspace, at, index, bytes_max))?;
        let gap = batches.windows(2).any(|pair| match pair {
            [a, b] => a.first_index + u64::from(a.count) != b.first_index,
            _ => false,
        });
        let begins = batches.first().is_none_or(|batch| batch.first_index <= index);
        if gap || !begins {
            return Err(PortError::new("the journal is damaged: batches are missing"));
        }
        Ok(batches)
    }

    /// Without walking the pages of the frames.
    fn tree_state(&self, workspace: WorkspaceNo, size: u64) -> Result<Option<Vec<u8>>, PortError> {
        let Some(at) = size.checked_sub(1).and_then(|last| row_id(workspace, last)) else {
            return Ok(None);
        };
        let (first, _) = row_range(workspace);
        self.pool.with(|conn| {
            let before = "SELECT id, count, tree_state FROM batch WHERE id >= ?1 AND id <= ?2 \
                          ORDER BY id DESC LIMIT 1";
            let row = conn.prepare_cached(before)?.query_row([first, at], |row| {
                Ok((index_of(row.get(0)?) + unsigned(row, 1)?, row.get(2)?))
            });
            let row: Option<(u64, Vec<u8>)> = row.optional()?;
            Ok(row.filter(|(end, _)| *end == size).map(|(_, tree_state)| tree_state))
        })
    }

    fn bundle(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, PortError> {
        self.pool.with(|conn| {
            conn.prepare_cached("SELECT bytes FROM bundle WHERE digest = ?1")?
                .query_row([digest], |row| row.get(0))
                .optional()
        })
    }
}

fn read_batches(
    conn: &Connection,
    workspace: WorkspaceNo,
    at: i64,
    index: u64,
    bytes_max: usize,
) -> rusqlite::Result<Vec<Batch>> {
    let (first, end) = row_range(workspace);
    let mut from = conn.prepare_cached(
        "SELECT id, count, epoch, tree_state, frames FROM batch WHERE id < ?3 AND id >= coalesce(\
         (SELECT id FROM batch WHERE id <= ?1 AND id >= ?2 ORDER BY id DESC LIMIT 1), ?2) \
         ORDER BY id",
    )?;
    let mut rows = from.query([at, first, end])?;
    let (mut batches, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let first_index = index_of(row.get(0)?);
        let count: u32 = row.get(1)?;
        if first_index + u64::from(count) <= index {
            continue;
        }
        let frames: Vec<u8> = row.get(4)?;
        bytes = bytes.saturating_add(frames.len());
        let tree_state = row.get(3)?;
        batches.push(Batch {
            workspace,
            first_index,
            count,
            epoch: unsigned(row, 2)?,
            frames,
            tree_state,
        });
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests;
