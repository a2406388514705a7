//! Sessions as the plane knows them: with names, which stand in payloads alone, and with what their
//! tokens said that decides about roles. Owns how they are opened, handed on, closed, narrowed and read
//! back; refuses to know tokens and their signatures.

mod listing;

use crate::crypto::Fast;
use crate::directory::{ApiKey, Directory, KeyError, KeyRecord};
use crate::error::PlaneError;
use crate::fold::{Unfolded, open};
use crate::frame::frames;
use crate::plane::{Plane, Principal};
use crate::ports::{Batch, JournalReader, SlotReader, WorkspaceNo};
use crate::sequencer::{Done, Next, Written};
use crate::workspace::Workspace;
use placet_engine::{ArmUnder, Command, OpenSession, Rejection, Session, State};
use placet_policy::{Bundle, Claims, Issuer};
use placet_types::Digest;
use placet_types::event::{self, CHAIN_MAX, Event, SessionNarrowed, SessionOpened, TokenUse};
use placet_types::hash::Hasher;
use placet_types::ids::{ActorId, KeyId, TimeMs};
use placet_types::json::{Object, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A session with its names.
#[derive(Debug)]
pub struct SessionRecord {
    /// As of a key; revoked means closed.
    pub record: KeyRecord,
    /// Id of the issuer; absent where it was handed on.
    pub issuer: Option<String>,
    /// On whose behalf, outermost first: verified.
    pub chain: Vec<ActorId>,
    /// When it ends.
    pub expires: TimeMs,
    /// What it was handed on from.
    pub parent: Option<KeyId>,
    /// The token that opened it.
    pub token: Option<TokenUse>,
    /// SHA-256 of the whole text of that token: whoever shows it is in this session.
    bearer: Option<Digest>,
    /// What of the token decides about roles, and what the issuer was when it was believed.
    pub(crate) said: Option<Said>,
    /// Its entry is durable. Shared by all values that this record ever has: one that replaces another
    /// meanwhile hears of it too.
    durable: Arc<AtomicBool>,
}

/// What a token said, as far as it is asked again when another bundle comes into force.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) claims: Claims,
    pub(crate) basis: Digest,
}

/// A token that was found good.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// Who acts.
    pub actor: ActorId,
    /// On whose behalf, outermost first.
    pub chain: Vec<ActorId>,
    /// What decides about roles.
    pub claims: Claims,
    /// SHA-256 of what its signature is over, and until when it would be believed. It is this that is used
    /// once: of some algorithms anybody makes a second good signature from the first.
    pub token: TokenUse,
    /// SHA-256 of its whole text, by which it is known again without its signature being looked at.
    pub bearer: Digest,
}

/// What a caller hands on.
#[derive(Clone, Debug)]
pub struct HandOn {
    /// To whom: an agent or a service.
    pub actor: ActorId,
    /// Which of the caller's roles.
    pub roles: BTreeSet<String>,
    /// Until when.
    pub expires: TimeMs,
}

/// Who shows a key or a token that counts.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Key or session.
    pub key: KeyId,
    /// Its workspace.
    pub workspace: WorkspaceNo,
    /// Who it is.
    pub actor: ActorId,
    /// Environment its requests count for.
    pub environment: String,
    /// What it may do today.
    pub roles: BTreeSet<String>,
    /// On whose behalf it acts: verified.
    pub chain: Vec<ActorId>,
    /// The session, where it is one.
    pub session: Option<Arc<SessionRecord>>,
}

/// What of an issuer decides who its subjects are. A session that another basis gave its name has no
/// roles any more.
fn basis(issuer: &Issuer) -> Digest {
    let parts = [
        issuer.issuer.as_str(),
        &issuer.audience,
        &issuer.environment,
        &issuer.name,
        issuer.prefix.as_deref().unwrap_or_default(),
        issuer.actor.as_str(),
        issuer.delegates.as_str(),
    ];
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    Digest(Fast::sha256(&[&bytes]))
}

/// What a bundle gives for what a token said; nothing where it no longer believes its issuer.
fn granted(bundle: Option<&Bundle>, issuer: &str, said: &Said) -> BTreeSet<String> {
    let issuers = bundle.map(Bundle::issuers).unwrap_or_default();
    let issuer = issuers.iter().find(|it| it.id == issuer && basis(it) == said.basis);
    issuer.and_then(|issuer| issuer.granted(&said.claims)).unwrap_or_default()
}

