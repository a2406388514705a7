//! Bundles as state knows them: which were in force and how they came to be, drafts, what may never
//! come back, reviews that are due, authors whose signature counts. Owns when a bundle may be armed;
//! refuses to know what is in one and whether a signature is good.

use crate::command::{ArmUnder, AuthorChange, DraftBundle, Plan, Who};
use crate::constitution::{ADMIN, URGENT, arming_of};
use crate::hold::closing;
use crate::rejection::Rejection;
use crate::release::{Release, Reserve, release};
use crate::state::{Held, HeldState, State};
use crate::step::{append, has_role, may_administer};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use placet_types::event::{
    ActorRef, ApprovalReopened, Arming, AuthorKey, BundleArmed, BundleDrafted, BundleWithdrawn,
    CloseState, Event, OutcomeReported, PayloadErased, PermitCollected, PermitIssued,
    ReportedResult, ReviewClosed, Signed,
};
use placet_types::ids::{DecisionId, TimeMs};
use placet_types::policy::Outcome;
use placet_types::{Digest, Hasher};

/// Approvers that an entry names.
const APPROVERS_MAX: usize = 32;

/// A bundle that is or was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed {
    /// Index of the entry.
    pub index: u64,
    /// Since when.
    pub since: TimeMs,
    /// What the entry says.
    pub event: BundleArmed,
}

/// A bundle that was uploaded and is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Index of the entry.
    pub index: u64,
    /// Since when.
    pub since: TimeMs,
    /// Who uploaded it.
    pub by: ActorRef,
    /// The author's signature.
    pub signed: Option<Signed>,
}

/// What one person did in an emergency and another has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The decision.
    pub decision: DecisionId,
    /// Who did it.
    pub by: ActorRef,
    /// The bundle that came into force.
    pub bundle: Digest,
    /// When.
    pub since: TimeMs,
    /// Until when it has to be reviewed.
    pub due: TimeMs,
}

/// An author whose signature counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Verifier key.
    pub key: String,
    /// Who trusted it.
    pub by: ActorRef,
    /// Since when.
    pub since: TimeMs,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    /// Oldest first; the newest `armed_max` of them.
    pub(crate) armed: VecDeque<Armed>,
    pub(crate) drafts: BTreeMap<Digest, Draft>,
    pub(crate) withdrawn: BTreeSet<Digest>,
    pub(crate) reviews: BTreeMap<DecisionId, Review>,
    pub(crate) authors: BTreeMap<String, Author>,
}

/// Records an upload; the same by the same person is recorded once.
pub(crate) fn draft(state: &State, command: &DraftBundle) -> Result<Plan, Rejection> {
    may_administer(&command.by)?;
    if state.policies.withdrawn.contains(&command.bundle) {
        return Err(Rejection::BundleWithdrawn);
    }
    let known = state.policies.drafts.get(&command.bundle);
    if known.is_some_and(|draft| draft.by == command.by.actor && draft.signed == command.signed) {
        return Ok(Plan::Nothing);
    }
    append(Event::BundleDrafted(BundleDrafted {
        bundle: command.bundle,
        by: command.by.actor.clone(),
        cases: command.cases,
        replaces: command.replaces,
        rules: command.rules,
        signed: command.signed.clone(),
        warnings: command.warnings,
    }))
}

/// The bundle of a start: an empty workspace, or development mode.
pub(crate) fn seed(state: &State, armed: &BundleArmed) -> Result<Plan, Rejection> {
    if state.policy == Some(armed.bundle) {
        return Ok(Plan::Nothing);
    }
    if state.policies.withdrawn.contains(&armed.bundle) {
        return Err(Rejection::BundleWithdrawn);
    }
    if !state.dev && !state.policies.authors.is_empty() {
        return Err(Rejection::BundleUnsigned);
    }
    append(Event::BundleArmed(BundleArmed { replaces: state.policy, ..armed.clone() }))
}

