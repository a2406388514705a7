//! Workspaces in which nothing happens: their states leave memory, and come back from snapshot and
//! log when somebody asks for them. Owns who waits meanwhile; the reading has a thread of its own,
//! so that no other workspace waits for it.

use crate::fold::Unfolded;
use crate::host::Host;
use crate::load::Reading;
use crate::ports::{JournalReader, Signers, Snapshots, WorkspaceNo};
use crate::seat::Seat;
use crate::sequencer::{Message, Refusal};
use crate::workspace::Workspace;
use placet_engine::{Bounds, Counters, State, Tally};
use placet_types::event::OverrideMode;
use placet_types::ids::TimeMs;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::time::{Duration, Instant};

/// Messages that wait for one workspace at most.
const WAITING_MAX: usize = 1024;
/// Longest time between two looks for idle workspaces.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Leaves that the tree of an idle workspace keeps whole.
const WINDOW: u64 = placet_tlog::tree::TILE_LEAVES;

/// What is known of a workspace whether its state is in memory or not.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Totals.
    pub counters: Counters,
    /// Decisions waiting for people.
    pub held_open: usize,
    /// Executions that run, and those that wait for a place.
    pub executions: (usize, usize),
    /// Since when the oldest of them waits.
    pub oldest_held: Option<TimeMs>,
    /// Whether a kill switch is tripped: of everything, of the workspace.
    pub killed: [bool; 2],
    /// Stops in force, by [`OverrideMode::ALL`](placet_types::event::OverrideMode::ALL).
    pub overrides: [u64; 4],
    /// Raised with every change of the legal holds.
    pub legal_holds_version: u64,
    /// What is counted for people who oversee, since the log began.
    pub measured: Tally,
    /// Live exceptions, those of them that waive all of policy, and passages since genesis.
    pub exceptions: (usize, usize, u64),
    /// Reviews of exceptions that are not done.
    pub reviews_open: usize,
}

impl Summary {
    pub(crate) fn of(state: &State) -> Self {
        let (everything, own) = state.kill();
        Self {
            counters: *state.counters(),
            held_open: state.held_open(),
            executions: state.execution_places(),
            oldest_held: state.oldest_pending(),
            killed: [everything.is_some(), own.is_some()],
            overrides: OverrideMode::ALL.map(|mode| {
                state.overrides().filter(|(_, stopped)| stopped.mode == mode).count() as u64
            }),
            legal_holds_version: state.legal_holds_version(),
            measured: state.measures().total().clone(),
            exceptions: state.exception_counts(),
            reviews_open: state.exception_reviews().count(),
        }
    }
}

/// Totals for metrics.
#[derive(Debug, Default)]
pub struct IdleTotals {
    /// Workspaces whose state is not in memory now.
    pub away: AtomicU64,
    /// States that came back.
    pub revived: AtomicU64,
    /// Attempts to bring one back that failed.
    pub failed: AtomicU64,
}

/// A seat without its state.
struct Away {
    /// Its state is empty.
    seat: Seat,
    /// Entries of its log.
    size: u64,
    summary: Summary,
    /// Who waits, once its state is being read.
    waiting: Option<Vec<Message>>,
}

/// The workspaces that are away.
pub(crate) struct Idle {
    after: Option<Duration>,
    away: BTreeMap<WorkspaceNo, Away>,
    wanted: Sender<Wanted>,
    looked: Instant,
    totals: Arc<IdleTotals>,
}

/// A state that is to be read.
pub(crate) struct Wanted {
    shared: Arc<Workspace>,
    size: u64,
}

impl Idle {
    /// `after` so long without a message a state may go; `None`: never.
    pub(crate) fn new(
        after: Option<Duration>,
        wanted: Sender<Wanted>,
        totals: Arc<IdleTotals>,
    ) -> Self {
        Self { after, away: BTreeMap::new(), wanted, looked: Instant::now(), totals }
    }

