//! Small files written so that a crash leaves the old or the new content, never a mixture. Knows
//! no content.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Largest small file that is read.
const SMALL_MAX: u64 = 4 << 20;

/// Creates a directory, and those above it, for its owner alone.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates an empty file of mode 0600; it must not exist. SQLite gives its side files the mode of
/// the database, so databases start here, too.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes that are written before they are flushed. A flush of the log waits for what a file system has to
/// write before it, whoever wrote that: a long file that is flushed at its end makes deciding wait for all of it.
const PIECE: usize = 1 << 20;

/// Writes and syncs a new file of mode 0600, replacing what bears its name.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    remove_if_there(path)?;
    let mut file = create_private(path)?;
    let mut pieces = bytes.chunks(PIECE).peekable();
    while let Some(piece) = pieces.next() {
        file.write_all(piece)?;
        if pieces.peek().is_some() {
            file.sync_data()?;
        }
    }
    file.sync_all()
}

/// Replaces `dir/name` in one step: temporary file, sync, rename, sync of the directory.
pub(crate) fn write_atomic(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    replace(dir, name, bytes).map(drop)
}

/// As [`write_atomic`]. Returns the number of the file, by which it is known again under another name.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<u64> {
    let temporary = dir.join(format!("{name}.tmp"));
    write_private(&temporary, bytes)?;
    let number = fs::metadata(&temporary)?.ino();
    fs::rename(&temporary, dir.join(name))?;
    sync_dir(dir)?;
    Ok(number)
}

/// The content of a small file; `None` when there is none.
pub(crate) fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.take(SMALL_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= SMALL_MAX) {
        Ok(Some(bytes))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the file is larger than 4 MiB"))
    }
}

/// Removes a file that may be missing.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
