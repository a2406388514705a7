//! The watch beside the store: threads of their own that see a kill request or a broken certificate
//! whatever else is stuck, stop everything at once, and have it recorded as soon as that can be.
//! Owns when a trip from outside takes effect; refuses to know how it is written.

use crate::armed;
use crate::error::PlaneError;
use crate::plane::Plane;
use crate::ports::{Lookout, PortError};
use placet_engine::Rejection;
use placet_types::event::{KillScope, KillSource};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// How often a kill request is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// At every so many looks the certificate is read.
const READ_EVERY: u32 = 10;
/// A certificate that cannot be opened is tried again so often: a process that is out of file
/// descriptors for a moment is not tampered with.
const UNREADABLE_MAX: u32 = 10;
/// Most certificates that may be there.
const CERTIFICATES_MAX: usize = 8;
/// A trip that could not be recorded is tried again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// What the watch and the plane tell each other.
#[derive(Default)]
pub(crate) struct Watched {
    /// Trips that have taken effect and are not recorded yet, each cause once, with the number of the last time
    /// that it came.
    unrecorded: Mutex<Vec<(KillSource, u64)>>,
    /// Times that any cause came: no two have one number.
    came: AtomicU64,
    woken: Condvar,
    /// The plane goes down.
    over: AtomicBool,
    /// Lifts and the like under way, while which the certificate may be any.
    in_transit: AtomicUsize,
    /// Everything is tripped because somebody tampered with the certificate or the log.
    tampered: AtomicBool,
    /// Raised with every lift of everything.
    lifts: AtomicU64,
    /// A certificate is to be written, and is not yet.
    owed: AtomicBool,
    /// What the certificate may be: what was written last and, while another is written, that.
    certificates: Mutex<Vec<Vec<u8>>>,
    /// Whether a thread watches; else housekeeping does.
    pub(crate) threaded: AtomicBool,
}

/// While this lives, the certificate is not looked at.
pub(crate) struct Transit<'a>(&'a Watched);

impl Drop for Transit<'_> {
    fn drop(&mut self) {
        self.0.in_transit.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Watched {
    /// Something begins that takes the certificate away and writes it again.
    pub(crate) fn in_transit(&self) -> Transit<'_> {
        self.in_transit.fetch_add(1, Ordering::SeqCst);
        Transit(self)
    }

    /// A certificate is about to be written; until it is, the one before it is as good.
    pub(crate) fn writes(&self, certificate: &[u8]) {
        self.owed.store(true, Ordering::SeqCst);
        let mut certificates = self.certificates();
        certificates.retain(|known| known != certificate);
        certificates.push(certificate.to_vec());
        // Those that could not be written; the oldest of them is not there any more.
        if certificates.len() > CERTIFICATES_MAX {
            certificates.remove(0);
        }
    }

    /// Whether the certificate that has to be there could not be written.
    pub(crate) fn owes(&self) -> bool {
        self.owed.load(Ordering::SeqCst)
    }

    /// Whether a certificate has been written, and is to be there.
    pub(crate) fn expects_one(&self) -> bool {
        !self.owes() && !self.certificates().is_empty()
    }

    /// It is written: no other counts any more.
    pub(crate) fn has_written(&self, certificate: &[u8]) {
        self.owed.store(false, Ordering::SeqCst);
        *self.certificates() = vec![certificate.to_vec()];
    }

    /// There is to be none: everything is tripped.
    pub(crate) fn has_none(&self) {
        self.owed.store(false, Ordering::SeqCst);
        self.certificates().clear();
    }

    /// Everything was lifted: a request that is still there is another one.
    pub(crate) fn lifted(&self) {
        self.tampered.store(false, Ordering::SeqCst);
        self.lifts.fetch_add(1, Ordering::SeqCst);
    }

    /// A trip of everything takes effect, or is found to be in force.
    pub(crate) fn tripped(&self, source: KillSource) {
        self.tampered.fetch_or(source.is_tampering(), Ordering::SeqCst);
    }

    pub(crate) fn is_tampered(&self) -> bool {
        self.tampered.load(Ordering::SeqCst)
    }

    /// Nobody need record anything any more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        // Held for a moment, so that a recorder between its look and its wait hears of it.
        drop(self.unrecorded());
        self.woken.notify_all();
    }

    /// Trips that are not recorded yet. While this is held, none takes effect.
    pub(crate) fn unrecorded(&self) -> MutexGuard<'_, Vec<(KillSource, u64)>> {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last time that a cause came, if that is not recorded yet.
    pub(crate) fn asked(&self, source: KillSource) -> Option<u64> {
        let waiting = self.unrecorded();
        waiting.iter().find(|(known, _)| *known == source).map(|(_, asked)| *asked)
    }

    /// A trip is in the first log. From here on a lift is not kept waiting for the rest of it; what came since is
    /// another trip.
    pub(crate) fn recorded(&self, source: KillSource, asked: u64) {
        self.unrecorded().retain(|waiting| *waiting != (source, asked));
    }

    fn certificates(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cause of a trip that waits to be recorded, the oldest first.
    fn next(&self) -> Option<KillSource> {
        let waiting = self.unrecorded();
        let (waiting, _) = self
            .woken
            .wait_timeout_while(waiting, AGAIN, |waiting| {
                waiting.is_empty() && !self.over.load(Ordering::SeqCst)
            })
            .unwrap_or_else(PoisonError::into_inner);
        waiting.first().map(|(source, _)| *source)
    }
}

/// What a watcher has seen so far.
#[derive(Default)]
pub(crate) struct Seen {
    requested: bool,
    lifts: u64,
    unreadable: u32,
}

