//! The highest signed size of each log, kept a second time outside the database, so that a store
//! restored from an old copy is noticed. Refuses to know what was signed.

use crate::error::OpenError;
use crate::files;
use placet_runtime::ports::PortError;
use placet_types::json::{self, Limits, Object, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file in the data directory.
pub(crate) const FILE: &str = "highwater";

/// The marks: workspace name → size. Only ever raised.
#[derive(Debug)]
pub struct HighWater {
    dir: PathBuf,
    sizes: BTreeMap<String, u64>,
}

impl HighWater {
    /// Reads the file in `dir`; `None` when there is none.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when it does not read back, [`OpenError::Failed`] on I/O errors.
    pub fn load(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(FILE);
        let Some(bytes) = files::read_small(&path).map_err(|e| OpenError::failed(&path, e))? else {
            return Ok(None);
        };
        let sizes = parse(&bytes)
            .ok_or_else(|| OpenError::damaged(format_args!("{} is damaged", path.display())))?;
        Ok(Some(Self { dir: dir.to_owned(), sizes }))
    }

    /// Without any mark, for a directory whose logs are empty.
    #[must_use]
    pub fn empty(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), sizes: BTreeMap::new() }
    }

    /// The marks.
    #[must_use]
    pub fn sizes(&self) -> &BTreeMap<String, u64> {
        &self.sizes
    }

    /// Refuses a log of `size` entries that is behind its mark.
    ///
    /// # Errors
    /// [`OpenError::BehindHighWater`] with both numbers.
    pub fn check(&self, workspace: &str, size: u64) -> Result<(), OpenError> {
        let mark = self.sizes.get(workspace).copied().unwrap_or_default();
        if size >= mark {
            return Ok(());
        }
        Err(OpenError::BehindHighWater { workspace: workspace.into(), size, mark })
    }

    /// Raises the marks, durably; a lower size changes nothing. Without any change nothing is
    /// written.
    ///
    /// # Errors
    /// [`PortError`] when the file could not be replaced; the marks in memory stay as they were.
    pub fn raise(&mut self, sizes: &BTreeMap<String, u64>) -> Result<(), PortError> {
        let mut raised = self.sizes.clone();
        for (workspace, &size) in sizes {
            let mark = raised.entry(workspace.clone()).or_default();
            *mark = size.max(*mark);
        }
        if raised != self.sizes {
            self.write(&raised).map_err(PortError::new)?;
            self.sizes = raised;
        }
        Ok(())
    }

    /// Writes the marks as they are.
    pub(crate) fn save(&self) -> Result<(), OpenError> {
        self.write(&self.sizes)
    }

    fn write(&self, sizes: &BTreeMap<String, u64>) -> Result<(), OpenError> {
        let members = sizes.iter().fold(Object::new(), |all, (name, &size)| all.with(name, size));
        let file = Value::from(Object::new().with("sizes", members).with("v", 1_u32));
        files::write_atomic(&self.dir, FILE, &file.to_canonical())
            .map_err(|e| OpenError::failed(&self.dir.join(FILE), e))
    }
}

fn parse(bytes: &[u8]) -> Option<BTreeMap<String, u64>> {
    let limits = Limits { bytes_max: 4 << 20, depth_max: 4, ..Limits::ENTRY };
    let Value::Object(mut file) = json::parse(bytes, limits).ok()? else { return None };
    let (version, sizes) = (file.remove("v")?.as_u64()?, file.remove("sizes")?);
    let (1, true, Value::Object(sizes)) = (version, file.is_empty(), sizes) else { return None };
    sizes.into_iter().map(|(name, size)| Some((name, size.as_u64()?))).collect()
}
