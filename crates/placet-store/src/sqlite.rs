//! How every database here is opened: version, settings, schema check, a pool of readers. Knows
//! no table.

use crate::error::OpenError;
use crate::files;
use placet_runtime::ports::{PortError, WorkspaceNo};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Older ones can lose commits when a WAL is reset (fixed in 3.51.3).
const LIBRARY_MIN: i32 = 3_051_003;
/// A commit waits so long for a lock that recovery in another connection may hold.
const BUSY: Duration = Duration::from_secs(5);
/// Connections kept open between reads.
const IDLE_MAX: usize = 8;
/// Bits of an index inside a row id.
const INDEX_BITS: u32 = 40;
/// Bits of a workspace number inside a row id.
const WORKSPACE_BITS: u32 = 22;

/// What a database is and how it is kept.
pub(crate) struct Schema {
    /// `PRAGMA application_id`: tells our databases from each other and from others.
    pub(crate) application: i32,
    /// `PRAGMA user_version`.
    pub(crate) version: i32,
    /// Tables and indexes of an empty one.
    pub(crate) tables: &'static str,
    /// Settings of the writer besides the common ones.
    pub(crate) writer: &'static str,
    /// `PRAGMA page_size` of a new one.
    pub(crate) page_size: u32,
}

/// Creates a database (mode 0600) and its tables; the file must not exist.
pub(crate) fn create(path: &Path, schema: &Schema) -> Result<Connection, OpenError> {
    files::create_private(path).map_err(|e| OpenError::failed(path, e))?;
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let made = conn
        .execute_batch(&format!("PRAGMA page_size={};", schema.page_size))
        .and_then(|()| settings(&conn, schema.writer))
        .and_then(|()| {
            conn.execute_batch(&format!(
                "BEGIN IMMEDIATE; {} PRAGMA application_id={}; PRAGMA user_version={}; COMMIT;",
                schema.tables, schema.application, schema.version
            ))
        });
    made.map_err(|e| refused(path, &e))?;
    Ok(conn)
}

/// Opens the one writing connection of a database.
///
/// A commit whose flush failed may stand in the WAL as the page cache shows it without being on
/// disk. So all of the WAL goes through a checkpoint first, which writes the pages anew and
/// flushes them: what is read afterwards is durable.
pub(crate) fn open_writer(path: &Path, schema: &Schema) -> Result<Connection, OpenError> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    check(&conn, path, schema)?;
    settings(&conn, schema.writer).map_err(|e| refused(path, &e))?;
    let done = checkpoint(&conn, "TRUNCATE").map_err(|e| refused(path, &e))?;
    if done { Ok(conn) } else { Err(OpenError::failed(path, "readers keep its WAL busy")) }
}

/// Opens a read-only connection and checks the schema.
pub(crate) fn open_reader(path: &Path, schema: &Schema) -> Result<Connection, OpenError> {
    let conn = reader(path)?;
    check(&conn, path, schema)?;
    Ok(conn)
}

/// Opens a database whatever it holds, to copy all of it.
pub(crate) fn open_unchecked(path: &Path, write: bool) -> Result<Connection, OpenError> {
    connect(
        path,
        if write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY },
    )
}

fn reader(path: &Path) -> Result<Connection, OpenError> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // Many may read at once; what they share is the page cache of the system.
    conn.execute_batch("PRAGMA cache_size=-1024;").map_err(|e| refused(path, &e))?;
    Ok(conn)
}

/// Runs a checkpoint; whether it wrote back everything.
pub(crate) fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<bool> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (busy, log, done) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?);
        Ok(busy == 0 && log == done)
    })
}

/// [`checkpoint`] that gives up at once where a reader is in the way.
pub(crate) fn checkpoint_now(conn: &Connection, mode: &str) -> rusqlite::Result<bool> {
    conn.busy_timeout(Duration::ZERO)?;
    let done = checkpoint(conn, mode);
    conn.busy_timeout(BUSY)?;
    done
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        recover(path)?;
    }
    open(path, flags)
}

