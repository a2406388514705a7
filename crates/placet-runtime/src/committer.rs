//! The committer: one thread that makes batches durable, advances the trees, signs, and only then
//! releases answers. A failed write stops deciding for good; nothing is retried on a dead handle.

use crate::crypto::Fast;
use crate::frame::{ENTRY_OFFSET, SlotKeys};
use crate::halts::Handed;
use crate::ports::{AppendError, Batch, Journal, WorkspaceNo};
use crate::recent::Recent;
use crate::sequencer::{
    Chore, Done, Gauges, Job, Message, Next, Open, Payload, Pending, PendingDone, Refusal, Release,
    Reply, Work, Written,
};
use crate::workspace::{Committed, Workspace};
use placet_engine::{Command, RevokePermit, Stop};
use placet_tlog::Hash;
use placet_tlog::merkle::leaf_hash;
use placet_types::event::{Event, KillSource};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Duration;

/// Work and errands for the thread that owns the journal.
pub(crate) enum Errand {
    Work(Work),
    Shutdown,
}

/// Most entries in a row of the journal: a quarter of a tile of the tree.
const ROW_ENTRIES_MAX: usize = 64;
/// Most bytes of frames in a row, unless a single frame has more.
const ROW_BYTES_MAX: usize = 256 << 10;

/// What a batch made durable, per workspace.
type Durable = BTreeMap<WorkspaceNo, (Arc<Workspace>, Arc<Committed>)>;

/// A batch after its write, with the answers that waited for it.
pub(crate) struct Flushed {
    durable: Result<Durable, AppendError>,
    pending: Vec<Pending>,
    releases: Vec<Release>,
}

/// Idle time after which the journal may tidy up.
const IDLE: Duration = Duration::from_millis(500);

/// Totals for metrics and benches.
#[derive(Debug, Default)]
pub struct CommitTotals {
    /// Durable writes.
    pub flushes: AtomicU64,
    /// Signed checkpoints.
    pub signatures: AtomicU64,
    /// Entries written.
    pub entries: AtomicU64,
    /// Microseconds spent in durable writes.
    pub flush_us: AtomicU64,
}

pub(crate) struct Committer {
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) recent: Arc<Recent>,
    /// The same for the snapshotter, which must not keep the read model from forgetting.
    pub(crate) followed: Arc<Recent>,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) totals: Arc<CommitTotals>,
    pub(crate) urgent: Sender<Job>,
    pub(crate) wake: SyncSender<Message>,
}

