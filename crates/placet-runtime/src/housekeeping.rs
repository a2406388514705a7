//! What has to be looked after while an instance runs: kill requests beside the store, high-water
//! marks. Refuses to know what a kill does.

use crate::error::PlaneError;
use crate::plane::Plane;
use crate::ports::{PortError, Sleep, WorkspaceNo};
use crate::watching::Seen;
use placet_types::event::KillScope;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a kill request is looked for where no thread does that; the marks are raised at every
/// fifth look.
const BEAT_MS: u64 = 200;

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
            if beats.is_multiple_of(5)
                && let Err(error) = self.mark(&mut marked)
            {
                self.host.say(format_args!("the high-water mark could not be raised: {error}"));
            }
        }
    }

    /// Looks beside the store where no thread does, and records what follows before the next look.
    async fn look_now_and_then(&self, seen: &mut Seen, read: bool) {
        let requested = self.safety().is_ok_and(|safety| safety.kill_requested());
        let read =
            read.then(|| self.read_beside(|| self.safety().map_err(PortError::new)?.read_armed()));
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
        self.safety()?.raise(&sizes).map_err(|error| PlaneError::StoreFailed(error.to_string()))?;
        marked.extend(moved.into_iter().map(|(workspace, size)| (workspace.no, size)));
        Ok(())
    }
}
