//! Exceptions: narrow deviations from policy that somebody owns, that end by themselves and that another
//! person reviews. Owns which of them a request passes under, and that none outlives its time. Refuses to
//! know policy documents: their bounds come in as values.

use crate::command::{Decide, Plan, Who};
use crate::constitution::{self, Reach, URGENT};
use crate::decide::{Asked, barred, killed, ruled, window};
use crate::rejection::Rejection;
use crate::state::{Held, HeldState, State, Timer};
use crate::step::{append, has_role};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::event::{
    ActorRef, Control, DecisionEvent, Event, ExceptionEnded, ExceptionOpened, ExceptionReviewed,
    ExceptionScope, Passage, Pseudonym, Waives,
};
use placet_types::ids::{ExceptionId, TimeMs};
use placet_types::policy::{
    ApprovalSpec, Combined, Constraints, Effect, Hit, Layer, Outcome, Reason, RuleEffect, Velocity,
    Verdict, restrict,
};

/// Surface on which exceptions are asked for.
pub const EXCEPTION: &str = "override.exception";
/// Action under which two people open one.
pub const OPEN: &str = "open";
/// Action under which one person opens one in an emergency.
pub const BREAK_GLASS: &str = "break_glass";
/// Most exceptions that cover the same surface and actor at a time.
pub const EXCEPTIONS_EACH: usize = 16;

/// What of a request an exception can ask for beyond what its entry says.
#[derive(Clone, Debug, Default)]
pub struct Passing {
    /// The capability.
    pub capability: Option<String>,
    /// Pseudonym of the execution.
    pub execution: Option<Pseudonym>,
    /// Evidence that it carries: type, from when and until when it counts.
    pub evidence: Vec<(String, TimeMs, Option<TimeMs>)>,
    /// What the entry says, where the request is gone: it passed under this one, or under none.
    pub recorded: Option<Option<ExceptionId>>,
}

/// Where an exception stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionStanding {
    /// It covers what it names, while its time runs.
    Live,
    /// All its passages are used up.
    UsedUp,
    /// Its time was up.
    RunOut,
    /// Somebody closed it.
    Closed,
    /// It was filed afterwards and never covered anything.
    Retroactive,
}

impl ExceptionStanding {
    const ALL: [Self; 5] =
        [Self::Live, Self::UsedUp, Self::RunOut, Self::Closed, Self::Retroactive];

    /// `live`, `used_up`, `run_out`, `closed`, `retroactive`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::UsedUp => "used_up",
            Self::RunOut => "run_out",
            Self::Closed => "closed",
            Self::Retroactive => "retroactive",
        }
    }

    pub(crate) fn code(self) -> u8 {
        Self::ALL
            .iter()
            .position(|it| *it == self)
            .and_then(|at| u8::try_from(at).ok())
            .unwrap_or(0)
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Who has reviewed an exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// Who.
    pub by: ActorRef,
    /// When.
    pub at: TimeMs,
    /// Whether it was right to open it.
    pub justified: bool,
}

/// An exception.
#[derive(Clone, Debug, PartialEq)]
pub struct Exception {
    /// What its entry says.
    pub opened: Arc<ExceptionOpened>,
    /// Index of the entry.
    pub index: u64,
    /// Since when.
    pub since: TimeMs,
    /// Passages so far.
    pub uses: u64,
    /// Where it stands.
    pub standing: ExceptionStanding,
    /// Since when it covers nothing any more.
    pub ended: Option<TimeMs>,
    /// Who closed it.
    pub closed_by: Option<ActorRef>,
    /// Who has reviewed it.
    pub reviewed: Option<Reviewed>,
    /// The rule that stands for it.
    pub(crate) rule: Arc<RuleEffect>,
}