/// Puts a bundle in force under a decision. Everything is checked again: the decision and its
/// approval, the kill switch, the bundle that was reviewed against, withdrawals, authors. The use of
/// the permit, the arming and the report are one batch: a crash leaves all of it or nothing.
pub(crate) fn arm_under<H: Hasher>(
    state: &State,
    command: &ArmUnder,
    now: TimeMs,
    costs: &impl Reserve,
) -> Result<Plan, Rejection> {
    let prior = &command.prior;
    let how = arming_of(&prior.surface, &prior.action).ok_or(Rejection::NoPermit)?;
    if !command.by.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    match how {
        Arming::Emergency => has_role(&command.by, &URGENT)?,
        Arming::Seeded | Arming::Published | Arming::RolledBack => {
            has_role(&command.by, &[ADMIN])?;
        }
    }
    let scopes = prior.scopes();
    if let Some(stop) = state.stop(&scopes) {
        return Err(stop.rejection());
    }
    state.may_act(Some(&command.by.actor))?;
    if state.spent.contains(&prior.decision) || state.reported.get(command.index) {
        return Err(Rejection::PermitConsumed);
    }
    if let Some(why) = state.withheld(command.index, &scopes) {
        return Err(why);
    }
    let granted = granted::<H>(state, command, now, costs)?;
    let (collected, approvers) = match granted {
        Granted::Over(plan) => return Ok(plan),
        Granted::Alone => (Vec::new(), Vec::new()),
        Granted::Held(held, fresh) => {
            let approvers = held.votes.iter().take(APPROVERS_MAX).map(|cast| cast.by.clone());
            let approvers = approvers.collect();
            (fresh.map_or_else(Vec::new, |it| collection(command, held, it, now)), approvers)
        }
    };
    may_arm(state, command, how, now)?;
    let mut events = collected;
    events.push(Event::BundleArmed(BundleArmed {
        approvers,
        author: Some(prior.actor.clone()),
        bundle: command.bundle,
        by: Some(command.by.actor.clone()),
        decision: Some(prior.decision),
        how,
        language: command.language,
        replaces: state.policy,
        review_by: (how == Arming::Emergency && !state.dev).then(|| now.plus(command.review_ms)),
        signed: command.signed.clone(),
    }));
    events.extend(command.narrowed.iter().cloned().map(Event::SessionNarrowed));
    events.push(Event::OutcomeReported(OutcomeReported {
        decision: prior.decision,
        index: command.index,
        by: command.by.actor.clone(),
        result: ReportedResult::Succeeded,
        surface: Some(prior.surface.clone()),
    }));
    Ok(Plan::Append(events))
}

/// By what a decision permits.
enum Granted<'a> {
    /// The decision itself is the permit.
    Alone,
    /// Its approval is; while the permit is not minted, with the demand that was renewed on the way.
    Held(&'a Held, Option<Option<Box<ApprovalReopened>>>),
    /// It permits no more.
    Over(Plan),
}

fn granted<'a, H: Hasher>(
    state: &'a State,
    command: &ArmUnder,
    now: TimeMs,
    costs: &impl Reserve,
) -> Result<Granted<'a>, Rejection> {
    let (prior, who) = (&command.prior, &command.by.actor);
    if prior.outcome == Outcome::Permit {
        let permit = prior.permit.as_ref().ok_or(Rejection::NoPermit)?;
        used_by(permit, &prior.actor, who, now)?;
        return Ok(Granted::Alone);
    }
    if prior.outcome != Outcome::RequireApproval {
        return Err(Rejection::NoPermit);
    }
    let id = state.held_by_decision.get(&prior.decision);
    let held = id.and_then(|id| state.approval(*id)).ok_or(Rejection::NotFound("held decision"))?;
    let over = |event| Ok(Granted::Over(Plan::Append(alloc::vec![event])));
    match &held.state {
        HeldState::Pending => Err(Rejection::ApprovalPending),
        HeldState::Consumed(permit) => {
            used_by(permit, &prior.actor, who, now)?;
            Ok(Granted::Held(held, None))
        }
        HeldState::Approved(until) => {
            // Whoever approved it releases it, or its author.
            if *who != held.actor && held.vote_of(who).is_none() {
                return Err(Rejection::Foreign("its author and those who approved it"));
            }
            let found =
                release::<H>(state, held, *until, &command.by, command.asked(), now, costs)?;
            let renewed = match found {
                Release::Granted(renewed) => renewed,
                Release::Reopened(event) => return over(Event::ApprovalReopened(*event)),
                Release::Over(how) => return over(closing(held, how)),
            };
            // The author may have lost the role while it waited: what they proposed falls.
            if !state.holds_any(&held.actor, &[ADMIN], now) {
                return over(closing(held, CloseState::Invalidated.into()));
            }
            Ok(Granted::Held(held, Some(renewed)))
        }
        other => Err(Rejection::ApprovalFinal(other.as_str())),
    }
}

