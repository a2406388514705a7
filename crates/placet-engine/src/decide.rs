//! From a request and a verdict to the event `decision`: idempotency, kill, deadline, combination, queue and
//! window bounds, then an exception, a mode and the end of an execution, in that order. No layer of policy loosens
//! an earlier one.

use crate::command::{Decide, Plan};
use crate::constitution::{self, Reach, URGENT, is_governed};
use crate::exceptions::{self, Brought};
use crate::executions;
use crate::modes;
use crate::overrides::Stop;
use crate::rejection::Rejection;
use crate::release::{absolute, ids};
use crate::shadow;
use crate::state::State;
use crate::within;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::event::{
    ActorRef, ApprovalOpened, DecisionEvent, EXCEPTION_RULE, Event, KillScope, Matched,
    OverrideMode, PermitIssued, Tag, WindowUse,
};
use placet_types::ids::TimeMs;
use placet_types::json::{Object, Writer};
use placet_types::policy::{
    AfterSpec, Combined, Force, Hit, LANGUAGE, Outcome, Reason, StepSpec, Velocity, Verdict,
    combine, restrict,
};
use placet_types::{Digest, Hasher};

/// When the approval queue is full, callers are asked to come back after this.
const QUEUE_RETRY_MS: u64 = 5000;
/// Largest canonical form of united constraints, so that an entry stays within its bound.
pub(crate) const CONSTRAINTS_BYTES_MAX: usize = 4096;

/// What a bundle says, as it came in: window tags stand beside the hits in their order.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) verdict: &'a Verdict,
    pub(crate) windows: &'a [Option<Tag>],
    /// What exceptions may ask for.
    pub(crate) evidence: &'a [Brought],
}

impl Asked<'_> {
    /// The window tag of a hit.
    pub(crate) fn tag(self, hit: &Hit) -> Option<Tag> {
        let at = self.verdict.hits.iter().position(|other| Arc::ptr_eq(&other.rule, &hit.rule));
        at.and_then(|at| self.windows.get(at).copied().flatten())
    }
}

pub(crate) fn decide<H: Hasher>(
    state: &State,
    command: &Decide,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    let reach = Reach::of(&command.surface);
    // Among a million windows none is in the cache: they are read while the key is looked up, not after it.
    let windows = command.windows.iter().flatten().take(8);
    core::hint::black_box(windows.filter(|tag| state.windows.contains(tag)).count());
    let attempt = state.idempotency.get(&command.idempotency, now);
    match attempt {
        Some(attempt) if attempt.bound => return Ok(Plan::Bound { index: attempt.index }),
        None => {
            let bound = with_reserve(state.bounds.idempotency_max, state, command);
            if state.idempotency.is_full(bound, now) {
                return Err(Rejection::IdempotencyFull);
            }
        }
        Some(_) => {}
    }
    let verdict = governed(state, command, reach, now);
    let verdict = verdict.as_ref().unwrap_or(&command.verdict);
    let asked = command.asked();
    let timely = in_force(state, asked, verdict, now);
    let verdict = timely.as_ref().unwrap_or(verdict);
    // Whatever stands in the way of a grant, a surface that does not allow the answer denies instead.
    let combined = restrict(verdict, outcome(state, command, verdict, reach, now));
    // Bundles are compared by what they say, whatever an exception makes of it.
    let would = shadow::would(state, command, &combined, now);
    let passed = exceptions::passage(state, command, verdict, &combined, reach, now);
    let (verdict, combined, passage) = match &passed {
        Some(it) => (&it.verdict, it.combined.clone(), Some(it.passage.clone())),
        None => (verdict, combined, None),
    };
    let (combined, retroactive) = match command.retroactive {
        false => (combined, None),
        true => {
            let (combined, was) = exceptions::afterwards(combined);
            (combined, Some(was))
        }
    };
    let mode = match (passage.is_some(), retroactive) {
        (false, None) => modes::unenforced(state, command, verdict, &combined, reach, now),
        _ => None,
    };
    let (combined, would_outcome) = match mode {
        Some((combined, was)) => (combined, Some(was)),
        None => (combined, None),
    };
    let decided = without_guards(verdict, &combined);
    let verdict = decided.as_ref().unwrap_or(verdict);
    // What is not enforced has no effect, so a step that passes for now ends nothing.
    let enforced = would_outcome.is_none();
    let trip = enforced
        .then(|| executions::tripped_by(state, command, &combined))
        .flatten()
        .or_else(|| executions::spent_by(state, command, &combined, now));
    let mut event = event::<H>(state, command, verdict, combined, attempt.map(|a| a.index), now);
    (event.exception, event.retroactive) = (passage, retroactive);
    event.would_outcome = would_outcome;
    // No permit outlives the exception that it rests on.
    if let (Some(permit), Some(passed)) = (&mut event.permit, &passed) {
        permit.expires = permit.expires.min(passed.ends);
    }
    let event = match would {
        None => event,
        would => shadow::bounded(DecisionEvent { would, ..event }),
    };
    let mut events = alloc::vec![Event::Decision(Arc::new(event))];
    events.extend(trip);
    Ok(Plan::Append(events))
}