impl Exception {
    pub(crate) fn new(opened: Arc<ExceptionOpened>, index: u64, since: TimeMs) -> Self {
        let standing = match opened.retroactive {
            Some(_) => ExceptionStanding::Retroactive,
            None => ExceptionStanding::Live,
        };
        Self {
            rule: Arc::new(rule(&opened)),
            opened,
            index,
            since,
            uses: 0,
            standing,
            ended: (standing == ExceptionStanding::Retroactive).then_some(since),
            closed_by: None,
            reviewed: None,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ExceptionId {
        self.opened.exception
    }

    /// Whether what it covered before is still covered at `now`: nobody closed it and its time runs.
    #[must_use]
    pub fn stands(&self, now: TimeMs) -> bool {
        let open = matches!(self.standing, ExceptionStanding::Live | ExceptionStanding::UsedUp);
        open && now < self.opened.ends
    }

    /// Whether anything more may pass under it at `now`.
    #[must_use]
    pub fn is_live(&self, now: TimeMs) -> bool {
        self.standing == ExceptionStanding::Live && now < self.opened.ends
    }

    /// By when it has to be reviewed.
    #[must_use]
    pub fn due(&self) -> TimeMs {
        self.ended.unwrap_or(self.opened.ends).plus(self.opened.review_ms)
    }

    /// Whether its review is overdue at `now`.
    #[must_use]
    pub fn is_overdue(&self, now: TimeMs) -> bool {
        self.reviewed.is_none() && now >= self.due()
    }

    /// Whether the parts of its scope that an entry shows are those of a decision.
    fn names(&self, event: &impl Asks) -> bool {
        let scope = &self.opened.scope;
        let same = |wanted: &Option<String>, have: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == have)
        };
        (scope.is_everywhere() || scope.surface == event.surface())
            && scope.actor == *event.actor()
            && same(&scope.action, event.action())
            && same(&scope.environment, event.environment())
            && scope.target.is_none_or(|target| event.target() == Some(target))
    }

    /// Whether a request may pass: all that it names agrees, and what makes up for it is there.
    fn covers(&self, command: &Decide, now: TimeMs) -> bool {
        let (scope, passing) = (&self.opened.scope, &command.passing);
        if !self.is_live(now) || !self.names(command) {
            return false;
        }
        if passing.recorded.is_some() {
            return true;
        }
        let counts = |kind: &String| {
            let mut pieces = passing.evidence.iter().filter(|(it, ..)| it == kind);
            pieces.any(|(_, from, until)| now >= *from && until.is_none_or(|until| now < until))
        };
        let brought = |control: &Control| match control {
            Control::Evidence(kind) => counts(kind),
            _ => true,
        };
        scope.capability.as_ref().is_none_or(|it| passing.capability.as_ref() == Some(it))
            && scope.execution.is_none_or(|it| passing.execution == Some(it))
            && self.opened.controls.iter().all(brought)
    }

    /// A verdict as it is under the exception, and the rules that it no longer holds. A window with room
    /// takes nothing away, and what passes is counted in it as ever.
    pub(crate) fn applied(
        &self,
        verdict: &Verdict,
        full: impl Fn(&Hit) -> bool,
    ) -> (Verdict, Vec<String>) {
        let waives = &self.opened.waives;
        let mut waived = Vec::new();
        let mut hits = Vec::with_capacity(verdict.hits.len().saturating_add(1));
        for hit in &verdict.hits {
            if waives.covers(&hit.rule) && (hit.rule.limit.is_none() || full(hit)) {
                waived.push(hit.rule.id.clone());
            } else {
                hits.push(hit.clone());
            }
        }
        let place = (self.rule.layer, &self.rule.id);
        let before = |other: &Hit| (other.rule.layer, &other.rule.id) <= place;
        hits.insert(hits.partition_point(before), Hit::of(self.rule.clone()));
        // Of an unknown surface no rule was asked, so nothing less than all of policy lets it pass.
        let surface_known = verdict.surface_known || waives.is_governance();
        (Verdict { policy: verdict.policy, surface_known, hits }, waived)
    }
}

/// What a command and its entry have in common.
trait Asks {
    fn surface(&self) -> &str;
    fn action(&self) -> &str;
    fn environment(&self) -> &str;
    fn actor(&self) -> &ActorRef;
    fn target(&self) -> Option<Pseudonym>;
}

