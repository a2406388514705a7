//! The keys that sign the log, as state knows them: which sizes each may sign, and what of that is
//! revoked. Owns who follows whom and when a revocation is refused; refuses to know signatures.

use crate::command::{Plan, RevokeSigner, RotateSigner, SucceedLog};
use crate::rejection::Rejection;
use crate::state::State;
use crate::step::{append, may_administer};
use alloc::string::String;
use placet_types::event::{Event, LogSucceeded, SignerRevoked, SignerRotated};

/// A key that signs the log or did.
///
/// INVARIANT: under one name, the ranges of a log's keys follow each other without gap and overlap,
/// and the last one of all alone has no end. Another name begins where a log went on after a loss;
/// what the key before it had signed of the entries that were lost still counts as its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSigner {
    /// Verifier key (C2SP signed note).
    pub vkey: String,
    /// Index of the entry that put it in force: genesis, or the handover.
    pub index: u64,
    /// Smallest tree it may sign.
    pub from_size: u64,
    /// Largest tree it may sign; none for the one in force.
    pub to_size: Option<u64>,
    /// The handover to it, signed by the key before and by itself; none for the first of a name.
    pub note: Option<String>,
    /// From this size on it is revoked.
    pub revoked_from: Option<u64>,
}

/// Whether what a key signed counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It signs now.
    Active,
    /// What it signed of up to so many entries stays good.
    Retired(u64),
    /// Nothing that it signed counts.
    Revoked,
}

impl LogSigner {
    /// What counts of it, revocation included.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (self.revoked_from, self.to_size) {
            (None, None) => Standing::Active,
            (None, Some(to)) => Standing::Retired(to),
            (Some(from), to) => match from.checked_sub(1) {
                Some(last) if last >= self.from_size => {
                    Standing::Retired(to.map_or(last, |to| to.min(last)))
                }
                _ => Standing::Revoked,
            },
        }
    }

    /// Whether a tree of `size` entries that it signed counts.
    #[must_use]
    pub fn counts_at(&self, size: u64) -> bool {
        match self.standing() {
            Standing::Active => size >= self.from_size,
            Standing::Retired(to) => (self.from_size..=to).contains(&size),
            Standing::Revoked => false,
        }
    }
}

/// The key in force hands over. A kill switch does not stand in the way: it stops what is governed,
/// not the record of it.
pub(crate) fn rotate(state: &State, command: &RotateSigner) -> Result<Plan, Rejection> {
    if let Some(by) = &command.by {
        may_administer(by)?;
    }
    if command.decision.is_some_and(|decision| state.spent.contains(&decision)) {
        return Err(Rejection::PermitConsumed);
    }
    let current = state.signer().ok_or(Rejection::NotFound("signing key"))?;
    if current.vkey == command.new {
        return Ok(Plan::Nothing);
    }
    let known = state.signers.iter().any(|signer| signer.vkey == command.new);
    if known || current.vkey != command.old {
        return Err(Rejection::NotFound("signing key"));
    }
    if state.signers.len() >= state.bounds.signers_max {
        return Err(Rejection::SignersFull);
    }
    append(Event::SignerRotated(SignerRotated {
        by: command.by.as_ref().map(|by| by.actor.clone()),
        decision: command.decision,
        new: command.new.clone(),
        note: command.note.clone(),
        old: command.old.clone(),
    }))
}

/// The log goes on under the name of `new`. Nothing but a start after a restore asks for this.
pub(crate) fn succeed(state: &State, command: &SucceedLog) -> Result<Plan, Rejection> {
    let current = state.signer().ok_or(Rejection::NotFound("signing key"))?;
    if current.vkey == command.new {
        return Ok(Plan::Nothing);
    }
    if current.vkey != command.old || state.signers.iter().any(|it| it.vkey == command.new) {
        return Err(Rejection::NotFound("signing key"));
    }
    if state.signers.len() >= state.bounds.signers_max {
        return Err(Rejection::SignersFull);
    }
    append(Event::LogSucceeded(LogSucceeded {
        new: command.new.clone(),
        note: command.note.clone(),
        old: command.old.clone(),
        signed: command.signed,
    }))
}

