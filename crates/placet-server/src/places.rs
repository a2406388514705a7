//! Places of what is on its way, so that what is accepted is answered soon: beyond them callers are told to come
//! back. Of the few places of those who try policies no workspace takes all. Refuses to know what is done there.

use crate::call::Call;
use crate::problem::{Problem, RETRY_MS};
use placet_types::ids::WorkspaceName;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a caller that came back may stand in line.
const LINE_TIME: Duration = Duration::from_millis(RETRY_MS);

/// When a connection that was refused may be looked at again, in milliseconds since the start; 0 for
/// one that was not. Within the extensions of its requests.
#[derive(Clone, Default, Debug)]
pub(crate) struct Told(Arc<AtomicU64>);

impl Call {
    /// A place for `count` decisions, to be held until they are answered.
    ///
    /// Without one the caller is refused at once, for a refusal costs a sixth of a decision. A
    /// connection that comes back before its time is not refused again: it waits for it and then
    /// stands in line, first come, first served. So refusals take at most one call per connection
    /// and second from the decisions, and nobody who comes back is overtaken by those who never went.
    ///
    /// # Errors
    /// `overloaded`.
    pub(crate) async fn decide_place(&self, count: u32) -> Result<OwnedSemaphorePermit, Problem> {
        let server = &self.server;
        // A batch larger than all there is takes all there is.
        let all = u32::try_from(server.options.deciding_max).unwrap_or(u32::MAX);
        let count = count.min(all.max(1));
        let told = self.parts.extensions.get::<Told>();
        let until = told.map_or(0, |told| told.0.load(Ordering::Relaxed));
        if until == 0 {
            if let Ok(place) = server.deciding.clone().try_acquire_many_owned(count) {
                return Ok(place);
            }
        } else {
            let left = Duration::from_millis(until.saturating_sub(server.elapsed_ms()));
            let in_line = async {
                tokio::time::sleep(left).await;
                let place = server.deciding.clone().acquire_many_owned(count);
                tokio::time::timeout(LINE_TIME, place).await
            };
            let place = tokio::select! {
                biased;
                place = in_line => place,
                () = server.stopped() => Ok(server.deciding.clone().acquire_many_owned(count).await),
            };
            if let (Ok(Ok(place)), Some(told)) = (place, told) {
                told.0.store(0, Ordering::Relaxed);
                return Ok(place);
            }
        }
        if let Some(told) = told {
            told.0.store(server.elapsed_ms().saturating_add(RETRY_MS), Ordering::Relaxed);
        }
        Err(Problem::overloaded("too many decisions are on their way; come back later"))
    }
}

/// Places of calls that compile, lint and try policies: few, for each takes a thread and tens of megabytes.
pub(crate) struct Authoring {
    all: Arc<Semaphore>,
    /// What is left to each workspace that has some.
    each: Mutex<HashMap<WorkspaceName, Arc<Semaphore>>>,
}

/// A place among all, and one among the workspace's own.
pub(crate) type AuthoringPlace = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Authoring {
    /// All places.
    const ALL: usize = 3;
    /// Those of one workspace.
    const EACH: usize = 2;

    pub(crate) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(Self::ALL)), each: Mutex::default() }
    }

    /// A place for a workspace, which comes in so much time or not at all.
    pub(crate) async fn place(
        &self,
        workspace: &WorkspaceName,
        within: Duration,
    ) -> Option<AuthoringPlace> {
        let own = {
            let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody has a place of these, or waits for one.
            each.retain(|_, own| Arc::strong_count(own) > 1);
            let own = each.entry(workspace.clone());
            own.or_insert_with(|| Arc::new(Semaphore::new(Self::EACH))).clone()
        };
        let both = async {
            // Who stands in the line of their own workspace keeps no place from others.
            let own = own.acquire_owned().await.ok()?;
            Some((self.all.clone().acquire_owned().await.ok()?, own))
        };
        tokio::time::timeout(within, both).await.ok().flatten()
    }
}
