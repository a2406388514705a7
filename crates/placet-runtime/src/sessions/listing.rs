//! Which sessions there are, for those who look at them.

use super::SessionRecord;
use crate::plane::Plane;
use crate::workspace::Workspace;
use placet_types::ids::{ActorId, KeyId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Plane {
    /// Open sessions of a workspace after `after`, oldest first, with what they may do today; with `own`
    /// only those that this actor has or stands behind.
    #[must_use]
    pub fn sessions_of(
        &self,
        workspace: &Workspace,
        own: Option<&ActorId>,
        after: Option<KeyId>,
        limit: usize,
    ) -> Vec<(Arc<SessionRecord>, BTreeSet<String>)> {
        let mut found: Vec<Arc<SessionRecord>> = self.directory.sessions.read(|tables| {
            let shown = |it: &&Arc<SessionRecord>| {
                it.record.workspace == workspace.no
                    && it.durable.load(Ordering::SeqCst)
                    && after.is_none_or(|after| it.record.key > after)
                    && own.is_none_or(|own| it.record.actor == *own || it.chain.contains(own))
            };
            tables.all.values().filter(shown).cloned().collect()
        });
        found.sort_unstable_by_key(|it| it.record.key);
        // Whether one is open depends on what it came from, so it is asked without the table's lock.
        let now = self.now();
        let open = found.into_iter().filter_map(|it| {
            let roles = self.standing(&it, now, 0).ok()?;
            Some((it, roles))
        });
        open.take(limit).collect()
    }
}
