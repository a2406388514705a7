//! What an approval still rests on: the demand under the bundle in force, and everything that could have
//! changed when a held action is released. Owns the order of those checks.

use crate::command::Who;
use crate::constitution::{self, ADMIN, URGENT};
use crate::decide::{Asked, CONSTRAINTS_BYTES_MAX, requirement};
use crate::exceptions::EXCEPTION;
use crate::rejection::Rejection;
use crate::state::{Held, Mark, State};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use placet_types::Hasher;
use placet_types::event::{ApprovalReopened, CloseState, DecisionEvent, EscalationStep};
use placet_types::ids::TimeMs;
use placet_types::json::Value;
use placet_types::policy::{
    AfterSpec, ApprovalSpec, Combined, Constraints, Force, Hit, Outcome, Reason, StepSpec,
    Velocity, combine,
};

/// Where the cost of an action is taken from. Asked last of all when a held action is released, so that
/// nothing is taken for an action that something else stops.
pub trait Reserve {
    /// Takes what `held` costs, or says why it cannot be taken; the approval stands either way.
    ///
    /// # Errors
    /// What the caller is told.
    fn reserve(&self, state: &State, held: &Held) -> Result<(), Rejection>;
}

/// Where nothing has a price.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

impl Reserve for Unmetered {
    fn reserve(&self, _: &State, _: &Held) -> Result<(), Rejection> {
        Ok(())
    }
}

/// How a held action comes to its end, and why policy does not grant it any more where that is why.
pub(crate) struct Over {
    pub(crate) how: CloseState,
    pub(crate) reasons: Vec<Reason>,
}

impl From<CloseState> for Over {
    fn from(how: CloseState) -> Self {
        Self { how, reasons: Vec::new() }
    }
}

/// What has become of a demand.
pub(crate) enum Standing {
    /// The bundle in force demands it, or less.
    Kept,
    /// It demands more.
    Reopened(Box<ApprovalReopened>),
    /// It does not grant the action any more, or the time for deciding anew is up.
    Over(Over),
}

/// What releasing an approved action comes to.
pub(crate) enum Release {
    /// It may go; the demand may have been renewed on the way and be met all the same.
    Granted(Option<Box<ApprovalReopened>>),
    /// It has to be decided again.
    Reopened(Box<ApprovalReopened>),
    /// It is over.
    Over(Over),
}

/// Checks all that could have changed, in this order: kill switch, time, who collects, policy with evidence
/// and schedules, the roles of those who approved, the cost. `until` is when it has to be collected.
pub(crate) fn release<H: Hasher>(
    state: &State,
    held: &Held,
    until: TimeMs,
    who: &Who,
    asked: Asked<'_>,
    now: TimeMs,
    costs: &impl Reserve,
) -> Result<Release, Rejection> {
    if let Some(stop) = state.stop_led(&held.scopes) {
        return Err(stop.rejection());
    }
    if let Some(why) = state.step_over(held, now) {
        return Err(why);
    }
    if now >= until {
        return Ok(Release::Over(CloseState::Expired.into()));
    }
    let urgent = held.surface == EXCEPTION && URGENT.iter().any(|role| who.roles.contains(*role));
    if held.reach.is_governed() && !urgent && !who.roles.contains(ADMIN) {
        return Err(Rejection::RoleMissing([(ADMIN.into(), 1)].into()));
    }
    let renewed = match reconsider::<H>(state, held, asked, now) {
        Standing::Kept => None,
        Standing::Reopened(event) if event.complete => Some(event),
        Standing::Reopened(event) => return Ok(Release::Reopened(event)),
        Standing::Over(how) => return Ok(Release::Over(how)),
    };
    // Roles are checked again: who has lost theirs since has approved nothing.
    if renewed.is_none() && !state.missing_at(held, now).is_empty() {
        return Ok(Release::Over(CloseState::Invalidated.into()));
    }
    costs.reserve(state, held)?;
    Ok(Release::Granted(renewed))
}

/// The demand of `held` under the bundle in force. Limits count as they did when the action was held: the
/// hold itself is in them. Evidence, schedules and what has happened since are asked anew.
pub(crate) fn reconsider<H: Hasher>(
    state: &State,
    held: &Held,
    asked: Asked<'_>,
    now: TimeMs,
) -> Standing {
    let combined = combined(state, held, asked, now);
    let over = |reasons| Standing::Over(Over { how: CloseState::Invalidated, reasons });
    let unfit = || over(alloc::vec![Reason::ConstraintsConflict]);
    let spec = match (combined.outcome, &combined.approval) {
        (Outcome::Permit, _) => None,
        (Outcome::RequireApproval, Some(spec)) => Some(spec),
        _ => return over(combined.reasons),
    };
    let Ok(approved) = Constraints::from_object(&held.constraints) else { return unfit() };
    let mut met = approved.clone();
    if met.meet(&combined.constraints).is_err() {
        return unfit();
    }
    let narrower = met != approved;
    let (roles, rules, escalate) = match spec {
        None => (held.roles.clone(), held.rules.clone(), held.escalate.clone()),
        Some(spec) => (
            united(&held.roles, &spec.roles),
            ids(&combined),
            steps(held, &absolute(&spec.steps, held.since)),
        ),
    };
    let known: BTreeSet<&String> = held.rules.iter().collect();
    let more = roles != held.roles
        || held.escalate.iter().any(|step| !escalate.contains(step))
        || rules.iter().any(|rule| !known.contains(rule));
    if !more && !narrower {
        return Standing::Kept;
    }
    if now >= held.expires {
        return Standing::Over(CloseState::Expired.into());
    }
    let constraints = met.to_object();
    if Value::Object(constraints.clone()).to_canonical().len() > CONSTRAINTS_BYTES_MAX {
        return unfit();
    }
    let mut event = ApprovalReopened {
        decision: held.decision,
        approval: held.approval,
        policy: asked.verdict.policy,
        was: held.requirement,
        requirement: requirement::<H>(
            &roles,
            &constraints,
            &rules,
            &relative(&escalate, held.since),
        ),
        roles,
        constraints,
        rules,
        remind: remind(held, spec, now),
        escalate,
        votes_dropped: narrower,
        complete: false,
    };
    let mut after = held.clone();
    after.reopen(&event, now);
    event.complete = state.missing_at(&after, now).is_empty();
    Standing::Reopened(Box::new(event))
}

