//! Why a data directory, or a part of it, does not open: a closed list with stable codes, each
//! saying what to do next. Knows nothing of how the parts work.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a data directory or one of its stores was refused.
#[derive(Debug)]
pub enum OpenError {
    /// There is no data directory here and none was to be created.
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The directory holds files but no `FORMAT`: it is not ours, or it has lost it.
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Another process has it open for writing.
    InUse {
        /// Its process id, if it could be read.
        pid: Option<u32>,
    },
    /// Written by a newer version.
    NewerFormat {
        /// The version found.
        found: u64,
        /// The newest version known here.
        known: u64,
    },
    /// Written by an older version; it can be migrated.
    OlderFormat {
        /// The version found.
        found: u64,
        /// The version served here.
        known: u64,
    },
    /// The target of a back-up or restore is there already.
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The directory is a back-up, which nothing goes on from.
    IsBackup {
        /// The directory.
        path: PathBuf,
    },
    /// A file is missing, unreadable or not what it should be.
    Damaged {
        /// Which, and what was found.
        what: String,
    },
    /// The handle was opened for reading, and this needs to write.
    ReadOnly,
    /// There is no master key in the environment and none in the directory.
    MasterKeyMissing {
        /// Where the file would be.
        path: PathBuf,
    },
    /// The master key is no 64 hex digits.
    MasterKeyMalformed {
        /// Where it came from.
        place: String,
    },
    /// Others may read the master key.
    MasterKeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The master key does not open the stored keys.
    MasterKeyWrong,
    /// The log is shorter than what was once signed.
    BehindHighWater {
        /// Whose log.
        workspace: String,
        /// Entries found.
        size: u64,
        /// Entries that were signed.
        mark: u64,
    },
    /// The file system or the database failed.
    Failed {
        /// What was tried, and what it said.
        what: String,
    },
}

impl OpenError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "data_dir_missing",
            Self::Foreign { .. } => "data_dir_foreign",
            Self::InUse { .. } => "data_dir_in_use",
            Self::NewerFormat { .. } => "data_dir_newer_format",
            Self::OlderFormat { .. } => "data_dir_older_format",
            Self::Exists { .. } => "target_exists",
            Self::IsBackup { .. } => "data_dir_is_backup",
            Self::Damaged { .. } => "data_dir_damaged",
            Self::ReadOnly => "data_dir_read_only",
            Self::MasterKeyMissing { .. } => "master_key_missing",
            Self::MasterKeyMalformed { .. } => "master_key_malformed",
            Self::MasterKeyExposed { .. } => "master_key_exposed",
            Self::MasterKeyWrong => "master_key_wrong",
            Self::BehindHighWater { .. } => "store_behind_high_water",
            Self::Failed { .. } => "store_failed",
        }
    }

    pub(crate) fn damaged(what: impl fmt::Display) -> Self {
        Self::Damaged { what: what.to_string() }
    }

    pub(crate) fn failed(path: &Path, why: impl fmt::Display) -> Self {
        Self::Failed { what: format!("{}: {why}", path.display()) }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(
                f,
                "no data directory at {}: name another with --data or create it with `placet up`",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} holds files but no FORMAT: choose an empty directory, or restore FORMAT from \
                 a backup",
                path.display()
            ),
            Self::InUse { pid: Some(pid) } => {
                write!(f, "the data directory is in use by process {pid}: stop it first")
            }
            Self::InUse { pid: None } => {
                f.write_str("the data directory is in use by another process: stop it first")
            }
            Self::NewerFormat { found, known } => write!(
                f,
                "the data directory has format {found}, this program knows up to {known}: use a \
                 newer placet"
            ),
            Self::OlderFormat { found, known } => write!(
                f,
                "the data directory has format {found}, this program serves {known}: copy it, then \
                 run `placet data migrate`"
            ),
            Self::Exists { path } => {
                write!(f, "{} is there already: name one that is not", path.display())
            }
            Self::IsBackup { path } => write!(
                f,
                "{} is a back-up: restore it into a directory of its own with `placet restore`",
                path.display()
            ),
            Self::Damaged { what } => write!(f, "{what}: restore it from a backup"),
            Self::ReadOnly => f.write_str(
                "the data directory was opened for reading only: stop the server and open it for \
                 writing",
            ),
            Self::MasterKeyMissing { path } => {
                write!(f, "no master key: restore {} or set PLACET_MASTER_KEY", path.display())
            }
            Self::MasterKeyMalformed { place } => {
                write!(f, "the master key in {place} must be 64 hex digits: correct it")
            }
            Self::MasterKeyExposed { path, mode } => write!(
                f,
                "others may read the master key (mode {mode:04o}): run `chmod 600 {}`",
                path.display()
            ),
            Self::MasterKeyWrong => f.write_str(
                "the master key does not open the stored keys: supply the one this data directory \
                 was created with",
            ),
            Self::BehindHighWater { workspace, size, mark } => write!(
                f,
                "the log of workspace {workspace} has {size} entries but {mark} were signed: \
                 restore a newer backup, or accept the loss explicitly"
            ),
            Self::Failed { what } => {
                write!(f, "the store failed at {what}: check the disk and its permissions")
            }
        }
    }
}

impl std::error::Error for OpenError {}
