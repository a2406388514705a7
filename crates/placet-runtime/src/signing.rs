//! Which key signs a log, and handing over from one to the next. The log alone says which key is in
//! force; the store only has to hold it. Owns the order of a rotation; the engine owns who follows
//! whom, and the constitution who may ask.
//!
//! INVARIANT: the first workspace leads. Its entry decides that the instance rotates; a start brings
//! every other log after it. A key that no log names was never in force and goes.

use crate::asking::message;
use crate::boot::Stores;
use crate::crypto::{Fast, verify_ed25519};
use crate::error::PlaneError;
use crate::fold::Unfolded;
use crate::plane::{Plane, Principal};
use crate::ports::{PortError, Signer, Signers, WorkspaceNo};
use crate::privacy::governed;
use crate::sequencer::{Done, Message, Next, Payload};
use crate::start_error::StartError;
use crate::workspace::Workspace;
use placet_engine::{Command, LogSigner, RevokeSigner, RotateSigner, State, SucceedLog, Who};
use placet_tlog::handover::Handover;
use placet_tlog::note::{Note, VerifierKey};
use placet_tlog::succession::Succession;
use placet_types::event::{Entry, Event, LogSucceeded, SignerRotated};
use placet_types::ids::{DecisionId, WorkspaceName};
use placet_types::json::{Object, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A signing key under the name of one log.
pub(crate) struct Signing {
    pub(crate) vkey: VerifierKey,
    pub(crate) signer: Arc<dyn Signer>,
}

impl Signing {
    pub(crate) fn new(origin: &str, signer: Arc<dyn Signer>) -> Result<Self, String> {
        let vkey = VerifierKey::new::<Fast>(origin, signer.public_key());
        Ok(Self { vkey: vkey.map_err(|error| error.to_string())?, signer })
    }

    /// The held key that `vkey` names; `None` when it is not held.
    pub(crate) fn held(signers: &dyn Signers, vkey: &str) -> Result<Option<Self>, PortError> {
        let vkey = VerifierKey::parse::<Fast>(vkey).map_err(PortError::new)?;
        let all = signers.all()?;
        let signer = all.into_iter().find(|signer| signer.public_key() == *vkey.public_key());
        Ok(signer.map(|signer| Self { vkey, signer }))
    }
}

/// Why a handover in a log is refused.
fn refused(why: &str) -> String {
    format!("its handover is refused: {why}")
}

/// Whether the handover that an entry carries is the one that both keys signed for its place:
/// what the fold believes of the entry, the note has to say as well.
///
/// # Errors
/// What is wrong with it.
pub fn check_handover(event: &SignerRotated, index: u64) -> Result<(), String> {
    let (handover, note) =
        Handover::parse::<Fast>(&event.note).map_err(|error| refused(&error.to_string()))?;
    let named = handover.old().to_string() == event.old
        && handover.new_key().to_string() == event.new
        && handover.size() == index;
    if !named {
        return Err(refused("it is not for this entry"));
    }
    signed_by_both(&note, handover.old(), handover.new_key()).map_err(refused)
}

/// Whether a note bears the signatures of two keys in this order and no other.
fn signed_by_both(note: &Note, old: &VerifierKey, new: &VerifierKey) -> Result<(), &'static str> {
    let [first, second] = note.signatures() else {
        return Err("it has not exactly two signatures");
    };
    for (line, key) in [(first, old), (second, new)] {
        let by = line.key_id() == key.id() && line.name() == key.name();
        if !by || !verify_ed25519(key.public_key(), note.text().as_bytes(), line.bytes()) {
            return Err("a signature is not that of its key");
        }
    }
    Ok(())
}

/// Whether the succession that an entry carries is the one that both keys signed for its place.
fn check_succession(event: &LogSucceeded, index: u64) -> Result<(), String> {
    let refused = |why: &str| format!("its succession is refused: {why}");
    let (succession, note) =
        Succession::parse::<Fast>(&event.note).map_err(|error| refused(&error.to_string()))?;
    let named = succession.old.to_string() == event.old
        && succession.new.to_string() == event.new
        && succession.signed == event.signed
        && succession.size == index;
    if !named {
        return Err(refused("it is not for this entry"));
    }
    signed_by_both(&note, &succession.old, &succession.new).map_err(refused)
}

