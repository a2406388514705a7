//! The glue from a data directory to the ports of the runtime. Owns which store serves which port;
//! refuses to know what any of them holds.

use placet_runtime::Stores;
use placet_runtime::crypto::{MemorySigner, SystemClock};
use placet_runtime::ports::{PortError, Safety, Secret, WorkspaceKeys};
use placet_store::{DataDir, HighWater, Identity, OpenError, kill};
use placet_types::ids::WorkspaceName;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens everything that an instance needs, for writing. `dir` itself may be dropped afterwards:
/// the lock lives as long as the stores do.
///
/// # Errors
/// [`OpenError`] says which part was refused and what to do.
pub fn open_stores(dir: &DataDir) -> Result<Stores, OpenError> {
    let identity = dir.identity()?;
    let instance = identity.instance().to_owned();
    let signer = MemorySigner::from_seed(&identity.signing_seed())
        .ok_or_else(|| OpenError::Damaged { what: "the signing seed is no seed".to_owned() })?;
    let marks = dir.high_water()?;
    // The writing end makes the read model that the reading end then opens.
    let model_writer = dir.read_model_writer()?;
    Ok(Stores {
        journal: Box::new(dir.journal()?),
        reader: Arc::new(dir.journal_reader()?),
        snapshots: Arc::new(dir.snapshots()?),
        slots: Box::new(dir.slots()?),
        slot_reader: Arc::new(dir.slot_reader()?),
        model_writer: Box::new(model_writer),
        model: Arc::new(dir.read_model()?),
        keys: Arc::new(Pseudonyms(identity)),
        safety: Box::new(Beside { dir: dir.path().to_owned(), marks }),
        signer: Arc::new(signer),
        clock: Arc::new(SystemClock::default()),
        instance,
    })
}

struct Pseudonyms(Identity);

impl WorkspaceKeys for Pseudonyms {
    fn workspace_key(&self, name: &WorkspaceName) -> Result<Option<Secret>, PortError> {
        self.0.workspace_key(name)
    }
}

/// What lies beside the databases: high-water marks, armed certificate, kill file.
struct Beside {
    dir: PathBuf,
    marks: HighWater,
}

impl Safety for Beside {
    fn check_size(&self, name: &WorkspaceName, size: u64) -> Result<(), PortError> {
        self.marks.check(name.as_str(), size).map_err(PortError::new)
    }

    fn raise(&mut self, sizes: &[(WorkspaceName, u64)]) -> Result<(), PortError> {
        let sizes: BTreeMap<String, u64> =
            sizes.iter().map(|(name, size)| (name.to_string(), *size)).collect();
        self.marks.raise(&sizes)
    }

    fn kill_requested(&self) -> bool {
        kill::kill_requested(&self.dir)
    }

    fn read_armed(&self) -> Result<Option<Vec<u8>>, PortError> {
        kill::read_armed(&self.dir).map_err(PortError::new)
    }

    fn write_armed(&self, bytes: &[u8]) -> Result<(), PortError> {
        kill::write_armed(&self.dir, bytes).map_err(PortError::new)
    }

    fn remove_armed(&self) -> Result<(), PortError> {
        kill::remove_armed(&self.dir).map_err(PortError::new)
    }

    fn clear_kill_request(&self) -> Result<(), PortError> {
        match fs::remove_file(self.dir.join("KILL")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PortError::new(error)),
            _ => Ok(()),
        }
    }
}
