//! The glue from a data directory to the ports of the runtime. Owns which store serves which port;
//! refuses to know what any of them holds.

use placet_runtime::Stores;
use placet_runtime::crypto::{MemorySigner, SystemClock};
use placet_runtime::ports::{
    Lookout, Marks, PortError, Safety, Secret, Signer, Signers, WorkspaceKeys,
};
use placet_store::{DataDir, HighWater, Identity, OpenError, kill};
use placet_types::ids::WorkspaceName;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens everything that an instance needs, for writing. `dir` itself may be dropped afterwards:
/// the lock lives as long as the stores do.
///
/// # Errors
/// [`OpenError`] says which part was refused and what to do.
pub fn open_stores(dir: &DataDir) -> Result<Stores, OpenError> {
    let identity = dir.identity()?;
    let succession = dir.succession()?;
    let founded = identity.instance().to_owned();
    let (instance, succeeds) = match succession {
        Some(succession) => (succession.instance, Some(succession.signed)),
        None => (founded, None),
    };
    let identity = Arc::new(identity);
    let signers = SigningKeys(identity.clone());
    signers.all().map_err(|error| OpenError::Damaged { what: error.to_string() })?;
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
        marks: Box::new(Signed(marks)),
        safety: Box::new(Beside(dir.path().to_owned())),
        signers: Arc::new(signers),
        clock: Arc::new(SystemClock::default()),
        instance,
        succeeds,
        step_back: placet_store::step_back,
    })
}

/// The signing keys in the identity store.
struct SigningKeys(Arc<Identity>);

fn signer_of(seed: &Secret) -> Result<MemorySigner, PortError> {
    MemorySigner::from_seed(seed).ok_or_else(|| PortError::new("a signing seed is no seed"))
}

impl Signers for SigningKeys {
    fn all(&self) -> Result<Vec<Arc<dyn Signer>>, PortError> {
        let one = |seed: &Secret| Ok(Arc::new(signer_of(seed)?) as Arc<dyn Signer>);
        self.0.signing_seeds()?.iter().map(one).collect()
    }

    fn make(&self) -> Result<Arc<dyn Signer>, PortError> {
        Ok(Arc::new(signer_of(&self.0.add_signing_seed()?)?))
    }

    fn keep(&self, public_keys: &[[u8; 32]]) -> Result<(), PortError> {
        let wanted = |seed: &Secret| {
            signer_of(seed).is_ok_and(|signer| public_keys.contains(&signer.public_key()))
        };
        self.0.keep_signing_seeds(wanted)
    }
}

struct Pseudonyms(Arc<Identity>);

impl WorkspaceKeys for Pseudonyms {
    fn workspace_key(&self, name: &WorkspaceName) -> Result<Option<Secret>, PortError> {
        self.0.workspace_key(name)
    }
}

/// How far logs were signed, in a file beside the databases.
struct Signed(HighWater);

impl Marks for Signed {
    fn check_size(&self, name: &WorkspaceName, size: u64) -> Result<(), PortError> {
        self.0.check(name.as_str(), size).map_err(PortError::new)
    }

    fn raise(&mut self, sizes: &[(WorkspaceName, u64)]) -> Result<(), PortError> {
        let sizes: BTreeMap<String, u64> =
            sizes.iter().map(|(name, size)| (name.to_string(), *size)).collect();
        self.0.raise(&sizes)
    }
}

/// What else lies beside the databases: armed certificate, kill file.
struct Beside(PathBuf);

impl Safety for Beside {
    fn kill_requested(&self) -> bool {
        kill::kill_requested(&self.0)
    }

    fn read_armed(&self) -> Result<Option<Vec<u8>>, PortError> {
        kill::read_armed(&self.0).map_err(PortError::new)
    }

    fn write_armed(&self, bytes: &[u8]) -> Result<(), PortError> {
        kill::write_armed(&self.0, bytes).map_err(PortError::new)
    }

    fn disarm(&self) -> Result<(), PortError> {
        kill::disarm(&self.0).map_err(PortError::new)
    }

    fn read_disarmed(&self) -> Result<Option<Vec<u8>>, PortError> {
        kill::read_disarmed(&self.0).map_err(PortError::new)
    }

    fn write_disarmed(&self, bytes: &[u8]) -> Result<(), PortError> {
        kill::write_disarmed(&self.0, bytes).map_err(PortError::new)
    }

    fn sync(&self) -> Result<(), PortError> {
        kill::sync_disarmed(&self.0).map_err(PortError::new)
    }

    fn lookout(&self) -> Option<Box<dyn Lookout>> {
        Some(Box::new(Outlook(self.0.clone())))
    }

    fn clear_kill_request(&self) -> Result<(), PortError> {
        kill::clear_request(&self.0).map_err(PortError::new)
    }
}

/// The same directory, for the thread that watches it.
struct Outlook(PathBuf);

impl Lookout for Outlook {
    fn kill_requested(&self) -> bool {
        kill::kill_requested(&self.0)
    }

    fn read_armed(&self) -> Result<Option<Vec<u8>>, PortError> {
        kill::read_armed(&self.0).map_err(PortError::new)
    }

    fn read_disarmed(&self) -> Result<Option<Vec<u8>>, PortError> {
        kill::read_disarmed(&self.0).map_err(PortError::new)
    }
}
