//! The master key: where it comes from and what is derived from it. Refuses to know what the
//! derived keys wrap.

use crate::error::OpenError;
use crate::files;
use placet_runtime::crypto::{KeyedHasher, SystemEntropy};
use placet_runtime::ports::Secret;
use placet_types::hash::{hex_decode, hex_encode};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use zeroize::Zeroizing;

/// The variable that takes precedence over the file.
pub const MASTER_KEY_ENV: &str = "PLACET_MASTER_KEY";
/// The file in the data directory.
pub(crate) const FILE: &str = "master.key";

/// The 32 bytes under which all stored keys are wrapped.
#[derive(Clone)]
pub struct MasterKey(Secret);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

impl MasterKey {
    /// From 64 hex digits; space around them is ignored. `place` goes into the message.
    ///
    /// # Errors
    /// [`OpenError::MasterKeyMalformed`].
    pub fn parse(text: &str, place: &str) -> Result<Self, OpenError> {
        let text = Zeroizing::new(text.trim().to_ascii_lowercase());
        let mut key = Zeroizing::new([0; 32]);
        hex_decode(&text, key.as_mut())
            .ok_or_else(|| OpenError::MasterKeyMalformed { place: place.into() })?;
        Ok(Self(key))
    }

    /// From the environment variable, if it is set.
    ///
    /// # Errors
    /// [`OpenError::MasterKeyMalformed`].
    pub fn from_env() -> Result<Option<Self>, OpenError> {
        match std::env::var_os(MASTER_KEY_ENV) {
            None => Ok(None),
            Some(text) => {
                let text = Zeroizing::new(text.into_string().unwrap_or_default());
                Self::parse(&text, MASTER_KEY_ENV).map(Some)
            }
        }
    }

    /// `HMAC-SHA-256(master, label)`.
    pub(crate) fn derive(&self, label: &[u8]) -> Secret {
        Zeroizing::new(KeyedHasher::new(self.0.as_ref()).tag(&[label]))
    }

    /// Writes a fresh one.
    pub(crate) fn create(dir: &Path) -> Result<Self, OpenError> {
        let key = SystemEntropy.secret();
        let text = Zeroizing::new(hex_encode(key.as_ref()) + "\n");
        let path = dir.join(FILE);
        files::write_private(&path, text.as_bytes()).map_err(|e| OpenError::failed(&path, e))?;
        Ok(Self(key))
    }

    /// Reads the file; refuses one that others may read.
    pub(crate) fn load(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::MasterKeyMissing { path });
            }
            Err(e) => return Err(OpenError::failed(&path, e)),
        };
        let failed = |e| OpenError::failed(&path, e);
        // The mode of what was opened, not of what bears the name by then.
        let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(OpenError::MasterKeyExposed { path, mode });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(256));
        (&mut file).take(200).read_to_end(&mut text).map_err(failed)?;
        let text = std::str::from_utf8(&text).unwrap_or_default();
        Self::parse(text, &path.display().to_string())
    }
}
