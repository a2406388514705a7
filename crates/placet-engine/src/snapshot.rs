//! Saving a state and reading it back: a compact binary form of version 1, strict in reading. Owns
//! that form; refuses to know where it is kept. Idempotency keys, the bulk of a large state, travel
//! apart as runs ([`IdempotencyKeys`]): a snapshot then costs what has changed, not what there is.

use crate::codec::{Code, Reader, Writer};
use crate::idempotency::IdempotencyKeys;
use crate::memory::{Bits, Windows};
use crate::state::{Bounds, Counters, Held, HeldState, Key, KillState, OpenPermit, State, Timer};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use placet_types::event::{KillSource, PermitIssued, Principal};
use placet_types::ids::WorkspaceName;

/// First bytes of the form; the last of them is its version.
const MAGIC: &[u8; 8] = b"plstate\x01";

impl State {
    /// Appends the state without its idempotency keys.
    pub fn write_snapshot(&self, out: &mut Vec<u8>) {
        let w = &mut Writer(out);
        w.0.extend_from_slice(MAGIC);
        w.put(&self.next_index);
        w.put(&self.time);
        w.put(&self.epoch);
        w.put(&self.dev);
        w.put(&self.solo);
        w.put(&self.origin);
        w.put(&self.workspace.as_ref().map(|name| String::from(name.as_str())));
        w.put(&self.policy);
        w.list(self.keys.iter(), |w, (_, key)| w.put(key));
        w.put(&self.windows);
        w.list(self.held.values(), Writer::put);
        w.list(self.held_by_decision.iter(), |w, (decision, approval)| {
            w.put(decision);
            w.put(approval);
        });
        w.put(&(self.held_open as u64));
        w.list(self.finals.iter(), Writer::put);
        w.list(self.timers.iter(), |w, (time, timer)| {
            w.put(time);
            w.put(timer);
        });
        w.list(self.permits.iter(), |w, (decision, open)| {
            w.put(decision);
            w.put(open);
        });
        w.list(self.consumed_ends.iter(), |w, (time, decision)| {
            w.put(time);
            w.put(decision);
        });
        w.put(&self.consumed);
        w.put(&self.reported);
        w.put(&self.revoked);
        let [everything, workspace] = &self.kill;
        w.put(everything);
        w.put(workspace);
        w.put(&self.last_override);
        w.list(self.spent.iter(), Writer::put);
        w.put(&self.counters);
    }

    /// Reads a state back, without idempotency keys. `None` when the bytes are no snapshot of this
    /// version, or more or less than one.
    #[must_use]
    pub fn read_snapshot(bytes: &[u8], bounds: Bounds) -> Option<Self> {
        let r = &mut Reader(bytes);
        if r.array::<8>()? != *MAGIC {
            return None;
        }
        let state = Self {
            bounds,
            next_index: r.get()?,
            time: r.get()?,
            epoch: r.get()?,
            dev: r.get()?,
            solo: r.get()?,
            origin: r.get()?,
            workspace: match r.get::<Option<String>>()? {
                None => None,
                Some(name) => Some(WorkspaceName::parse(&name)?),
            },
            policy: r.get()?,
            keys: r.rising(
                |(id, _)| id,
                |r| {
                    let key = r.get::<Key>()?;
                    Some((key.principal.key, key))
                },
            )?,
            idempotency: IdempotencyKeys::default(),
            windows: r.get()?,
            held: r.rising(
                |(id, _)| id,
                |r| {
                    let held = r.get::<Held>()?;
                    Some((held.approval, held))
                },
            )?,
            held_by_decision: r.rising(|(id, _)| id, |r| Some((r.get()?, r.get()?)))?,
            held_open: usize::try_from(r.get::<u64>()?).ok()?,
            finals: r.list(Reader::get)?,
            timers: r.rising(|timer| timer, |r| Some((r.get()?, r.get()?)))?,
            permits: r.rising(|(id, _)| id, |r| Some((r.get()?, r.get()?)))?,
            consumed_ends: r.rising(|end| end, |r| Some((r.get()?, r.get()?)))?,
            consumed: r.get()?,
            reported: r.get()?,
            revoked: r.get()?,
            kill: [r.get()?, r.get()?],
            last_override: r.get()?,
            spent: r.rising(|id| id, Reader::get)?,
            counters: r.get()?,
        };
        r.0.is_empty().then_some(state)
    }

    /// Puts idempotency keys into a state that was read back.
    pub fn set_idempotency(&mut self, keys: IdempotencyKeys) {
        self.idempotency = keys;
    }

    /// Takes out what was gathered, and gathers from here on: nothing is forgotten until the next
    /// call. A state that gathers follows a log for the next snapshot's sake and cannot decide.
    pub fn gather_idempotency(&mut self) -> IdempotencyKeys {
        core::mem::replace(&mut self.idempotency, IdempotencyKeys::gathering())
    }
}

impl Code for Key {
    fn put(&self, w: &mut Writer<'_>) {
        let Principal { key, actor, hash, environment, roles } = &self.principal;
        w.put(key);
        w.put(actor);
        w.put(hash);
        w.put(environment);
        w.put(roles);
        w.put(&self.revoked);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let principal = Principal {
            key: r.get()?,
            actor: r.get()?,
            hash: r.get()?,
            environment: r.get()?,
            roles: r.get()?,
        };
        Some(Self { principal, revoked: r.get()? })
    }
}

