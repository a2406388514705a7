//! Loading workspaces at a start: newest good snapshot, rest of the log, keys with their names. Owns
//! how the cores are shared; refuses to know what is done with a workspace afterwards.

use crate::boot::Stores;
use crate::directory::KeyRecord;
use crate::fold::{Folded, Unfolded, read_again};
use crate::host::Host;
use crate::ports::{Head, JournalReader, Signers, SlotReader, Snapshots, WorkspaceNo};
use crate::privacy::Doomed;
use crate::sessions::{self, SessionRecord};
use crate::signing::{Signing, of_state};
use crate::snapshot::Source;
use crate::start_error::StartError;
use placet_tlog::tree::DEFAULT_WINDOW;
use placet_types::ids::WorkspaceName;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A workspace as a start finds it.
pub(crate) struct Loaded {
    pub(crate) no: WorkspaceNo,
    pub(crate) name: WorkspaceName,
    pub(crate) head: Head,
    pub(crate) folded: Folded,
    /// The key that signs it; none for an empty log.
    pub(crate) signing: Option<Signing>,
    pub(crate) keys: Vec<KeyRecord>,
    pub(crate) sessions: Vec<SessionRecord>,
    /// What the log says is erased, in its order.
    pub(crate) doomed: Vec<Doomed>,
    /// Entries that no snapshot covered.
    pub(crate) tail: u64,
    pub(crate) notices: Vec<String>,
}

/// Loads all workspaces, several at a time.
pub(crate) fn load_all(stores: &Stores, host: &Host) -> Result<Vec<Loaded>, StartError> {
    let all = stores.reader.workspaces()?;
    let cores = host.cores();
    let threads = cores.min(all.len()).max(1);
    // One large log is parsed on all cores; of many, each core takes one after another.
    let workers = (cores / threads).max(1);
    let next = AtomicUsize::new(0);
    let reading = Reading {
        reader: stores.reader.as_ref(),
        snapshots: stores.snapshots.as_ref(),
        signers: stores.signers.as_ref(),
        instance: &stores.instance,
    };
    let slots = stores.slot_reader.as_ref();
    let mut loaded = std::thread::scope(|scope| {
        let take = || {
            let mut done = Vec::new();
            while let Some((no, name)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push(reading.load(slots, *no, name, workers)?);
            }
            Ok::<_, StartError>(done)
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        let mut loaded = Vec::with_capacity(all.len());
        for thread in threads {
            match thread.join() {
                Ok(done) => loaded.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, StartError>(loaded)
    })?;
    loaded.sort_unstable_by_key(|loaded| loaded.no);
    Ok(loaded)
}

/// What loading reads, shared by its threads.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) reader: &'a dyn JournalReader,
    pub(crate) snapshots: &'a dyn Snapshots,
    pub(crate) signers: &'a dyn Signers,
    pub(crate) instance: &'a str,
}

impl Reading<'_> {
    fn load(
        &self,
        slots: &dyn SlotReader,
        no: WorkspaceNo,
        name: &WorkspaceName,
        workers: usize,
    ) -> Result<Loaded, StartError> {
        let refused = |error| match error {
            Unfolded::Store(error) => StartError::Store(error),
            Unfolded::Damaged(what) => StartError::Damaged { workspace: name.to_string(), what },
            Unfolded::SigningKeyMissing(what) => {
                StartError::SigningKeyMissing { workspace: name.to_string(), what }
            }
        };
        let head = self.reader.head(no)?;
        let mut notices = Vec::new();
        let (folded, tail) =
            self.fold(no, name, head.next_index, workers, &mut notices).map_err(refused)?;
        let signing = of_state(self.signers, &folded.state).map_err(refused)?;
        let (keys, doomed) =
            read_again(self.reader, slots, no, &folded.read_again).map_err(refused)?;
        let sessions = sessions::read(self.reader, slots, no, &folded.state).map_err(refused)?;
        Ok(Loaded {
            no,
            name: name.clone(),
            head,
            folded,
            signing,
            keys,
            sessions,
            doomed,
            tail,
            notices,
        })
    }

    /// The first `size` entries of a log folded, from the newest snapshot that can be believed, and
    /// how many of them no snapshot covered.
    pub(crate) fn fold(
        &self,
        no: WorkspaceNo,
        name: &WorkspaceName,
        size: u64,
        workers: usize,
        notices: &mut Vec<String>,
    ) -> Result<(Folded, u64), Unfolded> {
        let Self { reader, snapshots, signers, instance } = *self;
        let source = Source { snapshots, reader, signers, instance, no, name };
        let saved = source.newest_whole(size, notices)?;
        let mut folded = saved.unwrap_or_else(|| Folded::empty(DEFAULT_WINDOW));
        let tail = size - folded.state.next_index();
        folded.catch_up(reader, no, name, size, workers)?;
        Ok((folded, tail))
    }
}
