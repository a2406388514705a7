//! What an instance runs on besides its stores: randomness, threads, where it speaks. In production
//! the operating system; a simulator puts everything here that it wants to decide itself. Refuses to
//! know what any of it is used for.

use crate::crypto::SystemEntropy;
use crate::error::PlaneError;
use crate::ports::{Clock, Entropy, Secret};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use zeroize::Zeroizing;

/// Where an instance's diagnostics go, line by line.
pub type Voice = Arc<dyn Fn(&str) + Send + Sync>;

/// Randomness, threads and voice of an instance.
#[derive(Clone, Default)]
pub struct Host {
    /// Instead of the operating system's randomness.
    pub entropy: Option<Arc<dyn Entropy>>,
    /// Instead of standard error.
    pub voice: Option<Voice>,
    /// No thread is started: what blocks is done where it is asked for.
    pub single_thread: bool,
    /// Payload slots per durable write, 0 for the usual number.
    pub slots: usize,
}

impl Host {
    /// Fills `out` with unpredictable bytes.
    pub(crate) fn fill(&self, out: &mut [u8]) {
        match &self.entropy {
            None => SystemEntropy.fill(out),
            Some(entropy) => entropy.fill(out),
        }
    }

    /// A fresh 32-byte secret.
    pub(crate) fn secret(&self) -> Secret {
        let mut out = Zeroizing::new([0; 32]);
        self.fill(out.as_mut());
        out
    }

    /// Says what whoever runs the instance should know.
    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        match &self.voice {
            None => eprintln!("placet: {what}"),
            Some(voice) => voice(&what.to_string()),
        }
    }

    /// Reads the store off the threads that answer.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, PlaneError> + Send + 'static,
    ) -> Result<T, PlaneError> {
        if self.single_thread {
            return read();
        }
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|error| PlaneError::Internal(error.to_string()))?
    }

    /// Cores that a start may use.
    pub(crate) fn cores(&self) -> usize {
        match self.single_thread {
            true => 1,
            false => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("single_thread", &self.single_thread).finish_non_exhaustive()
    }
}

/// What `done` comes to, or `None` when `wait` has passed before.
pub(crate) async fn in_time<T>(
    clock: &dyn Clock,
    wait: Duration,
    done: impl Future<Output = T>,
) -> Option<T> {
    let (mut done, mut late) = (pin!(done), clock.sleep(wait));
    poll_fn(|ctx| match done.as_mut().poll(ctx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => late.as_mut().poll(ctx).map(|()| None),
    })
    .await
}
