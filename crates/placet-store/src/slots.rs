//! Payload slots in `keys.db`: 48 bytes each, a 32-byte secret wrapped under the master key, in
//! blocks; erasing overwrites. Refuses to know what a secret seals.

use crate::error::OpenError;
use crate::lock::Lock;
use crate::master::MasterKey;
use crate::sqlite::{self, Pool, Schema, unsigned};
use placet_runtime::crypto::{self, SystemEntropy};
use placet_runtime::ports::{
    Entropy, PortError, Secret, SecretCursor, SlotReader, Slots, WorkspaceNo,
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

const SCHEMA: Schema = Schema {
    application: 0x504c_4b31,
    version: 1,
    tables: "CREATE TABLE block(first INTEGER PRIMARY KEY, wrapped BLOB NOT NULL) STRICT;",
    // `erased` came later: a file without it is one in which nothing was erased.
    writer: "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA cache_size=-8192; \
             CREATE TABLE IF NOT EXISTS erased(workspace INTEGER PRIMARY KEY, \
             upto INTEGER NOT NULL) STRICT;",
    page_size: 4096,
};

/// A wrapped secret: 32 bytes and the tag of AES-GCM.
const SLOT_BYTES: usize = 32 + crypto::SEAL_OVERHEAD;
const SLOT_BYTES_U64: u64 = SLOT_BYTES as u64;
/// Slots of a new row: as many as fit a page with it. To get at a slot of a longer row SQLite reads all pages before it;
/// older files have rows of thousands.
const ROW_SLOTS: usize = 84;
/// Restored keys skip at least so many numbers, and at most 2^55 more: there is room for two hundred
/// restores of restores.
const JUMP_MIN: u64 = 1 << 32;
const JUMP_SHIFT: u32 = 9;
/// What is sealed in a slot.
const CONTEXT: &[u8] = b"placet/slot/1";
/// Label of the wrapping key.
const LABEL: &[u8] = b"placet/wrap/slots/1";

/// The writing end of the slots: creates and erases.
pub struct SqliteSlots {
    path: PathBuf,
    /// `None` after a failure: a handle that failed once is never used again.
    conn: Option<Connection>,
    key: Secret,
    _lock: Option<Arc<Lock>>,
}

impl std::fmt::Debug for SqliteSlots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteSlots").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteSlots {
    pub(crate) fn create_file(path: &Path) -> Result<(), OpenError> {
        let conn = sqlite::create(path, &SCHEMA)?;
        sqlite::checkpoint(&conn, "TRUNCATE").map_err(|e| sqlite::refused(path, &e))?;
        Ok(())
    }

    pub(crate) fn open(
        path: PathBuf,
        master: &MasterKey,
        lock: Option<Arc<Lock>>,
    ) -> Result<Self, OpenError> {
        let conn = sqlite::open_writer(&path, &SCHEMA)?;
        Ok(Self { path, conn: Some(conn), key: master.derive(LABEL), _lock: lock })
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Connection, &[u8; 32]) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        let Some(mut conn) = self.conn.take() else {
            return Err(PortError::new("the slots failed before, reopen them"));
        };
        let value = work(&mut conn, &self.key)
            .map_err(|e| PortError::new(format_args!("{}: {e}", self.path.display())))?;
        self.conn = Some(conn);
        Ok(value)
    }
}

/// What a restored file was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The slot after the last one that it had.
    pub end: u64,
    /// Up to which entry of each log what was erased was destroyed in it.
    pub erased: Vec<(WorkspaceNo, u64)>,
}

/// Up to which entry of each log what is erased is destroyed.
pub(crate) fn marks(keys: &Connection) -> rusqlite::Result<Vec<(WorkspaceNo, u64)>> {
    let there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'erased'";
    if keys.query_row(there, [], |_| Ok(())).optional()?.is_none() {
        return Ok(Vec::new());
    }
    let mut all = keys.prepare("SELECT workspace, upto FROM erased")?;
    all.query_map([], |row| Ok((WorkspaceNo(row.get(0)?), unsigned(row, 1)?)))?.collect()
}

/// Makes a restored file fit to go on with; without the master key, since nothing is opened.
///
/// The slots after its last one were given out before, by the instance that was lost: given out
/// again, one number would wrap two secrets under one nonce. So the numbers go on far beyond, at a
/// random place, which no other restore of the same file takes. And how far erasing had come is
/// forgotten: the first start destroys again everything that the log says is erased, whichever log
/// stands beside it.
pub(crate) fn renew(path: &Path) -> Result<Renewed, OpenError> {
    let mut conn = sqlite::open_unchecked(path, true)?;
    sqlite::check(&conn, path, &SCHEMA)?;
    let mut random = [0; 8];
    SystemEntropy.fill(&mut random);
    let skipped = JUMP_MIN + (u64::from_be_bytes(random) >> JUMP_SHIFT);
    let done = (|| {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let end = end_of(&tx)?;
        let last = end.checked_add(skipped).and_then(|last| i64::try_from(last).ok());
        let last = last.ok_or(rusqlite::Error::InvalidQuery)?;
        // As a slot that is used up and erased.
        tx.execute("INSERT INTO block VALUES (?1, ?2)", params![last, [0_u8; SLOT_BYTES]])?;
        let erased = marks(&tx)?;
        tx.execute_batch("DROP TABLE IF EXISTS erased")?;
        tx.commit()?;
        Ok(Renewed { end, erased })
    })();
    done.map_err(|e: rusqlite::Error| sqlite::refused(path, &e))
}

