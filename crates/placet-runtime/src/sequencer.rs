//! The sequencer: one thread that owns every state, stamps time, steps commands in the order of
//! their arrival, and hands closed batches to the committer. Batches adapt: a lone command leaves
//! at once; under load they grow while the one before is being flushed.

use crate::clock::Stamp;
use crate::committer::Errand;
use crate::crypto::Fast;
use crate::directory::Directory;
use crate::everything::may_follow;
use crate::halts::Handed;
use crate::idle::{Idle, Summary, Turned, Unread};
use crate::ports::WorkspaceNo;
use crate::privacy::Doomed;
use crate::seat::Seat;
use crate::sessions::{self, SessionRecord};
use crate::signing::{Signing, go_on, hand_over};
use crate::workspace::{InForce, Workspace};
use placet_engine::{Command, Evidence, Follow, LogSigner, Plan, Rejection, State, step};
use placet_policy::Bundle;
use placet_types::Digest;
use placet_types::event::{Entry, Event, KillScope, OverrideMode};
use placet_types::ids::{TimeMs, WorkspaceName};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Most commands in a batch.
const BATCH_MAX: usize = 1024;
/// Most bytes of frames in a batch.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Longest wait for a batch to grow, once others are known to be on their way.
const GROW_MAX: Duration = Duration::from_micros(2500);
/// How long it sleeps in between.
const GROW_STEP: Duration = Duration::from_micros(100);
/// How often expiry is looked for.
const TICK: Duration = Duration::from_millis(50);

/// A payload, sealed before the command is sequenced.
pub(crate) struct Payload {
    pub(crate) slot: u64,
    pub(crate) sealed: Vec<u8>,
    pub(crate) commitment: Digest,
}

/// A command with its payload and where the answer goes.
pub(crate) struct Job {
    pub(crate) workspace: WorkspaceNo,
    pub(crate) command: Command,
    pub(crate) payload: Payload,
    pub(crate) reply: Reply,
    /// What its entries put in force.
    pub(crate) next: Next,
}

/// What is in force once the entries of a job are durable.
#[derive(Default)]
pub(crate) enum Next {
    /// What was before.
    #[default]
    None,
    /// For a rotation: the key that follows.
    Signing(Arc<Signing>),
    /// For an arming: the bundle.
    Bundle(Arc<Bundle>),
    /// For a session: what its entry does not say.
    Session(Arc<SessionRecord>),
}

/// Where an answer goes.
pub(crate) enum Reply {
    /// To whoever asked.
    Caller(oneshot::Sender<Answer>),
    /// To the caller of a permit that a kill overtook: its entries, and that it is revoked.
    Overtaken(oneshot::Sender<Answer>, Written),
}

impl Reply {
    /// A caller that has gone away is no reason to stop: its decision is in the log.
    pub(crate) fn send(self, answer: Answer) {
        let _ = match self {
            Self::Caller(caller) => caller.send(answer),
            Self::Overtaken(caller, written) => caller.send(answer.map(|_| Done {
                written: Some(written),
                bound: None,
                revoked: true,
            })),
        };
    }
}

/// What a job comes to, once its batch is durable.
pub(crate) type Answer = Result<Done, Refusal>;

/// A durable outcome.
pub(crate) struct Done {
    /// What was written, or `None` when there was nothing to write.
    pub(crate) written: Option<Written>,
    /// The plan's index for `Plan::Bound`.
    pub(crate) bound: Option<u64>,
    /// A kill came between deciding and flushing: its permit is revoked.
    pub(crate) revoked: bool,
}

/// Where a job's entries stand.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) batch: Arc<crate::workspace::Committed>,
    pub(crate) range: Range<usize>,
}

impl Written {
    /// The events with their log indices.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, &Event)> {
        let entries = self.batch.entries.get(self.range.clone()).unwrap_or_default();
        let first = self.batch.first_index + self.range.start as u64;
        (first..).zip(entries.iter().map(|entry| &entry.event))
    }
}

