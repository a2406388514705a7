//! Bundles from upload to force: compiling, their own cases, signatures, drafts, and arming under a
//! decision. Owns the order of the checks and that all of them are made again at release; refuses to
//! know what the constitution permits.

mod changes;
mod refusal;
mod serving;
mod spec;

use crate::asking::message;
use crate::crypto::{Fast, verify_ed25519};
use crate::dry::all_cases;
use crate::error::PlaneError;
use crate::holding::Anew;
use crate::plane::{MOVED_MAX, PERMIT_MS, Plane, Principal, decision_of};
use crate::ports::PortError;
use crate::proposal::reread;
use crate::sequencer::{Done, Message, Next, Outstanding, Payload};
use crate::workspace::Workspace;
use placet_engine::{
    ArmUnder, Armed, Author, AuthorChange, Command, Draft, DraftBundle, Rejection, Review, State,
};
use placet_policy::{Bundle, Source};
use placet_tlog::BundleSignature;
use placet_types::Digest;
use placet_types::event::{BundleArmed, Event, Signed};
use placet_types::ids::{DecisionId, TimeMs};
use placet_types::json::Object;
use placet_types::policy::LANGUAGE;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

pub use changes::changes;
pub use refusal::BundleRefusal;
use serving::read;
pub(crate) use serving::{load, self_test};
pub use spec::{PolicyAct, author_request, publish_request, rollback_request};

/// How long an emergency may go without a review.
pub const REVIEW_MS: u64 = 24 * 3_600_000;
/// Bundles that were compiled last and are likely to be released next.
const COMPILED_MAX: usize = 2;

/// What an author uploads.
pub enum Upload {
    /// Documents.
    Sources(Vec<Source>),
    /// The normal form.
    Normal(Vec<u8>),
}

/// What compiling needs of the instance.
#[derive(Default)]
pub(crate) struct Workshop {
    /// One bundle is compiled at a time: it may cost a core for seconds.
    one: tokio::sync::Mutex<()>,
    compiled: Mutex<VecDeque<Arc<Bundle>>>,
}

/// A bundle that was uploaded and found good.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The bundle.
    pub bundle: Arc<Bundle>,
    /// The one that it is meant to replace: the one in force.
    pub replaces: Option<Digest>,
    /// What is different, in short.
    pub changes: Object,
    /// The author's signature.
    pub signed: Option<Signed>,
}

/// A bundle that is in force now.
#[derive(Clone, Debug, PartialEq)]
pub struct NowArmed {
    /// Index of the entry.
    pub index: u64,
    /// Since when.
    pub since: TimeMs,
    /// What it says.
    pub event: BundleArmed,
}

/// What state says of the bundles of a workspace.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// The bundle in force, by the log.
    pub current: Option<Digest>,
    /// The one to which one person may go back.
    pub preceding: Option<Digest>,
    /// Whether the workspace is in solo mode.
    pub solo: bool,
}

/// What people have to look after.
#[derive(Clone, Debug, Default)]
pub struct PolicyMatters {
    /// Uploaded, never in force; newest first.
    pub drafts: Vec<(Digest, Draft)>,
    /// Emergencies that nobody has reviewed.
    pub reviews: Vec<Review>,
    /// Authors whose signature counts.
    pub authors: Vec<Author>,
}

impl Plane {
    /// Compiles an upload and runs all its cases; all or nothing, and nothing is kept.
    ///
    /// # Errors
    /// [`PlaneError::BundleRefused`] with everything that is wrong.
    pub async fn compile(&self, upload: Upload) -> Result<(Arc<Bundle>, u32), PlaneError> {
        let _one = self.workshop.one.lock().await;
        let made = self.host.blocking(move || {
            let bundle = match upload {
                // Most likely another directory was meant, and it would turn everything to SILENCE.
                Upload::Sources(sources) if sources.is_empty() => {
                    return Err(refused(BundleRefusal::Empty));
                }
                Upload::Sources(sources) => Bundle::compile::<Fast>(&sources),
                Upload::Normal(bytes) => Bundle::from_normalised::<Fast>(&bytes),
            };
            let bundle = bundle.map_err(|found| refused(BundleRefusal::Invalid(found)))?;
            let cases = all_cases(&bundle).map_err(|found| refused(BundleRefusal::Cases(found)))?;
            Ok((Arc::new(bundle), cases))
        });
        let (bundle, cases) = made.await?;
        self.keep_compiled(&bundle);
        Ok((bundle, cases))
    }

