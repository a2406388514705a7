//! The local kill file and the armed certificate: raw presence and raw bytes. Whatever cannot be
//! read counts as tripped; what the certificate says and who signed it is the runtime's business.

use crate::files;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

const KILL: &str = "KILL";
const ARMED: &str = "armed";
const DISARMED: &str = "disarmed";
/// So much of its end is cut from a certificate that is set aside: nobody makes it whole again.
pub const CUT_BYTES: usize = 70;

/// Whether somebody put a file `KILL` into the data directory. Anything but the plain absence of
/// that file in an existing directory counts as yes.
#[must_use]
pub fn kill_requested(dir: &Path) -> bool {
    match fs::symlink_metadata(dir.join(KILL)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => !dir.is_dir(),
        _ => true,
    }
}

/// Removes what [`kill_requested`] sees: a file, a link, or an empty directory, for `mkdir KILL` is obeyed as well.
///
/// # Errors
/// When it could not be removed.
pub fn clear_request(dir: &Path) -> io::Result<()> {
    let path = dir.join(KILL);
    match fs::remove_file(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => fs::remove_dir(&path),
        done => done,
    }
}

/// The armed certificate; `None` when there is none.
///
/// # Errors
/// When it could not be read.
pub fn read_armed(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    files::read_small(&dir.join(ARMED))
}

/// Replaces the armed certificate, durably and in one step. What was set aside before is gone then, unless it is
/// this very file: a kill has come meanwhile.
///
/// # Errors
/// When it could not be written; the former one then still stands.
pub fn write_armed(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = files::replace(dir, ARMED, bytes)?;
    let aside = dir.join(DISARMED);
    // An older one with the same words would make a kill of what a stranger takes away later. What cannot be looked
    // at or removed leads nowhere: it says nothing, or less than the log.
    if !fs::symlink_metadata(&aside).is_ok_and(|it| it.ino() == written) {
        drop(files::remove_if_there(&aside));
    }
    Ok(())
}

/// Sets the armed certificate aside, without its end, and without waiting for the disk; [`sync_disarmed`] does. A
/// missing one is no error, and leaves what was set aside before.
///
/// # Errors
/// When it could neither be renamed nor removed.
pub fn disarm(dir: &Path) -> io::Result<()> {
    let (armed, aside) = (dir.join(ARMED), dir.join(DISARMED));
    match fs::rename(&armed, &aside) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        // A name may need room; removing one never does.
        Err(_) => files::remove_if_there(&armed),
        Ok(()) => {
            // It is out of force already. Whole, it would arm whoever gives it its name again.
            let cut = |file: File| {
                let len = file.metadata()?.len();
                let mut last = [0];
                file.read_at(&mut last, len.saturating_sub(1))?;
                // Once: `write_disarmed` may have come in between.
                if last != *b"}" {
                    return Ok(());
                }
                file.set_len(len.saturating_sub(CUT_BYTES as u64))
            };
            match File::options().read(true).write(true).open(&aside).and_then(cut) {
                Ok(()) => Ok(()),
                Err(_) => files::remove_if_there(&aside),
            }
        }
    }
}

/// The certificate that was set aside since the last one was written, without its last [`CUT_BYTES`].
///
/// # Errors
/// When it could not be read.
pub fn read_disarmed(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    files::read_small(&dir.join(DISARMED))
}

/// What is set aside is this certificate from now on, without its end; durably and in one step.
///
/// # Errors
/// When it could not be written; what was set aside before still is.
pub fn write_disarmed(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let cut = &bytes[..bytes.len().saturating_sub(CUT_BYTES)];
    files::write_atomic(dir, DISARMED, cut)
}

/// Makes durable that the certificate was set aside.
///
/// # Errors
/// When the directory could not be synced.
pub fn sync_disarmed(dir: &Path) -> io::Result<()> {
    files::sync_dir(dir)
}