/// Why a job was not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    Rejected(Rejection),
    ClockUnsure,
    StoreFailed(String),
    TooLarge,
    NoWorkspace,
    PolicyMoved,
    /// The log of an idle workspace is not what was sealed.
    Damaged(String),
    /// Too many wait for a state that is being read.
    Busy,
    /// A handover could not be written.
    Signing(String),
}

/// What the sequencer reads.
pub(crate) enum Message {
    Job(Box<Job>),
    /// Looks at a state; the answer leaves with the batch it may have seen.
    Query(WorkspaceNo, Look),
    /// Asks what is known of a workspace, without bringing back a state that is away.
    Summary(WorkspaceNo, Glance),
    /// A state has been read, or why not.
    Back(WorkspaceNo, Result<Box<State>, Unread>),
    AddSeat(Box<Seat>),
    /// Registers a workspace in the store, which the committer owns.
    CreateWorkspace(WorkspaceName, oneshot::Sender<Result<WorkspaceNo, String>>),
    /// Keeps the bytes of a bundle in the store.
    KeepBundle(Arc<Bundle>, oneshot::Sender<Result<(), String>>),
    ConfirmClock,
    Wake,
    Shutdown,
}

/// Looks at a state and leaves what to do once all it saw is durable.
pub(crate) type Look = Box<dyn FnOnce(Result<&State, Refusal>) -> Release + Send>;

/// The same of a summary.
pub(crate) type Glance = Box<dyn FnOnce(Option<Summary>) -> Release + Send>;

/// Something to be done once everything before it is durable.
pub(crate) type Release = Box<dyn FnOnce() + Send>;

/// Consecutive entries of one workspace, not durable yet.
pub(crate) struct Open {
    pub(crate) shared: Arc<Workspace>,
    pub(crate) epoch: u64,
    pub(crate) first_index: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) spans: Vec<Range<usize>>,
    pub(crate) frames: Vec<u8>,
    pub(crate) approvals_changed: bool,
    pub(crate) overrides_changed: bool,
    /// What these entries say is erased.
    pub(crate) doomed: Vec<Doomed>,
    /// The keys of the log after these entries, where they change them.
    pub(crate) signers: Option<Vec<LogSigner>>,
    /// The key that these entries hand over to.
    pub(crate) signing: Option<Arc<Signing>>,
    /// All evidence after these entries, where they change it.
    pub(crate) evidence: Option<Evidence>,
    /// What decides after these entries, where they change it.
    pub(crate) policy: Option<InForce>,
    /// What these entries stop, so that no permit of it leaves with them.
    pub(crate) stopped: Vec<(KillScope, OverrideMode)>,
    /// The roles that nobody has after these entries, where they change them.
    pub(crate) roles: Option<BTreeSet<String>>,
}

/// Something besides the log that the thread has to do that owns the store.
pub(crate) enum Chore {
    /// Register a workspace.
    Found(WorkspaceName, oneshot::Sender<Result<WorkspaceNo, String>>),
    /// Keep the bytes of a bundle.
    Keep(Arc<Bundle>, oneshot::Sender<Result<(), String>>),
}

/// An answer that waits for its batch.
pub(crate) struct Pending {
    pub(crate) reply: Reply,
    pub(crate) answer: Result<PendingDone, Refusal>,
}

pub(crate) struct PendingDone {
    pub(crate) workspace: WorkspaceNo,
    pub(crate) range: Option<Range<usize>>,
    pub(crate) bound: Option<u64>,
    /// Permits that this answer would hand out.
    pub(crate) permits: Vec<Handed>,
}

/// A closed batch on its way to the committer.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) open: BTreeMap<WorkspaceNo, Open>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) releases: Vec<Release>,
    pub(crate) chores: Vec<Chore>,
    pub(crate) bytes: usize,
}

/// Counters that the plane shows and the batching reads.
#[derive(Default)]
pub(crate) struct Gauges {
    /// Requests in the plane that have no answer yet.
    pub(crate) outstanding: AtomicUsize,
    /// Set once the store has failed: nothing is decided any more.
    pub(crate) failed: AtomicBool,
    pub(crate) clock_unsure: AtomicBool,
}

