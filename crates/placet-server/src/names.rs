//! What readers are told of people: names in the place of the pseudonyms that entries show.

use crate::auth::{OVERSEERS, Session};
use crate::server::Server;
use placet_runtime::Workspace;
use placet_types::event::KillScope;
use placet_types::ids::ActorId;
use std::collections::HashMap;

/// Names of one workspace, for one answer.
pub(crate) struct Names<'a> {
    server: &'a Server,
    workspace: &'a Workspace,
    /// Of people who have neither a key nor a session.
    more: HashMap<String, String>,
    /// Nobody is named.
    hidden: bool,
}

impl<'a> Names<'a> {
    /// Of everybody who has or had a key or a session.
    pub(crate) fn new(server: &'a Server, workspace: &'a Workspace) -> Self {
        Self { server, workspace, more: HashMap::new(), hidden: false }
    }

    /// The same, and of who asks: in development mode nobody needs a key.
    pub(crate) fn of(server: &'a Server, session: &'a Session) -> Self {
        Self::new(server, &session.workspace).with([&session.principal.caller.actor])
    }

    /// For those who oversee; anybody else is shown references.
    pub(crate) fn overseen(server: &'a Server, session: &'a Session) -> Self {
        Self { hidden: !session.has_any(&OVERSEERS), ..Self::of(server, session) }
    }

    /// A scope with the name of the person that it is about, where it is about one who is known.
    pub(crate) fn scope(&self, scope: &KillScope) -> Option<String> {
        let KillScope::Actor(actor) = scope else { return None };
        let name = self.get(actor.as_str());
        (name != actor.as_str()).then(|| format!("actor:{name}"))
    }

    /// These actors as well.
    pub(crate) fn with<'b>(mut self, actors: impl IntoIterator<Item = &'b ActorId>) -> Self {
        for actor in actors {
            let reference = self.workspace.actor_ref(actor).as_str().to_owned();
            self.more.insert(reference, actor.to_string());
        }
        self
    }

    /// A name that an entry itself comes with.
    pub(crate) fn learn(&mut self, reference: &str, name: String) {
        self.more.insert(reference.to_owned(), name);
    }

    /// The name behind a reference; the reference itself where nobody knows it.
    pub(crate) fn get(&self, reference: &str) -> String {
        if self.hidden {
            return reference.to_owned();
        }
        let name = self.server.plane.name_of(self.workspace, reference);
        let name = name.or_else(|| self.more.get(reference).cloned());
        name.unwrap_or_else(|| reference.to_owned())
    }
}
