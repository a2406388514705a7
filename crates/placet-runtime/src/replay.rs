//! Replay: every decision of a log is derived again from what was recorded. With its payload the
//! rules run again; without, the recorded matches are combined again. Anything else than the
//! recorded event is a difference.

use crate::crypto::Fast;
use crate::fold::open;
use crate::frame::{Frame, SlotKeys};
use crate::start_error::StartError;

use crate::ports::{JournalReader, SlotReader, WorkspaceKeys, WorkspaceNo};
use crate::proposal::{Given, Proposal, evaluate, evaluate_beside, reread};
use crate::pseudonyms::Pseudonyms;
use crate::workspace::parse_batch;
use placet_engine::{
    Bounds, Command, Decide, EXCEPTION, Passing, Plan, Rejection, State, Who, is_governed, step,
};
use placet_policy::Bundle;
use placet_types::Digest;
use placet_types::event::{
    CONSTITUTION_RULE, DecisionEvent, EXCEPTION_RULE, Entry, Event, Tag, Would,
};
use placet_types::ids::{ApprovalId, DecisionId, PermitId, WorkspaceName};
use placet_types::policy::{Hit, Reason, Verdict};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Where the log and what belongs to it are read from.
pub struct Sources<'a> {
    /// The log.
    pub reader: &'a dyn JournalReader,
    /// Payload secrets.
    pub slots: &'a dyn SlotReader,
    /// Pseudonym keys.
    pub keys: &'a dyn WorkspaceKeys,
    /// Evaluate with this bundle instead of the recorded ones.
    pub bundle: Option<Arc<Bundle>>,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Decisions in the log.
    pub decisions: u64,
    /// Derived again from the payload.
    pub re_evaluated: u64,
    /// Combined again from the recorded matches; the payload is erased.
    pub re_stepped: u64,
    /// Neither: the payload is erased and the list of matches was cut.
    pub not_replayable: u64,
    /// Decisions that came out otherwise.
    pub differences: u64,
    /// The first of them.
    pub first: Option<Difference>,
}

/// A decision that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose.
    pub workspace: String,
    /// Log index.
    pub index: u64,
    /// The decision.
    pub decision: DecisionId,
    /// Outcome and deciding rules as recorded.
    pub recorded: (String, Vec<String>),
    /// Outcome and deciding rules as derived, or why there are none.
    pub derived: (String, Vec<String>),
    /// Which part of the event differs.
    pub what: String,
}

enum Derived {
    Event(Arc<DecisionEvent>),
    None(String),
    Unknown,
}

/// Replays all workspaces. `progress` hears of every batch: entries done so far.
///
/// # Errors
/// [`StartError`] where the log itself is damaged.
pub fn replay(sources: &Sources<'_>, progress: &mut dyn FnMut(u64)) -> Result<Report, StartError> {
    let mut report = Report::default();
    let mut bundles = HashMap::new();
    let mut done = 0;
    for (no, name) in sources.reader.workspaces()? {
        replay_workspace(sources, no, &name, &mut bundles, &mut report, &mut |count| {
            done += count;
            progress(done);
        })?;
    }
    Ok(report)
}

