//! The snapshotter: one thread that follows every log behind the committer, with states of its own,
//! and saves them when the rest to be folded at a start has grown. Derived data: whatever goes wrong
//! here is said and never stops deciding. Refuses to know the sequencer's states.

use crate::crypto::Fast;
use crate::fold::{Folded, Unfolded, leaves_of};
use crate::host::Host;
use crate::ports::{Clock, JournalReader, Piece, Signers, Snapshots, WorkspaceNo};
use crate::recent::Recent;
use crate::snapshot::{Run, Saved, Source};
use crate::workspace::Committed;
use placet_engine::IdempotencyKeys;
use placet_types::hash::Hasher;
use placet_types::ids::{TimeMs, WorkspaceName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Entries per look at what is new.
const CHUNK: usize = 4096;
/// Entries that wait for this thread at most; what is missed is read from the journal.
pub(crate) const FOLLOWED_MAX: usize = 1 << 14;
/// Keys of a run beyond which it is not merged any more: bounds the memory of merging.
const RUN_MAX: u64 = 1 << 20;
/// Gathered entries at which a snapshot is due whatever else.
const GATHERED_MAX: u64 = 1 << 20;
/// Leaves that a follower's tree keeps whole.
const WINDOW: u64 = 256;
/// A workspace whose snapshot failed is left alone for so long.
const BACK_OFF_MS: u64 = 60_000;
/// Snapshots of a workspace that are kept.
const KEPT: usize = 2;

/// When a snapshot is due, and for how long a stop may go on saving.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPlan {
    /// Entries since the last one; a start folds them in about a second.
    pub entries: u64,
    /// At the stop, or when nothing has happened for a while: so many are enough.
    pub entries_idle: u64,
    /// After so long without an entry a workspace is saved and no longer followed.
    pub idle: Duration,
    /// Between two snapshots of a workspace lies at least so many times what the last one took.
    pub rest: u32,
    /// A stop begins no further snapshot after this.
    pub stop: Duration,
}

impl Default for SnapshotPlan {
    fn default() -> Self {
        Self {
            entries: 100_000,
            entries_idle: 1000,
            idle: Duration::from_secs(60),
            rest: 20,
            stop: Duration::from_secs(5),
        }
    }
}

/// Totals for metrics and benches.
#[derive(Debug, Default)]
pub struct SnapshotTotals {
    /// Snapshots written.
    pub written: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Microseconds spent on writing.
    pub spent_us: AtomicU64,
    /// Entries that the start had to fold, because no snapshot covered them.
    pub folded: AtomicU64,
}

pub(crate) struct Snapshotter {
    pub(crate) snapshots: Arc<dyn Snapshots>,
    pub(crate) reader: Arc<dyn JournalReader>,
    pub(crate) signers: Arc<dyn Signers>,
    pub(crate) instance: String,
    pub(crate) followed: Arc<Recent>,
    pub(crate) totals: Arc<SnapshotTotals>,
    pub(crate) plan: SnapshotPlan,
    pub(crate) followers: BTreeMap<WorkspaceNo, Follower>,
    pub(crate) failed: BTreeMap<WorkspaceNo, u64>,
    /// Logs of which a start had to fold much, with their sizes then.
    pub(crate) behind: Vec<(WorkspaceNo, WorkspaceName, u64)>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) host: Host,
}

/// A log as it is followed.
pub(crate) struct Follower {
    name: WorkspaceName,
    folded: Folded,
    /// Runs of the newest snapshot.
    runs: Vec<Run>,
    /// The newest snapshots, older first: index and runs.
    kept: Vec<(u64, Vec<Run>)>,
    /// Index of the newest snapshot; 0 when there is none.
    saved: u64,
    /// The key in force there. Once it has handed over, no start believes that snapshot.
    saved_by: Option<String>,
    /// On the monotonic clock, in milliseconds, as is everything timed here.
    last_entry: u64,
    not_before: u64,
}

impl Follower {
    fn rest(&self) -> u64 {
        self.folded.state.next_index() - self.saved
    }

