//! Sessions: keys with an end. Who opens one, what it may do, and when it ends. Owns the rule that
//! rights only shrink on their way from one actor to the next; refuses to know tokens.

use crate::command::{Command, Lends, OpenSession, Plan, Who};
use crate::rejection::Rejection;
use crate::state::State;
use crate::step::{append, may_administer};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::event::{
    ActorRef, CHAIN_MAX, CloseReason, Event, Principal, SessionClosed, SessionNarrowed,
    SessionOpened,
};
use placet_types::ids::{KeyId, TimeMs};

/// What has ended is kept in mind for so long, so that a command that was under way is refused for
/// what it is.
const GRACE_MS: u64 = 600_000;
/// Ended sessions forgotten per entry: more than are added, so the backlog always shrinks.
const FORGET_PER_ENTRY: usize = 8;
/// For so long after their last session people count where the constitution asks how many there are:
/// nobody becomes the only admin by waiting until the others have gone home.
const PEOPLE_MS: u64 = 30 * 86_400_000;
/// Most sessions of one name that end when somebody proves that it is theirs.
const TAKEN_MAX: usize = 1024;

/// A session, open or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Log index of its entry.
    pub index: u64,
    /// As it was opened; its principal has the roles that are left.
    pub opened: SessionOpened,
    /// It was closed before its time.
    pub closed: bool,
}

impl Session {
    /// Nobody has to remember it from here on.
    fn until(&self) -> TimeMs {
        let token = self.opened.token.map_or(TimeMs(0), |token| token.until);
        self.opened.expires.max(token).plus(GRACE_MS)
    }

    /// Whose share of the bound it takes: that of whoever stands behind it all.
    fn owner(&self) -> &ActorRef {
        self.opened.chain.first().unwrap_or(&self.opened.principal.actor)
    }
}

/// A person whom a session made known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) roles: BTreeSet<String>,
    pub(crate) until: TimeMs,
}

/// All sessions of a workspace. What is not in a snapshot is derived from what is.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) all: BTreeMap<KeyId, Session>,
    pub(crate) people: BTreeMap<ActorRef, Person>,
    tokens: BTreeMap<Digest, KeyId>,
    ends: BTreeSet<(TimeMs, KeyId)>,
    owners: BTreeMap<ActorRef, usize>,
    of_actor: BTreeMap<ActorRef, BTreeSet<KeyId>>,
    children: BTreeMap<KeyId, BTreeSet<KeyId>>,
}

impl Sessions {
    pub(crate) fn insert(&mut self, session: Session) {
        let key = session.opened.principal.key;
        if let Some(token) = &session.opened.token {
            self.tokens.insert(token.hash, key);
        }
        self.ends.insert((session.until(), key));
        let count = self.owners.entry(session.owner().clone()).or_default();
        *count = count.saturating_add(1);
        self.of_actor.entry(session.opened.principal.actor.clone()).or_default().insert(key);
        if let Some(parent) = session.opened.parent {
            self.children.entry(parent).or_default().insert(key);
        }
        self.all.insert(key, session);
    }

    /// Forgets what ended long ago.
    pub(crate) fn forget(&mut self, now: TimeMs) {
        for _ in 0..FORGET_PER_ENTRY {
            let Some((until, key)) = self.ends.first().copied().filter(|(until, _)| *until <= now)
            else {
                return;
            };
            self.ends.remove(&(until, key));
            let Some(session) = self.all.remove(&key) else { continue };
            if let Some(token) = &session.opened.token {
                self.tokens.remove(&token.hash);
            }
            if let Some(count) = self.owners.get_mut(session.owner()) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.owners.remove(session.owner());
                }
            }
            drop_from(&mut self.of_actor, &session.opened.principal.actor, key);
            if let Some(parent) = &session.opened.parent {
                drop_from(&mut self.children, parent, key);
            }
        }
    }

    /// A person and what their session grants, for as long as they count.
    fn meet(&mut self, principal: &Principal, expires: TimeMs, now: TimeMs, max: usize) {
        if !principal.actor.is_human() || principal.roles.is_empty() {
            return;
        }
        if self.people.len() >= max && !self.people.contains_key(&principal.actor) {
            self.people.retain(|_, person| person.until > now);
            let first = self.people.iter().min_by_key(|(_, person)| person.until);
            let first = first.map(|(actor, _)| actor.clone());
            if let Some(first) = first.filter(|_| self.people.len() >= max) {
                self.people.remove(&first);
            }
        }
        let until = expires.plus(PEOPLE_MS);
        let person = self
            .people
            .entry(principal.actor.clone())
            .or_insert_with(|| Person { roles: BTreeSet::new(), until });
        if person.until <= now {
            person.roles.clear();
        }
        person.until = person.until.max(until);
        person.roles.extend(principal.roles.iter().cloned());
    }
}

