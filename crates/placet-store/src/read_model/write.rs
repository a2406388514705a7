//! Filling the read model in bulk transactions, and making it anew when it cannot be trusted.

use super::runs::Gathering;
use super::{
    Facts, Models, SCHEMA, SEGMENT_BITS, WOULD_DIFFER, halves, is_rare, outcome_number, tag_hash,
    trace_hash,
};
use crate::error::OpenError;
use crate::files;
use crate::lock::Lock;
use crate::sqlite::{self, index_of, row_id, row_range};
use placet_runtime::crypto::SystemEntropy;
use placet_runtime::ports::{
    Entropy, Indexed, JournalReader, LeafTile, PortError, ReadModelWriter, WorkspaceNo,
};
use placet_types::event::ActorRef;
use placet_types::hash::hex_encode;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// Names kept in memory; beyond it the cache starts anew.
const NAMES_MAX: usize = 1 << 16;
/// An open file and where its rows end.
type Kept = (Connection, BTreeMap<WorkspaceNo, u64>);

/// What SQLite keeps beside a database.
const SIDE_FILES: [&str; 3] = ["", "-wal", "-shm"];

/// The writing end of the read model.
///
/// Nothing is flushed while it is filled. A crash of the process loses nothing, a crash of the
/// machine may leave anything: the file remembers during which boot it was last open, and one
/// that was not closed before the machine went down is made anew.
pub struct SqliteReadModelWriter {
    path: PathBuf,
    conn: Connection,
    names: HashMap<String, i64>,
    /// Next index per workspace, as committed.
    positions: BTreeMap<WorkspaceNo, u64>,
    gathering: Gathering,
    /// The one that readers see, while another is filled.
    seen: Option<Connection>,
    models: Models,
    _lock: Arc<Lock>,
}

impl std::fmt::Debug for SqliteReadModelWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteReadModelWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteReadModelWriter {
    pub(crate) fn open(
        path: PathBuf,
        journal: &dyn JournalReader,
        models: Models,
        lock: Arc<Lock>,
    ) -> Result<Self, OpenError> {
        // Left by a process that ended while it filled one anew.
        remove_all(&beside(&path)).map_err(|e| OpenError::failed(&path, e))?;
        let kept = Self::keep(&path, journal)?;
        let fresh = kept.is_none();
        let (conn, positions) = match kept {
            Some(kept) => kept,
            None => (make_anew(&path)?, BTreeMap::new()),
        };
        if !mark_open(&conn, fresh).map_err(|e| sqlite::refused(&path, &e))? {
            return Err(OpenError::failed(&path, "readers keep its WAL busy"));
        }
        let names = HashMap::new();
        let mut gathering = Gathering::default();
        for (workspace, position) in &positions {
            gathering.has_grown(*workspace, *position);
        }
        Ok(Self { path, conn, names, positions, gathering, seen: None, models, _lock: lock })
    }