    /// Whether the newest snapshot was signed by a key that has handed over since.
    fn disowned(&self) -> bool {
        self.saved > 0 && self.saved_by != signer_of(&self.folded)
    }
}

impl Snapshotter {
    pub(crate) fn run(mut self) {
        self.begin_behind();
        while self.turn(Duration::from_millis(500)) {}
        self.stop();
    }

    /// Saves the logs of which the start had to fold much.
    pub(crate) fn begin_behind(&mut self) {
        for (no, name, size) in std::mem::take(&mut self.behind) {
            let mut follower = self.begin(no, &name, size);
            match self.advance(no, &mut follower, size) {
                Ok(()) => drop(self.followers.insert(no, follower)),
                Err(error) => self.give_up(no, &error),
            }
            self.save_due();
        }
    }

    /// Follows the oldest batches that wait, or those that come within `wait`, and saves what is
    /// due. False when there will be no more.
    pub(crate) fn turn(&mut self, wait: Duration) -> bool {
        let (batches, closed) = self.followed.oldest(CHUNK, wait);
        for batch in &batches {
            self.follow(batch);
        }
        self.followed.forget(&batches);
        if !closed {
            self.save_due();
        }
        !closed || !batches.is_empty()
    }

    fn follow(&mut self, batch: &Committed) {
        let no = batch.workspace;
        if let Some(since) = self.failed.get(&no) {
            if self.clock.monotonic_ms().saturating_sub(*since) < BACK_OFF_MS {
                return;
            }
            self.failed.remove(&no);
        }
        if let Err(error) = self.try_follow(batch) {
            self.give_up(no, &error);
        }
    }

    fn try_follow(&mut self, batch: &Committed) -> Result<(), Unfolded> {
        let Some(first) = batch.entries.first() else { return Ok(()) };
        let no = batch.workspace;
        let mut follower = match self.followers.remove(&no) {
            Some(follower) => follower,
            None => self.begin(no, &first.workspace, batch.first_index),
        };
        // What was missed, because this thread is behind or has just begun.
        self.advance(no, &mut follower, batch.first_index)?;
        if follower.folded.state.next_index() == batch.first_index {
            let leaves = leaves_of(batch);
            let Follower { name, folded, .. } = &mut follower;
            folded.apply(name, batch, &leaves).map_err(Unfolded::Damaged)?;
        }
        follower.last_entry = self.clock.monotonic_ms();
        self.followers.insert(no, follower);
        Ok(())
    }

    /// Follows the journal up to `until`, saving on the way what would be too much to gather.
    fn advance(
        &self,
        no: WorkspaceNo,
        follower: &mut Follower,
        until: u64,
    ) -> Result<(), Unfolded> {
        while follower.folded.state.next_index() < until {
            let next = follower.folded.state.next_index();
            let until = until.min(next + GATHERED_MAX);
            let Follower { name, folded, .. } = &mut *follower;
            folded.catch_up(self.reader.as_ref(), no, name, until, 1)?;
            if follower.rest() >= GATHERED_MAX {
                self.save(no, follower)?;
            }
        }
        Ok(())
    }

    /// A follower from the newest snapshot, or from the beginning.
    fn begin(&self, no: WorkspaceNo, name: &WorkspaceName, size: u64) -> Follower {
        let saved = self.source(no, name).newest(size, WINDOW);
        let (mut folded, runs) = match saved {
            Some(Saved { folded, runs }) => (folded, runs),
            None => (Folded::empty(WINDOW), Vec::new()),
        };
        folded.state.gather_idempotency();
        let index = folded.state.next_index();
        let saved_by = signer_of(&folded);
        let now = self.clock.monotonic_ms();
        let kept = if index > 0 { vec![(index, runs.clone())] } else { Vec::new() };
        let name = name.clone();
        Follower {
            name,
            folded,
            runs,
            kept,
            saved: index,
            saved_by,
            last_entry: now,
            not_before: now,
        }
    }