/// Sessions by their ids and by the tokens that opened them.
#[derive(Default)]
pub(crate) struct SessionTable(RwLock<Tables>);

#[derive(Default)]
struct Tables {
    all: HashMap<KeyId, Arc<SessionRecord>>,
    /// By the whole text of a token.
    tokens: HashMap<Digest, KeyId>,
    /// Insertions since ended sessions were looked for.
    added: usize,
}

/// Insertions after which ended sessions are looked for.
const SWEEP_AFTER: usize = 256;

impl SessionTable {
    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn get(&self, key: KeyId) -> Option<Arc<SessionRecord>> {
        self.read(|tables| tables.all.get(&key).cloned())
    }

    fn of_token(&self, bearer: &Digest) -> Option<Arc<SessionRecord>> {
        self.read(|tables| tables.all.get(tables.tokens.get(bearer)?).cloned())
    }

    /// Adds a session. One that is not durable yet opens nothing.
    pub(crate) fn insert(&self, record: Arc<SessionRecord>, now: TimeMs) {
        self.change(|tables| {
            tables.added += 1;
            if tables.added >= SWEEP_AFTER {
                tables.added = 0;
                tables.all.retain(|_, it| it.expires > now);
                let Tables { all, tokens, .. } = tables;
                tokens.retain(|_, key| all.contains_key(key));
            }
            if let Some(bearer) = record.bearer {
                tables.tokens.insert(bearer, record.record.key);
            }
            tables.all.insert(record.record.key, record);
        });
    }

    /// Whether a session of this actor counts.
    pub(crate) fn counts(&self, workspace: WorkspaceNo, actor: &ActorId, now: TimeMs) -> bool {
        let own =
            |it: &SessionRecord| it.record.workspace == workspace && it.record.actor == *actor;
        let live = |it: &SessionRecord| !it.record.revoked && it.expires > now;
        self.read(|tables| tables.all.values().any(|it| own(it) && live(it)))
    }

    fn replace(&self, key: KeyId, with: impl FnOnce(&SessionRecord) -> SessionRecord) {
        self.change(|tables| {
            if let Some(record) = tables.all.get_mut(&key) {
                *record = Arc::new(with(record));
            }
        });
    }

    fn close(&self, key: KeyId) {
        self.replace(key, |it| it.with(KeyRecord { revoked: true, ..it.record.clone() }));
    }

    /// Takes over what a state says of the roles of its sessions.
    pub(crate) fn follow(&self, workspace: WorkspaceNo, state: &State) {
        let of = |key: &KeyId| Some(&state.session(*key)?.opened.principal.roles);
        let changed = self.read(|tables| {
            let own = tables.all.iter().filter(|(_, it)| it.record.workspace == workspace);
            let changed = own.filter_map(|(key, it)| {
                of(key)
                    .filter(|roles| **roles != it.record.roles)
                    .map(|roles| (*key, roles.clone()))
            });
            changed.collect::<Vec<_>>()
        });
        for (key, roles) in changed {
            self.replace(key, |it| it.with(KeyRecord { roles, ..it.record.clone() }));
        }
    }
}

impl Directory {
    /// Sessions that ended with what was done open nothing any more.
    pub(crate) fn closed(&self, done: &Done) {
        for (_, event) in done.written.iter().flat_map(Written::events) {
            if let Event::SessionClosed(closed) = event {
                self.sessions.close(closed.key);
            }
        }
    }
}

impl SessionRecord {
    fn with(&self, record: KeyRecord) -> Self {
        let durable = self.durable.clone();
        let (issuer, chain, said) = (self.issuer.clone(), self.chain.clone(), self.said.clone());
        Self { record, issuer, chain, said, durable, ..*self }
    }

    fn names(&self) -> Object {
        let chain: Vec<Value> = self.chain.iter().map(|it| Value::from(it.as_str())).collect();
        let mut names = Object::new().with("actor", self.record.actor.as_str());
        names = names.with_opt("chain", (!chain.is_empty()).then_some(chain));
        // That of a token which is itself the key stands in the entry.
        if let Some(bearer) = self.bearer.filter(|bearer| *bearer != self.record.hash) {
            names.set("bearer", bearer.to_string());
        }
        if let Some(said) = &self.said {
            names.set("basis", said.basis.to_string());
            names.set("claims", said.claims.to_object());
        }
        names
    }

