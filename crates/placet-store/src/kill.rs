//! The local kill file and the armed certificate: raw presence and raw bytes. Whatever cannot be
//! read counts as tripped; what the certificate says and who signed it is the runtime's business.

use crate::files;
use std::fs;
use std::io;
use std::path::Path;

const KILL: &str = "KILL";
const ARMED: &str = "armed";

/// Whether somebody put a file `KILL` into the data directory. Anything but the plain absence of
/// that file in an existing directory counts as yes.
#[must_use]
pub fn kill_requested(dir: &Path) -> bool {
    match fs::symlink_metadata(dir.join(KILL)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => !dir.is_dir(),
        _ => true,
    }
}

/// The armed certificate; `None` when there is none.
///
/// # Errors
/// When it could not be read.
pub fn read_armed(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    files::read_small(&dir.join(ARMED))
}

/// Replaces the armed certificate, durably and in one step.
///
/// # Errors
/// When it could not be written; the former one then still stands.
pub fn write_armed(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    files::write_atomic(dir, ARMED, bytes)
}

/// Removes the armed certificate, durably. A missing one is no error.
///
/// # Errors
/// When it could not be removed.
pub fn remove_armed(dir: &Path) -> io::Result<()> {
    take_armed(dir)?;
    sync_taken(dir)
}

/// Removes the armed certificate without waiting for the disk; [`sync_taken`] does.
///
/// # Errors
/// When it could not be removed.
pub fn take_armed(dir: &Path) -> io::Result<()> {
    files::remove_if_there(&dir.join(ARMED))
}

/// Makes durable that something was removed.
///
/// # Errors
/// When the directory could not be synced.
pub fn sync_taken(dir: &Path) -> io::Result<()> {
    files::sync_dir(dir)
}