/// Revoking never gives anything back: a later revocation counts only where it takes more away.
pub(crate) fn revoke(state: &State, command: &RevokeSigner) -> Result<Plan, Rejection> {
    may_administer(&command.by)?;
    if command.decision.is_some_and(|decision| state.spent.contains(&decision)) {
        return Err(Rejection::PermitConsumed);
    }
    let signer = state.signers.iter().find(|signer| signer.vkey == command.vkey);
    let signer = signer.ok_or(Rejection::NotFound("signing key"))?;
    let Some(to) = signer.to_size else {
        return Err(Rejection::SignerInForce);
    };
    let from = command.from_size.unwrap_or(0);
    if from > to || signer.revoked_from.is_some_and(|revoked| revoked <= from) {
        return Ok(Plan::Nothing);
    }
    append(Event::SignerRevoked(SignerRevoked {
        by: command.by.actor.clone(),
        decision: command.decision,
        from_size: command.from_size,
        vkey: command.vkey.clone(),
    }))
}

impl State {
    /// The keys of this log, oldest first.
    #[must_use]
    pub fn signers(&self) -> &[LogSigner] {
        &self.signers
    }

    /// The key in force.
    #[must_use]
    pub fn signer(&self) -> Option<&LogSigner> {
        self.signers.last()
    }

    pub(crate) fn found_signers(&mut self, vkeys: &[String]) {
        // Genesis names one key; of more, which older logs never had, the last one signs.
        self.signers = vkeys
            .iter()
            .map(|vkey| LogSigner {
                vkey: vkey.clone(),
                index: 0,
                from_size: 0,
                to_size: None,
                note: None,
                revoked_from: None,
            })
            .collect();
    }

    pub(crate) fn apply_rotated(
        &mut self,
        event: &SignerRotated,
        index: u64,
    ) -> Result<(), &'static str> {
        if self.signers.iter().any(|signer| signer.vkey == event.new) {
            return Err("it hands over to a key that has signed before");
        }
        let current = self.signers.last_mut().ok_or("it hands over in a log without a key")?;
        if current.vkey != event.old {
            return Err("it hands over from a key that is not in force");
        }
        current.to_size = Some(index);
        self.spent.extend(event.decision);
        self.signers.push(LogSigner {
            vkey: event.new.clone(),
            index,
            from_size: index.saturating_add(1),
            to_size: None,
            note: Some(event.note.clone()),
            revoked_from: None,
        });
        Ok(())
    }

    pub(crate) fn apply_succeeded(
        &mut self,
        event: &LogSucceeded,
        index: u64,
    ) -> Result<(), &'static str> {
        if self.signers.iter().any(|signer| signer.vkey == event.new) {
            return Err("it goes on under a key that has signed before");
        }
        let (origin, _) = event.new.split_once('+').ok_or("its new key has no name")?;
        if origin == self.origin {
            return Err("it goes on under the name that it had");
        }
        let current = self.signers.last_mut().ok_or("it succeeds a log without a key")?;
        if current.vkey != event.old {
            return Err("it succeeds a key that is not in force");
        }
        // Receipts of entries that were lost are still receipts of the predecessor.
        current.to_size = Some(event.signed.map_or(index, |signed| signed.max(index)));
        self.origin = origin.into();
        self.signers.push(LogSigner {
            vkey: event.new.clone(),
            index,
            from_size: index.saturating_add(1),
            to_size: None,
            note: None,
            revoked_from: None,
        });
        Ok(())
    }

    pub(crate) fn apply_signer_revoked(
        &mut self,
        event: &SignerRevoked,
    ) -> Result<(), &'static str> {
        let signer = self.signers.iter_mut().find(|signer| signer.vkey == event.vkey);
        let signer = signer.ok_or("it revokes a key that never signed this log")?;
        // INVARIANT: the key in force is never revoked; there would be no one to seal that.
        if signer.to_size.is_none() {
            return Err("it revokes the key that is in force");
        }
        let from = event.from_size.unwrap_or(0);
        if signer.revoked_from.is_some_and(|revoked| revoked <= from) {
            return Err("it revokes a key that is revoked already");
        }
        signer.revoked_from = Some(from);
        self.spent.extend(event.decision);
        Ok(())
    }
}
