//! What keeps a payload, and who may open it: legal holds, and payloads with digests and salts.
//! Refuses to know who may see what; whoever calls has asked that.

use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::frame::SaltFor;
use crate::plane::{Plane, Principal};
use crate::privacy::governed;
use crate::proposal::{facts_of, reread};
use crate::workspace::Workspace;
use placet_engine::{Command, LegalHold, PlaceHold};
use placet_types::event::HoldScope;
use placet_types::hash::Hasher;
use placet_types::ids::{DecisionId, HoldId};
use placet_types::json::{Object, Value};
use placet_types::{Digest, Digests};

/// A payload with what opens the commitments of its entry.
#[derive(Debug)]
pub struct Disclosed {
    /// Index of the decision's entry.
    pub index: u64,
    /// Facts and request, as they are committed to.
    pub payload: Object,
    /// Digests of action and request.
    pub digests: Digests,
    /// Digest of the verified facts.
    pub facts: Digest,
    /// Salts of the commitments to action, request, facts and payload.
    pub salts: [[u8; 32]; 4],
}

impl Plane {
    /// The request that stands for releasing a legal hold.
    #[must_use]
    pub fn release_request(hold: HoldId, idempotency_key: String, nonce: String) -> Value {
        let arguments = Object::new().with("hold", hold.to_string());
        governed("override.release", "release", arguments, idempotency_key, nonce)
    }

    /// Places a legal hold.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn place_hold(
        &self,
        workspace: &Workspace,
        principal: &Principal,
        scope: HoldScope,
        reason: String,
    ) -> Result<LegalHold, PlaneError> {
        if let HoldScope::Decision(id) = scope {
            self.locate(workspace, id)?;
        }
        let hold: HoldId = self.id(self.clock.wall());
        let by = self.who(workspace, principal);
        let command = Command::PlaceHold(PlaceHold { hold, scope, reason, by });
        self.submit(workspace.no, command, self.actor_payload(Some(principal))?).await?;
        let placed = self.legal_holds(workspace).await?.into_iter().find(|it| it.hold == hold);
        placed.ok_or(PlaneError::NotFound("legal hold"))
    }

    /// Releases a legal hold under the permit of `decision` on surface `override.release`.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn release_hold(
        &self,
        workspace: &Workspace,
        principal: &Principal,
        hold: HoldId,
        decision: DecisionId,
    ) -> Result<(), PlaneError> {
        let by = self.who(workspace, principal);
        let command = Command::ReleaseHold { hold, by, decision: Some(decision) };
        let payload = self.actor_payload(Some(principal))?;
        self.submit(workspace.no, command, payload).await.map(drop)
    }

    /// Legal holds in force, oldest first.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn legal_holds(&self, workspace: &Workspace) -> Result<Vec<LegalHold>, PlaneError> {
        self.look(workspace.no, |state| state.legal_holds().cloned().collect()).await
    }

    /// The payload of a decision with digests and salts, for whoever may see it.
    ///
    /// # Errors
    /// [`PlaneError::PayloadErased`] among others.
    pub fn disclose(&self, workspace: &Workspace, id: DecisionId) -> Result<Disclosed, PlaneError> {
        let index = self.locate(workspace, id)?;
        let opened = self.open(workspace, index)?;
        let (request, caller) = reread(&opened.payload)?;
        let facts = Value::Object(facts_of(&caller, &request)).to_canonical();
        let salts = [SaltFor::Action, SaltFor::Request, SaltFor::Facts, SaltFor::Payload];
        Ok(Disclosed {
            index,
            digests: request.digests::<Fast>(&caller),
            facts: Digest(Fast::sha256(&[&facts])),
            salts: salts.map(|salt| opened.keys.salt(salt)),
            payload: opened.payload,
        })
    }
}
