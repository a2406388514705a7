//! Who may look at a decision. Refuses to know what they do with it.

use crate::answer::DecisionAnswer;
use crate::error::PlaneError;
use crate::plane::{Plane, Principal};
use crate::workspace::Workspace;
use std::sync::Arc;

impl Plane {
    /// # Errors
    /// [`PlaneError::NotFound`]: to whoever may not see it, it is not there.
    pub(crate) async fn may_see(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        answer: &DecisionAnswer,
    ) -> Result<(), PlaneError> {
        let own = workspace.actor_ref(&principal.caller.actor);
        let event = &answer.event;
        let audience = event.permit.as_ref().map(|permit| &permit.audience);
        let holder = event.approval.as_ref().map(|approval| &approval.audience);
        let roles = workspace.halts.left_of(&principal.caller.roles);
        let overseer = ["admin", "operator", "auditor"].iter().any(|role| roles.contains(*role))
            || event.approval.as_ref().is_some_and(|a| a.roles.keys().any(|r| roles.contains(r)))
            || answer
                .hold
                .as_ref()
                .is_some_and(|it| it.deciding_roles().any(|r| roles.contains(r)));
        if own == event.actor || audience == Some(&own) || holder == Some(&own) || overseer {
            return Ok(());
        }
        // Whoever sees the approval, as one on whose behalf it is asked or to whom others have lent the right
        // to decide it, sees what it is about.
        if let Some(held) = &answer.hold {
            let viewer = self.viewer(workspace, principal, false);
            if self.sees(workspace, viewer, held.approval).await? {
                return Ok(());
            }
        }
        Err(PlaneError::NotFound("decision"))
    }
}
