//! Modes of enforcement: where the policy lets gates proceed as if they had not asked. Owns what becomes of
//! a decision there, and when a mode counts; refuses to know which surfaces it is about: that is in the verdict.

use crate::command::Decide;
use crate::constitution::Reach;
use crate::decide::barred;
use crate::state::State;
use placet_types::event::{Arming, DecisionEvent};
use placet_types::ids::TimeMs;
use placet_types::policy::{Combined, Outcome, Reason, Verdict};

impl State {
    /// Whether modes of the bundle in force count: two people have let it come into force, or the one of a
    /// solo workspace has slept on it. What came with the start or by one person's rollback is enforced, whatever
    /// it says. Development is nobody's production.
    #[must_use]
    pub fn modes_count(&self) -> bool {
        let armed = self.policies.armed.back().filter(|it| Some(it.event.bundle) == self.policy);
        self.dev
            || armed.is_some_and(|armed| match armed.event.how {
                Arming::Published | Arming::RolledBack => {
                    self.solo || !armed.event.approvers.is_empty()
                }
                Arming::Seeded | Arming::Emergency => false,
            })
    }
}

/// What becomes of a decision where gates proceed anyway: nothing is denied, held or put off, and nothing is
/// permitted either; what it would have been is kept. `None` where it stands: it is enforced, or permits.
pub(crate) fn unenforced(
    state: &State,
    command: &Decide,
    verdict: &Verdict,
    combined: &Combined,
    reach: Reach,
    now: TimeMs,
) -> Option<(Combined, Outcome)> {
    let was = combined.outcome;
    // What is stopped stays stopped, and nobody proceeds on an answer that came too late.
    let enforced = !verdict.unenforced
        || was == Outcome::Permit
        || reach != Reach::Free
        || !state.modes_count()
        || barred(state, command, now).is_some();
    if enforced {
        return None;
    }
    let mut reasons = alloc::vec![Reason::Unenforced];
    reasons.extend(combined.reasons.iter().copied());
    let silence = Combined::refusal(Outcome::Silence, Reason::Unenforced);
    Some((Combined { reasons, deciding: combined.deciding.clone(), ..silence }, was))
}

/// INVARIANT: what is not enforced is not permitted, and nobody waits for it.
pub(crate) fn check(event: &DecisionEvent) -> Result<(), &'static str> {
    match event.would_outcome {
        None => Ok(()),
        Some(Outcome::Permit) => Err("it would have been permitted, and is not"),
        Some(_) if event.outcome != Outcome::Silence => {
            Err("it is enforced and says that it is not")
        }
        Some(_) => Ok(()),
    }
}