/// As [`check_handover`], for any entry that follows a log with this state.
///
/// # Errors
/// What is wrong with it.
pub fn check_signers(before: &State, entry: &Entry) -> Result<(), String> {
    match &entry.event {
        Event::SignerRotated(event) => {
            check_handover(event, before.next_index())?;
            let of_this_log = event.new.strip_prefix(before.origin());
            match of_this_log.is_some_and(|rest| rest.starts_with('+')) {
                true => Ok(()),
                false => Err(refused("it is of another log")),
            }
        }
        // Which name follows is for nobody to say but the restore that chose it; that the key in
        // force has signed it is what `apply` compares.
        Event::LogSucceeded(event) => check_succession(event, before.next_index()),
        _ => Ok(()),
    }
}

/// The command with the succession written for the index at which it will stand.
pub(crate) fn go_on(
    command: &SucceedLog,
    current: &Signing,
    next: &Signing,
    index: u64,
) -> Result<Command, String> {
    let succession = Succession {
        old: current.vkey.clone(),
        new: next.vkey.clone(),
        size: index,
        signed: command.signed,
    };
    let note = succession
        .sign(|body| current.signer.sign(body), |body| next.signer.sign(body))
        .map_err(|error| error.to_string())?;
    Ok(Command::SucceedLog(Box::new(SucceedLog {
        old: current.vkey.to_string(),
        note,
        ..command.clone()
    })))
}

/// The name of a workspace's log.
pub(crate) fn origin_of(instance: &str, name: &WorkspaceName) -> String {
    format!("placet/{instance}/{name}")
}

/// The command with the handover written for the index at which it will stand.
pub(crate) fn hand_over(
    command: &RotateSigner,
    current: &Signing,
    next: &Signing,
    index: u64,
) -> Result<Command, String> {
    let handover = Handover::new(current.vkey.clone(), next.vkey.clone(), index);
    let note = handover
        .and_then(|handover| {
            handover.sign(|body| current.signer.sign(body), |body| next.signer.sign(body))
        })
        .map_err(|error| error.to_string())?;
    Ok(Command::RotateSigner(Box::new(RotateSigner {
        old: current.vkey.to_string(),
        note,
        ..command.clone()
    })))
}

/// A key that is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeSpec {
    /// Its verifier key in the log of the workspace that is asked.
    pub vkey: VerifierKey,
    /// What it signed of fewer entries stays good.
    pub from_size: Option<u64>,
    /// In the logs of all workspaces, under the name that it has there.
    pub everywhere: bool,
}

/// What a rotation or revocation came to in one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerChange {
    /// The log.
    pub workspace: String,
    /// Index of the entry; none where there was nothing left to say.
    pub index: Option<u64>,
    /// The key that is in force now, or the one that is revoked.
    pub vkey: String,
}

impl Plane {
    /// The request that stands for rotating the signing key, as the constitution governs it.
    #[must_use]
    pub fn rotate_request(idempotency_key: String, nonce: String) -> Value {
        governed("key.rotate", "rotate", Object::new(), idempotency_key, nonce)
    }

    /// The request that stands for revoking a signing key.
    #[must_use]
    pub fn revoke_signer_request(
        spec: &RevokeSpec,
        idempotency_key: String,
        nonce: String,
    ) -> Value {
        let arguments = Object::new()
            .with("everywhere", spec.everywhere)
            .with_opt("from_size", spec.from_size)
            .with("vkey", spec.vkey.to_string());
        governed("key.revoke_signer", "revoke", arguments, idempotency_key, nonce)
    }

