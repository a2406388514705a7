//! A workspace in which time is a command. Every planned event becomes an entry, its bytes, and an
//! entry again before it is applied, so whatever runs here tests the format too.

use placet_engine::{Bounds, Command, IdempotencyKeys, Plan, Rejection, State, Viewer, step};
use placet_types::event::{ActorRef, DecisionEvent, Entry, Event, Genesis, Principal};
use placet_types::ids::{
    ActorId, ApprovalId, DecisionId, Id, IdKind, KeyId, TimeMs, WorkspaceName,
};
use placet_types::{Digest, Hasher};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// SHA-256 and HMAC as the trait asks for them, from `sha2` alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Hasher for Portable {
    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut block = [0_u8; 64];
        if key.len() > 64 {
            block[..32].copy_from_slice(&Self::sha256(&[key]));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let (inner, outer) = (block.map(|b| b ^ 0x36), block.map(|b| b ^ 0x5c));
        let mut all = vec![&inner[..]];
        all.extend(parts);
        Self::sha256(&[&outer, &Self::sha256(&all)])
    }
}

#[test]
fn the_hasher_of_the_tests_is_hmac_sha_256() {
    // RFC 4231, case 2.
    let mac = Portable::hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
    assert!(
        Digest(mac)
            .hex()
            .starts_with("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    );
}

/// A digest that stands for `text`.
pub(crate) fn digest(text: &str) -> Digest {
    Digest(Portable::sha256(&[text.as_bytes()]))
}

/// The 16 bytes that stand for `text`.
pub(crate) fn tag(text: &str) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&digest(text).0[..16]);
    out
}

/// A reference as entries hold it: people by a pseudonym, which keeps the name readable here.
pub(crate) fn actor(text: &str) -> ActorRef {
    let _ = ActorId::parse(text).expect("kind:name");
    ActorRef::parse(text).expect("kind:name")
}

/// Where a follower writes runs, and the last snapshot it wrote.
#[derive(Default)]
pub(crate) struct Runs {
    pub(crate) ends: BTreeSet<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) bounds: Bounds,
    pub(crate) now: TimeMs,
    pub(crate) epoch: u64,
    pub(crate) dev: bool,
    pub(crate) solo: bool,
    /// The bytes of all entries.
    pub(crate) log: Vec<Vec<u8>>,
    /// The entries as read back from them.
    pub(crate) entries: Vec<Entry>,
    /// Every decision with its log index.
    pub(crate) decisions: Vec<(u64, DecisionEvent)>,
    ids: u64,
}

/// The time of the first entry.
pub(crate) const START: TimeMs = TimeMs(1_800_000_000_000);

impl World {
    pub(crate) fn new(bounds: Bounds, dev: bool, solo: bool) -> Self {
        Self {
            state: State::new(bounds),
            bounds,
            now: START,
            epoch: 1,
            dev,
            solo,
            log: Vec::new(),
            entries: Vec::new(),
            decisions: Vec::new(),
            ids: 0,
        }
    }

