//! What people do to the plane itself: kill and lift, keys, workspaces, the clock, admission.

use crate::asking::Begun;
use crate::directory::{ApiKey, KeyRecord};
use crate::error::PlaneError;
use crate::plane::{Plane, Principal, Workspaces};
use crate::seat::Seat;
use crate::sequencer::{Message, Payload};
use crate::signing::Signing;
use crate::workspace::Workspace;
use placet_engine::{Bounds, CONSTITUTION, Command, CreateKey, KillState, Lift, State, Trip};
use placet_tlog::Tree;
use placet_types::event::{self, Genesis, KillScope, KillSource, Refused};
use placet_types::ids::{ActorId, DecisionId, KeyId, TimeMs, WorkspaceName};
use placet_types::json::{Object, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Solo mode: how long a lift waits.
pub(crate) const SOLO_DELAY_MS: u64 = 600_000;

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
    /// Trips a kill switch. It takes effect before anything is written; when this returns, the trip
    /// is durable.
    ///
    /// # Errors
    /// [`PlaneError`]: the caller may not, or the trip could not be recorded. In the latter case it
    /// is in effect all the same, and the missing certificate keeps it so over a restart.
    pub async fn trip(
        &self,
        workspace: Option<&Arc<Workspace>>,
        scope: KillScope,
        source: KillSource,
        principal: Option<&Principal>,
    ) -> Result<(), PlaneError> {
        let root = self.root().ok_or(PlaneError::NotFound("workspace"))?;
        let affected = match (scope, workspace) {
            (KillScope::Everything, _) => self.all_workspaces(),
            (KillScope::Workspace, Some(workspace)) => vec![workspace.clone()],
            (KillScope::Workspace, None) => vec![root.clone()],
        };
        if let Some(principal) = principal {
            self.may_override(principal, scope, &root)?;
        }
        for workspace in &affected {
            workspace.stop();
        }
        let mut result = Ok(());
        if affected.iter().any(|workspace| workspace.no == root.no) {
            // From here on a restart without a record is tripped as well.
            self.watched.has_none();
            let removed = self.safety()?.remove_armed();
            result = removed.map_err(|error| PlaneError::StoreFailed(error.to_string()));
        }
        let everywhere = scope == KillScope::Everything;
        if everywhere {
            self.watched.tripped(source);
        }
        // All trips are on their way before any is waited for: a caller that goes away meanwhile
        // leaves nothing half done.
        let mut waiting = Vec::with_capacity(affected.len());
        for workspace in &affected {
            waiting.push((workspace, self.begin_trip(workspace, scope, source, principal)));
        }
        for (workspace, begun) in waiting {
            let done = match begun {
                Ok(answer) => self.finish(answer).await.map(drop),
                Err(error) => Err(error),
            };
            result = result.and(done);
            let _order = self.kill_order.lock().await;
            workspace.killed.store(true, Ordering::SeqCst);
        }
        if everywhere {
            // A workspace that was being made while this began.
            let _made = self.creating.lock().await;
            for workspace in self.all_workspaces() {
                if !workspace.is_killed() {
                    workspace.stop();
                    let begun = self.begin_trip(&workspace, scope, source, principal)?;
                    result = result.and(self.finish(begun).await.map(drop));
                }
            }
        }
        if affected.iter().any(|workspace| workspace.no == root.no) {
            // A lift that ran at the same time may have armed in between.
            let _order = self.kill_order.lock().await;
            let removed = self.safety()?.remove_armed();
            result = result.and(removed.map_err(|e| PlaneError::StoreFailed(e.to_string())));
        }
        result
    }

    /// Sends a trip to the sequencer, whatever else is waiting there.
    fn begin_trip(
        &self,
        workspace: &Workspace,
        scope: KillScope,
        source: KillSource,
        principal: Option<&Principal>,
    ) -> Result<Begun, PlaneError> {
        let who = principal.map(|principal| self.who(workspace, principal));
        let waiting = workspace.told();
        let trip = Trip { scope, source, who, waiting };
        // A kill is recorded even when the name of who asked can no longer be sealed.
        let payload = self.actor_payload(principal).unwrap_or_else(|_| Payload::empty());
        self.begin_urgent(workspace.no, Command::Trip(trip), payload)
    }

    /// Asks for, or completes, the lift of a kill switch. True once it is lifted.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn lift(
        &self,
        workspace: &Arc<Workspace>,
        scope: KillScope,
        principal: &Principal,
    ) -> Result<bool, PlaneError> {
        let root = self.root().ok_or(PlaneError::NotFound("workspace"))?;
        self.may_override(principal, scope, &root)?;
        let affected = match scope {
            KillScope::Everything => self.all_workspaces(),
            KillScope::Workspace => vec![workspace.clone()],
        };
        let _transit = self.watched.in_transit();
        let mut lifted = true;
        for workspace in &affected {
            let lift =
                Lift { scope, who: self.who(workspace, principal), solo_delay_ms: SOLO_DELAY_MS };
            let payload = self.actor_payload(Some(principal))?;
            match self.submit(workspace.no, Command::Lift(lift), payload).await {
                // A workspace made after the trip, or lifted before.
                Err(PlaneError::Rejected(placet_engine::Rejection::NotTripped))
                    if workspace.no != root.no && affected.len() > 1 => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
            let _order = self.kill_order.lock().await;
            let (killed, open) = self
                .look(workspace.no, move |state| {
                    let (everything, own) = state.kill();
                    let open = match scope {
                        KillScope::Everything => everything.is_some(),
                        KillScope::Workspace => own.is_some(),
                    };
                    (state.is_killed(), open)
                })
                .await?;
            // A kill from beside the store that is not recorded yet is not in the state that was seen.
            let unrecorded = self.watched.unrecorded();
            workspace.killed.store(killed || !unrecorded.is_empty(), Ordering::SeqCst);
            drop(unrecorded);
            lifted &= !open;
        }
        if lifted {
            if scope == KillScope::Everything {
                let cleared = self.safety()?.clear_kill_request();
                self.watched.lifted();
                cleared.map_err(|e| PlaneError::StoreFailed(e.to_string()))?;
            }
            self.arm().await?;
        }
        Ok(lifted)
    }

    /// The kill switches over a workspace: of everything, of itself.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn kill_state(
        &self,
        workspace: &Workspace,
    ) -> Result<(Option<KillState>, Option<KillState>), PlaneError> {
        self.look(workspace.no, |state| {
            let (everything, own) = state.kill();
            (everything.cloned(), own.cloned())
        })
        .await
    }

    /// Writes the armed certificate, unless the first workspace is killed.
    pub(crate) async fn arm(&self) -> Result<(), PlaneError> {
        let root = self.root().ok_or(PlaneError::NotFound("workspace"))?;
        let (killed, last) =
            self.look(root.no, |state| (state.is_killed(), state.last_override())).await?;
        let _order = self.kill_order.lock().await;
        if killed || root.is_killed() {
            return Ok(());
        }
        let signer = root.signing().signer.clone();
        let bytes = crate::armed::certificate(&self.instance, last.unwrap_or(0), signer.as_ref());
        self.watched.writes(&bytes);
        self.safety()?
            .write_armed(&bytes)
            .map_err(|error| PlaneError::StoreFailed(error.to_string()))?;
        self.watched.has_written(&bytes);
        Ok(())
    }

    /// Everything can be stopped only from the first workspace.
    pub(crate) fn may_override(
        &self,
        principal: &Principal,
        scope: KillScope,
        root: &Workspace,
    ) -> Result<(), PlaneError> {
        if scope == KillScope::Everything && principal.caller.workspace != root.name {
            return Err(PlaneError::Rejected(placet_engine::Rejection::Foreign(
                "the first workspace, whose operators may stop everything",
            )));
        }
        let roles = &principal.caller.roles;
        if !roles.contains("operator") && !roles.contains("admin") {
            let need = [("admin".to_owned(), 1), ("operator".to_owned(), 1)].into();
            return Err(PlaneError::Rejected(placet_engine::Rejection::RoleMissing(need)));
        }
        if principal.caller.actor.kind() != placet_types::ids::ActorKind::Human {
            return Err(PlaneError::Rejected(placet_engine::Rejection::NotHuman));
        }
        Ok(())
    }

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

    pub(crate) fn safety(
        &self,
    ) -> Result<std::sync::MutexGuard<'_, Box<dyn crate::ports::Safety>>, PlaneError> {
        Ok(self.safety.lock().unwrap_or_else(PoisonError::into_inner))
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
        let granted = event::Principal {
            key: key.id,
            actor: workspace.actor_ref(&spec.actor),
            hash: key.hash(),
            environment: spec.environment.clone(),
            roles: spec.roles.clone(),
        };
        let by = self.who(workspace, principal);
        let command = CreateKey { principal: granted, by, decision: Some(decision) };
        let payload = self.payload(
            Object::new()
                .with("actor", spec.actor.as_str())
                .with("by", principal.caller.actor.as_str()),
        )?;
        let done = self.submit(workspace.no, Command::CreateKey(command), payload).await?;
        self.directory.insert(vec![record(workspace, &spec, &key)]);
        self.directory.closed(&done);
        Ok(key)
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
        let origin = format!("placet/{}/{name}", self.instance);
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
            gap: None,
            used: std::time::Instant::now(),
        })))?;
        let key = self.genesis(&workspace, admin, bundle.map(|bundle| bundle.digest())).await?;
        let mut all = self.workspaces.load().all.clone();
        let mut by_name: HashMap<_, _> = self.workspaces.load().by_name.clone();
        all.push(workspace.clone());
        by_name.insert(name, workspace.clone());
        self.workspaces.store(Arc::new(Workspaces { all, by_name }));
        let everything = match self.root() {
            Some(root) if root.no != workspace.no => {
                self.look(root.no, |state| state.kill().0.is_some()).await?
            }
            _ => false,
        };
        if !self.watched.unrecorded().is_empty() {
            workspace.stop();
        }
        if everything {
            let (scope, source) = (KillScope::Everything, KillSource::Certificate);
            let trip = Trip { scope, source, who: None, waiting: 0 };
            workspace.stop();
            self.submit(no, Command::Trip(trip), Payload::empty()).await?;
        }
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

    /// Believes the wall clock again. Only an operator may say so; the server checks that.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn confirm_clock(&self) -> Result<(), PlaneError> {
        self.send(Message::ConfirmClock)
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
