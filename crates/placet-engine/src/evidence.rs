//! Evidence: what somebody vouches for about a subject, and the keys that issuers sign with. Owns who may
//! add a piece and take it back, and which of them count; refuses to know signatures, envelopes and what
//! policy demands.

mod names;
mod room;
mod store;

use crate::command::{AddEvidence, Command, IssuerChange, Plan, Who};
use crate::rejection::Rejection;
use crate::state::State;
use crate::step::{append, may_administer};
use alloc::sync::Arc;
use placet_types::event::{Event, EvidenceAdded, EvidenceRevoked, IssuerKey};
use placet_types::ids::{EvidenceId, TimeMs};
use placet_types::policy::Verdict;
use room::{BARE_EACH, BARE_MAX, SAME_MAX, Wanted};

pub(crate) use names::Names;
pub use store::{Evidence, EvidenceKey, EvidencePiece, evidence_id};
pub(crate) use store::{Kept, Revoked, U48};

/// Clocks of issuers may run ahead by so much.
pub const EVIDENCE_SKEW_MS: u64 = 60_000;
/// Longest life of a piece: ten years.
pub const EVIDENCE_MS_MAX: u64 = 3653 * 24 * 3_600_000;
/// Keys of one issuer that count at a time.
const KEYS_EACH: usize = 16;
/// Who may take back what others vouch for.
const REVOKERS: [&str; 3] = ["admin", "evaluation_owner", "security_owner"];

/// Adds a piece; the same by the same issuer is there already. What is not signed is the word of whoever
/// brings it, and whoever has a key, or had one, signs.
pub(crate) fn add(state: &State, command: &AddEvidence, now: TimeMs) -> Result<Plan, Rejection> {
    let AddEvidence { by, digest, expires, issued, issuer, key, kind, subject } = command;
    let store = &state.evidence;
    match key {
        None if *issuer != by.actor => {
            return Err(Rejection::Foreign(
                "its issuer; whoever brings it has to sign it, or be it",
            ));
        }
        None if store.signs(issuer) => return Err(Rejection::EvidenceUnsigned),
        None => {}
        Some(key) => {
            let counts = |it: &EvidenceKey| !it.revoked && it.key == *key && it.issuer == *issuer;
            if !store.keys().any(counts) {
                return Err(Rejection::IssuerKeyUnknown);
            }
        }
    }
    if *issued > now.plus(EVIDENCE_SKEW_MS) {
        return Err(Rejection::EvidenceTime("it is issued in the future"));
    }
    if *expires <= now || expires <= issued {
        return Err(Rejection::EvidenceTime("it has expired, or expires before it is issued"));
    }
    if expires.since(*issued) > EVIDENCE_MS_MAX {
        return Err(Rejection::EvidenceTime("it lives longer than ten years"));
    }
    let wanted = Wanted { kind, issuer, signed: key.is_some() };
    let alike = store.alike(wanted, (digest, subject), key.as_deref(), (*issued, *expires));
    // What was taken back does not come again under another id.
    if alike.revoked {
        return Err(Rejection::EvidenceRevoked);
    }
    if let Some(index) = alike.same {
        return Ok(Plan::Bound { index });
    }
    let bare = key.is_none() && (alike.bare_own >= BARE_EACH || alike.bare >= BARE_MAX);
    let room = store.room(wanted, state.bounds.evidence_max, now);
    if room.is_none() || bare || alike.own >= SAME_MAX {
        return Err(Rejection::EvidenceFull);
    }
    append(Event::EvidenceAdded(EvidenceAdded {
        evidence: evidence_id(now, state.next_index),
        by: by.actor.clone(),
        digest: *digest,
        expires: *expires,
        issued: *issued,
        issuer: issuer.clone(),
        key: key.clone(),
        kind: kind.clone(),
        subject: *subject,
    }))
}

/// Its issuer takes a piece back, and so may whoever watches over evaluation and security.
pub(crate) fn revoke(
    state: &State,
    evidence: EvidenceId,
    reason: &str,
    by: &Who,
) -> Result<Plan, Rejection> {
    let piece = state.evidence.get(&evidence).ok_or(Rejection::NotFound("evidence"))?;
    let watches = by.actor.is_human() && REVOKERS.iter().any(|role| by.roles.contains(*role));
    if piece.issuer != by.actor && !watches {
        return Err(Rejection::Foreign("its issuer"));
    }
    if piece.revoked {
        return Ok(Plan::Nothing);
    }
    let reason = reason.into();
    append(Event::EvidenceRevoked(EvidenceRevoked { evidence, by: by.actor.clone(), reason }))
}