/// Places beyond a bound are kept for people who may act on what the constitution governs, so that
/// nobody's flood of requests keeps them from repairing the policy that lets it through.
fn with_reserve(bound: usize, state: &State, command: &Decide) -> usize {
    let who = &command.who;
    let may = who.actor.is_human() && URGENT.iter().any(|role| who.roles.contains(*role));
    let reserve = if may && is_governed(&command.surface) { state.bounds.reserve } else { 0 };
    bound.saturating_add(reserve)
}

/// For surfaces of the constitution: the bundle's verdict as far as it counts there, with the
/// constitution's rule added.
fn governed(state: &State, command: &Decide, reach: Reach, now: TimeMs) -> Option<Verdict> {
    reach.is_governed().then(|| {
        let place = (command.surface.as_str(), command.action.as_str());
        let hit = constitution::hit(state, &state.without_revoked(&command.who), place, now);
        let proposers = core::iter::once(&command.who.actor).chain(&command.on_behalf_of);
        constitution::verdict(state, reach, &command.verdict, proposers, hit)
    })
}

/// The verdict without the hits that do not apply at this time and in this state; `None` where all do.
pub(crate) fn in_force(
    state: &State,
    asked: Asked<'_>,
    verdict: &Verdict,
    now: TimeMs,
) -> Option<Verdict> {
    verdict.hits.iter().any(|hit| hit.force != Force::Always).then(|| {
        let applies = |hit: &&Hit| match hit.force {
            Force::Asked => {
                hit.rule.schedule.as_ref().is_none_or(|it| it.contains(now))
                    && hit.rule.after.is_none_or(|it| after(state, asked, hit, it, now))
            }
            force => force.by_time(now),
        };
        let hits = verdict.hits.iter().filter(applies).cloned().collect();
        Verdict { hits, ..verdict.clone() }
    })
}

/// The verdict without the rules about outcomes, where none of them had anything to say; `None` where
/// nothing is to be left out. So an entry holds what applied, and whoever steps it again finds the same.
fn without_guards(verdict: &Verdict, combined: &Combined) -> Option<Verdict> {
    let idle = |hit: &Hit| {
        let decides = combined.deciding.iter().any(|rule| rule.id == hit.rule.id);
        hit.rule.outcomes.is_some() && !decides
    };
    verdict.hits.iter().any(idle).then(|| {
        let hits = verdict.hits.iter().filter(|hit| !idle(hit)).cloned().collect();
        Verdict { hits, ..verdict.clone() }
    })
}

/// Whether the earlier action lies in its window. Where that cannot be told the rule restricts: what
/// lacks the field that ties two actions together is tied to all others that lack it, and gains nothing.
fn after(state: &State, asked: Asked<'_>, hit: &Hit, spec: AfterSpec, now: TimeMs) -> bool {
    let untied = hit.limit_key.iter().flatten().any(Option::is_none);
    if untied && !hit.rule.restricts() {
        return false;
    }
    match asked.tag(hit) {
        Some(tag) => state.windows.full(&tag, 1, spec.within_ms, now).is_some(),
        None => hit.rule.restricts(),
    }
}

fn outcome(
    state: &State,
    command: &Decide,
    verdict: &Verdict,
    reach: Reach,
    now: TimeMs,
) -> Combined {
    if let Some(refused) = barred(state, command, now) {
        return refused;
    }
    let asked = command.asked();
    ruled(state, command, asked, verdict, reach, now)
}

/// What stands before every rule: no policy and no exception has a say in it.
pub(crate) fn barred(state: &State, command: &Decide, now: TimeMs) -> Option<Combined> {
    if let Some(stop) = stopped(state, command) {
        return Some(Combined::refusal(Outcome::Deny, stop.reason()));
    }
    if let Some(reason) = executions::barred(state, command, now) {
        return Some(Combined::refusal(Outcome::Deny, reason));
    }
    (now > command.deadline).then(|| Combined::refusal(Outcome::Silence, Reason::DeadlineExceeded))
}