    fn keep_compiled(&self, bundle: &Arc<Bundle>) {
        let mut kept = self.workshop.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| other.digest() != bundle.digest());
        kept.push_back(bundle.clone());
        while kept.len() > COMPILED_MAX {
            kept.pop_front();
        }
    }

    /// The bundle under a digest, compiled and tested, from memory or from the journal.
    async fn stored(&self, digest: Digest) -> Result<Arc<Bundle>, PlaneError> {
        let kept = {
            let kept = self.workshop.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().find(|bundle| bundle.digest() == digest).cloned()
        };
        if let Some(bundle) = kept {
            return Ok(bundle);
        }
        let _one = self.workshop.one.lock().await;
        let journal = self.journal.clone();
        let bundle = self.host.blocking(move || {
            let bytes = journal.bundle(&digest.0).map_err(failed)?;
            let bytes = bytes.ok_or(PlaneError::BundleLost(digest))?;
            let bundle = read(&bytes, digest).map_err(|_| PlaneError::BundleLost(digest))?;
            self_test(&bundle).map_err(|found| refused(BundleRefusal::Cases(found)))?;
            Ok(bundle)
        });
        let bundle = bundle.await?;
        self.keep_compiled(&bundle);
        Ok(bundle)
    }

    /// What state says of the bundles.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn policies(&self, workspace: &Workspace) -> Result<Policies, PlaneError> {
        self.look(workspace.no, |state| Policies {
            current: state.policy(),
            preceding: state.preceding(),
            solo: state.solo(),
        })
        .await
    }

    /// Checks an uploaded bundle against the workspace, keeps its bytes, and records the draft.
    /// `reviewed` is the bundle that the author compared it with, where they say so.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn draft(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        (bundle, cases): (Arc<Bundle>, u32),
        signature: Option<&BundleSignature>,
        reviewed: Option<Option<Digest>>,
    ) -> Result<Publication, PlaneError> {
        let digest = bundle.digest();
        let signed = signature.map(|signature| good(signature, digest)).transpose()?;
        let asked = signed.clone();
        let (replaces, verdict) = self
            .look(workspace.no, move |state| {
                let current = state.policy();
                (current, may_publish(state, digest, reviewed, asked.as_ref()))
            })
            .await?;
        verdict.map_err(PlaneError::Rejected)?;
        // The bytes are durable before anything refers to them.
        self.put_bundle(&bundle).await?;
        let by = self.who(workspace, principal);
        let command = DraftBundle {
            bundle: digest,
            by,
            cases,
            replaces,
            rules: u32::try_from(bundle.rule_count()).unwrap_or(u32::MAX),
            signed: signed.clone(),
            warnings: u32::try_from(bundle.warnings().len()).unwrap_or(u32::MAX),
        };
        let payload = self.actor_payload(Some(principal))?;
        self.submit(workspace.no, Command::DraftBundle(Box::new(command)), payload).await?;
        self.slept_on(workspace, digest).await?;
        let changes = self.changes_to(replaces, &bundle).await?;
        Ok(Publication { bundle, replaces, changes, signed })
    }

    /// In solo mode a draft has to have stood for a while before it is published.
    async fn slept_on(&self, workspace: &Workspace, digest: Digest) -> Result<(), PlaneError> {
        let (now, dev) = (self.clock.wall(), self.dev);
        let from = self.look(workspace.no, move |state| {
            let mut drafts = state.drafts().filter(|(bundle, _)| **bundle == digest);
            let since = drafts.next().map(|(_, draft)| draft.since);
            since.filter(|_| state.solo() && !dev)
        });
        let from = from.await?.map(|since| since.plus(crate::overriding::SOLO_DELAY_MS));
        match from {
            Some(from) if now < from => Err(PlaneError::Rejected(Rejection::TooEarly(from))),
            _ => Ok(()),
        }
    }

    /// A bundle that was in force before, to go back to.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn former(
        &self,
        workspace: &Workspace,
        digest: Digest,
    ) -> Result<Publication, PlaneError> {
        let (replaces, known, signed) = self
            .look(workspace.no, move |state| {
                let signed = state.signature_of(digest).cloned();
                (state.policy(), may_return(state, digest, signed.as_ref()), signed)
            })
            .await?;
        known.map_err(PlaneError::Rejected)?;
        let bundle = self.stored(digest).await?;
        let changes = self.changes_to(replaces, &bundle).await?;
        Ok(Publication { bundle, replaces, changes, signed })
    }

    async fn changes_to(
        &self,
        replaces: Option<Digest>,
        bundle: &Arc<Bundle>,
    ) -> Result<Object, PlaneError> {
        let before = match replaces {
            None => None,
            Some(digest) => {
                // One that is lost cannot be compared with: then everything is new.
                let journal = self.journal.clone();
                self.host.blocking(move || journal.bundle(&digest.0).map_err(failed)).await?
            }
        };
        let bundle = bundle.clone();
        self.host.blocking(move || Ok(changes(before.as_deref(), bundle.normalised()))).await
    }

    /// Keeps the bytes of a bundle, durably.
    pub(crate) async fn put_bundle(&self, bundle: &Arc<Bundle>) -> Result<(), PlaneError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(Message::KeepBundle(bundle.clone(), reply))?;
        let gone = |_| self.not_ready().unwrap_or(PlaneError::ShuttingDown);
        answer.await.map_err(gone)?.map_err(PlaneError::StoreFailed)
    }

    /// Puts the bundle of a decision in force, as its author or as one who approved it. Everything
    /// is checked again first. Effective for every decision after this returns. One that is or was
    /// in force by this decision already is answered as it stands.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn release(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        decision: DecisionId,
    ) -> Result<NowArmed, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let done = self.look(workspace.no, move |state| {
            state.armed().rev().find(|it| it.event.decision == Some(decision)).cloned()
        });
        if let Some(Armed { index, since, event }) = done.await? {
            return Ok(NowArmed { index, since, event });
        }
        let index = self.locate(workspace, decision)?;
        let opened = self.open(workspace, index)?;
        let prior = decision_of(&opened.entry)?;
        let (request, _) = reread(&opened.payload)?;
        let act = PolicyAct::read(&request).ok_or(PlaneError::Rejected(Rejection::NoPermit))?;
        let bundle = self.stored(act.bundle).await?;
        if let Some(signed) = &act.signed {
            let parts =
                BundleSignature::from_parts::<Fast>(act.bundle, &signed.key, &signed.signature);
            let signature = parts.map_err(|_| PlaneError::Rejected(Rejection::BundleUnsigned))?;
            good(&signature, act.bundle)?;
        }
        // What the people read is what this bundle changes, whoever wrote the request.
        if self.changes_to(act.replaces, &bundle).await? != act.changes {
            return Err(PlaneError::Rejected(Rejection::NoPermit));
        }
        for _ in 0..MOVED_MAX {
            let Anew { verdict, windows, evidence, lends } =
                self.evaluate_again(workspace, &opened, None).await?;
            let command = ArmUnder {
                by: self.who(workspace, principal),
                index,
                prior: prior.clone(),
                permit: self.id(self.clock.wall()),
                permit_ms: PERMIT_MS,
                windows,
                verdict,
                lends,
                evidence,
                bundle: act.bundle,
                replaces: act.replaces,
                signed: act.signed.clone(),
                language: LANGUAGE,
                solo_delay_ms: crate::overriding::SOLO_DELAY_MS,
                review_ms: REVIEW_MS,
                narrowed: Vec::new(),
            };
            let payload = self.actor_payload(Some(principal))?;
            let command = Command::ArmUnder(Box::new(command));
            match self.submit_bundle(workspace, command, payload, &bundle).await {
                Err(PlaneError::PolicyMoved) => {}
                Err(error) => return Err(error),
                Ok(done) => {
                    return armed(&done).ok_or(PlaneError::Rejected(Rejection::Invalidated));
                }
            }
        }
        Err(PlaneError::PolicyMoved)
    }

    async fn submit_bundle(
        &self,
        workspace: &Workspace,
        command: Command,
        payload: Payload,
        bundle: &Arc<Bundle>,
    ) -> Result<Done, PlaneError> {
        let next = Next::Bundle(bundle.clone());
        let (message, answer) = message(workspace.no, command, payload, next);
        self.send(message)?;
        self.finish(answer).await
    }

    /// Puts the bundle of a start in force.
    pub(crate) async fn arm_bundle(
        &self,
        workspace: &Arc<Workspace>,
        bundle: &Arc<Bundle>,
    ) -> Result<(), PlaneError> {
        let armed = BundleArmed::seed(bundle.digest(), LANGUAGE);
        let command = Command::ArmBundle(Box::new(armed));
        self.submit_bundle(workspace, command, Payload::empty(), bundle).await.map(drop)
    }

    /// Never lets a bundle come back. `reason` is a code.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn withdraw_bundle(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        bundle: Digest,
        reason: String,
    ) -> Result<(), PlaneError> {
        let by = self.who(workspace, principal);
        let command = Command::WithdrawBundle { bundle, reason, by };
        let payload = self.actor_payload(Some(principal))?;
        self.submit(workspace.no, command, payload).await.map(drop)
    }

    /// Closes the review of an emergency. `note` is kept in the erasable payload.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn close_review(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        decision: DecisionId,
        note: Option<&str>,
    ) -> Result<(), PlaneError> {
        let by = self.who(workspace, principal);
        let actor = principal.caller.actor.as_str();
        let payload = self.payload(Object::new().with("actor", actor).with_opt("note", note))?;
        self.submit(workspace.no, Command::CloseReview { decision, by }, payload).await.map(drop)
    }

    /// Trusts the key of an author or trusts it no more, under the permit of `decision` on surface
    /// `policy.author`.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn change_author(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        key: String,
        trust: bool,
        decision: DecisionId,
    ) -> Result<(), PlaneError> {
        let by = self.who(workspace, principal);
        let change = AuthorChange { key, trust, by, decision: Some(decision) };
        let payload = self.actor_payload(Some(principal))?;
        self.submit(workspace.no, Command::ChangeAuthor(Box::new(change)), payload).await.map(drop)
    }

    /// Bundles that are or were in force, newest first, before the entry `before`; and whether each
    /// is withdrawn.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn policy_history(
        &self,
        workspace: &Workspace,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(Armed, bool)>, PlaneError> {
        self.look(workspace.no, move |state| {
            let older = |armed: &&Armed| before.is_none_or(|before| armed.index < before);
            let page = state.armed().rev().filter(older).take(limit);
            page.map(|it| (it.clone(), state.is_withdrawn(&it.event.bundle))).collect()
        })
        .await
    }

    /// Why a bundle came into force, in the words of its author, unless they were erased.
    #[must_use]
    pub fn arming_reason(&self, workspace: &Workspace, decision: DecisionId) -> Option<String> {
        let index = self.locate(workspace, decision).ok()?;
        let opened = self.open_or_entry(workspace, index).ok()?.ok()?;
        PolicyAct::read(&reread(&opened.payload).ok()?.0)?.reason
    }

    /// The normal form of a bundle that this workspace knows: in force now or before, or, for those
    /// who may see drafts, uploaded; with the newest signature that came with it.
    ///
    /// # Errors
    /// [`PlaneError`]; a bundle of another workspace alone is not found.
    pub async fn policy_bytes(
        &self,
        workspace: &Workspace,
        digest: Digest,
        drafts: bool,
    ) -> Result<(Vec<u8>, Option<Signed>), PlaneError> {
        let (known, signed) = self
            .look(workspace.no, move |state| {
                let drafted = || drafts && state.drafts().any(|(bundle, _)| *bundle == digest);
                let known = state.was_in_force(digest) || drafted();
                (known, state.signature_of(digest).cloned())
            })
            .await?;
        if !known {
            return Err(PlaneError::NotFound("bundle"));
        }
        let journal = self.journal.clone();
        let bytes = self.host.blocking(move || journal.bundle(&digest.0).map_err(failed)).await?;
        Ok((bytes.ok_or(PlaneError::BundleLost(digest))?, signed))
    }

    /// Drafts, reviews that are open, and authors whose signature counts.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn policy_matters(&self, workspace: &Workspace) -> Result<PolicyMatters, PlaneError> {
        self.look(workspace.no, |state| {
            let mut drafts: Vec<_> =
                state.drafts().map(|(bundle, draft)| (*bundle, draft.clone())).collect();
            drafts.sort_by_key(|(_, draft)| std::cmp::Reverse(draft.index));
            PolicyMatters {
                drafts,
                reviews: state.reviews().cloned().collect(),
                authors: state.authors().cloned().collect(),
            }
        })
        .await
    }

    /// Whether a decision asked to publish against another bundle than the one in force.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn is_stale(
        &self,
        workspace: &Arc<Workspace>,
        decision: DecisionId,
    ) -> Result<Option<Rejection>, PlaneError> {
        let opened = self.open(workspace, self.locate(workspace, decision)?)?;
        let (request, _) = reread(&opened.payload)?;
        let Some(act) = PolicyAct::read(&request) else { return Ok(None) };
        let current = self.policies(workspace).await?.current;
        Ok((act.replaces != current).then_some(Rejection::PublicationStale(current)))
    }
}

