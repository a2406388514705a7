//! The data directory: its files, their modes, its format and its lock, and one way into each
//! store. Refuses to know what the stores hold.

use crate::backup::MANIFEST;
use crate::error::OpenError;
use crate::files;
use crate::format::{self, FORMAT, KNOWN};
use crate::highwater::{self, HighWater};
use crate::identity::Identity;
use crate::journal::{SqliteJournal, SqliteJournalReader};
use crate::kill;
use crate::lock::Lock;
use crate::master::{self, MasterKey};
use crate::outbox::Outbox;
use crate::read_model::{Models, SqliteReadModel, SqliteReadModelWriter};
use crate::slots::{SqliteSlotReader, SqliteSlots};
use crate::snapshots::{self, SnapshotFiles};
use crate::succession::Succession;
use placet_runtime::ports::JournalReader;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `FORMAT` while the directory is being made. It is the first file written and renamed last: a
/// directory that has it and no `FORMAT` has never served anybody and may be made anew.
const FORMAT_NEW: &str = "FORMAT.new";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const JOURNAL: &str = "journal.db";
pub(crate) const READ: &str = "read.db";
pub(crate) const KEYS: &str = "keys.db";
pub(crate) const OUTBOX: &str = "outbox.db";
pub(crate) const IDENTITY: &str = "identity.db";

/// Whether a missing data directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// Made when it is missing or empty.
    Yes,
    /// Refused when it is missing or empty.
    No,
}

/// An open data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    key: Option<MasterKey>,
    /// Held by every writer made from here; `None` when opened for reading.
    lock: Option<Arc<Lock>>,
    /// Tells readers of the read model when it is another one.
    models: Models,
}