    /// The signing key of the instance: that of its first log.
    pub(crate) fn signer(&self) -> Result<Arc<dyn Signer>, PlaneError> {
        if let Some(root) = self.root() {
            return Ok(root.signing().signer.clone());
        }
        let all = self.signers.all().map_err(failed)?;
        all.into_iter().next().ok_or_else(|| PlaneError::StoreFailed("no signing key".into()))
    }

    /// Makes a new signing key and hands every log over to it, under the permit of `decision` on
    /// surface `key.rotate` of the first workspace. When this returns, every log is handed over and
    /// the key before is destroyed.
    ///
    /// # Errors
    /// [`PlaneError`]. Once the first log is handed over, the next start completes what is left.
    pub async fn rotate_signer(
        &self,
        principal: &Principal,
        decision: DecisionId,
    ) -> Result<Vec<SignerChange>, PlaneError> {
        // One rotation at a time, and no workspace is made meanwhile.
        let _one = self.creating.lock().await;
        let root = self.root().ok_or(PlaneError::NotFound("workspace"))?;
        // What an earlier attempt has left was never in force, unless its entry is on its way or the store
        // failed on it: then the log may name a key that must not go.
        let named = self.look(root.no, |state| state.signer().map(|it| it.vkey.clone())).await?;
        if let Some(error) = self.not_ready() {
            return Err(error);
        }
        if named != Some(root.vkey().to_string()) {
            return Err(PlaneError::StoreFailed("a rotation is being written".to_owned()));
        }
        if self.signers.all().map_err(failed)?.len() > 1 {
            // One that was cut off may have left the certificate to the key before, which goes now.
            self.arm().await?;
        }
        self.forget_signers()?;
        let signers = self.signers.clone();
        let next = self.host.blocking(move || signers.make().map_err(failed)).await?;
        let by = Some((principal, decision));
        let mut changes = vec![self.hand_over(&root, &next, by).await?];
        let mut refused = None;
        for workspace in self.all_workspaces().iter().skip(1) {
            // One log that cannot be written keeps none of the others on the former key.
            match self.hand_over(workspace, &next, by).await {
                Ok(change) => changes.push(change),
                Err(error) => drop(refused.get_or_insert(error)),
            }
        }
        self.settle_signers().await?;
        match refused {
            None => Ok(changes),
            Some(error) => Err(error),
        }
    }

    /// Believes the wall clock again, and completes a rotation that a start under a doubtful clock could not.
    /// Only an operator may say so; the server checks that.
    ///
    /// # Errors
    /// [`PlaneError`]. The clock is believed all the same, and the next confirmation or start goes on.
    pub async fn confirm_clock(&self) -> Result<(), PlaneError> {
        self.send(Message::ConfirmClock)?;
        let _one = self.creating.lock().await;
        self.finish_rotation().await?;
        if self.signers.all().map_err(failed)?.len() > 1 {
            self.settle_signers().await?;
        }
        Ok(())
    }

