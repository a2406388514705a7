//! Names of people by the pseudonyms that entries show. Owns who has or had a key or a session since the
//! start; refuses to know what they may do.

use crate::ports::WorkspaceNo;
use crate::workspace::Workspace;
use placet_types::ids::{ActorId, ActorKind};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// Everybody of every workspace. A name costs a pseudonym once, however often it is asked for.
#[derive(Default)]
pub(crate) struct People(Mutex<HashMap<WorkspaceNo, Known>>);

#[derive(Default)]
struct Known {
    all: HashSet<ActorId>,
    /// Those whose pseudonym nobody has asked for yet.
    fresh: Vec<ActorId>,
    names: HashMap<String, String>,
}

impl People {
    /// Somebody got a key or a session.
    pub(crate) fn meet(&self, workspace: WorkspaceNo, actor: &ActorId) {
        if actor.kind() != ActorKind::Human {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(workspace).or_default();
        if known.all.insert(actor.clone()) {
            known.fresh.push(actor.clone());
        }
    }

    /// The name behind a reference of an entry.
    pub(crate) fn name(&self, workspace: &Workspace, who: &str) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { fresh, names, .. } = all.get_mut(&workspace.no)?;
        for actor in fresh.drain(..) {
            let reference = workspace.actor_ref(&actor);
            names.insert(reference.as_str().to_owned(), actor.to_string());
        }
        names.get(who).cloned()
    }
}
