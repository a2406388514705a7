//! Who this instance is, in `identity.db`: its id, its signing seeds, one pseudonym key per
//! workspace, all wrapped under the master key. Refuses to know what is signed or named, and which
//! of several seeds is in force: the logs say that.

use crate::error::OpenError;
use crate::lock::Lock;
use crate::master::MasterKey;
use crate::sqlite::{self, Schema};
use placet_runtime::crypto::{self, SystemEntropy};
use placet_runtime::ports::{Entropy, PortError, Secret};
use placet_types::hash::{hex_decode, hex_encode};
use placet_types::ids::WorkspaceName;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

const SCHEMA: Schema = Schema {
    application: 0x504c_4931,
    version: 1,
    tables: "CREATE TABLE instance(id TEXT NOT NULL) STRICT; \
             CREATE TABLE secret(name TEXT PRIMARY KEY, nonce BLOB NOT NULL, \
             wrapped BLOB NOT NULL) STRICT;",
    writer: "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;",
    page_size: 4096,
};

/// Label of the wrapping key.
const LABEL: &[u8] = b"placet/wrap/identity/1";
/// A row that only tells whether the master key is the right one.
const CHECK: &str = "check";
/// The row of the first signing seed; later ones are `signing/2` and so on.
const SIGNING: &str = "signing";