fn replay_workspace(
    sources: &Sources<'_>,
    no: WorkspaceNo,
    name: &WorkspaceName,
    bundles: &mut HashMap<Digest, Arc<Bundle>>,
    report: &mut Report,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StartError> {
    let damaged = |what: String| StartError::Damaged { workspace: name.to_string(), what };
    let key = sources.keys.workspace_key(name)?;
    let key = key.ok_or_else(|| damaged("its pseudonym key is missing".to_owned()))?;
    let names = Pseudonyms::new(&key);
    let mut state = State::new(Bounds::default());
    loop {
        let batches = sources.reader.read(no, state.next_index(), 4 << 20)?;
        if batches.is_empty() {
            return Ok(());
        }
        for batch in batches {
            let parsed = parse_batch(batch).map_err(damaged)?;
            for (at, entry) in parsed.entries.iter().enumerate() {
                if let Event::Decision(event) = &entry.event {
                    let frame = parsed.frame(at);
                    let frame = frame.ok_or_else(|| damaged("an entry has no frame".to_owned()))?;
                    let bundle = bundle_for(sources, event.policy, bundles)?;
                    let asked = event.would != Some(Would::Skipped);
                    let shadow = state.shadow().filter(|_| asked).map(|shadow| shadow.bundle);
                    let shadow = shadow.map(|digest| kept(sources, digest, bundles)).transpose()?;
                    let context = Context { sources, names: &names, state: &state };
                    let given = (bundle.as_deref(), shadow.as_deref());
                    let derived = context.derive(entry, event, frame, given, report)?;
                    count(report, name, state.next_index(), event, derived);
                }
                state.apply(entry).map_err(|error| damaged(error.to_string()))?;
            }
            progress(parsed.entries.len() as u64);
        }
    }
}

/// The bundle that was in force, or the one to evaluate with instead.
fn bundle_for(
    sources: &Sources<'_>,
    digest: Option<Digest>,
    bundles: &mut HashMap<Digest, Arc<Bundle>>,
) -> Result<Option<Arc<Bundle>>, StartError> {
    let Some(digest) = digest else { return Ok(None) };
    if let Some(bundle) = &sources.bundle {
        return Ok(Some(bundle.clone()));
    }
    kept(sources, digest, bundles).map(Some)
}

/// A bundle that the journal keeps.
fn kept(
    sources: &Sources<'_>,
    digest: Digest,
    bundles: &mut HashMap<Digest, Arc<Bundle>>,
) -> Result<Arc<Bundle>, StartError> {
    if let Some(bundle) = bundles.get(&digest) {
        return Ok(bundle.clone());
    }
    let bytes = sources.reader.bundle(&digest.0)?.ok_or(StartError::BundleLost(digest))?;
    let bundle =
        Bundle::from_normalised::<Fast>(&bytes).map_err(|_| StartError::BundleLost(digest))?;
    let bundle = Arc::new(bundle);
    bundles.insert(digest, bundle.clone());
    Ok(bundle)
}

struct Context<'a> {
    sources: &'a Sources<'a>,
    names: &'a Pseudonyms,
    state: &'a State,
}

impl Context<'_> {
    fn derive(
        &self,
        entry: &Entry,
        event: &DecisionEvent,
        frame: Frame<'_>,
        (bundle, shadow): (Option<&Bundle>, Option<&Bundle>),
        report: &mut Report,
    ) -> Result<Derived, StartError> {
        let payload = match open(self.sources.slots, frame) {
            Ok(payload) => payload,
            Err(error) => return Ok(Derived::None(format!("the payload does not open: {error}"))),
        };
        let secret = self.sources.slots.secret(frame.slot)?;
        let mut re_stepped = false;
        let command = match (payload, secret) {
            (Some(payload), Some(secret)) => {
                report.re_evaluated += 1;
                let Ok((request, caller)) = reread(&payload) else {
                    return Ok(Derived::None("the payload holds no request".to_owned()));
                };
                let digests = request.digests::<Fast>(&caller);
                let proposal = Proposal {
                    names: self.names,
                    caller: &caller,
                    key: event.key,
                    request: &request,
                    digests: &digests,
                };
                let mut verdict = evaluate(bundle, &request, &caller);
                verdict.policy = event.policy;
                let shadow = evaluate_beside(shadow, &request, &caller);
                let given = given(entry, event);
                proposal.command(&SlotKeys::new(&secret), (verdict, shadow), given)
            }
            _ if is_cut(event) => {
                report.not_replayable += 1;
                return Ok(Derived::Unknown);
            }
            _ => {
                report.re_stepped += 1;
                re_stepped = true;
                let mut command = recorded(entry, event, bundle);
                // Whose roles they were is erased; that one of them was revoked is not.
                if event.reasons.contains(&Reason::RoleRevoked) {
                    command.who.roles.extend(self.state.revoked_roles().map(str::to_owned));
                }
                command
            }
        };
        let plan = step::<Fast>(self.state, &Command::Decide(Box::new(command)), entry.time);
        Ok(match plan {
            Ok(Plan::Append(events)) => match events.into_iter().next() {
                // Without the request nobody can say again what the shadow said.
                Some(Event::Decision(again)) if re_stepped => {
                    Derived::Event(Arc::new(DecisionEvent {
                        would: event.would.clone(),
                        ..DecisionEvent::clone(&again)
                    }))
                }
                Some(Event::Decision(again)) => Derived::Event(again),
                _ => Derived::None("another event".to_owned()),
            },
            Ok(Plan::Bound { index }) => Derived::None(format!("bound to entry {index}")),
            Ok(Plan::Nothing) => Derived::None("nothing".to_owned()),
            Err(error) => Derived::None(rejected(&error)),
        })
    }
}