    /// The file as it is, if it can be trusted: of this version, undamaged as far as can be seen,
    /// closed before the machine last went down, and not ahead of the log.
    fn keep(path: &Path, journal: &dyn JournalReader) -> Result<Option<Kept>, OpenError> {
        if !path.exists() {
            return Ok(None);
        }
        let Ok(conn) = sqlite::open_writer(path, &SCHEMA) else { return Ok(None) };
        let version = conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i32>(0));
        if version.is_ok_and(|version| version != SCHEMA.version) {
            return Ok(None);
        }
        let boot: Result<String, _> =
            conn.query_row("SELECT boot FROM written", [], |row| row.get(0));
        if !boot.is_ok_and(|boot| boot == CLOSED || boot == boot_id()) {
            return Ok(None);
        }
        let failed = |e| OpenError::failed(path, e);
        let mut positions = BTreeMap::new();
        for (no, _) in journal.workspaces().map_err(failed)? {
            let Ok(position) = position(&conn, no) else { return Ok(None) };
            if position > journal.head(no).map_err(failed)?.next_index {
                return Ok(None);
            }
            positions.insert(no, position);
        }
        Ok(Some((conn, positions)))
    }

    /// Empties the read model, to be filled again from index 0. Readers stay usable.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn clear(&mut self) -> Result<(), PortError> {
        use rusqlite::config::DbConfig::SQLITE_DBCONFIG_RESET_DATABASE as RESET;
        self.forget();
        self.conn.flush_prepared_statement_cache();
        let cleared = self
            .conn
            .set_db_config(RESET, true)
            .and_then(|_| self.conn.execute_batch("VACUUM"))
            .and_then(|()| self.conn.set_db_config(RESET, false))
            .and_then(|_| {
                self.conn.execute_batch(&format!(
                    "BEGIN IMMEDIATE; {} PRAGMA application_id={}; PRAGMA user_version={}; COMMIT;",
                    SCHEMA.tables, SCHEMA.application, SCHEMA.version
                ))
            })
            .and_then(|()| mark_open(&self.conn, true));
        cleared.map(drop).map_err(|e| self.failed(&e))
    }

    /// Puts what has been filled beside in the place of what readers see. They wait for it: the
    /// order of the steps is such that a crash leaves no file or a whole one.
    fn exchange(&mut self, seen: Connection) -> Result<(), OpenError> {
        let path = self.path.clone();
        let refused = |e: rusqlite::Error| sqlite::refused(&path, &e);
        let failed = |e| OpenError::failed(&path, e);
        self.conn.execute_batch("PRAGMA synchronous=FULL;").map_err(refused)?;
        if !sqlite::checkpoint(&self.conn, "TRUNCATE").map_err(refused)? {
            return Err(OpenError::failed(&path, "the new read model is not whole"));
        }
        let models = self.models.clone();
        let mut generation = models.0.write().unwrap_or_else(PoisonError::into_inner);
        // Closed, since a database knows its write-ahead log by the name it was opened under.
        let nowhere = Connection::open_in_memory().map_err(refused)?;
        drop((std::mem::replace(&mut self.conn, nowhere), seen));
        remove_all(&path).map_err(failed)?;
        let new = beside(&path);
        for suffix in ["-wal", "-shm"] {
            files::remove_if_there(&side_of(&new, suffix)).map_err(failed)?;
        }
        std::fs::rename(&new, &path).map_err(failed)?;
        *generation += 1;
        self.conn = sqlite::open_writer(&path, &SCHEMA)?;
        mark_open(&self.conn, false).map_err(refused)?;
        Ok(())
    }

    /// Nothing is known of the file that is filled.
    fn forget(&mut self) {
        self.names.clear();
        self.positions.clear();
        self.gathering = Gathering::default();
    }

    fn failed(&self, error: &rusqlite::Error) -> PortError {
        PortError::new(format_args!("{}: {error}", self.path.display()))
    }

    /// As [`failed`](Self::failed); a damaged file is emptied.
    fn recovered(&mut self, error: &rusqlite::Error) -> PortError {
        if !sqlite::is_damage(error) {
            return self.failed(error);
        }
        let empty = "the read model was damaged and is empty now: index from position 0";
        self.clear().err().unwrap_or_else(|| PortError::new(empty))
    }

    /// Inserts what is new; `None`, and nothing is done, where entries were left out: searches by
    /// time rely on rows without holes.
    fn fill(
        &mut self,
        entries: &[Indexed<'_>],
    ) -> rusqlite::Result<Option<BTreeMap<WorkspaceNo, u64>>> {
        let tx = self.conn.transaction()?;
        let mut positions = self.positions.clone();
        for item in entries {
            let next = match positions.get(&item.workspace) {
                Some(next) => *next,
                None => position(&tx, item.workspace)?,
            };
            if item.index > next {
                return Ok(None);
            }
            if item.index == next {
                insert(&tx, &mut self.names, item)?;
            }
            positions.insert(item.workspace, next.max(item.index + 1));
        }
        tx.commit()?;
        Ok(Some(positions))
    }
}