pub(crate) struct Sequencer {
    pub(crate) seats: BTreeMap<WorkspaceNo, Seat>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) inbox: Receiver<Message>,
    pub(crate) urgent: Receiver<Job>,
    pub(crate) committer: SyncSender<Errand>,
    pub(crate) stamp: Stamp,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) idle: Idle,
    /// When time was looked at last.
    pub(crate) ticked: Instant,
}

impl Sequencer {
    pub(crate) fn run(mut self) {
        let mut expected = 1.0_f64;
        loop {
            let first = match self.inbox.recv_timeout(TICK) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut work = Work::default();
            let opened = Instant::now();
            let mut stop = false;
            let mut taken = 0_usize;
            let unanswered = self.gauges.outstanding.load(Ordering::Relaxed) as f64;
            // The number of callers in a closed loop shows as a steadily high number of unanswered
            // requests; most of them arrive while the others are being flushed. A mean that
            // forgets within a few batches: after a stall of an open loop nobody waits for callers
            // that are not there.
            expected += (unanswered - expected) * 0.2;
            let target = ((expected * 0.6) as usize).clamp(1, BATCH_MAX);
            if let Some(first) = first {
                taken += 1;
                stop |= self.take(first, &mut work);
            }
            while !stop && taken > 0 && taken < BATCH_MAX && work.bytes < BATCH_BYTES_MAX {
                let message = match self.inbox.try_recv() {
                    Ok(message) => message,
                    Err(_) if taken >= target || opened.elapsed() >= GROW_MAX => break,
                    Err(_) => {
                        // Asleep, not waiting in the channel: else every arrival would wake it.
                        std::thread::sleep(GROW_STEP);
                        continue;
                    }
                };
                taken += 1;
                stop |= self.take(message, &mut work);
            }
            let tick = self.ticked.elapsed() >= TICK;
            if tick {
                self.ticked = Instant::now();
            }
            self.close(&mut work, tick);
            if !work.is_empty() && self.committer.send(Errand::Work(work)).is_err() {
                return;
            }
            if stop {
                return;
            }
        }
    }

    /// One batch of at most `most` of the messages that wait: what a loop of [`run`](Self::run) does
    /// without waiting. True when the last message was among them.
    pub(crate) fn turn(&mut self, most: usize, tick: bool) -> (Option<Work>, bool) {
        let mut work = Work::default();
        let mut stop = false;
        let mut taken = 0;
        while !stop && taken < most.min(BATCH_MAX) && work.bytes < BATCH_BYTES_MAX {
            let Ok(message) = self.inbox.try_recv() else { break };
            taken += 1;
            stop |= self.take(message, &mut work);
        }
        self.close(&mut work, tick);
        ((!work.is_empty()).then_some(work), stop)
    }

    /// What belongs into a batch besides the messages: revocations, and expiry when it is time.
    fn close(&mut self, work: &mut Work, tick: bool) {
        while let Ok(job) = self.urgent.try_recv() {
            self.take(Message::Job(Box::new(job)), work);
        }
        if tick {
            self.tick(work);
            self.idle.evict(&mut self.seats, self.ticked);
        }
    }

