//! Saving a state and reading it back: a compact binary form of version 13, strict in reading. Owns
//! that form; refuses to know where it is kept. Idempotency keys, the bulk of a large state, travel
//! apart as runs ([`IdempotencyKeys`]): a snapshot then costs what has changed, not what there is.

mod approvals;
mod evidence;
mod exceptions;
mod executions;
mod measures;
mod overrides;
mod policies;
mod sessions;
mod trips;

use crate::codec::{Code, Reader, Writer};
use crate::counters::Counters;
use crate::demand::Demands;
use crate::idempotency::IdempotencyKeys;
use crate::keys::Key;
use crate::memory::{Bits, Windows};
use crate::pending::Pending;
use crate::privacy::LegalHold;
use crate::shadow::Shadowing;
use crate::signers::LogSigner;
use crate::state::{Bounds, Held, OpenPermit, State};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use placet_types::event::{HoldScope, PermitIssued, Principal};
use placet_types::ids::WorkspaceName;

/// First bytes of the form; the last of them is its version.
const MAGIC: &[u8; 8] = b"plstate\x0d";

impl State {
    /// Appends the state without its idempotency keys.
    pub fn write_snapshot(&self, out: &mut Vec<u8>) {
        // Named one by one, so that a new part of the state cannot be left out.
        let Self {
            bounds: _,
            next_index,
            time,
            epoch,
            dev,
            solo,
            origin,
            workspace,
            policy,
            shadow,
            policies,
            keys,
            sessions,
            evidence,
            releases,
            idempotency: _,
            windows,
            held,
            demands: _,
            held_by_decision,
            held_open,
            // Follows from the held decisions.
            pending: _,
            delegations,
            exceptions,
            finals,
            timers,
            permits,
            consumed_ends,
            consumed,
            reported,
            revoked,
            erased,
            legal_holds,
            legal_holds_version,
            overrides,
            executions,
            last_override,
            trips,
            spent,
            signers,
            counters,
            measures,
        } = self;
        let w = &mut Writer(out);
        w.0.extend_from_slice(MAGIC);
        w.put(next_index);
        w.put(time);
        w.put(epoch);
        w.put(dev);
        w.put(solo);
        w.put(origin);
        w.put(&workspace.as_ref().map(|name| String::from(name.as_str())));
        w.put(policy);
        w.put(shadow);
        w.put(policies);
        w.list(keys.all(), Writer::put);
        w.put(sessions);
        w.put(evidence);
        w.put(releases);
        w.put(windows);
        let mut last = None;
        w.list(held.values(), |w, held| {
            w.put(&**held);
            overrides::put_scopes(w, &held.scopes, &mut last);
        });
        w.list(held_by_decision.iter(), |w, (decision, approval)| {
            w.put(decision);
            w.put(approval);
        });
        w.put(&(*held_open as u64));
        w.put(delegations);
        w.put(exceptions);
        w.list(finals.iter(), Writer::put);
        w.list(timers.iter(), |w, (time, timer)| {
            w.put(time);
            w.put(timer);
        });
        w.list(permits.iter(), |w, (decision, open)| {
            w.put(decision);
            w.put(open);
        });
        w.list(consumed_ends.iter(), |w, (time, decision)| {
            w.put(time);
            w.put(decision);
        });
        w.put(consumed);
        w.put(reported);
        w.put(revoked);
        w.put(erased);
        w.list(legal_holds.values(), Writer::put);
        w.put(legal_holds_version);
        w.put(overrides);
        w.put(executions);
        w.put(last_override);
        w.put(trips);
        w.list(spent.iter(), Writer::put);
        w.list(signers.iter(), Writer::put);
        w.put(counters);
        w.put(measures);
    }

    /// Reads the state after `size` entries back, without idempotency keys. `None` when the bytes
    /// are no snapshot of this version, more or less than one, or one of another size.
    ///
    /// What a state remembers of single entries takes a bit for each entry before it, so no index is
    /// believed that lies beyond `size`: the next event would ask for as much memory as it says.
    #[must_use]
    pub fn read_snapshot(bytes: &[u8], bounds: Bounds, size: u64) -> Option<Self> {
        let r = &mut Reader(bytes);
        if r.array::<8>()? != *MAGIC {
            return None;
        }
        let mut demands = Demands::default();
        let mut last = None;
        let mut state = Self {
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
            shadow: r.get()?,
            policies: r.get()?,
            keys: r.rising(|key: &Key| &key.principal.key, Reader::get)?,
            sessions: r.get()?,
            evidence: r.get()?,
            releases: r.get()?,
            idempotency: IdempotencyKeys::default(),
            windows: r.get()?,
            held: r.rising(
                |(id, _)| id,
                |r| {
                    let mut held = Box::new(r.get::<Held>()?);
                    held.scopes = overrides::get_scopes(r, &mut last)?;
                    demands.share(&mut held.demand);
                    Some((held.approval, held))
                },
            )?,
            held_by_decision: r.rising(|(id, _)| id, |r| Some((r.get()?, r.get()?)))?,
            held_open: usize::try_from(r.get::<u64>()?).ok()?,
            demands: Demands::default(),
            pending: Pending::default(),
            delegations: r.get()?,
            exceptions: r.get()?,
            finals: r.list(Reader::get)?,
            timers: r.rising(|timer| timer, |r| Some((r.get()?, r.get()?)))?,
            permits: r.rising(|(id, _)| id, |r| Some((r.get()?, r.get()?)))?,
            consumed_ends: r.rising(|end| end, |r| Some((r.get()?, r.get()?)))?,
            consumed: r.get()?,
            reported: r.get()?,
            revoked: r.get()?,
            erased: r.get()?,
            legal_holds: r.rising(
                |(id, _)| id,
                |r| {
                    let hold = r.get::<LegalHold>()?;
                    Some((hold.hold, hold))
                },
            )?,
            legal_holds_version: r.get()?,
            overrides: r.get()?,
            executions: r.get()?,
            last_override: r.get()?,
            trips: r.get()?,
            spent: r.rising(|id| id, Reader::get)?,
            signers: r.list(Reader::get)?,
            counters: r.get()?,
            measures: r.get()?,
        };
        state.demands = demands;
        for held in state.held.values().filter(|held| held.state.is_pending()) {
            state.pending.insert(held);
        }
        state.cover_all();
        (r.0.is_empty() && state.is_within(size)).then_some(state)
    }

