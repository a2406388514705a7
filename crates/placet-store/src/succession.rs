//! The name under which an instance goes on after signed entries were lost, beside the databases.
//! Refuses to know what was lost, and whether the logs have said so yet.

use crate::error::OpenError;
use crate::files;
use placet_runtime::crypto::SystemEntropy;
use placet_runtime::ports::Entropy;
use placet_types::hash::{hex_decode, hex_encode};
use placet_types::json::{self, Limits, Object, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The file in the data directory.
pub(crate) const FILE: &str = "succession";

/// What a restore that accepted a loss has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// The new name: 16 hex digits. The one in `identity.db` stays what keys are wrapped under.
    pub instance: String,
    /// How far the lost logs were signed, by workspace, as far as is known.
    pub signed: BTreeMap<String, u64>,
}

impl Succession {
    /// A fresh name, so that two restores of one back-up never sign under the same one.
    #[must_use]
    pub fn fresh(signed: BTreeMap<String, u64>) -> Self {
        let mut id = [0; 8];
        SystemEntropy.fill(&mut id);
        Self { instance: hex_encode(&id), signed }
    }

    /// Reads the file in `dir`; `None` where the instance has the name it was founded with.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when it does not read back, [`OpenError::Failed`] on I/O errors.
    pub fn load(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(FILE);
        let Some(bytes) = files::read_small(&path).map_err(|e| OpenError::failed(&path, e))? else {
            return Ok(None);
        };
        let damaged = || OpenError::damaged(format_args!("{} is damaged", path.display()));
        parse(&bytes).map(Some).ok_or_else(damaged)
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<(), OpenError> {
        let signed =
            self.signed.iter().fold(Object::new(), |all, (name, &size)| all.with(name, size));
        let file = Object::new()
            .with("instance", self.instance.as_str())
            .with("signed", signed)
            .with("v", 1_u32);
        files::write_atomic(dir, FILE, &Value::from(file).to_canonical())
            .map_err(|e| OpenError::failed(&dir.join(FILE), e))
    }
}

fn parse(bytes: &[u8]) -> Option<Succession> {
    let limits = Limits { bytes_max: 4 << 20, depth_max: 4, ..Limits::ENTRY };
    let Value::Object(mut file) = json::parse(bytes, limits).ok()? else { return None };
    let (version, signed) = (file.remove("v")?.as_u64()?, file.remove("signed")?);
    let instance = file.remove("instance")?.as_str()?.to_owned();
    let (1, true, Value::Object(signed)) = (version, file.is_empty(), signed) else { return None };
    hex_decode(&instance, &mut [0; 8])?;
    let signed = signed.into_iter().map(|(name, size)| Some((name, size.as_u64()?)));
    Some(Succession { instance, signed: signed.collect::<Option<_>>()? })
}
