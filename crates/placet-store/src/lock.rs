//! Who writes a directory: one process at a time, as long as this lives.

use crate::dir::LOCK;
use crate::error::OpenError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The lock, held.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
    /// The directory itself: whoever deletes the file `LOCK` lets nobody else in.
    _dir: Option<File>,
}

impl Lock {
    /// Takes it, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK);
        let failed = |e: io::Error| OpenError::failed(&path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let handle = File::open(dir).map_err(failed)?;
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        let dir = match flock(&handle, exclusive) {
            Ok(()) => Some(handle),
            Err(Errno::WOULDBLOCK) => return Err(in_use(&file)),
            // Not every file system locks directories; each locks files.
            Err(_) => None,
        };
        match flock(&file, exclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(in_use(&file)),
            Err(e) => return Err(failed(e.into())),
        }
        // The number only informs; the lock is what counts.
        file.set_len(0)
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
            .map_err(failed)?;
        Ok(Self { _file: file, _dir: dir })
    }
}

/// Who has it, by the number in the file.
fn in_use(file: &File) -> OpenError {
    let mut pid = String::new();
    let read = file.take(20).read_to_string(&mut pid);
    OpenError::InUse { pid: read.ok().and_then(|_| pid.trim().parse().ok()) }
}