    /// The next id; ids of one kind sort as they were made.
    pub(crate) fn id<K: IdKind>(&mut self) -> Id<K> {
        self.ids += 1;
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.ids.to_be_bytes());
        Id::new(self.now, random)
    }

    pub(crate) fn genesis(&mut self, principals: Vec<Principal>, bundle: Option<Digest>) {
        let genesis = Genesis {
            instance: "00112233aabbccdd".into(),
            origin: "placet/00112233aabbccdd/bank".into(),
            vkeys: vec!["key 0".into()],
            principals,
            bundle,
            constitution: placet_engine::CONSTITUTION,
        };
        self.append(vec![Event::Genesis(genesis)]);
    }

    pub(crate) fn principal(&mut self, name: &str, roles: &[&str]) -> Principal {
        let key: placet_types::ids::KeyId = self.id();
        Principal {
            key,
            actor: actor(name),
            // Secrets are random: no two keys have one.
            hash: digest(&key.to_string()),
            environment: "production".into(),
            roles: roles.iter().map(ToString::to_string).collect(),
        }
    }

    /// The entry that `event` would be.
    pub(crate) fn entry(&mut self, event: Event) -> Entry {
        let (name, commitment) = match &event {
            Event::Decision(decision) => {
                (decision.decision.to_string(), decision.action_commitment)
            }
            _ => (self.id::<placet_types::ids::Event>().to_string(), Digest([0; 32])),
        };
        Entry {
            time: self.now,
            workspace: WorkspaceName::parse("bank").unwrap(),
            epoch: self.epoch,
            dev: self.dev,
            solo: self.solo,
            name,
            commitment,
            payload: Digest([0; 32]),
            event,
        }
    }

    pub(crate) fn append(&mut self, events: Vec<Event>) {
        for event in events {
            let entry = self.entry(event);
            let bytes = entry.to_bytes();
            let read = Entry::parse(&bytes).expect("an entry reads back");
            assert_eq!(read, entry, "an entry reads back as it was");
            if let Event::Decision(decision) = &read.event {
                self.decisions.push((self.state.next_index(), (**decision).clone()));
            }
            self.state.apply(&read).expect("what step plans, apply takes");
            self.log.push(bytes);
            self.entries.push(read);
        }
    }

    /// Steps, and appends what is planned. The plan does not depend on when it is asked for.
    pub(crate) fn run(&mut self, command: &Command) -> Result<Plan, Rejection> {
        let plan = step::<Portable>(&self.state, command, self.now);
        assert_eq!(plan, step::<Portable>(&self.state, command, self.now), "step is a function");
        if let Ok(Plan::Append(events)) = &plan {
            assert!(!events.is_empty(), "a plan that appends nothing is Plan::Nothing");
            self.append(events.clone());
        }
        plan
    }

    /// The fold of the same bytes from scratch.
    pub(crate) fn replayed(&self) -> State {
        let mut state = State::new(self.bounds);
        for bytes in &self.log {
            let entry = Entry::parse(bytes).expect("an entry reads back");
            state.apply(&entry).expect("what was applied once is applied again");
        }
        state
    }

    /// The state as a snapshot after `at` entries and the fold of the rest gives it.
    pub(crate) fn revived(&self, runs: &mut Runs, at: usize) -> State {
        let mut follower = State::new(self.bounds);
        follower.gather_idempotency();
        let mut saved = Vec::new();
        for (index, bytes) in self.log.iter().enumerate().take(at) {
            follower.apply(&Entry::parse(bytes).unwrap()).expect("a follower applies");
            if runs.ends.contains(&(index + 1)) || index + 1 == at {
                let from = saved.last().map_or(0, |(_, _, until)| *until);
                let mut run = Vec::new();
                follower.gather_idempotency().write_run(follower.time(), &mut run);
                saved.push((run, from, index as u64 + 1));
            }
        }
        let mut bytes = Vec::new();
        follower.write_snapshot(&mut bytes);
        let mut state =
            State::read_snapshot(&bytes, self.bounds, at as u64).expect("a snapshot reads back");
        let mut again = Vec::new();
        state.write_snapshot(&mut again);
        assert_eq!(bytes, again, "a snapshot is written back as it was read");
        runs.bytes = bytes;
        let mut keys = IdempotencyKeys::default();
        for (run, from, until) in &saved {
            keys.read_run(run, *from, *until, state.time()).expect("a run reads back");
        }
        state.set_idempotency(keys);
        for bytes in &self.log[at..] {
            state.apply(&Entry::parse(bytes).unwrap()).expect("the rest applies");
        }
        state
    }

    #[track_caller]
    pub(crate) fn check_replay(&self) {
        assert_eq!(self.fingerprint(&self.state), self.fingerprint(&self.replayed()));
    }

    /// All that can be asked of a state, as text.
    pub(crate) fn fingerprint(&self, state: &State) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} {:?} epoch {} solo {} {} policy {:?}\n{:?}\nkill {:?} {:?} timer {:?}\nheld {} {:?}",
            state.next_index(),
            state.time(),
            state.epoch(),
            state.solo(),
            state.origin(),
            state.policy(),
            state.counters(),
            state.kill(),
            state.last_override(),
            state.next_timer(),
            state.held_open(),
            &state.sizes()[1..],
        );
        let _ = writeln!(out, "{:?}", state.measures());
        let _ = writeln!(out, "{:?}", state.overrides().collect::<Vec<_>>());
        let _ = writeln!(out, "{:?}", state.executions(None).collect::<Vec<_>>());
        for (principal, revoked) in state.keys() {
            let _ = writeln!(out, "{principal:?} {revoked}");
        }
        for session in state.sessions() {
            let stands = state.session_stands(session, self.now);
            let roles = state.roles_of(&session.opened.principal.actor, self.now);
            let _ = writeln!(out, "{session:?} {stands:?} {roles:?}");
        }
        for role in ["admin", "operator"] {
            let _ = writeln!(out, "{} {role}", state.people_with(role));
        }
        let _ = writeln!(out, "{:?}", state.signers());
        for armed in state.armed() {
            let _ =
                writeln!(out, "{armed:?} withdrawn {}", state.is_withdrawn(&armed.event.bundle));
        }
        let (reviews, authors) = (state.reviews(), state.authors());
        let _ = writeln!(
            out,
            "{:?} {:?} {:?} {:?}",
            state.drafts().collect::<Vec<_>>(),
            state.preceding(),
            reviews.collect::<Vec<_>>(),
            authors.collect::<Vec<_>>()
        );
        for held in state.approvals(None) {
            assert_eq!(state.approval(held.approval).map(|h| h.decision), Some(held.decision));
            let _ = writeln!(out, "{held:?} {:?}", state.missing(held));
        }
        for exception in state.exceptions() {
            let _ = writeln!(out, "{exception:?} {:?}", state.exception_counts());
        }
        for delegation in state.delegations() {
            let _ = writeln!(out, "{delegation:?}");
        }
        for piece in state.evidence().newest(None) {
            let _ = writeln!(out, "{piece:?} {}", state.evidence().stands(&piece.id));
        }
        let _ = writeln!(out, "{:?}", state.evidence().keys().collect::<Vec<_>>());
        let _ = writeln!(
            out,
            "{:?} {:?}",
            state.releases(None).collect::<Vec<_>>(),
            state.aliases().collect::<Vec<_>>()
        );
        let pending = state.inbox(&Viewer::all(), None, usize::MAX, self.now);
        let waiting = state.approvals(None).filter(|held| held.state.is_pending());
        assert!(pending.iter().map(|it| it.approval).eq(waiting.map(|it| it.approval)), "inbox");
        for (index, decision) in &self.decisions {
            let under = decision.exception.as_ref().map(|passage| passage.exception);
            let status = state.status(decision.decision, *index, &decision.scopes(), under);
            let _ = writeln!(out, "{status:?}");
        }
        out
    }

    /// Latest decision under this id.
    pub(crate) fn decision(&self, id: DecisionId) -> (u64, DecisionEvent) {
        self.decisions.iter().find(|(_, event)| event.decision == id).unwrap().clone()
    }

    pub(crate) fn approval_of(&self, id: DecisionId) -> ApprovalId {
        let (_, event) = self.decision(id);
        event.approval.map_or_else(|| ApprovalId::from_bytes([0; 16]), |opened| opened.id)
    }

    pub(crate) fn key_of(&self, actor: &ActorRef) -> Option<(KeyId, BTreeSet<String>)> {
        let found = self.state.keys().filter(|(principal, _)| principal.actor == *actor);
        let newest = found.max_by_key(|(principal, _)| principal.key);
        newest.map(|(principal, _)| (principal.key, principal.roles.clone()))
    }
}
