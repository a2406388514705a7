//! What all threads share of one workspace: names, keys, the bundle in force, the tree with its
//! signed head, and the flags that take effect before anything is written.

use crate::callers::Callers;
use crate::crypto::Fast;
use crate::frame::{Frame, frames};
use crate::halts::{Halts, Scopes};
use crate::ports::{Batch, Secret, WorkspaceNo};
use crate::privacy::Doomed;
use crate::pseudonyms::Pseudonyms;
use crate::signing::Signing;
use crate::waiting::Waiters;
use arc_swap::{ArcSwap, ArcSwapOption};
use placet_engine::{Evidence, LogSigner, Stop};
use placet_policy::Bundle;
use placet_tlog::note::{Checkpoint, VerifierKey};
use placet_tlog::{Hash, Head, Tree};
use placet_types::Digest;
use placet_types::event::{ActorRef, DecisionEvent, Entry, KillScope, OverrideMode};
use placet_types::ids::{ActorId, WorkspaceName};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::watch;

/// Shared handle of a workspace.
pub struct Workspace {
    /// Its number in the store.
    pub no: WorkspaceNo,
    /// Its name.
    pub name: WorkspaceName,
    origin: String,
    /// The name under which the log goes on since this start.
    renamed: OnceLock<String>,
    /// The key that signs its log; replaced once the entry that says so is durable.
    signing: ArcSwap<Signing>,
    /// All keys of the durable log, oldest first.
    signers: ArcSwap<Vec<LogSigner>>,
    names: Pseudonyms,
    policy: ArcSwap<InForce>,
    /// The bundle beside it, asked for the record alone.
    pub(crate) shadow: ArcSwapOption<Bundle>,
    /// All evidence of the durable log, for whoever evaluates; shares its memory with the state.
    pub(crate) evidence: ArcSwap<Evidence>,
    tree: Mutex<Tree<Fast>>,
    head: ArcSwap<SignedHead>,
    pub(crate) published: ArcSwap<SignedHead>,
    /// Set before a trip is written; the answer of a permit checks it after the flush.
    pub(crate) killed: AtomicBool,
    /// Live exceptions that waive all of policy: shown loudly wherever the workspace answers.
    pub(crate) ungoverned: AtomicU64,
    /// Trips that have taken effect and are not answered by the log yet, by their scope.
    under_way: Mutex<BTreeMap<KillScope, usize>>,
    /// What is stopped besides everything and the workspace.
    pub(crate) halts: Halts,
    /// Size of the durable log.
    pub(crate) size: watch::Sender<u64>,
    /// Bumped when an approval changed, for those who wait.
    pub(crate) approvals: watch::Sender<u64>,
    /// Bumped when a kill takes effect, for those who wait.
    pub(crate) stops: watch::Sender<u64>,
    /// Callers that wait for an approval.
    pub(crate) callers: Callers,
    /// Bumped when a trip, a drill, a lift or an acknowledgement is durable.
    pub(crate) overrides: watch::Sender<u64>,
    /// Who waits for which of them.
    pub(crate) waiting: Waiters,
    /// Payloads that the durable log says are erased and whose keys are not destroyed yet, in the
    /// order of the log.
    doomed: Mutex<VecDeque<Doomed>>,
}

/// What decides in a workspace: one value, swapped as a whole.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// The bundle.
    pub bundle: Option<Arc<Bundle>>,
    /// The bundle that the log names and that cannot be served, and why: everything is SILENCE.
    pub lost: Option<(Digest, String)>,
}

impl InForce {
    pub(crate) fn of(bundle: Option<Arc<Bundle>>) -> Self {
        Self { bundle, lost: None }
    }

