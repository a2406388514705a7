//! Back-ups: a directory that appears whole or not at all, with consistent copies of databases that
//! are being written, a list of its files with their digests, and the way back. Owns which file
//! belongs to the data and which to the keys; refuses to judge what the log says.

mod manifest;
mod pinned;
mod restoring;

use crate::dir::{DataDir, IDENTITY, JOURNAL, KEYS, LOCK};
use crate::error::OpenError;
use crate::files;
use crate::format::FORMAT;
use crate::highwater::{self, HighWater};
use crate::journal::SqliteJournalReader;
use crate::lock::Lock;
use crate::succession;
use placet_runtime::crypto::Digester;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use manifest::{BackedUpLog, FileRecord, MANIFEST, Manifest};
pub use pinned::Pinned;
pub use restoring::{Restoring, refuse_used};

/// Bytes that are copied and hashed at a time.
const CHUNK: usize = 1 << 20;

/// A database of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// The log.
    Journal,
    /// The payload slots.
    Keys,
    /// The instance's id and keys.
    Identity,
}

impl Database {
    /// Its file.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Journal => JOURNAL,
            Self::Keys => KEYS,
            Self::Identity => IDENTITY,
        }
    }
}

/// A directory in the making, under a name of its own until it is whole.
#[derive(Debug)]
pub struct Staging {
    dir: PathBuf,
    target: PathBuf,
    files: Vec<FileRecord>,
    finished: bool,
    /// Two that make the same back-up at once do not mix.
    _lock: Lock,
}

impl Staging {
    /// Begins a directory that will be `target`, which must not exist. What an attempt that was
    /// killed has left is removed.
    ///
    /// # Errors
    /// [`OpenError::Exists`], [`OpenError::InUse`] by another back-up, or the file system's.
    pub fn begin(target: &Path) -> Result<Self, OpenError> {
        refuse_existing(target)?;
        let name = target.file_name().ok_or_else(|| OpenError::Exists { path: target.into() })?;
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        partial.push(".partial");
        let dir = target.with_file_name(partial);
        files::create_private_dir(&dir).map_err(|e| OpenError::failed(&dir, e))?;
        let lock = Lock::take(&dir)?;
        clean(&dir)?;
        let target = target.into();
        Ok(Self { dir, target, files: Vec::new(), finished: false, _lock: lock })
    }

    /// Where it is being made.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is in it so far.
    #[must_use]
    pub fn files(&self) -> &[FileRecord] {
        &self.files
    }

    /// Copies one database as it was pinned, and lets go of it. `progress` hears pages done and in
    /// all.
    ///
    /// # Errors
    /// [`OpenError`] says what failed.
    pub fn copy(
        &mut self,
        from: &mut Pinned,
        database: Database,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), OpenError> {
        let name = database.file();
        let target = self.dir.join(name);
        files::create_private(&target).map_err(|e| OpenError::failed(&target, e))?;
        from.copy(database, &target, progress)?;
        let record = record(&self.dir, name).map_err(|e| OpenError::failed(&target, e))?;
        self.files.push(record);
        Ok(())
    }

    /// What is in it so far, to be read under the master key of the directory it comes from.
    #[must_use]
    pub fn look(&self, from: &DataDir) -> DataDir {
        DataDir::beside(from, &self.dir)
    }

    /// The log as it was copied.
    ///
    /// # Errors
    /// [`OpenError`] when it has not been, or is refused.
    pub fn journal_reader(&self) -> Result<SqliteJournalReader, OpenError> {
        SqliteJournalReader::open(self.dir.join(JOURNAL))
    }

    /// Adds `FORMAT` and the high-water marks of what was copied: with the log they make a data
    /// directory that can be read.
    ///
    /// # Errors
    /// When a file could not be written.
    pub fn complete_data(
        &mut self,
        from: &DataDir,
        sizes: &BTreeMap<String, u64>,
    ) -> Result<(), OpenError> {
        let source = from.path().join(FORMAT);
        let format = files::read_small(&source).map_err(|e| OpenError::failed(&source, e))?;
        let format = format.ok_or_else(|| OpenError::Foreign { path: from.path().into() })?;
        let mut marks = HighWater::empty(&self.dir);
        marks.raise(sizes).map_err(|e| OpenError::failed(&self.dir, e))?;
        if sizes.is_empty() {
            marks.save()?;
        }
        let path = self.dir.join(FORMAT);
        files::write_private(&path, &format).map_err(|e| OpenError::failed(&path, e))?;
        let mut names = vec![FORMAT, highwater::FILE];
        if let Some(succession) = from.succession()? {
            succession.save(&self.dir)?;
            names.push(succession::FILE);
        }
        for name in names {
            let record = record(&self.dir, name);
            self.files.push(record.map_err(|e| OpenError::failed(&self.dir.join(name), e))?);
        }
        Ok(())
    }

