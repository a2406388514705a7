//! Driving an instance from one thread, step by step: what a simulator needs, and nothing else. The
//! parts are the ones that `Plane::start` gives a thread each; here somebody else says whose turn it
//! is. Owns no decision and no rule of its own.

use crate::boot::{Options, Parts, Stores, assemble};
use crate::committer::Flushed;
use crate::directory::ApiKey;
use crate::follower::Next;
use crate::host::Host;
use crate::plane::Plane;
use crate::sequencer::{Message, Work};
use crate::start_error::StartError;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Batches that the sequencer may be ahead of the committer, as with threads: one is handed over,
/// one waits in the channel.
const AHEAD_MAX: usize = 2;
/// Commands in a turn of a stop.
const STOP_TURN: usize = usize::MAX;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Payload slots are created or destroyed.
    Slots,
    /// Commands are stepped and closed into a batch.
    Sequencer,
    /// The oldest batch is made durable; nothing of it is answered.
    Flush,
    /// The answers of the batch that was flushed leave.
    Answers,
    /// The read model follows.
    ReadModel,
    /// The snapshotter follows, and saves what is due.
    Snapshots,
    /// The state of a workspace that was idle is read back.
    Revive,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Slots,
        Self::Sequencer,
        Self::Flush,
        Self::Answers,
        Self::ReadModel,
        Self::Snapshots,
        Self::Revive,
    ];
}

/// An instance without threads. Dropping it is a crash: what was not flushed is gone.
pub struct Driver {
    plane: Arc<Plane>,
    parts: Parts,
    ahead: VecDeque<Work>,
    flushed: Option<Flushed>,
    followed: bool,
}

impl Driver {
    /// Folds and compares what is stored, as `Plane::start` does, with what is worth saying.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn assemble(
        stores: Stores,
        options: &Options,
        host: Host,
    ) -> Result<(Self, Vec<String>), StartError> {
        let (plane, parts, notices) = assemble(stores, options, host)?;
        let (ahead, flushed) = (VecDeque::new(), None);
        Ok((Self { plane, parts, ahead, flushed, followed: false }, notices))
    }

    /// The rest of a start: founding, arming, comparing. It needs turns to come to an end.
    pub fn settle(
        &self,
        options: Options,
    ) -> impl Future<Output = Result<(Option<ApiKey>, Vec<String>), StartError>> + use<> {
        let plane = self.plane.clone();
        async move {
            let mut notices = Vec::new();
            let bootstrap = plane.settle(&options, &mut notices).await?;
            Ok((bootstrap, notices))
        }
    }

    /// What has to be looked after while running; two loops that end when the plane stops.
    pub fn housekeeping(&self) -> [std::pin::Pin<Box<dyn Future<Output = ()> + Send>>; 2] {
        [Box::pin(self.plane.clone().watch()), Box::pin(self.plane.clone().retire())]
    }

    /// The plane.
    #[must_use]
    pub fn plane(&self) -> &Arc<Plane> {
        &self.plane
    }

    /// Whether a part is known to have something to do. Of the sequencer it is not known.
    #[must_use]
    pub fn is_wanting(&self, part: Part) -> bool {
        match part {
            Part::Slots => self.plane.pool.is_wanting(),
            Part::Sequencer => self.ahead.len() < AHEAD_MAX,
            Part::Flush => !self.ahead.is_empty() && self.flushed.is_none(),
            Part::Answers => self.flushed.is_some(),
            Part::ReadModel => !self.followed || !self.plane.recent.is_empty(),
            Part::Snapshots => !self.followed || !self.plane.followed.is_empty(),
            Part::Revive => self.parts.sequencer.idle.is_read(),
        }
    }

    /// Whether payload slots are so few that a caller might wait for some, which on a single thread
    /// would be for ever: it is the turn of [`Part::Slots`].
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.plane.pool.is_starved()
    }

    /// One step of a part; of the sequencer with at most `most` commands, and with a look at what
    /// has expired where `tick` says so. True when something was done.
    pub fn turn(&mut self, part: Part, most: usize, tick: bool) -> bool {
        if !self.is_wanting(part) {
            return false;
        }
        match part {
            Part::Slots => {
                self.plane.pool.turn(self.parts.slots.as_mut());
            }
            Part::Sequencer => {
                let (work, _) = self.parts.sequencer.turn(most, tick);
                let some = work.is_some();
                self.ahead.extend(work);
                return some;
            }
            Part::Flush => {
                let work = self.ahead.pop_front();
                self.flushed = work.map(|work| self.parts.committer.flush(work));
            }
            Part::Answers => {
                if let Some(flushed) = self.flushed.take() {
                    self.parts.committer.answer(flushed);
                }
            }
            Part::Revive => return self.parts.reviver.turn(&self.parts.wanting),
            Part::ReadModel | Part::Snapshots => {
                if !self.followed {
                    self.followed = true;
                    self.parts.follower.begin();
                    self.parts.snapshotter.begin_behind();
                }
                match part {
                    Part::ReadModel => {
                        return self.parts.follower.turn(Duration::ZERO) != Next::Pause;
                    }
                    _ => drop(self.parts.snapshotter.turn(Duration::ZERO)),
                }
            }
        }
        true
    }

    /// Lets the journal tidy up, and the snapshotter save what has come to rest.
    pub fn idle(&mut self) {
        self.parts.committer.idle();
        if self.followed {
            self.parts.snapshotter.turn(Duration::ZERO);
        }
    }

    /// Sends every state away that may go, as if nobody had asked for it in a long time; how many.
    pub fn send_away(&mut self) -> u64 {
        let sequencer = &mut self.parts.sequencer;
        sequencer.idle.send_away(&mut sequencer.seats, |_| true)
    }

    /// Stops as `Started::stop` does: what was taken still becomes durable.
    pub fn stop(mut self) {
        let plane = self.plane.clone();
        plane.stopping.store(true, Ordering::SeqCst);
        let mut last = plane.inbox.try_send(Message::Shutdown).is_err();
        plane.pool.close();
        // Whoever waits for it hears that it was not done.
        plane.pool.turn(self.parts.slots.as_mut());
        while !last {
            let (work, stop) = self.parts.sequencer.turn(STOP_TURN, false);
            self.ahead.extend(work);
            last = stop;
        }
        if let Some(flushed) = self.flushed.take() {
            self.parts.committer.answer(flushed);
        }
        while let Some(work) = self.ahead.pop_front() {
            let flushed = self.parts.committer.flush(work);
            self.parts.committer.answer(flushed);
        }
        if let Err(error) = plane.mark(&mut HashMap::new()) {
            plane.host.say(format_args!("the high-water mark could not be raised: {error}"));
        }
        plane.recent.close();
        plane.followed.close();
        let Parts { mut follower, mut snapshotter, .. } = self.parts;
        while follower.turn(Duration::ZERO) == Next::Turn {}
        while snapshotter.turn(Duration::ZERO) {}
        snapshotter.stop();
    }
}
