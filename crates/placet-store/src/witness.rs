//! What a witness keeps, in a directory of its own: its signing seed, the checkpoint it cosigned
//! last of every log, handovers between keys of logs, and requests that may be evidence against a log. Owns the compare-and-set;
//! refuses to know what may be cosigned.

use crate::error::OpenError;
use crate::files;
use crate::lock::Lock;
use crate::sqlite::{self, Schema, unsigned};
use placet_runtime::crypto::SystemEntropy;
use placet_runtime::ports::{PortError, Secret};
use placet_types::hash::{hex_decode, hex_encode};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

const SCHEMA: Schema = Schema {
    application: 0x504c_5731,
    version: 1,
    tables: "CREATE TABLE seen(origin TEXT PRIMARY KEY, size INTEGER NOT NULL, \
             root BLOB NOT NULL, note TEXT NOT NULL) STRICT; \
             CREATE TABLE suspicious(at INTEGER PRIMARY KEY, origin TEXT NOT NULL, \
             why TEXT NOT NULL, request TEXT NOT NULL, held TEXT) STRICT;",
    writer: "PRAGMA synchronous=FULL;",
    page_size: 4096,
};
const SEED: &str = "witness.key";
const STORE: &str = "witness.db";
/// Suspicious requests that are kept; whoever has one has the proof.
const SUSPICIOUS_MAX: u64 = 1000;

/// Beside the schema: a directory that an earlier version made gets it when it is opened.
const HANDOVERS: &str = "CREATE TABLE IF NOT EXISTS handover(at INTEGER PRIMARY KEY, note TEXT NOT NULL UNIQUE) STRICT;";

/// A checkpoint as it is kept: size and root.
pub type Seen = (u64, [u8; 32]);

/// The store of a witness.
pub struct WitnessStore {
    path: PathBuf,
    seed: Secret,
    /// `None` after a failure: what failed to flush must not be read back as if it were durable.
    conn: Mutex<Option<Connection>>,
    /// `None` where it is only read.
    _lock: Option<Lock>,
}

impl std::fmt::Debug for WitnessStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WitnessStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl WitnessStore {
    /// Opens a directory to read what it keeps, also beside the witness; `None` where none was made.
    ///
    /// # Errors
    /// [`OpenError`]: damaged, not accessible.
    pub fn open_read_only(dir: &Path) -> Result<Option<Self>, OpenError> {
        let (Some(seed), path) = (known_seed(dir)?, dir.join(STORE)) else { return Ok(None) };
        let conn = Mutex::new(Some(sqlite::open_reader(&path, &SCHEMA)?));
        Ok(Some(Self { path, seed, conn, _lock: None }))
    }