    /// Writes the list of files and gives the directory its name. Nothing of the name is there
    /// before all of it is durable.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when somebody took the name meanwhile, or the file system's.
    pub fn finish(mut self, taken_ms: u64, logs: Vec<BackedUpLog>) -> Result<Manifest, OpenError> {
        let manifest = Manifest { taken_ms, logs, files: std::mem::take(&mut self.files) };
        let path = self.dir.join(MANIFEST);
        files::write_private(&path, &manifest.to_bytes())
            .and_then(|()| files::sync_dir(&self.dir))
            .map_err(|e| OpenError::failed(&path, e))?;
        refuse_existing(&self.target)?;
        let parent = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::rename(&self.dir, &self.target)
            .and_then(|()| files::sync_dir(parent))
            .map_err(|e| OpenError::failed(&self.target, e))?;
        self.finished = true;
        Ok(manifest)
    }
}

impl Drop for Staging {
    /// What was not finished goes; what cannot be removed now goes before the next attempt.
    fn drop(&mut self) {
        if !self.finished && clean(&self.dir).is_ok() {
            let _ = files::remove_if_there(&self.dir.join(LOCK));
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

/// Removes whatever a back-up consists of but the lock.
fn clean(dir: &Path) -> Result<(), OpenError> {
    for file in [JOURNAL, KEYS, IDENTITY] {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            remove(&dir.join(format!("{file}{suffix}")))?;
        }
    }
    [FORMAT, highwater::FILE, succession::FILE, MANIFEST]
        .iter()
        .try_for_each(|file| remove(&dir.join(file)))
}

fn refuse_existing(target: &Path) -> Result<(), OpenError> {
    match fs::symlink_metadata(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(OpenError::failed(target, e)),
        Ok(_) => Err(OpenError::Exists { path: target.into() }),
    }
}

fn remove(path: &Path) -> Result<(), OpenError> {
    files::remove_if_there(path).map_err(|e| OpenError::failed(path, e))
}

/// Flushes a file and says what it is.
fn record(dir: &Path, name: &str) -> io::Result<FileRecord> {
    let mut file = File::open(dir.join(name))?;
    file.sync_all()?;
    let (mut digest, mut bytes) = (Digester::default(), 0);
    each_chunk(&mut file, |chunk| {
        digest.update(chunk);
        bytes += chunk.len() as u64;
        Ok(())
    })?;
    Ok(FileRecord { name: name.to_owned(), bytes, sha256: digest.finish() })
}

/// Whether every file of a back-up is the one that was listed; the first that is not.
///
/// # Errors
/// [`OpenError::Damaged`] names it.
pub fn check_files(
    dir: &Path,
    manifest: &Manifest,
    progress: &mut dyn FnMut(u64),
) -> Result<(), OpenError> {
    for listed in &manifest.files {
        let path = dir.join(&listed.name);
        let mut file = File::open(&path).map_err(|e| OpenError::failed(&path, e))?;
        let (mut digest, mut bytes) = (Digester::default(), 0);
        each_chunk(&mut file, |chunk| {
            digest.update(chunk);
            bytes += chunk.len() as u64;
            progress(chunk.len() as u64);
            Ok(())
        })
        .map_err(|e| OpenError::failed(&path, e))?;
        if (bytes, digest.finish()) != (listed.bytes, listed.sha256) {
            return Err(OpenError::damaged(format_args!(
                "{} is not the file that was backed up",
                path.display()
            )));
        }
    }
    Ok(())
}

fn each_chunk(file: &mut File, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(()),
            read => take(chunk.get(..read).unwrap_or_default())?,
        }
    }
}