    /// From the entry that opened it and the payload beside that.
    fn of(no: WorkspaceNo, session: &Session, payload: &Object) -> Option<Self> {
        let opened = &session.opened;
        let actor = |value: &Value| ActorId::parse(value.as_str()?);
        let chain = match payload.get("chain") {
            None => Vec::new(),
            Some(chain) => chain.as_array()?.iter().map(actor).collect::<Option<_>>()?,
        };
        let said = match (payload.get("claims"), payload.get("basis")) {
            (Some(claims), Some(basis)) => Some(Said {
                claims: Claims::from_object(claims.as_object()?)?,
                basis: Digest::parse(basis.as_str()?)?,
            }),
            _ => None,
        };
        let bearer = match payload.get("bearer") {
            Some(bearer) => Some(Digest::parse(bearer.as_str()?)?),
            None => opened.token.map(|_| opened.principal.hash),
        };
        Some(Self {
            record: KeyRecord {
                key: opened.principal.key,
                workspace: no,
                actor: actor(payload.get("actor")?)?,
                environment: opened.principal.environment.clone(),
                roles: opened.principal.roles.clone(),
                hash: opened.principal.hash,
                certificate: false,
                revoked: session.closed,
            },
            issuer: opened.issuer.clone(),
            chain,
            expires: opened.expires,
            parent: opened.parent,
            token: opened.token,
            bearer,
            said,
            durable: Arc::new(AtomicBool::new(true)),
        })
    }
}

/// The sessions of a state whose time is not over, with names, which stand in payloads alone. One whose
/// payload was erased opens nothing any more; one that is closed says so without asking its issuer.
pub(crate) fn read(
    reader: &dyn JournalReader,
    slots: &dyn SlotReader,
    no: WorkspaceNo,
    state: &State,
) -> Result<Vec<SessionRecord>, Unfolded> {
    let mut sessions: Vec<&Session> =
        state.sessions().filter(|session| session.opened.expires > state.time()).collect();
    sessions.sort_by_key(|session| session.index);
    let mut out = Vec::with_capacity(sessions.len());
    let mut held: Option<Batch> = None;
    for session in sessions {
        let holds = |batch: &Batch| {
            let range = batch.first_index..batch.first_index + u64::from(batch.count);
            range.contains(&session.index)
        };
        if !held.as_ref().is_some_and(holds) {
            held = reader.read(no, session.index, 1)?.into_iter().find(holds);
        }
        let missing = || Unfolded::Damaged(format!("entry {} is missing", session.index));
        let batch = held.as_ref().ok_or_else(missing)?;
        let at = usize::try_from(session.index - batch.first_index).unwrap_or(usize::MAX);
        let frame = frames(&batch.frames).nth(at).and_then(Result::ok).ok_or_else(missing)?;
        let Some(payload) = open(slots, frame)? else { continue };
        out.extend(SessionRecord::of(no, session, &payload));
    }
    Ok(out)
}

/// For a bundle that comes into force: what it leaves of the sessions that tokens opened.
pub(crate) fn narrowing(
    command: &Command,
    state: &State,
    directory: &Directory,
    bundle: &Bundle,
    now: TimeMs,
) -> Option<Command> {
    let Command::ArmUnder(arm) = command else { return None };
    let left = |session: &Session| {
        let issuer = session.opened.issuer.as_deref()?;
        let record = directory.sessions.get(session.opened.principal.key);
        let said = record.as_ref().and_then(|record| record.said.as_ref());
        Some(said.map(|said| granted(Some(bundle), issuer, said)).unwrap_or_default())
    };
    let narrowed: Vec<SessionNarrowed> = state.narrowed(left, now);
    (!narrowed.is_empty())
        .then(|| Command::ArmUnder(Box::new(ArmUnder { narrowed, ..ArmUnder::clone(arm) })))
}

