//! `backup.json`: what a back-up holds and which state of which log it covers.

use crate::error::OpenError;
use crate::files;
use placet_types::hash::{hex_decode, hex_encode};
use placet_types::json::{self, Limits, Object, Value};
use std::path::Path;

/// Its file.
pub const MANIFEST: &str = "backup.json";

/// A file of a back-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// A log that a back-up covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUpLog {
    /// Whose.
    pub workspace: String,
    /// Entries.
    pub size: u64,
    /// Root of its tree.
    pub root: [u8; 32],
    /// The signed checkpoint, where the signing key was at hand.
    pub checkpoint: Option<String>,
}

/// What a back-up holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// When it was taken, Unix milliseconds.
    pub taken_ms: u64,
    /// The logs; none in a back-up of keys alone.
    pub logs: Vec<BackedUpLog>,
    /// All files but this one.
    pub files: Vec<FileRecord>,
}

impl Manifest {
    /// Reads that of a back-up; `None` when there is none.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when it does not read back, [`OpenError::Failed`] on I/O errors.
    pub fn load(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(MANIFEST);
        let Some(bytes) = files::read_small(&path).map_err(|e| OpenError::failed(&path, e))? else {
            return Ok(None);
        };
        let parsed = json::parse(&bytes, Limits::DOCUMENT).ok().as_ref().and_then(parse);
        let damaged = || OpenError::damaged(format_args!("{} is damaged", path.display()));
        parsed.map(Some).ok_or_else(damaged)
    }

    /// Whether it lists a file of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.name == name)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let files = self.files.iter().map(|file| {
            Object::new()
                .with("bytes", file.bytes)
                .with("name", file.name.as_str())
                .with("sha256", hex_encode(&file.sha256))
                .into()
        });
        let logs = self.logs.iter().map(|log| {
            Object::new()
                .with("root", hex_encode(&log.root))
                .with("size", log.size)
                .with("workspace", log.workspace.as_str())
                .with_opt("checkpoint", log.checkpoint.as_deref())
                .into()
        });
        let all = Object::new()
            .with("files", files.collect::<Vec<Value>>())
            .with("logs", logs.collect::<Vec<Value>>())
            .with("taken_ms", self.taken_ms)
            .with("v", 1_u32)
            .with("written_by", concat!("placet ", env!("CARGO_PKG_VERSION")));
        Value::from(all).to_canonical()
    }
}

fn parse(value: &Value) -> Option<Manifest> {
    if value.get("v")?.as_u64()? != 1 {
        return None;
    }
    let text = |of: &Value, name| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let hash = |of: &Value, name| {
        let mut out = [0; 32];
        hex_decode(of.get(name)?.as_str()?, &mut out)?;
        Some(out)
    };
    let files = value.get("files")?.as_array()?.iter().map(|file| {
        let name = text(file, "name")?;
        // A name is joined to a path: none may lead out of the directory.
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
        let (bytes, sha256) = (file.get("bytes")?.as_u64()?, hash(file, "sha256")?);
        (plain && !name.starts_with('.')).then_some(FileRecord { name, bytes, sha256 })
    });
    let logs = value.get("logs")?.as_array()?.iter().map(|log| {
        Some(BackedUpLog {
            workspace: text(log, "workspace")?,
            size: log.get("size")?.as_u64()?,
            root: hash(log, "root")?,
            checkpoint: text(log, "checkpoint"),
        })
    });
    Some(Manifest {
        taken_ms: value.get("taken_ms")?.as_u64()?,
        logs: logs.collect::<Option<_>>()?,
        files: files.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_no_name_leads_out() {
        let file = FileRecord { name: "journal.db".into(), bytes: 7, sha256: [3; 32] };
        let log = BackedUpLog {
            workspace: "default".into(),
            size: 9,
            root: [4; 32],
            checkpoint: Some("placet/0/default\n9\n".into()),
        };
        let manifest = Manifest { taken_ms: 5, logs: vec![log], files: vec![file] };
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap(), None);
        let path = dir.path().join(MANIFEST);
        std::fs::write(&path, manifest.to_bytes()).unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap(), Some(manifest.clone()));
        for name in ["../journal.db", "/etc/passwd", ".hidden", "a/b", ""] {
            let mut other = manifest.clone();
            other.files[0].name = name.into();
            std::fs::write(&path, other.to_bytes()).unwrap();
            let read = Manifest::load(dir.path());
            assert!(read.is_err() || name.is_empty(), "{name}");
        }
    }
}
