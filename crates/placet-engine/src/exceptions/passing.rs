//! From a request to a decision under an exception: which one, and what it comes to then. Owns that no
//! exception makes anything stricter or is named for nothing; refuses to know how one comes to be.

use crate::command::Decide;
use crate::constitution::Reach;
use crate::decide::{barred, ruled, window};
use crate::state::State;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use placet_types::event::{DecisionEvent, Passage};
use placet_types::ids::{ExceptionId, TimeMs};
use placet_types::policy::{
    Combined, Hit, Outcome, Reason, RuleEffect, Velocity, Verdict, restrict,
};

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
    let asked = command.asked();
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
        let place = (rank(&combined), exception.id());
        let before = |best: &Passed| place < (rank(&best.combined), best.passage.exception);
        if best.as_ref().is_none_or(before) {
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