impl Plane {
    /// Whose key or session secret this is.
    ///
    /// # Errors
    /// [`KeyError`]: unknown (malformed and wrong alike), revoked, closed or ended.
    pub fn authenticate(&self, text: &str) -> Result<Credential, KeyError> {
        let key = ApiKey::parse(text).ok_or(KeyError::Unknown)?;
        let Some(session) = self.directory.sessions.get(key.id) else {
            let record = self.directory.authenticate(&key)?;
            return Ok(Credential {
                key: record.key,
                workspace: record.workspace,
                actor: record.actor.clone(),
                environment: record.environment.clone(),
                roles: record.roles.clone(),
                chain: Vec::new(),
                session: None,
            });
        };
        if !session.record.is_opened_by(&key) || !session.durable.load(Ordering::SeqCst) {
            return Err(KeyError::Unknown);
        }
        self.credential(session)
    }

    /// Whose session the token whose text has this SHA-256 has opened; `None` where it has opened none.
    ///
    /// # Errors
    /// [`KeyError`]: closed or ended.
    pub fn credential_of_token(&self, bearer: &Digest) -> Result<Option<Credential>, KeyError> {
        match self.directory.sessions.of_token(bearer) {
            Some(session) if session.durable.load(Ordering::SeqCst) => {
                // A session that it was exchanged for may live longer than the token itself.
                if session.token.is_some_and(|token| self.now() >= token.until) {
                    return Err(KeyError::SessionEnded);
                }
                self.credential(session).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn credential(&self, session: Arc<SessionRecord>) -> Result<Credential, KeyError> {
        let now = self.now();
        let roles = self.standing(&session, now, 0)?;
        let record = &session.record;
        Ok(Credential {
            key: record.key,
            workspace: record.workspace,
            actor: record.actor.clone(),
            environment: record.environment.clone(),
            roles,
            chain: session.chain.clone(),
            session: Some(session),
        })
    }

    /// What a session may do today, by the bundle in force and by what it came from.
    fn standing(
        &self,
        session: &SessionRecord,
        now: TimeMs,
        depth: usize,
    ) -> Result<BTreeSet<String>, KeyError> {
        if session.record.revoked || depth > CHAIN_MAX {
            return Err(KeyError::SessionClosed);
        }
        if now >= session.expires {
            return Err(KeyError::SessionEnded);
        }
        let mut roles = session.record.roles.clone();
        if let Some(parent) = session.parent {
            let of_parent = match self.directory.sessions.get(parent) {
                Some(parent) => self.standing(&parent, now, depth + 1)?,
                None => {
                    let key = self.directory.get(parent).filter(|key| !key.revoked);
                    key.ok_or(KeyError::SessionClosed)?.roles.clone()
                }
            };
            roles.retain(|role| of_parent.contains(role));
        }
        if let (Some(issuer), Some(said)) = (&session.issuer, &session.said) {
            let workspace = self.workspace_no(session.record.workspace);
            let bundle = workspace.and_then(|workspace| workspace.bundle());
            let granted = granted(bundle.as_deref(), issuer, said);
            roles.retain(|role| granted.contains(role));
        }
        Ok(roles)
    }

    /// Opens the session of a token that was found good under `bundle`, the one in force. Exchanged, the
    /// token gives a key, shown once, for a session as long as the issuer says; otherwise the token
    /// itself goes on opening it until it expires.
    ///
    /// # Errors
    /// [`PlaneError`]; [`PlaneError::PolicyMoved`] when another bundle is in force by now, `None` inside
    /// where the bundle gives the token nothing.
    pub async fn open_session(
        &self,
        workspace: &Arc<Workspace>,
        (bundle, issuer): (&Bundle, &Issuer),
        token: &VerifiedToken,
        exchange: bool,
    ) -> Result<Option<(KeyId, Option<ApiKey>)>, PlaneError> {
        let Some(roles) = issuer.granted(&token.claims) else { return Ok(None) };
        let key = ApiKey::generate(self.id(self.clock.wall()), &self.host);
        let (hash, expires) = if exchange {
            (key.hash(), self.now().plus(issuer.session_ms))
        } else {
            (token.bearer, token.token.until)
        };
        let record = SessionRecord {
            record: KeyRecord {
                key: key.id,
                workspace: workspace.no,
                actor: token.actor.clone(),
                environment: issuer.environment.clone(),
                roles,
                hash,
                certificate: false,
                revoked: false,
            },
            issuer: Some(issuer.id.clone()),
            chain: token.chain.clone(),
            expires,
            parent: None,
            token: Some(token.token),
            bearer: Some(token.bearer),
            said: Some(Said { claims: token.claims.clone(), basis: basis(issuer) }),
            durable: Arc::default(),
        };
        match self.submit_session(workspace, record, None, Some(bundle.digest())).await {
            Ok(()) => Ok(Some((key.id, exchange.then_some(key)))),
            // Another call with the same token was faster. What it wrote is durable by now. One with
            // another signature over the same is another bearer, which opens nothing.
            Err(PlaneError::Rejected(Rejection::TokenUsed)) if !exchange => {
                let other = self.directory.sessions.of_token(&token.bearer);
                let other = other.ok_or(PlaneError::Rejected(Rejection::TokenUsed))?;
                other.durable.store(true, Ordering::SeqCst);
                Ok(Some((other.record.key, None)))
            }
            Err(error) => Err(error),
        }
    }

    /// Hands a part of the caller's rights on to an agent or a service. The key is returned once.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn hand_on(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        spec: HandOn,
    ) -> Result<(KeyId, ApiKey), PlaneError> {
        let key = ApiKey::generate(self.id(self.clock.wall()), &self.host);
        let mut chain = principal.caller.chain.clone();
        chain.push(principal.caller.actor.clone());
        let record = SessionRecord {
            record: KeyRecord {
                key: key.id,
                workspace: workspace.no,
                actor: spec.actor,
                environment: principal.caller.environment.clone(),
                roles: spec.roles,
                hash: key.hash(),
                certificate: false,
                revoked: false,
            },
            issuer: None,
            chain,
            expires: spec.expires,
            parent: principal.key,
            token: None,
            bearer: None,
            said: None,
            durable: Arc::default(),
        };
        self.submit_session(workspace, record, Some(principal), None).await?;
        Ok((key.id, key))
    }

    async fn submit_session(
        &self,
        workspace: &Arc<Workspace>,
        record: SessionRecord,
        by: Option<&Principal>,
        policy: Option<Digest>,
    ) -> Result<(), PlaneError> {
        let of = &record.record;
        let session = SessionOpened {
            principal: event::Principal {
                key: of.key,
                actor: workspace.actor_ref(&of.actor),
                hash: of.hash,
                environment: of.environment.clone(),
                roles: of.roles.clone(),
            },
            issuer: record.issuer.clone(),
            expires: record.expires,
            chain: record.chain.iter().map(|actor| workspace.actor_ref(actor)).collect(),
            parent: record.parent,
            token: record.token,
        };
        let payload = self.payload(record.names())?;
        let by = by.map(|principal| self.who(workspace, principal));
        let command = Command::OpenSession(Box::new(OpenSession { session, by, policy }));
        // Not what the table holds: a bundle that comes after it may narrow it before this returns.
        let durable = record.durable.clone();
        let next = Next::Session(Arc::new(record));
        let (message, answer) = crate::asking::message(workspace.no, command, payload, next);
        self.send(message)?;
        let done = self.finish(answer).await?;
        self.directory.closed(&done);
        durable.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Closes a session before its time: from the moment this returns it opens nothing, nor does what
    /// came from it.
    ///
    /// # Errors
    /// [`PlaneError`]; unknown and foreign sessions alike are not found.
    pub async fn close_session(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        key: KeyId,
    ) -> Result<(), PlaneError> {
        let by = self.who(workspace, principal);
        let payload = self.actor_payload(Some(principal))?;
        self.submit(workspace.no, Command::CloseSession { key, by }, payload).await?;
        self.directory.sessions.close(key);
        Ok(())
    }

    /// The name behind a reference of an entry, of everybody who has or had a key or a session here.
    #[must_use]
    pub fn name_of(&self, workspace: &Workspace, reference: &str) -> Option<String> {
        self.directory.people.name(workspace, reference)
    }

    /// One session.
    #[must_use]
    pub fn session(&self, key: KeyId) -> Option<Arc<SessionRecord>> {
        self.directory.sessions.get(key)
    }
}

#[cfg(test)]
mod tests;