/// The number of the next slot.
fn end_of(conn: &Connection) -> rusqlite::Result<u64> {
    let end = "SELECT first, length(wrapped) FROM block ORDER BY first DESC LIMIT 1";
    let end = conn
        .query_row(end, [], |row| Ok(unsigned(row, 0)? + unsigned(row, 1)? / SLOT_BYTES_U64))
        .optional()?;
    Ok(end.unwrap_or_default())
}

impl Slots for SqliteSlots {
    /// Overwrites slots with zeros, durably, in the database and in its WAL: all of them or none.
    /// Repeating is harmless; after a failure of the store it is not known which: reopen, repeat.
    /// What the disk keeps of blocks that the file system has freed is beyond reach here.
    ///
    /// # Errors
    /// [`PortError`] when the store failed, a slot never existed, or a reader kept the WAL from
    /// being emptied for five seconds.
    fn erase(&mut self, workspace: WorkspaceNo, upto: u64, slots: &[u64]) -> Result<(), PortError> {
        let missing = self.with(|conn, _| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for &slot in slots {
                let Some((first, offset)) = place(&tx, slot)? else {
                    tx.rollback()?;
                    return Ok(Some(slot));
                };
                let mut blob = tx.blob_open("main", "block", "wrapped", first, false)?;
                blob.write_at(&[0; SLOT_BYTES], offset)?;
            }
            let upto = i64::try_from(upto).map_err(|_| rusqlite::Error::InvalidQuery)?;
            tx.execute(
                "INSERT INTO erased VALUES (?1, ?2) \
                 ON CONFLICT(workspace) DO UPDATE SET upto = max(upto, excluded.upto)",
                params![workspace.0, upto],
            )?;
            tx.commit()?;
            Ok(None)
        })?;
        if let Some(slot) = missing {
            return Err(PortError::new(format_args!("slot {slot} never existed: none was erased")));
        }
        let emptied = self.with(|conn, _| sqlite::checkpoint(conn, "TRUNCATE"))?;
        if emptied {
            return Ok(());
        }
        Err(PortError::new("erased, but a reader keeps the WAL: repeat to be rid of the old bytes"))
    }

    fn erased_upto(&self, workspace: WorkspaceNo) -> Result<Option<u64>, PortError> {
        let conn = self.conn.as_ref();
        let conn = conn.ok_or_else(|| PortError::new("the slots failed before, reopen them"))?;
        let upto = "SELECT upto FROM erased WHERE workspace = ?1";
        conn.query_row(upto, [workspace.0], |row| unsigned(row, 0))
            .optional()
            .map_err(|e| PortError::new(format_args!("{}: {e}", self.path.display())))
    }

    fn end(&self) -> Result<u64, PortError> {
        let conn = self.conn.as_ref();
        let conn = conn.ok_or_else(|| PortError::new("the slots failed before, reopen them"))?;
        end_of(conn).map_err(|e| PortError::new(format_args!("{}: {e}", self.path.display())))
    }

    fn create(&mut self, secrets: &[Secret]) -> Result<u64, PortError> {
        if secrets.is_empty() {
            return Err(PortError::new("no secrets to store"));
        }
        self.with(|conn, key| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let first = end_of(&tx)?;
            for (begin, secrets) in (first..).step_by(ROW_SLOTS).zip(secrets.chunks(ROW_SLOTS)) {
                let mut block = Vec::with_capacity(secrets.len() * SLOT_BYTES);
                for (slot, secret) in (begin..).zip(secrets) {
                    let mut wrapped = Vec::with_capacity(SLOT_BYTES);
                    wrapped.extend_from_slice(secret.as_ref());
                    crypto::seal(key, nonce(slot), CONTEXT, &mut wrapped);
                    block.extend_from_slice(&wrapped);
                }
                let row = i64::try_from(begin).map_err(|_| rusqlite::Error::InvalidQuery)?;
                tx.prepare_cached("INSERT INTO block VALUES (?1, ?2)")?
                    .execute(params![row, block])?;
            }
            tx.commit()?;
            Ok(first)
        })
    }
}

/// The reading end of the slots.
pub struct SqliteSlotReader {
    pool: Pool,
    key: Secret,
}

impl std::fmt::Debug for SqliteSlotReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteSlotReader")
    }
}

