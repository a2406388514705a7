//! Back-ups: a directory that appears whole or not at all, with consistent copies of databases that
//! are being written, a list of its files with their digests, and the way back. Owns which file
//! belongs to the data and which to the keys; refuses to judge what the log says.

mod manifest;

use crate::dir::{self, DataDir, IDENTITY, JOURNAL, KEYS, LOCK};
use crate::error::OpenError;
use crate::files;
use crate::format::FORMAT;
use crate::highwater::{self, HighWater};
use crate::journal::SqliteJournalReader;
use crate::sqlite;
use placet_runtime::crypto::Digester;
use rusqlite::Connection;
use rusqlite::backup::{Backup as Copying, StepResult};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

pub use manifest::{BackedUpLog, FileRecord, MANIFEST, Manifest};

/// Pages per step: large enough to be fast, small enough for a bar to move.
const PAGES: i32 = 1024;
/// Bytes that are copied and hashed at a time.
const CHUNK: usize = 1 << 20;
/// Stands in for `FORMAT` in a directory whose restore has not finished.
const RESTORING: &str = "RESTORING";

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
    /// Two that make the same back-up at once do not mix.
    _lock: File,
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
        let lock = dir::lock(&dir)?;
        for file in [JOURNAL, KEYS, IDENTITY] {
            for suffix in ["", "-journal", "-wal", "-shm"] {
                remove(&dir.join(format!("{file}{suffix}")))?;
            }
        }
        for file in [FORMAT, highwater::FILE, MANIFEST] {
            remove(&dir.join(file))?;
        }
        Ok(Self { dir, target: target.into(), files: Vec::new(), _lock: lock })
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

    /// Copies one database as it stands at one moment, while others go on writing to it: a single
    /// read transaction, which no commit waits for. `progress` hears pages done and in all.
    ///
    /// # Errors
    /// [`OpenError`] says what failed.
    pub fn copy(
        &mut self,
        from: &DataDir,
        database: Database,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), OpenError> {
        let (name, source) = (database.file(), from.path().join(database.file()));
        let target = self.dir.join(name);
        files::create_private(&target).map_err(|e| OpenError::failed(&target, e))?;
        copy_pages(&source, &target, progress)?;
        let record = record(&self.dir, name).map_err(|e| OpenError::failed(&target, e))?;
        self.files.push(record);
        Ok(())
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
        for name in [FORMAT, highwater::FILE] {
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
    pub fn finish(self, taken_ms: u64, logs: Vec<BackedUpLog>) -> Result<Manifest, OpenError> {
        let manifest = Manifest { taken_ms, logs, files: self.files };
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
        Ok(manifest)
    }
}

/// Puts the files of back-ups into an empty directory: from each back-up those that it lists, with
/// every digest compared. What will be `FORMAT` has another name until everything is durable; no
/// server takes the directory before.
///
/// # Errors
/// [`OpenError::Exists`] when the directory holds anything, [`OpenError::Damaged`] when a file is
/// not the one that was backed up.
pub fn restore(
    target: &Path,
    backups: &[(&Path, &Manifest)],
    progress: &mut dyn FnMut(u64),
) -> Result<(), OpenError> {
    let failed = |e| OpenError::failed(target, e);
    refuse_used(target)?;
    files::create_private_dir(target).map_err(failed)?;
    let _lock = dir::lock(target)?;
    // Again under the lock: another restore may have finished in between.
    refuse_used(target)?;
    let listed =
        || backups.iter().flat_map(|(from, all)| all.files.iter().map(move |one| (*from, one)));
    let format = listed().find(|(_, one)| one.name == FORMAT);
    let (from, format) = format.ok_or_else(|| OpenError::damaged("the back-up has no FORMAT"))?;
    // First of all, so that an attempt that is killed is known for what it is.
    let marker = target.join(RESTORING);
    remove(&marker)?;
    copy_checked(&from.join(FORMAT), &marker, format, progress)?;
    files::sync_dir(target).map_err(failed)?;
    for (from, record) in listed().filter(|(_, one)| one.name != FORMAT) {
        let to = target.join(&record.name);
        remove(&to)?;
        copy_checked(&from.join(&record.name), &to, record, progress)?;
    }
    files::sync_dir(target)
        .and_then(|()| fs::rename(&marker, target.join(FORMAT)))
        .and_then(|()| files::sync_dir(target))
        .map_err(failed)
}

/// Refuses a directory that holds anything but what a volume, a lock, or a restore that was killed
/// has left there.
///
/// # Errors
/// [`OpenError::Exists`].
pub fn refuse_used(target: &Path) -> Result<(), OpenError> {
    let used = || OpenError::Exists { path: target.into() };
    let failed = |e| OpenError::failed(target, e);
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(used()),
        Err(e) => return Err(failed(e)),
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| entry.map(|e| e.file_name())).collect();
    let names = names.map_err(failed)?;
    let has = |name: &str| names.iter().any(|have| have == name);
    let empty = names.iter().all(|name| name == LOCK || name == "lost+found");
    if empty || (has(RESTORING) && !has(FORMAT)) { Ok(()) } else { Err(used()) }
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

fn copy_pages(
    source: &Path,
    target: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), OpenError> {
    let from = sqlite::open_unchecked(source, false)?;
    let mut to = sqlite::open_unchecked(target, true)?;
    let done = step_pages(&from, &mut to, progress).and_then(|()| single_file(&to));
    done.map_err(|e| sqlite::refused(source, &e))
}

fn step_pages(
    from: &Connection,
    to: &mut Connection,
    progress: &mut dyn FnMut(u64, u64),
) -> rusqlite::Result<()> {
    // One transaction over all steps: what is committed meanwhile neither enters the copy nor
    // makes it begin again. The write-ahead log cannot start anew until it ends, so it grows.
    from.execute_batch("BEGIN")?;
    from.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
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

fn copy_checked(
    from: &Path,
    to: &Path,
    record: &FileRecord,
    progress: &mut dyn FnMut(u64),
) -> Result<(), OpenError> {
    let mut source = File::open(from).map_err(|e| OpenError::failed(from, e))?;
    let mut target = files::create_private(to).map_err(|e| OpenError::failed(to, e))?;
    let (mut digest, mut bytes) = (Digester::default(), 0);
    let copied = each_chunk(&mut source, |chunk| {
        digest.update(chunk);
        bytes += chunk.len() as u64;
        progress(chunk.len() as u64);
        target.write_all(chunk)
    });
    copied.and_then(|()| target.sync_all()).map_err(|e| OpenError::failed(to, e))?;
    if (bytes, digest.finish()) == (record.bytes, record.sha256) {
        return Ok(());
    }
    Err(OpenError::damaged(format_args!("{} is not the file that was backed up", from.display())))
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