    /// Whether this is a state after `size` entries that points at none beyond.
    fn is_within(&self, size: u64) -> bool {
        let bits = [&self.consumed, &self.reported, &self.revoked, &self.erased];
        let words = size.div_ceil(u64::from(u64::BITS));
        self.next_index == size
            && bits.iter().all(|bits| bits.words().len() as u64 <= words)
            && self.evidence.newest(None).next().is_none_or(|piece| piece.index < size)
            && self.held.values().all(|held| held.index < size)
            && self.permits.values().all(|open| open.index < size)
            && self.trips.all.values().all(|trip| trip.index < size)
            && self.exceptions.all.values().all(|it| it.index < size)
            && self.overrides.is_within(size)
            && self.executions.all.values().all(|it| it.index < size && it.started.index < size)
            && self.sessions.all.values().all(|session| session.index < size)
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

impl Code for Principal {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { key, actor, hash, environment, roles } = self;
        w.put(key);
        w.put(actor);
        w.put(hash);
        w.put(environment);
        w.put(roles);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            key: r.get()?,
            actor: r.get()?,
            hash: r.get()?,
            environment: r.get()?,
            roles: r.get()?,
        })
    }
}

impl Code for Key {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { principal, revoked } = self;
        w.put(principal);
        w.put(revoked);
    }

    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { principal: r.get()?, revoked: r.get()? })
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

impl Code for Shadowing {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { bundle, index, compared, differed, skipped } = self;
        w.put(bundle);
        w.put(index);
        w.put(compared);
        w.put(differed);
        w.put(skipped);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            bundle: r.get()?,
            index: r.get()?,
            compared: r.get()?,
            differed: r.get()?,
            skipped: r.get()?,
        })
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

impl Code for PermitIssued {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { id, audience, expires, nonce, consumed } = self;
        w.put(id);
        w.put(audience);
        w.put(expires);
        w.put(nonce);
        w.put(consumed);
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
        let Self { index, permit, scopes, consumed_by } = self;
        w.put(index);
        w.put(permit);
        w.put(scopes);
        w.put(consumed_by);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { index: r.get()?, permit: r.get()?, scopes: r.get()?, consumed_by: r.get()? })
    }
}

impl Code for LegalHold {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { hold, scope, by, reason, since, index } = self;
        w.put(hold);
        match scope {
            HoldScope::Workspace => w.put(&0_u8),
            HoldScope::Decision(decision) => {
                w.put(&1_u8);
                w.put(decision);
            }
            HoldScope::Subject(tag) => {
                w.put(&2_u8);
                w.0.extend_from_slice(tag);
            }
        }
        w.put(by);
        w.put(reason);
        w.put(since);
        w.put(index);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            hold: r.get()?,
            scope: match r.get::<u8>()? {
                0 => HoldScope::Workspace,
                1 => HoldScope::Decision(r.get()?),
                2 => HoldScope::Subject(r.array()?),
                _ => return None,
            },
            by: r.get()?,
            reason: r.get()?,
            since: r.get()?,
            index: r.get()?,
        })
    }
}

impl Code for LogSigner {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { vkey, index, from_size, to_size, note, revoked_from } = self;
        w.put(vkey);
        w.put(index);
        w.put(from_size);
        w.put(to_size);
        w.put(note);
        w.put(revoked_from);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            vkey: r.get()?,
            index: r.get()?,
            from_size: r.get()?,
            to_size: r.get()?,
            note: r.get()?,
            revoked_from: r.get()?,
        })
    }
}

impl Code for Counters {
    fn put(&self, w: &mut Writer<'_>) {
        let Self {
            decisions,
            consumed,
            reported,
            expired,
            revoked,
            erased,
            approvals,
            overtaken,
            own,
        } = self;
        let single = [consumed, reported, expired, revoked, erased, overtaken, own];
        for count in decisions.iter().chain(single).chain(approvals) {
            w.put(count);
        }
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let mut counters = Self::default();
        let Self {
            decisions,
            consumed,
            reported,
            expired,
            revoked,
            erased,
            approvals,
            overtaken,
            own,
        } = &mut counters;
        let single = [consumed, reported, expired, revoked, erased, overtaken, own];
        for count in decisions.iter_mut().chain(single).chain(approvals) {
            *count = r.get()?;
        }
        Some(counters)
    }
}
