//! Loading workspaces at a start: newest good snapshot, rest of the log, keys with their names. Owns
//! how the cores are shared; refuses to know what is done with a workspace afterwards.

use crate::boot::{StartError, Stores};
use crate::directory::KeyRecord;
use crate::fold::{Folded, Unfolded, read_again};
use crate::host::Host;
use crate::ports::{Head, JournalReader, Signer, SlotReader, Snapshots, WorkspaceNo};
use crate::privacy::Doomed;
use crate::snapshot::Source;
use placet_tlog::tree::DEFAULT_WINDOW;
use placet_types::ids::WorkspaceName;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A workspace as a start finds it.
pub(crate) struct Loaded {
    pub(crate) no: WorkspaceNo,
    pub(crate) name: WorkspaceName,
    pub(crate) head: Head,
    pub(crate) folded: Folded,
    pub(crate) keys: Vec<KeyRecord>,
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
        slots: stores.slot_reader.as_ref(),
        snapshots: stores.snapshots.as_ref(),
        signer: stores.signer.as_ref(),
        instance: &stores.instance,
    };
    let mut loaded = std::thread::scope(|scope| {
        let take = || {
            let mut done = Vec::new();
            while let Some((no, name)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push(reading.load(*no, name, workers)?);
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
struct Reading<'a> {
    reader: &'a dyn JournalReader,
    slots: &'a dyn SlotReader,
    snapshots: &'a dyn Snapshots,
    signer: &'a dyn Signer,
    instance: &'a str,
}

impl Reading<'_> {
    fn load(
        &self,
        no: WorkspaceNo,
        name: &WorkspaceName,
        workers: usize,
    ) -> Result<Loaded, StartError> {
        let refused = |error| match error {
            Unfolded::Store(error) => StartError::Store(error),
            Unfolded::Damaged(what) => StartError::Damaged { workspace: name.to_string(), what },
        };
        let Self { reader, slots, snapshots, signer, instance } = *self;
        let head = reader.head(no)?;
        let mut notices = Vec::new();
        let source = Source { snapshots, reader, signer, instance, no, name };
        let saved = source.newest_whole(head.next_index, &mut notices);
        let mut folded = saved.unwrap_or_else(|| Folded::empty(DEFAULT_WINDOW));
        let tail = head.next_index - folded.state.next_index();
        folded.catch_up(reader, no, name, head.next_index, workers).map_err(refused)?;
        let (keys, doomed) = read_again(reader, slots, no, &folded.read_again).map_err(refused)?;
        Ok(Loaded { no, name: name.clone(), head, folded, keys, doomed, tail, notices })
    }
}