fn armed(done: &Done) -> Option<NowArmed> {
    let written = done.written.as_ref()?;
    let since = written.batch.entries.get(written.range.start)?.time;
    written.events().find_map(|(index, event)| match event {
        Event::BundleArmed(event) => Some(NowArmed { index, since, event: event.clone() }),
        _ => None,
    })
}

/// The same checks that arming makes, before anybody is asked.
fn may_publish(
    state: &State,
    digest: Digest,
    reviewed: Option<Option<Digest>>,
    signed: Option<&Signed>,
) -> Result<(), Rejection> {
    if reviewed.is_some_and(|reviewed| reviewed != state.policy()) {
        return Err(Rejection::PublicationStale(state.policy()));
    }
    may_come(state, digest, signed)
}

fn may_return(state: &State, digest: Digest, signed: Option<&Signed>) -> Result<(), Rejection> {
    if !state.was_in_force(digest) {
        return Err(Rejection::NotFound("bundle that was in force"));
    }
    may_come(state, digest, signed)
}

fn may_come(state: &State, digest: Digest, signed: Option<&Signed>) -> Result<(), Rejection> {
    if state.is_withdrawn(&digest) {
        return Err(Rejection::BundleWithdrawn);
    }
    if state.policy() == Some(digest) {
        return Err(Rejection::BundleInForce);
    }
    state.check_author(signed)
}

/// A signature over this digest that its key made.
fn good(signature: &BundleSignature, digest: Digest) -> Result<Signed, PlaneError> {
    let made = |key: &[u8; 32], message: &[u8], it: &[u8; 64]| verify_ed25519(key, message, it);
    if signature.digest() != digest || !signature.is_good(made) {
        return Err(PlaneError::Rejected(Rejection::BundleUnsigned));
    }
    Ok(Signed { key: signature.key().to_string(), signature: signature.signature() })
}

fn refused(refusal: BundleRefusal) -> PlaneError {
    PlaneError::BundleRefused(Box::new(refusal))
}

fn failed(error: PortError) -> PlaneError {
    PlaneError::StoreFailed(error.to_string())
}