    /// Opens the directory, and makes it and a new seed where there is none.
    ///
    /// # Errors
    /// [`OpenError`]: in use by another process, damaged, not accessible.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let failed = |path: &Path, e: std::io::Error| OpenError::failed(path, e);
        files::create_private_dir(dir).map_err(|e| failed(dir, e))?;
        let lock = Lock::take(dir)?;
        let path = dir.join(STORE);
        // The seed is written last: a directory without one was not finished.
        let seed = match known_seed(dir)? {
            Some(seed) => seed,
            None => {
                for name in [STORE, "witness.db-wal", "witness.db-shm"] {
                    files::remove_if_there(&dir.join(name)).map_err(|e| failed(dir, e))?;
                }
                drop(sqlite::create(&path, &SCHEMA)?);
                let seed = SystemEntropy.secret();
                let text = Zeroizing::new(format!("{}\n", hex_encode(seed.as_ref())));
                files::write_atomic(dir, SEED, text.as_bytes()).map_err(|e| failed(dir, e))?;
                seed
            }
        };
        let conn = sqlite::open_writer(&path, &SCHEMA)?;
        conn.execute_batch(HANDOVERS).map_err(|e| sqlite::refused(&path, &e))?;
        Ok(Self { path, seed, conn: Mutex::new(Some(conn)), _lock: Some(lock) })
    }

    /// The seed of its Ed25519 key (RFC 8032).
    #[must_use]
    pub fn seed(&self) -> Secret {
        self.seed.clone()
    }

    /// What was cosigned last of this log, with its signed note.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn latest(&self, origin: &str) -> Result<Option<(Seen, String)>, PortError> {
        self.with(|conn| latest(conn, origin))
    }

    /// Stores `next` durably if `expected` is what is stored now; whether it was.
    ///
    /// # Errors
    /// [`PortError`] when the store failed: then nothing may be cosigned.
    pub fn advance(
        &self,
        origin: &str,
        expected: Option<Seen>,
        next: Seen,
        note: &str,
    ) -> Result<bool, PortError> {
        let size = i64::try_from(next.0).map_err(PortError::new)?;
        self.with(|conn| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if latest(&tx, origin)?.map(|(seen, _)| seen) != expected {
                return Ok(false);
            }
            let put = "INSERT INTO seen VALUES (?1, ?2, ?3, ?4) ON CONFLICT(origin) \
                       DO UPDATE SET size = ?2, root = ?3, note = ?4";
            tx.execute(put, params![origin, size, next.1, note])?;
            tx.commit()?;
            Ok(true)
        })
    }

    /// Keeps a request that the log signed and that does not fit what it signed before, beside the
    /// note that was cosigned.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn keep(&self, origin: &str, why: &str, request: &str) -> Result<(), PortError> {
        self.with(|conn| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let count = tx.query_row("SELECT count(*) FROM suspicious", [], |row| unsigned(row, 0));
            if count? < SUSPICIOUS_MAX {
                let held = latest(&tx, origin)?.map(|(_, note)| note);
                let put = "INSERT INTO suspicious(origin, why, request, held) VALUES (?1,?2,?3,?4)";
                tx.execute(put, params![origin, why, request, held])?;
            }
            tx.commit()
        })
    }

    /// All that was kept by [`keep`](Self::keep), oldest first: origin, why, request, held note.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn suspicious(&self) -> Result<Vec<[String; 4]>, PortError> {
        self.with(|conn| {
            let all = "SELECT origin, why, request, coalesce(held, '') FROM suspicious ORDER BY at";
            let mut all = conn.prepare(all)?;
            all.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?
                .collect()
        })
    }

    /// Stores a handover that was accepted, durably; a second time changes nothing.
    ///
    /// # Errors
    /// [`PortError`] when the store failed: then it may not be acted upon.
    pub fn add_handover(&self, note: &str) -> Result<(), PortError> {
        self.with(|conn| {
            let put = "INSERT INTO handover(note) VALUES (?1) ON CONFLICT(note) DO NOTHING";
            conn.execute(put, [note]).map(drop)
        })
    }

    /// The handovers that were accepted, in that order.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    pub fn handovers(&self) -> Result<Vec<String>, PortError> {
        self.with(|conn| {
            let mut all = conn.prepare("SELECT note FROM handover ORDER BY at")?;
            all.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        let mut held: MutexGuard<'_, Option<Connection>> =
            self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut conn =
            held.take().ok_or_else(|| PortError::new("the store failed before, restart"))?;
        let done = work(&mut conn);
        match done {
            Ok(value) => {
                *held = Some(conn);
                Ok(value)
            }
            Err(error) => Err(PortError::new(format_args!("{}: {error}", self.path.display()))),
        }
    }
}

fn latest(conn: &Connection, origin: &str) -> rusqlite::Result<Option<(Seen, String)>> {
    conn.query_row("SELECT size, root, note FROM seen WHERE origin = ?1", [origin], |row| {
        Ok(((unsigned(row, 0)?, row.get(1)?), row.get(2)?))
    })
    .optional()
}

/// The seed of a directory that was finished.
fn known_seed(dir: &Path) -> Result<Option<Secret>, OpenError> {
    let path = dir.join(SEED);
    let text = files::read_small(&path).map_err(|e| OpenError::failed(&path, e))?;
    let damaged = || OpenError::damaged(format_args!("{}: expected 64 hex digits", path.display()));
    text.map(|text| read_seed(&text).ok_or_else(damaged)).transpose()
}

fn read_seed(text: &[u8]) -> Option<Secret> {
    let mut seed = Zeroizing::new([0; 32]);
    hex_decode(std::str::from_utf8(text).ok()?.trim_end(), seed.as_mut())?;
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_only_from_what_it_holds_and_remembers() {
        let dir = tempfile::tempdir().unwrap();
        let store = WitnessStore::open(dir.path()).unwrap();
        let (a, b) = ((3, [1; 32]), (5, [2; 32]));
        assert_eq!(store.latest("o").unwrap(), None);
        assert!(store.advance("o", None, a, "note a").unwrap());
        assert!(!store.advance("o", None, b, "note b").unwrap());
        assert!(store.advance("o", Some(a), b, "note b").unwrap());
        assert!(!store.advance("o", Some(a), a, "note a").unwrap());
        store.keep("o", "fork", "old 5").unwrap();
        for note in ["b", "a", "b"] {
            store.add_handover(note).unwrap();
        }
        assert!(matches!(WitnessStore::open(dir.path()), Err(OpenError::InUse { .. })));
        let seed = store.seed();
        drop(store);
        let store = WitnessStore::open(dir.path()).unwrap();
        assert_eq!(store.seed(), seed);
        assert_eq!(store.latest("o").unwrap(), Some((b, "note b".to_owned())));
        let kept = ["o", "fork", "old 5", "note b"].map(str::to_owned);
        assert_eq!(store.suspicious().unwrap(), [kept]);
        assert_eq!(store.handovers().unwrap(), ["b", "a"]);
    }
}
