//! What all threads share of one workspace: names, keys, the bundle in force, the tree with its
//! signed head, and the flags that take effect before anything is written.

use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::frame::{Frame, frames};
use crate::ports::{Batch, JournalReader, Secret, Signer, WorkspaceNo};
use crate::privacy::Doomed;
use crate::pseudonyms::Pseudonyms;
use arc_swap::{ArcSwap, ArcSwapOption};
use placet_policy::Bundle;
use placet_tlog::merkle::leaf_hash;
use placet_tlog::note::{Checkpoint, VerifierKey};
use placet_tlog::{CompactRange, Hash, Head, Tree};
use placet_types::event::{ActorRef, Entry};
use placet_types::ids::{ActorId, WorkspaceName};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared handle of a workspace.
pub struct Workspace {
    /// Its number in the store.
    pub no: WorkspaceNo,
    /// Its name.
    pub name: WorkspaceName,
    /// Origin and verifier key of its log.
    pub vkey: VerifierKey,
    names: Pseudonyms,
    pub(crate) policy: ArcSwapOption<Bundle>,
    tree: Mutex<Tree<Fast>>,
    head: ArcSwap<SignedHead>,
    pub(crate) published: ArcSwap<SignedHead>,
    /// Set before a trip is written; the answer of a permit checks it after the flush.
    pub(crate) killed: AtomicBool,
    /// Size of the durable log.
    pub(crate) size: watch::Sender<u64>,
    /// Bumped when an approval changed, for those who wait.
    pub(crate) approvals: watch::Sender<u64>,
    /// Payloads that the durable log says are erased and whose keys are not destroyed yet, in the
    /// order of the log.
    doomed: Mutex<VecDeque<Doomed>>,
}

/// A checkpoint with the edge of its tree.
#[derive(Clone, Debug)]
pub struct SignedHead {
    /// The signed note.
    pub note: String,
    /// Size, root and right edge.
    pub head: Head,
}

/// A durable batch, shared by answers, recent look-ups and the read model.
#[derive(Debug)]
pub(crate) struct Committed {
    /// Whose.
    pub(crate) workspace: WorkspaceNo,
    /// Index of the first entry.
    pub(crate) first_index: u64,
    /// The entries.
    pub(crate) entries: Vec<Entry>,
    /// Where each frame's entry bytes lie in `frames`.
    pub(crate) spans: Vec<std::ops::Range<usize>>,
    /// The frames as they were written.
    pub(crate) frames: Vec<u8>,
}

impl Committed {
    /// The canonical bytes of the entry at `at` within the batch.
    #[must_use]
    pub(crate) fn entry_bytes(&self, at: usize) -> &[u8] {
        self.spans.get(at).and_then(|span| self.frames.get(span.clone())).unwrap_or_default()
    }

    /// The frame at `at` within the batch.
    #[must_use]
    pub(crate) fn frame(&self, at: usize) -> Option<Frame<'_>> {
        frames(&self.frames).nth(at)?.ok()
    }
}

impl Workspace {
    pub(crate) fn new(
        no: WorkspaceNo,
        name: WorkspaceName,
        vkey: VerifierKey,
        pseudonym_key: &Secret,
        tree: Tree<Fast>,
        signer: &dyn Signer,
    ) -> Self {
        let head = signed_head(&tree, &vkey, signer);
        let size = tree.size();
        Self {
            no,
            name,
            vkey,
            names: Pseudonyms::new(pseudonym_key),
            policy: ArcSwapOption::empty(),
            tree: Mutex::new(tree),
            published: ArcSwap::from_pointee(head.clone()),
            head: ArcSwap::from_pointee(head),
            killed: AtomicBool::new(false),
            size: watch::Sender::new(size),
            approvals: watch::Sender::new(0),
            doomed: Mutex::default(),
        }
    }

