//! Databases as they stand at one moment, while a server goes on writing to them: read transactions,
//! which no commit waits for, and copying page by page inside them. Refuses to know what a back-up
//! is made of.

use super::Database;
use crate::dir::DataDir;
use crate::error::OpenError;
use crate::slots;
use crate::sqlite::{self, index_of, row_range, unsigned};
use placet_runtime::ports::WorkspaceNo;
use rusqlite::backup::{Backup as Copying, StepResult};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension};
use std::path::{Path, PathBuf};

/// Pages per step: large enough to be fast, small enough for a bar to move.
const PAGES: i32 = 1024;
/// How often log and keys are pinned anew where something was erased just in between.
const ATTEMPTS: usize = 100;

/// Databases of one directory, held as they were at one moment.
#[derive(Debug)]
pub struct Pinned(Vec<(Database, PathBuf, Connection)>);

impl Pinned {
    /// Pins what is there now. Where log and keys are both wanted they fit together: every slot
    /// that the log names is there, and nothing was destroyed of which the log does not say so.
    /// As long as the keys are pinned, what is erased is destroyed but stays in the write-ahead
    /// log, and the server tries again: they should be copied first.
    ///
    /// # Errors
    /// [`OpenError`] says which database was refused.
    pub fn take(from: &DataDir, wanted: &[Database]) -> Result<Self, OpenError> {
        // A server makes keys durable before the log names them, and the log before it destroys
        // keys. So the log is pinned first, and pinned again where keys went meanwhile.
        let order = [Database::Journal, Database::Identity, Database::Keys];
        for _ in 0..ATTEMPTS {
            let mut pinned = Self(Vec::new());
            for database in order.into_iter().filter(|database| wanted.contains(database)) {
                let path = from.path().join(database.file());
                let conn = sqlite::open_unchecked(&path, false)?;
                begin(&conn).map_err(|e| sqlite::refused(&path, &e))?;
                pinned.0.push((database, path, conn));
            }
            if pinned.fits()? {
                return Ok(pinned);
            }
        }
        Err(OpenError::failed(from.path(), "payloads are being erased: try again"))
    }

    /// Copies a database into an empty file, and lets go of it.
    pub(super) fn copy(
        &mut self,
        database: Database,
        target: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), OpenError> {
        let at = self.0.iter().position(|(pinned, ..)| *pinned == database);
        let (_, path, conn) = at.map(|at| self.0.remove(at)).ok_or_else(|| {
            OpenError::failed(target, format_args!("{} is not pinned", database.file()))
        })?;
        let mut to = sqlite::open_unchecked(target, true)?;
        step_pages(&conn, &mut to, progress)
            .and_then(|()| single_file(&to))
            .and_then(|()| if database == Database::Journal { Ok(()) } else { sound(&to) })
            .map_err(|e| sqlite::refused(&path, &e))
    }

    fn find(&self, database: Database) -> Option<(&Path, &Connection)> {
        self.0
            .iter()
            .find(|(pinned, ..)| *pinned == database)
            .map(|(_, path, conn)| (path.as_path(), conn))
    }

    /// Whether the log has the entry of everything that was destroyed in the keys.
    fn fits(&self) -> Result<bool, OpenError> {
        let (Some((log, journal)), Some((path, keys))) =
            (self.find(Database::Journal), self.find(Database::Keys))
        else {
            return Ok(true);
        };
        for (workspace, upto) in slots::marks(keys).map_err(|e| sqlite::refused(path, &e))? {
            let next = next_index(journal, workspace).map_err(|e| sqlite::refused(log, &e))?;
            if next <= upto {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn begin(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("BEGIN")?;
    conn.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))
}

fn next_index(journal: &Connection, workspace: WorkspaceNo) -> rusqlite::Result<u64> {
    let (first, end) = row_range(workspace);
    let newest = "SELECT id, count FROM batch WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1";
    let next = journal
        .query_row(newest, [first, end], |row| Ok(index_of(row.get(0)?) + unsigned(row, 1)?))
        .optional()?;
    Ok(next.unwrap_or_default())
}

fn step_pages(
    from: &Connection,
    to: &mut Connection,
    progress: &mut dyn FnMut(u64, u64),
) -> rusqlite::Result<()> {
    // Inside the transaction that pins it: what is committed meanwhile neither enters the copy nor
    // makes it begin again. The write-ahead log cannot start anew until it ends, so it grows.
    to.execute_batch("PRAGMA synchronous=OFF;")?;
    let number = |pages: i32| u64::try_from(pages).unwrap_or_default();
    let copying = Copying::new(from, to)?;
    loop {
        let step = copying.step(PAGES)?;
        let done = copying.progress();
        progress(number(done.pagecount - done.remaining), number(done.pagecount));
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // Nobody else has the copy open, and a reader of a write-ahead log waits for no one.
            _ => return Err(rusqlite::Error::InvalidQuery),
        }
    }
    drop(copying);
    from.execute_batch("COMMIT")
}

/// Leaves no side files: a copy can then be read on a medium that cannot be written.
fn single_file(conn: &Connection) -> rusqlite::Result<()> {
    let mode: String = conn.query_row("PRAGMA journal_mode=DELETE", [], |row| row.get(0))?;
    if mode == "delete" { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
}

/// Refuses damage in what no hash of the log covers.
fn sound(conn: &Connection) -> rusqlite::Result<()> {
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(rusqlite::Error::InvalidColumnType(0, found, Type::Text))
    }
}