    /// Handles one message; true when it was the last.
    fn take(&mut self, message: Message, work: &mut Work) -> bool {
        let wanted = match &message {
            Message::Job(job) => Some(job.workspace),
            Message::Query(workspace, _) => Some(*workspace),
            _ => None,
        };
        let message = match wanted.filter(|_| !self.idle.is_empty()) {
            None => message,
            Some(workspace) => match self.idle.wait(workspace, message) {
                Ok(()) => return false,
                Err(Turned::Here(message)) => message,
                Err(Turned::Full(message)) => {
                    refuse(message, Refusal::Busy, work);
                    return false;
                }
            },
        };
        match message {
            Message::Job(job) => self.job(*job, work),
            Message::Query(workspace, look) => {
                let seat = self.seats.get_mut(&workspace).ok_or(Refusal::NoWorkspace);
                let state = seat.map(|seat| {
                    seat.used = self.ticked;
                    &seat.state
                });
                work.releases.push(look(state));
            }
            Message::Summary(workspace, glance) => {
                let seat = self.seats.get(&workspace);
                let here = seat.map(|seat| Summary::of(&seat.state));
                work.releases.push(glance(here.or_else(|| self.idle.summary(workspace))));
            }
            Message::Back(workspace, state) => {
                let state = state.map(|state| *state);
                let (seat, waiting, why) = self.idle.back(workspace, state, self.ticked);
                self.seats.extend(seat.map(|seat| (workspace, seat)));
                for message in waiting {
                    match &why {
                        Some(why) => refuse(message, why.refusal(), work),
                        None => drop(self.take(message, work)),
                    }
                }
            }
            Message::AddSeat(seat) => {
                self.seats.insert(seat.shared.no, *seat);
            }
            Message::CreateWorkspace(name, reply) => work.chores.push(Chore::Found(name, reply)),
            Message::KeepBundle(bundle, reply) => work.chores.push(Chore::Keep(bundle, reply)),
            Message::ConfirmClock => {
                let (from, to) = self.stamp.confirm();
                self.gauges.clock_unsure.store(false, Ordering::SeqCst);
                if from.0 > 0 && to > from {
                    for seat in self.seats.values_mut().chain(self.idle.seats()) {
                        // The gap of a restart begins earlier: it says more.
                        seat.gap.get_or_insert_with(|| "clock".to_owned());
                    }
                }
            }
            Message::Wake => {}
            Message::Shutdown => return true,
        }
        false
    }

    fn job(&mut self, job: Job, work: &mut Work) {
        let Job { workspace, command, payload, reply, next } = job;
        let answer = self.process(workspace, &command, payload, next, work);
        work.pending.push(Pending { reply, answer });
    }

    fn process(
        &mut self,
        workspace: WorkspaceNo,
        command: &Command,
        payload: Payload,
        next: Next,
        work: &mut Work,
    ) -> Result<PendingDone, Refusal> {
        if self.gauges.failed.load(Ordering::SeqCst) {
            return Err(Refusal::StoreFailed("the store has failed".to_owned()));
        }
        let Some(now) = self.stamp.now() else {
            self.gauges.clock_unsure.store(true, Ordering::SeqCst);
            // A kill is taken whatever the clock says; it needs no right time to be right.
            return match command {
                Command::Trip(_) | Command::Follow(Follow::Trip { .. }) => {
                    let last = self.stamp.last();
                    self.write(workspace, command, payload, Next::None, last, work)
                }
                _ => Err(Refusal::ClockUnsure),
            };
        };
        self.write(workspace, command, payload, next, now, work)
    }