impl Plane {
    /// Stops everything before this returns, and has it recorded as soon as that can be. Waits for no
    /// store, no queue and no other task.
    pub fn trip_at_once(&self, source: KillSource) {
        let mut unrecorded = self.watched.unrecorded();
        let came = self.watched.came.fetch_add(1, Ordering::SeqCst);
        match unrecorded.iter_mut().find(|(known, _)| *known == source) {
            Some((_, asked)) => *asked = came,
            None => unrecorded.push((source, came)),
        }
        self.watched.tripped(source);
        for workspace in &self.workspaces.load().all {
            workspace.stop();
        }
        self.watched.woken.notify_all();
    }

    /// Whether everything is tripped because somebody tampered with the certificate or the log.
    #[must_use]
    pub fn is_tampered(&self) -> bool {
        self.watched.is_tampered()
    }

    /// One look for a kill request, and for the certificate if it is its turn: what trips
    /// everything.
    pub(crate) fn look_beside(
        &self,
        seen: &mut Seen,
        requested: bool,
        certificate: Option<Read>,
    ) -> Option<KillSource> {
        let lifts = self.watched.lifts.load(Ordering::SeqCst);
        let known = std::mem::replace(&mut seen.requested, requested);
        let lifted = std::mem::replace(&mut seen.lifts, lifts) != lifts;
        if requested && (!known || lifted) {
            return Some(KillSource::File);
        }
        let Read { found, set_aside, written } = certificate?;
        // Killed, there is to be none. Else what is there is what was written last.
        let watched = &self.watched;
        let free = |plane: &Self| {
            watched.in_transit.load(Ordering::SeqCst) == 0
                && plane.root().is_some_and(|root| !root.is_killed())
        };
        if !free(self) {
            return None;
        }
        let found = match found {
            Ok(found) => found,
            Err(_) if seen.unreadable < UNREADABLE_MAX => {
                seen.unreadable += 1;
                return None;
            }
            Err(_) => None,
        };
        seen.unreadable = 0;
        // Where it could not be written, or nobody has begun to, nobody has tampered with it.
        // Nor where somebody has set it aside as a kill does: `placet kill --local` on a full disk.
        let by_hand =
            set_aside.is_some_and(|it| written.iter().any(|known| armed::is_cut_from(&it, known)));
        let ours = found.is_none() && (by_hand || watched.owes() || written.is_empty());
        let good = found.is_some_and(|found| written.contains(&found));
        // What was read while another one was written says nothing.
        let same = *watched.certificates() == written;
        let source = if ours { KillSource::Interrupted } else { KillSource::Certificate };
        (!good && same && free(self)).then_some(source)
    }

    /// The certificate that is there, with those that may be.
    pub(crate) fn read_beside(
        &self,
        read: impl FnOnce() -> Result<Option<Vec<u8>>, PortError>,
        read_disarmed: impl FnOnce() -> Result<Option<Vec<u8>>, PortError>,
    ) -> Read {
        let written = self.watched.certificates().clone();
        let found = read();
        let missing = matches!(found, Ok(None));
        let set_aside = if missing { read_disarmed().unwrap_or_default() } else { None };
        Read { found, set_aside, written }
    }
}

/// A certificate as it was read, and what it might have been before it was.
pub(crate) struct Read {
    found: Result<Option<Vec<u8>>, PortError>,
    /// Where there is none, the one that is set aside.
    set_aside: Option<Vec<u8>>,
    written: Vec<Vec<u8>>,
}

/// Until the plane is gone or goes down.
pub(crate) fn watch(plane: &Weak<Plane>, lookout: &dyn Lookout) {
    let mut seen = Seen::default();
    let mut looks = 0_u32;
    loop {
        match plane.upgrade().filter(|plane| !plane.stopping.load(Ordering::SeqCst)) {
            None => return,
            Some(plane) => {
                looks = looks.wrapping_add(1);
                let requested = lookout.kill_requested();
                let read = looks.is_multiple_of(READ_EVERY);
                let read = read.then(|| {
                    plane.read_beside(|| lookout.read_armed(), || lookout.read_disarmed())
                });
                if let Some(source) = plane.look_beside(&mut seen, requested, read) {
                    plane.trip_at_once(source);
                    plane.host.say(format_args!("{}", said(source)));
                }
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Has trips recorded that have taken effect. Until the plane is gone or goes down.
pub(crate) fn record(plane: &Weak<Plane>, watched: &Watched) {
    // A log may lack what the first one says.
    let mut behind = false;
    loop {
        let source = watched.next();
        let Some(plane) = plane.upgrade() else { return };
        if plane.stopping.load(Ordering::SeqCst) {
            return;
        }
        let done = match source {
            Some(source) => block_on(plane.trip(None, KillScope::Everything, source, None)),
            None if behind => block_on(plane.follow_trips()),
            None => continue,
        };
        match done {
            Ok(()) | Err(PlaneError::Rejected(Rejection::LiftedMeanwhile)) => behind = false,
            Err(error) => {
                if !std::mem::replace(&mut behind, true) {
                    plane.host.say(format_args!(
                        "the kill is in effect, and not recorded in every log: {error}"
                    ));
                }
                drop(plane);
                std::thread::sleep(AGAIN);
            }
        }
    }
}

fn said(source: KillSource) -> &'static str {
    match source {
        KillSource::Certificate => {
            "the armed certificate is missing, altered or rolled back: the kill switch of everything \
             is tripped"
        }
        KillSource::Interrupted => {
            "the armed certificate is set aside, or could not be written after a lift: the kill switch of \
             everything is tripped"
        }
        _ => "a kill was asked for beside the store: the kill switch of everything is tripped",
    }
}

/// Runs a future on this thread, on no runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut ctx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut ctx) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