impl Committer {
    pub(crate) fn run(mut self, inbox: &Receiver<Errand>) {
        loop {
            match inbox.recv_timeout(IDLE) {
                Ok(Errand::Work(work)) => {
                    let flushed = self.flush(work);
                    self.answer(flushed);
                }
                Err(RecvTimeoutError::Timeout) => self.idle(),
                Ok(Errand::Shutdown) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Lets the journal tidy up.
    pub(crate) fn idle(&mut self) {
        if !self.gauges.failed.load(Ordering::SeqCst) {
            self.journal.idle();
        }
    }

    /// Makes a batch durable. Nothing of it is answered yet.
    pub(crate) fn flush(&mut self, work: Work) -> Flushed {
        let Work { open, pending, releases, chores, .. } = work;
        let durable = self.persist(open);
        if durable.is_err() {
            self.gauges.failed.store(true, Ordering::SeqCst);
        }
        for chore in chores {
            match chore {
                Chore::Found(name, reply) => {
                    let created = self.journal.create_workspace(&name);
                    // Whoever asked may have gone; the workspace stays empty then.
                    let _ = reply.send(created.map_err(|error| error.to_string()));
                }
                Chore::Keep(bundle, reply) => {
                    let kept = self.journal.put_bundle(&bundle.digest().0, bundle.normalised());
                    // Bytes that nothing refers to do no harm.
                    let _ = reply.send(kept.map_err(|error| error.to_string()));
                }
            }
        }
        Flushed { durable, pending, releases }
    }

    /// Releases what waited for a batch.
    pub(crate) fn answer(&self, flushed: Flushed) {
        let Flushed { durable, pending, releases } = flushed;
        match durable {
            Ok(durable) => {
                for pending in pending {
                    self.release(pending, &durable);
                }
                // An execution that a step of its own has killed is over in the state: from the next
                // batch on no permit of it can be in any.
                for (shared, committed) in durable.values() {
                    for entry in &committed.entries {
                        if let Event::KillTripped(kill) = &entry.event
                            && kill.source == KillSource::Manifest
                        {
                            shared.halts.clear(&kill.scope);
                        }
                    }
                }
                releases.into_iter().for_each(|release| release());
            }
            Err(error) => {
                // Looks at state are dropped as well: whoever asked hears that nothing is decided.
                for pending in pending {
                    // INVARIANT: no answer of a batch leaves unless the batch is durable.
                    pending.reply.send(Err(Refusal::StoreFailed(error.to_string())));
                }
            }
        }
    }

    /// Leaves, rows, one durable write, one signature per workspace.
    fn persist(&mut self, open: BTreeMap<WorkspaceNo, Open>) -> Result<Durable, AppendError> {
        // First of all: what was stepped before a failure may rest on entries that never became
        // durable, so nothing more leaves, not even an answer that writes nothing.
        if self.gauges.failed.load(Ordering::SeqCst) {
            return Err(AppendError::Unknown("the store has failed".to_owned()));
        }
        if open.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut rows = Vec::with_capacity(open.len());
        let mut parts = Vec::with_capacity(open.len());
        for (no, mut open) in open {
            let leaves: Vec<Hash> = open
                .spans
                .iter()
                .map(|span| leaf_hash::<Fast>(open.frames.get(span.clone()).unwrap_or_default()))
                .collect();
            let first_row = rows.len();
            push_rows(&mut rows, no, &mut open, &leaves);
            parts.push((no, open, leaves, first_row));
        }
        let started = std::time::Instant::now();
        self.journal.append(&rows)?;
        let spent = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.totals.flush_us.fetch_add(spent, Ordering::Relaxed);
        self.totals.flushes.fetch_add(1, Ordering::Relaxed);
        let mut durable = BTreeMap::new();
        for (no, open, leaves, first_row) in parts {
            // INVARIANT: a tree that holds a handover is signed by the key that it names.
            open.shared.set_signers(open.signers, open.signing);
            // INVARIANT: no answer of this batch or a later one leaves before the swap, so whoever
            // has to evaluate again does so under the bundle that the log names.
            if let Some(policy) = open.policy {
                open.shared.set_policy(policy);
            }
            // INVARIANT: as of the bundle: what was taken back is so for whoever evaluates again.
            if let Some(evidence) = open.evidence {
                open.shared.evidence.store(Arc::new(evidence));
            }
            // INVARIANT: what a batch stops hands out no permit with it.
            for (scope, mode) in &open.stopped {
                open.shared.halt(scope, *mode);
            }
            if let Some(roles) = open.roles {
                open.shared.halts.set_roles(roles);
            }
            open.shared.advance(&leaves);
            self.totals.signatures.fetch_add(1, Ordering::Relaxed);
            self.totals.entries.fetch_add(leaves.len() as u64, Ordering::Relaxed);
            // The frames of a batch of one row went with it.
            let frames = match rows.get_mut(first_row) {
                Some(row) if open.frames.is_empty() => std::mem::take(&mut row.frames),
                _ => open.frames,
            };
            let committed = Arc::new(Committed {
                workspace: no,
                first_index: open.first_index,
                entries: open.entries,
                spans: open.spans,
                frames,
            });
            self.recent.push(committed.clone());
            self.followed.push(committed.clone());
            open.shared.doom(open.doomed);
            if open.approvals_changed {
                open.shared.approvals.send_modify(|version| *version = version.wrapping_add(1));
            }
            if open.overrides_changed {
                open.shared.overrides.send_modify(|version| *version = version.wrapping_add(1));
            }
            durable.insert(no, (open.shared, committed));
        }
        Ok(durable)
    }

    fn release(&self, pending: Pending, durable: &Durable) {
        let Pending { reply, answer } = pending;
        let done = match answer {
            Ok(done) => done,
            Err(refusal) => return reply.send(Err(refusal)),
        };
        let PendingDone { workspace, range, bound, permits } = done;
        let found = range.and_then(|range| Some((durable.get(&workspace)?, range)));
        let written =
            found.map(|((shared, batch), range)| (shared, Written { batch: batch.clone(), range }));
        let stop = written.as_ref().and_then(|(shared, _)| overtaken(shared, &permits));
        match (reply, written, stop) {
            (Reply::Caller(caller), Some((_, written)), Some(stop)) => {
                self.revoke(workspace, &permits, stop, caller, written);
            }
            (reply, written, _) => {
                let written = written.map(|(_, written)| written);
                reply.send(Ok(Done { written, bound, revoked: false }));
            }
        }
    }

    /// A kill came after the decision and before its answer: the answer leaves only once the
    /// revocation is durable, and says so.
    fn revoke(
        &self,
        workspace: WorkspaceNo,
        permits: &[Handed],
        stop: Option<Stop>,
        caller: tokio::sync::oneshot::Sender<crate::sequencer::Answer>,
        written: Written,
    ) {
        let permits = permits.iter().map(Handed::unsent).collect();
        let job = Job {
            workspace,
            command: Command::RevokePermit(RevokePermit { permits, stop }),
            payload: Payload::empty(),
            reply: Reply::Overtaken(caller, written),
            next: Next::None,
        };
        // Without a sequencer nothing is answered: the caller sees its channel close.
        if self.urgent.send(job).is_ok() {
            // A full inbox wakes the sequencer by itself.
            let _ = self.wake.try_send(Message::Wake);
        }
    }
}

/// Whether a kill has overtaken one of these permits, and which, unless it is one of the two widest.
#[allow(clippy::option_option)]
fn overtaken(shared: &Workspace, permits: &[Handed]) -> Option<Option<Stop>> {
    if permits.is_empty() {
        return None;
    }
    if shared.is_killed() {
        return Some(None);
    }
    permits.iter().find_map(|permit| shared.halts.stop(&permit.scopes)).map(Some)
}

/// Cuts a batch into rows, so that reading one old entry does not read a thousand.
fn push_rows(rows: &mut Vec<Batch>, no: WorkspaceNo, open: &mut Open, leaves: &[Hash]) {
    let ends = row_ends(&open.spans, open.frames.len());
    let states = open.shared.tree_states_after(leaves, &ends);
    let whole = ends.len() == 1;
    let mut from = 0;
    for (end, tree_state) in ends.into_iter().zip(states) {
        let frames = if whole {
            std::mem::take(&mut open.frames)
        } else {
            let bytes = frame_start(&open.spans, from, open.frames.len())
                ..frame_start(&open.spans, end, open.frames.len());
            open.frames.get(bytes).unwrap_or_default().to_vec()
        };
        rows.push(Batch {
            workspace: no,
            first_index: open.first_index + from as u64,
            count: u32::try_from(end - from).unwrap_or(u32::MAX),
            epoch: open.epoch,
            frames,
            tree_state,
        });
        from = end;
    }
}

/// Where each row of a batch ends: the number of entries up to there.
fn row_ends(spans: &[Range<usize>], bytes: usize) -> Vec<usize> {
    let mut ends = Vec::with_capacity(spans.len() / ROW_ENTRIES_MAX + 1);
    let mut from = 0;
    for at in 1..spans.len() {
        // What the row would hold with the entry at `at`.
        let size = frame_start(spans, at + 1, bytes) - frame_start(spans, from, bytes);
        if at - from >= ROW_ENTRIES_MAX || size > ROW_BYTES_MAX {
            ends.push(at);
            from = at;
        }
    }
    ends.push(spans.len());
    ends
}

/// Where the frame at `at` begins; the end of all frames after the last.
fn frame_start(spans: &[Range<usize>], at: usize, bytes: usize) -> usize {
    spans.get(at).map_or(bytes, |span| span.start.saturating_sub(ENTRY_OFFSET))
}

/// Seals `plain` in the slot: the payload that travels with a command.
pub(crate) fn seal(keys: &SlotKeys, slot: u64, plain: Vec<u8>) -> Payload {
    let commitment = keys.commit(crate::frame::SaltFor::Payload, &plain);
    Payload { slot, sealed: keys.seal(slot, plain), commitment }
}
