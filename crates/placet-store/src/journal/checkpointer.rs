//! Writing the WAL back behind the writer's back: a thread with a connection of its own copies most
//! pages while commits go on, and flushes them, so that the writer's own checkpoint finds little left and
//! a commit never waits for tens of milliseconds. Owns that thread; decides nothing.

use crate::sqlite;
use rusqlite::Connection;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Where the thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Idle,
    Running,
    /// It has copied what there was when it began.
    Done,
    /// A write or flush failed.
    Failed,
}

pub(super) struct Checkpointer {
    ask: Option<SyncSender<()>>,
    progress: Arc<AtomicU8>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread; without one (the system gives none) the writer does it all.
    pub(super) fn start(conn: Connection, path: &Path) -> Option<Self> {
        // Closing any descriptor of a file ends all locks that the process has on it, SQLite's as well: this one
        // stays open.
        let database = ManuallyDrop::new(File::options().write(true).open(path).ok()?);
        let (ask, asked) = sync_channel::<()>(1);
        let progress = Arc::new(AtomicU8::new(0));
        let shared = progress.clone();
        let run = move || {
            crate::step_back();
            while asked.recv().is_ok() {
                let done = sqlite::checkpoint_now(&conn, "PASSIVE");
                // SQLite leaves the flush to the checkpoint that reaches the end of the WAL, which is the writer's:
                // it would wait there for everything that was copied since the last one.
                let flushed = database.sync_data();
                let good = done.is_ok() && flushed.is_ok();
                shared.store(if good { 2 } else { 3 }, Ordering::SeqCst);
            }
        };
        let thread = std::thread::Builder::new().name("checkpointer".into()).spawn(run).ok()?;
        Some(Self { ask: Some(ask), progress, thread: Some(thread) })
    }

    pub(super) fn progress(&self) -> Progress {
        match self.progress.load(Ordering::SeqCst) {
            0 => Progress::Idle,
            1 => Progress::Running,
            2 => Progress::Done,
            _ => Progress::Failed,
        }
    }

    /// Asks for a checkpoint; true once it has been taken up.
    pub(super) fn begin(&self) -> bool {
        self.progress.store(1, Ordering::SeqCst);
        let asked = self.ask.as_ref().is_some_and(|ask| ask.try_send(()).is_ok());
        if !asked {
            self.rest();
        }
        asked
    }

    /// Its work is finished and seen.
    pub(super) fn rest(&self) {
        self.progress.store(0, Ordering::SeqCst);
    }
}

impl Checkpointer {
    /// Waits until it has done what it was asked for, and says how that went.
    pub(super) fn end(mut self) -> Progress {
        self.ask = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Progress::Failed,
            _ => self.progress(),
        }
    }
}
