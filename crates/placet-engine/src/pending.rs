//! Which approvals wait, by who may see them: a page of somebody's inbox costs what is on it, however many
//! wait. Follows from the held decisions and is made anew from them.

use crate::state::{Held, State};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Unbounded};
use placet_types::event::ActorRef;
use placet_types::ids::{ApprovalId, TimeMs};

/// What makes somebody see an approval.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Facet {
    /// A role that may decide it.
    Role(String),
    /// Who proposed it, on whose behalf, and who will execute it.
    Actor(ActorRef),
}

/// Pending approvals.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    all: BTreeSet<ApprovalId>,
    seen: BTreeMap<Facet, BTreeSet<ApprovalId>>,
}

/// Who looks at approvals.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The reader; absent where nobody reads.
    pub actor: Option<ActorRef>,
    /// Roles of the reader's key; those that others have delegated are added by the state.
    pub roles: BTreeSet<String>,
    /// Whether the reader sees all.
    pub oversees: bool,
}

impl Viewer {
    /// The plane itself: it sees all.
    #[must_use]
    pub const fn all() -> Self {
        Self { actor: None, roles: BTreeSet::new(), oversees: true }
    }

    /// Whether they see an approval by what they are themselves, or by what [`State::viewing`] added.
    #[must_use]
    pub fn sees(&self, held: &Held) -> bool {
        self.oversees
            || held.proposers.iter().any(|it| self.is(it))
            || self.is(&held.audience)
            || held.deciding_roles().any(|role| self.roles.contains(role))
    }

    fn is(&self, actor: &ActorRef) -> bool {
        self.actor.as_ref() == Some(actor)
    }
}

impl Pending {
    pub(crate) fn insert(&mut self, held: &Held) {
        self.all.insert(held.approval);
        for facet in facets(held) {
            self.seen.entry(facet).or_default().insert(held.approval);
        }
    }

    pub(crate) fn remove(&mut self, held: &Held) {
        self.all.remove(&held.approval);
        for facet in facets(held) {
            if let Some(ids) = self.seen.get_mut(&facet) {
                ids.remove(&held.approval);
                if ids.is_empty() {
                    self.seen.remove(&facet);
                }
            }
        }
    }

    fn oldest(&self) -> Option<ApprovalId> {
        self.all.first().copied()
    }
}

fn facets(held: &Held) -> impl Iterator<Item = Facet> {
    let roles = held.deciding_roles().cloned().map(Facet::Role);
    let actors = held.proposers.iter().chain([&held.audience]).cloned().map(Facet::Actor);
    roles.chain(actors)
}

impl State {
    /// The pending approvals that a reader may see, oldest first, from `after` on.
    #[must_use]
    pub fn inbox(
        &self,
        viewer: &Viewer,
        after: Option<ApprovalId>,
        limit: usize,
        now: TimeMs,
    ) -> Vec<&Held> {
        let from = after.map_or(Unbounded, Excluded);
        let lists: Vec<&BTreeSet<ApprovalId>> = if viewer.oversees {
            alloc::vec![&self.pending.all]
        } else {
            let delegated = self.delegated_to(viewer, now);
            let roles: BTreeSet<&String> = viewer.roles.iter().chain(&delegated).collect();
            let roles = roles.into_iter().cloned().map(Facet::Role);
            let own = viewer.actor.clone().map(Facet::Actor);
            roles.chain(own).filter_map(|facet| self.pending.seen.get(&facet)).collect()
        };
        // The first of each list are enough for the first of all of them.
        let mut ids: BTreeSet<ApprovalId> = BTreeSet::new();
        for list in lists {
            ids.extend(list.range((from, Unbounded)).take(limit));
        }
        ids.iter().take(limit).filter_map(|id| self.approval(*id)).collect()
    }

    fn delegated_to(&self, viewer: &Viewer, now: TimeMs) -> BTreeSet<String> {
        viewer.actor.as_ref().map(|it| self.delegated_roles(it, now)).unwrap_or_default()
    }

    /// Since when the oldest pending approval waits.
    #[must_use]
    pub fn oldest_pending(&self) -> Option<TimeMs> {
        self.pending.oldest().and_then(|id| self.held.get(&id)).map(|held| held.since)
    }

    /// A reader together with what others let them decide: asked once, however many approvals they look at.
    #[must_use]
    pub fn viewing(&self, viewer: &Viewer, now: TimeMs) -> Viewer {
        let mut viewer = viewer.clone();
        if !viewer.oversees {
            viewer.roles.extend(self.delegated_to(&viewer, now));
        }
        viewer
    }

    /// Whether a reader may see an approval.
    #[must_use]
    pub fn may_see(&self, viewer: &Viewer, held: &Held, now: TimeMs) -> bool {
        viewer.sees(held) || self.viewing(viewer, now).sees(held)
    }
}