impl DataDir {
    /// Opens for writing: takes the lock, checks format, identity and master key; the key is that
    /// of the environment variable `PLACET_MASTER_KEY`, otherwise the file's.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn open(path: &Path, create: Create) -> Result<Self, OpenError> {
        Self::open_with_key(path, create, MasterKey::from_env()?)
    }

    /// [`DataDir::open`] with a master key from elsewhere; `None` takes the file's.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn open_with_key(
        path: &Path,
        create: Create,
        key: Option<MasterKey>,
    ) -> Result<Self, OpenError> {
        let failed = |e| OpenError::failed(path, e);
        // Looked at before anything is touched: a directory of somebody else's stays as it is.
        let state = look(path)?;
        // Going on from it would fork the log: the directory it comes from goes on as well.
        if path.join(MANIFEST).exists() {
            return Err(OpenError::IsBackup { path: path.into() });
        }
        if state == State::New && create == Create::No {
            return Err(OpenError::Missing { path: path.into() });
        }
        if state == State::New {
            files::create_private_dir(path).map_err(failed)?;
        }
        let lock = Some(Arc::new(Lock::take(path)?));
        // Again under the lock: another process may have finished in between.
        if look(path)? == State::New {
            initialise(path, key.as_ref())?;
        }
        let dir = Self { path: path.into(), key, lock, models: Models::default() };
        format::check(path)?;
        // Nothing may ever be wrapped under a wrong master key.
        dir.identity()?;
        Ok(dir)
    }

    /// Opens for reading beside a running server: takes no lock, writes nothing.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        Self::open_read_only_with_key(path, MasterKey::from_env()?)
    }

    /// [`DataDir::open_read_only`] with a master key from elsewhere. None is needed until keys are
    /// read.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn open_read_only_with_key(path: &Path, key: Option<MasterKey>) -> Result<Self, OpenError> {
        if look(path)? == State::New {
            return Err(OpenError::Missing { path: path.into() });
        }
        format::check(path)?;
        Ok(Self { path: path.into(), key, lock: None, models: Models::default() })
    }

    /// Files that are being put together at `path`, under the master key of `from`, to be read.
    pub(crate) fn beside(from: &Self, path: &Path) -> Self {
        Self { path: path.into(), key: from.master().ok(), lock: None, models: Models::default() }
    }

    /// Files that are being put together at `path`, to be read.
    pub(crate) fn unfinished(path: &Path) -> Result<Self, OpenError> {
        let key = MasterKey::from_env()?;
        Ok(Self { path: path.into(), key, lock: None, models: Models::default() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The writing end of the log. After it has failed, another call reopens it.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn journal(&self) -> Result<SqliteJournal, OpenError> {
        SqliteJournal::open(self.path.join(JOURNAL), Some(self.locked()?))
    }

    /// The reading end of the log.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn journal_reader(&self) -> Result<SqliteJournalReader, OpenError> {
        SqliteJournalReader::open(self.path.join(JOURNAL))
    }

    /// Saved states.
    ///
    /// # Errors
    /// [`OpenError::ReadOnly`]: whoever reads beside a running server folds the log.
    pub fn snapshots(&self) -> Result<SnapshotFiles, OpenError> {
        Ok(SnapshotFiles::new(&self.path, Some(self.locked()?)))
    }

    /// Saved states, to compare the log with.
    #[must_use]
    pub fn snapshot_reader(&self) -> SnapshotFiles {
        SnapshotFiles::new(&self.path, None)
    }

    /// The writing end of the payload slots.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn slots(&self) -> Result<SqliteSlots, OpenError> {
        SqliteSlots::open(self.path.join(KEYS), &self.master()?, Some(self.locked()?))
    }

    /// The reading end of the payload slots.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn slot_reader(&self) -> Result<SqliteSlotReader, OpenError> {
        SqliteSlotReader::open(self.path.join(KEYS), &self.master()?)
    }

    /// The instance's id and keys; makes missing workspace keys only when opened for writing.
    ///
    /// # Errors
    /// [`OpenError::MasterKeyWrong`] among others.
    pub fn identity(&self) -> Result<Identity, OpenError> {
        Identity::open(self.path.join(IDENTITY), &self.master()?, self.lock.clone())
    }

    /// The instance's id as it was founded, which needs no master key.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn instance(&self) -> Result<String, OpenError> {
        Identity::instance_in(&self.path.join(IDENTITY))
    }

    /// The name under which it goes on since a loss was accepted, if one was.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn succession(&self) -> Result<Option<Succession>, OpenError> {
        Succession::load(&self.path)
    }

    /// The high-water marks, after every log has been checked against them.
    ///
    /// # Errors
    /// [`OpenError::BehindHighWater`] when a log is shorter than what was signed,
    /// [`OpenError::Damaged`] when the file is missing although there are entries.
    pub fn high_water(&self) -> Result<HighWater, OpenError> {
        // The marks first: beside a running server the log grows while this looks at it.
        let loaded = HighWater::load(&self.path)?;
        let journal = self.journal_reader()?;
        let failed = |e| OpenError::failed(&self.path.join(JOURNAL), e);
        let mut sizes = std::collections::BTreeMap::new();
        for (no, name) in journal.workspaces().map_err(failed)? {
            let size = journal.head(no).map_err(failed)?.next_index;
            sizes.insert(name.as_str().to_owned(), size);
        }
        let marks = match loaded {
            Some(marks) => marks,
            None if sizes.values().all(|&size| size == 0) => HighWater::empty(&self.path),
            None => {
                let path = self.path.join(highwater::FILE);
                return Err(OpenError::damaged(format_args!("{} is missing", path.display())));
            }
        };
        for name in marks.sizes().keys() {
            marks.check(name, sizes.get(name).copied().unwrap_or_default())?;
        }
        Ok(marks)
    }

    /// The writing end of the read model; one that is missing, damaged, of another version or
    /// ahead of the log is made anew, empty.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn read_model_writer(&self) -> Result<SqliteReadModelWriter, OpenError> {
        let lock = self.locked()?;
        let models = self.models.clone();
        SqliteReadModelWriter::open(self.path.join(READ), &self.journal_reader()?, models, lock)
    }

    /// The reading end of the read model, which the writing end must have made before.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn read_model(&self) -> Result<SqliteReadModel, OpenError> {
        SqliteReadModel::open(self.path.join(READ), self.models.clone())
    }

    /// What is still to be told to channels.
    ///
    /// # Errors
    /// [`OpenError`] says why and what to do.
    pub fn outbox(&self) -> Result<Outbox, OpenError> {
        Outbox::open(self.path.join(OUTBOX), self.locked()?)
    }

    /// [`kill::kill_requested`] here.
    #[must_use]
    pub fn kill_requested(&self) -> bool {
        kill::kill_requested(&self.path)
    }

    /// [`kill::read_armed`] here.
    ///
    /// # Errors
    /// When it could not be read.
    pub fn read_armed(&self) -> io::Result<Option<Vec<u8>>> {
        kill::read_armed(&self.path)
    }

    /// [`kill::write_armed`] here.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn write_armed(&self, bytes: &[u8]) -> io::Result<()> {
        kill::write_armed(&self.path, bytes)
    }

    /// [`kill::disarm`] here.
    ///
    /// # Errors
    /// When it is still there.
    pub fn disarm(&self) -> io::Result<()> {
        kill::disarm(&self.path)
    }

    /// [`kill::read_disarmed`] here.
    ///
    /// # Errors
    /// When it could not be read.
    pub fn read_disarmed(&self) -> io::Result<Option<Vec<u8>>> {
        kill::read_disarmed(&self.path)
    }

    fn locked(&self) -> Result<Arc<Lock>, OpenError> {
        self.lock.clone().ok_or(OpenError::ReadOnly)
    }

    fn master(&self) -> Result<MasterKey, OpenError> {
        match &self.key {
            Some(key) => Ok(key.clone()),
            None => MasterKey::load(&self.path),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Missing, empty, or left by a first start that did not finish.
    New,
    /// Has a `FORMAT`.
    Made,
}

fn look(path: &Path) -> Result<State, OpenError> {
    let failed = |e| OpenError::failed(path, e);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(State::New),
        Err(e) => return Err(failed(e)),
    };
    let names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    let has = |name: &str| names.iter().any(|have| have == name);
    if has(FORMAT) {
        return Ok(State::Made);
    }
    // The root of a volume has a `lost+found`; the lock is taken before anything is made.
    if has(FORMAT_NEW) || names.iter().all(|name| name == LOCK || name == "lost+found") {
        return Ok(State::New);
    }
    Err(OpenError::Foreign { path: path.into() })
}