/// Whether the entry does not list all rules that matched, or all that an exception waived.
fn is_cut(event: &DecisionEvent) -> bool {
    let waived = event.exception.as_ref().and_then(|it| it.waived_all);
    event.matched_all.is_some() || waived.is_some()
}

fn rejected(error: &Rejection) -> String {
    format!("rejected: {error}")
}

/// Ids, nonce and times as recorded; ids that were not needed were not recorded.
pub(crate) fn given(entry: &Entry, event: &DecisionEvent) -> Given {
    let permit = event.permit.as_ref();
    Given {
        ids: (
            event.decision,
            event.approval.as_ref().map_or(ApprovalId::from_bytes([0; 16]), |a| a.id),
            permit.map_or(PermitId::from_bytes([0; 16]), |permit| permit.id),
        ),
        nonce: permit.and_then(|permit| permit.nonce),
        window_ms: event.window_ms,
        deadline: event.deadline,
        permit_ms: permit.map_or(0, |permit| permit.expires.since(entry.time)),
        approval_ms: event.approval.as_ref().map(|it| it.expires.since(entry.time)),
    }
}

/// The command as far as the entry alone tells it: recorded commitments and matches, with the
/// effects of those rules from the bundle.
fn recorded(entry: &Entry, event: &DecisionEvent, bundle: Option<&Bundle>) -> Decide {
    let given = given(entry, event);
    let governed = is_governed(&event.surface);
    let mut hits = Vec::new();
    let mut windows = Vec::new();
    for matched in &event.matched {
        // What follows from the state follows from it again.
        let own = governed && matched.rule.starts_with(CONSTITUTION_RULE);
        if own || matched.rule.starts_with(EXCEPTION_RULE) {
            continue;
        }
        let rule = bundle.and_then(|b| b.rule(&matched.rule));
        if let Some(rule) = rule {
            hits.push(Hit { error: matched.error, ..Hit::of(rule.clone()) });
            windows.push(matched.window.map(|window| window.tag));
        }
    }
    for id in event.exception.iter().flat_map(|passage| &passage.waived) {
        if let Some(rule) = bundle.and_then(|bundle| bundle.rule(id)) {
            hits.push(Hit::of(rule.clone()));
            windows.push(None);
        }
    }
    // The constitution asks for the role alone, and only requests without it are denied for that.
    let lacks = ["constitution.admin-only", "constitution.operator-only"];
    let admin = event.matched.iter().all(|matched| !lacks.contains(&matched.rule.as_str()));
    // For an exception two people are needed even where its proposer is no admin.
    let held = event.matched.iter().any(|matched| matched.rule == "constitution.two-admins");
    let roles = match admin {
        true if held && event.surface == EXCEPTION => ["operator".to_owned()].into(),
        true => ["admin".to_owned()].into(),
        false => [].into(),
    };
    let verdict = Verdict {
        policy: event.policy,
        surface_known: event.surface_known,
        unenforced: event.would_outcome.is_some(),
        hits,
        evidence: Vec::new(),
    };
    as_recorded(given, event, roles, verdict, windows)
}

