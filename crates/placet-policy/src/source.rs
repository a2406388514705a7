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

/// Reads every `*.yaml` and `*.yml` directly inside `dir`, sorted by name; hidden files and
/// subdirectories are left alone.
///
/// # Errors
/// What the file system says: a missing directory is an error, and so are a file that is not
/// UTF-8, one over 8 MiB, and more than 1000 of them.
pub fn read_dir(dir: &Path) -> io::Result<Vec<Source>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let yaml = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        // `is_file` follows links: mounted configuration is often a link.
        if let Some(name) = name.filter(|name| yaml && !name.starts_with('.'))
            && path.is_file()
        {
            names.push((name, path));
        }
    }
    if names.len() > FILES_MAX {
        let message = format!("{}: more than {FILES_MAX} policy files", dir.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    names.sort();
    names.into_iter().map(|(name, path)| read_file(name, &path)).collect()
}

fn read_file(name: String, path: &Path) -> io::Result<Source> {
    let invalid = |why: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
    };
    let length = fs::metadata(path)?.len();
    if length > FILE_BYTES_MAX as u64 {
        return Err(invalid(format!("{length} bytes, more than the {FILE_BYTES_MAX} allowed")));
    }
    let text = String::from_utf8(fs::read(path)?).map_err(|error| invalid(error.to_string()))?;
    Ok(Source { name, text })
}