fn drop_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<KeyId>>, at: &K, key: KeyId) {
    if let Some(keys) = index.get_mut(at) {
        keys.remove(&key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}

impl State {
    /// One session, as long as it is kept in mind.
    #[must_use]
    pub fn session(&self, key: KeyId) -> Option<&Session> {
        self.sessions.all.get(&key)
    }

    /// All sessions that are kept in mind, by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.all.values()
    }

    /// Why this session opens nothing at `now`, if so: it ended, or what it came from did.
    ///
    /// # Errors
    /// [`Rejection::SessionClosed`], [`Rejection::SessionEnded`].
    pub fn session_stands(&self, session: &Session, now: TimeMs) -> Result<(), Rejection> {
        let mut next = Some(session);
        while let Some(session) = next {
            if session.closed {
                return Err(Rejection::SessionClosed);
            }
            if now >= session.opened.expires {
                return Err(Rejection::SessionEnded);
            }
            let Some(parent) = session.opened.parent else { return Ok(()) };
            next = self.sessions.all.get(&parent);
            if next.is_none() {
                let lives = self.keys.get(parent).is_some_and(|key| !key.revoked);
                return if lives { Ok(()) } else { Err(Rejection::SessionClosed) };
            }
        }
        Ok(())
    }

    /// By what an actor counts at `now`: its keys and its sessions.
    pub fn standing<'a>(
        &'a self,
        actor: &'a ActorRef,
        now: TimeMs,
    ) -> impl Iterator<Item = &'a Principal> {
        let sessions = self.sessions.of_actor.get(actor).into_iter().flatten();
        let sessions = sessions.filter_map(|key| self.sessions.all.get(key));
        let sessions = sessions.filter(move |it| self.session_stands(it, now).is_ok());
        self.keys.of(actor).chain(sessions.map(|session| &session.opened.principal))
    }

    /// Those of `roles` that an actor has at `now`, by any of its keys and sessions. Ends as soon as all are
    /// found.
    #[must_use]
    pub fn roles_among(
        &self,
        actor: &ActorRef,
        roles: &BTreeSet<String>,
        now: TimeMs,
    ) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for principal in self.standing(actor, now) {
            found.extend(principal.roles.intersection(roles).cloned());
            if found.len() == roles.len() {
                break;
            }
        }
        found
    }

    /// What an actor may do at `now`: the roles of all its keys and sessions.
    #[must_use]
    pub fn roles_of(&self, actor: &ActorRef, now: TimeMs) -> BTreeSet<String> {
        self.standing(actor, now).flat_map(|principal| principal.roles.iter().cloned()).collect()
    }

    /// Between evaluating a held request and this a key of its proposer may have ended: then the verdict rests
    /// on roles that nobody has any more.
    pub(crate) fn still_lends(&self, command: &Command, now: TimeMs) -> Result<(), Rejection> {
        let lends = match command {
            Command::Vote(command) => command.lends.as_ref(),
            Command::Collect(command) => command.lends.as_ref(),
            Command::ArmUnder(command) => command.lends.as_ref(),
            _ => None,
        };
        let Some(Lends { actor, roles }) = lends else { return Ok(()) };
        let revoked = self.revoked_role(roles).is_some();
        if revoked || self.roles_among(actor, roles, now).len() < roles.len() {
            return Err(Rejection::ProposerMoved);
        }
        Ok(())
    }

    /// Whether authentication took this caller for what it is now: what lies before the queue may
    /// have changed meanwhile.
    pub(crate) fn still_is(&self, who: &Who, now: TimeMs) -> Result<(), Rejection> {
        let Some(key) = who.key else { return Ok(()) };
        if self.keys.get(key).is_some_and(|key| key.revoked) {
            return Err(Rejection::KeyRevoked);
        }
        let Some(session) = self.sessions.all.get(&key) else { return Ok(()) };
        self.session_stands(session, now)?;
        if who.roles.is_subset(&session.opened.principal.roles) {
            Ok(())
        } else {
            Err(Rejection::SessionNarrowed)
        }
    }

    /// What is left of the sessions that grant more than `granted` says: for a bundle that comes into
    /// force.
    #[must_use]
    pub fn narrowed(
        &self,
        mut granted: impl FnMut(&Session) -> Option<BTreeSet<String>>,
        now: TimeMs,
    ) -> Vec<SessionNarrowed> {
        let mut out = Vec::new();
        for (key, session) in &self.sessions.all {
            if session.closed || now >= session.opened.expires {
                continue;
            }
            let Some(granted) = granted(session) else { continue };
            let had = &session.opened.principal.roles;
            let left: BTreeSet<String> = had.intersection(&granted).cloned().collect();
            if left.len() < had.len() {
                out.push(SessionNarrowed { key: *key, roles: left });
            }
        }
        out
    }

    pub(crate) fn apply_opened(
        &mut self,
        opened: &SessionOpened,
        index: u64,
    ) -> Result<(), &'static str> {
        let principal = &opened.principal;
        if self.keys.get(principal.key).is_some() || self.sessions.all.contains_key(&principal.key)
        {
            return Err("it opens a session under an id that is taken");
        }
        // INVARIANT: rights only shrink. `step` refuses what would widen them.
        if let Some(parent) = &opened.parent {
            let roles = self.roles_of_key(*parent).ok_or("its parent is not known")?;
            if !principal.roles.is_subset(roles) || principal.actor.is_human() {
                return Err("it has more than the one that it came from");
            }
        }
        let (now, max) = (self.time, self.bounds.sessions_max);
        self.sessions.meet(principal, opened.expires, now, max);
        self.sessions.insert(Session { index, opened: opened.clone(), closed: false });
        Ok(())
    }

    pub(crate) fn apply_narrowed(
        &mut self,
        narrowed: &SessionNarrowed,
    ) -> Result<(), &'static str> {
        let session = self.sessions.all.get_mut(&narrowed.key);
        let session = session.ok_or("it narrows an unknown session")?;
        let roles = &mut session.opened.principal.roles;
        if !narrowed.roles.is_subset(roles) {
            return Err("it widens a session");
        }
        roles.clone_from(&narrowed.roles);
        let actor = session.opened.principal.actor.clone();
        // Whatever was handed on has no more than what it came from.
        let mut shrunk = alloc::vec![narrowed.key];
        while let Some(parent) = shrunk.pop() {
            let Some(roles) = self.roles_of_key(parent).cloned() else { continue };
            for key in self.sessions.children.get(&parent).into_iter().flatten() {
                let Some(child) = self.sessions.all.get_mut(key) else { continue };
                let own = &mut child.opened.principal.roles;
                if !own.is_subset(&roles) {
                    own.retain(|role| roles.contains(role));
                    shrunk.push(*key);
                }
            }
        }
        let left = self.roles_of(&actor, self.time);
        if let Some(person) = self.sessions.people.get_mut(&actor) {
            person.roles.retain(|role| left.contains(role));
        }
        Ok(())
    }

    pub(crate) fn apply_session_closed(
        &mut self,
        closed: &SessionClosed,
    ) -> Result<(), &'static str> {
        let session = self.sessions.all.get_mut(&closed.key);
        let session = session.filter(|session| !session.closed);
        session.ok_or("it closes a session that is not open")?.closed = true;
        Ok(())
    }

    /// Roles of a key or a session, whether it counts or not.
    fn roles_of_key(&self, key: KeyId) -> Option<&BTreeSet<String>> {
        let key_roles = self.keys.get(key).map(|key| &key.principal.roles);
        key_roles.or_else(|| Some(&self.sessions.all.get(&key)?.opened.principal.roles))
    }
}