    pub(crate) fn lost(digest: Digest, why: String) -> Self {
        Self { bundle: None, lost: Some((digest, why)) }
    }
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
        signing: Signing,
        pseudonym_key: &Secret,
        tree: Tree<Fast>,
        signers: Vec<LogSigner>,
    ) -> Self {
        let head = signed_head(&tree, &signing);
        let size = tree.size();
        Self {
            no,
            name,
            origin: signing.vkey.name().to_owned(),
            renamed: OnceLock::new(),
            signing: ArcSwap::from_pointee(signing),
            signers: ArcSwap::from_pointee(signers),
            names: Pseudonyms::new(pseudonym_key),
            policy: ArcSwap::from_pointee(InForce::default()),
            shadow: ArcSwapOption::empty(),
            evidence: ArcSwap::default(),
            tree: Mutex::new(tree),
            published: ArcSwap::from_pointee(head.clone()),
            head: ArcSwap::from_pointee(head),
            killed: AtomicBool::new(false),
            ungoverned: AtomicU64::new(0),
            under_way: Mutex::default(),
            halts: Halts::default(),
            size: watch::Sender::new(size),
            approvals: watch::Sender::new(0),
            stops: watch::Sender::new(0),
            callers: Callers::default(),
            overrides: watch::Sender::new(0),
            waiting: Waiters::default(),
            doomed: Mutex::default(),
        }
    }

    /// Origin of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.renamed.get().unwrap_or(&self.origin)
    }

    /// The verifier key in force.
    #[must_use]
    pub fn vkey(&self) -> VerifierKey {
        self.signing.load().vkey.clone()
    }

    pub(crate) fn signing(&self) -> Arc<Signing> {
        self.signing.load_full()
    }

    /// All keys of the durable log, oldest first.
    #[must_use]
    pub fn signers(&self) -> Arc<Vec<LogSigner>> {
        self.signers.load_full()
    }

    /// The handovers of the durable log, oldest first, one after the other.
    #[must_use]
    pub fn handovers(&self) -> String {
        self.signers().iter().filter_map(|signer| signer.note.as_deref()).collect()
    }

    /// What durable entries say of the keys. Called before the head of those entries is signed.
    pub(crate) fn set_signers(
        &self,
        signers: Option<Vec<LogSigner>>,
        signing: Option<Arc<Signing>>,
    ) {
        if let Some(signing) = signing {
            if signing.vkey.name() != self.origin() {
                // INVARIANT: a log changes its name at most once in a run, before it is served.
                let _ = self.renamed.set(signing.vkey.name().to_owned());
            }
            self.signing.store(signing);
        }
        if let Some(signers) = signers {
            self.signers.store(Arc::new(signers));
        }
    }

    /// The bundle that decides; none where there is none, or where it is lost.
    #[must_use]
    pub fn bundle(&self) -> Option<Arc<Bundle>> {
        self.policy.load().bundle.clone()
    }

    /// What decides here.
    #[must_use]
    pub fn in_force(&self) -> Arc<InForce> {
        self.policy.load_full()
    }

    /// The bundle that decisions are made under a second time, for the record alone.
    #[must_use]
    pub fn shadow(&self) -> Option<Arc<Bundle>> {
        self.shadow.load_full()
    }

    /// From here on this decides.
    pub(crate) fn set_policy(&self, policy: InForce) {
        self.policy.store(Arc::new(policy));
    }

    /// Whether decisions have to be evaluated without a bundle although the log names this one.
    pub(crate) fn has_lost(&self, policy: Option<Digest>) -> bool {
        let lost = self.policy.load().lost.as_ref().map(|(digest, _)| *digest);
        lost.is_some() && lost == policy
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

    /// Callers that wait for the approval of an action of theirs.
    #[must_use]
    pub fn waiting_callers(&self) -> usize {
        self.waiting.count()
    }

    /// Whether a kill has taken effect here, written or not.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Live exceptions that waive all of policy.
    #[must_use]
    pub fn ungoverned(&self) -> u64 {
        self.ungoverned.load(Ordering::Relaxed)
    }

    /// Whether a kill has taken effect that withholds the permit of a decision.
    #[must_use]
    pub fn stops_all_of(&self, event: &Arc<DecisionEvent>) -> bool {
        self.is_killed() || self.halt_of(event).is_some()
    }

    /// Which narrower kill has taken effect that withholds the permit of a decision.
    pub(crate) fn halt_of(&self, event: &Arc<DecisionEvent>) -> Option<Stop> {
        self.halts.stop(&Scopes::Of(event.clone()))
    }

    /// Whether nobody has this role at the moment.
    #[must_use]
    pub fn is_role_revoked(&self, role: &str) -> bool {
        self.halts.is_revoked(role)
    }

    /// A run or job as scopes name it: by its id, or by the pseudonym of another name.
    #[must_use]
    pub fn run_name(&self, kind: &str, name: &str) -> String {
        self.names.run_name(kind, name)
    }

    /// From here on nothing of the scope is permitted, and whoever waits for it is answered: how many did.
    pub(crate) fn halt(&self, scope: &KillScope, mode: OverrideMode) -> u64 {
        self.halts.raise(scope, mode);
        let told = self.callers.tell(scope);
        self.stops.send_modify(|stops| *stops = stops.wrapping_add(1));
        told
    }

    /// From here on nothing is permitted, and whoever waits is answered.
    pub(crate) fn stop(&self) {
        self.killed.store(true, Ordering::SeqCst);
        self.callers.tell_all();
        self.stops.send_modify(|stops| *stops = stops.wrapping_add(1));
    }

    /// Trips that the log has not answered. While this is held, none begins: whoever lets the flags follow
    /// the log takes no kill back that the log cannot know of.
    pub(crate) fn under_way(&self) -> MutexGuard<'_, BTreeMap<KillScope, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows kills as they take effect, recorded or not.
    #[must_use]
    pub fn watch_stops(&self) -> watch::Receiver<u64> {
        self.stops.subscribe()
    }

    /// Follows durable trips, drills, lifts and acknowledgements.
    #[must_use]
    pub fn watch_overrides(&self) -> watch::Receiver<u64> {
        self.overrides.subscribe()
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
    pub(crate) fn advance(&self, leaves: &[Hash]) {
        let mut tree = self.tree();
        for leaf in leaves {
            tree.append(*leaf);
        }
        self.head.store(Arc::new(signed_head(&tree, &self.signing())));
        self.size.send_replace(tree.size());
    }

    /// The compact ranges after the first `ends[0]`, `ends[1]`, … of `leaves` are appended to the
    /// tree as it stands: what the rows of a batch hold before the batch is durable.
    pub(crate) fn tree_states_after(&self, leaves: &[Hash], ends: &[usize]) -> Vec<Vec<u8>> {
        let mut range = self.tree().compact_range();
        let mut states = Vec::with_capacity(ends.len());
        let mut from = 0;
        for end in ends {
            for leaf in leaves.get(from..*end).unwrap_or_default() {
                range.append(*leaf);
            }
            states.push(range.encode());
            from = *end;
        }
        states
    }

    /// How many of the newest leaves the tree keeps in memory.
    pub(crate) fn keep_whole(&self, window: u64) {
        self.tree().set_window(window);
    }

    pub(crate) fn tree(&self) -> MutexGuard<'_, Tree<Fast>> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed_head(tree: &Tree<Fast>, signing: &Signing) -> SignedHead {
    let Signing { vkey, signer } = signing;
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
