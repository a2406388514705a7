//! What people do to the plane itself: kill and lift, keys, workspaces, the clock, admission.

use crate::directory::{ApiKey, KeyRecord};
use crate::error::PlaneError;
use crate::plane::{Plane, Principal, Workspaces};
use crate::seat::Seat;
use crate::sequencer::{Message, Payload};
use crate::signing::{Signing, origin_of};
use crate::workspace::Workspace;
use placet_engine::{Bounds, CONSTITUTION, Command, CreateKey, State};
use placet_tlog::Tree;
use placet_types::event::{self, Genesis, Refused};
use placet_types::ids::{ActorId, DecisionId, KeyId, TimeMs, WorkspaceName};
use placet_types::json::{Object, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// A key to be made.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// Whose.
    pub actor: ActorId,
    /// Environment its requests count for.
    pub environment: String,
    /// Its roles.
    pub roles: BTreeSet<String>,
}

impl Plane {
    pub(crate) fn actor_payload(
        &self,
        principal: Option<&Principal>,
    ) -> Result<Payload, PlaneError> {
        match principal {
            None => Ok(Payload::empty()),
            Some(principal) => {
                self.payload(Object::new().with("actor", principal.caller.actor.as_str()))
            }
        }
    }

    /// The request that stands for making a key, as the constitution governs it.
    #[must_use]
    pub fn key_request(spec: &KeySpec, idempotency_key: String, nonce: Option<String>) -> Value {
        let roles: Vec<Value> = spec.roles.iter().map(|role| Value::from(role.as_str())).collect();
        let arguments = Object::new()
            .with("actor", spec.actor.as_str())
            .with("environment", spec.environment.as_str())
            .with("roles", roles);
        let request = Object::new()
            .with("surface", "key.create")
            .with("action", "create")
            .with("idempotency_key", idempotency_key)
            .with("arguments", arguments)
            .with_opt("attempt_nonce", nonce);
        Value::Object(request)
    }

    /// Makes a key under the permit of `decision` on surface `key.create`; one permit makes one key.
    /// The key is returned once and never again.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn create_key(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        spec: KeySpec,
        decision: DecisionId,
    ) -> Result<ApiKey, PlaneError> {
        let key = ApiKey::generate(self.id(self.clock.wall()), &self.host);
        let record = record(workspace, &spec, &key);
        self.grant_key(workspace, principal, record, decision).await?;
        Ok(key)
    }

    /// Writes the key of a record down, and lets it count from then on.
    pub(crate) async fn grant_key(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        record: KeyRecord,
        decision: DecisionId,
    ) -> Result<(), PlaneError> {
        let granted = event::Principal {
            key: record.key,
            actor: workspace.actor_ref(&record.actor),
            hash: record.hash,
            environment: record.environment.clone(),
            roles: record.roles.clone(),
        };
        let by = self.who(workspace, principal);
        let command = CreateKey { principal: granted, by, decision: Some(decision) };
        let payload = self.payload(
            Object::new()
                .with("actor", record.actor.as_str())
                .with("by", principal.caller.actor.as_str())
                .with_opt("certificate", record.certificate.then_some(true)),
        )?;
        let done = self.submit(workspace.no, Command::CreateKey(command), payload).await?;
        self.directory.insert(vec![record]);
        self.directory.closed(&done);
        Ok(())
    }

    /// Revokes a key: from the moment this returns it opens nothing.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn revoke_key(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        key: KeyId,
    ) -> Result<(), PlaneError> {
        let by = self.who(workspace, principal);
        let payload = self.actor_payload(Some(principal))?;
        self.submit(workspace.no, Command::RevokeKey { key, by }, payload).await?;
        self.directory.revoke(key);
        Ok(())
    }

    /// Makes a workspace with its first admin; the admin's key is returned once.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn create_workspace(
        &self,
        name: WorkspaceName,
        admin: ActorId,
    ) -> Result<(Arc<Workspace>, ApiKey), PlaneError> {
        let _one = self.creating.lock().await;
        if self.workspace(&name).is_some() {
            return Err(PlaneError::Exists("workspace"));
        }
        let failed = |error: String| PlaneError::StoreFailed(error);
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(Message::CreateWorkspace(name.clone(), reply))?;
        let gone = |_| self.not_ready().unwrap_or(PlaneError::ShuttingDown);
        let no = answer.await.map_err(gone)?.map_err(failed)?;
        let secret = self
            .keys
            .workspace_key(&name)
            .map_err(|error| PlaneError::StoreFailed(error.to_string()))?
            .ok_or_else(|| PlaneError::StoreFailed("the identity store is read-only".into()))?;
        let origin = origin_of(&self.instance, &name);
        let signing = Signing::new(&origin, self.signer()?).map_err(PlaneError::Internal)?;
        let (tree, unsigned) = (Tree::default(), Vec::new());
        let workspace =
            Arc::new(Workspace::new(no, name.clone(), signing, &secret, tree, unsigned));
        let bundle = self.root().and_then(|root| root.bundle());
        workspace.set_policy(crate::workspace::InForce::of(bundle.clone()));
        self.send(Message::AddSeat(Box::new(Seat {
            shared: workspace.clone(),
            state: State::new(Bounds::default()),
            epoch: 1,
            dev: self.dev,
            solo: self.solo,
            renamed: false,
            gap: None,
            used: std::time::Instant::now(),
        })))?;
        let key = self.genesis(&workspace, admin, bundle.map(|bundle| bundle.digest())).await?;
        let mut all = self.workspaces.load().all.clone();
        let mut by_name: HashMap<_, _> = self.workspaces.load().by_name.clone();
        all.push(workspace.clone());
        by_name.insert(name, workspace.clone());
        self.workspaces.store(Arc::new(Workspaces { all, by_name }));
        if !self.watched.unrecorded().is_empty() {
            workspace.stop();
        }
        self.follow_into(&workspace).await?;
        Ok((workspace, key))
    }

    /// Writes the genesis entry with the first admin.
    pub(crate) async fn genesis(
        &self,
        workspace: &Arc<Workspace>,
        admin: ActorId,
        bundle: Option<placet_types::Digest>,
    ) -> Result<ApiKey, PlaneError> {
        let key = ApiKey::generate(self.id(self.clock.wall()), &self.host);
        let spec = KeySpec {
            actor: admin,
            environment: "production".to_owned(),
            roles: ["admin", "operator"].map(str::to_owned).into(),
        };
        let principal = event::Principal {
            key: key.id,
            actor: workspace.actor_ref(&spec.actor),
            hash: key.hash(),
            environment: spec.environment.clone(),
            roles: spec.roles.clone(),
        };
        let genesis = Genesis {
            instance: self.instance.clone(),
            origin: workspace.origin().to_owned(),
            vkeys: vec![workspace.vkey().to_string()],
            principals: vec![principal],
            bundle,
            constitution: CONSTITUTION,
        };
        let names = Object::new().with(key.id.to_string(), spec.actor.as_str());
        let payload = self.payload(Object::new().with("principals", names))?;
        self.submit(workspace.no, Command::Found(Box::new(genesis)), payload).await?;
        self.directory.insert(vec![record(workspace, &spec, &key)]);
        Ok(key)
    }

    /// Records how many requests were refused before the log within a minute.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn record_refused(
        &self,
        workspace: &Workspace,
        minute: TimeMs,
        count: u64,
        keys: u64,
    ) -> Result<(), PlaneError> {
        let refused = Refused { minute, count, keys };
        self.submit(workspace.no, Command::Refused(refused), Payload::empty()).await.map(drop)
    }
}