/// A permit that its own caller consumed, and that a crash may have left without effect.
fn used_by(
    permit: &PermitIssued,
    actor: &ActorRef,
    who: &ActorRef,
    now: TimeMs,
) -> Result<(), Rejection> {
    if who != actor {
        return Err(Rejection::Foreign("its author"));
    }
    if !permit.consumed {
        return Err(Rejection::NoPermit);
    }
    if now >= permit.expires {
        return Err(Rejection::PermitExpired);
    }
    Ok(())
}

fn collection(
    command: &ArmUnder,
    held: &Held,
    renewed: Option<Box<ApprovalReopened>>,
    now: TimeMs,
) -> Vec<Event> {
    let mut held = held.clone();
    let mut events = Vec::with_capacity(4);
    if let Some(event) = renewed {
        held.reopen(&event, now);
        events.push(Event::ApprovalReopened(*event));
    }
    events.push(Event::PermitCollected(PermitCollected {
        decision: held.decision,
        approval: held.approval,
        permit: PermitIssued {
            id: command.permit,
            consumed: true,
            audience: held.audience.clone(),
            expires: now.plus(command.permit_ms),
            nonce: None,
        },
        constraints: (held.reopened > 0).then(|| held.constraints.clone()),
        policy: command.verdict.policy,
    }));
    events
}

/// What stands against this bundle, whoever permits it.
fn may_arm(state: &State, command: &ArmUnder, how: Arming, now: TimeMs) -> Result<(), Rejection> {
    if state.policy != command.replaces {
        return Err(Rejection::PublicationStale(state.policy));
    }
    if state.policy == Some(command.bundle) {
        return Err(Rejection::BundleInForce);
    }
    if state.policies.withdrawn.contains(&command.bundle) {
        return Err(Rejection::BundleWithdrawn);
    }
    state.check_author(command.signed.as_ref())?;
    match how {
        Arming::Published if state.solo && !state.dev => {
            // Alone, one sleeps on it: the draft has to have stood for a while.
            let draft = state.policies.drafts.get(&command.bundle);
            let from = draft.ok_or(Rejection::NotFound("draft"))?.since.plus(command.solo_delay_ms);
            if now < from { Err(Rejection::TooEarly(from)) } else { Ok(()) }
        }
        Arming::RolledBack if !state.was_in_force(command.bundle) => {
            Err(Rejection::NotFound("bundle that was in force"))
        }
        Arming::Emergency if state.preceding() != Some(command.bundle) => {
            Err(Rejection::NothingBefore)
        }
        Arming::Emergency if state.has_overdue_review(&command.by.actor, now) => {
            Err(Rejection::ReviewOverdue)
        }
        _ => Ok(()),
    }
}

/// Withdrawing only takes away, so one admin suffices.
pub(crate) fn withdraw(
    state: &State,
    bundle: Digest,
    reason: &str,
    by: &Who,
) -> Result<Plan, Rejection> {
    may_administer(by)?;
    if state.policies.withdrawn.contains(&bundle) {
        return Ok(Plan::Nothing);
    }
    if state.policy == Some(bundle) {
        return Err(Rejection::BundleInForce);
    }
    if !state.was_in_force(bundle) && !state.policies.drafts.contains_key(&bundle) {
        return Err(Rejection::NotFound("bundle"));
    }
    if state.policies.withdrawn.len() >= state.bounds.withdrawn_max {
        return Err(Rejection::BundlesFull);
    }
    append(Event::BundleWithdrawn(BundleWithdrawn {
        bundle,
        by: by.actor.clone(),
        reason: String::from(reason),
    }))
}