impl SqliteSlotReader {
    pub(crate) fn open(path: PathBuf, master: &MasterKey) -> Result<Self, OpenError> {
        Ok(Self { pool: Pool::open(path, &SCHEMA)?, key: master.derive(LABEL) })
    }
}

impl SlotReader for SqliteSlotReader {
    fn secret(&self, slot: u64) -> Result<Option<Secret>, PortError> {
        let wrapped = self.pool.with(|conn| {
            let Some((first, offset)) = place(conn, slot)? else { return Ok(None) };
            let mut wrapped = [0; SLOT_BYTES];
            let blob = conn.blob_open("main", "block", "wrapped", first, true)?;
            blob.read_at_exact(&mut wrapped, offset)?;
            Ok(Some(wrapped))
        })?;
        let wrapped =
            wrapped.ok_or_else(|| PortError::new(format_args!("slot {slot} never existed")))?;
        opened(&self.key, slot, wrapped)
    }

    fn cursor(&self) -> Box<dyn SecretCursor + '_> {
        Box::new(self.cache())
    }
}

impl SecretCursor for SlotCache<'_> {
    fn secret(&mut self, slot: u64) -> Result<Option<Secret>, PortError> {
        SlotCache::secret(self, slot)
    }
}

/// Secrets of many slots in about their order: keeps the block that it read last.
pub struct SlotCache<'a> {
    reader: &'a SqliteSlotReader,
    first: u64,
    wrapped: Vec<u8>,
}

impl std::fmt::Debug for SlotCache<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SlotCache")
    }
}

impl SqliteSlotReader {
    /// For reading many.
    #[must_use]
    pub fn cache(&self) -> SlotCache<'_> {
        SlotCache { reader: self, first: 0, wrapped: Vec::new() }
    }
}

impl SlotCache<'_> {
    /// The secret of a slot; `None` once it has been erased. What is erased while this is in use
    /// may be seen as it was before.
    ///
    /// # Errors
    /// [`PortError`] when the store failed or the slot never existed.
    pub fn secret(&mut self, slot: u64) -> Result<Option<Secret>, PortError> {
        let never = || PortError::new(format_args!("slot {slot} never existed"));
        if self.kept(slot).is_none() {
            let wanted = i64::try_from(slot).map_err(|_| never())?;
            let block = self.reader.pool.with(|conn| {
                let block = "SELECT first, wrapped FROM block WHERE first <= ?1 \
                             ORDER BY first DESC LIMIT 1";
                conn.prepare_cached(block)?
                    .query_row([wanted], |row| Ok((unsigned(row, 0)?, row.get::<_, Vec<u8>>(1)?)))
                    .optional()
            })?;
            (self.first, self.wrapped) = block.ok_or_else(never)?;
        }
        let wrapped = self.kept(slot).ok_or_else(never)?;
        opened(&self.reader.key, slot, wrapped)
    }

    fn kept(&self, slot: u64) -> Option<[u8; SLOT_BYTES]> {
        let at = usize::try_from(slot.checked_sub(self.first)?).ok()?.checked_mul(SLOT_BYTES)?;
        self.wrapped.get(at..)?.first_chunk().copied()
    }
}

fn opened(key: &Secret, slot: u64, wrapped: [u8; SLOT_BYTES]) -> Result<Option<Secret>, PortError> {
    if wrapped == [0; SLOT_BYTES] {
        return Ok(None);
    }
    let plain = crypto::open(key, nonce(slot), CONTEXT, wrapped.to_vec());
    let plain = Zeroizing::new(plain.map_err(|_| {
        PortError::new(format_args!("slot {slot} is damaged, or the master key is another"))
    })?);
    let mut secret = Zeroizing::new([0; 32]);
    secret.copy_from_slice(plain.get(..32).unwrap_or(&[0; 32]));
    Ok(Some(secret))
}

/// Row and offset of a slot; `None` when it never existed.
fn place(conn: &Connection, slot: u64) -> rusqlite::Result<Option<(i64, usize)>> {
    let Ok(wanted) = i64::try_from(slot) else { return Ok(None) };
    let block = "SELECT first, length(wrapped) FROM block WHERE first <= ?1 \
                 ORDER BY first DESC LIMIT 1";
    let block = conn
        .prepare_cached(block)?
        .query_row([wanted], |row| Ok((row.get::<_, i64>(0)?, unsigned(row, 1)?)))
        .optional()?;
    Ok(block.and_then(|(first, bytes)| {
        let offset = u64::try_from(wanted - first).ok()?.checked_mul(SLOT_BYTES_U64)?;
        let within = offset.checked_add(SLOT_BYTES_U64)? <= bytes;
        within.then_some((first, usize::try_from(offset).ok()?))
    }))
}

/// The 96-bit big-endian slot number. INVARIANT: a slot number is given out once.
fn nonce(slot: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(low) = nonce.last_chunk_mut::<8>() {
        *low = slot.to_be_bytes();
    }
    nonce
}

#[cfg(test)]
mod tests;