/// Trusts the key of an issuer or trusts it no more, for good: what it signed counts no more either.
pub(crate) fn change_issuer(state: &State, command: &IssuerChange) -> Result<Plan, Rejection> {
    let IssuerChange { issuer, key, trust, by, decision } = command;
    may_administer(by)?;
    state.may_act(Some(&by.actor))?;
    if decision.is_some_and(|decision| state.spent.contains(&decision)) {
        return Err(Rejection::PermitConsumed);
    }
    let keys = &state.evidence.keys;
    // Its name is anybody's choice: the same key under another name is the same key.
    let known = keys.iter().find(|it| public_of(&it.key) == public_of(key));
    let event = IssuerKey {
        by: by.actor.clone(),
        decision: *decision,
        issuer: issuer.clone(),
        key: known.map_or(key, |known| &known.key).clone(),
    };
    let each = keys.iter().filter(|it| !it.revoked && it.issuer == *issuer).count();
    match (trust, known) {
        (true, Some(known)) if known.revoked => Err(Rejection::IssuerKeyRevoked),
        (_, Some(known)) if known.issuer != *issuer => Err(Rejection::Foreign("another issuer")),
        (true, Some(known)) if known.key != *key => Err(Rejection::IssuerKeyKnown),
        (true, Some(_)) => Ok(Plan::Nothing),
        (true, None) if keys.len() >= state.bounds.issuer_keys_max || each >= KEYS_EACH => {
            Err(Rejection::IssuerKeysFull)
        }
        (true, None) => append(Event::IssuerTrusted(event)),
        (false, None) => Err(Rejection::NotFound("issuer key")),
        (false, Some(known)) if known.revoked => Ok(Plan::Nothing),
        (false, Some(_)) => append(Event::IssuerRevoked(event)),
    }
}

/// The part of a verifier key `name+id+key` that is the key: what of two texts is the same where the key is,
/// as it has one spelling alone.
pub(crate) fn public_of(key: &str) -> &str {
    key.splitn(3, '+').nth(2).unwrap_or(key)
}

/// Between evaluating and deciding a piece may have been taken back, or the key that signed it.
pub(crate) fn check(state: &State, command: &Command) -> Result<(), Rejection> {
    let rests_on = |verdict: &Verdict| {
        let stand = verdict.evidence.iter().all(|id| state.evidence.stands(id));
        if stand { Ok(()) } else { Err(Rejection::EvidenceMoved) }
    };
    match command {
        Command::Decide(command) => rests_on(&command.verdict),
        Command::Vote(command) => rests_on(&command.verdict),
        Command::Collect(command) => rests_on(&command.verdict),
        Command::ArmUnder(command) => rests_on(&command.verdict),
        _ => Ok(()),
    }
}

impl State {
    /// All evidence, and the keys of its issuers.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    pub(crate) fn apply_evidence(
        &mut self,
        event: &EvidenceAdded,
        index: u64,
    ) -> Result<(), &'static str> {
        if event.evidence != evidence_id(self.time, index) {
            return Err("its evidence has another id than its place gives it");
        }
        // INVARIANT: nobody vouches in another's name but with a key of theirs.
        let store = &self.evidence;
        let own = match &event.key {
            None => event.by == event.issuer,
            Some(key) => {
                store.keys().any(|it| !it.revoked && it.key == *key && it.issuer == event.issuer)
            }
        };
        if !own {
            return Err("its evidence is in the name of somebody who did not sign it");
        }
        self.evidence.add(event, index, self.time, self.bounds.evidence_max)
    }

    pub(crate) fn apply_issuer(
        &mut self,
        event: &IssuerKey,
        trust: bool,
    ) -> Result<(), &'static str> {
        self.spent.extend(event.decision);
        // INVARIANT: a key is known once, whatever name it goes by, and so revoked for all of them.
        let same = |it: &EvidenceKey| public_of(&it.key) == public_of(&event.key);
        let known = self.evidence.keys.iter().position(same);
        let keys = Arc::make_mut(&mut self.evidence.keys);
        match (trust, known) {
            (true, None) => keys.push(EvidenceKey {
                key: event.key.clone(),
                issuer: event.issuer.clone(),
                by: event.by.clone(),
                since: self.time,
                revoked: false,
            }),
            (true, Some(_)) => return Err("it trusts the key of an issuer a second time"),
            (false, known) => {
                let key = known.and_then(|at| keys.get_mut(at)).filter(|it| !it.revoked);
                key.ok_or("it revokes an unknown key of an issuer")?.revoked = true;
            }
        }
        Ok(())
    }
}
