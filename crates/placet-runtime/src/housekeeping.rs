//! What has to be looked after while an instance runs: kill requests beside the store, high-water
//! marks. Refuses to know what a kill does.

use crate::error::PlaneError;
use crate::plane::Plane;
use crate::ports::{Sleep, WorkspaceNo};
use crate::watching::Seen;
use placet_types::event::KillScope;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How often a kill request is looked for where no thread does that; the marks are raised at every
/// fifth look.
const BEAT_MS: u64 = 200;

/// Does what may wait for a disk on a thread that answers nobody; where there is no runtime, on this one.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PlaneError> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            let done = runtime.spawn_blocking(work).await;
            done.map_err(|error| PlaneError::Internal(error.to_string()))
        }
        Err(_) => Ok(work()),
    }
}

impl Plane {
    /// Ends once `wait` has passed on the plane's clock.
    pub fn sleep(&self, wait: Duration) -> Sleep {
        self.clock.sleep(wait)
    }

    /// A number that nobody can foresee.
    #[must_use]
    pub fn chance(&self) -> u64 {
        let mut bytes = [0; 8];
        self.host.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// What has to be looked after while running: the high-water mark every second and, where no
    /// thread watches, kill requests beside the store. Returns when the plane stops.
    pub async fn housekeeping(self: Arc<Self>) {
        // Ends with this: what takes long must not keep a kill waiting.
        let mut beside = tokio::task::JoinSet::new();
        beside.spawn(self.clone().retire());
        self.watch().await;
    }

    /// The part of housekeeping that looks for kill requests and raises the marks.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut next = self.clock.monotonic_ms();
        let mut marked: HashMap<WorkspaceNo, u64> = HashMap::new();
        let mut seen = Seen::default();
        let mut beats = 0_u64;
        loop {
            let left = next.saturating_sub(self.clock.monotonic_ms());
            self.clock.sleep(Duration::from_millis(left)).await;
            next = next.saturating_add(BEAT_MS);
            beats += 1;
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            if !self.watched.threaded.load(Ordering::SeqCst) {
                self.look_now_and_then(&mut seen, beats.is_multiple_of(5)).await;
            }
            if beats.is_multiple_of(5) {
                let (plane, mut known) = (self.clone(), std::mem::take(&mut marked));
                let raised = aside(move || plane.mark(&mut known).map(|()| known)).await;
                match raised.flatten() {
                    Ok(known) => marked = known,
                    // The next time all of them are raised.
                    Err(error) => self
                        .host
                        .say(format_args!("the high-water mark could not be raised: {error}")),
                }
            }
        }
    }

    /// Looks beside the store where no thread does, and records what follows before the next look.
    async fn look_now_and_then(&self, seen: &mut Seen, read: bool) {
        let requested = self.safety.kill_requested();
        let read = read
            .then(|| self.read_beside(|| self.safety.read_armed(), || self.safety.read_disarmed()));
        let Some(source) = self.look_beside(seen, requested, read) else { return };
        if let Err(error) = self.trip(None, KillScope::Everything, source, None).await {
            // The next look sees it anew.
            *seen = Seen::default();
            self.host.say(format_args!("the kill is in effect but not recorded: {error}"));
        }
    }

    pub(crate) fn mark(&self, marked: &mut HashMap<WorkspaceNo, u64>) -> Result<(), PlaneError> {
        let moved: Vec<_> = self
            .all_workspaces()
            .into_iter()
            .filter_map(|workspace| {
                let size = *workspace.size.borrow();
                (marked.get(&workspace.no) != Some(&size)).then_some((workspace, size))
            })
            .collect();
        if moved.is_empty() {
            return Ok(());
        }
        let sizes: Vec<_> =
            moved.iter().map(|(workspace, size)| (workspace.name.clone(), *size)).collect();
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.raise(&sizes).map_err(|error| PlaneError::StoreFailed(error.to_string()))?;
        marked.extend(moved.into_iter().map(|(workspace, size)| (workspace.no, size)));
        Ok(())
    }
}
