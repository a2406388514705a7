//! The session keys that `placet login` was given, by server: one file of the user, which nobody else may
//! read. Owns the file; refuses to know what the keys open.

use crate::exit::Fault;
use anyhow::{Context, Result};
use serde_json::{Map, Value};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Largest file that is read.
const BYTES_MAX: u64 = 1 << 20;

/// Where the file is: `PLACET_CREDENTIALS`, or `placet/credentials.json` in the configuration directory
/// of the user. `None` where there is neither.
fn path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    set("PLACET_CREDENTIALS").or_else(|| {
        let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
        Some(config.join("placet").join("credentials.json"))
    })
}

fn named() -> Result<PathBuf> {
    let fault = || {
        Fault::usage(
            "there is no directory for the credentials: neither HOME nor XDG_CONFIG_HOME is set",
        )
        .next("name a file in PLACET_CREDENTIALS")
    };
    path().ok_or_else(|| fault().into())
}

fn all(path: &Path) -> Result<Map<String, Value>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(Map::new());
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let about = file.metadata().with_context(|| format!("look at {}", path.display()))?;
    if about.permissions().mode() & 0o077 != 0 {
        let detail = format!("others can read {}, which holds session keys", path.display());
        let next = format!("`chmod 600 {}`, or sign in again", path.display());
        return Err(Fault::new("credentials_exposed", detail).next(next).into());
    }
    let text = std::io::read_to_string(std::io::Read::take(file, BYTES_MAX));
    let text = text.with_context(|| format!("read {}", path.display()))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(all)) => Ok(all),
        _ => {
            let detail = format!("{} is no file of credentials", path.display());
            Err(Fault::new("failed", detail).next("remove it and sign in again").into())
        }
    }
}

/// One server's name in the file.
fn server(url: &str) -> &str {
    url.trim_end_matches('/')
}

/// The key for a server, if somebody has signed in there.
///
/// # Errors
/// When the file is there and cannot be used.
pub(crate) fn key(url: &str) -> Result<Option<String>> {
    let Some(path) = path() else { return Ok(None) };
    let all = all(&path)?;
    let key = all.get(server(url)).and_then(|it| it.get("key"));
    Ok(key.and_then(Value::as_str).map(str::to_owned))
}

/// Keeps what a server answered to a login.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn keep(url: &str, session: &Value) -> Result<PathBuf> {
    change(|all| {
        all.insert(server(url).to_owned(), session.clone());
    })
}

/// Forgets a server.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn forget(url: &str) -> Result<PathBuf> {
    change(|all| {
        all.remove(server(url));
    })
}

/// Written beside and moved, so that no crash leaves half of it, and never readable for others.
fn change(change: impl FnOnce(&mut Map<String, Value>)) -> Result<PathBuf> {
    let path = named()?;
    let mut all = all(&path)?;
    change(&mut all);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("make {}", dir.display()))?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(Value::Object(all).to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    };
    let written = write();
    if written.is_err() {
        // What is left of the attempt is of no use to anybody.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