    fn write(
        &mut self,
        workspace: WorkspaceNo,
        command: &Command,
        payload: Payload,
        next: Next,
        now: TimeMs,
        work: &mut Work,
    ) -> Result<PendingDone, Refusal> {
        may_follow(&self.seats, command)?;
        let seat = self.seats.get_mut(&workspace).ok_or(Refusal::NoWorkspace)?;
        seat.used = self.ticked;
        let now = now.max(seat.state.time());
        if seat.renamed && !matches!(command, Command::SucceedLog(_)) {
            return Err(Refusal::Signing("the log has not said yet how it is called".to_owned()));
        }
        // Before anything is decided: the mode of this run (development, solo) is in state from the
        // first entry on, not only after it.
        seat.close_gap(work, now)?;
        let policy = seat.state.policy();
        let differs = |evaluated: Option<Digest>| {
            evaluated != policy && !(evaluated.is_none() && seat.shared.has_lost(policy))
        };
        let moved = match command {
            Command::Decide(decide) => differs(decide.verdict.policy),
            Command::Vote(vote) => differs(vote.verdict.policy),
            Command::Collect(collect) => differs(collect.verdict.policy),
            Command::ArmUnder(arm) => differs(arm.verdict.policy),
            Command::OpenException(open) => differs(open.policy),
            Command::StartExecution(start) => differs(start.policy),
            Command::Erase(erase) => erase.policy != policy,
            Command::OpenSession(open) => open.by.is_none() && differs(open.policy),
            _ => false,
        };
        if moved {
            return Err(Refusal::PolicyMoved);
        }
        // Only here it is known which index a handover has to name, and which sessions are open.
        let handed = match (command, &next) {
            (_, Next::Bundle(bundle)) => {
                sessions::narrowing(command, &seat.state, &self.directory, bundle, now)
            }
            (Command::RotateSigner(rotate), Next::Signing(next)) => {
                let (current, index) = (seat.shared.signing(), seat.state.next_index());
                Some(hand_over(rotate, &current, next, index).map_err(Refusal::Signing)?)
            }
            (Command::SucceedLog(succeed), Next::Signing(next)) => {
                let (current, index) = (seat.shared.signing(), seat.state.next_index());
                Some(go_on(succeed, &current, next, index).map_err(Refusal::Signing)?)
            }
            _ => None,
        };
        let command = handed.as_ref().unwrap_or(command);
        let plan = step::<Fast>(&seat.state, command, now).map_err(Refusal::Rejected)?;
        let done = |range, bound, permits| PendingDone { workspace, range, bound, permits };
        match plan {
            Plan::Nothing => Ok(done(None, None, Vec::new())),
            Plan::Bound { index } => Ok(done(None, Some(index), Vec::new())),
            Plan::Append(events) => {
                let permits = seat.permits(&events, command);
                let range = seat.append(work, events, payload, now)?;
                seat.renamed = false;
                if let Some(open) = work.open.get_mut(&workspace) {
                    match next {
                        Next::None => {}
                        Next::Signing(signing) => open.signing = Some(signing),
                        Next::Bundle(bundle) if seat.state.policy() == Some(bundle.digest()) => {
                            open.policy = Some(InForce::of(Some(bundle)));
                        }
                        // The command came to something else.
                        Next::Bundle(_) => {}
                        // From here on a bundle that comes into force finds it; it opens nothing yet.
                        Next::Session(record) => self.directory.open(record, now),
                    }
                }
                if matches!(command, Command::ArmUnder(arm) if !arm.narrowed.is_empty()) {
                    self.directory.sessions.follow(workspace, &seat.state);
                }
                Ok(done(Some(range), None, permits))
            }
        }
    }

    fn tick(&mut self, work: &mut Work) {
        if self.gauges.failed.load(Ordering::SeqCst) {
            return;
        }
        let Some(now) = self.stamp.now() else {
            self.gauges.clock_unsure.store(true, Ordering::SeqCst);
            return;
        };
        for seat in self.seats.values_mut() {
            if seat.renamed || seat.state.next_timer().is_none_or(|at| at > now) {
                continue;
            }
            if seat.close_gap(work, now).is_err() {
                continue;
            }
            if let Ok(Plan::Append(events)) = step::<Fast>(&seat.state, &Command::Tick, now) {
                // Expiry holds nothing personal: its payload is empty and needs no secret slot.
                // A failure here shows again at the next tick; what has expired stays expired.
                let _ = seat.append(work, events, Payload::empty(), now);
            }
        }
    }
}

/// Turns a message away that a state was wanted for.
fn refuse(message: Message, refusal: Refusal, work: &mut Work) {
    match message {
        Message::Job(job) => work.pending.push(Pending { reply: job.reply, answer: Err(refusal) }),
        Message::Query(_, look) => work.releases.push(look(Err(refusal))),
        _ => {}
    }
}

impl Payload {
    /// The payload of events that hold nothing personal: slot 0 is never a secret's number, and
    /// the commitment to nothing is a constant.
    pub(crate) fn empty() -> Self {
        Self { slot: 0, sealed: Vec::new(), commitment: Digest([0; 32]) }
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        self.open.is_empty()
            && self.pending.is_empty()
            && self.releases.is_empty()
            && self.chores.is_empty()
    }
}

/// Counts a request as unanswered until dropped: what the batching looks at.
pub(crate) struct Outstanding<'a>(&'a Gauges);

impl<'a> Outstanding<'a> {
    pub(crate) fn new(gauges: &'a Gauges) -> Self {
        gauges.outstanding.fetch_add(1, Ordering::Relaxed);
        Self(gauges)
    }
}

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}