macro_rules! asks {
    ($kind:ty, $it:ident => $actor:expr) => {
        impl Asks for $kind {
            fn surface(&self) -> &str {
                &self.surface
            }
            fn action(&self) -> &str {
                &self.action
            }
            fn environment(&self) -> &str {
                &self.environment
            }
            fn actor(&self) -> &ActorRef {
                let $it = self;
                $actor
            }
            fn target(&self) -> Option<Pseudonym> {
                self.target
            }
        }
    };
}
asks!(Decide, it => &it.who.actor);
asks!(DecisionEvent, it => &it.actor);

/// The rule that stands for an exception: it grants, with the constraints and the second person that make
/// up for it.
fn rule(opened: &ExceptionOpened) -> RuleEffect {
    let mut constraints: Option<Constraints> = None;
    let mut second = false;
    for control in &opened.controls {
        match control {
            Control::Constraint(more) => {
                let all = constraints.get_or_insert_with(Constraints::default);
                // What cannot be met together was refused when it was opened.
                let _ = all.meet(more);
            }
            Control::SecondPerson => second = true,
            Control::Evidence(_) | Control::MaxUses(_) | Control::Notify(_) => {}
        }
    }
    let effect = match (second, &constraints) {
        (true, _) => Effect::RequireApproval,
        (false, Some(_)) => Effect::AllowWithConstraints,
        (false, None) => Effect::Allow,
    };
    RuleEffect {
        constraints,
        approval: second.then(ApprovalSpec::default),
        cause: Reason::Exception,
        ..RuleEffect::new(opened.rule_id(), Layer::Rules, effect)
    }
}

/// A decision under an exception.
pub(crate) struct Passed {
    pub(crate) passage: Passage,
    pub(crate) ends: TimeMs,
    pub(crate) verdict: Verdict,
    pub(crate) combined: Combined,
}

/// The exception under which a request comes to more than without one: of several the one that grants most,
/// of these the oldest. Nothing passes what the constitution governs, a kill switch, a deadline or a
/// workspace without policy, and no exception adds to another.
pub(crate) fn passage(
    state: &State,
    command: &Decide,
    verdict: &Verdict,
    without: &Combined,
    reach: Reach,
    now: TimeMs,
) -> Option<Passed> {
    let exceptions = &state.exceptions;
    if exceptions.live.is_empty() || reach.is_governed() || command.retroactive {
        return None;
    }
    if verdict.policy.is_none() || barred(state, command, now).is_some() {
        return None;
    }
    let recorded = command.passing.recorded;
    let asked = Asked { verdict: &command.verdict, windows: &command.windows };
    let mut best: Option<Passed> = None;
    for exception in exceptions.over(&command.surface, &command.who.actor) {
        let named = recorded.is_none_or(|it| it == Some(exception.id()));
        if !named || !exception.covers(command, now) {
            continue;
        }
        let full = |hit: &Hit| window(state, asked, hit, now).1 != Velocity::Open;
        let (verdict, waived) = exception.applied(verdict, full);
        let mut combined = restrict(&verdict, ruled(state, command, asked, &verdict, reach, now));
        if !is_looser(&combined, without) && recorded.is_none() {
            continue;
        }
        if !matches!(combined.outcome, Outcome::Permit | Outcome::RequireApproval) {
            continue;
        }
        name(&mut combined, &exception.rule);
        if best.as_ref().is_none_or(|best| rank(&combined) < rank(&best.combined)) {
            let passage = passed(exception.id(), waived);
            best = Some(Passed { passage, ends: exception.opened.ends, verdict, combined });
        }
    }
    best
}

/// The entry names the exception among the deciding rules and the reasons, first of all.
pub(crate) fn name(combined: &mut Combined, rule: &Arc<RuleEffect>) {
    if !combined.deciding.iter().any(|it| it.id == rule.id) {
        combined.deciding.truncate(DecisionEvent::RULES_MAX.saturating_sub(1));
        combined.deciding.push(rule.clone());
        combined.deciding.sort_by(|a, b| a.id.cmp(&b.id));
    }
    combined.reasons.retain(|reason| *reason != Reason::Exception);
    combined.reasons.insert(0, Reason::Exception);
}

