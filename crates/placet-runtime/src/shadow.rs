//! The bundle beside the one in force: setting, clearing, and how it stands. Owns the order of these; the
//! engine owns what its word counts for, which is nothing.

use crate::error::PlaneError;
use crate::plane::{Plane, Principal};
use crate::privacy::governed;
use crate::workspace::Workspace;
use placet_engine::{Command, ShadowBundle, Shadowing};
use placet_policy::Bundle;
use placet_types::Digest;
use placet_types::ids::DecisionId;
use placet_types::json::{Object, Value};
use placet_types::policy::LANGUAGE;
use std::sync::Arc;

impl Plane {
    /// The request that stands for setting a shadow bundle, or clearing it, as the constitution governs
    /// it.
    #[must_use]
    pub fn shadow_request(bundle: Option<Digest>, idempotency_key: String, nonce: String) -> Value {
        let action = if bundle.is_some() { "set" } else { "clear" };
        let arguments = Object::new().with_opt("bundle", bundle.map(|digest| digest.to_string()));
        governed("policy.shadow", action, arguments, idempotency_key, nonce)
    }

    /// Sets or clears the shadow bundle of a workspace under the permit of `decision` on surface
    /// `policy.shadow`; the log index of its entry, or `None` where nothing was left to say.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn shadow_bundle(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        bundle: Option<Arc<Bundle>>,
        decision: DecisionId,
    ) -> Result<Option<u64>, PlaneError> {
        let _last = self.shadowing.lock().await;
        if let Some(bundle) = &bundle {
            self.put_bundle(bundle).await?;
        }
        let command = Command::ShadowBundle(ShadowBundle {
            by: self.who(workspace, principal),
            bundle: bundle.as_ref().map(|bundle| bundle.digest()),
            language: LANGUAGE,
            decision: Some(decision),
        });
        let payload = self.actor_payload(Some(principal))?;
        let done = self.submit(workspace.no, command, payload).await?;
        // Decisions between that entry and this line say that they were not compared.
        workspace.shadow.store(bundle);
        let index =
            done.written.and_then(|written| written.events().map(|(index, _)| index).last());
        Ok(index)
    }

    /// The shadow bundle and how often it was asked.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn shadowing(&self, workspace: &Workspace) -> Result<Option<Shadowing>, PlaneError> {
        self.look(workspace.no, |state| state.shadow().cloned()).await
    }
}
