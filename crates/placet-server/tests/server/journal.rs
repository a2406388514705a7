//! A journal of the tests around the one of a store: which writes fail or hang is the wrapper's business.

use placet_runtime::Stores;
use placet_runtime::ports::{AppendError, Batch, Journal, PortError, WorkspaceNo};
use placet_types::ids::WorkspaceName;

/// Puts around the journal what `wrap` makes of it.
pub(crate) fn wrap<J: Journal + 'static>(
    stores: &mut Stores,
    wrap: impl FnOnce(Box<dyn Journal>) -> J,
) {
    let journal = std::mem::replace(&mut stores.journal, Box::new(Gone));
    stores.journal = Box::new(wrap(journal));
}

/// Takes the place of a journal while it is wrapped.
struct Gone;

impl Journal for Gone {
    fn append(&mut self, _: &[Batch]) -> Result<(), AppendError> {
        Err(AppendError::Unknown("gone".into()))
    }

    fn create_workspace(&mut self, _: &WorkspaceName) -> Result<WorkspaceNo, PortError> {
        Err(PortError::new("gone"))
    }

    fn put_bundle(&mut self, _: &[u8; 32], _: &[u8]) -> Result<(), PortError> {
        Err(PortError::new("gone"))
    }
}
