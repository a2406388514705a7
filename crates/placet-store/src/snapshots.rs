//! Saved states as files, `snapshots/<workspace number>/…`: a state is written once and read once,
//! whole, so a file of its own is all it needs, and it never goes through a write-ahead log. Owns
//! names and durability; refuses to know what the bytes mean.

use crate::files;
use crate::lock::Lock;
use placet_runtime::ports::{Piece, PortError, Snapshots, WorkspaceNo};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory in the data directory.
pub(crate) const DIR: &str = "snapshots";
/// Largest piece that is read.
const PIECE_MAX: u64 = 8 << 30;

/// Saved states below a data directory.
#[derive(Debug)]
pub struct SnapshotFiles {
    dir: PathBuf,
    /// Keeps the data directory ours as long as this writes; without it this only reads.
    lock: Option<Arc<Lock>>,
}

impl SnapshotFiles {
    pub(crate) fn new(data: &Path, lock: Option<Arc<Lock>>) -> Self {
        Self { dir: data.join(DIR), lock }
    }

    fn is_ours(&self) -> Result<(), PortError> {
        self.lock.as_ref().map(drop).ok_or_else(|| PortError::new("opened for reading only"))
    }

    fn of(&self, workspace: WorkspaceNo) -> PathBuf {
        self.dir.join(workspace.0.to_string())
    }
}

fn file_name(piece: Piece) -> String {
    match piece {
        Piece::Head { index } => format!("{index}.head"),
        Piece::Keys { head, part } => format!("{head}-{part}.keys"),
    }
}

fn parse_name(name: &str) -> Option<Piece> {
    let piece = match name.split_once('.')? {
        (index, "head") => Piece::Head { index: index.parse().ok()? },
        (place, "keys") => {
            let (head, part) = place.split_once('-')?;
            Piece::Keys { head: head.parse().ok()?, part: part.parse().ok()? }
        }
        _ => return None,
    };
    (file_name(piece) == name).then_some(piece)
}

impl Snapshots for SnapshotFiles {
    fn list(&self, workspace: WorkspaceNo) -> Result<Vec<Piece>, PortError> {
        let dir = self.of(workspace);
        let failed = |error| PortError::new(format_args!("{}: {error}", dir.display()));
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut pieces = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            pieces.extend(name.to_str().and_then(parse_name));
        }
        Ok(pieces)
    }

    fn read(&self, workspace: WorkspaceNo, piece: Piece) -> Result<Option<Vec<u8>>, PortError> {
        let path = self.of(workspace).join(file_name(piece));
        let failed = |error| PortError::new(format_args!("{}: {error}", path.display()));
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let length = file.metadata().map_err(failed)?.len();
        if length > PIECE_MAX {
            return Err(failed(io::Error::other("the file is too large")));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    fn write(&self, workspace: WorkspaceNo, piece: Piece, bytes: &[u8]) -> Result<(), PortError> {
        self.is_ours()?;
        let dir = self.of(workspace);
        let done = (|| {
            if !dir.exists() {
                files::create_private_dir(&dir)?;
                files::sync_dir(&self.dir)?;
                if let Some(data) = self.dir.parent() {
                    files::sync_dir(data)?;
                }
            }
            files::write_atomic(&dir, &file_name(piece), bytes)
        })();
        done.map_err(|error: io::Error| PortError::new(format_args!("{}: {error}", dir.display())))
    }

    fn remove(&self, workspace: WorkspaceNo, piece: Piece) -> Result<(), PortError> {
        self.is_ours()?;
        let path = self.of(workspace).join(file_name(piece));
        files::remove_if_there(&path)
            .map_err(|error| PortError::new(format_args!("{}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_piece_in_one_way() {
        for piece in [Piece::Head { index: 0 }, Piece::Keys { head: 7, part: 1 }] {
            assert_eq!(parse_name(&file_name(piece)), Some(piece));
        }
        for name in ["07.head", "7.head.tmp", "7.keys", "7-01.keys", "7", "-1.head", "+7.head"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
