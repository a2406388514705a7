//! Processor time of short calls. What is compared is measured in turn, a batch of each and again: what the machine
//! does to one of them in a slow second it does to all.

use std::time::Duration;

const BATCHES: usize = 25;

/// A call, and how often it is made in a batch.
pub(super) struct Timed {
    count: usize,
    call: Box<dyn FnMut(usize)>,
}

impl Timed {
    pub(super) fn new(count: usize, call: impl FnMut(usize) + 'static) -> Self {
        Self { count, call: Box::new(call) }
    }
}

/// Thread CPU nanoseconds per call of each: the least of the batches.
pub(super) fn in_turn(all: &mut [Timed]) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; all.len()];
    for _ in 0..BATCHES {
        for (Timed { count, call }, least) in all.iter_mut().zip(&mut least) {
            *least = batch(*count, call).min(*least);
        }
    }
    least
}

/// Thread CPU nanoseconds per call: the least of the batches.
pub(super) fn nanos(count: usize, mut call: impl FnMut(usize)) -> f64 {
    (0..BATCHES).map(|_| batch(count, &mut call)).fold(f64::INFINITY, f64::min)
}

fn batch(count: usize, call: &mut impl FnMut(usize)) -> f64 {
    let before = thread_time();
    (0..count).for_each(call);
    (thread_time() - before).as_nanos() as f64 / count as f64
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}