impl ReadModelWriter for SqliteReadModelWriter {
    fn position(&self, workspace: WorkspaceNo) -> Result<u64, PortError> {
        match self.positions.get(&workspace) {
            Some(position) => Ok(*position),
            None => position(&self.conn, workspace).map_err(|e| self.failed(&e)),
        }
    }

    fn keep_tiles(&mut self, tiles: &[LeafTile]) -> Result<(), PortError> {
        if tiles.is_empty() {
            return Ok(());
        }
        let kept = self.conn.transaction().and_then(|tx| {
            for LeafTile { workspace, number, leaves } in tiles {
                let id = row_id(*workspace, *number)
                    .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, i64::MAX))?;
                tx.prepare_cached("INSERT OR REPLACE INTO tile VALUES (?1, ?2)")?
                    .execute(params![id, leaves.concat()])?;
            }
            tx.commit()
        });
        kept.map_err(|error| self.recovered(&error))
    }

    fn begin_anew(&mut self) -> Result<(), PortError> {
        let path = beside(&self.path);
        let conn = make_anew(&path).map_err(PortError::new)?;
        mark_open(&conn, true).map_err(|e| self.failed(&e))?;
        let seen = std::mem::replace(&mut self.conn, conn);
        // One that was begun before and not finished is gone: it was not seen.
        self.seen.get_or_insert(seen);
        self.forget();
        Ok(())
    }

    fn finish_anew(&mut self) -> Result<(), PortError> {
        let seen = self.seen.take();
        let seen = seen.ok_or_else(|| PortError::new("no new read model was begun"))?;
        self.names.clear();
        self.exchange(seen).map_err(PortError::new)
    }

    fn abandon_anew(&mut self) {
        let Some(seen) = self.seen.take() else { return };
        self.conn = seen;
        self.forget();
        // The next open removes what cannot be removed now.
        let _ = remove_all(&beside(&self.path));
    }

    fn index(&mut self, entries: &[Indexed<'_>]) -> Result<(), PortError> {
        match self.fill(entries) {
            Ok(Some(positions)) => {
                self.positions = positions;
                for item in entries {
                    self.gathering.has_grown(item.workspace, item.index + 1);
                }
                let length = |workspace| self.positions.get(&workspace).copied();
                let gathered = self.gathering.go_on(&mut self.conn, entries.len(), length);
                gathered.map_err(|error| self.recovered(&error))
            }
            Ok(None) => {
                self.names.clear();
                Err(PortError::new("entries were left out: index from the position on"))
            }
            Err(error) => {
                // Names of a transaction that was rolled back have no number any more.
                self.names.clear();
                Err(self.recovered(&error))
            }
        }
    }
}

impl Drop for SqliteReadModelWriter {
    /// Flushes everything and says so; if that fails, the file is made anew after a reboot.
    fn drop(&mut self) {
        self.abandon_anew();
        let _ = self.conn.execute_batch("PRAGMA synchronous=FULL;");
        if self.conn.execute("UPDATE written SET boot = ?1", [CLOSED]).is_ok() {
            let _ = sqlite::checkpoint_now(&self.conn, "TRUNCATE");
        }
    }
}

/// What stands for a boot in a file that was flushed and closed.
const CLOSED: &str = "closed";

/// Names the running boot of the machine; a different name each time where there is none.
fn boot_id() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_owned(),
        Err(_) => {
            let mut random = [0; 8];
            SystemEntropy.fill(&mut random);
            hex_encode(&random)
        }
    }
}

/// Says, flushed to the file itself, that unflushed changes follow.
/// Whether no reader kept it from the file.
fn mark_open(conn: &Connection, fresh: bool) -> rusqlite::Result<bool> {
    conn.execute_batch("PRAGMA synchronous=FULL;")?;
    let sql =
        if fresh { "INSERT INTO written VALUES (?1)" } else { "UPDATE written SET boot = ?1" };
    conn.execute(sql, [boot_id()])?;
    let done = sqlite::checkpoint(conn, "TRUNCATE")?;
    conn.execute_batch("PRAGMA synchronous=OFF;")?;
    Ok(done)
}