/// A token opens one session, however often it is shown; and nobody hands on more than they have.
pub(crate) fn open(state: &State, command: &OpenSession, now: TimeMs) -> Result<Plan, Rejection> {
    let opened = &command.session;
    if let Some(known) = opened.token.and_then(|token| state.sessions.tokens.get(&token.hash))
        && let Some(session) = state.sessions.all.get(known)
    {
        state.session_stands(session, now)?;
        return Err(Rejection::TokenUsed);
    }
    if opened.expires <= now {
        return Err(Rejection::SessionEnded);
    }
    if opened.chain.len() > CHAIN_MAX {
        return Err(Rejection::ChainTooDeep);
    }
    match (&command.by, opened.parent) {
        (None, None) if opened.token.is_some() => {}
        (Some(by), Some(parent)) if by.key == Some(parent) => {
            handed_on(state, opened, by, parent, now)?
        }
        _ => return Err(Rejection::NotFound("key")),
    }
    let session = Session { index: 0, opened: opened.clone(), closed: false };
    let of_owner = state.sessions.owners.get(session.owner()).copied().unwrap_or(0);
    if state.sessions.all.len() >= state.bounds.sessions_max
        || of_owner >= state.bounds.sessions_each
    {
        return Err(Rejection::SessionsFull);
    }
    let mut events = alloc::vec![Event::SessionOpened(opened.clone())];
    if opened.parent.is_none() {
        // Whoever proves the name has it from here on.
        let actor = &opened.principal.actor;
        events.extend(state.handed_on_as(actor, now).take(TAKEN_MAX).map(|key| {
            let (by, reason) = (actor.clone(), CloseReason::Revoked);
            Event::SessionClosed(SessionClosed { key, by, reason })
        }));
    }
    Ok(Plan::Append(events))
}