    fn source<'a>(&'a self, no: WorkspaceNo, name: &'a WorkspaceName) -> Source<'a> {
        Source {
            snapshots: self.snapshots.as_ref(),
            reader: self.reader.as_ref(),
            signers: self.signers.as_ref(),
            instance: &self.instance,
            no,
            name,
        }
    }

    fn save_due(&mut self) {
        let now = self.clock.monotonic_ms();
        let idle_ms = u64::try_from(self.plan.idle.as_millis()).unwrap_or(u64::MAX);
        let all: Vec<WorkspaceNo> = self.followers.keys().copied().collect();
        for no in all {
            let Some(mut follower) = self.followers.remove(&no) else { continue };
            let idle = now.saturating_sub(follower.last_entry) >= idle_ms;
            let grown = follower.rest() >= self.plan.entries && now >= follower.not_before;
            let due = grown
                || (idle && follower.rest() >= self.plan.entries_idle)
                || follower.rest() >= GATHERED_MAX
                || follower.disowned();
            if due && let Err(error) = self.save(no, &mut follower) {
                self.give_up(no, &error);
            } else if !idle {
                self.followers.insert(no, follower);
            }
        }
    }

    /// Saves what has the longest rest first, as long as there is time.
    pub(crate) fn stop(mut self) {
        let started = self.clock.monotonic_ms();
        let stop_ms = u64::try_from(self.plan.stop.as_millis()).unwrap_or(u64::MAX);
        let due =
            |follower: &Follower| follower.rest() >= self.plan.entries_idle || follower.disowned();
        let due = self.followers.iter().filter(|(_, follower)| due(follower));
        let mut rests: Vec<_> = due.map(|(no, follower)| (follower.rest(), *no)).collect();
        rests.sort_unstable();
        for (_, no) in rests.into_iter().rev() {
            if self.clock.monotonic_ms().saturating_sub(started) >= stop_ms {
                return;
            }
            let Some(mut follower) = self.followers.remove(&no) else { continue };
            if let Err(error) = self.save(no, &mut follower) {
                self.give_up(no, &error);
            }
        }
    }

    /// Nothing is retried on what may be half done: the next attempt begins from the last snapshot.
    fn give_up(&mut self, no: WorkspaceNo, error: &Unfolded) {
        self.totals.failed.fetch_add(1, Ordering::Relaxed);
        self.host.say(format_args!("no snapshot of workspace number {}: {error}", no.0));
        self.followers.remove(&no);
        self.failed.insert(no, self.clock.monotonic_ms());
    }