impl Code for BTreeSet<String> {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.iter(), Writer::put);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        r.rising(|text| text, Reader::get)
    }
}

impl Code for Windows {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.in_order(), |w, (ends, tag, times)| {
            w.put(&ends);
            w.0.extend_from_slice(tag);
            w.list(times.iter(), Writer::put);
        });
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let mut windows = Self::default();
        let all: Vec<_> =
            r.rising(|(place, _)| place, |r| Some(((r.get()?, r.array()?), r.list(Reader::get)?)))?;
        for ((ends, tag), times) in all {
            windows.restore(tag, ends, times)?;
        }
        Some(windows)
    }
}

impl Code for Bits {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.words().iter(), Writer::put);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        r.list(Reader::get).map(Self::from_words)
    }
}

impl Code for Timer {
    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Self::Approval(id) => {
                w.put(&0_u8);
                w.put(id);
            }
            Self::Permit(id) => {
                w.put(&1_u8);
                w.put(id);
            }
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        match r.get::<u8>()? {
            0 => r.get().map(Self::Approval),
            1 => r.get().map(Self::Permit),
            _ => None,
        }
    }
}

impl Code for PermitIssued {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.id);
        w.put(&self.audience);
        w.put(&self.expires);
        w.put(&self.nonce);
        w.put(&self.consumed);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            id: r.get()?,
            audience: r.get()?,
            expires: r.get()?,
            nonce: r.get()?,
            consumed: r.get()?,
        })
    }
}

impl Code for OpenPermit {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.index);
        w.put(&self.permit);
        w.put(&self.consumed_by);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { index: r.get()?, permit: r.get()?, consumed_by: r.get()? })
    }
}

impl Code for KillState {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.since);
        w.put(&self.index);
        w.put(&String::from(self.source.as_str()));
        w.put(&self.lift.is_some());
        if let Some((by, not_before)) = &self.lift {
            w.put(by);
            w.put(not_before);
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            since: r.get()?,
            index: r.get()?,
            source: KillSource::parse(&r.get::<String>()?)?,
            lift: if r.get()? { Some((r.get()?, r.get()?)) } else { None },
        })
    }
}

impl Code for HeldState {
    fn put(&self, w: &mut Writer<'_>) {
        let kind: u8 = match self {
            Self::Pending => 0,
            Self::Approved(_) => 1,
            Self::Consumed(_) => 2,
            Self::Rejected => 3,
            Self::Expired => 4,
            Self::Invalidated => 5,
            Self::Withdrawn => 6,
        };
        w.put(&kind);
        match self {
            Self::Approved(until) => w.put(until),
            Self::Consumed(permit) => w.put(permit),
            _ => {}
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(match r.get::<u8>()? {
            0 => Self::Pending,
            1 => Self::Approved(r.get()?),
            2 => Self::Consumed(r.get()?),
            3 => Self::Rejected,
            4 => Self::Expired,
            5 => Self::Invalidated,
            6 => Self::Withdrawn,
            _ => return None,
        })
    }
}

impl Code for Held {
    fn put(&self, w: &mut Writer<'_>) {
        w.put(&self.decision);
        w.put(&self.index);
        w.put(&self.approval);
        w.put(&self.since);
        w.put(&self.expires);
        w.put(&self.use_within_ms);
        w.list(self.roles.iter(), |w, (role, count)| {
            w.put(role);
            w.put(count);
        });
        w.put(&self.requirement);
        w.put(&self.action_commitment);
        w.put(&self.audience);
        w.put(&self.actor);
        w.list(self.proposers.iter(), Writer::put);
        w.put(&self.governed);
        w.put(&self.full);
        w.put(&self.constraints);
        w.list(self.votes.iter(), |w, (by, roles)| {
            w.put(by);
            w.put(roles);
        });
        w.put(&self.state);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            decision: r.get()?,
            index: r.get()?,
            approval: r.get()?,
            since: r.get()?,
            expires: r.get()?,
            use_within_ms: r.get()?,
            roles: r
                .rising::<_, _, BTreeMap<_, _>>(|(role, _)| role, |r| Some((r.get()?, r.get()?)))?,
            requirement: r.get()?,
            action_commitment: r.get()?,
            audience: r.get()?,
            actor: r.get()?,
            proposers: r.rising(|actor| actor, Reader::get)?,
            governed: r.get()?,
            full: r.get()?,
            constraints: r.get()?,
            votes: r.list(|r| Some((r.get()?, r.get()?)))?,
            state: r.get()?,
        })
    }
}

impl Code for Counters {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { decisions, consumed, reported, expired, revoked, approvals } = self;
        for count in decisions.iter().chain([consumed, reported, expired, revoked]).chain(approvals)
        {
            w.put(count);
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let mut counters = Self::default();
        let Self { decisions, consumed, reported, expired, revoked, approvals } = &mut counters;
        for count in
            decisions.iter_mut().chain([consumed, reported, expired, revoked]).chain(approvals)
        {
            *count = r.get()?;
        }
        Some(counters)
    }
}