    /// Whether nobody is away: the answer of most of the time, and cheap.
    pub(crate) fn is_empty(&self) -> bool {
        self.away.is_empty()
    }

    /// Takes a message to a workspace that is away and asks for its state; gives back one to a
    /// workspace that is here, and says whether one that cannot wait was meant for it.
    pub(crate) fn wait(&mut self, no: WorkspaceNo, message: Message) -> Result<(), Turned> {
        let Some(away) = self.away.get_mut(&no) else { return Err(Turned::Here(message)) };
        match &mut away.waiting {
            Some(waiting) if waiting.len() >= WAITING_MAX && !is_vital(&message) => {
                Err(Turned::Full(message))
            }
            Some(waiting) => {
                waiting.push(message);
                Ok(())
            }
            None => {
                let wanted = Wanted { shared: away.seat.shared.clone(), size: away.size };
                if self.wanted.send(wanted).is_err() {
                    return Err(Turned::Full(message));
                }
                away.waiting = Some(vec![message]);
                Ok(())
            }
        }
    }

    /// What is known of a workspace that is away.
    pub(crate) fn summary(&self, no: WorkspaceNo) -> Option<Summary> {
        self.away.get(&no).map(|away| away.summary.clone())
    }

    /// Seats of workspaces that are away: all but their state may change.
    pub(crate) fn seats(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.away.values_mut().map(|away| &mut away.seat)
    }

    /// Sends away what nobody has asked for and where time alone changes nothing. The first
    /// workspace stays: it holds the overrides of the instance.
    pub(crate) fn evict(&mut self, seats: &mut BTreeMap<WorkspaceNo, Seat>, now: Instant) {
        let Some(after) = self.after else { return };
        if now.duration_since(self.looked) < LOOK_MAX.min(after / 4) {
            return;
        }
        self.looked = now;
        self.send_away(seats, |seat| now.duration_since(seat.used) >= after);
    }

    /// Sends away what is `unused` and may go; how many.
    pub(crate) fn send_away(
        &mut self,
        seats: &mut BTreeMap<WorkspaceNo, Seat>,
        unused: impl Fn(&Seat) -> bool,
    ) -> u64 {
        let idle = |seat: &Seat| {
            unused(seat)
                && seat.state.next_timer().is_none()
                // Whether a review is overdue depends on the time.
                && seat.state.exception_reviews().next().is_none()
                // One that was never founded may be founded still, with a handle of its own.
                && seat.state.next_index() > 0
                // What is being flushed is not in the journal yet.
                && *seat.shared.size.borrow() == seat.state.next_index()
        };
        let before = self.away.len();
        for (no, mut seat) in seats.extract_if(WorkspaceNo(1).., |_, seat| idle(seat)) {
            seat.shared.keep_whole(WINDOW);
            let state = std::mem::replace(&mut seat.state, State::new(Bounds::default()));
            let (size, summary) = (state.next_index(), Summary::of(&state));
            self.away.insert(no, Away { seat, size, summary, waiting: None });
        }
        self.count();
        self.away.len().saturating_sub(before) as u64
    }

    /// Whether the state of some workspace has been asked for and is not back.
    pub(crate) fn is_read(&self) -> bool {
        self.away.values().any(|away| away.waiting.is_some())
    }

    /// A state has been read: its seat, if there is one to go back to, and who waited.
    pub(crate) fn back(
        &mut self,
        no: WorkspaceNo,
        state: Result<State, Unread>,
        now: Instant,
    ) -> (Option<Seat>, Vec<Message>, Option<Unread>) {
        match state {
            Ok(state) => {
                let Some(Away { mut seat, waiting, .. }) = self.away.remove(&no) else {
                    return (None, Vec::new(), None);
                };
                seat.shared.keep_whole(placet_tlog::tree::DEFAULT_WINDOW);
                seat.state = state;
                seat.used = now;
                self.totals.revived.fetch_add(1, Ordering::Relaxed);
                self.count();
                (Some(seat), waiting.unwrap_or_default(), None)
            }
            // It stays away; the next one who asks has it tried again.
            Err(why) => {
                self.totals.failed.fetch_add(1, Ordering::Relaxed);
                let waiting = self.away.get_mut(&no).and_then(|away| away.waiting.take());
                (None, waiting.unwrap_or_default(), Some(why))
            }
        }
    }