/// Makes everything anew; `FORMAT` appears last.
fn initialise(path: &Path, key: Option<&MasterKey>) -> Result<(), OpenError> {
    let failed = |e| OpenError::failed(path, e);
    // A directory that belongs to somebody else (a mounted volume) keeps its mode; every file in
    // it is 0600 anyway.
    let _ = fs::set_permissions(path, Permissions::from_mode(0o700));
    files::write_private(&path.join(FORMAT_NEW), &format::content(KNOWN))
        .and_then(|()| files::sync_dir(path))
        .map_err(failed)?;
    for name in [JOURNAL, READ, OUTBOX, KEYS, IDENTITY] {
        for suffix in ["", "-wal", "-shm"] {
            files::remove_if_there(&path.join(format!("{name}{suffix}"))).map_err(failed)?;
        }
    }
    // States of a log that is no more.
    match fs::remove_dir_all(path.join(snapshots::DIR)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let key = match key {
        Some(key) => {
            files::remove_if_there(&path.join(master::FILE)).map_err(failed)?;
            key.clone()
        }
        None => MasterKey::create(path)?,
    };
    Identity::create(&path.join(IDENTITY), &key)?;
    SqliteSlots::create_file(&path.join(KEYS))?;
    SqliteJournal::create(&path.join(JOURNAL))?;
    HighWater::empty(path).save()?;
    files::sync_dir(path)
        .and_then(|()| fs::rename(path.join(FORMAT_NEW), path.join(FORMAT)))
        .and_then(|()| files::sync_dir(path))
        .and_then(|()| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => files::sync_dir(parent),
            _ => files::sync_dir(Path::new(".")),
        })
        .map_err(failed)
}
