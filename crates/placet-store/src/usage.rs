//! What a data directory takes on disk, database by database. Refuses to look into the entries.

use crate::dir::{DataDir, IDENTITY, JOURNAL, KEYS, OUTBOX, READ};
use crate::error::OpenError;
use crate::{snapshots, sqlite};
use rusqlite::Connection;
use std::io;
use std::path::Path;

/// One database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseUsage {
    /// Its file.
    pub name: String,
    /// Size of the file.
    pub bytes: u64,
    /// Size of its write-ahead log.
    pub wal_bytes: u64,
    /// Size of a page.
    pub page_bytes: u64,
    /// Pages that hold nothing.
    pub free_pages: u64,
    /// Its tables and indexes with their bytes, largest first.
    pub tables: Vec<(String, u64)>,
}

/// A whole directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The databases that are there.
    pub databases: Vec<DatabaseUsage>,
    /// Bundles that are kept, and their bytes.
    pub bundles: (u64, u64),
    /// Bytes of saved states.
    pub snapshot_bytes: u64,
}

impl DataDir {
    /// What is in use now; beside a running server the figures move on.
    ///
    /// # Errors
    /// [`OpenError`] says which database was refused.
    pub fn usage(&self) -> Result<Usage, OpenError> {
        let mut usage = Usage::default();
        let saved = self.path().join(snapshots::DIR);
        usage.snapshot_bytes = tree_size(&saved).map_err(|e| OpenError::failed(&saved, e))?;
        for name in [JOURNAL, READ, OUTBOX, KEYS, IDENTITY] {
            let path = self.path().join(name);
            let size = |path: &Path| size(path).map_err(|e| OpenError::failed(path, e));
            let Some(bytes) = size(&path)? else { continue };
            let wal_bytes = size(&self.path().join(format!("{name}-wal")))?.unwrap_or_default();
            let conn = sqlite::open_unchecked(&path, false)?;
            let mut read = || -> rusqlite::Result<_> {
                let pragma = |name: &str| count(&conn, &format!("PRAGMA {name}"));
                let (page_bytes, free_pages) = (pragma("page_size")?, pragma("freelist_count")?);
                if name == JOURNAL {
                    usage.bundles.0 = count(&conn, "SELECT count(*) FROM bundle")?;
                    let bytes = "SELECT coalesce(sum(length(bytes)), 0) FROM bundle";
                    usage.bundles.1 = count(&conn, bytes)?;
                }
                Ok((page_bytes, free_pages, tables(&conn)?))
            };
            let (page_bytes, free_pages, tables) =
                read().map_err(|e| sqlite::refused(&path, &e))?;
            let name = name.to_owned();
            let database = DatabaseUsage { name, bytes, wal_bytes, page_bytes, free_pages, tables };
            usage.databases.push(database);
        }
        Ok(usage)
    }
}

/// Walks every page, as the database counts them.
fn tables(conn: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let sizes = "SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE ORDER BY pgsize DESC, name";
    let mut sizes = conn.prepare(sizes)?;
    sizes.query_map([], |row| Ok((row.get(0)?, sqlite::unsigned(row, 1)?)))?.collect()
}

fn count(conn: &Connection, query: &str) -> rusqlite::Result<u64> {
    conn.query_row(query, [], |row| sqlite::unsigned(row, 0))
}

/// Files below a directory; what is removed meanwhile does not count.
fn tree_size(dir: &Path) -> io::Result<u64> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let mut bytes = 0;
    for entry in entries {
        let path = entry?.path();
        bytes += if path.is_dir() { tree_size(&path)? } else { size(&path)?.unwrap_or_default() };
    }
    Ok(bytes)
}

fn size(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