    fn count(&self) {
        self.totals.away.store(self.away.len() as u64, Ordering::Relaxed);
    }
}

/// Whether a message may not be turned away: what stops, and who signs.
fn is_vital(message: &Message) -> bool {
    use placet_engine::Command::{RevokePermit, RevokeSigner, RotateSigner, SucceedLog, Trip};
    let Message::Job(job) = message else { return false };
    matches!(
        job.command,
        Trip(_) | RevokePermit(_) | RotateSigner(_) | RevokeSigner(_) | SucceedLog(_)
    )
}

/// A message that does not wait here.
pub(crate) enum Turned {
    /// Its workspace is not away.
    Here(Message),
    /// Too many wait already.
    Full(Message),
}

/// Why a state did not come back.
#[derive(Clone)]
pub(crate) enum Unread {
    /// The store failed.
    Store(String),
    /// The log is not what was sealed.
    Damaged(String),
}

impl Unread {
    /// What those who waited are told.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Store(why) => Refusal::StoreFailed(why.clone()),
            Self::Damaged(what) => Refusal::Damaged(what.clone()),
        }
    }
}

/// Reads states back, one after the other.
pub(crate) struct Reviver {
    pub(crate) reader: Arc<dyn JournalReader>,
    pub(crate) snapshots: Arc<dyn Snapshots>,
    pub(crate) signers: Arc<dyn Signers>,
    pub(crate) instance: String,
    pub(crate) sequencer: SyncSender<Message>,
    pub(crate) host: Host,
}

impl Reviver {
    /// Until the sequencer ends.
    pub(crate) fn run(self, wanted: &Receiver<Wanted>) {
        while let Ok(wanted) = wanted.recv() {
            if !self.bring(wanted) {
                return;
            }
        }
    }

    /// Reads one state, if one is asked for. True when something was done.
    pub(crate) fn turn(&self, wanted: &Receiver<Wanted>) -> bool {
        wanted.try_recv().is_ok_and(|wanted| self.bring(wanted))
    }

    /// Reads a state and sends it back; false once nobody takes it any more.
    fn bring(&self, Wanted { shared, size }: Wanted) -> bool {
        // Whatever goes wrong in here, those who wait hear of it.
        let read = AssertUnwindSafe(|| self.read(&shared, size));
        let state = catch_unwind(read)
            .unwrap_or_else(|_| Err(Unfolded::Damaged("reading it ended in a defect".to_owned())));
        if let Err(error) = &state {
            let name = &shared.name;
            self.host.say(format_args!("the state of workspace {name} cannot be read: {error}"));
        }
        let state = state.map_err(|error| match error {
            Unfolded::Store(error) => Unread::Store(error.to_string()),
            error => Unread::Damaged(error.to_string()),
        });
        self.sequencer.send(Message::Back(shared.no, state.map(Box::new))).is_ok()
    }

    fn read(&self, shared: &Workspace, size: u64) -> Result<State, Unfolded> {
        let reading = Reading {
            reader: self.reader.as_ref(),
            snapshots: self.snapshots.as_ref(),
            signers: self.signers.as_ref(),
            instance: &self.instance,
        };
        let mut notices = Vec::new();
        let folded = reading.fold(shared.no, &shared.name, size, 1, &mut notices);
        for notice in notices {
            self.host.say(format_args!("{notice}"));
        }
        let (folded, _) = folded?;
        if folded.state.next_index() != size || folded.tree.root() != shared.tree().root() {
            let what = "the log is not the one that was signed".to_owned();
            return Err(Unfolded::Damaged(what));
        }
        Ok(folded.state)
    }
}