fn record(workspace: &Workspace, spec: &KeySpec, key: &ApiKey) -> KeyRecord {
    KeyRecord {
        key: key.id,
        workspace: workspace.no,
        actor: spec.actor.clone(),
        environment: spec.environment.clone(),
        roles: spec.roles.clone(),
        hash: key.hash(),
        certificate: false,
        revoked: false,
    }
}

/// Slows a runaway key down before the log: a token bucket per key.
pub struct Admission {
    per_second: u32,
    buckets: Mutex<HashMap<Option<KeyId>, Bucket>>,
}

/// A batch of decisions fits into the burst of every key, however slow.
const BURST_MIN: f64 = 100.0;

struct Bucket {
    tokens: f64,
    at_ms: u64,
    refused: u64,
}

impl Admission {
    /// `per_second` requests per key, with a burst of one second's worth; 0 admits everything.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second, buckets: Mutex::default() }
    }

    /// Admits `count` requests of a key, or says when to come back.
    ///
    /// # Errors
    /// [`PlaneError::TooManyRequests`].
    pub fn admit(&self, key: Option<KeyId>, count: u32, now_ms: u64) -> Result<(), PlaneError> {
        if self.per_second == 0 {
            return Ok(());
        }
        let rate = f64::from(self.per_second);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(key).or_insert(Bucket {
            tokens: rate.max(BURST_MIN),
            at_ms: now_ms,
            refused: 0,
        });
        let elapsed = now_ms.saturating_sub(bucket.at_ms) as f64 / 1000.0;
        bucket.tokens = (bucket.tokens + elapsed * rate).min(rate.max(BURST_MIN));
        bucket.at_ms = now_ms;
        if bucket.tokens >= f64::from(count) {
            bucket.tokens -= f64::from(count);
            return Ok(());
        }
        bucket.refused += u64::from(count);
        let missing = f64::from(count) - bucket.tokens;
        Err(PlaneError::TooManyRequests { retry_after_ms: (missing / rate * 1000.0).ceil() as u64 })
    }

    /// Refusals per key since the last call; keys at rest are forgotten.
    #[must_use]
    pub fn drain(&self, now_ms: u64) -> Vec<(Option<KeyId>, u64)> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = buckets
            .iter_mut()
            .filter(|(_, bucket)| bucket.refused > 0)
            .map(|(key, bucket)| (*key, std::mem::take(&mut bucket.refused)))
            .collect();
        buckets.retain(|_, bucket| now_ms.saturating_sub(bucket.at_ms) < 60_000);
        refused
    }
}