fn combined(state: &State, held: &Held, asked: Asked<'_>, now: TimeMs) -> Combined {
    let mut verdict = asked.verdict.clone();
    verdict.hits.retain(|hit| match hit.force {
        Force::Asked => {
            hit.rule.schedule.as_ref().is_none_or(|it| it.contains(now))
                && hit.rule.after.is_none_or(|spec| follows(state, held, asked, hit, spec, now))
        }
        force => force.by_time(now),
    });
    verdict = state.under_exception(held, verdict, asked.evidence, now);
    if held.reach.is_governed() {
        let hit = constitution::two_admins();
        verdict = constitution::verdict(state, held.reach, &verdict, held.proposers.iter(), hit);
    }
    combine(&verdict, |hit| {
        if held.full.contains(&hit.rule.id) {
            Velocity::Full { retry_after_ms: 0 }
        } else {
            Velocity::Open
        }
    })
}

/// Whether a rule that comes after something applies to a held action: it did when the action was held, or
/// it restricts and what it comes after has happened since. The hold's own mark is not what it comes after.
fn follows(
    state: &State,
    held: &Held,
    asked: Asked<'_>,
    hit: &Hit,
    spec: AfterSpec,
    now: TimeMs,
) -> bool {
    if held.full.contains(&hit.rule.id) {
        return true;
    }
    let since = asked.tag(hit).is_none_or(|tag| {
        let own = held.marks.iter().any(|mark| mark.tag == tag);
        let marks = if own { Mark::KEPT } else { 1 };
        state.windows.full(&tag, marks, spec.within_ms, now).is_some()
    });
    since && hit.rule.restricts()
}

/// No demand falls while an action waits: per role the greater of both.
fn united(before: &BTreeMap<String, u32>, now: &BTreeMap<String, u32>) -> BTreeMap<String, u32> {
    let mut roles = before.clone();
    for (role, count) in now {
        let most = roles.entry(role.clone()).or_insert(0);
        *most = (*most).max(*count);
    }
    roles
}

/// Ids of the deciding rules as an entry lists them.
pub(crate) fn ids(combined: &Combined) -> Vec<String> {
    combined.deciding.iter().take(DecisionEvent::RULES_MAX).map(|rule| rule.id.clone()).collect()
}

/// Steps after `since`.
pub(crate) fn absolute(steps: &[StepSpec], since: TimeMs) -> Vec<EscalationStep> {
    let step = |step: &StepSpec| EscalationStep {
        at: since.plus(step.after_ms),
        instead_of: step.instead_of.clone(),
        roles: step.roles.clone(),
    };
    steps.iter().map(step).collect()
}

fn relative(steps: &[EscalationStep], since: TimeMs) -> Vec<StepSpec> {
    let step = |step: &EscalationStep| StepSpec {
        after_ms: step.at.since(since),
        instead_of: step.instead_of.clone(),
        roles: step.roles.clone(),
    };
    steps.iter().map(step).collect()
}

/// The steps under another bundle: for a role that was demanded before, those alone on which both agree;
/// for a new one those of the bundle.
fn steps(held: &Held, now: &[EscalationStep]) -> Vec<EscalationStep> {
    let mut all: Vec<EscalationStep> = Vec::new();
    for step in now {
        let same = |other: &&EscalationStep| other.at == step.at && other.roles == step.roles;
        let agreed: BTreeSet<&String> =
            held.escalate.iter().filter(same).flat_map(|step| &step.instead_of).collect();
        let stands = |role: &&String| agreed.contains(*role) || !held.roles.contains_key(*role);
        let instead_of: BTreeSet<String> = step.instead_of.iter().filter(stands).cloned().collect();
        if !instead_of.is_empty() {
            all.push(EscalationStep { at: step.at, instead_of, roles: step.roles.clone() });
        }
    }
    all
}

/// The earlier reminder of both, unless it was sent or its time has passed.
fn remind(held: &Held, spec: Option<&ApprovalSpec>, now: TimeMs) -> Option<TimeMs> {
    let before = held.remind?;
    let other =
        spec.and_then(|spec| spec.remind_ms).map(|ms| TimeMs(held.expires.0.saturating_sub(ms)));
    let earlier = other.map_or(before, |other| other.min(before));
    (earlier > now).then_some(earlier)
}