fn make_anew(path: &Path) -> Result<Connection, OpenError> {
    remove_all(path).map_err(|e| OpenError::failed(path, e))?;
    sqlite::create(path, &SCHEMA)
}

/// Where one is filled anew.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("new.db")
}

fn side_of(path: &Path, suffix: &str) -> PathBuf {
    let mut side = path.as_os_str().to_owned();
    side.push(suffix);
    side.into()
}

/// The database first: without it nobody takes what its write-ahead log holds for a part of it.
fn remove_all(path: &Path) -> std::io::Result<()> {
    SIDE_FILES.iter().try_for_each(|suffix| files::remove_if_there(&side_of(path, suffix)))
}

/// The next index to be indexed.
pub(super) fn position(conn: &Connection, workspace: WorkspaceNo) -> rusqlite::Result<u64> {
    let (first, end) = row_range(workspace);
    let newest = "SELECT id FROM event WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1";
    let newest: Option<i64> =
        conn.prepare_cached(newest)?.query_row([first, end], |row| row.get(0)).optional()?;
    Ok(newest.map_or(0, |id| index_of(id) + 1))
}

fn insert(
    tx: &Connection,
    names: &mut HashMap<String, i64>,
    item: &Indexed<'_>,
) -> rusqlite::Result<()> {
    let id = row_id(item.workspace, item.index)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, i64::MAX))?;
    let facts = Facts::of(&item.entry.event);
    let event_type = item.entry.event.type_name();
    let mut number = |text: &str| intern(tx, names, text);
    let kind = number(event_type)?;
    let actor = facts.actor.map(ActorRef::as_str).map(&mut number).transpose()?;
    let surface = facts.surface.map(&mut number).transpose()?;
    let decision = facts.decision.map(halves);
    tx.prepare_cached("INSERT INTO event VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)")?.execute(
        params![
            id,
            i64::try_from(item.entry.time.0).unwrap_or(i64::MAX),
            kind,
            is_rare(event_type).then_some(1_i64),
            decision.map(|(high, _)| high),
            decision.map(|(_, low)| low),
            facts.outcome.map(outcome_number),
            actor,
            surface,
            facts.trace.map(trace_hash),
            facts.idempotency.as_ref().map(tag_hash),
        ],
    )?;
    let differs = facts.would_differ.then_some(WOULD_DIFFER);
    for rule in facts.rules.iter().map(String::as_str).chain(differs) {
        let rule = number(rule)?;
        tx.prepare_cached("INSERT OR IGNORE INTO rule_hit VALUES (?1, ?2, ?3)")?.execute([
            id >> SEGMENT_BITS,
            rule,
            id,
        ])?;
    }
    for subject in facts.subjects {
        tx.prepare_cached("INSERT OR IGNORE INTO subject_hit VALUES (?1, ?2, ?3)")?.execute([
            id >> SEGMENT_BITS,
            tag_hash(subject),
            id,
        ])?;
    }
    Ok(())
}

/// The number of a name, given on first use.
fn intern(tx: &Connection, names: &mut HashMap<String, i64>, text: &str) -> rusqlite::Result<i64> {
    if let Some(number) = names.get(text) {
        return Ok(*number);
    }
    let known: Option<i64> = tx
        .prepare_cached("SELECT id FROM name WHERE text = ?1")?
        .query_row([text], |row| row.get(0))
        .optional()?;
    let number = match known {
        Some(number) => number,
        None => {
            tx.prepare_cached("INSERT INTO name(text) VALUES (?1)")?.execute([text])?;
            tx.last_insert_rowid()
        }
    };
    if names.len() >= NAMES_MAX {
        names.clear();
    }
    names.insert(text.to_owned(), number);
    Ok(number)
}
