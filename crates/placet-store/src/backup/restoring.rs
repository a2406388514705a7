//! The way back: files of back-ups in a directory that no server takes before it is whole. Owns what
//! of restored keys must not be as it was; refuses to judge what the log says.

use super::{FileRecord, Manifest, each_chunk, remove};
use crate::dir::{DataDir, KEYS, LOCK};
use crate::error::OpenError;
use crate::files;
use crate::format::{self, FORMAT};
use crate::lock::Lock;
use crate::slots::{self, Renewed};
use crate::succession::{self, Succession};
use placet_runtime::crypto::Digester;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Stands in for `FORMAT` in a directory whose restore has not finished.
const RESTORING: &str = "RESTORING";

/// A directory that is being restored. Dropped before it is finished, it can be begun again.
#[derive(Debug)]
pub struct Restoring {
    target: PathBuf,
    /// Whether the directory was made for it.
    made: bool,
    found: u64,
    files: Vec<String>,
    keys: Option<Renewed>,
    _lock: Lock,
}

impl Restoring {
    /// Puts the files of back-ups into an empty directory: from each back-up those that it lists,
    /// with every digest compared. `progress` hears bytes. An older format is brought to the
    /// present one, and keys are made fit to go on with.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when the directory holds anything, [`OpenError::Damaged`] when a file
    /// is not the one that was backed up, [`OpenError::NewerFormat`].
    pub fn begin(
        target: &Path,
        backups: &[(&Path, &Manifest)],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, OpenError> {
        let failed = |e| OpenError::failed(target, e);
        refuse_used(target)?;
        let format = listed(backups).find(|(_, one)| one.name == FORMAT);
        let (from, format) =
            format.ok_or_else(|| OpenError::damaged("the back-up has no FORMAT"))?;
        let found = format::served(from)?;
        let made = !target.exists();
        files::create_private_dir(target).map_err(failed)?;
        let lock = Lock::take(target)?;
        // Again under the lock: another restore may have finished in between.
        refuse_used(target)?;
        let (files, keys) = (Vec::new(), None);
        let mut this = Self { target: target.into(), made, found, files, keys, _lock: lock };
        match this.fill((&from.join(FORMAT), format), backups, progress) {
            Ok(()) => Ok(this),
            Err(error) => {
                this.abandon();
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        (format, listed_format): (&Path, &FileRecord),
        backups: &[(&Path, &Manifest)],
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), OpenError> {
        let target = &self.target;
        // First of all, so that an attempt that is killed is known for what it is.
        let marker = target.join(RESTORING);
        remove(&marker)?;
        copy_checked(format, &marker, listed_format, progress)?;
        files::sync_dir(target).map_err(|e| OpenError::failed(target, e))?;
        for (from, record) in listed(backups).filter(|(_, one)| one.name != FORMAT) {
            let to = target.join(&record.name);
            remove(&to)?;
            self.files.push(record.name.clone());
            copy_checked(&from.join(&record.name), &to, record, progress)?;
            if record.name == KEYS {
                self.keys = Some(slots::renew(&to)?);
            }
        }
        format::step_from(target, self.found)
    }

    /// What is there, to be looked at before it is believed. The master key is that of the
    /// environment, if there is one.
    ///
    /// # Errors
    /// [`OpenError::MasterKeyMalformed`].
    pub fn look(&self) -> Result<DataDir, OpenError> {
        DataDir::unfinished(&self.target)
    }

    /// What the keys were that were restored, if there were any.
    #[must_use]
    pub fn keys(&self) -> Option<&Renewed> {
        self.keys.as_ref()
    }

    /// Lets the logs go on under a name of their own, since signed entries are missing.
    ///
    /// # Errors
    /// [`OpenError`] of the file system.
    pub fn succeed(&mut self, succession: &Succession) -> Result<(), OpenError> {
        if !self.files.iter().any(|name| name == succession::FILE) {
            self.files.push(succession::FILE.to_owned());
        }
        succession.save(&self.target)
    }

    /// Makes everything durable and lets servers take it.
    ///
    /// # Errors
    /// [`OpenError`] of the file system.
    pub fn finish(self) -> Result<(), OpenError> {
        let target = &self.target;
        let marker = target.join(RESTORING);
        let brought = if self.found == format::KNOWN {
            Ok(())
        } else {
            files::write_private(&marker, &format::content(format::KNOWN))
        };
        brought
            .and_then(|()| files::sync_dir(target))
            .and_then(|()| fs::rename(&marker, target.join(FORMAT)))
            .and_then(|()| files::sync_dir(target))
            .map_err(|e| OpenError::failed(target, e))
    }

    /// Removes what was put there, the directory too if it was made for it; what cannot be removed
    /// does no harm.
    pub fn abandon(self) {
        for name in self.files.iter().map(String::as_str).chain([RESTORING]) {
            for suffix in ["", "-journal", "-wal", "-shm"] {
                let _ = files::remove_if_there(&self.target.join(format!("{name}{suffix}")));
            }
        }
        let _ = files::remove_if_there(&self.target.join(LOCK));
        if self.made {
            let _ = fs::remove_dir(&self.target);
        }
    }
}

/// The files of all back-ups, and where each is.
fn listed<'b>(
    backups: &'b [(&'b Path, &'b Manifest)],
) -> impl Iterator<Item = (&'b Path, &'b FileRecord)> {
    backups.iter().flat_map(|(from, all)| all.files.iter().map(move |one| (*from, one)))
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

fn copy_checked(
    from: &Path,
    to: &Path,
    wanted: &FileRecord,
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
    if (bytes, digest.finish()) == (wanted.bytes, wanted.sha256) {
        return Ok(());
    }
    Err(OpenError::damaged(format_args!("{} is not the file that was backed up", from.display())))
}
