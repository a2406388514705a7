//! Client certificates: keys that the holder of a certificate's private key opens, instead of whoever has a
//! secret. Refuses to know TLS: what comes in is the hash of a public key that was proven on the connection.

use crate::admin::KeySpec;
use crate::directory::{KeyError, KeyRecord};
use crate::error::PlaneError;
use crate::plane::{Plane, Principal};
use crate::sessions::Credential;
use crate::workspace::Workspace;
use placet_types::Digest;
use placet_types::ids::{DecisionId, KeyId};
use placet_types::json::Value;
use std::sync::Arc;

impl Plane {
    /// The request that stands for letting a certificate open a key, as the constitution governs it: that of a
    /// key, with the SHA-256 of the certificate's public key among its arguments, so that whoever approves it
    /// sees which certificate.
    #[must_use]
    pub fn certificate_request(
        spec: &KeySpec,
        public_key: &Digest,
        idempotency_key: String,
        nonce: Option<String>,
    ) -> Value {
        let mut request = Self::key_request(spec, idempotency_key, nonce);
        if let Value::Object(request) = &mut request
            && let Some(Value::Object(arguments)) = request.remove("arguments")
        {
            let arguments = arguments.with("certificate", public_key.hex());
            request.set("arguments", arguments);
        }
        request
    }

    /// Lets whoever holds the private key of a certificate be a principal, under the permit of `decision` on
    /// surface `key.create`. One public key opens one key, for good: not even after it is revoked.
    ///
    /// # Errors
    /// [`PlaneError`]; `certificate_taken` where the public key stands for somebody, or did.
    pub async fn bind_certificate(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        spec: KeySpec,
        public_key: Digest,
        decision: DecisionId,
    ) -> Result<KeyId, PlaneError> {
        let key = self.id(self.clock.wall());
        let record = KeyRecord {
            key,
            workspace: workspace.no,
            actor: spec.actor,
            environment: spec.environment,
            roles: spec.roles,
            hash: public_key,
            certificate: true,
            revoked: false,
        };
        self.grant_key(workspace, principal, record, decision).await?;
        Ok(key)
    }

    /// Whom a certificate with this public key stands for in a workspace; `None`: nobody.
    ///
    /// # Errors
    /// [`KeyError::Revoked`].
    pub fn credential_of_certificate(
        &self,
        workspace: &Workspace,
        public_key: &Digest,
    ) -> Result<Option<Credential>, KeyError> {
        let Some(record) = self.directory.of_certificate(workspace.no, public_key) else {
            return Ok(None);
        };
        if record.revoked {
            return Err(KeyError::Revoked);
        }
        Ok(Some(Credential {
            key: record.key,
            workspace: record.workspace,
            actor: record.actor.clone(),
            environment: record.environment.clone(),
            roles: record.roles.clone(),
            chain: Vec::new(),
            session: None,
        }))
    }
}
