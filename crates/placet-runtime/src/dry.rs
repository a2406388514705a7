//! Dry runs: requests decided one after the other by the engine's own step on a state in memory, with
//! nothing recorded, and the cases of a bundle run that way. Owns what a case found; decides nothing.

use crate::crypto::Fast;
use crate::frame::SlotKeys;
use crate::ports::Secret;
use crate::proposal::{Given, Proposal, approval_ms, evaluate};
use crate::pseudonyms::Pseudonyms;
use placet_engine::{Bounds, CONSTITUTION, Command, Plan, State, step};
use placet_policy::{Bundle, Case};
use placet_types::event::{DecisionEvent, Entry, Event, Genesis};
use placet_types::ids::{ApprovalId, DecisionId, PermitId, TimeMs, WorkspaceName};
use placet_types::policy::{Outcome, Verdict};
use placet_types::{Caller, Digest, Digests, Request};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Why a dry run stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DryError {
    /// The engine or the fold refused what a server would never have been asked.
    Refused(String),
    /// Whoever asked has no more time for it.
    OutOfTime,
}

impl fmt::Display for DryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "the engine did not decide: {why}"),
            Self::OutOfTime => f.write_str("it takes too long"),
        }
    }
}

impl std::error::Error for DryError {}

/// How long a permit of a dry run lasts: as long as on a server by default.
const PERMIT_MS: u64 = 60_000;

/// A workspace in memory, under fixed pseudonyms.
pub struct DryRun {
    state: State,
    workspace: WorkspaceName,
    decided: Vec<(u64, Arc<DecisionEvent>)>,
}

/// One decision of a dry run.
pub struct DryDecision {
    /// The event that a server would log.
    pub event: Arc<DecisionEvent>,
    /// Digests of the request.
    pub digests: Digests,
    /// What policy said before the engine combined it.
    pub verdict: Verdict,
}

impl DryRun {
    /// An empty workspace that began at `now`.
    ///
    /// # Errors
    /// When the fold refuses the genesis entry, which is a defect.
    pub fn new(
        workspace: &WorkspaceName,
        bundle: Option<&Bundle>,
        now: TimeMs,
    ) -> Result<Self, DryError> {
        let mut run = Self {
            state: State::new(Bounds::default()),
            workspace: workspace.clone(),
            decided: Vec::new(),
        };
        let genesis = Genesis {
            instance: "0".repeat(16),
            origin: format!("placet/{}/{}", "0".repeat(16), workspace.as_str()),
            vkeys: Vec::new(),
            principals: Vec::new(),
            bundle: bundle.map(Bundle::digest),
            constitution: CONSTITUTION,
        };
        run.apply(Event::Genesis(genesis), now)?;
        Ok(run)
    }

    /// Decides a request as a server would at `now`, which is not before any earlier one.
    ///
    /// # Errors
    /// When the engine refuses the command, for instance at one of its bounds.
    pub fn decide(
        &mut self,
        bundle: &Bundle,
        request: &Request,
        caller: &Caller,
        now: TimeMs,
    ) -> Result<DryDecision, DryError> {
        let secret = Secret::new([0; 32]);
        let (names, keys) = (Pseudonyms::new(&secret), SlotKeys::new(&secret));
        let contract = bundle.surface(&request.surface);
        let digests = request.digests::<Fast>(caller);
        // What a case presents is in no log, so nobody takes it back in between.
        let verdict = Verdict { evidence: Vec::new(), ..evaluate(Some(bundle), request, caller) };
        let proposal = Proposal { names: &names, caller, key: None, request, digests: &digests };
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.state.next_index().to_be_bytes());
        let given = Given {
            ids: (DecisionId::from_bytes(id), ApprovalId::from_bytes(id), PermitId::from_bytes(id)),
            nonce: None,
            window_ms: contract.idempotency_window_ms,
            deadline: now.plus(contract.deadline_ms),
            permit_ms: PERMIT_MS,
            approval_ms: approval_ms(request),
        };
        let command = proposal.command(&keys, (verdict.clone(), None), given);
        let plan = step::<Fast>(&self.state, &Command::Decide(Box::new(command)), now)
            .map_err(|rejection| DryError::Refused(rejection.to_string()))?;
        let event = match plan {
            Plan::Append(events) => match events.into_iter().next() {
                Some(Event::Decision(event)) => event,
                _ => return Err(DryError::Refused("no decision among the events".to_owned())),
            },
            Plan::Bound { index } => {
                let known = self.decided.iter().find(|(at, _)| *at == index);
                let event = known.map(|(_, event)| event.clone());
                let event =
                    event.ok_or_else(|| DryError::Refused("a decision is lost".to_owned()))?;
                return Ok(DryDecision { event, digests, verdict });
            }
            Plan::Nothing => return Err(DryError::Refused("nothing to decide".to_owned())),
        };
        self.decided.push((self.state.next_index(), event.clone()));
        self.apply(Event::Decision(event.clone()), now)?;
        Ok(DryDecision { event, digests, verdict })
    }

    fn apply(&mut self, event: Event, now: TimeMs) -> Result<(), DryError> {
        let entry = Entry {
            time: now,
            workspace: self.workspace.clone(),
            epoch: 1,
            dev: false,
            solo: false,
            name: String::new(),
            commitment: Digest([0; 32]),
            payload: Digest([0; 32]),
            event,
        };
        self.state.apply(&entry).map_err(|error| DryError::Refused(error.to_string()))
    }
}