/// Another person has looked at it.
pub(crate) fn close_review(
    state: &State,
    decision: DecisionId,
    by: &Who,
) -> Result<Plan, Rejection> {
    if !by.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    has_role(by, &["admin", "auditor", "operator"])?;
    let review = state.policies.reviews.get(&decision).ok_or(Rejection::NotFound("review"))?;
    // In solo mode there is nobody else.
    if review.by == by.actor && !state.solo {
        return Err(Rejection::OwnReview);
    }
    append(Event::ReviewClosed(ReviewClosed { by: by.actor.clone(), decision }))
}

pub(crate) fn change_author(state: &State, command: &AuthorChange) -> Result<Plan, Rejection> {
    may_administer(&command.by)?;
    state.may_act(Some(&command.by.actor))?;
    if command.decision.is_some_and(|decision| state.spent.contains(&decision)) {
        return Err(Rejection::PermitConsumed);
    }
    let known = state.policies.authors.contains_key(&command.key);
    let event = AuthorKey {
        by: command.by.actor.clone(),
        decision: command.decision,
        key: command.key.clone(),
    };
    match (command.trust, known) {
        (true, true) => Ok(Plan::Nothing),
        (false, false) => Err(Rejection::NotFound("author key")),
        (true, false) if state.policies.authors.len() >= state.bounds.authors_max => {
            Err(Rejection::AuthorsFull)
        }
        (true, false) => append(Event::AuthorTrusted(event)),
        (false, true) => append(Event::AuthorRevoked(event)),
    }
}

impl State {
    /// Bundles that are or were in force, oldest first, as far as state remembers.
    pub fn armed(&self) -> impl DoubleEndedIterator<Item = &Armed> {
        self.policies.armed.iter()
    }

    /// Bundles that were uploaded and never were in force.
    pub fn drafts(&self) -> impl Iterator<Item = (&Digest, &Draft)> {
        self.policies.drafts.iter()
    }

    /// Whether a bundle may never come back.
    #[must_use]
    pub fn is_withdrawn(&self, bundle: &Digest) -> bool {
        self.policies.withdrawn.contains(bundle)
    }

    /// Whether a bundle is or was in force, as far as state remembers.
    #[must_use]
    pub fn was_in_force(&self, bundle: Digest) -> bool {
        self.policies.armed.iter().any(|armed| armed.event.bundle == bundle)
    }

    /// The bundle to which one person may go back: the one that the last publication replaced. A
    /// rollback has none, or the bundle that it left would come back by one person's word.
    #[must_use]
    pub fn preceding(&self) -> Option<Digest> {
        let last = self.policies.armed.back()?;
        let forward = matches!(last.event.how, Arming::Published | Arming::Seeded);
        last.event.replaces.filter(|before| forward && !self.is_withdrawn(before))
    }

    /// The newest signature under which a bundle was uploaded or in force.
    #[must_use]
    pub fn signature_of(&self, bundle: Digest) -> Option<&Signed> {
        let draft = self.policies.drafts.get(&bundle).and_then(|draft| draft.signed.as_ref());
        draft.or_else(|| {
            let mut armed = self.policies.armed.iter().rev();
            armed
                .find(|it| it.event.bundle == bundle && it.event.signed.is_some())?
                .event
                .signed
                .as_ref()
        })
    }

    /// Reviews that are not closed.
    pub fn reviews(&self) -> impl Iterator<Item = &Review> {
        self.policies.reviews.values()
    }

    /// Whether a person has left a review open for too long.
    #[must_use]
    pub fn has_overdue_review(&self, by: &ActorRef, now: TimeMs) -> bool {
        self.policies.reviews.values().any(|review| review.by == *by && now >= review.due)
    }