/// The instance's id and keys.
pub struct Identity {
    path: PathBuf,
    instance: String,
    key: Secret,
    writable: bool,
    /// `None` after a failure: what failed to flush must not be read back as if it were durable.
    conn: Mutex<Option<Connection>>,
    _lock: Option<Arc<Lock>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Identity {
    pub(crate) fn create(path: &Path, master: &MasterKey) -> Result<(), OpenError> {
        let failed = |e: rusqlite::Error| sqlite::refused(path, &e);
        let mut conn = sqlite::create(path, &SCHEMA)?;
        let mut id = [0; 8];
        SystemEntropy.fill(&mut id);
        let instance = hex_encode(&id);
        let key = master.derive(LABEL);
        let tx = conn.transaction().map_err(failed)?;
        tx.execute("INSERT INTO instance VALUES (?1)", [&instance]).map_err(failed)?;
        for name in [CHECK, SIGNING] {
            store(&tx, &key, &instance, name, &SystemEntropy.secret()).map_err(failed)?;
        }
        tx.commit().map_err(failed)?;
        sqlite::checkpoint(&conn, "TRUNCATE").map_err(failed)?;
        Ok(())
    }

    pub(crate) fn open(
        path: PathBuf,
        master: &MasterKey,
        lock: Option<Arc<Lock>>,
    ) -> Result<Self, OpenError> {
        let writable = lock.is_some();
        let conn = if writable {
            sqlite::open_writer(&path, &SCHEMA)?
        } else {
            sqlite::open_reader(&path, &SCHEMA)?
        };
        let damaged = |what| OpenError::damaged(format_args!("{}: {what}", path.display()));
        let instance: Option<String> = conn
            .query_row("SELECT id FROM instance", [], |row| row.get(0))
            .optional()
            .map_err(|e| sqlite::refused(&path, &e))?;
        let instance = instance.ok_or_else(|| damaged("the instance id is missing"))?;
        hex_decode(&instance, &mut [0; 8]).ok_or_else(|| damaged("the instance id is damaged"))?;
        let key = master.derive(LABEL);
        let row = |name| {
            let row = load(&conn, &key, &instance, name);
            row.map_err(|e| sqlite::refused(&path, &e))
        };
        let names = signing_names(&conn).map_err(|e| sqlite::refused(&path, &e))?;
        let rows: Vec<Row> = names.iter().map(|name| row(name)).collect::<Result<_, _>>()?;
        let whole = !rows.is_empty() && rows.iter().all(|row| matches!(row, Row::Open(_)));
        let sealed = !rows.is_empty() && rows.iter().all(|row| matches!(row, Row::Sealed));
        match row(CHECK)? {
            Row::Open(_) if whole => {}
            Row::Sealed if sealed => return Err(OpenError::MasterKeyWrong),
            _ => return Err(damaged("a wrapped key is missing or damaged")),
        }
        Ok(Self { instance, key, writable, conn: Mutex::new(Some(conn)), path, _lock: lock })
    }

    /// The instance's id as it stands in a file, without the master key.
    pub(crate) fn instance_in(path: &Path) -> Result<String, OpenError> {
        let conn = sqlite::open_reader(path, &SCHEMA)?;
        conn.query_row("SELECT id FROM instance", [], |row| row.get(0))
            .map_err(|e| sqlite::refused(path, &e))
    }

    /// 16 hex digits, fixed when the data directory was made.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The seeds of the Ed25519 signing keys (RFC 8032) that are held, oldest first; never empty.
    ///
    /// # Errors
    /// [`PortError`] when the store failed or a row does not open.
    pub fn signing_seeds(&self) -> Result<Vec<Secret>, PortError> {
        let rows = self.with(|conn| {
            let names = signing_names(conn)?;
            names.iter().map(|name| load(conn, &self.key, &self.instance, name)).collect()
        })?;
        let rows: Vec<Row> = rows;
        let open = |row| match row {
            Row::Open(seed) => Some(seed),
            Row::Sealed | Row::Missing => None,
        };
        let seeds: Option<Vec<Secret>> = rows.into_iter().map(open).collect();
        let seeds = seeds.filter(|seeds| !seeds.is_empty());
        seeds.ok_or_else(|| self.failed(&"a signing key is missing or damaged"))
    }

    /// A fresh signing seed, durable when this returns.
    ///
    /// # Errors
    /// [`PortError`] when the store failed or is read-only.
    pub fn add_signing_seed(&self) -> Result<Secret, PortError> {
        self.demand_writable()?;
        let seed = SystemEntropy.secret();
        self.with(|conn| {
            let number = |name: &String| match name.split_once('/') {
                Some((_, number)) => number.parse().unwrap_or(1_u64),
                None => 1,
            };
            let last = signing_names(conn)?.iter().map(number).max().unwrap_or(0);
            let name = format!("{SIGNING}/{}", last.saturating_add(1));
            store(conn, &self.key, &self.instance, &name, &seed)
        })?;
        Ok(seed)
    }

    /// Destroys every signing seed that `keep` does not want: its row is overwritten, and so is what
    /// the write-ahead log holds of it. Where nothing would be left, nothing goes.
    ///
    /// # Errors
    /// [`PortError`] when the store failed or is read-only.
    pub fn keep_signing_seeds(&self, keep: impl Fn(&Secret) -> bool) -> Result<(), PortError> {
        self.demand_writable()?;
        self.with(|conn| {
            let names = signing_names(conn)?;
            let mut goes = Vec::new();
            for name in &names {
                match load(conn, &self.key, &self.instance, name)? {
                    Row::Open(seed) if keep(&seed) => {}
                    _ => goes.push(name),
                }
            }
            if goes.len() < names.len() && !goes.is_empty() {
                let tx = conn.unchecked_transaction()?;
                for name in goes {
                    tx.execute("DELETE FROM secret WHERE name = ?1", [name])?;
                }
                tx.commit()?;
            }
            // Also where an earlier call has deleted and could not empty the log behind it.
            sqlite::checkpoint_now(conn, "TRUNCATE")
        })
        .and_then(|emptied| match emptied {
            true => Ok(()),
            false => Err(PortError::new("a reader keeps the old bytes of identity.db: repeat")),
        })
    }

    /// The pseudonym key of a workspace. A writable handle makes a missing one durably and never
    /// answers `None`; a read-only one answers `None`.
    ///
    /// # Errors
    /// [`PortError`] when the store failed or the row does not open.
    pub fn workspace_key(&self, workspace: &WorkspaceName) -> Result<Option<Secret>, PortError> {
        match self.with(|conn| self.load_or_make(conn, workspace))? {
            Row::Open(key) => Ok(Some(key)),
            Row::Missing => Ok(None),
            Row::Sealed => {
                Err(self.failed(&format_args!("the key of workspace {workspace} is damaged")))
            }
        }
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> PortError {
        PortError::new(format_args!("{}: {why}", self.path.display()))
    }

    fn demand_writable(&self) -> Result<(), PortError> {
        if self.writable { Ok(()) } else { Err(self.failed(&"it was opened for reading only")) }
    }

    /// Works with the connection, which is given up for good where that fails.
    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        let mut slot = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = slot.take().ok_or_else(|| self.failed(&"it failed before, reopen it"))?;
        let done = work(&conn).map_err(|error| self.failed(&error))?;
        *slot = Some(conn);
        Ok(done)
    }

    fn load_or_make(&self, conn: &Connection, workspace: &WorkspaceName) -> rusqlite::Result<Row> {
        let name = format!("workspace/{workspace}");
        let row = load(conn, &self.key, &self.instance, &name)?;
        if !self.writable || !matches!(row, Row::Missing) {
            return Ok(row);
        }
        let key = SystemEntropy.secret();
        store(conn, &self.key, &self.instance, &name, &key)?;
        Ok(Row::Open(key))
    }
}

enum Row {
    Open(Secret),
    Sealed,
    Missing,
}

/// Rows of signing seeds, oldest first.
fn signing_names(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let all = "SELECT name FROM secret WHERE name = ?1 OR name LIKE ?1 || '/%' ORDER BY rowid";
    let mut all = conn.prepare(all)?;
    all.query_map([SIGNING], |row| row.get(0))?.collect()
}

/// Names instance and row, so that rows cannot be exchanged.
fn context(instance: &str, name: &str) -> Vec<u8> {
    format!("placet/identity/1\0{instance}\0{name}").into_bytes()
}

fn store(
    conn: &Connection,
    key: &Secret,
    instance: &str,
    name: &str,
    secret: &Secret,
) -> rusqlite::Result<()> {
    let mut nonce = [0; 12];
    SystemEntropy.fill(&mut nonce);
    let mut wrapped = Vec::with_capacity(32 + crypto::SEAL_OVERHEAD);
    wrapped.extend_from_slice(secret.as_ref());
    crypto::seal(key, nonce, &context(instance, name), &mut wrapped);
    conn.execute("INSERT INTO secret VALUES (?1, ?2, ?3)", params![name, nonce, wrapped])?;
    Ok(())
}

fn load(conn: &Connection, key: &Secret, instance: &str, name: &str) -> rusqlite::Result<Row> {
    let row: Option<(Vec<u8>, Vec<u8>)> = conn
        .query_row("SELECT nonce, wrapped FROM secret WHERE name = ?1", [name], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((nonce, wrapped)) = row else { return Ok(Row::Missing) };
    let Ok(nonce) = <[u8; 12]>::try_from(nonce) else { return Ok(Row::Sealed) };
    let Ok(plain) = crypto::open(key, nonce, &context(instance, name), wrapped) else {
        return Ok(Row::Sealed);
    };
    let plain = Zeroizing::new(plain);
    let mut secret = Zeroizing::new([0; 32]);
    if plain.len() != secret.len() {
        return Ok(Row::Sealed);
    }
    secret.copy_from_slice(&plain);
    Ok(Row::Open(secret))
}
