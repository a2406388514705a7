//! Exceptions: narrow deviations from policy that somebody owns, that end by themselves and that another
//! person reviews. Owns which of them a request passes under, and that none outlives its time. Refuses to
//! know policy documents: their bounds come in as values.

mod applying;
mod opening;
mod passing;

use crate::command::Decide;
use crate::rejection::Rejection;
use crate::state::{Held, State};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::event::{ActorRef, Control, DecisionEvent, ExceptionOpened, Pseudonym};
use placet_types::ids::{ExceptionId, TimeMs};
use placet_types::policy::{
    ApprovalSpec, Constraints, Effect, Hit, Layer, Reason, RuleEffect, Verdict,
};

pub use opening::{ExceptionBounds, OpenException};
pub(crate) use opening::{close, hit, open, review};
pub(crate) use passing::{afterwards, passage};

/// Surface on which exceptions are asked for.
pub const EXCEPTION: &str = "override.exception";
/// Action under which two people open one.
pub const OPEN: &str = "open";
/// Action under which one person opens one in an emergency.
pub const BREAK_GLASS: &str = "break_glass";
/// Most exceptions that cover the same surface and actor at a time.
pub const EXCEPTIONS_EACH: usize = 16;

/// Evidence that the store has for a request: type, from when and until when it counts.
pub type Brought = (String, TimeMs, Option<TimeMs>);

/// What of a request an exception can ask for beyond what its entry says.
#[derive(Clone, Debug, Default)]
pub struct Passing {
    /// The capability.
    pub capability: Option<String>,
    /// Pseudonym of the execution.
    pub execution: Option<Pseudonym>,
    /// What the store has of evidence for it.
    pub evidence: Vec<Brought>,
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
    /// Index of the first passage.
    pub first: Option<u64>,
    /// Index of the passage that used it up.
    pub last: Option<u64>,
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
            first: None,
            last: None,
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

    /// Whether a person owns it or has opened it.
    pub(crate) fn answers(&self, person: &ActorRef) -> bool {
        [&self.opened.owner, &self.opened.by].contains(&person)
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
        scope.capability.as_ref().is_none_or(|it| passing.capability.as_ref() == Some(it))
            && scope.execution.is_none_or(|it| passing.execution == Some(it))
            && self.is_made_up_for(&passing.evidence, now)
    }

    /// Whether the evidence is there that its controls ask for.
    fn is_made_up_for(&self, evidence: &[Brought], now: TimeMs) -> bool {
        let counts = |kind: &String| {
            let mut pieces = evidence.iter().filter(|(it, ..)| it == kind);
            pieces.any(|(_, from, until)| now >= *from && until.is_none_or(|until| now < until))
        };
        self.opened.controls.iter().all(|control| match control {
            Control::Evidence(kind) => counts(kind),
            _ => true,
        })
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
        (Verdict { surface_known, hits, ..verdict.clone() }, waived)
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

    /// Whether a person has left a review open for too long: of an exception that they own or have opened, or of
    /// an emergency. Who opens one in another's name does not go on with the next name.
    pub(crate) fn owes_review(&self, person: &ActorRef, now: TimeMs) -> bool {
        let overdue = self.exceptions.due.iter().take_while(|(due, _)| *due <= now);
        let mut overdue = overdue.filter_map(|(_, id)| self.exceptions.all.get(id));
        overdue.any(|it| it.answers(person)) || self.has_overdue_review(person, now)
    }

    /// Whether an exception that a decision rests on still stands.
    pub(crate) fn rests(&self, prior: &DecisionEvent, now: TimeMs) -> Result<(), Rejection> {
        let own = prior.exception.as_ref().map(|passage| passage.exception);
        // A held action that policy grants by itself by now has lost its own.
        let Some(id) = self.approval_of(prior.decision).map_or(own, |held| held.exception) else {
            return Ok(());
        };
        let stands = self.exceptions.all.get(&id).is_some_and(|it| it.stands(now));
        if stands { Ok(()) } else { Err(Rejection::ExceptionEnded) }
    }

    /// Whether a permit that rests on an exception may be shown again: not once somebody has closed it. What
    /// ran out took its permits along.
    ///
    /// # Errors
    /// [`Rejection::ExceptionEnded`].
    pub fn closed_under(&self, exception: Option<ExceptionId>) -> Result<(), Rejection> {
        let Some(id) = exception else { return Ok(()) };
        match self.exceptions.all.get(&id) {
            Some(it) if it.standing != ExceptionStanding::Closed => Ok(()),
            _ => Err(Rejection::ExceptionEnded),
        }
    }

    /// The exception of a held action, if it has one that stands.
    fn standing_of(&self, held: &Held, now: TimeMs) -> Option<&Exception> {
        held.exception.and_then(|id| self.exceptions.all.get(&id)).filter(|it| it.stands(now))
    }

    /// Whether nothing more can pass under an exception: it is over for new requests, and no action that was
    /// held under it can still be released.
    pub(crate) fn has_come_to_rest(&self, exception: &Exception, now: TimeMs) -> bool {
        let id = Some(exception.id());
        let waits = || self.held.values().any(|it| it.exception == id && it.state.is_open());
        let open = exception.is_live(now) || (exception.stands(now) && waits());
        !open
    }

    /// When the exception ends that a held action rests on.
    pub(crate) fn exception_ends(&self, held: &Held, now: TimeMs) -> Option<TimeMs> {
        self.standing_of(held, now).map(|it| it.opened.ends)
    }

    /// The verdict of a held action as its exception leaves it, if it has one that stands and is still made
    /// up for.
    pub(crate) fn under_exception(
        &self,
        held: &Held,
        verdict: Verdict,
        evidence: &[Brought],
        now: TimeMs,
    ) -> Verdict {
        match self.standing_of(held, now).filter(|it| it.is_made_up_for(evidence, now)) {
            Some(exception) => {
                exception.applied(&verdict, |hit| held.full.contains(&hit.rule.id)).0
            }
            None => verdict,
        }
    }
}
