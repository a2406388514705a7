//! What has to be looked after while an instance runs: kill requests beside the store, high-water
//! marks. Refuses to know what a kill does.

use crate::error::PlaneError;
use crate::plane::Plane;
use crate::ports::{Sleep, WorkspaceNo};
use placet_types::event::{KillScope, KillSource};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a kill request is looked for; the marks are raised at every fifth look.
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

    /// What has to be looked after while running: kill requests beside the store every 200 ms, the
    /// high-water mark every second. Returns when the plane stops.
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
        let mut requested = false;
        let mut beats = 0_u64;
        loop {
            let left = next.saturating_sub(self.clock.monotonic_ms());
            self.clock.sleep(Duration::from_millis(left)).await;
            next = next.saturating_add(BEAT_MS);
            beats += 1;
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let asked = self.safety().is_ok_and(|safety| safety.kill_requested());
            requested &= asked;
            if asked && !requested {
                let done = self.trip(None, KillScope::Everything, KillSource::File, None).await;
                requested = done.is_ok();
                if let Err(error) = done {
                    self.host.say(format_args!("the kill is in effect but not recorded: {error}"));
                }
            }
            if beats.is_multiple_of(5)
                && let Err(error) = self.mark(&mut marked)
            {
                self.host.say(format_args!("the high-water mark could not be raised: {error}"));
            }
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