    /// Origin of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.vkey.name()
    }

    /// The bundle in force.
    #[must_use]
    pub fn bundle(&self) -> Option<Arc<Bundle>> {
        self.policy.load_full()
    }

    /// The newest signed checkpoint.
    #[must_use]
    pub fn head(&self) -> Arc<SignedHead> {
        self.head.load_full()
    }

    /// Follows the size of the durable log.
    #[must_use]
    pub fn watch_size(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }

    /// Follows changes of approvals.
    #[must_use]
    pub fn watch_approvals(&self) -> watch::Receiver<u64> {
        self.approvals.subscribe()
    }

    /// Whether a kill has taken effect here, written or not.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// The workspace's pseudonyms.
    #[must_use]
    pub fn names(&self) -> &Pseudonyms {
        &self.names
    }

    /// Adds what durable entries say is erased.
    pub(crate) fn doom(&self, doomed: Vec<Doomed>) {
        if !doomed.is_empty() {
            self.lock_doomed().extend(doomed);
        }
    }

    /// What has to be destroyed next.
    pub(crate) fn next_doomed(&self) -> Option<Doomed> {
        self.lock_doomed().front().cloned()
    }

    /// The first of them is destroyed.
    pub(crate) fn destroyed(&self) {
        self.lock_doomed().pop_front();
    }

    fn lock_doomed(&self) -> MutexGuard<'_, VecDeque<Doomed>> {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An actor as entries show it.
    #[must_use]
    pub fn actor_ref(&self, actor: &ActorId) -> ActorRef {
        self.names.actor_ref(actor)
    }

    /// Appends the leaves of a durable batch and signs the new head.
    pub(crate) fn advance(&self, leaves: &[Hash], signer: &dyn Signer) {
        let mut tree = self.tree();
        for leaf in leaves {
            tree.append(*leaf);
        }
        self.head.store(Arc::new(signed_head(&tree, &self.vkey, signer)));
        self.size.send_replace(tree.size());
    }

    /// The compact range after appending `leaves` to the tree as it stands: what a batch's row
    /// holds before the batch is durable.
    pub(crate) fn tree_state_after(&self, leaves: &[Hash]) -> Vec<u8> {
        let mut range = self.tree().compact_range();
        for leaf in leaves {
            range.append(*leaf);
        }
        range.encode()
    }

    pub(crate) fn tree(&self) -> MutexGuard<'_, Tree<Fast>> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed_head(tree: &Tree<Fast>, vkey: &VerifierKey, signer: &dyn Signer) -> SignedHead {
    // INVARIANT: the last tile is always kept and an origin has no control characters, so neither
    // step can fail; an empty note would verify nowhere.
    let (head, note) = match tree.head() {
        Ok(head) => {
            let checkpoint = Checkpoint::new(vkey.name(), head.size(), head.root());
            let note = checkpoint.sign(vkey, |body| signer.sign(body)).unwrap_or_default();
            (head, note)
        }
        Err(error) => unreachable!("the right edge of a tree is always kept: {error}"),
    };
    debug_assert!(!note.is_empty());
    SignedHead { note, head }
}

/// Batches from the one that holds `index` on, read from the journal and found to be what was sealed:
/// their entries lead from the tree before them to the tree after them. A database has no checksums
/// of its own, and an entry with another letter in it is an entry all the same.
pub(crate) fn read_sealed(
    journal: &dyn JournalReader,
    no: WorkspaceNo,
    index: u64,
    bytes_max: usize,
) -> Result<Vec<Committed>, PlaneError> {
    let read = |index, bytes_max| {
        let batches = journal.read(no, index, bytes_max);
        batches.map_err(|error| PlaneError::StoreFailed(error.to_string()))
    };
    let batches = read(index, bytes_max)?;
    let Some(first) = batches.first().map(|batch| batch.first_index) else { return Ok(Vec::new()) };
    let mut range = match first.checked_sub(1) {
        None => CompactRange::<Fast>::new(),
        Some(before) => read(before, 1)?
            .first()
            .and_then(|batch| CompactRange::decode(&batch.tree_state))
            .filter(|range| range.size() == first)
            .ok_or_else(|| PlaneError::Damaged(format!("the tree before entry {first}")))?,
    };
    let whole = batches.into_iter().map(|batch| {
        let sealed = CompactRange::decode(&batch.tree_state);
        let committed = parse_batch(batch).map_err(PlaneError::Damaged)?;
        for at in 0..committed.entries.len() {
            range.append(leaf_hash::<Fast>(committed.entry_bytes(at)));
        }
        if sealed.as_ref() != Some(&range) {
            let last = range.size().saturating_sub(1);
            let what = format!("the entries {first} to {last} are not the ones that were sealed");
            return Err(PlaneError::Damaged(what));
        }
        Ok(committed)
    });
    whole.collect()
}

/// Entries and frames of a batch read from the journal.
pub(crate) fn parse_batch(batch: Batch) -> Result<Committed, String> {
    let mut entries = Vec::with_capacity(batch.count as usize);
    let mut spans = Vec::with_capacity(batch.count as usize);
    let mut at = 0_usize;
    for frame in frames(&batch.frames) {
        let index = batch.first_index + entries.len() as u64;
        let frame = frame.map_err(|error| format!("entry {index}: {error}"))?;
        let entry = Entry::parse(frame.entry).map_err(|error| format!("entry {index}: {error}"))?;
        entries.push(entry);
        spans.push(at + 4..at + 4 + frame.entry.len());
        at += 4 + frame.entry.len() + 8 + 4 + frame.payload.len();
    }
    if entries.len() != batch.count as usize {
        return Err(format!("the batch at {} does not hold what it counts", batch.first_index));
    }
    Ok(Committed {
        workspace: batch.workspace,
        first_index: batch.first_index,
        entries,
        spans,
        frames: batch.frames,
    })
}
