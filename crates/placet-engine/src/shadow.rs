//! The bundle beside the one in force: set and cleared by admins, asked of every decision, and heard by
//! nobody. Owns what of its word is recorded and counted.
//!
//! INVARIANT: nothing but the member `would` of a decision and the counts here depends on it.

use crate::command::{Decide, Plan, Who};
use crate::constitution::{self, Reach};
use crate::decide::{Asked, in_force, ruled};
use crate::rejection::Rejection;
use crate::state::State;
use crate::step::{append, may_administer};
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::event::{BundleShadowed, DecisionEvent, Differing, Event, Tag, Would};
use placet_types::ids::{DecisionId, TimeMs};
use placet_types::policy::{Aspect, Combined, Reason, Verdict, restrict};

/// What a shadow bundle says of a request.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// The verdict, with the digest of the bundle.
    pub verdict: Verdict,
    /// As [`Decide::windows`].
    pub windows: Vec<Option<Tag>>,
}

/// A bundle beside the one in force, or none any more.
#[derive(Clone, Debug)]
pub struct ShadowBundle {
    /// An admin.
    pub by: Who,
    /// Its digest.
    pub bundle: Option<Digest>,
    /// Version of the condition language.
    pub language: u32,
    /// The decision that permitted it.
    pub decision: Option<DecisionId>,
}

/// A shadow bundle, and how often it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowing {
    /// The bundle.
    pub bundle: Digest,
    /// Log index at which it was set.
    pub index: u64,
    /// Decisions that it was asked about.
    pub compared: u64,
    /// Those of them on which it came to something else.
    pub differed: u64,
    /// Decisions that were under way when it was set.
    pub skipped: u64,
}

/// Largest decision with what the shadow would have said, so that the entry stays within its bound.
const DATA_BYTES_MAX: usize = 15 << 10;

pub(crate) fn set(state: &State, command: &ShadowBundle) -> Result<Plan, Rejection> {
    may_administer(&command.by)?;
    if command.decision.is_some_and(|decision| state.spent.contains(&decision)) {
        return Err(Rejection::PermitConsumed);
    }
    if state.shadow.as_ref().map(|shadow| shadow.bundle) == command.bundle {
        return Ok(Plan::Nothing);
    }
    append(Event::BundleShadowed(BundleShadowed {
        by: command.by.actor.clone(),
        bundle: command.bundle,
        decision: command.decision,
        language: command.language,
    }))
}

/// What is recorded of the shadow's word on a decision that came to `combined`.
pub(crate) fn would(
    state: &State,
    command: &Decide,
    combined: &Combined,
    now: TimeMs,
) -> Option<Would> {
    let bundle = state.shadow.as_ref()?.bundle;
    if constitution::is_governed(&command.surface)
        || combined.reasons.iter().any(|reason| reason.is_override())
        || now > command.deadline
    {
        return None;
    }
    let shadow = command.shadow.as_ref().filter(|it| it.verdict.policy == Some(bundle));
    let Some(shadow) = shadow else { return Some(Would::Skipped) };
    let asked = Asked { verdict: &shadow.verdict, windows: &shadow.windows, evidence: &[] };
    let timely = in_force(state, asked, &shadow.verdict, now);
    let said = timely.as_ref().unwrap_or(&shadow.verdict);
    let other = restrict(said, ruled(state, command, asked, said, Reach::Free, now));
    let ids = |combined: &Combined| -> Vec<_> {
        combined.deciding.iter().map(|rule| rule.id.clone()).collect()
    };
    let mut rules = ids(&other);
    let differs = [
        (Aspect::Constraints, combined.constraints != other.constraints),
        (Aspect::Approval, combined.approval != other.approval),
        (Aspect::RetryAfter, combined.retry_after_ms != other.retry_after_ms),
        (Aspect::Rules, ids(combined) != rules),
    ];
    let aspects: Vec<Aspect> =
        differs.into_iter().filter(|(_, differs)| *differs).map(|(aspect, _)| aspect).collect();
    if combined.outcome == other.outcome && aspects.is_empty() {
        return None;
    }
    rules.truncate(Differing::RULES_MAX);
    Some(Would::Differ(Differing { policy: bundle, outcome: other.outcome, aspects, rules }))
}

/// Cuts what the shadow would have said where the entry would grow beyond its bound: a shadow never keeps a
/// decision from being made.
pub(crate) fn bounded(mut event: DecisionEvent) -> DecisionEvent {
    if let Some(Would::Differ(_)) = &event.would
        && event.bytes() > DATA_BYTES_MAX
    {
        if let Some(Would::Differ(differing)) = &mut event.would {
            differing.rules.clear();
        }
        if event.bytes() > DATA_BYTES_MAX {
            event.would = None;
        }
    }
    event
}

impl State {
    /// The bundle beside the one in force.
    #[must_use]
    pub fn shadow(&self) -> Option<&Shadowing> {
        self.shadow.as_ref()
    }

    pub(crate) fn apply_shadowed(&mut self, event: &BundleShadowed, index: u64) {
        self.spent.extend(event.decision);
        self.shadow = event.bundle.map(|bundle| Shadowing {
            bundle,
            index,
            compared: 0,
            differed: 0,
            skipped: 0,
        });
    }

    pub(crate) fn apply_would(&mut self, event: &DecisionEvent) -> Result<(), &'static str> {
        let Some(shadow) = &mut self.shadow else {
            return match event.would {
                None => Ok(()),
                Some(_) => Err("it names a shadow bundle, and there is none"),
            };
        };
        match &event.would {
            Some(Would::Skipped) => shadow.skipped = shadow.skipped.saturating_add(1),
            Some(Would::Differ(differing)) if differing.policy != shadow.bundle => {
                return Err("it names another shadow bundle than the one that was set");
            }
            Some(Would::Differ(_)) => {
                shadow.compared = shadow.compared.saturating_add(1);
                shadow.differed = shadow.differed.saturating_add(1);
            }
            None => {
                let before =
                    |reason: &Reason| *reason == Reason::DeadlineExceeded || reason.is_override();
                let asked =
                    !constitution::is_governed(&event.surface) && !event.reasons.iter().any(before);
                shadow.compared = shadow.compared.saturating_add(u64::from(asked));
            }
        }
        Ok(())
    }
}