fn passed(exception: ExceptionId, mut waived: Vec<String>) -> Passage {
    let count = u64::try_from(waived.len()).unwrap_or(u64::MAX);
    let cut = waived.len() > Passage::WAIVED_MAX;
    waived.truncate(Passage::WAIVED_MAX);
    Passage { exception, waived, waived_all: cut.then_some(count) }
}

fn rank(combined: &Combined) -> u8 {
    match combined.outcome {
        Outcome::Permit => 0,
        Outcome::RequireApproval => 1,
        Outcome::Throttle => 2,
        Outcome::Silence | Outcome::Deny => 3,
    }
}

/// Whether one result lets through more than another: an outcome that is nearer to execution, a role of
/// which fewer people are asked, or a constraint that is not there.
fn is_looser(with: &Combined, without: &Combined) -> bool {
    if rank(with) != rank(without) {
        return rank(with) < rank(without);
    }
    let roles = |combined: &Combined| combined.approval.clone().unwrap_or_default().roles;
    let held = with.outcome == Outcome::RequireApproval;
    let (fewer, more) = (roles(with), roles(without));
    let fewer = held && more.iter().any(|(role, count)| fewer.get(role) < Some(count));
    let mut met = with.constraints.clone();
    let freer = met.meet(&without.constraints).is_err() || met != with.constraints;
    fewer || (rank(with) <= 1 && freer)
}

/// What the policy in force allows of an exception.
#[derive(Clone, Debug, Default)]
pub struct ExceptionBounds {
    /// Longest life.
    pub max_ms: u64,
    /// Longest time until its review is due.
    pub review_ms_max: u64,
    /// Roles of those who may open it.
    pub roles: BTreeSet<String>,
}

/// Open an exception under a decision on [`EXCEPTION`].
#[derive(Clone, Debug)]
pub struct OpenException {
    /// A fresh id.
    pub exception: ExceptionId,
    /// Who opens it: the proposer of the decision.
    pub by: Who,
    /// Log index of the decision.
    pub index: u64,
    /// The decision's entry.
    pub prior: Arc<DecisionEvent>,
    /// What it covers.
    pub scope: ExceptionScope,
    /// What it waives.
    pub waives: Waives,
    /// What makes up for it.
    pub controls: Vec<Control>,
    /// Code of the reason.
    pub reason: String,
    /// Who answers for it.
    pub owner: ActorRef,
    /// How long it lasts.
    pub duration_ms: u64,
    /// How long after its end it has to be reviewed.
    pub review_ms: u64,
    /// Filed afterwards: from when to when.
    pub retroactive: Option<(TimeMs, TimeMs)>,
    /// The bundle that the bounds are from.
    pub policy: Option<Digest>,
    /// What that bundle allows.
    pub bounds: ExceptionBounds,
}

