//! What is still to be told, in `outbox.db`: deliveries with their attempts, how far each log has been
//! followed, which message shows which approval, and which calls from channels were dealt with.
//! Derived from the log but for the last two; without the file the pending approvals are told again.
//! Holds no name, no argument and no text of a message: indices, ids and codes alone.
//!
//! The file is made when the first thing is written to it: a server that tells nobody anything has none.

mod rows;
#[cfg(test)]
mod tests;

use crate::error::OpenError;
use crate::files;
use crate::lock::Lock;
use crate::sqlite::{self, Schema};
use placet_runtime::ports::{PortError, WorkspaceNo};
use placet_types::ids::{ApprovalId, TimeMs};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Commits are not flushed one by one: a crash of the machine takes the newest, cursor and rows alike,
/// and what they said is told again. A crash of the process takes nothing.
const SCHEMA: Schema = Schema {
    application: 0x504c_4f31,
    version: 1,
    tables: "CREATE TABLE cursor(workspace INTEGER PRIMARY KEY, next INTEGER NOT NULL) STRICT; \
         CREATE TABLE delivery(id INTEGER PRIMARY KEY AUTOINCREMENT, workspace INTEGER NOT NULL, \
         log_index INTEGER NOT NULL, channel TEXT NOT NULL, told TEXT NOT NULL, approval BLOB, \
         since_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, due_ms INTEGER NOT NULL, \
         dead INTEGER NOT NULL, error TEXT, UNIQUE(workspace, log_index, channel)) STRICT; \
         CREATE INDEX by_destination ON delivery(dead, workspace, channel, id); \
         CREATE INDEX by_approval ON delivery(workspace, approval) WHERE approval IS NOT NULL; \
         CREATE TABLE message(workspace INTEGER NOT NULL, channel TEXT NOT NULL, \
         approval BLOB NOT NULL, place TEXT NOT NULL, shown BLOB NOT NULL, \
         PRIMARY KEY(workspace, channel, approval)) STRICT, WITHOUT ROWID; \
         CREATE TABLE taken(workspace INTEGER NOT NULL, channel TEXT NOT NULL, key BLOB NOT NULL, \
         time_ms INTEGER NOT NULL, PRIMARY KEY(workspace, channel, key)) STRICT, WITHOUT ROWID; \
         CREATE TABLE polled(workspace INTEGER NOT NULL, channel TEXT NOT NULL, \
         next INTEGER NOT NULL, PRIMARY KEY(workspace, channel)) STRICT, WITHOUT ROWID;",
    writer: "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=1000;",
    page_size: 4096,
};

/// Deliveries of one workspace that wait at most. Beyond it the log is not followed until some have left:
/// it keeps what is to be told.
pub const WAITING_MAX: u64 = 100_000;
/// Dead letters of one workspace that are kept; the oldest go.
pub const DEAD_MAX: u64 = 10_000;
/// Longest text of an error that is kept.
const ERROR_MAX: usize = 300;

/// Something to be told, as the follower of the log finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Index of the entry.
    pub index: u64,
    /// Where: id of a channel.
    pub channel: String,
    /// What: a word of `on:`.
    pub told: String,
    /// The approval it is about.
    pub approval: Option<ApprovalId>,
}

/// A delivery that waits, or that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: u64,
    /// Whose.
    pub workspace: WorkspaceNo,
    /// What and where.
    pub letter: Letter,
    /// When it was found.
    pub since: TimeMs,
    /// Attempts that failed.
    pub attempts: u32,
    /// Not before this instant.
    pub due: TimeMs,
    /// Given up.
    pub dead: bool,
    /// What the last attempt came to.
    pub error: Option<String>,
}

/// Where a message stands that shows an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the channel calls it.
    pub place: String,
    /// Digest of what it shows.
    pub shown: [u8; 32],
}

/// How many deliveries of a channel there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whose.
    pub workspace: WorkspaceNo,
    /// Where.
    pub channel: String,
    /// Those that wait.
    pub pending: u64,
    /// Since when the oldest of them waits.
    pub oldest: Option<TimeMs>,
    /// Those that were given up.
    pub dead: u64,
}

/// The outbox of a data directory.
pub struct Outbox {
    path: PathBuf,
    conn: Mutex<Option<Connection>>,
    /// What was wrong with the file that was there.
    lost: Option<String>,
    _lock: Arc<Lock>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Outbox {
    /// Opens the file if there is one; one that is damaged, or of another version, is thrown away.
    pub(crate) fn open(path: PathBuf, lock: Arc<Lock>) -> Result<Self, OpenError> {
        let mut lost = None;
        let mut conn = None;
        if path.exists() {
            match Self::keep(&path) {
                Ok(kept) => conn = Some(kept),
                Err(error) => {
                    lost = Some(error.to_string());
                    for suffix in ["", "-wal", "-shm"] {
                        let mut file = path.clone().into_os_string();
                        file.push(suffix);
                        files::remove_if_there(file.as_ref())
                            .map_err(|e| OpenError::failed(&path, e))?;
                    }
                }
            }
        }
        Ok(Self { path, conn: Mutex::new(conn), lost, _lock: lock })
    }

    fn keep(path: &std::path::Path) -> Result<Connection, OpenError> {
        let conn = sqlite::open_writer(path, &SCHEMA)?;
        let sound: rusqlite::Result<String> =
            conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        match sound {
            Ok(text) if text == "ok" => Ok(conn),
            Ok(text) => Err(OpenError::damaged(format_args!("{}: {text}", path.display()))),
            Err(error) => Err(sqlite::refused(path, &error)),
        }
    }

    /// Why the file that was there was thrown away, if one was.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Reads; `absent` where there is no file yet.
    fn read<T>(
        &self,
        absent: T,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        let conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        match conn.as_ref() {
            None => Ok(absent),
            Some(conn) => read(conn).map_err(|e| self.failed(&e)),
        }
    }

    /// Writes in one transaction; the file is made where there is none yet.
    fn write<T>(
        &self,
        write: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        let mut kept = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = match kept.take() {
            Some(conn) => kept.insert(conn),
            None => {
                let made = sqlite::create(&self.path, &SCHEMA).map_err(PortError::new)?;
                kept.insert(made)
            }
        };
        let done = conn.transaction().and_then(|transaction| {
            let value = write(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        done.map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &rusqlite::Error) -> PortError {
        PortError::new(format_args!("{}: {error}", self.path.display()))
    }
}