fn handed_on(
    state: &State,
    opened: &SessionOpened,
    by: &Who,
    parent: KeyId,
    now: TimeMs,
) -> Result<(), Rejection> {
    if opened.principal.actor.is_human() {
        return Err(Rejection::PersonHandedOn);
    }
    let (chain, expires) = match state.sessions.all.get(&parent) {
        Some(session) => (session.opened.chain.as_slice(), Some(session.opened.expires)),
        None if state.keys.get(parent).is_some() => (&[][..], None),
        None => return Err(Rejection::NotFound("key")),
    };
    // Rules hold agents that let services pass.
    let agent = |actor: &ActorRef| actor.as_str().starts_with("agent:");
    if agent(&by.actor) && !agent(&opened.principal.actor) {
        return Err(Rejection::KindRaised);
    }
    if is_taken(state, opened, now) {
        return Err(Rejection::ActorTaken);
    }
    // What is handed on is what the caller has today, which may be less than what it came with.
    if !opened.principal.roles.is_subset(&by.roles) {
        return Err(Rejection::RolesExceeded);
    }
    if expires.is_some_and(|expires| opened.expires > expires) {
        return Err(Rejection::OutlivesParent);
    }
    let whole = chain.iter().chain(core::iter::once(&by.actor));
    if whole.eq(opened.chain.iter()) { Ok(()) } else { Err(Rejection::ChainTooDeep) }
}

/// Whether somebody else goes by the name: rights hang on names as well as on roles, and nobody hands on
/// those of another. The same name may be handed on again by whoever stands behind it already.
fn is_taken(state: &State, opened: &SessionOpened, now: TimeMs) -> bool {
    let actor = &opened.principal.actor;
    if state.keys.of(actor).next().is_some() {
        return true;
    }
    let others = state.sessions.of_actor.get(actor).into_iter().flatten();
    let others = others.filter_map(|key| state.sessions.all.get(key));
    let mut live = others.filter(|other| state.session_stands(other, now).is_ok());
    live.any(|other| other.opened.chain != opened.chain)
}

impl State {
    /// Sessions that others handed on under a name which now gets a key or a token of its own: they end.
    pub(crate) fn handed_on_as<'a>(
        &'a self,
        actor: &'a ActorRef,
        now: TimeMs,
    ) -> impl Iterator<Item = KeyId> + 'a {
        let sessions = self.sessions.of_actor.get(actor).into_iter().flatten();
        let sessions = sessions.filter_map(|key| self.sessions.all.get(key));
        let lives = move |it: &&Session| !it.closed && now < it.opened.expires;
        let handed = sessions.filter(|it| it.opened.parent.is_some()).filter(lives);
        handed.map(|it| it.opened.principal.key)
    }

    /// Whether what `proposers` asked for is this caller's affair: a name that was handed on counts only
    /// where whoever handed it on stood behind the request.
    pub(crate) fn stands_behind(&self, who: &Who, proposers: &[ActorRef]) -> bool {
        let session = who.key.and_then(|key| self.sessions.all.get(&key));
        let handed = session.filter(|session| session.opened.parent.is_some());
        handed.is_none_or(|it| it.opened.chain.iter().all(|actor| proposers.contains(actor)))
    }
}

/// Whoever it belongs to closes it, whoever handed it on takes it back, and an admin revokes it.
pub(crate) fn close(state: &State, key: KeyId, by: &Who, now: TimeMs) -> Result<Plan, Rejection> {
    let session = state.sessions.all.get(&key).ok_or(Rejection::NotFound("session"))?;
    let ancestor = |session: &Session| session.opened.chain.contains(&by.actor);
    let own = session.opened.principal.actor == by.actor
        && by
            .key
            .and_then(|key| state.sessions.all.get(&key))
            .is_none_or(|it| it.opened.parent.is_none() || it.opened.chain == session.opened.chain);
    let reason = if own {
        CloseReason::Logout
    } else if ancestor(session) {
        CloseReason::TakenBack
    } else {
        // To anybody else it does not exist.
        may_administer(by).map_err(|_| Rejection::NotFound("session"))?;
        CloseReason::Revoked
    };
    // A token whose session has ended by itself is refused for its age.
    if session.closed || now >= session.opened.expires {
        return Ok(Plan::Nothing);
    }
    append(Event::SessionClosed(SessionClosed { key, by: by.actor.clone(), reason }))
}
