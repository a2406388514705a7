//! Where back-ups and restored directories may be made: apart from each other, and inside nothing that
//! Placet keeps. Refuses to know what is in them.

use crate::exit::Fault;
use anyhow::{Context, Result};
use placet_store::backup::Manifest;
use std::path::{Path, PathBuf};

/// Refuses targets of a back-up that are one, or lie in each other or where they would be lost.
pub(super) fn refuse_backup(to: Option<&Path>, keys_to: Option<&Path>) -> Result<()> {
    if let (Some(log), Some(keys)) = (to, keys_to) {
        let (log, keys) = (resolved(log)?, resolved(keys)?);
        if log.starts_with(&keys) || keys.starts_with(&log) {
            let detail = "--to and --keys-to are two directories, neither in the other";
            let next = "name two, since who holds the log is to have no keys, or take --with-keys";
            return Err(Fault::usage(detail).next(next).into());
        }
    }
    for (flag, path) in [("--to", to), ("--keys-to", keys_to)] {
        path.map_or(Ok(()), |path| refuse_inside(flag, path))?;
    }
    Ok(())
}

/// Refuses a directory to be made inside a data directory or a back-up.
pub(super) fn refuse_inside(flag: &str, path: &Path) -> Result<()> {
    let path = resolved(path)?;
    // Other tools have files of these names as well.
    let kind = |dir: &Path| {
        let format = std::fs::read_to_string(dir.join("FORMAT")).unwrap_or_default();
        match Manifest::load(dir) {
            Ok(Some(_)) => Some("back-up"),
            _ => format.starts_with("{\"format\":").then_some("data directory"),
        }
    };
    let kept = path.ancestors().skip(1).find_map(|above| Some((above, kind(above)?)));
    let Some((above, kind)) = kept else { return Ok(()) };
    let detail = format!("{flag} {} is inside the {kind} {}", path.display(), above.display());
    Err(Fault::usage(detail).next("name a directory of its own").into())
}

/// The path without links and dots, as far as it exists.
fn resolved(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
    let found = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let (above, real) = found.unwrap_or((Path::new(""), PathBuf::new()));
    Ok(real.join(path.strip_prefix(above).unwrap_or(&path)))
}
