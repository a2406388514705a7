//! Policy documents as they lie in a directory. Owns which files count and how large they may be;
//! refuses to know what they say.

use std::fs;
use std::io;
use std::path::Path;

/// One policy document and the name under which diagnostics speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// File name, for messages alone: no digest depends on it.
    pub name: String,
    /// YAML.
    pub text: String,
}

/// Most files of one bundle.
const FILES_MAX: usize = 1000;
/// Largest file in bytes.
pub(crate) const FILE_BYTES_MAX: usize = 8 << 20;

/// Whether a file of this name is a document: `*.yaml` and `*.yml` in any letter case. Hidden files are what
/// editors and mounts leave beside them.
#[must_use]
pub fn is_document(name: &str) -> bool {
    !name.starts_with('.') && (ends(name, "yaml") || ends(name, "yml"))
}

fn ends(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it.eq_ignore_ascii_case(extension))
}

/// Reads every `*.yaml` and `*.yml` directly inside `dir`, in any letter case, sorted by name; hidden
/// files, subdirectories and files of other names are left alone.
///
/// # Errors
/// What the file system says: a missing directory is an error, and so are a document that cannot be read or
/// is no regular file (nothing that somebody wrote may go missing in silence), a `*.json`, a file that is not
/// UTF-8, one over 8 MiB, and more than 1000 of them.
pub fn read_dir(dir: &Path) -> io::Result<Vec<Source>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_document(&name) {
            names.push((name, path));
        } else if ends(&name, "json") && !name.starts_with('.') && !path.is_dir() {
            let why = "is not read: documents are *.yaml; rename it, or keep it elsewhere";
            return Err(invalid(&path, why));
        }
    }
    if names.len() > FILES_MAX {
        return Err(invalid(dir, &format!("more than {FILES_MAX} policy files")));
    }
    names.sort();
    names.into_iter().map(|(name, path)| read_file(name, &path)).collect()
}

fn invalid(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
}

fn read_file(name: String, path: &Path) -> io::Result<Source> {
    let unread = |error: io::Error| {
        io::Error::new(error.kind(), format!("{}: cannot be read: {error}", path.display()))
    };
    // Follows links: mounted configuration is often one.
    let about = fs::metadata(path).map_err(unread)?;
    if !about.is_file() {
        return Err(invalid(path, "is no regular file, and its name is that of a document"));
    }
    let length = about.len();
    if length > FILE_BYTES_MAX as u64 {
        let why = format!("{length} bytes, more than the {FILE_BYTES_MAX} allowed");
        return Err(invalid(path, &why));
    }
    let text = String::from_utf8(fs::read(path).map_err(unread)?)
        .map_err(|error| invalid(path, &error.to_string()))?;
    Ok(Source { name, text })
}