/// What the rules come to, within the bounds of the workspace.
pub(crate) fn ruled(
    state: &State,
    command: &Decide,
    asked: Asked<'_>,
    verdict: &Verdict,
    reach: Reach,
    now: TimeMs,
) -> Combined {
    let combined = combine(verdict, |hit| window(state, asked, hit, now).1);
    let refuse = |outcome, reason, retry_after_ms| Combined {
        retry_after_ms,
        ..Combined::refusal(outcome, reason)
    };
    if !matches!(combined.outcome, Outcome::Permit | Outcome::RequireApproval) {
        return combined;
    }
    if !combined.constraints.is_empty() {
        let bytes = placet_types::json::Value::Object(combined.constraints.to_object());
        if bytes.to_canonical().len() > CONSTRAINTS_BYTES_MAX {
            return refuse(Outcome::Deny, Reason::ConstraintsConflict, None);
        }
    }
    let held_max = with_reserve(state.bounds.held_max, state, command);
    if combined.outcome == Outcome::RequireApproval && state.held_open >= held_max {
        return refuse(Outcome::Throttle, Reason::ApprovalQueueFull, Some(QUEUE_RETRY_MS));
    }
    if reach.is_sovereign() {
        // No window counts there.
        return combined;
    }
    // A rule with `after` only looks at the window that its marker fills.
    let fills = asked.verdict.hits.iter().zip(asked.windows);
    let tags =
        fills.filter(|(hit, _)| hit.rule.limit.is_some()).filter_map(|(_, tag)| tag.as_ref());
    let fresh = tags.clone().filter(|tag| !state.windows.contains(tag)).count();
    let too_many = state.windows.len().saturating_add(fresh) > state.bounds.velocity_max;
    if tags.count() > DecisionEvent::MATCHED_MAX || (fresh > 0 && too_many) {
        return refuse(Outcome::Throttle, Reason::VelocityBound, Some(QUEUE_RETRY_MS));
    }
    combined
}

/// What stops a request, if anything does. A caller with a role that is revoked is stopped as a whole:
/// without the role a rule that restricts it would fall away, and restricting never grants.
fn stopped(state: &State, command: &Decide) -> Option<Stop> {
    if !state.may_stop() {
        return None;
    }
    let Decide { surface, who, on_behalf_of, under, .. } = command;
    if state.override_count() == 0 {
        // Nothing is tripped: of what was, only runs that are over are left.
        let scope = state.killed_execution(under)?;
        return Some(Stop { scope, mode: OverrideMode::Kill });
    }
    let scopes = KillScope::all(surface, &who.actor, on_behalf_of, under);
    state.stop_led(&scopes).or_else(|| {
        let role = state.revoked_role(&who.roles).filter(|_| !is_governed(surface))?;
        Some(Stop { scope: KillScope::Role(role.into()), mode: OverrideMode::Revoke })
    })
}

/// The window of a hit and what it says. A window without a tag cannot be looked up, so it counts
/// as full: the rule restricts.
pub(crate) fn window(
    state: &State,
    asked: Asked<'_>,
    hit: &Hit,
    now: TimeMs,
) -> (Option<WindowUse>, Velocity) {
    if let Some(after) = hit.rule.after {
        // It applies, or it would not be asked: what it looked at is recorded and not counted in.
        let looked = |tag| WindowUse { tag, count: 0, per_ms: after.within_ms, full: true };
        return (asked.tag(hit).map(looked), Velocity::Open);
    }
    let Some(limit) = hit.rule.limit else { return (None, Velocity::Open) };
    let Some(tag) = asked.tag(hit) else {
        return (None, Velocity::Full { retry_after_ms: limit.per_ms });
    };
    let full = state.windows.full(&tag, limit.count, limit.per_ms, now);
    let used = WindowUse { tag, count: limit.count, per_ms: limit.per_ms, full: full.is_some() };
    match full {
        Some(retry_after_ms) => (Some(used), Velocity::Full { retry_after_ms }),
        None => (Some(used), Velocity::Open),
    }
}