/// The command of a decision with everything as recorded but roles, verdict and window tags.
pub(crate) fn as_recorded(
    given: Given,
    event: &DecisionEvent,
    roles: BTreeSet<String>,
    verdict: Verdict,
    windows: Vec<Option<Tag>>,
) -> Decide {
    Decide {
        ids: given.ids,
        who: Who { actor: event.actor.clone(), key: event.key, roles },
        on_behalf_of: event.on_behalf_of.clone(),
        audience: event
            .permit
            .as_ref()
            .map(|permit| permit.audience.clone())
            .or_else(|| event.approval.as_ref().map(|approval| approval.audience.clone())),
        environment: event.environment.clone(),
        surface: event.surface.clone(),
        action: event.action.clone(),
        topic: event.topic.clone(),
        target: event.target,
        subjects: event.subjects.clone(),
        passing: Passing {
            recorded: Some(event.exception.as_ref().map(|it| it.exception)),
            ..Passing::default()
        },
        retroactive: event.retroactive.is_some(),
        trace: event.trace.clone(),
        action_commitment: event.action_commitment,
        request_commitment: event.request_commitment,
        facts_commitment: event.facts_commitment,
        idempotency: event.idempotency,
        window_ms: given.window_ms,
        nonce: given.nonce,
        deadline: given.deadline,
        permit_ms: given.permit_ms,
        approval_ms: given.approval_ms,
        verdict,
        windows,
        shadow: None,
        under: event.under.clone(),
    }
}

fn count(
    report: &mut Report,
    workspace: &WorkspaceName,
    index: u64,
    event: &DecisionEvent,
    derived: Derived,
) {
    report.decisions += 1;
    let (found, what) = match derived {
        Derived::Unknown => return,
        Derived::Event(derived) if is_same(&derived, event) => return,
        Derived::Event(derived) => {
            let what = differing(event, &derived);
            ((derived.outcome.as_str().to_owned(), derived.rules.clone()), what)
        }
        Derived::None(why) => ((why, Vec::new()), "event".to_owned()),
    };
    report.differences += 1;
    report.first.get_or_insert_with(|| Difference {
        workspace: workspace.to_string(),
        index,
        decision: event.decision,
        recorded: (event.outcome.as_str().to_owned(), event.rules.clone()),
        derived: found,
        what,
    });
}

/// Older entries do not say where names lead, nor of an alias where it is led to.
fn is_same(derived: &DecisionEvent, event: &DecisionEvent) -> bool {
    let older = || {
        let mut derived = derived.clone();
        derived.leads_to.clear();
        derived.under.retain(|scope| event.under.contains(scope));
        derived == *event
    };
    derived == event || (event.leads_to.is_empty() && older())
}

/// The first part of the event that differs, for people.
fn differing(a: &DecisionEvent, b: &DecisionEvent) -> String {
    let parts = [
        ("outcome", a.outcome == b.outcome),
        ("rules", a.rules == b.rules),
        ("constraints", a.constraints == b.constraints),
        ("approval", a.approval == b.approval),
        ("matched", a.matched == b.matched),
        ("reasons", a.reasons == b.reasons),
        ("retry_after_ms", a.retry_after_ms == b.retry_after_ms),
        ("permit", a.permit == b.permit),
        ("action_commitment", a.action_commitment == b.action_commitment),
        ("request_commitment", a.request_commitment == b.request_commitment),
        ("facts_commitment", a.facts_commitment == b.facts_commitment),
        ("subjects", a.subjects == b.subjects),
        ("idempotency", a.idempotency == b.idempotency),
        ("previous", a.previous == b.previous),
        ("would", a.would == b.would),
        ("exception", a.exception == b.exception),
        ("retroactive", a.retroactive == b.retroactive),
        ("would_outcome", a.would_outcome == b.would_outcome),
        ("leads_to", a.leads_to == b.leads_to),
    ];
    let differing = parts.into_iter().find(|(_, same)| !same);
    differing.map_or("event", |(name, _)| name).to_owned()
}