    /// Writes the runs, then the head that names them, then forgets what no kept head names.
    fn save(&self, no: WorkspaceNo, follower: &mut Follower) -> Result<(), Unfolded> {
        let (started, began) = (Instant::now(), self.clock.monotonic_ms());
        let name = follower.name.clone();
        let source = self.source(no, &name);
        let index = follower.folded.state.next_index();
        if index == follower.saved {
            return Ok(());
        }
        let row = self.reader.read(no, index.saturating_sub(1), 1)?;
        let sealed = row.first().is_some_and(|row| {
            row.first_index + u64::from(row.count) == index
                && follower.folded.is_at(&row.tree_state)
        });
        if !sealed {
            return Err(Unfolded::Damaged(format!("entry {index} does not follow what was read")));
        }
        let gathered = follower.folded.state.gather_idempotency();
        let mut writing =
            Writing { source, head: index, now: follower.folded.state.time(), part: 0, bytes: 0 };
        let mut runs = follower.runs.clone();
        writing.renew(&mut runs)?;
        writing.add(&mut runs, gathered, follower.saved)?;
        let head = source.write_head(&follower.folded, &runs)?;
        self.snapshots.write(no, Piece::Head { index }, &head)?;
        follower.runs.clone_from(&runs);
        follower.saved = index;
        follower.saved_by = signer_of(&follower.folded);
        follower.kept.push((index, runs));
        if follower.kept.len() > KEPT {
            follower.kept.remove(0);
        }
        self.forget(no, &follower.kept)?;
        let (spent, now) = (started.elapsed(), self.clock.monotonic_ms());
        let rest = now.saturating_sub(began).saturating_mul(u64::from(self.plan.rest));
        follower.not_before = now.saturating_add(rest);
        let total = |of: &AtomicU64, more: u64| of.fetch_add(more, Ordering::Relaxed);
        total(&self.totals.written, 1);
        total(&self.totals.bytes, writing.bytes + head.len() as u64);
        total(&self.totals.spent_us, u64::try_from(spent.as_micros()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn forget(&self, no: WorkspaceNo, kept: &[(u64, Vec<Run>)]) -> Result<(), Unfolded> {
        for piece in self.snapshots.list(no)? {
            let named = kept.iter().any(|(index, runs)| {
                piece == Piece::Head { index: *index }
                    || runs.iter().any(|run| run.piece() == piece)
            });
            if !named {
                self.snapshots.remove(no, piece)?;
            }
        }
        Ok(())
    }
}

/// The runs of one snapshot while they are being written.
struct Writing<'a> {
    source: Source<'a>,
    head: u64,
    now: TimeMs,
    part: u32,
    bytes: u64,
}

impl Writing<'_> {
    /// Writes one run anew of which half has ended.
    fn renew(&mut self, runs: &mut Vec<Run>) -> Result<(), Unfolded> {
        let Some(at) = runs.iter().position(|run| run.half_ends <= self.now) else {
            return Ok(());
        };
        let run = runs.remove(at);
        let mut keys = IdempotencyKeys::gathering();
        self.read(&mut keys, &run)?;
        if let Some(run) = self.write(&keys, run.from, run.until)? {
            runs.insert(at, run);
        }
        Ok(())
    }

    /// Adds what was gathered from entry `from` on, merged with the runs before it that are not
    /// much larger: there are never many, and a key is written again a few times at most.
    fn add(
        &mut self,
        runs: &mut Vec<Run>,
        gathered: IdempotencyKeys,
        from: u64,
    ) -> Result<(), Unfolded> {
        let mut count = gathered.len() as u64;
        let mut earlier = Vec::new();
        while let Some(run) =
            runs.pop_if(|run| run.count <= 2 * count && run.count + count <= RUN_MAX)
        {
            count += run.count;
            earlier.push(run);
        }
        let (mut keys, mut begins) = (gathered, from);
        if let Some(oldest) = earlier.last() {
            begins = oldest.from;
            let mut newest = Vec::new();
            keys.write_run(self.now, &mut newest);
            // In the order of the log: the newest attempt counts.
            keys = IdempotencyKeys::gathering();
            for run in earlier.iter().rev() {
                self.read(&mut keys, run)?;
            }
            keys.read_run(&newest, from, self.head, self.now).ok_or_else(damaged)?;
        }
        let run = self.write(&keys, begins, self.head)?;
        runs.extend(run);
        Ok(())
    }

    fn read(&self, keys: &mut IdempotencyKeys, run: &Run) -> Result<(), Unfolded> {
        let bytes = self.source.read_run(run).map_err(Unfolded::Damaged)?;
        keys.read_run(&bytes, run.from, run.until, self.now).ok_or_else(damaged)
    }

    fn write(
        &mut self,
        keys: &IdempotencyKeys,
        from: u64,
        until: u64,
    ) -> Result<Option<Run>, Unfolded> {
        let mut bytes = Vec::with_capacity(keys.len() * IdempotencyKeys::RUN_BYTES);
        let (count, half_ends) = keys.write_run(self.now, &mut bytes);
        if count == 0 {
            return Ok(None);
        }
        let digest = Fast::sha256(&[&bytes]);
        let run = Run { head: self.head, part: self.part, from, until, count, half_ends, digest };
        self.source.snapshots.write(self.source.no, run.piece(), &bytes)?;
        self.part += 1;
        self.bytes += bytes.len() as u64;
        Ok(Some(run))
    }
}

fn signer_of(folded: &Folded) -> Option<String> {
    folded.state.signer().map(|signer| signer.vkey.clone())
}

fn damaged() -> Unfolded {
    Unfolded::Damaged("a run of its keys is damaged".to_owned())
}