    /// Every log has the one key: the certificate is signed anew, and then the others go.
    async fn settle_signers(&self) -> Result<(), PlaneError> {
        // The certificate that the kill switch is armed was signed by the key before, which is held until then.
        self.arm().await?;
        if let Err(error) = self.forget_signers() {
            self.host.say(format_args!("the former signing key is not destroyed yet: {error}"));
            self.privacy.seeds_left.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Brings every log after the first one, where a crash came between them. Called before anything is
    /// served, or when the clock is believed again; true if there was something to do.
    pub(crate) async fn finish_rotation(&self) -> Result<bool, PlaneError> {
        let Some(root) = self.root() else { return Ok(false) };
        let signer = root.signing().signer.clone();
        let (mut behind, mut refused) = (false, None);
        for workspace in self.all_workspaces() {
            if workspace.signing().signer.public_key() != signer.public_key() {
                behind = true;
                // One log that cannot be written keeps none of the others on the former key.
                if let Err(error) = self.hand_over(&workspace, &signer, None).await {
                    refused.get_or_insert(error);
                }
            }
        }
        refused.map_or(Ok(behind), Err)
    }

    /// Destroys all signing keys but the one in force.
    pub(crate) fn forget_signers(&self) -> Result<(), PlaneError> {
        let mut keep: Vec<[u8; 32]> = Vec::new();
        for workspace in self.all_workspaces() {
            keep.push(workspace.signing().signer.public_key());
        }
        self.signers.keep(&keep).map_err(failed)
    }

    async fn hand_over(
        &self,
        workspace: &Arc<Workspace>,
        next: &Arc<dyn Signer>,
        by: Option<(&Principal, DecisionId)>,
    ) -> Result<SignerChange, PlaneError> {
        let next = Signing::new(workspace.origin(), next.clone()).map_err(PlaneError::Internal)?;
        let vkey = next.vkey.to_string();
        let command = RotateSigner {
            by: by.map(|(principal, _)| self.who(workspace, principal)),
            decision: by.map(|(_, decision)| decision),
            old: String::new(),
            new: vkey.clone(),
            // The sequencer knows the index, and writes it.
            note: String::new(),
        };
        let payload = self.actor_payload(by.map(|(principal, _)| principal))?;
        let command = Command::RotateSigner(Box::new(command));
        let done = self.submit_next(workspace.no, command, payload, Arc::new(next)).await?;
        let index = done.written.as_ref().and_then(|written| {
            let mut events = written.events();
            events.find(|(_, event)| matches!(event, Event::SignerRotated(_)))
        });
        let index = index.map(|(index, _)| index);
        Ok(SignerChange { workspace: workspace.name.to_string(), index, vkey })
    }

    /// Goes on under another name, in every log that has not said so yet. `signed` holds how far the
    /// lost logs were signed, as far as is known. Called at a start, before anything else is
    /// written; true if there was something to do.
    pub(crate) async fn succeed(&self, signed: &BTreeMap<String, u64>) -> Result<bool, PlaneError> {
        let all = self.all_workspaces();
        let renamed = |workspace: &Arc<Workspace>| origin_of(&self.instance, &workspace.name);
        let mut behind = all.iter().filter(|log| log.origin() != renamed(log)).peekable();
        if behind.peek().is_none() {
            return Ok(false);
        }
        // The lost directory may be in other hands, and so may its key. One that an earlier attempt
        // has put in force somewhere is taken again; what no log names was never in force.
        let begun = all.iter().find(|log| *log.size.borrow() > 0 && log.origin() == renamed(log));
        let signer = match begun {
            Some(log) => log.signing().signer.clone(),
            None => {
                self.forget_signers()?;
                let signers = self.signers.clone();
                self.host.blocking(move || signers.make().map_err(failed)).await?
            }
        };
        for log in behind {
            let next = Signing::new(&renamed(log), signer.clone()).map_err(PlaneError::Internal)?;
            let command = Command::SucceedLog(Box::new(SucceedLog {
                old: String::new(),
                new: next.vkey.to_string(),
                signed: signed.get(log.name.as_str()).copied(),
                // The sequencer knows the index, and writes it.
                note: String::new(),
            }));
            self.submit_next(log.no, command, Payload::empty(), Arc::new(next)).await?;
        }
        Ok(true)
    }

    /// As any other command, for a change to the key `next`. It may not be turned away: other logs
    /// may have changed before.
    async fn submit_next(
        &self,
        workspace: WorkspaceNo,
        command: Command,
        payload: Payload,
        next: Arc<Signing>,
    ) -> Result<Done, PlaneError> {
        let (message, answer) = message(workspace, command, payload, Next::Signing(next));
        let gone = |_| self.not_ready().unwrap_or(PlaneError::ShuttingDown);
        self.inbox.send(message).map_err(gone)?;
        self.finish(answer).await
    }

    /// Whether a revocation makes sense at all, before anybody is asked to permit it.
    ///
    /// # Errors
    /// [`PlaneError`]: no such key in this log, or it is the one in force.
    pub fn check_revocation(
        &self,
        workspace: &Workspace,
        spec: &RevokeSpec,
    ) -> Result<LogSigner, PlaneError> {
        let vkey = spec.vkey.to_string();
        let signers = workspace.signers();
        let signer = signers.iter().find(|signer| signer.vkey == vkey);
        let signer = signer.ok_or(PlaneError::NotFound("signing key in this log"))?;
        if signer.to_size.is_none() {
            return Err(PlaneError::Rejected(placet_engine::Rejection::SignerInForce));
        }
        Ok(signer.clone())
    }

    /// Revokes a former signing key under the permit of `decision` on surface `key.revoke_signer`.
    ///
    /// # Errors
    /// [`PlaneError`]; with `everywhere`, logs that were written until then stay so, and another
    /// revocation goes on from there.
    pub async fn revoke_signer(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        spec: &RevokeSpec,
        decision: DecisionId,
    ) -> Result<Vec<SignerChange>, PlaneError> {
        let logs = if spec.everywhere { self.all_workspaces() } else { vec![workspace.clone()] };
        let mut changes = Vec::new();
        let mut refused = None;
        for log in logs {
            // A former name of this log is that of the others with the workspace changed.
            let origin = match spec.vkey.name().rsplit_once('/') {
                Some((instance, _)) => format!("{instance}/{}", log.name),
                None => log.origin().to_owned(),
            };
            let vkey = VerifierKey::new::<Fast>(&origin, *spec.vkey.public_key());
            let vkey = vkey.map_err(|error| PlaneError::Internal(error.to_string()))?.to_string();
            // A log that is younger than the key's end was never signed by it.
            if !log.signers().iter().any(|signer| signer.vkey == vkey) && log.no != workspace.no {
                continue;
            }
            let by: Who = self.who(&log, principal);
            let command = Command::RevokeSigner(RevokeSigner {
                by,
                decision: Some(decision),
                vkey: vkey.clone(),
                from_size: spec.from_size,
            });
            let payload = self.actor_payload(Some(principal))?;
            let done = match self.submit(log.no, command, payload).await {
                Ok(done) => done,
                Err(error) => {
                    refused.get_or_insert(error);
                    continue;
                }
            };
            let index = done.written.as_ref().and_then(|written| written.events().last());
            let index = index.map(|(index, _)| index);
            changes.push(SignerChange { workspace: log.name.to_string(), index, vkey });
        }
        match refused {
            None => Ok(changes),
            Some(error) => Err(error),
        }
    }

    /// The handovers of all logs, those of a log oldest first: what a verifier with an old trust
    /// file walks along.
    #[must_use]
    pub fn handovers(&self) -> String {
        let mut text = String::new();
        for workspace in self.all_workspaces() {
            text.push_str(&workspace.handovers());
        }
        text
    }
}

fn failed(error: PortError) -> PlaneError {
    PlaneError::StoreFailed(error.to_string())
}

/// The key that signs a folded log, as long as it is held.
pub(crate) fn of_state(signers: &dyn Signers, state: &State) -> Result<Option<Signing>, Unfolded> {
    let Some(current) = state.signer() else { return Ok(None) };
    let held = Signing::held(signers, &current.vkey)?;
    held.map(Some).ok_or_else(|| {
        let what = format!(
            "the key that signs it ({}) is not in identity.db; restore the identity.db of the \
             same time",
            current.vkey
        );
        Unfolded::SigningKeyMissing(what)
    })
}

/// The key for a log that is still empty: that of the first one, or the only one there is.
pub(crate) fn unnamed(
    stores: &Stores,
    root: Option<&Arc<Workspace>>,
    name: &WorkspaceName,
) -> Result<Signing, StartError> {
    let signer = match root {
        Some(root) => root.signing().signer.clone(),
        None => {
            let first = stores.signers.all()?.into_iter().next();
            first.ok_or_else(|| PortError::new("there is no signing key"))?
        }
    };
    Signing::new(&origin_of(&stores.instance, name), signer)
        .map_err(|what| StartError::Damaged { workspace: name.to_string(), what })
}