/// Something that came out otherwise than a case expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `outcome`, `rules`, `history[3].outcome` and so on.
    pub what: String,
    /// What the case wants.
    pub expected: String,
    /// What came of it.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

/// What one case came to.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The case.
    pub case: Case,
    /// The decision; `None` when there was none.
    pub event: Option<Arc<DecisionEvent>>,
    /// Everything that differs; empty when it passed.
    pub differences: Vec<Difference>,
}

impl CaseResult {
    /// Whether everything came out as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// A case that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfTestFailure {
    /// Id of the case.
    pub case: String,
    /// Whether it has to be denied before a server arms itself.
    pub must_deny: bool,
    /// What came out otherwise.
    pub differences: Vec<Difference>,
}

impl fmt::Display for SelfTestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let must = if self.must_deny { " must be denied" } else { "" };
        write!(f, "case {}{must}", self.case)?;
        self.differences.iter().try_for_each(|one| write!(f, "; {one}"))
    }
}

/// The arming self-test: runs the `must_deny` cases of a bundle and no other.
///
/// # Errors
/// Every case that is not denied. A case that cannot be decided at all counts as one.
pub fn self_test(bundle: &Bundle) -> Result<(), Vec<SelfTestFailure>> {
    let failures: Vec<SelfTestFailure> =
        bundle.cases().filter(|case| case.must_deny).filter_map(|it| failure(bundle, it)).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// Most decisions that the cases of a bundle may take before it comes into force, those of their histories
/// among them: some seconds of work.
pub const CASE_DECISIONS_MAX: u64 = 50_000;
/// Most cases that are named as having come out otherwise; no more are run.
const FAILURES_MAX: usize = 100;

/// What a bundle has to pass before it comes into force: all its cases. How many there were.
///
/// # Errors
/// Each case that came out otherwise, in words, up to 100 of them; or that there is more to decide than
/// [`CASE_DECISIONS_MAX`].
pub fn all_cases(bundle: &Bundle) -> Result<u32, Vec<String>> {
    let steps = |case: &Case| case.history.iter().map(|step| step.times).sum::<u64>();
    let all = bundle.cases().fold(0_u64, |sum, case| sum + steps(&case) + 1);
    if all > CASE_DECISIONS_MAX {
        return Err(vec![format!(
            "the cases take {all} decisions, and all of them have to pass before a bundle comes into \
             force: at most {CASE_DECISIONS_MAX} are made"
        )]);
    }
    let failures: Vec<String> = bundle
        .cases()
        .filter_map(|case| failure(bundle, case))
        .take(FAILURES_MAX)
        .map(|it| it.to_string())
        .collect();
    if failures.is_empty() {
        Ok(u32::try_from(bundle.case_count()).unwrap_or(u32::MAX))
    } else {
        Err(failures)
    }
}

fn failure(bundle: &Bundle, case: Case) -> Option<SelfTestFailure> {
    let must_deny = case.must_deny;
    let result = run_case(bundle, case);
    let failed = !result.passed();
    let CaseResult { case, differences, .. } = result;
    failed.then_some(SelfTestFailure { case: case.id, must_deny, differences })
}

/// Runs one case: its history first, then its request, with the code that the server runs.
#[must_use]
pub fn run_case(bundle: &Bundle, case: Case) -> CaseResult {
    let (mut differences, go_on) = (Vec::new(), || true);
    let decided = decide(bundle, &case, &mut differences, &go_on);
    outcome(case, differences, decided)
}

/// As [`run_case`], as long as there is time: asked before each decision.
///
/// # Errors
/// `OutOfTime`, and nothing else.
pub fn run_case_while(
    bundle: &Bundle,
    case: Case,
    go_on: &dyn Fn() -> bool,
) -> Result<CaseResult, DryError> {
    let mut differences = Vec::new();
    match decide(bundle, &case, &mut differences, go_on) {
        Err(DryError::OutOfTime) => Err(DryError::OutOfTime),
        decided => Ok(outcome(case, differences, decided)),
    }
}

fn outcome(
    case: Case,
    mut differences: Vec<Difference>,
    decided: Result<Arc<DecisionEvent>, DryError>,
) -> CaseResult {
    match &decided {
        Ok(event) => compare(&case, event, &mut differences),
        Err(error) => differences.push(Difference {
            what: "decision".to_owned(),
            expected: "a decision".to_owned(),
            found: error.to_string(),
        }),
    }
    CaseResult { case, event: decided.ok(), differences }
}

fn decide(
    bundle: &Bundle,
    case: &Case,
    differences: &mut Vec<Difference>,
    go_on: &dyn Fn() -> bool,
) -> Result<Arc<DecisionEvent>, DryError> {
    let start = case.history.first().map_or(case.at, |step| step.at);
    let mut run = DryRun::new(&case.caller.workspace, Some(bundle), start)?;
    let all = case.history.iter().flat_map(|step| step.requests().map(move |it| (step, it)));
    for (number, (step, request)) in all.enumerate() {
        if !go_on() {
            return Err(DryError::OutOfTime);
        }
        let found = run.decide(bundle, &request, &step.caller, step.at)?.event.outcome;
        if let Some(expected) = step.outcome.filter(|expected| *expected != found) {
            differences.push(Difference {
                what: format!("history[{number}].outcome"),
                expected: expected.as_str().to_owned(),
                found: found.as_str().to_owned(),
            });
        }
    }
    if !go_on() {
        return Err(DryError::OutOfTime);
    }
    Ok(run.decide(bundle, &case.request, &case.caller, case.at)?.event)
}

fn compare(case: &Case, event: &DecisionEvent, out: &mut Vec<Difference>) {
    let mut differs = |what: &str, expected: String, found: String| {
        if expected != found {
            out.push(Difference { what: what.to_owned(), expected, found });
        }
    };
    if case.must_deny {
        let (expected, found) = (Outcome::Deny.as_str(), event.outcome.as_str());
        differs("outcome", expected.to_owned(), found.to_owned());
    }
    let Some(expect) = &case.expect else { return };
    if !case.must_deny {
        let (expected, found) = (expect.outcome.as_str(), event.outcome.as_str());
        differs("outcome", expected.to_owned(), found.to_owned());
    }
    if let Some(rules) = &expect.rules {
        let found: BTreeSet<&String> = event.rules.iter().collect();
        differs("rules", names(rules), names(&found));
    }
    if let Some(reasons) = &expect.reasons {
        let texts = |codes: BTreeSet<&str>| names(&codes);
        let expected = texts(reasons.iter().map(|it| it.as_str()).collect());
        let found = texts(event.reasons.iter().map(|it| it.as_str()).collect());
        differs("reasons", expected, found);
    }
    if let Some(constraints) = &expect.constraints {
        let text = |object: &placet_types::json::Object| {
            placet_types::json::Value::Object(object.clone()).to_text()
        };
        differs("constraints", text(constraints), text(&event.constraints));
    }
    if let Some(roles) = &expect.approval {
        let text = |(role, count): (&String, &u32)| format!("{role}: {count}");
        let expected: Vec<String> = roles.iter().map(text).collect();
        let found: Vec<String> =
            event.approval.iter().flat_map(|it| it.roles.iter().map(text)).collect();
        differs("approval", names(&expected), names(&found));
    }
    if let Some(wait) = expect.retry_after_ms {
        let found = event.retry_after_ms.map_or("nothing".to_owned(), |ms| format!("{ms}ms"));
        differs("retry_after", format!("{wait}ms"), found);
    }
}

/// `a, b`, or `nothing`.
fn names<'n, T: AsRef<str> + 'n>(items: impl IntoIterator<Item = &'n T>) -> String {
    let items: Vec<&str> = items.into_iter().map(AsRef::as_ref).collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests;
