//! The version of a data directory, in `FORMAT`: reading it, refusing what cannot be served, and
//! the steps from an older one to the present one. Knows no database.

use crate::backup::MANIFEST;
use crate::error::OpenError;
use crate::files;
use crate::lock::Lock;
use placet_types::json::{self, Limits, Object, Value};
use std::path::Path;

/// Version of the layout that this program writes.
pub(crate) const KNOWN: u64 = 1;
/// The file.
pub(crate) const FORMAT: &str = "FORMAT";

/// From one version to the next.
struct Step {
    from: u64,
    what: &'static str,
    /// INVARIANT: safe to repeat. A crash in between leaves the old `FORMAT`, and so it will be.
    run: fn(&Path) -> Result<(), OpenError>,
}

/// One for each version before the present one, in their order. No release has written format 0: its
/// step is there so that the way from one format to the next is gone in every run of the tests.
const STEPS: &[Step] =
    &[Step { from: 0, what: "FORMAT is written anew; no other file changes", run: |_| Ok(()) }];

/// What is between a data directory and the present format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The version found.
    pub found: u64,
    /// The version that this program writes.
    pub known: u64,
    /// Each step: the version it leads to, and what it does.
    pub steps: Vec<(u64, &'static str)>,
}

/// What [`migrate`] would do. Writes nothing.
///
/// # Errors
/// [`OpenError`]: there is no data directory, or it is of a newer format.
pub fn plan_migration(dir: &Path) -> Result<Migration, OpenError> {
    let found = served(dir)?;
    // Its digests would not be right any more; a restore brings it to the present format.
    if dir.join(MANIFEST).exists() {
        return Err(OpenError::IsBackup { path: dir.into() });
    }
    let steps = STEPS.iter().filter(|step| step.from >= found);
    let steps = steps.map(|step| (step.from + 1, step.what)).collect();
    Ok(Migration { found, known: KNOWN, steps })
}

/// Brings a data directory to the present format, step by step, each made durable by its `FORMAT`.
/// Repeating is harmless.
///
/// # Errors
/// [`OpenError`]: it is in use, there is none, it is of a newer format, or a step failed.
pub fn migrate(dir: &Path) -> Result<Migration, OpenError> {
    // Before the lock, which would make a file in whatever directory this is.
    plan_migration(dir)?;
    let _lock = Lock::take(dir)?;
    let plan = plan_migration(dir)?;
    for step in STEPS.iter().filter(|step| step.from >= plan.found) {
        (step.run)(dir)?;
        files::write_atomic(dir, FORMAT, &content(step.from + 1))
            .map_err(|e| OpenError::failed(&dir.join(FORMAT), e))?;
    }
    Ok(plan)
}

/// The version found, if there is a way from it to the present one.
pub(crate) fn served(dir: &Path) -> Result<u64, OpenError> {
    match read(dir)? {
        found if found > KNOWN => Err(OpenError::NewerFormat { found, known: KNOWN }),
        found => Ok(found),
    }
}

/// Goes the steps from `found` on, without writing `FORMAT`.
pub(crate) fn step_from(dir: &Path, found: u64) -> Result<(), OpenError> {
    STEPS.iter().filter(|step| step.from >= found).try_for_each(|step| (step.run)(dir))
}

/// The file's bytes.
pub(crate) fn content(version: u64) -> Vec<u8> {
    let format = Object::new()
        .with("format", version)
        .with("written_by", concat!("placet ", env!("CARGO_PKG_VERSION")));
    Value::from(format).to_canonical()
}

/// Refuses every format but the present one.
pub(crate) fn check(dir: &Path) -> Result<(), OpenError> {
    match read(dir)? {
        KNOWN => Ok(()),
        found if found > KNOWN => Err(OpenError::NewerFormat { found, known: KNOWN }),
        found => Err(OpenError::OlderFormat { found, known: KNOWN }),
    }
}

fn read(dir: &Path) -> Result<u64, OpenError> {
    let path = dir.join(FORMAT);
    let damaged = || OpenError::damaged(format_args!("{} is damaged", path.display()));
    let bytes = files::read_small(&path).map_err(|e| OpenError::failed(&path, e))?;
    let Some(bytes) = bytes else {
        return Err(if dir.exists() {
            OpenError::Foreign { path: dir.into() }
        } else {
            OpenError::Missing { path: dir.into() }
        });
    };
    let value = json::parse(&bytes, Limits::DOCUMENT).map_err(|_| damaged())?;
    let found = value.get("format").and_then(Value::as_u64).ok_or_else(damaged)?;
    // A newer format may have members that are not known here: its number is looked at alone.
    let ours = value.get("written_by").is_some_and(|by| by.as_str().is_some());
    if found > KNOWN || ours { Ok(found) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Create, DataDir};

    fn found(dir: &Path) -> Result<(), OpenError> {
        DataDir::open_with_key(dir, Create::No, None).map(drop)
    }

    #[test]
    fn an_older_format_is_refused_then_migrated_then_served() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        DataDir::open_with_key(dir, Create::Yes, None).unwrap();
        let file = dir.join(FORMAT);
        std::fs::write(&file, r#"{"format":0,"written_by":"placet 0.0.9"}"#).unwrap();
        assert_eq!(found(dir).unwrap_err().code(), "data_dir_older_format");
        let plan = plan_migration(dir).unwrap();
        assert_eq!((plan.found, plan.known, plan.steps.len()), (0, 1, 1));
        assert_eq!(
            found(dir).unwrap_err().code(),
            "data_dir_older_format",
            "a plan writes nothing"
        );
        assert_eq!(migrate(dir).unwrap(), plan);
        found(dir).unwrap();
        assert!(migrate(dir).unwrap().steps.is_empty());
        // What an old program sees after a later one has migrated the directory.
        std::fs::write(&file, r#"{"format":2,"tables":[]}"#).unwrap();
        for error in [found(dir), plan_migration(dir).map(drop), migrate(dir).map(drop)] {
            assert_eq!(error.unwrap_err().code(), "data_dir_newer_format");
        }
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(migrate(dir).unwrap_err().code(), "data_dir_damaged");
    }

    #[test]
    fn there_is_a_step_from_each_older_format() {
        let from: Vec<u64> = STEPS.iter().map(|step| step.from).collect();
        assert_eq!(from, (0..KNOWN).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_migrated_where_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(migrate(&dir.path().join("none")).unwrap_err().code(), "data_dir_missing");
        assert_eq!(migrate(dir.path()).unwrap_err().code(), "data_dir_foreign");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_in_use_is_not_migrated() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open_with_key(dir.path(), Create::Yes, None).unwrap();
        assert_eq!(migrate(dir.path()).unwrap_err().code(), "data_dir_in_use");
        drop(held);
    }
}