fn event<H: Hasher>(
    state: &State,
    command: &Decide,
    verdict: &Verdict,
    combined: Combined,
    previous: Option<u64>,
    now: TimeMs,
) -> DecisionEvent {
    let (decision, approval, permit) = command.ids;
    let (matched, matched_all) = matched::<H>(state, command, verdict, now);
    let constraints = combined.constraints.to_object();
    let audience = command.audience.clone().unwrap_or_else(|| command.who.actor.clone());
    let rules = ids(&combined);
    let opened = combined.approval.map(|mut spec| {
        if let Some(ms) = command.approval_ms {
            spec.expires_ms = spec.expires_ms.min(ms);
        }
        let ends = spec.expires_ms;
        spec.steps.retain(|step| step.after_ms < ends);
        spec.remind_ms = spec.remind_ms.filter(|ms| *ms < ends);
        spec
    });
    let opened = opened.map(|spec| ApprovalOpened {
        id: approval,
        audience: audience.clone(),
        requirement: requirement::<H>(&spec.roles, &constraints, &rules, &spec.steps),
        escalate: absolute(&spec.steps, now),
        remind: spec.remind_ms.map(|ms| TimeMs(now.plus(spec.expires_ms).0.saturating_sub(ms))),
        roles: spec.roles,
        expires: now.plus(spec.expires_ms),
        use_within_ms: spec.use_within_ms,
    });
    let issued = (combined.outcome == Outcome::Permit).then(|| PermitIssued {
        id: permit,
        consumed: audience == command.who.actor,
        audience,
        expires: now.plus(command.permit_ms),
        nonce: command.nonce,
    });
    DecisionEvent {
        decision,
        action_commitment: command.action_commitment,
        request_commitment: command.request_commitment,
        facts_commitment: command.facts_commitment,
        actor: command.who.actor.clone(),
        key: command.who.key,
        environment: command.environment.clone(),
        surface: command.surface.clone(),
        action: command.action.clone(),
        topic: command.topic.clone(),
        target: command.target,
        subjects: command.subjects.clone(),
        trace: command.trace.clone(),
        idempotency: command.idempotency,
        window_ms: command.window_ms,
        previous,
        on_behalf_of: command.on_behalf_of.clone(),
        policy: command.verdict.policy,
        language: LANGUAGE,
        surface_known: command.verdict.surface_known,
        outcome: combined.outcome,
        reasons: combined.reasons,
        rules,
        matched,
        matched_all,
        constraints,
        approval: opened,
        retry_after_ms: combined.retry_after_ms,
        permit: issued,
        deadline: command.deadline,
        would: None,
        exception: None,
        retroactive: None,
        would_outcome: None,
        under: within::under(state, command, combined.outcome),
        leads_to: state.leads_to(&command.under),
    }
}

/// All matched rules, windows first when the list has to be cut (they are folded into state), in
/// the order of layer and id.
fn matched<H: Hasher>(
    state: &State,
    command: &Decide,
    verdict: &Verdict,
    now: TimeMs,
) -> (Vec<Matched>, Option<(u64, Digest)>) {
    let asked = command.asked();
    let mut all: Vec<Matched> = verdict
        .hits
        .iter()
        .map(|hit| Matched {
            rule: hit.rule.id.clone(),
            layer: hit.rule.layer,
            effect: hit.rule.effect,
            error: hit.error,
            window: window(state, asked, hit, now).0,
            advice: hit.rule.advice,
        })
        .collect();
    if all.len() <= DecisionEvent::MATCHED_MAX {
        return (all, None);
    }
    let mut bytes = Vec::new();
    Writer::object(&mut bytes, |w| w.objects("matched", &all, |w, matched| matched.write(w)));
    let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
    // What fills a window goes before what only looks at one: the fold needs it.
    all.sort_by_key(|matched| match matched.window {
        Some(window) if window.count > 0 => 0,
        // Nor may it be left out under which exception something passed.
        None if matched.rule.starts_with(EXCEPTION_RULE) => 0,
        Some(_) => 1,
        None => 2,
    });
    all.truncate(DecisionEvent::MATCHED_MAX);
    all.sort_by(|a, b| (a.layer, &a.rule).cmp(&(b.layer, &b.rule)));
    (all, Some((count, Digest(H::sha256(&[&bytes])))))
}

/// Digest of a demand: roles and counts, constraints, deciding rules, who may stand in.
pub(crate) fn requirement<H: Hasher>(
    roles: &alloc::collections::BTreeMap<String, u32>,
    constraints: &Object,
    rules: &[String],
    steps: &[StepSpec],
) -> Digest {
    let mut bytes = Vec::with_capacity(256);
    Writer::object(&mut bytes, |w| {
        w.object_value("constraints", constraints);
        if !steps.is_empty() {
            w.objects("escalate", steps, |w, step| {
                w.uint("after_ms", step.after_ms);
                w.strings("instead_of", &step.instead_of);
                w.nested("roles", |w| {
                    for (role, count) in &step.roles {
                        w.uint(role, u64::from(*count));
                    }
                });
            });
        }
        w.nested("roles", |w| {
            for (role, count) in roles {
                w.uint(role, u64::from(*count));
            }
        });
        w.strings("rules", rules);
        w.str("type", "placet/requirement/1");
    });
    Digest(H::sha256(&[&bytes]))
}

/// Who proposed: none of them may decide the approval.
pub(crate) fn proposers(event: &DecisionEvent) -> impl Iterator<Item = &ActorRef> {
    core::iter::once(&event.actor).chain(&event.on_behalf_of)
}
