//! Reading a whole log: one thread reads batches, some work on them, one takes the results in the
//! order of the log. Owns that order and the bound on what is in flight; refuses to know the work.

use crate::ports::{Batch, JournalReader, PortError, WorkspaceNo};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of frames that are read at a time.
const READ_BYTES: usize = 2 << 20;

/// Threads that work where nothing else is said.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A piece of the log, and where its result goes.
type Job<T> = (Vec<Batch>, SyncSender<Vec<T>>);

/// Reads the log of a workspace from the batch that holds `from` to its end. `work` is made once
/// for each thread and called for each batch, `take` for each result in the order of the log;
/// `take` ends the reading with `Break`.
///
/// # Errors
/// When the store cannot be read, or the error of `take`.
pub fn scan<T: Send, W: FnMut(Batch) -> T, E: From<PortError>>(
    reader: &dyn JournalReader,
    no: WorkspaceNo,
    from: u64,
    threads: usize,
    make: impl Fn() -> W + Sync,
    mut take: impl FnMut(T) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let (threads, make) = (threads.max(1), &make);
    // Bounds what is read and not yet taken: two pieces a thread.
    let (jobs, taken) = sync_channel::<Job<T>>(threads);
    let (order, results) = sync_channel::<Result<Receiver<Vec<T>>, PortError>>(threads * 2);
    let taken = Arc::new(Mutex::new(taken));
    std::thread::scope(move |scope| {
        for _ in 0..threads {
            let taken = taken.clone();
            scope.spawn(move || {
                let mut work = make();
                loop {
                    let job = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((batches, done)) = job else { return };
                    // Nobody waits any more once `take` has broken off.
                    let _ = done.send(batches.into_iter().map(&mut work).collect());
                }
            });
        }
        // Held by those who work alone: once none is left, nobody waits for them.
        drop(taken);
        scope.spawn(move || read(reader, no, from, &jobs, &order));
        for result in results {
            let panicked = |_| PortError::new("a thread that reads the log panicked");
            let done = result?.recv().map_err(panicked)?;
            for one in done {
                if take(one)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    })
}

fn read<T>(
    reader: &dyn JournalReader,
    no: WorkspaceNo,
    mut next: u64,
    jobs: &SyncSender<Job<T>>,
    order: &SyncSender<Result<Receiver<Vec<T>>, PortError>>,
) {
    loop {
        let batches = match reader.read(no, next, READ_BYTES) {
            Ok(batches) => batches,
            Err(error) => {
                let _ = order.send(Err(error));
                return;
            }
        };
        let Some(last) = batches.last() else { return };
        next = last.first_index + u64::from(last.count);
        let (send, receive) = sync_channel(1);
        // Refused once nobody takes results: then there is nothing more to read.
        if order.send(Ok(receive)).is_err() || jobs.send((batches, send)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Head;
    use placet_types::ids::WorkspaceName;

    /// Batches of one entry each.
    struct Log(u64);

    impl JournalReader for Log {
        fn workspaces(&self) -> Result<Vec<(WorkspaceNo, WorkspaceName)>, PortError> {
            Ok(Vec::new())
        }
        fn head(&self, _: WorkspaceNo) -> Result<Head, PortError> {
            Ok(Head::default())
        }
        fn bundle(&self, _: &[u8; 32]) -> Result<Option<Vec<u8>>, PortError> {
            Ok(None)
        }
        fn read(&self, workspace: WorkspaceNo, at: u64, _: usize) -> Result<Vec<Batch>, PortError> {
            if at == 999 {
                return Err(PortError::new("unreadable"));
            }
            Ok((at..self.0.min(at + 3))
                .map(|first_index| Batch {
                    workspace,
                    first_index,
                    count: 1,
                    epoch: 1,
                    frames: Vec::new(),
                    tree_state: Vec::new(),
                })
                .collect())
        }
    }

    fn run(log: u64, from: u64, threads: usize, stop: u64) -> Result<Vec<u64>, PortError> {
        let mut seen = Vec::new();
        let make = || |batch: Batch| batch.first_index;
        scan(&Log(log), WorkspaceNo(0), from, threads, make, |index| {
            seen.push(index);
            Ok(if index == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(seen)
    }

    #[test]
    fn results_come_in_the_order_of_the_log() {
        for threads in [1, 2, 7] {
            assert_eq!(run(500, 0, threads, 1000).unwrap(), (0..500).collect::<Vec<_>>());
            assert_eq!(run(500, 490, threads, 1000).unwrap(), (490..500).collect::<Vec<_>>());
            assert_eq!(run(500, 0, threads, 7).unwrap(), (0..=7).collect::<Vec<_>>());
            assert!(run(2000, 0, threads, 5000).is_err());
        }
        assert!(run(0, 0, 2, 0).unwrap().is_empty());
    }
}