/// Takes back what a process was writing when it died, where the database is not in WAL mode yet: a restored one,
/// in its first start. Only a connection that may write can do so; beside a process that lives SQLite's locks see
/// to it that nothing is taken back.
fn recover(path: &Path) -> Result<(), OpenError> {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    if !Path::new(&journal).exists() || !path.exists() {
        return Ok(());
    }
    let conn = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let looked = conn
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .and_then(|_| conn.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())));
    looked.map_err(|error| match is_damage(&error) {
        true => refused(path, &error),
        false => OpenError::failed(
            path,
            format_args!(
                "a write to it was cut off, and taking it back failed ({error}); do this again as a user who may \
                 write to the directory"
            ),
        ),
    })
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < LIBRARY_MIN {
        return Err(OpenError::failed(path, "this SQLite is older than 3.51.3"));
    }
    if !path.exists() {
        return Err(OpenError::damaged(format_args!("{} is missing", path.display())));
    }
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let conn = conn.map_err(|e| refused(path, &e))?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.busy_timeout(BUSY)
        .and_then(|()| {
            conn.execute_batch(
                "PRAGMA trusted_schema=OFF; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;",
            )
        })
        .map_err(|e| refused(path, &e))?;
    Ok(conn)
}

fn settings(conn: &Connection, writer: &str) -> rusqlite::Result<()> {
    // After a failed flush nothing more may be written through this handle, not even on closing.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // To the end: what fails while the new mode is written is only said after the row.
    let mut mode = String::new();
    let mut statement = conn.prepare("PRAGMA journal_mode=WAL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    if mode != "wal" {
        return Err(rusqlite::Error::InvalidQuery);
    }
    conn.execute_batch("PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;")?;
    conn.execute_batch(writer)
}

/// Refuses a database that is another one, or of a newer version.
pub(crate) fn check(conn: &Connection, path: &Path, schema: &Schema) -> Result<(), OpenError> {
    let pragma = |name: &str| {
        conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0))
            .map_err(|e| refused(path, &e))
    };
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application != schema.application || version < 1 {
        return Err(OpenError::damaged(format_args!(
            "{} is not the database it should be",
            path.display()
        )));
    }
    if version > schema.version {
        let unsigned = |version: i32| u64::try_from(version).unwrap_or_default();
        return Err(OpenError::NewerFormat {
            found: unsigned(version),
            known: unsigned(schema.version),
        });
    }
    Ok(())
}

/// Whether SQLite says that the file itself is wrong.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(
            error,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        )
}

/// An error of SQLite as a refusal to open.
pub(crate) fn refused(path: &Path, error: &rusqlite::Error) -> OpenError {
    if is_damage(error) {
        OpenError::damaged(format_args!("{} is damaged ({error})", path.display()))
    } else {
        OpenError::failed(path, error)
    }
}

/// Read-only connections for any thread. Each statement is a short read transaction of its own, so
/// no reader holds the WAL for long.
pub(crate) struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// Opens the first connection and checks the schema.
    pub(crate) fn open(path: PathBuf, schema: &Schema) -> Result<Self, OpenError> {
        let conn = open_reader(&path, schema)?;
        Ok(Self { path, idle: Mutex::new(vec![conn]) })
    }

    /// Runs `read` on a connection of its own. One that failed is closed, not reused.
    pub(crate) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let conn = match taken {
            Some(conn) => conn,
            None => reader(&self.path).map_err(PortError::new)?,
        };
        let value = read(&conn)
            .map_err(|e| PortError::new(format_args!("{}: {e}", self.path.display())))?;
        let mut idle = idle();
        if idle.len() < IDLE_MAX {
            idle.push(conn);
        }
        Ok(value)
    }
}

/// The row id of an index: `workspace << 40 | index`. `None` beyond 2^22 workspaces or 2^40
/// entries.
pub(crate) fn row_id(workspace: WorkspaceNo, index: u64) -> Option<i64> {
    if workspace.0 >> WORKSPACE_BITS != 0 || index >> INDEX_BITS != 0 {
        return None;
    }
    i64::try_from(u64::from(workspace.0) << INDEX_BITS | index).ok()
}

/// The row ids of a workspace: first, and first of the next one. Empty beyond the bound.
pub(crate) fn row_range(workspace: WorkspaceNo) -> (i64, i64) {
    row_id(workspace, 0).map_or((0, 0), |first| (first, first + (1 << INDEX_BITS)))
}

/// The index inside a row id.
pub(crate) fn index_of(row_id: i64) -> u64 {
    u64::try_from(row_id).unwrap_or_default() & ((1 << INDEX_BITS) - 1)
}

/// A non-negative column.
pub(crate) fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