/// Opens an exception. All that bounds it is checked here, against the policy in force.
pub(crate) fn open(state: &State, command: &OpenException, now: TimeMs) -> Result<Plan, Rejection> {
    let OpenException { by, prior, scope, waives, bounds, .. } = command;
    if !by.actor.is_human() || !command.owner.is_human() {
        return Err(Rejection::NotHuman);
    }
    has_role(by, &URGENT)?;
    let roles: Vec<&str> = bounds.roles.iter().map(String::as_str).collect();
    has_role(by, &roles)?;
    if let Some(scope) = killed(state) {
        return Err(Rejection::Killed(scope));
    }
    let break_glass = prior.action == BREAK_GLASS;
    if prior.surface != EXCEPTION || !(break_glass || prior.action == OPEN) {
        return Err(Rejection::NoPermit);
    }
    if prior.actor != by.actor {
        return Err(Rejection::Foreign("who asked for it"));
    }
    if state.spent.contains(&prior.decision) {
        return Err(Rejection::PermitConsumed);
    }
    if !is_permitted(state, prior, now) || state.revoked.get(command.index) {
        return Err(Rejection::NoPermit);
    }
    if constitution::is_governed(&scope.surface) {
        return Err(Rejection::ExceptionScope("what the constitution governs has no exceptions"));
    }
    let nothing = waives.parts.is_empty() && waives.rules.is_empty();
    let many = waives.texts().len() > Waives::MAX || command.controls.len() > Control::MAX;
    if nothing || many {
        return Err(Rejection::ExceptionScope("name what it waives, and not more than fits"));
    }
    if rule_conflicts(&command.controls) {
        return Err(Rejection::ExceptionScope("its constraints exclude one another"));
    }
    if break_glass && command.owner != by.actor {
        return Err(Rejection::ExceptionScope("who breaks the glass owns it"));
    }
    if !state.dev && state.standing(&command.owner, now).next().is_none() {
        return Err(Rejection::NotFound("person"));
    }
    if state.owes_review(&by.actor, now) || state.owes_review(&command.owner, now) {
        return Err(Rejection::ReviewOverdue);
    }
    let lasts = command.retroactive.is_none();
    if lasts && (command.duration_ms == 0 || command.duration_ms > bounds.max_ms) {
        return Err(Rejection::ExceptionTooLong(bounds.max_ms));
    }
    if command.review_ms == 0 || command.review_ms > bounds.review_ms_max {
        return Err(Rejection::ExceptionReviewLate(bounds.review_ms_max));
    }
    if command.retroactive.is_some_and(|(from, to)| from >= to || to > now) {
        return Err(Rejection::ExceptionScope("what was done lies in the past, from when to when"));
    }
    state.exceptions.room(&scope.surface, &scope.actor, state.bounds.exceptions_max)?;
    append(Event::ExceptionOpened(Arc::new(ExceptionOpened {
        exception: command.exception,
        scope: scope.clone(),
        waives: waives.clone(),
        controls: command.controls.clone(),
        reason: command.reason.clone(),
        owner: command.owner.clone(),
        by: by.actor.clone(),
        key: by.key,
        decision: prior.decision,
        break_glass,
        ends: if lasts { now.plus(command.duration_ms) } else { now },
        review_ms: command.review_ms,
        retroactive: command.retroactive,
        policy: command.policy,
    })))
}

/// Whether a decision permits now what its own caller is to do.
fn is_permitted(state: &State, prior: &DecisionEvent, now: TimeMs) -> bool {
    let collected = || match state.approval_of(prior.decision).map(|held| &held.state) {
        Some(HeldState::Consumed(permit)) => Some(permit),
        _ => None,
    };
    let permit = prior.permit.as_ref().or_else(collected);
    permit.is_some_and(|permit| permit.consumed && now < permit.expires)
}

fn rule_conflicts(controls: &[Control]) -> bool {
    let mut all = Constraints::default();
    controls.iter().any(|control| match control {
        Control::Constraint(more) => all.meet(more).is_err(),
        _ => false,
    })
}

/// Closing only takes away: its owner, who opened it, or an admin or operator.
pub(crate) fn close(
    state: &State,
    id: ExceptionId,
    by: &Who,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    if !by.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    let exception = state.exceptions.all.get(&id).ok_or(Rejection::NotFound("exception"))?;
    if ![&exception.opened.owner, &exception.opened.by].contains(&&by.actor) {
        has_role(by, &URGENT)?;
    }
    if !exception.stands(now) {
        return Ok(Plan::Nothing);
    }
    let by = Some(by.actor.clone());
    append(Event::ExceptionClosed(ExceptionEnded { exception: id, by }))
}

/// Another person than its owner and who opened it has looked at what passed.
pub(crate) fn review(
    state: &State,
    id: ExceptionId,
    justified: bool,
    by: &Who,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    if !by.actor.is_human() {
        return Err(Rejection::NotHuman);
    }
    has_role(by, &["admin", "auditor", "operator"])?;
    let exception = state.exceptions.all.get(&id).ok_or(Rejection::NotFound("exception"))?;
    // In solo and in development mode there is nobody else.
    let own = [&exception.opened.owner, &exception.opened.by].contains(&&by.actor);
    if own && !state.solo && !state.dev {
        return Err(Rejection::OwnReview);
    }
    if exception.is_live(now) {
        return Err(Rejection::ExceptionLive);
    }
    if exception.reviewed.is_some() {
        return Ok(Plan::Nothing);
    }
    let by = by.actor.clone();
    let passages = exception.uses;
    append(Event::ExceptionReviewed(ExceptionReviewed { exception: id, by, justified, passages }))
}

