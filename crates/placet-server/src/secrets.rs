//! Secrets that a bundle names: one file each in a directory of the operator, read when they are used,
//! so that replacing a file replaces the secret. Owns who may be able to read such a file; refuses to
//! know what a secret opens.

use placet_types::ids::WorkspaceName;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest secret in bytes.
const BYTES_MAX: u64 = 8192;

/// The directory of `placet up --secrets`.
///
/// The first workspace's secrets are `DIR/NAME`, another one's `DIR/WORKSPACE/NAME`: a bundle names no
/// secret of another workspace.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    dir: Option<PathBuf>,
}

/// Why a secret cannot be had. Never holds a part of one.
#[derive(Debug)]
pub enum SecretError {
    /// The server was started without `--secrets`.
    NoDirectory,
    /// It is no name of a secret.
    Name,
    /// There is no such file.
    Missing(PathBuf),
    /// Others than owner and group may read or change the file; its mode.
    Exposed(PathBuf, u32),
    /// The file is empty, larger than 8 KiB, or no text.
    Unfit(PathBuf),
    /// It could not be read.
    Unreadable(PathBuf, io::Error),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory => {
                f.write_str("the server has no secrets; start it with --secrets DIR")
            }
            Self::Name => f.write_str("this is no name of a secret"),
            Self::Missing(path) => write!(f, "there is no file {}", path.display()),
            Self::Exposed(path, mode) => write!(
                f,
                "others may read {} (mode {mode:04o}); take that away: chmod 0600",
                path.display()
            ),
            Self::Unfit(path) => {
                write!(f, "{} is empty, no text, or larger than 8 KiB", path.display())
            }
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for SecretError {}

impl SecretError {
    /// What may be told to whoever asks over the network: no path of this machine.
    #[must_use]
    pub fn public(&self) -> &'static str {
        match self {
            Self::NoDirectory => "the server was started without --secrets",
            Self::Name => "this is no name of a secret",
            Self::Missing(_) => "there is no such file",
            Self::Exposed(..) => "others than owner and group may read the file",
            Self::Unfit(_) => "the file is empty, no text, or too large",
            Self::Unreadable(..) => "the file cannot be read",
        }
    }
}

impl Secrets {
    /// The secrets in `dir`; without one there are none.
    #[must_use]
    pub fn new(dir: Option<PathBuf>) -> Self {
        Self { dir }
    }

    /// The secret of this name, without white space around it. `workspace` is the one whose bundle names
    /// it; `None` for the first.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(
        &self,
        workspace: Option<&WorkspaceName>,
        name: &str,
    ) -> Result<Zeroizing<String>, SecretError> {
        let dir = self.dir.as_deref().ok_or(SecretError::NoDirectory)?;
        let named = (1..=128).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !named {
            return Err(SecretError::Name);
        }
        let path = match workspace {
            None => dir.join(name),
            Some(workspace) => dir.join(workspace.as_str()).join(name),
        };
        read(&path)
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let unreadable = |error| SecretError::Unreadable(path.to_owned(), error);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SecretError::Missing(path.to_owned()));
        }
        opened => opened.map_err(unreadable)?,
    };
    // Of the file that was opened, whatever stands at its path by now.
    let about = file.metadata().map_err(unreadable)?;
    let mode = about.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(SecretError::Exposed(path.to_owned(), mode));
    }
    let unfit = || SecretError::Unfit(path.to_owned());
    if !about.is_file() {
        return Err(unfit());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MAX as usize + 1));
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unfit())?.trim();
    if text.is_empty() || bytes.len() as u64 > BYTES_MAX {
        return Err(unfit());
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    #[test]
    fn a_secret_is_a_file_that_others_cannot_read() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &[u8], mode| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        let other = WorkspaceName::parse("other").unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        put("token", b" 12:ab\n", 0o640);
        put("open", b"x", 0o644);
        put("empty", b"\n", 0o600);
        put("long", &[b'x'; 9000], 0o600);
        put("binary", &[0xff], 0o600);
        put("other/theirs", b"y", 0o600);
        let secrets = Secrets::new(Some(dir.path().to_owned()));
        assert_eq!(secrets.read(None, "token").unwrap().as_str(), "12:ab");
        put("token", b"34:cd", 0o600);
        assert_eq!(secrets.read(None, "token").unwrap().as_str(), "34:cd", "it is read anew");
        assert_eq!(secrets.read(Some(&other), "theirs").unwrap().as_str(), "y");
        let says = |workspace, name| secrets.read(workspace, name).unwrap_err().to_string();
        assert!(says(None, "none").contains("no file"));
        assert!(says(Some(&other), "token").contains("no file"), "it is the first workspace's");
        assert!(says(None, "open").contains("chmod"));
        for name in ["empty", "long", "binary", "other"] {
            assert!(secrets.read(None, name).is_err(), "{name}");
        }
        for name in ["", ".", "..", ".x", "a/b", "../token", "other/theirs", "a b"] {
            assert!(matches!(secrets.read(None, name), Err(SecretError::Name)), "{name}");
        }
        assert!(matches!(Secrets::default().read(None, "x"), Err(SecretError::NoDirectory)));
    }
}