    /// Authors whose signature counts.
    pub fn authors(&self) -> impl Iterator<Item = &Author> {
        self.policies.authors.values()
    }

    /// Whether a signature, checked by whoever knows signatures, is by an author who counts. Where
    /// there are no authors none is needed.
    ///
    /// # Errors
    /// [`Rejection::BundleUnsigned`].
    pub fn check_author(&self, signed: Option<&Signed>) -> Result<(), Rejection> {
        let authors = &self.policies.authors;
        let good = signed.is_some_and(|signed| authors.contains_key(&signed.key));
        if authors.is_empty() || good { Ok(()) } else { Err(Rejection::BundleUnsigned) }
    }

    pub(crate) fn apply_drafted(&mut self, event: &BundleDrafted, index: u64) {
        let draft =
            Draft { index, since: self.time, by: event.by.clone(), signed: event.signed.clone() };
        let drafts = &mut self.policies.drafts;
        drafts.insert(event.bundle, draft);
        while drafts.len() > self.bounds.drafts_max {
            let Some(oldest) = drafts.iter().min_by_key(|(_, draft)| draft.index) else { break };
            let oldest = *oldest.0;
            drafts.remove(&oldest);
        }
    }

    pub(crate) fn apply_armed(
        &mut self,
        event: &BundleArmed,
        index: u64,
    ) -> Result<(), &'static str> {
        if event.how != Arming::Seeded {
            self.not_killed()?;
            let decision = event.decision.ok_or("it arms a bundle without a decision")?;
            if event.replaces != self.policy {
                return Err("it replaces another bundle than the one in force");
            }
            // INVARIANT: one decision arms one bundle.
            if !self.spent.insert(decision) {
                return Err("it arms a second bundle under one decision");
            }
            if let (Some(due), Some(by)) = (event.review_by, &event.by) {
                let (by, bundle, since) = (by.clone(), event.bundle, self.time);
                let review = Review { decision, by, bundle, since, due };
                self.policies.reviews.insert(decision, review);
            }
        }
        if self.policies.withdrawn.contains(&event.bundle) {
            return Err("it arms a bundle that is withdrawn");
        }
        self.policy = Some(event.bundle);
        self.policies.drafts.remove(&event.bundle);
        self.remember(Armed { index, since: self.time, event: event.clone() });
        Ok(())
    }

    pub(crate) fn remember(&mut self, armed: Armed) {
        let all = &mut self.policies.armed;
        all.push_back(armed);
        while all.len() > self.bounds.armed_max {
            all.pop_front();
        }
    }

    pub(crate) fn apply_withdrawn(&mut self, event: &BundleWithdrawn) -> Result<(), &'static str> {
        if self.policy == Some(event.bundle) || !PayloadErased::is_reason(&event.reason) {
            return Err("it withdraws the bundle in force");
        }
        self.policies.drafts.remove(&event.bundle);
        let new = self.policies.withdrawn.insert(event.bundle);
        if new { Ok(()) } else { Err("it withdraws a bundle a second time") }
    }

    pub(crate) fn apply_review(&mut self, event: &ReviewClosed) -> Result<(), &'static str> {
        let review = self.policies.reviews.remove(&event.decision);
        let review = review.ok_or("it closes a review that is not open")?;
        // INVARIANT: nobody reviews what they did themselves, where there is anybody else.
        if review.by == event.by && !self.solo {
            return Err("it closes a review of what its reviewer did");
        }
        Ok(())
    }

    pub(crate) fn apply_author(
        &mut self,
        event: &AuthorKey,
        trust: bool,
    ) -> Result<(), &'static str> {
        self.spent.extend(event.decision);
        let authors = &mut self.policies.authors;
        if !trust {
            return authors.remove(&event.key).map(drop).ok_or("it revokes an unknown author");
        }
        let (key, by, since) = (event.key.clone(), event.by.clone(), self.time);
        let author = Author { key: key.clone(), by, since };
        authors.insert(key, author).map_or(Ok(()), |_| Err("it trusts an author a second time"))
    }
}