/// All that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    pub(crate) all: BTreeMap<ExceptionId, Exception>,
    /// Passages since genesis, those under forgotten ones included.
    pub(crate) passages: u64,
    /// The live ones, by what they cover. Follows from `all`, as do the others below.
    live: BTreeMap<String, BTreeMap<ActorRef, BTreeSet<ExceptionId>>>,
    /// Ended and not reviewed, by the instant at which their review is due.
    due: BTreeSet<(TimeMs, ExceptionId)>,
    /// Reviewed: the oldest is forgotten first.
    done: BTreeSet<ExceptionId>,
    live_count: usize,
    /// Live ones that waive all of policy.
    governance: usize,
}

impl Exceptions {
    /// The live ones over a surface and an actor, oldest first.
    fn over<'a>(&'a self, surface: &str, actor: &ActorRef) -> impl Iterator<Item = &'a Exception> {
        let ids = |surface: &str| self.live.get(surface).and_then(|actors| actors.get(actor));
        let (own, everywhere) = (ids(surface), ids(placet_types::event::ANY_SURFACE));
        let both = own.into_iter().chain(everywhere).flatten();
        both.filter_map(|id| self.all.get(id))
    }

    fn room(&self, surface: &str, actor: &ActorRef, most: usize) -> Result<(), Rejection> {
        let same = self.live.get(surface).and_then(|actors| actors.get(actor));
        let each = same.is_some_and(|ids| ids.len() >= EXCEPTIONS_EACH);
        let full = self.all.len() >= most && self.done.is_empty();
        if each || full { Err(Rejection::ExceptionsFull) } else { Ok(()) }
    }

    /// Puts one, as it stands, where it is found.
    pub(crate) fn insert(&mut self, exception: Exception) {
        let id = exception.id();
        if exception.standing == ExceptionStanding::Live {
            let scope = &exception.opened.scope;
            let actors = self.live.entry(scope.surface.clone()).or_default();
            actors.entry(scope.actor.clone()).or_default().insert(id);
            self.live_count = self.live_count.saturating_add(1);
            let waives = usize::from(exception.opened.waives.is_governance());
            self.governance = self.governance.saturating_add(waives);
        } else if exception.reviewed.is_some() {
            self.done.insert(id);
        } else {
            self.due.insert((exception.due(), id));
        }
        self.all.insert(id, exception);
    }

    /// Takes one out of where it is found.
    fn remove(&mut self, id: ExceptionId) -> Option<Exception> {
        let exception = self.all.remove(&id)?;
        self.due.remove(&(exception.due(), id));
        self.done.remove(&id);
        let scope = &exception.opened.scope;
        if exception.standing == ExceptionStanding::Live {
            if let Some(actors) = self.live.get_mut(&scope.surface) {
                if let Some(ids) = actors.get_mut(&scope.actor) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        actors.remove(&scope.actor);
                    }
                }
                if actors.is_empty() {
                    self.live.remove(&scope.surface);
                }
            }
            self.live_count = self.live_count.saturating_sub(1);
            let waives = usize::from(exception.opened.waives.is_governance());
            self.governance = self.governance.saturating_sub(waives);
        }
        Some(exception)
    }

    fn change<T>(
        &mut self,
        id: ExceptionId,
        change: impl FnOnce(&mut Exception) -> T,
    ) -> Option<T> {
        let mut exception = self.remove(id)?;
        let changed = change(&mut exception);
        self.insert(exception);
        Some(changed)
    }
}

impl State {
    /// Exceptions that are remembered, oldest first.
    pub fn exceptions(&self) -> impl DoubleEndedIterator<Item = &Exception> {
        self.exceptions.all.values()
    }

    /// One exception, as long as state remembers it.
    #[must_use]
    pub fn exception(&self, id: ExceptionId) -> Option<&Exception> {
        self.exceptions.all.get(&id)
    }

