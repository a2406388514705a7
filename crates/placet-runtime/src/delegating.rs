//! Delegation of the right to approve, seen from outside: granting, ending, listing.

use crate::error::PlaneError;
use crate::plane::{Plane, Principal};
use crate::sequencer::Outstanding;
use crate::workspace::Workspace;
use placet_engine::{Command, Delegate, Delegation};
use placet_types::ids::{ActorId, DelegationId, TimeMs};
use placet_types::json::Object;
use placet_types::surface::SurfacePattern;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What somebody lets another do.
#[derive(Clone, Debug)]
pub struct Delegating {
    /// Who may approve.
    pub to: ActorId,
    /// In which roles.
    pub roles: BTreeSet<String>,
    /// On which surfaces; on all where there are none.
    pub surfaces: Vec<SurfacePattern>,
    /// Until when.
    pub until: TimeMs,
}

impl Plane {
    /// Lets another person approve in the caller's place.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn delegate(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        delegating: Delegating,
    ) -> Result<Delegation, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let Delegating { to, roles, mut surfaces, until } = delegating;
        surfaces.sort();
        surfaces.dedup();
        let delegation: DelegationId = self.id(self.clock.wall());
        let plain =
            Object::new().with("actor", principal.caller.actor.as_str()).with("to", to.as_str());
        let command = Command::Delegate(Box::new(Delegate {
            delegation,
            by: self.who(workspace, principal),
            to: workspace.actor_ref(&to),
            roles,
            surfaces,
            until,
        }));
        self.submit(workspace.no, command, self.payload(plain)?).await?;
        self.delegation(workspace, delegation).await
    }

    /// Ends a delegation: by whoever gave it, whoever has it, or an admin.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn end_delegation(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        delegation: DelegationId,
    ) -> Result<Delegation, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let by = self.who(workspace, principal);
        let plain = Object::new().with("actor", principal.caller.actor.as_str());
        let command = Command::EndDelegation { delegation, by };
        self.submit(workspace.no, command, self.payload(plain)?).await?;
        self.delegation(workspace, delegation).await
    }

    /// The delegations that a reader gave or has, newest first; of everybody where the reader oversees. At most
    /// `limit`, from `before` on.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn delegations(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        oversees: bool,
        before: Option<DelegationId>,
        limit: usize,
    ) -> Result<Vec<Delegation>, PlaneError> {
        let own = workspace.actor_ref(&principal.caller.actor);
        self.look(workspace.no, move |state| {
            let seen = |it: &&Delegation| {
                before.is_none_or(|before| it.delegation < before)
                    && (oversees || it.by == own || it.to == own)
            };
            let mut all: Vec<&Delegation> = state.delegations().filter(seen).collect();
            all.reverse();
            all.into_iter().take(limit).cloned().collect()
        })
        .await
    }

    async fn delegation(
        &self,
        workspace: &Workspace,
        id: DelegationId,
    ) -> Result<Delegation, PlaneError> {
        self.look(workspace.no, move |state| {
            state.delegations().find(|it| it.delegation == id).cloned()
        })
        .await?
        .ok_or(PlaneError::NotFound("delegation"))
    }
}