    /// Live exceptions, those of them that waive all of policy, and passages since genesis.
    #[must_use]
    pub fn exception_counts(&self) -> (usize, usize, u64) {
        let it = &self.exceptions;
        (it.live_count, it.governance, it.passages)
    }

    /// When the reviews that are not done were or are due, oldest first.
    pub fn exception_reviews(&self) -> impl Iterator<Item = TimeMs> {
        self.exceptions.due.iter().map(|(due, _)| *due)
    }

    /// Whether a person has left a review open for too long: of an exception that they own, or of an
    /// emergency.
    pub(crate) fn owes_review(&self, person: &ActorRef, now: TimeMs) -> bool {
        let overdue = self.exceptions.due.iter().take_while(|(due, _)| *due <= now);
        let mut overdue = overdue.filter_map(|(_, id)| self.exceptions.all.get(id));
        overdue.any(|it| it.opened.owner == *person) || self.has_overdue_review(person, now)
    }

    /// Whether an exception that a decision rests on still stands.
    pub(crate) fn rests(&self, passage: Option<&Passage>, now: TimeMs) -> Result<(), Rejection> {
        let Some(passage) = passage else { return Ok(()) };
        let stands = self.exceptions.all.get(&passage.exception).is_some_and(|it| it.stands(now));
        if stands { Ok(()) } else { Err(Rejection::ExceptionEnded) }
    }

    /// The verdict of a held action as its exception, if it has one that stands, leaves it.
    pub(crate) fn under_exception(&self, held: &Held, verdict: Verdict, now: TimeMs) -> Verdict {
        let exception = held.exception.and_then(|id| self.exceptions.all.get(&id));
        match exception.filter(|it| it.stands(now)) {
            Some(exception) => {
                exception.applied(&verdict, |hit| held.full.contains(&hit.rule.id)).0
            }
            None => verdict,
        }
    }

    pub(crate) fn apply_exception(
        &mut self,
        event: &Arc<ExceptionOpened>,
        index: u64,
    ) -> Result<(), &'static str> {
        let lasting = event.ends > self.time || event.retroactive.is_some();
        if !event.owner.is_human() || !event.by.is_human() || !lasting || event.review_ms == 0 {
            return Err("an exception without a person, an end or a review");
        }
        if self.exceptions.all.contains_key(&event.exception) {
            return Err("its id is taken");
        }
        self.not_killed()?;
        // INVARIANT: nothing that the constitution governs has an exception, and one decision opens one.
        if constitution::is_governed(&event.scope.surface) || !self.spent.insert(event.decision) {
            return Err("it opens what may not be open, or a second one under one decision");
        }
        let bound = self.exceptions.all.len() >= self.bounds.exceptions_max;
        if let Some(oldest) = self.exceptions.done.first().copied().filter(|_| bound) {
            self.exceptions.remove(oldest);
        }
        if event.retroactive.is_none() {
            self.timers.insert((event.ends, Timer::Exception(event.exception)));
        }
        self.exceptions.insert(Exception::new(event.clone(), index, self.time));
        Ok(())
    }

    /// A passage is counted; the last one that fits ends the exception.
    pub(crate) fn apply_passage(
        &mut self,
        passage: &Passage,
        event: &DecisionEvent,
    ) -> Result<(), &'static str> {
        let now = self.time;
        let exception = self.exceptions.all.get(&passage.exception);
        let exception = exception.ok_or("it passes under an unknown exception")?;
        // INVARIANT: nothing passes under an exception that is over or covers something else.
        let granted = matches!(event.outcome, Outcome::Permit | Outcome::RequireApproval);
        let governed = constitution::is_governed(&event.surface);
        if !exception.is_live(now) || !exception.names(event) || !granted || governed {
            return Err("it passes under an exception that does not cover it");
        }
        let uses = exception.uses.saturating_add(1);
        let last = exception.opened.max_uses().is_some_and(|most| uses >= u64::from(most));
        let ends = exception.opened.ends;
        self.exceptions.passages = self.exceptions.passages.saturating_add(1);
        if !last {
            if let Some(exception) = self.exceptions.all.get_mut(&passage.exception) {
                exception.uses = uses;
            }
            return Ok(());
        }
        self.timers.remove(&(ends, Timer::Exception(passage.exception)));
        self.exceptions.change(passage.exception, |exception| {
            exception.uses = uses;
            exception.standing = ExceptionStanding::UsedUp;
            exception.ended = Some(now);
        });
        Ok(())
    }

    pub(crate) fn apply_exception_ended(
        &mut self,
        event: &ExceptionEnded,
    ) -> Result<(), &'static str> {
        let now = self.time;
        let exception = self.exceptions.all.get(&event.exception);
        let exception = exception.ok_or("it ends an unknown exception")?;
        let ends = exception.opened.ends;
        let fits = match event.by {
            Some(_) => exception.stands(now),
            None => exception.standing == ExceptionStanding::Live && ends <= now,
        };
        if !fits {
            return Err("it ends an exception that is over, or whose time is not up");
        }
        self.timers.remove(&(ends, Timer::Exception(event.exception)));
        self.exceptions.change(event.exception, |exception| {
            exception.standing = match event.by {
                Some(_) => ExceptionStanding::Closed,
                None => ExceptionStanding::RunOut,
            };
            exception.closed_by.clone_from(&event.by);
            // What was used up before is due for review since then.
            exception.ended.get_or_insert(now.min(ends));
        });
        Ok(())
    }

    pub(crate) fn apply_exception_reviewed(
        &mut self,
        event: &ExceptionReviewed,
    ) -> Result<(), &'static str> {
        let at = self.time;
        let exception = self.exceptions.all.get(&event.exception);
        let exception = exception.ok_or("it reviews an unknown exception")?;
        if exception.is_live(at) || exception.reviewed.is_some() {
            return Err("it reviews an exception that is not over, or a second time");
        }
        // INVARIANT: nobody reviews their own, where there is anybody else.
        let own = [&exception.opened.owner, &exception.opened.by].contains(&&event.by);
        if own && !self.solo && !self.dev {
            return Err("its reviewer owns the exception or has opened it");
        }
        let reviewed = Reviewed { by: event.by.clone(), at, justified: event.justified };
        self.exceptions.change(event.exception, |it| it.reviewed = Some(reviewed));
        Ok(())
    }

    /// People who answer for an exception do not approve what passes under it.
    pub(crate) fn answerable(&self, passage: Option<&Passage>) -> impl Iterator<Item = ActorRef> {
        let exception = passage.and_then(|it| self.exceptions.all.get(&it.exception));
        let people = exception.map(|it| [it.opened.owner.clone(), it.opened.by.clone()]);
        people.into_iter().flatten()
    }
}

/// What the constitution says of asking for an exception: an admin or operator asks, and another person
/// approves. In an emergency one alone may ask, within the narrower bounds of the policy.
pub(crate) fn hit(state: &State, who: &Who, action: &str, now: TimeMs) -> Hit {
    let admin = who.roles.contains(constitution::ADMIN);
    let alone = admin && state.people_with(constitution::ADMIN) < 2;
    if !who.actor.is_human() || !URGENT.iter().any(|role| who.roles.contains(*role)) {
        constitution::says("constitution.operator-only", Effect::Deny)
    } else if state.owes_review(&who.actor, now) {
        constitution::says("constitution.review-overdue", Effect::Deny)
    } else if action == BREAK_GLASS {
        constitution::says("constitution.break-glass", Effect::Allow)
    } else if state.dev || state.solo || alone {
        constitution::says("constitution.single-admin", Effect::Allow)
    } else {
        constitution::two_admins()
    }
}

/// A decision that would be given for something that was done already: what policy came to is kept, and
/// nothing is permitted.
pub(crate) fn afterwards(combined: Combined) -> (Combined, Outcome) {
    let was = combined.outcome;
    if matches!(was, Outcome::Deny | Outcome::Silence) {
        return (combined, was);
    }
    let deciding = combined.deciding;
    (Combined { deciding, ..Combined::refusal(Outcome::Silence, Reason::Retroactive) }, was)
}
